package local

import (
	"context"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/ids"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/streamtest"
)

var (
	histories   = flag.Int("histories", 0, "random histories that TestHistories plays; 0: as many as take a few seconds")
	historySeed = flag.Uint64("seed", 0, "of the first history; 0: random")
)

// TestHistories plays random histories of all that a stream can meet, crashes among them, against a model:
//
//	go test ./internal/stream/local -run TestHistories -histories=10000 -timeout=1h
func TestHistories(t *testing.T) {
	count := *histories
	if count == 0 {
		count = 150
		if testing.Short() {
			count = 30
		}
	}
	streamtest.Histories{Setup: mortal, Seed: *historySeed, Count: count}.Run(t)
}

// What the histories of streamtest's own tests can't break is broken here: trimming, holds and the disk.
func TestHistoriesFindFaults(t *testing.T) {
	for name, spoil := range map[string]func(*machine, *streamtest.Subject){
		"nothing is ever trimmed": func(_ *machine, s *streamtest.Subject) { s.Trim = func() error { return nil } },
		"nobody can hold anything": func(m *machine, s *streamtest.Subject) {
			m.wrap = func(b *Backend) stream.Backend { return deaf{b} }
			s.Backend = deaf{m.backend}
		},
		"a crash takes what was answered": func(m *machine, _ *streamtest.Subject) { m.lossy = true },
		"a shard is closed, and goes on": func(m *machine, s *streamtest.Subject) {
			m.wrap = func(b *Backend) stream.Backend { return late{b} }
			s.Backend = late{m.backend}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := streamtest.Histories{Seed: 1, Count: 100, Whole: true}
			h.Setup = func(t *testing.T, rnd *rand.Rand) *streamtest.Subject {
				m, s := newMachine(t, rnd)
				spoil(m, s)
				return s
			}
			if h.Find(t) == nil {
				t.Error("no history shows it")
			}
		})
	}
}

type deaf struct{ *Backend }

func (deaf) Hold(string, stream.ShardRef, stream.SequenceNumber) {}

// late tells of the end of a shard one record too late: the last one of a closed shard stays away.
type late struct{ *Backend }

func (l late) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	err := l.Backend.Read(ctx, req, batch)
	if n := len(batch.Records); batch.End && n > 0 {
		batch.Records = batch.Records[:n-1]
	}
	return err
}

// mortal makes a backend on a disk that can be cut off at any moment.
func mortal(t *testing.T, rnd *rand.Rand) *streamtest.Subject {
	_, s := newMachine(t, rnd)
	return s
}

func newMachine(t *testing.T, rnd *rand.Rand) (*machine, *streamtest.Subject) {
	m := &machine{t: t, rnd: rnd, clock: newClock(), disk: vfs.NewCrashableMem(), bucketBytes: 200 + rnd.Int64N(100_000), ids: ids.Seeded(rnd.Uint64())}
	m.wrap = func(b *Backend) stream.Backend { return b }
	m.open()
	t.Cleanup(m.stop)
	return m, &streamtest.Subject{
		Backend: m.backend, Advance: m.clock.Advance, Now: m.clock.Now, Reopen: m.reopen, Kill: m.kill,
		Trim: func() error { return m.backend.trim() },
	}
}

// machine is a backend and the disk that outlives it.
type machine struct {
	t           *testing.T
	rnd         *rand.Rand
	clock       *clock
	disk        *vfs.MemFS
	ids         *ids.Source
	bucketBytes int64
	backend     *Backend

	// For faults.
	wrap  func(*Backend) stream.Backend
	lossy bool
	start *vfs.MemFS // the disk as it was when the backend was opened
}

func (m *machine) open() {
	db, err := store.Open("log", store.Options{Profile: store.Log, FS: m.disk})
	if err != nil {
		m.t.Fatal(err)
	}
	m.backend, err = Open(Options{DB: db, IDs: m.ids, Now: m.clock.Now, TrimEvery: time.Hour, BucketBytes: m.bucketBytes})
	if err != nil {
		m.t.Fatal(err)
	}
	if m.lossy {
		m.start = m.disk.CrashClone(vfs.CrashCloneCfg{})
	}
}

func (m *machine) stop() {
	if err := m.backend.Close(context.Background()); err != nil {
		m.t.Error(err)
	}
}

func (m *machine) reopen() stream.Backend {
	m.stop()
	m.open()
	return m.wrap(m.backend)
}

// kill cuts the disk off: what was synced is there, and of the rest some.
func (m *machine) kill() stream.Backend {
	crashed := m.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: m.rnd.IntN(101), RNG: m.rnd})
	m.stop() // what it still does is for a disk that nobody looks at
	m.disk = crashed
	if m.start != nil {
		m.disk = m.start
	}
	m.open()
	return m.wrap(m.backend)
}
