package kafka

import (
	"context"
	"errors"
	"time"

	"millrace/internal/stream"
)

const (
	// finishEvery is how often a node looks for what others have left half done, and forgetEvery for closed shards that
	// retention has passed.
	finishEvery = time.Second
	forgetEvery = time.Minute
	// leftLeases is how long, in halves of a lease, something is half done before another node takes it for left. Who does
	// it is done within a lease but for the worst days, and to do it twice does no harm; while a shard closes, its writers
	// wait, and DefaultProduceTimeout is longer than this.
	leftLeases = 3
)

// unfinished names a stage that a stream should not stay in.
type unfinished struct {
	id     string // of the stream
	status stream.Status
	change string
}

func (d *document) unfinished() (unfinished, bool) {
	u := unfinished{id: d.Stream.ID, status: d.Stream.Status}
	if d.Change != nil {
		u.change = d.Change.ID
	}
	return u, d.Stream.Status != stream.Active
}

// runFinisher finishes what nodes have begun and not ended. What is half done when this node starts may be its own work
// of before, and is finished at once: to do it twice does no harm.
func (b *Backend) runFinisher() {
	since := map[unfinished]time.Time{} // zero: since before we came
	for _, s := range b.view.Load().byName {
		if u, is := s.doc.unfinished(); is {
			since[u] = time.Time{}
		}
	}
	ticker := time.NewTicker(min(finishEvery, b.opts.Lease/2))
	defer ticker.Stop()
	var forgotten time.Time
	for {
		view := b.view.Load()
		seen := map[unfinished]time.Time{}
		for _, s := range view.byName {
			u, is := s.doc.unfinished()
			if !is {
				continue
			}
			first, known := since[u]
			if !known {
				first = time.Now()
			}
			seen[u] = first
			if time.Since(first) < leftLeases*b.opts.Lease/2+spread(b.opts.Settings.ClientID+u.id) {
				continue
			}
			seen[u] = time.Now() // not again at once when it fails
			if err := b.finish(s.doc, view.version); err != nil && b.life.Err() == nil {
				b.opts.Log.Warn("what a node has left half done cannot be finished yet", "stream", s.def.Name, "status", s.def.Status, "error", err)
			}
		}
		since = seen
		if time.Since(forgotten) > min(forgetEvery, 2*b.opts.Lease) {
			forgotten = time.Now()
			for _, s := range view.byName {
				if err := b.forget(s); err != nil && b.life.Err() == nil {
					b.opts.Log.Warn("closed shards cannot be taken out yet", "stream", s.def.Name, "error", err)
				}
			}
		}
		select {
		case <-ticker.C:
		case <-b.life.Done():
			return
		}
	}
}

func (b *Backend) finish(d *document, version int64) error {
	ctx, cancel := context.WithTimeout(b.life, b.opts.AskTimeout+2*b.opts.Lease)
	defer cancel()
	switch d.Stream.Status {
	case stream.Creating:
		return b.finishCreate(ctx, d)
	case stream.Deleting:
		return b.finishDelete(ctx, d, version)
	case stream.Updating:
		return b.finishChange(ctx, d, version)
	}
	return nil
}

// forget takes closed shards out of a stream when their age has passed retention and the brokers have deleted their
// records.
func (b *Backend) forget(s *streamState) error {
	if s.def.Status != stream.Active {
		return nil
	}
	ctx, cancel := b.bounded(b.life)
	defer cancel()
	cutoff := b.opts.Now().Add(-s.def.Retention)
	var gone []uint32
	for i, sh := range s.shards {
		closed := s.def.Shards[i].Closed
		if closed == nil || closed.At.After(cutoff) {
			continue
		}
		if end := s.doc.Ends[sh.index]; sh.partition != nowhere && end > 0 {
			first, err := b.listOffset(ctx, sh, earliest, committed)
			if err != nil {
				return err
			}
			if first < end {
				continue
			}
		}
		gone = append(gone, sh.index)
	}
	if len(gone) == 0 {
		return nil
	}
	_, _, err := b.edit(ctx, "kafka.forget", s.def.Name, s.def.ID, func(d *document) error {
		if d.Stream.Status != stream.Active {
			return errDone
		}
		before := len(d.Stream.Shards)
		if d.forget(gone); len(d.Stream.Shards) == before {
			return errDone
		}
		return nil
	})
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}
