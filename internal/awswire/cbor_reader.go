package awswire

import (
	"encoding/binary"
	"unicode/utf8"
	"unsafe"
)

// The major types of CBOR: the upper three bits of a value's first byte.
//
// Source: RFC 8949, section 3.1.
const (
	majorUnsigned = iota
	majorNegative
	majorBytes
	majorText
	majorList
	majorMap
	majorTag
	majorOther // simple values, floats, and the break
)

// Values that are one byte, and what the lower five bits of a first byte say of those that are more.
const (
	cborFalse     = majorOther<<5 | 20
	cborTrue      = majorOther<<5 | 21
	cborNull      = majorOther<<5 | 22
	cborUndefined = majorOther<<5 | 23
	cborHalf      = majorOther<<5 | 25
	cborSingle    = majorOther<<5 | 26
	cborDouble    = majorOther<<5 | 27
	cborBreak     = majorOther<<5 | infoOpen

	infoByte = 24 // the argument is the next byte; the three after it say two, four and eight
	infoOpen = 31 // no length: items follow until a break
)

// open counts down no items: the list or map ends with a break.
const open = -1

// CBOR reads one document of CBOR for the generated decoders, which call it as they call [JSON]: same methods, same
// rules for null (and undefined), for who owns the bytes, and for errors. With Borrow set, blobs and strings point into
// the body; only those sent in pieces are joined in the arena.
//
// All of RFC 8949 that has a meaning here is taken: lengths that are given or open, integers of any width, all floats.
// Tags are passed over, for a member's shape says what its value is. A length is believed only as far as its bytes are there.
// The keys of structures and maps must be text.
//
// The zero value is ready for Reset; reusing one saves its memory.
type CBOR struct {
	Borrow bool

	buf    []byte
	pos    int
	key    []byte
	joined bool // key lies in scratch
	depth  int
	left   [maxDepth]int // of each list or map that we are in: the items, or pairs, to come
	err    *SerializationError

	arena   []byte  // strings in pieces; grows by replacement, so earlier slices stay whole
	slab    lending // optional strings of borrowed requests
	scratch []byte  // joined keys, and joined strings that the caller gets a copy of
}

// Reset begins a document. It takes back all that the reader lent.
func (d *CBOR) Reset(body []byte) {
	d.buf, d.pos, d.key, d.joined, d.depth, d.err = body, 0, nil, false, 0, nil
	d.arena = d.arena[:0]
	d.slab = d.slab[:0]
}

// Retained tells how much memory the reader keeps for reuse, so that a pool can drop a large one.
func (d *CBOR) Retained() int { return cap(d.arena) + 16*cap(d.slab) + cap(d.scratch) }

// Close checks that the document was a map and that nothing follows, and gives the first error. As with
// [JSON.Close], a broken document wins over a wrong type that stands before the break.
func (d *CBOR) Close() error {
	if d.err == nil {
		end := d.pos
		if d.pos = 0; end != len(d.buf) || d.peek()>>5 != majorMap { // null is no request
			d.err = errSyntax
		}
		d.pos = len(d.buf)
	}
	if d.err == nil {
		return nil
	}
	if d.err != errSyntax && !IsCBORMap(d.buf) {
		return errSyntax
	}
	return d.err
}

// IsCBORMap reports whether body is one well-formed map.
func IsCBORMap(body []byte) bool {
	var d CBOR
	d.buf = body
	if d.peek()>>5 != majorMap {
		return false
	}
	d.Skip()
	return d.err == nil && d.pos == len(body)
}

func (d *CBOR) fail(e *SerializationError) {
	if d.err == nil {
		d.err = e
	}
	d.pos = len(d.buf)
}

// peek gives the first byte of the next value, tags passed over, and a break at the end, which is no value anywhere.
func (d *CBOR) peek() byte {
	for d.pos < len(d.buf) {
		if b := d.buf[d.pos]; b>>5 != majorTag {
			return b
		}
		d.argument()
	}
	return cborBreak
}

// argument reads the first bytes of a value and gives the number in them; an open length is none.
func (d *CBOR) argument() (n uint64, ok bool) {
	b := d.buf[d.pos:]
	switch info := b[0] & 31; {
	case info < infoByte:
		d.pos++
		return uint64(info), true
	case info == infoByte && len(b) >= 2:
		d.pos += 2
		return uint64(b[1]), true
	case info == infoByte+1 && len(b) >= 3:
		d.pos += 3
		return uint64(binary.BigEndian.Uint16(b[1:])), true
	case info == infoByte+2 && len(b) >= 5:
		d.pos += 5
		return uint64(binary.BigEndian.Uint32(b[1:])), true
	case info == infoByte+3 && len(b) >= 9:
		d.pos += 9
		return binary.BigEndian.Uint64(b[1:]), true
	}
	d.fail(errSyntax)
	return 0, false
}

// null passes over a null.
func (d *CBOR) null() bool {
	if b := d.peek(); b != cborNull && b != cborUndefined {
		return false
	}
	d.pos++
	return true
}

// begin enters the list or map at the current position.
func (d *CBOR) begin() bool {
	if d.depth >= maxDepth {
		d.fail(errSyntax)
		return false
	}
	left := open
	if first := d.buf[d.pos]; first&31 == infoOpen {
		d.pos++
	} else {
		n, ok := d.argument()
		if !ok {
			return false
		}
		rest := len(d.buf) - d.pos // an item takes a byte at least
		if first>>5 == majorMap {
			rest /= 2
		}
		if n > uint64(rest) {
			d.fail(errSyntax)
			return false
		}
		left = int(n)
	}
	d.left[d.depth] = left
	d.depth++
	return true
}

func (d *CBOR) enter(major byte, k kind) bool {
	switch {
	case d.peek()>>5 == major:
		return d.begin()
	case !d.null():
		d.wrong(k)
	}
	return false
}

// Object enters a map that is a structure; false when the value is null or something else, which is an error.
func (d *CBOR) Object() bool { return d.enter(majorMap, kindStructure) }

// Map enters a map.
func (d *CBOR) Map() bool { return d.enter(majorMap, kindMap) }

// List enters an array.
func (d *CBOR) List() bool { return d.enter(majorList, kindList) }

// Item steps to the next element of an array; false at its end. A null element reads as a zero value.
func (d *CBOR) Item() bool {
	if d.err != nil {
		return false
	}
	switch left := &d.left[d.depth-1]; {
	case *left > 0:
		*left--
		return true
	case *left == open:
		if d.pos < len(d.buf) && d.buf[d.pos] != cborBreak {
			return true
		}
		if d.pos >= len(d.buf) {
			d.fail(errSyntax)
			return false
		}
		d.pos++
	}
	d.depth--
	return false
}

// Member steps to the next member of a map whose value is not null; false at its end.
func (d *CBOR) Member() bool {
	for d.Item() {
		if d.peek()>>5 != majorText {
			d.fail(errSyntax)
			return false
		}
		if d.key, d.joined = d.whole(); d.joined {
			d.scratch = append(d.scratch[:0], d.key...)
			d.key = d.scratch
		}
		if !d.null() {
			return d.err == nil
		}
	}
	return false
}

// Key is the name of the current member, good until the next call.
func (d *CBOR) Key() []byte { return d.key }

// KeyString is the name of the current member as a string that is owned like [CBOR.String].
func (d *CBOR) KeyString() string {
	if d.Borrow && !d.joined {
		return lend(d.key)
	}
	return string(d.key)
}

func lend(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// whole reads the text or byte string at the current position. In one piece it lies in the body; else it is joined, in
// the arena for borrowers, in scratch for others.
func (d *CBOR) whole() (raw []byte, joined bool) {
	if d.buf[d.pos]&31 != infoOpen {
		return d.piece(), false
	}
	major := d.buf[d.pos] >> 5
	d.pos++
	start, size := d.pos, 0
	for {
		switch {
		case d.pos >= len(d.buf):
			d.fail(errSyntax)
			return nil, false
		case d.buf[d.pos] == cborBreak:
			d.pos++
			return d.join(start, size), true
		case d.buf[d.pos]>>5 != major || d.buf[d.pos]&31 == infoOpen:
			d.fail(errSyntax)
			return nil, false
		}
		size += len(d.piece())
		if d.err != nil {
			return nil, false
		}
	}
}

// piece reads a string of known length. Every piece of a text must be UTF-8 by itself.
func (d *CBOR) piece() []byte {
	text := d.buf[d.pos]>>5 == majorText
	n, ok := d.argument()
	if !ok {
		return nil
	}
	if n > uint64(len(d.buf)-d.pos) {
		d.fail(errSyntax)
		return nil
	}
	end := d.pos + int(n)
	raw := d.buf[d.pos:end:end]
	d.pos = end
	if text && !utf8.Valid(raw) {
		d.fail(errSyntax)
		return nil
	}
	return raw
}

// join puts the pieces that begin at start together; they are size bytes, and known to be sound.
func (d *CBOR) join(start, size int) []byte {
	end := d.pos
	d.pos = start
	to := d.scratch[:0]
	if d.Borrow {
		if cap(d.arena)-len(d.arena) < size {
			d.arena = make([]byte, 0, size+len(d.buf)-end) // for all that may follow
		}
		to = d.arena[len(d.arena):]
	}
	for d.buf[d.pos] != cborBreak {
		to = append(to, d.piece()...)
	}
	d.pos = end
	if d.Borrow {
		d.arena = d.arena[:len(d.arena)+size]
		return to[:size:size]
	}
	d.scratch = to
	return to
}

// String reads a string.
func (d *CBOR) String() string {
	switch {
	case d.peek()>>5 == majorText:
	case d.null():
		return ""
	default:
		d.wrong(kindString)
		return ""
	}
	raw, _ := d.whole()
	if d.Borrow {
		return lend(raw)
	}
	return string(raw)
}

// StringPtr reads an optional string.
func (d *CBOR) StringPtr() *string {
	s := d.String()
	if d.err != nil {
		return nil
	}
	if !d.Borrow {
		return &s
	}
	return d.slab.lend(s)
}

// Blob reads a byte string, or a text of base64, which is what a blob is in JSON. The result is never nil without an
// error.
func (d *CBOR) Blob() []byte {
	switch d.peek() >> 5 {
	case majorBytes:
		raw, _ := d.whole()
		if d.err != nil {
			return nil
		}
		if d.Borrow && len(raw) > 0 {
			return raw
		}
		return append([]byte{}, raw...)
	case majorText:
		raw, _ := d.whole()
		if d.err != nil {
			return nil
		}
		b := make([]byte, len(raw)/4*3+3)
		n, ok := decodeBase64(b, raw)
		if !ok {
			d.fail(&SerializationError{blobFault(raw)})
			return nil
		}
		return b[:n:n]
	}
	if !d.null() {
		d.wrong(kindBlob)
	}
	return nil
}

// Bool reads a boolean, or one of the words that services take for one.
func (d *CBOR) Bool() bool {
	switch b := d.peek(); {
	case b == cborTrue || b == cborFalse:
		d.pos++
		return b == cborTrue
	case b>>5 == majorText:
		word, _ := d.whole()
		v, ok := boolOfWord(lend(word))
		if !ok && d.err == nil {
			d.fail(notBool(lend(word)))
		}
		return v
	case !d.null():
		d.wrong(kindBoolean)
	}
	return false
}

// BoolPtr reads an optional boolean.
func (d *CBOR) BoolPtr() *bool { v := d.Bool(); return given(d.err, v) }

// Skip passes over a value of any type, checking its form. Here the keys of maps may be of any type.
func (d *CBOR) Skip() {
	b := d.peek()
	switch b >> 5 {
	case majorUnsigned, majorNegative:
		d.argument()
	case majorBytes:
		d.whole()
	case majorText:
		d.whole()
	case majorList:
		if d.begin() {
			for d.Item() {
				d.Skip()
			}
		}
	case majorMap:
		if d.begin() {
			for d.Item() {
				d.Skip()
				d.Skip()
			}
		}
	default:
		d.skipOther(b)
	}
}

func (d *CBOR) skipOther(b byte) {
	if d.pos >= len(d.buf) || b == cborBreak {
		d.fail(errSyntax)
		return
	}
	n, ok := d.argument()
	if ok && b&31 == infoByte && n < 32 { // the first 32 have a shorter form, which is the only one
		d.fail(errSyntax)
	}
}

// wrong reports a value of another type than the member's; what is no value at all is a syntax error.
func (d *CBOR) wrong(want kind) {
	if d.err != nil {
		return
	}
	switch b := d.peek(); {
	case b>>5 == majorList:
		d.fail(errStartOfList)
	case b>>5 == majorMap:
		d.fail(errStartOfMap)
	case b>>5 == majorText:
		d.fail(wrongType(want, javaString))
	case b>>5 == majorBytes:
		d.fail(wrongType(want, javaBytes))
	case b == cborTrue || b == cborFalse:
		d.fail(wrongType(want, javaBoolean))
	case isCBORNumber(b):
		d.fail(wrongType(want, javaNumber))
	default:
		d.fail(errSyntax)
	}
}
