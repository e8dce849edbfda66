package vtl

import (
	"fmt"
	"strings"
)

// parser reads a template. The rules of whitespace follow from Velocity's tokens: a piece of text runs on until
// '$', '#' or '\', and the blanks before #set belong to #set only when no piece of text has taken them.
type parser struct {
	name  string
	src   string
	pos   int
	depth int
	// literal is set for the contents of a string literal, where a '$' or '#' may stand last.
	literal bool
	// line and column where src begins within the whole template.
	line, column int
	macros       map[string]*Node
	limits       *Limits
}

// maxNesting bounds how deep directives, parentheses and literals nest, so that the parser's stack is bounded.
const maxNesting = 300

func (p *parser) errorAt(pos int, format string, args ...any) *Error {
	line, column := p.place(pos)
	return &Error{Name: p.name, Line: line, Column: column, Msg: fmt.Sprintf(format, args...)}
}

func (p *parser) place(pos int) (line, column int) {
	pos = min(pos, len(p.src))
	before := p.src[:pos]
	if n := strings.Count(before, "\n"); n > 0 {
		return p.line + n, pos - strings.LastIndexByte(before, '\n')
	}
	return p.line, p.column + pos
}

func (p *parser) node(kind NodeKind, pos int, kids ...*Node) *Node {
	line, column := p.place(pos)
	return &Node{Kind: kind, Line: line, Column: column, Kids: kids}
}

func (p *parser) nest() error {
	if p.depth++; p.depth > maxNesting {
		return p.errorAt(p.pos, "nested deeper than %d levels", maxNesting)
	}
	return nil
}

func (p *parser) at(prefix string) bool { return strings.HasPrefix(p.src[p.pos:], prefix) }

// terminator is the directive that ended a block.
type terminator uint8

const (
	atEOF terminator = iota
	atEnd
	atElse
	atElseif
)

// block reads contents until #end, #else or #elseif, which it takes, or the end of the source.
func (p *parser) block() (*Node, terminator, error) {
	if err := p.nest(); err != nil {
		return nil, 0, err
	}
	defer func() { p.depth-- }()
	b := p.node(BlockNode, p.pos)
	for p.pos < len(p.src) {
		n, term, err := p.piece()
		if err != nil {
			return nil, 0, err
		}
		if n != nil {
			b.add(n)
		}
		if term != atEOF {
			return b, term, nil
		}
	}
	return b, atEOF, nil
}

// add appends a kid, joining neighbouring texts.
func (b *Node) add(n *Node) {
	if n.Kind == TextNode {
		if n.Text == "" {
			return
		}
		if k := len(b.Kids); k > 0 && b.Kids[k-1].Kind == TextNode {
			b.Kids[k-1].Text += n.Text
			return
		}
	}
	b.Kids = append(b.Kids, n)
}

func (p *parser) text(from int, text string) *Node {
	n := p.node(TextNode, from)
	n.Text = text
	return n
}

// piece reads one token's worth: text, a reference, an escape, a comment or a directive.
func (p *parser) piece() (*Node, terminator, error) {
	if start, ok := p.setAhead(); ok {
		n, err := p.set(start)
		return n, atEOF, err
	}
	from := p.pos
	switch p.src[p.pos] {
	case '$':
		n, err := p.referenceOrText()
		return n, atEOF, err
	case '#':
		return p.hash()
	case '\\':
		return p.escape()
	}
	end := strings.IndexAny(p.src[p.pos:], "$#\\")
	if end < 0 {
		end = len(p.src) - p.pos
	}
	p.pos += end
	return p.text(from, p.src[from:p.pos]), atEOF, nil
}

// setAhead reports whether blanks and #set( begin here, and where the opening parenthesis ends.
func (p *parser) setAhead() (afterParen int, ok bool) {
	i := p.pos
	for i < len(p.src) && (p.src[i] == ' ' || p.src[i] == '\t') {
		i++
	}
	switch rest := p.src[i:]; {
	case strings.HasPrefix(rest, "#set"):
		i += len("#set")
	case strings.HasPrefix(rest, "#{set}"):
		i += len("#{set}")
	default:
		return 0, false
	}
	for i < len(p.src) && p.src[i] == ' ' {
		i++
	}
	if i < len(p.src) && p.src[i] == '(' {
		return i + 1, true
	}
	return 0, false
}

// escape reads a run of backslashes. Before a reference or a known directive, two of them stand for one and an odd
// one takes the meaning away; elsewhere they are text.
func (p *parser) escape() (*Node, terminator, error) {
	from := p.pos
	for p.pos < len(p.src) && p.src[p.pos] == '\\' {
		p.pos++
	}
	slashes := p.src[from:p.pos]
	half, odd := slashes[:len(slashes)/2], len(slashes)%2 == 1
	if p.pos < len(p.src) && p.src[p.pos] == '$' {
		start := p.pos
		n, err := p.referenceOrText()
		if err != nil {
			return nil, 0, err
		}
		if n.Kind != ReferenceNode {
			n.Text = slashes + n.Text
			return n, atEOF, nil
		}
		if odd {
			return p.text(from, half+p.src[start:p.pos]), atEOF, nil
		}
		p.pos = start
		return p.text(from, half), atEOF, nil
	}
	if word, end, ok := p.directiveWord(); ok && p.knownDirective(word) {
		if word == "set" {
			if _, isSet := p.setAhead(); isSet && !odd {
				return p.text(from, slashes), atEOF, nil
			}
		}
		if odd {
			text := half + p.src[p.pos:end]
			p.pos = end
			return p.text(from, text), atEOF, nil
		}
		return p.text(from, half), atEOF, nil
	}
	return p.text(from, slashes), atEOF, nil
}

// directiveWord reads the name of a directive at '#' without taking it: "#word", "#{word}", "#@word".
func (p *parser) directiveWord() (word string, end int, ok bool) {
	if p.pos >= len(p.src) || p.src[p.pos] != '#' {
		return "", 0, false
	}
	i := p.pos + 1
	braced := i < len(p.src) && p.src[i] == '{'
	if braced {
		i++
	}
	start := i
	if i < len(p.src) && p.src[i] == '@' {
		i++
	}
	if i >= len(p.src) || !letter(p.src[i]) && p.src[i] != '_' {
		return "", 0, false
	}
	for i < len(p.src) && (letter(p.src[i]) || digit(p.src[i]) || p.src[i] == '_') {
		i++
	}
	word = p.src[start:i]
	if braced {
		if i >= len(p.src) || p.src[i] != '}' {
			return "", 0, false
		}
		i++
	}
	return word, i, true
}

var directives = map[string]bool{
	"set": true, "if": true, "elseif": true, "else": true, "end": true, "foreach": true, "break": true, "stop": true,
	"define": true, "macro": true, "evaluate": true, "include": true, "parse": true,
}

func (p *parser) knownDirective(word string) bool {
	return directives[word] || p.macros[strings.TrimPrefix(word, "@")] != nil
}

// hash reads what begins with '#'.
func (p *parser) hash() (*Node, terminator, error) {
	from := p.pos
	switch {
	case p.at("##"):
		p.skipLine()
		return nil, atEOF, nil
	case p.at("#*"):
		if end := strings.Index(p.src[p.pos+2:], "*#"); end >= 0 {
			p.pos += 2 + end + 2
		} else {
			p.pos = len(p.src)
		}
		return nil, atEOF, nil
	case p.at("#[["):
		end := strings.Index(p.src[p.pos+3:], "]]#")
		if end < 0 {
			return nil, 0, p.errorAt(from, "#[[ is not closed by ]]#")
		}
		text := p.src[p.pos+3 : p.pos+3+end]
		p.pos += 3 + end + 3
		return p.text(from, text), atEOF, nil
	}
	word, end, ok := p.directiveWord()
	if !ok {
		if p.pos == len(p.src)-1 && !p.literal {
			return nil, 0, p.errorAt(from, "a template can't end in #")
		}
		p.pos++
		return p.text(from, "#"), atEOF, nil
	}
	return p.directive(word, from, end)
}

func (p *parser) skipLine() {
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		p.pos++
		if c == '\n' {
			return
		}
		if c == '\r' {
			if p.pos < len(p.src) && p.src[p.pos] == '\n' {
				p.pos++
			}
			return
		}
	}
}

// swallowLine takes the blanks behind a directive and the newline after them, when there is one.
func (p *parser) swallowLine() {
	i := p.pos
	for i < len(p.src) && (p.src[i] == ' ' || p.src[i] == '\t') {
		i++
	}
	switch {
	case strings.HasPrefix(p.src[i:], "\r\n"):
		p.pos = i + 2
	case i < len(p.src) && (p.src[i] == '\n' || p.src[i] == '\r'):
		p.pos = i + 1
	}
}

// space skips white space within a directive.
func (p *parser) space() {
	for p.pos < len(p.src) {
		switch p.src[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }
