package restapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/restapi/schema"
)

const (
	emptyModelSchema = `{
  "$schema": "http://json-schema.org/draft-04/schema#",
  "title" : "Empty Schema",
  "type" : "object"
}`
	errorModelSchema = `{
  "$schema" : "http://json-schema.org/draft-04/schema#",
  "title" : "Error Schema",
  "type" : "object",
  "properties" : {
    "message" : { "type" : "string" }
  }
}`
)

// addDefaultModels makes the models that every API made by call has.
func (a *API) addDefaultModels(source *ids.Source) {
	a.Models = map[string]*Model{
		"Empty": {ID: source.String(ids.LowerAlnum, 6), Name: "Empty", ContentType: "application/json",
			Description: "This is a default empty schema model", Schema: emptyModelSchema},
		"Error": {ID: source.String(ids.LowerAlnum, 6), Name: "Error", ContentType: "application/json",
			Description: "This is a default error schema model", Schema: errorModelSchema},
	}
}

var modelNamePattern = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// Model gives a model by name.
func (a *API) Model(name string) (*Model, error) {
	if m := a.Models[name]; m != nil {
		return m, nil
	}
	return nil, notFound("restapi.Model", "Invalid model name specified: %s", name)
}

// AddModel keeps a JSON schema under a name. It may refer to models that the API has, and to itself.
func (a *API) AddModel(m Model, source *ids.Source) (*Model, error) {
	const op = "restapi.AddModel"
	if m.Name != "" && a.Models[m.Name] != nil {
		return nil, conflict(op, "Model name already exists for this REST API")
	}
	return a.PutModel(m, nil, source)
}

// PutModel adds a model or replaces it, as imports do. It may refer to models of the API and to coming ones.
func (a *API) PutModel(m Model, coming []string, source *ids.Source) (*Model, error) {
	const op = "restapi.PutModel"
	have := a.Models[m.Name]
	switch {
	case m.Name == "":
		return nil, invalid(op, "Model name must be non-empty")
	case !modelNamePattern.MatchString(m.Name):
		return nil, invalid(op, "Model name must be alphanumeric: %s", m.Name)
	case have == nil && len(a.Models) >= MaxModels:
		return nil, tooMany(op, "Maximum number of models for this API has been reached: %d", MaxModels)
	}
	if err := a.checkSchema(op, m.Name, m.Schema, coming); err != nil {
		return nil, err
	}
	if m.ContentType == "" {
		m.ContentType = "application/json"
	}
	if have != nil {
		m.ID = have.ID
	} else {
		m.ID = freshID(source, func(id string) bool {
			for _, other := range a.Models {
				if other.ID == id {
					return true
				}
			}
			return false
		})
	}
	if a.Models == nil {
		a.Models = map[string]*Model{}
	}
	a.Models[m.Name] = &m
	return &m, nil
}

// maxSchemaBytes is the service's bound of a model.
const maxSchemaBytes = 400 << 10

// checkSchema checks a model's schema by itself: draft 4, with references to models of the same API.
func (a *API) checkSchema(op, name, text string, coming []string) error {
	if text == "" {
		return invalid(op, "Model schema must have at least 1 property or array items defined")
	}
	if len(text) > maxSchemaBytes {
		return tooMany(op, "Model schema is too large: %d bytes, at most %d are taken", len(text), maxSchemaBytes)
	}
	f := schema.Check(a.ID, text, func(other string) bool {
		return other == name || a.Models[other] != nil || slices.Contains(coming, other)
	})
	if f.None() && coming == nil {
		schemas := a.Schemas()
		schemas[name] = text
		_, err := schema.NewSet(a.ID, schemas).Compile(name)
		f.Invalid = err != nil // references in a circle, or into nothing
	}
	if f.None() {
		return nil
	}
	if f.Pattern != nil {
		return fault.New(fault.Unsupported, op, name, "%v", f.Pattern)
	}
	var reasons []string
	if len(f.Keywords) > 0 {
		reasons = append(reasons, "Invalid model schema specified. Unsupported keyword(s): "+quoted(f.Keywords))
	} else if f.Invalid {
		reasons = append(reasons, "Invalid model schema specified")
	}
	if len(f.References) > 0 {
		reasons = append(reasons, "Model reference must be in canonical form")
	}
	for _, other := range f.Models {
		reasons = append(reasons, "Invalid model specified: "+other)
	}
	return invalid(op, "Invalid model specified: Validation Result: warnings : [], errors : [%s]", strings.Join(reasons, ", "))
}

func quoted(names []string) string {
	text, err := json.Marshal(names)
	if err != nil {
		return ""
	}
	return string(text)
}

// BrokenModel is a model that can't be compiled.
type BrokenModel struct {
	Name string
	Err  error
}

// BrokenModels lists models that can't be compiled together with what they refer to, in the order of their names. What
// came in by [API.PutModel], in any order, is checked by it at the end.
func (a *API) BrokenModels() (all []BrokenModel) {
	set := schema.NewSet(a.ID, a.Schemas())
	for _, name := range slices.Sorted(maps.Keys(a.Models)) {
		if _, err := set.Compile(name); err != nil {
			all = append(all, BrokenModel{name, err})
		}
	}
	return all
}

// Schemas gives the schemas of the models by their names.
func (d *Definition) Schemas() map[string]string {
	all := make(map[string]string, len(d.Models))
	for name, m := range d.Models {
		all[name] = m.Schema
	}
	return all
}

// FlatModel gives a model whose schema holds the schemas of the models that it refers to.
func (a *API) FlatModel(name string) (*Model, error) {
	m, err := a.Model(name)
	if err != nil {
		return nil, err
	}
	flat := *m
	if flat.Schema, err = schema.Flatten(a.ID, name, a.Schemas()); err != nil {
		return nil, invalid("restapi.FlatModel", "Invalid model specified: %s", name)
	}
	return &flat, nil
}

// ModelTemplate gives a mapping template that passes on what a model describes.
func (a *API) ModelTemplate(name string) (string, error) {
	if _, err := a.Model(name); err != nil {
		return "", err
	}
	return schema.Template(a.ID, name, a.Schemas()), nil
}

// DeleteModel removes a model that no method and no other model refers to.
func (a *API) DeleteModel(name string) error {
	const op = "restapi.DeleteModel"
	if _, err := a.Model(name); err != nil {
		return err
	}
	var inUse error
	note := func(format string, args ...any) {
		if inUse == nil {
			inUse = conflict(op, "Cannot delete model '%s', is referenced in %s", name, fmt.Sprintf(format, args...))
		}
	}
	a.eachMethod(func(r *Resource, m *Method) {
		for _, used := range m.RequestModels {
			if used == name {
				note("method request: %s/%s", r.Path, m.HTTPMethod)
			}
		}
		for _, response := range m.Responses {
			for _, used := range response.ResponseModels {
				if used == name {
					note("method response: %s/%s", r.Path, m.HTTPMethod)
				}
			}
		}
	})
	for _, other := range slices.Sorted(maps.Keys(a.Models)) {
		if other != name && slices.Contains(schema.References(a.ID, a.Models[other].Schema), name) {
			note("model: %s", other)
		}
	}
	if inUse != nil {
		return inUse
	}
	delete(a.Models, name)
	if len(a.Models) == 0 {
		a.Models = nil
	}
	return nil
}

// PatchModel changes a model's description and schema.
func (a *API) PatchModel(name string, patches []Patch) error {
	const op = "restapi.PatchModel"
	m, err := a.Model(name)
	if err != nil {
		return err
	}
	for _, p := range patches {
		switch {
		case p.Path != "/description" && p.Path != "/schema":
			return strictPath(op, p, "/description", "/schema")
		case p.Op != OpReplace:
			return strictOp(op, p)
		case p.Path == "/description":
			m.Description = p.Value
		default:
			if err := a.checkSchema(op, name, p.Value, nil); err != nil {
				return err
			}
			m.Schema = p.Value
		}
	}
	return nil
}
