package front

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// MaxBodyBytes bounds the payload of an event: API Gateway's 10 MB.
const MaxBodyBytes = 10 << 20

// DefaultBodyBudget bounds the body bytes that a node holds in memory for callers at one time. 256 callers of
// 10 MB each would otherwise take 2.5 GB.
const DefaultBodyBudget = 64 << 20

// Budget counts bytes that are held for callers, up to a bound.
type Budget struct {
	max  int64
	used atomic.Int64
}

// NewBudget makes a budget of max bytes.
func NewBudget(max int64) *Budget { return &Budget{max: max} }

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

// Used tells how many bytes are out, and Max how many there are.
func (b *Budget) Used() int64 { return b.used.Load() }

// Max is the bound.
func (b *Budget) Max() int64 { return b.max }

var (
	errTooLarge   = errors.New("body is larger than the service takes")
	errOverBudget = errors.New("too many body bytes in flight")
)

// smallBody is what most events fit into. Buffers of this size are pooled; a larger body grows by doubling as its
// bytes arrive, so that a caller who announces 10 MB and sends nothing holds nothing.
const smallBody = 8 << 10

var smallBodies = sync.Pool{New: func() any { b := make([]byte, 0, smallBody); return &b }}

// body is the payload of one request, and what it holds of the budget.
type body struct {
	bytes    []byte
	pooled   *[]byte
	reserved int64
	budget   *Budget
}

// readBody reads the whole payload of r. The caller releases it when the answer has been rendered, also after an
// error.
func readBody(r *http.Request, budget *Budget, maxBytes int64) (body, error) {
	b := body{budget: budget}
	if r.ContentLength > maxBytes {
		return b, errTooLarge
	}
	if r.Body == nil || r.Body == http.NoBody {
		return b, nil
	}
	if !b.reserve(smallBody) {
		return b, errOverBudget
	}
	b.pooled = smallBodies.Get().(*[]byte)
	b.bytes = (*b.pooled)[:0]
	for {
		if len(b.bytes) == cap(b.bytes) {
			if err := b.grow(r.ContentLength); err != nil {
				return b, err
			}
		}
		n, err := r.Body.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		if int64(len(b.bytes)) > maxBytes {
			return b, errTooLarge
		}
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

// grow doubles the buffer, but not beyond the announced length.
func (b *body) grow(announced int64) error {
	size := int64(2 * cap(b.bytes))
	if announced > 0 && size > announced {
		size = announced + 1 // one byte more, so that the read that meets EOF needs no growth
	}
	if !b.reserve(size - int64(cap(b.bytes))) {
		return errOverBudget
	}
	larger := make([]byte, len(b.bytes), size)
	copy(larger, b.bytes)
	b.bytes = larger
	return nil
}

func (b *body) reserve(n int64) bool {
	if !b.budget.Take(n) {
		return false
	}
	b.reserved += n
	return true
}

func (b *body) release() {
	if b.pooled != nil {
		smallBodies.Put(b.pooled)
	}
	b.budget.Give(b.reserved)
	*b = body{}
}
