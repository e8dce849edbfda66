package template

import (
	"encoding/json"
	"strings"
	"testing"

	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

const canaryFile = `Resources:
  A: {Type: AWS::ApiGateway::RestApi, Properties: {Name: a, Body: {openapi: 3.0.1, info: {title: a, version: '1'}, paths: {PATH:
    {get: {responses: {'200': {description: d}}, x-amazon-apigateway-integration: {type: mock, responses: {default: {statusCode: '200'}}}}}}}}}
  D: {Type: AWS::ApiGateway::Deployment, Properties: {RestApiId: !Ref A}}
  S: {Type: AWS::ApiGateway::Stage, Properties: {RestApiId: !Ref A, DeploymentId: !Ref D, StageName: prod, Variables: {a: '1'}}}
`

const canaryDeployment = `  C: {Type: AWS::ApiGateway::Deployment, Properties: {RestApiId: !Ref A, StageName: prod,
    DeploymentCanarySettings: {PercentTraffic: 12.5, StageVariableOverrides: {a: '2'}}}}
`

func (n *node) prod() (api *restapi.API, s *restapi.Stage) {
	n.t.Helper()
	all, err := catalog.APIs{}.Deployed(n.Catalog.Snapshot())
	if err != nil || len(all) != 1 || all[0].Stages["prod"] == nil {
		n.t.Fatal(all, err)
	}
	return all[0], all[0].Stages["prod"]
}

// A changed definition goes to the canary while the file has one, and to the stage when it has none any more.
func TestCanaryOfAFile(t *testing.T) {
	n := newNode(t)
	paths := func(api *restapi.API, id string) string {
		t.Helper()
		var all []string
		for _, r := range api.Deployments[id].Definition.Sorted() {
			if len(r.Methods) > 0 {
				all = append(all, r.Path)
			}
		}
		return strings.Join(all, " ")
	}
	with := func(path string) string { return strings.Replace(canaryFile, "PATH", path, 1) }
	n.mustUp(with("/old"), Options{}, true)
	n.mustUp(with("/new")+canaryDeployment, Options{}, true)
	api, s := n.prod()
	if paths(api, s.DeploymentID) != "/old" || s.Canary == nil || paths(api, s.Canary.DeploymentID) != "/new" || s.Canary.Percent != 12.5 || s.Canary.Overrides["a"] != "2" {
		t.Fatalf("%+v %+v", s, s.Canary)
	}
	if plan := n.mustUp(with("/new")+canaryDeployment, Options{}, true); strings.Contains(plan, "\n  ~") {
		t.Errorf("a second time: %s", plan)
	}
	n.mustUp(with("/newer")+canaryDeployment, Options{}, true)
	if api, s = n.prod(); paths(api, s.DeploymentID) != "/old" || paths(api, s.Canary.DeploymentID) != "/newer" || len(api.Deployments) != 2 {
		t.Fatalf("%+v %+v", s, s.Canary)
	}
	n.mustUp(with("/newer"), Options{}, true)
	if api, s = n.prod(); paths(api, s.DeploymentID) != "/newer" || s.Canary != nil || len(api.Deployments) != 1 {
		t.Fatalf("%+v", s)
	}
}

func TestStagePropertiesOfAFile(t *testing.T) {
	f := func(name, resources, want string) {
		t.Helper()
		n := newNode(t)
		body := strings.Replace(canaryFile, "PATH", "/v1", 1)
		body = body[:strings.Index(body, "  D:")] + resources
		_, _, err := n.up("t.yaml", body, Options{Stack: "stack"}, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, s := n.prod()
		got, err := json.Marshal(map[string]any{"log": s.AccessLog, "settings": s.MethodSettings, "tags": s.Tags, "variables": s.Variables, "canary": s.Canary != nil})
		if err != nil || string(got) != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
	const log = `{"destinationArn":"arn:aws:logs:us-east-1:000000000000:log-group:/x/y","format":"$context.requestId"}`
	const settings = `{"*/*":{"loggingLevel":"INFO","dataTraceEnabled":true,"metricsEnabled":true,"cache":{"ttlInSeconds":60}},"v1/GET":{"loggingLevel":"OFF"}}`
	f("stage", `  D: {Type: AWS::ApiGateway::Deployment, Properties: {RestApiId: !Ref A}}
  L: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: /x/y}}
  S:
    Type: AWS::ApiGateway::Stage
    Properties:
      {RestApiId: !Ref A, DeploymentId: !Ref D, StageName: prod, CacheClusterEnabled: false, Variables: {v: '1'}, Tags: [{Key: k, Value: w}],
       AccessLogSetting: {DestinationArn: !GetAtt L.Arn, Format: $context.requestId}, CanarySetting: {PercentTraffic: 5, DeploymentId: !Ref D},
       MethodSettings: [{ResourcePath: '/*', HttpMethod: '*', LoggingLevel: INFO, DataTraceEnabled: true, MetricsEnabled: true, CacheTtlInSeconds: 60},
         {ResourcePath: /~1v1, HttpMethod: GET, LoggingLevel: 'OFF'}]}
`, `{"canary":true,"log":`+log+`,"settings":`+settings+`,"tags":{"k":"w"},"variables":{"v":"1"}}`)
	f("deployment", `  D:
    Type: AWS::ApiGateway::Deployment
    Properties:
      {RestApiId: !Ref A, StageName: prod, StageDescription: {Variables: {v: '1'}, Tags: [{Key: k, Value: w}], CanarySetting: {PercentTraffic: 5},
       AccessLogSetting: {DestinationArn: 'arn:aws:logs:us-east-1:000000000000:log-group:/x/y', Format: $context.requestId},
       LoggingLevel: INFO, DataTraceEnabled: true, MetricsEnabled: true, CacheTtlInSeconds: 60, MethodSettings: [{ResourcePath: /v1, HttpMethod: GET, LoggingLevel: 'OFF'}]}}
`, `{"canary":true,"log":`+log+`,"settings":`+settings+`,"tags":{"k":"w"},"variables":{"v":"1"}}`)
}

// What can't be is told with its place.
func TestStagePropertiesThatAreRefused(t *testing.T) {
	f := func(properties, want string) {
		t.Helper()
		body := strings.Replace(canaryFile, "PATH", "/v1", 1)
		body = strings.Replace(body, "Variables: {a: '1'}", properties, 1)
		_, _, err := newNode(t).up("t.yaml", body, Options{}, false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", properties, err, want)
		}
	}
	f("AccessLogSetting: {DestinationArn: x, Format: $context.requestId}", "Invalid ARN specified in the request")
	f("AccessLogSetting: {Format: $context.status}", "Access Log format must include $context.requestId or $context.extendedRequestId")
	f("AccessLogSetting: {Novelty: x}", "Resources.S.Properties.AccessLogSetting.Novelty: is not supported")
	f("CanarySetting: {PercentTraffic: 101}", "Resources.S.Properties.CanarySetting.PercentTraffic: is a number from 0 to 100")
	f("CanarySetting: {DeploymentId: x}", `Resources.S.Properties.CanarySetting.DeploymentId: "x" is no deployment of this file`)
	f("CacheClusterEnabled: true", "there is no response cache")
	f("MethodSettings: [{ResourcePath: /, HttpMethod: GET, CacheTtlInSeconds: 9999}]", "expected value between 0 and 3600")
	f("Description: d}}\n  C: {Type: AWS::ApiGateway::Deployment, Properties: {RestApiId: !Ref A, StageName: other, DeploymentCanarySettings: {PercentTraffic: 1}",
		"it must already be there before a canary is deployed to it")
}
