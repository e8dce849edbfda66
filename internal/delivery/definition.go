package delivery

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"millrace/internal/glue"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// Type says where a delivery stream's records come from.
type Type string

// The types that are implemented, as the API spells them.
const (
	DirectPut             Type = "DirectPut"
	KinesisStreamAsSource Type = "KinesisStreamAsSource"
)

// Status is where a delivery stream is in its life.
type Status string

// The statuses that occur, as the API spells them. Creation is one durable step, so that CREATING is never seen.
const (
	Active   Status = "ACTIVE"
	Deleting Status = "DELETING"
)

// DestinationID is the id of the one destination that a delivery stream has.
const DestinationID = "destinationId-000000000001"

// Definition is a delivery stream as data. A value that the engine has handed out is never changed.
type Definition struct {
	ID            string         `json:"id"` // of this incarnation: 16 letters
	Name          string         `json:"name"`
	Type          Type           `json:"type"`
	Status        Status         `json:"status"`
	VersionID     int64          `json:"versionId"` // "1" in Describe
	Created       time.Time      `json:"created"`
	Updated       time.Time      `json:"updated,omitzero"` // of the last UpdateDestination
	KinesisSource *KinesisSource `json:"kinesisSource,omitempty"`
	MSKSource     *MSKSource     `json:"mskSource,omitempty"`
	DirectPut     *DirectSource  `json:"directPutSource,omitempty"`
	// Destination is where objects go: with HTTPEndpoint, what the endpoint did not take, and backup.
	Destination  S3Destination            `json:"destination"`
	HTTPEndpoint *HTTPEndpointDestination `json:"httpEndpoint,omitempty"`
	// Schema is what the destination's SchemaConfiguration led to, when format conversion is on.
	Schema *Schema `json:"schema,omitempty"`
	// Encryption is the state of server-side encryption: "ENABLED" or "DISABLED" for Direct PUT, empty for other sources.
	Encryption string `json:"encryption,omitempty"`
	// EncryptionKey is the key that was asked for last; nil: none ever was.
	EncryptionKey *EncryptionKey    `json:"encryptionKey,omitempty"`
	Tags          map[string]string `json:"tags,omitempty"`
	// Starts says where the shards that the source had at the creation are read from. Nil: an earlier version made the
	// definition, and with it the rows that say so.
	Starts *Starts `json:"starts,omitempty"`
	// BackupStarts are those of the backup; nil: it was never switched on.
	BackupStarts *Starts `json:"backupStarts,omitempty"`
	// backupOf is set in the definition of a backup: see Definition.backup.
	backupOf *Definition
	// Deleted is when the deletion began.
	Deleted time.Time `json:"deleted,omitzero"`
}

// Starts are the places from which a delivery stream reads its source. A shard that is not listed came later, and is read
// from its first record.
type Starts struct {
	StreamID string  `json:"streamId"` // of the incarnation that they are of
	Shards   []Start `json:"shards"`   // in the order of their indexes
}

// Start is that of one shard.
type Start struct {
	Shard  uint32                `json:"shard"`
	At     stream.SequenceNumber `json:"at,omitzero"`      // the tip at that time
	Closed bool                  `json:"closed,omitempty"` // nothing of it is read
}

// of gives the start of a shard.
func (s *Starts) of(ref stream.ShardRef) (start Start, ok bool) {
	if s == nil || s.StreamID != ref.ID {
		return Start{}, false
	}
	i, ok := slices.BinarySearchFunc(s.Shards, ref.Shard, func(a Start, shard uint32) int { return cmp.Compare(a.Shard, shard) })
	if !ok {
		return Start{}, false
	}
	return s.Shards[i], true
}

// KinesisSource is KinesisStreamSourceConfiguration.
type KinesisSource struct {
	KinesisStreamARN string
	RoleARN          string
	// DeliveryStartTimestamp is from when on the source is read. The engine sets it.
	DeliveryStartTimestamp time.Time `json:",omitzero"`
}

// DirectSource is DirectPutSourceConfiguration. The hint is kept and shown, and has no effect.
type DirectSource struct {
	ThroughputHintInMBs int
}

// S3Destination is ExtendedS3DestinationConfiguration, defaults filled in. Its JSON names are the API's.
type S3Destination struct {
	S3Configuration
	ProcessingConfiguration           *ProcessingConfiguration `json:",omitempty"`
	S3BackupMode                      string
	S3BackupConfiguration             *S3Configuration                   `json:",omitempty"` // kept when the mode is Disabled, too
	DataFormatConversionConfiguration *DataFormatConversionConfiguration `json:",omitempty"`
	DynamicPartitioningConfiguration  *DynamicPartitioningConfiguration  `json:",omitempty"`
	FileExtension                     *string                            `json:",omitempty"`
	CustomTimeZone                    *string                            `json:",omitempty"`
}

// S3Configuration is S3DestinationConfiguration: what every destination says of its bucket.
type S3Configuration struct {
	RoleARN                  string
	BucketARN                string
	Prefix                   *string `json:",omitempty"` // reads back as given
	ErrorOutputPrefix        *string `json:",omitempty"`
	BufferingHints           *BufferingHints
	CompressionFormat        string
	EncryptionConfiguration  *EncryptionConfiguration
	CloudWatchLoggingOptions *CloudWatchLoggingOptions
}

// BufferingHints say when a buffer is flushed.
type BufferingHints struct {
	SizeInMBs         *int `json:",omitempty"`
	IntervalInSeconds *int `json:",omitempty"`
}

// EncryptionConfiguration is kept and shown; it has no effect, encryption at rest being the bucket's.
type EncryptionConfiguration struct {
	NoEncryptionConfig  string               `json:",omitempty"`
	KMSEncryptionConfig *KMSEncryptionConfig `json:",omitempty"`
}

// KMSEncryptionConfig names a key.
type KMSEncryptionConfig struct{ AWSKMSKeyARN string }

// CloudWatchLoggingOptions say to which log errors of the destination go: see ErrorLog.
type CloudWatchLoggingOptions struct {
	Enabled       *bool  `json:",omitempty"`
	LogGroupName  string `json:",omitempty"`
	LogStreamName string `json:",omitempty"`
}

// ProcessingConfiguration lists processors.
type ProcessingConfiguration struct {
	Enabled    *bool       `json:",omitempty"`
	Processors []Processor `json:",omitempty"`
}

// Processor is one step over every record.
type Processor struct {
	Type       string
	Parameters []ProcessorParameter `json:",omitempty"`
}

// ProcessorParameter of a processor.
type ProcessorParameter struct{ ParameterName, ParameterValue string }

// DataFormatConversionConfiguration turns JSON records into columns. Absent Enabled counts as true.
type DataFormatConversionConfiguration struct {
	Enabled                   *bool                      `json:",omitempty"`
	SchemaConfiguration       *SchemaConfiguration       `json:",omitempty"`
	InputFormatConfiguration  *InputFormatConfiguration  `json:",omitempty"`
	OutputFormatConfiguration *OutputFormatConfiguration `json:",omitempty"`
}

// SchemaConfiguration names a table whose columns are the schema.
type SchemaConfiguration struct {
	RoleARN      string `json:",omitempty"`
	CatalogId    string `json:",omitempty"`
	DatabaseName string `json:",omitempty"`
	TableName    string `json:",omitempty"`
	Region       string `json:",omitempty"`
	VersionId    string `json:",omitempty"`
}

// InputFormatConfiguration says how records are read.
type InputFormatConfiguration struct {
	Deserializer *Deserializer `json:",omitempty"`
}

// Deserializer is one of two ways to read JSON.
type Deserializer struct {
	OpenXJsonSerDe *OpenXJsonSerDe `json:",omitempty"`
	HiveJsonSerDe  *HiveJsonSerDe  `json:",omitempty"`
}

// OpenXJsonSerDe reads leniently.
type OpenXJsonSerDe struct {
	ConvertDotsInJsonKeysToUnderscores *bool             `json:",omitempty"` // default false
	CaseInsensitive                    *bool             `json:",omitempty"` // default true
	ColumnToJsonKeyMappings            map[string]string `json:",omitempty"`
}

// HiveJsonSerDe reads strictly.
type HiveJsonSerDe struct {
	TimestampFormats []string `json:",omitempty"` // Joda-Time patterns, or "millis"; default java.sql.Timestamp's form
}

// OutputFormatConfiguration says what is written.
type OutputFormatConfiguration struct {
	Serializer *Serializer `json:",omitempty"`
}

// Serializer is one of two formats of columns; ORC is refused.
type Serializer struct {
	ParquetSerDe *ParquetSerDe `json:",omitempty"`
	OrcSerDe     *OrcSerDe     `json:",omitempty"`
}

// ParquetSerDe says how Parquet files are written.
type ParquetSerDe struct {
	BlockSizeBytes              *int   `json:",omitempty"` // default 256 MiB
	PageSizeBytes               *int   `json:",omitempty"` // default 1 MiB
	Compression                 string `json:",omitempty"` // SNAPPY (default), GZIP, UNCOMPRESSED
	EnableDictionaryCompression *bool  `json:",omitempty"`
	MaxPaddingBytes             *int   `json:",omitempty"`
	WriterVersion               string `json:",omitempty"` // V1 (default), V2
}

// OrcSerDe is decoded to be shown when conversion is off, and refused when it is on.
type OrcSerDe struct {
	StripeSizeBytes                     *int     `json:",omitempty"`
	BlockSizeBytes                      *int     `json:",omitempty"`
	RowIndexStride                      *int     `json:",omitempty"`
	EnablePadding                       *bool    `json:",omitempty"`
	PaddingTolerance                    *float64 `json:",omitempty"`
	Compression                         string   `json:",omitempty"`
	BloomFilterColumns                  []string `json:",omitempty"`
	BloomFilterFalsePositiveProbability *float64 `json:",omitempty"`
	DictionaryKeyThreshold              *float64 `json:",omitempty"`
	FormatVersion                       string   `json:",omitempty"`
}

// Schema is a table's columns as they were when the definition was made or changed, so that what is planned under a
// definition needs no catalog to be finished.
type Schema struct {
	Version string // of the table: "3"
	Columns []glue.Column
}

// DynamicPartitioningConfiguration makes a buffer for every evaluated prefix.
type DynamicPartitioningConfiguration struct {
	Enabled      *bool         `json:",omitempty"`
	RetryOptions *RetryOptions `json:",omitempty"`
}

// RetryOptions of a destination.
type RetryOptions struct {
	DurationInSeconds *int `json:",omitempty"`
}

// HTTPEndpointDestination is HttpEndpointDestinationConfiguration without its S3Configuration, which is the definition's
// Destination. Defaults are filled in; its JSON names are the API's.
type HTTPEndpointDestination struct {
	EndpointConfiguration    *HTTPEndpoint
	BufferingHints           *BufferingHints
	CloudWatchLoggingOptions *CloudWatchLoggingOptions
	RequestConfiguration     *HTTPRequestConfiguration `json:",omitempty"`
	ProcessingConfiguration  *ProcessingConfiguration  `json:",omitempty"`
	RoleARN                  string                    `json:",omitempty"`
	RetryOptions             *RetryOptions
	S3BackupMode             string // FailedDataOnly, AllData
}

// HTTPEndpoint is HttpEndpointConfiguration.
type HTTPEndpoint struct {
	Url       string
	Name      string  `json:",omitempty"`
	AccessKey *Secret `json:",omitempty"` // sent with every request, and shown nowhere
}

// HTTPRequestConfiguration is HttpEndpointRequestConfiguration.
type HTTPRequestConfiguration struct {
	ContentEncoding  string                `json:",omitempty"` // NONE (default), GZIP
	CommonAttributes []HTTPCommonAttribute `json:",omitempty"`
}

// HTTPCommonAttribute is HttpEndpointCommonAttribute.
type HTTPCommonAttribute struct{ AttributeName, AttributeValue string }

// Secret is a text that is stored and used, and never printed: "", or what a caller entrusted to us.
type Secret string

// String hides the text, also from logs and %v.
func (Secret) String() string { return "(hidden)" }

// GoString hides the text from %#v.
func (Secret) GoString() string { return "(hidden)" }

// EncryptionKey is DeliveryStreamEncryptionConfigurationInput: the key that Direct PUT records are encrypted with at rest.
type EncryptionKey struct {
	KeyType string // AWS_OWNED_CMK, CUSTOMER_MANAGED_CMK
	KeyARN  string `json:",omitempty"` // of a CUSTOMER_MANAGED_CMK
}

// Defaults of the service.
const (
	DefaultSizeInMBs         = 5
	DefaultIntervalInSeconds = 300
	// DefaultLargeSizeInMBs is the size with format conversion or dynamic partitioning, which need 64 at least.
	DefaultLargeSizeInMBs = 128
	// DefaultRetrySeconds is how long delivery to a partition, and to an HTTP endpoint, is tried.
	DefaultRetrySeconds = 300
)

// on reads an Enabled whose absence means no.
func on(enabled *bool) bool { return enabled != nil && *enabled }

// Converts reports whether records are converted to columns.
func (d *S3Destination) Converts() bool {
	c := d.DataFormatConversionConfiguration
	return c != nil && (c.Enabled == nil || *c.Enabled)
}

// Partitions reports whether dynamic partitioning is on.
func (d *S3Destination) Partitions() bool {
	return d.DynamicPartitioningConfiguration != nil && on(d.DynamicPartitioningConfiguration.Enabled)
}

// BacksUp reports whether source records are kept beside what is delivered.
func (d *S3Destination) BacksUp() bool { return d.S3BackupMode == "Enabled" }

// Processing gives the processors of the one destination; nil: none, or none that is enabled.
func (d *Definition) Processing() *ProcessingConfiguration {
	p := d.Destination.ProcessingConfiguration
	if d.HTTPEndpoint != nil {
		p = d.HTTPEndpoint.ProcessingConfiguration
	}
	if p == nil || !on(p.Enabled) {
		return nil
	}
	return p
}

// Hints gives the buffering of the one destination.
func (d *Definition) Hints() *BufferingHints {
	if d.HTTPEndpoint != nil {
		return d.HTTPEndpoint.BufferingHints
	}
	return d.Destination.BufferingHints
}

func (h *BufferingHints) absent() bool {
	return h == nil || h.SizeInMBs == nil && h.IntervalInSeconds == nil
}

func (d *HTTPEndpointDestination) setDefaults() {
	if d.BufferingHints.absent() {
		d.BufferingHints = &BufferingHints{new(DefaultSizeInMBs), new(DefaultIntervalInSeconds)}
	}
	if d.CloudWatchLoggingOptions == nil {
		d.CloudWatchLoggingOptions = &CloudWatchLoggingOptions{Enabled: new(false)}
	}
	if d.RequestConfiguration == nil {
		d.RequestConfiguration = &HTTPRequestConfiguration{}
	}
	if d.RequestConfiguration.ContentEncoding == "" {
		c := *d.RequestConfiguration
		c.ContentEncoding = "NONE"
		d.RequestConfiguration = &c
	}
	if d.RetryOptions == nil || d.RetryOptions.DurationInSeconds == nil {
		d.RetryOptions = &RetryOptions{new(DefaultRetrySeconds)}
	}
	if d.S3BackupMode == "" {
		d.S3BackupMode = "FailedDataOnly"
	}
}

func (d *S3Destination) setDefaults() {
	size := DefaultSizeInMBs
	if d.Converts() || d.Partitions() {
		size = DefaultLargeSizeInMBs
	}
	if d.BufferingHints.absent() {
		d.BufferingHints = &BufferingHints{&size, new(DefaultIntervalInSeconds)}
	}
	d.S3Configuration.setDefaults()
	if d.S3BackupMode == "" {
		d.S3BackupMode = "Disabled"
	}
	if b := d.S3BackupConfiguration; b != nil {
		backup := *b
		backup.setDefaults()
		d.S3BackupConfiguration = &backup
	}
	if p := d.DynamicPartitioningConfiguration; p != nil && on(p.Enabled) && (p.RetryOptions == nil || p.RetryOptions.DurationInSeconds == nil) {
		d.DynamicPartitioningConfiguration = &DynamicPartitioningConfiguration{p.Enabled, &RetryOptions{new(DefaultRetrySeconds)}}
	}
}

func (d *S3Configuration) setDefaults() {
	if d.BufferingHints.absent() {
		d.BufferingHints = &BufferingHints{new(DefaultSizeInMBs), new(DefaultIntervalInSeconds)}
	}
	if d.CompressionFormat == "" {
		d.CompressionFormat = string(uncompressed)
	}
	if d.EncryptionConfiguration == nil {
		d.EncryptionConfiguration = &EncryptionConfiguration{NoEncryptionConfig: "NoEncryption"}
	}
	if d.CloudWatchLoggingOptions == nil {
		d.CloudWatchLoggingOptions = &CloudWatchLoggingOptions{Enabled: new(false)}
	}
}

// ARN names the delivery stream.
func (d *Definition) ARN(account ids.Account) string { return account.DeliveryStream(d.Name) }

// Bucket gives the name in BucketARN.
func (d *Definition) Bucket() string { return d.Destination.Bucket() }

// Bucket gives the name in BucketARN.
func (c *S3Configuration) Bucket() string {
	_, name, _ := strings.Cut(c.BucketARN, ":::")
	return name
}

// SourceStream names the stream that is read: the Kinesis stream, or the hidden one of Direct PUT or of a topic.
func (d *Definition) SourceStream() string {
	if d.backupOf != nil {
		return d.backupOf.SourceStream()
	}
	if d.Type == DirectPut {
		return hiddenStream(d.Name, d.ID)
	}
	if d.MSKSource != nil {
		return d.MSKSource.stream()
	}
	arn, _ := ids.ParseARN(d.KinesisSource.KinesisStreamARN)
	return strings.TrimPrefix(arn.Resource, "stream/")
}

func hiddenStream(name, id string) string { return stream.HiddenPrefix + name + "." + id }

func (d *Definition) clone() *Definition {
	c := *d
	return &c
}
