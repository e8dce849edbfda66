package firehose

import (
	"millrace/internal/awsmodel/firehosewire"
	"millrace/internal/delivery"
	"millrace/internal/fault"
)

// putRecord stores one record of a Direct PUT delivery stream. It answers when the record is durable.
func putRecord(s *Service, c *call) error {
	c.json.Borrow = true // the engine keeps nothing of the request
	in := &c.put
	if err := c.decode(in); err != nil {
		return err
	}
	c.records = append(c.records, in.Record.Data)
	c.results = append(c.results, delivery.PutResult{})
	encrypted, err := s.Engine.PutBatch(c.ctx, in.DeliveryStreamName, c.records, c.results)
	if err != nil {
		return err
	}
	if err := c.results[0].Err; err != nil {
		return err
	}
	out := firehosewire.PutRecordOutput{RecordId: c.results[0].RecordID, Encrypted: truth(encrypted)}
	c.dst = out.AppendJSON(c.dst)
	return nil
}

var yes, no = true, false

// truth gives a truth value of the wire without making one.
func truth(v bool) *bool {
	if v {
		return &yes
	}
	return &no
}

// putRecordBatch stores up to 500 records by one append. Records fail one by one, in an answer of 200; a limit that
// is broken fails the whole call.
func putRecordBatch(s *Service, c *call) error {
	c.json.Borrow = true
	in := &c.batch
	if err := c.decode(in); err != nil {
		return err
	}
	for i := range in.Records {
		c.records = append(c.records, in.Records[i].Data)
		c.results = append(c.results, delivery.PutResult{})
	}
	encrypted, err := s.Engine.PutBatch(c.ctx, in.DeliveryStreamName, c.records, c.results)
	if err != nil {
		return err
	}
	failed := 0
	for i := range c.results {
		if c.results[i].Err != nil {
			failed++
		}
		c.entries = append(c.entries, entryOf(&c.results[i]))
	}
	if failed > 0 {
		s.Log.Warn("records of a batch could not be stored", "deliveryStream", in.DeliveryStreamName, "failed", failed, "of", len(c.results))
	}
	out := firehosewire.PutRecordBatchOutput{FailedPutCount: failed, Encrypted: truth(encrypted), RequestResponses: c.entries}
	c.dst = out.AppendJSON(c.dst)
	c.allFailed = failed == len(c.results)
	return nil
}

// The texts of entries that failed; a producer sends those records again.
var (
	unavailableCode = firehosewire.ErrServiceUnavailable.Code
	internalCode    = errInternalFailure.Code
	slowDown        = slowDownText
	internalText    = "Internal service failure."
)

func entryOf(r *delivery.PutResult) firehosewire.PutRecordBatchResponseEntry {
	switch {
	case r.Err == nil:
		return firehosewire.PutRecordBatchResponseEntry{RecordId: r.RecordID}
	case fault.Is(r.Err, fault.Unavailable), fault.Is(r.Err, fault.Throttled):
		return firehosewire.PutRecordBatchResponseEntry{ErrorCode: &unavailableCode, ErrorMessage: &slowDown}
	default:
		return firehosewire.PutRecordBatchResponseEntry{ErrorCode: &internalCode, ErrorMessage: &internalText}
	}
}
