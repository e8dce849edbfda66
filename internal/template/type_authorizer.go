package template

import (
	"slices"
	"strings"

	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
	"millrace/internal/yamldoc"
)

var authorizerType = &resourceType{
	name: "AWS::ApiGateway::Authorizer", phase: phaseModel,
	note: "types TOKEN and REQUEST; the function's ARN has a URL under the key authorizers of the configuration file",
	properties: map[string]string{
		"RestApiId": served, "Name": served, "Type": served, "AuthorizerUri": served, "IdentitySource": served, "IdentityValidationExpression": served,
		"AuthorizerResultTtlInSeconds": served, "AuthType": "kept and shown: it is for exports",
		"AuthorizerCredentials": "kept and shown: the function's URL is called without a role",
	},
	required: []string{"RestApiId", "Name", "Type"},
	generate: func(_ *build, r *resource) string { return token("authorizer", r.logical) },
	attributes: map[string]func(*build, *resource, string) string{
		"AuthorizerId": func(_ *build, _ *resource, id string) string { return id },
	},
	make: func(b *build, r *resource, p *properties) bool {
		s := p.api()
		if s == nil {
			return true
		}
		z := restapi.Authorizer{
			Name: p.text("Name"), Type: p.text("Type"), AuthType: p.text("AuthType"), URI: p.text("AuthorizerUri"), Credentials: p.text("AuthorizerCredentials"),
			IdentitySource: p.text("IdentitySource"), IdentityValidation: p.text("IdentityValidationExpression"),
		}
		if p.has("AuthorizerResultTtlInSeconds") {
			ttl := p.integer("AuthorizerResultTtlInSeconds", 0)
			z.TTLSeconds = &ttl
		}
		made, err := s.api.AddAuthorizer(z, b.source)
		if err != nil {
			n, where := locate(p.node, p.where, openapi.Reason(err))
			b.tell(n, where, "%s", openapi.Reason(err))
			s.authorizers[r.logical] = "" // methods that name it have no problem of their own
			return true
		}
		s.authorizers[r.logical] = made.ID
		return true
	},
}

// authorizer gives the id of the authorizer that AuthorizerId names, "" for none; known is false when there is a
// problem, told already.
func (p *properties) authorizer(s *apiSpec) (id string, known bool) {
	text := p.text("AuthorizerId")
	if text == "" {
		return "", true
	}
	logical, ok := fromToken("authorizer", text)
	if id, known = s.authorizers[logical]; !ok || !known {
		p.tell("AuthorizerId", "%q is no authorizer of this API", text)
		return "", false
	}
	return id, id != ""
}

// policy sets an API's resource policy, which stands in the file as a mapping or as a text.
func (p *properties) policy(api *restapi.API) {
	n := yamldoc.Get(p.node, "Policy")
	text, isText := yamldoc.Text(n)
	if !isText {
		text = string(yamldoc.JSON(n))
	}
	if err := api.SetPolicy(strings.TrimSpace(text)); err != nil {
		p.tell("Policy", "%s", openapi.Reason(err))
	}
}

func (b *build) functions() (all []string) {
	for _, s := range b.apis {
		for _, z := range s.api.Authorizers {
			if f := z.Function(); f != "" && !slices.Contains(all, f) {
				all = append(all, f)
			}
		}
	}
	slices.Sort(all)
	return all
}
