package restapi

import "millrace/internal/ids"

// NewValidator is what a request validator is made of.
type NewValidator struct {
	Name       string
	Body       bool
	Parameters bool
}

var errNoValidator = notFound("restapi.Validator", "Invalid Request Validator identifier specified")

// Validator gives a request validator by id.
func (d *Definition) Validator(id string) (*Validator, error) {
	if v := d.Validators[id]; v != nil {
		return v, nil
	}
	return nil, errNoValidator
}

// ValidatorNamed gives the request validator of a name; nil: there is none.
func (d *Definition) ValidatorNamed(name string) *Validator {
	for _, v := range d.Validators {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// AddValidator makes a request validator. A name is optional; no two have the same.
func (a *API) AddValidator(spec NewValidator, source *ids.Source) (*Validator, error) {
	const op = "restapi.AddValidator"
	switch {
	case spec.Name != "" && a.ValidatorNamed(spec.Name) != nil:
		return nil, conflict(op, "Request Validator name must be unique")
	case len(a.Validators) >= MaxValidators:
		return nil, tooMany(op, "Maximum number of request validators for this API has been reached: %d", MaxValidators)
	}
	v := &Validator{
		ID:   freshID(source, func(id string) bool { return a.Validators[id] != nil }),
		Name: spec.Name, Body: spec.Body, Parameters: spec.Parameters,
	}
	if a.Validators == nil {
		a.Validators = map[string]*Validator{}
	}
	a.Validators[v.ID] = v
	return v, nil
}

// PatchValidator changes a request validator; deployments keep theirs.
func (a *API) PatchValidator(id string, patches []Patch) error {
	const op = "restapi.PatchValidator"
	v, err := a.Validator(id)
	if err != nil {
		return err
	}
	for _, p := range patches {
		var target *bool
		switch p.Path {
		case "/name":
		case "/validateRequestParameters":
			target = &v.Parameters
		case "/validateRequestBody":
			target = &v.Body
		default:
			return strictPath(op, p, "/name", "/validateRequestParameters", "/validateRequestBody")
		}
		switch other := a.ValidatorNamed(p.Value); {
		case p.Op != OpReplace:
			return strictOp(op, p)
		case target != nil:
			*target = p.Value == "true"
		case p.Value == "":
			return invalid(op, "Request Validator name cannot be blank")
		case other != nil && other != v:
			return conflict(op, "Request Validator name must be unique")
		default:
			v.Name = p.Value
		}
	}
	return nil
}

// DeleteValidator removes a request validator that no method names. The service's words are not known; these are those
// for authorizers and models.
func (a *API) DeleteValidator(id string) error {
	v, err := a.Validator(id)
	if err != nil {
		return err
	}
	user := ""
	a.eachMethod(func(r *Resource, m *Method) {
		if m.ValidatorID == id && user == "" {
			user = r.Path + "/" + m.HTTPMethod
		}
	})
	if user != "" {
		return conflict("restapi.DeleteValidator", "Cannot delete request validator '%s', is referenced in method: %s", v.Name, user)
	}
	delete(a.Validators, id)
	if len(a.Validators) == 0 {
		a.Validators = nil
	}
	return nil
}
