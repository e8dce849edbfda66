package template

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
	"millrace/internal/yamldoc"
)

var methodType = &resourceType{
	name: "AWS::ApiGateway::Method", phase: phaseMethod,
	properties: map[string]string{
		"RestApiId": served, "ResourceId": served, "HttpMethod": served, "AuthorizationType": served, "ApiKeyRequired": served,
		"AuthorizerId": served, "AuthorizationScopes": "empty: scopes are for user pools, which there are not",
		"OperationName": served, "RequestParameters": served, "RequestModels": served, "MethodResponses": served, "Integration": served,
		"RequestValidatorId": served,
	},
	required: []string{"RestApiId", "ResourceId", "HttpMethod"},
	make: func(b *build, r *resource, p *properties) bool {
		s := p.api()
		if s == nil {
			return true
		}
		id, known := s.resourceID(p.text("ResourceId"))
		if !known {
			p.tell("ResourceId", "%q is no resource of this API", p.text("ResourceId"))
			return true
		}
		m := restapi.Method{
			HTTPMethod: strings.ToUpper(p.text("HttpMethod")), AuthorizationType: p.text("AuthorizationType"), APIKeyRequired: p.boolean("ApiKeyRequired"),
			ValidatorID:   p.validatorID(s),
			OperationName: p.text("OperationName"), RequestParameters: p.boolMap("RequestParameters"), RequestModels: p.textMap("RequestModels"),
		}
		if m.AuthorizationType == "" {
			m.AuthorizationType = restapi.Open
		}
		if m.AuthorizerID, known = p.authorizer(s); !known {
			return true
		}
		if scopes := p.texts("AuthorizationScopes"); len(scopes) > 0 {
			p.tell("AuthorizationScopes", "are for user pools, and not supported by this version of Millrace")
		}
		if _, err := s.api.PutMethod(id, m); err != nil {
			n, where := locate(p.node, p.where, openapi.Reason(err))
			b.tell(n, where, "%s", openapi.Reason(err))
			return true
		}
		s.places[m.HTTPMethod+" "+s.api.Resources[id].Path] = place{r.key, "Resources." + r.logical}
		p.methodResponses(s.api, id, m.HTTPMethod)
		if in := p.nested("Integration"); in != nil {
			in.integration(s.api, id, m.HTTPMethod)
		}
		p.refuseUnserved(s.api, id, m.HTTPMethod)
		return true
	},
}

func (p *properties) methodResponses(api *restapi.API, id, verb string) {
	for _, r := range p.list("MethodResponses") {
		r.only("StatusCode", "ResponseParameters", "ResponseModels")
		_, err := api.PutMethodResponse(id, verb, restapi.MethodResponse{
			StatusCode: r.text("StatusCode"), ResponseParameters: r.declared("ResponseParameters"), ResponseModels: r.textMap("ResponseModels")})
		if err != nil {
			p.b.tell(r.node, r.where, "%s", openapi.Reason(err))
		}
	}
}

// declared reads the headers that a method response declares. Generators write a value such as "'*'" where true
// belongs, and the service takes all but false for it.
func (p *properties) declared(name string) map[string]bool {
	values := p.textMap(name)
	if values == nil {
		return nil
	}
	m := make(map[string]bool, len(values))
	for key, value := range values {
		m[key] = !strings.EqualFold(value, "false")
	}
	return m
}

func (p *properties) integration(api *restapi.API, id, verb string) {
	p.only("Type", "IntegrationHttpMethod", "Uri", "Credentials", "PassthroughBehavior", "ContentHandling", "TimeoutInMillis", "ResponseTransferMode", "CacheNamespace",
		"CacheKeyParameters", "RequestParameters", "RequestTemplates", "IntegrationResponses", "ConnectionType", "TlsConfig")
	if c := p.text("ConnectionType"); c != "" && c != "INTERNET" {
		p.tell("ConnectionType", "%s is not supported by this version of Millrace", c)
	}
	in := restapi.Integration{
		Type: p.text("Type"), HTTPMethod: p.text("IntegrationHttpMethod"), URI: p.text("Uri"), Credentials: p.text("Credentials"),
		PassthroughBehavior: p.text("PassthroughBehavior"), ContentHandling: p.text("ContentHandling"), TimeoutMillis: p.integer("TimeoutInMillis", 0),
		TransferMode:   p.text("ResponseTransferMode"),
		CacheNamespace: p.text("CacheNamespace"), CacheKeyParameters: p.texts("CacheKeyParameters"),
		RequestParameters: p.textMap("RequestParameters"), RequestTemplates: p.textMap("RequestTemplates"),
	}
	if t := p.nested("TlsConfig"); t != nil {
		t.only("InsecureSkipVerification")
		in.InsecureTLS = t.boolean("InsecureSkipVerification")
	}
	p.embed("RequestTemplates", in.URI, true)
	if _, err := api.PutIntegration(id, verb, in); err != nil {
		n, where := locate(p.node, p.where, openapi.Reason(err))
		p.b.tell(n, where, "%s", openapi.Reason(err))
		return
	}
	for _, r := range p.list("IntegrationResponses") {
		r.only("StatusCode", "SelectionPattern", "ResponseParameters", "ResponseTemplates", "ContentHandling")
		r.embed("ResponseTemplates", in.URI, false)
		out := restapi.IntegrationResponse{
			StatusCode: r.text("StatusCode"), SelectionPattern: r.text("SelectionPattern"), ContentHandling: r.text("ContentHandling"),
			ResponseParameters: r.textMap("ResponseParameters"), ResponseTemplates: r.textMap("ResponseTemplates"),
		}
		if _, err := restapi.CompileSelectionPattern(out.SelectionPattern); err != nil {
			r.tell("SelectionPattern", "%v", err)
			continue
		}
		if _, err := api.PutIntegrationResponse(id, verb, out); err != nil {
			p.b.tell(r.node, r.where, "%s", openapi.Reason(err))
		}
	}
}

// refuseUnserved tells what this version can't run of a method, at the property that asks for it.
func (p *properties) refuseUnserved(api *restapi.API, id, verb string) {
	r := api.Resources[id]
	probe := &restapi.Definition{RootResourceID: r.ID, Resources: map[string]*restapi.Resource{
		r.ID: {ID: r.ID, Path: r.Path, Methods: map[string]*restapi.Method{verb: r.Methods[verb]}}}}
	for _, problem := range restapi.Check(probe) {
		n, where := p.nodeOf(problem.Property)
		p.b.tell(n, where, "%s", problem.Message)
	}
}

// serverlessType is SAM's short form of an API with its deployment and stage.
var serverlessType = &resourceType{
	name: "AWS::Serverless::Api", sam: true, phase: phaseAPI,
	note: "no stray stage named Stage is made, as SAM does without OpenApiVersion",
	properties: map[string]string{
		"Name": served, "Description": served, "StageName": served, "DefinitionBody": served, "BinaryMediaTypes": served, "MethodSettings": served,
		"AccessLogSetting": served, "CanarySetting": served, "CacheClusterEnabled": "false alone: there is no response cache",
		"Variables": served, "Tags": served, "DisableExecuteApiEndpoint": served, "MinimumCompressionSize": served, "GatewayResponses": served, "Cors": served,
		"Auth":                  "authorizers of functions, AWS_IAM, keys and resource policies; Cognito, UsagePlan, InvokeRole, other accounts and VPCs are refused",
		"EndpointConfiguration": "kept and shown: the endpoint is this node",
		"OpenApiVersion":        "the version of the document counts",
		"TracingEnabled":        "kept and shown: traces are not collected",
		"AlwaysDeploy":          "a change is always deployed",
	},
	required: []string{"StageName", "DefinitionBody"},
	generate: restAPIType.generate,
	attributes: map[string]func(*build, *resource, string) string{
		"RestApiId":      restAPIType.attributes["RestApiId"],
		"RootResourceId": restAPIType.attributes["RootResourceId"],
	},
	make: makeServerless,
}

func makeServerless(b *build, r *resource, p *properties) bool {
	id, ok := b.physical(r)
	body := yamldoc.Get(p.node, "DefinitionBody")
	if !ok || body == nil {
		return true
	}
	b.mergeGlobals(p)
	title, _ := yamldoc.Text(yamldoc.Get(yamldoc.Get(body, "info"), "title"))
	spec := restapi.NewAPI{Name: title, DisableExecuteAPIEndpoint: p.boolean("DisableExecuteApiEndpoint"), Tags: p.textMap("Tags"), NoModels: true,
		MinimumCompressionSize: p.compressionSize()}
	if name := p.text("Name"); name != "" {
		spec.Name = name
	}
	if spec.Name == "" {
		spec.Name = r.logical
	}
	for _, t := range p.texts("BinaryMediaTypes") { // SAM writes the slash of a media type as ~1
		spec.BinaryMediaTypes = append(spec.BinaryMediaTypes, strings.ReplaceAll(t, "~1", "/"))
	}
	if e := p.nested("EndpointConfiguration"); e != nil {
		e.only("Type")
		spec.EndpointTypes = []string{e.text("Type")}
	} else if t := p.text("EndpointConfiguration"); t != "" {
		spec.EndpointTypes = []string{t}
	}
	s := b.newAPI(r, id, spec)
	if s == nil {
		return true
	}
	b.importBody(s, openapi.Document{Root: body, File: b.file, Where: p.at("DefinitionBody"), Source: b.source})
	p.samGatewayResponses(s.api)
	p.samCORS(s.api)
	p.samAuth(s.api, body, p.text("StageName"))
	s.api.Name, s.deployed = spec.Name, true
	s.deploys = append(s.deploys, r.logical)
	if d := p.text("Description"); d != "" {
		s.api.Description = d
	}
	p.noCacheCluster()
	s.stages = append(s.stages, &stageSpec{
		access: p.accessLog(), canary: p.canary("CanarySetting", r.logical), logical: r.logical + "Stage", name: p.text("StageName"), variables: p.textMap("Variables"), settings: p.methodSettings(),
		tracing: p.boolean("TracingEnabled"), tags: p.textMap("Tags"), retain: r.retain,
	})
	return true
}

// mergeGlobals adds what Globals.Api says and the resource does not.
func (b *build) mergeGlobals(p *properties) {
	for section, n := range yamldoc.Pairs(yamldoc.Get(b.t.root, "Globals")) {
		if section.Value != "Api" {
			b.tell(section, "Globals."+section.Value, "is not supported by this version of Millrace")
			continue
		}
		for key, value := range yamldoc.Pairs(n) {
			where := "Globals.Api." + key.Value
			if _, known := p.r.kind.properties[key.Value]; !known {
				b.tell(key, where, "is not supported by this version of Millrace")
				continue
			}
			if v := b.eval(value, where); v != nil && !p.has(key.Value) {
				p.node.Content = append(p.node.Content, key, v)
			}
		}
	}
}

// serverlessPart gives Ref of Api.Stage and Api.Deployment, which SAM makes.
func (b *build) serverlessPart(n *yaml.Node, r *resource, part, where string) (string, bool) {
	switch part {
	case "Stage":
		if v := b.eval(yamldoc.Get(r.properties, "StageName"), where); v != nil {
			return yamldoc.Text(v)
		}
		return "", false
	case "Deployment":
		return token("deployment", r.logical), true
	}
	b.tell(n, where, "SAM makes no %s.%s that can be referred to here", r.logical, part)
	return "", false
}
