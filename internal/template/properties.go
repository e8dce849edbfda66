package template

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/yamldoc"
)

// properties reads the evaluated properties of a resource, or a mapping within them.
type properties struct {
	b     *build
	r     *resource
	node  *yaml.Node
	where string
}

func (p *properties) at(name string) string { return p.where + "." + name }

func (p *properties) tell(name, format string, args ...any) {
	n := yamldoc.Get(p.node, name)
	if n == nil {
		n = p.node
	}
	p.b.tell(n, p.at(name), format, args...)
}

// check refuses the properties that the type does not take.
func (p *properties) check(kind *resourceType) {
	for key := range yamldoc.Pairs(p.node) {
		if _, known := kind.properties[key.Value]; !known {
			p.b.tell(key, p.at(key.Value), "the property %s of %s is not supported by this version of Millrace", key.Value, kind.name)
		}
	}
	for _, name := range kind.required {
		if yamldoc.Get(p.node, name) == nil {
			p.b.tell(p.node, p.at(name), "is required")
		}
	}
}

// only refuses members of a nested mapping beyond the given ones.
func (p *properties) only(names ...string) {
	for key := range yamldoc.Pairs(p.node) {
		known := false
		for _, n := range names {
			known = known || n == key.Value
		}
		if !known {
			p.b.tell(key, p.at(key.Value), "is not supported by this version of Millrace")
		}
	}
}

func (p *properties) has(name string) bool { return yamldoc.Get(p.node, name) != nil }

func (p *properties) text(name string) string {
	n := yamldoc.Get(p.node, name)
	if n == nil {
		return ""
	}
	text, ok := yamldoc.Text(n)
	if !ok {
		p.tell(name, "is a text")
	}
	return text
}

func (p *properties) integer(name string, otherwise int) int {
	n := yamldoc.Get(p.node, name)
	if n == nil {
		return otherwise
	}
	v, ok := yamldoc.Int(n)
	if !ok {
		p.tell(name, "is a whole number")
		return otherwise
	}
	return v
}

// number reads a number that may have a fraction.
func (p *properties) number(name string, otherwise float64) float64 {
	n := yamldoc.Get(p.node, name)
	if n == nil {
		return otherwise
	}
	text, _ := yamldoc.Text(n)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		p.tell(name, "is a number")
		return otherwise
	}
	return v
}

func (p *properties) boolean(name string) bool {
	n := yamldoc.Get(p.node, name)
	if n == nil {
		return false
	}
	v, ok := yamldoc.Bool(n)
	if !ok {
		p.tell(name, "is true or false")
	}
	return v
}

func (p *properties) texts(name string) (texts []string) {
	n := yamldoc.Get(p.node, name)
	if n == nil {
		return nil
	}
	texts, _ = p.b.textsOf(n, p.at(name))
	return texts
}

// list gives the mappings of a list.
func (p *properties) list(name string) (all []*properties) {
	n := yamldoc.Get(p.node, name)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		p.tell(name, "is a list")
		return nil
	}
	for _, c := range n.Content {
		all = append(all, &properties{p.b, p.r, c, p.at(name)})
	}
	return all
}

// nested gives the mapping below a property; nil: there is none.
func (p *properties) nested(name string) *properties {
	n := yamldoc.Get(p.node, name)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		p.tell(name, "is a mapping")
		return nil
	}
	return &properties{p.b, p.r, n, p.at(name)}
}

func (p *properties) textMap(name string) map[string]string {
	sub := p.nested(name)
	if sub == nil {
		return nil
	}
	m := map[string]string{}
	for key := range yamldoc.Pairs(sub.node) {
		m[key.Value] = sub.text(key.Value)
	}
	return m
}

func (p *properties) boolMap(name string) map[string]bool {
	sub := p.nested(name)
	if sub == nil {
		return nil
	}
	m := map[string]bool{}
	for key := range yamldoc.Pairs(sub.node) {
		m[key.Value] = sub.boolean(key.Value)
	}
	return m
}

// tags reads a list of Key and Value.
func (p *properties) tags(name string) map[string]string {
	var m map[string]string
	for _, t := range p.list(name) {
		if m == nil {
			m = map[string]string{}
		}
		key := t.text("Key")
		if key == "" {
			t.tell("Key", "is required")
		}
		m[key] = t.text("Value")
	}
	return m
}

// locate finds the member that a message speaks of, by a path such as "extendedS3DestinationConfiguration.bufferingHints",
// whatever the case of its letters; else the node itself.
func locate(n *yaml.Node, where, message string) (*yaml.Node, string) {
	best, bestWhere := n, where
	for word := range strings.FieldsFuncSeq(message, func(r rune) bool {
		return r != '.' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		at, path, depth := n, where, 0
		for part := range strings.SplitSeq(word, ".") {
			if at.Kind == yaml.SequenceNode { // "processors.2.member.type"
				if i, err := strconv.Atoi(part); err == nil && i >= 1 && i <= len(at.Content) {
					at, path = at.Content[i-1], path+"."+part
					continue
				}
			}
			if part == "member" && at != n {
				continue
			}
			found := false
			for key, value := range yamldoc.Pairs(at) {
				if strings.EqualFold(key.Value, part) {
					at, path, found = value, path+"."+key.Value, true
					depth++
					break
				}
			}
			if !found {
				break
			}
		}
		if depth > 0 && len(path) > len(bestWhere) {
			best, bestWhere = at, path
		}
	}
	return best, bestWhere
}
