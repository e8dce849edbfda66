// Command backlog measures how fast a node delivers what waits in a stream: records a
// second of processor time and memory, for each format, beside the limit: a plain
// program that takes the same records from memory, compresses them with the same
// encoders and writes files.
//
//	go run ./bench/backlog                                  a million records, some three minutes
//	go run ./bench/backlog -records 10000000 -repeat 1      what bench/run does
//
// A node takes the records over the wire. It has a delivery stream for each case, and
// no bucket, so that nothing is delivered. Each case then starts a node on a copy of
// that folder, with the bucket and its delivery stream alone. All processor time counts
// that the process uses from its start until the last object is committed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"millrace/bench/load"
	"millrace/e2e/node"
)

const (
	distinct = 100_000 // events; the backlog repeats them, far beyond what an encoder remembers
	tenants  = 100
	batch    = 500 // records of a call
	fillers  = 8
	shards   = 4
)

type bench struct {
	records  int
	repeat   int
	only     string
	millrace string
	data     string
	out      string

	folder string // of this run, under data
	events [][]byte
	size   int64 // of all records
}

func main() {
	var b bench
	var plain string
	flag.IntVar(&b.records, "records", 1_000_000, "the backlog, in records of about 300 B; rounded down to calls of 500")
	flag.IntVar(&b.repeat, "repeat", 3, "runs of each case, of which the median is told")
	flag.StringVar(&b.only, "case", "", "a single `CASE` of "+strings.Join(names(), ", "))
	flag.StringVar(&b.millrace, "millrace", "", "the `BINARY` under test (default: one that is built for the run)")
	flag.StringVar(&b.data, "data", "", "`FOLDER` on the disk that is to be measured (default: a temporary one)")
	flag.StringVar(&b.out, "out", "bench/RESULTS.md", "`FILE` whose section is written")
	flag.StringVar(&plain, "plain", "", "instead: be the plain program of a `CASE`, writing below -data")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b.records -= b.records % batch
	b.prepare()
	run := b.run
	if plain != "" {
		run = func(context.Context) error { return b.plain(plain) }
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "backlog:", err)
		os.Exit(1)
	}
}

func (b *bench) prepare() {
	b.events = load.Events(distinct, tenants)
	for i := range b.records {
		b.size += int64(len(b.events[i%distinct]))
	}
}

func say(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.records < batch || b.repeat < 1 {
		return fmt.Errorf("%d records and %d runs are too few", b.records, b.repeat)
	}
	if b.only != "" && !slices.Contains(names(), b.only) {
		return fmt.Errorf("there is no case %q", b.only)
	}
	if b.folder, err = os.MkdirTemp(b.data, "millrace-backlog-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.folder)
	if b.millrace == "" {
		if b.millrace, err = node.Binary(); err != nil {
			return err
		}
		defer os.RemoveAll(filepath.Dir(b.millrace))
	}
	began := time.Now()
	if err := b.fill(ctx); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	r := &results{bench: b, runs: map[string][]measured{}}
	for turn := range b.repeat {
		for i := range cases {
			c := &cases[(i+turn)%len(cases)]
			if b.only != "" && b.only != c.name {
				continue
			}
			if err := b.measure(ctx, r, c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	r.took = time.Since(began)
	return r.write(b.out)
}

// measure takes turns between the node and the plain programs.
func (b *bench) measure(ctx context.Context, r *results, c *testCase) error {
	m, err := b.deliver(ctx, c)
	if err != nil {
		return err
	}
	r.add(c.name, m)
	for _, name := range c.limits {
		m, err := b.runPlain(ctx, name)
		if err != nil {
			return fmt.Errorf("plain %s: %w", name, err)
		}
		r.add("plain "+name, m)
	}
	return nil
}
