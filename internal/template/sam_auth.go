package template

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
	"millrace/internal/yamldoc"
)

// samAuth reads Auth of AWS::Serverless::Api, as SAM expands it: into authorizers, the authorization and the keys of
// methods, and a resource policy. What needs Cognito, other accounts or VPCs, or makes resources of its own, is refused.
func (p *properties) samAuth(api *restapi.API, body *yaml.Node, stage string) {
	auth := p.nested("Auth")
	if auth == nil {
		return
	}
	auth.only("DefaultAuthorizer", "AddDefaultAuthorizerToCorsPreflight", "AddApiKeyRequiredToCorsPreflight", "ApiKeyRequired", "Authorizers",
		"ResourcePolicy", "UsagePlan", "InvokeRole")
	if v := auth.text("InvokeRole"); v != "" && v != "NONE" {
		auth.tell("InvokeRole", "is not supported by this version of Millrace: integrations have their own credentials; NONE is taken")
	}
	if plan := auth.nested("UsagePlan"); plan != nil {
		if v := plan.text("CreateUsagePlan"); v != "NONE" || len(plan.node.Content) > 2 {
			auth.tell("UsagePlan", "is not supported by this version of Millrace, but for CreateUsagePlan: NONE; write an AWS::ApiGateway::UsagePlan with its keys")
		}
	}
	authorizers := auth.samAuthorizers(api)
	auth.samMethods(api, body, authorizers)
	auth.samPolicy(api, stage)
}

// yes reads a boolean that is true unless the file says otherwise.
func (p *properties) yes(name string) bool { return !p.has(name) || p.boolean(name) }

// samMethods sets what callers of methods must show. A method whose document says so itself is left alone.
func (p *properties) samMethods(api *restapi.API, body *yaml.Node, authorizers map[string]string) {
	said := map[string]bool{}
	for _, o := range openapi.Operations(body) {
		if security := yamldoc.Get(yamldoc.Get(yamldoc.Get(yamldoc.Get(body, "paths"), o.Path), o.Key.Value), "security"); security != nil {
			said[o.Verb+" "+o.Path] = true
		}
	}
	kind, id := "", ""
	switch name := p.text("DefaultAuthorizer"); {
	case name == "":
	case name == "AWS_IAM":
		kind = "AWS_IAM"
	case authorizers[name] != "":
		kind, id = "CUSTOM", authorizers[name]
	case !p.nestedHas("Authorizers", name):
		p.tell("DefaultAuthorizer", "%q is none of Authorizers, and not AWS_IAM", name)
	}
	keyed := p.boolean("ApiKeyRequired")
	for _, r := range api.Resources {
		for verb, m := range r.Methods {
			preflight := verb == "OPTIONS"
			if kind != "" && !said[verb+" "+r.Path] && (!preflight || p.yes("AddDefaultAuthorizerToCorsPreflight")) {
				m.AuthorizationType, m.AuthorizerID = kind, id
			}
			if keyed && (!preflight || p.yes("AddApiKeyRequiredToCorsPreflight")) {
				m.APIKeyRequired = true
			}
		}
	}
}

// nestedHas reports whether a mapping of the file has a member, be it one with a problem of its own.
func (p *properties) nestedHas(name, member string) bool {
	return yamldoc.Get(yamldoc.Get(p.node, name), member) != nil
}

// samAuthorizers makes the authorizers, and gives their ids by name.
func (p *properties) samAuthorizers(api *restapi.API) map[string]string {
	ids := map[string]string{}
	all := p.nested("Authorizers")
	if all == nil {
		return ids
	}
	for key := range yamldoc.Pairs(all.node) {
		one := all.nested(key.Value)
		if one == nil {
			continue
		}
		one.only("FunctionArn", "FunctionPayloadType", "FunctionInvokeRole", "Identity", "DisableFunctionDefaultPermissions")
		z := restapi.Authorizer{Name: key.Value, Type: one.text("FunctionPayloadType"), Credentials: one.text("FunctionInvokeRole")}
		if z.Type == "" {
			z.Type = restapi.TokenAuthorizer
		}
		function := one.text("FunctionArn")
		if function == "" {
			if one.has("FunctionArn") || len(one.node.Content) == 0 {
				all.tell(key.Value, "needs the ARN of a function, FunctionArn")
			} else if !one.has("UserPoolArn") { // which only has refused
				one.tell("FunctionArn", "is required")
			}
			continue
		}
		account := &p.b.t.opts.Account
		z.URI = "arn:" + account.Partition + ":apigateway:" + account.Region + ":lambda:path/2015-03-31/functions/" + function + "/invocations"
		one.samIdentity(&z)
		made, err := api.AddAuthorizer(z, p.b.source)
		if err != nil {
			all.tell(key.Value, "%s", openapi.Reason(err))
			continue
		}
		ids[key.Value] = made.ID
	}
	return ids
}

// samSources are where the identity of a REQUEST authorizer can lie.
var samSources = []struct{ property, prefix string }{
	{"Headers", "method.request.header."}, {"QueryStrings", "method.request.querystring."}, {"StageVariables", "stageVariables."}, {"Context", "context."},
}

// samIdentity reads what an authorizer asks for; a TOKEN's is the header Authorization unless Identity says otherwise.
func (p *properties) samIdentity(z *restapi.Authorizer) {
	token := z.Type == restapi.TokenAuthorizer
	if token {
		z.IdentitySource = samSources[0].prefix + "Authorization"
	}
	identity := p.nested("Identity")
	if identity == nil {
		return
	}
	if token {
		identity.only("Header", "ValidationExpression", "ReauthorizeEvery")
		if h := identity.text("Header"); h != "" {
			z.IdentitySource = samSources[0].prefix + h
		}
		z.IdentityValidation = identity.text("ValidationExpression")
	} else {
		identity.only("Headers", "QueryStrings", "StageVariables", "Context", "ReauthorizeEvery")
		var all []string
		for _, s := range samSources {
			for _, name := range identity.texts(s.property) {
				all = append(all, s.prefix+name)
			}
		}
		z.IdentitySource = strings.Join(all, ", ")
	}
	if identity.has("ReauthorizeEvery") {
		seconds := identity.integer("ReauthorizeEvery", 0)
		z.TTLSeconds = &seconds
	}
}

// policyStatement is one that SAM writes.
type policyStatement struct {
	Effect, Principal, Action string
	Resource                  []string
	Condition                 map[string]map[string][]string `json:",omitempty"`
}

// pathParameter is what SAM writes as * in the resources of a policy.
var pathParameter = regexp.MustCompile(`\{[^}]*\}`)

// samPolicy makes the resource policy: the file's own statements, and an Allow for every method with a Deny for who is not
// on a list of addresses, or on one.
func (p *properties) samPolicy(api *restapi.API, stage string) {
	policy := p.nested("ResourcePolicy")
	if policy == nil {
		return
	}
	policy.only("CustomStatements", "IpRangeWhitelist", "IpRangeBlacklist")
	var statements []any
	var resources []string
	for _, r := range api.Sorted() {
		for _, verb := range slices.Sorted(maps.Keys(r.Methods)) {
			if verb == "ANY" {
				verb = "*"
			}
			resources = append(resources, "execute-api:/"+stage+"/"+verb+pathParameter.ReplaceAllString(strings.TrimSuffix(r.Path, "/"), "*"))
		}
	}
	statement := func(effect string, condition map[string]map[string][]string) {
		statements = append(statements, policyStatement{effect, "*", "execute-api:Invoke", resources, condition})
	}
	for _, list := range []struct{ property, operator string }{{"IpRangeWhitelist", "NotIpAddress"}, {"IpRangeBlacklist", "IpAddress"}} {
		if ranges := policy.texts(list.property); len(ranges) > 0 {
			if len(statements) == 0 {
				statement("Allow", nil)
			}
			statement("Deny", map[string]map[string][]string{list.operator: {"aws:SourceIp": ranges}})
		}
	}
	if custom := yamldoc.Get(policy.node, "CustomStatements"); custom != nil {
		if custom.Kind == yaml.SequenceNode {
			for _, n := range custom.Content {
				statements = append(statements, json.RawMessage(yamldoc.JSON(n)))
			}
		} else {
			statements = append(statements, json.RawMessage(yamldoc.JSON(custom)))
		}
	}
	if len(statements) == 0 {
		return
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err == nil {
		err = api.SetPolicy(string(text))
	}
	if err != nil {
		p.tell("ResourcePolicy", "%s", openapi.Reason(err))
	}
}
