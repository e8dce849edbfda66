package apigateway

import (
	"context"
	"strings"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/restapi"
)

// tagged is what an ARN names: an API or a stage of one, an API key, a usage plan, or a domain name.
type tagged struct{ api, stage, key, plan, domain string }

// parseTagged reads arn:aws:apigateway:us-east-1::/restapis/abc, .../restapis/abc/stages/prod, .../apikeys/abc,
// .../usageplans/abc and .../domainnames/events.example.com.
func parseTagged(arn string) (tagged, error) {
	const op = "apigateway.Tags"
	a, ok := ids.ParseARN(arn)
	if !ok || a.Service != "apigateway" {
		return tagged{}, fault.New(fault.Invalid, op, arn, "Invalid ARN specified in the request")
	}
	parts := strings.Split(strings.TrimPrefix(a.Resource, "/"), "/")
	switch {
	case len(parts) == 2 && parts[0] == "restapis":
		return tagged{api: parts[1]}, nil
	case len(parts) == 4 && parts[0] == "restapis" && parts[2] == "stages":
		return tagged{api: parts[1], stage: parts[3]}, nil
	case len(parts) == 2 && parts[0] == "apikeys":
		return tagged{key: parts[1]}, nil
	case len(parts) == 2 && parts[0] == "usageplans":
		return tagged{plan: parts[1]}, nil
	case len(parts) == 2 && parts[0] == "domainnames":
		return tagged{domain: parts[1]}, nil
	case parts[0] == "vpclinks" || parts[0] == "clientcertificates":
		return tagged{}, refuse(member{"tagging of " + parts[0], true})
	}
	return tagged{}, fault.New(fault.NotFound, op, arn, "Invalid resource ARN specified: %s", arn)
}

// in gives the place of the tags within their API.
func (t tagged) in(api *restapi.API) (*map[string]string, error) {
	if t.stage == "" {
		return &api.Tags, nil
	}
	s, err := api.Stage(t.stage)
	if err != nil {
		return nil, err
	}
	return &s.Tags, nil
}

// read gives the tags as they are now.
func (t tagged) read(s *Service) (map[string]string, error) {
	view := s.Catalog.Snapshot()
	switch {
	case t.key != "":
		k, err := keys.Key(view, t.key)
		if err != nil {
			return nil, err
		}
		return k.Tags, nil
	case t.plan != "":
		p, err := keys.Plan(view, t.plan)
		if err != nil {
			return nil, err
		}
		return p.Tags, nil
	case t.domain != "":
		d, err := domains.Get(view, t.domain)
		if err != nil {
			return nil, err
		}
		return d.Tags, nil
	}
	api, err := s.read(t.api, s.noAPI(t.api))
	if err != nil {
		return nil, err
	}
	tags, err := t.in(api)
	if err != nil {
		return nil, err
	}
	return *tags, nil
}

// edit changes the tags.
func (t tagged) edit(ctx context.Context, s *Service, change func(*map[string]string) error) error {
	switch {
	case t.key != "":
		return s.editKey(ctx, t.key, func(k *restapi.APIKey) error { return change(&k.Tags) })
	case t.plan != "":
		return s.editPlan(ctx, t.plan, func(_ *catalog.Tx, p *restapi.UsagePlan) error { return change(&p.Tags) })
	case t.domain != "":
		return s.editDomain(ctx, t.domain, func(_ *catalog.Tx, d *restapi.Domain) error { return change(&d.Tags) })
	}
	return s.edit(ctx, t.api, s.noAPI(t.api), func(api *restapi.API) error {
		tags, err := t.in(api)
		if err != nil {
			return err
		}
		return change(tags)
	})
}

func (s *Service) getTags(_ context.Context, in *wire.GetTagsRequest) (*wire.Tags, error) {
	t, err := parseTagged(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	tags, err := t.read(s)
	if err != nil {
		return nil, err
	}
	if tags == nil {
		tags = map[string]string{}
	}
	return &wire.Tags{Tags: tags}, nil
}

func (s *Service) tagResource(ctx context.Context, in *wire.TagResourceRequest) error {
	return s.editTags(ctx, in.ResourceArn, func(tags *map[string]string) error {
		return restapi.Tag(tags, in.Tags)
	})
}

func (s *Service) untagResource(ctx context.Context, in *wire.UntagResourceRequest) error {
	return s.editTags(ctx, in.ResourceArn, func(tags *map[string]string) error {
		restapi.Untag(tags, in.TagKeys)
		return nil
	})
}

func (s *Service) editTags(ctx context.Context, arn string, change func(*map[string]string) error) error {
	t, err := parseTagged(arn)
	if err != nil {
		return err
	}
	return t.edit(ctx, s, change)
}
