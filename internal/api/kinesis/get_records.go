package kinesis

import (
	"strings"
	"time"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// javaDate is how the service writes dates in texts: "Thu Jan 22 01:22:02 UTC 2015".
const javaDate = "Mon Jan 02 15:04:05 MST 2006"

// getRecords reads records from an iterator on. The answer that reaches the end of a closed shard says so at
// once: no NextShardIterator, and ChildShards.
//
// Source: Kinesis Data Streams API Reference, GetRecords.
var getRecords = operation{name: "GetRecords", run: func(s *Service, c *call) error {
	var in kinesiswire.GetRecordsInput
	if err := c.decode(&in); err != nil {
		return err
	}
	t, err := s.openIterator(in.ShardIterator)
	if err != nil {
		return err
	}
	if in.StreamARN != "" {
		if _, err := s.target(t.stream, in.StreamARN); err != nil {
			return err
		}
	}
	st, sh, err := s.readable(t.stream, t.id, t.shard)
	if err != nil {
		return err
	}
	limit := maxReadRecords
	if in.Limit > 0 {
		limit = in.Limit
	}
	req := stream.ReadRequest{
		Shard:      stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: sh.Index},
		From:       t.from,
		MaxRecords: limit,
		MaxBytes:   maxReadBytes,
	}
	if err := s.Backend.Read(c.ctx, req, &c.batch); err != nil {
		return worded(err, fault.NotFound, s.noShard(sh.ID(), st.Name))
	}
	s.answerRecords(c, st, sh)
	return nil
}}

func (s *Service) answerRecords(c *call, st *stream.Stream, sh *stream.Shard) {
	batch := &c.batch
	if room := len(batch.Records) * maxNumberDigits; cap(c.text) < room {
		c.text = make([]byte, 0, room)
	}
	c.text = c.text[:0]
	out := &c.getOut
	*out = kinesiswire.GetRecordsOutput{Records: out.Records[:0], MillisBehindLatest: &batch.MillisBehind}
	size := 0
	for i := range batch.Records {
		r := &batch.Records[i]
		size += c.as.blobBytes(len(r.Data)) + len(r.PartitionKey) + recordFrame
		out.Records = append(out.Records, kinesiswire.Record{
			SequenceNumber:              c.number(r.Sequence),
			ApproximateArrivalTimestamp: time.UnixMilli(r.Arrival),
			Data:                        r.Data,
			PartitionKey:                lent(r.PartitionKey),
			EncryptionType:              encrypted(r.Sealed),
		})
	}
	if batch.End {
		// Between the end of the shard and a fresh description of its stream a split may have happened.
		if fresh, ok := s.Backend.Stream(st.Name); ok && fresh.ID == st.ID {
			out.ChildShards = childrenOf(fresh, sh.Index)
		}
	}
	if len(out.ChildShards) == 0 {
		out.ChildShards = nil // absent, never empty: consumers take an empty list for a fault
		out.NextShardIterator = s.iterator(st, sh, batch.Next)
	}
	if need := len(c.dst) + size; cap(c.dst) < need {
		c.dst = append(make([]byte, 0, need), c.dst...)
	}
	c.reply(out)
}

// recordFrame is about what a record takes in JSON, and less in CBOR, beside data and key.
const recordFrame = 160

func childrenOf(st *stream.Stream, parent uint32) []kinesiswire.ChildShard {
	var out []kinesiswire.ChildShard
	for _, sh := range st.Children(parent) {
		child := kinesiswire.ChildShard{ShardId: sh.ID(), HashKeyRange: rangeOf(&sh)}
		for _, p := range sh.Parents {
			child.ParentShards = append(child.ParentShards, stream.ShardID(p))
		}
		out = append(out, child)
	}
	return out
}

// openIterator opens an iterator; surrounding quotes are tolerated, as by the service.
func (s *Service) openIterator(sealed string) (token, error) {
	if len(sealed) > 1 && strings.HasPrefix(sealed, `"`) && strings.HasSuffix(sealed, `"`) {
		sealed = sealed[1 : len(sealed)-1]
	}
	t, ok := s.tokens.open(sealed)
	now := s.Now()
	if !ok || t.kind != tokenIterator || t.at.After(now.Add(iteratorLife)) {
		return token{}, failure(kinesiswire.ErrInvalidArgument, "Invalid ShardIterator.")
	}
	if now.UnixMilli()-t.at.UnixMilli() > iteratorLife.Milliseconds() {
		return token{}, failure(kinesiswire.ErrExpiredIterator, "Iterator expired. The iterator was created at time %s while right now it is %s "+
			"which is further in the future than the tolerated delay of %d milliseconds.",
			t.at.UTC().Format(javaDate), now.UTC().Format(javaDate), iteratorLife.Milliseconds())
	}
	return t, nil
}
