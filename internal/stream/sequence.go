package stream

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"time"
)

// SequenceNumber numbers a record within its shard; larger is later.
//
// It is opaque to all but the backend that gave it: not dense, not comparable
// between shards. As a value it is an unsigned integer of up to 192 bits, written
// in decimal ("49590338271490256608559692538361571095921575989136588898", 56
// digits), so that Amazon's own numbers pass through unchanged.
//
// It also serves as a position: "from s" means the first record whose number is
// at or above s. The zero value is thus the start of every shard, and the place
// after a record r is r.Sequence.Next(). A backend that can't name the number at its
// tip names a moment instead: [Since].
type SequenceNumber struct{ hi, mid, lo uint64 }

// Our own numbers follow the layout recorded from the service (spec: kinesis,
// 2.4), 47 hexadecimal digits:
//
//	2 | creation second, 9 | shard mod 16, 1 | position, 16 | 00 | creation second, 9 | shard, 8 | 2
//
// Where the service writes the time of writing, we repeat the shard's creation
// second, so that the number is a pure, invertible function of three facts.
const (
	versionTail = 2 // last digit
	versionHead = 2 // first digit

	maxCreation = 1<<36 - 1 // nine hexadecimal digits of seconds: the year 4147
	// LastPosition is the position that a closed shard's ending number bears; no record has it.
	LastPosition = 0x7fffffffffffffff
)

// NewSequenceNumber gives the number of the record at the given position of a shard that was created in
// second created since 1970. It panics when created does not fit 36 bits: a clock that far off is a bug upstream.
func NewSequenceNumber(created int64, shard uint32, position uint64) SequenceNumber {
	if created < 0 || created > maxCreation {
		panic(fmt.Sprintf("stream: creation second %d out of range", created))
	}
	c, sh := uint64(created), uint64(shard)
	// Bits, from the top: head 184..187, created 148..183, shard&15 144..147, position 80..143,
	// zero 72..79, created 36..71, shard 4..35, tail 0..3.
	return SequenceNumber{
		hi:  versionHead<<56 | c<<20 | (sh&15)<<16 | position>>48,
		mid: position<<16 | c>>28,
		lo:  c<<36 | sh<<4 | versionTail,
	}
}

// Parts inverts [NewSequenceNumber]; ok is false for a number that this layout can't have made.
func (s SequenceNumber) Parts() (created int64, shard uint32, position uint64, ok bool) {
	c := s.hi >> 20 & maxCreation
	shard = uint32(s.lo >> 4)
	position = s.hi<<48 | s.mid>>16
	if c > maxCreation {
		return 0, 0, 0, false
	}
	if NewSequenceNumber(int64(c), shard, position) != s {
		return 0, 0, 0, false
	}
	return int64(c), shard, position, true
}

// Compare orders two numbers: -1, 0, 1.
func (s SequenceNumber) Compare(t SequenceNumber) int {
	switch {
	case s.hi != t.hi:
		return compare(s.hi, t.hi)
	case s.mid != t.mid:
		return compare(s.mid, t.mid)
	default:
		return compare(s.lo, t.lo)
	}
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Before reports whether s lies before t.
func (s SequenceNumber) Before(t SequenceNumber) bool { return s.Compare(t) < 0 }

// IsZero reports whether s is the start of every shard.
func (s SequenceNumber) IsZero() bool { return s == SequenceNumber{} }

// Next is the place right after s.
func (s SequenceNumber) Next() SequenceNumber {
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, 1, 0)
	s.mid, carry = bits.Add64(s.mid, 0, carry)
	s.hi, _ = bits.Add64(s.hi, 0, carry)
	return s
}

// Prev is the place right before s; s must not be zero.
func (s SequenceNumber) Prev() SequenceNumber {
	var borrow uint64
	s.lo, borrow = bits.Sub64(s.lo, 1, 0)
	s.mid, borrow = bits.Sub64(s.mid, 0, borrow)
	s.hi, _ = bits.Sub64(s.hi, 0, borrow)
	return s
}

// gap is what lies between a number of our layout and its gap: one in the eight bits that are zero in every number.
const gap = 1 << (72 - 64) // of mid

// Gap gives the number of the gap before s, which is a number of our layout: above that of the record before, below s,
// and never a record's. Who reads on from it, or from behind it, comes to s.
func (s SequenceNumber) Gap() SequenceNumber {
	var borrow uint64
	s.mid, borrow = bits.Sub64(s.mid, gap, 0)
	s.hi, _ = bits.Sub64(s.hi, 0, borrow)
	return s
}

// AfterGap inverts [SequenceNumber.Gap]; ok is false for what is no gap's number.
func (s SequenceNumber) AfterGap() (next SequenceNumber, ok bool) {
	var carry uint64
	s.mid, carry = bits.Add64(s.mid, gap, 0)
	s.hi, _ = bits.Add64(s.hi, 0, carry)
	_, _, _, ok = s.Parts()
	return s, ok
}

// Moments lie between these milliseconds since 1970, the years 2001 and 5138: above the short numbers that stand-ins
// of the service count with, and far below the service's own.
const (
	minMoment = 1_000_000_000_000
	maxMoment = 99_999_999_999_999
)

// Since gives the place of the first record that arrived at or after t, to the millisecond, as a moment instead of a
// number: "1764094658123". It sorts before every record's number, so that a reader moves up from it and never back.
// Only a backend whose Tip or At gave a moment can read from one. A time before 2001 is the start of every shard.
func Since(t time.Time) SequenceNumber {
	ms := t.UnixMilli()
	if ms < minMoment {
		return SequenceNumber{}
	}
	return SequenceNumber{lo: uint64(min(ms, maxMoment))}
}

// Moment inverts [Since]; ok is false for a number.
func (s SequenceNumber) Moment() (t time.Time, ok bool) {
	if s.hi != 0 || s.mid != 0 || s.lo < minMoment || s.lo > maxMoment {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(s.lo)), true
}

// String prints decimal digits, as the Kinesis API does.
func (s SequenceNumber) String() string {
	var buf [58]byte
	return string(s.Append(buf[:0]))
}

// Append appends the decimal digits of s to dst.
func (s SequenceNumber) Append(dst []byte) []byte {
	const chunk = 1e19 // the largest power of ten in 64 bits
	var parts [4]uint64
	n := 0
	for s.hi != 0 || s.mid != 0 {
		r := s.hi // in our numbers smaller than chunk, so that nothing is left of it
		if s.hi = 0; r >= chunk {
			s.hi, r = 1, r-chunk
		}
		s.mid, r = bits.Div64(r, s.mid, chunk)
		s.lo, r = bits.Div64(r, s.lo, chunk)
		parts[n] = r
		n++
	}
	if s.lo >= chunk {
		parts[n] = s.lo % chunk
		n++
		s.lo /= chunk
	}
	if n == 0 || s.lo != 0 {
		dst = strconv.AppendUint(dst, s.lo, 10)
	} else {
		n--
		dst = strconv.AppendUint(dst, parts[n], 10)
	}
	for n--; n >= 0; n-- {
		dst = appendPadded19(dst, parts[n])
	}
	return dst
}

func appendPadded19(dst []byte, v uint64) []byte {
	var digits [19]byte
	high, low := v/1e10, v%1e10 // nine digits, ten digits
	pairs(digits[9:], low)
	digits[8] = byte('0' + high%10)
	pairs(digits[:8], high/10)
	return append(dst, digits[:]...)
}

// pairs fills digits, of even length, with v from the right, two at a time: all records of a page bear such numbers.
func pairs(digits []byte, v uint64) {
	for i := len(digits); i >= 2; i -= 2 {
		q := v / 100
		r := 2 * (v - 100*q)
		digits[i-2], digits[i-1] = twoDigits[r], twoDigits[r+1]
		v = q
	}
}

const twoDigits = "00010203040506070809" + "10111213141516171819" + "20212223242526272829" + "30313233343536373839" +
	"40414243444546474849" + "50515253545556575859" + "60616263646566676869" + "70717273747576777879" +
	"80818283848586878889" + "90919293949596979899"

// BinaryLen is the length of a number's binary form.
const BinaryLen = 24

// PutBinary writes the binary form, which sorts as the numbers do.
func (s SequenceNumber) PutBinary(b *[BinaryLen]byte) {
	binary.BigEndian.PutUint64(b[0:], s.hi)
	binary.BigEndian.PutUint64(b[8:], s.mid)
	binary.BigEndian.PutUint64(b[16:], s.lo)
}

// BinarySequenceNumber reads what PutBinary wrote.
func BinarySequenceNumber(b *[BinaryLen]byte) SequenceNumber {
	return SequenceNumber{hi: binary.BigEndian.Uint64(b[0:]), mid: binary.BigEndian.Uint64(b[8:]), lo: binary.BigEndian.Uint64(b[16:])}
}

// ParseSequenceNumber reads decimal digits without sign or leading zeros. Numbers above 192 bits, which no
// backend makes, are refused.
func ParseSequenceNumber(text string) (SequenceNumber, bool) {
	if text == "" || len(text) > 58 || (text[0] == '0' && len(text) > 1) {
		return SequenceNumber{}, false
	}
	var s SequenceNumber
	for i := range len(text) {
		d := text[i] - '0'
		if d > 9 {
			return SequenceNumber{}, false
		}
		var c1, c2, carry uint64
		c1, s.lo = bits.Mul64(s.lo, 10)
		s.lo, carry = bits.Add64(s.lo, uint64(d), 0)
		c1 += carry
		c2, s.mid = bits.Mul64(s.mid, 10)
		s.mid, carry = bits.Add64(s.mid, c1, 0)
		c2 += carry
		over, hi := bits.Mul64(s.hi, 10)
		s.hi, carry = bits.Add64(hi, c2, 0)
		if over != 0 || carry != 0 {
			return SequenceNumber{}, false
		}
	}
	return s, true
}

// MarshalText writes decimal digits, so that JSON and manifests show what the API shows.
func (s SequenceNumber) MarshalText() ([]byte, error) { return s.Append(nil), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *SequenceNumber) UnmarshalText(text []byte) error {
	v, ok := ParseSequenceNumber(string(text))
	if !ok {
		return fmt.Errorf("stream: %.80q is no sequence number", text)
	}
	*s = v
	return nil
}
