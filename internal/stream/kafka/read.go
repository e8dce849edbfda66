package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/fault"
	"millrace/internal/kafka"
	"millrace/internal/stream"
)

// Bounds of reading.
const (
	// maxFetchingBytes bounds the answers that are asked for at once, by all readers.
	maxFetchingBytes = 64 << 20
	// minFetchBytes and maxFetchBytes bound one answer; one batch larger than that comes whole.
	minFetchBytes = 64 << 10
	maxFetchBytes = 4 << 20
	// fetchesPerRead bounds the answers that one read looks through for a record to show: a transaction that was aborted may
	// fill many of them.
	fetchesPerRead = 256
	// maxBatchBytes bounds what one batch may be unpacked to. Others may write to a topic, and a small batch can claim to hold
	// gigabytes; a producer's own buffer is 32 MiB unless it is told otherwise, and a record 10 MiB.
	maxBatchBytes = 128 << 20
	// The memory of a batch grows by doubling between these.
	minBatchBuf    = 16 << 10
	maxBatchGrowth = 4 << 20
)

// Read fills batch from what an earlier read has left, or from one answer of a broker.
func (b *Backend) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	const op = "kafka.Read"
	batch.Reset()
	_, sh, err := b.find(op, req.Shard)
	if err != nil {
		return err
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Unavailable, op, req.Shard.String(), "%w", err)
	}
	r := reader{b: b, shard: sh, batch: batch, req: &req, next: sh.offset(req.From)}
	if err := r.run(ctx); err != nil {
		return kafka.Fault(op, req.Shard.String(), err)
	}
	r.conclude()
	return nil
}

// reader is one Read.
type reader struct {
	b     *Backend
	shard *shard
	batch *stream.Batch
	req   *stream.ReadRequest
	next  int64
	shown int64 // behind the last record in the batch, or where looking for one began
	limit int64 // the readable end, as of the last answer
	bytes int

	nothing int // answers of nothing
}

func (r *reader) run(ctx context.Context) error {
	size := r.req.MaxBytes
	r.next = r.shard.over(r.next)
	r.shown = r.next
	defer func() { r.shard.empty(span{r.shown, r.next}) }()
	for range fetchesPerRead {
		end, ended := r.shard.ends()
		if ended && r.next >= end || r.shard.partition == nowhere {
			r.limit = r.next
			return nil
		}
		c := r.b.cursors.take(r.shard, r.next)
		if c == nil {
			var err error
			if c, err = r.b.fetch(ctx, r.shard, r.next, size); err != nil {
				return err
			}
			if c.began > r.next {
				r.skip(c.began, end, ended)
			}
		}
		if done, err := r.from(ctx, c, end, ended); done || err != nil {
			return err
		}
		size = maxFetchBytes // there was nothing to show: on with large steps
	}
	// An empty batch would say that nothing is there. What was looked through is passed over by the next read.
	return fault.New(fault.Unavailable, "kafka.Read", r.shard.stream, "nothing to show in %d answers of brokers, up to offset %d; going on", fetchesPerRead, r.next)
}

// from takes records from an answer. done: asking for more is not for this read.
func (r *reader) from(ctx context.Context, c *cursor, end int64, ended bool) (done bool, err error) {
	r.limit = c.stable
	if err := r.take(c, end, ended); err != nil {
		return false, err
	}
	r.next = c.next
	r.b.cursors.put(c)
	if len(r.batch.Records) > 0 || r.next >= r.limit {
		return true, nil
	}
	if c.answer > cursorFootprint {
		return false, nil
	}
	// An answer of nothing, though something is there.
	if r.nothing++; r.nothing == nothingTries {
		return false, fault.New(fault.Unavailable, "kafka.Read", r.shard.stream, "the broker gives no records of topic %s from offset %d on, partition %d, "+
			"though it ends at %d", r.shard.topic.name, r.next, r.shard.partition, r.limit)
	}
	return false, pause(ctx, maxRetryPause)
}

// skip counts the records that retention has taken before the reader came.
func (r *reader) skip(to, end int64, ended bool) {
	if ended {
		to = min(to, end)
	}
	r.batch.Skipped += to - r.next
	r.batch.Resumed = r.shard.sequence(to)
	r.next, r.shown = to, to
}

// take copies records from a cursor until the batch is full or the cursor spent.
func (r *reader) take(c *cursor, end int64, ended bool) error {
	for {
		rec, err := c.peek()
		if err != nil {
			return fault.New(fault.Corrupt, "kafka.Read", r.req.Shard.String(), "%w", err)
		}
		if rec != nil && ended && rec.offset >= end {
			c.next = max(c.next, end)
			return nil
		}
		if rec == nil {
			return nil
		}
		if !r.record(rec) {
			return nil
		}
		c.pass()
		r.shown = c.next
	}
}

// record copies one record into the batch, unless the batch is full.
func (r *reader) record(rec *wireRecord) bool {
	size := max(len(rec.key), maxAdoptedKey) + len(rec.value)
	n := len(r.batch.Records)
	if n > 0 && (n >= r.req.MaxRecords || r.bytes+len(rec.key)+len(rec.value) > r.req.MaxBytes) {
		return false
	}
	buf := r.batch.Buf
	if cap(buf)-len(buf) < size {
		// The memory that records of this batch point to stays theirs.
		buf = make([]byte, 0, max(size, min(2*cap(buf), maxBatchGrowth), minBatchBuf))
	}
	at := len(buf)
	if r.shard.topic.adopted {
		buf = appendPartitionKey(buf, rec.key, r.shard.partition)
	} else {
		buf = append(buf, rec.key...)
	}
	mid := len(buf)
	buf = append(buf, rec.value...)
	r.batch.Buf = buf
	r.batch.Records = append(r.batch.Records, stream.Record{
		Sequence: r.shard.sequence(rec.offset), Arrival: max(rec.arrival, 0), // others may have set none
		PartitionKey: buf[at:mid:mid], Data: buf[mid:len(buf):len(buf)],
		Sealed: rec.sealed && !r.shard.topic.adopted, // who else writes there may set any header
	})
	r.bytes += len(buf) - at
	return true
}

// maxAdoptedKey is the longest that a key may become that is none ("partition-" and a number, or base64).
const maxAdoptedKey = maxKeyChars

// conclude says where to go on and how far behind the reader is.
func (r *reader) conclude() {
	batch := r.batch
	batch.Next = r.shard.sequence(r.next)
	if batch.Next.Before(r.req.From) {
		batch.Next = r.req.From
	}
	limit := r.limit
	end, ended := r.shard.ends()
	if ended {
		limit = min(limit, end)
		batch.End = r.next >= end
	}
	if r.next < limit {
		batch.MillisBehind = 1
		if n := len(batch.Records); n > 0 {
			batch.MillisBehind = max(1, r.b.opts.Now().UnixMilli()-batch.Records[n-1].Arrival)
		}
	}
}

// fetch asks for records of a shard from an offset on, and follows the partition to where it is led. What retention has
// taken is passed over: the cursor begins behind it.
func (b *Backend) fetch(ctx context.Context, sh *shard, from int64, maxBytes int) (*cursor, error) {
	size := int64(min(max(maxBytes, minFetchBytes), maxFetchBytes))
	if err := b.fetched.acquire(ctx, size); err != nil {
		return nil, err
	}
	defer b.fetched.release(size)
	for try := 0; ; try++ {
		c, err := b.fetchOnce(ctx, sh, from, size)
		if err == nil {
			return c, nil
		}
		if errors.Is(err, kerr.OffsetOutOfRange) {
			var first int64
			if first, err = b.listOffset(ctx, sh, earliest, committed); err != nil {
				return nil, err
			}
			if from >= first { // beyond the end, where nothing is yet
				return &cursor{shard: sh, began: from, next: from, stable: from}, nil
			}
			from = first
			continue
		}
		if err := b.again(ctx, sh, err, try); err != nil {
			return nil, err
		}
	}
}

func (b *Backend) fetchOnce(ctx context.Context, sh *shard, from, size int64) (*cursor, error) {
	leader, err := b.leader(ctx, sh)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.IsolationLevel = 1, int32(size), 1
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = sh.partition, from, int32(size)
	req.Topics = []kmsg.FetchRequestTopic{{Topic: sh.topic.name, TopicID: sh.topic.id, Partitions: []kmsg.FetchRequestTopicPartition{part}}}
	answer, err := b.reader.Broker(int(leader)).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, fault.New(fault.Unavailable, "kafka.fetch", sh.topic.name, "an answer about %d topics", len(resp.Topics))
	}
	found := &resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
		return nil, err
	}
	c := newCursor(sh, b.decompress, from, found)
	sh.ended(c.stable) // also back: who has read to the end is to wait there
	return c, nil
}

// again waits before asking again, and looks for the leader first. It gives an error when that is no use.
func (b *Backend) again(ctx context.Context, sh *shard, err error, try int) error {
	known := fault.KindOf(kafka.Fault("kafka.ask", sh.topic.name, err))
	if !retryable(err) && known != fault.Unavailable {
		return err
	}
	if known == fault.NotFound && try >= unknownTries {
		return fault.New(fault.Unavailable, "kafka.ask", sh.stream, "topic %s is gone: %w", sh.topic.name, err)
	}
	if paused := pause(ctx, min(retryPause<<min(try, 4), maxRetryPause)); paused != nil {
		return err
	}
	sh.leader.Store(-1)
	return nil
}

// How readers ask again.
const (
	retryPause    = 20 * time.Millisecond
	maxRetryPause = 250 * time.Millisecond
	// nothingTries is how often an answer of nothing is taken: a broker gives it when a remote tier is slow, after half a second.
	nothingTries = 4
	// unknownTries is how often an answer "no such topic" is asked again: brokers learn of a new topic after each other.
	unknownTries = 8
)

// leader gives the broker that leads a shard's partition.
func (b *Backend) leader(ctx context.Context, sh *shard) (int32, error) {
	if leader := sh.leader.Load(); leader >= 0 {
		return leader, nil
	}
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(sh.topic.name)
	req.Topics = append(req.Topics, t)
	resp, err := b.reader.RequestCachedMetadata(ctx, req, leaderAge)
	if err != nil {
		return -1, err
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return -1, err
		}
		if t.TopicID != [16]byte(sh.topic.id) {
			return -1, kerr.UnknownTopicID
		}
		for _, p := range t.Partitions {
			if p.Partition != sh.partition {
				continue
			}
			if p.Leader < 0 {
				return -1, kerr.LeaderNotAvailable
			}
			sh.leader.Store(p.Leader)
			return p.Leader, nil
		}
	}
	return -1, kerr.UnknownTopicOrPartition
}

// leaderAge is how old a known leader may be for one who has just been told by a broker that it is no leader.
const leaderAge = 100 * time.Millisecond
