package cli

import (
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"millrace/e2e/node"
)

// page is a script in a browser: what it sends, and what it may read, is decided by headers as the Fetch standard
// says.
type page struct {
	t      *testing.T
	origin string
}

// seen is what a script learns of its request.
type seen struct {
	preflighted bool
	sent        bool // the preflight, if there was one, allowed it
	readable    bool // the script sees status and body
	status      int
	body        string
}

// simpleTypes are the media types of requests that need no preflight.
var simpleTypes = []string{"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}

func (p *page) fetch(method, url, body string, headers map[string]string) (s seen) {
	p.t.Helper()
	unsafe := []string{}
	for name, value := range headers {
		kind, _, _ := strings.Cut(value, ";")
		if name != "content-type" || !slices.Contains(simpleTypes, kind) {
			unsafe = append(unsafe, name)
		}
	}
	slices.Sort(unsafe)
	simple := slices.Contains([]string{"GET", "HEAD", "POST"}, method)
	if s.preflighted = len(unsafe) > 0 || !simple; s.preflighted {
		asked := map[string]string{"access-control-request-method": method}
		if len(unsafe) > 0 {
			asked["access-control-request-headers"] = strings.Join(unsafe, ",")
		}
		r, _ := p.send("OPTIONS", url, "", asked)
		list := func(name string) []string {
			return strings.FieldsFunc(strings.ToLower(r.Header.Get(name)), func(c rune) bool { return c == ',' || c == ' ' })
		}
		methods, allowed := list("Access-Control-Allow-Methods"), list("Access-Control-Allow-Headers")
		ok := r.StatusCode/100 == 2 && p.mayRead(r) && (simple || slices.Contains(methods, strings.ToLower(method)))
		for _, name := range unsafe {
			ok = ok && slices.Contains(allowed, name)
		}
		if !ok {
			return s
		}
	}
	s.sent = true
	r, text := p.send(method, url, body, headers)
	if s.readable = p.mayRead(r); s.readable {
		s.status, s.body = r.StatusCode, text
	}
	return s
}

func (p *page) mayRead(r *http.Response) bool {
	allowed := r.Header.Values("Access-Control-Allow-Origin")
	return len(allowed) == 1 && (allowed[0] == "*" || allowed[0] == p.origin)
}

func (p *page) send(method, url, body string, headers map[string]string) (*http.Response, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Origin", p.origin)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Sec-Fetch-Mode", "cors")
	r, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return r, string(text)
}

// A page posts events and reads the answers, refusals among them, through definitions as CDK, SAM and the Serverless
// Framework make them.
func TestBrowsers(t *testing.T) {
	json := map[string]string{"content-type": "application/json"}
	for _, file := range []string{"cdk.json", "sam.yaml", "serverless.json"} {
		t.Run(file, func(t *testing.T) {
			n, err := node.Start(t.Context(), node.Options{Binary: binaryFor(t), Data: filepath.Join(t.TempDir(), "data"), File: filepath.Join("testdata/cors", file)})
			if n != nil {
				t.Cleanup(n.Kill)
			}
			if err != nil {
				t.Fatal(err)
			}
			shop := &page{t, "https://shop.example"}
			f := func(p *page, method, path, body string, headers map[string]string, want seen) {
				t.Helper()
				got := p.fetch(method, n.Ingest+path, body, headers)
				if !strings.Contains(got.body, want.body) {
					t.Errorf("%s %s: the page reads %q, want %q", method, path, got.body, want.body)
				}
				if want.body = got.body; got != want {
					t.Errorf("%s %s from %s: %+v, want %+v", method, path, p.origin, got, want)
				}
			}
			f(shop, "POST", "/prod/clicks", `{"a":1}`, json, seen{true, true, true, 200, "ShardId"})
			f(shop, "POST", "/prod/clicks", `{"a":1}`, map[string]string{"content-type": "application/json", "x-api-key": "k"}, seen{true, true, true, 200, "ShardId"})
			f(shop, "POST", "/prod/clicks", "beacon", map[string]string{"content-type": "text/plain;charset=UTF-8"}, seen{false, true, true, 200, "ShardId"})
			f(shop, "POST", "/prod/clicks", "a=1", map[string]string{"content-type": "application/x-www-form-urlencoded"}, seen{false, true, true, 415, "Unsupported Media Type"})
			f(shop, "GET", "/prod/clicks", "", nil, seen{false, true, true, 403, "Missing Authentication Token"})
			f(shop, "POST", "/prod/nowhere", "text", map[string]string{"content-type": "text/plain"}, seen{false, true, true, 403, "Missing Authentication Token"})
			f(shop, "POST", "/prod/nowhere", "{}", json, seen{preflighted: true})
			f(shop, "DELETE", "/prod/clicks", "", nil, seen{preflighted: true})
			f(shop, "POST", "/prod/clicks", `{"a":1}`, map[string]string{"content-type": "application/json", "x-own": "1"}, seen{preflighted: true})
			if file != "serverless.json" { // which allows all origins where there is no preflight
				f(&page{t, "https://other.example"}, "POST", "/prod/clicks", "beacon", map[string]string{"content-type": "text/plain"}, seen{sent: true})
			}
			f(&page{t, "https://other.example"}, "POST", "/prod/clicks", `{"a":1}`, json, seen{preflighted: true})
		})
	}
}
