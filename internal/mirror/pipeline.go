package mirror

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// pipeline copies one shard of the source.
type pipeline struct {
	m     *Mirror
	c     *copying
	shard *stream.Shard // as it was when it was found
	ref   stream.ShardRef
	limit limit
	doc   *shardDoc // in the state, and guarded by it

	behind atomic.Int64 // milliseconds, of the last batch
	done   atomic.Bool
}

// load is what a pipeline has in hand: a batch of the source, and the entries for the destination that were made of it.
// There are batchesAtOnce of them.
type load struct {
	batch   stream.Batch
	entries []stream.Entry // PartitionKey has memory of its own, Data is the batch's
	there   []bool         // by entry: it is at the destination
	next    stream.SequenceNumber
	counts  Counts

	todo    []int // of one append
	sent    []stream.Entry
	results []stream.Result
}

// fill makes entries of records.
func (l *load) fill(records []stream.Record, keys stream.HashKeyRange) {
	l.entries, l.there, l.counts = l.entries[:0], l.there[:0], Counts{}
	size := 0
	for i := range records {
		size += len(records[i].PartitionKey)
	}
	var b strings.Builder
	b.Grow(size)
	for i := range records {
		b.Write(records[i].PartitionKey)
	}
	text := b.String()
	for i := range records {
		r := &records[i]
		key := text[:len(r.PartitionKey)]
		text = text[len(key):]
		l.entries = append(l.entries, stream.Entry{PartitionKey: key, Data: r.Data})
		l.there = append(l.there, false)
		l.counts.Bytes += int64(len(key) + len(r.Data))
		if !keys.Contains(stream.HashPartitionKey(key)) {
			l.counts.Moved++
		}
	}
	l.counts.Records = int64(len(records))
}

// run copies the shard until the limit, its end, or the end of ctx.
func (p *pipeline) run(ctx context.Context) error {
	var trouble patience
	for {
		l, err := p.slot(ctx)
		if err != nil {
			return err
		}
		progress, err := p.step(ctx, l, &trouble)
		p.m.slots <- l
		if err != nil {
			return err
		}
		switch progress {
		case ended:
			return p.end(ctx)
		case reached:
			p.done.Store(true)
			return nil
		case idle:
			if err := p.m.opts.From.Wait(ctx, p.ref, p.position()); err != nil && ctx.Err() == nil {
				if !passing(err) {
					return err
				}
				if err := trouble.again(ctx, err); err != nil {
					return err
				}
			}
		}
	}
}

func (p *pipeline) slot(ctx context.Context) (*load, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case l := <-p.m.slots:
		return l, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (p *pipeline) position() (at stream.SequenceNumber) {
	p.m.opts.State.view(func() { at = p.doc.Position })
	return at
}

// end goes on with the children.
func (p *pipeline) end(ctx context.Context) error {
	p.done.Store(true)
	now, ok := p.m.opts.From.Stream(p.c.pair.From)
	if !ok || now.ID != p.c.from.ID {
		return fault.New(fault.NotFound, "mirror.Run", p.c.pair.From, "the source's stream has been deleted")
	}
	p.c.proceed(ctx, now)
	return nil
}

// progress is what a step comes to.
type progress uint8

const (
	more    progress = iota // to be read at once
	idle                    // at the tip, and to be followed
	reached                 // the limit
	ended                   // the shard's end
)

// step copies one batch: what an intent of before says, or what comes next.
func (p *pipeline) step(ctx context.Context, l *load, trouble *patience) (progress, error) {
	var pending *intent
	at := stream.SequenceNumber{}
	p.m.opts.State.view(func() { pending, at = p.doc.Intent, p.doc.Position })
	if pending != nil {
		return more, p.finish(ctx, l, at, pending)
	}
	req := stream.ReadRequest{
		Shard: p.ref, From: at,
		MaxRecords: p.m.records.portion(p.m.most), MaxBytes: p.m.bytes.portion(batchBytes),
	}
	if err := p.m.opts.From.Read(ctx, req, &l.batch); err != nil {
		switch {
		case ctx.Err() != nil:
			return more, context.Cause(ctx)
		case !passing(err):
			return more, err
		}
		return more, trouble.again(ctx, err)
	}
	trouble.well()
	return p.take(ctx, l)
}

// take copies the batch that was read.
func (p *pipeline) take(ctx context.Context, l *load) (progress, error) {
	records, atLimit := p.limit.within(&l.batch)
	p.behind.Store(l.batch.MillisBehind)
	cut := len(records) < len(l.batch.Records)
	l.next = l.batch.Next
	if cut {
		l.next = p.position()
		if n := len(records); n > 0 {
			l.next = records[n-1].Sequence.Next()
		}
	}
	l.fill(records, p.shard.Range)
	l.counts.Gone = l.batch.Skipped
	if err := p.copy(ctx, l); err != nil {
		return more, err
	}
	switch {
	case l.batch.End && !cut:
		p.m.opts.State.edit(func() { p.doc.Ended = true })
		return ended, nil
	case p.m.opts.Follow && atTip(&l.batch):
		return idle, nil
	case p.limit.set && atLimit:
		return reached, nil
	case len(l.batch.Records) == 0:
		return idle, nil // more is to come, but not at hand; or the end of a closed shard is
	}
	return more, nil
}

// copy brings a filled load to the destination and moves the checkpoint behind it.
func (p *pipeline) copy(ctx context.Context, l *load) error {
	if len(l.entries) > 0 {
		if err := p.fits(l); err != nil {
			return err
		}
		if err := p.m.pace(ctx, l); err != nil {
			return err
		}
		p.m.opts.Failpoint("mirror-read")
		var places places
		p.m.opts.State.edit(func() {
			places = merged(p.c.doc.Places, p.c.doc.Written)
			p.doc.Intent = &intent{Next: l.next, Records: len(l.entries), Places: places}
		})
		if err := p.m.opts.State.save(p.m.opts.Failpoint); err != nil {
			return err
		}
		p.m.opts.Failpoint("mirror-intent")
		if err := p.append(ctx, l, places); err != nil {
			return err
		}
		p.m.opts.Failpoint("mirror-appended")
	}
	p.checkpoint(l)
	return nil
}

// checkpoint moves behind a load that is at the destination.
func (p *pipeline) checkpoint(l *load) {
	if l.counts.Records != l.counts.Copied+l.counts.Found {
		panic(fmt.Sprintf("mirror: %s: %+v does not add up", p.ref, l.counts))
	}
	p.m.opts.State.edit(func() {
		p.doc.Intent = nil
		p.doc.Position = l.next
		p.doc.Counts.add(&l.counts)
	})
}

// fits refuses what the destination does not take, before an intent.
func (p *pipeline) fits(l *load) error {
	to, ok := p.m.opts.To.Stream(p.c.pair.To)
	if !ok || to.ID != p.c.toID {
		return fault.New(fault.NotFound, "mirror.Append", p.c.pair.To, "the destination's stream has been deleted")
	}
	for i := range l.entries {
		if n := len(l.entries[i].Data); n > to.MaxRecordBytes {
			return fault.New(fault.Invalid, "mirror.Append", p.c.pair.To, "record %v of the source's %s has %d bytes; the destination takes %d",
				l.batch.Records[i].Sequence, p.ref, n, to.MaxRecordBytes)
		}
	}
	return nil
}

// pace waits until a load may pass by the rates.
func (m *Mirror) pace(ctx context.Context, l *load) error {
	if err := m.records.take(ctx, len(l.entries)); err != nil {
		return err
	}
	return m.bytes.take(ctx, int(l.counts.Bytes))
}

// callContext lets an append that has begun come to its end, also when the run is to stop.
func callContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
}
