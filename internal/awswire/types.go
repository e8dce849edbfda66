package awswire

import (
	"fmt"
	"strings"
)

// kind is what a member should have been.
type kind uint8

const (
	kindString kind = iota
	kindInteger
	kindLong
	kindDouble
	kindBoolean
	kindTimestamp
	kindBlob
	kindList
	kindMap
	kindStructure
)

// expected holds how the service's texts name each kind, article included.
var expected = [...]string{
	kindString: "an String", kindInteger: "an Integer", kindLong: "an Long", kindDouble: "an Double",
	kindBoolean: "an Boolean", kindTimestamp: "milliseconds since epoch", kindBlob: "a Blob",
}

// What the services call the values that they find; bytes can only come in CBOR, and nobody has recorded their name.
const (
	javaString  = "java.lang.String"
	javaBoolean = "java.lang.Boolean"
	javaNumber  = "com.amazon.coral.value.json.numbers.TruncatingBigNumber"
	javaBytes   = "java.nio.HeapByteBuffer"
)

// The texts of wrong types, in the services' words.
//
// Source: recorded from Kinesis.
var (
	errStartOfList = &SerializationError{"Start of list found where not expected"}
	errStartOfMap  = &SerializationError{"Start of structure or map found where not expected."}
)

// wrongType words a scalar, or bytes, in the place of something else.
func wrongType(want kind, given string) *SerializationError {
	switch want {
	case kindList:
		return &SerializationError{"Expected list or null"}
	case kindMap:
		return &SerializationError{"Expected map or null"}
	case kindStructure:
		return &SerializationError{"Expected null"}
	}
	return &SerializationError{fmt.Sprintf("class %s can not be converted to %s", given, expected[want])}
}

// notBool words a string that is none of the words for a boolean.
func notBool(word string) *SerializationError {
	if len(word) > maxShownBlob {
		word = strings.ToValidUTF8(word[:maxShownBlob], "")
	}
	return &SerializationError{fmt.Sprintf("'%s' can not be converted to an Boolean", strings.ToUpper(word))}
}

func boolOfWord(word string) (value, ok bool) {
	switch strings.ToLower(word) {
	case "true", "1", "yes":
		return true, true
	case "false", "0", "no":
		return false, true
	}
	return false, false
}

// given gives a value that was read without an error as an optional one.
func given[T any](err *SerializationError, v T) *T {
	if err != nil {
		return nil
	}
	return &v
}

// lending holds optional strings of borrowed requests. It grows by replacement, so that what it lent stays.
type lending []string

func (l *lending) lend(s string) *string {
	if len(*l) == cap(*l) {
		*l = make([]string, 0, max(8, 2*cap(*l)))
	}
	*l = append(*l, s)
	return &(*l)[len(*l)-1]
}
