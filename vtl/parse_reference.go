package vtl

import "strings"

func identifierPart(c byte) bool { return letter(c) || digit(c) || c == '_' || c == '-' }

// identifier reads a name: a letter or '_', then letters, digits, '_' and '-'.
func (p *parser) identifier() (string, bool) {
	if p.pos >= len(p.src) || !letter(p.src[p.pos]) && p.src[p.pos] != '_' {
		return "", false
	}
	start := p.pos
	for p.pos < len(p.src) && identifierPart(p.src[p.pos]) {
		p.pos++
	}
	return p.src[start:p.pos], true
}

// referenceOrText reads what begins with '$' in running text.
func (p *parser) referenceOrText() (*Node, error) {
	from := p.pos
	ref, err := p.reference()
	if err != nil || ref != nil {
		return ref, err
	}
	if from == len(p.src)-1 && !p.literal {
		return nil, p.errorAt(from, "a template can't end in $")
	}
	p.pos = from + 1
	if p.pos < len(p.src) && p.src[p.pos] == '!' {
		p.pos++ // "$!" before anything else prints "$" alone
	}
	return p.text(from, "$"), nil
}

// reference reads a reference at '$'; nil without an error when none begins here.
func (p *parser) reference() (*Node, error) {
	from := p.pos
	n := p.node(ReferenceNode, from)
	p.pos++
	if p.pos < len(p.src) && p.src[p.pos] == '!' {
		n.Quiet = true
		p.pos++
	}
	braced := p.pos < len(p.src) && p.src[p.pos] == '{'
	if braced {
		p.pos++
	}
	name, ok := p.identifier()
	if !ok {
		p.pos = from
		return nil, nil
	}
	n.Text = name
	if err := p.parts(n); err != nil {
		return nil, err
	}
	if braced {
		if p.pos >= len(p.src) || p.src[p.pos] != '}' {
			return nil, p.errorAt(p.pos, "${%s is not closed by }", name)
		}
		p.pos++
	}
	n.Source = p.src[from:p.pos]
	return n, nil
}

// parts reads indexes, properties and calls behind a name.
func (p *parser) parts(ref *Node) error {
	if err := p.nest(); err != nil {
		return err
	}
	defer func() { p.depth-- }()
	for p.pos < len(p.src) {
		at := p.pos
		switch {
		case p.src[p.pos] == '[':
			index, err := p.index()
			if err != nil {
				return err
			}
			ref.Kids = append(ref.Kids, p.node(IndexNode, at, index))
		case p.src[p.pos] == '.' && p.pos+1 < len(p.src) && letter(p.src[p.pos+1]):
			p.pos++
			name, _ := p.identifier()
			part := p.node(PropertyNode, at+1)
			part.Text = name
			if p.pos < len(p.src)-1 && p.src[p.pos] == '(' {
				args, err := p.arguments()
				if err != nil {
					return err
				}
				part.Kind, part.Kids = MethodNode, args
			}
			ref.Kids = append(ref.Kids, part)
		default:
			return nil
		}
	}
	return nil
}

func (p *parser) index() (*Node, error) {
	from := p.pos
	p.pos++
	p.space()
	arg, err := p.argument()
	if err != nil {
		return nil, err
	}
	switch arg.Kind {
	case StringNode, IntegerNode, BoolNode, ReferenceNode:
	default:
		return nil, p.errorAt(from, "an index is a string, an integer, true, false or a reference")
	}
	p.space()
	if p.pos >= len(p.src) || p.src[p.pos] != ']' {
		return nil, p.errorAt(p.pos, "an index needs ] here%s", p.found())
	}
	p.pos++
	return arg, nil
}

// arguments reads "(a, b)".
func (p *parser) arguments() ([]*Node, error) {
	p.pos++ // (
	p.space()
	if p.pos < len(p.src) && p.src[p.pos] == ')' {
		p.pos++
		return nil, nil
	}
	var args []*Node
	for {
		p.space()
		arg, err := p.argument()
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
		p.space()
		switch {
		case p.pos < len(p.src) && p.src[p.pos] == ',':
			p.pos++
		case p.pos < len(p.src) && p.src[p.pos] == ')':
			p.pos++
			return args, nil
		default:
			return nil, p.errorAt(p.pos, "a call needs , or ) here%s", p.found())
		}
	}
}

// argument reads a literal, a reference, a list, a map, a range, or a bare word, which is null.
func (p *parser) argument() (*Node, error) {
	if p.pos < len(p.src) && letter(p.src[p.pos]) {
		from := p.pos
		word, _ := p.identifier()
		n := p.node(NullNode, from)
		n.Text = word
		if word == "true" || word == "false" {
			n.Kind = BoolNode
		}
		return n, nil
	}
	return p.primary(false)
}

// primary reads an operand: a literal, a reference, a list, a map or a range, and in expressions also an
// expression in parentheses.
func (p *parser) primary(parentheses bool) (*Node, error) {
	if err := p.nest(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if p.pos >= len(p.src) {
		return nil, p.errorAt(p.pos, "a value is missing at the end of the template")
	}
	from := p.pos
	switch c := p.src[p.pos]; {
	case c == '$':
		ref, err := p.reference()
		if err == nil && ref == nil {
			err = p.errorAt(from, "$ begins no reference here")
		}
		if err != nil {
			return nil, err
		}
		return ref, nil
	case c == '"' || c == '\'':
		return p.stringLiteral(c)
	case c == '[':
		return p.listOrRange()
	case c == '{':
		return p.mapLiteral()
	case c == '(' && parentheses:
		p.pos++
		n, err := p.expression()
		if err != nil {
			return nil, err
		}
		return n, p.closing("an expression")
	case digit(c), c == '-', c == '.':
		return p.number()
	case letter(c) && parentheses:
		word, _ := p.identifier()
		if word == "true" || word == "false" {
			n := p.node(BoolNode, from)
			n.Text = word
			return n, nil
		}
		p.pos = from
	}
	return nil, p.errorAt(p.pos, "a value is missing here%s", p.found())
}

// number reads an integer or a float; the sign belongs to it.
func (p *parser) number() (*Node, error) {
	from := p.pos
	if p.src[p.pos] == '-' {
		p.pos++
	}
	digits := func() bool {
		start := p.pos
		for p.pos < len(p.src) && digit(p.src[p.pos]) {
			p.pos++
		}
		return p.pos > start
	}
	kind := IntegerNode
	whole := digits()
	fraction := false
	if p.pos < len(p.src) && p.src[p.pos] == '.' && !p.at("..") {
		p.pos++
		fraction = digits()
		kind = FloatNode
	}
	if !whole && !fraction {
		p.pos = from
		return nil, p.errorAt(from, "a value is missing here%s", p.found())
	}
	if p.pos < len(p.src) && (p.src[p.pos] == 'e' || p.src[p.pos] == 'E') {
		mark := p.pos
		p.pos++
		if p.pos < len(p.src) && (p.src[p.pos] == '+' || p.src[p.pos] == '-') {
			p.pos++
		}
		if digits() {
			kind = FloatNode
		} else {
			p.pos = mark
		}
	}
	if p.pos-from > maxNumberDigits {
		return nil, p.errorAt(from, "a number of more than %d digits", maxNumberDigits)
	}
	n := p.node(kind, from)
	n.Text = p.src[from:p.pos]
	return n, nil
}

// maxNumberDigits bounds integers of any size: arithmetic on them is quadratic.
const maxNumberDigits = 1000

func (p *parser) listOrRange() (*Node, error) {
	from := p.pos
	p.pos++
	n := p.node(ListNode, from)
	if p.pos < len(p.src) && p.src[p.pos] == ']' {
		p.pos++
		return n, nil
	}
	for {
		p.space()
		item, err := p.argument()
		if err != nil {
			return nil, err
		}
		n.Kids = append(n.Kids, item)
		p.space()
		switch {
		case p.at("..") && len(n.Kids) == 1:
			return p.rangeEnd(n)
		case p.pos < len(p.src) && p.src[p.pos] == ',':
			p.pos++
		case p.pos < len(p.src) && p.src[p.pos] == ']':
			p.pos++
			return n, nil
		default:
			return nil, p.errorAt(p.pos, "a list needs , or ] here%s", p.found())
		}
	}
}

func (p *parser) rangeEnd(n *Node) (*Node, error) {
	p.pos += 2
	p.space()
	last, err := p.argument()
	if err != nil {
		return nil, err
	}
	n.Kind, n.Kids = RangeNode, append(n.Kids, last)
	for _, end := range n.Kids {
		if end.Kind != IntegerNode && end.Kind != ReferenceNode {
			return nil, p.errorAt(p.pos, "the ends of a range are integers or references")
		}
	}
	p.space()
	if p.pos >= len(p.src) || p.src[p.pos] != ']' {
		return nil, p.errorAt(p.pos, "a range needs ] here%s", p.found())
	}
	p.pos++
	return n, nil
}

func (p *parser) mapLiteral() (*Node, error) {
	n := p.node(MapNode, p.pos)
	p.pos++
	p.space()
	if p.pos < len(p.src) && p.src[p.pos] == '}' {
		p.pos++
		return n, nil
	}
	for {
		p.space()
		key, err := p.argument()
		if err != nil {
			return nil, err
		}
		if key.Kind == NullNode {
			return nil, p.errorAt(p.pos, "a bare word can't be a key; quote it")
		}
		p.space()
		if p.pos >= len(p.src) || p.src[p.pos] != ':' {
			return nil, p.errorAt(p.pos, "a map needs : here%s", p.found())
		}
		p.pos++
		p.space()
		value, err := p.argument()
		if err != nil {
			return nil, err
		}
		n.Kids = append(n.Kids, key, value)
		p.space()
		switch {
		case p.pos < len(p.src) && p.src[p.pos] == ',':
			p.pos++
		case p.pos < len(p.src) && p.src[p.pos] == '}':
			p.pos++
			return n, nil
		default:
			return nil, p.errorAt(p.pos, "a map needs , or } here%s", p.found())
		}
	}
}

// stringLiteral reads '…' or "…"; a doubled quote stands for one. The contents of "…" are a template of their own.
func (p *parser) stringLiteral(quote byte) (*Node, error) {
	from := p.pos
	n := p.node(StringNode, from)
	i := p.pos + 1
	for {
		end := strings.IndexByte(p.src[i:], quote)
		if end < 0 {
			return nil, p.errorAt(from, "a string is not closed by %c", quote)
		}
		i += end
		if i+1 < len(p.src) && p.src[i+1] == quote {
			i += 2
			continue
		}
		break
	}
	raw := p.src[from+1 : i]
	p.pos = i + 1
	n.Text = strings.ReplaceAll(raw, string([]byte{quote, quote}), string(quote))
	if quote == '\'' {
		return n, nil
	}
	n.Text = decodeUnicode(n.Text)
	if !strings.ContainsAny(n.Text, "$#\\") {
		return n, nil
	}
	line, column := p.place(from + 1)
	inner := &parser{name: p.name, src: n.Text, line: line, column: column, depth: p.depth, macros: p.macros, limits: p.limits,
		literal: !strings.Contains(n.Text, "##")}
	block, err := inner.whole()
	if err != nil {
		return nil, err
	}
	if len(block.Kids) == 1 && block.Kids[0].Kind == TextNode {
		n.Text = block.Kids[0].Text
		return n, nil
	}
	n.Kids = []*Node{block}
	return n, nil
}

// decodeUnicode replaces \uXXXX, the only escape of double-quoted strings.
func decodeUnicode(s string) string {
	if !strings.Contains(s, `\u`) {
		return s
	}
	var units []uint16
	var b strings.Builder
	for i := 0; i < len(s); {
		if u, ok := unicodeEscape(s[i:]); ok {
			units = append(units, u)
			i += 6
			continue
		}
		b.WriteString(fromUTF16(units))
		units = units[:0]
		b.WriteByte(s[i])
		i++
	}
	b.WriteString(fromUTF16(units))
	return b.String()
}

func unicodeEscape(s string) (uint16, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var u uint16
	for _, c := range []byte(s[2:6]) {
		switch {
		case digit(c):
			u = u<<4 | uint16(c-'0')
		case c >= 'a' && c <= 'f':
			u = u<<4 | uint16(c-'a'+10)
		case c >= 'A' && c <= 'F':
			u = u<<4 | uint16(c-'A'+10)
		default:
			return 0, false
		}
	}
	return u, true
}

// whole parses all of the source.
func (p *parser) whole() (*Node, error) {
	b, term, err := p.block()
	if err != nil {
		return nil, err
	}
	if term != atEOF {
		return nil, p.errorAt(p.pos, "%s without a directive that it could end", terminatorNames[term])
	}
	return b, nil
}

var terminatorNames = map[terminator]string{atEnd: "#end", atElse: "#else", atElseif: "#elseif"}
