package sdk

import (
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// key gives a hash key: of all 2^128, the part n/of.
func key(n, of int64) *string {
	k := new(big.Int).Lsh(big.NewInt(n), 128)
	return new(k.Div(k, big.NewInt(of)).String())
}

// shardID gives an id as answers spell it.
func shardID(index int) *string { return new(fmt.Sprintf("shardId-%012d", index)) }

func createStream(t *testing.T, u *user) {
	name := new("create")
	must(u.CreateStream(u.ctx, &kinesis.CreateStreamInput{StreamName: name, ShardCount: new(int32(3)), MaxRecordSizeInKiB: new(int32(2048)),
		Tags: map[string]string{"stage": "test"}}))(t)
	made := u.active(t, name)
	equal(t, "shards", *made.OpenShardCount, 3)
	equal(t, "record size", aws.ToInt32(made.MaxRecordSizeInKiB), 2048)
	equal(t, "mode", made.StreamModeDetails.StreamMode, types.StreamModeProvisioned)
	tags := must(u.ListTagsForStream(u.ctx, &kinesis.ListTagsForStreamInput{StreamName: name}))(t)
	same(t, "tags", pairs(tags.Tags), []string{"stage=test"})
	for other, details := range map[string]*types.StreamModeDetails{"create-neither": nil, "create-demand": {StreamMode: types.StreamModeOnDemand}} {
		must(u.CreateStream(u.ctx, &kinesis.CreateStreamInput{StreamName: &other, StreamModeDetails: details}))(t)
		made := u.active(t, &other)
		equal(t, "shards", *made.OpenShardCount, 4)
		equal(t, "mode", made.StreamModeDetails.StreamMode, types.StreamModeOnDemand)
	}

	_, err := u.CreateStream(u.ctx, &kinesis.CreateStreamInput{StreamName: name, ShardCount: new(int32(1))})
	refused[inUse](t, err, "Stream create under account 000000000000 already exists.")
	_, err = u.CreateStream(u.ctx, &kinesis.CreateStreamInput{StreamName: new("create-large"), ShardCount: new(int32(501))})
	refused[tooMuch](t, err, "This request would exceed the shard limit for the account 000000000000 in us-east-1.")
	_, err = u.CreateStream(u.ctx, &kinesis.CreateStreamInput{StreamName: new("create-both"), ShardCount: new(int32(1)),
		StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
	refused[invalid](t, err, "ShardCount is not expected when StreamMode=ON_DEMAND")
	_, err = u.CreateStream(u.ctx, &kinesis.CreateStreamInput{StreamName: new("not a name"), ShardCount: new(int32(1))})
	refused[invalid](t, err, "1 validation error detected: Value 'not a name' at 'streamName' failed to satisfy constraint: "+
		"Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
	_, err = u.CreateStream(u.ctx, &kinesis.CreateStreamInput{StreamName: new("create-tags"), Tags: map[string]string{"semi;colon": ""}})
	refused[wrong](t, err, "Some tags contain invalid characters.")
}

func deleteStream(t *testing.T, u *user) {
	name, arn := u.stream(t, "delete", 1)
	old := must(u.GetShardIterator(u.ctx, &kinesis.GetShardIteratorInput{StreamName: name, ShardId: shardID(0),
		ShardIteratorType: types.ShardIteratorTypeTrimHorizon}))(t)
	must(u.RegisterStreamConsumer(u.ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: new("reader")}))(t)
	_, err := u.DeleteStream(u.ctx, &kinesis.DeleteStreamInput{StreamName: name})
	refused[inUse](t, err, "because there are consumers associated with this data stream")
	must(u.DeleteStream(u.ctx, &kinesis.DeleteStreamInput{StreamARN: arn, EnforceConsumerDeletion: new(true)}))(t)
	gone := kinesis.NewStreamNotExistsWaiter(u.Client, func(o *kinesis.StreamNotExistsWaiterOptions) { o.MinDelay = time.Second / 10 })
	if err := gone.Wait(u.ctx, &kinesis.DescribeStreamInput{StreamName: name}, patience); err != nil {
		t.Fatal(err)
	}
	_, err = u.DeleteStream(u.ctx, &kinesis.DeleteStreamInput{StreamARN: arn})
	refused[notFound](t, err, "Stream delete under account 000000000000 not found.") // the name, though the ARN was given

	u.stream(t, *name, 1)
	_, err = u.GetRecords(u.ctx, &kinesis.GetRecordsInput{ShardIterator: old.ShardIterator})
	refused[notFound](t, err, "Shard shardId-000000000000 in stream delete under account 000000000000 does not exist")
	_, err = u.DescribeStreamConsumer(u.ctx, &kinesis.DescribeStreamConsumerInput{StreamARN: arn, ConsumerName: new("reader")})
	refused[notFound](t, err, "")
}

func describeStream(t *testing.T, u *user) {
	name, arn := u.stream(t, "describe", 5)
	got := must(u.DescribeStream(u.ctx, &kinesis.DescribeStreamInput{StreamARN: arn}))(t).StreamDescription
	equal(t, "name", *got.StreamName, *name)
	equal(t, "ARN", *got.StreamARN, "arn:aws:kinesis:us-east-1:000000000000:stream/describe")
	equal(t, "status", got.StreamStatus, types.StreamStatusActive)
	equal(t, "retention", *got.RetentionPeriodHours, 24)
	equal(t, "encryption", got.EncryptionType, types.EncryptionTypeNone)
	equal(t, "more", *got.HasMoreShards, false)
	equal(t, "lists of metrics", len(got.EnhancedMonitoring), 1)
	if age := time.Since(*got.StreamCreationTimestamp); age < 0 || age > 2*patience {
		t.Errorf("the stream was made %v ago", age)
	}
	var starts, ids []string
	pages := kinesis.NewDescribeStreamPaginator(u.Client, &kinesis.DescribeStreamInput{StreamName: name, Limit: new(int32(2))})
	for n := 0; pages.HasMorePages(); n++ {
		page := must(pages.NextPage(u.ctx))(t).StreamDescription
		equal(t, "shards of a page", len(page.Shards), []int{2, 2, 1}[min(n, 2)])
		for _, sh := range page.Shards {
			ids, starts = append(ids, *sh.ShardId), append(starts, *sh.HashKeyRange.StartingHashKey)
			if sh.SequenceNumberRange.EndingSequenceNumber != nil || sh.ParentShardId != nil || sh.AdjacentParentShardId != nil {
				t.Errorf("a shard of a new stream: %+v", sh)
			}
		}
	}
	same(t, "shards", ids, []string{*shardID(0), *shardID(1), *shardID(2), *shardID(3), *shardID(4)})
	width, _ := new(big.Int).SetString(*key(1, 5), 10)
	var want []string
	for i := range int64(5) {
		want = append(want, new(big.Int).Mul(width, big.NewInt(i)).String())
	}
	same(t, "starts", starts, want)
	_, err := u.DescribeStream(u.ctx, &kinesis.DescribeStreamInput{StreamARN: nobodyARN})
	refused[notFound](t, err, nobodyText)
	_, err = u.DescribeStream(u.ctx, &kinesis.DescribeStreamInput{StreamName: name, Limit: new(int32(10001))})
	refusedBy(t, err, "ValidationException", "Member must have value less than or equal to 10000")
}

func describeStreamSummary(t *testing.T, u *user) {
	name, arn := u.stream(t, "summary", 2)
	must(u.SplitShard(u.ctx, &kinesis.SplitShardInput{StreamName: name, ShardToSplit: shardID(0), NewStartingHashKey: key(1, 4)}))(t)
	u.active(t, name)
	must(u.RegisterStreamConsumer(u.ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: new("reader")}))(t)
	got := must(u.DescribeStreamSummary(u.ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: arn}))(t).StreamDescriptionSummary
	equal(t, "open shards", *got.OpenShardCount, 3)
	equal(t, "consumers", *got.ConsumerCount, 1)
	equal(t, "record size", *got.MaxRecordSizeInKiB, 1024)
	equal(t, "status", got.StreamStatus, types.StreamStatusActive)
	_, err := u.DescribeStreamSummary(u.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: nobody})
	refused[notFound](t, err, nobodyText)
	_, err = u.DescribeStreamSummary(u.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: nobody, StreamARN: arn})
	refused[wrong](t, err, "")
	_, err = u.DescribeStreamSummary(u.ctx, &kinesis.DescribeStreamSummaryInput{})
	refusedBy(t, err, "ValidationException", "Value null at 'streamName' failed to satisfy constraint: Member must not be null")
}

func listStreams(t *testing.T, u *user) {
	for _, name := range []string{"list-c", "list-a", "list-b"} {
		u.stream(t, name, 1)
	}
	var names []string
	pages := kinesis.NewListStreamsPaginator(u.Client, &kinesis.ListStreamsInput{Limit: new(int32(1))})
	for pages.HasMorePages() {
		page := must(pages.NextPage(u.ctx))(t)
		equal(t, "streams of a page", len(page.StreamNames), 1)
		equal(t, "summary", *page.StreamSummaries[0].StreamName, page.StreamNames[0])
		if strings.HasPrefix(page.StreamNames[0], "list-") {
			names = append(names, page.StreamNames[0])
		}
	}
	same(t, "streams", names, []string{"list-a", "list-b", "list-c"})
	page := must(u.ListStreams(u.ctx, &kinesis.ListStreamsInput{ExclusiveStartStreamName: new("list-aa"), Limit: new(int32(2))}))(t)
	same(t, "streams after one that is none", page.StreamNames, []string{"list-b", "list-c"})
	_, err := u.ListStreams(u.ctx, &kinesis.ListStreamsInput{NextToken: new("made up")})
	refused[wrong](t, err, "NextToken")
}

func describeLimits(t *testing.T, u *user) {
	before := must(u.DescribeLimits(u.ctx, &kinesis.DescribeLimitsInput{}))(t)
	u.stream(t, "limits", 2)
	must(u.CreateStream(u.ctx, &kinesis.CreateStreamInput{StreamName: new("limits-demand")}))(t)
	u.active(t, new("limits-demand"))
	after := must(u.DescribeLimits(u.ctx, &kinesis.DescribeLimitsInput{}))(t)
	equal(t, "limit", *after.ShardLimit, 500)
	equal(t, "open shards", *after.OpenShardCount-*before.OpenShardCount, 2)
	equal(t, "on-demand streams", *after.OnDemandStreamCount-*before.OnDemandStreamCount, 1)
	equal(t, "limit of on-demand streams", *after.OnDemandStreamCountLimit, 50)
}

// listed gives the ids of the shards that a filter lets through.
func (u *user) listed(t *testing.T, name *string, filter *types.ShardFilter) (ids []string) {
	t.Helper()
	for _, sh := range must(u.ListShards(u.ctx, &kinesis.ListShardsInput{StreamName: name, ShardFilter: filter}))(t).Shards {
		ids = append(ids, strings.TrimLeft(strings.TrimPrefix(*sh.ShardId, "shardId-"), "0")+".")
	}
	return ids
}

func listShards(t *testing.T, u *user) {
	name, arn := u.stream(t, "shards", 2)
	between := time.Now()
	for time.Since(between) < 1100*time.Millisecond { // children are created in a later second than their parents, else in one to come
		u.active(t, name)
	}
	must(u.SplitShard(u.ctx, &kinesis.SplitShardInput{StreamName: name, ShardToSplit: shardID(0), NewStartingHashKey: key(1, 4)}))(t)
	u.active(t, name)
	for _, f := range []struct {
		filter types.ShardFilter
		want   []string
	}{
		{types.ShardFilter{Type: types.ShardFilterTypeAtLatest}, []string{"1.", "2.", "3."}},
		{types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}, []string{".", "1."}},
		{types.ShardFilter{Type: types.ShardFilterTypeFromTrimHorizon}, []string{".", "1.", "2.", "3."}},
		{types.ShardFilter{Type: types.ShardFilterTypeAfterShardId, ShardId: shardID(1)}, []string{"2.", "3."}},
		{types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: new(between.Add(time.Millisecond))}, []string{".", "1."}},
		{types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp, Timestamp: new(between.Add(time.Millisecond))}, []string{".", "1.", "2.", "3."}},
		{types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: new(time.Now())}, []string{"1.", "2.", "3."}},
	} {
		same(t, string(f.filter.Type), u.listed(t, name, &f.filter), f.want)
	}
	var ids []string
	in := &kinesis.ListShardsInput{StreamARN: arn, MaxResults: new(int32(2)), ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}}
	for n := 0; in != nil; n++ {
		page := must(u.ListShards(u.ctx, in))(t)
		equal(t, "shards of a page", len(page.Shards), []int{2, 1}[min(n, 1)])
		for _, sh := range page.Shards {
			ids = append(ids, *sh.ShardId)
		}
		if in = nil; page.NextToken != nil {
			in = &kinesis.ListShardsInput{NextToken: page.NextToken, MaxResults: new(int32(2))} // the filter is in the token
		}
	}
	same(t, "open shards", ids, []string{*shardID(1), *shardID(2), *shardID(3)})
	for _, sh := range must(u.ListShards(u.ctx, &kinesis.ListShardsInput{StreamName: name, ExclusiveStartShardId: shardID(1)}))(t).Shards {
		equal(t, "parent", aws.ToString(sh.ParentShardId), *shardID(0))
	}

	_, err := u.ListShards(u.ctx, &kinesis.ListShardsInput{})
	refused[wrong](t, err, "Either NextToken or StreamName should be provided.")
	_, err = u.ListShards(u.ctx, &kinesis.ListShardsInput{StreamName: name, NextToken: new("x")})
	refused[wrong](t, err, "NextToken and StreamName cannot be provided together.")
	_, err = u.ListShards(u.ctx, &kinesis.ListShardsInput{StreamName: name, ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp}})
	refused[wrong](t, err, "Timestamp")
	_, err = u.ListShards(u.ctx, &kinesis.ListShardsInput{StreamName: nobody})
	refused[notFound](t, err, nobodyText)
}

func splitShard(t *testing.T, u *user) {
	name, arn := u.stream(t, "split", 1)
	put := must(u.PutRecord(u.ctx, &kinesis.PutRecordInput{StreamName: name, PartitionKey: new("k"), Data: []byte("parent")}))(t)
	must(u.SplitShard(u.ctx, &kinesis.SplitShardInput{StreamARN: arn, ShardToSplit: shardID(0), NewStartingHashKey: key(1, 2)}))(t)
	u.active(t, name)
	shards := must(u.ListShards(u.ctx, &kinesis.ListShardsInput{StreamName: name}))(t).Shards
	equal(t, "shards", len(shards), 3)
	parent, lower, upper := shards[0], shards[1], shards[2]
	if parent.SequenceNumberRange.EndingSequenceNumber == nil || *parent.SequenceNumberRange.EndingSequenceNumber < *put.SequenceNumber ||
		*lower.SequenceNumberRange.StartingSequenceNumber <= *put.SequenceNumber {
		t.Errorf("the parent ends at %v, a child begins at %v; a record of the parent is %v", aws.ToString(parent.SequenceNumberRange.EndingSequenceNumber),
			*lower.SequenceNumberRange.StartingSequenceNumber, *put.SequenceNumber)
	}
	end := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 127), big.NewInt(1)).String()
	equal(t, "end of the lower child", *lower.HashKeyRange.EndingHashKey, end)
	equal(t, "start of the upper child", *upper.HashKeyRange.StartingHashKey, *key(1, 2))

	split := func(name, shard, at *string) error {
		_, err := u.SplitShard(u.ctx, &kinesis.SplitShardInput{StreamName: name, ShardToSplit: shard, NewStartingHashKey: at})
		return err
	}
	refused[wrong](t, split(name, shardID(1), new("1")), "NewStartingHashKey 1 used in SplitShard() on shard shardId-000000000001 in stream split under account "+
		"000000000000 is not both greater than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey "+end+".")
	refused[wrong](t, split(name, shardID(0), key(1, 4)), "shardId-000000000000")
	refused[notFound](t, split(name, shardID(9), key(1, 4)), "Shard shardId-000000000009 in stream split under account 000000000000 does not exist")
	refused[notFound](t, split(name, new("shard"), key(1, 4)), "Could not find shard shard in stream split under account 000000000000.")
	refused[notFound](t, split(nobody, shardID(0), key(1, 4)), nobodyText)
}

func mergeShards(t *testing.T, u *user) {
	name, arn := u.stream(t, "merge", 3)
	must(u.MergeShards(u.ctx, &kinesis.MergeShardsInput{StreamARN: arn, ShardToMerge: shardID(1), AdjacentShardToMerge: shardID(2)}))(t)
	u.active(t, name)
	merged := must(u.ListShards(u.ctx, &kinesis.ListShardsInput{StreamName: name, ExclusiveStartShardId: shardID(2)}))(t).Shards
	equal(t, "children", len(merged), 1)
	equal(t, "parent", *merged[0].ParentShardId, *shardID(1))
	equal(t, "adjacent parent", *merged[0].AdjacentParentShardId, *shardID(2))
	merge := func(lower, upper *string) error {
		_, err := u.MergeShards(u.ctx, &kinesis.MergeShardsInput{StreamName: name, ShardToMerge: lower, AdjacentShardToMerge: upper})
		return err
	}
	refused[wrong](t, merge(shardID(3), shardID(0)), "Shards shardId-000000000003 and shardId-000000000000 in stream merge under account 000000000000 "+
		"are not an adjacent pair of shards eligible for merging")
	refused[notFound](t, merge(shardID(0), shardID(7)), "does not exist")
}

func updateShardCount(t *testing.T, u *user) {
	name, arn := u.stream(t, "count", 3)
	scale := func(to int32) (*kinesis.UpdateShardCountOutput, error) {
		return u.UpdateShardCount(u.ctx, &kinesis.UpdateShardCountInput{StreamARN: arn, TargetShardCount: &to, ScalingType: types.ScalingTypeUniformScaling})
	}
	got := must(scale(5))(t)
	equal(t, "before", *got.CurrentShardCount, 3)
	equal(t, "after", *got.TargetShardCount, 5)
	equal(t, "name", *got.StreamName, *name)
	equal(t, "open shards", *u.active(t, name).OpenShardCount, 5)
	must(scale(3))(t)
	equal(t, "open shards", *u.active(t, name).OpenShardCount, 3)
	_, err := scale(7)
	refused[tooMuch](t, err, "UpdateShardCount cannot scale up over double your current open shard count.")
	_, err = scale(1)
	refused[tooMuch](t, err, "UpdateShardCount cannot scale down below half your current open shard count.")
	_, err = scale(3)
	refused[wrong](t, err, "")
}

func increaseStreamRetentionPeriod(t *testing.T, u *user) {
	name, arn := u.stream(t, "longer", 1)
	increase := func(hours int32) error {
		_, err := u.IncreaseStreamRetentionPeriod(u.ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamARN: arn, RetentionPeriodHours: &hours})
		return err
	}
	for _, hours := range []int32{24, 48, 48, 8760} {
		if err := increase(hours); err != nil {
			t.Error(err)
		}
		equal(t, "hours", *u.active(t, name).RetentionPeriodHours, hours)
	}
	refused[wrong](t, increase(24), "Requested retention period (24 hours) for stream longer can not be shorter than existing retention period (8760 hours). "+
		"Use DecreaseRetentionPeriod API.")
	refused[wrong](t, increase(8761), "Maximum allowed retention period is 8760 hours. Requested retention period (8761 hours) is too long.")
}

func decreaseStreamRetentionPeriod(t *testing.T, u *user) {
	name, arn := u.stream(t, "shorter", 1)
	must(u.IncreaseStreamRetentionPeriod(u.ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: new(int32(72))}))(t)
	decrease := func(hours int32) error {
		_, err := u.DecreaseStreamRetentionPeriod(u.ctx, &kinesis.DecreaseStreamRetentionPeriodInput{StreamARN: arn, RetentionPeriodHours: &hours})
		return err
	}
	if err := decrease(25); err != nil {
		t.Error(err)
	}
	equal(t, "hours", *u.active(t, name).RetentionPeriodHours, 25)
	refused[wrong](t, decrease(23), "Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is too short.")
	refused[wrong](t, decrease(26), "Requested retention period (26 hours) for stream shorter can not be longer than existing retention period (25 hours). "+
		"Use IncreaseRetentionPeriod API.")
}

func updateStreamMode(t *testing.T, u *user) {
	name, arn := u.stream(t, "mode", 2)
	to := func(arn *string, mode types.StreamMode) error {
		_, err := u.UpdateStreamMode(u.ctx, &kinesis.UpdateStreamModeInput{StreamARN: arn, StreamModeDetails: &types.StreamModeDetails{StreamMode: mode}})
		return err
	}
	for _, mode := range []types.StreamMode{types.StreamModeOnDemand, types.StreamModeOnDemand, types.StreamModeProvisioned} {
		if err := to(arn, mode); err != nil {
			t.Fatal(err)
		}
		equal(t, "mode", u.active(t, name).StreamModeDetails.StreamMode, mode)
		if mode == types.StreamModeOnDemand {
			_, err := u.SplitShard(u.ctx, &kinesis.SplitShardInput{StreamName: name, ShardToSplit: shardID(0), NewStartingHashKey: key(1, 4)})
			refused[invalid](t, err, "is in On-Demand mode")
		}
	}
	refused[notFound](t, to(nobodyARN, types.StreamModeOnDemand), nobodyText)
	refusedBy(t, to(arn, "SOMETIMES"), "ValidationException", "Member must satisfy enum value set: [PROVISIONED, ON_DEMAND]")
}

func updateStreamWarmThroughput(t *testing.T, u *user) {
	name, arn := u.stream(t, "warm", 1)
	_, err := u.UpdateStreamWarmThroughput(u.ctx, &kinesis.UpdateStreamWarmThroughputInput{StreamName: name, WarmThroughputMiBps: new(int32(1))})
	refused[invalid](t, err, "is in Provisioned mode")
	must(u.UpdateStreamMode(u.ctx, &kinesis.UpdateStreamModeInput{StreamARN: arn, StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}}))(t)
	u.active(t, name)
	_, err = u.UpdateStreamWarmThroughput(u.ctx, &kinesis.UpdateStreamWarmThroughputInput{StreamARN: arn, WarmThroughputMiBps: new(int32(1))})
	refused[invalid](t, err, "commitment")
}

func describeAccountSettings(t *testing.T, u *user) {
	got := must(u.DescribeAccountSettings(u.ctx, &kinesis.DescribeAccountSettingsInput{}))(t)
	equal(t, "commitment", got.MinimumThroughputBillingCommitment.Status, types.MinimumThroughputBillingCommitmentOutputStatusDisabled)
}

func updateAccountSettings(t *testing.T, u *user) {
	set := func(status types.MinimumThroughputBillingCommitmentInputStatus) (*kinesis.UpdateAccountSettingsOutput, error) {
		return u.UpdateAccountSettings(u.ctx, &kinesis.UpdateAccountSettingsInput{
			MinimumThroughputBillingCommitment: &types.MinimumThroughputBillingCommitmentInput{Status: status}})
	}
	got := must(set(types.MinimumThroughputBillingCommitmentInputStatusDisabled))(t)
	equal(t, "commitment", got.MinimumThroughputBillingCommitment.Status, types.MinimumThroughputBillingCommitmentOutputStatusDisabled)
	_, err := set(types.MinimumThroughputBillingCommitmentInputStatusEnabled)
	refused[invalid](t, err, "commitment")
}

func enableEnhancedMonitoring(t *testing.T, u *user) {
	name, _ := u.stream(t, "monitored", 1)
	enable := func(names ...types.MetricsName) (*kinesis.EnableEnhancedMonitoringOutput, error) {
		return u.EnableEnhancedMonitoring(u.ctx, &kinesis.EnableEnhancedMonitoringInput{StreamName: name, ShardLevelMetrics: names})
	}
	got := must(enable(types.MetricsNameIncomingBytes))(t)
	same(t, "before", got.CurrentShardLevelMetrics, nil)
	same(t, "after", got.DesiredShardLevelMetrics, []types.MetricsName{types.MetricsNameIncomingBytes})
	got = must(enable(types.MetricsNameAll))(t)
	equal(t, "after ALL", len(got.DesiredShardLevelMetrics), 7)
	equal(t, "described", len(u.active(t, name).EnhancedMonitoring[0].ShardLevelMetrics), 7)
	_, err := enable("Everything")
	refusedBy(t, err, "ValidationException", "shardLevelMetrics")
}

func disableEnhancedMonitoring(t *testing.T, u *user) {
	name, arn := u.stream(t, "unmonitored", 1)
	must(u.EnableEnhancedMonitoring(u.ctx, &kinesis.EnableEnhancedMonitoringInput{StreamName: name,
		ShardLevelMetrics: []types.MetricsName{types.MetricsNameOutgoingRecords, types.MetricsNameIteratorAgeMilliseconds}}))(t)
	disable := func(name types.MetricsName) []types.MetricsName {
		return must(u.DisableEnhancedMonitoring(u.ctx, &kinesis.DisableEnhancedMonitoringInput{StreamARN: arn, ShardLevelMetrics: []types.MetricsName{name}}))(t).DesiredShardLevelMetrics
	}
	same(t, "after", disable(types.MetricsNameOutgoingRecords), []types.MetricsName{types.MetricsNameIteratorAgeMilliseconds})
	same(t, "after ALL", disable(types.MetricsNameAll), nil)
	_, err := u.DisableEnhancedMonitoring(u.ctx, &kinesis.DisableEnhancedMonitoringInput{StreamName: nobody, ShardLevelMetrics: []types.MetricsName{"ALL"}})
	refused[notFound](t, err, nobodyText)
}
