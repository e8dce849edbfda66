package delivery

import (
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/objectkey"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// shard is one shard of a delivery stream's source: its durable row and the manifests that are planned and not yet
// committed.
type shard struct {
	d   *delivery
	ref stream.ShardRef

	// ctx ends when the shard is let go; reading ends then too, or before: see delivery.
	ctx     context.Context
	reading context.Context
	stop    func()
	worker  sync.WaitGroup // the worker
	puts    sync.WaitGroup // tasks that run

	mu          lock
	row         journal.Row // as it is stored
	outstanding []*task     // in the order of their plans
	// dirty is set when a write failed and may have happened all the same: the next one loads first.
	dirty  bool
	fenced error // another process has written the row; nothing more is done here
	tip    stream.SequenceNumber

	// changed wakes the worker after a commit.
	changed chan struct{}
	running bool      // a worker has been started; guarded by delivery.discovering
	left    time.Time // when the shard was first seen gone from its stream; guarded by delivery.discovering
	gauges  gauges
}

func newShard(d *delivery, row journal.Row) *shard {
	s := &shard{d: d, ref: row.Shard, mu: newLock(), row: row, tip: row.Checkpoint, changed: make(chan struct{}, 1)}
	var end, rest context.CancelFunc
	s.ctx, end = context.WithCancel(d.ctx)
	s.reading, rest = context.WithCancel(d.reading)
	s.stop = func() { end(); rest() }
	return s
}

// position gives the number of the first record of the shard at or after a place, for backends with dense positions.
// A place need not be a record's number ("after the last one"), so that it is searched for.
func position(created int64, shard uint32, place stream.SequenceNumber) int64 {
	if c, s, p, ok := place.Parts(); ok && c == created && s == shard {
		return int64(p)
	}
	return int64(sort.Search(stream.LastPosition, func(p int) bool {
		return !stream.NewSequenceNumber(created, shard, uint64(p)).Before(place)
	}))
}

// between counts the records of a row's shard from one place to another.
func between(row *journal.Row, from, to stream.SequenceNumber) int64 {
	if !from.Before(to) {
		return 0
	}
	return position(row.Created, row.Shard.Shard, to) - position(row.Created, row.Shard.Shard, from)
}

func (s *shard) snapshot() journal.Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.row
}

// comesAfter makes the shard's plans come after those of a parent, whoever made them and whatever his clock said. It is
// stored with the next plan.
func (s *shard) comesAfter(parent *journal.Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.row.LastID = max(s.row.LastID, parent.LastID)
	s.row.LastVersion = max(s.row.LastVersion, parent.LastVersion)
	if s.row.LastStamp.Before(parent.LastStamp) {
		s.row.LastStamp = parent.LastStamp
	}
}

func (s *shard) isFenced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fenced != nil
}

// plannedEnd is where the next buffer begins.
func (s *shard) plannedEnd() stream.SequenceNumber {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plannedEndLocked()
}

func (s *shard) plannedEndLocked() stream.SequenceNumber {
	if n := len(s.outstanding); n > 0 {
		return s.outstanding[n-1].manifest.Next
	}
	return s.row.Checkpoint
}

// tasks gives what is outstanding now; commits shorten the shard's own slice in place.
func (s *shard) tasks() []*task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.outstanding)
}

func (s *shard) sawTip(place stream.SequenceNumber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tip.Before(place) {
		s.tip = place
	}
}

// await blocks until at most n manifests are outstanding.
func (s *shard) await(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		left, fenced := len(s.outstanding), s.fenced
		s.mu.Unlock()
		switch {
		case fenced != nil:
			return fenced
		case left <= n:
			return nil
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *shard) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// plan makes the buffer's content a durable manifest, and a task of it. The buffer is empty of memory afterwards. After
// an error the worker must begin again at plannedEnd.
func (s *shard) plan(ctx context.Context, b *buffer) (*task, error) {
	e := s.d.engine
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.resync(ctx); err != nil {
		return nil, err
	}
	if b.start != s.plannedEndLocked() {
		return nil, fault.New(fault.Unavailable, "delivery.plan", s.d.name,
			"%s: the buffer begins at %s and not where the last plan ends: a write has happened after all", s.ref, b.start)
	}
	if b.dest.number < s.row.LastVersion {
		return nil, fault.New(fault.Unavailable, "delivery.plan", s.d.name,
			"%s: version %d of the definition is not known here yet", s.ref, s.row.LastVersion)
	}
	now := e.opts.Now()
	m := s.manifest(b, s.d.nextID(now, s.row.LastID), now)
	row := s.nextRow()
	row.LastID, row.LastStamp, row.LastVersion = m.Ordinal, m.Stamp, b.dest.number

	e.opts.Failpoint("plan-before")
	if err := s.write(ctx, &journal.Change{Rows: []journal.Row{row}, Plan: []*journal.Manifest{m}}); err != nil {
		return nil, err
	}
	e.opts.Failpoint("plan-after")
	s.row = row
	t := newTask(s, m)
	t.kept, b.kept = b.kept, kept{budget: b.kept.budget, full: true}
	s.outstanding = append(s.outstanding, t)
	return t, nil
}

func (s *shard) manifest(b *buffer, id objectkey.ID, now time.Time) *journal.Manifest {
	random := s.d.engine.opts.IDs
	// Stamps never fall within a shard, though a clock may: keys sort by them first.
	stamp := s.row.LastStamp
	if oldest := time.UnixMilli(b.oldest).UTC(); b.records > 0 && oldest.After(stamp) {
		stamp = oldest
	}
	m := &journal.Manifest{
		ID: id.UUID(random), Ordinal: uint64(id), Key: s.row.Key, Delivery: s.d.name, Version: b.dest.version,
		Bucket: b.dest.bucket, First: b.first, Last: b.last, Next: b.next,
		Records: b.records, Bytes: b.bytes, Expired: b.expired,
		Compression: b.dest.compression, Level: b.dest.level, Delimiter: b.dest.delimiter,
		Stamp: stamp, Planned: now.UTC(),
	}
	if m.Records > 0 {
		m.ObjectKey = b.dest.key(stamp, m.ID, random)
	}
	return m
}

func (s *shard) nextRow() journal.Row {
	row := s.row
	row.Version++
	row.Writer = s.d.engine.writer
	return row
}

// write stores a change whose first row is this shard's. The caller holds mu.
func (s *shard) write(ctx context.Context, change *journal.Change) error {
	err := s.d.engine.opts.Journal.Write(ctx, change)
	if err != nil {
		s.dirty = true
		if fault.Is(err, fault.PreconditionFailed) {
			s.fenced = err
			s.d.engine.tellFenced(s, err)
			s.signal()
		}
	}
	return err
}

// tellFenced logs that another process has written a shard's row. In a group that is how a node learns that it was away
// for too long; alone it can only be a second process on the same data.
func (e *Engine) tellFenced(s *shard, err error) {
	if e.group() {
		e.opts.Log.Info("another node delivers this shard now", "deliveryStream", s.d.name, "shard", s.ref.String(), "error", err)
		return
	}
	e.opts.Log.Error("another process delivers this shard; stopped", "deliveryStream", s.d.name, "shard", s.ref.String(), "error", err)
}

// resync finds out whether a write whose answer was an error has happened. The caller holds mu.
func (s *shard) resync(ctx context.Context) error {
	if s.fenced != nil {
		return s.fenced
	}
	if !s.dirty {
		return nil
	}
	row, ok, manifests, err := s.d.engine.opts.Journal.LoadShard(ctx, s.row.Key)
	if err != nil {
		return err
	}
	switch {
	case ok && row.Version == s.row.Version:
	case ok && row.Version == s.row.Version+1 && row.Writer == s.d.engine.writer:
		s.adopt(row, manifests)
	default:
		s.fenced = fault.New(fault.PreconditionFailed, "delivery.resync", s.d.name,
			"row of %s has version %d of writer %q, expected %d", s.ref, row.Version, row.Writer, s.row.Version)
		s.signal()
		return s.fenced
	}
	s.dirty = false
	return nil
}

// adopt takes over a write that has happened: tasks that are gone from the journal are dropped, and a manifest that is
// new there becomes a task.
func (s *shard) adopt(row journal.Row, manifests []*journal.Manifest) {
	s.row = row
	before := s.outstanding
	s.outstanding = nil
	for _, m := range manifests {
		i := slices.IndexFunc(before, func(t *task) bool { return t.manifest.Ordinal == m.Ordinal })
		if i >= 0 {
			before[i].reloaded = m // its own goroutine takes it over
			s.outstanding = append(s.outstanding, before[i])
			continue
		}
		t := newTask(s, m)
		t.mayExist = true
		s.outstanding = append(s.outstanding, t)
		s.d.engine.putter.submit(t)
	}
	s.signal()
}

// refresh makes sure that the task's manifest is the stored one, after a write whose outcome was unknown.
func (s *shard) refresh(ctx context.Context, t *task) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.resync(ctx)
	if t.reloaded != nil {
		t.manifest, t.reloaded = t.reloaded, nil
	}
	return err
}

// settle notes that a task's object is stored and commits all that is complete at the head of the shard: checkpoint,
// counts, manifests gone, in one step.
func (s *shard) settle(ctx context.Context, t *task, result counted) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.stored, t.result = true, result
	if err := s.resync(ctx); err != nil {
		return err
	}
	return s.commit(ctx)
}

func (s *shard) commit(ctx context.Context) error {
	e := s.d.engine
	n := 0
	for n < len(s.outstanding) && s.outstanding[n].stored {
		n++
	}
	if n == 0 {
		return nil
	}
	row := s.nextRow()
	change := &journal.Change{}
	for _, t := range s.outstanding[:n] {
		row.Checkpoint = t.manifest.Next
		row.Counts = row.Counts.Add(t.result.counts())
		change.Remove = append(change.Remove, t.manifest)
	}
	change.Rows = []journal.Row{row}
	e.opts.Failpoint("commit-before")
	if err := s.write(ctx, change); err != nil {
		return err
	}
	e.opts.Failpoint("commit-after")
	s.row = row
	for _, t := range s.outstanding[:n] {
		e.opts.Log.Debug("delivered", "deliveryStream", s.d.name, "bucket", t.manifest.Bucket, "key", t.manifest.ObjectKey,
			"records", t.result.delivered)
	}
	s.outstanding = slices.Delete(s.outstanding, 0, n)
	e.opts.Source.Hold(s.d.holder(), s.ref, row.Checkpoint)
	s.signal()
	return nil
}

// replan stores an amended manifest in the place of the task's.
func (s *shard) replan(ctx context.Context, t *task, m *journal.Manifest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.resync(ctx); err != nil {
		return err
	}
	row := s.nextRow()
	row.LastID = max(row.LastID, m.Ordinal)
	change := &journal.Change{Rows: []journal.Row{row}, Plan: []*journal.Manifest{m}}
	if m.Ordinal != t.manifest.Ordinal {
		change.Remove = []*journal.Manifest{t.manifest}
	}
	if err := s.write(ctx, change); err != nil {
		return err
	}
	s.row = row
	t.manifest = m
	return nil
}

// finish marks the shard drained; lost counts records that have gone with their stream.
func (s *shard) finish(ctx context.Context, lost int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.resync(ctx); err != nil {
		return err
	}
	if s.row.Done {
		return nil
	}
	row := s.nextRow()
	row.Done = true
	row.Counts.Expired += lost
	if lost > 0 {
		row.Checkpoint = s.tip
	}
	if err := s.write(ctx, &journal.Change{Rows: []journal.Row{row}}); err != nil {
		return err
	}
	s.row = row
	return nil
}
