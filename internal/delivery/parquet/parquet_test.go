package parquet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

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

// readAny gives the rows of a file as JSON, by the library's reader.
func readAny(t testing.TB, file []byte) []string {
	t.Helper()
	r := lib.NewReader(bytes.NewReader(file))
	defer r.Close()
	var rows []string
	for range r.NumRows() {
		var row any
		if err := r.Read(&row); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, string(text))
	}
	return rows
}

func TestX(t *testing.T) {
	c := compile(t, Spec{Columns: []Column{{"z", "int"}, {"a", "array<struct<x:int,y:map<string,array<double>>>>"}, {"ts", "timestamp"}, {"d", "decimal(20,3)"}, {"s","string"}}, OpenX: &OpenXOptions{}})
	var out bytes.Buffer
	w := c.NewWriter(&out)
	for _, r := range []string{`{"z":1}`, `{"A":[{"x":1,"y":{"k":[1,2],"l":null,"m":[]}},null,{}],"ts":"2020-01-01T00:00:00Z","d":"-1.5","s":{"a" : 1}}`, `{"z":3.5}`, `[1]`, `{} x`, ``} {
		if f := w.Write([]byte(r)); f != nil {
			fmt.Println(f)
		}
	}
	if err := w.Close(); err != nil { t.Fatal(err) }
	fmt.Println(strings.Join(readAny(t, out.Bytes()), "\n"))
	_ = fault.Invalid
}
