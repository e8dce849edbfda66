package flink

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/e2e/foreign"
	"millrace/e2e/node"
	"millrace/e2e/numbered"
)

var flink = flag.Bool("flink", false, "run Apache Flink, which e2e/flink/run has installed")

func TestMain(m *testing.M) {
	flag.Parse()
	if !*flink {
		fmt.Println("nothing to test without -flink: e2e/flink/run installs Apache Flink and sets it")
		return
	}
	node.Main(m)
}

// orders is the stream.
const orders = "orders"

// patience bounds a test: a cluster takes its time to start, and the machine may be shared.
const patience = 170 * time.Second

// opens lets Flink's serializers into the classes of Java that they look into.
var opens = []string{"--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
	"--add-opens=java.base/java.net=ALL-UNNAMED", "--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/java.text=ALL-UNNAMED",
	"--add-opens=java.base/java.time=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED",
	"--add-opens=java.base/java.util.concurrent=ALL-UNNAMED"}

func startNode(t *testing.T) *node.Node {
	t.Helper()
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Start(t.Context(), node.Options{Binary: binary, Data: filepath.Join(t.TempDir(), "data"), Args: []string{"--no-example"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(n.Output())
		}
	})
	return n
}

func startJob(t *testing.T, endpoint, arn string, args ...string) *foreign.Process {
	t.Helper()
	p, err := foreign.Java{Module: ".", Main: "millrace.e2e.Job", Options: opens,
		Properties: map[string]string{"org.slf4j.simpleLogger.showDateTime": "true"},
		Args:       append([]string{endpoint, arn, orders}, args...)}.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if complaints := p.Log(" ERROR ", "FAILED"); len(complaints) > 0 {
			t.Errorf("%d errors are logged; the first: %s", len(complaints), complaints[0])
		}
		if t.Failed() {
			t.Log(strings.Join(p.Log(" ERROR ", " WARN ", "Exception"), "\n"))
		}
	})
	return p
}

// reader is a job that reads.
type reader struct {
	t       *testing.T
	program *foreign.Process
	bag     numbered.Bag
	shards  map[string]string // to the last sequence number that each has shown
}

// until takes lines until a condition holds.
func (r *reader) until(ctx context.Context, what string, ok func() bool) {
	r.t.Helper()
	for !ok() {
		select {
		case line, open := <-r.program.Lines:
			if !open {
				r.t.Fatalf("the job has ended by itself; it logged:\n%s", r.program.Tail())
			}
			r.take(line)
		case <-ctx.Done():
			r.t.Fatalf("in vain for %s; %d records are seen of these shards: %v; it logged:\n%s", what, r.bag.Total(), r.shards, r.program.Tail())
		}
	}
}

func (r *reader) take(line string) {
	r.t.Helper()
	fields := strings.Split(line, "\t")
	if len(fields) != 5 || fields[0] != "record" {
		r.t.Fatalf("the job says %q", line)
	}
	shard, sequence, key, data := fields[1], fields[2], text(r.t, fields[3]), text(r.t, fields[4])
	if err := r.bag.Add(data); err != nil {
		r.t.Fatal(err)
	}
	if !strings.HasPrefix(data, key+" ") {
		r.t.Errorf("%q has come with the key %q", data, key)
	}
	if last := r.shards[shard]; len(sequence) < len(last) || len(sequence) == len(last) && sequence <= last {
		r.t.Errorf("%s has shown %s after %s", shard, sequence, last)
	}
	r.shards[shard] = sequence
}

func text(t *testing.T, encoded string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Jobs read a stream through a split and a merge, and see each record once.
func TestReshard(t *testing.T) {
	for _, way := range []string{"source", "polling", "fanout"} {
		t.Run(way, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			n := startNode(t)
			client := numbered.Client(n.AWS)
			arn, err := numbered.Create(ctx, client, &kinesis.CreateStreamInput{StreamName: aws.String(orders), ShardCount: aws.Int32(3)})
			if err != nil {
				t.Fatal(err)
			}
			writer := numbered.Start(ctx, client, orders)
			r := &reader{t: t, program: startJob(t, n.AWS, arn, way), shards: map[string]string{}}
			r.until(ctx, "three shards", func() bool { return len(r.shards) == 3 && r.bag.Total() > 300 })

			if err := numbered.Split(ctx, client, orders); err != nil {
				t.Fatal(err)
			}
			r.until(ctx, "the children of the split", func() bool { return len(r.shards) == 5 })
			if err := numbered.Merge(ctx, client, orders); err != nil {
				t.Fatal(err)
			}
			r.until(ctx, "the child of the merge", func() bool { return len(r.shards) == 6 })
			if err := writer.Await(ctx, 300); err != nil {
				t.Fatal(err)
			}
			written, err := writer.Stop()
			if err != nil {
				t.Fatal(err)
			}
			r.until(ctx, "all records", func() bool { return r.bag.All(written) })
			if r.bag.Again > 0 {
				t.Errorf("%d records have come twice", r.bag.Again)
			}
			t.Logf("%d records", r.bag.Total())
		})
	}
}

// A job writes through PutRecords.
func TestSink(t *testing.T) {
	const records = 5000
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n := startNode(t)
	client := numbered.Client(n.AWS)
	arn, err := numbered.Create(ctx, client, &kinesis.CreateStreamInput{StreamName: aws.String(orders), ShardCount: aws.Int32(2)})
	if err != nil {
		t.Fatal(err)
	}
	job := startJob(t, n.AWS, arn, "sink", strconv.Itoa(records))
	if err := job.Finish(patience, func(line string) { t.Errorf("the job says %q", line) }); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for shard := range 2 {
		it, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamARN: &arn, ShardId: aws.String(fmt.Sprintf("shardId-%012d", shard)),
			ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if err != nil {
			t.Fatal(err)
		}
		for next := it.ShardIterator; ; {
			page, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Records {
				seen[string(r.Data)]++
			}
			if len(page.Records) == 0 && *page.MillisBehindLatest == 0 {
				break
			}
			next = page.NextShardIterator
		}
	}
	for i := range records {
		if text := fmt.Sprint("written ", i); seen[text] != 1 {
			t.Errorf("%q is there %d times", text, seen[text])
		}
	}
}
