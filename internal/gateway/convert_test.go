package gateway

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"

	"millrace/internal/restapi"
)

// fakeSender is a backend of HTTP integrations.
type fakeSender struct {
	answerType string
	answer     string
	status     int // default 200
	sent       string
	header     Header
	target     string
}

func (f *fakeSender) Send(_ context.Context, c *Call) error {
	f.sent, f.header, f.target = string(c.Body), slices.Clone(c.Header), c.Target
	c.Status = cmp.Or(f.status, 200)
	if f.answerType != "" {
		c.Answer = append(c.Answer, Field{"Content-Type", f.answerType})
	}
	_, err := c.Write([]byte(f.answer))
	return err
}

// byPath is an action of a service that tells its operations apart by path; it answers what the sender would.
type byPath struct{ *fakeSender }

func (a byPath) Action(_, name string) (Action, bool) {
	return func(ctx context.Context, c *Call) { _ = a.Send(ctx, c) }, name == ByPath
}

// converted sends body through an integration, and gives what the backend got and what the caller got; "500" when it
// did not come so far.
func converted(t *testing.T, kind string, types []string, handling, contentType, body, template string) string {
	t.Helper()
	backend := &fakeSender{}
	m := putRecord(nil)
	m.Integration.Type, m.Integration.ContentHandling, m.Integration.PassthroughBehavior = kind, handling, restapi.WhenNoMatch
	m.Integration.URI = "http://backend/"
	if kind == restapi.AWS {
		m.Integration.URI = "arn:aws:apigateway:us-east-1:s3:path/bucket/key"
	}
	if template != "" {
		m.Integration.RequestTemplates = map[string]string{"$default": template}
	}
	a := define("abcde12345", map[string]*restapi.Method{"POST /v1": m})
	a.BinaryMediaTypes = types
	deploy(a, "dep001", "prod")
	s := servingWith(t, Options{Sender: backend}, &fakeActions{}, a)
	s.Actions, s.compiled = byPath{backend}, nil
	s.Publish([]*restapi.API{a}, a.ID)
	if resp := s.do(post("/prod/v1", contentType, body)); resp.Status != 200 {
		return itoa(resp.Status)
	}
	return backend.sent
}

// The table of the guide's "Content type conversions in API Gateway", for requests. kind is "" for both types that
// have templates; a proxy's payload stays what it is where the others make text of it.
func TestRequestsAreConverted(t *testing.T) {
	f := func(types []string, contentType, handling, body, want, wantOfProxy string) {
		t.Helper()
		for _, kind := range []string{restapi.AWS, restapi.HTTP, restapi.HTTPProxy} {
			expected := want
			if kind == restapi.HTTPProxy {
				expected = wantOfProxy
			}
			if got := converted(t, kind, types, handling, contentType, body, ""); got != expected {
				t.Errorf("%s %v %s %s %q: %q, want %q", kind, types, contentType, handling, body, got, expected)
			}
		}
	}
	image, all := []string{"image/*", "application/pdf"}, []string{"*/*"}
	// text
	f(nil, "text/plain", "", "abc", "abc", "abc")
	f(nil, "text/plain", "", "a\xffb", "a\ufffdb", "a\xffb")
	f(nil, "text/plain", "", "\xff\xfe", "\ufffd\ufffd", "\xff\xfe")
	f(nil, "text/plain", toText, "a\xffb", "a\ufffdb", "a\xffb")
	f(nil, "text/plain", toBinary, "/2E=", "\xffa", "\xffa")
	f(nil, "text/plain", toBinary, "no base64!", "500", "500")
	f(image, "text/plain", "", "a\xffb", "a\ufffdb", "a\xffb")
	f(image, "text/plain", toBinary, "/2E=", "\xffa", "\xffa")
	// binary
	f(image, "image/png", "", "\xffa", "\xffa", "\xffa")
	f(image, "IMAGE/PNG; q=1", "", "\xffa", "\xffa", "\xffa")
	f(image, "application/pdf", toBinary, "\xffa", "\xffa", "\xffa")
	f(image, "image/png", toText, "\xffa", "/2E=", "/2E=")
	f(all, "text/plain", "", "\xffa", "\xffa", "\xffa")
	f(all, "", "", "\xffa", "\xffa", "\xffa")
	f(all, "text/plain", toText, "\xffa", "/2E=", "/2E=")
	f([]string{"application/json"}, "", toText, "abc", "YWJj", "YWJj") // none counts as JSON
	f(nil, "text/plain", toBinary, "", "", "")
}

// A template reads text: of bytes it reads the base64 when they were converted, and nothing when they were not.
func TestTemplatesReadText(t *testing.T) {
	f := func(kind, contentType, handling, body, want string) {
		t.Helper()
		if got := converted(t, kind, []string{"image/png"}, handling, contentType, body, "<$input.body>"); got != want {
			t.Errorf("%s %s %s %q: %q, want %q", kind, contentType, handling, body, got, want)
		}
	}
	for _, kind := range []string{restapi.AWS, restapi.HTTP} {
		f(kind, "text/plain", "", "a\xffb", "<a\ufffdb>")
		f(kind, "text/plain", toBinary, "YWJj", "<abc>") // bytes that happen to be text
		f(kind, "text/plain", toBinary, "/2E=", "500")
		f(kind, "image/png", "", "\xffa", "500")
		f(kind, "image/png", toBinary, "\xffa", "500")
		f(kind, "image/png", toText, "\xffa", "</2E=>")
	}
	f(restapi.HTTPProxy, "text/plain", "", "a\xffb", "a\xffb")
}

// The guide's table for responses: the backend's type and the caller's Accept decide.
func TestResponsesAreConverted(t *testing.T) {
	f := func(answerType, accept, handling, answer, want string) {
		t.Helper()
		for _, kind := range []string{restapi.AWS, restapi.HTTP} {
			backend := &fakeSender{answerType: answerType, answer: answer}
			m := putRecord(nil)
			m.Integration.Type, m.Integration.PassthroughBehavior = kind, restapi.WhenNoMatch
			m.Integration.URI = "http://backend/"
			if kind == restapi.AWS {
				m.Integration.URI = "arn:aws:apigateway:us-east-1:s3:path/bucket/key"
			}
			m.Integration.Responses["200"].ContentHandling = handling
			a := define("abcde12345", map[string]*restapi.Method{"POST /v1": m})
			a.BinaryMediaTypes = []string{"image/*"}
			deploy(a, "dep001", "prod")
			s := servingWith(t, Options{Sender: backend}, &fakeActions{}, a)
			s.Actions, s.compiled = byPath{backend}, nil
			s.Publish([]*restapi.API{a}, a.ID)
			r := post("/prod/v1", "", "{}")
			if accept != "" {
				r.Header = append(r.Header, Field{"Accept", accept})
			}
			resp := s.do(r)
			got := string(resp.Body)
			if resp.Status != 200 {
				got = itoa(resp.Status)
			}
			if got != want {
				t.Errorf("%s %q accept %q %s %q: %q, want %q", kind, answerType, accept, handling, answer, got, want)
			}
		}
	}
	const text, image = "text/plain; charset=utf-8", "image/png"
	// neither
	f(text, "", "", "a\xffb", "a\ufffdb")
	f(text, "text/html", "", "abc", "abc")
	f(text, "text/html", toText, "abc", "abc")
	f(text, "text/html", toBinary, "/2E=", "\xffa")
	// accepted
	f(text, image, "", "/2E=", "\xffa")
	f(text, image, "", "no base64!", "500")
	f(text, image, toText, "/2E=", "/2E=")
	f(text, image, toBinary, "/2E=", "\xffa")
	// binary
	f(image, "", "", "\xffa", "/2E=")
	f(image, "text/html, image/png", "", "\xffa", "/2E=") // the first counts
	f(image, "text/html", toText, "\xffa", "/2E=")
	f(image, "text/html", toBinary, "\xffa", "\xffa")
	// binary and accepted
	f(image, "image/webp", "", "\xffa", "\xffa")
	f(image, image, toText, "\xffa", "/2E=")
	f(image, image, toBinary, "\xffa", "\xffa")
	// no type at all
	f("", image, "", "YWJj", "abc")
}

// Whatever a caller sends, the host stays the definition's, and the path stays below its own.
func FuzzURI(f *testing.F) {
	f.Add("http://h/base/{p}?q={p}", "a/../b", true)
	f.Add("http://h{p}/", ":80@evil/", false)
	f.Add("http://{p}.h/", "evil/", true)
	f.Add("http://h/{p}", "//evil", true)
	f.Add("http://h/a{p}", "%2e%2E/x", true)
	f.Add("http://h?{p}", "#\\\x00", false)
	f.Fuzz(func(t *testing.T, uri, value string, escaped bool) {
		x := &exchange{mapped: []mapped{{place: toPath, name: "p", value: value, escaped: escaped}}}
		got, err := x.url(compileURI(uri))
		if err != nil || !strings.Contains(uri, "{p}") {
			return
		}
		harmless := &exchange{mapped: []mapped{{place: toPath, name: "p", value: "v"}}}
		want, err := harmless.url(compileURI(uri))
		if err != nil {
			if value != "" && err != errDots { // an empty value may complete what a letter does not
				t.Fatalf("%q with %q is %q, and with v refused: %v", uri, value, got, err)
			}
			return
		}
		host := func(s string) string {
			_, rest, _ := strings.Cut(s, "://")
			if end := strings.IndexAny(rest, "/?#"); end >= 0 {
				rest = rest[:end]
			}
			return rest
		}
		if host(got) != host(want) {
			t.Fatalf("%q with %q leads to %q", uri, value, got)
		}
		if strings.Count(got, "?") != strings.Count(want, "?") || strings.Count(got, "#") != strings.Count(want, "#") || strings.ContainsAny(value, "\r\n ") &&
			strings.ContainsAny(strings.TrimSpace(got), "\r\n") && !strings.ContainsAny(uri, "\r\n") {
			t.Fatalf("%q with %q is %q", uri, value, got)
		}
	})
}
