package delivery

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"millrace/internal/delivery/errorline"
	"millrace/internal/delivery/format"
	"millrace/internal/delivery/httpendpoint"
	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/objectkey"
	"millrace/internal/delivery/parquet"
	"millrace/internal/delivery/process"
	"millrace/internal/delivery/transform"
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
	function    *transformer  // nil: none transforms them
	endpoint    *httpendpoint.Endpoint
}

// compile makes a destination of a definition that Validate has passed.
func compile(d *Definition, account ids.Account, gzipLevel int) (*destination, error) {
	dest, err := compileS3(d, &d.Destination.S3Configuration, gzipLevel)
	if err != nil {
		return nil, err
	}
	dest.hints(d.Hints())
	dest.delimiter = d.Processing().delimiter()
	if dest.zone, err = time.LoadLocation(text(d.Destination.CustomTimeZone)); err != nil {
		return nil, err
	}
	switch {
	case d.HTTPEndpoint != nil:
		dest.format = journal.HTTP
		dest.size, dest.maxOutputs = min(dest.size, httpLaneBytes), httpendpoint.MaxRecords
	case d.Destination.Converts():
		dest.format = journal.Parquet
		dest.compression, dest.level, dest.extension = uncompressed, 0, ".parquet"
	}
	if t := text(d.Destination.FileExtension); t != "" {
		dest.extension = t
	}
	dest.function = d.transformer()
	if dest.processing, err = newProcessing(d.recipe(account, dest)); err != nil {
		return nil, err
	}
	if dest.format == journal.Parquet {
		dest.maxOutputs = dest.processing.converter.MaxRows() // a row of each, mostly
	}
	if d.HTTPEndpoint != nil {
		dest.endpoint, err = newEndpoint(dest.processing.recipe.Endpoint, d)
	}
	return dest, err
}

// compileS3 takes what every destination says of its bucket.
func compileS3(d *Definition, c *S3Configuration, gzipLevel int) (*destination, error) {
	prefix, err := objectkey.Parse(text(c.Prefix))
	if err != nil {
		return nil, err
	}
	errorPrefix := prefix
	if t := text(c.ErrorOutputPrefix); t != "" {
		if errorPrefix, err = objectkey.ParseMember("ErrorOutputPrefix", t); err != nil {
			return nil, err
		}
	}
	dest := &destination{
		name: d.Name, version: strconv.FormatInt(d.VersionID, 10), number: d.VersionID, bucket: c.Bucket(),
		prefix: prefix, errorPrefix: errorPrefix, zone: time.UTC, compression: journal.Compression(c.CompressionFormat),
	}
	if dest.compression == gzipped || dest.compression == journal.Zip {
		dest.level = gzipLevel
	}
	dest.extension = format.Kind(dest.compression).Extension()
	dest.hints(c.BufferingHints)
	return dest, nil
}

func (d *destination) hints(h *BufferingHints) {
	d.size = int64(*h.SizeInMBs) << 20
	if d.age = time.Duration(*h.IntervalInSeconds) * time.Second; d.age == 0 {
		d.age = zeroBufferingAge
	}
}

// recipe says how records of a delivery stream are processed; nil: they are not.
func (d *Definition) recipe(account ids.Account, dest *destination) *recipe {
	r := &recipe{Process: process.Spec{KPL: d.Type == KinesisStreamAsSource}, Function: d.Lambda()}
	processing := d.Processing()
	if p := processing.find(recordDeAggregator); p != nil {
		r.Process.SubRecordType = p.Parameter("SubRecordType")
		r.Process.Delimiter, _ = base64.StdEncoding.DecodeString(p.Parameter(delimiterParameter)) // validated
	}
	if p := processing.find(metadataExtraction); p != nil {
		r.Process.Query = p.Parameter("MetadataExtractionQuery")
	}
	if d.HTTPEndpoint == nil && d.Destination.Partitions() {
		r.partition(dest)
	}
	if dest.format == journal.Parquet {
		r.Parquet, r.Table = d.parquetSpec(), d.conversionTable(account)
	}
	if h := d.HTTPEndpoint; h != nil {
		r.Endpoint = &recipeEndpoint{URL: h.EndpointConfiguration.Url, SourceARN: d.ARN(account),
			Encoding: h.RequestConfiguration.ContentEncoding, RetrySeconds: *h.RetryOptions.DurationInSeconds}
		for _, a := range h.RequestConfiguration.CommonAttributes {
			r.Endpoint.Attributes = append(r.Endpoint.Attributes, httpendpoint.Attribute{Name: a.AttributeName, Value: a.AttributeValue})
		}
	}
	if !r.Process.KPL && r.Process.SubRecordType == "" && r.Process.Query == "" && r.Function == "" && r.Parquet == nil && r.Endpoint == nil {
		return nil
	}
	return r
}

// partition adds the partition keys of the prefix, and how long their values may be.
func (r *recipe) partition(dest *destination) {
	keys := dest.prefix.Keys()
	shortest := dest.prefix.Length(dest.zone)
	values := make([]string, len(keys))
	for i, k := range keys {
		values[i] = "x"
		uses := utf8.RuneCount(dest.prefix.Append(nil, objectkey.Longest.In(dest.zone), ids.Seeded(0), values...)) - shortest
		values[i] = ""
		r.Keys = append(r.Keys, recipeKey{Name: k.Name, Lambda: k.FromLambda, Uses: uses})
		if !k.FromLambda {
			r.Process.PartitionKeys = append(r.Process.PartitionKeys, k.Name)
		}
	}
	r.Room = min(objectkey.MaxPrefixLength, maxKeyBytes-suffixBytes-len(dest.name)-len(dest.extension)) - shortest
}

// transformer gives the one that transforms records; nil: none does.
func (d *Definition) transformer() *transformer {
	p := d.Processing().find(lambda)
	if p == nil {
		return nil
	}
	f := &transformer{arn: p.Parameter("LambdaArn"), retries: transform.DefaultRetries, buffer: transform.DefaultBuffer, age: defaultFunctionAge}
	if n, err := strconv.Atoi(p.Parameter("NumberOfRetries")); err == nil {
		f.retries = n
	}
	if size, err := strconv.ParseFloat(p.Parameter("BufferSizeInMBs"), 64); err == nil {
		f.buffer = int(size * (1 << 20))
	}
	if seconds, err := strconv.Atoi(p.Parameter("BufferIntervalInSeconds")); err == nil {
		f.age = time.Duration(seconds) * time.Second
	}
	return f
}

// parquetSpec is the conversion as manifests keep it.
func (d *Definition) parquetSpec() *parquet.Spec {
	c := d.Destination.DataFormatConversionConfiguration
	spec := &parquet.Spec{}
	for _, column := range d.Schema.Columns {
		spec.Columns = append(spec.Columns, parquet.Column{Name: column.Name, Type: column.Type})
	}
	if hive := c.InputFormatConfiguration.Deserializer.HiveJsonSerDe; hive != nil {
		spec.Hive = &parquet.HiveOptions{TimestampFormats: hive.TimestampFormats}
	} else if x := c.InputFormatConfiguration.Deserializer.OpenXJsonSerDe; x != nil {
		spec.OpenX = &parquet.OpenXOptions{CaseSensitive: x.CaseInsensitive != nil && !*x.CaseInsensitive,
			ConvertDotsInJsonKeysToUnderscores: on(x.ConvertDotsInJsonKeysToUnderscores), ColumnToJsonKeyMappings: x.ColumnToJsonKeyMappings}
	}
	out := c.OutputFormatConfiguration.Serializer.ParquetSerDe
	spec.Output = parquet.OutputOptions{BlockSizeBytes: number(out.BlockSizeBytes), PageSizeBytes: number(out.PageSizeBytes),
		Compression: out.Compression, EnableDictionaryCompression: on(out.EnableDictionaryCompression),
		MaxPaddingBytes: number(out.MaxPaddingBytes), WriterVersion: out.WriterVersion}
	return spec
}

func number(n *int) int64 {
	if n == nil {
		return 0
	}
	return int64(*n)
}

// conversionTable is the table as error objects name it.
func (d *Definition) conversionTable(account ids.Account) *errorline.Table {
	c := d.Destination.DataFormatConversionConfiguration.SchemaConfiguration
	version := c.VersionId
	if version == "" {
		version = LatestVersion
	}
	return &errorline.Table{CatalogID: account.ID, DatabaseName: c.DatabaseName, TableName: c.TableName, Region: account.Region, VersionID: version}
}

// defaultFunctionAge is BufferIntervalInSeconds when it is not given.
const defaultFunctionAge = 60 * time.Second

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

// part plans what a lane holds, with all that its object needs. name makes a UUID of the part.
func (d *destination) part(l *lane, name func() string, stamp time.Time, random *ids.Source) journal.Part {
	p := journal.Part{
		ID: name(), Bucket: d.bucket, Lane: l.name, First: l.first, Last: l.last, Records: l.records, Outputs: l.outputs,
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
		p.FailedID = name()
		p.FailedKey = d.errorKey(stamp, p.FailedID, conversionFailed, random)
	case journal.HTTP:
		p.Delimiter = d.delimiter
		p.Compression, p.Level = uncompressed, 0
		p.FailedID = name()
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
	key := d.prefix.Append(make([]byte, 0, 256), stamp, random, keys...)
	suffix := objectkey.Suffix{Name: d.name, Version: d.version, Time: stamp, UUID: uuid, Extension: d.extension}
	return string(suffix.Append(key))
}

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
