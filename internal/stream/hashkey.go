package stream

import (
	"crypto/md5"
	"fmt"
	"math/big"
	"math/bits"
	"unsafe"
)

// HashKey is a point of the hash key space, 0 .. 2^128-1, written in decimal.
type HashKey struct{ hi, lo uint64 }

// MaxHashKey is the last point: 340282366920938463463374607431768211455.
var MaxHashKey = HashKey{^uint64(0), ^uint64(0)}

// HashPartitionKey is the MD5 of the key's UTF-8 bytes as a big-endian number.
func HashPartitionKey(key string) HashKey {
	sum := md5.Sum(unsafe.Slice(unsafe.StringData(key), len(key)))
	return HashKey{be64(sum[:8]), be64(sum[8:])}
}

func be64(b []byte) uint64 {
	var v uint64
	for _, x := range b[:8] {
		v = v<<8 | uint64(x)
	}
	return v
}

// Compare orders two points: -1, 0, 1.
func (h HashKey) Compare(k HashKey) int {
	if h.hi != k.hi {
		return compare(h.hi, k.hi)
	}
	return compare(h.lo, k.lo)
}

// Prev is the point before h; the point before 0 is the last one.
func (h HashKey) Prev() HashKey {
	lo, borrow := bits.Sub64(h.lo, 1, 0)
	return HashKey{h.hi - borrow, lo}
}

// Next is the point after h; the point after the last one is 0.
func (h HashKey) Next() HashKey {
	lo, carry := bits.Add64(h.lo, 1, 0)
	return HashKey{h.hi + carry, lo}
}

// String prints decimal digits.
func (h HashKey) String() string { return h.big().String() }

func (h HashKey) big() *big.Int {
	v := new(big.Int).SetUint64(h.hi)
	return v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(h.lo))
}

// ParseHashKey reads decimal digits without sign or leading zeros (`0|([1-9]\d{0,38})`); ok is false for a
// text of another form, and inRange is false for a number above 2^128-1.
func ParseHashKey(text string) (h HashKey, ok, inRange bool) {
	if text == "" || len(text) > 39 || (text[0] == '0' && len(text) > 1) {
		return HashKey{}, false, false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return HashKey{}, false, false
		}
	}
	for i := range len(text) {
		over, hi := bits.Mul64(h.hi, 10)
		c, lo := bits.Mul64(h.lo, 10)
		var carry uint64
		h.lo, carry = bits.Add64(lo, uint64(text[i]-'0'), 0)
		h.hi, carry = bits.Add64(hi, c, carry)
		if over != 0 || carry != 0 {
			return HashKey{}, true, false
		}
	}
	return h, true, true
}

// MarshalText writes decimal digits.
func (h HashKey) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *HashKey) UnmarshalText(text []byte) error {
	v, ok, inRange := ParseHashKey(string(text))
	if !ok || !inRange {
		return fmt.Errorf("stream: %.80q is no hash key", text)
	}
	*h = v
	return nil
}

// HashKeyRange is an inclusive range of points.
type HashKeyRange struct{ Start, End HashKey }

// Contains reports whether k lies in r.
func (r HashKeyRange) Contains(k HashKey) bool {
	return r.Start.Compare(k) <= 0 && k.Compare(r.End) <= 0
}

// Middle is the point at which the upper half of r begins; ok is false when r is a single point.
func (r HashKeyRange) Middle() (k HashKey, ok bool) {
	lo, borrow := bits.Sub64(r.End.lo, r.Start.lo, 0)
	hi, _ := bits.Sub64(r.End.hi, r.Start.hi, borrow)
	lo, hi = lo>>1|hi<<63, hi>>1
	lo, carry := bits.Add64(r.Start.lo, lo, 0)
	hi, _ = bits.Add64(r.Start.hi, hi, carry)
	return HashKey{hi, lo}.Next(), r.Start != r.End
}

// EvenRanges divides the space into n ranges as the service does: each floor(2^128/n) wide, the last one takes
// the rest. n must be at least 1.
func EvenRanges(n int) []HashKeyRange {
	width := new(big.Int).Lsh(big.NewInt(1), 128)
	width.Div(width, big.NewInt(int64(n)))
	ranges := make([]HashKeyRange, n)
	at := new(big.Int)
	for i := range ranges {
		ranges[i].Start = fromBig(at)
		at.Add(at, width)
		ranges[i].End = fromBig(new(big.Int).Sub(at, big.NewInt(1)))
	}
	ranges[n-1].End = MaxHashKey
	return ranges
}

func fromBig(v *big.Int) HashKey {
	mask := new(big.Int).SetUint64(^uint64(0))
	return HashKey{new(big.Int).Rsh(v, 64).Uint64(), new(big.Int).And(v, mask).Uint64()}
}
