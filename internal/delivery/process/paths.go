package process

import (
	"bytes"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

// Most queries look at a few members of a record, {customer: .customer_id, y: .ts|strftime("%Y")}, and build one object.
// For them a record is not made into a tree: one pass checks that it is JSON and notes where those members lie. If all that
// the query does is to name them, their text is the result, else gojq gets a tree that holds nothing else.
// Whatever is not plain (a member of a string, an array as a value) is left to gojq, whose word on it counts.

// tree names the members that a query looks at. Nodes are numbered so that those below a node follow it.
type tree struct {
	nodes []node
	pool  sync.Pool // of *[]place, one for each node
}

type node struct {
	name     string
	children []int // by number
	last     int   // the last node below, or the node itself
	whole    bool  // its value is looked at, not only members of it
}

// place is where a node's value lies in a record.
type place struct {
	from, to int // to is 0 if the record has none
}

// maxNodes bounds the members: a query that names more is left to gojq with the whole record.
const maxNodes = 256

// newTree makes the tree of some paths. Nil: there are too many, or one of them is the record itself.
func newTree(paths [][]string) *tree {
	t := new(tree)
	slices.SortFunc(paths, slices.Compare[[]string])
	t.add(paths, 0, "")
	if len(t.nodes) > maxNodes || t.nodes[0].whole {
		return nil
	}
	t.pool.New = func() any { s := make([]place, len(t.nodes)); return &s }
	return t
}

// add makes the node of paths that share their first names, and all below it.
func (t *tree) add(paths [][]string, depth int, name string) {
	at := len(t.nodes)
	t.nodes = append(t.nodes, node{name: name})
	for i := 0; i < len(paths); {
		if len(paths[i]) == depth {
			t.nodes[at].whole = true
			i++
			continue
		}
		end := i
		for end < len(paths) && paths[end][depth] == paths[i][depth] {
			end++
		}
		t.nodes[at].children = append(t.nodes[at].children, len(t.nodes))
		t.add(paths[i:end], depth+1, paths[i][depth])
		i = end
	}
	t.nodes[at].last = len(t.nodes) - 1
}

// at gives the number of a path's node.
func (t *tree) at(path []string) int {
	n := 0
	for _, name := range path {
		n, _ = t.child(n, []byte(name))
	}
	return n
}

func (t *tree) child(n int, name []byte) (child int, ok bool) {
	for _, c := range t.nodes[n].children {
		if t.nodes[c].name == string(name) {
			return c, true
		}
	}
	return 0, false
}

func (t *tree) scratch() *[]place           { return t.pool.Get().(*[]place) }
func (t *tree) release(found *[]place)      { t.pool.Put(found) }
func (t *tree) forget(found []place, n int) { clear(found[n : t.nodes[n].last+1]) }

// find notes where the nodes lie, and reports whether the record is one JSON value.
func (t *tree) find(data []byte, found []place) bool {
	clear(found)
	end, ok := t.scan(data, blanks(data, 0), 0, 0, found)
	return ok && blanks(data, end) == len(data)
}

// scan reads over the value of node n.
func (t *tree) scan(data []byte, i, depth, n int, found []place) (end int, ok bool) {
	if i < len(data) && data[i] == '{' && len(t.nodes[n].children) > 0 {
		end, ok = t.scanMembers(data, i, depth+1, n, found)
	} else {
		end, ok = scanValue(data, i, depth)
	}
	found[n] = place{i, end}
	return end, ok
}

// scanMembers is scanObject that knows some of the names.
func (t *tree) scanMembers(s []byte, i, depth, n int, found []place) (end int, ok bool) {
	if i = blanks(s, i+1); i < len(s) && s[i] == '}' {
		return i + 1, true
	}
	for i < len(s) && s[i] == '"' {
		from := i
		var plain bool
		if i, plain, ok = scanString(s, i); !ok {
			break
		}
		name := s[from+1 : i-1]
		if !plain {
			name = []byte(meaning(s[from:i]))
		}
		if i = blanks(s, i); i == len(s) || s[i] != ':' {
			break
		}
		if c, known := t.child(n, name); known {
			t.forget(found, c) // the last of a name counts
			i, ok = t.scan(s, blanks(s, i+1), depth, c, found)
		} else {
			i, ok = scanValue(s, blanks(s, i+1), depth)
		}
		if !ok {
			break
		}
		i = blanks(s, i)
		if i == len(s) || s[i] != ',' {
			return i + 1, i < len(s) && s[i] == '}'
		}
		i = blanks(s, i+1)
	}
	return i, false
}

// pruned makes the tree of a record, of which objects on the way hold only the members that are looked at.
func (t *tree) pruned(data []byte, found []place) any { return t.prune(data, found, 0) }

func (t *tree) prune(data []byte, found []place, n int) any {
	from := found[n].from
	if t.nodes[n].whole || data[from] != '{' {
		value, _ := decode(data, from)
		return value
	}
	object := make(map[string]any, len(t.nodes[n].children))
	for _, c := range t.nodes[n].children {
		if found[c].to > 0 {
			object[t.nodes[c].name] = t.prune(data, found, c)
		}
	}
	return object
}

// member is one of the object that a query builds, if its value is a path: customer: .customer_id, or .customer_id|tostring.
type member struct {
	name   string
	way    []int // the nodes of its path, from the record itself
	text   bool  // |tostring
	wanted int   // -1: nobody asks for it
}

// value gives a member's value. simple is false if gojq must say what becomes of it.
func (t *tree) value(data []byte, found []place, m *member) (value []byte, simple bool) {
	null := false
	for i, n := range m.way {
		if null = found[n].to == 0; null {
			break
		}
		c := data[found[n].from]
		if null = c == 'n'; null {
			break
		}
		if i < len(m.way)-1 && c != '{' {
			return nil, false
		}
	}
	if null {
		if m.text {
			return []byte("null"), true
		}
		return nil, true
	}
	at := found[m.way[len(m.way)-1]]
	text := data[at.from:at.to:at.to]
	switch text[0] {
	case '{', '[':
		return nil, false
	case 't', 'f':
		return text, true
	case '"':
		inside := text[1 : len(text)-1 : len(text)-1]
		if bytes.IndexByte(inside, '\\') < 0 && utf8.Valid(inside) {
			return inside, true
		}
		return appendMeaning(nil, inside), true
	}
	if shortWhole(text) {
		return text, true
	}
	return appendNumber(nil, decodeNumber(text)), true
}

// shortWhole reports whether a number is printed as it is written.
func shortWhole(text []byte) bool {
	if len(text) > 18 || text[0] == '-' && text[1] == '0' {
		return false
	}
	for _, c := range text[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// appendNumber prints a number as gojq does.
func appendNumber(dst []byte, number any) []byte {
	if whole, ok := number.(int); ok {
		return strconv.AppendInt(dst, int64(whole), 10)
	}
	text, err := gojq.Marshal(number)
	if err != nil {
		panic("process: gojq does not print a number: " + err.Error())
	}
	return append(dst, text...)
}
