package load

import (
	"math/bits"
	"time"
)

// Histogram counts durations in buckets of about 1.6 % width, from a microsecond to hours, in fixed memory. It is
// used by one goroutine; Merge joins those of many.
type Histogram struct {
	counts [64 * subBuckets]uint64
	n      uint64
	max    time.Duration
	sum    time.Duration
}

const (
	subBits    = 6
	subBuckets = 1 << subBits
)

// bucket gives the index for a duration in nanoseconds: exponent and the subBits bits behind the leading one.
func bucket(ns uint64) int {
	if ns < subBuckets {
		return int(ns)
	}
	exp := bits.Len64(ns) - 1 - subBits
	return (exp+1)<<subBits + int(ns>>exp&(subBuckets-1))
}

// upper gives the largest duration that falls into a bucket.
func upper(i int) time.Duration {
	if i < subBuckets {
		return time.Duration(i)
	}
	exp := i>>subBits - 1
	return time.Duration((uint64(i&(subBuckets-1))|subBuckets+1)<<exp - 1)
}

// Record counts one duration; a negative one counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.n++
	h.sum += d
	h.max = max(h.max, d)
}

// Merge adds what o has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// Quantile gives the duration that a share q of all durations does not exceed.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := uint64(q*float64(h.n-1)) + 1
	var seen uint64
	for i, c := range h.counts {
		if seen += c; seen >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// Count tells how many durations were recorded, Mean and Max what they were.
func (h *Histogram) Count() uint64 { return h.n }

// Mean is the average duration.
func (h *Histogram) Mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return h.sum / time.Duration(h.n)
}

// Max is the longest duration.
func (h *Histogram) Max() time.Duration { return h.max }
