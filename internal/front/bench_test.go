package front

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/internal/gateway"
	"millrace/internal/ids"
)

func itoa(n int) string { return strconv.Itoa(n) }

// The event of the design's figures: 300 B of JSON.
const jsonBody = `{"event":"page_view","id":12345,"user":{"id":"u-83921","plan":"pro"},` +
	`"page":{"url":"https://shop.example.com/products/4711?ref=mail","title":"Walnut desk, 160 cm"},` +
	`"client":{"ua":"Mozilla/5.0 (X11; Linux x86_64)","lang":"de-DE","width":1440,"height":900},` +
	`"ts":1732400000123,"consent":true}`

// recorder is a response writer that costs little.
type recorder struct {
	header http.Header
	body   bytes.Buffer
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

// answered has what the gateway says of a PutRecord: five headers, 120 B.
func answered(resp *gateway.Response) {
	resp.Status, resp.API, resp.Stage = 200, "abcde12345", "prod"
	resp.Header = append(resp.Header,
		gateway.Field{Name: "Content-Type", Value: "application/json"},
		gateway.Field{Name: "x-amzn-RequestId", Value: "6ae6783f-4fbd-491b-aeb8-8b73a48ed247"},
		gateway.Field{Name: "x-amz-apigw-id", Value: "2+WILiV5aDQywb8="},
		gateway.Field{Name: "X-Amzn-Trace-Id", Value: "Root=1-6b054b17-c525454add0cd87274d67084;Parent=caaf0e0d36c8496d;Sampled=0"})
	resp.Body = append(resp.Body, `{"SequenceNumber":"49590338271490256608559692538361571095921575989136588898","ShardId":"shardId-000000000000"}`...)
}

// What the front adds to net/http's own allocations per event stays bounded.
func TestEventsAllocateLittle(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector pools forget")
	}
	h := &events{gateway: gatewayFunc(answering), budget: NewBudget(0), now: time.Now, stats: new(stats), port: "8080", ctx: t.Context()}
	body := strings.NewReader(jsonBody)
	r := request("POST /prod/v1/class-stream?a=b", "Content-Type: application/json", "User-Agent: curl/8.5.0", "Accept: */*", "Content-Length: 323")
	r.Body, r.ContentLength = io.NopCloser(body), int64(len(jsonBody))
	w := &recorder{header: http.Header{}}
	run := func() {
		body.Reset(jsonBody)
		clear(w.header)
		w.body.Reset()
		h.ServeHTTP(w, r)
		if w.status != 200 {
			t.Fatal(w.status)
		}
	}
	run()
	const most = 2 // the values of the headers, and the length as a text
	if got := testing.AllocsPerRun(1000, run); got > most {
		t.Errorf("%v allocations an event, want at most %v", got, most)
	}
}

// BenchmarkCall measures what the AWS endpoint adds to a call: routing, accounting, a context of its own.
func BenchmarkCall(b *testing.B) {
	n := serve(b, Options{AWS: Listener{Addr: "127.0.0.1:0"}, Now: time.Now})
	buffer := make([]byte, 0, 1024)
	e := &endpoint{
		services: map[Service]http.Handler{Kinesis: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = bytes.NewBuffer(buffer[:0]).ReadFrom(r.Body)
			w.WriteHeader(200)
		})},
		open: true, budget: n.budget, ids: ids.Seeded(1), stats: n.stats, ctx: b.Context(), stopping: b.Context(),
	}
	body := strings.NewReader(jsonBody)
	r := request("POST /", "Host: kinesis.us-east-1.amazonaws.com", "X-Amz-Target: Kinesis_20131202.PutRecord", "Authorization: "+signed("kinesis"))
	r.Body, r.ContentLength = io.NopCloser(body), int64(len(jsonBody))
	w := &recorder{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(jsonBody)
		e.ServeHTTP(w, r)
	}
}

// BenchmarkPost measures one event over a loopback connection, through the front and through a bare handler that
// reads the body and answers the same bytes: the difference is the front's.
func BenchmarkPost(b *testing.B) {
	b.Run("front", func(b *testing.B) {
		n := serve(b, Options{Gateway: gatewayFunc(answering), Now: time.Now})
		benchmarkPost(b, addr(n.IngestURL()))
	})
	b.Run("bare", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		s := &http.Server{ReadHeaderTimeout: headerTime, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := make([]byte, 0, 512)
			buffer := bytes.NewBuffer(body)
			if _, err := buffer.ReadFrom(r.Body); err != nil {
				return
			}
			var resp gateway.Response
			answered(&resp)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(resp.Body)
		})}
		done := make(chan error, 1)
		go func() { done <- s.Serve(l) }()
		defer func() {
			s.Close()
			<-done
		}()
		benchmarkPost(b, l.Addr().String())
	})
}

func benchmarkPost(b *testing.B, addr string) {
	event := []byte(fmt.Sprintf("POST /prod/v1/class-stream HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
		"User-Agent: curl/8.5.0\r\nAccept: */*\r\nContent-Length: %d\r\n\r\n%s", addr, len(jsonBody), jsonBody))
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		in := bufio.NewReader(c)
		for pb.Next() {
			if _, err := c.Write(event); err != nil {
				b.Error(err)
				return
			}
			if err := readAnswer(in); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// readAnswer reads a response without allocating.
func readAnswer(in *bufio.Reader) error {
	length := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if rest, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			for _, c := range bytes.TrimSpace(rest) {
				length = length*10 + int(c-'0')
			}
		}
	}
	_, err := in.Discard(length)
	return err
}

func answering(_ context.Context, _ *gateway.Request, resp *gateway.Response) { answered(resp) }
