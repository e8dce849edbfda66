package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// What has landed lies beside the rows:
//
//	prefix l delivery 0 stream 0 incarnation 0 shard(4) number(8)    -> landed
//	prefix h delivery 0 stream 0 incarnation 0 shard(4) hour(8)      -> hour
const (
	landedSpace = 'l'
	hourSpace   = 'h'
)

func (p *Pebble) numbered(space byte, k Key, n uint64) []byte {
	return binary.BigEndian.AppendUint64(p.rowKey(space, k), n)
}

func lastNumber(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// fillIndex puts into a batch what a change says of landed objects and hours.
func (p *Pebble) fillIndex(batch *pebble.Batch, change *Change) error {
	for i := range change.Landed {
		l := &change.Landed[i]
		key := change.Rows[0].Key
		if l.Number == 1 { // an earlier version of the program may have written the row in between, and not kept its number
			prefix := p.rowKey(landedSpace, key)
			if err := batch.DeleteRange(prefix, after(prefix), nil); err != nil {
				return err
			}
		}
		sealed, err := seal(landedMagic, firstVersion, l)
		if err := set(batch, p.numbered(landedSpace, key, l.Number), sealed, err); err != nil {
			return err
		}
	}
	for i := range change.Hours {
		h := &change.Hours[i]
		sealed, err := seal(hourMagic, firstVersion, &h.HourCounts)
		if err := set(batch, p.numbered(hourSpace, h.Key, uint64(h.Hour)), sealed, err); err != nil {
			return err
		}
	}
	if change.Final == nil {
		return nil
	}
	for _, space := range []byte{landedSpace, hourSpace} { // they go with their delivery stream
		prefix := p.deliveryKey(space, change.Final.ID)
		if err := batch.DeleteRange(prefix, after(prefix), nil); err != nil {
			return err
		}
	}
	return nil
}

// numbers are the entries of one row.
type numbers struct {
	p           *Pebble
	iter        *pebble.Iterator
	key         Key
	first, last uint64
	n           int
}

func (p *Pebble) numbers(key Key) (*numbers, error) {
	prefix := p.rowKey(landedSpace, key)
	iter, err := p.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, fault.New(fault.Internal, "journal.Landed", key.Delivery, "%w", err)
	}
	s := &numbers{p: p, iter: iter, key: key}
	if iter.First() {
		s.first = lastNumber(iter.Key())
		iter.Last()
		s.last = lastNumber(iter.Key())
		s.n = int(s.last - s.first + 1)
	}
	return s, nil
}

func (s *numbers) get(i int) (l Landed, err error) {
	if !s.iter.SeekGE(s.p.numbered(landedSpace, s.key, s.first+uint64(i))) {
		return l, fault.New(fault.Corrupt, "journal.Landed", s.key.Delivery, "number %d of %s is missing", s.first+uint64(i), s.key.Shard)
	}
	err = unseal(landedMagic, s.iter.Value(), &l, "landed object of "+s.key.Delivery)
	return l, err
}

func (s *numbers) close() error {
	if err := s.iter.Close(); err != nil {
		return fault.New(fault.Internal, "journal.Landed", s.key.Delivery, "%w", err)
	}
	return nil
}

// Landed implements [Index].
func (p *Pebble) Landed(_ context.Context, key Key, at stream.SequenceNumber) ([]Landed, bool, error) {
	s, err := p.numbers(key)
	if err != nil {
		return nil, false, err
	}
	all, complete, err := Around(s.n, s.get, at)
	if closed := s.close(); err == nil {
		err = closed
	}
	return all, complete, err
}

// LandedShards implements [Index].
func (p *Pebble) LandedShards(_ context.Context, delivery string) ([]Key, error) {
	rows, err := p.indexed(p.deliveryKey(landedSpace, delivery), len(p.space(landedSpace)))
	var keys []Key
	for i := range rows {
		keys = append(keys, rows[i].Key)
	}
	return keys, err
}

// indexedRow is a row that has entries, and the number of the first.
type indexedRow struct {
	Key
	first uint64
}

// indexed lists the rows that have entries below a prefix, without reading all of these.
func (p *Pebble) indexed(prefix []byte, space int) ([]indexedRow, error) {
	iter, err := p.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, fault.New(fault.Internal, "journal.Landed", "", "%w", err)
	}
	var all []indexedRow
	for ok := iter.First(); ok; {
		key := bytes.Clone(iter.Key())
		k, _, parsed := ParseKey(key[space:])
		if !parsed {
			iter.Close()
			return nil, fault.New(fault.Corrupt, "journal.Landed", "", "key %.80q is none of the index", key)
		}
		all = append(all, indexedRow{k, lastNumber(key)})
		ok = iter.SeekGE(after(key[:len(key)-8]))
	}
	if err := iter.Close(); err != nil {
		return nil, fault.New(fault.Internal, "journal.Landed", "", "%w", err)
	}
	return all, nil
}

// Hours implements [Index].
func (p *Pebble) Hours(_ context.Context, delivery string) ([]HourCounts, error) {
	sums := map[int64]*HourCounts{} // at most MaxHours, and what is to be pruned
	err := p.scan(p.deliveryKey(hourSpace, delivery), func(_, value []byte) error {
		var h HourCounts
		if err := unseal(hourMagic, value, &h, "hour of "+delivery); err != nil {
			return err
		}
		if have := sums[h.Hour]; have != nil {
			have.add(&h)
		} else {
			sums[h.Hour] = &h
		}
		return nil
	})
	all := make([]HourCounts, 0, len(sums))
	for _, h := range sums {
		all = append(all, *h)
	}
	return SumHours(all), err
}

// Prune implements [Index]. What is found is a matter of milliseconds for thousands of rows: the place to cut is searched
// for, and what lies before it goes as a range.
func (p *Pebble) Prune(ctx context.Context, landed time.Time, hour int64) error {
	rows, err := p.indexed(p.space(landedSpace), len(p.space(landedSpace)))
	if err != nil {
		return err
	}
	for _, k := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.pruneLanded(k.Key, landed); err != nil {
			return err
		}
	}
	if rows, err = p.indexed(p.space(hourSpace), len(p.space(hourSpace))); err != nil {
		return err
	}
	for _, k := range rows {
		if k.first >= uint64(max(0, hour)) {
			continue
		}
		if err := p.db.DeleteRange(p.rowKey(hourSpace, k.Key), p.numbered(hourSpace, k.Key, uint64(hour)), pebble.NoSync); err != nil {
			return fault.New(fault.Unavailable, "journal.Prune", k.Delivery, "%w", err)
		}
	}
	return nil
}

func (p *Pebble) pruneLanded(k Key, before time.Time) error {
	s, err := p.numbers(k)
	if err != nil {
		return err
	}
	cut := sort.Search(s.n, func(i int) bool {
		l, e := s.get(i)
		if e != nil {
			err = e
		}
		return !l.At.Before(before)
	})
	cut = max(cut, s.n-MaxLanded)
	if closed := s.close(); err == nil {
		err = closed
	}
	if err != nil || cut == 0 {
		return err
	}
	if err := p.db.DeleteRange(p.rowKey(landedSpace, k), p.numbered(landedSpace, k, s.first+uint64(cut)), pebble.NoSync); err != nil {
		return fault.New(fault.Unavailable, "journal.Prune", k.Delivery, "%w", err)
	}
	return nil
}

var _ Index = (*Pebble)(nil)
