package delivery

import (
	"context"
	"errors"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// worker reads one shard and plans. It is the one goroutine that belongs to the shard.
type worker struct {
	s     *shard
	next  stream.SequenceNumber
	buf   *buffer // nil: nothing gathered
	atTip bool
	ended bool
}

// errDrained ends a worker whose shard has nothing more to give.
var errDrained = errors.New("shard is drained")

// run works until ctx ends. plans outlives ctx, so that what is buffered can be planned on the way out.
func (w *worker) run(ctx, plans context.Context) {
	defer w.leave(plans)
	if err := w.s.await(ctx, 0); err != nil { // what an earlier process planned comes first
		return
	}
	w.next = w.s.plannedEnd()
	var failures int
	for ctx.Err() == nil {
		err := w.turn(ctx)
		switch {
		case err == nil:
			if failures > 0 {
				w.s.d.succeed()
			}
			failures = 0
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
		w.restart()
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
	if w.buf == nil {
		return
	}
	if plans.Err() == nil && !w.buf.empty() && w.room() {
		if t, err := w.s.plan(plans, w.buf); err == nil {
			w.s.d.engine.putter.submit(t)
		}
	}
	w.drop()
}

// room reports whether another manifest may be outstanding.
func (w *worker) room() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return len(w.s.outstanding) < maxOutstanding
}

func (w *worker) drop() {
	if w.buf != nil {
		w.buf.close()
		w.buf = nil
	}
	w.s.gauges.buffered(nil)
}

// restart forgets what is buffered and begins after the last plan.
func (w *worker) restart() {
	w.drop()
	w.next, w.ended = w.s.plannedEnd(), false
}

// turn flushes what is due, or reads, or waits for records.
func (w *worker) turn(ctx context.Context) error {
	now := w.s.d.engine.opts.Now()
	if w.buf != nil && (w.buf.overdue() || w.atTip && w.buf.wait(now) == 0) {
		return w.flush(ctx)
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

// patience is how long the worker may do nothing.
func (w *worker) patience() time.Duration {
	if w.buf == nil {
		return idleWait
	}
	return w.buf.wait(w.s.d.engine.opts.Now())
}

func (w *worker) waitForRecords(ctx context.Context) error {
	parent := ctx
	if w.buf != nil {
		parent = w.buf.age
	}
	limited, cancel := context.WithTimeout(parent, w.patience())
	defer cancel()
	err := w.s.d.engine.opts.Source.Wait(limited, w.s.ref, w.next)
	if err == nil || limited.Err() != nil {
		return ctx.Err()
	}
	return w.afterReadError(ctx, err)
}

// read adds a batch to the buffer, as far as it is not full.
func (w *worker) read(ctx context.Context) (n int, err error) {
	e := w.s.d.engine
	batch, err := e.batches.take(ctx)
	if err != nil {
		return 0, err
	}
	defer e.batches.give(batch)
	want := int64(readBatchBytes)
	if w.buf != nil {
		want = min(want, max(w.buf.dest.size-w.buf.bytes, 1))
	}
	err = e.opts.Source.Read(ctx, stream.ReadRequest{Shard: w.s.ref, From: w.next, MaxRecords: readBatchRecords,
		MaxBytes: int(want), Held: true}, batch)
	if err != nil {
		return 0, err
	}
	return w.take(ctx, batch), nil
}

// take moves records into the buffer until it is full; what is left of the batch is read again.
func (w *worker) take(ctx context.Context, batch *stream.Batch) (n int) {
	w.atTip, w.ended = batch.MillisBehind == 0, batch.End
	gap := batch.Skipped > 0 || !batch.Resumed.IsZero()
	if len(batch.Records) == 0 && !gap {
		w.atTip = true
		return 0
	}
	if w.buf == nil {
		w.buf = newBuffer(w.s.reading, w.next, w.s.d.destination(), &w.s.d.engine.budget)
	}
	if gap {
		w.expire(batch.Skipped, batch.Resumed)
	}
	for i := range batch.Records {
		if w.buf.isFull() {
			break
		}
		w.buf.add(&batch.Records[i])
		n++
	}
	w.next = w.buf.next
	w.s.sawTip(w.next)
	w.s.gauges.buffered(w.buf)
	return n
}

// expire counts records that were trimmed before they were read, as many as the source knows of, and goes on behind them.
func (w *worker) expire(skipped int64, resumed stream.SequenceNumber) {
	w.buf.gap = true
	w.buf.expired += skipped
	w.buf.next = resumed
	w.s.d.engine.opts.Log.Error("records expired before they were delivered", "deliveryStream", w.s.d.name,
		"shard", w.s.ref.String(), "records", skipped)
}

// flush plans the buffer, when the bound of outstanding manifests lets it. What comes meanwhile waits in the source.
func (w *worker) flush(ctx context.Context) error {
	if err := w.s.await(ctx, maxOutstanding-1); err != nil {
		return err
	}
	t, err := w.s.plan(ctx, w.buf)
	if err != nil {
		return err
	}
	w.next = t.manifest.Next
	w.drop()
	w.s.d.engine.putter.submit(t)
	return nil
}

// finish ends a closed shard: flushes, waits for the commits, and marks it drained.
func (w *worker) finish(ctx context.Context) error {
	if w.buf != nil {
		if err := w.flush(ctx); err != nil {
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
	if w.buf != nil && !w.buf.kept.full { // all of it is in memory
		if err := w.flush(ctx); err != nil {
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
	if !s.d.engine.dense {
		return 0
	}
	return between(&s.row, s.row.Checkpoint, s.tip)
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
