package vtl

import (
	"errors"
	"fmt"
)

// part goes one step along a reference.
type part func(rt *Runtime, recv Value) (Value, error)

// reference computes a whole reference. Under the policy Empty one that ends in null is the empty string.
func (c *compiler) reference(n *Node) eval {
	root := c.root(n.Text)
	empty := Value{}
	if c.opts.InvalidReference == Empty {
		empty = String("")
	}
	parts := make([]part, len(n.Kids))
	for i, kid := range n.Kids {
		parts[i] = c.part(kid)
	}
	if len(parts) == 0 {
		return func(rt *Runtime) (Value, error) {
			v, err := root(rt)
			if v.kind == Null {
				v = empty
			}
			keep(v)
			return v, c.located(n, err)
		}
	}
	return func(rt *Runtime) (Value, error) {
		v, err := root(rt)
		if err != nil {
			return v, c.located(n, err)
		}
		for _, p := range parts {
			if v.kind == Null {
				return empty, nil
			}
			if v, err = p(rt, v); err != nil {
				return Value{}, err
			}
		}
		if v.kind == Null {
			return empty, nil
		}
		keep(v)
		return v, nil
	}
}

// root reads a variable: a macro's parameter, one that the template has set, or one of the host's.
func (c *compiler) root(name string) eval {
	if i, ok := c.params[name]; ok {
		return func(rt *Runtime) (Value, error) { return rt.param(i) }
	}
	i := c.slot(name)
	return func(rt *Runtime) (Value, error) {
		s := &rt.slots[i]
		switch s.state {
		case bound:
			if s.value.kind == ObjectKind {
				if b, ok := s.value.ref.(*definedBlock); ok {
					return rt.renderBlock(b)
				}
			}
			return s.value, nil
		case absent:
			return Value{}, nil
		}
		s.state = absent
		if rt.scope != nil {
			if v, ok := rt.scope.Root(rt, name); ok {
				*s = slot{v, bound}
				return v, nil
			}
		}
		return Value{}, nil
	}
}

func (c *compiler) part(n *Node) part {
	switch n.Kind {
	case PropertyNode:
		name := n.Text
		return func(rt *Runtime, recv Value) (Value, error) {
			v, err := rt.property(recv, name)
			return v, c.located(n, err)
		}
	case IndexNode:
		index := c.expression(n.Kids[0])
		return func(rt *Runtime, recv Value) (Value, error) {
			i, err := index(rt)
			if err != nil {
				return Value{}, err
			}
			v, err := rt.index(recv, i)
			return v, c.located(n, err)
		}
	default:
		return c.method(n)
	}
}

func (c *compiler) method(n *Node) part {
	name := n.Text
	args := make([]eval, len(n.Kids))
	for i, kid := range n.Kids {
		args[i] = c.expression(kid)
	}
	return func(rt *Runtime, recv Value) (Value, error) {
		if err := rt.Charge(1); err != nil {
			return Value{}, c.located(n, err)
		}
		base := len(rt.args)
		for _, arg := range args {
			v, err := arg(rt)
			if err != nil {
				rt.args = rt.args[:base]
				return Value{}, err
			}
			rt.args = append(rt.args, v)
		}
		v, _, err := rt.invoke(recv, name, rt.args[base:])
		rt.args = rt.args[:base]
		if err != nil {
			var placed *Error
			if !errors.As(err, &placed) {
				err = fmt.Errorf("%s: %w", name, err)
			}
			return Value{}, c.located(n, err)
		}
		return v, nil
	}
}

func (rt *Runtime) property(recv Value, name string) (Value, error) {
	switch recv.kind {
	case MapKind:
		if name == "class" {
			return Value{}, nil // a Java class in Velocity; nothing that a template could use
		}
		return recv.ref.(*Map).GetString(name), nil
	case ObjectKind:
		return recv.ref.(Object).Property(rt, name)
	case ListKind:
		if name == "empty" {
			return Bool(len(recv.ref.(*List).Items) == 0), nil
		}
	case Text:
		if name == "empty" {
			return Bool(recv.str() == ""), nil
		}
	}
	return Value{}, nil
}

var errIndex = errors.New("the index is out of range")

func (rt *Runtime) index(recv, index Value) (Value, error) {
	switch recv.kind {
	case ListKind:
		items := recv.ref.(*List).Items
		i, ok := listIndex(index, len(items))
		if !ok {
			return Value{}, nil
		}
		if i < 0 || i >= len(items) {
			return Value{}, errIndex
		}
		return items[i], nil
	case MapKind:
		v, _ := recv.ref.(*Map).Get(index)
		return v, nil
	case ObjectKind:
		if s, ok := index.Str(); ok {
			if o, ok := recv.ref.(Indexed); ok {
				return o.Property(rt, s)
			}
		}
		v, _, err := rt.invoke(recv, "get", []Value{index})
		return v, err
	}
	return Value{}, nil
}

// listIndex gives the place that an integer means; a negative one counts from the end.
func listIndex(index Value, n int) (int, bool) {
	i, ok := index.Int64()
	if !ok {
		return 0, false
	}
	if i < 0 {
		i += int64(n)
	}
	if i < 0 || i > int64(n) {
		return -1, true
	}
	return int(i), true
}

func (c *compiler) set(n *Node) exec {
	target := n.Kids[0]
	var assign func(*Runtime, Value) error
	if len(target.Kids) > 0 {
		assign = c.assign(target)
	}
	value := c.expression(n.Kids[1])
	if assign == nil {
		if i, ok := c.params[target.Text]; ok {
			return func(rt *Runtime) error {
				v, err := value(rt)
				if err == nil && v.kind != Null {
					rt.setParam(i, v)
				}
				return err
			}
		}
		i := c.slot(target.Text)
		return func(rt *Runtime) error {
			v, err := value(rt)
			if err != nil {
				return err
			}
			if v.kind != Null { // what is no reference and has no value leaves the variable as it was
				rt.slots[i] = slot{v, bound}
			}
			return nil
		}
	}
	return func(rt *Runtime) error {
		v, err := value(rt)
		if err != nil || v.kind == Null {
			return err
		}
		return assign(rt, v)
	}
}

// assign stores below a variable: $a.b = v, $a["k"] = v, $a[0] = v. Below nothing it does nothing.
func (c *compiler) assign(target *Node) func(*Runtime, Value) error {
	last := target.Kids[len(target.Kids)-1]
	if last.Kind == MethodNode {
		c.fail(last, "#set can't assign to a call")
		return nil
	}
	root := c.root(target.Text)
	parts := make([]part, len(target.Kids)-1)
	for i := range parts {
		parts[i] = c.part(target.Kids[i])
	}
	key := func(*Runtime) (Value, error) { return String(last.Text), nil }
	if last.Kind == IndexNode {
		key = c.expression(last.Kids[0])
	}
	return func(rt *Runtime, v Value) error {
		recv, err := root(rt)
		for _, p := range parts {
			if err != nil || recv.kind == Null {
				break
			}
			recv, err = p(rt, recv)
		}
		if err != nil || recv.kind == Null {
			return c.located(target, err)
		}
		k, err := key(rt)
		if err != nil {
			return err
		}
		return c.located(last, rt.store(recv, k, v))
	}
}

func (rt *Runtime) store(recv, key, v Value) error {
	switch recv.kind {
	case MapKind:
		if err := rt.Alloc(entryBytes); err != nil {
			return err
		}
		recv.ref.(*Map).Put(key, v)
	case ListKind:
		l := recv.ref.(*List)
		i, ok := listIndex(key, len(l.Items))
		if !ok {
			return nil
		}
		if i < 0 || i >= len(l.Items) {
			return errIndex
		}
		l.Items[i] = v
	case ObjectKind:
		if o, ok := recv.ref.(Indexed); ok {
			name, err := rt.text(key)
			if err != nil {
				return err
			}
			return o.SetProperty(rt, name.str(), v)
		}
	}
	return nil
}
