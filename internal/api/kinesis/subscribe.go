package kinesis

import (
	"context"
	"time"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// subscribeToShard answers with a stream of events: a shard's records from a position on, as they are written.
//
// The stream begins with initial-response and ends with its caller, after five minutes, or at the end of a closed shard,
// whose last event names the children and has no ContinuationSequenceNumber: that it lacks one is how consumers tell
// (the Kinesis Client Library, Flink, Beam), although the model requires it. An idle shard gives an event without records
// every five seconds. What goes wrong once the stream has begun is an exception in it; before, an ordinary answer.
//
// One consumer has one subscription to a shard. Within five seconds of a successful call another is refused, later it
// takes over. In a cluster each node keeps this rule for its own callers: a consumer that subscribes through two nodes
// has two subscriptions.
//
// Events are JSON also for callers who ask in CBOR. What the service sends them is not known, and no SDK asks: that for
// Java 2, whose other 38 operations are in CBOR, sends this one in JSON and decodes the answer, events and errors alike, as
// JSON only; the Kinesis Client Library and Flink go through it (e2e/javasdk, e2e/kcl, e2e/flink).
//
// Source: Kinesis Data Streams API Reference, SubscribeToShard.
var subscribeToShard = operation{name: "SubscribeToShard",
	note: "events are JSON; in a cluster each node keeps to one subscription for a consumer and shard by itself",
	run: func(s *Service, c *call) error {
		var in kinesiswire.SubscribeToShardInput
		if err := c.decode(&in); err != nil {
			return err
		}
		if !c.takesEvents {
			return failure(kinesiswire.ErrInvalidArgument, "SubscribeToShard answers with a stream of events, which only a caller of the AWS endpoint can take.")
		}
		st, con, err := s.consumerOf(in.ConsumerARN, "", "")
		if err != nil {
			return err
		}
		index, ok := stream.ParseShardID(in.ShardId)
		if !ok {
			return s.shardUnreadable(in.ShardId, st.Name)
		}
		st, sh, err := s.readable(st.Name, st.ID, index)
		if err != nil {
			return err
		}
		p := in.StartingPosition
		from, err := s.position(c, start{call: "SubscribeToShard", kind: p.Type, number: p.SequenceNumber, at: p.Timestamp}, st, sh)
		if err != nil {
			return worded(err, fault.NotFound, s.noShard(sh.ID(), st.Name))
		}
		c.subscription, err = s.subscribe(c.ctx, st, con, sh, from)
		return err
	}}

// Bounds of subscriptions.
const (
	// subscriptionLife is how long one lasts; Source: API reference.
	subscriptionLife = 5 * time.Minute
	// takeOverAfter is how long after a successful call the same consumer may not subscribe to the same shard; Source: API reference.
	takeOverAfter = 5 * time.Second
	// idlePeriod is how often an idle shard gives an event, so that clients know that the connection lives.
	idlePeriod = 5 * time.Second
	// maxSubscriptions bounds those of a node: on HTTP/1 each takes a connection, of 8192, and none may be left for others.
	maxSubscriptions = 2048

	// eventBytes bounds the data and keys of an event, unless one record alone has more: enough to make the cost of an
	// event small, and little to hold for a caller who reads slowly.
	eventBytes = 128 << 10
	// eventRecords bounds the records of an event; it counts when they are tiny: each takes 160 bytes beside data and key.
	eventRecords = 1000
	// eventMemory bounds what all events on their way take together, read and encoded: some 700 callers may stop reading
	// for a while before others have to wait for them.
	eventMemory = 128 << 20

	// pieceBytes is what a caller has to accept within pieceTime, or lose its subscription. A consumer that is busy with
	// what it has may well not read on for a while.
	pieceBytes = 256 << 10
	pieceTime  = time.Minute
	// lastWords is how long what is being sent may still take when the subscription has ended meanwhile.
	lastWords = time.Second

	// readPause is how long a shard is left alone that has nothing to read though it should, or that is throttled.
	readPause = 100 * time.Millisecond
)

// subscribe enters a subscription, and ends the one that it takes over from.
func (s *Service) subscribe(ctx context.Context, st *stream.Stream, con *stream.Consumer, sh *stream.Shard, from stream.SequenceNumber) (*subscription, error) {
	u := &subscription{
		s: s, ref: stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: sh.Index}, arn: s.consumerARN(st, con),
		key:  subscriptionKey{st.ID, keyOf(con), sh.Index},
		next: from, first: sh.First, behind: 1,
	}
	u.ctx, u.cancel = context.WithCancelCause(ctx)
	if err := s.subscriptions.enter(u); err != nil {
		u.cancel(nil)
		return nil, err
	}
	return u, nil
}

// errSubscribed is told to who comes too early, and to who is taken over from.
func (u *subscription) errSubscribed() *exception {
	return failure(kinesiswire.ErrResourceInUse, "Another active subscription exists for this consumer: %s:%s:%d:%s:%s",
		u.s.Account.ID, u.ref.Stream, u.key.consumer.created, stream.ShardID(u.ref.Shard), u.key.consumer.name)
}
