package limits

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// shape is a backend that keeps descriptions only. fail is asked before each reshard.
type shape struct {
	stream.Backend
	mu    sync.Mutex
	def   *stream.Stream
	fail  func() error
	tries int
}

func newShape(mode stream.Mode, shards int) *shape {
	def := &stream.Stream{Name: "s", ID: "i", Settings: stream.Settings{Mode: mode}, Status: stream.Active}
	for i, r := range stream.EvenRanges(shards) {
		def.Shards = append(def.Shards, stream.Shard{Index: uint32(i), Range: r, Created: time.Now().Unix()})
	}
	return &shape{def: def}
}

func (b *shape) Stream(name string) (*stream.Stream, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.def, b.def != nil && name == b.def.Name
}

func (b *shape) Streams() []*stream.Stream {
	def, _ := b.Stream("s")
	return []*stream.Stream{def}
}

// open counts the shards that take writes.
func (b *shape) open() int { return b.Streams()[0].OpenShards() }

// failing makes reshards fail from now on, and gives how many were tried before.
func (b *shape) failing(fail func() error) (tries int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tries, b.tries, b.fail = b.tries, 0, fail
	return tries
}

func (b *shape) Append(context.Context, string, []stream.Entry, []stream.Result) error { return nil }

func (b *shape) Reshard(_ context.Context, _ string, change stream.Reshard) (*stream.Stream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries++
	if b.fail != nil {
		if err := b.fail(); err != nil {
			return nil, err
		}
	}
	def, err := b.def.Resharded(change, time.Now())
	if err == nil {
		b.def = def
	}
	return def, err
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// growing runs fn beside Grow, in a bubble of its own time.
func growing(t *testing.T, mode stream.Mode, shards int, fn func(t *testing.T, in *shape, b *Backend, log *lockedBuffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		in, log := newShape(mode, shards), &lockedBuffer{}
		b := Of(Options{Backend: in, Account: "000000000000", Now: time.Now, Log: slog.New(slog.NewTextHandler(log, nil))})
		ctx, stop := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { b.Grow(ctx) })
		fn(t, in, b, log)
		stop()
		done.Wait()
	})
}

// offer sends records of all keys, or of one, through so many minutes: so many a second.
func offer(t *testing.T, b *Backend, minutes, perSecond, size int, key string) {
	t.Helper()
	entries, data := make([]stream.Entry, perSecond), make([]byte, size-len(key))
	for i := range entries {
		entries[i] = stream.Entry{PartitionKey: key, Data: data}
	}
	results := make([]stream.Result, perSecond)
	for second := range 60 * minutes {
		if key == "" {
			for i := range entries {
				// Spread evenly over the space, so that no test depends on luck.
				h := spread(second*perSecond + i)
				entries[i].ExplicitHashKey = &h
			}
		}
		if err := b.Append(t.Context(), "s", entries, results); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
}

var points = stream.EvenRanges(1000)

func spread(i int) stream.HashKey { return points[(i*617)%len(points)].Start }

// What all shards are offered decides how many there are: double within a quarter of an hour, as long as it takes.
func TestGrowthFollowsTraffic(t *testing.T) {
	growing(t, stream.OnDemand, stream.OnDemandShards, func(t *testing.T, in *shape, b *Backend, log *lockedBuffer) {
		f := func(minutes, perSecond, size, want int) {
			t.Helper()
			offer(t, b, minutes, perSecond, size, "")
			if got := in.open(); got != want {
				t.Errorf("%d records of %d bytes a second for %d minutes: %d shards, want %d", perSecond, size, minutes, got, want)
			}
		}
		f(16, 1000, 1000, 4)    // a quarter of a shard's bytes and records each
		f(15, 100, 16_000, 4)   // just below half
		f(15, 100, 24_000, 8)   // 2.4 MB a second
		f(30, 100, 24_000, 8)   // has room now
		f(15, 100, 200_000, 16) // twice as much as they take; throttled records count
		f(15, 100, 200_000, 32)
		f(15, 100, 200_000, 64)
		f(60, 1, 1000, 64) // nothing shrinks
		if got := b.Throttled()[0].Splits; got != 60 {
			t.Errorf("%d splits were counted", got)
		}
		if n := strings.Count(log.String(), "has grown"); n != 4 {
			t.Errorf("growth was told %d times:\n%s", n, log)
		}
	})
}

func TestGrowthByRecords(t *testing.T) {
	growing(t, stream.OnDemand, 1, func(t *testing.T, in *shape, b *Backend, _ *lockedBuffer) {
		offer(t, b, 16, 490, 10, "")
		if got := in.open(); got != 1 {
			t.Errorf("490 records a second: %d shards", got)
		}
		offer(t, b, 15, 600, 10, "")
		if got := in.open(); got != 2 {
			t.Errorf("600 records a second: %d shards", got)
		}
	})
}

// A burst of seconds is what retries are for.
func TestBurstsDoNotGrow(t *testing.T) {
	growing(t, stream.OnDemand, 1, func(t *testing.T, in *shape, b *Backend, _ *lockedBuffer) {
		entries := make([]stream.Entry, 500)
		for range 20 {
			for range 20 {
				if err := b.Append(t.Context(), "s", entries, make([]stream.Result, 500)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
		}
		if got := in.open(); got != 1 {
			t.Errorf("%d shards", got)
		}
	})
}

// Only the shard that is hot is split, evenly; the others and their ids stay.
func TestHotShardsAreSplit(t *testing.T) {
	growing(t, stream.OnDemand, 4, func(t *testing.T, in *shape, b *Backend, _ *lockedBuffer) {
		offer(t, b, 16, 10, 100_000, "k")
		var open []uint32
		def := in.Streams()[0]
		for i := range def.Shards {
			if def.Shards[i].Open() {
				open = append(open, def.Shards[i].Index)
			}
		}
		if got := fmt.Sprint(open); len(open) != 5 || !slices.Contains(open, 4) || !slices.Contains(open, 5) {
			t.Errorf("open are %s", got)
		}
		lower, upper := def.Shards[4].Range, def.Shards[5].Range
		eighth := stream.EvenRanges(8)
		if !slices.Contains(eighth, lower) || !slices.Contains(eighth, upper) {
			t.Errorf("the split is uneven: %v, %v", lower, upper)
		}
	})
}

func TestProvisionedStreamsDoNotGrow(t *testing.T) {
	growing(t, stream.Provisioned, 1, func(t *testing.T, in *shape, b *Backend, _ *lockedBuffer) {
		offer(t, b, 31, 100, 100_000, "")
		if got := in.open(); got != 1 {
			t.Errorf("%d shards", got)
		}
	})
}

func TestGrowthEndsAtTheQuota(t *testing.T) {
	growing(t, stream.OnDemand, maxShards-3, func(t *testing.T, in *shape, b *Backend, log *lockedBuffer) {
		offer(t, b, 31, 200, 1_000_000, "")
		if got := in.open(); got != maxShards {
			t.Errorf("%d shards, the quota is %d", got, maxShards)
		}
		if !strings.Contains(log.String(), "as many shards as it may have") {
			t.Error("the operator is not told")
		}
	})
}

// A failure is tried again for half a minute, told once, and seen again by the next turn.
func TestGrowthIsTriedAgain(t *testing.T) {
	growing(t, stream.OnDemand, 1, func(t *testing.T, in *shape, b *Backend, log *lockedBuffer) {
		left := 2
		in.failing(func() error {
			if left--; left >= 0 {
				return fault.New(fault.InUse, "shape.Reshard", "s", "the stream is UPDATING")
			}
			return nil
		})
		offer(t, b, 16, 10, 100_000, "")
		tries := in.failing(func() error { return fault.New(fault.Unavailable, "shape.Reshard", "s", "the brokers are gone") })
		if in.open() != 2 || tries != 3 || strings.Contains(log.String(), "ERROR") {
			t.Errorf("%d shards after %d tries:\n%s", in.open(), tries, log)
		}
		offer(t, b, 15, 20, 100_000, "")
		tries = in.failing(nil)
		if n := strings.Count(log.String(), "can't grow"); n != 1 || tries != splitTries {
			t.Errorf("told %d times after %d tries:\n%s", n, tries, log)
		}
		offer(t, b, 15, 20, 100_000, "")
		if in.open() != 4 {
			t.Errorf("%d shards in the end", in.open())
		}
	})
}

// On a real log what was written before a split is read from the parent, what comes after it goes to the children.
func TestGrowthOfALog(t *testing.T) {
	w := newWorld(t, stream.CreateStream{Mode: stream.OnDemand, Shards: 1})
	for range 70 {
		if got := w.put("k", 600_000); got != "s" {
			t.Fatal(got)
		}
		w.pass(time.Second)
	}
	w.grow(t.Context(), w.def)
	def, _ := w.Stream("s")
	if def.OpenShards() != 2 || len(def.Children(0)) != 2 {
		t.Fatalf("%+v", def.Shards)
	}
	if got := w.put("k", 600_000); got != "s" {
		t.Error(got)
	}
	w.pass(time.Hour)
	if err := w.read(w, 10<<20); err != nil {
		t.Error(err)
	}
	w.grow(t.Context(), def)
	if def, _ = w.Stream("s"); def.OpenShards() != 2 {
		t.Errorf("a quiet stream has grown to %d shards", def.OpenShards())
	}
}

// Another node that splits the same shard first is no failure; nor is a stream that goes.
func TestGrowthBesideOthers(t *testing.T) {
	growing(t, stream.OnDemand, 1, func(t *testing.T, in *shape, b *Backend, log *lockedBuffer) {
		in.failing(func() error { return fault.New(fault.Invalid, "shape.Reshard", "s", "shardId-000000000000 is closed") })
		offer(t, b, 16, 10, 100_000, "")
		tries := in.failing(func() error {
			in.def = &stream.Stream{Name: "s", ID: "another", Settings: in.def.Settings, Shards: in.def.Shards}
			return fault.New(fault.InUse, "shape.Reshard", "s", "the stream is DELETING")
		})
		if tries != 1 || log.String() != "" {
			t.Errorf("%d tries:\n%s", tries, log)
		}
		offer(t, b, 15, 10, 100_000, "")
		if tries = in.failing(nil); tries != 1 || log.String() != "" {
			t.Errorf("%d tries:\n%s", tries, log)
		}
	})
}
