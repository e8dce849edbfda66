package main

import (
	"strings"
	"testing"
	"time"

	"millrace/bench/load"
)

func TestTheTableTellsWhatFallsShort(t *testing.T) {
	r := &results{began: time.Unix(0, 0), options: &options{repeat: 1, duration: time.Second}, idle: []int{20}, peak: []int{300}}
	report := func(requests uint64) *load.Report { return &load.Report{Requests: requests, Elapsed: time.Second} }
	r.add("bare 256", report(80000))
	r.add("json 256", report(40000))
	r.add("bare 64", report(80000))
	r.add("json 64", report(8000))
	puts := report(600)
	puts.Records = 500
	r.add("putrecords", puts)
	r.add("putrecords cbor", report(900))
	pages := report(50)
	pages.Read = 250_000
	r.add("getrecords", pages)
	quick := new(load.Histogram)
	quick.Record(3 * time.Millisecond)
	r.follow("subscribe putrecords", quick)
	r.memory = map[string][]memory{"putrecords": {{100, 110, 120}}, "getrecords": {{100, 200, 210}}}
	r.add("feature plain", report(40000))
	for _, f := range features[1:] {
		r.add(f.key, report(30000))
	}
	r.linesWritten, r.linesLost = 998, 2
	r.missing = []string{"moto server: no such file"}
	text := r.markdown()
	for _, want := range []string{
		"256 connections | 0.50x | at least 0.35x | yes |",
		"64 connections | 0.10x | at least 0.30x | **no** |",
		"memory, the most under all of this load | 300 MiB | at most 250 MiB | **no** |",
		"PutRecords of 500 records over the wire in JSON, records a second | 300 k | at least 250 k | yes |",
		"the same in CBOR, against JSON | 1.50x | at least 1.00x | yes |",
		"in JSON, records a second | 250 k | at least 300 k | **no** |",
		"to the consumer | 3.00 ms | at most 20.0 ms | yes |",
		"the most of these | 2.00x | at most 1.25x | **no** |",
		"| GetRecords, in a process of its own | 100 MiB | 200 MiB | 210 MiB |",
		"to a method with an access log, against the plain method | 0.75x | at least 0.80x | **no** |",
		"to a method with all of them, against the plain method | 0.75x | at least 0.70x | yes |",
		"lines of access logs lost under this load | 0.20 % | at most 0.10 % | **no** |",
		"| nothing (plain) | 40000 | 1.00x |",
		"| an access log | 30000 | 0.75x | 0.75 |",
		"Falls short: the same, 64 connections;",
		"Not measured: moto server",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
}

func TestMedian(t *testing.T) {
	if got := median([]int{5, 1, 3}); got != 3 {
		t.Errorf("median %d", got)
	}
	if got := median([]float64(nil)); got != 0 {
		t.Errorf("median of nothing %v", got)
	}
}

func TestMemoryOfARun(t *testing.T) {
	f := func(seen []float64, want memory) {
		t.Helper()
		if got := memoryOf(seen); got != want {
			t.Errorf("%v: %v, want %v", seen, got, want)
		}
	}
	f(nil, memory{})
	f([]float64{5}, memory{5, 5, 5})
	f([]float64{1, 3, 9, 2, 4, 6}, memory{2, 5, 9})
}
