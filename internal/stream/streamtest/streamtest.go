// Package streamtest is the suite that every stream.Backend passes.
//
// A backend's test opens fresh backends through [Setup]; the suite drives them by
// the contract alone, so that what one backend keeps, all keep. It does not assume
// a local disk, dense positions or a clock that can be moved: a stream may become
// ACTIVE some time after a call, a read may return less than there is, and what
// only some backends can do is asked of those whose Capabilities say so.
//
//	Run        one test per promise
//	Histories  all of them together: what a model of maps and slices says of random histories (model.go)
package streamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Subject is one backend under test.
type Subject struct {
	Backend stream.Backend
	// Advance moves the backend's clock; nil: the backend goes by the real one.
	Advance func(time.Duration)
	// Reopen closes the backend and opens it again on the same data; nil: the backend keeps none here.
	Reopen func() stream.Backend

	// What follows is for [Histories] alone.

	// Now is the clock that Advance moves: a record's arrival is known beforehand. Nil: it is learned from the record.
	Now func() time.Time
	// Kill ends the backend as a crash does, also while calls are under way, and opens what its disk holds then. Nil: it can't.
	Kill func() stream.Backend
	// Trim does at once what StartTrimming does in time; nil: it can't be asked for.
	Trim func() error
}

// tick lets the backend's clock pass on, so that what follows arrives in a later millisecond.
func (s *Subject) tick() {
	if s.Advance != nil {
		s.Advance(time.Second)
		return
	}
	for began := time.Now().UnixMilli(); time.Now().UnixMilli() < began+2; {
		time.Sleep(time.Millisecond)
	}
}

// Setup makes a fresh backend; it ends with the test.
type Setup func(t *testing.T) *Subject

// Run runs the suite.
func Run(t *testing.T, setup Setup) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *Subject)
	}{
		{"Streams", testStreams},
		{"StreamDefaults", testStreamDefaults},
		{"AppendAndRead", testAppendAndRead},
		{"SealedRecords", testSealedRecords},
		{"Settings", testSettings},
		{"KeysDecideShards", testKeysDecideShards},
		{"OrderWithinCall", testOrderWithinCall},
		{"ConcurrentAppends", testConcurrentAppends},
		{"ReadBounds", testReadBounds},
		{"ReadFromAnywhere", testReadFromAnywhere},
		{"BatchOwnsItsBytes", testBatchOwnsItsBytes},
		{"Wait", testWait},
		{"WaitEndsWithTheStream", testWaitEndsWithTheStream},
		{"TipAndAt", testTipAndAt},
		{"RetentionHides", testRetentionHides},
		{"Incarnations", testIncarnations},
		{"UnknownNames", testUnknownNames},
		{"ReopenKeepsAll", testReopenKeepsAll},
		{"AgainstModel", testAgainstModel},
		{"Split", testSplit},
		{"Merge", testMerge},
		{"Scale", testScale},
		{"ReshardRefuses", testReshardRefuses},
		{"ReshardOneAtATime", testReshardOneAtATime},
		{"ClosedShardsReadToTheirEnds", testClosedShardsReadToTheirEnds},
		{"ClosedShardsTakeNothing", testClosedShardsTakeNothing},
		{"PlacesInClosedShards", testPlacesInClosedShards},
		{"WaitWakesOnClose", testWaitWakesOnClose},
		{"OrderAcrossReshards", testOrderAcrossReshards},
		{"ReopenKeepsLineage", testReopenKeepsLineage},
		{"ClosedShardsLeave", testClosedShardsLeave},
		{"DeleteAfterReshard", testDeleteAfterReshard},
		{"ReshardAgainstModel", testReshardAgainstModel},
		{"Healthy", testHealthy},
		{"Close", testClose},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, setup(t)) })
	}
}

func ctxOf(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func create(t *testing.T, b stream.Backend, spec stream.CreateStream) *stream.Stream {
	t.Helper()
	if _, err := b.CreateStream(ctxOf(t), spec); err != nil {
		t.Fatal(err)
	}
	return active(t, b, spec.Name)
}

// active gives a stream as it is when it has become ACTIVE.
func active(t *testing.T, b stream.Backend, name string) *stream.Stream {
	t.Helper()
	return eventually(t, b, name, func(s *stream.Stream) bool { return s.Status == stream.Active })
}

// eventually looks at a stream until what is asked of it is so.
func eventually(t *testing.T, b stream.Backend, name string, is func(*stream.Stream) bool) *stream.Stream {
	t.Helper()
	ctx := ctxOf(t)
	for {
		s, ok := b.Stream(name)
		if ok && is(s) {
			return s
		}
		select {
		case <-ctx.Done():
			t.Fatalf("stream %s does not become what it should: %+v", name, s)
		case <-time.After(time.Millisecond):
		}
	}
}

func appendAll(t *testing.T, b stream.Backend, name string, entries ...stream.Entry) []stream.Result {
	t.Helper()
	results := make([]stream.Result, len(entries))
	if err := b.Append(ctxOf(t), name, entries, results); err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("entry %d: %v", i, r.Err)
		}
	}
	return results
}

func entry(key, data string) stream.Entry { return stream.Entry{PartitionKey: key, Data: []byte(data)} }

func ref(s *stream.Stream, shard uint32) stream.ShardRef {
	return stream.ShardRef{Stream: s.Name, ID: s.ID, Shard: shard}
}

// readAll reads a shard from a place to its tip, and copies.
func readAll(t *testing.T, b stream.Backend, shard stream.ShardRef, from stream.SequenceNumber, held bool) []stream.Record {
	t.Helper()
	all, _ := readOn(t, b, stream.ReadRequest{Shard: shard, From: from, MaxRecords: 7, MaxBytes: 1 << 20, Held: held})
	return all
}

// readOn reads as often as it takes to reach the tip, or the end; ended tells which.
func readOn(t *testing.T, b stream.Backend, req stream.ReadRequest) (all []stream.Record, ended bool) {
	t.Helper()
	ctx := ctxOf(t)
	var batch stream.Batch
	for from := req.From; ; {
		req.From = from
		if err := b.Read(ctx, req, &batch); err != nil {
			t.Fatal(err)
		}
		if batch.Next.Before(from) {
			t.Fatalf("Next %v lies before From %v", batch.Next, from)
		}
		last := batch.End || (len(batch.Records) == 0 && batch.MillisBehind == 0)
		for _, r := range batch.Records {
			if r.Sequence.Before(from) {
				t.Fatalf("record %v lies before %v", r.Sequence, from)
			}
			from = r.Sequence.Next()
			r.PartitionKey, r.Data = bytes.Clone(r.PartitionKey), bytes.Clone(r.Data)
			all = append(all, r)
		}
		if batch.Next.Before(from) {
			t.Fatalf("Next %v lies before the place after the last record, %v", batch.Next, from)
		}
		if last {
			return all, batch.End
		}
		from = batch.Next
	}
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("error %v; want kind %v", err, kind)
	}
}

func testStreams(t *testing.T, s *Subject) {
	b := s.Backend
	for _, name := range []string{"b", "a", "~hidden.1"} {
		create(t, b, stream.CreateStream{Name: name, Tags: map[string]string{"k": name}})
	}
	var names []string
	for _, def := range b.Streams() {
		names = append(names, def.Name)
	}
	if got := fmt.Sprint(names); got != "[a b ~hidden.1]" {
		t.Errorf("Streams: %v", got)
	}
	_, err := b.CreateStream(ctxOf(t), stream.CreateStream{Name: "a"})
	wantKind(t, err, fault.InUse)

	week := 7 * 24 * time.Hour
	before, _ := b.Stream("a")
	must[*stream.Stream](t)(b.UpdateStream(ctxOf(t), "a", func(set *stream.Settings) error {
		set.Retention, set.Tags = week, map[string]string{"x": "y"}
		return nil
	}))
	eventually(t, b, "a", func(after *stream.Stream) bool {
		return after.Retention == week && after.Tags["x"] == "y" && len(after.Tags) == 1 && after.Status == stream.Active
	})
	if before.Retention == week || before.Tags["k"] != "a" {
		t.Error("an update changed a description that was handed out before")
	}
	if err := b.DeleteStream(ctxOf(t), "a"); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Stream("a"); ok {
		t.Error("a deleted stream is still described")
	}
	create(t, b, stream.CreateStream{Name: "a"}) // its name is free
}

func testStreamDefaults(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "p"})
	if def.Mode != stream.Provisioned || len(def.Shards) != 1 || def.Retention != stream.DefaultRetention ||
		def.MaxRecordBytes != stream.DefaultMaxRecordBytes || def.ID == "" || def.Created.IsZero() {
		t.Errorf("defaults: %+v", def)
	}
	def = create(t, s.Backend, stream.CreateStream{Name: "o", Mode: stream.OnDemand})
	if len(def.Shards) != stream.OnDemandShards {
		t.Errorf("an on-demand stream has %d shards", len(def.Shards))
	}
	if err := coversAll(def); err != nil {
		t.Error(err)
	}
}

// coversAll checks that each hash key belongs to exactly one open shard.
func coversAll(def *stream.Stream) error {
	next := stream.HashKey{}
	for i, sh := range def.Shards {
		if sh.Range.Start != next {
			return fmt.Errorf("shard %d starts at %v, not at %v", i, sh.Range.Start, next)
		}
		next = sh.Range.End.Next()
	}
	if next != (stream.HashKey{}) {
		return errors.New("the last shard does not end at the last hash key")
	}
	return nil
}

func testAppendAndRead(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s"})
	big := string(bytes.Repeat([]byte("x"), stream.DefaultMaxRecordBytes))
	want := []string{"", "1", "ünï\"\n\x00", big, "last"}
	for i, data := range want {
		appendAll(t, s.Backend, "s", entry("k"+strconv.Itoa(i), data))
	}
	got := readAll(t, s.Backend, ref(def, 0), stream.SequenceNumber{}, false)
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, r := range got {
		if string(r.Data) != want[i] || string(r.PartitionKey) != "k"+strconv.Itoa(i) {
			t.Errorf("record %d: key %q, %d bytes", i, r.PartitionKey, len(r.Data))
		}
		if i > 0 && r.Arrival < got[i-1].Arrival {
			t.Errorf("record %d arrived before its predecessor", i)
		}
	}
}

func testKeysDecideShards(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 5})
	for i := range 200 {
		e := entry("key-"+strconv.Itoa(i), "d")
		if i%3 == 0 {
			k := def.Shards[i%5].Range.End
			e.ExplicitHashKey = &k
		}
		r := appendAll(t, s.Backend, "s", e)[0]
		sh, _ := def.Shard(r.Shard)
		if !sh.Range.Contains(e.HashKey()) {
			t.Fatalf("key %q went to %s, whose range does not hold it", e.PartitionKey, sh.ID())
		}
	}
}

func testOrderWithinCall(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 3})
	var entries []stream.Entry
	for i := range 500 {
		entries = append(entries, entry("k"+strconv.Itoa(i%17), strconv.Itoa(i)))
	}
	results := appendAll(t, s.Backend, "s", entries...)
	last := map[uint32]stream.SequenceNumber{}
	for i, r := range results {
		if p, seen := last[r.Shard]; seen && !p.Before(r.Sequence) && s.Backend.Capabilities().OrderedCalls {
			t.Fatalf("entry %d got %v after %v", i, r.Sequence, p)
		}
		last[r.Shard] = r.Sequence
	}
	checkResults(t, s.Backend, def, entries, results)
}

// checkResults finds each entry at the place that its result names, and nothing else.
func checkResults(t *testing.T, b stream.Backend, def *stream.Stream, entries []stream.Entry, results []stream.Result) {
	t.Helper()
	type place struct {
		shard uint32
		seq   stream.SequenceNumber
	}
	found := map[place]stream.Record{}
	for _, sh := range def.Shards {
		for _, r := range readAll(t, b, ref(def, sh.Index), stream.SequenceNumber{}, true) {
			found[place{sh.Index, r.Sequence}] = r
		}
	}
	for i, r := range results {
		rec, ok := found[place{r.Shard, r.Sequence}]
		if !ok {
			t.Fatalf("entry %d is not at %d/%v", i, r.Shard, r.Sequence)
		}
		if string(rec.Data) != string(entries[i].Data) || string(rec.PartitionKey) != entries[i].PartitionKey {
			t.Fatalf("entry %d: another record lies at its place", i)
		}
	}
	if len(found) != len(results) {
		t.Fatalf("%d records, %d results", len(found), len(results))
	}
}

func testConcurrentAppends(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 4})
	const callers, each = 16, 40
	var mu sync.Mutex
	var entries []stream.Entry
	var results []stream.Result
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				n := 1 + (c+i)%5
				es := make([]stream.Entry, n)
				rs := make([]stream.Result, n)
				for j := range es {
					es[j] = entry(fmt.Sprintf("c%d", c), fmt.Sprintf("%d/%d/%d", c, i, j))
				}
				if err := s.Backend.Append(t.Context(), "s", es, rs); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				entries, results = append(entries, es...), append(results, rs...)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	checkResults(t, s.Backend, def, entries, results)
}

func testReadBounds(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s"})
	var entries []stream.Entry
	for range 50 {
		entries = append(entries, entry("k", string(bytes.Repeat([]byte("d"), 99))))
	}
	appendAll(t, s.Backend, "s", entries...)
	var batch stream.Batch
	read := func(maxRecords, maxBytes int) int {
		t.Helper()
		req := stream.ReadRequest{Shard: ref(def, 0), MaxRecords: maxRecords, MaxBytes: maxBytes}
		for {
			if err := s.Backend.Read(ctxOf(t), req, &batch); err != nil {
				t.Fatal(err)
			}
			if len(batch.Records) > 0 || batch.MillisBehind == 0 {
				return len(batch.Records)
			}
		}
	}
	for _, c := range []struct{ maxRecords, maxBytes, most int }{
		{1, 1 << 20, 1}, {10, 1 << 20, 10}, {100, 1000, 10}, {100, 999, 9}, {100, 1, 1}, {100, 1 << 20, 50},
	} {
		if got := read(c.maxRecords, c.maxBytes); got < 1 || got > c.most {
			t.Errorf("at most %d records of %d bytes: %d; want 1 to %d", c.maxRecords, c.maxBytes, got, c.most)
		}
		all, _ := readOn(t, s.Backend, stream.ReadRequest{Shard: ref(def, 0), MaxRecords: c.maxRecords, MaxBytes: c.maxBytes})
		if len(all) != len(entries) {
			t.Errorf("at most %d records of %d bytes, again and again: %d of %d", c.maxRecords, c.maxBytes, len(all), len(entries))
		}
	}
	read(10, 1<<20)
	if batch.MillisBehind <= 0 {
		t.Error("40 records follow, and the reader is told that it is at the tip")
	}
}

func testReadFromAnywhere(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s"})
	var results []stream.Result
	for i := range 10 {
		var entries []stream.Entry
		for j := range 10 {
			entries = append(entries, entry("k", fmt.Sprint(i, j)))
		}
		results = append(results, appendAll(t, s.Backend, "s", entries...)...)
	}
	slices.SortFunc(results, func(x, y stream.Result) int { return x.Sequence.Compare(y.Sequence) }) // see OrderedCalls
	for i, r := range results {
		if got := readAll(t, s.Backend, ref(def, 0), r.Sequence, false); len(got) != len(results)-i {
			t.Fatalf("from record %d: %d records", i, len(got))
		}
		if got := readAll(t, s.Backend, ref(def, 0), r.Sequence.Next(), false); len(got) != len(results)-i-1 {
			t.Fatalf("after record %d: %d records", i, len(got))
		}
	}
}

func testBatchOwnsItsBytes(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s"})
	data := []byte("before")
	appendAll(t, s.Backend, "s", stream.Entry{PartitionKey: "k", Data: data})
	copy(data, "after.")
	var batch stream.Batch
	req := stream.ReadRequest{Shard: ref(def, 0), MaxRecords: 1, MaxBytes: 100}
	if err := s.Backend.Read(ctxOf(t), req, &batch); err != nil {
		t.Fatal(err)
	}
	if got := string(batch.Records[0].Data); got != "before" {
		t.Errorf("the caller's buffer shows through: %q", got)
	}
	for range 20 {
		appendAll(t, s.Backend, "s", entry("k", string(bytes.Repeat([]byte("y"), 5000))))
	}
	if got := string(batch.Records[0].Data); got != "before" {
		t.Errorf("a batch changed while its owner kept it: %q", got)
	}
}

func testWait(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s"})
	tip := must[stream.SequenceNumber](t)(s.Backend.Tip(ctxOf(t), ref(def, 0)))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backend.Wait(ended, ref(def, 0), tip); !errors.Is(err, context.Canceled) {
		t.Errorf("nothing to read and the context ended: %v", err)
	}
	woken := make(chan error, 1)
	go func() { woken <- s.Backend.Wait(ctxOf(t), ref(def, 0), tip) }()
	appendAll(t, s.Backend, "s", entry("k", "d"))
	if err := <-woken; err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, s.Backend, ref(def, 0), tip, false); len(got) != 1 {
		t.Errorf("after Wait %d records can be read", len(got))
	}
	if err := s.Backend.Wait(ctxOf(t), ref(def, 0), tip); err != nil {
		t.Error(err)
	}
}

func testWaitEndsWithTheStream(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s"})
	gone := make(chan error, 1)
	go func() { gone <- s.Backend.Wait(ctxOf(t), ref(def, 0), stream.SequenceNumber{}) }()
	if err := s.Backend.DeleteStream(ctxOf(t), "s"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, <-gone, fault.NotFound)
}

func testTipAndAt(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s"})
	var places []stream.SequenceNumber
	for i := range 20 {
		appendAll(t, s.Backend, "s", entry("k", strconv.Itoa(i)), entry("k", "x"))
		s.tick()
	}
	all := readAll(t, s.Backend, ref(def, 0), stream.SequenceNumber{}, false)
	for _, r := range all {
		places = append(places, r.Sequence)
	}
	if len(all) != 40 || all[0].Arrival == all[len(all)-1].Arrival {
		t.Fatalf("%d records, and as if time stood still", len(all))
	}
	for i := range all {
		for _, moment := range []int64{all[i].Arrival, all[i].Arrival + 1} {
			want := 0
			for _, r := range all {
				if r.Arrival >= moment {
					want++
				}
			}
			at := must[stream.SequenceNumber](t)(s.Backend.At(ctxOf(t), ref(def, 0), time.UnixMilli(moment)))
			if got := readAll(t, s.Backend, ref(def, 0), at, false); len(got) != want {
				t.Errorf("%d ms after the arrival of record %d: %d records; want %d", moment-all[i].Arrival, i, len(got), want)
			}
		}
	}
	tip := must[stream.SequenceNumber](t)(s.Backend.Tip(ctxOf(t), ref(def, 0)))
	if !places[len(places)-1].Before(tip) || len(readAll(t, s.Backend, ref(def, 0), tip, false)) != 0 {
		t.Errorf("the tip %v is not right behind the last record", tip)
	}
	horizon := must[stream.SequenceNumber](t)(s.Backend.Horizon(ctxOf(t), ref(def, 0)))
	if got := readAll(t, s.Backend, ref(def, 0), horizon, false); len(got) != len(all) {
		t.Errorf("from the horizon %d records of %d", len(got), len(all))
	}
}

func testRetentionHides(t *testing.T, s *Subject) {
	if s.Advance == nil || !s.Backend.Capabilities().HidesAtAge {
		t.Log("this backend's engine hides records when it sees fit")
		return
	}
	def := create(t, s.Backend, stream.CreateStream{Name: "s"})
	appendAll(t, s.Backend, "s", entry("k", "old"), entry("k", "old too"))
	s.Advance(stream.DefaultRetention - time.Hour)
	appendAll(t, s.Backend, "s", entry("k", "young"))
	if got := readAll(t, s.Backend, ref(def, 0), stream.SequenceNumber{}, false); len(got) != 3 {
		t.Fatalf("before their age: %d records", len(got))
	}
	s.Advance(2 * time.Hour)
	got := readAll(t, s.Backend, ref(def, 0), stream.SequenceNumber{}, false)
	if len(got) != 1 || string(got[0].Data) != "young" {
		t.Fatalf("after their age: %d records", len(got))
	}
	if s.Backend.Capabilities().Holds {
		if got := readAll(t, s.Backend, ref(def, 0), stream.SequenceNumber{}, true); len(got) != 3 {
			t.Errorf("delivery sees %d records of 3", len(got))
		}
	}
	horizon := must[stream.SequenceNumber](t)(s.Backend.Horizon(ctxOf(t), ref(def, 0)))
	if horizon.Compare(got[0].Sequence) > 0 {
		t.Error("the horizon lies behind the oldest record that is shown")
	}
	s.Advance(stream.DefaultRetention)
	if got := readAll(t, s.Backend, ref(def, 0), stream.SequenceNumber{}, false); len(got) != 0 {
		t.Errorf("long after: %d records", len(got))
	}
}

func testIncarnations(t *testing.T, s *Subject) {
	first := create(t, s.Backend, stream.CreateStream{Name: "s"})
	appendAll(t, s.Backend, "s", entry("k", "of the first"))
	if err := s.Backend.DeleteStream(ctxOf(t), "s"); err != nil {
		t.Fatal(err)
	}
	second := create(t, s.Backend, stream.CreateStream{Name: "s"})
	if first.ID == second.ID {
		t.Fatal("two incarnations have one id")
	}
	var batch stream.Batch
	err := s.Backend.Read(ctxOf(t), stream.ReadRequest{Shard: ref(first, 0), MaxRecords: 1, MaxBytes: 1}, &batch)
	wantKind(t, err, fault.NotFound)
	if got := readAll(t, s.Backend, ref(second, 0), stream.SequenceNumber{}, true); len(got) != 0 {
		t.Errorf("the second incarnation shows %d records of the first", len(got))
	}
}

func testUnknownNames(t *testing.T, s *Subject) {
	b, ctx := s.Backend, ctxOf(t)
	wantKind(t, b.Append(ctx, "none", []stream.Entry{entry("k", "d")}, make([]stream.Result, 1)), fault.NotFound)
	wantKind(t, b.DeleteStream(ctx, "none"), fault.NotFound)
	_, err := b.UpdateStream(ctx, "none", func(*stream.Settings) error { return nil })
	wantKind(t, err, fault.NotFound)
	def := create(t, b, stream.CreateStream{Name: "s"})
	_, err = b.Tip(ctx, ref(def, 7))
	wantKind(t, err, fault.NotFound)
	wantKind(t, b.Wait(ctx, ref(def, 7), stream.SequenceNumber{}), fault.NotFound)
	b.Hold("h", ref(def, 7), stream.SequenceNumber{}) // no panic
	b.Release("nobody")
}

func testReopenKeepsAll(t *testing.T, s *Subject) {
	if s.Reopen == nil {
		t.Log("this backend keeps its data elsewhere; its own tests reopen it")
		return
	}
	def := create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 3, Tags: map[string]string{"k": "v"}})
	var entries []stream.Entry
	var results []stream.Result
	for round := range 4 {
		for i := range 25 {
			e := entry(strconv.Itoa(i), fmt.Sprintf("%d/%d", round, i))
			entries = append(entries, e)
			results = append(results, appendAll(t, s.Backend, "s", e)...)
		}
		s.Backend = s.Reopen()
		again, ok := s.Backend.Stream("s")
		if !ok || again.ID != def.ID || again.Tags["k"] != "v" || len(again.Shards) != 3 {
			t.Fatalf("after reopening: %+v", again)
		}
		checkResults(t, s.Backend, def, entries, results)
	}
}

// testAgainstModel does random things to a backend and to a plain model of one, and compares what can be read.
func testAgainstModel(t *testing.T, s *Subject) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	def := create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 2})
	model := map[uint32][]stream.Record{}
	for range 300 {
		switch n := rnd.IntN(20); {
		case n == 0 && s.Reopen != nil:
			s.Backend = s.Reopen()
		case n < 3 && s.Advance != nil:
			s.Advance(time.Duration(rnd.IntN(3000)) * time.Millisecond)
		case n < 14:
			entries := make([]stream.Entry, 1+rnd.IntN(8))
			for i := range entries {
				size := rnd.IntN(100)
				if rnd.IntN(30) == 0 {
					size = rnd.IntN(200_000)
				}
				entries[i] = entry(strconv.Itoa(rnd.IntN(9)), string(bytes.Repeat([]byte{byte('a' + rnd.IntN(26))}, size)))
			}
			for i, r := range appendAll(t, s.Backend, "s", entries...) {
				model[r.Shard] = append(model[r.Shard], stream.Record{
					Sequence: r.Sequence, PartitionKey: []byte(entries[i].PartitionKey), Data: entries[i].Data})
			}
			if !s.Backend.Capabilities().OrderedCalls {
				for _, records := range model {
					slices.SortFunc(records, func(x, y stream.Record) int { return x.Sequence.Compare(y.Sequence) })
				}
			}
		default:
			shard := uint32(rnd.IntN(2))
			want, from := model[shard], stream.SequenceNumber{}
			if len(want) > 0 {
				i := rnd.IntN(len(want))
				want, from = want[i:], want[i].Sequence
			}
			got := readAll(t, s.Backend, ref(def, shard), from, rnd.IntN(2) == 0)
			if len(got) != len(want) {
				t.Fatalf("shard %d: %d records; want %d", shard, len(got), len(want))
			}
			for i := range got {
				if got[i].Sequence != want[i].Sequence || !bytes.Equal(got[i].Data, want[i].Data) ||
					!bytes.Equal(got[i].PartitionKey, want[i].PartitionKey) {
					t.Fatalf("shard %d: record %d differs", shard, i)
				}
			}
		}
	}
}

func testHealthy(t *testing.T, s *Subject) {
	if err := s.Backend.Healthy(ctxOf(t)); err != nil {
		t.Error(err)
	}
}

func testClose(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s"})
	waiting := make(chan error, 1)
	go func() { waiting <- s.Backend.Wait(ctxOf(t), ref(def, 0), stream.SequenceNumber{}) }()
	if err := s.Backend.Close(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err == nil {
		t.Error("Wait found something to read in a closed backend")
	}
	var batch stream.Batch
	_, create := s.Backend.CreateStream(ctxOf(t), stream.CreateStream{Name: "t"})
	_, update := s.Backend.UpdateStream(ctxOf(t), "s", func(*stream.Settings) error { return nil })
	_, reshard := s.Backend.Reshard(ctxOf(t), "s", split(0, point(1, 2)))
	_, at := s.Backend.At(ctxOf(t), ref(def, 0), time.Now())
	_, tip := s.Backend.Tip(ctxOf(t), ref(def, 0))
	for call, err := range map[string]error{
		"Append":       s.Backend.Append(ctxOf(t), "s", []stream.Entry{entry("k", "d")}, make([]stream.Result, 1)),
		"Read":         s.Backend.Read(ctxOf(t), stream.ReadRequest{Shard: ref(def, 0), MaxRecords: 1, MaxBytes: 1}, &batch),
		"CreateStream": create, "UpdateStream": update, "Reshard": reshard, "At": at, "Tip": tip,
		"Wait":         s.Backend.Wait(ctxOf(t), ref(def, 0), stream.SequenceNumber{}),
		"Healthy":      s.Backend.Healthy(ctxOf(t)),
		"DeleteStream": s.Backend.DeleteStream(ctxOf(t), "s"),
	} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s of a closed backend: %v", call, err)
		}
	}
}
