// Package lint finds faults in mapping templates that compile and run: what loses or
// breaks data without an error anywhere.
//
// It follows what a value is made of through #set and #foreach, without regard to
// order, and looks at where it ends: in quotes of JSON, in a second urlDecode, in a
// partition key. Rules lists what it knows.
package lint

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"millrace/internal/gateway/mapping"
	"millrace/vtl"
)

// The rules.
const (
	RuleCompile      = "does-not-compile"
	RuleDoubleDecode = "double-url-decode"
	RuleUnescaped    = "unescaped-json-value"
	RulePartitionKey = "constant-partition-key"
	RuleInputPath    = "input-path-on-non-json"
	RuleHyphen       = "swallowed-hyphen"
	RuleNoTemplate   = "no-template-language"
	RuleHidden       = "hidden-error" // of an integration, not of a template: package restapi finds it
)

// Rule explains one rule.
type Rule struct{ Name, Explanation string }

// Rules lists the rules with a sentence for each.
var Rules = []Rule{
	{RuleCompile, "The template does not compile: every call is answered with 500."},
	{RuleDoubleDecode, "A value goes through $util.urlDecode twice: + and % that a caller has sent are lost (%2B becomes a blank)."},
	{RuleUnescaped, "A caller's value stands between quotes of JSON without $util.escapeJavaScript: a quote in it breaks the record."},
	{RulePartitionKey, "Every record has the same partition key, or none: all go to one shard, or are refused."},
	{RuleInputPath, "$input.path or $input.json of a body that is no JSON: the whole body as a text at best."},
	{RuleHyphen, "A hyphen belongs to the name of a reference: $name-x reads the variable name-x. Write ${name}-x."},
	{RuleNoTemplate, "A gateway response's template uses VTL, which is not evaluated there: callers see it as it is written."},
	{RuleHidden, "An integration answers 2xx to every outcome: on AWS a refused record looks stored."},
}

// Finding is one fault.
type Finding struct {
	Rule         string
	Line, Column int // in the template, from 1
	Message      string
}

// Context says where a template stands.
type Context struct {
	MediaType string // "application/json"
	// Request: a request template, which sees what callers send. Else a response template, which sees a backend's answer.
	Request bool
	URI     string // of the integration: "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord"
}

// Lint looks at one template.
func Lint(text string, c Context) []Finding {
	t, err := mapping.Compile("template", text)
	if err != nil {
		f := Finding{Rule: RuleCompile, Line: 1, Column: 1, Message: err.Error()}
		var at *vtl.Error
		if errors.As(err, &at) {
			f.Line, f.Column, f.Message = at.Line, at.Column, at.Msg
		}
		return []Finding{f}
	}
	l := &linter{context: c, variables: map[string]value{}, constants: map[string]string{}}
	l.learn(t.VTL())
	l.inspect(t.VTL())
	slices.SortStableFunc(l.findings, func(a, b Finding) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
	return slices.CompactFunc(l.findings, func(a, b Finding) bool { return a.Rule == b.Rule && a.Line == b.Line && a.Column == b.Column })
}

// value says what a value may be made of.
type value uint8

const (
	raw      value = 1 << iota // a caller's text as it was sent
	decoded                    // that has been through urlDecode
	constant                   // a literal
	varying                    // something that differs from call to call
)

// linter is one template being looked at.
type linter struct {
	context   Context
	variables map[string]value
	constants map[string]string // variables that only ever hold one literal
	findings  []Finding
}

func (l *linter) tell(n *vtl.Node, rule, message string) {
	l.findings = append(l.findings, Finding{rule, n.Line, n.Column, message})
}

// learn follows values into variables until nothing new is learned; facts only grow, and there are few.
func (l *linter) learn(t *vtl.Template) {
	for range 1 + 4*8 {
		changed := false
		note := func(name string, v value) {
			if had := l.variables[name]; had|v != had {
				l.variables[name] = had | v
				changed = true
			}
		}
		literals := map[string][]string{}
		t.Walk(func(n *vtl.Node) bool {
			switch n.Kind {
			case vtl.SetNode:
				if name := n.Kids[0].Text; len(n.Kids[0].Kids) == 0 {
					note(name, l.value(n.Kids[1]))
					literals[name] = append(literals[name], literal(n.Kids[1]))
				}
			case vtl.ForeachNode:
				note(n.Text, l.value(n.Kids[0])&^constant|varying)
				literals[n.Text] = append(literals[n.Text], "", "")
			}
			return true
		})
		for name, all := range literals {
			if len(all) == 1 {
				l.constants[name] = all[0]
			}
		}
		if !changed {
			return
		}
	}
}

// literal gives the text of a string without references.
func literal(n *vtl.Node) string {
	if n.Kind == vtl.StringNode && !hasReference(n) {
		return n.Text
	}
	return ""
}

func hasReference(n *vtl.Node) bool {
	if n.Kind == vtl.ReferenceNode {
		return true
	}
	return slices.ContainsFunc(n.Kids, hasReference)
}

// value says what an expression is made of.
func (l *linter) value(n *vtl.Node) value {
	switch n.Kind {
	case vtl.ReferenceNode:
		return l.reference(n)
	case vtl.IntegerNode, vtl.FloatNode, vtl.BoolNode, vtl.NullNode:
		return constant
	case vtl.StringNode:
		if !hasReference(n) {
			return constant
		}
	case vtl.TextNode:
		return 0
	case vtl.BinaryNode:
		if n.Text != "+" {
			return varying
		}
	case vtl.RangeNode, vtl.NotNode:
		return varying
	}
	var all value
	for _, k := range n.Kids {
		all |= l.value(k)
	}
	if hasReference(n) {
		all |= varying
	}
	return all
}

// reference follows a reference from its root through its properties and methods.
func (l *linter) reference(n *vtl.Node) value {
	switch n.Text {
	case "input":
		return l.input(n)
	case "util":
		return l.util(n)
	case "context":
		return contextValue(n)
	case "stageVariables":
		return constant
	case "foreach":
		return varying
	}
	v := l.variables[n.Text]
	for _, k := range n.Kids {
		if k.Kind == vtl.MethodNode && slices.Contains(measures, k.Text) {
			return varying // a number, or true or false
		}
		if k.Kind == vtl.MethodNode && len(k.Kids) > 0 {
			v |= varying
		}
	}
	return v
}

var measures = []string{"size", "length", "isEmpty", "contains", "startsWith", "endsWith", "indexOf", "equals", "matches", "containsKey"}

// method gives the first method called on a root, and its arguments.
func method(n *vtl.Node) (name string, args []*vtl.Node) {
	if len(n.Kids) == 0 || n.Kids[0].Kind != vtl.MethodNode {
		return "", nil
	}
	return n.Kids[0].Text, n.Kids[0].Kids
}

func (l *linter) input(n *vtl.Node) value {
	if !l.context.Request {
		return varying // a backend's answer
	}
	name, args := method(n)
	switch name {
	case "json":
		return varying // JSON already
	case "params":
		// The trace id is made or checked by the gateway.
		if len(args) == 1 && strings.EqualFold(args[0].Text, "X-Amzn-Trace-Id") {
			return varying
		}
	}
	for _, k := range n.Kids[min(1, len(n.Kids)):] {
		if k.Kind == vtl.MethodNode && slices.Contains(measures, k.Text) {
			return varying
		}
	}
	return raw | varying
}

func (l *linter) util(n *vtl.Node) value {
	name, args := method(n)
	var in value
	for _, a := range args {
		in |= l.value(a)
	}
	switch name {
	case "urlDecode":
		return in | decoded | varying
	case "escapeJavaScript", "base64Encode", "urlEncode":
		return in&^(raw|decoded) | in&constant
	}
	return in
}

// fromCallers are the members of $context that repeat what a caller has sent.
var fromCallers = []string{"userAgent", "path", "resourcePath"}

func contextValue(n *vtl.Node) value {
	if k := len(n.Kids); k > 0 && n.Kids[k-1].Kind == vtl.PropertyNode {
		switch name := n.Kids[k-1].Text; {
		case slices.Contains(fromCallers[:2], name):
			return raw | varying
		case name == "stage", name == "apiId", name == "resourcePath", name == "resourceId", name == "httpMethod", name == "accountId":
			return constant
		}
	}
	return varying
}

// inspect looks for the faults.
func (l *linter) inspect(t *vtl.Template) {
	t.Walk(func(n *vtl.Node) bool {
		if n.Kind == vtl.ReferenceNode {
			l.checkDecode(n)
			l.checkInput(n)
			l.checkHyphen(n)
		}
		if n.Kind == vtl.StringNode && len(n.Kids) > 0 {
			l.checkText(n.Kids[0].Kids, false)
		}
		return true
	})
	var top []*vtl.Node
	t.Walk(func(n *vtl.Node) bool {
		top = printed(n, top)
		return false
	})
	l.checkText(top, true)
}

// printed gives what is printed, in order, whatever conditions say.
func printed(n *vtl.Node, all []*vtl.Node) []*vtl.Node {
	switch n.Kind {
	case vtl.TextNode, vtl.ReferenceNode:
		return append(all, n)
	case vtl.BlockNode:
		for _, k := range n.Kids {
			all = printed(k, all)
		}
	case vtl.ForeachNode:
		return printed(n.Kids[1], all)
	case vtl.IfNode:
		for i, k := range n.Kids {
			if i%2 == 1 || i == len(n.Kids)-1 {
				all = printed(k, all)
			}
		}
	}
	return all
}

func (l *linter) checkDecode(n *vtl.Node) {
	if name, args := method(n); n.Text == "util" && name == "urlDecode" && len(args) == 1 && l.value(args[0])&decoded != 0 {
		l.tell(n, RuleDoubleDecode, "the argument has been through $util.urlDecode already: a + or % of the caller's is decoded twice and lost")
	}
}

func (l *linter) checkInput(n *vtl.Node) {
	name, _ := method(n)
	if n.Text != "input" || (name != "path" && name != "json") || l.context.MediaType == "" || isJSON(l.context.MediaType) {
		return
	}
	if name == "path" {
		l.tell(n, RuleInputPath, "$input.path reads JSON; of "+l.context.MediaType+" it gives the whole body as a text, and only for '$'. $input.body says what is meant")
		return
	}
	if l.context.MediaType == "text/plain" {
		return // as navigator.sendBeacon calls the JSON that a page has made into a text
	}
	l.tell(n, RuleInputPath, "$input.json reads JSON; a body of "+l.context.MediaType+" is none")
}

func isJSON(mediaType string) bool {
	return strings.HasSuffix(mediaType, "/json") || strings.HasSuffix(mediaType, "+json") || strings.HasPrefix(mediaType, "application/x-amz-json")
}

func (l *linter) checkHyphen(n *vtl.Node) {
	if strings.HasPrefix(n.Source, "${") || strings.HasPrefix(n.Source, "$!{") {
		return // the braces say where the name ends
	}
	if _, set := l.variables[n.Text]; strings.Contains(n.Text, "-") && !set {
		name, rest, _ := strings.Cut(n.Text, "-")
		l.tell(n, RuleHyphen, "this reads a variable named "+n.Text+", which is never set; if $"+name+" followed by -"+rest+" is meant, write ${"+name+"}-"+rest)
		return
	}
	if k := len(n.Kids); k > 0 && n.Kids[k-1].Kind == vtl.PropertyNode {
		name := n.Kids[k-1].Text
		if strings.HasSuffix(name, "-") || n.Text == "context" && strings.Contains(name, "-") {
			l.tell(n, RuleHyphen, "the hyphen belongs to the property's name, "+name+"; write ${...} around the reference")
		}
	}
}

// checkText follows the quotes of JSON through texts and references: a value that stands between them must be escaped.
func (l *linter) checkText(nodes []*vtl.Node, output bool) {
	s := scanner{l: l, output: output}
	for _, n := range nodes {
		switch {
		case n.Kind == vtl.TextNode:
			s.text(n)
		case n.Kind != vtl.ReferenceNode:
		case len(n.Kids) == 0 && l.constants[n.Text] == `"`: // the idiom $q for a quote
			s.quote()
		default:
			s.reference(n)
		}
	}
}

// scanner is where checkText is in the JSON.
type scanner struct {
	l        *linter
	output   bool
	inside   bool      // between quotes
	isValue  bool      // of a member; else its name
	started  *vtl.Node // where the string being read begins
	current  string    // its literal text
	pure     bool      // it is nothing but literal text
	constant bool      // it is made of literals
	key      string    // the last string that a colon followed
	last     string    // the last string that was closed
}

func (s *scanner) text(n *vtl.Node) {
	line, column := n.Line, n.Column
	escaped := false
	for _, c := range []byte(n.Text) {
		at := &vtl.Node{Line: line, Column: column}
		switch {
		case escaped:
			escaped = false
		case c == '\\' && s.inside:
			escaped = true
		case c == '"':
			if !s.inside {
				s.started = at
			}
			s.quote()
		case s.inside:
			s.current += string(c)
		case c == ':':
			s.key = s.last
		case c == ',', c == '{', c == '}':
			s.key = ""
		}
		if column++; c == '\n' {
			line, column = line+1, 1
		}
	}
}

func (s *scanner) quote() {
	if !s.inside {
		s.inside, s.current, s.pure, s.constant = true, "", true, true
		s.isValue = s.key != ""
		return
	}
	s.inside = false
	if s.isValue {
		s.value()
		s.key = ""
	} else {
		s.last = s.current
	}
}

// value is told a string that is a value.
func (s *scanner) value() {
	if !s.output || s.key != "PartitionKey" || s.started == nil || !strings.Contains(s.l.context.URI, "kinesis:action/PutRecord") {
		return
	}
	switch {
	case s.pure && s.current == "":
		s.l.tell(s.started, RulePartitionKey, "the partition key is empty: Kinesis refuses every record")
	case s.constant:
		s.l.tell(s.started, RulePartitionKey, "the partition key is the same for every record: all go to one shard. $context.requestId spreads them")
	}
}

func (s *scanner) reference(n *vtl.Node) {
	v := s.l.value(n)
	if s.inside {
		s.pure = false
		if v&^constant != 0 || v == 0 {
			s.constant = false
		}
		if v&raw != 0 && s.l.context.Request {
			s.l.tell(n, RuleUnescaped, n.Source+" stands between quotes of JSON as the caller has sent it; a \" or a line break in it breaks the document. Write $util.escapeJavaScript("+n.Source+")")
		}
		return
	}
	s.last = ""
}
