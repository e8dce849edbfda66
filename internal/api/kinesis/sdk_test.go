package kinesis

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"millrace/internal/ids"
	"millrace/internal/stream"
)

// client gives an SDK client of a service that knows one access key.
func client(t *testing.T, secret string) (*sdk.Client, *memory) {
	t.Helper()
	backend := newMemory(time.Now)
	s, err := New(Options{Backend: backend, Account: testAccount, IDs: ids.New(), Now: time.Now, TokenKey: bytes.Repeat([]byte("k"), 32),
		Credentials: func(id string) (string, bool) { return "right", id == "AKIATEST" }})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return sdk.New(sdk.Options{
		BaseEndpoint: aws.String(server.URL),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("AKIATEST", secret, ""),
		Retryer:      aws.NopRetryer{},
	}), backend
}

// The SDK signs, sends, and reads back what was put, byte for byte.
func TestSDKPutsAndReads(t *testing.T) {
	c, backend := client(t, "right")
	ctx := context.Background()
	name := aws.String("class-stream")
	if _, err := c.CreateStream(ctx, &sdk.CreateStreamInput{StreamName: name, ShardCount: aws.Int32(2), Tags: map[string]string{"team": "web"}}); err != nil {
		t.Fatal(err)
	}
	if err := sdk.NewStreamExistsWaiter(c).Wait(ctx, &sdk.DescribeStreamInput{StreamName: name}, time.Second); err != nil {
		t.Fatal(err)
	}
	bodies := map[string]string{"a": "", "b": "\x00\xff", "ключ": strings.Repeat("event ", 1000)}
	var entries []types.PutRecordsRequestEntry
	for k, v := range bodies {
		entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: aws.String(k), Data: []byte(v)})
	}
	put, err := c.PutRecords(ctx, &sdk.PutRecordsInput{StreamName: name, Records: entries})
	if err != nil || *put.FailedRecordCount != 0 || len(put.Records) != 3 || put.EncryptionType != "" {
		t.Fatal(put, err)
	}
	shards, err := c.ListShards(ctx, &sdk.ListShardsInput{StreamName: name})
	if err != nil || len(shards.Shards) != 2 {
		t.Fatal(shards, err)
	}
	got := map[string]string{}
	for _, sh := range shards.Shards {
		it, err := c.GetShardIterator(ctx, &sdk.GetShardIteratorInput{StreamName: name, ShardId: sh.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if err != nil {
			t.Fatal(err)
		}
		read, err := c.GetRecords(ctx, &sdk.GetRecordsInput{ShardIterator: it.ShardIterator})
		if err != nil || read.NextShardIterator == nil || *read.MillisBehindLatest != 0 || read.ChildShards != nil {
			t.Fatal(read, err)
		}
		for _, r := range read.Records {
			got[*r.PartitionKey] = string(r.Data)
			if d := time.Since(*r.ApproximateArrivalTimestamp); d < 0 || d > time.Minute {
				t.Errorf("arrival %v ago", d)
			}
		}
	}
	for k, v := range bodies {
		if got[k] != v {
			t.Errorf("key %s: got %q, want %q", k, got[k], v)
		}
	}
	backend.failCall = errors.New("the disk broke")
	_, err = c.PutRecord(ctx, &sdk.PutRecordInput{StreamName: name, PartitionKey: aws.String("k"), Data: []byte("x")})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "InternalFailure" || strings.Contains(err.Error(), "disk") {
		t.Errorf("a fault of ours: %v", err)
	}
}

func TestSDKSeesTypedErrors(t *testing.T) {
	c, _ := client(t, "right")
	_, err := c.DescribeStream(context.Background(), &sdk.DescribeStreamInput{StreamName: aws.String("nope")})
	var notFound *types.ResourceNotFoundException
	if !errors.As(err, &notFound) || notFound.ErrorMessage() != "Stream nope under account 000000000000 not found." {
		t.Error(err)
	}
	c, _ = client(t, "wrong")
	_, err = c.DescribeLimits(context.Background(), &sdk.DescribeLimitsInput{})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "InvalidSignatureException" {
		t.Error(err)
	}
}

func TestBodyBounds(t *testing.T) {
	w := newWorld(t)
	f := func(body string, length int64, want int) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.ContentLength = length
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", "Kinesis_20131202.DescribeLimits")
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if rec.Code != want || want == 413 && rec.Body.Len() != 0 {
			t.Errorf("%d bytes, length %d: %d %s", len(body), length, rec.Code, rec.Body)
		}
	}
	full := "{" + strings.Repeat(" ", MaxBodyBytes-2) + "}"
	f(full, int64(len(full)), 200)
	f(full, -1, 200)
	f(full+" ", int64(len(full)+1), 413)
	f(full+" ", -1, 413)
	f("{}", MaxBodyBytes+1, 413)
}

// A record may be as large as its stream allows, and no larger; a PutRecords holds ten megabytes.
func TestRecordSizes(t *testing.T) {
	w := newWorld(t)
	invoke := func(op string, body []byte) string {
		return string(w.Invoke(context.Background(), op, body, nil).Body)
	}
	invoke("CreateStream", []byte(`{"StreamName":"class-stream","ShardCount":1}`))
	put := func(size int) string {
		return invoke("PutRecord", []byte(`{"StreamName":"class-stream","PartitionKey":"k","Data":"`+event(size)+`"}`))
	}
	if got := put(stream.DefaultMaxRecordBytes); !strings.Contains(got, "SequenceNumber") {
		t.Error(got)
	}
	const tooLong = `1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1048577 cap=1048577]' at '%s' failed to satisfy constraint: ` +
		`Member must have length less than or equal to 1048576`
	if got := put(stream.DefaultMaxRecordBytes + 1); !strings.Contains(got, strings.Replace(tooLong, "%s", "data", 1)) {
		t.Error(got)
	}
	if got := invoke("PutRecords", putRecordsBody(2, stream.DefaultMaxRecordBytes+1)); !strings.Contains(got, "'records.2.member.data'") {
		t.Error(got)
	}
	if got := invoke("PutRecords", putRecordsBody(10, stream.DefaultMaxRecordBytes)); !strings.Contains(got, "Records size exceeds 10 MB limit") {
		t.Error(got)
	}
	if got := invoke("PutRecords", putRecordsBody(501, 1)); !strings.Contains(got, "at 'records' failed to satisfy constraint: Member must have length less than or equal to 500") {
		t.Error(got[:min(len(got), 300)])
	}
}

// Concurrent calls share pooled memory; none may see another's.
func TestPooledCallsDoNotMix(t *testing.T) {
	w := newWorld(t)
	w.Invoke(context.Background(), "CreateStream", []byte(`{"StreamName":"class-stream","ShardCount":1}`), nil)
	done := make(chan bool)
	for g := range 8 {
		go func() {
			defer func() { done <- true }()
			data := event(10 + g)
			for range 200 {
				body := []byte(`{"StreamName":"class-stream","Records":[{"PartitionKey":"` + strings.Repeat("k", g+1) + `\n","Data":"` + data + `"}]}`)
				if r := w.Invoke(context.Background(), "PutRecords", body, nil); r.Outcome != OK {
					t.Error(string(r.Body))
				}
				clear(body)
			}
		}()
	}
	for range 8 {
		<-done
	}
	counts := map[int]int{}
	for _, records := range w.backend.records {
		for _, r := range records {
			if string(r.Data) != strings.Repeat("e", len(r.PartitionKey)+8) || string(r.PartitionKey) != strings.Repeat("k", len(r.PartitionKey)-1)+"\n" {
				t.Fatalf("key %q with data %q", r.PartitionKey, r.Data)
			}
			counts[len(r.PartitionKey)]++
		}
	}
	if len(counts) != 8 {
		t.Error(counts)
	}
}

func TestTokensAreSealed(t *testing.T) {
	w := newWorld(t)
	v := token{kind: tokenIterator, at: time.UnixMilli(1421889722345), stream: strings.Repeat("n", 128), id: strings.Repeat("i", 36), shard: 1 << 31,
		from: stream.NewSequenceNumber(1421889722, 7, 1<<62)}
	sealed := w.tokens.seal(v)
	if got, ok := w.tokens.open(sealed); !ok || got != v {
		t.Fatalf("got %+v", got)
	}
	if len(sealed) > 512 {
		t.Errorf("an iterator has %d letters", len(sealed))
	}
	if w.tokens.seal(v) == sealed {
		t.Error("two iterators of one place are the same")
	}
	for i := range sealed {
		for _, c := range []byte("A/z") {
			if forged := sealed[:i] + string(c) + sealed[i+1:]; forged != sealed {
				if got, ok := w.tokens.open(forged); ok {
					t.Fatalf("letter %d changed, and opened as %+v", i, got)
				}
			}
		}
		if _, ok := w.tokens.open(sealed[:i]); ok {
			t.Fatalf("opened when cut at %d", i)
		}
	}
	other := newTokens(bytes.Repeat([]byte("x"), 32), ids.Seeded(2))
	if _, ok := other.open(sealed); ok {
		t.Error("opened with another key")
	}
}

func TestSupportListsTheModel(t *testing.T) {
	all := Support()
	servedCount := 0
	for _, s := range all {
		if s.Served {
			servedCount++
		}
	}
	if len(all) != 39 || servedCount != len(served) {
		t.Errorf("%d operations, %d served, %d declared", len(all), servedCount, len(served))
	}
}

// Whatever the body, an operation answers with a status and a body that is JSON or empty.
func FuzzInvoke(f *testing.F) {
	for _, op := range served {
		f.Add(op.name, []byte(`{"StreamName":"s","Data":"YQ==","PartitionKey":"k","Records":[{"Data":"","PartitionKey":"k"}],"ShardId":"0","ShardIteratorType":"LATEST"}`))
	}
	f.Fuzz(func(t *testing.T, op string, body []byte) {
		w := newWorld(t)
		w.Invoke(context.Background(), "CreateStream", []byte(`{"StreamName":"s","ShardCount":1}`), nil)
		r := w.Invoke(context.Background(), op, body, []byte("prefix"))
		if !bytes.HasPrefix(r.Body, []byte("prefix")) {
			t.Fatalf("the answer lost what dst held: %q", r.Body)
		}
		answer := string(r.Body[len("prefix"):])
		if r.Status != 200 && (r.Outcome == OK || !strings.HasPrefix(answer, `{"__type":"`)) || r.Status == 200 && r.Outcome != OK {
			t.Fatalf("%d, outcome %d, %s", r.Status, r.Outcome, answer)
		}
	})
}
