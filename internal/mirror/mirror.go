// Package mirror copies streams from one stream.Backend to another: each record
// once, the records of a partition key in their order, through crashes of itself
// and of both sides.
//
//	source shard ── pipeline: read a batch ── intent ── append ── checkpoint ── next batch
//	                                            │                    │
//	                                            └── state file ──────┘   (state.go draws it)
//
// Shards are read parents before children, one pipeline a shard, and a pipeline
// reads on only when all of its batch is acknowledged. So a key, which lives in one
// shard at a time, keeps its order whatever the shards of the destination are.
//
// Once: before a batch is appended an [intent] says durably which source records
// it has and where the destination's shards end. Whoever finds an intent (the next
// run, or this one after an append of unknown outcome) reads the destination from
// there and appends only what has not arrived. Records are known by key and data;
// that holds while nobody else writes records of the same key and data to the
// destination within that window (reconcile.go).
//
// What is not kept: arrival times and sequence numbers, which the destination
// gives, and an ExplicitHashKey, which no reader of a stream is told: a record goes
// to the shard that its partition key decides.
package mirror

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Options of a mirror. From, To and State are required.
type Options struct {
	From, To stream.Backend
	// Pairs says what is copied to where; empty: all streams that are not hidden, by their names.
	Pairs []Pair
	// Start is where streams begin that State does not know yet.
	Start Start
	// Follow goes on at the tips. Else the mirror ends at the tips as they are when it starts.
	Follow bool
	// RecordsPerSecond and BytesPerSecond (of keys and data) bound the rate of all streams together; 0: no bound.
	RecordsPerSecond, BytesPerSecond float64
	State                            *State
	// Settle is how long what was sent may still arrive after its sender has given up or died.
	Settle time.Duration
	// Doubt is what is done with records that may have arrived when the destination can't tell any more.
	Doubt Doubt
	// Note is told in words what the mirror finds and does; it may be called concurrently. Nil: nobody is.
	Note func(text string)
	// Failpoint is called at named steps; for crash tests.
	Failpoint func(name string)
}

// Pair names a stream and what it is called at the destination.
type Pair struct{ From, To string }

// Start is where the copy of a stream begins. The zero value is the oldest record.
type Start struct {
	Latest bool
	At     time.Time // records that arrived at or after it; zero: all
}

func (s Start) String() string {
	switch {
	case s.Latest:
		return "latest"
	case !s.At.IsZero():
		return s.At.UTC().Format(time.RFC3339Nano)
	}
	return "trim-horizon"
}

// Doubt is a policy: see [Options.Doubt].
type Doubt string

// The policies.
const (
	DoubtStop  Doubt = "stop"  // an error, so that a person decides
	DoubtAgain Doubt = "again" // append: a record may be there twice
	DoubtSkip  Doubt = "skip"  // don't: a record may be missing
)

// Bounds, each with its reason.
const (
	// batchRecords and batchBytes are what a pipeline has in flight: enough that a round trip and the intent's fsync cost
	// little, small enough to be found again quickly.
	batchRecords = 2000
	batchBytes   = 4 << 20
	// batchesAtOnce bounds memory, and the intents in the state file, whatever the number of shards.
	batchesAtOnce = 16
	// appendTimeout ends the wait for one append; its outcome is unknown then.
	appendTimeout = time.Minute
	// outage is how long either side may fail without a break before the mirror stops, to be resumed.
	outage = 5 * time.Minute
	// firstPause doubles up to maxPause between tries.
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
	// saveEvery bounds the age of checkpoints that no intent has saved.
	saveEvery = 5 * time.Second
	// becomeActive is how long a new stream may take; Amazon Kinesis takes tens of seconds.
	becomeActive = 5 * time.Minute
	lookAgain    = 200 * time.Millisecond
)

// Mirror is one run.
type Mirror struct {
	opts    Options
	whole   bool // the destination keeps order within a call also when it fails; see waves
	most    int  // records of a batch
	records pacer
	bytes   pacer
	slots   chan *load // batchesAtOnce of them

	streams []*copying
	ran     atomic.Bool
	cancel  context.CancelCauseFunc
	workers sync.WaitGroup
}

// New makes a mirror; [Mirror.Run] runs it.
func New(opts Options) *Mirror {
	if opts.Note == nil {
		opts.Note = func(string) {}
	}
	if opts.Failpoint == nil {
		opts.Failpoint = func(string) {}
	}
	opts.Doubt = cmp.Or(opts.Doubt, DoubtStop)
	caps := opts.To.Capabilities()
	m := &Mirror{opts: opts, whole: caps.OrderedCalls && caps.OrderedFailures, most: batchRecords, slots: make(chan *load, batchesAtOnce)}
	m.records.rate, m.bytes.rate = opts.RecordsPerSecond, opts.BytesPerSecond
	for range batchesAtOnce {
		m.slots <- &load{}
	}
	return m
}

// Prepare chooses the streams, checks them against the state, and creates what is missing at the destination.
func (m *Mirror) Prepare(ctx context.Context) error {
	pairs, err := m.choose()
	if err != nil {
		return err
	}
	for _, p := range pairs {
		c, err := m.prepare(ctx, p)
		if err != nil {
			return err
		}
		m.streams = append(m.streams, c)
	}
	m.opts.State.dirty()
	return m.opts.State.save(m.opts.Failpoint)
}

// Run copies until all is copied, ctx ends, or something can't go on. It follows [Mirror.Prepare] and is called once.
//
// It returns nil when all is copied that was asked for, ctx's error when that came first; the state says how far it came
// in any case.
func (m *Mirror) Run(ctx context.Context) error {
	if m.ran.Swap(true) {
		return fault.New(fault.Internal, "mirror.Run", "", "it runs once")
	}
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m.cancel = cancel
	saving, stopSaving := context.WithCancel(context.Background())
	var saver sync.WaitGroup
	saver.Go(func() { m.keepSaving(saving) })
	for _, c := range m.streams {
		c.begin(work)
	}
	m.workers.Wait()
	stopSaving()
	saver.Wait()
	err := context.Cause(work)
	m.opts.State.dirty()
	if e := m.opts.State.save(m.opts.Failpoint); e != nil && !errors.Is(err, e) {
		err = errors.Join(err, e)
	}
	return err
}

// keepSaving saves what pipelines have checkpointed without need for an intent.
func (m *Mirror) keepSaving(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := m.opts.State.save(m.opts.Failpoint); err != nil {
				m.fail(err)
			}
		}
	}
}

// fail ends the run with an error.
func (m *Mirror) fail(err error) { m.cancel(err) }

// pause waits, or gives ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// patience spaces tries, and ends them when nothing has gone well for an outage.
type patience struct {
	since time.Time
	next  time.Duration
}

// well forgets what went wrong.
func (p *patience) well() { *p = patience{} }

// again waits before another try after err; it gives err back once an outage has passed.
func (p *patience) again(ctx context.Context, err error) error {
	if p.since.IsZero() {
		p.since, p.next = time.Now(), firstPause
	}
	if time.Since(p.since) > outage {
		return fault.New(fault.KindOf(err), "mirror", "", "given up after %v: %w", outage, err)
	}
	d := p.next
	p.next = min(2*p.next, maxPause)
	return pause(ctx, d)
}

// passing reports whether the same call may succeed later.
func passing(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Throttled, fault.LimitExceeded, fault.InUse, fault.Internal:
		return true
	}
	return false
}
