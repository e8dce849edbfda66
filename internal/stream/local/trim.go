package local

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/stream"
)

// Hold keeps the records of a shard from a place on.
func (b *Backend) Hold(holder string, ref stream.ShardRef, from stream.SequenceNumber) {
	_, sh, err := b.find("local.Hold", ref)
	if err != nil {
		return // a stream that is gone has nothing to keep
	}
	b.holds.Lock()
	defer b.holds.Unlock()
	m := b.holds.m[holder]
	if m == nil {
		m = map[shardID]uint64{}
		b.holds.m[holder] = m
	}
	m[sh.id] = sh.position(from)
}

// Release drops all holds of a holder.
func (b *Backend) Release(holder string) {
	b.holds.Lock()
	defer b.holds.Unlock()
	delete(b.holds.m, holder)
}

// held gives the lowest position that somebody holds.
func (b *Backend) held(id shardID) uint64 {
	b.holds.Lock()
	defer b.holds.Unlock()
	lowest := uint64(stream.LastPosition)
	for _, m := range b.holds.m {
		if pos, ok := m[id]; ok {
			lowest = min(lowest, pos)
		}
	}
	return lowest
}

// StartTrimming begins to look, again and again, for what retention has passed.
func (b *Backend) StartTrimming() {
	b.trimming.Do(func() {
		b.goroutine.Go(func() {
			tick := time.NewTicker(b.opts.TrimEvery)
			defer tick.Stop()
			for {
				if err := b.trim(); err != nil {
					b.opts.Log.Error("records past retention could not be deleted; it is tried again", "error", err)
				}
				select {
				case <-b.closing:
					return
				case <-tick.C:
				}
			}
		})
	})
}

// trim drops every segment that retention has passed and nobody holds. Below the low-space mark holds no longer count:
// a stream that keeps everything for a bucket that never comes back would stop all others.
func (b *Backend) trim() error {
	if b.broken.Load() != nil {
		return nil
	}
	// The bucket that is being filled has to end before it can go.
	if err := b.inTurn(func() { b.rotate(b.opts.Now()) }); err != nil {
		select {
		case <-b.closing:
			return nil
		default:
			return err
		}
	}
	low := b.opts.Low()
	var all error
	for name, s := range b.state.Load().byName {
		cutoff := b.cutoff(s)
		for _, sh := range s.shards {
			held := b.held(sh.id)
			hold := held
			if low {
				hold = stream.LastPosition
			}
			if n := sh.expired(cutoff, hold, b.commit.current.Load()); n > 0 {
				all = errors.Join(all, b.drop(s, sh, n, held))
			}
		}
		if len(s.open) < len(s.shards) {
			all = errors.Join(all, b.forget(name))
		}
	}
	return all
}

// expired counts the segments from the oldest on that can go.
func (s *shard) expired(cutoff int64, hold uint64, current uint32) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.segments) {
		seg, end := s.segments[n], s.durable.Load()
		if n+1 < len(s.segments) {
			end = s.segments[n+1].first
		}
		if seg.until >= cutoff || end > hold || seg.bucket >= current {
			break
		}
		n++
	}
	return n
}

// drop deletes a shard's oldest n segments, and notes where the shard goes on should nothing be left of it.
func (b *Backend) drop(s *streamState, sh *shard, n int, held uint64) error {
	b.control.Lock() // a stream that is deleted meanwhile must leave no floor behind
	defer b.control.Unlock()
	sh.mu.Lock()
	if sh.gone || n > len(sh.segments) {
		sh.mu.Unlock()
		return nil
	}
	dropped := sh.segments[:n]
	end, until := sh.durable.Load(), dropped[n-1].until
	if n < len(sh.segments) {
		end = sh.segments[n].first
	}
	sh.mu.Unlock()

	batch := b.db.NewBatch()
	defer batch.Close()
	var err error
	for _, seg := range dropped {
		err = errors.Join(err, dropSegment(batch, sh.id, seg.bucket))
	}
	floor := binary.BigEndian.AppendUint64(nil, end)
	floor = binary.BigEndian.AppendUint64(floor, uint64(until))
	err = errors.Join(err, batch.Set(positionKey(sh.id.stream, sh.id.shard), floor, nil))
	if err == nil {
		err = batch.Commit(pebble.Sync)
	}
	if err != nil {
		return err
	}
	if end > held {
		b.opts.Log.Error("undelivered records past retention were deleted, because disk space is below the low-space mark",
			"stream", s.def.Name, "shard", stream.ShardID(sh.index), "before", sh.sequence(end).String())
	}
	sh.mu.Lock()
	if len(sh.segments) >= n {
		sh.segments = sh.segments[n:]
	}
	sh.mu.Unlock()
	return nil
}
