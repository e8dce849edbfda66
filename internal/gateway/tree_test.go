package gateway

import (
	"strconv"
	"strings"
	"testing"

	"millrace/internal/restapi"
)

func itoa(n int) string { return strconv.Itoa(n) }

// where answers with the resource and its path parameters.
func where() *restapi.Method {
	return mock(`{"statusCode": 200}`, map[string]string{"application/json": "$context.resourcePath $input.params().path"})
}

func TestRouting(t *testing.T) {
	s := serving(t, &fakeActions{}, define("abcde12345", map[string]*restapi.Method{
		"GET /part1":            where(),
		"GET /part1/hardcoded":  where(),
		"GET /{param+}":         where(),
		"OPTIONS /{param+}":     where(),
		"POST /test":            where(),
		"ANY /any":              where(),
		"GET /any":              where(),
		"POST /v1/{stream}":     where(),
		"POST /v1/fixed":        where(),
		"POST /v1/fixed/x":      where(),
		"POST /v1/{stream}/y":   where(),
		"POST /v1/{stream}/{z}": where(),
		"POST /proxy/{proxy+}":  where(),
		"DELETE /":              where(),
	}))
	const none = "403"
	f := func(verb, path, want string) {
		t.Helper()
		r := post("/prod"+path, "", "")
		r.Method = verb
		resp := s.do(r)
		got := string(resp.Body)
		if resp.Status != 200 {
			got = itoa(resp.Status)
		}
		if got != want {
			t.Errorf("%s %s: %s, want %s", verb, path, got, want)
		}
		if resp.API != "abcde12345" || resp.Stage != "prod" || resp.Resource != strings.Fields(got + " ")[0] && want != none {
			t.Errorf("%s %s: went to %q %q %q", verb, path, resp.API, resp.Stage, resp.Resource)
		}
	}
	// fixed before variable before greedy, with back-tracking
	f("GET", "/part1", "/part1 {}")
	f("GET", "/part1/hardcoded", "/part1/hardcoded {}")
	f("GET", "/part1/random", "/{param+} {param=part1/random}")
	f("POST", "/v1/fixed", "/v1/fixed {}")
	f("POST", "/v1/other", "/v1/{stream} {stream=other}")
	f("POST", "/v1/fixed/x", "/v1/fixed/x {}")
	f("POST", "/v1/fixed/y", "/v1/{stream}/y {stream=fixed}")
	f("POST", "/v1/fixed/q", "/v1/{stream}/{z} {stream=fixed, z=q}")
	f("POST", "/v1/fixed/q/r", none)
	// the verb takes part
	f("OPTIONS", "/test", "/{param+} {param=test}")
	f("POST", "/test", "/test {}")
	f("GET", "/any", "/any {}")
	f("PUT", "/any", "/any {}")
	f("HEAD", "/any", "/any {}")
	f("HEAD", "/part1", none) // HEAD is not served by GET
	f("TRACE", "/any", none)
	f("ANY", "/any", none)
	f("post", "/test", none)
	f("DELETE", "", "/ {}")
	f("DELETE", "/", "/ {}")
	f("DELETE", "//", "/ {}")
	f("POST", "/", none)
	// greedy variables
	f("POST", "/proxy", none)
	f("POST", "/proxy/", none)
	f("POST", "/proxy/a", "/proxy/{proxy+} {proxy=a}")
	f("POST", "/proxy/a/", "/proxy/{proxy+} {proxy=a}")
	f("POST", "/proxy/a//b", "/proxy/{proxy+} {proxy=a//b}")
	f("POST", "/proxy/a%2Fb/test%2Balias@x.com", "/proxy/{proxy+} {proxy=a%2Fb/test%2Balias@x.com}")
	f("GET", "/", none)
	f("GET", "//a", "/{param+} {param=a}")
	// slashes and encoding
	f("POST", "/v1/other/", "/v1/{stream} {stream=other}")
	f("POST", "//v1/other", "/v1/{stream} {stream=other}")
	f("POST", "/v1//y", none)
	f("POST", "/v1/a%20b", "/v1/{stream} {stream=a%20b}")
	f("POST", "/V1/other", none)
}

func TestMethodOverrideHeader(t *testing.T) {
	s := serving(t, &fakeActions{}, define("abcde12345", map[string]*restapi.Method{"PUT /x": echo()}))
	r := post("/prod/x", "", "")
	r.Header = Header{{"x-http-method-override", "PUT"}}
	if resp := s.do(r); resp.Status != 200 {
		t.Errorf("%d %s", resp.Status, resp.Body)
	}
}

// A greedy variable takes at least one segment.
func TestAGreedyVariableIsNotEmpty(t *testing.T) {
	s := serving(t, &fakeActions{}, define("abcde12345", map[string]*restapi.Method{
		"POST /a/{proxy+}": mock(`{"statusCode":200}`, map[string]string{"application/json": `[$input.params('proxy')]`})}))
	f := func(path string, status int, body string) {
		t.Helper()
		if resp := s.do(post(path, "", "{}")); resp.Status != status || status == 200 && string(resp.Body) != body {
			t.Errorf("%s: %d %s", path, resp.Status, resp.Body)
		}
	}
	f("/prod/a/b", 200, "[b]")
	f("/prod/a/b//", 200, "[b/]")
	f("/prod/a//b", 200, "[/b]")
	f("/prod/a", 403, "")
	f("/prod/a/", 403, "")
	f("/prod/a//", 403, "")
}
