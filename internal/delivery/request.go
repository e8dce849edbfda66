package delivery

import (
	"encoding/json"

	"millrace/internal/glue"
)

// CreateRequest is the input of CreateDeliveryStream, and the properties of an AWS::KinesisFirehose::DeliveryStream: the
// JSON names are the API's, so that a surface can decode its document straight into it. What this version does not do
// is decoded too, and refused by name.
type CreateRequest struct {
	DeliveryStreamName                 string
	DeliveryStreamType                 Type
	DirectPutSourceConfiguration       *DirectSource
	KinesisStreamSourceConfiguration   *KinesisSource
	MSKSourceConfiguration             *MSKSource
	S3DestinationConfiguration         *S3Configuration
	ExtendedS3DestinationConfiguration *S3Destination
	Tags                               []Tag

	HttpEndpointDestinationConfiguration       *HTTPEndpointRequest
	DeliveryStreamEncryptionConfigurationInput *EncryptionKey
	DatabaseSourceConfiguration                json.RawMessage
	OtherDestinations

	// Tables are looked at before Options.Table: tables that a definition file makes beside the delivery stream. May be nil.
	Tables Tables `json:"-"`
}

// Tables finds a table; nil: there is none of that name.
type Tables func(database, table string) *glue.Table

// OtherDestinations are those of the API that this version does not deliver to.
type OtherDestinations struct {
	RedshiftDestinationConfiguration                   json.RawMessage
	ElasticsearchDestinationConfiguration              json.RawMessage
	AmazonopensearchserviceDestinationConfiguration    json.RawMessage
	AmazonOpenSearchServerlessDestinationConfiguration json.RawMessage
	SplunkDestinationConfiguration                     json.RawMessage
	SnowflakeDestinationConfiguration                  json.RawMessage
	IcebergDestinationConfiguration                    json.RawMessage
}

// HTTPEndpointRequest is HttpEndpointDestinationConfiguration.
type HTTPEndpointRequest struct {
	HTTPEndpointDestination
	S3Configuration             *S3Configuration
	SecretsManagerConfiguration *SecretsManagerConfiguration
}

// SecretsManagerConfiguration is decoded to be refused when it is switched on.
type SecretsManagerConfiguration struct {
	SecretARN, RoleARN string
	Enabled            bool
}

// Tag of a delivery stream; the service allows an absent value.
type Tag struct{ Key, Value string }

// UpdateRequest is the input of UpdateDestination.
type UpdateRequest struct {
	DeliveryStreamName             string
	CurrentDeliveryStreamVersionId string
	DestinationId                  string
	S3DestinationUpdate            *S3ConfigurationUpdate
	ExtendedS3DestinationUpdate    *S3Update
	HttpEndpointDestinationUpdate  *HTTPEndpointUpdate

	RedshiftDestinationUpdate                   json.RawMessage
	ElasticsearchDestinationUpdate              json.RawMessage
	AmazonopensearchserviceDestinationUpdate    json.RawMessage
	AmazonOpenSearchServerlessDestinationUpdate json.RawMessage
	SplunkDestinationUpdate                     json.RawMessage
	SnowflakeDestinationUpdate                  json.RawMessage
	IcebergDestinationUpdate                    json.RawMessage
}

// S3ConfigurationUpdate is S3DestinationUpdate: a member that is absent stays, one that is given replaces.
type S3ConfigurationUpdate struct {
	RoleARN                  *string
	BucketARN                *string
	Prefix                   *string
	ErrorOutputPrefix        *string
	BufferingHints           *BufferingHints
	CompressionFormat        *string
	EncryptionConfiguration  *EncryptionConfiguration
	CloudWatchLoggingOptions *CloudWatchLoggingOptions
}

// S3Update is ExtendedS3DestinationUpdate.
type S3Update struct {
	S3ConfigurationUpdate
	ProcessingConfiguration           *ProcessingConfiguration
	S3BackupMode                      *string
	S3BackupUpdate                    *S3ConfigurationUpdate
	DataFormatConversionConfiguration *DataFormatConversionConfiguration
	DynamicPartitioningConfiguration  *DynamicPartitioningConfiguration
	FileExtension                     *string
	CustomTimeZone                    *string
}

// HTTPEndpointUpdate is HttpEndpointDestinationUpdate.
type HTTPEndpointUpdate struct {
	EndpointConfiguration       *HTTPEndpoint
	BufferingHints              *BufferingHints
	CloudWatchLoggingOptions    *CloudWatchLoggingOptions
	RequestConfiguration        *HTTPRequestConfiguration
	ProcessingConfiguration     *ProcessingConfiguration
	RoleARN                     *string
	RetryOptions                *RetryOptions
	S3BackupMode                *string
	S3Update                    *S3ConfigurationUpdate
	SecretsManagerConfiguration *SecretsManagerConfiguration
}

// over puts the update's members in place of c's own.
func (u *S3ConfigurationUpdate) over(c *S3Configuration) {
	replace(&c.RoleARN, u.RoleARN)
	replace(&c.BucketARN, u.BucketARN)
	replace(&c.CompressionFormat, u.CompressionFormat)
	keep(&c.Prefix, u.Prefix)
	keep(&c.ErrorOutputPrefix, u.ErrorOutputPrefix)
	keep(&c.BufferingHints, u.BufferingHints)
	keep(&c.EncryptionConfiguration, u.EncryptionConfiguration)
	keep(&c.CloudWatchLoggingOptions, u.CloudWatchLoggingOptions)
}

// over gives dest with the update's members in place of its own. Nested structures are replaced whole, but for the
// backup's, which is an update itself.
func (u *S3Update) over(dest S3Destination) S3Destination {
	u.S3ConfigurationUpdate.over(&dest.S3Configuration)
	replace(&dest.S3BackupMode, u.S3BackupMode)
	keep(&dest.FileExtension, u.FileExtension)
	keep(&dest.CustomTimeZone, u.CustomTimeZone)
	keep(&dest.ProcessingConfiguration, u.ProcessingConfiguration)
	keep(&dest.DataFormatConversionConfiguration, u.DataFormatConversionConfiguration)
	keep(&dest.DynamicPartitioningConfiguration, u.DynamicPartitioningConfiguration)
	if u.S3BackupUpdate != nil {
		backup := S3Configuration{}
		if dest.S3BackupConfiguration != nil {
			backup = *dest.S3BackupConfiguration
		}
		u.S3BackupUpdate.over(&backup)
		dest.S3BackupConfiguration = &backup
	}
	return dest
}

// over gives dest with the update's members in place of its own.
func (u *HTTPEndpointUpdate) over(dest HTTPEndpointDestination) *HTTPEndpointDestination {
	keep(&dest.EndpointConfiguration, u.EndpointConfiguration)
	keep(&dest.BufferingHints, u.BufferingHints)
	keep(&dest.CloudWatchLoggingOptions, u.CloudWatchLoggingOptions)
	keep(&dest.RequestConfiguration, u.RequestConfiguration)
	keep(&dest.ProcessingConfiguration, u.ProcessingConfiguration)
	keep(&dest.RetryOptions, u.RetryOptions)
	replace(&dest.RoleARN, u.RoleARN)
	replace(&dest.S3BackupMode, u.S3BackupMode)
	return &dest
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
