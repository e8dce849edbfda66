package awswire

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"
)

// AppendString appends a JSON string. Invalid UTF-8 becomes U+FFFD; nothing but what JSON demands is escaped.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for {
		n := special(unsafe.Slice(unsafe.StringData(s), len(s)))
		dst = append(dst, s[:n]...)
		if n == len(s) {
			return append(dst, '"')
		}
		r, size := utf8.DecodeRuneInString(s[n:])
		s = s[n+size:]
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r == '\r':
			dst = append(dst, '\\', 'r')
		case r == '\t':
			dst = append(dst, '\\', 't')
		case r < 0x20:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
}

// AppendInt appends a whole number.
func AppendInt[T int | int64](dst []byte, v T) []byte { return strconv.AppendInt(dst, int64(v), 10) }

// AppendFloat appends a number in its shortest form, always with a fraction or an exponent, as Java writes it.
func AppendFloat(dst []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return append(strconv.AppendInt(dst, int64(v), 10), '.', '0')
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64)
}

// AppendBool appends true or false.
func AppendBool(dst []byte, v bool) []byte { return strconv.AppendBool(dst, v) }

// AppendBlob appends a JSON string of base64.
func AppendBlob(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = AppendBase64(dst, b)
	return append(dst, '"')
}

// AppendEpoch appends Unix seconds, with up to three digits of fraction where there is one.
func AppendEpoch(dst []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms < 0 {
		dst = append(dst, '-')
		ms = -ms
	}
	dst = strconv.AppendInt(dst, ms/1000, 10)
	f := ms % 1000
	if f == 0 {
		return dst
	}
	dst = append(dst, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// Comma appends what stands before a member: nothing after an opening brace, else a comma.
func Comma(dst []byte) []byte {
	switch dst[len(dst)-1] {
	case '{', '[':
		return dst
	}
	return append(dst, ',')
}

// AppendISOString appends ISO 8601 as a JSON string.
func AppendISOString(dst []byte, t time.Time) []byte {
	return append(AppendISO(append(dst, '"'), t), '"')
}
