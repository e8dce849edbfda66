package parquet

import (
	"reflect"

	lib "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding"
)

// schemaNode is a node as the library wants it. The library's own groups sort their fields by name; a table's columns
// keep their order.
type schemaNode struct {
	name       string
	typ        lib.Type
	repetition repetition
	fields     []lib.Field
	encoding   encoding.Encoding
	leaf       bool
}

type repetition uint8

const (
	required repetition = iota
	optional
	repeated
)

var _ lib.Field = (*schemaNode)(nil)

func (n *schemaNode) ID() int                           { return 0 }
func (n *schemaNode) String() string                    { return n.name }
func (n *schemaNode) Name() string                      { return n.name }
func (n *schemaNode) Type() lib.Type                    { return n.typ }
func (n *schemaNode) Optional() bool                    { return n.repetition == optional }
func (n *schemaNode) Repeated() bool                    { return n.repetition == repeated }
func (n *schemaNode) Required() bool                    { return n.repetition == required }
func (n *schemaNode) Leaf() bool                        { return n.leaf }
func (n *schemaNode) Fields() []lib.Field               { return n.fields }
func (n *schemaNode) Encoding() encoding.Encoding       { return n.encoding }
func (n *schemaNode) Compression() compress.Codec       { return nil }
func (n *schemaNode) GoType() reflect.Type              { return reflect.TypeFor[struct{}]() } // rows are never Go values here
func (n *schemaNode) Value(reflect.Value) reflect.Value { return reflect.Value{} }

// Types of groups, taken from the library, which does not export them.
var (
	groupType = lib.Group{}.Type()
	listType  = lib.List(lib.Leaf(lib.Int32Type)).Type()
	mapType   = lib.Map(lib.Leaf(lib.Int32Type), lib.Leaf(lib.Int32Type)).Type()
)

// schemaMaker makes the schema of one writer, whose types remember its dictionaries.
type schemaMaker struct {
	dictionary bool
	dicts      []*dictionary
}

func (m *schemaMaker) schema(root *node) *lib.Schema {
	top := &schemaNode{typ: groupType, fields: m.fields(root.fields)}
	return lib.NewSchema("hive_schema", top)
}

func (m *schemaMaker) fields(nodes []*node) []lib.Field {
	fields := make([]lib.Field, len(nodes))
	for i, n := range nodes {
		fields[i] = m.node(n, n.name, optional)
	}
	return fields
}

func (m *schemaMaker) node(n *node, name string, r repetition) *schemaNode {
	s := &schemaNode{name: name, repetition: r}
	switch n.kind {
	case kindStruct:
		s.typ, s.fields = groupType, m.fields(n.fields)
	case kindArray:
		element := m.node(n.fields[0], "element", optional)
		s.typ = listType
		s.fields = []lib.Field{&schemaNode{name: "list", typ: groupType, repetition: repeated, fields: []lib.Field{element}}}
	case kindMap:
		key := m.node(n.fields[0], "key", required)
		value := m.node(n.fields[1], "value", optional)
		s.typ = mapType
		s.fields = []lib.Field{&schemaNode{name: "key_value", typ: groupType, repetition: repeated, fields: []lib.Field{key, value}}}
	default:
		s.leaf, s.typ, s.encoding = true, &columnType{Type: libraryType(n), signed: signedBytes(n), bare: n.kind == kindInt || n.kind == kindBigint, maker: m}, &lib.Plain
		// The library's dictionaries order bytes without a sign, so that their bounds of long decimals would be wrong.
		if m.dictionary && n.kind != kindBoolean && !signedBytes(n) {
			s.encoding = &lib.RLEDictionary
		}
	}
	return s
}

// signedBytes tells of decimals that are too long for an integer.
func signedBytes(n *node) bool { return n.kind == kindDecimal && n.precision > 18 }

// longDecimalBytes is how many bytes hold every number of 19, 20, … digits, with its sign.
var longDecimalBytes = [...]int{9, 9, 9, 10, 10, 11, 11, 11, 12, 12, 13, 13, 13, 14, 14, 15, 15, 16, 16, 16}
