package gateway

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"millrace/internal/restapi"
	"millrace/internal/restapi/schema"
)

// validation is what a method's validator asks of a request, compiled. The service looks at the parameters first; a
// request that lacks one is never judged by its payload.
type validation struct {
	required []requirement
	models   []bodyModel // none: payloads are not validated
	fallback *bodyModel  // of $default
}

// requirement is a parameter that has to be there and not blank.
type requirement struct {
	from source
	name string
}

// bodyModel is the model of payloads of a media type.
type bodyModel struct {
	mediaType string
	schema    *schema.Schema
	broken    string // why it can't judge: every payload that it should judge is answered with 500
}

// validation compiles what a method's validator asks for. A model that can't be compiled is told at Publish. The method
// answers 500 to what the model should judge: to let it pass would put into the stream what its owner
// wanted kept out.
func (c *compiler) validation(src *restapi.Method) {
	if src.ValidatorID == "" {
		return
	}
	asked := c.src.Validators[src.ValidatorID]
	if asked == nil {
		c.method.broken = c.warn("requestValidatorId", errors.New("there is no such request validator: "+src.ValidatorID))
		return
	}
	v := &validation{}
	if asked.Parameters {
		v.required = requirements(src.RequestParameters)
	}
	if asked.Body {
		for _, key := range slices.Sorted(maps.Keys(src.RequestModels)) {
			m := bodyModel{mediaType: mediaType(key)}
			compiled, err := c.models.Compile(src.RequestModels[key])
			if err != nil {
				m.broken = c.warn("requestModels."+key, err)
			}
			if m.schema = compiled; key == restapi.DefaultTemplate {
				v.fallback = &m
			}
			v.models = append(v.models, m)
		}
	}
	c.method.validation = v
}

// requirements lists the required parameters in the order of their full names, which is the order of the refusal.
func requirements(parameters map[string]bool) (all []requirement) {
	for _, full := range slices.Sorted(maps.Keys(parameters)) {
		if !parameters[full] {
			continue
		}
		from, name, ok := compileSource(full)
		if ok && (from == fromHeader || from == fromPath || from == fromQuery) {
			all = append(all, requirement{from, name})
		}
	}
	return all
}

// validate judges a request. When it returns false the response is written.
func (x *exchange) validate() bool {
	v := x.method.validation
	var missing []string
	for i := range v.required {
		if r := &v.required[i]; !x.given(r) {
			missing = append(missing, r.name)
		}
	}
	if missing != nil {
		why := "Missing required request parameters: [" + strings.Join(missing, ", ") + "]"
		x.fail(errBadParameters.because(why), why)
		return false
	}
	if m := v.modelFor(x.contentTypeOrJSON()); m != nil {
		if m.broken != "" {
			return x.misconfigured("Unable to validate the request body: " + m.broken)
		}
		if why := m.schema.Validate(text(x.body)); why != "" {
			x.fail(errBadBody.detailed(why), "Request body does not match model schema for content type "+x.contentTypeOrJSON()+": "+why)
			return false
		}
	}
	if x.informs() {
		x.log(false, "Request validation succeeded for content type "+x.contentTypeOrJSON())
	}
	return true
}

// modelFor gives the model of a media type; nil: payloads of that type are not validated.
func (v *validation) modelFor(mediaType string) *bodyModel {
	for i := range v.models {
		if m := &v.models[i]; len(m.mediaType) == len(mediaType) && strings.EqualFold(m.mediaType, mediaType) {
			return m
		}
	}
	return v.fallback
}

// given reports whether a parameter is there and not blank.
func (x *exchange) given(r *requirement) bool {
	value := ""
	switch r.from {
	case fromPath:
		value, _ = x.in.Path.Get(r.name)
	case fromQuery:
		value, _ = x.in.Query.Get(r.name)
	case fromHeader:
		value, _ = x.in.Header.GetFold(r.name)
	}
	return strings.TrimSpace(value) != ""
}
