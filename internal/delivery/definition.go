package delivery

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

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
	DirectPut     *DirectSource  `json:"directPutSource,omitempty"`
	Destination   S3Destination  `json:"destination"`
	// Encryption is the state of server-side encryption: "DISABLED" for Direct PUT, empty for other sources.
	Encryption string            `json:"encryption,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	// Starts says where the shards that the source had at the creation are read from. Nil: an earlier version made the
	// definition, and with it the rows that say so.
	Starts *Starts `json:"starts,omitempty"`
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
	RoleARN                           string
	BucketARN                         string
	Prefix                            *string `json:",omitempty"` // reads back as given
	ErrorOutputPrefix                 *string `json:",omitempty"`
	BufferingHints                    *BufferingHints
	CompressionFormat                 string
	EncryptionConfiguration           *EncryptionConfiguration
	CloudWatchLoggingOptions          *CloudWatchLoggingOptions
	ProcessingConfiguration           *ProcessingConfiguration `json:",omitempty"`
	S3BackupMode                      string
	S3BackupConfiguration             json.RawMessage                    `json:",omitempty"` // only to refuse it
	DataFormatConversionConfiguration *DataFormatConversionConfiguration `json:",omitempty"`
	DynamicPartitioningConfiguration  *DynamicPartitioningConfiguration  `json:",omitempty"`
	FileExtension                     *string                            `json:",omitempty"`
	CustomTimeZone                    *string                            `json:",omitempty"`
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

// CloudWatchLoggingOptions are kept and shown; errors go to the node's own log and status.
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

// DataFormatConversionConfiguration is kept and shown when it is switched off, and refused when not.
type DataFormatConversionConfiguration struct {
	Enabled                   *bool           `json:",omitempty"`
	SchemaConfiguration       json.RawMessage `json:",omitempty"`
	InputFormatConfiguration  json.RawMessage `json:",omitempty"`
	OutputFormatConfiguration json.RawMessage `json:",omitempty"`
}

// DynamicPartitioningConfiguration is kept and shown when it is switched off, and refused when not.
type DynamicPartitioningConfiguration struct {
	Enabled      *bool         `json:",omitempty"`
	RetryOptions *RetryOptions `json:",omitempty"`
}

// RetryOptions of a destination.
type RetryOptions struct {
	DurationInSeconds *int `json:",omitempty"`
}

// Defaults of the service.
const (
	DefaultSizeInMBs         = 5
	DefaultIntervalInSeconds = 300
)

func (d *S3Destination) setDefaults() {
	if d.BufferingHints == nil || d.BufferingHints.SizeInMBs == nil && d.BufferingHints.IntervalInSeconds == nil {
		size, interval := DefaultSizeInMBs, DefaultIntervalInSeconds
		d.BufferingHints = &BufferingHints{&size, &interval}
	}
	if d.CompressionFormat == "" {
		d.CompressionFormat = string(uncompressed)
	}
	if d.EncryptionConfiguration == nil {
		d.EncryptionConfiguration = &EncryptionConfiguration{NoEncryptionConfig: "NoEncryption"}
	}
	off := false
	if d.CloudWatchLoggingOptions == nil {
		d.CloudWatchLoggingOptions = &CloudWatchLoggingOptions{Enabled: &off}
	}
	if d.S3BackupMode == "" {
		d.S3BackupMode = "Disabled"
	}
}

// ARN names the delivery stream.
func (d *Definition) ARN(account ids.Account) string { return account.DeliveryStream(d.Name) }

// Bucket gives the name in BucketARN.
func (d *Definition) Bucket() string {
	_, name, _ := strings.Cut(d.Destination.BucketARN, ":::")
	return name
}

// SourceStream names the stream that is read: the Kinesis stream, or the hidden one of Direct PUT.
func (d *Definition) SourceStream() string {
	if d.Type == DirectPut {
		return hiddenStream(d.Name, d.ID)
	}
	arn, _ := ids.ParseARN(d.KinesisSource.KinesisStreamARN)
	return strings.TrimPrefix(arn.Resource, "stream/")
}

func hiddenStream(name, id string) string { return stream.HiddenPrefix + name + "." + id }

func (d *Definition) clone() *Definition {
	c := *d
	return &c
}
