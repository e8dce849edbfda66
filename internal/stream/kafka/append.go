package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"millrace/internal/fault"
	"millrace/internal/kafka"
	"millrace/internal/stream"
)

// Append produces the entries, in rounds: what meets a shard that is closing, or turns out to lie behind a shard's end,
// goes to the children in the next round. Most calls take one.
func (b *Backend) Append(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	const op = "kafka.Append"
	if len(entries) != len(results) {
		return fault.New(fault.Internal, op, name, "%d entries, %d results", len(entries), len(results))
	}
	b.admit.RLock()
	if b.closing.Load() {
		b.admit.RUnlock()
		return errClosed(op, name)
	}
	b.appends.Add(1)
	b.admit.RUnlock()
	defer b.appends.Done()
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Unavailable, op, name, "%w", err)
	}
	s, err := b.view.Load().writable(op, name)
	if err != nil || len(entries) == 0 {
		return err
	}
	c := calls.Get().(*call)
	if err := c.fill(s, op, entries); err != nil {
		c.recycle()
		return err
	}
	deadline, cancel := context.WithTimeout(ctx, b.opts.ProduceTimeout)
	defer cancel()
	if err := b.produced.acquire(deadline, c.room); err != nil {
		c.recycle()
		return b.crowded(op, name, err)
	}
	c.b = b
	c.refs.Store(1)
	defer c.unref()
	return c.run(deadline, name, s.def.ID, results)
}

// writable gives a stream that takes records.
func (v *view) writable(op, name string) (*streamState, error) {
	s, ok := v.byName[name]
	switch {
	case !ok || s.def.Status == stream.Deleting:
		return nil, notFound(op, name)
	case s.def.Status == stream.Creating:
		return nil, fault.New(fault.InUse, op, name, "the stream is %s", s.def.Status)
	}
	return s, nil
}

// crowded words that there was no room in time: as a rate limit while the brokers still answer.
func (b *Backend) crowded(op, name string, err error) error {
	kind := fault.Unavailable
	if time.Since(time.Unix(0, b.stats.lastAck.Load())) < crowdedAfter {
		kind = fault.Throttled
	}
	return fault.New(kind, op, name, "%d bytes wait for the brokers already, and none of them left in time: %w", b.produced.holds(), err)
}

// crowdedAfter: brokers that have acknowledged something in this time are slow, not gone.
const crowdedAfter = time.Second

// run produces the entries of the call to a stream of the given id.
func (c *call) run(ctx context.Context, name, id string, results []stream.Result) error {
	const op = "kafka.Append"
	for i := range c.slots {
		c.todo = append(c.todo, int32(i))
	}
	for {
		// The view first, then the stream as that view has it: what the round finds changed since is in a later one.
		view := c.b.view.Load()
		s, err := view.writable(op, name)
		if err == nil && s.def.ID != id {
			err = notFound(op, name)
		}
		if err == nil {
			err = s.topic.awaitClean(ctx)
		}
		if err != nil {
			return c.giveUp(results, err)
		}
		c.round(s)
		if !c.wait(ctx) {
			c.abandon(s, results, ctx.Err())
			return nil
		}
		c.evaluate(ctx, s, results)
		if len(c.todo) == 0 {
			return nil
		}
		if err := c.next(ctx, view); err != nil {
			return c.giveUp(results, err)
		}
	}
}

// awaitClean waits until the producer has forgotten an earlier incarnation of the topic.
func (t *topic) awaitClean(ctx context.Context) error {
	if t.clean == nil {
		return nil
	}
	select {
	case <-t.clean:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "kafka.Append", t.name, "%w", ctx.Err())
	}
}

// next waits until another round may do better: the stream has changed, or the producer has learnt of a partition.
func (c *call) next(ctx context.Context, view *view) error {
	var changed <-chan struct{}
	if c.blocked {
		changed = view.superseded
	}
	if c.unplaced {
		c.b.producer.ForceMetadataRefresh()
	}
	if !c.blocked && !c.unplaced {
		return nil // behind an end, or after the first record that found a partition
	}
	var soon <-chan time.Time
	if c.unplaced {
		t := time.NewTimer(placeAgain)
		defer t.Stop()
		soon = t.C
	}
	select {
	case <-changed:
		return nil
	case <-soon:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "kafka.Append", "", "the shard was not to be written in time: %w", ctx.Err())
	case <-c.b.life.Done():
		return errClosed("kafka.Append", "")
	}
}

// placeAgain is how long a call waits for the producer to learn of a partition that is new.
const placeAgain = 50 * time.Millisecond

// giveUp ends a call whose remaining entries have certainly not been written where anybody reads them. When none of its
// entries has, the whole call fails.
func (c *call) giveUp(results []stream.Result, err error) error {
	if len(c.todo) == len(results) {
		return err
	}
	if kind := fault.KindOf(err); kind != fault.Unavailable && kind != fault.Throttled {
		err = fault.New(fault.Unavailable, "kafka.Append", "", "%w", err)
	}
	for _, i := range c.todo {
		results[i] = stream.Result{Err: err}
	}
	return nil
}

// round hands what is to do to the producer, and counts what it took.
func (c *call) round(s *streamState) {
	c.blocked, c.unplaced = false, false
	c.probes = c.probes[:0]
	c.begin()
	for _, i := range c.todo {
		sl := &c.slots[i]
		sh := s.locate(sl.key)
		sl.shard = sh
		if !sh.ready.Load() && !c.probe(sh) {
			sl.state.Store(held)
			continue
		}
		if !sh.enter(1) {
			c.b.leave(sh, 1)
			sl.state.Store(held)
			c.blocked = true
			continue
		}
		sl.state.Store(underWay)
		r := &sl.record
		r.Topic, r.Partition, r.Timestamp, r.Context = s.topic.name, sh.partition, time.Time{}, sl
		c.flying.Add(1)
		c.b.producer.Produce(context.Background(), r, promise)
	}
	c.land()
}

// probe lets one record of a call go to a shard whose partition the producer may not know yet. The others wait for it,
// lest they overtake it.
func (c *call) probe(sh *shard) bool {
	for _, p := range c.probes {
		if p == sh {
			return false
		}
	}
	c.probes = append(c.probes, sh)
	return true
}

// evaluate turns outcomes into results. What has to go another time is left to do.
func (c *call) evaluate(ctx context.Context, s *streamState, results []stream.Result) {
	b := c.b
	fresh := b.fresh(time.Now())
	again := c.todo[:0]
	for _, i := range c.todo {
		sl := &c.slots[i]
		switch sl.state.Load() {
		case held:
			again = append(again, i)
			continue
		case unplaced:
			c.unplaced = true
			again = append(again, i)
			continue
		case failed:
			results[i] = stream.Result{Err: b.refusal(s, sl.err)}
			continue
		}
		worth, err := b.judge(sl.shard, sl.record.Offset, fresh), error(nil)
		if worth == unknown {
			worth, err = b.settled(ctx, sl.shard, sl.record.Offset)
		}
		switch {
		case err != nil:
			results[i] = stream.Result{Err: fault.New(fault.Unavailable, "kafka.Append", s.def.Name,
				"the record was written, but whether before its shard closed was not to be learnt in time: %w", err)}
		case worth == success:
			results[i] = c.success(sl)
		default:
			again = append(again, i)
		}
	}
	c.todo = again
	s.topic.records.Add(c.doneRecords)
	s.topic.bytes.Add(c.doneBytes)
	c.doneRecords, c.doneBytes = 0, 0
}

func (c *call) success(sl *slot) stream.Result {
	sh := sl.shard
	if !sh.ready.Load() {
		sh.ready.Store(true)
	}
	c.doneRecords++
	c.doneBytes += int64(len(sl.record.Key) + len(sl.record.Value))
	return stream.Result{Shard: sh.index, Sequence: sh.sequence(sl.record.Offset)}
}

// abandon ends a call while records are with the producer. What has come back by now is told as it is; the fate of the
// rest is unknown.
func (c *call) abandon(s *streamState, results []stream.Result, err error) {
	late := fault.New(fault.Unavailable, "kafka.Append", s.def.Name, "the brokers did not acknowledge in time; the record may have been written or not: %w", err)
	fresh := c.b.fresh(time.Now())
	for _, i := range c.todo {
		sl := &c.slots[i]
		results[i] = stream.Result{Err: late}
		if sl.state.Load() == written && c.b.judge(sl.shard, sl.record.Offset, fresh) == success {
			results[i] = c.success(sl)
		}
	}
	s.topic.records.Add(c.doneRecords)
	s.topic.bytes.Add(c.doneBytes)
}

// refusal words why a record was not acknowledged. It may have been written all the same: the producer fails what lies
// behind a failed record without knowing.
func (b *Backend) refusal(s *streamState, err error) error {
	const op = "kafka.Append"
	if errors.Is(err, kerr.MessageTooLarge) {
		b.learnLimit(s)
	}
	kind := fault.KindOf(kafka.Fault(op, s.def.Name, err))
	switch kind {
	case fault.Unavailable, fault.Throttled, fault.Denied:
	case fault.NotFound:
		return fault.New(fault.Unavailable, op, s.def.Name, "topic %s is gone: %w", s.topic.name, err)
	default:
		kind = fault.Internal
	}
	return fault.New(kind, op, s.def.Name, "%w", err)
}
