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

// wrong reports a value of another type than the member's, in the service's words; what is no value at all is a
// syntax error.
//
// Source: texts recorded from Kinesis.
func (d *JSON) wrong(want kind) {
	if d.err != nil {
		return
	}
	given := ""
	switch c := d.peek(); {
	case c == '[':
		d.fail(&SerializationError{"Start of list found where not expected"})
		return
	case c == '{':
		d.fail(&SerializationError{"Start of structure or map found where not expected."})
		return
	case c == '"':
		given = "java.lang.String"
	case c == 't' || c == 'f':
		given = "java.lang.Boolean"
	case c == '-' || c-'0' <= 9:
		given = "com.amazon.coral.value.json.numbers.TruncatingBigNumber"
	default:
		d.fail(errSyntax)
		return
	}
	switch want {
	case kindList:
		d.fail(&SerializationError{"Expected list or null"})
	case kindMap:
		d.fail(&SerializationError{"Expected map or null"})
	case kindStructure:
		d.fail(&SerializationError{"Expected null"})
	default:
		d.fail(&SerializationError{fmt.Sprintf("class %s can not be converted to %s", given, expected[want])})
	}
}

// notBool reports the string that was just read; it stands before the current position.
func (d *JSON) notBool() {
	end := d.pos - 1
	start := end
	for start > 0 && d.buf[start-1] != '"' {
		start--
	}
	d.fail(&SerializationError{fmt.Sprintf("'%s' can not be converted to an Boolean", strings.ToUpper(string(d.buf[start:end])))})
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
