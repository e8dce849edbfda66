package front

import "sync/atomic"

// DefaultBodyBudget bounds the body bytes that a node holds in memory for callers at one time. 256 callers of
// 10 MB each would otherwise take 2.5 GB.
const DefaultBodyBudget = 64 << 20

// MinBodyBudget is the least that [Listen] accepts: the share of large bodies must have room for the largest one.
const MinBodyBudget = 32 << 20

// largeShare of a budget, in quarters, is what bodies above smallBody may take together. The rest is left to small
// ones, so that a few uploads, or callers who announce them, never shut out ordinary events.
const largeShare = 3

// smallBody is what nearly all events fit into.
const smallBody = 64 << 10

// Budget counts bytes that are held for callers, up to a bound. It is safe for concurrent use.
type Budget struct {
	max   int64
	used  atomic.Int64 // large ones included
	large atomic.Int64
}

// NewBudget makes a budget of max bytes; 0 means [DefaultBodyBudget].
func NewBudget(max int64) *Budget {
	if max == 0 {
		max = DefaultBodyBudget
	}
	return &Budget{max: max}
}

// Take reserves n bytes, or reports that they are not to be had now.
func (b *Budget) Take(n int64) bool {
	if b.used.Add(n) > b.max {
		b.used.Add(-n)
		return false
	}
	return true
}

// Give returns n bytes.
func (b *Budget) Give(n int64) { b.used.Add(-n) }

// Used tells how many bytes are out.
func (b *Budget) Used() int64 { return b.used.Load() }

// Max is the bound.
func (b *Budget) Max() int64 { return b.max }

// Answers is the budget for what backends answer: it counts among the large ones, so that slow readers of answers
// leave room for ordinary events.
func (b *Budget) Answers() *AnswerBudget { return (*AnswerBudget)(b) }

// AnswerBudget is a [Budget], as seen by who takes answers.
type AnswerBudget Budget

// Take reserves n bytes, or reports that they are not to be had now.
func (b *AnswerBudget) Take(n int64) bool { return (*Budget)(b).takeLarge(n) }

// Give returns n bytes.
func (b *AnswerBudget) Give(n int64) { (*Budget)(b).giveLarge(n) }

func (b *Budget) takeLarge(n int64) bool {
	if b.large.Add(n) > b.max/4*largeShare {
		b.large.Add(-n)
		return false
	}
	if !b.Take(n) {
		b.large.Add(-n)
		return false
	}
	return true
}

func (b *Budget) giveLarge(n int64) {
	b.large.Add(-n)
	b.Give(n)
}

// reservation is what one body holds of a budget. Small bodies take what they need. A body that outgrows smallBody
// takes at once all that it can come to: had callers of large bodies taken theirs step by step, many of them would
// together use up the budget, and none would ever be whole.
type reservation struct {
	budget       *Budget
	small, large int64
}

// smallStep is in what steps a small body takes of the budget; the first is what pooled buffers have.
const smallStep = 8 << 10

// cover makes sure that size bytes are reserved. most is what the body may come to: its announced length, or when
// none was announced, the bound.
func (r *reservation) cover(size, most int64) bool {
	if size <= r.small || size <= r.large {
		return true
	}
	if size <= smallBody {
		more := (size+smallStep-1)/smallStep*smallStep - r.small
		if !r.budget.Take(more) {
			return false
		}
		r.small += more
		return true
	}
	want := max(size, most)
	if !r.budget.takeLarge(want - r.large) {
		return false
	}
	r.large = want
	r.budget.Give(r.small)
	r.small = 0
	return true
}

// settle gives back what a large body turned out not to need.
func (r *reservation) settle(size int64) {
	if over := r.large - size; r.large > 0 && over > 0 {
		r.budget.giveLarge(over)
		r.large = size
	}
}

func (r *reservation) release() {
	if r.small > 0 {
		r.budget.Give(r.small)
	}
	if r.large > 0 {
		r.budget.giveLarge(r.large)
	}
	r.small, r.large = 0, 0
}
