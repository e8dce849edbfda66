package vtl

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// decimal is a Java BigDecimal: unscaled / 10^scale.
type decimal struct {
	unscaled *big.Int
	scale    int
}

// maxScale bounds the exponent of a decimal: 1e1000000000 is three dozen bytes of input and a gigabyte of digits.
const maxScale = 1000

// Decimal makes a BigDecimal of a number's text; ok is false when the text is no number or out of bounds.
func Decimal(text string) (v Value, ok bool) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	exp := 0
	if exponent != "" {
		var err error
		if exp, err = strconv.Atoi(strings.TrimPrefix(exponent, "+")); err != nil {
			return Value{}, false
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if len(digits) > maxNumberDigits {
		return Value{}, false
	}
	unscaled, ok := new(big.Int).SetString(strings.TrimPrefix(digits, "+"), 10)
	scale := len(fraction) - exp
	if !ok || scale > maxScale || scale < -maxScale {
		return Value{}, false
	}
	return Value{kind: BigDecimal, ref: &decimal{unscaled, scale}}, true
}

func (d *decimal) float() float64 {
	f, err := strconv.ParseFloat(d.unscaled.String()+"e"+strconv.Itoa(-d.scale), 64)
	if err != nil && math.IsNaN(f) {
		return math.NaN()
	}
	return f
}

// String prints as BigDecimal.toString does.
func (d *decimal) String() string {
	digits := new(big.Int).Abs(d.unscaled).String()
	sign := ""
	if d.unscaled.Sign() < 0 {
		sign = "-"
	}
	if d.scale == 0 {
		return sign + digits
	}
	adjusted := len(digits) - 1 - d.scale
	if d.scale > 0 && adjusted >= -6 {
		if point := len(digits) - d.scale; point > 0 {
			return sign + digits[:point] + "." + digits[point:]
		}
		return sign + "0." + strings.Repeat("0", d.scale-len(digits)) + digits
	}
	text := sign + digits[:1]
	if len(digits) > 1 {
		text += "." + digits[1:]
	}
	if adjusted == 0 {
		return text
	}
	if adjusted > 0 {
		return text + "E+" + strconv.Itoa(adjusted)
	}
	return text + "E" + strconv.Itoa(adjusted)
}

func toDecimal(v Value) *decimal {
	switch v.kind {
	case BigDecimal:
		return v.ref.(*decimal)
	case Double:
		d, ok := Decimal(strconv.FormatFloat(v.float(), 'g', -1, 64))
		if !ok {
			return nil
		}
		return d.ref.(*decimal)
	default:
		return &decimal{v.bigInt(), 0}
	}
}

var bigTen = big.NewInt(10)

// align gives both unscaled values at the larger scale.
func align(a, b *decimal) (x, y *big.Int, scale int) {
	scale = max(a.scale, b.scale)
	up := func(d *decimal) *big.Int {
		if d.scale == scale {
			return d.unscaled
		}
		factor := new(big.Int).Exp(bigTen, big.NewInt(int64(scale-d.scale)), nil)
		return factor.Mul(factor, d.unscaled)
	}
	return up(a), up(b), scale
}

// arithmetic computes a op b for two numbers; null for a division by zero, or a result beyond all bounds.
func arithmetic(op byte, a, b Value) Value {
	switch {
	case a.kind == BigDecimal || b.kind == BigDecimal:
		return decimalArithmetic(op, a, b)
	case a.kind == Double || b.kind == Double:
		return floatArithmetic(op, a.float(), b.float())
	case a.kind == BigInteger || b.kind == BigInteger:
		return bigArithmetic(op, a, b)
	}
	x, y := int64(a.bits), int64(b.bits)
	var r int64
	ok := true
	switch op {
	case '+':
		r = x + y
		ok = (x >= 0) != (y >= 0) || (r >= 0) == (x >= 0)
	case '-':
		r = x - y
		ok = (x >= 0) == (y >= 0) || (r >= 0) == (x >= 0)
	case '*':
		if x != 0 && y != 0 {
			r = x * y
			ok = r/y == x && !(x == -1 && y == math.MinInt64) && !(y == -1 && x == math.MinInt64)
		}
	case '/', '%':
		if y == 0 {
			return Value{}
		}
		if x == math.MinInt64 && y == -1 {
			ok = op == '%'
			break
		}
		if op == '/' {
			r = x / y
		} else {
			r = x % y
		}
	}
	if !ok {
		return bigArithmetic(op, a, b)
	}
	if a.kind == Long || b.kind == Long {
		return long(r)
	}
	return Int(r)
}

func floatArithmetic(op byte, x, y float64) Value {
	switch op {
	case '+':
		return Float(x + y)
	case '-':
		return Float(x - y)
	case '*':
		return Float(x * y)
	}
	if y == 0 {
		return Value{}
	}
	if op == '/' {
		return Float(x / y)
	}
	return Float(math.Mod(x, y))
}

func bigArithmetic(op byte, a, b Value) Value {
	x, y, r := a.bigInt(), b.bigInt(), new(big.Int)
	switch op {
	case '+':
		r.Add(x, y)
	case '-':
		r.Sub(x, y)
	case '*':
		r.Mul(x, y)
	case '/', '%':
		if y.Sign() == 0 {
			return Value{}
		}
		if op == '/' {
			r.Quo(x, y)
		} else {
			r.Rem(x, y)
		}
	}
	if r.BitLen() > 4*maxNumberDigits {
		return Value{}
	}
	return BigInt(r)
}

func decimalArithmetic(op byte, a, b Value) Value {
	x, y := toDecimal(a), toDecimal(b)
	if x == nil || y == nil {
		return Value{}
	}
	r := &decimal{new(big.Int), 0}
	switch op {
	case '+', '-':
		p, q, scale := align(x, y)
		if op == '+' {
			r.unscaled.Add(p, q)
		} else {
			r.unscaled.Sub(p, q)
		}
		r.scale = scale
	case '*':
		r.unscaled.Mul(x.unscaled, y.unscaled)
		r.scale = x.scale + y.scale
	default:
		if y.unscaled.Sign() == 0 {
			return Value{}
		}
		p, q, scale := align(x, y)
		if op == '%' {
			r.unscaled.Rem(p, q)
			r.scale = scale
			break
		}
		// As BigDecimal.divide(y, ROUND_HALF_DOWN) does: the scale of the dividend.
		factor := new(big.Int).Exp(bigTen, big.NewInt(int64(max(x.scale, 0))), nil)
		p = new(big.Int).Mul(p, factor)
		quotient, rest := new(big.Int).QuoRem(p, q, new(big.Int))
		if twice := rest.Lsh(rest.Abs(rest), 1); twice.CmpAbs(q) > 0 {
			quotient.Add(quotient, big.NewInt(int64(p.Sign()*q.Sign())))
		}
		r.unscaled, r.scale = quotient, max(x.scale, 0)
	}
	if r.unscaled.BitLen() > 4*maxNumberDigits || r.scale > maxScale || r.scale < -maxScale {
		return Value{}
	}
	return Value{kind: BigDecimal, ref: r}
}

// compareNumbers orders two numbers by value, whatever their classes.
func compareNumbers(a, b Value) int {
	switch {
	case a.kind == BigDecimal || b.kind == BigDecimal:
		x, y := toDecimal(a), toDecimal(b)
		if x == nil || y == nil {
			return compareFloats(a.float(), b.float())
		}
		p, q, _ := align(x, y)
		return p.Cmp(q)
	case a.kind == Double || b.kind == Double:
		return compareFloats(a.float(), b.float())
	case a.kind == BigInteger || b.kind == BigInteger:
		return a.bigInt().Cmp(b.bigInt())
	}
	switch x, y := int64(a.bits), int64(b.bits); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func compareFloats(x, y float64) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// appendDouble prints as Double.toString does.
func appendDouble(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	case f == 0:
		if math.Signbit(f) {
			return append(dst, "-0.0"...)
		}
		return append(dst, "0.0"...)
	}
	if a := math.Abs(f); a >= 1e-3 && a < 1e7 {
		start := len(dst)
		dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
		for _, c := range dst[start:] {
			if c == '.' {
				return dst
			}
		}
		return append(dst, '.', '0')
	}
	var buf [32]byte
	text := strconv.AppendFloat(buf[:0], f, 'E', -1, 64)
	e := len(text) - 1
	for text[e] != 'E' {
		e--
	}
	mantissa, exponent := text[:e], text[e+1:]
	dst = append(dst, mantissa...)
	if !strings.Contains(string(mantissa), ".") {
		dst = append(dst, '.', '0')
	}
	dst = append(dst, 'E')
	if exponent[0] == '-' {
		dst = append(dst, '-')
	}
	exponent = exponent[1:]
	for len(exponent) > 1 && exponent[0] == '0' {
		exponent = exponent[1:]
	}
	return append(dst, exponent...)
}
