package kinesis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/stream"
)

func TestRatesAreOfTheModel(t *testing.T) {
	for name, r := range rates {
		if !slices.Contains(kinesiswire.Operations, name) {
			t.Errorf("%s is no operation", name)
		}
		if r.text() == "" {
			t.Errorf("%s has no bound", name)
		}
	}
	for _, s := range Support() {
		if s.Operation == "UpdateShardCount" && !strings.Contains(s.Note, "with --aws-exact=limits 10 a second and 10 in 24 hours for a stream") {
			t.Errorf("the list of what is supported says %q", s.Note)
		}
	}
}

// limited is a world with the service's rates and one stream.
func limited(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.gate = newGate(func() time.Time { return w.now })
	if r := w.Invoke(context.Background(), "CreateStream", []byte(`{"StreamName":"s","ShardCount":1}`), nil); r.Status != 200 {
		t.Fatal(string(r.Body))
	}
	return w
}

// Ten successes in any 24 hours, for each incarnation of a stream; what fails is not counted.
func TestChangesOfADay(t *testing.T) {
	w := limited(t)
	to := 1
	f := func(after time.Duration, target int, want string) {
		t.Helper()
		w.now = w.now.Add(after)
		body := fmt.Sprintf(`{"StreamName":"s","TargetShardCount":%d,"ScalingType":"UNIFORM_SCALING"}`, target)
		r := w.Invoke(context.Background(), "UpdateShardCount", []byte(body), nil)
		if got := string(r.Body); (r.Status == 200) != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%v later: %s, want %q", after, got, want)
		}
	}
	const used = `"LimitExceededException","message":"Rate exceeded for stream s under account 000000000000. UpdateShardCount can be called 10 times within 24 hours."`
	for range 10 {
		f(time.Hour, 1000, "cannot scale up over double")
		to = 3 - to
		f(time.Hour, to, "")
	}
	f(time.Second, 3-to, used)
	f(6*time.Hour-2*time.Second, 3-to, used) // the first was 18 hours before
	f(2*time.Second, 3-to, "")
	f(time.Hour, to, used)
	if got := w.RateExceeded()["UpdateShardCount"]; got != 3 {
		t.Errorf("%d refusals were counted", got)
	}
	w.Invoke(context.Background(), "DeleteStream", []byte(`{"StreamName":"s"}`), nil)
	w.Invoke(context.Background(), "CreateStream", []byte(`{"StreamName":"s","ShardCount":1}`), nil)
	f(0, 2, "")
}

func TestWhoSharesARate(t *testing.T) {
	w := limited(t)
	if _, err := w.backend.CreateStream(context.Background(), stream.CreateStream{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	as := asJSON
	f := func(operation, body, want string) {
		t.Helper()
		c := calls.Get().(*call)
		c.as = as
		got := w.about(find(operation), c, []byte(body))
		told := "nothing"
		if got.stream != nil {
			told = fmt.Sprint(got.stream.Name, " ", got.hasShard, " ", got.shard, " ", got.consumer.name)
		}
		if told != want {
			t.Errorf("%s %s is about %s, not %s", operation, body, told, want)
		}
		c.release()
	}
	const arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
	w.must(t, "CreateStream", `{"StreamName":"class-stream","ShardCount":1}`)
	consumer := w.register(t, "c")
	f("ListStreamConsumers", `{"StreamARN":"`+arn+`"}`, "s false 0 ")
	f("ListStreamConsumers", `{"StreamARN":"arn:aws:kinesis:us-east-2:000000000000:stream/s"}`, "nothing")
	f("DescribeStreamConsumer", `{"ConsumerARN":"`+arn+`/consumer/c:1421889722"}`, "s false 0 ")
	f("DeregisterStreamConsumer", `{"StreamARN":"`+arn+`","ConsumerName":"c"}`, "s false 0 ")
	f("SubscribeToShard", `{"ConsumerARN":"`+consumer+`","ShardId":"shardId-000000000000","StartingPosition":{"Type":"LATEST"}}`, "class-stream true 0 c")
	f("SubscribeToShard", `{"ConsumerARN":"`+consumer+`","ShardId":"shardId-000000000009"}`, "class-stream false 9 c")
	f("SubscribeToShard", `{"ConsumerARN":"`+arn+`/consumer/another:1421889722","ShardId":"shardId-000000000000"}`, "nothing")
	f("SubscribeToShard", `{"ConsumerARN":7}`, "nothing")
	f("ListShards", `{"StreamName":"other"}`, "other false 0 ")
	next := w.tokens.seal(token{kind: tokenIterator, at: w.now, stream: "other"})
	f("ListShards", `{"NextToken":"`+next+`"}`, "other false 0 ")
	f("UpdateStreamMode", `{"StreamARN":"`+arn+`","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`, "s false 0 ")
	f("UpdateShardCount", `{"StreamName":"gone"}`, "nothing")
	f("UpdateShardCount", `{`, "nothing")
	as = asCBOR
	f("UpdateShardCount", "\xa1\x6aStreamName\x61s", "s false 0 ")
	f("UpdateShardCount", "\xa1\x6aStreamName", "nothing")
}

// Strangers' calls do not add to what is remembered: what does not exist is not counted, and quiet callers are forgotten.
func TestMetersAreBounded(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	g := newGate(func() time.Time { return now })
	for i := range maxMeters + 10 {
		if !g.pass(caller{operation: "SubscribeToShard", consumer: consumerKey{name: fmt.Sprint(i)}}, 1) {
			t.Fatalf("caller %d was refused", i)
		}
	}
	if len(g.meters) != maxMeters {
		t.Errorf("%d meters", len(g.meters))
	}
	if !g.reserve(caller{operation: "UpdateShardCount", stream: "s"}, 1) {
		t.Error("refused")
	}
	now = now.Add(time.Second)
	if !g.reserve(caller{operation: "UpdateShardCount", stream: "s"}, 1) || g.reserve(caller{operation: "UpdateShardCount", stream: "s"}, 1) {
		t.Error("a day's calls are not counted once quiet callers have gone")
	}
	now = now.Add(time.Hour)
	g.forget(now)
	if len(g.meters) != 1 {
		t.Errorf("%d meters", len(g.meters))
	}
}

func TestStreamsCreatingAtOnce(t *testing.T) {
	w := newWorld(t)
	for i := range maxCreating {
		name := fmt.Sprint("s", i)
		if _, err := w.backend.CreateStream(context.Background(), stream.CreateStream{Name: name}); err != nil {
			t.Fatal(err)
		}
		w.backend.status(name, stream.Creating)
	}
	r := w.Invoke(context.Background(), "CreateStream", []byte(`{"StreamName":"s","ShardCount":1}`), nil)
	if !strings.Contains(string(r.Body), `"LimitExceededException"`) {
		t.Error(string(r.Body))
	}
	w.backend.status("s0", stream.Active)
	if r = w.Invoke(context.Background(), "CreateStream", []byte(`{"StreamName":"s","ShardCount":1}`), nil); r.Status != 200 {
		t.Error(string(r.Body))
	}
}
