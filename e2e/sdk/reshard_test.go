package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/e2e/node"
)

// A stream is split, merged and scaled under load, as an SDK does it. A consumer that follows ChildShards reads every record
// once, each key's in order, and so do the objects.
func TestReshardsUnderLoad(t *testing.T) {
	n := up(t, node.Options{})
	c := clientsOf(n, "AKIDEXAMPLE", "anything")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if err := c.makePipeline(ctx, "scaled"); err != nil {
		t.Fatal(err)
	}
	name := aws.String("scaled-stream")
	w := c.startWriters(ctx, name)
	reader := c.startConsumer(ctx, name)
	steps := []func() error{
		func() error {
			_, err := c.kinesis.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: name, ShardToSplit: aws.String("shardId-000000000000"),
				NewStartingHashKey: aws.String("85070591730234615865843651857942052864")})
			return err
		},
		func() error {
			_, err := c.kinesis.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: name, ShardToMerge: aws.String("shardId-000000000003"),
				AdjacentShardToMerge: aws.String("shardId-000000000001")})
			return err
		},
		func() error { return c.scale(ctx, name, 4) },
		func() error { return c.scale(ctx, name, 3) },
		func() error { return c.scale(ctx, name, 2) },
	}
	for i, step := range steps {
		w.await(100)
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if err := kinesis.NewStreamExistsWaiter(c.kinesis).Wait(ctx, &kinesis.DescribeStreamInput{StreamName: name}, patience); err != nil {
			t.Fatal(err)
		}
	}
	w.await(100)
	written, err := w.stop()
	if err != nil {
		t.Fatal(err)
	}
	summary, err := c.kinesis.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: name})
	if err != nil || aws.ToInt32(summary.StreamDescriptionSummary.OpenShardCount) != 2 {
		t.Errorf("after all: %+v, %v", summary.StreamDescriptionSummary, err)
	}
	read, err := reader.until(written)
	if err != nil {
		t.Fatal(err)
	}
	inOrder(t, "the consumer", read, written)
	if _, err := n.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	text, _, err := c.content(ctx, "scaled-bucket")
	if err != nil {
		t.Fatal(err)
	}
	inOrder(t, "the bucket", strings.Split(strings.TrimSuffix(text, "\n"), "\n"), written)
	if _, err := c.firehose.DeleteDeliveryStream(ctx, &firehose.DeleteDeliveryStreamInput{DeliveryStreamName: aws.String("scaled-delivery")}); err != nil {
		t.Error(err)
	}
}

func (c clients) scale(ctx context.Context, name *string, count int32) error {
	out, err := c.kinesis.UpdateShardCount(ctx, &kinesis.UpdateShardCountInput{StreamName: name, TargetShardCount: aws.Int32(count),
		ScalingType: types.ScalingTypeUniformScaling})
	if err == nil && aws.ToInt32(out.TargetShardCount) != count {
		return fmt.Errorf("asked for %d shards, and told of %d", count, aws.ToInt32(out.TargetShardCount))
	}
	return err
}

// inOrder checks that records "KEY NUMBER" hold each key's numbers from 0 on, as many as were written.
func inOrder(t *testing.T, who string, records []string, written map[string]int) {
	t.Helper()
	next := map[string]int{}
	for _, r := range records {
		key, _, _ := strings.Cut(r, " ")
		if want := fmt.Sprintf("%s %d", key, next[key]); r != want {
			t.Fatalf("%s has %q where %q should come", who, r, want)
		}
		next[key]++
	}
	for key, n := range written {
		if next[key] != n {
			t.Errorf("%s has %d records of key %s; %d were written", who, next[key], key, n)
		}
	}
}

// writers put records of their own keys, one after the other.
type writers struct {
	wg      sync.WaitGroup
	answers chan struct{}
	ended   chan struct{}

	mu      sync.Mutex
	written map[string]int
	stopped bool
	err     error
}

func (c clients) startWriters(ctx context.Context, name *string) *writers {
	w := &writers{answers: make(chan struct{}), ended: make(chan struct{}), written: map[string]int{}}
	for i := range 6 {
		w.wg.Go(func() {
			key := fmt.Sprintf("key%d", i)
			for n := 0; ; n++ {
				_, err := c.kinesis.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: name, PartitionKey: &key, Data: fmt.Appendf(nil, "%s %d\n", key, n)})
				if !w.note(key, n+1, err) {
					return
				}
				select {
				case w.answers <- struct{}{}:
				case <-w.ended:
					return
				}
			}
		})
	}
	return w
}

func (w *writers) note(key string, n int, err error) (goOn bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.err = errors.Join(w.err, err)
		return false
	}
	w.written[key] = n
	return !w.stopped
}

// await lets n more records be put; when the writers have failed, stop tells.
func (w *writers) await(n int) {
	for range n {
		select {
		case <-w.answers:
		case <-time.After(patience):
			return
		}
	}
}

func (w *writers) stop() (map[string]int, error) {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	close(w.ended)
	w.wg.Wait()
	return w.written, w.err
}

// consumer reads a stream as consumer libraries do: each shard to its end, then the children that GetRecords names, a merged
// one when both of its parents are read.
type consumer struct {
	c    clients
	ctx  context.Context
	name *string

	mu      sync.Mutex
	records []string
	begun   map[string]bool
	ended   map[string]bool
	err     error
}

func (c clients) startConsumer(ctx context.Context, name *string) *consumer {
	r := &consumer{c: c, ctx: ctx, name: name, begun: map[string]bool{}, ended: map[string]bool{}}
	shards, err := c.kinesis.ListShards(ctx, &kinesis.ListShardsInput{StreamName: name, ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}})
	if err != nil {
		r.fail(err)
		return r
	}
	for _, sh := range shards.Shards {
		r.begin(*sh.ShardId, nil)
	}
	return r
}

func (r *consumer) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errors.Join(r.err, err)
}

// begin reads a shard when its parents are read, once.
func (r *consumer) begin(shard string, parents []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range parents {
		if !r.ended[p] {
			return
		}
	}
	if r.begun[shard] {
		if len(parents) < 2 { // both parents of a merge name it
			r.err = errors.Join(r.err, fmt.Errorf("%s is named twice", shard))
		}
		return
	}
	r.begun[shard] = true
	go func() {
		if err := r.read(shard); err != nil && r.ctx.Err() == nil {
			r.fail(err)
		}
	}()
}

func (r *consumer) read(shard string) error {
	it, err := r.c.kinesis.GetShardIterator(r.ctx, &kinesis.GetShardIteratorInput{StreamName: r.name, ShardId: &shard,
		ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		return err
	}
	for next := it.ShardIterator; ; {
		out, err := r.c.kinesis.GetRecords(r.ctx, &kinesis.GetRecordsInput{ShardIterator: next, Limit: aws.Int32(50)})
		if err != nil {
			return err
		}
		r.mu.Lock()
		for _, rec := range out.Records {
			r.records = append(r.records, strings.TrimSuffix(string(rec.Data), "\n"))
		}
		r.ended[shard] = out.NextShardIterator == nil
		r.mu.Unlock()
		if (out.NextShardIterator == nil) != (len(out.ChildShards) > 0) {
			return fmt.Errorf("%s: the next iterator is %v, the children are %+v", shard, out.NextShardIterator, out.ChildShards)
		}
		if out.NextShardIterator == nil {
			for _, child := range out.ChildShards {
				r.begin(*child.ShardId, child.ParentShards)
			}
			return nil
		}
		next = out.NextShardIterator
		if len(out.Records) == 0 {
			time.Sleep(20 * time.Millisecond) // the node is another process: a consumer polls
		}
	}
}

// until gives what was read when it is as much as was written, or more.
func (r *consumer) until(written map[string]int) ([]string, error) {
	total := 0
	for _, n := range written {
		total += n
	}
	for {
		r.mu.Lock()
		records, err := r.records, r.err
		r.mu.Unlock()
		if err != nil || len(records) >= total {
			return records, err
		}
		if r.ctx.Err() != nil {
			return nil, fmt.Errorf("%d of %d records were read: %w", len(records), total, r.ctx.Err())
		}
		time.Sleep(10 * time.Millisecond)
	}
}
