package local

import (
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Bounds of a group commit.
const (
	// groupBytes ends a group; what waits beyond it goes into the next. It stays well below the size from which
	// Pebble gives a batch a memtable of its own.
	groupBytes = 4 << 20
	// blockBytes ends a block, so that a reader that starts in its middle reads little in vain.
	blockBytes = 256 << 10
	// groupsInFlight is how many groups may wait for their fsync while another is built.
	groupsInFlight = 2
)

// committer turns calls into groups: runCommitter builds and applies them in order, runFinisher waits for their
// fsync, publishes the records to readers and answers the callers.
type committer struct {
	applied chan *group // runCommitter -> runFinisher
	free    chan *group // and back

	// The bucket that is being filled; runCommitter's, but for current, its number for others.
	bucket      uint32
	current     atomic.Uint32
	bucketBytes int64
	bucketBegan time.Time

	shards []*shard // memory of commitGroup
}

func (c *committer) init() {
	c.applied = make(chan *group, groupsInFlight)
	c.free = make(chan *group, groupsInFlight+1)
	for range groupsInFlight + 1 {
		c.free <- &group{}
	}
}

// group is what one fsync makes durable.
type group struct {
	batch   *pebble.Batch
	calls   []*call
	touched []touch
	bytes   int64
	began   time.Time
	err     error
}

// touch says what a group did to a shard.
type touch struct {
	shard   *shard
	bucket  uint32
	first   uint64 // position of its first record in the group
	end     uint64 // position after its last
	bytes   int64
	arrival int64
}

// blockBuilder gathers the entries of one group that go to one shard, in order.
type blockBuilder struct {
	entries []*stream.Entry
	results []*stream.Result
	bytes   int // of entries as they are stored
}

func (b *Backend) runCommitter() {
	defer close(b.commit.applied)
	var spare []*call
	for {
		taken := b.queue.take(spare)
		if taken == nil {
			return
		}
		for rest := taken; len(rest) > 0; {
			if turn := rest[0].turn; turn != nil {
				b.drain()
				turn()
				rest[0].finish(nil)
				rest = rest[1:]
				continue
			}
			rest = b.commitGroup(rest)
		}
		clear(taken)
		spare = taken
	}
}

// drain waits until the finisher has nothing left to do.
func (b *Backend) drain() {
	var groups [groupsInFlight + 1]*group
	for i := range groups {
		groups[i] = <-b.commit.free
	}
	for _, g := range groups {
		b.commit.free <- g
	}
}

// commitGroup takes as many calls as a group holds, applies them, and returns the rest.
func (b *Backend) commitGroup(calls []*call) (rest []*call) {
	g := <-b.commit.free
	g.began, g.err = time.Now(), nil
	view := b.state.Load()
	touched := b.commit.shards[:0]
	size := 0
	for len(calls) > 0 && calls[0].turn == nil && size < groupBytes {
		c := calls[0]
		calls = calls[1:]
		s, ok := view.byName[c.stream]
		if !ok {
			c.finish(notFound("local.Append", c.stream))
			continue
		}
		g.calls = append(g.calls, c)
		size += c.bytes
		for i := range c.entries {
			touched = b.assign(s, c, i, touched)
		}
	}
	if len(g.calls) == 0 {
		b.commit.free <- g
		return calls
	}
	b.rotate(b.opts.Now())
	g.batch = b.db.NewBatchWithSize(size + len(touched)*(recordKeyBytes+64) + 4<<10)
	now := b.opts.Now().UnixMilli()
	for _, sh := range touched {
		g.write(sh, b.commit.bucket, now)
	}
	clear(touched)
	b.commit.shards = touched
	b.commit.bucketBytes += g.bytes
	g.err = b.db.ApplyNoSyncWait(g.batch, pebble.Sync)
	b.commit.applied <- g
	return calls
}

// assign gives entry i of a call to the builder of its shard, and notes a shard that had none.
func (b *Backend) assign(s *streamState, c *call, i int, touched []*shard) []*shard {
	sh := s.locate(c.keys[i])
	if sh.building == nil {
		sh.building = &blockBuilder{}
	}
	if len(sh.building.entries) == 0 {
		touched = append(touched, sh)
	}
	sh.building.entries = append(sh.building.entries, &c.entries[i])
	sh.building.results = append(sh.building.results, &c.results[i])
	sh.building.bytes += recordSize(&c.entries[i])
	return touched
}

// rotate begins a new bucket when the present one is full or old.
func (b *Backend) rotate(now time.Time) {
	c := &b.commit
	if c.bucketBytes == 0 && c.bucketBegan.IsZero() {
		c.bucketBegan = now
		return
	}
	if c.bucketBytes >= b.opts.BucketBytes || now.Sub(c.bucketBegan) >= b.opts.BucketAge {
		c.bucket++
		c.current.Store(c.bucket)
		c.bucketBytes, c.bucketBegan = 0, now
	}
}

// write encodes what a shard's builder gathered into blocks of the batch, and gives the entries their numbers.
func (g *group) write(sh *shard, bucket uint32, now int64) {
	arrival := max(now, sh.lastTime)
	t := touch{shard: sh, bucket: bucket, first: sh.next, arrival: arrival}
	entries, results := sh.building.entries, sh.building.results
	for len(entries) > 0 {
		n, size := 0, 0
		for n < len(entries) && (n == 0 || size < blockBytes && entries[n].Sealed == entries[0].Sealed) {
			size += recordSize(entries[n])
			n++
		}
		op := g.batch.SetDeferred(recordKeyBytes, headSize(n)+size)
		appendRecordKey(op.Key[:0], bucket, sh.id.stream, sh.id.shard, sh.next)
		dst := appendHead(op.Value[:0], n, arrival, entries[0].Sealed)
		for i, e := range entries[:n] {
			dst = appendRecord(dst, e)
			t.bytes += int64(len(e.Data) + len(e.PartitionKey))
			*results[i] = stream.Result{Shard: sh.index, Sequence: sh.sequence(sh.next)}
			sh.next++
		}
		if err := op.Finish(); err != nil && g.err == nil {
			g.err = err
		}
		entries, results = entries[n:], results[n:]
	}
	sh.lastTime = arrival
	sh.building.reset()
	t.end = sh.next
	g.bytes += t.bytes
	g.touched = append(g.touched, t)
}

// maxKept bounds the memory that an idle shard's builder keeps.
const maxKept = 1 << 10

func (bb *blockBuilder) reset() {
	clear(bb.entries) // the entries are their callers'
	clear(bb.results)
	bb.entries, bb.results, bb.bytes = bb.entries[:0], bb.results[:0], 0
	if cap(bb.entries) > maxKept {
		bb.entries, bb.results = nil, nil
	}
}

func (b *Backend) runFinisher() {
	for g := range b.commit.applied {
		if g.err == nil {
			g.err = g.batch.SyncWait()
		}
		b.finish(g)
		b.commit.free <- g
	}
}

// finish publishes what a group made durable and answers its callers.
func (b *Backend) finish(g *group) {
	if g.err != nil {
		// No caller was told a success. What became of the records shows the next start.
		g.err = fault.New(fault.Unavailable, "local.Append", "", "%w", g.err)
		b.fail(g.err)
	} else {
		for i := range g.touched {
			g.touched[i].publish()
		}
		b.stats.groups.Add(1)
		b.stats.syncTime.Add(int64(time.Since(g.began)))
	}
	for _, c := range g.calls {
		c.finish(g.err)
	}
	// A batch that failed may still be Pebble's; it is left to the garbage collector.
	if g.err == nil {
		_ = g.batch.Close() // returns memory to a pool; there is nothing that could fail
	}
	clear(g.calls)
	clear(g.touched)
	g.calls, g.touched, g.batch, g.bytes = g.calls[:0], g.touched[:0], nil, 0
}

// fail ends all writing: after a failed write or fsync of the log its end is unknown.
func (b *Backend) fail(err error) {
	if b.broken.CompareAndSwap(nil, &err) {
		b.opts.Log.Error("records could not be made durable; nothing is taken any more, restart to recover", "error", err)
		b.opts.Fatal(err)
	}
}

// publish shows the records to readers.
func (t *touch) publish() {
	sh := t.shard
	sh.records.Add(int64(t.end - t.first))
	sh.bytes.Add(t.bytes)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n := len(sh.segments); n == 0 || sh.segments[n-1].bucket != t.bucket {
		sh.segments = append(sh.segments, segment{bucket: t.bucket, first: t.first, from: t.arrival})
	}
	sh.segments[len(sh.segments)-1].until = t.arrival
	sh.durable.Store(t.end)
	sh.wake()
}

type counters struct {
	groups   atomic.Int64
	syncTime atomic.Int64
}

// Stats is what the backend counts, since this process opened the store.
type Stats struct {
	Groups      int64         // group commits, one fsync each
	GroupTime   time.Duration // what they took together, from building to fsync
	QueuedBytes int64
	QueueBound  int64
	Streams     []StreamStats
}

// StreamStats counts durable appends to one stream.
type StreamStats struct {
	Stream  string
	Records int64
	Bytes   int64 // of data and partition keys
}

// Stats reads the counters.
func (b *Backend) Stats() Stats {
	st := Stats{
		Groups: b.stats.groups.Load(), GroupTime: time.Duration(b.stats.syncTime.Load()),
		QueuedBytes: int64(b.queue.queued()), QueueBound: maxQueuedBytes,
	}
	view := b.state.Load()
	for _, def := range view.sorted {
		state := view.byName[def.Name]
		s := StreamStats{Stream: def.Name, Records: state.left.records, Bytes: state.left.bytes}
		for _, sh := range state.shards {
			s.Records += sh.records.Load()
			s.Bytes += sh.bytes.Load()
		}
		st.Streams = append(st.Streams, s)
	}
	return st
}
