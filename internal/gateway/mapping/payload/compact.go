package payload

import (
	"sync"
	"unicode/utf8"

	"millrace/vtl"
)

// Compact appends what Append(Parse(src)) would, in one pass and without a tree. It does so only for plain JSON in
// an object or an array; for anything that needs the permissive reader, ok is false and dst comes back as it was.
func Compact(dst []byte, src string) (out []byte, ok bool) {
	i := skipSpace(src, 0)
	if i == len(src) || src[i] != '{' && src[i] != '[' {
		return dst, false
	}
	c := compactors.Get().(*compactor)
	c.src, c.pos, c.out, c.depth, c.keys = src, i, dst, 0, c.keys[:0]
	ok = c.value()
	out = c.out
	c.src, c.out = "", nil
	clear(c.keys[:cap(c.keys)])
	if cap(c.keys) > 4096 {
		c.keys = nil
	}
	compactors.Put(c)
	if !ok {
		return out[:len(dst)], false
	}
	return out, true // what stands behind a complete value is ignored
}

var compactors = sync.Pool{New: func() any { return &compactor{keys: make([]string, 0, 32)} }}

// maxPlainKeys is how many keys of one object are compared with one another; a larger object goes the long way.
const maxPlainKeys = 64

type compactor struct {
	src   string
	pos   int
	out   []byte
	depth int
	keys  []string // of the objects that are open
}

func skipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

func (c *compactor) space() { c.pos = skipSpace(c.src, c.pos) }

// value copies one value; every method here reports whether the long way is not needed.
func (c *compactor) value() bool {
	if c.pos >= len(c.src) {
		return false
	}
	switch b := c.src[c.pos]; {
	case b == '"':
		_, ok := c.text(false)
		return ok
	case b == '{':
		return c.object()
	case b == '[':
		return c.array()
	case b == '-' || b >= '0' && b <= '9':
		return c.number()
	case b == 't':
		return c.word("true")
	case b == 'f':
		return c.word("false")
	case b == 'n':
		return c.word("null")
	}
	return false
}

// ends reports whether an unquoted value ends at i.
func (c *compactor) ends(i int) bool {
	if i >= len(c.src) {
		return false
	}
	switch c.src[i] {
	case ',', '}', ']', ' ', '\n', '\t', '\r':
		return true
	}
	return false
}

func (c *compactor) word(w string) bool {
	end := c.pos + len(w)
	if end > len(c.src) || c.src[c.pos:end] != w || !c.ends(end) {
		return false
	}
	c.out = append(c.out, w...)
	c.pos = end
	return true
}

func (c *compactor) object() bool {
	if c.depth++; c.depth > maxDepth {
		return false
	}
	mine := len(c.keys)
	c.out = append(c.out, '{')
	c.pos++
	c.space()
	if c.pos < len(c.src) && c.src[c.pos] == '}' {
		c.pos++
		c.depth--
		c.out = append(c.out, '}')
		return true
	}
	for {
		if c.pos >= len(c.src) || c.src[c.pos] != '"' {
			return false
		}
		key, ok := c.text(true)
		if !ok || !c.fresh(key, mine) {
			return false
		}
		c.space()
		if c.pos >= len(c.src) || c.src[c.pos] != ':' {
			return false
		}
		c.pos++
		c.out = append(c.out, ':')
		c.space()
		if !c.value() {
			return false
		}
		c.space()
		if c.pos >= len(c.src) {
			return false
		}
		switch c.src[c.pos] {
		case ',':
			c.out = append(c.out, ',')
			c.pos++
			c.space()
		case '}':
			c.pos++
			c.out = append(c.out, '}')
			c.keys = c.keys[:mine]
			c.depth--
			return true
		default:
			return false
		}
	}
}

// fresh notes a key, and reports false when the object has it already or has very many.
func (c *compactor) fresh(key string, mine int) bool {
	if len(c.keys)-mine >= maxPlainKeys {
		return false
	}
	for _, k := range c.keys[mine:] {
		if k == key {
			return false
		}
	}
	c.keys = append(c.keys, key)
	return true
}

func (c *compactor) array() bool {
	if c.depth++; c.depth > maxDepth {
		return false
	}
	c.out = append(c.out, '[')
	c.pos++
	c.space()
	if c.pos < len(c.src) && c.src[c.pos] == ']' {
		c.pos++
		c.depth--
		c.out = append(c.out, ']')
		return true
	}
	for {
		if !c.value() {
			return false
		}
		c.space()
		if c.pos >= len(c.src) {
			return false
		}
		switch c.src[c.pos] {
		case ',':
			c.out = append(c.out, ',')
			c.pos++
			c.space()
		case ']':
			c.pos++
			c.depth--
			c.out = append(c.out, ']')
			return true
		default:
			return false
		}
	}
}

// plain marks the bytes that a string holds without escapes, in and out.
var plain = func() (t [256]bool) {
	for b := 0x20; b < 0x7f; b++ {
		t[b] = b != '"' && b != '\\'
	}
	return t
}()

// text copies a string. A key must be plain, so that keys can be compared as they stand.
func (c *compactor) text(isKey bool) (inside string, ok bool) {
	start := c.pos + 1
	i := start
	for i < len(c.src) && plain[c.src[i]] {
		i++
	}
	if i < len(c.src) && c.src[i] == '"' {
		c.out = append(c.out, c.src[c.pos:i+1]...)
		c.pos = i + 1
		return c.src[start:i], true
	}
	if isKey {
		return "", false
	}
	return "", c.unusualText(start, i)
}

func (c *compactor) unusualText(start, from int) bool {
	escapes := false
	for i := from; i < len(c.src); i++ {
		switch b := c.src[i]; {
		case b == '"':
			inside := c.src[start:i]
			if !utf8.ValidString(inside) {
				return false
			}
			c.out = append(c.out, '"')
			if escapes {
				decoded, bad := unescape(make([]byte, 0, len(inside)), inside)
				if bad >= 0 {
					return false
				}
				inside = string(decoded)
			}
			c.out = append(vtl.AppendJSONString(c.out, inside, false), '"')
			c.pos = i + 1
			return true
		case b == '\\':
			escapes = true
			i++
		}
	}
	return false
}

func (c *compactor) number() bool {
	i := c.pos
	if c.src[i] == '-' {
		i++
	}
	start := i
	for i < len(c.src) && c.src[i] >= '0' && c.src[i] <= '9' {
		i++
	}
	if c.ends(i) && i > start && (c.src[start] != '0' || i == start+1 && start == c.pos) && i-start <= maxDigits {
		c.out = append(c.out, c.src[c.pos:i]...)
		c.pos = i
		return true
	}
	for i < len(c.src) && !c.ends(i) {
		i++
	}
	text := c.src[c.pos:i]
	if numberForm(text) == noNumber {
		return false
	}
	v, err := scalar(text)
	if err != nil {
		return false
	}
	if c.out, err = Append(c.out, v, 2*maxDigits+len(text)); err != nil {
		return false
	}
	c.pos = i
	return true
}
