package httpcall

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/fault"
	"millrace/internal/gateway"
	"millrace/internal/outbound"
	"millrace/internal/restapi"
)

func toHost(url string) *restapi.Integration {
	return &restapi.Integration{Type: restapi.HTTPProxy, HTTPMethod: "POST", URI: url, TimeoutMillis: 29000}
}

// expect compares status and body of an answer, and the last error line but one, which says why.
func expect(t *testing.T, d deployed, resp *gateway.Response, status int, body, why string) {
	t.Helper()
	said := ""
	if n := len(d.log.lines); n > 1 {
		said = d.log.lines[n-2]
	}
	d.log.lines = nil
	if resp.Status != status || string(resp.Body) != body || !strings.Contains(said, why) || why == "" && said != "" {
		t.Errorf("%d %.100q, log %q, want %d %q %q", resp.Status, resp.Body, said, status, body, why)
	}
}

const (
	internalError = `{"message": "Internal server error"}`
	networkError  = `{"message": "Network error communicating with endpoint"}`
	timeoutError  = `{"message": "Endpoint request timed out"}`
)

// What callers are told of a backend that does not answer as it should.
func TestBackendsThatFail(t *testing.T) {
	b := newBackend(t)
	client := New(outbound.Options{})
	defer client.Close()
	d := deploy(t, client, "POST:/x", toHost("http://"+b.address()+"/"), nil)
	f := func(name, answer string, status int, body, why string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			b.says(answer)
			expect(t, d, d.call("POST", "/x", "\nbody"), status, body, why)
		})
	}
	const network = "network error communicating with endpoint"
	long := strings.Repeat("x", 10<<20)
	f("good", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", "")
	f("closes at the end", "HTTP/1.1 200 OK\r\n\r\nok", 200, "ok", "")
	f("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n", 200, "ok", "")
	f("no HTTP", "SSH-2.0-OpenSSH_9.6\r\n", 504, networkError, network)
	f("no status", "HTTP/1.1 abc\r\n\r\n", 504, networkError, network)
	f("status out of range", "HTTP/1.1 99 Low\r\n\r\n", 504, networkError, network)
	f("switching protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 504, networkError, network)
	f("a status of its own", "HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", 799, "", "")
	f("bad header", "HTTP/1.1 200 OK\r\nNo colon\r\n\r\n", 504, networkError, network)
	f("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", 504, networkError, network)
	f("negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 504, networkError, network)
	f("cut in the head", "HTTP/1.1 200 OK\r\nContent-", 504, networkError, network)
	f("cut in the body", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok", 504, networkError, network)
	f("bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok", 504, networkError, network)
	f("large head", "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", maxHeaderBytes)+"\r\n\r\n", 504, networkError, network)
	f("closes", "\r\n", 504, networkError, network)
	f("just not too large", "HTTP/1.1 200 OK\r\n\r\n"+long, 200, long, "")
	f("too large", "HTTP/1.1 200 OK\r\n\r\n"+long+"x", 500, internalError, "larger than allowed maximum of 10485760 bytes")
	f("says that it is too large", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 10<<20+1), 500, internalError,
		"larger than allowed maximum of 10485760 bytes")
	f("gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"+zipped("plain"), 200, "plain", "")
	f("unknown coding", "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nxyz", 200, "xyz", "")
	f("no gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nxyz", 504, networkError, "not in its Content-Encoding")
	f("cut gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"+zipped("plain")[:20], 504, networkError, "not in its Content-Encoding")
	f("gzip that swells", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"+zipped(long+"x"), 500, internalError, "larger than allowed maximum")
}

func zipped(body string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(body))
	_ = w.Close()
	return b.String()
}

// What callers are told of hosts that can't be reached.
func TestHostsThatFail(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	client := New(outbound.Options{})
	defer client.Close()
	f := func(url string, status int, body, why string) {
		t.Helper()
		d := deploy(t, client, "POST:/x", toHost(url), nil)
		expect(t, d, d.call("POST", "/x", "\nbody"), status, body, why)
	}
	f("http://"+closed.Addr().String()+"/", 504, networkError, "connection refused")
	f("http://169.254.169.254/latest/meta-data/", 500, internalError, "link-local")
	f("http://[fe80::1%25lo]/", 500, internalError, "link-local")
	f("http://[::ffff:169.254.169.254]/", 500, internalError, "link-local")
	f("http://user@127.0.0.1/", 500, internalError, "Invalid endpoint address")
	f("http://127.0.0.1:99999/", 504, networkError, "network error")
	f("http://127.0.0.1:x/", 500, internalError, "Invalid endpoint address")
	f("ftp://127.0.0.1/", 500, internalError, "Invalid endpoint address")
}

// A name without an address is the definition's fault, a resolver that does not answer the network's.
func TestNames(t *testing.T) {
	f := func(err error, want fault.Kind) {
		t.Helper()
		if got := fault.KindOf(dressed("h", err)); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
	f(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, fault.Invalid)
	f(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}}, fault.Unavailable)
	f(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}}, fault.Unavailable)
}

// A backend that does not answer is waited for as long as the integration says, whatever it does meanwhile.
func TestSlowBackendsTimeOut(t *testing.T) {
	b := newBackend(t)
	client := New(outbound.Options{})
	defer client.Close()
	i := toHost("http://" + b.address() + "/")
	i.TimeoutMillis = restapi.MinTimeoutMillis
	d := deploy(t, client, "POST:/x", i, nil)
	for _, answer := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"} {
		b.says(answer)
		begun := time.Now()
		expect(t, d, d.call("POST", "/x", "\nbody"), 504, timeoutError, "timeout")
		if took := time.Since(begun); took < restapi.MinTimeoutMillis*time.Millisecond || took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	}
	if client.total != 0 || len(client.hosts) != 0 {
		t.Errorf("%d requests count as under way, of hosts %v", client.total, client.hosts)
	}
}

// A dead backend fills its own share; callers of others do not notice, and its own are refused at once.
func TestDeadBackendsLeaveRoom(t *testing.T) {
	dead, alive := newBackend(t), newBackend(t)
	dead.says("")
	alive.says(plainAnswer)
	client := New(outbound.Options{})
	defer client.Close()
	client.perHost, client.inAll, client.bytesPerHost = 3, 5, 100
	toDead := deploy(t, client, "POST:/x", toHost("http://"+dead.address()+"/"), nil)
	toAlive := deploy(t, client, "POST:/x", toHost("http://"+alive.address()+"/"), nil)
	ctx, end := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range client.perHost {
		waiting.Go(func() {
			r := &gateway.Request{Method: "POST", Host: "h", RawPath: "/prod/x", Body: []byte("b"), Received: testTime}
			toDead.Serve(ctx, r, &gateway.Response{})
		})
	}
	for range client.perHost {
		<-dead.arrived
	}
	resp := toDead.call("POST", "/x", "\nb")
	expect(t, toDead, resp, 503, `{"message":"Service Unavailable"}`, "3 requests to it with 100 bytes, or 5 requests in all, are under way")
	if resp.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	for range 10 {
		expect(t, toAlive, toAlive.call("POST", "/x", "\nb"), 200, `{"b":[1]}`, "")
	}
	// One connection, but where net/http is not done with a request when its answer is there already: it waits 50 ms for
	// that, and then opens another.
	if alive.connections() >= 10 {
		t.Errorf("10 requests opened %d connections", alive.connections())
	}
	end()
	waiting.Wait()
	toDead.log.lines = nil // of those that were cut off
	dead.says(plainAnswer)
	expect(t, toDead, toDead.call("POST", "/x", "\nb"), 200, `{"b":[1]}`, "")
	expect(t, toDead, toDead.call("POST", "/x", "\n"+strings.Repeat("b", 100)), 200, `{"b":[1]}`, "")
	expect(t, toDead, toDead.call("POST", "/x", "\n"+strings.Repeat("b", 101)), 503, `{"message":"Service Unavailable"}`, "are under way")
}

// budget refuses what is beyond it.
type budget struct {
	mu         sync.Mutex
	left, held int64
}

func (b *budget) Take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left {
		return false
	}
	b.left, b.held = b.left-n, b.held+n
	return true
}

func (b *budget) Give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left, b.held = b.left+n, b.held-n
}

// keptBytes is at least what the gateway keeps of one exchange's memory, which is in no budget.
const keptBytes = 256 << 10

// Answers are taken from the node's memory for bodies, which gets all back.
func TestAnswersAreTakenFromTheBudget(t *testing.T) {
	b := newBackend(t)
	client := New(outbound.Options{})
	defer client.Close()
	memory := &budget{left: 1 << 20}
	d := deploy(t, client, "POST:/x", toHost("http://"+b.address()+"/"), nil)
	d.Answers = memory
	f := func(answer string, status int, body, why string) {
		t.Helper()
		b.says(answer)
		resp := d.call("POST", "/x", "\nb")
		expect(t, d, resp, status, body, why)
		if status == 200 && len(body) > keptBytes && memory.held < int64(len(body)) {
			t.Errorf("an answer of %d bytes, not sent yet, holds %d of the budget", len(body), memory.held)
		}
		resp.Release()
		if memory.held != 0 {
			t.Errorf("%d bytes are held", memory.held)
		}
	}
	// Memory that the gateway has kept from earlier answers is free as long as it suffices; this one outgrows it.
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshort", 200, "short", "")
	half, two := strings.Repeat("x", 300<<10), strings.Repeat("x", 2<<20)
	f("HTTP/1.1 200 OK\r\n\r\n"+half, 200, half, "")
	f(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(half), half), 200, half, "")
	f("HTTP/1.1 200 OK\r\n\r\n"+two, 503, `{"message":"Service Unavailable"}`, "no body memory left")
	f(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(two), two), 503, `{"message":"Service Unavailable"}`, "no body memory left")
	f("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"+zipped(two), 503, `{"message":"Service Unavailable"}`, "no body memory left")
}

// taker is a caller that takes an answer while it comes in.
type taker struct {
	ctx    context.Context
	pieces chan string
	whole  bool // the payload had been read when the answer began
}

func (c *taker) Await() context.Context                { return c.ctx }
func (c *taker) Begin(_ *gateway.Response, whole bool) { c.whole = whole }

func (c *taker) Write(p []byte) (int, error) {
	c.pieces <- string(p)
	return len(p), nil
}

// What a backend has sent reaches the caller before the rest is there, and a backend that breaks off shows as that.
func TestAnswersStream(t *testing.T) {
	next := make(chan bool)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-next:
		case <-r.Context().Done(): // a caller who leaves is told to the backend
			close(next)
		}
		if r.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "second")
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer s.Close()
	client := New(outbound.Options{})
	defer client.Close()
	call := func(path string, c *taker) chan *gateway.Response {
		i := toHost(s.URL + path)
		i.TransferMode = restapi.Stream
		d := deploy(t, client, "POST:/x", i, nil)
		done := make(chan *gateway.Response, 1)
		go func() {
			r := &gateway.Request{Method: "POST", Host: "h", RawPath: "/prod/x", Body: []byte("body"), Received: testTime}
			resp := &gateway.Response{Caller: c}
			d.Serve(context.Background(), r, resp)
			close(c.pieces)
			done <- resp
		}()
		if got := <-c.pieces; got != "first" || !c.whole {
			t.Errorf("%q, payload read %v", got, c.whole)
		}
		return done
	}
	c := &taker{ctx: t.Context(), pieces: make(chan string)}
	done := call("/", c)
	next <- true
	if got := <-c.pieces; got != "second" {
		t.Errorf("%q", got)
	}
	if resp := <-done; resp.Status != 200 || !resp.Begun || resp.Cut {
		t.Errorf("%+v", resp)
	}
	c = &taker{ctx: t.Context(), pieces: make(chan string)}
	done = call("/cut", c)
	next <- true
	if resp := <-done; resp.Status != 200 || !resp.Cut {
		t.Errorf("%+v", resp)
	}
	ctx, leave := context.WithCancel(t.Context())
	c = &taker{ctx: ctx, pieces: make(chan string)}
	done = call("/", c)
	leave()
	if resp := <-done; !resp.Cut {
		t.Errorf("%+v", resp)
	}
	<-next
}

// The memory of a request's body is the gateway's again when the request is over, even when the backend has answered
// before it has read the body: net/http may be about to read on.
func TestBodiesAreLetGoOf(t *testing.T) {
	early := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge) // and reads nothing
	}))
	defer early.Close()
	client := New(outbound.Options{})
	defer client.Close()
	large := make([]byte, 4<<20)
	for range 20 {
		c := &gateway.Call{Verb: "POST", Target: early.URL, Body: large}
		_ = client.Send(t.Context(), c) // an answer or an error, as the race goes
		clear(large)                    // the race detector looks on
	}
}

// Certificates are checked; insecureSkipVerification forgives an unknown authority, and neither a name nor a date.
func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	f := func(roots *x509.CertPool, host string, insecure bool, status int, body, why string) {
		t.Helper()
		client := New(outbound.Options{Roots: roots})
		defer client.Close()
		i := toHost("https://" + host + ":" + port + "/")
		i.InsecureTLS = insecure
		d := deploy(t, client, "POST:/x", i, nil)
		expect(t, d, d.call("POST", "/x", "\nb"), status, body, why)
	}
	f(roots, "127.0.0.1", false, 200, "ok", "")
	f(x509.NewCertPool(), "127.0.0.1", false, 504, networkError, "unknown authority")
	f(x509.NewCertPool(), "127.0.0.1", true, 200, "ok", "")
	f(roots, "localhost", false, 504, networkError, "not localhost")
	f(roots, "localhost", true, 504, networkError, "not localhost")
	f(roots, "127.0.0.1", true, 200, "ok", "")

	leaf := *server.Certificate()
	leaf.NotAfter = time.Now().Add(-time.Hour)
	if err := checkNameAndDates("127.0.0.1", &leaf); err == nil {
		t.Error("a certificate that has expired is taken")
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	client := New(outbound.Options{})
	defer client.Close()
	d := deploy(t, client, "POST:/x", toHost(strings.Replace(plain.URL, "http:", "https:", 1)), nil)
	expect(t, d, d.call("POST", "/x", "\nb"), 504, networkError, "TLS handshake")
}

// By a proxy certificates are judged as they are without one.
func TestTLSByAProxy(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		there, err := net.Dial("tcp", server.Listener.Addr().String()) // whatever name is asked for
		if r.Method != http.MethodConnect || err != nil {
			t.Errorf("%s %v", r.Method, err)
			return
		}
		here, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 Connected\r\n\r\n")
		go func() { _, _ = io.Copy(there, buffered); there.Close() }() // a byte may have been read ahead
		_, _ = io.Copy(here, there)
		here.Close()
	}))
	defer proxy.Close()
	at, _ := url.Parse(proxy.URL)
	f := func(host string, insecure bool, status int, body, why string) {
		t.Helper()
		client := New(outbound.Options{Proxy: http.ProxyURL(at)})
		defer client.Close()
		i := toHost("https://" + host + "/")
		i.InsecureTLS = insecure
		d := deploy(t, client, "POST:/x", i, nil)
		expect(t, d, d.call("POST", "/x", "\nb"), status, body, why)
	}
	f("example.com", true, 200, "ok", "") // the test server's certificate has this name
	f("example.com", false, 504, networkError, "unknown authority")
	f("elsewhere.test", true, 504, networkError, "not elsewhere.test")
	f("192.0.2.1", true, 504, networkError, "not for an address")
	f("169.254.169.254", false, 500, internalError, "link-local")
}
