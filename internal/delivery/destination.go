package delivery

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"millrace/internal/delivery/format"
	"millrace/internal/delivery/httpendpoint"
	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/objectkey"
	"millrace/internal/ids"
)

const (
	uncompressed = journal.Uncompressed
	gzipped      = journal.Gzip
)

// destination is a definition made ready for planning. It is immutable; a gathering keeps the one it was opened under, so
// that what an update changes applies to later plans only.
type destination struct {
	name        string
	version     string
	number      int64 // version
	bucket      string
	prefix      *objectkey.Prefix
	errorPrefix *objectkey.Prefix // of error objects: ErrorOutputPrefix, or the Prefix when that is empty
	zone        *time.Location
	extension   string
	format      journal.Format
	compression journal.Compression
	level       int
	delimiter   []byte
	size        int64         // of outputs, when a lane is full
	maxOutputs  int64         // of a lane; 0: as many as size lets in
	age         time.Duration // when it is due
	processing  *processing   // nil: records go out as they are
	function    *function     // nil: none transforms them
	endpoint    *httpendpoint.Endpoint
}

// compile makes a destination of a definition that Validate has passed.
func compile(d *Definition, gzipLevel int) (*destination, error) {
	prefix, err := objectkey.Parse(text(d.Destination.Prefix))
	if err != nil {
		return nil, err
	}
	errorPrefix := prefix
	if t := text(d.Destination.ErrorOutputPrefix); t != "" {
		if errorPrefix, err = objectkey.Parse(t); err != nil {
			return nil, err
		}
	}
	zone, err := time.LoadLocation(text(d.Destination.CustomTimeZone))
	if err != nil {
		return nil, err
	}
	dest := &destination{
		name: d.Name, version: strconv.FormatInt(d.VersionID, 10), number: d.VersionID, bucket: d.Bucket(),
		prefix: prefix, errorPrefix: errorPrefix, zone: zone, extension: text(d.Destination.FileExtension),
		compression: journal.Compression(d.Destination.CompressionFormat),
		delimiter:   d.Destination.ProcessingConfiguration.delimiter(),
		size:        int64(*d.Destination.BufferingHints.SizeInMBs) << 20,
		age:         time.Duration(*d.Destination.BufferingHints.IntervalInSeconds) * time.Second,
	}
	if dest.age == 0 {
		dest.age = zeroBufferingAge
	}
	if dest.compression == gzipped || dest.compression == journal.Zip {
		dest.level = gzipLevel
	}
	if dest.extension == "" {
		dest.extension = format.Kind(dest.compression).Extension()
	}
	return dest, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// spools reports whether what has no room in memory should go to files: when reading it again would mean to process many
// lanes again for each, or can't be done.
func (d *destination) spools() bool {
	return d.processing != nil && (d.processing.partitions() || !d.processing.repeatable())
}

// part plans what a lane holds, with all that its object needs.
func (d *destination) part(l *lane, id objectkey.ID, stamp time.Time, random *ids.Source) journal.Part {
	p := journal.Part{
		ID: id.UUID(random), Bucket: d.bucket, Lane: l.name, First: l.first, Last: l.last, Records: l.records, Outputs: l.outputs,
		Bytes: l.bytes, Compression: d.compression, Level: d.level, Format: d.formatOf(l.name), Stamp: stamp,
	}
	switch p.Format {
	case journal.Errors:
		p.Compression, p.Level = uncompressed, 0
		p.ObjectKey = d.errorKey(stamp, p.ID, l.name.Error, random)
	case journal.Text:
		p.Delimiter = d.delimiter
		p.ObjectKey = d.key(stamp, p.ID, l.name.Keys, random)
	case journal.Parquet:
		p.Compression, p.Level = uncompressed, 0
		p.ObjectKey = d.key(stamp, p.ID, l.name.Keys, random)
		p.FailedID = id.UUID(random)
		p.FailedKey = d.errorKey(stamp, p.FailedID, conversionFailed, random)
	case journal.HTTP:
		p.Delimiter = d.delimiter
		p.Compression, p.Level = uncompressed, 0
		p.FailedID = id.UUID(random)
		p.FailedKey = d.errorKey(stamp, p.FailedID, httpFailed, random)
	}
	return p
}

// formatOf gives the format of what a lane becomes.
func (d *destination) formatOf(name journal.Lane) journal.Format {
	if name.Error != "" {
		return journal.Errors
	}
	return d.format
}

// framed reports whether a format needs more of an output than its text.
func framed(f journal.Format) bool { return f != journal.Text }

// key names the object with the given time, UUID and values of partition keys.
func (d *destination) key(stamp time.Time, uuid string, keys []string, random *ids.Source) string {
	stamp = stamp.In(d.zone)
	key := d.prefix.AppendPartition(make([]byte, 0, 256), stamp, random, keys)
	suffix := objectkey.Suffix{Name: d.name, Version: d.version, Time: stamp, UUID: uuid, Extension: d.extension}
	return string(suffix.Append(key))
}

// named reports whether a key is one that this delivery stream gives its objects.
func (d *destination) named(key string) bool {
	at := strings.LastIndex(key, d.name+"-")
	return at >= 0 && suffixRule.MatchString(key[at+len(d.name):])
}

var suffixRule = regexp.MustCompile(`^-\d+(-\d+){6}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// errorKey names an error object. It is never compressed, and bears no extension.
func (d *destination) errorKey(stamp time.Time, uuid, errorType string, random *ids.Source) string {
	stamp = stamp.In(d.zone)
	key := d.errorPrefix.AppendError(make([]byte, 0, 256), stamp, random, errorType)
	suffix := objectkey.Suffix{Name: d.name, Version: d.version, Time: stamp, UUID: uuid}
	return string(suffix.Append(key))
}

const (
	appendDelimiter    = "AppendDelimiterToRecord"
	delimiterParameter = "Delimiter"
)

// delimiter gives what is appended to every record; nil: nothing.
func (p *ProcessingConfiguration) delimiter() []byte {
	if p == nil || p.Enabled == nil || !*p.Enabled {
		return nil
	}
	for _, processor := range p.Processors {
		if processor.Type != appendDelimiter {
			continue
		}
		for _, parameter := range processor.Parameters {
			if parameter.ParameterName == delimiterParameter {
				return []byte(unescape.Replace(parameter.ParameterValue))
			}
		}
		return []byte{'\n'}
	}
	return nil
}

// unescape reads the escapes that people write in a Delimiter, where JSON or YAML have left them as two characters.
var unescape = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r", `\t`, "\t")
