package delivery

import (
	"slices"
	"strings"
)

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
func Features() []Feature {
	all := slices.Clone(features)
	slices.SortStableFunc(all, func(a, b Feature) int { return strings.Compare(string(b.Support), string(a.Support)) })
	return all
}

var features = []Feature{
	{"databaseSourceConfiguration", Refused, "deliveryStreamType DatabaseAsSource"},
	{"redshiftDestinationConfiguration", Refused, ""},
	{"elasticsearchDestinationConfiguration", Refused, ""},
	{"amazonopensearchserviceDestinationConfiguration", Refused, ""},
	{"amazonOpenSearchServerlessDestinationConfiguration", Refused, ""},
	{"splunkDestinationConfiguration", Refused, ""},
	{"snowflakeDestinationConfiguration", Refused, ""},
	{"icebergDestinationConfiguration", Refused, ""},
	{"httpEndpointDestinationConfiguration.secretsManagerConfiguration", Refused, "give AccessKey; kept out with Enabled false"},
	{"extendedS3DestinationConfiguration.processingConfiguration.processors Decompression", Refused, "kept and shown with Enabled false"},
	{"extendedS3DestinationConfiguration.processingConfiguration.processors CloudWatchLogProcessing", Refused, "kept and shown with Enabled false"},
	{"extendedS3DestinationConfiguration.dataFormatConversionConfiguration.outputFormatConfiguration.serializer.orcSerDe", Refused,
		"kept and shown with Enabled false"},
	{s3Member + "dataFormatConversionConfiguration.outputFormatConfiguration.serializer.parquetSerDe.maxPaddingBytes", Refused,
		"but for 0, the default: row groups are not aligned to blocks of HDFS"},
	{s3Member + "dataFormatConversionConfiguration.schemaConfiguration.catalogId", Refused, "but for this account's; region likewise"},
	{s3Member + "processingConfiguration.processors MetadataExtraction now, input, env, $ENV, …", Refused,
		"a query depends on the record alone; functions whose cost has no bound, or whose result depends on the processor, are refused by name, too"},
	{s3Member + "encryptionConfiguration", WithoutEffect, "encryption at rest is the bucket's"},
	{s3Member + "roleARN", WithoutEffect, "checked for its form; roles are not evaluated; of backups, schemas, functions and other destinations, too"},
	{s3Member + "dynamicPartitioningConfiguration.retryOptions", WithoutEffect,
		"a bucket that fails is tried again for as long as it takes, and nothing goes to an error object for it"},
	{s3Member + "processingConfiguration.processors Lambda NumberOfRetries", WithoutEffect, "beyond 100, where the service takes up to 300"},
	{s3Member + "dataFormatConversionConfiguration.outputFormatConfiguration.serializer.parquetSerDe.blockSizeBytes", WithoutEffect,
		"beyond some 20 MiB after compression: a row group ends there, so that memory has a bound"},
	{"httpEndpointDestinationConfiguration.endpointConfiguration.name", WithoutEffect, "a name for people"},
	{"kinesisStreamSourceConfiguration.roleARN", WithoutEffect, "checked for its form; roles are not evaluated"},
	{"mSKSourceConfiguration.authenticationConfiguration", WithoutEffect,
		"checked for its form; where the brokers are and who this node is to them lies in the configuration file, under msk"},
	{"directPutSourceConfiguration.throughputHintInMBs", WithoutEffect, "a hint in the service too"},
	{"deliveryStreamEncryptionConfigurationInput.keyARN", WithoutEffect,
		"records are encrypted with a key of the node's own, derived for each KeyARN; there is no KMS here that would know which exist"},
	{"allowForceDelete", WithoutEffect, "concerns grants of a key service"},
}
