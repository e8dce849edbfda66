package template

import (
	"strings"
	"testing"
)

const convertedPipeline = `Resources:
  B: {Type: AWS::S3::Bucket, Properties: {BucketName: converted}}
  D: {Type: AWS::Glue::Database, Properties: {DatabaseInput: {Name: web}}}
  T:
    Type: AWS::Glue::Table
    Properties:
      DatabaseName: !Ref D
      TableInput: {Name: events, StorageDescriptor: {Columns: [{Name: id, Type: bigint}, {Name: Tags, Type: "array<string>"}]}}
  F:
    Type: AWS::KinesisFirehose::DeliveryStream
    Properties:
      ExtendedS3DestinationConfiguration:
        BucketARN: !GetAtt B.Arn
        RoleARN: arn:aws:iam::000000000000:role/r
        Prefix: "t=!{partitionKeyFromQuery:t}/"
        ErrorOutputPrefix: "errors/!{firehose:error-output-type}/"
        BufferingHints: {SizeInMBs: 64, IntervalInSeconds: 60}
        DynamicPartitioningConfiguration: {Enabled: true}
        ProcessingConfiguration:
          Enabled: true
          Processors:
            - Type: RecordDeAggregation
              Parameters: [{ParameterName: SubRecordType, ParameterValue: JSON}]
            - Type: MetadataExtraction
              Parameters:
                - {ParameterName: JsonParsingEngine, ParameterValue: JQ-1.6}
                - {ParameterName: MetadataExtractionQuery, ParameterValue: "{t: .t}"}
        DataFormatConversionConfiguration:
          InputFormatConfiguration: {Deserializer: {OpenXJsonSerDe: {}}}
          OutputFormatConfiguration: {Serializer: {ParquetSerDe: {Compression: SNAPPY}}}
          SchemaConfiguration: {RoleARN: "arn:aws:iam::000000000000:role/r", DatabaseName: !Ref D, TableName: !Ref T}
`

const someFunction = "arn:aws:lambda:us-east-1:000000000000:function:f"

// What is wrong with a delivery stream is told where it stands in the file, also when it is found by what runs delivery streams,
// whose words are the service's.
func TestPlacesOfDeliveryProblems(t *testing.T) {
	n := newNode(t)
	lambda := func(parameters string) string {
		return "- {Type: Lambda, Parameters: [" + parameters + "]}\n            - Type: RecordDeAggregation"
	}
	const aggregation, destination = "- Type: RecordDeAggregation", "Properties.ExtendedS3DestinationConfiguration."
	const processors = destination + "ProcessingConfiguration.Processors."
	for _, c := range []struct{ old, new, want string }{
		{"{t: .t}", "{t: .t", "27:76: Resources.F." + processors + "2.Parameters.2.ParameterValue: MetadataExtractionQuery is not a valid JQ 1.6 query"},
		{"{t: .t}", "{t: now}", "27:76: Resources.F." + processors + "2.Parameters.2.ParameterValue: MetadataExtractionQuery: the function now"},
		{"{t: .t}", "{u: .t}", "27:76: Resources.F." + processors + "2.Parameters.2.ParameterValue: MetadataExtractionQuery is not a valid JQ 1.6 query: it does not give the partition key t"},
		{"JQ-1.6", "JQ-1.7", "26:70: Resources.F." + processors + "2.Parameters.1.ParameterValue: MetaDataExtraction JSON Parsing Engine has to be"},
		{"ParameterValue: JSON", "ParameterValue: CSV", "23:75: Resources.F." + processors + "1.Parameters.1.ParameterValue: SubRecordType has to be"},
		{aggregation, lambda("{ParameterName: LambdaArn, ParameterValue: f}"), "22:86: Resources.F." + processors + "1.Parameters.1.ParameterValue: Invalid lambda ARN"},
		{aggregation, lambda("{ParameterName: LambdaArn, ParameterValue: '" + someFunction + "'}"), "22:86: Resources.F." + processors +
			"1.Parameters.1.ParameterValue: processingConfiguration.processors: nothing stands for the function"},
		{aggregation, lambda("{ParameterName: NumberOfRetries, ParameterValue: x}, {ParameterName: LambdaArn, ParameterValue: '" + someFunction + "'}"),
			"22:92: Resources.F." + processors + "1.Parameters.1.ParameterValue: Number of retries"},
		{aggregation, "- {Type: Lambda}\n            - Type: RecordDeAggregation", "19:9: Resources.F." + destination + "ProcessingConfiguration: LambdaArn is required"},
		{"Prefix: \"t=", "CompressionFormat: GZIP\n        Prefix: \"t=", "15:9: Resources.F." + destination + "CompressionFormat: The S3 destination's compression format must be set"},
		{"array<string>", "arrray<string>", "8:90: Resources.T.Properties.TableInput.StorageDescriptor.Columns.2: column \"Tags\": type"},
		{"TableName: !Ref T", "TableName: nope", "31:111: Resources.F." + destination + "DataFormatConversionConfiguration.SchemaConfiguration.TableName: schemaConfiguration.tableName: Table web.nope is not found"},
		{"      ExtendedS3", "      DeliveryStreamType: KinesisStreamAsSource\n      KinesisStreamSourceConfiguration: {RoleARN: 'arn:aws:iam::000000000000:role/r', " +
			"KinesisStreamARN: 'arn:aws:kinesis:us-east-1:000000000000:stream/nope'}\n      ExtendedS3",
			"13:105: Resources.F.Properties.KinesisStreamSourceConfiguration.KinesisStreamARN: there is no stream arn:aws:kinesis:us-east-1:000000000000:stream/nope, in the file"},
	} {
		body := strings.Replace(convertedPipeline, c.old, c.new, 1)
		if _, _, err := n.up("t.yaml", body, Options{Stack: "s"}, false); err == nil || !strings.Contains(err.Error(), "t.yaml:"+c.want) {
			t.Errorf("%s\n  gives %v\n  want %s", c.new, err, c.want)
		}
	}
	n.mustUp(convertedPipeline, Options{Stack: "s"}, false)
	if plan := n.mustUp(convertedPipeline, Options{Stack: "s"}, false); strings.Contains(plan, "  + ") || strings.Contains(plan, "  ~ ") {
		t.Errorf("a second run changes something:\n%s", plan)
	}
}

// What a node can't know when it plans is told with the place of the resource, when it fails.
func TestPlacesOfFailures(t *testing.T) {
	n := newNode(t)
	topic := strings.Replace(convertedPipeline, "      ExtendedS3", "      DeliveryStreamType: MSKAsSource\n      MSKSourceConfiguration: {TopicName: t, "+
		"MSKClusterARN: 'arn:aws:kafka:us-east-1:000000000000:cluster/c/1', AuthenticationConfiguration: {Connectivity: PUBLIC, RoleARN: 'arn:aws:iam::000000000000:role/r'}}\n      ExtendedS3", 1)
	if _, _, err := n.up("t.yaml", topic, Options{Stack: "s"}, false); err == nil || !strings.Contains(err.Error(), "template.Apply t.yaml:9:3 Resources.F: AWS::KinesisFirehose::DeliveryStream s-F-") ||
		!strings.Contains(err.Error(), "MSKAsSource is not supported") {
		t.Errorf("got %v", err)
	}
}

// A bucket that is nowhere is no error, as in the service, but a note.
func TestNoteOfMissingBuckets(t *testing.T) {
	n := newNode(t)
	body := "Resources:\n  F:\n    Type: AWS::KinesisFirehose::DeliveryStream\n    Properties:\n      S3DestinationConfiguration: " +
		"{RoleARN: 'arn:aws:iam::000000000000:role/r', BucketARN: 'arn:aws:s3:::nowhere'}\n"
	if plan := n.mustUp(body, Options{Stack: "s"}, false); !strings.Contains(plan, "note: F: there is no bucket nowhere, in the file or on the node") {
		t.Errorf("got\n%s", plan)
	}
}
