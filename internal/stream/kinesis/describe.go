package kinesis

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// described says what of a description must be new: tags and consumers have calls of their own with a low rate.
type described struct{ tags, consumers bool }

// describe asks for a stream as it is now and publishes it. NotFound: it is gone, and the view no longer shows it.
func (b *Backend) describe(ctx context.Context, op, name string, want described) (*stream.Stream, error) {
	if err := b.keeper.describes.wait(ctx); err != nil {
		return nil, faultOf(op, name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	ticket := b.keeper.ticket()
	st, err := b.ask(ctx, op, name, want)
	if fault.Is(err, fault.NotFound) {
		b.publish(name, nil, ticket)
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	b.publish(name, st, ticket)
	return st, nil
}

func (b *Backend) ask(ctx context.Context, op, name string, want described) (*stream.Stream, error) {
	out, err := b.client.DescribeStreamSummary(ctx, &sdk.DescribeStreamSummaryInput{StreamName: &name})
	if err != nil {
		return nil, faultOf(op, name, err)
	}
	b.clock.learn(out.ResultMetadata, b.opts.Now())
	sum := out.StreamDescriptionSummary
	if sum == nil || sum.StreamCreationTimestamp == nil {
		return nil, fault.New(fault.Unavailable, op, name, "DescribeStreamSummary tells no creation time")
	}
	st := &stream.Stream{
		Name:    name,
		ID:      incarnation(*sum.StreamCreationTimestamp),
		Status:  stream.Status(sum.StreamStatus),
		Created: sum.StreamCreationTimestamp.UTC(),
		Settings: stream.Settings{
			Mode:           stream.Provisioned,
			Retention:      time.Duration(aws.ToInt32(sum.RetentionPeriodHours)) * time.Hour,
			MaxRecordBytes: stream.DefaultMaxRecordBytes,
			Metrics:        metricsOf(sum.EnhancedMonitoring),
		},
	}
	if sum.EncryptionType == types.EncryptionTypeKms {
		st.EncryptionKey = aws.ToString(sum.KeyId)
	}
	if sum.StreamModeDetails != nil && sum.StreamModeDetails.StreamMode != "" {
		st.Mode = stream.Mode(sum.StreamModeDetails.StreamMode)
	}
	if kib := aws.ToInt32(sum.MaxRecordSizeInKiB); kib > 0 {
		st.MaxRecordBytes = int(kib) << 10
	}
	before := b.view.Load().byName[name]
	if before != nil && before.ID != st.ID {
		before = nil
	}
	if st.Status != stream.Creating {
		if st.Shards, err = b.listShards(ctx, op, st, before); err != nil {
			return nil, err
		}
	}
	if st.Tags, err = b.tags(ctx, op, name, before, want); err != nil {
		return nil, err
	}
	if st.Consumers, err = b.consumers(ctx, op, sum, before, want); err != nil {
		return nil, err
	}
	return st, nil
}

func metricsOf(all []types.EnhancedMetrics) []string {
	var names []string
	for _, m := range all {
		for _, name := range m.ShardLevelMetrics {
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// maxConsumers bounds the registered consumers that are taken in of one stream.
const maxConsumers = 1000

// consumers lists a stream's registered consumers: when they are wanted, or when their number is another than before.
// Their tags and policies stay with the service.
func (b *Backend) consumers(ctx context.Context, op string, sum *types.StreamDescriptionSummary, before *stream.Stream, want described) ([]stream.Consumer, error) {
	count := int(aws.ToInt32(sum.ConsumerCount))
	if !want.consumers && before != nil && len(before.Consumers) == count {
		return before.Consumers, nil
	}
	if count == 0 && !want.consumers {
		return nil, nil
	}
	var all []stream.Consumer
	in := &sdk.ListStreamConsumersInput{StreamARN: sum.StreamARN}
	for {
		out, err := b.client.ListStreamConsumers(ctx, in)
		if err != nil && !want.consumers {
			// Who may put and read need not be allowed to list them; the stream is usable without.
			b.opts.Log.Debug("the consumers of a stream are not known", "stream", aws.ToString(sum.StreamName), "error", err)
			if before != nil {
				return before.Consumers, nil
			}
			return nil, nil
		}
		if err != nil {
			return nil, faultOf(op, aws.ToString(sum.StreamName), err)
		}
		for _, c := range out.Consumers {
			if c.ConsumerStatus != types.ConsumerStatusDeleting && c.ConsumerCreationTimestamp != nil {
				all = append(all, stream.Consumer{Name: aws.ToString(c.ConsumerName), Created: c.ConsumerCreationTimestamp.UTC()})
			}
		}
		if out.NextToken == nil || len(all) > maxConsumers {
			break
		}
		in = &sdk.ListStreamConsumersInput{StreamARN: sum.StreamARN, NextToken: out.NextToken}
	}
	slices.SortFunc(all, func(x, y stream.Consumer) int { return strings.Compare(x.Name, y.Name) })
	return all, nil
}

// incarnation names a stream that was created at t. The creation time is what every version of the service tells and
// never changes; a name is not free again within the same millisecond.
func incarnation(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// maxListed bounds the shards that are taken in of one stream.
const maxListed = 100_000

func (b *Backend) listShards(ctx context.Context, op string, st, before *stream.Stream) ([]stream.Shard, error) {
	var all []stream.Shard
	in := &sdk.ListShardsInput{StreamName: &st.Name}
	for {
		out, err := b.client.ListShards(ctx, in)
		if err != nil {
			return nil, faultOf(op, st.Name, err)
		}
		for i := range out.Shards {
			sh, err := shardOf(&out.Shards[i])
			if err != nil {
				return nil, fault.New(fault.Unavailable, op, st.Name, "%w", err)
			}
			all = append(all, sh)
		}
		if out.NextToken == nil || len(all) > maxListed {
			break
		}
		in = &sdk.ListShardsInput{NextToken: out.NextToken}
	}
	slices.SortFunc(all, func(x, y stream.Shard) int { return int(int64(x.Index) - int64(y.Index)) })
	b.date(all, st, before)
	return all, nil
}

// shardOf reads a shard. When it was closed the service does not tell: see date.
func shardOf(in *types.Shard) (stream.Shard, error) {
	var sh stream.Shard
	bad := func(what, value string) (stream.Shard, error) {
		return sh, fault.New(fault.Unavailable, "", "", "shard %q: the %s %.80q is not understood", aws.ToString(in.ShardId), what, value)
	}
	index, ok := stream.ParseShardID(aws.ToString(in.ShardId))
	if !ok {
		return bad("id", aws.ToString(in.ShardId))
	}
	sh.Index = index
	if in.HashKeyRange == nil || in.SequenceNumberRange == nil {
		return bad("range", "")
	}
	if sh.Range.Start, ok, _ = stream.ParseHashKey(aws.ToString(in.HashKeyRange.StartingHashKey)); !ok {
		return bad("starting hash key", aws.ToString(in.HashKeyRange.StartingHashKey))
	}
	if sh.Range.End, ok, _ = stream.ParseHashKey(aws.ToString(in.HashKeyRange.EndingHashKey)); !ok {
		return bad("ending hash key", aws.ToString(in.HashKeyRange.EndingHashKey))
	}
	if sh.First, ok = stream.ParseSequenceNumber(aws.ToString(in.SequenceNumberRange.StartingSequenceNumber)); !ok {
		return bad("starting sequence number", aws.ToString(in.SequenceNumberRange.StartingSequenceNumber))
	}
	if text := aws.ToString(in.SequenceNumberRange.EndingSequenceNumber); text != "" {
		end, ok := stream.ParseSequenceNumber(text)
		if !ok {
			return bad("ending sequence number", text)
		}
		sh.Closed = &stream.ShardEnd{Sequence: end}
	}
	for _, id := range []*string{in.ParentShardId, in.AdjacentParentShardId} {
		if aws.ToString(id) == "" {
			continue
		}
		parent, ok := stream.ParseShardID(*id)
		if !ok {
			return bad("parent", *id)
		}
		sh.Parents = append(sh.Parents, parent)
	}
	return sh, nil
}

// date fills in when shards were created and closed. A starting number of the recorded layout tells the creation;
// otherwise it is the stream's, plus the index, so that it rises from parent to child. A shard closed when its first
// child was created, or, when that is unknown, when this process first saw it closed.
func (b *Backend) date(shards []stream.Shard, st, before *stream.Stream) {
	told := map[uint32]bool{}
	for i := range shards {
		sh := &shards[i]
		created, _, _, ok := sh.First.Parts()
		if !ok {
			created = st.Created.Unix() + int64(sh.Index)
		}
		sh.Created, told[sh.Index] = created, ok
	}
	for i := range shards {
		if sh := &shards[i]; sh.Closed != nil {
			sh.Closed.At = b.closedAt(shards, sh.Index, told, before)
		}
	}
}

func (b *Backend) closedAt(shards []stream.Shard, index uint32, told map[uint32]bool, before *stream.Stream) time.Time {
	for i := range shards {
		if child := &shards[i]; told[child.Index] && slices.Contains(child.Parents, index) {
			return time.Unix(child.Created, 0).UTC()
		}
	}
	if before != nil {
		if old, ok := before.Shard(index); ok && old.Closed != nil {
			return old.Closed.At
		}
	}
	return b.opts.Now().UTC()
}

// tags reads a stream's tags: at once when they are wanted, else when the rate has room; or gives those known before.
func (b *Backend) tags(ctx context.Context, op, name string, before *stream.Stream, want described) (map[string]string, error) {
	switch {
	case want.tags:
		if err := b.keeper.tags.wait(ctx); err != nil {
			return nil, faultOf(op, name, err)
		}
	case !b.keeper.tagsDue(name) || !b.keeper.tags.try():
		if before != nil {
			return before.Tags, nil
		}
		return nil, nil
	}
	all := map[string]string{}
	in := &sdk.ListTagsForStreamInput{StreamName: &name}
	for {
		out, err := b.client.ListTagsForStream(ctx, in)
		if err != nil && !want.tags && !fault.Is(faultOf(op, name, err), fault.NotFound) {
			// Who may put and read need not be allowed to list tags; the stream is usable without.
			b.opts.Log.Warn("the tags of a stream are not known", "stream", name, "error", err)
			b.keeper.tagged(name)
			if before != nil {
				return before.Tags, nil
			}
			return nil, nil
		}
		if err != nil {
			return nil, faultOf(op, name, err)
		}
		for _, tag := range out.Tags {
			all[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
		if !aws.ToBool(out.HasMoreTags) || len(out.Tags) == 0 {
			break
		}
		in = &sdk.ListTagsForStreamInput{StreamName: &name, ExclusiveStartTagKey: out.Tags[len(out.Tags)-1].Key}
	}
	b.keeper.tagged(name)
	return all, nil
}
