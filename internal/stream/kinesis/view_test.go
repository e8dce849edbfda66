package kinesis

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// until polls a condition; the view follows what others do at its own cadence.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// What others do to streams is seen within the cadence.
func TestViewFollowsOthers(t *testing.T) {
	c := newClock()
	n := startNode(t, c)
	b := connect(t, n.URL, c, nil)
	ctx := t.Context()
	if _, err := n.streams.CreateStream(ctx, stream.CreateStream{Name: "theirs", Tags: map[string]string{"k": "v"}}); err != nil {
		t.Fatal(err)
	}
	until(t, "a stream that others made", func() bool { st, ok := b.Stream("theirs"); return ok && st.Tags["k"] == "v" })
	if _, err := n.streams.Reshard(ctx, "theirs", stream.Reshard{Count: 2}); err != nil {
		t.Fatal(err)
	}
	until(t, "a split that others made", func() bool { st, _ := b.Stream("theirs"); return len(st.Shards) == 3 })
	week := 7 * 24 * time.Hour
	if _, err := n.streams.UpdateStream(ctx, "theirs", func(set *stream.Settings) error { set.Retention = week; return nil }); err != nil {
		t.Fatal(err)
	}
	until(t, "a retention that others set", func() bool { st, _ := b.Stream("theirs"); return st.Retention == week })
	if err := n.streams.DeleteStream(ctx, "theirs"); err != nil {
		t.Fatal(err)
	}
	until(t, "a deletion that others made", func() bool { _, ok := b.Stream("theirs"); return !ok })
}

// A service that does not answer keeps what is known.
func TestViewOutlivesAnOutage(t *testing.T) {
	c := newClock()
	n := startNode(t, c)
	var out atomic.Bool
	var refused atomic.Int64
	n.before = func(w http.ResponseWriter, r *http.Request) bool {
		if out.Load() {
			refused.Add(1)
			refuse(w, 500, "InternalFailure", "")
		}
		return out.Load()
	}
	b := connect(t, n.URL, c, nil)
	if _, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	out.Store(true)
	until(t, "calls that are refused", func() bool { return refused.Load() > 3 })
	if _, ok := b.Stream("s"); !ok {
		t.Error("the stream is gone from the view")
	}
	b.health.mu.Lock()
	b.health.at = time.Time{}
	b.health.mu.Unlock()
	wantKind(t, b.Healthy(t.Context()), fault.Unavailable)
	_, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "t"})
	wantKind(t, err, fault.Unavailable)
}

// A stream that is being made is followed until it is ACTIVE, and only then given a retention of its own.
func TestCreationIsFollowed(t *testing.T) {
	c := newClock()
	n := startNode(t, c)
	var describes atomic.Int64
	n.before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), "DescribeStreamSummary") || describes.Add(1) > 3 {
			return false
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		fmt.Fprint(w, `{"StreamDescriptionSummary":{"StreamName":"s","StreamStatus":"CREATING","RetentionPeriodHours":24,"StreamCreationTimestamp":1790000000}}`)
		return true
	}
	b := connect(t, n.URL, c, nil)
	week := 7 * 24 * time.Hour
	st, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s", Retention: week})
	if err != nil || st.Status != stream.Active || st.Retention != week || len(st.Shards) != 1 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestCredentialsThatAreRefused(t *testing.T) {
	c := newClock()
	n := startNode(t, c)
	n.before = func(w http.ResponseWriter, r *http.Request) bool {
		refuse(w, 400, "UnrecognizedClientException", "The security token included in the request is invalid.")
		return true
	}
	_, err := Open(t.Context(), Options{Region: "us-east-1", Endpoint: n.URL, AccessKeyID: "AKIATEST", SecretAccessKey: "wrong"})
	wantKind(t, err, fault.Unavailable)
	if !strings.Contains(fmt.Sprint(err), "security token") {
		t.Error(err)
	}
	_, err = Open(t.Context(), Options{Endpoint: n.URL})
	wantKind(t, err, fault.Invalid)
}

// readWorld is a backend on a node whose GetRecords calls are counted and may be answered by a script.
func readWorld(t *testing.T, change func(*Options), script func(n int64, w http.ResponseWriter) bool) (*Backend, *clock, *stream.Stream, *atomic.Int64) {
	t.Helper()
	c := newClock()
	node := startNode(t, c)
	gets := new(atomic.Int64)
	node.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Amz-Target") != "Kinesis_20131202.GetRecords" {
			return false
		}
		n := gets.Add(1)
		if script == nil {
			return false
		}
		answered := script(n, w)
		if answered {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		return answered
	}
	b := connect(t, node.URL, c, change)
	st, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"})
	if err != nil {
		t.Fatal(err)
	}
	return b, c, st, gets
}

func read(t *testing.T, b *Backend, st *stream.Stream, from stream.SequenceNumber, records int) (data []string, batch stream.Batch) {
	t.Helper()
	req := stream.ReadRequest{Shard: stream.ShardRef{Stream: st.Name, ID: st.ID}, From: from, MaxRecords: records, MaxBytes: 1 << 20}
	if err := b.Read(t.Context(), req, &batch); err != nil {
		t.Fatal(err)
	}
	for _, r := range batch.Records {
		data = append(data, string(r.Data))
	}
	return data, batch
}

// Many small reads, and one from the middle, cost one call: the rest of the answer is kept.
func TestReadsShareAnswers(t *testing.T) {
	b, _, st, gets := readWorld(t, nil, nil)
	if _, err := appendTo(t.Context(), b, "a", "b", "c", "d", "e", "f"); err != nil {
		t.Fatal(err)
	}
	var places []stream.SequenceNumber
	var all []string
	at := stream.SequenceNumber{}
	for range 5 {
		data, batch := read(t, b, st, at, 1)
		all, at = append(all, data...), batch.Next
		places = append(places, at)
	}
	read(t, b, st, places[1], 2)
	if got := fmt.Sprint(all); got != "[a b c d e]" || gets.Load() != 1 {
		t.Errorf("%s by %d calls", got, gets.Load())
	}
}

// What is kept for readers is bounded, and what was forgotten is asked for again.
func TestReadMemoryIsBounded(t *testing.T) {
	b, _, st, _ := readWorld(t, func(o *Options) { o.ReadMemory = 10 << 10 }, nil)
	for i := range 30 {
		if _, err := appendTo(t.Context(), b, fmt.Sprintf("%02d", i)+strings.Repeat("x", 5<<10)); err != nil {
			t.Fatal(err)
		}
	}
	at, n := stream.SequenceNumber{}, 0
	for {
		data, batch := read(t, b, st, at, 1)
		if len(data) == 0 {
			break
		}
		at, n = batch.Next, n+1
		b.cache.mu.Lock()
		if b.cache.used.Len() > 1 && b.cache.size > b.cache.limit {
			t.Errorf("%d bytes are kept", b.cache.size)
		}
		b.cache.mu.Unlock()
	}
	if n != 30 {
		t.Errorf("%d records", n)
	}
}

func TestExpiredIteratorsAreRenewed(t *testing.T) {
	b, c, st, gets := readWorld(t, nil, nil)
	if _, err := appendTo(t.Context(), b, "a"); err != nil {
		t.Fatal(err)
	}
	_, batch := read(t, b, st, stream.SequenceNumber{}, 10)
	c.Advance(6 * time.Minute) // on the service's clock: ours can't know
	if _, err := appendTo(t.Context(), b, "b"); err != nil {
		t.Fatal(err)
	}
	if data, _ := read(t, b, st, batch.Next, 10); fmt.Sprint(data) != "[b]" || gets.Load() != 3 {
		t.Errorf("%v by %d calls", data, gets.Load())
	}
}

// The service crosses a stretch without records in several empty answers.
func TestEmptyAnswersBeforeTheTip(t *testing.T) {
	b, _, st, gets := readWorld(t, nil, func(n int64, w http.ResponseWriter) bool {
		if n < 4 {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			fmt.Fprintf(w, `{"Records":[],"NextShardIterator":"%d","MillisBehindLatest":1000}`, n)
		} else if n == 4 {
			refuse(w, 400, "ExpiredIteratorException", "old")
		}
		return n <= 4
	})
	if _, err := appendTo(t.Context(), b, "a"); err != nil {
		t.Fatal(err)
	}
	if data, _ := read(t, b, st, stream.SequenceNumber{}, 10); fmt.Sprint(data) != "[a]" || gets.Load() != 5 {
		t.Errorf("%v by %d calls", data, gets.Load())
	}
}

func TestThrottledReadsAreTriedAgain(t *testing.T) {
	b, _, st, gets := readWorld(t, nil, func(n int64, w http.ResponseWriter) bool {
		if n == 1 {
			refuse(w, 400, "ProvisionedThroughputExceededException", "Rate exceeded for shard")
		}
		return n == 1
	})
	if _, err := appendTo(t.Context(), b, "a"); err != nil {
		t.Fatal(err)
	}
	if data, _ := read(t, b, st, stream.SequenceNumber{}, 10); fmt.Sprint(data) != "[a]" || gets.Load() != 2 {
		t.Errorf("%v by %d calls", data, gets.Load())
	}
}

// The tip of an idle shard is a moment; no record that comes later is missed, and none that came before is seen.
func TestTipOfAnIdleShard(t *testing.T) {
	b, c, st, _ := readWorld(t, nil, nil)
	ref := stream.ShardRef{Stream: st.Name, ID: st.ID}
	if _, err := appendTo(t.Context(), b, "old"); err != nil {
		t.Fatal(err)
	}
	tip, err := b.Tip(t.Context(), ref)
	if _, moment := tip.Moment(); err != nil || moment {
		t.Errorf("right after a put the tip is %v, %v", tip, err)
	}
	c.Advance(time.Hour)
	tip, err = b.Tip(t.Context(), ref)
	if _, moment := tip.Moment(); err != nil || !moment {
		t.Fatalf("an hour later the tip is %v, %v", tip, err)
	}
	waited := make(chan error, 1)
	go func() { waited <- b.Wait(context.Background(), ref, tip) }()
	if data, batch := read(t, b, st, tip, 10); len(data) != 0 || batch.Next != tip || batch.MillisBehind != 0 {
		t.Errorf("read %v, %+v", data, batch)
	}
	if _, err := appendTo(t.Context(), b, "new"); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	for range 2 { // a moment is read from again after a restart
		if data, _ := read(t, b, st, tip, 10); fmt.Sprint(data) != "[new]" {
			t.Errorf("read %v", data)
		}
	}
	later := stream.Since(c.Now().Add(time.Minute))
	if data, batch := read(t, b, st, later, 10); len(data) != 0 || batch.Next != later {
		t.Errorf("from a moment to come: %v", data)
	}
}

// Several who wait for one shard share their polls.
func TestWaitersShareAPoll(t *testing.T) {
	b, _, st, gets := readWorld(t, func(o *Options) { o.PollInterval = time.Hour }, nil)
	ref := stream.ShardRef{Stream: st.Name, ID: st.ID}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	for range 5 {
		go func() { done <- b.Wait(ctx, ref, stream.SequenceNumber{}) }()
	}
	until(t, "a poll", func() bool { return gets.Load() > 0 })
	cancel()
	for range 5 {
		if err := <-done; err != context.Canceled {
			t.Error(err)
		}
	}
	if gets.Load() != 1 {
		t.Errorf("%d polls", gets.Load())
	}
}
