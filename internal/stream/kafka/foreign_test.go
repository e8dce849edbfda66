package kafka

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

func openForeign(t testing.TB, r *rig) *Foreign {
	t.Helper()
	f, err := OpenForeign(ForeignOptions{Settings: r.settings(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close(t.Context()) })
	return f
}

// show finds a topic and shows it.
func (f *Foreign) show(t testing.TB, topic string) *stream.Stream {
	t.Helper()
	found, err := f.Look(t.Context(), []string{topic})
	if err != nil || found[topic].Err != nil {
		t.Fatal(err, found[topic].Err)
	}
	if err := f.Show([]ForeignStream{{Name: "~" + topic, Topic: topic, ID: found[topic].ID, Partitions: found[topic].Partitions, Upkeep: f.Upkeep(t.Context(), topic)}}); err != nil {
		t.Fatal(err)
	}
	st, _ := f.Stream("~" + topic)
	return st
}

// A small batch that claims to hold gigabytes, or does, is refused before they are in memory.
func TestBatchesAreBoundedWhenUnpacked(t *testing.T) {
	f := openForeign(t, newRig(t))
	snappy := append(binary.AppendUvarint(nil, maxBatchBytes+1), make([]byte, 64)...)
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 1<<20)
	for range maxBatchBytes/len(chunk) + 1 {
		if _, err := w.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for codec, packed := range map[kgo.CompressionCodecType][]byte{kgo.CodecSnappy: snappy, kgo.CodecGzip: zipped.Bytes()} {
		part := &kmsg.FetchResponseTopicPartition{HighWatermark: 1, LastStableOffset: 1,
			RecordBatches: batchOf(0, 0, int16(codec), 0, 0, -1, 1, packed)}
		c := newCursor(&shard{topic: &topic{name: "t", adopted: true}}, f.b.decompress, 0, part)
		if _, err := c.peek(); !errors.Is(err, kgo.ErrMaxDecompress) {
			t.Errorf("codec %d: %v", codec, err)
		}
	}
}

// A reader finds what lies behind an aborted transaction that fills many answers of brokers: an empty batch says that there is
// nothing.
func TestAbortedTransactionsThatFillManyAnswers(t *testing.T) {
	r := newRig(t)
	if err := r.brokers.CreateTopic("theirs", 1, nil); err != nil {
		t.Fatal(err)
	}
	tx := foreign(t, r, kgo.TransactionalID("tx"))
	if err := tx.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, minFetchBytes/2)
	for range 20 {
		if err := tx.ProduceSync(t.Context(), &kgo.Record{Topic: "theirs", Value: data}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	if err := foreign(t, r).ProduceSync(t.Context(), &kgo.Record{Topic: "theirs", Value: []byte("kept")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	f := openForeign(t, r)
	st := f.show(t, "theirs")
	var batch stream.Batch
	err := f.Read(t.Context(), stream.ReadRequest{Shard: stream.ShardRef{Stream: st.Name, ID: st.ID}, MaxRecords: 10, MaxBytes: 1}, &batch)
	if err != nil || len(batch.Records) != 1 || string(batch.Records[0].Data) != "kept" || batch.MillisBehind != 0 {
		t.Errorf("%d records, %d behind, %v", len(batch.Records), batch.MillisBehind, err)
	}
}

// Who goes on behind the last record that he was given waits there, though markers of transactions lie behind it: he is not woken
// again and again for what can't be shown.
func TestMarkersWakeNobody(t *testing.T) {
	r := newRig(t)
	if err := r.brokers.CreateTopic("theirs", 1, nil); err != nil {
		t.Fatal(err)
	}
	tx := foreign(t, r, kgo.TransactionalID("tx"))
	in := func(end kgo.TransactionEndTry, value string) {
		t.Helper()
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := tx.ProduceSync(t.Context(), &kgo.Record{Topic: "theirs", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := tx.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	in(kgo.TryCommit, "first")
	in(kgo.TryAbort, "aborted")
	f := openForeign(t, r)
	st := f.show(t, "theirs")
	ref := stream.ShardRef{Stream: st.Name, ID: st.ID}
	var batch stream.Batch
	read := func(from stream.SequenceNumber, want string) stream.SequenceNumber {
		t.Helper()
		if err := f.Read(t.Context(), stream.ReadRequest{Shard: ref, From: from, MaxRecords: 10, MaxBytes: 1 << 20}, &batch); err != nil {
			t.Fatal(err)
		}
		if len(batch.Records) != 1 || string(batch.Records[0].Data) != want {
			t.Fatalf("read %+v", batch)
		}
		return batch.Records[0].Sequence.Next()
	}
	behind := read(stream.SequenceNumber{}, "first")
	woken := make(chan error, 1)
	go func() { woken <- f.Wait(t.Context(), ref, behind) }()
	polls := r.brokers.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Observe: true, Count: -1})
	if err := polls.Wait(t.Context(), 3); err != nil { // polls come and go
		t.Fatal(err)
	}
	select {
	case err := <-woken:
		t.Fatalf("woken for what can't be shown: %v", err)
	default:
	}
	in(kgo.TryCommit, "second")
	if err := <-woken; err != nil {
		t.Fatal(err)
	}
	read(behind, "second")
	sh := f.b.view.Load().byName[st.Name].shards[0]
	sh.ended(1) // an election has lost what followed
	if at := sh.over(2); at != 2 {
		t.Errorf("offsets are passed over, to %d, that may have records now", at)
	}
}

// An answer without records is no proof that there are none: a broker gives it when a remote tier is slow. It is asked again, and
// then the reader is told, as an empty batch would say that nothing is there.
func TestAnswersWithoutRecords(t *testing.T) {
	r := newRig(t)
	for topic, policy := range map[string]string{"theirs": "delete", "newest": "compact"} {
		if err := r.brokers.CreateTopic(topic, 1, map[string]string{"cleanup.policy": policy}); err != nil {
			t.Fatal(err)
		}
	}
	f := openForeign(t, r)
	st := f.show(t, "theirs")
	if err := foreign(t, r).ProduceSync(t.Context(), &kgo.Record{Topic: "theirs", Value: []byte("there")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	answers := 0 // without records
	r.brokers.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.brokers.KeepControl()
		if answers == 0 {
			return nil, nil, false
		}
		answers--
		fetch := req.(*kmsg.FetchRequest)
		part := kmsg.NewFetchResponseTopicPartition()
		part.HighWatermark, part.LastStableOffset, part.LogStartOffset = 1, 1, 0
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.TopicID, topic.Partitions = fetch.Topics[0].Topic, fetch.Topics[0].TopicID, append(topic.Partitions, part)
		resp := fetch.ResponseKind().(*kmsg.FetchResponse)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	var batch stream.Batch
	read := stream.ReadRequest{Shard: stream.ShardRef{Stream: st.Name, ID: st.ID}, MaxRecords: 1, MaxBytes: 1}
	answers = nothingTries
	wantKind(t, f.Read(t.Context(), read, &batch), fault.Unavailable)
	answers = nothingTries - 1
	if err := f.Read(t.Context(), read, &batch); err != nil || len(batch.Records) != 1 {
		t.Errorf("%+v, %v", batch, err)
	}

	nothing := &kmsg.FetchResponseTopicPartition{HighWatermark: 9, LastStableOffset: 9}
	newest := f.show(t, "newest")
	if c := newCursor(f.b.view.Load().byName[newest.Name].shards[0], f.b.decompress, 3, nothing); c.next != 9 {
		t.Errorf("what compaction has emptied is read again, from offset %d", c.next)
	}
}

// Records that compaction has removed hold nobody up, and are not called lost: who wrote them wanted no more than the newest.
func TestCompactedTopic(t *testing.T) {
	r := newRig(t)
	if err := r.brokers.CreateTopic("theirs", 1, map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "segment.ms": "1"}); err != nil {
		t.Fatal(err)
	}
	plain := foreign(t, r)
	for i, value := range []string{"first", "1", "2", "3"} {
		if err := plain.ProduceSync(t.Context(), &kgo.Record{Topic: "theirs", Key: []byte{byte(min(i, 1))}, Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r.brokers.Compact()
	f := openForeign(t, r)
	st := f.show(t, "theirs")
	ref := stream.ShardRef{Stream: st.Name, ID: st.ID}
	var got []string
	var batch stream.Batch
	for from := (stream.SequenceNumber{}); ; from = batch.Next {
		if err := f.Read(t.Context(), stream.ReadRequest{Shard: ref, From: from, MaxRecords: 1, MaxBytes: 1}, &batch); err != nil {
			t.Fatal(err)
		}
		for _, rec := range batch.Records {
			got = append(got, string(rec.Data))
		}
		if batch.Skipped != 0 {
			t.Errorf("%d records are called lost", batch.Skipped)
		}
		if batch.MillisBehind == 0 {
			break
		}
	}
	if len(got) < 2 || len(got) == 4 || got[0] != "first" || got[len(got)-1] != "3" {
		t.Errorf("read %q", got)
	}
}

// A foreign backend that is closed says so.
func TestForeignCloses(t *testing.T) {
	r := newRig(t)
	if err := r.brokers.CreateTopic("theirs", 1, nil); err != nil {
		t.Fatal(err)
	}
	f := openForeign(t, r)
	st := f.show(t, "theirs")
	waiting := make(chan error, 1)
	ref := stream.ShardRef{Stream: st.Name, ID: st.ID}
	go func() { waiting <- f.Wait(t.Context(), ref, stream.SequenceNumber{}) }()
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKind(t, <-waiting, fault.Unavailable)
	wantKind(t, f.Read(t.Context(), stream.ReadRequest{Shard: ref, MaxRecords: 1, MaxBytes: 1}, new(stream.Batch)), fault.Unavailable)
}
