package process

import (
	"context"
	"encoding/json"
	"math/big"
	"time"

	"github.com/itchyny/gojq"
)

// What a query may cost. gojq asks its context before every step whether it shall stop; meter is a context that counts
// how often it is asked. A context with a deadline alone would make the result depend on the machine: the same
// record would be delivered by one run and fail in the next.
//
// A single step may cost much more than a step does (a sort, a long string doubled), so that compileQuery puts a call in
// front of each that may, which weighs the operands and takes its cost from the same budget.
const (
	// baseSteps and stepsPerByte make the budget of a record. The largest programs over small records take thousands.
	baseSteps    = 1_000_000
	stepsPerByte = 4
	// maxSteps bounds the budget, and with it the memory: a step keeps up to 100 bytes (a recursion without end).
	maxSteps = 4_000_000
	// bytesPerStep is how much text is copied in the time of a step.
	bytesPerStep = 256
	// maxOperand bounds a value that is worked on as a whole, counted as if nothing in it were shared.
	maxOperand = 64 << 20
	// valueBytes is what a value counts as beside its text.
	valueBytes = 16
	// maxBits bounds whole numbers in arithmetic.
	maxBits = 1 << 14
	// queryTime is the last resort, for queries whose steps are all slow. Where it ends one, nothing is said about the record:
	// the caller gets an error to retry.
	queryTime = 10 * time.Second
	// stepsPerLook is how often the clock is looked at.
	stepsPerLook = 4096
)

// meter is the budget of one run. It is a context that ends when the budget does.
type meter struct {
	context.Context
	left     int
	looked   int // steps since the clock was looked at
	deadline time.Time
	late     bool
}

func newMeter(size int) *meter {
	return &meter{Context: context.Background(), left: min(baseSteps+stepsPerByte*size, maxSteps), deadline: time.Now().Add(queryTime)}
}

var ended = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done is called by gojq before every step.
func (m *meter) Done() <-chan struct{} {
	m.charge(1)
	if m.looked >= stepsPerLook {
		m.looked = 0
		if time.Now().After(m.deadline) {
			m.late = true
			m.end()
		}
	}
	if m.spent() {
		return ended
	}
	return nil
}

// Err is what gojq ends with.
func (m *meter) Err() error { return context.DeadlineExceeded }

// spent reports whether the budget is used up.
func (m *meter) spent() bool { return m.left <= 0 }

// charge takes the cost of a step that is about to be made. Too much ends the run before the step, where no
// try catches it.
func (m *meter) charge(steps int) {
	m.left -= min(steps, max(m.left, 0))
	m.looked += min(steps, stepsPerLook)
}

// end ends the run at a value that is too large, too deep or too long to work on. There is one text for all
// of them: which one is met first depends on the order of a map.
func (m *meter) end() { m.left = 0 }

// weigh gives the size of a value and charges for looking.
func (m *meter) weigh(v any) int {
	size := 0
	m.add(v, 0, &size)
	m.charge(size / bytesPerStep)
	return size
}

func (m *meter) add(v any, depth int, size *int) {
	*size += valueBytes
	m.charge(1)
	switch v := v.(type) {
	case string:
		*size += len(v)
	case json.Number:
		if len(v) > maxDigits {
			m.end()
		}
	case *big.Int:
		if v.BitLen() > maxBits {
			m.end()
		}
	case []any:
		for _, item := range v {
			if m.add(item, depth+1, size); m.spent() {
				return
			}
		}
	case map[string]any:
		for name, item := range v {
			*size += len(name)
			if m.add(item, depth+1, size); m.spent() {
				return
			}
		}
	}
	if depth > maxDepth || *size > maxOperand {
		m.end()
	}
}

// The calls that compileQuery puts in front of others. The first argument is the meter. Each gives its input back.
var meterFunctions = []struct {
	name  string
	arity int
	call  func(m *meter, v any, args []any)
}{
	// of functions that look at the whole of their input
	{"_weigh", 1, func(m *meter, v any, _ []any) { m.weigh(v) }},
	// of those whose cost is the product of both sizes: contains, join, …
	{"_product", 2, func(m *meter, v any, args []any) { m.charge(product(m.weigh(v), m.weigh(args[0]))) }},
	// of those whose cost is the square of their input's: matches of a regular expression one after another
	{"_square", 1, func(m *meter, v any, _ []any) { n := m.weigh(v); m.charge(product(n, n)) }},
	// of operators
	{"_both", 3, func(m *meter, _ any, args []any) { m.weigh(args[0]); m.weigh(args[1]) }},
	{"_difference", 3, func(m *meter, _ any, args []any) { m.charge(product(m.weigh(args[0]), m.weigh(args[1]))) }},
	{"_multiplication", 3, func(m *meter, _ any, args []any) {
		m.weigh(args[0])
		m.weigh(args[1])
		m.repeat(args[0], args[1])
		m.repeat(args[1], args[0])
	}},
}

// product is the cost of comparing all of one with all of the other.
func product(a, b int) int { return a / valueBytes * (b / valueBytes) / 4 } // below 2^47, as both are bounded

// repeat charges for text * count.
func (m *meter) repeat(text, count any) {
	s, ok := text.(string)
	n, number := gojq.ToFloat64(count)
	if !ok || !number || n <= 0 {
		return
	}
	if bytes := float64(len(s)) * n; bytes <= maxOperand {
		m.charge(int(bytes) / bytesPerStep)
		return
	}
	m.end()
}

// meterOptions make the functions known to gojq.
func meterOptions() []gojq.CompilerOption {
	options := []gojq.CompilerOption{gojq.WithVariables([]string{meterVariable})}
	for _, f := range meterFunctions {
		options = append(options, gojq.WithFunction(f.name, f.arity, f.arity, func(v any, args []any) any {
			f.call(args[0].(*meter), v, args[1:])
			return v
		}))
	}
	return options
}

// meterVariable holds the meter of a run. No program can name it.
const meterVariable = "$__meter"
