package yamldoc

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"texts stay texts", "a: 000000000000\nb: 2010-09-09\nc: yes\nd: 1.50\ne: true\nf: ~\ng: \"5\"", `{"a":"000000000000","b":"2010-09-09","c":"yes","d":1.50,"e":true,"f":null,"g":"5"}`},
		{"aliases are followed", "a: &x {k: 1}\nb: *x", `{"a":{"k":1},"b":{"k":1}}`},
		{"JSON with tabs and surrogates", "{\n\t\"a\": \"\\ud83d\\ude00\\t\\u0041\\ud800\\\\ud83d\",\n\t\"b\": [1e5]\n}", "{\"a\":\"\U0001F600\\tA\uFFFD\\\\ud83d\",\"b\":[1e5]}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := Parse("f", []byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(JSON(n)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 8 {
		bomb += string(rune('b'+i)) + ": &" + string(rune('b'+i)) + " [" + strings.Repeat("*"+string(rune('a'+i))+",", 9) + "*" + string(rune('a'+i)) + "]\n"
	}
	for _, c := range []struct{ name, body, want string }{
		{"twice", "a: 1\nb:\n  c: 1\n  c: 2", `f:4:3: the key "c" stands here twice`},
		{"broken JSON", "{\n \"a\": }", "f:2:7: JSON not well-formed"},
		{"broken YAML", "a: [1\nb: 2", "YAML not well-formed"},
		{"bomb", bomb, "too large once its aliases are followed"},
		{"deep", strings.Repeat("[", 200) + strings.Repeat("]", 200), "nested deeper than 100"},
		{"merge", "a: &x {k: 1}\nb:\n  <<: *x", "f:3:3: merge keys"},
		{"two documents", "a: 1\n---\nb: 2", "several documents"},
		{"no UTF-8", "a: \xff", "not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f", []byte(c.body))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v; want %q", err, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a: &x [1, *x]"))
	f.Add([]byte("{\"a\": \"\\ud83d\\ude00\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := Parse("f", body)
		if err != nil {
			return
		}
		if doc := JSON(n); !json.Valid(doc) {
			t.Errorf("no JSON: %s", doc)
		}
	})
}
