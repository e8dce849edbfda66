package delivery

import (
	"context"
	"encoding/json"

	"millrace/internal/delivery/journal"
	"millrace/internal/stream"
)

// ahead tells a worker what was delivered beyond the checkpoint that it reads on from. It belongs to the worker; its zero
// value says that nothing was.
type ahead struct {
	lanes   map[string]stream.SequenceNumber // by Lane.ID: what lies before it was delivered
	dropped stream.SequenceNumber            // the same of records without outputs
	end     stream.SequenceNumber            // the furthest of all
	recipe  json.RawMessage                  // by which records were in these lanes
	// records were counted ahead of the checkpoint, as far as positions are dense; seen of them were read again, or are gone.
	records, seen int64
}

// aheadOf takes it from a row, in whose counts all that is outstanding is included.
func aheadOf(row *journal.Row) ahead {
	a := ahead{end: furthest(row), recipe: row.AheadRecipe}
	for _, lane := range row.Ahead {
		if lane.Lane == journal.DroppedLane {
			a.dropped = lane.Through
			continue
		}
		if a.lanes == nil {
			a.lanes = map[string]stream.SequenceNumber{}
		}
		a.lanes[lane.Lane] = lane.Through
	}
	if len(row.Ahead) > 0 {
		a.records = row.Counts.Settled() - between(row, row.Start, row.Checkpoint)
	}
	return a
}

// furthest is behind all that a row accounts for.
func furthest(row *journal.Row) stream.SequenceNumber {
	end := row.Checkpoint
	for _, a := range row.Ahead {
		if end.Before(a.Through) {
			end = a.Through
		}
	}
	return end
}

func (a *ahead) through(l journal.Lane) stream.SequenceNumber {
	if len(a.lanes) == 0 {
		return stream.SequenceNumber{}
	}
	return a.lanes[l.ID()]
}

// saw notes that an output was read again that had been delivered.
func (a *ahead) saw(o *output) {
	if o.first {
		a.seen++
	}
}

// bridge gives the processing by which it is found out what was delivered ahead of a place, when it is another than the
// one that gathers now: an update has changed which lanes there are. nil: it is not.
func (a *ahead) bridge(from stream.SequenceNumber, now *processing) (*processing, error) {
	if len(a.lanes) == 0 || !from.Before(a.end) {
		return nil, nil
	}
	then, err := parseProcessing(a.recipe)
	if err != nil || then.lanes() == now.lanes() {
		return nil, err
	}
	return then, nil
}

// cross puts the outputs that a record had under the processing of before the update, and that were not delivered, into
// the lanes of the one after it. That can't be made again, as a manifest has one recipe.
func (w *worker) cross(r *stream.Record) error {
	g := w.gathered
	var before scratch
	return g.bridge.each(r, &before, func(key []byte, o *output) error {
		if o.sequence.Before(w.ahead.through(laneOf(string(key)))) {
			w.ahead.saw(o)
			return nil
		}
		w.scratch.out = *o
		w.scratch.out.failure = nil
		key, err := g.dest.processing.place(&w.scratch, nil)
		if err != nil {
			return err
		}
		return w.put(key, &w.scratch.out)
	})
}

// deliveredAhead counts the records from the worker's place to another, which are gone, that had been delivered: all that
// were, but for those that were read again and those that still can be.
func (w *worker) deliveredAhead(ctx context.Context, to stream.SequenceNumber) (n int64, err error) {
	a := &w.ahead
	if !w.s.d.dense() || !w.next.Before(a.end) {
		return 0, nil
	}
	processing := w.gathered.dest.processing
	if w.gathered.bridge != nil {
		processing = w.gathered.bridge
	}
	var s scratch
	left := int64(0)
	if to.Before(a.end) {
		err = w.s.eachIn(ctx, new(stream.Batch), to, a.end, func(r *stream.Record) error {
			return processing.each(r, &s, func(key []byte, o *output) error {
				if o.first && o.sequence.Before(a.through(laneOf(string(key)))) {
					left++
				}
				return nil
			})
		})
	}
	n = max(a.records-a.seen-left, 0)
	a.seen += n
	return n, err
}
