package vtl

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// author writes random templates: of everything that the language has, a bit too often what is rare in real ones.
type author struct {
	r *rand.Rand
	b strings.Builder
	// left bounds what one template holds.
	left int
}

func (a *author) one(texts ...string) string { return texts[a.r.IntN(len(texts))] }

func (a *author) write(texts ...string) {
	for _, t := range texts {
		a.b.WriteString(t)
	}
}

// apart gives what a writer captures aside.
func (a *author) apart(f func()) string {
	outer := a.b
	a.b = strings.Builder{}
	f()
	text := a.b.String()
	a.b = outer
	return text
}

var (
	variables = []string{"a", "b", "l", "m", "s", "n", "d", "o", "p", "q", "none", "foreach", "velocityCount", "velocityHasNext", "bodyContent"}
	texts     = []string{"x", " ", "\n", "  \n", "\t", "text ", "é€😀", "$", "#", "\\", "\\\\", "\\$a", "\\\\$a", "\\$none", "\\#if", "\\#set($a = 1)", "\\\\#set($a = 1)",
		"$!", "${", "#[[ $a #end ]]#", "## comment\n", "#* $a #end *#", "#**  *#\n", "'", "\"", "{", "}", "(", ")", "[", "]", ".", "$5", "#nothing", "a@b.c", "a", "b", ",", ": ", "é", "1"}
	methods = []string{"length()", "size()", "isEmpty()", "empty", "toString()", "toUpperCase()", "trim()", "hashCode()", "keySet()", "values()", "entrySet()",
		"substring(1)", "substring(0, 2)", "get(0)", "get(\"k\")", "k", "k.k", "split(\",\")", "replaceAll(\"(.)\", \"<$1>\")", "replace(\"a\", \"b\")", "contains(\"a\")",
		"indexOf(\"b\")", "matches(\"[a-z]+\")", "nothing()", "index", "count", "hasNext", "first", "last", "parent", "topmost", "parent.index", "class", "entrySet().iterator()",
		"key", "value", "getKey()", "charAt(0)", "intValue()", "equals(1)", "compareTo(\"b\")", "concat(\"z\")", "remove(0)", "clear()"}
)

// block writes a few statements.
func (a *author) block(depth int) {
	for n := a.r.IntN(5); n > 0 && a.left > 0; n-- {
		a.left--
		a.statement(depth)
	}
}

func (a *author) statement(depth int) {
	kind := a.r.IntN(40)
	if depth <= 0 && kind >= 24 {
		kind %= 24
	}
	switch {
	case kind < 10:
		a.write(a.one(texts...))
	case kind < 17:
		a.write(a.reference(depth))
	case kind < 22:
		a.write("#", a.one("set", "{set}", "set", "set"), a.one("(", "( ", " ("), a.target(depth), a.one(" = ", "=", " =\n"), a.expression(depth), a.one(")", " )", ")\n", ")  \n"))
	case kind == 22:
		a.write(a.one("#m(", "#m(", "#w(", "#late("), a.arguments(depth), a.one(")", ")\n"))
	case kind == 23:
		a.write(a.one("#set($a = $foreach)", "#set($o = $foreach.parent)", "#set($m.k = $foreach)", "#break", "#break", "#{break}", "#stop", "#break($foreach)", "#break($foreach.parent)", "#break($foreach.topmost)", "#break($a)"), a.one("", " ", "\n"))
	case kind < 29:
		a.write(a.one("#if(", "#{if}(", "#if ("), a.expression(depth-1), ")")
		a.block(depth - 1)
		for a.r.IntN(3) == 0 {
			a.write(a.one("#elseif(", "#{elseif}("), a.expression(depth-1), a.one(")", ")\n"))
			a.block(depth - 1)
		}
		if a.r.IntN(2) == 0 {
			a.write(a.one("#else ", "#{else}", "#else\n"))
			a.block(depth - 1)
		}
		a.end()
	case kind < 34:
		a.write("#foreach(", a.one(" ", ""), "$", a.one("a", "b", "i", "foreach", "p", "velocityCount"), " in ", a.items(depth-1), ")", a.one("", "\n", " \n"))
		a.block(depth - 1)
		a.end()
	case kind == 34:
		a.write("#define($", a.one("d", "a", "o"), ")")
		a.block(depth - 1)
		a.end()
	case kind < 37:
		a.write("#macro(", a.one("m", "m", "w", "late"), a.one("", " $p", " $p $q", " $p $p", " $a"), ")")
		a.block(depth - 1)
		a.write(a.one("", "$bodyContent", "$!p", "$p"))
		a.end()
	case kind == 37:
		a.write("#@", a.one("m", "w"), "(", a.arguments(depth), ")")
		a.block(depth - 1)
		a.end()
	default:
		a.write("#evaluate(", a.simple(depth-1), ")")
	}
}

func (a *author) end() { a.write(a.one("#end", "#{end}", "#end\n", "#end \n", "#end ")) }

func (a *author) target(depth int) string {
	return "$" + a.one("", "!") + a.one(variables...) + a.one("", "", "", "", ".k", "[\"k\"]", "[0]", "["+a.index()+"]", ".k.k", "[0][1]")
}

// index is what can stand in brackets.
func (a *author) index() string {
	return a.one("0", "1", "-1", "7", "'k'", "\"k\"", "\"$s\"", "true", "$n", "$a", "$foreach.index", "$l[0]")
}

func (a *author) reference(depth int) string {
	root := a.one(variables...)
	var parts strings.Builder
	for a.r.IntN(3) == 0 {
		switch a.r.IntN(4) {
		case 0:
			parts.WriteString("[" + a.index() + "]")
		case 1:
			parts.WriteString("." + a.one("add", "put", "get", "remove", "contains", "equals", "substring", "nothing", "indexOf", "set", "addAll") + "(" +
				a.one("", a.expression(depth-1), a.expression(depth-1)+", "+a.expression(depth-1)) + ")")
		default:
			parts.WriteString("." + a.one(methods...))
		}
	}
	quiet := a.one("", "!")
	if a.r.IntN(2) == 0 {
		return "$" + quiet + "{" + root + parts.String() + "}"
	}
	return "$" + quiet + root + parts.String()
}

func (a *author) arguments(depth int) string {
	var all []string
	for n := a.r.IntN(4); n > 0; n-- {
		all = append(all, a.simple(depth-1))
	}
	return strings.Join(all, a.one(" ", ", ", "  "))
}

func (a *author) items(depth int) string {
	switch a.r.IntN(4) {
	case 0:
		return fmt.Sprintf("[%d..%d]", a.r.IntN(7)-3, a.r.IntN(7)-3)
	case 1:
		return a.one("$l", "$m", "$s", "$none", "$m.entrySet()", "$m.keySet()", "$s.split(\",\")", "[]", "{}", "$foreach")
	}
	return a.simple(depth)
}

// simple is an expression that can be an argument.
func (a *author) simple(depth int) string {
	kind := a.r.IntN(12)
	if depth <= 0 {
		kind %= 7
	}
	switch kind {
	case 0, 1:
		return a.reference(depth)
	case 2:
		return a.one("0", "1", "-1", "2", "2147483647", "9223372036854775807", "99999999999999999999", "1.5", "-0.0", "1e3")
	case 3:
		return a.one("true", "false")
	case 4, 5:
		return a.one("'text'", "'$a'", "\"\"", "\"a,b,c\"", "\"it''s\"", "'k'", "\"k\"", "\"$a\"", "\"$s$n\"", "\"\\u0041\"", "'#set($z = 1)$z'", "'$p$!none#if($a)y#end'")
	case 6:
		return a.one("$a", "$l", "$m", "$s", "$n")
	case 7, 8:
		return "[" + a.list(depth-1) + "]"
	case 9:
		var b strings.Builder
		for n := a.r.IntN(3); n >= 0; n-- {
			fmt.Fprintf(&b, "%s: %s", a.one("'k'", "\"k\"", "1", "$s"), a.simple(depth-1))
			if n > 0 {
				b.WriteString(", ")
			}
		}
		return "{" + b.String() + "}"
	case 10:
		inner := a.apart(func() { a.block(depth - 1) })
		return `"` + strings.ReplaceAll(inner, `"`, `""`) + `"`
	}
	return fmt.Sprintf("[%s..%s]", a.one("1", "-1", "$n", "$a"), a.one("3", "0", "$n", "2147483648"))
}

func (a *author) list(depth int) string {
	var all []string
	for n := a.r.IntN(4); n > 0; n-- {
		all = append(all, a.simple(depth))
	}
	return strings.Join(all, ", ")
}

func (a *author) expression(depth int) string {
	kind := a.r.IntN(10)
	if depth <= 0 || kind < 4 {
		return a.simple(depth)
	}
	switch kind {
	case 4:
		return a.one("!", "not ") + a.expression(depth-1)
	case 5:
		return "(" + a.expression(depth-1) + ")"
	}
	op := a.one("+", "+", "-", "*", "/", "%", "==", "!=", "<", ">", "<=", ">=", "&&", "||", "and", "or", "eq", "ne", "lt", "gt", "le", "ge")
	return a.expression(depth-1) + " " + op + " " + a.expression(depth-1)
}

// template writes one of at most some forty statements.
func (a *author) template() string {
	a.b.Reset()
	a.left = 40
	for range 1 + a.r.IntN(4) {
		a.block(4)
	}
	return a.b.String()
}

// values makes what the host provides, anew for each rendering, for templates change lists and maps.
func (a *author) scope() func() Names {
	n, flavor, text := a.r.IntN(5), Flavor(a.r.IntN(3)), a.one("", "a,b,c", "Ada", "k", "5", "é€😀")
	return func() Names {
		inner := &Map{}
		inner.Put(String("k"), Int(int64(n)))
		m := &Map{}
		for i := range n {
			m.Put(String(fmt.Sprint("key", i)), Int(int64(i)))
		}
		m.Put(String("k"), FromMap(inner))
		l := &List{Flavor: flavor}
		for i := range n {
			l.Items = append(l.Items, String(fmt.Sprint(text, i)))
		}
		return Names{"s": String(text), "n": Int(int64(n)), "m": FromMap(m), "l": FromList(l)}
	}
}

var differentialLimits = Limits{Steps: 40_000, OutputBytes: 4 << 20, MemoryBytes: 256 << 10, Iterations: 20, Depth: 12, Duration: time.Hour}

// compareWays renders a template in both ways, and reports how they differ.
func compareWays(t testing.TB, src string, policy Policy, scope func() Names) (rendered bool) {
	t.Helper()
	tm, err := Compile("t", src, Options{InvalidReference: policy, Limits: differentialLimits})
	if err != nil {
		return false
	}
	want, wantErr := renderByWalking(tm, scope())
	for range 2 { // the second rendering has what the first has left in the pool
		out, err := tm.Render([]byte("before"), scope())
		if errors.Is(err, errOutput) || errors.Is(wantErr, errOutput) {
			return false // text that is put aside counts for the one and not for the other
		}
		if got := strings.TrimPrefix(string(out), "before"); got != want && wantErr == nil || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("%q\n closures: %q %v\n     walk: %q %v", src, got, err, want, wantErr)
			return true
		}
	}
	return true
}

// Closures render what a walk over the tree renders, byte for byte, and fail where and as it does.
func TestClosuresRenderAsAWalkDoes(t *testing.T) {
	const templates, seed = 20_000, 20261126
	rendered := 0
	for i := range templates {
		a := &author{r: rand.New(rand.NewPCG(seed, uint64(i)))}
		src, scope := a.template(), a.scope()
		if compareWays(t, src, Policy(i%2), scope) {
			rendered++
		}
		if t.Failed() {
			t.Fatalf("template %d", i)
		}
	}
	if rendered < templates/2 {
		t.Errorf("of %d templates %d compile; the author writes too much nonsense", templates, rendered)
	}
	t.Logf("%d of %d compiled", rendered, templates)
}

// host stands in for $input, $util and $context, which this package does not know: it answers with its own path, with a
// list or with a map, as the name of what is asked for has it.
type host struct{ path string }

func (h host) AppendText(dst []byte) []byte { return append(dst, h.path...) }

func (h host) Property(_ *Runtime, name string) (Value, error) {
	return FromObject(host{h.path + "." + name}), nil
}

func (h host) Call(rt *Runtime, method string, args []Value) (Value, bool, error) {
	path := h.path + "." + method + "("
	for i, a := range args {
		if i > 0 {
			path += ","
		}
		text, err := rt.text(a)
		if err != nil {
			return Value{}, true, err
		}
		path += text.str()
	}
	switch len(path) % 4 {
	case 0:
		m := &Map{}
		m.Put(String("a"), String(path))
		m.Put(String("b"), Int(int64(len(path))))
		return FromMap(m), true, nil
	case 1:
		return FromList(&List{Items: []Value{String(path), FromObject(host{path}), Bool(true)}, Flavor: JSONArray}), true, nil
	case 2:
		return String(path + ")"), true, nil
	}
	return FromObject(host{path + ")"}), true, nil
}

// The templates of all conformance cases render alike, too; what they must render, the gateway's mapping tests.
func TestConformanceTemplatesRenderAsAWalkDoes(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "internal", "gateway", "mapping", "testdata", "conformance", "*.json"))
	if err != nil || len(files) < 319 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	rendered := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c struct{ Template string }
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		scope := func() Names {
			all := Names{}
			for _, name := range []string{"input", "util", "context", "stageVariables"} {
				all[name] = FromObject(host{name})
			}
			return all
		}
		for _, policy := range []Policy{Empty, Source} {
			if compareWays(t, c.Template, policy, scope) {
				rendered++
			}
		}
	}
	if rendered < 2*len(files)*9/10 {
		t.Errorf("%d of %d cases compile", rendered/2, len(files))
	}
}

func FuzzClosures(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, uint64(1))
	}
	for i := range uint64(20) {
		a := &author{r: rand.New(rand.NewPCG(7, i))}
		f.Add(a.template(), i)
	}
	f.Fuzz(func(t *testing.T, src string, seed uint64) {
		a := &author{r: rand.New(rand.NewPCG(7, seed))}
		compareWays(t, src, Policy(seed%2), a.scope())
	})
}

// What the comparison has found.
func TestRareTemplates(t *testing.T) {
	f := func(src, want string) {
		t.Helper()
		tm, err := Compile("t", src, Options{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := tm.Render(nil, Names{})
		if got := string(out); err == nil && got != want || err != nil && err.Error() != want {
			t.Errorf("%s\n got %q %v\nwant %q", src, got, err, want)
		}
	}
	f(`a#set($x = "b#stop")c`, "a") // text of a string that is never whole is printed nowhere
	f(`#foreach($i in [1, 2])<#set($x = "b$i#break($foreach)")>#end.`, "<.")
	f(`#foreach($a in [1])#set($k = $foreach)#end#foreach($b in [1, 2, 3])$k.index #end`, "0 0 0 ") // a loop that is over stays what it was
	f(`#foreach($a in [1])#foreach($b in [1])#set($k = $foreach)#end#end#foreach($a in [1, 2])$k.parent.count #end`, "1 1 ")
	f(`#foreach($a in [1])#set($k = $foreach)#end#foreach($b in [1])#break($k)#end`, "t:1:62: #break needs $foreach or one of its parents")
	f(`#@m("#macro(m)first#end")#macro(m)second#end#end#m()`, "firstfirst") // the first in the source
	f(`#macro(m $p)outer $p#macro(m $q)inner $q#end#end#m(1)`, "outer 1")
}
