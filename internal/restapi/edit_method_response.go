package restapi

import (
	"maps"
	"regexp"
	"slices"
)

var statusCodePattern = regexp.MustCompile(`^[1-5]\d\d$`)

func checkStatusCode(op, code string) error {
	if statusCodePattern.MatchString(code) {
		return nil
	}
	return constraint(op, Violation{code, "statusCode", `Member must satisfy regular expression pattern: [1-5]\d\d`})
}

// MethodResponse gives a declared response of a method.
func (a *API) MethodResponse(resourceID, verb, code string) (*MethodResponse, error) {
	m, err := a.Method(resourceID, verb)
	if err != nil {
		return nil, err
	}
	if r := m.Responses[code]; r != nil {
		return r, nil
	}
	return nil, notFound("restapi.MethodResponse", "Invalid Response status code specified")
}

// PutMethodResponse declares a status that a method may answer. Empty maps are kept apart from absent ones: the
// service shows the first.
func (a *API) PutMethodResponse(resourceID, verb string, r MethodResponse) (*MethodResponse, error) {
	const op = "restapi.PutMethodResponse"
	if err := checkStatusCode(op, r.StatusCode); err != nil {
		return nil, err
	}
	m, err := a.Method(resourceID, verb)
	if err != nil {
		return nil, err
	}
	if m.Responses[r.StatusCode] != nil {
		return nil, conflict(op, "Response already exists for this resource")
	}
	added := &MethodResponse{r.StatusCode, maps.Clone(r.ResponseParameters), maps.Clone(r.ResponseModels)}
	if err := a.checkMethodResponse(op, added); err != nil {
		return nil, err
	}
	if m.Responses == nil {
		m.Responses = map[string]*MethodResponse{}
	}
	m.Responses[r.StatusCode] = added
	return added, nil
}

// responseParameterPattern is the name of a header that a method response declares.
var responseParameterPattern = regexp.MustCompile(`^method\.response\.header\.[a-zA-Z0-9._$-]+$`)

func (a *API) checkMethodResponse(op string, r *MethodResponse) error {
	for _, name := range slices.Sorted(maps.Keys(r.ResponseParameters)) {
		if !responseParameterPattern.MatchString(name) {
			return badMapping(op, name)
		}
	}
	return a.checkModelNames(op, r.ResponseModels)
}

// DeleteMethodResponse removes a declared response.
func (a *API) DeleteMethodResponse(resourceID, verb, code string) error {
	if _, err := a.MethodResponse(resourceID, verb, code); err != nil {
		return err
	}
	m := a.Resources[resourceID].Methods[verb]
	delete(m.Responses, code)
	if len(m.Responses) == 0 {
		m.Responses = nil
	}
	return nil
}

// PatchMethodResponse adds, replaces and removes headers and models.
func (a *API) PatchMethodResponse(resourceID, verb, code string, patches []Patch) error {
	const op = "restapi.PatchMethodResponse"
	r, err := a.MethodResponse(resourceID, verb, code)
	if err != nil {
		return err
	}
	for _, p := range patches {
		segments, ok := p.segments()
		switch {
		case !ok || len(segments) != 2:
			err = invalid(op, "Invalid patch path %s", p.Path)
		case segments[0] == "responseParameters":
			err = patchMap(op, &r.ResponseParameters, p, segments[1], p.Value == "true", notFound(op, "Invalid parameter name specified"))
		case segments[0] == "responseModels":
			err = patchMap(op, &r.ResponseModels, p, segments[1], p.Value, notFound(op, "Content-Type specified was not found"))
		default:
			err = invalid(op, "Invalid patch path %s", p.Path)
		}
		if err != nil {
			return err
		}
	}
	return a.checkMethodResponse(op, r)
}
