package gateway

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"millrace/internal/restapi"
)

// The stage's level decides what is written of a request.
func TestExecutionLog(t *testing.T) {
	f := func(name string, setting *restapi.MethodSetting, actions *fakeActions, path string) {
		t.Helper()
		a := collector(t)
		if setting != nil {
			a.Stages["prod"].MethodSettings = map[string]*restapi.MethodSetting{"*/*": setting}
		}
		s := serving(t, actions, a)
		r := post(path, "application/json", `{"id":7}`)
		r.Header = append(r.Header, Field{"Authorization", "Bearer 0123456789abcdef"})
		s.do(r)
		golden(t, "logs/"+name+".txt", []byte(s.log.text()))
	}
	const path = "/prod/v1/x?a=b"
	refused := answering(400, Refused, `{"__type":"ResourceNotFoundException"}`)
	f("off-good", nil, &fakeActions{}, path)
	f("error-good", &restapi.MethodSetting{LoggingLevel: restapi.LogError}, &fakeActions{}, path)
	f("info-good", &restapi.MethodSetting{LoggingLevel: restapi.LogInfo}, &fakeActions{}, path)
	f("trace-good", &restapi.MethodSetting{LoggingLevel: restapi.LogInfo, DataTraceEnabled: true}, &fakeActions{}, path)
	f("off-masked", nil, refused, path)
	f("trace-masked", &restapi.MethodSetting{LoggingLevel: restapi.LogInfo, DataTraceEnabled: true}, refused, path)
}

// Requests to hosts and calls by path are logged with what was sent.
func TestExecutionLogOfBackends(t *testing.T) {
	for name, kind := range map[string]string{"http": restapi.HTTP, "proxy": restapi.HTTPProxy, "s3": restapi.AWS} {
		backend := &fakeSender{answerType: "text/plain", answer: "said"}
		m := putRecord(nil)
		m.Integration.Type, m.Integration.PassthroughBehavior, m.Integration.URI = kind, restapi.WhenNoMatch, "http://backend/{id}"
		if kind == restapi.AWS {
			m.Integration.URI = "arn:aws:apigateway:us-east-1:s3:path/bucket/{id}"
		}
		m.Integration.RequestParameters = map[string]string{
			"integration.request.path.id": "method.request.path.id", "integration.request.querystring.q": "'1'"}
		a := define("abcde12345", map[string]*restapi.Method{"POST /v1/{id}": m})
		a.Stages["prod"].MethodSettings = map[string]*restapi.MethodSetting{"*/*": {LoggingLevel: restapi.LogInfo, DataTraceEnabled: true}}
		s := servingWith(t, Options{Sender: backend}, &fakeActions{}, a)
		s.Actions, s.compiled = byPath{backend}, nil
		s.Publish([]*restapi.API{a}, a.ID)
		s.do(post("/prod/v1/7", "text/plain", "asked"))
		golden(t, "logs/"+name+".txt", []byte(s.log.text()))
	}
}

// A failure of the caller's is logged where the stage asks for it.
func TestCallersFaultsInTheLog(t *testing.T) {
	f := func(level string, want bool) {
		t.Helper()
		a := collector(t)
		a.Stages["prod"].MethodSettings = map[string]*restapi.MethodSetting{"v1/{stream-name}/POST": {LoggingLevel: level}}
		s := serving(t, &fakeActions{}, a)
		s.do(post("/prod/v1/x", "text/plain", "secret"))
		if got := strings.Contains(s.log.text(), "Unsupported Media Type"); got != want {
			t.Errorf("%s: %q", level, s.log.text())
		}
		if strings.Contains(s.log.text(), "secret") {
			t.Errorf("%s: the payload is in the log", level)
		}
	}
	f(restapi.LogOff, false)
	f(restapi.LogError, true)
	f(restapi.LogInfo, true)
}

// Under a flood of errors a bounded number of lines is written, and the rest counted.
func TestSlogSinkIsBounded(t *testing.T) {
	var out bytes.Buffer
	now := testTime
	s := NewSlogSink(slog.New(slog.NewTextHandler(&out, nil)), func() time.Time { return now })
	for range 1000 {
		s.Log(Line{Error: true, Text: "x"})
	}
	if got := strings.Count(out.String(), "execution failed"); got != errorLinesPerSecond {
		t.Errorf("%d lines", got)
	}
	now = now.Add(time.Second)
	s.Log(Line{Error: true, Text: "x"})
	if !strings.Contains(out.String(), "suppressed=980") {
		t.Error("what was left out is not counted")
	}
}

// What an authorizer tells callers by is as secret as Authorization is, wherever it stands.
func TestIdentitiesAreNotLogged(t *testing.T) {
	a := guarded("", 0)
	a.Authorizers["tok001"].IdentitySource, a.Authorizers["tok001"].IdentityValidation = "method.request.header.X-Token", ""
	deploy(a, "dep003", "prod")
	a.Stages["prod"].Variables = map[string]string{"v": "1"}
	a.Stages["prod"].MethodSettings = map[string]*restapi.MethodSetting{"*/*": {LoggingLevel: restapi.LogInfo, DataTraceEnabled: true}}
	s := guarding(t, says(letting("Allow", "*", "")), a)
	s.expect(t, get("/prod/token", "X-Token", "secret-of-the-caller-000001", "Proxy-Authorization", "secret-of-the-proxy-000002"), 200, "", "")
	s.expect(t, get("/prod/request?q=secret-of-the-query-000003&X-Amz-Signature=secret-of-the-url-000004", "x-who", "secret-of-somebody-000005"), 200, "", "")
	if text := s.log.text(); strings.Contains(text, "secret") || !strings.Contains(text, "X-Token=") {
		t.Errorf("%s", text)
	}
}
