package local

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
)

// recover builds the view from what the store holds. It reads one block at each end of every segment and nothing
// between, so that its time grows with the number of buckets, not of records.
func (b *Backend) recover() error {
	const op = "local.Open"
	view := &state{byName: map[string]*streamState{}}
	shards := map[shardID]*shard{}
	if err := b.loadStreams(view, shards); err != nil {
		return err
	}
	if err := b.loadFloors(op, shards); err != nil {
		return err
	}
	last, err := b.loadSegments(op, shards)
	if err != nil {
		return err
	}
	// A new bucket for what this process writes: the age of the last one is not known.
	b.commit.bucket = last + 1
	b.commit.current.Store(last + 1)
	for _, sh := range shards {
		sh.durable.Store(sh.next)
	}
	b.state.Store(view)
	return nil
}

func (b *Backend) loadStreams(view *state, shards map[shardID]*shard) error {
	return b.scan([]byte{streamPrefix}, func(key, value []byte) error {
		doc, err := decodeDoc(key, value)
		if err != nil {
			return err
		}
		s := newState(doc.Number, &doc.Stream, nil)
		view.byName[doc.Stream.Name] = s
		view.sorted = append(view.sorted, s.def) // keys come in byte order of the names
		for _, sh := range s.shards {
			shards[sh.id] = sh
		}
		return nil
	})
}

// loadFloors reads where trimmed shards go on.
func (b *Backend) loadFloors(op string, shards map[shardID]*shard) error {
	return b.scan([]byte{positionPrefix}, func(key, value []byte) error {
		if len(key) != 9 || len(value) != 16 {
			return fault.New(fault.Corrupt, op, "", "a position of %d and %d bytes", len(key), len(value))
		}
		id := shardID{binary.BigEndian.Uint32(key[1:]), binary.BigEndian.Uint32(key[5:])}
		if sh := shards[id]; sh != nil {
			sh.next, sh.lastTime = binary.BigEndian.Uint64(value), int64(binary.BigEndian.Uint64(value[8:]))
		}
		return nil
	})
}

// loadSegments hops from segment to segment and returns the number of the last bucket.
func (b *Backend) loadSegments(op string, shards map[shardID]*shard) (last uint32, err error) {
	it, err := b.db.NewIter(&pebble.IterOptions{LowerBound: []byte{recordPrefix}, UpperBound: []byte{recordPrefix + 1}})
	if err != nil {
		return 0, fault.New(fault.Unavailable, op, "", "%w", err)
	}
	defer it.Close()
	for valid := it.First(); valid; {
		k, ok := parseRecordKey(it.Key())
		if !ok {
			return 0, fault.New(fault.Corrupt, op, "", "a record key of %d bytes", len(it.Key()))
		}
		first, err := readHead(op, it)
		if err != nil {
			return 0, err
		}
		end := prefixEnd(appendShardPrefix(nil, k.bucket, k.streamNo, k.shard))
		if !it.SeekLT(end) {
			break
		}
		tail, ok := parseRecordKey(it.Key())
		if !ok {
			return 0, fault.New(fault.Corrupt, op, "", "a record key of %d bytes", len(it.Key()))
		}
		head, err := readHead(op, it)
		if err != nil {
			return 0, err
		}
		last = max(last, k.bucket)
		if sh := shards[shardID{k.streamNo, k.shard}]; sh != nil {
			sh.segments = append(sh.segments, segment{k.bucket, k.position, first.arrival, head.arrival})
			sh.next = max(sh.next, tail.position+head.count)
			sh.lastTime = max(sh.lastTime, head.arrival)
		}
		valid = it.SeekGE(end)
	}
	if err := it.Error(); err != nil {
		return 0, fault.New(fault.Corrupt, op, "", "%w", err)
	}
	for _, sh := range shards {
		slices.SortFunc(sh.segments, func(x, y segment) int { return cmp.Compare(x.first, y.first) })
		if sh.closed {
			sh.end = &sh.next // a closed shard takes nothing more
		}
	}
	return last, nil
}

func readHead(op string, it *pebble.Iterator) (block, error) {
	value, err := it.ValueAndErr()
	if err != nil {
		return block{}, fault.New(fault.Corrupt, op, "", "%w", err)
	}
	head, err := openBlock(value)
	if err != nil {
		return block{}, fault.New(fault.Corrupt, op, "", "block % x: %w", it.Key(), err)
	}
	return head, nil
}

// scan calls fn for every key that begins with prefix.
func (b *Backend) scan(prefix []byte, fn func(key, value []byte) error) error {
	it, err := b.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return fault.New(fault.Unavailable, "local.Open", "", "%w", err)
	}
	defer it.Close()
	for valid := it.First(); valid; valid = it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = fn(it.Key(), value)
		}
		if err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return fault.New(fault.Corrupt, "local.Open", "", "%w", err)
	}
	return nil
}
