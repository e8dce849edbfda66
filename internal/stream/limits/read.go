package limits

import (
	"context"
	"time"

	"millrace/internal/stream"
)

// Read throttles, or reads and takes what it read from the shard's tokens. All consumers that poll share them; a
// registered one has his own, and is not told that he was throttled: his subscription waits. So that is not counted.
func (b *Backend) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	s, sh := b.shard(req.Shard)
	if sh == nil {
		return b.Backend.Read(ctx, req, batch) // which says what is wrong
	}
	if err := s.mayRead(sh, req.Consumer, b.opts.Now()); err != nil {
		return err
	}
	if err := b.Backend.Read(ctx, req, batch); err != nil {
		return err
	}
	s.hasRead(sh, req.Consumer, size(batch), b.opts.Now())
	return nil
}

// shard finds a shard of the present incarnation; nil when there is none.
func (b *Backend) shard(ref stream.ShardRef) (*state, *shard) {
	def, ok := b.Stream(ref.Stream)
	if !ok || len(def.Shards) == 0 || ref.ID != "" && ref.ID != def.ID {
		return nil, nil
	}
	s := b.of(def)
	defer s.mu.Unlock()
	return s, s.shards[ref.Shard]
}

func (s *state) mayRead(sh *shard, consumer string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if consumer != "" {
		if !sh.ofConsumer(consumer, now).has(0) {
			return sh.readErr
		}
		return nil
	}
	sh.outCalls.fill(now, readCalls)
	sh.outBytes.fill(now, readBytes)
	switch {
	case !sh.outBytes.has(0):
		s.throttled.ReadsForBytes++
		return sh.readErr
	case !sh.outCalls.has(1):
		s.throttled.ReadsForCalls++
		return sh.readErr
	}
	sh.outCalls.take(1)
	return nil
}

// hasRead takes an answer's bytes. What is more than a second brings is paid for whole, whatever the bucket held: the
// shard refuses readers for five seconds after an answer of 10 MiB.
func (s *state) hasRead(sh *shard, consumer string, bytes int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if consumer != "" {
		sh.ofConsumer(consumer, now).take(bytes)
		return
	}
	sh.outBytes.fill(now, readBytes)
	if bytes > readBytes {
		sh.outBytes.billionths = min(sh.outBytes.billionths, 0)
	}
	sh.outBytes.take(bytes)
}

func size(batch *stream.Batch) (bytes int) {
	for i := range batch.Records {
		bytes += len(batch.Records[i].Data) + len(batch.Records[i].PartitionKey)
	}
	return bytes
}

// Delivery gives the backend as delivery streams use it. Amazon Data Firehose reads by GetRecords, once a second, and so
// takes from what a shard gives to polling consumers; theirs is less here too. But nothing of delivery is refused: it
// has to be on time, and to read a second time what did not fit into memory. So all delivery streams of a shard
// together count as one call a second, their bytes count in full, and leave it in no more than a second's debt.
func (b *Backend) Delivery() stream.Backend { return delivery{b.Backend, b} }

type delivery struct {
	stream.Backend
	limits *Backend
}

func (d delivery) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	if err := d.Backend.Read(ctx, req, batch); err != nil {
		return err
	}
	if s, sh := d.limits.shard(req.Shard); sh != nil {
		s.hasDelivered(sh, size(batch), d.limits.opts.Now())
	}
	return nil
}

// deliveryCall is how often delivery counts as a call.
const deliveryCall = time.Second

func (s *state) hasDelivered(sh *shard, bytes int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.outBytes.fill(now, readBytes)
	if left := sh.outBytes.billionths; left > -readBytes*token {
		sh.outBytes.billionths = max(left-int64(bytes)*token, -readBytes*token)
	}
	if now.Sub(sh.delivered) >= deliveryCall {
		sh.delivered = now
		sh.outCalls.fill(now, readCalls)
		sh.outCalls.take(1)
	}
}

// maxConsumers bounds those whose tokens a shard keeps: the most that the service lets a stream have.
const maxConsumers = 50

// ofConsumer gives the tokens of a registered consumer, as they are now. They stay his when he subscribes again. The
// caller holds the stream's lock.
func (sh *shard) ofConsumer(name string, now time.Time) *bucket {
	k := sh.own[name]
	if k == nil {
		if len(sh.own) >= maxConsumers {
			for name, k := range sh.own {
				if k.fill(now, ownBytes); k.has(ownBytes) {
					delete(sh.own, name) // it says nothing
				}
			}
		}
		if sh.own == nil {
			sh.own = map[string]*bucket{}
		}
		fresh := full(ownBytes, now)
		k = &fresh
		sh.own[name] = k
	}
	k.fill(now, ownBytes)
	return k
}
