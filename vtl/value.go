package vtl

import (
	"math"
	"math/big"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// Kind tells what a [Value] is.
type Kind uint8

// The kinds of values, by their Java classes.
const (
	Null       Kind = iota
	Boolean         // Boolean
	Integer         // Integer: 32 bits
	Long            // Long: 64 bits
	BigInteger      // BigInteger
	Double          // Double
	BigDecimal      // BigDecimal
	Text            // String
	ListKind        // ArrayList, JSONArray, array: a *List
	MapKind         // LinkedHashMap: a *Map
	ObjectKind      // an Object of the host
)

// Value is what a template works with. The zero Value is null. Values are small
// and passed by value; lists and maps are shared, as in Java.
//
// A string lies in ref as a pointer to its first byte and in bits as its length:
// values travel through every closure, and four words travel faster than six.
type Value struct {
	ref  any    // *byte, *List, *Map, Object, *big.Int, *decimal
	bits uint64 // of a Boolean, Integer, Long, Double; the length of a string
	kind Kind
}

// str gives the text of a string.
func (v Value) str() string {
	p, _ := v.ref.(*byte)
	return unsafe.String(p, int(v.bits))
}

// Object is a value of the host: properties and methods by name.
//
// Property gives null for a name that it does not know. Call reports with known
// whether it knows the method; one that fails ends the rendering.
type Object interface {
	Property(rt *Runtime, name string) (Value, error)
	Call(rt *Runtime, method string, args []Value) (v Value, known bool, err error)
}

// A Stringer object prints as what AppendText appends; another prints as nothing.
type Stringer interface {
	AppendText(dst []byte) []byte
}

// Indexed objects can be indexed, and assigned to by index or property.
type Indexed interface {
	Object
	SetProperty(rt *Runtime, name string, v Value) error
}

// String makes a string.
func String(s string) Value {
	return Value{kind: Text, ref: unsafe.StringData(s), bits: uint64(len(s))}
}

// Bool makes a boolean.
func Bool(b bool) Value {
	if b {
		return Value{kind: Boolean, bits: 1}
	}
	return Value{kind: Boolean}
}

// Int makes an Integer when i fits 32 bits, else a Long.
func Int(i int64) Value {
	if i == int64(int32(i)) {
		return Value{kind: Integer, bits: uint64(i)}
	}
	return Value{kind: Long, bits: uint64(i)}
}

func long(i int64) Value { return Value{kind: Long, bits: uint64(i)} }

// Float makes a Double.
func Float(f float64) Value { return Value{kind: Double, bits: math.Float64bits(f)} }

// BigInt makes the smallest integer that holds i. The value keeps i.
func BigInt(i *big.Int) Value {
	if i.IsInt64() {
		return Int(i.Int64())
	}
	return Value{kind: BigInteger, ref: i}
}

// FromObject makes a value of the host.
func FromObject(o Object) Value { return Value{kind: ObjectKind, ref: o} }

// FromList makes a value of a list.
func FromList(l *List) Value { return Value{kind: ListKind, ref: l} }

// FromMap makes a value of a map.
func FromMap(m *Map) Value { return Value{kind: MapKind, ref: m} }

// Kind tells what v is.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether v is null.
func (v Value) IsNull() bool { return v.kind == Null }

// Str gives the text of a string; ok is false for anything else.
func (v Value) Str() (s string, ok bool) {
	if v.kind != Text {
		return "", false
	}
	return v.str(), true
}

// Truth gives the value of a boolean.
func (v Value) Truth() (b, ok bool) { return v.bits != 0, v.kind == Boolean }

// Int64 gives the value of an Integer or Long.
func (v Value) Int64() (i int64, ok bool) {
	return int64(v.bits), v.kind == Integer || v.kind == Long
}

// Float64 gives the value of a Double.
func (v Value) Float64() (f float64, ok bool) {
	return math.Float64frombits(v.bits), v.kind == Double
}

// List gives a list, or nil.
func (v Value) List() *List {
	l, _ := v.ref.(*List)
	return l
}

// Map gives a map, or nil.
func (v Value) Map() *Map {
	m, _ := v.ref.(*Map)
	return m
}

// Object gives an object of the host, or nil.
func (v Value) Object() Object {
	if v.kind != ObjectKind {
		return nil
	}
	o, _ := v.ref.(Object)
	return o
}

func (v Value) number() bool { return v.kind >= Integer && v.kind <= BigDecimal }

// bigInt gives an integral value as a big integer, which the caller must not change.
func (v Value) bigInt() *big.Int {
	if b, ok := v.ref.(*big.Int); ok {
		return b
	}
	return big.NewInt(int64(v.bits))
}

// float gives any number as a float.
func (v Value) float() float64 {
	switch v.kind {
	case Integer, Long:
		return float64(int64(v.bits))
	case Double:
		return math.Float64frombits(v.bits)
	case BigInteger:
		f, _ := new(big.Float).SetInt(v.bigInt()).Float64()
		return f
	case BigDecimal:
		return v.ref.(*decimal).float()
	}
	return math.NaN()
}

// Flavor tells the classes of lists apart.
type Flavor uint8

// The flavors of lists.
const (
	ArrayList Flavor = iota // prints as [a, b]; grows
	JSONArray               // prints as JSON; grows
	Array                   // of fixed size, from split
)

// List is an ordered collection.
type List struct {
	Items  []Value
	Flavor Flavor
}

// Map keeps its keys in the order in which they were put.
type Map struct {
	// Silent maps print as nothing: those below $context.
	Silent  bool
	entries []Entry
	index   map[mapKey]int // built when the map grows beyond smallMap
}

// Entry of a map.
type Entry struct{ Key, Value Value }

// smallMap is how many entries are searched one by one.
const smallMap = 12

// mapKey is a key in comparable form. Keys of one kind only are equal, as in Java: 1 is not "1".
type mapKey struct {
	kind Kind
	text string
	bits uint64
}

func keyOf(v Value) mapKey {
	switch v.kind {
	case Text:
		return mapKey{kind: Text, text: v.str()}
	case BigInteger:
		return mapKey{kind: BigInteger, text: v.bigInt().String()}
	case BigDecimal:
		return mapKey{kind: BigDecimal, text: v.ref.(*decimal).String()}
	case ListKind, MapKind, ObjectKind:
		return mapKey{kind: v.kind, text: toText(v)}
	}
	return mapKey{kind: v.kind, bits: v.bits}
}

// Len counts the entries.
func (m *Map) Len() int { return len(m.entries) }

// Entries gives the entries in order; the caller must not change them.
func (m *Map) Entries() []Entry { return m.entries }

func (m *Map) find(key Value) int {
	if m.index != nil {
		if i, ok := m.index[keyOf(key)]; ok {
			return i
		}
		return -1
	}
	if key.kind == Text {
		for i := range m.entries {
			if k := &m.entries[i].Key; k.kind == Text && k.str() == key.str() {
				return i
			}
		}
		return -1
	}
	want := keyOf(key)
	for i := range m.entries {
		if keyOf(m.entries[i].Key) == want {
			return i
		}
	}
	return -1
}

// Get gives the value of a key; ok is false when it is not there.
func (m *Map) Get(key Value) (v Value, ok bool) {
	if i := m.find(key); i >= 0 {
		return m.entries[i].Value, true
	}
	return Value{}, false
}

// GetString gives the value of a string key, or null.
func (m *Map) GetString(key string) Value {
	v, _ := m.Get(String(key))
	return v
}

// Put sets the value of a key, which keeps its place when it was there, and gives the old value.
func (m *Map) Put(key, v Value) (old Value) {
	if i := m.find(key); i >= 0 {
		old = m.entries[i].Value
		m.entries[i].Value = v
		return old
	}
	m.entries = append(m.entries, Entry{key, v})
	if m.index != nil {
		m.index[keyOf(key)] = len(m.entries) - 1
	} else if len(m.entries) > smallMap {
		m.reindex()
	}
	return Value{}
}

func (m *Map) reindex() {
	m.index = make(map[mapKey]int, 2*len(m.entries))
	for i := range m.entries {
		m.index[keyOf(m.entries[i].Key)] = i
	}
}

// Remove takes a key out and gives its value.
func (m *Map) Remove(key Value) (old Value) {
	i := m.find(key)
	if i < 0 {
		return Value{}
	}
	old = m.entries[i].Value
	m.entries = append(m.entries[:i:i], m.entries[i+1:]...)
	if m.index != nil {
		m.reindex()
	}
	return old
}

// utf16Len counts UTF-16 units; it is quick for ASCII.
func utf16Len(s string) int {
	n := len(s)
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return i + utf16LenSlow(s[i:])
		}
	}
	return n
}

func utf16LenSlow(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

func toUTF16(s string) []uint16 { return utf16.Encode([]rune(s)) }

// fromUTF16 joins units; a lone surrogate becomes U+FFFD, as when Java writes it as UTF-8 it would be lost too.
func fromUTF16(units []uint16) string { return string(utf16.Decode(units)) }

// byteOffset gives the offset of the given UTF-16 unit; -1 when it lies outside.
func byteOffset(s string, unit int) int {
	if unit < 0 {
		return -1
	}
	n := 0
	for i, r := range s {
		if n >= unit {
			return i
		}
		n++
		if r > 0xffff {
			n++
		}
	}
	if n == unit {
		return len(s)
	}
	return -1
}

// indexUTF16 gives the index in UTF-16 units of sub in s from unit from on, or -1.
func indexUTF16(s, sub string, from int) int {
	start := byteOffset(s, max(from, 0))
	if start < 0 {
		return -1
	}
	i := strings.Index(s[start:], sub)
	if i < 0 {
		return -1
	}
	return utf16Len(s[:start+i])
}

// CompareNumbers orders two numbers by value, whatever their classes; ok is false when one is none.
func CompareNumbers(a, b Value) (order int, ok bool) {
	if !a.number() || !b.number() {
		return 0, false
	}
	return compareNumbers(a, b), true
}

// Same compares two scalars of one kind; lists, maps and objects are the same only when they are one.
func Same(a, b Value) bool {
	switch a.kind {
	case ListKind, MapKind, ObjectKind:
		return a.kind == b.kind && a.ref == b.ref
	}
	return keyOf(a) == keyOf(b)
}
