package restapi

import (
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/internal/ids"
)

// The edit_*.go files hold every change that can be made to an API, with the service's validation and texts. The
// control plane (api/apigateway) and definition files (template, restapi/openapi) make their changes through them
// and through nothing else.
//
// They change the value they are called on and do no I/O. After an error the value may be half changed: a caller
// works on a copy of its own and drops it, which makes a list of patches all or none.

// Bounds. The service's own figures (300 resources, 10 stages, raisable on request) are not enforced: what it
// accepts after a raise is accepted here; these only keep one API's document within the catalog's bound.
const (
	MaxResources   = 3000
	MaxStages      = 100
	MaxDeployments = 1000
	MaxModels      = 1000
	MaxValidators  = 200
	MaxTags        = 50
)

// The endpoint types, as the service lists them in errors.
const (
	Edge     = "EDGE"
	Regional = "REGIONAL"
	Private  = "PRIVATE"
)

// KeySourceAuthorizer and keySourceHeader are the sources of an API key.
const (
	keySourceHeader     = "HEADER"
	KeySourceAuthorizer = "AUTHORIZER"
)

// NewAPI says what API to make. A zero field means the service's default.
type NewAPI struct {
	Name                      string
	Description               string
	Version                   string
	EndpointTypes             []string // default EDGE; an empty list that is not nil is an error, as in the service
	IPAddressType             string   // "ipv4" (the default) or "dualstack"
	DisableExecuteAPIEndpoint bool
	BinaryMediaTypes          []string
	APIKeySource              string // default HEADER
	Policy                    string // a JSON text
	Tags                      map[string]string
	MinimumCompressionSize    *int // nil: nothing is compressed
	// NoModels leaves out the models Empty and Error: an imported API has only those that its file brings.
	NoModels bool
}

// New makes an API with its root resource and the two default models.
func New(spec NewAPI, source *ids.Source, now time.Time) (*API, error) {
	const op = "restapi.New"
	if spec.Name == "" {
		return nil, invalid(op, "Api name must be non-empty")
	}
	if spec.EndpointTypes == nil {
		spec.EndpointTypes = []string{Edge}
	}
	if err := checkEndpoint(op, spec.EndpointTypes, &spec.IPAddressType); err != nil {
		return nil, err
	}
	if spec.APIKeySource == "" {
		spec.APIKeySource = keySourceHeader
	}
	if err := checkKeySource(op, "createRestApiInput.apiKeySource", spec.APIKeySource); err != nil {
		return nil, err
	}
	if err := CheckTags(spec.Tags); err != nil {
		return nil, err
	}
	a := &API{
		ID:                        source.String(ids.LowerAlnum, 10),
		Name:                      spec.Name,
		Description:               spec.Description,
		Version:                   spec.Version,
		Created:                   wholeSecond(now),
		EndpointTypes:             slices.Clone(spec.EndpointTypes),
		IPAddressType:             spec.IPAddressType,
		DisableExecuteAPIEndpoint: spec.DisableExecuteAPIEndpoint,
		Tags:                      maps.Clone(spec.Tags),
	}
	root := &Resource{ID: source.String(ids.LowerAlnum, 10), Path: "/"}
	a.RootResourceID = root.ID
	a.Resources = map[string]*Resource{root.ID: root}
	a.APIKeySource = spec.APIKeySource
	if err := a.SetBinaryMediaTypes(spec.BinaryMediaTypes); err != nil {
		return nil, err
	}
	if err := a.SetMinimumCompressionSize(spec.MinimumCompressionSize); err != nil {
		return nil, err
	}
	if err := a.SetPolicy(spec.Policy); err != nil {
		return nil, err
	}
	if !spec.NoModels {
		a.addDefaultModels(source)
	}
	return a, nil
}

// wholeSecond is how the service keeps dates.
func wholeSecond(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// checkEndpoint checks the endpoint types and fills in and checks the kind of address.
func checkEndpoint(op string, types []string, addressType *string) error {
	switch {
	case len(types) == 0:
		return invalid(op, "REGIONAL Configuration and EDGE Configuration cannot be both DISABLED.")
	case len(types) > 1:
		return invalid(op, "Cannot create an api with multiple Endpoint Types.")
	}
	if !slices.Contains([]string{Private, Edge, Regional}, types[0]) {
		return invalid(op, "Invalid EndpointTypes specified. Valid options are REGIONAL,EDGE,PRIVATE")
	}
	private := types[0] == Private
	switch *addressType {
	case "":
		*addressType = "ipv4"
	case "dualstack":
	case "ipv4":
		if private {
			return invalid(op, "Only dualstack ipAddressType is supported for Private APIs.")
		}
	default:
		return invalid(op, "ipAddressType must be either ipv4 or dualstack.")
	}
	if private {
		return unsupported(op, "endpoint type PRIVATE", "the API would be open to every caller of the ingest listener")
	}
	return nil
}

func checkKeySource(op, path, source string) error {
	return oneOf(op, source, path, "HEADER", "AUTHORIZER")
}

// SetAPIKeySource says where callers' API keys come from.
func (a *API) SetAPIKeySource(source string) error {
	err := checkKeySource("restapi.SetAPIKeySource", "apiKeySource", source)
	if err == nil {
		a.APIKeySource = source
	}
	return err
}

// SetBinaryMediaTypes replaces the media types whose bodies are bytes, not text.
func (a *API) SetBinaryMediaTypes(types []string) error {
	for _, t := range types {
		if !isMediaType(t) {
			return invalid("restapi.SetBinaryMediaTypes",
				"Validation Result: warnings : [], errors : [Invalid content type specified: %s]", t)
		}
	}
	a.BinaryMediaTypes = slices.Clone(types)
	if len(types) == 0 {
		a.BinaryMediaTypes = nil // an empty list is not shown, even if it was sent
	}
	return nil
}

// Tag adds tags to an API or a stage, replacing those of equal key.
func Tag(tags *map[string]string, add map[string]string) error {
	merged := maps.Clone(*tags)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, add)
	if err := CheckTags(merged); err != nil {
		return err
	}
	*tags = merged
	return nil
}

// Untag removes tags; that there is none of a key is no error.
func Untag(tags *map[string]string, keys []string) {
	left := maps.Clone(*tags)
	for _, k := range keys {
		delete(left, k)
	}
	if len(left) == 0 {
		left = nil
	}
	*tags = left
}

// CheckTags checks the tags of one API or stage.
func CheckTags(tags map[string]string) error {
	const op = "restapi.CheckTags"
	if len(tags) > MaxTags {
		return tooMany(op, "The maximum number of tags per resource is %d", MaxTags)
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		switch {
		case k == "" || len([]rune(k)) > 128:
			return invalid(op, "Invalid tag key specified: %s. Tag keys have 1 to 128 characters", k)
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return invalid(op, "Invalid tag key specified: %s. Tag keys that begin with aws: are reserved", k)
		case len([]rune(tags[k])) > 256:
			return invalid(op, "Invalid tag value specified for key %s. Tag values have at most 256 characters", k)
		}
	}
	return nil
}

// Clone makes a deep copy of the API.
func (a *API) Clone() *API { return cloneJSON(a) }

// Clone makes a deep copy of a definition.
func (d *Definition) Clone() *Definition { return cloneJSON(d) }

// freshID makes an id of 6 letters that is not taken.
func freshID(source *ids.Source, taken func(id string) bool) string {
	for {
		if id := source.String(ids.LowerAlnum, 6); !taken(id) {
			return id
		}
	}
}

// Patch changes the API's own members: name, description, version, binary media types, endpoint.
func (a *API) Patch(patches []Patch) error {
	for _, p := range patches {
		if err := a.patch(p); err != nil {
			return err
		}
	}
	return nil
}

func (a *API) patch(p Patch) error {
	const op = "restapi.Patch"
	segments, ok := p.segments()
	if !ok {
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	switch segments[0] {
	case "binaryMediaTypes":
		return a.patchBinaryMediaTypes(p, segments[1:])
	case "endpointConfiguration":
		return patchEndpointConfiguration(op, &a.EndpointTypes, &a.IPAddressType, p, segments[1:])
	case "minimumCompressionSize":
		if len(segments) == 1 {
			return a.patchCompression(p)
		}
	case "policy":
		if len(segments) != 1 || p.Op != OpReplace && p.Op != OpRemove {
			return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
		}
		return a.SetPolicy(p.Value)
	case "securityPolicy", "endpointAccessMode":
		if p.Value == "" {
			return nil // cleared, as it is anyway
		}
		return unsupported(op, segments[0], "an API without it behaves differently")
	}
	if len(segments) != 1 {
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	if p.Op != OpReplace && !(p.Op == OpRemove && segments[0] == "description") {
		return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
	}
	switch segments[0] {
	case "name":
		if p.Value == "" {
			return invalid(op, "Api name must be non-empty")
		}
		a.Name = p.Value
	case "description":
		a.Description = p.Value
	case "version":
		a.Version = p.Value
	case "apiKeySource":
		return a.SetAPIKeySource(p.Value)
	case "disableExecuteApiEndpoint":
		a.DisableExecuteAPIEndpoint = p.Value == "true"
	default:
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	return nil
}

func (a *API) patchBinaryMediaTypes(p Patch, rest []string) error {
	const op = "restapi.Patch"
	if len(rest) != 1 || rest[0] == "" {
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	types := slices.Clone(a.BinaryMediaTypes)
	at := slices.Index(types, rest[0])
	switch p.Op {
	case OpAdd:
		if at < 0 {
			types = append(types, rest[0])
		}
	case OpRemove:
		if at < 0 {
			return notFound(op, "Invalid binary media type specified")
		}
		types = slices.Delete(types, at, at+1)
	case OpReplace:
		if at < 0 {
			return notFound(op, "Invalid binary media type specified")
		}
		types[at] = p.Value
	default:
		return invalid(op, "Invalid patch operation specified. Must be 'add'|'remove'|'replace'")
	}
	return a.SetBinaryMediaTypes(types)
}

// patchEndpointConfiguration changes endpoint types and the kind of address, of an API or of a domain name.
func patchEndpointConfiguration(op string, ofTypes *[]string, ofAddress *string, p Patch, rest []string) error {
	types, addressType := *ofTypes, *ofAddress
	switch {
	case len(rest) == 1 && rest[0] == "ipAddressType":
		if p.Op != OpReplace {
			return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
		}
		if p.Value == "" {
			return invalid(op, "ipAddressType must be either ipv4 or dualstack.")
		}
		addressType = p.Value
	case len(rest) == 2 && rest[0] == "types":
		// The second segment is an index or the type that is replaced; there is only ever one.
		switch p.Op {
		case OpReplace:
			types = []string{p.Value}
		case OpAdd:
			types = append(slices.Clone(types), p.Value)
		case OpRemove:
			types = nil
		default:
			return invalid(op, "Invalid patch operation specified. Must be 'add'|'remove'|'replace'")
		}
	case len(rest) >= 1 && rest[0] == "vpcEndpointIds":
		return unsupported(op, "vpcEndpointIds", "there are no VPC endpoints")
	default:
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	if err := checkEndpoint(op, types, &addressType); err != nil {
		return err
	}
	*ofTypes, *ofAddress = slices.Clone(types), addressType
	return nil
}
