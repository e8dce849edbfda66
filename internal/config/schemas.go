package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"millrace/internal/fault"
	"millrace/internal/glue"
)

// maxSchemaBytes bounds a schema file.
const maxSchemaBytes = 4 << 20

// checkSchemas reads the schema files, so that what is wrong with them is told at the start.
func (n *Node) checkSchemas(bad func(flag, format string, args ...any)) {
	for _, name := range slices.Sorted(maps.Keys(n.Schemas)) {
		if _, err := readSchema(name, n.Schemas[name]); err != nil {
			bad("schemas", "%v", err)
		}
	}
}

// Tables reads the schema files: tables by "DATABASE.TABLE".
func (n *Node) Tables() (map[string]*glue.Table, error) {
	all := map[string]*glue.Table{}
	for name, file := range n.Schemas {
		table, err := readSchema(name, file)
		if err != nil {
			return nil, fmt.Errorf("--schemas: %w", err)
		}
		all[glue.Key(table.Database, table.Name)] = table
	}
	return all, nil
}

// readSchema reads a table's columns from a file in JSON or YAML: a list of columns with name and type, or a mapping whose
// columns are that list.
func readSchema(name, file string) (*glue.Table, error) {
	database, table, ok := strings.Cut(strings.ToLower(name), ".")
	if !ok {
		return nil, fmt.Errorf("%q is no DATABASE.TABLE", name)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxSchemaBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(body) > maxSchemaBytes {
		return nil, fmt.Errorf("%s: %s has more than %d bytes, which is no schema", name, file, maxSchemaBytes)
	}
	t := &glue.Table{Database: database, Name: table, Version: 1}
	if t.Columns, err = parseColumns(file, body); err == nil {
		err = t.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", name, file, reason(err))
	}
	return t, nil
}

// reason leaves out what an error says of our own operations.
func reason(err error) error {
	if f := new(fault.Error); errors.As(err, &f) {
		return errors.New(f.Message())
	}
	return err
}

type schemaColumn struct {
	Name    string `yaml:"name"`
	Type    string `yaml:"type"`
	Comment string `yaml:"comment"` // for people
}

func parseColumns(file string, body []byte) ([]glue.Column, error) {
	if json.Valid(body) { // escapes of JSON are none of YAML's in some corners; well-formed JSON is rewritten by its own reader
		var v any
		if err := json.Unmarshal(body, &v); err == nil {
			body, _ = yaml.Marshal(v)
		}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(body, &doc); err != nil || len(doc.Content) == 0 {
		return nil, errors.Join(errors.New("it holds no columns"), err)
	}
	node := doc.Content[0]
	var columns []schemaColumn
	var err error
	if node.Kind == yaml.SequenceNode {
		err = strict(body, &columns)
	} else {
		var mapping struct {
			Columns []schemaColumn `yaml:"columns"`
		}
		err = strict(body, &mapping)
		columns = mapping.Columns
	}
	if err != nil {
		return nil, located(file, err)
	}
	list := make([]glue.Column, len(columns))
	for i, c := range columns {
		list[i] = glue.Column{Name: c.Name, Type: c.Type}
	}
	return list, nil
}

func strict(body []byte, into any) error {
	dec := yaml.NewDecoder(strings.NewReader(string(body)))
	dec.KnownFields(true)
	return dec.Decode(into)
}
