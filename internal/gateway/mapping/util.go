package mapping

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"millrace/internal/gateway/mapping/payload"
	"millrace/vtl"
)

// util is $util. Its functions take strings; given anything else they are unknown, as in the service's renderer.
type util struct{}

// Property gives nothing: $util has functions only.
func (util) Property(*vtl.Runtime, string) (vtl.Value, error) { return vtl.Value{}, nil }

// Call calls a function.
func (util) Call(rt *vtl.Runtime, name string, args []vtl.Value) (vtl.Value, bool, error) {
	if len(args) != 1 {
		return vtl.Value{}, false, nil
	}
	s, ok := args[0].Str()
	if !ok {
		return vtl.Value{}, false, nil
	}
	var fn func(*vtl.Runtime, string) (vtl.Value, error)
	switch name {
	case "base64Encode":
		fn = base64Encode
	case "urlDecode":
		fn = urlDecode
	case "escapeJavaScript":
		fn = escapeJavaScript
	case "parseJson":
		fn = parseJSON
	case "urlEncode":
		fn = urlEncode
	case "base64Decode":
		fn = base64Decode
	default:
		return vtl.Value{}, false, nil
	}
	if err := rt.Charge(len(s) / 64); err != nil {
		return vtl.Value{}, true, err
	}
	v, err := fn(rt, s)
	return v, true, err
}

func base64Encode(rt *vtl.Runtime, s string) (vtl.Value, error) {
	n := base64.StdEncoding.EncodedLen(len(s))
	buf, err := rt.Buffer(n)
	if err != nil {
		return vtl.Value{}, err
	}
	return vtl.Own(base64.StdEncoding.AppendEncode(buf, bytesOf(s))), nil
}

func base64Decode(rt *vtl.Runtime, s string) (vtl.Value, error) {
	clean := strings.TrimRight(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == ' ' {
			return -1
		}
		return r
	}, s), "=")
	buf, err := rt.Buffer(base64.RawStdEncoding.DecodedLen(len(clean)))
	if err != nil {
		return vtl.Value{}, err
	}
	out, err := base64.RawStdEncoding.AppendDecode(buf, bytesOf(clean))
	if err != nil {
		return vtl.Value{}, fmt.Errorf("base64Decode: %w", err)
	}
	return validText(out), nil
}

func validText(b []byte) vtl.Value {
	if utf8.Valid(b) {
		return vtl.Own(b)
	}
	return vtl.String(strings.ToValidUTF8(string(b), "\uFFFD"))
}

func parseJSON(rt *vtl.Runtime, s string) (vtl.Value, error) {
	if err := rt.Charge(len(s) / 8); err != nil {
		return vtl.Value{}, err
	}
	return payload.Parse(s, rt)
}

func urlDecode(rt *vtl.Runtime, s string) (vtl.Value, error) {
	first := strings.IndexAny(s, "%+")
	if first < 0 {
		return vtl.String(s), nil
	}
	buf, err := rt.Buffer(len(s))
	if err != nil {
		return vtl.Value{}, err
	}
	buf = append(buf, s[:first]...)
	decoded := false
	for i := first; i < len(s); i++ {
		switch c := s[i]; c {
		case '+':
			buf = append(buf, ' ')
		case '%':
			if i+2 >= len(s) {
				return vtl.Value{}, fmt.Errorf("urlDecode: %.20q is a cut %% escape", s[i:])
			}
			hi, ok1 := hexDigit(s[i+1])
			lo, ok2 := hexDigit(s[i+2])
			if !ok1 || !ok2 {
				return vtl.Value{}, fmt.Errorf("urlDecode: %q is no %% escape", s[i:i+3])
			}
			buf = append(buf, hi<<4|lo)
			decoded = true
			i += 2
		default:
			buf = append(buf, c)
		}
	}
	if !decoded {
		return vtl.Own(buf), nil
	}
	return validText(buf), nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

const upperHex = "0123456789ABCDEF"

func urlEncode(rt *vtl.Runtime, s string) (vtl.Value, error) {
	n := len(s)
	for i := 0; i < len(s); i++ {
		if !urlPlain(s[i]) && s[i] != ' ' {
			n += 2
		}
	}
	buf, err := rt.Buffer(n)
	if err != nil {
		return vtl.Value{}, err
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case urlPlain(c):
			buf = append(buf, c)
		case c == ' ':
			buf = append(buf, '+')
		default:
			buf = append(buf, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return vtl.Own(buf), nil
}

func urlPlain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '*' || c == '-' || c == '_' || c == '.'
}

// escapeJavaScript escapes quotes, backslashes and slashes, controls, and all that is not ASCII.
func escapeJavaScript(rt *vtl.Runtime, s string) (vtl.Value, error) {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		c := s[i]
		clean = c >= 0x20 && c < 0x80 && c != '\'' && c != '"' && c != '\\' && c != '/'
	}
	if clean {
		return vtl.String(s), nil
	}
	out := make([]byte, 0, len(s)+len(s)/4+8)
	for _, r := range s {
		switch {
		case r == '\'' || r == '"' || r == '\\' || r == '/':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, '\\', 'n')
		case r == '\t':
			out = append(out, '\\', 't')
		case r == '\r':
			out = append(out, '\\', 'r')
		case r == '\b':
			out = append(out, '\\', 'b')
		case r == '\f':
			out = append(out, '\\', 'f')
		case r >= 0x20 && r <= 0x7f:
			out = append(out, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = appendEscape(appendEscape(out, high), low)
		default:
			out = appendEscape(out, r)
		}
	}
	if err := rt.Alloc(len(out)); err != nil {
		return vtl.Value{}, err
	}
	return vtl.Own(out), nil
}

func appendEscape(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', upperHex[r>>12&15], upperHex[r>>8&15], upperHex[r>>4&15], upperHex[r&15])
}
