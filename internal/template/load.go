package template

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/ids"
	"millrace/internal/restapi/openapi"
	"millrace/internal/yamldoc"
)

// Options say how to read a file.
type Options struct {
	Parameters map[string]string
	Stack      string // default: the file's name without folder and extension
	Stage      string // that an OpenAPI file is deployed to; default "prod"
	Account    ids.Account
}

// Template is a file that was read and found free of problems, as far as that can be seen without a node.
type Template struct {
	file       string
	opts       Options
	root       *yaml.Node
	isOpenAPI  bool
	parameters map[string]*parameter
	resources  []*resource     // in the order of the file
	refused    map[string]bool // resources that were told of: what refers to them is not told again
	sam        bool
	findings   []Finding // of the linter
	functions  []string  // of authorizers, by ARN
}

// resource is one entry of Resources.
type resource struct {
	logical    string
	key        *yaml.Node
	kind       *resourceType
	properties *yaml.Node // nil: none
	condition  string
	retain     bool // DeletionPolicy: Retain
}

// Stack is the name that the file's resources belong to.
func (t *Template) Stack() string { return t.opts.Stack }

// Functions lists the functions of the authorizers that the file has, by ARN.
func (t *Template) Functions() []string { return t.functions }

var (
	stackPattern   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,127}$`)
	logicalPattern = regexp.MustCompile(`^[A-Za-z0-9]{1,255}$`)
	notInStack     = regexp.MustCompile(`[^A-Za-z0-9]+`)
)

// StackName makes a stack's name of a file's: "my_template.v2.yaml" gives "my-template-v2".
func StackName(file string) string {
	base := filepath.Base(file)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	name := strings.Trim(notInStack.ReplaceAllString(base, "-"), "-")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "stack-" + name
	}
	return strings.TrimSuffix(name[:min(len(name), 128)], "-")
}

// Load reads a file. Errors are yamldoc.Problems: all that is wrong with it.
func Load(file string, body []byte, o Options) (*Template, error) {
	if o.Stack == "" {
		o.Stack = StackName(file)
	}
	if o.Stage == "" {
		o.Stage = "prod"
	}
	if !stackPattern.MatchString(o.Stack) {
		return nil, fmt.Errorf("%q is no name of a stack: letters, digits and -, with a letter first", o.Stack)
	}
	root, err := yamldoc.Parse(file, body)
	if err != nil {
		return nil, err
	}
	l := &loader{t: &Template{file: file, opts: o, root: root, parameters: map[string]*parameter{}, refused: map[string]bool{}}, report: report{file: file}}
	if root.Kind != yaml.MappingNode {
		l.tell(root, "", "a definition file is a mapping with Resources, or an OpenAPI document")
		l.blind = true
	} else if openapi.IsDocument(root) {
		l.t.isOpenAPI = true
		for name := range o.Parameters {
			l.tell(root, "", "the parameter %s was given, and an OpenAPI document has none", name)
		}
	} else {
		l.sections()
	}
	if !l.blind {
		// What does not depend on a node is told now: names that it has given are not known yet, others do.
		trial := newBuild(l.t, newRecord(o.Stack), ids.Seeded(1))
		trial.run()
		l.problems = append(l.problems, trial.problems...)
		l.t.findings = trial.findings
		l.t.functions = trial.functions()
	}
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.t, nil
}

// report gathers problems.
type report struct {
	file     string
	problems yamldoc.Problems
}

func (r *report) tell(n *yaml.Node, where, format string, args ...any) {
	if len(r.problems) >= yamldoc.MaxProblems {
		return
	}
	p := &yamldoc.Problem{File: r.file, Where: where, Reason: fmt.Sprintf(format, args...)}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	if !slices.ContainsFunc(r.problems, func(q *yamldoc.Problem) bool { return *q == *p }) {
		r.problems = append(r.problems, p)
	}
}

func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b *yamldoc.Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return r.problems
}

// loader reads the sections of a CloudFormation file.
type loader struct {
	report
	t     *Template
	blind bool // parameters or the file's frame have problems: what lies below would only repeat them
}

// mappings are the sections that hold entries by name.
var mappings = []string{"Parameters", "Mappings", "Conditions", "Rules", "Globals", "Resources", "Outputs"}

const samTransform = "AWS::Serverless-2016-10-31"

func (l *loader) sections() {
	for key, value := range yamldoc.Pairs(l.t.root) {
		if slices.Contains(mappings, key.Value) && value.Kind != yaml.MappingNode {
			l.tell(value, key.Value, "is a mapping")
		}
		switch key.Value {
		case "AWSTemplateFormatVersion":
			if v, _ := yamldoc.Text(value); v != "2010-09-09" {
				l.tell(value, key.Value, "the version is 2010-09-09")
			}
		case "Description", "Metadata", "Mappings", "Conditions", "Outputs", "Globals":
		case "Transform":
			l.transform(value)
		case "Parameters":
			l.readParameters(value)
		case "Rules":
			l.rules(value)
		case "Resources":
		default:
			l.tell(key, key.Value, "no section of a template; the sections are AWSTemplateFormatVersion, Conditions, Description, Mappings, Metadata, Outputs, Parameters, Resources, Rules, Transform")
		}
	}
	before := len(l.problems)
	l.bindParameters()
	l.blind = len(l.problems) > before
	if globals := yamldoc.Get(l.t.root, "Globals"); globals != nil && !l.t.sam {
		l.tell(yamldoc.Key(l.t.root, "Globals"), "Globals", "needs the transform %s", samTransform)
	}
	resources := yamldoc.Get(l.t.root, "Resources")
	if resources == nil || resources.Kind != yaml.MappingNode || len(resources.Content) == 0 {
		l.tell(l.t.root, "Resources", "at least one Resources member must be defined")
		l.blind = true
		return
	}
	for key, value := range yamldoc.Pairs(resources) {
		l.resource(key, value)
	}
}

func (l *loader) transform(n *yaml.Node) {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	for _, one := range list {
		name, _ := yamldoc.Text(one)
		if name != samTransform {
			l.tell(one, "Transform", "%q is not supported by this version of Millrace; the transform is %s", name, samTransform)
			continue
		}
		l.t.sam = true
	}
}

// rules accepts what CDK writes, an assertion on a bootstrap stack that there is no need for, and refuses the rest.
func (l *loader) rules(n *yaml.Node) {
	for key := range yamldoc.Pairs(n) {
		if key.Value != "CheckBootstrapVersion" {
			l.tell(key, "Rules."+key.Value, "rules are not supported by this version of Millrace")
		}
	}
}

// resourceAttributes are the members of a resource; a note says why one has no effect.
var resourceAttributes = []string{"Type", "Properties", "Condition", "DependsOn", "DeletionPolicy", "UpdateReplacePolicy", "Metadata",
	"CreationPolicy", "UpdatePolicy"}

func (l *loader) resource(key, n *yaml.Node) {
	where := "Resources." + key.Value
	l.t.refused[key.Value] = true // until it turns out well
	if !logicalPattern.MatchString(key.Value) {
		l.tell(key, where, "a logical id is made of letters and digits")
		return
	}
	if n.Kind != yaml.MappingNode {
		l.tell(n, where, "a resource is a mapping with a Type")
		return
	}
	name, ok := yamldoc.Text(yamldoc.Get(n, "Type"))
	if !ok {
		l.tell(n, where, "every resource has a Type")
		return
	}
	kind := typeNamed(name)
	if kind == nil {
		l.tell(yamldoc.Get(n, "Type"), where+".Type", "the resource type %s is not supported by this version of Millrace", name)
		return
	}
	if kind.sam && !l.t.sam {
		l.tell(yamldoc.Get(n, "Type"), where+".Type", "the resource type %s needs the transform %s", name, samTransform)
		return
	}
	r := &resource{logical: key.Value, key: key, kind: kind, properties: yamldoc.Get(n, "Properties")}
	for k, value := range yamldoc.Pairs(n) {
		if !slices.Contains(resourceAttributes, k.Value) {
			l.tell(k, where+"."+k.Value, "no member of a resource")
			continue
		}
		l.attribute(r, k, value, where+"."+k.Value)
	}
	l.t.resources = append(l.t.resources, r)
	delete(l.t.refused, key.Value)
}

func (l *loader) attribute(r *resource, key, value *yaml.Node, where string) {
	text, isText := yamldoc.Text(value)
	switch key.Value {
	case "Condition":
		if r.condition = text; !isText {
			l.tell(value, where, "names a condition")
		}
	case "DeletionPolicy":
		switch text {
		case "Retain", "RetainExceptOnCreate":
			r.retain = true
		case "Delete":
		default:
			l.tell(value, where, "is Delete or Retain, not %q", text)
		}
	case "DependsOn":
		list := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			list = value.Content
		}
		for _, one := range list {
			name, _ := yamldoc.Text(one)
			if yamldoc.Get(yamldoc.Get(l.t.root, "Resources"), name) == nil {
				l.tell(one, where, "there is no resource %q", name)
			}
		}
	}
}

func (t *Template) resource(logical string) *resource {
	for _, r := range t.resources {
		if r.logical == logical {
			return r
		}
	}
	return nil
}
