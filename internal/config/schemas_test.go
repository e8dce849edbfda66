package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"millrace/internal/glue"
)

// A schema is a list of columns, or a mapping that holds it, in JSON or YAML.
func TestSchemas(t *testing.T) {
	folder := t.TempDir()
	write := func(text string) string {
		t.Helper()
		name := filepath.Join(folder, "schema")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	want := []glue.Column{{Name: "id", Type: "bigint"}, {Name: "tags", Type: "array<string>"}}
	for _, text := range []string{
		"- {name: id, type: bigint}\n- name: tags\n  type: array<string>\n  comment: for people\n",
		"columns:\n- {name: id, type: bigint}\n- {name: tags, type: 'array<string>'}\n",
		`[{"name":"id","type":"bigint"},{"name":"tags","type":"array\u003cstring\u003e"}]`,
		`{"columns":[{"name":"id","type":"bigint"},{"name":"tags","type":"array<string>"}]}`,
	} {
		n := Default()
		n.Schemas = map[string]string{"WebLogs.Events": write(text)}
		if err := n.Check(); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		all, err := n.Tables()
		table := all["weblogs.events"]
		if err != nil || table == nil || !slices.Equal(table.Columns, want) || table.Version != 1 {
			t.Errorf("%s: %+v %v", text, all, err)
		}
	}
	refused := func(name, text, message string) {
		t.Helper()
		n := Default()
		n.Schemas = map[string]string{name: write(text)}
		if err := n.Check(); err == nil || !strings.Contains(err.Error(), message) || !strings.HasPrefix(err.Error(), "--schemas: ") {
			t.Errorf("%s %q: got %v, want %q", name, text, err, message)
		}
	}
	refused("events", "[]", "no DATABASE.TABLE")
	refused("a.b.c", "- {name: a, type: int}", "no name of a database or a table")
	refused("a.b", "", "holds no columns")
	refused("a.b", "[]", "a table has 1 to 2000 columns, not 0")
	refused("a.b", "- {name: a}", "column a has no type")
	refused("a.b", "- {name: a, type: int}\n- {name: A, type: int}", "more than one column a")
	refused("a.b", "- {name: a, type: int, nullable: true}", "schema:1: there is no key nullable")
	refused("a.b", "fields: []", "there is no key fields")
	n := Default()
	n.Schemas = map[string]string{"a.b": filepath.Join(folder, "absent")}
	if err := n.Check(); err == nil || !strings.Contains(err.Error(), "a.b: open") {
		t.Errorf("got %v", err)
	}
}
