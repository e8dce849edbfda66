package template

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"millrace/internal/gateway/mapping/lint"
	"millrace/internal/yamldoc"
)

// Finding is a fault that a linter sees in a file that loads.
type Finding struct {
	File         string
	Line, Column int
	Where        string // "Resources.Post.Properties.Integration.RequestTemplates.application/json"
	Rule         string
	Message      string
}

func (f Finding) String() string {
	return fmt.Sprintf("%s:%d:%d: %s: %s [%s]", f.File, f.Line, f.Column, f.Where, f.Message, f.Rule)
}

// Lint tells what the linter of mapping templates and that of integrations find in the file. body is the file's text.
func (t *Template) Lint(body []byte) []Finding {
	findings := slices.Clone(t.findings)
	lines := bytes.Split(body, []byte("\n"))
	for i := range findings {
		findings[i].resolve(lines)
	}
	slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
	return findings
}

// resolve adds the indentation of a block of text, which only the file knows.
func (f *Finding) resolve(lines [][]byte) {
	if f.Column >= 0 || f.Line > len(lines) {
		return
	}
	indent := 0
	if f.Line >= 1 {
		line := lines[f.Line-1]
		indent = len(line) - len(bytes.TrimLeft(line, " "))
	}
	f.Column = -f.Column + indent
}

// embeddedTemplate is a mapping template within the file.
type embeddedTemplate struct {
	place
	mediaType, uri string
	request        bool
	gateway        bool // of a gateway response
}

func (e *embeddedTemplate) lint() []lint.Finding {
	if e.gateway {
		return lint.GatewayResponse(e.node.Value)
	}
	return lint.Lint(e.node.Value, lint.Context{MediaType: e.mediaType, Request: e.request, URI: e.uri})
}

// embed notes the templates of a property.
func (p *properties) embed(name, uri string, request bool) {
	sub := p.nested(name)
	if sub == nil {
		return
	}
	for key, value := range yamldoc.Pairs(sub.node) {
		if value.Kind == yaml.ScalarNode {
			p.b.embedded = append(p.b.embedded, embeddedTemplate{place: place{value, sub.at(key.Value)}, mediaType: key.Value, uri: uri, request: request})
		}
	}
}

// embedGateway notes those of a gateway response.
func (p *properties) embedGateway() {
	before := len(p.b.embedded)
	p.embed("ResponseTemplates", "", false)
	for i := before; i < len(p.b.embedded); i++ {
		p.b.embedded[i].gateway = true
	}
}

// lintTemplates looks at all templates of the file. One that does not compile is noted in the plan, too.
func (b *build) lintTemplates() {
	for _, e := range b.embedded {
		for _, f := range e.lint() {
			b.found(e.place, f.Rule, f.Line, f.Column, f.Message)
		}
	}
}

// found keeps a finding at a line and column of a template; 0 is the place itself.
func (b *build) found(at place, rule string, line, column int, message string) {
	f := Finding{File: b.file, Where: at.where, Rule: rule, Message: message}
	if n := at.node; n != nil {
		f.Line, f.Column = n.Line, n.Column
		if line > 0 {
			start, first := yamldoc.TextStart(n)
			switch {
			case first == 0: // a block: the column counts from its indentation, see resolve
				f.Line, f.Column = start+line-1, -column
			case line == 1:
				f.Column = first + column - 1
			default: // a text in quotes, whose lines are escaped
				f.Message = fmt.Sprintf("at %d:%d of the template: %s", line, column, message)
			}
		}
	}
	b.findings = append(b.findings, f)
	if rule == lint.RuleCompile || rule == lint.RuleHidden {
		b.notes = append(b.notes, fmt.Sprintf("%s:%d: %s", b.file, f.Line, f.Message))
	}
}
