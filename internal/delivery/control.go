package delivery

import (
	"context"
	"maps"
	"slices"
	"sort"
	"strconv"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// Create makes a delivery stream. When it returns, the tip of every open shard of the source is stored durably and the
// definition is ACTIVE: no record that is put from then on is missed.
//
// Errors: Invalid with the service's text, Unsupported naming the member, InUse for a name that exists, LimitExceeded.
func (e *Engine) Create(ctx context.Context, req *CreateRequest) (*Definition, error) {
	const op = "delivery.Create"
	def, err := req.Definition()
	if err != nil {
		return nil, err
	}
	e.control.Lock()
	defer e.control.Unlock()
	if err := e.ready(op); err != nil {
		return nil, err
	}
	e.mu.RLock()
	_, exists := e.byName[def.Name]
	n := len(e.byName)
	e.mu.RUnlock()
	if exists {
		return nil, fault.New(fault.InUse, op, def.Name, "Firehose %s under accountId %s already exists", def.Name, e.opts.Account.ID)
	}
	if n >= MaxDeliveryStreams {
		return nil, fault.New(fault.LimitExceeded, op, def.Name, "You have already consumed your firehose quota of %d hoses.", n)
	}
	return e.create(ctx, def)
}

func (e *Engine) ready(op string) error {
	if e.closed || !e.started {
		return fault.New(fault.Unavailable, op, "", "the node is starting or stopping")
	}
	return nil
}

func (e *Engine) create(ctx context.Context, def *Definition) (*Definition, error) {
	now := e.opts.Now().UTC()
	def.ID = e.opts.IDs.String(ids.LowerAlnum, 16)
	def.Status, def.VersionID, def.Created = Active, 1, now
	st, err := e.source(ctx, def)
	if err != nil {
		return nil, err
	}
	d, err := e.newDelivery(def)
	if err == nil {
		err = e.begin(ctx, d, st)
	}
	if err == nil {
		if def.KinesisSource != nil {
			def.KinesisSource.DeliveryStartTimestamp = now
		}
		err = e.opts.Definitions.Put(ctx, def)
	}
	if err != nil {
		e.undo(context.WithoutCancel(ctx), d, def)
		return nil, err
	}
	e.add(d)
	e.supervisor.kick()
	return def, nil
}

// source finds the stream to read, or makes the hidden one.
func (e *Engine) source(ctx context.Context, def *Definition) (*stream.Stream, error) {
	name := def.SourceStream()
	if def.Type == DirectPut {
		return e.opts.Source.CreateStream(ctx, stream.CreateStream{Name: name, Mode: stream.Provisioned, Shards: 1})
	}
	st, ok := e.opts.Source.Stream(name)
	if !ok || st.Hidden() {
		return nil, fault.New(fault.Invalid, "delivery.Create", def.Name, "Kinesis Stream %s is not found.", def.KinesisSource.KinesisStreamARN)
	}
	return st, nil
}

// begin stores where each shard is read from: open ones from their tip on, closed ones not at all. A shard that opens
// meanwhile is found later and read from its start.
func (e *Engine) begin(ctx context.Context, d *delivery, st *stream.Stream) error {
	change := &journal.Change{}
	for i := range st.Shards {
		sh := &st.Shards[i]
		ref := stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: sh.Index}
		tip, err := e.opts.Source.Tip(ctx, ref)
		if fault.Is(err, fault.NotFound) && !sh.Open() {
			continue
		}
		if err != nil {
			return err
		}
		row := d.firstRow(ref, sh, tip)
		row.Done = !sh.Open()
		if !row.Done {
			e.opts.Source.Hold(d.holder(), ref, tip)
		}
		change.Rows = append(change.Rows, row)
	}
	if err := e.opts.Journal.Write(ctx, change); err != nil {
		return err
	}
	for _, row := range change.Rows {
		d.admit(row)
	}
	return nil
}

// undo takes back a creation that failed. What it can't take back now, the next start does.
func (e *Engine) undo(ctx context.Context, d *delivery, def *Definition) {
	if d != nil {
		d.cancel()
		e.opts.Source.Release(d.holder())
	}
	err := e.opts.Definitions.Delete(ctx, def.Name)
	if err == nil {
		err = e.opts.Journal.Forget(ctx, def.ID)
	}
	if err == nil && def.Type == DirectPut {
		err = e.opts.Source.DeleteStream(ctx, def.SourceStream())
	}
	if err != nil {
		e.opts.Log.Warn("a failed creation left something behind until the next start", "deliveryStream", def.Name, "error", err)
	}
}

// Delete removes a delivery stream. Records that are not delivered are discarded, counted and logged; those of a
// Kinesis source stay in their stream. AllowForceDelete concerns grants of a key service and has no effect.
func (e *Engine) Delete(ctx context.Context, name string) error {
	const op = "delivery.Delete"
	e.control.Lock()
	defer e.control.Unlock()
	if err := e.ready(op); err != nil {
		return err
	}
	d, err := e.find(op, name)
	if err != nil {
		return err
	}
	def := d.definition.Load().clone()
	def.Status = Deleting
	if err := e.opts.Definitions.Put(ctx, def); err != nil {
		return err
	}
	d.definition.Store(def)
	d.appends.Lock() // puts under way end first
	d.closed = true
	d.appends.Unlock()
	d.halt()
	return e.finishDelete(ctx, d, def)
}

// finishDelete takes the steps that a crash may have cut off: each can be done twice.
func (e *Engine) finishDelete(ctx context.Context, d *delivery, def *Definition) error {
	var final journal.Final
	if rows := d.list(); len(rows) > 0 && !d.booked { // without rows an earlier process has booked them
		final = e.final(ctx, d, def, rows)
		if err := e.opts.Journal.Finish(ctx, def.ID, final); err != nil {
			return err
		}
		d.booked = true
	}
	e.opts.Source.Release(d.holder())
	if def.Type == DirectPut {
		if err := e.opts.Source.DeleteStream(ctx, def.SourceStream()); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	if err := e.opts.Definitions.Delete(ctx, def.Name); err != nil {
		return err
	}
	d.cancel()
	e.remove(d)
	if final.Counts.Discarded > 0 {
		e.opts.Log.Error("records were discarded with their delivery stream", "deliveryStream", def.Name,
			"records", final.Counts.Discarded)
	}
	return nil
}

// final settles all that is in flight. A planned object that is in the bucket was delivered; all else is discarded.
func (e *Engine) final(ctx context.Context, d *delivery, def *Definition, rows []*shard) journal.Final {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout) // a bucket that hangs must not hold up a deletion
	defer cancel()
	final := journal.Final{ID: def.ID, Name: def.Name, Deleted: e.opts.Now().UTC(), Counts: d.retired.Counts}
	for _, s := range rows {
		s.mu.Lock()
		row, outstanding := s.row, slices.Clone(s.outstanding)
		s.mu.Unlock()
		final.Counts = final.Counts.Add(row.Counts)
		for _, t := range outstanding {
			counts := t.outcome(ctx).counts()
			final.Counts = final.Counts.Add(counts)
			row.Checkpoint = t.manifest.Next
		}
		if !row.Done {
			final.Counts.Discarded += e.undelivered(ctx, s, &row)
		}
	}
	final.Accepted = final.Counts.Settled()
	return final
}

// undelivered counts the records of a shard behind its checkpoint.
func (e *Engine) undelivered(ctx context.Context, s *shard, row *journal.Row) int64 {
	if !e.dense {
		return 0
	}
	tip, err := e.opts.Source.Tip(ctx, s.ref)
	if err != nil {
		tip = s.tip
	}
	return s.between(row, row.Checkpoint, tip)
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
		if d.name <= req.After || req.Type != "" && d.definition.Load().Type != req.Type {
			continue
		}
		if len(names) == req.Limit {
			return names, true
		}
		names = append(names, d.name)
	}
	return names, false
}

// change stores a changed copy of a definition and puts it to use.
func (e *Engine) change(ctx context.Context, op, name string, edit func(*Definition) error) (*Definition, error) {
	e.control.Lock()
	defer e.control.Unlock()
	if err := e.ready(op); err != nil {
		return nil, err
	}
	d, err := e.find(op, name)
	if err != nil {
		return nil, err
	}
	def := d.definition.Load().clone()
	if def.Status != Active {
		return nil, fault.New(fault.InUse, op, name, "Firehose %s is not ACTIVE, its status is %s", name, def.Status)
	}
	if err := edit(def); err != nil {
		return nil, err
	}
	if err := e.opts.Definitions.Put(ctx, def); err != nil {
		return nil, err
	}
	return def, d.use(def)
}

// UpdateDestination changes the destination. Members that are absent stay. What is buffered when it returns is
// delivered under the definition that it was buffered under.
func (e *Engine) UpdateDestination(ctx context.Context, req *UpdateRequest) (*Definition, error) {
	const op = "delivery.UpdateDestination"
	update, err := req.update()
	if err != nil {
		return nil, err
	}
	return e.change(ctx, op, req.DeliveryStreamName, func(def *Definition) error {
		if have := strconv.FormatInt(def.VersionID, 10); have != req.CurrentDeliveryStreamVersionId {
			return fault.New(fault.PreconditionFailed, op, def.Name, "Cannot update firehose: %s since the current version id: %s "+
				"and specified version id: %s do not match", def.Name, have, req.CurrentDeliveryStreamVersionId)
		}
		if req.DestinationId != DestinationID {
			return fault.New(fault.Invalid, op, def.Name, "Destination Id %s not found", req.DestinationId)
		}
		def.Destination = update.over(def.Destination)
		def.Destination.setDefaults()
		if err := validateDestination(op, req.member(), &def.Destination); err != nil {
			return err
		}
		def.VersionID++
		def.Updated = e.opts.Now().UTC()
		return nil
	})
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
