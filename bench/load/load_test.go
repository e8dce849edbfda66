package load

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
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

func TestAnswersAreRead(t *testing.T) {
	body := strings.Repeat("0123456789", 10_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/chunked":
			w.(http.Flusher).Flush()
		case "/refused":
			w.WriteHeader(400)
		}
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	host := server.Listener.Addr().String()
	for _, path := range []string{"/", "/chunked", "/refused"} {
		r, err := Run(context.Background(), Plan{
			Addr: host, Connections: 2, Duration: 50 * time.Millisecond, Rate: 200, // so that what is late counts
			Request: func(_, _ int) []byte { return Request("GET", host, path, "", nil) },
			Answer: func(_ int, got []byte) (int, error) {
				if string(got) != body {
					return 0, errors.New("another body")
				}
				return 10, nil
			},
		})
		if err != nil || r.Errors > 0 || r.Read != 10*r.OK() || r.OK() == 0 && path != "/refused" {
			t.Errorf("%s: %v, %v", path, err, r)
		}
	}
}

func TestPagesAreCounted(t *testing.T) {
	f := func(page func([]byte) (int, string, error), body string, records int, next string) {
		t.Helper()
		if n, it, err := page([]byte(body)); err != nil || n != records || it != next {
			t.Errorf("%.200q: %d records, then %q, %v", body, n, it, err)
		}
	}
	record := `{"SequenceNumber":"1","ApproximateArrivalTimestamp":1.5,"Data":"` + strings.Repeat("A", 400) + `","PartitionKey":"k"}`
	many := strings.Repeat(record+",", 99) + record
	f(pageJSON, `{"Records":[],"NextShardIterator":"it","MillisBehindLatest":0}`, 0, "it")
	f(pageJSON, `{"Records":[`+many+`],"NextShardIterator":"it","MillisBehindLatest":7}`, 100, "it")
	f(pageJSON, `{"MillisBehindLatest":7,"NextShardIterator":"it","Records":[`+many+`]}`, 100, "it")
	f(pageJSON, `{"Records":[`+record+`],"MillisBehindLatest":0,"ChildShards":[{"ShardId":"a","HashKeyRange":{}},{}]}`, 1, "")
	f(pageJSON, `{"Records": [`+many+`], "NextShardIterator": "it", "MillisBehindLatest": 7}`, 100, "it")
	f(pageJSON, `{"Records":[`+record+`],"NextShardIterator":null,"MillisBehindLatest":0}`, 1, "")
	for _, n := range []int{0, 1, 30, 300, 10_000} {
		b := cborHead(cborText(cborHead(nil, cborMap, 2), "Records"), cborList, n)
		for range n {
			b = append(b, record...) // not looked at
		}
		b = cborText(cborText(b, "NextShardIterator"), strings.Repeat("i", 200))
		f(pageCBOR, string(b), n, strings.Repeat("i", 200))
	}
	f(pageJSON, `{"Records":[],"NextShardIterator"`, 0, "")
	for _, body := range []string{"", "{}", "\xa1", "\xa1\x67Records", "\xa1\x67Records\x9f"} {
		if _, _, err := pageCBOR([]byte(body)); err == nil {
			t.Errorf("%q is a page in CBOR", body)
		}
		if _, _, err := pageJSON([]byte(body)); err == nil {
			t.Errorf("%q is a page in JSON", body)
		}
	}
}

// A stream in the least: what PutRecords and PutRecord bring goes to the one who has subscribed.
func TestStampedRecordsAreFollowed(t *testing.T) {
	type record struct{ Data string }
	put := make(chan []record, 10_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".SubscribeToShard") {
			w.(http.Flusher).Flush()
			_, _ = w.Write(message("initial-response", "{}"))
			for {
				w.(http.Flusher).Flush()
				select {
				case records := <-put:
					text, _ := json.Marshal(map[string]any{"Records": records, "MillisBehindLatest": 0})
					_, _ = w.Write(message("SubscribeToShardEvent", string(text)))
				case <-r.Context().Done():
					return
				}
			}
		}
		var in struct {
			Data    string
			Records []record
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			w.WriteHeader(400)
			return
		}
		if in.Data != "" {
			in.Records = []record{{in.Data}}
		}
		put <- in.Records
	}))
	defer server.Close()
	host := server.Listener.Addr().String()
	for _, count := range []int{1, 20} {
		stamps := NewStamps(host, "s", 3, count)
		sub, err := Subscribe(t.Context(), host, "arn", "shardId-0")
		if err != nil {
			t.Fatal(err)
		}
		p := Plan{Addr: host, Begin: time.Now(), Warmup: 20 * time.Millisecond, Duration: 50 * time.Millisecond, Connections: 3, Rate: 500, Due: stamps.Due, Records: count}
		from := p.Begin.Add(p.Warmup)
		followed := make(chan *Histogram)
		go func() {
			h, err := sub.Follow(stamps, from, from.Add(p.Duration))
			if err != nil {
				t.Error(err)
			}
			followed <- h
		}()
		report, err := Run(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		want := report.OK() * uint64(count)
		for deadline := time.Now().Add(10 * time.Second); stamps.Arrived() < want && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		_ = sub.Close()
		if h := <-followed; h.Count() != want || want == 0 || h.Max() > 10*time.Second || h.Max() == 0 {
			t.Errorf("%d a call: %d records followed, of %d, the last after %v", count, h.Count(), want, h.Max())
		}
	}
}

func TestSubscriptionsEndWithTheirReason(t *testing.T) {
	frame := message("SubscribeToShardEvent", `{"Records":[{"Data":"AAAA"}]}`)
	broken := slices.Clone(frame)
	broken[len(broken)-1]++
	for what, bytes := range map[string][]byte{"without a stamp": frame, "checksum": broken, "KMSDisabled": message("KMSDisabledExcept", `{}`), "EOF": frame[:20]} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			_, _ = w.Write(message("initial-response", "{}"))
			_, _ = w.Write(bytes)
		}))
		host := server.Listener.Addr().String()
		sub, err := Subscribe(t.Context(), host, "arn", "shardId-0")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sub.Follow(NewStamps(host, "s", 1, 1), time.Time{}, time.Now()); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("want %q: %v", what, err)
		}
		_ = sub.Close()
		server.Close()
	}
}

// message makes a message of an event stream.
func message(kind, payload string) []byte {
	var headers []byte
	for _, h := range [][2]string{{":message-type", "event"}, {":event-type", kind}} {
		headers = append(append(append(headers, byte(len(h[0]))), h[0]...), 7, 0, byte(len(h[1])))
		headers = append(headers, h[1]...)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(prelude+len(headers)+len(payload)+trailer))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, headers...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}
