package sdk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"

	"millrace/e2e/node"
)

const pets = `{"openapi": "3.0.1", "info": {"title": "pets", "version": "1.0.0"}, "paths": {"/pets/{id}": {"get": {"responses": {"200": {"description": "x"}},
	"x-amazon-apigateway-integration": {"type": "mock", "requestTemplates": {"application/json": "{\"statusCode\": 200}"},
	"responses": {"default": {"statusCode": "200", "responseTemplates": {"application/json": "{\"id\": \"$input.params('id')\", \"stage\": \"$context.stage\", \"path\": \"$context.path\"}"}}}}}}},
	"x-amazon-apigateway-binary-media-types": ["image/png"]}`

func replace(path, value string) types.PatchOperation {
	return types.PatchOperation{Op: types.OpReplace, Path: &path, Value: &value}
}

// getAs sends a request to the ingest listener under another name.
func getAs(t *testing.T, n *node.Node, host, path string) (status int, body string) {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), http.MethodGet, n.Ingest+path, nil))(t)
	req.Host = host
	resp := must(http.DefaultClient.Do(req))(t)
	defer resp.Body.Close()
	return resp.StatusCode, string(must(io.ReadAll(resp.Body))(t))
}

// The calls that Terraform's provider makes for a REST API with a body, its deployment, stage, settings, domain name and
// mapping, in its order: creation with a read after each, an update, and destruction, after which a read is a 404.
func TestTerraformsCallsWithABody(t *testing.T) {
	n := up(t, node.Options{})
	c, ctx := clientsOf(n, "AKIDEXAMPLE", "anything").apigateway, t.Context()

	api := must(c.CreateRestApi(ctx, &apigateway.CreateRestApiInput{Name: aws.String("pets"), Tags: map[string]string{"team": "a"},
		EndpointConfiguration: &types.EndpointConfiguration{Types: []types.EndpointType{types.EndpointTypeRegional}}}))(t)
	put := must(c.PutRestApi(ctx, &apigateway.PutRestApiInput{RestApiId: api.Id, Body: []byte(pets), Mode: types.PutModeOverwrite}))(t)
	if aws.ToString(put.Version) != "1.0.0" || put.Tags["team"] != "a" {
		t.Errorf("%+v", put)
	}
	read := must(c.GetRestApi(ctx, &apigateway.GetRestApiInput{RestApiId: api.Id}))(t)
	if read.ApiKeySource != types.ApiKeySourceTypeHeader || aws.ToString(read.RootResourceId) != aws.ToString(api.RootResourceId) {
		t.Errorf("after PutRestApi: %+v", read)
	}
	var root string
	for pages := apigateway.NewGetResourcesPaginator(c, &apigateway.GetResourcesInput{RestApiId: api.Id, Limit: aws.Int32(1)}); pages.HasMorePages(); {
		for _, r := range must(pages.NextPage(ctx))(t).Items {
			if aws.ToString(r.Path) == "/" {
				root = *r.Id
			}
		}
	}
	if root != aws.ToString(api.RootResourceId) {
		t.Errorf("root %s, want %s", root, *api.RootResourceId)
	}
	deployment := must(c.CreateDeployment(ctx, &apigateway.CreateDeploymentInput{RestApiId: api.Id}))(t)
	must(c.GetDeployment(ctx, &apigateway.GetDeploymentInput{RestApiId: api.Id, DeploymentId: deployment.Id}))(t)
	must(c.CreateStage(ctx, &apigateway.CreateStageInput{RestApiId: api.Id, DeploymentId: deployment.Id, StageName: aws.String("prod"), Variables: map[string]string{"k": "v"}}))(t)
	settings := must(c.UpdateStage(ctx, &apigateway.UpdateStageInput{RestApiId: api.Id, StageName: aws.String("prod"), PatchOperations: []types.PatchOperation{
		replace("/*/*/metrics/enabled", "true"), replace("/*/*/logging/loglevel", "ERROR"), replace("/pets~1{id}/GET/logging/dataTrace", "true")}}))(t)
	if len(settings.MethodSettings) != 2 || aws.ToString(settings.MethodSettings["*/*"].LoggingLevel) != "ERROR" || !settings.MethodSettings["pets/{id}/GET"].DataTraceEnabled {
		t.Errorf("%+v", settings.MethodSettings)
	}
	stageARN := aws.String("arn:aws:apigateway:us-east-1::/restapis/" + *api.Id + "/stages/prod")
	must(c.TagResource(ctx, &apigateway.TagResourceInput{ResourceArn: stageARN, Tags: map[string]string{"a": "1", "b": "2"}}))(t)
	must(c.UntagResource(ctx, &apigateway.UntagResourceInput{ResourceArn: stageARN, TagKeys: []string{"a"}}))(t)
	if stage := must(c.GetStage(ctx, &apigateway.GetStageInput{RestApiId: api.Id, StageName: aws.String("prod")}))(t); len(stage.Tags) != 1 || stage.Variables["k"] != "v" {
		t.Errorf("%+v", stage)
	}

	customDomain(t, n, c, *api.Id)

	export := must(c.GetExport(ctx, &apigateway.GetExportInput{RestApiId: api.Id, StageName: aws.String("prod"), ExportType: aws.String("oas30"),
		Accepts: aws.String("application/json"), Parameters: map[string]string{"extensions": "apigateway"}}))(t)
	if aws.ToString(export.ContentDisposition) != `attachment; filename="oas30_1.0.0.json"` || aws.ToString(export.ContentType) != "application/octet-stream" {
		t.Errorf("%q %q", *export.ContentDisposition, *export.ContentType)
	}
	second := must(c.ImportRestApi(ctx, &apigateway.ImportRestApiInput{Body: export.Body, FailOnWarnings: true, Parameters: map[string]string{"endpointConfigurationTypes": "REGIONAL"}}))(t)
	must(c.CreateDeployment(ctx, &apigateway.CreateDeploymentInput{RestApiId: second.Id, StageName: aws.String("prod")}))(t)
	again := must(c.GetExport(ctx, &apigateway.GetExportInput{RestApiId: second.Id, StageName: aws.String("prod"), ExportType: aws.String("oas30"), Parameters: map[string]string{"extensions": "apigateway"}}))(t)
	if !bytes.Equal(bytes.ReplaceAll(again.Body, []byte(*second.Id), []byte(*api.Id)), export.Body) {
		t.Errorf("exported:\n%s\nand after an import:\n%s", export.Body, again.Body)
	}

	must(c.UpdateStage(ctx, &apigateway.UpdateStageInput{RestApiId: api.Id, StageName: aws.String("prod"), PatchOperations: []types.PatchOperation{
		{Op: types.OpRemove, Path: aws.String("/*/*")}}}))(t)
	must(c.DeleteStage(ctx, &apigateway.DeleteStageInput{RestApiId: api.Id, StageName: aws.String("prod")}))(t)
	must(c.DeleteDeployment(ctx, &apigateway.DeleteDeploymentInput{RestApiId: api.Id, DeploymentId: deployment.Id}))(t)
	must(c.DeleteRestApi(ctx, &apigateway.DeleteRestApiInput{RestApiId: api.Id}))(t)
	_, err := c.GetRestApi(ctx, &apigateway.GetRestApiInput{RestApiId: api.Id})
	var gone *types.NotFoundException
	if !errors.As(err, &gone) {
		t.Errorf("after DeleteRestApi: %v", err)
	}
}

// customDomain maps base paths of a domain name, calls through them, and takes all away again.
func customDomain(t *testing.T, n *node.Node, c *apigateway.Client, api string) {
	t.Helper()
	ctx, name := t.Context(), aws.String("pets.example.com")
	made := must(c.CreateDomainName(ctx, &apigateway.CreateDomainNameInput{DomainName: name, SecurityPolicy: types.SecurityPolicyTls12,
		RegionalCertificateArn: aws.String("arn:aws:acm:us-east-1:000000000000:certificate/1"),
		EndpointConfiguration:  &types.EndpointConfiguration{Types: []types.EndpointType{types.EndpointTypeRegional}}}))(t)
	if made.DomainNameStatus != types.DomainNameStatusAvailable || made.RegionalDomainName == nil || made.RegionalHostedZoneId == nil {
		t.Errorf("%+v", made)
	}
	must(c.CreateBasePathMapping(ctx, &apigateway.CreateBasePathMappingInput{DomainName: name, RestApiId: &api, Stage: aws.String("prod"), BasePath: aws.String("v1")}))(t)
	must(c.CreateBasePathMapping(ctx, &apigateway.CreateBasePathMappingInput{DomainName: name, RestApiId: &api}))(t)
	for path, want := range map[string]string{
		"/v1/pets/7":   `{"id": "7", "stage": "prod", "path": "/v1/pets/7"}`,
		"/prod/pets/8": `{"id": "8", "stage": "prod", "path": "/prod/pets/8"}`,
	} {
		if status, body := getAs(t, n, *name, path); status != 200 || body != want {
			t.Errorf("%s: %d %s, want %s", path, status, body, want)
		}
	}
	must(c.UpdateRestApi(ctx, &apigateway.UpdateRestApiInput{RestApiId: &api, PatchOperations: []types.PatchOperation{replace("/disableExecuteApiEndpoint", "true")}}))(t)
	if status, body := getAs(t, n, *name, "/v1/pets/7"); status != 200 {
		t.Errorf("by the domain name, the API's own address being disabled: %d %s", status, body)
	}
	if status, _ := getAs(t, n, strings.TrimPrefix(n.Ingest, "http://"), "/"+api+"/prod/pets/7"); status != 403 {
		t.Errorf("by the API's own address, which is disabled: %d", status)
	}
	must(c.UpdateBasePathMapping(ctx, &apigateway.UpdateBasePathMappingInput{DomainName: name, BasePath: aws.String("v1"), PatchOperations: []types.PatchOperation{
		replace("/basePath", "v2"), replace("/restapiId", api), replace("/stage", "prod")}}))(t)
	if status, body := getAs(t, n, *name, "/v2/pets/9"); status != 200 {
		t.Errorf("at the new base path: %d %s", status, body)
	}
	_, err := c.DeleteRestApi(ctx, &apigateway.DeleteRestApiInput{RestApiId: &api})
	var bad *types.BadRequestException
	if !errors.As(err, &bad) || !strings.Contains(bad.ErrorMessage(), "remove all base path mappings") {
		t.Errorf("deleting a mapped API: %v", err)
	}
	var bases []string
	for pages := apigateway.NewGetBasePathMappingsPaginator(c, &apigateway.GetBasePathMappingsInput{DomainName: name, Limit: aws.Int32(1)}); pages.HasMorePages(); {
		for _, m := range must(pages.NextPage(ctx))(t).Items {
			bases = append(bases, aws.ToString(m.BasePath))
		}
	}
	if !slices.Equal(bases, []string{"(none)", "v2"}) {
		t.Errorf("%q", bases)
	}
	for _, base := range bases {
		must(c.GetBasePathMapping(ctx, &apigateway.GetBasePathMappingInput{DomainName: name, BasePath: &base}))(t)
		must(c.DeleteBasePathMapping(ctx, &apigateway.DeleteBasePathMappingInput{DomainName: name, BasePath: &base}))(t)
	}
	must(c.DeleteDomainName(ctx, &apigateway.DeleteDomainNameInput{DomainName: name}))(t)
	must(c.UpdateRestApi(ctx, &apigateway.UpdateRestApiInput{RestApiId: &api, PatchOperations: []types.PatchOperation{replace("/disableExecuteApiEndpoint", "false")}}))(t)
}

// The same for an API made of parts: what the provider reads back is what it wrote, and a second read differs in nothing.
func TestTerraformsCallsWithParts(t *testing.T) {
	n := up(t, node.Options{})
	c, ctx := clientsOf(n, "AKIDEXAMPLE", "anything").apigateway, context.Background()
	api := must(c.CreateRestApi(ctx, &apigateway.CreateRestApiInput{Name: aws.String("parts")}))(t)
	resource := must(c.CreateResource(ctx, &apigateway.CreateResourceInput{RestApiId: api.Id, ParentId: api.RootResourceId, PathPart: aws.String("v1")}))(t)
	model := must(c.CreateModel(ctx, &apigateway.CreateModelInput{RestApiId: api.Id, Name: aws.String("Event"), ContentType: aws.String("application/json"), Schema: aws.String(`{"type":"object"}`)}))(t)
	validator := must(c.CreateRequestValidator(ctx, &apigateway.CreateRequestValidatorInput{RestApiId: api.Id, Name: aws.String("body"), ValidateRequestBody: true}))(t)
	post := aws.String("POST")
	must(c.PutMethod(ctx, &apigateway.PutMethodInput{RestApiId: api.Id, ResourceId: resource.Id, HttpMethod: post, AuthorizationType: aws.String("NONE"),
		RequestModels: map[string]string{"application/json": *model.Name}, RequestValidatorId: validator.Id}))(t)
	must(c.PutMethodResponse(ctx, &apigateway.PutMethodResponseInput{RestApiId: api.Id, ResourceId: resource.Id, HttpMethod: post, StatusCode: aws.String("200")}))(t)
	must(c.PutIntegration(ctx, &apigateway.PutIntegrationInput{RestApiId: api.Id, ResourceId: resource.Id, HttpMethod: post, Type: types.IntegrationTypeMock,
		RequestTemplates: map[string]string{"application/json": `{"statusCode": 200}`}}))(t)
	must(c.PutIntegrationResponse(ctx, &apigateway.PutIntegrationResponseInput{RestApiId: api.Id, ResourceId: resource.Id, HttpMethod: post, StatusCode: aws.String("200"),
		ResponseTemplates: map[string]string{"application/json": `{"ok": true}`}}))(t)
	integration := must(c.GetIntegration(ctx, &apigateway.GetIntegrationInput{RestApiId: api.Id, ResourceId: resource.Id, HttpMethod: post}))(t)
	if integration.TimeoutInMillis != 29000 || aws.ToString(integration.CacheNamespace) != *resource.Id || integration.IntegrationResponses["200"].ResponseTemplates["application/json"] != `{"ok": true}` {
		t.Errorf("%+v", integration)
	}
	embedded := must(c.GetResources(ctx, &apigateway.GetResourcesInput{RestApiId: api.Id, Embed: []string{"methods"}}))(t)
	at := slices.IndexFunc(embedded.Items, func(r types.Resource) bool { return aws.ToString(r.Id) == *resource.Id })
	if at < 0 || embedded.Items[at].ResourceMethods["POST"].MethodIntegration == nil || aws.ToString(embedded.Items[at].ResourceMethods["POST"].RequestValidatorId) != *validator.Id {
		t.Errorf("%+v", embedded.Items)
	}
	must(c.CreateDeployment(ctx, &apigateway.CreateDeploymentInput{RestApiId: api.Id, StageName: aws.String("dev")}))(t)
	clone := must(c.CreateRestApi(ctx, &apigateway.CreateRestApiInput{Name: aws.String("clone"), CloneFrom: api.Id}))(t)
	if all := must(c.GetResources(ctx, &apigateway.GetResourcesInput{RestApiId: clone.Id}))(t); len(all.Items) != 2 {
		t.Errorf("a clone has %+v", all.Items)
	}
	must(c.UpdateResource(ctx, &apigateway.UpdateResourceInput{RestApiId: api.Id, ResourceId: resource.Id, PatchOperations: []types.PatchOperation{replace("/pathPart", "v2")}}))(t)
	must(c.UpdateAccount(ctx, &apigateway.UpdateAccountInput{PatchOperations: []types.PatchOperation{replace("/cloudwatchRoleArn", role)}}))(t)
	if account := must(c.GetAccount(ctx, &apigateway.GetAccountInput{}))(t); aws.ToString(account.CloudwatchRoleArn) != role || account.ThrottleSettings.RateLimit != 10000 {
		t.Errorf("%+v", account)
	}
	must(c.DeleteIntegrationResponse(ctx, &apigateway.DeleteIntegrationResponseInput{RestApiId: api.Id, ResourceId: resource.Id, HttpMethod: post, StatusCode: aws.String("200")}))(t)
	must(c.DeleteIntegration(ctx, &apigateway.DeleteIntegrationInput{RestApiId: api.Id, ResourceId: resource.Id, HttpMethod: post}))(t)
	must(c.DeleteMethodResponse(ctx, &apigateway.DeleteMethodResponseInput{RestApiId: api.Id, ResourceId: resource.Id, HttpMethod: post, StatusCode: aws.String("200")}))(t)
	must(c.DeleteMethod(ctx, &apigateway.DeleteMethodInput{RestApiId: api.Id, ResourceId: resource.Id, HttpMethod: post}))(t)
	must(c.DeleteResource(ctx, &apigateway.DeleteResourceInput{RestApiId: api.Id, ResourceId: resource.Id}))(t)
	must(c.DeleteRequestValidator(ctx, &apigateway.DeleteRequestValidatorInput{RestApiId: api.Id, RequestValidatorId: validator.Id}))(t)
	must(c.DeleteModel(ctx, &apigateway.DeleteModelInput{RestApiId: api.Id, ModelName: model.Name}))(t)
	for _, refused := range []func() error{
		func() error { _, err := c.GetSdkTypes(ctx, &apigateway.GetSdkTypesInput{}); return err },
		func() error { _, err := c.GetVpcLinks(ctx, &apigateway.GetVpcLinksInput{}); return err },
		func() error {
			_, err := c.GenerateClientCertificate(ctx, &apigateway.GenerateClientCertificateInput{})
			return err
		},
		func() error {
			_, err := c.GetDocumentationParts(ctx, &apigateway.GetDocumentationPartsInput{RestApiId: api.Id})
			return err
		},
	} {
		var bad *types.BadRequestException
		if err := refused(); !errors.As(err, &bad) || !strings.Contains(bad.ErrorMessage(), "not supported by this version of Millrace: ") {
			t.Errorf("%v", err)
		}
	}
}
