package template

import (
	"strings"
	"testing"

	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

const guardedFile = `
Resources:
  Api:
    Type: AWS::ApiGateway::RestApi
    Properties:
      Name: guarded
      ApiKeySourceType: AUTHORIZER
      Policy:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Principal: "*", Action: "execute-api:Invoke", Resource: "execute-api:/*"}]
  Auth:
    Type: AWS::ApiGateway::Authorizer
    Properties:
      RestApiId: !Ref Api
      Name: mine
      Type: TOKEN
      IdentitySource: method.request.header.Authorization
      AuthorizerUri: !Sub "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:000000000000:function:my-auth/invocations"
      AuthorizerResultTtlInSeconds: 60
  Get:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref Api
      ResourceId: !GetAtt Api.RootResourceId
      HttpMethod: GET
      AuthorizationType: CUSTOM
      AuthorizerId: !Ref Auth
      Integration: {Type: MOCK, IntegrationResponses: [{StatusCode: 200}]}
      MethodResponses: [{StatusCode: 200}]
  Put:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref Api
      ResourceId: !GetAtt Api.RootResourceId
      HttpMethod: PUT
      AuthorizationType: AWS_IAM
      Integration: {Type: MOCK, IntegrationResponses: [{StatusCode: 200}]}
      MethodResponses: [{StatusCode: 200}]
  Live:
    Type: AWS::ApiGateway::Deployment
    DependsOn: [Get, Put]
    Properties: {RestApiId: !Ref Api, StageName: prod}
Outputs:
  Authorizer: {Value: !Ref Auth}
`

// What guards an API goes with it, under ids that stay from one up to the next; and a node that can't check callers
// refuses the file where the method stands.
func TestAuthorizersAndPoliciesOfAFile(t *testing.T) {
	n := newNode(t)
	_, _, err := n.up("t.yaml", guardedFile, Options{}, false)
	want := []string{
		"t.yaml:20:3: Resources.Get.authorizerId: the authorizer mine is the function arn:aws:lambda:us-east-1:000000000000:function:my-auth, and no URL is configured for it",
		"t.yaml:30:3: Resources.Put.authorizationType: AWS_IAM checks signatures, and this node has no credentials",
	}
	for _, line := range want {
		if err == nil || !strings.Contains(err.Error(), line) {
			t.Errorf("%v\nlacks %s", err, line)
		}
	}
	n.Gate = restapi.Gate{Signatures: true, Functions: map[string]string{"arn:aws:lambda:us-east-1:000000000000:function:my-auth": "http://127.0.0.1:9000/"}}
	_, outputs, err := n.up("t.yaml", guardedFile, Options{}, false)
	if err != nil {
		t.Fatal(err)
	}
	all, err := catalog.APIs{}.Deployed(n.Catalog.Snapshot())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	api := all[0]
	root := api.Resources[api.RootResourceID]
	id := root.Methods["GET"].AuthorizerID
	z := api.Authorizers[id]
	if z == nil || z.Name != "mine" || z.TTL() != 60 || outputs[0].Value != id {
		t.Fatalf("%+v under %q, output %v", z, id, outputs)
	}
	if root.Methods["PUT"].AuthorizationType != restapi.IAM || api.APIKeySource != restapi.KeySourceAuthorizer || !strings.Contains(api.Policy, `"Allow"`) {
		t.Errorf("%+v %s %s", root.Methods["PUT"], api.APIKeySource, api.Policy)
	}
	if frozen := api.Deployments[api.Stages["prod"].DeploymentID].Definition; frozen.Authorizers[id] == nil || frozen.Policy != api.Policy {
		t.Errorf("the deployment lacks what guards it: %+v", frozen)
	}
	if plan := n.mustUp(guardedFile, Options{}, false); !strings.Contains(plan, "= ApiGateway::RestApi Api") {
		t.Errorf("a second up changes something:\n%s", plan)
	}
}
