package kinesis

import (
	"context"
	"sync"
	"time"
)

// pacer lets calls through at a rate, and a few at once after a pause. The zero value lets all through.
type pacer struct {
	every time.Duration // 1 / rate
	burst int           // so many at once

	mu   sync.Mutex
	next time.Time // when the next call is due
}

func newPacer(perSecond float64, burst int) pacer {
	if perSecond <= 0 {
		return pacer{}
	}
	return pacer{every: time.Duration(float64(time.Second) / perSecond), burst: burst}
}

// wait waits for its turn, or for the end of ctx.
func (p *pacer) wait(ctx context.Context) error {
	if p.every == 0 {
		return ctx.Err()
	}
	return pause(ctx, p.reserve())
}

func (p *pacer) reserve() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if earliest := now.Add(-time.Duration(p.burst-1) * p.every); p.next.Before(earliest) {
		p.next = earliest
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(p.every)
	return wait
}

// try takes a turn that need not be waited for.
func (p *pacer) try() bool {
	if p.every == 0 {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.next.After(now) {
		return false
	}
	if earliest := now.Add(-time.Duration(p.burst-1) * p.every); p.next.Before(earliest) {
		p.next = earliest
	}
	p.next = p.next.Add(p.every)
	return true
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
