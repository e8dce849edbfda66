package restapi

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"millrace/internal/fault"
	"millrace/internal/ids"
)

var now = time.Unix(1700000000, 0).UTC()

// workshop is an API under test: root / v1 {stream-name} with POST, complete.
type workshop struct {
	t      *testing.T
	ids    *ids.Source
	api    *API
	v1, st *Resource // /v1 and /v1/{stream-name}
}

const kinesisURI = "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord"

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	w := &workshop{t: t, ids: ids.Seeded(7)}
	w.api = get(New(NewAPI{Name: "collector", Tags: map[string]string{"a": "b"}}, w.ids, now))
	w.v1 = get(w.api.AddResource(w.api.RootResourceID, "v1", w.ids))
	w.st = get(w.api.AddResource(w.v1.ID, "{stream-name}", w.ids))
	get(w.api.PutMethod(w.st.ID, Method{HTTPMethod: "POST", AuthorizationType: "none",
		RequestParameters: map[string]bool{"method.request.path.stream-name": true}, RequestModels: map[string]string{"application/json": "Empty"}}))
	get(w.api.PutMethodResponse(w.st.ID, "POST", MethodResponse{StatusCode: "200", ResponseParameters: map[string]bool{"method.response.header.X-Id": true}}))
	get(w.api.PutIntegration(w.st.ID, "POST", awsIntegration()))
	get(w.api.PutIntegrationResponse(w.st.ID, "POST", IntegrationResponse{StatusCode: "200",
		ResponseParameters: map[string]string{"method.response.header.X-Id": "context.requestId"}}))
	return w
}

func awsIntegration() Integration {
	return Integration{Type: AWS, HTTPMethod: "POST", URI: kinesisURI, Credentials: "arn:aws:iam::000000000000:role/r",
		RequestTemplates: map[string]string{"application/json": "{}"}}
}

// get unwraps a result that must be without error.
func get[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestNewAPIHasRootAndDefaultModels(t *testing.T) {
	w := newWorkshop(t)
	a := w.api
	if len(a.ID) != 10 || len(a.RootResourceID) != 10 || len(w.v1.ID) != 6 {
		t.Errorf("ids %q %q %q", a.ID, a.RootResourceID, w.v1.ID)
	}
	if a.Models["Empty"] == nil || a.Models["Error"] == nil || len(a.Models) != 2 {
		t.Errorf("models %v", a.Models)
	}
	if a.EndpointTypes[0] != Edge || a.IPAddressType != "ipv4" || a.APIKeySource != "HEADER" {
		t.Errorf("defaults %v %v %v", a.EndpointTypes, a.IPAddressType, a.APIKeySource)
	}
	imported := get(New(NewAPI{Name: "p", EndpointTypes: []string{Regional}, NoModels: true}, w.ids, now))
	if imported.EndpointTypes[0] != Regional || imported.Models != nil {
		t.Errorf("imported %+v", imported)
	}
}

func TestPathsFollowRenameAndMove(t *testing.T) {
	w := newWorkshop(t)
	a := w.api
	must(t, a.PatchResource(w.v1.ID, []Patch{{Op: OpReplace, Path: "/pathPart", Value: "v9"}}))
	if w.st.Path != "/v9/{stream-name}" {
		t.Error(w.st.Path)
	}
	must(t, a.PatchResource(w.st.ID, []Patch{{Op: OpReplace, Path: "/parentId", Value: a.RootResourceID}}))
	if w.st.Path != "/{stream-name}" {
		t.Error(w.st.Path)
	}
	must(t, a.MoveResource(w.st.ID, w.v1.ID))
	must(t, a.DeleteResource(w.v1.ID))
	if len(a.Resources) != 1 {
		t.Error("the subtree stayed")
	}
}

func TestPutIntegrationReplacesAndFillsDefaults(t *testing.T) {
	w := newWorkshop(t)
	i := get(w.api.PutIntegration(w.st.ID, "POST", Integration{Type: Mock, HTTPMethod: "POST", URI: "x", RequestTemplates: map[string]string{}}))
	if i.HTTPMethod != "" || i.URI != "" || i.Responses != nil || i.RequestTemplates != nil {
		t.Errorf("MOCK kept %+v", i)
	}
	if i.PassthroughBehavior != WhenNoMatch || i.TimeoutMillis != 29000 || i.CacheNamespace != w.st.ID {
		t.Errorf("defaults %+v", i)
	}
}

func TestDeploymentIsFrozen(t *testing.T) {
	w := newWorkshop(t)
	d := get(w.api.CreateDeployment(NewDeployment{StageName: "prod", Variables: map[string]string{"k": "v"}}, w.ids, now))
	before, _ := json.Marshal(d.Definition)
	must(t, w.api.PatchIntegration(w.st.ID, "POST", []Patch{{Op: OpReplace, Path: "/requestTemplates/application~1json", Value: "changed"}}))
	must(t, w.api.DeleteResource(w.v1.ID))
	after, _ := json.Marshal(d.Definition)
	if string(before) != string(after) {
		t.Error("an edit of the working copy changed the deployment")
	}
	if s := w.api.Stages["prod"]; s.DeploymentID != d.ID || s.Variables["k"] != "v" {
		t.Errorf("stage %+v", s)
	}
}

func TestCreateDeploymentMovesItsStage(t *testing.T) {
	w := newWorkshop(t)
	yes := true
	get(w.api.CreateDeployment(NewDeployment{StageName: "prod", StageDescription: "d", Variables: map[string]string{"k": "v"}}, w.ids, now))
	second := get(w.api.CreateDeployment(NewDeployment{StageName: "prod", TracingEnabled: &yes}, w.ids, now.Add(time.Hour)))
	s := w.api.Stages["prod"]
	if s.DeploymentID != second.ID || s.Variables["k"] != "v" || s.Description != "d" || !s.TracingEnabled || !s.Updated.After(s.Created) {
		t.Errorf("stage %+v", s)
	}
}

func TestStagePatchesActAtOnce(t *testing.T) {
	w := newWorkshop(t)
	get(w.api.CreateDeployment(NewDeployment{StageName: "prod"}, w.ids, now))
	s := get(w.api.PatchStage("prod", []Patch{
		{Op: OpReplace, Path: "/*/*/logging/loglevel", Value: "ERROR"},
		{Op: OpReplace, Path: "/*/*/metrics/enabled", Value: "true"},
		{Op: OpReplace, Path: "/~1v1~1{stream-name}/POST/logging/dataTrace", Value: "true"},
		{Op: OpReplace, Path: "/~1/GET/logging/loglevel", Value: "OFF"},
		{Op: OpReplace, Path: "/*/*/throttling/rateLimit", Value: "10000.0"},
		{Op: OpAdd, Path: "/variables/a", Value: "1"},
		{Op: OpReplace, Path: "/variables/b", Value: "2"},
		{Op: OpRemove, Path: "/variables/a"},
		{Op: OpReplace, Path: "/description", Value: "d"},
		{Op: OpReplace, Path: "/tracingEnabled", Value: "true"},
	}, now))
	if got := s.SettingFor("/v1/{stream-name}", "POST"); !got.DataTraceEnabled || got.LoggingLevel != "" {
		t.Errorf("a method's own settings win as a whole: %+v", got)
	}
	if got := s.SettingFor("/v1", "POST"); got.LoggingLevel != LogError || !got.MetricsEnabled {
		t.Errorf("all methods: %+v", got)
	}
	if got := s.SettingFor("/", "GET"); got.LoggingLevel != LogOff {
		t.Errorf("the root's method: %+v", got)
	}
	if len(s.Variables) != 1 || s.Variables["b"] != "2" || s.Description != "d" || !s.TracingEnabled {
		t.Errorf("%+v", s)
	}
	s = get(w.api.PatchStage("prod", []Patch{{Op: OpRemove, Path: "/*/*"}}, now))
	if s.MethodSettings["*/*"] != nil {
		t.Error("*/* stayed")
	}
	for _, want := range []struct{ path, verb, key string }{
		{"/*", "*", "*/*"}, {"/v1/{x}", "POST", "v1/{x}/POST"}, {"~1v1~1{x}", "POST", "v1/{x}/POST"}, {"/~1v1~1{x}", "POST", "v1/{x}/POST"}, {"/", "GET", "/GET"},
	} {
		if got := SettingKey(want.path, want.verb); got != want.key {
			t.Errorf("SettingKey(%q, %q) = %q", want.path, want.verb, got)
		}
	}
}

func TestEmptyMapsOfResponsesSurviveStorage(t *testing.T) {
	w := newWorkshop(t)
	get(w.api.PutMethodResponse(w.st.ID, "POST", MethodResponse{StatusCode: "400", ResponseModels: map[string]string{}}))
	r := w.api.Clone().Resources[w.st.ID].Methods["POST"].Responses["400"]
	if r.ResponseModels == nil || r.ResponseParameters != nil {
		t.Errorf("%+v", r)
	}
}

func TestTags(t *testing.T) {
	tags := map[string]string{"a": "1"}
	must(t, Tag(&tags, map[string]string{"a": "2", "b": "3"}))
	Untag(&tags, []string{"b", "nothing"})
	if len(tags) != 1 || tags["a"] != "2" {
		t.Error(tags)
	}
	if err := Tag(&tags, map[string]string{"aws:x": ""}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	Untag(&tags, []string{"a"})
	if tags != nil {
		t.Error("the last tag takes the map with it")
	}
}

// Every fault with the kind and the exact text of the service. Each case works on an API of its own.
func TestFaults(t *testing.T) {
	patch := func(op, path, value string) []Patch { return []Patch{{Op: op, Path: path, Value: value}} }
	const unknownResource = "Invalid Resource identifier specified"
	longName := strings.Repeat("x", 65)
	for _, c := range []struct {
		name string
		call func(w *workshop) error
		kind fault.Kind
		want string
	}{
		{"no endpoint type", func(w *workshop) error {
			return drop(New(NewAPI{Name: "n", EndpointTypes: []string{}}, w.ids, now))
		}, fault.Invalid, "REGIONAL Configuration and EDGE Configuration cannot be both DISABLED."},
		{"two endpoint types", func(w *workshop) error {
			return drop(New(NewAPI{Name: "n", EndpointTypes: []string{Edge, Regional}}, w.ids, now))
		}, fault.Invalid, "Cannot create an api with multiple Endpoint Types."},
		{"private over ipv4", func(w *workshop) error {
			return drop(New(NewAPI{Name: "n", EndpointTypes: []string{Private}, IPAddressType: "ipv4"}, w.ids, now))
		}, fault.Invalid, "Only dualstack ipAddressType is supported for Private APIs."},
		{"private", func(w *workshop) error {
			return drop(New(NewAPI{Name: "n", EndpointTypes: []string{Private}}, w.ids, now))
		},
			fault.Unsupported, "endpoint type PRIVATE is not supported by this version of Millrace: the API would be open to every caller of the ingest listener"},
		{"op on a map", func(w *workshop) error {
			return w.api.PatchMethod(w.st.ID, "POST", patch("move", "/requestParameters/method.request.header.X", "true"))
		}, fault.Invalid, "Invalid patch operation specified. Must be 'add'|'remove'|'replace'"},
		{"patched address type", func(w *workshop) error {
			return w.api.Patch(patch(OpReplace, "/endpointConfiguration/ipAddressType", "x"))
		},
			fault.Invalid, "ipAddressType must be either ipv4 or dualstack."},
		{"patched endpoint type", func(w *workshop) error { return w.api.Patch(patch(OpReplace, "/endpointConfiguration/types/0", "x")) },
			fault.Invalid, "Invalid EndpointTypes specified. Valid options are REGIONAL,EDGE,PRIVATE"},
		{"op on a plain member", func(w *workshop) error { return w.api.Patch(patch(OpAdd, "/name", "x")) },
			fault.Invalid, "Invalid patch operation specified. Must be one of: [replace]"},
		{"op on types", func(w *workshop) error { return w.api.Patch(patch("test", "/endpointConfiguration/types/0", "x")) },
			fault.Invalid, "Invalid patch operation specified. Must be 'add'|'remove'|'replace'"},
		{"binary types without a member", func(w *workshop) error { return w.api.Patch(patch(OpAdd, "/binaryMediaTypes", "x/y")) },
			fault.Invalid, "Invalid patch path /binaryMediaTypes"},
		{"a policy", func(w *workshop) error { return w.api.Patch(patch(OpReplace, "/policy", "{}")) },
			fault.Invalid, "Invalid policy document. Please check the policy syntax and ensure that Principals are valid. policy: Statement: is required"},

		{"unknown parent", func(w *workshop) error { return drop(w.api.AddResource("nope", "x", w.ids)) }, fault.NotFound, unknownResource},
		{"same name", func(w *workshop) error { return drop(w.api.AddResource(w.api.RootResourceID, "v1", w.ids)) },
			fault.InUse, "Another resource with the same parent already has this name: v1"},
		{"second variable", func(w *workshop) error { return drop(w.api.AddResource(w.v1.ID, "{proxy+}", w.ids)) },
			fault.Invalid, "A sibling ({stream-name}) of this resource already has a variable path part -- only one is allowed"},
		{"below greedy", func(w *workshop) error {
			r := get(w.api.AddResource(w.st.ID, "{proxy+}", w.ids))
			return drop(w.api.AddResource(r.ID, "x", w.ids))
		}, fault.Invalid, "Cannot create a child of a resource with a greedy path variable: {proxy+}"},
		{"under itself", func(w *workshop) error { return w.api.MoveResource(w.v1.ID, w.st.ID) }, fault.Invalid, "Resources cannot be cyclical."},
		{"rename the root", func(w *workshop) error { return w.api.RenameResource(w.api.RootResourceID, "x") },
			fault.Invalid, "Root resource cannot update its pathPart."},
		{"move the root", func(w *workshop) error { return w.api.MoveResource(w.api.RootResourceID, w.v1.ID) },
			fault.Invalid, "Root resource cannot update its parentId."},
		{"resource path", func(w *workshop) error { return w.api.PatchResource(w.v1.ID, patch(OpReplace, "/invalid", "x")) },
			fault.Invalid, "Invalid patch path  '/invalid' specified for op 'replace'. Must be one of: [/parentId, /pathPart]"},
		{"resource op", func(w *workshop) error { return w.api.PatchResource(w.v1.ID, patch(OpRemove, "/pathPart", "x")) },
			fault.Invalid, "Invalid patch path  '/pathPart' specified for op 'remove'. Please choose supported operations"},
		{"path part", func(w *workshop) error { return drop(w.api.AddResource(w.v1.ID, "a{b}", w.ids)) },
			fault.Invalid, "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning and the end"},
		{"delete the root", func(w *workshop) error { return w.api.DeleteResource(w.api.RootResourceID) }, fault.Invalid, "Root resource cannot be deleted"},
		{"delete twice", func(w *workshop) error {
			must(w.t, w.api.DeleteResource(w.v1.ID))
			return w.api.DeleteResource(w.v1.ID)
		},
			fault.NotFound, unknownResource},

		{"bad verb", func(w *workshop) error {
			return drop(w.api.PutMethod(w.v1.ID, Method{HTTPMethod: "post", AuthorizationType: "NONE"}))
		},
			fault.Invalid, "Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY"},
		{"method exists", func(w *workshop) error {
			return drop(w.api.PutMethod(w.st.ID, Method{HTTPMethod: "POST", AuthorizationType: "NONE"}))
		}, fault.InUse, "Method already exists for this resource"},
		{"authorizer", func(w *workshop) error {
			return drop(w.api.PutMethod(w.v1.ID, Method{HTTPMethod: "GET", AuthorizationType: "CUSTOM"}))
		}, fault.Invalid, "Invalid authorizer ID specified. Setting the authorization type to CUSTOM or COGNITO_USER_POOLS requires a valid authorizer."},
		{"one name twice", func(w *workshop) error {
			return drop(w.api.PutMethod(w.v1.ID, Method{HTTPMethod: "GET", AuthorizationType: "NONE",
				RequestParameters: map[string]bool{"method.request.path.a": true, "method.request.header.a": true}}))
		}, fault.Invalid, "Parameter names must be unique across querystring, header and path"},
		{"parameter name", func(w *workshop) error {
			return w.api.PatchMethod(w.st.ID, "POST", patch(OpAdd, "/requestParameters/x.y", "true"))
		}, fault.Invalid, "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression specified: x.y]"},
		{"model name", func(w *workshop) error {
			return w.api.PatchMethod(w.st.ID, "POST", patch(OpAdd, "/requestModels/application~1xml", "Nope"))
		}, fault.Invalid, "Invalid model identifier specified: Nope"},
		{"unknown method", func(w *workshop) error { return w.api.DeleteMethod(w.st.ID, "GET") }, fault.NotFound, "Invalid Method identifier specified"},
		{"validator", func(w *workshop) error {
			return w.api.PatchMethod(w.st.ID, "POST", patch(OpReplace, "/requestValidatorId", "abc"))
		}, fault.Invalid, "Invalid Request Validator identifier specified"},

		{"status code", func(w *workshop) error {
			return drop(w.api.PutMethodResponse(w.st.ID, "POST", MethodResponse{StatusCode: "wrong"}))
		}, fault.Invalid, `1 validation error detected: Value 'wrong' at 'statusCode' failed to satisfy constraint: Member must satisfy regular expression pattern: [1-5]\d\d`},
		{"method response exists", func(w *workshop) error {
			return drop(w.api.PutMethodResponse(w.st.ID, "POST", MethodResponse{StatusCode: "200"}))
		}, fault.InUse, "Response already exists for this resource"},
		{"unknown method response", func(w *workshop) error { return w.api.DeleteMethodResponse(w.st.ID, "POST", "404") },
			fault.NotFound, "Invalid Response status code specified"},
		{"unknown header", func(w *workshop) error {
			return w.api.PatchMethodResponse(w.st.ID, "POST", "200", patch(OpReplace, "/responseParameters/method.response.header.Y", "true"))
		}, fault.NotFound, "Invalid parameter name specified"},
		{"unknown content type", func(w *workshop) error {
			return w.api.PatchMethodResponse(w.st.ID, "POST", "200", patch(OpRemove, "/responseModels/text~1plain", ""))
		}, fault.NotFound, "Content-Type specified was not found"},

		{"integration type", func(w *workshop) error { return drop(w.api.PutIntegration(w.st.ID, "POST", Integration{Type: "x"})) },
			fault.Invalid, "1 validation error detected: Value 'x' at 'putIntegrationInput.type' failed to satisfy constraint: Member must satisfy enum value set: [HTTP, MOCK, AWS_PROXY, HTTP_PROXY, AWS]"},
		{"AWS_PROXY", func(w *workshop) error {
			return drop(w.api.PutIntegration(w.st.ID, "POST", Integration{Type: AWSProxy}))
		},
			fault.Unsupported, "integration type AWS_PROXY is not supported by this version of Millrace: the types are AWS (Kinesis, Firehose and S3), HTTP, HTTP_PROXY and MOCK"},
		{"HTTP without a method", with(func(i *Integration) { i.Type, i.URI, i.HTTPMethod = HTTP, "http://example.com", "" }),
			fault.Invalid, "Enumeration value for HttpMethod must be non-empty"},
		{"HTTP uri", with(func(i *Integration) { i.Type, i.URI = HTTPProxy, "example.com/x" }), fault.Invalid, "Invalid HTTP endpoint specified for URI"},
		{"HTTP uri, another scheme", with(func(i *Integration) { i.Type, i.URI = HTTP, "ftp://example.com" }), fault.Invalid, "Invalid HTTP endpoint specified for URI"},
		{"HTTP uri, no host", with(func(i *Integration) { i.Type, i.URI = HTTP, "http:///x" }), fault.Invalid, "Invalid HTTP endpoint specified for URI"},
		{"HTTP uri, with a user", with(func(i *Integration) { i.Type, i.URI = HTTP, "http://user@example.com/" }), fault.Invalid, "Invalid HTTP endpoint specified for URI"},
		{"tlsConfig of AWS", with(func(i *Integration) { i.InsecureTLS = true }), fault.Invalid,
			"insecureSkipVerification is only supported for HTTP and HTTP_PROXY integrations"},
		{"no integration method", with(func(i *Integration) { i.HTTPMethod = "" }), fault.Invalid, "Enumeration value for HttpMethod must be non-empty"},
		{"no ARN", with(func(i *Integration) { i.URI = "http://x" }), fault.Invalid, "Invalid ARN specified in the request"},
		{"no action", with(func(i *Integration) { i.URI = "arn:aws:apigateway:us-east-1:kinesis:PutRecord" }),
			fault.Invalid, "AWS ARN for integration must contain path or action"},
		{"no credentials", with(func(i *Integration) { i.Credentials = "" }),
			fault.Invalid, "AWS integrations with services other than Lambda require an IAM role credential"},
		{"timeout", with(func(i *Integration) { i.TimeoutMillis = 49 }), fault.Invalid, "Timeout should be between 50 ms and 29000 ms"},
		{"undeclared parameter", with(func(i *Integration) {
			i.RequestParameters = map[string]string{"integration.request.header.X": "method.request.header.X"}
		}), fault.Invalid, "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression parameter specified: method.request.header.X]"},
		{"mapping source", with(func(i *Integration) {
			i.RequestParameters = map[string]string{"integration.request.header.X": "literal"}
		}), fault.Invalid, "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression specified: literal]"},
		{"no integration", func(w *workshop) error {
			must(w.t, w.api.DeleteIntegration(w.st.ID, "POST"))
			return w.api.DeleteIntegration(w.st.ID, "POST")
		}, fault.NotFound, "Invalid Integration identifier specified"},
		{"response of no method", func(w *workshop) error {
			return drop(w.api.PutIntegrationResponse(w.st.ID, "GET", IntegrationResponse{StatusCode: "200"}))
		}, fault.NotFound, "Invalid Method identifier specified"},
		{"delete response of no method", func(w *workshop) error { return w.api.DeleteIntegrationResponse(w.st.ID, "GET", "200") },
			fault.NotFound, "Invalid Integration identifier specified"},
		{"unknown integration response", func(w *workshop) error { return w.api.DeleteIntegrationResponse(w.st.ID, "POST", "404") },
			fault.NotFound, "Invalid Response status code specified"},
		{"content type", func(w *workshop) error {
			return drop(w.api.PutIntegrationResponse(w.st.ID, "POST", IntegrationResponse{StatusCode: "200", ResponseTemplates: map[string]string{"123": ""}}))
		}, fault.Invalid, "Validation Result: warnings : [], errors : [Invalid content type specified: 123]"},
		{"undeclared header", func(w *workshop) error {
			return drop(w.api.PutIntegrationResponse(w.st.ID, "POST", IntegrationResponse{StatusCode: "200",
				ResponseParameters: map[string]string{"method.response.header.Y": "'y'"}}))
		}, fault.Invalid, "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression parameter specified: method.response.header.Y]"},

		{"model exists", func(w *workshop) error { return drop(w.api.AddModel(Model{Name: "Empty", Schema: "{}"}, w.ids)) },
			fault.InUse, "Model name already exists for this REST API"},
		{"no model name", func(w *workshop) error { return drop(w.api.AddModel(Model{Schema: "{}"}, w.ids)) },
			fault.Invalid, "Model name must be non-empty"},
		{"no schema", func(w *workshop) error { return drop(w.api.AddModel(Model{Name: "M"}, w.ids)) },
			fault.Invalid, "Model schema must have at least 1 property or array items defined"},
		{"unknown model", func(w *workshop) error { return w.api.DeleteModel("Nope") }, fault.NotFound, "Invalid model name specified: Nope"},
		{"model in use", func(w *workshop) error { return w.api.DeleteModel("Empty") },
			fault.InUse, "Cannot delete model 'Empty', is referenced in method request: /v1/{stream-name}/POST"},
		{"model path", func(w *workshop) error { return w.api.PatchModel("Empty", patch(OpReplace, "/name", "x")) },
			fault.Invalid, "Invalid patch path  '/name' specified for op 'replace'. Must be one of: [/description, /schema]"},

		{"deploy nothing", func(w *workshop) error {
			must(w.t, w.api.DeleteResource(w.v1.ID))
			return drop(w.api.CreateDeployment(NewDeployment{}, w.ids, now))
		}, fault.Invalid, "The REST API doesn't contain any methods"},
		{"deploy half", func(w *workshop) error {
			must(w.t, w.api.DeleteIntegration(w.st.ID, "POST"))
			return drop(w.api.CreateDeployment(NewDeployment{}, w.ids, now))
		}, fault.Invalid, "No integration defined for method"},
		{"deploy another service", func(w *workshop) error {
			i := awsIntegration()
			i.URI = "arn:aws:apigateway:us-east-1:sqs:path/000000000000/queue"
			get(w.api.PutIntegration(w.st.ID, "POST", i))
			return drop(w.api.CreateDeployment(NewDeployment{}, w.ids, now))
		}, fault.Unsupported, "integration sqs:path/000000000000/queue of POST /v1/{stream-name} is not supported by this version of Millrace: the actions are kinesis:action/PutRecord, kinesis:action/PutRecords, firehose:action/PutRecord, firehose:action/PutRecordBatch, s3:path/..., s3:action/GetObject, s3:action/HeadObject, s3:action/PutObject, s3:action/DeleteObject"},
		{"deployment in use", func(w *workshop) error {
			d := get(w.api.CreateDeployment(NewDeployment{StageName: "s"}, w.ids, now))
			return w.api.DeleteDeployment(d.ID)
		}, fault.Invalid, "Active stages pointing to this deployment must be moved or deleted"},
		{"unknown deployment", func(w *workshop) error { return w.api.DeleteDeployment("x") }, fault.NotFound, "Invalid Deployment identifier specified"},
		{"unknown stage", func(w *workshop) error { return w.api.DeleteStage("x") }, fault.NotFound, "Invalid stage identifier specified"},
		{"stage exists", staged(func(w *workshop, d *Deployment) error {
			return drop(w.api.CreateStage(NewStage{Name: "s", DeploymentID: d.ID}, now))
		}), fault.InUse, "Stage already exists"},
		{"variable value", staged(func(w *workshop, d *Deployment) error {
			return drop(w.api.CreateStage(NewStage{Name: "t", DeploymentID: d.ID, Variables: map[string]string{"a": "{"}}, now))
		}), fault.Invalid, "Invalid stage variable value: {. Please use values with alphanumeric characters and the symbols '-', '.', '_', '~', ':', '/', '?', '#', '&', '=', and ','."},
		{"variable name", staged(func(w *workshop, d *Deployment) error {
			return drop(w.api.CreateStage(NewStage{Name: "t", DeploymentID: d.ID, Variables: map[string]string{longName: ""}}, now))
		}), fault.Invalid, "Invalid stage variable name: " + longName + ". Please use up to 64 letters, digits and underscores"},
		{"stage path", onStage(OpReplace, "/nope", "x"), fault.Invalid, strings.Replace(invalidStagePath, "%s", "/nope", 1)},
		{"setting path", onStage(OpReplace, "/*/*/logging/nope", "x"), fault.Invalid, strings.Replace(invalidStagePath, "%s", "/*/*/logging/nope", 1)},
		{"no settings", onStage(OpRemove, "/*/*", ""), fault.Invalid,
			"Cannot remove method setting */* because there is no method setting for this method "},
		{"log level", onStage(OpReplace, "/*/*/logging/loglevel", "x"), fault.Invalid, "Invalid logging level specified. Valid options are OFF,ERROR,INFO"},
		{"throttle", onStage(OpReplace, "/*/*/throttling/rateLimit", "fast"), fault.Invalid, "Invalid throttling rateLimit specified: fast"},
		{"negative burst", onStage(OpReplace, "/*/*/throttling/burstLimit", "-1"), fault.Invalid, "Invalid throttling burstLimit specified: -1"},
		{"deployment of stage", onStage(OpReplace, "/deploymentId", "x"), fault.Invalid, "Deployment id does not exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.call(newWorkshop(t))
			var f *fault.Error
			if !errors.As(err, &f) {
				t.Fatalf("got %v", err)
			}
			if f.Kind != c.kind || f.Message() != c.want {
				t.Errorf("got %v %q\nwant %v %q", f.Kind, f.Message(), c.kind, c.want)
			}
		})
	}
}

// Patches come from outside: whatever they say, an API that took them can be stored, read back and deployed or is
// refused by an error with a kind.
func FuzzPatches(f *testing.F) {
	f.Add("replace", "/~1v1/POST/logging/loglevel", "INFO", uint8(0))
	f.Add("add", "/variables/x", "y", uint8(0))
	f.Add("replace", "/canarySettings/percentTraffic", "1e309", uint8(0))
	f.Add("replace", "/canarySettings/stageVariableOverrides/a~1b", "x", uint8(0))
	f.Add("replace", "/accessLogSettings/format", "$context.requestId", uint8(0))
	f.Add("replace", "/*/*/caching/ttlInSeconds", "-1", uint8(0))
	f.Add("replace", "/statusCode", "400", uint8(1))
	f.Add("remove", "/requestTemplates/application~1json", "", uint8(2))
	f.Add("replace", "/pathPart", "{x+}", uint8(3))
	f.Add("add", "/binaryMediaTypes/image~1png", "", uint8(4))
	f.Add("add", "/requestParameters/method.request.header.X", "true", uint8(5))
	f.Add("add", "/responseModels/~1", "Empty", uint8(6))
	f.Fuzz(func(t *testing.T, op, path, value string, which uint8) {
		w := newWorkshop(t)
		get(w.api.CreateDeployment(NewDeployment{StageName: "s"}, w.ids, now))
		patches := []Patch{{Op: op, Path: path, Value: value}}
		var err error
		switch which % 7 {
		case 0:
			_, err = w.api.PatchStage("s", patches, now)
		case 1:
			_, err = w.api.PatchIntegrationResponse(w.st.ID, "POST", "200", patches)
		case 2:
			err = w.api.PatchIntegration(w.st.ID, "POST", patches)
		case 3:
			err = w.api.PatchResource(w.v1.ID, patches)
		case 4:
			err = w.api.Patch(patches)
		case 5:
			err = w.api.PatchMethod(w.st.ID, "POST", patches)
		case 6:
			err = w.api.PatchMethodResponse(w.st.ID, "POST", "200", patches)
		}
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Fatal(err)
			}
			return
		}
		again := w.api.Clone()
		if _, err := again.CreateDeployment(NewDeployment{StageName: "s"}, w.ids, now); err != nil && fault.KindOf(err) == fault.Internal {
			t.Fatal(err)
		}
		for _, r := range again.Resources {
			if r.ID != again.RootResourceID && again.Resources[r.ParentID] == nil {
				t.Fatalf("%s has no parent", r.Path)
			}
		}
	})
}

func drop[T any](_ T, err error) error { return err }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// with puts the reference integration, changed.
func with(change func(*Integration)) func(*workshop) error {
	return func(w *workshop) error {
		i := awsIntegration()
		change(&i)
		return drop(w.api.PutIntegration(w.st.ID, "POST", i))
	}
}

func staged(call func(*workshop, *Deployment) error) func(*workshop) error {
	return func(w *workshop) error {
		return call(w, get(w.api.CreateDeployment(NewDeployment{StageName: "s"}, w.ids, now)))
	}
}

func onStage(op, path, value string) func(*workshop) error {
	return staged(func(w *workshop, _ *Deployment) error {
		return drop(w.api.PatchStage("s", []Patch{{Op: op, Path: path, Value: value}}, now))
	})
}

// Answers of proxies can stream, and may then take a quarter of an hour.
func TestTransferModes(t *testing.T) {
	put := func(kind, mode string, timeout int) (*API, error) {
		api := newWorkshop(t).api
		if _, err := api.PutMethod(api.RootResourceID, Method{HTTPMethod: "GET", AuthorizationType: "NONE"}); err != nil {
			t.Fatal(err)
		}
		_, err := api.PutIntegration(api.RootResourceID, "GET", Integration{Type: kind, HTTPMethod: "GET", URI: "http://h/", TransferMode: mode, TimeoutMillis: timeout})
		return api, err
	}
	f := func(kind, mode string, timeout int, want string) {
		t.Helper()
		if _, err := put(kind, mode, timeout); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s %s %d: %v, want %q", kind, mode, timeout, err, want)
		}
	}
	f(HTTPProxy, Stream, 900000, "")
	f(HTTPProxy, Buffered, 29000, "")
	f(HTTPProxy, Stream, 900001, "Timeout should be between 50 ms and 900000 ms")
	f(HTTPProxy, Buffered, 29001, "Timeout should be between 50 ms and 29000 ms")
	f(HTTPProxy, "CHUNKED", 0, "responseTransferMode")
	f(HTTP, Stream, 0, "only supported for AWS_PROXY and HTTP_PROXY")
	f(Mock, Stream, 0, "only supported for AWS_PROXY and HTTP_PROXY")

	api, err := put(HTTPProxy, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	patch := func(want string, patches ...Patch) {
		t.Helper()
		clone := api.Clone()
		err := clone.PatchIntegration(api.RootResourceID, "GET", patches)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", patches, err, want)
		}
		if err == nil {
			api = clone
		}
	}
	mode := func(m string) Patch { return Patch{Op: OpReplace, Path: "/responseTransferMode", Value: m} }
	timeout := Patch{Op: OpReplace, Path: "/timeoutInMillis", Value: "600000"}
	patch("Timeout should be", timeout)
	patch("", timeout, mode(Stream))
	patch("Timeout should be", mode(Buffered))
	patch("", mode(Buffered), Patch{Op: OpReplace, Path: "/timeoutInMillis", Value: "1000"})
	patch("responseTransferMode", mode("x"))
}
