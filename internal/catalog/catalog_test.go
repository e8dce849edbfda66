package catalog

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/fault"
)

type doc struct{ N int }

func openDB(t *testing.T, fs vfs.FS) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestUpdateIsAtomicAndDurable(t *testing.T) {
	fs := vfs.NewMem()
	db := openDB(t, fs)
	c, err := Open(db, []byte("c/"))
	if err != nil {
		t.Fatal(err)
	}
	docs := NewCollection[doc]("doc")
	ctx := context.Background()

	before := c.Snapshot()
	if err := c.Update(ctx, func(tx *Tx) error {
		if err := docs.Put(tx, "b", &doc{2}); err != nil {
			return err
		}
		if err := docs.Put(tx, "a", &doc{1}); err != nil {
			return err
		}
		if got := docs.Names(tx); !reflect.DeepEqual(got, []string{"a", "b"}) {
			t.Errorf("a transaction must see its own writes, got %v", got)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(docs.Names(before)) != 0 {
		t.Error("a snapshot must not change")
	}

	refused := errors.New("refused")
	if err := c.Update(ctx, func(tx *Tx) error { docs.Delete(tx, "a"); return refused }); err != refused {
		t.Errorf("got %v", err)
	}
	if _, ok, _ := docs.Get(c.Snapshot(), "a"); !ok {
		t.Error("a refused update must change nothing")
	}
	if err := c.Update(ctx, func(tx *Tx) error {
		docs.Delete(tx, "b")
		if _, ok, _ := docs.Get(tx, "b"); ok {
			t.Error("deleted in this transaction")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openDB(t, fs)
	defer db.Close()
	c, err = Open(db, []byte("c/"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := docs.All(c.Snapshot())
	if err != nil || len(all) != 1 || all[0].N != 1 {
		t.Errorf("after reopening: %v %v", all, err)
	}
}

func TestFollowersSeeEverySnapshotInOrder(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	defer db.Close()
	c, err := Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	docs := NewCollection[doc]("doc")
	var seen []int
	stop := c.Follow(func(s *Snapshot) { seen = append(seen, len(docs.Names(s))) })
	put := func(name string) {
		if err := c.Update(context.Background(), func(tx *Tx) error { return docs.Put(tx, name, &doc{}) }); err != nil {
			t.Fatal(err)
		}
	}
	put("a")
	put("b")
	stop()
	put("c")
	if !reflect.DeepEqual(seen, []int{0, 1, 2}) {
		t.Errorf("followers saw %v documents", seen)
	}
}

func TestDamagedDocumentIsNamed(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	defer db.Close()
	c, _ := Open(db, nil)
	if err := c.Update(context.Background(), func(tx *Tx) error { tx.Put(Key{"doc", "x"}, []byte("{")); return nil }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := NewCollection[doc]("doc").Get(c.Snapshot(), "x"); !fault.Is(err, fault.Corrupt) {
		t.Errorf("got %v", err)
	}
}
