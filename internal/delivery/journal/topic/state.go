package topic

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/kafka"
)

// state is the topic's content in memory. What we have committed ourselves is applied at once, as the answer told its
// offsets; the follower comes to the same records later, and passes over what is older than what is known.
type state struct {
	mu         sync.RWMutex
	rows       map[journal.Key]rowEntry
	manifests  map[journal.Key]map[uint64]manifestEntry
	finals     map[string]finalEntry
	deliveries map[string]map[journal.Key]bool // the rows that are there
	broken     []error                         // by slot: what could not be read

	position []int64       // by slot: all before it has been read and applied
	moved    chan struct{} // closed and replaced when a position moves

	halves []half // by slot: the change that is being read; the follower's own
}

// gone entries are kept until the follower has passed them, so that it does not bring back what is older.
type (
	rowEntry struct {
		row    journal.Row
		offset int64
		gone   bool
	}
	manifestEntry struct {
		manifest *journal.Manifest // nil: gone
		offset   int64
	}
	finalEntry struct {
		final  journal.Final
		offset int64
		gone   bool
	}
)

// half is a change of which not all records have been read.
type half struct {
	number uint64
	items  []item
}

func newState(slots int) *state {
	return &state{rows: map[journal.Key]rowEntry{}, manifests: map[journal.Key]map[uint64]manifestEntry{},
		finals: map[string]finalEntry{}, deliveries: map[string]map[journal.Key]bool{}, broken: make([]error, slots),
		position: make([]int64, slots), moved: make(chan struct{}), halves: make([]half, slots)}
}

// planned gives the manifests of a row in order. The caller holds mu.
func (s *state) planned(k journal.Key) (all []*journal.Manifest) {
	of := s.manifests[k]
	for _, ordinal := range slices.Sorted(maps.Keys(of)) {
		if m := of[ordinal].manifest; m != nil {
			all = append(all, m)
		}
	}
	return all
}

// sortedFinals gives all final counts, oldest first. The caller holds mu.
func (s *state) sortedFinals() []journal.Final {
	var all []journal.Final
	for _, f := range s.finals {
		if !f.gone {
			all = append(all, f.final)
		}
	}
	journal.SortFinals(all)
	return all
}

// apply takes over items. passed tells that the follower has come to them: nothing older follows. The caller holds mu.
func (s *state) apply(all []item, passed bool) {
	for i := range all {
		it := &all[i]
		switch it.kind {
		case rowKind:
			s.applyRow(it, passed)
		case manifestKind:
			s.applyManifest(it, passed)
		case finalKind:
			s.applyFinal(it, passed)
		}
	}
}

func (s *state) applyRow(it *item, passed bool) {
	have, known := s.rows[it.key]
	if known && have.offset > it.offset {
		return
	}
	if it.row != nil {
		s.rows[it.key] = rowEntry{row: *it.row, offset: it.offset}
		if s.deliveries[it.key.Delivery] == nil {
			s.deliveries[it.key.Delivery] = map[journal.Key]bool{}
		}
		s.deliveries[it.key.Delivery][it.key] = true
		return
	}
	if passed {
		delete(s.rows, it.key)
	} else {
		s.rows[it.key] = rowEntry{row: journal.Row{Key: it.key}, offset: it.offset, gone: true}
	}
	delete(s.deliveries[it.key.Delivery], it.key)
	if len(s.deliveries[it.key.Delivery]) == 0 {
		delete(s.deliveries, it.key.Delivery)
	}
}

func (s *state) applyManifest(it *item, passed bool) {
	of := s.manifests[it.key]
	if have, known := of[it.ordinal]; known && have.offset > it.offset {
		return
	}
	if it.manifest == nil && passed {
		if delete(of, it.ordinal); len(of) == 0 {
			delete(s.manifests, it.key)
		}
		return
	}
	if of == nil {
		of = map[uint64]manifestEntry{}
		s.manifests[it.key] = of
	}
	of[it.ordinal] = manifestEntry{it.manifest, it.offset}
}

func (s *state) applyFinal(it *item, passed bool) {
	have, known := s.finals[it.delivery]
	switch {
	case known && have.offset > it.offset:
	case it.final != nil:
		s.finals[it.delivery] = finalEntry{final: *it.final, offset: it.offset}
	case passed:
		delete(s.finals, it.delivery)
	default:
		s.finals[it.delivery] = finalEntry{offset: it.offset, gone: true}
	}
}

// read takes over a record that the follower has come to. The caller holds mu.
func (s *state) read(r *kgo.Record) error {
	slot := int(r.Partition)
	if slot >= len(s.position) {
		return fault.New(fault.Corrupt, "journal.Load", r.Topic, "the topic has more than the %d partitions it had; they must never be changed", len(s.position))
	}
	it, err := parse(r, len(s.position))
	if err != nil {
		s.broken[slot] = err
		return err
	}
	h := &s.halves[slot]
	number, follow := changeOf(r)
	if number != h.number {
		s.apply(h.items, true) // compaction took its end
		h.items = h.items[:0]
	}
	h.number = number
	h.items = append(h.items, it)
	if follow == 0 {
		s.apply(h.items, true)
		h.items = h.items[:0]
		s.position[slot] = r.Offset + 1
	}
	return nil
}

// wait returns when the follower has passed a record.
func (s *state) wait(ctx context.Context, slot int, offset int64) error {
	for {
		s.mu.RLock()
		position, moved, broken := s.position[slot], s.moved, s.broken[slot]
		s.mu.RUnlock()
		switch {
		case broken != nil:
			return broken
		case position > offset:
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "journal.Join", "", "the journal has not been read up to offset %d of partition %d: %w", offset, slot, ctx.Err())
		}
	}
}

// follow reads the topic from its beginning, for as long as the journal is open.
func (j *Journal) follow() error {
	partitions := map[int32]kgo.Offset{}
	for i := range j.slots {
		partitions[int32(i)] = kgo.NewOffset().AtStart()
	}
	client, err := j.opts.Settings.Client(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{j.topic: partitions}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(recordBytes+recordBytes/4),
	)
	if err != nil {
		return err
	}
	j.follower = client
	j.running.Go(func() {
		for j.ctx.Err() == nil {
			j.poll()
		}
	})
	return nil
}

// readAnew forgets a slot and reads it from its beginning. What was fetched before and still comes lies before any claim
// that is written from now on.
func (j *Journal) readAnew(slot int) {
	j.state.mu.Lock()
	j.state.forget(slot)
	j.state.mu.Unlock()
	j.follower.RemoveConsumePartitions(map[string][]int32{j.topic: {int32(slot)}})
	j.follower.AddConsumePartitions(map[string]map[int32]kgo.Offset{j.topic: {int32(slot): kgo.NewOffset().AtStart()}})
}

// forget drops all that is known of a slot. The caller holds mu.
func (s *state) forget(slot int) {
	slots := len(s.position)
	for k := range s.rows {
		if journal.SlotOf(k, slots) == slot {
			s.applyRow(&item{kind: rowKind, key: k, offset: math.MaxInt64}, true)
		}
	}
	maps.DeleteFunc(s.manifests, func(k journal.Key, _ map[uint64]manifestEntry) bool { return journal.SlotOf(k, slots) == slot })
	maps.DeleteFunc(s.finals, func(id string, _ finalEntry) bool { return journal.Home(id, slots) == slot })
	s.position[slot], s.halves[slot], s.broken[slot] = 0, half{}, nil
}

func (j *Journal) poll() {
	fetches := j.follower.PollFetches(j.ctx)
	fetches.EachError(func(topic string, partition int32, err error) {
		if j.ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			j.opts.Log.Error("the delivery journal can't be read; it is tried again", "topic", topic, "partition", partition,
				"error", kafka.Fault("journal.Load", topic, err))
			sleep(j.ctx, pause)
		}
	})
	if fetches.NumRecords() == 0 {
		return
	}
	j.state.mu.Lock()
	defer j.state.mu.Unlock()
	fetches.EachRecord(func(r *kgo.Record) {
		if err := j.state.read(r); err != nil {
			j.opts.Log.Error("a record of the delivery journal can't be read; its slot is out of use", "error", err)
		}
	})
	close(j.state.moved)
	j.state.moved = make(chan struct{})
}
