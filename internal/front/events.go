package front

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"millrace/internal/gateway"
	"millrace/internal/ids"
)

// Gateway serves deployed APIs; [gateway.Gateway] is one.
type Gateway interface {
	Serve(ctx context.Context, req *gateway.Request, resp *gateway.Response)
}

// events answers execute-api calls of one listener.
type events struct {
	gateway  Gateway
	budget   *Budget
	ids      *ids.Source
	now      func() time.Time
	stats    *stats
	faults   *faults
	listener gateway.Listener
	port     string          // that callers see
	ctx      context.Context // of the server: a caller who goes away does not end what it has sent
}

// event is one request and its response, with the memory that they borrow from a pool.
type event struct {
	req    gateway.Request
	resp   gateway.Response
	body   body
	caller caller
}

var pooledEvents = sync.Pool{New: func() any { return new(event) }}

// Bounds of what the pool keeps: nearly all events are far smaller.
const (
	keptFields = 64
	keptAnswer = 64 << 10
)

// release forgets the request, and keeps the memory when it is of ordinary size.
func (e *event) release() {
	e.body.release()
	e.resp.Release()
	if cap(e.req.Header) > keptFields || cap(e.resp.Header) > keptFields || cap(e.resp.Body) > keptAnswer {
		return
	}
	e.caller = caller{}
	clear(e.req.Header)
	e.req = gateway.Request{Header: e.req.Header[:0]}
	e.resp.Reset()
	pooledEvents.Put(e)
}

func (h *events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := pooledEvents.Get().(*event)
	answering := false
	defer func() {
		p := recover()
		if p == nil {
			e.release()
			return
		}
		e.resp.Release()
		e.body.release() // the rest is not for others: who knows what the panic left behind
		h.faults.panicked(p, r, answering || e.resp.Begun)
		h.refuse(w, serverFault)
	}()
	if err := e.body.read(w, r, h.budget); err != nil {
		h.refuse(w, doorFailure(err, h.stats))
		return
	}
	h.fill(&e.req, r)
	e.req.Body = e.body.bytes
	size := len(e.body.bytes)
	e.caller = caller{w, r, &e.body}
	e.resp.Caller = &e.caller
	h.gateway.Serve(h.ctx, &e.req, &e.resp)
	h.stats.event(e.resp.API, e.resp.Stage, e.resp.Status, size)
	answering = true
	switch {
	case e.resp.Cut:
		panic(http.ErrAbortHandler)
	case !e.resp.Begun:
		send(w, r.Method, &e.resp)
	}
}

// caller is who waits for an answer that the gateway sends on while it comes in; see [gateway.Caller].
type caller struct {
	w    http.ResponseWriter
	r    *http.Request
	body *body
}

// Await gives the context of net/http, which reads on to see the caller leave. The time in which the request had to be
// read would end that reading.
func (c *caller) Await() context.Context {
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{}) // fails when the connection is gone; the context tells
	return c.r.Context()
}

// Begin sends the head of the answer, and lets go of the payload when nobody needs it any more.
func (c *caller) Begin(resp *gateway.Response, bodyRead bool) {
	if bodyRead {
		c.body.release()
	}
	sendHead(c.w, resp, -1)
	_ = http.NewResponseController(c.w).Flush() // the next Write tells when the caller is gone
}

// Write sends a piece. Who does not read it loses the connection in time; see conn and streamWriter.
func (c *caller) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, http.NewResponseController(c.w).Flush()
}

// fill makes a gateway's request of net/http's. All strings are net/http's own, and live as long as anybody holds
// them.
func (h *events) fill(req *gateway.Request, r *http.Request) {
	path, query := target(r.RequestURI)
	*req = gateway.Request{
		Listener: h.listener,
		Method:   r.Method,
		RawPath:  path,
		RawQuery: query,
		Header:   appendHeader(req.Header[:0], r.Header),
		Host:     r.Host,
		RemoteIP: remoteIP(r.RemoteAddr),
		Port:     h.port,
		TLS:      r.TLS != nil,
		Received: h.now(),
	}
}

// target splits a request's target as it was sent: "/prod/v1?a=b", or with an authority in front as proxies send it.
func target(uri string) (path, query string) {
	if uri != "" && uri[0] != '/' {
		if _, rest, ok := strings.Cut(uri, "://"); ok {
			at := strings.IndexAny(rest, "/?")
			if at < 0 {
				return "/", ""
			}
			if uri = rest[at:]; uri[0] == '?' {
				return "/", uri[1:]
			}
		}
	}
	path, query, _ = strings.Cut(uri, "?")
	return path, query
}

// appendHeader appends header lines in the order of their names: net/http keeps neither their order nor their
// spelling, and what templates render must not differ from run to run.
func appendHeader(dst gateway.Header, from http.Header) gateway.Header {
	for name, values := range from {
		for _, v := range values {
			dst = append(dst, gateway.Field{Name: name, Value: v})
		}
	}
	slices.SortStableFunc(dst, func(a, b gateway.Field) int { return strings.Compare(a.Name, b.Name) })
	return dst
}

// remoteIP cuts port, brackets and zone off an address such as "203.0.113.7:4711" or "[fe80::1%eth0]:4711".
func remoteIP(addr string) string {
	if i := strings.LastIndexByte(addr, ':'); i >= 0 {
		addr = addr[:i]
	}
	addr = strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
	addr, _, _ = strings.Cut(addr, "%")
	return addr
}

// send writes a gateway's response.
func send(w http.ResponseWriter, method string, resp *gateway.Response) {
	sendHead(w, resp, len(resp.Body))
	if len(resp.Body) > 0 && method != http.MethodHead && bodyAllowed(resp.Status) {
		_, _ = w.Write(resp.Body) // the caller may be gone; there is nobody else to tell
	}
}

// sendHead writes status and header lines. A length below 0 is not known yet.
func sendHead(w http.ResponseWriter, resp *gateway.Response, length int) {
	h := w.Header()
	// One allocation for the values of all headers: net/http may read them after the handler has returned.
	values := make([]string, 0, len(resp.Header)+1)
	typed := false
	for _, f := range resp.Header {
		name, ok := headerName(f.Name)
		if !ok {
			continue
		}
		typed = typed || name == "Content-Type"
		if had := h[name]; had != nil {
			h[name] = append(had, f.Value)
			continue
		}
		values = append(values, f.Value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	if !typed {
		h["Content-Type"] = nil // keeps net/http from guessing
	}
	if length >= 0 && bodyAllowed(resp.Status) {
		values = append(values, strconv.Itoa(length))
		h["Content-Length"] = values[len(values)-1 : len(values) : len(values)]
	}
	w.WriteHeader(resp.Status)
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// headerName gives the spelling under which a header is set: the definition's own, except for those that net/http
// looks for. A Trailer is not sent: it announces what does not come.
func headerName(name string) (string, bool) {
	const contentType, trailer = "Content-Type", "Trailer"
	switch {
	case len(name) == len(contentType) && strings.EqualFold(name, contentType):
		return contentType, true
	case len(name) == len(trailer) && strings.EqualFold(name, trailer):
		return "", false
	}
	return name, true
}
