package apigateway

import (
	"context"
	"strings"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/restapi"
)

func (s *Service) createRestAPI(ctx context.Context, in *wire.CreateRestApiRequest) (*wire.RestApi, error) {
	if in.Description != nil && *in.Description == "" {
		return nil, fault.New(fault.Invalid, "apigateway.CreateRestApi", "", "Description cannot be an empty string")
	}
	if err := refuse(
		member{"securityPolicy", in.SecurityPolicy != ""},
		member{"endpointAccessMode", in.EndpointAccessMode != ""},
	); err != nil {
		return nil, err
	}
	spec := restapi.NewAPI{
		Name:                      in.Name,
		Description:               awswire.Value(in.Description),
		Version:                   awswire.Value(in.Version),
		DisableExecuteAPIEndpoint: awswire.Value(in.DisableExecuteApiEndpoint),
		BinaryMediaTypes:          in.BinaryMediaTypes,
		APIKeySource:              in.ApiKeySource,
		Policy:                    awswire.Value(in.Policy),
		Tags:                      in.Tags,
		MinimumCompressionSize:    in.MinimumCompressionSize,
	}
	if e := in.EndpointConfiguration; e != nil {
		if err := refuse(member{"vpcEndpointIds", len(e.VpcEndpointIds) > 0}); err != nil {
			return nil, err
		}
		spec.EndpointTypes, spec.IPAddressType = e.Types, e.IpAddressType
	}
	from := awswire.Value(in.CloneFrom)
	spec.NoModels = from != "" // it has those of the other one
	api, err := s.insert(ctx, spec, func(tx *catalog.Tx, api *restapi.API) error {
		if from == "" {
			return nil
		}
		other, ok, err := apis.Get(tx, from)
		if err != nil {
			return err
		}
		if !ok {
			return s.noAPI(from)
		}
		api.CopyFrom(other, s.IDs)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return restAPIView(api, tagsIfAny), nil
}

// insert makes an API, lets fill complete it, and stores it under an id that is free.
func (s *Service) insert(ctx context.Context, spec restapi.NewAPI, fill func(*catalog.Tx, *restapi.API) error) (api *restapi.API, err error) {
	err = s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		for taken := true; taken; {
			if api, err = restapi.New(spec, s.IDs, s.Now()); err != nil {
				return err
			}
			if _, taken, err = apis.Get(tx, api.ID); err != nil {
				return err
			}
		}
		if err := fill(tx, api); err != nil {
			return err
		}
		return apis.Put(tx, api)
	})
	return api, err
}

func (s *Service) getRestAPI(_ context.Context, in *wire.GetRestApiRequest) (*wire.RestApi, error) {
	api, err := s.read(in.RestApiId, s.noAPI(in.RestApiId))
	if err != nil {
		return nil, err
	}
	return restAPIView(api, tagsAlways), nil
}

func (s *Service) getRestAPIs(_ context.Context, in *wire.GetRestApisRequest) (*wire.RestApis, error) {
	all, err := apis.All(s.Catalog.Snapshot())
	if err != nil {
		return nil, err
	}
	items, next, err := page(all, func(a *restapi.API) string { return a.ID }, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.RestApis{Position: next, Items: []wire.RestApi{}}
	for _, api := range items {
		out.Items = append(out.Items, *restAPIView(api, tagsIfAny))
	}
	return out, nil
}

func (s *Service) updateRestAPI(ctx context.Context, in *wire.UpdateRestApiRequest) (out *wire.RestApi, err error) {
	id := in.RestApiId
	err = s.edit(ctx, id, s.noAPI(id), func(api *restapi.API) error {
		if err := api.Patch(patches(in.PatchOperations)); err != nil {
			return err
		}
		out = restAPIView(api, tagsAlways)
		return nil
	})
	return out, err
}

func (s *Service) deleteRestAPI(ctx context.Context, in *wire.DeleteRestApiRequest) error {
	id := in.RestApiId
	return s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		_, ok, err := apis.Get(tx, id)
		if err != nil {
			return err
		}
		if !ok {
			return s.noAPI(id)
		}
		if err := domains.Unmapped(tx, id, ""); err != nil {
			return err
		}
		apis.Delete(tx, id)
		return keys.LeavePlans(tx, id, "")
	})
}

// tagRule says when an answer holds tags: a created or listed API only when it has some, a read or updated one
// always, be they {}.
type tagRule bool

const (
	tagsIfAny  tagRule = false
	tagsAlways tagRule = true
)

// policyText escapes a policy once more than JSON does, as the service does, and clients expect.
var policyText = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

func restAPIView(api *restapi.API, rule tagRule) *wire.RestApi {
	v := &wire.RestApi{
		Id:                        &api.ID,
		Name:                      &api.Name,
		Description:               text(api.Description),
		CreatedDate:               api.Created,
		Version:                   text(api.Version),
		BinaryMediaTypes:          api.BinaryMediaTypes,
		ApiKeySource:              api.APIKeySource,
		EndpointConfiguration:     &wire.EndpointConfiguration{Types: api.EndpointTypes, IpAddressType: api.IPAddressType},
		Tags:                      api.Tags,
		DisableExecuteApiEndpoint: &api.DisableExecuteAPIEndpoint,
		RootResourceId:            &api.RootResourceID,
		MinimumCompressionSize:    api.MinimumCompressionSize,
		Policy:                    text(policyText.Replace(api.Policy)),
	}
	if rule == tagsAlways && v.Tags == nil {
		v.Tags = map[string]string{}
	}
	return v
}
