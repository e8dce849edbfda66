package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"millrace/internal/fault"
)

// Pebble is a [Journal] in a Pebble database that it shares with others.
//
//	prefix r delivery 0 stream 0 incarnation 0 shard(4)              -> row
//	prefix m delivery 0 stream 0 incarnation 0 shard(4) ordinal(8)   -> manifest
//	prefix f delivery                                                -> final
type Pebble struct {
	db     *pebble.DB
	prefix []byte

	// Comparing and writing one row must not interleave, but rows of different shards share fsyncs: so locks are
	// striped by row and held across the commit, and Pebble groups the commits of different stripes.
	stripes [64]sync.Mutex
	seed    maphash.Seed
	// finishing is held while final counts are added and old ones forgotten.
	finishing sync.Mutex
}

// Open gives the journal below prefix in db, which stays the caller's.
func Open(db *pebble.DB, prefix []byte) *Pebble {
	return &Pebble{db: db, prefix: bytes.Clone(prefix), seed: maphash.MakeSeed()}
}

const (
	rowSpace      = 'r'
	manifestSpace = 'm'
	finalSpace    = 'f'
)

func (p *Pebble) space(s byte) []byte { return append(bytes.Clone(p.prefix), s) }

func (p *Pebble) deliveryKey(space byte, delivery string) []byte {
	return append(append(p.space(space), delivery...), 0)
}

func (p *Pebble) rowKey(space byte, k Key) []byte {
	return AppendKey(p.space(space), k)
}

func (p *Pebble) manifestKey(m *Manifest) []byte {
	return binary.BigEndian.AppendUint64(p.rowKey(manifestSpace, m.Key), m.Ordinal)
}

// after is the first key that does not begin with prefix.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

func (p *Pebble) scan(prefix []byte, each func(key, value []byte) error) error {
	iter, err := p.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return fault.New(fault.Internal, "journal.Load", "", "%w", err)
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		if err := each(iter.Key(), iter.Value()); err != nil {
			iter.Close()
			return err
		}
	}
	if err := iter.Close(); err != nil {
		return fault.New(fault.Internal, "journal.Load", "", "%w", err)
	}
	return nil
}

// Deliveries implements [Journal].
func (p *Pebble) Deliveries(context.Context) ([]string, error) {
	var ids []string
	space := p.space(rowSpace)
	err := p.scan(space, func(key, _ []byte) error {
		id, _, _ := bytes.Cut(key[len(space):], []byte{0})
		if n := len(ids); n == 0 || ids[n-1] != string(id) {
			ids = append(ids, string(id))
		}
		return nil
	})
	return ids, err
}

// Load implements [Journal].
func (p *Pebble) Load(_ context.Context, delivery string) ([]Row, []*Manifest, error) {
	var rows []Row
	err := p.scan(p.deliveryKey(rowSpace, delivery), func(_, value []byte) error {
		row, err := DecodeRow(value, "row of "+delivery)
		rows = append(rows, row)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	manifests, err := p.manifests(p.deliveryKey(manifestSpace, delivery), delivery)
	return rows, manifests, err
}

func (p *Pebble) manifests(prefix []byte, delivery string) ([]*Manifest, error) {
	var all []*Manifest
	err := p.scan(prefix, func(_, value []byte) error {
		m, err := DecodeManifest(value, "manifest of "+delivery)
		if err != nil {
			return err
		}
		all = append(all, m)
		return m.Check()
	})
	return all, err
}

// LoadShard implements [Journal].
func (p *Pebble) LoadShard(_ context.Context, key Key) (row Row, ok bool, manifests []*Manifest, err error) {
	row, ok, err = p.row(key)
	if err != nil || !ok {
		return row, ok, nil, err
	}
	manifests, err = p.manifests(p.rowKey(manifestSpace, key), key.Delivery)
	return row, ok, manifests, err
}

func (p *Pebble) row(key Key) (row Row, ok bool, err error) {
	value, closer, err := p.db.Get(p.rowKey(rowSpace, key))
	if err == pebble.ErrNotFound {
		return Row{Key: key}, false, nil
	}
	if err != nil {
		return Row{}, false, fault.New(fault.Internal, "journal.Load", key.Delivery, "%w", err)
	}
	defer closer.Close()
	row, err = DecodeRow(value, "row of "+key.Delivery+" "+key.Shard.String())
	return row, err == nil, err
}

// Slots implements [Journal]: there is one.
func (p *Pebble) Slots() int { return 1 }

// Join implements [Journal]. The slot is gained at once, and never lost.
func (p *Pebble) Join(_ context.Context, m Member) error {
	m.Gained([]int{0})
	return nil
}

// Leave implements [Journal].
func (p *Pebble) Leave(context.Context) error { return nil }

// Write implements [Journal].
func (p *Pebble) Write(ctx context.Context, change *Change) error {
	const op = "journal.Write"
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Unavailable, op, "", "%w", err)
	}
	if _, err := change.Slot(1); err != nil {
		return err
	}
	unlock := p.lock(change)
	defer unlock()
	err := change.Compare(
		func(k Key) (Row, error) { row, _, err := p.row(k); return row, err },
		func(delivery string) (bool, error) { _, ok, err := p.Final(ctx, delivery); return ok, err })
	if err != nil {
		return err
	}
	batch := p.db.NewBatch()
	defer batch.Close()
	if err := p.fill(batch, change); err != nil {
		return fault.New(fault.Unavailable, op, "", "%w", err)
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fault.New(fault.Unavailable, op, "", "%w", err)
	}
	return nil
}

func (p *Pebble) fill(batch *pebble.Batch, change *Change) error {
	for i := range change.Rows {
		sealed, err := EncodeRow(&change.Rows[i])
		if err := set(batch, p.rowKey(rowSpace, change.Rows[i].Key), sealed, err); err != nil {
			return err
		}
	}
	for i := range change.Drop {
		if err := batch.Delete(p.rowKey(rowSpace, change.Drop[i].Key), nil); err != nil {
			return err
		}
	}
	for _, m := range change.Plan {
		sealed, err := EncodeManifest(m)
		if err := set(batch, p.manifestKey(m), sealed, err); err != nil {
			return err
		}
	}
	for _, m := range change.Remove {
		if err := batch.Delete(p.manifestKey(m), nil); err != nil {
			return err
		}
	}
	if err := p.fillIndex(batch, change); err != nil || change.Final == nil {
		return err
	}
	if err := p.forget(batch, MaxFinals-1); err != nil {
		return err
	}
	sealed, err := EncodeFinal(change.Final)
	return set(batch, p.finalKey(change.Final.ID), sealed, err)
}

// forget removes the oldest final counts but n.
func (p *Pebble) forget(batch *pebble.Batch, n int) error {
	finals, err := p.finals()
	if err != nil {
		return err
	}
	for ; len(finals) > n; finals = finals[1:] {
		if err := batch.Delete(p.finalKey(finals[0].ID), nil); err != nil {
			return err
		}
	}
	return nil
}

// set puts a sealed value into a batch, unless sealing has failed.
func set(batch *pebble.Batch, key, sealed []byte, err error) error {
	if err != nil {
		return err
	}
	return batch.Set(key, sealed, nil)
}

// lock takes the stripes of all rows that change names, in rising order, and before them that of the final counts.
func (p *Pebble) lock(change *Change) (unlock func()) {
	if change.Final != nil {
		p.finishing.Lock()
	}
	var taken []int
	for i := range change.Rows {
		taken = append(taken, p.stripe(change.Rows[i].Key))
	}
	for i := range change.Drop {
		taken = append(taken, p.stripe(change.Drop[i].Key))
	}
	slices.Sort(taken)
	taken = slices.Compact(taken)
	for _, i := range taken {
		p.stripes[i].Lock()
	}
	return func() {
		for _, i := range taken {
			p.stripes[i].Unlock()
		}
		if change.Final != nil {
			p.finishing.Unlock()
		}
	}
}

func (p *Pebble) stripe(k Key) int {
	return int(maphash.Comparable(p.seed, k) % uint64(len(p.stripes)))
}

func (p *Pebble) finalKey(delivery string) []byte { return append(p.space(finalSpace), delivery...) }

// Final implements [Journal].
func (p *Pebble) Final(_ context.Context, delivery string) (f Final, ok bool, err error) {
	value, closer, err := p.db.Get(p.finalKey(delivery))
	if err == pebble.ErrNotFound {
		return f, false, nil
	}
	if err != nil {
		return f, false, fault.New(fault.Internal, "journal.Load", delivery, "%w", err)
	}
	defer closer.Close()
	err = unseal(finalMagic, value, &f, "final counts of "+delivery)
	return f, err == nil, err
}

// Finals implements [Journal].
func (p *Pebble) Finals(context.Context) ([]Final, error) { return p.finals() }

func (p *Pebble) finals() ([]Final, error) {
	var all []Final
	err := p.scan(p.space(finalSpace), func(_, value []byte) error {
		all = append(all, Final{})
		return unseal(finalMagic, value, &all[len(all)-1], "final counts")
	})
	SortFinals(all)
	return all, err
}

var _ Journal = (*Pebble)(nil)
