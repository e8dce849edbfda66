package vtl

import (
	"errors"
	"fmt"
)

// compiler turns nodes into closures. Choices that the source decides are made here, once.
type compiler struct {
	name   string
	opts   *Options
	slots  map[string]int
	macros map[string]*macroCode
	// params are the parameters of the macro being compiled.
	params map[string]int
	err    error
}

type macroCode struct {
	taken bool // a definition has been met; its body follows when it is compiled
	body  exec
}

func (c *compiler) slot(name string) int {
	i, ok := c.slots[name]
	if !ok {
		i = len(c.slots)
		c.slots[name] = i
	}
	return i
}

func (c *compiler) fail(n *Node, format string, args ...any) {
	if c.err == nil {
		c.err = &Error{Name: c.name, Line: n.Line, Column: n.Column, Msg: fmt.Sprintf(format, args...)}
	}
}

// located gives an error the place of a node, unless it has one or is no error at all.
func (c *compiler) located(n *Node, err error) error {
	if err == nil || errors.Is(err, errStop) || errors.Is(err, errBreak) {
		return err
	}
	var placed *Error
	if errors.As(err, &placed) {
		return err
	}
	return &Error{Name: c.name, Line: n.Line, Column: n.Column, Msg: err.Error(), Err: err}
}

func (c *compiler) block(n *Node) exec {
	steps := make([]exec, 0, len(n.Kids))
	for _, kid := range n.Kids {
		if step := c.statement(kid); step != nil {
			steps = append(steps, step)
		}
	}
	switch len(steps) {
	case 0:
		return func(*Runtime) error { return nil }
	case 1:
		return steps[0]
	}
	return func(rt *Runtime) error {
		for _, step := range steps {
			if err := step(rt); err != nil {
				return err
			}
		}
		return nil
	}
}

func (c *compiler) statement(n *Node) exec {
	switch n.Kind {
	case TextNode:
		text := n.Text
		return func(rt *Runtime) error {
			rt.out = append(rt.out, text...)
			return nil
		}
	case ReferenceNode:
		return c.print(n)
	case SetNode:
		return c.set(n)
	case IfNode:
		return c.ifDirective(n)
	case ForeachNode:
		return c.foreach(n)
	case BreakNode:
		return c.breakDirective(n)
	case StopNode:
		return func(*Runtime) error { return errStop }
	case DefineNode:
		return c.define(n)
	case MacroNode:
		c.macro(n)
		return nil
	case CallNode:
		return c.call(n)
	case EvaluateNode:
		return c.evaluate(n)
	case BlockNode:
		return c.block(n)
	}
	c.fail(n, "this can't stand in text")
	return nil
}

// print renders a reference.
func (c *compiler) print(n *Node) exec {
	value := c.reference(n)
	stock, quiet, source := c.opts.InvalidReference == Source, n.Quiet, n.Source
	return func(rt *Runtime) error {
		v, err := value(rt)
		if err != nil {
			return err
		}
		switch v.kind {
		case Text:
			rt.out = append(rt.out, v.str()...)
		case ListKind, MapKind, ObjectKind:
			if rt.out, err = v.AppendText(rt.out, rt.t.opts.Limits.OutputBytes); err != nil {
				return c.located(n, err)
			}
		case Null:
			if stock && !quiet {
				rt.out = append(rt.out, source...)
			}
		default:
			rt.out = appendScalar(rt.out, v)
		}
		if err := rt.room(); err != nil {
			return c.located(n, err)
		}
		return nil
	}
}

func (c *compiler) ifDirective(n *Node) exec {
	type branch struct {
		cond func(*Runtime) (bool, error)
		body exec
	}
	var branches []branch
	var otherwise exec
	kids := n.Kids
	for len(kids) >= 2 {
		branches = append(branches, branch{c.condition(kids[0]), c.block(kids[1])})
		kids = kids[2:]
	}
	if len(kids) == 1 {
		otherwise = c.block(kids[0])
	}
	return func(rt *Runtime) error {
		for i := range branches {
			ok, err := branches[i].cond(rt)
			if err != nil {
				return err
			}
			if ok {
				return branches[i].body(rt)
			}
		}
		if otherwise != nil {
			return otherwise(rt)
		}
		return nil
	}
}

// foreachNames are the variables that a loop sets beside its own.
var foreachNames = [...]string{"foreach", "velocityCount", "velocityHasNext"}

func (c *compiler) foreach(n *Node) exec {
	items := c.expression(n.Kids[0])
	variable := c.slot(n.Text)
	body := c.block(n.Kids[1])
	// Only what the template reads somewhere is worth setting.
	var extra [len(foreachNames)]int
	for i, name := range foreachNames {
		extra[i] = c.slot(name)
	}
	return func(rt *Runtime) error {
		v, err := items(rt)
		if err != nil {
			return err
		}
		l, ok := iterable(rt, v)
		if !ok {
			return nil
		}
		return c.located(n, rt.iterate(l, variable, extra, body))
	}
}

// iterable gives the items of what #foreach can walk over.
func iterable(rt *Runtime, v Value) ([]Value, bool) {
	switch v.kind {
	case ListKind:
		return v.ref.(*List).Items, true
	case MapKind:
		m := v.ref.(*Map)
		l := rt.NewList(ArrayList)
		for _, e := range m.entries {
			l.Items = append(l.Items, e.Value)
		}
		return l.Items, true
	case ObjectKind:
		if m, ok := v.ref.(interface{ Values() []Value }); ok {
			return m.Values(), true
		}
	}
	return nil, false
}

func (rt *Runtime) iterate(items []Value, variable int, extra [3]int, body exec) (err error) {
	if len(items) == 0 {
		return nil
	}
	var saved [4]slot
	saved[0] = rt.slots[variable]
	for i, s := range extra {
		saved[i+1] = rt.slots[s]
	}
	l := rt.pushLoop()
	rt.slots[extra[0]] = slot{FromObject(l), bound}
	for i, item := range items {
		if i >= rt.t.opts.Limits.Iterations {
			break
		}
		if err = rt.Charge(1); err != nil {
			break
		}
		l.index, l.more = i, i+1 < len(items)
		rt.slots[variable] = slot{item, bound}
		rt.slots[extra[1]] = slot{Value{kind: Integer, bits: uint64(i + 1)}, bound}
		rt.slots[extra[2]] = slot{Bool(l.more), bound}
		if err = body(rt); err != nil {
			if errors.Is(err, errBreak) && (rt.leave == nil || rt.leave == l) {
				rt.leave, err = nil, nil
			}
			break
		}
	}
	l.over = true
	if l.kept {
		rt.loops[len(rt.loops)-1] = nil
	}
	rt.loops = rt.loops[:len(rt.loops)-1]
	rt.slots[variable] = saved[0]
	for i, s := range extra {
		rt.slots[s] = saved[i+1]
	}
	return err
}

// pushLoop enters a loop. The states of loops that have ended are used again, unless a template kept one.
func (rt *Runtime) pushLoop() *loop {
	var parent *loop
	if n := len(rt.loops); n > 0 {
		parent = rt.loops[n-1]
	}
	if n := len(rt.loops); n < cap(rt.loops) {
		if l := rt.loops[:n+1][n]; l != nil {
			*l = loop{parent: parent}
			rt.loops = rt.loops[:n+1]
			return l
		}
	}
	l := &loop{parent: parent}
	rt.loops = append(rt.loops, l)
	return l
}

func (c *compiler) breakDirective(n *Node) exec {
	if len(n.Kids) == 0 {
		return func(rt *Runtime) error { return errBreak }
	}
	target := c.expression(n.Kids[0])
	return func(rt *Runtime) error {
		v, err := target(rt)
		if err != nil {
			return err
		}
		if l, ok := v.ref.(*loop); ok && !l.over {
			rt.leave = l
			return errBreak
		}
		return c.located(n, errors.New("#break needs $foreach or one of its parents"))
	}
}

// definedBlock is the value of a #define: it renders anew at each use.
type definedBlock struct {
	body  exec
	frame *frame
}

// Property and Call are never reached: a block is rendered to text as soon as it is read.
func (*definedBlock) Property(*Runtime, string) (Value, error) { return Value{}, nil }

// Call knows no methods.
func (*definedBlock) Call(*Runtime, string, []Value) (Value, bool, error) {
	return Value{}, false, nil
}

func (c *compiler) define(n *Node) exec {
	slotIndex, body := c.slot(n.Text), c.block(n.Kids[0])
	return func(rt *Runtime) error {
		rt.slots[slotIndex] = slot{Value{kind: ObjectKind, ref: &definedBlock{body, rt.frame}}, bound}
		return nil
	}
}

func (rt *Runtime) renderBlock(b *definedBlock) (Value, error) {
	if err := rt.enter(); err != nil {
		return Value{}, err
	}
	saved := rt.frame
	rt.frame = b.frame
	v, err := rt.capture(b.body)
	rt.frame = saved
	rt.exit()
	return v, err
}

func (c *compiler) macro(n *Node) {
	code := c.macroCode(n.Text)
	if code.taken {
		return // the first definition stays, also while it is being read
	}
	code.taken = true
	params, body := n.Kids[:len(n.Kids)-1], n.Kids[len(n.Kids)-1]
	outer := c.params
	c.params = map[string]int{}
	for i, p := range params {
		c.params[p.Text] = i
	}
	c.params["bodyContent"] = bodyContent
	code.body = c.block(body)
	c.params = outer
}

// bodyContent stands for the index of a parameter: the body of #@name.
const bodyContent = -1

func (c *compiler) macroCode(name string) *macroCode {
	code := c.macros[name]
	if code == nil {
		code = &macroCode{}
		c.macros[name] = code
	}
	return code
}

func (c *compiler) call(n *Node) exec {
	code := c.macroCode(n.Text)
	kids := n.Kids
	if n.Body {
		kids = kids[:len(kids)-1]
	}
	args := make([]eval, len(kids))
	for i, kid := range kids {
		args[i] = c.expression(kid)
	}
	var body exec
	if n.Body { // after the arguments: of two macros of one name the first in the source stays
		body = c.block(n.Kids[len(kids)])
	}
	source := n.Source
	return func(rt *Runtime) error {
		if code.body == nil {
			rt.out = append(rt.out, source...) // it only looked like a definition
			return nil
		}
		if err := rt.Charge(1); err != nil {
			return c.located(n, err)
		}
		if err := rt.enter(); err != nil {
			return c.located(n, err)
		}
		rt.frame = &frame{caller: rt.frame, code: code, args: args, body: body}
		err := code.body(rt)
		rt.frame = rt.frame.caller
		rt.exit()
		return err
	}
}

// param reads a macro's parameter: its argument is evaluated at each use, among the caller's parameters.
func (rt *Runtime) param(index int) (Value, error) {
	f := rt.frame
	if f == nil {
		return Value{}, nil
	}
	if index == bodyContent {
		if f.body == nil {
			return Value{}, nil
		}
		rt.frame = f.caller
		v, err := rt.capture(f.body)
		rt.frame = f
		return v, err
	}
	if index < len(f.local) && f.local[index].state == bound {
		return f.local[index].value, nil
	}
	if index >= len(f.args) {
		return Value{}, nil
	}
	rt.frame = f.caller
	v, err := f.args[index](rt)
	rt.frame = f
	return v, err
}

func (rt *Runtime) setParam(index int, v Value) {
	f := rt.frame
	if f == nil || index == bodyContent {
		return
	}
	for len(f.local) <= index {
		f.local = append(f.local, slot{})
	}
	f.local[index] = slot{v, bound}
}

// maxEvaluations bounds how many texts one rendering compiles.
const maxEvaluations = 1000

func (c *compiler) evaluate(n *Node) exec {
	source := c.expression(n.Kids[0])
	return func(rt *Runtime) error {
		v, err := source(rt)
		if err != nil {
			return err
		}
		if v, err = rt.text(v); err != nil {
			return c.located(n, err)
		}
		return c.located(n, rt.evaluate(n, v.str()))
	}
}

// evaluate compiles and runs a text. Variables that the template does not name live only as long as the text runs.
func (rt *Runtime) evaluate(n *Node, source string) error {
	if err := rt.enter(); err != nil {
		return err
	}
	defer rt.exit()
	opts := rt.t.opts
	if err := rt.Charge(opts.Limits.Steps/maxEvaluations + len(source)); err != nil {
		return err
	}
	p := &parser{name: rt.t.name, src: source, line: n.Line, column: n.Column, macros: map[string]*Node{}, limits: &opts.Limits}
	p.findMacros()
	root, err := p.whole()
	if err != nil {
		return err
	}
	c := &compiler{name: rt.t.name, opts: &opts, slots: map[string]int{}, macros: map[string]*macroCode{}}
	for name, i := range rt.t.slots {
		c.slots[name] = i
	}
	run := c.block(root)
	if c.err != nil {
		return c.err
	}
	outer, slots := rt.t, len(rt.slots)
	rt.t = &Template{name: outer.name, root: root, opts: outer.opts, slots: c.slots, macros: c.macros}
	for len(rt.slots) < len(c.slots) {
		rt.slots = append(rt.slots, slot{})
	}
	err = run(rt)
	clear(rt.slots[slots:])
	rt.slots = rt.slots[:slots]
	rt.t = outer
	if errors.Is(err, errBreak) && rt.leave == nil {
		return nil
	}
	return err
}
