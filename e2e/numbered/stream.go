package numbered

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// Create creates a stream and waits for it.
func Create(ctx context.Context, c *kinesis.Client, in *kinesis.CreateStreamInput) (arn string, err error) {
	if _, err := c.CreateStream(ctx, in); err != nil {
		return "", err
	}
	if err := active(ctx, c, in.StreamName); err != nil {
		return "", err
	}
	out, err := c.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: in.StreamName})
	if err != nil {
		return "", err
	}
	return *out.StreamDescriptionSummary.StreamARN, nil
}

// Split splits shard 0 of a new stream of three shards into 3 and 4, in the middle.
func Split(ctx context.Context, c *kinesis.Client, stream string) error {
	_, err := c.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: &stream, ShardToSplit: aws.String("shardId-000000000000"),
		NewStartingHashKey: aws.String("56713727820156410577229101238628035242")})
	if err != nil {
		return err
	}
	return active(ctx, c, &stream)
}

// Merge merges, after Split, 4 with its neighbour 1, into 5.
func Merge(ctx context.Context, c *kinesis.Client, stream string) error {
	_, err := c.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: &stream, ShardToMerge: aws.String("shardId-000000000004"),
		AdjacentShardToMerge: aws.String("shardId-000000000001")})
	if err != nil {
		return err
	}
	return active(ctx, c, &stream)
}

// active waits until what was asked of a stream is done; the context bounds it.
func active(ctx context.Context, c *kinesis.Client, stream *string) error {
	const longest = time.Hour
	return kinesis.NewStreamExistsWaiter(c, func(o *kinesis.StreamExistsWaiterOptions) { o.MinDelay = 50 * time.Millisecond }).
		Wait(ctx, &kinesis.DescribeStreamInput{StreamName: stream}, longest)
}
