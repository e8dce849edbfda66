// Command cluster measures nodes on Apache Kafka: PutRecords calls over the wire to one,
// two and three nodes before one set of brokers, and in the same run, on the same
// brokers, franz-go alone (bench/produce).
//
//	e2e/kafka/install && go run ./bench/cluster        about five minutes; writes bench/CLUSTER.md
//
// All share this machine's cores: three brokers, the nodes, and the load. What more
// nodes bring on machines of their own is not to be seen here; what a record costs is.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"millrace/bench/load"
	"millrace/e2e/kafkacluster"
	"millrace/e2e/node"
)

const (
	nodes       = 3
	shards      = 12
	connections = 12 // over all nodes, so that each number of nodes divides them
	batch       = 500
)

type bench struct {
	duration, warmup time.Duration
	repeat           int
	out              string

	folder   string
	millrace string
	produce  string
	brokers  string
	nodes    []*node.Node
}

func main() {
	var b bench
	flag.DurationVar(&b.duration, "duration", 8*time.Second, "how long is measured")
	flag.DurationVar(&b.warmup, "warmup", 3*time.Second, "load before it")
	flag.IntVar(&b.repeat, "repeat", 3, "turns; the median counts")
	flag.StringVar(&b.out, "out", "bench/CLUSTER.md", "the page of results")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.folder, err = os.MkdirTemp("", "millrace-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.folder)
	if err := b.build(ctx); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, kafkacluster.StartTime)
	defer cancel()
	brokers, err := kafkacluster.New(starting, kafkacluster.Options{Heap: "512m", Optimize: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, brokers.Close()) }()
	b.brokers = brokers.Bootstrap()
	defer b.end()
	if err := b.start(ctx); err != nil {
		return err
	}
	var all results
	for turn := range b.repeat {
		fmt.Printf("turn %d of %d\n", turn+1, b.repeat)
		if err := b.turn(ctx, &all); err != nil {
			return err
		}
	}
	return os.WriteFile(b.out, all.page(b), 0o644)
}

func (b *bench) build(ctx context.Context) error {
	b.millrace, b.produce = filepath.Join(b.folder, "millrace"), filepath.Join(b.folder, "produce")
	for path, pkg := range map[string]string{b.millrace: "./cmd/millrace", b.produce: "./bench/produce"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
		}
	}
	return nil
}

// definition is a stream and nothing that reads it: what is measured is the way in.
const definition = `
AWSTemplateFormatVersion: "2010-09-09"
Resources:
  Events:
    Type: AWS::Kinesis::Stream
    Properties: {Name: bench, ShardCount: %d}
`

// start runs the nodes. They deliver nowhere, but have to agree on where they would.
func (b *bench) start(ctx context.Context) error {
	config, file := filepath.Join(b.folder, "millrace.yaml"), filepath.Join(b.folder, "stream.yaml")
	text := fmt.Sprintf("engine: kafka://%s\nobjects: {endpoint: \"http://127.0.0.1:1\"}\n", b.brokers)
	err := errors.Join(os.WriteFile(config, []byte(text), 0o600), os.WriteFile(file, fmt.Appendf(nil, definition, shards), 0o600))
	if err != nil {
		return err
	}
	for i := range nodes {
		n, err := node.Start(ctx, node.Options{Binary: b.millrace, Data: filepath.Join(b.folder, "node"+strconv.Itoa(i)), File: file,
			Args: []string{"--config", config}, Env: []string{"AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x"}})
		if n != nil {
			b.nodes = append(b.nodes, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) end() {
	for _, n := range b.nodes {
		n.Kill() // there is nothing in it that anybody wants
	}
}

// figure is what one measurement gave.
type figure struct {
	Records float64 `json:"recordsPerSecond"`
	CPU     float64 `json:"cpuMicrosPerRecord"` // of the processes before the brokers
	P50     float64 `json:"p50Millis"`          // of a call
	P99     float64 `json:"p99Millis"`
}

// results are figures by what was measured: 0 is franz-go alone, n that many nodes.
type results [nodes + 1][]figure

func (b *bench) turn(ctx context.Context, all *results) error {
	bare, err := b.bare(ctx)
	if err != nil {
		return err
	}
	all[0] = append(all[0], bare)
	for n := 1; n <= nodes; n++ {
		f, err := b.wire(ctx, n)
		if err != nil {
			return err
		}
		all[n] = append(all[n], f)
	}
	return nil
}

func (b *bench) bare(ctx context.Context) (f figure, err error) {
	out, err := exec.CommandContext(ctx, b.produce, "-json", "-brokers", b.brokers, "-callers", strconv.Itoa(connections), "-batch", strconv.Itoa(batch),
		"-partitions", strconv.Itoa(shards), "-duration", b.duration.String(), "-warmup", b.warmup.String()).Output()
	if err != nil {
		return f, fmt.Errorf("bench/produce: %w", err)
	}
	return f, json.Unmarshal(out, &f)
}

// wire loads the first n nodes.
func (b *bench) wire(ctx context.Context, n int) (f figure, err error) {
	if _, err := b.load(ctx, n, b.warmup); err != nil {
		return f, err
	}
	before, err := b.cpu(n)
	if err != nil {
		return f, err
	}
	reports, err := b.load(ctx, n, b.duration)
	if err != nil {
		return f, err
	}
	after, err := b.cpu(n)
	if err != nil {
		return f, err
	}
	records := 0.0
	for _, r := range reports {
		if r.OK() != r.Requests || r.Errors > 0 {
			return f, fmt.Errorf("not every call succeeded: %v", r)
		}
		records += float64(r.Requests) * batch
		f.Records += r.Rate() * batch
		f.P50 = max(f.P50, float64(r.Latency.Quantile(.5))/1e6)
		f.P99 = max(f.P99, float64(r.Latency.Quantile(.99))/1e6)
	}
	f.CPU = float64((after - before).Microseconds()) / records
	return f, nil
}

func (b *bench) load(ctx context.Context, n int, d time.Duration) ([]*load.Report, error) {
	reports, errs := make([]*load.Report, n), make([]error, n)
	var wait sync.WaitGroup
	for i, target := range b.nodes[:n] {
		host := strings.TrimPrefix(target.AWS, "http://")
		wait.Go(func() {
			// A few bodies made before, so that the load costs little beside what it measures.
			var requests [connections][][]byte
			for c := range connections / n {
				for k := range 4 {
					requests[c] = append(requests[c], load.KinesisCall(host, "PutRecords", []byte(load.PutRecords("bench", i*connections+c, k, batch))))
				}
			}
			reports[i], errs[i] = load.Run(ctx, load.Plan{Addr: host, Connections: connections / n, Duration: d, Records: batch,
				Request: func(connection, call int) []byte { return requests[connection][call%len(requests[connection])] }})
		})
	}
	wait.Wait()
	return reports, errors.Join(errs...)
}

func (b *bench) cpu(n int) (sum time.Duration, err error) {
	for _, target := range b.nodes[:n] {
		d, err := target.CPU()
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// page writes the table.
func (r *results) page(b *bench) []byte {
	var p bytes.Buffer
	fmt.Fprintf(&p, `# Nodes on Apache Kafka, measured

Made by `+"`go run ./bench/cluster`"+` on %s. Three brokers (three replicas, two in sync), the nodes and the load share two cores; the medians of
%d turns of %v. PutRecords of %d records of 300 B over the wire, %d connections in all, %d shards; franz-go alone with as many callers, in
the same turns.

| what | records/s | of franz-go alone | CPU before the brokers, a record | of franz-go alone | p50 | p99 |
|---|---|---|---|---|---|---|
`, time.Now().UTC().Format(time.DateOnly), b.repeat, b.duration, batch, connections, shards)
	bare := median(r[0])
	for n, figures := range r {
		f := median(figures)
		name := "franz-go alone"
		if n > 0 {
			name = fmt.Sprintf("%d node%s", n, strings.Repeat("s", min(1, n-1)))
		}
		fmt.Fprintf(&p, "| %s | %.0f k | %.2fx | %.2f µs | %.2fx | %.1f ms | %.1f ms |\n", name, f.Records/1000, f.Records/bare.Records, f.CPU, f.CPU/bare.CPU, f.P50, f.P99)
	}
	p.WriteString(`
A node's processor time holds HTTP, JSON and base64 beside the producer. More nodes on the same two cores divide what is there and add
nothing; that they take nothing away, and that every node serves every shard, is what this shows. The backend alone, without the wire, is
measured by ` + "`go test ./e2e/kafkastream -kafka -run '^$' -bench .`" + `.
`)
	return p.Bytes()
}

func median(all []figure) (m figure) {
	of := func(get func(figure) float64) float64 {
		var values []float64
		for _, f := range all {
			values = append(values, get(f))
		}
		slices.Sort(values)
		if len(values) == 0 {
			return math.NaN()
		}
		return values[len(values)/2]
	}
	return figure{of(func(f figure) float64 { return f.Records }), of(func(f figure) float64 { return f.CPU }),
		of(func(f figure) float64 { return f.P50 }), of(func(f figure) float64 { return f.P99 })}
}
