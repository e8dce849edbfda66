package streamtest

import (
	"errors"
	"fmt"
	"sync"

	"millrace/internal/stream"
)

// attempt is an entry that was sent while other things happened.
type attempt struct {
	stream.Entry
	worker, call, at int // who sent it: entry at of its call
	answered         bool
	must             bool // it was answered before the backend was killed
	result           stream.Result
	found            *stream.Result
}

// crowd is workers that append at the same time, each one call after the other.
type crowd struct {
	mu       sync.Mutex
	changed  *sync.Cond
	wg       sync.WaitGroup
	answered int
	running  int
	attempts []*attempt // by worker and call
	err      error      // of a kind that nothing here explains
}

// burst lets workers append, and meanwhile one or two of: a reshard, a trim, the end of the backend by Close or by a crash.
// What was answered must be there, and in order; what was not may be there, once and whole.
func (p *player) burst() error {
	s, err := p.pick()
	if err != nil {
		return err
	}
	change, resharding := stream.Reshard{}, false
	if p.rnd.IntN(2) == 0 {
		change, resharding = p.change(s)
	}
	c := p.send(s)
	changed := make(chan error, 1)
	if resharding {
		b := p.Backend
		go func() {
			_, err := b.Reshard(p.ctx, s.def.Name, change)
			changed <- err
		}()
	} else {
		changed <- nil
	}
	c.await(p.rnd.IntN(len(c.attempts)))
	if p.rnd.IntN(3) == 0 {
		if err := p.trim(); err != nil {
			return err
		}
	}
	ended := false
	switch n := p.rnd.IntN(4); {
	case resharding && !p.caps.HidesAtAge: // what the engine has been told to do, it does also when nobody waits for it
	case n == 0 && p.Kill != nil:
		p.note("killed")
		c.promise()
		p.reopened(p.Kill())
		ended = true
	case n == 1 && p.Reopen != nil:
		p.note("closed")
		p.reopened(p.Reopen())
		ended = true
	}
	c.wg.Wait()
	if !ended && c.err != nil {
		return c.err
	}
	if !ended || p.Kill == nil {
		c.promise()
	}
	err = <-changed
	if err != nil && !ended {
		return err
	}
	return p.after(s, c, change, resharding, err == nil && !ended)
}

// send starts the workers.
func (p *player) send(s *modelStream) *crowd {
	workers := 1 + p.rnd.IntN(5)
	c := &crowd{running: workers}
	c.changed = sync.NewCond(&c.mu)
	name, b := s.def.Name, p.Backend
	for worker := range workers {
		var calls [][]*attempt
		for call := range 1 + p.rnd.IntN(4) {
			size := 1 // of one key: only who orders a call's entries is given several
			if p.caps.OrderedCalls {
				size += p.rnd.IntN(5)
			}
			var sent []*attempt
			for at := range size {
				sent = append(sent, &attempt{worker: worker, call: call, at: at, Entry: p.entryOf(fmt.Sprintf("worker-%d", worker), p.rnd.IntN(2000))})
			}
			calls = append(calls, sent)
			c.attempts = append(c.attempts, sent...)
		}
		c.wg.Go(func() { c.work(p, b, name, calls) })
	}
	p.note("%d entries of %d workers to %s", len(c.attempts), workers, name)
	return c
}

func (c *crowd) work(p *player, b stream.Backend, name string, calls [][]*attempt) {
	defer func() {
		c.mu.Lock()
		c.running--
		c.mu.Unlock()
		c.changed.Broadcast()
	}()
	for _, call := range calls {
		entries, results := make([]stream.Entry, len(call)), make([]stream.Result, len(call))
		for i, a := range call {
			entries[i] = a.Entry
		}
		err := b.Append(p.ctx, name, entries, results)
		c.mu.Lock()
		for i, a := range call {
			if err == nil && results[i].Err == nil {
				a.answered, a.result = true, results[i]
				c.answered++
			} else if err == nil {
				err = results[i].Err
			}
		}
		c.err = errors.Join(c.err, err)
		c.mu.Unlock()
		c.changed.Broadcast()
		if err != nil {
			return // an order of what was told and what was not is nobody's
		}
	}
}

// await returns when n entries were answered, or none will be any more.
func (c *crowd) await(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.answered < n && c.running > 0 {
		c.changed.Wait()
	}
}

// promise notes what was answered by now.
func (c *crowd) promise() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.attempts {
		a.must = a.answered
	}
}

// after compares what a burst has left. A reshard that did not come to its end may have happened.
func (p *player) after(s *modelStream, c *crowd, change stream.Reshard, resharding, told bool) error {
	now, err := p.settled(s.def.Name)
	if err != nil {
		return err
	}
	if resharding && (told || s.described(now) != nil) {
		if err := s.resharded(change, now); err != nil {
			return err
		}
	}
	attempts := map[string]*attempt{}
	for _, a := range c.attempts {
		attempts[string(a.Data)] = a
	}
	for _, sh := range s.sorted() {
		if err := p.adopt(s, sh, attempts); err != nil {
			return err
		}
	}
	return c.check(p.caps)
}

// adopt takes the records that a shard has got.
func (p *player) adopt(s *modelStream, sh *modelShard, attempts map[string]*attempt) error {
	var batch stream.Batch
	var from stream.SequenceNumber
	if n := len(sh.records); n > 0 {
		from = sh.records[n-1].Sequence.Next()
	}
	for {
		req := stream.ReadRequest{Shard: ref(s.def, sh.Index), From: from, MaxRecords: 50, MaxBytes: 1 << 20, Held: true}
		if err := p.Backend.Read(p.ctx, req, &batch); err != nil {
			return p.unlessLeft(s, sh, err)
		}
		for _, r := range batch.Records {
			a := attempts[string(r.Data)]
			switch {
			case a == nil:
				return fmt.Errorf("%s has the record %s, which nobody sent, or not so", sh.ID(), head(r.Data))
			case a.found != nil:
				return fmt.Errorf("%s has the record %s, as %d has at %v", sh.ID(), head(r.Data), a.found.Shard, a.found.Sequence)
			case a.PartitionKey != string(r.PartitionKey):
				return fmt.Errorf("the record %s has the key %q", head(r.Data), r.PartitionKey)
			}
			if err := sh.took(&a.Entry, r.Sequence, p.arrival(sh), p.caps.DensePositions); err != nil {
				return err
			}
			a.found = &stream.Result{Shard: sh.Index, Sequence: r.Sequence}
			if a.must && a.result != *a.found {
				return fmt.Errorf("the record %s is at %+v; its answer said %+v", head(r.Data), a.found, a.result)
			}
		}
		if batch.End || len(batch.Records) == 0 && batch.MillisBehind == 0 {
			return nil
		}
		from = batch.Next
	}
}

// check compares what was found with what was told.
func (c *crowd) check(caps stream.Capabilities) error {
	last := map[int]*attempt{} // by worker, whose entries are of one key
	for _, a := range c.attempts {
		if a.must && a.found == nil {
			return fmt.Errorf("the record %s was answered with %+v and is nowhere", head(a.Data), a.result)
		}
		before := last[a.worker]
		if before != nil && before.call == a.call && before.found == nil && a.found != nil && caps.OrderedFailures {
			return fmt.Errorf("the record %s is there, and %s of its call is not", head(a.Data), head(before.Data))
		}
		if before != nil && before.found != nil && a.found != nil && !before.found.Sequence.Before(a.found.Sequence) {
			return fmt.Errorf("the record %s is at %v, behind its successor at %v", head(before.Data), before.found.Sequence, a.found.Sequence)
		}
		last[a.worker] = a
	}
	return nil
}
