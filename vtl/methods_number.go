package vtl

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

func (rt *Runtime) booleanMethod(recv Value, name string, args []Value) (Value, bool, error) {
	switch {
	case len(args) == 0 && name == "toString":
		return known(rt.text(recv))
	case len(args) == 0 && name == "booleanValue":
		return recv, true, nil
	case len(args) == 1 && name == "equals":
		return Bool(args[0].kind == Boolean && args[0].bits == recv.bits), true, nil
	case strs(args, 1) && name == "compareTo":
		return Value{}, false, nil
	case strs(args, 1) && (name == "parseBoolean" || name == "valueOf"):
		return Bool(strings.EqualFold(args[0].str(), "true")), true, nil
	}
	return unknownMethod(name, args)
}

func (rt *Runtime) numberMethod(recv Value, name string, args []Value) (Value, bool, error) {
	if len(args) == 0 {
		switch name {
		case "intValue":
			return Value{kind: Integer, bits: uint64(int64(int32(toInt64(recv))))}, true, nil
		case "longValue":
			return long(toInt64(recv)), true, nil
		case "doubleValue", "floatValue":
			return Float(recv.float()), true, nil
		case "toString":
			return known(rt.text(recv))
		case "hashCode":
			if recv.kind == Integer {
				return recv, true, nil
			}
			return Int(int64(hashText(recv))), true, nil
		case "isNaN":
			if recv.kind == Double {
				return Bool(math.IsNaN(recv.float())), true, nil
			}
		}
		return Value{}, false, nil
	}
	if len(args) == 1 {
		switch name {
		case "equals":
			return Bool(args[0].kind == recv.kind && compareNumbers(recv, args[0]) == 0), true, nil
		case "compareTo":
			if args[0].kind == recv.kind {
				return Int(int64(compareNumbers(recv, args[0]))), true, nil
			}
			return Value{}, false, nil
		}
	}
	return rt.staticMethod(recv, name, args)
}

// toInt64 converts as a Java cast does: toward zero, at the bounds of long.
func toInt64(v Value) int64 {
	switch v.kind {
	case Integer, Long:
		return int64(v.bits)
	case BigInteger:
		return int64(v.bigInt().Uint64())
	}
	f := v.float()
	switch {
	case math.IsNaN(f):
		return 0
	case f >= math.MaxInt64:
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	}
	return int64(f)
}

// staticMethod calls a static method of the number's class through the instance: $i.parseInt("42").
func (rt *Runtime) staticMethod(recv Value, name string, args []Value) (Value, bool, error) {
	text := ""
	if strs(args, 1) {
		text = args[0].str()
	}
	switch recv.kind {
	case Integer:
		switch {
		case strs(args, 1) && (name == "parseInt" || name == "valueOf" || name == "decode"):
			i, err := parseJavaInt(text, 32)
			return Value{kind: Integer, bits: uint64(i)}, true, err
		case ints(args, 1):
			return rt.radix(name, uint64(uint32(args[0].bits)), int64(int32(args[0].bits)))
		case ints(args, 2):
			return twoInts(name, args)
		}
	case Long:
		switch {
		case strs(args, 1) && (name == "parseLong" || name == "valueOf" || name == "decode"):
			i, err := parseJavaInt(text, 64)
			return long(i), true, err
		case len(args) == 1 && (args[0].kind == Integer || args[0].kind == Long):
			return rt.radix(name, args[0].bits, int64(args[0].bits))
		}
	case Double:
		if strs(args, 1) && (name == "parseDouble" || name == "valueOf") {
			f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil && !math.IsInf(f, 0) {
				return Value{}, true, fmt.Errorf("%.40q is no number", text)
			}
			return Float(f), true, nil
		}
	}
	return unknownMethod(name, args)
}

func (rt *Runtime) radix(name string, unsigned uint64, signed int64) (Value, bool, error) {
	switch name {
	case "toHexString":
		return String(strconv.FormatUint(unsigned, 16)), true, nil
	case "toBinaryString":
		return String(strconv.FormatUint(unsigned, 2)), true, nil
	case "toOctalString":
		return String(strconv.FormatUint(unsigned, 8)), true, nil
	case "toString":
		return String(strconv.FormatInt(signed, 10)), true, nil
	case "valueOf":
		return Int(signed), true, nil
	case "signum":
		return Int(int64(compareNumbers(Int(signed), Int(0)))), true, nil
	}
	return Value{}, false, nil
}

func twoInts(name string, args []Value) (Value, bool, error) {
	a, b := int64(int32(args[0].bits)), int64(int32(args[1].bits))
	switch name {
	case "max":
		return Int(max(a, b)), true, nil
	case "min":
		return Int(min(a, b)), true, nil
	case "sum":
		return Value{kind: Integer, bits: uint64(int64(int32(a + b)))}, true, nil
	case "compare":
		return Int(int64(compareNumbers(args[0], args[1]))), true, nil
	case "toString":
		if b < 2 || b > 36 {
			b = 10
		}
		return String(strconv.FormatInt(a, int(b))), true, nil
	}
	return Value{}, false, nil
}

func parseJavaInt(text string, bits int) (int64, error) {
	if strings.HasPrefix(text, "_") || strings.Contains(text, "_") {
		return 0, fmt.Errorf("%.40q is no number", text)
	}
	i, err := strconv.ParseInt(text, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no number of %d bits", text, bits)
	}
	return i, nil
}
