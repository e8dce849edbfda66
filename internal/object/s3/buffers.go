package s3

import (
	"context"
	"sync"
)

// partBytes is the size of a buffer, of all parts of a multipart put but the last, and of the largest put that is made
// in one piece. It is above the service's least part (5 MiB), and with 10,000 parts a put may have 80 GiB.
const partBytes = 8 << 20

// buffers are what bodies wait in for their attempts. Their number is the bound of the memory for puts.
type buffers struct {
	free chan struct{} // a token for each buffer that may be made
	pool sync.Pool     // *[]byte: what is not used for a while goes back to the system
}

func newBuffers(n int) *buffers {
	b := &buffers{free: make(chan struct{}, n)}
	for range n {
		b.free <- struct{}{}
	}
	return b
}

// take waits for a buffer.
func (b *buffers) take(ctx context.Context) (*[]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-b.free:
		return b.get(), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// spare gives a buffer if there is one now. Who holds a buffer asks for a second one only so, lest all wait for all.
func (b *buffers) spare() *[]byte {
	select {
	case <-b.free:
		return b.get()
	default:
		return nil
	}
}

func (b *buffers) get() *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return p
	}
	p := make([]byte, partBytes)
	return &p
}

func (b *buffers) give(p *[]byte) {
	if p == nil {
		return
	}
	b.pool.Put(p)
	b.free <- struct{}{}
}
