package parquet

import (
	"fmt"
	"io"
	"testing"
)

// benchColumns is the schema of benchRecords: what a web shop's events are like.
var benchColumns = []Column{
	{"event_id", "string"}, {"event_type", "string"}, {"user_id", "bigint"}, {"ts", "timestamp"}, {"price", "decimal(10,2)"},
	{"quantity", "int"}, {"score", "double"}, {"active", "boolean"}, {"city", "string"}, {"agent", "string"},
}

// benchRecords are events of about 300 bytes.
func benchRecords() (records [][]byte, size int64) {
	for i := range 10_000 {
		r := fmt.Appendf(nil, `{"event_id":"%08x-%04x-4000-8000-%012x","event_type":"%s","user_id":%d,"ts":"2026-07-%02dT%02d:%02d:%02d.%03dZ",`+
			`"price":%d.%02d,"quantity":%d,"score":%d.%06d,"active":%v,"city":"%s","agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0"}`,
			uint32(i*2654435761), i%65536, i*7919, []string{"view", "click", "purchase"}[i%3], 1_000_000+i*31%50_000, 1+i%28, i%24, i%60, i*7%60, i%1000,
			i%900, i%100, i%5, i%3, i*7919%1_000_000, i%2 == 0, []string{"Berlin", "Zürich", "Lisboa", "Oslo"}[i%4], 100+i%30)
		records = append(records, r)
		size += int64(len(r))
	}
	return records, size
}

func BenchmarkWrite(b *testing.B) {
	records, size := benchRecords()
	for _, c := range []struct {
		name   string
		output OutputOptions
	}{
		{"snappy", OutputOptions{}},
		{"uncompressed", OutputOptions{Compression: CompressionUncompressed}},
		{"gzip", OutputOptions{Compression: CompressionGzip}},
		{"snappy-dictionary", OutputOptions{EnableDictionaryCompression: true}},
		{"snappy-v2", OutputOptions{WriterVersion: "V2"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			converter, err := Compile(Spec{Columns: benchColumns, OpenX: &OpenXOptions{}, Output: c.output})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(size)
			b.ReportAllocs()
			// One file for all rounds: what an object of a large buffer is.
			w := converter.NewWriter(io.Discard)
			for b.Loop() {
				for _, r := range records {
					if f := w.Write(r); f != nil {
						b.Fatal(f)
					}
				}
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkDecode is the reading alone.
func BenchmarkDecode(b *testing.B) {
	records, size := benchRecords()
	converter, err := Compile(Spec{Columns: benchColumns, OpenX: &OpenXOptions{}})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	d := newDecoder(converter)
	for b.Loop() {
		for _, r := range records {
			d.data, d.pos = r, 0
			d.mark()
			if !d.document() {
				b.Fatal(d.failure)
			}
			if d.rows >= stagedRows {
				d.clear()
			}
		}
	}
}

// BenchmarkNewWriter is what a small object costs beside its records.
func BenchmarkNewWriter(b *testing.B) {
	converter, err := Compile(Spec{Columns: benchColumns, OpenX: &OpenXOptions{}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		w := converter.NewWriter(io.Discard)
		if f := w.Write([]byte(`{"event_id":"a"}`)); f != nil {
			b.Fatal(f)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
