package apigateway_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"

	"millrace/internal/catalog"
)

// A script customises gateway responses and turns compression on; a deployment freezes both.
func TestGatewayResponsesByScript(t *testing.T) {
	s := newService(t)
	c, ctx := s.client(t), context.Background()
	api := must(c.CreateRestApi(ctx, &sdk.CreateRestApiInput{Name: aws.String("a"), MinimumCompressionSize: aws.Int32(0)}))
	if api.MinimumCompressionSize == nil || *api.MinimumCompressionSize != 0 {
		t.Errorf("compresses from %v", api.MinimumCompressionSize)
	}
	put := must(c.PutGatewayResponse(ctx, &sdk.PutGatewayResponseInput{RestApiId: api.Id, ResponseType: types.GatewayResponseTypeDefault4xx,
		ResponseParameters: map[string]string{"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"}}))
	if put.DefaultResponse || put.StatusCode != nil || put.ResponseTemplates["application/json"] != `{"message":$context.error.messageString}` {
		t.Errorf("put: %+v", put)
	}
	all := must(c.GetGatewayResponses(ctx, &sdk.GetGatewayResponsesInput{RestApiId: api.Id}))
	if len(all.Items) != 21 {
		t.Errorf("%d responses", len(all.Items))
	}
	for _, r := range all.Items {
		is4xx := aws.ToString(r.StatusCode) < "500" && r.ResponseType != types.GatewayResponseTypeDefault5xx
		if _, ok := r.ResponseParameters["gatewayresponse.header.Access-Control-Allow-Origin"]; ok != is4xx {
			t.Errorf("%s %s: %v", r.ResponseType, aws.ToString(r.StatusCode), r.ResponseParameters)
		}
		if set := r.ResponseType == types.GatewayResponseTypeDefault4xx; r.DefaultResponse == set {
			t.Errorf("%s: a default: %v", r.ResponseType, r.DefaultResponse)
		}
	}
	updated := must(c.UpdateGatewayResponse(ctx, &sdk.UpdateGatewayResponseInput{RestApiId: api.Id, ResponseType: types.GatewayResponseTypeThrottled,
		PatchOperations: []types.PatchOperation{{Op: types.OpReplace, Path: aws.String("/statusCode"), Value: aws.String("503")},
			{Op: types.OpAdd, Path: aws.String("/responseTemplates/text~1plain"), Value: aws.String("slow down")}}}))
	if aws.ToString(updated.StatusCode) != "503" || len(updated.ResponseTemplates) != 2 || len(updated.ResponseParameters) != 0 {
		t.Errorf("updated: %+v", updated)
	}
	must(c.PutMethod(ctx, &sdk.PutMethodInput{RestApiId: api.Id, ResourceId: api.RootResourceId, HttpMethod: aws.String("GET"), AuthorizationType: aws.String("NONE")}))
	must(c.PutIntegration(ctx, &sdk.PutIntegrationInput{RestApiId: api.Id, ResourceId: api.RootResourceId, HttpMethod: aws.String("GET"), Type: types.IntegrationTypeMock}))
	dep := must(c.CreateDeployment(ctx, &sdk.CreateDeploymentInput{RestApiId: api.Id, StageName: aws.String("prod")}))

	must(c.DeleteGatewayResponse(ctx, &sdk.DeleteGatewayResponseInput{RestApiId: api.Id, ResponseType: types.GatewayResponseTypeThrottled}))
	_, err := c.DeleteGatewayResponse(ctx, &sdk.DeleteGatewayResponseInput{RestApiId: api.Id, ResponseType: types.GatewayResponseTypeThrottled})
	wantError(t, err, 404, "NotFoundException", "Gateway response type not defined on api")
	one := must(c.GetGatewayResponse(ctx, &sdk.GetGatewayResponseInput{RestApiId: api.Id, ResponseType: types.GatewayResponseTypeThrottled}))
	if !one.DefaultResponse || aws.ToString(one.StatusCode) != "429" {
		t.Errorf("after its deletion: %+v", one)
	}
	off := must(c.UpdateRestApi(ctx, &sdk.UpdateRestApiInput{RestApiId: api.Id, PatchOperations: []types.PatchOperation{
		{Op: types.OpReplace, Path: aws.String("/minimumCompressionSize")}}}))
	if off.MinimumCompressionSize != nil {
		t.Errorf("compresses from %d", *off.MinimumCompressionSize)
	}

	frozen := must(catalog.APIs{}.Deployed(s.catalog.Snapshot()))[0].Deployments[aws.ToString(dep.Id)].Definition
	if r := frozen.GatewayResponses["THROTTLED"]; r == nil || r.StatusCode != "503" || frozen.MinimumCompressionSize == nil {
		t.Errorf("the deployment holds %+v, %v", frozen.GatewayResponses, frozen.MinimumCompressionSize)
	}
}
