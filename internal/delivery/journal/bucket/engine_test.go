package bucket_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/delivery"
	"millrace/internal/delivery/journal/journaltest"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/object/objecttest"
	"millrace/internal/peers/peerstest"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/local"
)

// definitions are those of all nodes, at once everywhere: the catalog has tests of its own.
type definitions struct {
	mu        sync.Mutex
	all       map[string]*delivery.Definition
	followers []func()
}

func (d *definitions) Update(_ context.Context, name string, fn func(*delivery.Definition) (*delivery.Definition, error)) (*delivery.Definition, error) {
	d.mu.Lock()
	def, err := fn(d.all[name])
	if err == nil {
		if d.all[name] = def; def == nil {
			delete(d.all, name)
		}
	}
	followers := slices.Clone(d.followers)
	d.mu.Unlock()
	for _, f := range followers {
		f()
	}
	return def, err
}

func (d *definitions) All(context.Context) ([]*delivery.Definition, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []*delivery.Definition
	for _, def := range d.all {
		all = append(all, def)
	}
	return all, nil
}

func (d *definitions) Follow(fn func()) (stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.followers = append(d.followers, fn)
	return func() {} // the test ends all nodes at once
}

var account = ids.NewAccount("us-east-1", "000000000000")

// group is nodes that deliver together: one stream, one bucket for objects, one journal.
type group struct {
	t       *testing.T
	shared  func() object.Store
	streams *local.Backend
	defs    *definitions
	sent    int
}

const (
	events = "events" // the bucket
	shards = 6
)

func newGroup(t *testing.T, stores func(testing.TB) func() object.Store) *group {
	t.Helper()
	db, err := store.Open(filepath.Join(t.TempDir(), "log"), store.Options{Profile: store.Log})
	if err != nil {
		t.Fatal(err)
	}
	g := &group{t: t, shared: stores(t), defs: &definitions{all: map[string]*delivery.Definition{}}}
	g.streams, err = local.Open(local.Options{DB: db, IDs: ids.New(), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.streams.Close(context.Background()) })
	if _, err := g.streams.CreateStream(t.Context(), stream.CreateStream{Name: "s", Shards: shards}); err != nil {
		t.Fatal(err)
	}
	if err := g.shared().CreateBucket(t.Context(), object.Bucket{Name: events, Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return g
}

// worker is a node that delivers.
type worker struct {
	*node
	engine *delivery.Engine
}

func (g *group) start(name string) *worker {
	g.t.Helper()
	w := &worker{node: open(g.t, g.shared(), name)}
	var err error
	w.engine, err = delivery.New(delivery.Options{Source: g.streams, Sink: w.at.Store, Definitions: g.defs, Journal: w.Journal, Account: account,
		IDs: ids.New(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		g.t.Fatal(err)
	}
	if err := w.engine.Start(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = w.engine.Close(context.Background()) })
	return w
}

func (g *group) create(w *worker) {
	g.t.Helper()
	size, interval := 1, 0
	_, err := w.engine.Create(g.t.Context(), &delivery.CreateRequest{
		DeliveryStreamName: "d", DeliveryStreamType: "KinesisStreamAsSource",
		KinesisStreamSourceConfiguration: &delivery.KinesisSource{KinesisStreamARN: account.Stream("s"), RoleARN: account.Role("r")},
		ExtendedS3DestinationConfiguration: &delivery.S3Destination{S3Configuration: delivery.S3Configuration{BucketARN: account.Bucket(events), RoleARN: account.Role("r"),
			BufferingHints: &delivery.BufferingHints{SizeInMBs: &size, IntervalInSeconds: &interval}}},
	})
	if err != nil {
		g.t.Fatal(err)
	}
}

// send appends records to all shards, for some time.
func (g *group) send(d time.Duration) {
	g.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		entries, results := make([]stream.Entry, 10), make([]stream.Result, 10)
		for i := range entries {
			g.sent++
			entries[i] = stream.Entry{PartitionKey: fmt.Sprint("k", g.sent), Data: fmt.Appendf(nil, "%d\n", g.sent)}
		}
		if err := g.streams.Append(g.t.Context(), "s", entries, results); err != nil {
			g.t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				g.t.Fatal(r.Err)
			}
		}
	}
}

// settled waits until the ledger of a node says that nothing is in flight.
func (g *group) settled(w *worker) {
	g.t.Helper()
	journaltest.Await(g.t, "all is delivered", func() bool {
		l, err := w.engine.Ledger(g.t.Context())
		if err != nil {
			return false
		}
		if err := l.Check(); err != nil {
			g.t.Fatal(err)
		}
		d := l.DeliveryStreams[0]
		return d.Delivered == int64(g.sent) && d.InFlight == 0
	})
}

// check reads all objects: each record is in exactly one, and those of a shard are in order.
func (g *group) check() {
	g.t.Helper()
	s := g.shared()
	var infos []object.Info
	for after := ""; ; {
		page, err := s.List(g.t.Context(), events, object.ListOptions{After: after, Max: 1000})
		if err != nil {
			g.t.Fatal(err)
		}
		infos = append(infos, page.Objects...)
		if after = page.Next; !page.Truncated {
			break
		}
	}
	seen, last := make([]int, g.sent+1), map[uint32]int{}
	slices.SortFunc(infos, func(a, b object.Info) int { return cmp.Compare(a.Key, b.Key) })
	st, _ := g.streams.Stream("s")
	for _, info := range infos {
		o, err := s.Get(g.t.Context(), events, info.Key)
		if err != nil {
			g.t.Fatal(err)
		}
		text, err := io.ReadAll(o.Body)
		_ = o.Body.Close()
		if err != nil {
			g.t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var n int
			if _, err := fmt.Sscan(string(line), &n); err != nil || n < 1 || n > g.sent {
				g.t.Fatalf("%s holds %q", info.Key, line)
			}
			seen[n]++
			shard := shardOf(st, n)
			if n <= last[shard] {
				g.t.Errorf("%d comes after %d in shard %d", n, last[shard], shard)
			}
			last[shard] = n
		}
	}
	for n, times := range seen[1:] {
		if times != 1 {
			g.t.Errorf("record %d is there %d times", n+1, times)
		}
	}
	g.t.Logf("%d records in %d objects", g.sent, len(infos))
}

func shardOf(st *stream.Stream, n int) uint32 {
	point := (&stream.Entry{PartitionKey: fmt.Sprint("k", n)}).HashKey()
	for i := range st.Shards {
		if st.Shards[i].Range.Contains(point) {
			return st.Shards[i].Index
		}
	}
	return 0
}

// Through nodes that come, leave, freeze and die, and answers that get lost, every record is in exactly one object.
func TestEnginesDeliverExactlyOnce(t *testing.T) {
	for name, stores := range peerstest.Stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, stores)
			a := g.start("a")
			g.create(a)
			g.send(time.Second)
			b := g.start("b")
			g.send(time.Second)

			// b loses answers of the journal, of either kind.
			var mu sync.Mutex
			n := 0
			b.at.Store.Break(func(c objecttest.Call) (bool, error) {
				mu.Lock()
				defer mu.Unlock()
				if n++; isSlot(c) && n%4 == 0 {
					return n%8 == 0, errLost
				}
				return true, nil
			})
			g.send(time.Second)

			// b is a zombie: all that it puts arrives, and nobody sees that it lives; nor does it see what the others do.
			b.at.Store.Break(func(c objecttest.Call) (bool, error) {
				if strings.Contains(c.Key, "/nodes/") || c.Op == "List" {
					return false, errLost
				}
				return true, nil
			})
			g.send(2 * peerstest.Lease)
			b.at.Store.Break(nil)
			g.send(time.Second)

			// c comes and dies: nothing that it does arrives any more.
			c := g.start("c")
			g.send(time.Second)
			c.at.Store.Break(func(objecttest.Call) (bool, error) { return false, errLost })
			g.send(2 * peerstest.Lease)

			// The store is away for all.
			for _, w := range []*worker{a, b} {
				w.at.Store.Break(func(objecttest.Call) (bool, error) { return false, errLost })
			}
			g.send(time.Second)
			for _, w := range []*worker{a, b} {
				w.at.Store.Break(nil)
			}
			if err := a.engine.Close(t.Context()); err != nil {
				t.Error(err)
			}
			g.send(time.Second)
			g.settled(b)
			g.check()
		})
	}
}

// A deletion is settled by all nodes for what they own, and its counts are on all of them.
func TestEnginesDelete(t *testing.T) {
	t.Parallel()
	g := newGroup(t, peerstest.Dir)
	a, b := g.start("a"), g.start("b")
	g.create(b)
	g.send(time.Second)
	g.settled(a)
	if err := b.engine.Delete(t.Context(), "d"); err != nil {
		t.Fatal(err)
	}
	for _, w := range []*worker{a, b} {
		journaltest.Await(t, "the final counts are there", func() bool {
			l, err := w.engine.Ledger(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return len(l.Deleted) == 1 && l.Deleted[0].Delivered == int64(g.sent) && len(l.DeliveryStreams) == 0
		})
	}
}
