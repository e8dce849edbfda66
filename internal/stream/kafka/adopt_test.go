package kafka

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

func adopting(names ...string) func(*Options) { return func(o *Options) { o.Adopt = names } }

func foreign(t testing.TB, r *rig, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := r.settings().Client(append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// What others wrote is read: with any key, null values, whatever compression, and what their transactions committed.
func TestAdoptedTopic(t *testing.T) {
	r := newRig(t)
	if err := r.brokers.CreateTopic("theirs", 3, map[string]string{"retention.ms": "172800000"}); err != nil {
		t.Fatal(err)
	}
	type rec struct{ key, data string }
	var want [3][]rec
	produce := func(client *kgo.Client, partition int32, key, value []byte, as rec) {
		t.Helper()
		headers := []kgo.RecordHeader{{Key: "theirs", Value: []byte("x")}, {Key: "empty"}}
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "theirs", Partition: partition, Key: key, Value: value, Headers: headers}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		want[partition] = append(want[partition], as)
	}
	plain := foreign(t, r)
	produce(plain, 0, []byte("ada"), []byte("1"), rec{"ada", "1"})
	produce(plain, 0, nil, []byte("2"), rec{"partition-0", "2"})
	produce(plain, 2, []byte{}, nil, rec{"partition-2", ""})
	produce(plain, 0, []byte{0xff, 0xfe}, []byte("3"), rec{"//4=", "3"})
	long := strings.Repeat("ü", 256)
	produce(plain, 0, []byte(long), []byte("4"), rec{long, "4"})
	tooLong := bytes.Repeat([]byte("x"), 300)
	produce(plain, 0, tooLong, []byte("5"), rec{strings.Repeat("eHh4", 64), "5"})
	for i, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		client := foreign(t, r, kgo.ProducerBatchCompression(codec))
		data := strings.Repeat(strconv.Itoa(i), 20_000)
		produce(client, 1, []byte("c"), []byte(data), rec{"c", data})
	}
	tx := foreign(t, r, kgo.TransactionalID("tx"))
	for i, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(tx, 1, []byte("t"), []byte("tx"+strconv.Itoa(i)), rec{"t", "tx" + strconv.Itoa(i)})
		if end == kgo.TryAbort {
			want[1] = want[1][:len(want[1])-1]
		}
		if err := tx.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	produce(plain, 1, []byte("z"), []byte("last"), rec{"z", "last"})

	b, _ := r.open(adopting("theirs"))
	s, ok := b.Stream("theirs")
	if !ok || len(s.Shards) != 3 || s.Retention.Hours() != 48 || s.Status != stream.Active {
		t.Fatalf("adopted as %+v", s)
	}
	again, _ := r.open(adopting("theirs"))
	if twice, _ := again.Stream("theirs"); twice.ID != s.ID {
		t.Error("adopted twice")
	}
	for i := range want {
		var got []rec
		var batch stream.Batch
		req := stream.ReadRequest{Shard: stream.ShardRef{Stream: "theirs", ID: s.ID, Shard: uint32(i)}, MaxRecords: 3, MaxBytes: 1 << 20}
		for {
			if err := b.Read(t.Context(), req, &batch); err != nil {
				t.Fatal(err)
			}
			for _, r := range batch.Records {
				got = append(got, rec{string(r.PartitionKey), string(r.Data)})
				if !utf8.Valid(r.PartitionKey) || utf8.RuneCount(r.PartitionKey) > 256 {
					t.Errorf("partition key %q", r.PartitionKey)
				}
			}
			req.From = batch.Next
			if len(batch.Records) == 0 && batch.MillisBehind == 0 {
				break
			}
		}
		if len(got) != len(want[i]) {
			t.Fatalf("partition %d: read %d records, want %d", i, len(got), len(want[i]))
		}
		for j := range got {
			if got[j] != want[i][j] {
				t.Errorf("partition %d, record %d: read %.40q, want %.40q", i, j, got[j], want[i][j])
			}
		}
	}
	mustPut(t, b, "theirs", "k", "ours")
	_, err := b.Reshard(t.Context(), "theirs", stream.Reshard{Count: 6})
	wantKind(t, err, fault.Unsupported)
	if w := strings.Join(b.Warnings(t.Context()), "\n"); !strings.Contains(w, "producers' clocks") || !strings.Contains(w, "theirs") {
		t.Errorf("warnings %q", w)
	}
}

func TestAdoptErrors(t *testing.T) {
	r := newRig(t)
	_, err := r.try(r.catalog.node(), adopting("absent"))
	wantKind(t, err, fault.NotFound)
	if err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("it does not name the topic: %v", err)
	}
	_, err = r.try(r.catalog.node(), adopting("millrace.catalog"))
	wantKind(t, err, fault.Invalid)
}

// A reader at the tip of a topic with an open transaction waits; it does not spin.
func TestOpenTransactionHoldsReaders(t *testing.T) {
	r := newRig(t)
	if err := r.brokers.CreateTopic("theirs", 1, nil); err != nil {
		t.Fatal(err)
	}
	b, _ := r.open(adopting("theirs"))
	s, _ := b.Stream("theirs")
	ref := stream.ShardRef{Stream: "theirs", ID: s.ID}
	tx := foreign(t, r, kgo.TransactionalID("tx"))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := tx.ProduceSync(t.Context(), &kgo.Record{Topic: "theirs", Value: []byte("theirs")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	mustPut(t, b, "theirs", "k", "ours")
	var batch stream.Batch
	req := stream.ReadRequest{Shard: ref, MaxRecords: 10, MaxBytes: 1 << 20}
	if err := b.Read(t.Context(), req, &batch); err != nil || len(batch.Records) != 0 || batch.MillisBehind != 0 {
		t.Fatalf("%+v, %v", batch, err)
	}
	woken := make(chan error, 1)
	go func() { woken <- b.Wait(t.Context(), ref, batch.Next) }()
	polls := r.brokers.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Observe: true, Count: -1})
	if err := polls.Wait(t.Context(), 3); err != nil { // polls come and go
		t.Fatal(err)
	}
	select {
	case err := <-woken:
		t.Fatalf("woken for what cannot be read: %v", err)
	default:
	}
	if err := tx.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if err := <-woken; err != nil {
		t.Fatal(err)
	}
	if err := b.Read(t.Context(), req, &batch); err != nil || len(batch.Records) != 2 {
		t.Fatalf("%+v, %v", batch, err)
	}
}
