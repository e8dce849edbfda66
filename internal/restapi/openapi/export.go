package openapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"millrace/internal/fault"
	"millrace/internal/restapi"
	"millrace/internal/yamldoc"
)

// The kinds of document that an API is exported as.
const (
	ExportOAS30   = "oas30"
	ExportSwagger = "swagger"
)

// Export says what to write of an API.
type Export struct {
	Kind string // [ExportOAS30] or [ExportSwagger]
	YAML bool   // else JSON
	// Extensions are what the document holds beside plain OpenAPI: "integrations", "authorizers", "validators",
	// "apigateway" (all of these), "documentation" (an API has none here). "postman" is refused.
	Extensions []string
	Host       string // "abc123.execute-api.us-east-1.amazonaws.com"
	Stage      string
}

// Write gives the document of what a deployment of the API froze. Importing it again gives the same API but for what
// the format can't say, here as in the service: ids, resources without methods that have others below them, whether a
// response header is required, that a variable of the path is not, integration responses that are never chosen (all
// but the first with one pattern, those with the pattern "default"), that a request validator has no name, and in Swagger 2
// which media type has which model when a method has several.
//
// A model's $schema is left out: OpenAPI has no such keyword, and every model is of draft 4.
func (e Export) Write(api *restapi.API, deployed *restapi.Definition) ([]byte, error) {
	const op = "openapi.Export"
	if e.Kind != ExportOAS30 && e.Kind != ExportSwagger {
		return nil, fault.New(fault.Invalid, op, e.Kind, "No API exporter for type '%s'", e.Kind)
	}
	x := &exporter{Export: e, api: api, def: deployed}
	for _, name := range e.Extensions {
		switch name {
		case "integrations":
			x.integrations = true
		case "authorizers":
			x.authorizers = true
		case "validators":
			x.validators = true
		case "apigateway":
			x.integrations, x.authorizers, x.validators = true, true, true
		case "documentation": // there are no documentation parts to write
		case "postman":
			return nil, fault.New(fault.Unsupported, op, name, "extensions=postman is not supported by this version of Millrace: what Postman reads is written by it from the OpenAPI document")
		default:
			return nil, fault.New(fault.Invalid, op, name, "Invalid extensions parameter specified: %s. Valid options are integrations,authorizers,apigateway,validators,documentation,postman", name)
		}
	}
	x.name()
	return x.encode(x.document())
}

// exporter is one export on its way.
type exporter struct {
	Export
	api *restapi.API
	def *restapi.Definition

	integrations, authorizers, validators bool
	schemes                               names // of security schemes by authorizer id
	validatorNames                        names // by validator id
	keyScheme, iamScheme                  string
}

// encode writes a document as the service lays it out: JSON indented, YAML with every text in quotes.
func (x *exporter) encode(doc object) ([]byte, error) {
	if x.YAML {
		var b bytes.Buffer
		b.WriteString("---\n")
		enc := yaml.NewEncoder(&b)
		enc.SetIndent(2)
		if err := enc.Encode(doc.Node); err != nil {
			return nil, fault.New(fault.Internal, "openapi.Export", x.api.ID, "%w", err)
		}
		return b.Bytes(), nil
	}
	var b bytes.Buffer
	if err := json.Indent(&b, yamldoc.JSON(doc.Node), "", "  "); err != nil {
		return nil, fault.New(fault.Internal, "openapi.Export", x.api.ID, "%w", err)
	}
	return b.Bytes(), nil
}

func (x *exporter) v3() bool { return x.Kind == ExportOAS30 }

func (x *exporter) document() object {
	doc := newObject()
	info := newObject().text("title", x.api.Name)
	if x.api.Description != "" {
		info.text("description", x.api.Description)
	}
	info.text("version", cmp.Or(x.api.Version, x.api.Created.UTC().Format(time.RFC3339)))
	if x.v3() {
		doc.text("openapi", "3.0.1").set("info", info).set("servers", x.servers())
	} else {
		doc.text("swagger", "2.0").set("info", info).text("host", x.Host).text("basePath", "/"+x.Stage).set("schemes", textList("https"))
	}
	doc.set("paths", x.paths())
	schemes, schemas := x.securitySchemes(), x.models()
	if x.v3() {
		components := newObject()
		components.some("schemas", schemas).some("securitySchemes", schemes)
		doc.set("components", components) // always there
	} else {
		doc.some("securityDefinitions", schemes).some("definitions", schemas)
	}
	x.extensions(doc)
	return doc
}

func (x *exporter) servers() node {
	server := newObject().text("url", "https://"+x.Host+"/{basePath}").
		set("variables", newObject().set("basePath", newObject().text("default", x.Stage)))
	if x.integrations && x.api.DisableExecuteAPIEndpoint {
		server.set(endpointExtension, newObject().flag("disableExecuteApiEndpoint", true))
	}
	return list(server)
}

func (x *exporter) paths() object {
	paths := newObject()
	above := map[string]bool{} // resources that others lie below
	for _, r := range x.def.Resources {
		above[r.ParentID] = true
	}
	for _, r := range x.def.Sorted() {
		if len(r.Methods) == 0 && (above[r.ID] || r.ParentID == "") {
			continue // it is there by itself when what lies below is imported
		}
		item := newObject()
		for _, verb := range slices.Sorted(maps.Keys(r.Methods)) {
			key := strings.ToLower(verb)
			if verb == "ANY" {
				key = "x-amazon-apigateway-any-method"
			}
			item.set(key, x.method(r, r.Methods[verb]))
		}
		paths.set(r.Path, item)
	}
	return paths
}

func (x *exporter) method(r *restapi.Resource, m *restapi.Method) object {
	o := newObject()
	if m.OperationName != "" {
		o.text("operationId", m.OperationName)
	}
	if !x.v3() {
		if len(m.RequestModels) > 0 {
			o.set("consumes", textList(slices.Sorted(maps.Keys(m.RequestModels))...))
		}
		o.set("produces", textList(x.produced(m)...))
	}
	o.some("parameters", x.parameters(r, m))
	if x.v3() && len(m.RequestModels) > 0 {
		content := newObject()
		for _, mediaType := range slices.Sorted(maps.Keys(m.RequestModels)) {
			content.set(mediaType, newObject().set("schema", x.modelRef(m.RequestModels[mediaType])))
		}
		o.set("requestBody", newObject().set("content", content).flag("required", true))
	}
	responses := newObject()
	for _, code := range slices.Sorted(maps.Keys(m.Responses)) {
		responses.set(code, x.response(m.Responses[code]))
	}
	o.set("responses", responses)
	o.some("security", x.security(m))
	if x.validators {
		o.someText("x-amazon-apigateway-request-validator", x.validatorNames[m.ValidatorID])
	}
	if x.integrations && m.Integration != nil {
		o.set("x-amazon-apigateway-integration", integration(r, m.Integration))
	}
	return o
}

// produced lists the media types that a method of Swagger 2 answers with.
func (x *exporter) produced(m *restapi.Method) []string {
	types := map[string]bool{}
	for _, r := range m.Responses {
		for mediaType := range r.ResponseModels {
			types[mediaType] = true
		}
	}
	if len(types) == 0 {
		return []string{"application/json"}
	}
	return slices.Sorted(maps.Keys(types))
}

// parameters lists what a method declares, and in Swagger 2 the body too.
func (x *exporter) parameters(r *restapi.Resource, m *restapi.Method) node {
	all := list()
	for _, name := range slices.Sorted(maps.Keys(m.RequestParameters)) {
		place, name, ok := strings.Cut(strings.TrimPrefix(name, "method.request."), ".")
		if !ok {
			continue
		}
		if place == "querystring" {
			place = "query"
		}
		p := newObject().text("name", name).text("in", place)
		if m.RequestParameters["method.request."+inAPI(place)+"."+name] || place == "path" && hasVariable(r.Path, name) {
			p.flag("required", true)
		}
		if x.v3() {
			p.set("schema", newObject().text("type", "string"))
		} else {
			p.text("type", "string")
		}
		all.Content = append(all.Content, p.Node)
	}
	if !x.v3() {
		models := map[string]bool{}
		for _, name := range m.RequestModels {
			models[name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(models)) {
			all.Content = append(all.Content, newObject().text("in", "body").text("name", name).flag("required", true).set("schema", x.modelRef(name)).Node)
		}
	}
	return all
}

func inAPI(place string) string {
	if place == "query" {
		return "querystring"
	}
	return place
}

func (x *exporter) response(r *restapi.MethodResponse) object {
	o := newObject().text("description", r.StatusCode+" response")
	headers := newObject()
	for _, name := range slices.Sorted(maps.Keys(r.ResponseParameters)) {
		header := newObject()
		if x.v3() {
			header.set("schema", newObject().text("type", "string"))
		} else {
			header.text("type", "string")
		}
		headers.set(strings.TrimPrefix(name, "method.response.header."), header)
	}
	if !x.v3() {
		if types := slices.Sorted(maps.Keys(r.ResponseModels)); len(types) > 0 {
			o.set("schema", x.modelRef(r.ResponseModels[types[0]]))
		}
		o.some("headers", headers)
		return o
	}
	o.some("headers", headers)
	content := newObject()
	for _, mediaType := range slices.Sorted(maps.Keys(r.ResponseModels)) {
		content.set(mediaType, newObject().set("schema", x.modelRef(r.ResponseModels[mediaType])))
	}
	return o.set("content", content)
}

func (x *exporter) modelRef(name string) object {
	if x.v3() {
		return newObject().text("$ref", "#/components/schemas/"+name)
	}
	return newObject().text("$ref", "#/definitions/"+name)
}

// models writes the schemas, with references within the document.
func (x *exporter) models() object {
	all := newObject()
	for _, name := range slices.Sorted(maps.Keys(x.def.Models)) {
		schema, err := yamldoc.Parse("", []byte(x.def.Models[name].Schema))
		if err != nil || schema.Kind != yaml.MappingNode {
			schema = newObject().Node // nothing that can be a schema's document is kept under a model's name
		}
		all.set(name, x.copied(withoutKey(schema, "$schema"), name, aSchema))
	}
	return all
}

// withoutKey leaves a key of a mapping out.
func withoutKey(n *yaml.Node, name string) *yaml.Node {
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag}
	for key, value := range yamldoc.Pairs(n) {
		if key.Value != name {
			out.Content = append(out.Content, key, value)
		}
	}
	return out
}

// standing is what a piece of a schema's document stands for.
type standing uint8

const (
	aValue  standing = iota // copied as it is
	aSchema                 // or a list of them
	aNamed                  // schemas by name
)

// below gives what stands behind a keyword of a schema.
func below(keyword string) standing {
	switch {
	case slices.Contains(namedKeywords, keyword):
		return aNamed
	case slices.Contains(schemaKeywords, keyword):
		return aSchema
	}
	return aValue
}

// copied copies a document, texts in quotes. Where it is a model's schema, references are those of this document.
func (x *exporter) copied(n *yaml.Node, model string, as standing) node {
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		out.Style = yaml.DoubleQuotedStyle
	}
	if n.Kind != yaml.MappingNode {
		for _, c := range n.Content {
			out.Content = append(out.Content, x.copied(c, model, as).Node)
		}
		return node{out}
	}
	for key, value := range yamldoc.Pairs(n) {
		inner := aValue
		switch as {
		case aSchema:
			inner = below(key.Value)
		case aNamed:
			inner = aSchema
		}
		v := x.copied(value, model, inner)
		if ref, ok := yamldoc.Text(value); ok && key.Value == "$ref" && as == aSchema {
			v = text(x.localRef(ref, model))
		}
		out.Content = append(out.Content, keyNode(key.Value), v.Node)
	}
	return node{out}
}

// localRef turns a model's URL, or a reference within the model that it stands in, into one of this document.
func (x *exporter) localRef(ref, model string) string {
	name, inside := model, ""
	if rest, within := strings.CutPrefix(ref, "#"); within {
		inside = rest
	} else {
		rest, isURL := strings.CutPrefix(ref, "https://apigateway.amazonaws.com/restapis/")
		_, rest, isModel := strings.Cut(rest, "/models/")
		if name, inside, _ = strings.Cut(rest, "#"); !isURL || !isModel {
			return ref
		}
	}
	if x.def.Models[name] == nil {
		return ref
	}
	if x.v3() {
		return "#/components/schemas/" + name + inside
	}
	return "#/definitions/" + name + inside
}

// noPattern is the key of the response that has none. No status fits it as a pattern.
const noPattern = "default"

// integration writes an integration without what it has by default.
func integration(r *restapi.Resource, in *restapi.Integration) object {
	o := newObject().text("type", strings.ToLower(in.Type))
	o.someText("credentials", in.Credentials).someText("httpMethod", in.HTTPMethod).someText("uri", in.URI)
	responses := newObject()
	for _, code := range slices.Sorted(maps.Keys(in.Responses)) {
		answer := in.Responses[code]
		key := cmp.Or(answer.SelectionPattern, noPattern)
		if yamldoc.Get(responses.Node, key) != nil || answer.SelectionPattern == noPattern {
			continue // neither is ever chosen
		}
		a := newObject().text("statusCode", answer.StatusCode)
		a.some("responseParameters", textMap(answer.ResponseParameters)).some("responseTemplates", textMap(answer.ResponseTemplates))
		responses.set(key, a.someText("contentHandling", answer.ContentHandling))
	}
	o.some("responses", responses)
	o.some("requestParameters", textMap(in.RequestParameters)).some("requestTemplates", textMap(in.RequestTemplates))
	o.text("passthroughBehavior", strings.ToLower(cmp.Or(in.PassthroughBehavior, restapi.WhenNoMatch)))
	if in.TimeoutMillis != 0 && in.TimeoutMillis != restapi.DefaultTimeoutMillis {
		o.number("timeoutInMillis", in.TimeoutMillis)
	}
	o.someText("responseTransferMode", in.TransferMode)
	o.someText("contentHandling", in.ContentHandling)
	if in.CacheNamespace != r.ID {
		o.someText("cacheNamespace", in.CacheNamespace)
	}
	o.some("cacheKeyParameters", textList(in.CacheKeyParameters...))
	if in.InsecureTLS {
		o.set("tlsConfig", newObject().flag("insecureSkipVerification", true))
	}
	return o
}

const endpointExtension = "x-amazon-apigateway-endpoint-configuration"

// names are what things are called in a document, by id.
type names map[string]string

// inOrder lists the ids in the order of their names, which does not change when an import gives other ids.
func (n names) inOrder() []string {
	return slices.SortedFunc(maps.Keys(n), func(a, b string) int { return strings.Compare(n[a], n[b]) })
}

// free gives a name that none has: one that is taken gets a mark.
func (n names) free(name string) string {
	for slices.Contains(slices.Collect(maps.Values(n)), name) {
		name += "_"
	}
	return name
}

// name gives every validator and every security scheme a name of its own: authorizers have theirs, and API keys and
// signatures the service's, unless an authorizer has it.
func (x *exporter) name() {
	x.schemes, x.validatorNames = names{}, names{}
	var unnamed []string
	for _, id := range slices.Sorted(maps.Keys(x.def.Validators)) {
		if x.validatorNames[id] = x.def.Validators[id].Name; x.validatorNames[id] == "" {
			unnamed = append(unnamed, id)
		}
	}
	for _, id := range unnamed { // a document refers to it by a name
		x.validatorNames[id] = x.validatorNames.free("validator")
	}
	for _, id := range slices.Sorted(maps.Keys(x.def.Authorizers)) {
		x.schemes[id] = x.schemes.free(x.def.Authorizers[id].Name)
	}
	x.keyScheme, x.iamScheme = x.schemes.free("api_key"), x.schemes.free("sigv4")
}

// security lists what a method asks of its callers.
func (x *exporter) security(m *restapi.Method) node {
	all := list()
	add := func(scheme string) { all.Content = append(all.Content, newObject().set(scheme, list()).Node) }
	switch {
	case m.AuthorizationType == "AWS_IAM":
		add(x.iamScheme)
	case x.schemes[m.AuthorizerID] != "" && m.AuthorizationType != "NONE":
		add(x.schemes[m.AuthorizerID])
	}
	if m.APIKeyRequired {
		add(x.keyScheme)
	}
	return all
}

// securitySchemes writes the schemes that methods name, and with the authorizers every authorizer.
func (x *exporter) securitySchemes() object {
	all := newObject()
	var keys, iam bool
	used := map[string]bool{}
	for _, r := range x.def.Resources {
		for _, m := range r.Methods {
			keys, iam = keys || m.APIKeyRequired, iam || m.AuthorizationType == "AWS_IAM"
			used[m.AuthorizerID] = true
		}
	}
	for _, id := range x.schemes.inOrder() {
		if x.authorizers || used[id] {
			all.set(x.schemes[id], x.authorizer(x.def.Authorizers[id]))
		}
	}
	if keys {
		all.set(x.keyScheme, apiKeyScheme("x-api-key"))
	}
	if iam {
		scheme := apiKeyScheme("Authorization")
		if x.authorizers || x.integrations {
			scheme.text(extAuthType, "awsSigv4")
		}
		all.set(x.iamScheme, scheme)
	}
	return all
}

func apiKeyScheme(header string) object {
	return newObject().text("type", "apiKey").text("name", header).text("in", "header")
}

func (x *exporter) authorizer(a *restapi.Authorizer) object {
	header, single := strings.CutPrefix(a.IdentitySource, "method.request.header.")
	if !single || strings.ContainsRune(header, ',') {
		header = "Unused" // the service's word for it
	}
	o := apiKeyScheme(header)
	if !x.authorizers {
		return o
	}
	o.text(extAuthType, cmp.Or(a.AuthType, "custom"))
	e := newObject().text("type", strings.ToLower(a.Type)).someText("authorizerUri", a.URI).someText("authorizerCredentials", a.Credentials).
		someText("identitySource", a.IdentitySource).someText("identityValidationExpression", a.IdentityValidation)
	if a.TTLSeconds != nil {
		e.number("authorizerResultTtlInSeconds", *a.TTLSeconds)
	}
	return o.set(extAuthorizer, e)
}

// extensions writes what belongs to the API as a whole.
func (x *exporter) extensions(doc object) {
	if x.validators {
		all := newObject()
		for _, id := range x.validatorNames.inOrder() {
			v := x.def.Validators[id]
			all.set(x.validatorNames[id], newObject().flag("validateRequestParameters", v.Parameters).flag("validateRequestBody", v.Body))
		}
		doc.some("x-amazon-apigateway-request-validators", all)
	}
	if !x.integrations {
		return
	}
	responses := newObject()
	for _, kind := range slices.Sorted(maps.Keys(x.def.GatewayResponses)) {
		r, o := x.def.GatewayResponses[kind], newObject()
		if r.StatusCode != "" {
			o.set("statusCode", number(r.StatusCode))
		}
		responses.set(kind, o.some("responseParameters", textMap(r.Parameters)).some("responseTemplates", textMap(r.Templates)))
	}
	doc.some(gatewayResponsesExtension, responses)
	if policy, err := yamldoc.Parse("", []byte(x.def.Policy)); x.def.Policy != "" && err == nil {
		doc.set("x-amazon-apigateway-policy", x.copied(policy, "", aValue))
	}
	if x.def.APIKeySource != "" && x.def.APIKeySource != "HEADER" {
		doc.text("x-amazon-apigateway-api-key-source", x.def.APIKeySource)
	}
	if size := x.def.MinimumCompressionSize; size != nil {
		doc.number("x-amazon-apigateway-minimum-compression-size", *size)
	}
	if !x.v3() && x.api.DisableExecuteAPIEndpoint { // in OpenAPI 3 it belongs to the server
		doc.set(endpointExtension, newObject().flag("disableExecuteApiEndpoint", true))
	}
	doc.some("x-amazon-apigateway-binary-media-types", textList(x.def.BinaryMediaTypes...))
}
