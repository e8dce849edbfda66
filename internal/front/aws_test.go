package front

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"millrace/internal/awswire"
	"millrace/internal/gateway"
)

// signed is an Authorization header for a service; nobody checks the signature.
func signed(service string) string {
	return "AWS4-HMAC-SHA256 Credential=AKIA/20261124/us-east-1/" + service + "/aws4_request, SignedHeaders=host, Signature=0"
}

// request makes a request from lines: "POST /path", then headers.
func request(lines ...string) *http.Request {
	method, uri, _ := strings.Cut(lines[0], " ")
	r := httptest.NewRequest(method, uri, nil)
	r.Host = "127.0.0.1:4566"
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	return r
}

func TestServiceOf(t *testing.T) {
	f := func(want Service, lines ...string) {
		t.Helper()
		r := request(lines...)
		got, known := serviceOf(r)
		if !known {
			got = "not " + got
		}
		if got != want {
			t.Errorf("%q: %s, want %s", lines, got, want)
		}
	}
	const kinesisPut, firehosePut = "X-Amz-Target: Kinesis_20131202.PutRecord", "X-Amz-Target: Firehose_20150804.PutRecord"
	auth := func(service string) string { return "Authorization: " + signed(service) }
	f(Kinesis, "POST /", kinesisPut)
	f(Kinesis, "POST /", kinesisPut, auth("kinesis"))
	f(Kinesis, "POST /", kinesisPut, auth("s3")) // the verifier says what is wrong with it
	f(Kinesis, "POST /", "X-Amz-Target: Kinesis_20991231.PutRecord", auth("kinesis"))
	f(Kinesis, "POST /")
	f(Kinesis, "OPTIONS /")
	f(Kinesis, "OPTIONS /", "Origin: http://localhost", "Access-Control-Request-Headers: x-amz-target")
	f(Kinesis, "POST /", kinesisPut, "Host: 111122223333.data-kinesis.us-east-1.amazonaws.com")
	f(Kinesis, "POST /", "Host: 111122223333.control-kinesis.us-east-1.amazonaws.com", auth("kinesis"))
	f(Kinesis, "POST /any/path", kinesisPut, "Host: bucket.s3.localhost:4566")
	f(Kinesis, "POST /service/Kinesis_20131202/operation/PutRecord", "Smithy-Protocol: rpc-v2-cbor")
	f(S3, "POST /service/Kinesis_20131202/operation/PutRecord")
	f(S3, "POST /service/Kinesis_20131202", "Smithy-Protocol: rpc-v2-cbor")
	f("not GraniteServiceVersion20100801", "POST /service/GraniteServiceVersion20100801/operation/ListMetrics", "Smithy-Protocol: rpc-v2-cbor")
	f(Firehose, "POST /", firehosePut)
	f(APIGateway, "GET /restapis")
	f(APIGateway, "GET /restapis/abc", auth("apigateway"))
	f(APIGateway, "GET /anything", auth("apigateway"))
	f(APIGateway, "PUT /tags/arn%3Aaws")
	f(S3, "GET /restapisfiles/x")
	f(S3, "GET /restapis/abc", auth("s3"))
	f(S3, "GET /")
	f(S3, "PUT /bucket/key")
	f(S3, "GET /bucket/key?X-Amz-Credential=AKIA%2F20261124%2Fus-east-1%2Fs3%2Faws4_request")
	f(S3, "POST /", auth("s3"))
	f(operator, "GET /_millrace/metrics")
	f(operator, "GET /_millrace")
	f(operator, "GET /_millrace/ledger", auth("millrace"))
	f(S3, "GET /_millracex")
	f(S3, "GET /_millrace/x", auth("s3"), "Host: bucket.s3.localhost:4566")
	f(ExecuteAPI, "POST /restapis/abc/prod/_user_request_/v1")
	f(ExecuteAPI, "POST /restapis/abc/prod/_user_request_")
	f(APIGateway, "POST /restapis/abc/prod/x_user_request_")
	f(APIGateway, "POST /restapis/abc%2Fprod/_user_request_/v1/_user_request_")
	f(ExecuteAPI, "POST /_aws/execute-api/abc/prod/v1")
	f(ExecuteAPI, "POST /prod/v1", "Host: abc.execute-api.us-east-1.amazonaws.com")
	f(ExecuteAPI, "POST /prod/v1", "Host: abc.EXECUTE-API.localhost.localstack.cloud:4566", kinesisPut)
	f(ExecuteAPI, "POST /prod/v1", auth("execute-api"))
	f(S3, "GET /prod/v1", "Host: a.b.execute-api.localhost")
	f(S3, "GET /prod/v1", "Host: abc.execute-api.")
	f("not sts", "POST /", auth("sts"), "Content-Type: application/x-www-form-urlencoded")
	f("not lambda", "GET /2015-03-31/functions", auth("lambda"))
	f("not DynamoDB_20120810", "POST /", "X-Amz-Target: DynamoDB_20120810.ListTables")
	f("not dynamodb", "POST /", "X-Amz-Target: DynamoDB_20120810.ListTables", auth("dynamodb"))
}

func TestTrustedHosts(t *testing.T) {
	g := newGuard([]string{"Millrace.internal"})
	f := func(host string, want bool) {
		t.Helper()
		if got := g.trustedHost(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	for _, host := range []string{
		"", "localhost", "localhost:4566", "LocalHost.", "127.0.0.1", "127.0.0.1:4566", "127.9.9.9", "[::1]", "[::1]:4566", "::1",
		"bucket.localhost:4566", "s3.localhost", "kinesis.us-east-1.amazonaws.com",
		"111122223333.data-kinesis.us-east-1.amazonaws.com", "111122223333.control-kinesis.us-east-1.api.aws", "b.s3.cn-north-1.amazonaws.com.cn", "amazonaws.com",
		"abc.execute-api.localhost.localstack.cloud:4566", "localhost.localstack.cloud", "bucket.127.0.0.1:4566", "my.127.bucket.127.0.0.1",
		"millrace.internal", "MILLRACE.INTERNAL:4566", "bucket.millrace.internal",
	} {
		f(host, true)
	}
	for _, host := range []string{
		"example.com", "example.com:4566", "localhost.example.com", "127.0.0.1.example.com", "127.0.0.1.nip.io", "10.0.0.1", "192.168.1.2:4566",
		"[fe80::1]", "0.0.0.0", "xamazonaws.com", "amazonaws.com.example.com", "notmillrace.internal", "evil.127.0.0.1.nip.io", "2130706433",
	} {
		f(host, false)
	}
}

// Without credentials only this machine's pages and tools get in; with them, a signature decides, not a name.
func TestGuard(t *testing.T) {
	reached := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "reached") })
	services := map[Service]http.Handler{Kinesis: reached, Firehose: reached, APIGateway: reached, S3: reached}
	open := serve(t, Options{Services: services, Millrace: reached})
	closed := serve(t, Options{Services: services, Millrace: reached, Credentials: func(string) (string, bool) { return "", false }})
	f := func(n *node, status int, want string, lines ...string) {
		t.Helper()
		c := dial(t, n.AWSURL())
		c.send(lines[0] + " HTTP/1.1\r\n" + strings.Join(lines[1:], "\r\n") + "\r\n\r\n")
		method, _, _ := strings.Cut(lines[0], " ")
		resp, body := c.answer(method)
		if resp.StatusCode != status || !strings.Contains(body, want) {
			t.Errorf("%q: %d %s, want %d with %s", lines, resp.StatusCode, body, status, want)
		}
	}
	const target = "X-Amz-Target: Kinesis_20131202.ListStreams"
	f(open, 200, "reached", "POST /", "Host: localhost", target)
	f(open, 200, "reached", "POST /", "Host: localhost", "Origin: http://localhost:3000", target)
	f(open, 200, "reached", "POST /", "Host: kinesis.us-east-1.amazonaws.com", target)
	f(open, 200, "reached", "GET /_millrace/ledger", "Host: 127.0.0.1")
	f(open, 403, `"__type":"AccessDeniedException","message":"The Host \"evil.example\" is neither`, "POST /", "Host: evil.example", target)
	f(open, 403, `<Code>AccessDenied</Code>`, "GET /bucket", "Host: evil.example")
	f(open, 403, "is neither", "GET /_millrace/ledger", "Host: evil.example")
	f(open, 403, "is neither", "POST /_aws/execute-api/abc/prod/v1", "Host: evil.example")
	f(open, 403, `web origin \"https://evil.example\"`, "POST /", "Host: localhost", "Origin: https://evil.example", target)
	f(open, 403, `web origin \"null\"`, "POST /", "Host: localhost", "Origin: null", target)
	f(open, 403, `web origin`, "POST /", "Host: localhost", "Origin: http://b.s3.amazonaws.com", target)
	f(open, 403, `web origin`, "POST /", "Host: localhost", "Origin: http://localhost", "Origin: http://evil.example", target)
	f(open, 403, `web origin`, "OPTIONS /", "Host: localhost", "Origin: http://evil.example")
	f(closed, 200, "reached", "POST /", "Host: evil.example", "Origin: http://evil.example", target)
	if got := open.Stats().Guarded; got != 9 {
		t.Errorf("%d refusals were counted", got)
	}
	// the ingest listener is the public one
	c := dial(t, open.IngestURL())
	c.send("GET /prod HTTP/1.1\r\nHost: events.example.com\r\nOrigin: https://shop.example.com\r\n\r\n")
	if resp, _ := c.answer("GET"); resp.StatusCode != 200 {
		t.Errorf("ingest: %d", resp.StatusCode)
	}
}

// A service that is not there is refused by name, in a form that its clients can read.
func TestUnknownServicesAreRefusedByName(t *testing.T) {
	n := serve(t, Options{Services: map[Service]http.Handler{Kinesis: http.NotFoundHandler()}})
	f := func(want string, lines ...string) {
		t.Helper()
		c := dial(t, n.AWSURL())
		c.send(lines[0] + " HTTP/1.1\r\nHost: localhost\r\n" + strings.Join(append(lines[1:], ""), "\r\n") + "\r\n")
		resp, body := c.answer("GET")
		id := resp.Header.Get("X-Amzn-Requestid")
		body = strings.ReplaceAll(body, ">"+id+"<", ">ID<")
		if got := fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Content-Type"), " ", body); got != want {
			t.Errorf("%q:\n got %s\nwant %s", lines, got, want)
		}
		if id == "" {
			t.Error("no request id")
		}
	}
	const tail = " is not part of this version of Millrace, which speaks kinesis, firehose, apigateway, s3 and execute-api."
	f(`501 application/x-amz-json-1.1 {"__type":"NotImplemented","message":"The service dynamodb`+tail+`"}`,
		"POST /", "X-Amz-Target: DynamoDB_20120810.ListTables", "Authorization: "+signed("dynamodb"))
	f(`501 application/json {"__type":"NotImplemented","message":"The service lambda`+tail+`"}`,
		"GET /2015-03-31/functions", "Authorization: "+signed("lambda"))
	f(`501 text/xml <?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<ErrorResponse><Error><Type>Sender</Type><Code>NotImplemented</Code><Message>The service sts`+tail+
		`</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		"POST /", "Content-Type: application/x-www-form-urlencoded; charset=utf-8", "Authorization: "+signed("sts"))
	f(`501 application/x-amz-json-1.1 {"__type":"NotImplemented","message":"The service firehose`+tail+`"}`,
		"POST /", "X-Amz-Target: Firehose_20150804.PutRecord") // left out of this node
	f("501 application/x-amz-cbor-1.1 "+string(awswire.AppendCBORError(nil, "NotImplemented", "The service cloudwatch"+tail)),
		"POST /", "Content-Type: application/x-amz-cbor-1.1", "X-Amz-Target: CloudWatch.ListMetrics", "Authorization: "+signed("cloudwatch"))
	if got := n.Stats().Services["unknown"]; got != 5 {
		t.Errorf("%d counted", got)
	}
}

// Calls reach their service whole, with a context that outlives their caller; S3's ends with it.
func TestCallsReachTheirServices(t *testing.T) {
	type seen struct {
		service Service
		body    string
		bounded bool
	}
	got := make(chan seen, 1)
	services := map[Service]http.Handler{}
	for _, s := range []Service{Kinesis, Firehose, APIGateway, S3} {
		services[s] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			got <- seen{s, string(b) + fmt.Sprint(err), r.Context().Value(http.ServerContextKey) != nil}
			w.WriteHeader(http.StatusTeapot)
		})
	}
	n := serve(t, Options{
		Services: services,
		Millrace: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }),
		Gateway: gatewayFunc(func(_ context.Context, req *gateway.Request, resp *gateway.Response) {
			resp.Status, resp.Body = 200, fmt.Appendf(resp.Body, "%d %s %s", req.Listener, req.RawPath, req.Body)
		}),
	})
	c := dial(t, n.AWSURL())
	call := func(want string, lines ...string) {
		t.Helper()
		c.send(lines[0] + " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n" + strings.Join(append(lines[1:], ""), "\r\n") + "\r\n4\r\nbody\r\n0\r\n\r\n")
		resp, body := c.answer("POST")
		if resp.StatusCode == http.StatusTeapot {
			body = fmt.Sprint(<-got)
		}
		if body != want {
			t.Errorf("%q: %s, want %s", lines, body, want)
		}
	}
	call("{kinesis body<nil> false}", "POST /", "X-Amz-Target: Kinesis_20131202.PutRecord")
	call("{firehose body<nil> false}", "POST /", "X-Amz-Target: Firehose_20150804.PutRecord")
	call("{apigateway body<nil> false}", "POST /restapis")
	call("{s3 body<nil> true}", "PUT /bucket/key")
	call("/_millrace/x", "POST /_millrace/x?y")
	call("1 /_aws/execute-api/abc/prod/v1 body", "POST /_aws/execute-api/abc/prod/v1")
	for service, count := range n.Stats().Services {
		if want := int64(1); service != "unknown" && count != want {
			t.Errorf("%s: %d counted", service, count)
		}
	}
}

// What a service makes of a body that the front has cut off does not reach the caller: it would be told that its
// call is wrong, and not try again.
func TestBodiesOfCallsAreAccountedFor(t *testing.T) {
	hold, held := make(chan bool), make(chan int, 10)
	reads := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			w.Header().Set("Content-Type", "text/wrong")
			w.WriteHeader(400)
			fmt.Fprint(w, "this is wrong for ever")
			return
		}
		held <- len(b)
		<-hold
	})
	n := serve(t, Options{Services: map[Service]http.Handler{Kinesis: reads, S3: reads}, Budget: NewBudget(MinBodyBudget)})
	post := func(size int, target string) *client {
		c := dial(t, n.AWSURL())
		c.send(fmt.Sprintf("POST /b/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n", size, target))
		go func() { _, _ = io.WriteString(c, strings.Repeat("x", size)) }() // it may be cut
		return c
	}
	const kinesis = "X-Amz-Target: Kinesis_20131202.PutRecords\r\n"
	first := post(14<<20, kinesis)
	if got := <-held; got != 14<<20 || n.budget.Used() != 14<<20 {
		t.Fatalf("%d read, %d reserved", got, n.budget.Used())
	}
	second := post(14<<20, kinesis)
	resp, body := second.answer("POST")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || body != `{"__type":"ServiceUnavailableException","message":"Service Unavailable"}` ||
		resp.Header.Get("Content-Type") != awswire.TypeJSON11 || !resp.Close {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	small := post(1000, kinesis)
	object := post(20<<20, "") // streams: it is not held
	for _, want := range []int{1000, 20 << 20} {
		if got := <-held; got != want {
			t.Errorf("%d read, want %d", got, want)
		}
	}
	close(hold)
	for _, c := range []*client{first, small, object} {
		if resp, _ := c.answer("POST"); resp.StatusCode != 200 {
			t.Errorf("%d", resp.StatusCode)
		}
	}
	third := post(17<<20, kinesis)
	if resp, body := third.answer("POST"); resp.StatusCode != 413 || !strings.Contains(body, "Request Too Long") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// A fault of a service costs its caller a 500 in the service's form; a body that it cuts short on purpose stays cut.
func TestPanicOfAServiceIsContained(t *testing.T) {
	fail := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("X-How") {
		case "late":
			fmt.Fprint(w, "half")
			w.(http.Flusher).Flush()
			panic("late fault")
		case "abort":
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "half")
			panic(http.ErrAbortHandler)
		}
		panic("early fault")
	})
	n := serve(t, Options{Services: map[Service]http.Handler{Kinesis: fail, S3: fail}, Millrace: fail})
	f := func(want string, lines ...string) {
		t.Helper()
		c := dial(t, n.AWSURL())
		c.send(lines[0] + " HTTP/1.1\r\nHost: localhost\r\n" + strings.Join(append(lines[1:], ""), "\r\n") + "\r\n")
		var got string
		if resp, err := http.ReadResponse(c.in, nil); err == nil {
			b, err := io.ReadAll(resp.Body)
			got = fmt.Sprint(resp.StatusCode, " ", strings.ReplaceAll(string(b), ">"+resp.Header.Get("X-Amzn-Requestid")+"<", ">ID<"), " ", err)
		} else {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q:\n got %s\nwant %s", lines, got, want)
		}
	}
	const target = "X-Amz-Target: Kinesis_20131202.PutRecord"
	f(`500 {"__type":"InternalFailure"} <nil>`, "POST /", target)
	f(`500 {"__type":"InternalFailure"} <nil>`, "GET /_millrace/metrics")
	f("200 half unexpected EOF", "POST /", target, "X-How: late")
	f("unexpected EOF", "POST /", target, "X-How: abort")
	f(`500 <?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message><RequestId>ID</RequestId></Error> <nil>`, "GET /bucket")
	if got := n.Stats().Panics; got != 4 {
		t.Errorf("%d counted", got)
	}
}

// What belongs to the operator is open on loopback, and asks for credentials once there are any.
func TestOperatorPaths(t *testing.T) {
	reached := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "reached") })
	lookup := func(key string) (string, bool) { return "secret", key == "AKIA" }
	g := newGuard(nil)
	f := func(lookup awswire.Lookup, status int, lines ...string) {
		t.Helper()
		h := newOperators(reached, lookup, g, new(stats), func() time.Time { return testTime })
		r := request(lines...)
		if remote := r.Header.Get("Remote"); remote != "" {
			r.RemoteAddr = remote
		} else {
			r.RemoteAddr = "127.0.0.1:1"
		}
		if auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Basic "); ok {
			u, p, _ := strings.Cut(auth, ":")
			r.SetBasicAuth(u, p)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != status || (status == 200) != (w.Body.String() == "reached") {
			t.Errorf("%q: %d %s, want %d", lines, w.Code, w.Body, status)
		}
	}
	const metrics = "GET /_millrace/metrics"
	f(nil, 200, metrics)
	f(nil, 200, metrics, "Origin: http://localhost:3000")
	f(lookup, 401, metrics)
	f(lookup, 401, metrics, "Authorization: Basic AKIA:wrong")
	f(lookup, 401, metrics, "Authorization: Basic OTHER:secret")
	f(lookup, 401, metrics, "Authorization: Bearer x")
	f(lookup, 200, metrics, "Authorization: Basic AKIA:secret")
	f(lookup, 403, metrics, "Authorization: Basic AKIA:secret", "Remote: 203.0.113.7:1")
	f(lookup, 403, metrics, "Authorization: Basic AKIA:secret", "Origin: http://evil.example")
	f(lookup, 200, metrics, "Authorization: Basic AKIA:secret", "Origin: http://127.0.0.1:4566")
	f(lookup, 400, metrics, "Authorization: "+signed("millrace")) // its signature is none
	f(lookup, 200, "GET /_millrace/health", "Remote: 203.0.113.7:1")
	f(lookup, 401, "POST /_millrace/health")
	f(lookup, 401, "GET /_millrace/health/more")
}

func TestTargetOfQueries(t *testing.T) {
	for _, uri := range []string{"/a?b", "/?", "*", "/a%2Fb?x=%"} {
		path, query := target(uri)
		if again := (&url.URL{Opaque: path, RawQuery: query}).RequestURI(); again != strings.TrimSuffix(uri, "?") {
			t.Errorf("%s: %s", uri, again)
		}
	}
}
