package gateway

import (
	"context"
	"strconv"
	"strings"
	"unicode/utf8"

	"millrace/internal/gateway/mapping"
	"millrace/internal/restapi"
)

// Trail is what [Gateway.ServeTraced] has seen of one request, for people who read: the steps from the method request
// to the method response, each with what was chosen there, and why.
type Trail struct{ Steps []Step }

// Step is one of the service's stages of a request.
type Step struct {
	Name  string // one of the names below
	Facts []Fact
}

// The steps. A request that is refused on its way ends in StepGatewayResponse.
const (
	StepMethodRequest       = "method request"
	StepIntegrationRequest  = "integration request"
	StepIntegrationResponse = "integration response"
	StepMethodResponse      = "method response"
	StepGatewayResponse     = "gateway response"
)

// Fact is something that holds at a step. A value may have several lines.
type Fact struct{ Label, Value string }

// ServeTraced is Serve, and tells trail what happens. It is for tests of definitions: values of headers are told as
// they are, secrets among them.
func (g *Gateway) ServeTraced(ctx context.Context, req *Request, resp *Response, trail *Trail) {
	x := exchanges.Get().(*exchange)
	defer x.finish()
	x.begin(g, req, resp)
	x.trail = trail
	x.serve(ctx)
	x.account()
	trail.end(x)
}

func (t *Trail) step(name string) { t.Steps = append(t.Steps, Step{Name: name}) }

// tell notes a fact of the present step. What it is given may lie in memory of the exchange; what it keeps does not.
func (t *Trail) tell(label, value string) {
	if len(t.Steps) == 0 {
		t.step(StepMethodRequest)
	}
	s := &t.Steps[len(t.Steps)-1]
	s.Facts = append(s.Facts, Fact{label, strings.Clone(value)})
}

func (t *Trail) tellAll(label string, params mapping.Params) {
	for _, p := range params {
		t.tell(label, p.Name+": "+p.Value)
	}
}

func (t *Trail) body(label, body string) {
	switch {
	case body == "":
		body = "(empty)"
	case !utf8.ValidString(body):
		body = "(" + strconv.Itoa(len(body)) + " bytes that are no text)"
	}
	t.tell(label, body)
}

// Each of the following is called where serve and its helpers are at that step, and does nothing for live traffic.

func (x *exchange) tracing() bool { return x.trail != nil }

// traceArrival tells what was called, and with what.
func (x *exchange) traceArrival() {
	t := x.trail
	t.step(StepMethodRequest)
	t.tell("method", x.method.verb+" "+x.method.resourcePath+" of stage "+x.stage.name+", API "+x.api.name)
	t.tellAll("path", x.in.Path)
	t.tellAll("query", x.in.Query)
	t.tellAll("header", x.in.Header)
	t.tellAll("stage variable", x.in.StageVariables)
	t.body("body", text(x.body))
}

// traceTemplate tells which request template was chosen.
func (x *exchange) traceTemplate(tmpl *template, pass bool) {
	t, m := x.trail, x.method
	if m.validation != nil {
		t.tell("validation", "passed")
	}
	t.step(StepIntegrationRequest)
	sent := "the Content-Type is " + x.contentType
	if x.contentType == "" {
		sent = "without a Content-Type a body counts as " + typeJSON
	}
	passthrough := m.passthrough
	if passthrough == "" {
		passthrough = "WHEN_NO_MATCH"
	}
	chosen := m.templates.find(x.contentTypeOrJSON())
	switch {
	case chosen != nil && !strings.EqualFold(chosen.mediaType, x.contentTypeOrJSON()):
		t.tell("template", chosen.mediaType+": "+sent+", which has none of its own")
	case chosen != nil && tmpl == nil:
		t.tell("template", chosen.mediaType+": "+sent+"; it is empty, so that the body passes as it is")
	case chosen != nil:
		t.tell("template", chosen.mediaType+": "+sent)
	case pass:
		t.tell("template", "none: "+sent+"; passthroughBehavior "+passthrough+" passes the body as it is")
	default:
		t.tell("template", "none: "+sent+"; there are templates for "+m.templates.types()+", and passthroughBehavior "+passthrough+" refuses others")
	}
}

// types lists the media types that have a template.
func (t *templates) types() string {
	if len(t.list) == 0 {
		return "nothing"
	}
	var all []string
	for i := range t.list {
		all = append(all, t.list[i].mediaType)
	}
	return strings.Join(all, ", ")
}

// traceParameters tells what the parameters of the integration request became.
func (x *exchange) traceParameters() {
	for i := range x.method.parameters {
		p := &x.method.parameters[i]
		value, ok := x.mappedValue(p.place, p.name)
		x.trail.parameter("integration.request."+placeNames[p.place]+"."+p.name, p, value, ok)
	}
}

func (t *Trail) parameter(target string, p *parameter, value string, ok bool) {
	if !ok {
		t.tell("parameter", target+" is left out: there is no "+p.expression())
		return
	}
	t.tell("parameter", target+" = "+value+", from "+p.expression())
}

var placeNames = [...]string{toHeader: "header", toQuery: "querystring", toPath: "path"}

// expression writes a source as definitions do.
func (p *parameter) expression() string {
	switch p.source {
	case fromLiteral:
		return "'" + p.arg + "'"
	case fromBody:
		return "method.request.body"
	case fromBodyPath:
		return "method.request.body" + strings.TrimPrefix(p.arg, "$")
	case fromBackendBody:
		return "integration.response.body"
	case fromBackendBodyPath:
		return "integration.response.body" + strings.TrimPrefix(p.arg, "$")
	}
	for _, known := range prefixes {
		if known.source == p.source {
			return known.prefix + p.arg
		}
	}
	return p.arg
}

// traceRequest tells what goes to the backend.
func (x *exchange) traceRequest(request []byte) {
	t := x.trail
	t.overrides("requestOverride.header", x.overrides.Header())
	t.overrides("requestOverride.querystring", x.overrides.Query())
	t.overrides("requestOverride.path", x.overrides.Path())
	t.body("body", text(request))
	if x.method.mock {
		t.tell("endpoint", "none: a MOCK answers with the statusCode that the body holds")
	}
}

// traceCall tells which action the request goes to: by name, or by verb and path.
func (x *exchange) traceCall(uri string) {
	if x.method.address == nil {
		x.trail.tell("endpoint", endpointOf(uri, ""))
		return
	}
	x.traceSent(endpointOf(uri, x.call.pathAndQuery()))
}

// traceSent tells what a request by verb, path and headers is.
func (x *exchange) traceSent(url string) {
	x.trail.tell("endpoint", x.call.Verb+" "+url)
	for _, f := range x.call.Header {
		x.trail.tell("header", f.Name+": "+f.Value)
	}
}

// traceProxy tells what an HTTP_PROXY makes of a request before it sends it.
func (x *exchange) traceProxy() {
	t := x.trail
	if x.method.validation != nil {
		t.tell("validation", "passed")
	}
	t.step(StepIntegrationRequest)
	t.tell("template", "none: an HTTP_PROXY passes the body as it is")
	x.traceParameters()
	t.body("body", text(x.body))
}

func (t *Trail) overrides(kind string, values []mapping.Values) {
	for _, v := range values {
		t.tell("override", "$context."+kind+"."+v.Name+" = "+strings.Join(v.Values, ","))
	}
}

// traceAnswer tells what the backend answered.
func (x *exchange) traceAnswer() {
	t := x.trail
	t.step(StepIntegrationResponse)
	t.tell("status", x.statusText())
	for _, f := range x.call.Answer {
		t.tell("header", f.Name+": "+f.Value)
	}
	t.body("body", text(x.answer))
}

// traceChoice tells which integration response was chosen.
func (x *exchange) traceChoice(i int) {
	c, code := x.method.choice, x.method.responses[i].code
	if re := c.patterns[i]; re != nil {
		pattern := strings.TrimSuffix(strings.TrimPrefix(re.String(), `\A(?:`), `)\z`)
		x.trail.tell("response", code+": its selectionPattern "+pattern+" fits "+x.statusText())
		return
	}
	why := "it has no selectionPattern, and no other's fits " + x.statusText()
	if len(c.patterns) == 1 {
		why = "it is the only one, and has no selectionPattern"
	}
	x.trail.tell("response", code+": "+why)
}

// traceHeaders tells what the parameters of a response became.
func (x *exchange) traceHeaders(r *response) {
	for i := range r.headers {
		p := &r.headers[i]
		value, ok := "", false
		for _, f := range x.resp.Header {
			if strings.EqualFold(f.Name, p.name) {
				value, ok = f.Value, true
			}
		}
		x.trail.parameter("method.response.header."+p.name, p, value, ok)
	}
}

// traceResponse tells how the body of the answer was made.
func (x *exchange) traceResponse(r *response, tmpl *template) {
	t := x.trail
	switch {
	case tmpl == nil:
		t.tell("template", "none: the response has none, so that the body passes as it is")
	case tmpl.code == nil && tmpl.broken == "":
		t.tell("template", tmpl.mediaType+": it is empty, so that the body passes as it is")
	case x.req.Header.Get("Accept") != "" && strings.EqualFold(tmpl.mediaType, x.accept()):
		t.tell("template", tmpl.mediaType+": the Accept is "+x.accept())
	case strings.EqualFold(tmpl.mediaType, typeJSON):
		t.tell("template", tmpl.mediaType+": the default")
	default:
		t.tell("template", tmpl.mediaType+": the first of "+r.types())
	}
	if status, ok := x.overrides.Status(); ok {
		t.tell("override", "$context.responseOverride.status = "+strconv.Itoa(status))
	}
	t.overrides("responseOverride.header", x.overrides.ResponseHeader())
}

// traceFailure tells why a request got no response of its method's.
func (x *exchange) traceFailure(f *failure, why string) {
	x.trail.step(StepGatewayResponse)
	if f.kind < kinds {
		kind := restapi.ResponseTypes[f.kind].Name
		if x.stage != nil && x.stage.def.customised[f.kind] != nil {
			kind += ", as the API has set it"
		}
		x.trail.tell("type", kind)
	}
	if why != "" {
		x.trail.tell("reason", why)
	}
}

// end tells what the caller gets.
func (t *Trail) end(x *exchange) {
	if !x.refused {
		t.step(StepMethodResponse)
	}
	if x.masked {
		t.tell("not hidden", "the backend answered "+x.statusText()+", and the default response would have told the caller of a success")
	}
	t.tell("status", strconv.Itoa(x.resp.Status))
	for _, f := range x.resp.Header {
		t.tell("header", f.Name+": "+f.Value)
	}
	t.body("body", text(x.resp.Body))
}
