package kinesis

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Calls of the control plane are sent once too. What they did is then described; a stream that is not ACTIVE yet is
// followed by the keeper.

// call runs one call of the control plane within its time.
func (b *Backend) call(ctx context.Context, op, name string, fn func(context.Context) error) error {
	if b.isClosed() {
		return errClosed(op, name)
	}
	limited, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	if err := fn(limited); err != nil {
		err = faultOf(op, name, err)
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.InUse) {
			b.kick(name) // the service knows better than the view
		}
		return err
	}
	return nil
}

// CreateStream makes a stream; it is ACTIVE after the seconds that the service takes. Only with a retention of its own
// does the call wait for that, because a stream that is being made takes no other change.
func (b *Backend) CreateStream(ctx context.Context, spec stream.CreateStream) (*stream.Stream, error) {
	const op = "kinesis.CreateStream"
	if isHidden(spec.Name) {
		if b.hidden == nil {
			return nil, fault.New(fault.Unsupported, op, spec.Name, "a delivery stream of type DirectPut would keep its records in the log of one node, "+
				"which the other nodes of this cluster can't read; give it a Kinesis stream as its source (KinesisStreamAsSource)")
		}
		return b.hidden.CreateStream(ctx, spec)
	}
	in := &sdk.CreateStreamInput{StreamName: &spec.Name}
	if len(spec.Tags) > 0 {
		in.Tags = spec.Tags // the service refuses none at all
	}
	if spec.Mode == stream.OnDemand {
		in.StreamModeDetails = &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}
	} else {
		in.ShardCount = aws.Int32(int32(max(spec.Shards, 1)))
	}
	if spec.MaxRecordBytes > 0 && spec.MaxRecordBytes != stream.DefaultMaxRecordBytes {
		in.MaxRecordSizeInKiB = aws.Int32(int32(spec.MaxRecordBytes >> 10))
	}
	if err := b.call(ctx, op, spec.Name, func(ctx context.Context) error {
		_, err := b.client.CreateStream(ctx, in)
		return err
	}); err != nil {
		return nil, err
	}
	st, err := b.describe(ctx, op, spec.Name, described{tags: len(spec.Tags) > 0})
	if err != nil {
		b.kick(spec.Name)
		return nil, fault.New(fault.Unavailable, op, spec.Name, "the stream has been made, but not described: %w", err)
	}
	if spec.Retention == 0 || spec.Retention == st.Retention {
		return st, nil
	}
	if st, err = b.active(ctx, op, spec.Name); err != nil {
		return nil, err
	}
	if err := b.setRetention(ctx, op, st, spec.Retention); err != nil {
		return nil, err
	}
	return b.describe(ctx, op, spec.Name, described{})
}

// active waits until a stream is ACTIVE in the view.
func (b *Backend) active(ctx context.Context, op, name string) (*stream.Stream, error) {
	for {
		v := b.view.Load()
		st, ok := v.byName[name]
		switch {
		case !ok:
			return nil, errNoStream(op, name)
		case st.Status == stream.Active:
			return st, nil
		}
		select {
		case <-v.changed:
		case <-ctx.Done():
			return nil, fault.New(fault.Unavailable, op, name, "the stream is still %s: %w", st.Status, ctx.Err())
		case <-b.closing:
			return nil, errClosed(op, name)
		}
	}
}

// DeleteStream removes a stream. The service takes its time: until then it is described as DELETING. A stream with
// registered consumers is InUse: they are not ours to remove.
func (b *Backend) DeleteStream(ctx context.Context, name string) error {
	const op = "kinesis.DeleteStream"
	if isHidden(name) {
		if b.hidden == nil {
			return errNoHidden(op, name)
		}
		return b.hidden.DeleteStream(ctx, name)
	}
	if err := b.call(ctx, op, name, func(ctx context.Context) error {
		_, err := b.client.DeleteStream(ctx, &sdk.DeleteStreamInput{StreamName: &name})
		return err
	}); err != nil {
		return err
	}
	if _, err := b.describe(ctx, op, name, described{}); err != nil && !fault.Is(err, fault.NotFound) {
		b.kick(name)
	}
	return nil
}

// UpdateStream makes calls of what edit changes, each on its own: the service has no way to change several settings at
// once, so an error may come after some are changed. The description that it returns may still be UPDATING.
func (b *Backend) UpdateStream(ctx context.Context, name string, edit func(*stream.Settings) error) (*stream.Stream, error) {
	const op = "kinesis.UpdateStream"
	if isHidden(name) {
		if b.hidden == nil {
			return nil, errNoHidden(op, name)
		}
		return b.hidden.UpdateStream(ctx, name, edit)
	}
	if b.isClosed() {
		return nil, errClosed(op, name)
	}
	st, err := b.describe(ctx, op, name, described{})
	if err != nil {
		return nil, err
	}
	want := st.Settings.Clone()
	if err := edit(&want); err != nil {
		return nil, err
	}
	fresh := described{
		tags:      !maps.Equal(want.Tags, st.Tags),
		consumers: !slices.EqualFunc(want.Consumers, st.Consumers, sameConsumer),
	}
	if fresh.tags || fresh.consumers {
		// What was at hand of them may be old: read them anew, and change that.
		if st, err = b.describe(ctx, op, name, fresh); err != nil {
			return nil, err
		}
		want = st.Settings.Clone()
		if err := edit(&want); err != nil {
			return nil, err
		}
	}
	if err := b.change(ctx, op, st, &want); err != nil {
		return nil, err
	}
	return b.describe(ctx, op, name, fresh)
}

func sameConsumer(a, b stream.Consumer) bool {
	return a.Name == b.Name && a.Created.Equal(b.Created) && maps.Equal(a.Tags, b.Tags) && a.Policy == b.Policy
}

// change calls for each setting that differs. What takes the stream through UPDATING comes last, one of it at a time: the
// next would be refused.
func (b *Backend) change(ctx context.Context, op string, st *stream.Stream, want *stream.Settings) error {
	if want.Policy != st.Policy {
		return fault.New(fault.Unsupported, op, st.Name, "resource policies of streams in Amazon Kinesis are set there, not through Millrace")
	}
	if err := b.setTags(ctx, op, st, want.Tags); err != nil {
		return err
	}
	if err := b.setConsumers(ctx, op, st, want.Consumers); err != nil {
		return err
	}
	if err := b.setMetrics(ctx, op, st, want.Metrics); err != nil {
		return err
	}
	if want.MaxRecordBytes != st.MaxRecordBytes {
		if err := b.call(ctx, op, st.Name, func(ctx context.Context) error { return b.setMaxRecord(ctx, st, want.MaxRecordBytes) }); err != nil {
			return err
		}
	}
	if want.Mode != st.Mode {
		if err := b.call(ctx, op, st.Name, func(ctx context.Context) error { return b.setMode(ctx, st, want.Mode) }); err != nil {
			return err
		}
	}
	if want.EncryptionKey != st.EncryptionKey {
		if err := b.call(ctx, op, st.Name, func(ctx context.Context) error { return b.setEncryption(ctx, st, want.EncryptionKey) }); err != nil {
			return err
		}
	}
	if want.Retention != st.Retention {
		return b.setRetention(ctx, op, st, want.Retention)
	}
	return nil
}

// arn asks for the ARN, which these calls want and the view does not keep.
func (b *Backend) arn(ctx context.Context, st *stream.Stream) (*string, error) {
	out, err := b.client.DescribeStreamSummary(ctx, &sdk.DescribeStreamSummaryInput{StreamName: &st.Name})
	if err != nil {
		return nil, err
	}
	if out.StreamDescriptionSummary == nil || out.StreamDescriptionSummary.StreamARN == nil {
		return nil, errors.New("DescribeStreamSummary tells no StreamARN")
	}
	return out.StreamDescriptionSummary.StreamARN, nil
}

func (b *Backend) setMode(ctx context.Context, st *stream.Stream, mode stream.Mode) error {
	arn, err := b.arn(ctx, st)
	if err == nil {
		_, err = b.client.UpdateStreamMode(ctx, &sdk.UpdateStreamModeInput{StreamARN: arn, StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamMode(mode)}})
	}
	return err
}

func (b *Backend) setMaxRecord(ctx context.Context, st *stream.Stream, limit int) error {
	arn, err := b.arn(ctx, st)
	if err == nil {
		_, err = b.client.UpdateMaxRecordSize(ctx, &sdk.UpdateMaxRecordSizeInput{StreamARN: arn, MaxRecordSizeInKiB: aws.Int32(int32(limit >> 10))})
	}
	return err
}

// setEncryption starts or stops encryption; another key is a start too.
func (b *Backend) setEncryption(ctx context.Context, st *stream.Stream, key string) error {
	if key == "" {
		_, err := b.client.StopStreamEncryption(ctx, &sdk.StopStreamEncryptionInput{StreamName: &st.Name, EncryptionType: types.EncryptionTypeKms, KeyId: &st.EncryptionKey})
		return err
	}
	_, err := b.client.StartStreamEncryption(ctx, &sdk.StartStreamEncryptionInput{StreamName: &st.Name, EncryptionType: types.EncryptionTypeKms, KeyId: &key})
	return err
}

func (b *Backend) setMetrics(ctx context.Context, op string, st *stream.Stream, want []string) error {
	off, on := difference(st.Metrics, want), difference(want, st.Metrics)
	if len(off) > 0 {
		if err := b.call(ctx, op, st.Name, func(ctx context.Context) error {
			_, err := b.client.DisableEnhancedMonitoring(ctx, &sdk.DisableEnhancedMonitoringInput{StreamName: &st.Name, ShardLevelMetrics: off})
			return err
		}); err != nil {
			return err
		}
	}
	if len(on) == 0 {
		return nil
	}
	return b.call(ctx, op, st.Name, func(ctx context.Context) error {
		_, err := b.client.EnableEnhancedMonitoring(ctx, &sdk.EnableEnhancedMonitoringInput{StreamName: &st.Name, ShardLevelMetrics: on})
		return err
	})
}

// difference gives the names of a that b lacks.
func difference(a, b []string) []types.MetricsName {
	var names []types.MetricsName
	for _, name := range a {
		if !slices.Contains(b, name) {
			names = append(names, types.MetricsName(name))
		}
	}
	return names
}

// setConsumers registers and deregisters. A registration has the service's creation time, whatever want says. Tags go
// with the registration; later ones and policies are the service's.
func (b *Backend) setConsumers(ctx context.Context, op string, st *stream.Stream, want []stream.Consumer) error {
	same := func(a stream.Consumer) func(stream.Consumer) bool {
		return func(b stream.Consumer) bool { return a.Name == b.Name && a.Created.Equal(b.Created) }
	}
	var drop, add []stream.Consumer
	for _, c := range st.Consumers {
		if !slices.ContainsFunc(want, same(c)) {
			drop = append(drop, c)
		}
	}
	for _, c := range want {
		i := slices.IndexFunc(st.Consumers, same(c))
		if i < 0 && c.Policy == "" {
			add = append(add, c)
		} else if i < 0 || !sameConsumer(c, st.Consumers[i]) {
			return fault.New(fault.Unsupported, op, st.Name, "tags and policies of consumers that are registered in Amazon Kinesis are set there, not through Millrace")
		}
	}
	if len(drop)+len(add) == 0 {
		return nil
	}
	return b.call(ctx, op, st.Name, func(ctx context.Context) error {
		arn, err := b.arn(ctx, st)
		for i := 0; err == nil && i < len(drop); i++ {
			_, err = b.client.DeregisterStreamConsumer(ctx, &sdk.DeregisterStreamConsumerInput{StreamARN: arn, ConsumerName: &drop[i].Name})
		}
		for i := 0; err == nil && i < len(add); i++ {
			in := &sdk.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: &add[i].Name}
			if len(add[i].Tags) > 0 {
				in.Tags = add[i].Tags
			}
			_, err = b.client.RegisterStreamConsumer(ctx, in)
		}
		return err
	})
}

func (b *Backend) setRetention(ctx context.Context, op string, st *stream.Stream, want time.Duration) error {
	hours := aws.Int32(int32(want / time.Hour))
	return b.call(ctx, op, st.Name, func(ctx context.Context) error {
		if want > st.Retention {
			_, err := b.client.IncreaseStreamRetentionPeriod(ctx, &sdk.IncreaseStreamRetentionPeriodInput{StreamName: &st.Name, RetentionPeriodHours: hours})
			return err
		}
		_, err := b.client.DecreaseStreamRetentionPeriod(ctx, &sdk.DecreaseStreamRetentionPeriodInput{StreamName: &st.Name, RetentionPeriodHours: hours})
		return err
	})
}

// tagsPerCall is how many tags every version of the service takes in a call.
const tagsPerCall = 10

// setTags makes the tags of a stream those that are given: first it removes, so that the sum stays below the limit.
func (b *Backend) setTags(ctx context.Context, op string, st *stream.Stream, want map[string]string) error {
	var drop, add []string
	for key := range st.Tags {
		if _, kept := want[key]; !kept {
			drop = append(drop, key)
		}
	}
	for key, value := range want {
		if old, has := st.Tags[key]; !has || old != value {
			add = append(add, key)
		}
	}
	for keys := range slices.Chunk(drop, tagsPerCall) {
		if err := b.call(ctx, op, st.Name, func(ctx context.Context) error {
			_, err := b.client.RemoveTagsFromStream(ctx, &sdk.RemoveTagsFromStreamInput{StreamName: &st.Name, TagKeys: keys})
			return err
		}); err != nil {
			return err
		}
	}
	for keys := range slices.Chunk(add, tagsPerCall) {
		tags := make(map[string]string, len(keys))
		for _, key := range keys {
			tags[key] = want[key]
		}
		if err := b.call(ctx, op, st.Name, func(ctx context.Context) error {
			_, err := b.client.AddTagsToStream(ctx, &sdk.AddTagsToStreamInput{StreamName: &st.Name, Tags: tags})
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// Reshard passes a change on. The service bounds UpdateShardCount: at most double, at least half.
func (b *Backend) Reshard(ctx context.Context, name string, change stream.Reshard) (*stream.Stream, error) {
	const op = "kinesis.Reshard"
	if isHidden(name) {
		if b.hidden == nil {
			return nil, errNoHidden(op, name)
		}
		return b.hidden.Reshard(ctx, name, change)
	}
	if err := b.call(ctx, op, name, func(ctx context.Context) error { return b.reshard(ctx, name, change) }); err != nil {
		return nil, err
	}
	st, err := b.describe(ctx, op, name, described{})
	if err != nil {
		b.kick(name)
		return nil, fault.New(fault.Unavailable, op, name, "the change has begun, but the stream is not described: %w", err)
	}
	return st, nil
}

func (b *Backend) reshard(ctx context.Context, name string, change stream.Reshard) error {
	var err error
	switch {
	case change.Split != nil:
		_, err = b.client.SplitShard(ctx, &sdk.SplitShardInput{
			StreamName: &name, ShardToSplit: aws.String(stream.ShardID(change.Split.Shard)), NewStartingHashKey: aws.String(change.Split.At.String()),
		})
	case change.Merge != nil:
		_, err = b.client.MergeShards(ctx, &sdk.MergeShardsInput{
			StreamName: &name, ShardToMerge: aws.String(stream.ShardID(change.Merge.Shard)),
			AdjacentShardToMerge: aws.String(stream.ShardID(change.Merge.Adjacent)),
		})
	case change.Count > 0:
		_, err = b.client.UpdateShardCount(ctx, &sdk.UpdateShardCountInput{
			StreamName: &name, TargetShardCount: aws.Int32(int32(change.Count)), ScalingType: types.ScalingTypeUniformScaling,
		})
	default:
		err = fault.New(fault.Invalid, "kinesis.Reshard", name, "nothing to change")
	}
	return err
}
