package delivery

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"millrace/internal/fault"
)

// create decodes a CreateDeliveryStream document: the members given, over a good Direct PUT request whose destination
// has the members of dest.
func decode(t *testing.T, members, dest string) (*Definition, error) {
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
	if err := json.Unmarshal(raw, req); err != nil {
		t.Fatal(err)
	}
	return req.Definition()
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
	unsupported := func(dest, path string) { t.Helper(); refused(fault.Unsupported, "", dest, path+" is not supported") }
	stream := `"DeliveryStreamType":"KinesisStreamAsSource","KinesisStreamSourceConfiguration":{"KinesisStreamARN":"%s","RoleARN":"%s"}`

	refused(fault.Invalid, `"DeliveryStreamName":"a b"`, "", "deliveryStreamName")
	refused(fault.Invalid, `"DeliveryStreamName":""`, "", "deliveryStreamName")
	refused(fault.Invalid, `"DeliveryStreamType":"Other"`, "", "deliveryStreamType")
	refused(fault.Unsupported, `"DeliveryStreamType":"MSKAsSource"`, "", "MSKAsSource")
	refused(fault.Unsupported, `"MSKSourceConfiguration":{}`, "", "mSKSourceConfiguration")
	refused(fault.Invalid, `"DeliveryStreamType":"KinesisStreamAsSource"`, "", "KinesisStreamSourceConfiguration must be specified")
	refused(fault.Invalid, fmt.Sprintf(stream, "arn:aws:kinesis:us-east-1:1:stream/s", "x"), "", "kinesisStreamARN")
	refused(fault.Invalid, fmt.Sprintf(stream, "arn:aws:kinesis:us-east-1:000000000000:stream/s", "x"), "", "roleARN")
	refused(fault.Invalid, `"ExtendedS3DestinationConfiguration":null`, "", "Exactly one destination configuration is supported for a Firehose")
	refused(fault.Invalid, `"S3DestinationConfiguration":{}`, "", "Exactly one destination configuration is supported for a Firehose")
	refused(fault.Unsupported, `"ExtendedS3DestinationConfiguration":null,"HttpEndpointDestinationConfiguration":{"x":1}`, "",
		"httpEndpointDestinationConfiguration")
	refused(fault.Unsupported, `"DeliveryStreamEncryptionConfigurationInput":{"KeyType":"AWS_OWNED_CMK"}`, "",
		"deliveryStreamEncryptionConfigurationInput")
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
	unsupported(`"CompressionFormat":"Snappy"`, "extendedS3DestinationConfiguration.compressionFormat Snappy")
	unsupported(`"S3BackupMode":"Enabled"`, "extendedS3DestinationConfiguration.s3BackupMode Enabled")
	unsupported(`"DataFormatConversionConfiguration":{}`, "extendedS3DestinationConfiguration.dataFormatConversionConfiguration")
	unsupported(`"DynamicPartitioningConfiguration":{"Enabled":true}`, "extendedS3DestinationConfiguration.dynamicPartitioningConfiguration")
	unsupported(`"ProcessingConfiguration":{"Enabled":true,"Processors":[{"Type":"AppendDelimiterToRecord"},{"Type":"Lambda"}]}`,
		"extendedS3DestinationConfiguration.processingConfiguration.processors.2.member.type Lambda")
	invalid(`"ProcessingConfiguration":{"Enabled":true,"Processors":[{"Type":"Nonsense"}]}`, "enum value set")
	invalid(`"ProcessingConfiguration":{"Enabled":true,"Processors":[{"Type":"AppendDelimiterToRecord"},{"Type":"AppendDelimiterToRecord"}]}`,
		"More than one")
	invalid(`"ProcessingConfiguration":{"Processors":[{"Type":"AppendDelimiterToRecord","Parameters":[{"ParameterName":"x","ParameterValue":"y"}]}]}`,
		"not one of processor")
	invalid(`"FileExtension":"gz"`, "fileExtension")
	invalid(`"CustomTimeZone":"Local"`, "not a valid time zone")
	invalid(`"CustomTimeZone":"Mars/Olympus"`, "not a valid time zone")
	invalid(`"CustomTimeZone":"../etc"`, "customTimeZone")
	invalid(`"CloudWatchLoggingOptions":{"Enabled":true}`, "LogGroupName")

	constraint := "Ths supplied prefix(es) do not satisfy the following constraint: "
	invalid(`"Prefix":"!{timestamp:yyyy}/"`, constraint+"ErrorOutputPrefix cannot be null or empty when Prefix contains expressions")
	invalid(`"Prefix":"!{firehose:error-output-type}/","ErrorOutputPrefix":"e/"`, constraint)
	invalid(`"Prefix":"a","ErrorOutputPrefix":"!{timestamp:yyyy}/"`, constraint)
	invalid(`"Prefix":"!{partitionKeyFromQuery:k}/","ErrorOutputPrefix":"e/"`, constraint)
	invalid(`"ErrorOutputPrefix":"!{partitionKeyFromQuery:k}/!{firehose:error-output-type}/"`, constraint)
	invalid(`"Prefix":"!{timestamp:jj}/","ErrorOutputPrefix":"e/"`, "unknown pattern letter")
	invalid(`"Prefix":"`+strings.Repeat("x", 513)+`"`, "at most 512")
	invalid(`"Prefix":"`+strings.Repeat("€", 300)+`"`, "bytes")
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
	def, err := decode(t, "", `"DataFormatConversionConfiguration":{"Enabled":false,"SchemaConfiguration":{"RoleARN":"x"}},`+
		`"DynamicPartitioningConfiguration":{"Enabled":false},"ProcessingConfiguration":{"Enabled":false,"Processors":[{"Type":"Lambda"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if d := def.Destination; d.ProcessingConfiguration.delimiter() != nil || d.DataFormatConversionConfiguration.SchemaConfiguration.RoleARN != "x" {
		t.Errorf("%+v", d)
	}
}

// The table of what is refused and the code that refuses are of one mind.
func TestFeaturesAreWhatTheCodeDoes(t *testing.T) {
	for _, f := range Features {
		path, value, _ := strings.Cut(f.Member, " ")
		parts := strings.Split(path, ".")
		for i, p := range parts {
			parts[i] = strings.ToUpper(p[:1]) + p[1:]
		}
		var members, dest string
		switch {
		case f.Member == "allowForceDelete":
			continue // an option of deletion
		case parts[0] == "DeliveryStreamEncryptionConfigurationInput" || len(parts) == 1:
			members = `"` + parts[0] + `":{"Some":1}`
		case parts[0] != "ExtendedS3DestinationConfiguration":
			continue // without effect: covered by every other test
		case value != "":
			dest = `"` + parts[1] + `":"` + value + `"`
		case len(parts) == 3:
			dest = `"` + parts[1] + `":{"Enabled":true,"Processors":[{"Type":"Lambda"}]}`
		case f.Support == WithoutEffect && parts[1] == "EncryptionConfiguration":
			dest = `"EncryptionConfiguration":{"KMSEncryptionConfig":{"AWSKMSKeyARN":"arn:aws:kms:us-east-1:000000000000:key/k"}}`
		case f.Support == WithoutEffect:
			continue
		default:
			dest = `"` + parts[1] + `":{"Enabled":true}`
		}
		_, err := decode(t, members, dest)
		if refused := fault.Is(err, fault.Unsupported); refused != (f.Support == Refused) {
			t.Errorf("%s is %s, and the code says %v", f.Member, f.Support, err)
		} else if refused && !strings.Contains(err.Error(), f.Member) {
			t.Errorf("%s: the error %q does not name it", f.Member, err)
		}
	}
}
