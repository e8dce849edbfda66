package vtl

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
)

// expression computes any value.
func (c *compiler) expression(n *Node) eval {
	switch n.Kind {
	case ReferenceNode:
		return c.reference(n)
	case StringNode:
		return c.stringLiteral(n)
	case IntegerNode, FloatNode, BoolNode, NullNode:
		v := c.constant(n)
		return func(*Runtime) (Value, error) { return v, nil }
	case ListNode:
		return c.list(n)
	case MapNode:
		return c.mapping(n)
	case RangeNode:
		return c.span(n)
	case NotNode:
		cond := c.condition(n.Kids[0])
		return func(rt *Runtime) (Value, error) {
			ok, err := cond(rt)
			return Bool(!ok), err
		}
	case BinaryNode:
		return c.binary(n)
	}
	c.fail(n, "this is no value")
	return nil
}

func (c *compiler) constant(n *Node) Value {
	switch n.Kind {
	case BoolNode:
		return Bool(n.Text == "true")
	case IntegerNode:
		if i, err := strconv.ParseInt(n.Text, 10, 64); err == nil {
			return Int(i)
		}
		i, _ := new(big.Int).SetString(n.Text, 10)
		return BigInt(i)
	case FloatNode:
		f, err := strconv.ParseFloat(n.Text, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			c.fail(n, "%s is no number", n.Text)
		}
		return Float(f)
	}
	return Value{}
}

func (c *compiler) stringLiteral(n *Node) eval {
	if len(n.Kids) == 0 {
		v := String(n.Text)
		return func(*Runtime) (Value, error) { return v, nil }
	}
	body := c.block(n.Kids[0])
	return func(rt *Runtime) (Value, error) {
		v, err := rt.capture(body)
		return v, c.located(n, err)
	}
}

// entryBytes is what an entry of a collection counts as.
const entryBytes = 64

func (c *compiler) list(n *Node) eval {
	items := make([]eval, len(n.Kids))
	for i, kid := range n.Kids {
		items[i] = c.expression(kid)
	}
	return func(rt *Runtime) (Value, error) {
		if err := rt.Alloc(entryBytes * (len(items) + 1)); err != nil {
			return Value{}, c.located(n, err)
		}
		l := &List{Items: make([]Value, len(items))}
		for i, item := range items {
			v, err := item(rt)
			if err != nil {
				return Value{}, err
			}
			l.Items[i] = v
		}
		return FromList(l), nil
	}
}

func (c *compiler) mapping(n *Node) eval {
	kids := make([]eval, len(n.Kids))
	for i, kid := range n.Kids {
		kids[i] = c.expression(kid)
	}
	return func(rt *Runtime) (Value, error) {
		if err := rt.Alloc(entryBytes * (len(kids) + 1)); err != nil {
			return Value{}, c.located(n, err)
		}
		m := &Map{}
		for i := 0; i < len(kids); i += 2 {
			key, err := kids[i](rt)
			if err != nil {
				return Value{}, err
			}
			v, err := kids[i+1](rt)
			if err != nil {
				return Value{}, err
			}
			m.Put(key, v)
		}
		return FromMap(m), nil
	}
}

// maxRange bounds [a..b]; a loop ends after a thousand rounds anyway.
const maxRange = 100_000

func (c *compiler) span(n *Node) eval {
	first, last := c.expression(n.Kids[0]), c.expression(n.Kids[1])
	return func(rt *Runtime) (Value, error) {
		a, err := first(rt)
		if err != nil {
			return Value{}, err
		}
		b, err := last(rt)
		if err != nil {
			return Value{}, err
		}
		from, ok1 := a.Int64()
		to, ok2 := b.Int64()
		if !ok1 || !ok2 {
			return Value{}, nil
		}
		count, step := to-from+1, int64(1)
		if from > to {
			count, step = from-to+1, -1
		}
		if count > maxRange || count < 0 {
			return Value{}, c.located(n, fmt.Errorf("a range of more than %d numbers", maxRange))
		}
		if err := rt.Alloc(entryBytes * int(count)); err != nil {
			return Value{}, c.located(n, err)
		}
		l := &List{Items: make([]Value, count)}
		for i := range l.Items {
			l.Items[i] = Int(from)
			from += step
		}
		return FromList(l), nil
	}
}

// condition computes a truth. A reference is false only when it is Boolean false; a literal that is no boolean, and
// a number that was computed, are false.
func (c *compiler) condition(n *Node) func(*Runtime) (bool, error) {
	switch n.Kind {
	case BoolNode:
		truth := n.Text == "true"
		return func(*Runtime) (bool, error) { return truth, nil }
	case NotNode:
		inner := c.condition(n.Kids[0])
		return func(rt *Runtime) (bool, error) {
			ok, err := inner(rt)
			return !ok, err
		}
	case ReferenceNode:
		value := c.reference(n)
		return func(rt *Runtime) (bool, error) {
			v, err := value(rt)
			if v.kind == Boolean {
				return v.bits != 0, err
			}
			return v.kind != Null, err
		}
	case BinaryNode:
		switch n.Text {
		case "&&", "||":
			left, right := c.condition(n.Kids[0]), c.condition(n.Kids[1])
			stopAt := n.Text == "||"
			return func(rt *Runtime) (bool, error) {
				ok, err := left(rt)
				if err != nil || ok == stopAt {
					return ok, err
				}
				return right(rt)
			}
		case "+", "-", "*", "/", "%":
			value := c.binary(n)
			return func(rt *Runtime) (bool, error) {
				_, err := value(rt)
				return false, err
			}
		}
		return c.comparison(n)
	default:
		value := c.expression(n)
		return func(rt *Runtime) (bool, error) {
			if value == nil {
				return false, nil
			}
			_, err := value(rt)
			return false, err
		}
	}
}

func (c *compiler) comparison(n *Node) func(*Runtime) (bool, error) {
	left, right := c.expression(n.Kids[0]), c.expression(n.Kids[1])
	var holds func(rt *Runtime, a, b Value) (bool, error)
	ordered := func(fits func(int) bool) {
		holds = func(_ *Runtime, a, b Value) (bool, error) {
			return a.number() && b.number() && fits(compareNumbers(a, b)), nil
		}
	}
	switch n.Text {
	case "==":
		holds = func(rt *Runtime, a, b Value) (bool, error) { return rt.equal(a, b) }
	case "!=":
		holds = func(rt *Runtime, a, b Value) (bool, error) {
			same, err := rt.equal(a, b)
			return !same, err
		}
	case "<":
		ordered(func(d int) bool { return d < 0 })
	case ">":
		ordered(func(d int) bool { return d > 0 })
	case "<=":
		ordered(func(d int) bool { return d <= 0 })
	case ">=":
		ordered(func(d int) bool { return d >= 0 })
	}
	return func(rt *Runtime) (bool, error) {
		a, err := left(rt)
		if err != nil {
			return false, err
		}
		b, err := right(rt)
		if err != nil {
			return false, err
		}
		ok, err := holds(rt, a, b)
		return ok, c.located(n, err)
	}
}

func (c *compiler) binary(n *Node) eval {
	switch n.Text {
	case "+", "-", "*", "/", "%":
	default:
		cond := c.condition(n)
		return func(rt *Runtime) (Value, error) {
			ok, err := cond(rt)
			return Bool(ok), err
		}
	}
	left, right, op := c.expression(n.Kids[0]), c.expression(n.Kids[1]), n.Text[0]
	return func(rt *Runtime) (Value, error) {
		a, err := left(rt)
		if err != nil {
			return Value{}, err
		}
		b, err := right(rt)
		if err != nil {
			return Value{}, err
		}
		if a.number() && b.number() {
			if a.kind > Double || b.kind > Double || a.kind == BigInteger || b.kind == BigInteger {
				if err := rt.Charge(100); err != nil { // large numbers cost more than a step
					return Value{}, c.located(n, err)
				}
			}
			return arithmetic(op, a, b), nil
		}
		if op == '+' && (a.kind == Text || b.kind == Text) {
			v, err := rt.concat(a, b)
			return v, c.located(n, err)
		}
		return Value{}, nil
	}
}

func (rt *Runtime) concat(a, b Value) (Value, error) {
	a, err := rt.text(a)
	if err != nil {
		return Value{}, err
	}
	if b, err = rt.text(b); err != nil {
		return Value{}, err
	}
	buf, err := rt.Buffer(len(a.str()) + len(b.str()))
	if err != nil {
		return Value{}, err
	}
	return Own(append(append(buf, a.str()...), b.str()...)), nil
}

// equal compares as == does: numbers by value, values of one class by content, others by their texts.
func (rt *Runtime) equal(a, b Value) (bool, error) {
	switch {
	case a.kind == Text && b.kind == Text:
		return a.str() == b.str(), nil
	case a.kind == Null || b.kind == Null:
		return a.kind == b.kind, nil
	case a.number() && b.number():
		return compareNumbers(a, b) == 0, nil
	case a.kind == b.kind:
		return rt.same(a, b, 0)
	}
	if err := rt.Charge(10); err != nil {
		return false, err
	}
	return toText(a) == toText(b), nil
}

// same compares by content, as Java's equals does.
func (rt *Runtime) same(a, b Value, depth int) (bool, error) {
	if err := rt.Charge(1); err != nil {
		return false, err
	}
	if depth > maxPrintDepth {
		return false, errTooDeep
	}
	if a.kind != b.kind {
		return false, nil
	}
	switch a.kind {
	case ListKind:
		x, y := a.List().Items, b.List().Items
		if len(x) != len(y) {
			return false, nil
		}
		for i := range x {
			if ok, err := rt.same(x[i], y[i], depth+1); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case MapKind:
		x, y := a.Map(), b.Map()
		if x.Len() != y.Len() {
			return false, nil
		}
		for _, e := range x.entries {
			v, ok := y.Get(e.Key)
			if !ok {
				return false, nil
			}
			if ok, err := rt.same(e.Value, v, depth+1); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case ObjectKind:
		return a.ref == b.ref, nil
	}
	return keyOf(a) == keyOf(b), nil
}
