package cli

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"

	"millrace/e2e/node"
)

// An API of minimumCompressionSize 0 compresses what callers ask to have compressed; HEAD shows the headers alone.
func TestCompressedAnswers(t *testing.T) {
	n, err := node.Start(t.Context(), node.Options{Binary: binaryFor(t), Data: filepath.Join(t.TempDir(), "data"),
		File: "testdata/definitions/10-mock-health-swagger2.json"})
	if n != nil {
		t.Cleanup(n.Kill)
	}
	if err != nil {
		t.Fatal(err)
	}
	plain := &http.Client{Timeout: patience, Transport: &http.Transport{DisableCompression: true}}
	t.Cleanup(plain.CloseIdleConnections)
	f := func(method, path, accept string, wantStatus int, wantCoding, wantBody string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, n.Ingest+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if accept != "" {
			req.Header.Set("Accept-Encoding", accept)
		}
		resp, err := plain.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		sent, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		body := string(sent)
		if coding := resp.Header.Get("Content-Encoding"); coding != "" && len(sent) > 0 {
			body = unpacked(t, coding, sent)
		}
		length := resp.Header.Get("Content-Length")
		if method != http.MethodHead && length != strconv.Itoa(len(sent)) {
			t.Errorf("%s %s: Content-Length %s of %d bytes", method, path, length, len(sent))
		}
		if resp.StatusCode != wantStatus || resp.Header.Get("Content-Encoding") != wantCoding || body != wantBody {
			t.Errorf("%s %s (%s): %d %q %q", method, path, accept, resp.StatusCode, resp.Header.Get("Content-Encoding"), body)
		}
	}
	const up = `{"status":"up","stage":"prod","colour":"","path":"/health"}`
	f("GET", "/prod/health", "", 200, "", up)
	f("GET", "/prod/health", "gzip, deflate, br, zstd", 200, "gzip", up)
	f("GET", "/prod/health", "deflate", 200, "deflate", up)
	f("GET", "/prod/health", "br", 200, "", up)
	f("HEAD", "/prod/health", "gzip", 200, "", "")
	f("HEAD", "/prod/echo/a", "gzip", 200, "gzip", "")
	f("GET", "/prod/nowhere", "gzip", 404, "", `{"message":"Missing Authentication Token","hint":"The path or the verb is unknown"}`)
}

func unpacked(t *testing.T, coding string, sent []byte) string {
	t.Helper()
	var r io.ReadCloser
	var err error
	if coding == "gzip" {
		r, err = gzip.NewReader(bytes.NewReader(sent))
	} else {
		r, err = zlib.NewReader(bytes.NewReader(sent))
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
