package sdk

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/e2e/node"
)

// The calls of well-known programs, in their order and with the members that they send together.

// Terraform's resources of a stream, its consumer, its policy and the account: made, changed in every attribute, removed.
func TestTerraformsCalls(t *testing.T) {
	u := userOf(t, up(t, node.Options{}))
	name := new("planned")
	limits := must(u.DescribeLimits(u.ctx, &kinesis.DescribeLimitsInput{}))(t)
	if *limits.OpenShardCount+2 > *limits.ShardLimit {
		t.Errorf("the plan would be refused: %+v", limits)
	}
	must(u.CreateStream(u.ctx, &kinesis.CreateStreamInput{StreamName: name, ShardCount: new(int32(2)), MaxRecordSizeInKiB: new(int32(1024)),
		Tags: map[string]string{"Name": "planned"}}))(t)
	arn := u.active(t, name).StreamARN
	keep := func(hours int32) {
		must(u.IncreaseStreamRetentionPeriod(u.ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: &hours}))(t)
		equal(t, "hours", *u.active(t, name).RetentionPeriodHours, hours)
	}
	seal := func(keyID string) {
		must(u.StartStreamEncryption(u.ctx, &kinesis.StartStreamEncryptionInput{StreamName: name, EncryptionType: types.EncryptionTypeKms, KeyId: &keyID}))(t)
		equal(t, "key", aws.ToString(u.active(t, name).KeyId), keyID) // else every plan would show a change
	}
	monitor := func(names ...types.MetricsName) {
		must(u.EnableEnhancedMonitoring(u.ctx, &kinesis.EnableEnhancedMonitoringInput{StreamName: name, ShardLevelMetrics: names}))(t)
		u.active(t, name)
	}
	keep(24) // right after the creation, which made it 24
	monitor(types.MetricsNameIncomingBytes, types.MetricsNameOutgoingBytes)
	seal("alias/aws/kinesis")

	mode := func(to types.StreamMode) {
		must(u.UpdateStreamMode(u.ctx, &kinesis.UpdateStreamModeInput{StreamARN: arn, StreamModeDetails: &types.StreamModeDetails{StreamMode: to}}))(t)
		equal(t, "mode", u.active(t, name).StreamModeDetails.StreamMode, to)
	}
	mode(types.StreamModeOnDemand)
	mode(types.StreamModeProvisioned)
	must(u.UpdateShardCount(u.ctx, &kinesis.UpdateShardCountInput{StreamName: name, TargetShardCount: new(int32(3)), ScalingType: types.ScalingTypeUniformScaling}))(t)
	equal(t, "shards", *u.active(t, name).OpenShardCount, 3)
	keep(48)
	must(u.DecreaseStreamRetentionPeriod(u.ctx, &kinesis.DecreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: new(int32(24))}))(t)
	equal(t, "hours", *u.active(t, name).RetentionPeriodHours, 24)
	must(u.DisableEnhancedMonitoring(u.ctx, &kinesis.DisableEnhancedMonitoringInput{StreamName: name,
		ShardLevelMetrics: []types.MetricsName{types.MetricsNameOutgoingBytes}}))(t)
	monitor(types.MetricsNameIteratorAgeMilliseconds)
	same(t, "metrics", u.active(t, name).EnhancedMonitoring[0].ShardLevelMetrics, []types.MetricsName{types.MetricsNameIncomingBytes, types.MetricsNameIteratorAgeMilliseconds})
	seal("alias/another")
	must(u.StopStreamEncryption(u.ctx, &kinesis.StopStreamEncryptionInput{StreamName: name, EncryptionType: types.EncryptionTypeKms, KeyId: new("alias/another")}))(t)
	equal(t, "encryption", u.active(t, name).EncryptionType, types.EncryptionTypeNone)
	must(u.UpdateMaxRecordSize(u.ctx, &kinesis.UpdateMaxRecordSizeInput{StreamARN: arn, MaxRecordSizeInKiB: new(int32(2048))}))(t)
	equal(t, "record size", *u.active(t, name).MaxRecordSizeInKiB, 2048)
	must(u.RemoveTagsFromStream(u.ctx, &kinesis.RemoveTagsFromStreamInput{StreamName: name, TagKeys: []string{"Name"}}))(t)
	must(u.AddTagsToStream(u.ctx, &kinesis.AddTagsToStreamInput{StreamName: name, Tags: map[string]string{"Stage": "test"}}))(t)
	same(t, "tags", pairs(must(u.ListTagsForStream(u.ctx, &kinesis.ListTagsForStreamInput{StreamName: name}))(t).Tags), []string{"Stage=test"})

	consumer := u.register(t, arn, "reader").ConsumerARN
	must(u.PutResourcePolicy(u.ctx, &kinesis.PutResourcePolicyInput{ResourceARN: consumer, Policy: new(policyText)}))(t)
	equal(t, "policy", *must(u.GetResourcePolicy(u.ctx, &kinesis.GetResourcePolicyInput{ResourceARN: consumer}))(t).Policy, policyText)
	must(u.DeleteResourcePolicy(u.ctx, &kinesis.DeleteResourcePolicyInput{ResourceARN: consumer}))(t)
	must(u.DeregisterStreamConsumer(u.ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: consumer}))(t)
	_, err := u.DescribeStreamConsumer(u.ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: consumer})
	refused[notFound](t, err, "")
	must(u.UpdateAccountSettings(u.ctx, &kinesis.UpdateAccountSettingsInput{MinimumThroughputBillingCommitment: &types.MinimumThroughputBillingCommitmentInput{
		Status: types.MinimumThroughputBillingCommitmentInputStatusDisabled}}))(t)

	must(u.DeleteStream(u.ctx, &kinesis.DeleteStreamInput{StreamName: name, EnforceConsumerDeletion: new(false)}))(t)
	_, err = u.DescribeStreamSummary(u.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: name})
	refused[notFound](t, err, "Stream planned under account 000000000000 not found.")
}

// The Kinesis Producer Library learns the shards page by page, predicts which one each record will land in, and sends name,
// ARN and id of the stream together. It is replayed by hand: this SDK turns an id into the address of a machine of AWS.
func TestProducerLibrarysCalls(t *testing.T) {
	n := up(t, node.Options{})
	u := userOf(t, n)
	name, arn := u.stream(t, "produced", 3)
	must(u.SplitShard(u.ctx, &kinesis.SplitShardInput{StreamName: name, ShardToSplit: shardID(1), NewStartingHashKey: key(1, 2)}))(t)
	u.active(t, name)
	addressed := func(more string) string {
		return `{"StreamName":"produced","StreamARN":"` + *arn + `","StreamId":"abcdefghij0123456789-abc"` + more + `}`
	}
	u.raw(t, n, "DescribeStreamSummary", addressed(""), &struct{}{})
	type hashes struct{ StartingHashKey, EndingHashKey string }
	shards := map[string]hashes{}
	for in := addressed(`,"MaxResults":2,"ShardFilter":{"Type":"AT_LATEST"}`); in != ""; {
		var page struct {
			NextToken string
			Shards    []struct {
				ShardId      string
				HashKeyRange hashes
			}
		}
		u.raw(t, n, "ListShards", in, &page)
		for _, sh := range page.Shards {
			shards[sh.ShardId] = sh.HashKeyRange
		}
		if in = ""; page.NextToken != "" {
			in = `{"NextToken":"` + page.NextToken + `"}`
		}
	}
	equal(t, "open shards", len(shards), 4)
	var entries []string
	data := base64.StdEncoding.EncodeToString(aggregated)
	for i := range 100 {
		entries = append(entries, fmt.Sprintf(`{"PartitionKey":"a%d","Data":"%s"}`, i, data))
	}
	var out struct{ Records []struct{ ShardId string } }
	u.raw(t, n, "PutRecords", addressed(`,"Records":[`+strings.Join(entries, ",")+`]`), &out)
	for i, r := range out.Records {
		sum := md5.Sum(fmt.Append(nil, "a", i))
		hash := new(big.Int).SetBytes(sum[:])
		low, _ := new(big.Int).SetString(shards[r.ShardId].StartingHashKey, 10)
		high, _ := new(big.Int).SetString(shards[r.ShardId].EndingHashKey, 10)
		if hash.Cmp(low) < 0 || hash.Cmp(high) > 0 {
			t.Errorf("a%d, whose hash is %v, landed in %s, which is %v", i, hash, r.ShardId, shards[r.ShardId])
		}
	}
	equal(t, "records", len(out.Records), 100)
	got := u.read(t, fromStart(name, &out.Records[0].ShardId)).Records
	if len(got) == 0 || !bytes.Equal(got[0].Data, aggregated) {
		t.Error("an aggregate did not come back as it was put")
	}
}

// raw calls an operation without an SDK.
func (u *user) raw(t *testing.T, n *node.Node, operation, body string, out any) {
	t.Helper()
	req := must(http.NewRequestWithContext(u.ctx, http.MethodPost, n.AWS+"/", strings.NewReader(body)))(t)
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	resp := must(http.DefaultClient.Do(req))(t)
	defer resp.Body.Close()
	answer := must(io.ReadAll(resp.Body))(t)
	if err := json.Unmarshal(answer, out); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s, %v", operation, resp.Status, answer, err)
	}
}

// aggregated begins as the Producer Library's aggregates do.
var aggregated = append([]byte{0xf3, 0x89, 0x9a, 0xc2}, "\x0a\x01k\x1a\x05\x08\x00\x1a\x01x0123456789abcdef"...)

// Flink's source names the stream by its ARN in every call, and comes back with what an event or a record told it.
func TestFlinksCalls(t *testing.T) {
	u := userOf(t, up(t, node.Options{}))
	name, arn := u.stream(t, "flink", 1)
	numbers := u.put(t, name, "a", "b", "c")
	began := must(u.DescribeStreamSummary(u.ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: arn}))(t).StreamDescriptionSummary
	for _, filter := range []*types.ShardFilter{
		{Type: types.ShardFilterTypeAtLatest}, {Type: types.ShardFilterTypeAtTrimHorizon},
		{Type: types.ShardFilterTypeAtTimestamp, Timestamp: began.StreamCreationTimestamp},
		{Type: types.ShardFilterTypeFromTimestamp, Timestamp: new(time.Now())},
	} {
		page := must(u.ListShards(u.ctx, &kinesis.ListShardsInput{StreamARN: arn, ShardFilter: filter}))(t)
		equal(t, string(filter.Type), len(page.Shards), 1)
	}
	after := must(u.ListShards(u.ctx, &kinesis.ListShardsInput{StreamARN: arn, ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAfterShardId, ShardId: shardID(0)}}))(t)
	equal(t, "shards after the last", len(after.Shards), 0)
	it := must(u.GetShardIterator(u.ctx, &kinesis.GetShardIteratorInput{StreamARN: arn, ShardId: shardID(0),
		ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: &numbers[0]}))(t).ShardIterator
	got := must(u.GetRecords(u.ctx, &kinesis.GetRecordsInput{StreamARN: arn, ShardIterator: it, Limit: new(int32(10000))}))(t)
	same(t, "records", texts(got.Records), []string{"b", "c"})

	_, err := u.DescribeStreamConsumer(u.ctx, &kinesis.DescribeStreamConsumerInput{StreamARN: arn, ConsumerName: new("job")})
	refused[notFound](t, err, "job")
	consumer := u.register(t, arn, "job").ConsumerARN
	events := u.subscribe(t, consumer, shardID(0), types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: &numbers[1]})
	same(t, "pushed", texts(u.next(t, events).Records), []string{"c"})
	must(u.DeregisterStreamConsumer(u.ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: consumer}))(t)
}

// Fluent Bit writes its JSON by hand, Data first, and looks for texts in the answer.
func TestFluentBitsCall(t *testing.T) {
	n := up(t, node.Options{})
	u := userOf(t, n)
	name, _ := u.stream(t, "bits", 1)
	data := base64.StdEncoding.EncodeToString([]byte(`{"log":"line"}` + "\n"))
	body := `{"StreamName":"bits","Records":[{"Data":"` + data + `","PartitionKey":"Xyz12345"},{"Data":"` + data + `","PartitionKey":"Xyz12346"}]}`
	var out struct {
		FailedRecordCount *int
		Records           []map[string]any
	}
	u.raw(t, n, "PutRecords", body, &out)
	if out.FailedRecordCount == nil || *out.FailedRecordCount != 0 || len(out.Records) != 2 {
		t.Fatalf("%+v", out)
	}
	for _, r := range out.Records {
		if len(r) != 2 || r["SequenceNumber"] == "" || r["ShardId"] != *shardID(0) {
			t.Errorf("an entry is %v", r)
		}
	}
	same(t, "records", texts(u.read(t, fromStart(name, shardID(0))).Records), []string{`{"log":"line"}` + "\n", `{"log":"line"}` + "\n"})
}
