package kafka

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/stream"
	"millrace/internal/stream/seal"
)

// The largest record that a stream takes fits its topic sealed too, with the longest keys.
func TestLargestSealedRecord(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(nil)
	for _, size := range []int{stream.DefaultMaxRecordBytes, maxDataBytes} {
		name := "s" + strings.Repeat("x", size>>20)
		create(t, b, stream.CreateStream{Name: name, MaxRecordBytes: size})
		key := stream.MaxHashKey
		e := stream.Entry{PartitionKey: strings.Repeat("\U0001F600", maxKeyChars), ExplicitHashKey: &key, Data: make([]byte, size+seal.Overhead), Sealed: true}
		results := make([]stream.Result, 1)
		if err := b.Append(t.Context(), name, []stream.Entry{e}, results); err != nil || results[0].Err != nil {
			t.Error(err, results[0].Err)
		}
	}
}

// Who reads a topic sees the hash key that a caller gave; records of hidden streams, that only we read, are without it. Each goes to
// the shard that it names.
func TestExplicitHashKeyOnTheWire(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(nil)
	for _, name := range []string{"orders", stream.HiddenPrefix + "push.id"} {
		hidden := name != "orders"
		st, err := b.CreateStream(t.Context(), stream.CreateStream{Name: name, Mode: stream.Provisioned, Shards: 3})
		if err != nil {
			t.Fatal(err)
		}
		key := st.Shards[2].Range.Start
		results := make([]stream.Result, 1)
		if err := b.Append(t.Context(), name, []stream.Entry{{PartitionKey: "-", ExplicitHashKey: &key, Data: []byte("d")}}, results); err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
		topic, err := b.topicOf("test", name)
		if err != nil {
			t.Fatal(err)
		}
		client := foreign(t, r, kgo.ConsumeTopics(topic))
		got := client.PollRecords(t.Context(), 1).Records()
		if len(got) != 1 || got[0].Partition != 2 || string(got[0].Value) != "d" {
			t.Fatalf("%s: %+v", name, got)
		}
		if h := got[0].Headers; hidden && len(h) > 0 || !hidden && (len(h) != 1 || h[0].Key != ehkHeader || string(h[0].Value) != key.String()) {
			t.Errorf("%s has headers %q", name, h)
		}
	}
}
