package outbound

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestBodyIsGivenBack(t *testing.T) {
	held := NewBody([]byte("abc"))
	r := new(http.Request)
	held.Attach(r)
	if held.Done() {
		t.Error("what nobody has read counts as read")
	}
	if got, err := io.ReadAll(r.Body); err != nil || string(got) != "abc" || r.ContentLength != 3 {
		t.Errorf("%q %v", got, err)
	}
	again, err := r.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	if !held.Done() {
		t.Error("what has been read to its end is still held")
	}
	if _, err := r.Body.Read(make([]byte, 1)); err != io.EOF { // it has lost nothing
		t.Errorf("%v", err)
	}
	held.Release()
	if _, err := again.Read(make([]byte, 1)); err != errReleased {
		t.Errorf("%v", err)
	}
}

// Credentials of a URL are sent as basic authentication, and in no other place.
func TestCredentialsOfAURL(t *testing.T) {
	u, err := url.Parse("http://ada:love%40lace@127.0.0.1:9/f?x=1")
	if err != nil {
		t.Fatal(err)
	}
	r := Request(t.Context(), u, NewBody([]byte("{}")))
	user, password, ok := r.BasicAuth()
	if !ok || user != "ada" || password != "love@lace" || strings.Contains(r.URL.String(), "ada") || r.URL.RawQuery != "x=1" {
		t.Errorf("%q %q %v to %s", user, password, ok, r.URL)
	}
	if u.User == nil {
		t.Error("the URL was changed")
	}
}

// How far an attempt came is known without reading the texts of errors.
func TestProgress(t *testing.T) {
	transport := Options{}.Transport(Bounds{PerHost: 1, HeaderBytes: 1 << 10, RefuseLinkLocal: true})
	defer transport.CloseIdleConnections()
	f := func(target string, want Reached) {
		t.Helper()
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		var p Progress
		resp, err := transport.RoundTrip(Request(p.Watch(t.Context()), u, NewBody([]byte("{}"))))
		if err == nil {
			resp.Body.Close()
		}
		if p.Reached() != want {
			t.Errorf("%s: reached %d, %v", target, p.Reached(), err)
		}
	}
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer plain.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	f(plain.URL, Connected)
	f(strings.Replace(plain.URL, "http:", "https:", 1), Handshake)
	f("http://"+closed.Addr().String(), Nowhere)
	f("http://169.254.169.254/", Nowhere)
}

func TestLinkLocalHosts(t *testing.T) {
	f := func(target string, refused bool) {
		t.Helper()
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckHost(u); (err != nil) != refused {
			t.Errorf("%s: %v", target, err)
		}
	}
	f("http://169.254.169.254/latest", true)
	f("http://[fe80::1%25lo]/", true)
	f("http://[::ffff:169.254.169.254]:80/", true)
	f("http://[fd00:ec2::254]/", true)
	f("http://127.0.0.1/", false)
	f("https://example.com/", false)
}
