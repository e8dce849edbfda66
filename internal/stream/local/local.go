// Package local keeps streams on this machine's disk, in a Pebble store.
//
//	Append ──> queue ──> committer: one batch, one fsync for all who wait ──> results
//	Read   <── blocks of the store, up to the last durable position
//	trim       drops what retention hides, nothing holds and no bucket in use has
//
// A success means that the records survive kill -9 and power loss. Positions are
// dense: record n of a shard has position n, and the sequence number says it.
//
// format.go draws what lies in the store. A reader sees a record only after the
// fsync that made it durable.
package local

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// Options of a backend.
type Options struct {
	DB  *pebble.DB // opened with the store.Log profile; the backend closes it
	IDs *ids.Source
	Now func() time.Time
	Log *slog.Logger
	// Low reports that disk space is below the low-space mark; nil: never.
	Low func() bool
	// Fatal is told once that a group could not be made durable. Nobody can know what the disk holds then: every later
	// write is refused, and only opening the store again tells. Nil: nobody is told.
	Fatal func(error)
	// TrimEvery is how often retention is looked at; 0: 30 s.
	TrimEvery time.Duration
	// BucketBytes and BucketAge end a bucket; 0: 32 MiB, 1 h.
	BucketBytes int64
	BucketAge   time.Duration
}

const (
	defaultTrimEvery   = 30 * time.Second
	defaultBucketBytes = 32 << 20
	defaultBucketAge   = time.Hour
	// maxShards bounds the shards of a stream, as UpdateShardCount does.
	maxShards = 10_000
)

// Backend is a stream.Backend on a Pebble store.
type Backend struct {
	opts Options
	db   *pebble.DB

	// state is what appends and reads look at without a lock.
	state atomic.Pointer[state]

	// control serializes changes of streams. It is taken before the committer's turn (inTurn), never within.
	control sync.Mutex

	queue  queue
	calls  sync.Pool // of *call
	commit committer
	stats  counters
	broken atomic.Pointer[error] // set when a group could not be made durable: nothing is written after it

	holds struct {
		sync.Mutex
		m map[string]map[shardID]uint64
	}

	// using is held by who reads the store; Close takes it, behind control, before it closes the store, and sets shut.
	using sync.RWMutex
	shut  bool // looked at under control or using

	closing   chan struct{}
	closed    sync.Once
	trimming  sync.Once
	goroutine sync.WaitGroup
}

var _ stream.Backend = (*Backend)(nil)

// state is an immutable view of all streams.
type state struct {
	byName map[string]*streamState
	sorted []*stream.Stream
}

// streamState is a stream and where its shards are.
type streamState struct {
	number uint32
	def    *stream.Stream
	shards []*shard // by index, as def.Shards
	open   []*shard // by hash key range

	left struct{ records, bytes int64 } // appended to shards that have left since the store was opened
}

func (s *streamState) shard(index uint32) *shard {
	i, ok := slices.BinarySearchFunc(s.shards, index, func(sh *shard, index uint32) int { return int(int64(sh.index) - int64(index)) })
	if !ok {
		return nil
	}
	return s.shards[i]
}

// locate gives the open shard that holds a hash key.
func (s *streamState) locate(k stream.HashKey) *shard {
	lo, hi := 0, len(s.open)-1
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if s.open[mid].hashRange.End.Compare(k) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return s.open[lo]
}

type shardID struct{ stream, shard uint32 }

// shard is where one shard is. The committer alone moves next; readers see durable.
type shard struct {
	id        shardID
	index     uint32
	created   int64
	hashRange stream.HashKeyRange
	closed    bool // when the store was opened

	next     uint64 // position of the next record; the committer's
	lastTime int64  // arrival of the last record; the committer's
	building *blockBuilder

	durable atomic.Uint64 // position after the last durable record
	records atomic.Int64  // appended since the store was opened
	bytes   atomic.Int64

	mu       sync.Mutex
	segments []segment // where its records lie, oldest first
	end      *uint64   // of a closed shard: position after its last record
	gone     bool
	changed  chan struct{} // closed at the next append, when somebody waits
}

// segment is a shard's share of one bucket.
type segment struct {
	bucket      uint32
	first       uint64 // position of its first record
	from, until int64  // arrival of its first and last record
}

func (s *shard) sequence(position uint64) stream.SequenceNumber {
	return stream.NewSequenceNumber(s.created, s.index, position)
}

// position gives the position of the first record at or after a place.
func (s *shard) position(from stream.SequenceNumber) uint64 {
	if !s.sequence(0).Before(from) {
		return 0
	}
	// The place need not be a record's number: find the first position whose number is not below it.
	lo, hi := uint64(0), uint64(stream.LastPosition)
	if s.sequence(hi).Before(from) {
		return hi
	}
	if created, index, p, ok := from.Parts(); ok && created == s.created && index == s.index {
		return p
	}
	for lo < hi {
		mid := lo + (hi-lo)/2
		if s.sequence(mid).Before(from) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Open reads what the store holds and starts the committer.
func Open(opts Options) (*Backend, error) {
	if opts.TrimEvery == 0 {
		opts.TrimEvery = defaultTrimEvery
	}
	if opts.BucketBytes == 0 {
		opts.BucketBytes = defaultBucketBytes
	}
	if opts.BucketAge == 0 {
		opts.BucketAge = defaultBucketAge
	}
	if opts.Low == nil {
		opts.Low = func() bool { return false }
	}
	if opts.Fatal == nil {
		opts.Fatal = func(error) {}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	b := &Backend{opts: opts, db: opts.DB, closing: make(chan struct{})}
	b.holds.m = map[string]map[shardID]uint64{}
	b.queue.init()
	b.commit.init()
	if err := b.recover(); err != nil {
		return nil, err
	}
	b.goroutine.Go(b.runCommitter)
	b.goroutine.Go(b.runFinisher)
	return b, nil
}

// Capabilities says that this backend does all that one can.
func (b *Backend) Capabilities() stream.Capabilities {
	return stream.Capabilities{DensePositions: true, Holds: true, HidesAtAge: true, OrderedCalls: true, OrderedFailures: true, Seals: true}
}

// Stream describes a stream.
func (b *Backend) Stream(name string) (*stream.Stream, bool) {
	s, ok := b.state.Load().byName[name]
	if !ok {
		return nil, false
	}
	return s.def, true
}

// Streams lists all streams by name.
func (b *Backend) Streams() []*stream.Stream { return b.state.Load().sorted }

// publish makes a new view with one stream replaced, or removed when s is nil.
func (b *Backend) publish(name string, s *streamState) {
	old := b.state.Load()
	next := &state{byName: maps.Clone(old.byName)}
	if s == nil {
		delete(next.byName, name)
	} else {
		next.byName[name] = s
	}
	for _, name := range slices.Sorted(maps.Keys(next.byName)) {
		next.sorted = append(next.sorted, next.byName[name].def)
	}
	b.state.Store(next)
}

// newState builds the view of a stream; shards that it shares with old keep their places.
func newState(number uint32, def *stream.Stream, old *streamState) *streamState {
	s := &streamState{number: number, def: def}
	if old != nil {
		s.left = old.left
	}
	for i := range def.Shards {
		d := &def.Shards[i]
		var sh *shard
		if old != nil {
			sh = old.shard(d.Index)
		}
		if sh == nil {
			sh = &shard{id: shardID{number, d.Index}, index: d.Index, created: d.Created, hashRange: d.Range, closed: !d.Open()}
		}
		s.shards = append(s.shards, sh)
		if d.Open() {
			s.open = append(s.open, sh)
		}
	}
	slices.SortFunc(s.open, func(x, y *shard) int { return x.hashRange.Start.Compare(y.hashRange.Start) })
	return s
}

// CreateStream makes a stream; it is ACTIVE at return.
func (b *Backend) CreateStream(ctx context.Context, spec stream.CreateStream) (*stream.Stream, error) {
	const op = "local.CreateStream"
	if err := b.writable(op, spec.Name); err != nil {
		return nil, err
	}
	def, err := b.newStream(spec)
	if err != nil {
		return nil, err
	}
	b.control.Lock()
	defer b.control.Unlock()
	if b.shut {
		return nil, errClosed(op, spec.Name)
	}
	if _, exists := b.state.Load().byName[spec.Name]; exists {
		return nil, fault.New(fault.InUse, op, spec.Name, "a stream of this name exists")
	}
	number, err := b.nextNumber()
	if err != nil {
		return nil, err
	}
	err = b.store(func(batch *pebble.Batch) error {
		return errors.Join(
			batch.Set([]byte(counterKey), binary.BigEndian.AppendUint32(nil, number), nil),
			setDoc(batch, &streamDoc{number, *def}))
	})
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, spec.Name, "%w", err)
	}
	b.publish(spec.Name, newState(number, def, nil))
	return def, nil
}

func (b *Backend) newStream(spec stream.CreateStream) (*stream.Stream, error) {
	def := &stream.Stream{
		Name: spec.Name, ID: b.opts.IDs.UUID(), Status: stream.Active, Created: b.opts.Now().UTC(),
		Settings: stream.Settings{Mode: spec.Mode, Retention: spec.Retention, MaxRecordBytes: spec.MaxRecordBytes, Tags: maps.Clone(spec.Tags)},
	}
	count := spec.Shards
	if def.Mode == "" {
		def.Mode = stream.Provisioned
	}
	if count == 0 {
		count = 1
		if def.Mode == stream.OnDemand {
			count = stream.OnDemandShards
		}
	}
	if count < 0 || count > maxShards {
		return nil, fault.New(fault.LimitExceeded, "local.CreateStream", spec.Name, "%d shards; at most %d", count, maxShards)
	}
	if def.Retention == 0 {
		def.Retention = stream.DefaultRetention
	}
	if def.MaxRecordBytes == 0 {
		def.MaxRecordBytes = stream.DefaultMaxRecordBytes
	}
	created := max(def.Created.Unix(), 0)
	for i, r := range stream.EvenRanges(count) {
		def.Shards = append(def.Shards, stream.Shard{
			Index: uint32(i), Range: r, Created: created, First: stream.NewSequenceNumber(created, uint32(i), 0),
		})
	}
	return def, nil
}

func (b *Backend) nextNumber() (uint32, error) {
	value, closer, err := b.db.Get([]byte(counterKey))
	if errors.Is(err, pebble.ErrNotFound) {
		return 1, nil
	}
	if err != nil {
		return 0, fault.New(fault.Internal, "local.CreateStream", "", "%w", err)
	}
	defer closer.Close()
	return binary.BigEndian.Uint32(value) + 1, nil
}

func setDoc(batch *pebble.Batch, d *streamDoc) error {
	doc, err := encodeDoc(d)
	if err != nil {
		return err
	}
	return batch.Set(docKey(d.Stream.Name), doc, nil)
}

func docKey(name string) []byte { return append([]byte{streamPrefix}, name...) }

// UpdateStream changes settings.
func (b *Backend) UpdateStream(ctx context.Context, name string, edit func(*stream.Settings) error) (*stream.Stream, error) {
	return b.change("local.UpdateStream", name, func(def *stream.Stream) error {
		def.Settings = def.Settings.Clone()
		return edit(&def.Settings)
	})
}

// change edits a copy of a stream's definition, stores it and publishes it.
func (b *Backend) change(op, name string, edit func(*stream.Stream) error) (*stream.Stream, error) {
	b.control.Lock()
	defer b.control.Unlock()
	if b.shut {
		return nil, errClosed(op, name)
	}
	old, ok := b.state.Load().byName[name]
	if !ok {
		return nil, notFound(op, name)
	}
	def := *old.def
	def.Shards = slices.Clone(def.Shards)
	if err := edit(&def); err != nil {
		return nil, err
	}
	err := b.store(func(batch *pebble.Batch) error { return setDoc(batch, &streamDoc{old.number, def}) })
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, name, "%w", err)
	}
	b.publish(name, newState(old.number, &def, old))
	return &def, nil
}

func notFound(op, name string) error { return fault.New(fault.NotFound, op, name, "no such stream") }

// DeleteStream removes a stream with its records, in one batch.
func (b *Backend) DeleteStream(ctx context.Context, name string) error {
	const op = "local.DeleteStream"
	b.control.Lock()
	defer b.control.Unlock()
	s, ok := b.state.Load().byName[name]
	if !ok {
		return notFound(op, name)
	}
	b.publish(name, nil) // appends from here on find nothing
	var err error
	if turn := b.inTurn(func() { err = b.erase(s) }); turn != nil {
		err = turn
	}
	if err != nil {
		b.publish(name, s)
		return fault.New(fault.Unavailable, op, name, "%w", err)
	}
	for _, sh := range s.shards {
		sh.leave()
	}
	return nil
}

// erase deletes what the store holds of a stream. It runs in the committer's turn, when no append is under way.
func (b *Backend) erase(s *streamState) error {
	batch := b.db.NewBatch()
	defer batch.Close()
	err := batch.Delete(docKey(s.def.Name), nil)
	for _, sh := range s.shards {
		sh.mu.Lock()
		for _, seg := range sh.segments {
			err = errors.Join(err, dropSegment(batch, sh.id, seg.bucket))
		}
		sh.mu.Unlock()
		err = errors.Join(err, batch.Delete(positionKey(sh.id.stream, sh.id.shard), nil))
	}
	if err != nil {
		return err
	}
	return batch.Commit(pebble.Sync)
}

func dropSegment(batch *pebble.Batch, id shardID, bucket uint32) error {
	from := appendShardPrefix(nil, bucket, id.stream, id.shard)
	return batch.DeleteRange(from, prefixEnd(from), nil)
}

// prefixEnd gives the first key behind all that begin with p.
func prefixEnd(p []byte) []byte {
	end := slices.Clone(p)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// leave tells who waits that the shard is gone.
func (s *shard) leave() {
	s.mu.Lock()
	s.gone = true
	s.segments = nil
	s.wake()
	s.mu.Unlock()
}

// wake tells who waits that there is something new. The caller holds mu.
func (s *shard) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Healthy writes an empty note to the log and waits for its fsync.
func (b *Backend) Healthy(ctx context.Context) error {
	if err := b.writable("local.Healthy", ""); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- b.inTurnSync(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "local.Healthy", "", "no fsync within the time: %w", ctx.Err())
	}
}

func (b *Backend) inTurnSync(ctx context.Context) error {
	if err := b.enter("local.Healthy", ""); err != nil {
		return err
	}
	defer b.using.RUnlock()
	if err := b.db.LogData([]byte("healthy"), pebble.Sync); err != nil {
		return fault.New(fault.Unavailable, "local.Healthy", "", "%w", err)
	}
	return ctx.Err()
}

func errClosed(op, name string) error {
	return fault.New(fault.Unavailable, op, name, "the stream store is closed")
}

// enter begins to use the store, unless it is closed. Who has entered calls using.RUnlock at the end.
func (b *Backend) enter(op, name string) error {
	b.using.RLock()
	if b.shut {
		b.using.RUnlock()
		return errClosed(op, name)
	}
	return nil
}

// writable fails when nothing may be written now.
func (b *Backend) writable(op, name string) error {
	if err := b.broken.Load(); err != nil {
		return fault.New(fault.Unavailable, op, name, "an earlier write failed: %w", *err)
	}
	if b.opts.Low() {
		return fault.New(fault.Unavailable, op, name, "%w", fault.ErrLowSpace)
	}
	return nil
}

// Close finishes appends in flight and closes the store.
func (b *Backend) Close(ctx context.Context) error {
	b.closed.Do(func() {
		close(b.closing)
		b.queue.close()
	})
	done := make(chan struct{})
	go func() { b.goroutine.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "local.Close", "", "appends in flight did not end: %w", ctx.Err())
	}
	b.control.Lock()
	defer b.control.Unlock()
	b.using.Lock()
	defer b.using.Unlock()
	if b.shut {
		return nil
	}
	b.shut = true
	for _, s := range b.state.Load().byName {
		for _, sh := range s.shards {
			sh.leave()
		}
	}
	if err := b.db.Close(); err != nil {
		return fault.New(fault.Unavailable, "local.Close", "", "%w", err)
	}
	return nil
}
