package parquet

import "math/bits"

// maxDigits is how many digits 128 bits hold for sure.
const maxDigits = 38

// number128 is a decimal number of up to 38 digits, without its point.
type number128 struct {
	hi, lo   uint64
	negative bool
}

// parse reads a checked JSON number as an integer of units of 10^-scale, rounded half up, away from zero. exact tells that
// nothing was rounded; ok that it has at most precision digits.
func (x *number128) parse(text []byte, scale, precision int) (exact, ok bool) {
	*x = number128{}
	if text[0] == '-' {
		x.negative, text = true, text[1:]
	}
	mantissa, exponent := splitExponent(text)
	point := len(mantissa)
	for i, c := range mantissa {
		if c == '.' {
			point = i
		}
	}
	// A digit at place i, the point not counted, is worth 10^(point-1-i+exponent). Digits up to place last count.
	last := point - 1 + exponent + scale
	count, place, exact, up := 0, -1, true, false
	for _, c := range mantissa {
		if c == '.' {
			continue
		}
		place++
		if place > last {
			if place == last+1 {
				up = c >= '5'
			}
			exact = exact && c == '0'
			continue
		}
		if count > 0 || c != '0' {
			if count++; count > precision {
				return exact, false
			}
		}
		x.push(c - '0')
	}
	if count > 0 {
		if last-place > precision {
			return exact, false
		}
		for ; place < last; place++ {
			if count++; count > precision {
				return exact, false
			}
			x.push(0)
		}
	}
	if up {
		var carry uint64
		x.lo, carry = bits.Add64(x.lo, 1, 0)
		x.hi += carry
		if hi, lo := powerOfTen(precision); x.hi == hi && x.lo == lo {
			return exact, false
		}
	}
	return exact, true
}

func (x *number128) push(digit byte) {
	over, lo := bits.Mul64(x.lo, 10)
	x.hi = x.hi*10 + over
	var carry uint64
	x.lo, carry = bits.Add64(lo, uint64(digit), 0)
	x.hi += carry
}

// int64 gives x, if it fits.
func (x *number128) int64(parsed bool) (int64, bool) {
	switch {
	case !parsed || x.hi != 0:
		return 0, false
	case x.negative && x.lo <= 1<<63:
		return -int64(x.lo), true
	case !x.negative && x.lo < 1<<63:
		return int64(x.lo), true
	default:
		return 0, false
	}
}

// maxExponent bounds exponents: beyond it a number is 0 or out of range for any type.
const maxExponent = 1 << 24

func splitExponent(text []byte) (mantissa []byte, exponent int) {
	for i, c := range text {
		if c|0x20 != 'e' {
			continue
		}
		digits, negative := text[i+1:], false
		if digits[0] == '-' || digits[0] == '+' {
			digits, negative = digits[1:], digits[0] == '-'
		}
		for _, c := range digits {
			exponent = min(exponent*10+int(c-'0'), maxExponent)
		}
		if negative {
			exponent = -exponent
		}
		return text[:i], exponent
	}
	return text, 0
}

func powerOfTen(n int) (hi, lo uint64) {
	x := number128{lo: 1}
	for range min(n, maxDigits) {
		x.push(0)
	}
	return x.hi, x.lo
}
