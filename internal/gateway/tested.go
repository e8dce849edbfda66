package gateway

import (
	"context"
	"strings"
	"time"

	"millrace/internal/fault"
	"millrace/internal/gateway/mapping"
	"millrace/internal/restapi"
)

// TestRequest is a request to a method of a working copy.
type TestRequest struct {
	PathWithQuery  string // "/pets/7?a=b"; empty: the resource's path
	Header         Header
	Body           []byte
	StageVariables map[string]string
}

// TestResult is what came of it. The call itself succeeds also where the method fails.
type TestResult struct {
	Status  int
	Header  Header
	Body    []byte
	Log     string // the service's, a line for each step
	Latency time.Duration
}

// What a tested method sees of the stage and the caller that there are not.
const (
	testStage    = "test-invoke-stage"
	testSourceIP = "test-invoke-source-ip"
	testDomain   = "testPrefix.testDomainName"
)

// Test runs a method of an API's working copy, as TestInvokeMethod does: without a deployment, an authorizer or a key,
// and with its real backend. It is compiled for this one call, alone, which costs what its templates cost; so nothing
// has to be kept, and nothing can be old.
func (g *Gateway) Test(ctx context.Context, a *restapi.API, resourceID, verb string, in TestRequest) (*TestResult, error) {
	r := a.Resources[resourceID]
	if r == nil {
		return nil, fault.New(fault.NotFound, "gateway.Test", resourceID, "Invalid Resource identifier specified")
	}
	m := r.Methods[verb]
	if m == nil {
		m = r.Methods["ANY"]
	}
	v, known := verbOf(verb)
	if m == nil || !known {
		return nil, fault.New(fault.NotFound, "gateway.Test", verb, "Invalid Method identifier specified")
	}
	if m.Integration == nil {
		return nil, fault.New(fault.Invalid, "gateway.Test", verb, "No integration defined for method")
	}
	x := exchanges.Get().(*exchange)
	defer x.finish()
	t := &test{}
	resp := &Response{}
	path, query, _ := strings.Cut(in.PathWithQuery, "?")
	if path == "" {
		path = r.Path
	}
	req := &Request{
		Method: verb, RawPath: path, RawQuery: query, Header: in.Header, Body: in.Body, Received: g.Now(),
		Host: testDomain, RemoteIP: testSourceIP, TLS: true,
	}
	x.begin(g, req, resp)
	x.test = t
	var stream *testCaller
	if m.Integration.Streams() {
		stream = newTestCaller(ctx)
		defer stream.end()
		resp.Caller = stream
	}
	x.onTheSide(a, r, m, v, in.StageVariables)
	x.arriveTested(path)
	x.logArrival()
	x.execute(ctx)
	if stream != nil {
		stream.finish(resp)
	}
	return &TestResult{
		Status: resp.Status, Header: x.testedHeader(), Body: resp.Body,
		Log:     "Execution log for request " + x.requestID + "\n" + t.log.String(),
		Latency: g.Now().Sub(req.Received),
	}, nil
}

// test is what an exchange keeps of a method that is tested.
type test struct{ log strings.Builder }

// maxTestLog bounds the log of one test; what is beyond it is cut, as a line of it is.
const maxTestLog = 4 << 20

func (t *test) add(at time.Time, text string) {
	if t.log.Len()+len(text) > maxTestLog {
		text = "[TRUNCATED]"
	}
	t.log.WriteString(at.UTC().Format("Mon Jan 02 15:04:05 UTC 2006"))
	t.log.WriteString(" : ")
	t.log.WriteString(text)
	t.log.WriteByte('\n')
}

// onTheSide makes a stage of this one method, which logs everything, and matches the path.
func (x *exchange) onTheSide(a *restapi.API, r *restapi.Resource, m *restapi.Method, v verb, variables map[string]string) {
	open := *m
	open.AuthorizationType, open.AuthorizerID, open.APIKeyRequired = "NONE", "", false
	one := a.Definition
	one.RootResourceID = r.ID
	one.Resources = map[string]*restapi.Resource{
		r.ID: {ID: r.ID, Path: r.Path, PathPart: r.PathPart, Methods: map[string]*restapi.Method{m.HTTPMethod: &open}},
	}
	def := compileDefinition(a.ID, &one, x.g.Actions, x.g.Sender)
	x.api = &api{id: a.ID, name: a.Name}
	x.stage, _ = x.g.newStage(a.ID, &restapi.Stage{
		Name: testStage, Variables: variables,
		MethodSettings: map[string]*restapi.MethodSetting{"*/*": {LoggingLevel: restapi.LogInfo, DataTraceEnabled: true}},
	}, def, nil, nil)
	x.method = def.methods[0]
	x.setting = x.stage.settings[0]
	root := &node{}
	leaf := root
	for part := range strings.SplitSeq(strings.Trim(r.Path, "/"), "/") {
		if part != "" {
			leaf = leaf.add(part)
		}
	}
	leaf.methods[v] = x.method
	if found, params := root.match(x.req.RawPath, v, x.path[:0]); found != nil {
		x.path = params
	}
}

// arriveTested fills in what templates see: of headers only those that the test gives, and of whatever type it says
// the payload is, JSON.
func (x *exchange) arriveTested(path string) {
	x.arrive(target{api: x.api, stage: x.stage, path: path, full: path})
	x.header = x.header[:0]
	for _, f := range x.req.Header {
		if !dropped(f.Name) || strings.EqualFold(f.Name, "Host") {
			x.header = append(x.header, mapping.Param(f))
		}
	}
	x.in.Header = x.header
	x.contentType = typeJSON
}

// testedHeader gives the headers of a test's answer, in the service's order: the front door's are not there, and of a
// failure's only its type.
func (x *exchange) testedHeader() (h Header) {
	for _, f := range x.resp.Header {
		switch {
		case strings.EqualFold(f.Name, "x-amzn-RequestId"), strings.EqualFold(f.Name, "x-amz-apigw-id"):
		case x.refused && strings.EqualFold(f.Name, "Content-Type"):
		case strings.EqualFold(f.Name, headerTrace):
			h = append(Header{f}, h...)
		default:
			h = append(h, f)
		}
	}
	return h
}
