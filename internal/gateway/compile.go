package gateway

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"millrace/internal/gateway/mapping"
	"millrace/internal/restapi"
	"millrace/internal/restapi/schema"
)

// Warning tells of a part of a deployed definition that can't run. The rest of the API serves; the method answers 500
// where it needs that part.
type Warning struct {
	API, APIName string
	Stage        string // one that serves it
	Path, Verb   string // of the method
	Property     string // "integration.requestTemplates.application/json"
	Err          error  // of a template, a *vtl.Error with line and column
}

func (w *Warning) Error() string {
	return fmt.Sprintf("API %s (%s), stage %s: %s %s: %s: %v", w.APIName, w.API, w.Stage, w.Verb, w.Path, w.Property, w.Err)
}

// Unwrap gives the cause.
func (w *Warning) Unwrap() error { return w.Err }

// definition is what a deployment froze, compiled.
type definition struct {
	root     *node
	methods  []*method
	binary   []string // binaryMediaTypes
	warnings []Warning
	// compressFrom is how long a body has to be to be compressed; -1: none is.
	compressFrom int
	// customised are the gateway responses that the API has set, itself or for their class; the others are nil.
	customised [kinds]*gatewayResponse
	// keyOfAuthorizer: a caller's API key is what its authorizer tells, not what it sends.
	keyOfAuthorizer bool
}

// method is a verb of a resource, compiled.
type method struct {
	index        int // in definition.methods
	def          *definition
	resourceID   string
	resourcePath string
	verb         string
	broken       string // why every call is answered with 500; empty when it can run
	guard        *guard // checks who calls; nil: everybody may
	mock         bool
	keyed        bool   // apiKeyRequired
	proxy        bool   // HTTP_PROXY: what comes goes on, both ways
	kind         string // the integration's type
	passthrough  string
	handling     string      // contentHandling of the request
	timeout      int         // milliseconds
	streams      bool        // responseTransferMode is STREAM
	validation   *validation // nil: none
	parameters   []parameter
	templates    templates
	uri          string
	action       Action      // nil when the uri's service or action has variables
	address      uriTemplate // of HTTP integrations, and of calls by path
	backendVerb  string      // the integration's method; empty: the caller's
	insecure     bool        // tlsConfig.insecureSkipVerification
	choice       *choice
	responses    []*response
}

// response is an integration response, compiled.
type response struct {
	code     string
	status   int
	broken   string // why it is answered with 500
	handling string
	headers  []parameter // name is the header's
	templates
}

// templates are mapping templates by media type, in the order of their media types.
type templates struct {
	list     []template
	fallback int // index of $default, or -1
}

type template struct {
	mediaType string
	code      *mapping.Template // nil when it is empty, which passes the payload, or broken
	broken    string
}

func (t *templates) find(mediaType string) *template {
	for i := range t.list {
		if m := t.list[i].mediaType; len(m) == len(mediaType) && strings.EqualFold(m, mediaType) {
			return &t.list[i]
		}
	}
	if t.fallback >= 0 {
		return &t.list[t.fallback]
	}
	return nil
}

// byAccept gives the response template for what a caller accepts: that type's, else JSON's, else the first.
func (t *templates) byAccept(mediaType string) *template {
	if len(t.list) == 0 {
		return nil
	}
	for _, want := range [2]string{mediaType, typeJSON} {
		for i := range t.list {
			if strings.EqualFold(t.list[i].mediaType, want) {
				return &t.list[i]
			}
		}
	}
	return &t.list[0]
}

const typeJSON = "application/json"

// mediaType is a Content-Type without its parameters.
func mediaType(contentType string) string {
	if i := strings.IndexByte(contentType, ';'); i >= 0 {
		contentType = contentType[:i]
	}
	return strings.TrimSpace(contentType)
}

// compiler turns one definition into its compiled form.
type compiler struct {
	actions Actions
	models  *schema.Set
	src     *restapi.Definition
	sender  Sender // nil: HTTP integrations can't run
	def     *definition
	method  *method
}

func compileDefinition(apiID string, d *restapi.Definition, actions Actions, sender Sender) *definition {
	c := &compiler{actions: actions, sender: sender, models: schema.NewSet(apiID, d.Schemas()), src: d, def: &definition{root: &node{}, binary: slices.Clone(d.BinaryMediaTypes)}}
	c.def.keyOfAuthorizer = d.APIKeySource == "AUTHORIZER"
	children := map[string][]*restapi.Resource{}
	for _, r := range d.Sorted() {
		if r.ID != d.RootResourceID {
			children[r.ParentID] = append(children[r.ParentID], r)
		}
	}
	if root := d.Resources[d.RootResourceID]; root != nil {
		c.resource(c.def.root, root, children)
	}
	c.gatewayResponses(d)
	c.def.compressFrom = -1
	if size := d.MinimumCompressionSize; size != nil {
		c.def.compressFrom = *size
	}
	return c.def
}

func (c *compiler) resource(n *node, r *restapi.Resource, children map[string][]*restapi.Resource) {
	for _, name := range slices.Sorted(maps.Keys(r.Methods)) {
		if v, ok := verbOf(name); ok {
			n.methods[v] = c.compile(r, name, r.Methods[name])
		}
	}
	for _, child := range children[r.ID] {
		c.resource(n.add(child.PathPart), child, children)
	}
}

// warn notes what can't run, once where it stands.
func (c *compiler) warn(property string, err error) string {
	c.def.warnings = append(c.def.warnings, Warning{Path: c.method.resourcePath, Verb: c.method.verb, Property: property, Err: err})
	return property + ": " + err.Error()
}

func (c *compiler) compile(r *restapi.Resource, verb string, src *restapi.Method) *method {
	m := &method{index: len(c.def.methods), def: c.def, resourceID: r.ID, resourcePath: r.Path, verb: verb}
	m.keyed = src.APIKeyRequired
	c.method = m
	c.def.methods = append(c.def.methods, m)
	i := src.Integration
	if i == nil {
		m.broken = c.warn("integration", errors.New("the method has none"))
		return m
	}
	m.kind, m.mock, m.proxy = i.Type, i.Type == restapi.Mock, i.Type == restapi.HTTPProxy
	m.passthrough, m.handling = strings.ToUpper(i.PassthroughBehavior), i.ContentHandling
	m.timeout = i.TimeoutMillis
	if m.timeout <= 0 {
		m.timeout = restapi.DefaultTimeoutMillis
	}
	m.streams = i.Streams()
	c.refused(r, src)
	c.validation(src)
	c.parameters(i)
	if i.HTTPMethod != "ANY" {
		m.backendVerb = i.HTTPMethod
	}
	switch i.Type {
	case restapi.AWS:
		c.target(i)
	case restapi.HTTP, restapi.HTTPProxy:
		c.endpoint(i)
	}
	if m.proxy {
		return m // templates and responses are not for a proxy, on the service neither
	}
	m.templates = c.templates("integration.requestTemplates", i.RequestTemplates)
	c.responses(src, i)
	return m
}

// refused marks what restapi.Check refuses, should it be deployed all the same.
func (c *compiler) refused(r *restapi.Resource, src *restapi.Method) {
	one := restapi.Definition{Resources: map[string]*restapi.Resource{
		r.ID: {ID: r.ID, Path: r.Path, Methods: map[string]*restapi.Method{c.method.verb: src}},
	}}
	for _, p := range restapi.Check(&one) {
		c.method.broken = c.warn(p.Property, errors.New(p.Message))
	}
}

func (c *compiler) parameters(i *restapi.Integration) {
	for _, key := range slices.Sorted(maps.Keys(i.RequestParameters)) {
		to, name, ok := compileTarget(key)
		from, arg, known := compileSource(i.RequestParameters[key])
		if !ok || !known {
			c.method.broken = c.warn("integration.requestParameters."+key, fmt.Errorf("the mapping expression %q is not known", i.RequestParameters[key]))
			continue
		}
		c.method.parameters = append(c.method.parameters, parameter{to, name, from, arg})
	}
}

func (c *compiler) templates(property string, src map[string]string) templates {
	t := templates{fallback: -1}
	for _, key := range slices.Sorted(maps.Keys(src)) {
		if key == restapi.DefaultTemplate {
			t.fallback = len(t.list)
		}
		entry := template{mediaType: mediaType(key)}
		if text := src[key]; text != "" {
			code, err := mapping.Compile(c.method.verb+" "+c.method.resourcePath+" "+key, text)
			if err != nil {
				entry.broken = c.warn(property+"."+key, err)
			}
			entry.code = code
		}
		t.list = append(t.list, entry)
	}
	return t
}

func (c *compiler) responses(src *restapi.Method, i *restapi.Integration) {
	list := byStatus(i.Responses)
	c.method.choice = compileChoice(list)
	for _, r := range list {
		out := &response{code: r.StatusCode, handling: r.ContentHandling}
		for _, digit := range r.StatusCode {
			out.status = out.status*10 + int(digit-'0')
		}
		if out.status < firstStatus || out.status > lastStatus {
			out.status = 500
			out.broken = c.warn("integration.responses."+r.StatusCode, fmt.Errorf("%q is no status", r.StatusCode))
		}
		if src.Responses[r.StatusCode] == nil {
			out.broken = "Output mapping refers to an invalid method response: " + r.StatusCode
			c.warn("integration.responses."+r.StatusCode, fmt.Errorf("the method declares no response %s", r.StatusCode))
		}
		c.responseHeaders(out, r)
		out.templates = c.templates("integration.responses."+r.StatusCode+".responseTemplates", r.ResponseTemplates)
		c.method.responses = append(c.method.responses, out)
	}
}

func (c *compiler) responseHeaders(out *response, r *restapi.IntegrationResponse) {
	for _, key := range slices.Sorted(maps.Keys(r.ResponseParameters)) {
		name, ok := strings.CutPrefix(key, "method.response.header.")
		from, arg, known := compileSource(r.ResponseParameters[key])
		if !ok || !known || !isToken(name) {
			out.broken = c.warn("integration.responses."+r.StatusCode+".responseParameters."+key,
				fmt.Errorf("the mapping expression %q is not known", r.ResponseParameters[key]))
			continue
		}
		out.headers = append(out.headers, parameter{name: name, source: from, arg: arg})
	}
}
