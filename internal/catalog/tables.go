package catalog

import (
	"slices"
	"time"

	"millrace/internal/fault"
	"millrace/internal/glue"
)

// Tables is access to the data catalog: documents of kind "glue-database" by name, and of kind "glue-table" by
// "DATABASE.TABLE". Delivery streams take the columns of a table into their definitions; nothing refers to these documents.
type Tables struct{}

var (
	glueDatabases = NewCollection[glue.Database]("glue-database")
	glueTables    = NewCollection[glue.Table]("glue-table")
)

// MaxTables bounds the tables of all databases.
const MaxTables = 10_000

// Table reads a table.
func (Tables) Table(view View, database, name string) (*glue.Table, error) {
	t, ok, err := glueTables.Get(view, glue.Key(database, name))
	if err == nil && !ok {
		return nil, fault.New(fault.NotFound, "catalog.Table", glue.Key(database, name), "Table %s not found.", name)
	}
	return t, err
}

// Put writes a table, whose Version, Created and Updated it sets: the version rises when the columns change.
func (c Tables) Put(tx *Tx, t *glue.Table, now time.Time) error {
	if err := t.Check(); err != nil {
		return err
	}
	have, err := c.Table(tx, t.Database, t.Name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if have == nil && len(glueTables.Names(tx)) >= MaxTables {
		return fault.New(fault.LimitExceeded, "catalog.PutTable", t.Name, "there are %d tables, which is the most", MaxTables)
	}
	next := *t
	next.Version, next.Created, next.Updated = NextVersion(have, t), now, now
	if have != nil {
		next.Created = have.Created
	}
	return glueTables.Put(tx, glue.Key(t.Database, t.Name), &next)
}

// NextVersion tells the version that a table has when it is written over another one; have may be nil.
func NextVersion(have, want *glue.Table) int64 {
	switch {
	case have == nil:
		return 1
	case slices.Equal(have.Columns, want.Columns):
		return have.Version
	}
	return have.Version + 1
}

// Delete removes a table by its key.
func (Tables) Delete(tx *Tx, key string) { glueTables.Delete(tx, key) }

// HasDatabase reports whether a database is there.
func (Tables) HasDatabase(view View, name string) (bool, error) {
	_, ok, err := glueDatabases.Get(view, name)
	return ok, err
}

// PutDatabase writes a database that is not there yet.
func (c Tables) PutDatabase(tx *Tx, name string, now time.Time) error {
	if err := glue.CheckName(name); err != nil {
		return err
	}
	if ok, err := c.HasDatabase(tx, name); ok || err != nil {
		return err
	}
	return glueDatabases.Put(tx, name, &glue.Database{Name: name, Created: now})
}

// DeleteDatabase removes a database, and leaves its tables to who made them.
func (Tables) DeleteDatabase(tx *Tx, name string) { glueDatabases.Delete(tx, name) }
