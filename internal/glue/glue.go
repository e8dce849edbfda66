// Package glue holds the tables of a data catalog, as far as delivery streams need
// them: the columns that Parquet files are written with.
//
//	AWS::Glue::Table in a definition file ──┐
//	schemas in a node's configuration ──────┴─> Table ──> delivery: SchemaConfiguration
//
// Types are Hive's, as texts: "bigint", "array<struct<id:int>>". What one means is
// the business of who writes it.
package glue

import (
	"regexp"
	"strings"
	"time"

	"millrace/internal/fault"
)

// Bounds of a table.
const (
	// MaxColumns bounds the columns: rows as wide are no events.
	MaxColumns = 2000
	// MaxTypeBytes bounds the text of one type; the service has the same.
	MaxTypeBytes = 131072
)

// Column of a table.
type Column struct {
	Name string // "event_time"
	Type string // Hive's: "timestamp"
}

// Database holds tables. It has no settings that matter here.
type Database struct {
	Name    string
	Created time.Time
}

// Table is a table as data.
type Table struct {
	Database string
	Name     string
	Version  int64 // from 1, with every change of the columns
	Columns  []Column
	Created  time.Time
	Updated  time.Time
}

// Key names a table among those of all databases: "weblogs.events". Names hold no dot.
func Key(database, table string) string { return database + "." + table }

// nameRule is what names are made of here; the service folds them to lower case.
var nameRule = regexp.MustCompile(`^[a-z0-9_-]{1,255}$`)

// CheckName checks the name of a database or a table.
func CheckName(name string) error {
	if !nameRule.MatchString(name) {
		return fault.New(fault.Invalid, "glue.CheckName", name, "%q is no name of a database or a table: 1 to 255 of a-z, 0-9, _ and -", name)
	}
	return nil
}

// Check checks names and columns, not what the types mean.
func (t *Table) Check() error {
	const op = "glue.Check"
	for _, name := range []string{t.Database, t.Name} {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	if len(t.Columns) == 0 || len(t.Columns) > MaxColumns {
		return fault.New(fault.Invalid, op, t.Name, "a table has 1 to %d columns, not %d", MaxColumns, len(t.Columns))
	}
	seen := map[string]bool{}
	for i, c := range t.Columns {
		name := strings.ToLower(c.Name)
		switch {
		case c.Name == "" || len(c.Name) > 255:
			return fault.New(fault.Invalid, op, t.Name, "column %d has no name of 1 to 255 characters", i+1)
		case c.Type == "" || len(c.Type) > MaxTypeBytes:
			return fault.New(fault.Invalid, op, t.Name, "column %s has no type of 1 to %d characters", c.Name, MaxTypeBytes)
		case seen[name]:
			return fault.New(fault.Invalid, op, t.Name, "there is more than one column %s", name)
		}
		seen[name] = true
	}
	return nil
}
