package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/restapi"
)

const testFunction = "arn:aws:lambda:us-east-1:000000000000:function:my-auth"

// keeper checks callers as a test tells it to, and keeps what its authorizer was asked with.
type keeper struct {
	mu     sync.Mutex
	events []string
	answer func(event string) (string, error)
	wait   chan struct{} // when not nil, answers come after it is closed
}

func (k *keeper) Signer(req *Request) (string, *SignatureFault) {
	switch sent := req.Header.Get("Authorization"); sent {
	case "":
		return "", &SignatureFault{Code: "MissingAuthenticationTokenException", Message: "Missing Authentication Token", Missing: true}
	case "old":
		return "", &SignatureFault{Code: "InvalidSignatureException", Message: "Signature expired: then is now earlier than now", Expired: true}
	case "AKIDEXAMPLE":
		return sent, nil
	}
	return "", &SignatureFault{Code: "UnrecognizedClientException", Message: "The security token included in the request is invalid."}
}

func (k *keeper) Ask(ctx context.Context, function string, event []byte) ([]byte, error) {
	k.mu.Lock()
	k.events = append(k.events, string(event))
	k.mu.Unlock()
	if k.wait != nil {
		select {
		case <-k.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if function != testFunction {
		return nil, errors.New("asked for " + function)
	}
	answer, err := k.answer(string(event))
	return []byte(answer), err
}

func (k *keeper) calls() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.events)
}

// says makes an authorizer that always gives one answer.
func says(answer string) *keeper {
	return &keeper{answer: func(string) (string, error) { return answer, nil }}
}

// letting is an answer with one statement.
func letting(effect, resource, rest string) string {
	return `{"principalId":"user|42","policyDocument":{"Version":"2012-10-17","Statement":[{"Action":"execute-api:Invoke","Effect":"` + effect +
		`","Resource":"` + resource + `"}]}` + rest + `}`
}

func seconds(n int) *int { return &n }

// guarded makes an API whose methods show who called: GET /iam, /token, /request, /open, and /any/{proxy+} for tokens.
func guarded(policy string, ttl int) *restapi.API {
	shows := func() *restapi.Method {
		return mock(`{"statusCode":200}`, map[string]string{"application/json": `$context.authorizer.principalId $context.authorizer.n $context.authorizer.b ` +
			`$context.identity.accessKey $context.identity.caller $context.identity.user $context.identity.userArn $context.identity.accountId`})
	}
	a := define("abcde12345", map[string]*restapi.Method{
		"GET /iam": shows(), "GET /token": shows(), "GET /request": shows(), "GET /open": shows(), "GET /any/{proxy+}": shows(),
	})
	uri := "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/" + testFunction + "/invocations"
	a.Authorizers = map[string]*restapi.Authorizer{
		"tok001": {ID: "tok001", Name: "token", Type: restapi.TokenAuthorizer, URI: uri, IdentitySource: "method.request.header.Authorization",
			IdentityValidation: "Bearer [a-z]+", TTLSeconds: seconds(ttl)},
		"req001": {ID: "req001", Name: "request", Type: restapi.RequestAuthorizer, URI: uri,
			IdentitySource: "method.request.header.X-Who, method.request.querystring.q, stageVariables.v, context.httpMethod", TTLSeconds: seconds(ttl)},
	}
	a.Policy = policy
	set := func(id, kind, authorizer string) {
		m := a.Resources[id].Methods["GET"]
		m.AuthorizationType, m.AuthorizerID = kind, authorizer
	}
	set("/iam", restapi.IAM, "")
	set("/token", restapi.Custom, "tok001")
	set("/any/{proxy+}", restapi.Custom, "tok001")
	set("/request", restapi.Custom, "req001")
	deploy(a, "dep002", "prod")
	a.Stages["prod"].Variables = map[string]string{"v": "1"}
	return a
}

var fullGate = restapi.Gate{Signatures: true, Functions: map[string]string{testFunction: "http://127.0.0.1:9000/"}}

func guarding(t testing.TB, k *keeper, a *restapi.API) server {
	return servingWith(t, Options{Gate: fullGate, Gatekeeper: k}, &fakeActions{}, a)
}

// get makes a GET with headers given as name, value.
func get(path string, header ...string) *Request {
	r := post(path, "", "")
	r.Method = "GET"
	for i := 0; i+1 < len(header); i += 2 {
		r.Header = append(r.Header, Field{header[i], header[i+1]})
	}
	return r
}

func (s server) expect(t *testing.T, r *Request, status int, errorType, body string) {
	t.Helper()
	resp := s.do(r)
	if resp.Status != status || resp.Header.Get("x-amzn-ErrorType") != errorType || !strings.Contains(string(resp.Body), body) {
		t.Errorf("%s: %d %s %s\nwant %d %s %s\n%s", r.RawPath, resp.Status, resp.Header.Get("x-amzn-ErrorType"), resp.Body, status, errorType, body, s.log.text())
	}
}

func TestASignatureLetsACallerIn(t *testing.T) {
	s := guarding(t, says(""), guarded("", 0))
	s.expect(t, get("/prod/iam"), 403, "MissingAuthenticationTokenException", `{"message":"Missing Authentication Token"}`)
	s.expect(t, get("/prod/iam", "Authorization", "other"), 403, "UnrecognizedClientException", `{"message":"The security token included in the request is invalid."}`)
	s.expect(t, get("/prod/iam", "Authorization", "old"), 403, "InvalidSignatureException", `Signature expired`)
	s.expect(t, get("/prod/iam", "Authorization", "AKIDEXAMPLE"), 200, "",
		"AKIDEXAMPLE AKIDEXAMPLE AKIDEXAMPLE arn:aws:iam::000000000000:user/AKIDEXAMPLE 000000000000")
	s.expect(t, get("/prod/open"), 200, "", "")
}

// What an authorizer answers, and what the caller is told.
func TestAnAuthorizersAnswer(t *testing.T) {
	const denied = `{"Message":"User is not authorized to access this resource`
	f := func(answer string, err error, status int, errorType, body string) {
		t.Helper()
		k := &keeper{answer: func(string) (string, error) { return answer, err }}
		s := guarding(t, k, guarded("", 0))
		s.expect(t, get("/prod/token", "Authorization", "Bearer abc"), status, errorType, body)
		if k.calls() != 1 {
			t.Errorf("%d calls", k.calls())
		}
	}
	const failure, configuration = "AuthorizerFailureException", "AuthorizerConfigurationException"
	f(letting("Allow", "*", `,"context":{"n":1,"b":true}`), nil, 200, "", "user|42 1 true")
	f(letting("Allow", "arn:aws:execute-api:us-east-1:000000000000:abcde12345/prod/GET/token", ""), nil, 200, "", "user|42")
	f(letting("Allow", "arn:aws:execute-api:*:*:abcde12345/prod/POST/*", ""), nil, 403, "AccessDeniedException", denied+`"}`)
	f(letting("Deny", "*", ""), nil, 403, "AccessDeniedException", denied+` with an explicit deny"}`)
	f("", errors.New("connection refused"), 500, failure, `{"message":null}`)
	f(`{"errorMessage":"Unauthorized","errorType":"Error"}`, nil, 401, "UnauthorizedException", `{"message":"Unauthorized"}`)
	f(`{"errorMessage":"boom"}`, nil, 500, failure, `{"message":null}`)
	f(``, nil, 500, configuration, `{"message":null}`)
	f(`null`, nil, 500, configuration, `{"message":null}`)
	f(`[]`, nil, 500, configuration, `{"message":null}`)
	f(`{}`, nil, 500, configuration, `{"message":null}`)
	f(`{"principalId":"x"}`, nil, 500, configuration, `{"message":null}`)
	f(`{"principalId":7,"policyDocument":{}}`, nil, 500, configuration, `{"message":null}`)
	f(strings.Replace(letting("Allow", "*", ""), `"principalId":"user|42"`, `"principalId":""`, 1), nil, 500, configuration, "")
	f(letting("Perhaps", "*", ""), nil, 500, configuration, "")
	f(letting("Allow", "*", `,"context":{"map":{}}`), nil, 500, configuration, "")
	f(letting("Allow", "*", `,"context":{"none":null}`), nil, 500, configuration, "")
	f(letting("Allow", "*", `,"context":[]`), nil, 500, configuration, "")
	f(letting("Allow", "*", `,"usageIdentifierKey":7`), nil, 500, configuration, "")
	f(letting("Allow", "*", `,"usageIdentifierKey":null`), nil, 200, "", "user|42")
	f(strings.Repeat(`{"a":`, 200)+`1`+strings.Repeat(`}`, 200), nil, 500, configuration, "")
	f(letting("Allow", "*", `,"context":{"principalId":"somebody else"}`), nil, 200, "", "user|42")
}

func TestWithoutAnIdentityNobodyIsAsked(t *testing.T) {
	k := says(letting("Allow", "*", ""))
	s := guarding(t, k, guarded("", 300))
	const unauthorized = `{"message":"Unauthorized"}`
	s.expect(t, get("/prod/token"), 401, "UnauthorizedException", unauthorized)
	s.expect(t, get("/prod/token", "Authorization", ""), 401, "UnauthorizedException", unauthorized)
	s.expect(t, get("/prod/token", "Authorization", "Bearer abc "), 401, "UnauthorizedException", unauthorized) // the expression fits whole tokens
	s.expect(t, get("/prod/request", "X-Who", "me"), 401, "UnauthorizedException", unauthorized)
	s.expect(t, get("/prod/request?q=1"), 401, "UnauthorizedException", unauthorized)
	s.expect(t, get("/prod/request?q=", "X-Who", "me"), 401, "UnauthorizedException", unauthorized)
	if k.calls() != 0 {
		t.Errorf("the authorizer was called: %q", k.events)
	}
	s.expect(t, get("/prod/request?q=1", "x-who", "me"), 200, "", "user|42")
	s.expect(t, get("/prod/token", "authorization", "Bearer abc"), 200, "", "user|42")
}

// The events are what Lambda's Invoke would get.
func TestTheEventOfAnAuthorizer(t *testing.T) {
	k := says(letting("Allow", "*", ""))
	s := guarding(t, k, guarded("", 0))
	s.expect(t, get("/prod//token/", "Authorization", "Bearer abc"), 200, "", "")
	want := `{"type":"TOKEN","methodArn":"arn:aws:execute-api:us-east-1:000000000000:abcde12345/prod/GET/token","authorizationToken":"Bearer abc"}`
	if k.events[0] != want {
		t.Errorf("%s\nwant %s", k.events[0], want)
	}
	s.expect(t, get("/prod/request?q=1&q=a%20b", "X-Who", "me", "User-Agent", "test"), 200, "", "")
	var got map[string]any
	if err := json.Unmarshal([]byte(k.events[1]), &got); err != nil {
		t.Fatal(err)
	}
	context := got["requestContext"].(map[string]any)
	for path, want := range map[string]string{
		"type": "REQUEST", "methodArn": "arn:aws:execute-api:us-east-1:000000000000:abcde12345/prod/GET/request", "resource": "/request", "path": "/request",
		"httpMethod": "GET", "queryStringParameters": "map[q:a b]", "multiValueQueryStringParameters": "map[q:[1 a b]]", "pathParameters": "map[]", "stageVariables": "map[v:1]",
	} {
		if fmt.Sprint(got[path]) != want {
			t.Errorf("%s: %v, want %s", path, got[path], want)
		}
	}
	for name, want := range map[string]string{"apiId": "abcde12345", "stage": "prod", "path": "/prod/request", "identity": "map[sourceIp:127.0.0.1 userAgent:test]"} {
		if fmt.Sprint(context[name]) != want {
			t.Errorf("requestContext.%s: %v, want %s", name, context[name], want)
		}
	}
	if h := got["headers"].(map[string]any); h["X-Who"] != "me" {
		t.Errorf("headers: %v", h)
	}
}

// An answer is kept for its time, for all methods of the stage that ask the authorizer.
func TestAnswersAreKept(t *testing.T) {
	k := &keeper{answer: func(event string) (string, error) {
		if strings.Contains(event, "Bearer bad") {
			return "", errors.New("down")
		}
		return letting("Allow", "arn:aws:execute-api:*:*:*/prod/GET/token", ""), nil
	}}
	a := guarded("", 300)
	s := guarding(t, k, a)
	at := testTime
	s.Now = func() time.Time { return at }
	calls := func(want int) {
		t.Helper()
		if got := k.calls(); got != want {
			t.Errorf("%d calls, want %d", got, want)
		}
	}
	for range 3 {
		s.expect(t, get("/prod/token", "Authorization", "Bearer abc"), 200, "", "")
	}
	calls(1)
	s.expect(t, get("/prod/any/x", "Authorization", "Bearer abc"), 403, "AccessDeniedException", "") // the same answer does not allow it
	calls(1)
	s.expect(t, get("/prod/token", "Authorization", "Bearer abcd"), 200, "", "")
	calls(2)
	for range 2 {
		s.expect(t, get("/prod/token", "Authorization", "Bearer bad"), 500, "AuthorizerFailureException", "")
	}
	calls(4) // failures are not kept
	at = at.Add(300 * time.Second)
	s.expect(t, get("/prod/token", "Authorization", "Bearer abc"), 200, "", "")
	calls(5)
	s.FlushAuthorizers("abcde12345", "other")
	s.expect(t, get("/prod/token", "Authorization", "Bearer abc"), 200, "", "")
	calls(5)
	s.FlushAuthorizers("abcde12345", "prod")
	s.expect(t, get("/prod/token", "Authorization", "Bearer abc"), 200, "", "")
	calls(6)
	deploy(a, "dep003", "prod") // a new deployment asks anew
	s.Publish([]*restapi.API{a}, a.ID)
	s.expect(t, get("/prod/token", "Authorization", "Bearer abc"), 200, "", "")
	calls(7)
	if len(s.decisions.byKey) != s.decisions.used.Len() {
		t.Errorf("%d keys for %d decisions", len(s.decisions.byKey), s.decisions.used.Len())
	}
}

func TestWhatIsKeptOfAuthorizersIsBounded(t *testing.T) {
	var d decisions
	now := func() time.Time { return testTime }
	fill := func(from, n int, size int64) {
		for i := from; i < from+n; i++ {
			key := decisionKey{stage: stageKey{"a", "s"}, sum: [32]byte{byte(i), byte(i >> 8), byte(i >> 16)}}
			d.get(t.Context(), key, now, time.Hour, func() (*decision, *failure, string) { return &decision{size: size}, nil, "" })
		}
	}
	fill(0, maxDecisions+10, 1)
	if d.used.Len() != maxDecisions || len(d.byKey) != maxDecisions || d.bytes != maxDecisions {
		t.Errorf("%d decisions, %d keys, %d bytes", d.used.Len(), len(d.byKey), d.bytes)
	}
	fill(maxDecisions+10, 3, maxDecisionBytes/2)
	if d.used.Len() != 2 || d.bytes != maxDecisionBytes {
		t.Errorf("%d decisions, %d bytes", d.used.Len(), d.bytes)
	}
	fill(maxDecisions+20, 1, maxDecisionBytes+1)
	if d.bytes != maxDecisionBytes || len(d.byKey) != 2 {
		t.Errorf("one that is larger than all was kept: %d bytes", d.bytes)
	}
}

// One call is made for all who wait for the same answer.
func TestOneCallAnswersAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := says(letting("Allow", "*", ""))
		k.wait = make(chan struct{})
		s := guarding(t, k, guarded("", 300))
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { s.expect(t, get("/prod/token", "Authorization", "Bearer abc"), 200, "", "user|42") })
		}
		synctest.Wait()
		close(k.wait)
		all.Wait()
		if k.calls() != 1 {
			t.Errorf("%d calls for callers that wait together", k.calls())
		}
	})
}

// An answer that was asked for before a flush is not kept after it.
func TestAFlushOutlivesACallUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := says(letting("Allow", "*", ""))
		k.wait = make(chan struct{})
		s := guarding(t, k, guarded("", 300))
		var caller sync.WaitGroup
		caller.Go(func() { s.expect(t, get("/prod/token", "Authorization", "Bearer abc"), 200, "", "") })
		synctest.Wait()
		s.FlushAuthorizers("abcde12345", "prod")
		close(k.wait)
		caller.Wait()
		s.expect(t, get("/prod/token", "Authorization", "Bearer abc"), 200, "", "")
		if k.calls() != 2 {
			t.Errorf("%d calls, want one before the flush and one after", k.calls())
		}
	})
}

func TestASlowAuthorizerIsNotWaitedForForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := says("")
		k.wait = make(chan struct{})
		s := guarding(t, k, guarded("", 300))
		began := time.Now()
		s.expect(t, get("/prod/token", "Authorization", "Bearer abc"), 500, "AuthorizerFailureException", `{"message":null}`)
		if waited := time.Since(began); waited != authorizerTimeout {
			t.Errorf("waited %v", waited)
		}
	})
}

const inOffice = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/prod/*",` +
	`"Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}},` +
	`{"Effect":"Deny","Principal":"*","Action":"execute-api:Invoke","Resource":"execute-api:/prod/GET/*","Condition":{"IpAddress":{"aws:SourceIp":"198.51.100.0/24"}}}]}`

// A resource policy has to allow an open method; on others it must not deny.
func TestAResourcePolicyAndWhatElseThereIs(t *testing.T) {
	f := func(answer, source, path string, status int, body string) {
		t.Helper()
		s := guarding(t, says(answer), guarded(inOffice, 300))
		r := get(path, "Authorization", "AKIDEXAMPLE")
		if strings.Contains(path, "token") {
			r = get(path, "Authorization", "Bearer abc")
		}
		r.RemoteIP = source
		errorType := ""
		if status != 200 {
			errorType = "AccessDeniedException"
		}
		s.expect(t, r, status, errorType, body)
	}
	const in, out, bad = "192.0.2.1", "203.0.113.1", "198.51.100.1"
	anonymous := `{"Message":"User: anonymous is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:us-east-1:********0000:abcde12345/prod/GET/`
	f("", in, "/prod/open", 200, "")
	f("", out, "/prod/open", 403, anonymous+`open"}`)
	f("", bad, "/prod/open", 403, anonymous+`open with an explicit deny"}`)
	f("", out, "/prod/iam", 200, "")
	f("", bad, "/prod/iam", 403, `User: arn:aws:iam::000000000000:user/AKIDEXAMPLE is not authorized`)
	f(letting("Allow", "*", ""), out, "/prod/token", 200, "")
	f(letting("Allow", "*", ""), bad, "/prod/token", 403, anonymous+`token with an explicit deny"}`)
	f(letting("Deny", "*", ""), in, "/prod/token", 403, "User is not authorized to access this resource with an explicit deny")
	f(letting("Allow", "arn:aws:execute-api:*:*:other/*", ""), in, "/prod/token", 200, "")
	f(letting("Allow", "arn:aws:execute-api:*:*:other/*", ""), out, "/prod/token", 403, `"User is not authorized to access this resource"`)
}

// A path is judged as it is sent and as a backend will read it.
func TestAnEncodedPathEvadesNoPolicy(t *testing.T) {
	only := `{"principalId":"x","policyDocument":{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},` +
		`{"Effect":"Deny","Action":"*","Resource":"arn:aws:execute-api:*:*:*/prod/GET/any/secret*"}]}}`
	s := guarding(t, says(only), guarded("", 0))
	for path, status := range map[string]int{
		"/prod/any/secret": 403, "/prod/any/%73ecret": 403, "/prod/any/secret/": 403, "//prod//any/secret": 403, "/prod/any/public": 200, "/prod/any/%zz": 200,
		"/prod/any/x/../secret": 403, "/prod/any/x/%2e%2E/secret": 403, "/prod/any/x/.well-known": 200,
	} {
		if resp := s.do(get(path, "Authorization", "Bearer abc")); resp.Status != status {
			t.Errorf("%s: %d, want %d", path, resp.Status, status)
		}
	}
	// An authorizer allows the very path that it was asked about; dots lead nowhere else.
	s = guarding(t, says(letting("Allow", "arn:aws:execute-api:*:*:*/prod/GET/any/public%20*", "")), guarded("", 0))
	s.expect(t, get("/prod/any/public%20x", "Authorization", "Bearer abc"), 200, "", "")
	s = guarding(t, says(letting("Allow", "arn:aws:execute-api:*:*:*/prod/GET/any/public/*", "")), guarded("", 0))
	s.expect(t, get("/prod/any/public/x", "Authorization", "Bearer abc"), 200, "", "")
	s.expect(t, get("/prod/any/public/../secret", "Authorization", "Bearer abc"), 403, "AccessDeniedException", "")
	s.expect(t, get("/prod/any/public/..%2fsecret", "Authorization", "Bearer abc"), 403, "AccessDeniedException", "")
}

// What the node can't check is closed, whatever was deployed.
func TestWhatCantBeCheckedIsClosed(t *testing.T) {
	s := servingWith(t, Options{}, &fakeActions{}, guarded("", 300))
	for _, path := range []string{"/prod/iam", "/prod/token", "/prod/request?q=1"} {
		s.expect(t, get(path, "Authorization", "Bearer abc", "X-Who", "me"), 500, "AuthorizerConfigurationException", `{"message":null}`)
	}
	s.expect(t, get("/prod/open"), 200, "", "")
	broken := 0
	for _, e := range s.Endpoints() {
		if e.Broken != "" {
			broken++
		}
	}
	if broken != 4 {
		t.Errorf("%d endpoints are told as broken", broken)
	}
	a := guarded("", 300)
	a.Deployments["dep002"].Definition.Policy = `{"Statement":{}}`
	s = guarding(t, says(""), a)
	s.expect(t, get("/prod/open"), 500, "AuthorizerConfigurationException", "")
	if _, err := New(Options{Actions: &fakeActions{}, IDs: s.IDs, Now: s.Now, Gate: fullGate}); err == nil {
		t.Error("a gate without a keeper was taken")
	}
}

func TestAnAuthorizerCanBeTried(t *testing.T) {
	a := guarded("", 300)
	s := guarding(t, says(letting("Deny", "*", "")), a)
	res, why := s.TestAuthorizer(t.Context(), a, "tok001", AuthorizerTest{Header: Header{{"Authorization", "Bearer abc"}}})
	if why != "" || res.Status != 200 || res.Principal != "user|42" || !strings.Contains(res.Policy, `"Deny"`) || !strings.Contains(res.Log, "Successfully completed authorizer execution\n") {
		t.Errorf("%+v %s", res, why)
	}
	if res, _ := s.TestAuthorizer(t.Context(), a, "tok001", AuthorizerTest{}); res.Status != 401 || !strings.Contains(res.Log, "Unauthorized request") {
		t.Errorf("%+v", res)
	}
	if res, why := s.TestAuthorizer(t.Context(), a, "req001", AuthorizerTest{Header: Header{{"X-Who", "me"}}, Path: "/x?q=1", StageVariables: map[string]string{"v": "1"}}); why != "" || res.Status != 200 {
		t.Errorf("%+v %s", res, why)
	}
	s = guarding(t, says(`{}`), a)
	if res, _ := s.TestAuthorizer(t.Context(), a, "tok001", AuthorizerTest{Header: Header{{"Authorization", "Bearer abc"}}}); res.Status != 500 {
		t.Errorf("%+v", res)
	}
	s = servingWith(t, Options{}, &fakeActions{}, a)
	if _, why := s.TestAuthorizer(t.Context(), a, "tok001", AuthorizerTest{}); !strings.Contains(why, "the key authorizers of the configuration file") {
		t.Errorf("%q", why)
	}
}

// FuzzAuthorizerAnswers: whatever an authorizer says, the caller gets in by a policy that allows, or not at all.
func FuzzAuthorizerAnswers(f *testing.F) {
	f.Add(letting("Allow", "*", `,"context":{"n":1},"usageIdentifierKey":"k"`))
	f.Add(`{"errorMessage":"Unauthorized"}`)
	f.Add(letting("Deny", "arn:aws:execute-api:*", ""))
	f.Fuzz(func(t *testing.T, answer string) {
		d, failed, why := readAnswer([]byte(answer))
		if (d == nil) == (failed == nil) || failed != nil && why == "" {
			t.Fatalf("%v %v %q", d, failed, why)
		}
		if d != nil && (d.policy == nil || d.principal == "" || d.context[0].Value != d.principal) {
			t.Fatalf("%+v", d)
		}
	})
}

func BenchmarkKeptAuthorizer(b *testing.B) {
	s := guarding(b, says(letting("Allow", "*", "")), guarded("", 300))
	r, resp := get("/prod/token", "Authorization", "Bearer abc"), &Response{}
	b.ReportAllocs()
	for b.Loop() {
		resp.Reset()
		s.Serve(context.Background(), r, resp)
		if resp.Status != 200 {
			b.Fatalf("%d %s", resp.Status, resp.Body)
		}
	}
}

// A canary with the stage's own deployment and other variables is another caller's world: its answers are its own.
func TestACanaryAsksItsAuthorizerItself(t *testing.T) {
	k := says(letting("Allow", "*", ""))
	a := guarded("", 300)
	a.Stages["prod"].Canary = &restapi.Canary{DeploymentID: "dep002", Percent: 50, Overrides: map[string]string{"other": "2"}}
	s := guarding(t, k, a)
	for range 40 { // of which the canary gets some
		s.expect(t, get("/prod/token", "Authorization", "Bearer abc"), 200, "", "")
	}
	if k.calls() != 2 {
		t.Errorf("%d calls, want one for the stage and one for its canary", k.calls())
	}
}

// An authorizer may look at the first of several values where the gateway takes the last: what it says of them holds for
// these alone, not for a caller who brings the last one only.
func TestAnAnswerToSeveralValuesIsForThemAlone(t *testing.T) {
	k := &keeper{answer: func(event string) (string, error) {
		var e struct{ MultiValueHeaders, MultiValueQueryStringParameters map[string][]string }
		if err := json.Unmarshal([]byte(event), &e); err != nil {
			return "", err
		}
		if e.MultiValueHeaders["X-Who"][0] == "good" && e.MultiValueQueryStringParameters["q"][0] == "good" {
			return letting("Allow", "*", ""), nil
		}
		return letting("Deny", "*", ""), nil
	}}
	s := guarding(t, k, guarded("", 300))
	s.expect(t, get("/prod/request?q=good", "X-Who", "good", "X-Who", "bad"), 200, "", "")
	s.expect(t, get("/prod/request?q=good", "X-Who", "bad"), 403, "AccessDeniedException", "")
	s.expect(t, get("/prod/request?q=good&q=bad", "X-Who", "good"), 200, "", "")
	s.expect(t, get("/prod/request?q=bad", "X-Who", "good"), 403, "AccessDeniedException", "")
	if n := k.calls(); n != 4 {
		t.Errorf("%d calls", n)
	}
}
