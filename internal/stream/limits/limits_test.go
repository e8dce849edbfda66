package limits

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/local"
	"millrace/internal/stream/streamtest"
)

// world is a limited log in memory whose clock stands still unless a test moves it.
type world struct {
	*Backend
	t   testing.TB
	now atomic.Int64 // nanosecond
	def *stream.Stream
}

func (w *world) pass(d time.Duration) { w.now.Add(int64(d)) }
func (w *world) clock() time.Time     { return time.Unix(0, w.now.Load()).UTC() }

func newWorld(t testing.TB, spec stream.CreateStream) *world {
	t.Helper()
	w := &world{t: t}
	w.now.Store(time.UnixMilli(1_790_000_000_000).UnixNano())
	w.Backend = Of(Options{Backend: openLog(t, w.clock), Account: "000000000000", Now: w.clock})
	spec.Name = "s"
	var err error
	if w.def, err = w.CreateStream(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	return w
}

func openLog(t testing.TB, now func() time.Time) stream.Backend {
	t.Helper()
	db, err := store.Open("log", store.Options{Profile: store.Log, FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := local.Open(local.Options{DB: db, IDs: ids.Seeded(1), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	once := &closedOnce{Backend: b}
	t.Cleanup(func() {
		if err := once.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return once
}

// closedOnce may be closed by a test, too.
type closedOnce struct {
	*local.Backend
	closed atomic.Bool
}

func (b *closedOnce) Close(ctx context.Context) error {
	if b.closed.Swap(true) {
		return nil
	}
	return b.Backend.Close(ctx)
}

// put appends entries of the given sizes with one key, and tells by a letter what became of each: s stored, t throttled.
func (w *world) put(key string, sizes ...int) string {
	w.t.Helper()
	entries, results := make([]stream.Entry, len(sizes)), make([]stream.Result, len(sizes))
	for i, size := range sizes {
		entries[i] = stream.Entry{PartitionKey: key, Data: bytes.Repeat([]byte("d"), size-len(key))}
	}
	if err := w.Append(w.t.Context(), "s", entries, results); err != nil {
		w.t.Fatal(err)
	}
	var told strings.Builder
	for i, r := range results {
		switch {
		case r.Err == nil && !r.Sequence.IsZero():
			told.WriteByte('s')
		case fault.Is(r.Err, fault.Throttled):
			told.WriteByte('t')
			want := fmt.Sprintf("Rate exceeded for shard %s in stream s under account 000000000000.", stream.ShardID(r.Shard))
			if got := r.Err.(*fault.Error).Message(); got != want {
				w.t.Errorf("entry %d: %q, want %q", i, got, want)
			}
		default:
			w.t.Fatalf("entry %d: %+v", i, r)
		}
	}
	return told.String()
}

func (w *world) count(key string, n, size int) int {
	w.t.Helper()
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = size
	}
	return strings.Count(w.put(key, sizes...), "s")
}

func TestWritersShareAShard(t *testing.T) {
	w := newWorld(t, stream.CreateStream{})
	if got := w.count("k", 1500, 10); got != 1000 {
		t.Errorf("of 1500 records in one moment %d were stored, not 1000", got)
	}
	w.pass(100 * time.Millisecond)
	if got := w.count("k", 1500, 10); got != 100 {
		t.Errorf("a tenth of a second later %d were stored, not 100", got)
	}
	w.pass(time.Minute)
	if got := w.count("k", 11, 100<<10); got != 10 {
		t.Errorf("of 11 records of 100 KiB, keys included, %d were stored, not 10", got)
	}
	if got, want := w.Throttled(), (Throttled{Stream: "s", ForRecords: 500 + 1400, ForBytes: 1}); len(got) != 1 || got[0] != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	w.pass(-time.Hour)
	w.pass(time.Second)
	if got := w.count("k", 1, 100<<10); got != 0 {
		t.Error("a clock that was put back gave tokens")
	}
}

// A record that is larger than what a second brings passes when its shard is idle, and what follows pays for it.
func TestLargeRecordsBurst(t *testing.T) {
	w := newWorld(t, stream.CreateStream{MaxRecordBytes: 10 << 20})
	f := func(after time.Duration, size int, want string) {
		t.Helper()
		w.pass(after)
		if got := w.put("k", size); got != want {
			t.Errorf("%d bytes after %v: %s, want %s", size, after, got, want)
		}
	}
	f(0, stream.DefaultMaxRecordBytes+1, "s")
	f(0, 2, "t")
	f(time.Minute, 10<<20, "s")
	f(9*time.Second, 2, "t")
	f(time.Second/10, 2, "s")
	f(0, 2<<20, "t")
	f(time.Second, 2<<20, "s")
}

// None is stored behind one that was not, as the backends promise; other shards go on.
func TestOrderWithinACall(t *testing.T) {
	w := newWorld(t, stream.CreateStream{Shards: 2})
	if !w.Capabilities().OrderedFailures {
		t.Fatal("the log promises order")
	}
	if got := w.put("k", 600<<10, 500<<10, 10, 10); got != "sttt" {
		t.Errorf("got %s: a small record overtook a large one with its key", got)
	}
	other := "k"
	for i := 0; w.holderOf(other) == w.holderOf("k"); i++ {
		other = fmt.Sprint("k", i)
	}
	entries := []stream.Entry{
		{PartitionKey: "k", Data: make([]byte, 600<<10)},
		{PartitionKey: other, Data: []byte("a")},
		{PartitionKey: "k", Data: []byte("b")},
		{PartitionKey: other, Data: []byte("c")},
	}
	results := make([]stream.Result, len(entries))
	if err := w.Append(t.Context(), "s", entries, results); err != nil {
		t.Fatal(err)
	}
	for i, throttled := range []bool{true, false, true, false} {
		if fault.Is(results[i].Err, fault.Throttled) != throttled || results[i].Shard != w.holderOf(entries[i].PartitionKey) {
			t.Errorf("entry %d: %+v", i, results[i])
		}
	}
	if !results[1].Sequence.Before(results[3].Sequence) {
		t.Error("results were given to the wrong entries")
	}
	w.pass(time.Second)
	if got := w.put("k", 10, 10); got != "ss" {
		t.Errorf("the next call: %s", got)
	}
}

func (w *world) holderOf(key string) uint32 {
	for _, sh := range w.def.Shards {
		if sh.Open() && sh.Range.Contains(stream.HashPartitionKey(key)) {
			return sh.Index
		}
	}
	panic("no shard")
}

func TestChildrenHaveLimitsOfTheirOwn(t *testing.T) {
	w := newWorld(t, stream.CreateStream{})
	if got := w.put("k", 1<<20, 10); got != "st" {
		t.Fatal(got)
	}
	if _, err := w.Reshard(t.Context(), "s", stream.Reshard{Count: 2}); err != nil {
		t.Fatal(err)
	}
	if got := w.put("k", 1<<20, 10); got != "st" {
		t.Error(got)
	}
	if err := w.DeleteStream(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := w.CreateStream(t.Context(), stream.CreateStream{Name: "s"}); err != nil {
			t.Fatal(err)
		}
		if got := w.put("k", 1<<20, 10); got != "st" {
			t.Errorf("incarnation %d: %s", i, got)
		}
		if err := w.DeleteStream(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.CreateStream(t.Context(), stream.CreateStream{Name: "another"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(t.Context(), "another", make([]stream.Entry, 1), make([]stream.Result, 1)); err != nil {
		t.Fatal(err)
	}
	if len(w.streams) != 1 {
		t.Errorf("%d streams are remembered, one exists", len(w.streams))
	}
}

// read reads so many bytes, and at least a record; none at all where most is 0.
func (w *world) read(b stream.Backend, most int) error {
	req := stream.ReadRequest{Shard: stream.ShardRef{Stream: "s", ID: w.def.ID}, MaxRecords: 10_000, MaxBytes: most}
	if most == 0 {
		var err error
		if req.From, err = b.Tip(w.t.Context(), req.Shard); err != nil {
			w.t.Fatal(err)
		}
		req.MaxBytes = 1
	}
	var batch stream.Batch
	return b.Read(w.t.Context(), req, &batch)
}

func TestReadersShareAShard(t *testing.T) {
	w := newWorld(t, stream.CreateStream{})
	f := func(after time.Duration, calls, want int) {
		t.Helper()
		w.pass(after)
		got := 0
		for range calls {
			err := w.read(w, 100)
			if err == nil {
				got++
			} else if err.(*fault.Error).Message() != "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000." {
				t.Error(err)
			}
		}
		if got != want {
			t.Errorf("%v later %d of %d calls were answered, not %d", after, got, calls, want)
		}
	}
	f(0, 7, 5)
	f(200*time.Millisecond, 2, 1)
	f(time.Hour, 7, 5)
	if got := w.Throttled()[0]; got.ReadsForCalls != 5 || got.ReadsForBytes != 0 {
		t.Errorf("counted %+v", got)
	}
}

// After an answer of 10 MiB a shard refuses for five seconds; after a smaller one for as long as its bytes take.
func TestLargeAnswersAreWaitedOff(t *testing.T) {
	w := newWorld(t, stream.CreateStream{})
	for range 10 {
		w.pass(time.Minute)
		if got := w.put("k", 1<<20); got != "s" {
			t.Fatal(got)
		}
	}
	f := func(after time.Duration, most int, want bool) {
		t.Helper()
		w.pass(after)
		if err := w.read(w, most); (err == nil) != want {
			t.Errorf("%v later: %v", after, err)
		}
	}
	f(time.Minute, 10<<20, true)
	f(5*time.Second-time.Millisecond, 1<<20, false)
	f(time.Millisecond, 1<<20, true)
	f(time.Second/2-time.Millisecond, 1<<20, false)
	f(time.Millisecond, 1<<20, true)
	f(10*time.Second, 1<<20, true) // two of them are what a second brings
	f(0, 1<<20, true)
	f(0, 1<<20, true)
	f(0, 1<<20, false)
	f(time.Minute, 4<<20, true)
	f(2*time.Second-time.Millisecond, 1, false)
	f(time.Millisecond, 1, true)
	if got := w.Throttled()[0]; got.ReadsForBytes != 4 || got.ReadsForCalls != 0 {
		t.Errorf("counted %+v", got)
	}
}

// Delivery is never refused, and what it reads is missing to others: at most a second's worth of it.
func TestDeliveryCounts(t *testing.T) {
	w := newWorld(t, stream.CreateStream{})
	for range 10 {
		w.pass(time.Minute)
		if got := w.put("k", 1<<20); got != "s" {
			t.Fatal(got)
		}
	}
	w.pass(time.Minute)
	d := w.Delivery()
	for range 20 {
		if err := w.read(d, 10<<20); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.read(w, 1); !fault.Is(err, fault.Throttled) {
		t.Error("what delivery reads is not counted")
	}
	w.pass(time.Second)
	answered := 0
	for range 5 {
		if w.read(d, 0) == nil && w.read(w, 0) == nil {
			answered++
		}
	}
	if answered != 4 {
		t.Errorf("%d calls were answered beside delivery, not 4", answered)
	}
}

// A registered consumer has 2 MiB a second of each shard to himself, in as many calls as he likes.
func TestConsumersHaveTheirOwn(t *testing.T) {
	w := newWorld(t, stream.CreateStream{})
	for range 4 {
		w.pass(time.Minute)
		if got := w.put("k", 1<<20); got != "s" {
			t.Fatal(got)
		}
	}
	w.pass(time.Minute)
	f := func(after time.Duration, consumer string, bytes int, want bool) {
		t.Helper()
		w.pass(after)
		var batch stream.Batch
		req := stream.ReadRequest{Shard: stream.ShardRef{Stream: "s", ID: w.def.ID}, MaxRecords: 10, MaxBytes: bytes, Consumer: consumer}
		if err := w.Read(t.Context(), req, &batch); (err == nil) != want {
			t.Errorf("%s, %v later: %v", consumer, after, err)
		}
	}
	f(0, "a", 2<<20, true)
	f(0, "a", 1<<20, true)
	f(0, "a", 1, false)
	f(0, "b", 4<<20, true)
	f(0, "", 2<<20, true)
	f(time.Second/2, "a", 1<<20, true)
	f(time.Second/2-time.Millisecond, "b", 1, false)
	f(time.Millisecond, "b", 1, true)
	w.pass(time.Minute)
	for i := range 3 * maxConsumers {
		f(time.Second, fmt.Sprint(i), 1, true)
	}
	kept := w.of(w.def)
	if n := len(kept.shards[0].own); n > maxConsumers {
		t.Errorf("%d consumers are remembered", n)
	}
	kept.mu.Unlock()
	if got, want := w.Throttled()[0], (Throttled{Stream: "s"}); got != want {
		t.Errorf("counted %+v", got)
	}
}

// Writers, readers, deliveries, pushes and reshards meet on one stream: every record that was stored is read, and what is
// admitted is what the limits let pass.
func TestConcurrentUse(t *testing.T) {
	w := newWorld(t, stream.CreateStream{})
	const writers, each = 8, 50
	var stored atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				entries, results := make([]stream.Entry, 4), make([]stream.Result, 4)
				if err := w.Append(t.Context(), "s", entries, results); err != nil {
					t.Error(err)
				}
				for _, r := range results {
					if r.Err == nil {
						stored.Add(1)
					}
				}
			}
		})
	}
	all.Go(func() {
		ref := stream.ShardRef{Stream: "s", ID: w.def.ID}
		for range each {
			if err := w.read(w, 100); err != nil && !fault.Is(err, fault.Throttled) {
				t.Error(err)
			}
			if err := w.read(w.Delivery(), 100); err != nil {
				t.Error(err)
			}
			req := stream.ReadRequest{Shard: ref, MaxRecords: 1, MaxBytes: 100, Consumer: "c"}
			if err := w.Read(t.Context(), req, new(stream.Batch)); err != nil {
				t.Error(err)
			}
			w.Throttled()
		}
	})
	all.Wait()
	throttled := w.Throttled()[0]
	if got := stored.Load(); got != 1000 || throttled.ForRecords != writers*each*4-1000 {
		t.Errorf("%d records were stored, %d throttled", got, throttled.ForRecords)
	}
	if _, err := w.Reshard(t.Context(), "s", stream.Reshard{Count: 3}); err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		all.Go(func() {
			if err := w.Append(t.Context(), "s", []stream.Entry{{PartitionKey: fmt.Sprint(i)}}, make([]stream.Result, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := w.Throttled()[0]; got.ForRecords != throttled.ForRecords {
		t.Errorf("children of a closed shard throttled %d records", got.ForRecords-throttled.ForRecords)
	}
}

func TestUnknownStreamsAreTheBackendsToExplain(t *testing.T) {
	w := newWorld(t, stream.CreateStream{})
	if err := w.Append(t.Context(), "gone", make([]stream.Entry, 1), make([]stream.Result, 1)); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	var batch stream.Batch
	req := stream.ReadRequest{Shard: stream.ShardRef{Stream: "s", ID: "another"}, MaxRecords: 1, MaxBytes: 1}
	if err := w.Read(t.Context(), req, &batch); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	req.Shard = stream.ShardRef{Stream: "s", ID: w.def.ID, Shard: 7}
	if err := w.Read(t.Context(), req, &batch); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

// Where time is not short a limited backend is a backend like any other: an hour passes between two calls here.
func TestConformance(t *testing.T) {
	streamtest.Run(t, func(t *testing.T) *streamtest.Subject {
		w := &world{t: t}
		w.now.Store(time.UnixMilli(1_790_000_000_000).UnixNano())
		var fast atomic.Int64
		b := Of(Options{Backend: openLog(t, w.clock), Account: "000000000000", Now: func() time.Time {
			return time.Unix(0, 0).Add(time.Duration(fast.Add(1)) * time.Hour)
		}})
		return &streamtest.Subject{Backend: b, Advance: w.pass}
	})
}

// BenchmarkAppend measures what the limits cost beside a backend that stores nothing: by the call, a PutRecords of 500.
func BenchmarkAppend(b *testing.B) {
	entries, results := make([]stream.Entry, 500), make([]stream.Result, 500)
	for i := range entries {
		entries[i] = stream.Entry{PartitionKey: fmt.Sprintf("Root=1-5759e988-%024d", i), Data: make([]byte, 300)}
	}
	var now time.Time
	clock := func() time.Time { return now }
	f := func(name string, shards int, step time.Duration, limited bool) {
		b.Run(fmt.Sprintf("%s/shards=%d", name, shards), func(b *testing.B) {
			now = time.UnixMilli(1_790_000_000_000)
			inner := &discard{def: &stream.Stream{Name: "s", ID: "i"}}
			for i, r := range stream.EvenRanges(shards) {
				inner.def.Shards = append(inner.def.Shards, stream.Shard{Index: uint32(i), Range: r})
			}
			var back stream.Backend = inner
			if limited {
				back = Of(Options{Backend: inner, Account: "000000000000", Now: clock})
			}
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(step)
				if err := back.Append(b.Context(), "s", entries, results); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, shards := range []int{1, 200} {
		f("unlimited", shards, time.Second, false)
		f("admitted", shards, time.Second, true)
		f("half-throttled", shards, time.Second/time.Duration(4*shards), true)
	}
}

// discard hashes keys, as every backend does, and stores nothing.
type discard struct {
	stream.Backend
	def  *stream.Stream
	keys uint64
}

func (d *discard) Stream(string) (*stream.Stream, bool) { return d.def, true }

func (d *discard) Append(_ context.Context, _ string, entries []stream.Entry, results []stream.Result) error {
	for i := range entries {
		if d.def.Shards[0].Range.Contains(entries[i].HashKey()) {
			d.keys++
		}
		results[i] = stream.Result{}
	}
	return nil
}

// What passes whole costs no memory, nor does what is throttled in part.
func TestAppendAllocatesNothing(t *testing.T) {
	entries, results := make([]stream.Entry, 500), make([]stream.Result, 500)
	var now time.Time
	inner := &discard{def: &stream.Stream{Name: "s", ID: "i", Shards: []stream.Shard{{Range: stream.EvenRanges(1)[0]}}}}
	b := Of(Options{Backend: inner, Account: "000000000000", Now: func() time.Time { return now }})
	n := testing.AllocsPerRun(100, func() {
		now = now.Add(250 * time.Millisecond) // room for half of it
		if err := b.Append(context.Background(), "s", entries, results); err != nil {
			t.Fatal(err)
		}
	})
	if n > 2 { // the pool may lose what it keeps: to a garbage collection, and to the race detector
		t.Errorf("%v allocations a call", n)
	}
}

// allClosed describes a stream none of whose shards takes writes, and refuses them.
type allClosed struct{ stream.Backend }

func (a allClosed) Stream(name string) (*stream.Stream, bool) {
	def, ok := a.Backend.Stream(name)
	if !ok {
		return nil, false
	}
	closed := *def
	closed.Shards = slices.Clone(def.Shards)
	for i := range closed.Shards {
		closed.Shards[i].Closed = &stream.ShardEnd{}
	}
	return &closed, true
}

func (allClosed) Append(context.Context, string, []stream.Entry, []stream.Result) error {
	return fault.New(fault.Unavailable, "", "", "no shard is open")
}

// What is wrong with a stream without open shards is its engine's to say.
func TestNoOpenShard(t *testing.T) {
	w := newWorld(t, stream.CreateStream{Shards: 2})
	w.Backend = Of(Options{Backend: allClosed{w.Backend.Backend}, Account: "000000000000", Now: w.clock})
	err := w.Append(t.Context(), "s", []stream.Entry{{PartitionKey: "k"}}, make([]stream.Result, 1))
	if !fault.Is(err, fault.Unavailable) {
		t.Error(err)
	}
}
