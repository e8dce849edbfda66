package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"millrace/bench/load"
	"millrace/internal/config"
)

var benchCommand = &command{name: "bench", args: "[OPTIONS]", summary: "make load on a running node and measure its answers", run: runBench}

const benchHelp = `
The kinds of load:
  json        POST events of 300 bytes to --url as application/json
  form        POST forms of 9 fields to --url as application/x-www-form-urlencoded
  putrecord   call Kinesis PutRecord at --url, an AWS endpoint without credentials
  putrecords  call Kinesis PutRecords with 500 records a call
  getrecords  call Kinesis GetRecords: each connection reads a shard from its beginning to its tip, and again
Calls of Kinesis are in JSON, or in CBOR with --cbor.

Without --rate each connection sends its next request when the last one is answered (closed loop). With it requests have a
time to be sent at, and latency counts from then, so that a server that stalls can't hide it (open loop).`

// benchOptions is what the command line says of bench.
type benchOptions struct {
	kind, url, stream string
	connections       int
	duration, warmup  time.Duration
	rate              float64
	cbor              bool
}

const benchRecords = 500 // of a putrecords call

func runBench(ctx context.Context, e *env, args []string) error {
	c := find("bench")
	fs := e.flags(c, benchHelp)
	var o benchOptions
	fs.StringVar(&o.kind, "kind", "json", "`KIND` of load")
	fs.StringVar(&o.url, "url", "", "where to: the `URL` of a method, or of the AWS endpoint (default: those of the built-in example)")
	fs.StringVar(&o.stream, "stream", "class-stream", "the `STREAM` of putrecord, putrecords and getrecords")
	fs.IntVar(&o.connections, "connections", 64, "`NUMBER` of connections")
	fs.DurationVar(&o.duration, "duration", 10*time.Second, "how long to measure (`TIME`)")
	fs.DurationVar(&o.warmup, "warmup", 2*time.Second, "how long to make load before (`TIME`)")
	fs.Float64Var(&o.rate, "rate", 0, "`REQUESTS` a second over all connections: open loop")
	fs.BoolVar(&o.cbor, "cbor", false, "call putrecords and getrecords in CBOR")
	if rest, err := e.parse(fs, args); err != nil {
		return err
	} else if len(rest) > 0 {
		return e.misuse(c, "it takes no arguments")
	}
	plan, err := o.plan()
	if err != nil {
		return e.misuse(c, "%v", err)
	}
	fmt.Fprintf(e.stderr, "%s to %s over %d connections, %v of warm-up and %v of measurement ...\n",
		o.kind, o.url, o.connections, o.warmup, o.duration)
	if o.kind == "getrecords" {
		if err := o.read(ctx, plan); err != nil {
			return err
		}
	}
	report, err := load.Run(ctx, *plan)
	if err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, report)
	if report.OK() < report.Requests || report.Errors > 0 {
		return fmt.Errorf("%d of %d requests were not answered with success, %d connections broke (%v)",
			report.Requests-report.OK(), report.Requests, report.Errors, report.LastErr)
	}
	return nil
}

// plan says what load the options mean.
func (o *benchOptions) plan() (*load.Plan, error) {
	if o.connections < 1 || o.duration <= 0 || o.warmup < 0 || o.rate < 0 {
		return nil, fmt.Errorf("connections and duration must be above 0, warm-up and rate not below it")
	}
	wire := o.kind == "putrecord" || o.kind == "putrecords" || o.kind == "getrecords"
	if o.cbor && o.kind != "putrecords" && o.kind != "getrecords" {
		return nil, fmt.Errorf("there is no %s in CBOR", o.kind)
	}
	if o.url == "" {
		o.url = "http://" + config.Default().Ingest + "/prod/v1/class-stream"
		if wire {
			o.url = "http://" + config.Default().Listen
		}
	}
	u, err := url.Parse(o.url)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("%q is no http:// URL", o.url)
	}
	if u.Port() == "" {
		u.Host += ":80"
	}
	p := &load.Plan{Addr: u.Host, Connections: o.connections, Duration: o.duration, Warmup: o.warmup, Rate: o.rate, Records: 1}
	switch o.kind {
	case "json":
		p.Request = func(_, n int) []byte {
			return load.Request("POST", u.Host, u.RequestURI(), "application/json", load.JSONEvent(n))
		}
	case "form":
		p.Request = func(_, n int) []byte {
			return load.Request("POST", u.Host, u.RequestURI(), "application/x-www-form-urlencoded", load.FormEvent(n))
		}
	case "putrecord":
		p.Request = func(c, n int) []byte { return load.KinesisCall(u.Host, "PutRecord", load.PutRecord(o.stream, c, n)) }
	case "putrecords":
		p.Records = benchRecords
		p.Request = func(c, n int) []byte {
			if o.cbor {
				return load.KinesisCallAs(u.Host, "PutRecords", load.CBOR, load.PutRecordsCBOR(o.stream, c, n, benchRecords))
			}
			return load.KinesisCall(u.Host, "PutRecords", load.PutRecords(o.stream, c, n, benchRecords))
		}
	case "getrecords": // the rest is done when the node is asked: see read
	default:
		return nil, fmt.Errorf("there is no kind of load %q", o.kind)
	}
	return p, nil
}

// read completes the plan of getrecords: iterators come from the node, and do not live long.
func (o *benchOptions) read(ctx context.Context, p *load.Plan) error {
	iterators, err := load.Kinesis{Addr: p.Addr}.Iterators(ctx, o.stream)
	if err != nil {
		return err
	}
	as := load.JSON
	if o.cbor {
		as = load.CBOR
	}
	reads := load.NewReads(p.Addr, as, iterators, p.Connections)
	p.Request, p.Answer = reads.Request, reads.Answer
	return nil
}
