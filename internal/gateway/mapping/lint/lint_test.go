package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const putRecord = "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord"

func shown(findings []Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "-> %d:%d %s\n", f.Line, f.Column, f.Rule)
	}
	return b.String()
}

func TestCases(t *testing.T) {
	text, err := os.ReadFile("testdata/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n== ")
	for _, c := range strings.Split(rest, "\n== ") {
		head, body, _ := strings.Cut(c, "\n")
		template, want, found := strings.Cut("\n"+body, "\n-> ")
		template = strings.TrimPrefix(template, "\n")
		if found {
			want = "-> " + strings.TrimSpace(want) + "\n"
		}
		context := Context{Request: true, URI: putRecord}
		for word := range strings.FieldsSeq(head) {
			switch {
			case strings.Contains(word, "/"):
				context.MediaType = word
			case word == "response" && strings.HasSuffix(head, " response"):
				context.Request = false
			}
		}
		t.Run(head, func(t *testing.T) {
			findings := Lint(template, context)
			if got := shown(findings); got != want {
				t.Errorf("got\n%swant\n%s%+v", got, want, findings)
			}
		})
	}
}

// The two templates of the reference pipeline: the JSON template is clean, the form template has the faults that its
// description names.
func TestReferenceTemplates(t *testing.T) {
	for _, c := range []struct{ file, mediaType, want string }{
		{"json.vtl", "application/json", ""},
		{"form.vtl", "application/x-www-form-urlencoded", `-> 5:21 input-path-on-non-json
-> 9:14 double-url-decode
-> 11:14 double-url-decode
-> 15:42 unescaped-json-value
-> 15:59 unescaped-json-value
-> 23:16 unescaped-json-value
`},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", c.file))
		if err != nil {
			t.Fatal(err)
		}
		findings := Lint(string(text), Context{MediaType: c.mediaType, Request: true, URI: putRecord})
		if got := shown(findings); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.file, got, c.want)
		}
	}
}

func TestEveryRuleIsExplained(t *testing.T) {
	for _, r := range Rules {
		if len(r.Explanation) < 20 {
			t.Errorf("%s: %q", r.Name, r.Explanation)
		}
	}
}

func FuzzLint(f *testing.F) {
	for _, name := range []string{"json.vtl", "form.vtl", "cases.txt"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		began := time.Now()
		for _, finding := range Lint(text, Context{MediaType: "text/plain", Request: true, URI: putRecord}) {
			if finding.Line < 1 || finding.Column < 1 {
				t.Errorf("a finding at %d:%d", finding.Line, finding.Column)
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%v for %d bytes", took, len(text))
		}
	})
}
