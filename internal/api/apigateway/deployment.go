package apigateway

import (
	"context"
	"slices"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/restapi"
)

func (s *Service) createDeployment(ctx context.Context, in *wire.CreateDeploymentRequest) (out *wire.Deployment, err error) {
	if err := refuse(
		member{"cacheClusterEnabled", awswire.Value(in.CacheClusterEnabled)},
		member{"cacheClusterSize", in.CacheClusterSize != ""},
	); err != nil {
		return nil, err
	}
	id := in.RestApiId
	err = s.edit(ctx, id, s.noAPI(id), func(api *restapi.API) error {
		d, err := api.CreateDeployment(restapi.NewDeployment{
			Description:      awswire.Value(in.Description),
			StageName:        awswire.Value(in.StageName),
			HasStageName:     in.StageName != nil,
			StageDescription: awswire.Value(in.StageDescription),
			Variables:        in.Variables,
			TracingEnabled:   in.TracingEnabled,
			Canary:           deploymentCanary(in.CanarySettings),
			Gate:             s.Gate,
		}, s.IDs, s.Now())
		if err == nil {
			out = deploymentView(d)
		}
		return err
	})
	return out, err
}

func deploymentCanary(in *wire.DeploymentCanarySettings) *restapi.NewCanary {
	if in == nil {
		return nil
	}
	return &restapi.NewCanary{
		Percent: awswire.Value(in.PercentTraffic), Overrides: in.StageVariableOverrides, UseCache: awswire.Value(in.UseStageCache),
	}
}

func (s *Service) getDeployment(_ context.Context, in *wire.GetDeploymentRequest) (*wire.Deployment, error) {
	id := in.RestApiId
	api, err := s.read(id, s.noAPI(id))
	if err != nil {
		return nil, err
	}
	d, err := api.Deployment(in.DeploymentId)
	if err != nil {
		return nil, err
	}
	v := deploymentView(d)
	if slices.Contains(in.Embed, "apisummary") {
		if d, err = apis.Deployment(s.Catalog.Snapshot(), api, d.ID); err != nil {
			return nil, err
		}
		v.ApiSummary = summary(&d.Definition)
	}
	return v, nil
}

func (s *Service) getDeployments(_ context.Context, in *wire.GetDeploymentsRequest) (*wire.Deployments, error) {
	id := in.RestApiId
	api, err := s.read(id, s.noAPI(id))
	if err != nil {
		return nil, err
	}
	items, next, err := page(sorted(api.Deployments), func(d *restapi.Deployment) string { return d.ID }, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.Deployments{Position: next, Items: []wire.Deployment{}}
	for _, d := range items {
		out.Items = append(out.Items, *deploymentView(d))
	}
	return out, nil
}

func (s *Service) updateDeployment(ctx context.Context, in *wire.UpdateDeploymentRequest) (out *wire.Deployment, err error) {
	id := in.RestApiId
	err = s.edit(ctx, id, s.noAPI(id), func(api *restapi.API) error {
		if err := api.PatchDeployment(in.DeploymentId, patches(in.PatchOperations)); err != nil {
			return err
		}
		out = deploymentView(api.Deployments[in.DeploymentId])
		return nil
	})
	return out, err
}

func (s *Service) deleteDeployment(ctx context.Context, in *wire.DeleteDeploymentRequest) error {
	id := in.RestApiId
	return s.edit(ctx, id, s.noAPI(id), func(api *restapi.API) error {
		return api.DeleteDeployment(in.DeploymentId)
	})
}

func deploymentView(d *restapi.Deployment) *wire.Deployment {
	return &wire.Deployment{Id: &d.ID, Description: text(d.Description), CreatedDate: d.Created}
}

// summary lists the methods of a deployment by path.
func summary(d *restapi.Definition) map[string]map[string]wire.MethodSnapshot {
	all := map[string]map[string]wire.MethodSnapshot{}
	for _, r := range d.Sorted() {
		for verb, m := range r.Methods {
			if all[r.Path] == nil {
				all[r.Path] = map[string]wire.MethodSnapshot{}
			}
			all[r.Path][verb] = wire.MethodSnapshot{AuthorizationType: &m.AuthorizationType, ApiKeyRequired: &m.APIKeyRequired}
		}
	}
	return all
}
