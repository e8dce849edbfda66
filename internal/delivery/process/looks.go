package process

import (
	"slices"
	"strings"

	"github.com/itchyny/gojq"
)

// looksAt gives the members of the record that a part of a program looks at, as paths from the record, when the part
// is run on the record itself. ok is false if that can't be told.
//
// What is behind a path, the right side of a pipe, works on what the path has found, and sees no other part of the record.
func looksAt(q *gojq.Query, paths [][]string) (all [][]string, ok bool) {
	if q == nil || len(q.FuncDefs) > 0 || len(q.Patterns) > 0 || len(q.Imports) > 0 || q.Meta != nil {
		return nil, false
	}
	if path, ok := pathOf(q); ok {
		return append(paths, path), true
	}
	if q.Term == nil {
		switch q.Op {
		case gojq.OpPipe:
			return looksAt(q.Left, paths)
		case gojq.OpComma, gojq.OpAdd, gojq.OpSub, gojq.OpMul, gojq.OpDiv, gojq.OpMod, gojq.OpEq, gojq.OpNe, gojq.OpGt, gojq.OpLt,
			gojq.OpGe, gojq.OpLe, gojq.OpAnd, gojq.OpOr, gojq.OpAlt:
			if paths, ok = looksAt(q.Left, paths); !ok {
				return nil, false
			}
			return looksAt(q.Right, paths)
		}
		return nil, false
	}
	return termLooksAt(q.Term, paths)
}

func termLooksAt(t *gojq.Term, paths [][]string) (all [][]string, ok bool) {
	// A term with suffixes: those without a query of their own look at what the term has found.
	for _, s := range t.SuffixList {
		if s.Index != nil && !plainIndex(s.Index) {
			return nil, false
		}
	}
	switch t.Type {
	case gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse, gojq.TermTypeNumber:
		return paths, true
	case gojq.TermTypeIdentity, gojq.TermTypeIndex:
		return indexLooksAt(t, paths)
	case gojq.TermTypeString:
		return textLooksAt(t.Str, paths)
	case gojq.TermTypeFormat:
		if t.Str == nil {
			return nil, false
		}
		return textLooksAt(t.Str, paths)
	case gojq.TermTypeQuery:
		return looksAt(t.Query, paths)
	case gojq.TermTypeArray:
		if t.Array.Query == nil {
			return paths, true
		}
		return looksAt(t.Array.Query, paths)
	case gojq.TermTypeIf:
		return branchesLookAt(t.If, paths)
	case gojq.TermTypeObject:
		return objectLooksAt(t.Object, paths)
	}
	return nil, false
}

// indexLooksAt is of a path that goes on with items or the like: .a.b[0], .a[]. It looks at its beginning.
func indexLooksAt(t *gojq.Term, paths [][]string) (all [][]string, ok bool) {
	for n := len(t.SuffixList); n >= 0; n-- {
		front := *t
		front.SuffixList = t.SuffixList[:n]
		if path, ok := pathOf(&gojq.Query{Term: &front}); ok {
			return append(paths, path), len(path) > 0
		}
	}
	return nil, false
}

func textLooksAt(s *gojq.String, paths [][]string) (all [][]string, ok bool) {
	for _, q := range s.Queries {
		if paths, ok = looksAt(q, paths); !ok {
			return nil, false
		}
	}
	return paths, true
}

func branchesLookAt(i *gojq.If, paths [][]string) (all [][]string, ok bool) {
	parts := []*gojq.Query{i.Cond, i.Then, i.Else}
	for _, e := range i.Elif {
		parts = append(parts, e.Cond, e.Then)
	}
	for _, q := range parts {
		if paths, ok = looksAt(q, paths); !ok {
			return nil, false
		}
	}
	return paths, true
}

func objectLooksAt(o *gojq.Object, paths [][]string) (all [][]string, ok bool) {
	for _, kv := range o.KeyVals {
		name, ok := keyName(kv)
		if !ok {
			return nil, false
		}
		if kv.Val == nil {
			paths = append(paths, []string{name})
		} else if paths, ok = looksAt(kv.Val, paths); !ok {
			return nil, false
		}
	}
	return paths, true
}

// keyName gives the name of an object's member that is no expression.
func keyName(kv *gojq.ObjectKeyVal) (name string, ok bool) {
	switch {
	case kv.KeyString != nil:
		return kv.KeyString.Str, kv.KeyString.Queries == nil
	case kv.Key != "":
		return kv.Key, kv.Key[0] != '$'
	}
	return "", false
}

// pathOf gives the path of .a.b, ."a"["b"], .a|.b and the like; that of . is empty.
func pathOf(q *gojq.Query) (path []string, ok bool) {
	if q == nil || len(q.FuncDefs) > 0 || len(q.Patterns) > 0 || len(q.Imports) > 0 || q.Meta != nil {
		return nil, false
	}
	if q.Term == nil {
		left, ok := pathOf(q.Left)
		if !ok || q.Op != gojq.OpPipe {
			return nil, false
		}
		right, ok := pathOf(q.Right)
		return slices.Concat(left, right), ok
	}
	t := q.Term
	switch t.Type {
	case gojq.TermTypeIdentity:
	case gojq.TermTypeIndex:
		if path, ok = appendIndex(path, t.Index); !ok {
			return nil, false
		}
	case gojq.TermTypeQuery:
		if path, ok = pathOf(t.Query); !ok {
			return nil, false
		}
	default:
		return nil, false
	}
	for _, s := range t.SuffixList {
		if s.Index == nil {
			return nil, false
		}
		if path, ok = appendIndex(path, s.Index); !ok {
			return nil, false
		}
	}
	return path, true
}

func appendIndex(path []string, i *gojq.Index) ([]string, bool) {
	switch {
	case i.IsSlice:
		return nil, false
	case i.Name != "":
		return append(path, i.Name), true
	case i.Str != nil && i.Str.Queries == nil:
		return append(path, i.Str.Str), true
	case i.Start != nil && isLiteral(i.Start) && i.Start.Term.Type == gojq.TermTypeString:
		return append(path, i.Start.Term.Str.Str), true
	}
	return nil, false
}

// objectOf gives the object that a program builds.
func objectOf(q *gojq.Query) (o *gojq.Object, ok bool) {
	if q == nil || q.Term == nil || len(q.FuncDefs) > 0 || len(q.Imports) > 0 || q.Meta != nil || len(q.Term.SuffixList) > 0 {
		return nil, false
	}
	switch q.Term.Type {
	case gojq.TermTypeQuery:
		return objectOf(q.Term.Query)
	case gojq.TermTypeObject:
		return q.Term.Object, true
	}
	return nil, false
}

// objectNames gives the names of the object that a program builds, if it is nothing but that object, and they
// are no expressions.
func objectNames(q *gojq.Query) (names []string, static bool) {
	o, ok := objectOf(q)
	if !ok {
		return nil, false
	}
	for _, kv := range o.KeyVals {
		name, ok := keyName(kv)
		if !ok {
			return nil, false
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, true
}

// plan sets the members, if every one is a path.
func (q *query) plan(program *gojq.Query) {
	o, _ := objectOf(program)
	members := []member{}
	for _, kv := range o.KeyVals {
		name, _ := keyName(kv)
		path, text, ok := []string{name}, false, true
		if kv.Val != nil {
			path, text, ok = valuePath(kv.Val)
		}
		if !ok || len(path) == 0 {
			return
		}
		m := member{name: name, text: text, way: []int{0}, wanted: q.rank(name)}
		if len(q.wanted) == 0 {
			m.wanted = 0
		}
		for n := range path {
			m.way = append(m.way, q.tree.at(path[:n+1]))
		}
		if again := slices.IndexFunc(members, func(m member) bool { return m.name == name }); again >= 0 {
			return // whatever the first one's error is, gojq knows
		}
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	q.members = members
	q.ordered = len(q.wanted) == 0
	if !q.ordered {
		asked := slices.DeleteFunc(slices.Clone(members), func(m member) bool { return m.wanted < 0 })
		q.ordered = slices.IsSortedFunc(asked, func(a, b member) int { return a.wanted - b.wanted })
	}
}

// valuePath gives the path of a member's value, and whether |tostring follows.
func valuePath(q *gojq.Query) (path []string, text, ok bool) {
	if path, ok = pathOf(q); ok {
		return path, false, true
	}
	if q.Term != nil && q.Term.Type == gojq.TermTypeQuery && len(q.Term.SuffixList) == 0 && len(q.FuncDefs) == 0 {
		return valuePath(q.Term.Query)
	}
	if q.Term == nil && q.Op == gojq.OpPipe && len(q.Patterns) == 0 && len(q.FuncDefs) == 0 {
		right := q.Right.Term
		if right != nil && right.Type == gojq.TermTypeFunc && right.Func.Name == "tostring" && len(right.Func.Args) == 0 &&
			len(right.SuffixList) == 0 && len(q.Right.FuncDefs) == 0 {
			path, ok = pathOf(q.Left)
			return path, true, ok
		}
	}
	return nil, false, false
}
