package main

import (
	"fmt"

	"millrace/internal/awswire"
)

// cborDecoders writes DecodeCBOR for all structures that a request reaches.
func (g *generator) cborDecoders() { g.decoders("CBOR") }

// cborEncoders writes AppendCBOR for all structures that an answer reaches. Maps have their lengths in front, as the
// members are counted while they are written.
func (g *generator) cborEncoders() {
	for _, s := range g.structures(func(n string) bool { return g.output[n] }) {
		body := g.body(s)
		if g.tops[s.name] && len(body) == 0 {
			continue // answers without members have an empty body, which needs no code
		}
		g.p("// AppendCBOR appends the members that live in the body; absent ones are left out.")
		g.p("func (v *%s) AppendCBOR(dst []byte) []byte {", export(s.name))
		switch {
		case len(body) > awswire.CBORMapMost:
			panic(fmt.Sprintf("%s has %d members, more than a byte can count", s.name, len(body)))
		case len(body) == 0:
			g.p("return append(dst, awswire.CBORMap)\n}\n")
			continue
		}
		always := 0
		for _, m := range body {
			if _, present := g.member(s, m); present == "" {
				always++
			}
		}
		if always < len(body) {
			g.p("head := len(dst)")
		}
		g.p("dst = append(dst, awswire.CBORMap+%d)", always)
		for _, m := range body {
			g.encodeMemberCBOR(s, m)
		}
		g.p("return dst\n}\n")
	}
}

func (g *generator) encodeMemberCBOR(s *shape, m member) {
	value, present := g.member(s, m)
	if present != "" {
		g.p("if %s {\ndst[head]++", present)
	}
	g.p("dst = append(dst, %s...)", cborText(wireName(m)))
	g.encodeValueCBOR(value, g.model.Shapes[m.Shape], 0)
	if present != "" {
		g.p("}")
	}
}

// cborText gives the source of a text string: its head apart from its letters, so that both can be read.
func cborText(text string) string {
	head := awswire.AppendCBORString(nil, text)
	head = head[:len(head)-len(text)]
	src := ""
	for _, b := range head {
		src += fmt.Sprintf(`\x%02x`, b)
	}
	return fmt.Sprintf(`"%s"+%q`, src, text)
}

func (g *generator) encodeValueCBOR(expr string, s *shape, depth int) {
	switch s.Type {
	case "structure":
		g.p("dst = %s.AppendCBOR(dst)", expr)
	case "list":
		i := fmt.Sprintf("i%d", depth)
		g.p("dst = awswire.AppendCBORList(dst, len(%s))\nfor %s := range %s {", expr, i, expr)
		g.encodeValueCBOR(fmt.Sprintf("%s[%s]", expr, i), g.model.Shapes[s.Member.Shape], depth+1)
		g.p("}")
	case "map":
		k, e := fmt.Sprintf("key%d", depth), fmt.Sprintf("value%d", depth)
		g.p("dst = awswire.AppendCBORMap(dst, len(%s))\nfor _, %s := range slices.Sorted(maps.Keys(%s)) {", expr, k, expr)
		g.p("dst = awswire.AppendCBORString(dst, %s)\n%s := %s[%s]", k, e, expr, k)
		g.encodeValueCBOR(e, g.model.Shapes[s.Value.Shape], depth+1)
		g.p("}")
	default:
		g.p("dst = awswire.AppendCBOR%s(dst, %s)", cborAppender(s), expr)
	}
}

func cborAppender(s *shape) string {
	switch s.Type {
	case "integer", "long":
		return "Int"
	case "double", "float":
		return "Float"
	case "boolean":
		return "Bool"
	case "timestamp":
		return "Time"
	case "blob":
		return "Blob"
	}
	return "String"
}
