package delivery

import (
	"context"
	"errors"
	"time"

	"millrace/internal/delivery/process"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// worker reads one shard and plans. It is the one goroutine that belongs to the shard.
type worker struct {
	s        *shard
	next     stream.SequenceNumber
	gathered *gathering // nil: nothing gathered
	ahead    ahead
	round    *round // of calls of a function; nil: none was begun
	scratch  scratch
	atTip    bool
	ended    bool
	// unplanned is set while the last attempt to plan has failed: that reading goes well does not end that trouble.
	unplanned bool
	// cramped is set after the spool had no room: what can't be made again leaves at once, in small objects.
	cramped bool
}

// errDrained ends a worker whose shard has nothing more to give.
var errDrained = errors.New("shard is drained")

// run works until ctx ends. plans outlives ctx, so that what is buffered can be planned on the way out.
func (w *worker) run(ctx, plans context.Context) {
	defer w.leave(plans)
	if err := w.s.await(ctx, 0); err != nil { // what an earlier process planned comes first
		return
	}
	w.begin()
	var failures int
	for ctx.Err() == nil {
		err := w.turn(ctx)
		switch {
		case err == nil:
			if failures > 0 && !w.unplanned {
				w.s.d.succeed()
				failures = 0
			}
			continue
		case ctx.Err() != nil:
			return
		case errors.Is(err, errDrained):
			w.s.d.engine.supervisor.kick()
			return
		case fault.Is(err, fault.PreconditionFailed):
			return // fenced: logged where it was noticed
		}
		w.s.d.fail("reading or planning", err)
		failures++
		if staging := (stagingError{}); !errors.As(err, &staging) {
			w.restart()
		}
		sleep(ctx, backoff(w.s.d.engine.opts.IDs, failures))
	}
}

// leave plans what is buffered when the node stops in order; otherwise it is read again by the next process.
func (w *worker) leave(plans context.Context) {
	if w.atTip && plans.Err() == nil {
		// One more batch: what came since the last look, within readPause, goes out with the rest. Who posts and stops
		// finds all in the bucket. A batch that can't be read now is the next process's.
		_, _ = w.read(plans)
	}
	if w.calling() && plans.Err() == nil {
		_ = w.transform(plans) // or the next process calls again
	}
	if w.gathered != nil && plans.Err() == nil && !w.gathered.empty() && w.room() {
		if tasks, err := w.s.plan(plans, w.gathered, w.gathered.lanes); err == nil {
			w.submit(tasks)
		}
	}
	w.drop()
}

// calling reports whether there are records for a function.
func (w *worker) calling() bool { return w.round != nil && !w.round.empty() }

func (w *worker) submit(tasks []*task) {
	for _, t := range tasks {
		w.s.d.engine.putter.submit(t)
	}
}

// room reports whether another manifest may be outstanding.
func (w *worker) room() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return len(w.s.outstanding) < maxOutstanding
}

func (w *worker) drop() {
	if w.gathered != nil {
		w.release(w.gathered.lanes)
		w.gathered.close()
		w.gathered = nil
	}
	w.round = nil
	w.s.gauges.buffered(nil, nil)
}

// release counts partitions that gather no more.
func (w *worker) release(lanes []*lane) {
	for _, l := range lanes {
		if l.partition() {
			w.s.d.partitions.Add(-1)
		}
	}
}

// begin looks up where to read on: behind all that is planned, but for lanes that were planned further than others.
func (w *worker) begin() {
	row := w.s.planned()
	w.next, w.ended = row.Checkpoint, false
	w.ahead = aheadOf(&row)
}

// restart forgets what is gathered and begins after the last plan.
func (w *worker) restart() {
	w.drop()
	w.begin()
}

// turn flushes what is due, or reads, or waits for records.
func (w *worker) turn(ctx context.Context) error {
	now := w.s.d.engine.opts.Now()
	calling := w.calling()
	due := w.gathered != nil && (w.gathered.isDue(now, w.atTip) || w.cramped && len(w.gathered.lanes) > 0)
	switch {
	case calling && (due || w.round.isFull(w.calls()) || w.atTip && w.round.wait(now) == 0):
		return w.transform(ctx)
	case due:
		return w.flush(ctx, w.leaving(now))
	}
	n, err := w.read(ctx)
	if err != nil {
		return w.afterReadError(ctx, err)
	}
	switch {
	case w.ended:
		return w.finish(ctx)
	case !w.atTip:
		return nil
	case n > 0:
		sleep(ctx, min(readPause, w.patience()))
		return nil
	}
	return w.waitForRecords(ctx)
}

// leaving gives the lanes that leave now. All do when the definition has changed, so that the new one comes to its turn; or
// else busy partitions, of which some always gather, would stay under the old one for ever.
func (w *worker) leaving(now time.Time) []*lane {
	if w.cramped || w.gathered.dest != w.s.d.destination() {
		return w.gathered.lanes
	}
	return w.gathered.due(now, w.atTip)
}

// patience is how long the worker may do nothing.
func (w *worker) patience() time.Duration {
	if w.gathered == nil {
		return idleWait
	}
	now := w.s.d.engine.opts.Now()
	wait := w.gathered.patience(now)
	if w.calling() {
		wait = min(wait, w.round.wait(now))
	}
	return wait
}

// calls is how many calls of a function a round may have.
func (w *worker) calls() int {
	if w.cramped {
		return 1
	}
	return maxCalls
}

func (w *worker) waitForRecords(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, w.patience())
	defer cancel()
	err := w.s.d.engine.opts.Source.Wait(limited, w.s.ref, w.next)
	if err == nil || limited.Err() != nil {
		return ctx.Err()
	}
	return w.afterReadError(ctx, err)
}

// read adds a batch to what is gathered, as far as nothing is full.
func (w *worker) read(ctx context.Context) (n int, err error) {
	e := w.s.d.engine
	batch, err := e.batches.take(ctx)
	if err != nil {
		return 0, err
	}
	defer e.batches.give(batch)
	want := int64(readBatchBytes)
	if w.gathered != nil {
		want = min(want, w.gathered.room())
	}
	err = e.opts.Source.Read(ctx, stream.ReadRequest{Shard: w.s.ref, From: w.next, MaxRecords: readBatchRecords,
		MaxBytes: int(want), Held: true}, batch)
	if err != nil {
		return 0, err
	}
	return w.take(ctx, batch)
}

// take gathers records until a lane is full; what is left of the batch is read again.
func (w *worker) take(ctx context.Context, batch *stream.Batch) (n int, err error) {
	w.atTip, w.ended = batch.MillisBehind == 0, batch.End
	gap := batch.Skipped > 0 || !batch.Resumed.IsZero()
	empty := len(batch.Records) == 0 && !gap
	if empty && (w.atTip || !w.next.Before(batch.Next)) {
		w.atTip = true
		return 0, nil
	}
	if gap && w.calling() {
		// What the function has lies before the gap, and is put into its lanes before it: the gap is found again.
		return 0, w.transform(ctx)
	}
	if w.gathered == nil {
		if err := w.gatherAnew(); err != nil {
			return 0, err
		}
	}
	switch {
	case gap:
		if err := w.expire(ctx, batch.Skipped, batch.Resumed); err != nil {
			return 0, err
		}
	case empty: // a stretch that holds nothing
		w.pass(batch.Next)
	}
	for i := range batch.Records {
		if w.isFull() || w.exceeds(&batch.Records[i]) {
			break
		}
		if err := w.gather(&batch.Records[i]); err != nil {
			w.restart() // a part of the record may be in its lanes
			return n, err
		}
		n++
	}
	if w.next = w.gathered.next; w.calling() {
		w.next = w.round.next
	}
	w.s.sawTip(w.next)
	w.s.gauges.buffered(w.gathered, w.round)
	return n, nil
}

// gatherAnew begins to gather, under the definition that is in use now.
func (w *worker) gatherAnew() error {
	g := newGathering(w.next, w.s.d.destination())
	bridge, err := w.ahead.bridge(w.next, g.dest.processing)
	if err != nil {
		return err
	}
	if g.bridge = bridge; bridge != nil {
		g.unrepeatable = true
	}
	w.gathered = g
	return nil
}

// pass goes on behind what holds nothing for any lane.
func (w *worker) pass(next stream.SequenceNumber) {
	if w.calling() {
		w.round.next = next
	} else {
		w.gathered.next = next
	}
}

func (w *worker) isFull() bool {
	return w.gathered.full || w.round != nil && w.round.isFull(w.calls())
}

// exceeds reports whether a record holds more user records than a request has room for beside what is gathered. It goes into
// the next one then.
func (w *worker) exceeds(r *stream.Record) bool {
	g := w.gathered
	l := g.byKey[""]
	if g.dest.maxOutputs == 0 || g.dest.function != nil || l == nil || g.dest.processing.whole(r.Data) {
		return false
	}
	n := int64(0)
	_ = g.dest.processing.program.Split(r.Data, "", func(process.Sub) error { n++; return nil }) // its errors are those of the callback
	l.closed = l.outputs+n > g.dest.maxOutputs
	return l.closed
}

// gather processes a record and puts its outputs into their lanes.
func (w *worker) gather(r *stream.Record) error {
	g := w.gathered
	if g.dest.function != nil {
		return w.addToRound(r)
	}
	if g.bridge != nil && r.Sequence.Before(w.ahead.end) {
		if err := w.cross(r); err != nil {
			return err
		}
		g.next = r.Sequence.Next()
		return nil
	}
	outputs := 0
	err := g.dest.processing.each(r, &w.scratch, func(key []byte, o *output) error {
		outputs++
		return w.put(key, o)
	})
	if err != nil {
		return err
	}
	if outputs == 0 && !r.Sequence.Before(w.ahead.dropped) {
		g.dropped++
	}
	g.next = r.Sequence.Next()
	return nil
}

// put adds an output to its lane, unless that was delivered further than this already.
func (w *worker) put(key []byte, o *output) error {
	g := w.gathered
	l := g.byKey[string(key)]
	if l == nil {
		var err error
		if l, err = w.open(string(key), o); l == nil || err != nil {
			return err
		}
	}
	if o.sequence.Before(l.from) {
		w.ahead.saw(o)
		return nil
	}
	if g.dest.maxOutputs > 0 && g.isFull(l) { // a function gave back more than a request holds, or an aggregate is larger
		l = g.again(l, w.newKept())
	}
	var err error
	if framed(g.dest.formatOf(l.name)) {
		err = l.kept.frame(o)
	} else {
		err = l.kept.text(o, g.dest.delimiter)
	}
	if err != nil {
		if g.unrepeatable {
			w.cramped = true
			return err
		}
		w.s.d.engine.opts.Log.Warn("a partition can't be spooled; its records are read again when they are delivered",
			"deliveryStream", w.s.d.name, "error", err)
	}
	g.count(l, o)
	if o.failure != nil {
		w.s.d.failedOutput(g.dest, l, o.failure)
	}
	return nil
}

// open makes a lane; nil: the output was delivered already.
func (w *worker) open(key string, o *output) (*lane, error) {
	g, e := w.gathered, w.s.d.engine
	name := laneOf(key)
	var from stream.SequenceNumber
	if g.bridge == nil {
		if from = w.ahead.through(name); o.sequence.Before(from) {
			w.ahead.saw(o)
			return nil, nil
		}
	}
	if len(name.Keys) > 0 {
		if w.s.d.partitions.Add(1) > int64(e.opts.ActivePartitions) {
			w.s.d.partitions.Add(-1)
			return w.exceeded(o), nil
		}
	}
	return g.open(key, name, from, w.newKept()), nil
}

// newKept gives a new lane what it keeps outputs in.
func (w *worker) newKept() kept {
	e := w.s.d.engine
	k := kept{budget: &e.budget, force: w.cramped}
	if w.gathered.dest.spools() && !w.cramped {
		k.spools = &e.spools
	}
	return k
}

// exceeded gives the lane of records whose partition would be one too many. Which these are depends on what else is
// gathered, so that it can't be found out again.
func (w *worker) exceeded(o *output) *lane {
	g := w.gathered
	key := string(appendErrorKey(nil, activePartitionExceeded))
	g.unrepeatable = true
	o.failure = &failure{Code: "DynamicPartitioning.ActivePartitionsLimitExceeded", Attempts: 1,
		Message: "The number of active partitions has exceeded the limit"}
	if l := g.byKey[key]; l != nil {
		return l
	}
	k := kept{budget: &w.s.d.engine.budget, spools: &w.s.d.engine.spools, force: w.cramped}
	return g.open(key, laneOf(key), stream.SequenceNumber{}, k)
}

// expire counts records that were trimmed before they were read, as many as the source knows of, and goes on behind them.
func (w *worker) expire(ctx context.Context, skipped int64, resumed stream.SequenceNumber) error {
	delivered, err := w.deliveredAhead(ctx, resumed)
	if err != nil {
		return err
	}
	skipped = max(skipped-delivered, 0)
	w.gathered.gap = true
	w.gathered.expired += skipped
	w.gathered.next = resumed
	if skipped > 0 {
		w.s.d.engine.opts.Log.Error("records expired before they were delivered", "deliveryStream", w.s.d.name,
			"shard", w.s.ref.String(), "records", skipped)
	}
	return nil
}

// flush plans lanes, when the bound of outstanding manifests lets it. What comes meanwhile waits in the source.
func (w *worker) flush(ctx context.Context, lanes []*lane) error {
	if err := w.s.await(ctx, maxOutstanding-1); err != nil {
		return err
	}
	tasks, err := w.s.plan(ctx, w.gathered, lanes)
	if err != nil {
		w.unplanned = true
		if staging := (stagingError{}); !errors.As(err, &staging) {
			w.restart() // what the lanes kept is gone
		}
		return err
	}
	w.unplanned = false
	w.release(lanes)
	w.gathered.remove(lanes)
	w.next = w.gathered.next
	if len(w.gathered.lanes) == 0 {
		w.drop()
	}
	w.s.gauges.buffered(w.gathered, w.round)
	w.cramped = false
	w.submit(tasks)
	return nil
}

// flushAll plans all that was read.
func (w *worker) flushAll(ctx context.Context) error {
	if w.calling() {
		if err := w.transform(ctx); err != nil {
			return err
		}
	}
	return w.flush(ctx, w.gathered.lanes)
}

// finish ends a closed shard: flushes, waits for the commits, and marks it drained.
func (w *worker) finish(ctx context.Context) error {
	if w.gathered != nil {
		if err := w.flushAll(ctx); err != nil {
			return err
		}
		w.ended = false // the flush may have left records behind: look again
		return nil
	}
	if err := w.s.await(ctx, 0); err != nil {
		return err
	}
	if err := w.s.finish(ctx, 0); err != nil {
		return err
	}
	return errDrained
}

// afterReadError finds out whether the shard has gone with its stream; then what has not been delivered is lost.
func (w *worker) afterReadError(ctx context.Context, err error) error {
	if !fault.Is(err, fault.NotFound) || !w.s.gone() {
		return err
	}
	if w.gathered != nil && w.gathered.isKept() {
		if err := w.flushAll(ctx); err != nil {
			return err
		}
	}
	w.drop()
	if err := w.s.await(ctx, 0); err != nil {
		return err
	}
	lost := w.s.lost()
	if err := w.s.finish(ctx, lost); err != nil {
		return err
	}
	w.s.d.engine.opts.Log.Error("the source shard is gone; what was not delivered is lost", "deliveryStream", w.s.d.name,
		"shard", w.s.ref.String(), "records", lost)
	return errDrained
}

// gone reports whether the shard no longer exists.
func (s *shard) gone() bool {
	st, ok := s.d.engine.opts.Source.Stream(s.ref.Stream)
	if !ok || st.ID != s.ref.ID {
		return true
	}
	_, ok = st.Shard(s.ref.Shard)
	return !ok
}

// lost counts the records between the checkpoint and the last tip that was seen.
func (s *shard) lost() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.d.dense() {
		return 0
	}
	return unsettled(&s.row, s.tip)
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
