package template

import (
	"strings"
	"testing"

	"millrace/internal/catalog"
	"millrace/internal/stream"
)

// What was there before the stack is brought under the file, and outlives it also with prune.
func TestPruneKeepsWhatTheStackDidNotMake(t *testing.T) {
	n := newNode(t)
	if _, err := n.streams.CreateStream(t.Context(), stream.CreateStream{Name: "byhand"}); err != nil {
		t.Fatal(err)
	}
	with := "Resources:\n  B: {Type: AWS::S3::Bucket}\n  S: {Type: AWS::Kinesis::Stream, Properties: {Name: byhand}}\n"
	n.mustUp(with, Options{}, false)
	n.mustUp(with, Options{}, false) // the second run must not think that it made it
	n.mustUp("Resources:\n  B: {Type: AWS::S3::Bucket}\n", Options{}, false)
	n.mustUp("Resources:\n  B: {Type: AWS::S3::Bucket}\n", Options{}, true)
	if _, ok := n.streams.Stream("byhand"); !ok {
		t.Error("prune removed a stream that was made by hand")
	}
}

const twoMethods = `Resources:
  A: {Type: AWS::ApiGateway::RestApi, Properties: {Name: a, Body: {openapi: 3.0.1, info: {title: a, version: '1'}, paths: PATHS}}}
  D: {Type: AWS::ApiGateway::Deployment, Properties: {RestApiId: !Ref A, StageName: prod}}
`

// A method that has left the file answers on until it is pruned, and the plan names it.
func TestMethodsThatLeaveTheFile(t *testing.T) {
	n := newNode(t)
	op := `{get: {responses: {'200': {description: d}}, x-amazon-apigateway-integration: {type: mock, responses: {default: {statusCode: '200'}}}}}`
	served := func() (paths []string) {
		all, err := catalog.APIs{}.Deployed(n.Catalog.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all[0].Deployments[all[0].Stages["prod"].DeploymentID].Definition.Sorted() {
			if len(r.Methods) > 0 {
				paths = append(paths, r.Path)
			}
		}
		return paths
	}
	run := func(paths string, prune bool) string {
		return n.mustUp(strings.Replace(twoMethods, "PATHS", paths, 1), Options{}, prune)
	}
	check := func(plan, line, want string) {
		t.Helper()
		if got := strings.Join(served(), " "); got != want || !strings.Contains(plan, line) {
			t.Errorf("served %q, want %q; the plan must hold %q:\n%s", got, want, line, plan)
		}
	}
	check(run("{/a: "+op+", /b/c: "+op+"}", false), "+ ApiGateway::RestApi A", "/a /b/c")
	check(run("{/a: "+op+"}", false), "? ApiGateway::Method A (GET /b/c): kept", "/a /b/c")
	check(run("{/a: "+op+"}", true), "- ApiGateway::Method A (GET /b/c)", "/a")
	// A path that another variable replaces has no place beside it.
	run("{/a: "+op+", '/{x}': "+op+"}", false)
	check(run("{/a: "+op+", '/{y}': "+op+"}", false), "- ApiGateway::Method A (GET /{x})", "/a /{y}")
}

// Nothing that a file says is dropped in silence.
func TestNothingIsPassedOver(t *testing.T) {
	n := newNode(t)
	const delivery = "Resources:\n  B: {Type: AWS::S3::Bucket}\n  D: {Type: AWS::KinesisFirehose::DeliveryStream, Properties: {S3DestinationConfiguration: " +
		"{RoleARN: 'arn:aws:iam::000000000000:role/r', BucketARN: !GetAtt B.Arn, EXTRA}}}\n"
	for _, c := range []struct{ body, want string }{
		{strings.Replace(delivery, "EXTRA", "DynamicPartitioningConfiguration: {Enabled: true}", 1), "S3DestinationConfiguration.DynamicPartitioningConfiguration: is not supported"},
		{strings.Replace(delivery, "EXTRA", "FileExtension: .json", 1), "S3DestinationConfiguration.FileExtension: is not supported"},
		{"Resources: {S: {Type: AWS::Kinesis::Stream, Properties: {Name: null}}}", "Resources.S.Properties.Name: is a text"},
		{"Resources: {S: {Type: AWS::Kinesis::Stream, Properties: {Name: [a]}}}", "Resources.S.Properties.Name: is a text"},
		{"Outputs: [a]\nResources: {S: {Type: AWS::Kinesis::Stream}}", "Outputs: is a mapping"},
		{"Resources: {S: {Type: AWS::Kinesis::Stream, Properties: {Tags: [{Key: a, Value: 'x{{resolve:ssm:p}}'}]}}}", "dynamic references"},
		{"Resources: {S: {Type: AWS::Kinesis::Stream, Properties: {Tags: [{Key: a, Value: !Sub '{{resolve:ssm:${AWS::Region}}}'}]}}}", "dynamic references"},
		{"Resources:\n  A: {Type: AWS::ApiGateway::RestApi, Properties: {Name: a}}\n  S: {Type: AWS::Kinesis::Stream, Properties: {Tags: [{Key: a, Value: !GetAtt A.RootResourceId}]}}", "known in Outputs only"},
	} {
		body := c.body
		if strings.HasPrefix(body, "Resources: {") {
			body = "# a comment, since a file that begins with a brace is JSON\n" + body
		}
		if _, _, err := n.up("t.yaml", body, Options{}, false); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n  gives %v\n  want %s", c.body, err, c.want)
		}
	}
	_, err := Load("t.yaml", []byte("Parameters: {P: {Type: String, NoEcho: true, AllowedPattern: '[0-9]+'}}\nResources: {S: {Type: AWS::Kinesis::Stream}}"),
		Options{Parameters: map[string]string{"P": "hunter2"}})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a secret parameter is shown, or taken: %v", err)
	}
}
