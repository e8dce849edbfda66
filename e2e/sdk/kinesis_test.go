package sdk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"millrace/e2e/node"
	"millrace/internal/awsmodel/kinesiswire"
)

// operations has a case for each operation of the service: what a user gets of it, and the exceptions of the SDK's own types
// that its mistakes are. Each makes the streams that it needs.
var operations = []struct {
	name string
	run  func(*testing.T, *user)
}{
	{"AddTagsToStream", addTagsToStream},
	{"CreateStream", createStream},
	{"DecreaseStreamRetentionPeriod", decreaseStreamRetentionPeriod},
	{"DeleteResourcePolicy", deleteResourcePolicy},
	{"DeleteStream", deleteStream},
	{"DeregisterStreamConsumer", deregisterStreamConsumer},
	{"DescribeAccountSettings", describeAccountSettings},
	{"DescribeLimits", describeLimits},
	{"DescribeStream", describeStream},
	{"DescribeStreamConsumer", describeStreamConsumer},
	{"DescribeStreamSummary", describeStreamSummary},
	{"DisableEnhancedMonitoring", disableEnhancedMonitoring},
	{"EnableEnhancedMonitoring", enableEnhancedMonitoring},
	{"GetRecords", getRecords},
	{"GetResourcePolicy", getResourcePolicy},
	{"GetShardIterator", getShardIterator},
	{"IncreaseStreamRetentionPeriod", increaseStreamRetentionPeriod},
	{"ListShards", listShards},
	{"ListStreamConsumers", listStreamConsumers},
	{"ListStreams", listStreams},
	{"ListTagsForResource", listTagsForResource},
	{"ListTagsForStream", listTagsForStream},
	{"MergeShards", mergeShards},
	{"PutRecord", putRecord},
	{"PutRecords", putRecords},
	{"PutResourcePolicy", putResourcePolicy},
	{"RegisterStreamConsumer", registerStreamConsumer},
	{"RemoveTagsFromStream", removeTagsFromStream},
	{"SplitShard", splitShard},
	{"StartStreamEncryption", startStreamEncryption},
	{"StopStreamEncryption", stopStreamEncryption},
	{"SubscribeToShard", subscribeToShard},
	{"TagResource", tagResource},
	{"UntagResource", untagResource},
	{"UpdateAccountSettings", updateAccountSettings},
	{"UpdateMaxRecordSize", updateMaxRecordSize},
	{"UpdateShardCount", updateShardCount},
	{"UpdateStreamMode", updateStreamMode},
	{"UpdateStreamWarmThroughput", updateStreamWarmThroughput},
}

// neverGranted are operations that answer as to an account without the right that they need: a case has no success to show.
var neverGranted = []string{"UpdateStreamWarmThroughput"}

// Every operation of the service's model is called as a user would, and answers as the service does.
func TestKinesisOperations(t *testing.T) {
	var names []string
	for _, op := range operations {
		names = append(names, op.name)
	}
	if !slices.Equal(names, kinesiswire.Operations) {
		t.Fatalf("the cases are of %v; the model has %v", names, kinesiswire.Operations)
	}
	n := up(t, node.Options{})
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			u := userOf(t, n)
			op.run(t, u)
			if u.succeeded[op.name] == 0 && !slices.Contains(neverGranted, op.name) {
				t.Error("the case shows no success of its operation")
			}
			if u.failed[op.name] == 0 && !slices.Contains([]string{"DescribeAccountSettings", "DescribeLimits"}, op.name) {
				t.Error("the case shows no mistake with its operation")
			}
		})
	}
}

// user calls Kinesis by the SDK, and counts its calls.
type user struct {
	*kinesis.Client
	ctx context.Context

	mu                sync.Mutex
	succeeded, failed map[string]int
}

func userOf(t *testing.T, n *node.Node, options ...func(*kinesis.Options)) *user {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	u := &user{ctx: ctx, succeeded: map[string]int{}, failed: map[string]int{}}
	count := middleware.InitializeMiddlewareFunc("count", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
		middleware.InitializeOutput, middleware.Metadata, error) {
		out, meta, err := next.HandleInitialize(ctx, in)
		u.mu.Lock()
		defer u.mu.Unlock()
		if name := middleware.GetOperationName(ctx); err == nil {
			u.succeeded[name]++
		} else {
			u.failed[name]++
		}
		return out, meta, err
	})
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	base := clientsOf(n, "AKIDEXAMPLE", "anything").kinesis.Options()
	base.HTTPClient = &http.Client{Transport: wholeBodies{transport}}
	options = append(options, func(o *kinesis.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error { return stack.Initialize.Add(count, middleware.After) })
	})
	u.Client = kinesis.New(base, options...)
	return u
}

// wholeBodies sends the bodies of requests from memory. The SDK closes a body when the answer comes. Over HTTP/1.1 the transport
// may just then be looking whether the body has more than was announced, gets an io.EOF where it expects none, and drops
// the connection, and with it a stream of events.
type wholeBodies struct{ http.RoundTripper }

func (w wholeBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	whole := r.Clone(r.Context())
	whole.Body = io.NopCloser(bytes.NewReader(body))
	return w.RoundTripper.RoundTrip(whole)
}

// stream makes a stream and waits for it.
func (u *user) stream(t *testing.T, name string, shards int32) (streamName, arn *string) {
	t.Helper()
	must(u.CreateStream(u.ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: &shards}))(t)
	return &name, u.active(t, &name).StreamARN
}

// active waits until a stream can be changed, and describes it.
func (u *user) active(t *testing.T, name *string) *types.StreamDescriptionSummary {
	t.Helper()
	if err := kinesis.NewStreamExistsWaiter(u.Client).Wait(u.ctx, &kinesis.DescribeStreamInput{StreamName: name}, patience); err != nil {
		t.Fatal(err)
	}
	return must(u.DescribeStreamSummary(u.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: name}))(t).StreamDescriptionSummary
}

// must gives what a call that has to succeed gave.
func must[T any](out T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// refused checks that a call failed with an exception of a type, and that its text holds a part.
func refused[E error](t *testing.T, err error, part string) {
	t.Helper()
	var x E
	if !errors.As(err, &x) {
		t.Errorf("%v, want a %T", err, x)
	} else if !strings.Contains(err.Error(), part) {
		t.Errorf("%v, which does not say %q", err, part)
	}
}

// refusedBy is refused for exceptions that an operation's list in the model lacks, so that the SDK knows them by name alone.
func refusedBy(t *testing.T, err error, code, part string) {
	t.Helper()
	var x smithy.APIError
	if !errors.As(err, &x) || x.ErrorCode() != code {
		t.Errorf("%v, want a %s", err, code)
	} else if !strings.Contains(x.ErrorMessage(), part) {
		t.Errorf("%v, which does not say %q", err, part)
	}
}

type (
	notFound = *types.ResourceNotFoundException
	inUse    = *types.ResourceInUseException
	wrong    = *types.InvalidArgumentException
	invalid  = *types.ValidationException
	tooMuch  = *types.LimitExceededException
)

// nobody is a stream that does not exist.
var (
	nobody    = new("nobody")
	nobodyARN = new("arn:aws:kinesis:us-east-1:000000000000:stream/nobody")
)

const nobodyText = "Stream nobody under account 000000000000 not found."

// equal compares what was answered.
func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// same compares lists.
func same[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
