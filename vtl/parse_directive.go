package vtl

import "strings"

// directive reads a directive whose word ends at end.
func (p *parser) directive(word string, from, end int) (*Node, terminator, error) {
	p.pos = end
	switch word {
	case "end":
		p.swallowLine()
		return nil, atEnd, nil
	case "else":
		p.swallowLine()
		return nil, atElse, nil
	case "elseif":
		return nil, atElseif, nil
	case "if":
		return p.statement(p.ifDirective(from))
	case "foreach":
		return p.statement(p.foreach(from))
	case "set":
		return nil, 0, p.errorAt(from, "#set needs ( behind it, with nothing but blanks between")
	case "break":
		return p.statement(p.breakDirective(from))
	case "stop":
		return p.node(StopNode, from), atEOF, nil
	case "define":
		return p.statement(p.define(from))
	case "macro":
		return p.statement(p.macro(from))
	case "evaluate":
		return p.statement(p.evaluate(from))
	case "include", "parse":
		return nil, 0, p.errorAt(from, "#%s: there is nothing to load from", word)
	}
	if name := strings.TrimPrefix(word, "@"); p.macros[name] != nil {
		return p.statement(p.call(name, word[0] == '@', from))
	}
	return p.unknown(from)
}

func (p *parser) statement(n *Node, err error) (*Node, terminator, error) { return n, atEOF, err }

// unknown reads a word that is no directive: text. Arguments behind it are read as a macro's, and print as written.
func (p *parser) unknown(from int) (*Node, terminator, error) {
	word := p.pos
	p.space()
	if p.pos < len(p.src) && p.src[p.pos] == '(' {
		if _, err := p.macroArguments(); err != nil {
			return nil, 0, err
		}
		return p.text(from, p.src[from:p.pos]), atEOF, nil
	}
	p.pos = word
	return p.text(from, p.src[from:p.pos]), atEOF, nil
}

func (p *parser) open(what string) error {
	for p.pos < len(p.src) && (p.src[p.pos] == ' ' || p.src[p.pos] == '\t') {
		p.pos++
	}
	if p.pos >= len(p.src) || p.src[p.pos] != '(' {
		return p.errorAt(p.pos, "%s needs ( behind it", what)
	}
	p.pos++
	return nil
}

func (p *parser) closing(what string) error {
	p.space()
	if p.pos >= len(p.src) || p.src[p.pos] != ')' {
		return p.errorAt(p.pos, "%s needs ) here%s", what, p.found())
	}
	p.pos++
	return nil
}

// found tells what stands here instead, for an error.
func (p *parser) found() string {
	if p.pos >= len(p.src) {
		return ", not the end of the template"
	}
	rest := p.src[p.pos:]
	if i := strings.IndexAny(rest, " \t\r\n"); i > 0 {
		rest = rest[:i]
	}
	if len(rest) > 20 {
		rest = rest[:20] + "..."
	}
	return ", not " + rest
}

// set reads a #set whose opening parenthesis ends at afterParen.
func (p *parser) set(afterParen int) (*Node, error) {
	for p.src[p.pos] == ' ' || p.src[p.pos] == '\t' {
		p.pos++
	}
	from := p.pos
	p.pos = afterParen
	p.space()
	if p.pos >= len(p.src) || p.src[p.pos] != '$' {
		return nil, p.errorAt(p.pos, "#set needs a reference on its left%s", p.found())
	}
	target, err := p.reference()
	if err != nil {
		return nil, err
	}
	if target == nil {
		return nil, p.errorAt(p.pos, "#set needs a reference on its left%s", p.found())
	}
	p.space()
	if p.pos >= len(p.src) || p.src[p.pos] != '=' || p.at("==") {
		return nil, p.errorAt(p.pos, "#set needs = here%s", p.found())
	}
	p.pos++
	value, err := p.expression()
	if err != nil {
		return nil, err
	}
	if err := p.closing("#set"); err != nil {
		return nil, err
	}
	p.swallowLine()
	return p.node(SetNode, from, target, value), nil
}

func (p *parser) condition(what string) (*Node, error) {
	if err := p.open(what); err != nil {
		return nil, err
	}
	cond, err := p.expression()
	if err != nil {
		return nil, err
	}
	if err := p.closing(what); err != nil {
		return nil, err
	}
	p.swallowLine()
	return cond, nil
}

func (p *parser) ifDirective(from int) (*Node, error) {
	n := p.node(IfNode, from)
	what := "#if"
	for {
		cond, err := p.condition(what)
		if err != nil {
			return nil, err
		}
		body, term, err := p.block()
		if err != nil {
			return nil, err
		}
		n.Kids = append(n.Kids, cond, body)
		switch term {
		case atEnd:
			return n, nil
		case atElseif:
			what = "#elseif"
			continue
		case atElse:
			body, term, err := p.block()
			if err != nil {
				return nil, err
			}
			if term != atEnd {
				return nil, p.errorAt(p.pos, "only #end can follow #else")
			}
			n.Kids = append(n.Kids, body)
			return n, nil
		default:
			return nil, p.errorAt(from, "#if is not closed by #end")
		}
	}
}

// body reads contents up to #end.
func (p *parser) body(what string, from int) (*Node, error) {
	body, term, err := p.block()
	if err != nil {
		return nil, err
	}
	switch term {
	case atEnd:
		return body, nil
	case atEOF:
		return nil, p.errorAt(from, "%s is not closed by #end", what)
	default:
		return nil, p.errorAt(p.pos, "%s has no #else", what)
	}
}

func (p *parser) foreach(from int) (*Node, error) {
	if err := p.open("#foreach"); err != nil {
		return nil, err
	}
	p.space()
	variable, err := p.plainReference("#foreach")
	if err != nil {
		return nil, err
	}
	p.space()
	if !p.at("in") || p.pos+2 < len(p.src) && identifierPart(p.src[p.pos+2]) {
		return nil, p.errorAt(p.pos, "#foreach needs the word in here%s", p.found())
	}
	p.pos += 2
	p.space()
	items, err := p.argument()
	if err != nil {
		return nil, err
	}
	if items.Kind == NullNode {
		return nil, p.errorAt(p.pos, "#foreach can't iterate over a bare word")
	}
	if err := p.closing("#foreach"); err != nil {
		return nil, err
	}
	p.swallowLine()
	body, err := p.body("#foreach", from)
	if err != nil {
		return nil, err
	}
	n := p.node(ForeachNode, from, items, body)
	n.Text = variable
	return n, nil
}

// plainReference reads $name without parts.
func (p *parser) plainReference(what string) (string, error) {
	at := p.pos
	if p.pos < len(p.src) && p.src[p.pos] == '$' {
		ref, err := p.reference()
		if err != nil {
			return "", err
		}
		if ref != nil && len(ref.Kids) == 0 {
			return ref.Text, nil
		}
	}
	return "", p.errorAt(at, "%s needs a plain $name here", what)
}

func (p *parser) breakDirective(from int) (*Node, error) {
	n := p.node(BreakNode, from)
	if p.pos < len(p.src) && p.src[p.pos] == '(' {
		p.pos++
		p.space()
		arg, err := p.argument()
		if err != nil {
			return nil, err
		}
		n.Kids = append(n.Kids, arg)
		if err := p.closing("#break"); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (p *parser) define(from int) (*Node, error) {
	if err := p.open("#define"); err != nil {
		return nil, err
	}
	p.space()
	name, err := p.plainReference("#define")
	if err != nil {
		return nil, err
	}
	if err := p.closing("#define"); err != nil {
		return nil, err
	}
	p.swallowLine()
	body, err := p.body("#define", from)
	if err != nil {
		return nil, err
	}
	n := p.node(DefineNode, from, body)
	n.Text = name
	return n, nil
}

func (p *parser) evaluate(from int) (*Node, error) {
	if err := p.open("#evaluate"); err != nil {
		return nil, err
	}
	p.space()
	arg, err := p.argument()
	if err != nil {
		return nil, err
	}
	if err := p.closing("#evaluate"); err != nil {
		return nil, err
	}
	p.swallowLine()
	return p.node(EvaluateNode, from, arg), nil
}

// macroHead reads "(name $a $b)" and gives name and parameters.
func (p *parser) macroHead() (string, []*Node, error) {
	if err := p.open("#macro"); err != nil {
		return "", nil, err
	}
	p.space()
	start := p.pos
	for p.pos < len(p.src) && (identifierPart(p.src[p.pos])) {
		p.pos++
	}
	name := p.src[start:p.pos]
	if name == "" || directives[name] {
		return "", nil, p.errorAt(start, "#macro needs a name that is no directive")
	}
	var params []*Node
	for {
		p.space()
		if p.pos < len(p.src) && p.src[p.pos] == ',' {
			p.pos++
			continue
		}
		if p.pos >= len(p.src) || p.src[p.pos] != '$' {
			break
		}
		at := p.pos
		param, err := p.plainReference("#macro")
		if err != nil {
			return "", nil, err
		}
		n := p.node(ReferenceNode, at)
		n.Text = param
		params = append(params, n)
	}
	return name, params, p.closing("#macro")
}

func (p *parser) macro(from int) (*Node, error) {
	name, params, err := p.macroHead()
	if err != nil {
		return nil, err
	}
	p.swallowLine()
	body, err := p.body("#macro", from)
	if err != nil {
		return nil, err
	}
	n := p.node(MacroNode, from, append(params, body)...)
	n.Text = name
	if p.macros[name] == nil || p.macros[name].Kids == nil {
		p.macros[name] = n // the first definition stays
	}
	return n, nil
}

// findMacros notes the names of all macros of a source before it is parsed, so that a call may stand before its
// definition. What only looks like a definition does no harm: the name is then never defined, and a call of it
// prints nothing but its source.
func (p *parser) findMacros() {
	for rest, at := p.src, 0; ; {
		i := strings.Index(rest, "#macro")
		if i < 0 {
			return
		}
		at += i
		q := *p
		q.pos = at + len("#macro")
		if name, _, err := q.macroHead(); err == nil && p.macros[name] == nil {
			p.macros[name] = &Node{Kind: MacroNode, Text: name}
		}
		at += len("#macro")
		rest = p.src[at:]
	}
}

func (p *parser) call(name string, withBody bool, from int) (*Node, error) {
	n := p.node(CallNode, from)
	n.Text, n.Body = name, withBody
	word := p.pos
	p.space()
	if p.pos < len(p.src) && p.src[p.pos] == '(' {
		args, err := p.macroArguments()
		if err != nil {
			return nil, err
		}
		n.Kids = args
		n.Source = p.src[from:p.pos]
		p.swallowLine()
	} else {
		p.pos = word
		n.Source = p.src[from:p.pos]
	}
	if withBody {
		body, err := p.body("#@"+name, from)
		if err != nil {
			return nil, err
		}
		n.Kids = append(n.Kids, body)
	}
	return n, nil
}

// macroArguments reads "(a b, c)": arguments with blanks or commas between.
func (p *parser) macroArguments() ([]*Node, error) {
	p.pos++ // (
	var args []*Node
	for {
		p.space()
		if p.pos < len(p.src) && p.src[p.pos] == ',' && len(args) > 0 {
			p.pos++
			continue
		}
		if p.pos < len(p.src) && p.src[p.pos] == ')' {
			p.pos++
			return args, nil
		}
		arg, err := p.argument()
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
	}
}
