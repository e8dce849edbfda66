package examples

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/internal/gateway"
	"millrace/internal/ids"
	"millrace/internal/offline"
	"millrace/internal/template"
)

// Every example is a file that up takes as it is, and says how to send it an event.
func TestExamplesLoad(t *testing.T) {
	names, err := fs.Glob(Files, "*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		body, err := Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(body), "curl ") {
			t.Errorf("%s has no curl lines", name)
		}
		if _, err := template.Load(name, body, template.Options{Account: ids.NewAccount("us-east-1", "000000000000")}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// folders are the examples that have one, with samples, cases and a page.
func folders(t *testing.T) []string {
	t.Helper()
	cases, err := filepath.Glob("*/*.cases.yaml")
	if err != nil || len(cases) < 5 {
		t.Fatal(cases, err)
	}
	var all []string
	for _, file := range cases {
		all = append(all, filepath.Dir(file))
	}
	return all
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// The cases of every example pass, and the linter finds nothing in it.
func TestCases(t *testing.T) {
	for _, folder := range folders(t) {
		definition := filepath.Join(folder, folder+".yaml")
		body := read(t, definition)
		d, err := template.Load(definition, body, template.Options{Account: ids.NewAccount("us-east-1", "000000000000")})
		if err != nil {
			t.Error(err)
			continue
		}
		for _, f := range d.Lint(body) {
			t.Error(f)
		}
		file := filepath.Join(folder, folder+".cases.yaml")
		cases, err := offline.LoadCases(file, read(t, file))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, c := range cases.Cases {
			if failure, _ := cases.Run(t.Context(), c); failure != "" {
				t.Errorf("%s: %s\n%s", file, c.Name, failure)
			}
		}
	}
}

// The lines of a page are what a reader tries first: each is sent as curl would send it, and stores at least a record.
func TestLinesOfThePages(t *testing.T) {
	for _, folder := range folders(t) {
		definition := filepath.Join(folder, folder+".yaml")
		d, err := offline.Load(definition, read(t, definition), offline.Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		lines := 0
		for line := range strings.Lines(string(read(t, filepath.Join(folder, "README.md")))) {
			words := split(line)
			if len(words) == 0 || words[0] != "curl" {
				continue
			}
			lines++
			out, err := d.Run(t.Context(), curl(t, folder, words[1:]), nil)
			if err != nil || out.Status != 200 || len(out.Records) == 0 {
				t.Errorf("%s: %v: %+v", line, err, out)
			}
		}
		if lines == 0 {
			t.Errorf("the page of %s has no curl lines", folder)
		}
	}
}

// split cuts a line into words, some of them in single quotes.
func split(line string) (words []string) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " ") {
		var word string
		if rest, quoted := strings.CutPrefix(line, "'"); quoted {
			word, line, _ = strings.Cut(rest, "'")
		} else {
			word, line, _ = strings.Cut(line, " ")
		}
		words = append(words, word)
	}
	return words
}

// curl makes a request of the arguments that the pages use.
func curl(t *testing.T, folder string, args []string) offline.Request {
	t.Helper()
	r := offline.Request{Method: "GET"}
	for len(args) > 0 {
		option := args[0]
		args = args[1:]
		switch option {
		case "-H":
			name, value, _ := strings.Cut(args[0], ": ")
			r.Header = append(r.Header, gateway.Field{Name: name, Value: value})
		case "-d", "--data-binary":
			r.Method, r.Body = "POST", []byte(args[0])
			if file, ok := strings.CutPrefix(args[0], "@"); ok {
				r.Body = read(t, filepath.Join(folder, file))
			}
		default:
			target, ok := strings.CutPrefix(option, "http://127.0.0.1:8080")
			if !ok {
				t.Fatalf("curl %s: not an option that this test knows", option)
			}
			r.Target = target
			continue
		}
		args = args[1:]
	}
	return r
}
