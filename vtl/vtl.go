package vtl

import (
	"errors"
	"fmt"
	"time"
)

// Policy says what a reference without a value is.
type Policy uint8

const (
	// Empty: the empty string, in print, in comparisons and in #set. This is the one deviation of API Gateway.
	Empty Policy = iota
	// Source: null, and its own source text in print, as stock Velocity 1.7 has it.
	Source
)

// Limits bound what a template may cost. A zero field means its default.
type Limits struct {
	TemplateBytes int           // source; 300 KB, as the service
	Iterations    int           // of one loop, which then just ends; 1000, as the service
	Steps         int           // evaluations of one rendering, and bytes that methods walk over; 20 million
	OutputBytes   int           // rendered text; 32 MiB: a 10 MB payload in base64 and some
	MemoryBytes   int           // strings and collections that one rendering makes; 128 MiB
	Depth         int           // macro calls and evaluations within one another; 50
	Duration      time.Duration // one rendering; 5 s
}

func (l *Limits) fill() {
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&l.TemplateBytes, 300<<10)
	set(&l.Iterations, 1000)
	set(&l.Steps, 20_000_000)
	set(&l.OutputBytes, 32<<20)
	set(&l.MemoryBytes, 128<<20)
	set(&l.Depth, 50)
	if l.Duration == 0 {
		l.Duration = 5 * time.Second
	}
}

// Options of a template. The zero value is what API Gateway does.
type Options struct {
	InvalidReference Policy
	Limits           Limits
}

// Error tells where and why a template failed, when compiled or when rendered.
type Error struct {
	Name         string // of the template
	Line, Column int    // from 1; a column counts bytes
	Msg          string
	Err          error // the cause, when a method or the host failed
}

// Error prints "name:line:column: message".
func (e *Error) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Msg)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.Name, e.Line, e.Column, e.Msg)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Scope resolves the variables of the host. It is asked once a rendering for a name, when the template first reads it
// without having set it.
type Scope interface {
	Root(rt *Runtime, name string) (Value, bool)
}

// Names is a Scope of plain values.
type Names map[string]Value

// Root gives a value by name.
func (n Names) Root(_ *Runtime, name string) (Value, bool) {
	v, ok := n[name]
	return v, ok
}

// Template is a compiled template. It is safe for concurrent use.
type Template struct {
	name   string
	root   *Node
	opts   Options
	run    exec
	slots  map[string]int
	macros map[string]*macroCode
}

// Compile reads a template. Name stands in error messages.
func Compile(name, src string, opts Options) (*Template, error) {
	opts.Limits.fill()
	if len(src) > opts.Limits.TemplateBytes {
		return nil, &Error{Name: name, Line: 1, Column: 1,
			Msg: fmt.Sprintf("the template has %d bytes; at most %d are allowed", len(src), opts.Limits.TemplateBytes)}
	}
	p := &parser{name: name, src: src, line: 1, column: 1, macros: map[string]*Node{}, limits: &opts.Limits}
	p.findMacros()
	root, err := p.whole()
	if err != nil {
		return nil, err
	}
	c := &compiler{name: name, opts: &opts, slots: map[string]int{}, macros: map[string]*macroCode{}}
	t := &Template{name: name, root: root, opts: opts}
	t.run = c.block(root)
	if c.err != nil {
		return nil, c.err
	}
	t.slots, t.macros = c.slots, c.macros
	return t, nil
}

// Name gives the name that the template was compiled with.
func (t *Template) Name() string { return t.name }

// Render appends the rendering to dst. When it fails it gives dst as it was, and an *Error.
func (t *Template) Render(dst []byte, scope Scope) ([]byte, error) {
	rt := newRuntime(t, scope)
	base := len(dst)
	rt.out, rt.base = dst, base
	err := t.run(rt)
	out := rt.out
	rt.release()
	if err != nil && !errors.Is(err, errStop) && !errors.Is(err, errBreak) {
		return out[:base], err
	}
	return out, nil
}
