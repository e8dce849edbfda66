package payload

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"millrace/vtl"
)

const (
	// maxPathBytes bounds a JSONPath.
	maxPathBytes = 4096
	// maxPaths bounds the cache of compiled paths; templates use few, and mostly constant ones.
	maxPaths = 1024
	// maxFilterDepth bounds how deep a filter nests.
	maxFilterDepth = 50
)

// Path is a compiled JSONPath.
type Path struct {
	steps    []step
	definite bool
	length   bool // ends in .length()
}

// step is one token of a path.
type step struct {
	kind  stepKind
	names []string
	index []int
	slice [3]*int
	where *filter
	deep  bool // ".." stands before it
}

type stepKind uint8

const (
	byName stepKind = iota
	byIndex
	bySlice
	wildcard
	byFilter
)

var paths struct {
	sync.RWMutex
	m map[string]*Path
}

// CompilePath compiles a JSONPath; "$" in front may be missing.
func CompilePath(text string) (*Path, error) {
	paths.RLock()
	p := paths.m[text]
	paths.RUnlock()
	if p != nil {
		return p, nil
	}
	if len(text) > maxPathBytes {
		return nil, fmt.Errorf("a JSONPath of %d bytes; at most %d are allowed", len(text), maxPathBytes)
	}
	text = strings.Clone(text) // the caller's may lie in an arena
	p, err := parsePath(text)
	if err != nil {
		return nil, err
	}
	paths.Lock()
	defer paths.Unlock()
	if paths.m == nil || len(paths.m) >= maxPaths {
		paths.m = map[string]*Path{}
	}
	paths.m[text] = p
	return p, nil
}

type pathParser struct {
	src   string
	pos   int
	depth int
}

func (p *pathParser) fail(what string) error {
	return fmt.Errorf("the JSONPath %q is invalid at byte %d: %s", p.src, p.pos, what)
}

func parsePath(text string) (*Path, error) {
	p := &pathParser{src: strings.TrimSpace(text)}
	switch {
	case strings.HasPrefix(p.src, "$"), strings.HasPrefix(p.src, "@"):
		p.pos = 1
	case strings.HasPrefix(p.src, "["), strings.HasPrefix(p.src, "."):
	default:
		p.src = "." + p.src
	}
	path, err := p.path()
	if err != nil {
		return nil, err
	}
	if p.pos != len(p.src) {
		return nil, p.fail("there is something behind its end")
	}
	return path, nil
}

// path reads steps as long as there are some.
func (p *pathParser) path() (*Path, error) {
	path := &Path{definite: true}
	for p.pos < len(p.src) && (p.src[p.pos] == '.' || p.src[p.pos] == '[') {
		s, err := p.step()
		if err != nil {
			return nil, err
		}
		if s.kind == byName && len(s.names) == 1 && strings.HasPrefix(p.src[p.pos:], "()") {
			if s.names[0] != "length" && s.names[0] != "size" || s.deep {
				return nil, p.fail("of the functions only length() is known")
			}
			p.pos += 2
			path.length = true
			return path, nil
		}
		if s.deep || s.kind == wildcard || s.kind == bySlice || s.kind == byFilter || len(s.index) > 1 {
			path.definite = false
		}
		path.steps = append(path.steps, s)
	}
	return path, nil
}

func (p *pathParser) step() (s step, err error) {
	if p.src[p.pos] == '.' {
		p.pos++
		if p.pos < len(p.src) && p.src[p.pos] == '.' {
			s.deep = true
			p.pos++
		}
		if p.pos == len(p.src) {
			return s, p.fail("it can't end in a dot")
		}
		if p.src[p.pos] != '[' {
			return s, p.dotted(&s)
		}
		if !s.deep {
			return s, p.fail("a name is missing")
		}
	}
	return s, p.bracket(&s)
}

func (p *pathParser) dotted(s *step) error {
	if p.src[p.pos] == '*' {
		s.kind = wildcard
		p.pos++
		return nil
	}
	start := p.pos
	for p.pos < len(p.src) && !strings.ContainsRune(".[]()=!<>&|, \t'\"", rune(p.src[p.pos])) {
		p.pos++
	}
	if p.pos == start {
		return p.fail("a name is missing")
	}
	s.names = []string{p.src[start:p.pos]}
	return nil
}

func (p *pathParser) space() {
	for p.pos < len(p.src) && (p.src[p.pos] == ' ' || p.src[p.pos] == '\t') {
		p.pos++
	}
}

func (p *pathParser) bracket(s *step) (err error) {
	p.pos++ // [
	p.space()
	if p.pos == len(p.src) {
		return p.fail("[ is not closed")
	}
	switch c := p.src[p.pos]; {
	case c == '*':
		s.kind = wildcard
		p.pos++
	case c == '\'' || c == '"':
		err = p.nameList(s)
	case c == '?':
		s.kind = byFilter
		s.where, err = p.filter()
	default:
		err = p.indexes(s)
	}
	if err != nil {
		return err
	}
	p.space()
	if p.pos == len(p.src) || p.src[p.pos] != ']' {
		return p.fail("] is missing")
	}
	p.pos++
	return nil
}

func (p *pathParser) nameList(s *step) error {
	for {
		p.space()
		name, err := p.quoted()
		if err != nil {
			return err
		}
		s.names = append(s.names, name)
		p.space()
		if p.pos == len(p.src) || p.src[p.pos] != ',' {
			return nil
		}
		p.pos++
	}
}

func (p *pathParser) quoted() (string, error) {
	if p.pos == len(p.src) || p.src[p.pos] != '\'' && p.src[p.pos] != '"' {
		return "", p.fail("a quoted name is missing")
	}
	quote := p.src[p.pos]
	p.pos++
	var b strings.Builder
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		p.pos++
		switch {
		case c == quote:
			return b.String(), nil
		case c == '\\' && p.pos < len(p.src):
			b.WriteByte(p.src[p.pos])
			p.pos++
		default:
			b.WriteByte(c)
		}
	}
	return "", p.fail("a quote is not closed")
}

func (p *pathParser) integer() (int, bool) {
	start := p.pos
	if p.pos < len(p.src) && p.src[p.pos] == '-' {
		p.pos++
	}
	for p.pos < len(p.src) && p.src[p.pos] >= '0' && p.src[p.pos] <= '9' {
		p.pos++
	}
	n, err := strconv.ParseInt(p.src[start:p.pos], 10, 32)
	if err != nil {
		p.pos = start
	}
	return int(n), err == nil
}

func (p *pathParser) indexes(s *step) error {
	n, ok := p.integer()
	p.space()
	if p.pos < len(p.src) && p.src[p.pos] == ':' {
		s.kind = bySlice
		if ok {
			s.slice[0] = &n
		}
		for i := 1; i < 3 && p.pos < len(p.src) && p.src[p.pos] == ':'; i++ {
			p.pos++
			p.space()
			if m, ok := p.integer(); ok {
				s.slice[i] = &m
			}
			p.space()
		}
		if s.slice[2] != nil && *s.slice[2] != 1 {
			return p.fail("the step of a slice can only be 1")
		}
		return nil
	}
	if !ok {
		return p.fail("an index, a slice, a quoted name, * or ? is missing")
	}
	s.kind, s.index = byIndex, []int{n}
	for p.pos < len(p.src) && p.src[p.pos] == ',' {
		p.pos++
		p.space()
		n, ok := p.integer()
		if !ok {
			return p.fail("an index is missing")
		}
		s.index = append(s.index, n)
		p.space()
	}
	return nil
}

// Find gives what the path means in root. A definite path gives a value, or found is false; one with a wildcard, a
// slice, a filter or ".." gives an array, empty when nothing fits.
func (p *Path) Find(root vtl.Value, rt *vtl.Runtime) (v vtl.Value, found bool, err error) {
	if p.definite {
		v = root
		for i := range p.steps {
			if v, found = p.steps[i].one(v); !found {
				return vtl.Value{}, false, nil
			}
		}
	} else {
		f := finder{rt: rt}
		if err := f.walk(root, p.steps); err != nil {
			return vtl.Value{}, false, err
		}
		v = vtl.FromList(&vtl.List{Items: f.found, Flavor: vtl.JSONArray})
	}
	if p.length {
		return lengthOf(v)
	}
	return v, true, nil
}

func lengthOf(v vtl.Value) (vtl.Value, bool, error) {
	if l := v.List(); l != nil {
		return vtl.Int(int64(len(l.Items))), true, nil
	}
	if m := v.Map(); m != nil {
		return vtl.Int(int64(m.Len())), true, nil
	}
	return vtl.Value{}, false, nil
}

// one goes a definite step.
func (s *step) one(v vtl.Value) (vtl.Value, bool) {
	if s.kind == byIndex {
		l := v.List()
		if l == nil {
			return vtl.Value{}, false
		}
		i := s.index[0]
		if i < 0 {
			i += len(l.Items)
		}
		if i < 0 || i >= len(l.Items) {
			return vtl.Value{}, false
		}
		return l.Items[i], true
	}
	m := v.Map()
	if m == nil {
		return vtl.Value{}, false
	}
	if len(s.names) == 1 {
		return m.Get(vtl.String(s.names[0]))
	}
	some := &vtl.Map{}
	for _, name := range s.names {
		if v, ok := m.Get(vtl.String(name)); ok {
			some.Put(vtl.String(name), v)
		}
	}
	return vtl.FromMap(some), true
}

type finder struct {
	rt    *vtl.Runtime
	found []vtl.Value
	depth int
}

func (f *finder) charge() error {
	if f.rt == nil {
		return nil
	}
	return f.rt.Charge(1)
}

func (f *finder) walk(v vtl.Value, steps []step) error {
	if err := f.charge(); err != nil {
		return err
	}
	if len(steps) == 0 {
		if f.rt != nil {
			if err := f.rt.Alloc(valueBytes); err != nil {
				return err
			}
		}
		f.found = append(f.found, v)
		return nil
	}
	s := &steps[0]
	if s.deep {
		return f.descend(v, steps)
	}
	return f.step(s, v, steps[1:])
}

// descend takes the step here and in everything below, parents first.
func (f *finder) descend(v vtl.Value, steps []step) error {
	if f.depth++; f.depth > 2*maxDepth {
		return errNested
	}
	defer func() { f.depth-- }()
	if err := f.charge(); err != nil {
		return err
	}
	if err := f.step(&steps[0], v, steps[1:]); err != nil {
		return err
	}
	return children(v, func(kid vtl.Value) error { return f.descend(kid, steps) })
}

func children(v vtl.Value, visit func(vtl.Value) error) error {
	if l := v.List(); l != nil {
		for _, item := range l.Items {
			if err := visit(item); err != nil {
				return err
			}
		}
	}
	if m := v.Map(); m != nil {
		for _, e := range m.Entries() {
			if err := visit(e.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *finder) step(s *step, v vtl.Value, rest []step) error {
	switch s.kind {
	case wildcard:
		return children(v, func(kid vtl.Value) error { return f.walk(kid, rest) })
	case byFilter:
		test := func(kid vtl.Value) error {
			ok, err := s.where.holds(kid, f)
			if err != nil || !ok {
				return err
			}
			return f.walk(kid, rest)
		}
		if v.List() != nil {
			return children(v, test)
		}
		if v.Map() != nil {
			return test(v)
		}
		return nil
	case bySlice:
		if l := v.List(); l != nil {
			from, to := bounds(s.slice[0], s.slice[1], len(l.Items))
			for i := from; i < to; i++ {
				if err := f.walk(l.Items[i], rest); err != nil {
					return err
				}
			}
		}
		return nil
	case byIndex:
		for _, i := range s.index {
			one := step{kind: byIndex, index: []int{i}}
			if kid, ok := one.one(v); ok {
				if err := f.walk(kid, rest); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if kid, ok := s.one(v); ok {
		return f.walk(kid, rest)
	}
	return nil
}

func bounds(first, last *int, n int) (from, to int) {
	to = n
	clamp := func(i int) int {
		if i < 0 {
			i += n
		}
		return min(max(i, 0), n)
	}
	if first != nil {
		from = clamp(*first)
	}
	if last != nil {
		to = clamp(*last)
	}
	return from, to
}
