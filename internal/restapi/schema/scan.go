package schema

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep a body nests; the reader that templates use has the same bound.
const maxDepth = 400

// wellFormed reports whether a text is one JSON value as RFC 8259 writes it, with nothing behind it.
func wellFormed(s string) bool {
	end, ok := check(s, blanks(s, 0), 0)
	return ok && blanks(s, end) == len(s)
}

func blanks(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

// check reads over a value and gives its end.
func check(s string, i, depth int) (end int, ok bool) {
	if i >= len(s) {
		return i, false
	}
	switch s[i] {
	case '"':
		return checkString(s, i)
	case '{':
		return checkMembers(s, i, depth+1)
	case '[':
		return checkItems(s, i, depth+1)
	case 't':
		return checkWord(s, i, "true")
	case 'f':
		return checkWord(s, i, "false")
	case 'n':
		return checkWord(s, i, "null")
	}
	return checkNumber(s, i)
}

func checkWord(s string, i int, word string) (end int, ok bool) {
	return i + len(word), strings.HasPrefix(s[i:], word)
}

func checkString(s string, i int) (end int, ok bool) {
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1, true
		case c < ' ':
			return i, false
		case c == '\\':
			i++
			if i == len(s) {
				return i, false
			}
			switch s[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if _, ok := hex4(s, i+1); !ok {
					return i, false
				}
				i += 4
			default:
				return i, false
			}
		}
	}
	return i, false
}

func hex4(s string, i int) (r rune, ok bool) {
	if i+4 > len(s) {
		return 0, false
	}
	for _, c := range []byte(s[i : i+4]) {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func checkNumber(s string, i int) (end int, ok bool) {
	if s[i] == '-' {
		i++
	}
	whole := i
	if i = digits(s, i); i == whole || s[whole] == '0' && i > whole+1 {
		return i, false
	}
	if i < len(s) && s[i] == '.' {
		fraction := i + 1
		if i = digits(s, fraction); i == fraction {
			return i, false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		exponent := i
		if i = digits(s, exponent); i == exponent {
			return i, false
		}
	}
	return i, true
}

func digits(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

func checkMembers(s string, i, depth int) (end int, ok bool) {
	if depth > maxDepth {
		return i, false
	}
	if i = blanks(s, i+1); i < len(s) && s[i] == '}' {
		return i + 1, true
	}
	for i < len(s) && s[i] == '"' {
		if i, ok = checkString(s, i); !ok {
			break
		}
		if i = blanks(s, i); i == len(s) || s[i] != ':' {
			break
		}
		if i, ok = check(s, blanks(s, i+1), depth); !ok {
			break
		}
		i = blanks(s, i)
		if i == len(s) || s[i] != ',' {
			return i + 1, i < len(s) && s[i] == '}'
		}
		i = blanks(s, i+1)
	}
	return i, false
}

func checkItems(s string, i, depth int) (end int, ok bool) {
	if depth > maxDepth {
		return i, false
	}
	if i = blanks(s, i+1); i < len(s) && s[i] == ']' {
		return i + 1, true
	}
	for {
		if i, ok = check(s, i, depth); !ok {
			break
		}
		i = blanks(s, i)
		if i == len(s) || s[i] != ',' {
			return i + 1, i < len(s) && s[i] == ']'
		}
		i = blanks(s, i+1)
	}
	return i, false
}

// What follows reads texts that are well-formed.

// skip gives the end of a value.
func skip(s string, i int) int {
	switch s[i] {
	case '"':
		return skipString(s, i)
	case '{', '[':
		depth := 0
		for ; ; i++ {
			switch s[i] {
			case '"':
				i = skipString(s, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	return skipPlain(s, i)
}

func skipString(s string, i int) int {
	for i++; s[i] != '"'; i++ {
		if s[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipPlain gives the end of a number or a word.
func skipPlain(s string, i int) int {
	for i < len(s) {
		switch s[i] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return i
		}
		i++
	}
	return i
}

// next goes from the end of a member or an item to the next one. last: there is none, and i is the end of the whole.
func next(s string, i int) (at int, last bool) {
	if i = blanks(s, i); s[i] != ',' {
		return i + 1, true
	}
	return blanks(s, i+1), false
}

// meaning decodes a string with its quotes.
func meaning(quoted string) string {
	inside := quoted[1 : len(quoted)-1]
	if strings.IndexByte(inside, '\\') < 0 {
		return inside
	}
	b := make([]byte, 0, len(inside))
	for i := 0; i < len(inside); i++ {
		c := inside[i]
		if c != '\\' {
			b = append(b, c)
			continue
		}
		i++
		switch c := inside[i]; c {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, _ := hex4(inside, i+1)
			i += 4
			if utf16.IsSurrogate(r) && strings.HasPrefix(inside[i+1:], `\u`) {
				low, _ := hex4(inside, i+3)
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					r = pair
					i += 6
				}
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}
