package firehose_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

// The Go SDK creates, puts, describes, tags and deletes.
func TestSDK(t *testing.T) {
	s := newService(t)
	c, ctx := s.client(), context.Background()
	name := aws.String("class-delivery")
	created := must(c.CreateDeliveryStream(ctx, &sdk.CreateDeliveryStreamInput{
		DeliveryStreamName: name,
		ExtendedS3DestinationConfiguration: &types.ExtendedS3DestinationConfiguration{
			RoleARN: aws.String("arn:aws:iam::000000000000:role/r"), BucketARN: aws.String("arn:aws:s3:::events"),
			BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(60)},
		},
		Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}},
	}))
	if aws.ToString(created.DeliveryStreamARN) != "arn:aws:firehose:us-east-1:000000000000:deliverystream/class-delivery" {
		t.Errorf("%v", aws.ToString(created.DeliveryStreamARN))
	}
	d := must(c.DescribeDeliveryStream(ctx, &sdk.DescribeDeliveryStreamInput{DeliveryStreamName: name})).DeliveryStreamDescription
	dest := d.Destinations[0]
	if d.DeliveryStreamStatus != types.DeliveryStreamStatusActive || d.CreateTimestamp.UnixMilli() != 1700000000123 ||
		aws.ToInt32(dest.ExtendedS3DestinationDescription.BufferingHints.IntervalInSeconds) != 60 ||
		dest.S3DestinationDescription.CompressionFormat != types.CompressionFormatUncompressed {
		t.Errorf("%+v", d)
	}
	put := must(c.PutRecord(ctx, &sdk.PutRecordInput{DeliveryStreamName: name, Record: &types.Record{Data: []byte("abc\n")}}))
	batch := must(c.PutRecordBatch(ctx, &sdk.PutRecordBatchInput{DeliveryStreamName: name, Records: []types.Record{{Data: []byte("d")}, {Data: []byte{}}}}))
	if aws.ToString(put.RecordId) == "" || aws.ToInt32(batch.FailedPutCount) != 0 || len(batch.RequestResponses) != 2 {
		t.Errorf("%+v %+v", put, batch)
	}
	must(c.UntagDeliveryStream(ctx, &sdk.UntagDeliveryStreamInput{DeliveryStreamName: name, TagKeys: []string{"a"}}))
	if tags := must(c.ListTagsForDeliveryStream(ctx, &sdk.ListTagsForDeliveryStreamInput{DeliveryStreamName: name})); len(tags.Tags) != 0 {
		t.Errorf("%+v", tags)
	}
	must(c.DeleteDeliveryStream(ctx, &sdk.DeleteDeliveryStreamInput{DeliveryStreamName: name}))
	_, err := c.DescribeDeliveryStream(ctx, &sdk.DescribeDeliveryStreamInput{DeliveryStreamName: name})
	var gone *types.ResourceNotFoundException
	if !errors.As(err, &gone) || gone.ErrorMessage() != "Firehose class-delivery under account 000000000000 not found." {
		t.Errorf("got %v", err)
	}
	if left := must(c.ListDeliveryStreams(ctx, &sdk.ListDeliveryStreamsInput{})); len(left.DeliveryStreamNames) != 0 {
		t.Errorf("%+v", left)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
