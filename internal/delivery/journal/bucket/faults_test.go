package bucket_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/journal/bucket"
	"millrace/internal/delivery/journal/journaltest"
	"millrace/internal/fault"
	"millrace/internal/object"
	"millrace/internal/object/objecttest"
	"millrace/internal/peers/peerstest"
)

// alone gives a node that owns all slots.
func alone(t *testing.T, shared object.Store) *node {
	t.Helper()
	n, m := open(t, shared, "a"), new(journaltest.Member)
	if err := n.Join(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	journaltest.Await(t, "a node alone owns all", func() bool { return len(m.Owned()) == n.Slots() })
	return n
}

// key gives the object of the slot of a row.
func slotKey(r journal.Row) string {
	return fmt.Sprintf("%sjournal/slots/%02d", peerstest.Prefix, journal.SlotOf(r.Key, bucket.Slots))
}

// Writes of one slot that come together share a put.
func TestWritesShareAPut(t *testing.T) {
	t.Parallel()
	n := alone(t, peerstest.Dir(t)())
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var puts atomic.Int64
	n.at.Store.Break(func(c objecttest.Call) (bool, error) {
		if c.Op == "Put" && isSlot(c) {
			puts.Add(1)
			once.Do(func() { close(entered); <-leave })
		}
		return true, nil
	})
	var wait sync.WaitGroup
	write := func(i uint32) {
		wait.Go(func() {
			if err := n.Write(t.Context(), &journal.Change{Rows: []journal.Row{journaltest.Row("d", i*bucket.Slots, 1)}}); err != nil {
				t.Error(err)
			}
		})
	}
	write(0)
	<-entered
	for i := range uint32(50) {
		write(i + 1)
	}
	journaltest.Await(t, "all wait", func() bool {
		return bucket.Waiting(n.Journal, journal.SlotOf(journaltest.Row("d", 0, 1).Key, bucket.Slots)) == 50
	})
	close(leave)
	wait.Wait()
	if got := puts.Load(); got != 2 {
		t.Errorf("51 writes took %d puts", got)
	}
}

// Whatever answers get lost, a write that succeeded has happened once, and one that was refused has not.
func TestRandomLosses(t *testing.T) {
	t.Parallel()
	for name, stores := range peerstest.Stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shared := stores(t)
			n := alone(t, shared())
			var calls atomic.Int64
			n.at.Store.Break(func(c objecttest.Call) (bool, error) {
				if !isSlot(c) || c.Op == "List" {
					return true, nil
				}
				switch k := calls.Add(1); {
				case k%5 == 0:
					return true, errLost
				case k%5 == 1:
					return false, errLost
				}
				return true, nil
			})
			var wait sync.WaitGroup
			for shard := range uint32(8) {
				wait.Go(func() {
					for version := range uint64(8) {
						if err := n.Write(t.Context(), &journal.Change{Rows: []journal.Row{journaltest.Row("d", shard, version+1)}}); err != nil {
							t.Errorf("shard %d: %v", shard, err)
							return
						}
					}
				})
			}
			wait.Wait()
			n.at.Store.Break(nil)
			reader := open(t, shared(), "reader")
			rows, _, err := reader.Load(t.Context(), "d")
			if err != nil || len(rows) != 8 {
				t.Fatalf("%d rows, %v", len(rows), err)
			}
			for _, r := range rows {
				if r.Version != 8 {
					t.Errorf("row %+v", r)
				}
			}
		})
	}
}

// While the store is down writes end as Unavailable and what was written can be read; then all goes on, by the same owner.
func TestStoreIsDownForAWhile(t *testing.T) {
	t.Parallel()
	n := alone(t, peerstest.Dir(t)())
	write := func(shard uint32, version uint64, patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return n.Write(ctx, &journal.Change{Rows: []journal.Row{journaltest.Row("d", shard, version)}})
	}
	for shard := range uint32(2) {
		if err := write(shard, 1, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	n.at.Store.Break(func(objecttest.Call) (bool, error) { return false, errLost })
	if err := write(0, 2, time.Second); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
	if err := write(bucket.Slots, 1, time.Second); !fault.Is(err, fault.Unavailable) { // waits behind that one
		t.Errorf("got %v", err)
	}
	row, ok, _, err := n.LoadShard(t.Context(), journaltest.Row("d", 1, 1).Key)
	if err != nil || !ok || row.Version != 1 {
		t.Errorf("another slot: %+v, %v", row, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, _, err := n.LoadShard(short, journaltest.Row("d", 0, 1).Key); !fault.Is(err, fault.Unavailable) {
		t.Errorf("what may yet happen was read: %v", err)
	}
	n.at.Store.Break(nil)
	row, _, _, err = n.LoadShard(t.Context(), journaltest.Row("d", 0, 1).Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(0, row.Version+1, time.Minute); err != nil {
		t.Error(err)
	}
	// The one that never began has not happened.
	if _, ok, _, err := n.LoadShard(t.Context(), journaltest.Row("d", bucket.Slots, 1).Key); ok || err != nil {
		t.Errorf("it is there, %v", err)
	}
}

// A put that arrives after its owner has given up is refused, or was there when the next state was read.
func TestLatePut(t *testing.T) {
	t.Parallel()
	shared := peerstest.Dir(t)()
	n := alone(t, shared)
	row := journaltest.Row("d", 1, 1)
	if err := n.Write(t.Context(), &journal.Change{Rows: []journal.Row{row}}); err != nil {
		t.Fatal(err)
	}
	before, err := shared.Head(t.Context(), peerstest.Bucket, slotKey(row))
	if err != nil {
		t.Fatal(err)
	}
	row.Version = 2
	if err := n.Write(t.Context(), &journal.Change{Rows: []journal.Row{row}}); err != nil {
		t.Fatal(err)
	}
	text := "a put that was under way before"
	_, err = shared.Put(t.Context(), peerstest.Bucket, slotKey(row), strings.NewReader(text), int64(len(text)),
		object.PutOptions{Conditions: object.Conditions{IfMatch: before.ETag}})
	if !fault.Is(err, fault.PreconditionFailed) {
		t.Errorf("it was taken: %v", err)
	}
}

// A process that dies without a word is succeeded at once by the next one of its name, and after the lease by others.
func TestDeadOwnerIsSucceeded(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "b"} {
		t.Run("by "+name, func(t *testing.T) {
			t.Parallel()
			shared := peerstest.Dir(t)()
			dead := alone(t, shared)
			row := journaltest.Row("d", 1, 1)
			if err := dead.Write(t.Context(), &journal.Change{Rows: []journal.Row{row}, Plan: []*journal.Manifest{journaltest.Manifest(row, 1)}}); err != nil {
				t.Fatal(err)
			}
			dead.at.Store.Break(func(objecttest.Call) (bool, error) { return false, errLost })
			next, m := open(t, shared, name), new(journaltest.Member)
			if err := next.Join(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			journaltest.Await(t, "it owns all", func() bool { return len(m.Owned()) == next.Slots() })
			have, ok, manifests, err := next.LoadShard(t.Context(), row.Key)
			if err != nil || !ok || have.Version != 1 || len(manifests) != 1 {
				t.Errorf("%+v, %d manifests, %v", have, len(manifests), err)
			}
		})
	}
}

// An owner that writes nothing learns, too, that its slots were taken.
func TestIdleZombieIsTold(t *testing.T) {
	t.Parallel()
	shared := peerstest.Dir(t)()
	a, ma := open(t, shared, "a"), new(journaltest.Member)
	b, mb := open(t, shared, "b"), new(journaltest.Member)
	for n, m := range map[*node]*journaltest.Member{a: ma, b: mb} {
		if err := n.Join(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	journaltest.Await(t, "both own some", func() bool { return len(ma.Owned()) > 0 && len(ma.Owned())+len(mb.Owned()) == a.Slots() })
	had := ma.Owned()
	var lost atomic.Bool
	a.at.Store.Break(func(objecttest.Call) (bool, error) { return false, errLost })
	journaltest.Await(t, "b owns all", func() bool { return len(mb.Owned()) == a.Slots() })
	a.at.Store.Break(func(c objecttest.Call) (bool, error) {
		lost.Store(lost.Load() || len(ma.Owned()) == 0)
		return true, nil
	})
	journaltest.Await(t, "a was told", func() bool { return lost.Load() })
	journaltest.Await(t, "a is back", func() bool { return slices.Equal(ma.Owned(), had) && len(ma.Owned())+len(mb.Owned()) == a.Slots() })
}

// An object that is gone is named, and nothing is made in its place; brought back, all goes on.
func TestLostSlotIsNamed(t *testing.T) {
	t.Parallel()
	shared := peerstest.Dir(t)()
	n := alone(t, shared)
	row := journaltest.Row("d", 1, 1)
	if err := n.Write(t.Context(), &journal.Change{Rows: []journal.Row{row}}); err != nil {
		t.Fatal(err)
	}
	o, err := shared.Get(t.Context(), peerstest.Bucket, slotKey(row))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	if err := shared.Delete(t.Context(), peerstest.Bucket, slotKey(row)); err != nil {
		t.Fatal(err)
	}
	row.Version = 2
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := n.Write(short, &journal.Change{Rows: []journal.Row{row}}); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "the object of a slot is gone") {
		t.Errorf("a write: %v", err)
	}
	reader := open(t, shared, "reader")
	if _, _, err := reader.Load(t.Context(), "d"); !fault.Is(err, fault.Corrupt) {
		t.Errorf("a reader: %v", err)
	}
	if _, err := shared.Put(t.Context(), peerstest.Bucket, slotKey(row), o.Body, o.Size, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	have, _, _, err := n.LoadShard(t.Context(), row.Key)
	if err != nil || have.Version != 2 {
		t.Errorf("brought back: %+v, %v", have, err)
	}
}
