// Package offline runs requests through the REST APIs of a definition file without a
// node: `millrace vtl test` and `millrace vtl render --trace` are made of it.
//
//	file ─ template.Load ─ Plan, Apply ─> catalog in memory ─ gateway.Publish
//	request ─ gateway.ServeTraced ─ the services' own doors ─> memory: records
//	                  └── an answer that the case tells, instead ──┘
//
// Nothing is done a second time: the file is planned and applied as `millrace up` does
// it, the gateway is the one that serves live traffic, and kinesis and firehose judge
// what reaches them. Only their engines are others: they keep the records of one request.
//
// Every request meets an API that has seen none before, at a time and with random ids
// that are the same in every run, so that what it gives can be compared.
package offline

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/internal/app"
	"millrace/internal/catalog"
	"millrace/internal/delivery"
	"millrace/internal/gateway"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/restapi"
	"millrace/internal/stream"
	"millrace/internal/template"
)

// account is where the definitions of tests live.
var account = ids.NewAccount("us-east-1", "000000000000")

// What a request is unless it says otherwise.
var defaultTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const defaultSourceIP = "192.0.2.1"

// The seeds of what is random: of the definition's ids, and of a request's.
const (
	definitionSeed = 1
	requestSeed    = 2
)

// Options say how to read a definition file.
type Options struct {
	Parameters map[string]string
	Stage      string   // that an OpenAPI file is deployed to; default "prod"
	Streams    []string // that there are beside those of the file
}

// Definition is a definition file that was read.
type Definition struct {
	file     *template.Template
	streams  []string
	Warnings []string // of what can't run, from the last request
}

// Load reads a definition file. Errors are all that is wrong with it.
func Load(file string, body []byte, o Options) (*Definition, error) {
	t, err := template.Load(file, body, template.Options{Parameters: o.Parameters, Stage: o.Stage, Account: account})
	if err != nil {
		return nil, err
	}
	return &Definition{file: t, streams: o.Streams}, nil
}

// Request is what a caller sends.
type Request struct {
	API      string // the name of the API; empty: the file's only one
	Method   string
	Target   string // "/prod/orders?limit=1", percent-encoded
	Header   gateway.Header
	Body     []byte
	SourceIP string    // default 192.0.2.1
	Time     time.Time // default the first moment of 2026
}

// Answer is what a backend is told to answer.
type Answer struct {
	Status int
	Body   string
}

// Call is a request that an integration made.
type Call struct {
	Action      string // "kinesis:PutRecord"
	ContentType string
	Body        string
}

// Exchange is all that came of a request.
type Exchange struct {
	Calls   []Call
	Records []Record
	Status  int
	Header  gateway.Header
	Body    string
	Trail   gateway.Trail
	Log     []string // error lines of the execution log
}

// Run sends a request. answer is what the backend says; nil: what the service says. An error means that the request
// can't be sent at all.
func (d *Definition) Run(ctx context.Context, r Request, answer *Answer) (*Exchange, error) {
	if r.Time.IsZero() {
		r.Time = defaultTime
	}
	t, err := d.build(ctx, r.Time, answer)
	if err != nil {
		return nil, err
	}
	host, err := t.host(r.API)
	if err != nil {
		return nil, err
	}
	req := &gateway.Request{
		Listener: gateway.Ingest, Method: r.Method, Host: host, RemoteIP: r.SourceIP, TLS: true, Body: r.Body, Received: r.Time,
	}
	if req.RemoteIP == "" {
		req.RemoteIP = defaultSourceIP
	}
	req.RawPath, req.RawQuery, _ = strings.Cut(r.Target, "?")
	for _, f := range r.Header {
		if strings.EqualFold(f.Name, "Host") {
			req.Host = f.Value
			continue
		}
		req.Header = append(req.Header, f)
	}
	out := &Exchange{}
	var resp gateway.Response
	t.gateway.ServeTraced(ctx, req, &resp, &out.Trail)
	out.Calls, out.Records, out.Log = t.calls, t.memory.records, t.lines
	out.Status, out.Header, out.Body = resp.Status, slices.Clone(resp.Header), string(resp.Body)
	if r.Method == "HEAD" {
		out.Body = ""
	}
	return out, nil
}

// trial is the definition, applied, for one request.
type trial struct {
	memory  *memory
	gateway *gateway.Gateway
	apis    []*restapi.API
	actions gateway.Actions // that calls pass through
	answer  *Answer
	calls   []Call
	lines   []string
}

func (d *Definition) build(ctx context.Context, at time.Time, answer *Answer) (*trial, error) {
	now := func() time.Time { return at }
	source := ids.Seeded(definitionSeed)
	m := &memory{now: now, ids: source, streams: map[string]*stream.Stream{}, buckets: map[string]object.Bucket{}, deliveries: map[string]*delivery.Definition{}}
	for _, name := range d.streams {
		if _, err := m.CreateStream(ctx, stream.CreateStream{Name: name}); err != nil {
			return nil, err
		}
	}
	docs := newCatalog()
	plan, err := d.file.Plan(ctx, template.Target{Streams: m, Buckets: bucketStore{m}, DeliveryStreams: deliveryStreams{memory: m},
		Catalog: docs, IDs: source, Now: now, Node: "offline"}, false)
	if err != nil {
		return nil, err
	}
	if _, err := plan.Apply(ctx, func(*template.Step) {}); err != nil {
		return nil, err
	}
	kin, fire, err := m.services()
	if err != nil {
		return nil, err
	}
	t := &trial{memory: m, answer: answer, actions: app.NewActions(kin, fire)}
	t.gateway, err = gateway.New(gateway.Options{Actions: t, Account: account, IDs: ids.Seeded(requestSeed), Now: now, Log: t, AccessLogs: noAccessLogs{}})
	if err != nil {
		return nil, err
	}
	if t.apis, err = (catalog.APIs{}).Deployed(docs.Snapshot()); err != nil {
		return nil, err
	}
	d.Warnings = d.Warnings[:0]
	for _, w := range t.gateway.Publish(t.apis, "") {
		d.Warnings = append(d.Warnings, w.Error())
	}
	return t, nil
}

// host gives the Host that reaches an API.
func (t *trial) host(name string) (string, error) {
	var names []string
	for _, api := range t.apis {
		if len(api.Stages) == 0 {
			continue
		}
		names = append(names, api.Name)
		if api.Name == name || name == "" && len(t.apis) == 1 {
			return api.ID + ".execute-api." + account.Region + ".amazonaws.com", nil
		}
	}
	switch {
	case len(names) == 0:
		return "", fmt.Errorf("the definition deploys no API to a stage")
	case name == "":
		return "", fmt.Errorf("the definition has several APIs; name one of %s", strings.Join(names, ", "))
	}
	return "", fmt.Errorf("there is no API %q; there is %s", name, strings.Join(names, ", "))
}

// Action finds what an integration calls, as on a node, and notes each call.
func (t *trial) Action(service, name string) (gateway.Action, bool) {
	run, ok := t.actions.Action(service, name)
	if !ok {
		return nil, false
	}
	return func(ctx context.Context, c *gateway.Call) {
		t.calls = append(t.calls, Call{service + ":" + name, c.ContentType, string(c.Body)})
		if t.answer == nil {
			run(ctx, c)
			return
		}
		c.Status, c.Outcome, c.Out = t.answer.Status, t.answer.outcome(), append(c.Out, t.answer.Body...)
	}, true
}

// outcome is what the service would have meant by an answer.
func (a *Answer) outcome() gateway.Outcome {
	switch {
	case a.Status >= 500:
		return gateway.Unavailable
	case a.Status >= 400:
		if strings.Contains(a.Body, "ThroughputExceeded") || strings.Contains(a.Body, "Throttling") {
			return gateway.Throttled
		}
		return gateway.Refused
	}
	var batch struct {
		FailedRecordCount, FailedPutCount int
		Records, RequestResponses         []json.RawMessage
	}
	if json.Unmarshal([]byte(a.Body), &batch) == nil {
		failed, all := batch.FailedRecordCount+batch.FailedPutCount, len(batch.Records)+len(batch.RequestResponses)
		if failed > 0 && failed == all {
			return gateway.Unavailable
		}
	}
	return gateway.OK
}

// Log keeps the lines that tell of errors.
func (t *trial) Log(l gateway.Line) {
	if l.Error {
		t.lines = append(t.lines, l.Text)
	}
}

// noAccessLogs takes the access logs of stages that want one; a case has nothing to say of them.
type noAccessLogs struct{}

func (noAccessLogs) AccessLog(*restapi.AccessLog) (gateway.LineWriter, error) {
	return noAccessLogs{}, nil
}

func (noAccessLogs) Write([]byte) {}
