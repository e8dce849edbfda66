package delivery

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"millrace/internal/delivery/httpendpoint"
	"millrace/internal/delivery/process"
)

// receiver is an HTTP endpoint that keeps each batch once, by its id, as such endpoints do.
type receiver struct {
	mu      sync.Mutex
	batches map[string][]string
	order   []string
	posts   int
	answer  func(post int) httpendpoint.Answer // nil: delivered
}

func (r *receiver) Post(ctx context.Context, _ *httpendpoint.Endpoint, b *httpendpoint.Body) (httpendpoint.Answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.posts++
	if r.answer != nil {
		if a := r.answer(r.posts); !a.Delivered {
			return a, ctx.Err()
		}
	}
	var body struct {
		RequestID string `json:"requestId"`
		Records   []struct{ Data []byte }
	}
	if err := json.Unmarshal(b.Bytes(), &body); err != nil {
		panic(err)
	}
	var records []string
	for _, record := range body.Records {
		records = append(records, string(record.Data))
	}
	if r.batches == nil {
		r.batches = map[string][]string{}
	}
	if _, known := r.batches[body.RequestID]; !known {
		r.order = append(r.order, body.RequestID)
		r.batches[body.RequestID] = records
	}
	return httpendpoint.Answer{Delivered: true}, nil
}

func (r *receiver) received() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.order {
		all = append(all, r.batches[id]...)
	}
	return all
}

func toEndpoint(name string, edit func(*HTTPEndpointRequest)) *CreateRequest {
	h := &HTTPEndpointRequest{HTTPEndpointDestination: HTTPEndpointDestination{
		EndpointConfiguration: &HTTPEndpoint{Url: "https://example.com/in"}, BufferingHints: &BufferingHints{new(1), new(5)},
		RetryOptions: &RetryOptions{new(60)}},
		S3Configuration: &S3Configuration{RoleARN: "arn:aws:iam::000000000000:role/delivery", BucketARN: "arn:aws:s3:::events",
			ErrorOutputPrefix: new("errors/!{firehose:error-output-type}/")}}
	if edit != nil {
		edit(h)
	}
	return &CreateRequest{DeliveryStreamName: name, HttpEndpointDestinationConfiguration: h}
}

func TestEndpoint(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := &receiver{answer: func(post int) httpendpoint.Answer {
			return httpendpoint.Answer{Delivered: post > 2, Code: "HttpEndpoint.X", Message: "later"}
		}}
		n := newNode(t, Options{HTTP: r}).start()
		defer n.close()
		n.create(toEndpoint("d", nil))
		n.put("d", "a", "b")
		time.Sleep(4 * time.Second)
		n.put("d", "c")
		time.Sleep(time.Minute)
		if got := r.received(); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("got %q after %d posts", got, r.posts)
		}
		line := n.ledger("d")
		equal(t, "delivered", line.Delivered, 3)
		equal(t, "in the bucket", len(n.sink.keys("events")), 0)
	})
}

// What an endpoint refuses, at once or for as long as it is tried, goes to an error object; the rest goes on.
func TestEndpointThatRefuses(t *testing.T) {
	f := func(permanent bool, posts int) {
		t.Helper()
		inBubble(t, func(t *testing.T) {
			r := &receiver{answer: func(int) httpendpoint.Answer {
				return httpendpoint.Answer{Permanent: permanent, Code: "HttpEndpoint.DestinationException", Message: "no"}
			}}
			n := newNode(t, Options{HTTP: r}).start()
			defer n.close()
			n.create(toEndpoint("d", nil))
			n.put("d", "a", "b")
			time.Sleep(5 * time.Minute)
			if got := n.collect("events").errors[httpFailed]; !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("errors: %q", got)
			}
			if r.posts < posts || permanent && r.posts != posts {
				t.Errorf("%d posts", r.posts)
			}
			equal(t, "dead-lettered", n.ledger("d").DeadLettered, 2)
		})
	}
	f(true, 1)
	f(false, 4)
}

func TestBackup(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{Function: anyFunction, Transform: &moody{random: rand.New(rand.NewPCG(1, 2))}})
		n.sink.create("backup")
		n.start()
		n.create(request("d", "", func(d *S3Destination) {
			hints(1, 5)(d)
			d.ProcessingConfiguration = &ProcessingConfiguration{Enabled: new(true), Processors: []Processor{{Type: lambda, Parameters: []ProcessorParameter{
				{"LambdaArn", "arn:aws:lambda:us-east-1:000000000000:function:f"}}}}}
			d.S3BackupMode = "Enabled"
			d.S3BackupConfiguration = &S3Configuration{RoleARN: d.RoleARN, BucketARN: "arn:aws:s3:::backup", BufferingHints: &BufferingHints{new(1), new(60)}}
		}))
		var want []string
		for i := range 50 {
			want = append(want, event("a", i))
			n.put("d", event("a", i))
		}
		time.Sleep(10 * time.Second)
		n.restart()
		time.Sleep(2 * time.Minute)
		equal(t, "backup", strings.Join(n.objects("backup"), ""), strings.Join(want, ""))
		line, backup := n.ledger("d"), n.ledger("d"+backupSuffix)
		equal(t, "settled", line.Settled(), 50)
		equal(t, "backed up", backup.Delivered, 50)
		if line.Dropped == 0 || line.DeadLettered == 0 || line.Delivered == 0 {
			t.Errorf("%+v", line)
		}
		names, _ := n.engine.List(ListRequest{Limit: 10})
		equal(t, "delivery streams", joined(names), "d")
		n.put("d", "discarded")
		if err := n.engine.Delete(background, "d"); err != nil {
			t.Fatal(err)
		}
		equal(t, "discarded", n.ledger("d").Discarded, 1)
		equal(t, "discarded of the backup", n.ledger("d"+backupSuffix).Discarded, 1)
		if _, ok := n.source.streams["d"]; ok || len(n.source.streams) != 0 {
			t.Errorf("streams are left: %v", n.source.streams)
		}
		n.close()
	})
}

// All data of an endpoint is kept; what a crash leaves between the steps of a batch that a function has made is finished, or
// swept.
func TestCrashOnTheWayToAnEndpoint(t *testing.T) {
	for _, point := range []string{"stage", "plan-after", "put-before", "put-after", "commit-before", "commit-after"} {
		t.Run(point, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := &receiver{}
				n := newNode(t, Options{HTTP: r, Function: anyFunction, Transform: &moody{random: rand.New(rand.NewPCG(3, 4))}, SpoolDir: t.TempDir()})
				remains := n.dieAt(point, 2, 70)
				n.start()
				n.create(toEndpoint("d", func(h *HTTPEndpointRequest) {
					h.S3BackupMode = "AllData"
					h.S3Configuration.Prefix = new("all/")
					h.ProcessingConfiguration = &ProcessingConfiguration{Enabled: new(true), Processors: []Processor{{Type: lambda, Parameters: []ProcessorParameter{
						{"LambdaArn", "arn:aws:lambda:us-east-1:000000000000:function:f"}}}}}
				}))
				for i := range 20 {
					n.put("d", event("a", i))
					time.Sleep(time.Second)
				}
				second := remains()
				n.close()
				if second == nil {
					t.Fatal("it never came to that")
				}
				second.start()
				time.Sleep(5 * time.Hour) // what was staged in vain is swept in the end
				line := second.ledger("d")
				equal(t, "in flight", line.InFlight, 0)
				equal(t, "backed up", second.ledger("d"+backupSuffix).Delivered, line.Accepted)
				for _, key := range second.sink.keys("events") {
					if strings.HasPrefix(key, stagedPrefix) {
						t.Errorf("%s is left", key)
					}
				}
				second.close()
			})
		})
	}
}

// A request has room for ten thousand records. What a function gives back at once may be more, and so may the user records of
// an aggregate be that come on top of others.
func TestMoreThanOneRequestHolds(t *testing.T) {
	const all = httpendpoint.MaxRecords + 2500
	text := func(i int) string { return fmt.Sprintf("r%05d;", i) }
	f := func(name string, opts Options, req *CreateRequest, feed func(n *node)) {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := &receiver{}
				opts.HTTP, opts.SpoolDir = r, t.TempDir()
				n := newNode(t, opts).start()
				defer n.close()
				n.stream("s", 1)
				n.create(req)
				feed(n)
				time.Sleep(2 * time.Minute)
				got := r.received()
				for i := range min(len(got), all) {
					if got[i] != text(i) {
						t.Fatalf("record %d is %q", i, got[i])
					}
				}
				equal(t, "received", len(got), all)
				equal(t, "in flight", n.ledger("d").InFlight, 0)
			})
		})
	}
	moreAtOnce := toEndpoint("d", func(h *HTTPEndpointRequest) {
		h.ProcessingConfiguration = &ProcessingConfiguration{Enabled: new(true), Processors: []Processor{{Type: lambda, Parameters: []ProcessorParameter{
			{"LambdaArn", "arn:aws:lambda:us-east-1:000000000000:function:f"}}}}}
	})
	f("function", Options{Function: anyFunction, Transform: echo{}}, moreAtOnce, func(n *node) {
		for i := 0; i < all; i += 500 {
			records := make([]string, 500)
			for j := range records {
				records[j] = text(i + j)
			}
			n.put("d", records...)
		}
	})
	ofStream := toEndpoint("d", nil)
	ofStream.DeliveryStreamType, ofStream.KinesisStreamSourceConfiguration = KinesisStreamAsSource, request("d", "s", nil).KinesisStreamSourceConfiguration
	for _, size := range []int{700, 2100, all} {
		f(fmt.Sprint("aggregates-of-", size), Options{}, ofStream, func(n *node) {
			for i := 0; i < all; i += size {
				var records []string
				for j := i; j < min(i+size, all); j++ {
					records = append(records, text(j))
				}
				n.append("s", "k", aggregate(records))
			}
		})
	}
}

// aggregate is a record as the Kinesis Producer Library makes it of several.
func aggregate(records []string) string {
	message := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "k")
	for _, data := range records {
		record := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 0)
		record = protowire.AppendString(protowire.AppendTag(record, 3, protowire.BytesType), data)
		message = protowire.AppendBytes(protowire.AppendTag(message, 3, protowire.BytesType), record)
	}
	sum := md5.Sum(message)
	return process.AggregateMagic + string(message) + string(sum[:])
}
