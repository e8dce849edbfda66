// Package limits applies the throughput limits of Kinesis Data Streams to a
// backend, for those who ask for the service's own behaviour (--aws-exact=limits).
//
//	write: 1000 records and 1 MiB a second for each shard; beyond it entries fail one by one as Throttled
//	read:  2 MiB a second and 5 calls a second for each shard; beyond it Read fails as Throttled.
//	       2 MiB a second for each registered consumer and shard, calls free
//
// A bucket of tokens holds one second's worth, as the service's own bursts do. A
// read may overdraw its bytes once and waits the debt off, so that a single answer
// can be as large as the service's 10 MiB. On-demand streams have the same limits
// for each of their shards.
package limits

import (
	"context"
	"sync"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Of each shard, per second. Source: Kinesis Data Streams developer guide, quotas and limits.
const (
	writeRecords = 1000
	writeBytes   = 1 << 20
	readBytes    = 2 << 20
	readCalls    = 5
	// maxShards bounds the buckets that are kept; when there are more, those that are full, and so say nothing, go.
	maxShards = 20_000
)

// Backend is a stream.Backend with limits.
type Backend struct {
	stream.Backend
	now func() time.Time

	mu     sync.Mutex
	shards map[user]*shard
}

// user is who takes tokens: of a shard all together, or a registered consumer of it.
type user struct {
	shard    stream.ShardRef
	consumer string
}

// Of puts limits before a backend.
func Of(b stream.Backend, now func() time.Time) *Backend {
	return &Backend{Backend: b, now: now, shards: map[user]*shard{}}
}

// shard is what one shard may still take and give.
type shard struct {
	at                                   time.Time
	inRecords, inBytes, outBytes, outGet float64
}

// of gives a shard's tokens as they are now. The caller holds mu.
func (b *Backend) of(who user) *shard {
	now := b.now()
	s := b.shards[who]
	if s == nil {
		if len(b.shards) >= maxShards {
			b.forgetIdle(now)
		}
		s = &shard{now, writeRecords, writeBytes, readBytes, readCalls}
		b.shards[who] = s
	}
	passed := max(0, now.Sub(s.at).Seconds())
	s.at = now
	s.inRecords = min(writeRecords, s.inRecords+passed*writeRecords)
	s.inBytes = min(writeBytes, s.inBytes+passed*writeBytes)
	s.outBytes = min(readBytes, s.outBytes+passed*readBytes)
	s.outGet = min(readCalls, s.outGet+passed*readCalls)
	return s
}

func (b *Backend) forgetIdle(now time.Time) {
	for ref, s := range b.shards {
		if now.Sub(s.at) > 10*time.Second {
			delete(b.shards, ref)
		}
	}
}

// Append throttles the entries that their shard has no tokens for and appends the others.
func (b *Backend) Append(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	def, ok := b.Stream(name)
	if !ok {
		return b.Backend.Append(ctx, name, entries, results)
	}
	admitted := make([]stream.Entry, 0, len(entries))
	places := make([]int, 0, len(entries))
	for i := range entries {
		sh := holder(def, entries[i].HashKey())
		if b.admit(stream.ShardRef{Stream: name, ID: def.ID, Shard: sh.Index}, &entries[i]) {
			admitted, places = append(admitted, entries[i]), append(places, i)
			continue
		}
		results[i] = stream.Result{Shard: sh.Index, Err: fault.New(fault.Throttled, "limits.Append", name,
			"Rate exceeded for shard %s in stream %s under account.", sh.ID(), name)}
	}
	if len(admitted) == 0 {
		return nil
	}
	sub := make([]stream.Result, len(admitted))
	if err := b.Backend.Append(ctx, name, admitted, sub); err != nil {
		return err
	}
	for i, place := range places {
		results[place] = sub[i]
	}
	return nil
}

// holder finds the open shard that holds a hash key.
func holder(def *stream.Stream, k stream.HashKey) *stream.Shard {
	for i := range def.Shards {
		if sh := &def.Shards[i]; sh.Open() && sh.Range.Contains(k) {
			return sh
		}
	}
	return &def.Shards[0] // the open shards cover all keys
}

func (b *Backend) admit(ref stream.ShardRef, e *stream.Entry) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, size := b.of(user{shard: ref}), float64(len(e.Data)+len(e.PartitionKey))
	// A record of the largest size with its key is over one second's worth: it passes when the bucket is full.
	if s.inRecords < 1 || s.inBytes < min(size, writeBytes) {
		return false
	}
	s.inRecords--
	s.inBytes -= size
	return true
}

// Read throttles, or reads and takes what it read from the shard's tokens.
func (b *Backend) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	b.mu.Lock()
	who := user{req.Shard, req.Consumer}
	s := b.of(who)
	refused := s.outBytes <= 0
	if who.consumer == "" {
		if refused = refused || s.outGet < 1; !refused {
			s.outGet--
		}
	}
	b.mu.Unlock()
	if refused {
		return fault.New(fault.Throttled, "limits.Read", req.Shard.Stream,
			"Rate exceeded for shard %s in stream %s under account.", stream.ShardID(req.Shard.Shard), req.Shard.Stream)
	}
	if err := b.Backend.Read(ctx, req, batch); err != nil {
		return err
	}
	read := 0
	for i := range batch.Records {
		read += len(batch.Records[i].Data) + len(batch.Records[i].PartitionKey)
	}
	b.mu.Lock()
	b.of(who).outBytes -= float64(read)
	b.mu.Unlock()
	return nil
}
