package delivery

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"millrace/internal/fault"
	"millrace/internal/glue"
)

// create decodes a CreateDeliveryStream document: the members given, over a good Direct PUT request whose destination
// has the members of dest.
func decode(t *testing.T, members, dest string) (*Definition, error) {
	t.Helper()
	req, err := decodeRequest(t, members, dest)
	if err != nil {
		t.Fatal(err)
	}
	return req.Definition()
}

func decodeRequest(t *testing.T, members, dest string) (*CreateRequest, error) {
	t.Helper()
	document := map[string]any{"DeliveryStreamName": "d"}
	destination := map[string]any{"RoleARN": "arn:aws:iam::000000000000:role/r", "BucketARN": "arn:aws:s3:::b"}
	merge := func(into map[string]any, text string) {
		if err := json.Unmarshal([]byte("{"+text+"}"), &into); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	merge(destination, dest)
	document["ExtendedS3DestinationConfiguration"] = destination
	merge(document, members)
	raw, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	req := new(CreateRequest)
	return req, json.Unmarshal(raw, req)
}

func TestDefinitionsThatAreRefused(t *testing.T) {
	refused := func(kind fault.Kind, members, dest, message string) {
		t.Helper()
		_, err := decode(t, members, dest)
		if !fault.Is(err, kind) || !strings.Contains(err.Error(), message) {
			t.Errorf("%s %s: got %v, want %v %q", members, dest, err, kind, message)
		}
	}
	invalid := func(dest, message string) { t.Helper(); refused(fault.Invalid, "", dest, message) }
	stream := `"DeliveryStreamType":"KinesisStreamAsSource","KinesisStreamSourceConfiguration":{"KinesisStreamARN":"%s","RoleARN":"%s"}`

	refused(fault.Invalid, `"DeliveryStreamName":"a b"`, "", "deliveryStreamName")
	refused(fault.Invalid, `"DeliveryStreamName":""`, "", "deliveryStreamName")
	refused(fault.Invalid, `"DeliveryStreamType":"Other"`, "", "deliveryStreamType")
	refused(fault.Unsupported, `"DeliveryStreamType":"DatabaseAsSource"`, "", "DatabaseAsSource")
	refused(fault.Invalid, `"DeliveryStreamType":"KinesisStreamAsSource"`, "", "KinesisSourceStreamConfig is mandatory for KinesisStreamAsSource stream type.")
	refused(fault.Invalid, fmt.Sprintf(stream, "arn:aws:kinesis:us-east-1:1:stream/s", "x"), "", "kinesisStreamARN")
	refused(fault.Invalid, fmt.Sprintf(stream, "arn:aws:kinesis:us-east-1:000000000000:stream/s", "x"), "", "roleARN")
	refused(fault.Invalid, `"ExtendedS3DestinationConfiguration":null`, "", "Exactly one destination configuration is supported for a Firehose")
	refused(fault.Invalid, `"S3DestinationConfiguration":{}`, "", "Exactly one destination configuration is supported for a Firehose")
	refused(fault.Invalid, `"RedshiftDestinationConfiguration":{"x":1}`, "", "Exactly one destination configuration is supported for a Firehose")
	refused(fault.Unsupported, `"ExtendedS3DestinationConfiguration":null,"RedshiftDestinationConfiguration":{"x":1}`, "",
		"redshiftDestinationConfiguration is not supported")
	refused(fault.Invalid, fmt.Sprintf(stream, testAccount.Stream("s"), testAccount.Role("r"))+`,"DeliveryStreamEncryptionConfigurationInput":{"KeyType":"AWS_OWNED_CMK"}`, "",
		"Server side encryption from firehose is only allowed for direct put delivery streams")
	encryption := `"DeliveryStreamEncryptionConfigurationInput":{"KeyType":"%s"%s}`
	refused(fault.Invalid, fmt.Sprintf(encryption, "CUSTOMER_MANAGED_CMK", ""), "", "KeyARN has to be specified when KeyType is CUSTOMER_MANAGED_CMK")
	refused(fault.Invalid, fmt.Sprintf(encryption, "AWS_OWNED_CMK", `,"KeyARN":"arn:aws:kms:us-east-1:000000000000:key/k"`), "",
		"KeyARN cannot be specified when KeyType is AWS_OWNED_CMK")
	refused(fault.Invalid, fmt.Sprintf(encryption, "MINE", ""), "", "keyType")
	refused(fault.Invalid, `"Tags":[{"Key":"a"},{"Key":"a"}]`, "", "Duplicate")
	refused(fault.Invalid, `"Tags":[{"Key":"aws:a"}]`, "", "aws:")
	refused(fault.Invalid, `"Tags":[{"Key":"a"},{"Key":""}]`, "", "tags.2.member.key")

	invalid(`"BucketARN":"b"`, "1 validation error detected: Value at 'extendedS3DestinationConfiguration.bucketARN' failed to "+
		`satisfy constraint: Member must satisfy regular expression pattern: arn:.*:s3:::[\w\.\-]{1,255}`)
	invalid(`"RoleARN":""`, "roleARN")
	invalid(`"BufferingHints":{"SizeInMBs":1}`, "both")
	invalid(`"BufferingHints":{"SizeInMBs":0,"IntervalInSeconds":60}`, "greater than or equal to 1")
	invalid(`"BufferingHints":{"SizeInMBs":129,"IntervalInSeconds":60}`, "less than or equal to 128")
	invalid(`"BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":901}`, "less than or equal to 900")
	invalid(`"CompressionFormat":"SNAPPY"`, "[ZIP, HADOOP_SNAPPY, Snappy, GZIP, UNCOMPRESSED]")
	invalid(`"FileExtension":"gz"`, "fileExtension")
	const zone = "Provided custom time zone is not supported. Custom time zones are limited to UTC and non-3-letter IANA time zones."
	invalid(`"CustomTimeZone":"Local"`, zone)
	invalid(`"CustomTimeZone":"Mars/Olympus"`, zone)
	invalid(`"CustomTimeZone":"EST"`, zone)
	invalid(`"CustomTimeZone":"../etc"`, "customTimeZone")
	invalid(`"CloudWatchLoggingOptions":{"Enabled":true}`, "CloudWatch Log Group Name is required if CloudWatch Logging is enabled")
	invalid(`"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"g"}`, "CloudWatch Log Stream Name is required if CloudWatch Logging is enabled")
	invalid(`"EncryptionConfiguration":{}`, "Exactly one of NoEncryptionConfig or KMSEncryptionConfig must be specified")
	invalid(`"EncryptionConfiguration":{"NoEncryptionConfig":"NoEncryption","KMSEncryptionConfig":{"AWSKMSKeyARN":"k"}}`, "Exactly one of NoEncryptionConfig")

	const constraint = "Ths supplied prefix(es) do not satisfy the following constraint: "
	invalid(`"Prefix":"!{timestamp:yyyy}/"`, constraint+"ErrorOutputPrefix cannot be null or empty when Prefix contains expressions")
	invalid(`"Prefix":"!{firehose:error-output-type}/","ErrorOutputPrefix":"e/"`, constraint+"Prefix must not contain any occurrence of !{firehose:error-output-type}")
	invalid(`"Prefix":"a","ErrorOutputPrefix":"!{timestamp:yyyy}/"`, constraint+"ErrorOutputPrefix must contain at least one occurrence of !{firehose:error-output-type}")
	invalid(`"Prefix":"!{partitionKeyFromQuery:k}/","ErrorOutputPrefix":"e/"`,
		"Dynamic Partitioning Namespaces can only be part of a prefix expression when Dynamic Partitioning is enabled.")
	invalid(`"ErrorOutputPrefix":"!{partitionKeyFromQuery:k}/!{firehose:error-output-type}/"`, "Dynamic Partitioning Namespaces can't be part of an error prefix expression")
	invalid(`"Prefix":"!{timestamp:jj}/","ErrorOutputPrefix":"e/"`, "unknown pattern letter")
	invalid(`"ErrorOutputPrefix":"!{firehose:error-output-type}/!{when:yyyy}"`, constraint+"Namespace to the left of colon (when) is an invalid keyword!")
	invalid(`"Prefix":"`+strings.Repeat("x", 513)+`"`, constraint+"Length of evaluated prefix cannot be greater than 512")
	invalid(`"ErrorOutputPrefix":"`+strings.Repeat("x", 480)+`"`, constraint+"Length of evaluated ErrorOutputPrefix cannot be greater than 512")
	invalid(`"Prefix":"`+strings.Repeat("€", 300)+`"`, "bytes")
}

// enabled is a destination's ProcessingConfiguration.
func enabled(processors ...string) string {
	return `"ProcessingConfiguration":{"Enabled":true,"Processors":[` + strings.Join(processors, ",") + `]}`
}

// processor gives one with parameters NAME=VALUE.
func processor(kind string, parameters ...string) string {
	p := Processor{Type: kind}
	for _, text := range parameters {
		name, value, _ := strings.Cut(text, "=")
		p.Parameters = append(p.Parameters, ProcessorParameter{name, value})
	}
	raw, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

const (
	function   = "LambdaArn=arn:aws:lambda:us-east-1:000000000000:function:f"
	jq         = "JsonParsingEngine=JQ-1.6"
	query      = "MetadataExtractionQuery={k:.k}"
	partitions = `"DynamicPartitioningConfiguration":{"Enabled":true},"Prefix":"!{partitionKeyFromQuery:k}/","ErrorOutputPrefix":"e/"`
)

func TestProcessorsThatAreRefused(t *testing.T) {
	kind := fault.Invalid
	f := func(dest, message string) {
		t.Helper()
		_, err := decode(t, "", dest)
		if !fault.Is(err, kind) || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: got %v, want %v %q", dest, err, kind, message)
		}
	}
	f(enabled(`{"Type":"Nonsense"}`), "enum value set: [Decompression, Lambda, RecordDeAggregation, MetadataExtraction, AppendDelimiterToRecord, CloudWatchLogProcessing]")
	f(enabled(), "A maximum of 5 and a minimum of 1 processor needs to be supplied when processing is enabled.")
	f(enabled(processor(appendDelimiter), processor(appendDelimiter)), "Cannot have more than 1 AppendDelimiterToRecord processor.")
	f(enabled(processor(lambda), processor(lambda)), "Cannot have more than 1 Lambda processor.")
	f(enabled(processor(lambda, "RoleArn=x", "RoleArn=x")), "Duplicate ProcessorParameter passed to ProcessingConfiguration.")
	f(enabled(processor(appendDelimiter, "LambdaArn=y")), "processors.1.member.parameters.1.member.parameterName: the parameter LambdaArn is not one of processor AppendDelimiterToRecord.")
	f(enabled(processor(appendDelimiter, "Delimiter=")), "processors.1.member.parameters.1.member.parameterValue")
	f(enabled(processor(appendDelimiter, "Delimiter= ")), "processors.1.member.parameters.1.member.parameterValue")

	f(enabled(processor(lambda)), "LambdaArn is required when Lambda processor is used.")
	f(enabled(processor(lambda, "LambdaArn=f")), "Invalid lambda ARN.")
	f(enabled(processor(lambda, function, "BufferSizeInMBs=1")), "Both BufferSizeInMBs and BufferIntervalInSeconds are required to configure buffering for lambda processor.")
	f(enabled(processor(lambda, function, "BufferSizeInMBs=0.1", "BufferIntervalInSeconds=60")), "BufferSizeInMBs for lambda processor must be between 0.2 and 3.")
	f(enabled(processor(lambda, function, "BufferSizeInMBs=NaN", "BufferIntervalInSeconds=60")), "BufferSizeInMBs for lambda processor must be between 0.2 and 3.")
	f(enabled(processor(lambda, function, "BufferSizeInMBs=1", "BufferIntervalInSeconds=901")), "BufferIntervalInSeconds for lambda processor must be between 0 and 900.")
	f(enabled(processor(lambda, function, "NumberOfRetries=301")), "Number of retries for lambda must be between 0 and 300.")
	f(enabled(processor(lambda, function, "NumberOfRetries=few")), "Number of retries for lambda must be between 0 and 300.")
	f(enabled(processor(lambda, function, "RoleArn=me")), "Invalid role ARN.")

	f(enabled(processor(recordDeAggregator, "SubRecordType=JSON")),
		"class com.amazonaws.services.firehose.internal.model.RecordDeAggregationProcessor can only be present when Dynamic Partitioning is enabled.")
	f(enabled(processor(metadataExtraction, query, jq)),
		"class com.amazonaws.services.firehose.internal.model.MetadataExtractionProcessor can only be present when Dynamic Partitioning is enabled.")
	partitioned := func(message string, processors ...string) {
		t.Helper()
		f(partitions+","+enabled(processors...), message)
	}
	good := processor(metadataExtraction, query, jq)
	partitioned("SubRecordType has to be one of JSON, DELIMITED", good, processor(recordDeAggregator))
	partitioned("SubRecordType has to be one of JSON, DELIMITED", good, processor(recordDeAggregator, "SubRecordType=XML"))
	partitioned("Delimiter should be present for DELIMITED", good, processor(recordDeAggregator, "SubRecordType=DELIMITED"))
	partitioned("Base64", good, processor(recordDeAggregator, "SubRecordType=DELIMITED", "Delimiter=#"))
	partitioned("for DELIMITED only", good, processor(recordDeAggregator, "SubRecordType=JSON", "Delimiter=IyMjIw=="))
	partitioned("MetaDataExtraction JSON Parsing Engine has to be one of JQ-1.6", processor(metadataExtraction, query))
	partitioned("MetaDataExtraction JSON Parsing Engine has to be one of JQ-1.6", processor(metadataExtraction, query, "JsonParsingEngine=JQ-1.7"))
	partitioned("MetadataExtractionQuery is required", processor(metadataExtraction, jq))

	kind = fault.Unsupported
	for i, kind := range []string{decompression, logProcessing} {
		list := []string{processor(appendDelimiter), processor(kind)}
		f(enabled(list[1-i:]...), fmt.Sprintf("extendedS3DestinationConfiguration.processingConfiguration.processors.%d.member.type %s is not supported", 1+i, kind))
	}
}

func TestPartitioningThatIsRefused(t *testing.T) {
	f := func(dest, message string) {
		t.Helper()
		if _, err := decode(t, "", dest); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: got %v, want %q", dest, err, message)
		}
	}
	const on = `"DynamicPartitioningConfiguration":{"Enabled":true},`
	f(on+`"BufferingHints":{"SizeInMBs":63,"IntervalInSeconds":60}`, "BufferingHints.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled.")
	f(on+`"BufferingHints":{"SizeInMBs":64,"IntervalInSeconds":59}`, "BufferingHints.IntervalInSeconds must be at least 60 when Dynamic Partitioning is enabled.")
	f(on+`"BufferingHints":{"SizeInMBs":64,"IntervalInSeconds":0}`, "BufferingHints.IntervalInSeconds must be at least 60")
	f(on+`"Prefix":"!{timestamp:yyyy}/","ErrorOutputPrefix":"e/"`, "S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled")
	f(partitions, "!{partitionKeyFromQuery:k} in Prefix needs a processor of type MetadataExtraction")
	f(partitions+","+enabled(processor(lambda, function)), "!{partitionKeyFromQuery:k} in Prefix needs a processor of type MetadataExtraction")
	f(strings.Replace(partitions, "Query", "Lambda", 1)+","+enabled(processor(metadataExtraction, query, jq)),
		"!{partitionKeyFromLambda:k} in Prefix needs a processor of type Lambda")
	f(`"DynamicPartitioningConfiguration":{"Enabled":true,"RetryOptions":{"DurationInSeconds":7201}}`, "retryOptions.durationInSeconds")
}

func TestConversionThatIsRefused(t *testing.T) {
	kind := fault.Invalid
	f := func(dest, conversion, message string) {
		t.Helper()
		_, err := decode(t, "", dest+`"DataFormatConversionConfiguration":{`+conversion+`}`)
		if !fault.Is(err, kind) || !strings.Contains(err.Error(), message) {
			t.Errorf("%s %s: got %v, want %v %q", dest, conversion, err, kind, message)
		}
	}
	const (
		in     = `"InputFormatConfiguration":{"Deserializer":{"OpenXJsonSerDe":{}}}`
		out    = `,"OutputFormatConfiguration":{"Serializer":{"ParquetSerDe":{}}}`
		schema = `,"SchemaConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r","DatabaseName":"d","TableName":"t"}`
	)
	f(`"CompressionFormat":"GZIP","BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":60},`, ``,
		"The S3 destination's compression format must be set to UNCOMPRESSED when data format conversion is enabled.")
	f(`"BufferingHints":{"SizeInMBs":63,"IntervalInSeconds":60},`, ``, "BufferingHints.SizeInMBs must be at least 64 when data format conversion is enabled.")
	f("", ``, "InputFormatConfiguration must not be null")
	f("", in, "OutputFormatConfiguration must not be null")
	f("", in+out, "SchemaConfiguration must not be null")
	f("", `"InputFormatConfiguration":{}`+out+schema, "Deserializer must not be null")
	f("", `"InputFormatConfiguration":{"Deserializer":{}}`+out+schema, "Deserializer must not be null")
	f("", `"InputFormatConfiguration":{"Deserializer":{"OpenXJsonSerDe":{},"HiveJsonSerDe":{}}}`+out+schema, "More than one deserializer specified. Only one may be chosen.")
	f("", in+`,"OutputFormatConfiguration":{"Serializer":{}}`+schema, "Serializer must not be null")
	f("", in+`,"OutputFormatConfiguration":{"Serializer":{"ParquetSerDe":{},"OrcSerDe":{}}}`+schema, "More than one serializer specified. Only one may be chosen.")
	f("", in+out+`,"SchemaConfiguration":{}`, "SchemaConfiguration.RoleArn must not be null or empty")
	f("", in+out+strings.Replace(schema, `"DatabaseName":"d",`, "", 1), "SchemaConfiguration.DatabaseName must not be null or empty")
	f("", in+out+strings.Replace(schema, `,"TableName":"t"`, "", 1), "SchemaConfiguration.TableName must not be null or empty")
	f("", `"Enabled":false,"SchemaConfiguration":{"RoleARN":"me"}`, "Invalid role ARN.")
	f("", `"Enabled":false,"OutputFormatConfiguration":{"Serializer":{"ParquetSerDe":{"BlockSizeBytes":1}}}`, "parquetSerDe.blockSizeBytes")
	f("", `"Enabled":false,"OutputFormatConfiguration":{"Serializer":{"ParquetSerDe":{"Compression":"LZO"}}}`, "[UNCOMPRESSED, GZIP, SNAPPY]")
	f("", `"Enabled":false,"OutputFormatConfiguration":{"Serializer":{"OrcSerDe":{"PaddingTolerance":2}}}`, "orcSerDe.paddingTolerance")
	kind = fault.Unsupported
	f("", in+`,"OutputFormatConfiguration":{"Serializer":{"OrcSerDe":{}}}`+schema,
		"extendedS3DestinationConfiguration.dataFormatConversionConfiguration.outputFormatConfiguration.serializer.orcSerDe is not supported")
}

func TestBackupsThatAreRefused(t *testing.T) {
	f := func(dest, message string) {
		t.Helper()
		if _, err := decode(t, "", dest); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: got %v, want %q", dest, err, message)
		}
	}
	backup := func(members string) string {
		return `"S3BackupMode":"Enabled","S3BackupConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"arn:aws:s3:::b"` + members + `}`
	}
	f(`"S3BackupMode":"Enabled"`, "S3 backup destination configuration is required when enabling S3 backup.")
	f(`"S3BackupMode":"On"`, "[Disabled, Enabled]")
	f(`"S3BackupConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"b"}`, "extendedS3DestinationConfiguration.s3BackupConfiguration.bucketARN")
	f(backup(`,"BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":0}`), "zero buffering")
	f(backup(`,"Prefix":"!{timestamp:yyyy}/"`), "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions")
	f(backup(`,"Prefix":"!{partitionKeyFromQuery:k}/","ErrorOutputPrefix":"e/"`), "Dynamic Partitioning Namespaces can only be part")
}

func TestEndpointsThatAreRefused(t *testing.T) {
	kind := fault.Invalid
	f := func(members, message string) {
		t.Helper()
		_, err := decode(t, `"ExtendedS3DestinationConfiguration":null,"HttpEndpointDestinationConfiguration":{`+members+`}`, "")
		if !fault.Is(err, kind) || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: got %v, want %v %q", members, err, kind, message)
		}
	}
	const (
		bucket = `"S3Configuration":{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"arn:aws:s3:::b"}`
		url    = `,"EndpointConfiguration":{"Url":"https://example.com/in"}`
	)
	f(bucket, "httpEndpointDestinationConfiguration.endpointConfiguration")
	f(bucket+`,"EndpointConfiguration":{"Url":"ftp://example.com"}`, "endpointConfiguration.url")
	f(bucket+`,"EndpointConfiguration":{"Url":"https:///x"}`, "no URL with a host")
	f(bucket+`,"EndpointConfiguration":{"Url":"https://u:p@example.com"}`, "with a user")
	f(bucket+`,"EndpointConfiguration":{"Url":"https://example.com","AccessKey":"a\nb"}`, "control characters")
	f(`"EndpointConfiguration":{"Url":"https://example.com/in"}`, "s3Configuration")
	f(`"S3Configuration":{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"b"}`+url, "httpEndpointDestinationConfiguration.s3Configuration.bucketARN")
	f(bucket+url+`,"BufferingHints":{"SizeInMBs":65,"IntervalInSeconds":60}`, "less than or equal to 64")
	f(bucket+url+`,"RetryOptions":{"DurationInSeconds":7201}`, "retryOptions.durationInSeconds")
	f(bucket+url+`,"S3BackupMode":"Enabled"`, "[FailedDataOnly, AllData]")
	f(bucket+url+`,"RequestConfiguration":{"ContentEncoding":"BR"}`, "[NONE, GZIP]")
	f(bucket+url+`,"RequestConfiguration":{"CommonAttributes":[{"AttributeName":"a"},{"AttributeName":"a"}]}`, "Http Endpoint Common Attributes have duplicate name a")
	f(bucket+url+`,"RequestConfiguration":{"CommonAttributes":[{"AttributeName":"a"},{"AttributeName":" "}]}`, "commonAttributes.2.member.attributeName")
	f(bucket+url+","+enabled(processor(metadataExtraction, query, jq)), "can only be present when Dynamic Partitioning is enabled.")
	kind = fault.Unsupported
	f(bucket+url+`,"SecretsManagerConfiguration":{"Enabled":true}`, "httpEndpointDestinationConfiguration.secretsManagerConfiguration is not supported")
}

func TestDefaultsAreFilledIn(t *testing.T) {
	def, err := decode(t, `"Tags":[{"Key":"a","Value":"b"},{"Key":"c"}]`, `"Prefix":"p","SomethingNew":1`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(def, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/defaults.json")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "definition", string(got)+"\n", string(want))
}

func TestS3DestinationIsASubset(t *testing.T) {
	def, err := decode(t, `"ExtendedS3DestinationConfiguration":null,"S3DestinationConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r",`+
		`"BucketARN":"arn:aws:s3:::b","FileExtension":".ignored","CompressionFormat":"GZIP"}`, "")
	if err != nil {
		t.Fatal(err)
	}
	if def.Destination.FileExtension != nil || def.Destination.CompressionFormat != "GZIP" {
		t.Errorf("%+v", def.Destination)
	}
	_, err = decode(t, `"ExtendedS3DestinationConfiguration":null,"S3DestinationConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r",`+
		`"BucketARN":"b"}`, "")
	if err == nil || !strings.Contains(err.Error(), "'s3DestinationConfiguration.bucketARN'") {
		t.Errorf("got %v", err)
	}
}

// What is switched off is kept and shown.
func TestWhatIsSwitchedOffIsKept(t *testing.T) {
	def, err := decode(t, "", `"DataFormatConversionConfiguration":{"Enabled":false,"SchemaConfiguration":{"DatabaseName":"x"}},`+
		`"DynamicPartitioningConfiguration":{"Enabled":false},"ProcessingConfiguration":{"Enabled":false,"Processors":[{"Type":"Lambda"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if d := def.Destination; d.ProcessingConfiguration.delimiter() != nil || d.DataFormatConversionConfiguration.SchemaConfiguration.DatabaseName != "x" {
		t.Errorf("%+v", d)
	}
}

// The table of what is refused and the code that refuses are of one mind.
func TestFeaturesAreWhatTheCodeDoes(t *testing.T) {
	n := newNode(t, Options{Function: anyFunction, Table: func(database, name string) (*glue.Table, error) {
		return &glue.Table{Database: database, Name: name, Version: 1, Columns: []glue.Column{{Name: "k", Type: "string"}}}, nil
	}})
	n.start()
	s3 := `{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"arn:aws:s3:::b"}`
	endpoint := `"ExtendedS3DestinationConfiguration":null,"HttpEndpointDestinationConfiguration":{"S3Configuration":` + s3 +
		`,"EndpointConfiguration":{"Url":"https://example.com"}%s}`
	conversion := `"DataFormatConversionConfiguration":{"InputFormatConfiguration":{"Deserializer":{"OpenXJsonSerDe":{}}},"OutputFormatConfiguration":{"Serializer":{%s}},` +
		`"SchemaConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r","DatabaseName":"d","TableName":"t"}}`
	// What a request has to say to use a feature, beyond what its name says.
	uses := map[string][2]string{
		"httpEndpointDestinationConfiguration":                                                       {fmt.Sprintf(endpoint, ""), ""},
		"httpEndpointDestinationConfiguration.secretsManagerConfiguration":                           {fmt.Sprintf(endpoint, `,"SecretsManagerConfiguration":{"Enabled":true}`), ""},
		"httpEndpointDestinationConfiguration.processingConfiguration.processors Lambda":             {fmt.Sprintf(endpoint, ","+enabled(processor(lambda, function))), ""},
		s3Member + "s3BackupMode Enabled":                                                            {"", `"S3BackupMode":"Enabled","S3BackupConfiguration":` + s3},
		s3Member + "dataFormatConversionConfiguration":                                               {"", fmt.Sprintf(conversion, `"ParquetSerDe":{}`)},
		s3Member + "dataFormatConversionConfiguration.outputFormatConfiguration.serializer.orcSerDe": {"", fmt.Sprintf(conversion, `"OrcSerDe":{}`)},
		s3Member + "dynamicPartitioningConfiguration":                                                {"", partitions + "," + enabled(processor(metadataExtraction, query, jq))},
		s3Member + "processingConfiguration.processors Lambda":                                       {"", enabled(processor(lambda, function))},
		s3Member + "processingConfiguration.processors MetadataExtraction now, input, env, $ENV, …":  {"", partitions + "," + enabled(processor(metadataExtraction, "MetadataExtractionQuery={k:now}", jq))},
		s3Member + "dataFormatConversionConfiguration.outputFormatConfiguration.serializer.parquetSerDe.maxPaddingBytes": {"",
			fmt.Sprintf(conversion, `"ParquetSerDe":{"MaxPaddingBytes":1}`)},
		s3Member + "dataFormatConversionConfiguration.schemaConfiguration.catalogId": {"",
			strings.Replace(fmt.Sprintf(conversion, `"ParquetSerDe":{}`), `"DatabaseName"`, `"CatalogId":"111111111111","DatabaseName"`, 1)},
		s3Member + "processingConfiguration.processors RecordDeAggregation": {"", partitions + "," + enabled(processor(metadataExtraction, query, jq),
			processor(recordDeAggregator, "SubRecordType=JSON"))},
		s3Member + "processingConfiguration.processors Decompression":           {"", enabled(processor(decompression))},
		s3Member + "processingConfiguration.processors CloudWatchLogProcessing": {"", enabled(processor(logProcessing))},
	}
	for i, f := range Features() {
		if f.Support != Refused {
			continue // what has no effect is in every other test
		}
		use, known := uses[f.Member]
		path, value, _ := strings.Cut(f.Member, " ")
		member := path[strings.LastIndexByte(path, '.')+1:]
		member = strings.ToUpper(member[:1]) + member[1:]
		switch {
		case known:
		case value != "":
			use[1] = `"` + member + `":"` + value + `"`
		case strings.HasSuffix(path, "DestinationConfiguration"):
			use[0] = `"ExtendedS3DestinationConfiguration":null,"` + member + `":{"Some":1}`
		default:
			use[0] = `"` + member + `":{"Some":1}`
		}
		req, err := decodeRequest(t, fmt.Sprintf(`"DeliveryStreamName":"d%d"`, i)+comma(use[0]), use[1])
		if err == nil {
			_, err = n.engine.Create(t.Context(), req)
		}
		if !fault.Is(err, fault.Unsupported) {
			t.Errorf("%s is %s, and the code says %v", f.Member, f.Support, err)
		}
	}
}

func comma(text string) string {
	if text == "" {
		return ""
	}
	return "," + text
}
