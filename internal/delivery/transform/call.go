package transform

import (
	"strconv"
	"time"

	"millrace/internal/awswire"
	"millrace/internal/stream"
)

// Source says where the records of a call come from, which the event tells.
type Source uint8

// The sources.
const (
	DirectPut Source = iota
	Kinesis
	Kafka
)

// Record is one record of a call. Together, Sequence and Index must be its own among all of the call.
type Record struct {
	Data    []byte
	Arrival time.Time
	// Sequence numbers the record that the source holds, Index those that were made of it, from 0.
	Sequence stream.SequenceNumber
	Index    int

	ShardID      string // of Kinesis
	PartitionKey string
	Subsequence  int64 // the record's place in a record of the Kinesis Producer Library

	Partition int32 // of Kafka
	Offset    int64
}

// Call is what a function is called with. It keeps its memory from one Invoke to the next; several at once need a Call each.
type Call struct {
	Endpoint          *Endpoint
	DeliveryStreamARN string
	Source            Source
	SourceARN         string // of the stream or cluster; empty for Direct PUT
	Region            string
	Retries           int // NumberOfRetries
	Records           []Record
	// Attempted, when set, is told of every attempt as it ends, by the goroutine of Invoke. It is quick.
	Attempted func(Attempt)

	ids    []byte // of the records of an event, one after another
	ends   []int  // where each ends
	byID   map[string]int
	seen   []bool
	memory []byte // what the results' data points to
	keys   []PartitionKey
	given  []PartitionKey // those of one entry; its texts lie in the answer
	reader awswire.JSON
}

// Attempt is one try to get an answer for an event.
type Attempt struct {
	Number        int // from 1; above it the same event is sent again
	Took          time.Duration
	Code, Message string // why it failed; empty: the function has answered
}

func (c *Call) attempted(number int, began time.Time, failed *failure) {
	if c.Attempted == nil {
		return
	}
	a := Attempt{Number: number, Took: time.Since(began)}
	if failed != nil {
		a.Code, a.Message = failed.code, failed.message
	}
	c.Attempted(a)
}

// Outcome is what became of a record.
type Outcome uint8

// The outcomes. The zero value is none: a result that nobody has filled in.
const (
	Ok      Outcome = iota + 1 // Data takes the record's place
	Dropped                    // the function wants nothing of it delivered
	Failed                     // it goes to the error output, with ErrorCode and ErrorMessage
)

// Result is what became of a record.
type Result struct {
	Outcome       Outcome
	Data          []byte         // of Ok, never nil then
	PartitionKeys []PartitionKey // of Ok, in the function's order, each key once
	ErrorCode     string         // of Failed
	ErrorMessage  string
	Attempts      int       // calls that were made; 0 for a record that is too large for any
	Ended         time.Time // when the last one had ended
}

// PartitionKey is one of metadata.partitionKeys.
type PartitionKey struct{ Key, Value string }

func (r *Result) fail(code, message string) {
	r.Outcome, r.ErrorCode, r.ErrorMessage = Failed, code, message
	r.Data, r.PartitionKeys = nil, nil
}

func (c *Call) reset() {
	c.memory, c.keys = c.memory[:0], c.keys[:0]
}

// What the pieces of an event take at most, beside texts and data.
const (
	eventFrame  = 256 // names of members, and the invocation's id
	recordFrame = 480 // names, 56 + 6 or more digits of the id and 58 of the sequence number, times
	textGrowth  = 6   // a control character becomes six letters
)

// recordSize bounds what a record takes in an event.
func recordSize(r *Record) int {
	return recordFrame + (len(r.Data)+2)/3*4 + textGrowth*(len(r.PartitionKey)+len(r.ShardID))
}

func (c *Call) frameSize() int {
	return eventFrame + textGrowth*(len(c.DeliveryStreamARN)+len(c.SourceARN)+len(c.Region))
}

// fit tells how many records from one on go into an event, at least one, and a bound of the event's size.
func (c *Call) fit(from int) (n, size int) {
	size = c.frameSize()
	for n = 0; from+n < len(c.Records) && n < MaxRecords; n++ {
		more := recordSize(&c.Records[from+n])
		if n > 0 && size+more > MaxRequest {
			break
		}
		size += more
	}
	return n, size
}

const eventHead = `{"invocationId":"`

// invocationAt is where the invocation's id lies in an event; attempt fills it in.
const invocationAt = len(eventHead)

// appendEvent appends the event of n records, and keeps their ids.
func (c *Call) appendEvent(dst []byte, from, n int) []byte {
	c.ids, c.ends, c.byID = c.ids[:0], c.ends[:0], nil
	dst = append(dst, eventHead+"00000000-0000-0000-0000-000000000000"+`","deliveryStreamArn":`...)
	dst = awswire.AppendString(dst, c.DeliveryStreamARN)
	switch c.Source {
	case Kinesis:
		dst = awswire.AppendString(append(dst, `,"sourceKinesisStreamArn":`...), c.SourceARN)
	case Kafka:
		dst = awswire.AppendString(append(dst, `,"sourceMSKArn":`...), c.SourceARN)
	}
	dst = awswire.AppendString(append(dst, `,"region":`...), c.Region)
	dst = append(dst, `,"records":[`...)
	for i := range c.Records[from : from+n] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = c.appendRecord(dst, &c.Records[from+i])
	}
	return append(dst, `]}`...)
}

func (c *Call) appendRecord(dst []byte, r *Record) []byte {
	dst = append(dst, `{"recordId":"`...)
	begin := len(dst)
	dst = appendSix(r.Sequence.Append(dst), r.Index)
	c.ids = append(c.ids, dst[begin:]...)
	c.ends = append(c.ends, len(c.ids))
	dst = append(dst, `","approximateArrivalTimestamp":`...)
	arrival := r.Arrival.UnixMilli()
	dst = strconv.AppendInt(dst, arrival, 10)
	dst = append(dst, `,"`...)
	dst = append(append(dst, c.dataMember()...), `":`...)
	dst = awswire.AppendBlob(dst, r.Data)
	switch c.Source {
	case Kinesis:
		dst = awswire.AppendString(append(dst, `,"kinesisRecordMetadata":{"shardId":`...), r.ShardID)
		dst = awswire.AppendString(append(dst, `,"partitionKey":`...), r.PartitionKey)
		dst = strconv.AppendInt(append(dst, `,"approximateArrivalTimestamp":`...), arrival, 10)
		dst = r.Sequence.Append(append(dst, `,"sequenceNumber":"`...))
		dst = strconv.AppendInt(append(dst, `","subsequenceNumber":`...), r.Subsequence, 10)
		dst = append(dst, '}')
	case Kafka:
		dst = strconv.AppendInt(append(dst, `,"mskRecordMetadata":{"offset":"`...), r.Offset, 10)
		dst = strconv.AppendInt(append(dst, `","partitionId":"`...), int64(r.Partition), 10)
		dst = strconv.AppendInt(append(dst, `","approximateArrivalTimestamp":`...), arrival, 10)
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// dataMember is where an event has a record's data, and an answer too.
func (c *Call) dataMember() string {
	if c.Source == Kafka {
		return "kafkaRecordValue"
	}
	return "data"
}

// appendSix appends a number with at least six digits, as the service's record ids end.
func appendSix(dst []byte, n int) []byte {
	for limit := 100000; limit > 1 && n < limit; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, int64(n), 10)
}

// id is that of a record of the event, as the event has it.
func (c *Call) id(i int) []byte {
	begin := 0
	if i > 0 {
		begin = c.ends[i-1]
	}
	return c.ids[begin:c.ends[i]]
}

// find tells which record has an id. Answers are mostly in the order of the event, so that next is asked first, and the
// index is made when it is needed.
func (c *Call) find(id string, next int) (i int, ok bool) {
	if next < len(c.ends) && string(c.id(next)) == id {
		return next, true
	}
	if c.byID == nil {
		c.byID = make(map[string]int, len(c.ends))
		for i := range c.ends {
			c.byID[string(c.id(i))] = i
		}
	}
	i, ok = c.byID[id]
	return i, ok
}
