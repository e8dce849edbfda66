package gateway

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that ends at a time. It does what context.WithTimeout does, but sets up its timer only when
// somebody waits for Done: an append that waits for a disk asks for nothing but Err, and five allocations and a timer
// an event would be a twentieth of its cost.
type deadline struct {
	context.Context // the parent
	at              time.Time

	mu     sync.Mutex
	err    error
	done   chan struct{} // made by the first Done
	timer  *time.Timer
	detach func() bool // from the parent
}

func withTimeout(parent context.Context, after time.Duration) *deadline {
	return &deadline{Context: parent, at: time.Now().Add(after)}
}

// Deadline is the earlier of the parent's and its own.
func (d *deadline) Deadline() (time.Time, bool) {
	if at, ok := d.Context.Deadline(); ok && at.Before(d.at) {
		return at, true
	}
	return d.at, true
}

// Err tells whether the context has ended, whether or not anybody waits for it.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		if err := d.Context.Err(); err != nil {
			d.end(err)
		} else if time.Until(d.at) <= 0 {
			d.end(context.DeadlineExceeded)
		}
	}
	return d.err
}

// Done is closed when the context ends.
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
		if d.err != nil {
			close(d.done)
		} else {
			d.timer = time.AfterFunc(time.Until(d.at), func() { d.finish(context.DeadlineExceeded) })
			d.detach = context.AfterFunc(d.Context, func() { d.finish(d.Context.Err()) })
		}
	}
	return d.done
}

// release ends the context, and what was set up for it.
func (d *deadline) release() { d.finish(context.Canceled) }

func (d *deadline) finish(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.end(err)
	}
}

// end holds mu.
func (d *deadline) end(err error) {
	d.err = err
	if d.done != nil {
		d.timer.Stop()
		d.detach()
		close(d.done)
	}
}
