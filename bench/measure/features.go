package main

import (
	"bufio"
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"

	"millrace/bench/load"
)

//go:embed features.yaml
var featuresFile []byte

// featureKey is the API key in features.yaml.
const featureKey = "bench-key-0123456789-abcdefghij"

// feature is a method of features.yaml. Its rate is told as a ratio to that of the plain one.
type feature struct {
	key, path string
	keyed     bool
	what      string
	target    float64 // least ratio
}

const plainFeature = "feature plain"

var features = []feature{
	{plainFeature, "/plain/plain/", false, "", 0},
	{"feature keyed", "/plain/keyed/", true, "an API key and a usage plan with throttle and quota", 0.8},
	{"feature throttled", "/throttled/plain/", false, "a throttle of the stage", 0.8},
	{"feature valid", "/plain/valid/", false, "a request validator with a JSON model", 0.8},
	{"feature logged", "/logged/plain/", false, "an access log", 0.8},
	{"feature full", "/full/full/", true, "all of them", 0.7},
}

const featureConnections = 256

// measureFeatures measures what keys, throttles, validators and access logs cost, in a process of their own.
func (o *options) measureFeatures(ctx context.Context, r *results, round int) error {
	folder := dataFolder(o, fmt.Sprintf("features-%d", round))
	file := dataFolder(o, "features.yaml")
	if err := os.WriteFile(file, featuresFile, 0o644); err != nil {
		return err
	}
	defer os.Remove(file)
	s, aws, ingest, err := o.startMillrace(ctx, folder, file)
	if err != nil {
		return err
	}
	// Each round begins elsewhere, so that none always has the fresh process.
	from := round * len(features) / o.repeat
	for i := range features {
		f := features[(from+i)%len(features)]
		plan := o.plan(ingest, featureConnections, f.post(ingest))
		report, err := r.watched(f.key, s, func() (*load.Report, error) { return once(ctx, "millrace: "+f.key, plan) })
		if err != nil {
			return err
		}
		r.add(f.key, report)
	}
	written, lost, err := logLines(ctx, aws)
	if err != nil {
		return err
	}
	r.linesWritten, r.linesLost = r.linesWritten+written, r.linesLost+lost
	say("%-34s %.0f written, %.0f lost", "millrace: lines of access logs", written, lost)
	_, peak := s.rss()
	r.peak[round] = max(r.peak[round], peak)
	s.stop(syscall.SIGTERM)
	return os.RemoveAll(folder)
}

// post makes the requests to the method.
func (f feature) post(addr string) func(c, n int) []byte {
	var headers []string
	if f.keyed {
		headers = []string{"x-api-key: " + featureKey}
	}
	return func(_, n int) []byte {
		return load.Request("POST", addr, f.path+stream, "application/json", load.JSONEvent(n), headers...)
	}
}

// logLines asks a node how many lines of stages' logs it has written, and how many it has given up.
func logLines(ctx context.Context, aws string) (written, lost float64, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+aws+"/_millrace/metrics", nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	for in.Scan() {
		label, ok := strings.CutPrefix(in.Text(), `millrace_stage_log_lines_total{what="`)
		if !ok {
			continue
		}
		what, text, _ := strings.Cut(label, `"} `)
		count, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("metrics: %q: %w", in.Text(), err)
		}
		if what == "written" {
			written += count
		} else {
			lost += count
		}
	}
	return written, lost, in.Err()
}
