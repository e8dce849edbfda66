// Package vtlcase runs case files of mapping templates: a template, the request
// that it sees, and the rendering that it must give, to the byte.
//
// A case file is JSON with the members of [Case]. Cases run through the same code
// as live traffic. `millrace vtl test` and this project's own conformance test use
// this package.
package vtlcase

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"

	"millrace/internal/gateway/mapping"
	"millrace/vtl"
)

// Case is one case file.
type Case struct {
	Name           string          `json:"name"`
	Template       string          `json:"template"`
	ContentType    string          `json:"contentType"`
	Body           *string         `json:"body"` // null: none
	Headers        Params          `json:"headers"`
	Query          Params          `json:"query"`
	Path           Params          `json:"path"`
	StageVariables Params          `json:"stageVariables"`
	Context        json.RawMessage `json:"context"` // nested objects of strings
	Want           *string         `json:"want"`
	WantError      bool            `json:"wantError"`
	WantOverrides  json.RawMessage `json:"wantOverrides"`
	PlainVelocity  *string         `json:"plainVelocity"` // what stock Velocity prints; for information
	Basis          string          `json:"basis"`
	Note           string          `json:"note"`
}

// Params reads a JSON object of strings and keeps its order.
type Params mapping.Params

// UnmarshalJSON reads an object of strings.
func (p *Params) UnmarshalJSON(doc []byte) error {
	*p = nil
	dec := json.NewDecoder(bytes.NewReader(doc))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("an object of strings belongs here, not %.40s", doc)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var value string
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("the value of %q: %w", name, err)
		}
		*p = append(*p, mapping.Param{Name: name.(string), Value: value})
	}
	_, err := dec.Token()
	return err
}

// maxFile bounds a case file.
const maxFile = 32 << 20

// Load reads a case file. Unknown members are errors: a misspelt "wnat" must not make a case pass.
func Load(file string) (*Case, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dec := json.NewDecoder(io.LimitReader(f, maxFile))
	dec.DisallowUnknownFields()
	c := &Case{}
	if err := dec.Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if c.Want == nil && !c.WantError {
		return nil, fmt.Errorf("%s: a case needs want, or wantError: true", file)
	}
	if c.Want != nil && c.WantError {
		return nil, fmt.Errorf("%s: want and wantError exclude one another", file)
	}
	return c, nil
}

// Run renders the case. Diff is empty when it passes, else it says what differs.
func (c *Case) Run() (diff string) {
	out, ov, err := c.Render()
	switch {
	case c.WantError && err == nil:
		return fmt.Sprintf("want an error\ngot  %q", out)
	case c.WantError:
		return ""
	case err != nil:
		return fmt.Sprintf("want %q\ngot the error %v", *c.Want, err)
	case string(out) != *c.Want:
		return Diff(*c.Want, string(out))
	}
	return c.overridesDiff(ov)
}

// Render compiles and renders the template of the case.
func (c *Case) Render() ([]byte, *mapping.Overrides, error) {
	in, err := c.input()
	if err != nil {
		return nil, nil, err
	}
	t, err := mapping.Compile(c.Name, c.Template)
	if err != nil {
		return nil, nil, err
	}
	ov := &mapping.Overrides{}
	out, err := t.Render(nil, in, ov)
	return out, ov, err
}

// input gives what the template of the case sees.
func (c *Case) input() (*mapping.Input, error) {
	in := &mapping.Input{
		Path: mapping.Params(c.Path), Query: mapping.Params(c.Query), Header: mapping.Params(c.Headers),
		StageVariables: mapping.Params(c.StageVariables),
	}
	if c.Body != nil {
		in.Body = *c.Body
	}
	if len(c.Context) > 0 {
		given, err := object(c.Context)
		if err != nil {
			return nil, fmt.Errorf("context: %w", err)
		}
		in.Context = &mapping.Context{Given: given}
	}
	return in, nil
}

// object reads nested objects of strings, in order.
func object(doc json.RawMessage) (*vtl.Map, error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("an object belongs here, not %.40s", doc)
	}
	m := &vtl.Map{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, err
		}
		var value vtl.Value
		var s string
		if json.Unmarshal(raw, &s) == nil {
			value = vtl.String(s)
		} else {
			inner, err := object(raw)
			if err != nil {
				return nil, fmt.Errorf("%v: %w", name, err)
			}
			value = vtl.FromMap(inner)
		}
		m.Put(vtl.String(name.(string)), value)
	}
	return m, nil
}

func (c *Case) overridesDiff(ov *mapping.Overrides) string {
	if len(c.WantOverrides) == 0 {
		return ""
	}
	var want any
	if err := json.Unmarshal(c.WantOverrides, &want); err != nil {
		return fmt.Sprintf("wantOverrides: %v", err)
	}
	request, response := ov.Members()
	got := map[string]any{}
	if request.Len() > 0 {
		got["requestOverride"] = plain(vtl.FromMap(request))
	}
	if response.Len() > 0 {
		got["responseOverride"] = plain(vtl.FromMap(response))
	}
	w, _ := json.Marshal(want) // what was decoded can be encoded
	g, _ := json.Marshal(got)
	if string(w) != string(g) {
		return fmt.Sprintf("want the overrides %s\ngot  the overrides %s", w, g)
	}
	return ""
}

// plain turns what a template has set into what encoding/json gives for it.
func plain(v vtl.Value) any {
	if m := v.Map(); m != nil {
		all := map[string]any{}
		for _, e := range m.Entries() {
			key, _ := e.Key.Str()
			all[key] = plain(e.Value)
		}
		return all
	}
	if l := v.List(); l != nil {
		all := make([]any, len(l.Items))
		for i, item := range l.Items {
			all[i] = plain(item)
		}
		return all
	}
	if n, ok := v.Int64(); ok {
		return float64(n)
	}
	text, _ := v.AppendText(nil, maxFile)
	return string(text)
}

// Diff shows where two texts part.
func Diff(want, got string) string {
	at := 0
	for at < len(want) && at < len(got) && want[at] == got[at] {
		at++
	}
	line := strings.Count(want[:at], "\n") + 1
	return fmt.Sprintf("want %q\ngot  %q\nthey part at byte %d, line %d", want, got, at, line)
}

// Suffixes end the names of the case files of a folder: a case of a template each, and the cases of a definition
// (package offline).
var Suffixes = []string{".json", ".cases.yaml", ".cases.yml"}

// Files gives the case files that the arguments name: files themselves, and those of folders by their Suffixes.
func Files(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, arg)
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.IsDir() && slices.ContainsFunc(Suffixes, func(s string) bool { return strings.HasSuffix(e.Name(), s) }) {
				files = append(files, arg+string(os.PathSeparator)+e.Name())
			}
		}
	}
	sort.Strings(files)
	return files, nil
}
