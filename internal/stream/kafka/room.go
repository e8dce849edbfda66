package kafka

import (
	"context"
	"sync"
)

// room bounds bytes that are held at once. Who comes first is let in first.
type room struct {
	bound int64

	mu      sync.Mutex
	held    int64
	waiting []*guest
}

// guest waits to be let in.
type guest struct {
	bytes int64
	in    chan struct{} // one signal; by then the bytes are held
}

// acquire waits until there is room, or ctx ends. One that is larger than the bound gets in when nobody else is.
func (r *room) acquire(ctx context.Context, bytes int64) error {
	r.mu.Lock()
	if len(r.waiting) == 0 && r.fits(bytes) {
		r.held += bytes
		r.mu.Unlock()
		return nil
	}
	g := &guest{bytes, make(chan struct{}, 1)}
	r.waiting = append(r.waiting, g)
	r.mu.Unlock()
	select {
	case <-g.in:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.waiting {
		if r.waiting[i] == g {
			r.waiting = append(r.waiting[:i], r.waiting[i+1:]...)
			r.admit()
			return ctx.Err()
		}
	}
	<-g.in // let in at the same moment: nobody is to know
	r.held -= bytes
	r.admit()
	return ctx.Err()
}

func (r *room) fits(bytes int64) bool { return r.held == 0 || r.held+bytes <= r.bound }

// admit lets in who fits. The caller holds mu.
func (r *room) admit() {
	n := 0
	for n < len(r.waiting) && r.fits(r.waiting[n].bytes) {
		r.held += r.waiting[n].bytes
		r.waiting[n].in <- struct{}{}
		n++
	}
	if n > 0 {
		left := copy(r.waiting, r.waiting[n:])
		clear(r.waiting[left:])
		r.waiting = r.waiting[:left]
	}
}

func (r *room) release(bytes int64) {
	r.mu.Lock()
	r.held -= bytes
	r.admit()
	r.mu.Unlock()
}

func (r *room) holds() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}
