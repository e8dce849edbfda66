package delivery

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/delivery/httpendpoint"
	"millrace/internal/delivery/transform"
	"millrace/internal/fault"
)

const functionARN = "arn:aws:lambda:us-east-1:000000000000:function:f"

// notes keeps what is logged, and has no group "odd".
type notes struct {
	mu    sync.Mutex
	lines []ErrorLine
}

func (n *notes) Check(group string) error {
	if group == "odd" {
		return errors.New("not that one")
	}
	return nil
}

func (n *notes) Log(l *ErrorLine) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, *l)
}

// seen gives the lines so far without their times, each once.
func (n *notes) seen() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for i := range n.lines {
		l := &n.lines[i]
		_, line, _ := strings.Cut(string(l.Append(nil)), " ")
		if line = l.Group + " " + line; !slices.Contains(all, line) {
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func (n *notes) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.lines)
}

func logTo(group string) *CloudWatchLoggingOptions {
	return &CloudWatchLoggingOptions{Enabled: new(true), LogGroupName: group, LogStreamName: "S3Delivery"}
}

// scripted is a function whose attempts fail while fails is set, and which spoils the records that hold the word.
type scripted struct {
	mu    sync.Mutex
	fails bool
}

func (s *scripted) set(fails bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = fails
}

func (s *scripted) Invoke(ctx context.Context, call *transform.Call, results []transform.Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range results {
		results[i] = transform.Result{Outcome: transform.Ok, Data: slices.Clone(call.Records[i].Data), Attempts: 1}
		if strings.Contains(string(call.Records[i].Data), "spoil") {
			results[i] = transform.Result{Outcome: transform.Failed, ErrorCode: transform.CodeMissingRecordID, ErrorMessage: "not there", Attempts: 1, Ended: time.Now()}
		}
		if strings.Contains(string(call.Records[i].Data), "refuse") {
			results[i] = transform.Result{Outcome: transform.Failed, ErrorCode: transform.CodeProcessingFailed, ErrorMessage: "no", Attempts: 1, Ended: time.Now()}
		}
		if s.fails {
			results[i] = transform.Result{Outcome: transform.Failed, ErrorCode: transform.CodeFunctionError, ErrorMessage: "broken", Attempts: 2, Ended: time.Now()}
		}
	}
	if !s.fails {
		call.Attempted(transform.Attempt{Number: 1, Took: time.Second})
		return ctx.Err()
	}
	for i := range 2 {
		call.Attempted(transform.Attempt{Number: i + 1, Took: time.Second, Code: transform.CodeFunctionError, Message: "broken"})
	}
	return ctx.Err()
}

func throughFunction(d *S3Destination) {
	hints(1, 5)(d)
	d.ProcessingConfiguration = &ProcessingConfiguration{Enabled: new(true), Processors: []Processor{{Type: lambda, Parameters: []ProcessorParameter{{"LambdaArn", functionARN}}}}}
}

func (n *node) metrics(name string) DeliveryMetrics {
	n.t.Helper()
	for _, m := range n.engine.Metrics(context.Background()).DeliveryStreams {
		if m.Name == name {
			return m
		}
	}
	n.t.Fatalf("there are no metrics of %s", name)
	return DeliveryMetrics{}
}

// wantTrouble checks that what is told of a delivery stream has the text; empty: nothing is.
func (n *node) wantTrouble(name, text string) {
	n.t.Helper()
	if got := n.engine.Trouble()[name].Error; got == "" != (text == "") || !strings.Contains(got, text) {
		n.t.Errorf("trouble of %s: %q, want %q", name, got, text)
	}
}

func TestErrorLogOfBuckets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := &notes{}
		n := newNode(t, Options{Errors: log})
		n.sink.create("backup")
		n.start()
		defer n.close()
		n.setFail(func(bucket, key string) error {
			switch bucket {
			case "events":
				return fault.New(fault.Denied, "object.Put", bucket, "no")
			case "backup":
				return fault.New(fault.Unavailable, "object.Put", bucket, "gone fishing")
			}
			return nil
		})
		n.create(request("quiet", "", bucket("later")))
		n.create(request("missing", "", func(d *S3Destination) {
			bucket("later")(d)
			d.CloudWatchLoggingOptions = logTo("/aws/kinesisfirehose/missing")
		}))
		n.create(request("denied", "", func(d *S3Destination) {
			hints(1, 5)(d)
			d.CloudWatchLoggingOptions = logTo("denied")
			d.S3BackupMode = "Enabled"
			d.S3BackupConfiguration = &S3Configuration{RoleARN: d.RoleARN, BucketARN: "arn:aws:s3:::backup",
				BufferingHints: &BufferingHints{new(1), new(60)}, CloudWatchLoggingOptions: logTo("backup")}
		}))
		for _, name := range []string{"quiet", "missing", "denied"} {
			n.put(name, "a")
		}
		time.Sleep(7 * time.Second)
		equal(t, "lines", log.seen(), `/aws/kinesisfirehose/missing S3Delivery {"deliveryStreamARN":"arn:aws:firehose:us-east-1:000000000000:deliverystream/missing","destination":"arn:aws:s3:::later","deliveryStreamVersionId":1,"message":"The specified bucket does not exist. Create the bucket or use a different bucket that does exist.","errorCode":"S3.NoSuchBucket"}
denied S3Delivery {"deliveryStreamARN":"arn:aws:firehose:us-east-1:000000000000:deliverystream/denied","destination":"arn:aws:s3:::events","deliveryStreamVersionId":1,"message":"Access was denied: object.Put events: no","errorCode":"S3.AccessDenied"}`)
		n.wantTrouble("denied", "no")
		n.wantTrouble("denied/backup", "")
		time.Sleep(time.Minute)
		if want := `backup S3Delivery {"deliveryStreamARN":"arn:aws:firehose:us-east-1:000000000000:deliverystream/denied","destination":"arn:aws:s3:::backup","deliveryStreamVersionId":1,"message":"object.Put backup: gone fishing","errorCode":"InternalError"}`; !strings.Contains(log.seen(), want) {
			t.Errorf("%s\nwant the backup's, too:\n%s", log.seen(), want)
		}
		n.wantTrouble("denied/backup", "gone fishing")
		equal(t, "failures of the backup", n.metrics("denied/backup").PutErrors > 0, true)
		n.setFail(nil)
		time.Sleep(time.Minute)
		n.wantTrouble("denied", "")
		n.wantTrouble("denied/backup", "")
	})
}

// Log groups that can't be written are refused, of the backup, too.
func TestErrorLogsThatCannotBe(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{Errors: &notes{}}).start()
		defer n.close()
		f := func(edit func(*S3Destination), want string) {
			t.Helper()
			_, err := n.engine.Create(background, request("d", "", edit))
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
		const want = "cloudWatchLoggingOptions.logGroupName: not that one"
		f(func(d *S3Destination) { d.CloudWatchLoggingOptions = logTo("odd") }, want)
		f(func(d *S3Destination) {
			d.S3BackupMode = "Enabled"
			d.S3BackupConfiguration = &S3Configuration{RoleARN: d.RoleARN, BucketARN: d.BucketARN, CloudWatchLoggingOptions: logTo("odd")}
		}, want)
		n.create(request("d", "", func(d *S3Destination) {
			d.CloudWatchLoggingOptions = &CloudWatchLoggingOptions{Enabled: new(false), LogGroupName: "odd", LogStreamName: "s"}
		}))
	})
}

// A function that fails is told of, in words and numbers, until it answers.
func TestFunctionThatFailsIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log, f := &notes{}, &scripted{fails: true}
		n := newNode(t, Options{Errors: log, Function: anyFunction, Transform: f}).start()
		defer n.close()
		n.create(request("d", "", func(d *S3Destination) {
			throughFunction(d)
			d.CloudWatchLoggingOptions = logTo("group")
		}))
		put := func(record string) {
			n.put("d", record)
			time.Sleep(time.Minute)
		}
		put("a")
		n.wantTrouble("d", "the function "+functionARN+" fails: Lambda.FunctionError: broken (2 times since ")
		equal(t, "calls", *n.metrics("d").Function, CallMetrics{Calls: 2, Retries: 1, Failures: 2, Time: 2 * time.Second})
		f.set(false)
		put("b")
		n.wantTrouble("d", "")
		put("spoil")
		n.wantTrouble("d", "the function "+functionARN+" fails for records: Lambda.MissingRecordId: not there")
		put("refuse")
		n.wantTrouble("d", "") // that is the function's right
		m := n.metrics("d")
		equal(t, "calls", *m.Function, CallMetrics{Calls: 5, Retries: 1, Failures: 2, Time: 5 * time.Second})
		equal(t, "failed", m.FailedRecords[0], FailedCount{processingFailed, 3})
		equal(t, "dead-lettered", m.DeadLetteredRecords, 3)
		equal(t, "delivered", m.DeliveredRecords, 1)
		if m.Endpoint != nil || m.Converts || m.PartitionsBound != 0 {
			t.Errorf("steps that are not there: %+v", m.StepMetrics)
		}
		const begin = `group S3Delivery {"deliveryStreamARN":"arn:aws:firehose:us-east-1:000000000000:deliverystream/d","destination":"arn:aws:s3:::events","deliveryStreamVersionId":1,"message":`
		equal(t, "lines", log.seen(), begin+`"broken","errorCode":"Lambda.FunctionError","processor":"`+functionARN+"\"}\n"+
			begin+`"not there","errorCode":"Lambda.MissingRecordId","processor":"`+functionARN+`"}`)
	})
}

// So is an endpoint, and nothing of a URL but its host is shown. Trouble that nobody meets any more is over in the end.
func TestEndpointThatFailsIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log, r := &notes{}, &receiver{answer: func(post int) httpendpoint.Answer {
			return httpendpoint.Answer{Delivered: post == 2 || post > 3, Permanent: post == 3, Code: "HttpEndpoint.DestinationException", Message: "no"}
		}}
		n := newNode(t, Options{Errors: log, HTTP: r}).start()
		defer n.close()
		n.create(toEndpoint("d", func(h *HTTPEndpointRequest) {
			h.EndpointConfiguration.Url = "https://example.com/in?key=secret"
			h.CloudWatchLoggingOptions = logTo("endpoint")
		}))
		n.put("d", "a")
		time.Sleep(5500 * time.Millisecond)
		n.wantTrouble("d", "HttpEndpoint.DestinationException: no")
		time.Sleep(time.Minute)
		n.wantTrouble("d", "")
		n.put("d", "b")
		time.Sleep(time.Minute)
		n.wantTrouble("d", "the endpoint https://example.com does not take records: HttpEndpoint.DestinationException: no (1 times since ")
		time.Sleep(conditionAge)
		n.wantTrouble("d", "")
		n.put("d", "c")
		time.Sleep(time.Minute)
		m := n.metrics("d")
		if c := *m.Endpoint; c.Calls != 4 || c.Retries != 1 || c.Failures != 2 {
			t.Errorf("posts: %+v", c)
		}
		equal(t, "failed", m.FailedRecords[0], FailedCount{httpFailed, 1})
		equal(t, "lines", log.seen(), `endpoint S3Delivery {"deliveryStreamARN":"arn:aws:firehose:us-east-1:000000000000:deliverystream/d","destination":"https://example.com","deliveryStreamVersionId":1,"message":"no","errorCode":"HttpEndpoint.DestinationException"}`)
	})
}

func TestPartitionsAndConversionsAreTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := &notes{}
		n := newNode(t, Options{Errors: log, Table: anyTable, ActivePartitions: 2, SpoolDir: t.TempDir()}).start()
		defer n.close()
		n.create(request("d", "", extended(func(d *S3Destination) {
			withParquet(d)
			d.CloudWatchLoggingOptions = logTo("group")
		})))
		n.put("d", event("a", 1)+event("a", 2), event("b", 1), `{"k":"a","n":"odd"}`, "broken")
		time.Sleep(time.Second)
		n.wantTrouble("d", "")
		equal(t, "partitions", n.metrics("d").Partitions, 2)
		n.put("d", event("c", 1), event("d", 1))
		time.Sleep(2 * time.Minute)
		n.wantTrouble("d", partitionsFull+": The number of active partitions has exceeded the limit (2 times since ")
		m := n.metrics("d")
		equal(t, "partitions", m.Partitions, 0)
		equal(t, "bound", m.PartitionsBound, 2)
		equal(t, "exceeded", m.PartitionsExceeded, 2)
		equal(t, "converted", m.Converted, 3)
		equal(t, "unconverted", m.Unconverted, 1)
		equal(t, "outputs", m.Outputs, 3)
		equal(t, "error objects", m.ErrorObjects, 3)
		if want := []FailedCount{{metadataFailed, 1}, {activePartitionExceeded, 2}, {conversionFailed, 1}}; !slices.Equal(m.FailedRecords, want) {
			t.Errorf("failed: %v, want %v", m.FailedRecords, want)
		}
		for _, code := range []string{"DynamicPartitioning.MetadataExtractionFailed", "DynamicPartitioning.ActivePartitionsLimitExceeded", "DataFormatConversion."} {
			if !strings.Contains(log.seen(), `"errorCode":"`+code) {
				t.Errorf("%s is not in the log:\n%s", code, log.seen())
			}
		}
		time.Sleep(conditionAge)
		n.wantTrouble("d", "")
	})
}

// A second has so many lines, and the rest is counted.
func TestErrorLogIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := &notes{}
		n := newNode(t, Options{Errors: log}).start()
		defer n.close()
		n.create(request("d", "", extended(func(d *S3Destination) { d.CloudWatchLoggingOptions = logTo("group") })))
		for range 3 * maxErrorLines {
			n.put("d", "broken")
		}
		time.Sleep(2 * time.Minute)
		equal(t, "lines", log.count(), maxErrorLines)
		equal(t, "left out", n.metrics("d").LinesLeftOut, 2*maxErrorLines)
		n.put("d", "broken")
		time.Sleep(2 * time.Minute)
		equal(t, "lines", log.count(), maxErrorLines+1)
	})
}

// A spool that takes nothing is told of until it does, or has room again.
func TestSpoolTrouble(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		low := false
		n := newNode(t, Options{SpoolDir: t.TempDir(), LowSpace: func() bool { return low }}).start()
		defer n.close()
		s := &n.engine.spools
		s.bound = 1000
		write := func(size int, ok bool) run {
			t.Helper()
			r, err := s.write(slices.Values([][]byte{make([]byte, size)}), int64(size))
			if (err == nil) != ok {
				t.Errorf("%d bytes: %v", size, err)
			}
			return r
		}
		told := func(text string) {
			t.Helper()
			if got := n.engine.SpoolTrouble(); got == "" != (text == "") || !strings.Contains(got, text) {
				t.Errorf("told %q, want %q", got, text)
			}
		}
		first := write(950, true)
		told("")
		write(100, false)
		told("the spool is full: it holds 950 bytes (1 times since ")
		second := write(10, true) // which does not make it roomy
		told("the spool is full")
		first.release() // its file holds the second one, too
		told("the spool is full")
		second.release()
		told("")
		second = write(10, true)
		low = true
		told("low-space mark: nothing more is spooled; it holds 10 bytes")
		write(10, false)
		second.release()
		told("nothing more is spooled; it holds 0 bytes")
		low = false
		r := write(10, true)
		r.release()
		told("")
		m := n.engine.Metrics(background)
		equal(t, "spooled", m.SpoolBytes, 0)
		equal(t, "bound", m.SpoolBoundBytes, 1000)
	})
}
