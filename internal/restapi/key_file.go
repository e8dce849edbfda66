package restapi

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
)

// KeyRow is a line of a file of API keys.
type KeyRow struct {
	Line  int
	Key   NewKey
	Plans []string // ids of usage plans
}

// Where tells the line, for warnings.
func (r KeyRow) Where() string { return fmt.Sprintf("line %d", r.Line) }

// keyColumns are the columns of a file of API keys, whatever the case of their letters; the first two are required.
var keyColumns = []string{"name", "key", "description", "enabled", "usageplanids"}

// ParseKeyFile reads the service's file format of API keys: a line that names the columns, and a line for each key.
// Ids of usage plans are divided by commas, within quotes.
func ParseKeyFile(body []byte) (rows []KeyRow, err error) {
	const op = "restapi.ParseKeyFile"
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
	r.TrimLeadingSpace = true
	head, err := r.Read()
	if err != nil {
		return nil, invalid(op, "The file of API keys has no header line")
	}
	place := map[string]int{}
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(keyColumns, name) {
			return nil, invalid(op, "The file of API keys has an unknown column: %s", head[i])
		}
		place[name] = i
	}
	for _, name := range keyColumns[:2] {
		if _, ok := place[name]; !ok {
			return nil, invalid(op, "The file of API keys has no column %s", name)
		}
	}
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, invalid(op, "The file of API keys can't be read: %v", err)
		}
		line, _ := r.FieldPos(0)
		field := func(name string) string {
			if at, ok := place[name]; ok {
				return strings.TrimSpace(fields[at])
			}
			return ""
		}
		row := KeyRow{Line: line, Key: NewKey{Name: field("name"), Value: field("key"), Description: field("description")}}
		if row.Key.Value == "" {
			return nil, invalid(op, "%s of the file of API keys has no key", row.Where())
		}
		row.Key.Enabled = strings.EqualFold(field("enabled"), "true")
		for id := range strings.SplitSeq(field("usageplanids"), ",") {
			if id = strings.TrimSpace(id); id != "" {
				row.Plans = append(row.Plans, id)
			}
		}
		rows = append(rows, row)
	}
}
