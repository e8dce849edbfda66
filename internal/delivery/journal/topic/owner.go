package topic

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
)

// owner takes part in the group and tells the member. The group's client shares the partitions out and heartbeats; it
// reads nothing. One goroutine brings what the member knows to what the group says.
type owner struct {
	j *Journal

	mu     sync.Mutex
	member journal.Member
	client *kgo.Client // nil: not in the group
	left   bool
	// assigned is what the group says. claimed is the id of the group member under which a slot of ours was claimed, empty:
	// it can't be written. told is what the member knows as its own.
	assigned []bool
	claimed  []string
	told     []bool
	// doubts has, for each slot with a transaction of unknown outcome, what is closed when it is known.
	doubts map[int]chan struct{}
	// known has, by slot, a time at which all of it was read. It is run's own.
	known   []time.Time
	changed chan struct{} // closed and replaced when any of these changes

	woken    chan struct{}
	claiming context.CancelFunc // gives up the claims under way; nil: there are none
	stop     context.CancelFunc
	stopped  chan struct{}
}

func newOwner(j *Journal) *owner {
	o := &owner{j: j, assigned: make([]bool, j.slots), claimed: make([]string, j.slots), told: make([]bool, j.slots),
		doubts: map[int]chan struct{}{}, changed: make(chan struct{}), woken: make(chan struct{}, 1), known: make([]time.Time, j.slots)}
	for slot := range o.known { // the follower has begun to read
		o.known[slot] = o.now()
	}
	return o
}

// now is wall clock, which goes on while a machine sleeps.
func (o *owner) now() time.Time { return o.j.opts.Now().Round(0) }

func (o *owner) join(_ context.Context, m journal.Member) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.member != nil || o.j.closed.Load() {
		return fault.New(fault.Internal, "journal.Join", o.j.topic, "joined or closed before")
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(o.j.group), kgo.ConsumeTopics(o.j.topic), kgo.Balancers(balancers()...),
		kgo.SessionTimeout(o.j.opts.session), kgo.HeartbeatInterval(min(heartbeatEvery, o.j.opts.session/4)), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.DisableAutoCommit(), kgo.FetchMaxBytes(1), // it reads nothing, see below
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { o.gained(parts[o.j.topic]) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { o.revoked(parts[o.j.topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { o.lost(parts[o.j.topic]) }),
	}
	client, err := o.j.opts.Settings.Client(append(opts, o.j.opts.groupOpts...)...)
	if err != nil {
		return err
	}
	client.PauseFetchTopics(o.j.topic)
	o.member, o.client = m, client
	ctx, stop := context.WithCancel(context.Background())
	o.stop, o.stopped = stop, make(chan struct{})
	go o.run(ctx)
	return nil
}

// leave gives all slots back: the client tells of it as of any revocation.
func (o *owner) leave(ctx context.Context) error {
	o.mu.Lock()
	client, left := o.client, o.left
	o.left = true
	o.mu.Unlock()
	if client == nil || left {
		return nil
	}
	err := client.LeaveGroupContext(ctx)
	client.Close()
	o.mu.Lock()
	for slot := range o.assigned { // when the group could not be told
		o.assigned[slot], o.claimed[slot] = false, ""
	}
	o.change()
	o.mu.Unlock()
	o.wait(ctx, func() bool { return !slices.Contains(o.told, true) })
	o.stop()
	<-o.stopped
	if err != nil {
		err = fault.New(fault.Unavailable, "journal.Leave", o.j.topic, "%w", err)
	}
	return err
}

// change wakes all who wait. The caller holds mu.
func (o *owner) change() {
	close(o.changed)
	o.changed = make(chan struct{})
	select {
	case o.woken <- struct{}{}:
	default:
	}
}

// wait returns when ok, which is called with mu held, or ctx ends.
func (o *owner) wait(ctx context.Context, ok func() bool) {
	for {
		o.mu.Lock()
		done, changed := ok(), o.changed
		o.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (o *owner) gained(partitions []int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range partitions {
		if int(p) < len(o.assigned) {
			o.assigned[p] = true
		}
	}
	o.change()
}

// revoked returns when the member has let go: only then may the group give the slots to others.
func (o *owner) revoked(partitions []int32) {
	if len(partitions) == 0 {
		return
	}
	o.unassign(partitions, false)
	ctx, cancel := context.WithTimeout(o.j.ctx, rebalanceTimeout/2)
	defer cancel()
	o.wait(ctx, func() bool {
		return !slices.ContainsFunc(partitions, func(p int32) bool { return int(p) < len(o.told) && o.told[p] })
	})
}

// lost is told that the group has gone on without us.
func (o *owner) lost(partitions []int32) { o.unassign(partitions, true) }

func (o *owner) unassign(partitions []int32, atOnce bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range partitions {
		if int(p) >= len(o.assigned) {
			continue
		}
		o.assigned[p] = false
		if atOnce || !o.told[p] {
			o.claimed[p] = ""
		}
	}
	if o.claiming != nil {
		o.claiming()
	}
	o.change()
}

// session gives what the group's client is now: an empty id when it is nobody.
func (o *owner) session() (member string, generation int32) {
	o.mu.Lock()
	client := o.client
	o.mu.Unlock()
	if client == nil {
		return "", -1
	}
	return client.GroupMetadata()
}

// may reports whether a slot may be written as the given member of the group: to claim it, or because it is claimed. A slot
// that was claimed as somebody else is lost.
func (o *owner) may(slot int, member string, claim bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case member == "":
		return false
	case claim:
		return o.assigned[slot]
	case o.claimed[slot] == "":
		return false
	case o.claimed[slot] != member:
		o.claimed[slot] = ""
		o.change()
		return false
	}
	return true
}

// writable reports whether a slot is claimed.
func (o *owner) writable(slot int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.claimed[slot] != ""
}

// dead notes that the group does not know a member any more: all that was claimed as it is lost.
func (o *owner) dead(member string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for slot := range o.claimed {
		if o.claimed[slot] == member {
			o.claimed[slot] = ""
		}
	}
	o.change()
}

// doubt notes that it is not known what happened in slots; sure, that it is.
func (o *owner) doubt(slots []int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, slot := range slots {
		if o.doubts[slot] == nil {
			o.doubts[slot] = make(chan struct{})
		}
	}
}

func (o *owner) sure(slot int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.doubts[slot]; c != nil {
		close(c)
		delete(o.doubts, slot)
	}
}

// uncertain gives what to wait for before the slots are read; nil: nothing.
func (o *owner) uncertain(slots map[int]bool) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	for slot, c := range o.doubts {
		if slots[slot] {
			return c
		}
	}
	return nil
}

// run tells the member until ctx ends: what is lost first, then what is gained, when it is claimed.
func (o *owner) run(ctx context.Context) {
	defer close(o.stopped)
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		again := o.turn(ctx)
		if again {
			sleep(ctx, pause)
		} else {
			select {
			case <-o.woken:
			case <-ticker.C:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// turn does all that is due; again: something is to be tried again soon.
func (o *owner) turn(ctx context.Context) (again bool) {
	member, _ := o.session()
	var lost, claim, gained []int
	o.mu.Lock()
	for slot := range o.assigned {
		if o.claimed[slot] != "" && o.claimed[slot] != member {
			o.claimed[slot] = "" // another session has begun, and the client has not told of the end of the first
		}
		switch {
		case o.told[slot] && (!o.assigned[slot] || o.claimed[slot] == ""):
			lost = append(lost, slot)
		case o.assigned[slot] && o.claimed[slot] == "":
			claim = append(claim, slot)
		}
	}
	o.mu.Unlock()
	if len(lost) > 0 {
		o.member.Lost(lost)
		o.mu.Lock()
		for _, slot := range lost {
			o.told[slot], o.claimed[slot] = false, ""
		}
		o.change()
		o.mu.Unlock()
		return false // the change has woken us
	}
	if len(claim) > 0 {
		again = !o.claim(ctx, claim)
	}
	o.mu.Lock()
	for slot := range o.assigned {
		if o.assigned[slot] && o.claimed[slot] != "" && !o.told[slot] {
			o.told[slot] = true
			gained = append(gained, slot)
		}
	}
	o.mu.Unlock()
	if len(gained) > 0 {
		o.member.Gained(gained)
	}
	return again
}

// claim claims slots and waits until all is known that lies before the claims.
func (o *owner) claim(ctx context.Context, slots []int) (ok bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.mu.Lock()
	o.claiming = cancel
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		o.claiming = nil
		o.mu.Unlock()
	}()
	now := o.now()
	for _, slot := range slots {
		if now.Sub(o.known[slot]) > maxAway {
			o.j.readAnew(slot)
			o.known[slot] = now
		}
	}
	claims, err := o.j.writer.claim(ctx, slots)
	if err == nil {
		for _, c := range claims {
			if err = o.j.state.wait(ctx, c.slot, c.offset); err != nil {
				break
			}
		}
	}
	if err != nil {
		if ctx.Err() == nil && !fault.Is(err, fault.PreconditionFailed) {
			o.j.opts.Log.Warn("slots of the delivery journal could not be taken over yet", "slots", len(slots), "error", err)
		}
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range claims {
		o.known[c.slot] = now
		if o.assigned[c.slot] {
			o.claimed[c.slot] = c.member
		}
	}
	return true
}
