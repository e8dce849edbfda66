package mirror

import (
	"context"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// append brings the entries of a load to the destination, in order of each key. It returns when all are acknowledged,
// or found there.
//
// Where the destination keeps order within a call, also when part of it fails, one call takes all. Else an entry could
// fail and a later one of its key be written: then a call takes one entry of a key, and the next of that key waits for
// its acknowledgement (wave after wave).
func (p *pipeline) append(ctx context.Context, l *load, at places) error {
	if p.m.whole {
		return p.wave(ctx, l, at, func(int) bool { return true })
	}
	waves := l.waves()
	last := 0
	for _, n := range waves {
		last = max(last, n)
	}
	for n := range last + 1 {
		if err := p.wave(ctx, l, at, func(i int) bool { return waves[i] == n }); err != nil {
			return err
		}
	}
	return nil
}

// waves counts for each entry how many of its key come before it.
func (l *load) waves() []int {
	seen := make(map[string]int, len(l.entries))
	waves := make([]int, len(l.entries))
	for i := range l.entries {
		key := l.entries[i].PartitionKey
		waves[i] = seen[key]
		seen[key]++
	}
	return waves
}

// wave appends those entries of a load that belong to it and are not there yet, again and again until all are.
func (p *pipeline) wave(ctx context.Context, l *load, at places, belongs func(i int) bool) error {
	var trouble patience
	for {
		l.todo = l.todo[:0]
		for i := range l.entries {
			if belongs(i) && !l.there[i] {
				l.todo = append(l.todo, i)
			}
		}
		if len(l.todo) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		before := l.counts.Copied
		wrong := p.send(ctx, l)
		p.m.opts.Failpoint("mirror-sent")
		if l.counts.Copied > before {
			trouble.well()
		}
		if wrong == nil {
			continue
		}
		if !passing(wrong) {
			return wrong
		}
		if err := trouble.again(ctx, wrong); err != nil {
			return err
		}
		if inDoubt(wrong) {
			if err := p.reconcile(ctx, l, at); err != nil {
				return err
			}
		}
	}
}

// inDoubt reports whether something may have happened all the same.
func inDoubt(err error) bool {
	return fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Internal)
}

// send appends what is to do, notes what has arrived, and gives the worst of what went wrong: an error that can't pass,
// else one that leaves doubt, else any.
func (p *pipeline) send(ctx context.Context, l *load) error {
	l.sent, l.results = l.sent[:0], l.results[:0]
	for _, i := range l.todo {
		l.sent = append(l.sent, l.entries[i])
		l.results = append(l.results, stream.Result{})
	}
	call, cancel := callContext(ctx)
	defer cancel()
	if err := p.m.opts.To.Append(call, p.c.pair.To, l.sent, l.results); err != nil {
		return err
	}
	var worst error
	written := places{}
	for n, i := range l.todo {
		r := &l.results[n]
		if r.Err != nil {
			if worst == nil || !passing(r.Err) || (passing(worst) && inDoubt(r.Err) && !inDoubt(worst)) {
				worst = r.Err
			}
			continue
		}
		l.there[i] = true
		l.counts.Copied++
		written.raise(r.Shard, r.Sequence.Next())
	}
	p.m.opts.State.edit(func() { p.c.doc.raise(written) })
	return worst
}

// raise notes places behind records of ours. The state is locked.
func (d *streamDoc) raise(written places) {
	for shard, to := range written {
		d.Written.raise(shard, to)
	}
}
