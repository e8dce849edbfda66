package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/stream"
)

// budget is the memory that all buffers of a node share, handed out in slabs.
type budget struct {
	total int64
	used  atomic.Int64
	free  sync.Pool // of *[slabBytes]byte
}

// take gives a slab, or nil when the budget is used up. The caller owns it until give.
func (b *budget) take() *[slabBytes]byte {
	if b.used.Add(slabBytes) > b.total {
		b.used.Add(-slabBytes)
		return nil
	}
	if slab, ok := b.free.Get().(*[slabBytes]byte); ok {
		return slab
	}
	return new([slabBytes]byte)
}

func (b *budget) give(slab *[slabBytes]byte) {
	b.used.Add(-slabBytes)
	b.free.Put(slab)
}

// kept is the encoded text (data and delimiters) of the first records of a range, as far as the budget went. It has one
// owner: the buffer, then the task.
type kept struct {
	budget  *budget
	slabs   []*[slabBytes]byte
	used    int // of the last slab
	full    bool
	records int64
	bytes   int64                 // of record data
	next    stream.SequenceNumber // where to read on
}

// add keeps a record, unless the budget is used up now or was before.
func (k *kept) add(r *stream.Record, delimiter []byte) {
	if k.full || !k.reserve(len(r.Data)+len(delimiter)) {
		k.full = true
		return
	}
	k.write(r.Data)
	k.write(delimiter)
	k.records++
	k.bytes += int64(len(r.Data))
	k.next = r.Sequence.Next()
}

// reserve takes the slabs that n more bytes need, all or none. The first record of a range always fits one slab or
// more: used is an offset into slabs, so reserved slabs lie beyond it.
func (k *kept) reserve(n int) bool {
	need := (k.used + n + slabBytes - 1) / slabBytes
	had := len(k.slabs)
	for len(k.slabs) < need {
		slab := k.budget.take()
		if slab == nil {
			for _, s := range k.slabs[had:] {
				k.budget.give(s)
			}
			k.slabs = k.slabs[:had]
			return false
		}
		k.slabs = append(k.slabs, slab)
	}
	return true
}

func (k *kept) write(p []byte) {
	for len(p) > 0 {
		n := copy(k.slabs[k.used/slabBytes][k.used%slabBytes:], p)
		k.used += n
		p = p[n:]
	}
}

// from gives the kept text from an offset to the end of its slab; empty at the end.
func (k *kept) from(offset int) []byte {
	if offset >= k.used {
		return nil
	}
	slab, start := k.slabs[offset/slabBytes], offset%slabBytes
	return slab[start:min(slabBytes, start+k.used-offset)]
}

// drop gives all memory back; nothing is kept from then on.
func (k *kept) drop() {
	for _, s := range k.slabs {
		k.budget.give(s)
	}
	*k = kept{budget: k.budget, full: true}
}

// buffer gathers the records of the object to come. It belongs to its worker.
type buffer struct {
	dest    *destination
	start   stream.SequenceNumber // where it began to read: the end of the plan before
	first   stream.SequenceNumber
	last    stream.SequenceNumber
	next    stream.SequenceNumber // after the last record, or after what has expired
	records int64
	bytes   int64
	expired int64
	gap     bool  // records are gone, expired of them if their number is known
	oldest  int64 // arrival of the first record, milliseconds
	kept    kept

	// age ends when the buffer has been open for its interval, by the monotonic clock.
	age  context.Context
	stop context.CancelFunc
}

func newBuffer(ctx context.Context, start stream.SequenceNumber, dest *destination, b *budget) *buffer {
	age, stop := context.WithTimeout(ctx, dest.age)
	return &buffer{dest: dest, start: start, kept: kept{budget: b}, age: age, stop: stop}
}

func (b *buffer) empty() bool { return b.records == 0 && !b.gap }

func (b *buffer) add(r *stream.Record) {
	if b.records == 0 {
		b.first, b.oldest = r.Sequence, r.Arrival
	}
	b.last, b.next = r.Sequence, r.Sequence.Next()
	b.records++
	b.bytes += int64(len(r.Data))
	b.kept.add(r, b.dest.delimiter)
}

func (b *buffer) isFull() bool { return b.bytes >= b.dest.size }

// wait tells how long the buffer may go on gathering while the reader is at the tip; 0: it is due. Age counts from the
// oldest record's arrival; a clock that steps back can't stretch it beyond the interval, and overdue ends it anyway.
func (b *buffer) wait(now time.Time) time.Duration {
	if b.isFull() || b.records == 0 && b.gap {
		return 0
	}
	left := b.dest.age - now.Sub(time.UnixMilli(b.oldest))
	return min(max(left, 0), b.dest.age)
}

// overdue tells whether the buffer is due while the reader is still catching up: by size, or by the time that this
// process has had it open. So a backlog leaves in full objects.
func (b *buffer) overdue() bool { return b.isFull() || b.age.Err() != nil && !b.empty() }

func (b *buffer) close() {
	b.stop()
	b.kept.drop()
}
