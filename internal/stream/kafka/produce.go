package kafka

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/fault"
	"millrace/internal/kafka"
)

// Bounds of the producer. Callers wait in [room]; the producer's own bounds are never met, because it would block the
// caller of one record while others of its call are under way.
const (
	// maxInFlightBytes bounds what nodes hold of records that no broker has acknowledged: about a second of a fast network.
	maxInFlightBytes = 128 << 20
	// producerRecords and producerBytes lie beyond what maxInFlightBytes can hold.
	producerRecords = maxInFlightBytes / recordFootprint * 2
	producerBytes   = 4 * maxInFlightBytes
	// maxRequestTime is how long a broker may wait for its replicas before it says that it does not know.
	maxRequestTime = 10 * time.Second
	// unknownRetries is how often the producer asks for a topic that brokers do not know: they learn of one that is new
	// after each other.
	unknownRetries = 10
)

// DefaultCompression is what costs this process least. With events of 300 B of JSON that differ, snappy takes a quarter to
// a third more processor time a record and leaves 44 % of the bytes, lz4 takes more for as much (BenchmarkAppend in
// e2e/kafkastream): worth it where the network or the brokers' disks are what is short.
const DefaultCompression = "none"

func compression(name string) ([]kgo.CompressionCodec, error) {
	switch name {
	case "":
		return compression(DefaultCompression)
	case "none":
		return []kgo.CompressionCodec{kgo.NoCompression()}, nil
	case "snappy":
		return []kgo.CompressionCodec{kgo.SnappyCompression()}, nil
	case "lz4":
		return []kgo.CompressionCodec{kgo.Lz4Compression()}, nil
	case "zstd":
		return []kgo.CompressionCodec{kgo.ZstdCompression()}, nil
	}
	return nil, fault.New(fault.Unsupported, "kafka.Open", "", "compression %q is none of none, snappy, lz4, zstd", name)
}

// producerOptions: acks=all and idempotence are the client's defaults. No linger: a record that comes alone leaves at
// once, and while five requests are in flight to a broker, the next batches build by themselves.
//
// A record that has been sent is not given up before its fate is known (the client's default): what was not sent by
// ProduceTimeout is dropped.
func (b *Backend) producerOptions(codecs []kgo.CompressionCodec) []kgo.Opt {
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(codecs...),
		kgo.ProducerBatchMaxBytesFn(b.batchLimit),
		kgo.RecordPartitioner(placed{}),
		kgo.MaxBufferedRecords(producerRecords),
		kgo.MaxBufferedBytes(producerBytes),
		kgo.RecordDeliveryTimeout(max(b.opts.ProduceTimeout, time.Second)), // no less is taken
		kgo.ProduceRequestTimeout(min(max(b.opts.ProduceTimeout, time.Second), maxRequestTime)),
		kgo.UnknownTopicRetries(unknownRetries),
		kgo.ProducerOnDataLossDetected(func(topic string, partition int32) {
			b.stats.dataLoss.Add(1)
			b.opts.Log.Error("brokers have lost acknowledged records", "topic", topic, "partition", partition)
		}),
		kgo.WithHooks(&b.stats),
	}
}

// batchLimit gives the largest batch that a topic takes.
func (b *Backend) batchLimit(name string) int32 {
	if limit, ok := b.limits.Load(name); ok {
		return limit.(*topic).maxBatch.Load()
	}
	return maxBatch(0)
}

// placed is the partitioner: the record says where it goes. One whose partition the client does not know yet is handed
// back.
type placed struct{}

func (placed) ForTopic(string) kgo.TopicPartitioner { return placed{} }

func (placed) RequiresConsistency(*kgo.Record) bool { return true }

func (placed) Partition(r *kgo.Record, n int) int {
	if int(r.Partition) < n {
		return int(r.Partition)
	}
	r.Context.(*slot).state.Store(unplaced)
	return -1
}

// learnLimit asks for a topic's max.message.bytes, which somebody has changed.
func (b *Backend) learnLimit(s *streamState) {
	if !s.topic.learning.CompareAndSwap(false, true) {
		return
	}
	b.workers.Go(func() {
		defer s.topic.learning.Store(false)
		ctx, cancel := b.bounded(context.Background())
		defer cancel()
		configs, err := kafka.Configs(ctx, b.adm, s.topic.name)
		if err == nil {
			var n int
			if n, err = strconv.Atoi(configs["max.message.bytes"]); err == nil && int32(n) != s.topic.maxBatch.Swap(int32(n)) {
				b.opts.Log.Warn("a topic does not take batches as large as it was made for; those of this node fit it after a restart", "topic", s.topic.name, "max.message.bytes", n)
			}
		}
		if err != nil {
			b.opts.Log.Warn("the limit of a topic cannot be read", "topic", s.topic.name, "error", err)
		}
	})
}

// counters are what the backend counts.
type counters struct {
	lastAck  atomic.Int64 // when a round of records came back, in nanoseconds since 1970
	batches  atomic.Int64
	wire     atomic.Int64
	dataLoss atomic.Int64
}

var _ kgo.HookProduceBatchWritten = (*counters)(nil)

// OnProduceBatchWritten counts a batch.
func (c *counters) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	c.batches.Add(1)
	c.wire.Add(int64(m.CompressedBytes))
}

// Stats is what the backend counts, since this process opened it.
type Stats struct {
	Batches       int64 // that brokers acknowledged
	WireBytes     int64 // of their records, compressed
	InFlightBytes int64 // of records that brokers have not acknowledged, with what holds them
	InFlightBound int64
	ReadingBytes  int64 // of answers of brokers that are being read or kept for the next read
	ReadingBound  int64
	DataLoss      int64 // how often brokers were found to have lost what they had acknowledged
	Streams       []StreamStats
}

// StreamStats counts what this node appended to one stream.
type StreamStats struct {
	Stream  string
	Records int64
	Bytes   int64 // of data and partition keys
}

// Stats reads the counters.
func (b *Backend) Stats() Stats {
	st := Stats{
		Batches: b.stats.batches.Load(), WireBytes: b.stats.wire.Load(), DataLoss: b.stats.dataLoss.Load(),
		InFlightBytes: b.produced.holds(), InFlightBound: maxInFlightBytes,
		ReadingBytes: b.fetched.holds() + b.cursors.holds(), ReadingBound: maxFetchingBytes + maxCursorBytes,
	}
	view := b.view.Load()
	for _, def := range view.sorted {
		t := view.byName[def.Name].topic
		st.Streams = append(st.Streams, StreamStats{Stream: def.Name, Records: t.records.Load(), Bytes: t.bytes.Load()})
	}
	return st
}
