package httpcall

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"millrace/internal/gateway"
	"millrace/internal/outbound"
)

var payload = bytes.Repeat([]byte(`{"event":"page_view","id":12345},`), 10) // 330 B

// answering is a backend that answers at once.
func answering(b *testing.B) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(payload)
	}))
	b.Cleanup(s.Close)
	return s
}

// front puts a handler behind a server and calls it, with several callers.
func front(b *testing.B, h http.Handler) {
	s := httptest.NewServer(h)
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	defer client.CloseIdleConnections()
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Post(s.URL+"/prod/x", "application/json", bytes.NewReader(payload))
			if err != nil {
				b.Error(err)
				return
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 200 {
				b.Errorf("%d %v", resp.StatusCode, err)
				return
			}
		}
	})
}

// BenchmarkReverseProxy is what there is to compare with: net/http's own proxy.
func BenchmarkReverseProxy(b *testing.B) {
	u, _ := url.Parse(answering(b).URL)
	p := httputil.NewSingleHostReverseProxy(u)
	p.Transport = &http.Transport{MaxIdleConnsPerHost: idlePerHost, DisableCompression: true}
	defer p.Transport.(*http.Transport).CloseIdleConnections()
	front(b, p)
}

// BenchmarkProxy is the whole way of a request through an HTTP_PROXY integration.
func BenchmarkProxy(b *testing.B) {
	client := New(outbound.Options{})
	defer client.Close()
	d := deploy(b, client, "POST:/x", toHost(answering(b).URL+"/"), nil)
	front(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		req := gateway.Request{Method: r.Method, Host: r.Host, RawPath: r.URL.Path, RemoteIP: "127.0.0.1", Port: "80", Body: body, Received: testTime}
		for name, values := range r.Header {
			for _, v := range values {
				req.Header = append(req.Header, gateway.Field{Name: name, Value: v})
			}
		}
		var resp gateway.Response
		d.Serve(context.Background(), &req, &resp)
		for _, f := range resp.Header {
			w.Header().Add(f.Name, f.Value)
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(resp.Body)))
		w.WriteHeader(resp.Status)
		_, _ = w.Write(resp.Body)
	}))
}
