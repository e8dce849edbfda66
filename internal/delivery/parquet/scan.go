package parquet

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds objects and arrays in one another.
const maxDepth = 128

// scanner reads JSON (RFC 8259) where it lies. Its methods tell false at the first fault, which is then in failure.
type scanner struct {
	data    []byte
	pos     int
	depth   int
	failure *Failure
}

func (s *scanner) malformed(format string, args ...any) bool {
	s.failure = &Failure{CodeParseError, "Encountered malformed JSON. " + fmt.Sprintf(format, args...)}
	return false
}

func (s *scanner) unexpected(expected string) bool {
	if s.pos >= len(s.data) {
		return s.malformed("Unexpected end of the record: %s expected", expected)
	}
	return s.malformed("Unexpected character (%q, code %d) at byte %d: %s expected", rune(s.data[s.pos]), s.data[s.pos], s.pos, expected)
}

func (s *scanner) enter() bool {
	if s.depth++; s.depth > maxDepth {
		return s.malformed("It is nested deeper than %d at byte %d", maxDepth, s.pos)
	}
	return true
}

// peek skips blanks and gives the next character, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) literal(word string) bool {
	if end := s.pos + len(word); end <= len(s.data) && string(s.data[s.pos:end]) == word {
		s.pos = end
		return true
	}
	return s.unexpected(word)
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// str reads a string and gives what is between its quotes, checked, and whether escapes are in it.
func (s *scanner) str() (text []byte, escaped, ok bool) {
	if s.pos >= len(s.data) || s.data[s.pos] != '"' {
		return nil, false, s.unexpected(`'"'`)
	}
	start := s.pos + 1
	data, i, wide := s.data, start, byte(0)
	for {
		for i+8 <= len(data) {
			x := binary.LittleEndian.Uint64(data[i:])
			quote, slash := x^ones*'"', x^ones*'\\'
			special := ((quote - ones) &^ quote) | ((slash - ones) &^ slash) | ((x - ones*0x20) &^ x) | x
			if special &= highs; special != 0 {
				i += bits.TrailingZeros64(special) / 8
				break
			}
			i += 8
		}
		if i >= len(data) {
			s.pos = i
			return nil, false, s.unexpected("the end of a string")
		}
		switch c := data[i]; {
		case c == '"':
			s.pos = i + 1
			if wide >= utf8.RuneSelf && !utf8.Valid(data[start:i]) {
				return nil, false, s.malformed("A string at byte %d is not UTF-8", start)
			}
			return data[start:i], escaped, true
		case c == '\\':
			escaped = true
			s.pos = i
			if !s.escape() {
				return nil, false, false
			}
			i = s.pos
		case c < 0x20:
			s.pos = i
			return nil, false, s.unexpected("an escape of this character")
		default:
			wide |= c
			i++
		}
	}
}

// escape checks the escape at s.pos and skips it.
func (s *scanner) escape() bool {
	if s.pos+1 >= len(s.data) {
		s.pos++
		return s.unexpected("an escape")
	}
	switch s.data[s.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
		return true
	case 'u':
		r, ok := hex4(s.data[s.pos+2:])
		if !ok {
			s.pos += 2
			return s.unexpected("four hexadecimal digits")
		}
		if utf16.IsSurrogate(r) {
			if low, ok := followingSurrogate(s.data[s.pos+6:]); !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
				return s.malformed("Half a surrogate pair at byte %d", s.pos)
			}
			s.pos += 6
		}
		s.pos += 6
		return true
	default:
		s.pos++
		return s.unexpected("an escape")
	}
}

func followingSurrogate(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	return hex4(b[2:])
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape appends the text of a checked string.
func unescape(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		switch c = text[i+1]; c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := hex4(text[i+2:])
			if i += 6; utf16.IsSurrogate(r) {
				low, _ := followingSurrogate(text[i:])
				r = utf16.DecodeRune(r, low)
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
		i += 2
	}
	return dst
}

// number reads a number and tells whether it has neither a fraction nor an exponent.
func (s *scanner) number() (text []byte, whole, ok bool) {
	start := s.pos
	end, whole := scanNumber(s.data[start:])
	if end == 0 {
		return nil, false, s.unexpected("a value")
	}
	s.pos = start + end
	if s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n', ',', ']', '}':
		default:
			return nil, false, s.unexpected("the end of a number")
		}
	}
	return s.data[start:s.pos], whole, true
}

// scanNumber gives the length of the number that b begins with, 0 if it begins with none.
func scanNumber(b []byte) (length int, whole bool) {
	i := 0
	if i < len(b) && b[i] == '-' {
		i++
	}
	n := digits(b[i:])
	if n == 0 || n > 1 && b[i] == '0' {
		return 0, false
	}
	i += n
	whole = true
	if i < len(b) && b[i] == '.' {
		n := digits(b[i+1:])
		if n == 0 {
			return 0, false
		}
		i += 1 + n
		whole = false
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		j := i + 1
		if j < len(b) && (b[j] == '+' || b[j] == '-') {
			j++
		}
		n := digits(b[j:])
		if n == 0 {
			return 0, false
		}
		i = j + n
		whole = false
	}
	return i, whole
}

func digits(b []byte) int {
	for i, c := range b {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(b)
}

// skip checks the next value and goes behind it.
func (s *scanner) skip() bool {
	switch s.peek() {
	case '"':
		_, _, ok := s.str()
		return ok
	case '{':
		return s.skipObject()
	case '[':
		return s.skipArray()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		_, _, ok := s.number()
		return ok
	}
}

func (s *scanner) skipObject() bool {
	s.pos++
	if !s.enter() {
		return false
	}
	for first := true; ; first = false {
		if done, ok := s.nextMember(first); done || !ok {
			return ok
		}
		if _, _, ok := s.str(); !ok {
			return false
		}
		if !s.colon() || !s.skip() {
			return false
		}
	}
}

func (s *scanner) skipArray() bool {
	s.pos++
	if !s.enter() {
		return false
	}
	for first := true; ; first = false {
		if done, ok := s.nextElement(first); done || !ok {
			return ok
		}
		if !s.skip() {
			return false
		}
	}
}

// nextMember goes to the next key of an object, or behind the object.
func (s *scanner) nextMember(first bool) (done, ok bool) {
	c := s.peek()
	if c == '}' {
		s.pos++
		s.depth--
		return true, true
	}
	if !first {
		if c != ',' {
			return false, s.unexpected("',' or '}'")
		}
		s.pos++
		c = s.peek()
	}
	if c != '"' {
		return false, s.unexpected(`'"'`)
	}
	return false, true
}

// nextElement goes to the next element of an array, or behind the array.
func (s *scanner) nextElement(first bool) (done, ok bool) {
	c := s.peek()
	if c == ']' {
		s.pos++
		s.depth--
		return true, true
	}
	if first {
		return false, true
	}
	if c != ',' {
		return false, s.unexpected("',' or ']'")
	}
	s.pos++
	if c = s.peek(); c == ']' {
		return false, s.unexpected("a value")
	}
	return false, true
}

func (s *scanner) colon() bool {
	if s.pos < len(s.data) && s.data[s.pos] == ':' {
		s.pos++
		return true
	}
	if s.peek() != ':' {
		return s.unexpected("':'")
	}
	s.pos++
	return true
}
