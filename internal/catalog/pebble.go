package catalog

import (
	"bytes"
	"context"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
)

// local is a store in the node's own database.
//
//	prefix kind 0 name  ->  document
type local struct {
	db      *pebble.DB
	prefix  []byte
	catalog *Catalog
	writing sync.Mutex // one Update at a time
}

// Open reads all documents that lie below prefix in db. The database stays the caller's.
func Open(db *pebble.DB, prefix []byte) (*Catalog, error) {
	l := &local{db: db, prefix: bytes.Clone(prefix)}
	docs := map[Key][]byte{}
	iter, err := db.NewIter(&pebble.IterOptions{LowerBound: l.prefix, UpperBound: after(l.prefix)})
	if err != nil {
		return nil, fault.New(fault.Internal, "catalog.Open", "", "%w", err)
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		key, ok := ParseKey(iter.Key()[len(l.prefix):])
		if !ok {
			iter.Close()
			return nil, fault.New(fault.Corrupt, "catalog.Open", "", "key %q is no document's", iter.Key())
		}
		docs[key] = bytes.Clone(iter.Value())
	}
	if err := iter.Close(); err != nil {
		return nil, fault.New(fault.Corrupt, "catalog.Open", "", "%w", err)
	}
	l.catalog = New(l, docs, 1)
	return l.catalog, nil
}

// Append appends the bytes that stores know a document by: kind, a zero byte, name. Kinds hold no zero byte.
func (k Key) Append(dst []byte) []byte {
	dst = append(dst, k.Kind...)
	dst = append(dst, 0)
	return append(dst, k.Name...)
}

// ParseKey reads what Append wrote.
func ParseKey(b []byte) (Key, bool) {
	kind, name, ok := bytes.Cut(b, []byte{0})
	return Key{string(kind), string(name)}, ok
}

func (l *local) storeKey(k Key) []byte { return k.Append(bytes.Clone(l.prefix)) }

func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Update implements [Store].
func (l *local) Update(ctx context.Context, edit func() (Writes, error)) (uint64, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, fault.New(fault.Unavailable, "catalog.Update", "", "%w", err)
	}
	version := l.catalog.Snapshot().Version()
	writes, err := edit()
	if err != nil || len(writes) == 0 {
		return version, err
	}
	if err := l.commit(writes); err != nil {
		return 0, err
	}
	l.catalog.Apply(writes, version+1)
	return version + 1, nil
}

func (l *local) commit(writes Writes) error {
	batch := l.db.NewBatch()
	defer batch.Close()
	for k, doc := range writes {
		var err error
		if doc == nil {
			err = batch.Delete(l.storeKey(k), nil)
		} else {
			err = batch.Set(l.storeKey(k), doc, nil)
		}
		if err != nil {
			return fault.New(fault.Unavailable, "catalog.Update", k.Name, "%w", err)
		}
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fault.New(fault.Unavailable, "catalog.Update", "", "%w", err)
	}
	return nil
}
