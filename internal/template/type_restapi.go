package template

import (
	"context"
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/gateway/mapping/lint"
	"millrace/internal/ids"
	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
	"millrace/internal/yamldoc"
)

// apiSpec is a REST API as the file says it: built anew each time, and brought under the ids of the one that is there
// when the plan is made.
type apiSpec struct {
	*resource
	id          string
	api         *restapi.API
	resources   map[string]string // resource ids by logical id; "" is the root
	validators  map[string]string // ids of request validators by logical id
	authorizers map[string]string // ids of authorizers by logical id
	deployed    bool
	tags        map[string]string
	stages      []*stageSpec
	places      map[string]place // of methods in the file, by "POST /v1"
	deploys     []string         // logical ids of its deployments
	modelPlaces map[string]place // of models in the file, by name
}

// place is where something stands in the file.
type place struct {
	node  *yaml.Node
	where string
}

type stageSpec struct {
	logical, name, description string
	variables                  map[string]string
	settings                   map[string]*restapi.MethodSetting
	tracing                    bool
	tags                       map[string]string
	access                     *restapi.AccessLog
	canary                     *canarySpec
	canaryOnly                 bool // a deployment's canary: the stage is another's to make
	retain                     bool
}

// Ids of resources and deployments are the node's to give. Until it has, a token stands for each: where a property
// names a resource it is read by its token, and in outputs tokens are replaced at the end.
const tokenMark = "{{millrace:"

func token(kind, logical string) string { return tokenMark + kind + ":" + logical + "}}" }

func fromToken(kind, text string) (logical string, ok bool) {
	rest, ok := strings.CutPrefix(text, "{{millrace:"+kind+":")
	logical, closed := strings.CutSuffix(rest, "}}")
	return logical, ok && closed
}

const apiIDLength = 10

// newAPI begins an API.
func (b *build) newAPI(r *resource, id string, spec restapi.NewAPI) *apiSpec {
	api, err := restapi.New(spec, b.source, zeroTime)
	if err != nil {
		b.tell(r.key, "Resources."+r.logical, "%s", openapi.Reason(err))
		return nil
	}
	api.ID = id
	s := &apiSpec{resource: r, id: id, api: api, resources: map[string]string{"": api.RootResourceID}, validators: map[string]string{}, authorizers: map[string]string{}, modelPlaces: map[string]place{}, tags: spec.Tags, places: map[string]place{}}
	b.apis = append(b.apis, s)
	return s
}

// importBody reads an OpenAPI document into an API.
func (b *build) importBody(s *apiSpec, doc openapi.Document) (warnings []string) {
	prefix := doc.Where
	if prefix != "" {
		prefix += "."
	}
	for _, o := range openapi.Operations(doc.Root) {
		s.places[o.Verb+" "+o.Path] = place{o.Key, prefix + o.Where}
	}
	for _, e := range openapi.Templates(doc.Root) {
		b.embedded = append(b.embedded, embeddedTemplate{place{e.Node, prefix + e.Where}, e.MediaType, e.URI, e.Request, e.Gateway})
	}
	warnings, err := openapi.Import(context.Background(), doc, s.api)
	var problems yamldoc.Problems
	if errors.As(err, &problems) {
		b.problems = append(b.problems, problems...)
	}
	b.notes = append(b.notes, warnings...)
	return warnings
}

func apiWithID(b *build, id string) *apiSpec {
	for _, s := range b.apis {
		if s.id == id {
			return s
		}
	}
	return nil
}

// api finds the API that RestApiId names.
func (p *properties) api() *apiSpec {
	id := p.text("RestApiId")
	s := apiWithID(p.b, id)
	if s == nil && id != "" {
		p.tell("RestApiId", "%q is no REST API of this file", id)
	}
	return s
}

var restAPIType = &resourceType{
	name: "AWS::ApiGateway::RestApi", phase: phaseAPI,
	properties: map[string]string{
		"Name": served, "Description": served, "Body": served, "BinaryMediaTypes": served, "ApiKeySourceType": served,
		"DisableExecuteApiEndpoint": served, "Tags": served, "FailOnWarnings": served, "MinimumCompressionSize": served, "Mode": "a body always takes the place of the one before",
		"Parameters": "of Body: basepath, ignore and endpointConfigurationTypes",
		"Policy":     served, "EndpointConfiguration": "kept and shown: the endpoint is this node",
	},
	generate: func(b *build, _ *resource) string { return b.source.String(ids.LowerAlnum, apiIDLength) },
	attributes: map[string]func(*build, *resource, string) string{
		"RestApiId":      func(_ *build, _ *resource, id string) string { return id },
		"RootResourceId": func(_ *build, r *resource, _ string) string { return token("root", r.logical) },
	},
	make: func(b *build, r *resource, p *properties) bool {
		id, ok := b.physical(r)
		if !ok {
			return true
		}
		spec := restapi.NewAPI{
			Name: p.text("Name"), Description: p.text("Description"), BinaryMediaTypes: p.texts("BinaryMediaTypes"),
			APIKeySource: p.text("ApiKeySourceType"), DisableExecuteAPIEndpoint: p.boolean("DisableExecuteApiEndpoint"), Tags: p.tags("Tags"),
			NoModels: p.has("Body"), MinimumCompressionSize: p.compressionSize(),
		}
		if e := p.nested("EndpointConfiguration"); e != nil {
			e.only("Types", "IpAddressType")
			spec.EndpointTypes, spec.IPAddressType = e.texts("Types"), e.text("IpAddressType")
		}
		doc := openapi.Document{Root: yamldoc.Get(p.node, "Body"), File: b.file, Where: p.at("Body"), Source: b.source}
		p.importParameters(&doc, &spec)
		if spec.Name == "" {
			spec.Name, _ = yamldoc.Text(yamldoc.Get(yamldoc.Get(yamldoc.Get(p.node, "Body"), "info"), "title"))
		}
		if spec.Name == "" {
			p.tell("Name", "is required")
			return true
		}
		s := b.newAPI(r, id, spec)
		if s != nil && p.has("Policy") {
			defer p.policy(s.api) // after the body, which may have one of its own
		}
		if s != nil && p.has("Body") {
			warnings := b.importBody(s, doc)
			if p.boolean("FailOnWarnings") && len(warnings) > 0 {
				p.tell("Body", "warnings, and FailOnWarnings is set: %s", strings.Join(warnings, "; "))
			}
			if p.has("Name") {
				s.api.Name = spec.Name
			}
		}
		return true
	},
}

// importParameters reads Parameters: how Body is to be read.
func (p *properties) importParameters(doc *openapi.Document, spec *restapi.NewAPI) {
	parameters := p.nested("Parameters")
	if parameters == nil {
		return
	}
	if doc.Root == nil {
		p.tell("Parameters", "say how Body is read, and there is none")
	}
	parameters.only("basepath", "ignore", "endpointConfigurationTypes")
	switch v := parameters.text("basepath"); v {
	case "", openapi.BasePathIgnore, openapi.BasePathPrepend, openapi.BasePathSplit:
		doc.BasePath = v
	default:
		parameters.tell("basepath", "Invalid basepath parameter specified. Valid options are ignore,prepend,split")
	}
	if v := parameters.text("ignore"); v == "documentation" {
		doc.IgnoreDocumentation = true
	} else if v != "" {
		parameters.tell("ignore", "Invalid ignore parameter specified. Valid options are documentation")
	}
	if v := parameters.text("endpointConfigurationTypes"); v != "" {
		spec.EndpointTypes = []string{v}
	}
}

var apiResourceType = &resourceType{
	name: "AWS::ApiGateway::Resource", phase: phaseResource,
	properties: map[string]string{"RestApiId": served, "ParentId": served, "PathPart": served},
	required:   []string{"RestApiId", "ParentId", "PathPart"},
	generate:   func(_ *build, r *resource) string { return token("resource", r.logical) },
	attributes: map[string]func(*build, *resource, string) string{"ResourceId": func(_ *build, r *resource, id string) string { return id }},
	make: func(b *build, r *resource, p *properties) bool {
		s, token := p.api(), p.text("ParentId")
		if s == nil || token == "" {
			return true
		}
		parent, known := s.resourceID(token)
		if !known {
			return false // it may follow
		}
		made, err := s.api.AddResource(parent, p.text("PathPart"), b.source)
		if err != nil {
			p.tell("PathPart", "%s", openapi.Reason(err))
			s.resources[r.logical] = parent // what lies below has its own problems
			return true
		}
		s.resources[r.logical] = made.ID
		return true
	},
}

// resourceID gives the id that a token stands for.
func (s *apiSpec) resourceID(text string) (id string, known bool) {
	if logical, ok := fromToken("root", text); ok && logical == s.logical {
		return s.resources[""], true
	}
	logical, ok := fromToken("resource", text)
	if !ok {
		return "", false
	}
	id, known = s.resources[logical]
	return id, known
}

const modelTypeName = "AWS::ApiGateway::Model"

var modelType = &resourceType{
	name: modelTypeName, phase: phaseModel, nameProperty: "Name",
	note:       "JSON Schema draft 4; a pattern that looks around or refers back is refused",
	properties: map[string]string{"RestApiId": served, "Name": served, "ContentType": served, "Description": served, "Schema": served},
	required:   []string{"RestApiId"},
	generate:   func(b *build, r *resource) string { return r.logical },
	make: func(b *build, r *resource, p *properties) bool {
		s := p.api()
		name, ok := b.physical(r)
		if s == nil || !ok {
			return true
		}
		m := restapi.Model{Name: name, ContentType: p.text("ContentType"), Description: p.text("Description"), Schema: "{}"}
		if m.ContentType == "" {
			m.ContentType = "application/json"
		}
		if schema := yamldoc.Get(p.node, "Schema"); schema != nil {
			if text, isText := yamldoc.Text(schema); isText {
				m.Schema = text
			} else {
				m.Schema = string(yamldoc.JSON(schema))
			}
		}
		if s.api.Models[name] != nil {
			p.tell("Name", "Model name already exists for this REST API")
			return true
		}
		if _, err := s.api.PutModel(m, b.modelNames(s), b.source); err != nil {
			p.tell("Schema", "%s", openapi.Reason(err))
		}
		s.modelPlaces[name] = place{r.key, p.at("Schema")}
		return true
	},
}

// modelNames lists the models that the file makes for an API: they may refer to one another in any order.
func (b *build) modelNames(s *apiSpec) (names []string) {
	for _, r := range b.ofPhase(phaseModel) {
		if r.kind.name == modelTypeName {
			if name, ok := b.physical(r); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

var accountType = &resourceType{
	name:       "AWS::ApiGateway::Account",
	properties: map[string]string{"CloudWatchRoleArn": "kept and shown: logs need no role here"},
	attributes: map[string]func(*build, *resource, string) string{"Id": func(_ *build, _ *resource, id string) string { return id }},
	make: func(b *build, r *resource, p *properties) bool {
		b.account = &restapi.Account{CloudWatchRoleARN: p.text("CloudWatchRoleArn")}
		return keepRecord(b, r, p)
	},
}

var deploymentType = &resourceType{
	name: "AWS::ApiGateway::Deployment", phase: phaseDeployment,
	note: "a change of the API is deployed at the next up, also when the logical id has not changed",
	properties: map[string]string{"RestApiId": served, "StageName": served, "StageDescription": served, "Description": "the node words its own",
		"DeploymentCanarySettings": "the changed definition is the canary's, and the stage stays at its own, until these settings leave the file"},
	required:   []string{"RestApiId"},
	generate:   func(_ *build, r *resource) string { return token("deployment", r.logical) },
	attributes: map[string]func(*build, *resource, string) string{"DeploymentId": func(_ *build, _ *resource, id string) string { return id }},
	make: func(b *build, r *resource, p *properties) bool {
		s := p.api()
		if s == nil {
			return true
		}
		s.deployed, s.deploys = true, append(s.deploys, r.logical)
		spec := &stageSpec{logical: r.logical, name: p.text("StageName"), retain: r.retain}
		p.stageDescription(spec)
		if c := p.canary("DeploymentCanarySettings", ""); c != nil {
			spec.canary, spec.canaryOnly = c, true
			if spec.name == "" {
				p.tell("DeploymentCanarySettings", "needs a StageName")
			}
		}
		if spec.name != "" {
			s.stages = append(s.stages, spec)
		}
		return true
	},
}

var stageType = &resourceType{
	name: "AWS::ApiGateway::Stage", phase: phaseStage, nameProperty: "StageName",
	properties: map[string]string{
		"RestApiId": served, "DeploymentId": served, "StageName": served, "Description": served, "Variables": served, "MethodSettings": served,
		"AccessLogSetting": served, "CanarySetting": served, "CacheClusterEnabled": "false alone: there is no response cache",
		"Tags": served, "TracingEnabled": "kept and shown: traces are not collected",
	},
	required: []string{"RestApiId", "StageName", "DeploymentId"},
	make: func(b *build, r *resource, p *properties) bool {
		s := p.api()
		if s == nil {
			return true
		}
		own, ok := fromToken("deployment", p.text("DeploymentId"))
		if !ok && p.has("DeploymentId") {
			p.tell("DeploymentId", "%q is no deployment of this file", p.text("DeploymentId"))
		}
		p.noCacheCluster()
		s.stages = append(s.stages, &stageSpec{
			access: p.accessLog(), canary: p.canary("CanarySetting", own), logical: r.logical, name: p.text("StageName"), description: p.text("Description"), variables: p.textMap("Variables"),
			settings: p.methodSettings(), tracing: p.boolean("TracingEnabled"), tags: p.tags("Tags"), retain: r.retain,
		})
		return true
	},
}

func (p *properties) methodSettings() map[string]*restapi.MethodSetting {
	var all map[string]*restapi.MethodSetting
	for _, m := range p.list("MethodSettings") {
		m.only(append([]string{"ResourcePath", "HttpMethod"}, settingMembers...)...)
		if all == nil {
			all = map[string]*restapi.MethodSetting{}
		}
		all[restapi.SettingKey(strings.ReplaceAll(m.text("ResourcePath"), "/*", "*"), m.text("HttpMethod"))] = m.methodSetting()
	}
	return all
}

// finishAPIs notes what will not run, or not well.
func (b *build) finishAPIs() {
	for _, s := range b.apis {
		for _, p := range s.api.BrokenModels() {
			at := s.modelPlaces[p.Name]
			if at.node == nil {
				at = place{s.key, "Resources." + s.logical}
			}
			b.tell(at.node, at.where, "%v", p.Err)
		}
		for _, p := range restapi.Lint(&s.api.Definition) {
			at := s.places[p.Verb+" "+p.Path]
			b.found(at, lint.RuleHidden, 0, 0, p.String())
		}
		if len(s.stages) == 0 {
			b.notes = append(b.notes, s.api.Name+": no stage: nothing of it can be called")
		}
	}
	b.lintTemplates()
}

// nodeOf gives the node of a property for a problem of package restapi: "integration.uri" is Integration.Uri.
func (p *properties) nodeOf(property string) (*yaml.Node, string) {
	names := map[string]string{"integration.uri": "Integration.Uri", "integration.type": "Integration.Type"}
	path, ok := names[property]
	if !ok {
		path = strings.ToUpper(property[:1]) + property[1:]
	}
	at, where := p.node, p.where
	for part := range strings.SplitSeq(path, ".") {
		next := yamldoc.Get(at, part)
		if next == nil {
			break
		}
		at, where = next, where+"."+part
	}
	return at, where
}
