package restapi

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// defaultResponseTemplates are those of every type that brings none.
func defaultResponseTemplates() map[string]string {
	return map[string]string{"application/json": `{"message":$context.error.messageString}`}
}

// ShownResponse is a gateway response as the service shows it: complete, be it set or not.
type ShownResponse struct {
	GatewayResponse
	Default   bool // it is not set
	Inherited bool // it is not set, and shows what is set for its class
}

// GatewayResponse gives the response of a type as it applies. One that is not set shows what is set for its class,
// DEFAULT_4XX or DEFAULT_5XX; one that is set takes nothing from there.
func (d *Definition) GatewayResponse(name string) (ShownResponse, error) {
	t, err := responseType("restapi.GatewayResponse", name)
	if err != nil {
		return ShownResponse{}, err
	}
	return d.shown(t), nil
}

// AllGatewayResponses gives those of all types in the order of their names.
func (d *Definition) AllGatewayResponses() []ShownResponse {
	all := make([]ShownResponse, len(ResponseTypes))
	for i, t := range ResponseTypes {
		all[i] = d.shown(t)
	}
	slices.SortFunc(all, func(a, b ShownResponse) int { return strings.Compare(a.Type, b.Type) })
	return all
}

func (d *Definition) shown(t ResponseType) ShownResponse {
	if set := d.GatewayResponses[t.Name]; set != nil {
		return ShownResponse{GatewayResponse: *set.withDefaults(t)}
	}
	r := ShownResponse{Default: true}
	if class := d.GatewayResponses[t.class()]; class != nil {
		r.Inherited = true
		r.StatusCode, r.Parameters, r.Templates = class.StatusCode, class.Parameters, class.Templates
	}
	r.GatewayResponse = *r.withDefaults(t)
	return r
}

// class is the type that shows through this one when it is not set; the two of which that is so have none.
func (t ResponseType) class() string {
	switch {
	case t.Status == "":
		return ""
	case t.Status[0] == '5':
		return Default5XX
	}
	return Default4XX
}

// withDefaults gives a copy whose missing members are the type's.
func (r *GatewayResponse) withDefaults(t ResponseType) *GatewayResponse {
	full := &GatewayResponse{t.Name, r.StatusCode, maps.Clone(r.Parameters), maps.Clone(r.Templates)}
	if full.StatusCode == "" {
		full.StatusCode = t.Status
	}
	if full.Parameters == nil {
		full.Parameters = map[string]string{}
	}
	if len(full.Templates) == 0 {
		full.Templates = defaultResponseTemplates()
	}
	return full
}

func responseType(op, name string) (ResponseType, error) {
	names := make([]string, len(ResponseTypes))
	for i, t := range ResponseTypes {
		if t.Name == name {
			return t, nil
		}
		names[i] = t.Name
	}
	return ResponseType{}, oneOf(op, name, "responseType", names...)
}

// PutGatewayResponse sets a response; members left out are the type's own. It overwrites.
func (d *Definition) PutGatewayResponse(r GatewayResponse) (ShownResponse, error) {
	const op = "restapi.PutGatewayResponse"
	t, err := responseType(op, r.Type)
	if err != nil {
		return ShownResponse{}, err
	}
	return d.setGatewayResponse(op, t, &r)
}

func (d *Definition) setGatewayResponse(op string, t ResponseType, r *GatewayResponse) (ShownResponse, error) {
	if err := r.check(op); err != nil {
		return ShownResponse{}, err
	}
	put := r.withDefaults(t)
	if len(put.Parameters) == 0 {
		put.Parameters = nil // kept as the document that it is read back from
	}
	if d.GatewayResponses == nil {
		d.GatewayResponses = map[string]*GatewayResponse{}
	}
	d.GatewayResponses[t.Name] = put
	return d.shown(t), nil
}

// The names and sources of headers of gateway responses.
var (
	gatewayParameterPattern = regexp.MustCompile(`^gatewayresponse\.header\.[a-zA-Z0-9._$-]+$`)
	gatewaySourcePattern    = regexp.MustCompile(`^(?s:'.*'|method\.request\.(?:header|path|querystring|multivalueheader|multivaluequerystring)\.[a-zA-Z0-9._$-]+|stageVariables\.[a-zA-Z0-9_]+|context\.[a-zA-Z0-9._-]+)$`)
)

func (r *GatewayResponse) check(op string) error {
	if r.StatusCode != "" {
		if err := checkStatusCode(op, r.StatusCode); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Parameters)) {
		if !gatewayParameterPattern.MatchString(name) {
			return badMapping(op, name)
		}
		if value := r.Parameters[name]; !gatewaySourcePattern.MatchString(value) {
			return badMapping(op, value)
		}
	}
	return checkMediaTypes(op, r.Templates)
}

// DeleteGatewayResponse lets the defaults apply again.
func (d *Definition) DeleteGatewayResponse(name string) error {
	const op = "restapi.DeleteGatewayResponse"
	if _, err := responseType(op, name); err != nil {
		return err
	}
	if d.GatewayResponses[name] == nil {
		return notFound(op, "Gateway response type not defined on api")
	}
	delete(d.GatewayResponses, name)
	if len(d.GatewayResponses) == 0 {
		d.GatewayResponses = nil
	}
	return nil
}

// PatchGatewayResponse changes a response. One that is not set is set by it, from its type's defaults.
func (d *Definition) PatchGatewayResponse(name string, patches []Patch) (ShownResponse, error) {
	const op = "restapi.PatchGatewayResponse"
	t, err := responseType(op, name)
	if err != nil {
		return ShownResponse{}, err
	}
	r := d.GatewayResponses[name]
	if r == nil {
		r = &GatewayResponse{}
	}
	r = r.withDefaults(t)
	for _, p := range patches {
		if err := patchGatewayResponse(op, r, p); err != nil {
			return ShownResponse{}, err
		}
	}
	return d.setGatewayResponse(op, t, r)
}

func patchGatewayResponse(op string, r *GatewayResponse, p Patch) error {
	segments, _ := p.segments()
	switch {
	case len(segments) == 1 && segments[0] == "statusCode" && p.Op == OpReplace:
		if err := checkStatusCode(op, p.Value); err != nil {
			return err
		}
		r.StatusCode = p.Value
		return nil
	case len(segments) == 2 && segments[0] == "responseParameters":
		return patchGatewayMap(op, &r.Parameters, p, segments)
	case len(segments) == 2 && segments[0] == "responseTemplates":
		return patchGatewayMap(op, &r.Templates, p, segments)
	case p.Path == "":
		return invalid(op, "Invalid patch path null")
	}
	return invalid(op, "Invalid patch path %s", p.Path)
}

// patchGatewayMap tells of an absent entry before it tells of an absent value, as the service does.
func patchGatewayMap(op string, m *map[string]string, p Patch, segments []string) error {
	missing := notFound(op, "Invalid parameter name specified")
	if _, there := (*m)[segments[1]]; p.Op == OpReplace && !there {
		return missing
	}
	if p.Value == "" && (p.Op == OpAdd || p.Op == OpReplace) {
		return invalid(op, "Invalid null or empty value in %s", segments[0])
	}
	return patchMap(op, m, p, segments[1], p.Value, missing)
}
