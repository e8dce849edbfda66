package main

import "fmt"

// maxItems bounds the items that a decoder keeps of a list or map without a bound in the model: more than any
// operation takes, less than memory.
const maxItems = 100_000

// jsonDecoders writes DecodeJSON for all structures that a request reaches.
func (g *generator) jsonDecoders() { g.decoders("JSON") }

// decoders writes the decoders of a format. The readers of all formats have the same methods, but one decoder over an
// interface took 4 to 10 % longer to read puts in JSON, and to spare generated code spares nobody anything.
func (g *generator) decoders(format string) {
	for _, s := range g.structures(func(n string) bool { return g.input[n] }) {
		if g.tops[s.name] && len(g.body(s)) == 0 && g.model.Metadata.Protocol == protocolREST {
			continue
		}
		g.p("// Decode%s reads the members that live in the body; see [awswire.%s] for who owns the bytes.", format, format)
		g.p("func (v *%s) Decode%s(d *awswire.%s) {", export(s.name), format, format)
		g.p("if !d.Object() {\nreturn\n}\nfor d.Member() {\nswitch string(d.Key()) {")
		for _, m := range g.body(s) {
			g.p("case %q:", wireName(m))
			g.decodeMember(format, s, m)
		}
		g.p("default:\nd.Skip()\n}\n}\n}\n")
	}
}

func (g *generator) decodeMember(format string, s *shape, m member) {
	field := "v." + export(m.Name)
	target := g.model.Shapes[m.Shape]
	switch {
	case target.Type == "structure":
		g.p("%s = new(%s)\n%s.Decode%s(d)", field, export(m.Shape), field, format)
	case target.Type == "list" || target.Type == "map":
		g.decodeInto(format, field, target, 0)
	default:
		_, pointer := g.fieldType(m, s.requires(m.Name))
		g.p("%s = d.%s()%s", field, reader(target, pointer), g.mark(s, m))
	}
}

func reader(s *shape, pointer bool) string {
	name := ""
	switch s.Type {
	case "string":
		name = "String"
	case "integer":
		name = "Int"
	case "long":
		name = "Long"
	case "double", "float":
		name = "Float"
	case "boolean":
		name = "Bool"
	case "timestamp":
		return "Time"
	case "blob":
		return "Blob"
	}
	if pointer {
		name += "Ptr"
	}
	return name
}

// decodeInto writes the reading of a list or map into a variable.
func (g *generator) decodeInto(format, dst string, s *shape, depth int) {
	bound := maxItems
	if s.Max != nil {
		bound = int(*s.Max)
	}
	if s.Type == "list" {
		item := g.model.Shapes[s.Member.Shape]
		l := fmt.Sprintf("list%d", depth)
		g.p("if d.List() {\n%s := awswire.Emptied(%s)\nfor d.Item() {", l, dst)
		g.p("if len(%s) > %d {\nd.Skip()\ncontinue\n}", l, bound)
		switch {
		case item.Type == "structure":
			g.p("%s = append(%s, %s{})\n%s[len(%s)-1].Decode%s(d)", l, l, export(item.name), l, l, format)
		case item.Type == "list" || item.Type == "map":
			g.p("var item%d %s", depth, g.goType(s.Member.Shape))
			g.decodeInto(format, fmt.Sprintf("item%d", depth), item, depth+1)
			g.p("%s = append(%s, item%d)", l, l, depth)
		default:
			g.p("%s = append(%s, d.%s())", l, l, reader(item, false))
		}
		g.p("}\n%s = %s\n}", dst, l)
		return
	}
	value := g.model.Shapes[s.Value.Shape]
	t := g.goType(s.Value.Shape)
	m, k, e := fmt.Sprintf("map%d", depth), fmt.Sprintf("key%d", depth), fmt.Sprintf("value%d", depth)
	g.p("if d.Map() {\n%s := map[string]%s{}\nfor d.Member() {", m, t)
	g.p("if len(%s) > %d {\nd.Skip()\ncontinue\n}\n%s := d.KeyString()", m, bound, k)
	switch {
	case value.Type == "structure":
		g.p("var %s %s\n%s.Decode%s(d)\n%s[%s] = %s", e, t, e, format, m, k, e)
	case value.Type == "list" || value.Type == "map":
		g.p("var %s %s", e, t)
		g.decodeInto(format, e, value, depth+1)
		g.p("%s[%s] = %s", m, k, e)
	default:
		g.p("%s[%s] = d.%s()", m, k, reader(value, false))
	}
	g.p("}\n%s = %s\n}", dst, m)
}

// jsonEncoders writes AppendJSON for all structures that an answer reaches.
func (g *generator) jsonEncoders() {
	for _, s := range g.structures(func(n string) bool { return g.output[n] }) {
		if g.tops[s.name] && len(g.body(s)) == 0 {
			continue // answers without members have an empty body, which needs no code
		}
		g.p("// AppendJSON appends the members that live in the body; absent ones are left out.")
		g.p("func (v *%s) AppendJSON(dst []byte) []byte {\ndst = append(dst, '{')", export(s.name))
		for _, m := range g.body(s) {
			g.encodeMember(s, m)
		}
		g.p("return append(dst, '}')\n}\n")
	}
}

func (g *generator) encodeMember(s *shape, m member) {
	value, present := g.member(s, m)
	if present != "" {
		g.p("if %s {", present)
	}
	g.p("dst = append(awswire.Comma(dst), %s...)", fmt.Sprintf("`%q:`", wireName(m)))
	g.encodeValue(value, g.model.Shapes[m.Shape], 0)
	if present != "" {
		g.p("}")
	}
}

// member gives the value of a member of an answer, and the condition under which it is written, "" for always.
func (g *generator) member(s *shape, m member) (value, present string) {
	field := "v." + export(m.Name)
	_, pointer := g.fieldType(m, s.requires(m.Name))
	present = g.present(field, g.model.Shapes[m.Shape], s.requires(m.Name) || g.always[s.name+"."+m.Name], pointer)
	if pointer {
		field = "*" + field
	}
	return field, present
}

// present gives the condition under which a member is written, "" for always.
func (g *generator) present(field string, s *shape, required, pointer bool) string {
	switch {
	case required && (s.Type == "list" || s.Type == "map"):
		return ""
	case pointer || s.Type == "structure" || s.Type == "list" || s.Type == "map" || s.Type == "blob":
		return field + " != nil"
	case s.Type == "timestamp":
		return "!" + field + ".IsZero()"
	case required:
		return ""
	case s.Type == "string":
		return field + ` != ""`
	}
	return field + " != 0"
}

func (g *generator) encodeValue(expr string, s *shape, depth int) {
	switch s.Type {
	case "structure":
		g.p("dst = %s.AppendJSON(dst)", expr)
	case "list":
		i := fmt.Sprintf("i%d", depth)
		g.p("dst = append(dst, '[')\nfor %s := range %s {\ndst = awswire.Comma(dst)", i, expr)
		g.encodeValue(fmt.Sprintf("%s[%s]", expr, i), g.model.Shapes[s.Member.Shape], depth+1)
		g.p("}\ndst = append(dst, ']')")
	case "map":
		k, e := fmt.Sprintf("key%d", depth), fmt.Sprintf("value%d", depth)
		g.p("dst = append(dst, '{')\nfor _, %s := range slices.Sorted(maps.Keys(%s)) {", k, expr)
		g.p("dst = awswire.AppendString(awswire.Comma(dst), %s)\ndst = append(dst, ':')\n%s := %s[%s]", k, e, expr, k)
		g.encodeValue(e, g.model.Shapes[s.Value.Shape], depth+1)
		g.p("}\ndst = append(dst, '}')")
	default:
		g.p("dst = awswire.%s(dst, %s)", jsonAppender(s), expr)
	}
}

func jsonAppender(s *shape) string {
	switch s.Type {
	case "integer", "long":
		return "AppendInt"
	case "double", "float":
		return "AppendFloat"
	case "boolean":
		return "AppendBool"
	case "timestamp":
		if s.TimestampFormat == "iso8601" {
			return "AppendISOString"
		}
		return "AppendEpoch"
	case "blob":
		return "AppendBlob"
	}
	return "AppendString"
}
