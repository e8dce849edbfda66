package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/streamtest"
)

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.UnixMilli(1_790_000_000_000)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// open opens a backend on a file system; change, if not nil, edits its options.
func open(t testing.TB, fs vfs.FS, dir string, c *clock, change func(*Options)) *Backend {
	t.Helper()
	db, err := store.Open(dir, store.Options{Profile: store.Log, FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	return openDB(t, db, c, change)
}

func openDB(t testing.TB, db *pebble.DB, c *clock, change func(*Options)) *Backend {
	t.Helper()
	opts := Options{DB: db, IDs: ids.Seeded(1), Now: c.Now, TrimEvery: time.Hour}
	if change != nil {
		change(&opts)
	}
	b, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, b) })
	return b
}

func shut(t testing.TB, b *Backend) {
	select {
	case <-b.closing:
		return
	default:
	}
	if err := b.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestSuite(t *testing.T) {
	streamtest.Run(t, func(t *testing.T) *streamtest.Subject {
		c, fs := newClock(), vfs.NewMem()
		small := func(o *Options) { o.BucketBytes = 64 << 10 } // so that reads cross buckets
		b := open(t, fs, "log", c, small)
		s := &streamtest.Subject{Backend: b, Advance: c.Advance}
		s.Reopen = func() stream.Backend {
			shut(t, b)
			b = open(t, fs, "log", c, small)
			return b
		}
		return s
	})
}

func put(t testing.TB, b *Backend, name string, data ...string) []stream.Result {
	t.Helper()
	entries := make([]stream.Entry, len(data))
	for i := range data {
		entries[i] = stream.Entry{PartitionKey: "k", Data: []byte(data[i])}
	}
	results := make([]stream.Result, len(data))
	if err := b.Append(context.Background(), name, entries, results); err != nil {
		t.Fatal(err)
	}
	return results
}

func read(t testing.TB, b *Backend, def *stream.Stream, from stream.SequenceNumber, held bool) (data []string, skipped int64) {
	t.Helper()
	var batch stream.Batch
	for {
		req := stream.ReadRequest{Shard: stream.ShardRef{Stream: def.Name, ID: def.ID}, From: from, MaxRecords: 100, MaxBytes: 1 << 20, Held: held}
		if err := b.Read(context.Background(), req, &batch); err != nil {
			t.Fatal(err)
		}
		skipped += batch.Skipped
		for _, r := range batch.Records {
			data = append(data, string(r.Data))
		}
		if len(batch.Records) == 0 {
			return data, skipped
		}
		from = batch.Next
	}
}

// rows counts the keys of the store that begin with a prefix.
func rows(t testing.TB, b *Backend, prefix byte) (n int) {
	t.Helper()
	if err := b.scan([]byte{prefix}, func(_, _ []byte) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTrimDeletesWhatNobodyHolds(t *testing.T) {
	c, fs := newClock(), vfs.NewMem()
	b := open(t, fs, "log", c, nil)
	def, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"})
	if err != nil {
		t.Fatal(err)
	}
	first := put(t, b, "s", "1", "2", "3")
	ref := stream.ShardRef{Stream: "s", ID: def.ID}
	b.Hold("delivery", ref, first[1].Sequence)
	c.Advance(25 * time.Hour)

	if err := b.trim(); err != nil {
		t.Fatal(err)
	}
	if got, skipped := read(t, b, def, stream.SequenceNumber{}, true); fmt.Sprint(got, skipped) != "[1 2 3] 0" {
		t.Errorf("held: %v, %d skipped", got, skipped)
	}
	b.Hold("delivery", ref, first[2].Sequence.Next())
	if err := b.trim(); err != nil {
		t.Fatal(err)
	}
	if n := rows(t, b, recordPrefix); n != 0 {
		t.Errorf("%d blocks are left of records that nobody holds", n)
	}
	// Numbers go on where they were, also after a restart with nothing left.
	shut(t, b)
	b = open(t, fs, "log", c, nil)
	next := put(t, b, "s", "4")[0].Sequence
	_, _, position, _ := next.Parts()
	if position != 3 {
		t.Errorf("the record after a trimmed shard has position %d, not 3", position)
	}
	if got, skipped := read(t, b, def, stream.SequenceNumber{}, true); fmt.Sprint(got, skipped) != "[4] 3" {
		t.Errorf("after the trim: %v, %d skipped", got, skipped)
	}
}

func TestLowSpaceEndsHoldsAndWrites(t *testing.T) {
	c, fs := newClock(), vfs.NewMem()
	low := false
	b := open(t, fs, "log", c, func(o *Options) { o.Low = func() bool { return low } })
	if _, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	def, _ := b.Stream("s")
	put(t, b, "s", "1")
	b.Hold("delivery", stream.ShardRef{Stream: "s", ID: def.ID}, stream.SequenceNumber{})
	c.Advance(25 * time.Hour)
	put(t, b, "s", "2")
	low = true
	err := b.Append(t.Context(), "s", []stream.Entry{{PartitionKey: "k"}}, make([]stream.Result, 1))
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("below the mark an append gave %v", err)
	}
	if err := b.trim(); err != nil {
		t.Fatal(err)
	}
	if got, skipped := read(t, b, def, stream.SequenceNumber{}, true); fmt.Sprint(got, skipped) != "[2] 1" {
		t.Errorf("below the mark the expired record stays: %v, %d skipped", got, skipped)
	}
	low = false
	put(t, b, "s", "3") // and all is well again
}

func TestDeleteStreamLeavesNothing(t *testing.T) {
	c := newClock()
	b := open(t, vfs.NewMem(), "log", c, func(o *Options) { o.BucketBytes = 100 })
	for i := range 5 {
		if _, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"}); err != nil {
			t.Fatal(err)
		}
		for j := range 20 {
			put(t, b, "s", fmt.Sprintf("%d/%d %50d", i, j, j))
		}
		if err := b.DeleteStream(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		for _, prefix := range []byte{recordPrefix, streamPrefix, positionPrefix} {
			if n := rows(t, b, prefix); n != 0 {
				t.Fatalf("%d rows %q are left of a deleted stream", n, prefix)
			}
		}
	}
}

// Who reads while the stream is deleted or the store is closed is told so, and never that the records were skipped.
func TestReadersOfWhatEnds(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(*Backend) error
		kind fault.Kind
	}{
		"deleted": {func(b *Backend) error { return b.DeleteStream(context.Background(), "s") }, fault.NotFound},
		"closed":  {func(b *Backend) error { return b.Close(context.Background()) }, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, vfs.NewMem(), "log", newClock(), func(o *Options) { o.BucketBytes = 1000 })
			def, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"})
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				put(t, b, "s", strings.Repeat("d", 500), "d")
			}
			var reading, wg sync.WaitGroup
			for range 4 {
				reading.Add(1)
				wg.Go(func() {
					var batch stream.Batch
					ref := stream.ShardRef{Stream: "s", ID: def.ID}
					for n := 0; ; n++ {
						if n == 3 {
							reading.Done()
						}
						err := b.Read(context.Background(), stream.ReadRequest{Shard: ref, MaxRecords: 100, MaxBytes: 1 << 20}, &batch)
						if err == nil {
							_, err = b.At(context.Background(), ref, time.UnixMilli(0))
						}
						switch {
						case err != nil && fault.KindOf(err) != end.kind:
							t.Error(err)
							return
						case err != nil && n >= 3: // it may end as soon as the third is under way
							return
						case batch.Skipped != 0 || len(batch.Records) != 100:
							t.Errorf("%d records, %d skipped", len(batch.Records), batch.Skipped)
							return
						}
					}
				})
			}
			reading.Wait()
			if err := end.do(b); err != nil {
				t.Error(err)
			}
			wg.Wait()
		})
	}
}

// A crash at any moment: what was answered is there, in its order; what was not may be there, behind or between, once.
func TestCrashKeepsWhatWasAnswered(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	for round := range rounds {
		c, fs := newClock(), vfs.NewCrashableMem()
		b := open(t, fs, "log", c, func(o *Options) { o.BucketBytes = 2000 })
		if _, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"}); err != nil {
			t.Fatal(err)
		}
		def, _ := b.Stream("s")
		var mu sync.Mutex
		answered := map[string]stream.SequenceNumber{}
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for caller := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					id := fmt.Sprintf("%d/%d/%d", round, caller, i)
					r := put(t, b, "s", id)
					mu.Lock()
					answered[id] = r[0].Sequence
					enough := len(answered) > 100+round*10
					mu.Unlock()
					if enough {
						return
					}
				}
			})
		}
		for {
			mu.Lock()
			n := len(answered)
			mu.Unlock()
			if n > 60+round*7 {
				break
			}
			time.Sleep(100 * time.Microsecond)
		}
		// The order matters: what is in the map now was answered before the crash.
		mu.Lock()
		want := make(map[string]stream.SequenceNumber, len(answered))
		for id, seq := range answered {
			want[id] = seq
		}
		mu.Unlock()
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: round * 100 / rounds, RNG: rng(round)})
		close(stop)
		wg.Wait()
		shut(t, b)

		b = open(t, crashed, "log", c, nil)
		found := map[string]stream.SequenceNumber{}
		var batch stream.Batch
		from := stream.SequenceNumber{}
		for {
			req := stream.ReadRequest{Shard: stream.ShardRef{Stream: "s", ID: def.ID}, From: from, MaxRecords: 1000, MaxBytes: 1 << 20}
			if err := b.Read(t.Context(), req, &batch); err != nil {
				t.Fatal(err)
			}
			if batch.Skipped != 0 {
				t.Fatalf("round %d: %d positions are empty", round, batch.Skipped)
			}
			if len(batch.Records) == 0 {
				break
			}
			for _, r := range batch.Records {
				if _, twice := found[string(r.Data)]; twice {
					t.Fatalf("round %d: %s is there twice", round, r.Data)
				}
				found[string(r.Data)] = r.Sequence
			}
			from = batch.Next
		}
		for id, seq := range want {
			if found[id] != seq {
				t.Fatalf("round %d: %s was answered with %v and is at %v", round, id, seq, found[id])
			}
		}
		shut(t, b)
	}
}

func TestFormatOfFolderIsStable(t *testing.T) {
	// What a build has written, later builds read: the block as bytes.
	e := stream.Entry{PartitionKey: "pk", Data: []byte("data")}
	got := appendRecord(appendHead(nil, 1, 0x0102030405060708, false), &e)
	want := "\x01\x01\x01\x02\x03\x04\x05\x06\x07\x08\x02pk\x04data"
	if string(got) != want {
		t.Errorf("a block is % x", got)
	}
	if got := string(appendRecordKey(nil, 1, 2, 3, 4)); got != "r\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x04" {
		t.Errorf("a key is % x", got)
	}
}

func FuzzBlock(f *testing.F) {
	e := stream.Entry{PartitionKey: "pk", Data: []byte("data")}
	f.Add(appendRecord(appendHead(nil, 1, 5, false), &e))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		bl, err := openBlock(b)
		if err != nil {
			return
		}
		for range bl.count {
			if _, _, err := bl.next(); err != nil {
				return
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ callers, batch int }{{64, 1}, {512, 1}, {16, 100}, {8, 500}} {
		b.Run(fmt.Sprintf("callers=%d/batch=%d", c.callers, c.batch), func(b *testing.B) {
			be := open(b, vfs.Default, filepath.Join(b.TempDir(), "log"), newClock(), nil)
			if _, err := be.CreateStream(b.Context(), stream.CreateStream{Name: "s", Shards: 4}); err != nil {
				b.Fatal(err)
			}
			data := make([]byte, 500)
			b.SetBytes(500)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range c.callers {
				n := b.N / c.callers
				wg.Go(func() {
					entries := make([]stream.Entry, c.batch)
					results := make([]stream.Result, c.batch)
					for i := range entries {
						entries[i] = stream.Entry{PartitionKey: fmt.Sprint(w, i), Data: data}
					}
					for i := 0; i < n; i += c.batch {
						if err := be.Append(context.Background(), "s", entries, results); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(be.stats.groups.Load()), "groups")
		})
	}
}

func seeded() *ids.Source { return ids.Seeded(1) }

func rng(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 0)) }

// A reader looks at the tip first and at the segments then. What has become durable between the two lies before the
// newest segment, and must not be passed over.
func TestReadStopsAtTheTipThatItSaw(t *testing.T) {
	b := open(t, vfs.NewMem(), "log", newClock(), func(o *Options) { o.BucketBytes = 100 })
	def, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"})
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "s", "0")
	put(t, b, "s", "1", strings.Repeat("1", 100)) // the bucket is full
	put(t, b, "s", "3")
	sh := b.state.Load().byName["s"].shards[0]
	if len(sh.segments) != 2 {
		t.Fatalf("%d segments", len(sh.segments))
	}
	durable := sh.durable.Swap(1) // as the reader saw it
	var batch stream.Batch
	req := stream.ReadRequest{Shard: stream.ShardRef{Stream: "s", ID: def.ID}, MaxRecords: 100, MaxBytes: 1 << 20}
	if err := b.Read(t.Context(), req, &batch); err != nil {
		t.Fatal(err)
	}
	sh.durable.Store(durable)
	if len(batch.Records) != 1 || batch.Next != sh.sequence(1) {
		t.Errorf("%d records, next %s; the second is %s", len(batch.Records), batch.Next, sh.sequence(1))
	}
}

// A read here fills what it may: who pages by number or size pays for no more rounds than it has to.
func TestReadFillsItsBounds(t *testing.T) {
	b := open(t, vfs.NewMem(), "log", newClock(), nil)
	def, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"})
	if err != nil {
		t.Fatal(err)
	}
	put(t, b, "s", slices.Repeat([]string{strings.Repeat("d", 99)}, 50)...)
	var batch stream.Batch
	f := func(maxRecords, maxBytes, want int) {
		t.Helper()
		req := stream.ReadRequest{Shard: stream.ShardRef{Stream: "s", ID: def.ID}, MaxRecords: maxRecords, MaxBytes: maxBytes}
		if err := b.Read(t.Context(), req, &batch); err != nil || len(batch.Records) != want {
			t.Errorf("at most %d records of %d bytes: %d, %v; want %d", maxRecords, maxBytes, len(batch.Records), err, want)
		}
	}
	f(1, 1<<20, 1)
	f(10, 1<<20, 10)
	f(100, 1000, 10)
	f(100, 999, 9)
	f(100, 1, 1)
	f(100, 1<<20, 50)
}
