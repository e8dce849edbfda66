package restapi

import (
	"maps"
	"slices"
)

// IntegrationResponse gives an integration response by its status code.
func (a *API) IntegrationResponse(resourceID, verb, code string) (*IntegrationResponse, error) {
	i, err := a.Integration(resourceID, verb)
	if err != nil {
		return nil, err
	}
	if r := i.Responses[code]; r != nil {
		return r, nil
	}
	return nil, notFound("restapi.IntegrationResponse", "Invalid Response status code specified")
}

// PutIntegrationResponse says how an answer of the backend becomes one of the method; it overwrites.
func (a *API) PutIntegrationResponse(resourceID, verb string, r IntegrationResponse) (*IntegrationResponse, error) {
	const op = "restapi.PutIntegrationResponse"
	if err := checkStatusCode(op, r.StatusCode); err != nil {
		return nil, err
	}
	m, err := a.Method(resourceID, verb)
	if err != nil {
		return nil, err
	}
	if m.Integration == nil {
		return nil, notFound(op, "Invalid Method identifier specified") // the service's word for both
	}
	put := &IntegrationResponse{r.StatusCode, r.SelectionPattern, maps.Clone(r.ResponseParameters), maps.Clone(r.ResponseTemplates), r.ContentHandling}
	if err := checkIntegrationResponse(op, m, put); err != nil {
		return nil, err
	}
	if m.Integration.Responses == nil {
		m.Integration.Responses = map[string]*IntegrationResponse{}
	}
	m.Integration.Responses[r.StatusCode] = put
	return put, nil
}

// checkIntegrationResponse checks a response against its method. A script may put it before the method response of
// its status; when that is there, it must declare the headers that are mapped.
func checkIntegrationResponse(op string, m *Method, r *IntegrationResponse) error {
	if err := checkContentHandling(op, "putIntegrationResponseInput.contentHandling", r.ContentHandling); err != nil {
		return err
	}
	if err := checkMediaTypes(op, r.ResponseTemplates); err != nil {
		return err
	}
	declared := m.Responses[r.StatusCode]
	for _, target := range slices.Sorted(maps.Keys(r.ResponseParameters)) {
		if !responseParameterPattern.MatchString(target) {
			return badMapping(op, target)
		}
		if declared != nil {
			if _, ok := declared.ResponseParameters[target]; !ok {
				return badParameter(op, target)
			}
		}
		if value := r.ResponseParameters[target]; !responseSourcePattern.MatchString(value) {
			return badMapping(op, value)
		}
	}
	return nil
}

// DeleteIntegrationResponse removes an integration response.
func (a *API) DeleteIntegrationResponse(resourceID, verb, code string) error {
	const op = "restapi.DeleteIntegrationResponse"
	r, err := a.Resource(resourceID)
	if err != nil {
		return err
	}
	if m := r.Methods[verb]; m == nil || m.Integration == nil {
		return notFound(op, "Invalid Integration identifier specified") // also for an unknown method
	}
	if _, err := a.IntegrationResponse(resourceID, verb, code); err != nil {
		return err
	}
	i := r.Methods[verb].Integration
	delete(i.Responses, code)
	if len(i.Responses) == 0 {
		i.Responses = nil
	}
	return nil
}

// PatchIntegrationResponse changes members of an integration response; a new status code is a new key.
func (a *API) PatchIntegrationResponse(resourceID, verb, code string, patches []Patch) (*IntegrationResponse, error) {
	const op = "restapi.PatchIntegrationResponse"
	r, err := a.IntegrationResponse(resourceID, verb, code)
	if err != nil {
		return nil, err
	}
	for _, p := range patches {
		if err := patchIntegrationResponse(op, r, p); err != nil {
			return nil, err
		}
	}
	m := a.Resources[resourceID].Methods[verb]
	if r.StatusCode != code {
		if m.Integration.Responses[r.StatusCode] != nil {
			return nil, conflict(op, "Response already exists for this resource")
		}
		delete(m.Integration.Responses, code)
		m.Integration.Responses[r.StatusCode] = r
	}
	return r, checkIntegrationResponse(op, m, r)
}

func patchIntegrationResponse(op string, r *IntegrationResponse, p Patch) error {
	segments, ok := p.segments()
	if !ok {
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	if len(segments) == 2 {
		switch segments[0] {
		case "responseParameters":
			return patchMap(op, &r.ResponseParameters, p, segments[1], p.Value, notFound(op, "Invalid parameter name specified"))
		case "responseTemplates":
			return patchMap(op, &r.ResponseTemplates, p, segments[1], p.Value, notFound(op, "Content-Type specified was not found"))
		}
	}
	if len(segments) != 1 {
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	if p.Op != OpReplace {
		return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
	}
	switch segments[0] {
	case "selectionPattern":
		r.SelectionPattern = p.Value
	case "contentHandling":
		r.ContentHandling = p.Value
	case "statusCode":
		if err := checkStatusCode(op, p.Value); err != nil {
			return err
		}
		r.StatusCode = p.Value
	default:
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	return nil
}
