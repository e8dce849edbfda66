package template

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"millrace/internal/ids"
	"millrace/internal/restapi"
)

const samWithAuth = `
Transform: AWS::Serverless-2016-10-31
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: prod
      Cors: "'*'"
      Auth: %s
      DefinitionBody:
        openapi: 3.0.1
        info: {title: a, version: "1"}
        paths:
          /v1/{name}:
            post: {x-amazon-apigateway-integration: {type: mock}}
            get: {security: [{api_key: []}], x-amazon-apigateway-integration: {type: mock}}
        components: {securitySchemes: {api_key: {type: apiKey, name: x-api-key, in: header}}}
`

// callers tells what callers of each method have to show.
func callers(a *restapi.API) string {
	var all []string
	for _, r := range a.Sorted() {
		for _, verb := range slices.Sorted(maps.Keys(r.Methods)) {
			m := r.Methods[verb]
			who := m.AuthorizationType
			if z := a.Authorizers[m.AuthorizerID]; z != nil {
				who = z.Name
			}
			if m.APIKeyRequired {
				who += "+key"
			}
			all = append(all, verb+" "+who)
		}
	}
	return strings.Join(all, ", ")
}

// Auth of SAM becomes what SAM makes of it.
func TestSAMAuth(t *testing.T) {
	f := func(auth, want string, more func(*restapi.API)) {
		t.Helper()
		loaded, err := Load("t.yaml", []byte(fmt.Sprintf(samWithAuth, auth)), Options{Account: account})
		if err != nil {
			t.Errorf("%s: %v", auth, err)
			return
		}
		trial := newBuild(loaded, newRecord("s"), ids.Seeded(1))
		trial.run()
		api := trial.apis[0].api
		if got := callers(api); got != want {
			t.Errorf("%s: %s, want %s", auth, got, want)
		}
		if more != nil {
			more(api)
		}
	}
	f(`{ApiKeyRequired: true}`, "GET NONE+key, OPTIONS NONE+key, POST NONE+key", nil)
	f(`{ApiKeyRequired: true, AddApiKeyRequiredToCorsPreflight: false}`, "GET NONE+key, OPTIONS NONE, POST NONE+key", nil)
	f(`{DefaultAuthorizer: AWS_IAM, InvokeRole: NONE, UsagePlan: {CreateUsagePlan: NONE}}`, "GET NONE+key, OPTIONS AWS_IAM, POST AWS_IAM", nil)
	const function = "arn:aws:lambda:us-east-1:000000000000:function:f"
	f(`{DefaultAuthorizer: A, AddDefaultAuthorizerToCorsPreflight: false, Authorizers: {A: {FunctionArn: "`+function+`",
          Identity: {Header: X-Token, ValidationExpression: "^a", ReauthorizeEvery: 20}}}}`,
		"GET NONE+key, OPTIONS NONE, POST A", func(a *restapi.API) {
			for _, z := range a.Authorizers {
				if z.Type != "TOKEN" || z.IdentitySource != "method.request.header.X-Token" || z.IdentityValidation != "^a" || *z.TTLSeconds != 20 || z.Function() != function {
					t.Errorf("%+v", z)
				}
			}
		})
	f(`{Authorizers: {A: {FunctionArn: "`+function+`", FunctionPayloadType: REQUEST, Identity: {Headers: [H], QueryStrings: [q], Context: [httpMethod]}}}}`,
		"GET NONE+key, OPTIONS NONE, POST NONE", func(a *restapi.API) {
			for _, z := range a.Authorizers {
				if z.Type != "REQUEST" || z.IdentitySource != "method.request.header.H, method.request.querystring.q, context.httpMethod" {
					t.Errorf("%+v", z)
				}
			}
		})
	f(`{ResourcePolicy: {IpRangeWhitelist: [192.0.2.0/24], IpRangeBlacklist: [192.0.2.1], CustomStatements: [{Effect: Allow, Principal: "*", Action: "execute-api:Invoke", Resource: "*"}]}}`,
		"GET NONE+key, OPTIONS NONE, POST NONE", func(a *restapi.API) {
			for _, part := range []string{`"execute-api:/prod/POST/v1/*"`, `"execute-api:/prod/OPTIONS/v1/*"`, `"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24"]}`, `"IpAddress":{"aws:SourceIp":["192.0.2.1"]}`, `"Resource":"*"`} {
				if !strings.Contains(a.Policy, part) {
					t.Errorf("%s lacks %s", a.Policy, part)
				}
			}
			if n := strings.Count(a.Policy, `"Effect"`); n != 4 {
				t.Errorf("%d statements: %s", n, a.Policy)
			}
		})
}

func TestSAMAuthRefusals(t *testing.T) {
	f := func(auth, want string) {
		t.Helper()
		_, err := Load("t.yaml", []byte(fmt.Sprintf(samWithAuth, auth)), Options{Account: account})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "t.yaml:9:") {
			t.Errorf("%s: %v, want %q", auth, err, want)
		}
	}
	f(`{DefaultAuthorizer: Nobody}`, `Auth.DefaultAuthorizer: "Nobody" is none of Authorizers`)
	f(`{InvokeRole: CALLER_CREDENTIALS}`, "Auth.InvokeRole: is not supported")
	f(`{UsagePlan: {CreateUsagePlan: PER_API}}`, "Auth.UsagePlan: is not supported")
	f(`{Authorizers: {C: {UserPoolArn: "arn:aws:cognito-idp:us-east-1:000000000000:userpool/x"}}}`, "Auth.Authorizers.C.UserPoolArn: is not supported")
	f(`{Authorizers: {C: {FunctionPayloadType: TOKEN}}}`, "Auth.Authorizers.C.FunctionArn: is required")
	f(`{Authorizers: {C: {FunctionArn: nonsense}}}`, "Auth.Authorizers.C")
	f(`{ResourcePolicy: {SourceVpcWhitelist: [vpc-1]}}`, "Auth.ResourcePolicy.SourceVpcWhitelist: is not supported")
	f(`{ResourcePolicy: {CustomStatements: {Effect: Maybe}}}`, "Auth.ResourcePolicy")
	f(`{AddDefaultAuthorizer: true}`, "Auth.AddDefaultAuthorizer: is not supported")
}

// Parameters of a RestApi say how its Body is read.
func TestParametersOfABody(t *testing.T) {
	const file = `
Resources:
  Api:
    Type: AWS::ApiGateway::RestApi
    Properties:
      Parameters: %s
      Body:
        openapi: 3.0.1
        info: {title: a, version: "1"}
        servers: [{url: "https://h/v1/x"}]
        paths: {/p: {get: {x-amazon-apigateway-integration: {type: mock}}}}
        x-amazon-apigateway-documentation: {version: "1"}
`
	f := func(parameters, path, endpoint string, warned bool) {
		t.Helper()
		loaded, err := Load("t.yaml", []byte(fmt.Sprintf(file, parameters)), Options{Account: account})
		if err != nil {
			t.Errorf("%s: %v", parameters, err)
			return
		}
		trial := newBuild(loaded, newRecord("s"), ids.Seeded(1))
		trial.run()
		api := trial.apis[0].api
		if _, ok := api.ByPath(path); !ok || api.EndpointTypes[0] != endpoint || strings.Contains(strings.Join(trial.notes, " "), "documentation parts") != warned {
			t.Errorf("%s: %v %v %v", parameters, ok, api.EndpointTypes, trial.notes)
		}
	}
	f(`{}`, "/p", "EDGE", true)
	f(`{basepath: prepend, endpointConfigurationTypes: REGIONAL, ignore: documentation}`, "/v1/x/p", "REGIONAL", false)
	f(`{basepath: split}`, "/x/p", "EDGE", true)
	for parameters, want := range map[string]string{
		`{basepath: none}`:                       "Parameters.basepath: Invalid basepath parameter",
		`{ignore: all}`:                          "Parameters.ignore: Invalid ignore parameter",
		`{novelty: 1}`:                           "Parameters.novelty: is not supported",
		`{endpointConfigurationTypes: ANYWHERE}`: "Invalid EndpointTypes specified",
	} {
		if _, err := Load("t.yaml", []byte(fmt.Sprintf(file, parameters)), Options{Account: account}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", parameters, err, want)
		}
	}
}
