package delivery

import (
	"context"
	"errors"
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
	s := &shard{d: d, ref: row.Shard, mu: newLock(), row: row, tip: furthest(&row), changed: make(chan struct{}, 1)}
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

// unsettled counts the records of a row's shard, up to a place, that are in no count. Lanes that are ahead of the
// checkpoint are in the counts already.
func unsettled(row *journal.Row, to stream.SequenceNumber) int64 {
	if len(row.Ahead) == 0 {
		return between(row, row.Checkpoint, to)
	}
	return max(0, between(row, row.Start, to)-row.Counts.Settled())
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

// planned gives the row as it will be when all that is outstanding is committed; what becomes of records is not told apart.
func (s *shard) planned() journal.Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	row := s.row
	for _, t := range s.outstanding {
		row.Pass(t.manifest)
		row.Counts.Delivered += t.manifest.Records()
	}
	return row
}

// plannedEndLocked is where the next gathering begins.
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

// plan makes what lanes hold durable manifests, and tasks of them. It takes over what the lanes keep, which the caller
// then removes. After an error the worker must begin again, unless it is a stagingError: then all is as it was.
func (s *shard) plan(ctx context.Context, g *gathering, lanes []*lane) ([]*task, error) {
	tasks, err := s.draft(ctx, g, lanes)
	if err != nil {
		return nil, err
	}
	for i, l := range lanes {
		part := &tasks[i/maxParts].parts[i%maxParts]
		part.kept, l.kept = l.kept, kept{budget: l.kept.budget, full: true}
	}
	if err = s.stage(ctx, g, tasks); err == nil {
		tried, err := s.adoptPlan(ctx, g, tasks)
		if err == nil {
			return tasks, nil
		}
		if g.unrepeatable && !tried {
			s.unstage(ctx, tasks)
		}
		dropAll(tasks)
		return nil, err
	}
	if staging := (stagingError{}); errors.As(err, &staging) {
		for i, l := range lanes { // for another try
			l.kept = tasks[i/maxParts].parts[i%maxParts].kept
		}
		return nil, err
	}
	dropAll(tasks)
	return nil, err
}

func dropAll(tasks []*task) {
	for _, t := range tasks {
		t.dropKept()
	}
}

// draft makes a plan that is not durable yet.
func (s *shard) draft(ctx context.Context, g *gathering, lanes []*lane) ([]*task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayPlan(ctx, g); err != nil {
		return nil, err
	}
	return s.manifests(g, lanes), nil
}

// mayPlan reports whether what is gathered follows on what is planned. The caller holds mu.
func (s *shard) mayPlan(ctx context.Context, g *gathering) error {
	if err := s.resync(ctx); err != nil {
		return err
	}
	if g.start != s.plannedEndLocked() {
		return fault.New(fault.Unavailable, "delivery.plan", s.d.name,
			"%s: what is gathered begins at %s and not where the last plan ends: a write has happened after all", s.ref, g.start)
	}
	if g.dest.number < s.row.LastVersion {
		return fault.New(fault.Unavailable, "delivery.plan", s.d.name,
			"%s: version %d of the definition is not known here yet", s.ref, s.row.LastVersion)
	}
	return nil
}

// adoptPlan makes the plan durable. When it was not even tried, it can't have happened.
func (s *shard) adoptPlan(ctx context.Context, g *gathering, tasks []*task) (tried bool, err error) {
	e := s.d.engine
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayPlan(ctx, g); err != nil {
		return false, err
	}
	row := s.nextRow()
	row.LastVersion = g.dest.number
	change := &journal.Change{}
	for _, t := range tasks {
		change.Plan = append(change.Plan, t.manifest)
		row.LastID = max(row.LastID, t.lastID)
		for i := range t.manifest.Parts {
			if p := &t.manifest.Parts[i]; p.Stamp.After(row.LastStamp) {
				row.LastStamp = p.Stamp
			}
		}
	}
	change.Rows = []journal.Row{row}
	e.opts.Failpoint("plan-before")
	if err := s.write(ctx, change); err != nil {
		return true, err
	}
	e.opts.Failpoint("plan-after")
	s.row = row
	s.outstanding = append(s.outstanding, tasks...)
	g.start, g.expired, g.dropped, g.gap = tasks[len(tasks)-1].manifest.Next, 0, 0, false
	return true, nil
}

// manifests makes the plan of lanes: one manifest for each maxParts of them. All but the last leave the checkpoint where
// it is.
func (s *shard) manifests(g *gathering, lanes []*lane) []*task {
	random, now := s.d.engine.opts.IDs, s.d.engine.opts.Now()
	last, all := s.row.LastID, lanes
	next := func() objectkey.ID {
		id := s.d.nextID(now, last)
		last = uint64(id)
		return id
	}
	var tasks []*task
	for first := true; first || len(lanes) > 0; first = false {
		n := min(len(lanes), maxParts)
		m := &journal.Manifest{Key: s.row.Key, Delivery: s.d.name, Version: g.dest.version, Planned: now.UTC(),
			Next: g.start, Through: g.next}
		if g.dest.processing != nil {
			m.Recipe = g.dest.processing.text
		}
		for _, l := range lanes[:n] {
			id := next()
			if m.Ordinal == 0 {
				m.Ordinal = uint64(id)
			}
			name := func() string { return id.UUID(random) }
			if g.unrepeatable {
				name = func() string { return s.d.mark(id.UUID(random)) }
			}
			m.Parts = append(m.Parts, g.dest.part(l, name, s.stamp(l), random))
		}
		if m.Ordinal == 0 {
			m.Ordinal = uint64(next())
		}
		if lanes = lanes[n:]; len(lanes) == 0 {
			m.Next, m.Expired, m.Dropped = g.low(all), g.expired, g.dropped
		}
		t := newTask(s, m)
		t.lastID = last
		tasks = append(tasks, t)
	}
	return tasks
}

// stamp is the time that a lane's key shows. Where there is one lane, it never falls within a shard, though a clock may:
// keys sort by it first. In several lanes the time of one says nothing of another's.
func (s *shard) stamp(l *lane) time.Time {
	oldest := time.UnixMilli(l.oldest).UTC()
	if l.name.IsZero() && oldest.Before(s.row.LastStamp) {
		return s.row.LastStamp
	}
	return oldest
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
	s.d.engine.opts.Source.Hold(s.d.holder(), s.ref, row.Checkpoint)
	before := s.outstanding
	s.outstanding = nil
	for _, m := range manifests {
		i := slices.IndexFunc(before, func(t *task) bool { return t.manifest.Ordinal == m.Ordinal })
		if i >= 0 {
			before[i].reloaded = m // its own goroutine takes it over
			s.outstanding = append(s.outstanding, before[i])
			continue
		}
		t := foundTask(s, m)
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
		row.Pass(t.manifest)
		row.Counts = row.Counts.Add(t.result.counts())
		change.Remove = append(change.Remove, t.manifest)
		change.Landed = append(change.Landed, t.landed(&row)...)
	}
	s.d.index(ctx, &row, &s.row.Counts, change)
	change.Rows = []journal.Row{row}
	e.opts.Failpoint("commit-before")
	if err := s.write(ctx, change); err != nil {
		return err
	}
	e.opts.Failpoint("commit-after")
	s.row = row
	s.d.watch.committed(s.outstanding[:n])
	for _, t := range s.outstanding[:n] {
		for i := range t.manifest.Parts {
			p := &t.manifest.Parts[i]
			e.opts.Log.Debug("delivered", "deliveryStream", s.d.name, "bucket", p.Bucket, "key", p.ObjectKey, "outputs", p.Outputs)
		}
	}
	for _, t := range s.outstanding[:n] {
		for i := range t.manifest.Parts {
			if p := &t.manifest.Parts[i]; p.Staged != "" {
				e.own.Go(func() { e.deleteStaged(e.ctx, p.Bucket, p.Staged) })
			}
		}
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
	if lost > 0 || len(row.Ahead) > 0 {
		row.Checkpoint, row.Ahead, row.AheadRecipe = s.tip, nil, nil
	}
	change := &journal.Change{}
	s.d.index(ctx, &row, &s.row.Counts, change)
	change.Rows = []journal.Row{row}
	if err := s.write(ctx, change); err != nil {
		return err
	}
	s.row = row
	return nil
}
