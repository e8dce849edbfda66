package load

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestHistogramQuantilesAreClose(t *testing.T) {
	var h Histogram
	var all []time.Duration
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		d := time.Duration(rng.ExpFloat64() * 1e6)
		h.Record(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, .5, .9, .99, .999, 1} {
		want := all[int(q*float64(len(all)-1))]
		got := h.Quantile(q)
		if got < want || float64(got) > float64(want)*1.04+2 {
			t.Errorf("q%v: %v, want about %v", q, got, want)
		}
	}
	if h.Max() != all[len(all)-1] || h.Count() != 10000 {
		t.Error(h.Max(), h.Count())
	}
}

func TestBucketsHoldTheirDurations(t *testing.T) {
	for _, ns := range []uint64{0, 1, 63, 64, 65, 127, 128, 1000, 123456789, 1 << 40, 1<<62 + 12345} {
		i := bucket(ns)
		if up := upper(i); uint64(up) < ns || (i > 0 && uint64(upper(i-1)) >= ns) {
			t.Errorf("%d is in bucket %d, which ends at %d", ns, i, up)
		}
	}
}

func TestEveryRequestIsCounted(t *testing.T) {
	var seen atomic.Uint64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !strings.HasPrefix(string(body), "{") || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(400)
			return
		}
		seen.Add(1)
		if r.URL.Path == "/chunked" {
			w.(http.Flusher).Flush()
		}
		_, _ = io.WriteString(w, "ok")
	}))
	defer server.Close()
	host := server.Listener.Addr().String()
	for _, path := range []string{"/", "/chunked"} {
		for _, rate := range []float64{0, 200} {
			seen.Store(0)
			r, err := Run(context.Background(), Plan{
				Addr: host, Connections: 4, Duration: 200 * time.Millisecond, Rate: rate,
				Request: func(_, n int) []byte { return Request("POST", host, path, "application/json", JSONEvent(n)) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.OK() == 0 || r.OK() != r.Requests || r.Requests > seen.Load() || r.Requests+4 < seen.Load() || r.Latency.Count() != r.Requests {
				t.Errorf("%s at %v: %d counted, %d OK, %d seen", path, rate, r.Requests, r.OK(), seen.Load())
			}
			if rate > 0 && r.Requests > 80 {
				t.Errorf("an open loop of %v/s sent %d in 0.2 s", rate, r.Requests)
			}
		}
	}
}

func TestNobodyThereIsAnError(t *testing.T) {
	_, err := Run(context.Background(), Plan{Addr: "127.0.0.1:1", Connections: 1, Duration: 20 * time.Millisecond,
		Request: func(_, _ int) []byte { return nil }})
	if err == nil {
		t.Error("no error")
	}
}

func TestEventsHaveTheSizesOfTheDesign(t *testing.T) {
	if n := len(JSONEvent(12345)); n < 280 || n > 330 {
		t.Errorf("JSON event of %d bytes", n)
	}
	if n := len(FormEvent(12345)); n < 165 || n > 200 {
		t.Errorf("form of %d bytes", n)
	}
}
