package gateway

import "strings"

// mockStatus reads the statusCode of what a MOCK integration was given. The service's parser is lenient: an object
// with bare, single- or double-quoted names, trailing commas and any further members, as in {statusCode: 200}.
func mockStatus(body string) (status int, ok bool) {
	p := lenient{src: body}
	p.space()
	if !p.take('{') {
		return 0, false
	}
	for {
		p.space()
		if p.take('}') {
			p.space()
			return status, ok && p.at == len(p.src)
		}
		name, good := p.name()
		p.space()
		if !good || !p.take(':') && !p.take('=') {
			return 0, false
		}
		p.space()
		value, quoted, good := p.value()
		if !good {
			return 0, false
		}
		if name == "statusCode" {
			status, ok = integer(value, quoted)
		}
		p.space()
		if !p.take(',') && !p.peek('}') {
			return 0, false
		}
	}
}

// maxDigits keeps a status within an int on every machine.
const maxDigits = 9

// integer reads a status, of so few digits that nothing overflows.
func integer(s string, quoted bool) (int, bool) {
	if quoted {
		s = strings.TrimSpace(s)
	}
	if s == "" || len(s) > maxDigits {
		return 0, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// lenient reads loose JSON, as far as a status needs.
type lenient struct {
	src string
	at  int
}

func (p *lenient) space() {
	for p.at < len(p.src) && strings.IndexByte(" \t\r\n", p.src[p.at]) >= 0 {
		p.at++
	}
}

func (p *lenient) peek(c byte) bool { return p.at < len(p.src) && p.src[p.at] == c }

func (p *lenient) take(c byte) bool {
	if !p.peek(c) {
		return false
	}
	p.at++
	return true
}

func (p *lenient) name() (string, bool) {
	if p.peek('"') || p.peek('\'') {
		return p.quoted()
	}
	start := p.at
	for p.at < len(p.src) && strings.IndexByte(" \t\r\n:={},[]\"'", p.src[p.at]) < 0 {
		p.at++
	}
	return p.src[start:p.at], p.at > start
}

// quoted reads a text in quotes; its escapes are not undone, for no status has any.
func (p *lenient) quoted() (string, bool) {
	quote := p.src[p.at]
	p.at++
	start := p.at
	for ; p.at < len(p.src); p.at++ {
		switch p.src[p.at] {
		case '\\':
			p.at++
		case quote:
			p.at++
			return p.src[start : p.at-1], true
		}
	}
	return "", false
}

// maxMockDepth bounds the members of a mock's body that are skipped; no one nests a mock's status.
const maxMockDepth = 64

// value reads a scalar, or skips an object or a list.
func (p *lenient) value() (value string, quoted, ok bool) {
	switch {
	case p.at >= len(p.src):
		return "", false, false
	case p.peek('"') || p.peek('\''):
		value, ok = p.quoted()
		return value, true, ok
	case p.peek('{') || p.peek('['):
		return "", false, p.skip()
	}
	start := p.at
	for p.at < len(p.src) && strings.IndexByte(",}\r\n", p.src[p.at]) < 0 {
		p.at++
	}
	value = strings.TrimSpace(p.src[start:p.at])
	return value, false, value != ""
}

func (p *lenient) skip() bool {
	var open [maxMockDepth]byte
	depth := 0
	for p.at < len(p.src) {
		switch c := p.src[p.at]; c {
		case '"', '\'':
			if _, ok := p.quoted(); !ok {
				return false
			}
			continue
		case '{', '[':
			if depth == maxMockDepth {
				return false
			}
			open[depth] = c + 2 // in ASCII the closing bracket stands two behind the opening one
			depth++
		case '}', ']':
			if depth == 0 || open[depth-1] != c {
				return false
			}
			if depth--; depth == 0 {
				p.at++
				return true
			}
		}
		p.at++
	}
	return false
}
