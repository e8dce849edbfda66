package s3

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A call in process answers as one by HTTP does, and needs no signature.
func TestInvoke(t *testing.T) {
	s := service(t, func(o *Options) { o.Now, o.Credentials, o.Store = time.Now, oneKey, realStore(t, time.Now, nil) })
	f := func(verb, path, query, body string, status int, want string) {
		t.Helper()
		w := httptest.NewRecorder()
		s.Invoke(t.Context(), Invocation{Verb: verb, Path: path, Query: query, Header: http.Header{}, Body: []byte(body)}, w)
		if w.Code != status || !strings.Contains(w.Body.String(), want) || w.Header().Get("X-Amz-Request-Id") == "" {
			t.Errorf("%s %s: %d %q, want %d %q", verb, path, w.Code, w.Body, status, want)
		}
	}
	f("PUT", "/bucket", "", "", 200, "")
	f("PUT", "/bucket/a%2Fb%20c", "", "hello", 200, "")
	f("GET", "/bucket/a/b%20c", "", "", 200, "hello")
	f("HEAD", "/bucket/a/b%20c", "", "", 200, "")
	f("GET", "/bucket", "list-type=2", "", 200, "<Key>a/b c</Key>")
	f("POST", "/bucket", "delete=", `<Delete><Object><Key>none</Key></Object></Delete>`, 400, "Content-MD5")
	f("DELETE", "/bucket/a/b%20c", "", "", 204, "")
	f("GET", "/bucket/a/b%20c", "", "", 404, "NoSuchKey")
	f("GET", "/none/x", "", "", 404, "NoSuchBucket")
	f("GET", "/bucket/%zz", "", "", 400, "InvalidRequest")
	f("PUT", "/bucket", "cors=", "", 501, "NotImplemented")
	f("BREW", "/bucket/x", "", "", 405, "MethodNotAllowed")
}

// Memory of the caller's is not read when the call is over.
func TestLentBodiesEnd(t *testing.T) {
	b := &lentBody{b: []byte("abcd")}
	p := make([]byte, 2)
	if n, err := b.Read(p); n != 2 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	b.release()
	if _, err := b.Read(p); err != io.ErrClosedPipe {
		t.Errorf("%v", err)
	}
}
