package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"millrace/internal/gateway/mapping"
	"millrace/internal/restapi"
)

// gatewayResponse is what an API answers in a case of its own choosing, compiled.
type gatewayResponse struct {
	status    int // 0: the failure's own
	headers   []parameter
	templates []gatewayTemplate // in the order of their media types
}

// gatewayTemplate is a text with variables. It is no VTL.
type gatewayTemplate struct {
	mediaType string
	parts     []gatewayPart
}

// gatewayPart is literal text, or a variable's value.
type gatewayPart struct {
	text   string // literal, or the variable's name
	source source
	isVar  bool
	quoted bool // the value brings its own quotes and escapes: $context.error.messageString
}

// gatewayResponses compiles what an API has set, by kind. A type that is not set gets what is set for its class.
func (c *compiler) gatewayResponses(d *restapi.Definition) {
	for i, t := range restapi.ResponseTypes {
		if kind(i) == kindRequestTooLarge {
			continue // it can be set and shown, and the service never sends it
		}
		shown, err := d.GatewayResponse(t.Name)
		if err != nil || shown.Default && !shown.Inherited {
			continue
		}
		r := &gatewayResponse{}
		for _, digit := range shown.StatusCode {
			r.status = r.status*10 + int(digit-'0')
		}
		if r.status < firstFinalStatus || r.status > lastStatus {
			r.status = 0
		}
		for _, key := range slices.Sorted(maps.Keys(shown.Parameters)) {
			name, ok := strings.CutPrefix(key, "gatewayresponse.header.")
			from, arg, known := compileSource(shown.Parameters[key])
			if !ok || !known || !isToken(name) {
				c.def.warnings = append(c.def.warnings, Warning{Path: "/", Verb: "ANY", Property: "gatewayResponses." + t.Name + "." + key,
					Err: fmt.Errorf("the mapping expression %q is not known", shown.Parameters[key])})
				continue
			}
			r.headers = append(r.headers, parameter{name: name, source: from, arg: arg})
		}
		for _, key := range slices.Sorted(maps.Keys(shown.Templates)) {
			r.templates = append(r.templates, gatewayTemplate{mediaType: key, parts: compileGatewayTemplate(shown.Templates[key])})
		}
		c.def.customised[i] = r
	}
}

// firstFinalStatus is the first that ends an exchange.
const firstFinalStatus = 200

// The variables of a gateway response's template, and what may stand in their names.
var gatewayVariables = []struct {
	prefix string
	source source
	inName func(c byte) bool
}{
	{"context.", fromContext, inPath},
	{"stageVariables.", fromStage, inVariable},
	{"method.request.header.", fromHeader, inHeaderName},
	{"method.request.path.", fromPath, inHeaderName},
	{"method.request.querystring.", fromQuery, inHeaderName},
	{"method.request.multivalueheader.", fromMultiHeader, inHeaderName},
	{"method.request.multivaluequerystring.", fromMultiQuery, inHeaderName},
}

func inVariable(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

func inPath(c byte) bool { return inVariable(c) || c == '.' }

func inHeaderName(c byte) bool { return inPath(c) || c == '-' }

// compileGatewayTemplate cuts a template at its variables: $context.x, $stageVariables.x, $method.request.header.x, also
// with braces. All other text, dollar signs included, stays as it is.
func compileGatewayTemplate(src string) (parts []gatewayPart) {
	literal := 0
	for i := 0; i < len(src); {
		part, size := gatewayVariable(src[i:])
		if size == 0 {
			i++
			continue
		}
		if i > literal {
			parts = append(parts, gatewayPart{text: src[literal:i]})
		}
		parts = append(parts, part)
		i += size
		literal = i
	}
	if literal < len(src) {
		parts = append(parts, gatewayPart{text: src[literal:]})
	}
	return parts
}

// gatewayVariable reads the variable that a text begins with; size is 0 when there is none.
func gatewayVariable(src string) (part gatewayPart, size int) {
	if src[0] != '$' {
		return part, 0
	}
	rest := src[1:]
	braced := strings.HasPrefix(rest, "{")
	if braced {
		rest = rest[1:]
	}
	for _, v := range gatewayVariables {
		name, ok := strings.CutPrefix(rest, v.prefix)
		if !ok {
			continue
		}
		n := nameLength(name, v.inName)
		if n == 0 {
			return part, 0
		}
		size = len(src) - len(name) + n
		if braced {
			if n == len(name) || name[n] != '}' {
				return part, 0
			}
			size++
		}
		return gatewayPart{name[:n], v.source, true, v.source == fromContext && name[:n] == "error.messageString"}, size
	}
	return part, 0
}

// nameLength measures a name. Dots and dashes at its end are the text's, and so is all behind two dots.
func nameLength(s string, inName func(byte) bool) int {
	n := 0
	for i := 0; i < len(s) && inName(s[i]); i++ {
		if s[i] == '.' && (i == 0 || s[i-1] == '.') {
			return n
		}
		if s[i] != '.' && s[i] != '-' {
			n = i + 1
		}
	}
	return n
}

// answer writes a customised gateway response.
func (r *gatewayResponse) answer(x *exchange, f *failure) {
	resp := x.resp
	resp.Status = f.status
	if r.status != 0 && !(hidesLoss(r.status, f) && !x.g.ExactResponses) {
		resp.Status = r.status
	}
	for i := range r.headers {
		p := &r.headers[i]
		value, ok, err := x.value(p)
		if err != nil || !ok || isOneOf(p.name, fixedInFailure[:]) {
			continue // what is missing is left out
		}
		name := p.name
		if renamedAlways(name) {
			name = remappedPrefix + name
		}
		resp.set(name, headerText(value))
	}
	t := r.byAccept(x.accept())
	if t == nil {
		return
	}
	if resp.Header.Get("Content-Type") == "" {
		resp.set("Content-Type", t.mediaType)
	}
	if resp.Status != 204 && resp.Status != 304 { // HTTP allows no body with these
		resp.Body = t.render(resp.Body, x)
	}
}

// hidesLoss reports whether a status tells of a success where the event may be lost and the caller should send it
// again. A 2xx for what the caller did wrong is the author's will.
func hidesLoss(status int, f *failure) bool {
	return status/100 == 2 && (f.status >= 500 || f.status == 429)
}

// fixedInFailure are the headers of a failure that are the gateway's to write.
var fixedInFailure = [...]string{"Transfer-Encoding", "x-amzn-RequestId", "x-amz-apigw-id", "x-amzn-ErrorType"}

// byAccept gives the template of the type that the caller accepts, else JSON's, else the first.
func (r *gatewayResponse) byAccept(accepted string) *gatewayTemplate {
	for _, want := range [2]string{accepted, typeJSON} {
		for i := range r.templates {
			if strings.EqualFold(mediaType(r.templates[i].mediaType), want) {
				return &r.templates[i]
			}
		}
	}
	if len(r.templates) == 0 {
		return nil
	}
	return &r.templates[0]
}

// maxGatewayBody bounds a rendered body: the values are a caller's, and one can stand in a template any number of
// times.
const maxGatewayBody = 1 << 20

// render appends the body. What callers sent is escaped so that it stays within the quotes or the element where the
// template has put it.
func (t *gatewayTemplate) render(b []byte, x *exchange) []byte {
	escape := escapeFor(mediaType(t.mediaType))
	start := len(b)
	for i := range t.parts {
		p := &t.parts[i]
		value := p.text
		if p.isVar {
			value, _, _ = x.value(&parameter{source: p.source, arg: p.text})
		}
		if len(b)-start+len(value) > maxGatewayBody {
			return b
		}
		if p.isVar && !p.quoted {
			b = escape(b, value)
		} else {
			b = append(b, value...)
		}
	}
	return b
}

// escapeFor gives how a value is written in a text of a media type.
func escapeFor(mediaType string) func(b []byte, value string) []byte {
	mediaType = strings.ToLower(mediaType)
	switch {
	case strings.HasSuffix(mediaType, "json"):
		return mapping.AppendEscaped
	case strings.HasSuffix(mediaType, "xml"), mediaType == "text/html":
		return appendMarkup
	}
	return func(b []byte, value string) []byte { return append(b, value...) }
}

func appendMarkup(b []byte, value string) []byte {
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case '<':
			b = append(b, "&lt;"...)
		case '>':
			b = append(b, "&gt;"...)
		case '&':
			b = append(b, "&amp;"...)
		case '"':
			b = append(b, "&quot;"...)
		case '\'':
			b = append(b, "&#39;"...)
		default:
			b = append(b, c)
		}
	}
	return b
}
