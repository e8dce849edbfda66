package firehose_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/smithy-go"
	"github.com/cockroachdb/datadriven"

	"millrace/internal/api/firehose"
	"millrace/internal/awsmodel/firehosewire"
	"millrace/internal/delivery"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// The files of testdata are conversations: an operation with its body, then status and body as they leave.
func TestConversations(t *testing.T) {
	datadriven.Walk(t, "testdata/wire", func(t *testing.T, path string) {
		s := newService(t)
		if _, err := s.source.CreateStream(context.Background(), stream.CreateStream{Name: "class-stream"}); err != nil {
			t.Fatal(err)
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			status, body := s.call(t, d.Cmd, d.Input)
			return fmt.Sprintf("%d\n%s\n", status, body)
		})
	})
}

// described is an engine that knows one definition.
type described struct {
	firehose.Engine
	def *delivery.Definition
}

func (d described) Describe(string) (*delivery.Definition, error) { return d.def, nil }

// What a definition has of its destination is shown whole, defaults filled in, whether this version runs it or not; but for
// an access key, which is shown nowhere.
func TestDescriptions(t *testing.T) {
	datadriven.RunTest(t, "testdata/describe/destinations", func(t *testing.T, d *datadriven.TestData) string {
		req := &delivery.CreateRequest{DeliveryStreamName: "d"}
		if err := json.Unmarshal([]byte(d.Input), req); err != nil {
			t.Fatal(err)
		}
		def, err := req.Definition()
		if err != nil {
			t.Fatal(err)
		}
		s, err := firehose.New(firehose.Options{Engine: described{def: def}, Account: account, IDs: ids.Seeded(1)})
		if err != nil {
			t.Fatal(err)
		}
		out := s.Invoke(context.Background(), "DescribeDeliveryStream", []byte(`{"DeliveryStreamName":"d"}`), nil)
		if strings.Contains(string(out.Body), "not to be seen") || strings.Contains(fmt.Sprintf("%v %+v %#v", def, def.HTTPEndpoint, def.HTTPEndpoint), "not to be seen") {
			t.Error("the access key is shown")
		}
		_, dest, _ := strings.Cut(string(out.Body), `"Destinations":`)
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, []byte(strings.TrimSuffix(dest, `,"HasMoreDestinations":false}}`)), "", "\t"); err != nil {
			t.Fatalf("%s: %v", out.Body, err)
		}
		return pretty.String() + "\n"
	})
}

const (
	directPut = `{"DeliveryStreamName":"d","ExtendedS3DestinationConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"arn:aws:s3:::events"}}`
	sourced   = `{"DeliveryStreamName":"k","DeliveryStreamType":"KinesisStreamAsSource","KinesisStreamSourceConfiguration":{"KinesisStreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/class-stream","RoleARN":"arn:aws:iam::000000000000:role/r"},"S3DestinationConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"arn:aws:s3:::events"}}`
)

func (s *service) create(t testing.TB, body string) {
	t.Helper()
	if out := s.service.Invoke(context.Background(), "CreateDeliveryStream", []byte(body), nil); out.Status != 200 {
		t.Fatalf("%d %s", out.Status, out.Body)
	}
}

// A batch is one append: one wait for the disk, in the order of the request.
func TestBatchIsOneAppend(t *testing.T) {
	s := newService(t)
	s.create(t, directPut)
	out := s.service.Invoke(context.Background(), "PutRecordBatch", []byte(`{"DeliveryStreamName":"d","Records":[{"Data":"YQ=="},{"Data":""},{"Data":"Yg=="}]}`), []byte("kept"))
	if out.Status != 200 || !strings.HasPrefix(string(out.Body), "kept{") {
		t.Fatalf("%d %s", out.Status, out.Body)
	}
	for _, records := range s.source.records {
		if s.source.appends != 1 || fmt.Sprintf("%s", records) != "[a  b]" {
			t.Errorf("%d appends: %s", s.source.appends, records)
		}
	}
}

// Entries that fail are told apart in an answer of 200, as producers expect; when all fail the gateway must know.
func TestFailedEntries(t *testing.T) {
	s := newService(t)
	s.create(t, directPut)
	body := []byte(`{"DeliveryStreamName":"d","Records":[{"Data":"YQ=="},{"Data":"Yg=="},{"Data":"Yw=="}]}`)
	s.source.fail = func(i int) error {
		return []error{nil, fault.New(fault.Unavailable, "t", "", "%w", fault.ErrLowSpace), errors.New("secret cause")}[i]
	}
	out := s.service.Invoke(context.Background(), "PutRecordBatch", body, nil)
	const success = `{"FailedPutCount":2,"Encrypted":false,"RequestResponses":[{"RecordId":"4964`
	const failures = `},{"ErrorCode":"ServiceUnavailableException","ErrorMessage":"Slow down."},{"ErrorCode":"InternalFailure","ErrorMessage":"Internal service failure."}]}`
	if out.Status != 200 || out.Outcome != firehose.OK || !strings.HasPrefix(string(out.Body), success) || !strings.HasSuffix(string(out.Body), failures) {
		t.Errorf("%d %s", out.Status, out.Body)
	}
	s.source.fail = func(int) error { return fault.New(fault.Throttled, "t", "", "slow") }
	if out = s.service.Invoke(context.Background(), "PutRecordBatch", body, nil); out.Status != 200 || out.Outcome != firehose.Unavailable {
		t.Errorf("%+v", out)
	}
}

// Below the low-space mark a put is 500 ServiceUnavailableException, which SDKs retry; it works again when space is back.
func TestLowSpace(t *testing.T) {
	s := newService(t)
	s.create(t, directPut)
	s.source.refuse = fault.New(fault.Unavailable, "t", "", "%w", fault.ErrLowSpace)
	for _, call := range [][2]string{{"PutRecord", `{"DeliveryStreamName":"d","Record":{"Data":"YQ=="}}`}, {"PutRecordBatch", `{"DeliveryStreamName":"d","Records":[{"Data":"YQ=="}]}`}} {
		status, body := s.call(t, call[0], call[1])
		if status != 500 || body != `{"__type":"ServiceUnavailableException","message":"Service unavailable. Please try again."}` {
			t.Errorf("%s: %d %s", call[0], status, body)
		}
	}
	s.source.refuse = nil
	if status, body := s.call(t, "PutRecord", `{"DeliveryStreamName":"d","Record":{"Data":"YQ=="}}`); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}

// Over a limit the whole call fails and nothing is stored.
func TestLimits(t *testing.T) {
	s := newService(t)
	s.create(t, directPut)
	data := func(n int) string { return `{"Data":"` + base64.StdEncoding.EncodeToString(make([]byte, n)) + `"}` }
	batch := func(n, size int) string {
		return `{"DeliveryStreamName":"d","Records":[` + strings.Repeat(data(size)+",", n-1) + data(size) + `]}`
	}
	for _, c := range []struct {
		name, operation, body string
		status                int
		want                  string
	}{
		{"a full record", "PutRecord", `{"DeliveryStreamName":"d","Record":` + data(1000<<10) + `}`, 200, `"RecordId"`},
		{"a record too large", "PutRecord", `{"DeliveryStreamName":"d","Record":` + data(1000<<10+1) + `}`, 400,
			`{"__type":"ValidationException","message":"1 validation error detected: Value at 'record.data' failed to satisfy constraint: Member must have length less than or equal to 1024000"}`},
		{"a full batch", "PutRecordBatch", batch(4, 1000<<10), 200, `"FailedPutCount":0`},
		{"a batch too large", "PutRecordBatch", batch(5, 1000<<10), 400, `{"__type":"InvalidArgumentException","message":"Records size exceeds 4 MB limit"}`},
		{"500 records", "PutRecordBatch", batch(500, 1), 200, `"FailedPutCount":0`},
		{"501 records", "PutRecordBatch", batch(501, 1), 400, `{"__type":"ValidationException","message":"1 validation error detected: Value at 'records' failed to satisfy constraint: Member must have length less than or equal to 500"}`},
		{"a body too large", "PutRecordBatch", batch(9, 1000<<10), 400, `{"__type":"InvalidArgumentException","message":"Request body is larger than 8388608 bytes"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := s.call(t, c.operation, c.body)
			if status != c.status || !strings.Contains(body, c.want) {
				t.Errorf("%d %.300s", status, body)
			}
		})
	}
}

// The list names the whole model, and each served operation answers something else than that it is not supported.
func TestSupportListsTheWholeModel(t *testing.T) {
	s := newService(t)
	all := firehose.Support()
	if len(all) != len(firehosewire.Operations) {
		t.Errorf("%d of %d operations", len(all), len(firehosewire.Operations))
	}
	for _, o := range all {
		_, body := s.call(t, o.Operation, "{}")
		if refused := strings.Contains(body, "is not supported by this version of Millrace"); refused == o.Served {
			t.Errorf("%s: served %v, but %s", o.Operation, o.Served, body)
		}
	}
}

// With credentials configured, what is unsigned or signed with another secret is refused.
func TestSignaturesAreChecked(t *testing.T) {
	s := newService(t, func(o *firehose.Options) {
		o.Credentials = func(id string) (string, bool) { return "secret", id == "AKID" }
	})
	must(s.client().ListDeliveryStreams(context.Background(), &sdk.ListDeliveryStreamsInput{}))
	s.secret = "wrong"
	_, err := s.client().ListDeliveryStreams(context.Background(), &sdk.ListDeliveryStreamsInput{})
	var refused smithy.APIError
	if !errors.As(err, &refused) || refused.ErrorCode() != "InvalidSignatureException" {
		t.Errorf("got %v", err)
	}
	if status, body := s.call(t, "ListDeliveryStreams", "{}"); status != 400 || body != `{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}` {
		t.Errorf("%d %s", status, body)
	}
}

// What a body holds decides nothing but the answer: no body makes a call panic, and no answer is anything but JSON.
func FuzzInvoke(f *testing.F) {
	for _, body := range []string{directPut, sourced, `{"DeliveryStreamName":"d","Records":[{"Data":"YQ=="}]}`, `{}`, `{"Records":[null,{}]}`, `[`} {
		for which := range uint8(4) {
			f.Add(body, which)
		}
	}
	s := newService(f)
	s.create(f, directPut)
	operations := []string{"PutRecord", "PutRecordBatch", "TagDeliveryStream", "DescribeDeliveryStream"}
	f.Fuzz(func(t *testing.T, body string, which uint8) {
		out := s.service.Invoke(context.Background(), operations[int(which)%len(operations)], []byte(body), nil)
		if out.Status != 200 && out.Status != 400 || len(out.Body) == 0 || out.Body[0] != '{' {
			t.Fatalf("%d %s", out.Status, out.Body)
		}
	})
}

func BenchmarkPutRecord(b *testing.B) {
	s := newService(b)
	s.create(b, directPut)
	body := []byte(`{"DeliveryStreamName":"d","Record":{"Data":"` + base64.StdEncoding.EncodeToString(make([]byte, 300)) + `"}}`)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = mustPut(b, s.service, "PutRecord", body, dst[:0])
	}
}

func BenchmarkPutRecordBatch500(b *testing.B) {
	s := newService(b)
	s.create(b, directPut)
	one := `{"Data":"` + base64.StdEncoding.EncodeToString(make([]byte, 300)) + `"}`
	body := []byte(`{"DeliveryStreamName":"d","Records":[` + strings.Repeat(one+",", 499) + one + `]}`)
	var dst []byte
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		dst = mustPut(b, s.service, "PutRecordBatch", body, dst[:0])
	}
}

func mustPut(b *testing.B, f *firehose.Service, operation string, body, dst []byte) []byte {
	out := f.Invoke(context.Background(), operation, body, dst)
	if out.Status != 200 {
		b.Fatalf("%d %s", out.Status, out.Body)
	}
	return out.Body
}
