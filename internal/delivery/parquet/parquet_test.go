package parquet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	lib "github.com/parquet-go/parquet-go"

	"millrace/internal/fault"
)

func compile(t testing.TB, spec Spec) *Converter {
	t.Helper()
	c, err := Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// write makes a file of records, all of which fit.
func write(t testing.TB, c *Converter, records ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := c.NewWriter(&out)
	for _, r := range records {
		if f := w.Write([]byte(r)); f != nil {
			t.Fatalf("%.200s: %+v", r, *f)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// rows gives each row of a file as JSON, by the library's reader: another way through its schema than the writer's.
func rows(t testing.TB, file []byte) []string {
	t.Helper()
	r := lib.NewGenericReader[any](bytes.NewReader(file))
	defer r.Close()
	var rows []string
	for range r.NumRows() {
		row := make([]any, 1)
		if n, err := r.Read(row); n != 1 {
			t.Fatal(err)
		}
		text, err := json.Marshal(row[0])
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, string(text))
	}
	return rows
}

// leaf gives the values of a file's only leaf, as text; nulls are null.
func leaf(t testing.TB, n *node, file []byte) (texts []string) {
	t.Helper()
	f, err := lib.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range f.RowGroups() {
		r := group.Rows()
		buffer := make([]lib.Row, 1)
		for {
			count, err := r.ReadRows(buffer)
			if count == 0 {
				if err != io.EOF {
					t.Fatal(err)
				}
				break
			}
			for _, v := range buffer[0] {
				texts = append(texts, valueText(n, v))
			}
		}
		r.Close()
	}
	return texts
}

func valueText(n *node, v lib.Value) string {
	switch {
	case v.IsNull():
		return "null"
	case n.kind == kindTimestamp:
		x := v.Int96()
		nanos := int64(x[1])<<32 | int64(x[0])
		return time.Unix((int64(x[2])-julianEpoch)*secondsPerDay, nanos).UTC().Format("2006-01-02T15:04:05.999999999")
	case n.kind == kindDate:
		return time.Unix(int64(v.Int32())*secondsPerDay, 0).UTC().Format(time.DateOnly)
	case n.kind == kindDecimal:
		return decimalText(n, v)
	default:
		return v.String()
	}
}

func decimalText(n *node, v lib.Value) string {
	units := new(big.Int)
	switch v.Kind() {
	case lib.Int32:
		units.SetInt64(int64(v.Int32()))
	case lib.Int64:
		units.SetInt64(v.Int64())
	default:
		b := v.ByteArray()
		if units.SetBytes(b); b[0] >= 0x80 {
			units.Sub(units, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
	}
	return new(big.Rat).SetFrac(units, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n.scale)), nil)).FloatString(n.scale)
}

var (
	openX = Spec{OpenX: &OpenXOptions{}}
	hive  = Spec{Hive: &HiveOptions{}}
)

func TestScalars(t *testing.T) {
	const mismatch = "Data does not match the schema. "
	// f converts {"c": value} and wants the column's text, or a failure's: then want begins with "!".
	f := func(spec Spec, typ, value, want string) {
		t.Helper()
		spec.Columns = []Column{{"c", typ}}
		c := compile(t, spec)
		var out bytes.Buffer
		w := c.NewWriter(&out)
		if f := w.Write([]byte(`{"c":` + value + `}`)); f != nil {
			if want != "!"+f.Message {
				t.Errorf("%s %s: %s %q, want %q", typ, value, f.Code, f.Message, want)
			}
			if wrong := strings.HasPrefix(f.Message, mismatch); wrong != (f.Code == CodeMalformedData) {
				t.Errorf("%s %s: code %s with %q", typ, value, f.Code, f.Message)
			}
			return
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := leaf(t, c.leaves[0], out.Bytes()); len(got) != 1 || got[0] != want {
			t.Errorf("%s %s: %q, want %q", typ, value, got, want)
		}
	}
	both := func(typ, value, want string) {
		t.Helper()
		f(openX, typ, value, want)
		f(hive, typ, value, want)
	}
	column := func(typ, text string) string { return "!" + mismatch + "Column c (" + typ + "): " + text }

	both("string", `"a\"\\\/\b\f\n\r\té\ud83d\ude00z"`, "a\"\\/\b\f\n\r\té😀z")
	both("string", `""`, "")
	both("string", `null`, "null")
	both("string", `-1.50e3`, "-1.50e3")
	both("string", `true`, "true")
	both("string", `"Zürich"`, "Zürich")
	f(openX, "string", `{"b":[1, 2],"a":null}`, `{"b":[1, 2],"a":null}`)
	f(openX, "string", `[ ]`, `[ ]`)
	f(hive, "string", `{}`, "!"+mismatch+"One or more fields have incorrect format. Exception when validating field (root)")
	f(hive, "varchar(3)", `[1]`, "!"+mismatch+"One or more fields have incorrect format. Exception when validating field (root)")
	both("varchar(3)", `"äöüß"`, "äöü")
	both("varchar(3)", `"ä"`, "ä")
	both("char(4)", `"ab   "`, "ab")
	both("binary", `"AAH/"`, "\x00\x01\xff")
	both("binary", `"?"`, column("binary", "the string is not base64"))
	both("binary", `1`, column("binary", "VALUE_NUMBER does not fit"))

	both("tinyint", `-128`, "-128")
	both("tinyint", `128`, column("tinyint", "the number is out of range"))
	both("smallint", `32767`, "32767")
	both("smallint", `-32769`, column("smallint", "the number is out of range"))
	both("int", `2147483647`, "2147483647")
	both("int", `2147483648`, column("int", "the number is out of range"))
	both("int", `3.0`, "3")
	both("int", `-3.0e2`, "-300")
	both("int", `120e-1`, "12")
	both("int", `3.5`, column("int", "the number has a fraction"))
	both("int", `1e999999999999`, column("int", "the number is out of range"))
	both("int", `0e999999999999`, "0")
	both("bigint", `9223372036854775807`, "9223372036854775807")
	both("bigint", `-9223372036854775808`, "-9223372036854775808")
	both("bigint", `9223372036854775808`, column("bigint", "the number is out of range"))
	both("bigint", `1000000000000000000`, "1000000000000000000")
	f(openX, "int", `"42"`, "42")
	f(openX, "int", `"+007"`, "7")
	f(openX, "int", `"-0"`, "0")
	f(openX, "int", `""`, column("int", "the string is no number"))
	f(openX, "int", `"12x"`, column("int", "the string is no number"))
	f(openX, "int", `true`, column("int", "VALUE_TRUE does not fit"))
	f(openX, "int", `[1]`, column("int", "START_ARRAY does not fit"))
	f(hive, "int", `"42"`, "!"+mismatch+"Current token (VALUE_STRING) not numeric, can not use numeric value accessors")
	f(hive, "double", `"1"`, "!"+mismatch+"Current token (VALUE_STRING) not numeric, can not use numeric value accessors")
	f(hive, "bigint", `{}`, "!"+mismatch+"Current token (START_OBJECT) not numeric, can not use numeric value accessors")
	f(hive, "bigint", `false`, "!"+mismatch+"Current token (VALUE_FALSE) not numeric, can not use numeric value accessors")

	both("double", `1.25e-3`, "0.00125")
	both("double", `123456789012345678901234567890`, "1.2345678901234568e+29")
	both("double", `1e400`, column("double", "the number is out of range"))
	both("float", `1e39`, column("float", "the number is out of range"))
	both("float", `0.5`, "0.5")
	f(openX, "double", `"2.5"`, "2.5")
	f(openX, "double", `"NaN"`, column("double", "the string is no number"))

	both("boolean", `true`, "true")
	f(openX, "boolean", `"FALSE"`, "false")
	f(openX, "boolean", `"yes"`, column("boolean", "the string is neither true nor false"))
	f(hive, "boolean", `"true"`, "!"+mismatch+"Current token (VALUE_STRING) not of boolean type")
	both("decimal(5,2)", `123.455`, "123.46")
	both("decimal(5,2)", `-123.455`, "-123.46")
	both("decimal(5,2)", `999.995`, column("decimal", "the number has too many digits for decimal(5,2)"))
	both("decimal(5,2)", `1000`, column("decimal", "the number has too many digits for decimal(5,2)"))
	both("decimal(5,2)", `"0.1"`, "0.10")
	both("decimal(5,2)", `6e-3`, "0.01")
	both("decimal(5,2)", `6e-4`, "0.00")
	both("decimal", `1234567890`, "1234567890")
	both("decimal(18,4)", `-12345678901234.5678`, "-12345678901234.5678")
	both("decimal(38,0)", `-99999999999999999999999999999999999999`, "-99999999999999999999999999999999999999")
	both("decimal(38,38)", `0.99999999999999999999999999999999999999`, "0.99999999999999999999999999999999999999")
	both("decimal(20,2)", `-0.01`, "-0.01")
	both("decimal(20,2)", `1e17`, "100000000000000000.00")
	both("decimal(20,2)", `1e18`, column("decimal", "the number has too many digits for decimal(20,2)"))

	both("date", `"2024-02-29"`, "2024-02-29")
	both("date", `"1969-7-4"`, "1969-07-04")
	both("date", `"2023-02-29"`, column("date", "the string is no date"))
	both("date", `"2023-02-28x"`, column("date", "the string is no date"))
	both("date", `20240229`, column("date", "VALUE_NUMBER does not fit"))

	f(openX, "timestamp", `"2026-07-13T14:05:09Z"`, "2026-07-13T14:05:09")
	f(openX, "timestamp", `"2026-07-13T14:05:09.123456789Z"`, "2026-07-13T14:05:09.123456789")
	f(openX, "timestamp", `"1969-12-31T23:59:59.5Z"`, "1969-12-31T23:59:59.5")
	both("timestamp", `"2026-7-3 4:5:9.25"`, "2026-07-03T04:05:09.25")
	both("timestamp", `"0001-01-01 00:00:00"`, "0001-01-01T00:00:00")
	both("timestamp", `"9999-12-31 23:59:59.999999999"`, "9999-12-31T23:59:59.999999999")
	f(openX, "timestamp", `1783951509`, "2026-07-13T14:05:09")
	f(openX, "timestamp", `1783951509123`, "2026-07-13T14:05:09.123")
	f(openX, "timestamp", `1783951509.25`, "2026-07-13T14:05:09.25")
	f(openX, "timestamp", `"1783951509"`, "2026-07-13T14:05:09")
	f(openX, "timestamp", `"1783951509123"`, "2026-07-13T14:05:09.123")
	f(openX, "timestamp", `999999999999`, column("timestamp", "the value is no timestamp")) // of the year 33658
	f(openX, "timestamp", `1e12`, "2001-09-09T01:46:40")
	f(openX, "timestamp", `-0.5`, "1969-12-31T23:59:59.5")
	f(openX, "timestamp", `-1e12`, "1938-04-24T22:13:20")
	f(openX, "timestamp", `1e300`, column("timestamp", "the value is no timestamp"))
	f(openX, "timestamp", `"2026-07-13T14:05:09"`, column("timestamp", "the value is no timestamp"))
	f(openX, "timestamp", `"2026-07-13T14:05:09+02:00"`, column("timestamp", "the value is no timestamp"))
	f(openX, "timestamp", `"2026-07-13 24:00:00"`, column("timestamp", "the value is no timestamp"))
	f(openX, "timestamp", `"2026-07-13 14:05:09."`, column("timestamp", "the value is no timestamp"))
	f(openX, "timestamp", `true`, column("timestamp", "VALUE_TRUE does not fit"))
	f(hive, "timestamp", `1783951509`, column("timestamp", "the value is no timestamp"))
	f(hive, "timestamp", `"2026-07-13T14:05:09Z"`, column("timestamp", "the value is no timestamp"))

	formats := func(patterns ...string) Spec { return Spec{Hive: &HiveOptions{TimestampFormats: patterns}} }
	f(formats("millis"), "timestamp", `1783951509123`, "2026-07-13T14:05:09.123")
	f(formats("millis"), "timestamp", `"5"`, "1970-01-01T00:00:00.005")
	f(formats("millis"), "timestamp", `-1`, "1969-12-31T23:59:59.999")
	f(formats("millis"), "timestamp", `"2026-07-13 14:05:09"`, "2026-07-13T14:05:09")
	f(formats("yyyy-MM-dd'T'HH:mm:ss.SSSZ"), "timestamp", `"2026-07-13T14:05:09.250+0200"`, "2026-07-13T12:05:09.25")
	f(formats("yyyy-MM-dd'T'HH:mm:ssZZ"), "timestamp", `"2026-07-13T14:05:09-03:30"`, "2026-07-13T17:35:09")
	f(formats("millis", "EEE, dd MMM yyyy hh:mm:ss a"), "timestamp", `"Mon, 13 Jul 2026 02:05:09 PM"`, "2026-07-13T14:05:09")
	f(formats("yyyyMMddHHmmss"), "timestamp", `"20260713140509"`, "2026-07-13T14:05:09")
	f(formats("yyyyMMddHHmmss"), "timestamp", `20260713140509`, "2026-07-13T14:05:09")
	f(formats("dd/MM/yy"), "timestamp", `"13/07/26"`, "2026-07-13T00:00:00")
	f(formats("dd/MM/yy"), "date", `"13/07/99"`, "1999-07-13")
	f(formats("dd 'o''clock' kk"), "timestamp", `"02 o'clock 24"`, "1970-01-02T00:00:00")
	f(formats("yyyy-DDD"), "date", `"2024-366"`, "2024-12-31")
	f(formats("yyyy-DDD"), "date", `"2023-366"`, column("date", "the string is no date"))
	f(formats("millis"), "date", `1783951509123`, "2026-07-13")
	f(formats("HH:mm"), "timestamp", `"25:00"`, column("timestamp", "the value is no timestamp"))

	// Not JSON, whatever the column.
	json := func(value, message string) {
		t.Helper()
		for _, typ := range []string{"string", "int", "array<int>", "struct<a:int>", "map<string,int>", "timestamp", "boolean"} {
			both(typ, value, "!Encountered malformed JSON. "+message)
		}
	}
	json(`"abc`, "Unexpected end of the record: the end of a string expected")
	json(`01`, "Unexpected character ('0', code 48) at byte 5: a value expected")
	json(`NaN`, "Unexpected character ('N', code 78) at byte 5: a value expected")
	json(`+1`, "Unexpected character ('+', code 43) at byte 5: a value expected")
	json(`.5`, "Unexpected character ('.', code 46) at byte 5: a value expected")
	json(`nul`, "Unexpected character ('n', code 110) at byte 5: null expected")
	both("string", `"\ud800"`, "!Encountered malformed JSON. Half a surrogate pair at byte 6")
	both("string", `"\udc00\ud800"`, "!Encountered malformed JSON. Half a surrogate pair at byte 6")
	both("string", "\"\xff\"", "!Encountered malformed JSON. A string at byte 6 is not UTF-8")
	both("string", "\"a\nb\"", "!Encountered malformed JSON. Unexpected character ('\\n', code 10) at byte 7: an escape of this character expected")
	both("string", `"\x"`, "!Encountered malformed JSON. Unexpected character ('x', code 120) at byte 7: an escape expected")
	both("string", `"\u00g0"`, "!Encountered malformed JSON. Unexpected character ('0', code 48) at byte 8: four hexadecimal digits expected")
	both("int", `1x`, "!Encountered malformed JSON. Unexpected character ('x', code 120) at byte 6: the end of a number expected")
}

func TestNested(t *testing.T) {
	const mismatch = "!Data does not match the schema. "
	f := func(spec Spec, typ, value, want string) {
		t.Helper()
		spec.Columns = []Column{{"c", typ}}
		c := compile(t, spec)
		var out bytes.Buffer
		w := c.NewWriter(&out)
		if f := w.Write([]byte(`{"c":` + value + `}`)); f != nil {
			if want != "!"+f.Message {
				t.Errorf("%s %s: %q, want %q", typ, value, f.Message, want)
			}
			return
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := rows(t, out.Bytes()); len(got) != 1 || got[0] != `{"c":`+want+`}` {
			t.Errorf("%s %s: %q, want %q", typ, value, got, want)
		}
	}
	f(openX, "array<int>", `[1,null,3]`, `[1,null,3]`)
	f(openX, "array<int>", `[]`, `[]`)
	f(openX, "array<int>", `null`, `null`)
	f(openX, "array<int>", `7`, `[7]`)
	f(openX, "array<int>", `"7"`, `[7]`)
	f(openX, "array<int>", `"  "`, `null`)
	f(openX, "array<int>", `["x"]`, mismatch+"Column c.element (int): the string is no number")
	f(openX, "array<struct<a:int,b:string>>", `[{"b":"x"},null,{"a":1,"z":[{}]},{}]`, `[{"a":null,"b":"x"},null,{"a":1,"b":null},{"a":null,"b":null}]`)
	f(openX, "array<struct<a:int,b:string>>", `{"a":5}`, `[{"a":5,"b":null}]`)
	f(openX, "struct<a:int,b:string>", `[1]`, `{"a":1,"b":null}`)
	f(openX, "struct<a:int,b:string>", `[1,"x",{"more":true}]`, `{"a":1,"b":"x"}`)
	f(openX, "struct<a:int,b:string>", `""`, `null`)
	f(openX, "struct<a:int,b:string>", `"x"`, mismatch+"Column c (struct): an object is expected, not VALUE_STRING")
	f(openX, "struct<a:int,b:string>", `1`, mismatch+"Column c (struct): an object is expected, not VALUE_NUMBER")
	f(openX, "struct<a:int,b:string>", `{}`, `{"a":null,"b":null}`)
	f(openX, "struct<a:struct<b:struct<c:int>>>", `{"a":{"b":null}}`, `{"a":{"b":null}}`)
	f(openX, "struct<a:struct<b:struct<c:int>>>", `{"a":{"B":{"C":1}}}`, `{"a":{"b":{"c":1}}}`)
	f(openX, "map<string,int>", `{"A":1,"b":null}`, `{"A":1,"b":null}`)
	f(openX, "map<string,int>", `{}`, `{}`)
	f(openX, "map<string,int>", `{"a":1,"a":2}`, mismatch+"Column c (map): a key stands twice")
	f(openX, "map<string,int>", `[]`, mismatch+"Column c (map): an object is expected, not START_ARRAY")
	f(openX, "map<int,string>", `{"1":"x","01":"y"}`, mismatch+"Column c (map): a key stands twice")
	f(openX, "map<int,string>", `{"x":"x"}`, mismatch+"Column c.key (int): the string is no number")
	// The last of two members counts, and nothing of the first one stays.
	f(openX, "struct<a:array<struct<x:int,y:array<int>>>,b:int>", `{"a":[{"x":1,"y":[1,2]},{"y":[3]}],"b":1,"A":[{"x":9}],"b":2}`, `{"a":[{"x":9,"y":null}],"b":2}`)
	f(openX, "array<struct<a:array<int>>>", `[{"a":[1,2]},{"a":[3,4],"a":[5]},{"a":[6]}]`, `[{"a":[1,2]},{"a":[5]},{"a":[6]}]`)

	f(hive, "array<int>", `7`, mismatch+"java.io.IOException: Start of Array expected")
	f(hive, "array<int>", `""`, mismatch+"java.io.IOException: Start of Array expected")
	f(hive, "struct<a:int>", `[1]`, mismatch+"java.io.IOException: Start of Object expected")
	f(hive, "struct<a:int>", `""`, mismatch+"java.io.IOException: Start of Object expected")
	f(hive, "map<string,int>", `1`, mismatch+"java.io.IOException: Start of Object expected")
	f(hive, "array<int>", `[1,2]`, `[1,2]`)
}

func TestKeys(t *testing.T) {
	f := func(options OpenXOptions, columns []Column, record, want string) {
		t.Helper()
		c := compile(t, Spec{Columns: columns, OpenX: &options})
		// The second time keys are known by their order.
		if got := rows(t, write(t, c, record, record)); got[0] != want || got[1] != want {
			t.Errorf("%s: %q, want %q", record, got, want)
		}
	}
	columns := []Column{{"user_id", "int"}, {"ts", "string"}, {"s", "struct<inner_key:int>"}}
	f(OpenXOptions{}, columns, `{"USER_ID":1,"Ts":"x"}`, `{"s":null,"ts":"x","user_id":1}`)
	f(OpenXOptions{}, columns, `{"user.id":1}`, `{"s":null,"ts":null,"user_id":null}`)
	f(OpenXOptions{}, columns, `{"user\u005fid":1,"s":{"Inner_Key":2}}`, `{"s":{"inner_key":2},"ts":null,"user_id":1}`)
	f(OpenXOptions{ConvertDotsInJsonKeysToUnderscores: true}, columns, `{"User.id":1,"s":{"inner.key":2}}`, `{"s":{"inner_key":2},"ts":null,"user_id":1}`)
	f(OpenXOptions{CaseSensitive: true}, columns, `{"USER_ID":1,"ts":"x"}`, `{"s":null,"ts":"x","user_id":null}`)
	f(OpenXOptions{ColumnToJsonKeyMappings: map[string]string{"ts": "timestamp", "inner_key": "InnerKey"}}, columns,
		`{"timestamp":"x","ts":"y","s":{"innerkey":1}}`, `{"s":{"inner_key":1},"ts":"x","user_id":null}`)
	f(OpenXOptions{CaseSensitive: true, ColumnToJsonKeyMappings: map[string]string{"ts": "time.Stamp"}, ConvertDotsInJsonKeysToUnderscores: true}, columns,
		`{"time.Stamp":"x","time.stamp":"y"}`, `{"s":null,"ts":"x","user_id":null}`)
	f(OpenXOptions{}, []Column{{"größe", "int"}}, `{"GRÖSSE":0,"GRÖßE":1}`, `{"größe":1}`)
}

func TestRecords(t *testing.T) {
	c := compile(t, Spec{Columns: []Column{{"a", "int"}, {"b", "array<int>"}}, OpenX: &OpenXOptions{}})
	var out bytes.Buffer
	w := c.NewWriter(&out)
	f := func(record, want string) {
		t.Helper()
		got := ""
		if f := w.Write([]byte(record)); f != nil {
			got = f.Code + " " + f.Message
		}
		if got != want {
			t.Errorf("%s: %q, want %q", record, got, want)
		}
	}
	const parse = CodeParseError + " Encountered malformed JSON. "
	f(`{"a":1}`, "")
	f(`{"a":2}{"a":3}`, "")
	f("\r\n {\"a\":4} \t {\"a\":5,\"b\":[5]}\n", "")
	f(`{"a":90,"b":[1,2,3]}{"a":91,"b":[1,"x"]}`, CodeMalformedData+" Data does not match the schema. Column b.element (int): the string is no number")
	f(`{"a":92} x`, parse+"Unexpected character ('x', code 120) at byte 9: a JSON object expected")
	f(`{"a":93},{"a":94}`, parse+"Unexpected character (',', code 44) at byte 8: a JSON object expected")
	f(`[{"a":95}]`, parse+"Unexpected character ('[', code 91) at byte 0: a JSON object expected")
	f(`96`, parse+"Unexpected character ('9', code 57) at byte 0: a JSON object expected")
	f(`{"a":97`, parse+"Unexpected end of the record: ',' or '}' expected")
	f(`{"a":98,}`, parse+"Unexpected character ('}', code 125) at byte 8: '\"' expected")
	f(`{"b":[1,]}`, parse+"Unexpected character (']', code 93) at byte 8: a value expected")
	f(`{"x":tru}`, parse+"Unexpected character ('t', code 116) at byte 5: true expected")
	f(`{"x":{"y":"`+"\xc0\xaf"+`"}}`, parse+"A string at byte 11 is not UTF-8")
	f("{\"a\":99}\x00", parse+"Unexpected character ('\\x00', code 0) at byte 8: a JSON object expected")
	f(``, parse+"Unexpected end of the record: a JSON object expected")
	f(" \n", parse+"Unexpected end of the record: a JSON object expected")
	f(`{"x":`+strings.Repeat("[", 1<<16), parse+"It is nested deeper than 128 at byte 133")
	f(`{"a":6}`, "")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{`{"a":1,"b":null}`, `{"a":2,"b":null}`, `{"a":3,"b":null}`, `{"a":4,"b":null}`, `{"a":5,"b":[5]}`, `{"a":6,"b":null}`}
	if got := rows(t, out.Bytes()); !slices.Equal(got, want) || w.Rows() != 6 {
		t.Errorf("%d rows %q, want %q", w.Rows(), got, want)
	}
}

func TestEmptyFile(t *testing.T) {
	if got := rows(t, write(t, compile(t, Spec{Columns: []Column{{"a", "int"}}, OpenX: &OpenXOptions{}}))); len(got) != 0 {
		t.Errorf("rows %q", got)
	}
}

func TestCompileRefuses(t *testing.T) {
	f := func(want string, change func(*Spec)) {
		t.Helper()
		spec := Spec{Columns: []Column{{"a", "int"}}, OpenX: &OpenXOptions{}}
		change(&spec)
		_, err := Compile(spec)
		if err == nil || !strings.Contains(err.Error(), want) || fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.Unsupported {
			t.Errorf("%v, want %q", err, want)
		}
	}
	column := func(want, typ string) {
		t.Helper()
		f(`column "a": `+want, func(s *Spec) { s.Columns[0].Type = typ })
	}
	column(`type "int4" is not supported`, "int4")
	column(`type "uniontype" is not supported`, "uniontype<int>")
	column(`a type is missing at ""`, "")
	column(`unexpected "> " after its type`, "array<int>> ")
	column(`'<' is expected after array`, "array")
	column(`'>' is expected at ""`, "array<int")
	column(`a type is missing`, "array<>")
	column(`the key of a map is a scalar, not struct`, "map<struct<a:int>,int>")
	column(`',' is expected at ">"`, "map<string>")
	column(`':' is expected after field "b"`, "struct<b>")
	column(`a name is missing`, "struct<>")
	column(`the name "B" stands twice`, "struct<b:int,B:int>")
	column(`decimal wants a precision`, "decimal(39,1)")
	column(`decimal wants a precision`, "decimal(5,6)")
	column(`a number of few digits`, "decimal(5,2,1)")
	column(`a number of few digits`, "decimal(99999999999999999999)")
	column(`varchar wants a length`, "varchar")
	column(`char wants a length`, "char(256)")
	column(`its type is nested deeper than 16`, strings.Repeat("array<", 1000)+"int"+strings.Repeat(">", 1000))
	column(`its type has more than 131072 characters`, strings.Repeat(" ", 131073))
	f("the table has no columns", func(s *Spec) { s.Columns = nil })
	f(`the name "A" stands twice`, func(s *Spec) { s.Columns = append(s.Columns, Column{"A", "int"}) })
	f("a name is missing", func(s *Spec) { s.Columns[0].Name = "" })
	f("more than 1000 leaves", func(s *Spec) {
		for i := range 500 {
			s.Columns = append(s.Columns, Column{fmt.Sprint("c", i), "map<string,string>"})
		}
	})
	f("more than 1000 columns", func(s *Spec) { s.Columns = make([]Column, 1001) })
	f("exactly one of", func(s *Spec) { s.OpenX = nil })
	f("exactly one of", func(s *Spec) { s.Hive = &HiveOptions{} })
	f(`columns "a" and "b" are read from one JSON key`, func(s *Spec) {
		s.Columns = append(s.Columns, Column{"b", "int"})
		s.OpenX.ColumnToJsonKeyMappings = map[string]string{"b": "A"}
	})
	f(`ColumnToJsonKeyMappings has column "a" twice`, func(s *Spec) { s.OpenX.ColumnToJsonKeyMappings = map[string]string{"a": "x", "A": "y"} })
	f("BlockSizeBytes must be at least 67108864", func(s *Spec) { s.Output.BlockSizeBytes = 1 })
	f("PageSizeBytes must be at least 65536", func(s *Spec) { s.Output.PageSizeBytes = 65535 })
	f("MaxPaddingBytes is not supported", func(s *Spec) { s.Output.MaxPaddingBytes = 1 })
	f("MaxPaddingBytes must be at least 0", func(s *Spec) { s.Output.MaxPaddingBytes = -1 })
	f(`Compression "ZSTD"`, func(s *Spec) { s.Output.Compression = "ZSTD" })
	f(`WriterVersion "V3"`, func(s *Spec) { s.Output.WriterVersion = "V3" })
	format := func(want, pattern string) {
		t.Helper()
		f(want, func(s *Spec) { s.OpenX, s.Hive = nil, &HiveOptions{TimestampFormats: []string{pattern}} })
	}
	format(`TimestampFormats: "yyyy-ww": "ww" is not supported`, "yyyy-ww")
	format(`a quote is not closed`, "yyyy'T")
	format(`"ZZZ" is not supported`, "ZZZ")
	format(`1 to 256 characters`, "")
}

// The columns of a file stand in the table's order, with the types that readers expect.
func TestSchema(t *testing.T) {
	c := compile(t, Spec{OpenX: &OpenXOptions{}, Columns: []Column{
		{"z", "TINYINT"}, {"a", " smallint "}, {"m", "Int"}, {"b", "bigint"}, {"f", "float"}, {"d", "double"}, {"t", "boolean"},
		{"s", "string"}, {"v", "varchar(10)"}, {"c", "char(10)"}, {"y", "binary"}, {"dt", "date"}, {"ts", "timestamp"},
		{"d9", "decimal(9,2)"}, {"d18", "decimal(18,2)"}, {"d38", "decimal(38,2)"},
		{"n", "struct<y:array<int>, `x y` : map<string , struct<q:int>>>"},
	}})
	f, err := lib.OpenFile(bytes.NewReader(write(t, c, `{}`)), int64(len(write(t, c, `{}`))))
	if err != nil {
		t.Fatal(err)
	}
	want := `message hive_schema {
	optional int32 z (INT(8,true));
	optional int32 a (INT(16,true));
	optional int32 m (INT(32,true));
	optional int64 b (INT(64,true));
	optional float f;
	optional double d;
	optional boolean t;
	optional binary s (STRING);
	optional binary v (STRING);
	optional binary c (STRING);
	optional binary y;
	optional int32 dt (DATE);
	optional int96 ts;
	optional int32 d9 (DECIMAL(9,2));
	optional int64 d18 (DECIMAL(18,2));
	optional fixed_len_byte_array(16) d38 (DECIMAL(38,2));
	optional group n {
		optional group y (LIST) {
			repeated group list {
				optional int32 element (INT(32,true));
			}
		}
		optional group x y (MAP) {
			repeated group key_value {
				required binary key (STRING);
				optional group value {
					optional int32 q (INT(32,true));
				}
			}
		}
	}
}`
	if got := f.Schema().String(); got != want {
		t.Errorf("schema\n%s\nwant\n%s", got, want)
	}
}

// outputs has every way to write.
func outputs() (all []OutputOptions) {
	for _, compression := range []string{CompressionSnappy, CompressionGzip, CompressionUncompressed} {
		for _, version := range []string{"V1", "V2"} {
			for _, dictionary := range []bool{false, true} {
				all = append(all, OutputOptions{Compression: compression, WriterVersion: version, EnableDictionaryCompression: dictionary, PageSizeBytes: MinPageSizeBytes})
			}
		}
	}
	return all
}

// event is a row of a schema that Go's own JSON can read.
type event struct {
	ID    int64            `json:"id"`
	Name  *string          `json:"name"`
	Score *float64         `json:"score"`
	Tags  []string         `json:"tags"`
	Items []item           `json:"items"`
	Count map[string]int32 `json:"count"`
}

type item struct {
	SKU string `json:"sku"`
	N   int32  `json:"n"`
}

var eventColumns = []Column{{"id", "bigint"}, {"name", "string"}, {"score", "double"}, {"tags", "array<string>"},
	{"items", "array<struct<sku:string,n:int>>"}, {"count", "map<string,int>"}}

func randomEvent(random *rand.Rand, id int) event {
	e := event{ID: int64(id)}
	if random.IntN(3) > 0 {
		name := strings.Repeat(string(rune('a'+random.IntN(26)))+"é", random.IntN(300))
		e.Name = &name
	}
	if random.IntN(3) > 0 {
		score := random.NormFloat64()
		e.Score = &score
	}
	if random.IntN(4) > 0 {
		e.Tags = []string{}
		for range random.IntN(5) {
			e.Tags = append(e.Tags, fmt.Sprint("tag", random.IntN(50)))
		}
	}
	if random.IntN(4) > 0 {
		e.Items = []item{}
		for range random.IntN(4) {
			e.Items = append(e.Items, item{fmt.Sprint(random.Uint64()), random.Int32()})
		}
	}
	if random.IntN(4) > 0 {
		e.Count = map[string]int32{}
		for range random.IntN(40) {
			e.Count[fmt.Sprint(random.IntN(1000))] = random.Int32()
		}
	}
	return e
}

// Whatever the options, many pages and row groups hold what went in.
func TestManyRows(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	var records []string
	var want []string
	for i := range 1000 {
		text, err := json.Marshal(randomEvent(random, i))
		if err != nil {
			t.Fatal(err)
		}
		records, want = append(records, string(text)), append(want, string(text))
	}
	var first []string
	for _, o := range outputs() {
		c := compile(t, Spec{Columns: eventColumns, OpenX: &OpenXOptions{}, Output: o})
		file := write(t, c, records...)
		got := rows(t, file)
		if len(got) != len(want) {
			t.Fatalf("%+v: %d rows", o, len(got))
		}
		if first == nil {
			first = got
			checkEvents(t, got, want)
		} else if !slices.Equal(got, first) {
			t.Errorf("%+v: other rows than with the first options", o)
		}
		if !bytes.Equal(file, write(t, c, records...)) {
			t.Errorf("%+v: the same records give another file", o)
		}
	}
}

// checkEvents compares rows as the reader tells them with the records.
func checkEvents(t *testing.T, got, want []string) {
	t.Helper()
	for i := range got {
		var g, w any
		if json.Unmarshal([]byte(got[i]), &g) != nil || json.Unmarshal([]byte(want[i]), &w) != nil {
			t.Fatal("not JSON")
		}
		if a, b := canonical(g), canonical(w); a != b {
			t.Fatalf("row %d: %s\nwant %s", i, a, b)
		}
	}
}

func canonical(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
