package payload

import (
	"encoding/json"
	"strings"
	"testing"

	"millrace/vtl"
)

type noMeter struct{}

func (noMeter) Alloc(int) error { return nil }

// What the permissive reader makes of bodies, printed as $input.json('$') prints it.
func TestPermissiveJSON(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"order is kept", `{"b":1,"a":2}`, `{"b":1,"a":2}`},
		{"the last of two keys wins", `{"a":1,"a":2}`, `{"a":2}`},
		{"big numbers keep their digits", `[123456789012345678901234567890,1.10]`, ""},
		{"unquoted and single-quoted", `{a:'x',b:y}`, `{"a":"x","b":"y"}`},
		{"trailing comma", `[1,2,]`, `[1,2]`},
		{"blanks", " {\t\"a\" :\n1 } ", `{"a":1}`},
		{"a raw line break in a string", "{\"a\":\"x\ny\"}", `{"a":"x\ny"}`},
		{"empty", ``, ""},
		{"no JSON is one string", `a=b&c=d`, ""},
		{"nested", `[[[[1]]]]`, `[[[[1]]]]`},
		{"escapes", `{"a":"\u00e9\n\"\\"}`, `{"a":"é\n\"\\"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := Parse(c.body, noMeter{})
			if err != nil {
				t.Fatal(err)
			}
			out, err := Append(nil, v, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if c.want != "" && string(out) != c.want {
				t.Errorf("%s gives %s; want %s", c.body, out, c.want)
			}
		})
	}
}

// Hostile bodies end in a value or an error, within what their size allows.
func TestHostileJSON(t *testing.T) {
	for name, body := range map[string]string{
		"deep arrays":         strings.Repeat("[", 1_000_000),
		"deep objects":        strings.Repeat(`{"a":`, 500_000),
		"deep and closed":     strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000),
		"NUL":                 "{\"a\x00\":\"\x00\"}",
		"invalid UTF-8":       "{\"a\":\"\xff\xfe\"}",
		"lone surrogates":     `{"a":"\ud800","b":"\udc00\ud800"}`,
		"cut escape":          `{"a":"\u12`,
		"cut string":          `{"a":"`,
		"long number":         strings.Repeat("9", 1_000_000),
		"long exponent":       "1e" + strings.Repeat("9", 1000),
		"a million tiny ones": "[" + strings.Repeat("1,", 1_000_000) + "1]",
		"many equal keys":     "{" + strings.Repeat(`"a":1,`, 200_000) + `"a":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			v, err := Parse(body, noMeter{})
			if err != nil {
				return
			}
			if out, err := Append(nil, v, 64<<20); err == nil && len(out) > 6*len(body)+100 {
				t.Errorf("%d bytes became %d", len(body), len(out))
			}
		})
	}
}

// What is printed reads back as what was printed; Compact gives the same; strict JSON keeps its meaning.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5,-1e9,true,null,"x\u00e9"]}`, `{a:'b',}`, `a=b`, `[[],{}]`, `{"a":"\ud83d\ude00"}`, `"x"`, `-0`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		v, err := Parse(body, noMeter{})
		if err != nil {
			return
		}
		out, err := Append(nil, v, 1<<24)
		if err != nil {
			return
		}
		if fast, ok := Compact(nil, body); ok && string(fast) != string(out) {
			t.Errorf("%q: Compact gives %q, Parse and Append %q", body, fast, out)
		}
		if v.Kind() != vtl.MapKind && v.Kind() != vtl.ListKind {
			return
		}
		w, err := Parse(string(out), noMeter{})
		if err != nil {
			t.Fatalf("%q printed as %q, which can't be read: %v", body, out, err)
		}
		again, err := Append(nil, w, 1<<24)
		if err != nil || string(again) != string(out) {
			t.Errorf("%q printed as %q, and that as %q, %v", body, out, again, err)
		}
		if json.Valid([]byte(body)) && !json.Valid(out) {
			t.Errorf("valid JSON %q printed as %q", body, out)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"$", "$.a", "$['a'][0]", "$..b", "$.a[*]", "$.a[1:3]", "$.a[?(@.b > 1)]", "a.b", "$.a[-1]", "$.length()"} {
		f.Add(s, `{"a":[{"b":1},{"b":2}],"b":{"a":3}}`)
	}
	f.Fuzz(func(t *testing.T, path, body string) {
		p, err := CompilePath(path)
		if err != nil {
			return
		}
		src := "$r.x"
		tm, err := vtl.Compile("f", src, vtl.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = tm.Render(nil, vtl.Names{"r": vtl.FromObject(pathFinder{p, body})}) // must not panic or hang
	})
}

// pathFinder lends FuzzPath the runtime of a rendering.
type pathFinder struct {
	path *Path
	body string
}

func (f pathFinder) Property(rt *vtl.Runtime, _ string) (vtl.Value, error) {
	root, err := Parse(f.body, rt)
	if err != nil {
		return vtl.Value{}, err
	}
	v, _, err := f.path.Find(root, rt)
	return v, err
}

func (pathFinder) Call(*vtl.Runtime, string, []vtl.Value) (v vtl.Value, known bool, err error) {
	return v, false, nil
}
