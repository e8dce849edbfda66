package front

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/internal/gateway"
	"millrace/internal/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testTime = time.Date(2026, 11, 24, 8, 30, 15, 123e6, time.UTC)

// gatewayFunc is a gateway that a test writes.
type gatewayFunc func(ctx context.Context, req *gateway.Request, resp *gateway.Response)

func (f gatewayFunc) Serve(ctx context.Context, req *gateway.Request, resp *gateway.Response) {
	f(ctx, req, resp)
}

// ok answers 200 with the payload's length.
func ok(_ context.Context, req *gateway.Request, resp *gateway.Response) {
	resp.Status = 200
	resp.Header = append(resp.Header, gateway.Field{Name: "Content-Type", Value: "application/json"})
	resp.Body = fmt.Appendf(resp.Body, `{"bytes":%d}`, len(req.Body))
}

// logs keeps what was logged.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type node struct {
	*Server
	t      testing.TB
	log    *logs
	served chan error
}

// serve starts a server with what a test leaves open filled in: loopback listeners on free ports.
func serve(t testing.TB, o Options) *node {
	t.Helper()
	n := &node{t: t, log: new(logs), served: make(chan error, 1)}
	if o.AWS.Addr == "" {
		o.AWS.Addr = "127.0.0.1:0"
	}
	if o.Ingest.Addr == "" {
		o.Ingest.Addr = "127.0.0.1:0"
	}
	if o.Gateway == nil {
		o.Gateway = gatewayFunc(ok)
	}
	if o.Budget == nil {
		o.Budget = NewBudget(0)
	}
	if o.Now == nil {
		o.Now = func() time.Time { return testTime }
	}
	o.IDs = ids.Seeded(1)
	o.Log = slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := Listen(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	n.Server = s
	go func() { n.served <- s.Serve() }()
	t.Cleanup(n.stop)
	return n
}

func (n *node) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		n.t.Errorf("shutdown: %v", err)
	}
	if err := <-n.served; err != nil {
		n.t.Errorf("serve: %v", err)
	}
	n.served <- nil
	if used := n.budget.Used() + n.budget.large.Load(); used != 0 {
		n.t.Errorf("%d bytes of the budget were not given back", used)
	}
	if left := n.stats.connections.Load() + n.stats.inFlight.Load(); left != 0 {
		n.t.Errorf("%d connections or requests are left", left)
	}
}

func addr(url string) string {
	_, a, _ := strings.Cut(url, "://")
	return a
}

// client is a caller on one connection, who writes what no HTTP library would.
type client struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func dial(t testing.TB, url string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // a test that hangs tells where
	return &client{c, t, bufio.NewReader(c)}
}

func (c *client) send(text string) *client {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatalf("send: %v", err)
	}
	return c
}

// answer reads a response with its body.
func (c *client) answer(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("answer: %v", err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("answer: %v", err)
	}
	return resp, string(b)
}

// ended reports whether the server has closed the connection.
func (c *client) ended() bool {
	_, err := c.in.ReadByte()
	return err == io.EOF
}
