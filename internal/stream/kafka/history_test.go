package kafka

import (
	"math/rand/v2"
	"testing"

	"millrace/internal/stream"
	"millrace/internal/stream/streamtest"
)

// Random histories on brokers in the process, against a model.
func TestHistories(t *testing.T) {
	setup := func(t *testing.T, _ *rand.Rand) *streamtest.Subject {
		r := newRig(t)
		b, _ := r.open(nil)
		s := &streamtest.Subject{Backend: b}
		s.Reopen = func() stream.Backend {
			shut(t, b)
			b, _ = r.open(nil)
			return b
		}
		return s
	}
	streamtest.Histories{Setup: setup, Count: 5, Steps: 40}.Run(t)
}
