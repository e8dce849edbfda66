package local

import (
	"context"
	"sync"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Bounds of what waits for the committer. A caller beyond them waits to be admitted; the bytes are the callers' own,
// so that the bound protects latency more than memory.
const (
	maxQueuedBytes = 32 << 20
	maxQueuedCalls = 16 << 10
)

// call is one Append, or one turn of a control operation, on its way through the committer.
type call struct {
	stream  string
	entries []stream.Entry
	results []stream.Result
	keys    []stream.HashKey // of entries; hashed by the caller, whose core is as good as ours
	bytes   int

	turn func() // instead of entries: runs while no append is under way

	err  error
	done chan struct{} // one signal a use, so that a call can be used again
	pool *sync.Pool    // where it goes back to
}

// newCall takes a call from the backend's pool. Each backend has its own: a channel belongs to those who made it, as tests
// in virtual time see to.
func (b *Backend) newCall() *call {
	if c, ok := b.calls.Get().(*call); ok {
		return c
	}
	return &call{done: make(chan struct{}, 1), pool: &b.calls}
}

// recycle hands the call back. Nobody may hold it any more.
func (c *call) recycle() {
	clear(c.keys)
	*c = call{keys: c.keys[:0], done: c.done, pool: c.pool}
	c.pool.Put(c)
}

func (c *call) finish(err error) {
	c.err = err
	c.done <- struct{}{}
}

// queue holds calls between their callers and the committer.
type queue struct {
	mu      sync.Mutex
	waiting []*call
	bytes   int
	closed  bool
	filled  chan struct{} // a signal to the committer: there is something, or the queue is closed
	room    chan struct{} // closed when the committer has taken what waited; nil when nobody waits for it
}

func (q *queue) init() { q.filled = make(chan struct{}, 1) }

// push admits a call, or waits until there is room.
func (q *queue) push(ctx context.Context, c *call, op, name string) error {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return errClosed(op, name)
		}
		if len(q.waiting) == 0 || (q.bytes+c.bytes <= maxQueuedBytes && len(q.waiting) < maxQueuedCalls) {
			q.waiting = append(q.waiting, c)
			q.bytes += c.bytes
			q.mu.Unlock()
			q.signal()
			return nil
		}
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return fault.New(fault.Unavailable, op, name, "no room to wait for the disk: %w", ctx.Err())
		}
	}
}

func (q *queue) signal() {
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

// take waits for calls and gives them all; spare becomes the memory of the next ones. Nothing means closed and empty.
func (q *queue) take(spare []*call) []*call {
	for {
		q.mu.Lock()
		if len(q.waiting) > 0 {
			taken := q.waiting
			q.waiting = spare[:0]
			q.bytes = 0
			if q.room != nil {
				close(q.room)
				q.room = nil
			}
			q.mu.Unlock()
			return taken
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return nil
		}
		<-q.filled
	}
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

// queued tells how many bytes wait.
func (q *queue) queued() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
