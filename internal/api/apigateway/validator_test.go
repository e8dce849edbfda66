package apigateway_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"

	"millrace/internal/catalog"
)

// A validator and its models by an SDK, from creation to what a deployment froze of them.
func TestRequestValidatorsByTheSDK(t *testing.T) {
	s := newService(t)
	c, ctx := s.client(t), context.Background()
	id := aws.String(s.deployed(t, c))
	api := must(c.GetRestApi(ctx, &sdk.GetRestApiInput{RestApiId: id}))

	v := must(c.CreateRequestValidator(ctx, &sdk.CreateRequestValidatorInput{RestApiId: id, Name: aws.String("body"), ValidateRequestBody: true}))
	if !v.ValidateRequestBody || v.ValidateRequestParameters || len(aws.ToString(v.Id)) != 6 {
		t.Errorf("%+v", v)
	}
	must(c.CreateModel(ctx, &sdk.CreateModelInput{RestApiId: id, Name: aws.String("Event"), ContentType: aws.String("application/json"),
		Schema: aws.String(`{"type":"object","properties":{"id":{"type":"string"},"next":{"$ref":"https://apigateway.amazonaws.com/restapis/` + *id + `/models/Event"}}}`)}))
	template := must(c.GetModelTemplate(ctx, &sdk.GetModelTemplateInput{RestApiId: id, ModelName: aws.String("Empty")}))
	if want := "#set($inputRoot = $input.path('$'))\n{ }"; aws.ToString(template.Value) != want {
		t.Errorf("template %q", aws.ToString(template.Value))
	}
	m := must(c.UpdateMethod(ctx, &sdk.UpdateMethodInput{RestApiId: id, ResourceId: api.RootResourceId, HttpMethod: aws.String("GET"), PatchOperations: []types.PatchOperation{
		{Op: types.OpReplace, Path: aws.String("/requestValidatorId"), Value: v.Id},
		{Op: types.OpAdd, Path: aws.String("/requestModels/application~1json"), Value: aws.String("Event")}}}))
	if aws.ToString(m.RequestValidatorId) != *v.Id || m.RequestModels["application/json"] != "Event" {
		t.Errorf("%+v", m)
	}
	d := must(c.CreateDeployment(ctx, &sdk.CreateDeploymentInput{RestApiId: id, StageName: aws.String("prod")}))
	must(c.UpdateRequestValidator(ctx, &sdk.UpdateRequestValidatorInput{RestApiId: id, RequestValidatorId: v.Id, PatchOperations: []types.PatchOperation{
		{Op: types.OpReplace, Path: aws.String("/validateRequestBody"), Value: aws.String("false")}}}))
	must(c.UpdateModel(ctx, &sdk.UpdateModelInput{RestApiId: id, ModelName: aws.String("Event"), PatchOperations: []types.PatchOperation{
		{Op: types.OpReplace, Path: aws.String("/schema"), Value: aws.String(`{}`)}}}))
	served := must(catalog.APIs{}.Deployed(s.catalog.Snapshot()))
	frozen := served[0].Deployments[aws.ToString(d.Id)].Definition
	if !frozen.Validators[*v.Id].Body || frozen.Models["Event"].Schema == `{}` {
		t.Errorf("a later change is in the deployment: %+v %+v", frozen.Validators[*v.Id], frozen.Models["Event"])
	}
	if all := must(c.GetRequestValidators(ctx, &sdk.GetRequestValidatorsInput{RestApiId: id})); len(all.Items) != 1 || all.Items[0].ValidateRequestBody {
		t.Errorf("%+v", all.Items)
	}
	_, err := c.DeleteRequestValidator(ctx, &sdk.DeleteRequestValidatorInput{RestApiId: id, RequestValidatorId: v.Id})
	wantError(t, err, 409, "ConflictException", "Cannot delete request validator 'body', is referenced in method: //GET")
	must(c.DeleteMethod(ctx, &sdk.DeleteMethodInput{RestApiId: id, ResourceId: api.RootResourceId, HttpMethod: aws.String("GET")}))
	must(c.DeleteRequestValidator(ctx, &sdk.DeleteRequestValidatorInput{RestApiId: id, RequestValidatorId: v.Id}))
	_, err = c.GetRequestValidator(ctx, &sdk.GetRequestValidatorInput{RestApiId: id, RequestValidatorId: v.Id})
	wantError(t, err, 404, "NotFoundException", "Invalid Request Validator identifier specified")
}
