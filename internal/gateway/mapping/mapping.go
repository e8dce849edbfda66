// Package mapping renders the mapping templates of API Gateway: it gives the vtl
// engine the variables $input, $util, $context and $stageVariables.
//
//	Template ── Render(dst, Input, Overrides) ──> the integration request, or the response
//	  Input      the payload, its parameters, the context of the request
//	  Overrides  what templates left in $context.requestOverride and responseOverride
//
// The same code renders live traffic, `millrace vtl render` and the cases of
// `millrace vtl test` (package vtlcase).
package mapping

import (
	"strings"
	"sync"

	"millrace/vtl"
)

// Template is a compiled mapping template. It is safe for concurrent use.
type Template struct{ t *vtl.Template }

// Compile reads a mapping template; name stands in errors, which are *vtl.Error.
func Compile(name, src string) (*Template, error) {
	t, err := vtl.Compile(name, src, vtl.Options{})
	if err != nil {
		return nil, err
	}
	return &Template{t}, nil
}

// VTL gives the parsed template, for linters.
func (t *Template) VTL() *vtl.Template { return t.t }

// Param is a named value: a path parameter, a query parameter, a header or a stage variable.
type Param struct{ Name, Value string }

// Params keeps parameters in the order in which they came. A name may stand in it more than once; the last one wins.
type Params []Param

// Get gives the last value of a name, in exactly its spelling.
func (p Params) Get(name string) (string, bool) {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i].Name == name {
			return p[i].Value, true
		}
	}
	return "", false
}

// GetFold gives the last value of a name: in exactly its spelling, else in any. The service wants the exact one; but
// HTTP/2 has lower-case names only, and net/http knows but one spelling, so that a template that says
// X-Api-Key must find x-api-key.
func (p Params) GetFold(name string) (string, bool) {
	if v, ok := p.Get(name); ok {
		return v, true
	}
	for i := len(p) - 1; i >= 0; i-- {
		if len(p[i].Name) == len(name) && strings.EqualFold(p[i].Name, name) {
			return p[i].Value, true
		}
	}
	return "", false
}

// All gives all values of a name.
func (p Params) All(name string) []string {
	var all []string
	for i := range p {
		if p[i].Name == name {
			all = append(all, p[i].Value)
		}
	}
	return all
}

// Input is what a template can see. It must not change while a template renders.
type Input struct {
	Body           string // the payload: of the request, or in a response template of the backend's answer
	Path           Params
	Query          Params
	Header         Params
	StageVariables Params
	Context        *Context
}

// Render appends the rendering to dst. What the template overrides is added to ov, which may be nil when nothing
// reads it. When it fails it gives dst as it was, and a *vtl.Error.
func (t *Template) Render(dst []byte, in *Input, ov *Overrides) ([]byte, error) {
	s := scopes.Get().(*scope)
	s.in, s.ov = in, ov
	s.input.s, s.context.s, s.stage.s = s, s, s
	if ov != nil {
		ov.begin()
	}
	dst, err := t.t.Render(dst, s)
	*s = scope{}
	scopes.Put(s)
	return dst, err
}

// scope resolves the variables of one rendering.
type scope struct {
	in      *Input
	ov      *Overrides
	input   inputObject
	context contextObject
	stage   stageObject
	own     Overrides // when the caller wants none
}

var scopes = sync.Pool{New: func() any { return new(scope) }}

// Root gives the service's variables.
func (s *scope) Root(_ *vtl.Runtime, name string) (vtl.Value, bool) {
	switch name {
	case "input":
		return vtl.FromObject(&s.input), true
	case "util":
		return vtl.FromObject(util{}), true
	case "context":
		return vtl.FromObject(&s.context), true
	case "stageVariables":
		return vtl.FromObject(&s.stage), true
	}
	return vtl.Value{}, false
}

func (s *scope) overrides() *Overrides {
	if s.ov == nil {
		s.ov = &s.own
		s.ov.begin()
	}
	return s.ov
}

// paramsMap makes a map of strings, the last value of a name at its first place.
func paramsMap(p Params) *vtl.Map {
	m := &vtl.Map{}
	for _, param := range p {
		m.Put(vtl.String(param.Name), vtl.String(param.Value))
	}
	return m
}

// stageObject is $stageVariables.
type stageObject struct {
	s *scope
	m *vtl.Map // made when a template does more than look a name up
}

// Property gives a stage variable.
func (o *stageObject) Property(_ *vtl.Runtime, name string) (vtl.Value, error) {
	if o.m != nil {
		return o.m.GetString(name), nil
	}
	if v, ok := o.s.in.StageVariables.Get(name); ok {
		return vtl.String(v), nil
	}
	return vtl.Value{}, nil
}

// SetProperty changes a stage variable for this rendering.
func (o *stageObject) SetProperty(_ *vtl.Runtime, name string, v vtl.Value) error {
	o.mapped().Put(vtl.String(name), v)
	return nil
}

func (o *stageObject) mapped() *vtl.Map {
	if o.m == nil {
		o.m = paramsMap(o.s.in.StageVariables)
	}
	return o.m
}

// Call calls the methods of a map.
func (o *stageObject) Call(rt *vtl.Runtime, method string, args []vtl.Value) (vtl.Value, bool, error) {
	return rt.Invoke(vtl.FromMap(o.mapped()), method, args)
}

// Values are what #foreach walks over.
func (o *stageObject) Values() []vtl.Value { return values(o.mapped()) }

// AppendText prints a map.
func (o *stageObject) AppendText(dst []byte) []byte { return appendMap(dst, o.mapped()) }

func values(m *vtl.Map) []vtl.Value {
	var all []vtl.Value
	for _, e := range m.Entries() {
		all = append(all, e.Value)
	}
	return all
}

// maxPrinted bounds what a map of parameters prints as: it comes from headers and a URL of some 20 KB.
const maxPrinted = 1 << 20

func appendMap(dst []byte, m *vtl.Map) []byte {
	out, err := vtl.FromMap(m).AppendText(dst, maxPrinted)
	if err != nil {
		return dst
	}
	return out
}
