package apigateway

import (
	"context"
	"slices"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/restapi"
)

func (s *Service) createResource(ctx context.Context, in *wire.CreateResourceRequest) (out *wire.Resource, err error) {
	err = s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		r, err := api.AddResource(in.ParentId, in.PathPart, s.IDs)
		if err == nil {
			out = resourceView(r, false)
		}
		return err
	})
	return out, err
}

func (s *Service) getResource(_ context.Context, in *wire.GetResourceRequest) (*wire.Resource, error) {
	api, err := s.read(in.RestApiId, errNoSuchResource)
	if err != nil {
		return nil, err
	}
	r, err := api.Resource(in.ResourceId)
	if err != nil {
		return nil, err
	}
	return resourceView(r, slices.Contains(in.Embed, "methods")), nil
}

func (s *Service) getResources(_ context.Context, in *wire.GetResourcesRequest) (*wire.Resources, error) {
	id := in.RestApiId
	api, err := s.read(id, s.noAPI(id))
	if err != nil {
		return nil, err
	}
	items, next, err := page(api.Sorted(), func(r *restapi.Resource) string { return r.Path }, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.Resources{Position: next, Items: []wire.Resource{}}
	for _, r := range items {
		out.Items = append(out.Items, *resourceView(r, slices.Contains(in.Embed, "methods")))
	}
	return out, nil
}

func (s *Service) updateResource(ctx context.Context, in *wire.UpdateResourceRequest) (out *wire.Resource, err error) {
	err = s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		id := in.ResourceId
		if err := api.PatchResource(id, patches(in.PatchOperations)); err != nil {
			return err
		}
		out = resourceView(api.Resources[id], false)
		return nil
	})
	return out, err
}

func (s *Service) deleteResource(ctx context.Context, in *wire.DeleteResourceRequest) error {
	return s.edit(ctx, in.RestApiId, errNoSuchResource, func(api *restapi.API) error {
		return api.DeleteResource(in.ResourceId)
	})
}

// resourceView shows each method as {} unless methods are embedded.
func resourceView(r *restapi.Resource, embed bool) *wire.Resource {
	v := &wire.Resource{Id: &r.ID, ParentId: text(r.ParentID), PathPart: text(r.PathPart), Path: &r.Path}
	if len(r.Methods) > 0 {
		v.ResourceMethods = make(map[string]wire.Method, len(r.Methods))
	}
	for verb, m := range r.Methods {
		v.ResourceMethods[verb] = wire.Method{}
		if embed {
			v.ResourceMethods[verb] = *methodView(m)
		}
	}
	return v
}
