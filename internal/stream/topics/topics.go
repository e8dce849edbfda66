// Package topics reads topics of Kafka clusters as the sources of delivery streams
// (MSKAsSource), whatever engine keeps the node's own streams. It writes nothing
// anywhere.
//
//	stream.TopicStream(cluster ARN, topic)   names a hidden stream
//	Source ── cluster (by ARN) ── follower: one look at all topics that somebody asks for, every few seconds
//	               └ kafka.Foreign: fetches by offset, read_committed, one long poll a broker
//
// A topic is followed from the first [Source.Stream] on, for as long as somebody asks
// again. Until brokers have told of it there is no such stream, and reading it is
// Unavailable, never NotFound: NotFound says that an incarnation of a topic is gone
// for good, and what was not read of it is lost. A topic that is deleted and not made
// again stays what it was, and reads are Unavailable.
//
// Partitions that are added appear as shards, and are read from their beginning by
// who finds them. A topic that was made again under its name has another id: it is
// another stream, once that has been seen twice, as one broker may be behind the
// others; and never again the one before.
//
// Positions have gaps (transactions, compaction) and count nothing. Nothing is held:
// retention is the topic's.
package topics

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"millrace/internal/fault"
	"millrace/internal/kafka"
	"millrace/internal/stream"
	streamkafka "millrace/internal/stream/kafka"
)

// Options of a source.
type Options struct {
	// Clusters says where the brokers of each cluster are, by its ARN.
	Clusters map[string]*kafka.Settings
	Now      func() time.Time
	Log      *slog.Logger
	// AskTimeout bounds what waits for brokers; 0: that of stream/kafka. LookEvery is [lookEvery] but in tests.
	AskTimeout, LookEvery time.Duration
}

const (
	// lookEvery is how soon an added partition, or a topic that is made again, is seen. Producers take minutes to see one.
	lookEvery = 5 * time.Second
	// askedWithin is how long a topic is followed that nobody asks for. Delivery asks every second.
	askedWithin = 10 * time.Minute
	// confirmed is how many looks in a row must tell of another topic of the same name.
	confirmed = 2
	// maxLeft bounds the incarnations of a topic that are remembered as gone: a broker that is so far behind as to tell of an
	// earlier one is not asked.
	maxLeft = 16
)

// Source reads topics. It is safe for concurrent use. The topics that it follows are those of delivery streams, which are
// bounded in number.
type Source struct {
	opts     Options
	clusters map[string]*cluster

	life    context.Context // ends with Close
	end     context.CancelFunc
	workers sync.WaitGroup
}

// cluster is one of Kafka.
type cluster struct {
	arn     string
	source  *Source
	foreign *streamkafka.Foreign

	looking sync.Mutex // held while brokers are asked and what they tell is shown
	wake    chan struct{}

	mu      sync.Mutex
	running bool
	closed  bool
	topics  map[string]*topic
}

// topic is one that is followed. Guarded by cluster.mu.
type topic struct {
	asked time.Time
	shown *streamkafka.ForeignStream // nil: brokers have not told of it yet
	err   error                      // of the last look; nil: it told

	other string   // another id that was seen
	times int      // looks in a row that it was seen by
	left  []string // ids of earlier incarnations, oldest first
}

// Open makes a source. It does no I/O: a cluster that can't be reached is told of by whoever reads from it.
func Open(o Options) (*Source, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.LookEvery == 0 {
		o.LookEvery = lookEvery
	}
	s := &Source{opts: o, clusters: map[string]*cluster{}}
	s.life, s.end = context.WithCancel(context.Background())
	for arn, settings := range o.Clusters {
		foreign, err := streamkafka.OpenForeign(streamkafka.ForeignOptions{Settings: settings, Now: o.Now, AskTimeout: o.AskTimeout})
		if err != nil {
			_ = s.Close(context.Background())
			return nil, err
		}
		s.clusters[arn] = &cluster{arn: arn, source: s, foreign: foreign, wake: make(chan struct{}, 1), topics: map[string]*topic{}}
	}
	return s, nil
}

// Close ends all reading.
func (s *Source) Close(ctx context.Context) error {
	s.end()
	for _, c := range s.clusters {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		_ = c.foreign.Close(ctx) // there is nothing that could fail
	}
	s.workers.Wait()
	return nil
}

// Capabilities says that positions have gaps and that retention is the topic's.
func (s *Source) Capabilities() stream.Capabilities { return stream.Capabilities{} }

// Stream describes a topic as a stream; ok is false as long as brokers have not told of it. It does no I/O.
func (s *Source) Stream(name string) (*stream.Stream, bool) {
	arn, topic, ok := stream.ParseTopicStream(name)
	c := s.clusters[arn]
	if !ok || c == nil {
		return nil, false
	}
	c.follow(topic)
	return c.foreign.Stream(name)
}

// Find asks the brokers of a cluster about a topic. Invalid: nobody has said where the cluster is, or there is no such
// topic; Denied; Unavailable.
func (s *Source) Find(ctx context.Context, arn, topic string) (*stream.Stream, error) {
	const op = "topics.Find"
	c := s.clusters[arn]
	if c == nil {
		return nil, fault.New(fault.Invalid, op, topic, "the brokers of the MSK cluster %s are not known here; name them in the configuration file, "+
			"under msk: {%q: {brokers: [HOST:PORT, …]}}", arn, arn)
	}
	fresh := c.want(topic)
	err := c.find(ctx, topic)
	if err == nil {
		if st, ok := c.foreign.Stream(stream.TopicStream(arn, topic)); ok {
			return st, nil
		}
		err = c.unknown(op, topic)
	}
	if fresh {
		c.drop(topic)
	}
	switch kind := fault.KindOf(err); kind {
	case fault.NotFound:
		return nil, fault.New(fault.Invalid, op, topic, "Topic %s is not found in the MSK cluster %s.", topic, arn)
	default:
		return nil, fault.New(kind, op, topic, "topic %s of the MSK cluster %s: %w", topic, arn, err)
	}
}

// Read is that of [stream.Backend].
func (s *Source) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	c, err := s.known("topics.Read", req.Shard)
	if err != nil {
		batch.Reset()
		return err
	}
	return c.foreign.Read(ctx, req, batch)
}

// Wait is that of [stream.Backend].
func (s *Source) Wait(ctx context.Context, ref stream.ShardRef, from stream.SequenceNumber) error {
	c, err := s.known("topics.Wait", ref)
	if err != nil {
		return err
	}
	return c.foreign.Wait(ctx, ref, from)
}

// Tip is that of [stream.Backend]: behind the last record that no open transaction stands before.
func (s *Source) Tip(ctx context.Context, ref stream.ShardRef) (stream.SequenceNumber, error) {
	c, err := s.known("topics.Tip", ref)
	if err != nil {
		return stream.SequenceNumber{}, err
	}
	return c.foreign.Tip(ctx, ref)
}

// At gives the place of the first record with a timestamp at or after t, by the brokers' index, and the tip when there is
// none; the moment zero is the oldest record that is kept.
func (s *Source) At(ctx context.Context, ref stream.ShardRef, t time.Time) (stream.SequenceNumber, error) {
	c, err := s.known("topics.At", ref)
	if err != nil {
		return stream.SequenceNumber{}, err
	}
	return c.foreign.At(ctx, ref, t)
}

// known gives the cluster of a shard whose topic brokers have told of.
func (s *Source) known(op string, ref stream.ShardRef) (*cluster, error) {
	arn, topic, ok := stream.ParseTopicStream(ref.Stream)
	if !ok {
		return nil, fault.New(fault.NotFound, op, ref.String(), "no topic's stream")
	}
	c := s.clusters[arn]
	if c == nil {
		return nil, fault.New(fault.Unavailable, op, topic, "the configuration does not tell any more where the brokers of the MSK cluster %s are (msk)", arn)
	}
	c.follow(topic)
	if _, ok := c.foreign.Stream(ref.Stream); !ok {
		return nil, c.unknown(op, topic)
	}
	return c, nil
}

// unknown tells why nothing is known of a topic.
func (c *cluster) unknown(op, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topics[name]; t != nil && t.err != nil {
		kind := fault.KindOf(t.err)
		if kind == fault.NotFound {
			kind = fault.Unavailable // it may come: a stream that is gone for good is another thing
		}
		return fault.New(kind, op, name, "topic %s of the MSK cluster %s: %w", name, c.arn, t.err)
	}
	return fault.New(fault.Unavailable, op, name, "the brokers of the MSK cluster %s have not told of topic %s yet", c.arn, name)
}

// follow has a topic followed, and looked at soon when it is new.
func (c *cluster) follow(name string) {
	if !c.want(name) {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// want has a topic followed; fresh tells that it was not.
func (c *cluster) want(name string) (fresh bool) {
	now := c.source.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[name]
	if t == nil {
		t, fresh = &topic{}, true
		c.topics[name] = t
	}
	t.asked = now
	if !c.running && !c.closed {
		c.running = true
		c.source.workers.Go(c.run)
	}
	return fresh
}

// drop forgets a topic that was looked for in vain.
func (c *cluster) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topics[name]; t != nil && t.shown == nil {
		delete(c.topics, name)
	}
}

// run looks again and again.
func (c *cluster) run() {
	ticker := time.NewTicker(c.source.opts.LookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-c.wake:
		case <-c.source.life.Done():
			return
		}
		c.forget()
		c.look(c.source.life, c.names())
	}
}

// forget drops what nobody has asked for in a while.
func (c *cluster) forget() {
	now := c.source.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, t := range c.topics {
		if now.Sub(t.asked) > askedWithin {
			delete(c.topics, name)
		}
	}
}

func (c *cluster) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]string, 0, len(c.topics))
	for name := range c.topics {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// find looks at one topic now, until what it shows is what brokers tell.
func (c *cluster) find(ctx context.Context, name string) error {
	for {
		c.look(ctx, []string{name})
		c.mu.Lock()
		t := c.topics[name]
		if t == nil { // it was looked for in vain by two
			t = &topic{}
			c.topics[name] = t
		}
		err, sure := t.err, t.times == 0
		c.mu.Unlock()
		if err != nil || sure {
			return err
		}
	}
}

// look asks about topics once, and shows what is new.
func (c *cluster) look(ctx context.Context, names []string) {
	c.looking.Lock()
	defer c.looking.Unlock()
	var found map[string]streamkafka.ForeignTopic
	var err error
	if len(names) > 0 { // of an empty list brokers tell all that they have
		found, err = c.foreign.Look(ctx, names)
	}
	upkeep := map[string]streamkafka.Upkeep{}
	for _, name := range names {
		if f := found[name]; err == nil && f.Err == nil && c.differs(name, f.ID) {
			upkeep[name] = c.foreign.Upkeep(ctx, name)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		t := c.topics[name]
		if t == nil {
			continue
		}
		f, told := found[name]
		switch {
		case err != nil:
			t.err = err
		case !told:
			t.err = fault.New(fault.Unavailable, "topics.look", name, "the broker's answer tells nothing of it")
		case f.Err != nil:
			t.err = f.Err
		default:
			t.err = nil
			c.saw(name, t, f, upkeep[name])
		}
	}
	c.show()
}

// differs reports whether brokers tell of another topic than the one that is shown, or none is.
func (c *cluster) differs(name, id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[name]
	return t != nil && (t.shown == nil || t.shown.ID != id)
}

// saw notes what brokers tell of a topic. The caller holds mu.
func (c *cluster) saw(name string, t *topic, f streamkafka.ForeignTopic, upkeep streamkafka.Upkeep) {
	log := c.source.opts.Log.With("cluster", c.arn, "topic", name)
	switch {
	case slices.Contains(t.left, f.ID): // of a broker that is behind
		t.other, t.times = "", 0
		return
	case t.shown != nil && t.shown.ID == f.ID:
		t.other, t.times = "", 0
		if f.Partitions <= t.shown.Partitions { // partitions are never taken away: fewer is an answer of before
			return
		}
		log.Info("partitions were added; they are read from their beginning", "partitions", f.Partitions)
		grown := *t.shown
		grown.Partitions = f.Partitions
		t.shown = &grown
		return
	case t.shown != nil:
		if t.other != f.ID {
			t.other, t.times = f.ID, 0
		}
		if t.times++; t.times < confirmed {
			return
		}
		log.Warn("the topic was deleted and made again; it is read from its beginning")
		t.left = append(t.left, t.shown.ID)
		t.left = t.left[max(0, len(t.left)-maxLeft):]
		t.other, t.times = "", 0
	}
	t.shown = &streamkafka.ForeignStream{Name: stream.TopicStream(c.arn, name), Topic: name, ID: f.ID, Partitions: f.Partitions, Upkeep: upkeep}
}

// show makes what is known the streams that there are. The caller holds mu and looking.
func (c *cluster) show() {
	all := make([]streamkafka.ForeignStream, 0, len(c.topics))
	for _, t := range c.topics {
		if t.shown != nil {
			all = append(all, *t.shown)
		}
	}
	if err := c.foreign.Show(all); err != nil {
		c.source.opts.Log.Error("topics can't be shown", "cluster", c.arn, "error", err)
	}
}
