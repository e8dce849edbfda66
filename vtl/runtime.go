package vtl

import (
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"
)

// exec renders a piece of a template to rt.out; eval computes a value.
type (
	exec func(rt *Runtime) error
	eval func(rt *Runtime) (Value, error)
)

var (
	errStop  = errors.New("#stop")
	errBreak = errors.New("#break")
)

// Runtime is the state of one rendering. A host gets it with every call, to make strings in the rendering's arena
// and to charge for work.
type Runtime struct {
	t     *Template
	scope Scope
	out   []byte
	base  int // where this rendering's output begins
	slots []slot
	args  []Value // a stack: arguments of calls in progress
	frame *frame  // of the innermost macro
	loops []*loop
	depth int // of macros, evaluations and #define blocks
	leave *loop

	arena  []byte // the chunk in use
	memory int    // bytes made so far
	steps  int
	check  int // steps at which the clock is looked at
	until  time.Time

	lists []*List // handed out again by the next rendering
	used  int
}

// slot is a variable.
type slot struct {
	value Value
	state slotState
}

type slotState uint8

const (
	unread slotState = iota // the scope has not been asked
	absent                  // the scope knows it not
	bound
)

const (
	// firstChunk is the size of a new arena; it holds what an event of a few hundred bytes needs.
	firstChunk = 4 << 10
	// keptArena bounds what a pooled state keeps: one large body must not hold memory for ever.
	keptArena = 64 << 10
	// checkEvery is how many steps pass between two looks at the clock.
	checkEvery = 4096
	// keptLists bounds the lists that are kept for the next rendering.
	keptLists = 64
)

var runtimes = sync.Pool{New: func() any { return &Runtime{arena: make([]byte, 0, firstChunk)} }}

func newRuntime(t *Template, scope Scope) *Runtime {
	rt := runtimes.Get().(*Runtime)
	rt.t, rt.scope = t, scope
	if n := len(t.slots); cap(rt.slots) >= n {
		rt.slots = rt.slots[:n]
	} else {
		rt.slots = make([]slot, n, n+8)
	}
	rt.check = checkEvery
	return rt
}

func (rt *Runtime) release() {
	clear(rt.slots)
	clear(rt.args[:cap(rt.args)])
	rt.t, rt.scope, rt.out, rt.frame, rt.leave = nil, nil, nil, nil, nil
	rt.slots, rt.args, rt.loops = rt.slots[:0], rt.args[:0], rt.loops[:0]
	rt.depth, rt.memory, rt.steps, rt.until = 0, 0, 0, time.Time{}
	if cap(rt.arena) > keptArena {
		rt.arena = make([]byte, 0, firstChunk)
	}
	rt.arena = rt.arena[:0]
	if len(rt.lists) > keptLists {
		clear(rt.lists[keptLists:])
		rt.lists = rt.lists[:keptLists]
	}
	for _, l := range rt.lists[:min(rt.used, len(rt.lists))] {
		if cap(l.Items) > 256 {
			l.Items = nil
		}
		clear(l.Items[:cap(l.Items)])
		l.Items = l.Items[:0]
	}
	rt.used = 0
	runtimes.Put(rt)
}

var (
	errSteps  = errors.New("the template takes too many steps")
	errTime   = errors.New("the template takes too long")
	errMemory = errors.New("the template makes too much text")
	errOutput = errors.New("the output is too long")
)

// Charge counts work: one step for an evaluation, more for a method that walks over long text. It fails when the
// rendering has used up its steps or its time.
func (rt *Runtime) Charge(steps int) error {
	rt.steps += steps
	if rt.steps < rt.check {
		return nil
	}
	return rt.checkBounds()
}

func (rt *Runtime) checkBounds() error {
	rt.check = rt.steps + checkEvery
	if rt.steps > rt.t.opts.Limits.Steps {
		return errSteps
	}
	now := time.Now()
	if rt.until.IsZero() {
		rt.until = now.Add(rt.t.opts.Limits.Duration)
	} else if now.After(rt.until) {
		return errTime
	}
	return nil
}

// Alloc counts bytes that the rendering makes, and fails when they are too many.
func (rt *Runtime) Alloc(n int) error {
	rt.memory += n
	if rt.memory > rt.t.opts.Limits.MemoryBytes {
		return errMemory
	}
	return nil
}

// Buffer gives n bytes of the arena, with length 0. They belong to this rendering.
func (rt *Runtime) Buffer(n int) ([]byte, error) {
	if err := rt.Alloc(n); err != nil {
		return nil, err
	}
	at := len(rt.arena)
	if at+n > cap(rt.arena) {
		// What was handed out lives on in the old chunk, which the garbage collector keeps as long as it is used.
		rt.arena = make([]byte, 0, max(n, min(2*cap(rt.arena), 1<<20)))
		at = 0
	}
	rt.arena = rt.arena[:at+n]
	return rt.arena[at : at : at+n], nil
}

// Own makes a string value of bytes that came from Buffer, without copying.
func Own(b []byte) Value {
	return String(unsafe.String(unsafe.SliceData(b), len(b)))
}

// Copy makes a string value in the arena.
func (rt *Runtime) Copy(b []byte) (Value, error) {
	if len(b) == 0 {
		return String(""), nil
	}
	buf, err := rt.Buffer(len(b))
	if err != nil {
		return Value{}, err
	}
	return Own(append(buf, b...)), nil
}

// NewList makes an empty list that belongs to this rendering.
func (rt *Runtime) NewList(flavor Flavor) *List {
	if rt.used < len(rt.lists) {
		l := rt.lists[rt.used]
		rt.used++
		l.Flavor = flavor
		return l
	}
	l := &List{Flavor: flavor}
	if rt.used < keptLists {
		rt.lists = append(rt.lists, l)
		rt.used++
	}
	return l
}

// room fails when the output has become too long.
func (rt *Runtime) room() error {
	if len(rt.out)-rt.base > rt.t.opts.Limits.OutputBytes {
		return errOutput
	}
	return nil
}

// capture runs fn and gives what it printed as a string of the arena. What #stop, or a #break that leaves a loop around fn,
// has cut short is printed nowhere.
func (rt *Runtime) capture(fn exec) (Value, error) {
	mark := len(rt.out)
	if err := fn(rt); err != nil {
		if !errors.Is(err, errBreak) || rt.leave != nil {
			rt.out = rt.out[:mark]
			return Value{}, err
		}
	}
	v, err := rt.Copy(rt.out[mark:])
	rt.out = rt.out[:mark]
	return v, err
}

func (rt *Runtime) text(v Value) (Value, error) {
	if v.kind == Text {
		return v, nil
	}
	mark := len(rt.out)
	var err error
	if rt.out, err = v.AppendText(rt.out, rt.t.opts.Limits.OutputBytes); err != nil {
		return Value{}, err
	}
	s, err := rt.Copy(rt.out[mark:])
	rt.out = rt.out[:mark]
	return s, err
}

func (rt *Runtime) enter() error {
	if rt.depth++; rt.depth > rt.t.opts.Limits.Depth {
		return fmt.Errorf("macros, blocks and evaluations call one another deeper than %d levels", rt.t.opts.Limits.Depth)
	}
	return nil
}

func (rt *Runtime) exit() { rt.depth-- }

// frame is a macro call in progress.
type frame struct {
	caller *frame
	code   *macroCode
	args   []eval
	body   exec
	local  []slot // parameters that the macro has assigned to
}

// loop is a #foreach in progress: what $foreach shows.
type loop struct {
	parent *loop
	index  int
	more   bool
	over   bool
	kept   bool // the template may have put it somewhere
}

// keep notes that a template has got hold of a loop's state, and through it of those around it: they stay what they are
// when their loops have ended.
func keep(v Value) {
	if v.kind != ObjectKind {
		return
	}
	l, _ := v.ref.(*loop)
	for ; l != nil && !l.kept; l = l.parent {
		l.kept = true
	}
}

// Property gives the properties of $foreach.
func (l *loop) Property(_ *Runtime, name string) (Value, error) {
	switch name {
	case "index":
		return Int(int64(l.index)), nil
	case "count":
		return Int(int64(l.index + 1)), nil
	case "hasNext":
		return Bool(l.more), nil
	case "first":
		return Bool(l.index == 0), nil
	case "last":
		return Bool(!l.more), nil
	case "parent":
		if l.parent != nil {
			return FromObject(l.parent), nil
		}
	case "topmost":
		top := l
		for top.parent != nil {
			top = top.parent
		}
		return FromObject(top), nil
	}
	return Value{}, nil
}

// Call gives the same by getters.
func (l *loop) Call(rt *Runtime, method string, args []Value) (Value, bool, error) {
	names := map[string]string{"getIndex": "index", "getCount": "count", "hasNext": "hasNext", "isFirst": "first",
		"isLast": "last", "getParent": "parent", "getTopmost": "topmost"}
	name, ok := names[method]
	if !ok || len(args) > 0 {
		return Value{}, false, nil
	}
	v, err := l.Property(rt, name)
	return v, true, err
}

// Invoke calls a method of a value, as a template would: for hosts whose objects behave like maps or lists.
func (rt *Runtime) Invoke(recv Value, method string, args []Value) (v Value, known bool, err error) {
	return rt.invoke(recv, method, args)
}
