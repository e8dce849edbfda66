package apigateway

import (
	"context"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/restapi"
)

func (s *Service) putMethod(ctx context.Context, in *wire.PutMethodRequest) (out *wire.Method, err error) {
	if err := refuse(
		member{"authorizationScopes", len(in.AuthorizationScopes) > 0},
	); err != nil {
		return nil, err
	}
	err = s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		m, err := api.PutMethod(in.ResourceId, restapi.Method{
			HTTPMethod:        in.HttpMethod,
			AuthorizationType: in.AuthorizationType,
			AuthorizerID:      awswire.Value(in.AuthorizerId),
			APIKeyRequired:    awswire.Value(in.ApiKeyRequired),
			ValidatorID:       awswire.Value(in.RequestValidatorId),
			OperationName:     awswire.Value(in.OperationName),
			RequestParameters: in.RequestParameters,
			RequestModels:     in.RequestModels,
		})
		if err == nil {
			out = methodView(m)
		}
		return err
	})
	return out, err
}

func (s *Service) getMethod(_ context.Context, in *wire.GetMethodRequest) (*wire.Method, error) {
	api, err := s.read(in.RestApiId, errNoSuchResource)
	if err != nil {
		return nil, err
	}
	m, err := api.Method(in.ResourceId, in.HttpMethod)
	if err != nil {
		return nil, err
	}
	return methodView(m), nil
}

func (s *Service) updateMethod(ctx context.Context, in *wire.UpdateMethodRequest) (out *wire.Method, err error) {
	err = s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		id, verb := in.ResourceId, in.HttpMethod
		if err := api.PatchMethod(id, verb, patches(in.PatchOperations)); err != nil {
			return err
		}
		out = methodView(api.Resources[id].Methods[verb])
		return nil
	})
	return out, err
}

func (s *Service) deleteMethod(ctx context.Context, in *wire.DeleteMethodRequest) error {
	return s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		return api.DeleteMethod(in.ResourceId, in.HttpMethod)
	})
}

func methodView(m *restapi.Method) *wire.Method {
	v := &wire.Method{
		HttpMethod:         &m.HTTPMethod,
		AuthorizationType:  &m.AuthorizationType,
		AuthorizerId:       text(m.AuthorizerID),
		ApiKeyRequired:     &m.APIKeyRequired,
		RequestValidatorId: text(m.ValidatorID),
		OperationName:      text(m.OperationName),
		RequestParameters:  someOf(m.RequestParameters),
		RequestModels:      someOf(m.RequestModels),
	}
	if m.Integration != nil {
		v.MethodIntegration = integrationView(m.Integration)
	}
	if len(m.Responses) > 0 {
		v.MethodResponses = make(map[string]wire.MethodResponse, len(m.Responses))
	}
	for code, r := range m.Responses {
		v.MethodResponses[code] = *methodResponseView(r)
	}
	return v
}

func (s *Service) putMethodResponse(ctx context.Context, in *wire.PutMethodResponseRequest) (out *wire.MethodResponse, err error) {
	err = s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		r, err := api.PutMethodResponse(in.ResourceId, in.HttpMethod, restapi.MethodResponse{
			StatusCode:         in.StatusCode,
			ResponseParameters: in.ResponseParameters,
			ResponseModels:     in.ResponseModels,
		})
		if err == nil {
			out = methodResponseView(r)
		}
		return err
	})
	return out, err
}

func (s *Service) getMethodResponse(_ context.Context, in *wire.GetMethodResponseRequest) (*wire.MethodResponse, error) {
	api, err := s.read(in.RestApiId, errNoSuchResource)
	if err != nil {
		return nil, err
	}
	r, err := api.MethodResponse(in.ResourceId, in.HttpMethod, in.StatusCode)
	if err != nil {
		return nil, err
	}
	return methodResponseView(r), nil
}

func (s *Service) updateMethodResponse(ctx context.Context, in *wire.UpdateMethodResponseRequest) (out *wire.MethodResponse, err error) {
	err = s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		id, verb, code := in.ResourceId, in.HttpMethod, in.StatusCode
		if err := api.PatchMethodResponse(id, verb, code, patches(in.PatchOperations)); err != nil {
			return err
		}
		out = methodResponseView(api.Resources[id].Methods[verb].Responses[code])
		return nil
	})
	return out, err
}

func (s *Service) deleteMethodResponse(ctx context.Context, in *wire.DeleteMethodResponseRequest) error {
	return s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		return api.DeleteMethodResponse(in.ResourceId, in.HttpMethod, in.StatusCode)
	})
}

// methodResponseView shows maps as they were put: empty ones too.
func methodResponseView(r *restapi.MethodResponse) *wire.MethodResponse {
	return &wire.MethodResponse{StatusCode: r.StatusCode, ResponseParameters: r.ResponseParameters, ResponseModels: r.ResponseModels}
}
