package delivery

import (
	"context"
	"strings"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/stream"
)

// sweep removes what no definition owns, as far as it lies in our slots: rows of sums whose final counts are written,
// rows that have counted nothing, and an empty hidden stream that a creation left behind which a crash cut off before
// anybody was told of it. What holds records, or has counted some, is never removed; it is reported. left tells that
// something may have to go later.
func (e *Engine) sweep(ctx context.Context) (left bool, err error) {
	if !e.creating.TryLock() {
		return true, nil
	}
	defer e.creating.Unlock()
	defs, err := e.opts.Definitions.All(ctx)
	if err != nil {
		return true, err
	}
	known, streams := map[string]bool{}, map[string]bool{}
	for _, def := range defs {
		for _, id := range def.definitionIDs() {
			known[id] = true
		}
		streams[def.SourceStream()] = true
	}
	withRows, err := e.opts.Journal.Deliveries(ctx)
	if err != nil {
		return true, err
	}
	for _, st := range e.opts.Source.Streams() {
		id := st.Name[strings.LastIndexByte(st.Name, '.')+1:]
		if !st.Hidden() || streams[st.Name] || !e.owns(journal.Home(id, e.slots)) {
			continue
		}
		kept, err := e.sweepStream(ctx, st)
		if err != nil {
			return true, err
		}
		known[id] = known[id] || kept
		left = left || kept
	}
	for _, id := range withRows {
		if known[id] {
			continue
		}
		stays, err := e.sweepRows(ctx, id)
		if err != nil {
			return true, err
		}
		left = left || stays
	}
	return left, nil
}

func (e *Engine) sweepStream(ctx context.Context, st *stream.Stream) (kept bool, err error) {
	if e.group() && e.opts.Now().Sub(st.Created) < groupGrace {
		return true, nil // another node may be about to store its definition
	}
	if !e.emptyStream(ctx, st) {
		e.report(st.Name, "a hidden stream holds records of no delivery stream; it is kept")
		return true, nil
	}
	return false, e.opts.Source.DeleteStream(ctx, st.Name)
}

func (e *Engine) emptyStream(ctx context.Context, st *stream.Stream) bool {
	for i := range st.Shards {
		tip, err := e.opts.Source.Tip(ctx, stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: st.Shards[i].Index})
		if err != nil || st.Shards[i].First.Before(tip) {
			return false
		}
	}
	return true
}

func (e *Engine) sweepRows(ctx context.Context, id string) (stays bool, err error) {
	rows, manifests, err := e.opts.Journal.Load(ctx, id)
	if err != nil {
		return true, err
	}
	_, booked, err := e.opts.Journal.Final(ctx, id)
	if err != nil {
		return true, err
	}
	changes := map[int]*journal.Change{}
	for _, row := range rows {
		slot := journal.SlotOf(row.Key, e.slots)
		switch {
		case !e.owns(slot):
		case row.IsSums() && row.Done:
			if !booked { // the one who books has not seen it yet, or we do not see what he has booked
				stays = true
				continue
			}
			drop(changes, slot, row)
		case len(manifests) > 0 || row.Counts.Settled() > 0:
			e.report(id, "the journal holds rows of no delivery stream; they are kept")
			return true, nil
		default:
			// It has counted nothing. Should its definition come after all, the row is made again as it was.
			drop(changes, slot, row)
		}
	}
	return stays, e.writeAll(ctx, changes)
}

func drop(changes map[int]*journal.Change, slot int, row journal.Row) {
	if changes[slot] == nil {
		changes[slot] = new(journal.Change)
	}
	changes[slot].Drop = append(changes[slot].Drop, row)
}

// report says once what an operator has to look at.
func (e *Engine) report(thing, message string) {
	if _, said := e.supervisor.reported.LoadOrStore(thing, true); !said {
		e.opts.Log.Error(message, "name", thing)
	}
}

// writeAll writes changes of different slots at the same time, so that a journal that gathers writes has them together.
// It gives the first error.
func (e *Engine) writeAll(ctx context.Context, changes map[int]*journal.Change) error {
	errs := make(chan error, len(changes))
	for _, change := range changes {
		go func() { errs <- e.opts.Journal.Write(ctx, change) }() // waited for below; at most one for a slot
	}
	var first error
	for range changes {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// sweepRetry is how soon a sweep that left something is repeated.
const sweepRetry = time.Minute
