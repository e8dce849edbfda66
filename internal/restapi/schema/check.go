package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// keywords are those of draft 4. The service refuses all others, and those of OpenAPI with them.
var keywords = map[string]shape{
	"$schema": value, "id": value, "$ref": value, "title": value, "description": value, "default": value, "type": value, "enum": value,
	"format": value, "multipleOf": value, "maximum": value, "exclusiveMaximum": value, "minimum": value, "exclusiveMinimum": value,
	"maxLength": value, "minLength": value, "pattern": expressionText, "maxItems": value, "minItems": value, "uniqueItems": value,
	"maxProperties": value, "minProperties": value, "required": value,
	"additionalItems": schemas, "items": schemas, "additionalProperties": schemas, "not": schemas, "allOf": schemas, "anyOf": schemas, "oneOf": schemas,
	"definitions": named, "properties": named, "dependencies": named, "patternProperties": namedByPattern,
}

// shape says what stands behind a keyword.
type shape uint8

const (
	value          shape = iota
	expressionText       // a pattern
	schemas              // a schema, a list of them, or a boolean
	named                // schemas by names
	namedByPattern
)

// Faults are what a schema is refused for. Each list is sorted, without repetition.
type Faults struct {
	Invalid    bool     // it is no schema of draft 4
	Keywords   []string // that draft 4 has not
	References []string // to what is no model of the API by its URL
	Models     []string // that it refers to and the API has not
	Pattern    error    // an expression that can't be run here, though the service may
}

// None reports whether there is nothing to refuse.
func (f *Faults) None() bool {
	return !f.Invalid && len(f.Keywords) == 0 && len(f.References) == 0 && len(f.Models) == 0 && f.Pattern == nil
}

// Check looks at the schema of a model of an API by itself; known tells which models it may refer to.
func Check(apiID, text string, known func(name string) bool) (f Faults) {
	doc, err := parse(text)
	members, isObject := doc.(map[string]any)
	if err != nil || !isObject {
		return Faults{Invalid: true}
	}
	c := checker{prefix: URL(apiID, ""), known: known, found: map[string]bool{}, f: &f}
	c.schema(members)
	for _, list := range []*[]string{&f.Keywords, &f.References, &f.Models} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	delete(members, "$schema")
	f.Invalid = f.Pattern == nil && draft4().Validate(doc) != nil
	return f
}

// draft4 is the schema of schemas.
var draft4 = sync.OnceValue(func() *jsonschema.Schema {
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	return c.MustCompile("http://json-schema.org/draft-04/schema")
})

type checker struct {
	prefix string
	known  func(string) bool
	found  map[string]bool
	f      *Faults
}

func (c *checker) schema(members map[string]any) {
	for name, v := range members {
		shape, known := keywords[name]
		if !known {
			c.f.Keywords = append(c.f.Keywords, name)
			continue
		}
		switch shape {
		case value:
			if ref, ok := v.(string); ok && name == "$ref" {
				c.reference(ref)
			}
		case expressionText:
			c.pattern(v)
		case schemas:
			c.schemas(v)
		case named, namedByPattern:
			byName, _ := v.(map[string]any)
			for _, key := range slices.Sorted(maps.Keys(byName)) {
				if shape == namedByPattern {
					c.pattern(key)
				}
				c.schemas(byName[key])
			}
		}
	}
}

func (c *checker) schemas(v any) {
	switch v := v.(type) {
	case map[string]any:
		c.schema(v)
	case []any:
		for _, item := range v {
			if members, ok := item.(map[string]any); ok {
				c.schema(members)
			}
		}
	}
}

func (c *checker) pattern(v any) {
	if source, ok := v.(string); ok && c.f.Pattern == nil {
		_, c.f.Pattern = pattern(source)
	}
}

func (c *checker) reference(ref string) {
	name, isModel := strings.CutPrefix(ref, c.prefix)
	name, _, _ = strings.Cut(name, "#")
	switch {
	case strings.HasPrefix(ref, "#"): // within the model
	case !isModel:
		c.f.References = append(c.f.References, ref)
	case !c.known(name):
		c.f.Models = append(c.f.Models, name)
	}
}

// References lists the models of an API that a schema refers to.
func References(apiID, text string) (names []string) {
	doc, err := parse(text)
	if err != nil {
		return nil
	}
	for _, ref := range references(doc) {
		if name, ok := strings.CutPrefix(ref, URL(apiID, "")); ok {
			name, _, _ = strings.Cut(name, "#")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Flatten gives a model's schema with the models that it refers to among its definitions.
func Flatten(apiID, name string, models map[string]string) (string, error) {
	root, err := parse(models[name])
	if err != nil {
		return "", err
	}
	members, ok := root.(map[string]any)
	if !ok {
		return "", fmt.Errorf("the model %s is no object", name)
	}
	f := flattening{prefix: URL(apiID, ""), models: models, definitions: map[string]any{}, places: map[string]string{name: "#"}}
	own, _ := members["definitions"].(map[string]any)
	for key, v := range own {
		f.definitions[key] = v
	}
	f.rewrite(root, "#")
	if len(f.definitions) > 0 {
		members["definitions"] = f.definitions
	}
	text, err := json.Marshal(root)
	return string(text), err
}

type flattening struct {
	prefix      string
	models      map[string]string
	definitions map[string]any
	places      map[string]string // of models
}

// rewrite makes the references within a model, which lies at a place of the flat schema, lead to the same things there.
func (f *flattening) rewrite(v any, place string) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			f.rewrite(item, place)
		}
	case map[string]any:
		for _, member := range v {
			f.rewrite(member, place)
		}
		ref, _ := v["$ref"].(string)
		if rest, local := strings.CutPrefix(ref, "#"); local {
			v["$ref"] = place + rest
		} else if rest, ok := strings.CutPrefix(ref, f.prefix); ok {
			name, inside, _ := strings.Cut(rest, "#")
			v["$ref"] = f.add(name) + inside
		}
	}
}

// add puts a model among the definitions and gives its place.
func (f *flattening) add(name string) string {
	if place, there := f.places[name]; there {
		return place
	}
	doc, err := parse(f.models[name])
	if err != nil {
		doc = map[string]any{} // it was checked when it was made
	}
	key := name
	for f.definitions[key] != nil { // a definition of the model's own
		key += "Model"
	}
	f.definitions[key], f.places[name] = doc, "#/definitions/"+key
	f.rewrite(doc, f.places[name])
	return f.places[name]
}
