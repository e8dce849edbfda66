package main

import (
	"fmt"
	"strings"
)

// restLocations writes Decode for whole requests (path, query, headers, then the body), and SetHeader for
// answers that have members in headers.
func (g *generator) restLocations() {
	for _, s := range g.structures(func(n string) bool { return g.tops[n] && g.isInput(n) }) {
		g.restDecode(s)
	}
	for _, s := range g.structures(func(n string) bool { return g.tops[n] && g.output[n] }) {
		g.restHeaders(s)
	}
}

func (g *generator) restDecode(s *shape) {
	g.p("// Decode reads the request. The error is a [awswire.SerializationError] or, of an XML body, a [awswire.XMLError].")
	g.p("func (v *%s) Decode(r *awswire.Request) error {", export(s.name))
	for _, m := range g.fields(s) {
		g.decodeLocation(s, m)
	}
	g.p("if r.Err != nil {\nreturn r.Err\n}")
	payload := g.payload(s)
	isXML := g.model.Metadata.Protocol == protocolXML
	switch {
	case payload != nil && g.model.Shapes[payload.Shape].Type == "blob" && !payload.Streaming:
		g.p("v.%s = r.Body\nreturn nil", export(payload.Name))
	case payload != nil && g.model.Shapes[payload.Shape].Type == "structure" && isXML:
		field := "v." + export(payload.Name)
		g.p("if len(r.Body) == 0 {\nreturn nil\n}\n%s = new(%s)\nd := awswire.NewXMLReader(r.Body)\n%s.DecodeXML(d)\nreturn d.Close()",
			field, export(payload.Shape), field)
	case payload == nil && len(g.body(s)) > 0 && !isXML:
		g.p("return r.JSON(v.DecodeJSON)")
	default:
		g.p("return nil")
	}
	g.p("}\n")
}

func (g *generator) payload(s *shape) *member {
	for i := range s.Members {
		if s.Payload != "" && s.Members[i].Name == s.Payload {
			return &s.Members[i]
		}
	}
	return nil
}

func (g *generator) decodeLocation(s *shape, m member) {
	field := "v." + export(m.Name)
	target := g.model.Shapes[m.Shape]
	name := wireName(m)
	get := ""
	switch m.Location {
	case "uri":
		get = "Label"
	case "querystring":
		if target.Type == "map" {
			g.p("%s = r.QueryMap(%s)", field, g.otherQueries(s, m))
			return
		}
		get = "QueryValue"
		if target.Type == "list" {
			g.p("if s, ok := r.Query[%q]; ok {\n%s = s\n}", name, field)
			return
		}
	case "header":
		get = "HeaderValue"
		if target.Type == "list" {
			g.p("if s, ok := r.HeaderValue(%q); ok {\n%s = awswire.SplitHeader(s)\n}", name, field)
			return
		}
	case "headers":
		g.p("%s = r.HeaderMap(%q)", field, name)
		return
	default:
		return
	}
	_, pointer := g.fieldType(m, s.requires(m.Name))
	value := textReader(target, name, m.Location)
	if pointer {
		value = fmt.Sprintf("new(%s)", value)
	}
	g.p("if s, ok := r.%s(%q); ok {\n%s = %s%s\n}", get, name, field, value, g.mark(s, m))
}

func (g *generator) otherQueries(s *shape, but member) string {
	var names []string
	for _, m := range s.Members {
		if m.Location == "querystring" && m.Name != but.Name {
			names = append(names, fmt.Sprintf("%q", wireName(m)))
		}
	}
	return strings.Join(names, ", ")
}

// textReader gives the expression that reads s, the text of a member outside the body.
func textReader(target *shape, name, location string) string {
	switch target.Type {
	case "integer":
		return fmt.Sprintf("r.Int(%q, s)", name)
	case "long":
		return fmt.Sprintf("r.Long(%q, s)", name)
	case "boolean":
		return fmt.Sprintf("r.Bool(%q, s)", name)
	case "timestamp":
		if target.TimestampFormat == "iso8601" || target.TimestampFormat == "" && location == "querystring" {
			return fmt.Sprintf("r.TimeISO(%q, s)", name)
		}
		return fmt.Sprintf("r.TimeHTTP(%q, s)", name)
	}
	return "s"
}

func (g *generator) restHeaders(s *shape) {
	var list []member
	for _, m := range g.fields(s) {
		if m.Location == "header" || m.Location == "headers" {
			list = append(list, m)
		}
	}
	if len(list) == 0 {
		return
	}
	g.p("// SetHeader writes the members that live in headers; absent ones are left out.")
	g.p("func (v *%s) SetHeader(h http.Header) {", export(s.name))
	for _, m := range list {
		field := "v." + export(m.Name)
		target := g.model.Shapes[m.Shape]
		if m.Location == "headers" {
			g.p("for k, s := range %s {\nh.Set(%q+k, s)\n}", field, wireName(m))
			continue
		}
		_, pointer := g.fieldType(m, s.requires(m.Name))
		present := g.present(field, target, s.requires(m.Name), pointer)
		if present != "" {
			g.p("if %s {", present)
		}
		if pointer {
			field = "*" + field
		}
		g.p("h.Set(%q, %s)", wireName(m), textWriter(target, field))
		if present != "" {
			g.p("}")
		}
	}
	g.p("}\n")
}

func textWriter(target *shape, expr string) string {
	switch target.Type {
	case "integer":
		return fmt.Sprintf("strconv.Itoa(%s)", expr)
	case "long":
		return fmt.Sprintf("strconv.FormatInt(%s, 10)", expr)
	case "boolean":
		return fmt.Sprintf("strconv.FormatBool(%s)", expr)
	case "timestamp":
		if target.TimestampFormat == "iso8601" {
			return fmt.Sprintf("string(awswire.AppendISO(nil, %s))", expr)
		}
		return fmt.Sprintf("awswire.HTTPTime(%s)", expr)
	case "list":
		return fmt.Sprintf("awswire.JoinHeader(%s)", expr)
	}
	return expr
}
