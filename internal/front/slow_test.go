package front

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory, so that time can be the test's own.
type pipes struct {
	dialled chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newPipes() *pipes { return &pipes{dialled: make(chan net.Conn), closed: make(chan struct{})} }

func (l *pipes) listen(context.Context, string, string) (net.Listener, error) { return l, nil }

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.dialled:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080} }

func (l *pipes) dial(t testing.TB) *client {
	here, there := net.Pipe()
	l.dialled <- there
	return &client{here, t, nil}
}

// onPipes runs a test on one listener, in its own time.
func onPipes(t *testing.T, o Options, test func(t *testing.T, n *node, l *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		o := o
		o.listen = l.listen
		o.Now = time.Now
		n := serve(t, o)
		test(t, n, l)
	})
}

// awsOnly and ingestOnly leave one listener.
var (
	awsOnly    = Options{Ingest: Listener{Addr: Off}}
	ingestOnly = Options{AWS: Listener{Addr: Off}}
)

// outcome reads what the server says until it closes the connection, and tells when it began to, or, when it said
// nothing, when it closed.
func (c *client) outcome(start time.Time) string {
	b := make([]byte, 1)
	_, err := io.ReadFull(c.Conn, b)
	after := time.Since(start).Round(time.Second)
	if err != nil {
		return fmt.Sprint("nothing after ", after)
	}
	rest, _ := io.ReadAll(c.Conn)
	line, _, _ := strings.Cut(string(b)+string(rest), "\r\n")
	return fmt.Sprintf("%s after %v", line, after)
}

// Callers who send slowly lose their connection: each kind after its time.
func TestSlowCallersAreCut(t *testing.T) {
	f := func(o Options, want string, send func(c *client)) {
		t.Helper()
		o.Services = map[Service]http.Handler{}
		for _, s := range []Service{Kinesis, S3} {
			o.Services[s] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					w.WriteHeader(400)
				}
			})
		}
		onPipes(t, o, func(t *testing.T, n *node, l *pipes) {
			c := l.dial(t)
			start := time.Now()
			sent := make(chan bool)
			go func() {
				defer close(sent)
				send(c)
			}()
			if got := c.outcome(start); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			c.Close()
			<-sent
		})
	}
	write := func(c *client, text string) bool {
		_, err := io.WriteString(c, text)
		return err == nil
	}
	trickle := func(head string, piece int, every time.Duration) func(*client) {
		return func(c *client) {
			write(c, head)
			for write(c, strings.Repeat("x", piece)) {
				time.Sleep(every)
			}
		}
	}
	const post = "POST /b/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n"
	const kinesis = "X-Amz-Target: Kinesis_20131202.PutRecord\r\n"
	for _, o := range []Options{ingestOnly, awsOnly} {
		f(o, "nothing after 10s", func(c *client) {}) // no word
		f(o, "nothing after 10s", func(c *client) { write(c, "POST / HTTP/1.1\r\nHost: local") })
		f(o, "HTTP/1.1 408 Request Timeout after 30s", trickle(post+kinesis+"\r\n", 1, time.Second))
		f(o, "HTTP/1.1 408 Request Timeout after 30s", trickle(post+kinesis+"\r\n", 10<<10, time.Second)) // 10 KB/s is too slow
		// fast at first, then hardly a byte: 15 s after the last half MiB
		f(o, "HTTP/1.1 408 Request Timeout after 20s", func(c *client) {
			write(c, post+kinesis+"\r\n")
			time.Sleep(5 * time.Second)
			trickle(strings.Repeat("x", paceStep), 1, time.Second)(c)
		})
	}
	// a deployed API's address on the AWS endpoint, and a call that is refused before its body is read
	f(awsOnly, "HTTP/1.1 408 Request Timeout after 30s", trickle("POST /_aws/execute-api/a/b/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", 1, time.Second))
	f(awsOnly, "HTTP/1.1 403 Forbidden after 0s", trickle("POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000\r\n\r\n", 1, time.Second))
	// 512 KiB every 10 s is fast enough
	f(ingestOnly, "HTTP/1.1 200 OK after 3m10s", func(c *client) {
		write(c, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 10000000\r\n\r\n")
		for left := 10_000_000; left > 0; left -= paceStep {
			write(c, strings.Repeat("x", min(left, paceStep)))
			if left > paceStep {
				time.Sleep(10 * time.Second)
			}
		}
	})
	// an object may take any time, but no silence
	f(awsOnly, "HTTP/1.1 200 OK after 16m40s", func(c *client) {
		write(c, "PUT /b/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 101\r\n\r\n")
		for i := range 101 {
			write(c, "x")
			if i < 100 {
				time.Sleep(10 * time.Second)
			}
		}
	})
	f(awsOnly, "HTTP/1.1 400 Bad Request after 35s", func(c *client) {
		write(c, "PUT /b/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 101\r\n\r\n")
		time.Sleep(5 * time.Second)
		write(c, "x")
	})
}

// On HTTP/2 a slow body ends its stream, by the same clock.
func TestSlowStreamIsCut(t *testing.T) {
	f := func(o Options, path string) {
		o.Services = map[Service]http.Handler{Kinesis: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(400)
		})}
		onPipes(t, o, func(t *testing.T, n *node, l *pipes) {
			transport := l.dialHTTP2(t)
			body, slow := io.Pipe()
			r, err := http.NewRequest("POST", "http://127.0.0.1:8080"+path, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecord")
			sent := make(chan bool)
			go func() {
				defer close(sent)
				for {
					if _, err := slow.Write([]byte("x")); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			start := time.Now()
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start).Round(time.Second); resp.StatusCode != 408 || took != bodyTime {
				t.Errorf("%s: %d after %v", path, resp.StatusCode, took)
			}
			resp.Body.Close()
			body.Close()
			<-sent
			transport.CloseIdleConnections()
		})
	}
	f(ingestOnly, "/prod/v1")
	f(awsOnly, "/")
	f(awsOnly, "/_aws/execute-api/a/b")
}

// A connection is kept for its next request for a while.
func TestIdleConnectionsAreClosed(t *testing.T) {
	onPipes(t, ingestOnly, func(t *testing.T, n *node, l *pipes) {
		c := l.dial(t)
		c.in = bufio.NewReader(c)
		for range 2 {
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").answer("GET")
			time.Sleep(idleTime - time.Second)
		}
		start := time.Now()
		if !c.ended() || time.Since(start) != time.Second {
			t.Errorf("kept for %v more", time.Since(start))
		}
		c.Close()
	})
}

// A handler may work longer than its caller may send.
func TestLongCallsAreNotCut(t *testing.T) {
	o := awsOnly
	o.Services = map[Service]http.Handler{S3: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		time.Sleep(10 * time.Minute)
		fmt.Fprint(w, err, r.Context().Err())
	})}
	onPipes(t, o, func(t *testing.T, n *node, l *pipes) {
		for _, head := range []string{"GET /b/k HTTP/1.1\r\nHost: localhost\r\n\r\n", "PUT /b/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi"} {
			c := l.dial(t)
			c.send(strings.Replace(head, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
			b, _ := io.ReadAll(c.Conn)
			if !strings.HasSuffix(string(b), "\r\n\r\n<nil> <nil>") {
				t.Errorf("%q", b)
			}
			c.Close()
		}
	})
}

// A slow disk is not held against the caller whose object waits for it.
func TestSlowStoreDoesNotCutItsCaller(t *testing.T) {
	o := awsOnly
	o.Services = map[Service]http.Handler{S3: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one := make([]byte, 1)
		var err error
		for err == nil {
			_, err = r.Body.Read(one)
			time.Sleep(2 * streamTime)
		}
		fmt.Fprint(w, err)
	})}
	onPipes(t, o, func(t *testing.T, n *node, l *pipes) {
		c := l.dial(t)
		c.in = bufio.NewReader(c)
		c.send("PUT /b/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
		if _, body := c.answer("PUT"); body != "EOF" {
			t.Errorf("%s", body)
		}
		c.Close()
	})
}

// A caller who does not read its answer loses the connection, however long the answer is.
func TestCallerWhoDoesNotReadIsCut(t *testing.T) {
	o := awsOnly
	var ended chan time.Duration
	o.Services = map[Service]http.Handler{S3: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		var err error
		for err == nil {
			_, err = w.Write(make([]byte, 1<<20))
		}
		ended <- time.Since(start)
	})}
	onPipes(t, o, func(t *testing.T, n *node, l *pipes) {
		ended = make(chan time.Duration, 1) // one of the test's own time
		c := l.dial(t)
		c.send("GET /b/k HTTP/1.1\r\nHost: localhost\r\n\r\n")
		for range 20 { // each within its time
			time.Sleep(50 * time.Second)
			if _, err := io.CopyN(io.Discard, c.Conn, writeStep); err != nil {
				t.Fatal(err)
			}
		}
		if got := (<-ended).Round(time.Second); got != 20*50*time.Second+writeTime {
			t.Errorf("cut after %v", got)
		}
		c.Close()
	})
}

// dialHTTP2 gives a client that speaks HTTP/2 over one connection.
func (l *pipes) dialHTTP2(t *testing.T) *http.Transport {
	transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) {
		return l.dial(t).Conn, nil
	}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	return transport
}

// On HTTP/2 a caller who does not read one answer loses its stream, and keeps its connection for the others.
func TestStreamWhoseCallerDoesNotReadIsCut(t *testing.T) {
	o := awsOnly
	var ended chan time.Duration
	o.Services = map[Service]http.Handler{S3: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/b/small" {
			time.Sleep(time.Hour) // thinking is not writing
			fmt.Fprint(w, "small")
			return
		}
		start := time.Now()
		var err error
		for err == nil {
			_, err = w.Write(make([]byte, 1<<20))
		}
		ended <- time.Since(start)
	})}
	onPipes(t, o, func(t *testing.T, n *node, l *pipes) {
		ended = make(chan time.Duration, 1)
		transport := l.dialHTTP2(t)
		resp, err := (&http.Client{Transport: transport}).Get("http://127.0.0.1:8080/b/large")
		if err != nil {
			t.Fatal(err)
		}
		if got := (<-ended).Round(time.Second); got != writeTime {
			t.Errorf("cut after %v", got)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Error("the answer ended as if it were whole")
		}
		resp.Body.Close()
		if resp, err = (&http.Client{Transport: transport}).Get("http://127.0.0.1:8080/b/small"); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "small" || err != nil {
			t.Errorf("%q %v", b, err)
		}
		resp.Body.Close()
		if got := n.Stats().Connections; got != 1 {
			t.Errorf("%d connections", got)
		}
		transport.CloseIdleConnections()
	})
}

// An answer that goes on for minutes is not cut while its caller reads it, whatever sets deadlines on the way; and a
// caller who stops reading is cut by the handler's own deadline, where it has one.
func TestLongAnswersAreNotCut(t *testing.T) {
	const events, pause = 60, 5 * time.Second
	o := awsOnly
	var failed chan string
	o.Services = map[Service]http.Handler{Kinesis: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		out := http.NewResponseController(w)
		write := func(size int, within time.Duration) error {
			if within > 0 {
				_ = out.SetWriteDeadline(time.Now().Add(within))
				defer out.SetWriteDeadline(time.Time{})
			}
			if _, err := w.Write(make([]byte, size)); err != nil {
				return err
			}
			return out.Flush()
		}
		for i := range events {
			if err := write(1, time.Duration(i%2)*time.Second); err != nil {
				failed <- err.Error()
				return
			}
			time.Sleep(pause)
		}
		start := time.Now()
		for write(1<<20, 7*time.Second) == nil {
		}
		failed <- fmt.Sprint("cut after ", time.Since(start).Round(time.Second))
	})}
	f := func(client func(*pipes, *testing.T) *http.Transport) {
		t.Helper()
		onPipes(t, o, func(t *testing.T, n *node, l *pipes) {
			failed = make(chan string, 1)
			transport := client(l, t)
			r, err := http.NewRequest("POST", "http://127.0.0.1:8080/", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Amz-Target", subscribeTarget)
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if _, err := io.CopyN(io.Discard, resp.Body, events); err != nil {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			if got := <-failed; got != "cut after 7s" {
				t.Error(got)
			}
			resp.Body.Close()
			transport.CloseIdleConnections()
		})
	}
	f(func(l *pipes, t *testing.T) *http.Transport { return l.dialHTTP2(t) })
	f(func(l *pipes, t *testing.T) *http.Transport {
		return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return l.dial(t).Conn, nil }}
	})
}

// Answers of a kept connection have a deadline also when they come close behind one another: net/http gives up
// deadlines after each.
func TestKeptConnectionsHaveDeadlines(t *testing.T) {
	o := awsOnly
	var ended chan time.Duration
	o.Services = map[Service]http.Handler{S3: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		_, err := w.Write(make([]byte, writeStep))
		if err == nil {
			err = http.NewResponseController(w).Flush()
		}
		if err != nil {
			ended <- time.Since(start)
		}
	})}
	onPipes(t, o, func(t *testing.T, n *node, l *pipes) {
		ended = make(chan time.Duration, 1)
		c := l.dial(t)
		c.in = bufio.NewReader(c)
		const get = "GET /b/k HTTP/1.1\r\nHost: localhost\r\n\r\n"
		c.send(get).answer("GET")
		time.Sleep(writeRenewal / 2)
		c.send(get) // and does not read
		if got := <-ended; got < writeTime-writeRenewal || got > writeTime {
			t.Errorf("cut after %v", got)
		}
		c.Close()
	})
}

// Beyond the bound on connections callers wait until another has gone.
func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		n := serve(t, Options{AWS: Listener{Addr: Off}, listen: p.listen})
		l := limit(newPipes(), 2, n.stats, n.Server.log)
		in := l.Listener.(*pipes)
		accepted := make(chan net.Conn, 3)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					close(accepted)
					return
				}
				accepted <- c
			}
		}()
		one, two := in.dial(t), in.dial(t)
		first, second := <-accepted, <-accepted
		synctest.Wait()
		select {
		case in.dialled <- nil:
			t.Fatal("a third caller was let in")
		default:
		}
		first.Close()
		first.Close() // counts once
		three := in.dial(t)
		third := <-accepted
		synctest.Wait()
		if got := n.Stats(); got.Connections != 2 || got.ConnectionWaits != 2 {
			t.Errorf("%+v", got)
		}
		l.Close() // also while Accept waits for a slot
		<-accepted
		for _, c := range []net.Conn{one, two, three, second, third} {
			c.Close()
		}
	})
}
