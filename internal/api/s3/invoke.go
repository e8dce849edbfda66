package s3

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"millrace/internal/awswire"
)

// Invocation is a call in process.
type Invocation struct {
	Verb   string
	Path   string // escaped, in path style: "/bucket/key"
	Query  string
	Header http.Header
	Body   []byte // valid until Invoke returns
}

// Invoke runs a call in process. It is the path that HTTP takes, without HTTP and without a signature: who may call
// decides whoever lets callers in. The answer, errors as XML included, goes to w. A w that takes no more ends the call;
// what is missing of the answer is then for w to tell.
func (s *Service) Invoke(ctx context.Context, in Invocation, w http.ResponseWriter) {
	h := w.Header()
	requestID := strings.ToUpper(s.IDs.String("0123456789abcdef", requestIDLetters))
	h["X-Amz-Request-Id"] = []string{requestID}
	hostID := awswire.SetHostID(h, s.IDs, hostIDBytes)
	path, err := url.PathUnescape(in.Path)
	u := &url.URL{Path: path, RawPath: in.Path, RawQuery: in.Query}
	r := &http.Request{
		Method: in.Verb, URL: u, Host: knownHosts[0], Header: in.Header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: http.NoBody, ContentLength: int64(len(in.Body)),
	}
	c := &call{Service: s, w: w, r: r.WithContext(ctx), ctx: ctx, query: u.Query(), within: true}
	body := &lentBody{b: in.Body}
	defer body.release()
	c.payload = &awswire.Payload{Reader: body, Length: int64(len(in.Body))}
	if err != nil {
		c.fail(errInvalidRequest("The path is not encoded well."), requestID, hostID)
		return
	}
	if err := c.serve(); err != nil && !c.answered {
		c.fail(err, requestID, hostID)
	}
}

// lentBody reads memory that belongs to the caller: a store that sends it on may read when the call is over, and then
// reads no more of it.
type lentBody struct {
	mu   sync.Mutex
	b    []byte
	over bool
}

func (l *lentBody) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over:
		return 0, io.ErrClosedPipe
	case len(l.b) == 0:
		return 0, io.EOF
	}
	n := copy(p, l.b)
	l.b = l.b[n:]
	return n, nil
}

func (l *lentBody) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b, l.over = nil, true
}
