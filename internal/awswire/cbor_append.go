package awswire

import (
	"encoding/binary"
	"math"
	"time"
	"unicode/utf8"
)

// CBORMap is the first byte of an empty map. Generated encoders put it down, count the members that they write, and add
// their number in the end: all structures have few enough members for one byte.
const CBORMap = majorMap << 5

// CBORMapMost is how many members CBORMap can count.
const CBORMapMost = infoByte - 1

// cborTime is the tag of a timestamp.
const cborTime = majorTag<<5 | 1

// appendCBORHead appends the first bytes of a value: its major type and its length, number or count, in the shortest form.
func appendCBORHead(dst []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < infoByte:
		return append(dst, major|byte(n))
	case n <= math.MaxUint8:
		return append(dst, major|infoByte, byte(n))
	case n <= math.MaxUint16:
		return append(dst, major|infoByte+1, byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|infoByte+2), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|infoByte+3), n)
}

// AppendCBORList appends the beginning of a list of n items.
func AppendCBORList(dst []byte, n int) []byte { return appendCBORHead(dst, majorList, uint64(n)) }

// AppendCBORMap appends the beginning of a map of n entries.
func AppendCBORMap(dst []byte, n int) []byte { return appendCBORHead(dst, majorMap, uint64(n)) }

// AppendCBORString appends a text string. Invalid UTF-8 becomes U+FFFD, as in JSON.
func AppendCBORString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return append(appendCBORHead(dst, majorText, uint64(len(s))), s...)
}

// AppendCBORBlob appends a byte string.
func AppendCBORBlob(dst, b []byte) []byte {
	return append(appendCBORHead(dst, majorBytes, uint64(len(b))), b...)
}

// AppendCBORInt appends a whole number.
func AppendCBORInt[T int | int64](dst []byte, v T) []byte {
	if v < 0 {
		return appendCBORHead(dst, majorNegative, uint64(^int64(v)))
	}
	return appendCBORHead(dst, majorUnsigned, uint64(v))
}

// AppendCBORFloat appends a number in eight bytes.
func AppendCBORFloat(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, cborDouble), math.Float64bits(v))
}

// AppendCBORBool appends true or false.
func AppendCBORBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, cborTrue)
	}
	return append(dst, cborFalse)
}

// AppendCBORTime appends a timestamp: whole milliseconds since 1970 below tag 1, as services write it, although the tag
// stands for seconds elsewhere.
func AppendCBORTime(dst []byte, t time.Time) []byte {
	return AppendCBORInt(append(dst, cborTime), t.UnixMilli())
}

// AppendCBORError appends the error body of requests in CBOR: the map that JSON has; an empty message is left out.
func AppendCBORError(dst []byte, code, message string) []byte {
	return appendCBORError(dst, code, "message", message)
}

// AppendCBORSerializationError appends the error body of a member of the wrong type, whose Message is in upper case.
func AppendCBORSerializationError(dst []byte, e *SerializationError) []byte {
	return appendCBORError(dst, "SerializationException", "Message", e.Message)
}

func appendCBORError(dst []byte, code, member, message string) []byte {
	if message == "" {
		dst = append(dst, CBORMap|1)
	} else {
		dst = append(dst, CBORMap|2)
	}
	dst = AppendCBORString(AppendCBORString(dst, "__type"), code)
	if message != "" {
		dst = AppendCBORString(AppendCBORString(dst, member), message)
	}
	return dst
}
