package delivery

import (
	"context"
	"maps"
	"slices"
	"sort"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// Create makes a delivery stream. When it returns, the tip of every open shard of the source is stored durably in the
// definition, and that is ACTIVE on all nodes: no record that is put from then on is missed.
//
// Errors: Invalid with the service's text, Unsupported naming the member, InUse for a name that exists, LimitExceeded.
func (e *Engine) Create(ctx context.Context, req *CreateRequest) (*Definition, error) {
	const op = "delivery.Create"
	def, err := req.Definition()
	if err != nil {
		return nil, err
	}
	if err := e.ready(op); err != nil {
		return nil, err
	}
	e.mu.RLock()
	_, exists := e.byName[def.Name]
	n := e.definitions()
	e.mu.RUnlock()
	if exists {
		return nil, e.inUse(op, def.Name)
	}
	if n >= MaxDeliveryStreams {
		return nil, fault.New(fault.LimitExceeded, op, def.Name, "You have already consumed your firehose quota of %d hoses.", n)
	}
	if err := e.admit(op, def, req.Tables); err != nil {
		return nil, err
	}
	return e.create(ctx, def)
}

func (e *Engine) inUse(op, name string) error {
	return fault.New(fault.InUse, op, name, "Firehose %s under accountId %s already exists", name, e.opts.Account.ID)
}

func (e *Engine) notFound(op, name string) error {
	return fault.New(fault.NotFound, op, name, "Firehose %s under account %s not found.", name, e.opts.Account.ID)
}

func (e *Engine) ready(op string) error {
	if e.closed.Load() || !e.started.Load() {
		return fault.New(fault.Unavailable, op, "", "the node is starting or stopping")
	}
	return nil
}

func (e *Engine) create(ctx context.Context, def *Definition) (*Definition, error) {
	e.creating.RLock()
	defer e.creating.RUnlock()
	now := e.opts.Now().UTC()
	def.ID = e.opts.IDs.String(ids.LowerAlnum, 16)
	def.Status, def.VersionID, def.Created = Active, 1, now
	if def.KinesisSource != nil {
		def.KinesisSource.DeliveryStartTimestamp = now
	}
	if def.MSKSource != nil {
		if err := def.MSKSource.begin(now); err != nil {
			return nil, err
		}
	}
	st, err := e.source(ctx, def)
	if err != nil {
		return nil, err
	}
	if def.Starts, err = e.starts(ctx, st, def.ID, def.MSKSource); err == nil {
		def.backUpWhole()
		err = e.startBackup(ctx, def)
	}
	if err == nil {
		_, err = e.opts.Definitions.Update(ctx, def.Name, func(have *Definition) (*Definition, error) {
			if have != nil {
				return nil, e.inUse("delivery.Create", def.Name)
			}
			return def, nil
		})
	}
	if err != nil {
		e.undo(context.WithoutCancel(ctx), def)
		return nil, err
	}
	if err := e.reconcile(ctx); err != nil {
		return nil, err
	}
	if d, err := e.find("delivery.Create", def.Name); err == nil && d.id == def.ID {
		if err := d.supervise(ctx); err != nil {
			d.fail("following shards", err) // the supervisor tries again
		}
	}
	return def, nil
}

// definitions counts delivery streams. The caller holds mu.
func (e *Engine) definitions() (n int) {
	for _, d := range e.byName {
		if !d.isBackup() {
			n++
		}
	}
	return n
}

// source finds the stream to read, or makes the hidden one.
func (e *Engine) source(ctx context.Context, def *Definition) (*stream.Stream, error) {
	name := def.SourceStream()
	if def.Type == DirectPut {
		return e.hidden(ctx, def)
	}
	if def.Type == MSKAsSource {
		return e.findTopic(ctx, def)
	}
	st, ok := e.opts.Source.Stream(name)
	if !ok || st.Hidden() {
		return nil, fault.New(fault.Invalid, "delivery.Create", def.Name, "Kinesis Stream %s is not found.", def.KinesisSource.KinesisStreamARN)
	}
	return st, nil
}

// hidden makes the stream of a Direct PUT delivery stream, encrypted if it is to be.
func (e *Engine) hidden(ctx context.Context, def *Definition) (*stream.Stream, error) {
	st, err := e.opts.Source.CreateStream(ctx, stream.CreateStream{Name: def.SourceStream(), Mode: stream.Provisioned, Shards: e.opts.DirectPutShards})
	if err == nil && def.Encrypts() {
		if err = e.seal(ctx, "delivery.Create", def, def.EncryptionKey.id()); err != nil {
			e.undo(context.WithoutCancel(ctx), def)
		}
	}
	return st, err
}

// starts finds out where each shard is read from: open ones from their tip on (or from the ReadFromTimestamp of a topic),
// closed ones not at all. A shard that opens meanwhile is found later and read from its start.
func (e *Engine) starts(ctx context.Context, st *stream.Stream, id string, from *MSKSource) (*Starts, error) {
	all := &Starts{StreamID: st.ID, Shards: []Start{}}
	for i := range st.Shards {
		sh := &st.Shards[i]
		start := Start{Shard: sh.Index, Closed: !sh.Open()}
		if !start.Closed {
			ref := stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: sh.Index}
			tip, err := e.place(ctx, from, ref)
			if err != nil {
				return nil, err
			}
			e.opts.Source.Hold(holder(id), ref, tip)
			start.At = tip
		}
		all.Shards = append(all.Shards, start)
	}
	return all, nil
}

// undo takes back a creation that failed. What it can't take back now, a sweep does.
func (e *Engine) undo(ctx context.Context, def *Definition) {
	for _, id := range def.definitionIDs() {
		e.opts.Source.Release(holder(id))
	}
	err := e.removeDefinition(ctx, def)
	if err == nil && def.Type == DirectPut {
		err = e.opts.Source.DeleteStream(ctx, def.SourceStream())
	}
	if err == nil {
		err = e.reconcile(ctx)
	}
	if err != nil {
		e.opts.Log.Warn("a failed creation left something behind until a later sweep", "deliveryStream", def.Name, "error", err)
		e.supervisor.sweepSoon()
	}
}

// removeDefinition removes a definition, unless there is none or the name is another incarnation's.
func (e *Engine) removeDefinition(ctx context.Context, def *Definition) error {
	_, err := e.opts.Definitions.Update(ctx, def.Name, func(have *Definition) (*Definition, error) {
		if have == nil || have.ID != def.ID {
			return have, nil
		}
		return nil, nil
	})
	return err
}

// Delete removes a delivery stream. Records that are not delivered are discarded, counted and logged; those of a
// Kinesis source stay in their stream. AllowForceDelete concerns grants of a key service and has no effect.
//
// All nodes settle what they own. Delete waits for that within ctx and deleteTimeout; then the deletion goes on, DELETING
// to be seen, and is sure to end.
func (e *Engine) Delete(ctx context.Context, name string) error {
	const op = "delivery.Delete"
	if err := e.ready(op); err != nil {
		return err
	}
	def, err := e.opts.Definitions.Update(ctx, name, func(have *Definition) (*Definition, error) {
		if have == nil {
			return nil, e.notFound(op, name)
		}
		if have.Status == Deleting {
			return have, nil
		}
		def := have.clone()
		def.Status, def.Deleted = Deleting, e.opts.Now().UTC()
		return def, nil
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	for {
		if err := e.reconcile(ctx); err != nil {
			return err
		}
		d, err := e.find(op, name)
		if err != nil || d.id != def.ID {
			e.bury()
			return nil
		}
		if b := e.named(name + backupSuffix); b != nil {
			err = b.supervise(ctx)
		}
		if err == nil {
			err = d.supervise(ctx)
		}
		switch {
		case err != nil && !e.group():
			return err
		case err != nil:
			d.fail("deleting", err)
		}
		if e.group() {
			sleep(ctx, deletePoll)
		}
		if ctx.Err() != nil || e.closed.Load() {
			return nil
		}
	}
}

// Describe gives a definition.
func (e *Engine) Describe(name string) (*Definition, error) {
	d, err := e.find("delivery.Describe", name)
	if err != nil {
		return nil, err
	}
	return d.definition.Load(), nil
}

// ListRequest selects delivery streams.
type ListRequest struct {
	Type  Type   // empty: all
	After string // names after this one; it need not exist
	Limit int    // at least 1
}

// List gives names in alphabetical order, and whether more follow.
func (e *Engine) List(req ListRequest) (names []string, more bool) {
	for _, d := range e.deliveries() {
		if d.isBackup() || d.name <= req.After || req.Type != "" && d.definition.Load().Type != req.Type {
			continue
		}
		if len(names) == req.Limit {
			return names, true
		}
		names = append(names, d.name)
	}
	return names, false
}

// change stores a changed copy of a definition, and puts it to use here; the other nodes follow.
func (e *Engine) change(ctx context.Context, op, name string, edit func(*Definition) error) (*Definition, error) {
	if err := e.ready(op); err != nil {
		return nil, err
	}
	def, err := e.opts.Definitions.Update(ctx, name, func(have *Definition) (*Definition, error) {
		if have == nil {
			return nil, e.notFound(op, name)
		}
		if have.Status != Active {
			return nil, notActive(op, have)
		}
		def := have.clone()
		if err := edit(def); err != nil {
			return nil, err
		}
		return def, e.startBackup(ctx, def)
	})
	if err != nil {
		return nil, err
	}
	return def, e.reconcile(ctx)
}

// MaxTags bounds the tags of a delivery stream.
const MaxTags = 50

// Tag sets tags.
func (e *Engine) Tag(ctx context.Context, name string, tags []Tag) error {
	const op = "delivery.Tag"
	_, err := e.change(ctx, op, name, func(def *Definition) error {
		if err := validateTags(op, name, tags); err != nil {
			return err
		}
		all := maps.Clone(def.Tags)
		if all == nil {
			all = map[string]string{}
		}
		for _, t := range tags {
			all[t.Key] = t.Value
		}
		if len(all) > MaxTags {
			return fault.New(fault.LimitExceeded, op, name, "a delivery stream has at most %d tags", MaxTags)
		}
		def.Tags = all
		return nil
	})
	return err
}

// Untag removes tags; absent ones are no error.
func (e *Engine) Untag(ctx context.Context, name string, keys []string) error {
	_, err := e.change(ctx, "delivery.Untag", name, func(def *Definition) error {
		def.Tags = maps.Clone(def.Tags)
		for _, k := range keys {
			delete(def.Tags, k)
		}
		return nil
	})
	return err
}

// Tags lists tags in the order of their keys, after a key; limit is at least 1.
func (e *Engine) Tags(name, after string, limit int) (tags []Tag, more bool, err error) {
	d, err := e.find("delivery.Tags", name)
	if err != nil {
		return nil, false, err
	}
	all := d.definition.Load().Tags
	keys := slices.Sorted(maps.Keys(all))
	keys = keys[sort.Search(len(keys), func(i int) bool { return keys[i] > after }):]
	for _, k := range keys[:min(limit, len(keys))] {
		tags = append(tags, Tag{k, all[k]})
	}
	return tags, len(keys) > limit, nil
}
