package delivery

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/stream"
)

// supervisor takes what lies in slots that were gained, looks for new shards of every delivery stream, starts workers
// whose turn has come, drops shards that have left their stream, and takes deletions as far as they go.
type supervisor struct {
	e     *Engine
	woken chan struct{}

	sweeping atomic.Bool // a sweep is due
	reported sync.Map    // what has been reported: set of string
}

func newSupervisor(e *Engine) *supervisor {
	return &supervisor{e: e, woken: make(chan struct{}, 1)}
}

func (v *supervisor) kick() {
	select {
	case v.woken <- struct{}{}:
	default:
	}
}

func (v *supervisor) sweepSoon() { v.sweeping.Store(true) }

func (v *supervisor) run(ctx context.Context) {
	ticker := time.NewTicker(superviseEvery)
	defer ticker.Stop()
	var again time.Time // when the sweep is repeated; zero: not
	uploads := time.Now().Add(sweepUploadsEvery)
	prune := time.Now()
	for {
		for _, d := range v.e.deliveries() {
			if err := d.supervise(ctx); err != nil && ctx.Err() == nil && (d.ctx.Err() == nil || d.isDeleting()) {
				d.fail("following shards", err)
			}
		}
		v.e.bury()
		if v.sweeping.Swap(false) || !again.IsZero() && time.Now().After(again) {
			again = v.sweep(ctx)
		}
		if time.Now().After(uploads) {
			v.sweepUploads(ctx)
			uploads = time.Now().Add(sweepUploadsEvery)
		}
		if now := time.Now(); !now.Before(prune) {
			v.e.pruneIndex(ctx)
			prune = now.Add(pruneEvery)
		}
		select {
		case <-ticker.C:
		case <-v.woken:
		case <-ctx.Done():
			return
		}
	}
}

// sweepUploads removes what was staged for plans that never came, for the delivery streams that are this node's to decide on.
func (v *supervisor) sweepUploads(ctx context.Context) {
	for _, d := range v.e.deliveries() {
		if d.isDeleting() || !v.e.owns(journal.Home(d.id, v.e.slots)) {
			continue
		}
		if err := d.sweepUploads(ctx); err != nil && ctx.Err() == nil {
			v.e.opts.Log.Warn("what was staged and is not needed could not be removed; it is tried again", "deliveryStream", d.name, "error", err)
		}
	}
}

func (v *supervisor) sweep(ctx context.Context) (again time.Time) {
	left, err := v.e.sweep(ctx)
	if err != nil && ctx.Err() == nil {
		v.e.opts.Log.Warn("remains of delivery streams could not be removed; it is tried again", "error", err)
	}
	if left || err != nil {
		again = time.Now().Add(sweepRetry)
	}
	return again
}

// supervise does what is due for a delivery stream.
func (d *delivery) supervise(ctx context.Context) error {
	d.discovering.Lock()
	defer d.discovering.Unlock()
	if d.engine.closed.Load() {
		return nil
	}
	if d.isDeleting() {
		return d.conclude(ctx)
	}
	if d.reading.Err() != nil {
		return nil
	}
	if err := d.take(ctx); err != nil {
		return err
	}
	st, ok := d.engine.opts.Source.Stream(d.source)
	if ok {
		if err := d.discover(ctx, st); err != nil {
			return err
		}
	}
	if err := d.startWorkers(ctx, st); err != nil {
		return err
	}
	return d.retire(ctx)
}

// discover makes rows for shards in our slots that have none: those that the source had when the delivery stream was made
// begin at their stored start; all others (children of a split or merge, the shards of a stream that was made again
// under the same name) at their first record, as all that they hold came later.
func (d *delivery) discover(ctx context.Context, st *stream.Stream) error {
	changes := map[int]*journal.Change{}
	for i := range st.Shards {
		sh := &st.Shards[i]
		ref := stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: sh.Index}
		slot := d.slotOf(ref)
		if d.shard(ref) != nil || !d.works(slot) {
			continue
		}
		at := sh.First
		if start, ok := d.definition.Load().Starts.of(ref); ok {
			if start.Closed {
				continue
			}
			at = start.At
		}
		row := d.firstRow(ref, sh, at)
		d.engine.opts.Source.Hold(d.holder(), ref, row.Checkpoint)
		if changes[slot] == nil {
			changes[slot] = new(journal.Change)
		}
		changes[slot].Rows = append(changes[slot].Rows, row)
	}
	if len(changes) == 0 {
		return nil
	}
	err := d.engine.writeAll(ctx, changes)
	for _, change := range changes {
		for _, row := range change.Rows {
			if err != nil { // a write whose answer was an error may have happened all the same
				have, ok, _, loadErr := d.engine.opts.Journal.LoadShard(ctx, row.Key)
				if loadErr != nil || !ok {
					continue
				}
				row = have
			}
			d.admit(row)
		}
	}
	return err
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
func (d *delivery) startWorkers(ctx context.Context, st *stream.Stream) error {
	for _, s := range d.list() {
		row := s.snapshot()
		if s.running || row.Done || s.reading.Err() != nil {
			continue
		}
		drained, err := d.parentsDrained(ctx, st, s, row.Parents)
		if err != nil {
			return err
		}
		if !drained {
			continue
		}
		s.running = true
		s.worker.Go(func() { (&worker{s: s}).run(s.reading, s.ctx) })
	}
	return nil
}

// parentsDrained reports whether all records of a shard's parents are delivered. Then its keys will sort behind theirs.
func (d *delivery) parentsDrained(ctx context.Context, st *stream.Stream, s *shard, parents []uint32) (bool, error) {
	for _, index := range parents {
		parent := s.ref
		parent.Shard = index
		row, drained, err := d.parentDrained(ctx, st, parent)
		if !drained || err != nil {
			return false, err
		}
		s.comesAfter(&row)
	}
	return true, nil
}

// parentDrained looks at the parent's row, which another node may own. A parent without a row was closed when the delivery
// stream was made, or has left its stream since; else its owner is about to make the row.
func (d *delivery) parentDrained(ctx context.Context, st *stream.Stream, parent stream.ShardRef) (row journal.Row, drained bool, err error) {
	if p := d.shard(parent); p != nil {
		row = p.snapshot()
		return row, row.Done, nil
	}
	if d.engine.group() {
		row, ok, _, err := d.engine.opts.Journal.LoadShard(ctx, journal.Key{Delivery: d.id, Shard: parent})
		if err != nil || ok {
			return row, row.Done, err
		}
	}
	starts := d.definition.Load().Starts
	if starts == nil { // all shards of its time had rows when it was made
		return row, true, nil
	}
	if start, ok := starts.of(parent); ok && start.Closed {
		return row, true, nil
	}
	if st == nil || st.ID != parent.ID {
		return row, true, nil
	}
	_, listed := st.Shard(parent.Shard)
	return row, !listed, nil
}

// retire adds the counts of drained shards that have left their stream to the sums, and drops their rows.
func (d *delivery) retire(ctx context.Context) error {
	for _, s := range d.list() {
		row := s.snapshot()
		if !row.Done || !s.gone() || !s.goneForGood() {
			continue
		}
		slot := d.slotOf(s.ref)
		sums := d.addToSums(slot, row.Counts, row.LastID)
		change := &journal.Change{Drop: []journal.Row{row}}
		d.engine.keepHours(&row, &sums, change)
		change.Rows = []journal.Row{sums}
		err := d.engine.opts.Journal.Write(ctx, change)
		if err != nil {
			return d.reloadSums(ctx, s, slot, err)
		}
		d.drop(s, slot, sums)
	}
	return nil
}

// goneForGood reports whether a shard that has left its stream may be forgotten: another node, which may own its slot
// next, must have seen it leave too, or it would take it for a new one. The caller holds delivery.discovering.
func (s *shard) goneForGood() bool {
	if !s.d.engine.group() {
		return true
	}
	if s.left.IsZero() {
		s.left = time.Now()
	}
	return time.Since(s.left) >= groupGrace
}

// addToSums gives the row of sums of a slot, with counts added, as it is to be written.
func (d *delivery) addToSums(slot int, counts journal.Counts, lastID uint64) journal.Row {
	d.mu.Lock()
	sums := d.sums[slot]
	d.mu.Unlock()
	sums.Version++
	sums.Writer = d.engine.writer
	sums.Counts = sums.Counts.Add(counts)
	sums.LastID = max(sums.LastID, lastID)
	return sums
}

func (d *delivery) drop(s *shard, slot int, sums journal.Row) {
	s.stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sums[slot] = sums
	delete(d.shards, s.ref)
}

// reloadSums finds out whether a retirement whose write failed has happened.
func (d *delivery) reloadSums(ctx context.Context, s *shard, slot int, cause error) error {
	d.mu.Lock()
	known := d.sums[slot]
	d.mu.Unlock()
	sums, ok, _, err := d.engine.opts.Journal.LoadShard(ctx, known.Key)
	if err != nil || !ok || sums.Version == known.Version {
		return cause
	}
	d.drop(s, slot, sums)
	return nil
}

// takenSlots gives the slots whose rows are loaded, in order.
func (d *delivery) takenSlots() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	slots := make([]int, 0, len(d.sums))
	for slot := range d.sums {
		slots = append(slots, slot)
	}
	slices.Sort(slots)
	return slots
}
