package vtl

import (
	"errors"
	"testing"
	"time"
	"unicode/utf8"
)

// seeds are templates with one of everything.
var seeds = []string{
	`Hello $name, ${name.length()} $!none \$x $name.substring(0,1)`,
	"#set($a = [1, 2.5, 'x', {\"k\": \"v\"}])#foreach($i in $a)$foreach.index:$i#if($foreach.hasNext),#end\n#end",
	`#if($a == 1 && !($b || false))x#elseif($c)y#else z#end`,
	"#macro(m $x $y)[$x|$y]#end#m(1 'two')#define($d)$name#end$d#@m(1 2)body#end",
	`#set($s = "a,b,c")$s.split(",").get(1) $s.replaceAll("(.)", "<$1>") #[[raw $x]]# ## comment
#* block *# #set($m = {"a": 1})$m.a $m["a"] $m.put("b", 2) #break #stop`,
	`#evaluate("$name")#set($r = [1..5])$r.size() $r[0] #set($x = 1 + 2 * 3 / 4 % 5 - 6)$x`,
}

// What compiles can be walked, renders within its bounds, and the same each time.
func FuzzRender(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	limits := Limits{Steps: 200_000, OutputBytes: 1 << 20, MemoryBytes: 4 << 20, Duration: time.Second}
	f.Fuzz(func(t *testing.T, src string) {
		tm, err := Compile("f", src, Options{Limits: limits})
		if err != nil {
			checkPlace(t, src, err)
			return
		}
		nodes := 0
		tm.Walk(func(n *Node) bool {
			nodes++
			if n.Line < 1 || n.Column < 1 {
				t.Fatalf("a node at %d:%d of %q", n.Line, n.Column, src)
			}
			return true
		})
		if nodes > 10*len(src)+10 {
			t.Errorf("%d nodes of %d bytes", nodes, len(src))
		}
		scope := Names{"name": String("Ada"), "n": Int(7)}
		first, err := tm.Render(nil, scope)
		if err != nil {
			checkPlace(t, src, err)
			return
		}
		if len(first) > limits.OutputBytes {
			t.Errorf("%d bytes came out", len(first))
		}
		again, err := tm.Render([]byte("kept"), scope)
		if err != nil || string(again) != "kept"+string(first) {
			t.Errorf("%q renders %q and then %q, %v", src, first, again, err)
		}
		if utf8.ValidString(src) && !utf8.Valid(first) {
			t.Errorf("%q renders invalid UTF-8: %q", src, first)
		}
	})
}

func checkPlace(t *testing.T, src string, err error) {
	t.Helper()
	var at *Error
	if !errors.As(err, &at) || at.Line < 1 {
		t.Errorf("%q: error %v has no place", src, err)
	}
}
