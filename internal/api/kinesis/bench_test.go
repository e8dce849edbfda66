package kinesis

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fxamacker/cbor/v2"

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

// inCBOR is a request in the other encoding, blobs as bytes.
func inCBOR(body []byte) []byte {
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		panic(err)
	}
	return must(cbor.Marshal(withBytes(v)))
}

func withBytes(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, member := range v {
			if text, ok := member.(string); ok && k == "Data" {
				v[k] = must(base64.StdEncoding.DecodeString(text))
				continue
			}
			v[k] = withBytes(member)
		}
	case []any:
		for i := range v {
			v[i] = withBytes(v[i])
		}
	}
	return v
}

// inBothEncodings runs a benchmark on a request in JSON, and on the same in CBOR.
func inBothEncodings(b *testing.B, body []byte, records int, bench func(b *testing.B, as encoding, body []byte)) {
	for _, e := range []struct {
		name string
		as   encoding
		body []byte
	}{{"JSON", asJSON, body}, {"CBOR", asCBOR, inCBOR(body)}} {
		b.Run(e.name, func(b *testing.B) {
			b.ReportAllocs()
			bench(b, e.as, e.body)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(records), "ns/record")
		})
	}
}

func benchmarkDecode(b *testing.B, body []byte, records int, fresh func(shape) shape) {
	inBothEncodings(b, body, records, func(b *testing.B, as encoding, body []byte) {
		c := &call{as: as}
		var in shape
		for b.Loop() {
			c.lend(body, true)
			in = fresh(in)
			if err := c.decode(in); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecodePutRecord(b *testing.B) {
	in := new(kinesiswire.PutRecordInput)
	benchmarkDecode(b, putRecordBody, 1, func(shape) shape {
		*in = kinesiswire.PutRecordInput{}
		return in
	})
}

func BenchmarkDecodePutRecords(b *testing.B) {
	in := new(kinesiswire.PutRecordsInput)
	benchmarkDecode(b, putRecordsBody(500, 300), 500, func(shape) shape {
		*in = kinesiswire.PutRecordsInput{Records: in.Records[:0]}
		return in
	})
}

func benchmarkRun(b *testing.B, s *Service, operation string, body []byte, records int) {
	inBothEncodings(b, body, records, func(b *testing.B, as encoding, body []byte) {
		op := find(operation)
		var dst []byte
		for b.Loop() {
			r := s.run(context.Background(), op, as, false, body, dst[:0])
			s.pages.give(r.held)
			if r.Outcome != OK {
				b.Fatal(string(r.Body))
			}
			dst = r.Body
		}
		b.ReportMetric(float64(len(dst)), "answer-bytes")
	})
}

func BenchmarkPutRecord(b *testing.B) {
	benchmarkRun(b, discarding(b), "PutRecord", putRecordBody, 1)
}

func BenchmarkPutRecords(b *testing.B) {
	benchmarkRun(b, discarding(b), "PutRecords", putRecordsBody(500, 300), 500)
}

// filled gives a service whose stream holds records, and a request that reads them from the first on.
func filled(t testing.TB, records int) (*Service, []byte) {
	w := newWorld(t)
	f := func(operation string, body []byte) []byte {
		r := w.Invoke(context.Background(), operation, body, nil)
		if r.Status != 200 {
			t.Fatal(string(r.Body))
		}
		return r.Body
	}
	f("CreateStream", []byte(`{"StreamName":"class-stream","ShardCount":1}`))
	for range records / 500 {
		f("PutRecords", putRecordsBody(500, 300))
	}
	iterator := f("GetShardIterator", []byte(`{"StreamName":"class-stream","ShardId":"0","ShardIteratorType":"TRIM_HORIZON"}`))
	return w.Service, iterator
}

func BenchmarkGetRecords(b *testing.B) {
	s, body := filled(b, 1000)
	benchmarkRun(b, s, "GetRecords", body, 1000)
}

// full is a backend whose every read gives the same full page.
type full struct {
	discard
	page []stream.Record
}

func (f full) Read(_ context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	batch.Reset()
	batch.Records = append(batch.Records, f.page...)
	batch.Next, batch.MillisBehind = req.From, 1
	return nil
}

// reading gives a service with a full page, and the call that asks for it.
func reading(t testing.TB) (s *Service, iterator string) {
	s = discarding(t)
	f := full{discard: s.Backend.(discard)}
	data := []byte(event(225)) // 300 letters
	for i := range maxReadRecords {
		f.page = append(f.page, stream.Record{Sequence: stream.NewSequenceNumber(1421889722, 0, uint64(i)), Arrival: 1421889722123,
			PartitionKey: []byte("Root=1-5759e988-bd862e3fe1be46a994272793"), Data: data})
	}
	s.Backend = f
	st, _ := f.Stream("class-stream")
	return s, s.iterator(st, &st.Shards[0], stream.SequenceNumber{})
}

func getRecordsBody(as encoding, iterator string) []byte {
	if as == asJSON {
		return fmt.Appendf(nil, `{"ShardIterator":%q}`, iterator)
	}
	b := awswire.AppendCBORMap(nil, 1)
	return awswire.AppendCBORString(awswire.AppendCBORString(b, "ShardIterator"), iterator)
}

func benchmarkGetRecords(b *testing.B, as encoding) {
	s, iterator := reading(b)
	op, body := find("GetRecords"), getRecordsBody(as, iterator)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		r := s.run(context.Background(), op, as, false, body, dst[:0])
		s.pages.give(r.held)
		if r.Outcome != OK {
			b.Fatal(string(r.Body))
		}
		dst = r.Body
	}
	b.SetBytes(int64(len(dst)))
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/maxReadRecords, "ns/record")
}

func BenchmarkGetRecordsJSON(b *testing.B) { benchmarkGetRecords(b, asJSON) }
func BenchmarkGetRecordsCBOR(b *testing.B) { benchmarkGetRecords(b, asCBOR) }

// BenchmarkServePutRecords is the whole way over HTTP on the loopback, its client included, without a disk.
func BenchmarkServePutRecords(b *testing.B) {
	benchmarkServe(b, discarding(b), "PutRecords", putRecordsBody(500, 300), 500)
}

func BenchmarkServeGetRecords(b *testing.B) {
	s, body := filled(b, 1000)
	benchmarkServe(b, s, "GetRecords", body, 1000)
}

func benchmarkServe(b *testing.B, s *Service, operation string, body []byte, records int) {
	server := httptest.NewServer(s)
	defer server.Close()
	inBothEncodings(b, body, records, func(b *testing.B, as encoding, body []byte) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				r, err := http.NewRequest(http.MethodPost, server.URL, bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				r.Header.Set("Content-Type", as.contentType())
				r.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
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
	})
}

// Neither puts nor reads allocate anything that grows with their records.
func TestRecordAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector pools drop at random")
	}
	f := func(s *Service, operation string, body []byte, most float64) {
		t.Helper()
		for as, body := range map[encoding][]byte{asJSON: body, asCBOR: inCBOR(body)} {
			var dst []byte
			run := func() {
				r := s.run(context.Background(), find(operation), as, false, body, dst[:0])
				s.pages.give(r.held)
				if r.Outcome != OK {
					t.Fatal(string(r.Body))
				}
				dst = r.Body
			}
			run()
			if got := testing.AllocsPerRun(100, run); got > most {
				t.Errorf("%s, %s: %v allocations, want at most %v", operation, as.contentType(), got, most)
			}
		}
	}
	s := discarding(t)
	f(s, "PutRecord", putRecordBody, 2)
	f(s, "PutRecords", putRecordsBody(500, 300), 4)
	s, first := filled(t, 1000)
	f(s, "GetRecords", first, 20)
}

// The read path allocates nothing that grows with the page.
func TestGetAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector pools drop at random")
	}
	s, iterator := reading(t)
	for _, as := range []encoding{asJSON, asCBOR} {
		body := getRecordsBody(as, iterator)
		w := &discardWriter{header: http.Header{}}
		run := func() {
			r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
			r.Header.Set("Content-Type", as.contentType())
			r.Header.Set("X-Amz-Target", "Kinesis_20131202.GetRecords")
			s.ServeHTTP(w, r)
		}
		if run(); w.status != http.StatusOK || w.bytes < maxReadRecords*300 {
			t.Fatal(w.status, w.bytes)
		}
		if got := testing.AllocsPerRun(20, run); got > 60 {
			t.Errorf("a page of %d records takes %v allocations", maxReadRecords, got)
		}
	}
}

// A page is encoded record by record, and reads as if the list of its records had been made.
func TestPagesAreAsGenerated(t *testing.T) {
	number, behind := stream.NewSequenceNumber(1421889722, 7, 11), int64(3)
	records := []stream.Record{
		{Sequence: number, Arrival: 1421889722123, PartitionKey: []byte(`k"`), Data: []byte("a")},
		{Sequence: number.Next(), Arrival: 1421889722000, PartitionKey: []byte("ü"), Data: bytes.Repeat([]byte("b"), 300), Sealed: true},
	}
	for _, as := range []encoding{asJSON, asCBOR} {
		for n := range len(records) + 1 {
			for _, out := range []kinesiswire.GetRecordsOutput{
				{},
				{MillisBehindLatest: &behind, NextShardIterator: "it"},
				{MillisBehindLatest: &behind, ChildShards: []kinesiswire.ChildShard{{ShardId: "a", ParentShards: []string{"b"}}, {ShardId: "c"}}},
			} {
				c := call{as: as, dst: []byte("before")}
				c.replyPage(&out, records[:n])
				got := c.dst
				for _, r := range records[:n] {
					out.Records = append(out.Records, wireRecord(&r, []byte(r.Sequence.String())))
				}
				c.dst = []byte("before")
				if c.reply(&out); string(got) != string(c.dst) {
					t.Errorf("%d records: %q, want %q", n, got, c.dst)
				}
			}
		}
	}
}

// discardWriter takes an answer, and keeps its status and length.
type discardWriter struct {
	header        http.Header
	status, bytes int
}

func (w *discardWriter) Header() http.Header { return w.header }
func (w *discardWriter) WriteHeader(s int)   { w.status, w.bytes = s, 0 }
func (w *discardWriter) Write(p []byte) (int, error) {
	w.bytes += len(p)
	return len(p), nil
}
