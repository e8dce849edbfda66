package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/kafka"
	"millrace/internal/stream"
)

// Times that stand for ends of a partition, in ListOffsets.
const (
	latest   = -1
	earliest = -2
)

// isolation says which end "latest" is.
type isolation int8

const (
	replicated isolation = 0 // the end of what all in-sync replicas have
	committed  isolation = 1 // and no open transaction stands before
)

// Tip gives the place after the newest record that can be read; that of a closed shard is its end.
func (b *Backend) Tip(ctx context.Context, ref stream.ShardRef) (stream.SequenceNumber, error) {
	return b.place(ctx, "kafka.Tip", ref, latest)
}

// Horizon gives the place of the oldest record that is kept.
func (b *Backend) Horizon(ctx context.Context, ref stream.ShardRef) (stream.SequenceNumber, error) {
	return b.place(ctx, "kafka.Horizon", ref, earliest)
}

// At gives the place of the first record that arrived at or after t, by the broker's index; the tip when there is none.
func (b *Backend) At(ctx context.Context, ref stream.ShardRef, t time.Time) (stream.SequenceNumber, error) {
	return b.place(ctx, "kafka.At", ref, max(t.UnixMilli(), 0))
}

// place finds the offset of a time, no further than the shard's end.
func (b *Backend) place(ctx context.Context, op string, ref stream.ShardRef, t int64) (stream.SequenceNumber, error) {
	_, sh, err := b.find(op, ref)
	if err != nil {
		return stream.SequenceNumber{}, err
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	end, ended := sh.ends()
	if sh.partition == nowhere || ended && t == latest {
		return sh.sequence(end), nil
	}
	offset, err := b.listOffset(ctx, sh, t, committed)
	if err == nil && offset < 0 { // no record is so young
		offset, err = b.listOffset(ctx, sh, latest, committed)
	}
	if err != nil {
		return stream.SequenceNumber{}, kafka.Fault(op, ref.String(), err)
	}
	if t == latest {
		sh.advance(offset)
	}
	if ended {
		offset = min(offset, end)
	}
	return sh.sequence(offset), nil
}

// listOffset asks the leader for the offset of a time; -1: there is none.
func (b *Backend) listOffset(ctx context.Context, sh *shard, t int64, level isolation) (int64, error) {
	for try := 0; ; try++ {
		offset, err := b.listOffsetOnce(ctx, sh, t, level)
		if err == nil {
			return offset, nil
		}
		if err := b.again(ctx, sh, err, try); err != nil {
			return 0, err
		}
	}
}

func (b *Backend) listOffsetOnce(ctx context.Context, sh *shard, t int64, level isolation) (int64, error) {
	leader, err := b.leader(ctx, sh)
	if err != nil {
		return 0, err
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = int8(level)
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp = sh.partition, t
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic, topic.Partitions = sh.topic.name, append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	answer, err := b.reader.Broker(int(leader)).Request(ctx, req)
	if err != nil {
		return 0, err
	}
	resp := answer.(*kmsg.ListOffsetsResponse)
	for _, rt := range resp.Topics {
		for _, p := range rt.Partitions {
			if p.Partition == sh.partition {
				return p.Offset, kerr.ErrorForCode(p.ErrorCode)
			}
		}
	}
	return 0, kerr.UnknownServerError
}
