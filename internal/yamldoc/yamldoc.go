// Package yamldoc reads definition files in YAML or JSON into nodes that know their
// lines, within bounds, and words problems with what they say.
//
// Definition files come from users, by command line and by API: their size, depth
// and aliases are bounded, and duplicate keys are errors, as they are in
// CloudFormation. Scalars keep their text: an account id such as 000000000000 is no
// number, and 2010-09-09 no date, unless the reader says so.
package yamldoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a file. Source of the size: API Gateway imports 6 MB; CloudFormation takes 1 MB.
const (
	MaxBytes = 6 << 20
	maxDepth = 100
	// maxNodes bounds the tree after aliases are followed: a few lines can name billions.
	maxNodes = 1 << 20
	// MaxProblems bounds what is told of one file.
	MaxProblems = 100
)

// Problem is something wrong at a place of a file.
type Problem struct {
	File         string
	Line, Column int    // 0: not known
	Where        string // "Resources.Api.Properties.Name", a path as people read it
	Reason       string
}

func (p *Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
		}
		b.WriteString(": ")
	}
	if p.Where != "" {
		b.WriteString(p.Where)
		b.WriteString(": ")
	}
	b.WriteString(p.Reason)
	return b.String()
}

// Problems are all that is wrong with a file, in the order of its lines.
type Problems []*Problem

func (p Problems) Error() string {
	lines := make([]string, 0, len(p))
	for _, one := range p {
		lines = append(lines, one.Error())
	}
	return strings.Join(lines, "\n")
}

// Parse reads a file. The node is the document's content; aliases have been followed, so that no node is shared.
func Parse(file string, body []byte) (*yaml.Node, error) {
	fail := func(line, column int, format string, args ...any) (*yaml.Node, error) {
		return nil, Problems{{File: file, Line: line, Column: column, Reason: fmt.Sprintf(format, args...)}}
	}
	if len(body) > MaxBytes {
		return fail(0, 0, "the file has %d bytes; at most %d", len(body), MaxBytes)
	}
	if !utf8.Valid(body) {
		return fail(0, 0, "the file is not UTF-8")
	}
	if trimmed := bytes.TrimLeft(body, "\ufeff \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		var syntax *json.SyntaxError
		if err := json.Unmarshal(body, new(json.RawMessage)); errors.As(err, &syntax) {
			line, column := place(body, int(syntax.Offset)-1)
			return fail(line, column, "JSON not well-formed: %v", syntax)
		}
		body = yamlOfJSON(body)
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&doc); err != nil {
		return fail(lineOf(err), 1, "YAML not well-formed: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); err == nil {
		return fail(0, 0, "the file holds several documents; one is expected")
	}
	t := tree{file: file}
	root := t.copy(doc.Content[0], 0)
	if len(t.problems) > 0 {
		return nil, t.problems
	}
	return root, nil
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// lineOf finds the line in an error of the YAML reader, which tells it in its text alone.
func lineOf(err error) int {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // digits by the expression
	return n
}

func place(body []byte, offset int) (line, column int) {
	before := body[:min(offset, len(body))]
	return 1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n')
}

// yamlOfJSON makes of JSON what a YAML reader takes, at the same lines: tabs between tokens become blanks, and pairs of
// surrogate escapes the character that they mean.
func yamlOfJSON(body []byte) []byte {
	out := make([]byte, 0, len(body))
	inString := false
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case c == '"':
			inString = !inString
		case c == '\t' && !inString:
			c = ' '
		case c == '\\' && inString && i+1 < len(body):
			if n, r := surrogates(body[i:]); n > 0 {
				out = utf8.AppendRune(out, r)
				i += n - 1
				continue
			}
			out = append(out, c)
			i++
			c = body[i]
		}
		out = append(out, c)
	}
	return out
}

const escapedPair = len(`\ud83d\ude00`)

// surrogates reads a pair of escapes at the start of b; a half of one means the replacement character.
func surrogates(b []byte) (n int, r rune) {
	if len(b) < 6 || b[1] != 'u' {
		return 0, 0
	}
	var text string
	if len(b) >= escapedPair && b[6] == '\\' && b[7] == 'u' {
		if json.Unmarshal([]byte(`"`+string(b[:escapedPair])+`"`), &text) == nil && utf8.RuneCountInString(text) == 1 {
			r, _ = utf8.DecodeRuneInString(text)
			return escapedPair, r
		}
	}
	if v, err := strconv.ParseUint(string(b[2:6]), 16, 32); err == nil && v >= 0xd800 && v <= 0xdfff {
		return 6, utf8.RuneError
	}
	return 0, 0
}

// tree copies nodes, following aliases, within bounds.
type tree struct {
	file     string
	nodes    int
	problems Problems
}

func (t *tree) tell(n *yaml.Node, reason string) {
	if len(t.problems) < MaxProblems {
		t.problems = append(t.problems, &Problem{File: t.file, Line: n.Line, Column: n.Column, Reason: reason})
	}
}

func (t *tree) copy(n *yaml.Node, depth int) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if t.nodes++; t.nodes > maxNodes {
		if t.nodes == maxNodes+1 {
			t.tell(n, "the file is too large once its aliases are followed")
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	}
	if depth > maxDepth {
		t.tell(n, fmt.Sprintf("nested deeper than %d", maxDepth))
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style, Line: n.Line, Column: n.Column}
	seen := map[string]bool{}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			switch {
			case child.Kind != yaml.ScalarNode:
				t.tell(child, "a key that is no text")
			case child.Tag == "!!merge":
				t.tell(child, "merge keys (<<) are not supported")
			case seen[child.Value]:
				t.tell(child, fmt.Sprintf("the key %q stands here twice", child.Value))
			}
			seen[child.Value] = true
		}
		out.Content = append(out.Content, t.copy(child, depth+1))
	}
	return out
}

// Pairs walks over the entries of a mapping; of anything else it has none.
func Pairs(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// Get finds the value of a key in a mapping; nil: it has none.
func Get(n *yaml.Node, key string) *yaml.Node {
	for k, v := range Pairs(n) {
		if k.Value == key {
			return v
		}
	}
	return nil
}

// Key finds the key itself, for its place.
func Key(n *yaml.Node, key string) *yaml.Node {
	for k := range Pairs(n) {
		if k.Value == key {
			return k
		}
	}
	return n
}

// IsNull reports whether a node is absent or null.
func IsNull(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// Text gives the text of a scalar, whatever it looks like.
func Text(n *yaml.Node) (string, bool) {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return "", false
	}
	return n.Value, true
}

// Int gives a scalar that is a whole number, also when it is written as a text.
func Int(n *yaml.Node) (int, bool) {
	text, ok := Text(n)
	if !ok {
		return 0, false
	}
	v, err := strconv.Atoi(strings.TrimSpace(text))
	return v, err == nil
}

// Bool gives a scalar that is true or false, also when it is written as a text.
func Bool(n *yaml.Node) (value, ok bool) {
	text, ok := Text(n)
	if !ok {
		return false, false
	}
	switch strings.ToLower(text) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// Scalar makes a text node at the place of another.
func Scalar(at *yaml.Node, text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Line: at.Line, Column: at.Column, Style: at.Style}
}

// JSON writes a node as JSON, keys in their order, numbers as they were written.
func JSON(n *yaml.Node) []byte { return appendJSON(nil, n) }

func appendJSON(dst []byte, n *yaml.Node) []byte {
	if n == nil {
		return append(dst, "null"...)
	}
	switch n.Kind {
	case yaml.MappingNode:
		dst = append(dst, '{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, n.Content[i].Value), ':')
			dst = appendJSON(dst, n.Content[i+1])
		}
		return append(dst, '}')
	case yaml.SequenceNode:
		dst = append(dst, '[')
		for i, c := range n.Content {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, c)
		}
		return append(dst, ']')
	}
	switch n.Tag {
	case "!!null":
		return append(dst, "null"...)
	case "!!bool", "!!int", "!!float":
		if text := strings.ToLower(n.Value); json.Valid([]byte(text)) {
			return append(dst, text...)
		}
	}
	return appendString(dst, n.Value)
}

func appendString(dst []byte, s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always has a form, and a buffer always room
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// TextStart gives line and column at which the text of a scalar begins in the file: that of a block (| or >) begins on
// the line after its mark.
func TextStart(n *yaml.Node) (line, column int) {
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return n.Line + 1, 0
	}
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
		return n.Line, n.Column + 1
	}
	return n.Line, n.Column
}
