package mapping

import (
	"strings"

	"millrace/internal/awswire"
	"millrace/vtl"
)

// Context is $context of one request. The strings that don't apply are empty.
type Context struct {
	AccountID         string
	APIID             string
	DeploymentID      string
	DomainName        string
	DomainPrefix      string
	ExtendedRequestID string
	HTTPMethod        string
	Path              string // with the stage
	Protocol          string
	RequestID         string
	RequestTime       string // 09/Apr/2024:12:34:56 +0000
	RequestTimeEpoch  string // milliseconds
	ResourceID        string
	ResourcePath      string
	Stage             string
	IsCanaryRequest   string // "true", "false"; empty when the stage has no canary
	SourceIP          string // identity.sourceIp
	UserAgent         string // identity.userAgent
	APIKey            string // identity.apiKey, of methods that require one
	APIKeyID          string // identity.apiKeyId
	Signer            Signer
	Authorizer        Params // of an authorizer's answer, by its names; principalId is the first
	// Error is why the gateway itself answers; templates of an integration never see one.
	Error ContextError

	// Given replaces all of the above: for cases that bring a context of their own.
	Given *vtl.Map
}

// ContextError is $context.error.
type ContextError struct {
	Message      string
	ResponseType string // "BAD_REQUEST_BODY"
	Validation   string // validationErrorString
}

// AppendMessage appends a message as $context.error.messageString shows it: in JSON's quotes, no message as null.
func AppendMessage(dst []byte, message string) []byte {
	if message == "" {
		return append(dst, "null"...)
	}
	return awswire.AppendString(dst, message)
}

// AppendEscaped appends a text as it stands between the quotes of a JSON string.
func AppendEscaped(dst []byte, s string) []byte {
	at := len(dst)
	dst = awswire.AppendString(dst, s)
	return append(dst[:at], dst[at+1:len(dst)-1]...)
}

// Signer is who signed a request; empty when nobody did.
type Signer struct {
	AccessKey string // identity.accessKey, and as the name of a user: identity.caller, identity.user
	AccountID string // identity.accountId
	UserARN   string // identity.userArn
}

// field gives a member by its name in templates.
func (c *Context) field(name string) (string, bool) {
	switch name {
	case "accountId":
		return c.AccountID, true
	case "apiId":
		return c.APIID, true
	case "deploymentId":
		return c.DeploymentID, true
	case "domainName":
		return c.DomainName, true
	case "domainPrefix":
		return c.DomainPrefix, true
	case "extendedRequestId":
		return c.ExtendedRequestID, true
	case "httpMethod":
		return c.HTTPMethod, true
	case "path":
		return c.Path, true
	case "protocol":
		return c.Protocol, true
	case "requestId":
		return c.RequestID, true
	case "requestTime":
		return c.RequestTime, true
	case "requestTimeEpoch":
		return c.RequestTimeEpoch, true
	case "resourceId":
		return c.ResourceID, true
	case "resourcePath":
		return c.ResourcePath, true
	case "stage":
		return c.Stage, true
	case "isCanaryRequest":
		return c.IsCanaryRequest, c.IsCanaryRequest != ""
	}
	return "", false
}

// Lookup gives a member by its dotted name behind "context.", as parameter mappings and log formats write it:
// "requestId", "identity.sourceIp".
func (c *Context) Lookup(name string) (string, bool) {
	if of, ok := strings.CutPrefix(name, "identity."); ok {
		v := c.identityField(of)
		return v, v != ""
	}
	if of, ok := strings.CutPrefix(name, "authorizer."); ok {
		return c.Authorizer.Get(of)
	}
	switch name {
	case "error.message":
		return c.Error.Message, true
	case "error.messageString":
		return string(AppendMessage(nil, c.Error.Message)), true
	case "error.responseType":
		return c.Error.ResponseType, true
	case "error.validationErrorString":
		return c.Error.Validation, true
	}
	return c.field(name)
}

// contextNames and identityNames are the keys of a call without authorization, in the service's order.
var (
	contextNames = []string{"resourceId", "resourcePath", "httpMethod", "extendedRequestId", "requestTime", "path", "accountId",
		"protocol", "requestOverride", "stage", "domainPrefix", "requestTimeEpoch", "requestId", "identity", "domainName",
		"deploymentId", "responseOverride", "apiId"}
	identityNames = []string{"cognitoIdentityPoolId", "accountId", "cognitoIdentityId", "caller", "sourceIp", "principalOrgId",
		"accessKey", "cognitoAuthenticationType", "cognitoAuthenticationProvider", "userArn", "userAgent", "user"}
)

// contextObject is $context.
type contextObject struct {
	s        *scope
	m        *vtl.Map // made when a template does more than look a name up
	identity *vtl.Map

	authorizer *vtl.Map
}

var noContext Context

func (o *contextObject) ctx() *Context {
	if o.s.in.Context == nil {
		return &noContext
	}
	return o.s.in.Context
}

// Property gives a member.
func (o *contextObject) Property(_ *vtl.Runtime, name string) (vtl.Value, error) {
	switch name {
	case "requestOverride":
		return vtl.FromObject(&o.s.overrides().request), nil
	case "responseOverride":
		return vtl.FromObject(&o.s.overrides().response), nil
	}
	c := o.ctx()
	if o.m == nil && c.Given == nil {
		if v, ok := c.field(name); ok {
			return vtl.String(v), nil
		}
		switch name {
		case "identity":
			return vtl.FromObject((*identityObject)(o)), nil
		case "authorizer":
			if len(c.Authorizer) > 0 {
				return vtl.FromMap(o.authorizerMap()), nil
			}
		}
		return vtl.Value{}, nil
	}
	return o.mapped().GetString(name), nil
}

// SetProperty adds a member of the template's own.
func (o *contextObject) SetProperty(_ *vtl.Runtime, name string, v vtl.Value) error {
	o.mapped().Put(vtl.String(name), v)
	return nil
}

func (o *contextObject) mapped() *vtl.Map {
	if o.m != nil {
		return o.m
	}
	c := o.ctx()
	m := &vtl.Map{Silent: true}
	if c.Given != nil {
		for _, e := range c.Given.Entries() {
			m.Put(e.Key, silent(e.Value))
		}
	} else {
		for _, name := range contextNames {
			switch name {
			case "requestOverride":
				m.Put(vtl.String(name), vtl.FromObject(&o.s.overrides().request))
			case "responseOverride":
				m.Put(vtl.String(name), vtl.FromObject(&o.s.overrides().response))
			case "identity":
				m.Put(vtl.String(name), vtl.FromMap(o.identityMap()))
			default:
				v, _ := c.field(name)
				m.Put(vtl.String(name), vtl.String(v))
			}
		}
		if c.IsCanaryRequest != "" {
			m.Put(vtl.String("isCanaryRequest"), vtl.String(c.IsCanaryRequest))
		}
		m.Put(vtl.String("authorizer"), vtl.FromMap(o.authorizerMap()))
	}
	o.m = m
	return m
}

// silent copies a map so that it prints as nothing, and all maps below it.
func silent(v vtl.Value) vtl.Value {
	m := v.Map()
	if m == nil {
		return v
	}
	quiet := &vtl.Map{Silent: true}
	for _, e := range m.Entries() {
		quiet.Put(e.Key, silent(e.Value))
	}
	return vtl.FromMap(quiet)
}

// authorizerMap is what an authorizer answered: empty when there is none.
func (o *contextObject) authorizerMap() *vtl.Map {
	if o.authorizer == nil {
		o.authorizer = &vtl.Map{Silent: true}
		for _, p := range o.ctx().Authorizer {
			o.authorizer.Put(vtl.String(p.Name), vtl.String(p.Value))
		}
	}
	return o.authorizer
}

func (o *contextObject) identityMap() *vtl.Map {
	if o.identity == nil {
		c := o.ctx()
		o.identity = &vtl.Map{Silent: true}
		for _, name := range identityNames {
			o.identity.Put(vtl.String(name), vtl.String(c.identityField(name)))
		}
		if c.APIKeyID != "" {
			o.identity.Put(vtl.String("apiKey"), vtl.String(c.APIKey))
			o.identity.Put(vtl.String("apiKeyId"), vtl.String(c.APIKeyID))
		}
	}
	return o.identity
}

func (c *Context) identityField(name string) string {
	switch name {
	case "sourceIp":
		return c.SourceIP
	case "userAgent":
		return c.UserAgent
	case "accountId":
		return c.Signer.AccountID
	case "accessKey", "caller", "user":
		return c.Signer.AccessKey
	case "userArn":
		return c.Signer.UserARN
	case "apiKey":
		return c.APIKey
	case "apiKeyId":
		return c.APIKeyID
	}
	return ""
}

// Call calls the methods of a map.
func (o *contextObject) Call(rt *vtl.Runtime, method string, args []vtl.Value) (vtl.Value, bool, error) {
	if method == "get" && len(args) == 1 {
		if name, ok := args[0].Str(); ok {
			v, err := o.Property(rt, name)
			return v, true, err
		}
	}
	return rt.Invoke(vtl.FromMap(o.mapped()), method, args)
}

// Values are what #foreach walks over.
func (o *contextObject) Values() []vtl.Value { return values(o.mapped()) }

// identityObject is $context.identity before a template asks for more than a name.
type identityObject contextObject

// Property gives a member of the identity.
func (o *identityObject) Property(_ *vtl.Runtime, name string) (vtl.Value, error) {
	c := (*contextObject)(o)
	switch name {
	case "sourceIp":
		return vtl.String(c.ctx().SourceIP), nil
	case "userAgent":
		return vtl.String(c.ctx().UserAgent), nil
	case "apiKey":
		if key := c.ctx().APIKey; key != "" {
			return vtl.String(key), nil
		}
	case "apiKeyId":
		if id := c.ctx().APIKeyID; id != "" {
			return vtl.String(id), nil
		}
	}
	return c.identityMap().GetString(name), nil
}

// Call calls the methods of a map.
func (o *identityObject) Call(rt *vtl.Runtime, method string, args []vtl.Value) (vtl.Value, bool, error) {
	return rt.Invoke(vtl.FromMap((*contextObject)(o).identityMap()), method, args)
}

// Values are what #foreach walks over.
func (o *identityObject) Values() []vtl.Value {
	return values((*contextObject)(o).identityMap())
}
