package kafka

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/fault"
	"millrace/internal/kafka"
	"millrace/internal/stream"
)

// Healthy returns nil when every open shard could take a record now: its partition is there, has a leader, and has as
// many replicas in sync as an acknowledgement takes. The error names the first that could not.
func (b *Backend) Healthy(ctx context.Context) error {
	const op = "kafka.Healthy"
	if b.closing.Load() {
		return errClosed(op, "")
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	view := b.view.Load()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, def := range view.sorted {
		if def.Status == stream.Active || def.Status == stream.Updating {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = kmsg.StringPtr(view.byName[def.Name].topic.name)
			req.Topics = append(req.Topics, t)
		}
	}
	resp, err := req.RequestWith(ctx, b.reader)
	if err != nil {
		return kafka.Fault(op, "", err)
	}
	if n := b.opts.Settings.MinInSync; len(resp.Brokers) < n {
		return fault.New(fault.Unavailable, op, "", "%d brokers are there; a record is to be on %d before it counts as written", len(resp.Brokers), n)
	}
	found := map[string]*kmsg.MetadataResponseTopic{}
	for i := range resp.Topics {
		if t := &resp.Topics[i]; t.Topic != nil {
			found[*t.Topic] = t
		}
	}
	for _, def := range view.sorted {
		if def.Status != stream.Active && def.Status != stream.Updating {
			continue
		}
		if err := b.streamHealthy(view.byName[def.Name], found[view.byName[def.Name].topic.name]); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) streamHealthy(s *streamState, t *kmsg.MetadataResponseTopic) error {
	const op = "kafka.Healthy"
	unwell := func(format string, args ...any) error {
		return fault.New(fault.Unavailable, op, s.def.Name, "topic %s %s", s.topic.name, fmt.Sprintf(format, args...))
	}
	switch {
	case t == nil || t.ErrorCode == kerr.UnknownTopicOrPartition.Code:
		return unwell("is gone, though the stream is there: it was deleted past Millrace")
	case t.ErrorCode != 0:
		return kafka.Fault(op, s.def.Name, kerr.ErrorForCode(t.ErrorCode))
	case topicID(t.TopicID) != s.topic.id:
		return unwell("is another one than the stream's: it was deleted and made again past Millrace")
	}
	parts := map[int32]*kmsg.MetadataResponseTopicPartition{}
	for i := range t.Partitions {
		parts[t.Partitions[i].Partition] = &t.Partitions[i]
	}
	for _, sh := range s.open {
		p := parts[sh.partition]
		need := b.opts.Settings.MinInSync
		if s.topic.adopted {
			need = 1 // its own min.insync.replicas is among the Warnings
		}
		switch {
		case p == nil:
			return unwell("has no partition %d", sh.partition)
		case p.Leader < 0:
			return unwell("has no leader for partition %d", sh.partition)
		case len(p.ISR) < min(need, len(p.Replicas)):
			return unwell("has %d replicas in sync of partition %d; %d are needed", len(p.ISR), sh.partition, need)
		}
	}
	return nil
}

// Warnings names, in sentences, what is weaker than it should be: topics with few replicas, unclean elections, records
// of adopted topics that compaction or their producers' clocks touch, brokers that lost records.
func (b *Backend) Warnings(ctx context.Context) []string {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	view := b.view.Load()
	var topics []string
	var all []string
	for _, def := range view.sorted {
		s := view.byName[def.Name]
		topics = append(topics, s.topic.name)
		if s.topic.adopted {
			all = append(all, b.adoptedWarnings(ctx, s)...)
		}
	}
	weak, err := b.opts.Settings.Weaknesses(ctx, b.adm, topics...)
	if err != nil {
		return append(all, "the topics' settings cannot be read: "+err.Error())
	}
	all = append(weak, all...)
	if n := b.stats.dataLoss.Load(); n > 0 {
		all = append(all, fmt.Sprintf("brokers were found %d times to have lost records that they had acknowledged", n))
	}
	return all
}

func (b *Backend) adoptedWarnings(ctx context.Context, s *streamState) []string {
	configs, err := kafka.Configs(ctx, b.adm, s.topic.name)
	if err != nil {
		return nil // Weaknesses tells
	}
	var all []string
	if policy := configs["cleanup.policy"]; policy != "delete" {
		all = append(all, fmt.Sprintf("topic %s has cleanup.policy %s: records go before their age", s.topic.name, policy))
	}
	if kind := configs["message.timestamp.type"]; kind != "LogAppendTime" {
		all = append(all, fmt.Sprintf("topic %s keeps its producers' clocks (message.timestamp.type %s): AT_TIMESTAMP and ages go by them", s.topic.name, kind))
	}
	if n, err := strconv.Atoi(configs["max.message.bytes"]); err == nil && maxRecord(int32(n)) < stream.DefaultMaxRecordBytes {
		all = append(all, fmt.Sprintf("topic %s takes records of at most %d bytes (max.message.bytes %d)", s.topic.name, maxRecord(int32(n)), n))
	}
	return all
}
