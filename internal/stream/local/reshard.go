package local

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Reshard changes the shards of a stream in the committer's turn: no append is under way, all that was appended to the
// parents is durable, and what waits in the queue goes to the children. The stream is ACTIVE at return.
func (b *Backend) Reshard(_ context.Context, name string, change stream.Reshard) (*stream.Stream, error) {
	const op = "local.Reshard"
	if err := b.writable(op, name); err != nil {
		return nil, err
	}
	b.control.Lock()
	defer b.control.Unlock()
	old, ok := b.state.Load().byName[name]
	if !ok {
		return nil, notFound(op, name)
	}
	if change.Count > maxShards {
		return nil, tooMany(name, change.Count, change.Count)
	}
	def, err := old.def.Resharded(change, b.opts.Now())
	if err != nil {
		return nil, err
	}
	if n := def.OpenShards(); n > maxShards || len(def.Shards) > maxListed {
		return nil, tooMany(name, n, len(def.Shards))
	}
	doc, err := encodeDoc(&streamDoc{old.number, *def}) // here, and not while appends wait
	if err != nil {
		return nil, fault.New(fault.Internal, op, name, "%w", err)
	}
	if turn := b.inTurn(func() { err = b.reshard(old, def, doc) }); turn != nil {
		return nil, turn
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, name, "%w", err)
	}
	return def, nil
}

// maxListed bounds the shards of a stream together with the closed ones that retention still keeps.
const maxListed = 10 * maxShards

func tooMany(name string, open, all int) error {
	return fault.New(fault.LimitExceeded, "local.Reshard", name, "%d open shards of %d; at most %d of %d", open, all, maxShards, maxListed)
}

// reshard stores the new shards, shows the result and closes the old. A crash before the commit leaves the old shards
// open; after it, the closed ones end where their records do (recover). Children are listed before a reader is told
// that their parents end.
func (b *Backend) reshard(old *streamState, def *stream.Stream, doc []byte) error {
	if err := b.broken.Load(); err != nil { // where the parents' records end is not known then
		return *err
	}
	if old.closeLate(def) {
		var err error
		if doc, err = encodeDoc(&streamDoc{old.number, *def}); err != nil {
			return err
		}
	}
	if err := b.store(func(batch *pebble.Batch) error { return batch.Set(docKey(def.Name), doc, nil) }); err != nil {
		return err
	}
	next := newState(old.number, def, old)
	b.publish(def.Name, next)
	for i, sh := range next.shards {
		if !def.Shards[i].Open() {
			sh.close()
		}
	}
	return nil
}

// closeLate sees to it that no shard is closed before its last record arrived, which the clock may say after a step
// back: who lists the shards of a moment must find its records. It reports whether it changed something.
func (s *streamState) closeLate(def *stream.Stream) (changed bool) {
	for _, sh := range s.open {
		d, ok := def.Shard(sh.index)
		if last := time.UnixMilli(sh.lastTime).UTC(); ok && !d.Open() && d.Closed.At.Before(last) {
			d.Closed = &stream.ShardEnd{Sequence: d.Closed.Sequence, At: last}
			changed = true
		}
	}
	return changed
}

// store commits one batch durably.
func (b *Backend) store(fill func(*pebble.Batch) error) error {
	batch := b.db.NewBatch()
	defer batch.Close()
	if err := fill(batch); err != nil {
		return err
	}
	return batch.Commit(pebble.Sync)
}

// close ends a shard behind its last record; to one that is closed it does nothing.
func (s *shard) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return
	}
	end := s.durable.Load()
	s.end = &end
	s.wake()
}

// forget takes the closed shards out of a stream that retention has passed: nothing of them is left, nobody holds a
// place before their ends, and their parents have left. So whoever reads a parent to its end finds its children.
func (b *Backend) forget(name string) error {
	b.control.Lock()
	defer b.control.Unlock()
	old, ok := b.state.Load().byName[name]
	if !ok {
		return nil
	}
	cutoff := b.cutoff(old)
	def := *old.def
	def.Shards = nil
	var gone []*shard
	stay := map[uint32]bool{} // by index: parents stand before their children
	for i, d := range old.def.Shards {
		sh := old.shards[i]
		if !d.Open() && d.Closed.At.UnixMilli() < cutoff && sh.empty() && b.held(sh.id) >= *sh.end &&
			!slices.ContainsFunc(d.Parents, func(p uint32) bool { return stay[p] }) {
			gone = append(gone, sh)
			continue
		}
		stay[d.Index] = true
		def.Shards = append(def.Shards, d)
	}
	if len(gone) == 0 {
		return nil
	}
	err := b.store(func(batch *pebble.Batch) error {
		err := setDoc(batch, &streamDoc{old.number, def})
		for _, sh := range gone {
			err = errors.Join(err, batch.Delete(positionKey(sh.id.stream, sh.id.shard), nil))
		}
		return err
	})
	if err != nil {
		return err
	}
	next := newState(old.number, &def, old)
	for _, sh := range gone {
		next.left.records += sh.records.Load()
		next.left.bytes += sh.bytes.Load()
	}
	b.publish(name, next)
	for _, sh := range gone {
		sh.leave()
	}
	b.unhold(gone)
	return nil
}

// empty reports whether no record of the shard is left.
func (s *shard) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.segments) == 0
}

// unhold forgets who held shards that are gone.
func (b *Backend) unhold(gone []*shard) {
	b.holds.Lock()
	defer b.holds.Unlock()
	for _, m := range b.holds.m {
		for _, sh := range gone {
			delete(m, sh.id)
		}
	}
}
