package template

import (
	"context"
	"strings"

	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
	"millrace/internal/yamldoc"
)

// domainSpec and mappingSpec are what the file says of a custom domain name and of a base path of one.
type (
	domainSpec struct {
		*resource
		want *restapi.Domain // without mappings
	}
	mappingSpec struct {
		*resource
		domain   string
		want     restapi.BasePathMapping
		physical string
	}
)

const listenerTLS = "kept and shown: the certificate that callers see is the listener's own"

var domainType = &resourceType{
	name: "AWS::ApiGateway::DomainName", phase: phaseAPI, nameProperty: "DomainName", note: "served on the ingest listener, by the Host",
	properties: map[string]string{
		"DomainName": served, "EndpointConfiguration": "kept and shown: the endpoint is this node", "Tags": served,
		"CertificateArn": listenerTLS, "RegionalCertificateArn": listenerTLS, "SecurityPolicy": listenerTLS,
	},
	required: []string{"DomainName"},
	attributes: map[string]func(*build, *resource, string) string{
		"RegionalDomainName": func(b *build, _ *resource, name string) string {
			host, _ := restapi.RegionalName(name, b.t.opts.Account.Region)
			return host
		},
		"RegionalHostedZoneId": func(b *build, _ *resource, name string) string {
			_, zone := restapi.RegionalName(name, b.t.opts.Account.Region)
			return zone
		},
		"DistributionDomainName":   func(_ *build, _ *resource, name string) string { host, _ := restapi.EdgeName(name); return host },
		"DistributionHostedZoneId": func(_ *build, _ *resource, name string) string { _, zone := restapi.EdgeName(name); return zone },
	},
	make: func(b *build, r *resource, p *properties) bool {
		name, ok := b.physical(r)
		if !ok {
			return true
		}
		spec := restapi.NewDomain{Name: name, CertificateARN: p.text("CertificateArn"), RegionalARN: p.text("RegionalCertificateArn"),
			SecurityPolicy: p.text("SecurityPolicy"), Tags: p.tags("Tags")}
		if e := p.nested("EndpointConfiguration"); e != nil {
			e.only("Types", "IpAddressType")
			spec.EndpointTypes, spec.IPAddressType = e.texts("Types"), e.text("IpAddressType")
		}
		d, err := restapi.MakeDomain(spec, zeroTime)
		if err != nil {
			p.tell("DomainName", "%s", openapi.Reason(err))
			return true
		}
		b.domains = append(b.domains, &domainSpec{r, d})
		return true
	},
}

var mappingType = &resourceType{
	name: "AWS::ApiGateway::BasePathMapping", phase: phaseStage,
	properties: map[string]string{"DomainName": served, "RestApiId": served, "Stage": served, "BasePath": served},
	required:   []string{"DomainName", "RestApiId"},
	made:       true,
	generate: func(b *build, r *resource) string {
		return b.textOf(r, "DomainName") + "/" + restapi.ReadBasePath(b.textOf(r, "BasePath"))
	},
	make: func(b *build, r *resource, p *properties) bool {
		s := p.api()
		physical, ok := b.physical(r)
		if s == nil || !ok {
			return true
		}
		domain, base, _ := strings.Cut(physical, "/")
		m := restapi.BasePathMapping{BasePath: base, APIID: s.id, Stage: p.text("Stage")}
		if _, err := new(restapi.Domain).AddMapping(m); err != nil {
			p.tell("BasePath", "%s", openapi.Reason(err))
			return true
		}
		b.mappings = append(b.mappings, &mappingSpec{r, domain, m, physical})
		return true
	},
}

// textOf evaluates a property of a resource; make tells what is wrong with it.
func (b *build) textOf(r *resource, property string) string {
	n := yamldoc.Get(r.properties, property)
	if n == nil {
		return ""
	}
	text, _ := yamldoc.Text(b.eval(n, "Resources."+r.logical+".Properties."+property))
	return text
}

// domains plans custom domain names and their mappings, after the APIs that they lead to.
func (p *planner) domains() {
	for _, s := range p.b.domains {
		p.domain(s)
	}
	for _, s := range p.b.mappings {
		p.mapping(s)
	}
}

func (p *planner) domain(s *domainSpec) {
	name := s.want.Name
	if !p.own(s.resource, name) {
		return
	}
	have, err := catalog.Domains{}.Get(p.view, name)
	put := func(ctx context.Context) error {
		return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error {
			next := *s.want
			switch now, err := (catalog.Domains{}).Get(tx, name); {
			case fault.Is(err, fault.NotFound):
				if next.CertificateARN != "" {
					next.CertificateUpload = p.target.Now().UTC().Truncate(1e9)
				}
				return catalog.Domains{}.Add(tx, &next)
			case err != nil:
				return err
			default:
				next.Mappings, next.CertificateUpload = now.Mappings, now.CertificateUpload
				return catalog.Domains{}.Put(tx, &next)
			}
		})
	}
	switch {
	case fault.Is(err, fault.NotFound):
		p.add(Create, s.resource, name, "", put)
		return
	case err != nil:
		p.refuse(s.resource, "", "%v", err)
		return
	}
	p.takenOver(s.resource, name)
	same := *s.want
	same.Mappings, same.CertificateUpload = have.Mappings, have.CertificateUpload
	if equalJSON(&same, have) {
		p.add(Keep, s.resource, name, "", nil)
		return
	}
	p.add(Update, s.resource, name, "", put)
}

func (p *planner) mapping(s *mappingSpec) {
	if !p.own(s.resource, s.physical) {
		return
	}
	have := p.mappingNow(s)
	put := func(ctx context.Context) error {
		return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error {
			d, err := catalog.Domains{}.Get(tx, s.domain)
			if err != nil {
				return err
			}
			if err := (catalog.Domains{}).CheckTarget(tx, &s.want); err != nil {
				return err
			}
			if m, err := d.Mapping(s.want.BasePath); err == nil {
				*m = s.want
			} else if _, err := d.AddMapping(s.want); err != nil {
				return err
			}
			return catalog.Domains{}.Put(tx, d)
		})
	}
	detail := "leads to " + s.want.APIID + "/" + s.want.Stage
	switch {
	case have == nil && !p.domainKnown(s.domain):
		p.refuse(s.resource, "DomainName", "%q is a domain name neither of this file nor of the node", s.domain)
	case have == nil:
		p.add(Create, s.resource, s.physical, detail, put)
	case *have == s.want:
		p.takenOver(s.resource, s.physical)
		p.add(Keep, s.resource, s.physical, "", nil)
	default:
		p.takenOver(s.resource, s.physical)
		p.add(Update, s.resource, s.physical, detail, put)
	}
}

func (p *planner) mappingNow(s *mappingSpec) *restapi.BasePathMapping {
	d, err := catalog.Domains{}.Get(p.view, s.domain)
	if err != nil {
		return nil
	}
	m, err := d.Mapping(s.want.BasePath)
	if err != nil {
		return nil
	}
	return m
}

func (p *planner) domainKnown(name string) bool {
	for _, d := range p.b.domains {
		if d.want.Name == name {
			return true
		}
	}
	_, err := catalog.Domains{}.Get(p.view, name)
	return err == nil
}

func (p *planner) removeDomain(ctx context.Context, e *RecordEntry) error {
	return p.target.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		name, base, isMapping := strings.Cut(e.Physical, "/")
		if !isMapping {
			catalog.Domains{}.Delete(tx, name)
			return nil
		}
		d, err := catalog.Domains{}.Get(tx, name)
		if err != nil {
			return err
		}
		if err := d.RemoveMapping(base); err != nil {
			return err
		}
		return catalog.Domains{}.Put(tx, d)
	})
}
