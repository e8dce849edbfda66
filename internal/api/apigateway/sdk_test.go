package apigateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"
	"github.com/aws/smithy-go"
	awshttp "github.com/aws/smithy-go/transport/http"

	"millrace/internal/api/apigateway"
	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

const (
	jsonTemplate = "#set($json = \"$input.json('$')\n\")\n{\"Data\": \"$util.base64Encode(\"$json\")\", \"PartitionKey\": \"$input.params('X-Amzn-Trace-Id')\", \"StreamName\": \"class-stream\"}"
	formTemplate = "{\"Data\": \"$util.base64Encode($input.body)\", \"PartitionKey\": \"$context.requestId\", \"StreamName\": \"$input.params('stream-name')\"}"
	kinesisURI   = "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord"
	roleARN      = "arn:aws:iam::000000000000:role/gateway"
)

// A script builds the reference pipeline's API call by call, as boto3 or the CLI would, and deploys it.
func TestReferenceAPIByScript(t *testing.T) {
	s := newService(t)
	c, ctx := s.client(t), context.Background()

	api := must(c.CreateRestApi(ctx, &sdk.CreateRestApiInput{
		Name: aws.String("event-collector"), Description: aws.String("Collects web and app events"),
		EndpointConfiguration: &types.EndpointConfiguration{Types: []types.EndpointType{types.EndpointTypeRegional}},
		Tags:                  map[string]string{"cost-centre": "web"},
	}))
	resources := must(c.GetResources(ctx, &sdk.GetResourcesInput{RestApiId: api.Id}))
	if len(resources.Items) != 1 || aws.ToString(resources.Items[0].Path) != "/" || aws.ToString(resources.Items[0].Id) != aws.ToString(api.RootResourceId) {
		t.Fatalf("root: %+v", resources.Items)
	}
	v1 := must(c.CreateResource(ctx, &sdk.CreateResourceInput{RestApiId: api.Id, ParentId: resources.Items[0].Id, PathPart: aws.String("v1")}))
	st := must(c.CreateResource(ctx, &sdk.CreateResourceInput{RestApiId: api.Id, ParentId: v1.Id, PathPart: aws.String("{stream-name}")}))
	if aws.ToString(st.Path) != "/v1/{stream-name}" {
		t.Errorf("path %q", aws.ToString(st.Path))
	}
	must(c.PutMethod(ctx, &sdk.PutMethodInput{RestApiId: api.Id, ResourceId: st.Id, HttpMethod: aws.String("POST"),
		AuthorizationType: aws.String("NONE"), RequestParameters: map[string]bool{"method.request.path.stream-name": true}}))
	must(c.PutMethodResponse(ctx, &sdk.PutMethodResponseInput{RestApiId: api.Id, ResourceId: st.Id, HttpMethod: aws.String("POST"),
		StatusCode: aws.String("200"), ResponseModels: map[string]string{"application/json": "Empty"}}))
	put := must(c.PutIntegration(ctx, &sdk.PutIntegrationInput{RestApiId: api.Id, ResourceId: st.Id, HttpMethod: aws.String("POST"),
		Type: types.IntegrationTypeAws, IntegrationHttpMethod: aws.String("POST"), Uri: aws.String(kinesisURI), Credentials: aws.String(roleARN),
		RequestTemplates: map[string]string{"application/json": jsonTemplate, "application/x-www-form-urlencoded": formTemplate}}))
	if put.TimeoutInMillis != 29000 || aws.ToString(put.PassthroughBehavior) != "WHEN_NO_MATCH" || aws.ToString(put.CacheNamespace) != aws.ToString(st.Id) {
		t.Errorf("defaults: %+v", put)
	}
	must(c.PutIntegrationResponse(ctx, &sdk.PutIntegrationResponseInput{RestApiId: api.Id, ResourceId: st.Id, HttpMethod: aws.String("POST"),
		StatusCode: aws.String("200"), SelectionPattern: aws.String(""), ResponseTemplates: map[string]string{"application/json": ""}}))
	dep := must(c.CreateDeployment(ctx, &sdk.CreateDeploymentInput{RestApiId: api.Id, StageName: aws.String("prod"), Variables: map[string]string{"k": "v"}}))

	method := must(c.GetMethod(ctx, &sdk.GetMethodInput{RestApiId: api.Id, ResourceId: st.Id, HttpMethod: aws.String("POST")}))
	if method.MethodIntegration == nil || method.MethodIntegration.RequestTemplates["application/json"] != jsonTemplate {
		t.Errorf("method: %+v", method.MethodIntegration)
	}
	if r := method.MethodIntegration.IntegrationResponses["200"]; aws.ToString(r.StatusCode) != "200" {
		t.Errorf("integration response: %+v", r)
	}
	if r := method.MethodResponses["200"]; r.ResponseModels["application/json"] != "Empty" {
		t.Errorf("method response: %+v", r)
	}
	stage := must(c.GetStage(ctx, &sdk.GetStageInput{RestApiId: api.Id, StageName: aws.String("prod")}))
	if aws.ToString(stage.DeploymentId) != aws.ToString(dep.Id) || stage.Variables["k"] != "v" || stage.CacheClusterStatus != types.CacheClusterStatusNotAvailable {
		t.Errorf("stage: %+v", stage)
	}
	stage2 := must(c.UpdateStage(ctx, &sdk.UpdateStageInput{RestApiId: api.Id, StageName: aws.String("prod"), PatchOperations: []types.PatchOperation{
		{Op: types.OpReplace, Path: aws.String("/*/*/logging/loglevel"), Value: aws.String("ERROR")}}}))
	all := stage2.MethodSettings["*/*"]
	if aws.ToString(all.LoggingLevel) != "ERROR" || all.ThrottlingBurstLimit != 5000 || all.ThrottlingRateLimit != 10000 || !all.CachingEnabled ||
		all.UnauthorizedCacheControlHeaderStrategy != types.UnauthorizedCacheControlHeaderStrategySucceedWithResponseHeader {
		t.Errorf("settings: %+v", all)
	}
	withMethods := must(c.GetResources(ctx, &sdk.GetResourcesInput{RestApiId: api.Id, Embed: []string{"methods"}}))
	for _, r := range withMethods.Items {
		if aws.ToString(r.Id) == aws.ToString(st.Id) && r.ResourceMethods["POST"].MethodIntegration == nil {
			t.Error("embed=methods left the method empty")
		}
	}

	// What the gateway serves is the deployment.
	served := must(catalog.APIs{}.Deployed(s.catalog.Snapshot()))
	frozen := served[0].Deployments[aws.ToString(dep.Id)].Definition
	if r, ok := frozen.ByPath("/v1/{stream-name}"); !ok || r.Methods["POST"].Integration.URI != kinesisURI {
		t.Error("the deployment does not hold the method")
	}

	summary := must(c.GetDeployment(ctx, &sdk.GetDeploymentInput{RestApiId: api.Id, DeploymentId: dep.Id, Embed: []string{"apisummary"}}))
	if m := summary.ApiSummary["/v1/{stream-name}"]["POST"]; aws.ToString(m.AuthorizationType) != "NONE" {
		t.Errorf("summary: %+v", summary.ApiSummary)
	}

	// And down again.
	_, err := c.DeleteDeployment(ctx, &sdk.DeleteDeploymentInput{RestApiId: api.Id, DeploymentId: dep.Id})
	wantError(t, err, 400, "BadRequestException", "Active stages pointing to this deployment must be moved or deleted")
	must(c.DeleteStage(ctx, &sdk.DeleteStageInput{RestApiId: api.Id, StageName: aws.String("prod")}))
	must(c.DeleteDeployment(ctx, &sdk.DeleteDeploymentInput{RestApiId: api.Id, DeploymentId: dep.Id}))
	must(c.DeleteIntegrationResponse(ctx, &sdk.DeleteIntegrationResponseInput{RestApiId: api.Id, ResourceId: st.Id, HttpMethod: aws.String("POST"), StatusCode: aws.String("200")}))
	must(c.DeleteIntegration(ctx, &sdk.DeleteIntegrationInput{RestApiId: api.Id, ResourceId: st.Id, HttpMethod: aws.String("POST")}))
	must(c.DeleteMethodResponse(ctx, &sdk.DeleteMethodResponseInput{RestApiId: api.Id, ResourceId: st.Id, HttpMethod: aws.String("POST"), StatusCode: aws.String("200")}))
	must(c.DeleteMethod(ctx, &sdk.DeleteMethodInput{RestApiId: api.Id, ResourceId: st.Id, HttpMethod: aws.String("POST")}))
	must(c.DeleteResource(ctx, &sdk.DeleteResourceInput{RestApiId: api.Id, ResourceId: v1.Id}))
	if left := must(c.GetResources(ctx, &sdk.GetResourcesInput{RestApiId: api.Id})); len(left.Items) != 1 {
		t.Errorf("left: %+v", left.Items)
	}
	must(c.DeleteRestApi(ctx, &sdk.DeleteRestApiInput{RestApiId: api.Id}))
	_, err = c.GetRestApi(ctx, &sdk.GetRestApiInput{RestApiId: api.Id})
	wantError(t, err, 404, "NotFoundException", "Invalid API identifier specified 000000000000:"+aws.ToString(api.Id))
}

func TestTagsOfAPIAndStage(t *testing.T) {
	s := newService(t)
	c, ctx := s.client(t), context.Background()
	api := s.deployed(t, c)
	arn := "arn:aws:apigateway:us-east-1::/restapis/" + api
	for _, arn := range []string{arn, arn + "/stages/prod"} {
		must(c.TagResource(ctx, &sdk.TagResourceInput{ResourceArn: aws.String(arn), Tags: map[string]string{"a": "1", "b": "2"}}))
		must(c.UntagResource(ctx, &sdk.UntagResourceInput{ResourceArn: aws.String(arn), TagKeys: []string{"a"}}))
		if got := must(c.GetTags(ctx, &sdk.GetTagsInput{ResourceArn: aws.String(arn)})); len(got.Tags) != 1 || got.Tags["b"] != "2" {
			t.Errorf("%s: %v", arn, got.Tags)
		}
	}
	_, err := c.GetTags(ctx, &sdk.GetTagsInput{ResourceArn: aws.String("arn:aws:apigateway:us-east-1::/restapis/nope")})
	wantError(t, err, 404, "NotFoundException", "Invalid API identifier specified 000000000000:nope")
}

func TestAPIsAreListedInPages(t *testing.T) {
	s := newService(t)
	c, ctx := s.client(t), context.Background()
	var made, seen []string
	for range 7 {
		made = append(made, aws.ToString(must(c.CreateRestApi(ctx, &sdk.CreateRestApiInput{Name: aws.String("n")})).Id))
	}
	pages := sdk.NewGetRestApisPaginator(c, &sdk.GetRestApisInput{Limit: aws.Int32(3)})
	n := 0
	for ; pages.HasMorePages(); n++ {
		for _, item := range must(pages.NextPage(ctx)).Items {
			seen = append(seen, aws.ToString(item.Id))
		}
	}
	slices.Sort(made)
	slices.Sort(seen)
	if n != 3 || !slices.Equal(made, seen) {
		t.Errorf("%d pages: %v, want %v", n, seen, made)
	}
}

// The kind of an export goes by Accept. (The SDK for Go asks for JSON whatever its caller says.)
func TestExportGoesByAccept(t *testing.T) {
	s := newService(t)
	api := s.deployed(t, s.client(t))
	for accept, want := range map[string]string{
		"":                   `{|oas30_2023-11-14T22:13:20Z.json`,
		"*/*":                `{|oas30_2023-11-14T22:13:20Z.json`,
		"application/json":   `{|oas30_2023-11-14T22:13:20Z.json`,
		"application/yaml":   `-|oas30_2023-11-14T22:13:20Z.yaml`,
		"application/msword": `{|400`,
	} {
		req := must(http.NewRequest("GET", s.url+"/restapis/"+api+"/stages/prod/exports/oas30", nil))
		req.Header.Set("Accept", accept)
		resp := must(http.DefaultClient.Do(req))
		body := must(io.ReadAll(resp.Body))
		resp.Body.Close()
		got := string(body[:1]) + "|" + strings.TrimSuffix(strings.TrimPrefix(resp.Header.Get("Content-Disposition"), `attachment; filename="`), `"`)
		if resp.StatusCode != 200 {
			got += strconv.Itoa(resp.StatusCode)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", accept, got, want)
		}
	}
}

func TestAccountKeepsItsRole(t *testing.T) {
	s := newService(t)
	c, ctx := s.client(t), context.Background()
	must(c.UpdateAccount(ctx, &sdk.UpdateAccountInput{PatchOperations: []types.PatchOperation{
		{Op: types.OpReplace, Path: aws.String("/cloudwatchRoleArn"), Value: aws.String(roleARN)}}}))
	a := must(c.GetAccount(ctx, &sdk.GetAccountInput{}))
	if aws.ToString(a.CloudwatchRoleArn) != roleARN || a.ThrottleSettings.BurstLimit != 5000 {
		t.Errorf("%+v", a)
	}
}

func TestModels(t *testing.T) {
	s := newService(t)
	c, ctx := s.client(t), context.Background()
	api := must(c.CreateRestApi(ctx, &sdk.CreateRestApiInput{Name: aws.String("n")}))
	must(c.CreateModel(ctx, &sdk.CreateModelInput{RestApiId: api.Id, Name: aws.String("Event"), ContentType: aws.String("application/json"), Schema: aws.String(`{"type":"object"}`)}))
	all := must(c.GetModels(ctx, &sdk.GetModelsInput{RestApiId: api.Id}))
	if len(all.Items) != 3 {
		t.Errorf("%+v", all.Items)
	}
	must(c.DeleteModel(ctx, &sdk.DeleteModelInput{RestApiId: api.Id, ModelName: aws.String("Event")}))
	_, err := c.GetModel(ctx, &sdk.GetModelInput{RestApiId: api.Id, ModelName: aws.String("Event")})
	wantError(t, err, 404, "NotFoundException", "Invalid model name specified: Event")
}

// wantError checks what an SDK makes of an error: status, code, text.
func wantError(t *testing.T, err error, status int, code, message string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("got %v, want %s", err, code)
	}
	var response *awshttp.ResponseError
	if !errors.As(err, &response) || response.HTTPStatusCode() != status {
		t.Errorf("status: %v, want %d", err, status)
	}
	if api.ErrorCode() != code || !strings.HasPrefix(api.ErrorMessage(), message) {
		t.Errorf("got %s %q\nwant %s %q", api.ErrorCode(), api.ErrorMessage(), code, message)
	}
}

// tester answers tests of methods with what it was asked.
type tester struct{}

func (tester) TestMethod(_ context.Context, _ *restapi.API, resourceID, verb string, req apigateway.MethodTest) (*apigateway.MethodTested, error) {
	return &apigateway.MethodTested{
		Status: 201, Header: [][2]string{{"a", "1"}, {"a", "2"}}, Log: "log", Latency: 12 * time.Millisecond,
		Body: fmt.Appendf(nil, "%s %s %v %s %v", verb, req.PathWithQuery, req.Header, req.Body, req.StageVariables),
	}, nil
}

func TestTestInvokeMethodBySDK(t *testing.T) {
	s := newService(t, func(o *apigateway.Options) { o.Tester = tester{} })
	c := s.client(t)
	api := must(c.CreateRestApi(t.Context(), &sdk.CreateRestApiInput{Name: aws.String("n")}))
	out := must(c.TestInvokeMethod(t.Context(), &sdk.TestInvokeMethodInput{
		RestApiId: api.Id, ResourceId: api.RootResourceId, HttpMethod: aws.String("GET"), PathWithQueryString: aws.String("/?a=b"), Body: aws.String("body"),
		Headers: map[string]string{"x": "1", "y": "2"}, MultiValueHeaders: map[string][]string{"x": {"3", "4"}}, StageVariables: map[string]string{"v": "w"},
	}))
	if got := aws.ToString(out.Body); got != "GET /?a=b [[x 3] [x 4] [y 2]] body map[v:w]" {
		t.Error(got)
	}
	if out.Status != 201 || out.Latency != 12 || aws.ToString(out.Log) != "log" || out.Headers["a"] != "2" || len(out.MultiValueHeaders["a"]) != 2 {
		t.Errorf("%+v", out)
	}
}
