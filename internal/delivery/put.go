package delivery

import (
	"context"
	"sync"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Limits of the put operations, as the service has them.
const (
	MaxPutRecordBytes = 1000 << 10 // of data
	MaxPutRecords     = 500
	MaxPutBatchBytes  = 4 << 20 // of data
)

// PutResult tells what became of one record.
type PutResult struct {
	RecordID string // the record's sequence number
	Err      error  // Unavailable, Throttled or Internal; the producer sends the record again
}

// putScratch is what a put borrows.
type putScratch struct {
	key     stream.HashKey // that all entries point to
	entries []stream.Entry
	results []stream.Result
}

var putPool = sync.Pool{New: func() any { return new(putScratch) }}

// Put stores one record durably in a Direct PUT delivery stream; encrypted tells whether it is at rest under a key.
// Put keeps no reference to data.
func (e *Engine) Put(ctx context.Context, name string, data []byte) (id string, encrypted bool, err error) {
	var results [1]PutResult
	encrypted, err = e.PutBatch(ctx, name, [][]byte{data}, results[:])
	if err != nil {
		return "", false, err
	}
	return results[0].RecordID, encrypted, results[0].Err
}

// PutBatch stores records durably, in their order within one shard: results[i] is for records[i], and both have the same length. An error
// means that none was stored: NotFound, Invalid with the service's text, InUse when the delivery stream is not ACTIVE,
// Unavailable.
func (e *Engine) PutBatch(ctx context.Context, name string, records [][]byte, results []PutResult) (encrypted bool, err error) {
	const op = "delivery.Put"
	d, err := e.find(op, name)
	if err != nil {
		return false, err
	}
	def := d.definition.Load()
	if def.Type != DirectPut {
		return false, fault.New(fault.Invalid, op, name, "This operation is not permitted on %s delivery stream type.", def.Type)
	}
	if err := CheckBatch(op, name, records); err != nil {
		return false, err
	}
	d.appends.RLock()
	defer d.appends.RUnlock()
	if d.isDeleting() || d.ctx.Err() != nil {
		return false, e.notFound(op, name)
	}
	return def.Encrypts(), d.append(ctx, records, results)
}

// CheckBatch refuses what PutBatch refuses of the records themselves.
func CheckBatch(op, name string, records [][]byte) error {
	if len(records) == 0 || len(records) > MaxPutRecords {
		return fault.New(fault.Invalid, op, name, "A batch holds 1 to %d records, not %d", MaxPutRecords, len(records))
	}
	total := 0
	for _, r := range records {
		if len(r) > MaxPutRecordBytes {
			return fault.New(fault.Invalid, op, name, "A record has at most %d bytes, not %d", MaxPutRecordBytes, len(r))
		}
		total += len(r)
	}
	if total > MaxPutBatchBytes {
		return fault.New(fault.Invalid, op, name, "Records size exceeds 4 MB limit")
	}
	return nil
}

// hiddenPartitionKey is what the service's partition keys are not: never shown. A backend may refuse an empty one.
const hiddenPartitionKey = "-"

// turn gives the hash key for all records of a call, so that they stay together and in order: that of one shard of the hidden
// stream, each in turn. It spares the MD5 of a partition key for every record, too.
func (d *delivery) turn() stream.HashKey {
	st, ok := d.engine.opts.Source.Stream(d.source)
	if !ok || len(st.Shards) < 2 {
		return stream.HashKey{}
	}
	return st.Shards[d.puts.Add(1)%uint64(len(st.Shards))].Range.Start
}

func (d *delivery) append(ctx context.Context, records [][]byte, results []PutResult) error {
	scratch := putPool.Get().(*putScratch)
	defer scratch.release()
	scratch.key = d.turn()
	for _, r := range records {
		scratch.entries = append(scratch.entries, stream.Entry{PartitionKey: hiddenPartitionKey, ExplicitHashKey: &scratch.key, Data: r})
		scratch.results = append(scratch.results, stream.Result{})
	}
	if err := d.engine.opts.Source.Append(ctx, d.source, scratch.entries, scratch.results); err != nil {
		return err
	}
	for i := range scratch.results {
		results[i] = PutResult{Err: scratch.results[i].Err}
		if results[i].Err == nil {
			results[i].RecordID = scratch.results[i].Sequence.String()
		}
	}
	return nil
}

func (s *putScratch) release() {
	clear(s.entries)
	clear(s.results)
	s.entries, s.results = s.entries[:0], s.results[:0]
	putPool.Put(s)
}
