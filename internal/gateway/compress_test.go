package gateway

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"testing"

	"millrace/internal/restapi"
)

// compressing is an API of one method that answers with body, and compresses from a size on.
func compressing(size int, method *restapi.Method) *restapi.API {
	a := define("abcde12345", map[string]*restapi.Method{"POST /a": method, "POST /broken": mock(`x`, nil)})
	a.MinimumCompressionSize = &size
	deploy(a, "dep002", "prod")
	return a
}

func answeringText(body string) *restapi.Method {
	return mock(`{"statusCode": 200}`, map[string]string{"application/json": body})
}

func unpacked(t *testing.T, resp *Response) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(resp.Body)
	var err error
	switch resp.Header.Get("Content-Encoding") {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "deflate":
		r, err = zlib.NewReader(r)
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

// The coding is the one that the caller rates highest, where it is served.
func TestAcceptedCoding(t *testing.T) {
	text := strings.Repeat("compressible ", 100)
	s := serving(t, &fakeActions{}, compressing(0, answeringText(text)))
	f := func(want string, accept ...string) {
		t.Helper()
		r := post("/prod/a", "", "{}")
		for _, line := range accept {
			r.Header = append(r.Header, Field{"accept-encoding", line})
		}
		resp := s.do(r)
		if got := resp.Header.Get("Content-Encoding"); got != want {
			t.Errorf("%q: %q, want %q", accept, got, want)
		}
		if got := unpacked(t, resp); got != text || want != "" && len(resp.Body) >= len(text) {
			t.Errorf("%q: %d bytes, unpacked %q", accept, len(resp.Body), got)
		}
	}
	f("")
	f("", "")
	f("", "*")
	f("", "br")
	f("", "identity")
	f("gzip", "gzip")
	f("gzip", "GZip")
	f("deflate", "deflate")
	f("gzip", "gzip, deflate, br, zstd")
	f("deflate", "deflate, gzip, br, zstd")
	f("gzip", "br, gzip")
	f("gzip", "br", "gzip")
	f("", "br;q=1.0, gzip;q=0.8")
	f("deflate", "gzip;q=0.5, deflate;q=0.8, br;q=0.1")
	f("", "gzip;q=0.5, identity")
	f("gzip", "gzip;q=0.5, identity;q=0")
	f("", "identity, gzip")
	f("", "gzip;q=0")
	f("", "gzip;q=much")
	f("", "gzip;q=2")
	f("", "gzip;q=NaN")
	f("gzip", "gzip;x=1;Q=0.001")
	f("gzip", ",, gzip ,")
	f("", "gzip;q=0.5, *")
	f("gzip", "*;q=0.1, gzip;q=0.2")
}

// What is compressed, and what is not.
func TestCompressedResponses(t *testing.T) {
	f := func(size int, m *restapi.Method, path string, actions *fakeActions, want bool, wantBody string) {
		t.Helper()
		r := post(path, "", "{}")
		r.Header = Header{{"Accept-Encoding", "gzip"}}
		resp := serving(t, actions, compressing(size, m)).do(r)
		if got := resp.Header.Get("Content-Encoding") == "gzip"; got != want {
			t.Errorf("%s: compressed: %v\n%s", path, got, dump(resp))
		}
		if !want {
			if got := string(resp.Body); got != wantBody {
				t.Errorf("%s: %q, want %q", path, got, wantBody)
			}
		} else if got := unpacked(t, resp); got != wantBody {
			t.Errorf("%s: %q, want %q", path, got, wantBody)
		}
	}
	none := &fakeActions{}
	f(5, answeringText("12345"), "/prod/a", none, true, "12345")
	f(6, answeringText("12345"), "/prod/a", none, false, "12345")
	f(0, answeringText(""), "/prod/a", none, false, "")
	f(0, answeringText("12345"), "/prod/nowhere", none, false, `{"message":"Missing Authentication Token"}`)
	f(0, answeringText("12345"), "/prod/broken", none, false, `{"message": "Internal server error"}`)
	f(0, putRecord(map[string]string{"application/json": "{}"}), "/prod/a", none, true, putRecordAnswer)

	noContent := answeringText("12345")
	noContent.Integration.Responses["200"].StatusCode = "204"
	noContent.Responses["204"] = &restapi.MethodResponse{StatusCode: "204"}
	noContent.Integration.Responses = map[string]*restapi.IntegrationResponse{"204": noContent.Integration.Responses["200"]}
	f(0, noContent, "/prod/a", none, false, "")

	coded := answeringText("12345")
	coded.Integration.Responses["200"].ResponseParameters = map[string]string{"method.response.header.content-encoding": "'br'"}
	f(0, coded, "/prod/a", none, false, "12345")

	unset := define("abcde12345", map[string]*restapi.Method{"POST /a": answeringText("12345")})
	r := post("/prod/a", "", "{}")
	r.Header = Header{{"Accept-Encoding", "gzip"}}
	if resp := serving(t, none, unset).do(r); string(resp.Body) != "12345" {
		t.Errorf("an API without a size: %s", dump(resp))
	}
}

// One compressor's memory serves one response after another, in any order of codings.
func TestCompressorsAreUsedAgain(t *testing.T) {
	p := new(packer)
	for i, size := range []int{0, 1, 1 << 20, 10, 1 << 10, 1 << 18} {
		for _, c := range []coding{gzipped, deflated, gzipped} {
			body := bytes.Repeat([]byte{byte('a' + i)}, size)
			resp := &Response{Body: p.pack(c, bytes.Clone(body)), Header: Header{{"Content-Encoding", codingNames[c]}}}
			if unpacked(t, resp) != string(body) {
				t.Fatalf("%s of %d bytes comes back otherwise", codingNames[c], size)
			}
		}
	}
}

func FuzzAcceptedCoding(f *testing.F) {
	for _, seed := range []string{"gzip, deflate;q=0.5", "*;q=0", ";;q=", "gzip;q=1e309", "identity;q=0.0001"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c := acceptedCoding(Header{{"Accept-Encoding", line}})
		if c != identity && !strings.Contains(strings.ToLower(line), codingNames[c]) {
			t.Errorf("%q: %s", line, codingNames[c])
		}
	})
}

// BenchmarkCompressedJSON is a POST whose answer is compressed.
func BenchmarkCompressedJSON(b *testing.B) {
	s := serving(b, &fakeActions{}, compressing(0, answeringText(strings.Repeat(jsonBody, 4))))
	r := post("/prod/a", "", "{}")
	r.Header = Header{{"Accept-Encoding", "gzip"}}
	resp := &Response{}
	b.ReportAllocs()
	for b.Loop() {
		resp.Reset()
		s.Serve(b.Context(), r, resp)
	}
}

// A part of a body is told from the whole by Content-Range, which speaks of the bytes as they are.
func TestAPartOfABodyIsNotCompressed(t *testing.T) {
	backend := &fakeSender{answerType: "text/plain", answer: strings.Repeat("said ", 100), status: 206}
	m := putRecord(nil)
	m.Integration.Type, m.Integration.URI = restapi.HTTPProxy, "http://backend/"
	s := servingWith(t, Options{Sender: backend}, &fakeActions{}, compressing(0, m))
	r := post("/prod/a", "", "{}")
	r.Header = append(r.Header, Field{"Accept-Encoding", "gzip"})
	if resp := s.do(r); resp.Status != 206 || resp.Header.Get("Content-Encoding") != "" || string(resp.Body) != backend.answer {
		t.Errorf("%d %v", resp.Status, resp.Header)
	}
}
