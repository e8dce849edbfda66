package gateway

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"millrace/internal/restapi"
)

// customised is a collector whose gateway responses are set.
func customised(t testing.TB, set ...restapi.GatewayResponse) *restapi.API {
	t.Helper()
	a := collector(t)
	config := putRecord(map[string]string{"application/json": "{}"})
	config.Integration.Responses["200"].SelectionPattern = "500"
	more := define("abcde12345", map[string]*restapi.Method{
		"POST /v1/{stream-name}": a.Resources["/v1/{stream-name}"].Methods["POST"],
		"POST /config":           config,
		"POST /broken":           mock(`statusCode: 200`, nil),
		"GET /ok":                mock(`{"statusCode": 200}`, nil),
	})
	for _, r := range set {
		if _, err := more.PutGatewayResponse(r); err != nil {
			t.Fatal(err)
		}
	}
	deploy(more, "dep002", "prod")
	more.Stages["prod"].Variables = map[string]string{"owner": `team "a"`}
	return more
}

// Every type answers as it is set; what is set for a class shows through where a type is not.
func TestCustomisedAnswers(t *testing.T) {
	cors := map[string]string{"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"}
	api := customised(t,
		restapi.GatewayResponse{Type: "DEFAULT_4XX", Parameters: cors},
		restapi.GatewayResponse{Type: "DEFAULT_5XX", StatusCode: "599", Parameters: cors,
			Templates: map[string]string{"application/json": `{"message":$context.error.messageString,"type":"$context.error.responseType","id":"$context.requestId"}`}},
		restapi.GatewayResponse{Type: "MISSING_AUTHENTICATION_TOKEN", StatusCode: "404",
			Parameters: map[string]string{
				"gatewayresponse.header.X-Path":   "context.path",
				"gatewayresponse.header.X-Query":  "method.request.querystring.q",
				"gatewayresponse.header.X-Accept": "method.request.header.accept",
				"gatewayresponse.header.X-Owner":  "stageVariables.owner",
				"gatewayresponse.header.X-None":   "method.request.path.none",
				"gatewayresponse.header.Server":   "'mine'",
				"gatewayresponse.header.Allow":    "'GET, POST'",
			},
			Templates: map[string]string{
				"application/json": `{"message":$context.error.messageString,"bare":"$context.error.message","type":"$context.error.responseType","stage":"$context.stage","resourcePath":"$context.resourcePath","owner":"$stageVariables.owner","q":"$method.request.querystring.q","host":"$stageVariables.owner.example.com","cost":"$5 ${context.stage}-$context.stage. $contextual $context. ${context.stage"}`,
				"application/xml":  `<error type="$context.error.responseType"><q>$method.request.querystring.q</q></error>`,
				"text/plain":       `$context.error.message: $context.httpMethod $context.path ($method.request.querystring.q)`,
			}},
		restapi.GatewayResponse{Type: "AUTHORIZER_FAILURE", StatusCode: "100"},
		restapi.GatewayResponse{Type: "REQUEST_TOO_LARGE", StatusCode: "400", Parameters: cors},
		restapi.GatewayResponse{Type: "UNSUPPORTED_MEDIA_TYPE", StatusCode: "204"},
	)
	f := func(name string, r *Request, headers ...Field) {
		t.Helper()
		s := serving(t, answering(400, Refused, `{}`), api)
		r.Header = append(r.Header, headers...)
		golden(t, "customised/"+name+".http", dump(s.do(r)))
	}
	f("unknown-path", post(`/prod/v9?q=%22%3Cb%3E`, "", "{}"))
	f("unknown-path-xml", post(`/prod/v9?q=%22%3Cb%3E`, "", "{}"), Field{"Accept", "Application/XML;q=0.9, */*"})
	f("unknown-path-text", post(`/prod/v9?q=%22%3Cb%3E%0d%0ax`, "", "{}"), Field{"Accept", "text/plain"})
	f("unknown-path-other", post(`/prod/v9?q=a%0d%0aSet-Cookie:+x`, "", "{}"), Field{"Accept", "image/png"})
	f("class-4xx", post("/prod/v1/x", "", "not gzip"), Field{"Content-Encoding", "gzip"})
	f("class-5xx", post("/prod/broken", "", "{}"))
	f("configuration", post("/prod/config", "", "{}"))
	f("media-type-204", post("/prod/v1/x", "text/plain", "hello"))
	f("too-large", post("/prod/v1/x", "", strings.Repeat("x", maxBodyBytes+1)))
	f("unknown-stage", post("/nope/v1", "", "{}"))
	f("success", func() *Request { r := post("/prod/ok", "", ""); r.Method = "GET"; return r }())
}

// What is set is frozen in deployments: a change shows after the next one.
func TestGatewayResponsesAreDeployed(t *testing.T) {
	api := customised(t)
	if _, err := api.PutGatewayResponse(restapi.GatewayResponse{Type: "DEFAULT_4XX", StatusCode: "418"}); err != nil {
		t.Fatal(err)
	}
	s := serving(t, &fakeActions{}, api)
	if resp := s.do(post("/prod/v9", "", "")); resp.Status != 403 {
		t.Errorf("status %d before it is deployed", resp.Status)
	}
	deploy(api, "dep003", "prod")
	s.Publish([]*restapi.API{api}, api.ID)
	if resp := s.do(post("/prod/v9", "", "")); resp.Status != 418 {
		t.Errorf("status %d after it is deployed", resp.Status)
	}
}

// Each kind stands at the place of its type.
func TestKindsAreTypes(t *testing.T) {
	if len(restapi.ResponseTypes) != int(kinds) {
		t.Fatalf("%d types, %d kinds", len(restapi.ResponseTypes), kinds)
	}
	for k, name := range map[kind]string{
		kindRequestTooLarge: "REQUEST_TOO_LARGE", kindResourceNotFound: "RESOURCE_NOT_FOUND",
		kindAuthorizerConfiguration: "AUTHORIZER_CONFIGURATION_ERROR", kindMissingToken: "MISSING_AUTHENTICATION_TOKEN",
		kindBadBody: "BAD_REQUEST_BODY", kindInvalidSignature: "INVALID_SIGNATURE", kindInvalidKey: "INVALID_API_KEY",
		kindBadParameters: "BAD_REQUEST_PARAMETERS", kindAuthorizerFailure: "AUTHORIZER_FAILURE", kindUnauthorized: "UNAUTHORIZED",
		kindTimeout: "INTEGRATION_TIMEOUT", kindAccessDenied: "ACCESS_DENIED", kindDefault4XX: "DEFAULT_4XX", kindDefault5XX: "DEFAULT_5XX",
		kindWAFFiltered: "WAF_FILTERED", kindQuotaExceeded: "QUOTA_EXCEEDED", kindThrottled: "THROTTLED",
		kindConfiguration: "API_CONFIGURATION_ERROR", kindMediaType: "UNSUPPORTED_MEDIA_TYPE", kindIntegration: "INTEGRATION_FAILURE",
		kindExpiredToken: "EXPIRED_TOKEN",
	} {
		if restapi.ResponseTypes[k].Name != name {
			t.Errorf("kind %d is %s, want %s", k, restapi.ResponseTypes[k].Name, name)
		}
	}
}

// Every kind can be set, and a failure of each is then answered in its words, CORS header and all.
func TestEveryKindCanBeCustomised(t *testing.T) {
	for i, rt := range restapi.ResponseTypes {
		api := customised(t, restapi.GatewayResponse{Type: rt.Name, StatusCode: "477",
			Parameters: map[string]string{"gatewayresponse.header.Access-Control-Allow-Origin": "'https://shop.example'"},
			Templates:  map[string]string{"application/json": `{"m":$context.error.messageString,"t":"$context.error.responseType","v":"$context.error.validationErrorString"}`}})
		s := serving(t, &fakeActions{}, api)
		x := &exchange{g: s.Gateway, req: post("/prod/v9", "", ""), resp: &Response{}, stage: s.current.Load().apis[api.ID].stages["prod"], api: s.current.Load().apis[api.ID]}
		x.identify()
		x.fail(&failure{kind: kind(i), status: 400, errorType: "E", message: `a "b"`, validation: `["x"]`}, "")
		want, status := `{"m":"a \"b\"","t":"`+rt.Name+`","v":"[\"x\"]"}`, 477
		if kind(i) == kindRequestTooLarge {
			want, status = `{"message":"a \"b\""}`, 400
		}
		if string(x.resp.Body) != want || x.resp.Status != status || x.resp.Header.Get("x-amzn-ErrorType") != "E" {
			t.Errorf("%s: %s", rt.Name, dump(x.resp))
		}
		if origin := x.resp.Header.Get("access-control-allow-origin"); (origin == "") != (kind(i) == kindRequestTooLarge) {
			t.Errorf("%s: origin %q", rt.Name, origin)
		}
	}
}

// A status that calls a loss a success is the service's answer on request only.
func TestCustomisedStatusesHideNoLoss(t *testing.T) {
	f := func(exact bool, failed *failure, want int) {
		t.Helper()
		api := customised(t, restapi.GatewayResponse{Type: "DEFAULT_4XX", StatusCode: "200"}, restapi.GatewayResponse{Type: "DEFAULT_5XX", StatusCode: "202"})
		s := servingWith(t, Options{ExactResponses: exact}, &fakeActions{}, api)
		a := s.current.Load().apis[api.ID]
		x := &exchange{g: s.Gateway, req: post("/prod/v9", "", ""), resp: &Response{}, api: a, stage: a.stages["prod"]}
		x.fail(failed, "")
		if x.resp.Status != want {
			t.Errorf("%s, exact %v: %d, want %d", failed.message, exact, x.resp.Status, want)
		}
	}
	f(false, errTimeout, 504)
	f(false, errOverBudget, 503)
	f(false, errThrottled, 429)
	f(false, errMissingToken, 200)
	f(true, errTimeout, 202)
	f(true, errThrottled, 200)
}

// A template whose values make it huge is cut at the bound.
func TestCustomisedBodiesAreBounded(t *testing.T) {
	api := customised(t, restapi.GatewayResponse{Type: "DEFAULT_4XX",
		Templates: map[string]string{"application/json": strings.Repeat("$method.request.querystring.q", 2000)}})
	s := serving(t, &fakeActions{}, api)
	resp := s.do(post("/prod/v9?q="+strings.Repeat("x", 8000), "", ""))
	if n := len(resp.Body); n == 0 || n > maxGatewayBody {
		t.Errorf("%d bytes", n)
	}
}

// Whatever template and values: literal text passes, a value stays within its quotes, nothing panics.
func FuzzGatewayTemplate(f *testing.F) {
	for _, seed := range []string{
		`{"message":$context.error.messageString}`, `${context.stage}`, `$context.`, `$$context.path$`, `$stageVariables.a.b..c-`,
		`$method.request.header.X-Y-Z`, `${method.request.path.`, "\xff$context.path\xff", `$context.error.validationErrorString`,
	} {
		f.Add(seed, `v"\<`)
	}
	f.Fuzz(func(t *testing.T, src, value string) {
		x := &exchange{req: &Request{}}
		x.context.Path, x.context.Error.Message = value, value
		plain := &gatewayTemplate{mediaType: "text/plain", parts: compileGatewayTemplate(src)}
		var literal strings.Builder
		vars := 0
		for _, p := range plain.parts {
			if p.isVar {
				vars++
			} else {
				literal.WriteString(p.text)
			}
		}
		out := plain.render(nil, x)
		if vars == 0 && (string(out) != src && len(src) < maxGatewayBody || literal.String() != src) {
			t.Errorf("%q without variables became %q", src, out)
		}
		if !strings.Contains(src, "$") && vars > 0 {
			t.Errorf("%d variables in %q", vars, src)
		}
		quoted := &gatewayTemplate{mediaType: "application/json", parts: compileGatewayTemplate(`{"a":"$context.path","m":$context.error.messageString}`)}
		var got struct{ A string }
		if err := json.Unmarshal(quoted.render(nil, x), &got); err != nil || utf8.ValidString(value) && got.A != value {
			t.Errorf("%q: %v, %q", value, err, got.A)
		}
		markup := &gatewayTemplate{mediaType: "application/xml", parts: compileGatewayTemplate("$context.path")}
		if out := markup.render(nil, x); bytes.ContainsAny(out, `<>"'`) {
			t.Errorf("%q became %q", value, out)
		}
	})
}
