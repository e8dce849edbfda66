package kinesis

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// readers has one reader for each shard that is read.
type readers struct {
	mu    sync.Mutex
	byRef map[stream.ShardRef]*reader
}

// reader reads one shard for all who read it, one call at a time.
type reader struct {
	b   *Backend
	ref stream.ShardRef

	turn      chan struct{} // holds one token: who has it may call
	gets      pacer         // GetRecords
	iterators pacer         // GetShardIterator
	average   int64         // bytes of a record, as of late; whoever has the turn may touch it

	chunks  []*chunk // both are guarded by the cache's mu
	cursors []cursor
}

const (
	iteratorsPerSecond = 5 // GetShardIterator for each shard; the service's limit
	burst              = 2 // a place found and read at once
	// readAhead is about what one GetRecords asks for: more than the 2 MiB/s of a shard at 5 calls a second.
	readAhead = 2 << 20
	// maxReadRecords is the most that GetRecords gives.
	maxReadRecords = 10_000
	// firstAverage is the size that the first read of a shard assumes.
	firstAverage = 1 << 10
	// maxThrottled is how often a read that the service throttles is tried again before its reader is told.
	maxThrottled = 3
	// throttledPause is what a throttled shard is left alone for; others read it too.
	throttledPause = 500 * time.Millisecond
)

func (b *Backend) reader(ref stream.ShardRef) *reader {
	b.readers.mu.Lock()
	defer b.readers.mu.Unlock()
	r, ok := b.readers.byRef[ref]
	if !ok {
		r = &reader{
			b: b, ref: ref, turn: make(chan struct{}, 1), average: firstAverage,
			gets: newPacer(b.opts.ReadsPerSecond, burst), iterators: newPacer(min(b.opts.ReadsPerSecond, iteratorsPerSecond), burst),
		}
		r.turn <- struct{}{}
		b.readers.byRef[ref] = r
	}
	return r
}

// prune forgets the readers of shards of a stream that a view no longer shows.
func (rs *readers) prune(v *view, name string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for ref, r := range rs.byRef {
		if ref.Stream != name {
			continue
		}
		if _, _, err := v.shard("", ref); err != nil {
			delete(rs.byRef, ref)
			r.b.cache.forget(r)
		}
	}
}

// poll makes the cache know what lies at place: records, nothing yet, or the shard's end. known tells what the caller
// would be content with, so that of several who want the same one calls.
func (r *reader) poll(ctx context.Context, place stream.SequenceNumber, known func() bool) error {
	select {
	case <-r.turn:
	case <-ctx.Done():
		return faultOf("kinesis.Read", r.ref.String(), ctx.Err())
	}
	defer func() { r.turn <- struct{}{} }()
	if known() {
		return nil
	}
	for try := 1; ; try++ {
		err := r.get(ctx, place)
		if !fault.Is(err, fault.Throttled) || try == maxThrottled {
			return err
		}
		if err := pause(ctx, throttledPause); err != nil {
			return faultOf("kinesis.Read", r.ref.String(), err)
		}
	}
}

// get asks for the records from place on.
func (r *reader) get(ctx context.Context, place stream.SequenceNumber) error {
	cache := &r.b.cache
	cur, known := cache.cursor(r, place)
	if !known {
		iterator, err := r.iterator(ctx, place)
		if err != nil {
			return err
		}
		cur = cursor{place: place, iterator: iterator, asked: time.Now()}
	}
	err := r.getFrom(ctx, cur)
	if fault.Is(err, fault.Expired) || known && fault.Is(err, fault.Invalid) {
		cache.unpoint(r, place)
		if !known {
			return fault.New(fault.Unavailable, "kinesis.Read", r.ref.String(), "a new iterator is refused: %w", err)
		}
		return r.get(ctx, place)
	}
	return err
}

func (r *reader) getFrom(ctx context.Context, cur cursor) error {
	const op = "kinesis.Read"
	if err := r.gets.wait(ctx); err != nil {
		return faultOf(op, r.ref.String(), err)
	}
	if err := r.b.readSlots.Acquire(ctx, 1); err != nil {
		return faultOf(op, r.ref.String(), err)
	}
	defer r.b.readSlots.Release(1)
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	limit := min(max(readAhead/r.average, 1), maxReadRecords)
	out, err := r.b.client.GetRecords(ctx, &sdk.GetRecordsInput{ShardIterator: &cur.iterator, Limit: aws.Int32(int32(limit))})
	if err != nil {
		return r.failed(op, err)
	}
	r.b.clock.learn(out.ResultMetadata, r.b.opts.Now())
	return r.take(cur.place, out)
}

func (r *reader) failed(op string, err error) error {
	err = faultOf(op, r.ref.String(), err)
	if fault.Is(err, fault.NotFound) {
		r.b.kick(r.ref.Stream)
	}
	return err
}

// take keeps an answer.
func (r *reader) take(place stream.SequenceNumber, out *sdk.GetRecordsOutput) error {
	k := &chunk{reader: r, from: place, next: place, behind: aws.ToInt64(out.MillisBehindLatest), size: chunkCost}
	k.records = make([]stream.Record, len(out.Records))
	for i := range out.Records {
		if err := k.read(i, &out.Records[i]); err != nil {
			return fault.New(fault.Unavailable, "kinesis.Read", r.ref.String(), "%w", err)
		}
	}
	cur := cursor{place: k.next, asked: time.Now(), behind: k.behind}
	if out.NextShardIterator == nil {
		cur.end = true
		r.b.kick(r.ref.Stream) // its children may be new
	} else {
		cur.iterator = *out.NextShardIterator
	}
	if len(k.records) > 0 {
		r.average = max(1, (r.average+k.size/int64(len(k.records)))/2)
		r.b.cache.add(k)
	}
	r.b.cache.point(r, cur)
	return nil
}

// read takes in a record.
func (k *chunk) read(i int, in *types.Record) error {
	n, ok := stream.ParseSequenceNumber(aws.ToString(in.SequenceNumber))
	if !ok {
		return fault.New(fault.Unavailable, "", "", "sequence number %.80q is not understood", aws.ToString(in.SequenceNumber))
	}
	if i > 0 && !k.records[i-1].Sequence.Before(n) {
		return fault.New(fault.Unavailable, "", "", "record %s comes after %s", n, k.records[i-1].Sequence)
	}
	rec := &k.records[i]
	rec.Sequence, rec.PartitionKey, rec.Data = n, []byte(aws.ToString(in.PartitionKey)), in.Data
	rec.Sealed = in.EncryptionType == types.EncryptionTypeKms
	if in.ApproximateArrivalTimestamp != nil {
		rec.Arrival = in.ApproximateArrivalTimestamp.UnixMilli()
	}
	if i > 0 { // approximate as it is, it never falls here
		rec.Arrival = max(rec.Arrival, k.records[i-1].Arrival)
	}
	k.size += int64(len(rec.Data) + len(rec.PartitionKey) + chunkCost)
	k.next = n.Next()
	return nil
}

// iterator asks for an iterator of a place.
//
//	zero            TRIM_HORIZON
//	a moment        AT_TIMESTAMP
//	a number n      AFTER_SEQUENCE_NUMBER n-1, since most places are behind a record. A service that can tell its numbers
//	                from others refuses when n itself is a record's: then AT_SEQUENCE_NUMBER n
func (r *reader) iterator(ctx context.Context, place stream.SequenceNumber) (string, error) {
	in := sdk.GetShardIteratorInput{StreamName: &r.ref.Stream, ShardId: aws.String(stream.ShardID(r.ref.Shard))}
	if place.IsZero() {
		in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
		return r.ask(ctx, in)
	}
	if t, ok := place.Moment(); ok {
		in.ShardIteratorType, in.Timestamp = types.ShardIteratorTypeAtTimestamp, &t
		return r.ask(ctx, in)
	}
	in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, aws.String(place.Prev().String())
	iterator, err := r.ask(ctx, in)
	if !fault.Is(err, fault.Invalid) {
		return iterator, err
	}
	in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAtSequenceNumber, aws.String(place.String())
	return r.ask(ctx, in)
}

func (r *reader) ask(ctx context.Context, in sdk.GetShardIteratorInput) (string, error) {
	const op = "kinesis.Read"
	if err := r.iterators.wait(ctx); err != nil {
		return "", faultOf(op, r.ref.String(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	out, err := r.b.client.GetShardIterator(ctx, &in)
	if err != nil {
		return "", r.failed(op, err)
	}
	r.b.clock.learn(out.ResultMetadata, r.b.opts.Now())
	return aws.ToString(out.ShardIterator), nil
}
