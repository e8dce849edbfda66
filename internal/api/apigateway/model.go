package apigateway

import (
	"context"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/restapi"
)

func (s *Service) createModel(ctx context.Context, in *wire.CreateModelRequest) (out *wire.Model, err error) {
	id := in.RestApiId
	err = s.edit(ctx, id, s.noAPI(id), func(api *restapi.API) error {
		m, err := api.AddModel(restapi.Model{
			Name:        in.Name,
			Description: awswire.Value(in.Description),
			Schema:      awswire.Value(in.Schema),
			ContentType: in.ContentType,
		}, s.IDs)
		if err == nil {
			out = modelView(m)
		}
		return err
	})
	return out, err
}

// noModel is the answer to a get or delete of a model, also when it is the API that is unknown.
func noModel(name string) error {
	return fault.New(fault.NotFound, "apigateway", name, "Invalid model name specified: %s", name)
}

func (s *Service) getModel(_ context.Context, in *wire.GetModelRequest) (*wire.Model, error) {
	name := in.ModelName
	api, err := s.read(in.RestApiId, noModel(name))
	if err != nil {
		return nil, err
	}
	get := api.Model
	if awswire.Value(in.Flatten) {
		get = api.FlatModel
	}
	m, err := get(name)
	if err != nil {
		return nil, err
	}
	return modelView(m), nil
}

func (s *Service) getModelTemplate(_ context.Context, in *wire.GetModelTemplateRequest) (*wire.Template, error) {
	name := in.ModelName
	api, err := s.read(in.RestApiId, noModel(name))
	if err != nil {
		return nil, err
	}
	template, err := api.ModelTemplate(name)
	if err != nil {
		return nil, err
	}
	return &wire.Template{Value: &template}, nil
}

func (s *Service) getModels(_ context.Context, in *wire.GetModelsRequest) (*wire.Models, error) {
	id := in.RestApiId
	api, err := s.read(id, s.noAPI(id))
	if err != nil {
		return nil, err
	}
	items, next, err := page(sorted(api.Models), func(m *restapi.Model) string { return m.Name }, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.Models{Position: next, Items: []wire.Model{}}
	for _, m := range items {
		out.Items = append(out.Items, *modelView(m))
	}
	return out, nil
}

func (s *Service) updateModel(ctx context.Context, in *wire.UpdateModelRequest) (out *wire.Model, err error) {
	name := in.ModelName
	err = s.edit(ctx, in.RestApiId, noModel(name), func(api *restapi.API) error {
		if err := api.PatchModel(name, patches(in.PatchOperations)); err != nil {
			return err
		}
		out = modelView(api.Models[name])
		return nil
	})
	return out, err
}

func (s *Service) deleteModel(ctx context.Context, in *wire.DeleteModelRequest) error {
	name := in.ModelName
	return s.edit(ctx, in.RestApiId, noModel(name), func(api *restapi.API) error {
		return api.DeleteModel(name)
	})
}

func modelView(m *restapi.Model) *wire.Model {
	return &wire.Model{Id: &m.ID, Name: &m.Name, Description: text(m.Description), Schema: text(m.Schema), ContentType: text(m.ContentType)}
}
