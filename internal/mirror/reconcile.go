package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// What has arrived of a load whose append was cut off is found by reading the destination from the places of its intent.
// A record is known by its key and data; of several equal ones as many count as are found. What was acknowledged within
// this run is known without that.
//
// It rests on this: between the intent and now nobody else has written a record of the same key and data to the
// destination. That is so when producers write to the source only, and when a key's records go to one shard of the
// source at a time; equal records of one key that an ExplicitHashKey has spread over several shards at once can be
// taken for one another.

// digest knows a record.
type digest [16]byte

func digestOf(key string, data []byte) (d digest) {
	h := sha256.New()
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(key)))
	_, _ = h.Write(size[:]) // a hash takes all
	_, _ = h.Write([]byte(key))
	_, _ = h.Write(data)
	var sum [sha256.Size]byte
	copy(d[:], h.Sum(sum[:0]))
	return d
}

// reconcile marks the entries of a load that are at the destination.
func (p *pipeline) reconcile(ctx context.Context, l *load, at places) error {
	// An answer by the destination first: while it is silent, what was sent to it may be waiting there as well.
	if err := p.answered(ctx, at); err != nil {
		return err
	}
	if err := pause(ctx, p.m.opts.Settle); err != nil {
		return err
	}
	want := make(map[digest]int, len(l.entries))
	digests := make([]digest, len(l.entries))
	for i := range l.entries {
		digests[i] = digestOf(l.entries[i].PartitionKey, l.entries[i].Data)
		want[digests[i]]++
	}
	found, gone, err := p.search(ctx, want, len(l.entries), at)
	if err != nil {
		return err
	}
	p.settle(l, digests, found)
	if gone == 0 || p.absent(l) == 0 {
		return nil
	}
	return p.decide(l)
}

// answered returns when the destination has told the tips of its open shards.
func (p *pipeline) answered(ctx context.Context, at places) error {
	to, ok := p.m.opts.To.Stream(p.c.pair.To)
	if !ok || to.ID != p.c.toID {
		return fault.New(fault.NotFound, "mirror.Append", p.c.pair.To, "the destination's stream has been deleted")
	}
	for i := range to.Shards {
		if sh := &to.Shards[i]; sh.Open() {
			if _, err := retried(ctx, func() (stream.SequenceNumber, error) { return p.m.opts.To.Tip(ctx, p.c.toRef(sh.Index)) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// search reads the destination from the places on and counts the records that are wanted. gone: so many were there once
// and can't be read any more.
func (p *pipeline) search(ctx context.Context, want map[digest]int, left int, at places) (found map[digest]int, gone int64, err error) {
	to, ok := p.m.opts.To.Stream(p.c.pair.To)
	if !ok || to.ID != p.c.toID {
		return nil, 0, fault.New(fault.NotFound, "mirror.Append", p.c.pair.To, "the destination's stream has been deleted")
	}
	for shard := range at {
		if _, listed := to.Shard(shard); !listed {
			gone++ // nobody knows how many
		}
	}
	found = map[digest]int{}
	written := places{}
	for i := range to.Shards {
		index := to.Shards[i].Index
		begin, ours := p.c.doc.begin(index, at)
		if !ours {
			continue
		}
		ref := p.c.toRef(index)
		tip, err := retried(ctx, func() (stream.SequenceNumber, error) { return p.m.opts.To.Tip(ctx, ref) })
		if err != nil {
			return nil, 0, err
		}
		w := walk{from: p.m.opts.To, ref: ref, at: begin, limit: limit{tip, true}}
		err = w.run(ctx, func(r *stream.Record) bool {
			d := digestOf(string(r.PartitionKey), r.Data)
			if found[d] < want[d] {
				found[d]++
				left--
				written.raise(index, r.Sequence.Next())
			}
			return left == 0
		})
		if err != nil {
			return nil, 0, err
		}
		if _, known := at[index]; known {
			gone += w.gone
		}
		if left == 0 {
			break
		}
	}
	p.m.opts.State.edit(func() { p.c.doc.raise(written) })
	return found, gone, nil
}

// settle gives what was found to the entries: first to those that are known to be there, then to the others in order.
func (p *pipeline) settle(l *load, digests []digest, found map[digest]int) {
	for i := range l.entries {
		if l.there[i] {
			found[digests[i]]--
		}
	}
	absent := map[string]bool{} // keys with an entry that is not there
	for i := range l.entries {
		key := l.entries[i].PartitionKey
		if l.there[i] {
			continue
		}
		if found[digests[i]] > 0 {
			found[digests[i]]--
			l.there[i] = true
			l.counts.Found++
			if absent[key] {
				l.counts.Reordered++ // an earlier entry of the key was not written, and now comes behind this one
			}
			continue
		}
		absent[key] = true
	}
}

func (p *pipeline) absent(l *load) (n int64) {
	for _, there := range l.there {
		if !there {
			n++
		}
	}
	return n
}

// decide says of entries that can't be found what to take them for, because the destination has removed records that it
// held behind the intent's places.
func (p *pipeline) decide(l *load) error {
	n := p.absent(l)
	switch p.m.opts.Doubt {
	case DoubtAgain:
		l.counts.Assumed += n
	case DoubtSkip:
		l.counts.Assumed += n
		l.counts.Found += n
		for i := range l.there {
			l.there[i] = true
		}
	default:
		return fault.New(fault.Unavailable, "mirror.Append", p.c.pair.To, "%d records of the source's %s were on their way when the mirror "+
			"was cut off, and the destination has meanwhile removed records by retention: whether they arrived can't be told; say "+
			"again or skip with --doubt", n, p.ref)
	}
	return nil
}

// finish brings a load to its end that a run before has left: it reads it from the source again, and appends what is not
// there.
func (p *pipeline) finish(ctx context.Context, l *load, at stream.SequenceNumber, pending *intent) error {
	p.m.opts.Note(fmt.Sprintf("%s: %d records were on their way when the mirror was cut off; looking for them", p.ref, pending.Records))
	records, gone, err := p.again(ctx, l, at, pending)
	if err != nil {
		return err
	}
	l.next = pending.Next
	l.fill(records, p.shard.Range)
	l.counts.Gone = gone
	if err := p.reconcile(ctx, l, pending.Places); err != nil {
		return err
	}
	if err := p.append(ctx, l, pending.Places); err != nil {
		return err
	}
	p.checkpoint(l)
	return nil
}

// again reads the records of an intent from the source, into memory of their own.
func (p *pipeline) again(ctx context.Context, l *load, at stream.SequenceNumber, pending *intent) (records []stream.Record, gone int64, err error) {
	w := walk{from: p.m.opts.From, ref: p.ref, at: at, limit: limit{pending.Next, true}}
	err = w.run(ctx, func(r *stream.Record) bool {
		copied := *r
		copied.PartitionKey = append([]byte(nil), r.PartitionKey...)
		copied.Data = append([]byte(nil), r.Data...)
		records = append(records, copied)
		return len(records) == pending.Records
	})
	if err != nil {
		return nil, 0, err
	}
	if len(records) < pending.Records {
		gone = int64(pending.Records - len(records))
		p.m.opts.Note(fmt.Sprintf("%s: %d records that were on their way have left the source; whether they arrived can't be told", p.ref, gone))
	}
	return records, gone, nil
}
