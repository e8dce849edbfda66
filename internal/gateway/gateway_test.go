package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/ids"
	"millrace/internal/restapi"
)

var testTime = time.Date(2026, 11, 24, 8, 30, 15, 123e6, time.UTC)

// fakeActions answers what a test tells it to, and keeps what it was called with.
type fakeActions struct {
	mu     sync.Mutex
	bodies []string
	types  []string
	reply  func(c *Call)
	wait   bool // until the context ends
}

var served = map[string]bool{"kinesis:PutRecord": true, "kinesis:PutRecords": true, "firehose:PutRecord": true, "firehose:PutRecordBatch": true}

const putRecordAnswer = `{"SequenceNumber":"49590338271490256608559692538361571095921575989136588898","ShardId":"shardId-000000000000"}`

func (f *fakeActions) Action(service, name string) (Action, bool) {
	return f.run, served[service+":"+name]
}

func (f *fakeActions) run(ctx context.Context, c *Call) {
	f.mu.Lock()
	f.bodies, f.types = append(f.bodies, string(c.Body)), append(f.types, c.ContentType)
	reply := f.reply
	f.mu.Unlock()
	if f.wait {
		<-ctx.Done()
		c.Status, c.Outcome, c.Out = 500, Unavailable, append(c.Out, `{"__type":"InternalFailure"}`...)
		return
	}
	if reply != nil {
		reply(c)
		return
	}
	c.Status, c.Out = 200, append(c.Out, putRecordAnswer...)
}

func (f *fakeActions) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.bodies) == 0 {
		return ""
	}
	return f.bodies[len(f.bodies)-1]
}

// answering makes actions that always give one answer.
func answering(status int, outcome Outcome, body string) *fakeActions {
	return &fakeActions{reply: func(c *Call) { c.Status, c.Outcome, c.Out = status, outcome, append(c.Out, body...) }}
}

// logged keeps execution logs.
type logged struct {
	mu    sync.Mutex
	lines []Line
}

func (l *logged) Log(line Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, line := range l.lines {
		level := "info "
		if line.Error {
			level = "error"
		}
		fmt.Fprintf(&b, "%s (%s) %s\n", level, line.RequestID, line.Text)
	}
	return b.String()
}

func read(t testing.TB, name string) string {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

// define builds an API of methods given as "POST /v1/{stream-name}", deployed to stage prod.
func define(id string, methods map[string]*restapi.Method) *restapi.API {
	a := &restapi.API{ID: id, Name: "collector", Created: testTime}
	a.Definition = restapi.Definition{RootResourceID: "root", Resources: map[string]*restapi.Resource{"root": {ID: "root", Path: "/"}}}
	for key, m := range methods {
		verb, path, _ := strings.Cut(key, " ")
		parent := a.Resources["root"]
		at := ""
		for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
			if part == "" {
				break
			}
			at += "/" + part
			r := a.Resources[at]
			if r == nil {
				r = &restapi.Resource{ID: at, ParentID: parent.ID, PathPart: part, Path: at}
				a.Resources[at] = r
			}
			parent = r
		}
		if parent.Methods == nil {
			parent.Methods = map[string]*restapi.Method{}
		}
		m.HTTPMethod, m.AuthorizationType = verb, "NONE"
		parent.Methods[verb] = m
	}
	deploy(a, "dep001", "prod")
	return a
}

func deploy(a *restapi.API, deployment, stage string) {
	if a.Deployments == nil {
		a.Deployments, a.Stages = map[string]*restapi.Deployment{}, map[string]*restapi.Stage{}
	}
	a.Deployments[deployment] = &restapi.Deployment{ID: deployment, Created: testTime, Definition: *a.Definition.Clone()}
	a.Stages[stage] = &restapi.Stage{Name: stage, DeploymentID: deployment, Created: testTime}
}

// putRecord is a method that calls kinesis:PutRecord and maps everything to 200, as the tutorials do.
func putRecord(templates map[string]string) *restapi.Method {
	return &restapi.Method{
		Responses: map[string]*restapi.MethodResponse{"200": {StatusCode: "200"}},
		Integration: &restapi.Integration{
			Type: restapi.AWS, HTTPMethod: "POST", URI: "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord",
			Credentials: "arn:aws:iam::000000000000:role/collector", PassthroughBehavior: restapi.Never,
			RequestTemplates: templates,
			Responses:        map[string]*restapi.IntegrationResponse{"200": {StatusCode: "200"}},
		},
	}
}

// mock is a method that answers without a backend.
func mock(request string, responseTemplates map[string]string) *restapi.Method {
	return &restapi.Method{
		Responses: map[string]*restapi.MethodResponse{"200": {StatusCode: "200"}},
		Integration: &restapi.Integration{
			Type: restapi.Mock, PassthroughBehavior: restapi.WhenNoMatch,
			RequestTemplates: map[string]string{"application/json": request},
			Responses:        map[string]*restapi.IntegrationResponse{"200": {StatusCode: "200", ResponseTemplates: responseTemplates}},
		},
	}
}

func collector(t testing.TB) *restapi.API {
	return define("abcde12345", map[string]*restapi.Method{
		"POST /v1/{stream-name}": putRecord(map[string]string{
			"application/json": read(t, "json.vtl"), "application/x-www-form-urlencoded": read(t, "form.vtl"),
		}),
	})
}

type server struct {
	*Gateway
	actions *fakeActions
	log     *logged
}

func serving(t testing.TB, actions *fakeActions, apis ...*restapi.API) server {
	return servingWith(t, Options{}, actions, apis...)
}

func servingWith(t testing.TB, o Options, actions *fakeActions, apis ...*restapi.API) server {
	t.Helper()
	s := server{actions: actions, log: &logged{}}
	o.Actions, o.IDs, o.Now = actions, ids.Seeded(1), func() time.Time { return testTime }
	o.Account, o.Log = ids.Account{Partition: "aws", Region: "us-east-1", ID: "000000000000"}, s.log
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Gateway = g
	g.Publish(apis, apis[0].ID)
	return s
}

// post makes a request as the ingest listener would.
func post(path, contentType, body string) *Request {
	r := &Request{Method: "POST", RawPath: path, Host: "127.0.0.1:8080", RemoteIP: "127.0.0.1", Port: "8080", Received: testTime, Body: []byte(body)}
	if contentType != "" {
		r.Header = Header{{"Content-Type", contentType}}
	}
	if p, q, ok := strings.Cut(path, "?"); ok {
		r.RawPath, r.RawQuery = p, q
	}
	return r
}

func (s server) do(r *Request) *Response {
	resp := &Response{}
	s.Serve(context.Background(), r, resp)
	return resp
}

// An event is mapped, put, and answered with the sequence number.
func TestEventReachesTheStream(t *testing.T) {
	s := serving(t, &fakeActions{}, collector(t))
	f := func(contentType, body, wantData, wantStream string) {
		t.Helper()
		resp := s.do(post("/prod/v1/from-path", contentType, body))
		if resp.Status != 200 || string(resp.Body) != putRecordAnswer {
			t.Fatalf("%d %s\n%s", resp.Status, resp.Body, s.log.text())
		}
		var put struct {
			Data                     []byte
			PartitionKey, StreamName string
		}
		if err := json.Unmarshal([]byte(s.actions.last()), &put); err != nil {
			t.Fatalf("%v in %s", err, s.actions.last())
		}
		if string(put.Data) != wantData || put.StreamName != wantStream {
			t.Errorf("put %q to %s, want %q to %s", put.Data, put.StreamName, wantData, wantStream)
		}
		trace := resp.Header.Get("X-Amzn-Trace-Id")
		if len(put.PartitionKey) != 40 || !strings.HasPrefix(trace, put.PartitionKey+";Parent=") {
			t.Errorf("partition key %q, answered trace id %q", put.PartitionKey, trace)
		}
	}
	f("application/json", `{"id":7,"name":"ada"}`, `{"id":7,"name":"ada"}`+"\n", "class-stream")
	f("Application/JSON; charset=utf-8", `{"id":7}`, `{"id":7}`+"\n", "class-stream")
	f("", `{"id":7}`, `{"id":7}`+"\n", "class-stream")
	f("application/x-www-form-urlencoded", `id=7&name=a%20b`, `{"id" : "7","name" : "a b"}`+"\n", "from-path")
	if s.log.text() != "" {
		t.Errorf("good requests were logged:\n%s", s.log.text())
	}
}

// dump writes a response as a file shows it.
func dump(r *Response) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d\n", r.Status)
	for _, f := range r.Header {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	fmt.Fprintf(&b, "\n%s\n", r.Body)
	return b.Bytes()
}
