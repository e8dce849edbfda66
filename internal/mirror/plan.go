package mirror

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// choose gives the pairs to copy, and refuses what can't be meant.
func (m *Mirror) choose() ([]Pair, error) {
	const op = "mirror.Prepare"
	pairs := slices.Clone(m.opts.Pairs)
	if len(pairs) == 0 {
		for _, s := range m.opts.From.Streams() {
			if !s.Hidden() {
				pairs = append(pairs, Pair{s.Name, s.Name})
			}
		}
		if len(pairs) == 0 {
			return nil, fault.New(fault.NotFound, op, "", "the source has no streams")
		}
	}
	taken := map[string]string{}
	for _, p := range pairs {
		if strings.HasPrefix(p.From, stream.HiddenPrefix) || strings.HasPrefix(p.To, stream.HiddenPrefix) {
			return nil, fault.New(fault.Invalid, op, p.From, "hidden streams belong to their delivery streams and are not copied")
		}
		if len(p.To) > maxNameBytes {
			return nil, fault.New(fault.Invalid, op, p.To, "a stream's name has at most %d characters; give it another: SRC=DST", maxNameBytes)
		}
		if by, is := taken[p.To]; is {
			return nil, fault.New(fault.Invalid, op, p.To, "both %s and %s would be copied into it", by, p.From)
		}
		taken[p.To] = p.From
		if m.opts.From == m.opts.To && p.From == p.To {
			return nil, fault.New(fault.Invalid, op, p.From, "it would be copied into itself")
		}
		if _, ok := m.opts.From.Stream(p.From); !ok {
			return nil, fault.New(fault.NotFound, op, p.From, "the source has no such stream; it has %s", names(m.opts.From))
		}
	}
	return pairs, nil
}

// maxNameBytes bounds a stream's name, as CreateStream does; a topic's may be longer.
const maxNameBytes = 128

// names lists some streams of a backend, for an error.
func names(b stream.Backend) string {
	const some = 10
	var all []string
	for _, s := range b.Streams() {
		if !s.Hidden() {
			all = append(all, s.Name)
		}
	}
	switch {
	case len(all) == 0:
		return "none"
	case len(all) > some:
		return strings.Join(all[:some], ", ") + fmt.Sprintf(" and %d more", len(all)-some)
	}
	return strings.Join(all, ", ")
}

// copying is a pair under way.
type copying struct {
	m    *Mirror
	pair Pair
	from *stream.Stream // as it was when the run began
	toID string
	doc  *streamDoc // in the state, and guarded by it
	// limits are where the run ends, by shard of the source; shards that are not in it are not read. Nil: it follows.
	limits map[uint32]limit

	// goals are positions that shards are copied up to, for the estimate of what is left; of dense sources only.
	goals map[uint32]uint64
	base  Counts // of the runs before

	running map[uint32]*pipeline // guarded by the state
}

// prepare makes a pair ready: streams active on both sides, the state at hand, limits taken.
func (m *Mirror) prepare(ctx context.Context, p Pair) (*copying, error) {
	from, err := active(ctx, m.opts.From, p.From)
	if err != nil {
		return nil, err
	}
	to, err := m.destination(ctx, from, p.To)
	if err != nil {
		return nil, err
	}
	c := &copying{m: m, pair: p, from: from, toID: to.ID, running: map[uint32]*pipeline{}}
	if err := c.resume(ctx, to); err != nil {
		return nil, err
	}
	c.base = c.counts()
	if m.opts.Follow {
		return c, nil
	}
	return c, c.bound(ctx)
}

// bound takes the tips of the source's shards: there the run ends.
func (c *copying) bound(ctx context.Context) error {
	c.limits, c.goals = map[uint32]limit{}, map[uint32]uint64{}
	dense := c.m.opts.From.Capabilities().DensePositions
	for i := range c.from.Shards {
		sh := &c.from.Shards[i]
		var end limit // of a closed shard: its own
		if sh.Open() || dense {
			tip, err := retried(ctx, func() (stream.SequenceNumber, error) { return c.m.opts.From.Tip(ctx, c.ref(sh.Index)) })
			if err != nil {
				return err
			}
			if sh.Open() {
				end = limit{tip, true}
			}
			if _, _, position, ok := tip.Parts(); ok && dense {
				c.goals[sh.Index] = position
			}
		}
		c.limits[sh.Index] = end
	}
	return nil
}

func (c *copying) ref(shard uint32) stream.ShardRef {
	return stream.ShardRef{Stream: c.pair.From, ID: c.from.ID, Shard: shard}
}

func (c *copying) toRef(shard uint32) stream.ShardRef {
	return stream.ShardRef{Stream: c.pair.To, ID: c.toID, Shard: shard}
}

// active waits until a stream is ACTIVE. One that is UPDATING will do: it takes records and is read.
func active(ctx context.Context, b stream.Backend, name string) (*stream.Stream, error) {
	const op = "mirror.Prepare"
	for began := time.Now(); ; {
		s, ok := b.Stream(name)
		switch {
		case !ok:
			return nil, fault.New(fault.NotFound, op, name, "no such stream")
		case s.Status == stream.Deleting:
			return nil, fault.New(fault.InUse, op, name, "the stream is being deleted")
		case s.Status == stream.Active || s.Status == stream.Updating:
			return s, nil
		case time.Since(began) > becomeActive:
			return nil, fault.New(fault.Unavailable, op, name, "the stream is %s for %v", s.Status, becomeActive)
		}
		if err := pause(ctx, lookAgain); err != nil {
			return nil, err
		}
	}
}

// destination finds the stream to copy into, or makes it like the source.
func (m *Mirror) destination(ctx context.Context, from *stream.Stream, name string) (*stream.Stream, error) {
	if _, exists := m.opts.To.Stream(name); exists {
		return active(ctx, m.opts.To, name)
	}
	spec := stream.CreateStream{
		Name: name, Mode: from.Mode, Shards: max(1, from.OpenShards()),
		MaxRecordBytes: max(from.MaxRecordBytes, stream.DefaultMaxRecordBytes), // what is adopted may take a little less
		Retention:      min(max(from.Retention, stream.MinRetention), stream.MaxRetention), Tags: maps.Clone(from.Tags),
	}
	maps.DeleteFunc(spec.Tags, func(key, _ string) bool { return strings.HasPrefix(key, "aws:") }) // nobody may set those
	if _, err := m.opts.To.CreateStream(ctx, spec); err != nil && !fault.Is(err, fault.InUse) {
		return nil, err
	}
	to, err := active(ctx, m.opts.To, name)
	if err == nil {
		m.opts.Note(fmt.Sprintf("%s: made at the destination with %d shards, retention %v", name, to.OpenShards(), to.Retention))
	}
	return to, err
}

// resume takes the pair's state, or begins one: then the places are taken that the copy starts at.
func (c *copying) resume(ctx context.Context, to *stream.Stream) error {
	const op = "mirror.Prepare"
	key := c.pair.From + "=" + c.pair.To
	st := c.m.opts.State
	st.view(func() { c.doc = st.doc.Streams[key] })
	if c.doc == nil {
		doc, err := c.first(ctx, to)
		if err != nil {
			return err
		}
		c.doc = doc
		st.edit(func() { st.doc.Streams[key] = doc })
		return nil
	}
	for _, side := range []struct{ what, name, was, is string }{
		{"source", c.pair.From, c.doc.FromID, c.from.ID}, {"destination", c.pair.To, c.doc.ToID, c.toID},
	} {
		if side.was != side.is {
			return fault.New(fault.InUse, op, side.name, "the %s's stream is not the one that was copied before: it was deleted and made "+
				"again, or is another endpoint's; name another --state to begin anew", side.what)
		}
	}
	c.missing()
	return nil
}

// missing tells of shards that have left the source before they were copied.
func (c *copying) missing() {
	for _, index := range slices.Sorted(maps.Keys(c.doc.Shards)) {
		if d := c.doc.Shards[index]; d.Ended || d.Omitted {
			continue
		}
		if _, listed := c.from.Shard(index); !listed {
			c.m.opts.Note(fmt.Sprintf("%s: %s has left the source before it was copied to its end: what it held behind %v is gone",
				c.pair.From, stream.ShardID(index), c.doc.Shards[index].Position))
		}
	}
}

// first makes the state of a pair that is copied for the first time.
func (c *copying) first(ctx context.Context, to *stream.Stream) (*streamDoc, error) {
	m := c.m
	doc := &streamDoc{
		FromID: c.from.ID, ToID: c.toID, Began: time.Now().UTC(), Start: m.opts.Start.String(),
		Places: places{}, Written: places{}, Shards: map[uint32]*shardDoc{},
	}
	for i := range to.Shards {
		sh := &to.Shards[i]
		doc.Newest = max(doc.Newest, sh.Index)
		if !sh.Open() {
			continue // it takes nothing of ours
		}
		tip, err := retried(ctx, func() (stream.SequenceNumber, error) { return m.opts.To.Tip(ctx, c.toRef(sh.Index)) })
		if err != nil {
			return nil, err
		}
		doc.Places[sh.Index] = tip
	}
	for i := range c.from.Shards {
		sh := &c.from.Shards[i]
		if m.opts.Start.Latest && !sh.Open() {
			doc.Shards[sh.Index] = &shardDoc{Omitted: true}
			continue
		}
		at, err := retried(ctx, func() (stream.SequenceNumber, error) { return m.opts.place(ctx, c.ref(sh.Index)) })
		if err != nil {
			return nil, err
		}
		doc.Shards[sh.Index] = &shardDoc{Start: at, Position: at}
	}
	return doc, nil
}

// place is where the copy of a shard begins.
func (o *Options) place(ctx context.Context, ref stream.ShardRef) (stream.SequenceNumber, error) {
	switch {
	case o.Start.Latest:
		return o.From.Tip(ctx, ref)
	case !o.Start.At.IsZero():
		return o.From.At(ctx, ref, o.Start.At)
	}
	return o.From.Horizon(ctx, ref)
}

// retried asks until the answer is no passing error.
func retried[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	var p patience
	for {
		v, err := ask()
		if err == nil || !passing(err) {
			return v, err
		}
		if err := p.again(ctx, err); err != nil {
			return v, err
		}
	}
}

// begin starts the pipelines of the shards whose parents are done.
func (c *copying) begin(ctx context.Context) { c.proceed(ctx, c.from) }

// proceed starts what can be started of a stream as it is now: shards that are new, and whose listed parents are read to
// their ends.
func (c *copying) proceed(ctx context.Context, now *stream.Stream) {
	c.m.opts.State.edit(func() {
		for i := range now.Shards {
			if sh := &now.Shards[i]; c.ready(now, sh) {
				c.start(ctx, sh)
			}
		}
	})
}

func (c *copying) ready(now *stream.Stream, sh *stream.Shard) bool {
	if _, wanted := c.limits[sh.Index]; c.limits != nil && !wanted {
		return false
	}
	if c.running[sh.Index] != nil {
		return false
	}
	for _, parent := range sh.Parents {
		if d, known := c.doc.Shards[parent]; known && (d.Ended || d.Omitted) {
			continue
		}
		if _, listed := now.Shard(parent); listed {
			return false
		}
	}
	return true
}

// start runs a pipeline. The state is locked.
func (c *copying) start(ctx context.Context, sh *stream.Shard) {
	d := c.doc.Shards[sh.Index]
	if d == nil {
		d = &shardDoc{} // a child: all that it holds came after its parents
		c.doc.Shards[sh.Index] = d
	}
	p := &pipeline{c: c, m: c.m, shard: sh, doc: d, ref: c.ref(sh.Index), limit: c.limits[sh.Index]}
	c.running[sh.Index] = p
	if d.Ended || d.Omitted {
		p.done.Store(true)
		return
	}
	c.m.workers.Go(func() {
		if err := p.run(ctx); err != nil {
			c.m.fail(err)
		}
	})
}
