package apigateway

import (
	"context"
	"maps"
	"net/textproto"
	"slices"
	"time"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/restapi"
)

// Authorizers is what the gateway has of authorizers.
type Authorizers interface {
	// Try calls an authorizer of an API's working copy. Errors: Unsupported, when the node can't call it.
	Try(ctx context.Context, api *restapi.API, id string, test AuthorizerTest) (*AuthorizerResult, error)
	// Flush forgets what authorizers have said for a stage.
	Flush(api, stage string)
}

// AuthorizerTest is a request that an authorizer is tried with.
type AuthorizerTest struct {
	Header         []Field
	Path           string // with its query
	StageVariables map[string]string
}

// Field is one header line.
type Field struct{ Name, Value string }

// AuthorizerResult is what became of a test.
type AuthorizerResult struct {
	Status            int
	Log               string
	Principal, Policy string
	Latency           time.Duration
}

// errNoSuchAuthorizer is the 404 of an unknown authorizer, also when it is the API that is unknown.
var errNoSuchAuthorizer = fault.New(fault.NotFound, "apigateway", "", "Invalid Authorizer identifier specified")

// errAuthorizerOfNoAPI is what the service says of an authorizer for an API that there is not.
var errAuthorizerOfNoAPI = fault.New(fault.InUse, "apigateway", "", "Unable to complete operation due to concurrent modification. Please try again later.")

func (s *Service) createAuthorizer(ctx context.Context, in *wire.CreateAuthorizerRequest) (out *wire.Authorizer, err error) {
	if err := refuse(member{"providerARNs", len(in.ProviderARNs) > 0}); err != nil {
		return nil, err
	}
	err = s.edit(ctx, in.RestApiId, errAuthorizerOfNoAPI, func(api *restapi.API) error {
		z, err := api.AddAuthorizer(restapi.Authorizer{
			Name:               in.Name,
			Type:               in.Type,
			AuthType:           awswire.Value(in.AuthType),
			URI:                awswire.Value(in.AuthorizerUri),
			Credentials:        awswire.Value(in.AuthorizerCredentials),
			IdentitySource:     awswire.Value(in.IdentitySource),
			IdentityValidation: awswire.Value(in.IdentityValidationExpression),
			TTLSeconds:         in.AuthorizerResultTtlInSeconds,
		}, s.IDs)
		if err == nil {
			out = authorizerView(z)
		}
		return err
	})
	return out, err
}

func (s *Service) getAuthorizer(_ context.Context, in *wire.GetAuthorizerRequest) (*wire.Authorizer, error) {
	api, err := s.read(in.RestApiId, errNoSuchAuthorizer)
	if err != nil {
		return nil, err
	}
	z, err := api.Authorizer(in.AuthorizerId)
	if err != nil {
		return nil, err
	}
	return authorizerView(z), nil
}

func (s *Service) getAuthorizers(_ context.Context, in *wire.GetAuthorizersRequest) (*wire.Authorizers, error) {
	id := in.RestApiId
	api, err := s.read(id, s.noAPI(id))
	if err != nil {
		return nil, err
	}
	items, next, err := page(sorted(api.Authorizers), func(z *restapi.Authorizer) string { return z.ID }, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.Authorizers{Position: next, Items: []wire.Authorizer{}}
	for _, z := range items {
		out.Items = append(out.Items, *authorizerView(z))
	}
	return out, nil
}

func (s *Service) updateAuthorizer(ctx context.Context, in *wire.UpdateAuthorizerRequest) (out *wire.Authorizer, err error) {
	err = s.edit(ctx, in.RestApiId, errNoSuchAuthorizer, func(api *restapi.API) error {
		z, err := api.PatchAuthorizer(in.AuthorizerId, patches(in.PatchOperations))
		if err == nil {
			out = authorizerView(z)
		}
		return err
	})
	return out, err
}

func (s *Service) deleteAuthorizer(ctx context.Context, in *wire.DeleteAuthorizerRequest) error {
	return s.edit(ctx, in.RestApiId, errNoSuchAuthorizer, func(api *restapi.API) error {
		return api.DeleteAuthorizer(in.AuthorizerId)
	})
}

// testInvokeAuthorizer calls an authorizer of the working copy. Of a test that fails the answer tells: the call itself
// succeeds.
func (s *Service) testInvokeAuthorizer(ctx context.Context, in *wire.TestInvokeAuthorizerRequest) (*wire.TestInvokeAuthorizerResponse, error) {
	if err := refuse(member{"additionalContext", len(in.AdditionalContext) > 0}); err != nil {
		return nil, err
	}
	api, err := s.read(in.RestApiId, errNoSuchAuthorizer)
	if err != nil {
		return nil, err
	}
	if _, err := api.Authorizer(in.AuthorizerId); err != nil {
		return nil, err
	}
	if s.Authorizers == nil {
		return nil, fault.New(fault.Unsupported, "apigateway", "TestInvokeAuthorizer", "this node serves no APIs: there is nothing to test with")
	}
	test := AuthorizerTest{Path: awswire.Value(in.PathWithQueryString), StageVariables: in.StageVariables}
	for _, name := range slices.Sorted(maps.Keys(in.Headers)) {
		if in.MultiValueHeaders[name] == nil {
			test.Header = append(test.Header, Field{textproto.CanonicalMIMEHeaderKey(name), in.Headers[name]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in.MultiValueHeaders)) {
		for _, v := range in.MultiValueHeaders[name] {
			test.Header = append(test.Header, Field{textproto.CanonicalMIMEHeaderKey(name), v})
		}
	}
	r, err := s.Authorizers.Try(ctx, api, in.AuthorizerId, test)
	if err != nil {
		return nil, err
	}
	latency := r.Latency.Milliseconds()
	return &wire.TestInvokeAuthorizerResponse{
		ClientStatus: &r.Status, Log: &r.Log, Latency: &latency, PrincipalId: text(r.Principal), Policy: text(r.Policy),
	}, nil
}

// authorizerView shows an authorizer. The TTL is always shown: the service fills in its default.
func authorizerView(z *restapi.Authorizer) *wire.Authorizer {
	ttl, authType := z.TTL(), z.AuthType
	if authType == "" {
		authType = "custom"
	}
	return &wire.Authorizer{
		Id: &z.ID, Name: &z.Name, Type: z.Type, AuthType: &authType, AuthorizerUri: text(z.URI), AuthorizerCredentials: text(z.Credentials),
		IdentitySource: text(z.IdentitySource), IdentityValidationExpression: text(z.IdentityValidation), AuthorizerResultTtlInSeconds: &ttl,
	}
}
