package streamtest_test

import (
	"context"
	"slices"
	"sync"
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

// The suite must not ask for more than the contract does: here it runs on a backend that does as little as it may.
func TestSuiteAsksForNoMoreThanTheContract(t *testing.T) {
	streamtest.Run(t, func(t *testing.T) *streamtest.Subject {
		db, err := store.Open("log", store.Options{Profile: store.Log, FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		inner, err := local.Open(local.Options{DB: db, IDs: ids.Seeded(1), Now: time.Now, BucketBytes: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		b := &lazy{Backend: inner, changing: map[string]stream.Status{}}
		t.Cleanup(func() {
			if err := b.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return &streamtest.Subject{Backend: b}
	})
}

// lazy takes all the liberties of the contract: streams become ACTIVE later, calls do not order their entries, a read gives
// little, or nothing before the tip, and the end of a shard is told behind its last record.
type lazy struct {
	stream.Backend
	work  sync.WaitGroup
	close sync.Once

	mu       sync.Mutex
	changing map[string]stream.Status
	reads    int
}

// delay is how long a change takes.
const delay = 2 * time.Millisecond

func (l *lazy) Capabilities() stream.Capabilities { return stream.Capabilities{} }

// begin shows a stream as changing until done, which runs later, has run.
func (l *lazy) begin(name string, status stream.Status, done func()) {
	l.mu.Lock()
	l.changing[name] = status
	l.mu.Unlock()
	l.work.Go(func() {
		time.Sleep(delay)
		done()
		l.mu.Lock()
		delete(l.changing, name)
		l.mu.Unlock()
	})
}

func (l *lazy) shown(s *stream.Stream) *stream.Stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	if status, ok := l.changing[s.Name]; ok {
		shown := *s
		shown.Status = status
		return &shown
	}
	return s
}

func (l *lazy) Stream(name string) (*stream.Stream, bool) {
	s, ok := l.Backend.Stream(name)
	if !ok {
		return nil, false
	}
	return l.shown(s), true
}

func (l *lazy) CreateStream(ctx context.Context, spec stream.CreateStream) (*stream.Stream, error) {
	s, err := l.Backend.CreateStream(ctx, spec)
	if err != nil {
		return nil, err
	}
	l.begin(spec.Name, stream.Creating, func() {})
	return l.shown(s), nil
}

func (l *lazy) Reshard(ctx context.Context, name string, change stream.Reshard) (*stream.Stream, error) {
	if err := l.Backend.Healthy(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	_, busy := l.changing[name]
	if !busy {
		l.changing[name] = stream.Updating // nobody comes between the look and the change
	}
	l.mu.Unlock()
	if busy {
		return nil, fault.New(fault.InUse, "lazy.Reshard", name, "the stream is changing")
	}
	s, ok := l.Backend.Stream(name)
	err := error(fault.New(fault.NotFound, "lazy.Reshard", name, "no such stream"))
	if ok {
		_, err = s.Resharded(change, time.Now())
	}
	if err != nil {
		l.mu.Lock()
		delete(l.changing, name)
		l.mu.Unlock()
		return nil, err
	}
	l.begin(name, stream.Updating, func() {
		if _, err := l.Backend.Reshard(context.Background(), name, change); err != nil {
			panic(err)
		}
	})
	return l.shown(s), nil
}

func (l *lazy) Append(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	turned := slices.Clone(entries)
	slices.Reverse(turned)
	err := l.Backend.Append(ctx, name, turned, results)
	slices.Reverse(results)
	return err
}

func (l *lazy) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	l.mu.Lock()
	l.reads++
	n := l.reads
	l.mu.Unlock()
	req.MaxRecords = min(req.MaxRecords, 1+n%5)
	if err := l.Backend.Read(ctx, req, batch); err != nil || len(batch.Records) == 0 {
		return err
	}
	batch.End = false
	if n%3 == 0 {
		batch.Reset()
		batch.Next, batch.MillisBehind = req.From, 1
	}
	return nil
}

func (l *lazy) Close(ctx context.Context) (err error) {
	l.close.Do(func() {
		l.work.Wait()
		err = l.Backend.Close(ctx)
	})
	return err
}
