// Package journaltest owns the suite that every journal passes, and [Group], a
// journal in memory that several nodes share, for tests of what stands on one.
package journaltest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Cluster is one journal and the nodes that open it.
type Cluster struct {
	// Open opens the journal for one more node. The test closes nothing; cleanup is Open's.
	Open func(t *testing.T) journal.Journal
	// Several is set when more than one node may open it.
	Several bool
	// Expel makes the group believe that a node is away, without the node knowing; nil: that can't be made to happen. The
	// node comes back by wake.
	Expel func(t *testing.T, j journal.Journal) (wake func())
	// LoseAnswers makes the answers of the node's next writes get lost, until the returned function is called; nil: that
	// can't be made to happen.
	LoseAnswers func(t *testing.T, j journal.Journal) (stop func())
}

// patience bounds the wait for something that must happen: group sessions take seconds to expire on a loaded machine.
const patience = 60 * time.Second

// Run runs the suite; each test gets a journal of its own.
func Run(t *testing.T, open func(t *testing.T) *Cluster) {
	tests := []struct {
		name    string
		several bool
		run     func(*testing.T, *Cluster)
	}{
		{"WriteIsAtomic", false, writeIsAtomic},
		{"WriteIsFenced", false, writeIsFenced},
		{"OneOfManyWritersWins", false, oneOfManyWritersWins},
		{"ManyWritersOfManySlots", false, manyWriters},
		{"ChangeIsOfOneSlot", false, changeIsOfOneSlot},
		{"DeliveriesDoNotSeeOneAnother", false, deliveriesDoNotSeeOneAnother},
		{"FinalsAreWrittenOnce", false, finalsAreWrittenOnce},
		{"LostAnswers", false, lostAnswers},
		{"SlotsAreSharedAndMove", true, slotsAreSharedAndMove},
		{"WhatIsNotOwnedIsRefused", true, whatIsNotOwnedIsRefused},
		{"OthersSeeWhatIsWritten", true, othersSee},
		{"ZombieIsRefused", true, zombieIsRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t)
			if tt.several && !c.Several {
				return // a journal of one node has nobody to share with
			}
			tt.run(t, c)
		})
	}
}

// Member notes what a node owns.
type Member struct {
	mu    sync.Mutex
	owned map[int]bool
	calls int
	busy  bool
	wrong string
}

// Gained implements [journal.Member].
func (m *Member) Gained(slots []int) { m.note(slots, true) }

// Lost implements [journal.Member].
func (m *Member) Lost(slots []int) { m.note(slots, false) }

func (m *Member) note(slots []int, gained bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy {
		m.wrong = "two calls at a time"
	}
	if m.owned == nil {
		m.owned = map[int]bool{}
	}
	for _, slot := range slots {
		if m.owned[slot] == gained {
			m.wrong = fmt.Sprintf("slot %d: gained %v twice", slot, gained)
		}
		if m.owned[slot] = gained; !gained {
			delete(m.owned, slot)
		}
	}
	m.calls++
}

// Owned gives the slots of now, in order.
func (m *Member) Owned() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []int
	for slot := range m.owned {
		all = append(all, slot)
	}
	slices.Sort(all)
	return all
}

func (m *Member) check(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wrong != "" {
		t.Error(m.wrong)
	}
}

// Await polls until ok, or fails.
func Await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v", what, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// join opens the journal for a node that owns all when it is alone.
func join(t *testing.T, c *Cluster) (journal.Journal, *Member) {
	t.Helper()
	j, m := c.Open(t), new(Member)
	must(t, j.Join(t.Context(), m))
	return j, m
}

func alone(t *testing.T, c *Cluster) journal.Journal {
	t.Helper()
	j, m := join(t, c)
	Await(t, "a node alone owns all", func() bool { return len(m.Owned()) == j.Slots() })
	return j
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, err error) {
	t.Helper()
	if !fault.Is(err, fault.PreconditionFailed) {
		t.Errorf("got %v, want PreconditionFailed", err)
	}
}

// Row makes a row of stream "s".
func Row(delivery string, shard uint32, version uint64) journal.Row {
	return journal.Row{Key: journal.Key{Delivery: delivery, Shard: stream.ShardRef{Stream: "s", ID: "i", Shard: shard}}, Version: version, Writer: "w",
		Created: 1000, Start: stream.NewSequenceNumber(1000, shard, 0), Checkpoint: stream.NewSequenceNumber(1000, shard, version)}
}

// Manifest makes a manifest of a row.
func Manifest(r journal.Row, ordinal uint64) *journal.Manifest {
	first := stream.NewSequenceNumber(1000, r.Shard.Shard, ordinal)
	return &journal.Manifest{Ordinal: ordinal, Key: r.Key, Delivery: "name", Version: "1", Next: first.Next(), Through: first.Next(),
		Planned: time.Unix(1785936001, 0).UTC(), Parts: []journal.Part{{ID: fmt.Sprint("m", ordinal), Bucket: "b", ObjectKey: "k",
			First: first, Last: first, Records: 1, Outputs: 1, Bytes: 3, Compression: journal.Gzip, Level: 1,
			Delimiter: []byte("\n"), Stamp: time.UnixMilli(1785936000123).UTC()}}}
}

func writeIsAtomic(t *testing.T, c *Cluster) {
	j := alone(t, c)
	r := Row("d", 7, 1)
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{r}}))
	r.Version = 2
	m9, m10 := Manifest(r, 9), Manifest(r, 10)
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{r}, Plan: []*journal.Manifest{m10, m9}}))
	rows, manifests, err := j.Load(t.Context(), "d")
	must(t, err)
	if !reflect.DeepEqual(rows, []journal.Row{r}) || !reflect.DeepEqual(manifests, []*journal.Manifest{m9, m10}) {
		t.Errorf("rows %+v, manifests %+v", rows, manifests)
	}
	amended := *m10
	amended.Expired = 7
	r.Version, r.Counts.Delivered = 3, 1
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{r}, Remove: []*journal.Manifest{m9}, Plan: []*journal.Manifest{&amended}}))
	one, ok, manifests, err := j.LoadShard(t.Context(), r.Key)
	if err != nil || !ok || !reflect.DeepEqual(one, r) || !reflect.DeepEqual(manifests, []*journal.Manifest{&amended}) {
		t.Errorf("shard %+v %v %v", one, manifests, err)
	}
	sums := journal.Row{Key: r.Sums(j.Slots()), Version: 1, Counts: r.Counts}
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{sums}, Drop: []journal.Row{r}, Remove: []*journal.Manifest{&amended}}))
	rows, manifests, err = j.Load(t.Context(), "d")
	if err != nil || !reflect.DeepEqual(rows, []journal.Row{sums}) || len(manifests) != 0 {
		t.Errorf("rows %+v, manifests %+v, %v", rows, manifests, err)
	}
	if _, ok, _, err := j.LoadShard(t.Context(), r.Key); ok || err != nil {
		t.Errorf("a dropped row is there, %v", err)
	}
}

func writeIsFenced(t *testing.T, c *Cluster) {
	j := alone(t, c)
	r, n := Row("d", 1, 1), uint32(j.Slots())
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{r}}))
	stale := func(change *journal.Change) {
		t.Helper()
		refused(t, j.Write(t.Context(), change))
	}
	stale(&journal.Change{Rows: []journal.Row{r}}) // it exists
	stale(&journal.Change{Rows: []journal.Row{Row("d", 1, 3)}})
	stale(&journal.Change{Rows: []journal.Row{Row("d", 2, 2)}}) // it does not exist
	stale(&journal.Change{Drop: []journal.Row{Row("d", 1, 2)}})
	// One stale row of several: nothing is written.
	stale(&journal.Change{Rows: []journal.Row{Row("d", 1+n, 1), r}, Plan: []*journal.Manifest{Manifest(r, 1)}})
	rows, manifests, err := j.Load(t.Context(), "d")
	if err != nil || len(rows) != 1 || len(manifests) != 0 {
		t.Errorf("rows %+v, manifests %+v, %v", rows, manifests, err)
	}
}

// Of many writers that saw the same version one wins.
func oneOfManyWritersWins(t *testing.T, c *Cluster) {
	j := alone(t, c)
	n := uint32(j.Slots())
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{Row("d", 1, 1), Row("d", 1+n, 1)}}))
	var wait sync.WaitGroup
	wins := make(chan int, 100)
	for i := range 100 {
		wait.Go(func() {
			change := &journal.Change{Rows: []journal.Row{Row("d", 1, 2), Row("d", 1+n, 2)}}
			if i%2 == 0 {
				slices.Reverse(change.Rows)
			}
			if j.Write(t.Context(), change) == nil {
				wins <- i
			}
		})
	}
	wait.Wait()
	if len(wins) != 1 {
		t.Errorf("%d writers won", len(wins))
	}
}

// Writers of different rows do not get into one another's way, nor is anything of theirs lost.
func manyWriters(t *testing.T, c *Cluster) {
	j := alone(t, c)
	var wait sync.WaitGroup
	const rounds = 10
	for shard := range uint32(32) {
		wait.Go(func() {
			for version := range uint64(rounds) {
				r := Row("d", shard, version+1)
				change := &journal.Change{Rows: []journal.Row{r}, Plan: []*journal.Manifest{Manifest(r, version+1)}}
				if version > 0 {
					change.Remove = []*journal.Manifest{Manifest(r, version)}
				}
				if err := j.Write(t.Context(), change); err != nil {
					t.Errorf("shard %d: %v", shard, err)
				}
			}
		})
	}
	wait.Wait()
	rows, manifests, err := j.Load(t.Context(), "d")
	if err != nil || len(rows) != 32 || len(manifests) != 32 {
		t.Fatalf("%d rows, %d manifests, %v", len(rows), len(manifests), err)
	}
	for i := range rows {
		if rows[i].Version != rounds || manifests[i].Ordinal != rounds {
			t.Errorf("row %+v, manifest %+v", rows[i], manifests[i])
		}
	}
}

func changeIsOfOneSlot(t *testing.T, c *Cluster) {
	j := alone(t, c)
	f := func(change *journal.Change) {
		t.Helper()
		if err := j.Write(t.Context(), change); !fault.Is(err, fault.Internal) {
			t.Errorf("got %v", err)
		}
	}
	f(&journal.Change{})
	if j.Slots() > 1 {
		f(&journal.Change{Rows: []journal.Row{Row("d", 1, 1), Row("d", 2, 1)}})
		f(&journal.Change{Rows: []journal.Row{Row("d", 1, 1)}, Remove: []*journal.Manifest{Manifest(Row("d", 2, 1), 1)}})
		f(&journal.Change{Rows: []journal.Row{Row("d", 1, 1)}, Final: &journal.Final{ID: "d"}})
	}
	if rows, _, err := j.Load(t.Context(), "d"); err != nil || len(rows) != 0 {
		t.Errorf("rows %v, %v", rows, err)
	}
}

func deliveriesDoNotSeeOneAnother(t *testing.T, c *Cluster) {
	j := alone(t, c)
	for _, d := range []string{"d", "d1", "e"} {
		r := Row(d, 1, 1)
		must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{r}, Plan: []*journal.Manifest{Manifest(r, 1)}}))
	}
	r := Row("d", 1, 1)
	must(t, j.Write(t.Context(), &journal.Change{Drop: []journal.Row{r}, Remove: []*journal.Manifest{Manifest(r, 1)}}))
	names, err := j.Deliveries(t.Context())
	if err != nil || !slices.Equal(names, []string{"d1", "e"}) {
		t.Errorf("deliveries %q, %v", names, err)
	}
	rows, manifests, err := j.Load(t.Context(), "d")
	if err != nil || len(rows) != 0 || len(manifests) != 0 {
		t.Errorf("rows %v, manifests %v, %v", rows, manifests, err)
	}
	rows, manifests, err = j.Load(t.Context(), "d1")
	if err != nil || len(rows) != 1 || len(manifests) != 1 {
		t.Errorf("rows %v, manifests %v, %v", rows, manifests, err)
	}
}

func finalsAreWrittenOnce(t *testing.T, c *Cluster) {
	j := alone(t, c)
	key := journal.Key{Delivery: "d"}
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{{Key: key, Version: 1, Done: true}}}))
	f := journal.Final{ID: "d", Name: "n", Deleted: time.Unix(9, 0).UTC(), Accepted: 3, Counts: journal.Counts{Delivered: 3}}
	must(t, j.Write(t.Context(), &journal.Change{Drop: []journal.Row{{Key: key, Version: 1}}, Final: &f}))
	other := f
	other.Accepted = 4
	refused(t, j.Write(t.Context(), &journal.Change{Final: &other}))
	have, ok, err := j.Final(t.Context(), "d")
	if err != nil || !ok || !reflect.DeepEqual(have, f) {
		t.Errorf("final %+v %v %v", have, ok, err)
	}
	if _, ok, err := j.Final(t.Context(), "other"); ok || err != nil {
		t.Errorf("a final of another, %v", err)
	}
	early := journal.Final{ID: "e", Deleted: time.Unix(8, 0).UTC()}
	must(t, j.Write(t.Context(), &journal.Change{Final: &early}))
	all, err := j.Finals(t.Context())
	if err != nil || !reflect.DeepEqual(all, []journal.Final{early, f}) {
		t.Errorf("finals %+v, %v", all, err)
	}
	if names, err := j.Deliveries(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("rows are left of %q, %v", names, err)
	}
}

// After a write whose answer was lost, what is read tells whether it happened, and that is what lasts.
func lostAnswers(t *testing.T, c *Cluster) {
	if c.LoseAnswers == nil {
		return
	}
	j := alone(t, c)
	version := uint64(1)
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{Row("d", 1, version)}}))
	for range 3 {
		stop := c.LoseAnswers(t, j)
		short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		err := j.Write(short, &journal.Change{Rows: []journal.Row{Row("d", 1, version+1)}})
		cancel()
		stop()
		if err == nil || fault.Is(err, fault.PreconditionFailed) {
			t.Fatalf("the answer was not lost: %v", err)
		}
		var row journal.Row
		Await(t, "the row can be read", func() bool {
			row, _, _, err = j.LoadShard(t.Context(), Row("d", 1, 1).Key)
			return err == nil
		})
		if row.Version != version && row.Version != version+1 {
			t.Fatalf("version %d after %d", row.Version, version)
		}
		version = row.Version + 1
		must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{Row("d", 1, version)}}))
	}
}

func slotsAreSharedAndMove(t *testing.T, c *Cluster) {
	j := alone(t, c)
	slots := j.Slots()
	for shard := range uint32(slots) {
		r := Row("d", shard, 1)
		must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{r}, Plan: []*journal.Manifest{Manifest(r, 1)}}))
	}
	k, mk := join(t, c)
	Await(t, "the second node gains about half", func() bool { return len(mk.Owned()) >= slots/2 })
	for shard := range uint32(slots) {
		r := Row("d", shard, 2)
		writer, other := k, j
		if !slices.Contains(mk.Owned(), journal.SlotOf(r.Key, slots)) {
			writer, other = j, k
		}
		have, ok, manifests, err := writer.LoadShard(t.Context(), r.Key)
		if err != nil || !ok || have.Version != 1 || len(manifests) != 1 {
			t.Fatalf("shard %d: %+v %v %v", shard, have, manifests, err)
		}
		refused(t, other.Write(t.Context(), &journal.Change{Rows: []journal.Row{r}}))
		must(t, writer.Write(t.Context(), &journal.Change{Rows: []journal.Row{r}}))
	}
	must(t, j.Leave(t.Context()))
	Await(t, "the second node owns all", func() bool { return len(mk.Owned()) == slots })
	for shard := range uint32(slots) {
		have, _, _, err := k.LoadShard(t.Context(), Row("d", shard, 1).Key)
		if err != nil || have.Version != 2 {
			t.Errorf("shard %d: %+v %v", shard, have, err)
		}
		must(t, k.Write(t.Context(), &journal.Change{Rows: []journal.Row{Row("d", shard, 3)}}))
	}
	refused(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{Row("d", 0, 4)}}))
	mk.check(t)
}

func whatIsNotOwnedIsRefused(t *testing.T, c *Cluster) {
	j := c.Open(t)
	refused(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{Row("d", 1, 1)}}))
	m := new(Member)
	must(t, j.Join(t.Context(), m))
	Await(t, "a node alone owns all", func() bool { return len(m.Owned()) == j.Slots() })
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{Row("d", 1, 1)}}))
}

func othersSee(t *testing.T, c *Cluster) {
	j, reader := alone(t, c), c.Open(t)
	for version := range uint64(20) {
		r := Row("d", 1, version+1)
		must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{r}, Plan: []*journal.Manifest{Manifest(r, version+1)}}))
	}
	must(t, j.Write(t.Context(), &journal.Change{Final: &journal.Final{ID: "gone"}}))
	var last uint64
	Await(t, "the other node sees it", func() bool {
		rows, manifests, err := reader.Load(t.Context(), "d")
		must(t, err)
		if len(rows) == 0 {
			return false
		}
		if rows[0].Version < last || len(manifests) != int(rows[0].Version) {
			t.Fatalf("version %d after %d, with %d manifests", rows[0].Version, last, len(manifests))
		}
		last = rows[0].Version
		_, ok, err := reader.Final(t.Context(), "gone")
		must(t, err)
		return last == 20 && ok
	})
}

// A node that was away is refused, told, and may come back.
func zombieIsRefused(t *testing.T, c *Cluster) {
	if c.Expel == nil {
		return
	}
	j, mj := join(t, c)
	slots := j.Slots()
	Await(t, "a node alone owns all", func() bool { return len(mj.Owned()) == slots })
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{Row("d", 1, 1)}}))
	k, mk := join(t, c)
	Await(t, "both own some", func() bool { return len(mk.Owned()) > 0 && len(mj.Owned())+len(mk.Owned()) == slots })
	wake := c.Expel(t, j)
	Await(t, "the other node owns all", func() bool { return len(mk.Owned()) == slots })
	must(t, k.Write(t.Context(), &journal.Change{Rows: []journal.Row{Row("d", 1, 2)}}))
	for shard := range uint32(slots) { // a zombie's view may be old: the version alone does not help it
		if err := j.Write(t.Context(), &journal.Change{Rows: []journal.Row{Row("z", shard, 1)}}); err == nil {
			t.Errorf("a zombie wrote slot %d", journal.SlotOf(Row("z", shard, 1).Key, slots))
		}
	}
	wake()
	Await(t, "the node is back", func() bool { return len(mj.Owned()) > 0 && len(mj.Owned())+len(mk.Owned()) == slots })
	for shard := range uint32(slots) {
		r := Row("d", shard, 1)
		if !slices.Contains(mj.Owned(), journal.SlotOf(r.Key, slots)) {
			continue
		}
		have, _, _, err := j.LoadShard(t.Context(), r.Key)
		must(t, err)
		if shard == 1 && have.Version != 2 {
			t.Errorf("row %+v", have)
		}
		r.Version = have.Version + 1
		must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{r}}))
	}
	mj.check(t)
	mk.check(t)
}
