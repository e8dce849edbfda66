package kinesis

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/awswire"
	"millrace/internal/stream"
)

// discard is a backend that stores nothing: what remains is the surface.
type discard struct {
	*memory
	st *stream.Stream
}

func (d discard) Stream(string) (*stream.Stream, bool) { return d.st, true }

func (d discard) Append(_ context.Context, _ string, entries []stream.Entry, results []stream.Result) error {
	for i := range entries {
		results[i].Sequence = stream.NewSequenceNumber(1421889722, 0, uint64(i))
	}
	return nil
}

func discarding(t testing.TB) *Service {
	w := newWorld(t)
	if r := w.Invoke(context.Background(), "CreateStream", []byte(`{"StreamName":"class-stream","ShardCount":4}`), nil); r.Status != 200 {
		t.Fatal(string(r.Body))
	}
	st, _ := w.backend.Stream("class-stream")
	w.Backend = discard{w.backend, st}
	return w.Service
}

func event(size int) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("e"), size))
}

// putRecordBody is what the JSON template of the reference pipeline renders for an event of 300 bytes.
var putRecordBody = []byte("\n{\n\"Data\": \"" + event(301) + "\",\n\"PartitionKey\": \"Root=1-5759e988-bd862e3fe1be46a994272793\",\n\"StreamName\": \"class-stream\"\n}\n")

func putRecordsBody(n, size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"StreamName":"class-stream","Records":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"Data":"%s","PartitionKey":"Root=1-5759e988-%024d"}`, event(size), i)
	}
	b.WriteString("]}")
	return b.Bytes()
}

func BenchmarkDecodePutRecord(b *testing.B) {
	var in kinesiswire.PutRecordInput
	d := awswire.JSON{Borrow: true}
	b.ReportAllocs()
	b.SetBytes(int64(len(putRecordBody)))
	for b.Loop() {
		d.Reset(putRecordBody)
		in = kinesiswire.PutRecordInput{}
		in.DecodeJSON(&d)
		var found awswire.Violations
		in.Check(&found)
		if d.Close() != nil || found.Err() != "" {
			b.Fatal("refused")
		}
	}
}

func BenchmarkDecodePutRecords(b *testing.B) {
	body := putRecordsBody(500, 300)
	var in kinesiswire.PutRecordsInput
	d := awswire.JSON{Borrow: true}
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		d.Reset(body)
		in = kinesiswire.PutRecordsInput{Records: in.Records[:0]}
		in.DecodeJSON(&d)
		var found awswire.Violations
		in.Check(&found)
		if d.Close() != nil || found.Err() != "" {
			b.Fatal("refused")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/record")
}

func benchmarkInvoke(b *testing.B, operation string, body []byte, records int) {
	s := discarding(b)
	var dst []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		r := s.Invoke(context.Background(), operation, body, dst[:0])
		if r.Outcome != OK {
			b.Fatal(string(r.Body))
		}
		dst = r.Body
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(records), "ns/record")
}

func BenchmarkInvokePutRecord(b *testing.B) { benchmarkInvoke(b, "PutRecord", putRecordBody, 1) }
func BenchmarkInvokePutRecords(b *testing.B) {
	benchmarkInvoke(b, "PutRecords", putRecordsBody(500, 300), 500)
}

// BenchmarkServePutRecords is the whole way over HTTP on the loopback, its client included, without a disk.
func BenchmarkServePutRecords(b *testing.B) {
	server := httptest.NewServer(discarding(b))
	defer server.Close()
	body := putRecordsBody(500, 300)
	b.SetBytes(int64(len(body)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := http.NewRequest(http.MethodPost, server.URL, bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("Content-Type", awswire.TypeJSON11)
			r.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecords")
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
				b.Fatal(answer.Status, err)
			}
			answer.Body.Close()
		}
	})
	b.ReportMetric(float64(b.N)*500/b.Elapsed().Seconds(), "records/s")
}

// The put path allocates nothing that grows with the request.
func TestPutAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector pools drop at random")
	}
	s := discarding(t)
	f := func(operation string, body []byte, most float64) {
		t.Helper()
		var dst []byte
		run := func() {
			r := s.Invoke(context.Background(), operation, body, dst[:0])
			if r.Outcome != OK {
				t.Fatal(string(r.Body))
			}
			dst = r.Body
		}
		run()
		if got := testing.AllocsPerRun(100, run); got > most {
			t.Errorf("%s: %v allocations, want at most %v", operation, got, most)
		}
	}
	f("PutRecord", putRecordBody, 2)
	f("PutRecords", putRecordsBody(500, 300), 4)
}
