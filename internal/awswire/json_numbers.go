package awswire

import (
	"math"
	"strconv"
	"time"
	"unsafe"
)

// number reads a number's text.
func (d *JSON) number() []byte {
	b, i := d.buf, d.pos
	start := i
	digits := func() bool {
		from := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		return i > from
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		d.fail(errSyntax)
		return nil
	}
	if i < len(b) && b[i] == '.' {
		i++
		if !digits() {
			d.fail(errSyntax)
			return nil
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			d.fail(errSyntax)
			return nil
		}
	}
	d.pos = i
	return b[start:i]
}

// integer reads a whole number: fractions are floored, what is out of bounds is clipped to them.
func (d *JSON) integer(k kind, low, high int64) int64 {
	switch c := d.peek(); {
	case c == '-' || c-'0' <= 9:
	case c == 'n':
		d.literal("null")
		return 0
	default:
		d.wrong(k)
		return 0
	}
	text := d.number()
	if text == nil {
		return 0
	}
	return wholeNumber(unsafe.String(unsafe.SliceData(text), len(text)), low, high)
}

func wholeNumber(text string, low, high int64) int64 {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return min(max(n, low), high)
	}
	f, _ := strconv.ParseFloat(text, 64) // out of range gives an infinity, which is clipped
	return floored(f, low, high)
}

func floored(f float64, low, high int64) int64 {
	f = math.Floor(f)
	switch {
	case f >= float64(high):
		return high
	case f <= float64(low):
		return low
	case math.IsNaN(f):
		return 0
	}
	return int64(f)
}

// Int reads an integer of 32 bits.
func (d *JSON) Int() int { return int(d.integer(kindInteger, math.MinInt32, math.MaxInt32)) }

// IntPtr reads an optional integer.
func (d *JSON) IntPtr() *int { v := d.Int(); return given(d.err, v) }

// Long reads an integer of 64 bits.
func (d *JSON) Long() int64 { return d.integer(kindLong, math.MinInt64, math.MaxInt64) }

// LongPtr reads an optional long.
func (d *JSON) LongPtr() *int64 { v := d.Long(); return given(d.err, v) }

// Float reads a floating-point number.
func (d *JSON) Float() float64 {
	switch c := d.peek(); {
	case c == '-' || c-'0' <= 9:
		f, _ := strconv.ParseFloat(string(d.number()), 64)
		return f
	case c == 'n':
		d.literal("null")
	default:
		d.wrong(kindDouble)
	}
	return 0
}

// FloatPtr reads an optional floating-point number.
func (d *JSON) FloatPtr() *float64 { v := d.Float(); return given(d.err, v) }

// maxEpochSeconds is the year 9999; what lies beyond is clipped, so that arithmetic on times stays sane.
const maxEpochSeconds = 253402300799

// Time reads Unix seconds with a fraction, to the millisecond.
func (d *JSON) Time() time.Time {
	switch c := d.peek(); {
	case c == '-' || c-'0' <= 9:
		f, _ := strconv.ParseFloat(string(d.number()), 64)
		return timeOfSeconds(f)
	case c == 'n':
		d.literal("null")
	default:
		d.wrong(kindTimestamp)
	}
	return time.Time{}
}

func timeOfSeconds(f float64) time.Time {
	f = min(max(f, -maxEpochSeconds), maxEpochSeconds)
	return time.UnixMilli(int64(math.Round(f * 1000))).UTC()
}
