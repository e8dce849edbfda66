package mirror

import (
	"context"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// limit is where reading ends before a shard does. Unset: at the shard's end, or its tip.
type limit struct {
	at  stream.SequenceNumber
	set bool
}

// beyond reports whether a record lies behind the limit.
func (l limit) beyond(r *stream.Record) bool {
	if !l.set {
		return false
	}
	if t, is := l.at.Moment(); is {
		return r.Arrival > t.UnixMilli() // a tip that is a moment has no later record
	}
	return !r.Sequence.Before(l.at)
}

// within cuts off what a batch holds behind the limit, and tells whether the limit is reached.
func (l limit) within(b *stream.Batch) (records []stream.Record, reached bool) {
	for i := range b.Records {
		if l.beyond(&b.Records[i]) {
			return b.Records[:i], true
		}
	}
	if _, moment := l.at.Moment(); l.set && !moment && !b.Next.Before(l.at) {
		return b.Records, true
	}
	return b.Records, atTip(b)
}

// atTip tells that nothing follows now.
func atTip(b *stream.Batch) bool { return b.MillisBehind == 0 }

// walk shows the records of a shard in their order, from a place to the limit, until visit has seen enough.
type walk struct {
	from  stream.Backend
	ref   stream.ShardRef
	at    stream.SequenceNumber
	limit limit
	batch stream.Batch
	gone  int64 // records that were not there any more
}

func (w *walk) run(ctx context.Context, visit func(*stream.Record) (enough bool)) error {
	var p patience
	for {
		req := stream.ReadRequest{Shard: w.ref, From: w.at, MaxRecords: batchRecords, MaxBytes: batchBytes}
		if err := w.from.Read(ctx, req, &w.batch); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !passing(err) {
				return err
			}
			if err := p.again(ctx, err); err != nil {
				return err
			}
			continue
		}
		p.well()
		w.gone += w.batch.Skipped
		records, reached := w.limit.within(&w.batch)
		for i := range records {
			if visit(&records[i]) {
				return nil
			}
		}
		w.at = w.batch.Next
		if reached || w.batch.End {
			return nil
		}
		if len(records) == 0 { // before the tip, and nothing at hand
			if err := w.from.Wait(ctx, w.ref, w.at); err != nil && !fault.Is(err, fault.Unavailable) {
				return err
			}
		}
	}
}
