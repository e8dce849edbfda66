package apigateway

import (
	"context"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

var domains catalog.Domains

func (s *Service) createDomainName(ctx context.Context, in *wire.CreateDomainNameRequest) (*wire.DomainName, error) {
	if err := refuse(
		member{"certificateBody", in.CertificateBody != nil},
		member{"certificatePrivateKey", in.CertificatePrivateKey != nil},
		member{"certificateChain", in.CertificateChain != nil},
		member{"regionalCertificateName", in.RegionalCertificateName != nil},
		member{"endpointAccessMode", in.EndpointAccessMode != "" && in.EndpointAccessMode != "BASIC"},
		member{"mutualTlsAuthentication", in.MutualTlsAuthentication != nil},
		member{"ownershipVerificationCertificateArn", in.OwnershipVerificationCertificateArn != nil},
		member{"policy", awswire.Value(in.Policy) != ""},
		member{"routingMode", in.RoutingMode != "" && in.RoutingMode != "BASE_PATH_MAPPING_ONLY"},
	); err != nil {
		return nil, err
	}
	spec := restapi.NewDomain{
		Name:            in.DomainName,
		CertificateARN:  awswire.Value(in.CertificateArn),
		CertificateName: awswire.Value(in.CertificateName),
		RegionalARN:     awswire.Value(in.RegionalCertificateArn),
		SecurityPolicy:  in.SecurityPolicy,
		Tags:            in.Tags,
	}
	if e := in.EndpointConfiguration; e != nil {
		if err := refuse(member{"vpcEndpointIds", len(e.VpcEndpointIds) > 0}); err != nil {
			return nil, err
		}
		spec.EndpointTypes, spec.IPAddressType = e.Types, e.IpAddressType
	}
	d, err := restapi.MakeDomain(spec, s.Now())
	if err != nil {
		return nil, err
	}
	if err := s.Catalog.Update(ctx, func(tx *catalog.Tx) error { return domains.Add(tx, d) }); err != nil {
		return nil, err
	}
	return s.domainView(d), nil
}

// editDomain changes a domain name: all of what change does is durable and served when it returns nil, else none of it.
func (s *Service) editDomain(ctx context.Context, name string, change func(*catalog.Tx, *restapi.Domain) error) error {
	return s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		d, err := domains.Get(tx, name)
		if err != nil {
			return err
		}
		if err := change(tx, d); err != nil {
			return err
		}
		return domains.Put(tx, d)
	})
}

func (s *Service) getDomainName(_ context.Context, in *wire.GetDomainNameRequest) (*wire.DomainName, error) {
	d, err := domains.Get(s.Catalog.Snapshot(), in.DomainName)
	if err != nil {
		return nil, err
	}
	return s.domainView(d), nil
}

func (s *Service) getDomainNames(_ context.Context, in *wire.GetDomainNamesRequest) (*wire.DomainNames, error) {
	if err := refuse(member{"resourceOwner", in.ResourceOwner != "" && in.ResourceOwner != "SELF"}); err != nil {
		return nil, err
	}
	all, err := domains.All(s.Catalog.Snapshot())
	if err != nil {
		return nil, err
	}
	items, next, err := page(all, func(d *restapi.Domain) string { return d.Name }, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.DomainNames{Position: next, Items: []wire.DomainName{}}
	for _, d := range items {
		out.Items = append(out.Items, *s.domainView(d))
	}
	return out, nil
}

func (s *Service) updateDomainName(ctx context.Context, in *wire.UpdateDomainNameRequest) (out *wire.DomainName, err error) {
	err = s.editDomain(ctx, in.DomainName, func(_ *catalog.Tx, d *restapi.Domain) error {
		if err := d.Patch(patches(in.PatchOperations), s.Now()); err != nil {
			return err
		}
		out = s.domainView(d)
		return nil
	})
	return out, err
}

func (s *Service) deleteDomainName(ctx context.Context, in *wire.DeleteDomainNameRequest) error {
	return s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		if _, err := domains.Get(tx, in.DomainName); err != nil {
			return err
		}
		domains.Delete(tx, in.DomainName)
		return nil
	})
}

func (s *Service) createBasePathMapping(ctx context.Context, in *wire.CreateBasePathMappingRequest) (out *wire.BasePathMapping, err error) {
	err = s.editDomain(ctx, in.DomainName, func(tx *catalog.Tx, d *restapi.Domain) error {
		m := restapi.BasePathMapping{BasePath: awswire.Value(in.BasePath), APIID: in.RestApiId, Stage: awswire.Value(in.Stage)}
		if err := domains.CheckTarget(tx, &m); err != nil {
			return err
		}
		made, err := d.AddMapping(m)
		if err == nil {
			out = mappingView(made)
		}
		return err
	})
	return out, err
}

func (s *Service) getBasePathMapping(_ context.Context, in *wire.GetBasePathMappingRequest) (*wire.BasePathMapping, error) {
	d, err := domains.Get(s.Catalog.Snapshot(), in.DomainName)
	if err != nil {
		return nil, err
	}
	m, err := d.Mapping(in.BasePath)
	if err != nil {
		return nil, err
	}
	return mappingView(m), nil
}

func (s *Service) getBasePathMappings(_ context.Context, in *wire.GetBasePathMappingsRequest) (*wire.BasePathMappings, error) {
	d, err := domains.Get(s.Catalog.Snapshot(), in.DomainName)
	if err != nil {
		return nil, err
	}
	items, next, err := page(d.Mappings, func(m restapi.BasePathMapping) string { return "/" + m.BasePath }, in.Limit, in.Position)
	if err != nil {
		return nil, err
	}
	out := &wire.BasePathMappings{Position: next, Items: []wire.BasePathMapping{}}
	for i := range items {
		out.Items = append(out.Items, *mappingView(&items[i]))
	}
	return out, nil
}

func (s *Service) updateBasePathMapping(ctx context.Context, in *wire.UpdateBasePathMappingRequest) (out *wire.BasePathMapping, err error) {
	err = s.editDomain(ctx, in.DomainName, func(tx *catalog.Tx, d *restapi.Domain) error {
		m, err := d.PatchMapping(in.BasePath, patches(in.PatchOperations))
		if err != nil {
			return err
		}
		out = mappingView(m)
		return domains.CheckTarget(tx, m)
	})
	return out, err
}

func (s *Service) deleteBasePathMapping(ctx context.Context, in *wire.DeleteBasePathMappingRequest) error {
	return s.editDomain(ctx, in.DomainName, func(_ *catalog.Tx, d *restapi.Domain) error { return d.RemoveMapping(in.BasePath) })
}

func (s *Service) domainView(d *restapi.Domain) *wire.DomainName {
	v := &wire.DomainName{
		DomainName:             &d.Name,
		CertificateArn:         text(d.CertificateARN),
		CertificateName:        text(d.CertificateName),
		CertificateUploadDate:  d.CertificateUpload,
		RegionalCertificateArn: text(d.RegionalARN),
		DomainNameStatus:       "AVAILABLE",
		SecurityPolicy:         d.SecurityPolicy,
		EndpointConfiguration:  &wire.EndpointConfiguration{Types: d.EndpointTypes, IpAddressType: d.IPAddressType},
		Tags:                   someOf(d.Tags),
	}
	if d.Regional() {
		name, zone := restapi.RegionalName(d.Name, s.Account.Region)
		v.RegionalDomainName, v.RegionalHostedZoneId = &name, text(zone)
	} else {
		name, zone := restapi.EdgeName(d.Name)
		v.DistributionDomainName, v.DistributionHostedZoneId = &name, &zone
	}
	return v
}

func mappingView(m *restapi.BasePathMapping) *wire.BasePathMapping {
	base := restapi.ShowBasePath(m.BasePath)
	return &wire.BasePathMapping{BasePath: &base, RestApiId: &m.APIID, Stage: text(m.Stage)}
}
