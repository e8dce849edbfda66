// Package payload reads the body of an event as API Gateway's mapping templates
// see it, and writes it again.
//
//	Parse     permissive JSON into vtl values; what is no JSON is one string
//	Compact   the same and Append in one pass, without building a tree, for plain JSON
//	Path      JSONPath over the tree
//	Append    JSON text as $input.json prints it
//
// The service's reader (json-smart) takes what strict readers refuse: unquoted and
// single-quoted strings, trailing commas, raw line breaks in strings, text behind a
// complete value. It keeps the order of keys and the classes of numbers, and so
// does this one.
//
// Strings of a parsed payload point into the body, which must stay unchanged as
// long as they are used.
package payload

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"millrace/vtl"
)

const (
	// maxDepth bounds how deep a payload nests; json-smart has the same bound.
	maxDepth = 400
	// maxDigits bounds a number: a million digits would take seconds to convert.
	maxDigits = 1000
	// valueBytes is what a value of the tree counts as.
	valueBytes = 64
)

// A Meter bounds the memory that a tree takes; *vtl.Runtime is one.
type Meter interface{ Alloc(n int) error }

// Parse reads a payload.
func Parse(src string, meter Meter) (vtl.Value, error) {
	r := reader{src: src, meter: meter}
	r.space()
	if r.pos == len(src) {
		return vtl.String(""), nil
	}
	switch src[r.pos] {
	case '{', '[', '"', '\'':
		return r.value("")
	}
	return scalar(strings.TrimSpace(src))
}

type reader struct {
	src   string
	pos   int
	depth int
	meter Meter
}

func (r *reader) fail(format string, args ...any) error {
	return fmt.Errorf("the payload is broken JSON at byte %d: %s", r.pos, fmt.Sprintf(format, args...))
}

func (r *reader) space() {
	for r.pos < len(r.src) {
		switch r.src[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// value reads a value; an unquoted one ends before any byte of stop.
func (r *reader) value(stop string) (vtl.Value, error) {
	if r.meter != nil {
		if err := r.meter.Alloc(valueBytes); err != nil {
			return vtl.Value{}, err
		}
	}
	switch r.src[r.pos] {
	case '{':
		return r.object()
	case '[':
		return r.array()
	case '"', '\'':
		s, err := r.quoted()
		return vtl.String(s), err
	}
	return scalar(r.unquoted(stop))
}

func (r *reader) nest() error {
	if r.depth++; r.depth > maxDepth {
		return r.fail("nested deeper than %d levels", maxDepth)
	}
	return nil
}

func (r *reader) object() (vtl.Value, error) {
	if err := r.nest(); err != nil {
		return vtl.Value{}, err
	}
	defer func() { r.depth-- }()
	m := &vtl.Map{}
	r.pos++
	for {
		r.space()
		if r.pos == len(r.src) {
			return vtl.Value{}, r.fail("an object is not closed")
		}
		switch r.src[r.pos] {
		case '}':
			r.pos++
			return vtl.FromMap(m), nil
		case ',':
			r.pos++
			continue
		case ':', ']', '{', '[':
			return vtl.Value{}, r.fail("%q where a key belongs", r.src[r.pos])
		}
		key, err := r.key()
		if err != nil {
			return vtl.Value{}, err
		}
		v, err := r.value(",}")
		if err != nil {
			return vtl.Value{}, err
		}
		m.Put(vtl.String(key), v)
		r.space()
		if r.pos < len(r.src) && r.src[r.pos] != ',' && r.src[r.pos] != '}' {
			return vtl.Value{}, r.fail("%q where a comma or } belongs", r.src[r.pos])
		}
	}
}

func (r *reader) key() (key string, err error) {
	if c := r.src[r.pos]; c == '"' || c == '\'' {
		key, err = r.quoted()
	} else {
		key = r.unquoted(":")
	}
	if err != nil {
		return "", err
	}
	r.space()
	if r.pos == len(r.src) || r.src[r.pos] != ':' {
		return "", r.fail("a key without a value")
	}
	r.pos++
	r.space()
	if r.pos == len(r.src) {
		return "", r.fail("a key without a value")
	}
	if c := r.src[r.pos]; c == ',' || c == '}' || c == ']' || c == ':' {
		return "", r.fail("%q where a value belongs", c)
	}
	return key, nil
}

func (r *reader) array() (vtl.Value, error) {
	if err := r.nest(); err != nil {
		return vtl.Value{}, err
	}
	defer func() { r.depth-- }()
	l := &vtl.List{Flavor: vtl.JSONArray}
	r.pos++
	for {
		r.space()
		if r.pos == len(r.src) {
			return vtl.Value{}, r.fail("an array is not closed")
		}
		switch r.src[r.pos] {
		case ']':
			r.pos++
			return vtl.FromList(l), nil
		case ',':
			r.pos++
			continue
		case ':', '}':
			return vtl.Value{}, r.fail("%q where an item belongs", r.src[r.pos])
		}
		v, err := r.value(",]")
		if err != nil {
			return vtl.Value{}, err
		}
		l.Items = append(l.Items, v)
		r.space()
		if r.pos < len(r.src) && r.src[r.pos] != ',' && r.src[r.pos] != ']' {
			return vtl.Value{}, r.fail("%q where a comma or ] belongs", r.src[r.pos])
		}
	}
}

// unquoted reads up to a byte of stop, or to the end, without blanks around.
func (r *reader) unquoted(stop string) string {
	end := len(r.src)
	if stop != "" {
		if i := strings.IndexAny(r.src[r.pos:], stop); i >= 0 {
			end = r.pos + i
		}
	}
	s := strings.TrimSpace(r.src[r.pos:end])
	r.pos = end
	return s
}

// quoted reads a string in either kind of quotes.
func (r *reader) quoted() (string, error) {
	quote := r.src[r.pos]
	r.pos++
	start := r.pos
	for r.pos < len(r.src) {
		switch r.src[r.pos] {
		case quote:
			s := r.src[start:r.pos]
			r.pos++
			return s, nil
		case '\\':
			return r.escaped(quote, start)
		}
		r.pos++
	}
	return "", r.fail("a string is not closed")
}

// escaped goes on with a string that has escapes, and decodes them.
func (r *reader) escaped(quote byte, start int) (string, error) {
	rest := r.src[r.pos:]
	end := closingQuote(rest, quote)
	if end < 0 {
		r.pos = len(r.src)
		return "", r.fail("a string is not closed")
	}
	raw := r.src[start : r.pos+end]
	if r.meter != nil {
		if err := r.meter.Alloc(len(raw)); err != nil {
			return "", err
		}
	}
	out, bad := unescape(make([]byte, 0, len(raw)), raw)
	if bad >= 0 {
		r.pos = start + bad
		return "", r.fail("a bad escape")
	}
	r.pos += end + 1
	return string(out), nil
}

func closingQuote(s string, quote byte) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case quote:
			return i
		}
	}
	return -1
}

// unescape appends the meaning of a string's inside; bad is the offset of an escape that has none, else -1.
func unescape(dst []byte, s string) (out []byte, bad int) {
	for i := 0; i < len(s); {
		c := s[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		if i+1 == len(s) {
			return dst, i
		}
		switch c := s[i+1]; c {
		case '"', '\\', '/', '\'':
			dst = append(dst, c)
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
		case 'x':
			v, ok := hexDigits(s[i+2:], 2)
			if !ok {
				return dst, i
			}
			dst = utf8.AppendRune(dst, v)
			i += 2
		case 'u':
			v, ok := hexDigits(s[i+2:], 4)
			if !ok {
				return dst, i
			}
			i += 4
			if utf16.IsSurrogate(v) {
				if low, ok := lowSurrogate(s[i+2:]); ok {
					if pair := utf16.DecodeRune(v, low); pair != utf8.RuneError {
						v = pair
						i += 6
					}
				}
			}
			dst = utf8.AppendRune(dst, v)
		default:
			return dst, i
		}
		i += 2
	}
	return dst, -1
}

func lowSurrogate(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	return hexDigits(s[2:], 4)
}

func hexDigits(s string, n int) (rune, bool) {
	if len(s) < n {
		return 0, false
	}
	v, err := strconv.ParseUint(s[:n], 16, 32)
	return rune(v), err == nil && s[0] != '+' && s[0] != '-'
}

// scalar gives the value of an unquoted text: a number, true, false, null, NaN, or else a string.
func scalar(s string) (vtl.Value, error) {
	switch s {
	case "true":
		return vtl.Bool(true), nil
	case "false":
		return vtl.Bool(false), nil
	case "null":
		return vtl.Value{}, nil
	case "NaN":
		f, _ := strconv.ParseFloat("NaN", 64)
		return vtl.Float(f), nil
	}
	switch numberForm(s) {
	case integer:
		return parseInteger(s)
	case fraction:
		return parseFraction(s)
	}
	return vtl.String(s), nil
}

type form uint8

const (
	noNumber form = iota
	integer
	fraction
)

// numberForm tells what kind of number a text is; leading zeros are fine, ".5" and "+1" are none.
func numberForm(s string) form {
	i := 0
	digits := func() bool {
		start := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if !digits() {
		return noNumber
	}
	if i == len(s) {
		return integer
	}
	if s[i] == '.' {
		i++
		if !digits() {
			return noNumber
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return noNumber
		}
	}
	if i < len(s) {
		return noNumber
	}
	return fraction
}

var errDigits = errors.New("the payload holds a number of more digits or a larger exponent than can be handled")

func parseInteger(s string) (vtl.Value, error) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return vtl.Int(i), nil
	}
	if len(s) > maxDigits {
		return vtl.Value{}, errDigits
	}
	i, _ := new(big.Int).SetString(s, 10)
	return vtl.BigInt(i), nil
}

// longFraction is the length of text from which a fraction becomes a BigDecimal.
const longFraction = 18

func parseFraction(s string) (vtl.Value, error) {
	if len(s) > longFraction {
		v, ok := vtl.Decimal(s)
		if !ok {
			return vtl.Value{}, errDigits
		}
		return v, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return vtl.Value{}, err
	}
	return vtl.Float(f), nil
}
