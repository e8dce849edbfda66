package template

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

// onlyAPI gives the API that a node has.
func (n *node) onlyAPI() *restapi.API {
	n.t.Helper()
	all, err := catalog.APIs{}.All(n.Target.Catalog.Snapshot())
	if err != nil || len(all) != 1 {
		n.t.Fatal(len(all), err)
	}
	return all[0]
}

// A file's gateway responses are the API's, frozen in its deployment; one that leaves the file is the default again.
func TestGatewayResponsesOfAFile(t *testing.T) {
	const file = `
Resources:
  Api: {Type: AWS::ApiGateway::RestApi, Properties: {Name: a, MinimumCompressionSize: "0"}}
  M:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref Api
      ResourceId: !GetAtt Api.RootResourceId
      HttpMethod: GET
      MethodResponses: [{StatusCode: 200}]
      Integration: {Type: MOCK, RequestTemplates: {application/json: "{ statusCode: 200 }"}, IntegrationResponses: [{StatusCode: 200}]}
  D: {Type: AWS::ApiGateway::Deployment, Properties: {RestApiId: !Ref Api, StageName: prod}}
`
	const answers = `
  R:
    Type: AWS::ApiGateway::GatewayResponse
    Properties:
      RestApiId: !Ref Api
      ResponseType: THROTTLED
      StatusCode: 503
      ResponseParameters: {gatewayresponse.header.Access-Control-Allow-Origin: "'*'"}
      ResponseTemplates: {application/json: '{"slow":"down"}'}
`
	n := newNode(t)
	n.mustUp(file+answers, Options{}, false)
	api := n.onlyAPI()
	d, err := catalog.APIs{}.Deployment(n.Target.Catalog.Snapshot(), api, api.Stages["prod"].DeploymentID)
	if err != nil {
		t.Fatal(err)
	}
	for _, def := range []*restapi.Definition{&api.Definition, &d.Definition} {
		r, err := def.GatewayResponse("THROTTLED")
		if err != nil || r.Default || r.StatusCode != "503" || r.Templates["application/json"] != `{"slow":"down"}` || len(r.Parameters) != 1 {
			t.Errorf("%+v %v", r, err)
		}
		if def.MinimumCompressionSize == nil || *def.MinimumCompressionSize != 0 {
			t.Errorf("compresses from %v", def.MinimumCompressionSize)
		}
	}
	if plan := n.mustUp(file+answers, Options{}, false); !strings.Contains(plan, "= ApiGateway::RestApi Api") {
		t.Errorf("the second run changes something:\n%s", plan)
	}
	n.mustUp(file, Options{}, false)
	if r, _ := n.onlyAPI().GatewayResponse("THROTTLED"); !r.Default {
		t.Errorf("what has left the file is still set: %+v", r)
	}
	for change, want := range map[string]string{
		"ResponseType: THROTTLED; ResponseType: NOTHING":  "Member must satisfy enum value set",
		"StatusCode: 503; StatusCode: 99":                 "Resources.R.Properties.ResponseType: 1 validation error detected: Value '99' at 'statusCode'",
		"StatusCode: 503; Status: 503":                    "the property Status of AWS::ApiGateway::GatewayResponse is not supported",
		"gatewayresponse.header.; gatewayresponse.other.": "Invalid mapping expression specified: gatewayresponse.other.",
		`"'*'"; method.request.body`:                      "Invalid mapping expression specified: method.request.body",
	} {
		from, to, _ := strings.Cut(change, "; ")
		_, _, err := n.up("t.yaml", file+strings.Replace(answers, from, to, 1), Options{}, false)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "t.yaml:") {
			t.Errorf("%s: %v, want %q", change, err, want)
		}
	}
	if _, _, err := n.up("t.yaml", file+answers+strings.Replace(answers, "  R:", "  R2:", 1), Options{}, false); err == nil || !strings.Contains(err.Error(), "is set elsewhere") {
		t.Errorf("a type that is set twice: %v", err)
	}
}

const samFile = `
Transform: AWS::Serverless-2016-10-31
Globals: {Api: {MinimumCompressionSize: 10}}
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: live
      CORS
      GatewayResponses:
        UNAUTHORIZED:
          StatusCode: 401
          ResponseParameters: {Headers: {Access-Control-Allow-Origin: "'*'", WWW-Authenticate: "'Basic'"}}
        DEFAULT_5XX: {ResponseTemplates: {application/json: '{"m":$context.error.messageString}'}}
      DefinitionBody:
        openapi: 3.0.1
        info: {title: sam}
        paths:
          /a:
            post: &mock
              responses: {"200": {description: ok}}
              x-amazon-apigateway-integration: {type: mock, requestTemplates: {application/json: "{statusCode: 200}"}, responses: {default: {statusCode: 200}}}
          /any: {x-amazon-apigateway-any-method: *mock}
          /own: {options: *mock, get: *mock}
          /none/below: {get: *mock}
`

// SAM's short forms: gateway responses by kind of parameter, and preflights for paths that have none.
func TestServerlessGatewayResponsesAndCORS(t *testing.T) {
	f := func(cors string, wantMethods map[string]string, wantHeaders map[string]string) {
		t.Helper()
		n := newNode(t)
		n.mustUp(strings.Replace(samFile, "CORS", cors, 1), Options{}, false)
		api := n.onlyAPI()
		r, err := api.GatewayResponse("UNAUTHORIZED")
		if err != nil || r.Parameters["gatewayresponse.header.WWW-Authenticate"] != "'Basic'" || len(r.Parameters) != 2 {
			t.Errorf("%+v %v", r, err)
		}
		if *api.MinimumCompressionSize != 10 {
			t.Errorf("compresses from %d", *api.MinimumCompressionSize)
		}
		for _, path := range slices.Sorted(maps.Keys(wantMethods)) {
			r, _ := api.ByPath(path)
			m := r.Methods["OPTIONS"]
			if m == nil || m.Integration.Responses["200"] == nil {
				if wantMethods[path] != "" {
					t.Errorf("%s has no preflight", path)
				}
				continue
			}
			given := m.Integration.Responses["200"].ResponseParameters
			if got := given["method.response.header.Access-Control-Allow-Methods"]; got != wantMethods[path] {
				t.Errorf("%s allows %q, want %q", path, got, wantMethods[path])
			}
			if wantMethods[path] == "" {
				continue
			}
			for name, want := range wantHeaders {
				_, declared := m.Responses["200"].ResponseParameters["method.response.header."+name]
				if got := given["method.response.header."+name]; got != want || declared != (want != "") {
					t.Errorf("%s: %s is %q, want %q; declared: %v", path, name, got, want, declared)
				}
			}
		}
	}
	own := map[string]string{"/a": "'OPTIONS,POST'", "/any": "'DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT'", "/own": "", "/none": "", "/none/below": "'GET,OPTIONS'"}
	f(`Cors: "'https://shop.example'"`, own, map[string]string{"Access-Control-Allow-Origin": "'https://shop.example'", "Access-Control-Max-Age": ""})
	f(`Cors: {AllowHeaders: "'Content-Type'", MaxAge: "'600'"}`, own,
		map[string]string{"Access-Control-Allow-Origin": "'*'", "Access-Control-Allow-Headers": "'Content-Type'", "Access-Control-Max-Age": "'600'"})
	f(`Cors: {AllowMethods: "'POST'", AllowOrigin: "'https://a'", AllowCredentials: true}`,
		map[string]string{"/a": "'POST'", "/any": "'POST'", "/own": ""}, map[string]string{"Access-Control-Allow-Credentials": "'true'"})
	f(`Name: sam`, map[string]string{"/a": "", "/any": "", "/own": ""}, nil)

	n := newNode(t)
	for cors, want := range map[string]string{
		`Cors: {AllowCredentials: true}`: "can't be true when AllowOrigin is '*'",
		`Cors: [a]`:                      "Cors: is a mapping",
		`Cors: {AllowOrigins: x}`:        "Cors.AllowOrigins: is not supported",
		`Cors: "*"`:                      "Invalid mapping expression specified: *",
	} {
		if _, _, err := n.up("t.yaml", strings.Replace(samFile, "CORS", cors, 1), Options{}, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", cors, err, want)
		}
	}
}

// Who writes VTL into a gateway response is told, in every form of file.
func TestGatewayResponsesAreLinted(t *testing.T) {
	const set = `"#set($x = 1)"`
	for name, file := range map[string]string{
		"CloudFormation": `
Resources:
  Api: {Type: AWS::ApiGateway::RestApi, Properties: {Name: a}}
  R: {Type: AWS::ApiGateway::GatewayResponse, Properties: {RestApiId: !Ref Api, ResponseType: DEFAULT_4XX, ResponseTemplates: {application/json: ` + set + `}}}
`,
		"SAM": `
Transform: AWS::Serverless-2016-10-31
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: prod
      GatewayResponses: {DEFAULT_4XX: {ResponseTemplates: {application/json: ` + set + `}}}
      DefinitionBody: {openapi: 3.0.1, info: {title: a, version: "1"}, paths: {/: {get: {x-amazon-apigateway-integration: {type: mock}}}}}
`,
		"OpenAPI": `
openapi: 3.0.1
info: {title: a, version: "1"}
paths: {/: {get: {x-amazon-apigateway-integration: {type: mock}}}}
x-amazon-apigateway-gateway-responses: {DEFAULT_4XX: {responseTemplates: {application/json: ` + set + `}}}
`,
	} {
		loaded, err := Load("t.yaml", []byte(file), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var rules []string
		for _, f := range loaded.Lint([]byte(file)) {
			rules = append(rules, f.Rule)
		}
		if !slices.Contains(rules, "no-template-language") {
			t.Errorf("%s: %v", name, rules)
		}
	}
}
