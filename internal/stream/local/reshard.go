package local

import (
	"context"
	"errors"

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
	def, err := old.def.Resharded(change, b.opts.Now())
	if err != nil {
		return nil, err
	}
	if n := def.OpenShards(); n > maxShards || len(def.Shards) > maxListed {
		return nil, fault.New(fault.LimitExceeded, op, name, "%d open shards of %d; at most %d of %d", n, len(def.Shards), maxShards, maxListed)
	}
	if turn := b.inTurn(func() { err = b.reshard(old, def) }); turn != nil {
		return nil, turn
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, name, "%w", err)
	}
	return def, nil
}

// maxListed bounds the shards of a stream together with the closed ones that retention still keeps.
const maxListed = 10 * maxShards

// reshard stores the new shards, closes the old and shows the result. A crash before the commit leaves the old shards
// open; after it, the closed ones end where their records do (recover).
func (b *Backend) reshard(old *streamState, def *stream.Stream) error {
	if err := b.store(func(batch *pebble.Batch) error { return setDoc(batch, &streamDoc{old.number, *def}) }); err != nil {
		return err
	}
	next := newState(old.number, def, old)
	for i, sh := range next.shards {
		if !def.Shards[i].Open() {
			sh.close()
		}
	}
	b.publish(def.Name, next)
	return nil
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

// forget takes the closed shards out of a stream that retention has passed: nothing of them is left, and nobody holds
// a place before their ends.
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
	for i, d := range old.def.Shards {
		if sh := old.shards[i]; !d.Open() && d.Closed.At.UnixMilli() < cutoff && sh.empty() && b.held(sh.id) >= *sh.end {
			gone = append(gone, sh)
			continue
		}
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
	b.publish(name, newState(old.number, &def, old))
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
