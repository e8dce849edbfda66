package mirror

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Verification compares what was read with what the destination holds, by reading both again.
type Verification struct {
	From, To string
	Source   Side
	Dest     Side
	// Keys were compared for their order, a share of 1 in Of: memory is bounded. Apart are keys among them whose records
	// lay in several shards of the source at one time, so that no order is theirs.
	Keys, Of, Apart int
	// Problems says what differs; none: nothing does.
	Problems []string
}

// Side is what one side holds of a pair.
type Side struct{ Records, Bytes int64 }

// verifyKeys bounds the keys whose order is compared: two maps of them are some 30 MiB.
const verifyKeys = 1 << 18

// Verify compares each pair, from where its copy began to where it has come. It follows [Mirror.Run].
func (m *Mirror) Verify(ctx context.Context) ([]Verification, error) {
	var all []Verification
	for _, c := range m.streams {
		v, err := c.verify(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, *v)
	}
	return all, nil
}

func (c *copying) verify(ctx context.Context) (*Verification, error) {
	v := &Verification{From: c.pair.From, To: c.pair.To}
	bad := func(format string, args ...any) { v.Problems = append(v.Problems, fmt.Sprintf(format, args...)) }
	source, err := c.readSource(ctx, bad)
	if err != nil {
		return nil, err
	}
	dest, err := c.readDestination(ctx, source.mask, bad)
	if err != nil {
		return nil, err
	}
	v.Source, v.Dest = source.Side, dest.Side
	switch {
	case source.Side != dest.Side:
		bad("the source has %d records of %d bytes, the destination %d of %d", source.Records, source.Bytes, dest.Records, dest.Bytes)
	case source.sum != dest.sum:
		bad("keys or data of some records differ")
	}
	source.thin(dest.mask)
	v.Of = int(source.mask) + 1
	differ := 0
	for key, chain := range source.keys {
		v.Keys++
		if chain.apart {
			v.Apart++
			continue
		}
		if other := dest.keys[key]; other == nil || other.hash != chain.hash {
			differ++
		}
	}
	if differ > 0 {
		bad("the records of %d keys, of %d that were compared, are not the same in the same order", differ, v.Keys)
	}
	return v, nil
}

// account sums up records as they come.
type account struct {
	Side
	sum  [2]uint64 // of all digests: the same for the same records in any order
	keys map[uint64]*chain
	mask uint64 // keys whose hash has none of these bits are kept
}

// chain is the records of a key, in order.
type chain struct {
	hash  uint64
	shard uint32 // that the last one came from
	apart bool
}

func (a *account) take(r *stream.Record, shard uint32, follows func(shard, before uint32) bool) {
	d := digestOf(string(r.PartitionKey), r.Data)
	lo, hi := binary.BigEndian.Uint64(d[:8]), binary.BigEndian.Uint64(d[8:])
	a.Records++
	a.Bytes += int64(len(r.PartitionKey) + len(r.Data))
	a.sum[0] += lo
	a.sum[1] += hi
	k := digestOf(string(r.PartitionKey), nil)
	key := binary.BigEndian.Uint64(k[:8])
	if key&a.mask != 0 {
		return
	}
	c := a.keys[key]
	if c == nil {
		c = &chain{shard: shard}
		a.keys[key] = c
		for len(a.keys) > verifyKeys {
			a.thin(a.mask<<1 | 1)
		}
	}
	if c.shard != shard {
		c.apart = c.apart || !follows(shard, c.shard)
		c.shard = shard
	}
	c.hash = bits.RotateLeft64((c.hash^lo)*0x9e3779b97f4a7c15, 29) // depends on the order
}

// thin keeps a smaller share of the keys.
func (a *account) thin(mask uint64) {
	a.mask |= mask
	maps.DeleteFunc(a.keys, func(key uint64, _ *chain) bool { return key&a.mask != 0 })
}

// readSource reads what was copied, shard by shard: a parent has a lower index than its children.
func (c *copying) readSource(ctx context.Context, bad func(string, ...any)) (*account, error) {
	a := &account{keys: map[uint64]*chain{}}
	now, ok := c.m.opts.From.Stream(c.pair.From)
	if !ok || now.ID != c.from.ID {
		return nil, fault.New(fault.NotFound, "mirror.Verify", c.pair.From, "the source's stream has been deleted")
	}
	docs := map[uint32]shardDoc{}
	c.m.opts.State.view(func() {
		for index, d := range c.doc.Shards {
			docs[index] = *d
		}
	})
	follows := lineage(now)
	for _, index := range slices.Sorted(maps.Keys(docs)) {
		d := docs[index]
		if d.Omitted || d.Records+d.Gone == 0 {
			continue
		}
		if _, listed := now.Shard(index); !listed {
			bad("%s has left the source, with %d records that were copied", stream.ShardID(index), d.Records)
			continue
		}
		w := walk{from: c.m.opts.From, ref: c.ref(index), at: d.Start, limit: limit{d.Position, true}}
		if err := w.run(ctx, func(r *stream.Record) bool { a.take(r, index, follows); return false }); err != nil {
			return nil, err
		}
		if gone := w.gone - d.Gone; gone > 0 {
			bad("%d records of %s have left the source since they were copied", gone, stream.ShardID(index))
		}
	}
	return a, nil
}

// lineage tells whether a shard descends from another.
func lineage(s *stream.Stream) func(shard, before uint32) bool {
	above := map[uint32]map[uint32]bool{}
	for i := range s.Shards {
		sh := &s.Shards[i]
		all := map[uint32]bool{}
		for _, parent := range sh.Parents {
			all[parent] = true
			maps.Copy(all, above[parent])
		}
		above[sh.Index] = all
	}
	return func(shard, before uint32) bool { return above[shard][before] }
}

// readDestination reads all that has come to the destination since the copy began.
func (c *copying) readDestination(ctx context.Context, mask uint64, bad func(string, ...any)) (*account, error) {
	a := &account{keys: map[uint64]*chain{}, mask: mask}
	now, ok := c.m.opts.To.Stream(c.pair.To)
	if !ok || now.ID != c.toID {
		return nil, fault.New(fault.NotFound, "mirror.Verify", c.pair.To, "the destination's stream has been deleted")
	}
	follows := func(uint32, uint32) bool { return true } // what is apart, the source tells
	for i := range now.Shards {
		index := now.Shards[i].Index
		begin, ours := c.doc.begin(index, c.doc.Places)
		if !ours {
			continue
		}
		ref := c.toRef(index)
		tip, err := retried(ctx, func() (stream.SequenceNumber, error) { return c.m.opts.To.Tip(ctx, ref) })
		if err != nil {
			return nil, err
		}
		w := walk{from: c.m.opts.To, ref: ref, at: begin, limit: limit{tip, true}}
		if err := w.run(ctx, func(r *stream.Record) bool { a.take(r, index, follows); return false }); err != nil {
			return nil, err
		}
		if w.gone > 0 {
			bad("%d records of the destination's %s have left it by retention", w.gone, stream.ShardID(index))
		}
	}
	return a, nil
}
