package kafka

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cursor walks over the records of one answer to a fetch, batch by batch, and unpacks one batch at a time. What a read
// leaves is kept for the next one ([cursors]).
//
//	baseOffset 8 | length 4 | leader epoch 4 | magic 1 | crc 4 | attributes 2 | lastOffsetDelta 4 | firstTimestamp 8 |
//	maxTimestamp 8 | producer id 8 | producer epoch 2 | sequence 4 | count 4 | records
//
// Source: the message format of Apache Kafka, version 2. Older ones, which a topic of others may still hold, are left to
// the client library.
type cursor struct {
	shard      *shard
	decompress kgo.Decompressor

	began  int64  // offset that was asked for
	next   int64  // of the next record
	raw    []byte // batches that have not been looked at
	stable int64  // the readable end when the answer was given
	start  int64  // the oldest offset that was kept then
	answer int64  // bytes of the answer
	size   int64  // bytes that it holds

	aborted map[int64][]int64 // by producer id: offsets at which aborted transactions begin

	// The present batch.
	within  bool
	records []byte
	left    int   // records in it
	first   int64 // its base offset
	last    int64
	stamp   int64 // the timestamp that deltas are added to, or that all records have
	stamped bool  // all have it
	old     []*kgo.Record

	head wireRecord // the record at next, if peeked
	have bool
}

// wireRecord is a record as it lies in a batch.
type wireRecord struct {
	offset     int64
	arrival    int64
	key, value []byte
	sealed     bool
}

const (
	batchHeader = 61
	magicAt     = 16

	attributeCodec         = 0x07
	attributeAppendTime    = 0x08
	attributeTransactional = 0x10
	attributeControl       = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newCursor begins at an offset of what a broker has answered.
func newCursor(sh *shard, d kgo.Decompressor, from int64, part *kmsg.FetchResponseTopicPartition) *cursor {
	c := &cursor{shard: sh, decompress: d, began: from, next: from, raw: part.RecordBatches, stable: part.LastStableOffset, start: part.LogStartOffset,
		answer: int64(len(part.RecordBatches)) + cursorFootprint}
	c.size = c.answer
	if c.stable < 0 {
		c.stable = part.HighWatermark // brokers of old without transactions
	}
	if len(c.raw) == 0 && sh.topic.compacted {
		c.next = max(c.next, c.stable) // compaction has left nothing before the end
	}
	for _, t := range part.AbortedTransactions {
		if c.aborted == nil {
			c.aborted = map[int64][]int64{}
		}
		c.aborted[t.ProducerID] = append(c.aborted[t.ProducerID], t.FirstOffset)
	}
	for _, firsts := range c.aborted {
		slices.Sort(firsts)
	}
	return c
}

// cursorFootprint is about what a cursor takes beside the answer.
const cursorFootprint = 512

// peek gives the record at next or the first one after it, nil when the answer holds no more. It is valid until pass.
func (c *cursor) peek() (*wireRecord, error) {
	for !c.have {
		if c.left > 0 || len(c.old) > 0 {
			if err := c.record(&c.head); err != nil {
				return nil, c.corrupt(err)
			}
			c.have = c.head.offset >= c.next
			continue
		}
		if c.within {
			c.within, c.records = false, nil
			c.next = max(c.next, c.last+1) // a batch may end with offsets that compaction has emptied
		}
		if more, err := c.batch(); err != nil || !more {
			return nil, err
		}
	}
	return &c.head, nil
}

// pass goes behind the record that peek gave.
func (c *cursor) pass() { c.next, c.have = c.head.offset+1, false }

// spent reports whether nothing is left of the answer.
func (c *cursor) spent() bool { return !c.have && len(c.raw) == 0 && c.left == 0 && len(c.old) == 0 }

func (c *cursor) corrupt(err error) error {
	return fmt.Errorf("topic %s, partition %d, at offset %d: %w", c.shard.topic.name, c.shard.partition, c.next, err)
}

// batch goes on to the next batch that has records to show.
func (c *cursor) batch() (more bool, err error) {
	for len(c.raw) > magicAt {
		length := int64(int32(binary.BigEndian.Uint32(c.raw[8:]))) + 12
		if length < batchHeader && c.raw[magicAt] >= 2 || length <= magicAt {
			return false, c.corrupt(fmt.Errorf("a batch of %d bytes", length))
		}
		if int64(len(c.raw)) < length {
			break // the broker cuts the last one off
		}
		batch := c.raw[:length]
		c.raw = c.raw[length:]
		if batch[magicAt] < 2 {
			if err := c.oldBatch(batch); err != nil {
				return false, c.corrupt(err)
			}
			if len(c.old) > 0 {
				return true, nil
			}
			continue
		}
		shown, err := c.open(batch)
		if err != nil {
			return false, c.corrupt(err)
		}
		if shown {
			return true, nil
		}
		c.next = max(c.next, c.last+1)
	}
	c.raw = nil
	return false, nil
}

// open unpacks a batch. It shows nothing of a control batch, of one that a transaction has aborted, and of one that lies
// before next.
func (c *cursor) open(batch []byte) (shown bool, err error) {
	if batch[magicAt] != 2 {
		return false, fmt.Errorf("a batch of format %d", batch[magicAt])
	}
	if sum := crc32.Checksum(batch[21:], castagnoli); sum != binary.BigEndian.Uint32(batch[17:]) {
		return false, fmt.Errorf("a batch whose checksum is %08x, not %08x", sum, binary.BigEndian.Uint32(batch[17:]))
	}
	attributes := binary.BigEndian.Uint16(batch[21:])
	c.first = int64(binary.BigEndian.Uint64(batch))
	c.last = c.first + int64(int32(binary.BigEndian.Uint32(batch[23:])))
	count := int(int32(binary.BigEndian.Uint32(batch[57:])))
	if c.first < 0 || c.last < c.first || count < 0 {
		return false, fmt.Errorf("a batch from offset %d to %d with %d records", c.first, c.last, count)
	}
	producer := int64(binary.BigEndian.Uint64(batch[43:]))
	records := batch[batchHeader:]
	switch firsts := c.aborted[producer]; {
	case attributes&attributeControl != 0:
		if len(firsts) > 0 && firsts[0] <= c.first && abortMarker(records) {
			c.aborted[producer] = firsts[1:]
		}
		return false, nil
	case attributes&attributeTransactional != 0 && len(firsts) > 0 && firsts[0] <= c.first, c.last < c.next:
		return false, nil
	}
	if codec := kgo.CompressionCodecType(attributes & attributeCodec); codec != 0 {
		if records, err = c.decompress.Decompress(records, codec); err != nil {
			return false, err
		}
		c.size = c.answer + int64(len(records))
	}
	if count > len(records) {
		return false, fmt.Errorf("%d records in %d bytes", count, len(records))
	}
	c.within, c.records, c.left = true, records, count
	c.stamp, c.stamped = int64(binary.BigEndian.Uint64(batch[27:])), attributes&attributeAppendTime != 0
	if c.stamped {
		c.stamp = int64(binary.BigEndian.Uint64(batch[35:]))
	}
	return true, nil
}

// abortMarker reads the record of a control batch: its key is a version and a type, and type 0 aborts.
func abortMarker(records []byte) bool {
	w := wire{in: records}
	w.varint()
	w.skip(1)
	w.varint()
	w.varint()
	key := w.bytes()
	return !w.bad && len(key) >= 4 && key[2] == 0 && key[3] == 0
}

// record takes the next record of the present batch.
func (c *cursor) record(r *wireRecord) error {
	if len(c.old) > 0 {
		o := c.old[0]
		c.old = c.old[1:]
		r.offset, r.arrival, r.key, r.value = o.Offset, o.Timestamp.UnixMilli(), o.Key, o.Value
		r.sealed = false // message sets have no headers
		return nil
	}
	w := wire{in: c.records}
	length := w.varint()
	if w.bad || length < 0 || length > int64(len(w.in)) {
		return fmt.Errorf("a record of %d bytes, %d records before the end of its batch", length, c.left)
	}
	c.records = w.in[length:]
	w.in = w.in[:length]
	c.left--
	w.skip(1)
	delta := w.varint()
	r.offset = c.first + w.varint()
	r.key, r.value = w.bytes(), w.bytes()
	r.sealed = w.sealed()
	r.arrival = c.stamp
	if !c.stamped {
		r.arrival += delta
	}
	if w.bad || r.offset < c.first || r.offset > c.last {
		return fmt.Errorf("a record that cannot be read, %d records before the end of its batch", c.left+1)
	}
	return nil
}

// oldBatch lets the client library read a message set of an older format.
func (c *cursor) oldBatch(batch []byte) error {
	part := &kmsg.FetchResponseTopicPartition{Partition: c.shard.partition, RecordBatches: batch, LastStableOffset: c.stable}
	opts := kgo.ProcessFetchPartitionOpts{Offset: c.next, Topic: c.shard.topic.name, Partition: c.shard.partition}
	processed, next := kgo.ProcessFetchPartition(opts, part, c.decompress, nil)
	if processed.Err != nil {
		return processed.Err
	}
	c.within, c.old, c.last = true, processed.Records, next-1
	return nil
}

// wire reads the parts of a record; bad is set when one does not fit.
type wire struct {
	in  []byte
	bad bool
}

func (w *wire) varint() int64 {
	if len(w.in) > 0 && w.in[0] < 0x80 { // most are one byte
		u := w.in[0]
		w.in = w.in[1:]
		return int64(u>>1) ^ -int64(u&1)
	}
	v, n := binary.Varint(w.in)
	if n <= 0 {
		w.bad, w.in = true, nil
		return 0
	}
	w.in = w.in[n:]
	return v
}

func (w *wire) skip(n int) {
	if len(w.in) < n {
		w.bad, w.in = true, nil
		return
	}
	w.in = w.in[n:]
}

// bytes reads a length and so many bytes; a length of -1 is null.
func (w *wire) bytes() []byte {
	n := w.varint()
	if n == -1 {
		return nil
	}
	if n < 0 || n > int64(len(w.in)) {
		w.bad, w.in = true, nil
		return nil
	}
	b := w.in[:n:n]
	w.in = w.in[n:]
	return b
}

// sealed reads the headers of a record, and tells whether one of them is ours that marks cipher text.
func (w *wire) sealed() (found bool) {
	for n := w.varint(); n > 0 && !w.bad; n-- {
		key := w.bytes()
		w.bytes()
		found = found || string(key) == sealedHeader
	}
	return found
}

// cursors keeps what reads have left, for the reads that go on there.
type cursors struct {
	mu    sync.Mutex
	m     map[cursorKey]*cursor
	order []cursorKey // oldest first; some may have been taken
	bytes int64
}

type cursorKey struct {
	shard *shard
	next  int64
}

// maxCursorBytes and maxCursors bound what is kept: enough for a few hundred readers that go on after each other. The
// oldest are dropped; who would have gone on there asks the broker again.
const (
	maxCursorBytes = 64 << 20
	maxCursors     = 4096
)

// take gives the cursor that stands at the offset, if there is one; it is the caller's then.
func (cs *cursors) take(sh *shard, next int64) *cursor {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	k := cursorKey{sh, next}
	c := cs.m[k]
	if c != nil {
		delete(cs.m, k)
		cs.bytes -= c.size
	}
	return c
}

// put keeps a cursor, if there is anything left of it.
func (cs *cursors) put(c *cursor) {
	if c.spent() {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.m == nil {
		cs.m = map[cursorKey]*cursor{}
	}
	k := cursorKey{c.shard, c.next}
	if was := cs.m[k]; was != nil {
		cs.bytes -= was.size
	}
	cs.m[k] = c
	cs.bytes += c.size
	cs.order = append(cs.order, k)
	for cs.bytes > maxCursorBytes || len(cs.m) > maxCursors || len(cs.order) > 4*maxCursors {
		oldest := cs.order[0]
		cs.order = cs.order[1:]
		if old := cs.m[oldest]; old != nil {
			delete(cs.m, oldest)
			cs.bytes -= old.size
		}
	}
}

func (cs *cursors) holds() int64 {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.bytes
}

// retryable reports whether asking again, perhaps another broker, may help.
func retryable(err error) bool { return kerr.IsRetriable(err) || kgo.IsRetryableBrokerErr(err) }
