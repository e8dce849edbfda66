package catalog

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/fault"
	"millrace/internal/glue"
)

// A table's version rises with its columns, and with nothing else.
func TestTables(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	defer db.Close()
	c, err := Open(db, []byte("c/"))
	must(t, err)
	var tables Tables
	at := time.Unix(1700000000, 0).UTC()
	put := func(now time.Time, columns ...glue.Column) error {
		return c.Update(context.Background(), func(tx *Tx) error {
			return tables.Put(tx, &glue.Table{Database: "weblogs", Name: "events", Columns: columns}, now)
		})
	}
	want := func(version int64, created, updated time.Time) {
		t.Helper()
		have, err := tables.Table(c.Snapshot(), "weblogs", "events")
		if err != nil || have.Version != version || !have.Created.Equal(created) || !have.Updated.Equal(updated) {
			t.Errorf("got %+v %v", have, err)
		}
	}
	if _, err := tables.Table(c.Snapshot(), "weblogs", "events"); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
	id, name := glue.Column{Name: "id", Type: "bigint"}, glue.Column{Name: "name", Type: "string"}
	must(t, put(at, id))
	want(1, at, at)
	must(t, put(at.Add(1), id))
	want(1, at, at.Add(1))
	must(t, put(at.Add(2), id, name))
	want(2, at, at.Add(2))
	for _, columns := range [][]glue.Column{nil, {id, {Name: "ID", Type: "int"}}, {{Name: "x"}}, {{Type: "int"}}} {
		if err := put(at, columns...); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: got %v", columns, err)
		}
	}
	must(t, c.Update(context.Background(), func(tx *Tx) error {
		tables.Delete(tx, glue.Key("weblogs", "events"))
		return tables.PutDatabase(tx, "weblogs", at)
	}))
	if _, err := tables.Table(c.Snapshot(), "weblogs", "events"); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
	if ok, err := tables.HasDatabase(c.Snapshot(), "weblogs"); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}
