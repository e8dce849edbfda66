// Package gateway serves deployed REST APIs: it takes a caller's event, maps it with
// the definition's templates, runs an AWS action, an HTTP request or a mock, and maps
// the answer.
//
//	Request ─ address ─ tree ─ arrival ─ validation ─ templates, parameters ─ Action ─ choice ─ templates ─> Response
//	            └────────── snapshot: immutable, swapped whole by Publish ──────────┘
//
// It promises that a caller is never told of success when the action reports that a
// record was not stored (unless Options.ExactResponses asks for the service's own
// masking), that a running request sees one definition from start to end, and that
// what a deployment can't do is told when it is published and answered with 500.
//
// It knows neither net/http nor Kinesis: requests and responses are its own nouns
// ([Request], [Response]), actions come by name from [Actions], and HTTP integrations
// are sent by a [Sender].
package gateway

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/restapi"
)

// Budget bounds the bytes that inflated bodies may hold; the front's budget of body bytes is one.
type Budget interface {
	Take(n int64) bool
	Give(n int64)
}

// Options make a [Gateway]. Fields without a default are required.
type Options struct {
	Actions Actions
	Sender  Sender // of HTTP integrations; default: none, and they answer 500
	Account ids.Account
	IDs     *ids.Source
	Now     func() time.Time
	// TrustedProxies are the networks whose X-Forwarded-For is believed: a caller's address is the rightmost hop
	// that is in none of them. Empty: the connection's address.
	TrustedProxies []netip.Prefix
	// ExactResponses lets a default response of 2xx hide a backend's failure, as the service does.
	ExactResponses bool
	// AccountThrottle sets the service's throttle of an account before all methods.
	AccountThrottle bool
	Gate            restapi.Gate // what callers can be checked with; default: nothing, so that only methods of type NONE serve
	Gatekeeper      Gatekeeper   // required when Gate is set
	Budget          Budget       // default: none
	Answers         Budget       // the same, for what backends answer; default: Budget
	Log             LogSink      // execution logs; default: errors to Logger
	AccessLogs      AccessLogs   // default: none, which is told of stages that want one
	Logger          *slog.Logger
}

// Gateway serves deployed APIs. It is safe for concurrent use.
type Gateway struct {
	Options
	current atomic.Pointer[snapshot]
	domains atomic.Pointer[domainTable]
	clock   clock

	metering  metering
	decisions decisions // of authorizers

	publishing sync.Mutex
	compiled   map[deploymentKey]*definition // of the current snapshot
	counters   map[methodKey]*methodCounter  // likewise
}

type deploymentKey struct{ api, deployment string }

// New makes a gateway that serves nothing yet.
func New(o Options) (*Gateway, error) {
	if o.Actions == nil || o.IDs == nil || o.Now == nil {
		return nil, fault.New(fault.Internal, "gateway.New", "", "Actions, IDs and Now are required")
	}
	if o.Answers == nil {
		o.Answers = o.Budget
	}
	if o.Gatekeeper == nil && (o.Gate.Signatures || len(o.Gate.Functions) > 0) {
		return nil, fault.New(fault.Internal, "gateway.New", "", "a Gate needs a Gatekeeper")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Log == nil {
		o.Log = NewSlogSink(o.Logger, o.Now)
	}
	g := &Gateway{Options: o}
	g.metering.open(o.Now())
	g.current.Store(&snapshot{})
	g.domains.Store(&domainTable{})
	return g, nil
}

// snapshot is all that is served at one moment.
type snapshot struct {
	apis  map[string]*api
	short *api // owns the short address; may be nil
	list  []Endpoint
}

type api struct {
	id, name string
	disabled bool // disableExecuteApiEndpoint
	stages   map[string]*stage
}

// FirstCreated gives the id of the oldest API that has a stage, "" when none has: the one to give the short address
// to when nothing is configured. Keep the answer, so that the address never moves by itself.
func FirstCreated(apis []*restapi.API) string {
	var first *restapi.API
	for _, a := range apis {
		if len(a.Stages) == 0 {
			continue
		}
		if first == nil || a.Created.Before(first.Created) || a.Created.Equal(first.Created) && a.ID < first.ID {
			first = a
		}
	}
	if first == nil {
		return ""
	}
	return first.ID
}

// Publish serves apis from now on, and nothing else. short is the id of the API that owns the short address; empty:
// none does. A deployment is compiled once; later edits of what is passed in have no effect until the next Publish.
// Each part that can't run is told as a [*Warning], when its deployment is compiled; the rest is served.
func (g *Gateway) Publish(apis []*restapi.API, short string) []error {
	g.publishing.Lock()
	defer g.publishing.Unlock()
	next := &snapshot{apis: make(map[string]*api, len(apis))}
	p := publication{g: g, compiled: map[deploymentKey]*definition{}, counters: map[methodKey]*methodCounter{}}
	for _, src := range apis {
		a := &api{id: src.ID, name: src.Name, disabled: src.DisableExecuteAPIEndpoint, stages: map[string]*stage{}}
		next.apis[src.ID] = a
		for _, name := range slices.Sorted(maps.Keys(src.Stages)) {
			if s := p.stage(src, src.Stages[name]); s != nil {
				a.stages[name] = s
			}
		}
	}
	next.short = next.apis[short]
	next.list = endpoints(next)
	g.compiled, g.counters = p.compiled, p.counters
	g.metering.attach(next)
	g.current.Store(next)
	return p.warnings
}

// publication is what one Publish gathers.
type publication struct {
	g        *Gateway
	compiled map[deploymentKey]*definition
	counters map[methodKey]*methodCounter
	warnings []error
}

// stage gives what is served of a stage; nil: nothing.
func (p *publication) stage(src *restapi.API, s *restapi.Stage) *stage {
	def := p.deployment(src, s, s.DeploymentID)
	if def == nil {
		return nil
	}
	var canary *definition
	if s.Canary != nil {
		canary = p.deployment(src, s, s.Canary.DeploymentID)
	}
	out, problems := p.g.newStage(src.ID, s, def, canary, p.counters)
	for _, err := range problems {
		p.warnings = append(p.warnings, &Warning{src.ID, src.Name, s.Name, "/", "ANY", "settings of the stage", err})
	}
	return out
}

// deployment compiles a deployment, unless it is compiled.
func (p *publication) deployment(src *restapi.API, s *restapi.Stage, id string) *definition {
	key := deploymentKey{src.ID, id}
	if def := p.compiled[key]; def != nil {
		return def
	}
	d := src.Deployments[id]
	if d == nil || d.Definition.Resources == nil {
		p.warnings = append(p.warnings, &Warning{src.ID, src.Name, s.Name, "/", "ANY", "deploymentId",
			fault.New(fault.NotFound, "gateway.Publish", id, "the stage points to a deployment that is not there")})
		return nil
	}
	def := p.g.compiled[key]
	if def == nil {
		def = compileDefinition(src.ID, &d.Definition, p.g.Actions, p.g.Sender)
		p.g.guards(def, &d.Definition, src.ID)
		for _, w := range def.warnings {
			w.API, w.APIName, w.Stage = src.ID, src.Name, s.Name
			p.warnings = append(p.warnings, &w)
		}
	}
	p.compiled[key] = def
	return def
}

// Endpoint is a method that can be called.
type Endpoint struct {
	API      string `json:"api"`
	APIName  string `json:"apiName"`
	Stage    string `json:"stage"`
	Method   string `json:"method"`
	Path     string `json:"path"`      // behind the stage: "/v1/{stream-name}"
	LongPath string `json:"longPath"`  // on the ingest listener: "/{api-id}/{stage}/v1/{stream-name}"; empty where custom domains alone lead to it
	Short    string `json:"shortPath"` // the same in the short form; empty where the API does not own it
	// Domains are the addresses of the method by custom domain names: "events.example.com/v1/{stream-name}".
	Domains []string `json:"domains,omitempty"`
	Broken  string   `json:"broken,omitempty"`
}

// Endpoints lists what is served, in the order of APIs, stages, paths and verbs.
func (g *Gateway) Endpoints() []Endpoint {
	all, domains := slices.Clone(g.current.Load().list), g.domains.Load()
	for i := range all {
		all[i].Domains = domains.addresses(all[i].API, all[i].Stage, all[i].Path)
	}
	return slices.DeleteFunc(all, func(e Endpoint) bool { return e.LongPath == "" && len(e.Domains) == 0 })
}

func endpoints(s *snapshot) []Endpoint {
	var all []Endpoint
	for _, id := range slices.Sorted(maps.Keys(s.apis)) {
		a := s.apis[id]
		for _, name := range slices.Sorted(maps.Keys(a.stages)) {
			for _, m := range a.stages[name].def.methods {
				e := Endpoint{API: id, APIName: a.name, Stage: name, Method: m.verb, Path: m.resourcePath, Broken: m.cannot()}
				path := "/" + name + strings.TrimSuffix(m.resourcePath, "/")
				if !a.disabled {
					e.LongPath = "/" + id + path
				}
				if a == s.short && s.apis[name] == nil && !a.disabled {
					e.Short = path
				}
				all = append(all, e)
			}
		}
	}
	return all
}

// Serve answers one request; it does all from address to headers. resp must be empty. Nothing of req is kept.
func (g *Gateway) Serve(ctx context.Context, req *Request, resp *Response) {
	x := exchanges.Get().(*exchange)
	defer x.finish() // also when an action panics: the budget gets back what was taken of it
	x.begin(g, req, resp)
	x.serve(ctx)
	x.account()
}
