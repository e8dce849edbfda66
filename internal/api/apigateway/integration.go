package apigateway

import (
	"context"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/restapi"
)

func (s *Service) putIntegration(ctx context.Context, in *wire.PutIntegrationRequest) (out *wire.Integration, err error) {
	if err := refuse(
		member{"connectionType VPC_LINK", in.ConnectionType == "VPC_LINK"},
		member{"connectionId", awswire.Value(in.ConnectionId) != ""},
		member{"integrationTarget", awswire.Value(in.IntegrationTarget) != ""},
	); err != nil {
		return nil, err
	}
	if in.TimeoutInMillis != nil && *in.TimeoutInMillis == 0 { // 0 would read as not set
		return nil, fault.New(fault.Invalid, "apigateway.PutIntegration", "", "Timeout should be between %d ms and %d ms",
			restapi.MinTimeoutMillis, restapi.DefaultTimeoutMillis)
	}
	err = s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		i, err := api.PutIntegration(in.ResourceId, in.HttpMethod, restapi.Integration{
			Type:                in.Type,
			HTTPMethod:          awswire.Value(in.IntegrationHttpMethod),
			URI:                 awswire.Value(in.Uri),
			Credentials:         awswire.Value(in.Credentials),
			PassthroughBehavior: awswire.Value(in.PassthroughBehavior),
			ContentHandling:     in.ContentHandling,
			TimeoutMillis:       awswire.Value(in.TimeoutInMillis),
			TransferMode:        in.ResponseTransferMode,
			InsecureTLS:         in.TlsConfig != nil && awswire.Value(in.TlsConfig.InsecureSkipVerification),
			CacheNamespace:      awswire.Value(in.CacheNamespace),
			CacheKeyParameters:  in.CacheKeyParameters,
			RequestParameters:   in.RequestParameters,
			RequestTemplates:    in.RequestTemplates,
		})
		if err == nil {
			out = integrationView(i)
		}
		return err
	})
	return out, err
}

func (s *Service) getIntegration(_ context.Context, in *wire.GetIntegrationRequest) (*wire.Integration, error) {
	api, err := s.read(in.RestApiId, errNoSuchResource)
	if err != nil {
		return nil, err
	}
	i, err := api.Integration(in.ResourceId, in.HttpMethod)
	if err != nil {
		return nil, err
	}
	return integrationView(i), nil
}

func (s *Service) updateIntegration(ctx context.Context, in *wire.UpdateIntegrationRequest) (out *wire.Integration, err error) {
	err = s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		id, verb := in.ResourceId, in.HttpMethod
		if err := api.PatchIntegration(id, verb, patches(in.PatchOperations)); err != nil {
			return err
		}
		out = integrationView(api.Resources[id].Methods[verb].Integration)
		return nil
	})
	return out, err
}

func (s *Service) deleteIntegration(ctx context.Context, in *wire.DeleteIntegrationRequest) error {
	return s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		return api.DeleteIntegration(in.ResourceId, in.HttpMethod)
	})
}

// integrationView shows cacheKeyParameters always, and connectionType only for HTTP types, as the service does.
func integrationView(i *restapi.Integration) *wire.Integration {
	v := &wire.Integration{
		Type:                i.Type,
		HttpMethod:          text(i.HTTPMethod),
		Uri:                 text(i.URI),
		Credentials:         text(i.Credentials),
		RequestParameters:   someOf(i.RequestParameters),
		RequestTemplates:    someOf(i.RequestTemplates),
		PassthroughBehavior: text(i.PassthroughBehavior),
		ContentHandling:     i.ContentHandling,
		TimeoutInMillis:     &i.TimeoutMillis,
		CacheNamespace:      text(i.CacheNamespace),
		CacheKeyParameters:  i.CacheKeyParameters,

		ResponseTransferMode: i.TransferMode,
	}
	if v.CacheKeyParameters == nil {
		v.CacheKeyParameters = []string{}
	}
	if i.IsHTTP() {
		v.ConnectionType = restapi.Internet
	}
	if i.InsecureTLS {
		v.TlsConfig = &wire.TlsConfig{InsecureSkipVerification: &i.InsecureTLS}
	}
	if len(i.Responses) > 0 {
		v.IntegrationResponses = make(map[string]wire.IntegrationResponse, len(i.Responses))
	}
	for code, r := range i.Responses {
		v.IntegrationResponses[code] = *integrationResponseView(r)
	}
	return v
}

func (s *Service) putIntegrationResponse(ctx context.Context, in *wire.PutIntegrationResponseRequest) (out *wire.IntegrationResponse, err error) {
	err = s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		r, err := api.PutIntegrationResponse(in.ResourceId, in.HttpMethod, restapi.IntegrationResponse{
			StatusCode:         in.StatusCode,
			SelectionPattern:   awswire.Value(in.SelectionPattern),
			ResponseParameters: in.ResponseParameters,
			ResponseTemplates:  in.ResponseTemplates,
			ContentHandling:    in.ContentHandling,
		})
		if err == nil {
			out = integrationResponseView(r)
		}
		return err
	})
	return out, err
}

func (s *Service) getIntegrationResponse(_ context.Context, in *wire.GetIntegrationResponseRequest) (*wire.IntegrationResponse, error) {
	api, err := s.read(in.RestApiId, errNoSuchResource)
	if err != nil {
		return nil, err
	}
	r, err := api.IntegrationResponse(in.ResourceId, in.HttpMethod, in.StatusCode)
	if err != nil {
		return nil, err
	}
	return integrationResponseView(r), nil
}

func (s *Service) updateIntegrationResponse(ctx context.Context, in *wire.UpdateIntegrationResponseRequest) (out *wire.IntegrationResponse, err error) {
	err = s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		r, err := api.PatchIntegrationResponse(in.ResourceId, in.HttpMethod, in.StatusCode, patches(in.PatchOperations))
		if err == nil {
			out = integrationResponseView(r)
		}
		return err
	})
	return out, err
}

func (s *Service) deleteIntegrationResponse(ctx context.Context, in *wire.DeleteIntegrationResponseRequest) error {
	return s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		return api.DeleteIntegrationResponse(in.ResourceId, in.HttpMethod, in.StatusCode)
	})
}

func integrationResponseView(r *restapi.IntegrationResponse) *wire.IntegrationResponse {
	return &wire.IntegrationResponse{
		StatusCode:         r.StatusCode,
		SelectionPattern:   text(r.SelectionPattern),
		ResponseParameters: r.ResponseParameters,
		ResponseTemplates:  r.ResponseTemplates,
		ContentHandling:    r.ContentHandling,
	}
}
