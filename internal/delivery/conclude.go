package delivery

import (
	"context"
	"slices"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
)

// deletePoll is how often a waiting Delete looks whether the others have settled their slots.
const deletePoll = 100 * time.Millisecond

// conclude takes a deletion as far as it goes now. Each step is durable, can be found done, and is done by one owner:
//
//	1  every slot: all rows of the delivery stream become one row of sums that is Done
//	2  home slot, when all slots have one: the final counts
//	3  home slot: the hidden stream and the definition go
//	4  every slot: the row of sums goes, as no definition owns it (see sweep)
//
// The caller holds discovering.
func (d *delivery) conclude(ctx context.Context) error {
	d.cancel()
	d.waitFor(d.list())
	d.putsEnded()
	e := d.engine
	final, booked, err := e.opts.Journal.Final(ctx, d.id)
	if err != nil {
		return err
	}
	if !booked {
		if err := d.settleAll(ctx); err != nil {
			return err
		}
	}
	home := journal.Home(d.id, e.slots)
	if !e.owns(home) {
		return nil
	}
	if !booked {
		if final, booked, err = d.book(ctx, home); err != nil || !booked {
			return err
		}
	}
	e.opts.Source.Release(d.holder())
	def := d.definition.Load()
	if def.backupOf != nil {
		return nil // source and definition are the delivery stream's own
	}
	if settled, err := d.backupConcluded(ctx); err != nil || !settled {
		return err
	}
	if def.Type == DirectPut {
		if err := e.opts.Source.DeleteStream(ctx, def.SourceStream()); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	if err := e.removeDefinition(ctx, def); err != nil {
		return err
	}
	if final.Counts.Discarded > 0 {
		e.opts.Log.Error("records were discarded with their delivery stream", "deliveryStream", def.Name,
			"records", final.Counts.Discarded)
	}
	return nil
}

// putsEnded waits for puts under way. Later ones are refused.
func (d *delivery) putsEnded() {
	d.appends.Lock()
	defer d.appends.Unlock()
}

// settleAll takes step 1 in all slots of ours.
func (d *delivery) settleAll(ctx context.Context) error {
	if err := d.take(ctx); err != nil {
		return err
	}
	// Every shard has a row before it is settled, so that what it holds is counted.
	if st, ok := d.engine.opts.Source.Stream(d.source); ok {
		if err := d.discover(ctx, st); err != nil {
			return err
		}
	}
	heads, cancel := context.WithTimeout(ctx, drainTimeout) // a bucket that hangs must not hold up a deletion
	defer cancel()
	changes := map[int]*journal.Change{}
	for _, slot := range d.takenSlots() {
		if !d.works(slot) {
			continue
		}
		change, err := d.settlement(ctx, heads, slot)
		if err != nil {
			return err
		}
		changes[slot] = change
	}
	err := d.engine.writeAll(ctx, changes)
	for slot, change := range changes {
		if err != nil {
			d.forget(slot) // it may have happened: it is loaded again
			continue
		}
		d.replace(slot, &change.Rows[0])
		for _, m := range change.Remove { // what is staged and was not delivered
			d.engine.unstage(heads, m)
		}
	}
	return err
}

// forget drops what is known of a slot; take loads it again. Nothing runs on it.
func (d *delivery) forget(slot int) { d.replace(slot, nil) }

// replace puts a row of sums in the place of all that is known of a slot.
func (d *delivery) replace(slot int, sums *journal.Row) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if delete(d.sums, slot); sums != nil {
		d.sums[slot] = *sums
	}
	for ref := range d.shards {
		if d.slotOf(ref) == slot {
			delete(d.shards, ref)
		}
	}
}

// settlement makes the one step that settles a slot: what is in flight was delivered if its object is in the bucket, and
// is discarded else.
func (d *delivery) settlement(ctx, heads context.Context, slot int) (*journal.Change, error) {
	change := &journal.Change{}
	var counts journal.Counts
	var lastID uint64
	for _, s := range d.list() {
		if d.slotOf(s.ref) != slot {
			continue
		}
		row, outstanding, err := s.exact(ctx)
		if err != nil {
			d.forget(slot)
			return nil, err
		}
		change.Drop = append(change.Drop, row)
		counts = counts.Add(row.Counts)
		lastID = max(lastID, row.LastID)
		for _, t := range outstanding {
			result := t.outcome(heads).counts()
			counts = counts.Add(result)
			change.Remove = append(change.Remove, t.manifest)
			row.Pass(t.manifest)
			row.Counts = row.Counts.Add(result)
		}
		if !row.Done {
			counts.Discarded += d.engine.undelivered(ctx, s, &row)
		}
	}
	sums := d.addToSums(slot, counts, lastID)
	sums.Done = true
	change.Rows = []journal.Row{sums}
	return change, nil
}

// exact gives the row and the tasks as the journal has them.
func (s *shard) exact(ctx context.Context) (journal.Row, []*task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.resync(ctx); err != nil {
		return journal.Row{}, nil, err
	}
	for _, t := range s.outstanding {
		if t.reloaded != nil {
			t.manifest, t.reloaded = t.reloaded, nil
		}
	}
	return s.row, slices.Clone(s.outstanding), nil
}

// undelivered counts the records of a shard behind its checkpoint.
func (e *Engine) undelivered(ctx context.Context, s *shard, row *journal.Row) int64 {
	if !s.d.dense() {
		return 0
	}
	tip, err := e.opts.Source.Tip(ctx, s.ref)
	if err != nil {
		tip = s.tip
	}
	return unsettled(row, tip)
}

// book takes step 2: it adds up the rows of sums of all slots, and is the only one to do so, as only the owner of the home
// slot can write there. Rows of sums that are Done stay until the final counts are seen, so that none is missing here.
func (d *delivery) book(ctx context.Context, home int) (f journal.Final, booked bool, err error) {
	rows, _, err := d.engine.opts.Journal.Load(ctx, d.id)
	if err != nil {
		return f, false, err
	}
	def := d.definition.Load()
	f = journal.Final{ID: d.id, Name: d.name, Deleted: def.Deleted}
	change := &journal.Change{Final: &f}
	settled := 0
	for _, row := range rows {
		if !row.IsSums() || !row.Done {
			return f, false, nil
		}
		settled++
		f.Counts = f.Counts.Add(row.Counts)
		if journal.SlotOf(row.Key, d.engine.slots) == home {
			change.Drop = append(change.Drop, row)
		}
	}
	if settled < d.engine.slots {
		return f, false, nil
	}
	f.Accepted = f.Counts.Settled()
	if f.Deleted.IsZero() { // a deletion that an earlier version began
		f.Deleted = d.engine.opts.Now().UTC()
	}
	if err := d.engine.opts.Journal.Write(ctx, change); err != nil {
		return f, false, err
	}
	return f, true, nil
}
