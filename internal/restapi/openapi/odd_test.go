package openapi

import (
	"testing"
	"time"

	"millrace/internal/ids"
	"millrace/internal/restapi"
)

// Names that YAML, JSON or OpenAPI could take for something else are what they were after export and import.
func TestOddNamesAreExportedAsTheyAre(t *testing.T) {
	source := ids.Seeded(3)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	made := func() (*restapi.API, *restapi.Method) {
		api, err := restapi.New(restapi.NewAPI{Name: "0x1F", Description: "<<", NoModels: true}, source, time.Unix(1700000000, 0))
		must(nil, err)
		r, err := api.AddResource(api.RootResourceID, "v1", source)
		must(nil, err)
		m, err := api.PutMethod(r.ID, restapi.Method{HTTPMethod: "POST", AuthorizationType: "NONE"})
		must(nil, err)
		return api, m
	}
	f := func(what string, make func(api *restapi.API, m *restapi.Method)) {
		t.Run(what, func(t *testing.T) {
			api, m := made()
			make(api, m)
			sameAgain(t, api, ExportOAS30, ExportSwagger)
		})
	}
	f("resources", func(api *restapi.API, _ *restapi.Method) {
		at := api.RootResourceID
		for _, part := range []string{"true", "null", "1.0", "0x1F", "a:b", "~", "@x", "$default", ",", "x-amazon-apigateway-integration", "parameters", "{a.b}", "{c,d}", "-", "{p+}"} {
			r, err := api.AddResource(at, part, source)
			must(nil, err)
			must(api.PutMethod(r.ID, restapi.Method{HTTPMethod: "GET", AuthorizationType: "NONE", RequestParameters: map[string]bool{"method.request.path.a.b": true}}))
			at = r.ID
		}
	})
	f("parameters", func(_ *restapi.API, m *restapi.Method) {
		m.RequestParameters = map[string]bool{"method.request.header.null": true, "method.request.header.1.0": false, "method.request.querystring.true": true,
			"method.request.querystring.a.b.c": false, "method.request.header.$ref": true, "method.request.querystring.x-amazon": false, "method.request.path.no-such": false}
	})
	f("models", func(api *restapi.API, m *restapi.Method) {
		m.RequestModels = map[string]string{}
		for name, schema := range map[string]string{
			"true":  `{"properties":{"$ref":{"type":"string"},"example":{"type":"null"},"x-y":{},"nullable":{"enum":[null,true,"true",1.0,1e5]},"<<":{},"null":{}}}`,
			"null":  `{"enum":[{"example":1,"x-y":2,"nullable":true}],"default":{"readOnly":[]}}`,
			"1e3":   `{"maximum":1E2,"minimum":-0.0,"multipleOf":12345678901234567890}`,
			"Empty": `{"type":"object","title":"# \n\u2028\u0000"}`,
			"0":     `{"items":[{"$ref":"#/definitions/x-y"}],"definitions":{"x-y":{"required":["example","x-z"]},"example":{}}}`,
		} {
			must(api.AddModel(restapi.Model{Name: name, Schema: schema}, source))
		}
		m.RequestModels["application/vnd.x+json"] = "true"
	})
	f("authorizers", func(api *restapi.API, m *restapi.Method) {
		for _, name := range []string{"NONE", "sigv4", "api_key", "a/b ~c", "true"} {
			z, err := api.AddAuthorizer(restapi.Authorizer{Name: name, Type: restapi.TokenAuthorizer, IdentitySource: "method.request.header.X",
				URI: "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:000000000000:function:f/invocations"}, source)
			must(z, err)
			if m.AuthorizerID == "" {
				m.AuthorizationType, m.AuthorizerID = restapi.Custom, z.ID
			}
		}
		m.APIKeyRequired = true
	})
	f("patterns", func(_ *restapi.API, m *restapi.Method) {
		m.Responses = map[string]*restapi.MethodResponse{"200": {StatusCode: "200"}, "400": {StatusCode: "400"}, "500": {StatusCode: "500"}}
		m.Integration = &restapi.Integration{Type: restapi.Mock, PassthroughBehavior: restapi.WhenNoMatch, TimeoutMillis: restapi.DefaultTimeoutMillis, CacheNamespace: "null",
			Responses: map[string]*restapi.IntegrationResponse{
				"200": {StatusCode: "200"}, "400": {StatusCode: "400", SelectionPattern: "4\\d{2}|null"}}}
	})
}

// What a document can't say becomes what does the same.
func TestWhatHasNoNameInADocumentDoesTheSame(t *testing.T) {
	source := ids.Seeded(3)
	api, err := restapi.New(restapi.NewAPI{Name: "a", NoModels: true}, source, time.Unix(1700000000, 0))
	if err != nil {
		t.Fatal(err)
	}
	m, err := api.PutMethod(api.RootResourceID, restapi.Method{HTTPMethod: "POST", AuthorizationType: "NONE"})
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range []restapi.NewValidator{{Parameters: true}, {Name: "validator", Body: true}, {Name: "_", Body: true}} {
		v, err := api.AddValidator(spec, source)
		if err != nil {
			t.Fatal(err)
		}
		if spec.Name == "" {
			m.ValidatorID = v.ID
		}
	}
	m.Responses = map[string]*restapi.MethodResponse{"200": {StatusCode: "200"}, "500": {StatusCode: "500"}}
	m.Integration = &restapi.Integration{Type: restapi.Mock, Responses: map[string]*restapi.IntegrationResponse{
		"200": {StatusCode: "200", SelectionPattern: "default"}, "500": {StatusCode: "500"}}}
	for _, kind := range []string{ExportOAS30, ExportSwagger} {
		again := newAPI(t)
		if _, err := ImportBytes(t.Context(), export(t, api, kind, true), Document{Source: ids.Seeded(9)}, false, again); err != nil {
			t.Fatal(err)
		}
		got := again.Resources[again.RootResourceID].Methods["POST"]
		if v := again.Validators[got.ValidatorID]; v == nil || v.Body || !v.Parameters || len(again.Validators) != 3 || again.ValidatorNamed("_") == nil {
			t.Errorf("%s: the validator is %+v, of %v", kind, v, again.Validators)
		}
		if r := got.Integration.Responses; len(r) != 1 || r["500"] == nil || r["500"].SelectionPattern != "" {
			t.Errorf("%s: %v", kind, r)
		}
	}
}
