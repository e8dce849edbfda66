package vtl

import (
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
)

// maxPrintDepth bounds how deep collections print: a list can hold itself.
const maxPrintDepth = 400

var errTooDeep = errors.New("a collection nests too deep to be printed; does it hold itself?")

// AppendText appends what v prints as, of at most limit bytes beyond dst.
func (v Value) AppendText(dst []byte, limit int) ([]byte, error) {
	p := printer{limit: len(dst) + limit}
	return p.value(dst, v, 0)
}

type printer struct{ limit int }

var errTooLong = errors.New("the text is too long")

func (p *printer) value(dst []byte, v Value, depth int) ([]byte, error) {
	if depth > maxPrintDepth {
		return dst, errTooDeep
	}
	if len(dst) > p.limit {
		return dst, errTooLong
	}
	switch v.kind {
	case Null:
		return append(dst, "null"...), nil
	case ListKind:
		return p.list(dst, v.ref.(*List), depth)
	case MapKind:
		return p.mapping(dst, v.ref.(*Map), depth)
	case ObjectKind:
		if s, ok := v.ref.(Stringer); ok {
			return s.AppendText(dst), nil
		}
		return dst, nil
	}
	return appendScalar(dst, v), nil
}

// appendScalar appends what is neither a collection nor an object.
func appendScalar(dst []byte, v Value) []byte {
	switch v.kind {
	case Text:
		return append(dst, v.str()...)
	case Boolean:
		return strconv.AppendBool(dst, v.bits != 0)
	case Integer, Long:
		return strconv.AppendInt(dst, int64(v.bits), 10)
	case BigInteger:
		return v.bigInt().Append(dst, 10)
	case Double:
		return appendDouble(dst, math.Float64frombits(v.bits))
	case BigDecimal:
		return append(dst, v.ref.(*decimal).String()...)
	}
	return append(dst, "null"...)
}

func (p *printer) list(dst []byte, l *List, depth int) ([]byte, error) {
	if l.Flavor == JSONArray {
		return p.json(dst, FromList(l), depth)
	}
	var err error
	dst = append(dst, '[')
	for i, item := range l.Items {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if dst, err = p.value(dst, item, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func (p *printer) mapping(dst []byte, m *Map, depth int) ([]byte, error) {
	if m.Silent {
		return dst, nil
	}
	var err error
	dst = append(dst, '{')
	for i, e := range m.entries {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if dst, err = p.value(dst, e.Key, depth+1); err != nil {
			return dst, err
		}
		dst = append(dst, '=')
		if dst, err = p.value(dst, e.Value, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// json prints as a json-smart array prints itself and everything inside.
func (p *printer) json(dst []byte, v Value, depth int) ([]byte, error) {
	if depth > maxPrintDepth {
		return dst, errTooDeep
	}
	if len(dst) > p.limit {
		return dst, errTooLong
	}
	var err error
	switch v.kind {
	case Text:
		dst = append(dst, '"')
		dst = AppendJSONString(dst, v.str(), true)
		return append(dst, '"'), nil
	case Double:
		if f := math.Float64frombits(v.bits); math.IsInf(f, 0) || math.IsNaN(f) {
			return append(dst, "null"...), nil
		}
		return appendScalar(dst, v), nil
	case ListKind:
		dst = append(dst, '[')
		for i, item := range v.ref.(*List).Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = p.json(dst, item, depth+1); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	case MapKind:
		dst = append(dst, '{')
		for i, e := range v.ref.(*Map).entries {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '"')
			dst = AppendJSONString(dst, toText(e.Key), true)
			dst = append(dst, '"', ':')
			if dst, err = p.json(dst, e.Value, depth+1); err != nil {
				return dst, err
			}
		}
		return append(dst, '}'), nil
	case ObjectKind:
		text, err := p.value(nil, v, depth)
		if err != nil {
			return dst, err
		}
		dst = append(dst, '"')
		dst = AppendJSONString(dst, string(text), true)
		return append(dst, '"'), nil
	}
	return appendScalar(dst, v), nil
}

const upperHex = "0123456789ABCDEF"

// AppendJSONString appends the inside of a JSON string as json-smart escapes it: control characters, U+007F to
// U+009F and U+2000 to U+20FF as \uXXXX, and "/" when slash is set.
func AppendJSONString(dst []byte, s string, slash bool) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < 0x7f && c != '"' && c != '\\' && (c != '/' || !slash) {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if (r < 0x80 || r > 0x9f) && (r < 0x2000 || r > 0x20ff) {
				i += size
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendUnicode(dst, r)
			i += size
			start = i
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\', '/':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = appendUnicode(dst, rune(c))
		}
		i++
		start = i
	}
	return append(dst, s[start:]...)
}

func appendUnicode(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', upperHex[r>>12&15], upperHex[r>>8&15], upperHex[r>>4&15], upperHex[r&15])
}

// maxShownText bounds texts that are made for comparing and for keys.
const maxShownText = 1 << 20

// toText gives what v prints as; it is cut when it is very long or deep.
func toText(v Value) string {
	if v.kind == Text {
		return v.str()
	}
	b, _ := v.AppendText(nil, maxShownText) // cut is as good as whole for comparing
	return string(b)
}
