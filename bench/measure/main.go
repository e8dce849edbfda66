// Command measure compares Millrace with a bare net/http handler and with the peers
// that store records, in one run on one machine, and writes bench/RESULTS.md.
//
// Servers run one after the other, never two under load. What is told is ratios:
// machines differ, and shared ones differ from minute to minute. Each figure is the
// median of several runs, and bare handler and Millrace take turns.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"millrace/bench/load"
)

type options struct {
	millrace, bare, peers string
	data                  string
	out                   string
	duration, warmup      time.Duration
	repeat                int
	reopen                int
}

func main() {
	var o options
	flag.StringVar(&o.millrace, "millrace", "", "the `BINARY` under test")
	flag.StringVar(&o.bare, "bare", "", "the `BINARY` of bench/bare")
	flag.StringVar(&o.peers, "peers", "", "`FOLDER` with the peers; empty: without them")
	flag.StringVar(&o.data, "data", "", "`FOLDER` on the disk that is to be measured (default: a temporary one)")
	flag.StringVar(&o.out, "out", "bench/RESULTS.md", "`FILE` to write")
	flag.DurationVar(&o.duration, "duration", 5*time.Second, "how long one run is measured")
	flag.DurationVar(&o.warmup, "warmup", 2*time.Second, "load before it")
	flag.IntVar(&o.repeat, "repeat", 3, "runs of which the median is told")
	flag.IntVar(&o.reopen, "reopen", 0, "instead: put this many records, kill -9, and time the start")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func (o *options) run(ctx context.Context) error {
	if o.data == "" {
		folder, err := os.MkdirTemp("", "millrace-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		o.data = folder
	}
	if o.reopen > 0 {
		return o.measureReopen(ctx)
	}
	r := &results{began: time.Now(), options: o, fsync: fsyncTime(o.data)}
	say("one fsync of 4 KiB takes %v here", r.fsync.Round(10*time.Microsecond))
	if err := o.measureMillrace(ctx, r); err != nil {
		return err
	}
	if o.peers != "" {
		for _, p := range peers(o) {
			o.measurePeer(ctx, r, p)
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(o.out, []byte(r.markdown()), 0o644); err != nil {
		return err
	}
	say("wrote %s", o.out)
	return nil
}

func say(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// closed makes a plan without a rate.
func (o *options) plan(addr string, connections int, request func(c, n int) []byte) load.Plan {
	return load.Plan{Addr: addr, Connections: connections, Duration: o.duration, Warmup: o.warmup, Records: 1, Request: request}
}

// once makes one run and checks that it measured successes.
func once(ctx context.Context, what string, p load.Plan) (*load.Report, error) {
	r, err := load.Run(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.OK() < r.Requests*999/1000 || r.Requests == 0 {
		return nil, fmt.Errorf("%s: %d of %d answers were no success", what, r.Requests-r.OK(), r.Requests)
	}
	many := ""
	if r.Records > 1 || r.Read > 0 {
		many = fmt.Sprintf(" (%.0f records/s)", r.RecordRate())
	}
	say("%-34s %4d connections: %8.0f requests/s%s, p50 %v, p99 %v", what, p.Connections, r.Rate(), many,
		r.Latency.Quantile(.5).Round(10*time.Microsecond), r.Latency.Quantile(.99).Round(10*time.Microsecond))
	return r, nil
}

const (
	stream  = "class-stream"
	records = 500 // of a PutRecords
	few     = 16  // connections of PutRecords: more only make a queue
)

func jsonPost(addr, path string) func(c, n int) []byte {
	return func(_, n int) []byte { return load.Request("POST", addr, path, "application/json", load.JSONEvent(n)) }
}

func formPost(addr, path string) func(c, n int) []byte {
	return func(_, n int) []byte {
		return load.Request("POST", addr, path, "application/x-www-form-urlencoded", load.FormEvent(n))
	}
}

func putRecord(addr string) func(c, n int) []byte {
	return func(c, n int) []byte { return load.KinesisCall(addr, "PutRecord", load.PutRecord(stream, c, n)) }
}

func putRecords(addr string) func(c, n int) []byte { return putRecordsOf(addr, stream, load.JSON) }

// putRecordsOf builds a few calls beforehand: half a megabyte of base64 for each would measure the generator.
func putRecordsOf(addr, stream string, as load.Encoding) func(c, n int) []byte {
	body := load.PutRecords
	if as == load.CBOR {
		body = load.PutRecordsCBOR
	}
	var calls [8][]byte
	for i := range calls {
		calls[i] = load.KinesisCallAs(addr, "PutRecords", as, body(stream, i, 0, records))
	}
	return func(c, n int) []byte { return calls[(c+n)%len(calls)] }
}

func median[T int | float64 | time.Duration](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// fsyncTime is the median of some durable writes of 4 KiB.
func fsyncTime(folder string) time.Duration {
	f, err := os.CreateTemp(folder, "fsync-")
	if err != nil {
		return 0
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var times []time.Duration
	block := make([]byte, 4<<10)
	for i := range int64(50) {
		began := time.Now()
		if _, err := f.WriteAt(block, i*int64(len(block))); err != nil {
			return 0
		}
		if err := f.Sync(); err != nil {
			return 0
		}
		times = append(times, time.Since(began))
	}
	return median(times)
}

func dataFolder(o *options, name string) string { return filepath.Join(o.data, name) }
