package schema

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Template writes a mapping template that makes what a model describes: each property from the payload's property of
// the same name. Properties stand in the order of their names. It goes templateDepth levels deep, for models may
// refer to themselves.
func Template(apiID, name string, models map[string]string) string {
	t := templater{prefix: URL(apiID, ""), models: models, docs: map[string]any{}}
	doc := t.doc(name)
	t.b.WriteString("#set($inputRoot = $input.path('$'))\n")
	t.value(t.follow(doc, doc), "$inputRoot", 0)
	return t.b.String()
}

const (
	templateDepth = 5
	// maxTemplate is about how long a template may become, the service's bound of mapping templates: what a model would make
	// of it beyond is left out, for one that holds itself many times would else make gigabytes.
	maxTemplate = 300 << 10
)

type templater struct {
	prefix string
	models map[string]string
	docs   map[string]any // models that were parsed
	b      strings.Builder
}

func (t *templater) doc(name string) any {
	doc, known := t.docs[name]
	if !known {
		if parsed, err := parse(t.models[name]); err == nil {
			doc = parsed
		}
		t.docs[name] = doc
	}
	return doc
}

// place is a schema in its document, in which its own references lead on.
type place struct {
	schema map[string]any
	doc    any
}

// follow goes where a schema's reference leads, a bounded number of times.
func (t *templater) follow(v, doc any) place {
	for range templateDepth {
		s, _ := v.(map[string]any)
		ref, ok := s["$ref"].(string)
		if !ok {
			return place{s, doc}
		}
		if rest, isModel := strings.CutPrefix(ref, t.prefix); isModel {
			name, inside, _ := strings.Cut(rest, "#")
			doc = t.doc(name)
			ref = "#" + inside
		}
		v = doc
		for part := range strings.SplitSeq(strings.Trim(strings.TrimPrefix(ref, "#"), "/"), "/") {
			if members, ok := v.(map[string]any); ok && part != "" {
				v = members[part]
			}
		}
	}
	return place{nil, doc}
}

// plainName is a property that a reference can name.
var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

func (t *templater) value(p place, from string, depth int) {
	pad := strings.Repeat("  ", depth)
	properties, _ := p.schema["properties"].(map[string]any)
	kind, _ := p.schema["type"].(string)
	switch {
	case depth >= templateDepth, t.b.Len() > maxTemplate:
		t.b.WriteString("{ }")
	case kind == "array":
		each := "$elem"
		if depth > 0 {
			each += strconv.Itoa(depth)
		}
		t.b.WriteString("[\n#foreach(" + each + " in " + from + ")\n" + pad + "  ")
		t.value(t.follow(p.schema["items"], p.doc), each, depth+1)
		t.b.WriteString("#if($foreach.hasNext),#end\n\n#end\n" + pad + "]")
	case len(properties) > 0:
		t.b.WriteString("{\n")
		for i, name := range slices.Sorted(maps.Keys(properties)) {
			if i > 0 {
				t.b.WriteString(",\n")
			}
			below := from + "." + name
			if !plainName.MatchString(name) {
				below = from + "['" + name + "']"
			}
			t.b.WriteString(pad + "  " + strconv.Quote(name) + " : ")
			t.value(t.follow(properties[name], p.doc), below, depth+1)
		}
		t.b.WriteString("\n" + pad + "}")
	case kind == "object" || kind == "" && depth == 0:
		t.b.WriteString("{ }")
	case kind == "string":
		t.b.WriteString(`"` + from + `"`)
	default:
		t.b.WriteString(from)
	}
}
