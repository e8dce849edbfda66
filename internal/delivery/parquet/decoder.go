package parquet

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	lib "github.com/parquet-go/parquet-go"
)

// Bounds of what is decoded.
const (
	// valueBytes is what a value costs until it goes to its column.
	valueBytes = int(unsafe.Sizeof(lib.Value{}))
	// maxRowBytes bounds one document once it is values, since a row goes into its columns at once: `[{},{},…` makes values
	// of every field of the struct.
	maxRowBytes = 16 << 20
	// cachedKeys and cachedKeyBytes bound what is remembered of the order of an object's keys: as many as it has fields, and
	// some that are unknown.
	cachedKeys     = 16
	cachedKeyBytes = 64
	// textChunk is the unit of memory for texts until they go to their column.
	textChunk = 64 << 10
)

// decoder turns documents into values of columns, by the schema. What it makes stays until clear; what a document that fails
// has left is taken back by rewind.
type decoder struct {
	scanner
	c     *Converter
	cols  [][]lib.Value // by leaf
	sizes []int         // bytes of the values of a leaf, as plain pages have them
	bytes int           // memory of cols and of texts

	rows int

	seen   []uint64 // by field of a struct: in which object it was seen last
	object uint64   // objects so far
	caches [][]cachedKey

	texts [][]byte // chunks of textChunk
	text  int      // the chunk in use
	used  int      // of it
	large bool     // texts lie outside of chunks
	key   []byte   // scratch: a key as it is compared
	plain []byte   // scratch: a text without escapes

	marks                                   []mark
	markRows, markBytes, markText, markUsed int

	number128
}

// mark is how much a leaf had.
type mark struct{ values, size int }

// cachedKey is a key as it stood in an earlier object at the same place, and its field, -1 if it is unknown: records
// have their keys in one order mostly.
type cachedKey struct {
	key   []byte
	field int
}

func newDecoder(c *Converter) *decoder {
	return &decoder{c: c, cols: make([][]lib.Value, len(c.leaves)), sizes: make([]int, len(c.leaves)), marks: make([]mark, len(c.leaves)),
		seen: make([]uint64, c.slots), caches: make([][]cachedKey, c.caches)}
}

// mark remembers what there is, for rewind.
func (d *decoder) mark() {
	for i := range d.cols {
		d.marks[i] = mark{len(d.cols[i]), d.sizes[i]}
	}
	d.markRows, d.markBytes, d.markText, d.markUsed = d.rows, d.bytes, d.text, d.used
}

// rewind takes back what has come since mark.
func (d *decoder) rewind() {
	for i, m := range d.marks {
		d.cols[i], d.sizes[i] = d.cols[i][:m.values], m.size
	}
	d.rows, d.bytes, d.text, d.used = d.markRows, d.markBytes, d.markText, d.markUsed
}

// clear forgets all values. What a large row has made large is given up.
func (d *decoder) clear() {
	for i := range d.cols {
		if cap(d.cols[i])*valueBytes > textChunk {
			d.cols[i] = nil
		} else if d.large {
			clear(d.cols[i][:cap(d.cols[i])])
		}
		d.cols[i], d.sizes[i] = d.cols[i][:0], 0
	}
	if len(d.texts) > stagedBytes/textChunk {
		d.texts = append([][]byte(nil), d.texts[:stagedBytes/textChunk]...)
	}
	d.rows, d.bytes, d.text, d.used, d.large = 0, 0, 0, 0, false
}

// room gives n bytes that stay until clear.
func (d *decoder) room(n int) []byte {
	if n > textChunk/4 {
		d.bytes += n
		d.large = true
		return make([]byte, n)
	}
	if d.text < len(d.texts) && d.used+n > textChunk {
		d.text++
		d.used = 0
	}
	if d.text == len(d.texts) {
		d.texts = append(d.texts, make([]byte, textChunk))
	}
	b := d.texts[d.text][d.used : d.used+n : d.used+n]
	d.used += n
	d.bytes += n
	return b
}

func (d *decoder) keep(text []byte) []byte {
	b := d.room(len(text))
	copy(b, text)
	return b
}

// document reads one document as a row. After a fault what it has put must be taken back.
func (d *decoder) document() bool {
	if d.peek() != '{' {
		return d.unexpected("a JSON object")
	}
	d.depth = 0
	if !d.structure(d.c.root, 0, d.bytes) {
		return false
	}
	d.rows++
	return true
}

// fails says that the data does not fit n.
func (d *decoder) fails(n *node, format string, args ...any) bool {
	return d.mismatch("Column %s (%s): %s", n.path, n.kind, fmt.Sprintf(format, args...))
}

func (d *decoder) mismatch(format string, args ...any) bool {
	d.failure = &Failure{CodeMalformedData, "Data does not match the schema. " + fmt.Sprintf(format, args...)}
	return false
}

// token names what is next, as Jackson does, whose words the Hive messages are.
func (d *decoder) token() string {
	switch d.peek() {
	case '"':
		return "VALUE_STRING"
	case '{':
		return "START_OBJECT"
	case '[':
		return "START_ARRAY"
	case 't':
		return "VALUE_TRUE"
	case 'f':
		return "VALUE_FALSE"
	default:
		return "VALUE_NUMBER"
	}
}

// value reads the next value into the leaves below n. r is the repetition level of the first value, limit what d.bytes
// was before the row.
func (d *decoder) value(n *node, r uint8, before int) bool {
	if d.bytes-before > maxRowBytes {
		return d.mismatch("A document gives more than %d bytes of values", maxRowBytes)
	}
	c := d.peek()
	if c == 'n' {
		if !d.literal("null") {
			return false
		}
		d.null(n, r, n.def-1)
		return true
	}
	switch n.kind {
	case kindStruct:
		if c != '{' {
			return d.notStruct(n, r, before, c)
		}
		return d.structure(n, r, before)
	case kindArray:
		if c != '[' {
			return d.notArray(n, r, before, c)
		}
		return d.array(n, r, before)
	case kindMap:
		if c != '{' {
			return d.notMap(n, r, c)
		}
		return d.mapping(n, r, before)
	}
	return d.scalar(n, r, c)
}

// null gives each leaf below n a null that is defined to level def.
func (d *decoder) null(n *node, r, def uint8) {
	var v lib.Value
	v.SetRepetitionLevel(int(r))
	v.SetDefinitionLevel(int(def))
	for i := n.leaf; i < n.leafEnd; i++ {
		d.cols[i] = append(d.cols[i], v)
	}
	d.bytes += (n.leafEnd - n.leaf) * valueBytes
}

func (d *decoder) put(n *node, r uint8, v lib.Value, size int) bool {
	v.SetRepetitionLevel(int(r))
	v.SetDefinitionLevel(int(n.def))
	d.cols[n.leaf] = append(d.cols[n.leaf], v)
	d.sizes[n.leaf] += size
	d.bytes += valueBytes
	return true
}

func (d *decoder) structure(n *node, r uint8, before int) bool {
	d.pos++
	if !d.enter() {
		return false
	}
	d.object++
	object, seen, found := d.object, d.seen[n.slot:n.slot+len(n.fields)], 0
	for i := 0; ; i++ {
		done, ok := d.nextMember(i == 0)
		if !ok {
			return false
		}
		if done {
			break
		}
		f, ok := d.member(n, i)
		if !ok || !d.colon() {
			return false
		}
		if f < 0 {
			if !d.skip() {
				return false
			}
			continue
		}
		field := n.fields[f]
		if seen[f] == object {
			d.forget(field)
		} else {
			seen[f] = object
			found++
		}
		if !d.value(field, r, before) {
			return false
		}
	}
	if found < len(n.fields) {
		for f, field := range n.fields {
			if seen[f] != object {
				d.null(field, r, n.def)
			}
		}
	}
	return true
}

// forget takes back what an earlier member of the same object has put below field: back to the value that begins no
// repetition inside.
func (d *decoder) forget(field *node) {
	for i := field.leaf; i < field.leafEnd; i++ {
		col := d.cols[i]
		end := len(col) - 1
		for col[end].RepetitionLevel() > int(field.rep) {
			end--
		}
		d.bytes -= (len(col) - end) * valueBytes
		d.cols[i] = col[:end]
	}
}

// member reads the i-th key of an object and gives its field, -1 if it is unknown.
func (d *decoder) member(n *node, i int) (field int, ok bool) {
	cache := d.caches[n.cache]
	if i < len(cache) {
		key := cache[i].key
		if end := d.pos + 1 + len(key); end < len(d.data) && d.data[end] == '"' && string(d.data[d.pos+1:end]) == string(key) {
			d.pos = end + 1
			return cache[i].field, true
		}
	}
	text, escaped, ok := d.str()
	if !ok {
		return 0, false
	}
	raw := text
	if escaped {
		d.plain = unescape(d.plain[:0], text)
		text = d.plain
	}
	d.key = d.c.appendKey(d.key[:0], text)
	field, known := n.index[string(d.key)]
	if !known {
		field = -1
	}
	if i < cachedKeys+2*len(n.fields) && len(raw) <= cachedKeyBytes && !escaped {
		if i < len(cache) {
			cache[i] = cachedKey{append(cache[i].key[:0], raw...), field}
		} else if i == len(cache) {
			d.caches[n.cache] = append(cache, cachedKey{append(make([]byte, 0, cachedKeyBytes), raw...), field})
		}
	}
	return field, true
}

func (d *decoder) array(n *node, r uint8, before int) bool {
	d.pos++
	if !d.enter() {
		return false
	}
	element := n.fields[0]
	for i := 0; ; i++ {
		done, ok := d.nextElement(i == 0)
		if !ok {
			return false
		}
		if done {
			if i == 0 {
				d.null(n, r, n.def)
			}
			return true
		}
		if !d.value(element, r, before) {
			return false
		}
		r = element.rep
	}
}

// smallMap is up to how many keys are compared one by one.
const smallMap = 16

func (d *decoder) mapping(n *node, r uint8, before int) bool {
	d.pos++
	if !d.enter() {
		return false
	}
	key, value := n.fields[0], n.fields[1]
	first := len(d.cols[key.leaf])
	var many map[string]bool
	for i := 0; ; i++ {
		done, ok := d.nextMember(i == 0)
		if !ok {
			return false
		}
		if done {
			if i == 0 {
				d.null(n, r, n.def)
			}
			return true
		}
		if !d.mapKey(key, r) || !d.colon() {
			return false
		}
		keys := d.cols[key.leaf][first:]
		if many == nil && i == smallMap {
			many = make(map[string]bool, 2*smallMap)
			for _, k := range keys[:i] {
				many[string(k.Bytes())] = true
			}
		}
		if d.twice(keys, many) {
			return d.fails(n, "a key stands twice")
		}
		if !d.value(value, r, before) {
			return false
		}
		r = key.rep
	}
}

// twice tells whether the last of keys is among the others, and adds it to many.
func (d *decoder) twice(keys []lib.Value, many map[string]bool) bool {
	last := keys[len(keys)-1]
	if many != nil {
		k := string(last.Bytes())
		if many[k] {
			return true
		}
		many[k] = true
		d.bytes += len(k) + valueBytes
		return false
	}
	for _, k := range keys[:len(keys)-1] {
		if equal(k, last) {
			return true
		}
	}
	return false
}

func equal(a, b lib.Value) bool {
	if a.Kind() == lib.ByteArray || a.Kind() == lib.FixedLenByteArray {
		return string(a.ByteArray()) == string(b.ByteArray())
	}
	return a.Uint64() == b.Uint64()
}

// mapKey reads a key as if it were a value of its type.
func (d *decoder) mapKey(n *node, r uint8) bool {
	text, escaped, ok := d.str()
	if !ok {
		return false
	}
	if escaped {
		d.plain = unescape(d.plain[:0], text)
		text = d.plain
	}
	return d.fromText(n, r, text)
}

func (d *decoder) notStruct(n *node, r uint8, before int, c byte) bool {
	switch {
	case d.c.hive:
		return d.skip() && d.mismatch("java.io.IOException: Start of Object expected")
	case c == '"':
		return d.blank(n, r, "an object")
	case c != '[':
		return d.wrong(n, "an object")
	}
	d.pos++
	if !d.enter() {
		return false
	}
	for i := 0; ; i++ {
		done, ok := d.nextElement(i == 0)
		if !ok {
			return false
		}
		if done {
			for ; i < len(n.fields); i++ {
				d.null(n.fields[i], r, n.def)
			}
			return true
		}
		if i < len(n.fields) {
			ok = d.value(n.fields[i], r, before)
		} else {
			ok = d.skip()
		}
		if !ok {
			return false
		}
	}
}

func (d *decoder) notArray(n *node, r uint8, before int, c byte) bool {
	if d.c.hive {
		return d.skip() && d.mismatch("java.io.IOException: Start of Array expected")
	}
	if c == '"' {
		if start := d.pos; d.isBlank() {
			d.null(n, r, n.def-1)
			return true
		} else if d.failure != nil {
			return false
		} else {
			d.pos = start
		}
	}
	return d.value(n.fields[0], r, before)
}

func (d *decoder) notMap(n *node, r uint8, c byte) bool {
	switch {
	case d.c.hive:
		return d.skip() && d.mismatch("java.io.IOException: Start of Object expected")
	case c == '"':
		return d.blank(n, r, "an object")
	default:
		return d.wrong(n, "an object")
	}
}

// isBlank reads a string and tells whether it has nothing but blanks.
func (d *decoder) isBlank() bool {
	text, _, ok := d.str()
	return ok && len(bytes.TrimSpace(text)) == 0
}

func (d *decoder) blank(n *node, r uint8, expected string) bool {
	if d.isBlank() {
		d.null(n, r, n.def-1)
		return true
	}
	if d.failure != nil {
		return false
	}
	return d.fails(n, "%s is expected, not VALUE_STRING", expected)
}

// wrong tells of a value that is not of the expected kind, unless it is not even JSON.
func (d *decoder) wrong(n *node, expected string) bool {
	token := d.token()
	if !d.skip() {
		return false
	}
	return d.fails(n, "%s is expected, not %s", expected, token)
}

// scalar reads the value of a leaf.
func (d *decoder) scalar(n *node, r uint8, c byte) bool {
	switch c {
	case '"':
		return d.quoted(n, r)
	case 't', 'f':
		return d.boolean(n, r, c == 't')
	case '{', '[':
		return d.composite(n, r)
	}
	text, whole, ok := d.scanner.number()
	if !ok {
		return false
	}
	switch n.kind {
	case kindString, kindVarchar, kindChar:
		return d.string(n, r, text, false)
	case kindBoolean, kindBinary:
		return d.wrongScalar(n, "VALUE_NUMBER")
	case kindDate:
		days, ok := d.c.date(text) // by a TimestampFormat
		if !ok {
			return d.wrongScalar(n, "VALUE_NUMBER")
		}
		return d.put(n, r, lib.Int32Value(days), 4)
	case kindTimestamp:
		return d.timestamp(n, r, text)
	default:
		return d.numeric(n, r, text, whole)
	}
}

// quoted reads a string into a leaf.
func (d *decoder) quoted(n *node, r uint8) bool {
	text, escaped, ok := d.str()
	if !ok {
		return false
	}
	switch n.kind {
	case kindString, kindVarchar, kindChar:
		return d.string(n, r, text, escaped)
	case kindTinyint, kindSmallint, kindInt, kindBigint, kindFloat, kindDouble:
		if d.c.hive {
			return d.mismatch("Current token (VALUE_STRING) not numeric, can not use numeric value accessors")
		}
	case kindBoolean:
		if d.c.hive {
			return d.wrongScalar(n, "VALUE_STRING")
		}
	}
	if escaped {
		d.plain = unescape(d.plain[:0], text)
		text = d.plain
	}
	return d.fromText(n, r, text)
}

func (d *decoder) wrongScalar(n *node, token string) bool {
	if d.c.hive && n.kind >= kindTinyint && n.kind <= kindDouble {
		return d.mismatch("Current token (%s) not numeric, can not use numeric value accessors", token)
	}
	if d.c.hive && n.kind == kindBoolean {
		return d.mismatch("Current token (%s) not of boolean type", token)
	}
	return d.fails(n, "%s does not fit", token)
}

func (d *decoder) boolean(n *node, r uint8, v bool) bool {
	word, token := "false", "VALUE_FALSE"
	if v {
		word, token = "true", "VALUE_TRUE"
	}
	if !d.literal(word) {
		return false
	}
	switch n.kind {
	case kindBoolean:
		return d.put(n, r, lib.BooleanValue(v), 1)
	case kindString, kindVarchar, kindChar:
		return d.string(n, r, []byte(word), false)
	default:
		return d.wrongScalar(n, token)
	}
}

// composite reads an object or an array into a leaf: only OpenX has a use for it, as a text.
func (d *decoder) composite(n *node, r uint8) bool {
	token, start := d.token(), d.pos
	if !d.skip() {
		return false
	}
	text := n.kind == kindString || n.kind == kindVarchar || n.kind == kindChar
	switch {
	case text && d.c.hive:
		return d.mismatch("One or more fields have incorrect format. Exception when validating field (root)")
	case text:
		return d.string(n, r, d.data[start:d.pos], false)
	default:
		return d.wrongScalar(n, token)
	}
}

// string puts a text, with its escapes if escaped.
func (d *decoder) string(n *node, r uint8, text []byte, escaped bool) bool {
	if escaped {
		room := d.room(len(text))
		text = unescape(room[:0], text)
	} else if len(text) > 0 {
		text = d.keep(text)
	}
	switch n.kind {
	case kindVarchar:
		text = firstCharacters(text, n.length)
	case kindChar:
		text = firstCharacters(text, n.length)
		for len(text) > 0 && text[len(text)-1] == ' ' {
			text = text[:len(text)-1]
		}
	}
	return d.put(n, r, lib.ByteArrayValue(text), 4+len(text))
}

func firstCharacters(text []byte, n int) []byte {
	if len(text) <= n {
		return text
	}
	for i := 0; i < len(text); n-- {
		if n == 0 {
			return text[:i]
		}
		_, size := utf8.DecodeRune(text[i:])
		i += size
	}
	return text
}

// fromText puts a value that stands as text, without escapes: of a string, or of a map's key.
func (d *decoder) fromText(n *node, r uint8, text []byte) bool {
	switch n.kind {
	case kindString, kindVarchar, kindChar:
		return d.string(n, r, text, false)
	case kindBinary:
		return d.binary(n, r, text)
	case kindBoolean:
		switch {
		case strings.EqualFold(string(text), "true"):
			return d.put(n, r, lib.BooleanValue(true), 1)
		case strings.EqualFold(string(text), "false"):
			return d.put(n, r, lib.BooleanValue(false), 1)
		}
		return d.fails(n, "the string is neither true nor false")
	case kindDate:
		days, ok := d.c.date(text)
		if !ok {
			return d.fails(n, "the string is no date")
		}
		return d.put(n, r, lib.Int32Value(days), 4)
	case kindTimestamp:
		return d.timestamp(n, r, text)
	}
	if len(text) > 0 && text[0] == '+' {
		text = text[1:]
	}
	for len(text) > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9' {
		text = text[1:]
	}
	length, whole := scanNumber(text)
	if length == 0 || length < len(text) {
		return d.fails(n, "the string is no number")
	}
	return d.numeric(n, r, text, whole)
}

func (d *decoder) binary(n *node, r uint8, text []byte) bool {
	room := d.room(base64.StdEncoding.DecodedLen(len(text)))
	size, err := base64.StdEncoding.Decode(room, text)
	if err != nil {
		return d.fails(n, "the string is not base64")
	}
	return d.put(n, r, lib.ByteArrayValue(room[:size]), 4+size)
}

// integers have their least and greatest values.
var integers = [...]struct{ least, most int64 }{
	kindTinyint:  {math.MinInt8, math.MaxInt8},
	kindSmallint: {math.MinInt16, math.MaxInt16},
	kindInt:      {math.MinInt32, math.MaxInt32},
	kindBigint:   {math.MinInt64, math.MaxInt64},
}

// numeric puts the number that text is; whole says that it has neither fraction nor exponent.
func (d *decoder) numeric(n *node, r uint8, text []byte, whole bool) bool {
	switch n.kind {
	case kindFloat:
		f, err := strconv.ParseFloat(unsafe.String(&text[0], len(text)), 32)
		if err != nil {
			return d.fails(n, "the number is out of range")
		}
		return d.put(n, r, lib.FloatValue(float32(f)), 4)
	case kindDouble:
		f, err := strconv.ParseFloat(unsafe.String(&text[0], len(text)), 64)
		if err != nil {
			return d.fails(n, "the number is out of range")
		}
		return d.put(n, r, lib.DoubleValue(f), 8)
	case kindDecimal:
		return d.decimal(n, r, text)
	}
	v, ok := int64(0), false
	if whole {
		v, ok = parseInt(text)
	}
	if !ok {
		var exact bool
		if exact, ok = d.parse(text, 0, 19); ok && !exact {
			return d.fails(n, "the number has a fraction")
		}
		v, ok = d.int64(ok)
	}
	if bounds := integers[n.kind]; !ok || v < bounds.least || v > bounds.most {
		return d.fails(n, "the number is out of range")
	}
	if n.kind == kindBigint {
		return d.put(n, r, lib.Int64Value(v), 8)
	}
	return d.put(n, r, lib.Int32Value(int32(v)), 4)
}

// parseInt reads a checked integer of at most 18 digits.
func parseInt(text []byte) (v int64, ok bool) {
	digits := text
	if digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
		v = v*10 + int64(c-'0')
	}
	if text[0] == '-' {
		v = -v
	}
	return v, true
}

func (d *decoder) decimal(n *node, r uint8, text []byte) bool {
	if _, ok := d.parse(text, n.scale, n.precision); !ok {
		return d.fails(n, "the number has too many digits for decimal(%d,%d)", n.precision, n.scale)
	}
	if n.precision <= 18 {
		v, _ := d.int64(true)
		if n.precision <= 9 {
			return d.put(n, r, lib.Int32Value(int32(v)), 4)
		}
		return d.put(n, r, lib.Int64Value(v), 8)
	}
	var all [16]byte
	hi, lo := d.hi, d.lo
	if d.negative {
		if lo = -lo; lo == 0 {
			hi = -hi
		} else {
			hi = ^hi
		}
	}
	binary.BigEndian.PutUint64(all[:8], hi)
	binary.BigEndian.PutUint64(all[8:], lo)
	return d.put(n, r, lib.FixedLenByteArrayValue(d.keep(all[16-n.length:])), n.length)
}

// timestamp puts a moment that stands as a number or in a string.
func (d *decoder) timestamp(n *node, r uint8, text []byte) bool {
	days, nanos, ok := d.c.timestamp(text)
	if !ok {
		return d.fails(n, "the value is no timestamp")
	}
	b := d.room(12)
	binary.LittleEndian.PutUint64(b, uint64(nanos))
	binary.LittleEndian.PutUint32(b[8:], uint32(days+julianEpoch))
	// The library's own INT96 values are an allocation each; it reads the bytes behind a value whatever its kind says.
	return d.put(n, r, lib.ByteArrayValue(b), 12)
}
