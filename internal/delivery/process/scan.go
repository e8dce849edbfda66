package process

import (
	"bytes"
	"math"
	"math/big"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of what is read as JSON.
const (
	// maxDepth bounds how deep a record nests, since the reader calls itself; encoding/json has the same bound.
	maxDepth = 10_000
	// maxDigits bounds a number that is kept exactly: a million digits would take seconds to convert. A longer one is
	// the nearest float64, as every number is in jq 1.6.
	maxDigits = 1000
)

// The scanner takes JSON as RFC 8259 writes it, as encoding/json does: bytes that are no UTF-8 are let pass in strings,
// and become U+FFFD where a string is decoded. Every function gets the index of a first byte and gives that behind the last.

func blanks(s []byte, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

// scanValue reads over one value.
func scanValue(s []byte, i, depth int) (end int, ok bool) {
	if i >= len(s) {
		return i, false
	}
	switch s[i] {
	case '"':
		end, _, ok = scanString(s, i)
		return end, ok
	case '{':
		return scanObject(s, i, depth+1)
	case '[':
		return scanArray(s, i, depth+1)
	case 't':
		return scanWord(s, i, "true")
	case 'f':
		return scanWord(s, i, "false")
	case 'n':
		return scanWord(s, i, "null")
	}
	return scanNumber(s, i)
}

func scanWord(s []byte, i int, word string) (end int, ok bool) {
	if len(s)-i < len(word) || string(s[i:i+len(word)]) != word {
		return i, false
	}
	return i + len(word), true
}

// special are the bytes that end the run of plain ones in a string.
var special = func() (t [256]bool) {
	for c := range t {
		t[c] = c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf
	}
	return t
}()

// scanString reads over a string. A plain one is ASCII without escapes: what lies between its quotes is what it says.
func scanString(s []byte, i int) (end int, plain, ok bool) {
	plain = true
	for i++; ; i++ {
		for i < len(s) && !special[s[i]] {
			i++
		}
		if i >= len(s) {
			return i, false, false
		}
		switch c := s[i]; {
		case c == '"':
			return i + 1, plain, true
		case c < ' ':
			return i, false, false
		case c == '\\':
			plain = false
			i++
			if i == len(s) {
				return i, false, false
			}
			switch s[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if _, ok := hex4(s, i+1); !ok {
					return i, false, false
				}
				i += 4
			default:
				return i, false, false
			}
		default:
			plain = false
		}
	}
}

func hex4(s []byte, i int) (r rune, ok bool) {
	if i+4 > len(s) {
		return 0, false
	}
	for _, c := range s[i : i+4] {
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

func scanNumber(s []byte, i int) (end int, ok bool) {
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

func digits(s []byte, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

func scanObject(s []byte, i, depth int) (end int, ok bool) {
	if depth > maxDepth {
		return i, false
	}
	if i = blanks(s, i+1); i < len(s) && s[i] == '}' {
		return i + 1, true
	}
	for i < len(s) && s[i] == '"' {
		if i, _, ok = scanString(s, i); !ok {
			break
		}
		if i = blanks(s, i); i == len(s) || s[i] != ':' {
			break
		}
		if i, ok = scanValue(s, blanks(s, i+1), depth); !ok {
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

func scanArray(s []byte, i, depth int) (end int, ok bool) {
	if depth > maxDepth {
		return i, false
	}
	if i = blanks(s, i+1); i < len(s) && s[i] == ']' {
		return i + 1, true
	}
	for {
		if i, ok = scanValue(s, i, depth); !ok {
			return i, false
		}
		i = blanks(s, i)
		if i == len(s) || s[i] != ',' {
			return i + 1, i < len(s) && s[i] == ']'
		}
		i = blanks(s, i+1)
	}
}

// appendMeaning decodes what stands between the quotes of a string that was scanned.
func appendMeaning(dst, inside []byte) []byte {
	for i := 0; i < len(inside); {
		c := inside[i]
		switch {
		case c == '\\':
			i++
			switch c := inside[i]; c {
			case 'b':
				dst = append(dst, '\b')
			case 'f':
				dst = append(dst, '\f')
			case 'n':
				dst = append(dst, '\n')
			case 'r':
				dst = append(dst, '\r')
			case 't':
				dst = append(dst, '\t')
			case 'u':
				r, _ := hex4(inside, i+1)
				i += 4
				if utf16.IsSurrogate(r) {
					// A pair is one character, half of a pair is none.
					pair := rune(utf8.RuneError)
					if i+2 < len(inside) && inside[i+1] == '\\' && inside[i+2] == 'u' {
						low, _ := hex4(inside, i+3)
						pair = utf16.DecodeRune(r, low)
					}
					if r = pair; pair != utf8.RuneError {
						i += 6
					}
				}
				dst = utf8.AppendRune(dst, r)
			default:
				dst = append(dst, c)
			}
			i++
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			r, size := utf8.DecodeRune(inside[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
		}
	}
	return dst
}

// meaning decodes a string with its quotes.
func meaning(quoted []byte) string {
	inside := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inside, '\\') < 0 && utf8.Valid(inside) {
		return string(inside)
	}
	return string(appendMeaning(make([]byte, 0, len(inside)), inside))
}

// wellFormed reports whether a text is one value with nothing but white space around.
func wellFormed(s []byte) bool {
	end, ok := scanValue(s, blanks(s, 0), 0)
	return ok && blanks(s, end) == len(s)
}

// decode gives the value that begins at i, in the types that gojq works on. The text was scanned.
func decode(s []byte, i int) (value any, end int) {
	switch s[i] {
	case '"':
		end, _, _ = scanString(s, i)
		return meaning(s[i:end]), end
	case '{':
		return decodeObject(s, i)
	case '[':
		return decodeArray(s, i)
	case 't':
		return true, i + 4
	case 'f':
		return false, i + 5
	case 'n':
		return nil, i + 4
	}
	end, _ = scanNumber(s, i)
	return decodeNumber(s[i:end]), end
}

func decodeObject(s []byte, i int) (value any, end int) {
	object := map[string]any{}
	for i = blanks(s, i+1); s[i] != '}'; {
		if s[i] == ',' {
			i = blanks(s, i+1)
		}
		end, _, _ := scanString(s, i)
		name := meaning(s[i:end])
		object[name], i = decode(s, blanks(s, blanks(s, end)+1)) // the last of a name counts
		i = blanks(s, i)
	}
	return object, i + 1
}

func decodeArray(s []byte, i int) (value any, end int) {
	array := []any{}
	for i = blanks(s, i+1); s[i] != ']'; {
		if s[i] == ',' {
			i = blanks(s, i+1)
		}
		var item any
		item, i = decode(s, i)
		array = append(array, item)
		i = blanks(s, i)
	}
	return array, i + 1
}

// decodeNumber keeps whole numbers exact, as gojq does: jq 1.6 rounds those above 2^53, and so would put two customers
// into one partition.
func decodeNumber(text []byte) any {
	if i, err := strconv.Atoi(string(text)); err == nil {
		return i
	}
	if bytes.ContainsAny(text, ".eE") || len(text) > maxDigits {
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return math.Copysign(math.MaxFloat64, f) // too big, as jq prints it
		}
		return f
	}
	whole, _ := new(big.Int).SetString(string(text), 10)
	return whole
}
