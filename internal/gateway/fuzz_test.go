package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"millrace/internal/restapi"
)

// strict sends nothing, and looks at what it was to send.
type strict struct{}

func (strict) Send(_ context.Context, c *Call) error {
	if !strings.HasPrefix(c.Target, "http://h/") || strings.ContainsAny(c.Target, " \r\n#\x00") {
		panic(fmt.Sprintf("the request would go to %q", c.Target))
	}
	for _, f := range c.Header {
		if !isToken(f.Name) || strings.ContainsAny(f.Value, "\r\n\x00") {
			panic(fmt.Sprintf("header %q: %q", f.Name, f.Value))
		}
	}
	c.Status = 200
	c.Answer = append(c.Answer, c.Header...)
	_, err := c.Write(c.Body)
	return err
}

type deaf struct{}

func (deaf) Log(Line) {}

// Whatever a caller sends, the answer is a well-formed one.
func FuzzServe(f *testing.F) {
	mapped := putRecord(map[string]string{"application/json": `{"a":$input.json('$.a'),"all":"$util.escapeJavaScript($input.params())"}`})
	mapped.Integration.RequestParameters = map[string]string{
		"integration.request.header.A": "method.request.body.a", "integration.request.path.op": "method.request.path.op"}
	mapped.Integration.URI = "arn:aws:apigateway:us-east-1:kinesis:action/{op}"
	over := mock(`{"statusCode": $input.params('status')}`, map[string]string{
		"application/json": `#set($context.responseOverride.header[$input.params('name')] = $input.params('value'))$input.body`})
	host := putRecord(nil)
	host.Integration.Type, host.Integration.URI, host.Integration.PassthroughBehavior = restapi.HTTP, "http://h/{p}?{p}", restapi.WhenNoMatch
	host.Integration.RequestParameters = map[string]string{"integration.request.path.p": "method.request.path.proxy"}
	host.Integration.RequestTemplates = map[string]string{"$default": `#set($context.requestOverride.header[$input.params('name')] = $input.params('value'))$input.body`}
	passing := putRecord(nil)
	passing.Integration.Type, passing.Integration.URI = restapi.HTTPProxy, "http://h/{p}"
	passing.Integration.RequestParameters = map[string]string{"integration.request.path.p": "method.request.path.proxy"}
	a := define("abcde12345", map[string]*restapi.Method{
		"POST /v1/{stream-name}": collector(f).Resources["/v1/{stream-name}"].Methods["POST"],
		"POST /mapped/{op}":      mapped,
		"ANY /over":              over,
		"ANY /host/{proxy+}":     host,
		"ANY /pass/{proxy+}":     passing,
		"ANY /{proxy+}":          echo(),
	})
	a.BinaryMediaTypes = []string{"image/*"}
	deploy(a, "dep001", "prod")
	s := servingWith(f, Options{Sender: strict{}}, &fakeActions{}, a)
	s.Actions, s.Log = quickActions{}, deaf{}
	s.compiled = nil
	s.Publish([]*restapi.API{a}, a.ID)

	f.Add(uint8(0), "POST", "h", "/prod/host/a/b", "name=Host&value=evil", "Via", "x", "{}")
	f.Add(uint8(0), "PUT", "h", "/prod/pass/%2e%2e/b", "%zz&a=1", "Connection", "x", "{}")
	f.Add(uint8(0), "POST", "127.0.0.1", "/prod/v1/x", "a=b", "Content-Type", "application/json", `{"id":7}`)
	f.Add(uint8(0), "POST", "127.0.0.1", "/prod/v1/x", "", "Content-Type", "application/x-www-form-urlencoded", `a=1&b=%2B`)
	f.Add(uint8(0), "POST", "h", "/prod/mapped/PutRecord", "", "Accept", "text/html, */*", `{"a":[1,2]}`)
	f.Add(uint8(0), "GET", "h", "/prod/over", "status=200&name=X&value=%0d%0aY", "X-Forwarded-For", "1.2.3.4", ``)
	f.Add(uint8(1), "PUT", "abcde12345.execute-api.x.y", "//prod//a//b/", "%zz", "X-Amzn-Trace-Id", "Root=;Parent", "\xff")
	f.Add(uint8(1), "HEAD", "h", "/restapis/abcde12345/prod/_user_request_/a", "", "Content-Encoding", "gzip", zipped("x"))
	f.Add(uint8(1), "HEAD", "h", "/_aws/execute-api/abcde12345/prod/v1/image", "", "Content-Type", "image/png", "\x00")
	f.Fuzz(func(t *testing.T, listener uint8, verb, host, path, query, name, value, body string) {
		r := &Request{Listener: Listener(listener % 2), Method: verb, Host: host, RawPath: path, RawQuery: query,
			Header: Header{{name, value}}, RemoteIP: "127.0.0.1", Received: testTime, Body: []byte(body)}
		resp := s.do(r)
		if resp.Status < 200 || resp.Status > 599 {
			t.Errorf("status %d", resp.Status)
		}
		if len(resp.Header.Get("x-amzn-RequestId")) != 36 {
			t.Error("no request id")
		}
		for _, h := range resp.Header {
			if !isToken(h.Name) || strings.ContainsAny(h.Value, "\r\n\x00") {
				t.Errorf("header %q: %q", h.Name, h.Value)
			}
		}
		if string(r.Body) != body {
			t.Error("the caller's body was changed")
		}
		if resp.Header.Get("x-amzn-ErrorType") != "" && !utf8.Valid(resp.Body) {
			t.Errorf("body %q", resp.Body)
		}
	})
}

// Formats come from outside. Whatever one holds, text stays as it is, and in a JSON format no value breaks out of its quotes.
func FuzzAccessLogFormat(f *testing.F) {
	f.Add(`{"id":"$context.requestId","agent":"$context.identity.userAgent"}`, `a"b\c`)
	f.Add(formatCLF, "x\ny")
	f.Add("$context.$context.$context.a.b.c..$context.status$", "\xff")
	f.Fuzz(func(t *testing.T, format, agent string) {
		x := &exchange{resp: &Response{Status: 200}, stage: &stage{}, requestID: "id"}
		x.context.UserAgent = agent
		line := compileAccessLog(format).appendLine(nil, x)
		if !strings.Contains(format, "$context") && string(line) != strings.TrimRight(format, "\r\n") {
			t.Errorf("%q became %q", format, line)
		}
		line = compileAccessLog(`{"agent":"$context.identity.userAgent"}`).appendLine(nil, x)
		var v struct{ Agent string }
		if err := json.Unmarshal(line, &v); err != nil {
			t.Errorf("%q gives %q: %v", agent, line, err)
		}
	})
}
