package vtl

import (
	"errors"
	"fmt"
	"maps"
)

// walker renders a template by walking its tree, node by node, with variables in a map and each text in memory of its own:
// no closure, no slot, nothing that is used again. It is what closures are compared with. Methods, arithmetic and printing
// are shared, for they have tests that say what they must give; so is what work is charged for, that both meet the same bounds.
type walker struct {
	rt      *Runtime // for methods, and to count; its out and slots stay unused
	name    string
	scope   Scope
	vars    map[string]Value
	known   map[string]bool // variables that outlive an #evaluate
	macros  map[string]*Node
	frame   *walkFrame
	out     []byte
	loops   []*loop
	leaving *loop
}

// walkFrame is a macro call in progress.
type walkFrame struct {
	caller *walkFrame
	call   *Node
	within *Node // the macro that the call is written in; nil: none
	local  map[int]Value
}

// walkedBlock is the value of a #define.
type walkedBlock struct {
	block, within *Node
	frame         *walkFrame
}

func (*walkedBlock) Property(*Runtime, string) (Value, error)            { return Value{}, nil }
func (*walkedBlock) Call(*Runtime, string, []Value) (Value, bool, error) { return Value{}, false, nil }

// renderByWalking does what Render does.
func renderByWalking(t *Template, scope Scope) (string, error) {
	w := &walker{rt: &Runtime{t: &Template{name: t.name, opts: t.opts}, check: checkEvery}, name: t.name, scope: scope,
		vars: map[string]Value{}, known: map[string]bool{}}
	w.learn(t.root)
	err := w.statement(t.root, nil)
	if err != nil && !errors.Is(err, errStop) && !errors.Is(err, errBreak) {
		return "", err
	}
	return string(w.out), nil
}

// learn finds the macros of a tree, of which the first of a name counts, and the names of its variables.
func (w *walker) learn(root *Node) {
	w.macros = map[string]*Node{}
	var find func(n, within *Node)
	find = func(n, within *Node) {
		switch n.Kind {
		case MacroNode:
			if w.macros[n.Text] == nil {
				w.macros[n.Text] = n
				find(n.Kids[len(n.Kids)-1], n)
			}
			return
		case ReferenceNode:
			if _, is := parameter(within, n.Text); !is {
				w.known[n.Text] = true
			}
		case ForeachNode:
			w.known[n.Text] = true
			for _, name := range foreachNames {
				w.known[name] = true
			}
		case DefineNode:
			w.known[n.Text] = true
		}
		for _, kid := range n.Kids {
			find(kid, within)
		}
	}
	find(root, nil)
}

// parameter gives the index of a name among the parameters of the macro in whose text it stands.
func parameter(within *Node, name string) (int, bool) {
	if within == nil {
		return 0, false
	}
	if name == "bodyContent" {
		return bodyContent, true
	}
	for i := len(within.Kids) - 2; i >= 0; i-- {
		if within.Kids[i].Text == name {
			return i, true
		}
	}
	return 0, false
}

func (w *walker) located(n *Node, err error) error {
	var placed *Error
	if err == nil || errors.Is(err, errStop) || errors.Is(err, errBreak) || errors.As(err, &placed) {
		return err
	}
	return &Error{Name: w.name, Line: n.Line, Column: n.Column, Msg: err.Error(), Err: err}
}

func (w *walker) statement(n, within *Node) error {
	switch n.Kind {
	case BlockNode:
		for _, kid := range n.Kids {
			if err := w.statement(kid, within); err != nil {
				return err
			}
		}
	case TextNode:
		w.out = append(w.out, n.Text...)
	case ReferenceNode:
		v, err := w.value(n, within)
		if err != nil {
			return err
		}
		if v.IsNull() {
			if w.rt.t.opts.InvalidReference == Source && !n.Quiet {
				w.out = append(w.out, n.Source...)
			}
			return nil
		}
		text, err := v.AppendText(nil, w.rt.t.opts.Limits.OutputBytes)
		if err != nil {
			return w.located(n, err)
		}
		w.out = append(w.out, text...)
	case SetNode:
		return w.set(n, within)
	case IfNode:
		kids := n.Kids
		for ; len(kids) >= 2; kids = kids[2:] {
			if ok, err := w.truth(kids[0], within); err != nil {
				return err
			} else if ok {
				return w.statement(kids[1], within)
			}
		}
		if len(kids) == 1 {
			return w.statement(kids[0], within)
		}
	case ForeachNode:
		return w.foreach(n, within)
	case BreakNode:
		return w.leave(n, within)
	case StopNode:
		return errStop
	case DefineNode:
		w.vars[n.Text] = FromObject(&walkedBlock{n.Kids[0], within, w.frame})
	case CallNode:
		return w.call(n, within)
	case EvaluateNode:
		v, err := w.value(n.Kids[0], within)
		if err != nil {
			return err
		}
		if v, err = w.rt.text(v); err != nil {
			return w.located(n, err)
		}
		return w.located(n, w.evaluate(n, v.str()))
	}
	return nil
}

func (w *walker) foreach(n, within *Node) error {
	v, err := w.value(n.Kids[0], within)
	if err != nil {
		return err
	}
	items, _ := iterable(w.rt, v)
	if len(items) == 0 {
		return nil
	}
	saved := maps.Clone(w.vars)
	l := &loop{}
	if len(w.loops) > 0 {
		l.parent = w.loops[len(w.loops)-1]
	}
	w.loops = append(w.loops, l)
	w.vars["foreach"] = FromObject(l)
	for i, item := range items {
		if i >= w.rt.t.opts.Limits.Iterations {
			break
		}
		if err = w.rt.Charge(1); err != nil {
			break
		}
		l.index, l.more = i, i+1 < len(items)
		w.vars[n.Text] = item
		w.vars["velocityCount"] = Int(int64(i + 1))
		w.vars["velocityHasNext"] = Bool(l.more)
		if err = w.statement(n.Kids[1], within); err != nil {
			if errors.Is(err, errBreak) && (w.leaving == nil || w.leaving == l) {
				w.leaving, err = nil, nil
			}
			break
		}
	}
	l.over = true
	w.loops = w.loops[:len(w.loops)-1]
	for _, name := range append(foreachNames[:], n.Text) {
		if old, had := saved[name]; had {
			w.vars[name] = old
		} else {
			delete(w.vars, name)
		}
	}
	return w.located(n, err)
}

func (w *walker) leave(n, within *Node) error {
	if len(n.Kids) == 0 {
		return errBreak
	}
	v, err := w.value(n.Kids[0], within)
	if err != nil {
		return err
	}
	l, ok := v.Object().(*loop)
	if !ok || l.over {
		return w.located(n, errors.New("#break needs $foreach or one of its parents"))
	}
	w.leaving = l
	return errBreak
}

func (w *walker) call(n, within *Node) error {
	m := w.macros[n.Text]
	if m == nil {
		w.out = append(w.out, n.Source...)
		return nil
	}
	err := w.rt.Charge(1)
	if err == nil {
		err = w.rt.enter()
	}
	if err != nil {
		return w.located(n, err)
	}
	w.frame = &walkFrame{caller: w.frame, call: n, within: within, local: map[int]Value{}}
	err = w.statement(m.Kids[len(m.Kids)-1], m)
	w.frame = w.frame.caller
	w.rt.exit()
	return err
}

// captured gives what a block prints.
func (w *walker) captured(n, within *Node) (Value, error) {
	outer := w.out
	w.out = nil
	err := w.statement(n, within)
	text := w.out
	w.out = outer
	if err != nil && (!errors.Is(err, errBreak) || w.leaving != nil) {
		return Value{}, err
	}
	return w.rt.Copy(text)
}

func (w *walker) evaluate(n *Node, source string) error {
	if err := w.rt.enter(); err != nil {
		return err
	}
	defer w.rt.exit()
	limits := &w.rt.t.opts.Limits
	if err := w.rt.Charge(limits.Steps/maxEvaluations + len(source)); err != nil {
		return err
	}
	p := &parser{name: w.name, src: source, line: n.Line, column: n.Column, macros: map[string]*Node{}, limits: limits}
	p.findMacros()
	root, err := p.whole()
	if err != nil {
		return err
	}
	if _, err := (&compiled{opts: w.rt.t.opts, name: w.name}).check(root); err != nil {
		return err
	}
	macros, known := w.macros, maps.Clone(w.known)
	w.learn(root)
	err = w.statement(root, nil)
	w.macros, w.known = macros, known
	for name := range w.vars {
		if !known[name] {
			delete(w.vars, name)
		}
	}
	if errors.Is(err, errBreak) && w.leaving == nil {
		return nil
	}
	return err
}

// compiled tells what the compiler refuses, which a walk would meet late or never.
type compiled struct {
	opts Options
	name string
}

func (k *compiled) check(root *Node) (*Node, error) {
	c := &compiler{name: k.name, opts: &k.opts, slots: map[string]int{}, macros: map[string]*macroCode{}}
	c.block(root)
	return root, c.err
}

func (w *walker) value(n, within *Node) (Value, error) {
	switch n.Kind {
	case ReferenceNode:
		return w.reference(n, within)
	case StringNode:
		if len(n.Kids) == 0 {
			return String(n.Text), nil
		}
		v, err := w.captured(n.Kids[0], within)
		return v, w.located(n, err)
	case ListNode:
		if err := w.rt.Alloc(entryBytes * (len(n.Kids) + 1)); err != nil {
			return Value{}, w.located(n, err)
		}
		items, err := w.values(n.Kids, within)
		return FromList(&List{Items: items}), err
	case MapNode:
		if err := w.rt.Alloc(entryBytes * (len(n.Kids) + 1)); err != nil {
			return Value{}, w.located(n, err)
		}
		items, err := w.values(n.Kids, within)
		m := &Map{}
		for i := 0; i+1 < len(items); i += 2 {
			m.Put(items[i], items[i+1])
		}
		return FromMap(m), err
	case RangeNode:
		return w.span(n, within)
	case NotNode:
		ok, err := w.truth(n.Kids[0], within)
		return Bool(!ok), err
	case BinaryNode:
		switch n.Text {
		case "+", "-", "*", "/", "%":
			return w.arithmetic(n, within)
		}
		ok, err := w.truth(n, within)
		return Bool(ok), err
	}
	return (&compiler{}).constant(n), nil
}

func (w *walker) values(nodes []*Node, within *Node) ([]Value, error) {
	all := make([]Value, 0, len(nodes))
	for _, n := range nodes {
		v, err := w.value(n, within)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func (w *walker) span(n, within *Node) (Value, error) {
	ends, err := w.values(n.Kids, within)
	if err != nil {
		return Value{}, err
	}
	from, ok1 := ends[0].Int64()
	to, ok2 := ends[1].Int64()
	if !ok1 || !ok2 {
		return Value{}, nil
	}
	count := max(to-from, from-to) + 1
	if count > maxRange || count < 0 {
		return Value{}, w.located(n, fmt.Errorf("a range of more than %d numbers", maxRange))
	}
	if err := w.rt.Alloc(entryBytes * int(count)); err != nil {
		return Value{}, w.located(n, err)
	}
	l := &List{}
	for i := from; ; {
		l.Items = append(l.Items, Int(i))
		switch {
		case i < to:
			i++
		case i > to:
			i--
		default:
			return FromList(l), nil
		}
	}
}

func (w *walker) arithmetic(n, within *Node) (Value, error) {
	sides, err := w.values(n.Kids, within)
	if err != nil {
		return Value{}, err
	}
	a, b := sides[0], sides[1]
	large := func(v Value) bool { return v.kind > Double || v.kind == BigInteger }
	switch {
	case a.number() && b.number():
		if large(a) || large(b) {
			if err := w.rt.Charge(100); err != nil {
				return Value{}, w.located(n, err)
			}
		}
		return arithmetic(n.Text[0], a, b), nil
	case n.Text == "+" && (a.kind == Text || b.kind == Text):
		v, err := w.rt.concat(a, b)
		return v, w.located(n, err)
	}
	return Value{}, nil
}

// truth is what #if, ! and the operators of logic make of an expression.
func (w *walker) truth(n, within *Node) (bool, error) {
	switch n.Kind {
	case BoolNode:
		return n.Text == "true", nil
	case NotNode:
		ok, err := w.truth(n.Kids[0], within)
		return !ok, err
	case ReferenceNode:
		v, err := w.value(n, within)
		if b, is := v.Truth(); is {
			return b, err
		}
		return !v.IsNull(), err
	case BinaryNode:
		switch n.Text {
		case "+", "-", "*", "/", "%":
		case "&&", "||":
			ok, err := w.truth(n.Kids[0], within)
			if err != nil || ok == (n.Text == "||") {
				return ok, err
			}
			return w.truth(n.Kids[1], within)
		default:
			return w.compares(n, within)
		}
	}
	_, err := w.value(n, within) // neither a boolean nor a reference
	return false, err
}

func (w *walker) compares(n, within *Node) (bool, error) {
	sides, err := w.values(n.Kids, within)
	if err != nil {
		return false, err
	}
	a, b := sides[0], sides[1]
	switch n.Text {
	case "==", "!=":
		same, err := w.rt.equal(a, b)
		return same == (n.Text == "=="), w.located(n, err)
	}
	order, ok := CompareNumbers(a, b)
	switch n.Text {
	case "<":
		ok = ok && order < 0
	case ">":
		ok = ok && order > 0
	case "<=":
		ok = ok && order <= 0
	case ">=":
		ok = ok && order >= 0
	}
	return ok, nil
}

func (w *walker) reference(n, within *Node) (Value, error) {
	v, err := w.variable(n.Text, within)
	if err != nil {
		return Value{}, w.located(n, err)
	}
	if v, err = w.follow(v, n.Kids, within); err != nil {
		return Value{}, err
	}
	if v.IsNull() && w.rt.t.opts.InvalidReference == Empty {
		return String(""), nil
	}
	return v, nil
}

// follow goes along the parts of a reference, as far as there is something.
func (w *walker) follow(v Value, parts []*Node, within *Node) (Value, error) {
	for _, p := range parts {
		if v.IsNull() {
			break
		}
		var err error
		switch p.Kind {
		case PropertyNode:
			v, err = w.rt.property(v, p.Text)
		case IndexNode:
			var at Value
			if at, err = w.value(p.Kids[0], within); err != nil {
				return Value{}, err
			}
			v, err = w.rt.index(v, at)
		default:
			v, err = w.method(v, p, within)
		}
		if err != nil {
			return Value{}, w.located(p, err)
		}
	}
	return v, nil
}

func (w *walker) method(recv Value, n, within *Node) (Value, error) {
	if err := w.rt.Charge(1); err != nil {
		return Value{}, err
	}
	args, err := w.values(n.Kids, within)
	if err != nil {
		return Value{}, err
	}
	v, _, err := w.rt.invoke(recv, n.Text, args)
	var placed *Error
	if err != nil && !errors.As(err, &placed) {
		err = fmt.Errorf("%s: %w", n.Text, err)
	}
	return v, err
}

func (w *walker) variable(name string, within *Node) (Value, error) {
	if i, is := parameter(within, name); is {
		return w.argument(i)
	}
	if v, set := w.vars[name]; set {
		if b, is := v.Object().(*walkedBlock); is {
			return w.defined(b)
		}
		return v, nil
	}
	v, _ := w.scope.Root(w.rt, name)
	return v, nil
}

func (w *walker) defined(b *walkedBlock) (Value, error) {
	if err := w.rt.enter(); err != nil {
		return Value{}, err
	}
	outer := w.frame
	w.frame = b.frame
	v, err := w.captured(b.block, b.within)
	w.frame = outer
	w.rt.exit()
	return v, err
}

// argument evaluates what a parameter stands for, where the call is written.
func (w *walker) argument(i int) (Value, error) {
	f := w.frame
	if f == nil {
		return Value{}, nil
	}
	args := f.call.Kids
	if f.call.Body {
		args = args[:len(args)-1]
	}
	if v, set := f.local[i]; set {
		return v, nil
	}
	w.frame = f.caller
	defer func() { w.frame = f }()
	switch {
	case i == bodyContent && f.call.Body:
		return w.captured(f.call.Kids[len(args)], f.within)
	case i == bodyContent || i >= len(args):
		return Value{}, nil
	}
	return w.value(args[i], f.within)
}

func (w *walker) set(n, within *Node) error {
	v, err := w.value(n.Kids[1], within)
	if err != nil || v.IsNull() {
		return err
	}
	target := n.Kids[0]
	i, is := parameter(within, target.Text)
	if len(target.Kids) == 0 {
		switch {
		case !is:
			w.vars[target.Text] = v
		case w.frame != nil && i != bodyContent:
			w.frame.local[i] = v
		}
		return nil
	}
	recv, err := w.variable(target.Text, within)
	last := len(target.Kids) - 1
	if err == nil {
		recv, err = w.follow(recv, target.Kids[:last], within)
	}
	if err != nil || recv.IsNull() {
		return w.located(target, err)
	}
	key := String(target.Kids[last].Text)
	if target.Kids[last].Kind == IndexNode {
		if key, err = w.value(target.Kids[last].Kids[0], within); err != nil {
			return err
		}
	}
	return w.located(target.Kids[last], w.rt.store(recv, key, v))
}
