package safety

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/e2e/node"
)

// dial opens a connection to the node's ingest listener that ends with the test.
func dial(t *testing.T, n *node.Node) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{Timeout: 30 * time.Second}
	conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(n.Ingest, "http://"))
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// checkMemory holds a node to a bound.
func checkMemory(t *testing.T, n *node.Node, most int64) {
	t.Helper()
	peak, ok := n.PeakMemory()
	if ok && peak > most {
		t.Errorf("the node took %d MiB, want at most %d", peak>>20, most>>20)
	}
	t.Logf("peak memory %d MiB", peak>>20)
}

// descriptors is how many files a process may have open at most; 0: the system does not tell.
func descriptors() int {
	text, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "Max open files")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return 0
	}
	limit, _ := strconv.Atoi(fields[1]) // the hard limit, to which Go raises the other; "unlimited": 0 will do
	return limit
}

// Connections on which nothing goes on cost little, and nobody notices them.
func TestManyIdleConnections(t *testing.T) {
	n := up(t, filepath.Join(t.TempDir(), "data"))
	// The node, too, has no more descriptors than this process may have, and wants some for its files and its callers.
	const most, least, spare = 10_000, 500, 500
	connections := max(least, min(most, descriptors()-spare))
	t.Logf("%d connections", connections)
	for opened := range connections {
		conn, err := dial(t, n)
		if err != nil {
			t.Fatalf("connection %d: %v", opened, err)
		}
		// Every tenth has been in use, and has the memory of a connection that was.
		if opened%10 != 0 {
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute)) // fails only for a closed connection, as the write will
		const event = `{"then":"idle"}`
		fmt.Fprintf(conn, "POST /prod/v1/class-stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(event), event)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
			t.Fatalf("connection %d: %d %v", opened, resp.StatusCode, err)
		}
	}
	for range 50 {
		event(n, `{"not": "idle"}`).check(t)
	}
	checkMemory(t, n, 400<<20)
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// Callers who speak no proper HTTP, or too much of it, are told so or cut off; others get their answers meanwhile.
func TestMalformedCallers(t *testing.T) {
	n := up(t, filepath.Join(t.TempDir(), "data"))
	const post = "POST /prod/v1/class-stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	chunked := func(chunks string) string { return post + "Transfer-Encoding: chunked\r\n\r\n" + chunks }
	big := strings.Repeat("x", 4<<20)
	all := map[string]string{
		"one header of 4 MiB":            post + "X-Big: " + big + "\r\n\r\n",
		"headers of 4 MiB":               post + strings.Repeat("X-Some: "+big[:1000]+"\r\n", 4000) + "\r\n",
		"headers above the service's":    post + "X-Big: " + big[:20<<10] + "\r\nContent-Length: 2\r\n\r\n{}",
		"a path of 4 MiB":                "POST /prod/v1/" + big + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"a line that never ends":         big,
		"no HTTP":                        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
		"a length below nothing":         post + "Content-Length: -1\r\n\r\n{}",
		"two lengths":                    post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"an encoding that nobody knows":  post + "Content-Length: 2\r\nTransfer-Encoding: gzip\r\n\r\n{}",
		"a chunk without a size":         chunked("\r\n{}\r\n0\r\n\r\n"),
		"a chunk's size in words":        chunked("two\r\n{}\r\n0\r\n\r\n"),
		"a chunk's size below nothing":   chunked("-2\r\n{}\r\n0\r\n\r\n"),
		"a chunk of 2^64 bytes":          chunked("10000000000000000\r\n{}\r\n0\r\n\r\n"),
		"a chunk longer than its size":   chunked("1\r\n{}\r\n0\r\n\r\n"),
		"a chunk's extension of 4 MiB":   chunked("2;" + big + "\r\n{}\r\n0\r\n\r\n"),
		"chunks of one byte, and long":   chunked(strings.Repeat("1;"+big[:500]+"\r\n \r\n", 8000) + "0\r\n\r\n"),
		"a chunk and the connection end": chunked("ff\r\n{}"),
		"a trailer of 4 MiB":             chunked("2\r\n{}\r\n0\r\nX-Big: " + big + "\r\n\r\n"),
	}
	const callers = 8 // of each
	var running sync.WaitGroup
	for what, text := range all {
		for range callers {
			conn, err := dial(t, n)
			if err != nil {
				t.Fatal(err)
			}
			running.Go(func() {
				if status, err := malformed(conn, text); err != nil {
					t.Errorf("%s: %v", what, err)
				} else if status != 0 && status != http.StatusNotImplemented && status/100 != 4 {
					t.Errorf("%s: answered %d", what, status)
				}
			})
		}
	}
	for range 50 {
		event(n, `{"well": "formed"}`).check(t)
	}
	running.Wait()
	event(n, `{"well": "formed"}`).check(t)
	checkMemory(t, n, 300<<20)
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// malformed sends a text and ends its side of the connection; status 0: it was closed without an answer. An error says
// that the node did neither.
func malformed(conn net.Conn, text string) (status int, err error) {
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // fails only for a closed connection, as the write will
	_, _ = io.WriteString(conn, text)                 // a refusal may come before its end
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // likewise
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, err
	}
	if err != nil {
		return 0, nil
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// A backend that takes connections and never answers has callers who wait for it, up to a bound; methods with other
// backends do not notice.
func TestDeadBackend(t *testing.T) {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	go func() {
		for {
			conn, err := backend.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn); conn.Close() }() // until the node gives up
		}
	}()
	n := up(t, filepath.Join(t.TempDir(), "data"), "testdata/dead.yaml", "--parameter", "Backend=http://"+backend.Addr().String()+"/events")
	stream := request{method: "POST", url: n.Ingest + "/prod/stream", body: `{"a": 1}`, status: 200, contains: "SequenceNumber",
		header: map[string]string{"Content-Type": "application/json"}}
	const events = 200
	p50 := func() time.Duration {
		var all []time.Duration
		for range events {
			began := time.Now()
			stream.check(t)
			all = append(all, time.Since(began))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	alone := p50()

	// 400 callers of 96 KiB: more than may wait for one host.
	const callers = 400
	dead := stream
	dead.url, dead.body = n.Ingest+"/prod/dead", `{"pad":"`+strings.Repeat("x", 96<<10)+`"}`
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	ctx, stop := context.WithCancel(t.Context())
	counts := map[int]int{}
	var mu sync.Mutex
	var running, first sync.WaitGroup
	first.Add(callers)
	for range callers {
		running.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				status, err := answerOf(ctx, client, dead)
				if i == 0 {
					first.Done()
				}
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("a caller of the dead backend: %v", err)
					}
					return
				}
				mu.Lock()
				counts[status]++
				mu.Unlock()
			}
		})
	}
	first.Wait() // each has been refused or has waited in vain once, and calls again
	among := p50()
	stop()
	running.Wait()
	client.CloseIdleConnections()
	t.Logf("p50 %v alone, %v among %d callers of the dead backend; their answers: %v", alone, among, callers, counts)
	// Generous, for the callers take their share of the processors; to wait for the backend would take 3 seconds.
	if most := max(2*time.Second, 50*alone); among > most {
		t.Errorf("p50 %v among callers of a dead backend, %v alone: want at most %v", among, alone, most)
	}
	for status := range counts {
		// 504: in vain. 503: too many wait, or hold the memory of bodies.
		if status != 503 && status != 504 {
			t.Errorf("%d answers of %d", counts[status], status)
		}
	}
	if counts[504] == 0 || counts[503] == 0 {
		t.Errorf("answers %v, want some that waited in vain and some that were refused", counts)
	}
	checkMemory(t, n, 400<<20)
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// answerOf sends a request and gives the status.
func answerOf(ctx context.Context, client *http.Client, r request) (int, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, strings.NewReader(r.body))
	if err != nil {
		return 0, err
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
