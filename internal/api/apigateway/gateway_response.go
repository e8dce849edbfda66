package apigateway

import (
	"context"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/restapi"
)

func (s *Service) putGatewayResponse(ctx context.Context, in *wire.PutGatewayResponseRequest) (out *wire.GatewayResponse, err error) {
	id := in.RestApiId
	err = s.edit(ctx, id, s.noAPI(id), func(api *restapi.API) error {
		r, err := api.PutGatewayResponse(restapi.GatewayResponse{
			Type: in.ResponseType, StatusCode: in.StatusCode, Parameters: in.ResponseParameters, Templates: in.ResponseTemplates,
		})
		out = gatewayResponseView(r)
		return err
	})
	return out, err
}

func (s *Service) getGatewayResponse(_ context.Context, in *wire.GetGatewayResponseRequest) (*wire.GatewayResponse, error) {
	api, err := s.read(in.RestApiId, s.noAPI(in.RestApiId))
	if err != nil {
		return nil, err
	}
	r, err := api.GatewayResponse(in.ResponseType)
	if err != nil {
		return nil, err
	}
	return gatewayResponseView(r), nil
}

// getGatewayResponses lists all types, set or not.
func (s *Service) getGatewayResponses(_ context.Context, in *wire.GetGatewayResponsesRequest) (*wire.GatewayResponses, error) {
	api, err := s.read(in.RestApiId, s.noAPI(in.RestApiId))
	if err != nil {
		return nil, err
	}
	items, next, err := page(api.AllGatewayResponses(), func(r restapi.ShownResponse) string { return r.Type }, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.GatewayResponses{Position: next, Items: []wire.GatewayResponse{}}
	for _, r := range items {
		out.Items = append(out.Items, *gatewayResponseView(r))
	}
	return out, nil
}

func (s *Service) updateGatewayResponse(ctx context.Context, in *wire.UpdateGatewayResponseRequest) (out *wire.GatewayResponse, err error) {
	id := in.RestApiId
	err = s.edit(ctx, id, s.noAPI(id), func(api *restapi.API) error {
		r, err := api.PatchGatewayResponse(in.ResponseType, patches(in.PatchOperations))
		out = gatewayResponseView(r)
		return err
	})
	return out, err
}

func (s *Service) deleteGatewayResponse(ctx context.Context, in *wire.DeleteGatewayResponseRequest) error {
	id := in.RestApiId
	return s.edit(ctx, id, s.noAPI(id), func(api *restapi.API) error { return api.DeleteGatewayResponse(in.ResponseType) })
}

func gatewayResponseView(r restapi.ShownResponse) *wire.GatewayResponse {
	return &wire.GatewayResponse{
		ResponseType: r.Type, StatusCode: r.StatusCode, DefaultResponse: &r.Default,
		ResponseParameters: r.Parameters, ResponseTemplates: r.Templates,
	}
}
