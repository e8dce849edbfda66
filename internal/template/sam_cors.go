package template

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
	"millrace/internal/yamldoc"
)

// samCORS reads Cors of AWS::Serverless::Api: as SAM does, it gives every path that has methods and no OPTIONS one that
// answers preflights by a MOCK.
func (p *properties) samCORS(api *restapi.API) {
	if !p.has("Cors") {
		return
	}
	headers, ok := p.corsHeaders()
	if !ok {
		return
	}
	for _, r := range api.Sorted() {
		if len(r.Methods) == 0 || r.Methods["OPTIONS"] != nil {
			continue
		}
		own := maps.Clone(headers)
		if own[corsMethods] == "" {
			own[corsMethods] = "'" + strings.Join(corsVerbs(r), ",") + "'"
		}
		if err := addPreflight(api, r.ID, own); err != nil {
			p.tell("Cors", "%s: %s", r.Path, openapi.Reason(err))
		}
	}
}

const (
	corsOrigin  = "Access-Control-Allow-Origin"
	corsMethods = "Access-Control-Allow-Methods"
)

// corsHeaders gives the headers of a preflight's answer, in the single quotes of literals; Cors is an origin, or a
// mapping.
func (p *properties) corsHeaders() (headers map[string]string, ok bool) {
	if yamldoc.Get(p.node, "Cors").Kind == yaml.ScalarNode {
		return map[string]string{corsOrigin: p.text("Cors")}, true
	}
	cors := p.nested("Cors")
	if cors == nil {
		return nil, false
	}
	cors.only("AllowOrigin", "AllowMethods", "AllowHeaders", "MaxAge", "AllowCredentials")
	headers = map[string]string{}
	for property, header := range map[string]string{
		"AllowOrigin": corsOrigin, "AllowMethods": corsMethods, "AllowHeaders": "Access-Control-Allow-Headers", "MaxAge": "Access-Control-Max-Age",
	} {
		if v := cors.text(property); v != "" {
			headers[header] = v
		}
	}
	if headers[corsOrigin] == "" {
		headers[corsOrigin] = "'*'"
	}
	if cors.boolean("AllowCredentials") {
		if headers[corsOrigin] == "'*'" {
			cors.tell("AllowCredentials", "can't be true when AllowOrigin is '*'")
			return nil, false
		}
		headers["Access-Control-Allow-Credentials"] = "'true'"
	}
	return headers, true
}

// corsVerbs lists what may be called on a path, in the order of names.
func corsVerbs(r *restapi.Resource) []string {
	if r.Methods["ANY"] != nil {
		return []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
	}
	verbs := append(slices.Collect(maps.Keys(r.Methods)), "OPTIONS")
	slices.Sort(verbs)
	return verbs
}

func addPreflight(api *restapi.API, resource string, headers map[string]string) error {
	const verb, code = "OPTIONS", "200"
	declared, mapped := map[string]bool{}, map[string]string{}
	for name, value := range headers {
		declared["method.response.header."+name], mapped["method.response.header."+name] = false, value
	}
	if _, err := api.PutMethod(resource, restapi.Method{HTTPMethod: verb, AuthorizationType: "NONE"}); err != nil {
		return err
	}
	if _, err := api.PutMethodResponse(resource, verb, restapi.MethodResponse{StatusCode: code, ResponseParameters: declared}); err != nil {
		return err
	}
	if _, err := api.PutIntegration(resource, verb, restapi.Integration{
		Type: restapi.Mock, RequestTemplates: map[string]string{"application/json": "{\n  \"statusCode\" : 200\n}\n"}}); err != nil {
		return err
	}
	_, err := api.PutIntegrationResponse(resource, verb, restapi.IntegrationResponse{
		StatusCode: code, ResponseParameters: mapped, ResponseTemplates: map[string]string{"application/json": "{}\n"}})
	return err
}
