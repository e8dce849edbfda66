package delivery

import (
	"strconv"
	"strings"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/objectkey"
	"millrace/internal/ids"
)

const (
	uncompressed = journal.Uncompressed
	gzipped      = journal.Gzip
)

// destination is a definition made ready for planning. It is immutable; a buffer keeps the one it was opened under, so
// that what an update changes applies to later plans only.
type destination struct {
	name        string
	version     string
	number      int64 // version
	bucket      string
	prefix      *objectkey.Prefix
	zone        *time.Location
	extension   string
	compression journal.Compression
	level       int
	delimiter   []byte
	size        int64         // of record data, when a buffer is full
	age         time.Duration // when it is due
}

// compile makes a destination of a definition that Validate has passed.
func compile(d *Definition, gzipLevel int) (*destination, error) {
	prefix, err := objectkey.Parse(text(d.Destination.Prefix))
	if err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(text(d.Destination.CustomTimeZone))
	if err != nil {
		return nil, err
	}
	dest := &destination{
		name: d.Name, version: strconv.FormatInt(d.VersionID, 10), number: d.VersionID, bucket: d.Bucket(),
		prefix: prefix, zone: zone, extension: text(d.Destination.FileExtension),
		compression: journal.Compression(d.Destination.CompressionFormat),
		delimiter:   d.Destination.ProcessingConfiguration.delimiter(),
		size:        int64(*d.Destination.BufferingHints.SizeInMBs) << 20,
		age:         time.Duration(*d.Destination.BufferingHints.IntervalInSeconds) * time.Second,
	}
	if dest.age == 0 {
		dest.age = zeroBufferingAge
	}
	if dest.compression == gzipped {
		dest.level = gzipLevel
		if dest.extension == "" {
			dest.extension = ".gz"
		}
	}
	return dest, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// key names the object with the given time and UUID.
func (d *destination) key(stamp time.Time, uuid string, random *ids.Source) string {
	stamp = stamp.In(d.zone)
	key := d.prefix.Append(make([]byte, 0, 256), stamp, random)
	suffix := objectkey.Suffix{Name: d.name, Version: d.version, Time: stamp, UUID: uuid, Extension: d.extension}
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
