package topics

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"millrace/internal/fault"
	"millrace/internal/kafka"
	"millrace/internal/stream"
	streamkafka "millrace/internal/stream/kafka"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const theCluster = "arn:aws:kafka:us-east-1:000000000000:cluster/shop/1"

// rig is a cluster of brokers in the process, one who produces, and a source.
type rig struct {
	*Source
	t       *testing.T
	brokers *kfake.Cluster
	client  *kgo.Client
	clock   *clock
}

// clock is moved by hand, when nobody else moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	brokers, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(brokers.Close)
	r := &rig{t: t, brokers: brokers, clock: &clock{now: time.Now()}}
	r.Source = r.open()
	r.client = r.producer()
	return r
}

// open makes a source that looks when it is told to, and when a topic is new to it.
func (r *rig) open() *Source {
	r.t.Helper()
	s, err := Open(Options{Clusters: map[string]*kafka.Settings{theCluster: r.settings()}, Now: r.clock.Now, AskTimeout: 5 * time.Second, LookEvery: time.Hour})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func (r *rig) settings() *kafka.Settings {
	return &kafka.Settings{Brokers: r.brokers.ListenAddrs(), ClientID: "test"}
}

func (r *rig) producer(opts ...kgo.Opt) *kgo.Client {
	r.t.Helper()
	client, err := r.settings().Client(append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(client.Close)
	return client
}

func (r *rig) topic(name string, partitions int, configs map[string]string) {
	r.t.Helper()
	if err := r.brokers.CreateTopic(name, int32(partitions), configs); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) put(topic string, partition int32, data string) {
	r.t.Helper()
	r.send(r.client, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(data)})
}

func (r *rig) send(client *kgo.Client, rec *kgo.Record) {
	r.t.Helper()
	if err := client.ProduceSync(r.t.Context(), rec).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

// find finds a topic.
func (r *rig) find(topic string) *stream.Stream {
	r.t.Helper()
	st, err := r.Find(r.t.Context(), theCluster, topic)
	if err != nil {
		r.t.Fatal(err)
	}
	return st
}

// looks has the brokers asked now.
func (r *rig) looks() {
	c := r.clusters[theCluster]
	c.look(r.t.Context(), c.names())
}

func ref(st *stream.Stream, partition uint32) stream.ShardRef {
	return stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: partition}
}

// all reads a shard from a place to its end.
func (r *rig) all(s *Source, shard stream.ShardRef, from stream.SequenceNumber) (records []string, numbers []stream.SequenceNumber, skipped int64) {
	r.t.Helper()
	var batch stream.Batch
	for {
		if err := s.Read(r.t.Context(), stream.ReadRequest{Shard: shard, From: from, MaxRecords: 3, MaxBytes: 1 << 20, Held: true}, &batch); err != nil {
			r.t.Fatal(err)
		}
		skipped += batch.Skipped
		for _, rec := range batch.Records {
			records, numbers = append(records, string(rec.Data)), append(numbers, rec.Sequence)
			if rec.Sealed {
				r.t.Errorf("%s is taken for sealed", rec.Data)
			}
		}
		if from = batch.Next; batch.MillisBehind == 0 {
			return records, numbers, skipped
		}
	}
}

func (r *rig) want(shard stream.ShardRef, from stream.SequenceNumber, want ...string) {
	r.t.Helper()
	if got, _, _ := r.all(r.Source, shard, from); fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("%s: read %.100q, want %.100q", shard, got, want)
	}
}

func wantKind(t *testing.T, err error, kind fault.Kind, texts ...string) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("error %v; want kind %v", err, kind)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not name %q", err, text)
		}
	}
}

// Values are read in their order, of every compression, and what transactions committed; where a record lies is a function
// of partition and offset, on every node.
func TestTopic(t *testing.T) {
	r := newRig(t)
	r.topic("orders", 3, map[string]string{"retention.ms": "3600000"})
	st := r.find("orders")
	if !st.Hidden() || len(st.Shards) != 3 || st.Retention != time.Hour || st.OpenShards() != 3 {
		t.Fatalf("found %+v", st)
	}
	r.put("orders", 0, "a")
	r.send(r.client, &kgo.Record{Topic: "orders", Key: []byte{0xff}, Value: nil, Headers: []kgo.RecordHeader{{Key: "millrace-sealed"}}})
	for _, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		r.send(r.producer(kgo.ProducerBatchCompression(codec)), &kgo.Record{Topic: "orders", Partition: 2, Value: bytes.Repeat([]byte("z"), 5000)})
	}
	tx := r.producer(kgo.TransactionalID("tx"))
	for i, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		r.send(tx, &kgo.Record{Topic: "orders", Partition: 0, Value: fmt.Append(nil, "tx", i)})
		if err := tx.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	r.put("orders", 0, "b")
	start := stream.SequenceNumber{}
	r.want(ref(st, 0), start, "a", "", "tx1", "b")
	r.want(ref(st, 1), start)
	z := strings.Repeat("z", 5000)
	r.want(ref(st, 2), start, z, z, z, z)

	_, numbers, _ := r.all(r.Source, ref(st, 0), start)
	other := r.open()
	if _, ok := other.Stream(st.Name); ok {
		t.Error("a topic is known before brokers were asked")
	}
	again, err := other.Find(t.Context(), theCluster, "orders")
	if err != nil || again.ID != st.ID {
		t.Fatalf("found as %+v, %v", again, err)
	}
	if _, same, _ := r.all(other, ref(again, 0), start); fmt.Sprint(same) != fmt.Sprint(numbers) {
		t.Errorf("numbers %v, and on another node %v", numbers, same)
	}
	for i, offset := range []uint64{0, 1, 4, 6} { // between them lie what was aborted, and markers
		if numbers[i] != stream.NewSequenceNumber(1, 0, offset) { // stored: it must never change
			t.Errorf("number %d is %s", i, numbers[i])
		}
	}
	tip, err := r.Tip(t.Context(), ref(st, 0))
	if err != nil {
		t.Fatal(err)
	}
	r.put("orders", 0, "c")
	r.want(ref(st, 0), tip, "c")
	if c := r.Capabilities(); c.DensePositions || c.Holds {
		t.Errorf("capabilities %+v", c)
	}
}

// Reading can begin at a time, and at the oldest record, whatever its time is.
func TestAt(t *testing.T) {
	r := newRig(t)
	r.topic("orders", 1, nil)
	st := r.find("orders")
	began := time.UnixMilli(1_700_000_000_000)
	for i := range 4 {
		r.send(r.client, &kgo.Record{Topic: "orders", Value: fmt.Append(nil, i), Timestamp: began.Add(time.Duration(i) * time.Minute)})
	}
	at := func(moment time.Time, want ...string) {
		t.Helper()
		from, err := r.At(t.Context(), ref(st, 0), moment)
		if err != nil {
			t.Fatal(err)
		}
		r.want(ref(st, 0), from, want...)
	}
	at(time.Unix(0, 0), "0", "1", "2", "3")
	at(began.Add(time.Second), "1", "2", "3")
	at(began.Add(3*time.Minute), "3")
	at(began.Add(time.Hour))
	trim(t, r, "orders", 2)
	at(time.Unix(0, 0), "2", "3")
	from, err := r.At(t.Context(), ref(st, 0), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, skipped := r.all(r.Source, ref(st, 0), from); skipped != 0 {
		t.Errorf("%d records are missed that lie before the start", skipped)
	}
}

// trim removes the records of partition 0 before an offset.
func trim(t *testing.T, r *rig, topic string, offset int64) {
	t.Helper()
	before := kadm.Offsets{}
	before.Add(kadm.Offset{Topic: topic, At: offset})
	answers, err := kadm.NewClient(r.client).DeleteRecords(t.Context(), before)
	if err != nil || answers.Error() != nil {
		t.Fatal(err, answers.Error())
	}
}

// What retention removed before it was read is told.
func TestRetentionWasQuicker(t *testing.T) {
	r := newRig(t)
	r.topic("orders", 1, nil)
	st := r.find("orders")
	for i := range 5 {
		r.put("orders", 0, fmt.Sprint(i))
	}
	trim(t, r, "orders", 3)
	records, _, skipped := r.all(r.Source, ref(st, 0), stream.NewSequenceNumber(1, 0, 1))
	if fmt.Sprint(records) != "[3 4]" || skipped != 2 {
		t.Errorf("read %q, skipped %d", records, skipped)
	}
}

func TestTopicsThatAreNotThere(t *testing.T) {
	r := newRig(t)
	r.topic("secret", 1, nil)
	_, err := r.Find(t.Context(), "arn:aws:kafka:us-east-1:000000000000:cluster/other/1", "orders")
	wantKind(t, err, fault.Invalid, "cluster/other/1", "configuration", "msk")
	_, err = r.Find(t.Context(), theCluster, "orders")
	wantKind(t, err, fault.Invalid, "orders", theCluster)
	r.brokers.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "secret", Err: kerr.TopicAuthorizationFailed, Count: 1})
	_, err = r.Find(t.Context(), theCluster, "secret")
	wantKind(t, err, fault.Denied, "secret", theCluster)
	if left := r.clusters[theCluster].names(); len(left) != 0 {
		t.Errorf("%v are followed on", left)
	}
	r.find("secret")

	gone := &kafka.Settings{Brokers: []string{"127.0.0.1:1"}, ClientID: "test"}
	s, err := Open(Options{Clusters: map[string]*kafka.Settings{theCluster: gone}, Now: time.Now, AskTimeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(context.Background()) }()
	_, err = s.Find(t.Context(), theCluster, "orders")
	wantKind(t, err, fault.Unavailable, "orders", theCluster)
}

// A topic that a node has not seen yet, or whose cluster its configuration has lost, is no topic that is gone: nobody may take
// what it holds for lost.
func TestNotKnownYet(t *testing.T) {
	r := newRig(t)
	f := func(name string, texts ...string) {
		t.Helper()
		shard := stream.ShardRef{Stream: name, ID: strings.Repeat("0", 32)}
		if _, ok := r.Stream(name); ok {
			t.Errorf("%s is described", name)
		}
		err := r.Read(t.Context(), stream.ReadRequest{Shard: shard, MaxRecords: 1, MaxBytes: 1}, &stream.Batch{})
		wantKind(t, err, fault.Unavailable, texts...)
		wantKind(t, r.Wait(t.Context(), shard, stream.SequenceNumber{}), fault.Unavailable, texts...)
		_, err = r.Tip(t.Context(), shard)
		wantKind(t, err, fault.Unavailable, texts...)
		_, err = r.At(t.Context(), shard, time.Unix(0, 0))
		wantKind(t, err, fault.Unavailable, texts...)
	}
	absent := stream.TopicStream(theCluster, "orders")
	f(absent, "orders", theCluster)
	r.looks()
	f(absent, "orders", theCluster, kerr.UnknownTopicOrPartition.Message)
	f(stream.TopicStream("arn:lost", "orders"), "arn:lost", "orders")
	r.topic("orders", 1, nil)
	r.looks()
	if _, ok := r.Stream(absent); !ok {
		t.Error("a topic that has come is not seen")
	}
}

// Partitions that are added are shards with numbers of their own; fewer is an answer of a broker that is behind.
func TestPartitionsAreAdded(t *testing.T) {
	r := newRig(t)
	r.topic("orders", 1, nil)
	st := r.find("orders")
	r.put("orders", 0, "a")
	if _, err := kadm.NewClient(r.client).CreatePartitions(t.Context(), 2, "orders"); err != nil {
		t.Fatal(err)
	}
	r.looks()
	grown, _ := r.Stream(st.Name)
	if grown.ID != st.ID || len(grown.Shards) != 3 {
		t.Fatalf("it became %+v", grown)
	}
	late := r.producer()
	r.send(late, &kgo.Record{Topic: "orders", Partition: 2, Value: []byte("b")})
	r.want(ref(st, 0), st.Shards[0].First, "a")
	r.want(ref(grown, 2), grown.Shards[2].First, "b")
	c := r.clusters[theCluster]
	behind, err := c.foreign.Look(t.Context(), []string{"orders"})
	if err != nil {
		t.Fatal(err)
	}
	old := behind["orders"]
	old.Partitions = 1
	c.mu.Lock()
	c.saw("orders", c.topics["orders"], old, streamkafka.Upkeep{})
	c.show()
	c.mu.Unlock()
	if now, _ := r.Stream(st.Name); len(now.Shards) != 3 {
		t.Errorf("%d shards are left", len(now.Shards))
	}
}

// A topic that is deleted may be one that the brokers can't see now; only when another has its name is it gone, and then
// for good.
func TestMadeAgain(t *testing.T) {
	r := newRig(t)
	r.topic("orders", 1, nil)
	st := r.find("orders")
	r.put("orders", 0, "old")
	r.want(ref(st, 0), st.Shards[0].First, "old")
	waiting := make(chan error, 1)
	tip, err := r.Tip(t.Context(), ref(st, 0))
	if err != nil {
		t.Fatal(err)
	}
	go func() { waiting <- r.Wait(t.Context(), ref(st, 0), tip) }()

	if err := r.brokers.DeleteTopic("orders"); err != nil {
		t.Fatal(err)
	}
	r.looks()
	if _, ok := r.Stream(st.Name); !ok {
		t.Error("a topic that no broker sees is gone at once")
	}
	read := stream.ReadRequest{Shard: ref(st, 0), MaxRecords: 1, MaxBytes: 1}
	wantKind(t, r.Read(t.Context(), read, &stream.Batch{}), fault.Unavailable, "orders")

	r.topic("orders", 2, nil)
	r.looks()
	if now, ok := r.Stream(st.Name); !ok || now.ID != st.ID {
		t.Error("one answer is believed")
	}
	r.looks()
	now, ok := r.Stream(st.Name)
	if !ok || now.ID == st.ID || len(now.Shards) != 2 {
		t.Fatalf("it is %+v", now)
	}
	wantKind(t, <-waiting, fault.NotFound)
	wantKind(t, r.Read(t.Context(), read, &stream.Batch{}), fault.NotFound)
	r.send(r.producer(), &kgo.Record{Topic: "orders", Value: []byte("new")})
	r.want(ref(now, 0), now.Shards[0].First, "new")

	c := r.clusters[theCluster]
	stale, err := c.foreign.Look(t.Context(), []string{"orders"})
	if err != nil {
		t.Fatal(err)
	}
	behind := stale["orders"]
	behind.ID = st.ID
	c.mu.Lock()
	for range 2 * confirmed {
		c.saw("orders", c.topics["orders"], behind, streamkafka.Upkeep{})
		c.show()
	}
	c.mu.Unlock()
	if last, _ := r.Stream(st.Name); last.ID != now.ID {
		t.Error("it went back to the one before")
	}
}

// Who makes a delivery stream of a topic that was just made again gets the new one.
func TestFindSeesTheNewOne(t *testing.T) {
	r := newRig(t)
	r.topic("orders", 1, nil)
	st := r.find("orders")
	if err := r.brokers.DeleteTopic("orders"); err != nil {
		t.Fatal(err)
	}
	r.topic("orders", 1, nil)
	if now := r.find("orders"); now.ID == st.ID {
		t.Error("the old one is found")
	}
}

// Brokers that move partitions, or fail for a while, are asked again.
func TestBrokersThatFail(t *testing.T) {
	r := newRig(t)
	r.topic("orders", 1, nil)
	st := r.find("orders")
	r.put("orders", 0, "a")
	for _, err := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.KafkaStorageError, kerr.UnknownTopicOrPartition} {
		r.brokers.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "orders", Err: err, Count: 2})
		r.want(ref(st, 0), stream.SequenceNumber{}, "a")
	}
	for node := range int32(3) {
		if err := r.brokers.MoveTopicPartition("orders", 0, node); err != nil {
			t.Fatal(err)
		}
		r.want(ref(st, 0), stream.SequenceNumber{}, "a")
	}
	r.brokers.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "orders", Err: kerr.TopicAuthorizationFailed, Count: 1})
	err := r.Read(t.Context(), stream.ReadRequest{Shard: ref(st, 0), MaxRecords: 1, MaxBytes: 1}, &stream.Batch{})
	wantKind(t, err, fault.Denied, "orders", theCluster)
}

// Records are up to 10 MiB large, and come whole.
func TestLargeRecords(t *testing.T) {
	r := newRig(t)
	r.topic("orders", 1, map[string]string{"max.message.bytes": "11000000"})
	st := r.find("orders")
	client := r.producer(kgo.ProducerBatchMaxBytes(11_000_000))
	large := bytes.Repeat([]byte("0123456789abcdef"), 10<<20/16)
	for range 2 {
		r.send(client, &kgo.Record{Topic: "orders", Value: large})
	}
	records, _, _ := r.all(r.Source, ref(st, 0), stream.SequenceNumber{})
	if len(records) != 2 || records[0] != string(large) || records[1] != string(large) {
		t.Errorf("%d records", len(records))
	}
}

// A waiter is woken by what comes.
func TestWait(t *testing.T) {
	r := newRig(t)
	r.topic("orders", 2, nil)
	st := r.find("orders")
	woken := make(chan error, 1)
	go func() { woken <- r.Wait(t.Context(), ref(st, 1), stream.SequenceNumber{}) }()
	r.put("orders", 1, "a")
	if err := <-woken; err != nil {
		t.Fatal(err)
	}
	r.want(ref(st, 1), stream.SequenceNumber{}, "a")
}

// What nobody asks for any more is not followed on.
func TestTopicsAreForgotten(t *testing.T) {
	r := newRig(t)
	r.topic("orders", 1, nil)
	r.topic("bills", 1, nil)
	r.find("orders")
	bills := r.find("bills")
	r.clock.pass(askedWithin)
	if _, ok := r.Stream(bills.Name); !ok {
		t.Fatal("it is gone at once")
	}
	r.clock.pass(time.Second)
	c := r.clusters[theCluster]
	c.forget()
	r.looks()
	if names := c.names(); fmt.Sprint(names) != "[bills]" {
		t.Errorf("%v are followed", names)
	}
	r.clock.pass(2 * askedWithin)
	c.forget()
	r.looks()
	if _, ok := c.foreign.Stream(bills.Name); ok {
		t.Error("it is shown on")
	}
}
