package kinesis

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/fxamacker/cbor/v2"
	"go.uber.org/goleak"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	classARN = "arn:aws:kinesis:us-east-1:000000000000:stream/class-stream"
	shard0   = "shardId-000000000000"
)

// inTime runs a test on a world whose time is the test's own, with a stream of one shard and a consumer.
func inTime(t *testing.T, test func(t *testing.T, w *world, consumer string)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{saved: map[string]string{}, backend: newMemory(time.Now)}
		s, err := New(Options{Backend: w.backend, Account: testAccount, IDs: ids.Seeded(1), Now: time.Now, TokenKey: bytes.Repeat([]byte("k"), 32)})
		if err != nil {
			t.Fatal(err)
		}
		w.Service = s
		w.must(t, "CreateStream", `{"StreamName":"class-stream","ShardCount":1}`)
		test(t, w, w.register(t, "dashboard"))
	})
}

func (w *world) must(t *testing.T, operation, body string) string {
	t.Helper()
	r := w.Invoke(context.Background(), operation, []byte(body), nil)
	if r.Status != 200 {
		t.Fatalf("%s %s: %s", operation, body, r.Body)
	}
	return string(r.Body)
}

func (w *world) register(t *testing.T, name string) (arn string) {
	t.Helper()
	_, rest, _ := strings.Cut(w.must(t, "RegisterStreamConsumer", `{"StreamARN":"`+classARN+`","ConsumerName":"`+name+`"}`), `"ConsumerARN":"`)
	arn, _, _ = strings.Cut(rest, `"`)
	return arn
}

func (w *world) put(t *testing.T, data string) (number string) {
	t.Helper()
	_, rest, _ := strings.Cut(w.must(t, "PutRecord", `{"StreamName":"class-stream","PartitionKey":"k","Data":"`+data+`"}`), `"SequenceNumber":"`)
	number, _, _ = strings.Cut(rest, `"`)
	return number
}

// follower is a caller of SubscribeToShard.
type follower struct {
	mu       sync.Mutex
	header   http.Header
	status   int
	waiting  bytes.Buffer
	sent     bytes.Buffer
	deadline time.Time
	stuck    chan struct{} // closed: writes go on; nil: they never stop
	leave    context.CancelFunc
	ended    chan struct{}
}

func (f *follower) Header() http.Header    { return f.header }
func (f *follower) WriteHeader(status int) { f.status = status }

func (f *follower) Write(p []byte) (int, error) {
	f.mu.Lock()
	stuck, deadline := f.stuck, f.deadline
	f.mu.Unlock()
	for stuck != nil {
		select {
		case <-stuck:
			stuck = nil
		case <-time.After(time.Until(deadline)):
			f.mu.Lock()
			moved := f.deadline
			f.mu.Unlock()
			if !moved.After(time.Now()) {
				return 0, os.ErrDeadlineExceeded
			}
			deadline = moved
		case <-time.After(10 * time.Millisecond): // the deadline may have moved
			f.mu.Lock()
			deadline = f.deadline
			f.mu.Unlock()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting.Write(p)
}

func (f *follower) Flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = f.waiting.WriteTo(&f.sent)
}

func (f *follower) SetWriteDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deadline = t
	return nil
}

// messages gives what was flushed: "event SubscribeToShardEvent {…}".
func (f *follower) messages(t *testing.T) (list []string) {
	t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	in := bytes.NewReader(f.sent.Bytes())
	for in.Len() > 0 {
		m, err := eventstream.NewDecoder().Decode(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %s %s", m.Headers[0].Value, m.Headers[1].Value, m.Payload))
	}
	return list
}

func (w *world) follow(consumer, shard, position string) *follower {
	return w.followIn("application/x-amz-json-1.1", []byte(`{"ConsumerARN":"`+consumer+`","ShardId":"`+shard+`","StartingPosition":`+position+`}`))
}

func (w *world) followIn(contentType string, body []byte) *follower {
	f := &follower{header: http.Header{}, ended: make(chan struct{})}
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.SubscribeToShard")
	var ctx context.Context
	ctx, f.leave = context.WithCancel(context.Background())
	go func() {
		defer close(f.ended)
		w.ServeHTTP(f, r.WithContext(ctx))
		_, _ = f.waiting.WriteTo(&f.sent) // net/http does so
	}()
	return f
}

const (
	initial = "event initial-response {}"
	latest  = `{"Type":"LATEST"}`
	horizon = `{"Type":"TRIM_HORIZON"}`
)

// shownEvent is an event as a consumer reads it.
type shownEvent struct {
	Records []struct {
		SequenceNumber, PartitionKey, EncryptionType string
		Data                                         []byte
		ApproximateArrivalTimestamp                  float64
	}
	ContinuationSequenceNumber *string
	MillisBehindLatest         *int64
	ChildShards                []struct {
		ShardId      string
		ParentShards []string
	}
}

func eventOf(t *testing.T, message string) (e shownEvent) {
	t.Helper()
	const prefix = "event SubscribeToShardEvent "
	if !strings.HasPrefix(message, prefix) {
		t.Fatalf("%s", message)
	}
	if err := json.Unmarshal([]byte(message[len(prefix):]), &e); err != nil || e.Records == nil || e.MillisBehindLatest == nil {
		t.Fatalf("%v: %s", err, message)
	}
	return e
}

// The bytes of a stream's beginning: head, initial-response, an event with a record.
func TestSubscriptionBytes(t *testing.T) {
	inTime(t, func(t *testing.T, w *world, consumer string) {
		w.put(t, "aGk=")
		f := w.follow(consumer, shard0, horizon)
		f.messages(t)
		f.leave()
		<-f.ended
		if f.status != 200 || f.header.Get("Content-Type") != "application/vnd.amazon.eventstream" || f.header.Get("Content-Length") != "" ||
			f.header.Get("X-Amzn-Requestid") == "" || f.header.Get("X-Amz-Id-2") == "" {
			t.Errorf("%d %v", f.status, f.header)
		}
		const name = "testdata/subscription.hex"
		got := hex.Dump(f.sent.Bytes())
		if os.Getenv("REWRITE") != "" {
			if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s (REWRITE=1 writes it):\n%s", name, got)
		}
	})
}

// Records come as they are written, without polling; an idle shard says so every five seconds; after five minutes the
// stream ends.
func TestSubscriptionFollows(t *testing.T) {
	inTime(t, func(t *testing.T, w *world, consumer string) {
		w.put(t, "b2xk")
		f := w.follow(consumer, shard0, latest)
		if got := f.messages(t); len(got) != 1 || got[0] != initial {
			t.Fatalf("%v", got)
		}
		time.Sleep(idlePeriod - time.Millisecond)
		if got := f.messages(t); len(got) != 1 {
			t.Fatalf("%v", got)
		}
		time.Sleep(time.Millisecond)
		got := f.messages(t)
		if e := eventOf(t, got[len(got)-1]); len(got) != 2 || len(e.Records) != 0 || e.ContinuationSequenceNumber == nil || *e.MillisBehindLatest != 0 {
			t.Fatalf("%v", got)
		}
		time.Sleep(3 * time.Second)
		number := w.put(t, "bmV3")
		got = f.messages(t) // at once
		e := eventOf(t, got[len(got)-1])
		if len(got) != 3 || len(e.Records) != 1 || e.Records[0].SequenceNumber != number || string(e.Records[0].Data) != "new" || e.Records[0].EncryptionType != "" {
			t.Fatalf("%v", got)
		}
		time.Sleep(idlePeriod - time.Millisecond) // since the last event, whatever it was
		if got := f.messages(t); len(got) != 3 {
			t.Fatalf("%v", got)
		}
		start := time.Now()
		<-f.ended
		if lasted := time.Since(start) + 13*time.Second - time.Millisecond; lasted != subscriptionLife {
			t.Errorf("it lasted %v", lasted)
		}
		for _, m := range f.messages(t)[3:] {
			if e := eventOf(t, m); len(e.Records) != 0 {
				t.Errorf("%s", m)
			}
		}
		if n := w.Subscriptions(); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

// From a ContinuationSequenceNumber a consumer goes on, at it or after it, and misses nothing; whatever had been read
// before, and also when nothing had.
func TestContinuation(t *testing.T) {
	f := func(before, between int, position string, want int) {
		t.Helper()
		inTime(t, func(t *testing.T, w *world, consumer string) {
			for range before {
				w.put(t, "b2xk")
			}
			first := w.follow(consumer, shard0, position)
			time.Sleep(idlePeriod)
			got := first.messages(t)
			number := *eventOf(t, got[len(got)-1]).ContinuationSequenceNumber
			first.leave()
			<-first.ended
			for i := range between {
				w.put(t, []string{"bjA=", "bjE=", "bjI="}[i])
			}
			for _, kind := range []string{"AT", "AFTER"} {
				time.Sleep(takeOverAfter)
				again := w.follow(consumer, shard0, `{"Type":"`+kind+`_SEQUENCE_NUMBER","SequenceNumber":"`+number+`"}`)
				time.Sleep(time.Second)
				read := ""
				for _, m := range again.messages(t)[1:] {
					for _, r := range eventOf(t, m).Records {
						read += string(r.Data)
					}
				}
				again.leave()
				<-again.ended
				if read != "n0n1n2"[:2*want] {
					t.Errorf("%d before, %d between, %s %s %s: %q", before, between, position, kind, number, read)
				}
				// GetShardIterator takes it, too.
				w.must(t, "GetShardIterator", `{"StreamName":"class-stream","ShardId":"0","ShardIteratorType":"`+kind+`_SEQUENCE_NUMBER","StartingSequenceNumber":"`+number+`"}`)
			}
		})
	}
	f(0, 0, horizon, 0)
	f(0, 3, horizon, 3)
	f(0, 1, latest, 1)
	f(2, 3, horizon, 3)
	f(2, 1, latest, 1)
	f(3, 0, latest, 0)
	// Positions of a shard begin with the first: nothing lies before it, and its gap does.
	first := stream.NewSequenceNumber(1790000000, 3, 0)
	for i, place := range []stream.SequenceNumber{{}, first, stream.NewSequenceNumber(1790000000, 3, 7), stream.NewSequenceNumber(1790000000, 3, 7).Next()} {
		next, ok := gapBefore(place, first).AfterGap()
		want := []stream.SequenceNumber{first, first, place, stream.NewSequenceNumber(1790000000, 3, 8)}[i]
		if !ok || next != want {
			t.Errorf("place %s: %s, %v", place, next, ok)
		}
	}
}

// A caller in CBOR is refused in CBOR, and its events are JSON.
func TestSubscriptionInCBOR(t *testing.T) {
	inTime(t, func(t *testing.T, w *world, consumer string) {
		w.put(t, "aGk=")
		call := func(consumer string) *follower {
			body, err := cbor.Marshal(map[string]any{"ConsumerARN": consumer, "ShardId": "0", "StartingPosition": map[string]any{"Type": "TRIM_HORIZON"}})
			if err != nil {
				t.Fatal(err)
			}
			return w.followIn("application/x-amz-cbor-1.1", body)
		}
		f := call(classARN + "/consumer/nobody:1")
		<-f.ended
		var refusal map[string]string
		if err := cbor.Unmarshal(f.sent.Bytes(), &refusal); err != nil || f.status != 400 || refusal["__type"] != "ResourceNotFoundException" {
			t.Errorf("%d %v %v", f.status, refusal, err)
		}
		f = call(consumer)
		if got := f.messages(t); len(got) != 2 || got[0] != initial || string(eventOf(t, got[1]).Records[0].Data) != "hi" {
			t.Errorf("%v", got)
		}
		f.leave()
		<-f.ended
	})
}

// Another service's numbers have no gaps of ours: then the last record's number leads on, or a moment.
func TestForeignContinuation(t *testing.T) {
	w := newWorld(t)
	w.backend.foreign = true
	number := stream.NewSequenceNumber(1790000000, 3, 7)
	moment := stream.Since(time.UnixMilli(1790000000123))
	f := func(next, delivered stream.SequenceNumber, want string) {
		t.Helper()
		u := &subscription{s: w.Service, next: next, delivered: delivered}
		if got := u.continuation().String(); got != want {
			t.Errorf("from %s: %s, want %s", next, got, want)
		}
	}
	f(number.Next(), number, number.String())
	f(number, stream.SequenceNumber{}, number.String())
	f(moment, stream.SequenceNumber{}, "1790000000122")
	f(stream.SequenceNumber{}, stream.SequenceNumber{}, "1009843200000")
}

// Where numbers are another service's, a shard that could not be read yet does not name the number that the caller began
// with: who went on behind it would miss its record.
func TestForeignStartIsNotPassedOver(t *testing.T) {
	inTime(t, func(t *testing.T, w *world, consumer string) {
		w.backend.foreign = true
		number := w.put(t, "b2xk")
		w.backend.failReads(fault.New(fault.Throttled, "", "", "too fast"))
		f := w.follow(consumer, shard0, `{"Type":"AT_SEQUENCE_NUMBER","SequenceNumber":"`+number+`"}`)
		time.Sleep(2 * idlePeriod)
		if got := f.messages(t); len(got) != 1 {
			t.Errorf("%v", got)
		}
		w.backend.failReads(nil)
		time.Sleep(readPause)
		if got := f.messages(t); len(got) != 2 || len(eventOf(t, got[1]).Records) != 1 {
			t.Errorf("%v", got)
		}
		f.leave()
		<-f.ended
	})
}

// A second call within five seconds of the first is refused, a later one takes over; other consumers and shards do
// not matter.
func TestTakeOver(t *testing.T) {
	inTime(t, func(t *testing.T, w *world, consumer string) {
		text := "Another active subscription exists for this consumer: 000000000000:class-stream:" + strconv.FormatInt(time.Now().Unix(), 10) + ":" + shard0 + ":dashboard"
		first := w.follow(consumer, shard0, latest)
		synctest.Wait()
		time.Sleep(takeOverAfter - time.Millisecond)
		early := w.follow(consumer, shard0, latest)
		<-early.ended
		if got := early.sent.String(); early.status != 400 || got != `{"__type":"ResourceInUseException","message":"`+text+`"}` {
			t.Errorf("%d %s", early.status, got)
		}
		other := w.follow(w.register(t, "other"), shard0, latest)
		if got := other.messages(t); other.status != 200 || len(got) != 1 {
			t.Errorf("%d %v", other.status, got)
		}
		time.Sleep(time.Millisecond)
		second := w.follow(consumer, shard0, latest)
		<-first.ended
		got := first.messages(t)
		if last := got[len(got)-1]; last != `exception ResourceInUseException {"message":"`+text+`"}` {
			t.Errorf("%s", last)
		}
		// Within five seconds of the successful call, also when its subscription has ended.
		synctest.Wait()
		second.leave()
		<-second.ended
		if early := w.follow(consumer, shard0, latest); true {
			<-early.ended
			if early.status != 400 {
				t.Errorf("%d %s", early.status, early.sent.String())
			}
		}
		if n := w.Subscriptions(); n != 1 {
			t.Errorf("%d, of another consumer's there is one", n)
		}
		other.leave()
		<-other.ended
	})
}

// At the end of a closed shard the last event names the children, and has no number to go on from.
func TestSubscriptionEndsWithItsShard(t *testing.T) {
	inTime(t, func(t *testing.T, w *world, consumer string) {
		w.put(t, "b2xk")
		f := w.follow(consumer, shard0, horizon)
		synctest.Wait()
		w.must(t, "SplitShard", `{"StreamName":"class-stream","ShardToSplit":"0","NewStartingHashKey":"170141183460469231731687303715884105728"}`)
		<-f.ended
		got := f.messages(t)
		e := eventOf(t, got[len(got)-1])
		if len(got) != 3 || e.ContinuationSequenceNumber != nil || len(e.ChildShards) != 2 || e.ChildShards[0].ShardId != "shardId-000000000001" || e.ChildShards[1].ParentShards[0] != shard0 {
			t.Errorf("%v", got)
		}
		if e := eventOf(t, got[1]); e.ChildShards != nil || len(e.Records) != 1 {
			t.Errorf("%s", got[1])
		}
		// Who comes later learns it with the records.
		time.Sleep(takeOverAfter)
		f = w.follow(consumer, shard0, horizon)
		<-f.ended
		got = f.messages(t)
		if e := eventOf(t, got[len(got)-1]); len(got) != 2 || len(e.Records) != 1 || len(e.ChildShards) != 2 {
			t.Errorf("%v", got)
		}
	})
}

// What goes wrong once the stream has begun is an exception in it.
func TestSubscriptionFails(t *testing.T) {
	f := func(want string, happen func(t *testing.T, w *world, consumer string)) {
		t.Helper()
		inTime(t, func(t *testing.T, w *world, consumer string) {
			f := w.follow(consumer, shard0, latest)
			synctest.Wait()
			happen(t, w, consumer)
			<-f.ended
			got := f.messages(t)
			if last := got[len(got)-1]; last != want {
				t.Errorf("%s, want %s", last, want)
			}
		})
	}
	const notFound = `exception ResourceNotFoundException {"message":"`
	f(notFound+`Stream class-stream under account 000000000000 not found."}`, func(t *testing.T, w *world, consumer string) {
		w.must(t, "DeleteStream", `{"StreamName":"class-stream","EnforceConsumerDeletion":true}`)
	})
	f(notFound+`Stream class-stream under account 000000000000 not found."}`, func(t *testing.T, w *world, consumer string) { // by another node
		if err := w.backend.DeleteStream(t.Context(), "class-stream"); err != nil {
			t.Fatal(err)
		}
		w.must(t, "CreateStream", `{"StreamName":"class-stream","ShardCount":1}`)
	})
	gone := func(w *world, consumer string) string { return notFound + "Consumer " + consumer + ` not found."}` }
	inTime(t, func(t *testing.T, w *world, consumer string) {
		here, there := w.follow(consumer, shard0, latest), w.follow(w.register(t, "other"), shard0, latest)
		synctest.Wait()
		w.must(t, "DeregisterStreamConsumer", `{"ConsumerARN":"`+consumer+`"}`)
		<-here.ended
		got := here.messages(t)
		if last := got[len(got)-1]; last != gone(w, consumer) {
			t.Errorf("%s", last)
		}
		// Another node's deregistration is noticed with the next event.
		_, err := w.backend.UpdateStream(t.Context(), "class-stream", func(set *stream.Settings) error { set.Consumers = nil; return nil })
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		<-there.ended
		if got = there.messages(t); time.Since(start) > idlePeriod || !strings.HasPrefix(got[len(got)-1], notFound+"Consumer "+classARN+"/consumer/other:") {
			t.Errorf("%v", got)
		}
	})
	f(`exception InternalFailureException {"message":"Internal failure: subscribe again."}`, func(t *testing.T, w *world, consumer string) {
		w.backend.failReads(errors.New("the disk broke"))
		w.put(t, "bmV3")
	})
	// Throttled, it goes on when it may.
	inTime(t, func(t *testing.T, w *world, consumer string) {
		f := w.follow(consumer, shard0, latest)
		synctest.Wait()
		w.backend.failReads(fault.New(fault.Throttled, "", "", "too fast"))
		w.put(t, "bmV3")
		time.Sleep(time.Second)
		if got := f.messages(t); len(got) != 1 {
			t.Errorf("%v", got)
		}
		w.backend.failReads(nil)
		time.Sleep(readPause)
		if got := f.messages(t); len(got) != 2 || len(eventOf(t, got[1]).Records) != 1 {
			t.Errorf("%v", got)
		}
		f.leave()
		<-f.ended
	})
}

// A caller who does not read is cut by the piece's deadline, and sooner when its subscription ends meanwhile.
func TestSlowSubscriberIsCut(t *testing.T) {
	f := func(want time.Duration, happen func(w *world, f *follower, consumer string)) {
		t.Helper()
		inTime(t, func(t *testing.T, w *world, consumer string) {
			f := w.follow(consumer, shard0, latest)
			synctest.Wait()
			f.mu.Lock()
			f.stuck = make(chan struct{})
			f.mu.Unlock()
			w.put(t, "bmV3")
			start := time.Now()
			happen(w, f, consumer)
			<-f.ended
			if took := time.Since(start).Round(100 * time.Millisecond); took != want {
				t.Errorf("cut after %v, want %v", took, want)
			}
			if w.subscriptions.memory.TryAcquire(eventMemory) == false {
				t.Error("memory of events is kept")
			}
		})
	}
	f(pieceTime, func(*world, *follower, string) {})
	f(5*time.Second+lastWords, func(w *world, f *follower, _ string) {
		time.Sleep(5 * time.Second)
		f.leave()
	})
	f(takeOverAfter+lastWords, func(w *world, f *follower, consumer string) {
		time.Sleep(takeOverAfter)
		second := w.follow(consumer, shard0, latest)
		time.Sleep(lastWords)
		second.leave()
		<-second.ended
	})
}

// Events are bounded by bytes and records, and what is larger alone passes alone. All that is behind comes at once.
func TestEventSizes(t *testing.T) {
	inTime(t, func(t *testing.T, w *world, consumer string) {
		_, err := w.backend.UpdateStream(t.Context(), "class-stream", func(set *stream.Settings) error { set.MaxRecordBytes = 10 << 20; return nil })
		if err != nil {
			t.Fatal(err)
		}
		entries := []stream.Entry{{PartitionKey: "k", Data: []byte{}}, {PartitionKey: "k", Data: make([]byte, 10<<20)}}
		for range 100 {
			entries = append(entries, stream.Entry{PartitionKey: "k", Data: make([]byte, 10<<10), Sealed: true})
		}
		for range 5000 {
			entries = append(entries, stream.Entry{PartitionKey: "k\x01", Data: []byte("x")})
		}
		if err := w.backend.Append(t.Context(), "class-stream", entries, make([]stream.Result, len(entries))); err != nil {
			t.Fatal(err)
		}
		f := w.follow(consumer, shard0, horizon)
		got := f.messages(t)[1:]
		var sizes []int
		total := 0
		for i, m := range got {
			e := eventOf(t, m)
			sizes = append(sizes, len(e.Records))
			for _, r := range e.Records {
				want := entries[total]
				if !bytes.Equal(r.Data, want.Data) || r.PartitionKey != want.PartitionKey || (r.EncryptionType == "KMS") != want.Sealed {
					t.Fatalf("record %d", total)
				}
				total++
			}
			if behind := *e.MillisBehindLatest > 0; behind != (i < len(got)-1) {
				t.Errorf("event %d of %d: %d ms behind", i, len(got), *e.MillisBehindLatest)
			}
		}
		if total != len(entries) || sizes[0] != 1 || sizes[1] != 1 || sizes[2] != 12 || sizes[len(sizes)-2] != eventRecords {
			t.Errorf("%d records, %v", total, sizes)
		}
		f.leave()
		<-f.ended
		if !w.subscriptions.memory.TryAcquire(eventMemory) {
			t.Error("memory of events is kept")
		}
	})
}

// A node serves so many subscriptions and no more. What it remembers of ended ones does not grow.
func TestSubscriptionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ss := w.subscriptions
		enter := func(i int) (*subscription, error) {
			u := &subscription{s: w.Service, key: subscriptionKey{shard: uint32(i)}, cancel: func(error) {}}
			return u, ss.enter(u)
		}
		var all []*subscription
		for i := range maxSubscriptions {
			u, err := enter(i)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, u)
		}
		var x *exception
		if _, err := enter(maxSubscriptions); !errors.As(err, &x) || x.Code != "LimitExceededException" {
			t.Errorf("%v", err)
		}
		for _, u := range all {
			ss.leave(u)
		}
		for i := range 10_000 {
			u, err := enter(i + 1e6)
			if err != nil {
				t.Fatal(err)
			}
			ss.leave(u)
			time.Sleep(takeOverAfter / manyEnded)
			if n := len(ss.byKey); i > manyEnded && n > 2*manyEnded {
				t.Fatalf("%d are remembered", n)
			}
		}
	})
}

// An event costs no memory once its buffer has grown.
func TestEventsAllocateNothing(t *testing.T) {
	if raceDetector {
		return // it allocates
	}
	u, e := anEvent(t)
	if n := testing.AllocsPerRun(20, func() {
		if err := u.encode(e, false); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// anEvent is a subscription with an event of real size to encode: 850 records of 300 bytes.
func anEvent(t testing.TB) (*subscription, *shardEvent) {
	u, e := &subscription{s: newWorld(t).Service}, newShardEvent()
	for i := range 850 {
		n := stream.NewSequenceNumber(1790000000, 3, uint64(i))
		e.batch.Records = append(e.batch.Records, stream.Record{Sequence: n, Arrival: 1790000000123, PartitionKey: []byte("key"), Data: make([]byte, 300)})
		u.next = n.Next()
	}
	return u, e
}

func BenchmarkEvent(b *testing.B) {
	u, e := anEvent(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := u.encode(e, false); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(e.frame)))
	b.ReportMetric(float64(b.N*850)/b.Elapsed().Seconds(), "records/s")
}
