package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"millrace/internal/restapi"
)

// kept keeps the lines of access logs by destination.
type kept map[string]*lines

type lines struct{ bytes.Buffer }

func (l *lines) Write(line []byte) { l.Buffer.Write(append(line, '\n')) }

func (k kept) AccessLog(s *restapi.AccessLog) (LineWriter, error) {
	if strings.Contains(s.DestinationARN, "nowhere") {
		return nil, errors.New("there is no such place")
	}
	if k[s.DestinationARN] == nil {
		k[s.DestinationARN] = &lines{}
	}
	return k[s.DestinationARN], nil
}

const logGroup = "arn:aws:logs:us-east-1:000000000000:log-group:orders"

// The formats of the service's console.
const (
	formatCLF  = `$context.identity.sourceIp $context.identity.caller $context.identity.user [$context.requestTime] "$context.httpMethod $context.resourcePath $context.protocol" $context.status $context.responseLength $context.requestId $context.extendedRequestId`
	formatJSON = `{ "requestId":"$context.requestId", "ip":"$context.identity.sourceIp", "requestTime":"$context.requestTime", "httpMethod":"$context.httpMethod", "resourcePath":"$context.resourcePath", "status":"$context.status", "protocol":"$context.protocol", "responseLength":"$context.responseLength" }`
)

func TestAccessLog(t *testing.T) {
	all := func(names ...string) string {
		var b strings.Builder
		for i, n := range names {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(strings.ReplaceAll(n, ".", "_") + "=$context." + n)
		}
		return b.String() + "\n"
	}
	everything := all("requestId", "extendedRequestId", "accountId", "apiId", "stage", "deploymentId", "domainName", "domainPrefix", "httpMethod", "path",
		"protocol", "requestTime", "requestTimeEpoch", "resourceId", "resourcePath", "identity.sourceIp", "identity.userAgent", "identity.caller",
		"status", "responseLength", "responseLatency", "integrationLatency", "integration.latency", "integrationStatus", "integration.status",
		"integration.integrationStatus", "integration.requestId", "awsEndpointRequestId", "integrationErrorMessage", "integration.error",
		"error.message", "error.messageString", "error.responseType", "error.validationErrorString", "authorizer.principalId", "authorize.status",
		"waf.status", "wafResponseCode", "xrayTraceId", "customDomain.basePathMatched", "isCanaryRequest", "nosuch.thing")
	f := func(name, format string, actions *fakeActions, r *Request) {
		t.Helper()
		a := collector(t)
		a.Stages["prod"].AccessLog = &restapi.AccessLog{DestinationARN: logGroup, Format: format}
		k := kept{}
		s := servingWith(t, Options{AccessLogs: k}, actions, a)
		s.do(r)
		golden(t, "access/"+name+".txt", k[logGroup].Bytes())
	}
	agent := func(r *Request, agent string) *Request {
		r.Header = append(r.Header, Field{"User-Agent", agent})
		return r
	}
	event := func() *Request { return agent(post("/prod/v1/x?a=b", "application/json", `{"id":7}`), "curl/8.5.0") }
	f("clf", formatCLF, &fakeActions{}, event())
	f("json", formatJSON, &fakeActions{}, event())
	f("all", everything, &fakeActions{}, event())
	f("all-no-route", everything, &fakeActions{}, post("/prod/nope", "application/json", ""))
	f("all-media-type", everything, &fakeActions{}, post("/prod/v1/x", "text/plain", ""))
	f("all-refused", everything, answering(400, Refused, `{}`), event())
	f("quotes-in-json", `{"id":"$context.requestId","agent":"$context.identity.userAgent","error":$context.error.messageString}`,
		&fakeActions{}, agent(post("/prod/v1/x", "text/plain", ""), `a"b\c`))
	f("quotes-in-text", `$context.requestId "$context.identity.userAgent" 50% $contextual $context. ${context.path}`,
		&fakeActions{}, agent(post("/prod/v1/x", "", `{}`), `a"b`))
	f("long", `$context.requestId $context.identity.userAgent`, &fakeActions{}, agent(post("/prod/v1/x", "", `{}`), strings.Repeat("ü", 4000)))
}

// Without a destination or a format nothing is written, and what can't be written is told.
func TestAccessLogsThatAreNot(t *testing.T) {
	f := func(s *restapi.AccessLog, logs AccessLogs, want string) {
		t.Helper()
		a := collector(t)
		a.Stages["prod"].AccessLog = s
		g := servingWith(t, Options{AccessLogs: logs}, &fakeActions{}, a)
		got := ""
		for _, w := range g.Publish([]*restapi.API{a}, "") {
			got += w.Error()
		}
		if !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%+v: %q", s, got)
		}
		if r := g.do(post("/abcde12345/prod/v1/x", "application/json", `{"id":7}`)); r.Status != 200 {
			t.Errorf("%+v: %d", s, r.Status)
		}
	}
	f(&restapi.AccessLog{Format: "$context.requestId"}, kept{}, "")
	f(&restapi.AccessLog{DestinationARN: logGroup}, kept{}, "")
	f(&restapi.AccessLog{DestinationARN: "nowhere", Format: "$context.requestId"}, kept{}, "there is no such place")
	f(&restapi.AccessLog{DestinationARN: logGroup, Format: "$context.requestId"}, nil, "this node writes no access logs")
}

// Each request draws; a canary has its own deployment and variables, and the rest of its stage.
func TestCanary(t *testing.T) {
	a := define("abcde12345", map[string]*restapi.Method{"GET /v1": mock(`{"statusCode": 200}`, map[string]string{
		"application/json": "old $stageVariables.a $stageVariables.b $context.isCanaryRequest $context.deploymentId",
	})})
	a.Resources["/v1"].Methods["GET"].Integration.Responses["200"].ResponseTemplates["application/json"] =
		"new $stageVariables.a $stageVariables.b $context.isCanaryRequest $context.deploymentId"
	a.Deployments["dep002"] = &restapi.Deployment{ID: "dep002", Created: testTime, Definition: *a.Definition.Clone()}
	stage := a.Stages["prod"]
	stage.Variables = map[string]string{"a": "1", "b": "2"}
	stage.AccessLog = &restapi.AccessLog{DestinationARN: logGroup, Format: "$context.requestId $context.isCanaryRequest"}
	stage.MethodSettings = map[string]*restapi.MethodSetting{"*/*": {LoggingLevel: restapi.LogInfo, MetricsEnabled: true}}
	k := kept{}
	s := servingWith(t, Options{AccessLogs: k}, &fakeActions{}, a)
	get := &Request{Method: "GET", RawPath: "/prod/v1", Received: testTime}
	f := func(percent float64, lowest, most int) {
		t.Helper()
		stage.Canary = &restapi.Canary{DeploymentID: "dep002", Percent: percent, Overrides: map[string]string{"b": "3"}}
		for _, w := range s.Publish([]*restapi.API{a}, a.ID) {
			t.Error(w)
		}
		canaries := 0
		const tries = 1000
		for range tries {
			switch body := string(s.do(get).Body); body {
			case "new 1 3 true dep002":
				canaries++
			case "old 1 2 false dep001":
			default:
				t.Fatal(body)
			}
		}
		if canaries < lowest || canaries > most {
			t.Errorf("%v %%: %d of %d requests", percent, canaries, tries)
		}
	}
	f(0, 0, 0)
	f(100, 1000, 1000)
	f(30, 240, 360)
	if got := strings.Count(k[logGroup].String(), " true\n"); got < 1240 || got > 1360 {
		t.Errorf("%d lines of canaries", got)
	}
	groups := map[string]bool{}
	for _, l := range s.log.lines {
		groups[l.Group] = true
	}
	if len(groups) != 2 || !groups["API-Gateway-Execution-Logs_abcde12345/prod/Canary"] {
		t.Errorf("%v", groups)
	}
	s.Counts(func(c MethodCounts) {
		if c.Requests != 3000 || c.Path != "/v1" {
			t.Errorf("%+v", c)
		}
	})

	stage.Canary = nil
	s.Publish([]*restapi.API{a}, a.ID)
	if body := string(s.do(get).Body); body != "old 1 2  dep001" {
		t.Errorf("without a canary: %s", body)
	}
}

// Methods are counted where their settings say so, over publications, and no longer than they are served.
func TestCounts(t *testing.T) {
	a := collector(t)
	s := serving(t, answering(500, Unavailable, `{}`), a)
	count := func() (all string) {
		s.Counts(func(c MethodCounts) {
			all += fmt.Sprintf("%s %s %s %s %d %d %d;", c.API, c.Stage, c.Verb, c.Path, c.Requests, c.ClientErrors, c.ServerErrors)
		})
		return all
	}
	do := func() {
		s.do(post("/prod/v1/x", "application/json", `{"id":7}`))
		s.do(post("/prod/v1/x", "text/plain", ""))
		s.do(post("/prod/nope", "text/plain", ""))
	}
	do()
	if got := count(); got != "" {
		t.Errorf("not asked for: %s", got)
	}
	a.Stages["prod"].MethodSettings = map[string]*restapi.MethodSetting{"*/*": {MetricsEnabled: true}}
	s.Publish([]*restapi.API{a}, a.ID)
	do()
	s.Publish([]*restapi.API{a}, a.ID)
	do()
	if got, want := count(), "abcde12345 prod POST /v1/{stream-name} 4 2 2;"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	s.Publish(nil, "")
	if got := count(); got != "" {
		t.Errorf("no longer served: %s", got)
	}
}

func TestTestOfAMethod(t *testing.T) {
	f := func(name string, a *restapi.API, resource, verb string, actions *fakeActions, in TestRequest) {
		t.Helper()
		a.Deployments, a.Stages = nil, nil // nothing is deployed
		s := serving(t, actions, a)
		r, err := s.Test(context.Background(), a, resource, verb, in)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "%d\n", r.Status)
		for _, h := range r.Header {
			fmt.Fprintf(&b, "%s: %s\n", h.Name, h.Value)
		}
		fmt.Fprintf(&b, "\n%s\n\n%s", r.Body, r.Log)
		golden(t, "tested/"+name+".txt", b.Bytes())
		if s.log.text() != "" {
			t.Errorf("a test is in the stage's log:\n%s", s.log.text())
		}
	}
	secured := collector(t)
	secured.Resources["/v1/{stream-name}"].Methods["POST"].AuthorizationType = "AWS_IAM"
	secured.Resources["/v1/{stream-name}"].Methods["POST"].APIKeyRequired = true
	const event = `{"id":7}`
	f("put-record", secured, "/v1/{stream-name}", "POST", &fakeActions{}, TestRequest{
		PathWithQuery: "/v1/orders?foo=bar", Body: []byte(event), Header: Header{{"content-type", "text/plain"}, {"Authorization", "AWS4 0123456789abcdef"}},
	})
	f("refused", collector(t), "/v1/{stream-name}", "POST", answering(400, Refused, `{"__type":"ResourceNotFoundException"}`), TestRequest{Body: []byte(event)})
	f("path-does-not-fit", collector(t), "/v1/{stream-name}", "POST", &fakeActions{}, TestRequest{PathWithQuery: "/elsewhere", Body: []byte(event)})
	mocked := func(request string) *restapi.API {
		return define("abcde12345", map[string]*restapi.Method{"GET /pets/{petId}": mock(request, map[string]string{
			"application/json": `{"id":"$input.params('petId')","stage":"$context.stage","ip":"$context.identity.sourceIp","v":"$stageVariables.v"}`,
		})})
	}
	f("mock", mocked(`{"statusCode": 200}`), "/pets/{petId}", "GET", &fakeActions{}, TestRequest{PathWithQuery: "/pets/123", StageVariables: map[string]string{"v": "1"}})
	f("mock-no-path", mocked(`{"statusCode": 200}`), "/pets/{petId}", "GET", &fakeActions{}, TestRequest{})
	f("mock-broken", mocked(`{}`), "/pets/{petId}", "GET", &fakeActions{}, TestRequest{PathWithQuery: "/pets/123"})
}

func BenchmarkPostJSONAccessLogOff(b *testing.B) { benchmarkAccessLog(b, nil, false) }
func BenchmarkPostJSONAccessLogCLF(b *testing.B) {
	benchmarkAccessLog(b, &restapi.AccessLog{DestinationARN: logGroup, Format: formatCLF}, false)
}
func BenchmarkPostJSONAccessLogJSON(b *testing.B) {
	benchmarkAccessLog(b, &restapi.AccessLog{DestinationARN: logGroup, Format: formatJSON}, false)
}
func BenchmarkPostJSONMethodMetrics(b *testing.B) { benchmarkAccessLog(b, nil, true) }

type forgetting struct{}

func (forgetting) Write([]byte) {}

func (forgetting) AccessLog(*restapi.AccessLog) (LineWriter, error) { return forgetting{}, nil }

func benchmarkAccessLog(b *testing.B, settings *restapi.AccessLog, metrics bool) {
	run := loggedPath(b, settings, metrics)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func loggedPath(t testing.TB, settings *restapi.AccessLog, metrics bool) func() {
	a := collector(t)
	a.Stages["prod"].AccessLog = settings
	a.Stages["prod"].MethodSettings = map[string]*restapi.MethodSetting{"*/*": {MetricsEnabled: metrics}}
	s := servingWith(t, Options{AccessLogs: forgetting{}}, &fakeActions{}, a)
	s.Actions = quickActions{}
	s.Publish(nil, "")
	s.Publish([]*restapi.API{a}, a.ID)
	r := post("/prod/v1/class-stream", "application/json", jsonBody)
	resp := &Response{}
	ctx := context.Background()
	return func() {
		resp.Reset()
		s.Serve(ctx, r, resp)
		if resp.Status != 200 {
			t.Fatalf("%d %s", resp.Status, resp.Body)
		}
	}
}

// An access log adds no allocation to the path of an event.
func TestAccessLogsAllocateNothing(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector pools forget")
	}
	run := loggedPath(t, &restapi.AccessLog{DestinationARN: logGroup, Format: formatJSON}, true)
	run()
	if got := testing.AllocsPerRun(500, run); got > 2 {
		t.Errorf("%v allocations an event", got)
	}
}

// A caller can't break a line of JSON by a path so long that the message about it is cut.
func TestALongMessageStaysInItsQuotes(t *testing.T) {
	a := define("abcde12345", map[string]*restapi.Method{"POST /a/{proxy+}": mock(`{"statusCode":200}`, nil)})
	a.Policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"*"}]}`
	deploy(a, "dep002", "prod")
	a.Stages["prod"].AccessLog = &restapi.AccessLog{DestinationARN: logGroup, Format: `{"id":"$context.requestId","why":$context.error.messageString}`}
	k := kept{}
	s := servingWith(t, Options{AccessLogs: k}, &fakeActions{}, a)
	for _, path := range []string{"/prod/a/x", "/prod/a/" + strings.Repeat(`"`, 9000), "/prod/a/" + strings.Repeat("é", 4000)} {
		k[logGroup].Reset()
		s.do(post(path, "", "{}"))
		if line := k[logGroup].String(); !json.Valid([]byte(line)) || len(line) > 8*maxAccessValueBytes {
			t.Errorf("%.60s: %d bytes: %.200s", path, len(line), line)
		}
	}
}

// The backend of an HTTP integration is called by a test as by live traffic, and what became of it is in the test's log.
func TestTestOfAnHTTPMethod(t *testing.T) {
	f := func(name string, backend sends) {
		t.Helper()
		m := &restapi.Method{HTTPMethod: "POST", AuthorizationType: "NONE",
			Responses: map[string]*restapi.MethodResponse{"200": {StatusCode: "200"}, "502": {StatusCode: "502"}},
			Integration: &restapi.Integration{Type: restapi.HTTP, HTTPMethod: "POST", URI: "https://backend.example.com/{id}", PassthroughBehavior: restapi.Never,
				RequestParameters: map[string]string{"integration.request.path.id": "method.request.path.id", "integration.request.header.X-Kind": "'test'"},
				RequestTemplates:  map[string]string{"application/json": `{"to":"$input.params('id')","n":$input.json('$.n')}`},
				Responses: map[string]*restapi.IntegrationResponse{
					"200": {StatusCode: "200", ResponseTemplates: map[string]string{"application/json": `{"said":$input.json('$')}`}},
					"502": {StatusCode: "502", SelectionPattern: `5\d{2}`},
				}}}
		a := define("abcde12345", map[string]*restapi.Method{"POST /v1/{id}": m})
		id := ""
		for _, r := range a.Resources {
			if r.Path == "/v1/{id}" {
				id = r.ID
			}
		}
		s := servingWith(t, Options{Sender: backend}, &fakeActions{}, a)
		r, err := s.Test(t.Context(), a, id, "POST", TestRequest{PathWithQuery: "/v1/7", Body: []byte(`{"n":1}`)})
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "tested/"+name+".txt", fmt.Appendf(nil, "%d\n%v\n\n%s\n\n%s", r.Status, r.Header, r.Body, r.Log))
	}
	f("http", func(_ context.Context, c *Call) (io.Reader, error) {
		if c.Target != "https://backend.example.com/7" || string(c.Body) != `{"to":"7","n":1}` || c.Header.Get("X-Kind") != "test" {
			t.Errorf("%s %s %v", c.Target, c.Body, c.Header)
		}
		return strings.NewReader(`{"ok":true}`), nil
	})
	f("http-down", func(context.Context, *Call) (io.Reader, error) { return nil, errors.New("connection refused") })
}
