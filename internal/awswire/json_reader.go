package awswire

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// maxDepth bounds the nesting of a document: the deepest shape of any service nests about ten levels, and a
// hostile body must not choose how deep we recurse.
const maxDepth = 64

// SerializationError says why a body is not what the operation takes. An empty Message means that the body is
// no document at all, for which services send no text.
type SerializationError struct{ Message string }

func (e *SerializationError) Error() string {
	if e.Message == "" {
		return "body is not one whole object"
	}
	return e.Message
}

var errSyntax = &SerializationError{}

// JSON reads one document of strict JSON for the generated decoders. They pull:
//
//	if d.Object() {
//		for d.Member() {
//			switch string(d.Key()) {
//			case "StreamName":
//				v.StreamName = d.String()
//			default:
//				d.Skip()
//
// A member whose value is null counts as absent: Member passes over it. The first
// error sticks, every later call does nothing, and [JSON.Close] gives it.
//
// Who owns the bytes: with Borrow unset every string and blob is the caller's own.
// With Borrow set, strings without escapes point into the body, and blobs,
// unescaped strings and optional values into the reader's arena: all of them die
// with the next Reset, and when the body's owner reuses it. Only operations that
// keep nothing of their request may borrow.
//
// The zero value is ready for Reset; reusing one saves its memory.
type JSON struct {
	Borrow bool

	buf   []byte
	pos   int
	key   []byte
	first bool
	depth int
	err   *SerializationError

	arena   []byte  // blobs and unescaped strings; grows by replacement, so earlier slices stay whole
	slab    lending // optional strings of borrowed requests
	scratch []byte  // unescaped keys
}

// Reset begins a document. It takes back all that the reader lent.
func (d *JSON) Reset(body []byte) {
	d.buf, d.pos, d.key, d.first, d.depth, d.err = body, 0, nil, false, 0, nil
	d.arena = d.arena[:0]
	d.slab = d.slab[:0]
}

// Retained tells how much memory the reader keeps for reuse, so that a pool can drop a large one.
func (d *JSON) Retained() int { return cap(d.arena) + 16*cap(d.slab) + cap(d.scratch) }

// Close checks that nothing but blanks follows, and gives the first error.
//
// Services look at the whole document before they look at its types. Thus a
// broken document wins over a wrong type that stands before the break.
func (d *JSON) Close() error {
	if d.err == nil {
		d.space()
		end := d.pos
		if d.pos = 0; end != len(d.buf) || d.peek() != '{' { // null is no request
			d.err = errSyntax
		}
		d.pos = len(d.buf)
	}
	if d.err == nil {
		return nil
	}
	if d.err != errSyntax && !IsJSONObject(d.buf) {
		return errSyntax
	}
	return d.err
}

// IsJSONObject reports whether body is one well-formed JSON object.
func IsJSONObject(body []byte) bool {
	var d JSON
	d.buf = body
	if d.peek() != '{' {
		return false
	}
	d.Skip()
	d.space()
	return d.err == nil && d.pos == len(body)
}

func (d *JSON) fail(e *SerializationError) {
	if d.err == nil {
		d.err = e
	}
	d.pos = len(d.buf)
}

func (d *JSON) space() {
	for d.pos < len(d.buf) {
		switch d.buf[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

// peek gives the next significant byte, 0 at the end.
func (d *JSON) peek() byte {
	for d.pos < len(d.buf) {
		c := d.buf[d.pos]
		if c > ' ' {
			return c
		}
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
		d.pos++
	}
	return 0
}

// Peek gives the first byte of the next value, which tells its type; 0 where there is none. It is for readers of documents
// that are not ours to refuse: they look before they pull.
func (d *JSON) Peek() byte { return d.peek() }

// Raw passes over a value as [JSON.Skip] does, and gives its text, which lies in the document.
func (d *JSON) Raw() []byte {
	d.peek()
	start := d.pos
	d.Skip()
	return d.buf[start:d.pos]
}

func (d *JSON) literal(text string) bool {
	if d.err == nil && len(d.buf)-d.pos >= len(text) && string(d.buf[d.pos:d.pos+len(text)]) == text {
		d.pos += len(text)
		return true
	}
	d.fail(errSyntax)
	return false
}

func (d *JSON) begin() bool {
	if d.depth >= maxDepth {
		d.fail(errSyntax)
		return false
	}
	d.depth++
	d.pos++
	d.first = true
	return true
}

// Object enters an object; false when the value is null or something else, which is an error.
func (d *JSON) Object() bool {
	switch d.peek() {
	case '{':
		return d.begin()
	case 'n':
		d.literal("null")
	default:
		d.wrong(kindStructure)
	}
	return false
}

// Map enters an object that is a map.
func (d *JSON) Map() bool {
	switch d.peek() {
	case '{':
		return d.begin()
	case 'n':
		d.literal("null")
	default:
		d.wrong(kindMap)
	}
	return false
}

// List enters an array.
func (d *JSON) List() bool {
	switch d.peek() {
	case '[':
		return d.begin()
	case 'n':
		d.literal("null")
	default:
		d.wrong(kindList)
	}
	return false
}

// next steps over the comma before an element, or over the closing byte.
func (d *JSON) next(closing byte) bool {
	c := d.peek()
	switch {
	case d.err != nil:
		return false
	case d.first:
		d.first = false
		if c != closing {
			return true
		}
	case c == ',':
		d.pos++
		return true
	}
	if c != closing {
		d.fail(errSyntax)
		return false
	}
	d.pos++
	d.depth--
	return false
}

// Item steps to the next element of an array; false at its end. A null element reads as a zero value.
func (d *JSON) Item() bool { return d.next(']') }

// Member steps to the next member of an object whose value is not null; false at its end.
func (d *JSON) Member() bool {
	for d.next('}') {
		if d.peek() != '"' {
			d.fail(errSyntax)
			return false
		}
		d.key = d.rawKey()
		if d.peek() != ':' {
			d.fail(errSyntax)
			return false
		}
		d.pos++
		if d.peek() != 'n' {
			return d.err == nil
		}
		if !d.literal("null") {
			return false
		}
	}
	return false
}

// Key is the name of the current member, good until the next call.
func (d *JSON) Key() []byte { return d.key }

// KeyString is the name of the current member as a string that is owned like [JSON.String].
func (d *JSON) KeyString() string {
	if d.Borrow && len(d.scratch) == 0 {
		return unsafe.String(unsafe.SliceData(d.key), len(d.key))
	}
	return string(d.key)
}

func (d *JSON) rawKey() []byte {
	raw, escaped := d.quoted()
	d.scratch = d.scratch[:0]
	if escaped {
		d.scratch = d.unescape(d.scratch, raw)
		return d.scratch
	}
	return raw
}

const (
	swarOnes = 0x0101010101010101
	swarHigh = 0x8080808080808080
)

// special gives the index of the first byte of s that is a quote, a backslash, a control character or not
// ASCII, len(s) when there is none. Eight bytes at a time: a borrow can only raise a false alarm above a true
// one, so the lowest is exact.
func special(s []byte) int {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := binary.LittleEndian.Uint64(s[i:])
		q := w ^ ('"' * swarOnes)
		b := w ^ ('\\' * swarOnes)
		m := ((q-swarOnes)&^q | (b-swarOnes)&^b | (w-0x20*swarOnes)&^w | w) & swarHigh
		if m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c == '"' || c == '\\' || c < 0x20 || c >= utf8.RuneSelf {
			return i
		}
	}
	return i
}

// quoted reads a string and gives what stands between its quotes.
func (d *JSON) quoted() (raw []byte, escaped bool) {
	if d.err != nil || d.pos >= len(d.buf) {
		d.fail(errSyntax)
		return nil, false
	}
	start := d.pos + 1
	wide := false
	for i := start; ; {
		i += special(d.buf[i:])
		if i >= len(d.buf) {
			break
		}
		switch c := d.buf[i]; {
		case c == '"':
			d.pos = i + 1
			raw = d.buf[start:i]
			if wide && !utf8.Valid(raw) {
				d.fail(errSyntax)
				return nil, false
			}
			return raw, escaped
		case c == '\\' && i+1 < len(d.buf):
			escaped = true
			i += 2
		case c >= utf8.RuneSelf:
			wide = true
			for i < len(d.buf) && d.buf[i] >= utf8.RuneSelf {
				i++
			}
		default:
			d.fail(errSyntax)
			return nil, false
		}
	}
	d.fail(errSyntax)
	return nil, false
}

// unescape appends the value of a string with escapes. A lone surrogate becomes U+FFFD.
func (d *JSON) unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			continue
		}
		i++
		switch raw[i] {
		case '"', '\\', '/':
			dst = append(dst, raw[i])
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
			r, ok := hex4(raw[i+1:])
			if !ok {
				d.fail(errSyntax)
				return dst
			}
			i += 4
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if len(raw) > i+2 && raw[i+1] == '\\' && raw[i+2] == 'u' {
					if low, ok := hex4(raw[i+3:]); ok {
						pair = utf16.DecodeRune(r, low)
					}
				}
				if pair != utf8.RuneError {
					i += 6
				}
				r = pair
			}
			dst = utf8.AppendRune(dst, r)
		default:
			d.fail(errSyntax)
			return dst
		}
	}
	return dst
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range s[:4] {
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

// String reads a string.
func (d *JSON) String() string {
	switch d.peek() {
	case '"':
	case 'n':
		d.literal("null")
		return ""
	default:
		d.wrong(kindString)
		return ""
	}
	raw, escaped := d.quoted()
	switch {
	case escaped && d.Borrow:
		d.room(len(raw))
		start := len(d.arena)
		d.arena = d.unescape(d.arena, raw)
		return unsafe.String(unsafe.SliceData(d.arena[start:]), len(d.arena)-start)
	case escaped:
		d.scratch = d.unescape(d.scratch[:0], raw)
		return string(d.scratch)
	case d.Borrow:
		return unsafe.String(unsafe.SliceData(raw), len(raw))
	}
	return string(raw)
}

// StringPtr reads an optional string.
func (d *JSON) StringPtr() *string {
	s := d.String()
	if d.err != nil {
		return nil
	}
	if !d.Borrow {
		return &s
	}
	return d.slab.lend(s)
}

// room makes sure that n more bytes fit the arena without moving what it lent. The first blob of a document
// reserves for the whole of it: base64 shrinks to three quarters.
func (d *JSON) room(n int) {
	if cap(d.arena)-len(d.arena) >= n {
		return
	}
	d.arena = make([]byte, 0, max(n, (len(d.buf)-d.pos)*3/4+n))
}

// Bool reads a boolean, or one of the words that services take for one.
func (d *JSON) Bool() bool {
	switch d.peek() {
	case 't':
		d.literal("true")
		return true
	case 'f':
		d.literal("false")
	case 'n':
		d.literal("null")
	case '"':
		word := d.String()
		v, ok := boolOfWord(word)
		if !ok && d.err == nil {
			d.fail(notBool(word))
		}
		return v
	default:
		d.wrong(kindBoolean)
	}
	return false
}

// BoolPtr reads an optional boolean.
func (d *JSON) BoolPtr() *bool { v := d.Bool(); return given(d.err, v) }

// Skip passes over a value of any type, checking its form.
func (d *JSON) Skip() {
	switch c := d.peek(); {
	case d.err != nil:
	case c == '{':
		if d.begin() {
			for d.Member() {
				d.Skip()
			}
		}
	case c == '[':
		if d.begin() {
			for d.Item() {
				d.Skip()
			}
		}
	case c == '"':
		if raw, escaped := d.quoted(); escaped {
			d.scratch = d.unescape(d.scratch[:0], raw)
		}
	case c == 't':
		d.literal("true")
	case c == 'f':
		d.literal("false")
	case c == 'n':
		d.literal("null")
	default:
		d.number()
	}
}

// wrong reports a value of another type than the member's; what is no value at all is a syntax error.
func (d *JSON) wrong(want kind) {
	if d.err != nil {
		return
	}
	switch c := d.peek(); {
	case c == '[':
		d.fail(errStartOfList)
	case c == '{':
		d.fail(errStartOfMap)
	case c == '"':
		d.fail(wrongType(want, javaString))
	case c == 't' || c == 'f':
		d.fail(wrongType(want, javaBoolean))
	case c == '-' || c-'0' <= 9:
		d.fail(wrongType(want, javaNumber))
	default:
		d.fail(errSyntax)
	}
}
