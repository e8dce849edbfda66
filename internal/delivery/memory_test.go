package delivery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/object"
	"millrace/internal/stream"
)

// world stops all durable changes for the moment of a snapshot, so that the states of source, sink, journal and
// definitions are those of one instant: what kill -9 would leave.
type world struct{ mu sync.RWMutex }

func (w *world) change() (done func()) {
	w.mu.RLock()
	return w.mu.RUnlock
}

// worldJournal is a journal whose writes are changes of the world.
type worldJournal struct {
	journal.Journal
	journal.Index
	world *world
	// answer, when set, may replace the answer of a write that has happened (true) or prevent it (false).
	answer func() (happens bool, err error)
}

func (j *worldJournal) Write(ctx context.Context, change *journal.Change) error {
	defer j.world.change()()
	if j.answer != nil {
		if happens, err := j.answer(); err != nil {
			if happens {
				if err := j.Journal.Write(ctx, change); err != nil {
					return err
				}
			}
			return err
		}
	}
	return j.Journal.Write(ctx, change)
}

// memorySource is a stream.Backend in memory, as far as delivery uses one. What it holds survives a "crash": see clone.
type memorySource struct {
	now   func() time.Time
	world *world

	mu      sync.Mutex
	streams map[string]*memoryStream
	held    map[stream.ShardRef]stream.SequenceNumber
	moved   chan struct{} // closed and replaced at every change
	made    int
	seals   bool // tells that it keeps marks
	sparse  bool // tells what a backend without dense positions and holds tells
	falling bool // arrivals follow the clock even when it steps back: what no backend may do
	readErr error
	reads   int
	guess   int64 // what a sparse source says it has skipped
}

type memoryStream struct {
	stream.Stream
	logs map[uint32]*memoryLog
}

type memoryLog struct {
	trimmed int // records gone from the front
	records []stream.Record
	clock   int64
}

func newMemorySource(now func() time.Time) *memorySource {
	return &memorySource{now: now, world: new(world), streams: map[string]*memoryStream{}, held: map[stream.ShardRef]stream.SequenceNumber{}, moved: make(chan struct{})}
}

// clone copies the durable state: holds are not.
func (m *memorySource) clone() *memorySource {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newMemorySource(m.now)
	c.made = m.made
	for name, s := range m.streams {
		copied := &memoryStream{Stream: s.Stream, logs: map[uint32]*memoryLog{}}
		copied.Shards = slices.Clone(s.Shards)
		for i, l := range s.logs {
			copied.logs[i] = &memoryLog{l.trimmed, slices.Clone(l.records), l.clock}
		}
		c.streams[name] = copied
	}
	return c
}

func (m *memorySource) wake() {
	close(m.moved)
	m.moved = make(chan struct{})
}

func (m *memorySource) Capabilities() stream.Capabilities {
	return stream.Capabilities{DensePositions: !m.sparse, Holds: !m.sparse, Seals: m.seals}
}

func (m *memorySource) CreateStream(_ context.Context, spec stream.CreateStream) (*stream.Stream, error) {
	defer m.world.change()()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams[spec.Name] != nil {
		return nil, fault.New(fault.InUse, "memory.CreateStream", spec.Name, "exists")
	}
	m.made++
	s := &memoryStream{logs: map[uint32]*memoryLog{}}
	s.Stream = stream.Stream{Name: spec.Name, ID: fmt.Sprintf("id%d", m.made), Status: stream.Active, Created: m.now(), Settings: stream.Settings{Retention: stream.DefaultRetention}}
	for _, r := range stream.EvenRanges(max(spec.Shards, 1)) {
		s.open(r, m.now().Unix())
	}
	m.streams[spec.Name] = s
	m.wake()
	return s.snapshot(), nil
}

func (m *memorySource) UpdateStream(_ context.Context, name string, edit func(*stream.Settings) error) (*stream.Stream, error) {
	defer m.world.change()()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[name]
	if s == nil {
		return nil, fault.New(fault.NotFound, "memory.UpdateStream", name, "no such stream")
	}
	set := s.Settings.Clone()
	if err := edit(&set); err != nil {
		return nil, err
	}
	s.Settings = set
	return s.snapshot(), nil
}

func (s *memoryStream) open(r stream.HashKeyRange, created int64, parents ...uint32) uint32 {
	index := uint32(len(s.logs))
	s.Shards = append(s.Shards, stream.Shard{Index: index, Range: r, Parents: parents, Created: created,
		First: stream.NewSequenceNumber(created, index, 0)})
	s.logs[index] = &memoryLog{}
	return index
}

func (s *memoryStream) snapshot() *stream.Stream {
	c := s.Stream
	c.Shards = slices.Clone(s.Shards)
	return &c
}

// reshard changes the shards as a backend does.
func (m *memorySource) reshard(name string, change stream.Reshard) error {
	defer m.world.change()()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[name]
	next, err := s.Resharded(change, m.now())
	if err != nil {
		return err
	}
	s.Stream = *next
	for _, sh := range s.Shards {
		if s.logs[sh.Index] == nil {
			s.logs[sh.Index] = &memoryLog{}
		}
	}
	m.wake()
	return nil
}

// split closes a shard and opens two children.
func (m *memorySource) split(name string, index uint32) {
	st, _ := m.Stream(name)
	if err := m.reshard(name, splitting(st, index)); err != nil {
		panic(err)
	}
}

// splitting divides a shard at a border of equal parts of the key space that lies within it.
func splitting(st *stream.Stream, index uint32) stream.Reshard {
	sh, _ := st.Shard(index)
	for n := 2; ; n *= 2 {
		for _, r := range stream.EvenRanges(n) {
			if sh.Range.Start.Compare(r.Start) < 0 && sh.Range.Contains(r.Start) {
				return stream.Reshard{Split: &stream.SplitShard{Shard: index, At: r.Start}}
			}
		}
	}
}

// forget drops a closed shard, as retention does in the end.
func (m *memorySource) forget(name string, index uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[name]
	s.Shards = slices.DeleteFunc(s.Shards, func(sh stream.Shard) bool { return sh.Index == index })
	m.wake()
}

// trim drops the n oldest records, as a full disk does, whatever is held.
func (m *memorySource) trim(name string, index uint32, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.streams[name].logs[index]
	n = min(n, len(l.records))
	l.records = slices.Clone(l.records[n:])
	l.trimmed += n
}

func (m *memorySource) DeleteStream(_ context.Context, name string) error {
	defer m.world.change()()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams[name] == nil {
		return fault.New(fault.NotFound, "memory.DeleteStream", name, "no such stream")
	}
	delete(m.streams, name)
	m.wake()
	return nil
}

func (m *memorySource) Stream(name string) (*stream.Stream, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[name]
	if s == nil {
		return nil, false
	}
	return s.snapshot(), true
}

func (m *memorySource) Streams() []*stream.Stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*stream.Stream
	for _, name := range slices.Sorted(maps.Keys(m.streams)) {
		all = append(all, m.streams[name].snapshot())
	}
	return all
}

func (m *memorySource) Append(_ context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	defer m.world.change()()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[name]
	if s == nil {
		return fault.New(fault.NotFound, "memory.Append", name, "no such stream")
	}
	for i := range entries {
		for j := range s.Shards {
			sh := &s.Shards[j]
			if !sh.Open() || !sh.Range.Contains(entries[i].HashKey()) {
				continue
			}
			l := s.logs[sh.Index]
			if now := m.now().UnixMilli(); now > l.clock || m.falling {
				l.clock = now
			}
			seq := stream.NewSequenceNumber(sh.Created, sh.Index, uint64(l.trimmed+len(l.records)))
			l.records = append(l.records, stream.Record{Sequence: seq, Arrival: l.clock,
				PartitionKey: []byte(entries[i].PartitionKey), Data: bytes.Clone(entries[i].Data)})
			results[i] = stream.Result{Shard: sh.Index, Sequence: seq}
		}
	}
	m.wake()
	return nil
}

func (m *memorySource) find(ref stream.ShardRef) (*stream.Shard, *memoryLog, error) {
	if s := m.streams[ref.Stream]; s != nil && s.ID == ref.ID {
		if sh, ok := s.Shard(ref.Shard); ok {
			return sh, s.logs[ref.Shard], nil
		}
	}
	return nil, nil, fault.New(fault.NotFound, "memory", ref.String(), "no such shard")
}

func (l *memoryLog) search(place stream.SequenceNumber) int {
	return sort.Search(len(l.records), func(i int) bool { return !l.records[i].Sequence.Before(place) })
}

func (m *memorySource) Read(_ context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	batch.Reset()
	m.reads++
	if m.readErr != nil {
		return m.readErr
	}
	sh, l, err := m.find(req.Shard)
	if err != nil {
		return err
	}
	batch.Next = req.From
	if from := position(sh.Created, sh.Index, req.From); from < int64(l.trimmed) {
		if batch.Skipped = int64(l.trimmed) - from; m.sparse {
			batch.Skipped = m.guess
		}
		batch.Next = stream.NewSequenceNumber(sh.Created, sh.Index, uint64(l.trimmed))
		batch.Resumed = batch.Next
	}
	size := 0
	i := l.search(req.From)
	for ; i < len(l.records) && len(batch.Records) < req.MaxRecords; i++ {
		r := l.records[i]
		size += len(r.Data) + len(r.PartitionKey)
		if size > req.MaxBytes && len(batch.Records) > 0 {
			break
		}
		start := len(batch.Buf)
		batch.Buf = append(batch.Buf, r.Data...)
		r.Data = batch.Buf[start:len(batch.Buf):len(batch.Buf)]
		batch.Records = append(batch.Records, r)
		batch.Next = r.Sequence.Next()
	}
	if i < len(l.records) {
		batch.MillisBehind = max(1, m.now().UnixMilli()-batch.Records[len(batch.Records)-1].Arrival)
	} else {
		batch.End = !sh.Open()
	}
	return nil
}

func (m *memorySource) Wait(ctx context.Context, ref stream.ShardRef, from stream.SequenceNumber) error {
	for {
		m.mu.Lock()
		sh, l, err := m.find(ref)
		ready := err == nil && (l.search(from) < len(l.records) || !sh.Open())
		moved := m.moved
		m.mu.Unlock()
		if err != nil || ready {
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *memorySource) Tip(_ context.Context, ref stream.ShardRef) (stream.SequenceNumber, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sh, l, err := m.find(ref)
	if err != nil {
		return stream.SequenceNumber{}, err
	}
	return stream.NewSequenceNumber(sh.Created, sh.Index, uint64(l.trimmed+len(l.records))), nil
}

func (m *memorySource) Hold(_ string, ref stream.ShardRef, from stream.SequenceNumber) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[ref] = from
}

func (m *memorySource) Release(string) {}

// memorySink is an object.Store in memory, as far as delivery uses one.
type memorySink struct {
	world   *world
	mu      sync.Mutex
	buckets map[string]map[string]*memoryObject
	fail    func(bucket, key string) error // called before a put stores
	lose    func(bucket, key string) error // called after a put stored
	hang    map[string]bool                // buckets whose puts never end
	puts    int

	uploads    map[string]*memoryUpload
	failUpload func(bucket, key string) error // called before an upload is made
	nextUpload int
}

type memoryObject struct {
	data []byte
	info object.Info
}

func newMemorySink(buckets ...string) *memorySink {
	s := &memorySink{world: new(world), buckets: map[string]map[string]*memoryObject{}, hang: map[string]bool{}, uploads: map[string]*memoryUpload{}}
	for _, b := range buckets {
		s.create(b)
	}
	return s
}

func (s *memorySink) create(bucket string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[bucket] = map[string]*memoryObject{}
}

func (s *memorySink) clone() *memorySink {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := newMemorySink()
	for name, b := range s.buckets {
		c.buckets[name] = maps.Clone(b)
	}
	c.uploads, c.nextUpload = maps.Clone(s.uploads), s.nextUpload
	return c
}

func (s *memorySink) Put(ctx context.Context, bucket, key string, body io.Reader, size int64, opts object.PutOptions) (object.Info, error) {
	s.mu.Lock()
	s.puts++
	_, ok := s.buckets[bucket]
	hang, fail, lose := s.hang[bucket], s.fail, s.lose
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return object.Info{}, fault.New(fault.Unavailable, "memory.Put", key, "%w", ctx.Err())
	}
	if !ok {
		return object.Info{}, fault.New(fault.NotFound, "memory.Put", object.MissingBucket+bucket, "no such bucket")
	}
	if fail != nil {
		if err := fail(bucket, key); err != nil {
			return object.Info{}, err
		}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return object.Info{}, err
	}
	if size >= 0 && size != int64(len(data)) {
		return object.Info{}, fault.New(fault.Invalid, "memory.Put", key, "%d bytes announced, %d sent", size, len(data))
	}
	defer s.world.change()()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[bucket][key] != nil && opts.IfNoneMatch == "*" {
		return object.Info{}, fault.New(fault.PreconditionFailed, "memory.Put", key, "exists")
	}
	if have := s.buckets[bucket][key]; opts.IfMatch != "" && (have == nil || have.info.ETag != opts.IfMatch) {
		return object.Info{}, fault.New(fault.PreconditionFailed, "memory.Put", key, "differs")
	}
	info := object.Info{Bucket: bucket, Key: key, Size: int64(len(data)), ETag: fmt.Sprint(s.puts), Modified: time.Now(), Attributes: opts.Attributes}
	s.buckets[bucket][key] = &memoryObject{data, info}
	if lose != nil {
		if err := lose(bucket, key); err != nil {
			return object.Info{}, err
		}
	}
	return info, nil
}

func (s *memorySink) Head(_ context.Context, bucket, key string) (object.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[bucket] == nil {
		return object.Info{}, fault.New(fault.NotFound, "memory.Head", object.MissingBucket+bucket, "no such bucket")
	}
	o := s.buckets[bucket][key]
	if o == nil {
		return object.Info{}, fault.New(fault.NotFound, "memory.Head", object.MissingKey+key, "no such key")
	}
	return o.info, nil
}

// keys lists the keys of a bucket in order.
func (s *memorySink) keys(bucket string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.buckets[bucket]))
}

func (s *memorySink) get(bucket, key string) *memoryObject {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buckets[bucket][key]
}

// memoryDefinitions is a catalog in memory.
type memoryDefinitions struct {
	world *world
	mu    sync.Mutex
	all   map[string]*Definition

	followers []*func()
}

func newMemoryDefinitions() *memoryDefinitions {
	return &memoryDefinitions{world: new(world), all: map[string]*Definition{}}
}

func (m *memoryDefinitions) clone() *memoryDefinitions {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memoryDefinitions{world: new(world), all: maps.Clone(m.all)}
}

func (m *memoryDefinitions) Update(_ context.Context, name string, fn func(*Definition) (*Definition, error)) (*Definition, error) {
	defer m.world.change()()
	def, err := m.update(name, fn)
	m.mu.Lock()
	followers := slices.Clone(m.followers)
	m.mu.Unlock()
	for _, f := range followers {
		(*f)()
	}
	return def, err
}

func (m *memoryDefinitions) update(name string, fn func(*Definition) (*Definition, error)) (*Definition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	def, err := fn(m.all[name])
	switch {
	case err != nil:
		return nil, err
	case def == nil:
		delete(m.all, name)
	default:
		m.all[name] = def
	}
	return def, nil
}

func (m *memoryDefinitions) Follow(fn func()) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.followers = append(m.followers, &fn)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.followers = slices.DeleteFunc(m.followers, func(f *func()) bool { return f == &fn })
	}
}

func (m *memoryDefinitions) All(context.Context) ([]*Definition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.all)), nil
}

var _ Source = stream.Backend(nil)
var _ Sink = object.Store(nil)
var _ = testing.Verbose
