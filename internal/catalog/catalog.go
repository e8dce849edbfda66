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
// Where the documents lie is a [Store]'s affair: the node's local store ([Open]), or
// a topic that all nodes of a cluster follow (catalog/topic), whose changes arrive
// by [Catalog.Apply].
package catalog

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"millrace/internal/fault"
)

// MaxDocumentBytes bounds one document: an API of 300 resources with templates of 300 KB would be larger than
// the service imports (6 MB); deployments are documents of their own.
const MaxDocumentBytes = 32 << 20

// Key names a document.
type Key struct{ Kind, Name string }

// Writes are changes of documents; nil deletes.
type Writes map[Key][]byte

// Store makes changes durable.
type Store interface {
	// Update runs edit, which looks at the catalog's newest snapshot, makes what it returns durable, all or nothing, and
	// returns when the catalog has it (Apply) with the version that it was given. A store that others write to as well
	// first lets the catalog have all of their changes, and runs edit again when theirs came in between. No writes: nothing
	// happens. An error of edit is returned as it is.
	Update(ctx context.Context, edit func() (Writes, error)) (version uint64, err error)
}

// Catalog is the durable set of documents. It is safe for concurrent use.
type Catalog struct {
	store    Store
	snapshot atomic.Pointer[Snapshot]

	applying  sync.Mutex // one Apply at a time; also guards followers
	followers []*follower
}

type follower struct{ fn func(*Snapshot) }

// New makes a catalog of documents that a store has read. The map is the catalog's from then on.
func New(store Store, docs map[Key][]byte, version uint64) *Catalog {
	c := &Catalog{store: store}
	c.snapshot.Store(&Snapshot{version: version, docs: docs})
	return c
}

// Snapshot gives the documents as they are now.
func (c *Catalog) Snapshot() *Snapshot { return c.snapshot.Load() }

// Update runs fn on a transaction. When fn returns nil all its writes are made durable in one step and
// published; followers have seen the new snapshot when Update returns. When fn returns an error nothing changes
// and Update returns that error. On a catalog that is shared fn may run more than once.
func (c *Catalog) Update(ctx context.Context, fn func(*Tx) error) error {
	_, err := c.Commit(ctx, fn)
	return err
}

// Commit is Update, and tells the version of the first snapshot that has the writes.
func (c *Catalog) Commit(ctx context.Context, fn func(*Tx) error) (version uint64, err error) {
	return c.store.Update(ctx, func() (Writes, error) {
		tx := &Tx{base: c.snapshot.Load(), writes: Writes{}}
		if err := fn(tx); err != nil {
			return nil, err
		}
		for k, doc := range tx.writes {
			if len(doc) > MaxDocumentBytes {
				return nil, fault.New(fault.LimitExceeded, "catalog.Update", k.Name,
					"the definition has %d bytes; at most %d are kept", len(doc), MaxDocumentBytes)
			}
		}
		return tx.writes, nil
	})
}

// Apply publishes changes that are durable, and tells followers. Stores call it, with rising versions.
func (c *Catalog) Apply(writes Writes, version uint64) {
	c.applying.Lock()
	defer c.applying.Unlock()
	docs := maps.Clone(c.snapshot.Load().docs)
	for k, doc := range writes {
		if doc == nil {
			delete(docs, k)
		} else {
			docs[k] = doc
		}
	}
	next := &Snapshot{version: version, docs: docs}
	c.snapshot.Store(next)
	for _, f := range c.followers {
		f.fn(next)
	}
}

// Follow calls fn with the present snapshot now, and with every later one, in order, from within Apply. It must
// be quick and must not call Update. Stop ends it.
func (c *Catalog) Follow(fn func(*Snapshot)) (stop func()) {
	c.applying.Lock()
	defer c.applying.Unlock()
	f := &follower{fn}
	c.followers = append(c.followers, f)
	fn(c.snapshot.Load())
	return func() {
		c.applying.Lock()
		defer c.applying.Unlock()
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

// Version rises with every change. On a catalog that is shared it says the same on every node.
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
	writes Writes
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
