package gateway

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"net/netip"
	"strings"
	"testing"

	"millrace/internal/restapi"
)

// What becomes of a payload whose type has no template.
func TestPassthrough(t *testing.T) {
	some := map[string]string{"application/json": "templated"}
	withDefault := map[string]string{"application/json": "templated", "$default": "by default"}
	empty := map[string]string{"application/json": ""}
	f := func(templates map[string]string, behaviour, contentType, want string) {
		t.Helper()
		m := putRecord(templates)
		m.Integration.PassthroughBehavior = behaviour
		s := serving(t, &fakeActions{}, define("abcde12345", map[string]*restapi.Method{"POST /v1": m}))
		resp := s.do(post("/prod/v1", contentType, "as is"))
		got := s.actions.last()
		if resp.Status != 200 {
			got = itoa(resp.Status)
		}
		if got != want {
			t.Errorf("%v %s %q: %q, want %q", templates, behaviour, contentType, got, want)
		}
	}
	for _, behaviour := range []string{restapi.WhenNoMatch, restapi.WhenNoTemplates, restapi.Never} {
		f(some, behaviour, "application/json", "templated")
		f(some, behaviour, "APPLICATION/json ; charset=x", "templated")
		f(some, behaviour, "", "templated")
		f(withDefault, behaviour, "text/plain", "by default")
		f(withDefault, behaviour, "application/json", "templated")
		f(empty, behaviour, "application/json", "as is")
	}
	f(some, restapi.WhenNoMatch, "text/plain", "as is")
	f(some, restapi.WhenNoTemplates, "text/plain", "415")
	f(some, restapi.Never, "text/plain", "415")
	f(nil, restapi.WhenNoMatch, "text/plain", "as is")
	f(nil, restapi.WhenNoTemplates, "text/plain", "as is")
	f(nil, restapi.Never, "text/plain", "415")
	f(nil, restapi.Never, "", "415")
	f(some, "when_no_match", "text/plain", "as is")
	f(some, "", "text/plain", "as is")
}

// render runs a template as the request template of POST /v1/{id} and gives the integration request.
func render(t *testing.T, o Options, template string, change func(*restapi.API), r *Request) string {
	t.Helper()
	a := define("abcde12345", map[string]*restapi.Method{"POST /v1/{id}": putRecord(map[string]string{"$default": template})})
	if change != nil {
		change(a)
		deploy(a, "dep001", "prod")
		a.Stages["prod"].Variables = map[string]string{"colour": "blue"}
	}
	s := servingWith(t, o, &fakeActions{}, a)
	if resp := s.do(r); resp.Status != 200 {
		t.Fatalf("%d %s\n%s", resp.Status, resp.Body, s.log.text())
	}
	return s.actions.last()
}

func TestContextIsComplete(t *testing.T) {
	r := post("/prod/v1/7?a=b", "", "{}")
	r.Host, r.RemoteIP = "events.example.com:8080", "203.0.113.7"
	r.Header = Header{{"User-Agent", "curl/8.5.0"}}
	got := render(t, Options{}, "#foreach($k in $context.keySet())$k=$context.get($k)\n#{end}"+
		"ip=$context.identity.sourceIp\nagent=$context.identity.userAgent\ncaller=[$context.identity.caller]\n", nil, r)
	want := strings.Join([]string{
		"resourceId=/v1/{id}", "resourcePath=/v1/{id}", "httpMethod=POST", "extendedRequestId=2+WILiV5aDQywb8=",
		"requestTime=24/Nov/2026:08:30:15 +0000", "path=/prod/v1/7", "accountId=000000000000", "protocol=HTTP/1.1",
		"requestOverride=", "stage=prod", "domainPrefix=events", "requestTimeEpoch=1795509015123",
		"requestId=6ae6783f-4fbd-491b-aeb8-8b73a48ed247", "identity=", "domainName=events.example.com",
		"deploymentId=dep001", "responseOverride=", "apiId=abcde12345", "authorizer=",
		"ip=203.0.113.7", "agent=curl/8.5.0", "caller=[]", "",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParametersArrive(t *testing.T) {
	f := func(r *Request, template, want string) {
		t.Helper()
		if got := render(t, Options{}, template, nil, r); got != want {
			t.Errorf("%s: %q, want %q", template, got, want)
		}
	}
	query := func(q string) *Request { return post("/prod/v1/7?"+q, "", "{}") }
	header := func(fields ...Field) *Request {
		r := post("/prod/v1/7", "", "{}")
		r.Header = fields
		return r
	}
	f(query("a=1&b=%2B+%20c&a=2&&=x&d"), "$input.params('a')|$input.params('b')|$input.params('d')|$input.params('id')", "2|+  c||7")
	f(query("p%61ge=%zz%4"), "$input.params('page')", "%zz%4")
	f(query("x=%ff%fe"), "$input.params('x')", "\ufffd\ufffd")
	f(query("id=query"), "$input.params('id')", "7") // the path before the query
	// what the front door drops, and what it adds
	f(header(Field{"Connection", "close"}, Field{"content-length", "2"}, Field{"Content-MD5", "x"}, Field{"Expect", "x"}, Field{"Max-Forwards", "1"},
		Field{"Proxy-Authenticate", "x"}, Field{"SERVER", "x"}, Field{"TE", "x"}, Field{"Transfer-Encoding", "x"}, Field{"Trailer", "x"},
		Field{"Upgrade", "x"}, Field{"WWW-Authenticate", "x"}, Field{"X-Forwarded-Port", "1"}, Field{"X-Forwarded-Proto", "gopher"},
		Field{"Authorization", "a"}, Field{"tEsT", "v"}, Field{"Via", "w"}),
		"$input.params().header",
		"{Host=127.0.0.1:8080, Authorization=a, tEsT=v, Via=w, X-Amzn-Trace-Id=Root=1-6b054b17-c525454add0cd87274d67084, "+
			"X-Forwarded-For=127.0.0.1, X-Forwarded-Port=8080, X-Forwarded-Proto=http}")
	f(header(Field{"X", "1"}, Field{"X", "2"}), "$input.params('X')|$input.params('x')", "2|2")
	f(header(Field{"X-Forwarded-For", "192.0.2.1"}), "$input.params('X-Forwarded-For')", "192.0.2.1, 127.0.0.1")
	f(header(Field{"x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793"}), "$input.params('X-Amzn-Trace-Id')",
		"Root=1-5759e988-bd862e3fe1be46a994272793")
}

func TestTraceIDOfTheAnswer(t *testing.T) {
	f := func(sent, want string) {
		t.Helper()
		s := serving(t, &fakeActions{}, collector(t))
		r := post("/prod/v1/x", "", "{}")
		if sent != "" {
			r.Header = Header{{"X-Amzn-Trace-Id", sent}}
		}
		if got := s.do(r).Header.Get("X-Amzn-Trace-Id"); got != want {
			t.Errorf("%q: %q, want %q", sent, got, want)
		}
	}
	const root, parent = "Root=1-5759e988-bd862e3fe1be46a994272793", "Parent=53995c3f42cd8ad8"
	f("", "Root=1-6b054b17-c525454add0cd87274d67084;Parent=caaf0e0d36c8496d;Sampled=0")
	f("nonsense", "Root=1-6b054b17-c525454add0cd87274d67084;Parent=caaf0e0d36c8496d;Sampled=0")
	f(root, root+";Parent=caaf0e0d36c8496d;Sampled=0")
	f(root+";"+parent, root+";"+parent+";Sampled=1")
	f("self=x; root=1-5759e988-bd862e3fe1be46a994272793; PARENT=53995c3f42cd8ad8;sampled=0", root+";"+parent+";Sampled=0")
}

func TestSourceIP(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	f := func(proxies []netip.Prefix, remote, want string, forwarded ...string) {
		t.Helper()
		g := &Gateway{Options: Options{TrustedProxies: proxies}}
		r := &Request{RemoteIP: remote}
		for _, v := range forwarded {
			r.Header = append(r.Header, Field{"x-forwarded-for", v})
		}
		if got := g.sourceIP(r); got != want {
			t.Errorf("%s %q: %s, want %s", remote, forwarded, got, want)
		}
	}
	f(nil, "203.0.113.7", "203.0.113.7", "192.0.2.1")
	f(proxies, "203.0.113.7", "203.0.113.7", "192.0.2.1") // not a proxy of ours: its word counts for nothing
	f(proxies, "10.1.2.3", "10.1.2.3")
	f(proxies, "10.1.2.3", "192.0.2.1", "192.0.2.1")
	f(proxies, "10.1.2.3", "192.0.2.2", "6.6.6.6, 192.0.2.2, 10.9.9.9")
	f(proxies, "10.1.2.3", "192.0.2.2", "6.6.6.6", "192.0.2.2", "10.9.9.9")
	f(proxies, "10.1.2.3", "10.0.0.1", "10.0.0.1, 10.0.0.2")
	f(proxies, "10.1.2.3", "10.0.0.2", "6.6.6.6, nonsense, 10.0.0.2")
	f(proxies, "10.1.2.3", "192.0.2.1", "192.0.2.1:4711")
	f(proxies, "10.1.2.3", "2001:db8::1", "[2001:db8::1]:4711")
	f(proxies, "10.1.2.3", "2001:db8::1", "[2001:db8::1]")
	f(proxies, "2001:db8:1::5", "2001:db8::1", "2001:db8::1")
	f(proxies, "::ffff:10.1.2.3", "192.0.2.1", "192.0.2.1")
	f(proxies, "10.1.2.3", "10.0.0.9", strings.Repeat("10.0.0.9,", 10_000)+"10.0.0.9")
	f(proxies, "", "", "192.0.2.1")
	f(proxies, "10.1.2.3", "fe80::1", `fe80::1%"x"`) // a zone is any text, and $context.identity.sourceIp is taken for an address
	f(proxies, "10.1.2.3", "fe80::1", `[fe80::1%"x"]:80`)
	f(proxies, "10.1.2.3", "fe80::1", `[fe80::1%"]`)
}

func TestBodies(t *testing.T) {
	f := func(encoding, body, want string) {
		t.Helper()
		r := post("/prod/v1/7", "text/plain", body)
		if encoding != "" {
			r.Header = append(r.Header, Field{"Content-Encoding", encoding})
		}
		if got := render(t, Options{}, "$input.body", nil, r); got != want {
			t.Errorf("%s: %q, want %q", encoding, got, want)
		}
	}
	const text = "grüße"
	var z, raw bytes.Buffer
	zw := zlib.NewWriter(&z)
	zw.Write([]byte(text))
	zw.Close()
	fw, _ := flate.NewWriter(&raw, 6)
	fw.Write([]byte(text))
	fw.Close()
	f("", text, text)
	f("identity", text, text)
	f("gzip", zipped(text), text)
	f("GZIP", zipped(text), text)
	f("x-gzip", zipped(text)+zipped("!"), text+"!")
	f("deflate", z.String(), text)
	f("deflate", raw.String(), text)
	f("gzip", "", "{}") // a body of nothing, in no format
	f("", "a\xff\xfeb", "a\ufffd\ufffdb")
	big := strings.Repeat("0123456789", 10_000)
	f("gzip", zipped(big), big)
}

func TestBinaryBodies(t *testing.T) {
	f := func(contentType, handling, body, want string) {
		t.Helper()
		m := putRecord(nil)
		m.Integration.PassthroughBehavior, m.Integration.ContentHandling = restapi.WhenNoMatch, handling
		a := define("abcde12345", map[string]*restapi.Method{"POST /v1": m})
		a.BinaryMediaTypes = []string{"image/*", "application/octet-stream"}
		deploy(a, "dep001", "prod")
		s := serving(t, &fakeActions{}, a)
		resp := s.do(post("/prod/v1", contentType, body))
		got := s.actions.last()
		if resp.Status != 200 {
			got = itoa(resp.Status)
		}
		if got != want {
			t.Errorf("%s %s %q: %q, want %q", contentType, handling, body, got, want)
		}
	}
	f("text/plain", "", "\xffa", "\ufffda")
	f("text/plain", toText, "\xffa", "\ufffda")
	f("text/plain", toBinary, "/2E=", "\xffa")
	f("text/plain", toBinary, "no base64!", "500")
	f("image/png", "", "\xffa", "\xffa")
	f("IMAGE/png; x=y", toBinary, "\xffa", "\xffa")
	f("application/octet-stream", toText, "\xffa", "/2E=")
}

// A template reads text: bytes that are none end in the service's 500.
func TestBinaryBodyMeetsTemplate(t *testing.T) {
	a := define("abcde12345", map[string]*restapi.Method{"POST /v1": putRecord(map[string]string{"$default": "$input.body"})})
	a.BinaryMediaTypes = []string{"*/*"}
	deploy(a, "dep001", "prod")
	s := serving(t, &fakeActions{}, a)
	if resp := s.do(post("/prod/v1", "image/png", "\xff")); resp.Status != 500 {
		t.Errorf("%d", resp.Status)
	}
	if resp := s.do(post("/prod/v1", "image/png", "text")); resp.Status != 200 || s.actions.last() != "text" {
		t.Errorf("%d %q", resp.Status, s.actions.last())
	}
}

// Parameters reach the uri; what a template overrides wins.
func TestParameterMapping(t *testing.T) {
	f := func(expr, body, want string) {
		t.Helper()
		m := putRecord(map[string]string{"application/json": "{}"})
		m.Integration.URI = "arn:aws:apigateway:us-east-1:kinesis:action/{op}"
		m.Integration.RequestParameters = map[string]string{"integration.request.path.op": expr}
		a := define("abcde12345", map[string]*restapi.Method{"POST /v1/{op}": m})
		a.Stages["prod"].Variables = map[string]string{"op": "PutRecords"}
		s := serving(t, &fakeActions{}, a)
		r := post("/prod/v1/PutRecord?op=first&op=PutRecords", "", body)
		r.Header = Header{{"Op", "PutRecords"}, {"Two", "Put"}, {"Two", "Records"}}
		resp := s.do(r)
		got := itoa(resp.Status)
		if resp.Status == 500 {
			_, got, _ = strings.Cut(s.log.text(), "configuration error: ")
			got, _, _ = strings.Cut(got, " is not supported")
		}
		if got != want {
			t.Errorf("%s: %s, want %s", expr, got, want)
		}
	}
	f("method.request.path.op", "{}", "200")
	f("method.request.querystring.op", "{}", "200")
	f("method.request.multivaluequerystring.op", "{}", "200")
	f("method.request.header.Op", "{}", "200")
	f("method.request.multivalueheader.Two", "{}", "kinesis:action/Put,Records")
	f("'PutRecord'", "{}", "200")
	f("''", "{}", "kinesis:action/{op}")
	f("stageVariables.op", "{}", "200")
	f("stageVariables.none", "{}", "kinesis:action/{op}")
	f("context.httpMethod", "{}", "kinesis:action/POST")
	f("context.identity.sourceIp", "{}", "kinesis:action/127.0.0.1")
	f("context.none", "{}", "kinesis:action/{op}")
	f("method.request.body.a.b[0]", `{"a":{"b":["PutRecord"]}}`, "200")
	f("method.request.body.a", `{"a":7}`, "kinesis:action/7")
	f("method.request.body.a", "plain text", "kinesis:action/{op}")
	f("method.request.body.a", `  {"a":`, "400")
	f("method.request.body", "PutRecord", "200")
	f("method.request.body", "", "kinesis:action/{}")
	f("method.request.body", `{"a":`, "400")
}

func TestURIVariables(t *testing.T) {
	f := func(uri string, want int) {
		t.Helper()
		m := putRecord(map[string]string{"application/json": `#set($context.requestOverride.path.op = "PutRecords")`})
		m.Integration.URI = uri
		m.Integration.RequestParameters = map[string]string{"integration.request.path.op": "'nonsense'"}
		a := define("abcde12345", map[string]*restapi.Method{"POST /v1": m})
		a.Stages["prod"].Variables = map[string]string{"service": "kinesis"}
		s := serving(t, &fakeActions{}, a)
		if resp := s.do(post("/prod/v1", "", "{}")); resp.Status != want {
			t.Errorf("%s: %d, want %d\n%s", uri, resp.Status, want, s.log.text())
		}
	}
	f("arn:aws:apigateway:us-east-1:${stageVariables.service}:action/{op}", 200)
	f("arn:aws:apigateway:us-east-1:${stageVariables.none}kinesis:action/PutRecord", 200)
	f("arn:aws:apigateway:us-east-1:kinesis:action/${other}", 500)
	f("arn:aws:apigateway:us-east-1:kinesis:action/{", 500)
	f("}{", 500)
	f("arn:aws:apigateway:us-east-1:kinesis:path/{op}", 500)
}

func TestMockStatus(t *testing.T) {
	f := func(body string, want int) {
		t.Helper()
		if got, ok := mockStatus(body); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d %v, want %d", body, got, ok, want)
		}
	}
	const none = -1
	f(`{"statusCode": 200}`, 200)
	f(`{ statusCode: 200 }`, 200)
	f(`{'statusCode': 204,}`, 204)
	f("\n{\"statusCode\":\"201\"}\n", 201)
	f(`{"a": {"b": [1, "}", {}]}, "statusCode": 200, "c": 'x'}`, 200)
	f(`{"statusCode": 200, "message": "it's {fine}"}`, 200)
	f(`{"statusCode": 200, "statusCode": 404}`, 404)
	f(`statusCode: 200`, none)
	f(`{"statusCode': 200}`, none)
	f(`{"statusCode": 200`, none)
	f(`{"statusCode": 200} x`, none)
	f(`{"statusCode": 20x}`, none)
	f(`{"statusCode": 2.5}`, none)
	f(`{"statusCode": 99999999999999999999}`, none)
	f(`{"statusCode": }`, none)
	f(`{"x": 1}`, none)
	f(`{}`, none)
	f(``, none)
	f(`[200]`, none)
	f(`{"a": `+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`, "statusCode": 200}`, none)
	f(`{"a": [}, "statusCode": 200}`, none)
	f(`{"a": "\`, none)
}
