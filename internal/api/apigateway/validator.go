package apigateway

import (
	"context"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/restapi"
)

// errNoValidator is the answer to calls on a request validator, also when it is the API that is unknown.
var errNoValidator = fault.New(fault.NotFound, "apigateway", "", "Invalid Request Validator identifier specified")

// errNoAPIForValidator is how the service words it when a validator is to be made.
var errNoAPIForValidator = fault.New(fault.Invalid, "apigateway", "", "Invalid REST API identifier specified")

func (s *Service) createRequestValidator(ctx context.Context, in *wire.CreateRequestValidatorRequest) (out *wire.RequestValidator, err error) {
	if in.Name != nil && *in.Name == "" {
		return nil, fault.New(fault.Invalid, "apigateway", "", "Request Validator name cannot be blank")
	}
	err = s.edit(ctx, in.RestApiId, errNoAPIForValidator, func(api *restapi.API) error {
		v, err := api.AddValidator(restapi.NewValidator{
			Name: awswire.Value(in.Name), Body: awswire.Value(in.ValidateRequestBody), Parameters: awswire.Value(in.ValidateRequestParameters),
		}, s.IDs)
		if err == nil {
			out = validatorView(v)
		}
		return err
	})
	return out, err
}

func (s *Service) getRequestValidator(_ context.Context, in *wire.GetRequestValidatorRequest) (*wire.RequestValidator, error) {
	api, err := s.read(in.RestApiId, errNoValidator)
	if err != nil {
		return nil, err
	}
	v, err := api.Validator(in.RequestValidatorId)
	if err != nil {
		return nil, err
	}
	return validatorView(v), nil
}

func (s *Service) getRequestValidators(_ context.Context, in *wire.GetRequestValidatorsRequest) (*wire.RequestValidators, error) {
	id := in.RestApiId
	api, err := s.read(id, s.noAPI(id))
	if err != nil {
		return nil, err
	}
	items, next, err := page(sorted(api.Validators), func(v *restapi.Validator) string { return v.ID }, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.RequestValidators{Position: next, Items: []wire.RequestValidator{}}
	for _, v := range items {
		out.Items = append(out.Items, *validatorView(v))
	}
	return out, nil
}

func (s *Service) updateRequestValidator(ctx context.Context, in *wire.UpdateRequestValidatorRequest) (out *wire.RequestValidator, err error) {
	id := in.RequestValidatorId
	err = s.edit(ctx, in.RestApiId, errNoValidator, func(api *restapi.API) error {
		if err := api.PatchValidator(id, patches(in.PatchOperations)); err != nil {
			return err
		}
		out = validatorView(api.Validators[id])
		return nil
	})
	return out, err
}

func (s *Service) deleteRequestValidator(ctx context.Context, in *wire.DeleteRequestValidatorRequest) error {
	return s.edit(ctx, in.RestApiId, errNoValidator, func(api *restapi.API) error {
		return api.DeleteValidator(in.RequestValidatorId)
	})
}

func validatorView(v *restapi.Validator) *wire.RequestValidator {
	return &wire.RequestValidator{Id: &v.ID, Name: text(v.Name), ValidateRequestBody: &v.Body, ValidateRequestParameters: &v.Parameters}
}
