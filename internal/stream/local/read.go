package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// find gives the stream and shard that a reference names, if it is of the present incarnation.
func (b *Backend) find(op string, ref stream.ShardRef) (*streamState, *shard, error) {
	select {
	case <-b.closing:
		return nil, nil, errClosed(op, ref.String())
	default:
	}
	s, ok := b.state.Load().byName[ref.Stream]
	if !ok || (ref.ID != "" && ref.ID != s.def.ID) {
		return nil, nil, notFound(op, ref.Stream)
	}
	sh := s.shard(ref.Shard)
	if sh == nil {
		return nil, nil, fault.New(fault.NotFound, op, ref.String(), "no such shard")
	}
	return s, sh, nil
}

// cutoff is the arrival below which retention hides records.
func (b *Backend) cutoff(s *streamState) int64 { return b.opts.Now().Add(-s.def.Retention).UnixMilli() }

// Read fills batch with durable records.
func (b *Backend) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	const op = "local.Read"
	batch.Reset()
	if err := b.enter(op, req.Shard.String()); err != nil {
		return err
	}
	defer b.using.RUnlock()
	s, sh, err := b.find(op, req.Shard)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Unavailable, op, req.Shard.String(), "%w", err)
	}
	r := reader{b: b, op: op, shard: sh, batch: batch, req: &req, pos: sh.position(req.From)}
	if !req.Held {
		r.cutoff = b.cutoff(s)
	}
	start := r.pos
	if err := r.run(); err != nil {
		return err
	}
	if !r.conclude(start) {
		batch.Reset()
		return notFound(op, req.Shard.Stream)
	}
	return nil
}

// reader is one Read on its way through a shard's segments.
type reader struct {
	b      *Backend
	op     string
	shard  *shard
	batch  *stream.Batch
	req    *stream.ReadRequest
	cutoff int64  // records that arrived before are hidden; 0: none
	pos    uint64 // of the next record
	limit  uint64 // position after the last durable record
	bytes  int
	full   bool
}

// segmentsAtOnce bounds the segments that a reader looks at without asking again.
const segmentsAtOnce = 8

func (r *reader) run() error {
	for !r.full {
		// The limit first: what is durable by then lies in segments that are listed.
		r.limit = r.shard.durable.Load()
		var list [segmentsAtOnce]segment
		n := r.shard.segmentsFrom(r.pos, r.cutoff, list[:])
		if n == 0 || r.pos >= r.limit {
			return nil
		}
		before := r.pos
		for i, seg := range list[:n] {
			// At the limit: of what has become durable since, some may lie in this segment, before the next one begins.
			if err := r.segment(seg); err != nil || r.full || r.pos >= r.limit {
				return err
			}
			if i+1 < n {
				r.pos = max(r.pos, list[i+1].first) // also past what was trimmed while we looked
			}
		}
		if n < len(list) || r.pos == before {
			return nil
		}
	}
	return nil
}

// segmentsFrom copies the segments that hold records from pos on which are not all hidden.
func (s *shard) segmentsFrom(pos uint64, cutoff int64, list []segment) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The first segment whose successor begins behind pos.
	i := sort.Search(len(s.segments), func(i int) bool { return i+1 == len(s.segments) || s.segments[i+1].first > pos })
	for i < len(s.segments) && s.segments[i].until < cutoff {
		i++
	}
	return copy(list, s.segments[i:])
}

func (r *reader) segment(seg segment) error {
	if seg.first >= r.limit {
		return nil
	}
	if done, err := r.tip(seg); done || err != nil {
		return err
	}
	it, err := r.b.segmentIter(seg.bucket, r.shard.id)
	if err != nil {
		return fault.New(fault.Unavailable, r.op, r.req.Shard.String(), "%w", err)
	}
	defer it.Close()
	// The block that holds pos is the last one that begins at or before it.
	valid := it.SeekLT(appendRecordKey(nil, seg.bucket, r.shard.id.stream, r.shard.id.shard, r.pos+1))
	if !valid {
		valid = it.First()
	}
	for ; valid && !r.full; valid = it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = r.block(it.Key(), value)
		}
		if err != nil {
			return r.corrupt(err)
		}
	}
	if err := it.Error(); err != nil {
		return r.corrupt(err)
	}
	return nil
}

func (r *reader) corrupt(err error) error {
	return fault.New(fault.Corrupt, r.op, r.req.Shard.String(), "%w", err)
}

const (
	// nearTip is how many records a reader may be behind to be taken for one who follows.
	nearTip = 4096
	// tipBlocks bounds the blocks that are looked up one by one; an iterator is faster over many.
	tipBlocks = 8
)

// tip serves who follows the tip. Such a reader goes on where a block begins, and mostly that block is still in memory and
// found there by its key. An iterator would also look into the tables on the disk, for they hold what is older of the bucket,
// and read a block of each. done: nothing is left for an iterator.
func (r *reader) tip(seg segment) (done bool, err error) {
	if r.pos < seg.first || r.pos+nearTip < r.limit {
		return false, nil
	}
	var buf [recordKeyBytes]byte
	for range tipBlocks {
		if r.full || r.pos >= r.limit {
			return true, nil
		}
		before, key := r.pos, appendRecordKey(buf[:0], seg.bucket, r.shard.id.stream, r.shard.id.shard, r.pos)
		value, closer, err := r.b.db.Get(key)
		switch {
		case errors.Is(err, pebble.ErrNotFound): // pos lies within a block, or in the next bucket
			return false, nil
		case err != nil:
			return false, r.corrupt(err)
		}
		err = errors.Join(r.block(key, value), closer.Close())
		switch {
		case err != nil:
			return false, r.corrupt(err)
		case r.pos == before && !r.full: // hidden
			return false, nil
		}
	}
	return r.full || r.pos >= r.limit, nil
}

func (b *Backend) segmentIter(bucket uint32, id shardID) (*pebble.Iterator, error) {
	prefix := appendShardPrefix(nil, bucket, id.stream, id.shard)
	return b.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
}

// block takes the records of one block.
func (r *reader) block(key, value []byte) error {
	at, ok := parseRecordKey(key)
	if !ok {
		return fmt.Errorf("a record key of %d bytes", len(key))
	}
	bl, err := openBlock(value)
	if err != nil {
		return fmt.Errorf("block % x: %w", key, err)
	}
	if at.position >= r.limit {
		r.full = true
		return nil
	}
	if bl.arrival < r.cutoff {
		return nil
	}
	for i := range bl.count {
		pk, data, err := bl.next()
		if err != nil {
			return fmt.Errorf("block % x: %w", key, err)
		}
		pos := at.position + i
		if pos < r.pos {
			continue
		}
		if !r.take(pos, bl.arrival, bl.sealed, pk, data) {
			r.full = true
			return nil
		}
	}
	return nil
}

// take copies one record into the batch, unless the batch is full.
func (r *reader) take(pos uint64, arrival int64, sealed bool, pk, data []byte) bool {
	size := len(pk) + len(data)
	if n := len(r.batch.Records); n > 0 && (n >= r.req.MaxRecords || r.bytes+size > r.req.MaxBytes) {
		return false
	}
	buf := r.batch.Buf
	if cap(buf)-len(buf) < size {
		// The memory that records of this batch point to stays theirs.
		buf = make([]byte, 0, max(size, min(2*cap(buf), r.req.MaxBytes), minBatchBuf))
	}
	at := len(buf)
	buf = append(append(buf, pk...), data...)
	r.batch.Buf = buf
	r.batch.Records = append(r.batch.Records, stream.Record{
		Sequence: r.shard.sequence(pos), Arrival: arrival,
		PartitionKey: buf[at : at+len(pk) : at+len(pk)], Data: buf[at+len(pk) : at+size : at+size],
		Sealed: sealed,
	})
	r.bytes += size
	r.pos = pos + 1
	return true
}

// minBatchBuf is where the memory of a batch begins. It doubles until all that a read may return fits in one piece, which
// the next read into the batch finds there.
const minBatchBuf = 16 << 10

// conclude says where to go on and how far behind the reader is. It fails when the shard has gone meanwhile: then what was not
// found says nothing.
func (r *reader) conclude(start uint64) bool {
	batch, sh := r.batch, r.shard
	durable := sh.durable.Load()
	batch.Next = r.req.From
	if n := len(batch.Records); n > 0 {
		last := &batch.Records[n-1]
		batch.Next = sh.sequence(r.pos)
		_, _, first, _ := batch.Records[0].Sequence.Parts()
		if first > start {
			batch.Skipped, batch.Resumed = int64(first-start), batch.Records[0].Sequence
		}
		if r.pos < durable {
			batch.MillisBehind = max(1, r.b.opts.Now().UnixMilli()-last.Arrival)
		}
	} else if start < r.limit {
		// All that was there is gone or hidden: go on behind it.
		batch.Next = sh.sequence(r.limit)
		batch.Skipped, batch.Resumed = int64(r.limit-start), batch.Next
		r.pos = r.limit
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	batch.End = sh.end != nil && r.pos >= *sh.end
	return !sh.gone
}

// Wait returns when a record at or after from can be read.
func (b *Backend) Wait(ctx context.Context, ref stream.ShardRef, from stream.SequenceNumber) error {
	const op = "local.Wait"
	_, sh, err := b.find(op, ref)
	if err != nil {
		return err
	}
	pos := sh.position(from)
	for {
		sh.mu.Lock()
		switch {
		case sh.gone:
			sh.mu.Unlock()
			_, _, err := b.find(op, ref)
			return cmp.Or(err, notFound(op, ref.Stream)) // or the store was closed
		case sh.durable.Load() > pos || sh.end != nil:
			sh.mu.Unlock()
			return nil
		}
		if sh.changed == nil {
			sh.changed = make(chan struct{})
		}
		changed := sh.changed
		sh.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Tip gives the place after the newest durable record.
func (b *Backend) Tip(_ context.Context, ref stream.ShardRef) (stream.SequenceNumber, error) {
	_, sh, err := b.find("local.Tip", ref)
	if err != nil {
		return stream.SequenceNumber{}, err
	}
	return sh.sequence(sh.durable.Load()), nil
}

// Horizon gives the place of the oldest record that retention still shows.
func (b *Backend) Horizon(_ context.Context, ref stream.ShardRef) (stream.SequenceNumber, error) {
	if err := b.enter("local.Horizon", ref.String()); err != nil {
		return stream.SequenceNumber{}, err
	}
	defer b.using.RUnlock()
	s, sh, err := b.find("local.Horizon", ref)
	if err != nil {
		return stream.SequenceNumber{}, err
	}
	return b.firstSince("local.Horizon", sh, b.cutoff(s))
}

// At gives the place of the first record that arrived at or after t.
func (b *Backend) At(_ context.Context, ref stream.ShardRef, t time.Time) (stream.SequenceNumber, error) {
	if err := b.enter("local.At", ref.String()); err != nil {
		return stream.SequenceNumber{}, err
	}
	defer b.using.RUnlock()
	s, sh, err := b.find("local.At", ref)
	if err != nil {
		return stream.SequenceNumber{}, err
	}
	return b.firstSince("local.At", sh, max(t.UnixMilli(), b.cutoff(s)))
}

// firstSince finds the first record that arrived at or after t: by the segments' times, then by halving the segment.
func (b *Backend) firstSince(op string, sh *shard, t int64) (stream.SequenceNumber, error) {
	durable := sh.durable.Load()
	sh.mu.Lock()
	i := sort.Search(len(sh.segments), func(i int) bool { return sh.segments[i].until >= t })
	if i == len(sh.segments) {
		sh.mu.Unlock()
		return sh.sequence(durable), nil
	}
	seg, end := sh.segments[i], durable
	if i+1 < len(sh.segments) {
		end = sh.segments[i+1].first
	}
	sh.mu.Unlock()
	if seg.from >= t {
		return sh.sequence(seg.first), nil
	}
	it, err := b.segmentIter(seg.bucket, sh.id)
	if err != nil {
		return stream.SequenceNumber{}, fault.New(fault.Unavailable, op, "", "%w", err)
	}
	defer it.Close()
	// Invariant: all before lo arrived before t, and what begins at hi arrived at or after it.
	lo, hi := seg.first, end
	for lo < hi {
		mid := lo + (hi-lo)/2
		if !it.SeekLT(appendRecordKey(nil, seg.bucket, sh.id.stream, sh.id.shard, mid+1)) {
			break // trimmed meanwhile
		}
		key, _ := parseRecordKey(it.Key())
		head, err := readHead(op, it)
		if err != nil {
			return stream.SequenceNumber{}, err
		}
		if head.arrival < t {
			lo = key.position + head.count
		} else {
			hi = key.position
		}
	}
	if err := it.Error(); err != nil {
		return stream.SequenceNumber{}, fault.New(fault.Corrupt, op, "", "%w", err)
	}
	return sh.sequence(lo), nil
}
