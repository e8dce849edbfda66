package restapi

import (
	"crypto/sha256"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The service's figures for domains of an account and region, and for the mappings of one; the first can be raised there.
const (
	MaxDomains  = 1000
	MaxMappings = 200
)

// The security policies of a domain. They are kept and shown: TLS is the listener's.
const DefaultSecurityPolicy = "TLS_1_2"

// noBasePath is how the empty base path is written where there has to be one.
const noBasePath = "(none)"

// maxBasePathChars is the service's.
const maxBasePathChars = 300

var (
	// domainPattern is a name of at least two labels in lower case, the first of which may be a star.
	domainPattern   = regexp.MustCompile(`^(\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$`)
	basePathPattern = regexp.MustCompile(`^[A-Za-z0-9$\-_.+!*'()]+(/[A-Za-z0-9$\-_.+!*'()]+)*$`)
	acmPattern      = regexp.MustCompile(`^arn:[a-z0-9-]+:(acm|iam):.*$`)
)

// NewDomain says what domain name to make. A zero field means the service's default.
type NewDomain struct {
	Name            string // "events.example.com", "*.example.com"
	CertificateARN  string // of an EDGE domain
	CertificateName string
	RegionalARN     string // of a REGIONAL domain
	EndpointTypes   []string
	IPAddressType   string
	SecurityPolicy  string
	Tags            map[string]string
}

// MakeDomain makes a domain name without mappings. The certificate that it names is kept and shown; what callers are
// shown is the listener's own.
func MakeDomain(spec NewDomain, now time.Time) (*Domain, error) {
	const op = "restapi.MakeDomain"
	if len(spec.Name) > 253 || !domainPattern.MatchString(spec.Name) {
		return nil, invalid(op, "Invalid domain name specified: %s. Please use a name of labels of lower-case letters, digits and hyphens", spec.Name)
	}
	d := &Domain{
		Name: spec.Name, CertificateARN: spec.CertificateARN, CertificateName: spec.CertificateName, RegionalARN: spec.RegionalARN,
		EndpointTypes: slices.Clone(spec.EndpointTypes), IPAddressType: spec.IPAddressType, SecurityPolicy: spec.SecurityPolicy,
		Tags: maps.Clone(spec.Tags),
	}
	if d.EndpointTypes == nil {
		d.EndpointTypes = []string{Edge}
	}
	if d.SecurityPolicy == "" {
		d.SecurityPolicy = DefaultSecurityPolicy
	}
	if err := CheckTags(spec.Tags); err != nil {
		return nil, err
	}
	if err := d.check(op); err != nil {
		return nil, err
	}
	if d.CertificateARN != "" || d.CertificateName != "" {
		d.CertificateUpload = wholeSecond(now)
	}
	return d, nil
}

func (d *Domain) check(op string) error {
	if len(d.EndpointTypes) == 1 && d.EndpointTypes[0] == Private {
		return unsupported(op, "a domain name of endpoint type PRIVATE", "it would be open to every caller of the ingest listener")
	}
	if err := checkEndpoint(op, d.EndpointTypes, &d.IPAddressType); err != nil {
		return err
	}
	for _, arn := range []string{d.CertificateARN, d.RegionalARN} {
		if arn != "" && !acmPattern.MatchString(arn) {
			return invalid(op, "Invalid certificate ARN: %s", arn)
		}
	}
	return nil
}

// Regional tells whether the domain's endpoint is in the region, not at the edge.
func (d *Domain) Regional() bool { return slices.Contains(d.EndpointTypes, Regional) }

// Patch changes a domain name.
func (d *Domain) Patch(patches []Patch, now time.Time) error {
	for _, p := range patches {
		if err := d.patch(p, now); err != nil {
			return err
		}
	}
	return nil
}

func (d *Domain) patch(p Patch, now time.Time) error {
	const op = "restapi.PatchDomain"
	segments, ok := p.segments()
	if !ok {
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	switch segments[0] {
	case "endpointConfiguration":
		if err := patchEndpointConfiguration(op, &d.EndpointTypes, &d.IPAddressType, p, segments[1:]); err != nil {
			return err
		}
		return d.check(op)
	case "mutualTlsAuthentication":
		if p.Op == OpRemove || p.Value == "" {
			return nil // there is none
		}
		return unsupported(op, "mutualTlsAuthentication", "callers would not be asked for certificates")
	case "policy", "endpointAccessMode", "ownershipVerificationCertificateArn", "managementPolicy", "routingMode", "regionalCertificateName":
		return unsupported(op, segments[0], "a domain name here has none")
	}
	if len(segments) != 1 {
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	if p.Op != OpReplace && p.Op != OpAdd && p.Op != OpRemove {
		return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
	}
	value := p.Value
	if p.Op == OpRemove {
		value = ""
	}
	switch segments[0] {
	case "certificateArn":
		d.CertificateARN, d.CertificateUpload = value, wholeSecond(now)
	case "certificateName":
		d.CertificateName, d.CertificateUpload = value, wholeSecond(now)
	case "regionalCertificateArn":
		d.RegionalARN = value
	case "securityPolicy":
		if !slices.Contains(SecurityPolicies, value) {
			return invalid(op, "Invalid securityPolicy specified: %s. Valid options are %s", value, strings.Join(SecurityPolicies, ","))
		}
		d.SecurityPolicy = value
	default:
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	return d.check(op)
}

// SecurityPolicies are those of the service's model.
var SecurityPolicies = []string{"TLS_1_0", "TLS_1_2", "SecurityPolicy_TLS13_1_3_2025_09", "SecurityPolicy_TLS13_1_3_FIPS_2025_09",
	"SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09", "SecurityPolicy_TLS13_1_2_FIPS_PQ_2025_09", "SecurityPolicy_TLS13_1_2_FIPS_PFS_PQ_2025_09",
	"SecurityPolicy_TLS13_1_2_PQ_2025_09", "SecurityPolicy_TLS13_1_2_2021_06", "SecurityPolicy_TLS13_2025_EDGE",
	"SecurityPolicy_TLS12_PFS_2025_EDGE", "SecurityPolicy_TLS12_2018_EDGE"}

// ReadBasePath gives a base path as it is kept: "(none)" is the empty one.
func ReadBasePath(s string) string {
	if s == noBasePath {
		return ""
	}
	return s
}

// ShowBasePath is the other way.
func ShowBasePath(s string) string {
	if s == "" {
		return noBasePath
	}
	return s
}

// Mapping finds the mapping of a base path.
func (d *Domain) Mapping(basePath string) (*BasePathMapping, error) {
	basePath = ReadBasePath(basePath)
	for i := range d.Mappings {
		if d.Mappings[i].BasePath == basePath {
			return &d.Mappings[i], nil
		}
	}
	return nil, notFound("restapi.Mapping", "Invalid base path mapping identifier specified")
}

// AddMapping maps a base path. That API and stage are there is the caller's to check.
func (d *Domain) AddMapping(m BasePathMapping) (*BasePathMapping, error) {
	const op = "restapi.AddMapping"
	m.BasePath = ReadBasePath(m.BasePath)
	if err := d.checkBasePath(op, m.BasePath); err != nil {
		return nil, err
	}
	if len(d.Mappings) >= MaxMappings {
		return nil, tooMany(op, "Maximum number of base path mappings for this domain name has been reached: %d", MaxMappings)
	}
	d.Mappings = append(d.Mappings, m)
	d.sortMappings()
	return d.Mapping(m.BasePath)
}

func (d *Domain) checkBasePath(op, basePath string) error {
	if basePath != "" && (len(basePath) > maxBasePathChars || !basePathPattern.MatchString(basePath)) {
		return invalid(op, "Invalid base path specified: %s. Please use at most %d letters, digits and any of $-_.+!*'(), in segments between slashes", basePath, maxBasePathChars)
	}
	if _, err := d.Mapping(basePath); err == nil {
		return conflict(op, "Base path already exists for this domain name")
	}
	return nil
}

func (d *Domain) sortMappings() {
	slices.SortFunc(d.Mappings, func(a, b BasePathMapping) int { return strings.Compare(a.BasePath, b.BasePath) })
}

// PatchMapping changes a mapping, whose base path too.
func (d *Domain) PatchMapping(basePath string, patches []Patch) (*BasePathMapping, error) {
	const op = "restapi.PatchMapping"
	m, err := d.Mapping(basePath)
	if err != nil {
		return nil, err
	}
	for _, p := range patches {
		switch p.Path {
		case "/basePath", "/stage", "/restapiId", "/restApiId":
		default:
			return nil, invalid(op, "Invalid patch path %s", p.Path)
		}
		if p.Op != OpReplace && !(p.Op == OpRemove && p.Path == "/stage") && !(p.Op == OpAdd && p.Path == "/stage") {
			return nil, invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
		}
		switch p.Path {
		case "/stage":
			m.Stage = p.Value
			if p.Op == OpRemove {
				m.Stage = ""
			}
		case "/basePath":
			if next := ReadBasePath(p.Value); next != m.BasePath {
				if err := d.checkBasePath(op, next); err != nil {
					return nil, err
				}
				m.BasePath = next
			}
		default:
			m.APIID = p.Value
		}
	}
	changed := m.BasePath
	d.sortMappings()
	return d.Mapping(changed)
}

// RemoveMapping removes a mapping.
func (d *Domain) RemoveMapping(basePath string) error {
	m, err := d.Mapping(basePath)
	if err != nil {
		return err
	}
	base := m.BasePath
	d.Mappings = slices.DeleteFunc(d.Mappings, func(m BasePathMapping) bool { return m.BasePath == base })
	if len(d.Mappings) == 0 {
		d.Mappings = nil
	}
	return nil
}

// alias is 10 of [a-z0-9] that stand for a domain name in the service's own names for it. The service makes them up; here
// they follow from the name, so that a definition file can tell them before the domain is there.
func alias(name string) string {
	sum := sha256.Sum256([]byte(name))
	digits := new(big.Int).SetBytes(sum[:]).Text(36)
	return digits[len(digits)-10:]
}

// hostedZones are the zones of the service's regional endpoints, for alias records.
//
// Source: AWS General Reference, Amazon API Gateway endpoints and quotas.
var hostedZones = map[string]string{
	"us-east-1": "Z1UJRXOUMOOFQ8", "us-east-2": "ZOJJZC49E0EPZ", "us-west-1": "Z2MUQ32089INYE", "us-west-2": "Z2OJLYMUO9EFXC",
	"ap-northeast-1": "Z1YSHQZHG15GKL", "ap-northeast-2": "Z20JF4UZKIW1U8", "ap-south-1": "Z3VO1THU9YC4UR", "ap-southeast-1": "ZL327KTPIQFUL",
	"ap-southeast-2": "Z2RPCDW04V8134", "ca-central-1": "Z19DQILCV0OWEC", "eu-central-1": "Z1U9ULNL0V5AJ3", "eu-west-1": "ZLY8HYME6SFDD",
	"eu-west-2": "ZJ5UAJN8Y3Z2Q", "sa-east-1": "ZCMLWB8V5SYIT",
}

// RegionalName is what the service calls a regional domain's endpoint, and in which zone it is, empty for a region whose
// zone is not known here. Nothing answers under the name: it is for tools that want one.
func RegionalName(domain, region string) (name, zone string) {
	return "d-" + alias(domain) + ".execute-api." + region + ".amazonaws.com", hostedZones[region]
}

// EdgeName is the same of a domain at the edge.
func EdgeName(domain string) (name, zone string) {
	return "d" + alias(domain) + "edg.cloudfront.net", "Z2FDTNDATAQYW2"
}
