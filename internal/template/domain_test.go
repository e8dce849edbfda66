package template

import (
	"errors"
	"strings"
	"testing"

	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

const withDomain = `
Resources:
  Api: {Type: AWS::ApiGateway::RestApi, Properties: {Name: events}}
  Get:
    Type: AWS::ApiGateway::Method
    Properties: {RestApiId: !Ref Api, ResourceId: !GetAtt Api.RootResourceId, HttpMethod: GET, AuthorizationType: NONE, Integration: {Type: MOCK}}
  Deployment: {Type: AWS::ApiGateway::Deployment, DependsOn: Get, Properties: {RestApiId: !Ref Api}}
  Prod: {Type: AWS::ApiGateway::Stage, Properties: {RestApiId: !Ref Api, DeploymentId: !Ref Deployment, StageName: prod}}
  Certificate: {Type: AWS::CertificateManager::Certificate, Properties: {DomainName: events.example.com, ValidationMethod: DNS}}
  Domain:
    Type: AWS::ApiGateway::DomainName
    Properties: {DomainName: events.example.com, RegionalCertificateArn: !Ref Certificate, EndpointConfiguration: {Types: [REGIONAL]}}
  Mapping:
    Type: AWS::ApiGateway::BasePathMapping
    Properties: {DomainName: !Ref Domain, RestApiId: !Ref Api, Stage: !Ref Prod, BasePath: v1}
  Record:
    Type: AWS::Route53::RecordSet
    Properties: {Name: events.example.com, Type: A, HostedZoneName: example.com., AliasTarget: {DNSName: !GetAtt Domain.RegionalDomainName, HostedZoneId: !GetAtt Domain.RegionalHostedZoneId}}
Outputs:
  Target: {Value: !GetAtt Domain.RegionalDomainName}
`

func TestDomainNames(t *testing.T) {
	n := newNode(t)
	plan, outputs, err := n.up("t.yaml", withDomain, Options{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan, "+ ApiGateway::DomainName Domain (events.example.com)") || !strings.Contains(plan, "+ ApiGateway::BasePathMapping Mapping (events.example.com/v1)") {
		t.Error(plan)
	}
	if len(outputs) != 1 || !strings.HasPrefix(outputs[0].Value, "d-") || !strings.HasSuffix(outputs[0].Value, ".execute-api.us-east-1.amazonaws.com") {
		t.Error(outputs)
	}
	d, err := catalog.Domains{}.Get(n.Catalog.Snapshot(), "events.example.com")
	if err != nil || len(d.Mappings) != 1 || d.Mappings[0].Stage != "prod" || !strings.HasPrefix(d.RegionalARN, "arn:aws:acm:us-east-1:000000000000:certificate/") {
		t.Fatalf("%+v %v", d, err)
	}
	if plan = n.mustUp(withDomain, Options{}, false); strings.Contains(plan, "+ ") && strings.Contains(plan, "\n  + ") || strings.Contains(plan, "\n  ~ ") {
		t.Errorf("the second plan:\n%s", plan)
	}
	changed := strings.Replace(withDomain, "Stage: !Ref Prod, ", "", 1)
	changed = strings.Replace(changed, "{Types: [REGIONAL]}", "{Types: [EDGE]}", 1)
	if plan = n.mustUp(changed, Options{}, false); !strings.Contains(plan, "~ ApiGateway::DomainName") || !strings.Contains(plan, "~ ApiGateway::BasePathMapping") {
		t.Errorf("the third plan:\n%s", plan)
	}
	if d, _ = (catalog.Domains{}).Get(n.Catalog.Snapshot(), "events.example.com"); len(d.Mappings) != 1 || d.Mappings[0].Stage != "" || d.EndpointTypes[0] != "EDGE" {
		t.Errorf("%+v", d)
	}
	rest := withDomain[:strings.Index(withDomain, "  Certificate:")]
	n.mustUp(rest, Options{}, true)
	if all, err := (catalog.Domains{}).All(n.Catalog.Snapshot()); err != nil || len(all) != 0 {
		t.Errorf("after prune: %v %v", all, err)
	}
}

func TestDomainRefusals(t *testing.T) {
	for from, want := range map[string]string{
		"DomainName: !Ref Domain=DomainName: none.example.com":               `Resources.Mapping.Properties.DomainName: "none.example.com" is a domain name neither of this file nor of the node`,
		"BasePath: v1=BasePath: /v1":                                         "Resources.Mapping.Properties.BasePath: Invalid base path specified: /v1",
		"Types: [REGIONAL]=Types: [PRIVATE]":                                 "PRIVATE is not supported",
		"{DomainName: events.example.com, Reg={DomainName: e, Reg":           "Invalid domain name specified: e",
		"EndpointConfiguration: {Types=MutualTlsAuthentication: {}, X: {X":   "MutualTlsAuthentication",
		"Stage: !Ref Prod, BasePath=Stage: nope, BasePath":                   "Invalid stage identifier specified",
		"{DomainName: events.example.com, Reg={DomainName: E.example.com, R": "Invalid domain name specified: E.example.com",
	} {
		old, next, _ := strings.Cut(from, "=")
		if !strings.Contains(withDomain, old) {
			t.Fatal(old)
		}
		_, _, err := newNode(t).up("t.yaml", strings.Replace(withDomain, old, next, 1), Options{}, false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", next, err, want)
		}
	}
}

// What a domain name leads to outlives its leaving the file, in the service's words; and a stage that goes leaves its usage
// plans.
func TestMappedStagesAndAPIsAreNotRemoved(t *testing.T) {
	n := newNode(t)
	at := strings.Index(withDomain, "  Certificate:")
	rest := withDomain[:at]
	n.mustUp(rest, Options{}, false)
	id := n.Catalog.Snapshot().Names("restapi")[0]
	plan := func() []restapi.PlanStage {
		t.Helper()
		p, err := catalog.Keys{}.Plan(n.Catalog.Snapshot(), "plan1")
		if err != nil {
			t.Fatal(err)
		}
		return p.Stages
	}
	err := n.Catalog.Update(t.Context(), func(tx *catalog.Tx) error {
		p := &restapi.UsagePlan{ID: "plan1", Name: "p", Stages: []restapi.PlanStage{{APIID: id, Stage: "prod"}, {APIID: "other", Stage: "prod"}}}
		d := &restapi.Domain{Name: "made.example.com", Mappings: []restapi.BasePathMapping{{APIID: id, Stage: "prod"}}}
		return errors.Join(catalog.Keys{}.PutPlan(tx, p), catalog.Domains{}.Put(tx, d))
	})
	if err != nil {
		t.Fatal(err)
	}
	other := "\nResources:\n  Other: {Type: AWS::Kinesis::Stream, Properties: {Name: s, ShardCount: 1}}\n"
	noStage := strings.Replace(rest, "  Prod: {", "  Dev: {", 1)
	noStage = strings.Replace(noStage, "StageName: prod", "StageName: dev", 1)
	for file, want := range map[string]string{
		noStage: "Deleting stage prod failed. Please remove all base path mappings related to the stage in your domains: made.example.com",
		other:   "base path mappings related to the",
	} {
		if _, _, err := n.up("t.yaml", file, Options{}, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if got := plan(); len(got) != 2 {
		t.Errorf("%v", got)
	}
	if err := n.Catalog.Update(t.Context(), func(tx *catalog.Tx) error { catalog.Domains{}.Delete(tx, "made.example.com"); return nil }); err != nil {
		t.Fatal(err)
	}
	n.mustUp(other, Options{}, true)
	if got := plan(); len(got) != 1 || got[0].APIID != "other" {
		t.Errorf("the plan still has %v", got)
	}
}
