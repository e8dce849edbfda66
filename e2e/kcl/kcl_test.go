package kcl

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
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

var kcl = flag.Bool("kcl", false, "run the Kinesis Client Library, which e2e/kcl/run has installed")

func TestMain(m *testing.M) {
	flag.Parse()
	if !*kcl {
		fmt.Println("nothing to test without -kcl: e2e/kcl/run installs the library and sets it")
		return
	}
	node.Main(m)
}

// orders is the stream.
const orders = "orders"

// patience bounds a test: the library takes its time, and the machine may be shared.
const patience = 170 * time.Second

// dynalite runs the stand-in for DynamoDB, on a port of its own, until its input ends.
const dynalite = `
const server = require("dynalite")({createTableMs: 0, updateTableMs: 0, deleteTableMs: 0})
server.listen(0, "127.0.0.1", () => console.log(server.address().port))
process.stdin.resume().on("end", () => process.exit(0))`

// startDynamo runs a DynamoDB with nothing in it, and gives its endpoint.
func startDynamo(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("node", "-e", dynalite)
	cmd.Dir = ".dynalite"
	p, err := foreign.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	port, ok := <-p.Lines
	if !ok {
		t.Fatalf("dynalite does not listen:\n%s", p.Tail())
	}
	return "http://127.0.0.1:" + port
}

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

// consumer is an application of the library with one worker.
type consumer struct {
	t       *testing.T
	program *foreign.Process
	seen    numbered.Seen
	begun   map[string]bool
	ended   map[string]bool
	events  []string          // "begin SHARD" and "end SHARD", in their order
	last    map[string]string // the last sequence number that each shard has shown
}

func startConsumer(t *testing.T, kinesis, stream, retrieval string, cbor bool) *consumer {
	t.Helper()
	program, err := foreign.Java{Module: ".", Main: "millrace.e2e.Reader",
		Properties: map[string]string{"aws.cborEnabled": fmt.Sprint(cbor), "org.slf4j.simpleLogger.showDateTime": "true"},
		Args:       []string{kinesis, startDynamo(t), stream, "application", retrieval}}.Start()
	if err != nil {
		t.Fatal(err)
	}
	c := &consumer{t: t, program: program, begun: map[string]bool{}, ended: map[string]bool{}, last: map[string]string{}}
	t.Cleanup(func() {
		if err := program.Stop(); err != nil {
			t.Error(err)
		}
		c.quiet()
	})
	return c
}

// until takes lines until a condition holds.
func (c *consumer) until(ctx context.Context, what string, ok func() bool) {
	c.t.Helper()
	for !ok() {
		select {
		case line, open := <-c.program.Lines:
			if !open {
				c.t.Fatalf("the consumer has ended by itself; it logged:\n%s", c.program.Tail())
			}
			c.take(line)
		case <-ctx.Done():
			c.t.Fatalf("in vain for %s; %d records are seen, and these: %v; it logged:\n%s", what, c.seen.Total(), c.events, c.program.Tail())
		}
	}
}

func (c *consumer) take(line string) {
	c.t.Helper()
	fields := strings.Split(line, "\t")
	shard := fields[1]
	switch {
	case fields[0] == "record" && len(fields) == 5:
		key, data := text(c.t, fields[3]), text(c.t, fields[4])
		again := c.seen.Again
		if err := c.seen.Add(data); err != nil {
			c.t.Fatalf("%s of %s: %v", fields[2], shard, err)
		}
		if !strings.HasPrefix(data, key+" ") {
			c.t.Errorf("%q has come with the key %q", data, key)
		}
		if c.seen.Again == again && !above(fields[2], c.last[shard]) {
			c.t.Errorf("%s has shown %s after %s", shard, fields[2], c.last[shard])
		}
		c.last[shard] = fields[2]
	case fields[0] == "begin" && len(fields) == 3:
		c.begun[shard] = true
		c.events = append(c.events, "begin "+shard)
	case fields[0] == "end" && len(fields) == 2:
		c.ended[shard] = true
		c.events = append(c.events, "end "+shard)
	case fields[0] == "lost":
		c.t.Errorf("the only worker has lost %s", shard)
	default:
		c.t.Fatalf("the consumer says %q", line)
	}
}

// quiet checks what the library has logged: of what an answer of the server is wrong for it, it complains again and again.
func (c *consumer) quiet() {
	complaints := c.program.Log(" ERROR ")
	if len(complaints) > 0 {
		c.t.Errorf("%d errors are logged; the first: %s", len(complaints), complaints[0])
	}
	c.t.Logf("%d records seen, %d of them again; %d warnings", c.seen.Total(), c.seen.Again, len(c.program.Log(" WARN ")))
	if c.t.Failed() {
		c.t.Log(strings.Join(c.program.Log(" ERROR ", " WARN ", "Exception"), "\n"))
	}
}

func text(t *testing.T, encoded string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// above compares sequence numbers.
func above(a, b string) bool { return len(a) > len(b) || len(a) == len(b) && a > b }

// The library reads a stream through a split and a merge.
func TestReshard(t *testing.T) {
	for _, way := range []struct {
		name, retrieval string
		cbor            bool
	}{
		{"polling in JSON", "polling", false},
		{"polling in CBOR", "polling", true},
		{"fan-out", "fanout", true},
	} {
		t.Run(way.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			n := startNode(t)
			client := numbered.Client(n.AWS)
			arn, err := numbered.Create(ctx, client, &kinesis.CreateStreamInput{StreamName: aws.String(orders), ShardCount: aws.Int32(3)})
			if err != nil {
				t.Fatal(err)
			}
			writer := numbered.Start(ctx, client, orders)
			c := startConsumer(t, n.AWS, arn, way.retrieval, way.cbor)
			c.until(ctx, "three shards", func() bool { return len(c.begun) == 3 && c.seen.Total() > 300 })

			if err := numbered.Split(ctx, client, orders); err != nil {
				t.Fatal(err)
			}
			c.until(ctx, "the children of the split", func() bool { return len(c.begun) == 5 })
			if err := numbered.Merge(ctx, client, orders); err != nil {
				t.Fatal(err)
			}
			c.until(ctx, "the child of the merge", func() bool { return len(c.begun) == 6 })
			if err := writer.Await(ctx, 300); err != nil {
				t.Fatal(err)
			}
			written, err := writer.Stop()
			if err != nil {
				t.Fatal(err)
			}
			c.until(ctx, "all records", func() bool { return c.seen.All(written) })
			familyIsInOrder(ctx, t, client, c)
			for _, shard := range []string{"shardId-000000000000", "shardId-000000000001", "shardId-000000000004"} {
				if !c.ended[shard] {
					t.Errorf("%s has not ended", shard)
				}
			}
		})
	}
}

// A stream on demand is read as any other.
func TestOnDemand(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n := startNode(t)
	client := numbered.Client(n.AWS)
	arn, err := numbered.Create(ctx, client, &kinesis.CreateStreamInput{StreamName: aws.String(orders),
		StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
	if err != nil {
		t.Fatal(err)
	}
	writer := numbered.Start(ctx, client, orders)
	c := startConsumer(t, n.AWS, arn, "polling", true)
	c.until(ctx, "four shards", func() bool { return len(c.begun) == 4 && c.seen.Total() > 300 })
	written, err := writer.Stop()
	if err != nil {
		t.Fatal(err)
	}
	c.until(ctx, "all records", func() bool { return c.seen.All(written) })
}

// familyIsInOrder checks that no shard was begun before its parents had ended.
func familyIsInOrder(ctx context.Context, t *testing.T, client *kinesis.Client, c *consumer) {
	t.Helper()
	out, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String(orders)})
	if err != nil {
		t.Fatal(err)
	}
	parents := map[string][]string{}
	for _, sh := range out.Shards {
		for _, p := range []*string{sh.ParentShardId, sh.AdjacentParentShardId} {
			if p != nil {
				parents[*sh.ShardId] = append(parents[*sh.ShardId], *p)
			}
		}
	}
	if len(parents) != 3 {
		t.Errorf("%d shards have parents: %v", len(parents), parents)
	}
	ended := map[string]bool{}
	for _, e := range c.events {
		what, shard, _ := strings.Cut(e, " ")
		if what == "end" {
			ended[shard] = true
			continue
		}
		for _, p := range parents[shard] {
			if !ended[p] {
				t.Errorf("%s was begun before its parent %s had ended: %v", shard, p, c.events)
			}
		}
	}
}
