package kinesis

import (
	"container/list"
	"sort"
	"sync"
	"time"

	"millrace/internal/stream"
)

// cache keeps what GetRecords answered, so that a reader who takes less than an answer holds, or comes back for what it
// has read a moment ago, costs no other call, and several readers of a shard share one. What was used least leaves.
type cache struct {
	limit int64 // bytes

	mu   sync.Mutex
	size int64
	used list.List // of *chunk, the last used first
}

// chunk is one answer with records. It is never changed.
type chunk struct {
	reader  *reader
	from    stream.SequenceNumber // the place that it was read from
	records []stream.Record
	next    stream.SequenceNumber
	behind  int64 // MillisBehindLatest of the answer
	size    int64
	at      *list.Element
}

// cursor is a place that reading can go on from without asking for an iterator.
type cursor struct {
	place    stream.SequenceNumber
	iterator string
	asked    time.Time // when it was given
	behind   int64     // 0: nothing lay at place then
	end      bool      // the shard is closed, and nothing follows
}

const (
	// chunkCost is about what a record takes in memory beside its bytes.
	chunkCost = 120
	// maxChunks and maxCursors bound what is kept of one shard; two delivery streams and a few consumers read it.
	maxChunks  = 8
	maxCursors = 16
	// iteratorLife is how long an iterator is used; the service's live five minutes.
	iteratorLife = 270 * time.Second
)

// find gives the answer that holds the first record at or after place, and its index there.
//
// A moment, or the start of the shard, is not compared with numbers: it finds what was read from just there.
func (c *cache) find(r *reader, place stream.SequenceNumber) (*chunk, int) {
	_, moment := place.Moment()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range r.chunks {
		i := 0
		switch {
		case k.from == place:
		case moment || place.Before(k.records[0].Sequence) || !place.Before(k.next):
			continue
		default:
			i = sort.Search(len(k.records), func(i int) bool { return !k.records[i].Sequence.Before(place) })
		}
		c.used.MoveToFront(k.at)
		return k, i
	}
	return nil, 0
}

// add keeps an answer and forgets others to have room for it.
func (c *cache) add(k *chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := k.reader
	for _, old := range r.chunks {
		if old.from == k.from {
			c.drop(old)
			break
		}
	}
	if len(r.chunks) == maxChunks {
		c.drop(r.chunks[0])
	}
	k.at = c.used.PushFront(k)
	c.size += k.size
	r.chunks = append(r.chunks, k)
	for c.size > c.limit && c.used.Len() > 1 {
		c.drop(c.used.Back().Value.(*chunk))
	}
}

// drop forgets an answer. The caller holds mu.
func (c *cache) drop(k *chunk) {
	c.used.Remove(k.at)
	c.size -= k.size
	for i, have := range k.reader.chunks {
		if have == k {
			k.reader.chunks = append(k.reader.chunks[:i], k.reader.chunks[i+1:]...)
			return
		}
	}
}

// forget drops all that is kept of a shard.
func (c *cache) forget(r *reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(r.chunks) > 0 {
		c.drop(r.chunks[0])
	}
	r.cursors = nil
}

// cursor gives the cursor of a place.
func (c *cache) cursor(r *reader, place stream.SequenceNumber) (cursor, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cur := range r.cursors {
		if cur.place == place && (cur.end || time.Since(cur.asked) < iteratorLife) {
			return cur, true
		}
	}
	return cursor{}, false
}

// point sets the cursor of a place. The oldest leaves when there are too many.
func (c *cache) point(r *reader, cur cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range r.cursors {
		if r.cursors[i].place == cur.place {
			r.cursors = append(r.cursors[:i], r.cursors[i+1:]...)
			break
		}
	}
	if len(r.cursors) == maxCursors {
		r.cursors = append(r.cursors[:0], r.cursors[1:]...)
	}
	r.cursors = append(r.cursors, cur)
}

// unpoint drops the cursor of a place: its iterator has expired.
func (c *cache) unpoint(r *reader, place stream.SequenceNumber) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range r.cursors {
		if r.cursors[i].place == place {
			r.cursors = append(r.cursors[:i], r.cursors[i+1:]...)
			return
		}
	}
}
