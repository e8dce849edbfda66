package gateway

import "strings"

// target is what an address leads to.
type target struct {
	api   *api
	stage *stage
	path  string // what follows the stage: "", "/", "/v1/class-stream"
	full  string // with the stage, as $context.path shows it
}

// resolve finds API and stage. The forms, in the order in which they are tried:
//
//	ingest, Host is a custom domain name           /{base path}/{path}, or /{base path}/{stage}/{path}
//	Host {api-id}.execute-api.{region}.anything    /{stage}/{path}
//	AWS endpoint                                   /restapis/{api-id}/{stage}/_user_request_/{path}
//	AWS endpoint                                   /_aws/execute-api/{api-id}/{stage}/{path}
//	ingest                                         /{api-id}/{stage}/{path}
//	ingest                                         /{stage}/{path} of the API that owns the short form
//
// A first segment that is an API's id is that, also when the short form's API has a stage of this name: the long
// form always holds. A Host that names an API decides alone. Of a name that is neither, the service's answer for an
// unknown stage is given. Slashes in front of API and stage count as one.
func (s *snapshot) resolve(domains *domainTable, listener Listener, host, path string) (target, *failure) {
	if listener != AWS {
		if d := domains.find(host); d != nil {
			return d.resolve(s, path)
		}
	}
	if id, ok := hostAPI(host); ok {
		return s.named(id, path)
	}
	if listener == AWS {
		if rest, ok := strings.CutPrefix(path, "/_aws/execute-api/"); ok {
			id, rest := cutSegment(rest)
			return s.named(strings.ToLower(id), rest)
		}
		if rest, ok := strings.CutPrefix(path, "/restapis/"); ok {
			return s.userRequest(rest)
		}
		return target{}, errMissingToken
	}
	first, rest := cutSegment(path)
	if a := s.apis[first]; a != nil {
		return a.at(rest)
	}
	if s.short == nil {
		if first == "" {
			return target{}, errForbidden
		}
		return target{}, unknownAPI(first)
	}
	return s.short.at(path)
}

func (s *snapshot) named(id, path string) (target, *failure) {
	a := s.apis[id]
	if a == nil {
		// A private API's name: {api-id}-{endpoint id}.
		short, _, found := strings.Cut(id, "-vpce-")
		if a = s.apis[short]; !found || a == nil {
			return target{}, unknownAPI(id)
		}
	}
	return a.at(path)
}

// userRequest reads {api-id}/{stage}/_user_request_/{path}.
func (s *snapshot) userRequest(path string) (target, *failure) {
	id, rest := cutSegment(path)
	stage, rest := cutSegment(rest)
	rest, ok := strings.CutPrefix(rest, "/_user_request_")
	if !ok || rest != "" && rest[0] != '/' {
		return target{}, errMissingToken
	}
	if s.apis[id] == nil {
		return target{}, unknownAPI(id)
	}
	return s.apis[id].at("/" + stage + rest)
}

// at takes /{stage}/{path}.
func (a *api) at(path string) (target, *failure) {
	if a.disabled {
		return target{}, errForbidden
	}
	return a.staged(path)
}

// staged takes /{stage}/{path} whether or not the API's own address is disabled.
func (a *api) staged(path string) (target, *failure) {
	name, rest := cutSegment(path)
	st := a.stages[name]
	if st == nil {
		return target{}, errForbidden
	}
	var full string
	if start := len(path) - len(rest) - len(name); start > 0 {
		full = path[start-1:] // with the last slash before it
	} else {
		full = "/" + path
	}
	return target{a, st, rest, full}, nil
}

// cutSegment cuts the first segment off a path; slashes before it count as one. What follows keeps its slashes.
func cutSegment(path string) (segment, rest string) {
	path = strings.TrimLeft(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// hostAPI gives the API that a Host names: {api-id}.execute-api.{region}.anything.
func hostAPI(host string) (id string, ok bool) {
	const mark = ".execute-api."
	i := strings.IndexByte(host, '.')
	if i <= 0 || len(host) <= i+len(mark) || !strings.EqualFold(host[i:i+len(mark)], mark) {
		return "", false
	}
	return strings.ToLower(host[:i]), true
}

// hostName is a Host without its port.
func hostName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return host[:i]
	}
	return host
}
