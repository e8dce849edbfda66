package gateway

import (
	"encoding/json"
	"strings"
	"testing"

	"millrace/internal/restapi"
)

func TestCustomDomains(t *testing.T) {
	first := define("abcde12345", map[string]*restapi.Method{"POST /v1": echo(), "POST /": echo()})
	first.Stages["dev"] = &restapi.Stage{Name: "dev", DeploymentID: first.Stages["prod"].DeploymentID}
	closed := define("klmno12345", map[string]*restapi.Method{"POST /v1": echo()})
	closed.DisableExecuteAPIEndpoint = true
	s := serving(t, &fakeActions{}, first, closed)
	s.PublishDomains([]*restapi.Domain{
		{Name: "events.example.com", Mappings: []restapi.BasePathMapping{
			{BasePath: "", APIID: "abcde12345", Stage: "prod"},
			{BasePath: "a", APIID: "abcde12345"},
			{BasePath: "a/b", APIID: "klmno12345", Stage: "prod"},
			{BasePath: "gone", APIID: "zzzzz00000", Stage: "prod"},
			{BasePath: "stale", APIID: "abcde12345", Stage: "none"},
		}},
		{Name: "*.example.com", Mappings: []restapi.BasePathMapping{{BasePath: "only", APIID: "abcde12345", Stage: "dev"}}},
		{Name: "empty.example.com"},
	})
	const forbidden = `403 {"message":"Forbidden"}`
	f := func(host, path, want string) {
		t.Helper()
		r := post(path, "", "")
		r.Listener, r.Host = Ingest, host
		resp := s.do(r)
		got := string(resp.Body)
		if resp.Status != 200 {
			got = itoa(resp.Status) + " " + got
		}
		if got != want {
			t.Errorf("%s%s: %s, want %s", host, path, got, want)
		}
	}
	// API, stage, $context.path, resource
	f("events.example.com", "/v1", "abcde12345|prod|/v1|/v1")
	f("Events.Example.COM.:8443", "/v1", "abcde12345|prod|/v1|/v1")
	f("events.example.com", "/", "abcde12345|prod|/|/")
	f("events.example.com", "", "abcde12345|prod|/|/")
	f("events.example.com", "/a/prod/v1", "abcde12345|prod|/a/prod/v1|/v1")
	f("events.example.com", "/a/dev/v1", "abcde12345|dev|/a/dev/v1|/v1")
	f("events.example.com", "/a/none/v1", forbidden)
	f("events.example.com", "/a", forbidden)
	f("events.example.com", "/ab/v1", `403 {"message":"Missing Authentication Token"}`) // below (none)
	f("events.example.com", "/a/b/v1", "klmno12345|prod|/a/b/v1|/v1")                   // the longest; its own address is disabled
	f("events.example.com", "/gone/v1", forbidden)
	f("events.example.com", "/stale/v1", forbidden)
	f("events.example.com", "/ping", forbidden)
	f("other.example.com", "/only/v1", "abcde12345|dev|/only/v1|/v1")
	f("other.example.com", "/v1", forbidden)
	f("empty.example.com", "/v1", forbidden)
	f("a.other.example.com", "/prod/v1", "abcde12345|prod|/prod/v1|/v1") // a star is one label: no domain, so the short form
	f("127.0.0.1:8080", "/abcde12345/prod/v1", "abcde12345|prod|/prod/v1|/v1")

	var got []string
	for _, e := range s.Endpoints() {
		if e.API == "klmno12345" {
			got = append(got, e.LongPath)
			got = append(got, e.Domains...)
		}
	}
	if len(got) != 2 || got[0] != "" || got[1] != "events.example.com/a/b/v1" {
		t.Errorf("%q", got)
	}
	s.PublishDomains(nil)
	f("events.example.com", "/abcde12345/prod/v1", "abcde12345|prod|/prod/v1|/v1")
}

// A base path that begins as the stage is named is not taken for the stage.
func TestThePathOfACustomDomainIsWhole(t *testing.T) {
	k := says(letting("Allow", "*", ""))
	a := guarded("", 0)
	a.Stages["prod"].MethodSettings = map[string]*restapi.MethodSetting{"*/*": {LoggingLevel: restapi.LogInfo}}
	s := guarding(t, k, a)
	s.PublishDomains([]*restapi.Domain{{Name: "events.example.com", Mappings: []restapi.BasePathMapping{{BasePath: "production", APIID: a.ID, Stage: "prod"}}}})
	f := func(host, path, want string) {
		t.Helper()
		r := get(path, "X-Who", "me")
		r.Host = host
		s.expect(t, r, 200, "", "")
		var event struct{ Path string }
		if err := json.Unmarshal([]byte(k.events[len(k.events)-1]), &event); err != nil || event.Path != want {
			t.Errorf("%s: %q, want %q", path, event.Path, want)
		}
		if !strings.Contains(s.log.text(), "Resource Path: "+want+"\n") {
			t.Errorf("%s", s.log.text())
		}
	}
	f("events.example.com", "/production/request?q=1", "/production/request")
	f("127.0.0.1:8080", "/prod/request?q=1", "/request")
}
