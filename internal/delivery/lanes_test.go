package delivery

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"millrace/internal/delivery/httpendpoint"
	"millrace/internal/delivery/transform"
	"millrace/internal/fault"
	"millrace/internal/object"
)

// partitionedBy changes how a delivery stream of extended finds its partitions.
func partitionedBy(q string) func(*S3Destination) {
	return func(d *S3Destination) {
		for _, p := range d.ProcessingConfiguration.Processors {
			if p.Type == metadataExtraction {
				p.Parameters[0].ParameterValue = q
			}
		}
	}
}

func (n *node) update(name, version string, dest *S3Destination) {
	n.t.Helper()
	_, err := n.engine.UpdateDestination(background, &UpdateRequest{DeliveryStreamName: name, CurrentDeliveryStreamVersionId: version,
		DestinationId: DestinationID, ExtendedS3DestinationUpdate: &S3Update{
			S3ConfigurationUpdate:   S3ConfigurationUpdate{Prefix: dest.Prefix, BufferingHints: dest.BufferingHints},
			ProcessingConfiguration: dest.ProcessingConfiguration}})
	if err != nil {
		n.t.Fatal(err)
	}
}

// eventsIn gives the events of all objects, sorted.
func (n *node) eventsIn(bucket string) string {
	var all []string
	for _, text := range n.objects(bucket) {
		all = append(all, strings.Fields(text)...)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// An update that changes which lanes there are is of later records; what was delivered ahead of the checkpoint before it
// is still known after a crash, by the lanes that it had then.
func TestCrashAfterAnUpdateOfLanes(t *testing.T) {
	for i := range 4 {
		crashed, function := i&1 != 0, i&2 != 0
		inBubble(t, func(t *testing.T) {
			n := newNode(t, Options{SpoolDir: t.TempDir(), Function: anyFunction, Transform: echo{}}).start()
			n.create(request("d", "", extended(nil)))
			n.put("d", event("a", 1))
			time.Sleep(30 * time.Second)
			n.put("d", event("b", 1), event("a", 2)+event("b", 2))
			time.Sleep(31 * time.Second)
			equal(t, "objects", n.ledger("d").Objects, 1)
			// What was of a is of z now, and what was of b is of a.
			dest := new(S3Destination)
			extended(partitionedBy(`{k:(if .k == "b" then "a" else "z" end)}`))(dest)
			if function {
				withFunction(dest)
				dest.Prefix = new("k=!{partitionKeyFromQuery:k}/")
			}
			n.update("d", "1", dest)
			if crashed {
				second := n.snapshot(3)
				n.close()
				n = second.start()
			}
			n.put("d", event("b", 3), event("a", 3))
			time.Sleep(3 * time.Minute)
			equal(t, "events", n.eventsIn("events"), strings.Join([]string{event("a", 1), event("a", 2), event("a", 3), event("b", 1),
				event("b", 2), event("b", 3)}, " "))
			line := n.ledger("d")
			equal(t, "accepted", line.Accepted, 5)
			equal(t, "settled", line.Settled(), 5)
			n.close()
		})
	}
}

// echo is a function that changes nothing.
type echo struct{}

func (echo) Invoke(ctx context.Context, call *transform.Call, results []transform.Result) error {
	for i := range call.Records {
		results[i] = transform.Result{Outcome: transform.Ok, Data: slices.Clone(call.Records[i].Data), Attempts: 1}
	}
	return ctx.Err()
}

// A delivery stream whose partitions never are all empty at once comes to a new definition all the same.
func TestUpdateReachesBusyPartitions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{SpoolDir: t.TempDir()}).start()
		defer n.close()
		n.create(request("d", "", extended(nil)))
		dest := new(S3Destination)
		extended(nil)(dest)
		dest.Prefix = new("new/k=!{partitionKeyFromQuery:k}/")
		for i := range 60 {
			if i == 10 {
				n.update("d", "1", dest)
			}
			n.put("d", event(string(rune('a'+i%4)), i))
			time.Sleep(10 * time.Second)
		}
		late := 0
		for _, key := range n.sink.keys("events") {
			if strings.HasPrefix(key, "new/") {
				late++
			}
		}
		if late < 3 {
			t.Errorf("%d objects under the new prefix", late)
		}
	})
}

// A stop in the middle of staging plans nothing of what it could not stage.
func TestStopWhileStaging(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := &shouting{}
		var once sync.Once
		stop := make(chan struct{})
		n := newNode(t, Options{Function: anyFunction, Transform: f, SpoolDir: t.TempDir()})
		n.opts.Failpoint = func(at string) {
			if at == "stage" {
				once.Do(func() { close(stop); time.Sleep(time.Second) })
			}
		}
		n.start()
		n.create(request("d", "", withCall(1, 5)))
		n.put("d", "abc;", "def;")
		<-stop
		n.restart()
		time.Sleep(time.Minute)
		equal(t, "delivered", joined(n.objects("events")), "ABC;DEF;")
		equal(t, "settled", n.ledger("d").Settled(), 2)
		n.close()
	})
}

// shouting is a function that makes letters large; it may say how often, and fail.
type shouting struct {
	mu    sync.Mutex
	calls int
	grow  int // times that data is repeated; 0: once
}

func (s *shouting) Invoke(ctx context.Context, call *transform.Call, results []transform.Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	for i := range call.Records {
		data := strings.Repeat(strings.ToUpper(string(call.Records[i].Data)), max(s.grow, 1))
		results[i] = transform.Result{Outcome: transform.Ok, Data: []byte(data), Attempts: 1}
	}
	return ctx.Err()
}

func callProcessing() *ProcessingConfiguration {
	return &ProcessingConfiguration{Enabled: new(true), Processors: []Processor{{Type: lambda, Parameters: []ProcessorParameter{
		{"LambdaArn", "arn:aws:lambda:us-east-1:000000000000:function:f"}}}}}
}

func withCall(size, interval int) func(*S3Destination) {
	return func(d *S3Destination) {
		hints(size, interval)(d)
		d.ProcessingConfiguration = callProcessing()
	}
}

// While a bucket does not take what is to be staged, the function is not called again and again for the same records.
func TestOutageWhileStaging(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := &shouting{}
		n := newNode(t, Options{Function: anyFunction, Transform: f, SpoolDir: t.TempDir()})
		n.start()
		defer n.close()
		n.create(request("d", "", withCall(1, 5)))
		n.setFailUploads(func(string, string) error { return fault.New(fault.Unavailable, "test", "", "out") })
		n.put("d", "abc;", "def;")
		time.Sleep(10 * time.Minute)
		if n.engine.Healthy() == nil {
			t.Error("an outage is not seen")
		}
		n.setFailUploads(nil)
		time.Sleep(time.Minute)
		equal(t, "delivered", joined(n.objects("events")), "ABC;DEF;")
		equal(t, "calls", f.calls, 1)
		if err := n.engine.Healthy(); err != nil {
			t.Error(err)
		}
	})
}

func (n *node) setFailUploads(f func(bucket, key string) error) {
	n.sink.mu.Lock()
	defer n.sink.mu.Unlock()
	n.sink.failUpload = f
}

// Another delivery stream's uploads look like one's own when its name ends like ours; they are not swept.
func TestSweepLeavesUploadsOfOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{Function: anyFunction, Transform: &shouting{}, SpoolDir: t.TempDir()})
		n.start()
		defer n.close()
		n.create(request("d", "", withCall(1, 5)))
		n.create(request("e-d", "", withCall(1, 5)))
		n.setFail(func(string, string) error { return fault.New(fault.Unavailable, "test", "", "out") })
		n.put("e-d", "abc;")
		time.Sleep(6 * time.Hour)
		n.setFail(nil)
		time.Sleep(time.Minute)
		equal(t, "delivered", joined(n.objects("events")), "ABC;")
	})
}

// What a delivery stream had in memory, in files and in open uploads is free when it is deleted in an outage.
func TestDeletionFreesWhatWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := &receiver{answer: func(int) httpendpoint.Answer { return httpendpoint.Answer{Code: "HttpEndpoint.X", Message: "later"} }}
		n := newNode(t, Options{HTTP: r, Function: anyFunction, Transform: &shouting{}, SpoolDir: t.TempDir()}).start()
		defer n.close()
		n.create(request("d", "", hints(1, 5)))
		n.create(request("f", "", withCall(1, 5)))
		n.create(request("p", "", extended(nil)))
		n.create(toEndpoint("h", func(h *HTTPEndpointRequest) {
			h.ProcessingConfiguration = callProcessing()
			h.RetryOptions = &RetryOptions{new(7200)}
		}))
		n.setFail(func(_, key string) error {
			if strings.HasPrefix(key, stagedPrefix) {
				return nil
			}
			return fault.New(fault.Unavailable, "test", "", "out")
		})
		for i := range 20 {
			for _, name := range []string{"d", "f", "p", "h"} {
				n.put(name, event("a", i))
			}
			time.Sleep(7 * time.Second)
		}
		for _, name := range []string{"d", "f", "p", "h"} {
			if err := n.engine.Delete(background, name); err != nil {
				t.Fatal(err)
			}
			if n.ledger(name).Discarded == 0 {
				t.Errorf("%s: %v", name, n.ledger(name))
			}
		}
		time.Sleep(5 * time.Minute)
		equal(t, "bytes in buffers", n.engine.Metrics(background).BufferBytes, 0)
		equal(t, "bytes in files", n.engine.spools.Used(), 0)
		equal(t, "uploads", len(n.sink.uploads), 0)
		equal(t, "objects", joined(n.sink.keys("events")), "")
	})
}

// A foreign object on the key of an error object gives that another key, and puts nothing else again.
func TestForeignErrorObject(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := &receiver{answer: func(int) httpendpoint.Answer {
			return httpendpoint.Answer{Permanent: true, Code: "HttpEndpoint.X", Message: "no"}
		}}
		n := newNode(t, Options{HTTP: r, Table: anyTable, SpoolDir: t.TempDir()}).start()
		defer n.close()
		var once sync.Map
		n.sink.fail = func(bucket, key string) error {
			if !strings.HasPrefix(key, "errors/") {
				return nil
			}
			if _, seen := once.LoadOrStore("", true); !seen {
				n.sink.mu.Lock()
				defer n.sink.mu.Unlock()
				n.sink.buckets[bucket][key] = &memoryObject{[]byte(`{"rawData":""}` + "\n"), object.Info{Bucket: bucket, Key: key}}
			}
			return nil
		}
		n.create(toEndpoint("h", nil))
		n.create(request("d", "", extended(withParquet)))
		n.put("h", "a")
		time.Sleep(time.Minute)
		once.Clear()
		n.put("d", event("a", 1), `{"k":"a","odd":1,"n":"x"}`)
		time.Sleep(5 * time.Minute)
		equal(t, "dead-lettered by the endpoint", n.ledger("h").DeadLettered, 1)
		equal(t, "dead-lettered by the conversion", n.ledger("d").DeadLettered, 1)
		c := n.collect("events")
		equal(t, "of the endpoint", strings.Trim(joined(c.errors[httpFailed]), "|"), "a")
		equal(t, "of the conversion", strings.Trim(joined(c.errors[conversionFailed]), "|"), `{"k":"a","odd":1,"n":"x"}`)
		equal(t, "events", fmt.Sprint(c.events), "map[k=a:[1]]")
	})
}

// A batch for an endpoint never has more records or bytes than a request may.
func TestEndpointWithManySubRecords(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		posts := 0
		r := &receiver{answer: func(int) httpendpoint.Answer {
			posts++
			return httpendpoint.Answer{Delivered: posts%2 == 0, Code: "HttpEndpoint.X", Message: "again"}
		}}
		n := newNode(t, Options{HTTP: r, SpoolDir: t.TempDir()}).start()
		defer n.close()
		n.stream("s", 1)
		req := toEndpoint("d", func(h *HTTPEndpointRequest) { h.BufferingHints = &BufferingHints{new(64), new(60)} })
		from := request("d", "s", nil)
		req.DeliveryStreamType, req.KinesisStreamSourceConfiguration = from.DeliveryStreamType, from.KinesisStreamSourceConfiguration
		n.create(req)
		record := aggregateOf(7000)
		for range 4 {
			n.append("s", "p", record)
		}
		time.Sleep(5 * time.Minute)
		equal(t, "received", len(r.received()), 4*7000)
		equal(t, "batches", len(r.order), 4)
		equal(t, "delivered", n.ledger("d").Delivered, 4)
		equal(t, "outputs", n.engine.deliveries()[0].list()[0].snapshot().Counts.Outputs, 4*7000)
	})
}

// aggregateOf is what the Kinesis Producer Library makes of so many small records.
func aggregateOf(records int) string {
	b := []byte{0x0a, 1, 'p'} // the table of partition keys
	for range records {
		b = append(b, 0x1a, 5, 0x08, 0, 0x1a, 1, 'x') // partition key 0, data "x"
	}
	sum := md5.Sum(b)
	return "\xf3\x89\x9a\xc2" + string(b) + string(sum[:])
}

// What a function makes of a round of calls may be more than a request may have; the rest goes into the next one.
func TestEndpointOfAFunctionThatMakesMuch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := &receiver{}
		f := &shouting{grow: 5}
		n := newNode(t, Options{HTTP: r, Function: anyFunction, Transform: f, SpoolDir: t.TempDir(), BufferBudget: 128 << 20}).start()
		defer n.close()
		n.create(toEndpoint("d", func(h *HTTPEndpointRequest) {
			h.BufferingHints = &BufferingHints{new(64), new(60)}
			h.ProcessingConfiguration = callProcessing()
		}))
		record := strings.Repeat("x", 1000<<10)
		for range 25 {
			n.put("d", record)
		}
		time.Sleep(5 * time.Minute)
		equal(t, "received", len(r.received()), 25)
		line := n.ledger("d")
		equal(t, "settled", line.Settled(), 25)
	})
}

// The access key of a delivery stream goes to the URL that it was given for, and to no other.
func TestAccessKeyStaysWithItsURL(t *testing.T) {
	def := &Definition{HTTPEndpoint: &HTTPEndpointDestination{EndpointConfiguration: &HTTPEndpoint{Url: "https://new.example/", AccessKey: new(Secret("new"))}}}
	equal(t, "key", endpointSettings(&recipeEndpoint{URL: "https://new.example/"}, def).AccessKey, "new")
	equal(t, "key", endpointSettings(&recipeEndpoint{URL: "https://old.example/"}, def).AccessKey, "")
	equal(t, "key", endpointSettings(&recipeEndpoint{URL: "https://old.example/"}, &Definition{}).AccessKey, "")
}

// What was delivered ahead of the checkpoint is not lost with a stream that goes while the node is down, nor counted twice.
func TestStreamGoesWithLanesAhead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{SpoolDir: t.TempDir()}).start()
		n.stream("s", 1)
		n.create(request("d", "s", extended(nil)))
		n.append("s", "p", event("a", 1))
		time.Sleep(30 * time.Second)
		n.append("s", "p", event("b", 1))
		n.append("s", "p", event("a", 2))
		n.append("s", "p", event("b", 2))
		time.Sleep(31 * time.Second)
		equal(t, "delivered", n.ledger("d").Delivered, 2)
		second := n.snapshot(1)
		n.close()
		if err := second.source.DeleteStream(background, "s"); err != nil {
			t.Fatal(err)
		}
		second.start()
		defer second.close()
		time.Sleep(2 * time.Minute)
		line := second.ledger("d")
		equal(t, "accepted", line.Accepted, 4)
		equal(t, "expired", line.Expired, 2)
	})
}

// Records that expire behind the checkpoint are counted once, those that were delivered ahead of it as delivered.
func TestRecordsExpireBehindLanesAhead(t *testing.T) {
	for trimmed := 1; trimmed <= 5; trimmed++ {
		inBubble(t, func(t *testing.T) {
			n := newNode(t, Options{SpoolDir: t.TempDir()}).start()
			n.stream("s", 1)
			n.create(request("d", "s", extended(nil)))
			n.append("s", "p", event("a", 1))
			time.Sleep(30 * time.Second)
			for _, e := range []string{event("b", 1), event("a", 2), event("b", 2), event("a", 3)} {
				n.append("s", "p", e)
			}
			time.Sleep(31 * time.Second)
			equal(t, "delivered", n.ledger("d").Delivered, 3)
			second := n.snapshot(1)
			n.close()
			second.source.trim("s", 0, trimmed)
			second.start()
			defer second.close()
			time.Sleep(time.Second)
			second.append("s", "p", event("c", 1))
			time.Sleep(2 * time.Minute)
			line := second.ledger("d")
			equal(t, "accepted", line.Accepted, 6)
			expired := []int64{1: 0, 2: 1, 3: 1, 4: 2, 5: 2}[trimmed]
			equal(t, fmt.Sprint("expired of ", trimmed), line.Expired, expired)
			equal(t, "delivered", line.Delivered, 6-expired)
		})
	}
}

// Records that expire while a function has others are counted once.
func TestRecordsExpireInARound(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{Function: anyFunction, Transform: &shouting{}, SpoolDir: t.TempDir()}).start()
		defer n.close()
		n.stream("s", 1)
		n.create(request("d", "s", withCall(1, 60)))
		n.append("s", "p", "a;")
		time.Sleep(readPause / 2) // the worker has it, and pauses
		n.append("s", "p", "b;")
		n.source.trim("s", 0, 2)
		time.Sleep(readPause)
		n.append("s", "p", "c;")
		time.Sleep(5 * time.Minute)
		line := n.ledger("d")
		equal(t, "accepted", line.Accepted, 3)
		equal(t, "delivered", joined(n.objects("events")), "A;C;")
		equal(t, "expired", line.Expired, 1)
	})
}

// A spool that has no room does not keep records from going out, of whatever kind they are.
func TestSpoolWithoutRoom(t *testing.T) {
	for _, opts := range []Options{{ActivePartitions: 1}, {Function: anyFunction, Transform: &shouting{}}} {
		inBubble(t, func(t *testing.T) {
			opts.BufferBudget = slabBytes
			opts.SpoolDir = filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(opts.SpoolDir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			n := newNode(t, opts).start()
			defer n.close()
			edit := withCall(1, 60)
			if opts.Function == nil {
				edit = extended(nil)
			}
			n.create(request("d", "", edit))
			pad := strings.Repeat("x", 6<<10)
			for i := range 40 {
				n.put("d", fmt.Sprintf(`{"k":"k%d","n":%d,"pad":%q}`, i%4, i, pad))
			}
			time.Sleep(10 * time.Minute)
			line := n.ledger("d")
			equal(t, "settled", line.Settled(), 40)
			equal(t, "in memory", n.engine.Metrics(background).BufferBytes, 0)
		})
	}
}

// Random histories of a group whose delivery stream has partitions that updates change, a conversion, or a function.
func TestRandomGroupHistoriesOfLanes(t *testing.T) {
	kinds := map[string]func(h *groupHistory){
		"partitions": func(h *groupHistory) { h.lanes = func(*S3Destination) {} },
		"few":        func(h *groupHistory) { h.lanes, h.opts.ActivePartitions = func(*S3Destination) {}, 2 },
		"parquet":    func(h *groupHistory) { h.lanes, h.opts.Table = withParquet, anyTable },
		"function": func(h *groupHistory) {
			h.opts.Function, h.opts.Transform = anyFunction, &moody{random: rand.New(rand.NewPCG(h.r.Uint64(), 1))}
			h.lanes = withFunction
		},
	}
	rounds := *histories / 4
	if testing.Short() {
		rounds = min(rounds, 5)
	}
	for kind, equip := range kinds {
		for seed := range uint64(rounds) {
			t.Run(fmt.Sprintf("%s/seed=%d", kind, seed), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					h := &groupHistory{r: rand.New(rand.NewPCG(seed, 5)), numbers: map[string]int{}}
					h.opts.SpoolDir, h.opts.BufferBudget = t.TempDir(), 64*slabBytes
					equip(h)
					h.run(t)
				})
			})
		}
	}
}

// someEvents gives a record of one event or more.
func (h *groupHistory) someEvents(key string) string {
	record := event(key, h.numbers[key])
	for h.r.IntN(3) == 0 {
		h.numbers[key]++
		record += event(key, h.numbers[key])
	}
	return record
}

// otherLanes is an update that puts events into other partitions, mostly.
func (h *groupHistory) otherLanes() *S3Update {
	dest := new(S3Destination)
	queries := []string{"{k:.k}", "{k:(.n%3|tostring)}", `{k:(if .n%2==0 then "k1" else .k end)}`}
	extended(h.lanes)(dest)
	partitionedBy(queries[h.updates%len(queries)])(dest)
	return &S3Update{ProcessingConfiguration: dest.ProcessingConfiguration}
}

// lines counts the lines of all objects of a bucket, and of error objects what they are about.
func (n *node) lines(bucket string) map[string]int {
	n.t.Helper()
	got := map[string]int{}
	for _, key := range n.sink.keys(bucket) {
		text := content(n.t, n.sink.get(bucket, key))
		if strings.HasSuffix(key, ".parquet") {
			text = lines(n.t, text)
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(key, "errors/") {
				var e struct{ RawData []byte }
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					n.t.Fatal(err)
				}
				line = string(e.RawData)
			}
			got[strings.TrimSpace(line)]++
		}
	}
	return got
}

// verifyLanes checks that every event is in one object, or was dropped.
func (h *groupHistory) verifyLanes() {
	h.t.Helper()
	got := h.lines("events")
	for key, n := range h.numbers {
		for i := 1; i <= n; i++ {
			if times := got[event(key, i)]; times != 1 && (times != 0 || h.opts.Function == nil) {
				h.t.Errorf("%s is there %d times", event(key, i), times)
			}
			delete(got, event(key, i))
		}
	}
	if len(got) > 0 {
		h.t.Errorf("from nowhere: %v", got)
	}
	line := h.ledger("d")
	equal(h.t, "in flight", line.InFlight, 0)
	equal(h.t, "expired or discarded", line.Expired+line.Discarded, 0)
}

// patient is an endpoint that takes minutes to answer.
type patient struct{ receiver }

func (p *patient) Post(ctx context.Context, e *httpendpoint.Endpoint, b *httpendpoint.Body) (httpendpoint.Answer, error) {
	sleep(ctx, 3*time.Minute)
	return p.receiver.Post(ctx, e, b)
}

// Endpoints that take long to answer do not hold up buckets.
func TestSlowEndpointsDoNotHoldUpBuckets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{HTTP: &patient{}, DirectPutShards: 4}).start()
		defer n.close()
		for i := range 4 {
			n.create(toEndpoint(fmt.Sprint("h", i), nil))
		}
		n.create(request("d", "", hints(1, 5)))
		for range 40 {
			for i := range 16 {
				n.put(fmt.Sprint("h", i%4), "x")
			}
			time.Sleep(5 * time.Second)
		}
		n.put("d", "now")
		time.Sleep(7 * time.Second)
		equal(t, "delivered", joined(n.objects("events")), "now")
		time.Sleep(time.Hour)
		for i := range 4 {
			equal(t, "posted", n.ledger(fmt.Sprint("h", i)).Delivered, 160)
		}
	})
}

// A backup is no delivery stream to callers.
func TestBackupIsNotFound(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{HTTP: &receiver{}}).start()
		defer n.close()
		n.create(toEndpoint("d", func(h *HTTPEndpointRequest) { h.S3BackupMode = "AllData" }))
		name := "d" + backupSuffix
		_, err := n.engine.PutBatch(background, name, [][]byte{nil}, make([]PutResult, 1))
		_, describing := n.engine.Describe(name)
		for _, err := range []error{err, describing, n.engine.Delete(background, name)} {
			if !fault.Is(err, fault.NotFound) {
				t.Error(err)
			}
		}
		equal(t, "of the backup", n.ledger(name).Accepted, 0)
	})
}

// What a file of the spool does not give back is made again.
func TestSpoolThatCannotBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{SpoolDir: t.TempDir()}).start()
		defer n.close()
		n.create(request("d", "", extended(nil)))
		n.setFail(func(string, string) error { return errOut })
		n.put("d", event("a", 1), "broken")
		time.Sleep(2 * time.Minute)
		s := &n.engine.spools
		s.mu.Lock()
		file := s.current
		s.mu.Unlock()
		if file == nil {
			t.Fatal("nothing is in files")
		}
		file.f.Close()
		n.setFail(nil)
		time.Sleep(time.Minute)
		equal(t, "delivered", n.ledger("d").Delivered, 1)
		equal(t, "dead-lettered", n.ledger("d").DeadLettered, 1)
		equal(t, "bytes in files", n.engine.spools.Used(), 0)
	})
}

// Texts of failures are bounded, and frames hold them.
func TestLongFailures(t *testing.T) {
	k := &kept{budget: &budget{total: 1 << 20}}
	o := output{data: []byte("data"), failure: &failure{Code: "c", Message: strings.Repeat("\u00e4", 100<<10)}}
	if err := k.frame(&o); err != nil {
		t.Fatal(err)
	}
	r := frameReader{from: &keptReader{k: k}}
	got, err := r.next()
	if err != nil || string(got.data) != "data" || !utf8.ValidString(got.failure.Message) || len(got.failure.Message) > 4<<10 {
		t.Errorf("%v, %+v", err, got)
	}
	if _, err := r.next(); err != io.EOF {
		t.Error(err)
	}
}

// A function that has left the configuration holds up its records, seen in health and at a gentle pace, until it is back.
func TestFunctionLeavesTheConfiguration(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{Function: anyFunction, Transform: &shouting{}, SpoolDir: t.TempDir()}).start()
		n.create(request("d", "", withCall(1, 5)))
		n.close()
		function := n.opts.Function
		n.opts.Function = nil
		n.start()
		n.put("d", "abc")
		time.Sleep(time.Minute)
		read := func() int {
			n.source.mu.Lock()
			defer n.source.mu.Unlock()
			return n.source.reads
		}
		reads := read()
		time.Sleep(time.Hour)
		if more := read() - reads; more > 1500 {
			t.Errorf("%d reads in an hour", more)
		}
		if err := n.engine.Healthy(); err == nil || !strings.Contains(err.Error(), "function:f") {
			t.Error(err)
		}
		if m := n.engine.Metrics(background).DeliveryStreams[0]; m.LagSeconds < 3600 && m.LagRecords != 1 {
			t.Errorf("lag: %v s, %d records", m.LagSeconds, m.LagRecords)
		}
		n.close()
		n.opts.Function = function
		n.start()
		defer n.close()
		time.Sleep(10 * time.Second)
		equal(t, "delivered", joined(n.objects("events")), "ABC")
	})
}

// Random histories of a node that crashes, whose source trims, whose bucket fails and whose partitions change: the ledger adds
// up at every moment, and nothing is there twice.
func TestRandomHistoriesOfLanes(t *testing.T) {
	rounds := *histories / 2
	if testing.Short() {
		rounds = min(rounds, 5)
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) { historyOfLanes(t, rand.New(rand.NewPCG(seed, 6))) })
		})
	}
}

func historyOfLanes(t *testing.T, r *rand.Rand) {
	opts := Options{SpoolDir: t.TempDir(), BufferBudget: int64(1+r.IntN(8)) * slabBytes, ActivePartitions: 2 + r.IntN(8)}
	h := &groupHistory{group: &group{node: newNode(t, opts)}, r: r, numbers: map[string]int{}, opts: opts, lanes: func(*S3Destination) {}}
	n := h.node.start()
	defer func() { n.close() }()
	n.stream("s", 1)
	n.create(request("d", "s", extended(nil)))
	trims := r.IntN(2) == 0
	records := 0
	for range 100 {
		switch step := r.IntN(12); {
		case step == 0:
			old := n
			n = n.snapshot(r.Uint64())
			old.setFail(nil)
			old.close()
			n.start()
		case step == 1:
			h.updates++
			def, err := n.engine.Describe("d")
			if err != nil {
				t.Fatal(err)
			}
			if _, err = n.engine.UpdateDestination(background, &UpdateRequest{DeliveryStreamName: "d", DestinationId: DestinationID,
				CurrentDeliveryStreamVersionId: fmt.Sprint(def.VersionID), ExtendedS3DestinationUpdate: h.otherLanes()}); err != nil {
				t.Fatal(err)
			}
		case step == 2:
			n.setFail(func(string, string) error { return errOut })
		case step == 3:
			n.setFail(nil)
		case step == 4 && trims:
			n.source.trim("s", 0, r.IntN(8))
		case step < 8:
			time.Sleep(time.Duration(r.IntN(30)) * time.Second)
		default:
			for range 1 + r.IntN(4) {
				key := fmt.Sprint("k", r.IntN(6))
				h.numbers[key]++
				n.append("s", "p", h.someEvents(key))
				records++
			}
		}
		n.ledger("d")
	}
	n.setFail(nil)
	time.Sleep(5 * time.Minute)
	line := n.ledger("d")
	equal(t, "accepted", line.Accepted, int64(records))
	equal(t, "in flight", line.InFlight, 0)
	got := n.lines("events")
	missing := 0
	for key, last := range h.numbers {
		for i := 1; i <= last; i++ {
			switch times := got[event(key, i)]; {
			case times > 1:
				t.Errorf("%s is there %d times", event(key, i), times)
			case times == 0:
				missing++
			}
		}
	}
	if (missing > 0) != (line.Expired > 0) || line.Expired > 0 && !trims {
		t.Errorf("%d events are missing, %d records expired", missing, line.Expired)
	}
}
