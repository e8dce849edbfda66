package front

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/gateway"
)

// slowly answers with a piece every ten seconds, far beyond the time that a request has to come in; "/cut" ends without
// its end, "/for-ever" with its caller.
func slowly(left chan<- time.Duration) gatewayFunc {
	return func(_ context.Context, req *gateway.Request, resp *gateway.Response) {
		begun := time.Now()
		gone := resp.Caller.Await()
		resp.Status, resp.Begun = 200, true
		resp.Header = append(resp.Header, gateway.Field{Name: "Content-Type", Value: "text/event-stream"})
		resp.Caller.Begin(resp, true)
		for n := 0; n < 6 || req.RawPath == "/for-ever"; n++ {
			select {
			case <-gone.Done():
				left <- time.Since(begun)
				resp.Cut = true
				return
			case <-time.After(10 * time.Second):
			}
			if _, err := resp.Caller.Write([]byte("data\n")); err != nil {
				left <- time.Since(begun)
				resp.Cut = true
				return
			}
		}
		resp.Cut = req.RawPath == "/cut"
	}
}

// An answer that streams reaches its caller piece by piece, on either version of HTTP. Its end is one only when it is the
// backend's, and its caller's leaving is told at once.
func TestAnswersStream(t *testing.T) {
	f := func(client func(*pipes, *testing.T) *http.Transport) {
		t.Helper()
		o := ingestOnly
		var left chan time.Duration
		o.Gateway = gatewayFunc(func(ctx context.Context, req *gateway.Request, resp *gateway.Response) { slowly(left)(ctx, req, resp) })
		onPipes(t, o, func(t *testing.T, n *node, l *pipes) {
			left = make(chan time.Duration, 1)
			transport := client(l, t)
			defer transport.CloseIdleConnections()
			get := func(ctx context.Context, path string) *http.Response {
				r, err := http.NewRequestWithContext(ctx, "POST", "http://127.0.0.1:8080"+path, strings.NewReader("payload"))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" || resp.ContentLength != -1 {
					t.Errorf("%d %s %d", resp.StatusCode, got, resp.ContentLength)
				}
				return resp
			}
			begun := time.Now()
			resp := get(t.Context(), "/whole")
			if n.budget.Used() != 0 {
				t.Errorf("%d bytes of the payload are held", n.budget.Used())
			}
			lines := bufio.NewScanner(resp.Body)
			for i := 1; lines.Scan(); i++ {
				if took := time.Since(begun); took != time.Duration(i)*10*time.Second {
					t.Errorf("line %d after %v", i, took)
				}
			}
			if err := lines.Err(); err != nil {
				t.Error(err)
			}
			resp = get(t.Context(), "/cut")
			if b, err := io.ReadAll(resp.Body); err == nil || len(b) != 30 {
				t.Errorf("%q %v, want an end that is none", b, err)
			}
			ctx, leave := context.WithCancel(t.Context())
			resp = get(ctx, "/for-ever")
			read := make(chan bool)
			go func() {
				_, _ = io.Copy(io.Discard, resp.Body)
				close(read)
			}()
			time.Sleep(95 * time.Second)
			leave()
			if got := <-left; got != 95*time.Second {
				t.Errorf("its caller's leaving is seen after %v", got)
			}
			<-read
			resp.Body.Close()
			synctest.Wait()
			if got := n.Stats(); got.InFlight != 0 || got.Panics != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
	f(func(l *pipes, t *testing.T) *http.Transport { return l.dialHTTP2(t) })
	f(func(l *pipes, t *testing.T) *http.Transport {
		return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return l.dial(t).Conn, nil }}
	})
}
