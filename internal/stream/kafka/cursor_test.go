package kafka

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/stream"
)

// batchOf builds a batch around records that are encoded already.
func batchOf(first int64, lastDelta int32, attributes int16, firstStamp, maxStamp int64, producer int64, count int32, records []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(first))
	b = binary.BigEndian.AppendUint32(b, uint32(batchHeader-12+len(records)))
	b = append(b, 0, 0, 0, 7, 2)
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(attributes))
	b = binary.BigEndian.AppendUint32(b, uint32(lastDelta))
	b = binary.BigEndian.AppendUint64(b, uint64(firstStamp))
	b = binary.BigEndian.AppendUint64(b, uint64(maxStamp))
	b = binary.BigEndian.AppendUint64(b, uint64(producer))
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(count))
	b = append(b, records...)
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:], castagnoli))
	return b
}

// recordOf encodes one record.
func recordOf(stampDelta int64, offsetDelta int32, key, value []byte, headers ...string) []byte {
	blob := func(b, p []byte) []byte {
		if p == nil {
			return binary.AppendVarint(b, -1)
		}
		return append(binary.AppendVarint(b, int64(len(p))), p...)
	}
	b := []byte{0}
	b = binary.AppendVarint(b, stampDelta)
	b = binary.AppendVarint(b, int64(offsetDelta))
	b = blob(blob(b, key), value)
	b = binary.AppendVarint(b, int64(len(headers)))
	for _, h := range headers {
		b = blob(blob(b, []byte(h)), []byte("v"))
	}
	return append(binary.AppendVarint(nil, int64(len(b))), b...)
}

// both reads an answer with a cursor and with the client library.
func both(t testing.TB, from int64, part *kmsg.FetchResponseTopicPartition) (mine []wireRecord, next int64, err error, theirs []*kgo.Record, theirNext int64, theirErr error) {
	t.Helper()
	d := kgo.DefaultDecompressor()
	sh := &shard{topic: &topic{name: "t"}, partition: part.Partition}
	c := newCursor(sh, d, from, part)
	for {
		var rec *wireRecord
		if rec, err = c.peek(); rec == nil {
			break
		}
		if rec.offset < from || len(mine) > 0 && rec.offset <= mine[len(mine)-1].offset {
			t.Fatalf("record %d after %d, asked from %d", rec.offset, len(mine), from)
		}
		mine = append(mine, *rec)
		c.pass()
	}
	if err == nil && !c.spent() {
		t.Fatal("something is left of a cursor that is at its end")
	}
	opts := kgo.ProcessFetchPartitionOpts{Offset: from, IsolationLevel: kgo.ReadCommitted(), Topic: "t", Partition: part.Partition}
	processed, theirNext := kgo.ProcessFetchPartition(opts, part, d, nil)
	return mine, c.next, err, processed.Records, theirNext, processed.Err
}

func compare(t testing.TB, from int64, part *kmsg.FetchResponseTopicPartition) (records int, ok bool) {
	t.Helper()
	mine, next, err, theirs, theirNext, theirErr := both(t, from, part)
	if err != nil || theirErr != nil {
		return len(mine), false
	}
	if len(mine) != len(theirs) || next != theirNext {
		t.Fatalf("%d records, next %d; the library: %d, next %d", len(mine), next, len(theirs), theirNext)
	}
	for i, m := range mine {
		o := theirs[i]
		if m.offset != o.Offset || m.arrival != o.Timestamp.UnixMilli() || !bytes.Equal(m.key, o.Key) || !bytes.Equal(m.value, o.Value) ||
			(m.key == nil) != (o.Key == nil) || (m.value == nil) != (o.Value == nil) {
			t.Fatalf("record %d: %+v; the library: %+v", i, m, o)
		}
	}
	return len(mine), true
}

func answer(raw []byte) *kmsg.FetchResponseTopicPartition {
	return &kmsg.FetchResponseTopicPartition{Partition: 3, HighWatermark: 1000, LastStableOffset: 1000, RecordBatches: raw}
}

// What a cursor reads is what the client library reads.
func TestCursorAgainstTheLibrary(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var raw []byte
		at := int64(rnd.IntN(100))
		from := at + int64(rnd.IntN(8))
		var aborted []kmsg.FetchResponseTopicPartitionAbortedTransaction
		for range 1 + rnd.IntN(5) {
			var records []byte
			n := rnd.IntN(6)
			delta := int32(0)
			for range n {
				key, value := []byte("key"), bytes.Repeat([]byte("v"), rnd.IntN(300))
				if rnd.IntN(4) == 0 {
					key = nil
				}
				if rnd.IntN(8) == 0 {
					value = nil
				}
				records = append(records, recordOf(int64(rnd.IntN(50)), delta, key, value, []string{"a", "b"}[:rnd.IntN(3)]...)...)
				delta += 1 + int32(rnd.IntN(8)/7) // gaps, as compaction leaves them
			}
			last := max(delta-1, 0) + int32(rnd.IntN(4)/3)
			attributes, producer := int16(0), int64(rnd.IntN(3))
			if rnd.IntN(2) == 0 {
				attributes |= attributeAppendTime
			}
			if rnd.IntN(3) == 0 {
				attributes |= attributeTransactional
				if rnd.IntN(2) == 0 {
					aborted = append(aborted, kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: producer, FirstOffset: at})
				}
			}
			count := int32(n)
			if rnd.IntN(5) == 0 && producer > 0 { // a marker ends the producer's transaction
				marker := []byte{0, 0, 0, byte(rnd.IntN(2))}
				records, count, last = recordOf(0, 0, marker, []byte{0, 0, 0, 0, 0, 0}), 1, 0
				attributes |= attributeControl | attributeTransactional
			} else if codec := rnd.IntN(4); codec > 0 && len(records) > 0 {
				options := []kgo.CompressionCodec{kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
				c, err := kgo.DefaultCompressor(options[codec-1])
				if err != nil {
					t.Fatal(err)
				}
				packed, used := c.Compress(new(bytes.Buffer), records)
				records = bytes.Clone(packed)
				attributes |= int16(used)
			}
			raw = append(raw, batchOf(at, last, attributes, 1_790_000_000_000, 1_790_000_000_999, producer, count, records)...)
			at += int64(last) + 1 + int64(rnd.IntN(8)/7)
		}
		if rnd.IntN(3) == 0 {
			raw = raw[:len(raw)-rnd.IntN(60)] // brokers cut the last batch off
		}
		part := answer(raw)
		part.AbortedTransactions = aborted
		if _, ok := compare(t, from, part); !ok {
			t.Fatal("a good answer is refused")
		}
	}
}

func TestCursorReadsOldFormats(t *testing.T) {
	for _, raw := range [][]byte{oldMessage(0, 17, "k", "v"), oldMessage(1, 17, "k", "v")} {
		raw = append(raw, oldMessage(1, 18, "k2", "v2")...)
		if n, ok := compare(t, 17, answer(raw)); n != 2 || !ok {
			t.Errorf("%d records, %v", n, ok)
		}
	}
}

// oldMessage is a message of format 0 or 1.
func oldMessage(magic byte, offset int64, key, value string) []byte {
	body := []byte{magic, 0}
	if magic == 1 {
		body = binary.BigEndian.AppendUint64(body, 1_790_000_000_000)
	}
	for _, s := range []string{key, value} {
		body = append(binary.BigEndian.AppendUint32(body, uint32(len(s))), s...)
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(offset))
	b = binary.BigEndian.AppendUint32(b, uint32(4+len(body)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(body))
	return append(b, body...)
}

func TestDamageIsTold(t *testing.T) {
	good := batchOf(5, 0, 0, 1, 1, -1, 1, recordOf(0, 0, []byte("k"), []byte("v")))
	f := func(what string, raw []byte) {
		t.Helper()
		_, _, err, _, _, _ := both(t, 5, answer(raw))
		if err == nil || !strings.Contains(err.Error(), "topic t, partition 3") {
			t.Errorf("%s: %v", what, err)
		}
	}
	bad := bytes.Clone(good)
	bad[len(bad)-1] ^= 1
	f("a flipped bit", bad)
	bad = bytes.Clone(good)
	bad[magicAt] = 9
	f("an unknown format", bad)
	f("more records than there are", batchOf(5, 3, 0, 1, 1, -1, 4, recordOf(0, 0, []byte("k"), []byte("v"))))
	f("a record behind its batch", batchOf(5, 0, 0, 1, 1, -1, 1, recordOf(0, 7, []byte("k"), []byte("v"))))
	f("what is not compressed as it says", batchOf(5, 0, 4, 1, 1, -1, 1, []byte("nothing of the kind")))
}

// FuzzCursor reads any batch body behind a good checksum: it ends, and agrees with the client library where both
// understand.
func FuzzCursor(f *testing.F) {
	f.Add(int64(5), int32(1), int16(0), int32(2), append(recordOf(0, 0, []byte("k"), []byte("v")), recordOf(3, 1, nil, nil, "h")...))
	f.Add(int64(5), int32(0), int16(attributeAppendTime), int32(1), recordOf(0, 0, []byte("k"), []byte("v"), ehkHeader))
	f.Add(int64(5), int32(0), int16(attributeControl|attributeTransactional), int32(1), recordOf(0, 0, []byte{0, 0, 0, 0}, nil))
	f.Add(int64(5), int32(0), int16(2), int32(1), []byte{0xff, 0x06, 0, 0, 's'})
	f.Fuzz(func(t *testing.T, first int64, lastDelta int32, attributes int16, count int32, records []byte) {
		if first < 0 || first > 1<<40 || lastDelta < 0 || len(records) > 1<<16 {
			return
		}
		raw := batchOf(first, lastDelta, attributes, 1, 2, 3, count, records)
		raw = append(raw, batchOf(first+int64(lastDelta)+1, 0, 0, 1, 1, -1, 1, recordOf(0, 0, []byte("k"), []byte("v")))...)
		part := answer(raw)
		part.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 3, FirstOffset: first}}
		d := kgo.DefaultDecompressor()
		c := newCursor(&shard{topic: &topic{name: "t"}}, d, first, part)
		for n := 0; ; n++ {
			rec, err := c.peek()
			if rec == nil || err != nil {
				break
			}
			if n > len(raw) {
				t.Fatal("more records than bytes")
			}
			c.pass()
		}
	})
}

// FuzzPartitionKey: whatever key others wrote, a partition key is 1 to 256 characters of UTF-8, and a good key stays.
func FuzzPartitionKey(f *testing.F) {
	f.Add([]byte(nil), int32(3))
	f.Add([]byte("ada"), int32(0))
	f.Add([]byte{0xff}, int32(0))
	f.Fuzz(func(t *testing.T, key []byte, partition int32) {
		got := string(appendPartitionKey(nil, key, partition))
		if n := len([]rune(got)); n < 1 || n > maxKeyChars || strings.ToValidUTF8(got, "") != got {
			t.Errorf("%q becomes %q", key, got)
		}
		if s := string(key); s != "" && strings.ToValidUTF8(s, "") == s && len([]rune(s)) <= maxKeyChars && got != s {
			t.Errorf("%q becomes %q", key, got)
		}
	})
}

// Places and offsets are one thing in two forms.
func FuzzOffsets(f *testing.F) {
	f.Add(uint32(0), int64(1_790_000_000), int64(0))
	f.Add(uint32(77), int64(0), int64(1)<<62)
	f.Fuzz(func(t *testing.T, index uint32, created, offset int64) {
		if created < 0 || created >= 1<<36 || offset < 0 || offset >= stream.LastPosition {
			return
		}
		sh := &shard{index: index, created: created}
		if got := sh.offset(sh.sequence(offset)); got != offset {
			t.Errorf("offset %d becomes %d", offset, got)
		}
		if got := sh.offset(sh.sequence(offset).Next()); got != offset+1 {
			t.Errorf("behind offset %d is %d", offset, got)
		}
		if sh.offset(stream.SequenceNumber{}) != 0 {
			t.Error("the start of every shard is not offset 0")
		}
	})
}
