package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	lib "github.com/parquet-go/parquet-go"
)

func open(t testing.TB, file []byte) *lib.File {
	t.Helper()
	f, err := lib.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A record of very many documents goes in whole, or not at all, and never lies in memory as values.
func TestRecordOfManyDocuments(t *testing.T) {
	columns := []Column{{"a", "int"}}
	for i := range 40 {
		columns = append(columns, Column{fmt.Sprint("c", i), "string"})
	}
	c := compile(t, Spec{Columns: columns, OpenX: &OpenXOptions{}})
	const documents = 10_000 // a row has 41 values: 10 MB of them
	record := []byte(strings.Repeat(`{"a":1,"c7":"seven"}`, documents))

	var out bytes.Buffer
	w := c.NewWriter(&out)
	if f := w.Write(append(bytes.Clone(record), `{"a":"x"}`...)); f == nil || f.Code != CodeMalformedData {
		t.Fatalf("the last document does not fit: %+v", f)
	}
	if f := w.Write([]byte(`{"a":2}`)); f != nil {
		t.Fatal(f)
	}
	if f := w.Write(record); f != nil {
		t.Fatal(f)
	}
	if staged := cap(w.d.cols[0]) * valueBytes * len(w.d.cols); staged > 4*stagedBytes {
		t.Errorf("%d bytes of values are kept", staged)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if f := open(t, out.Bytes()); f.NumRows() != documents+1 || w.Rows() != documents+1 {
		t.Errorf("%d rows, %d said", f.NumRows(), w.Rows())
	}
	if got := leaf(t, c.leaves[0], out.Bytes()[:]); got[0] != "2" {
		t.Errorf("the first row is %q", got[0])
	}
}

func TestDocumentOfTooManyValues(t *testing.T) {
	c := compile(t, Spec{Columns: []Column{{"a", "array<struct<a:int,b:int,c:int,d:int,e:int,f:int,g:int,h:int>>"}}, OpenX: &OpenXOptions{}})
	f := c.NewWriter(io.Discard).Write([]byte(`{"a":[` + strings.Repeat("{},", 1<<20) + `{}]}`))
	if f == nil || f.Message != "Data does not match the schema. A document gives more than 16777216 bytes of values" {
		t.Errorf("%+v", f)
	}
}

// What a writer holds is bounded, whatever the records are: the collector is asked after every megabyte.
func TestMemory(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/"[random.IntN(64)]
	}
	text := func(n int) string {
		at := random.IntN(len(noise) - n + 1)
		return string(noise[at : at+n])
	}
	wide := make([]Column, 200)
	for i := range wide {
		wide[i] = Column{fmt.Sprint("c", i), "string"}
	}
	cases := []struct {
		name    string
		columns []Column
		output  OutputOptions
		record  func() string
	}{
		{"incompressible strings", []Column{{"a", "string"}, {"b", "string"}}, OutputOptions{Compression: CompressionUncompressed},
			func() string { return fmt.Sprintf(`{"a":%q,"b":%q}`, text(200), text(100)) }},
		{"distinct short strings by dictionary", []Column{{"a", "string"}, {"b", "string"}, {"c", "string"}, {"d", "bigint"}},
			OutputOptions{EnableDictionaryCompression: true},
			func() string {
				return fmt.Sprintf(`{"a":%q,"b":%q,"c":%q,"d":%d}`, text(4), text(5), text(40), random.Int64())
			}},
		{"strings of a megabyte", []Column{{"a", "string"}, {"b", "string"}}, OutputOptions{}, func() string {
			return fmt.Sprintf(`{"%c":%q}`, 'a'+rune(random.IntN(2)), text(1<<20))
		}},
		{"strings of a megabyte by dictionary", []Column{{"a", "string"}, {"b", "string"}}, OutputOptions{EnableDictionaryCompression: true}, func() string {
			return fmt.Sprintf(`{"%c":%q}`, 'a'+rune(random.IntN(2)), text(1<<20))
		}},
		{"many columns", wide, OutputOptions{PageSizeBytes: 8 << 20, EnableDictionaryCompression: true},
			func() string {
				return fmt.Sprintf(`{"c%d":%q,"c%d":"x"}`, random.IntN(200), text(60), random.IntN(200))
			}},
		{"long lists", []Column{{"a", "array<bigint>"}, {"m", "map<string,int>"}}, OutputOptions{}, func() string {
			return `{"a":[` + strings.Repeat("1,", 30_000) + fmt.Sprintf(`%d],"m":{%q:1,%q:2}}`, random.Int64(), text(20), text(21))
		}},
		{"what compresses well", []Column{{"a", "string"}, {"b", "int"}}, OutputOptions{}, func() string { return `{"a":"` + strings.Repeat("a", 300) + `","b":1}` }},
	}
	const most = 48 << 20
	all := 36 << 20
	if testing.Short() {
		all = 4 << 20
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			converter := compile(t, Spec{Columns: c.columns, OpenX: &OpenXOptions{}, Output: c.output})
			before := heap()
			w := converter.NewWriter(io.Discard)
			total := 0
			for next, peak := 0, uint64(0); total < all; {
				r := c.record()
				if f := w.Write([]byte(r)); f != nil {
					t.Fatal(f)
				}
				if total += len(r); total < next {
					continue
				}
				next = total + 6<<20
				if now := heap(); now > before+most {
					t.Fatalf("%d MiB are held after %d MiB of records", (now-before)>>20, total>>20)
				} else if now > before+peak {
					peak = now - before
					t.Logf("%d MiB after %d MiB", peak>>20, total>>20)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// What the footer of a wide table holds is as much as MaxRows counts with.
func TestFooterOfWideTable(t *testing.T) {
	columns := make([]Column, 900)
	for i := range columns {
		columns[i] = Column{fmt.Sprint("c", i), "string"}
	}
	c := compile(t, Spec{Columns: columns, OpenX: &OpenXOptions{}})
	most := c.MaxRows()
	if most < 30_000 || most > 1_000_000 {
		t.Errorf("%d rows", most)
	}
	w := c.NewWriter(io.Discard)
	rows := func(n int64) {
		for range n {
			if f := w.Write([]byte(`{"c7":"x"}`)); f != nil {
				t.Fatal(f)
			}
		}
	}
	const share = 8 // of a file of as many rows as there may be
	rows(most / share)
	before := heap()
	rows(most / share)
	grown := int64(heap()) - int64(before)
	t.Logf("%d KiB of %d", grown>>10, footerMemory/share>>10)
	if grown > footerMemory/share*3/2 {
		t.Errorf("%d KiB were added by an eighth of the rows that a file may have", grown>>10)
	}
	if few := compile(t, Spec{Columns: benchColumns, OpenX: &OpenXOptions{}}).MaxRows(); few < 10_000_000 {
		t.Errorf("%d rows of few columns", few)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func heap() uint64 {
	runtime.GC() // twice: pools keep things for a round
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Pages and row groups have bounds that no value of theirs is outside of; long ones are cut.
func TestBounds(t *testing.T) {
	long := strings.Repeat("x", 3*maxBound)
	// f writes values to one column and wants the bounds of its chunk.
	f := func(typ, low, high string, values ...string) {
		t.Helper()
		for _, o := range outputs() {
			c := compile(t, Spec{Columns: []Column{{"c", typ}}, OpenX: &OpenXOptions{}, Output: o})
			var records []string
			for _, v := range values {
				records = append(records, `{"c":`+v+`}`, `{}`)
			}
			file := open(t, write(t, c, records...))
			stats := file.Metadata().RowGroups[0].Columns[0].MetaData.Statistics
			kind := c.leaves[0]
			typ := file.Schema().Fields()[0].Type()
			if got := valueText(kind, typ.Kind().Value(stats.MinValue)); got != low {
				t.Errorf("%s: least %.300q, want %.300q", kind.kind, got, low)
			}
			if got := valueText(kind, typ.Kind().Value(stats.MaxValue)); got != high {
				t.Errorf("%s: most %.300q, want %.300q", kind.kind, got, high)
			}
			if stats.NullCount != int64(len(values)) {
				t.Errorf("%d nulls", stats.NullCount)
			}
			index := file.ColumnIndexes()[0]
			if !bytes.Equal(index.MinValues[0], stats.MinValue) || !bytes.Equal(index.MaxValues[0], stats.MaxValue) {
				t.Errorf("the page index says %x to %x", index.MinValues[0], index.MaxValues[0])
			}
		}
	}
	f("int", "-5", "7", "3", "-5", "7")
	f("bigint", "-5", "7", "3", "-5", "7")
	f("double", "-5.5", "7", "3", "-5.5", "7")
	f("string", "", "z", `"z"`, `""`, `"abc"`)
	f("string", long[:maxBound], long[:maxBound-1]+"y", `"`+long+`"`)
	f("decimal(5,2)", "-5.00", "7.00", "3", "-5", "7")
	f("decimal(18,2)", "-5.00", "7.00", "3", "-5", "7")
	f("decimal(30,2)", "-5.00", "7.00", "3", "-5", "7")
	f("timestamp", "1969-01-01T00:00:00", "2026-01-01T00:00:00", `"2000-01-01 00:00:00"`, `"1969-01-01 00:00:00"`, `"2026-01-01 00:00:00"`)
	f("date", "1969-01-01", "2026-01-01", `"2000-01-01"`, `"1969-01-01"`, `"2026-01-01"`)
}

func TestUpperBound(t *testing.T) {
	f := func(b string, text bool, want string) {
		t.Helper()
		got := string(upperBound([]byte(b), text))
		if got != want || got < b || text && !utf8.ValidString(got) {
			t.Errorf("%.20q…: %d bytes …%.20q", b, len(got), got[max(0, len(got)-8):])
		}
	}
	x := strings.Repeat("x", maxBound-4)
	f("abc", true, "abc")
	f(x+"aaaaa", true, x+"aaab")
	f(x+"aaéz", true, x+"aaê")
	f(x+"aaaéz", true, x+"aab") // é would be cut in two
	f(x+"a\ud7ffzzz", true, x+"a\ue000")
	f(x+"\U0010ffffzzz", true, x[:len(x)-1]+"y")
	all := strings.Repeat("\U0010ffff", maxBound)
	f(all, true, all)
	f(x+"aa\xff\xff\xff", false, x+"ab")
	f(strings.Repeat("\xff", maxBound+1), false, strings.Repeat("\xff", maxBound+1))
}

var errFull = errors.New("no space")

type failing struct{ left int }

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteErrorsStay(t *testing.T) {
	c := compile(t, Spec{Columns: []Column{{"a", "string"}}, OpenX: &OpenXOptions{}, Output: OutputOptions{Compression: CompressionUncompressed}})
	w := c.NewWriter(&failing{left: 1000})
	record := []byte(`{"a":"` + strings.Repeat("x", 1<<20) + `"}`)
	for range 40 {
		if f := w.Write(record); f != nil {
			t.Fatal(f)
		}
	}
	if err := w.Err(); !errors.Is(err, errFull) {
		t.Errorf("Err: %v", err)
	}
	for range 2 {
		if err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("Close: %v", err)
		}
	}
}

// Reading records is without memory of its own once a writer has what it needs.
func TestReadingAllocatesNothing(t *testing.T) {
	c := compile(t, Spec{Columns: benchColumns, OpenX: &OpenXOptions{}})
	records, _ := benchRecords()
	d := newDecoder(c)
	run := func() {
		for _, r := range records[:stagedRows] {
			d.data, d.pos = r, 0
			d.mark()
			if !d.document() {
				t.Fatal(d.failure)
			}
		}
		d.clear()
	}
	run()
	if got := testing.AllocsPerRun(20, run); got > 0 {
		t.Errorf("%.0f allocations for %d records", got, stagedRows)
	}
}
