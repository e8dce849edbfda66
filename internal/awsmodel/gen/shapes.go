package main

import (
	"fmt"
	"regexp"
	"strings"
)

// shapes writes the structs and the values of enums.
func (g *generator) shapes() {
	for _, s := range g.structures(func(n string) bool { return g.input[n] || g.output[n] }) {
		g.structure(s)
	}
	g.enums()
}

func (g *generator) structure(s *shape) {
	g.p("// %s is %s of the model.", export(s.name), g.role(s.name))
	g.p("type %s struct {", export(s.name))
	for _, m := range g.fields(s) {
		if m.Streaming && g.streams(s, m) {
			g.p("// %s streams; the surface reads or writes it itself.", export(m.Name))
			continue
		}
		t, _ := g.fieldType(m, s.requires(m.Name))
		note := ""
		if s.requires(m.Name) {
			note = " // required"
		}
		g.p("%s %s%s", export(m.Name), t, note)
	}
	if g.hasBits(s) {
		g.p("\nhas [%d]uint64 // members that the request gave, by index", (len(s.Members)+63)/64)
	}
	g.p("}\n")
}

// streams reports whether a member is a body that is never held whole.
func (g *generator) streams(s *shape, m member) bool {
	return s.Payload == m.Name && g.model.Shapes[m.Shape].Type == "blob"
}

func (g *generator) role(name string) string {
	var roles []string
	for _, op := range sortedKeys(g.model.Operations) {
		o := g.model.Operations[op]
		if o.Input != nil && o.Input.Shape == name {
			roles = append(roles, "the request of "+op)
		}
		if o.Output != nil && o.Output.Shape == name {
			roles = append(roles, "the answer of "+op)
		}
	}
	switch {
	case len(roles) == 0 || len(roles) > 4:
		return "a structure"
	}
	return strings.Join(roles, ", ")
}

// hasBits reports whether a structure's check must tell an absent value from a zero one.
func (g *generator) hasBits(s *shape) bool {
	if !g.checks || !g.input[s.name] {
		return false
	}
	for i := range s.Members {
		if g.bit(s, s.Members[i]) != "" {
			return true
		}
	}
	return false
}

// bit gives the expression of a member's presence bit, "" when its value alone tells.
func (g *generator) bit(s *shape, m member) string {
	if !g.checks || !g.input[s.name] {
		return ""
	}
	target := g.model.Shapes[m.Shape]
	switch target.Type {
	case "string", "integer", "long", "double", "float", "boolean":
	default:
		return ""
	}
	required := s.requires(m.Name)
	if !g.plain(target, required) || !required && g.rule(target) == "" {
		return ""
	}
	for i, other := range s.Members {
		if other.Name == m.Name {
			return fmt.Sprintf("has[%d]&(1<<%d)", i/64, i%64)
		}
	}
	return ""
}

// mark gives the statement that sets a presence bit.
func (g *generator) mark(s *shape, m member) string {
	bit := g.bit(s, m)
	if bit == "" {
		return ""
	}
	return "; v." + strings.Replace(strings.Replace(bit, "&(", " |= ", 1), ")", "", 1)
}

var notWord = regexp.MustCompile(`[^A-Za-z0-9]+`)

// enums writes the values of the enums that generated structures use.
func (g *generator) enums() {
	used := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		s := g.model.Shapes[name]
		switch s.Type {
		case "string":
			used[name] = len(s.Enum) > 0
		case "list":
			visit(s.Member.Shape)
		case "map":
			visit(s.Key.Shape)
			visit(s.Value.Shape)
		}
	}
	for _, s := range g.structures(func(n string) bool { return g.input[n] || g.output[n] }) {
		for _, m := range s.Members {
			visit(m.Shape)
		}
	}
	for _, name := range sortedKeys(used) {
		if !used[name] {
			continue
		}
		g.p("// Values of %s.\nconst (", name)
		for _, v := range g.model.Shapes[name].Enum {
			g.p("%s = %q", enumName(name, v), v)
		}
		g.p(")\n")
	}
}

// initialisms keep their letters in the names of constants.
var initialisms = map[string]bool{"API": true, "AWS": true, "CRC32": true, "CRC32C": true, "CRC64NVME": true, "GZIP": true,
	"HTTP": true, "HTTPS": true, "ID": true, "IP": true, "JSON": true, "KMS": true, "MD5": true, "SHA1": true, "SHA256": true,
	"SHA512": true, "SSE": true, "TLS": true, "URL": true, "VPC": true, "VPCE": true, "XML": true, "ZIP": true}

func enumName(shape, value string) string {
	words := notWord.Split(value, -1)
	name := export(shape)
	for _, w := range words {
		for _, part := range strings.Split(w, "_") {
			switch {
			case part == "":
			case part == strings.ToUpper(part) && !initialisms[part]:
				name += part[:1] + strings.ToLower(part[1:])
			default:
				name += export(part)
			}
		}
	}
	return name
}
