package openapi

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/restapi"
	"millrace/internal/yamldoc"
)

// The extensions that say who may call.
const (
	extAuthorizer = "x-amazon-apigateway-authorizer"
	extAuthType   = "x-amazon-apigateway-authtype"
	extAuth       = "x-amazon-apigateway-auth"
)

// scheme is a security scheme as API Gateway reads it.
type scheme struct {
	authorizer string // id, of one with the extension
	signed     bool   // awsSigv4
	apiKey     bool   // x-api-key
	bad        bool   // told already
}

// securitySchemes reads securityDefinitions, or components.securitySchemes: those with an authorizer make it.
func (im *importer) securitySchemes(n *yaml.Node, where string) {
	if im.schemes == nil {
		im.schemes = map[string]scheme{}
	}
	for key, value := range yamldoc.Pairs(n) {
		at := where + "." + key.Value
		if value = im.deref(value, at); value != nil {
			im.schemes[key.Value] = im.scheme(key, value, at)
		}
	}
}

func (im *importer) scheme(key, n *yaml.Node, where string) (s scheme) {
	text := func(member string) string { v, _ := yamldoc.Text(yamldoc.Get(n, member)); return v }
	before := len(im.problems)
	for member := range yamldoc.Pairs(n) {
		if strings.HasPrefix(member.Value, "x-amazon-") && member.Value != extAuthorizer && member.Value != extAuthType {
			im.tell(member, where+"."+member.Value, "an extension that Millrace does not know")
		}
	}
	authType := text(extAuthType)
	if a := yamldoc.Get(n, extAuthorizer); a != nil {
		s.authorizer = im.authorizer(key.Value, text("name"), authType, a, where+"."+extAuthorizer)
	} else {
		s.signed = strings.EqualFold(authType, "awsSigv4")
		s.apiKey = authType == "" && text("type") == "apiKey" && strings.EqualFold(text("name"), "x-api-key") && text("in") == "header"
	}
	s.bad = len(im.problems) > before
	return s
}

var authorizerMembers = []string{"type", "authorizerUri", "authorizerCredentials", "identitySource", "identityValidationExpression", "authorizerResultTtlInSeconds"}

// authorizer makes an authorizer, or changes the one of its name, and gives its id. header is where the scheme says
// that a token stands.
func (im *importer) authorizer(name, header, authType string, n *yaml.Node, where string) (id string) {
	text := func(member string) string {
		v := yamldoc.Get(n, member)
		s, ok := yamldoc.Text(v)
		if !ok && !yamldoc.IsNull(v) {
			im.tell(v, where+"."+member, "is a text")
		}
		return s
	}
	for member := range yamldoc.Pairs(n) {
		if !slices.Contains(authorizerMembers, member.Value) {
			im.later(member, where+"."+member.Value, member.Value)
			return ""
		}
	}
	z := restapi.Authorizer{
		Name: name, Type: strings.ToUpper(text("type")), AuthType: authType, URI: text("authorizerUri"), Credentials: text("authorizerCredentials"),
		IdentitySource: text("identitySource"), IdentityValidation: text("identityValidationExpression"),
	}
	if z.Type == restapi.TokenAuthorizer && z.IdentitySource == "" {
		z.IdentitySource = "method.request.header." + header
	}
	if v := yamldoc.Get(n, "authorizerResultTtlInSeconds"); v != nil {
		ttl, ok := yamldoc.Int(v)
		if !ok {
			im.tell(v, where+".authorizerResultTtlInSeconds", "is a number of seconds")
		}
		z.TTLSeconds = &ttl
	}
	for _, have := range im.api.Authorizers {
		if have.Name == name { // an import that merges changes the authorizer
			id, had := have.ID, *have
			delete(im.api.Authorizers, id)
			made, err := im.api.AddAuthorizer(z, im.doc.Source)
			if !im.edit(n, where, err) {
				im.api.Authorizers[id] = &had
				return id
			}
			delete(im.api.Authorizers, made.ID)
			made.ID = id
			im.api.Authorizers[id] = made
			return id
		}
	}
	made, err := im.api.AddAuthorizer(z, im.doc.Source)
	if !im.edit(n, where, err) {
		return ""
	}
	return made.ID
}

// security sets who may call a method: by the operation's own requirements, else by the document's.
func (o *operation) security(m *restapi.Method) {
	im := o.im
	own := yamldoc.Get(o.node, "security")
	list, where := own, o.at("security")
	if list == nil {
		list, where = yamldoc.Get(im.doc.Root, "security"), "security"
	}
	auth := yamldoc.Get(o.node, extAuth)
	if auth != nil {
		t, _ := yamldoc.Text(yamldoc.Get(auth, "type"))
		switch t = strings.ToUpper(t); t {
		case restapi.IAM:
			m.AuthorizationType = t
		case restapi.Open:
		default:
			im.later(auth, o.at(extAuth), fmt.Sprintf("the authorization type %q", t))
			return
		}
	}
	if yamldoc.IsNull(list) {
		return
	}
	if list.Kind != yaml.SequenceNode {
		im.tell(list, where, "is a list")
		return
	}
	for _, requirement := range list.Content {
		for key, scopes := range yamldoc.Pairs(requirement) {
			if auth != nil && key.Value != samOpen && !im.schemes[key.Value].apiKey {
				if own != nil {
					im.tell(key, where+"."+key.Value, "%s says who may call, too", extAuth)
				}
				continue // the method's own word counts, not the document's
			}
			o.require(m, key, scopes, where+"."+key.Value)
		}
	}
}

// samOpen is the scheme that SAM names for a method that is open.
const samOpen = "NONE"

func (o *operation) require(m *restapi.Method, key, scopes *yaml.Node, where string) {
	im := o.im
	s, known := im.schemes[key.Value]
	if im.badSchemes[key] {
		return
	}
	into := func(kind, authorizer string) {
		if m.AuthorizationType != restapi.Open && (m.AuthorizationType != kind || m.AuthorizerID != authorizer) {
			im.tell(key, where, "a method has one authorizer, and another one stands before")
			return
		}
		m.AuthorizationType, m.AuthorizerID = kind, authorizer
	}
	switch {
	case s.bad, !known && key.Value == samOpen:
	case s.authorizer != "" && len(scopes.Content) > 0:
		im.later(scopes, where, "authorizationScopes")
	case s.authorizer != "":
		into(restapi.Custom, s.authorizer)
	case s.signed:
		into(restapi.IAM, "")
	case s.apiKey:
		m.APIKeyRequired = true
	case known:
		im.badSchemes[key] = true
		im.tell(key, where, "API Gateway does not check this security scheme, and would leave the method open: it knows schemes with %s, "+
			"%s awsSigv4, and the API key x-api-key", extAuthorizer, extAuthType)
	default:
		im.badSchemes[key] = true
		im.tell(key, where, "there is no security scheme %s", key.Value)
	}
}

// policy sets the resource policy.
func (im *importer) policy(n *yaml.Node, where string) {
	text, isText := yamldoc.Text(n)
	if !isText {
		text = string(yamldoc.JSON(n))
	}
	im.edit(n, where, im.api.SetPolicy(text))
}
