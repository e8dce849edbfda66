package delivery

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"millrace/internal/ids"
)

// putter runs tasks on a bounded number of goroutines. Each bucket, and each endpoint, has a gate: one that fails is probed by a single
// task at a time, after a growing pause, so that it takes neither slots nor processor from the others.
type putter struct {
	e    *Engine
	wait sync.WaitGroup

	mu      sync.Mutex
	gates   map[string]*gate
	order   []*gate // round robin
	turn    int
	running int // those of buckets
	posting int // those of endpoints
	stopped bool
	changed chan struct{} // a token after every attempt
}

// gate is the queue of a place.
type gate struct {
	place    string
	endpoint bool
	queue    []*task
	running  int
	failures int  // in a row
	closed   bool // until its pause ends
}

func newPutter(e *Engine) *putter {
	return &putter{e: e, gates: map[string]*gate{}, changed: make(chan struct{}, 1)}
}

// submit queues a task; the putter owns it until it is committed or its shard is let go.
func (p *putter) submit(t *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	place, endpoint := t.place()
	g := p.gates[place]
	if g == nil {
		g = &gate{place: place, endpoint: endpoint}
		p.gates[g.place] = g
		p.order = append(p.order, g)
	}
	g.queue = append(g.queue, t)
	p.dispatch()
}

// dispatch starts what may run. The caller holds mu.
func (p *putter) dispatch() {
	for idle := 0; idle < len(p.order) && !p.stopped && (p.running < putSlots || p.posting < postSlots); p.turn++ {
		g := p.order[p.turn%len(p.order)]
		running, slots := p.slots(g)
		if *running == slots {
			idle++
		} else if t := g.pop(); t != nil {
			p.start(g, t)
			idle = 0
		} else {
			idle++
		}
	}
}

// slots gives the count and the bound of the tasks that run of a gate's kind.
func (p *putter) slots(g *gate) (running *int, bound int) {
	if g.endpoint {
		return &p.posting, postSlots
	}
	return &p.running, putSlots
}

// pop takes the next task that the gate lets through.
func (g *gate) pop() *task {
	limit := putSlotsPerBucket
	if g.failures > 0 {
		limit = 1
	}
	for len(g.queue) > 0 && !g.closed && g.running < limit {
		t := g.queue[0]
		g.queue = g.queue[1:]
		if t.shard.ctx.Err() == nil {
			return t
		}
	}
	return nil
}

func (p *putter) start(g *gate, t *task) {
	running, _ := p.slots(g)
	*running++
	g.running++
	p.wait.Add(1)
	t.shard.puts.Add(1)
	go func() {
		defer p.wait.Done()
		defer t.shard.puts.Done()
		err := t.run(t.shard.ctx)
		p.done(g, t, err)
	}()
}

// done books the outcome of an attempt and queues the next one after a pause.
func (p *putter) done(g *gate, t *task, err error) {
	d := t.shard.d
	stopped := t.shard.ctx.Err() != nil || t.shard.isFenced()
	if err != nil && !stopped {
		d.fail("delivering", err)
	}
	switch {
	case stopped:
		t.dropKept()
	case err != nil:
		t.yield() // others may need the memory while this bucket is out
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	running, _ := p.slots(g)
	*running--
	g.running--
	var sink sinkError
	switch {
	case err == nil:
		g.failures = 0
		d.succeed()
	case stopped:
	case errors.As(err, &sink):
		g.failures++
		g.queue = append(g.queue, t) // at the end: a task that fails alone must not keep the others from being tried
		p.closeGate(g)
	default:
		t.failures++
		wait := backoff(p.e.opts.IDs, t.failures)
		if retry := (*retryError)(nil); errors.As(err, &retry) {
			wait = retry.after
		}
		p.later(t, wait)
	}
	p.dispatch()
	p.tidy(g)
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *putter) closeGate(g *gate) {
	if g.closed {
		return
	}
	g.closed = true
	time.AfterFunc(backoff(p.e.opts.IDs, g.failures), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		g.closed = false
		p.dispatch()
		p.tidy(g)
	})
}

// later queues a task again that failed for a reason of its own.
func (p *putter) later(t *task, wait time.Duration) {
	time.AfterFunc(wait, func() {
		if t.shard.ctx.Err() == nil {
			p.submit(t)
		}
	})
}

// tidy removes a gate that nobody uses, so that buckets of old definitions leave nothing behind.
func (p *putter) tidy(g *gate) {
	if len(g.queue) > 0 || g.running > 0 || g.closed || p.gates[g.place] != g {
		return
	}
	delete(p.gates, g.place)
	for i, other := range p.order {
		if other == g {
			p.order = append(p.order[:i], p.order[i+1:]...)
			break
		}
	}
}

// drain waits until all that can be put now has been put: what waits for a bucket that fails stays planned.
func (p *putter) drain(ctx context.Context) {
	for !p.quiet() {
		select {
		case <-p.changed:
		case <-ctx.Done():
			return
		}
	}
}

func (p *putter) quiet() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.order {
		if g.running > 0 || len(g.queue) > 0 && !g.closed {
			return false
		}
	}
	return true
}

// barrier returns when every task that was started before it is counted in its shard's puts.
func (p *putter) barrier() {
	p.mu.Lock()
	defer p.mu.Unlock()
}

// stop starts no more tasks and waits for those that run.
func (p *putter) stop() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.wait.Wait()
}

// backoff is the wait after so many failures in a row: doubling, with jitter between the half and the whole.
func backoff(random *ids.Source, failures int) time.Duration {
	d := time.Duration(math.Min(float64(retryMin)*math.Pow(2, float64(min(failures, 30)-1)), float64(retryMax)))
	return d/2 + time.Duration(random.Uint64()%uint64(d/2+1))
}
