package gateway

import (
	"strings"
	"testing"

	"millrace/internal/restapi"
)

const throttled = `{"__type":"ProvisionedThroughputExceededException","message":"Rate exceeded for shard"}`

// When a default response of 2xx would hide that nothing was stored, the caller is told (promise 1).
func TestMaskedErrors(t *testing.T) {
	responses := func(r map[string]*restapi.IntegrationResponse) *restapi.Method {
		m := putRecord(map[string]string{"application/json": "{}"})
		m.Integration.Responses = r
		m.Responses = map[string]*restapi.MethodResponse{}
		for code := range r {
			m.Responses[code] = &restapi.MethodResponse{StatusCode: code}
		}
		return m
	}
	type ir = restapi.IntegrationResponse
	byDefault := responses(map[string]*ir{"200": {StatusCode: "200", ResponseTemplates: map[string]string{"application/json": `{"ok":true}`},
		ResponseParameters: map[string]string{"method.response.header.Access-Control-Allow-Origin": "'*'"}}})
	own := responses(map[string]*ir{"200": {StatusCode: "200", ResponseTemplates: map[string]string{
		"application/json": `#if($input.path('$.__type') != '')#set($context.responseOverride.status = 418)#end{"own":1}`}}})
	f := func(m *restapi.Method, exact bool, status int, outcome Outcome, answer string, wantStatus int, wantBody string) {
		t.Helper()
		s := servingWith(t, Options{ExactResponses: exact}, answering(status, outcome, answer),
			define("abcde12345", map[string]*restapi.Method{"POST /v1": m}))
		resp := s.do(post("/prod/v1", "", "{}"))
		if resp.Status != wantStatus || string(resp.Body) != wantBody {
			t.Errorf("%d %v: %d %s, want %d %s", status, outcome, resp.Status, resp.Body, wantStatus, wantBody)
		}
		if (resp.Header.Get("Retry-After") != "") != (wantStatus == 503) {
			t.Errorf("%d %v: Retry-After %q", status, outcome, resp.Header.Get("Retry-After"))
		}
		if m == byDefault && resp.Header.Get("access-control-allow-origin") != "*" {
			t.Errorf("%d %v: a browser can't read the answer", status, outcome)
		}
		if changed := wantStatus != 200 && wantStatus != 418 && outcome != OK; changed != strings.Contains(s.log.text(), "would be hidden") {
			if m == byDefault {
				t.Errorf("%d %v: logged %q", status, outcome, s.log.text())
			}
		}
	}
	f(byDefault, false, 200, OK, putRecordAnswer, 200, `{"ok":true}`)
	f(byDefault, false, 400, Throttled, throttled, 429, throttled)
	f(byDefault, false, 500, Unavailable, `{"__type":"InternalFailure"}`, 503, `{"__type":"InternalFailure"}`)
	f(byDefault, false, 400, Refused, `{"__type":"ResourceNotFoundException"}`, 400, `{"__type":"ResourceNotFoundException"}`)
	f(byDefault, false, 200, Unavailable, `{"FailedRecordCount":2}`, 503, `{"FailedRecordCount":2}`)
	f(byDefault, false, 0, Refused, `{}`, 502, `{}`)
	// the service's masking
	f(byDefault, true, 400, Throttled, throttled, 200, `{"ok":true}`)
	f(byDefault, true, 200, Unavailable, `{}`, 200, `{"ok":true}`)
	// a template that tells the error itself is left alone
	f(own, false, 400, Refused, `{"__type":"ResourceNotFoundException"}`, 418, `{"own":1}`)
	f(own, false, 200, OK, `{}`, 200, `{"own":1}`)
	// ".*" is a default, too
	all := responses(map[string]*ir{"200": {StatusCode: "200", SelectionPattern: ".*"}})
	f(all, false, 400, Throttled, throttled, 429, throttled)
	// a default that is no success hides nothing
	bad := responses(map[string]*ir{"200": {StatusCode: "200", SelectionPattern: `2\d{2}`}, "500": {StatusCode: "500"}})
	f(bad, false, 400, Throttled, throttled, 500, throttled)
	f(bad, false, 200, OK, `{}`, 200, `{}`)
	// a batch of which nothing was stored says 200 itself, so that no pattern can tell
	f(bad, false, 200, Unavailable, `{"FailedRecordCount":2}`, 503, `{"FailedRecordCount":2}`)
	// a pattern that names the error and calls it a success is the author's will
	willed := responses(map[string]*ir{"200": {StatusCode: "200", SelectionPattern: `[24]\d\d`}, "500": {StatusCode: "500"}})
	f(willed, false, 400, Refused, throttled, 200, throttled)
}

// The choice of a response: patterns fit whole texts, in the order of status codes.
func TestChoice(t *testing.T) {
	f := func(responses map[string]string, status int, want string) {
		t.Helper()
		list := map[string]*restapi.IntegrationResponse{}
		for code, pattern := range responses {
			list[code] = &restapi.IntegrationResponse{StatusCode: code, SelectionPattern: pattern}
		}
		sorted := byStatus(list)
		c := compileChoice(sorted)
		got := "none"
		if i := c.find(status); i != noResponse {
			got = sorted[i].StatusCode
		}
		if got != want {
			t.Errorf("%v: %d selects %s, want %s", responses, status, got, want)
		}
	}
	usual := map[string]string{"200": "", "400": `4\d{2}`, "500": `5\d{2}`}
	f(usual, 200, "200")
	f(usual, 400, "400")
	f(usual, 429, "400")
	f(usual, 503, "500")
	f(usual, 302, "200")
	f(usual, 1400, "200")
	f(usual, 40, "200")
	f(map[string]string{"400": `.*4.*`, "500": `.+`}, 404, "400")
	f(map[string]string{"400": `.*4.*`, "500": `.+`}, 200, "500")
	f(map[string]string{"200": "200", "400": "(4|5)\\d{2}"}, 201, "none")
	f(map[string]string{"200": "20"}, 200, "none")
	f(map[string]string{"200": "200|201"}, 201, "200")
	f(map[string]string{"200": "20", "500": ""}, 2000, "500")
}

func TestResponseMapping(t *testing.T) {
	m := putRecord(map[string]string{"application/json": `#set($context.responseOverride.custom = "kept")
#set($context.requestOverride.header.Q = "from-request"){}`})
	m.Integration.Responses["200"] = &restapi.IntegrationResponse{
		StatusCode: "200",
		ResponseParameters: map[string]string{
			"method.response.header.Shard":         "integration.response.body.ShardId",
			"method.response.header.Missing":       "integration.response.body.nothing",
			"method.response.header.Literal":       "'it is'",
			"method.response.header.Stage":         "context.stage",
			"method.response.header.Variable":      "stageVariables.colour",
			"method.response.header.Type":          "integration.response.header.Content-Type",
			"method.response.header.Server":        "'mine'",
			"method.response.header.Authorization": "'a'",
			"method.response.header.Over":          "'ridden'",
		},
		ResponseTemplates: map[string]string{
			"application/json": `#set($context.responseOverride.header.over = "won")#set($context.responseOverride.header.Two = ["a", "b"])` +
				`#set($context.responseOverride.status = 202){"id":"$input.params('X-Caller')","shard":"$input.path('$.ShardId')",` +
				`"c":"$context.responseOverride.custom","q":"$context.requestOverride.header.Q"}`,
			"application/xml": `<ok/>`,
		},
	}
	a := define("abcde12345", map[string]*restapi.Method{"POST /v1": m})
	a.Stages["prod"].Variables = map[string]string{"colour": "blue"}
	s := serving(t, &fakeActions{}, a)
	r := post("/prod/v1", "", "{}")
	r.Header = append(r.Header, Field{"x-caller", "7"})
	golden(t, "responses/mapped.http", dump(s.do(r)))
	r.Header = append(r.Header, Field{"Accept", "application/xml;q=0.9, text/html"})
	golden(t, "responses/mapped-xml.http", dump(s.do(r)))
}

// A header that a mapping fills with a caller's text can't break out of its line.
func TestHeaderValuesStayOnTheirLine(t *testing.T) {
	m := mock(`{"statusCode":200}`, map[string]string{"application/json": `#set($context.responseOverride.header.X = $input.params('x'))`})
	s := serving(t, &fakeActions{}, define("abcde12345", map[string]*restapi.Method{"POST /v1": m}))
	resp := s.do(post("/prod/v1?x=a%0d%0aSet-Cookie:%20b", "", ""))
	if got := resp.Header.Get("X"); got != "a  Set-Cookie: b" {
		t.Errorf("%q", got)
	}
}

// A response stays as it is when the memory behind it serves the next request.
func TestResponsesDoNotShareMemory(t *testing.T) {
	m := putRecord(map[string]string{"$default": "{}"})
	m.Integration.Responses["200"].ResponseParameters = map[string]string{
		"method.response.header.Part": "integration.response.body.id", "method.response.header.Whole": "integration.response.body"}
	m.Integration.Responses["200"].ResponseTemplates = map[string]string{"application/json": "$input.path('$.id')"}
	n := 0
	s := serving(t, &fakeActions{reply: func(c *Call) {
		n++
		c.Status, c.Out = 200, append(c.Out, `{"id":"answer-`+itoa(n)+`"}`...)
	}}, define("abcde12345", map[string]*restapi.Method{"POST /v1": m}))
	first := s.do(post("/prod/v1", "", "{}"))
	for range 10 {
		s.do(post("/prod/v1", "", "{}"))
	}
	if got := string(first.Body) + " " + first.Header.Get("Part") + " " + first.Header.Get("Whole"); got != `answer-1 answer-1 {"id":"answer-1"}` {
		t.Errorf("%s", got)
	}
}

// Statuses that HTTP gives no body get none.
func TestNoContentHasNoBody(t *testing.T) {
	m := mock(`{statusCode: 204}`, map[string]string{"application/json": "text"})
	m.Responses["204"] = &restapi.MethodResponse{StatusCode: "204"}
	m.Integration.Responses["204"] = &restapi.IntegrationResponse{StatusCode: "204", SelectionPattern: "204"}
	m.Integration.Responses["204"].ResponseTemplates = map[string]string{"application/json": "text"}
	s := serving(t, &fakeActions{}, define("abcde12345", map[string]*restapi.Method{"OPTIONS /v1": m}))
	r := post("/prod/v1", "", "")
	r.Method = "OPTIONS"
	golden(t, "responses/preflight.http", dump(s.do(r)))
}
