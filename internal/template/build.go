package template

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/delivery"
	"millrace/internal/ids"
	"millrace/internal/restapi"
	"millrace/internal/restapi/openapi"
	"millrace/internal/yamldoc"
)

// build evaluates a file against a record of what was made before, and gathers what there should be.
type build struct {
	report
	t          *Template
	record     *Record // names that are made up are put in here
	source     *ids.Source
	conditions map[string]conditionState
	names      map[string]string // physical names by logical id
	naming     map[string]bool   // being made up now: to see circles

	streams    []*streamSpec
	buckets    []*bucketSpec
	policies   []*policySpec
	deliveries []*deliverySpec
	databases  []*databaseSpec
	tables     []*tableSpec
	apis       []*apiSpec
	keys       []*keySpec
	plans      []*planSpec
	planKeys   []*planKeySpec
	domains    []*domainSpec
	mappings   []*mappingSpec
	account    *restapi.Account
	others     []*resource // kept in the record, without effect on the node
	outputs    []Output
	notes      []string
	embedded   []embeddedTemplate
	findings   []Finding
}

// Output is an entry of Outputs with its value.
type Output struct{ Name, Value, Description string }

func newBuild(t *Template, record *Record, source *ids.Source) *build {
	return &build{
		report: report{file: t.file}, t: t, record: record, source: source,
		conditions: map[string]conditionState{}, names: map[string]string{}, naming: map[string]bool{},
	}
}

func (b *build) run() {
	if b.t.isOpenAPI {
		b.openAPI()
		b.finishAPIs()
		return
	}
	for name := range yamldoc.Pairs(yamldoc.Get(b.t.root, "Conditions")) {
		b.conditionNamed(name, name.Value, "Conditions."+name.Value)
	}
	for phase := range phases {
		waiting := b.ofPhase(phase)
		for len(waiting) > 0 {
			var later []*resource
			for _, r := range waiting {
				if !b.make(r) {
					later = append(later, r)
				}
			}
			if len(later) == len(waiting) {
				for _, r := range later {
					b.tell(r.key, "Resources."+r.logical, "refers to a parent that is not in the file, or to itself")
				}
				break
			}
			waiting = later
		}
	}
	b.finishAPIs()
	b.readOutputs()
}

func (b *build) ofPhase(phase int) (list []*resource) {
	for _, r := range b.t.resources {
		if r.kind.phase == phase && b.active(r) {
			list = append(list, r)
		}
	}
	return list
}

// active tells whether a resource's condition holds.
func (b *build) active(r *resource) bool {
	if r.condition == "" {
		return true
	}
	holds, ok := b.conditionNamed(r.key, r.condition, "Resources."+r.logical+".Condition")
	return holds && ok
}

// make evaluates a resource's properties and hands them to its type. It is false when the resource has to wait for
// another one of its phase.
func (b *build) make(r *resource) bool {
	where := "Resources." + r.logical + ".Properties"
	node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: r.key.Line, Column: r.key.Column}
	if r.properties != nil {
		if r.properties.Kind != yaml.MappingNode {
			b.tell(r.properties, where, "is a mapping")
			return true
		}
		if v := b.eval(r.properties, where); v != nil {
			node = v
		}
	}
	p := &properties{b: b, r: r, node: node, where: where}
	p.check(r.kind)
	for key, value := range yamldoc.Pairs(node) {
		if !slices.Contains(readByToken, key.Value) {
			b.refuseTokens(value, where+"."+key.Value)
		}
	}
	return r.kind.make(b, r, p)
}

// readByToken are the properties that name a part of an API, or hold one that does, and are read by its token.
var readByToken = []string{"RestApiId", "ResourceId", "ParentId", "DeploymentId", "RequestValidatorId", "AuthorizerId", "CanarySetting"}

// refuseTokens refuses the id of a part of an API where it would have to be known before the node has given it.
func (b *build) refuseTokens(n *yaml.Node, where string) {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, tokenMark) {
		b.tell(n, where, "the ids of resources, request validators and deployments of a REST API are known in Outputs only, in this version of Millrace")
	}
	for _, c := range n.Content {
		b.refuseTokens(c, where)
	}
}

// physical gives the name of a resource: the one that the file says, the one that it has had, or one made up.
func (b *build) physical(r *resource) (string, bool) {
	if name, done := b.names[r.logical]; done {
		return name, name != ""
	}
	if b.naming[r.logical] {
		b.tell(r.key, "Resources."+r.logical, "circular dependency between resources")
		return "", false
	}
	b.naming[r.logical] = true
	defer delete(b.naming, r.logical)
	name, ok := b.nameOf(r)
	if !ok {
		name = ""
	}
	b.names[r.logical] = name
	return name, ok
}

func (b *build) nameOf(r *resource) (string, bool) {
	if property := r.kind.nameProperty; property != "" {
		if n := yamldoc.Get(r.properties, property); n != nil {
			if v := b.eval(n, "Resources."+r.logical+".Properties."+property); v != nil {
				name, ok := yamldoc.Text(v)
				if !ok {
					b.tell(n, "Resources."+r.logical+".Properties."+property, "is a text")
				}
				return name, ok
			}
		}
	}
	if had := b.record.Resources[r.logical]; had != nil && had.Type == r.kind.name && !had.Named && !r.kind.made {
		return had.Physical, true
	}
	if r.kind.generate != nil {
		return r.kind.generate(b, r), true
	}
	return b.madeUp(r, 128), true
}

// madeUp gives a name as CloudFormation makes it: STACK-LOGICALID-RANDOM.
func (b *build) madeUp(r *resource, most int) string {
	const random = 12
	head := b.t.opts.Stack + "-" + r.logical
	return head[:min(len(head), most-random-1)] + "-" + b.source.String(ids.LowerAlnum, random)
}

// refTo gives the value of Ref for a resource.
func (b *build) refTo(n *yaml.Node, name, where string) (string, bool) {
	logical, part, isPart := strings.Cut(name, ".")
	r := b.referred(n, logical, where)
	if r == nil {
		return "", false
	}
	if isPart && r.kind.sam {
		return b.serverlessPart(n, r, part, where)
	}
	if isPart {
		b.tell(n, where, "there is no resource %q", name)
		return "", false
	}
	physical, ok := b.physical(r)
	if ok && r.kind.ref != nil {
		physical = r.kind.ref(b, r, physical)
	}
	return physical, ok
}

func (b *build) referred(n *yaml.Node, logical, where string) *resource {
	r := b.t.resource(logical)
	if r == nil {
		if !b.t.refused[logical] {
			b.tell(n, where, "Unresolved resource dependencies [%s]", logical)
		}
		return nil
	}
	if !b.active(r) {
		b.tell(n, where, "refers to %s, whose condition %s does not hold", logical, r.condition)
		return nil
	}
	return r
}

func (b *build) attributeOf(n *yaml.Node, logical, attribute, where string) (string, bool) {
	r := b.referred(n, logical, where)
	if r == nil {
		return "", false
	}
	get := r.kind.attributes[attribute]
	if get == nil {
		b.tell(n, where, "%s of type %s has no attribute %s", logical, r.kind.name, attribute)
		return "", false
	}
	physical, ok := b.physical(r)
	if !ok {
		return "", false
	}
	return get(b, r, physical), true
}

func (b *build) readOutputs() {
	for key, n := range yamldoc.Pairs(yamldoc.Get(b.t.root, "Outputs")) {
		where := "Outputs." + key.Value
		active := true
		for k, v := range yamldoc.Pairs(n) {
			switch k.Value {
			case "Value", "Description":
			case "Export": // there are no other stacks that could import it; the name has no effect
			case "Condition":
				name, _ := yamldoc.Text(v)
				holds, ok := b.conditionNamed(v, name, where+".Condition")
				active = holds && ok
			default:
				b.tell(k, where+"."+k.Value, "no member of an output")
			}
		}
		value := yamldoc.Get(n, "Value")
		if value == nil {
			b.tell(key, where, "has no Value")
			continue
		}
		if !active {
			continue
		}
		text, ok := b.text(value, where+".Value")
		if !ok {
			continue
		}
		description, _ := yamldoc.Text(yamldoc.Get(n, "Description"))
		b.outputs = append(b.outputs, Output{key.Value, text, description})
	}
}

// openAPI makes an API of a plain OpenAPI file, deployed to the stage of the options.
func (b *build) openAPI() {
	title, _ := yamldoc.Text(yamldoc.Get(yamldoc.Get(b.t.root, "info"), "title"))
	r := &resource{logical: "Api", key: b.t.root, kind: typeNamed("AWS::ApiGateway::RestApi")}
	id, _ := b.physical(r)
	spec := b.newAPI(r, id, restapi.NewAPI{Name: title, NoModels: true})
	if spec == nil {
		return
	}
	b.importBody(spec, openapi.Document{Root: b.t.root, File: b.t.file, Source: b.source})
	spec.stages = append(spec.stages, &stageSpec{name: b.t.opts.Stage, logical: "Stage"})
}

// streamSpec, bucketSpec and deliverySpec are what the file says of a stream, a bucket and a delivery stream.
type deliverySpec struct {
	*resource
	name string
	req  *delivery.CreateRequest
	node *yaml.Node // of its properties
}
