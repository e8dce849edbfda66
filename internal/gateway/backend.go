package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"millrace/internal/fault"
	"millrace/internal/gateway/mapping"
	"millrace/internal/restapi"
)

// proxy makes the request of an HTTP_PROXY integration and sends it. Templates and the choice among them are not for
// it; the payload goes on as it came, byte for byte, unless contentHandling asks for another form. (For the other
// types bytes that are no UTF-8 become U+FFFD, for templates read text; there is none here to read it.)
func (x *exchange) proxy(ctx context.Context) bool {
	def, handling := x.method.def, x.method.handling
	binary := len(def.binary) > 0 && isBinary(def.binary, x.contentTypeOrJSON())
	switch {
	case binary && handling == toText:
		x.body = base64.StdEncoding.AppendEncode(nil, x.body)
	case !binary && handling == toBinary:
		decoded, err := base64.StdEncoding.AppendDecode(nil, x.body)
		if err != nil {
			return x.brokenAPI("Unable to base64 decode the body: " + err.Error())
		}
		x.body = decoded
	}
	x.in.Body = text(x.body)
	if len(x.method.parameters) > 0 && !x.mapParameters() {
		return false
	}
	if x.tracing() {
		x.traceProxy()
	}
	return x.callHTTP(ctx, x.body)
}

// callHTTP sends an integration request to the host that the uri names.
func (x *exchange) callHTTP(ctx context.Context, request []byte) bool {
	m := x.method
	url, err := x.url(m.address)
	if err != nil {
		return x.refuseURI(err)
	}
	x.call = Call{Body: request, Verb: x.integrationVerb(), Out: x.answer[:0], Header: x.sent[:0], Answer: x.received[:0], InsecureTLS: m.insecure, x: x}
	x.call.Target = x.withQuery(url)
	if m.proxy {
		x.forwardHeaders()
	}
	if !x.sendMapped() {
		return false
	}
	x.sendDefault("Accept", typeJSON)
	x.sendDefault("User-Agent", "AmazonAPIGateway_"+x.api.id)
	x.sendContentType()
	x.call.Header = append(x.call.Header, Field{"X-Amzn-Apigateway-Api-Id", x.api.id}, Field{headerTrace, x.trace})
	if x.tracing() {
		x.traceSent(x.call.Target)
	}
	if x.informs() {
		x.logCall(x.call.Target, request)
		begun := x.g.Now()
		defer func() { x.latency = x.g.Now().Sub(begun) }()
	}
	if x.streams() {
		return x.callStreaming(ctx)
	}
	limited := withTimeout(ctx, time.Duration(m.timeout)*time.Millisecond)
	err = x.g.Sender.Send(limited, &x.call)
	late := errors.Is(limited.Err(), context.DeadlineExceeded) && ctx.Err() == nil
	limited.release()
	x.keepCall()
	if err != nil {
		return x.unanswered(err, late)
	}
	return x.inflateAnswer()
}

// keepCall takes over what the backend answered, and the memory that the call has grown.
func (x *exchange) keepCall() {
	x.sent, x.received = x.call.Header, x.call.Answer
	x.answer, x.backendStatus = x.call.Out, x.call.Status
}

// unanswered tells the caller why there is no answer.
func (x *exchange) unanswered(err error, late bool) bool {
	switch kind := fault.KindOf(err); {
	case x.call.err != nil:
		return x.untaken()
	case late:
		x.fail(errTimeout, "Execution failed due to a timeout error")
	case kind == fault.Invalid: // recorded for a host that has no address
		return x.brokenAPI(errEndpoint.Error() + ": " + err.Error())
	case kind == fault.Throttled:
		x.fail(errBusy, "Execution failed: "+err.Error())
	default:
		x.fail(errNetwork, "Execution failed due to a network error communicating with endpoint: "+err.Error())
	}
	return false
}

// untaken tells the caller that an answer was not taken whole.
func (x *exchange) untaken() bool {
	if errors.Is(x.call.err, errBudget) {
		x.fail(errOverBudget, "Execution failed: "+errBudget.Error())
		return false
	}
	return x.brokenAPI("Integration response is larger than allowed maximum of 10485760 bytes")
}

// refuseURI answers a request for which the uri can't be filled.
func (x *exchange) refuseURI(err error) bool {
	if errors.Is(err, errDots) {
		x.fail(errBadPath, "Bad request: "+err.Error())
		return false
	}
	return x.brokenAPI(err.Error())
}

// integrationVerb is the integration's method; ANY, or none, is the caller's.
func (x *exchange) integrationVerb() string {
	if v := x.method.backendVerb; v != "" {
		return v
	}
	return x.context.HTTPMethod
}

// withQuery appends the parameters of the query: a proxy's caller's first, then those that are mapped.
func (x *exchange) withQuery(url string) string {
	q := x.sentQuery[:0]
	if x.method.proxy {
		for _, p := range x.query {
			q = appendQuery(q, p.Name, p.Value)
		}
	}
	q = x.appendMappedQuery(q)
	x.sentQuery = q
	if len(q) == 0 {
		return url
	}
	url, _, _ = strings.Cut(url, "#")
	mark := "?"
	if strings.IndexByte(url, '?') >= 0 {
		if mark = "&"; strings.HasSuffix(url, "?") || strings.HasSuffix(url, "&") {
			mark = ""
		}
	}
	return url + mark + string(q)
}

func (x *exchange) appendMappedQuery(q []byte) []byte {
	for i := range x.mapped {
		if m := &x.mapped[i]; m.place == toQuery {
			q = appendQuery(q, m.name, m.value)
		}
	}
	return q
}

// notForwarded are headers of a caller that a proxy does not pass on: Host and Content-Encoding, as the service does
// (a payload has been inflated), the trace id, which gets a parent, and those of the connection alone.
var notForwarded = []string{"Host", "Content-Encoding", headerTrace, "Via", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization"}

// notSent are headers that no mapping sets: the service drops the first three of every integration; those behind
// them belong to the connection, which is not the definition's.
var notSent = []string{"Expect", "Proxy-Authenticate", "TE", "Connection", "Keep-Alive", "Proxy-Connection", "Trailer", "Upgrade"}

// forwardHeaders passes the caller's headers on, but for those that a mapping sets.
func (x *exchange) forwardHeaders() {
	for _, p := range x.header {
		if isOneOf(p.Name, notForwarded) || !isToken(p.Name) { // a listener hands on no other; a test of a method may
			continue
		}
		if _, set := x.mappedValue(toHeader, p.Name); set {
			continue
		}
		x.call.Header = append(x.call.Header, Field{p.Name, headerText(p.Value)})
	}
}

// sendMapped adds the mapped headers. Their values are copied: one that comes from the body lies in memory of the next
// request, and a transport may write a head when the call is over already.
func (x *exchange) sendMapped() bool {
	alsoNot := "Via"
	if x.method.kind == restapi.AWS {
		alsoNot = "Referer"
	}
	for i := range x.mapped {
		m := &x.mapped[i]
		if m.place != toHeader || isOneOf(m.name, notSent) || strings.EqualFold(m.name, alsoNot) {
			continue
		}
		if !isToken(m.name) {
			return x.misconfigured("Invalid header name in the integration request: " + printable(m.name))
		}
		x.call.Header = append(x.call.Header, Field{m.name, strings.Clone(headerText(m.value))})
	}
	return true
}

// sendDefault adds a header that nothing has set.
func (x *exchange) sendDefault(name, value string) {
	for _, f := range x.call.Header {
		if len(f.Name) == len(name) && strings.EqualFold(f.Name, name) {
			return
		}
	}
	x.call.Header = append(x.call.Header, Field{name, value})
}

// sendContentType adds the caller's Content-Type, with verbs that have a body. A payload without one counts as JSON
// here as it does in the choice of a template.
func (x *exchange) sendContentType() {
	switch x.context.HTTPMethod {
	case "GET", "HEAD", "OPTIONS":
		return
	}
	sent := x.req.Header.Get("Content-Type")
	if sent == "" {
		if len(x.call.Body) == 0 {
			return
		}
		sent = typeJSON
	}
	x.sendDefault("Content-Type", sent)
}

// fillByPath fills in what a service reads that tells its operations apart by verb and path.
func (x *exchange) fillByPath() bool {
	m := x.method
	c := &x.call
	c.Verb, c.Header, c.Answer, c.x = x.integrationVerb(), x.sent[:0], x.received[:0], x
	path, query, err := x.targetPath(m.address)
	if err != nil {
		return x.refuseURI(err)
	}
	q := append(x.sentQuery[:0], query...)
	q = x.appendMappedQuery(q)
	c.Target, c.Query, x.sentQuery = path, string(q), q
	if !x.sendMapped() {
		return false
	}
	x.sendContentType()
	return true
}

// inflateAnswer undoes the Content-Encoding of a backend's answer: templates read text, and the service does not pass
// the header on. A coding that is not known stays as it is, with its header, so that the caller at least can read it.
func (x *exchange) inflateAnswer() bool {
	if len(x.answer) == 0 {
		return true
	}
	encoding, _ := x.backendHeader("Content-Encoding")
	var r io.Reader
	switch {
	case encoding == "":
		return true
	case strings.EqualFold(encoding, "gzip"), strings.EqualFold(encoding, "x-gzip"):
		zr, err := gzip.NewReader(bytes.NewReader(x.answer))
		if err != nil {
			return x.garbled(err)
		}
		r = zr
	case strings.EqualFold(encoding, "deflate"):
		r = deflateReader(x.answer)
	default:
		return true
	}
	out := Call{x: x}
	if _, err := out.ReadFrom(r); err != nil {
		if x.call.err = out.err; out.err != nil {
			return x.untaken()
		}
		return x.garbled(err)
	}
	x.answer = out.Out
	kept := x.call.Answer[:0]
	for _, f := range x.call.Answer {
		if !strings.EqualFold(f.Name, "Content-Encoding") && !strings.EqualFold(f.Name, "Content-Length") {
			kept = append(kept, f)
		}
	}
	x.call.Answer = kept
	return true
}

func (x *exchange) garbled(err error) bool {
	x.fail(errNetwork, "Execution failed: the endpoint's response is not in its Content-Encoding: "+err.Error())
	return false
}

// notPassed are headers of a backend that a proxy does not pass on: Via, as the service does, and those of the
// connection.
var notPassed = []string{"Transfer-Encoding", "Via", "Keep-Alive", "Proxy-Connection", "Trailer", "Upgrade"}

// pass answers with what the backend of an HTTP_PROXY answered.
func (x *exchange) pass() {
	resp := x.resp
	if x.backendStatus == 204 || x.backendStatus == 304 {
		resp.Body = resp.Body[:0]
	} else {
		x.hand(x.answer)
	}
	x.passHead()
}

// passHead takes over status and header lines.
func (x *exchange) passHead() {
	resp := x.resp
	for _, f := range x.call.Answer {
		if !isOneOf(f.Name, notPassed) {
			resp.Header = append(resp.Header, f)
		}
	}
	resp.Status = x.backendStatus
	x.complete(typeJSON)
}

// hand makes the backend's answer the caller's. An answer of up to 10 MB is not copied: the memory changes hands, and with
// it what it holds of the budget.
func (x *exchange) hand(answer []byte) {
	resp := x.resp
	if len(answer) == 0 || len(x.answer) == 0 || &answer[0] != &x.answer[0] || x.traces() {
		resp.Body = append(resp.Body[:0], answer...)
		return
	}
	resp.Body, x.answer = answer, resp.Body[:0]
	if x.held > 0 {
		resp.budget, resp.held, x.held = x.g.Answers, resp.held+x.held, 0
	}
}

// logCall writes the request to an HTTP integration or a call by path.
func (x *exchange) logCall(endpoint string, request []byte) {
	x.log(false, "Endpoint request URI: "+endpoint)
	if x.traces() {
		var headers mapping.Params
		for _, f := range x.call.Header {
			headers = append(headers, mapping.Param(f))
		}
		x.log(false, "Endpoint request headers: "+x.printed(headers))
		x.logBody("Endpoint request body after transformations: ", request)
	}
	x.log(false, "Sending request to "+endpoint)
}

// repeat maps a parameter of several values to as many of the query.
func (x *exchange) repeat(p *parameter) {
	for _, q := range x.in.Query {
		if q.Name == p.arg {
			x.mapped = append(x.mapped, mapped{place: toQuery, name: p.name, value: q.Value})
		}
	}
}

// repeatOverride puts what a template says of a parameter of the query in the place of all that is mapped to it.
func (x *exchange) repeatOverride(v mapping.Values) {
	kept := x.mapped[:0]
	for _, m := range x.mapped {
		if m.place != toQuery || m.name != v.Name {
			kept = append(kept, m)
		}
	}
	x.mapped = kept
	for _, value := range v.Values {
		x.mapped = append(x.mapped, mapped{place: toQuery, name: v.Name, value: value})
	}
}

// setEach sets a header of the response to all lines of a backend's. They stay lines: the values of Set-Cookie can't be
// joined, and for all others HTTP takes the two for the same.
func (x *exchange) setEach(p *parameter) {
	if !x.method.answersHeaders() {
		if value, ok := x.backendHeader(p.arg); ok {
			x.resp.set(p.name, value)
		}
		return
	}
	x.resp.remove(p.name)
	for _, f := range x.call.Answer {
		if len(f.Name) == len(p.arg) && strings.EqualFold(f.Name, p.arg) {
			x.resp.Header = append(x.resp.Header, Field{p.name, f.Value})
		}
	}
}
