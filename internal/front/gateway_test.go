package front

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"millrace/internal/gateway"
	"millrace/internal/ids"
	"millrace/internal/restapi"
)

// echo is an action that answers with the integration request.
type echo struct{}

func (echo) Action(string, string) (gateway.Action, bool) {
	return func(_ context.Context, c *gateway.Call) {
		c.Status, c.Out = 200, append(c.Out, c.Body...)
	}, true
}

// realGateway serves POST /v1/{stream-name} of the API abcde12345 in the stage prod: what its template renders comes
// back.
func realGateway(t *testing.T, budget *Budget, template string) *gateway.Gateway {
	t.Helper()
	post := &restapi.Method{
		HTTPMethod: "POST", AuthorizationType: "NONE",
		Responses: map[string]*restapi.MethodResponse{"200": {StatusCode: "200"}},
		Integration: &restapi.Integration{
			Type: restapi.AWS, HTTPMethod: "POST", URI: "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord",
			Credentials: "arn:aws:iam::000000000000:role/r", RequestTemplates: map[string]string{"application/json": template},
			Responses: map[string]*restapi.IntegrationResponse{"200": {StatusCode: "200"}},
		},
	}
	d := restapi.Definition{RootResourceID: "root", Resources: map[string]*restapi.Resource{
		"root": {ID: "root", Path: "/"},
		"v1":   {ID: "v1", ParentID: "root", PathPart: "v1", Path: "/v1"},
		"name": {ID: "name", ParentID: "v1", PathPart: "{stream-name}", Path: "/v1/{stream-name}", Methods: map[string]*restapi.Method{"POST": post}},
	}}
	a := &restapi.API{ID: "abcde12345", Name: "collector", Created: testTime,
		Deployments: map[string]*restapi.Deployment{"dep001": {ID: "dep001", Created: testTime, Definition: d}},
		Stages:      map[string]*restapi.Stage{"prod": {Name: "prod", DeploymentID: "dep001", Created: testTime}}}
	g, err := gateway.New(gateway.Options{Actions: echo{}, Account: ids.Account{Partition: "aws", Region: "us-east-1", ID: "000000000000"},
		IDs: ids.Seeded(1), Now: func() time.Time { return testTime }, Budget: budget})
	if err != nil {
		t.Fatal(err)
	}
	if warnings := g.Publish([]*restapi.API{a}, a.ID); len(warnings) > 0 {
		t.Fatal(warnings)
	}
	return g
}

// An event passes the real gateway in every form of address, compressed or not, and template and caller see what the
// service would show them.
func TestEventThroughTheGateway(t *testing.T) {
	budget := NewBudget(0)
	n := serve(t, Options{Budget: budget, Gateway: realGateway(t, budget,
		`$input.params('stream-name') $input.params('q') $input.params('X-Api-Key') $context.identity.sourceIp $context.path `+
			`$input.params('X-Forwarded-Port') $input.params('X-Amzn-Trace-Id').length() $input.json('$.id')`)})
	_, ingestPort, _ := strings.Cut(addr(n.IngestURL()), ":")
	_, awsPort, _ := strings.Cut(addr(n.AWSURL()), ":")
	f := func(url, host, encoding, body, want string) {
		t.Helper()
		r, err := http.NewRequest("POST", url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header["x-api-key"] = []string{"k"}
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		resp.Body.Close()
		if got := fmt.Sprint(resp.StatusCode, " ", &b); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
		trace := resp.Header.Get("X-Amzn-Trace-Id")
		if ok, _ := regexp.MatchString(`^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0$`, trace); resp.StatusCode == 200 && !ok {
			t.Errorf("%s: trace id %q", url, trace)
		}
	}
	defer http.DefaultClient.CloseIdleConnections()
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(`{"id":7}`))
	_ = z.Close()
	const id = "abcde12345"
	in, aws := n.IngestURL(), n.AWSURL()
	line := func(name, path, port string) string {
		return "200 " + name + " a b k 127.0.0.1 " + path + " " + port + " 40 7"
	}
	f(in+"/prod/v1/class-stream?q=a+b", "", "", `{"id":7}`, line("class-stream", "/prod/v1/class-stream", ingestPort))
	f(in+"/"+id+"/prod/v1/a%2Fb?q=a%20b", "", "", `{"id":7}`, line("a%2Fb", "/prod/v1/a%2Fb", ingestPort))
	f(in+"/prod/v1/s?q=a+b", id+".execute-api.us-east-1.amazonaws.com", "", `{"id":7}`, line("s", "/prod/v1/s", ingestPort))
	f(in+"/prod/v1/s?q=a+b", "", "gzip", zipped.String(), line("s", "/prod/v1/s", ingestPort))
	f(aws+"/restapis/"+id+"/prod/_user_request_/v1/s?q=a+b", "", "", `{"id":7}`, line("s", "/prod/v1/s", awsPort))
	f(aws+"/_aws/execute-api/"+id+"/prod/v1/s?q=a+b", "", "gzip", zipped.String(), line("s", "/prod/v1/s", awsPort))
	f(aws+"/prod/v1/s?q=a+b", id+".execute-api.localhost.localstack.cloud", "", `{"id":7}`, line("s", "/prod/v1/s", awsPort))
	f(in+"/prod/v2", "", "", `{}`, `403 {"message":"Missing Authentication Token"}`)
	f(in+"/none/v1/s", "", "", `{}`, `403 {"message":"Forbidden"}`)
	f(in+"/prod/v1/s", "", "gzip", "no gzip", `400 {"message": "Request body does not match its Content-Encoding"}`)
}

// A small body that inflates beyond what is allowed is refused, and its memory is given back.
func TestInflatedBodiesAreAccountedFor(t *testing.T) {
	budget := NewBudget(0)
	n := serve(t, Options{Budget: budget, Gateway: realGateway(t, budget, `$input.json('$.id')`)})
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, maxBodyBytes+1))
	_ = z.Close()
	c := dial(t, n.IngestURL())
	for range 3 {
		c.send(fmt.Sprintf("POST /prod/v1/s HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", bomb.Len(), &bomb))
		if resp, body := c.answer("POST"); resp.StatusCode != 413 || body != tooLongBody {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
}
