package gateway

import (
	"strings"

	"millrace/internal/gateway/mapping"
)

// source is where a mapped parameter takes its value from.
type source uint8

const (
	fromLiteral source = iota
	fromPath
	fromQuery
	fromHeader
	fromMultiQuery
	fromMultiHeader
	fromBody
	fromBodyPath
	fromStage
	fromContext
	fromBackendHeader
	fromBackendMultiHeader
	fromBackendBody
	fromBackendBodyPath
)

// place is where a mapped parameter of the integration request goes.
type place uint8

const (
	toHeader place = iota
	toQuery
	toPath
)

// parameter is a compiled mapping.
type parameter struct {
	place  place
	name   string
	source source
	arg    string // literal text, name, or JSONPath
}

// prefixes of source expressions, longer ones before shorter.
var prefixes = []struct {
	prefix string
	source source
}{
	{"method.request.path.", fromPath},
	{"method.request.querystring.", fromQuery},
	{"method.request.multivaluequerystring.", fromMultiQuery},
	{"method.request.header.", fromHeader},
	{"method.request.multivalueheader.", fromMultiHeader},
	{"stageVariables.", fromStage},
	{"context.", fromContext},
	{"integration.response.header.", fromBackendHeader},
	{"integration.response.multivalueheader.", fromBackendMultiHeader},
}

// compileSource reads a source expression: "method.request.header.X", "'literal'".
func compileSource(expr string) (source, string, bool) {
	if len(expr) >= 2 && expr[0] == '\'' && expr[len(expr)-1] == '\'' {
		return fromLiteral, expr[1 : len(expr)-1], true
	}
	for _, p := range prefixes {
		if name, ok := strings.CutPrefix(expr, p.prefix); ok && name != "" {
			return p.source, name, true
		}
	}
	if path, ok := strings.CutPrefix(expr, "method.request.body"); ok {
		return bodySource(path, fromBody, fromBodyPath)
	}
	if path, ok := strings.CutPrefix(expr, "integration.response.body"); ok {
		return bodySource(path, fromBackendBody, fromBackendBodyPath)
	}
	return 0, "", false
}

func bodySource(path string, whole, part source) (source, string, bool) {
	switch {
	case path == "":
		return whole, "", true
	case path[0] == '.' || path[0] == '[':
		return part, "$" + path, true
	}
	return 0, "", false
}

// compileTarget reads "integration.request.header.X".
func compileTarget(key string) (place, string, bool) {
	rest, ok := strings.CutPrefix(key, "integration.request.")
	kind, name, found := strings.Cut(rest, ".")
	if !ok || !found || name == "" {
		return 0, "", false
	}
	switch kind {
	case "header":
		return toHeader, name, true
	case "querystring":
		return toQuery, name, true
	case "path":
		return toPath, name, true
	}
	return 0, "", false
}

// mapped is a parameter of the integration request with its value.
type mapped struct {
	place   place
	name    string
	value   string
	trusted bool // a literal or a stage variable: not a caller's word
	escaped bool // may hold percent escapes: a path parameter, which stays as it was sent
}

// value evaluates a source over the request. What is missing is left out, it does not become empty; nor does an empty
// literal set anything. An error means that the body is not the JSON that the expression needs.
func (x *exchange) value(p *parameter) (value string, ok bool, err error) {
	switch p.source {
	case fromLiteral:
		return p.arg, p.arg != "", nil
	case fromPath:
		value, ok = x.in.Path.Get(p.arg)
	case fromQuery, fromMultiQuery:
		value, ok = x.in.Query.Get(p.arg)
	case fromHeader:
		value, ok = x.in.Header.GetFold(p.arg)
	case fromMultiHeader:
		value = joined(x.in.Header, p.arg)
		ok = value != ""
	case fromStage:
		value, ok = x.in.StageVariables.Get(p.arg)
	case fromContext:
		value, ok = x.context.Lookup(p.arg)
		ok = ok && value != ""
	case fromBody:
		if x.in.Body == "" {
			return "{}", true, nil
		}
		if looksLikeJSON(x.in.Body) {
			if _, _, err := mapping.FindText(x.in.Body, "$"); err != nil {
				return "", false, err
			}
		}
		return x.in.Body, true, nil
	case fromBodyPath:
		if !looksLikeJSON(x.in.Body) {
			return "", false, nil
		}
		return mapping.FindText(x.in.Body, p.arg)
	case fromBackendHeader:
		value, ok = x.backendHeader(p.arg)
	case fromBackendBody:
		value, ok = x.in.Body, x.in.Body != ""
	case fromBackendBodyPath:
		return mapping.FindText(x.in.Body, p.arg)
	}
	return value, ok, nil
}

func joined(params mapping.Params, name string) string {
	var b strings.Builder
	for _, p := range params {
		if len(p.Name) == len(name) && strings.EqualFold(p.Name, name) {
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			b.WriteString(p.Value)
		}
	}
	return b.String()
}

// looksLikeJSON is the service's test before it parses a body for a parameter.
func looksLikeJSON(body string) bool {
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case ' ', '\t', '\r', '\n':
		case '{', '[', '"', '\'':
			return true
		default:
			return false
		}
	}
	return false
}
