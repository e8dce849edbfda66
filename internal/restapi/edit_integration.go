package restapi

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Integration gives a method's integration.
func (a *API) Integration(resourceID, verb string) (*Integration, error) {
	m, err := a.Method(resourceID, verb)
	if err != nil {
		return nil, err
	}
	if m.Integration == nil {
		return nil, notFound("restapi.Integration", "Invalid Integration identifier specified")
	}
	return m.Integration, nil
}

// PutIntegration says what a method calls. It replaces the whole integration that was there, integration responses
// included; those of in are not taken.
func (a *API) PutIntegration(resourceID, verb string, in Integration) (*Integration, error) {
	const op = "restapi.PutIntegration"
	if err := oneOf(op, in.Type, "putIntegrationInput.type", HTTP, Mock, AWSProxy, HTTPProxy, AWS); err != nil {
		return nil, err
	}
	m, err := a.Method(resourceID, verb)
	if err != nil {
		return nil, err
	}
	i := &Integration{
		Type:                in.Type,
		HTTPMethod:          in.HTTPMethod,
		URI:                 in.URI,
		Credentials:         in.Credentials,
		PassthroughBehavior: in.PassthroughBehavior,
		ContentHandling:     in.ContentHandling,
		TimeoutMillis:       in.TimeoutMillis,
		TransferMode:        in.TransferMode,
		InsecureTLS:         in.InsecureTLS,
		CacheNamespace:      in.CacheNamespace,
		CacheKeyParameters:  slices.Clone(in.CacheKeyParameters),
		RequestParameters:   maps.Clone(in.RequestParameters),
		RequestTemplates:    maps.Clone(in.RequestTemplates),
	}
	i.fillDefaults(resourceID)
	if err := checkIntegration(op, m, i); err != nil {
		return nil, err
	}
	m.Integration = i
	return i, nil
}

func (i *Integration) fillDefaults(resourceID string) {
	if i.Type == Mock {
		i.HTTPMethod, i.URI = "", "" // the service drops them
	}
	if i.PassthroughBehavior == "" {
		i.PassthroughBehavior = WhenNoMatch
	}
	if i.TimeoutMillis == 0 {
		i.TimeoutMillis = DefaultTimeoutMillis
	}
	if i.CacheNamespace == "" {
		i.CacheNamespace = resourceID
	}
	if len(i.RequestParameters) == 0 {
		i.RequestParameters = nil
	}
	if len(i.RequestTemplates) == 0 {
		i.RequestTemplates = nil
	}
}

// checkIntegration checks an integration of a method. Whether the action behind a uri can be served is asked when
// the API is deployed.
func checkIntegration(op string, m *Method, i *Integration) error {
	switch i.Type {
	case Mock:
	case AWS:
		if err := checkAWS(op, i); err != nil {
			return err
		}
	case HTTP, HTTPProxy:
		if err := checkHTTP(op, i); err != nil {
			return err
		}
	default:
		return unsupported(op, "integration type "+i.Type, "the types are AWS (Kinesis, Firehose and S3), HTTP, HTTP_PROXY and MOCK")
	}
	if i.InsecureTLS && !i.IsHTTP() {
		return invalid(op, "insecureSkipVerification is only supported for HTTP and HTTP_PROXY integrations")
	}
	switch i.PassthroughBehavior {
	case WhenNoMatch, WhenNoTemplates, Never:
	default:
		return invalid(op, "Invalid passthrough behavior specified. Valid options are WHEN_NO_MATCH,WHEN_NO_TEMPLATES,NEVER")
	}
	if err := checkContentHandling(op, "putIntegrationInput.contentHandling", i.ContentHandling); err != nil {
		return err
	}
	if err := checkTransferMode(op, i); err != nil {
		return err
	}
	if longest := i.maxTimeoutMillis(); i.TimeoutMillis < MinTimeoutMillis || i.TimeoutMillis > longest {
		return invalid(op, "Timeout should be between %d ms and %d ms", MinTimeoutMillis, longest)
	}
	if err := checkMediaTypes(op, i.RequestTemplates); err != nil {
		return err
	}
	return checkIntegrationParameters(op, m, i.RequestParameters)
}

// checkTransferMode checks responseTransferMode: what comes from a proxy's backend can go on before it is whole, and
// nothing that a template makes can.
func checkTransferMode(op string, i *Integration) error {
	if i.TransferMode == "" {
		return nil
	}
	if err := oneOf(op, i.TransferMode, "putIntegrationInput.responseTransferMode", Buffered, Stream); err != nil {
		return err
	}
	if i.Streams() && i.Type != HTTPProxy {
		return invalid(op, "Response transfer mode STREAM is only supported for AWS_PROXY and HTTP_PROXY integrations")
	}
	return nil
}

// Streams reports whether the answer goes on to the caller while it is still coming in.
func (i *Integration) Streams() bool { return i.TransferMode == Stream }

func (i *Integration) maxTimeoutMillis() int {
	if i.Streams() {
		return MaxStreamMillis
	}
	return DefaultTimeoutMillis
}

func checkAWS(op string, i *Integration) error {
	if i.HTTPMethod == "" {
		return invalid(op, "Enumeration value for HttpMethod must be non-empty")
	}
	if err := checkVerb(op, i.HTTPMethod); err != nil {
		return err
	}
	parts := strings.SplitN(i.URI, ":", 6) // arn:aws:apigateway:us-east-1:kinesis:action/PutRecord
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "apigateway" || parts[4] == "" {
		return invalid(op, "Invalid ARN specified in the request")
	}
	kind, rest, found := strings.Cut(parts[5], "/")
	if !found || rest == "" || kind != "path" && kind != "action" {
		return invalid(op, "AWS ARN for integration must contain path or action")
	}
	if i.Credentials == "" && parts[4] != "lambda" {
		return invalid(op, "AWS integrations with services other than Lambda require an IAM role credential")
	}
	return nil
}

func checkContentHandling(op, path, value string) error {
	if value == "" {
		return nil
	}
	return oneOf(op, value, path, "CONVERT_TO_BINARY", "CONVERT_TO_TEXT")
}

// DefaultTemplate is the key of a template for any media type.
const DefaultTemplate = "$default"

func checkMediaTypes(op string, templates map[string]string) error {
	for _, t := range slices.Sorted(maps.Keys(templates)) {
		if t != DefaultTemplate && !isMediaType(t) {
			return invalid(op, "Validation Result: warnings : [], errors : [Invalid content type specified: %s]", t)
		}
	}
	return nil
}

var (
	integrationParameterPattern = regexp.MustCompile(`^integration\.request\.(path|querystring|header)\.[a-zA-Z0-9._$-]+$`)
	declaredPattern             = regexp.MustCompile(`^method\.request\.(path|querystring|header|multivaluequerystring|multivalueheader)\.([a-zA-Z0-9._$-]+)$`)
	requestSourcePattern        = regexp.MustCompile(`^(?:method\.request\.body(?:[.\[].*)?|stageVariables\.[a-zA-Z0-9_]+|context\.[a-zA-Z0-9._-]+|'[^']*')$`)
	responseSourcePattern       = regexp.MustCompile(`^(?:integration\.response\.(?:header|multivalueheader)\.[a-zA-Z0-9._$-]+|integration\.response\.body(?:[.\[].*)?|stageVariables\.[a-zA-Z0-9_]+|context\.[a-zA-Z0-9._-]+|'[^']*')$`)
)

// checkIntegrationParameters checks mappings such as integration.request.header.X: method.request.header.Y, whose
// source must be declared by the method.
func checkIntegrationParameters(op string, m *Method, params map[string]string) error {
	for _, target := range slices.Sorted(maps.Keys(params)) {
		if !integrationParameterPattern.MatchString(target) {
			return badMapping(op, target)
		}
		value := params[target]
		if declared := declaredPattern.FindStringSubmatch(value); declared != nil {
			place := strings.TrimPrefix(declared[1], "multivalue")
			if _, ok := m.RequestParameters["method.request."+place+"."+declared[2]]; !ok {
				return badParameter(op, value)
			}
			continue
		}
		if !requestSourcePattern.MatchString(value) {
			return badMapping(op, value)
		}
	}
	return nil
}

func badParameter(op, name string) error {
	return invalid(op, "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression parameter specified: %s]", name)
}

// DeleteIntegration removes a method's integration with its responses.
func (a *API) DeleteIntegration(resourceID, verb string) error {
	if _, err := a.Integration(resourceID, verb); err != nil {
		return err
	}
	a.Resources[resourceID].Methods[verb].Integration = nil
	return nil
}
