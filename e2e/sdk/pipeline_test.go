package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	apitypes "github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	firetypes "github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	kintypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/e2e/node"
)

const role = "arn:aws:iam::000000000000:role/collector"

// The pipeline, built by script as one builds it on AWS, and used: what is posted is read from the bucket.
func TestPipelineMadeByScript(t *testing.T) {
	n := up(t, node.Options{})
	c := clientsOf(n, "AKIDEXAMPLE", "anything")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.makePipeline(ctx, "shop"); err != nil {
		t.Fatal(err)
	}
	api, err := c.makeAPI(ctx, "shop")
	if err != nil {
		t.Fatal(err)
	}
	status, answer, err := post(ctx, n.Ingest+"/"+api+"/live/events/shop-stream", "application/json", `{"n": 1, "city": "東京"}`)
	if err != nil || status != 200 {
		t.Fatal(status, answer, err)
	}
	var put struct{ ShardId, SequenceNumber string }
	if err := json.Unmarshal([]byte(answer), &put); err != nil || put.ShardId == "" || put.SequenceNumber == "" {
		t.Errorf("the answer is not PutRecord's: %s", answer)
	}
	if _, err := c.kinesis.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String("shop-stream"),
		PartitionKey: aws.String("k"), Data: []byte("over the wire\n")}); err != nil {
		t.Fatal(err)
	}
	if err := c.readsBoth(ctx, put.ShardId); err != nil {
		t.Error(err)
	}
	if _, err := n.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	text, keys, err := c.content(ctx, "shop-bucket")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"{\"n\":1,\"city\":\"東京\"}\n", "over the wire\n"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not once in %q", want, text)
		}
	}
	if len(text) != len("{\"n\":1,\"city\":\"東京\"}\nover the wire\n") {
		t.Errorf("the objects hold more than that: %q", text)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, "year="+time.Now().UTC().Format("2006")+"/shop-delivery-1-") {
			t.Errorf("an object is called %s", key)
		}
	}
}

// makePipeline makes a stream, a bucket, and the delivery stream between them.
func (c clients) makePipeline(ctx context.Context, name string) error {
	stream, bucket := aws.String(name+"-stream"), aws.String(name+"-bucket")
	if _, err := c.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		return err
	}
	if _, err := c.kinesis.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: stream, ShardCount: aws.Int32(2)}); err != nil {
		return err
	}
	if err := kinesis.NewStreamExistsWaiter(c.kinesis).Wait(ctx, &kinesis.DescribeStreamInput{StreamName: stream}, patience); err != nil {
		return err
	}
	described, err := c.kinesis.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: stream})
	if err != nil {
		return err
	}
	if open := aws.ToInt32(described.StreamDescriptionSummary.OpenShardCount); open != 2 {
		return fmt.Errorf("the stream has %d open shards", open)
	}
	_, err = c.firehose.CreateDeliveryStream(ctx, &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String(name + "-delivery"),
		DeliveryStreamType: firetypes.DeliveryStreamTypeKinesisStreamAsSource,
		KinesisStreamSourceConfiguration: &firetypes.KinesisStreamSourceConfiguration{
			KinesisStreamARN: described.StreamDescriptionSummary.StreamARN, RoleARN: aws.String(role)},
		ExtendedS3DestinationConfiguration: destination(*bucket),
		Tags:                               []firetypes.Tag{{Key: aws.String("cost-centre"), Value: aws.String("web")}},
	})
	if err != nil {
		return err
	}
	out, err := c.firehose.DescribeDeliveryStream(ctx, &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: aws.String(name + "-delivery")})
	if err != nil {
		return err
	}
	if status := out.DeliveryStreamDescription.DeliveryStreamStatus; status != firetypes.DeliveryStreamStatusActive {
		return fmt.Errorf("the delivery stream is %s", status)
	}
	return nil
}

func destination(bucket string) *firetypes.ExtendedS3DestinationConfiguration {
	return &firetypes.ExtendedS3DestinationConfiguration{
		BucketARN: aws.String("arn:aws:s3:::" + bucket), RoleARN: aws.String(role),
		Prefix: aws.String("year=!{timestamp:yyyy}/"), ErrorOutputPrefix: aws.String("failed/!{firehose:error-output-type}/"),
		BufferingHints:    &firetypes.BufferingHints{IntervalInSeconds: aws.Int32(0), SizeInMBs: aws.Int32(1)},
		CompressionFormat: firetypes.CompressionFormatUncompressed,
	}
}

// makeAPI makes POST /events/{stream} and deploys it to the stage live.
func (c clients) makeAPI(ctx context.Context, name string) (id string, err error) {
	api, err := c.apigateway.CreateRestApi(ctx, &apigateway.CreateRestApiInput{Name: &name})
	if err != nil {
		return "", err
	}
	parent := api.RootResourceId
	for _, part := range []string{"events", "{stream}"} {
		r, err := c.apigateway.CreateResource(ctx, &apigateway.CreateResourceInput{RestApiId: api.Id, ParentId: parent, PathPart: &part})
		if err != nil {
			return "", err
		}
		parent = r.Id
	}
	post, ok := aws.String("POST"), aws.String("200")
	steps := []func() error{
		func() error {
			_, err := c.apigateway.PutMethod(ctx, &apigateway.PutMethodInput{RestApiId: api.Id, ResourceId: parent, HttpMethod: post,
				AuthorizationType: aws.String("NONE")})
			return err
		},
		func() error {
			_, err := c.apigateway.PutMethodResponse(ctx, &apigateway.PutMethodResponseInput{RestApiId: api.Id, ResourceId: parent,
				HttpMethod: post, StatusCode: ok})
			return err
		},
		func() error {
			_, err := c.apigateway.PutIntegration(ctx, &apigateway.PutIntegrationInput{RestApiId: api.Id, ResourceId: parent,
				HttpMethod: post, Type: apitypes.IntegrationTypeAws, IntegrationHttpMethod: post, Credentials: aws.String(role),
				Uri: aws.String("arn:aws:apigateway:us-east-1:kinesis:action/PutRecord"),
				RequestTemplates: map[string]string{"application/json": "#set($line = \"$input.json('$')\n\")\n" +
					`{"StreamName": "$input.params('stream')", "PartitionKey": "$context.requestId", "Data": "$util.base64Encode($line)"}`}})
			return err
		},
		func() error {
			_, err := c.apigateway.PutIntegrationResponse(ctx, &apigateway.PutIntegrationResponseInput{RestApiId: api.Id,
				ResourceId: parent, HttpMethod: post, StatusCode: ok})
			return err
		},
		func() error {
			_, err := c.apigateway.CreateDeployment(ctx, &apigateway.CreateDeploymentInput{RestApiId: api.Id, StageName: aws.String("live")})
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return "", err
		}
	}
	return *api.Id, nil
}

// readsBoth follows all shards from their beginning until both records are there, and the first in its shard.
func (c clients) readsBoth(ctx context.Context, shardOfFirst string) error {
	stream := aws.String("shop-stream")
	shards, err := c.kinesis.ListShards(ctx, &kinesis.ListShardsInput{StreamName: stream})
	if err != nil {
		return err
	}
	found := map[string]string{}
	for _, shard := range shards.Shards {
		it, err := c.kinesis.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: stream, ShardId: shard.ShardId,
			ShardIteratorType: kintypes.ShardIteratorTypeTrimHorizon})
		if err != nil {
			return err
		}
		out, err := c.kinesis.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator})
		if err != nil {
			return err
		}
		for _, r := range out.Records {
			found[string(r.Data)] = *shard.ShardId
		}
	}
	if len(found) != 2 || found["{\"n\":1,\"city\":\"東京\"}\n"] != shardOfFirst {
		return fmt.Errorf("GetRecords gives %v; the first was put to %s", found, shardOfFirst)
	}
	return nil
}

// Direct PUT, and what the service answers to mistakes, in the SDK's own types.
func TestDirectPutAndMistakes(t *testing.T) {
	n := up(t, node.Options{})
	c := clientsOf(n, "AKIDEXAMPLE", "anything")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	name := aws.String("push")
	if _, err := c.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("push-bucket")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.firehose.CreateDeliveryStream(ctx, &firehose.CreateDeliveryStreamInput{DeliveryStreamName: name,
		ExtendedS3DestinationConfiguration: destination("push-bucket")}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		out, err := c.firehose.PutRecordBatch(ctx, &firehose.PutRecordBatchInput{DeliveryStreamName: name, Records: []firetypes.Record{
			{Data: fmt.Appendf(nil, "a%d\n", i)}, {Data: fmt.Appendf(nil, "b%d\n", i)}}})
		if err != nil || aws.ToInt32(out.FailedPutCount) != 0 || len(out.RequestResponses) != 2 {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	if _, err := n.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	text, _, err := c.content(ctx, "push-bucket")
	if want := "a0\nb0\na1\nb1\na2\nb2\n"; text != want || err != nil {
		t.Errorf("the objects hold %q, %v, want %q", text, err, want)
	}

	_, err = c.kinesis.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String("nobody"), PartitionKey: aws.String("k"), Data: []byte("x")})
	var missing *kintypes.ResourceNotFoundException
	if !errors.As(err, &missing) {
		t.Errorf("an unknown stream: %v", err)
	}
	_, err = c.firehose.PutRecord(ctx, &firehose.PutRecordInput{DeliveryStreamName: aws.String("nobody"), Record: &firetypes.Record{Data: []byte("x")}})
	var missingDelivery *firetypes.ResourceNotFoundException
	if !errors.As(err, &missingDelivery) {
		t.Errorf("an unknown delivery stream: %v", err)
	}
	_, err = c.kinesis.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("class-stream"), ShardCount: aws.Int32(1)})
	var inUse *kintypes.ResourceInUseException
	if !errors.As(err, &inUse) {
		t.Errorf("a stream that exists: %v", err)
	}
	_, err = c.apigateway.GetRestApi(ctx, &apigateway.GetRestApiInput{RestApiId: aws.String("nobody0000")})
	var missingAPI *apitypes.NotFoundException
	if !errors.As(err, &missingAPI) {
		t.Errorf("an unknown API: %v", err)
	}
}
