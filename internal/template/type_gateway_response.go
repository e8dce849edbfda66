package template

import (
	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
	"millrace/internal/yamldoc"
)

var gatewayResponseType = &resourceType{
	name: "AWS::ApiGateway::GatewayResponse", phase: phaseMethod,
	properties: map[string]string{
		"RestApiId": served, "ResponseType": served, "StatusCode": served, "ResponseParameters": served, "ResponseTemplates": served,
	},
	required:   []string{"RestApiId", "ResponseType"},
	generate:   func(_ *build, r *resource) string { return r.logical },
	attributes: map[string]func(*build, *resource, string) string{"Id": func(_ *build, _ *resource, id string) string { return id }},
	make: func(_ *build, _ *resource, p *properties) bool {
		s := p.api()
		name := p.text("ResponseType")
		if s == nil || name == "" {
			return true
		}
		p.embedGateway()
		if s.api.GatewayResponses[name] != nil {
			p.tell("ResponseType", "%s is set elsewhere in the file", name)
			return true
		}
		_, err := s.api.PutGatewayResponse(restapi.GatewayResponse{
			Type: name, StatusCode: p.text("StatusCode"), Parameters: p.textMap("ResponseParameters"), Templates: p.textMap("ResponseTemplates"),
		})
		if err != nil {
			p.tell("ResponseType", "%s", openapi.Reason(err))
		}
		return true
	},
}

// compressionSize reads MinimumCompressionSize; nil: nothing is compressed.
func (p *properties) compressionSize() *int {
	if yamldoc.IsNull(yamldoc.Get(p.node, "MinimumCompressionSize")) {
		return nil
	}
	return new(p.integer("MinimumCompressionSize", 0))
}

// The kinds of parameters of SAM's gateway responses, and what stands before their names in the API.
var samParameterKinds = map[string]string{
	"Headers": "gatewayresponse.header.", "Paths": "gatewayresponse.path.", "QueryStrings": "gatewayresponse.querystring.",
}

// samGatewayResponses reads GatewayResponses of AWS::Serverless::Api.
func (p *properties) samGatewayResponses(api *restapi.API) {
	sub := p.nested("GatewayResponses")
	if sub == nil {
		return
	}
	for key := range yamldoc.Pairs(sub.node) {
		one := sub.nested(key.Value)
		if one == nil {
			continue
		}
		one.only("StatusCode", "ResponseParameters", "ResponseTemplates")
		one.embedGateway()
		r := restapi.GatewayResponse{Type: key.Value, StatusCode: one.text("StatusCode"), Templates: one.textMap("ResponseTemplates")}
		if parameters := one.nested("ResponseParameters"); parameters != nil {
			parameters.only("Headers", "Paths", "QueryStrings")
			for kind, prefix := range samParameterKinds {
				for name, value := range parameters.textMap(kind) {
					if r.Parameters == nil {
						r.Parameters = map[string]string{}
					}
					r.Parameters[prefix+name] = value
				}
			}
		}
		if _, err := api.PutGatewayResponse(r); err != nil {
			sub.tell(key.Value, "%s", openapi.Reason(err))
		}
	}
}
