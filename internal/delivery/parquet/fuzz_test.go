package parquet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// FuzzWrite writes what may be a record to a simple schema, reads the file again, and compares with what Go's own JSON
// makes of the record, by other rules for the same coercions.
func FuzzWrite(f *testing.F) {
	for _, seed := range []string{
		`{"s":"x","n":1,"f":1.5,"b":true,"a":[1,2,null]}`, `{"S":"a","s":"\u00e9\ud83d\ude00"}{"n":"12","a":7}`, ` {} {"x":{"y":[{}]},"N":-0}`,
		`{"n":9223372036854775808}`, `{"n":1e3,"f":1e-7}`, `{"f":"1e400"}`, `{"s":{"a" : [ ]},"a":[],"b":"TRUE"}`, `{"a":""}`, `[1]`, `{"s":"\ud800"}`, "{\"s\":\"\xff\"}",
		`{"n":0.5}`, `{"a":[[1]]}`, `{"s":null,"s":3}`, `{"n":00}`, strings.Repeat("[", 200), `{"a":[1}`, `{"s":"` + strings.Repeat("long ", 100) + `"}`,
	} {
		f.Add([]byte(seed))
	}
	c := compile(f, Spec{OpenX: &OpenXOptions{}, Columns: []Column{{"s", "string"}, {"n", "bigint"}, {"f", "double"}, {"b", "boolean"}, {"a", "array<int>"}}})
	f.Fuzz(func(t *testing.T, record []byte) {
		want, ok := plainRows(record)
		var out bytes.Buffer
		w := c.NewWriter(&out)
		failure := w.Write(record)
		if (failure == nil) != ok {
			t.Fatalf("%q: %+v, want success: %v", record, failure, ok)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := rows(t, out.Bytes()); !slices.Equal(got, want) {
			t.Fatalf("%q: rows %q, want %q", record, got, want)
		}
	})
}

// plainRows reads documents by encoding/json, and their members slowly.
func plainRows(record []byte) (rows []string, ok bool) {
	if !strict(record) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(record))
	for {
		var document json.RawMessage
		if err := d.Decode(&document); err == io.EOF {
			return rows, len(rows) > 0
		} else if err != nil {
			return nil, false
		}
		row, ok := plainRow(document)
		if !ok {
			return nil, false
		}
		rows = append(rows, row)
	}
}

// strict tells whether the record is documents by our own scanner: encoding/json mends bad UTF-8 and lone surrogates, has
// another depth, and does not tell where documents end. It accepts no more than we do, which is tested here, too.
func strict(record []byte) bool {
	s := scanner{data: record}
	for s.peek() != 0 {
		if start := s.pos; s.peek() != '{' || !s.skip() {
			return false
		} else if !json.Valid(record[start:s.pos]) {
			panic(fmt.Sprintf("%q is taken for JSON", record[start:s.pos]))
		}
	}
	return s.pos == len(record)
}

func plainRow(document []byte) (string, bool) {
	d := json.NewDecoder(bytes.NewReader(document))
	d.Token()
	row := map[string]any{"s": nil, "n": nil, "f": nil, "b": nil, "a": nil}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return "", false
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return "", false
		}
		column := strings.ToLower(key.(string))
		if _, known := row[column]; !known {
			continue
		}
		v, ok := plainValue(column, value)
		if !ok {
			return "", false
		}
		row[column] = v
	}
	text, err := json.Marshal(row)
	return string(text), err == nil
}

func plainValue(column string, value json.RawMessage) (any, bool) {
	if string(value) == "null" {
		return nil, true
	}
	var text string
	quoted := json.Unmarshal(value, &text) == nil
	if !quoted {
		text = string(value)
	}
	switch column {
	case "s":
		return text, true
	case "b":
		if strings.EqualFold(text, "true") || strings.EqualFold(text, "false") {
			return strings.EqualFold(text, "true"), true
		}
		return nil, false
	case "f":
		v, ok := plainNumber(text)
		if !ok {
			return nil, false
		}
		f, err := strconv.ParseFloat(v, 64)
		return f, err == nil
	case "n":
		return plainInteger(text, 64)
	}
	var elements []json.RawMessage
	if json.Unmarshal(value, &elements) != nil {
		if quoted && strings.TrimSpace(text) == "" {
			return nil, true
		}
		elements = []json.RawMessage{value}
	}
	list := []any{}
	for _, e := range elements {
		if string(e) == "null" {
			list = append(list, nil)
			continue
		}
		var text string
		if json.Unmarshal(e, &text) != nil {
			text = string(e)
		}
		n, ok := plainInteger(text, 32)
		if !ok {
			return nil, false
		}
		list = append(list, n)
	}
	return list, true
}

// plainNumber gives text as a JSON number.
func plainNumber(text string) (string, bool) {
	text = strings.TrimPrefix(text, "+")
	for len(text) > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9' {
		text = text[1:]
	}
	var n json.Number
	if json.Unmarshal([]byte(text), &n) != nil || text == "" || strings.ContainsAny(text, "\" \t\r\nn") {
		return "", false
	}
	return text, true
}

func plainInteger(text string, bits int) (int64, bool) {
	text, ok := plainNumber(text)
	if !ok {
		return 0, false
	}
	if n, err := strconv.ParseInt(text, 10, bits); err == nil {
		return n, true
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	if e, err := strconv.Atoi(exponent); exponent != "" && (err != nil || e > 1000 || e < -1000) {
		// Too far for big numbers here: only a zero is an integer.
		return 0, strings.Trim(mantissa, "-0.") == ""
	}
	x, ok := new(big.Rat).SetString(text)
	if !ok || !x.IsInt() {
		return 0, false
	}
	n, err := strconv.ParseInt(x.Num().String(), 10, bits)
	return n, err == nil
}

// FuzzCompile compiles types and patterns: errors, never a panic; what compiles can write and be read.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{"int", "struct<a:int,b:array<map<string,decimal(38,38)>>>", "array<struct<`x y`:char(3)>>", "map<date,timestamp>", "decimal(", "array<array<array<int>>>"} {
		f.Add(seed, "yyyy-MM-dd'T'HH:mm:ss.SSSZ", "2026-07-13T14:05:09.123+0200")
	}
	f.Fuzz(func(t *testing.T, typ, pattern, text string) {
		if format, err := compileTimestampFormat(pattern); err == nil {
			if days, nanos, ok := format.parse([]byte(text)); ok && (days < firstDay || days > lastDay || nanos < 0 || nanos >= secondsPerDay*1e9) {
				t.Fatalf("%q as %q: day %d, %d ns", text, pattern, days, nanos)
			}
		}
		c, err := Compile(Spec{Columns: []Column{{"c", typ}}, OpenX: &OpenXOptions{}})
		if err != nil {
			return
		}
		var out bytes.Buffer
		w := c.NewWriter(&out)
		for _, r := range []string{`{}`, fmt.Sprintf(`{"c":%q}`, "1"), `{"c":{}}`, `{"c":[1,{"a":[{}]}]}`} {
			w.Write([]byte(r))
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if n := open(t, out.Bytes()).NumRows(); n != w.Rows() || n == 0 {
			t.Fatalf("%d rows", n)
		}
	})
}
