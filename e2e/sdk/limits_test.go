package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/e2e/node"
)

// rateExceeded is what the service says for the first shard of the stream.
const rateExceeded = "Rate exceeded for shard shardId-000000000000 in stream limited under account 000000000000."

// retrying gives a client that repeats what is throttled, as clients do unless they are told not to.
func retrying(c *kinesis.Client) *kinesis.Client {
	return kinesis.New(c.Options(), func(o *kinesis.Options) {
		o.RetryMaxAttempts = 20
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Second })
	})
}

// With the service's limits a batch is stored in part, and what a producer sends again is stored; a single record and a read
// are repeated by the SDK itself. Nothing is lost, nothing is stored twice, and the key's records stay in order.
func TestThrottledAndRepeated(t *testing.T) {
	n := up(t, node.Options{Args: []string{"--aws-exact=limits"}})
	c := clientsOf(n, "AKIDEXAMPLE", "anything")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	name := aws.String("limited")
	if _, err := c.kinesis.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: name, ShardCount: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	if err := kinesis.NewStreamExistsWaiter(c.kinesis).Wait(ctx, &kinesis.DescribeStreamInput{StreamName: name}, patience); err != nil {
		t.Fatal(err)
	}

	// Three records, of which two are a second's worth, and a small one that must not overtake the third.
	var entries []types.PutRecordsRequestEntry
	for i, size := range []int{500_000, 500_000, 500_000, 10} {
		entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: aws.String("key"), Data: bytes.Repeat([]byte{byte('0' + i)}, size)})
	}
	put, err := c.kinesis.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: name, Records: entries})
	if err != nil {
		t.Fatal(err)
	}
	if *put.FailedRecordCount != 2 {
		t.Fatalf("%d of the records failed, not the last 2", *put.FailedRecordCount)
	}
	for i, r := range put.Records {
		failed := i >= 2
		if (r.SequenceNumber == nil) != failed || (aws.ToString(r.ErrorCode) == "ProvisionedThroughputExceededException") != failed ||
			failed && *r.ErrorMessage != rateExceeded {
			t.Errorf("entry %d: %s %s", i, aws.ToString(r.ErrorCode), aws.ToString(r.ErrorMessage))
		}
	}
	if err := repeatFailed(ctx, c.kinesis, name, entries, put.Records); err != nil {
		t.Fatal(err)
	}

	for i := range 4 {
		in := &kinesis.PutRecordInput{StreamName: name, PartitionKey: aws.String("key"), Data: bytes.Repeat([]byte{byte('4' + i)}, 900_000)}
		if _, err := retrying(c.kinesis).PutRecord(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	_, err = c.kinesis.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: name, PartitionKey: aws.String("key"), Data: make([]byte, 1<<20)})
	var exceeded *types.ProvisionedThroughputExceededException
	if !errors.As(err, &exceeded) || exceeded.ErrorMessage() != rateExceeded {
		t.Errorf("a record right behind another: %v", err)
	}

	order, err := readAll(ctx, retrying(c.kinesis), name)
	if err != nil || order != "01234567" {
		t.Errorf("read %q, %v", order, err)
	}
	if err := throttledReads(ctx, c.kinesis, name); err != nil {
		t.Error(err)
	}
	shownLimits(ctx, t, n)
}

// repeatFailed sends the failed entries of a batch again until all are stored, as a producer does.
func repeatFailed(ctx context.Context, c *kinesis.Client, name *string, entries []types.PutRecordsRequestEntry, results []types.PutRecordsResultEntry) error {
	for {
		var again []types.PutRecordsRequestEntry
		for i, r := range results {
			if r.ErrorCode != nil {
				again = append(again, entries[i])
			}
		}
		if len(again) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		out, err := c.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: name, Records: again})
		if err != nil {
			return err
		}
		entries, results = again, out.Records
	}
}

func fromTheStart(ctx context.Context, c *kinesis.Client, name *string) (*string, error) {
	it, err := c.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: name, ShardId: aws.String("shardId-000000000000"),
		ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		return nil, err
	}
	return it.ShardIterator, nil
}

// readAll reads to the tip, and gives the first byte of each record.
func readAll(ctx context.Context, c *kinesis.Client, name *string) (string, error) {
	at, err := fromTheStart(ctx, c, name)
	if err != nil {
		return "", err
	}
	var order strings.Builder
	for {
		out, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: at})
		if err != nil {
			return order.String(), err
		}
		for _, r := range out.Records {
			order.WriteByte(r.Data[0])
		}
		if *out.MillisBehindLatest == 0 {
			return order.String(), nil
		}
		at = out.NextShardIterator
	}
}

// throttledReads reads often enough to be refused: more often than five times a second, by any clock.
func throttledReads(ctx context.Context, c *kinesis.Client, name *string) error {
	at, err := fromTheStart(ctx, c, name)
	if err != nil {
		return err
	}
	const calls = 40
	refused := make(chan error, calls)
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			_, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: at, Limit: aws.Int32(1)})
			refused <- err
		})
	}
	all.Wait()
	close(refused)
	n := 0
	for err := range refused {
		var exceeded *types.ProvisionedThroughputExceededException
		switch {
		case errors.As(err, &exceeded) && exceeded.ErrorMessage() == rateExceeded:
			n++
		case err != nil:
			return err
		}
	}
	if n == 0 {
		return fmt.Errorf("none of %d reads at once was refused", calls)
	}
	return nil
}

// shownLimits checks what the operator is told: at the start, in health and in metrics.
func shownLimits(ctx context.Context, t *testing.T, n *node.Node) {
	t.Helper()
	if !strings.Contains(n.Output(), "the service's, on this node") {
		t.Error("the limits are not shown at the start")
	}
	var health struct{ Limits string }
	body, err := get(ctx, n.AWS+"/_millrace/health")
	if err != nil || json.Unmarshal(body, &health) != nil || !strings.Contains(health.Limits, "1000 records a second") {
		t.Errorf("health says %q, %v", health.Limits, err)
	}
	page, err := get(ctx, n.AWS+"/_millrace/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nmillrace_service_limits 1\n",
		`millrace_stream_write_throttled_records_total{limit="bytes",stream="limited"} `,
		`millrace_stream_write_throttled_records_total{limit="records",stream="limited"} 0`,
		`millrace_stream_read_throttled_calls_total{limit="calls",stream="limited"} `} {
		if !strings.Contains(string(page), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(string(page), `millrace_stream_write_throttled_records_total{limit="bytes",stream="limited"} 0`) {
		t.Error("throttled records are not counted")
	}
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}
