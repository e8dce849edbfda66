package sdk

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

func pairs(tags []types.Tag) (all []string) {
	for _, tag := range tags {
		all = append(all, *tag.Key+"="+aws.ToString(tag.Value))
	}
	return all
}

// tagsOf lists the tags of a stream or a consumer.
func (u *user) tagsOf(t *testing.T, arn *string) []string {
	t.Helper()
	return pairs(must(u.ListTagsForResource(u.ctx, &kinesis.ListTagsForResourceInput{ResourceARN: arn}))(t).Tags)
}

// register registers a consumer.
func (u *user) register(t *testing.T, arn *string, name string) *types.Consumer {
	t.Helper()
	c := must(u.RegisterStreamConsumer(u.ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: &name}))(t).Consumer
	for {
		got := must(u.DescribeStreamConsumer(u.ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: c.ConsumerARN}))(t).ConsumerDescription
		if got.ConsumerStatus == types.ConsumerStatusActive {
			return c
		}
		if u.ctx.Err() != nil {
			t.Fatalf("%s is %s", name, got.ConsumerStatus)
		}
	}
}

// many gives so many tags.
func many(prefix string, n int) map[string]string {
	tags := map[string]string{}
	for i := range n {
		tags[fmt.Sprintf("%s%02d", prefix, i)] = fmt.Sprint(i)
	}
	return tags
}

func addTagsToStream(t *testing.T, u *user) {
	name, arn := u.stream(t, "tagged", 1)
	add := func(name *string, tags map[string]string) error {
		_, err := u.AddTagsToStream(u.ctx, &kinesis.AddTagsToStreamInput{StreamName: name, Tags: tags})
		return err
	}
	for _, tags := range []map[string]string{{"b": "1", "a": ""}, {"b": "2", "größe": "µ + 1 = @home"}} {
		if err := add(name, tags); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "tags", u.tagsOf(t, arn), []string{"a=", "b=2", "größe=µ + 1 = @home"})
	refused[wrong](t, add(name, map[string]string{"a": "semi;colon"}),
		"Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - % @.")
	refused[wrong](t, add(name, map[string]string{"100%": "x"}), "Failed to add tags to stream tagged under account 000000000000 because some tags contained illegal characters.")
	refused[wrong](t, add(name, many("t", 48)), "Failed to add tags to stream tagged under account 000000000000 because a given stream cannot have more than")
	refused[notFound](t, add(nobody, map[string]string{"a": "b"}), nobodyText)
	refusedBy(t, add(name, map[string]string{strings.Repeat("k", 129): ""}), "ValidationException", "Map keys must satisfy constraint")
	same(t, "tags after refusals", u.tagsOf(t, arn), []string{"a=", "b=2", "größe=µ + 1 = @home"})
}

func removeTagsFromStream(t *testing.T, u *user) {
	name, arn := u.stream(t, "untagged", 1)
	must(u.AddTagsToStream(u.ctx, &kinesis.AddTagsToStreamInput{StreamARN: arn, Tags: map[string]string{"a": "1", "b": "2"}}))(t)
	must(u.RemoveTagsFromStream(u.ctx, &kinesis.RemoveTagsFromStreamInput{StreamName: name, TagKeys: []string{"a", "never there"}}))(t)
	same(t, "tags", u.tagsOf(t, arn), []string{"b=2"})
	_, err := u.RemoveTagsFromStream(u.ctx, &kinesis.RemoveTagsFromStreamInput{StreamName: nobody, TagKeys: []string{"a"}})
	refused[notFound](t, err, nobodyText)
}

func listTagsForStream(t *testing.T, u *user) {
	name, arn := u.stream(t, "tags", 1)
	must(u.TagResource(u.ctx, &kinesis.TagResourceInput{ResourceARN: arn, Tags: many("t", 5)}))(t)
	var got []string
	in := &kinesis.ListTagsForStreamInput{StreamName: name, Limit: new(int32(2))}
	for more := true; more; {
		page := must(u.ListTagsForStream(u.ctx, in))(t)
		got = append(got, pairs(page.Tags)...)
		more = *page.HasMoreTags
		in.ExclusiveStartTagKey = page.Tags[len(page.Tags)-1].Key
	}
	same(t, "tags", got, []string{"t00=0", "t01=1", "t02=2", "t03=3", "t04=4"})
	_, err := u.ListTagsForStream(u.ctx, &kinesis.ListTagsForStreamInput{StreamARN: nobodyARN})
	refused[notFound](t, err, nobodyText)
	_, err = u.ListTagsForStream(u.ctx, &kinesis.ListTagsForStreamInput{StreamName: name, Limit: new(int32(51))})
	refusedBy(t, err, "ValidationException", "Member must have value less than or equal to 50")
}

func tagResource(t *testing.T, u *user) {
	name, arn := u.stream(t, "resource", 1)
	consumer := u.register(t, arn, "reader").ConsumerARN
	tag := func(arn *string, tags map[string]string) error {
		_, err := u.TagResource(u.ctx, &kinesis.TagResourceInput{ResourceARN: arn, Tags: tags})
		return err
	}
	for of, tags := range map[*string]map[string]string{arn: {"of": "stream"}, consumer: {"of": "consumer"}} {
		if err := tag(of, tags); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "the stream's", u.tagsOf(t, arn), []string{"of=stream"})
	same(t, "the consumer's", u.tagsOf(t, consumer), []string{"of=consumer"})
	same(t, "by the other API", pairs(must(u.ListTagsForStream(u.ctx, &kinesis.ListTagsForStreamInput{StreamName: name}))(t).Tags), []string{"of=stream"})
	refused[notFound](t, tag(nobodyARN, map[string]string{"a": "b"}), nobodyText)
	refused[notFound](t, tag(new(*arn+"/consumer/reader:5"), map[string]string{"a": "b"}), "reader:5")
	refused[wrong](t, tag(arn, many("t", 51)), "cannot have more than")
}

func untagResource(t *testing.T, u *user) {
	_, arn := u.stream(t, "unresource", 1)
	consumer := u.register(t, arn, "reader").ConsumerARN
	for _, of := range []*string{arn, consumer} {
		must(u.TagResource(u.ctx, &kinesis.TagResourceInput{ResourceARN: of, Tags: map[string]string{"a": "1", "b": "2"}}))(t)
		must(u.UntagResource(u.ctx, &kinesis.UntagResourceInput{ResourceARN: of, TagKeys: []string{"b", "c"}}))(t)
		same(t, "tags", u.tagsOf(t, of), []string{"a=1"})
	}
	_, err := u.UntagResource(u.ctx, &kinesis.UntagResourceInput{ResourceARN: nobodyARN, TagKeys: []string{"a"}})
	refused[notFound](t, err, nobodyText)
}

func listTagsForResource(t *testing.T, u *user) {
	_, arn := u.stream(t, "resources", 1)
	same(t, "no tags", u.tagsOf(t, arn), nil)
	consumer := must(u.RegisterStreamConsumer(u.ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: new("reader"),
		Tags: map[string]string{"b": "2", "a": "1"}}))(t).Consumer
	same(t, "tags", u.tagsOf(t, consumer.ConsumerARN), []string{"a=1", "b=2"})
	_, err := u.ListTagsForResource(u.ctx, &kinesis.ListTagsForResourceInput{ResourceARN: nobodyARN})
	refused[notFound](t, err, nobodyText)
}

func registerStreamConsumer(t *testing.T, u *user) {
	name, arn := u.stream(t, "register", 1)
	register := func(arn *string, name string) (*kinesis.RegisterStreamConsumerOutput, error) {
		return u.RegisterStreamConsumer(u.ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: &name})
	}
	got := must(register(arn, "c00"))(t).Consumer
	equal(t, "status", got.ConsumerStatus, types.ConsumerStatusCreating)
	equal(t, "ARN", *got.ConsumerARN, fmt.Sprintf("%s/consumer/c00:%d", *arn, got.ConsumerCreationTimestamp.Unix()))
	_, err := register(arn, "c00")
	refused[inUse](t, err, "Consumer c00 under stream register already exists.")
	for i := range 19 {
		must(register(arn, fmt.Sprintf("c%02d", i+1)))(t)
	}
	_, err = register(arn, "c20")
	refused[tooMuch](t, err, "")
	equal(t, "consumers", *u.active(t, name).ConsumerCount, 20)
	_, err = register(nobodyARN, "c")
	refused[notFound](t, err, nobodyText)
}

func describeStreamConsumer(t *testing.T, u *user) {
	_, arn := u.stream(t, "consumer", 1)
	made := u.register(t, arn, "reader")
	for _, in := range []kinesis.DescribeStreamConsumerInput{{ConsumerARN: made.ConsumerARN}, {StreamARN: arn, ConsumerName: new("reader")}} {
		got := must(u.DescribeStreamConsumer(u.ctx, &in))(t).ConsumerDescription
		equal(t, "consumer", fmt.Sprint(*got.ConsumerName, *got.ConsumerARN, got.ConsumerStatus, *got.StreamARN), fmt.Sprint("reader", *made.ConsumerARN, "ACTIVE", *arn))
		equal(t, "creation", got.ConsumerCreationTimestamp.Unix(), made.ConsumerCreationTimestamp.Unix())
	}
	_, err := u.DescribeStreamConsumer(u.ctx, &kinesis.DescribeStreamConsumerInput{StreamARN: arn, ConsumerName: new("stranger")})
	refused[notFound](t, err, "stranger")
	_, err = u.DescribeStreamConsumer(u.ctx, &kinesis.DescribeStreamConsumerInput{})
	refused[wrong](t, err, "")
}

func listStreamConsumers(t *testing.T, u *user) {
	_, arn := u.stream(t, "consumers", 1)
	for _, name := range []string{"c", "a", "b"} {
		u.register(t, arn, name)
	}
	var got []string
	pages := kinesis.NewListStreamConsumersPaginator(u.Client, &kinesis.ListStreamConsumersInput{StreamARN: arn, MaxResults: new(int32(2))})
	for pages.HasMorePages() {
		for _, c := range must(pages.NextPage(u.ctx))(t).Consumers {
			got = append(got, *c.ConsumerName+" "+string(c.ConsumerStatus))
		}
	}
	same(t, "consumers", got, []string{"a ACTIVE", "b ACTIVE", "c ACTIVE"})
	_, err := u.ListStreamConsumers(u.ctx, &kinesis.ListStreamConsumersInput{StreamARN: nobodyARN})
	refused[notFound](t, err, nobodyText)
	_, err = u.ListStreamConsumers(u.ctx, &kinesis.ListStreamConsumersInput{StreamARN: arn, NextToken: new("made up")})
	refused[wrong](t, err, "NextToken")
}

func deregisterStreamConsumer(t *testing.T, u *user) {
	name, arn := u.stream(t, "deregister", 1)
	first := u.register(t, arn, "reader")
	must(u.DeregisterStreamConsumer(u.ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: first.ConsumerARN}))(t)
	second := u.register(t, arn, "reader")
	if *second.ConsumerARN == *first.ConsumerARN {
		t.Error("a consumer that was registered again has the ARN of its predecessor")
	}
	_, err := u.DeregisterStreamConsumer(u.ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: first.ConsumerARN})
	refused[notFound](t, err, *first.ConsumerARN)
	must(u.DeregisterStreamConsumer(u.ctx, &kinesis.DeregisterStreamConsumerInput{StreamARN: arn, ConsumerName: new("reader")}))(t)
	equal(t, "consumers", *u.active(t, name).ConsumerCount, 0)
}

// subscribe subscribes a consumer to a shard.
func (u *user) subscribe(t *testing.T, consumer, shard *string, at types.StartingPosition) *kinesis.SubscribeToShardEventStream {
	t.Helper()
	out := must(u.SubscribeToShard(u.ctx, &kinesis.SubscribeToShardInput{ConsumerARN: consumer, ShardId: shard, StartingPosition: &at}))(t)
	events := out.GetStream()
	t.Cleanup(func() { _ = events.Close() }) // what it ended with was looked at, or is of no interest
	return events
}

// next gives the next event, nil at the end.
func (u *user) next(t *testing.T, events *kinesis.SubscribeToShardEventStream) *types.SubscribeToShardEvent {
	t.Helper()
	select {
	case got := <-events.Events():
		if got == nil {
			return nil
		}
		return &got.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
	case <-u.ctx.Done():
		t.Fatal("no event came")
		return nil
	}
}

func subscribeToShard(t *testing.T, u *user) {
	name, arn := u.stream(t, "subscribe", 1)
	consumer := u.register(t, arn, "reader").ConsumerARN
	numbers := u.put(t, name, "a", "b")
	u.put(t, name, "c")
	for _, f := range []struct {
		at   types.StartingPosition
		want []string
	}{
		{types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}, []string{"a", "b", "c"}},
		{types.StartingPosition{Type: types.ShardIteratorTypeAtSequenceNumber, SequenceNumber: &numbers[1]}, []string{"b", "c"}},
		{types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: &numbers[1]}, []string{"c"}},
		{types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp, Timestamp: new(time.Unix(1, 0))}, []string{"a", "b", "c"}},
	} {
		one := u.register(t, arn, "from-"+string(f.at.Type)+"-"+fmt.Sprint(len(f.want))).ConsumerARN
		var got []string
		for events := u.subscribe(t, one, shardID(0), f.at); len(got) < len(f.want); {
			e := u.next(t, events)
			if e == nil {
				t.Fatal("the stream ended", events.Err())
			}
			if got = append(got, texts(e.Records)...); e.ContinuationSequenceNumber == nil || e.MillisBehindLatest == nil {
				t.Errorf("%+v lacks what every event has", e)
			}
		}
		same(t, string(f.at.Type), got, f.want)
	}
	latest := u.subscribe(t, consumer, shardID(0), types.StartingPosition{Type: types.ShardIteratorTypeLatest})
	u.put(t, name, "d")
	e := u.next(t, latest)
	for e != nil && len(e.Records) == 0 { // an idle shard says so every few seconds
		e = u.next(t, latest)
	}
	if e == nil {
		t.Fatal("the stream ended", latest.Err())
	}
	same(t, "what came after", texts(e.Records), []string{"d"})

	subscribe := func(consumer, shard *string, at types.StartingPosition) error {
		_, err := u.SubscribeToShard(u.ctx, &kinesis.SubscribeToShardInput{ConsumerARN: consumer, ShardId: shard, StartingPosition: &at})
		return err
	}
	oldest := types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	refused[inUse](t, subscribe(consumer, shardID(0), oldest), "Another active subscription exists for this consumer: 000000000000:subscribe:")
	refused[notFound](t, subscribe(new(*arn+"/consumer/stranger:1"), shardID(0), oldest), "stranger")
	refused[notFound](t, subscribe(consumer, shardID(4), oldest), "Shard shardId-000000000004 in stream subscribe under account 000000000000 does not exist")
	refused[wrong](t, subscribe(consumer, shardID(0), types.StartingPosition{Type: types.ShardIteratorTypeAtSequenceNumber}), "no StartingSequenceNumber")

	must(u.DeregisterStreamConsumer(u.ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: consumer}))(t)
	for e = u.next(t, latest); e != nil; e = u.next(t, latest) {
		if len(e.Records) > 0 {
			t.Errorf("%q came to a consumer that is gone", texts(e.Records))
		}
	}
	refused[notFound](t, latest.Err(), "reader") // in the stream, which had begun
}
