package openapi

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/restapi"
	"millrace/internal/restapi/schema"
	"millrace/internal/yamldoc"
)

// schemas makes models. They may refer to one another in any order, and in circles.
func (im *importer) schemas(n *yaml.Node, where string) {
	for key := range yamldoc.Pairs(n) {
		im.models[key.Value] = true
		im.coming = append(im.coming, key.Value)
	}
	for key, value := range yamldoc.Pairs(n) {
		im.putModel(key, value, key.Value, where+"."+key.Value)
	}
}

// brokenModels tells of models that can't be compiled together.
func (im *importer) brokenModels() {
	for _, b := range im.api.BrokenModels() {
		for _, where := range []string{"definitions", "components"} {
			n := yamldoc.Get(im.doc.Root, where)
			if where == "components" {
				where, n = "components.schemas", yamldoc.Get(n, "schemas")
			}
			if key := yamldoc.Get(n, b.Name); key != nil {
				im.tell(key, where+"."+b.Name, "%v", b.Err)
			}
		}
	}
}

func (im *importer) putModel(at, n *yaml.Node, name, where string) bool {
	m := restapi.Model{Name: name, ContentType: "application/json", Schema: im.schemaText(n, name, where)}
	m.Description, _ = yamldoc.Text(yamldoc.Get(n, "description"))
	_, err := im.api.PutModel(m, append(im.coming, name), im.doc.Source)
	return im.edit(at, where, err)
}

// inlineModel makes a model of a schema that has no name; the service makes up one of this form. The same place gives
// the same name, so that importing a document again changes nothing.
func (im *importer) inlineModel(n *yaml.Node, where string) string {
	sum := sha256.Sum256([]byte(where))
	name := "MODEL" + hex.EncodeToString(sum[:3])
	if !im.putModel(n, n, name, where) {
		return ""
	}
	return name
}

// schemaText writes a schema of OpenAPI as a model's: references lead to models by their URLs, and the keywords that
// are OpenAPI's alone are left out.
func (im *importer) schemaText(n *yaml.Node, name, where string) string {
	r := rewriting{apiID: im.api.ID, model: name}
	text := string(yamldoc.JSON(r.schema(n)))
	if len(r.dropped) > 0 {
		slices.Sort(r.dropped)
		im.warn(where, "models are of JSON Schema draft 4; these keywords of OpenAPI are passed over, and the service refuses them: %s",
			strings.Join(slices.Compact(r.dropped), ", "))
	}
	return text
}

type rewriting struct {
	apiID   string
	model   string // that is being read
	dropped []string
}

// openAPIOnly are the keywords of OpenAPI's schemas that draft 4 has not, and that change nothing or little of what is
// valid.
var openAPIOnly = []string{"example", "xml", "externalDocs", "readOnly", "writeOnly", "deprecated", "discriminator", "nullable"}

// The keywords that hold schemas: by name, and one or a list of them.
var (
	namedKeywords  = []string{"properties", "patternProperties", "definitions", "dependencies"}
	schemaKeywords = []string{"items", "additionalItems", "additionalProperties", "not", "allOf", "anyOf", "oneOf"}
)

// schema copies a schema. Nodes that hold no schemas are shared.
func (r *rewriting) schema(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return n
	}
	out := *n
	out.Content = nil
	for key, value := range yamldoc.Pairs(n) {
		name := key.Value
		if slices.Contains(openAPIOnly, name) || strings.HasPrefix(name, "x-") {
			if !strings.HasPrefix(name, "x-") {
				r.dropped = append(r.dropped, name)
			}
			continue
		}
		switch {
		case name == "$ref":
			value = r.reference(value)
		case slices.Contains(namedKeywords, name):
			value = r.named(value)
		case slices.Contains(schemaKeywords, name):
			value = r.schemas(value)
		}
		out.Content = append(out.Content, key, value)
	}
	return &out
}

func (r *rewriting) named(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return n
	}
	out := *n
	out.Content = nil
	for key, value := range yamldoc.Pairs(n) {
		out.Content = append(out.Content, key, r.schema(value))
	}
	return &out
}

func (r *rewriting) schemas(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.SequenceNode {
		return r.schema(n)
	}
	out := *n
	out.Content = nil
	for _, c := range n.Content {
		out.Content = append(out.Content, r.schema(c))
	}
	return &out
}

// reference writes "#/components/schemas/Item" as the URL of the model Item.
func (r *rewriting) reference(n *yaml.Node) *yaml.Node {
	ref, _ := yamldoc.Text(n)
	for _, prefix := range []string{"#/components/schemas/", "#/definitions/"} {
		if rest, ok := strings.CutPrefix(ref, prefix); ok {
			name, inside, deeper := strings.Cut(rest, "/")
			if deeper && name == r.model {
				return yamldoc.Scalar(n, "#/"+inside)
			}
			url := schema.URL(r.apiID, name)
			if deeper {
				url += "#/" + inside
			}
			return yamldoc.Scalar(n, url)
		}
	}
	return n
}

// validators reads x-amazon-apigateway-request-validators. A validator of the same name is replaced.
func (im *importer) validators(n *yaml.Node, where string) {
	if n.Kind != yaml.MappingNode {
		im.tell(n, where, "is a mapping of names to request validators")
		return
	}
	for key, value := range yamldoc.Pairs(n) {
		at := where + "." + key.Value
		spec := restapi.NewValidator{Name: key.Value}
		for member, v := range yamldoc.Pairs(value) {
			on, ok := yamldoc.Bool(v)
			switch {
			case member.Value != "validateRequestBody" && member.Value != "validateRequestParameters":
				im.tell(member, at+"."+member.Value, "no member of a request validator")
			case !ok:
				im.tell(v, at+"."+member.Value, "is true or false")
			case member.Value == "validateRequestBody":
				spec.Body = on
			default:
				spec.Parameters = on
			}
		}
		if have := im.api.ValidatorNamed(key.Value); have != nil {
			have.Body, have.Parameters = spec.Body, spec.Parameters
			continue
		}
		_, err := im.api.AddValidator(spec, im.doc.Source)
		im.edit(key, at, err)
	}
}

// validator gives the id of the request validator of an operation: its own, else the document's.
func (o *operation) validator() string {
	const member = "x-amazon-apigateway-request-validator"
	n, where := yamldoc.Get(o.node, member), o.at(member)
	if n == nil {
		n, where = yamldoc.Get(o.im.doc.Root, member), member
	}
	if n == nil {
		return ""
	}
	name, _ := yamldoc.Text(n)
	v := o.im.api.ValidatorNamed(name)
	if v == nil {
		o.im.tell(n, where, "there is no request validator %q in x-amazon-apigateway-request-validators", name)
		return ""
	}
	return v.ID
}
