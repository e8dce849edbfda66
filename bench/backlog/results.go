package main

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// results are all runs, by case, and by "plain" and a plain program's name.
type results struct {
	bench *bench
	runs  map[string][]measured
	took  time.Duration
}

func (r *results) add(name string, m measured) { r.runs[name] = append(r.runs[name], m) }

// median of what the runs of a name say.
func median[T cmp.Ordered](runs []measured, of func(measured) T) T {
	var all []T
	for _, m := range runs {
		all = append(all, of(m))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// perCPU is MB of records a second of processor time.
func (r *results) perCPU(name string) float64 {
	return r.bench.rate(median(r.runs[name], func(m measured) time.Duration { return m.cpu }))
}

const title = "## Delivery of a backlog"

// write puts the section into the page, in the place of the one that is there.
func (r *results) write(path string) error {
	page, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	before, rest, found := strings.Cut(string(page), title+"\n")
	after := ""
	if found {
		if at := strings.Index(rest, "\n## "); at >= 0 {
			after = rest[at:]
		}
	}
	if err := os.WriteFile(path, []byte(strings.TrimRight(before, "\n")+"\n\n"+r.section()+after), 0o644); err != nil {
		return err
	}
	say("wrote %s in %.0f s", path, r.took.Seconds())
	return nil
}

func (r *results) section() string {
	b := new(strings.Builder)
	fmt.Fprintf(b, title+`

Made by `+"`bench/backlog`"+` on %s, %s/%s, %d cores: %.1f million records of %d B, %d MB, in %d shards, put over the wire while there was no
bucket. A node then starts on the folder and delivers them; its start is counted. Beside it, in the same run, the limit: a plain program with
the same encoders that takes the records from memory and writes files of the same sizes, each fsynced. %s.
MB are of records, before compression; a core is a second of processor time of the whole process.

| format | MB/s a core | target | of the plain program | MB/s | cores used | memory at most | allowed | objects | of the records' size |
|---|---|---|---|---|---|---|---|---|---|
`, time.Now().UTC().Format("2006-01-02"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), float64(r.bench.records)/1e6,
		r.bench.size/int64(r.bench.records), r.bench.size/1e6, shards, r.howOften())
	var short []string
	for i := range cases {
		c := &cases[i]
		if len(r.runs[c.name]) == 0 {
			continue
		}
		rate, limit := r.perCPU(c.name), r.perCPU("plain "+c.limits[0])
		peak := median(r.runs[c.name], func(m measured) int64 { return m.peak }) >> 20
		target := ""
		if c.target > 0 {
			target = fmt.Sprintf("at least %.0f", c.target)
			if rate < c.target {
				short = append(short, c.what+": speed")
			}
		}
		if peak > int64(c.memory) {
			short = append(short, c.what+": memory")
		}
		fmt.Fprintf(b, "| %s | %.0f | %s | %.2fx | %s | %d MiB | %d MiB | %s\n", c.what, rate, target, rate/limit, r.pace(c.name), peak, c.memory, r.output(c.name))
	}
	if len(short) > 0 {
		fmt.Fprintf(b, "\nFalls short: %s.\n", strings.Join(short, "; "))
	}
	b.WriteString("\n| plain program | MB/s a core | MB/s | cores used | memory at most | files | of the records' size |\n|---|---|---|---|---|---|---|\n")
	for _, c := range cases {
		for _, name := range c.limits {
			key := "plain " + name
			if len(r.runs[key]) > 0 {
				fmt.Fprintf(b, "| %s | %.0f | %s | %d MiB | %s\n", plainNames[name], r.perCPU(key), r.pace(key),
					median(r.runs[key], func(m measured) int64 { return m.peak })>>20, r.output(key))
			}
		}
	}
	return b.String()
}

func (r *results) howOften() string {
	if r.bench.repeat == 1 {
		return "One run of each"
	}
	return fmt.Sprintf("Medians of %d runs, which took turns", r.bench.repeat)
}

var plainNames = map[string]string{
	"uncompressed": "no compression", "gzip": "klauspost gzip, level 1", "snappy": "klauspost snappy, in snappy-java's stream",
	"parquet": "Parquet by the converter of delivery", "parquet-structs": "Parquet by parquet-go and encoding/json, by Go structs",
	"partitions": "gzip in 100 files, their key found by a search of bytes",
}

// pace is MB a second of wall clock, and how many cores that took.
func (r *results) pace(name string) string {
	wall := median(r.runs[name], func(m measured) time.Duration { return m.wall })
	cpu := median(r.runs[name], func(m measured) time.Duration { return m.cpu })
	return fmt.Sprintf("%.0f | %.2f", r.bench.rate(wall), cpu.Seconds()/wall.Seconds())
}

func (r *results) output(name string) string {
	written := median(r.runs[name], func(m measured) int64 { return m.written })
	return fmt.Sprintf("%d | %.2f |", median(r.runs[name], func(m measured) int64 { return m.objects }), float64(written)/float64(r.bench.size))
}
