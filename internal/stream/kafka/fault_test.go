package kafka

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/fault"
	"millrace/internal/kafka"
	"millrace/internal/stream"
)

func wantKind(t testing.TB, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("error %v; want kind %v", err, kind)
	}
}

func within(t testing.TB, d time.Duration, what string, fn func()) {
	t.Helper()
	began := time.Now()
	fn()
	if took := time.Since(began); took > d {
		t.Errorf("%s took %v; at most %v", what, took, d)
	}
}

// An error that may pass is tried again, and nothing is written twice.
func TestProduceIsTriedAgain(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(nil)
	create(t, b, stream.CreateStream{Name: "s"})
	want := []string{}
	for i, err := range []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.NotEnoughReplicas, kerr.KafkaStorageError,
		kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, // those two have been written
	} {
		r.brokers.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "s", Err: err, Count: 2})
		data := strconv.Itoa(i)
		mustPut(t, b, "s", "k", data)
		want = append(want, data)
	}
	var got []string
	for _, rec := range walk(t, b, "s") {
		got = append(got, rec.data)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

// An error that will not pass is told, and the backend goes on.
func TestProduceIsRefused(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(nil)
	create(t, b, stream.CreateStream{Name: "s"})
	mustPut(t, b, "s", "k", "0")
	for _, c := range []struct {
		err  *kerr.Error
		kind fault.Kind
	}{
		{kerr.TopicAuthorizationFailed, fault.Denied},
		{kerr.MessageTooLarge, fault.Internal},
		{kerr.InvalidRecord, fault.Internal},
	} {
		r.brokers.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "s", Err: c.err})
		wantKind(t, put(t, b, "s", "k", "refused").Err, c.kind)
		mustPut(t, b, "s", "k", "taken")
	}
	if got := walk(t, b, "s"); len(got) != 4 {
		t.Errorf("read %+v", got)
	}
}

// When no broker answers, the caller is told in time that nobody knows; what is in flight is not forgotten, and not
// produced again by the next call.
func TestDeadlineWithAProduceInFlight(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(nil)
	create(t, b, stream.CreateStream{Name: "s"})
	mustPut(t, b, "s", "k", "0")
	b.opts.ProduceTimeout = 200 * time.Millisecond // no append is under way
	hold := make(chan struct{})
	r.brokers.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.brokers.SleepControl(func() { <-hold })
		return nil, nil, false
	})
	within(t, 10*time.Second, "an append at its deadline", func() {
		wantKind(t, put(t, b, "s", "k", "1").Err, fault.Unavailable)
	})
	b.opts.ProduceTimeout = DefaultProduceTimeout
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	data := []byte("2")
	var results [1]stream.Result
	within(t, 10*time.Second, "an append whose caller has gone", func() {
		if err := b.Append(ctx, "s", []stream.Entry{{PartitionKey: "k", Data: data}}, results[:]); err != nil {
			t.Error(err)
		}
		wantKind(t, results[0].Err, fault.Unavailable)
	})
	copy(data, "X") // the caller's bytes are its own again
	close(hold)
	mustPut(t, b, "s", "k", "3")
	got := walk(t, b, "s")
	seen := map[string]int{}
	for _, rec := range got {
		seen[rec.data]++
	}
	if seen["0"] != 1 || seen["1"] > 1 || seen["2"] > 1 || seen["3"] != 1 || seen["X"] != 0 {
		t.Errorf("read %+v", got)
	}
	if held := b.produced.holds(); held != 0 {
		t.Errorf("%d bytes of room are held after all have landed", held)
	}
}

// A topic that was deleted past us is an error in time, for all; health names it.
func TestTopicDeletedPastUs(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(func(o *Options) { o.ProduceTimeout, o.AskTimeout = 5*time.Second, 5*time.Second })
	s := create(t, b, stream.CreateStream{Name: "s"})
	mustPut(t, b, "s", "k", "0")
	if err := b.Healthy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.brokers.DeleteTopic("s"); err != nil {
		t.Fatal(err)
	}
	err := b.Healthy(t.Context())
	wantKind(t, err, fault.Unavailable)
	if err == nil || !strings.Contains(err.Error(), "topic s is gone") {
		t.Errorf("health says %v", err)
	}
	within(t, 10*time.Second, "an append", func() { wantKind(t, put(t, b, "s", "k", "1").Err, fault.Unavailable) })
	ref := stream.ShardRef{Stream: "s", ID: s.ID}
	var batch stream.Batch
	within(t, 10*time.Second, "a read", func() {
		wantKind(t, b.Read(t.Context(), stream.ReadRequest{Shard: ref, MaxRecords: 1, MaxBytes: 1}, &batch), fault.Unavailable)
	})
	within(t, 10*time.Second, "a tip", func() { _, err = b.Tip(t.Context(), ref); wantKind(t, err, fault.Unavailable) })
	if err := b.DeleteStream(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	create(t, b, stream.CreateStream{Name: "s"})
	mustPut(t, b, "s", "k", "of the next")
	if got := walk(t, b, "s"); len(got) != 1 {
		t.Errorf("read %+v", got)
	}
}

// Leaders move under appends, reads and waits.
func TestLeadersMove(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(nil)
	s := create(t, b, stream.CreateStream{Name: "s", Shards: 3})
	waiting := make(chan error, 1)
	for i := range 30 {
		if i%5 == 0 {
			r.brokers.ShufflePartitionLeaders()
		}
		tip, err := b.Tip(t.Context(), stream.ShardRef{Stream: "s", ID: s.ID, Shard: 1})
		if err != nil {
			t.Fatal(err)
		}
		go func() { waiting <- b.Wait(t.Context(), stream.ShardRef{Stream: "s", ID: s.ID, Shard: 1}, tip) }()
		for j := range 6 {
			mustPut(t, b, "s", strconv.Itoa(j), fmt.Sprint(i, j))
		}
		k := s.Shards[1].Range.Start
		var results [1]stream.Result
		if err := b.Append(t.Context(), "s", []stream.Entry{{PartitionKey: "k", ExplicitHashKey: &k}}, results[:]); err != nil || results[0].Err != nil {
			t.Fatal(err, results[0].Err)
		}
		if err := <-waiting; err != nil {
			t.Fatal(err)
		}
		if got := walk(t, b, "s"); len(got) != (i+1)*7 {
			t.Fatalf("round %d: read %d records", i, len(got))
		}
	}
}

// Who waits is woken by what another node appends, soon.
func TestWaitIsWokenByOtherNodes(t *testing.T) {
	r := newRig(t)
	a, _ := r.open(nil)
	b, _ := r.open(nil)
	s := create(t, a, stream.CreateStream{Name: "s", Shards: 50})
	before := runtime.NumGoroutine()
	const waiters = 4
	woken := make(chan time.Time, 50*waiters)
	for i := range s.Shards {
		for range waiters {
			go func() {
				if err := b.Wait(t.Context(), stream.ShardRef{Stream: "s", ID: s.ID, Shard: uint32(i)}, stream.SequenceNumber{}); err != nil {
					t.Error(err)
				}
				woken <- time.Now()
			}()
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		b.tails.mu.Lock()
		polled, brokers := len(b.tails.watched), len(b.tails.polls)
		b.tails.mu.Unlock()
		if polled == 50 && brokers == 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d shards of 50 are watched, on %d brokers", polled, brokers)
		}
	}
	if n := runtime.NumGoroutine() - before - 50*waiters; n > 100 { // the clients' own
		t.Errorf("%d goroutines beside those who wait", n)
	}
	var entries []stream.Entry
	for i := range s.Shards {
		entries = append(entries, stream.Entry{PartitionKey: "k", ExplicitHashKey: &s.Shards[i].Range.Start})
	}
	if err := a.Append(t.Context(), "s", entries, make([]stream.Result, len(entries))); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var last time.Time
	for range 50 * waiters {
		last = <-woken
	}
	t.Logf("the last is woken after %v", last.Sub(began))
	if last.Sub(began) > 5*time.Second {
		t.Error("that is late")
	}
}

// Records that have expired are counted, and the reader is told where it goes on.
func TestReadAfterExpiry(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(nil)
	s := create(t, b, stream.CreateStream{Name: "s"})
	var results []stream.Result
	for i := range 10 {
		results = append(results, mustPut(t, b, "s", "k", strconv.Itoa(i)))
	}
	if err := r.brokers.DeleteRecords("s", 0, 6); err != nil {
		t.Fatal(err)
	}
	ref := stream.ShardRef{Stream: "s", ID: s.ID}
	var batch stream.Batch
	req := stream.ReadRequest{Shard: ref, From: results[2].Sequence, MaxRecords: 2, MaxBytes: 100}
	if err := b.Read(t.Context(), req, &batch); err != nil {
		t.Fatal(err)
	}
	if batch.Skipped != 4 || batch.Resumed != results[6].Sequence || len(batch.Records) != 2 || string(batch.Records[0].Data) != "6" {
		t.Errorf("%+v", batch)
	}
	req.From = batch.Next
	if err := b.Read(t.Context(), req, &batch); err != nil || batch.Skipped != 0 || !batch.Resumed.IsZero() || string(batch.Records[0].Data) != "8" {
		t.Errorf("%+v, %v", batch, err)
	}
	if h, err := b.Horizon(t.Context(), ref); err != nil || h != results[6].Sequence {
		t.Errorf("horizon %v, %v", h, err)
	}
	// Beyond the tip there is nothing, now.
	req.From = results[9].Sequence
	for range 100 {
		req.From = req.From.Next()
	}
	if err := b.Read(t.Context(), req, &batch); err != nil || len(batch.Records) != 0 || batch.MillisBehind != 0 {
		t.Errorf("%+v, %v", batch, err)
	}
	_, sh, err := b.find("test", ref)
	if err != nil {
		t.Fatal(err)
	}
	req.From = sh.sequence(1000)
	if err := b.Read(t.Context(), req, &batch); err != nil || len(batch.Records) != 0 || batch.MillisBehind != 0 || batch.Next != req.From {
		t.Errorf("%+v, %v", batch, err)
	}
}

// Closed shards leave when retention has passed over them.
func TestClosedShardsLeave(t *testing.T) {
	r := newRig(t)
	var later time.Duration
	b, _ := r.open(func(o *Options) { o.Now = func() time.Time { return time.Now().Add(later) } })
	s := create(t, b, stream.CreateStream{Name: "s"})
	mustPut(t, b, "s", "k", "old")
	if _, err := b.Reshard(t.Context(), "s", stream.Reshard{Count: 3}); err != nil {
		t.Fatal(err)
	}
	closed := eventually(t, b, "s", active)
	if n := len(closed.Shards) - closed.OpenShards(); n < 2 {
		t.Fatalf("%d closed shards", n) // also those that came and went
	}
	old := b.view.Load().byName["s"]
	if err := b.forget(old); err != nil {
		t.Fatal(err)
	}
	if now, _ := b.Stream("s"); len(now.Shards) != len(closed.Shards) {
		t.Error("shards have left before their age")
	}
	shut(t, b) // the clock is read by its finisher
	later = stream.DefaultRetention + time.Hour
	b, _ = r.open(func(o *Options) { o.Now = func() time.Time { return time.Now().Add(later) } })
	if err := b.forget(b.view.Load().byName["s"]); err != nil {
		t.Fatal(err)
	}
	if now, _ := b.Stream("s"); now.Shards[0].Index != 0 {
		t.Error("a shard has left whose record is there")
	}
	if err := r.brokers.DeleteRecords("s", 0, 1); err != nil {
		t.Fatal(err)
	}
	if err := b.forget(b.view.Load().byName["s"]); err != nil {
		t.Fatal(err)
	}
	if now, _ := b.Stream("s"); len(now.Shards) != 3 || now.OpenShards() != 3 {
		t.Errorf("left: %+v", now.Shards)
	}
	wantKind(t, b.Wait(t.Context(), stream.ShardRef{Stream: "s", ID: s.ID}, stream.SequenceNumber{}), fault.NotFound)
	mustPut(t, b, "s", "k", "young")
}

func TestNames(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(nil)
	_, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "millrace.catalog"})
	wantKind(t, err, fault.Invalid)
	create(t, b, stream.CreateStream{Name: stream.HiddenPrefix + "clicks.17"})
	if r.brokers.TopicInfo("millrace.direct.clicks.17") == nil {
		t.Error("the hidden stream has no topic of its name")
	}
	if err := r.brokers.CreateTopic("theirs", 1, nil); err != nil {
		t.Fatal(err)
	}
	_, err = b.CreateStream(t.Context(), stream.CreateStream{Name: "theirs"})
	wantKind(t, err, fault.InUse)
	if _, there := r.catalog.all(t)["theirs"]; there {
		t.Error("a refused create leaves a document")
	}
	create(t, b, stream.CreateStream{Name: "settings", Retention: 48 * time.Hour, MaxRecordBytes: 10 << 20})
	configs, err := kafka.Configs(t.Context(), b.adm, "settings")
	if err != nil {
		t.Fatal(err)
	}
	week := 7 * 24 * time.Hour
	for k, want := range map[string]string{"retention.ms": "172800000", "segment.ms": "28800000", "message.timestamp.type": "LogAppendTime",
		"max.message.bytes": strconv.Itoa(10<<20 + 1280), "min.insync.replicas": "2", "unclean.leader.election.enable": "false"} {
		if configs[k] != want {
			t.Errorf("%s is %q, want %q", k, configs[k], want)
		}
	}
	if _, err := b.UpdateStream(t.Context(), "settings", func(set *stream.Settings) error { set.Retention = week; return nil }); err != nil {
		t.Fatal(err)
	}
	if configs, err = kafka.Configs(t.Context(), b.adm, "settings"); err != nil || configs["retention.ms"] != "604800000" {
		t.Errorf("retention.ms is %q, %v", configs["retention.ms"], err)
	}
	if w := b.Warnings(t.Context()); len(w) != 0 {
		t.Errorf("warnings %q", w)
	}
}

// A cluster that is too small for the durability that is asked for says so at once, and nothing is left.
func TestTooFewBrokers(t *testing.T) {
	r := newRig(t, kfake.NumBrokers(1))
	b, _ := r.open(nil)
	_, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "s"})
	wantKind(t, err, fault.Unavailable)
	if len(r.catalog.all(t)) != 0 {
		t.Error("a document is left")
	}
}

func TestLargestRecords(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(nil)
	create(t, b, stream.CreateStream{Name: "s", MaxRecordBytes: 10 << 20})
	key := strings.Repeat("\U0001F600", 256)
	data := make([]byte, 10<<20)
	k := stream.MaxHashKey
	results := make([]stream.Result, 1)
	if err := b.Append(t.Context(), "s", []stream.Entry{{PartitionKey: key, ExplicitHashKey: &k, Data: data}}, results); err != nil || results[0].Err != nil {
		t.Fatal(err, results[0].Err)
	}
	got := walk(t, b, "s")
	if len(got) != 1 || got[0].key != key || len(got[0].data) != len(data) {
		t.Errorf("%d records", len(got))
	}
	wantKind(t, b.Append(t.Context(), "s", []stream.Entry{{PartitionKey: key, Data: make([]byte, 10<<20+2000)}}, results), fault.Invalid)
}

func TestWrongCredentials(t *testing.T) {
	r := newRig(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "ada", "secret"))
	within(t, 20*time.Second, "opening", func() {
		_, err := r.try(r.catalog.node(), func(o *Options) {
			o.Settings.SASL = kafka.SASL{Mechanism: "PLAIN", User: "ada", Password: "wrong"}
			o.AskTimeout = 5 * time.Second
		})
		if err == nil {
			t.Error("opened with a wrong password")
		}
	})
}

func TestNoBroker(t *testing.T) {
	r := newRig(t)
	within(t, 20*time.Second, "opening", func() {
		_, err := r.try(r.catalog.node(), func(o *Options) {
			o.Settings.Brokers, o.AskTimeout = []string{"127.0.0.1:1"}, time.Second
		})
		wantKind(t, err, fault.Unavailable)
	})
}

// Callers beyond the room wait their turn, and are told when it does not come.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := room{bound: 100}
		if err := r.acquire(t.Context(), 80); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.acquire(ctx, 30); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("let in beyond the bound: %v", err)
		}
		order := make(chan int64, 3)
		for _, bytes := range []int64{90, 5, 500} {
			go func() {
				if err := r.acquire(t.Context(), bytes); err != nil {
					t.Error(err)
				}
				order <- bytes
			}()
			synctest.Wait()
		}
		r.release(80)
		if first, second := <-order, <-order; first+second != 95 {
			t.Errorf("let in %d and %d", first, second)
		}
		synctest.Wait()
		if len(order) != 0 {
			t.Error("one larger than the bound shares the room")
		}
		r.release(90)
		r.release(5)
		if last := <-order; last != 500 || r.holds() != 500 {
			t.Errorf("let in %d, %d held", last, r.holds())
		}
	})
}

// While brokers answer, no room is a rate limit; when they do not, they are gone.
func TestCrowded(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(nil)
	create(t, b, stream.CreateStream{Name: "s"})
	mustPut(t, b, "s", "k", "0")
	b.opts.ProduceTimeout, b.produced.bound = 200*time.Millisecond, 1 // no append is under way
	if err := b.produced.acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	entries, results := []stream.Entry{{PartitionKey: "k"}}, make([]stream.Result, 1)
	b.stats.lastAck.Store(time.Now().Add(time.Hour).UnixNano())
	wantKind(t, b.Append(t.Context(), "s", entries, results), fault.Throttled)
	b.stats.lastAck.Store(0)
	wantKind(t, b.Append(t.Context(), "s", entries, results), fault.Unavailable)
	b.produced.release(1)
	b.opts.ProduceTimeout = DefaultProduceTimeout
	mustPut(t, b, "s", "k", "1")
}

// While a broker is away a topic can't be given partitions. That is the brokers' trouble, and passes; the stream stays as
// it was.
func TestReshardWithTooFewBrokers(t *testing.T) {
	r := newRig(t)
	b, _ := r.open(nil)
	create(t, b, stream.CreateStream{Name: "s"})
	away := true
	r.brokers.ControlKey(int16(kmsg.CreatePartitions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if !away {
			return nil, nil, false
		}
		r.brokers.KeepControl()
		answer := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
		for _, topic := range req.(*kmsg.CreatePartitionsRequest).Topics {
			refused := kmsg.NewCreatePartitionsResponseTopic()
			refused.Topic, refused.ErrorCode = topic.Topic, kerr.InvalidReplicationFactor.Code
			answer.Topics = append(answer.Topics, refused)
		}
		return answer, nil, true
	})
	_, err := b.Reshard(t.Context(), "s", stream.Reshard{Count: 3})
	wantKind(t, err, fault.Unavailable)
	if s, _ := b.Stream("s"); s.Status != stream.Active || s.OpenShards() != 1 {
		t.Errorf("the stream is %s with %d open shards", s.Status, s.OpenShards())
	}
	r.brokers.Control(func(kmsg.Request) (kmsg.Response, error, bool) { away = false; return nil, nil, false })
	if s, err := b.Reshard(t.Context(), "s", stream.Reshard{Count: 3}); err != nil || s.OpenShards() != 3 {
		t.Errorf("when the broker is back: %v", err)
	}
}
