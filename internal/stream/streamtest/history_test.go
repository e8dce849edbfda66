package streamtest

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/ids"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/local"
)

// plant makes a backend on a disk in memory and puts a fault before it. The faults show that histories find what they are for.
func plant(t *testing.T, rnd *rand.Rand, fault func(stream.Backend) stream.Backend) *Subject {
	var mu sync.Mutex
	now := time.UnixMilli(1_790_000_000_000)
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	disk, source := vfs.NewCrashableMem(), ids.Seeded(rnd.Uint64())
	var inner *local.Backend
	open := func() stream.Backend {
		db, err := store.Open("log", store.Options{Profile: store.Log, FS: disk})
		if err != nil {
			t.Fatal(err)
		}
		if inner, err = local.Open(local.Options{DB: db, IDs: source, Now: clock, TrimEvery: time.Hour, BucketBytes: 1000}); err != nil {
			t.Fatal(err)
		}
		return fault(inner)
	}
	closed := func() {
		if err := inner.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	s := &Subject{Backend: open(), Now: clock}
	s.Advance = func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	s.Reopen = func() stream.Backend {
		closed()
		return open()
	}
	s.Kill = func() stream.Backend {
		crashed := disk.CrashClone(vfs.CrashCloneCfg{})
		closed()
		disk = crashed
		return open()
	}
	t.Cleanup(closed)
	return s
}

// faulty is a backend with a fault.
type faulty struct {
	stream.Backend
	append func(b stream.Backend, ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error
	read   func(req *stream.ReadRequest, read func() error, batch *stream.Batch) error
	at     func(t time.Time) time.Time
	shown  func(*stream.Stream) *stream.Stream
}

func (f *faulty) Append(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	if f.append == nil {
		return f.Backend.Append(ctx, name, entries, results)
	}
	return f.append(f.Backend, ctx, name, entries, results)
}

func (f *faulty) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	if f.read == nil {
		return f.Backend.Read(ctx, req, batch)
	}
	return f.read(&req, func() error { return f.Backend.Read(ctx, req, batch) }, batch)
}

func (f *faulty) At(ctx context.Context, shard stream.ShardRef, t time.Time) (stream.SequenceNumber, error) {
	if f.at != nil {
		t = f.at(t)
	}
	return f.Backend.At(ctx, shard, t)
}

func (f *faulty) Stream(name string) (*stream.Stream, bool) {
	s, ok := f.Backend.Stream(name)
	if ok && f.shown != nil {
		s = f.shown(s)
	}
	return s, ok
}

// after makes a fault of what a good read gave.
func after(spoil func(*stream.Batch)) func(*stream.ReadRequest, func() error, *stream.Batch) error {
	return func(_ *stream.ReadRequest, read func() error, batch *stream.Batch) error {
		if err := read(); err != nil {
			return err
		}
		spoil(batch)
		return nil
	}
}

// Each fault shows in some history of a few; without one nothing shows.
func TestHistoriesFindFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault faulty
	}{
		{name: "no fault"},
		{name: "a record is left out", fault: faulty{read: after(func(b *stream.Batch) {
			if n := len(b.Records); n > 3 {
				b.Records = append(b.Records[:1], b.Records[2:]...)
			}
		})}},
		{name: "two records change places", fault: faulty{read: after(func(b *stream.Batch) {
			if n := len(b.Records); n > 3 {
				b.Records[n-1], b.Records[n-2] = b.Records[n-2], b.Records[n-1]
			}
		})}},
		{name: "a record comes twice", fault: faulty{read: after(func(b *stream.Batch) {
			if n := len(b.Records); n > 3 && n < 20 {
				b.Records = append(b.Records, b.Records[n-1])
			}
		})}},
		{name: "a byte is another", fault: faulty{read: after(func(b *stream.Batch) {
			for _, r := range b.Records {
				if n := len(r.Data); n > 2000 {
					r.Data[n-1] ^= 1
				}
			}
		})}},
		{name: "a record arrives later on each look", fault: faulty{read: after(func(b *stream.Batch) {
			if n := len(b.Records); n > 5 {
				b.Records[n-1].Arrival++
			}
		})}},
		{name: "an answer names the wrong number", fault: faulty{append: func(b stream.Backend, ctx context.Context, name string, e []stream.Entry, r []stream.Result) error {
			err := b.Append(ctx, name, e, r)
			if len(r) == 4 {
				r[2].Sequence, r[3].Sequence = r[3].Sequence, r[2].Sequence
			}
			return err
		}}},
		{name: "what is answered was not kept", fault: faulty{append: func(b stream.Backend, ctx context.Context, name string, e []stream.Entry, r []stream.Result) error {
			if len(e) < 4 {
				return b.Append(ctx, name, e, r)
			}
			n := len(e) - 1
			err := b.Append(ctx, name, e[:n], r[:n])
			r[n] = stream.Result{Shard: r[n-1].Shard, Sequence: r[n-1].Sequence.Next()}
			return err
		}}},
		{name: "a retry writes a record twice", fault: faulty{append: func(b stream.Backend, ctx context.Context, name string, e []stream.Entry, r []stream.Result) error {
			if len(e) == 3 {
				if err := b.Append(ctx, name, e, r); err != nil {
					return err
				}
			}
			return b.Append(ctx, name, e, r)
		}}},
		{name: "a record goes to the wrong child", fault: faulty{append: func(b stream.Backend, ctx context.Context, name string, e []stream.Entry, r []stream.Result) error {
			s, ok := b.Stream(name)
			if ok && len(s.Shards[0].Parents) == 0 && !s.Shards[0].Open() {
				if children := s.Children(0); len(children) == 2 && children[0].Open() {
					e[0].ExplicitHashKey = &children[0].Range.Start
				}
			}
			return b.Append(ctx, name, e, r)
		}}},
		{name: "the end comes too early", fault: faulty{read: after(func(b *stream.Batch) {
			if len(b.Records) > 0 && b.MillisBehind == 1 {
				b.End = true
			}
		})}},
		{name: "the end does not come", fault: faulty{read: after(func(b *stream.Batch) { b.End = false })}},
		{name: "a reader is said to be at the tip", fault: faulty{read: after(func(b *stream.Batch) { b.MillisBehind = 0 })}},
		{name: "a reader at the tip is said to be behind", fault: faulty{read: after(func(b *stream.Batch) {
			if len(b.Records) > 4 {
				b.MillisBehind = max(b.MillisBehind, 1)
			}
		})}},
		{name: "gaps are not told", fault: faulty{read: after(func(b *stream.Batch) { b.Skipped, b.Resumed = 0, stream.SequenceNumber{} })}},
		{name: "bounds are not kept", fault: faulty{read: func(req *stream.ReadRequest, read func() error, _ *stream.Batch) error {
			req.MaxRecords++
			return read()
		}}},
		{name: "old records are shown", fault: faulty{read: func(req *stream.ReadRequest, read func() error, _ *stream.Batch) error {
			req.Held = true
			return read()
		}}},
		{name: "held records are hidden", fault: faulty{read: func(req *stream.ReadRequest, read func() error, _ *stream.Batch) error {
			req.Held = false
			return read()
		}}},
		{name: "a moment counts from the millisecond behind it", fault: faulty{at: func(t time.Time) time.Time { return t.Add(time.Millisecond) }}},
		{name: "a moment counts from the millisecond before it", fault: faulty{at: func(t time.Time) time.Time { return t.Add(-time.Millisecond) }}},
		{name: "another incarnation is read", fault: faulty{read: func(req *stream.ReadRequest, read func() error, _ *stream.Batch) error {
			req.Shard.ID = ""
			return read()
		}}},
		{name: "children are not told of", fault: faulty{shown: func(s *stream.Stream) *stream.Stream {
			cut := *s
			cut.Shards = cut.Shards[:min(len(cut.Shards), 6)]
			return &cut
		}}},
		{name: "closed shards are forgotten at once", fault: faulty{shown: func(s *stream.Stream) *stream.Stream {
			cut := *s
			cut.Shards = nil
			for _, sh := range s.Shards {
				if sh.Open() {
					cut.Shards = append(cut.Shards, sh)
				}
			}
			return &cut
		}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wrap := func(b stream.Backend) stream.Backend {
				f := c.fault
				f.Backend = b
				return &f
			}
			h := Histories{Count: 60, Seed: 1}
			h.Setup = func(t *testing.T, rnd *rand.Rand) *Subject { return plant(t, rnd, wrap) }
			if c.name == "no fault" {
				h.Count = 5
			}
			f := h.Find(t)
			if (f != nil) != (c.name != "no fault") {
				t.Fatalf("found: %v", f)
			}
			if f != nil {
				t.Log(f)
			}
		})
	}
}
