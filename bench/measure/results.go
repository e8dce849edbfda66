package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"millrace/bench/load"
)

// results are all runs, by key.
type results struct {
	began   time.Time
	options *options
	fsync   time.Duration
	runs    map[string][]*load.Report
	starts  []time.Duration
	idle    []int // MiB
	peak    []int
	missing []string

	underWay map[string][]*load.Histogram // of records that subscriptions followed
	memory   map[string][]memory

	linesWritten, linesLost float64 // of access logs, over all rounds
}

// memory is what the server held during one run, in MiB: the mean of the first third, of the last, and the most.
type memory struct{ first, last, most float64 }

// watchEvery is how often memory is looked at.
const watchEvery = 50 * time.Millisecond

// watched makes a run, and watches the server's memory after the warm-up.
func (r *results) watched(key string, s *server, run func() (*load.Report, error)) (*load.Report, error) {
	ended, seen := make(chan struct{}), make(chan []float64)
	go func() {
		var all []float64
		defer func() { seen <- all }()
		warm := time.After(r.options.warmup)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-warm:
				all = all[:0]
			case <-tick.C:
				now, _ := s.rss()
				all = append(all, float64(now))
			case <-ended:
				return
			}
		}
	}()
	report, err := run()
	close(ended)
	if r.memory == nil {
		r.memory = map[string][]memory{}
	}
	r.memory[key] = append(r.memory[key], memoryOf(<-seen))
	return report, err
}

func memoryOf(seen []float64) memory {
	if len(seen) == 0 {
		return memory{}
	}
	mean := func(values []float64) (sum float64) {
		for _, v := range values {
			sum += v
		}
		return sum / float64(len(values))
	}
	third := max(1, len(seen)/3)
	return memory{mean(seen[:third]), mean(seen[len(seen)-third:]), slices.Max(seen)}
}

// held is the median of what one of a memory's numbers was over the runs.
func (r *results) held(key string, of func(memory) float64) float64 {
	var all []float64
	for _, m := range r.memory[key] {
		all = append(all, of(m))
	}
	return median(all)
}

// growth is how much memory grew within a run, as a ratio: the most of some kinds of load.
func (r *results) growth(keys ...string) (most float64) {
	for _, key := range keys {
		most = max(most, r.held(key, func(m memory) float64 { return m.last / max(1, m.first) }))
	}
	return most
}

func (r *results) follow(key string, h *load.Histogram) {
	if r.underWay == nil {
		r.underWay = map[string][]*load.Histogram{}
	}
	r.underWay[key] = append(r.underWay[key], h)
}

// propagation is the median over the runs of how long a share q of the records was under way at most.
func (r *results) propagation(key string, q float64) time.Duration {
	var all []time.Duration
	for _, h := range r.underWay[key] {
		all = append(all, h.Quantile(q))
	}
	return median(all)
}

// recordsOf tells records a second of requests that bring or carry many.
func (r *results) recordsOf(key string) string {
	runs := r.runs[key]
	if last := runs[len(runs)-1]; last.Records < 2 && last.Read == 0 {
		return ""
	}
	return perSecond(r.recordRate(key))
}

// recordRate is the median of records a second.
func (r *results) recordRate(key string) float64 {
	var rates []float64
	for _, report := range r.runs[key] {
		rates = append(rates, report.RecordRate())
	}
	return median(rates)
}

func (r *results) add(key string, report *load.Report) {
	if r.runs == nil {
		r.runs = map[string][]*load.Report{}
	}
	r.runs[key] = append(r.runs[key], report)
}

// rate is the median of requests a second.
func (r *results) rate(key string) float64 {
	var rates []float64
	for _, report := range r.runs[key] {
		rates = append(rates, report.Rate())
	}
	return median(rates)
}

func (r *results) last(key string) float64 {
	runs := r.runs[key]
	return runs[len(runs)-1].Rate()
}

func (r *results) quantile(key string, q float64) time.Duration {
	var all []time.Duration
	for _, report := range r.runs[key] {
		all = append(all, report.Latency.Quantile(q))
	}
	return median(all)
}

// row is one line of the table of targets.
type row struct {
	what   string
	value  float64
	target float64
	unit   string
	most   bool // the target is the most that may be, not the least
}

func (w row) met() bool {
	if w.most {
		return w.value <= w.target
	}
	return w.value >= w.target
}

func (w row) String() string {
	verdict := "yes"
	if !w.met() {
		verdict = "**no**"
	}
	bound := "at least "
	if w.most {
		bound = "at most "
	}
	return fmt.Sprintf("| %s | %s%s | %s%s%s | %s |", w.what, number(w.value), w.unit, bound, number(w.target), w.unit, verdict)
}

func number(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f k", v/1000)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// against are the peers, and how many times their PutRecord Millrace's is to be.
var against = []struct {
	key, name string
	target    float64
}{
	{"moto", "moto server", 10}, {"kinesis-local", "kinesis-local", 10},
	{"kinesalite disk", "kinesalite on disk", 10}, {"kinesalite memory", "kinesalite in memory", 4},
}

func (r *results) rows() []row {
	ratio := func(a, b string) float64 {
		if y := r.rate(b); y > 0 {
			return r.rate(a) / y
		}
		return 0
	}
	rows := []row{
		{"POST of a 300 B JSON event, durable, against bare net/http, 256 connections", ratio("json 256", "bare 256"), 0.35, "x", false},
		{"the same, 64 connections", ratio("json 64", "bare 64"), 0.30, "x", false},
		{"PutRecords of 500 records over the wire in JSON, records a second", r.recordRate("putrecords"), 250_000, "", false},
		{"the same in CBOR, against JSON", ratio("putrecords cbor", "putrecords"), 1, "x", false},
		{"GetRecords of 4 shards from their beginning in JSON, records a second", r.recordRate("getrecords"), 300_000, "", false},
		{"the same in CBOR, records a second", r.recordRate("getrecords cbor"), 300_000, "", false},
		{"SubscribeToShard at the tip of 4 shards, PutRecords at half of the maximum rate: p99 from the intended time of sending to the consumer",
			float64(r.propagation("subscribe putrecords", .99)) / 1e6, 20, " ms", true},
		{"the same with PutRecord", float64(r.propagation("subscribe putrecord", .99)) / 1e6, 20, " ms", true},
		{"p99 of a durable POST at half of the maximum rate, from the intended time of sending", float64(r.quantile("open", .99)) / 1e6, 5, " ms", true},
		{"start on an empty folder", float64(median(r.starts)) / 1e9, 0.1, " s", true},
		{"memory, idle", float64(median(r.idle)), 30, " MiB", true},
		{"memory, the most under all of this load", float64(median(r.peak)), 250, " MiB", true},
		{"memory within a run of PutRecords, GetRecords or SubscribeToShard, last third against first third, the most of these",
			r.growth("putrecords", "putrecords cbor", "getrecords", "getrecords cbor", "subscribe putrecords"), 1.25, "x", true},
	}
	for _, f := range features {
		if f.target > 0 {
			rows = append(rows, row{"POST of a JSON event, 256 connections, to a method with " + f.what + ", against the plain method",
				ratio(f.key, plainFeature), f.target, "x", false})
		}
	}
	rows = append(rows, row{"lines of access logs lost under this load", r.linesLostShare() * 100, 0.1, " %", true})
	for _, p := range against {
		if r.rate(p.key+" putrecord") > 0 {
			rows = append(rows, row{"PutRecord, 64 connections, against " + p.name, ratio("putrecord", p.key+" putrecord"), p.target, "x", false})
		}
	}
	return rows
}

// linesLostShare is the part of the access logs' lines that was given up, of 1.
func (r *results) linesLostShare() float64 {
	return r.linesLost / max(1, r.linesLost+r.linesWritten)
}

// perSecond is a rate as a person reads it: a slow peer's needs its fraction.
func perSecond(rate float64) string {
	if rate < 10 {
		return fmt.Sprintf("%.2f", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

func (r *results) markdown() string {
	var b strings.Builder
	rows := r.rows()
	fmt.Fprintf(&b, `# Measurements

Made by %sbench/run%s on %s: %s/%s, %d cores (%s), %s, one fsync of 4 KiB %v. Servers and the load generator share the
cores; servers ran one after the other. Each figure is the median of %d runs of %v after %v of warm-up; the bare handler and
Millrace took turns. Ratios hold across machines better than rates do; rates are below for orientation.

| what | measured | target | met |
|---|---|---|---|
`, "`", "`", r.began.Format("2006-01-02"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpuName(), runtime.Version(), r.fsync.Round(10*time.Microsecond),
		r.options.repeat, r.options.duration, r.options.warmup)
	var short []string
	for _, w := range rows {
		fmt.Fprintln(&b, w)
		if !w.met() {
			short = append(short, w.what)
		}
	}
	if len(short) > 0 {
		fmt.Fprintf(&b, "\nFalls short: %s.\n", strings.Join(short, "; "))
	}
	for _, m := range r.missing {
		fmt.Fprintf(&b, "\nNot measured: %s\n", m)
	}
	r.writeFeatures(&b)
	r.writeRates(&b)
	r.writeMemory(&b)
	return b.String()
}

// writeFeatures tells what the gateway's features cost.
func (r *results) writeFeatures(b *strings.Builder) {
	plain := r.rate(plainFeature)
	if plain == 0 {
		return
	}
	fmt.Fprintf(b, `
## What the gateway's features cost

POST of the 300 B JSON event through the JSON template, durable, %d connections, one method after the other of a node with
bench/measure/features.yaml; each round began with another one. Limits are so high that nothing is refused. What
the rounds differ by is the machine's, and so is a ratio above 1. Of the access logs %.0f lines were written and %.0f lost.

| a method with | requests/s | against plain | in each round | p50 | p99 |
|---|---|---|---|---|---|
`, featureConnections, r.linesWritten, r.linesLost)
	for _, f := range features {
		rate := r.rate(f.key)
		if rate == 0 {
			continue
		}
		round := func(q float64) time.Duration { return r.quantile(f.key, q).Round(10 * time.Microsecond) }
		what := f.what
		if f.key == plainFeature {
			what = "nothing (plain)"
		}
		var each []string
		for i, plain := range r.runs[plainFeature] {
			if i < len(r.runs[f.key]) {
				each = append(each, fmt.Sprintf("%.2f", r.runs[f.key][i].Rate()/plain.Rate()))
			}
		}
		fmt.Fprintf(b, "| %s | %s | %.2fx | %s | %v | %v |\n", what, perSecond(rate), rate/plain, strings.Join(each, ", "), round(.5), round(.99))
	}
}

func (r *results) writeRates(b *strings.Builder) {
	b.WriteString("\n## Rates of this run\n\n| what | connections | requests/s | records/s | p50 | p99 | p99.9 |\n|---|---|---|---|---|---|---|\n")
	for _, line := range []struct {
		key, what, connections string
	}{
		{"bare 64", "bare net/http, POST", "64"}, {"bare 256", "bare net/http, POST", "256"},
		{"bare open", "bare net/http, open loop at half of its rate", "64"},
		{"json 64", "Millrace, JSON template", "64"}, {"json 256", "Millrace, JSON template", "256"},
		{"form 64", "Millrace, form template", "64"}, {"form 256", "Millrace, form template", "256"},
		{"open", "Millrace, JSON template, open loop at half rate", "64"},
		{"putrecord", "Millrace, PutRecord", "64"}, {"putrecords", "Millrace, PutRecords of 500", "16"},
		{"putrecords cbor", "Millrace, PutRecords of 500, CBOR", "16"},
		{"getrecords", "Millrace, GetRecords", "4"}, {"getrecords cbor", "Millrace, GetRecords, CBOR", "4"},
		{"subscribe putrecords put", "Millrace, PutRecords of 500, open loop at half rate, followed", "16"},
		{"subscribe putrecord put", "Millrace, PutRecord, open loop at half rate, followed", "64"},
		{"kinesalite memory putrecord", "kinesalite in memory, PutRecord", "64"}, {"kinesalite memory putrecords", "kinesalite in memory, PutRecords of 500", "16"},
		{"kinesalite memory getrecords", "kinesalite in memory, GetRecords", "4"},
		{"kinesalite disk putrecord", "kinesalite on disk, PutRecord", "64"}, {"kinesalite disk putrecords", "kinesalite on disk, PutRecords of 500", "16"},
		{"kinesalite disk getrecords", "kinesalite on disk, GetRecords", "4"},
		{"kinesis-local putrecord", "kinesis-local, PutRecord", "64"}, {"kinesis-local putrecords", "kinesis-local, PutRecords of 500", "16"},
		{"kinesis-local getrecords", "kinesis-local, GetRecords", "4"},
		{"moto putrecord", "moto, PutRecord", "64"}, {"moto putrecords", "moto, PutRecords of 500", "16"},
		{"moto getrecords", "moto, GetRecords", "4"},
	} {
		if len(r.runs[line.key]) == 0 {
			continue
		}
		round := func(q float64) time.Duration { return r.quantile(line.key, q).Round(10 * time.Microsecond) }
		fmt.Fprintf(b, "| %s | %s | %s | %s | %v | %v | %v |\n", line.what, line.connections, perSecond(r.rate(line.key)),
			r.recordsOf(line.key), round(.5), round(.99), round(.999))
	}
	for _, line := range []struct{ key, what string }{
		{"subscribe putrecords", "Millrace, SubscribeToShard while PutRecords goes at half rate"},
		{"subscribe putrecord", "Millrace, SubscribeToShard while PutRecord goes at half rate"},
	} {
		if len(r.underWay[line.key]) == 0 {
			continue
		}
		round := func(q float64) time.Duration { return r.propagation(line.key, q).Round(10 * time.Microsecond) }
		fmt.Fprintf(b, "| %s | %d | | %s | %v | %v | %v |\n", line.what, shards, perSecond(r.recordRate(line.key+" put")), round(.5), round(.99), round(.999))
	}
}

// writeMemory tells what the process held while it was under load.
func (r *results) writeMemory(b *strings.Builder) {
	if len(r.memory) == 0 {
		return
	}
	b.WriteString("\n## Memory of this run\n\n| load | first third | last third | most |\n|---|---|---|---|\n")
	for _, line := range []struct{ key, what string }{
		{"json 64", "POST, JSON template, 64 connections"}, {"json 256", "the same, 256"},
		{"form 64", "POST, form template, 64 connections"}, {"form 256", "the same, 256"},
		{plainFeature, "POST, JSON template, 256 connections, features.yaml: plain"}, {"feature full", "the same, all features"},
		{"putrecord", "PutRecord"}, {"putrecords", "PutRecords"}, {"putrecords cbor", "PutRecords, CBOR"},
		{"getrecords", "GetRecords, in a process of its own"}, {"getrecords cbor", "GetRecords, CBOR"},
		{"subscribe putrecords", "SubscribeToShard and PutRecords"}, {"subscribe putrecord", "SubscribeToShard and PutRecord"},
	} {
		if len(r.memory[line.key]) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %s | %.0f MiB | %.0f MiB | %.0f MiB |\n", line.what, r.held(line.key, func(m memory) float64 { return m.first }),
			r.held(line.key, func(m memory) float64 { return m.last }), r.held(line.key, func(m memory) float64 { return m.most }))
	}
}

func cpuName() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	lines := strings.Split(string(text), "\n")
	if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "model name") }); i >= 0 {
		_, name, _ := strings.Cut(lines[i], ":")
		return strings.TrimSpace(name)
	}
	return "unknown"
}
