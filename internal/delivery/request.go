package delivery

import "encoding/json"

// CreateRequest is the input of CreateDeliveryStream, and the properties of an AWS::KinesisFirehose::DeliveryStream: the
// JSON names are the API's, so that a surface can decode its document straight into it. What this version does not do
// is decoded too, and refused by name.
type CreateRequest struct {
	DeliveryStreamName                 string
	DeliveryStreamType                 Type
	DirectPutSourceConfiguration       *DirectSource
	KinesisStreamSourceConfiguration   *KinesisSource
	S3DestinationConfiguration         *S3Destination
	ExtendedS3DestinationConfiguration *S3Destination
	Tags                               []Tag

	DeliveryStreamEncryptionConfigurationInput json.RawMessage
	MSKSourceConfiguration                     json.RawMessage
	DatabaseSourceConfiguration                json.RawMessage
	OtherDestinations
}

// OtherDestinations are those of the API that this version does not deliver to.
type OtherDestinations struct {
	RedshiftDestinationConfiguration                   json.RawMessage
	ElasticsearchDestinationConfiguration              json.RawMessage
	AmazonopensearchserviceDestinationConfiguration    json.RawMessage
	AmazonOpenSearchServerlessDestinationConfiguration json.RawMessage
	SplunkDestinationConfiguration                     json.RawMessage
	HttpEndpointDestinationConfiguration               json.RawMessage
	SnowflakeDestinationConfiguration                  json.RawMessage
	IcebergDestinationConfiguration                    json.RawMessage
}

// Tag of a delivery stream; the service allows an absent value.
type Tag struct{ Key, Value string }

// UpdateRequest is the input of UpdateDestination.
type UpdateRequest struct {
	DeliveryStreamName             string
	CurrentDeliveryStreamVersionId string
	DestinationId                  string
	S3DestinationUpdate            *S3Update
	ExtendedS3DestinationUpdate    *S3Update

	RedshiftDestinationUpdate                   json.RawMessage
	ElasticsearchDestinationUpdate              json.RawMessage
	AmazonopensearchserviceDestinationUpdate    json.RawMessage
	AmazonOpenSearchServerlessDestinationUpdate json.RawMessage
	SplunkDestinationUpdate                     json.RawMessage
	HttpEndpointDestinationUpdate               json.RawMessage
	SnowflakeDestinationUpdate                  json.RawMessage
	IcebergDestinationUpdate                    json.RawMessage
}

// S3Update is ExtendedS3DestinationUpdate: a member that is absent stays, one that is given replaces.
type S3Update struct {
	RoleARN                           *string
	BucketARN                         *string
	Prefix                            *string
	ErrorOutputPrefix                 *string
	BufferingHints                    *BufferingHints
	CompressionFormat                 *string
	EncryptionConfiguration           *EncryptionConfiguration
	CloudWatchLoggingOptions          *CloudWatchLoggingOptions
	ProcessingConfiguration           *ProcessingConfiguration
	S3BackupMode                      *string
	S3BackupUpdate                    json.RawMessage
	DataFormatConversionConfiguration *DataFormatConversionConfiguration
	DynamicPartitioningConfiguration  *DynamicPartitioningConfiguration
	FileExtension                     *string
	CustomTimeZone                    *string
}

// over gives dest with the update's members in place of its own.
func (u *S3Update) over(dest S3Destination) S3Destination {
	replace(&dest.RoleARN, u.RoleARN)
	replace(&dest.BucketARN, u.BucketARN)
	replace(&dest.CompressionFormat, u.CompressionFormat)
	replace(&dest.S3BackupMode, u.S3BackupMode)
	keep(&dest.Prefix, u.Prefix)
	keep(&dest.ErrorOutputPrefix, u.ErrorOutputPrefix)
	keep(&dest.FileExtension, u.FileExtension)
	keep(&dest.CustomTimeZone, u.CustomTimeZone)
	keep(&dest.BufferingHints, u.BufferingHints)
	keep(&dest.EncryptionConfiguration, u.EncryptionConfiguration)
	keep(&dest.CloudWatchLoggingOptions, u.CloudWatchLoggingOptions)
	keep(&dest.ProcessingConfiguration, u.ProcessingConfiguration)
	keep(&dest.DataFormatConversionConfiguration, u.DataFormatConversionConfiguration)
	keep(&dest.DynamicPartitioningConfiguration, u.DynamicPartitioningConfiguration)
	if present(u.S3BackupUpdate) {
		dest.S3BackupConfiguration = u.S3BackupUpdate
	}
	return dest
}

func replace(member *string, with *string) {
	if with != nil {
		*member = *with
	}
}

func keep[T any](member **T, with *T) {
	if with != nil {
		*member = with
	}
}

// present reports whether a member that is decoded only to be refused was given.
func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }
