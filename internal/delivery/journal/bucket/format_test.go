package bucket

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/journal/journaltest"
	"millrace/internal/fault"
)

var rewrite = flag.Bool("rewrite", false, "write testdata of the present format version")

// sample is a slot with some of everything.
func sample(t testing.TB) *state {
	t.Helper()
	row := journaltest.Row("d", 3, 1)
	final := journal.Final{ID: "gone", Name: "n", Deleted: time.Unix(9, 0).UTC(), Accepted: 1, Counts: journal.Counts{Delivered: 1}}
	s := newState(7, "first").handTo("a/1", "second")
	for _, change := range []*journal.Change{
		{Rows: []journal.Row{row, journaltest.Row("e", 3, 1)}, Plan: []*journal.Manifest{journaltest.Manifest(row, 2), journaltest.Manifest(row, 1)}, Final: &final},
		{Rows: []journal.Row{journaltest.Row("d", 3, 2)}, Remove: []*journal.Manifest{journaltest.Manifest(row, 1)}},
	} {
		w, err := newWrite(change)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.apply(s, nil); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestSlotIsReadAsItWasWritten(t *testing.T) {
	s := sample(t)
	have, err := decode(s.encode(), "here")
	if err != nil {
		t.Fatal(err)
	}
	have.head.Rows, have.head.Manifests, have.head.Finals = 0, 0, 0 // those of s are counted when it is encoded
	if !reflect.DeepEqual(have, s) {
		t.Errorf("got %+v, want %+v", have, s)
	}
	if !bytes.Equal(have.encode(), s.encode()) {
		t.Error("it is encoded differently")
	}
}

// What earlier versions of the format have written stays readable, and is written again as it was: testdata is never rewritten
// for a change, only added to.
func TestEarlierVersionsAreReadable(t *testing.T) {
	for _, file := range []string{"slot.v1", "slot.v2"} { // slots with manifests of version 1 and 2
		name := filepath.Join("testdata", file)
		if *rewrite && file == "slot.v2" {
			if err := os.WriteFile(name, sample(t).encode(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		have, err := decode(text, name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have.encode(), text) {
			t.Errorf("%s is encoded differently", file)
		}
		want := sample(t)
		for key, items := range want.manifests {
			for i := range items {
				if !reflect.DeepEqual(have.manifests[key][i].value, items[i].value) {
					t.Errorf("%s: got %+v, want %+v", file, have.manifests[key][i].value, items[i].value)
				}
			}
		}
		if len(have.rows) != len(want.rows) || len(have.finals) != len(want.finals) {
			t.Errorf("%s: got %+v", file, have)
		}
	}
}

// Every flipped bit and every cut is noticed, and an unknown version is named.
func TestDamageIsCorrupt(t *testing.T) {
	text := sample(t).encode()
	for bit := range len(text) * 8 {
		damaged := bytes.Clone(text)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, err := decode(damaged, "here"); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("bit %d: %v", bit, err)
		}
	}
	for n := range len(text) {
		if _, err := decode(text[:n], "here"); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	text[3] = 9
	if _, err := decode(text, "here"); err == nil || !strings.Contains(err.Error(), "format version 9 is unknown") {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample(f).encode())
	f.Add(newState(0, "p").encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := decode(b, "fuzz"); err != nil && !fault.Is(err, fault.Corrupt) {
			t.Errorf("got %v", err)
		}
	})
}

// What a look at the object tells about a put, whoever has written since.
func TestFate(t *testing.T) {
	base := newState(0, "base")
	base.head.Owner = "a/1"
	put := base.next("put")
	other := base.next("other")
	f := func(what string, have *state, want fate) {
		t.Helper()
		if got := fateOf(&base.head, &put.head, &have.head); got != want {
			t.Errorf("%s: got %d, want %d", what, got, want)
		}
	}
	f("nothing has changed", base, notYet)
	f("it is there", put, happened)
	f("another put is there", other, never)
	f("claimed before it", base.handTo("b/1", "claim"), never)
	f("claimed before it, and written since", base.handTo("b/1", "claim").next("x").next("y"), never)
	f("claimed after it", put.handTo("b/1", "claim"), happened)
	f("claimed after it, and written since", put.handTo("b/1", "claim").next("x").next("y"), happened)
	f("claimed after another", other.handTo("b/1", "claim"), never)
	f("claimed twice", put.handTo("b/1", "claim").next("x").handTo("c/1", "claim"), unknown)
}

// All who see the same nodes agree; each has about as many, and few move when one comes or goes.
func TestShare(t *testing.T) {
	var nodes []string
	before := share(nodes, Slots)
	for n := range 20 {
		nodes = append(nodes, fmt.Sprint("node-", n))
		after := share(nodes, Slots)
		has, moved := map[string]int{}, 0
		for slot := range after {
			has[after[slot]]++
			if n > 0 && after[slot] != before[slot] && after[slot] != nodes[n] {
				moved++
			}
		}
		for _, node := range nodes {
			if most := (Slots + n) / (n + 1); has[node] > most {
				t.Errorf("of %d nodes %s has %d slots", n+1, node, has[node])
			}
		}
		if has[""] > 0 || moved > Slots/2 {
			t.Errorf("with %d nodes %d slots are nobody's, %d moved between old nodes", n+1, has[""], moved)
		}
		before = after
	}
}

// A slot does not grow beyond its bound, and still shrinks at it.
func TestSlotIsBounded(t *testing.T) {
	s := newState(0, "p")
	apply := func(change *journal.Change) error {
		w, err := newWrite(change)
		if err != nil {
			t.Fatal(err)
		}
		return w.apply(s, nil)
	}
	row := journaltest.Row("d", 1, 1)
	row.Writer = strings.Repeat("w", maxSlotBytes/5)
	var err error
	n := 0
	for ; err == nil; n++ {
		row.Shard.Shard = uint32(n)
		err = apply(&journal.Change{Rows: []journal.Row{row}})
	}
	if !fault.Is(err, fault.LimitExceeded) || n != 5 || len(s.rows) != 4 || len(s.encode()) > maxSlotBytes {
		t.Fatalf("%v after %d rows, %d bytes", err, n, len(s.encode()))
	}
	row.Shard.Shard, row.Version = 0, 2
	if err := apply(&journal.Change{Rows: []journal.Row{row}}); err != nil {
		t.Errorf("a row can't be written again: %v", err)
	}
	if err := apply(&journal.Change{Drop: []journal.Row{row}}); err != nil {
		t.Errorf("a row can't be dropped: %v", err)
	}
	sum := 0
	for _, r := range s.rows {
		sum += itemBytes + len(r.sealed)
	}
	if sum != s.bytes {
		t.Errorf("counted %d bytes, there are %d", s.bytes, sum)
	}
}

// The newest final counts are kept, over all slots together.
func TestFinalsAreForgotten(t *testing.T) {
	var slots []*state
	for i := range 4 {
		slots = append(slots, newState(i, "p"))
	}
	for n := range journal.MaxFinals + 500 {
		f := journal.Final{ID: fmt.Sprintf("f%04d", n), Deleted: time.Unix(int64(n/3), 0).UTC()}
		w, err := newWrite(&journal.Change{Final: &f})
		if err != nil {
			t.Fatal(err)
		}
		var oldest *journal.Final
		if known := newest(slots); len(known) == journal.MaxFinals {
			oldest = &known[0]
		}
		if err := w.apply(slots[n%4], oldest); err != nil {
			t.Fatal(err)
		}
	}
	all := newest(slots)
	stored := 0
	for _, s := range slots {
		stored += len(s.finals)
	}
	if len(all) != journal.MaxFinals || all[0].ID != "f0500" || all[len(all)-1].ID != "f1499" || stored > journal.MaxFinals+len(slots) {
		t.Errorf("%d from %s to %s, %d stored", len(all), all[0].ID, all[len(all)-1].ID, stored)
	}
	s := newState(0, "p") // alone, and without a view of the others
	for n := range journal.MaxFinals + 10 {
		w, _ := newWrite(&journal.Change{Final: &journal.Final{ID: fmt.Sprintf("f%04d", n), Deleted: time.Unix(int64(n), 0)}})
		if err := w.apply(s, nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.finals) != journal.MaxFinals || s.finals["f0009"].sealed != nil {
		t.Errorf("%d are kept", len(s.finals))
	}
}
