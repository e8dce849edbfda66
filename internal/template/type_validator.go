package template

import (
	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
)

var validatorType = &resourceType{
	name: "AWS::ApiGateway::RequestValidator", phase: phaseModel,
	properties: map[string]string{"RestApiId": served, "Name": served, "ValidateRequestBody": served, "ValidateRequestParameters": served},
	required:   []string{"RestApiId"},
	generate:   func(_ *build, r *resource) string { return token("validator", r.logical) },
	attributes: map[string]func(*build, *resource, string) string{
		"RequestValidatorId": func(_ *build, _ *resource, id string) string { return id }},
	make: func(b *build, r *resource, p *properties) bool {
		s := p.api()
		if s == nil {
			return true
		}
		// Without a name it is given the logical id: the next plan finds it again by its name.
		spec := restapi.NewValidator{Name: r.logical, Body: p.boolean("ValidateRequestBody"), Parameters: p.boolean("ValidateRequestParameters")}
		if name := p.text("Name"); name != "" {
			spec.Name = name
		}
		v, err := s.api.AddValidator(spec, b.source)
		if err != nil {
			p.tell("Name", "%s", openapi.Reason(err))
			return true
		}
		s.validators[r.logical] = v.ID
		return true
	},
}

// validatorID gives the id of the request validator that a method names.
func (p *properties) validatorID(s *apiSpec) string {
	text := p.text("RequestValidatorId")
	if text == "" {
		return ""
	}
	logical, _ := fromToken("validator", text)
	id := s.validators[logical]
	if id == "" {
		p.tell("RequestValidatorId", "%q is no request validator of this API", text)
	}
	return id
}

// adoptValidators gives the request validators of a definition the ids that an earlier one had for the same names, and
// returns what became of the new ones.
func adoptValidators(next, have *restapi.Definition) map[string]string {
	ids := map[string]string{}
	all := make(map[string]*restapi.Validator, len(next.Validators))
	for id, v := range next.Validators {
		if was := have.ValidatorNamed(v.Name); was != nil {
			v.ID = was.ID
		}
		ids[id], all[v.ID] = v.ID, v
	}
	if len(all) > 0 {
		next.Validators = all
	}
	for _, r := range next.Resources {
		for _, m := range r.Methods {
			if id, ok := ids[m.ValidatorID]; ok {
				m.ValidatorID = id
			}
		}
	}
	return ids
}

// keepValidator makes sure of the request validator of a method that is kept.
func keepValidator(next, have *restapi.API, m *restapi.Method) {
	v := have.Validators[m.ValidatorID]
	if v == nil || next.Validators[v.ID] != nil {
		return
	}
	if next.Validators == nil {
		next.Validators = map[string]*restapi.Validator{}
	}
	next.Validators[v.ID] = v
}
