package limits

import (
	"slices"
	"sync"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// state is what the shards of one incarnation of a stream may still take and give.
type state struct {
	id string

	mu        sync.Mutex
	def       *stream.Stream    // which the rest was made from
	shards    map[uint32]*shard // all that the stream lists
	open      []*shard          // by the hash keys that they take
	serial    uint64            // of the call that is being admitted
	throttled Throttled
}

// follow takes up a description of the stream: new shards have full buckets, and those that have left are forgotten.
// The caller holds mu.
func (s *state) follow(def *stream.Stream, account string, now time.Time) {
	if s.def != nil && last(def) < last(s.def) {
		return // a caller that has looked before another one's reshard
	}
	s.def, s.open = def, s.open[:0]
	kept := make(map[uint32]*shard, len(def.Shards))
	for i := range def.Shards {
		sh := &def.Shards[i]
		of := s.shards[sh.Index]
		if of == nil {
			of = newShard(def.Name, account, sh, now)
		}
		kept[sh.Index] = of
		if sh.Open() {
			s.open = append(s.open, of)
		}
	}
	s.shards = kept
	slices.SortFunc(s.open, func(x, y *shard) int { return x.keys.Start.Compare(y.keys.Start) })
}

// last is the highest index of a shard; it only rises.
func last(def *stream.Stream) uint32 { return def.Shards[len(def.Shards)-1].Index }

// holder finds the open shard that holds a hash key.
func (s *state) holder(k stream.HashKey) *shard {
	at, found := slices.BinarySearchFunc(s.open, k, func(sh *shard, k stream.HashKey) int { return sh.keys.Start.Compare(k) })
	if !found {
		at-- // the one that begins before k; the open shards cover all keys
	}
	return s.open[max(at, 0)]
}

// shard is what one shard may still take and give.
type shard struct {
	index               uint32
	keys                stream.HashKeyRange
	inRecords, inBytes  bucket
	outCalls, outBytes  bucket
	own                 map[string]*bucket // of registered consumers, by name
	delivered           time.Time          // when a read of delivery was last counted as a call
	refused             uint64             // serial of the call that it refused an entry of
	refusedFor          *int64             // what counted that
	offered             offered
	writeError, readErr error
}

func newShard(name, account string, sh *stream.Shard, now time.Time) *shard {
	refuse := func(op string) error {
		return fault.New(fault.Throttled, op, name, "Rate exceeded for shard %s in stream %s under account %s.", sh.ID(), name, account)
	}
	return &shard{
		index: sh.Index, keys: sh.Range,
		inRecords: full(writeRecords, now), inBytes: full(writeBytes, now),
		outCalls: full(readCalls, now), outBytes: full(readBytes, now),
		offered:    offered{since: now},
		writeError: refuse("limits.Append"), readErr: refuse("limits.Read"),
	}
}

// bucket holds tokens; below nothing it is in debt. It counts in billionths, so that nothing is lost between the
// nanoseconds of a clock and what a second brings.
type bucket struct {
	billionths int64
	at         time.Time
}

const token = 1_000_000_000

func full(perSecond int64, now time.Time) bucket { return bucket{perSecond * token, now} }

// fill adds what has come in since the last time, up to what one second brings. A clock that goes back brings nothing.
func (k *bucket) fill(now time.Time, perSecond int64) {
	// An hour pays any debt that a call can leave, and does not overflow.
	if passed := min(now.Sub(k.at), time.Hour); passed > 0 {
		k.billionths = min(perSecond*token, k.billionths+int64(passed)*perSecond)
	}
	k.at = now
}

// has reports whether so many tokens are there.
func (k *bucket) has(n int) bool { return k.billionths >= int64(n)*token }

func (k *bucket) take(n int) { k.billionths -= int64(n) * token }
