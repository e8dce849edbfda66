package process

import (
	"fmt"
	"strings"
	"testing"
)

// event is a record of the usual shape: a web event of about 700 bytes.
var event = []byte(`{"event_id":"7f4df2a8-9c1b-4b2e-8a57-0d3a6c1f9b22","event_type":"page_view","customer_id":"c-0012345","event_timestamp":1767225600,
"session":{"id":"s-998877","started":"2026-01-01T00:00:00Z","pages":[{"url":"https://shop.example/","ms":1200},{"url":"https://shop.example/cart","ms":640}]},
"type":{"device":"mobile","os":"android","version":14.2},"geo":{"country":"DE","city":"K\u00f6ln","lat":50.94,"lon":6.96},
"user_agent":"Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0 Mobile Safari/537.36",
"consent":true,"experiments":["a1","b7","c3"],"referrer":null,"value":19.99,"currency":"EUR","quantity":3}`)

func compiled(b testing.TB, s Spec) *Program {
	b.Helper()
	p, err := Compile(s)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func benchmarkExtract(b *testing.B, p *Program) {
	keys := make([]Key, 0, 8)
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		_, failed, err := p.Extract(event, keys[:0])
		if failed != nil || err != nil {
			b.Fatal(failed, err)
		}
	}
}

const (
	pathsQuery = `{customer: .customer_id, device: .type.device, country: .geo.country}`
	datesQuery = `{customer: .customer_id, year: .event_timestamp|strftime("%Y"), month: .event_timestamp|strftime("%m"), day: .event_timestamp|strftime("%d")}`
)

// What a query costs: one of paths by our own reader; the same by gojq on the members that it looks at, and on the whole record; one
// with functions, which is gojq's in any case.
func BenchmarkExtract(b *testing.B) {
	for _, c := range []struct{ name, query string }{{"paths", pathsQuery}, {"dates", datesQuery}} {
		b.Run(c.name, func(b *testing.B) { benchmarkExtract(b, compiled(b, Spec{Query: c.query})) })
		b.Run(c.name+"/gojq/members", func(b *testing.B) {
			p := compiled(b, Spec{Query: c.query})
			p.query.members = nil
			benchmarkExtract(b, p)
		})
		b.Run(c.name+"/gojq/record", func(b *testing.B) {
			p := compiled(b, Spec{Query: c.query})
			p.query.members, p.query.tree = nil, nil
			benchmarkExtract(b, p)
		})
	}
}

func benchmarkSplit(b *testing.B, s Spec, data []byte, want int) {
	p := compiled(b, s)
	n := 0
	emit := func(Sub) error { n++; return nil }
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		n = 0
		if err := p.Split(data, "key", emit); err != nil || n != want {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	batch := []byte(strings.Repeat(string(event), 100))
	var lines strings.Builder
	for range 100 {
		lines.WriteString(strings.ReplaceAll(string(event), "\n", "") + "\n")
	}
	message := appendField(b, nil, "key a")
	for i := range 100 {
		message = appendField(b, message, fmt.Sprintf("key customer-%d", i))
		message = appendField(b, message, fmt.Sprintf("record %d - %s", i, event))
	}
	b.Run("nothing", func(b *testing.B) { benchmarkSplit(b, Spec{}, event, 1) })
	b.Run("no aggregate", func(b *testing.B) { benchmarkSplit(b, Spec{KPL: true}, event, 1) })
	b.Run("aggregate", func(b *testing.B) { benchmarkSplit(b, Spec{KPL: true}, sealed(message), 100) })
	b.Run("JSON/1", func(b *testing.B) { benchmarkSplit(b, Spec{SubRecordType: JSON}, event, 1) })
	b.Run("JSON/100", func(b *testing.B) { benchmarkSplit(b, Spec{SubRecordType: JSON}, batch, 100) })
	b.Run("DELIMITED/100", func(b *testing.B) {
		benchmarkSplit(b, Spec{SubRecordType: Delimited, Delimiter: []byte("\n")}, []byte(lines.String()), 100)
	})
}

// Splitting takes no memory for a record, an aggregate that of its keys; a query of paths takes none.
func TestAllocations(t *testing.T) {
	f := func(what string, want float64, do func()) {
		t.Helper()
		if got := testing.AllocsPerRun(100, do); got > want {
			t.Errorf("%s: %v allocations, want %v", what, got, want)
		}
	}
	emit := func(Sub) error { return nil }
	split := func(s Spec, data []byte) func() {
		p := compiled(t, s)
		return func() {
			if err := p.Split(data, "key", emit); err != nil {
				t.Fatal(err)
			}
		}
	}
	message := appendField(t, appendField(t, nil, "key a"), "record 0 - x")
	f("nothing to do", 0, split(Spec{}, event))
	f("no aggregate", 0, split(Spec{KPL: true}, event))
	f("aggregate", 4, split(Spec{KPL: true}, sealed(message)))
	f("JSON", 0, split(Spec{SubRecordType: JSON}, event))
	f("DELIMITED", 0, split(Spec{SubRecordType: Delimited, Delimiter: []byte("\n")}, event))
	p := compiled(t, Spec{Query: pathsQuery, PartitionKeys: []string{"device", "customer", "country"}})
	keys := make([]Key, 0, 3)
	f("paths", 0, func() {
		if _, failed, err := p.Extract(event, keys[:0]); failed != nil || err != nil {
			t.Fatal(failed, err)
		}
	})
}
