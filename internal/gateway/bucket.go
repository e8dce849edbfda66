package gateway

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/restapi"
)

// limit is a throttle, ready to be asked: a request each gap, and as many at once as fit into room.
type limit struct{ gap, room int64 } // nanoseconds; a gap of 0: nobody gets in

func limitOf(t *restapi.Throttle) limit {
	if t.Rate <= 0 || t.Burst <= 0 {
		return limit{}
	}
	gap := max(1, float64(time.Second)/t.Rate)
	return limit{int64(min(gap, float64(longest))), int64(min(gap*float64(t.Burst), float64(longest)))}
}

// longest bounds what a bucket counts in, far from where its sums would overflow.
const longest = math.MaxInt64 / 4

// bucket is a bucket of tokens in one word: the moment at which it is full again, in nanoseconds since the gateway began.
// It needs no lock and no one who fills it, and a full bucket is the zero value.
type bucket struct{ full atomic.Int64 }

// take takes a token, and reports whether there was one.
func (b *bucket) take(now int64, l limit) bool {
	if l.gap == 0 {
		return false
	}
	for {
		was := b.full.Load()
		if was > now+l.room { // of a slower limit that was changed meanwhile: the bucket is empty now, and owes no more
			if b.full.CompareAndSwap(was, now+l.room) {
				return false
			}
			continue
		}
		next := max(was, now) + l.gap
		if next > now+l.room {
			return false
		}
		if b.full.CompareAndSwap(was, next) {
			return true
		}
	}
}

// methodName is a method of a definition, whichever deployment it is in.
type methodName struct{ path, verb string }

// buckets are those of methods, made when a method is first called: of most there is never need of one.
type buckets struct {
	all    atomic.Pointer[map[methodName]*bucket]
	making sync.Mutex
}

// of gives the bucket of a method. most bounds how many are kept: where methods have come and gone so often that there
// are more, all begin anew, full.
func (b *buckets) of(name methodName, most int) *bucket {
	if all := b.all.Load(); all != nil {
		if found := (*all)[name]; found != nil {
			return found
		}
	}
	b.making.Lock()
	defer b.making.Unlock()
	next := map[methodName]*bucket{}
	if all := b.all.Load(); all != nil {
		if found := (*all)[name]; found != nil {
			return found
		}
		if len(*all) < most {
			for k, v := range *all {
				next[k] = v
			}
		}
	}
	made := new(bucket)
	next[name] = made
	b.all.Store(&next)
	return made
}
