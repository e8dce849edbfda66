package kafka

import (
	"context"
	"slices"
	"sync"
	"time"

	"millrace/internal/fault"
)

// How a shard is closed while nodes produce to it, and why nothing that was answered is lost.
//
// Kafka cannot close a partition. So the one who reshards says "closing" in the catalog (at C), waits until every live
// node has told that it has nothing in flight to the shard or until a lease has passed since C, and only then (at R)
// reads the partition's end and records it as the shard's: readers take nothing beyond.
//
// A node follows the catalog. Its view is complete up to a moment F that its catalog tells (Catalog.Fresh). When a produce
// is acknowledged at a moment T, the record was in the log before T. If the view shows no closing, then C > F, and:
//
//	T < F + lease  =>  T < C + lease <= R  =>  the record lies before the recorded end: answer success.
//
// A node that drains tells so only when nothing is in flight and nothing new can be, which is the same: T < R.
// A node whose view is too old (it was frozen, or cut off) waits for a fresh one. If that shows the shard open, then
// T < F < C: success. If it shows the shard closing, the node waits for the end E and compares: an offset below E is a
// success, one at or beyond E is a record that nobody will ever read, and the node produces it again, to the child.
//
// Moments are of this node's monotonic clock; that two nodes' clocks run equally fast is all that is asked of them, and
// leaseMargin is what they may differ by within one lease. The clock has to go on while a node stands still: that of a
// stopped process does; that of a machine that is suspended does not, and moments on the wall clock are compared as well
// for that reason.
const leaseMargin = 1 // tenth of the lease

// fresh reports whether the view was complete within the lease before now, by both clocks.
func (b *Backend) fresh(now time.Time) bool {
	f := b.opts.Catalog.Fresh()
	limit := b.opts.Lease - b.opts.Lease*leaseMargin/10
	return now.Sub(f) < limit && now.Round(0).Sub(f.Round(0)) < limit
}

// verdict says what an acknowledgement is worth.
type verdict int

const (
	unknown verdict = iota // it cannot be told in time
	success
	again // the record lies beyond the end of its shard
)

// judge tells what an acknowledgement is worth that has come by now, without waiting.
func (b *Backend) judge(sh *shard, offset int64, fresh bool) verdict {
	// fresh was found before the state is looked at: the state is at least as new as what it speaks of.
	switch sh.state.Load() {
	case open:
		if fresh {
			return success
		}
	case closed:
		if offset < sh.end.Load() {
			return success
		}
		return again
	}
	return unknown
}

// settled waits until the acknowledgement's worth can be told.
func (b *Backend) settled(ctx context.Context, sh *shard, offset int64) (verdict, error) {
	for {
		view := b.view.Load()
		switch sh.state.Load() {
		case open:
			if err := b.opts.Catalog.Refresh(ctx); err != nil {
				return unknown, err
			}
			if sh.state.Load() == open {
				return success, nil
			}
		case closing:
			select {
			case <-view.superseded:
			case <-ctx.Done():
				return unknown, ctx.Err()
			}
		case closed:
			return b.judge(sh, offset, true), nil
		default:
			return unknown, fault.New(fault.Unavailable, "kafka.Append", sh.stream, "the shard has gone meanwhile")
		}
	}
}

// drain tells the other nodes that nothing is in flight to shards that are closing.
type drain struct {
	mu     sync.Mutex
	queue  []drained // oldest first
	signal chan struct{}
}

// drained is what has to be so before a version counts as drained.
type drained struct {
	version int64
	shards  []*shard
}

func (d *drain) init() { d.signal = make(chan struct{}, 1) }

// note adds a version of the catalog and the shards that it closes. The queue grows by those versions only that close some.
func (d *drain) note(version int64, shards []*shard) {
	d.mu.Lock()
	if n := len(d.queue); n > 0 && len(shards) == 0 {
		d.queue[n-1].version = version
	} else {
		d.queue = append(d.queue, drained{version, shards})
	}
	d.mu.Unlock()
	d.look()
}

// look asks runDrain to look again.
func (d *drain) look() {
	select {
	case d.signal <- struct{}{}:
	default:
	}
}

// done takes the versions off the queue that are drained, and gives the last of them.
func (d *drain) done() (version int64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.queue) > 0 {
		head := &d.queue[0]
		head.shards = slices.DeleteFunc(head.shards, func(sh *shard) bool { return sh.inFlight.Load() == 0 })
		if len(head.shards) > 0 {
			break
		}
		version, ok = head.version, true
		d.queue = slices.Delete(d.queue, 0, 1)
	}
	return version, ok
}

func (b *Backend) runDrain() {
	for {
		select {
		case <-b.drain.signal:
			if version, ok := b.drain.done(); ok {
				b.opts.Catalog.Drained(version)
			}
		case <-b.life.Done():
			return
		}
	}
}

// leave takes records off those in flight.
func (b *Backend) leave(sh *shard, n int64) {
	if sh.inFlight.Add(-n) == 0 && sh.state.Load() != open {
		b.drain.look()
	}
}
