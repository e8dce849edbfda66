package delivery

import (
	"context"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/stream"
)

// supervisor looks for new shards of every delivery stream, starts workers whose turn has come, and drops shards that
// have left their stream.
type supervisor struct {
	e     *Engine
	woken chan struct{}
}

func (v *supervisor) kick() {
	select {
	case v.woken <- struct{}{}:
	default:
	}
}

func (v *supervisor) run(ctx context.Context) {
	ticker := time.NewTicker(superviseEvery)
	defer ticker.Stop()
	for {
		for _, d := range v.e.deliveries() {
			if err := d.supervise(ctx); err != nil && d.ctx.Err() == nil {
				d.fail("following shards", err)
			}
		}
		select {
		case <-ticker.C:
		case <-v.woken:
		case <-ctx.Done():
			return
		}
	}
}

func (d *delivery) supervise(ctx context.Context) error {
	d.discovering.Lock()
	defer d.discovering.Unlock()
	if d.reading.Err() != nil {
		return nil
	}
	st, ok := d.engine.opts.Source.Stream(d.source)
	if ok {
		if err := d.discover(ctx, st); err != nil {
			return err
		}
	}
	d.startWorkers(st)
	return d.retire(ctx)
}

// discover makes rows for shards that have come since the start position was stored: children of a split or merge, and
// the shards of a stream that was made again under the same name. All they hold came after that start, so that
// they are read from their beginning.
func (d *delivery) discover(ctx context.Context, st *stream.Stream) error {
	for i := range st.Shards {
		sh := &st.Shards[i]
		ref := stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: sh.Index}
		if d.shard(ref) != nil {
			continue
		}
		row := d.firstRow(ref, sh, sh.First)
		d.engine.opts.Source.Hold(d.holder(), ref, row.Checkpoint)
		if err := d.engine.opts.Journal.Write(ctx, &journal.Change{Rows: []journal.Row{row}}); err != nil {
			return d.reload(ctx, row.Key, err)
		}
		d.admit(row)
	}
	return nil
}

// reload takes over a row whose write failed and has happened all the same.
func (d *delivery) reload(ctx context.Context, key journal.Key, cause error) error {
	row, ok, _, err := d.engine.opts.Journal.LoadShard(ctx, key)
	if err != nil || !ok {
		return cause
	}
	d.admit(row)
	return nil
}

func (d *delivery) firstRow(ref stream.ShardRef, sh *stream.Shard, start stream.SequenceNumber) journal.Row {
	return journal.Row{Key: journal.Key{Delivery: d.id, Shard: ref}, Version: 1, Writer: d.engine.writer,
		Created: sh.Created, Parents: sh.Parents, Start: start, Checkpoint: start}
}

func (d *delivery) admit(row journal.Row) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shards[row.Shard] = newShard(d, row)
}

func (d *delivery) shard(ref stream.ShardRef) *shard {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shards[ref]
}

// startWorkers starts a worker for every shard that is not drained and whose parents are.
func (d *delivery) startWorkers(st *stream.Stream) {
	for _, s := range d.list() {
		row := s.snapshot()
		if s.running || row.Done || !d.parentsDrained(&row) {
			continue
		}
		s.running = true
		d.workers.Add(1)
		go func() {
			defer d.workers.Done()
			(&worker{s: s}).run(d.reading, d.ctx)
		}()
	}
}

// parentsDrained reports whether all records of the parents are delivered. A parent without a row ended before the
// delivery stream began, or has left its stream since.
func (d *delivery) parentsDrained(row *journal.Row) bool {
	for _, index := range row.Parents {
		parent := row.Shard
		parent.Shard = index
		if p := d.shard(parent); p != nil && !p.snapshot().Done {
			return false
		}
	}
	return true
}

// retire adds the counts of drained shards that have left their stream to the sums, and drops their rows.
func (d *delivery) retire(ctx context.Context) error {
	for _, s := range d.list() {
		row := s.snapshot()
		if !row.Done || !s.gone() {
			continue
		}
		d.mu.Lock()
		sums := d.retired
		d.mu.Unlock()
		sums.Version++
		sums.Writer = d.engine.writer
		sums.Counts = sums.Counts.Add(row.Counts)
		sums.LastID = max(sums.LastID, row.LastID)
		err := d.engine.opts.Journal.Write(ctx, &journal.Change{Rows: []journal.Row{sums}, Drop: []journal.Row{row}})
		if err != nil {
			return d.reloadSums(ctx, s, err)
		}
		d.drop(s, sums)
	}
	return nil
}

func (d *delivery) drop(s *shard, sums journal.Row) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retired = sums
	delete(d.shards, s.ref)
}

// reloadSums finds out whether a retirement whose write failed has happened.
func (d *delivery) reloadSums(ctx context.Context, s *shard, cause error) error {
	sums, ok, _, err := d.engine.opts.Journal.LoadShard(ctx, d.retired.Key)
	if err != nil || !ok || sums.Version == d.retired.Version {
		return cause
	}
	d.drop(s, sums)
	return nil
}
