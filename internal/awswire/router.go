package awswire

import (
	"net/http"
	"net/url"
	"strings"
)

// Router finds the operation of a REST request. Among operations of one path shape the one wins that asks for
// most of what the request has: PUT /{Bucket}/{Key+} is UploadPart when uploadId and partNumber are there,
// CopyObject when x-amz-copy-source is, else PutObject.
type Router struct {
	byMethod map[string][]route
}

type route struct {
	op       *Operation
	segments []segment
	greedy   bool
	weight   int // literal segments, then conditions
}

type segment struct {
	label bool
	text  string
}

// NewRouter compiles a service's operations.
func NewRouter(ops []Operation) *Router {
	r := &Router{byMethod: map[string][]route{}}
	for i := range ops {
		op := &ops[i]
		rt := route{op: op, weight: len(op.Query) + len(op.NeedsQuery) + len(op.NeedsHeader)}
		for part := range strings.SplitSeq(strings.Trim(op.Path, "/"), "/") {
			s := segment{text: part}
			if strings.HasPrefix(part, "{") {
				s.label = true
				s.text = strings.Trim(part, "{}")
				if name, ok := strings.CutSuffix(s.text, "+"); ok {
					s.text, rt.greedy = name, true
				}
			} else {
				rt.weight += 100 // a literal is always closer than any condition
			}
			rt.segments = append(rt.segments, s)
		}
		r.byMethod[op.Method] = append(r.byMethod[op.Method], rt)
	}
	return r
}

// Match finds the operation for a request whose path is still escaped.
func (r *Router) Match(method, escapedPath string, query url.Values, header http.Header) (*Operation, []Param, bool) {
	var best *route
	parts := strings.TrimPrefix(escapedPath, "/")
	for i := range r.byMethod[method] {
		rt := &r.byMethod[method][i]
		if best != nil && best.weight >= rt.weight {
			continue
		}
		if rt.fits(parts) && rt.asks(query, header) {
			best = rt
		}
	}
	if best == nil {
		return nil, nil, false
	}
	params, ok := best.params(parts)
	return best.op, params, ok
}

func (rt *route) fits(path string) bool {
	for i, s := range rt.segments {
		last := i == len(rt.segments)-1
		if last && rt.greedy {
			return path != ""
		}
		part, rest, more := strings.Cut(path, "/")
		if s.label && part == "" || !s.label && part != s.text {
			return false
		}
		if last {
			return !more || rest == "" // "/bucket/" is "/bucket"
		}
		path = rest
	}
	return false
}

func (rt *route) asks(query url.Values, header http.Header) bool {
	for _, q := range rt.op.Query {
		name, value, valued := strings.Cut(q, "=")
		if !query.Has(name) || valued && query.Get(name) != value {
			return false
		}
	}
	for _, name := range rt.op.NeedsQuery {
		if !query.Has(name) {
			return false
		}
	}
	for _, name := range rt.op.NeedsHeader {
		if header.Get(name) == "" {
			return false
		}
	}
	return true
}

func (rt *route) params(path string) ([]Param, bool) {
	var params []Param
	for i, s := range rt.segments {
		part, rest, _ := strings.Cut(path, "/")
		if i == len(rt.segments)-1 && rt.greedy {
			part = path
		}
		if s.label {
			v, err := url.PathUnescape(part)
			if err != nil {
				return nil, false
			}
			params = append(params, Param{s.text, v})
		}
		path = rest
	}
	return params, true
}
