// Package bucket keeps a catalog that nodes share in an object store: one object names
// all documents, and whoever replaces it on the condition that it still is the one that
// he knows has made an update.
//
//	PREFIX/catalog/root                      version, and every document: inline, or where it lies (root.go)
//	PREFIX/catalog/docs/BASE-UPDATE-NUMBER   a document that is not small
//
//	Update: root ─> edit ─> put documents ─> put the root, If-Match ─> wait for the nodes that live
//	                  ↑___________________________│ another one came first
//	Follow: HEAD of the root every [pollEvery]; when it has changed, get it and the documents that are new
//
// A put of the root whose answer was lost is made again, as it was, until it is known
// whether it has happened: the root remembers the last updates.
//
// # Documents that nobody names
//
// The object of a document belongs to the update that wrote it, and bears in its name
// the version that the update was based on. Only that update can bring the name into
// the root, and only as the version after. So what a root of a later version does not
// name is garbage for ever, whatever any clock says, and may be removed by anybody. An
// update removes what it has replaced, and each node looks for the rest at its start
// and every [sweepEvery]. A follower who finds a document gone reads the newest root.
//
// # What it costs
//
// 172,800 HEAD requests a day and node, 0.07 dollars; an update is a put, or one more
// for each document above [inlineBytes], and a get of each by every node.
package bucket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/peers"
)

// Bounds, each with its reason.
const (
	// pollEvery is how often the root is looked at: an update waits about that long for the other nodes.
	pollEvery = 500 * time.Millisecond
	// inlineBytes is the size up to which a document lies in the root: a get is dearer than that many bytes more in each.
	inlineBytes = 512
	// maxRootBytes bounds the root: what package object/s3 puts in one piece. That is 40,000 documents.
	maxRootBytes = 8 << 20
	// updateTime bounds an update as a whole, but for the wait for other nodes.
	updateTime = 20 * time.Second
	// fateTime is how long an update whose outcome is not known goes on to find it out when its caller's time is over.
	fateTime = 5 * time.Second
	// updateTries bounds how often an update begins again because another node's came first.
	updateTries = 20
	// retryPause is between two tries of what failed, and the most that updates which came second wait.
	retryPause = 200 * time.Millisecond
	// openTime bounds how long Open tries to reach the store and to read all.
	openTime = 60 * time.Second
	// callTime bounds one look at the root.
	callTime = 10 * time.Second
	// remembered is how many updates the root remembers, so that one whose answer was lost learns its fate.
	remembered = 64
	// parallel bounds the documents that are read or put at a time.
	parallel = 4
	// readTries bounds how often a root is read anew because documents that it names were removed meanwhile.
	readTries = 5
	// sweepEvery is how often a node looks for documents that nobody names.
	sweepEvery = 6 * time.Hour
)

// Options of a store. All are required.
type Options struct {
	Store  object.Store
	Bucket string
	Prefix string // "" or "name/"
	Peers  *peers.Peers
	IDs    *ids.Source
	Log    *slog.Logger
}

// appliedValue is what a node tells its peers: the version that it has published.
const appliedValue = "catalog"

// Store is the catalog's store in a bucket. It is safe for concurrent use.
type Store struct {
	opts    Options
	catalog *catalog.Catalog

	updating chan struct{} // held by an Update of this node
	reading  chan struct{} // held while the root is read or replaced; guards root

	root *root // as it was last read; of version 0 when there is none

	ctx    context.Context
	cancel context.CancelFunc
	own    sync.WaitGroup

	mu      sync.Mutex
	fresh   time.Time // the catalog was complete then
	trouble error
}

// Open reads the catalog and begins to follow it.
func Open(ctx context.Context, opts Options) (*Store, error) {
	s := &Store{opts: opts, updating: make(chan struct{}, 1), reading: make(chan struct{}, 1), root: new(root)}
	s.catalog = catalog.New(s, map[catalog.Key][]byte{}, 0)
	ctx, done := context.WithTimeout(ctx, openTime)
	defer done()
	// This node's first beat has gone out before: an update either waits for it, or is in the root that it reads now.
	for {
		err := s.Refresh(ctx)
		if err == nil {
			break
		}
		if !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Throttled) || !pause(ctx, retryPause) {
			return nil, err
		}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.own.Go(s.follow)
	return s, nil
}

// pause waits, or until ctx ends: then it is false.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Catalog gives the catalog that lies in the bucket.
func (s *Store) Catalog() *catalog.Catalog { return s.catalog }

// Close stops.
func (s *Store) Close(context.Context) error {
	s.cancel()
	s.own.Wait()
	return nil
}

// Fresh gives the moment at which the catalog was last known to be complete.
func (s *Store) Fresh() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fresh
}

// Healthy returns nil while this node's view is younger than the lease of its peers.
func (s *Store) Healthy(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.fresh) < s.opts.Peers.Lease() {
		return nil
	}
	if s.trouble == nil {
		return fault.New(fault.Unavailable, "catalog.Healthy", s.rootKey(), "the catalog has not been followed for more than %v", s.opts.Peers.Lease())
	}
	return fault.New(fault.Unavailable, "catalog.Healthy", s.rootKey(), "the catalog has not been followed for more than %v: %w", s.opts.Peers.Lease(), s.trouble)
}

func (s *Store) follow() {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var swept time.Time
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
		err := s.Refresh(s.ctx)
		if s.ctx.Err() != nil {
			return
		}
		if err == nil && (swept.IsZero() || time.Since(swept) > sweepEvery) {
			swept = time.Now()
			err = s.sweep(s.ctx)
		}
		s.mu.Lock()
		s.trouble = err
		s.mu.Unlock()
		if err != nil {
			s.opts.Log.Warn("the shared catalog can't be followed; it is tried again", "error", err)
		}
	}
}

func (s *Store) rootKey() string { return s.opts.Prefix + "catalog/root" }

func (s *Store) docKey(name string) string { return s.opts.Prefix + "catalog/docs/" + name }

func (s *Store) lock(ctx context.Context, lock chan struct{}) error {
	select {
	case lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "catalog", "", "another update is under way: %w", ctx.Err())
	}
}

// Refresh returns when all that was done before the call has been published here.
func (s *Store) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := s.lock(ctx, s.reading); err != nil {
		return err
	}
	defer func() { <-s.reading }()
	return s.refresh(ctx)
}

// refresh is Refresh; the caller holds reading.
func (s *Store) refresh(ctx context.Context) error {
	var err error
	for range readTries {
		asked := time.Now()
		if err = s.readNewest(ctx); err == nil {
			s.mu.Lock()
			s.fresh = asked
			s.mu.Unlock()
			return nil
		}
		if !isMissing(err) {
			return err
		}
	}
	return fault.New(fault.Corrupt, "catalog.Refresh", s.rootKey(), "documents that the root names are gone; restore them from earlier versions of them or a backup: %w", err)
}

func isMissing(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Kind == fault.NotFound && strings.HasPrefix(f.Resource, object.MissingKey)
}

// readNewest reads the root, if it is another one, and what is new in it, and publishes that.
func (s *Store) readNewest(ctx context.Context) error {
	if s.root.etag != "" {
		info, err := s.opts.Store.Head(ctx, s.opts.Bucket, s.rootKey())
		if err == nil && info.ETag == s.root.etag {
			return nil
		}
		if err != nil && !isMissing(err) {
			return err
		}
	}
	next, err := s.readRoot(ctx)
	if err != nil {
		return err
	}
	if next.etag == s.root.etag { // there is none yet
		return nil
	}
	if next.Version < s.root.Version {
		return fault.New(fault.Corrupt, "catalog.Refresh", s.rootKey(), "the root is of version %d, and was of version %d: it was replaced by an earlier one; "+
			"restart all nodes if that is what you want", next.Version, s.root.Version)
	}
	writes, err := s.readChanges(ctx, next)
	if err != nil {
		return err
	}
	s.publish(next, writes)
	return nil
}

// readRoot reads the root; one of version 0 stands for none.
func (s *Store) readRoot(ctx context.Context) (*root, error) {
	text, etag, err := s.get(ctx, s.rootKey(), maxRootBytes)
	if isMissing(err) {
		if s.root.etag != "" {
			return nil, fault.New(fault.Corrupt, "catalog.Refresh", "", "the object %s is gone; restore it from an earlier version of it or a backup", s.rootKey())
		}
		return s.noRoot(ctx)
	}
	if err != nil {
		return nil, err
	}
	r, err := decodeRoot(text, s.rootKey())
	if err != nil {
		return nil, err
	}
	r.etag = etag
	return r, nil
}

// noRoot tells a catalog that is new from one whose root is lost: only the first updates leave documents based on version 0.
func (s *Store) noRoot(ctx context.Context) (*root, error) {
	page, err := s.opts.Store.List(ctx, s.opts.Bucket, object.ListOptions{Prefix: s.docKey(""), After: s.docKey(baseName(0) + "~"), Max: 1})
	if err != nil {
		return nil, err
	}
	if len(page.Objects) > 0 {
		return nil, fault.New(fault.Corrupt, "catalog.Open", "", "the object %s is gone, and documents are there (%s); restore it from an earlier version of it or a backup",
			s.rootKey(), page.Objects[0].Key)
	}
	return new(root), nil
}

// get reads an object of a bounded size.
func (s *Store) get(ctx context.Context, key string, most int64) ([]byte, string, error) {
	o, err := s.opts.Store.Get(ctx, s.opts.Bucket, key)
	if err != nil {
		return nil, "", err
	}
	defer o.Body.Close()
	if o.Size > most {
		return nil, "", fault.New(fault.Corrupt, "catalog.Refresh", key, "the object has %d bytes, more than it can have", o.Size)
	}
	text := make([]byte, o.Size)
	if _, err := io.ReadFull(o.Body, text); err != nil {
		return nil, "", fault.New(fault.Unavailable, "catalog.Refresh", key, "%w", err)
	}
	return text, o.ETag, nil
}

// readChanges gives what differs between the root that is published and the next one.
func (s *Store) readChanges(ctx context.Context, next *root) (catalog.Writes, error) {
	writes := catalog.Writes{}
	for k := range s.root.docs {
		if _, ok := next.docs[k]; !ok {
			writes[k] = nil
		}
	}
	var apart []catalog.Key
	for k, d := range next.docs {
		if have, ok := s.root.docs[k]; ok && have.same(&d) {
			continue
		}
		if d.Object == "" {
			writes[k] = d.Inline
			continue
		}
		apart = append(apart, k)
	}
	var mu sync.Mutex
	err := each(len(apart), func(i int) error {
		k := apart[i]
		d := next.docs[k]
		doc, _, err := s.get(ctx, s.docKey(d.Object), catalog.MaxDocumentBytes)
		if err == nil {
			err = d.check(doc, s.docKey(d.Object))
		}
		mu.Lock()
		defer mu.Unlock()
		writes[k] = doc
		return err
	})
	return writes, err
}

// each calls fn for 0 to n-1, a few at a time, and gives the first error.
func each(n int, fn func(i int) error) error {
	var wait sync.WaitGroup
	errs := make([]error, n)
	tokens := make(chan struct{}, parallel)
	for i := range n {
		tokens <- struct{}{}
		wait.Go(func() {
			defer func() { <-tokens }()
			errs[i] = fn(i)
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// publish makes a root the one that is known. The caller holds reading.
func (s *Store) publish(next *root, writes catalog.Writes) {
	s.root = next
	s.catalog.Apply(writes, next.Version)
	s.opts.Peers.Set(appliedValue, int64(next.Version))
}

// sweep removes documents that no root can name any more.
func (s *Store) sweep(ctx context.Context) error {
	after := ""
	for {
		page, err := s.opts.Store.List(ctx, s.opts.Bucket, object.ListOptions{Prefix: s.docKey(""), After: after, Max: 1000})
		if err != nil {
			return err
		}
		if err := s.sweepPage(ctx, page.Objects); err != nil {
			return err
		}
		if !page.Truncated {
			return nil
		}
		after = page.Next
	}
}

// sweepPage looks at the newest root after the listing: what is listed, based on an earlier version and not named there
// is garbage.
func (s *Store) sweepPage(ctx context.Context, objects []object.Info) error {
	if err := s.lock(ctx, s.reading); err != nil {
		return err
	}
	err := s.refresh(ctx)
	root := s.root
	<-s.reading
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, d := range root.docs {
		named[d.Object] = true
	}
	var garbage []string
	for i := range objects {
		name := strings.TrimPrefix(objects[i].Key, s.docKey(""))
		if base, ok := baseOf(name); ok && base < root.Version && !named[name] {
			garbage = append(garbage, name)
		}
	}
	return s.remove(ctx, garbage)
}

func (s *Store) remove(ctx context.Context, names []string) error {
	return each(len(names), func(i int) error { return s.opts.Store.Delete(ctx, s.opts.Bucket, s.docKey(names[i])) })
}

// put stores an object on a condition.
func (s *Store) put(ctx context.Context, key string, text []byte, cond object.Conditions) (etag string, err error) {
	info, err := s.opts.Store.Put(ctx, s.opts.Bucket, key, bytes.NewReader(text), int64(len(text)), object.PutOptions{Conditions: cond})
	return info.ETag, err
}

// objectsOf gives the names of a root's documents that lie apart.
func objectsOf(r *root) []string {
	var names []string
	for d := range maps.Values(r.docs) {
		if d.Object != "" {
			names = append(names, d.Object)
		}
	}
	slices.Sort(names)
	return names
}

var _ catalog.Store = (*Store)(nil)
