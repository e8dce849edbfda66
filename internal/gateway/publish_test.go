package gateway

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"millrace/internal/restapi"
	"millrace/vtl"
)

// A deployment is a snapshot: edits of the working copy, and of what was published, show only after a new one.
func TestEditsDoNotShowUntilDeployed(t *testing.T) {
	a := define("abcde12345", map[string]*restapi.Method{"GET /v": mock(`{"statusCode":200}`, map[string]string{"application/json": "one"})})
	s := serving(t, &fakeActions{}, a)
	get := func() string {
		r := post("/prod/v", "", "")
		r.Method = "GET"
		return string(s.do(r).Body)
	}
	a.Resources["/v"].Methods["GET"].Integration.Responses["200"].ResponseTemplates["application/json"] = "two"
	if got := get(); got != "one" {
		t.Errorf("before Publish: %s", got)
	}
	s.Publish([]*restapi.API{a}, a.ID)
	if got := get(); got != "one" {
		t.Errorf("before a deployment: %s", got)
	}
	deploy(a, "dep002", "prod")
	s.Publish([]*restapi.API{a}, a.ID)
	if got := get(); got != "two" {
		t.Errorf("after a deployment: %s", got)
	}
}

// Publishing again compiles nothing that is compiled.
func TestDeploymentsAreCompiledOnce(t *testing.T) {
	a := collector(t)
	s := serving(t, &fakeActions{}, a)
	before := s.current.Load().apis[a.ID].stages["prod"].def
	s.Publish([]*restapi.API{a}, a.ID)
	if after := s.current.Load().apis[a.ID].stages["prod"].def; after != before {
		t.Error("compiled again")
	}
	s.Publish(nil, "")
	if len(s.compiled) != 0 {
		t.Error("a deployment that no stage serves is kept")
	}
}

// What can't run is told with its place, and the rest serves.
func TestWarnings(t *testing.T) {
	m := putRecord(map[string]string{"application/json": "ok\n  #foreach($x in"})
	m.Integration.Responses["400"] = &restapi.IntegrationResponse{StatusCode: "400", SelectionPattern: "(?!200).*"}
	m.Integration.RequestParameters = map[string]string{"integration.request.header.X": "method.request.cookie.x"}
	a := define("abcde12345", map[string]*restapi.Method{"POST /bad": m, "POST /good": echo()})
	a.Stages["gone"] = &restapi.Stage{Name: "gone", DeploymentID: "none00"}
	s := serving(t, &fakeActions{}, a)
	s.compiled = nil
	var got []string
	var syntax *vtl.Error
	for _, err := range s.Publish([]*restapi.API{a}, a.ID) {
		var w *Warning
		if !errors.As(err, &w) || w.API != a.ID || w.APIName != "collector" {
			t.Fatalf("%#v", err)
		}
		errors.As(err, &syntax)
		got = append(got, w.Stage+" "+w.Verb+" "+w.Path+" "+w.Property)
	}
	want := []string{
		"gone ANY / deploymentId",
		"prod POST /bad integration.responses.400.selectionPattern",
		"prod POST /bad integration.requestParameters.integration.request.header.X",
		"prod POST /bad integration.requestTemplates.application/json",
		"prod POST /bad integration.responses.400",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if syntax == nil || syntax.Line != 2 {
		t.Errorf("the template's error: %v", syntax)
	}
	if resp := s.do(post("/prod/good", "", "")); resp.Status != 200 {
		t.Errorf("the rest does not serve: %d", resp.Status)
	}
}

// Requests see one snapshot each while others are published.
func TestPublishWhileServing(t *testing.T) {
	version := func(n int) *restapi.API {
		a := define("abcde12345", map[string]*restapi.Method{"POST /v": mock(fmt.Sprintf(`{"statusCode":200,"n":%d}`, n),
			map[string]string{"application/json": fmt.Sprintf("%d $context.deploymentId $stageVariables.n", n)})})
		a.Stages, a.Deployments = nil, nil
		deploy(a, fmt.Sprint("d", n), "prod")
		a.Stages["prod"].Variables = map[string]string{"n": fmt.Sprint(n)}
		return a
	}
	s := serving(t, &fakeActions{}, version(0))
	var callers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				body := string(s.do(post("/prod/v", "", "")).Body)
				var a, b, c int
				if n, _ := fmt.Sscanf(body, "%d d%d %d", &a, &b, &c); n != 3 || a != b || b != c {
					t.Errorf("mixed snapshots: %s", body)
					return
				}
			}
		})
	}
	for n := range 200 {
		s.Publish([]*restapi.API{version(n)}, "abcde12345")
	}
	close(stop)
	callers.Wait()
}
