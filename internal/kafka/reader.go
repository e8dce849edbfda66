package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/fault"
)

// Reader reads the committed records of one partition by plain fetches, so that it knows what a consumer does not tell:
// whether all that was committed when it asked has been read. It is used by one goroutine.
type Reader struct {
	Client    *kgo.Client
	Topic     string
	Partition int32
	// Next is the offset of the next record to read.
	Next int64
	// MaxBytes bounds a fetch; one batch larger than that comes whole.
	MaxBytes int32

	decompress kgo.Decompressor
}

// Fetched is the answer of a fetch.
type Fetched struct {
	Records []*kgo.Record
	// Asked is the moment before the request. When AtEnd is set, every record that was committed by then has been
	// given by this or an earlier fetch.
	Asked time.Time
	AtEnd bool
	// Start is the offset of the oldest record that is kept, Stable the place before which no transaction is open, High
	// the end of what is replicated.
	Start, Stable, High int64
}

// metadataTime is how old a cached leader may be; one that has moved answers so, and is looked up again at once.
const metadataTime = 10 * time.Second

// Fetch waits at most so long for records. Errors: NotFound when the topic is gone, Expired when Next lies before the
// oldest record that is kept (Start tells it), Unavailable when asking again may help.
func (r *Reader) Fetch(ctx context.Context, wait time.Duration) (Fetched, error) {
	const op = "kafka.Fetch"
	if r.decompress == nil {
		r.decompress = kgo.DefaultDecompressor()
	}
	answer := Fetched{Asked: time.Now()}
	broker, id, err := r.leader(ctx, metadataTime)
	if err != nil {
		return answer, err
	}
	part, err := r.ask(ctx, broker, id, wait)
	if err != nil {
		return answer, Fault(op, r.Topic, err)
	}
	answer.Start, answer.Stable, answer.High = part.LogStartOffset, part.LastStableOffset, part.HighWatermark
	opts := kgo.ProcessFetchPartitionOpts{Offset: r.Next, IsolationLevel: kgo.ReadCommitted(), Topic: r.Topic, Partition: r.Partition}
	processed, next := kgo.ProcessFetchPartition(opts, part, r.decompress, nil)
	if processed.Err != nil {
		if errors.Is(processed.Err, kerr.OffsetOutOfRange) {
			return answer, fault.New(fault.Expired, op, r.Topic, "offset %d lies outside of what is kept, %d to %d", r.Next, answer.Start, answer.High)
		}
		if _, _, err := r.leader(ctx, 0); err != nil { // it may have moved: the next fetch goes to the new one
			return answer, err
		}
		return answer, Fault(op, r.Topic, processed.Err)
	}
	r.Next = max(next, r.Next)
	answer.Records = processed.Records
	// No bytes means that nothing lies between here and the stable end, however far the numbers are apart: what compaction
	// removed leaves a gap.
	answer.AtEnd = r.Next >= answer.Stable || len(part.RecordBatches) == 0
	return answer, nil
}

func (r *Reader) ask(ctx context.Context, broker int32, id [16]byte, wait time.Duration) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = int32(wait.Milliseconds()), 1, r.MaxBytes, 1
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = r.Partition, r.Next, r.MaxBytes
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID, topic.Partitions = r.Topic, id, append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	answer, err := r.Client.Broker(int(broker)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, fault.New(fault.Unavailable, "kafka.Fetch", r.Topic, "an answer about %d topics", len(resp.Topics))
	}
	return &resp.Topics[0].Partitions[0], nil
}

// leader finds the broker that leads the partition, from what was learnt within the given age.
func (r *Reader) leader(ctx context.Context, age time.Duration) (broker int32, id [16]byte, err error) {
	const op = "kafka.Fetch"
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(r.Topic)
	req.Topics = append(req.Topics, topic)
	var resp *kmsg.MetadataResponse
	if age > 0 {
		resp, err = r.Client.RequestCachedMetadata(ctx, req, age)
	} else {
		resp, err = req.RequestWith(ctx, r.Client)
	}
	if err != nil {
		return 0, id, Fault(op, r.Topic, err)
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return 0, id, Fault(op, r.Topic, err)
		}
		for _, p := range t.Partitions {
			if p.Partition != r.Partition {
				continue
			}
			if p.Leader < 0 {
				return 0, id, fault.New(fault.Unavailable, op, r.Topic, "partition %d has no leader now", r.Partition)
			}
			return p.Leader, t.TopicID, nil
		}
	}
	return 0, id, fault.New(fault.NotFound, op, r.Topic, "it has no partition %d", r.Partition)
}
