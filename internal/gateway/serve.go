package gateway

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"millrace/internal/gateway/mapping"
	"millrace/internal/restapi"
)

// serve is the whole way of a request. The order of its steps is the service's: what the caller did wrong at the door
// comes before what its payload lacks.
func (x *exchange) serve(ctx context.Context) {
	if bad := x.tooLarge(); bad != nil {
		x.fail(bad, "")
		return
	}
	t, bad := x.g.current.Load().resolve(x.g.domains.Load(), x.req.Listener, x.req.Host, x.req.RawPath)
	if bad != nil {
		x.fail(bad, "")
		return
	}
	t.stage = x.drawn(t.stage)
	x.api, x.stage = t.api, t.stage
	x.resp.API, x.resp.Stage = t.api.id, t.stage.name
	v, known := verbOf(x.verb())
	if known && v != verbANY {
		x.method, x.path = t.stage.def.root.match(t.path, v, x.path[:0])
	}
	x.arrive(t)
	if x.method == nil {
		x.fail(errMissingToken, "")
		return
	}
	x.resp.Resource = x.method.resourcePath
	x.setting = t.stage.settings[x.method.index]
	if x.informs() {
		x.logArrival()
	}
	if x.method.guard != nil && !x.authorize(ctx, t.path) {
		return
	}
	if !x.meter() {
		return
	}
	x.execute(ctx)
}

// execute is the way of a request that has found its method and may call it. A test of a method begins here.
func (x *exchange) execute(ctx context.Context) {
	if x.method.broken != "" {
		x.brokenAPI(x.method.broken)
		return
	}
	if bad := x.inflate(); bad != nil {
		x.fail(bad, "Request body could not be decompressed")
		return
	}
	if x.tracing() {
		x.traceArrival()
	}
	if x.method.validation != nil && !x.validate() {
		return
	}
	if x.integrateMeasured(ctx) && !x.streaming.begun {
		if x.tracing() {
			x.traceAnswer()
		}
		x.respond()
	}
	x.logEnd()
	if x.test == nil { // a test shows the body as it is
		x.compress()
	}
}

func (x *exchange) tooLarge() *failure {
	if len(x.req.Body) > maxBodyBytes {
		return errTooLarge
	}
	if len(x.req.RawPath)+len(x.req.RawQuery) > maxURIBytes {
		return errURITooLong
	}
	n := 0
	for _, f := range x.req.Header {
		n += len(f.Name) + len(f.Value)
	}
	if n > maxHeaderBytes {
		return errHeadersTooBig
	}
	return nil
}

// integrate makes the integration request and calls the backend. When it returns false the response is written.
func (x *exchange) integrate(ctx context.Context) bool {
	m := x.method
	if m.proxy {
		return x.proxy(ctx)
	}
	tmpl, pass := x.chooseTemplate()
	if x.tracing() {
		x.traceTemplate(tmpl, pass)
	}
	if tmpl == nil && !pass {
		x.fail(errMediaType, "Unsupported Media Type: "+x.contentTypeOrJSON())
		return false
	}
	raw, err := x.convertRequest()
	if err != nil {
		return x.brokenAPI("Unable to base64 decode the body: " + err.Error())
	}
	x.in.Body = text(x.body)
	if len(m.parameters) > 0 && !x.mapParameters() {
		return false
	}
	request := x.body
	if tmpl != nil {
		if request = x.render(tmpl, raw); request == nil {
			return false
		}
	}
	if x.tracing() {
		x.traceParameters()
	}
	if !x.override() {
		return false
	}
	if x.tracing() {
		x.traceRequest(request)
	}
	if m.mock {
		return x.callMock(request)
	}
	if m.kind == restapi.HTTP {
		return x.callHTTP(ctx, request)
	}
	return x.callAction(ctx, request)
}

func (x *exchange) integrateMeasured(ctx context.Context) bool {
	if !x.measured() {
		return x.integrate(ctx)
	}
	begun := x.g.Now()
	ok := x.integrate(ctx)
	x.integration = x.g.Now().Sub(begun)
	return ok
}

// chooseTemplate picks by media type. pass: the payload goes on as it is.
func (x *exchange) chooseTemplate() (tmpl *template, pass bool) {
	m := x.method
	if t := m.templates.find(x.contentTypeOrJSON()); t != nil {
		if t.code == nil && t.broken == "" {
			return nil, true // an empty template
		}
		return t, false
	}
	switch m.passthrough {
	case restapi.Never:
		return nil, false
	case restapi.WhenNoTemplates:
		return nil, len(m.templates.list) == 0
	}
	return nil, true
}

// nothing is a rendering of no bytes, apart from nil, which says that there is none.
var nothing = []byte{}

// render runs a request template; nil when it failed, and the response is written.
func (x *exchange) render(t *template, raw bool) []byte {
	if t.broken != "" {
		x.misconfigured("Unable to transform request: " + t.broken)
		return nil
	}
	if raw && !isText(x.body) {
		x.misconfigured("Unable to transform request: the payload is binary; a template reads text")
		return nil
	}
	out, err := t.code.Render(x.rendered[:0], &x.in, &x.overrides)
	if err != nil {
		x.misconfigured("Unable to transform request: " + err.Error())
		return nil
	}
	x.rendered = out
	if out == nil {
		return nothing
	}
	return out
}

// mapParameters evaluates the parameters of the integration request.
func (x *exchange) mapParameters() bool {
	for i := range x.method.parameters {
		p := &x.method.parameters[i]
		value, ok, err := x.value(p)
		if err != nil {
			x.fail(errBadJSON, "Invalid JSON in request body: "+err.Error())
			return false
		}
		if !ok {
			continue
		}
		if p.place == toHeader && restapi.HeaderPresent(p.name, x.method.kind) {
			return x.misconfigured(p.name + " header already present")
		}
		if p.source == fromMultiQuery && p.place == toQuery {
			x.repeat(p)
			continue
		}
		x.mapped = append(x.mapped, mapped{p.place, p.name, value,
			p.source == fromLiteral || p.source == fromStage, p.source == fromPath})
	}
	return true
}

// override lets what templates left in $context.requestOverride win over mapped parameters.
func (x *exchange) override() bool {
	for _, h := range x.overrides.Header() {
		if restapi.HeaderPresent(h.Name, x.method.kind) {
			return x.misconfigured(h.Name + " header already present")
		}
		x.replace(toHeader, h.Name, strings.Join(h.Values, ","))
	}
	for _, q := range x.overrides.Query() {
		x.repeatOverride(q)
	}
	for _, p := range x.overrides.Path() {
		x.replace(toPath, p.Name, strings.Join(p.Values, ","))
	}
	return true
}

func (x *exchange) replace(to place, name, value string) {
	for i := range x.mapped {
		if m := &x.mapped[i]; m.place == to && (m.name == name || to == toHeader && strings.EqualFold(m.name, name)) {
			m.value, m.trusted, m.escaped = value, false, true
			return
		}
	}
	x.mapped = append(x.mapped, mapped{to, name, value, false, true})
}

// mappedValue gives a parameter of the integration request.
func (x *exchange) mappedValue(to place, name string) (string, bool) {
	if m := x.mappedParameter(to, name); m != nil {
		return m.value, true
	}
	return "", false
}

func (x *exchange) mappedParameter(to place, name string) *mapped {
	for i := range x.mapped {
		if m := &x.mapped[i]; m.place == to && (m.name == name || to == toHeader && strings.EqualFold(m.name, name)) {
			return m
		}
	}
	return nil
}

func (x *exchange) callMock(request []byte) bool {
	status, ok := mockStatus(text(request))
	if !ok {
		return x.misconfigured("Unable to parse statusCode. It should be an integer that is defined in the request template.")
	}
	x.backendStatus = status
	return true
}

func (x *exchange) callAction(ctx context.Context, request []byte) bool {
	m := x.method
	action, uri := m.action, m.uri
	if action == nil {
		uri = x.substitute(uri)
		t, ok := parseTarget(uri)
		if !ok {
			return x.brokenAPI(errEndpoint.Error())
		}
		var why string
		if action, why = t.find(x.g.Actions); action == nil || t.byPath() {
			return x.brokenAPI(why)
		}
	}
	x.call = Call{Body: request, ContentType: x.req.Header.Get("Content-Type"), Out: x.answer[:0]}
	if v, ok := x.mappedValue(toHeader, "Content-Type"); ok {
		x.call.ContentType = v
	}
	if m.address != nil && !x.fillByPath() {
		return false
	}
	if x.tracing() {
		x.traceCall(uri)
	}
	if x.informs() {
		if m.address != nil {
			x.logCall(endpointOf(uri, x.call.pathAndQuery()), request)
		} else {
			x.logRequest(uri, request)
		}
		begun := x.g.Now()
		defer func() { x.latency = x.g.Now().Sub(begun) }()
	}
	limited := withTimeout(ctx, time.Duration(m.timeout)*time.Millisecond)
	action(limited, &x.call)
	late := errors.Is(limited.Err(), context.DeadlineExceeded) && ctx.Err() == nil
	limited.release()
	if m.address != nil {
		x.keepCall()
		if x.call.err != nil {
			return x.untaken()
		}
	}
	x.answer = x.call.Out
	x.backendStatus = x.call.Status
	if late && x.call.Outcome != OK {
		x.fail(errTimeout, "Execution failed due to a timeout error")
		return false
	}
	return true
}

// substitute fills the variables of a uri: {name} from mapped path parameters, then ${stageVariables.name}, unknown
// ones by nothing. Other text in braces stays.
func (x *exchange) substitute(uri string) string {
	var b strings.Builder
	for uri != "" {
		i := strings.IndexByte(uri, '{')
		end := strings.IndexByte(uri, '}')
		if i < 0 || end < i {
			break
		}
		name := uri[i+1 : end]
		if i > 0 && uri[i-1] == '$' {
			if variable, ok := strings.CutPrefix(name, "stageVariables."); ok {
				b.WriteString(uri[:i-1])
				value, _ := x.in.StageVariables.Get(variable)
				b.WriteString(value)
			} else {
				b.WriteString(uri[:end+1])
			}
		} else if value, ok := x.mappedValue(toPath, name); ok {
			b.WriteString(uri[:i])
			b.WriteString(value)
		} else {
			b.WriteString(uri[:end+1])
		}
		uri = uri[end+1:]
	}
	b.WriteString(uri)
	return b.String()
}

// misconfigured answers with the service's 500 for templates and headers that fail; why goes to the log. It returns
// false, so that callers can end with it.
func (x *exchange) misconfigured(why string) bool {
	x.fail(errInternal, configurationError+why)
	return false
}

// brokenAPI is misconfigured of the cases that the service calls API_CONFIGURATION_ERROR: no such endpoint, no match for
// the backend's status, text that is no base64.
func (x *exchange) brokenAPI(why string) bool {
	x.fail(errConfiguration, configurationError+why)
	return false
}

const configurationError = "Execution failed due to configuration error: "

// fail writes a gateway response, the API's own or the default; why goes to the execution log when there is one.
func (x *exchange) fail(f *failure, why string) {
	x.refused, x.masked = true, false
	if x.tracing() {
		x.traceFailure(f, why)
	}
	x.context.Error = mapping.ContextError{Message: f.message, Validation: f.validation}
	r := x.resp
	clear(r.Header)
	r.Status, r.Header, r.Body = f.status, r.Header[:0], r.Body[:0]
	if own := x.customised(f); own != nil {
		own.answer(x, f)
	} else {
		r.Header = append(r.Header, Field{"Content-Type", typeJSON})
		r.Body = f.appendBody(r.Body)
	}
	r.Header = append(r.Header,
		Field{"x-amzn-RequestId", x.requestID},
		Field{"x-amz-apigw-id", x.extendedID},
		Field{"x-amzn-ErrorType", f.errorType})
	if f.retry {
		r.set("Retry-After", retryAfterSeconds)
	}
	if x.method != nil {
		x.logFailure(why)
	}
}

// customised gives what the stage's deployment has set for a failure. Before a stage is known there is nothing set.
func (x *exchange) customised(f *failure) *gatewayResponse {
	if f.kind >= kinds {
		return nil
	}
	x.context.Error.ResponseType = restapi.ResponseTypes[f.kind].Name
	if x.stage == nil {
		return nil
	}
	return x.stage.def.customised[f.kind]
}

func (x *exchange) statusText() string { return strconv.Itoa(x.backendStatus) }
