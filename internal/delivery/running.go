package delivery

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/objectkey"
	"millrace/internal/fault"
	"millrace/internal/stream"
)

// delivery is a delivery stream at work.
type delivery struct {
	engine *Engine
	name   string
	id     string
	source string // name of the stream that is read

	definition atomic.Pointer[Definition]
	from       *Definition // the one of the catalog that it was made of; guarded by Engine.reconciling
	compiled   atomic.Pointer[destination]

	// ctx ends when the delivery stream is deleted or the node stops; reading ends before, when workers shall plan
	// what they have and leave.
	ctx     context.Context
	cancel  context.CancelFunc
	reading context.Context
	rest    context.CancelFunc

	// appends is held for reading by every Direct PUT, and for writing before a deletion counts what was put.
	appends sync.RWMutex

	partitions atomic.Int64 // dynamic partitions that gather records

	puts atomic.Uint64 // calls of Put and PutBatch so far, when the hidden stream has several shards

	discovering lock // held while slots are taken or let go, and rows made or dropped

	mu     sync.Mutex
	shards map[stream.ShardRef]*shard // those in our slots
	// sums has, for each slot of ours that is loaded, the sums of shards that have left their stream.
	sums    map[int]journal.Row
	lastID  objectkey.ID
	trouble Trouble

	watch watch
}

func (e *Engine) newDelivery(def *Definition) (*delivery, error) {
	d := &delivery{engine: e, name: def.deliveryName(), id: def.ID, source: def.SourceStream(), discovering: newLock(),
		shards: map[stream.ShardRef]*shard{}, sums: map[int]journal.Row{}}
	if err := d.use(def); err != nil {
		return nil, err
	}
	d.ctx, d.cancel = context.WithCancel(e.ctx)
	d.reading, d.rest = context.WithCancel(d.ctx)
	return d, nil
}

// use makes a definition the one that later plans are made of.
func (d *delivery) use(def *Definition) error {
	dest, err := compile(def, d.engine.opts.Account, d.engine.opts.GzipLevel)
	if err != nil {
		return fault.New(fault.Internal, "delivery.compile", def.Name, "%w", err)
	}
	d.compiled.Store(dest)
	d.definition.Store(def)
	return nil
}

// processing gives what a manifest's records were processed with: mostly that of the definition in use.
func (d *delivery) processing(m *journal.Manifest) (*processing, error) {
	if p := d.destination().processing; p != nil && bytes.Equal(p.text, m.Recipe) {
		return p, nil
	}
	return parseProcessing(m.Recipe)
}

func (d *delivery) destination() *destination { return d.compiled.Load() }

func (d *delivery) isDeleting() bool { return d.definition.Load().Status == Deleting }

// holder names the delivery stream to the source.
func (d *delivery) holder() string { return holder(d.id) }

func holder(id string) string { return "delivery/" + id }

func (d *delivery) slotOf(ref stream.ShardRef) int {
	return journal.SlotOf(journal.Key{Delivery: d.id, Shard: ref}, d.engine.slots)
}

// nextID gives the id of the next plan of a shard whose newest is last. Ids rise over all shards that this process has
// seen; each row stores its newest, so that they rise within a shard whoever plans and whatever the clocks say.
func (d *delivery) nextID(now time.Time, last uint64) objectkey.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lastID = objectkey.After(max(d.lastID, objectkey.ID(last)), now)
	return d.lastID
}

// works reports whether rows may be made in a slot: it is loaded, and no deletion has settled it that our definitions do
// not tell of yet.
func (d *delivery) works(slot int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	sums, ok := d.sums[slot]
	return ok && !sums.Done
}

// take loads what lies in slots that were gained. What is undelivered is held, and what is planned is finished. The caller
// holds discovering.
func (d *delivery) take(ctx context.Context) error {
	slots := d.untaken()
	if len(slots) == 0 {
		return nil
	}
	rows, manifests, err := d.engine.opts.Journal.Load(ctx, d.id)
	if err != nil {
		return err
	}
	d.restore(slots, rows, manifests)
	if d.isDeleting() {
		return nil
	}
	for _, s := range d.list() {
		if slots[d.slotOf(s.ref)] {
			for _, t := range s.tasks() {
				d.engine.putter.submit(t)
			}
		}
	}
	return nil
}

// untaken gives the slots that are ours and not loaded.
func (d *delivery) untaken() map[int]bool {
	d.engine.mu.RLock()
	defer d.engine.mu.RUnlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	var slots map[int]bool
	for slot, owned := range d.engine.owned {
		if _, taken := d.sums[slot]; owned && !taken {
			if slots == nil {
				slots = map[int]bool{}
			}
			slots[slot] = true
		}
	}
	return slots
}

func (d *delivery) restore(slots map[int]bool, rows []journal.Row, manifests []*journal.Manifest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.engine.slots { // one of so many indexes lies in each slot
		key := journal.Key{Delivery: d.id, Shard: stream.ShardRef{Shard: uint32(i)}}
		if slot := journal.SlotOf(key, d.engine.slots); slots[slot] {
			d.sums[slot] = journal.Row{Key: key}
		}
	}
	for _, row := range rows {
		d.lastID = max(d.lastID, objectkey.ID(row.LastID))
		slot := journal.SlotOf(row.Key, d.engine.slots)
		switch {
		case !slots[slot]:
		case row.IsSums():
			d.sums[slot] = row
		default:
			d.shards[row.Shard] = newShard(d, row)
			if !row.Done {
				d.engine.opts.Source.Hold(d.holder(), row.Shard, row.Checkpoint)
			}
		}
	}
	for _, m := range manifests {
		if !slots[journal.SlotOf(m.Key, d.engine.slots)] {
			continue
		}
		d.lastID = max(d.lastID, objectkey.ID(m.Ordinal))
		if s := d.shards[m.Key.Shard]; s != nil {
			s.outstanding = append(s.outstanding, foundTask(s, m))
		}
	}
}

// planned counts the manifests that are not committed.
func (d *delivery) planned() (n int) {
	for _, s := range d.list() {
		n += len(s.tasks())
	}
	return n
}

// stop tells all work on slots to end.
func (d *delivery) stop(slots map[int]bool) {
	for _, s := range d.list() {
		if slots[d.slotOf(s.ref)] {
			s.stop()
		}
	}
}

// letGo waits for all work on slots, and forgets them.
func (d *delivery) letGo(slots map[int]bool) {
	d.discovering.Lock()
	defer d.discovering.Unlock()
	d.stop(slots)
	var lost []*shard
	for _, s := range d.list() {
		if slots[d.slotOf(s.ref)] {
			lost = append(lost, s)
		}
	}
	d.waitFor(lost)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range lost {
		delete(d.shards, s.ref)
	}
	for slot := range slots {
		delete(d.sums, slot)
	}
}

// waitFor returns when nothing runs any more of shards that were told to stop.
func (d *delivery) waitFor(shards []*shard) {
	for _, s := range shards {
		s.worker.Wait()
	}
	d.engine.putter.barrier()
	for _, s := range shards {
		s.puts.Wait()
		dropAll(s.tasks()) // those that wait are never started again
	}
}

// halt stops all work at once. What is undelivered stays as it is.
func (d *delivery) halt() {
	d.cancel()
	d.settled() // no worker is started from here on
	d.waitFor(d.list())
}

func (d *delivery) waitForWorkers() {
	for _, s := range d.list() {
		s.worker.Wait()
	}
}

// settled returns when no rows are being made and no workers started.
func (d *delivery) settled() {
	d.discovering.Lock()
	defer d.discovering.Unlock()
}

// list gives the shards; the slice is the caller's.
func (d *delivery) list() []*shard {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*shard, 0, len(d.shards))
	for _, s := range d.shards {
		all = append(all, s)
	}
	return all
}

// fail notes an error that will be retried. The log is rate-limited by its handler.
func (d *delivery) fail(doing string, err error) {
	d.mu.Lock()
	if d.trouble.Failures == 0 {
		d.trouble.Since = d.engine.opts.Now()
	}
	d.trouble.Failures++
	d.trouble.Total++
	d.trouble.Error = err.Error()
	if sink := (sinkError{}); errors.As(err, &sink) {
		d.trouble.PutErrors++
	}
	d.mu.Unlock()
	d.logFailure(err)
	d.engine.opts.Log.Warn("delivery is held up; it is tried again", "deliveryStream", d.name, "doing", doing, "error", err)
}

// succeed ends a row of failures.
func (d *delivery) succeed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.trouble.Failures > 0 {
		d.trouble = Trouble{Total: d.trouble.Total, PutErrors: d.trouble.PutErrors}
	}
}

// Trouble tells of steps that fail and are retried.
type Trouble struct {
	Error    string    `json:"error,omitempty"` // the latest; empty: all is well
	Since    time.Time `json:"since,omitzero"`  // of the first failure in a row
	Failures int64     `json:"failures"`        // in a row
	Total    int64     `json:"total"`           // since the start of the process
	// PutErrors are those of Total that came from the bucket's store.
	PutErrors int64 `json:"putErrors"`
}
