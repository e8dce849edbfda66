package limits

import (
	"context"
	"slices"
	"time"

	"millrace/internal/stream"
)

// call is the memory of an Append that could not pass whole.
type call struct {
	places   []int // of the entries that were admitted
	admitted []stream.Entry
	results  []stream.Result
}

// keptEntries bounds what the pool keeps of one call: what the service takes in one.
const keptEntries = 500

func (b *Backend) recycle(c *call) {
	if cap(c.admitted) > keptEntries {
		return
	}
	clear(c.admitted) // they point to what is the caller's
	clear(c.results)
	b.calls.Put(c)
}

// Append throttles the entries that their shard has no tokens for and appends the others. Tokens are spent by trying:
// an append that the backend then refuses gives none back.
func (b *Backend) Append(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	def, ok := b.Stream(name)
	if !ok || len(def.Shards) == 0 || len(entries) != len(results) {
		return b.Backend.Append(ctx, name, entries, results) // which says what is wrong
	}
	c := b.calls.Get().(*call)
	defer b.recycle(c)
	if b.admit(c, def, entries, results) {
		return b.Backend.Append(ctx, name, entries, results)
	}
	if len(c.places) == 0 {
		return nil
	}
	c.admitted, c.results = slices.Grow(c.admitted[:0], len(c.places)), slices.Grow(c.results[:0], len(c.places))
	for _, place := range c.places {
		c.admitted, c.results = append(c.admitted, entries[place]), append(c.results, stream.Result{})
	}
	if err := b.Backend.Append(ctx, name, c.admitted, c.results); err != nil {
		return err
	}
	for i, place := range c.places {
		results[place] = c.results[i]
	}
	return nil
}

// admit decides about all entries of a call in one moment. It returns true when all pass; else c.places has those that
// do, and the results of the others are set.
func (b *Backend) admit(c *call, def *stream.Stream, entries []stream.Entry, results []stream.Result) bool {
	now, whole := b.opts.Now(), true
	c.places = c.places[:0]
	s := b.of(def)
	defer s.mu.Unlock()
	if len(s.open) == 0 { // as an engine that is another's may describe a stream that goes; it says what is wrong
		return true
	}
	s.serial++
	for i := range entries {
		sh := s.holder(entries[i].HashKey())
		if s.admit(sh, &entries[i], now) {
			if !whole {
				c.places = append(c.places, i)
			}
			continue
		}
		if whole {
			whole = false
			c.places = slices.Grow(c.places, len(entries))
			for j := range i {
				c.places = append(c.places, j)
			}
		}
		results[i] = stream.Result{Shard: sh.index, Err: sh.writeError}
	}
	return whole
}

// admit takes an entry's tokens. Who follows a refused entry of the call into its shard is refused too, and takes none.
func (s *state) admit(sh *shard, e *stream.Entry, now time.Time) bool {
	size := len(e.Data) + len(e.PartitionKey)
	sh.offered.add(now, size)
	if sh.refused == s.serial {
		*sh.refusedFor++
		return false
	}
	sh.inRecords.fill(now, writeRecords)
	sh.inBytes.fill(now, writeBytes)
	switch {
	case !sh.inRecords.has(1):
		sh.refusedFor = &s.throttled.ForRecords
	// A record that is larger than what a second brings passes when the bucket is full, and leaves it in debt.
	case !sh.inBytes.has(min(size, writeBytes)):
		sh.refusedFor = &s.throttled.ForBytes
	default:
		sh.inRecords.take(1)
		sh.inBytes.take(size)
		return true
	}
	sh.refused = s.serial
	*sh.refusedFor++
	return false
}
