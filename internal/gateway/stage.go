package gateway

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"millrace/internal/gateway/mapping"
	"millrace/internal/restapi"
)

// stage is a stage as it is served, or its canary: the same stage with another deployment and other variables.
type stage struct {
	name         string
	deploymentID string
	def          *definition
	variables    mapping.Params
	settings     []restapi.MethodSetting // by method.index
	counters     []*methodCounter        // by method.index; nil: the method is not counted
	meter        *stageMeter             // of keys, throttles and quotas; a canary's is its stage's
	access       *accessLog              // nil: there is none
	tracing      bool
	group        string // the log group of its execution logs
	isCanary     string // $context.isCanaryRequest: "true", "false"; empty when the stage has no canary

	canary  *stage
	percent float64 // of requests that the canary gets
}

// ExecutionLogGroup names the log group that a stage's execution logs go to.
func ExecutionLogGroup(api, stage string) string {
	return "API-Gateway-Execution-Logs_" + api + "/" + stage
}

// newStage makes what is served of a stage; canary is nil when it has none. What can't be as it is asked for is told.
func (g *Gateway) newStage(api string, s *restapi.Stage, def, canary *definition, counters map[methodKey]*methodCounter) (*stage, []error) {
	access, err := g.accessLogOf(s)
	var problems []error
	if err != nil {
		problems = append(problems, err)
	}
	out := &stage{
		name: s.Name, deploymentID: s.DeploymentID, variables: params(s.Variables), access: access,
		tracing: s.TracingEnabled, group: ExecutionLogGroup(api, s.Name),
	}
	if !g.settle(out, api, s, def, counters) {
		problems = append(problems, errTooManyCounted)
	}
	if canary == nil {
		return out, problems
	}
	variables := maps.Clone(s.Variables)
	if variables == nil {
		variables = map[string]string{}
	}
	maps.Copy(variables, s.Canary.Overrides)
	c := *out
	c.deploymentID, c.variables, c.group, c.isCanary = s.Canary.DeploymentID, params(variables), out.group+"/Canary", "true"
	g.settle(&c, api, s, canary, counters)
	out.isCanary, out.canary, out.percent = "false", &c, s.Canary.Percent
	return out, problems
}

var errTooManyCounted = errors.New("metricsEnabled: so many methods are counted one by one that these are not")

// settle fills in what hangs on the methods of a deployment.
func (g *Gateway) settle(out *stage, api string, s *restapi.Stage, def *definition, counters map[methodKey]*methodCounter) (ok bool) {
	ok = true
	out.def = def
	out.settings, out.counters = make([]restapi.MethodSetting, len(def.methods)), make([]*methodCounter, len(def.methods))
	for i, m := range def.methods {
		out.settings[i] = s.SettingFor(m.resourcePath, m.verb)
		var full bool
		out.counters[i], full = g.counterFor(methodKey{api, s.Name, m.verb, m.resourcePath}, &out.settings[i], counters)
		ok = ok && !full
	}
	return ok
}

func params(m map[string]string) (all mapping.Params) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all = append(all, mapping.Param{Name: name, Value: m[name]})
	}
	return all
}

// drawn gives the stage that a request is for: the stage itself, or its canary. Each request draws.
func (x *exchange) drawn(s *stage) *stage {
	if s.canary == nil {
		return s
	}
	var random [8]byte
	x.g.IDs.Read(random[:])
	const bits = 53 // of a float64's
	if float64(binary.LittleEndian.Uint64(random[:])>>(64-bits))/(1<<bits)*100 < s.percent {
		return s.canary
	}
	return s
}

// account tells the access log and the counters of a request what became of it.
func (x *exchange) account() {
	s := x.stage
	if s == nil {
		return
	}
	if s.access != nil {
		x.total = x.g.Now().Sub(x.req.Received)
		x.line = s.access.appendLine(x.line[:0], x)
		s.access.to.Write(x.line)
	}
	if x.method == nil {
		return
	}
	if c := s.counters[x.method.index]; c != nil {
		x.total = x.g.Now().Sub(x.req.Received)
		c.count(x)
	}
}

// measured reports whether somebody wants to know how long the backend took.
func (x *exchange) measured() bool {
	return x.stage.access != nil || x.stage.counters[x.method.index] != nil
}
