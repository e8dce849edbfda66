package kinesis

import (
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// javaDate is how the service writes dates in texts: "Thu Jan 22 01:22:02 UTC 2015".
const javaDate = "Mon Jan 02 15:04:05 MST 2006"

// getRecords reads records from an iterator on. The answer that reaches the end of a closed shard says so at
// once: no NextShardIterator, and ChildShards.
//
// Source: Kinesis Data Streams API Reference, GetRecords.
var getRecords = operation{name: "GetRecords", pages: true, run: func(s *Service, c *call) error {
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
	room, err := s.pages.take(c.ctx)
	if err != nil {
		return err
	}
	defer func() { // unless the answer holds it
		if c.held == 0 {
			s.pages.give(room)
		}
	}()
	req := stream.ReadRequest{
		Shard:      stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: sh.Index},
		From:       t.from,
		MaxRecords: min(limit, int(room/recordFrame)), // so that a page of tiny records fits too
		MaxBytes:   int(room),
	}
	batch := pages.Get().(*stream.Batch)
	defer releasePage(batch)
	if err := s.Backend.Read(c.ctx, req, batch); err != nil {
		return worded(err, fault.NotFound, s.noShard(sh.ID(), st.Name))
	}
	if room, err = s.pages.fit(c.ctx, room, pageBytes(batch)); err != nil {
		return err
	}
	s.answerRecords(c, st, sh, batch)
	c.held = room
	return nil
}}

// pages are what GetRecords reads into: apart from calls, most of which need little memory and come in great numbers.
var pages = sync.Pool{New: func() any { return new(stream.Batch) }}

// keptPage bounds what the pools keep of one page and of one answer: 10,000 records of a kilobyte. The memory of larger
// pages, of few and large records, is cheap by the record.
const keptPage = 16 << 20

func releasePage(batch *stream.Batch) {
	clear(batch.Records) // an engine may have lent its own memory
	batch.Reset()
	if cap(batch.Buf) <= keptPage {
		pages.Put(batch)
	}
}

func (s *Service) answerRecords(c *call, st *stream.Stream, sh *stream.Shard, batch *stream.Batch) {
	out := kinesiswire.GetRecordsOutput{MillisBehindLatest: &batch.MillisBehind}
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
	size := 0
	for i := range batch.Records {
		r := &batch.Records[i]
		size += c.as.blobBytes(len(r.Data)) + len(r.PartitionKey) + recordFrame
	}
	if need := len(c.dst) + size; cap(c.dst) < need {
		c.dst = append(make([]byte, 0, need), c.dst...)
	}
	c.replyPage(&out, batch.Records)
}

// recordFrame is about what a record takes in JSON, and less in CBOR, beside data and key.
const recordFrame = 160

// replyPage answers with out, whose list of records is empty, and with records in the place of that list: it comes first,
// and so no list of them has to be made that would be as long as the page.
func (c *call) replyPage(out *kinesiswire.GetRecordsOutput, records []stream.Record) {
	start := len(c.dst)
	c.reply(out)
	at := start + len(`{"Records":[`)
	after := at
	if c.as == asCBOR {
		at = start + len("\xa2"+"\x67Records") // a map, of as many members as out has; the list's head follows
		after = at + 1
	}
	rest := append(c.text[:0], c.dst[after:]...)
	c.text = slices.Grow(rest, maxNumberDigits)
	number := c.text[len(rest):]
	if c.dst = c.dst[:at]; c.as == asCBOR {
		c.dst = awswire.AppendCBORList(c.dst, len(records))
	}
	for i := range records {
		r := &records[i]
		record := wireRecord(r, r.Sequence.Append(number))
		if c.as == asCBOR {
			c.dst = record.AppendCBOR(c.dst)
		} else {
			c.dst = record.AppendJSON(awswire.Comma(c.dst))
		}
	}
	c.dst = append(c.dst, rest...)
}

// wireRecord gives a record as it is sent; number holds its number as long as the result is used.
func wireRecord(r *stream.Record, number []byte) kinesiswire.Record {
	return kinesiswire.Record{
		SequenceNumber:              lent(number),
		ApproximateArrivalTimestamp: time.UnixMilli(r.Arrival),
		Data:                        r.Data,
		PartitionKey:                lent(r.PartitionKey),
		EncryptionType:              encrypted(r.Sealed),
	}
}

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
	if now.Sub(t.at) > iteratorLife {
		return token{}, failure(kinesiswire.ErrExpiredIterator, "Iterator expired. The iterator was created at time %s while right now it is %s "+
			"which is further in the future than the tolerated delay of %d milliseconds.",
			t.at.UTC().Format(javaDate), now.UTC().Format(javaDate), iteratorLife.Milliseconds())
	}
	return t, nil
}
