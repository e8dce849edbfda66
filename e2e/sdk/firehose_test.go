package sdk

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"millrace/e2e/node"
	"millrace/internal/awsmodel/firehosewire"
)

// deliveryOperations has a case for each operation of the service. Each makes the delivery streams that it needs.
var deliveryOperations = []struct {
	name string
	run  func(*testing.T, *deliverer)
}{
	{"CreateDeliveryStream", createDeliveryStream},
	{"DeleteDeliveryStream", deleteDeliveryStream},
	{"DescribeDeliveryStream", describeDeliveryStream},
	{"ListDeliveryStreams", listDeliveryStreams},
	{"ListTagsForDeliveryStream", listTagsForDeliveryStream},
	{"PutRecord", putDeliveryRecord},
	{"PutRecordBatch", putRecordBatch},
	{"StartDeliveryStreamEncryption", startDeliveryStreamEncryption},
	{"StopDeliveryStreamEncryption", stopDeliveryStreamEncryption},
	{"TagDeliveryStream", tagDeliveryStream},
	{"UntagDeliveryStream", untagDeliveryStream},
	{"UpdateDestination", updateDestination},
}

// Every operation of the service's model is called as a user would, and answers as the service does.
func TestFirehoseOperations(t *testing.T) {
	var names []string
	for _, op := range deliveryOperations {
		names = append(names, op.name)
	}
	if !slices.Equal(names, firehosewire.Operations) {
		t.Fatalf("the cases are of %v; the model has %v", names, firehosewire.Operations)
	}
	n := up(t, node.Options{})
	for _, op := range deliveryOperations {
		t.Run(op.name, func(t *testing.T) {
			d := delivererOf(t, n)
			op.run(t, d)
			if d.succeeded[op.name] == 0 {
				t.Error("the case shows no success of its operation")
			}
			if d.failed[op.name] == 0 {
				t.Error("the case shows no mistake with its operation")
			}
		})
	}
}

// deliverer calls Firehose by the SDK, and counts its calls.
type deliverer struct {
	*firehose.Client
	all clients
	ctx context.Context

	mu                sync.Mutex
	succeeded, failed map[string]int
}

func delivererOf(t *testing.T, n *node.Node) *deliverer {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	d := &deliverer{ctx: ctx, all: clientsOf(n, "AKIDEXAMPLE", "anything"), succeeded: map[string]int{}, failed: map[string]int{}}
	count := middleware.InitializeMiddlewareFunc("count", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
		middleware.InitializeOutput, middleware.Metadata, error) {
		out, meta, err := next.HandleInitialize(ctx, in)
		d.mu.Lock()
		defer d.mu.Unlock()
		if name := middleware.GetOperationName(ctx); err == nil {
			d.succeeded[name]++
		} else {
			d.failed[name]++
		}
		return out, meta, err
	})
	d.Client = firehose.New(d.all.firehose.Options(), func(o *firehose.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error { return stack.Initialize.Add(count, middleware.After) })
	})
	return d
}

// make makes a Direct PUT delivery stream into a bucket of nobody's.
func (d *deliverer) make(t *testing.T, name string, change ...func(*firehose.CreateDeliveryStreamInput)) *string {
	t.Helper()
	in := &firehose.CreateDeliveryStreamInput{DeliveryStreamName: &name, ExtendedS3DestinationConfiguration: &types.ExtendedS3DestinationConfiguration{
		BucketARN: aws.String("arn:aws:s3:::nobody"), RoleARN: aws.String(role)}}
	for _, f := range change {
		f(in)
	}
	must(d.CreateDeliveryStream(d.ctx, in))(t)
	return &name
}

func (d *deliverer) describe(t *testing.T, name *string) *types.DeliveryStreamDescription {
	t.Helper()
	return must(d.DescribeDeliveryStream(d.ctx, &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: name}))(t).DeliveryStreamDescription
}

// The exceptions of the model; what it does not have is told by its code alone.
type (
	unknownDelivery = *types.ResourceNotFoundException
	wrongDelivery   = *types.InvalidArgumentException
	usedDelivery    = *types.ResourceInUseException
	fullDelivery    = *types.LimitExceededException
	staleDelivery   = *types.ConcurrentModificationException
)

// brokenConstraint is what the model's checks answer, which no operation lists.
const brokenConstraint = "ValidationException"

func createDeliveryStream(t *testing.T, d *deliverer) {
	name := d.make(t, "create", func(in *firehose.CreateDeliveryStreamInput) {
		in.Tags = []types.Tag{{Key: aws.String("stage"), Value: aws.String("test")}}
		in.DirectPutSourceConfiguration = &types.DirectPutSourceConfiguration{ThroughputHintInMBs: aws.Int32(5)}
		in.ExtendedS3DestinationConfiguration.CustomTimeZone = aws.String("Europe/Berlin")
	})
	got := d.describe(t, name)
	equal(t, "status", got.DeliveryStreamStatus, types.DeliveryStreamStatusActive)
	equal(t, "hint", aws.ToInt32(got.Source.DirectPutSourceDescription.ThroughputHintInMBs), 5)
	create := func(change func(*types.ExtendedS3DestinationConfiguration)) error {
		dest := &types.ExtendedS3DestinationConfiguration{BucketARN: aws.String("arn:aws:s3:::nobody"), RoleARN: aws.String(role)}
		change(dest)
		_, err := d.CreateDeliveryStream(d.ctx, &firehose.CreateDeliveryStreamInput{DeliveryStreamName: aws.String("create-not"), ExtendedS3DestinationConfiguration: dest})
		return err
	}
	refused[usedDelivery](t, second(d.CreateDeliveryStream(d.ctx, &firehose.CreateDeliveryStreamInput{DeliveryStreamName: name,
		ExtendedS3DestinationConfiguration: destination("nobody")})), "Firehose create under accountId 000000000000 already exists")
	refused[wrongDelivery](t, second(d.CreateDeliveryStream(d.ctx, &firehose.CreateDeliveryStreamInput{DeliveryStreamName: aws.String("create-none")})),
		"Exactly one destination configuration is supported for a Firehose")
	refusedBy(t, create(func(c *types.ExtendedS3DestinationConfiguration) {
		c.CompressionFormat, c.BufferingHints = "SNAPPY", &types.BufferingHints{SizeInMBs: aws.Int32(129), IntervalInSeconds: aws.Int32(901)}
	}), brokenConstraint, "3 validation errors detected: Value at 'extendedS3DestinationConfiguration.bufferingHints.sizeInMBs' failed to satisfy constraint: Member must have value less than or equal to 128; ")
	refused[wrongDelivery](t, create(func(c *types.ExtendedS3DestinationConfiguration) { c.Prefix = aws.String("!{timestamp:yyyy}/") }),
		"Ths supplied prefix(es) do not satisfy the following constraint: ErrorOutputPrefix cannot be null or empty when Prefix contains expressions")
	refused[wrongDelivery](t, create(func(c *types.ExtendedS3DestinationConfiguration) {
		c.DynamicPartitioningConfiguration = &types.DynamicPartitioningConfiguration{Enabled: aws.Bool(true)}
	}), "S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled")
	refused[wrongDelivery](t, create(func(c *types.ExtendedS3DestinationConfiguration) {
		c.DataFormatConversionConfiguration = &types.DataFormatConversionConfiguration{}
	}), "InputFormatConfiguration must not be null")
	refused[wrongDelivery](t, create(func(c *types.ExtendedS3DestinationConfiguration) {
		c.ProcessingConfiguration = &types.ProcessingConfiguration{Enabled: aws.Bool(true), Processors: []types.Processor{{Type: types.ProcessorTypeLambda}}}
	}), "LambdaArn is required when Lambda processor is used.")
	_, err := d.CreateDeliveryStream(d.ctx, &firehose.CreateDeliveryStreamInput{DeliveryStreamName: aws.String("create-splunk"),
		RedshiftDestinationConfiguration: &types.RedshiftDestinationConfiguration{RoleARN: aws.String(role), ClusterJDBCURL: aws.String("jdbc:redshift://a.redshift.amazonaws.com:5439/db"),
			CopyCommand: &types.CopyCommand{DataTableName: aws.String("t")}, S3Configuration: &types.S3DestinationConfiguration{RoleARN: aws.String(role), BucketARN: aws.String("arn:aws:s3:::nobody")}}})
	refused[wrongDelivery](t, err, "redshiftDestinationConfiguration is not supported by this version of Millrace")
}

func deleteDeliveryStream(t *testing.T, d *deliverer) {
	name := d.make(t, "delete")
	must(d.DeleteDeliveryStream(d.ctx, &firehose.DeleteDeliveryStreamInput{DeliveryStreamName: name, AllowForceDelete: aws.Bool(true)}))(t)
	_, err := d.DeleteDeliveryStream(d.ctx, &firehose.DeleteDeliveryStreamInput{DeliveryStreamName: name})
	refused[unknownDelivery](t, err, "Firehose delete under account 000000000000 not found.")
	d.make(t, *name)
}

func describeDeliveryStream(t *testing.T, d *deliverer) {
	must(d.all.kinesis.CreateStream(d.ctx, &kinesis.CreateStreamInput{StreamName: aws.String("described"), ShardCount: aws.Int32(1)}))(t)
	arn := "arn:aws:kinesis:us-east-1:000000000000:stream/described"
	name := d.make(t, "describe", func(in *firehose.CreateDeliveryStreamInput) {
		in.DeliveryStreamType = types.DeliveryStreamTypeKinesisStreamAsSource
		in.KinesisStreamSourceConfiguration = &types.KinesisStreamSourceConfiguration{KinesisStreamARN: &arn, RoleARN: aws.String(role)}
		in.ExtendedS3DestinationConfiguration.S3BackupConfiguration = &types.S3DestinationConfiguration{RoleARN: aws.String(role), BucketARN: aws.String("arn:aws:s3:::kept"),
			CompressionFormat: types.CompressionFormatGzip}
		in.ExtendedS3DestinationConfiguration.DataFormatConversionConfiguration = &types.DataFormatConversionConfiguration{Enabled: aws.Bool(false),
			InputFormatConfiguration: &types.InputFormatConfiguration{Deserializer: &types.Deserializer{HiveJsonSerDe: &types.HiveJsonSerDe{TimestampFormats: []string{"millis"}}}}}
	})
	got := d.describe(t, name)
	equal(t, "arn", *got.DeliveryStreamARN, "arn:aws:firehose:us-east-1:000000000000:deliverystream/describe")
	equal(t, "version", *got.VersionId, "1")
	equal(t, "source", *got.Source.KinesisStreamSourceDescription.KinesisStreamARN, arn)
	if got.Source.KinesisStreamSourceDescription.DeliveryStartTimestamp == nil || got.CreateTimestamp == nil || got.LastUpdateTimestamp != nil ||
		got.DeliveryStreamEncryptionConfiguration != nil || len(got.Destinations) != 1 {
		t.Errorf("%+v", got)
	}
	whole, part := got.Destinations[0].ExtendedS3DestinationDescription, got.Destinations[0].S3DestinationDescription
	equal(t, "size", *whole.BufferingHints.SizeInMBs, 5)
	equal(t, "interval", *part.BufferingHints.IntervalInSeconds, 300)
	equal(t, "mode", whole.S3BackupMode, types.S3BackupModeDisabled)
	equal(t, "backup", whole.S3BackupDescription.CompressionFormat, types.CompressionFormatGzip)
	equal(t, "formats", whole.DataFormatConversionConfiguration.InputFormatConfiguration.Deserializer.HiveJsonSerDe.TimestampFormats[0], "millis")
	equal(t, "encryption", part.EncryptionConfiguration.NoEncryptionConfig, types.NoEncryptionConfigNoEncryption)
	none := must(d.DescribeDeliveryStream(d.ctx, &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: name, ExclusiveStartDestinationId: aws.String("destinationId-000000000001")}))(t)
	equal(t, "destinations after the one", len(none.DeliveryStreamDescription.Destinations), 0)
	_, err := d.DescribeDeliveryStream(d.ctx, &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: aws.String("nobody")})
	refused[unknownDelivery](t, err, "Firehose nobody under account 000000000000 not found.")
}

func listDeliveryStreams(t *testing.T, d *deliverer) {
	for _, name := range []string{"list-b", "list-a", "list-c"} {
		d.make(t, name)
	}
	got := must(d.ListDeliveryStreams(d.ctx, &firehose.ListDeliveryStreamsInput{Limit: aws.Int32(2), ExclusiveStartDeliveryStreamName: aws.String("list-"),
		DeliveryStreamType: types.DeliveryStreamTypeDirectPut}))(t)
	same(t, "names", got.DeliveryStreamNames, []string{"list-a", "list-b"})
	equal(t, "more", *got.HasMoreDeliveryStreams, true)
	none := must(d.ListDeliveryStreams(d.ctx, &firehose.ListDeliveryStreamsInput{DeliveryStreamType: types.DeliveryStreamTypeDatabaseAsSource}))(t)
	equal(t, "of another type", len(none.DeliveryStreamNames), 0)
	_, err := d.ListDeliveryStreams(d.ctx, &firehose.ListDeliveryStreamsInput{Limit: aws.Int32(10001), DeliveryStreamType: "Other"})
	refusedBy(t, err, brokenConstraint, "2 validation errors detected: ")
}

func listTagsForDeliveryStream(t *testing.T, d *deliverer) {
	name := d.make(t, "list-tags", func(in *firehose.CreateDeliveryStreamInput) {
		in.Tags = []types.Tag{{Key: aws.String("b"), Value: aws.String("2")}, {Key: aws.String("a")}}
	})
	got := must(d.ListTagsForDeliveryStream(d.ctx, &firehose.ListTagsForDeliveryStreamInput{DeliveryStreamName: name, Limit: aws.Int32(1)}))(t)
	equal(t, "first", *got.Tags[0].Key, "a")
	equal(t, "more", *got.HasMoreTags, true)
	got = must(d.ListTagsForDeliveryStream(d.ctx, &firehose.ListTagsForDeliveryStreamInput{DeliveryStreamName: name, ExclusiveStartTagKey: aws.String("a")}))(t)
	equal(t, "second", *got.Tags[0].Key+"="+*got.Tags[0].Value, "b=2")
	_, err := d.ListTagsForDeliveryStream(d.ctx, &firehose.ListTagsForDeliveryStreamInput{DeliveryStreamName: aws.String("nobody")})
	refused[unknownDelivery](t, err, "Firehose nobody under account 000000000000 not found.")
}

func putDeliveryRecord(t *testing.T, d *deliverer) {
	name := d.make(t, "put")
	got := must(d.PutRecord(d.ctx, &firehose.PutRecordInput{DeliveryStreamName: name, Record: &types.Record{Data: []byte("x")}}))(t)
	if *got.RecordId == "" || *got.Encrypted {
		t.Errorf("%+v", got)
	}
	_, err := d.PutRecord(d.ctx, &firehose.PutRecordInput{DeliveryStreamName: name, Record: &types.Record{Data: make([]byte, 1000<<10+1)}})
	refusedBy(t, err, brokenConstraint, "Value at 'record.data' failed to satisfy constraint: Member must have length less than or equal to 1024000")
	_, err = d.PutRecord(d.ctx, &firehose.PutRecordInput{DeliveryStreamName: aws.String("nobody"), Record: &types.Record{Data: []byte("x")}})
	refused[unknownDelivery](t, err, "Firehose nobody under account 000000000000 not found.")
}

func putRecordBatch(t *testing.T, d *deliverer) {
	name := d.make(t, "put-batch")
	got := must(d.PutRecordBatch(d.ctx, &firehose.PutRecordBatchInput{DeliveryStreamName: name, Records: []types.Record{{Data: []byte("x")}, {Data: []byte{}}}}))(t)
	if *got.FailedPutCount != 0 || len(got.RequestResponses) != 2 || *got.RequestResponses[0].RecordId == *got.RequestResponses[1].RecordId || *got.Encrypted {
		t.Errorf("%+v", got)
	}
	large := types.Record{Data: make([]byte, 1000<<10)}
	_, err := d.PutRecordBatch(d.ctx, &firehose.PutRecordBatchInput{DeliveryStreamName: name, Records: []types.Record{large, large, large, large, large}})
	refused[wrongDelivery](t, err, "Records size exceeds 4 MB limit")
	_, err = d.PutRecordBatch(d.ctx, &firehose.PutRecordBatchInput{DeliveryStreamName: name, Records: make501()})
	refusedBy(t, err, brokenConstraint, "Value at 'records' failed to satisfy constraint: Member must have length less than or equal to 500")
}

func make501() []types.Record {
	all := make([]types.Record, 501)
	for i := range all {
		all[i].Data = []byte{'x'}
	}
	return all
}

const customerKey = "arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012"

func startDeliveryStreamEncryption(t *testing.T, d *deliverer) {
	name := d.make(t, "start-encryption")
	equal(t, "status", d.describe(t, name).DeliveryStreamEncryptionConfiguration.Status, types.DeliveryStreamEncryptionStatusDisabled)
	must(d.StartDeliveryStreamEncryption(d.ctx, &firehose.StartDeliveryStreamEncryptionInput{DeliveryStreamName: name}))(t)
	equal(t, "owned", d.describe(t, name).DeliveryStreamEncryptionConfiguration.KeyType, types.KeyTypeAwsOwnedCmk)
	must(d.StartDeliveryStreamEncryption(d.ctx, &firehose.StartDeliveryStreamEncryptionInput{DeliveryStreamName: name,
		DeliveryStreamEncryptionConfigurationInput: &types.DeliveryStreamEncryptionConfigurationInput{KeyType: types.KeyTypeCustomerManagedCmk, KeyARN: aws.String(customerKey)}}))(t)
	got := d.describe(t, name).DeliveryStreamEncryptionConfiguration
	equal(t, "status", got.Status, types.DeliveryStreamEncryptionStatusEnabled)
	equal(t, "key", *got.KeyARN, customerKey)
	put := must(d.PutRecord(d.ctx, &firehose.PutRecordInput{DeliveryStreamName: name, Record: &types.Record{Data: []byte("x")}}))(t)
	equal(t, "encrypted", *put.Encrypted, true)
	_, err := d.StartDeliveryStreamEncryption(d.ctx, &firehose.StartDeliveryStreamEncryptionInput{DeliveryStreamName: name,
		DeliveryStreamEncryptionConfigurationInput: &types.DeliveryStreamEncryptionConfigurationInput{KeyType: types.KeyTypeCustomerManagedCmk}})
	refused[wrongDelivery](t, err, "KeyARN has to be specified when KeyType is CUSTOMER_MANAGED_CMK")
}

func stopDeliveryStreamEncryption(t *testing.T, d *deliverer) {
	name := d.make(t, "stop-encryption", func(in *firehose.CreateDeliveryStreamInput) {
		in.DeliveryStreamEncryptionConfigurationInput = &types.DeliveryStreamEncryptionConfigurationInput{KeyType: types.KeyTypeAwsOwnedCmk}
	})
	equal(t, "status", d.describe(t, name).DeliveryStreamEncryptionConfiguration.Status, types.DeliveryStreamEncryptionStatusEnabled)
	must(d.StopDeliveryStreamEncryption(d.ctx, &firehose.StopDeliveryStreamEncryptionInput{DeliveryStreamName: name}))(t)
	got := d.describe(t, name).DeliveryStreamEncryptionConfiguration
	if got.Status != types.DeliveryStreamEncryptionStatusDisabled || got.KeyType != "" {
		t.Errorf("%+v", got)
	}
	_, err := d.StopDeliveryStreamEncryption(d.ctx, &firehose.StopDeliveryStreamEncryptionInput{DeliveryStreamName: aws.String("nobody")})
	refused[unknownDelivery](t, err, "Firehose nobody under account 000000000000 not found.")
}

func (d *deliverer) tags(t *testing.T, name *string) (all []string) {
	t.Helper()
	for _, tag := range must(d.ListTagsForDeliveryStream(d.ctx, &firehose.ListTagsForDeliveryStreamInput{DeliveryStreamName: name}))(t).Tags {
		all = append(all, *tag.Key+"="+aws.ToString(tag.Value))
	}
	return all
}

func tagDeliveryStream(t *testing.T, d *deliverer) {
	name := d.make(t, "tag")
	for _, value := range []string{"1", "2"} {
		must(d.TagDeliveryStream(d.ctx, &firehose.TagDeliveryStreamInput{DeliveryStreamName: name, Tags: []types.Tag{{Key: aws.String("k"), Value: &value}}}))(t)
	}
	same(t, "tags", d.tags(t, name), []string{"k=2"})
	_, err := d.TagDeliveryStream(d.ctx, &firehose.TagDeliveryStreamInput{DeliveryStreamName: name, Tags: []types.Tag{{Key: aws.String("aws:k")}}})
	refusedBy(t, err, brokenConstraint, "tags.1.member.key")
	var many []types.Tag
	for i := range 50 {
		many = append(many, types.Tag{Key: aws.String(strings.Repeat("n", i+1))})
	}
	_, err = d.TagDeliveryStream(d.ctx, &firehose.TagDeliveryStreamInput{DeliveryStreamName: name, Tags: many})
	refused[fullDelivery](t, err, "at most 50 tags")
}

func untagDeliveryStream(t *testing.T, d *deliverer) {
	name := d.make(t, "untag", func(in *firehose.CreateDeliveryStreamInput) {
		in.Tags = []types.Tag{{Key: aws.String("a")}, {Key: aws.String("b")}}
	})
	must(d.UntagDeliveryStream(d.ctx, &firehose.UntagDeliveryStreamInput{DeliveryStreamName: name, TagKeys: []string{"a", "absent"}}))(t)
	same(t, "tags", d.tags(t, name), []string{"b="})
	_, err := d.UntagDeliveryStream(d.ctx, &firehose.UntagDeliveryStreamInput{DeliveryStreamName: aws.String("nobody"), TagKeys: []string{"a"}})
	refused[unknownDelivery](t, err, "Firehose nobody under account 000000000000 not found.")
}

func updateDestination(t *testing.T, d *deliverer) {
	name := d.make(t, "update", func(in *firehose.CreateDeliveryStreamInput) {
		in.ExtendedS3DestinationConfiguration.Prefix = aws.String("a/")
	})
	id := aws.String("destinationId-000000000001")
	update := func(version string, u *types.ExtendedS3DestinationUpdate) error {
		_, err := d.UpdateDestination(d.ctx, &firehose.UpdateDestinationInput{DeliveryStreamName: name, CurrentDeliveryStreamVersionId: &version,
			DestinationId: id, ExtendedS3DestinationUpdate: u})
		return err
	}
	if err := update("1", &types.ExtendedS3DestinationUpdate{FileExtension: aws.String(".log"), BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(2), IntervalInSeconds: aws.Int32(1)}}); err != nil {
		t.Fatal(err)
	}
	got := d.describe(t, name)
	whole := got.Destinations[0].ExtendedS3DestinationDescription
	equal(t, "version", *got.VersionId, "2")
	equal(t, "prefix", *whole.Prefix, "a/")
	equal(t, "extension", *whole.FileExtension, ".log")
	equal(t, "size", *whole.BufferingHints.SizeInMBs, 2)
	if got.LastUpdateTimestamp == nil {
		t.Error("no LastUpdateTimestamp")
	}
	refused[staleDelivery](t, update("1", &types.ExtendedS3DestinationUpdate{}),
		"Cannot update firehose: update since the current version id: 2 and specified version id: 1 do not match")
	refused[wrongDelivery](t, update("2", &types.ExtendedS3DestinationUpdate{S3BackupMode: types.S3BackupModeEnabled}),
		"S3 backup destination configuration is required when enabling S3 backup.")
	refusedBy(t, update("2", &types.ExtendedS3DestinationUpdate{CompressionFormat: "zip"}), brokenConstraint, "extendedS3DestinationUpdate.compressionFormat")
	id = aws.String("destinationId-000000000002")
	refused[wrongDelivery](t, update("2", &types.ExtendedS3DestinationUpdate{}), "Destination Id destinationId-000000000002 not found")
}

// second gives the error of a call.
func second[T any](_ T, err error) error { return err }

// What is put into an encrypted delivery stream lies in the data folder as cipher text, and is delivered as it was put.
func TestEncryptedDirectPut(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	n := up(t, node.Options{Data: data})
	d := delivererOf(t, n)
	bucket := aws.String("encrypted")
	const secret = "Falsches Üben von Xylophonmusik quält"
	name := d.make(t, "encrypted", func(in *firehose.CreateDeliveryStreamInput) {
		in.DeliveryStreamEncryptionConfigurationInput = &types.DeliveryStreamEncryptionConfigurationInput{KeyType: types.KeyTypeCustomerManagedCmk, KeyARN: aws.String(customerKey)}
		in.ExtendedS3DestinationConfiguration = destination(*bucket)
	})
	open := d.make(t, "open", func(in *firehose.CreateDeliveryStreamInput) {
		in.ExtendedS3DestinationConfiguration = destination("open")
	})
	const plain = "Zwölf Boxkämpfer jagen Viktor quer"
	for stream, text := range map[*string]string{name: secret, open: plain} {
		put := must(d.PutRecord(d.ctx, &firehose.PutRecordInput{DeliveryStreamName: stream, Record: &types.Record{Data: []byte(text)}}))(t)
		equal(t, "encrypted", *put.Encrypted, stream == name)
	}
	if !holds(t, data, plain) {
		t.Error("the search does not find what is plain: it proves nothing")
	}
	if holds(t, data, secret) {
		t.Error("the plain text of an encrypted record lies in the data folder")
	}
	// Until there is a bucket the records wait in their streams.
	for _, b := range []*string{bucket, aws.String("open")} {
		must(d.all.s3.CreateBucket(d.ctx, &s3.CreateBucketInput{Bucket: b}))(t)
	}
	if _, err := n.Settled(d.ctx); err != nil {
		t.Fatal(err)
	}
	text, _, err := d.all.content(d.ctx, *bucket)
	if text != secret || err != nil {
		t.Errorf("the bucket holds %q, %v", text, err)
	}
}
