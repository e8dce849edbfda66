package restapi

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"millrace/internal/ids"
	"millrace/internal/policy"
)

// MaxAuthorizers bounds those of one API; the service takes 10, and more on request.
const MaxAuthorizers = 100

// The TTL of an authorizer's answers in seconds: unless it says otherwise, and at most.
const (
	DefaultAuthorizerTTLSeconds = 300
	MaxAuthorizerTTLSeconds     = 3600
)

// TTL is how many seconds the authorizer's answers are kept.
func (z *Authorizer) TTL() int {
	if z.TTLSeconds == nil {
		return DefaultAuthorizerTTLSeconds
	}
	return *z.TTLSeconds
}

// Function is the ARN of the function that the authorizer's URI names, "" when it names none.
func (z *Authorizer) Function() string {
	if m := authorizerURI.FindStringSubmatch(z.URI); m != nil {
		return m[1]
	}
	return ""
}

var authorizerURI = regexp.MustCompile(`^arn:[a-z-]+:apigateway:[a-z0-9-]+:lambda:path/2015-03-31/functions/(arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:function:[A-Za-z0-9_:$-]+)/invocations$`)

// Sources are the identity sources, one by one.
func (z *Authorizer) Sources() []string {
	var all []string
	for s := range strings.SplitSeq(z.IdentitySource, ",") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// CompileIdentityValidation reads an expression that a whole token has to fit.
func CompileIdentityValidation(expr string) (*regexp.Regexp, error) {
	return CompileSelectionPattern(expr) // of the same dialect, and as whole
}

// Authorizer gives an authorizer of the working copy.
func (a *API) Authorizer(id string) (*Authorizer, error) {
	if z := a.Authorizers[id]; z != nil {
		return z, nil
	}
	return nil, notFound("restapi.Authorizer", "Invalid Authorizer identifier specified")
}

// AddAuthorizer adds an authorizer under a new id.
func (a *API) AddAuthorizer(z Authorizer, source *ids.Source) (*Authorizer, error) {
	const op = "restapi.AddAuthorizer"
	if len(a.Authorizers) >= MaxAuthorizers {
		return nil, tooMany(op, "Maximum number of Authorizers for this API has been reached: %d", MaxAuthorizers)
	}
	if err := a.checkAuthorizer(op, &z); err != nil {
		return nil, err
	}
	z.ID = freshID(source, func(id string) bool { return a.Authorizers[id] != nil })
	if a.Authorizers == nil {
		a.Authorizers = map[string]*Authorizer{}
	}
	a.Authorizers[z.ID] = &z
	return &z, nil
}

// identitySourcePattern is one place where a caller's identity may stand.
var identitySourcePattern = regexp.MustCompile(`^(method\.request\.(header|querystring)\.[A-Za-z0-9._$-]+|stageVariables\.[A-Za-z0-9_]+|context\.[A-Za-z0-9.]+)$`)

func (a *API) checkAuthorizer(op string, z *Authorizer) error {
	switch {
	case z.Name == "":
		return invalid(op, "Authorizer name cannot be empty")
	case z.Type == "COGNITO_USER_POOLS":
		return unsupported(op, "authorizer type COGNITO_USER_POOLS", "there are no user pools; use TOKEN or REQUEST")
	case z.Type != TokenAuthorizer && z.Type != RequestAuthorizer:
		return invalid(op, "Invalid authorizer type specified. Valid options are TOKEN,REQUEST,COGNITO_USER_POOLS")
	case z.TTL() < 0 || z.TTL() > MaxAuthorizerTTLSeconds:
		return invalid(op, "Authorizer result TTL must be between 0 and %d seconds", MaxAuthorizerTTLSeconds)
	case strings.Contains(z.URI, "${"):
		return unsupported(op, "authorizerUri", "stage variables do not stand in it: write the function's ARN")
	case z.Function() == "":
		return invalid(op, "Invalid Authorizer URI: %s. Authorizer URI should be a valid API Gateway ARN that represents a Lambda function invocation.", z.URI)
	}
	for other, have := range a.Authorizers {
		if have.Name == z.Name && other != z.ID {
			return conflict(op, "Authorizer name must be unique. Authorizer %s already exists in this RestApi.", z.Name)
		}
	}
	return checkIdentity(op, z)
}

func checkIdentity(op string, z *Authorizer) error {
	sources := z.Sources()
	for _, s := range sources {
		if !identitySourcePattern.MatchString(s) {
			return invalid(op, "Invalid identity source specified: %s", s)
		}
	}
	if z.Type == RequestAuthorizer {
		switch {
		case z.IdentityValidation != "":
			return invalid(op, "An identity validation expression is for authorizers of type TOKEN")
		case len(sources) == 0 && z.TTL() > 0:
			return invalid(op, "An identity source is required when authorizer results are cached: set one, or a TTL of 0")
		}
		return nil
	}
	if len(sources) != 1 || !strings.HasPrefix(sources[0], "method.request.header.") {
		return invalid(op, "The identity source of an authorizer of type TOKEN is one header: method.request.header.{name}")
	}
	if z.IdentityValidation != "" {
		if _, err := CompileIdentityValidation(z.IdentityValidation); err != nil {
			return unsupported(op, "identityValidationExpression", err.Error())
		}
	}
	return nil
}

// DeleteAuthorizer removes an authorizer that no method asks.
func (a *API) DeleteAuthorizer(id string) error {
	if _, err := a.Authorizer(id); err != nil {
		return err
	}
	for _, r := range a.Sorted() {
		for _, verb := range slices.Sorted(maps.Keys(r.Methods)) {
			if r.Methods[verb].AuthorizerID == id {
				return conflict("restapi.DeleteAuthorizer", "Cannot delete authorizer '%s', is referenced in method: %s/%s", id, strings.TrimSuffix(r.Path, "/"), verb)
			}
		}
	}
	delete(a.Authorizers, id)
	if len(a.Authorizers) == 0 {
		a.Authorizers = nil
	}
	return nil
}

// PatchAuthorizer changes an authorizer.
func (a *API) PatchAuthorizer(id string, patches []Patch) (*Authorizer, error) {
	const op = "restapi.PatchAuthorizer"
	z, err := a.Authorizer(id)
	if err != nil {
		return nil, err
	}
	for _, p := range patches {
		if strings.HasPrefix(p.Path, "/providerARNs") {
			return nil, unsupported(op, "providerARNs", "there are no user pools")
		}
		if err := patchAuthorizer(op, z, p); err != nil {
			return nil, err
		}
	}
	return z, a.checkAuthorizer(op, z)
}

func patchAuthorizer(op string, z *Authorizer, p Patch) error {
	members := map[string]*string{
		"/name": &z.Name, "/type": &z.Type, "/authType": &z.AuthType, "/authorizerUri": &z.URI, "/authorizerCredentials": &z.Credentials,
		"/identitySource": &z.IdentitySource, "/identityValidationExpression": &z.IdentityValidation,
	}
	to, known := members[p.Path]
	isTTL := p.Path == "/authorizerResultTtlInSeconds"
	switch {
	case !known && !isTTL:
		return invalid(op, "Invalid patch path %s", p.Path)
	case p.Op != OpReplace:
		return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
	case known:
		*to = p.Value
	case p.Value == "":
		z.TTLSeconds = nil
	default:
		seconds, err := strconv.Atoi(p.Value)
		if err != nil {
			return invalid(op, "Authorizer result TTL must be between 0 and %d seconds", MaxAuthorizerTTLSeconds)
		}
		z.TTLSeconds = &seconds
	}
	return nil
}

// SetPolicy sets the resource policy; an empty one removes it.
func (a *API) SetPolicy(text string) error {
	if text == "" {
		a.Policy = ""
		return nil
	}
	if _, err := policy.ParseResource(text, policy.Scope{}); err != nil {
		return invalid("restapi.SetPolicy", "Invalid policy document. Please check the policy syntax and ensure that Principals are valid. policy: %v", err)
	}
	a.Policy = text
	return nil
}
