package template

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

// Models refer to one another across the file, a method names its validator, and a second run changes nothing.
const validatedAPI = `
Resources:
  Api: {Type: AWS::ApiGateway::RestApi, Properties: {Name: validated}}
  Dog:
    Type: AWS::ApiGateway::Model
    Properties:
      RestApiId: !Ref Api
      Name: Dog
      Schema: {type: object, properties: {owner: {$ref: !Sub "https://apigateway.amazonaws.com/restapis/${Api}/models/Person"}}}
  Person:
    Type: AWS::ApiGateway::Model
    Properties:
      RestApiId: !Ref Api
      Name: Person
      Schema: {type: object, required: [name], properties: {dog: {$ref: !Sub "https://apigateway.amazonaws.com/restapis/${Api}/models/Dog"}}}
  Unnamed: {Type: AWS::ApiGateway::RequestValidator, Properties: {RestApiId: !Ref Api, ValidateRequestBody: true}}
  Named: {Type: AWS::ApiGateway::RequestValidator, Properties: {RestApiId: !Ref Api, Name: parameters, ValidateRequestParameters: true}}
  Post:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref Api
      ResourceId: !GetAtt Api.RootResourceId
      HttpMethod: POST
      AuthorizationType: NONE
      RequestValidatorId: !Ref Unnamed
      RequestModels: {application/json: !Ref Dog}
      Integration: {Type: MOCK, IntegrationResponses: [{StatusCode: 200}]}
      MethodResponses: [{StatusCode: 200}]
  Deployment: {Type: AWS::ApiGateway::Deployment, DependsOn: Post, Properties: {RestApiId: !Ref Api, StageName: prod}}
Outputs:
  Validator: {Value: !Ref Named}
`

func TestValidatorsOfAFile(t *testing.T) {
	n := newNode(t)
	api := func() *restapi.API {
		t.Helper()
		all, err := catalog.APIs{}.All(n.Catalog.Snapshot())
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		a, _, err := catalog.APIs{}.Get(n.Catalog.Snapshot(), all[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	_, outputs, err := n.up("t.yaml", validatedAPI, Options{}, false)
	if err != nil {
		t.Fatal(err)
	}
	before := api()
	named := before.ValidatorNamed("parameters")
	if named == nil || named.Body || !named.Parameters || len(outputs) != 1 || outputs[0].Value != named.ID {
		t.Errorf("the validator %+v, outputs %v", named, outputs)
	}
	m := before.Resources[before.RootResourceID].Methods["POST"]
	if v := before.Validators[m.ValidatorID]; v == nil || v.Name != "Unnamed" || !v.Body {
		t.Errorf("the method's validator: %+v", v)
	}
	if broken := before.BrokenModels(); broken != nil {
		t.Errorf("models: %v", broken)
	}

	if plan := n.mustUp(validatedAPI, Options{}, false); !strings.Contains(plan, "= ApiGateway::RestApi Api") {
		t.Errorf("the second plan:\n%s", plan)
	}
	changed := strings.Replace(validatedAPI, "ValidateRequestBody: true", "ValidateRequestBody: true, ValidateRequestParameters: true", 1)
	n.mustUp(changed, Options{}, false)
	after := api()
	if !slices.Equal(slices.Sorted(maps.Keys(before.Validators)), slices.Sorted(maps.Keys(after.Validators))) {
		t.Errorf("ids of validators: %v, then %v", before.Validators, after.Validators)
	}
	if !after.Validators[m.ValidatorID].Parameters {
		t.Error("the change has not arrived")
	}

	// A method that leaves the file is kept with its validator.
	method := changed[strings.Index(changed, "  Post:"):strings.Index(changed, "  Deployment:")]
	rest := strings.Replace(changed, method, strings.ReplaceAll(strings.ReplaceAll(method, "POST", "GET"), "!Ref Unnamed", "!Ref Named"), 1)
	rest = strings.Replace(rest, changed[strings.Index(changed, "  Unnamed:"):strings.Index(changed, "  Named:")], "", 1)
	n.mustUp(rest, Options{}, false)
	kept := api()
	if k := kept.Resources[kept.RootResourceID].Methods["POST"]; k == nil || kept.Validators[k.ValidatorID] == nil {
		t.Errorf("the kept method: %+v", k)
	}
}

func TestValidatorRefusals(t *testing.T) {
	f := func(from, to, want string) {
		t.Helper()
		if !strings.Contains(validatedAPI, from) {
			t.Fatalf("the file has no %q", from)
		}
		_, _, err := newNode(t).up("t.yaml", strings.Replace(validatedAPI, from, to, 1), Options{}, false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", to, err, want)
		}
	}
	f("!Ref Unnamed", "abc123", `t.yaml:25:27: Resources.Post.Properties.RequestValidatorId: "abc123" is no request validator of this API`)
	f("!Ref Dog", "Cat", `Resources.Post.Properties: Invalid model identifier specified: Cat`)
	f("Name: parameters", "Name: Unnamed", `Resources.Named.Properties.Name: Request Validator name must be unique`)
	f("models/Person", "models/Nobody", `Resources.Dog.Properties.Schema: Invalid model specified: Validation Result: warnings : [], errors : [Invalid model specified: Nobody]`)
	f("required: [name]", "required: []", `Resources.Person.Properties.Schema: Invalid model specified: Validation Result: warnings : [], errors : [Invalid model schema specified]`)
	f("{$ref: !Sub \"https://apigateway.amazonaws.com/restapis/${Api}/models/Dog\"}", "{$ref: '#/definitions/none'}", `Resources.Person.Properties.Schema: json-pointer in`)
}
