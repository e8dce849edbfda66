package apigateway

import (
	"cmp"
	"context"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

func (s *Service) createStage(ctx context.Context, in *wire.CreateStageRequest) (out *wire.Stage, err error) {
	if err := refuse(
		member{"cacheClusterEnabled", awswire.Value(in.CacheClusterEnabled)},
		member{"cacheClusterSize", in.CacheClusterSize != ""},
		member{"documentationVersion", awswire.Value(in.DocumentationVersion) != ""},
	); err != nil {
		return nil, err
	}
	id := in.RestApiId
	err = s.edit(ctx, id, s.noAPI(id), func(api *restapi.API) error {
		stage, err := api.CreateStage(restapi.NewStage{
			Name:           in.StageName,
			DeploymentID:   in.DeploymentId,
			Description:    awswire.Value(in.Description),
			Variables:      in.Variables,
			TracingEnabled: awswire.Value(in.TracingEnabled),
			Tags:           in.Tags,
			Canary:         stageCanary(in.CanarySettings),
		}, s.Now())
		if err == nil {
			out = stageView(stage)
		}
		return err
	})
	return out, err
}

func stageCanary(in *wire.CanarySettings) *restapi.NewCanary {
	if in == nil {
		return nil
	}
	return &restapi.NewCanary{
		DeploymentID: awswire.Value(in.DeploymentId), Percent: awswire.Value(in.PercentTraffic),
		Overrides: in.StageVariableOverrides, UseCache: awswire.Value(in.UseStageCache),
	}
}

// stageOf reads a stage.
func (s *Service) stageOf(apiID, name string) (*restapi.Stage, error) {
	api, err := s.read(apiID, s.noAPI(apiID))
	if err != nil {
		return nil, err
	}
	return api.Stage(name)
}

func (s *Service) getStage(_ context.Context, in *wire.GetStageRequest) (*wire.Stage, error) {
	stage, err := s.stageOf(in.RestApiId, in.StageName)
	if err != nil {
		return nil, err
	}
	return stageView(stage), nil
}

// getStages lists all stages at once: the call has no pages.
func (s *Service) getStages(_ context.Context, in *wire.GetStagesRequest) (*wire.Stages, error) {
	id := in.RestApiId
	api, err := s.read(id, s.noAPI(id))
	if err != nil {
		return nil, err
	}
	out := &wire.Stages{Item: []wire.Stage{}}
	for _, stage := range sorted(api.Stages) {
		if in.DeploymentId == nil || *in.DeploymentId == stage.DeploymentID {
			out.Item = append(out.Item, *stageView(stage))
		}
	}
	return out, nil
}

func (s *Service) updateStage(ctx context.Context, in *wire.UpdateStageRequest) (out *wire.Stage, err error) {
	id := in.RestApiId
	err = s.edit(ctx, id, s.noAPI(id), func(api *restapi.API) error {
		stage, err := api.PatchStage(in.StageName, patches(in.PatchOperations), s.Now())
		if err == nil {
			out = stageView(stage)
		}
		return err
	})
	return out, err
}

func (s *Service) deleteStage(ctx context.Context, in *wire.DeleteStageRequest) error {
	id := in.RestApiId
	return s.editIn(ctx, id, s.noAPI(id), func(tx *catalog.Tx, api *restapi.API) error {
		if err := domains.Unmapped(tx, id, in.StageName); err != nil {
			return err
		}
		if err := api.DeleteStage(in.StageName); err != nil {
			return err
		}
		return keys.LeavePlans(tx, id, in.StageName)
	})
}

// flushStageCache has nothing to flush: there is no response cache.
func (s *Service) flushStageCache(_ context.Context, in *wire.FlushStageCacheRequest) error {
	_, err := s.stageOf(in.RestApiId, in.StageName)
	return err
}

func (s *Service) flushStageAuthorizersCache(_ context.Context, in *wire.FlushStageAuthorizersCacheRequest) error {
	_, err := s.stageOf(in.RestApiId, in.StageName)
	if err == nil && s.Authorizers != nil {
		s.Authorizers.Flush(in.RestApiId, in.StageName)
	}
	return err
}

func stageView(stage *restapi.Stage) *wire.Stage {
	off := false
	v := &wire.Stage{
		DeploymentId:        &stage.DeploymentID,
		StageName:           &stage.Name,
		Description:         text(stage.Description),
		CacheClusterEnabled: &off,
		CacheClusterStatus:  "NOT_AVAILABLE",
		MethodSettings:      make(map[string]wire.MethodSetting, len(stage.MethodSettings)),
		Variables:           someOf(stage.Variables),
		TracingEnabled:      &stage.TracingEnabled,
		Tags:                someOf(stage.Tags),
		CreatedDate:         stage.Created,
		LastUpdatedDate:     stage.Updated,
	}
	if l := stage.AccessLog; l != nil {
		v.AccessLogSettings = &wire.AccessLogSettings{DestinationArn: text(l.DestinationARN), Format: text(l.Format)}
	}
	if c := stage.Canary; c != nil {
		v.CanarySettings = &wire.CanarySettings{
			DeploymentId: &c.DeploymentID, PercentTraffic: &c.Percent, StageVariableOverrides: someOf(c.Overrides), UseStageCache: &c.UseCache,
		}
	}
	for key, m := range stage.MethodSettings {
		v.MethodSettings[key] = settingView(m)
	}
	return v
}

// settingView shows all members of a method's settings, as the service does from the first touch of a key on. What has
// not been set shows its default.
func settingView(m *restapi.MethodSetting) wire.MethodSetting {
	var (
		burst   = restapi.DefaultThrottlingBurst
		rate    = restapi.DefaultThrottlingRate
		ttl     = restapi.DefaultCacheTTLSeconds
		cached  = !m.Cache.Disabled
		control = !m.Cache.OpenControl
	)
	if m.Cache.TTLSeconds != nil {
		ttl = *m.Cache.TTLSeconds
	}
	if m.Throttle != nil {
		burst, rate = m.Throttle.Burst, m.Throttle.Rate
	}
	return wire.MethodSetting{
		MetricsEnabled:                         &m.MetricsEnabled,
		LoggingLevel:                           text(m.LoggingLevel),
		DataTraceEnabled:                       &m.DataTraceEnabled,
		ThrottlingBurstLimit:                   &burst,
		ThrottlingRateLimit:                    &rate,
		CachingEnabled:                         &cached,
		CacheTtlInSeconds:                      &ttl,
		CacheDataEncrypted:                     &m.Cache.Encrypted,
		RequireAuthorizationForCacheControl:    &control,
		UnauthorizedCacheControlHeaderStrategy: cmp.Or(m.Cache.UnauthorizedStrategy, restapi.DefaultCacheControlDenied),
	}
}
