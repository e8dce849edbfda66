package apigateway_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/apigateway"
	"github.com/aws/aws-sdk-go-v2/service/apigateway/types"

	"millrace/internal/api/apigateway"
	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

// Keys and plans as a script makes them, page by page.
func TestKeysAndPlansByScript(t *testing.T) {
	saved := 0
	s := newService(t, func(o *apigateway.Options) {
		o.SaveUsage = func(ctx context.Context) error {
			saved++
			return o.Catalog.Update(ctx, func(tx *catalog.Tx) error {
				plans, err := catalog.Keys{}.Plans(tx)
				if err != nil || len(plans) == 0 || len(plans[0].Keys) == 0 {
					return err
				}
				counted := restapi.Usage{"2023-11-14": {plans[0].ID: {plans[0].Keys[0]: 7}}}
				return catalog.Keys{}.PutUsage(tx, "node", counted)
			})
		}
	})
	c, ctx := s.client(t), context.Background()
	api := s.deployed(t, c)
	plan := must(c.CreateUsagePlan(ctx, &sdk.CreateUsagePlanInput{Name: aws.String("p"), ApiStages: []types.ApiStage{{ApiId: &api, Stage: aws.String("prod")}},
		Throttle: &types.ThrottleSettings{RateLimit: 1.5, BurstLimit: 3}, Quota: &types.QuotaSettings{Limit: 100, Period: types.QuotaPeriodTypeMonth}}))
	made := map[string]string{}
	for range 30 {
		k := must(c.CreateApiKey(ctx, &sdk.CreateApiKeyInput{Name: aws.String("k"), Enabled: true}))
		made[aws.ToString(k.Id)] = aws.ToString(k.Value)
		must(c.CreateUsagePlanKey(ctx, &sdk.CreateUsagePlanKeyInput{UsagePlanId: plan.Id, KeyId: k.Id, KeyType: aws.String("API_KEY")}))
	}
	seen := map[string]bool{}
	pages := sdk.NewGetApiKeysPaginator(c, &sdk.GetApiKeysInput{IncludeValues: aws.Bool(true), Limit: aws.Int32(7)})
	for pages.HasMorePages() {
		for _, k := range must(pages.NextPage(ctx)).Items {
			seen[aws.ToString(k.Id)] = true
			if made[aws.ToString(k.Id)] != aws.ToString(k.Value) {
				t.Errorf("%s has the value of another key", aws.ToString(k.Id))
			}
		}
	}
	if len(seen) != 30 {
		t.Errorf("%d keys on all pages", len(seen))
	}
	first := must(c.GetUsagePlanKeys(ctx, &sdk.GetUsagePlanKeysInput{UsagePlanId: plan.Id, Limit: aws.Int32(20)}))
	rest := must(c.GetUsagePlanKeys(ctx, &sdk.GetUsagePlanKeysInput{UsagePlanId: plan.Id, Position: first.Position}))
	if len(first.Items) != 20 || len(rest.Items) != 10 || rest.Position != nil {
		t.Errorf("%d and %d keys of the plan", len(first.Items), len(rest.Items))
	}
	usage := must(c.GetUsage(ctx, &sdk.GetUsageInput{UsagePlanId: plan.Id, StartDate: aws.String("2023-11-14"), EndDate: aws.String("2023-11-15"), Limit: aws.Int32(500)}))
	total := int64(0)
	for _, days := range usage.Items {
		if len(days) != 2 || days[0][1] != 100-days[0][0] || days[1][1] != days[0][1] {
			t.Errorf("%v", days)
		}
		total += days[0][0]
	}
	if saved == 0 || len(usage.Items) != 30 || total != 7 {
		t.Errorf("usage of %d keys, %d requests; saved %d times", len(usage.Items), total, saved)
	}
	imported := must(c.ImportApiKeys(ctx, &sdk.ImportApiKeysInput{Format: types.ApiKeysFormatCsv,
		Body: []byte("name,key,enabled,usageplanIds\nfrom a file,value-of-a-key-from-a-file,true,\"" + aws.ToString(plan.Id) + "\"\n")}))
	if len(imported.Ids) != 1 || len(imported.Warnings) != 0 {
		t.Errorf("%+v", imported)
	}
	got := must(c.GetUsagePlanKey(ctx, &sdk.GetUsagePlanKeyInput{UsagePlanId: plan.Id, KeyId: &imported.Ids[0]}))
	if aws.ToString(got.Name) != "from a file" {
		t.Errorf("%+v", got)
	}
	_, err := c.DeleteUsagePlan(ctx, &sdk.DeleteUsagePlanInput{UsagePlanId: plan.Id})
	wantError(t, err, 400, "BadRequestException", "Cannot delete Usage Plan "+aws.ToString(plan.Id)+" because there are API Stages associated with it, including "+api+":prod")
	// A stage that is deleted leaves its plans, which can then go.
	must(c.DeleteStage(ctx, &sdk.DeleteStageInput{RestApiId: &api, StageName: aws.String("prod")}))
	if got := must(c.GetUsagePlan(ctx, &sdk.GetUsagePlanInput{UsagePlanId: plan.Id})); len(got.ApiStages) != 0 {
		t.Errorf("%+v", got.ApiStages)
	}
	must(c.DeleteUsagePlan(ctx, &sdk.DeleteUsagePlanInput{UsagePlanId: plan.Id}))
}

// A key has one plan of a stage, also when a plan exchanges one stage for another.
func TestAPlanCantTakeAStageThatAKeyHasAlready(t *testing.T) {
	s := newService(t)
	c, ctx := s.client(t), context.Background()
	api := s.deployed(t, c)
	dep := must(c.GetStage(ctx, &sdk.GetStageInput{RestApiId: &api, StageName: aws.String("prod")})).DeploymentId
	must(c.CreateStage(ctx, &sdk.CreateStageInput{RestApiId: &api, StageName: aws.String("test"), DeploymentId: dep}))
	k := must(c.CreateApiKey(ctx, &sdk.CreateApiKeyInput{Name: aws.String("k"), Enabled: true}))
	var second *string
	for _, stage := range []string{"prod", "test"} {
		p := must(c.CreateUsagePlan(ctx, &sdk.CreateUsagePlanInput{Name: aws.String(stage), ApiStages: []types.ApiStage{{ApiId: &api, Stage: aws.String(stage)}}}))
		must(c.CreateUsagePlanKey(ctx, &sdk.CreateUsagePlanKeyInput{UsagePlanId: p.Id, KeyId: k.Id, KeyType: aws.String("API_KEY")}))
		second = p.Id
	}
	_, err := c.UpdateUsagePlan(ctx, &sdk.UpdateUsagePlanInput{UsagePlanId: second, PatchOperations: []types.PatchOperation{
		{Op: types.OpRemove, Path: aws.String("/apiStages"), Value: aws.String(api + ":test")},
		{Op: types.OpAdd, Path: aws.String("/apiStages"), Value: aws.String(api + ":prod")}}})
	wantError(t, err, 409, "ConflictException", "")
}
