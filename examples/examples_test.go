package examples

import (
	"io/fs"
	"strings"
	"testing"

	"millrace/internal/ids"
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
