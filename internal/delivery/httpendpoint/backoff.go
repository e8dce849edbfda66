package httpendpoint

import (
	"math/rand/v2"
	"time"
)

// Bounds of waits, the service's.
const (
	firstWait   = time.Second
	longestWait = 120 * time.Second
)

// Backoff is how long to wait before another attempt: min(120 s, 1 s × 2^n), and up to 15 % less or more, so that batches
// that failed together do not come back together. n is 0 after the first attempt.
//
// Source: Amazon Data Firehose Developer Guide, HTTP endpoint delivery specifications.
func Backoff(n int, random rand.Source) time.Duration {
	d := longestWait
	if n < 7 { // 2^7 s are more than the longest
		d = firstWait << max(n, 0)
	}
	return d*85/100 + time.Duration(random.Uint64()%uint64(d*30/100+1))
}
