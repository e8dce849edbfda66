package payload

import (
	"regexp"
	"strings"

	"millrace/vtl"
)

// filter is a compiled predicate: [?(@.a > 1 && @.b == 'x')].
type filter struct {
	op          string // "&&", "||", "!", a comparison, or "exists"
	left, right *filter
	a, b        operand
	pattern     *regexp.Regexp
}

// operand of a comparison: a path below the item, or a literal.
type operand struct {
	path    *Path
	literal vtl.Value
}

func (p *pathParser) filter() (*filter, error) {
	p.pos++ // ?
	p.space()
	if p.pos == len(p.src) || p.src[p.pos] != '(' {
		return nil, p.fail("a filter is written ?(...)")
	}
	p.pos++
	f, err := p.either()
	if err != nil {
		return nil, err
	}
	p.space()
	if p.pos == len(p.src) || p.src[p.pos] != ')' {
		return nil, p.fail("a filter is not closed")
	}
	p.pos++
	return f, nil
}

func (p *pathParser) either() (*filter, error) { return p.joined("||", p.both) }
func (p *pathParser) both() (*filter, error)   { return p.joined("&&", p.term) }

func (p *pathParser) joined(op string, operand func() (*filter, error)) (*filter, error) {
	left, err := operand()
	if err != nil {
		return nil, err
	}
	for {
		p.space()
		if !strings.HasPrefix(p.src[p.pos:], op) {
			return left, nil
		}
		p.pos += len(op)
		right, err := operand()
		if err != nil {
			return nil, err
		}
		left = &filter{op: op, left: left, right: right}
	}
}

func (p *pathParser) term() (*filter, error) {
	if p.depth++; p.depth > maxFilterDepth {
		return nil, p.fail("a filter nests too deep")
	}
	defer func() { p.depth-- }()
	p.space()
	if p.pos == len(p.src) {
		return nil, p.fail("a condition is missing")
	}
	switch p.src[p.pos] {
	case '!':
		p.pos++
		inner, err := p.term()
		return &filter{op: "!", left: inner}, err
	case '(':
		p.pos++
		inner, err := p.either()
		if err != nil {
			return nil, err
		}
		p.space()
		if p.pos == len(p.src) || p.src[p.pos] != ')' {
			return nil, p.fail("( is not closed")
		}
		p.pos++
		return inner, nil
	}
	return p.comparison()
}

func (p *pathParser) comparison() (*filter, error) {
	a, err := p.operand()
	if err != nil {
		return nil, err
	}
	p.space()
	for _, op := range []string{"==", "!=", "<=", ">=", "=~", "<", ">"} {
		if !strings.HasPrefix(p.src[p.pos:], op) {
			continue
		}
		p.pos += len(op)
		p.space()
		if op == "=~" {
			re, err := p.regex()
			return &filter{op: op, a: a, pattern: re}, err
		}
		b, err := p.operand()
		return &filter{op: op, a: a, b: b}, err
	}
	if a.path == nil {
		return nil, p.fail("a literal alone is no condition")
	}
	return &filter{op: "exists", a: a}, nil
}

func (p *pathParser) operand() (operand, error) {
	p.space()
	if p.pos == len(p.src) {
		return operand{}, p.fail("a value is missing")
	}
	switch c := p.src[p.pos]; {
	case c == '@':
		p.pos++
		path, err := p.path()
		return operand{path: path}, err
	case c == '$':
		return operand{}, p.fail("a filter can't refer to the root")
	case c == '\'' || c == '"':
		s, err := p.quoted()
		return operand{literal: vtl.String(s)}, err
	}
	start := p.pos
	for p.pos < len(p.src) && !strings.ContainsRune(" )]=!<>&|\t", rune(p.src[p.pos])) {
		p.pos++
	}
	word := p.src[start:p.pos]
	v, err := scalar(word)
	if err != nil {
		return operand{}, err
	}
	if _, isText := v.Str(); isText {
		return operand{}, p.fail("a value is a number, true, false, null, a quoted text or @...")
	}
	return operand{literal: v}, nil
}

func (p *pathParser) regex() (*regexp.Regexp, error) {
	if p.pos == len(p.src) || p.src[p.pos] != '/' {
		return nil, p.fail("a pattern is written /.../")
	}
	end := strings.IndexByte(p.src[p.pos+1:], '/')
	if end < 0 {
		return nil, p.fail("a pattern is not closed")
	}
	source := p.src[p.pos+1 : p.pos+1+end]
	p.pos += end + 2
	if p.pos < len(p.src) && p.src[p.pos] == 'i' {
		p.pos++
		source = "(?i)" + source
	}
	re, err := regexp.Compile(`^(?:` + source + `)$`)
	if err != nil {
		return nil, p.fail(err.Error())
	}
	return re, nil
}

func (f *filter) holds(item vtl.Value, by *finder) (bool, error) {
	if err := by.charge(); err != nil {
		return false, err
	}
	switch f.op {
	case "!":
		ok, err := f.left.holds(item, by)
		return !ok, err
	case "&&", "||":
		ok, err := f.left.holds(item, by)
		if err != nil || ok == (f.op == "||") {
			return ok, err
		}
		return f.right.holds(item, by)
	}
	a, found, err := f.a.value(item, by)
	if err != nil {
		return false, err
	}
	switch f.op {
	case "exists":
		if l := a.List(); l != nil && !f.a.path.definite {
			return len(l.Items) > 0, nil
		}
		return found, nil
	case "=~":
		s, ok := a.Str()
		return ok && f.pattern.MatchString(s), nil
	}
	b, foundB, err := f.b.value(item, by)
	if err != nil {
		return false, err
	}
	if !found || !foundB {
		return f.op == "!=", nil
	}
	return compare(f.op, a, b), nil
}

func (o *operand) value(item vtl.Value, by *finder) (vtl.Value, bool, error) {
	if o.path == nil {
		return o.literal, true, nil
	}
	return o.path.Find(item, by.rt)
}

func compare(op string, a, b vtl.Value) bool {
	if d, ok := vtl.CompareNumbers(a, b); ok {
		return ordered(op, d)
	}
	x, ok1 := a.Str()
	y, ok2 := b.Str()
	if ok1 && ok2 {
		return ordered(op, strings.Compare(x, y))
	}
	same := a.Kind() == b.Kind() && vtl.Same(a, b)
	return op == "==" && same || op == "!=" && !same
}

func ordered(op string, d int) bool {
	switch op {
	case "==":
		return d == 0
	case "!=":
		return d != 0
	case "<":
		return d < 0
	case "<=":
		return d <= 0
	case ">":
		return d > 0
	}
	return d >= 0
}
