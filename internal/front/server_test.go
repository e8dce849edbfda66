package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/fault"
	"millrace/internal/gateway"
	"millrace/internal/ids"
	"millrace/internal/telemetry"
)

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	f := func(o Options, kind fault.Kind, want string) {
		t.Helper()
		o.Gateway, o.IDs, o.Now = gatewayFunc(ok), ids.Seeded(1), time.Now
		if o.Budget == nil {
			o.Budget = NewBudget(0)
		}
		s, err := Listen(t.Context(), o)
		if err == nil {
			t.Errorf("accepted: %s", want)
			_ = s.Shutdown(t.Context())
			return
		}
		if !fault.Is(err, kind) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f(Options{}, fault.Invalid, "both listeners are off")
	f(Options{AWS: Listener{Addr: "off"}, Ingest: Listener{Addr: "off"}}, fault.Invalid, "both listeners are off")
	f(Options{AWS: Listener{Addr: "0.0.0.0:0"}}, fault.Denied, "0.0.0.0:0: this AWS listener is reachable from other machines")
	f(Options{AWS: Listener{Addr: ":0"}}, fault.Denied, "configure credentials")
	f(Options{Ingest: Listener{Addr: taken.Addr().String()}}, fault.Unavailable, taken.Addr().String())
	f(Options{Ingest: Listener{Addr: "nonsense"}}, fault.Unavailable, "nonsense")
	f(Options{Ingest: Listener{Addr: "127.0.0.1:0", TLSCert: filepath.Join(dir, "none.pem")}}, fault.Invalid, "none.pem")
	f(Options{Ingest: Listener{Addr: "127.0.0.1:0"}, Budget: NewBudget(1 << 20)}, fault.Invalid, "1048576")
	// the first listener is given up with the second
	f(Options{Ingest: Listener{Addr: "127.0.0.1:0"}, AWS: Listener{Addr: taken.Addr().String()}}, fault.Unavailable, taken.Addr().String())
}

func TestBeyondLoopbackWithCredentials(t *testing.T) {
	n := serve(t, Options{AWS: Listener{Addr: "0.0.0.0:0"}, Ingest: Listener{Addr: "0.0.0.0:0"},
		Credentials: func(string) (string, bool) { return "", false }})
	for _, url := range []string{n.AWSURL(), n.IngestURL()} {
		if !strings.HasPrefix(url, "http://127.0.0.1:") || strings.HasSuffix(url, ":0") {
			t.Errorf("%s is no URL to call", url)
		}
		dial(t, url)
	}
}

// A server that was never served gives its ports back.
func TestShutdownWithoutServe(t *testing.T) {
	o := Options{Ingest: Listener{Addr: "127.0.0.1:0"}, Gateway: gatewayFunc(ok), Budget: NewBudget(0), IDs: ids.Seeded(1), Now: time.Now}
	s, err := Listen(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if s.AWSURL() != "" {
		t.Errorf("%s is off", s.AWSURL())
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Serve(); err != nil {
		t.Errorf("serve after the end: %v", err)
	}
	l, err := net.Listen("tcp", addr(s.IngestURL()))
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	l.Close()
}

// A stop lets what has been accepted end: a request that runs, and one whose body is still coming in. Idle callers
// and new ones find the door closed.
func TestShutdownLetsRequestsFinish(t *testing.T) {
	begun, goOn := make(chan bool, 2), make(chan bool)
	n := serve(t, Options{Gateway: gatewayFunc(func(ctx context.Context, req *gateway.Request, resp *gateway.Response) {
		if req.RawPath == "/idle" {
			resp.Status = 200
			return
		}
		begun <- true
		<-goOn
		ok(ctx, req, resp)
	})})
	idle, running, arriving := dial(t, n.IngestURL()), dial(t, n.IngestURL()), dial(t, n.IngestURL())
	idle.send("GET /idle HTTP/1.1\r\nHost: h\r\n\r\n").answer("GET")
	running.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
	<-begun
	arriving.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
	if resp, err := http.ReadResponse(arriving.in, nil); err != nil || resp.StatusCode != 100 { // it is being read
		t.Fatalf("%v %v", resp, err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- n.Shutdown(context.Background()) }()
	if !idle.ended() {
		t.Error("an idle connection is closed")
	}
	if _, err := net.Dial("tcp", addr(n.IngestURL())); err == nil {
		t.Error("no new callers are let in")
	}
	arriving.send("hi")
	<-begun
	select {
	case err := <-stopped:
		t.Fatalf("stopped while requests ran: %v", err)
	default:
	}
	close(goOn)
	for _, c := range []*client{running, arriving} {
		if resp, body := c.answer("POST"); resp.StatusCode != 200 || body != `{"bytes":2}` || !resp.Close {
			t.Errorf("%d %s close=%v", resp.StatusCode, body, resp.Close)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Who follows the node is sent away at once when it stops, and does not keep it from stopping.
func TestShutdownEndsFollowers(t *testing.T) {
	begun := make(chan bool, 1)
	n := serve(t, Options{Millrace: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		begun <- true
		<-r.Context().Done()
	})})
	leaves := dial(t, n.AWSURL())
	leaves.send("GET /_millrace/tail HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-begun
	leaves.Close()
	stays := dial(t, n.AWSURL())
	stays.send("GET /_millrace/tail HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-begun
	if err := n.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, body := stays.answer("GET"); body != "first" {
		t.Errorf("%q", body)
	}
}

// Subscriptions to shards end when the node stops, on either version of HTTP; and when their callers leave. It runs in
// time of its own, so that synctest tells when all is quiet: a request counts until the server is done with it, which is
// after its handler has seen its caller leave.
func TestShutdownEndsSubscriptions(t *testing.T) {
	o := awsOnly
	o.Services = map[Service]http.Handler{Kinesis: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})}
	onPipes(t, o, func(t *testing.T, n *node, l *pipes) {
		overHTTP1 := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return l.dial(t).Conn, nil }}
		var answers []*http.Response
		for _, transport := range []*http.Transport{overHTTP1, l.dialHTTP2(t)} {
			defer transport.CloseIdleConnections()
			subscribe := func(ctx context.Context) *http.Response {
				r, err := http.NewRequestWithContext(ctx, "POST", n.AWSURL(), strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("X-Amz-Target", subscribeTarget)
				resp, err := transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				return resp
			}
			ctx, leave := context.WithCancel(t.Context())
			subscribe(ctx).Body.Close()
			leave()
			answers = append(answers, subscribe(t.Context()))
		}
		synctest.Wait()
		if got := n.Stats(); got.InFlight != 2 {
			t.Errorf("callers who have left still count: %+v", got)
		} else if got.BodyBytes != 0 {
			t.Errorf("subscriptions hold a share of the budget of bodies: %+v", got)
		}
		var readers sync.WaitGroup // a pipe holds nothing: the end of an answer is read as it is written
		for _, resp := range answers {
			readers.Go(func() {
				if b, err := io.ReadAll(resp.Body); string(b) != "first" || err != nil {
					t.Errorf("%s: %q %v", resp.Proto, b, err)
				}
				resp.Body.Close()
			})
		}
		if err := n.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		readers.Wait()
	})
}

// When patience ends, requests are told to give up, and waited for; what even then does not end is told.
func TestShutdownGivesUpAtItsDeadline(t *testing.T) {
	f := func(stubborn bool) {
		o := ingestOnly
		var release chan bool
		o.Gateway = gatewayFunc(func(ctx context.Context, req *gateway.Request, resp *gateway.Response) {
			<-ctx.Done()
			if stubborn {
				<-release
			}
			resp.Status = 503
		})
		onPipes(t, o, func(t *testing.T, n *node, l *pipes) {
			release = make(chan bool)
			c := l.dial(t)
			c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
			synctest.Wait()
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := n.Shutdown(ctx)
			took := time.Since(start).Round(time.Second)
			switch {
			case !stubborn && (err != nil || took != time.Minute):
				t.Errorf("%v after %v", err, took)
			case stubborn && (err == nil || !strings.Contains(err.Error(), "1 requests have not ended") || took != time.Minute+forcedTime):
				t.Errorf("%v after %v", err, took)
			}
			close(release)
			c.Close()
		})
	}
	f(false)
	f(true)
}

// keyPair writes a certificate with the given serial number.
func keyPair(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: signed}, key: {Type: "PRIVATE KEY", Bytes: encoded}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		stamp := time.Unix(serial, 0) // file systems differ in how fine their clocks are
		if err := os.Chtimes(name, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// A client that negotiates no protocol in its handshake speaks what it likes: HTTP/1, or HTTP/2 as the SDKs for Java do.
func TestTLSWithoutNegotiation(t *testing.T) {
	cert, key := keyPair(t, t.TempDir(), 1)
	n := serve(t, Options{
		Ingest: Listener{Addr: "127.0.0.1:0", TLSCert: cert, TLSKey: key}, AWS: Listener{Addr: Off},
		Gateway: gatewayFunc(func(ctx context.Context, req *gateway.Request, resp *gateway.Response) {
			resp.Status = 200
			if !req.TLS {
				resp.Status = 500
			}
		}),
	})
	silent, err := net.Dial("tcp", strings.TrimPrefix(n.IngestURL(), "https://")) // whose handshake keeps nobody waiting
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, network, addr)
		}}
		transport.Protocols.SetHTTP1(proto == "HTTP/1.1")
		transport.Protocols.SetUnencryptedHTTP2(proto == "HTTP/2.0") // it does not know of the TLS below
		for range 2 {
			resp, err := (&http.Client{Transport: transport}).Get(strings.Replace(n.IngestURL(), "https:", "http:", 1))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 || resp.Proto != proto {
				t.Errorf("%s: %s %d", proto, resp.Proto, resp.StatusCode)
			}
		}
		transport.CloseIdleConnections()
	}
	n.stop() // nor does it keep the server
}

// A listener that fails for a while, as it does when the process has no more file descriptors, goes on afterwards, with
// TLS and without.
func TestListenersRecover(t *testing.T) {
	cert, key := keyPair(t, t.TempDir(), 1)
	f := func(l Listener) {
		t.Helper()
		n := serve(t, Options{Ingest: l, AWS: Listener{Addr: Off}, listen: func(_ context.Context, network, addr string) (net.Listener, error) {
			ln, err := net.Listen(network, addr)
			return &faltering{Listener: ln}, err
		}})
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get(n.IngestURL())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		n.stop()
		if !strings.Contains(n.log.String(), "too many open files") {
			t.Errorf("nobody is told:\n%s", n.log)
		}
	}
	f(Listener{Addr: "127.0.0.1:0"})
	f(Listener{Addr: "127.0.0.1:0", TLSCert: cert, TLSKey: key})
}

// faltering is a listener that fails twice.
type faltering struct {
	net.Listener
	accepts int
}

func (l *faltering) Accept() (net.Conn, error) {
	if l.accepts++; l.accepts <= 2 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

// A renewed certificate is taken up while the server runs; a broken renewal keeps the old one.
func TestTLSFollowsItsFiles(t *testing.T) {
	var clock atomic.Int64
	dir := t.TempDir()
	cert, key := keyPair(t, dir, 1)
	n := serve(t, Options{
		Ingest: Listener{Addr: "127.0.0.1:0", TLSCert: cert, TLSKey: key}, AWS: Listener{Addr: Off},
		Now: func() time.Time { return testTime.Add(time.Duration(clock.Load())) },
		Gateway: gatewayFunc(func(ctx context.Context, req *gateway.Request, resp *gateway.Response) {
			resp.Status = 200
			if !req.TLS {
				resp.Status = 500
			}
		}),
	})
	serial := func(proto string) int64 {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(proto == "HTTP/1.1")
		transport.Protocols.SetHTTP2(proto == "HTTP/2.0")
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(n.IngestURL())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.Proto != proto {
			t.Errorf("%s %d", resp.Proto, resp.StatusCode)
		}
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	f := func(want int64) {
		t.Helper()
		for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
			if got := serial(proto); got != want {
				t.Errorf("certificate %d, want %d", got, want)
			}
		}
	}
	f(1)
	keyPair(t, dir, 2)
	f(1) // looked at a moment ago
	clock.Add(int64(certCheck))
	f(2)
	if err := os.WriteFile(cert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	clock.Add(int64(certCheck))
	f(2)
	keyPair(t, dir, 3)
	clock.Add(int64(certCheck))
	f(3)
	if text := n.log.String(); strings.Count(text, "certificate reloaded") != 2 || !strings.Contains(text, "the old one stays") {
		t.Errorf("%s", text)
	}
	plain := dial(t, n.IngestURL())
	plain.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	if resp, _ := plain.answer("GET"); resp.StatusCode != 400 {
		t.Errorf("plain text on a TLS port: %d", resp.StatusCode)
	}
	n.stop() // it logs when it has answered
	if text := n.log.String(); strings.Contains(text, "level=WARN msg=\"the HTTP server") || !strings.Contains(text, "TLS handshake error") {
		t.Errorf("a caller's handshake is told at debug level:\n%s", text)
	}
}

// SDKs that speak HTTP/2 without TLS are understood, as are those with HTTP/1.
func TestUnencryptedHTTP2(t *testing.T) {
	n := serve(t, Options{})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	for _, size := range []int{0, 300, 1 << 20, maxBodyBytes} {
		resp, err := (&http.Client{Transport: transport}).Post(n.IngestURL()+"/prod/v1", "text/plain", strings.NewReader(strings.Repeat("x", size)))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.Proto != "HTTP/2.0" || resp.StatusCode != 200 || !strings.HasSuffix(string(b), ":"+itoa(size)+"}") {
			t.Errorf("%s %d %s", resp.Proto, resp.StatusCode, b)
		}
	}
}

func TestCollect(t *testing.T) {
	n := serve(t, Options{Gateway: gatewayFunc(func(_ context.Context, req *gateway.Request, resp *gateway.Response) {
		resp.Status, resp.API, resp.Stage = 200, "abc", "prod"
		if req.RawPath != "/" {
			resp.Status, resp.API, resp.Stage = 403, "", ""
		}
	})})
	c := dial(t, n.IngestURL())
	for _, path := range []string{"/", "/", "/x"} {
		c.send("POST " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").answer("POST")
	}
	dial(t, n.AWSURL()).send("GET /bucket HTTP/1.1\r\nHost: localhost\r\n\r\n").answer("GET")
	page := telemetry.NewMetrics()
	page.Collect(n.Collect)
	w := &recorder{header: http.Header{}}
	page.Handler().ServeHTTP(w, request("GET /_millrace/metrics"))
	for _, line := range []string{
		`millrace_api_requests_total{api="abc",stage="prod",status="200"} 2`,
		`millrace_api_requests_total{api="",stage="",status="403"} 1`,
		`millrace_api_request_bytes_total{api="abc",stage="prod"} 6`,
		`millrace_service_requests_total{service="unknown"} 1`,
		`millrace_service_requests_total{service="kinesis"} 0`,
		`millrace_body_bytes 0`,
		`millrace_body_bound_bytes 6.7108864e+07`,
	} {
		if !strings.Contains(w.body.String(), line+"\n") {
			t.Errorf("the page lacks %s", line)
		}
	}
}

// Names of APIs that callers make up are counted together once there are many.
func TestSeriesAreBounded(t *testing.T) {
	s := new(stats)
	for i := range maxSeries + 10 {
		s.event("api", itoa(i), 200, 1)
	}
	all := *s.series.Load()
	if len(all) != maxSeries+1 || all[apiStage{"other", "other"}].bytes.Load() != 10 {
		t.Errorf("%d series", len(all))
	}
}
