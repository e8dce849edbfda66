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
	r.missing = []string{"moto server: no such file"}
	text := r.markdown()
	for _, want := range []string{
		"256 connections | 0.50x | at least 0.35x | yes |",
		"64 connections | 0.10x | at least 0.30x | **no** |",
		"memory, the most under all of this load | 300 MiB | at most 250 MiB | **no** |",
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
