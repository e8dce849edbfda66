package main

import (
	"fmt"
	"strings"
)

// checkMethods writes Check for whole requests, and check for what they hold.
func (g *generator) checkMethods() {
	for _, s := range g.structures(func(n string) bool { return g.input[n] && g.needsCheck(n) }) {
		if g.tops[s.name] && g.isInput(s.name) {
			g.topCheck(s)
			continue
		}
		g.p("func (v *%s) check(c *awswire.Violations, at *awswire.Path) {", export(s.name))
		g.checkMembers(s, g.fields(s), "at")
		g.p("}\n")
	}
	for _, s := range g.structures(func(n string) bool { return g.tops[n] && g.isInput(n) && !g.needsCheck(n) }) {
		g.p("// Check finds nothing: the model constrains nothing here.")
		g.p("func (v *%s) Check(*awswire.Violations) {}\n", export(s.name))
	}
	g.p("// The rules of the model.\nvar (")
	for _, line := range g.ruleSrc {
		g.p("%s", line)
	}
	g.p(")")
}

func (g *generator) isInput(name string) bool {
	for _, op := range g.model.Operations {
		if op.Input != nil && op.Input.Shape == name {
			return true
		}
	}
	return false
}

func (g *generator) topCheck(s *shape) {
	g.p("// Check gathers what breaks the constraints of the model.")
	g.p("func (v *%s) Check(c *awswire.Violations) {", export(s.name))
	if !g.bodyPath {
		g.checkMembers(s, g.fields(s), "nil")
		g.p("}\n")
		return
	}
	var outside, inside []member
	for _, m := range g.fields(s) {
		if m.Location == "" {
			inside = append(inside, m)
		} else {
			outside = append(outside, m)
		}
	}
	g.checkMembers(s, outside, "nil")
	if g.anyCheck(s, inside) {
		g.p("at := &awswire.Path{Name: %q}", g.inputPath(s.name))
		g.checkMembers(s, inside, "at")
	}
	g.p("}\n")
}

// inputPath names the input of the operation: "createRestApiInput".
func (g *generator) inputPath(shape string) string {
	for _, name := range sortedKeys(g.model.Operations) {
		if op := g.model.Operations[name]; op.Input != nil && op.Input.Shape == shape {
			return lower(name) + "Input"
		}
	}
	return lower(shape)
}

func (g *generator) anyCheck(s *shape, list []member) bool {
	for _, m := range list {
		if s.requires(m.Name) || g.checksValue(m.Shape) {
			return true
		}
	}
	return false
}

// needsCheck reports whether anything in a structure, however deep, is constrained.
func (g *generator) needsCheck(name string) bool {
	if g.checked[name] != 0 {
		return g.checked[name] == 2
	}
	g.checked[name] = 1
	if g.anyCheck(g.model.Shapes[name], g.fields(g.model.Shapes[name])) {
		g.checked[name] = 2
	}
	return g.checked[name] == 2
}

func (g *generator) checksValue(name string) bool {
	s := g.model.Shapes[name]
	switch s.Type {
	case "structure":
		return g.needsCheck(name)
	case "list":
		return g.rule(s) != "" || g.checksValue(s.Member.Shape)
	case "map":
		return g.rule(s) != "" || g.checksValue(s.Key.Shape) || g.checksValue(s.Value.Shape)
	}
	return g.rule(s) != ""
}

func (g *generator) checkMembers(s *shape, list []member, at string) {
	for _, m := range list {
		g.checkMember(s, m, at)
	}
}

func (g *generator) checkMember(s *shape, m member, at string) {
	required := s.requires(m.Name)
	target := g.model.Shapes[m.Shape]
	inner := g.checksValue(m.Shape)
	if !required && !inner {
		return
	}
	field := "v." + export(m.Name)
	name := lower(m.Name)
	_, pointer := g.fieldType(m, required)
	present := g.present(field, target, false, pointer)
	if target.Type == "boolean" && !pointer {
		present = field
	}
	if bit := g.bit(s, m); bit != "" {
		present += " || v." + bit + " != 0"
	}
	if !inner {
		g.p("if !(%s) {\nc.Null(%s, %q)\n}", present, at, name)
		return
	}
	g.p("if %s {", present)
	if pointer {
		field = "*" + field
	}
	g.checkValue(at, name, field, target)
	if required {
		g.p("} else {\nc.Null(%s, %q)", at, name)
	}
	g.p("}")
}

func (g *generator) checkValue(at, name, expr string, s *shape) {
	rule := g.rule(s)
	switch s.Type {
	case "string":
		g.p("c.String(%s, %q, %s, &%s)", at, name, expr, rule)
	case "integer", "long":
		g.p("c.Int(%s, %q, int64(%s), &%s)", at, name, expr, rule)
	case "double", "float":
		g.p("c.Float(%s, %q, %s, &%s)", at, name, expr, rule)
	case "blob":
		g.p("c.Blob(%s, %q, %s, &%s)", at, name, expr, rule)
	case "structure":
		g.p("%s.check(c, &awswire.Path{Up: %s, Name: %q})", expr, at, name)
	case "list":
		g.checkList(at, name, expr, s, rule)
	case "map":
		g.checkMap(at, name, expr, s, rule)
	}
}

func orNil(rule string) string {
	if rule == "" {
		return "nil"
	}
	return "&" + rule
}

func (g *generator) checkList(at, name, expr string, s *shape, rule string) {
	item := g.model.Shapes[s.Member.Shape]
	if item.Type == "string" {
		g.p("c.Strings(%s, %q, %s, %s, %s)", at, name, expr, orNil(rule), orNil(g.rule(item)))
		return
	}
	if rule != "" {
		g.p("if n := len(%s); n < %s.Min || %s.Max >= 0 && n > %s.Max {", expr, rule, rule, rule)
		g.p("c.Size(%s, %q, n, awswire.Structures(%q, n), &%s)\n}", at, name, g.javaPackage+item.name, rule)
	}
	if item.Type == "structure" && g.needsCheck(item.name) {
		g.p("for i := range %s {\n%s[i].check(c, &awswire.Path{Up: %s, Name: %q, Index: i + 1})\n}", expr, expr, at, name)
	}
}

func (g *generator) checkMap(at, name, expr string, s *shape, rule string) {
	value := g.model.Shapes[s.Value.Shape]
	if value.Type == "string" {
		g.p("c.Map(%s, %q, %s, %s, %s, %s)", at, name, expr, orNil(rule), orNil(g.rule(g.model.Shapes[s.Key.Shape])), orNil(g.rule(value)))
		return
	}
	if value.Type == "structure" && g.needsCheck(value.name) {
		g.p("for _, key := range slices.Sorted(maps.Keys(%s)) {\nvalue := %s[key]", expr, expr)
		g.p("value.check(c, &awswire.Path{Up: %s, Name: %q, Key: key})\n}", at, name)
	}
}

// rule names the variable that holds a shape's constraints, "" when it has none.
func (g *generator) rule(s *shape) string {
	if name, ok := g.rules[s.name]; ok {
		return name
	}
	src := ruleSource(s, g.enumOrder)
	name := ""
	if src != "" {
		name = "rule" + export(s.name)
		g.ruleSrc = append(g.ruleSrc, name+" = "+src)
	}
	g.rules[s.name] = name
	return name
}

func ruleSource(s *shape, enumOrder map[string][]string) string {
	switch s.Type {
	case "string", "list", "map", "blob":
		return sizeRule(s, enumOrder)
	case "integer", "long", "double", "float":
		return rangeRule(s)
	}
	return ""
}

func sizeRule(s *shape, enumOrder map[string][]string) string {
	if len(s.Enum) > 0 {
		values := s.Enum
		if recorded := enumOrder[s.name]; recorded != nil {
			values = append(append([]string{}, recorded...), missing(s.Enum, recorded)...)
		}
		return fmt.Sprintf("awswire.Rule{Max: -1, Enum: %#v}", values)
	}
	parts := []string{}
	if s.Min != nil && *s.Min > 0 {
		parts = append(parts, fmt.Sprintf("Min: %d", int(*s.Min)))
	}
	bound := -1
	if s.Max != nil {
		bound = int(*s.Max)
	}
	match := matchSource(s.Pattern)
	if bound < 0 && len(parts) == 0 && match == "" {
		return ""
	}
	parts = append(parts, fmt.Sprintf("Max: %d", bound))
	if match != "" {
		parts = append(parts, fmt.Sprintf("Pattern: %q, Match: %s", s.Pattern, match))
	}
	return "awswire.Rule{" + strings.Join(parts, ", ") + "}"
}

// missing gives the values that a recorded order, older than the model, does not know.
func missing(all, recorded []string) []string {
	var rest []string
next:
	for _, v := range all {
		for _, r := range recorded {
			if v == r {
				continue next
			}
		}
		rest = append(rest, v)
	}
	return rest
}

func matchSource(pattern string) string {
	if pattern == "" {
		return ""
	}
	if match, ok := matchers[pattern]; ok {
		return match
	}
	if r, ok := rewritten[pattern]; ok {
		pattern = r
	}
	return fmt.Sprintf("awswire.Pattern(%q)", pattern)
}

func rangeRule(s *shape) string {
	if s.Min == nil && s.Max == nil {
		return ""
	}
	low, high := "awswire.AnyMin", "awswire.AnyMax"
	if s.Min != nil {
		low = fmt.Sprintf("%v", int64(*s.Min))
	}
	if s.Max != nil {
		high = fmt.Sprintf("%v", int64(*s.Max))
	}
	return fmt.Sprintf("awswire.Range{Min: %s, Max: %s}", low, high)
}
