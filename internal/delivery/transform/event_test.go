package transform

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"millrace/internal/ids"
	"millrace/internal/stream"
)

var testTime = time.UnixMilli(1790000000123)

func sequence(position uint64) stream.SequenceNumber {
	return stream.NewSequenceNumber(1790000000, 3, position)
}

func testCall(source Source) *Call {
	c := &Call{DeliveryStreamARN: "arn:aws:firehose:us-east-1:000000000000:deliverystream/events", Region: "us-east-1", Source: source, Retries: DefaultRetries}
	switch source {
	case Kinesis:
		c.SourceARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
	case Kafka:
		c.SourceARN = "arn:aws:kafka:us-east-1:000000000000:cluster/c/1"
	}
	c.Records = []Record{
		{Data: []byte("hello"), Arrival: testTime, Sequence: sequence(1), ShardID: "shardId-000000000003", PartitionKey: `a"b`, Offset: 77, Partition: 2},
		{Arrival: testTime, Sequence: sequence(1), Index: 1, Subsequence: 5, ShardID: "shardId-000000000003", PartitionKey: "ü", Offset: 78, Partition: 2},
	}
	return c
}

// The events are those that the service's functions get.
func TestEvents(t *testing.T) {
	f := func(source Source, want string) {
		t.Helper()
		c := testCall(source)
		n, size := c.fit(0)
		event := c.appendEvent(nil, 0, n)
		ids.Seeded(1).AppendUUID(event[invocationAt:invocationAt])
		if got := string(event); got != strings.ReplaceAll(want, "\n", "") || len(event) > size {
			t.Errorf("%d of %d bytes: %s\nwant %s", len(event), size, got, want)
		}
	}
	const head = `{"invocationId":"6ae6783f-4fbd-491b-aeb8-8b73a48ed247","deliveryStreamArn":"arn:aws:firehose:us-east-1:000000000000:deliverystream/events",`
	id := sequence(1).String()
	f(DirectPut, head+`"region":"us-east-1","records":[
{"recordId":"`+id+`000000","approximateArrivalTimestamp":1790000000123,"data":"aGVsbG8="},
{"recordId":"`+id+`000001","approximateArrivalTimestamp":1790000000123,"data":""}]}`)
	f(Kinesis, head+`"sourceKinesisStreamArn":"arn:aws:kinesis:us-east-1:000000000000:stream/orders","region":"us-east-1","records":[
{"recordId":"`+id+`000000","approximateArrivalTimestamp":1790000000123,"data":"aGVsbG8=","kinesisRecordMetadata":{"shardId":"shardId-000000000003",
"partitionKey":"a\"b","approximateArrivalTimestamp":1790000000123,"sequenceNumber":"`+id+`","subsequenceNumber":0}},
{"recordId":"`+id+`000001","approximateArrivalTimestamp":1790000000123,"data":"","kinesisRecordMetadata":{"shardId":"shardId-000000000003",
"partitionKey":"ü","approximateArrivalTimestamp":1790000000123,"sequenceNumber":"`+id+`","subsequenceNumber":5}}]}`)
	f(Kafka, head+`"sourceMSKArn":"arn:aws:kafka:us-east-1:000000000000:cluster/c/1","region":"us-east-1","records":[
{"recordId":"`+id+`000000","approximateArrivalTimestamp":1790000000123,"kafkaRecordValue":"aGVsbG8=",
"mskRecordMetadata":{"offset":"77","partitionId":"2","approximateArrivalTimestamp":1790000000123}},
{"recordId":"`+id+`000001","approximateArrivalTimestamp":1790000000123,"kafkaRecordValue":"",
"mskRecordMetadata":{"offset":"78","partitionId":"2","approximateArrivalTimestamp":1790000000123}}]}`)
}

// An event is valid JSON and no larger than it was said to be, whatever the records hold; all records go into some event.
func TestSizesOfEvents(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, source := range []Source{DirectPut, Kinesis, Kafka} {
		c := testCall(source)
		c.Records = nil
		for i := range 3000 {
			r := Record{Data: make([]byte, random.IntN(6000)), Arrival: testTime, Sequence: sequence(1<<63 - 1), Index: i * 1000,
				ShardID: "shardId-000000000003", PartitionKey: strings.Repeat("\x01", random.IntN(256)), Subsequence: 1 << 62, Offset: 1 << 62}
			c.Records = append(c.Records, r)
		}
		events := 0
		for from := 0; from < len(c.Records); events++ {
			n, size := c.fit(from)
			event := c.appendEvent(nil, from, n)
			if n < 1 || len(event) > size || size > MaxRequest || !json.Valid(event) {
				t.Fatalf("%d records from %d: %d bytes, said to be %d", n, from, len(event), size)
			}
			from += n
		}
		if events < 2 {
			t.Errorf("%d events", events)
		}
	}
}

// What a gauge takes goes into one event.
func TestGauge(t *testing.T) {
	f := func(buffer, size, want int) {
		t.Helper()
		g := NewGauge(buffer)
		c := testCall(Kinesis)
		r := Record{Data: make([]byte, size), Arrival: testTime, PartitionKey: strings.Repeat("k", 256)}
		c.Records = c.Records[:0]
		for !g.Due() && g.Take(&r) {
			c.Records = append(c.Records, r)
		}
		if n, _ := c.fit(0); g.Len() != want || n != want {
			t.Errorf("buffer %d, records of %d: %d taken, %d fit, want %d", buffer, size, g.Len(), n, want)
		}
		g.Reset()
		if g.Len() != 0 || g.Due() || !g.Take(&r) {
			t.Error("a gauge that was reset is not empty")
		}
	}
	f(DefaultBuffer, 1<<10, 1024)
	f(0, 1<<10, 200)
	f(100<<20, 1<<10, 1856) // an event is full before 3 MiB of data are there
	f(DefaultBuffer, 10<<20, 1)
	f(MaxBuffer, 2<<20, 2)
	f(MaxBuffer, 0, 3116)
	g := NewGauge(DefaultBuffer)
	small := Record{}
	for g.Take(&small) {
	}
	if g.Len() != MaxRecords {
		t.Errorf("%d records were taken", g.Len())
	}
	large := Record{Data: make([]byte, 10<<20)}
	g.Reset()
	if !g.Take(&large) || !g.Due() || g.Take(&small) {
		t.Error("a record that fits no event is not alone")
	}
}
