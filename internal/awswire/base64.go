package awswire

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"
)

// sextets[i] holds the value of each base64 letter shifted to its place among four, so that decoding is three
// ORs; badSextet marks every other byte.
var sextets = func() (t [4][256]uint32) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for place := range t {
		for i := range t[place] {
			t[place][i] = badSextet
		}
		for v := range len(alphabet) {
			t[place][alphabet[v]] = uint32(v) << (18 - 6*place)
		}
	}
	return t
}()

const badSextet = 1 << 31

// Blob reads standard base64 with padding. The result is never nil without an error.
func (d *JSON) Blob() []byte {
	switch d.peek() {
	case '"':
	case 'n':
		d.literal("null")
		return nil
	default:
		d.wrong(kindBlob)
		return nil
	}
	start := d.pos + 1
	end := bytes.IndexByte(d.buf[start:], '"')
	if end < 0 {
		d.fail(errSyntax)
		return nil
	}
	dst := d.blobRoom(end/4*3 + 3)
	if n, ok := decodeBase64(dst, d.buf[start:start+end]); ok {
		d.pos = start + end + 1
		return d.blobTaken(dst[:n:n])
	}
	return d.oddBlob()
}

// blobRoom gives memory for a blob; blobTaken says how much of it was used.
func (d *JSON) blobRoom(n int) []byte {
	if !d.Borrow {
		return make([]byte, n)
	}
	d.room(n)
	return d.arena[len(d.arena) : len(d.arena)+n]
}

func (d *JSON) blobTaken(b []byte) []byte {
	if d.Borrow {
		d.arena = d.arena[:len(d.arena)+len(b)]
	}
	return b
}

// oddBlob reads a blob that the straight way could not: with escapes ("\/"), or wrong.
func (d *JSON) oddBlob() []byte {
	raw, escaped := d.quoted()
	if d.err != nil {
		return nil
	}
	if escaped {
		raw = d.unescape(nil, raw)
		if d.err != nil {
			return nil
		}
	}
	dst := d.blobRoom(len(raw)/4*3 + 3)
	n, ok := decodeBase64(dst, raw)
	if !ok {
		d.fail(&SerializationError{blobFault(raw)})
		return nil
	}
	return d.blobTaken(dst[:n:n])
}

// decodeBase64 writes the value of src to dst, which holds at least len(src)/4*3 bytes.
func decodeBase64(dst, src []byte) (n int, ok bool) {
	if len(src)%4 != 0 {
		return 0, false
	}
	if len(src) == 0 {
		return 0, true
	}
	last := len(src) - 4
	var bad uint32
	i := 0
	for ; i < last; i += 4 {
		s := src[i : i+4 : i+4]
		v := sextets[0][s[0]] | sextets[1][s[1]] | sextets[2][s[2]] | sextets[3][s[3]]
		bad |= v
		o := dst[n : n+3 : n+3]
		o[0], o[1], o[2] = byte(v>>16), byte(v>>8), byte(v)
		n += 3
	}
	s := src[last:]
	v := sextets[0][s[0]] | sextets[1][s[1]]
	size := 3
	switch {
	case s[2] == '=' && s[3] == '=':
		size = 1
		if v&0xf000 != 0 {
			bad = badSextet
		}
	case s[3] == '=':
		size = 2
		v |= sextets[2][s[2]]
		if v&0xc0 != 0 {
			bad = badSextet
		}
	default:
		v |= sextets[2][s[2]] | sextets[3][s[3]]
	}
	if (bad|v)&badSextet != 0 {
		return 0, false
	}
	dst[n] = byte(v >> 16)
	if size > 1 {
		dst[n+1] = byte(v >> 8)
	}
	if size > 2 {
		dst[n+2] = byte(v)
	}
	return n + size, true
}

// AppendDecoded appends the value of standard base64, with or without padding; ok is false for other text, and dst as it was.
func AppendDecoded(dst []byte, text string) (out []byte, ok bool) {
	src := unsafe.Slice(unsafe.StringData(text), len(text))
	size := len(src)/4*3 + 3
	dst = slices.Grow(dst, size)
	room := dst[len(dst) : len(dst)+size]
	n, ok := decodeBase64(room, src)
	if !ok {
		var err error
		if n, err = unpadded.Decode(room, src); err != nil {
			return dst, false
		}
	}
	return dst[:len(dst)+n], true
}

var unpadded = base64.RawStdEncoding.Strict()

// maxShownBlob bounds how much of a wrong blob an error repeats: a body may hold 16 MiB of it.
const maxShownBlob = 1024

// blobFault words what is wrong with a blob.
//
// Source: texts recorded from Kinesis; the misspelling is the service's.
func blobFault(text []byte) string {
	shown := text
	if len(shown) > maxShownBlob {
		shown = shown[:maxShownBlob]
	}
	prefix := fmt.Sprintf("'%s' can not be converted to a Blob: ", shown)
	if len(text)%4 != 0 {
		return fmt.Sprintf("%sBase64 encoded length is expected a multiple of 4 bytes but found: %d", prefix, len(text))
	}
	padding := 0
	for padding < 2 && padding < len(text) && text[len(text)-1-padding] == '=' {
		padding++
	}
	for _, c := range text[:len(text)-padding] {
		if sextets[0][c] == badSextet {
			return fmt.Sprintf("%sInvalid Base64 character: '%c'", prefix, c)
		}
	}
	return prefix + "Invalid last non-pad Base64 character dectected"
}

// letterPairs holds the two letters that stand for twelve bits, the first in the lower byte.
var letterPairs = func() (t [1 << 12]uint16) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for v := range t {
		t[v] = uint16(alphabet[v>>6]) | uint16(alphabet[v&63])<<8
	}
	return t
}()

// AppendBase64 appends standard base64 with padding. Six bytes at a time become eight letters by four looks into a
// table, in half the time of the standard library: the letters were half of what a record costs in an answer.
func AppendBase64(dst, src []byte) []byte {
	size := base64.StdEncoding.EncodedLen(len(src))
	dst = slices.Grow(dst, size)
	out := dst[len(dst) : len(dst)+size]
	n := 0
	for ; len(src) >= 8; n += 8 {
		v := binary.BigEndian.Uint64(src)
		binary.LittleEndian.PutUint64(out[n:], uint64(letterPairs[v>>52])|uint64(letterPairs[v>>40&0xfff])<<16|
			uint64(letterPairs[v>>28&0xfff])<<32|uint64(letterPairs[v>>16&0xfff])<<48)
		src = src[6:]
	}
	base64.StdEncoding.Encode(out[n:], src)
	return dst[:len(dst)+size]
}
