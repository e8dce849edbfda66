package kinesis

import (
	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
)

// putRecords appends up to 500 records. Entries fail one by one; what is wrong with the request itself writes
// nothing. Entries for one shard get rising numbers in their order.
//
// Source: Kinesis Data Streams API Reference, PutRecords.
var putRecords = operation{name: "PutRecords", borrows: true, run: func(s *Service, c *call) error {
	in := &c.puts
	*in = kinesiswire.PutRecordsInput{Records: in.Records[:0]}
	if err := c.decode(in); err != nil {
		return err
	}
	st, err := s.writable(in.StreamName, in.StreamARN)
	if err != nil {
		return err
	}
	c.makeRoom(len(in.Records))
	var found awswire.Violations
	total := 0
	for i := range in.Records {
		r := &in.Records[i]
		if err := c.entry(r.PartitionKey, r.ExplicitHashKey, r.Data); err != nil {
			return err
		}
		checkSize(&found, &awswire.Path{Name: "records", Index: i + 1}, st, r.Data)
		total += len(r.Data) + len(r.PartitionKey)
	}
	if err := invalid(&found); err != nil {
		return err
	}
	if total > maxPutBytes {
		return failure(kinesiswire.ErrInvalidArgument, "Records size exceeds 10 MB limit")
	}
	if err := s.Backend.Append(c.ctx, st.Name, c.entries, c.results); err != nil {
		return s.appendFault(err, st)
	}
	out := &c.putsOut
	out.FailedRecordCount = 0
	out.EncryptionType = encrypted(st.EncryptionKey != "")
	out.Records = awswire.Emptied(out.Records)
	for i := range c.results {
		r := &c.results[i]
		if r.Err == nil {
			out.Records = append(out.Records, kinesiswire.PutRecordsResultEntry{SequenceNumber: c.number(r.Sequence), ShardId: c.shardID(r.Shard)})
			continue
		}
		out.FailedRecordCount++
		entry := kinesiswire.PutRecordsResultEntry{ErrorCode: new("InternalFailure"), ErrorMessage: new("Internal Service Failure")}
		if fault.Is(r.Err, fault.Throttled) {
			entry.ErrorCode = new(kinesiswire.ErrProvisionedThroughputExceeded.Code)
			entry.ErrorMessage = new(s.throttled(st, r.Shard))
		}
		out.Records = append(out.Records, entry)
	}
	c.allFailed = out.FailedRecordCount == len(c.results)
	if c.allFailed && !fault.Is(c.results[0].Err, fault.Throttled) {
		s.complain("PutRecords", c.results[0].Err)
	}
	c.reply(out)
	return nil
}}
