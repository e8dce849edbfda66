package kafka

import (
	"bytes"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// view is what this node knows of all streams. It is never changed, but for what its shards count.
type view struct {
	version    int64
	byName     map[string]*streamState
	sorted     []*stream.Stream
	superseded chan struct{} // closed when there is a newer one
}

// streamState is a stream and where its shards are.
type streamState struct {
	raw    []byte // the document that it was made from
	doc    *document
	def    *stream.Stream
	topic  *topic
	shards []*shard // by index, as def.Shards
	open   []*shard // by hash key range; those that are closing included
}

// topic is one incarnation of a topic. Shards of one share it.
type topic struct {
	name    string
	id      topicID
	adopted bool
	// compacted: an answer without records tells that none are left. Else it tells nothing: a broker that fetches old records
	// from a remote tier answers so when that takes too long.
	compacted bool
	// maxBatch is the largest batch that the brokers take (max.message.bytes).
	maxBatch atomic.Int32

	// clean is closed when the producer has forgotten an earlier incarnation; nil: there is nothing to forget.
	clean chan struct{}

	learning atomic.Bool // its limit is being asked for

	records, bytes atomic.Int64 // appended by this node
}

// A shard's state only ever grows.
const (
	open int32 = iota
	closing
	closed
	gone
)

// shard is a shard as this node sees it; it outlives the views.
type shard struct {
	stream    string
	topic     *topic
	index     uint32
	created   int64
	hashRange stream.HashKeyRange
	partition int32

	state    atomic.Int32
	end      atomic.Int64 // of a closed one: offset after its last record
	inFlight atomic.Int64 // records between this node and the brokers
	ready    atomic.Bool  // the producer has found the partition
	leader   atomic.Int32 // the broker that leads it, as far as we know; -1: we do not

	// tip is the offset up to which records can be read, as far as we know; -1: we do not.
	tip     atomic.Int64
	mu      sync.Mutex
	void    span          // offsets that were found to hold no record to show
	waiting atomic.Int32  // who waits for tip to pass on
	changed chan struct{} // closed when tip passes on or the state changes, if somebody waits
}

func newShard(s *streamState, d *stream.Shard) *shard {
	sh := &shard{stream: s.def.Name, topic: s.topic, index: d.Index, created: d.Created, hashRange: d.Range, partition: s.doc.Partitions[d.Index]}
	sh.leader.Store(-1)
	sh.tip.Store(-1)
	return sh
}

func (s *shard) sequence(offset int64) stream.SequenceNumber {
	return stream.NewSequenceNumber(s.created, s.index, uint64(offset))
}

// offset gives the offset of the first record at or after a place.
func (s *shard) offset(from stream.SequenceNumber) int64 {
	if !s.sequence(0).Before(from) {
		return 0
	}
	if !from.Before(s.sequence(stream.LastPosition)) {
		return stream.LastPosition
	}
	created, index, position, ok := from.Parts()
	if ok && created == s.created && index == s.index {
		return int64(position)
	}
	// The place need not be a record's number: find the first offset whose number is not below it.
	lo, hi := int64(0), int64(stream.LastPosition)
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

// enter counts records as in flight, unless the shard takes none. The order matters: who closes a shard sets the state
// first and looks at the count then, so that one of both sees the other.
func (s *shard) enter(n int64) bool {
	s.inFlight.Add(n)
	return s.state.Load() == open
}

// become moves the state on and wakes who waits for it.
func (s *shard) become(state int32) {
	if s.state.Load() >= state {
		return
	}
	s.state.Store(state)
	s.wake()
}

// span is a range of offsets, without its end.
type span struct{ from, to int64 }

// empty notes that the offsets hold nothing to show: markers of transactions, what was aborted, what compaction removed. One who
// goes on behind the last record that he was given then waits, though the partition ends further on, and passes at once
// over what took many answers of brokers to look through.
func (s *shard) empty(found span) {
	if found.from >= found.to {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found.from <= s.void.to && s.void.from <= found.to {
		found.from, found.to = min(found.from, s.void.from), max(found.to, s.void.to)
	}
	s.void = found
}

// over passes over offsets that hold nothing.
func (s *shard) over(offset int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.void.from <= offset && offset < s.void.to {
		return s.void.to
	}
	return offset
}

// ended notes where the partition ends that a broker was asked for. That may lie before what was known: after an election
// that lost records, others get their offsets.
func (s *shard) ended(stable int64) {
	s.tip.Store(stable)
	s.mu.Lock()
	defer s.mu.Unlock()
	if stable < s.void.to {
		s.void = span{}
	}
}

// advance tells that records up to the given offset can be read.
func (s *shard) advance(tip int64) {
	for {
		now := s.tip.Load()
		if now >= tip {
			return
		}
		if s.tip.CompareAndSwap(now, tip) {
			break
		}
	}
	if s.waiting.Load() > 0 {
		s.wake()
	}
}

func (s *shard) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// ends gives the offset at which a closed shard ends, or ok=false.
func (s *shard) ends() (end int64, ok bool) {
	if s.state.Load() != closed {
		return 0, false
	}
	return s.end.Load(), true
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

// Stream describes a stream.
func (b *Backend) Stream(name string) (*stream.Stream, bool) {
	s, ok := b.view.Load().byName[name]
	if !ok {
		return nil, false
	}
	return s.def, true
}

// Streams lists all streams by name.
func (b *Backend) Streams() []*stream.Stream { return b.view.Load().sorted }

// find gives the stream and shard that a reference names, if it is of the present incarnation.
func (b *Backend) find(op string, ref stream.ShardRef) (*streamState, *shard, error) {
	if b.closing.Load() {
		return nil, nil, errClosed(op, ref.Stream)
	}
	s, ok := b.view.Load().byName[ref.Stream]
	if !ok || (ref.ID != "" && ref.ID != s.def.ID) || s.def.Status == stream.Creating {
		return nil, nil, notFound(op, ref.Stream)
	}
	sh := s.shard(ref.Shard)
	if sh == nil {
		return nil, nil, fault.New(fault.NotFound, op, ref.String(), "no such shard")
	}
	return s, sh, nil
}

// follow makes a view of the catalog's documents. The catalog calls it, one call at a time.
func (b *Backend) follow(docs map[string][]byte, version int64) {
	old := b.view.Load()
	next := &view{version: version, byName: make(map[string]*streamState, len(docs)), superseded: make(chan struct{})}
	var retired []*shard // closing or more, since this view
	for name, raw := range docs {
		was := old.byName[name]
		if was != nil && bytes.Equal(was.raw, raw) {
			next.byName[name] = was
			continue
		}
		s, err := b.newState(name, raw, was)
		if err != nil {
			b.opts.Log.Error("a stream cannot be served", "stream", name, "error", err)
			if was != nil {
				next.byName[name] = was
			}
			continue
		}
		next.byName[name] = s
	}
	for _, name := range slices.Sorted(maps.Keys(next.byName)) {
		next.sorted = append(next.sorted, next.byName[name].def)
	}
	for name, s := range next.byName {
		if was := old.byName[name]; was != s {
			retired = append(retired, s.settle(was)...)
		}
	}
	for name, was := range old.byName {
		if s := next.byName[name]; s == nil || s.topic != was.topic {
			retired = append(retired, was.leave()...)
			b.purge(was, s)
		} else if s.doc.Change != nil && was.doc.Change == nil {
			b.producer.ForceMetadataRefresh() // partitions have been added
		}
	}
	for name := range old.byName {
		if next.byName[name] == nil {
			b.limits.Delete(old.byName[name].topic.name)
		}
	}
	for _, s := range next.byName {
		b.limits.Store(s.topic.name, s.topic)
	}
	b.view.Store(next)
	close(old.superseded)
	b.drain.note(version, retired)
	if old.version < 0 {
		close(b.followed)
	}
}

// purge lets the producer forget a topic that is gone, so that what it knows is not taken for another of that name. The
// stream that now has the name, if any, waits for that.
func (b *Backend) purge(was, now *streamState) {
	if was.def.Status == stream.Creating {
		return // never produced to
	}
	t := was.topic
	clean, before := make(chan struct{}), b.purges[t.name]
	b.purges[t.name] = clean
	if now != nil {
		now.topic.clean = clean
	}
	b.workers.Go(func() {
		defer close(clean)
		if before != nil {
			<-before
		}
		b.producer.PurgeTopicsFromProducing(t.name)
	})
}

// newState makes the state of a stream; shards that it shares with the old one stay themselves.
func (b *Backend) newState(name string, raw []byte, old *streamState) (*streamState, error) {
	doc, err := parseDocument(name, raw)
	if err != nil {
		return nil, err
	}
	return b.stateOf(doc, raw, old), nil
}

func (b *Backend) stateOf(doc *document, raw []byte, old *streamState) *streamState {
	s := &streamState{raw: raw, doc: doc, def: &doc.Stream}
	if old != nil && old.def.ID == s.def.ID && old.topic.id == doc.TopicID {
		s.topic = old.topic
	} else {
		s.topic = &topic{name: doc.Topic, id: doc.TopicID, adopted: doc.Adopted, compacted: doc.Compacted}
		s.topic.maxBatch.Store(doc.MaxBatchBytes)
		select {
		case <-b.purges[doc.Topic]:
			delete(b.purges, doc.Topic)
		default:
			s.topic.clean = b.purges[doc.Topic]
		}
		old = nil
	}
	for i := range s.def.Shards {
		d := &s.def.Shards[i]
		var sh *shard
		if old != nil {
			sh = old.shard(d.Index)
		}
		if sh == nil {
			sh = newShard(s, d)
		}
		s.shards = append(s.shards, sh)
		if d.Open() {
			s.open = append(s.open, sh)
		}
	}
	slices.SortFunc(s.open, func(x, y *shard) int { return x.hashRange.Start.Compare(y.hashRange.Start) })
	return s
}

// settle gives the shards the state that the document says, and tells which were open until now.
func (s *streamState) settle(old *streamState) (retired []*shard) {
	for i, sh := range s.shards {
		was, state := sh.state.Load(), open
		switch {
		case s.def.Status == stream.Deleting:
			state = closing
		case !s.def.Shards[i].Open():
			sh.end.Store(s.doc.Ends[sh.index])
			state = closed
		case s.doc.Change != nil && slices.Contains(s.doc.Change.Closing, sh.index):
			state = closing
		}
		sh.become(state)
		if was == open && state != open {
			retired = append(retired, sh)
		}
	}
	if old != nil && old.topic == s.topic {
		for _, sh := range old.shards { // closed ones that retention has passed
			if s.shard(sh.index) == nil {
				sh.become(gone)
			}
		}
	}
	return retired
}

// leave tells who waits that the stream is gone.
func (s *streamState) leave() (retired []*shard) {
	for _, sh := range s.shards {
		if sh.state.Load() == open {
			retired = append(retired, sh)
		}
		sh.become(gone)
	}
	return retired
}
