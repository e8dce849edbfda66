package safety

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/e2e/node"
)

func TestMain(m *testing.M) { node.Main(m) }

// up runs a node; args are those of "millrace up".
func up(t *testing.T, data string, args ...string) *node.Node {
	t.Helper()
	if testing.Short() {
		t.Skip("the node is another process: a short run, as with the race detector, learns nothing here")
	}
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Start(t.Context(), node.Options{Binary: binary, Data: data, Args: args})
	if n != nil {
		t.Cleanup(n.Kill)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// request is one call, and what it must come to.
type request struct {
	method, url, host string
	header            map[string]string
	body              string
	status            int
	contains          string // of the answer's body
}

func (r request) check(t *testing.T) {
	t.Helper()
	status, body, header, err := r.send(t.Context())
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.url, err)
	}
	if status != r.status || !strings.Contains(body, r.contains) {
		t.Fatalf("%s %s %v: %d %q %v, want %d and %q", r.method, r.url, r.header, status, body, header, r.status, r.contains)
	}
}

func (r request) send(ctx context.Context) (status int, body string, header http.Header, err error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		return 0, "", nil, err
	}
	req.Host = r.host
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), resp.Header, err
}

func kinesis(n *node.Node, operation, body string) request {
	return request{method: "POST", url: n.AWS + "/", body: body, header: map[string]string{
		"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Kinesis_20131202." + operation}}
}

func event(n *node.Node, body string) request {
	return request{method: "POST", url: n.Ingest + "/prod/v1/class-stream", body: body, status: 200, contains: "SequenceNumber",
		header: map[string]string{"Content-Type": "application/json"}}
}

// Without credentials the AWS endpoint belongs to this machine: neither a page from elsewhere nor a name that was
// bound to 127.0.0.1 gets in.
func TestPagesAndNamesOfOthersAreKeptOut(t *testing.T) {
	n := up(t, filepath.Join(t.TempDir(), "data"))
	list := kinesis(n, "ListStreams", "{}")
	list.status, list.contains = 200, "class-stream"
	list.check(t)
	for _, host := range []string{"evil.example", "evil.example:4566", "kinesis.evil.example", "127.0.0.1.evil.example"} {
		r := list
		r.host, r.status, r.contains = host, 403, ""
		r.check(t)
		request{method: "GET", url: n.AWS + "/_millrace/ledger", host: host, status: 403}.check(t)
	}
	for _, host := range []string{"localhost:4566", "127.0.0.1", "kinesis.us-east-1.amazonaws.com", "[::1]:4566"} {
		r := list
		r.host = host
		r.check(t)
	}
	r := list
	r.header = map[string]string{"Origin": "https://evil.example", "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Kinesis_20131202.ListStreams"}
	r.status, r.contains = 403, ""
	r.check(t)
	// The ingest listener is for the pages of others.
	e := event(n, `{"from": "a page"}`)
	e.host, e.header["Origin"] = "collect.example", "https://shop.example"
	e.check(t)
}

// 256 callers of 10 MB each, at one time: refused or served, and the memory stays bounded; small events go on.
func TestManyLargeBodies(t *testing.T) {
	n := up(t, filepath.Join(t.TempDir(), "data"))
	const callers, size = 256, 10 << 20
	body := append(append([]byte(`{"pad":"`), bytes.Repeat([]byte("x"), size-10)...), `"}`...)
	counts := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			status := large(t.Context(), n, body)
			mu.Lock()
			counts[status]++
			mu.Unlock()
		})
	}
	for range 20 {
		event(n, `{"small": "among the large"}`).check(t)
	}
	all.Wait()
	for status, count := range counts {
		// 400 or 413: a record has at most 1 MiB. 503: not now. 0: the connection was closed while the body was sent.
		if status/100 == 2 || status >= 500 && status != 503 {
			t.Errorf("%d bodies of 10 MB were answered %d", count, status)
		}
	}
	t.Logf("answers by status: %v", counts)
	const most = 600 << 20 // the bodies alone have 2560 MiB; about half of this was measured
	if peak, ok := n.PeakMemory(); ok && peak > most {
		t.Errorf("the node took %d MiB", peak>>20)
	} else {
		t.Logf("peak memory %d MiB", peak>>20)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// large sends a large body over a connection of its own; 0: it was not answered.
func large(ctx context.Context, n *node.Node, body []byte) int {
	d := net.Dialer{Timeout: 10 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(n.Ingest, "http://"))
	if err != nil {
		return 0
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second)) // fails only for a closed connection, as the write will
	fmt.Fprintf(conn, "POST /prod/v1/class-stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body))
	_, _ = conn.Write(body) // a refusal may come before the end of the body
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return 0
	}
	status, err := strconv.Atoi(string(answer[9:12]))
	if err != nil {
		return 0
	}
	return status
}

// Callers who say a word a minute hold nobody else up.
func TestSlowCallersHoldNobodyUp(t *testing.T) {
	n := up(t, filepath.Join(t.TempDir(), "data"))
	const slow = 200
	for i := range slow {
		conn, err := net.Dial("tcp", strings.TrimPrefix(n.Ingest, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		head := "POST /prod/v1/class-stream HTTP/1.1\r\nHost: x\r\n"
		if i%2 == 0 {
			head += "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"
		}
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for range 50 {
		event(n, `{"not": "slow"}`).check(t)
	}
	const most = 10 * time.Second // for what takes a few milliseconds
	if took := time.Since(began); took > most {
		t.Errorf("50 small events took %v", took)
	}
}

// Below the low-space mark each door refuses with the error that its clients retry; what is there can be read.
func TestLowSpace(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	// A definition whose only response is the default: where it would hide errors, the gateway tells them.
	const file = "../crash/testdata/pipeline.yaml"
	n := up(t, data, file)
	event(n, `{"before": true}`).check(t)
	put := request{method: "PUT", url: n.AWS + "/class-events/by-hand", body: "text", status: 200}
	put.check(t)
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}

	n = up(t, data, file, "--low-space", "1024TiB")
	e := event(n, `{"during": true}`)
	e.status, e.contains = 503, ""
	e.check(t)
	k := kinesis(n, "PutRecord", `{"StreamName":"class-stream","PartitionKey":"k","Data":"eA=="}`)
	k.status, k.contains = 500, "InternalFailure"
	k.check(t)
	f := request{method: "POST", url: n.AWS + "/", body: `{"DeliveryStreamName":"push-delivery","Record":{"Data":"eA=="}}`, status: 500,
		contains: "ServiceUnavailableException", header: map[string]string{
			"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Firehose_20150804.PutRecord"}}
	f.check(t)
	put.url, put.status, put.contains = n.AWS+"/class-events/more", 503, "SlowDown"
	put.check(t)
	request{method: "GET", url: n.AWS + "/class-events/by-hand", status: 200, contains: "text"}.check(t)
	request{method: "GET", url: n.AWS + "/_millrace/health", status: 503, contains: "low-space"}.check(t)
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}

	n = up(t, data, file) // space has returned
	event(n, `{"after": true}`).check(t)
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
}
