package restapi

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"

	"millrace/internal/ids"
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

// AddModel keeps a JSON schema under a name. It is shown and may be referred to; nothing validates by it yet.
func (a *API) AddModel(m Model, source *ids.Source) (*Model, error) {
	const op = "restapi.AddModel"
	switch {
	case m.Name == "":
		return nil, invalid(op, "Model name must be non-empty")
	case !modelNamePattern.MatchString(m.Name):
		return nil, invalid(op, "Model name must be alphanumeric: %s", m.Name)
	case a.Models[m.Name] != nil:
		return nil, conflict(op, "Model name already exists for this REST API")
	case len(a.Models) >= MaxModels:
		return nil, tooMany(op, "Maximum number of models for this API has been reached: %d", MaxModels)
	}
	if err := checkSchema(op, m.Schema); err != nil {
		return nil, err
	}
	if m.ContentType == "" {
		m.ContentType = "application/json"
	}
	m.ID = freshID(source, func(id string) bool {
		for _, other := range a.Models {
			if other.ID == id {
				return true
			}
		}
		return false
	})
	if a.Models == nil {
		a.Models = map[string]*Model{}
	}
	a.Models[m.Name] = &m
	return &m, nil
}

func checkSchema(op, schema string) error {
	if schema == "" {
		return invalid(op, "Model schema must have at least 1 property or array items defined")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(schema), &members); err != nil {
		return invalid(op, "Invalid model schema specified")
	}
	return nil
}

// DeleteModel removes a model that no method's request refers to.
func (a *API) DeleteModel(name string) error {
	if _, err := a.Model(name); err != nil {
		return err
	}
	for _, r := range a.Sorted() {
		for _, verb := range slices.Sorted(maps.Keys(r.Methods)) {
			for _, used := range r.Methods[verb].RequestModels {
				if used == name {
					return conflict("restapi.DeleteModel", "Cannot delete model '%s', is referenced in method request: %s/%s", name, r.Path, verb)
				}
			}
		}
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
			if err := checkSchema(op, p.Value); err != nil {
				return err
			}
			m.Schema = p.Value
		}
	}
	return nil
}
