package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"millrace/bench/load"
)

// measureMillrace lets the bare handler and Millrace take turns.
func (o *options) measureMillrace(ctx context.Context, r *results) error {
	const path = "/prod/v1/class-stream"
	for round := range o.repeat {
		say("round %d of %d: bare net/http", round+1, o.repeat)
		bare, err := start(ctx, "", nil, func(out string) bool { return strings.Contains(out, "\n") }, o.bare)
		if err != nil {
			return err
		}
		addr := strings.TrimSpace(strings.TrimPrefix(bare.out.String(), "ready http://"))
		for _, c := range []int{64, 256} {
			report, err := once(ctx, "bare: POST", o.plan(addr, c, jsonPost(addr, "/")))
			if err != nil {
				return err
			}
			r.add(fmt.Sprintf("bare %d", c), report)
		}
		// What the machine itself does to an open loop, for comparison with Millrace's.
		p := o.plan(addr, 64, jsonPost(addr, "/"))
		p.Rate = r.last("bare 64") / 2
		report, err := once(ctx, "bare: POST at half rate", p)
		if err != nil {
			return err
		}
		r.add("bare open", report)
		bare.stop(syscall.SIGTERM)

		say("round %d of %d: Millrace", round+1, o.repeat)
		folder := dataFolder(o, fmt.Sprintf("millrace-%d", round))
		s, aws, ingest, err := o.startMillrace(ctx, folder)
		if err != nil {
			return err
		}
		r.starts = append(r.starts, s.took)
		idle, _ := s.rss()
		r.idle = append(r.idle, idle)
		for _, m := range []struct {
			key         string
			connections int
			addr        string
			carries     int // records
			request     func(c, n int) []byte
		}{
			{"json 64", 64, ingest, 1, jsonPost(ingest, path)},
			{"json 256", 256, ingest, 1, jsonPost(ingest, path)},
			{"form 64", 64, ingest, 1, formPost(ingest, path)},
			{"form 256", 256, ingest, 1, formPost(ingest, path)},
			{"putrecord", 64, aws, 1, putRecord(aws)},
			{"putrecords", few, aws, records, putRecords(aws)},
			{"putrecords cbor", few, aws, records, putRecordsOf(aws, stream, load.CBOR)},
		} {
			plan := o.plan(m.addr, m.connections, m.request)
			plan.Records = m.carries
			report, err := r.watched(m.key, s, func() (*load.Report, error) {
				return once(ctx, "millrace: "+m.key, plan)
			})
			if err != nil {
				return err
			}
			r.add(m.key, report)
		}
		if err := o.measureLatency(ctx, r, ingest, path); err != nil {
			return err
		}
		_, peak := s.rss()
		r.peak = append(r.peak, peak)
		s.stop(syscall.SIGTERM)
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
		if err := o.measureFeatures(ctx, r, round); err != nil {
			return err
		}
		if err := o.measureStreams(ctx, r, round); err != nil {
			return err
		}
	}
	return nil
}

// measureLatency runs at half of the most that the last run gave, from the times at which requests were to be sent.
func (o *options) measureLatency(ctx context.Context, r *results, ingest, path string) error {
	runs := 5/o.repeat + 1
	p := o.plan(ingest, 64, jsonPost(ingest, path))
	p.Rate = r.last("json 64") / 2
	for range runs {
		report, err := once(ctx, "millrace: json at half rate", p)
		if err != nil {
			return err
		}
		r.add("open", report)
	}
	return nil
}

// peer is a server of others that stores records.
type peer struct {
	key, name string
	addr      string
	dir       string
	env       []string
	command   []string
}

// peers are those that bench/run has installed.
func peers(o *options) []peer {
	bin := func(parts ...string) string { return filepath.Join(append([]string{o.peers}, parts...)...) }
	kinesalite, err := filepath.Abs(bin("node_modules", "kinesalite", "cli.js"))
	if err != nil {
		kinesalite = bin("node_modules", "kinesalite", "cli.js")
	}
	return []peer{
		{key: "kinesalite memory", name: "kinesalite, in memory", addr: "127.0.0.1:14571",
			command: []string{"node", kinesalite, "--port", "14571", "--createStreamMs", "10"}},
		{key: "kinesalite disk", name: "kinesalite, on disk", addr: "127.0.0.1:14572",
			command: []string{"node", kinesalite, "--port", "14572", "--createStreamMs", "10", "--path", dataFolder(o, "kinesalite")}},
		{key: "kinesis-local", name: "kinesis-local (kinesis-mock)", addr: "127.0.0.1:14573", dir: bin("node_modules", "kinesis-local"),
			env: []string{"KINESIS_MOCK_PLAIN_PORT=14573", "KINESIS_MOCK_TLS_PORT=14574", "LOG_LEVEL=ERROR", "SHOULD_PERSIST_DATA=false",
				"CREATE_STREAM_DURATION=10ms"},
			command: []string{"node", "main.js"}},
		{key: "moto", name: "moto server", addr: "127.0.0.1:14575",
			command: []string{bin("venv", "bin", "moto_server"), "-H", "127.0.0.1", "-p", "14575"}},
	}
}

// patience is how many times longer a peer is measured that has answered nothing in the usual time.
const patience = 12

// measurePeer measures one; what can't be measured is told in the results.
func (o *options) measurePeer(ctx context.Context, r *results, p peer) {
	say("peer: %s", p.name)
	s, err := start(ctx, p.dir, p.env, listening(p.addr), p.command[0], p.command[1:]...)
	if err != nil {
		r.missing = append(r.missing, fmt.Sprintf("%s: %v", p.name, err))
		say("not measured: %v", err)
		return
	}
	defer s.stop(syscall.SIGTERM)
	measure := func() error {
		if err := (load.Kinesis{Addr: p.addr}).CreateStream(ctx, stream, shards); err != nil {
			return err
		}
		for _, m := range []struct {
			suffix      string
			connections int
			carries     int
			request     func(c, n int) []byte
		}{{" putrecord", 64, 1, putRecord(p.addr)}, {" putrecords", few, records, putRecords(p.addr)}} {
			plan := o.plan(p.addr, m.connections, m.request)
			plan.Records = m.carries
			report, err := load.Run(ctx, plan)
			if report != nil && report.Requests == 0 && ctx.Err() == nil {
				// A call takes longer than the run, and perhaps than the generator waits for what is under way at its
				// end: a third of a minute with kinesis-mock's PutRecords.
				say("%s: no answer within %v; again for %v", p.name+m.suffix, plan.Duration, patience*plan.Duration)
				plan.Duration, plan.Warmup = patience*plan.Duration, 0
				report, err = load.Run(ctx, plan)
			}
			if err != nil {
				return err
			}
			if report.OK() == 0 {
				return fmt.Errorf("%s: no call succeeded (%v)", m.suffix, report.Status)
			}
			say("%-34s %4d connections: %8.0f requests/s (%d of %d succeeded)", p.name+m.suffix, m.connections, report.Rate(), report.OK(), report.Requests)
			report.Requests = report.OK()
			r.add(p.key+m.suffix, report)
		}
		plan, err := o.readPlan(ctx, load.Kinesis{Addr: p.addr}, stream, load.JSON)
		if err != nil {
			return fmt.Errorf("getrecords: %w", err)
		}
		report, err := once(ctx, p.name+" getrecords", plan)
		if err == nil {
			r.add(p.key+" getrecords", report)
		}
		return err
	}
	if err := measure(); err != nil {
		r.missing = append(r.missing, fmt.Sprintf("%s: %v", p.name, err))
		say("not measured: %v", err)
	}
}

// measureReopen fills a stream, kills the node, and times its start.
func (o *options) measureReopen(ctx context.Context) error {
	folder := dataFolder(o, "reopen")
	s, aws, _, err := o.startMillrace(ctx, folder)
	if err != nil {
		return err
	}
	began := time.Now()
	sent := 0
	for sent < o.reopen {
		p := o.plan(aws, few, putRecords(aws))
		p.Warmup = 0
		report, err := load.Run(ctx, p)
		if err != nil {
			return err
		}
		sent += int(report.OK()) * records
		say("%d of %d records", sent, o.reopen)
	}
	took := time.Since(began)
	_, peak := s.rss()
	s.stop(syscall.SIGKILL)
	var starts []time.Duration
	for range o.repeat {
		again, _, _, err := o.startMillrace(ctx, folder)
		if err != nil {
			return err
		}
		now, _ := again.rss()
		say("start with %d records: %v, %d MiB", sent, again.took.Round(time.Millisecond), now)
		starts = append(starts, again.took)
		again.stop(syscall.SIGKILL)
	}
	say("%d records in %v, peak %d MiB; median start after kill -9: %v", sent, took.Round(time.Second), peak, median(starts).Round(time.Millisecond))
	return os.RemoveAll(folder)
}
