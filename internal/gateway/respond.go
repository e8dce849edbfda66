package gateway

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// respond maps the backend's answer to the method's response.
func (x *exchange) respond() {
	m := x.method
	if m.proxy {
		x.pass()
		return
	}
	i := m.choice.find(x.backendStatus)
	if i == noResponse {
		x.brokenAPI("No match for output mapping and no default output mapping configured. Endpoint Response Status Code: " + x.statusText())
		return
	}
	r := m.responses[i]
	if x.tracing() {
		x.traceChoice(i)
	}
	if r.broken != "" {
		x.brokenAPI(r.broken)
		return
	}
	answer, raw, err := x.convertResponse(x.answer, r.handling)
	if err != nil {
		x.brokenAPI("Unable to base64 decode the body: " + err.Error())
		return
	}
	x.in.Body = text(answer)
	if !x.mapHeaders(r) {
		return
	}
	if x.tracing() {
		x.traceHeaders(r)
	}
	tmpl := r.byAccept(x.accept())
	contentType := typeJSON
	if tmpl != nil && tmpl.mediaType != "" && tmpl.mediaType[0] != '$' {
		contentType = tmpl.mediaType
	}
	if raw && tmpl != nil && tmpl.code != nil && !isText(answer) {
		x.misconfigured("Unable to transform response: the payload is binary; a template reads text")
		return
	}
	if !x.renderResponse(tmpl, answer) {
		return
	}
	if x.tracing() {
		x.traceResponse(r, tmpl)
	}
	x.resp.Status = r.status
	if status, ok := x.overrides.Status(); ok {
		x.resp.Status = status
	}
	if x.resp.Status < 200 {
		x.misconfigured("Endpoint response status " + strconv.Itoa(x.resp.Status) + " is no final status")
		return
	}
	if x.hides(i) {
		x.unmask(answer)
		contentType = typeJSON
	}
	if x.resp.Status == 204 || x.resp.Status == 304 {
		x.resp.Body = x.resp.Body[:0] // HTTP allows none
	}
	x.complete(contentType)
}

// renderResponse fills the body: by the template, or with the backend's answer as it is. A mock's answer is empty.
func (x *exchange) renderResponse(t *template, answer []byte) bool {
	if t != nil && t.broken != "" {
		return x.misconfigured("Unable to transform response: " + t.broken)
	}
	if (t == nil || t.code == nil) && x.method.answersHeaders() {
		x.hand(answer)
		return true
	}
	if t == nil || t.code == nil {
		x.resp.Body = append(x.resp.Body[:0], answer...)
		return true
	}
	out, err := t.code.Render(x.resp.Body[:0], &x.in, &x.overrides)
	if err != nil {
		return x.misconfigured("Unable to transform response: " + err.Error())
	}
	x.resp.Body = out
	return true
}

// hides reports whether response i tells the caller of a success that the backend did not have: the answer is 2xx,
// and either a response that takes every status has been chosen, or the backend itself said 2xx of a batch of which
// nothing was stored. A pattern that names the backend's error and maps it to 2xx is the author's will.
func (x *exchange) hides(i int) bool {
	if x.g.ExactResponses || x.method.mock || x.call.Outcome == OK || x.resp.Status/100 != 2 {
		return false
	}
	return x.method.choice.isDefault(i) || x.backendStatus/100 == 2
}

// unmask answers with the backend's failure in a form that clients know how to retry.
func (x *exchange) unmask(answer []byte) {
	x.masked = true
	switch x.call.Outcome {
	case Throttled:
		x.resp.Status = 429
	case Unavailable:
		x.resp.Status = 503
		x.resp.set("Retry-After", retryAfterSeconds)
	default:
		x.resp.Status = x.backendStatus
		if x.backendStatus < 400 || x.backendStatus > lastStatus {
			x.resp.Status = 502
		}
	}
	x.resp.Body = append(x.resp.Body[:0], answer...)
}

// mapHeaders evaluates the response parameters.
func (x *exchange) mapHeaders(r *response) bool {
	for i := range r.headers {
		p := &r.headers[i]
		value, ok, err := x.value(p)
		if err != nil {
			return x.misconfigured("Unable to map the response body to " + p.name + ": " + err.Error())
		}
		if p.source == fromBackendMultiHeader {
			x.setEach(p)
			continue
		}
		if p.source == fromBackendBody || p.source == fromBackendBodyPath {
			value = strings.Clone(value) // it lies in the answer's memory, which the next request gets
		}
		if ok {
			x.resp.set(p.name, value)
		}
	}
	return true
}

// complete finishes the headers of a mapped response: overrides, Content-Type, renamed ones, ids.
func (x *exchange) complete(contentType string) {
	resp := x.resp
	for _, o := range x.overrides.ResponseHeader() {
		if !isToken(o.Name) {
			x.misconfigured("Invalid header name in $context.responseOverride: " + printable(o.Name))
			return
		}
		resp.remove(o.Name)
		for _, v := range o.Values {
			resp.Header = append(resp.Header, Field{o.Name, v})
		}
	}
	typed := false
	kept := resp.Header[:0]
	for _, f := range resp.Header {
		switch {
		case strings.EqualFold(f.Name, "Transfer-Encoding"):
			continue
		case strings.EqualFold(f.Name, "Content-Type"):
			typed = true
		case x.renamed(f.Name):
			f.Name = remappedPrefix + f.Name
		}
		f.Value = headerText(f.Value)
		kept = append(kept, f)
	}
	resp.Header = kept
	if !typed {
		resp.Header = append(resp.Header, Field{"Content-Type", contentType})
	}
	if len(kept) > 0 {
		resp.remove("x-amzn-RequestId")
		resp.remove("x-amz-apigw-id")
	}
	resp.Header = append(resp.Header, Field{"x-amzn-RequestId", x.requestID}, Field{"x-amz-apigw-id", x.extendedID})
	if !x.method.mock && !x.method.proxy {
		if len(kept) > 0 {
			resp.remove(headerTrace)
		}
		resp.Header = append(resp.Header, Field{headerTrace, x.trace})
	}
}

// The headers that a response bears under another name, for the front door writes them itself: the first four with
// every integration, the others not with a MOCK or HTTP_PROXY. HTTP_PROXY renames the backend's request id, too.
var remapped = [...]string{
	"Connection", "Content-Length", "Date", "Server",
	"Authorization", "Content-MD5", "Expect", "Host", "Max-Forwards", "Proxy-Authenticate", "Trailer", "Upgrade",
	"User-Agent", "WWW-Authenticate",
}

const (
	remappedAlways = 4
	remappedPrefix = "x-amzn-Remapped-"
)

func (x *exchange) renamed(name string) bool {
	if x.method.mock || x.method.proxy {
		return renamedAlways(name) || x.method.proxy && strings.EqualFold(name, "x-amzn-RequestId")
	}
	return isOneOf(name, remapped[:])
}

func renamedAlways(name string) bool { return isOneOf(name, remapped[:remappedAlways]) }

// isOneOf finds a header's name in any spelling.
func isOneOf(name string, list []string) bool {
	for _, h := range list {
		if len(h) == len(name) && strings.EqualFold(h, name) {
			return true
		}
	}
	return false
}

// backendHeader gives a header of the action's answer: those that the service sends.
func (x *exchange) backendHeader(name string) (string, bool) {
	if x.method.mock {
		return "", false
	}
	if x.method.answersHeaders() {
		for i := len(x.call.Answer) - 1; i >= 0; i-- {
			if f := &x.call.Answer[i]; len(f.Name) == len(name) && strings.EqualFold(f.Name, name) {
				return f.Value, true
			}
		}
		return "", false
	}
	switch {
	case strings.EqualFold(name, "Content-Type"):
		return typeAWSJSON, true
	case strings.EqualFold(name, "x-amzn-RequestId"):
		return x.requestID, true
	case strings.EqualFold(name, "Content-Length"):
		return strconv.Itoa(len(x.answer)), true
	case strings.EqualFold(name, "Date"):
		return x.g.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"), true
	}
	return "", false
}

// isToken reports whether a text can be a header's name.
func isToken(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			continue
		}
		if strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return name != ""
}

// headerText makes a text that can't break out of its header line: control characters become spaces.
func headerText(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			b := []byte(s)
			for ; i < len(b); i++ {
				if c := b[i]; c < ' ' && c != '\t' || c == 0x7f {
					b[i] = ' '
				}
			}
			return strings.TrimSpace(string(b))
		}
	}
	return s
}

func isText(b []byte) bool { return utf8.Valid(b) }
