package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/itchyny/gojq"

	"millrace/internal/fault"
)

// Which programs are taken: those of jq 1.6 that are functions of the record alone, and whose cost is bounded.
// Unlike a deadline, a bound must not depend on the machine, so that the program is changed before it is compiled: a call of meter.go
// is put in front of every function and operator whose cost lies in its operands. Refused by name:
//   - functions that look at anything but the record, at the machine's zone, or end with more than a result (builtins.go)
//   - $ENV, $__loc__ and names that begin like it; modules
//   - a regular expression or a format of strptime that is no literal; %Z in such a format, which means the machine's zone
//   - assignments to what is not named plainly: .a, .a[0], .[], select(…)
//   - what came after jq 1.6: `if` without `else`, functions that it does not have
//
// Not refused, and different from jq 1.6: whole numbers are exact, where jq 1.6 rounds above 2^53.

// query is a compiled MetadataExtractionQuery.
type query struct {
	code   *gojq.Code
	wanted []string // the names that are asked for; none: all
	// tree has the members that are looked at; nil: the whole record is.
	tree *tree
	// members are set if the query is nothing but an object of paths; by name.
	members []member
	ordered bool // members are in the order of wanted
}

// compileQuery parses, checks and compiles a program.
func compileQuery(source string, wanted []string) (*query, error) {
	parsed, err := gojq.Parse(source)
	if err != nil {
		return nil, invalidQuery("%s", parseError(source, err))
	}
	if len(wanted) > MaxPartitionKeys {
		return nil, fault.New(fault.Invalid, op, "PartitionKeys", "the prefix uses more than %d partition keys", MaxPartitionKeys)
	}
	q := &query{wanted: slices.Clone(wanted)}
	names, static := objectNames(parsed)
	if static {
		if len(names) > MaxPartitionKeys {
			return nil, invalidQuery("it gives more than %d partition keys", MaxPartitionKeys)
		}
		for _, name := range wanted {
			if !slices.Contains(names, name) {
				return nil, invalidQuery("it does not give the partition key %s, which the prefix uses", name)
			}
		}
	}
	if !utf8.ValidString(source) {
		return nil, invalidQuery("it is not UTF-8")
	}
	// What the program looks at is found before the calls of the meter are put in.
	if paths, ok := looksAt(parsed, nil); ok {
		q.tree = newTree(paths)
	}
	if q.tree != nil && static {
		q.plan(parsed)
	}
	c := checker{}
	if err := c.query(parsed); err != nil {
		return nil, err
	}
	if q.code, err = gojq.Compile(parsed, meterOptions()...); err != nil {
		return nil, invalidQuery("%s", err)
	}
	return q, nil
}

func invalidQuery(format string, args ...any) error {
	return fault.New(fault.Invalid, op, "MetadataExtractionQuery", "MetadataExtractionQuery is not a valid JQ 1.6 query: "+format, args...)
}

func unsupportedQuery(format string, args ...any) error {
	return fault.New(fault.Unsupported, op, "MetadataExtractionQuery", "MetadataExtractionQuery: "+format, args...)
}

// parseError adds to an error of the parser where it is.
func parseError(source string, err error) string {
	var p *gojq.ParseError
	if !errors.As(err, &p) {
		return err.Error()
	}
	at := max(min(p.Offset, len(source))-len(p.Token), 0)
	before := source[:at]
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return fmt.Sprintf("%s at line %d, column %d", err, line, column)
}

// evaluate runs the program on a record of a size.
func (q *query) evaluate(input any, size int, dst []Key) ([]Key, *Failure, error) {
	return q.run(newMeter(size), input, size, dst)
}

func (q *query) run(m *meter, input any, size int, dst []Key) (keys []Key, failed *Failure, err error) {
	defer func() {
		// An interpreter that a record can bring to panic must not take the node with it, nor be tried again for ever.
		if recover() != nil {
			keys, failed, err = dst, cannotRun, nil
		}
	}()
	results := q.code.RunWithContext(m, input, m)
	result, ok := results.Next()
	var second any
	more := false
	if _, failed := result.(error); ok && !failed {
		second, more = results.Next()
	}
	switch {
	case m.late:
		return dst, nil, fault.New(fault.Unavailable, "process.Extract", "", "MetadataExtractionQuery took longer than %v for a record of %d bytes", queryTime, size)
	case m.spent():
		return dst, tooCostly, nil
	case !ok:
		return dst, noResult, nil
	}
	for _, r := range [...]any{result, second} {
		if err, failed := r.(error); failed {
			return dst, failure(errorText(err)), nil
		}
	}
	if more {
		return dst, manyResults, nil
	}
	object, ok := result.(map[string]any)
	if !ok {
		return dst, notObject, nil
	}
	keys, failed = q.collect(object, dst)
	return keys, failed, nil
}

// maxErrorText bounds the text of an error: a program may make one of the whole record.
const maxErrorText = 512

func errorText(err error) string {
	text := strings.ToValidUTF8("MetadataExtractionQuery: "+err.Error(), "\ufffd")
	if len(text) <= maxErrorText {
		return text
	}
	cut := maxErrorText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}

// scalar gives what stands in a key for a value.
func scalar(v any) ([]byte, *Failure) {
	switch v := v.(type) {
	case nil:
		return nil, nullOrEmpty
	case string:
		return []byte(v), nil
	case bool:
		return strconv.AppendBool(nil, v), nil
	case json.Number:
		return appendNumber(nil, decodeNumber([]byte(v))), nil
	case float64:
		if v != v {
			return nil, nullOrEmpty // not a number is null in JSON
		}
		return appendNumber(nil, v), nil
	case int, *big.Int:
		return appendNumber(nil, v), nil
	}
	return nil, notScalar
}

// checker goes through a program, refuses what is not taken, and puts in the calls of the meter.
type checker struct {
	defined []string // functions and parameters of the program that can be seen: name/arity
}

func (c *checker) query(q *gojq.Query) error {
	if q == nil {
		return nil
	}
	if len(q.Imports) > 0 || q.Meta != nil {
		return unsupportedQuery("modules are not supported (import, include, module)")
	}
	outside := len(c.defined)
	defer func() { c.defined = c.defined[:outside] }()
	for _, f := range q.FuncDefs {
		if err := c.define(f); err != nil {
			return err
		}
	}
	if q.Term != nil {
		return c.term(q.Term)
	}
	if err := c.patterns(q.Patterns); err != nil {
		return err
	}
	assigns := q.Op >= gojq.OpAssign && q.Op <= gojq.OpUpdateAlt
	if assigns && !plainPath(q.Left) {
		return unsupportedQuery("the left side of %s may only name members and items (.a, .a[0], .[], select(...)): %s", q.Op, q.Left)
	}
	if err := c.query(q.Left); err != nil {
		return err
	}
	if err := c.query(q.Right); err != nil {
		return err
	}
	meterOperator(q)
	return nil
}

func (c *checker) queries(qs ...*gojq.Query) error {
	for _, q := range qs {
		if err := c.query(q); err != nil {
			return err
		}
	}
	return nil
}

// define checks a function that the program defines. It may bear the name of one that is refused.
func (c *checker) define(f *gojq.FuncDef) error {
	c.defined = append(c.defined, f.Name+"/"+strconv.Itoa(len(f.Args)))
	inside := len(c.defined)
	for _, arg := range f.Args {
		if err := c.variable(arg); err != nil {
			return err
		}
		c.defined = append(c.defined, strings.TrimPrefix(arg, "$")+"/0")
	}
	err := c.query(f.Body)
	c.defined = c.defined[:inside]
	return err
}

// variable checks a name with its $. Others are let pass.
func (c *checker) variable(name string) error {
	if name == "$ENV" || strings.HasPrefix(name, "$__") {
		return unsupportedQuery("%s is not supported: %s", name, notOfRecord)
	}
	return nil
}

func (c *checker) patterns(ps []*gojq.Pattern) error {
	for _, p := range ps {
		if err := c.variable(p.Name); err != nil {
			return err
		}
		if err := c.patterns(p.Array); err != nil {
			return err
		}
		for _, o := range p.Object {
			if err := errors.Join(c.variable(o.Key), c.text(o.KeyString), c.query(o.KeyQuery)); err != nil {
				return err
			}
			if o.Val != nil {
				if err := c.patterns([]*gojq.Pattern{o.Val}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (c *checker) term(t *gojq.Term) error {
	if err := c.suffixes(t); err != nil {
		return err
	}
	switch t.Type {
	case gojq.TermTypeIndex:
		return c.index(t.Index)
	case gojq.TermTypeFunc:
		return c.call(t)
	case gojq.TermTypeObject:
		return c.object(t.Object)
	case gojq.TermTypeArray:
		return c.query(t.Array.Query)
	case gojq.TermTypeUnary:
		return c.term(t.Unary.Term)
	case gojq.TermTypeFormat:
		if err := c.text(t.Str); err != nil {
			return err
		}
		if t.Str == nil {
			inFront(t, weigh())
		}
		return nil
	case gojq.TermTypeString:
		return c.text(t.Str)
	case gojq.TermTypeIf:
		return c.branches(t.If)
	case gojq.TermTypeTry:
		return c.queries(t.Try.Body, t.Try.Catch)
	case gojq.TermTypeReduce:
		return errors.Join(c.patterns(t.Reduce.Patterns), c.queries(t.Reduce.Query, t.Reduce.Start, t.Reduce.Update))
	case gojq.TermTypeForeach:
		return errors.Join(c.patterns(t.Foreach.Patterns),
			c.queries(t.Foreach.Query, t.Foreach.Start, t.Foreach.Update, t.Foreach.Extract))
	case gojq.TermTypeLabel:
		return c.query(t.Label.Body)
	case gojq.TermTypeQuery:
		return c.query(t.Query)
	}
	return nil
}

func (c *checker) suffixes(t *gojq.Term) error {
	for _, s := range t.SuffixList {
		if s.Index != nil {
			if err := c.index(s.Index); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) index(i *gojq.Index) error {
	return errors.Join(c.text(i.Str), c.queries(i.Start, i.End))
}

func (c *checker) object(o *gojq.Object) error {
	for _, kv := range o.KeyVals {
		if err := errors.Join(c.variable(kv.Key), c.text(kv.KeyString), c.queries(kv.KeyQuery, kv.Val)); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) branches(i *gojq.If) error {
	if i.Else == nil {
		return unsupportedQuery("if without else is not in JQ 1.6: %s", i)
	}
	for _, e := range i.Elif {
		if err := c.queries(e.Cond, e.Then); err != nil {
			return err
		}
	}
	return c.queries(i.Cond, i.Then, i.Else)
}

// text checks a string, and weighs what is interpolated.
func (c *checker) text(s *gojq.String) error {
	if s == nil {
		return nil
	}
	for i, q := range s.Queries {
		if literal := q.Term != nil && q.Term.Type == gojq.TermTypeString && q.Term.Str.Queries == nil; literal {
			continue
		}
		if err := c.query(q); err != nil {
			return err
		}
		s.Queries[i] = paren(pipe(q, weigh())) // gojq wants a term here
	}
	return nil
}

// call checks the call of a function or the use of a variable.
func (c *checker) call(t *gojq.Term) error {
	f := t.Func
	if err := c.variable(f.Name); err != nil {
		return err
	}
	if err := c.queries(f.Args...); err != nil {
		return err
	}
	signature := f.Name + "/" + strconv.Itoa(len(f.Args))
	if f.Name[0] == '$' || slices.Contains(c.defined, signature) {
		return nil
	}
	cost, known := functions[signature]
	if !known {
		if why, ok := refused[f.Name]; ok {
			return unsupportedQuery("the function %s is not supported: %s", f.Name, why)
		}
		return invalidQuery("there is no function %s", signature)
	}
	return meterCall(t, signature, cost)
}

// meterCall puts in front of a call what its cost asks for.
func meterCall(t *gojq.Term, signature string, cost cost) error {
	f := t.Func
	switch cost {
	case ofInput:
		for i, arg := range f.Args {
			if !isLiteral(arg) {
				f.Args[i] = pipe(arg, weigh())
			}
		}
		inFront(t, weigh())
	case ofProduct:
		// arg as $__r | _product($__meter; $__r) | f($__r)
		arg := f.Args[0]
		f.Args[0] = variable("$__r")
		before := pipe(call("_product", meterVariable, "$__r"), termOf(t))
		*t = gojq.Term{Type: gojq.TermTypeQuery, Query: bind(arg, "$__r", before), SuffixList: t.SuffixList}
	case ofMatch, ofMatches:
		literals := f.Args
		if f.Name == "sub" || f.Name == "gsub" {
			literals = append(slices.Clone(f.Args[:1]), f.Args[2:]...)
		}
		for _, arg := range literals {
			if !isLiteral(arg) {
				return unsupportedQuery("a regular expression and its flags must be literal strings: %s", f)
			}
		}
		if cost == ofMatches && repeats(f) {
			inFront(t, call("_square", meterVariable))
		} else {
			inFront(t, weigh())
		}
	case ofPattern:
		arg := f.Args[0]
		if !isLiteral(arg) || arg.Term.Type != gojq.TermTypeString {
			return unsupportedQuery("the format of strptime must be a literal string: %s", f)
		}
		if zoned(arg.Term.Str.Str) {
			return unsupportedQuery("the name of a zone (%%Z) in the format of strptime is not supported: %s", notOfRecord)
		}
		inFront(t, weigh())
	}
	return nil
}

// repeats reports whether a function looks for all matches. The literals were checked.
func repeats(f *gojq.Func) bool {
	switch f.Name {
	case "match", "capture", "sub":
		flags := f.Args[len(f.Args)-1].Term
		return flags != nil && flags.Type == gojq.TermTypeString && strings.Contains(flags.Str.Str, "g") &&
			(f.Name != "sub" || len(f.Args) == 3)
	}
	return true
}

// zoned reports whether a format of strptime reads the name of a zone: by %Z, or by %+ which holds it.
func zoned(format string) bool {
	for i := 0; i+1 < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		if i++; format[i] == 'Z' || format[i] == '+' {
			return true
		}
	}
	return false
}

// meterOperator puts the meter in front of an operator:
//
//	a + b    b as $__r | a as $__l | _both($__meter; $__l; $__r) | $__l + $__r
//	a += b   b as $__r | a |= (. + $__r, in the same way)
//
// which evaluates both in the order in which jq does.
func meterOperator(q *gojq.Query) {
	name := ""
	switch q.Op {
	case gojq.OpAdd:
		name = "_both"
		if isNumber(q.Left) || isNumber(q.Right) {
			return
		}
	case gojq.OpEq, gojq.OpNe, gojq.OpLt, gojq.OpLe, gojq.OpGt, gojq.OpGe:
		name = "_both"
		if isLiteral(q.Left) || isLiteral(q.Right) {
			return
		}
	case gojq.OpDiv, gojq.OpMod:
		name = "_both"
		if isNumber(q.Right) {
			return
		}
	case gojq.OpSub:
		name = "_difference"
		if isNumber(q.Left) || isNumber(q.Right) {
			return
		}
	case gojq.OpMul:
		name = "_multiplication"
	case gojq.OpUpdateAdd, gojq.OpUpdateSub, gojq.OpUpdateMul, gojq.OpUpdateDiv, gojq.OpUpdateMod:
		plain := &gojq.Query{Left: termOf(&gojq.Term{Type: gojq.TermTypeIdentity}), Op: q.Op - gojq.OpUpdateAdd + gojq.OpAdd, Right: variable("$__r")}
		meterOperator(plain)
		update := &gojq.Query{Left: q.Left, Op: gojq.OpModify, Right: paren(plain)}
		*q = *bind(q.Right, "$__r", update)
		return
	default:
		return
	}
	work := &gojq.Query{Left: variable("$__l"), Op: q.Op, Right: variable("$__r")}
	*q = *bind(q.Right, "$__r", bind(q.Left, "$__l", pipe(call(name, meterVariable, "$__l", "$__r"), work)))
}

// The makers of parts of programs.

func termOf(t *gojq.Term) *gojq.Query {
	inner := *t
	inner.SuffixList = nil
	return &gojq.Query{Term: &inner}
}

func paren(q *gojq.Query) *gojq.Query {
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeQuery, Query: q}}
}

func pipe(left, right *gojq.Query) *gojq.Query {
	return &gojq.Query{Left: left, Op: gojq.OpPipe, Right: right}
}

func bind(q *gojq.Query, name string, body *gojq.Query) *gojq.Query {
	return &gojq.Query{Left: q, Patterns: []*gojq.Pattern{{Name: name}}, Op: gojq.OpPipe, Right: body}
}

func variable(name string) *gojq.Query { return call(name) }

func call(name string, variables ...string) *gojq.Query {
	f := &gojq.Func{Name: name}
	for _, v := range variables {
		f.Args = append(f.Args, variable(v))
	}
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: f}}
}

func weigh() *gojq.Query { return call("_weigh", meterVariable) }

// inFront makes before|t of t, below its suffixes.
func inFront(t *gojq.Term, before *gojq.Query) {
	*t = gojq.Term{Type: gojq.TermTypeQuery, Query: pipe(before, termOf(t)), SuffixList: t.SuffixList}
}

// isLiteral reports whether a part is a literal that is no array and no object.
func isLiteral(q *gojq.Query) bool {
	if q == nil || q.Term == nil || len(q.FuncDefs) > 0 || len(q.Term.SuffixList) > 0 {
		return false
	}
	switch q.Term.Type {
	case gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse, gojq.TermTypeNumber:
		return true
	case gojq.TermTypeString:
		return q.Term.Str.Queries == nil
	}
	return false
}

func isNumber(q *gojq.Query) bool { return isLiteral(q) && q.Term.Type == gojq.TermTypeNumber }

// maxItem bounds the place of an item that is assigned: the array is filled up to there.
const maxItem = 10_000

// plainPath reports whether a part only names members and items, so that assigning to it adds little that is not there.
func plainPath(q *gojq.Query) bool {
	if q == nil || len(q.FuncDefs) > 0 || len(q.Patterns) > 0 {
		return false
	}
	if q.Term == nil {
		return (q.Op == gojq.OpPipe || q.Op == gojq.OpComma) && plainPath(q.Left) && plainPath(q.Right)
	}
	for _, s := range q.Term.SuffixList {
		if s.Index != nil && !plainIndex(s.Index) {
			return false
		}
	}
	switch q.Term.Type {
	case gojq.TermTypeIdentity, gojq.TermTypeRecurse:
		return true
	case gojq.TermTypeIndex:
		return plainIndex(q.Term.Index)
	case gojq.TermTypeQuery:
		return plainPath(q.Term.Query)
	case gojq.TermTypeFunc:
		return q.Term.Func.Name == "select" && len(q.Term.Func.Args) == 1
	}
	return false
}

func plainIndex(i *gojq.Index) bool {
	switch {
	case i.IsSlice:
		return false
	case i.Name != "":
		return true
	case i.Str != nil:
		return i.Str.Queries == nil
	}
	if !isLiteral(i.Start) {
		return false
	}
	if i.Start.Term.Type != gojq.TermTypeNumber {
		return i.Start.Term.Type == gojq.TermTypeString
	}
	n, err := strconv.Atoi(i.Start.Term.Number)
	return err == nil && n <= maxItem
}
