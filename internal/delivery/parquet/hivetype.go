package parquet

import (
	"fmt"
	"strconv"
	"strings"

	"millrace/internal/fault"
)

// Bounds of a schema.
const (
	maxLeaves     = 1000   // columns of the file: each costs its writer some tens of KiB whatever it holds
	maxTypeDepth  = 16     // of array, map and struct in one another
	maxTypeLength = 131072 // characters of a type, as in the Glue API
	maxNameLength = 255    // bytes of a column's or field's name, as in the Glue API
)

// kind is what a node of the schema holds.
type kind uint8

const (
	kindString kind = iota
	kindVarchar
	kindChar
	kindBinary
	kindBoolean
	kindTinyint
	kindSmallint
	kindInt
	kindBigint
	kindFloat
	kindDouble
	kindDecimal
	kindDate
	kindTimestamp
	kindStruct
	kindArray
	kindMap
)

var kindNames = [...]string{
	kindString: "string", kindVarchar: "varchar", kindChar: "char", kindBinary: "binary", kindBoolean: "boolean",
	kindTinyint: "tinyint", kindSmallint: "smallint", kindInt: "int", kindBigint: "bigint", kindFloat: "float", kindDouble: "double",
	kindDecimal: "decimal", kindDate: "date", kindTimestamp: "timestamp", kindStruct: "struct", kindArray: "array", kindMap: "map",
}

func (k kind) String() string { return kindNames[k] }

// primitives are the types without parameters, and their synonyms.
var primitives = map[string]kind{
	"string": kindString, "binary": kindBinary, "boolean": kindBoolean, "tinyint": kindTinyint, "smallint": kindSmallint,
	"int": kindInt, "integer": kindInt, "bigint": kindBigint, "float": kindFloat, "double": kindDouble, "date": kindDate,
	"timestamp": kindTimestamp,
}

// node is one node of the schema: a column, a field, an element. It is immutable once compiled.
type node struct {
	kind kind
	name string
	path string // "address.tags.element", for messages

	leaf, leafEnd int // the leaves below: [leaf, leafEnd)
	// Levels of Parquet: how many repeated ancestors there are, and how many optional or repeated nodes are defined when
	// this one is.
	rep, def uint8

	fields []*node        // struct; array: the element; map: key and value
	index  map[string]int // struct: a field by the JSON key it is read from
	slot   int            // struct: its first place in decoder.seen
	cache  int            // struct: its place in decoder.caches

	length           int // varchar, char: characters; decimal on bytes: bytes
	precision, scale int
}

// typeParser reads a Hive type such as map<string,array<struct<id:int,price:decimal(10,2)>>>.
type typeParser struct {
	text string
	pos  int
}

func parseType(text string) (*node, error) {
	if len(text) > maxTypeLength {
		return nil, fmt.Errorf("its type has more than %d characters", maxTypeLength)
	}
	p := typeParser{text: text}
	n, err := p.parse(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.pos < len(p.text) {
		return nil, fmt.Errorf("unexpected %q after its type", p.rest())
	}
	return n, nil
}

func (p *typeParser) parse(depth int) (*node, error) {
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("its type is nested deeper than %d", maxTypeDepth)
	}
	name := strings.ToLower(p.word())
	if k, ok := primitives[name]; ok {
		return &node{kind: k}, nil
	}
	switch name {
	case "char", "varchar":
		return p.characters(name)
	case "decimal", "numeric", "dec":
		return p.decimal()
	case "array", "map", "struct":
		return p.nested(name, depth)
	case "":
		return nil, fmt.Errorf("a type is missing at %q", p.rest())
	default:
		return nil, fmt.Errorf("type %q is not supported", name)
	}
}

func (p *typeParser) characters(name string) (*node, error) {
	args, err := p.arguments()
	if err != nil {
		return nil, err
	}
	k, most := kindVarchar, 65535
	if name == "char" {
		k, most = kindChar, 255
	}
	if len(args) != 1 || args[0] < 1 || args[0] > most {
		return nil, fmt.Errorf("%s wants a length from 1 to %d", name, most)
	}
	return &node{kind: k, length: args[0]}, nil
}

func (p *typeParser) decimal() (*node, error) {
	args, err := p.arguments()
	if err != nil {
		return nil, err
	}
	n := &node{kind: kindDecimal, precision: 10}
	if len(args) > 0 {
		n.precision = args[0]
	}
	if len(args) > 1 {
		n.scale = args[1]
	}
	if len(args) > 2 || n.precision < 1 || n.precision > 38 || n.scale < 0 || n.scale > n.precision {
		return nil, fmt.Errorf("decimal wants a precision from 1 to 38 and a scale from 0 to the precision")
	}
	return n, nil
}

// arguments reads (1,2), which may be absent.
func (p *typeParser) arguments() ([]int, error) {
	if !p.take('(') {
		return nil, nil
	}
	var args []int
	for {
		n, err := strconv.Atoi(p.word())
		if err != nil || len(args) == 2 {
			return nil, fmt.Errorf("a number of few digits is expected before %q", p.rest())
		}
		args = append(args, n)
		if p.take(')') {
			return args, nil
		}
		if !p.take(',') {
			return nil, fmt.Errorf("')' is expected at %q", p.rest())
		}
	}
}

func (p *typeParser) nested(name string, depth int) (*node, error) {
	if !p.take('<') {
		return nil, fmt.Errorf("'<' is expected after %s", name)
	}
	var n *node
	var err error
	switch name {
	case "array":
		n, err = p.array(depth)
	case "map":
		n, err = p.mapping(depth)
	default:
		n, err = p.structure(depth)
	}
	if err != nil {
		return nil, err
	}
	if !p.take('>') {
		return nil, fmt.Errorf("'>' is expected at %q", p.rest())
	}
	return n, nil
}

func (p *typeParser) array(depth int) (*node, error) {
	element, err := p.parse(depth + 1)
	if err != nil {
		return nil, err
	}
	element.name = "element"
	return &node{kind: kindArray, fields: []*node{element}}, nil
}

func (p *typeParser) mapping(depth int) (*node, error) {
	key, err := p.parse(depth + 1)
	if err != nil {
		return nil, err
	}
	if key.kind >= kindStruct || key.kind == kindBinary {
		return nil, fmt.Errorf("the key of a map is a scalar, not %s", key.kind)
	}
	if !p.take(',') {
		return nil, fmt.Errorf("',' is expected at %q", p.rest())
	}
	value, err := p.parse(depth + 1)
	if err != nil {
		return nil, err
	}
	key.name, value.name = "key", "value"
	return &node{kind: kindMap, fields: []*node{key, value}}, nil
}

func (p *typeParser) structure(depth int) (*node, error) {
	n := &node{kind: kindStruct}
	known := map[string]bool{}
	for {
		name := p.fieldName()
		if err := checkName(name, known); err != nil {
			return nil, err
		}
		if !p.take(':') {
			return nil, fmt.Errorf("':' is expected after field %q", name)
		}
		field, err := p.parse(depth + 1)
		if err != nil {
			return nil, err
		}
		field.name = name
		if n.fields = append(n.fields, field); len(n.fields) > maxLeaves {
			return nil, fmt.Errorf("a struct has more than %d fields", maxLeaves)
		}
		if !p.take(',') {
			return n, nil
		}
	}
}

// checkName judges the name of a column or field; names that differ in case only are one to Hive.
func checkName(name string, known map[string]bool) error {
	switch low := strings.ToLower(name); {
	case name == "":
		return fmt.Errorf("a name is missing")
	case len(name) > maxNameLength:
		return fmt.Errorf("the name %q has more than %d bytes", name[:32]+"…", maxNameLength)
	case known[low]:
		return fmt.Errorf("the name %q stands twice", name)
	default:
		known[low] = true
		return nil
	}
}

func (p *typeParser) space() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *typeParser) take(c byte) bool {
	if p.space(); p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *typeParser) word() string {
	p.space()
	start := p.pos
	for p.pos < len(p.text) && strings.IndexByte("()<>,: \t\r\n", p.text[p.pos]) < 0 {
		p.pos++
	}
	return p.text[start:p.pos]
}

// fieldName reads a name, which may stand in backquotes.
func (p *typeParser) fieldName() string {
	if !p.take('`') {
		return p.word()
	}
	end := strings.IndexByte(p.text[p.pos:], '`')
	if end < 0 {
		return ""
	}
	name := p.text[p.pos : p.pos+end]
	p.pos += end + 1
	return name
}

// rest is the beginning of what is left, for messages.
func (p *typeParser) rest() string {
	rest := p.text[p.pos:]
	if len(rest) > 20 {
		rest = rest[:20]
	}
	return rest
}

func invalid(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "parquet.Compile", "", format, args...)
}
