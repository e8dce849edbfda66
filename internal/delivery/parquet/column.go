package parquet

import (
	"bytes"
	"unicode/utf8"

	lib "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"
)

// maxBound is how many bytes of a text a column's statistics keep: longer ones are cut, upper bounds raised, so that they stay
// bounds. It keeps a file's footer, which is in memory until the end, from holding its longest values.
const maxBound = 256

// columnType is a leaf's type as the library wants it, around the library's own: it makes the bounds of pages short, and
// those of signed bytes right; it allocates no buffers in advance; and it lets a writer see its dictionary's size.
type columnType struct {
	lib.Type
	signed bool
	bare   bool // without annotation: INT32 and INT64 need none
	maker  *schemaMaker
}

func libraryType(n *node) lib.Type {
	switch n.kind {
	case kindString, kindVarchar, kindChar:
		return lib.String().Type()
	case kindBinary:
		return lib.ByteArrayType
	case kindBoolean:
		return lib.BooleanType
	case kindTinyint:
		return lib.Int(8).Type()
	case kindSmallint:
		return lib.Int(16).Type()
	case kindInt:
		return lib.Int32Type
	case kindBigint:
		return lib.Int64Type
	case kindFloat:
		return lib.FloatType
	case kindDouble:
		return lib.DoubleType
	case kindDate:
		return lib.Date().Type()
	case kindTimestamp:
		return lib.Int96Type
	}
	switch {
	case n.precision <= 9:
		return lib.Decimal(n.scale, n.precision, lib.Int32Type).Type()
	case n.precision <= 18:
		return lib.Decimal(n.scale, n.precision, lib.Int64Type).Type()
	default:
		return lib.Decimal(n.scale, n.precision, lib.FixedLenByteArrayType(n.length)).Type()
	}
}

func (t *columnType) LogicalType() *format.LogicalType {
	if t.bare {
		return nil
	}
	return t.Type.LogicalType()
}

func (t *columnType) ConvertedType() *deprecated.ConvertedType {
	if t.bare {
		return nil
	}
	return t.Type.ConvertedType()
}

func (t *columnType) Compare(a, b lib.Value) int {
	if t.signed {
		return compareSigned(a.Bytes(), b.Bytes())
	}
	return t.Type.Compare(a, b)
}

// compareSigned compares two's complements of one length.
func compareSigned(a, b []byte) int {
	if negative := a[0] >= 0x80; negative != (b[0] >= 0x80) {
		if negative {
			return -1
		}
		return 1
	}
	return bytes.Compare(a, b)
}

func (t *columnType) NewColumnIndexer(int) lib.ColumnIndexer { return new(columnIndexer) }

func (t *columnType) NewColumnBuffer(column, _ int) lib.ColumnBuffer {
	return &columnBuffer{t.Type.NewColumnBuffer(column, 0), t}
}

// NewDictionary leaves alone what the library would have it begin with: 8 KiB for each column.
func (t *columnType) NewDictionary(column, n int, _ encoding.Values) lib.Dictionary {
	d := &dictionary{Dictionary: t.Type.NewDictionary(column, n, t.NewValues(nil, nil)), of: t}
	t.maker.dicts = append(t.maker.dicts, d)
	return d
}

// dictionary is the library's, seen from outside.
type dictionary struct {
	lib.Dictionary
	of *columnType
}

func (d *dictionary) Type() lib.Type { return &indexedType{Type: d.Dictionary.Type(), of: d.of} }

// indexedType is the type of a column that is written by a dictionary.
type indexedType struct {
	lib.Type
	of      *columnType
	buffers int
}

func (t *indexedType) Compare(a, b lib.Value) int { return t.of.Compare(a, b) }
func (t *indexedType) NewColumnIndexer(limit int) lib.ColumnIndexer {
	return t.of.NewColumnIndexer(limit)
}

// NewColumnBuffer gives the buffer of indexes first. The library asks a second time when the dictionary has become too big, for
// a buffer of plain values.
func (t *indexedType) NewColumnBuffer(column, n int) lib.ColumnBuffer {
	if t.buffers++; t.buffers > 1 {
		return t.of.NewColumnBuffer(column, n)
	}
	return &columnBuffer{t.Type.NewColumnBuffer(column, 0), t.of}
}

type columnBuffer struct {
	lib.ColumnBuffer
	of *columnType
}

func (b *columnBuffer) Page() lib.Page { return &page{b.ColumnBuffer.Page(), b.of} }

type page struct {
	lib.Page
	of *columnType
}

// Bounds gives values that no value of the page is below and above.
func (p *page) Bounds() (low, high lib.Value, ok bool) {
	if p.of.signed {
		return p.signedBounds()
	}
	low, high, ok = p.Page.Bounds()
	if ok && p.of.Kind() == lib.ByteArray {
		text := p.of.LogicalType() != nil
		low = lib.ByteArrayValue(lowerBound(low.ByteArray(), text))
		high = lib.ByteArrayValue(upperBound(high.ByteArray(), text))
	}
	return low, high, ok
}

func (p *page) signedBounds() (low, high lib.Value, ok bool) {
	values := p.Data()
	data, size := values.FixedLenByteArray()
	if len(data) == 0 {
		return low, high, false
	}
	least, most := data[:size], data[:size]
	for data = data[size:]; len(data) > 0; data = data[size:] {
		if v := data[:size]; compareSigned(v, least) < 0 {
			least = v
		} else if compareSigned(v, most) > 0 {
			most = v
		}
	}
	return lib.FixedLenByteArrayValue(least), lib.FixedLenByteArrayValue(most), true
}

// lowerBound cuts b, a text between two characters.
func lowerBound(b []byte, text bool) []byte {
	if len(b) <= maxBound {
		return b
	}
	n := maxBound
	for text && !utf8.RuneStart(b[n]) {
		n--
	}
	return b[:n]
}

// upperBound cuts b and raises its last character, or the last that can be raised. If there is none, it gives b.
func upperBound(b []byte, text bool) []byte {
	if len(b) <= maxBound {
		return b
	}
	cut := bytes.Clone(lowerBound(b, text))
	for len(cut) > 0 {
		if !text {
			last := len(cut) - 1
			if cut[last]++; cut[last] != 0 {
				return cut
			}
			cut = cut[:last]
			continue
		}
		r, size := utf8.DecodeLastRune(cut)
		cut = cut[:len(cut)-size]
		switch {
		case r == 0xd7ff: // surrogates follow, which are no characters
			return utf8.AppendRune(cut, 0xe000)
		case r < utf8.MaxRune:
			return utf8.AppendRune(cut, r+1)
		}
	}
	return b
}

// columnIndexer gathers the bounds of pages, as copies of its own.
type columnIndexer struct {
	nulls  []bool
	counts []int64
	low    [][]byte
	high   [][]byte
}

func (x *columnIndexer) Reset() { *x = columnIndexer{} }

func (x *columnIndexer) IndexPage(values, nulls int64, low, high lib.Value) {
	x.nulls = append(x.nulls, values == nulls)
	x.counts = append(x.counts, nulls)
	x.low = append(x.low, boundBytes(low))
	x.high = append(x.high, boundBytes(high))
}

// noBound is the bound of a page of nulls.
var noBound = []byte{}

func boundBytes(v lib.Value) []byte {
	if v.IsNull() {
		return noBound
	}
	return v.AppendBytes(noBound[:0:0])
}

func (x *columnIndexer) ColumnIndex() format.ColumnIndex {
	return format.ColumnIndex{NullPages: x.nulls, NullCounts: x.counts, MinValues: x.low, MaxValues: x.high, BoundaryOrder: format.Unordered}
}
