package vtl

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Hostile templates end in an error that says which bound they met, soon, and without memory growing beyond it.
func TestHostileTemplates(t *testing.T) {
	nested := func(open, body, shut string, n int) string {
		return strings.Repeat(open, n) + body + strings.Repeat(shut, n)
	}
	loops := "#foreach($a in [1..1000])#foreach($b in [1..1000])#foreach($c in [1..1000])#foreach($d in [1..1000])x#end#end#end#end"
	for _, c := range []struct{ name, src, want string }{
		{"doubling string", `#set($s = "xxxxxxxxxxxxxxxx")` + strings.Repeat(`#set($s = "$s$s")`, 60), "too long"},
		{"doubling output", `#set($s = "xxxxxxxxxxxxxxxx")` + strings.Repeat(`#set($s = "$s$s")`, 20) + strings.Repeat("$s", 100), "output"},
		{"nested loops", loops, ""},
		{"growing list", `#set($l = [1])#foreach($a in [1..1000])#foreach($b in [1..1000])$!l.addAll($l)#end#end`, ""},
		{"macro without end", "#macro(m)#m()#end#m()", "levels"},
		{"define without end", "#define($d)$d#end$d", "levels"},
		{"evaluate itself", `#set($s = '#evaluate($s)')#evaluate($s)`, ""},
		{"large template", strings.Repeat("x", 400<<10), "bytes"},
		{"deep parentheses", "#set($x = " + nested("(", "1", ")", 100_000) + ")", ""},
		{"deep ifs", nested("#if(true)", "x", "#end", 10_000), ""},
		{"deep lists", "#set($x = " + nested("[", "1", "]", 100_000) + ")", ""},
		{"large range", "#foreach($i in [0..2147483647])#end$foreach", ""},
		{"slow pattern", `#set($s = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!")$s.matches("(a+)+")`, ""},
		{"large pattern", `$x.replaceAll("((((a{1000}){1000}){1000}){1000})", "b")`, ""},
		{"growing replacement", `#set($s = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")` + strings.Repeat(`#set($s = $s.replaceAll("a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))`, 20), ""},
		{"map that holds itself", `#set($m = {})#set($x = $m.put("m", $m))$m`, ""},
		{"list that holds itself", `#set($l = [])#set($x = $l.add($l))$l`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			out, err := renderText(c.src)
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			if took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<30 {
				t.Errorf("%d MiB were allocated", grown>>20)
			}
			if len(out) > 64<<20 {
				t.Errorf("%d bytes came out", len(out))
			}
			if err == nil {
				if c.want != "" {
					t.Errorf("it rendered %d bytes; an error with %q was to come", len(out), c.want)
				}
				return
			}
			var at *Error
			if !errors.As(err, &at) {
				t.Errorf("%v is no *Error", err)
			}
			if !strings.Contains(strings.ToLower(err.Error()), c.want) {
				t.Errorf("error %v; want one with %q", err, c.want)
			}
		})
	}
}

func renderText(src string) ([]byte, error) {
	tm, err := Compile("hostile", src, Options{})
	if err != nil {
		return nil, err
	}
	return tm.Render(nil, Names{"x": String("some text")})
}

// Errors say where.
func TestErrorsHaveAPlace(t *testing.T) {
	for _, c := range []struct {
		src          string
		line, column int
	}{
		{"a\n  #if($x", 2, 3}, {"#set($x = )", 1, 11}, {"line\n#foreach($a in $b)\n", 2, 1}, {"#end", 1, 1},
		{"x\n#include('f')", 2, 1}, {"#parse('f')", 1, 1},
	} {
		_, err := Compile("t", c.src, Options{})
		var at *Error
		if !errors.As(err, &at) {
			t.Errorf("%q: error %v", c.src, err)
			continue
		}
		if at.Line != c.line {
			t.Errorf("%q: the error is at %d:%d, not in line %d: %s", c.src, at.Line, at.Column, c.line, at.Msg)
		}
	}
}
