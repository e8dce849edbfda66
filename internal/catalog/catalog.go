// Package catalog keeps the definitions of resources (REST APIs, delivery streams,
// applied templates) durably, and publishes them as immutable snapshots.
//
//	Update(tx) ──> one durable write ──> new Snapshot ──> followers
//
// A document is JSON under a kind and a name. Readers take a [Snapshot] and need
// no lock; a writer runs in [Catalog.Update], sees its own writes, and either all
// of them are durable and visible together or none is. [Collection] gives typed
// access.
//
// The node's catalog lies in its local store. A catalog shared by several nodes
// comes with the Kafka engine and keeps this surface.
package catalog

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
)

// MaxDocumentBytes bounds one document: an API of 300 resources with templates of 300 KB would be larger than
// the service imports (6 MB); deployments are documents of their own.
const MaxDocumentBytes = 32 << 20

// Key names a document.
type Key struct{ Kind, Name string }

// Catalog is the durable set of documents. It is safe for concurrent use.
type Catalog struct {
	db     *pebble.DB
	prefix []byte

	snapshot atomic.Pointer[Snapshot]

	writing   sync.Mutex // one Update at a time
	followers []*follower
}

type follower struct{ fn func(*Snapshot) }

// Open reads all documents that lie below prefix in db. The database stays the caller's.
func Open(db *pebble.DB, prefix []byte) (*Catalog, error) {
	c := &Catalog{db: db, prefix: bytes.Clone(prefix)}
	docs := map[Key][]byte{}
	iter, err := db.NewIter(&pebble.IterOptions{LowerBound: c.prefix, UpperBound: after(c.prefix)})
	if err != nil {
		return nil, fault.New(fault.Internal, "catalog.Open", "", "%w", err)
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		key, ok := c.parseKey(iter.Key())
		if !ok {
			iter.Close()
			return nil, fault.New(fault.Corrupt, "catalog.Open", "", "key %q is no document's", iter.Key())
		}
		docs[key] = bytes.Clone(iter.Value())
	}
	if err := iter.Close(); err != nil {
		return nil, fault.New(fault.Corrupt, "catalog.Open", "", "%w", err)
	}
	c.snapshot.Store(&Snapshot{version: 1, docs: docs})
	return c, nil
}

// Keys are prefix | kind | 0 | name; kinds hold no zero byte.
func (c *Catalog) storeKey(k Key) []byte {
	key := make([]byte, 0, len(c.prefix)+len(k.Kind)+1+len(k.Name))
	key = append(key, c.prefix...)
	key = append(key, k.Kind...)
	key = append(key, 0)
	return append(key, k.Name...)
}

func (c *Catalog) parseKey(b []byte) (Key, bool) {
	kind, name, ok := bytes.Cut(b[len(c.prefix):], []byte{0})
	return Key{string(kind), string(name)}, ok
}

func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Snapshot gives the documents as they are now.
func (c *Catalog) Snapshot() *Snapshot { return c.snapshot.Load() }

// Update runs fn on a transaction. When fn returns nil all its writes are made durable in one batch and
// published; followers have seen the new snapshot when Update returns. When fn returns an error nothing changes
// and Update returns that error.
func (c *Catalog) Update(ctx context.Context, fn func(*Tx) error) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Unavailable, "catalog.Update", "", "%w", err)
	}
	base := c.snapshot.Load()
	tx := &Tx{base: base, writes: map[Key][]byte{}}
	if err := fn(tx); err != nil {
		return err
	}
	if len(tx.writes) == 0 {
		return nil
	}
	if err := c.commit(tx.writes); err != nil {
		return err
	}
	docs := maps.Clone(base.docs)
	for k, doc := range tx.writes {
		if doc == nil {
			delete(docs, k)
		} else {
			docs[k] = doc
		}
	}
	next := &Snapshot{version: base.version + 1, docs: docs}
	c.snapshot.Store(next)
	for _, f := range c.followers {
		f.fn(next)
	}
	return nil
}

func (c *Catalog) commit(writes map[Key][]byte) error {
	batch := c.db.NewBatch()
	defer batch.Close()
	for k, doc := range writes {
		var err error
		switch {
		case doc == nil:
			err = batch.Delete(c.storeKey(k), nil)
		case len(doc) > MaxDocumentBytes:
			return fault.New(fault.LimitExceeded, "catalog.Update", k.Name,
				"the definition has %d bytes; at most %d are kept", len(doc), MaxDocumentBytes)
		default:
			err = batch.Set(c.storeKey(k), doc, nil)
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

// Follow calls fn with the present snapshot now, and with every later one, in order, from within Update. It must
// be quick and must not call Update. Stop ends it.
func (c *Catalog) Follow(fn func(*Snapshot)) (stop func()) {
	c.writing.Lock()
	defer c.writing.Unlock()
	f := &follower{fn}
	c.followers = append(c.followers, f)
	fn(c.snapshot.Load())
	return func() {
		c.writing.Lock()
		defer c.writing.Unlock()
		c.followers = slices.DeleteFunc(c.followers, func(g *follower) bool { return g == f })
	}
}

// View reads documents: a [Snapshot], or a [Tx] that also sees its own writes.
type View interface {
	// Get gives a document, which the caller must not change.
	Get(Key) (doc []byte, ok bool)
	// Names lists the documents of a kind in byte order.
	Names(kind string) []string
}

// Snapshot is the set of documents at one moment. It never changes.
type Snapshot struct {
	version uint64
	docs    map[Key][]byte
}

// Version rises with every update of this process.
func (s *Snapshot) Version() uint64 { return s.version }

// Get gives a document.
func (s *Snapshot) Get(k Key) ([]byte, bool) { doc, ok := s.docs[k]; return doc, ok }

// Names lists the documents of a kind.
func (s *Snapshot) Names(kind string) []string {
	var names []string
	for k := range s.docs {
		if k.Kind == kind {
			names = append(names, k.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Tx is a transaction in the making. It is used by one goroutine, within Update.
type Tx struct {
	base   *Snapshot
	writes map[Key][]byte // nil: deleted
}

// Get gives a document, as this transaction has left it.
func (t *Tx) Get(k Key) ([]byte, bool) {
	if doc, ok := t.writes[k]; ok {
		return doc, doc != nil
	}
	return t.base.Get(k)
}

// Names lists the documents of a kind, as this transaction has left them.
func (t *Tx) Names(kind string) []string {
	names := slices.DeleteFunc(t.base.Names(kind), func(name string) bool {
		doc, written := t.writes[Key{kind, name}]
		return written && doc == nil
	})
	for k, doc := range t.writes {
		if _, known := t.base.Get(k); k.Kind == kind && doc != nil && !known {
			names = append(names, k.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Put writes a document; the transaction keeps doc.
func (t *Tx) Put(k Key, doc []byte) {
	if strings.IndexByte(k.Kind, 0) >= 0 || k.Kind == "" {
		panic("catalog: bad kind " + k.Kind)
	}
	if doc == nil {
		doc = []byte{}
	}
	t.writes[k] = doc
}

// Delete removes a document; that there is none is no error.
func (t *Tx) Delete(k Key) { t.writes[k] = nil }
