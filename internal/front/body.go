package front

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
)

// maxBodyBytes bounds the payload of an event: API Gateway's 10 MB.
const maxBodyBytes = 10 << 20

var (
	errTooLarge   = errors.New("body is larger than the service takes")
	errOverBudget = errors.New("too many body bytes in flight")
)

// Buffers of the first two sizes are pooled. A larger body gets its own when more than smallBody of it has come, so
// that a caller who announces 10 MB and sends nothing holds nothing.
var (
	firstBuffers = sync.Pool{New: func() any { b := make([]byte, smallStep); return &b }}
	smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallBody); return &b }}
)

// body is the payload of one request, and what it holds of the budget.
type body struct {
	bytes    []byte
	pool     *sync.Pool // where buffer comes from; nil: it is the body's own
	buffer   *[]byte
	reserved reservation
}

// read takes the whole payload of r. The caller releases b when the answer has been sent, also after an error.
func (b *body) read(w http.ResponseWriter, r *http.Request, budget *Budget) error {
	b.reserved.budget = budget
	if r.ContentLength > maxBodyBytes {
		return errTooLarge
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if !b.reserved.cover(smallStep, smallStep) {
		return errOverBudget
	}
	b.borrow(&firstBuffers)
	speed := paceOf(w)
	for {
		if len(b.bytes) == cap(b.bytes) {
			if err := b.grow(r.ContentLength); err != nil {
				return err
			}
		}
		n, err := r.Body.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		if len(b.bytes) > maxBodyBytes {
			return errTooLarge
		}
		if err == io.EOF {
			b.reserved.settle(int64(cap(b.bytes)))
			return nil
		}
		if err != nil {
			return err
		}
		speed.received(int64(len(b.bytes)))
	}
}

// borrow moves the payload to a pooled buffer.
func (b *body) borrow(pool *sync.Pool) {
	buffer := pool.Get().(*[]byte)
	n := copy(*buffer, b.bytes)
	b.giveBack()
	b.pool, b.buffer, b.bytes = pool, buffer, (*buffer)[:n]
}

func (b *body) giveBack() {
	if b.pool != nil {
		b.pool.Put(b.buffer)
	}
	b.pool, b.buffer = nil, nil
}

// grow makes room: first the larger pooled buffer, then all that was announced, or, when nothing was, twice as much.
func (b *body) grow(announced int64) error {
	if cap(b.bytes) < smallBody {
		if !b.reserved.cover(smallBody, smallBody) {
			return errOverBudget
		}
		b.borrow(&smallBuffers)
		return nil
	}
	const most = maxBodyBytes + 1 // the byte that shows that there are too many
	size := min(2*int64(cap(b.bytes)), most)
	reserve := int64(most)
	if announced > 0 {
		size = announced + 1 // one more, so that the read that meets the end needs no growth
		reserve = size
	}
	if !b.reserved.cover(max(size, int64(len(b.bytes))+1), reserve) {
		return errOverBudget
	}
	larger := make([]byte, len(b.bytes), size)
	copy(larger, b.bytes)
	b.giveBack()
	b.bytes = larger
	return nil
}

// release gives memory and budget back. Nobody may use bytes any more.
func (b *body) release() {
	b.giveBack()
	b.reserved.release()
	b.bytes = nil
}

// slow reports whether reading a body has ended because its caller took too long.
func slow(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
