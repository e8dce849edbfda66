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
	"net/textproto"
	"slices"
	"strings"
	"time"

	"millrace/internal/app"
	"millrace/internal/catalog"
	"millrace/internal/delivery"
	"millrace/internal/fault"
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
	Signer   string    // the access key that has signed it; empty: it is not signed
	// Authorizer is what the functions of authorizers answer, JSON; empty: they can't be reached.
	Authorizer string
}

// Answer is what a backend is told to answer.
type Answer struct {
	Status int
	Header gateway.Header // of HTTP integrations and of calls of Amazon S3
	Body   string
}

// Call is a request that an integration made.
type Call struct {
	Action      string // "kinesis:PutRecord"; of an HTTP integration "http"
	Method, URL string // of HTTP integrations and of calls by path
	Header      gateway.Header
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
	t, err := d.build(ctx, &r, answer)
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
		req.Header = append(req.Header, gateway.Field{Name: textproto.CanonicalMIMEHeaderKey(f.Name), Value: f.Value})
	}
	// As package front has it of net/http: in one spelling, in the order of names.
	slices.SortStableFunc(req.Header, func(a, b gateway.Field) int { return strings.Compare(a.Name, b.Name) })
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
	request *Request
	apis    []*restapi.API
	actions gateway.Actions // that calls pass through
	answer  *Answer
	calls   []Call
	lines   []string
}

func (d *Definition) build(ctx context.Context, r *Request, answer *Answer) (*trial, error) {
	now := func() time.Time { return r.Time }
	source := ids.Seeded(definitionSeed)
	m := &memory{now: now, ids: source, streams: map[string]*stream.Stream{}, buckets: map[string]object.Bucket{}, deliveries: map[string]*delivery.Definition{}}
	for _, name := range d.streams {
		if _, err := m.CreateStream(ctx, stream.CreateStream{Name: name}); err != nil {
			return nil, err
		}
	}
	// All that a definition may ask for is there: whether a signature is good, and what functions say, is the request's to say.
	gate := restapi.Gate{Signatures: true, Functions: map[string]string{}}
	for _, f := range d.file.Functions() {
		gate.Functions[f] = "the request's"
	}
	docs := newCatalog()
	plan, err := d.file.Plan(ctx, template.Target{Streams: m, Buckets: bucketStore{m}, DeliveryStreams: deliveryStreams{memory: m},
		Catalog: docs, IDs: source, Now: now, Gate: gate, Node: "offline"}, false)
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
	t := &trial{memory: m, request: r, answer: answer, actions: app.NewActions(kin, fire)}
	t.gateway, err = gateway.New(gateway.Options{Actions: t, Sender: t, Account: account, IDs: ids.Seeded(requestSeed), Now: now,
		Gate: gate, Gatekeeper: t, Log: t, AccessLogs: noAccessLogs{}})
	if err != nil {
		return nil, err
	}
	if t.apis, err = (catalog.APIs{}).Deployed(docs.Snapshot()); err != nil {
		return nil, err
	}
	if err := t.meter(docs.Snapshot()); err != nil {
		return nil, err
	}
	domains, err := catalog.Domains{}.All(docs.Snapshot())
	if err != nil {
		return nil, err
	}
	t.gateway.PublishDomains(domains)
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
		t.note(service+":"+name, c)
		switch {
		case t.answer != nil:
			t.tell(c)
		case service == "s3":
			c.Status, c.Outcome, c.Out = 503, gateway.Unavailable, append(c.Out, untold...)
		default:
			run(ctx, c)
		}
	}, true
}

const untold = "without a node there is no backend here: say in the case's answer what it answers"

// Send takes the requests of HTTP integrations. No host is called: the case says what comes back.
func (t *trial) Send(_ context.Context, c *gateway.Call) error {
	t.note("http", c)
	if t.answer == nil {
		return fault.New(fault.Unavailable, "offline.Send", c.Target, untold)
	}
	t.tell(c)
	return nil
}

func (t *trial) note(action string, c *gateway.Call) {
	url := c.Target
	if c.Query != "" {
		url += "?" + c.Query
	}
	contentType := c.ContentType
	if contentType == "" {
		contentType = c.Header.Get("Content-Type")
	}
	t.calls = append(t.calls, Call{action, c.Verb, url, slices.Clone(c.Header), contentType, string(c.Body)})
}

func (t *trial) tell(c *gateway.Call) {
	c.Status, c.Outcome, c.Out = t.answer.Status, t.answer.outcome(), append(c.Out, t.answer.Body...)
	c.Answer = append(c.Answer, t.answer.Header...)
}

// Signer says who has signed: whom the request names.
func (t *trial) Signer(*gateway.Request) (string, *gateway.SignatureFault) {
	if t.request.Signer == "" {
		return "", &gateway.SignatureFault{Code: "MissingAuthenticationTokenException", Message: "Missing Authentication Token", Missing: true}
	}
	return t.request.Signer, nil
}

// Ask answers for the functions of authorizers.
func (t *trial) Ask(_ context.Context, function string, _ []byte) ([]byte, error) {
	if t.request.Authorizer == "" {
		return nil, fault.New(fault.Unavailable, "offline.Ask", function, "say in the request's authorizer what the function answers")
	}
	return []byte(t.request.Authorizer), nil
}

// meter gives the gateway the keys and plans of the file; nothing has been used of them.
func (t *trial) meter(s *catalog.Snapshot) error {
	keys, err := catalog.Keys{}.Keys(s)
	if err != nil {
		return err
	}
	plans, err := catalog.Keys{}.Plans(s)
	if err != nil {
		return err
	}
	t.gateway.SetPlans(keys, plans)
	return nil
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
