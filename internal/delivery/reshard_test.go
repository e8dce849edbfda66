package delivery

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/delivery/journal"
	"millrace/internal/ids"
	"millrace/internal/store"
	"millrace/internal/stream"
	"millrace/internal/stream/local"
)

// localNode is an engine on the real stream engine, with bucket, definitions and journal in memory, on a clock that can be moved on.
type localNode struct {
	t       *testing.T
	backend *local.Backend
	engine  *Engine
	ahead   atomic.Int64
	sink    *memorySink
	opts    Options
}

func newLocalNode(t *testing.T) *localNode {
	n := &localNode{t: t, sink: newMemorySink("events")}
	log, err := store.Open("log", store.Options{Profile: store.Log, FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	if n.backend, err = local.Open(local.Options{DB: log, IDs: ids.Seeded(2), Now: n.now, TrimEvery: 20 * time.Millisecond, BucketBytes: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	db, err := pebble.Open("db", &pebble.Options{FS: vfs.NewMem(), Logger: quietLogger{}, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	defs := newMemoryDefinitions()
	w := new(world)
	n.sink.world, defs.world = w, w
	n.opts = Options{Source: n.backend, Sink: n.sink, Definitions: defs, Journal: journal.Open(db, []byte("j/")),
		Account: testAccount, IDs: ids.Seeded(1), Now: n.now}
	n.start()
	t.Cleanup(func() {
		n.stop()
		if err := n.backend.Close(background); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *localNode) now() time.Time { return time.Now().Add(time.Duration(n.ahead.Load())) }

func (n *localNode) start() {
	n.t.Helper()
	var err error
	if n.engine, err = New(n.opts); err != nil {
		n.t.Fatal(err)
	}
	if err := n.engine.Start(background); err != nil {
		n.t.Fatal(err)
	}
}

func (n *localNode) stop() {
	n.t.Helper()
	if err := n.engine.Close(background); err != nil {
		n.t.Error(err)
	}
}

func (n *localNode) reshard(change func(*stream.Stream) stream.Reshard) {
	n.t.Helper()
	st, _ := n.backend.Stream("s")
	if _, err := n.backend.Reshard(background, "s", change(st)); err != nil {
		n.t.Fatal(err)
	}
}

// ledger gives the ledger of the delivery stream when it is as asked; it adds up at every look.
func (n *localNode) ledger(is func(*DeliveryLedger) bool) DeliveryLedger {
	n.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		l, err := n.engine.Ledger(background)
		if err != nil {
			n.t.Fatal(err)
		}
		if err := l.Check(); err != nil {
			n.t.Fatal(err)
		}
		if is(&l.DeliveryStreams[0]) {
			return l.DeliveryStreams[0]
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("the ledger does not become what it should: %+v", l.DeliveryStreams[0])
		}
	}
}

// load appends records of six keys, each key's one after the other, until it is stopped.
type load struct {
	wg      sync.WaitGroup
	stopped atomic.Bool
	answers chan struct{}
	written [6]int
}

func (n *localNode) load() *load {
	l := &load{answers: make(chan struct{})}
	for k := range l.written {
		l.wg.Go(func() {
			results := make([]stream.Result, 1)
			for !l.stopped.Load() {
				l.written[k]++
				key := fmt.Sprint("k", k)
				entries := []stream.Entry{{PartitionKey: key, Data: []byte(text1(key, l.written[k], k*100))}}
				if err := n.backend.Append(background, "s", entries, results); err != nil {
					n.t.Error(err)
					l.stopped.Store(true)
				}
				l.answers <- struct{}{}
			}
		})
	}
	return l
}

// await lets n more appends go on.
func (l *load) await(n int) {
	for range n {
		<-l.answers
	}
}

func (l *load) stop() (total int) {
	l.stopped.Store(true)
	ended := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(ended)
	}()
	for {
		select {
		case <-l.answers:
			continue
		case <-ended:
		}
		break
	}
	for _, n := range l.written {
		total += n
	}
	return total
}

// Reshards under load, and restarts of the engine among them: every record is in exactly one object, each key's in order from
// parents to children, and the ledger adds up at every moment, also when the closed shards have left their stream.
func TestReshardsUnderLoad(t *testing.T) {
	n := newLocalNode(t)
	if _, err := n.backend.CreateStream(background, stream.CreateStream{Name: "s", Shards: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.engine.Create(background, request("d", "s", hints(1, 0))); err != nil {
		t.Fatal(err)
	}
	n.backend.StartTrimming()
	l := n.load()
	count := func(c int) func(*stream.Stream) stream.Reshard {
		return func(*stream.Stream) stream.Reshard { return stream.Reshard{Count: c} }
	}
	for i, change := range []func(*stream.Stream) stream.Reshard{
		func(st *stream.Stream) stream.Reshard { return splitting(st, 1) }, // 0 1! 2 3
		func(*stream.Stream) stream.Reshard {
			return stream.Reshard{Merge: &stream.MergeShards{Shard: 0, Adjacent: 2}}
		},
		count(4), count(3), count(5), count(2),
	} {
		l.await(300)
		n.reshard(change)
		if i%2 == 1 { // some shards are drained, some not, some not begun
			l.await(50)
			n.stop()
			l.await(50)
			n.start()
		}
	}
	l.await(300)
	total := l.stop()
	after := n.ledger(func(d *DeliveryLedger) bool {
		open := 0
		for _, s := range d.Shards {
			if !s.Done {
				open++
			}
		}
		return d.InFlight == 0 && open == 2
	})
	equal(t, "accepted", after.Accepted, int64(total))
	equal(t, "delivered", after.Delivered, int64(total))
	n.verify(l)

	n.ahead.Add(int64(25 * time.Hour))
	left := n.ledger(func(d *DeliveryLedger) bool { return len(d.Shards) == 2 })
	equal(t, "delivered, when closed shards have left", left.Delivered, int64(total))
	equal(t, "of those that have left", left.Retired.Delivered, int64(total)-left.Shards[0].Delivered-left.Shards[1].Delivered)
	if st, _ := n.backend.Stream("s"); len(st.Shards) != 2 {
		t.Errorf("the stream has the shards %+v", st.Shards)
	}
	n.stop()
	n.start()
	again := n.ledger(func(*DeliveryLedger) bool { return true })
	equal(t, "delivered, after a restart", again.Line, left.Line)
}

// verify finds each key's records once and in order in the objects as they sort.
func (n *localNode) verify(l *load) {
	n.t.Helper()
	got := map[string][]int{}
	for _, key := range n.sink.keys("events") {
		sequence(n.t, content(n.t, n.sink.get("events", key)), got)
	}
	for k, last := range l.written {
		numbers := got[fmt.Sprint("k", k)]
		if len(numbers) != last || !slices.IsSorted(numbers) || numbers[0] != 1 || numbers[last-1] != last {
			n.t.Errorf("key %d: %d records delivered of %d, or not in order: %.300s", k, len(numbers), last, strings.Trim(fmt.Sprint(numbers), "[]"))
		}
	}
}
