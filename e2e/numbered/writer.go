package numbered

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// Client is the SDK's for a node.
func Client(endpoint string) *kinesis.Client {
	return kinesis.NewFromConfig(aws.Config{Region: "us-east-1", BaseEndpoint: &endpoint, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", "")})
}

// The load of a writer: enough for records to be under way whatever happens to the shards, and not so much that a consumer in
// another process, on a machine that is shared, falls behind for good.
const (
	keys  = 30 // of a batch, one record each, so that the order of a key is that of the batches
	pause = 40 * time.Millisecond
)

// Writer puts records until it is stopped.
type Writer struct {
	stop   context.CancelFunc
	done   chan struct{}
	stream string

	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, when written has grown
	written map[string]int
	err     error
}

// Start puts records into a stream. An entry that fails is put again before the next one of its key.
func Start(ctx context.Context, c *kinesis.Client, stream string) *Writer {
	ctx, stop := context.WithCancel(ctx)
	w := &Writer{stop: stop, done: make(chan struct{}), stream: stream, changed: make(chan struct{}), written: map[string]int{}}
	go func() {
		defer close(w.done)
		if err := w.run(ctx, c); err != nil {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
		}
	}()
	return w
}

func (w *Writer) run(ctx context.Context, c *kinesis.Client) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		in := &kinesis.PutRecordsInput{StreamName: &w.stream}
		for i := range keys {
			key := fmt.Sprintf("key-%d", i)
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: &key, Data: Data(key, w.written[key])})
		}
		// The call itself is not broken off by a stop: a record that is in the stream is one that is known of.
		out, err := c.PutRecords(context.WithoutCancel(ctx), in)
		if err != nil {
			return err
		}
		w.note(in, out)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *Writer) note(in *kinesis.PutRecordsInput, out *kinesis.PutRecordsOutput) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, r := range out.Records {
		if r.ErrorCode == nil {
			w.written[*in.Records[i].PartitionKey]++
		}
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

// Await waits until n more records are acknowledged.
func (w *Writer) Await(ctx context.Context, n int) error {
	w.mu.Lock()
	until := total(w.written) + n
	w.mu.Unlock()
	for {
		w.mu.Lock()
		at, changed, err := total(w.written), w.changed, w.err
		w.mu.Unlock()
		if at >= until || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-w.done:
		case <-ctx.Done():
			return fmt.Errorf("%d records are acknowledged, and not %d: %w", at, until, ctx.Err())
		}
	}
}

// Stop ends the puts and tells how many records of each key are acknowledged.
func (w *Writer) Stop() (map[string]int, error) {
	w.stop()
	<-w.done
	return w.written, w.err
}

func total(counts map[string]int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

// Data is the body of a key's record of a number.
func Data(key string, number int) []byte { return fmt.Appendf(nil, "%s %d", key, number) }
