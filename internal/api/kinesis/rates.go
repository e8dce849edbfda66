package kinesis

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/stream"
)

// scope says who shares a rate.
type scope uint8

const (
	perAccount scope = iota
	perStream
	perShard
	perConsumerShard // one consumer's calls for one shard
)

// rate bounds the calls of an operation. Zero fields bound nothing.
type rate struct {
	perSecond int
	of        scope
	// perDay bounds the successes within any 24 hours for one stream.
	perDay int
}

// rates holds the call rates of the service, which apply only where Options.ExactRates says so; operations that are not
// here have none. What may be read and written a second is package limits'.
//
// Sizes and counts are no rates and always apply: of records, requests and answers, of shards, on-demand streams and
// tags, of streams that are being created, and UpdateShardCount's double and half.
//
// Source: Kinesis Data Streams developer guide, quotas and limits, and API reference.
var rates = map[string]rate{
	"CreateStream":                  {perSecond: 5},
	"DeleteStream":                  {perSecond: 5},
	"ListStreams":                   {perSecond: 5},
	"AddTagsToStream":               {perSecond: 5},
	"RemoveTagsFromStream":          {perSecond: 5},
	"ListTagsForStream":             {perSecond: 5},
	"SplitShard":                    {perSecond: 5},
	"MergeShards":                   {perSecond: 5},
	"IncreaseStreamRetentionPeriod": {perSecond: 5},
	"DecreaseStreamRetentionPeriod": {perSecond: 5},
	"RegisterStreamConsumer":        {perSecond: 5},
	"DescribeStream":                {perSecond: 10},
	"DescribeStreamSummary":         {perSecond: 20},
	"DescribeLimits":                {perSecond: 1},
	"UpdateShardCount":              {perSecond: 10, perDay: 10},
	"UpdateStreamMode":              {perDay: 2},
	"StartStreamEncryption":         {perDay: 25},
	"StopStreamEncryption":          {perDay: 25},
	"ListShards":                    {perSecond: 1000, of: perStream},
	"DescribeStreamConsumer":        {perSecond: 20, of: perStream},
	"DeregisterStreamConsumer":      {perSecond: 5, of: perStream},
	"ListStreamConsumers":           {perSecond: 5, of: perStream},
	"GetShardIterator":              {perSecond: 5, of: perShard},
	"SubscribeToShard":              {perSecond: 1, of: perConsumerShard},
}

// day is how far back successes are counted.
const day = 24 * time.Hour

// maxMeters bounds what is remembered of calls; only streams, shards and consumers that exist are counted. Beyond it those
// that have been quiet go; should that not help, who comes new is not counted.
const maxMeters = 20_000

// gate lets calls pass at the service's rates. What it remembers is this process's, and gone after a restart.
type gate struct {
	now func() time.Time

	mu      sync.Mutex
	meters  map[caller]*meter
	refused map[string]int64 // by operation
}

// caller is who shares a meter. Streams are told apart by their incarnation.
type caller struct {
	operation, stream string
	shard             uint32
	consumer          consumerKey
}

// meter is what a caller has left. A second's worth of calls may come at once.
type meter struct {
	left      int64 // in billionths of a call, so that nothing is lost between a clock's nanoseconds and a rate
	at        time.Time
	successes []time.Time // of the last 24 hours, those under way included; at most perDay
}

func newGate(now func() time.Time) *gate {
	return &gate{now: now, meters: map[caller]*meter{}, refused: map[string]int64{}}
}

// pass takes a call from its rate; false when there is none left.
func (g *gate) pass(who caller, perSecond int) bool {
	if perSecond == 0 {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.meter(who, perSecond)
	if m.left < aCall {
		g.refused[who.operation]++
		return false
	}
	m.left -= aCall
	return true
}

const aCall = 1_000_000_000

// meter gives a caller's meter as it is now. The caller of it holds mu.
func (g *gate) meter(who caller, perSecond int) *meter {
	now, most := g.now(), int64(perSecond)*aCall
	m := g.meters[who]
	if m == nil {
		m = &meter{left: most, at: now}
		if len(g.meters) >= maxMeters {
			g.forget(now)
		}
		if len(g.meters) < maxMeters {
			g.meters[who] = m
		}
	}
	if passed := min(now.Sub(m.at), time.Second); passed > 0 {
		m.left = min(most, m.left+int64(passed)*int64(perSecond))
	}
	m.at = now
	for len(m.successes) > 0 && now.Sub(m.successes[0]) >= day {
		m.successes = m.successes[1:]
	}
	return m
}

// forget drops the meters that say nothing any more.
func (g *gate) forget(now time.Time) {
	for who, m := range g.meters {
		quiet := now.Sub(m.at)
		if quiet >= day || quiet >= time.Second && len(m.successes) == 0 {
			delete(g.meters, who)
		}
	}
}

// reserve counts a success that is to come; false when there have been perDay of them.
func (g *gate) reserve(who caller, perDay int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.meter(who, 0)
	if len(m.successes) >= perDay {
		g.refused[who.operation]++
		return false
	}
	m.successes = append(m.successes, m.at)
	return true
}

// giveBack takes back a success that did not come.
func (g *gate) giveBack(who caller) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.meters[who]; m != nil && len(m.successes) > 0 {
		m.successes = m.successes[:len(m.successes)-1]
	}
}

// RateExceeded tells how many calls of each operation were refused for their rate.
func (s *Service) RateExceeded() map[string]int64 {
	counts := map[string]int64{}
	if s.gate == nil {
		return counts
	}
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	for operation, n := range s.gate.refused {
		counts[operation] = n
	}
	return counts
}

// rated runs an operation at the service's rate. It stands behind the signature and before the request's checks: what
// is throttled is not looked at, but for whom it is about. body is read twice where the rate is not the account's.
func (s *Service) rated(op *operation, c *call, body []byte) error {
	r, is := rates[op.name]
	if !is {
		return op.run(s, c)
	}
	if r.of == perAccount && !s.gate.pass(caller{operation: op.name}, r.perSecond) {
		return s.tooOften(s.about(op, c, body))
	}
	if r.of == perAccount && r.perDay == 0 {
		return op.run(s, c)
	}
	t := s.about(op, c, body)
	if t.stream == nil || (r.of == perShard || r.of == perConsumerShard) && !t.hasShard {
		return op.run(s, c) // which says what is wrong
	}
	who := caller{operation: op.name, stream: t.stream.ID, consumer: t.consumer, shard: t.shard}
	if r.of != perAccount && !s.gate.pass(who, r.perSecond) {
		return s.tooOften(t)
	}
	if r.perDay == 0 {
		return op.run(s, c)
	}
	if !s.gate.reserve(who, r.perDay) {
		return failure(kinesiswire.ErrLimitExceeded, "Rate exceeded for stream %s under account %s. %s can be called %d times within 24 hours.",
			t.stream.Name, s.Account.ID, op.name, r.perDay)
	}
	err := op.run(s, c)
	if err != nil {
		s.gate.giveBack(who)
	}
	return err
}

// topic is what a call is about, as far as it exists.
type topic struct {
	operation string
	stream    *stream.Stream
	shard     uint32
	hasShard  bool
	consumer  consumerKey // only beside a shard
}

// tooOften words a refusal.
//
// Source: the texts that clients of the service log.
func (s *Service) tooOften(t topic) *exception {
	switch {
	case t.operation == getShardIterator.name:
		return failure(kinesiswire.ErrProvisionedThroughputExceeded, "%s", s.throttled(t.stream, t.shard))
	case t.stream != nil:
		return failure(kinesiswire.ErrLimitExceeded, "Rate exceeded for stream %s under account %s.", t.stream.Name, s.Account.ID)
	}
	return failure(kinesiswire.ErrLimitExceeded, "Rate exceeded for account %s.", s.Account.ID)
}

// about finds out what a call is about, and leaves its request to be read from the start. A request that can't be read
// is about nothing: its operation says what is wrong.
func (s *Service) about(op *operation, c *call, body []byte) topic {
	var name, arn, shardID string
	t := topic{operation: op.name}
	switch op.name {
	case "GetShardIterator":
		var in kinesiswire.GetShardIteratorInput
		if c.peek(op, &in, body) {
			name, arn, shardID = in.StreamName, in.StreamARN, in.ShardId
		}
	case "SubscribeToShard":
		var in kinesiswire.SubscribeToShardInput
		if !c.peek(op, &in, body) {
			break
		}
		if st, con, err := s.consumerOf(in.ConsumerARN, "", ""); err == nil {
			name, shardID, t.consumer = st.Name, in.ShardId, keyOf(con)
		}
	case "DescribeStreamConsumer", "DeregisterStreamConsumer":
		var in kinesiswire.DescribeStreamConsumerInput
		if c.peek(op, &in, body) {
			if arn = in.StreamARN; arn == "" {
				arn = in.ConsumerARN
			}
		}
	case "ListShards":
		var in kinesiswire.ListShardsInput
		if c.peek(op, &in, body) {
			name, arn = in.StreamName, in.StreamARN
			if t, ok := s.tokens.open(in.NextToken); ok {
				name = t.stream
			}
		}
	default:
		var in kinesiswire.DescribeStreamSummaryInput
		if c.peek(op, &in, body) {
			name, arn = in.StreamName, in.StreamARN
		}
	}
	if name == "" && arn != "" {
		named, err := s.nameIn(arn)
		if err != nil {
			return t
		}
		name, _, _ = strings.Cut(named, "/") // a consumer's ARN goes on
	}
	st, ok := s.Backend.Stream(name)
	if !ok || st.Hidden() {
		return t
	}
	t.stream = st
	if t.shard, ok = stream.ParseShardID(shardID); ok {
		_, t.hasShard = st.Shard(t.shard)
	}
	return t
}

// peek reads a request without its checks, into memory of its own, and leaves it unread; false when it can't be read.
func (c *call) peek(op *operation, in shape, body []byte) bool {
	c.lend(body, false)
	err := c.read(in)
	c.lend(body, op.borrows)
	return err == nil
}

// text tells of a rate, for the list of what is supported; "" when there is none.
func (r rate) text() string {
	var bounds []string
	if r.perSecond > 0 {
		of := map[scope]string{perAccount: "", perStream: " for a stream", perShard: " for a shard", perConsumerShard: " for a consumer and shard"}[r.of]
		bounds = append(bounds, fmt.Sprintf("%d a second%s", r.perSecond, of))
	}
	if r.perDay > 0 {
		bounds = append(bounds, fmt.Sprintf("%d in 24 hours for a stream", r.perDay))
	}
	if len(bounds) == 0 {
		return ""
	}
	return "with --aws-exact=limits " + strings.Join(bounds, " and ")
}
