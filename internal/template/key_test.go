package template

import (
	"strings"
	"testing"

	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

const keyedFile = `
Resources:
  Api: {Type: AWS::ApiGateway::RestApi, Properties: {Name: a}}
  M:
    Type: AWS::ApiGateway::Method
    Properties:
      RestApiId: !Ref Api
      ResourceId: !GetAtt Api.RootResourceId
      HttpMethod: GET
      ApiKeyRequired: true
      MethodResponses: [{StatusCode: 200}]
      Integration: {Type: MOCK, IntegrationResponses: [{StatusCode: 200}]}
  D: {Type: AWS::ApiGateway::Deployment, DependsOn: M, Properties: {RestApiId: !Ref Api, StageName: prod}}
  Key: {Type: AWS::ApiGateway::ApiKey, Properties: {Name: first, Enabled: true}}
`

const planPart = `
  Plan: {Type: AWS::ApiGateway::UsagePlan, Properties: {ApiStages: [{ApiId: !Ref Api, Stage: prod}], Quota: {Limit: 9, Period: DAY}}}
  Join: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref Key, KeyType: API_KEY, UsagePlanId: !Ref Plan}}
`

// A file's keys and plans are made, changed in place, and leave with --prune; what others gave a plan stays.
func TestKeysAndPlans(t *testing.T) {
	n := newNode(t)
	c := catalog.Keys{}
	state := func() (keys []*restapi.APIKey, plans []*restapi.UsagePlan) {
		t.Helper()
		keys, err := c.Keys(n.Catalog.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		plans, err = c.Plans(n.Catalog.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		return keys, plans
	}
	n.mustUp(keyedFile+planPart, Options{}, false)
	keys, plans := state()
	if len(keys) != 1 || len(keys[0].Value) != 40 || !keys[0].Enabled || len(plans) != 1 || !plans[0].HasKey(keys[0].ID) || !strings.Contains(plans[0].Name, "Plan") {
		t.Fatalf("%+v %+v", keys, plans)
	}
	value, name := keys[0].Value, plans[0].Name
	err := n.Catalog.Update(t.Context(), func(tx *catalog.Tx) error {
		plans[0].Keys = append(plans[0].Keys, "another")
		plans[0].Grants = map[string]restapi.Grant{"another": {Period: "2026-11-01", Requests: 1}}
		return c.PutPlan(tx, plans[0])
	})
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer("Name: first", "Name: second", "Limit: 9", "Limit: 10").Replace(keyedFile + planPart)
	plan := n.mustUp(changed, Options{}, false)
	if !strings.Contains(plan, "~ ApiGateway::ApiKey Key") || !strings.Contains(plan, "~ ApiGateway::UsagePlan Plan") || strings.Contains(plan, value) {
		t.Error(plan)
	}
	keys, plans = state()
	if keys[0].Value != value || keys[0].Name != "second" || plans[0].Quota.Limit != 10 || plans[0].Name != name || len(plans[0].Keys) != 2 || len(plans[0].Grants) != 1 {
		t.Errorf("%+v %+v", keys[0], plans[0])
	}
	if _, _, err := n.up("t.yaml", strings.Replace(changed, "Name: second", "Value: another-value-of-the-key", 1), Options{}, false); err == nil ||
		!strings.Contains(err.Error(), "t.yaml:14:") || !strings.Contains(err.Error(), "can't change in place") || strings.Contains(err.Error(), value) {
		t.Errorf("another value: %v", err)
	}
	if plan := n.mustUp(keyedFile, Options{}, false); !strings.Contains(plan, "? ApiGateway::UsagePlan Plan") || !strings.Contains(plan, "? ApiGateway::UsagePlanKey Join") {
		t.Error(plan)
	}
	n.mustUp(keyedFile, Options{}, true)
	if keys, plans := state(); len(keys) != 1 || len(plans) != 0 {
		t.Errorf("after pruning: %+v %+v", keys, plans)
	}
}

// What is not there is told with its line before anything is made.
func TestPlansOfNothing(t *testing.T) {
	n := newNode(t)
	for part, want := range map[string]string{
		"  Plan: {Type: AWS::ApiGateway::UsagePlan, Properties: {ApiStages: [{ApiId: !Ref Api, Stage: dev}]}}\n":                            "Resources.Plan.Properties.ApiStages: API Stage not found: ",
		planPart + "  Other: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: x, KeyType: API_KEY, UsagePlanId: !Ref Plan}}\n":     "Resources.Other.Properties.KeyId: names nothing",
		planPart + "  Other: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref Key, KeyType: API_KEY, UsagePlanId: nobody}}\n": "Resources.Other.Properties.UsagePlanId: names nothing",
	} {
		if _, _, err := n.up("t.yaml", keyedFile+part, Options{}, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if names := (n.Catalog.Snapshot().Names("restapi")); len(names) != 0 {
		t.Errorf("made %v all the same", names)
	}
}

// A plan that is changed takes no stage that another plan of one of its keys has.
func TestAPlanCantTakeAStageThatAKeyHasAlready(t *testing.T) {
	n := newNode(t)
	file := strings.Replace(keyedFile, "  Key:", "  Test: {Type: AWS::ApiGateway::Stage, Properties: {RestApiId: !Ref Api, StageName: test, DeploymentId: !Ref D}}\n  Key:", 1) + planPart + `
  Other: {Type: AWS::ApiGateway::UsagePlan, Properties: {ApiStages: [{ApiId: !Ref Api, Stage: test}]}}
  JoinOther: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref Key, KeyType: API_KEY, UsagePlanId: !Ref Other}}
`
	n.mustUp(file, Options{}, false)
	_, _, err := n.up("t.yaml", strings.Replace(file, "Stage: test}]", "Stage: prod}]", 1), Options{}, false)
	if err == nil || !strings.Contains(err.Error(), "is already in Usage Plan") {
		t.Errorf("%v", err)
	}
}
