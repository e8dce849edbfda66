package kafka

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// call is one Append on its way to the brokers. It owns copies of the entries, because the producer may hold them longer
// than the caller waits: the last one who lets go of it (the caller, or the last promise) puts it back.
type call struct {
	b     *Backend
	slots []slot
	bytes []byte // keys, data, headers
	extra []kgo.RecordHeader
	room  int64 // that it holds

	todo     []int32  // entries that have no result yet
	probes   []*shard // of this round
	blocked  bool     // an entry met a shard that takes none
	unplaced bool     // an entry met a partition that the producer does not know

	doneRecords, doneBytes int64

	flying atomic.Int32  // records with the producer, and one while round runs
	landed chan struct{} // one signal a round
	refs   atomic.Int32
}

// slot is an entry on its way. It is its record's context, by which partitioner and promise find it.
type slot struct {
	nobody
	call   *call
	key    stream.HashKey
	record kgo.Record

	// Of the present round.
	shard *shard
	state atomic.Int32
	err   error // of failed
}

// nobody is a context that never ends: a caller who leaves cancels no record. It has no memory of its own, because the
// producer may look at it after the slot has been used again.
type nobody struct{}

func (nobody) Deadline() (time.Time, bool) { return time.Time{}, false }
func (nobody) Done() <-chan struct{}       { return nil }
func (nobody) Err() error                  { return nil }
func (nobody) Value(any) any               { return nil }

var _ context.Context = (*slot)(nil)

// States of a slot.
const (
	held     int32 = iota // not handed to the producer
	underWay              // with the producer
	written               // acknowledged
	unplaced              // handed back: the producer does not know the partition
	failed                // handed back: it may have been written or not
)

var calls = sync.Pool{New: func() any { return &call{landed: make(chan struct{}, 1)} }}

const (
	// maxKeptBytes and maxKeptSlots are what a call may keep when it is put back, so that a large one does not hold its
	// memory for good.
	maxKeptBytes = 1 << 20
	maxKeptSlots = 1 << 10

	maxHashKeyDigits = 39
	// recordFootprint is about what a record in flight takes beside its bytes, here and in the producer.
	recordFootprint = 512
)

// fill copies the entries.
func (c *call) fill(s *streamState, op string, entries []stream.Entry) error {
	total, headers := 0, 0
	hidden := s.def.Hidden() // nobody reads such a topic but us: spare its records the hash key
	limit := min(s.def.MaxRecordBytes+maxKeyBytes, int(s.topic.maxBatch.Load())-recordOverhead-batchOverhead)
	for i := range entries {
		e := &entries[i]
		if len(e.PartitionKey) > maxKeyBytes {
			return fault.New(fault.Invalid, op, s.def.Name, "entry %d: the partition key has %d bytes; at most %d", i, len(e.PartitionKey), maxKeyBytes)
		}
		n, most := len(e.Data)+len(e.PartitionKey), limit
		if e.Sealed {
			most += sealedRoom
		}
		if n > most {
			return fault.New(fault.Invalid, op, s.def.Name, "entry %d has %d bytes of data and key; the topic takes at most %d", i, n, most)
		}
		total += n
		if e.ExplicitHashKey != nil && !hidden {
			headers++
			total += maxHashKeyDigits
		}
		if e.Sealed {
			headers++
		}
	}
	if cap(c.bytes) < total {
		c.bytes = make([]byte, 0, total)
	}
	if n := len(entries); cap(c.slots) < n {
		c.slots, c.todo = make([]slot, n), make([]int32, 0, n)
	}
	if cap(c.extra) < headers {
		c.extra = make([]kgo.RecordHeader, 0, headers)
	}
	c.slots = c.slots[:len(entries)]
	for i := range entries {
		e, sl := &entries[i], &c.slots[i]
		sl.call, sl.key = c, e.HashKey()
		sl.record = kgo.Record{Key: c.own(e.PartitionKey), Value: c.own(string(e.Data))}
		at := len(c.extra)
		if e.ExplicitHashKey != nil && !hidden {
			c.extra = append(c.extra, kgo.RecordHeader{Key: ehkHeader, Value: c.own(e.ExplicitHashKey.String())})
		}
		if e.Sealed {
			c.extra = append(c.extra, kgo.RecordHeader{Key: sealedHeader})
		}
		if end := len(c.extra); end > at {
			sl.record.Headers = c.extra[at:end:end]
		}
	}
	c.room = int64(total) + int64(len(entries))*recordFootprint
	return nil
}

// own copies bytes into the call's memory, which has room for them.
func (c *call) own(p string) []byte {
	at := len(c.bytes)
	c.bytes = append(c.bytes, p...)
	return c.bytes[at:len(c.bytes):len(c.bytes)]
}

func (c *call) unref() {
	if c.refs.Add(-1) == 0 {
		c.b.produced.release(c.room)
		c.recycle()
	}
}

func (c *call) recycle() {
	select {
	case <-c.landed:
	default:
	}
	if cap(c.bytes) > maxKeptBytes || cap(c.slots) > maxKeptSlots {
		c.bytes, c.slots, c.todo, c.extra = nil, nil, nil, nil
	}
	clear(c.probes)
	c.b, c.room = nil, 0
	c.bytes, c.slots, c.todo, c.extra, c.probes = c.bytes[:0], c.slots[:0], c.todo[:0], c.extra[:0], c.probes[:0]
	c.doneRecords, c.doneBytes = 0, 0
	calls.Put(c)
}

// begin and land count what a round has with the producer; the last to land signals.
func (c *call) begin() {
	c.refs.Add(1)
	c.flying.Store(1)
}

func (c *call) land() {
	if c.flying.Add(-1) == 0 {
		c.b.stats.lastAck.Store(time.Now().UnixNano())
		c.landed <- struct{}{}
		c.unref()
	}
}

// wait returns true when all of the round have landed.
func (c *call) wait(ctx context.Context) bool {
	select {
	case <-c.landed:
		return true
	default:
	}
	select {
	case <-c.landed:
		return true
	case <-ctx.Done():
		return false
	}
}

// promise is what the producer calls for each record, one call at a time.
func promise(r *kgo.Record, err error) {
	sl := r.Context.(*slot)
	c, sh := sl.call, sl.shard
	switch {
	case err == nil && r.Offset >= 0:
		if !sh.topic.adopted {
			sh.advance(r.Offset + 1)
		}
		sl.state.Store(written)
	case sl.state.Load() == unplaced:
	default:
		if err == nil {
			err = errNoOffset
		}
		sl.err = err
		sl.state.Store(failed)
	}
	c.b.leave(sh, 1)
	c.land()
}

var errNoOffset = errors.New("the broker took the record and did not say where it lies")
