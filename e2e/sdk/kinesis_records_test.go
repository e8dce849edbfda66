package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// put puts records into a stream, and gives their numbers.
func (u *user) put(t *testing.T, name *string, data ...string) (numbers []string) {
	t.Helper()
	for _, text := range data {
		out := must(u.PutRecord(u.ctx, &kinesis.PutRecordInput{StreamName: name, PartitionKey: new("k"), Data: []byte(text)}))(t)
		numbers = append(numbers, *out.SequenceNumber)
	}
	return numbers
}

// read reads a shard on from a place, one answer.
func (u *user) read(t *testing.T, from *kinesis.GetShardIteratorInput) *kinesis.GetRecordsOutput {
	t.Helper()
	it := must(u.GetShardIterator(u.ctx, from))(t)
	return must(u.GetRecords(u.ctx, &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator}))(t)
}

// fromStart is the beginning of a shard.
func fromStart(name, shard *string) *kinesis.GetShardIteratorInput {
	return &kinesis.GetShardIteratorInput{StreamName: name, ShardId: shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon}
}

func texts(records []types.Record) (all []string) {
	for _, r := range records {
		all = append(all, string(r.Data))
	}
	return all
}

func putRecord(t *testing.T, u *user) {
	name, arn := u.stream(t, "put", 2)
	for shard, hash := range []*string{new("0"), new("340282366920938463463374607431768211455")} {
		out := must(u.PutRecord(u.ctx, &kinesis.PutRecordInput{StreamARN: arn, PartitionKey: new("k"), ExplicitHashKey: hash, Data: []byte{}}))(t)
		equal(t, "shard", *out.ShardId, *shardID(shard))
		equal(t, "encryption", out.EncryptionType, "")
		again := must(u.PutRecord(u.ctx, &kinesis.PutRecordInput{StreamARN: arn, PartitionKey: new("schlüssel"), ExplicitHashKey: hash,
			SequenceNumberForOrdering: out.SequenceNumber, Data: []byte{0, 255, 10}}))(t)
		if *again.SequenceNumber <= *out.SequenceNumber {
			t.Errorf("%s comes after %s", *again.SequenceNumber, *out.SequenceNumber)
		}
		got := u.read(t, fromStart(name, shardID(shard))).Records
		equal(t, "records", len(got), 2)
		equal(t, "data", string(got[0].Data)+string(got[1].Data), "\x00\xff\n")
		equal(t, "key", *got[1].PartitionKey, "schlüssel")
		equal(t, "number", *got[1].SequenceNumber, *again.SequenceNumber)
	}
	put := func(in kinesis.PutRecordInput) error {
		if in.StreamName == nil {
			in.StreamName = name
		}
		in.Data = append(in.Data, 'x')
		_, err := u.PutRecord(u.ctx, &in)
		return err
	}
	refused[notFound](t, put(kinesis.PutRecordInput{StreamName: nobody, PartitionKey: new("k")}), nobodyText)
	refused[wrong](t, put(kinesis.PutRecordInput{PartitionKey: new("k"), ExplicitHashKey: new("340282366920938463463374607431768211456")}),
		"Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was 340282366920938463463374607431768211456")
	refused[wrong](t, put(kinesis.PutRecordInput{PartitionKey: new("k"), SequenceNumberForOrdering: new("5")}),
		"ExclusiveMinimumSequenceNumber 5 used in PutRecord on stream put under account 000000000000 is invalid.")
	refusedBy(t, put(kinesis.PutRecordInput{PartitionKey: new(strings.Repeat("k", 257))}), "ValidationException", "Member must have length less than or equal to 256")
	refusedBy(t, put(kinesis.PutRecordInput{PartitionKey: new("k"), Data: make([]byte, 1<<20)}), "ValidationException",
		"at 'data' failed to satisfy constraint: Member must have length less than or equal to 1048576")
}

func putRecords(t *testing.T, u *user) {
	name, arn := u.stream(t, "batch", 2)
	entries := make([]types.PutRecordsRequestEntry, 500)
	for i := range entries {
		entries[i] = types.PutRecordsRequestEntry{PartitionKey: new(fmt.Sprint("k", i)), Data: fmt.Append(nil, "r", i)}
	}
	put := func(arn *string, entries []types.PutRecordsRequestEntry) (*kinesis.PutRecordsOutput, error) {
		return u.PutRecords(u.ctx, &kinesis.PutRecordsInput{StreamARN: arn, Records: entries})
	}
	out := must(put(arn, entries))(t)
	equal(t, "failed", *out.FailedRecordCount, 0)
	want := map[string][]string{}
	for i, r := range out.Records {
		if r.ErrorCode != nil {
			t.Errorf("entry %d: %s", i, *r.ErrorCode)
			continue
		}
		want[*r.ShardId] = append(want[*r.ShardId], *r.SequenceNumber+string(entries[i].Data))
	}
	equal(t, "shards", len(want), 2)
	for shard, records := range want {
		var got []string
		for _, r := range u.read(t, fromStart(name, &shard)).Records {
			got = append(got, *r.SequenceNumber+string(r.Data))
		}
		same(t, shard, got, records)
		if !slices.IsSorted(got) {
			t.Errorf("numbers of %s do not rise", shard)
		}
	}

	_, err := put(nobodyARN, entries[:1])
	refused[notFound](t, err, nobodyText)
	_, err = put(arn, append(entries, entries[0]))
	refusedBy(t, err, "ValidationException", "at 'records' failed to satisfy constraint: Member must have length less than or equal to 500")
	_, err = put(arn, nil)
	if err == nil {
		t.Error("a batch of nothing was taken")
	}
	_, err = put(arn, []types.PutRecordsRequestEntry{{PartitionKey: new("k"), Data: []byte("good")},
		{PartitionKey: new("k"), Data: []byte("bad"), ExplicitHashKey: new("340282366920938463463374607431768211456")}})
	refused[wrong](t, err, "Invalid ExplicitHashKey.")
	large := make([]types.PutRecordsRequestEntry, 11)
	for i := range large {
		large[i] = types.PutRecordsRequestEntry{PartitionKey: new("k"), Data: make([]byte, 1<<20)}
	}
	_, err = put(arn, large)
	refused[wrong](t, err, "Records size exceeds 10 MB limit")
	total := 0
	for shard := range want {
		total += len(u.read(t, fromStart(name, &shard)).Records)
	}
	equal(t, "records, after batches that were refused", total, 500)
}

func updateMaxRecordSize(t *testing.T, u *user) {
	name, arn := u.stream(t, "size", 1)
	put := func(size int) error {
		_, err := u.PutRecord(u.ctx, &kinesis.PutRecordInput{StreamName: name, PartitionKey: new("k"), Data: pattern(size + 16)[:size]})
		return err
	}
	resize := func(kib int32) error {
		_, err := u.UpdateMaxRecordSize(u.ctx, &kinesis.UpdateMaxRecordSizeInput{StreamARN: arn, MaxRecordSizeInKiB: &kib})
		return err
	}
	refusedBy(t, put(1<<20+1), "ValidationException", "Member must have length less than or equal to 1048576")
	if err := resize(10240); err != nil {
		t.Fatal(err)
	}
	equal(t, "record size", *u.active(t, name).MaxRecordSizeInKiB, 10240)
	if err := put(10 << 20); err != nil {
		t.Fatal(err)
	}
	refusedBy(t, put(10<<20+1), "ValidationException", "Member must have length less than or equal to 10485760")
	u.put(t, name, "small")
	first := u.read(t, fromStart(name, shardID(0)))
	equal(t, "records of the first answer", len(first.Records), 1)
	if !bytes.Equal(first.Records[0].Data, pattern(10<<20)) {
		t.Error("a record of 10 MiB did not come back as it was put")
	}
	if *first.MillisBehindLatest <= 0 {
		t.Errorf("%d ms behind, with a record unread", *first.MillisBehindLatest)
	}
	second := must(u.GetRecords(u.ctx, &kinesis.GetRecordsInput{ShardIterator: first.NextShardIterator}))(t)
	same(t, "the rest", texts(second.Records), []string{"small"})
	refused[invalid](t, resize(10241), "Member must have value less than or equal to 10240")
	refused[invalid](t, resize(1023), "Member must have value greater than or equal to 1024")
}

func getRecords(t *testing.T, u *user) {
	name, arn := u.stream(t, "get", 1)
	numbers := u.put(t, name, "a", "b", "c")
	it := must(u.GetShardIterator(u.ctx, fromStart(name, shardID(0))))(t).ShardIterator
	get := func(it *string, limit int32) *kinesis.GetRecordsOutput {
		return must(u.GetRecords(u.ctx, &kinesis.GetRecordsInput{ShardIterator: it, Limit: &limit, StreamARN: arn}))(t)
	}
	first := get(it, 2)
	same(t, "two records", texts(first.Records), []string{"a", "b"})
	equal(t, "number", *first.Records[1].SequenceNumber, numbers[1])
	equal(t, "encryption", first.Records[0].EncryptionType, "")
	if age := time.Since(*first.Records[0].ApproximateArrivalTimestamp); age < 0 || age > 2*patience {
		t.Errorf("a record came %v ago", age)
	}
	rest := get(first.NextShardIterator, 10000)
	same(t, "the rest", texts(rest.Records), []string{"c"})
	equal(t, "behind at the tip", *rest.MillisBehindLatest, 0)
	same(t, "children of an open shard", childrenOf(rest.ChildShards), nil)
	tip := get(rest.NextShardIterator, 1)
	same(t, "nothing new", texts(tip.Records), nil)
	if *tip.NextShardIterator == *rest.NextShardIterator {
		t.Error("an iterator came back as it was")
	}
	u.put(t, name, "d")
	same(t, "what is new", texts(get(tip.NextShardIterator, 1).Records), []string{"d"})
	same(t, "an iterator used again", texts(get(it, 2).Records), []string{"a", "b"})
	same(t, "an iterator in quotes", texts(get(new(`"`+*it+`"`), 1).Records), []string{"a"})

	_, err := u.GetRecords(u.ctx, &kinesis.GetRecordsInput{ShardIterator: it, Limit: new(int32(10001))})
	refusedBy(t, err, "ValidationException", "Member must have value less than or equal to 10000")
	forged := []byte(*it)
	forged[100] ^= 1 // A and B, b and c, 0 and 1: another letter of base64, or none
	_, err = u.GetRecords(u.ctx, &kinesis.GetRecordsInput{ShardIterator: new(string(forged))})
	refused[wrong](t, err, "Invalid ShardIterator.")
	_, err = u.GetRecords(u.ctx, &kinesis.GetRecordsInput{ShardIterator: it, StreamARN: nobodyARN})
	if err == nil {
		t.Error("an iterator was taken for another stream")
	}

	must(u.SplitShard(u.ctx, &kinesis.SplitShardInput{StreamName: name, ShardToSplit: shardID(0), NewStartingHashKey: key(1, 2)}))(t)
	u.active(t, name)
	end := get(it, 10000)
	for len(end.Records) > 0 && end.NextShardIterator != nil {
		end = get(end.NextShardIterator, 10000)
	}
	same(t, "children", childrenOf(end.ChildShards), []string{*shardID(1), *shardID(2)})
	same(t, "parents", end.ChildShards[0].ParentShards, []string{*shardID(0)})
	if end.NextShardIterator != nil {
		t.Error("a closed shard has a next iterator at its end")
	}
}

func childrenOf(shards []types.ChildShard) (ids []string) {
	for _, sh := range shards {
		ids = append(ids, *sh.ShardId)
	}
	return ids
}

func getShardIterator(t *testing.T, u *user) {
	name, arn := u.stream(t, "iterators", 2)
	put := func(text string) (number *string, arrival time.Time) {
		out := must(u.PutRecord(u.ctx, &kinesis.PutRecordInput{StreamName: name, PartitionKey: new("k"), ExplicitHashKey: new("0"), Data: []byte(text)}))(t)
		got := u.read(t, &kinesis.GetShardIteratorInput{StreamName: name, ShardId: out.ShardId, ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber,
			StartingSequenceNumber: out.SequenceNumber}).Records
		return out.SequenceNumber, *got[0].ApproximateArrivalTimestamp
	}
	first, at1 := put("a")
	second, at2 := put("b")
	for n := 0; !at2.After(at1); n++ { // two records of one millisecond tell nothing
		second, at2 = put(fmt.Sprint("b", n))
	}
	_, _ = put("c")
	f := func(what string, in kinesis.GetShardIteratorInput, want ...string) {
		t.Helper()
		in.StreamARN, in.ShardId = arn, shardID(0)
		got := texts(u.read(t, &in).Records)
		if len(got) > len(want) && len(want) > 0 {
			got = got[:len(want)]
		}
		same(t, what, got, want)
	}
	b := string(must(u.GetRecords(u.ctx, &kinesis.GetRecordsInput{ShardIterator: must(u.GetShardIterator(u.ctx, &kinesis.GetShardIteratorInput{StreamName: name,
		ShardId: shardID(0), ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: second}))(t).ShardIterator}))(t).Records[0].Data)
	f("oldest", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeTrimHorizon}, "a")
	f("at", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: first}, "a")
	f("after", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: second}, "c")
	f("latest", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeLatest})
	f("its millisecond", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: &at2}, b, "c")
	f("a millisecond before", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: new(at1.Add(-time.Millisecond))}, "a")
	f("long ago", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: new(time.Unix(1, 0))}, "a")
	start := must(u.ListShards(u.ctx, &kinesis.ListShardsInput{StreamName: name}))(t).Shards[0].SequenceNumberRange.StartingSequenceNumber
	f("the shard's start", kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: start}, "a")

	get := func(in kinesis.GetShardIteratorInput) error {
		if in.StreamName = name; in.ShardId == nil {
			in.ShardId = shardID(0)
		}
		_, err := u.GetShardIterator(u.ctx, &in)
		return err
	}
	const either = "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. "
	refused[wrong](t, get(kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeLatest, StartingSequenceNumber: first}),
		either+"Request specified LATEST and also a StartingSequenceNumber.")
	refused[wrong](t, get(kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber}),
		either+"Request specified AFTER_SEQUENCE_NUMBER and no StartingSequenceNumber.")
	refused[wrong](t, get(kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: first, ShardId: shardID(1)}),
		"Invalid StartingSequenceNumber. It encodes shardId-000000000000, while it was used in a call to a shard with shardId-000000000001")
	refused[wrong](t, get(kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: new("77")}),
		"StartingSequenceNumber 77 used in GetShardIterator on shard shardId-000000000000 in stream iterators under account 000000000000 is invalid.")
	refused[wrong](t, get(kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp}), "Must specify timestampInMillis parameter")
	refused[wrong](t, get(kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: new(time.Now().Add(time.Hour))}),
		"The timestampInMillis parameter cannot be greater than the currentTimestampInMillis.")
	refused[notFound](t, get(kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeLatest, ShardId: shardID(5)}),
		"Shard shardId-000000000005 in stream iterators under account 000000000000 does not exist")
	refusedBy(t, get(kinesis.GetShardIteratorInput{ShardIteratorType: "NEWEST"}), "ValidationException", "shardIteratorType")
}

func startStreamEncryption(t *testing.T, u *user) {
	name, arn := u.stream(t, "encrypted", 1)
	u.put(t, name, "plain")
	must(u.StartStreamEncryption(u.ctx, &kinesis.StartStreamEncryptionInput{StreamARN: arn, EncryptionType: types.EncryptionTypeKms, KeyId: new("alias/aws/kinesis")}))(t)
	made := u.active(t, name)
	equal(t, "described", string(made.EncryptionType)+" "+aws.ToString(made.KeyId), "KMS alias/aws/kinesis")
	one := must(u.PutRecord(u.ctx, &kinesis.PutRecordInput{StreamName: name, PartitionKey: new("k"), Data: []byte("sealed")}))(t)
	equal(t, "answer of a put", one.EncryptionType, types.EncryptionTypeKms)
	batch := must(u.PutRecords(u.ctx, &kinesis.PutRecordsInput{StreamName: name, Records: []types.PutRecordsRequestEntry{{PartitionKey: new("k"), Data: []byte("too")}}}))(t)
	equal(t, "answer of a batch", batch.EncryptionType, types.EncryptionTypeKms)
	got := u.read(t, fromStart(name, shardID(0))).Records
	same(t, "records", texts(got), []string{"plain", "sealed", "too"})
	equal(t, "types", fmt.Sprint(got[0].EncryptionType, "-", got[1].EncryptionType, "-", got[2].EncryptionType), "-KMS-KMS")
	start := func(name *string, kind types.EncryptionType, key string) error {
		_, err := u.StartStreamEncryption(u.ctx, &kinesis.StartStreamEncryptionInput{StreamName: name, EncryptionType: kind, KeyId: &key})
		return err
	}
	refused[wrong](t, start(name, types.EncryptionTypeNone, "alias/aws/kinesis"), "")
	refused[wrong](t, start(name, types.EncryptionTypeKms, "what key"), "KeyId")
	refused[notFound](t, start(nobody, types.EncryptionTypeKms, "alias/aws/kinesis"), nobodyText)
}

func stopStreamEncryption(t *testing.T, u *user) {
	name, arn := u.stream(t, "decrypted", 1)
	must(u.StartStreamEncryption(u.ctx, &kinesis.StartStreamEncryptionInput{StreamName: name, EncryptionType: types.EncryptionTypeKms, KeyId: new("alias/mine")}))(t)
	u.active(t, name)
	u.put(t, name, "sealed")
	must(u.StopStreamEncryption(u.ctx, &kinesis.StopStreamEncryptionInput{StreamARN: arn, EncryptionType: types.EncryptionTypeKms, KeyId: new("alias/mine")}))(t)
	made := u.active(t, name)
	equal(t, "described", string(made.EncryptionType)+" "+aws.ToString(made.KeyId), "NONE ")
	one := must(u.PutRecord(u.ctx, &kinesis.PutRecordInput{StreamName: name, PartitionKey: new("k"), Data: []byte("plain")}))(t)
	equal(t, "answer of a put", one.EncryptionType, "")
	got := u.read(t, fromStart(name, shardID(0))).Records
	same(t, "records", texts(got), []string{"sealed", "plain"})
	equal(t, "types", fmt.Sprint(got[0].EncryptionType, "-", got[1].EncryptionType), "KMS-")
	_, err := u.StopStreamEncryption(u.ctx, &kinesis.StopStreamEncryptionInput{StreamName: nobody, EncryptionType: types.EncryptionTypeKms, KeyId: new("alias/mine")})
	refused[notFound](t, err, nobodyText)
}

const policyText = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},` +
	`"Action":["kinesis:PutRecord"],"Resource":"*"}]}`

func putResourcePolicy(t *testing.T, u *user) {
	_, arn := u.stream(t, "policed", 1)
	consumer := must(u.RegisterStreamConsumer(u.ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: new("reader")}))(t).Consumer.ConsumerARN
	put := func(arn *string, policy string) error {
		_, err := u.PutResourcePolicy(u.ctx, &kinesis.PutResourcePolicyInput{ResourceARN: arn, Policy: &policy})
		return err
	}
	for _, of := range []*string{arn, consumer} {
		if err := put(of, policyText); err != nil {
			t.Fatal(err)
		}
		equal(t, "policy", *must(u.GetResourcePolicy(u.ctx, &kinesis.GetResourcePolicyInput{ResourceARN: of}))(t).Policy, policyText)
	}
	refused[wrong](t, put(arn, "allow all"), "")
	refused[wrong](t, put(arn, `{"Statement": []}`), "")
	refused[notFound](t, put(nobodyARN, policyText), nobodyText)
}

func getResourcePolicy(t *testing.T, u *user) {
	_, arn := u.stream(t, "unpoliced", 1)
	got := must(u.GetResourcePolicy(u.ctx, &kinesis.GetResourcePolicyInput{ResourceARN: arn}))(t).Policy
	if equal(t, "a policy that there is not", *got, "{}"); !json.Valid([]byte(*got)) {
		t.Errorf("%q is no JSON", *got)
	}
	_, err := u.GetResourcePolicy(u.ctx, &kinesis.GetResourcePolicyInput{ResourceARN: nobodyARN})
	refused[notFound](t, err, nobodyText)
}

func deleteResourcePolicy(t *testing.T, u *user) {
	_, arn := u.stream(t, "pardoned", 1)
	must(u.PutResourcePolicy(u.ctx, &kinesis.PutResourcePolicyInput{ResourceARN: arn, Policy: new(policyText)}))(t)
	must(u.DeleteResourcePolicy(u.ctx, &kinesis.DeleteResourcePolicyInput{ResourceARN: arn}))(t)
	equal(t, "policy", *must(u.GetResourcePolicy(u.ctx, &kinesis.GetResourcePolicyInput{ResourceARN: arn}))(t).Policy, "{}")
	_, err := u.DeleteResourcePolicy(u.ctx, &kinesis.DeleteResourcePolicyInput{ResourceARN: arn})
	refused[notFound](t, err, "")
}
