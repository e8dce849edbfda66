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

// reshard changes the shards of a stream, and gives it as it is when it is ACTIVE again. It checks what holds after
// every change.
func reshard(t *testing.T, b stream.Backend, name string, change stream.Reshard) *stream.Stream {
	t.Helper()
	before, _ := b.Stream(name)
	told, err := b.Reshard(ctxOf(t), name, change)
	if err != nil {
		t.Fatal(err)
	}
	if told.Status != stream.Active && told.Status != stream.Updating {
		t.Fatalf("after a reshard the stream is %s", told.Status)
	}
	after := active(t, b, name)
	if after.ID != before.ID {
		t.Fatal("a reshard made another incarnation")
	}
	for i, sh := range before.Shards {
		if now := after.Shards[i]; now.Index != sh.Index || now.Range != sh.Range || now.Created != sh.Created || now.First != sh.First ||
			!slices.Equal(now.Parents, sh.Parents) || (!sh.Open() && (now.Open() || *now.Closed != *sh.Closed)) {
			t.Fatalf("a reshard changed %s from %+v to %+v", sh.ID(), sh, now)
		}
	}
	for _, sh := range after.Shards[len(before.Shards):] {
		if last := before.Shards[len(before.Shards)-1].Index; sh.Index <= last {
			t.Fatalf("a new shard has index %d after %d", sh.Index, last)
		}
	}
	checkLineage(t, after)
	return after
}

// checkLineage checks what holds of every ACTIVE stream none of whose shards has left: open shards divide the key space, parents
// are closed and older, and children take exactly the keys of their parents.
func checkLineage(t *testing.T, s *stream.Stream) {
	t.Helper()
	if err := coversAll(&stream.Stream{Shards: openByRange(s)}); err != nil {
		t.Fatalf("the open shards: %v", err)
	}
	for _, sh := range s.Shards {
		for _, p := range sh.Parents {
			parent, ok := s.Shard(p)
			switch {
			case !ok || parent.Open():
				t.Fatalf("%s has the parent %d, which is open or unknown", sh.ID(), p)
			case parent.Index >= sh.Index || parent.Created >= sh.Created:
				t.Fatalf("%s is not younger than its parent %s", sh.ID(), parent.ID())
			case !parent.Closed.Sequence.Before(sh.First):
				t.Fatalf("%s ends at %v, and its child %s begins at %v", parent.ID(), parent.Closed.Sequence, sh.ID(), sh.First)
			}
		}
		if sh.Open() {
			continue
		}
		children := s.Children(sh.Index)
		slices.SortFunc(children, func(x, y stream.Shard) int { return x.Range.Start.Compare(y.Range.Start) })
		switch {
		case len(children) == 2 && len(children[0].Parents) == 1 && len(children[1].Parents) == 1:
			if children[0].Range.Start != sh.Range.Start || children[0].Range.End.Next() != children[1].Range.Start || children[1].Range.End != sh.Range.End {
				t.Fatalf("%s was split into %v and %v", sh.ID(), children[0].Range, children[1].Range)
			}
		case len(children) == 1 && len(children[0].Parents) == 2:
			if r := children[0].Range; !r.Contains(sh.Range.Start) || !r.Contains(sh.Range.End) {
				t.Fatalf("%s was merged into %v", sh.ID(), r)
			}
		default:
			t.Fatalf("%s is closed and has the children %+v", sh.ID(), children)
		}
	}
}

func openByRange(s *stream.Stream) []stream.Shard {
	var open []stream.Shard
	for _, sh := range s.Shards {
		if sh.Open() {
			open = append(open, sh)
		}
	}
	slices.SortFunc(open, func(x, y stream.Shard) int { return x.Range.Start.Compare(y.Range.Start) })
	return open
}

// placed is a record and the shard that holds it.
type placed struct {
	Shard uint32
	stream.Record
}

// walk reads all shards from their beginnings, parents before children, and checks that closed ones end and open ones don't.
func walk(t *testing.T, b stream.Backend, s *stream.Stream) []placed {
	t.Helper()
	var all []placed
	for _, sh := range s.Shards {
		records, ended := readOn(t, b, stream.ReadRequest{Shard: ref(s, sh.Index), MaxRecords: 11, MaxBytes: 1 << 20})
		if ended == sh.Open() {
			t.Fatalf("%s: open %t, and its reader was told that it ends: %t", sh.ID(), sh.Open(), ended)
		}
		for _, r := range records {
			if r.Sequence.Before(sh.First) || (!sh.Open() && !r.Sequence.Before(sh.Closed.Sequence)) {
				t.Fatalf("%s, which goes from %v to %+v, holds record %v", sh.ID(), sh.First, sh.Closed, r.Sequence)
			}
			if !sh.Range.Contains(stream.HashPartitionKey(string(r.PartitionKey))) {
				t.Fatalf("%s holds a record of key %q, which is another shard's", sh.ID(), r.PartitionKey)
			}
			all = append(all, placed{sh.Index, r})
		}
	}
	return all
}

// point gives the n-th of d equal parts of the key space.
func point(n, d int) stream.HashKey { return stream.EvenRanges(d)[n].Start }

func split(shard uint32, at stream.HashKey) stream.Reshard {
	return stream.Reshard{Split: &stream.SplitShard{Shard: shard, At: at}}
}

func merge(shard, adjacent uint32) stream.Reshard {
	return stream.Reshard{Merge: &stream.MergeShards{Shard: shard, Adjacent: adjacent}}
}

func testSplit(t *testing.T, s *Subject) {
	create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 2})
	before, _ := s.Backend.Stream("s")
	after := reshard(t, s.Backend, "s", split(1, point(3, 4)))
	if len(after.Shards) != 4 || !after.Shards[0].Open() || after.Shards[1].Open() || after.OpenShards() != 3 {
		t.Fatalf("after the split: %+v", after.Shards)
	}
	lower, upper := after.Shards[2], after.Shards[3]
	if fmt.Sprint(lower.Parents, upper.Parents) != "[1] [1]" || lower.Range.End.Next() != point(3, 4) || upper.Range.Start != point(3, 4) {
		t.Errorf("the children: %+v and %+v", lower, upper)
	}
	if len(before.Shards) != 2 || !before.Shards[1].Open() {
		t.Error("a reshard changed a description that was handed out before")
	}
	// A child is split like any other shard.
	reshard(t, s.Backend, "s", split(lower.Index, lower.Range.Start.Next().Next()))
}

func testMerge(t *testing.T, s *Subject) {
	create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 3})
	after := reshard(t, s.Backend, "s", merge(1, 2))
	child := after.Shards[len(after.Shards)-1]
	if len(after.Shards) != 4 || after.OpenShards() != 2 || fmt.Sprint(child.Parents) != "[1 2]" ||
		child.Range != (stream.HashKeyRange{Start: point(1, 3), End: stream.MaxHashKey}) {
		t.Fatalf("after the merge: %+v", after.Shards)
	}
	after = reshard(t, s.Backend, "s", merge(0, child.Index))
	if after.OpenShards() != 1 {
		t.Errorf("after the second merge: %+v", after.Shards)
	}
}

func testScale(t *testing.T, s *Subject) {
	create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 2})
	for _, count := range []int{3, 6, 4, 2, 1} {
		after := reshard(t, s.Backend, "s", stream.Reshard{Count: count})
		var got []stream.HashKeyRange
		for _, sh := range openByRange(after) {
			got = append(got, sh.Range)
		}
		if !slices.Equal(got, stream.EvenRanges(count)) {
			t.Fatalf("scaled to %d shards: %v", count, got)
		}
	}
}

func testReshardRefuses(t *testing.T, s *Subject) {
	create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 3})
	before := reshard(t, s.Backend, "s", split(0, point(1, 6))) // 0! 1 2 3<0 4<0
	for _, c := range []struct {
		what   string
		stream string
		change stream.Reshard
		kind   fault.Kind
	}{
		{"nothing", "s", stream.Reshard{}, fault.Invalid},
		{"an unknown stream", "none", stream.Reshard{Count: 2}, fault.NotFound},
		{"split of an unknown shard", "s", split(77, point(1, 2)), fault.NotFound},
		{"split of a closed shard", "s", split(0, point(1, 7)), fault.Invalid},
		{"split at the shard's start", "s", split(1, point(1, 3)), fault.Invalid},
		{"split below the shard", "s", split(1, point(1, 6)), fault.Invalid},
		{"split above the shard", "s", split(1, point(5, 6)), fault.Invalid},
		{"merge with an unknown shard", "s", merge(1, 77), fault.NotFound},
		{"merge with a closed shard", "s", merge(0, 1), fault.Invalid},
		{"merge with no neighbour", "s", merge(3, 1), fault.Invalid},
		{"merge in the wrong order", "s", merge(2, 1), fault.Invalid},
		{"merge with itself", "s", merge(1, 1), fault.Invalid},
		{"merge around the end of the key space", "s", merge(2, 3), fault.Invalid},
	} {
		if _, err := s.Backend.Reshard(ctxOf(t), c.stream, c.change); err == nil || fault.KindOf(err) != c.kind {
			t.Errorf("%s: error %v; want kind %v", c.what, err, c.kind)
		}
	}
	after, _ := s.Backend.Stream("s")
	if fmt.Sprint(after.Shards) != fmt.Sprint(before.Shards) || after.Status != stream.Active {
		t.Errorf("what was refused changed the stream to %+v", after)
	}
}

// testReshardOneAtATime asks for one change from many sides: one is done, the others come while the stream is UPDATING, or too late.
func testReshardOneAtATime(t *testing.T, s *Subject) {
	create(t, s.Backend, stream.CreateStream{Name: "s"})
	const callers = 6
	errs := make(chan error, callers)
	for range callers {
		go func() {
			_, err := s.Backend.Reshard(ctxOf(t), "s", split(0, point(1, 2)))
			errs <- err
		}()
	}
	done := 0
	for range callers {
		switch err := <-errs; {
		case err == nil:
			done++
		case !fault.Is(err, fault.InUse) && !fault.Is(err, fault.Invalid):
			t.Error(err)
		}
	}
	if after := active(t, s.Backend, "s"); done != 1 || len(after.Shards) != 3 {
		t.Errorf("%d changes were accepted; the shards are %+v", done, after.Shards)
	}
}

func testClosedShardsReadToTheirEnds(t *testing.T, s *Subject) {
	create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 2})
	var want []string
	add := func(label string) {
		for i := range 40 {
			data := fmt.Sprintf("%s/%d", label, i)
			appendAll(t, s.Backend, "s", entry(strconv.Itoa(i), data))
			want = append(want, data)
		}
	}
	add("before")
	reshard(t, s.Backend, "s", stream.Reshard{Count: 4})
	add("between")
	after := reshard(t, s.Backend, "s", stream.Reshard{Count: 2})
	add("after")
	var got []string
	for _, r := range walk(t, s.Backend, after) {
		got = append(got, string(r.Data))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d records; want %d", len(got), len(want))
	}

	// The end is told with the last record or right behind it, never before, and again to who asks there.
	parent := ref(after, 0)
	all, _ := readOn(t, s.Backend, stream.ReadRequest{Shard: parent, MaxRecords: 100, MaxBytes: 1 << 20})
	last := all[len(all)-1].Sequence
	var batch stream.Batch
	for _, from := range []stream.SequenceNumber{{}, last} {
		read := func(from stream.SequenceNumber) {
			if err := s.Backend.Read(ctxOf(t), stream.ReadRequest{Shard: parent, From: from, MaxRecords: 1, MaxBytes: 1 << 20}, &batch); err != nil {
				t.Fatal(err)
			}
		}
		read(from)
		if n := len(batch.Records); n > 0 && batch.End && batch.Records[n-1].Sequence != last {
			t.Error("a reader was told of the end while records follow")
		}
	}
	for _, from := range []stream.SequenceNumber{last.Next(), batch.Next, after.Shards[0].Closed.Sequence} {
		if rest, ended := readOn(t, s.Backend, stream.ReadRequest{Shard: parent, From: from, MaxRecords: 1, MaxBytes: 1}); len(rest) != 0 || !ended {
			t.Errorf("from %v behind the last record: %d records, end %t", from, len(rest), ended)
		}
	}
}

func testClosedShardsTakeNothing(t *testing.T, s *Subject) {
	create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 2})
	appendAll(t, s.Backend, "s", entry("a", "1"), entry("b", "2"), entry("c", "3"))
	after := reshard(t, s.Backend, "s", split(0, point(1, 4)))
	after = reshard(t, s.Backend, "s", merge(after.Shards[3].Index, 1))
	before := map[uint32]int{}
	for _, sh := range after.Shards {
		before[sh.Index] = len(readAll(t, s.Backend, ref(after, sh.Index), stream.SequenceNumber{}, false))
	}
	for _, sh := range after.Shards {
		for _, key := range []stream.HashKey{sh.Range.Start, sh.Range.Start.Next(), sh.Range.End.Prev(), sh.Range.End} {
			r := appendAll(t, s.Backend, "s", stream.Entry{PartitionKey: "k", ExplicitHashKey: &key, Data: []byte("d")})[0]
			to, ok := after.Shard(r.Shard)
			if !ok || !to.Open() || !to.Range.Contains(key) || r.Sequence.Before(to.First) {
				t.Fatalf("hash key %v went to %s, %v", key, stream.ShardID(r.Shard), r.Sequence)
			}
			before[r.Shard]++
		}
	}
	for _, sh := range after.Shards {
		if n := len(readAll(t, s.Backend, ref(after, sh.Index), stream.SequenceNumber{}, false)); n != before[sh.Index] {
			t.Errorf("%s holds %d records; want %d", sh.ID(), n, before[sh.Index])
		}
	}
}

func testPlacesInClosedShards(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s"})
	for i := range 5 {
		appendAll(t, s.Backend, "s", entry("k", strconv.Itoa(i)))
		s.tick()
	}
	all := readAll(t, s.Backend, ref(def, 0), stream.SequenceNumber{}, false)
	after := reshard(t, s.Backend, "s", split(0, point(1, 2)))
	s.tick()
	appendAll(t, s.Backend, "s", entry("k", "later"))

	place := must[stream.SequenceNumber](t)
	at := func(shard uint32, moment int64) stream.SequenceNumber {
		return place(s.Backend.At(ctxOf(t), ref(after, shard), time.UnixMilli(moment)))
	}
	f := func(what string, shard uint32, from stream.SequenceNumber, want int, end bool) {
		t.Helper()
		records, ended := readOn(t, s.Backend, stream.ReadRequest{Shard: ref(after, shard), From: from, MaxRecords: 2, MaxBytes: 1 << 20})
		if len(records) != want || ended != end {
			t.Errorf("%s: %d records, end %t; want %d, %t", what, len(records), ended, want, end)
		}
	}
	f("horizon of a closed shard", 0, place(s.Backend.Horizon(ctxOf(t), ref(after, 0))), 5, true)
	f("tip of a closed shard", 0, place(s.Backend.Tip(ctxOf(t), ref(after, 0))), 0, true)
	f("an early time in a closed shard", 0, at(0, all[0].Arrival-1000), 5, true)
	f("a time in a closed shard", 0, at(0, all[3].Arrival), 2, true)
	f("a time after a closed shard's last record", 0, at(0, all[4].Arrival+1), 0, true)
	child := openByRange(after)[0]
	if !child.Range.Contains(stream.HashPartitionKey("k")) {
		child = openByRange(after)[1]
	}
	f("horizon of a child", child.Index, place(s.Backend.Horizon(ctxOf(t), ref(after, child.Index))), 1, false)
	f("a time before a child was", child.Index, at(child.Index, all[0].Arrival), 1, false)
	f("tip of a child", child.Index, place(s.Backend.Tip(ctxOf(t), ref(after, child.Index))), 0, false)
}

func testWaitWakesOnClose(t *testing.T, s *Subject) {
	def := create(t, s.Backend, stream.CreateStream{Name: "s"})
	appendAll(t, s.Backend, "s", entry("k", "d"))
	tip := must[stream.SequenceNumber](t)(s.Backend.Tip(ctxOf(t), ref(def, 0)))
	woken := make(chan error, 1)
	go func() { woken <- s.Backend.Wait(ctxOf(t), ref(def, 0), tip) }()
	after := reshard(t, s.Backend, "s", split(0, point(1, 2)))
	if err := <-woken; err != nil {
		t.Fatalf("who waited at the end of a shard that was closed: %v", err)
	}
	if rest, ended := readOn(t, s.Backend, stream.ReadRequest{Shard: ref(def, 0), From: tip, MaxRecords: 1, MaxBytes: 1}); len(rest) != 0 || !ended {
		t.Errorf("after Wait: %d records, end %t", len(rest), ended)
	}
	if err := s.Backend.Wait(ctxOf(t), ref(def, 0), tip); err != nil {
		t.Errorf("waiting at the end of a closed shard: %v", err)
	}
	// A child is waited for as any shard is.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, child := range after.Children(0) {
		if err := s.Backend.Wait(ended, ref(after, child.Index), stream.SequenceNumber{}); !errors.Is(err, context.Canceled) {
			t.Errorf("nothing was appended to %s, and Wait gave %v", child.ID(), err)
		}
	}
	go func() {
		child, _ := after.Shard(after.Children(0)[0].Index)
		woken <- s.Backend.Wait(ctxOf(t), ref(after, child.Index), stream.SequenceNumber{})
	}()
	first := after.Children(0)[0].Range.Start
	appendAll(t, s.Backend, "s", stream.Entry{PartitionKey: "k", ExplicitHashKey: &first, Data: []byte("d")})
	if err := <-woken; err != nil {
		t.Error(err)
	}
}

// writers append numbered records of their own keys, one after the other, until they are stopped.
type writers struct {
	mu      sync.Mutex
	more    *sync.Cond
	total   int
	failed  error
	stopped bool
	next    map[string]int           // by key: how many were answered
	results map[string]stream.Result // by data
	wg      sync.WaitGroup
}

func startWriters(t *testing.T, b stream.Backend, name string, n int) *writers {
	w := &writers{next: map[string]int{}, results: map[string]stream.Result{}}
	w.more = sync.NewCond(&w.mu)
	for i := range n {
		w.wg.Go(func() { w.run(t, b, name, fmt.Sprintf("writer-%d", i)) })
	}
	return w
}

func (w *writers) run(t *testing.T, b stream.Backend, name, key string) {
	size := 1 // of a call: only who orders a call's entries is given several of one key
	for i, going := 0, true; going; i += size {
		if b.Capabilities().OrderedCalls {
			size = 1 + i%3
		}
		entries, results := make([]stream.Entry, size), make([]stream.Result, size)
		for j := range entries {
			entries[j] = entry(key, fmt.Sprintf("%s/%d", key, i+j))
		}
		err := b.Append(t.Context(), name, entries, results)
		w.mu.Lock()
		for j, r := range results {
			err = errors.Join(err, r.Err)
			w.results[string(entries[j].Data)] = r
		}
		w.total += size
		w.next[key] = i + size
		w.failed = errors.Join(w.failed, err)
		going = !w.stopped && w.failed == nil
		w.mu.Unlock()
		w.more.Broadcast()
	}
}

// await returns when n more records were answered.
func (w *writers) await(t *testing.T, n int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for until := w.total + n; w.total < until && w.failed == nil; {
		w.more.Wait()
	}
	if w.failed != nil {
		t.Fatal(w.failed)
	}
}

func (w *writers) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.wg.Wait()
}

// check finds every record once, where its answer said, and each key's in order, children after parents.
func (w *writers) check(t *testing.T, b stream.Backend, s *stream.Stream) {
	t.Helper()
	if w.failed != nil {
		t.Fatal(w.failed)
	}
	seen := map[string]int{}
	above := map[string]stream.SequenceNumber{}
	n := 0
	for _, r := range walk(t, b, s) {
		key := string(r.PartitionKey)
		want := fmt.Sprintf("%s/%d", key, seen[key])
		if string(r.Data) != want {
			t.Fatalf("key %s: record %q in %s where %q should come", key, r.Data, stream.ShardID(r.Shard), want)
		}
		if told := w.results[want]; told.Shard != r.Shard || told.Sequence != r.Sequence {
			t.Fatalf("%s is at %d/%v; its answer said %d/%v", want, r.Shard, r.Sequence, told.Shard, told.Sequence)
		}
		if r.Sequence.Before(above[key]) {
			t.Fatalf("%s has a number below its predecessor's", want)
		}
		above[key] = r.Sequence.Next()
		seen[key]++
		n++
	}
	if n != len(w.results) || n != w.total {
		t.Fatalf("%d records; %d were answered", n, w.total)
	}
}

func testOrderAcrossReshards(t *testing.T, s *Subject) {
	create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 2})
	w := startWriters(t, s.Backend, "s", 8)
	w.await(t, 50)
	last := reshard(t, s.Backend, "s", split(0, point(1, 4)))
	w.await(t, 50)
	open := openByRange(last)
	reshard(t, s.Backend, "s", merge(open[1].Index, open[2].Index))
	w.await(t, 50)
	for _, count := range []int{4, 3, 6, 3} {
		last = reshard(t, s.Backend, "s", stream.Reshard{Count: count})
		w.await(t, 30)
	}
	w.stop()
	w.check(t, s.Backend, last)
}

func testReopenKeepsLineage(t *testing.T, s *Subject) {
	if s.Reopen == nil {
		t.Log("this backend keeps its data elsewhere; its own tests reopen it")
		return
	}
	create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 2})
	var want *stream.Stream
	for i, change := range []stream.Reshard{split(1, point(3, 4)), {Count: 2}, {Count: 3}} {
		for j := range 20 {
			appendAll(t, s.Backend, "s", entry(strconv.Itoa(j), fmt.Sprint(i, j)))
		}
		want = reshard(t, s.Backend, "s", change)
		records := walk(t, s.Backend, want)
		s.Backend = s.Reopen()
		got := active(t, s.Backend, "s")
		if len(got.Shards) != len(want.Shards) {
			t.Fatalf("after reopening: %+v; before: %+v", got.Shards, want.Shards)
		}
		for k, sh := range got.Shards {
			was := want.Shards[k]
			if sh.Index != was.Index || sh.Range != was.Range || sh.Created != was.Created || sh.First != was.First || !slices.Equal(sh.Parents, was.Parents) ||
				sh.Open() != was.Open() || (!sh.Open() && (sh.Closed.Sequence != was.Closed.Sequence || !sh.Closed.At.Equal(was.Closed.At))) {
				t.Fatalf("after reopening a shard is %+v; before: %+v", sh, was)
			}
		}
		again := walk(t, s.Backend, got)
		if len(records) != 20*(i+1) || len(again) != len(records) {
			t.Fatalf("%d records before reopening, %d after", len(records), len(again))
		}
		for k := range again {
			if again[k].Shard != records[k].Shard || again[k].Sequence != records[k].Sequence {
				t.Fatalf("reopening moved record %d", k)
			}
		}
	}
}

// testClosedShardsLeave lets retention pass over closed shards: they leave once they are empty.
func testClosedShardsLeave(t *testing.T, s *Subject) {
	if s.Advance == nil || !s.Backend.Capabilities().HidesAtAge {
		t.Log("this backend's engine trims when it sees fit")
		return
	}
	def := create(t, s.Backend, stream.CreateStream{Name: "s"})
	appendAll(t, s.Backend, "s", entry("k", "old"))
	reshard(t, s.Backend, "s", stream.Reshard{Count: 4})
	appendAll(t, s.Backend, "s", entry("k", "old too"))
	s.Advance(stream.DefaultRetention + time.Hour)
	gone := make(chan error, 1)
	go func() {
		ctx := ctxOf(t)
		for ctx.Err() == nil { // a closed shard has nothing to wait for: Wait returns at once, until the shard has left
			if err := s.Backend.Wait(ctx, ref(def, 0), stream.SequenceNumber{}); err != nil {
				gone <- err
				return
			}
			<-time.After(time.Millisecond)
		}
		gone <- ctx.Err()
	}()
	s.Backend.StartTrimming()
	after := eventually(t, s.Backend, "s", func(now *stream.Stream) bool { return len(now.Shards) == 4 })
	if after.OpenShards() != 4 {
		t.Fatalf("open shards have left: %+v", after.Shards)
	}
	wantKind(t, <-gone, fault.NotFound)
	var batch stream.Batch
	err := s.Backend.Read(ctxOf(t), stream.ReadRequest{Shard: ref(def, 0), MaxRecords: 1, MaxBytes: 1}, &batch)
	wantKind(t, err, fault.NotFound)
	// No index is given twice, and what is left goes on.
	r := appendAll(t, s.Backend, "s", entry("k", "young"))[0]
	if got := readAll(t, s.Backend, ref(def, r.Shard), stream.SequenceNumber{}, false); len(got) != 1 || string(got[0].Data) != "young" {
		t.Errorf("after all has left: %d records", len(got))
	}
	last := after.Shards[3].Index
	must[*stream.Stream](t)(s.Backend.Reshard(ctxOf(t), "s", merge(after.Shards[0].Index, after.Shards[1].Index)))
	if now := active(t, s.Backend, "s"); now.Shards[len(now.Shards)-1].Index <= last {
		t.Errorf("an index is given twice: %+v", now.Shards)
	}
}

func testDeleteAfterReshard(t *testing.T, s *Subject) {
	first := create(t, s.Backend, stream.CreateStream{Name: "s"})
	appendAll(t, s.Backend, "s", entry("k", "d"))
	reshard(t, s.Backend, "s", stream.Reshard{Count: 2})
	appendAll(t, s.Backend, "s", entry("k", "d"))
	if err := s.Backend.DeleteStream(ctxOf(t), "s"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.Backend.Wait(ctxOf(t), ref(first, 0), stream.SequenceNumber{}), fault.NotFound)
	second := create(t, s.Backend, stream.CreateStream{Name: "s"})
	if len(second.Shards) != 1 || !second.Shards[0].Open() || len(walk(t, s.Backend, second)) != 0 {
		t.Errorf("the second incarnation begins as %+v", second.Shards)
	}
}

// testReshardAgainstModel appends, reshards, reopens and reads at random, and compares with a plain list.
func testReshardAgainstModel(t *testing.T, s *Subject) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 2))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	now := create(t, s.Backend, stream.CreateStream{Name: "s", Shards: 1 + rnd.IntN(3)})
	model := map[string][]string{} // by key
	for step := range 120 {
		switch n := rnd.IntN(30); {
		case n == 0 && s.Reopen != nil:
			s.Backend = s.Reopen()
		case n < 4:
			s.tick()
		case n < 7:
			now = reshard(t, s.Backend, "s", anyReshard(rnd, now))
		case n < 10:
			checkModel(t, s.Backend, now, model)
		default:
			used := map[string]bool{}
			var entries []stream.Entry
			for range 1 + rnd.IntN(8) {
				key := strconv.Itoa(rnd.IntN(20))
				if used[key] && !s.Backend.Capabilities().OrderedCalls {
					continue
				}
				used[key] = true
				entries = append(entries, entry(key, fmt.Sprintf("%d %s", step, bytes.Repeat([]byte("x"), rnd.IntN(3000)))))
				model[key] = append(model[key], string(entries[len(entries)-1].Data))
			}
			for i, r := range appendAll(t, s.Backend, "s", entries...) {
				if sh, ok := now.Shard(r.Shard); !ok || !sh.Open() || !sh.Range.Contains(entries[i].HashKey()) {
					t.Fatalf("step %d: key %q went to %s", step, entries[i].PartitionKey, stream.ShardID(r.Shard))
				}
			}
		}
	}
	checkModel(t, s.Backend, now, model)
}

// anyReshard makes up a change that the stream takes.
func anyReshard(rnd *rand.Rand, s *stream.Stream) stream.Reshard {
	open := openByRange(s)
	i := rnd.IntN(len(open))
	switch n := rnd.IntN(3); {
	case n == 0 && len(open) > 1:
		i = min(i, len(open)-2)
		return merge(open[i].Index, open[i+1].Index)
	case n == 1 && len(open) < 8:
		// The middle of the even range around it, or what lies right above the start: ranges of any width occur.
		for d := 2; d < 64; d *= 2 {
			for k := range d {
				if at := point(k, d); at.Compare(open[i].Range.Start.Next()) > 0 && at.Compare(open[i].Range.End) < 0 {
					return split(open[i].Index, at)
				}
			}
		}
	}
	for { // no more than double and no less than half, as the service has it
		if count := (len(open)+1)/2 + rnd.IntN(len(open)+1); count != len(open) && count <= 8 && count <= 2*len(open) {
			return stream.Reshard{Count: count}
		}
	}
}

func checkModel(t *testing.T, b stream.Backend, s *stream.Stream, model map[string][]string) {
	t.Helper()
	got := map[string][]string{}
	for _, r := range walk(t, b, s) {
		got[string(r.PartitionKey)] = append(got[string(r.PartitionKey)], string(r.Data))
	}
	for key, want := range model {
		if !slices.Equal(got[key], want) {
			t.Fatalf("key %s: %d records, or in another order; want %d", key, len(got[key]), len(want))
		}
	}
	if len(got) != len(model) {
		t.Fatalf("%d keys; want %d", len(got), len(model))
	}
}
