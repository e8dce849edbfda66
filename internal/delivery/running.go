package delivery

import (
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
	compiled   atomic.Pointer[destination]

	// ctx ends when the delivery stream is deleted or the node stops; reading ends before, when workers shall plan
	// what they have and leave.
	ctx     context.Context
	cancel  context.CancelFunc
	reading context.Context
	rest    context.CancelFunc
	workers sync.WaitGroup
	puts    sync.WaitGroup // tasks that run

	// appends is held for reading by every Direct PUT, and for writing when the delivery stream is deleted.
	appends sync.RWMutex
	closed  bool
	// booked is set when the final counts are in the journal: a deletion that goes on later must not book them anew.
	booked bool

	discovering sync.Mutex // held while rows are made or dropped

	mu      sync.Mutex
	shards  map[stream.ShardRef]*shard
	retired journal.Row // the sums of shards that have left their stream
	lastID  objectkey.ID
	trouble Trouble
}

func (e *Engine) newDelivery(def *Definition) (*delivery, error) {
	d := &delivery{engine: e, name: def.Name, id: def.ID, source: def.SourceStream(), shards: map[stream.ShardRef]*shard{}}
	d.retired.Key = journal.Key{Delivery: def.ID}
	if err := d.use(def); err != nil {
		return nil, err
	}
	d.ctx, d.cancel = context.WithCancel(e.ctx)
	d.reading, d.rest = context.WithCancel(d.ctx)
	return d, nil
}

// use makes a definition the one that later plans are made of.
func (d *delivery) use(def *Definition) error {
	dest, err := compile(def, d.engine.opts.GzipLevel)
	if err != nil {
		return fault.New(fault.Internal, "delivery.compile", def.Name, "%w", err)
	}
	d.compiled.Store(dest)
	d.definition.Store(def)
	return nil
}

func (d *delivery) destination() *destination { return d.compiled.Load() }

// holder names the delivery stream to the source.
func (d *delivery) holder() string { return "delivery/" + d.id }

// nextID gives the id of the next plan. Ids rise over all shards; each row stores its newest, and a start takes the
// largest of them.
func (d *delivery) nextID(now time.Time) objectkey.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lastID = objectkey.After(d.lastID, now)
	return d.lastID
}

// restore takes over what the journal knows. Nothing is started yet, but all that is undelivered is held.
func (d *delivery) restore(rows []journal.Row, manifests []*journal.Manifest) {
	for _, row := range rows {
		d.lastID = max(d.lastID, objectkey.ID(row.LastID))
		if row.Shard == (stream.ShardRef{}) {
			d.retired = row
			continue
		}
		d.shards[row.Shard] = newShard(d, row)
		if !row.Done {
			d.engine.opts.Source.Hold(d.holder(), row.Shard, row.Checkpoint)
		}
	}
	for _, m := range manifests {
		d.lastID = max(d.lastID, objectkey.ID(m.Ordinal))
		if s := d.shards[m.Key.Shard]; s != nil {
			t := newTask(s, m)
			t.mayExist = true
			s.outstanding = append(s.outstanding, t)
		}
	}
}

// resume finishes what an earlier process has planned.
func (d *delivery) resume() (n int) {
	for _, s := range d.shards {
		for _, t := range s.tasks() {
			d.engine.putter.submit(t)
			n++
		}
	}
	return n
}

// halt stops all work at once. What is undelivered stays as it is.
func (d *delivery) halt() {
	d.cancel()
	d.settled() // no worker is started from here on
	d.workers.Wait()
	d.engine.putter.barrier()
	d.puts.Wait()
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
