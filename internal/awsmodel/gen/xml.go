package main

import "fmt"

// xmlNamespace is S3's; its answers bear it on the root.
const xmlNamespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// xmlDecoders writes DecodeXML for the structures that stand in the body of a request.
func (g *generator) xmlDecoders() {
	for _, s := range g.structures(func(n string) bool { return g.input[n] && !(g.tops[n] && g.isInput(n)) }) {
		g.p("// DecodeXML reads the element that d stands at.")
		g.p("func (v *%s) DecodeXML(d *awswire.XMLReader) {", export(s.name))
		g.p("for d.Child() {\nswitch d.Name() {")
		for _, m := range g.body(s) {
			g.p("case %q:", g.elementName(m))
			g.xmlDecodeMember(s, m)
		}
		g.p("default:\nd.Skip()\n}\n}\n}\n")
	}
}

// elementName gives the name of a member's element; a flattened list's may be its items'.
func (g *generator) elementName(m member) string {
	if m.LocationName != "" {
		return m.LocationName
	}
	if s := g.model.Shapes[m.Shape]; s.Type == "list" && g.flat(m) && s.Member.LocationName != "" {
		return s.Member.LocationName
	}
	return m.Name
}

func (g *generator) flat(m member) bool { return m.Flattened || g.model.Shapes[m.Shape].Flattened }

func (g *generator) xmlDecodeMember(s *shape, m member) {
	field := "v." + export(m.Name)
	target := g.model.Shapes[m.Shape]
	switch target.Type {
	case "structure":
		g.p("%s = new(%s)\n%s.DecodeXML(d)", field, export(m.Shape), field)
	case "list":
		if g.flat(m) {
			g.xmlDecodeItem(field, target)
			return
		}
		name := target.Member.LocationName
		if name == "" {
			name = "member"
		}
		g.p("%s = awswire.Emptied(%s)\nfor d.Child() {\nif d.Name() != %q {\nd.Skip()\ncontinue\n}", field, field, name)
		g.xmlDecodeItem(field, target)
		g.p("}")
	default:
		_, pointer := g.fieldType(m, s.requires(m.Name))
		g.p("%s = d.%s()", field, reader(target, pointer))
	}
}

func (g *generator) xmlDecodeItem(field string, list *shape) {
	item := g.model.Shapes[list.Member.Shape]
	g.p("if len(%s) > %d {\nd.Skip()\ncontinue\n}", field, maxItems)
	if item.Type == "structure" {
		g.p("%s = append(%s, %s{})\n%s[len(%s)-1].DecodeXML(d)", field, field, export(item.name), field, field)
		return
	}
	g.p("%s = append(%s, d.%s())", field, field, reader(item, false))
}

// xmlEncoders writes AppendXML for structures in answers, AppendDocument for whole answers.
func (g *generator) xmlEncoders() {
	for _, s := range g.structures(func(n string) bool { return g.output[n] }) {
		if len(g.body(s)) > 0 && !g.rootText[s.name] {
			g.p("// AppendXML appends the members that live in the body; absent ones are left out.")
			g.p("func (v *%s) AppendXML(dst []byte) []byte {", export(s.name))
			for _, m := range g.body(s) {
				g.xmlEncodeMember(s, m)
			}
			g.p("return dst\n}\n")
		}
		if g.tops[s.name] {
			g.xmlDocument(s)
		}
	}
}

func (g *generator) xmlDocument(s *shape) {
	payload := g.payload(s)
	if payload == nil && len(g.body(s)) == 0 || payload != nil && g.model.Shapes[payload.Shape].Type != "structure" {
		return
	}
	root := s.name
	expr := "v"
	if payload != nil {
		root, expr = wireName(*payload), "v."+export(payload.Name)
	}
	if s.LocationName != "" {
		root = s.LocationName
	}
	if name := g.roots[s.name]; name != "" {
		root = name
	}
	g.p("// AppendDocument appends the answer's body, a whole XML document.")
	g.p("func (v *%s) AppendDocument(dst []byte) []byte {", export(s.name))
	g.p("dst = append(dst, awswire.XMLHeader...)")
	g.p("dst = append(dst, `<%s xmlns=\"%s\">`...)", root, xmlNamespace)
	switch {
	case g.rootText[s.name]:
		g.p("dst = awswire.AppendXMLText(dst, v.%s)", export(g.body(s)[0].Name))
	case payload != nil:
		g.p("if %s != nil {\ndst = %s.AppendXML(dst)\n}", expr, expr)
	default:
		g.p("dst = v.AppendXML(dst)")
	}
	g.p("return awswire.CloseElement(dst, %q)\n}\n", root)
}

func (g *generator) xmlEncodeMember(s *shape, m member) {
	field := "v." + export(m.Name)
	target := g.model.Shapes[m.Shape]
	name := g.elementName(m)
	_, pointer := g.fieldType(m, s.requires(m.Name))
	if target.Type == "list" {
		item := g.model.Shapes[target.Member.Shape]
		inner := target.Member.LocationName
		if inner == "" {
			inner = "member"
		}
		if g.flat(m) {
			inner = name
		} else {
			if !s.requires(m.Name) {
				g.p("if %s != nil {", field)
			}
			g.p("dst = awswire.OpenElement(dst, %q)", name)
		}
		g.p("for i := range %s {", field)
		g.xmlEncodeValue(inner, field+"[i]", item)
		g.p("}")
		if !g.flat(m) {
			g.p("dst = awswire.CloseElement(dst, %q)", name)
			if !s.requires(m.Name) {
				g.p("}")
			}
		}
		return
	}
	present := g.present(field, target, s.requires(m.Name), pointer)
	if present != "" {
		g.p("if %s {", present)
	}
	if pointer {
		field = "*" + field
	}
	g.xmlEncodeValue(name, field, target)
	if present != "" {
		g.p("}")
	}
}

func (g *generator) xmlEncodeValue(name, expr string, s *shape) {
	switch s.Type {
	case "structure":
		g.p("dst = awswire.OpenElement(dst, %q)", name)
		if len(g.body(s)) > 0 {
			g.p("dst = %s.AppendXML(dst)", expr)
		}
		g.p("dst = awswire.CloseElement(dst, %q)", name)
	case "timestamp":
		g.p("dst = awswire.AppendElement(dst, %q, string(awswire.AppendISO(nil, %s)))", name, expr)
	case "string":
		g.p("dst = awswire.AppendElement(dst, %q, %s)", name, expr)
	default:
		g.p("dst = awswire.AppendElement(dst, %q, %s)", name, fmt.Sprint(textWriter(s, expr)))
	}
}
