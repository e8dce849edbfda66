package telemetry

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeatedErrorsAreCountedNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log, err := NewLogger(&out, LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			log.Warn("object not put", "bucket", "a", "attempt", 1)
		}
		log.Warn("object not put", "bucket", "b")
		if n := strings.Count(out.String(), "object not put"); n != 2 {
			t.Errorf("wrote %d lines, want one a bucket:\n%s", n, out.String())
		}
		time.Sleep(repeatWindow)
		log.Warn("object not put", "bucket", "a")
		if !strings.Contains(out.String(), "repeated=99") {
			t.Errorf("the repetitions must be counted:\n%s", out.String())
		}
		before := out.Len()
		log.Info("started")
		log.Info("started")
		if n := strings.Count(out.String()[before:], "started"); n != 2 {
			t.Error("what is no warning is never dropped")
		}
	})
}

func TestBadLogOptionsAreNamed(t *testing.T) {
	if _, err := NewLogger(nil, LogOptions{Level: "loud"}); err == nil || !strings.Contains(err.Error(), "loud") {
		t.Error(err)
	}
	if _, err := NewLogger(nil, LogOptions{Format: "xml"}); err == nil || !strings.Contains(err.Error(), "xml") {
		t.Error(err)
	}
}

func TestEveryMetricHasASentenceAndAUnit(t *testing.T) {
	names := map[string]bool{}
	for _, m := range Declared() {
		if names[m.Name] {
			t.Errorf("%s is declared twice", m.Name)
		}
		names[m.Name] = true
		if !strings.HasSuffix(m.Help, ".") || len(m.Help) < 20 {
			t.Errorf("%s: %q is no sentence", m.Name, m.Help)
		}
		if !strings.HasPrefix(m.Name, "millrace_") || (m.kind == counter) != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s: a counter, and only a counter, ends in _total", m.Name)
		}
	}
}

func TestPageShowsWhatIsEmitted(t *testing.T) {
	m := NewMetrics()
	m.Collect(func(emit Emit) { emit(StreamRecords, 7, "class-stream") })
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if !strings.Contains(w.Body.String(), `millrace_stream_records_total{stream="class-stream"} 7`) {
		t.Error(w.Body.String())
	}
}
