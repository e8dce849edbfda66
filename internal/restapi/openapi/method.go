package openapi

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/restapi"
	"millrace/internal/yamldoc"
)

// verbs maps the keys of a path to methods.
var verbs = map[string]string{
	"get": "GET", "put": "PUT", "post": "POST", "delete": "DELETE", "options": "OPTIONS", "head": "HEAD", "patch": "PATCH",
	"x-amazon-apigateway-any-method": "ANY",
}

// basePath gives the path that stands before all others.
func (im *importer) basePath() string {
	if im.doc.BasePath == "" || im.doc.BasePath == BasePathIgnore {
		return ""
	}
	base := im.declaredBasePath()
	if im.doc.BasePath == BasePathSplit {
		_, rest, _ := strings.Cut(strings.TrimPrefix(base, "/"), "/")
		base = "/" + rest
	}
	return strings.TrimSuffix(base, "/")
}

func (im *importer) declaredBasePath() string {
	if im.swagger2 {
		base, _ := yamldoc.Text(yamldoc.Get(im.doc.Root, "basePath"))
		return base
	}
	servers := yamldoc.Get(im.doc.Root, "servers")
	if servers == nil || servers.Kind != yaml.SequenceNode || len(servers.Content) == 0 {
		return ""
	}
	first := servers.Content[0]
	if base, ok := yamldoc.Text(yamldoc.Get(yamldoc.Get(yamldoc.Get(first, "variables"), "basePath"), "default")); ok {
		return "/" + strings.TrimPrefix(base, "/")
	}
	url, _ := yamldoc.Text(yamldoc.Get(first, "url"))
	if _, rest, absolute := strings.Cut(url, "://"); absolute {
		_, url, _ = strings.Cut(rest, "/")
	}
	return "/" + strings.TrimPrefix(url, "/")
}

func (im *importer) paths(n *yaml.Node) {
	if yamldoc.IsNull(n) {
		im.tell(im.doc.Root, "paths", "is required")
		return
	}
	im.consumes = im.mediaTypes(yamldoc.Get(im.doc.Root, "consumes"), "consumes")
	im.produces = im.mediaTypes(yamldoc.Get(im.doc.Root, "produces"), "produces")
	base := im.basePath()
	for key, value := range yamldoc.Pairs(n) {
		where := "paths." + key.Value
		if strings.HasPrefix(key.Value, "x-") {
			continue
		}
		if !strings.HasPrefix(key.Value, "/") {
			im.tell(key, where, "a path begins with /")
			continue
		}
		res := im.resource(key, where, base+key.Value)
		if res == nil {
			continue
		}
		im.path(res, im.deref(value, where), where)
	}
}

func (im *importer) mediaTypes(n *yaml.Node, where string) []string {
	if n == nil {
		return []string{"application/json"}
	}
	return im.texts(n, where)
}

// resource finds or makes the resource of a path with all that lies above it.
func (im *importer) resource(key *yaml.Node, where, path string) *restapi.Resource {
	res := im.api.Resources[im.api.RootResourceID]
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if part == "" {
			continue
		}
		below := strings.TrimSuffix(res.Path, "/") + "/" + part
		if next, ok := im.api.Definition.ByPath(below); ok {
			res = next
			continue
		}
		next, err := im.api.AddResource(res.ID, part, im.doc.Source)
		if !im.edit(key, where, err) {
			return nil
		}
		res = next
	}
	return res
}

func (im *importer) path(res *restapi.Resource, n *yaml.Node, where string) {
	shared := yamldoc.Get(n, "parameters")
	for key, value := range yamldoc.Pairs(n) {
		verb, isMethod := verbs[key.Value]
		switch {
		case isMethod:
			o := &operation{im: im, res: res, verb: verb, key: key, node: value, where: where + "." + key.Value}
			o.run(shared)
		case key.Value == "trace":
			im.tell(key, where+".trace", "a REST API has no method TRACE")
		case key.Value == "parameters", key.Value == "summary", key.Value == "description", key.Value == "servers", key.Value == "$ref":
		case strings.HasPrefix(key.Value, "x-amazon-"):
			im.tell(key, where+"."+key.Value, "an extension that Millrace does not know")
		case strings.HasPrefix(key.Value, "x-"):
		default:
			im.tell(key, where+"."+key.Value, "no member of a path")
		}
	}
}

// operation is one method being read.
type operation struct {
	im    *importer
	res   *restapi.Resource
	verb  string
	key   *yaml.Node
	node  *yaml.Node
	where string
}

func (o *operation) at(member string) string { return o.where + "." + member }

func (o *operation) run(shared *yaml.Node) {
	im := o.im
	if o.node.Kind != yaml.MappingNode {
		im.tell(o.node, o.where, "a method is a mapping")
		return
	}
	m := restapi.Method{HTTPMethod: o.verb, AuthorizationType: "NONE", RequestParameters: map[string]bool{}, RequestModels: map[string]string{}}
	m.OperationName, _ = yamldoc.Text(yamldoc.Get(o.node, "operationId"))
	// A plain variable of the path is a parameter, whether or not the document declares it.
	for part := range strings.SplitSeq(o.res.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok && !strings.HasSuffix(part, "+}") {
			if name = strings.TrimSuffix(name, "}"); !strings.ContainsAny(name, ":,") { // which no parameter's name can hold
				m.RequestParameters["method.request.path."+name] = true
			}
		}
	}
	o.parameters(shared, &m, o.where+".parameters")
	o.parameters(yamldoc.Get(o.node, "parameters"), &m, o.at("parameters"))
	o.requestBody(&m)
	m.ValidatorID = o.validator()
	o.security(&m)
	o.members()
	if o.res.Methods[o.verb] != nil { // an import that merges replaces the method
		if !im.edit(o.key, o.where, im.api.DeleteMethod(o.res.ID, o.verb)) {
			return
		}
	}
	_, err := im.api.PutMethod(o.res.ID, m)
	if !im.edit(o.key, o.where, err) {
		return
	}
	o.responses()
	if n := yamldoc.Get(o.node, "x-amazon-apigateway-integration"); n != nil {
		o.integration(im.deref(n, o.at("x-amazon-apigateway-integration")))
	}
}

// members looks at what run does not read.
func (o *operation) members() {
	for key := range yamldoc.Pairs(o.node) {
		where := o.at(key.Value)
		switch key.Value {
		case "operationId", "parameters", "requestBody", "responses", "consumes", "produces", "x-amazon-apigateway-integration",
			"x-amazon-apigateway-request-validator":
		case "summary", "description", "tags", "deprecated", "externalDocs", "servers", "schemes", "callbacks":
		case "security", extAuth:
		default:
			if strings.HasPrefix(key.Value, "x-amazon-") {
				o.im.tell(key, where, "an extension that Millrace does not know")
			} else if !strings.HasPrefix(key.Value, "x-") {
				o.im.tell(key, where, "no member of an operation")
			}
		}
	}
}

// hasVariable reports whether a path has a variable of a name, greedy or not.
func hasVariable(path, name string) bool {
	return strings.Contains(path+"/", "/{"+name+"}/") || strings.HasSuffix(path, "/{"+name+"+}")
}

// places maps a parameter's "in" to a request parameter.
var places = map[string]string{"path": "path", "query": "querystring", "header": "header"}

func (o *operation) parameters(list *yaml.Node, m *restapi.Method, where string) {
	if list == nil {
		return
	}
	if list.Kind != yaml.SequenceNode {
		o.im.tell(list, where, "is a list")
		return
	}
	for i, n := range list.Content {
		at := fmt.Sprintf("%s[%d]", where, i)
		p := o.im.deref(n, at)
		if p == nil {
			continue
		}
		name, _ := yamldoc.Text(yamldoc.Get(p, "name"))
		in, _ := yamldoc.Text(yamldoc.Get(p, "in"))
		required, _ := yamldoc.Bool(yamldoc.Get(p, "required"))
		switch place, known := places[in]; {
		case known && name != "":
			required = required || place == "path" && hasVariable(o.res.Path, name) // OpenAPI knows no other, and it is always there
			m.RequestParameters["method.request."+place+"."+name] = required
		case in == "body":
			o.body(p, m, at)
		case in == "formData", in == "cookie": // the service passes them over
		default:
			o.im.tell(p, at, "a parameter has a name, and is in path, query, header or body")
		}
	}
}

// body reads a body parameter of Swagger 2.
func (o *operation) body(p *yaml.Node, m *restapi.Method, where string) {
	types := o.im.consumes
	if n := yamldoc.Get(o.node, "consumes"); n != nil {
		types = o.im.texts(n, o.at("consumes"))
	}
	if name := o.bodyModel(yamldoc.Get(p, "schema"), where); name != "" {
		for _, t := range types {
			m.RequestModels[t] = name
		}
	}
}

func (o *operation) requestBody(m *restapi.Method) {
	n := yamldoc.Get(o.node, "requestBody")
	if n == nil {
		return
	}
	body := o.im.deref(n, o.at("requestBody"))
	for mediaType, value := range yamldoc.Pairs(yamldoc.Get(body, "content")) {
		if name := o.bodyModel(yamldoc.Get(value, "schema"), o.at("requestBody.content."+mediaType.Value)); name != "" {
			m.RequestModels[mediaType.Value] = name
		}
	}
}

// bodyModel gives the name of the model of a body, which is made when the schema has no name.
func (o *operation) bodyModel(schema *yaml.Node, where string) string {
	if !yamldoc.IsNull(schema) && yamldoc.Get(schema, "$ref") == nil {
		return o.im.inlineModel(schema, where)
	}
	return o.model(schema, where)
}

// model gives the name of the model that a schema refers to.
func (o *operation) model(schema *yaml.Node, where string) string {
	if yamldoc.IsNull(schema) {
		return ""
	}
	ref, _ := yamldoc.Text(yamldoc.Get(schema, "$ref"))
	name := ref[strings.LastIndexByte(ref, '/')+1:]
	if !o.im.models[name] && o.im.api.Models[name] == nil {
		o.im.tell(schema, where, "the reference %q leads nowhere", ref)
		return ""
	}
	return name
}

func (o *operation) responses() {
	for key, value := range yamldoc.Pairs(yamldoc.Get(o.node, "responses")) {
		where := o.at("responses." + key.Value)
		if key.Value == "default" || strings.HasPrefix(key.Value, "x-") {
			continue // the service has no such method response
		}
		r := o.im.deref(value, where)
		if r == nil {
			continue
		}
		out := restapi.MethodResponse{StatusCode: key.Value}
		for header := range yamldoc.Pairs(yamldoc.Get(r, "headers")) {
			if out.ResponseParameters == nil {
				out.ResponseParameters = map[string]bool{}
			}
			out.ResponseParameters["method.response.header."+header.Value] = false
		}
		out.ResponseModels = o.responseModels(r, where)
		_, err := o.im.api.PutMethodResponse(o.res.ID, o.verb, out)
		o.im.edit(key, where, err)
	}
}

func (o *operation) responseModels(r *yaml.Node, where string) map[string]string {
	models := map[string]string{}
	if schema := yamldoc.Get(r, "schema"); schema != nil {
		types := o.im.produces
		if n := yamldoc.Get(o.node, "produces"); n != nil {
			types = o.im.texts(n, o.at("produces"))
		}
		if name := o.bodyModel(schema, where); name != "" {
			for _, t := range types {
				models[t] = name
			}
		}
	}
	for mediaType, value := range yamldoc.Pairs(yamldoc.Get(r, "content")) {
		if name := o.bodyModel(yamldoc.Get(value, "schema"), where+".content."+mediaType.Value); name != "" {
			models[mediaType.Value] = name
		}
	}
	if len(models) == 0 {
		return nil
	}
	return models
}

// integrationMembers are those that integration reads; others are refused.
var integrationMembers = []string{"type", "httpMethod", "uri", "credentials", "requestTemplates", "requestParameters", "passthroughBehavior",
	"contentHandling", "timeoutInMillis", "responseTransferMode", "cacheNamespace", "cacheKeyParameters", "responses", "connectionType", "tlsConfig"}

// ofHTTPAPIs are members that mean something to APIs of another kind alone; the service passes over them.
var ofHTTPAPIs = []string{"payloadFormatVersion", "integrationSubtype"}

func (o *operation) integration(n *yaml.Node) {
	im, at := o.im, o.at("x-amazon-apigateway-integration")
	if n == nil || n.Kind != yaml.MappingNode {
		im.tell(o.key, at, "an integration is a mapping")
		return
	}
	for key := range yamldoc.Pairs(n) {
		if !slices.Contains(integrationMembers, key.Value) && !slices.Contains(ofHTTPAPIs, key.Value) {
			im.later(key, at+"."+key.Value, key.Value)
		}
	}
	in := restapi.Integration{}
	text := func(member string) string {
		v := yamldoc.Get(n, member)
		s, ok := yamldoc.Text(v)
		if !ok && !yamldoc.IsNull(v) {
			im.tell(v, at+"."+member, "is a text")
		}
		return s
	}
	in.Type, in.URI, in.Credentials = strings.ToUpper(text("type")), text("uri"), text("credentials")
	in.PassthroughBehavior, in.ContentHandling = strings.ToUpper(text("passthroughBehavior")), strings.ToUpper(text("contentHandling"))
	in.CacheNamespace, in.TransferMode = text("cacheNamespace"), strings.ToUpper(text("responseTransferMode"))
	if in.HTTPMethod = strings.ToUpper(text("httpMethod")); in.HTTPMethod == "" && in.Type != restapi.Mock {
		in.HTTPMethod = o.verb
	}
	if c := text("connectionType"); c != "" && !strings.EqualFold(c, "INTERNET") {
		im.later(yamldoc.Get(n, "connectionType"), at+".connectionType", c)
	}
	if v := yamldoc.Get(n, "tlsConfig"); v != nil {
		o.tls(v, at+".tlsConfig", &in)
	}
	if v := yamldoc.Get(n, "timeoutInMillis"); v != nil {
		var ok bool
		if in.TimeoutMillis, ok = yamldoc.Int(v); !ok {
			im.tell(v, at+".timeoutInMillis", "is a number")
		}
	}
	if v := yamldoc.Get(n, "cacheKeyParameters"); v != nil {
		in.CacheKeyParameters = im.texts(v, at+".cacheKeyParameters")
	}
	in.RequestTemplates = o.textMap(yamldoc.Get(n, "requestTemplates"), at+".requestTemplates", false)
	in.RequestParameters = o.textMap(yamldoc.Get(n, "requestParameters"), at+".requestParameters", true)
	before := len(im.problems)
	o.served(n, at, &in)
	if len(im.problems) > before {
		return
	}
	_, err := im.api.PutIntegration(o.res.ID, o.verb, in)
	if im.edit(yamldoc.Key(n, "type"), at, err) {
		o.integrationResponses(yamldoc.Get(n, "responses"), at+".responses")
	}
}

// tls reads a tlsConfig.
func (o *operation) tls(n *yaml.Node, at string, in *restapi.Integration) {
	for key, value := range yamldoc.Pairs(n) {
		if key.Value != "insecureSkipVerification" {
			o.im.later(key, at+"."+key.Value, key.Value)
			continue
		}
		insecure, ok := yamldoc.Bool(value)
		if !ok {
			o.im.tell(value, at+"."+key.Value, "is true or false")
		}
		in.InsecureTLS = insecure
	}
}

// served refuses what the gateway can't run, at the member that asks for it.
func (o *operation) served(n *yaml.Node, at string, in *restapi.Integration) {
	probe := &restapi.Definition{RootResourceID: "r", Resources: map[string]*restapi.Resource{
		"r": {ID: "r", Path: o.res.Path, Methods: map[string]*restapi.Method{o.verb: {HTTPMethod: o.verb, Integration: in}}}}}
	for _, p := range restapi.Check(probe) {
		member := strings.TrimPrefix(p.Property, "integration.")
		place := yamldoc.Get(n, member)
		if place == nil {
			place = n
		}
		o.im.tell(place, at+"."+member, "%s", p.Message)
	}
}

// textMap reads a mapping of texts. Lenient: other values are dropped with a warning, as the service does.
func (o *operation) textMap(n *yaml.Node, where string, lenient bool) map[string]string {
	if yamldoc.IsNull(n) {
		return nil
	}
	m := map[string]string{}
	for key, value := range yamldoc.Pairs(n) {
		text, ok := yamldoc.Text(value)
		switch {
		case ok:
			m[key.Value] = text
		case lenient:
			o.im.warn(where+"."+key.Value, "is no text, and is dropped")
		default:
			o.im.tell(value, where+"."+key.Value, "is a text")
		}
	}
	return m
}

func (o *operation) integrationResponses(n *yaml.Node, where string) {
	byStatus := map[string]string{}
	for key, value := range yamldoc.Pairs(n) {
		at := where + "." + key.Value
		for member := range yamldoc.Pairs(value) {
			if !slices.Contains([]string{"statusCode", "responseTemplates", "responseParameters", "contentHandling"}, member.Value) {
				o.im.later(member, at+"."+member.Value, member.Value)
			}
		}
		r := restapi.IntegrationResponse{
			ResponseTemplates:  o.textMap(yamldoc.Get(value, "responseTemplates"), at+".responseTemplates", false),
			ResponseParameters: o.textMap(yamldoc.Get(value, "responseParameters"), at+".responseParameters", true),
		}
		r.StatusCode, _ = yamldoc.Text(yamldoc.Get(value, "statusCode"))
		if c, ok := yamldoc.Text(yamldoc.Get(value, "contentHandling")); ok {
			r.ContentHandling = strings.ToUpper(c)
		}
		if key.Value != "default" {
			r.SelectionPattern = key.Value
			if _, err := restapi.CompileSelectionPattern(key.Value); err != nil {
				o.im.tell(key, at, "%v", err)
				continue
			}
		}
		if other, taken := byStatus[r.StatusCode]; taken {
			o.im.warn(at, "takes the place of %s: there is one integration response for status %s", other, r.StatusCode)
		}
		byStatus[r.StatusCode] = key.Value
		_, err := o.im.api.PutIntegrationResponse(o.res.ID, o.verb, r)
		o.im.edit(key, at, err)
	}
}
