// Package schema compiles the models of a REST API, JSON schemas of draft 4, and
// validates the bodies of requests by them.
//
//	models by name ─ Set.Compile ─> Schema ─ Validate(body) ─> "" or "[why, why]"
//	                 └ santhosh-tekuri/jsonschema: references, cycles, the draft's own schema
//
// The library reads the schemas; bodies are walked by this package. A body is judged
// where it lies, in one pass over its bytes without a tree, numbers are compared as
// the decimals they are, and the work of one body is bounded whatever its schema and
// its sender are up to. The words of a refusal are those of the Java validator that
// the service uses, since they stand in logs and in $context.error.validationErrorString.
//
// Nothing is fetched: a schema refers to models of its own API, to itself, and to the
// draft's own schema, which is compiled in.
package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// urlPrefix begins the URLs of models.
const urlPrefix = "https://apigateway.amazonaws.com/restapis/"

// URL gives the address by which models of an API refer to one another.
func URL(apiID, name string) string { return urlPrefix + apiID + "/models/" + name }

// Set is the models of an API, to be compiled together.
type Set struct {
	apiID    string
	models   map[string]string // schemas by name
	compiler *jsonschema.Compiler
	done     map[*jsonschema.Schema]*node
	byName   map[string]result
}

type result struct {
	schema *Schema
	err    error
}

// NewSet makes a set of the schemas of models by their names.
func NewSet(apiID string, models map[string]string) *Set {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4)
	c.UseLoader(noLoader{URL(apiID, "")})
	c.UseRegexpEngine(pattern)
	return &Set{apiID: apiID, models: models, compiler: c, done: map[*jsonschema.Schema]*node{}, byName: map[string]result{}}
}

// noLoader is asked for what is no model of the set.
type noLoader struct{ models string }

func (l noLoader) Load(url string) (any, error) {
	if name, ok := strings.CutPrefix(url, l.models); ok && l.models != "" {
		return nil, fmt.Errorf("there is no model %s", name)
	}
	return nil, fmt.Errorf("%s is no model of this API; nothing else is loaded", url)
}

// Schema is a compiled model. It is safe for concurrent use.
type Schema struct{ root *node }

// Compile compiles a model with what it refers to, once. A model that can't be compiled leaves the others as they are.
func (s *Set) Compile(name string) (*Schema, error) {
	if r, known := s.byName[name]; known {
		return r.schema, r.err
	}
	compiled, err := s.compile(name)
	s.byName[name] = result{compiled, err}
	return compiled, err
}

func (s *Set) compile(name string) (*Schema, error) {
	if err := s.add(name, map[string]bool{}); err != nil {
		return nil, err
	}
	sch, err := s.compiler.Compile(URL(s.apiID, name))
	if err != nil {
		return nil, shortened(err)
	}
	root, err := s.translate(sch)
	if err != nil {
		return nil, err
	}
	if inCircle(root) {
		return nil, fmt.Errorf("the model %s: references in a circle", name)
	}
	return &Schema{root}, nil
}

// add gives a model and those that it refers to to the compiler.
func (s *Set) add(name string, seen map[string]bool) error {
	if seen[name] {
		return nil
	}
	seen[name] = true
	text, ok := s.models[name]
	if !ok {
		return fmt.Errorf("there is no model %s", name)
	}
	doc, err := parse(text)
	if err != nil {
		return fmt.Errorf("the model %s: %w", name, err)
	}
	if members, ok := doc.(map[string]any); ok {
		delete(members, "$schema") // draft 4 it is, whatever the model says
	}
	var exists *jsonschema.ResourceExistsError
	if err := s.compiler.AddResource(URL(s.apiID, name), doc); err != nil && !errors.As(err, &exists) {
		return err
	}
	for _, ref := range references(doc) {
		if other, ok := strings.CutPrefix(ref, URL(s.apiID, "")); ok {
			other, _, _ = strings.Cut(other, "#")
			if _, there := s.models[other]; !there {
				continue // the compiler misses it, if it is a reference and not a text that looks like one
			}
			if err := s.add(other, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// parse reads a schema, its numbers as texts. A number that nobody could mean is refused: the library would spend its
// time on it, or pass it over.
func parse(text string) (any, error) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	return doc, saneNumbers(doc)
}

// maxSchemaNumber bounds digits and exponent of a number in a schema.
const maxSchemaNumber = 400

func saneNumbers(v any) error {
	switch v := v.(type) {
	case json.Number:
		if d, ok := parseDecimal(string(v)); !ok || len(v) > maxSchemaNumber || d.point > maxSchemaNumber || d.point < -maxSchemaNumber {
			return fmt.Errorf("the number %.40s is out of bounds", string(v))
		}
	case []any:
		for _, item := range v {
			if err := saneNumbers(item); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, member := range v {
			if err := saneNumbers(member); err != nil {
				return err
			}
		}
	}
	return nil
}

// references lists the texts of $ref in a document, also where they may be no references.
func references(v any) (all []string) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			all = append(all, references(item)...)
		}
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			all = append(all, ref)
		}
		for _, member := range v {
			all = append(all, references(member)...)
		}
	}
	return all
}

// shortened makes one line of the library's errors.
func shortened(err error) error {
	var load *jsonschema.LoadURLError
	if errors.As(err, &load) {
		return load.Err
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	return errors.New(text)
}

// node is a compiled schema.
type node struct {
	ref        *node
	types      kinds // 0: any
	enum       []any
	enumTexts  map[string]struct{} // the strings of enum
	enumOthers []any
	all        []*node
	any        []*node
	one        []*node
	not        *node

	object   bool // has rules for objects
	members  map[string]member
	patterns []patternMember
	closed   bool  // additionalProperties is false
	others   *node // additionalProperties
	required []need
	needs    []dependency
	tracked  int // names whose presence is noted
	minProps int // -1: none
	maxProps int

	array      bool
	items      *node
	tuple      []*node
	isTuple    bool
	tupleEnds  bool // additionalItems is false
	otherItems *node
	minItems   int
	maxItems   int
	unique     bool

	minLength   int
	maxLength   int
	pattern     *regexp.Regexp
	patternCost int
	format      *jsonschema.Format

	number        bool
	min, max      *limit
	multipleOf    *big.Rat
	multipleOfInt int64 // the same, when it fits
}

// member is what a schema says of a name.
type member struct {
	schema *node // nil: nothing of its value
	track  int   // index of its presence, -1: none
}

type patternMember struct {
	pattern *regexp.Regexp
	cost    int
	schema  *node
}

// need is a name that has to be present.
type need struct {
	name  string
	track int
}

// dependency is what has to hold when a name is present.
type dependency struct {
	name   string
	track  int
	needs  []need
	schema *node
}

// limit is a minimum or a maximum.
type limit struct {
	text      string
	value     decimal
	exclusive bool
}

// kinds is a set of types.
type kinds uint8

const (
	isNull kinds = 1 << iota
	isBoolean
	isNumber
	isInteger
	isString
	isArray
	isObject
)

var kindNames = []struct {
	kind kinds
	name string
}{ // in the order in which refusals list them
	{isArray, "array"}, {isBoolean, "boolean"}, {isInteger, "integer"}, {isNull, "null"}, {isNumber, "number"}, {isObject, "object"}, {isString, "string"},
}

func (k kinds) names() (all []string) {
	for _, n := range kindNames {
		if k&n.kind != 0 {
			all = append(all, n.name)
		}
	}
	return all
}

// translate makes a node of a schema that the library has read.
func (s *Set) translate(sch *jsonschema.Schema) (*node, error) {
	if sch == nil {
		return nil, nil
	}
	if n := s.done[sch]; n != nil {
		return n, nil
	}
	n := &node{minProps: -1, maxProps: -1, minItems: -1, maxItems: -1, minLength: -1, maxLength: -1}
	s.done[sch] = n
	t := translation{set: s, n: n}
	t.run(sch)
	if t.err != nil {
		delete(s.done, sch)
	}
	return n, t.err
}

// translation is one schema on its way to its node.
type translation struct {
	set *Set
	n   *node
	err error
}

func (t *translation) one(sch *jsonschema.Schema) *node {
	n, err := t.set.translate(sch)
	if err != nil && t.err == nil {
		t.err = err
	}
	return n
}

func (t *translation) list(all []*jsonschema.Schema) (nodes []*node) {
	for _, sch := range all {
		nodes = append(nodes, t.one(sch))
	}
	return nodes
}

func (t *translation) run(sch *jsonschema.Schema) {
	n := t.n
	if sch.Bool != nil { // in draft 4 only the empty schema comes as one
		return
	}
	if sch.DraftVersion != 4 {
		t.err = fmt.Errorf("%s: a part is of another draft of JSON Schema; models are of draft 4", sch.Location)
		return
	}
	if sch.Ref != nil {
		n.ref = t.one(sch.Ref)
		return
	}
	if sch.Types != nil {
		for _, name := range sch.Types.ToStrings() {
			for _, k := range kindNames {
				if k.name == name {
					n.types |= k.kind
				}
			}
		}
		if n.types&isNumber != 0 {
			n.types |= isInteger
		}
	}
	if sch.Enum != nil {
		n.enum, n.enumTexts = sch.Enum.Values, map[string]struct{}{}
		for _, v := range n.enum {
			if text, ok := v.(string); ok {
				n.enumTexts[text] = struct{}{}
			} else {
				n.enumOthers = append(n.enumOthers, v)
			}
		}
	}
	n.all, n.any, n.one, n.not = t.list(sch.AllOf), t.list(sch.AnyOf), t.list(sch.OneOf), t.one(sch.Not)
	t.objects(sch)
	t.arrays(sch)
	t.scalars(sch)
}

func bound(v *int) int {
	if v == nil {
		return -1
	}
	return *v
}

func (t *translation) objects(sch *jsonschema.Schema) {
	n := t.n
	n.members = map[string]member{}
	for name, sub := range sch.Properties {
		n.members[name] = member{t.one(sub), -1}
	}
	for re, sub := range sch.PatternProperties {
		e := re.(*expression)
		n.patterns = append(n.patterns, patternMember{e.re, e.cost, t.one(sub)})
	}
	slices.SortFunc(n.patterns, func(a, b patternMember) int { return strings.Compare(a.pattern.String(), b.pattern.String()) })
	switch additional := sch.AdditionalProperties.(type) {
	case bool:
		n.closed = !additional
	case *jsonschema.Schema:
		n.others = t.one(additional)
	}
	for _, name := range slices.Sorted(slices.Values(sch.Required)) {
		n.required = append(n.required, need{name, n.track(name)})
	}
	for name, what := range sch.Dependencies {
		d := dependency{name: name, track: n.track(name)}
		switch what := what.(type) {
		case []string:
			for _, other := range slices.Sorted(slices.Values(what)) {
				d.needs = append(d.needs, need{other, n.track(other)})
			}
		case *jsonschema.Schema:
			d.schema = t.one(what)
		}
		n.needs = append(n.needs, d)
	}
	slices.SortFunc(n.needs, func(a, b dependency) int { return strings.Compare(a.name, b.name) })
	n.minProps, n.maxProps = bound(sch.MinProperties), bound(sch.MaxProperties)
	n.object = len(n.members) > 0 || len(n.patterns) > 0 || n.closed || n.others != nil || n.minProps >= 0 || n.maxProps >= 0
}

// track notes that the presence of a name counts.
func (n *node) track(name string) int {
	m, declared := n.members[name]
	if !declared {
		m = member{nil, -1}
	}
	if m.track < 0 {
		m.track = n.tracked
		n.tracked++
	}
	n.members[name] = m
	return m.track
}

func (t *translation) arrays(sch *jsonschema.Schema) {
	n := t.n
	switch items := sch.Items.(type) {
	case *jsonschema.Schema:
		n.items = t.one(items)
	case []*jsonschema.Schema:
		n.tuple, n.isTuple = t.list(items), true
		switch additional := sch.AdditionalItems.(type) {
		case bool:
			n.tupleEnds = !additional
		case *jsonschema.Schema:
			n.otherItems = t.one(additional)
		}
	}
	n.minItems, n.maxItems, n.unique = bound(sch.MinItems), bound(sch.MaxItems), sch.UniqueItems
	n.array = n.items != nil || n.isTuple || n.minItems >= 0 || n.maxItems >= 0 || n.unique
}

// assertedFormats are those that the draft defines, but regex: compiling an expression of the sender's choice is work
// that nobody bounds. All other formats are words for the reader.
var assertedFormats = []string{"date-time", "email", "hostname", "ipv4", "ipv6", "uri"}

func (t *translation) scalars(sch *jsonschema.Schema) {
	n := t.n
	n.minLength, n.maxLength = bound(sch.MinLength), bound(sch.MaxLength)
	if sch.Pattern != nil {
		e := sch.Pattern.(*expression)
		n.pattern, n.patternCost = e.re, e.cost
	}
	if sch.Format != nil && slices.Contains(assertedFormats, sch.Format.Name) {
		n.format = sch.Format
	}
	n.min, n.max = newLimit(sch.Minimum, sch.ExclusiveMinimum), newLimit(sch.Maximum, sch.ExclusiveMaximum)
	if n.multipleOf = sch.MultipleOf; n.multipleOf != nil && n.multipleOf.IsInt() && n.multipleOf.Num().IsInt64() {
		n.multipleOfInt = n.multipleOf.Num().Int64()
	}
	n.number = n.min != nil || n.max != nil || n.multipleOf != nil
}

func newLimit(inclusive, exclusive *big.Rat) *limit {
	r := inclusive
	if r == nil {
		r = exclusive
	}
	if r == nil {
		return nil
	}
	text := decimalText(r)
	value, _ := parseDecimal(text)
	return &limit{text, value, inclusive == nil}
}

// decimalText writes a number that came from a decimal text as one.
func decimalText(r *big.Rat) string {
	digits, _ := r.FloatPrec()
	return r.FloatString(digits)
}

// inCircle reports whether judging a value by a schema leads back to judging the same value by the same schema.
func inCircle(root *node) bool {
	const (
		open = iota + 1
		closed
	)
	state := map[*node]int{}
	var here func(n *node) bool
	here = func(n *node) bool {
		if n == nil || state[n] == closed {
			return false
		}
		if state[n] == open {
			return true
		}
		state[n] = open
		circle := here(n.ref) || here(n.not)
		for _, list := range [][]*node{n.all, n.any, n.one} {
			for _, sub := range list {
				circle = circle || here(sub)
			}
		}
		for _, d := range n.needs {
			circle = circle || here(d.schema)
		}
		state[n] = closed
		return circle
	}
	seen := map[*node]bool{}
	var below func(n *node) bool
	below = func(n *node) bool {
		if n == nil || seen[n] {
			return false
		}
		seen[n] = true
		found := here(n)
		for _, sub := range n.children() {
			found = found || below(sub)
		}
		return found
	}
	return below(root)
}

func (n *node) children() []*node {
	all := slices.Concat([]*node{n.ref, n.not, n.others, n.items, n.otherItems}, n.all, n.any, n.one, n.tuple)
	for _, m := range n.members {
		all = append(all, m.schema)
	}
	for _, p := range n.patterns {
		all = append(all, p.schema)
	}
	for _, d := range n.needs {
		all = append(all, d.schema)
	}
	return all
}

// expression is a pattern; it is looked for anywhere in a text, as ECMA 262 does.
type expression struct {
	re     *regexp.Regexp
	cost   int // of a byte that it reads, in units of work
	source string
}

func (e *expression) String() string               { return e.source }
func (e *expression) MatchString(text string) bool { return e.re.MatchString(text) }

// pattern compiles an expression of ECMA 262. What Go's expressions can't do, looking around and back references, is
// an error: they would take time without bound.
func pattern(source string) (jsonschema.Regexp, error) {
	translated := unicodeEscapes(source)
	re, err := regexp.Compile(translated)
	if err != nil {
		return nil, fmt.Errorf("the pattern %q is not supported by this version of Millrace: %w", source, err)
	}
	return &expression{re, cost(translated), source}, nil
}

// instructionsPerUnit is how many states of an expression count as one unit of work a byte: at worst it is in all of
// them at once.
const instructionsPerUnit = 2

func cost(source string) int {
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return 1
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return 1
	}
	return 1 + len(prog.Inst)/instructionsPerUnit
}

// unicodeEscapes writes \u1234 and \cX the way that Go reads them.
func unicodeEscapes(source string) string {
	if !strings.Contains(source, `\u`) && !strings.Contains(source, `\c`) {
		return source
	}
	var b strings.Builder
	for i := 0; i < len(source); i++ {
		if source[i] != '\\' || i+1 == len(source) {
			b.WriteByte(source[i])
			continue
		}
		switch c := source[i+1]; {
		case c == 'u' && i+6 <= len(source):
			b.WriteString(`\x{` + source[i+2:i+6] + `}`)
			i += 5
		case c == 'c' && i+3 <= len(source):
			fmt.Fprintf(&b, `\x%02x`, source[i+2]&0x1f)
			i += 2
		default:
			b.WriteString(source[i : i+2])
			i++
		}
	}
	return b.String()
}
