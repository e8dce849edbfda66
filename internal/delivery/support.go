package delivery

// Support says what this package does with a member of the Firehose API.
type Support string

// The ways to treat a member. A member that is not listed is implemented.
const (
	Refused       Support = "refused"                 // at creation and update, by name
	WithoutEffect Support = "accepted without effect" // kept and shown
)

// Feature is a line of the support table.
type Feature struct {
	Member  string // path as in messages, with the value when only that value is meant
	Support Support
	Note    string
}

// Features lists what differs from the service, for people (`millrace support`). A test holds it against the code.
var Features = []Feature{
	{"deliveryStreamEncryptionConfigurationInput", Refused, "server-side encryption"},
	{"mSKSourceConfiguration", Refused, "deliveryStreamType MSKAsSource"},
	{"databaseSourceConfiguration", Refused, "deliveryStreamType DatabaseAsSource"},
	{"redshiftDestinationConfiguration", Refused, ""},
	{"elasticsearchDestinationConfiguration", Refused, ""},
	{"amazonopensearchserviceDestinationConfiguration", Refused, ""},
	{"amazonOpenSearchServerlessDestinationConfiguration", Refused, ""},
	{"splunkDestinationConfiguration", Refused, ""},
	{"httpEndpointDestinationConfiguration", Refused, ""},
	{"snowflakeDestinationConfiguration", Refused, ""},
	{"icebergDestinationConfiguration", Refused, ""},
	{"extendedS3DestinationConfiguration.compressionFormat ZIP", Refused, ""},
	{"extendedS3DestinationConfiguration.compressionFormat Snappy", Refused, ""},
	{"extendedS3DestinationConfiguration.compressionFormat HADOOP_SNAPPY", Refused, ""},
	{"extendedS3DestinationConfiguration.s3BackupMode Enabled", Refused, ""},
	{"extendedS3DestinationConfiguration.s3BackupConfiguration", Refused, ""},
	{"extendedS3DestinationConfiguration.dataFormatConversionConfiguration", Refused, "kept and shown with Enabled false"},
	{"extendedS3DestinationConfiguration.dynamicPartitioningConfiguration", Refused, "kept and shown with Enabled false"},
	{"extendedS3DestinationConfiguration.processingConfiguration.processors", Refused,
		"every type but AppendDelimiterToRecord; kept and shown with Enabled false"},
	{"extendedS3DestinationConfiguration.encryptionConfiguration", WithoutEffect, "encryption at rest is the bucket's"},
	{"extendedS3DestinationConfiguration.cloudWatchLoggingOptions", WithoutEffect, "errors go to the node's log and status"},
	{"extendedS3DestinationConfiguration.roleARN", WithoutEffect, "checked for its form; roles are not evaluated"},
	{"kinesisStreamSourceConfiguration.roleARN", WithoutEffect, "checked for its form; roles are not evaluated"},
	{"directPutSourceConfiguration.throughputHintInMBs", WithoutEffect, "a hint in the service too"},
	{"allowForceDelete", WithoutEffect, "concerns grants of a key service"},
}
