package kafka

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"
)

// memory is a catalog in memory that several nodes share.
type memory struct {
	lease time.Duration

	mu      sync.Mutex
	docs    map[string][]byte
	version int64
	nodes   []*memoryNode
	changed chan struct{}
	failing error // of updates
}

func newMemory(lease time.Duration) *memory {
	return &memory{lease: lease, docs: map[string][]byte{}, version: 1, changed: make(chan struct{})}
}

// memoryNode is a catalog as one node sees it.
type memoryNode struct {
	m *memory

	// Under m.mu.
	fn      func(map[string][]byte, int64)
	frozen  bool // sees nothing, tells nothing, and its view gets old
	dead    bool // the others do not count on it
	applied int64
	fresh   time.Time
	drained int64

	turn sync.Mutex // one call of fn at a time, in order
}

func (m *memory) node() *memoryNode {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := &memoryNode{m: m, dead: true}
	m.nodes = append(m.nodes, n)
	return n
}

// signal tells who waits that something has changed. The caller holds mu.
func (m *memory) signal() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// spread lets the nodes follow.
func (m *memory) spread() {
	m.mu.Lock()
	nodes := m.nodes
	m.mu.Unlock()
	for _, n := range nodes {
		n.see()
	}
}

// see lets a node follow, unless it is frozen.
func (n *memoryNode) see() {
	n.turn.Lock()
	defer n.turn.Unlock()
	n.m.mu.Lock()
	if n.frozen || n.fn == nil {
		n.m.mu.Unlock()
		return
	}
	docs, version, asked := maps.Clone(n.m.docs), n.m.version, time.Now()
	behind := n.applied < version
	n.m.mu.Unlock()
	if behind {
		n.fn(docs, version)
	}
	n.m.mu.Lock()
	n.applied, n.fresh = version, asked
	n.m.signal()
	n.m.mu.Unlock()
}

// freeze stops a node, thaw lets it go on; it sees the present only when see is called then.
func (n *memoryNode) freeze() {
	n.m.mu.Lock()
	n.frozen = true
	n.m.mu.Unlock()
}

func (n *memoryNode) thaw() {
	n.m.mu.Lock()
	n.frozen = false
	n.m.signal()
	n.m.mu.Unlock()
}

func (n *memoryNode) Update(ctx context.Context, fn func(Documents) error) (int64, error) {
	n.m.mu.Lock()
	if n.m.failing != nil {
		defer n.m.mu.Unlock()
		return 0, n.m.failing
	}
	docs := memoryDocuments(maps.Clone(n.m.docs))
	if err := fn(docs); err != nil {
		n.m.mu.Unlock()
		return 0, err
	}
	n.m.docs = docs
	n.m.version++
	version := n.m.version
	n.m.mu.Unlock()
	n.m.spread()
	err := n.m.await(ctx, func(o *memoryNode) bool { return o.applied >= version })
	return version, err
}

// await waits until all live nodes are as asked, or the lease has passed.
func (m *memory) await(ctx context.Context, is func(*memoryNode) bool) error {
	lease := time.NewTimer(m.lease)
	defer lease.Stop()
	for {
		m.mu.Lock()
		all := true
		for _, n := range m.nodes {
			all = all && (n.dead || is(n))
		}
		changed := m.changed
		m.mu.Unlock()
		if all {
			return nil
		}
		select {
		case <-changed:
		case <-lease.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *memoryNode) Follow(fn func(map[string][]byte, int64)) (stop func()) {
	n.m.mu.Lock()
	n.fn, n.dead = fn, false
	n.m.mu.Unlock()
	n.see()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // the view is confirmed now and then, as by a poll of the catalog's end
		tick := time.NewTicker(n.m.lease / 10)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				n.see()
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
		n.turn.Lock()
		defer n.turn.Unlock()
		n.m.mu.Lock()
		defer n.m.mu.Unlock()
		n.fn, n.dead = nil, true
		n.m.signal()
	}
}

func (n *memoryNode) Fresh() time.Time {
	n.m.mu.Lock()
	defer n.m.mu.Unlock()
	return n.fresh
}

func (n *memoryNode) Refresh(ctx context.Context) error {
	asked := time.Now()
	for {
		n.see()
		n.m.mu.Lock()
		fresh, changed := n.fresh, n.m.changed
		n.m.mu.Unlock()
		if fresh.After(asked) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *memoryNode) Drained(version int64) {
	n.m.mu.Lock()
	defer n.m.mu.Unlock()
	if version < n.drained {
		panic("drained goes back")
	}
	n.drained = version
	n.m.signal()
}

func (n *memoryNode) AwaitDrained(ctx context.Context, version int64) error {
	return n.m.await(ctx, func(o *memoryNode) bool { return !o.frozen && o.drained >= version })
}

type memoryDocuments map[string][]byte

func (d memoryDocuments) Get(name string) ([]byte, bool) { doc, ok := d[name]; return doc, ok }
func (d memoryDocuments) Put(name string, doc []byte)    { d[name] = doc }
func (d memoryDocuments) Delete(name string)             { delete(d, name) }

// all gives the documents.
func (m *memory) all(t testing.TB) map[string]*document {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	docs := map[string]*document{}
	for name, raw := range m.docs {
		d, err := parseDocument(name, raw)
		if err != nil {
			t.Fatal(err)
		}
		docs[name] = d
	}
	return docs
}
