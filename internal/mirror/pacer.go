package mirror

import (
	"context"
	"sync"
	"time"
)

// pacer keeps a rate: what is taken now delays what is taken next, so that no more than rate a second and one batch
// ever pass. Idle time is not saved up: a mirror that was held up does not make good for it with a burst.
type pacer struct {
	rate float64 // a second; 0: no bound

	mu   sync.Mutex
	next time.Time
}

// take waits until cost may pass.
func (p *pacer) take(ctx context.Context, cost int) error {
	if p.rate <= 0 {
		return nil
	}
	p.mu.Lock()
	now := time.Now()
	at := p.next
	if at.Before(now) {
		at = now
	}
	p.next = at.Add(time.Duration(float64(cost) / p.rate * float64(time.Second)))
	p.mu.Unlock()
	return pause(ctx, at.Sub(now))
}

// portion bounds a batch so that it takes half a second of the rate, and something in any case.
func (p *pacer) portion(most int) int {
	if p.rate <= 0 {
		return most
	}
	return min(most, max(1, int(p.rate/2)))
}
