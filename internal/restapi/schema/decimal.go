package schema

import (
	"hash/maphash"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// decimal is a number as its text says it: 0.DIGITS times ten to the power of point. The digits lie in two pieces of the
// text, before and behind its point, without zeros around.
type decimal struct {
	negative bool
	a, b     string
	point    int64
	integer  bool // written without fraction and exponent
}

// maxExponent bounds an exponent that is kept as it is; what lies beyond counts as infinitely far.
const maxExponent = math.MaxInt32

// parseDecimal reads a number of JSON.
func parseDecimal(s string) (d decimal, ok bool) {
	s, d.negative = strings.CutPrefix(s, "-")
	mantissa := s
	var exponent int64
	d.integer = true
	i := digits(s, 0)
	if i < len(s) && s[i] == '.' {
		i = digits(s, i+1)
	}
	if i < len(s) {
		if s[i] != 'e' && s[i] != 'E' {
			return d, false
		}
		mantissa, d.integer = s[:i], false
		e, err := strconv.ParseInt(strings.TrimPrefix(s[i+1:], "+"), 10, 64)
		if err != nil && (e == 0 || s[i+1:] == "") {
			return d, false
		}
		exponent = max(min(e, maxExponent), -maxExponent)
	}
	whole, fraction, broken := strings.Cut(mantissa, ".")
	if broken {
		d.integer = false
	}
	if whole == "" {
		return d, false
	}
	whole = strings.TrimLeft(whole, "0")
	d.point = int64(len(whole)) + exponent
	if whole == "" {
		trimmed := strings.TrimLeft(fraction, "0")
		d.point -= int64(len(fraction) - len(trimmed))
		fraction = trimmed
	}
	fraction = strings.TrimRight(fraction, "0")
	if fraction == "" {
		whole = strings.TrimRight(whole, "0")
	}
	d.a, d.b = whole, fraction
	if d.zero() {
		d.negative, d.point = false, 0
	}
	return d, true
}

func (d *decimal) zero() bool { return d.a == "" && d.b == "" }

func (d *decimal) len() int { return len(d.a) + len(d.b) }

func (d *decimal) digit(i int) byte {
	if i < len(d.a) {
		return d.a[i]
	}
	return d.b[i-len(d.a)]
}

// compare gives -1, 0 or 1.
func (d *decimal) compare(o *decimal) int {
	switch {
	case d.zero() && o.zero():
		return 0
	case d.zero():
		return -o.sign()
	case o.zero() || d.negative != o.negative:
		return d.sign()
	}
	return d.sign() * d.compareMagnitude(o)
}

func (d *decimal) sign() int {
	if d.negative {
		return -1
	}
	return 1
}

func (d *decimal) compareMagnitude(o *decimal) int {
	if d.point != o.point {
		if d.point < o.point {
			return -1
		}
		return 1
	}
	for i := range min(d.len(), o.len()) {
		if x, y := d.digit(i), o.digit(i); x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	switch {
	case d.len() < o.len():
		return -1
	case d.len() > o.len():
		return 1
	}
	return 0
}

// hash adds a number to a hash: equal numbers alike, however they are written.
func (d *decimal) hash(h *maphash.Hash) {
	var head [9]byte
	if d.negative {
		head[0] = 1
	}
	for i := range 8 {
		head[1+i] = byte(d.point >> (8 * i))
	}
	h.Write(head[:])
	h.WriteString(d.a)
	h.WriteString(d.b)
}

// maxDivided bounds digits and exponent of a number that is divided by multipleOf.
const maxDivided = 1000

// multiple reports whether a number is a multiple; known is false for one that is too large to be divided.
func multiple(text string, d *decimal, n *node) (yes, known bool) {
	if n.multipleOfInt != 0 && d.integer {
		if v, err := strconv.ParseInt(text, 10, 64); err == nil {
			return v%n.multipleOfInt == 0, true
		}
	}
	if len(text) > maxDivided || d.point > maxDivided || d.point < -maxDivided {
		return false, false
	}
	v, ok := new(big.Rat).SetString(text)
	if !ok {
		return false, false
	}
	return v.Quo(v, n.multipleOf).IsInt(), true
}
