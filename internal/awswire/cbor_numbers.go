package awswire

import (
	"math"
	"time"
)

func isCBORNumber(b byte) bool {
	return b>>5 <= majorNegative || cborHalf <= b && b <= cborDouble
}

// integer reads a whole number: fractions are floored, what is out of bounds is clipped to them, and what is no number
// at all, though a float, is 0 as in Java.
func (d *CBOR) integer(k kind, low, high int64) int64 {
	b := d.peek()
	switch {
	case b>>5 <= majorNegative:
	case cborHalf <= b && b <= cborDouble:
		return floored(d.float(), low, high)
	case d.null():
		return 0
	default:
		d.wrong(k)
		return 0
	}
	n, _ := d.argument()
	v := int64(min(n, math.MaxInt64))
	if b>>5 == majorNegative {
		v = ^v
	}
	return min(max(v, low), high)
}

// float reads the float at the current position.
func (d *CBOR) float() float64 {
	b := d.buf[d.pos]
	n, _ := d.argument()
	switch b {
	case cborHalf:
		return halfFloat(uint16(n))
	case cborSingle:
		return float64(math.Float32frombits(uint32(n)))
	}
	return math.Float64frombits(n)
}

// halfFloat widens a float of 16 bits.
//
// Source: RFC 8949, appendix D.
func halfFloat(bits uint16) float64 {
	exponent, fraction := int(bits>>10&31), float64(bits&0x3ff)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(fraction, -24)
	case 31:
		if f = math.Inf(1); fraction != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(fraction+1024, exponent-25)
	}
	if bits>>15 != 0 {
		return -f
	}
	return f
}

// Int reads an integer of 32 bits.
func (d *CBOR) Int() int { return int(d.integer(kindInteger, math.MinInt32, math.MaxInt32)) }

// IntPtr reads an optional integer.
func (d *CBOR) IntPtr() *int { v := d.Int(); return given(d.err, v) }

// Long reads an integer of 64 bits.
func (d *CBOR) Long() int64 { return d.integer(kindLong, math.MinInt64, math.MaxInt64) }

// LongPtr reads an optional long.
func (d *CBOR) LongPtr() *int64 { v := d.Long(); return given(d.err, v) }

// Float reads a floating-point number.
func (d *CBOR) Float() float64 {
	b := d.peek()
	switch {
	case cborHalf <= b && b <= cborDouble:
		return d.float()
	case b>>5 <= majorNegative:
		n, _ := d.argument()
		if b>>5 == majorNegative {
			return -1 - float64(n)
		}
		return float64(n)
	case !d.null():
		d.wrong(kindDouble)
	}
	return 0
}

// FloatPtr reads an optional floating-point number.
func (d *CBOR) FloatPtr() *float64 { v := d.Float(); return given(d.err, v) }

// Time reads milliseconds since 1970, which is how services and their Java clients write a timestamp below tag 1: not
// the seconds that the tag stands for elsewhere. A float, and a number without the tag, are milliseconds too.
func (d *CBOR) Time() time.Time {
	if d.null() {
		return time.Time{}
	}
	const most = maxEpochSeconds * 1000
	ms := d.integer(kindTimestamp, -most, most)
	if d.err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
