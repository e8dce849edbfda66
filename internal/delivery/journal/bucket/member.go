package bucket

import (
	"cmp"
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/peers"
)

// joinedValue is what a node that takes part tells its peers.
const joinedValue = "journal"

// member is what the manager knows: the one goroutine that claims and gives back, and that tells the member.
type member struct {
	told   journal.Member
	kicked chan struct{}
	leave  chan struct{}
	leaves sync.Once
	ended  chan struct{} // closed when the manager has ended; nil: Join was not called

	// unreleased are slots that were given back here, and of which that is not known to be stored.
	unreleased map[int]bool
}

func (m *member) init() {
	m.kicked, m.leave, m.unreleased = make(chan struct{}, 1), make(chan struct{}), map[int]bool{}
}

func (m *member) kick() {
	select {
	case m.kicked <- struct{}{}:
	default:
	}
}

// Join implements [journal.Journal].
func (j *Journal) Join(_ context.Context, m journal.Member) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.member.ended != nil {
		return fault.New(fault.Internal, "journal.Join", "", "joined before")
	}
	j.member.told, j.member.ended = m, make(chan struct{})
	j.opts.Peers.Set(joinedValue, 1)
	j.own.Go(j.manage)
	return nil
}

// Leave implements [journal.Journal]. What could not be given back within ctx is claimed by the others all the same, as
// this node takes part no more.
func (j *Journal) Leave(ctx context.Context) error {
	j.mu.Lock()
	ended := j.member.ended
	j.mu.Unlock()
	if ended == nil {
		return nil
	}
	j.member.leaves.Do(func() { close(j.member.leave) })
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		j.cancel() // puts under way
		<-ended
		return fault.New(fault.Unavailable, "journal.Leave", "", "not all slots could be given back: %w", ctx.Err())
	}
}

// Close ends all that Leave has left. The journal is of no use then.
func (j *Journal) Close(ctx context.Context) error {
	err := j.Leave(ctx)
	j.cancel()
	j.own.Wait()
	return err
}

func (j *Journal) manage() {
	defer close(j.member.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-j.opts.Peers.Watch():
		case <-j.member.kicked:
		case <-timer.C:
		case <-j.member.leave:
			j.retire()
			return
		}
		waiting := j.turn(j.ctx)
		if timer.Stop(); waiting {
			timer.Reset(j.opts.Peers.Every() / 3) // somebody is about to give something back
		}
	}
}

// retire gives all back.
func (j *Journal) retire() {
	mine := j.mine()
	if len(mine) > 0 {
		j.member.told.Lost(mine)
	}
	j.giveBack(j.ctx, mine)
	j.opts.Peers.Set(joinedValue, 0)
}

// mine gives our slots, in order.
func (j *Journal) mine() (all []int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, s := range j.owned {
		if s != nil {
			all = append(all, i)
		}
	}
	return all
}

// turn brings what we own to what is ours. waiting: something is ours that another process still has.
func (j *Journal) turn(ctx context.Context) (waiting bool) {
	j.noticeLost()
	want := share(j.joined(), j.slots)
	var excess, lacking []int
	for i := range j.slots {
		switch have := j.slot(i) != nil; {
		case have && want[i] != j.opts.Node:
			excess = append(excess, i)
		case !have && want[i] == j.opts.Node:
			lacking = append(lacking, i)
		}
	}
	if len(excess) > 0 {
		j.member.told.Lost(excess)
		j.giveBack(ctx, excess)
	}
	j.release(ctx)
	gained := j.claim(ctx, lacking)
	if len(gained) > 0 {
		j.opts.Log.Info("slots of the journal are this node's", "gained", gained, "owned", len(j.mine()))
		j.member.told.Gained(gained)
	}
	j.suspectAll(ctx)
	return len(gained) < len(lacking) || len(j.member.unreleased) > 0
}

// joined lists the nodes that take part.
func (j *Journal) joined() (nodes []string) {
	for _, p := range j.opts.Peers.Live() {
		if p.Values[joinedValue] == 1 {
			nodes = append(nodes, p.Node)
		}
	}
	return nodes
}

// share gives each slot to one of the nodes: to the one whose hash with the slot is highest, among those that have less
// than their share. So all who see the same nodes agree, and most slots stay where they are when a node comes or goes.
func share(nodes []string, slots int) []string {
	type bid struct {
		node string
		slot int
		hash uint64
	}
	var bids []bid
	for _, node := range nodes {
		for slot := range slots {
			h := fnv.New64a()
			h.Write([]byte(node + "\x00" + slotName(slot)))
			bids = append(bids, bid{node, slot, mix(h.Sum64())})
		}
	}
	slices.SortFunc(bids, func(a, b bid) int {
		return cmp.Or(cmp.Compare(b.hash, a.hash), cmp.Compare(a.node, b.node), cmp.Compare(a.slot, b.slot))
	})
	owner, has := make([]string, slots), map[string]int{}
	for _, b := range bids {
		if owner[b.slot] == "" && has[b.node] < (slots+len(nodes)-1)/len(nodes) {
			owner[b.slot] = b.node
			has[b.node]++
		}
	}
	return owner
}

// mix spreads what FNV leaves close together (the finalizer of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// noticeLost tells the member what other processes have taken.
func (j *Journal) noticeLost() {
	var lost []int
	for _, i := range j.mine() {
		if j.slot(i).isLost() {
			lost = append(lost, i)
		}
	}
	if len(lost) == 0 {
		return
	}
	j.member.told.Lost(lost)
	for _, i := range lost {
		j.drop(i)
	}
}

// drop ends our ownership of a slot here, and gives the state in which we leave it.
func (j *Journal) drop(i int) (last *state, lost bool) {
	s := j.slot(i)
	s.end()
	s.mu.Lock()
	last, lost = s.current, s.lost
	s.mu.Unlock()
	j.views.learn(last)
	j.mu.Lock()
	j.owned[i] = nil
	j.mu.Unlock()
	return last, lost
}

// giveBack lets others claim slots whose member has let go of them.
func (j *Journal) giveBack(ctx context.Context, all []int) {
	for _, i := range all {
		if _, lost := j.drop(i); !lost {
			j.member.unreleased[i] = true
		}
	}
	j.release(ctx)
}

// release writes of slots that were given back that nobody owns them.
func (j *Journal) release(ctx context.Context) {
	var mu sync.Mutex
	todo := make([]int, 0, len(j.member.unreleased))
	for i := range j.member.unreleased {
		todo = append(todo, i)
	}
	_ = each(len(todo), func(n int) error {
		i := todo[n]
		have, err := j.get(ctx, i)
		if err == nil && have.head.Owner == j.owner {
			_, err = j.handTo(ctx, have, "")
		}
		if err != nil {
			j.opts.Log.Warn("a slot of the journal could not be given back yet; it is tried again", "slot", i, "error", err)
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		delete(j.member.unreleased, i)
		return nil
	})
}

// handTo writes a slot's owner. An error says that this has not happened, or that it is not known.
func (j *Journal) handTo(ctx context.Context, have *state, owner string) (*state, error) {
	next := have.handTo(owner, j.opts.IDs.String(ids.LowerAlnum, putLetters))
	etag, err := j.put(ctx, have.head.Slot, next.encode(), have.etag)
	if err != nil {
		now, getErr := j.get(ctx, have.head.Slot)
		if getErr != nil || now.head.Put != next.head.Put {
			return nil, err
		}
		etag = now.etag
	}
	next.etag = etag
	return next, nil
}

// claim takes slots that are ours and that nobody holds, and gives those.
func (j *Journal) claim(ctx context.Context, lacking []int) (gained []int) {
	var mu sync.Mutex
	err := each(len(lacking), func(n int) error {
		i := lacking[n]
		have, err := j.get(ctx, i)
		if err != nil {
			return err
		}
		j.views.learn(have)
		free, err := j.free(ctx, have.head.Owner)
		if err != nil || !free {
			return err
		}
		next, err := j.handTo(ctx, have, j.owner)
		if fault.Is(err, fault.PreconditionFailed) {
			return nil // another one was faster
		}
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		delete(j.member.unreleased, i)
		gained = append(gained, i)
		s := j.begin(next)
		j.mu.Lock()
		j.owned[i] = s
		j.mu.Unlock()
		return nil
	})
	if err != nil && ctx.Err() == nil {
		j.opts.Log.Warn("a slot of the journal could not be claimed; it is tried again", "error", err)
	}
	slices.Sort(gained)
	return gained
}

// free tells whether a slot's owner has it no more: it is this process, or one that has ended, is dead or takes no part.
// One that is not known at first sight may have come since the last look.
func (j *Journal) free(ctx context.Context, owner string) (bool, error) {
	if owner == "" || owner == j.owner {
		return true, nil
	}
	if holds(j.opts.Peers.Live(), owner) {
		return false, nil
	}
	if err := j.opts.Peers.Look(ctx); err != nil {
		return false, err
	}
	return !holds(j.opts.Peers.Live(), owner), nil
}

func holds(live []peers.Peer, owner string) bool {
	node, incarnation, _ := strings.Cut(owner, "/")
	return slices.ContainsFunc(live, func(p peers.Peer) bool {
		return p.Node == node && p.Incarnation == incarnation && p.Values[joinedValue] == 1
	})
}

// suspectAll compares the listing with what we have put: a slot that nothing is written to would not tell that it was
// taken.
func (j *Journal) suspectAll(ctx context.Context) {
	mine := j.mine()
	if len(mine) == 0 {
		return
	}
	etags, err := j.list(ctx)
	if err != nil {
		if ctx.Err() == nil {
			j.opts.Log.Warn("the slots of the journal can't be listed; it is tried again", "error", err)
		}
		return
	}
	for _, i := range mine {
		s := j.slot(i)
		s.mu.Lock()
		differs := s.current.etag != etags[i]
		s.mu.Unlock()
		if differs {
			s.suspected()
		}
	}
}
