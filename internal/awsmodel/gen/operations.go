package main

import (
	"fmt"
	"sort"
	"strings"
)

// operationTable writes what the service's operations and errors are called, and how REST requests find them.
func (g *generator) operationTable() {
	if prefix := g.model.Metadata.TargetPrefix; prefix != "" {
		g.p("// TargetPrefix stands before the operation in X-Amz-Target.\nconst TargetPrefix = %q\n", prefix)
		g.p("// Operations names all operations of the service.\nvar Operations = []string{")
		for _, name := range sortedKeys(g.model.Operations) {
			g.p("%q,", name)
		}
		g.p("}\n")
	} else {
		g.p("// Operations holds all operations of the service, for [awswire.NewRouter].\nvar Operations = []awswire.Operation{")
		for _, name := range sortedKeys(g.model.Operations) {
			g.restOperation(g.model.Operations[name])
		}
		g.p("}\n")
	}
	g.errorTypes()
}

func (g *generator) restOperation(op *operation) {
	uri, query, _ := strings.Cut(op.HTTP.RequestURI, "?")
	status := op.HTTP.ResponseCode
	if status == 0 {
		status = 200
	}
	fields := fmt.Sprintf("Name: %q, Method: %q, Path: %q, Status: %d", op.Name, op.HTTP.Method, uri, status)
	var literal []string
	if query != "" {
		for _, q := range strings.Split(query, "&") {
			if !strings.HasPrefix(q, "x-id=") {
				literal = append(literal, q)
			}
		}
	}
	fields += list("Query", literal)
	var needsQuery, needsHeader []string
	if op.Input != nil {
		in := g.model.Shapes[op.Input.Shape]
		for _, m := range in.Members {
			if !in.requires(m.Name) {
				continue
			}
			switch m.Location {
			case "querystring":
				needsQuery = append(needsQuery, m.LocationName)
			case "header":
				needsHeader = append(needsHeader, m.LocationName)
			}
		}
	}
	g.p("{%s%s%s},", fields, list("NeedsQuery", needsQuery), list("NeedsHeader", needsHeader))
}

func list(field string, values []string) string {
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf(", %s: %#v", field, values)
}

func (g *generator) errorTypes() {
	var lines []string
	for _, name := range sortedKeys(g.model.Shapes) {
		s := g.model.Shapes[name]
		if !s.Exception {
			continue
		}
		status := s.Error.HTTPStatusCode
		switch {
		case status != 0:
		case s.Fault:
			status = 500
		default:
			status = 400
		}
		code := name
		if s.Error.Code != "" {
			code = s.Error.Code
		}
		lines = append(lines, fmt.Sprintf("Err%s = awswire.ErrorType{Code: %q, Status: %d}", strings.TrimSuffix(export(name), "Exception"), code, status))
	}
	if len(lines) == 0 {
		return
	}
	sort.Strings(lines)
	g.p("// The errors of the model.\nvar (\n%s\n)\n", strings.Join(lines, "\n"))
}
