package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/fault"
	"millrace/internal/restapi"
)

// sends is a backend: it answers with what r gives, until ctx ends.
type sends func(ctx context.Context, c *Call) (io.Reader, error)

func (f sends) Send(ctx context.Context, c *Call) error {
	r, err := f(ctx, c)
	if err != nil {
		return fault.New(fault.Unavailable, "test", "h", "%w", err)
	}
	c.Status = 200
	c.Answer = append(c.Answer, Field{"Content-Type", "text/event-stream"}, Field{"Via", "x"})
	if c.Verb == "POST" && c.Target == "http://h/" {
		c.Answer = append(c.Answer, Field{"Content-Encoding", "gzip"})
	}
	if err := c.Begin(true); err != nil {
		return err
	}
	if _, err := c.ReadFrom(r); err != nil {
		return fault.New(fault.Unavailable, "test", "h", "%w", err)
	}
	return nil
}

// pieces gives one piece after another, each after a pause, and then ends, with an error if there is one.
type pieces struct {
	ctx   context.Context
	left  []string
	every time.Duration
	err   error
}

func (p *pieces) Read(b []byte) (int, error) {
	select {
	case <-time.After(p.every):
	case <-p.ctx.Done():
		return 0, p.ctx.Err()
	}
	if len(p.left) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		return 0, io.EOF
	}
	n := copy(b, p.left[0])
	p.left = p.left[1:]
	return n, nil
}

// listener is a caller that takes what comes.
type listener struct {
	ctx     context.Context
	head    string
	body    strings.Builder
	failing bool
}

func (l *listener) Await() context.Context { return l.ctx }

func (l *listener) Begin(resp *Response, bodyRead bool) {
	l.head = fmt.Sprint(resp.Status, " ", resp.Header.Get("Content-Type"), " ", resp.Header.Get("Content-Encoding"), " ", resp.Header.Get("Via"), bodyRead)
}

func (l *listener) Write(p []byte) (int, error) {
	if l.failing {
		return 0, errors.New("broken pipe")
	}
	return l.body.Write(p)
}

// store is a budget.
type store struct{ left int64 }

func (s *store) Take(n int64) bool {
	if n > s.left {
		return false
	}
	s.left -= n
	return true
}

func (s *store) Give(n int64) { s.left += n }

// streamed makes a gateway with one method whose answer goes on as it comes in.
func streamed(t *testing.T, backend sends, timeout time.Duration) (server, kept, *store) {
	t.Helper()
	m := &restapi.Method{HTTPMethod: "POST", AuthorizationType: "NONE", Integration: &restapi.Integration{
		Type: restapi.HTTPProxy, HTTPMethod: "POST", URI: "http://h/", TransferMode: restapi.Stream, TimeoutMillis: int(timeout.Milliseconds())}}
	a := define("abcde12345", map[string]*restapi.Method{"POST /v": m})
	least := 0
	d := a.Deployments[a.Stages["prod"].DeploymentID]
	d.Definition.MinimumCompressionSize = &least // streams are not compressed
	a.Stages["prod"].AccessLog = &restapi.AccessLog{DestinationARN: logGroup, Format: "$context.status $context.responseLength $context.responseLatency " +
		"$context.integration.latency $context.integration.responseTransferMode $context.integration.timeToAllHeaders $context.integration.timeToFirstContent"}
	k, memory := kept{}, &store{left: 1 << 20}
	s := servingWith(t, Options{Sender: backend, AccessLogs: k, Answers: memory}, &fakeActions{}, a)
	s.Now = time.Now
	return s, k, memory
}

// An answer goes on to its caller as it comes; whatever ends it early shows as a cut, never as a short answer.
func TestStreams(t *testing.T) {
	f := func(name string, timeout time.Duration, backend sends, caller func(*listener, context.CancelFunc), status int, head, body string, cut bool, line, said string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			synctest.Test(t, func(t *testing.T) {
				t.Helper()
				s, logs, memory := streamed(t, backend, timeout)
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				l := &listener{ctx: ctx}
				if caller != nil {
					caller(l, leave)
				}
				r := post("/prod/v", "text/plain", "payload")
				r.Header = append(r.Header, Field{"Accept-Encoding", "gzip"})
				r.Received = time.Now()
				resp := &Response{Caller: l}
				s.Serve(context.Background(), r, resp)
				if resp.Status != status || l.head != head || l.body.String() != body || resp.Cut != cut || resp.Begun != (head != "") {
					t.Errorf("%d %q %q cut %v\n%s", resp.Status, l.head, l.body.String(), resp.Cut, s.log.text())
				}
				if got := strings.TrimSpace(logs[logGroup].String()); got != line {
					t.Errorf("access log %q, want %q", got, line)
				}
				if text := s.log.text(); !strings.Contains(text, said) || said == "" && text != "" {
					t.Errorf("log %q, want %q", text, said)
				}
				if memory.left != 1<<20 {
					t.Errorf("%d bytes of the budget are out", 1<<20-memory.left)
				}
				leave()
				synctest.Wait()
			})
		})
	}
	ticking := func(n int, every time.Duration, err error) sends {
		return func(ctx context.Context, c *Call) (io.Reader, error) {
			time.Sleep(time.Second) // until the head is there
			return &pieces{ctx, strings.Split(strings.Repeat("x", n), ""), every, err}, nil
		}
	}
	const head = "200 text/event-stream gzip true"
	f("whole", 15*time.Minute, ticking(3, 3*time.Minute, nil), nil, 200, head, "xxx", false, "200 3 721000 721000 STREAMED 1000 181000", "")
	f("timeout", time.Minute, ticking(100, 2*time.Second, nil), nil, 200, head, strings.Repeat("x", 29), true, "200 29 60000 60000 STREAMED 1000 3000", "the integration's timeout has passed")
	f("silence", 15*time.Minute, ticking(1, 6*time.Minute, nil), nil, 200, head, "", true, "200 0 301000 301000 STREAMED 1000 -", "has been silent for 5m0s")
	f("cut off", 15*time.Minute, ticking(2, time.Second, io.ErrUnexpectedEOF), nil, 200, head, "xx", true, "200 2 4000 4000 STREAMED 1000 2000", "cut after 2 bytes: ")
	f("caller leaves", 15*time.Minute, ticking(100, time.Second, nil), func(_ *listener, leave context.CancelFunc) {
		time.AfterFunc(3500*time.Millisecond, leave)
	}, 200, head, "xx", true, "200 2 3500 3500 STREAMED 1000 2000", "the caller has left")
	f("caller can't be written to", 15*time.Minute, ticking(100, time.Second, nil), func(l *listener, _ context.CancelFunc) {
		l.failing = true
	}, 200, head, "", true, "200 0 2000 2000 STREAMED 1000 2000", "the caller has left")
	f("no head in time", time.Minute, func(ctx context.Context, c *Call) (io.Reader, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, nil, 504, "", "", false, "504 41 60000 60000 STREAMED - -", "timeout")
	f("no backend", time.Minute, func(ctx context.Context, c *Call) (io.Reader, error) {
		return nil, errors.New("connection refused")
	}, nil, 504, "", "", false, "504 56 0 0 STREAMED - -", "connection refused")
}

// Memory for streams is in the budget, and a stream of any length takes one piece.
func TestStreamsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 30<<20)
	backend := sends(func(context.Context, *Call) (io.Reader, error) { return strings.NewReader(long), nil })
	s, _, memory := streamed(t, backend, time.Minute)
	memory.left = streamBytes
	l := &listener{ctx: t.Context()}
	resp := &Response{Caller: l}
	if s.Serve(t.Context(), post("/prod/v", "", ""), resp); resp.Status != 200 || l.body.String() != long {
		t.Errorf("%d, %d bytes", resp.Status, l.body.Len())
	}
	memory.left--
	resp = &Response{Caller: l}
	if s.Serve(t.Context(), post("/prod/v", "", ""), resp); resp.Status != 503 || resp.Begun {
		t.Errorf("%d without memory", resp.Status)
	}
}

// Where nobody can take an answer as it comes, it is gathered.
func TestStreamsWithoutCallersAreGathered(t *testing.T) {
	m := &restapi.Method{HTTPMethod: "POST", AuthorizationType: "NONE", Integration: &restapi.Integration{
		Type: restapi.HTTPProxy, HTTPMethod: "POST", URI: "http://h/", TransferMode: restapi.Stream}}
	s := servingWith(t, Options{Sender: sends(func(ctx context.Context, c *Call) (io.Reader, error) {
		return strings.NewReader("no gzip"), nil
	})}, &fakeActions{}, define("abcde12345", map[string]*restapi.Method{"POST /v": m}))
	resp := &Response{}
	if s.Serve(t.Context(), post("/prod/v", "", ""), resp); resp.Status != 504 || resp.Begun {
		t.Errorf("%d %q: it says that it is gzip", resp.Status, resp.Body)
	}
}

// A test of a method shows what has come of a stream when it ends, or when there is enough of it.
func TestStreamsAreTested(t *testing.T) {
	f := func(backend sends, status int, body string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			t.Helper()
			s, _, memory := streamed(t, backend, 15*time.Minute)
			a := define("abcde12345", map[string]*restapi.Method{"POST /v": {HTTPMethod: "POST", AuthorizationType: "NONE", Integration: &restapi.Integration{
				Type: restapi.HTTPProxy, HTTPMethod: "POST", URI: "http://h/", TransferMode: restapi.Stream, TimeoutMillis: restapi.MaxStreamMillis}}})
			var id string
			for _, r := range a.Resources {
				if r.Path == "/v" {
					id = r.ID
				}
			}
			got, err := s.Test(t.Context(), a, id, "POST", TestRequest{})
			if err != nil || got.Status != status || string(got.Body) != body || memory.left != 1<<20 {
				t.Errorf("%v %d, %d bytes, %d of the budget\n%s", err, got.Status, len(got.Body), memory.left, got.Log)
			}
		})
	}
	f(func(ctx context.Context, c *Call) (io.Reader, error) { return strings.NewReader("ok"), nil }, 200, "ok")
	f(func(ctx context.Context, c *Call) (io.Reader, error) {
		return strings.NewReader(strings.Repeat("x", 2<<20)), nil
	}, 200, strings.Repeat("x", testStreamBytes))
	f(func(ctx context.Context, c *Call) (io.Reader, error) {
		return &pieces{ctx, strings.Split(strings.Repeat("x", 99), ""), 10 * time.Second, nil}, nil
	}, 200, "xxx")
	f(func(ctx context.Context, c *Call) (io.Reader, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, 0, "")
}
