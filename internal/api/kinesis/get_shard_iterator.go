package kinesis

import (
	"time"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// getShardIterator gives a place to read on from. Iterators live five minutes, survive a restart, and belong to
// one incarnation of a stream.
//
// Source: Kinesis Data Streams API Reference, GetShardIterator; order of checks as recorded.
var getShardIterator = operation{name: "GetShardIterator", run: func(s *Service, c *call) error {
	var in kinesiswire.GetShardIteratorInput
	if err := c.decode(&in); err != nil {
		return err
	}
	name, err := s.target(in.StreamName, in.StreamARN)
	if err != nil {
		return err
	}
	index, ok := stream.ParseShardID(in.ShardId)
	if !ok {
		return s.shardUnreadable(in.ShardId, name)
	}
	st, sh, err := s.readable(name, "", index)
	if err != nil {
		return err
	}
	from, err := s.position(c, start{call: "GetShardIterator", kind: in.ShardIteratorType, number: in.StartingSequenceNumber, at: in.Timestamp}, st, sh)
	if err != nil {
		return worded(err, fault.NotFound, s.noShard(sh.ID(), st.Name))
	}
	out := kinesiswire.GetShardIteratorOutput{ShardIterator: s.iterator(st, sh, from)}
	c.reply(&out)
	return nil
}}

func (s *Service) iterator(st *stream.Stream, sh *stream.Shard, from stream.SequenceNumber) string {
	return s.tokens.seal(token{kind: tokenIterator, at: s.Now(), stream: st.Name, id: st.ID, shard: sh.Index, from: from})
}

// readable finds a shard; an unknown stream, one that is being created, and another incarnation (when id is
// given) all lack it. So does a stream whose retention has passed the closed shard: what no list shows, nobody reads.
func (s *Service) readable(name, id string, index uint32) (*stream.Stream, *stream.Shard, error) {
	missing := s.noShard(stream.ShardID(index), name)
	st, ok := s.Backend.Stream(name)
	if !ok || st.Hidden() || st.Status == stream.Creating || id != "" && st.ID != id {
		return nil, nil, missing
	}
	sh, ok := st.Shard(index)
	if !ok || expired(st, sh, s.Now()) {
		return nil, nil, missing
	}
	return st, sh, nil
}

// start is where a caller wants to read from.
type start struct {
	call   string // "GetShardIterator": who asks
	kind   string // of the ShardIteratorType enum
	number string
	at     time.Time
}

// position resolves where an iterator or a subscription starts.
func (s *Service) position(c *call, in start, st *stream.Stream, sh *stream.Shard) (stream.SequenceNumber, error) {
	ref := stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: sh.Index}
	kind := in.kind
	byNumber := kind == kinesiswire.ShardIteratorTypeAtSequenceNumber || kind == kinesiswire.ShardIteratorTypeAfterSequenceNumber
	given := in.number != ""
	if kind != kinesiswire.ShardIteratorTypeAtTimestamp && byNumber != given {
		with := "also a StartingSequenceNumber."
		if !given {
			with = "no StartingSequenceNumber."
		}
		return stream.SequenceNumber{}, failure(kinesiswire.ErrInvalidArgument, "Must either specify (1) AT_SEQUENCE_NUMBER or "+
			"AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. "+
			"Request specified %s and %s", kind, with)
	}
	switch kind {
	case kinesiswire.ShardIteratorTypeTrimHorizon:
		return stream.SequenceNumber{}, nil // the start; a read moves up to the horizon of its own time
	case kinesiswire.ShardIteratorTypeLatest:
		return s.Backend.Tip(c.ctx, ref)
	case kinesiswire.ShardIteratorTypeAtTimestamp:
		return s.atTimestamp(c, in.at, ref)
	}
	return s.startingPlace(in, st, sh)
}

func (s *Service) atTimestamp(c *call, at time.Time, ref stream.ShardRef) (stream.SequenceNumber, error) {
	now := s.Now()
	switch {
	case at.IsZero():
		return stream.SequenceNumber{}, failure(kinesiswire.ErrInvalidArgument, "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. "+
			"Current request has no timestamp parameter.")
	case at.UnixMilli() > now.UnixMilli():
		return stream.SequenceNumber{}, failure(kinesiswire.ErrInvalidArgument, "The timestampInMillis parameter cannot be greater than the "+
			"currentTimestampInMillis. timestampInMillis: %d, currentTimestampInMillis: %d", at.UnixMilli(), now.UnixMilli())
	}
	return s.Backend.At(c.ctx, ref, at)
}

// startingPlace reads a number, and checks that the shard could have given it.
func (s *Service) startingPlace(in start, st *stream.Stream, sh *stream.Shard) (stream.SequenceNumber, error) {
	n, ok := stream.ParseSequenceNumber(in.number)
	after := in.kind == kinesiswire.ShardIteratorTypeAfterSequenceNumber
	if next, gap := n.AfterGap(); gap && s.ownNumbers() {
		n, after = next, false // a ContinuationSequenceNumber: at it and after it are the same
	}
	created, index, _, ours := n.Parts()
	switch {
	case !ok || !ours && s.ownNumbers():
		return n, failure(kinesiswire.ErrInvalidArgument, "StartingSequenceNumber %s used in %s on shard %s in stream %s under account %s is invalid.",
			in.number, in.call, sh.ID(), st.Name, s.Account.ID)
	case !s.ownNumbers(): // another service's numbers pass through
	case index != sh.Index:
		return n, failure(kinesiswire.ErrInvalidArgument, "Invalid StartingSequenceNumber. It encodes %s, while it was used in a call to a shard with %s",
			stream.ShardID(index), sh.ID())
	case created != sh.Created:
		return n, failure(kinesiswire.ErrInvalidArgument, "StartingSequenceNumber %s used in %s on shard %s in stream %s under account %s is invalid because it did not come from this stream.",
			in.number, in.call, sh.ID(), st.Name, s.Account.ID)
	}
	if after {
		n = n.Next()
	}
	return n, nil
}
