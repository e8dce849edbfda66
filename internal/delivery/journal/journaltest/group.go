package journaltest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
)

// Group is a journal in memory that several nodes share. Rebalances happen when a test says so, within the call.
type Group struct {
	slots int

	telling sync.Mutex // held while members are told

	mu        sync.Mutex
	rows      map[journal.Key]journal.Row
	manifests map[journal.Key]map[uint64]*journal.Manifest
	finals    map[string]journal.Final
	nodes     []*Node // that take part, in the order of joining
	owner     []*Node // by slot
}

// NewGroup makes an empty journal.
func NewGroup(slots int) *Group {
	return &Group{slots: slots, rows: map[journal.Key]journal.Row{}, manifests: map[journal.Key]map[uint64]*journal.Manifest{},
		finals: map[string]journal.Final{}, owner: make([]*Node, slots)}
}

// Node is the journal as one node has it.
type Node struct {
	g      *Group
	member journal.Member
	told   []int // the slots that the member knows as its own

	answer func() (happens bool, err error) // guarded by Group.mu
}

// Answer makes fn, until it is nil again, decide about writes: when it gives an error that is the answer of a write that
// happens (true) or does not (false).
func (n *Node) Answer(fn func() (happens bool, err error)) {
	n.g.mu.Lock()
	defer n.g.mu.Unlock()
	n.answer = fn
}

// Node opens the journal for one more node.
func (g *Group) Node() *Node { return &Node{g: g} }

// Slots implements [journal.Journal].
func (n *Node) Slots() int { return n.g.slots }

// Join implements [journal.Journal]. The slots are shared anew before it returns.
func (n *Node) Join(_ context.Context, m journal.Member) error {
	n.g.telling.Lock()
	defer n.g.telling.Unlock()
	n.member = m
	n.g.mu.Lock()
	n.g.nodes = append(n.g.nodes, n)
	n.g.mu.Unlock()
	n.g.share()
	return nil
}

// Leave implements [journal.Journal].
func (n *Node) Leave(context.Context) error {
	n.g.telling.Lock()
	defer n.g.telling.Unlock()
	n.g.mu.Lock()
	n.g.nodes = slices.DeleteFunc(n.g.nodes, func(m *Node) bool { return m == n })
	n.g.mu.Unlock()
	n.g.share()
	return nil
}

// Expel takes all slots of a node away and gives them to the others, as when it was away for too long. It is not told.
func (g *Group) Expel(n *Node) {
	g.telling.Lock()
	defer g.telling.Unlock()
	g.mu.Lock()
	g.nodes = slices.DeleteFunc(g.nodes, func(m *Node) bool { return m == n })
	for slot, owner := range g.owner {
		if owner == n {
			g.owner[slot] = nil
		}
	}
	g.mu.Unlock()
	lost := n.told
	n.told = nil
	g.share()
	n.told = lost
}

// Return tells an expelled node what it has lost and lets it take part again.
func (g *Group) Return(n *Node) {
	g.telling.Lock()
	defer g.telling.Unlock()
	n.tell(nil)
	g.mu.Lock()
	g.nodes = append(g.nodes, n)
	g.mu.Unlock()
	g.share()
}

// share gives slot i to node i mod n: first what is lost, then what is gained. The caller holds telling.
func (g *Group) share() {
	g.mu.Lock()
	want := make([]*Node, g.slots)
	if len(g.nodes) > 0 {
		for slot := range want {
			want[slot] = g.nodes[slot%len(g.nodes)]
		}
	}
	losers := map[*Node]bool{}
	for slot, owner := range g.owner {
		if owner != nil && owner != want[slot] {
			losers[owner] = true
		}
	}
	nodes := slices.Clone(g.nodes)
	g.mu.Unlock()
	slotsOf := func(n *Node) (slots []int) {
		for slot, owner := range want {
			if owner == n {
				slots = append(slots, slot)
			}
		}
		return slots
	}
	for n := range losers {
		keep := slices.DeleteFunc(slotsOf(n), func(slot int) bool { return !slices.Contains(n.told, slot) })
		n.tell(keep)
	}
	g.mu.Lock()
	copy(g.owner, want)
	g.mu.Unlock()
	for _, n := range nodes {
		n.tell(slotsOf(n))
	}
}

// tell brings what the member knows to the given slots.
func (n *Node) tell(slots []int) {
	missing := func(from, in []int) (all []int) {
		for _, slot := range from {
			if !slices.Contains(in, slot) {
				all = append(all, slot)
			}
		}
		return all
	}
	lost, gained := missing(n.told, slots), missing(slots, n.told)
	if len(lost) > 0 {
		n.member.Lost(lost)
	}
	n.told = slots
	if len(gained) > 0 {
		n.member.Gained(gained)
	}
}

// Deliveries implements [journal.Journal].
func (n *Node) Deliveries(context.Context) ([]string, error) {
	n.g.mu.Lock()
	defer n.g.mu.Unlock()
	ids := map[string]bool{}
	for k := range n.g.rows {
		ids[k.Delivery] = true
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

// Load implements [journal.Journal].
func (n *Node) Load(_ context.Context, delivery string) ([]journal.Row, []*journal.Manifest, error) {
	n.g.mu.Lock()
	defer n.g.mu.Unlock()
	var rows []journal.Row
	for k, row := range n.g.rows {
		if k.Delivery == delivery {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b journal.Row) int {
		return cmp.Or(cmp.Compare(a.Shard.Stream, b.Shard.Stream), cmp.Compare(a.Shard.ID, b.Shard.ID), cmp.Compare(a.Shard.Shard, b.Shard.Shard))
	})
	var manifests []*journal.Manifest
	for i := range rows {
		manifests = append(manifests, n.g.planned(rows[i].Key)...)
	}
	return rows, manifests, nil
}

func (g *Group) planned(k journal.Key) (all []*journal.Manifest) {
	of := g.manifests[k]
	for _, ordinal := range slices.Sorted(maps.Keys(of)) {
		all = append(all, of[ordinal])
	}
	return all
}

// LoadShard implements [journal.Journal].
func (n *Node) LoadShard(_ context.Context, key journal.Key) (journal.Row, bool, []*journal.Manifest, error) {
	n.g.mu.Lock()
	defer n.g.mu.Unlock()
	row, ok := n.g.rows[key]
	if !ok {
		return journal.Row{Key: key}, false, nil, nil
	}
	return row, true, n.g.planned(key), nil
}

// Write implements [journal.Journal].
func (n *Node) Write(ctx context.Context, change *journal.Change) error {
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Unavailable, "journal.Write", "", "%w", err)
	}
	n.g.mu.Lock()
	answer := n.answer
	n.g.mu.Unlock()
	if answer != nil {
		if happens, err := answer(); err != nil {
			if happens {
				if err := n.g.write(n, change); err != nil {
					return err
				}
			}
			return err
		}
	}
	return n.g.write(n, change)
}

func (g *Group) write(n *Node, change *journal.Change) error {
	slot, err := change.Slot(g.slots)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.owner[slot] != n {
		return fault.New(fault.PreconditionFailed, "journal.Write", "", "slot %d is another process's", slot)
	}
	err = change.Compare(
		func(k journal.Key) (journal.Row, error) { return g.rows[k], nil },
		func(delivery string) (bool, error) { _, ok := g.finals[delivery]; return ok, nil })
	if err != nil {
		return err
	}
	for _, row := range change.Rows {
		g.rows[row.Key] = row
	}
	for i := range change.Drop {
		delete(g.rows, change.Drop[i].Key)
	}
	for _, m := range change.Plan {
		if g.manifests[m.Key] == nil {
			g.manifests[m.Key] = map[uint64]*journal.Manifest{}
		}
		g.manifests[m.Key][m.Ordinal] = m
	}
	for _, m := range change.Remove {
		delete(g.manifests[m.Key], m.Ordinal)
	}
	if f := change.Final; f != nil {
		g.finals[f.ID] = *f
		if len(g.finals) > journal.MaxFinals {
			delete(g.finals, g.sorted()[0].ID)
		}
	}
	return nil
}

func (g *Group) sorted() []journal.Final {
	all := slices.Collect(maps.Values(g.finals))
	journal.SortFinals(all)
	return all
}

// Finals implements [journal.Journal].
func (n *Node) Finals(context.Context) ([]journal.Final, error) {
	n.g.mu.Lock()
	defer n.g.mu.Unlock()
	return n.g.sorted(), nil
}

// Final implements [journal.Journal].
func (n *Node) Final(_ context.Context, delivery string) (journal.Final, bool, error) {
	n.g.mu.Lock()
	defer n.g.mu.Unlock()
	f, ok := n.g.finals[delivery]
	return f, ok, nil
}

var _ journal.Journal = (*Node)(nil)
