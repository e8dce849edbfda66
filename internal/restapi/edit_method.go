package restapi

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Verbs are the methods that a resource may have, in the order that the service lists them.
var Verbs = []string{"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "ANY"}

// Method gives a method of the working copy.
func (a *API) Method(resourceID, verb string) (*Method, error) {
	r, err := a.Resource(resourceID)
	if err != nil {
		return nil, err
	}
	if m := r.Methods[verb]; m != nil {
		return m, nil
	}
	return nil, notFound("restapi.Method", "Invalid Method identifier specified")
}

// PutMethod adds a method to a resource. Of m it takes what describes the request; responses and integration have
// calls of their own.
func (a *API) PutMethod(resourceID string, m Method) (*Method, error) {
	const op = "restapi.PutMethod"
	r, err := a.Resource(resourceID)
	if err != nil {
		return nil, err
	}
	if err := checkVerb(op, m.HTTPMethod); err != nil {
		return nil, err
	}
	if r.Methods[m.HTTPMethod] != nil {
		return nil, conflict(op, "Method already exists for this resource")
	}
	added := &Method{
		HTTPMethod:        m.HTTPMethod,
		AuthorizationType: strings.ToUpper(m.AuthorizationType),
		AuthorizerID:      m.AuthorizerID,
		APIKeyRequired:    m.APIKeyRequired,
		ValidatorID:       m.ValidatorID,
		OperationName:     m.OperationName,
		RequestParameters: maps.Clone(m.RequestParameters),
		RequestModels:     maps.Clone(m.RequestModels),
	}
	if err := a.checkMethod(op, added); err != nil {
		return nil, err
	}
	if r.Methods == nil {
		r.Methods = map[string]*Method{}
	}
	r.Methods[added.HTTPMethod] = added
	return added, nil
}

func checkVerb(op, verb string) error {
	if slices.Contains(Verbs, verb) {
		return nil
	}
	return invalid(op, "Invalid HttpMethod specified. Valid options are %s", strings.Join(Verbs, ","))
}

// checkMethod checks what a method says of its request.
func (a *API) checkMethod(op string, m *Method) error {
	switch m.AuthorizationType {
	case Open, IAM:
		m.AuthorizerID = "" // the service takes one, and ignores it
	case Custom:
		if a.Authorizers[m.AuthorizerID] == nil {
			return invalid(op, "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires a valid authorizer.")
		}
	case "COGNITO_USER_POOLS":
		return unsupported(op, "authorizationType COGNITO_USER_POOLS", "there are no user pools; use CUSTOM")
	default:
		return invalid(op, "Invalid authorization type specified. Valid options are NONE,AWS_IAM,CUSTOM,COGNITO_USER_POOLS")
	}
	if err := checkRequestParameters(op, m.RequestParameters); err != nil {
		return err
	}
	if m.ValidatorID != "" && a.Validators[m.ValidatorID] == nil {
		return invalid(op, "Invalid Request Validator identifier specified")
	}
	return a.checkModelNames(op, m.RequestModels)
}

// requestParameterPattern is the name of a parameter that a method declares.
var requestParameterPattern = regexp.MustCompile(`^method\.request\.(path|querystring|header)\.([a-zA-Z0-9._$-]+)$`)

func checkRequestParameters(op string, params map[string]bool) error {
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		parts := requestParameterPattern.FindStringSubmatch(name)
		if parts == nil {
			return badMapping(op, name)
		}
		if seen[parts[2]] {
			return invalid(op, "Parameter names must be unique across querystring, header and path")
		}
		seen[parts[2]] = true
	}
	return nil
}

func badMapping(op, expression string) error {
	return invalid(op, "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression specified: %s]", expression)
}

// checkModelNames checks that the models exist that media types are mapped to.
func (a *API) checkModelNames(op string, models map[string]string) error {
	for _, mediaType := range slices.Sorted(maps.Keys(models)) {
		if name := models[mediaType]; a.Models[name] == nil {
			return invalid(op, "Invalid model identifier specified: %s", name)
		}
	}
	return nil
}

// DeleteMethod removes a method with its responses and integration.
func (a *API) DeleteMethod(resourceID, verb string) error {
	if _, err := a.Method(resourceID, verb); err != nil {
		return err
	}
	r := a.Resources[resourceID]
	delete(r.Methods, verb)
	if len(r.Methods) == 0 {
		r.Methods = nil
	}
	return nil
}

// PatchMethod changes what a method says of its request.
func (a *API) PatchMethod(resourceID, verb string, patches []Patch) error {
	const op = "restapi.PatchMethod"
	m, err := a.Method(resourceID, verb)
	if err != nil {
		return err
	}
	for _, p := range patches {
		if err := patchMethod(op, m, p); err != nil {
			return err
		}
	}
	return a.checkMethod(op, m)
}

func patchMethod(op string, m *Method, p Patch) error {
	segments, ok := p.segments()
	if !ok {
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	if len(segments) == 2 {
		switch segments[0] {
		case "requestParameters":
			return patchMap(op, &m.RequestParameters, p, segments[1], p.Value == "true", notFound(op, "Invalid parameter name specified"))
		case "requestModels":
			return patchMap(op, &m.RequestModels, p, segments[1], p.Value, notFound(op, "Content-Type specified was not found"))
		}
	}
	if segments[0] == "authorizationScopes" {
		return unsupported(op, "authorizationScopes", "they are for user pools, which there are not")
	}
	if len(segments) != 1 {
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	if p.Op != OpReplace {
		return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
	}
	switch segments[0] {
	case "authorizationType":
		m.AuthorizationType = strings.ToUpper(p.Value)
	case "apiKeyRequired":
		m.APIKeyRequired = p.Value == "true"
	case "operationName":
		m.OperationName = p.Value
	case "authorizerId":
		m.AuthorizerID = p.Value
	case "requestValidatorId":
		m.ValidatorID = p.Value
	default:
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	return nil
}
