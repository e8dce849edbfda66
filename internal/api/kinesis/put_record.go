package kinesis

import (
	"unsafe"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// putRecord appends one record, durably.
//
// SequenceNumberForOrdering only has to be a number that the stream could have given by now: numbers rise within a
// shard whatever the caller names.
//
// Source: Kinesis Data Streams API Reference, PutRecord.
var putRecord = operation{name: "PutRecord", borrows: true, run: func(s *Service, c *call) error {
	in := &c.put
	*in = kinesiswire.PutRecordInput{}
	if err := c.decode(in); err != nil {
		return err
	}
	st, err := s.writable(in.StreamName, in.StreamARN)
	if err != nil {
		return err
	}
	c.makeRoom(1)
	if err := c.entry(in.PartitionKey, in.ExplicitHashKey, in.Data); err != nil {
		return err
	}
	if in.SequenceNumberForOrdering != "" {
		if err := s.checkOrdering(c, st, in.SequenceNumberForOrdering); err != nil {
			return err
		}
	}
	var found awswire.Violations
	checkSize(&found, nil, st, in.Data)
	if err := invalid(&found); err != nil {
		return err
	}
	if err := s.Backend.Append(c.ctx, st.Name, c.entries, c.results); err != nil {
		return s.appendFault(err, st)
	}
	if r := &c.results[0]; r.Err != nil {
		if fault.Is(r.Err, fault.Throttled) {
			return failure(kinesiswire.ErrProvisionedThroughputExceeded, "%s", s.throttled(st, r.Shard))
		}
		return r.Err
	}
	c.putOut = kinesiswire.PutRecordOutput{ShardId: c.shardID(c.results[0].Shard), SequenceNumber: c.number(c.results[0].Sequence),
		EncryptionType: encrypted(st.EncryptionKey != "")}
	c.reply(&c.putOut)
	return nil
}}

// makeRoom sizes the lists of n entries, so that pointers into them hold.
func (c *call) makeRoom(n int) {
	if cap(c.entries) < n {
		c.entries = make([]stream.Entry, 0, n)
		c.results = make([]stream.Result, 0, n)
		c.hashes = make([]stream.HashKey, 0, n)
	}
	c.entries, c.hashes, c.results = c.entries[:0], c.hashes[:0], c.results[:n]
	clear(c.results)
	if room := n * (maxNumberDigits + shardIDLetters); cap(c.text) < room {
		c.text = make([]byte, 0, room)
	}
	c.text = c.text[:0]
}

// The text that one result takes in an answer.
const (
	maxNumberDigits = 58
	shardIDLetters  = len("shardId-000000000000")
)

// entry adds a record to what will be appended.
func (c *call) entry(partitionKey, explicitHashKey string, data []byte) error {
	e := stream.Entry{PartitionKey: partitionKey, Data: data}
	if explicitHashKey != "" {
		h, ok, inRange := stream.ParseHashKey(explicitHashKey)
		if !ok || !inRange {
			return failure(kinesiswire.ErrInvalidArgument,
				"Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was %s", explicitHashKey)
		}
		c.hashes = append(c.hashes, h)
		e.ExplicitHashKey = &c.hashes[len(c.hashes)-1]
	}
	c.entries = append(c.entries, e)
	return nil
}

// number and shardID write into the call's text, which has room for all results of the call.
func (c *call) number(n stream.SequenceNumber) string {
	start := len(c.text)
	c.text = n.Append(c.text)
	return lent(c.text[start:])
}

func (c *call) shardID(index uint32) string {
	start := len(c.text)
	c.text = stream.AppendShardID(c.text, index)
	return lent(c.text[start:])
}

// lent gives bytes as a string that lives as long as they are not written.
func lent(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// checkSize bounds a record's data by the stream's limit, which the model does not know.
func checkSize(found *awswire.Violations, at *awswire.Path, st *stream.Stream, data []byte) {
	limit := st.MaxRecordBytes
	if limit == 0 {
		limit = stream.DefaultMaxRecordBytes
	}
	if len(data) > limit {
		found.Blob(at, "data", data, &awswire.Rule{Max: limit})
	}
}

// checkOrdering checks that the stream could have given a sequence number: one of its shards, not of the future.
func (s *Service) checkOrdering(c *call, st *stream.Stream, text string) error {
	wrong := failure(kinesiswire.ErrInvalidArgument, "ExclusiveMinimumSequenceNumber %s used in PutRecord on stream %s under account %s is invalid.",
		text, st.Name, s.Account.ID)
	n, ok := stream.ParseSequenceNumber(text)
	created, index, _, ours := n.Parts()
	sh, known := st.Shard(index)
	switch {
	case !ok || !ours && s.ownNumbers():
		return wrong
	case !s.ownNumbers():
		return nil // another service's numbers pass through
	case !known && created <= s.Now().Unix():
		return nil // its shard has left retention
	case !known || created != sh.Created:
		return wrong
	}
	tip, err := s.Backend.Tip(c.ctx, stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: index})
	if err != nil {
		return worded(err, fault.NotFound, s.noStream(st.Name))
	}
	if !n.Before(tip) && n != sh.First {
		return wrong
	}
	return nil
}

// ownNumbers reports whether the backend makes numbers of our layout; on Amazon Kinesis they are the service's own.
func (s *Service) ownNumbers() bool { return !s.Backend.Capabilities().ForeignNumbers }

// appendFault words the failure of a whole append: nothing was written.
func (s *Service) appendFault(err error, st *stream.Stream) error {
	if fault.Is(err, fault.Throttled) {
		return failure(kinesiswire.ErrProvisionedThroughputExceeded, "Rate exceeded for stream %s under account %s.", st.Name, s.Account.ID)
	}
	return worded(err, fault.NotFound, s.noStream(st.Name))
}

func (s *Service) throttled(st *stream.Stream, shard uint32) string {
	return "Rate exceeded for shard " + stream.ShardID(shard) + " in stream " + st.Name + " under account " + s.Account.ID + "."
}
