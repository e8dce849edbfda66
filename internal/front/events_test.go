package front

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"millrace/internal/gateway"
)

// copied is a request that outlives its handler.
func copied(r *gateway.Request) gateway.Request {
	c := *r
	c.Header = append(gateway.Header{}, r.Header...)
	c.Body = append([]byte{}, r.Body...)
	return c
}

// What a caller sends reaches the gateway as it was sent.
func TestRequestReachesTheGatewayAsSent(t *testing.T) {
	got := make(chan gateway.Request, 1)
	n := serve(t, Options{Gateway: gatewayFunc(func(_ context.Context, req *gateway.Request, resp *gateway.Response) {
		got <- copied(req)
		resp.Status = 200
	})})
	c := dial(t, n.IngestURL())
	f := func(raw string, want gateway.Request) {
		t.Helper()
		c.send(raw)
		method, _, _ := strings.Cut(raw, " ")
		c.answer(method)
		r := <-got
		want.RemoteIP, want.Received = "127.0.0.1", testTime
		_, want.Port, _ = strings.Cut(addr(n.IngestURL()), ":")
		if want.Host == "" {
			want.Host = "h:1"
		}
		if fmt.Sprintf("%+v", r) != fmt.Sprintf("%+v", want) {
			t.Errorf("%q:\n got %+v\nwant %+v", raw, r, want)
		}
	}
	none := []byte{}
	length := func(n string) gateway.Field { return gateway.Field{Name: "Content-Length", Value: n} }
	f("GET / HTTP/1.1\r\nHost: h:1\r\n\r\n", gateway.Request{Method: "GET", RawPath: "/", Body: none, Header: gateway.Header{}})
	f("GET //prod/%2e%2E/a%2Fb/../c;d?x=%zz&y=a?b#c HTTP/1.1\r\nHost: h:1\r\n\r\n",
		gateway.Request{Method: "GET", RawPath: "//prod/%2e%2E/a%2Fb/../c;d", RawQuery: "x=%zz&y=a?b#c", Body: none, Header: gateway.Header{}})
	f("POST http://Events.Example.com/prod/v1?a HTTP/1.1\r\nHost: h:1\r\nContent-Length: 2\r\n\r\nhi",
		gateway.Request{Method: "POST", RawPath: "/prod/v1", RawQuery: "a", Host: "Events.Example.com", Body: []byte("hi"), Header: gateway.Header{length("2")}})
	f("GET http://e HTTP/1.1\r\nHost: h:1\r\n\r\n", gateway.Request{Method: "GET", RawPath: "/", Host: "e", Body: none, Header: gateway.Header{}})
	f("GET http://e?q HTTP/1.1\r\nHost: h:1\r\n\r\n", gateway.Request{Method: "GET", RawPath: "/", RawQuery: "q", Host: "e", Body: none, Header: gateway.Header{}})
	f("POST /z HTTP/1.1\r\nx-b: 2\r\nX-A: 1\r\nx-b: 1\r\nHost: h:1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
		gateway.Request{Method: "POST", RawPath: "/z", Body: []byte("abcde"), Header: gateway.Header{{Name: "X-A", Value: "1"}, {Name: "X-B", Value: "2"}, {Name: "X-B", Value: "1"}}})
	f("BREW /pot HTTP/1.1\r\nHost: h:1\r\n\r\n", gateway.Request{Method: "BREW", RawPath: "/pot", Body: none, Header: gateway.Header{}})
}

func TestRemoteIP(t *testing.T) {
	f := func(addr, want string) {
		t.Helper()
		if got := remoteIP(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	f("203.0.113.7:4711", "203.0.113.7")
	f("[2001:db8::1]:80", "2001:db8::1")
	f("[fe80::1%eth0]:80", "fe80::1")
	f("@", "@")
}

// A response leaves with the spelling of its headers, and without a body where HTTP allows none.
func TestResponseLeavesAsTheGatewayMadeIt(t *testing.T) {
	var answer gateway.Response
	n := serve(t, Options{Gateway: gatewayFunc(func(_ context.Context, _ *gateway.Request, resp *gateway.Response) {
		resp.Status = answer.Status
		resp.Header = append(resp.Header, answer.Header...)
		resp.Body = append(resp.Body, answer.Body...)
	})})
	f := func(method string, status int, body string, header gateway.Header, want string) {
		t.Helper()
		answer = gateway.Response{Status: status, Header: header, Body: []byte(body)}
		c := dial(t, n.IngestURL())
		c.send(method + " / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		var got strings.Builder
		for {
			line, err := c.in.ReadString('\n')
			if !strings.HasPrefix(line, "Date: ") && !strings.HasPrefix(line, "Connection: ") {
				got.WriteString(strings.ReplaceAll(line, "\r\n", "|"))
			}
			if err != nil {
				break
			}
		}
		if got.String() != want {
			t.Errorf("%s %d\n got %s\nwant %s", method, status, got.String(), want)
		}
	}
	fields := gateway.Header{{Name: "x-amzn-RequestId", Value: "7"}, {Name: "content-TYPE", Value: "text/x"}, {Name: "Trailer", Value: "X"},
		{Name: "Set-Cookie", Value: "a"}, {Name: "Set-Cookie", Value: "b"}}
	const head = "|Content-Type: text/x|Set-Cookie: a|Set-Cookie: b|x-amzn-RequestId: 7|"
	f("GET", 200, "hello", fields, "HTTP/1.1 200 OK|Content-Length: 5"+head+"|hello")
	f("HEAD", 200, "hello", fields, "HTTP/1.1 200 OK|Content-Length: 5"+head+"|")
	f("GET", 204, "hello", fields, "HTTP/1.1 204 No Content"+head+"|")
	f("GET", 304, "", fields, "HTTP/1.1 304 Not Modified"+strings.Replace(head, "|Content-Type: text/x", "", 1)+"|")
	f("GET", 404, "", nil, "HTTP/1.1 404 Not Found|Content-Length: 0||")
	long := strings.Repeat("x", 100<<10)
	f("GET", 200, long, nil, fmt.Sprintf("HTTP/1.1 200 OK|Content-Length: %d||%s", len(long), long))
}

// What API Gateway answers at its door.
const tooLongBody = `{"message":"Request Too Long"}`

func TestBodiesAreBounded(t *testing.T) {
	n := serve(t, Options{})
	f := func(head string, body func(c *client), status int, want string) {
		t.Helper()
		c := dial(t, n.IngestURL())
		c.send("POST /prod/v1 HTTP/1.1\r\nHost: h\r\n" + head + "\r\n")
		if body != nil {
			body(c)
		}
		resp, got := c.answer("POST")
		if resp.StatusCode != status || got != want {
			t.Errorf("%q: %d %s, want %d %s", head, resp.StatusCode, got, status, want)
		}
		if resp.StatusCode == 200 {
			return
		}
		if resp.Header.Get("x-amzn-RequestId") == "" || resp.Header.Get("x-amz-apigw-id") == "" || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%q: headers %v", head, resp.Header)
		}
		if !resp.Close || !c.ended() {
			t.Errorf("%q: the connection must not be used again", head)
		}
	}
	send := func(size int) func(*client) {
		return func(c *client) { c.send(strings.Repeat("x", size)) }
	}
	chunks := func(size int, end string) func(*client) {
		return func(c *client) {
			const piece = 128 << 10
			for ; size > 0; size -= piece {
				m := min(size, piece)
				if _, err := fmt.Fprintf(c, "%x\r\n%s\r\n", m, strings.Repeat("x", m)); err != nil {
					return // refused while we sent
				}
			}
			_, _ = c.Write([]byte(end))
		}
	}
	// refused by its length alone, before the caller sends it
	f("Content-Length: 10485761\r\n", nil, 413, tooLongBody)
	f("Content-Length: 10485761\r\nExpect: 100-continue\r\n", nil, 413, tooLongBody)
	f("Content-Length: 10485760\r\n", send(10<<20), 200, `{"bytes":10485760}`)
	f("Transfer-Encoding: chunked\r\n", chunks(10<<20, "0\r\n\r\n"), 200, `{"bytes":10485760}`)
	f("Transfer-Encoding: chunked\r\n", chunks(10<<20+1, "0\r\n\r\n"), 413, tooLongBody)
	// around the sizes of buffers
	for _, size := range []int{0, 1, smallStep - 1, smallStep, smallStep + 1, smallBody - 1, smallBody, smallBody + 1, 2*smallBody + 1, 1 << 20} {
		want := fmt.Sprintf(`{"bytes":%d}`, size)
		f(fmt.Sprintf("Content-Length: %d\r\n", size), send(size), 200, want)
		f("Transfer-Encoding: chunked\r\n", chunks(size, "0\r\n\r\n"), 200, want)
	}
	f("Transfer-Encoding: chunked\r\n", chunks(10, "nonsense\r\n"), 400, `{"message":"Request body could not be read"}`)
	half := func(c *client) {
		send(9)(c)
		_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
	}
	f("Content-Length: 10\r\n", half, 400, `{"message":"Request body could not be read"}`)
	got := n.Stats()
	if got.TooLarge != 3 || got.BrokenBodies != 2 || got.OverBudget != 0 {
		t.Errorf("%+v", got)
	}
}

// A caller who asks first is told to go on, and keeps its connection.
func TestExpectContinue(t *testing.T) {
	n := serve(t, Options{})
	c := dial(t, n.IngestURL())
	for range 2 {
		c.send("POST /prod/v1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != 100 {
			t.Fatalf("%v %v", resp, err)
		}
		c.send("hello")
		if resp, body := c.answer("POST"); resp.StatusCode != 200 || body != `{"bytes":5}` {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	n := serve(t, Options{})
	c := dial(t, n.IngestURL())
	_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: h\r\nX: %s\r\n\r\n", strings.Repeat("x", maxHeadBytes+(5<<10))) // net/http gives 4 KiB more
	if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != 431 {
		t.Errorf("%v %v", resp, err)
	}
}

// A caller who hangs up after its event was read changes nothing: the event is stored, not given up half way.
func TestCallerWhoGoesAwayIsServed(t *testing.T) {
	begun, gone, ctxErr := make(chan bool), make(chan bool), make(chan error, 1)
	n := serve(t, Options{Gateway: gatewayFunc(func(ctx context.Context, req *gateway.Request, resp *gateway.Response) {
		begun <- true
		<-gone
		ctxErr <- ctx.Err()
		resp.Status = 200
	})})
	c := dial(t, n.IngestURL())
	c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
	<-begun
	c.Close()
	close(gone)
	if err := <-ctxErr; err != nil {
		t.Errorf("the request was told to give up: %v", err)
	}
}

// A panic costs its request, and nothing else.
func TestPanicIsContained(t *testing.T) {
	n := serve(t, Options{Gateway: gatewayFunc(func(ctx context.Context, req *gateway.Request, resp *gateway.Response) {
		switch req.RawPath {
		case "/panic":
			panic("a fault of ours")
		case "/status":
			resp.Status = 7 // net/http panics at it
		default:
			ok(ctx, req, resp)
		}
	})})
	c := dial(t, n.IngestURL())
	c.send("POST /panic HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
	resp, body := c.answer("POST")
	if resp.StatusCode != 500 || body != `{"message": "Internal server error"}` || resp.Header.Get("x-amzn-ErrorType") != "InternalServerErrorException" {
		t.Errorf("%d %s %v", resp.StatusCode, body, resp.Header)
	}
	c = dial(t, n.IngestURL())
	c.send("POST /status HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
	if !c.ended() {
		t.Error("an answer that can't be finished must be cut")
	}
	c = dial(t, n.IngestURL())
	c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
	if resp, _ := c.answer("POST"); resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
	if got := n.Stats().Panics; got != 2 {
		t.Errorf("%d panics counted", got)
	}
	if text := n.log.String(); !strings.Contains(text, "a fault of ours") || !strings.Contains(text, "events_test.go") {
		t.Errorf("the log lacks the panic or its stack:\n%s", text)
	}
}
