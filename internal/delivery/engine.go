package delivery

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// Engine runs the delivery streams of a node. It is safe for concurrent use.
type Engine struct {
	opts   Options
	writer string // names this process in the journal
	slots  int    // of the journal
	// landed is the journal's index; nil: what has landed is kept in rows.
	landed journal.Index

	budget     budget
	spools     spools
	pools      encoderPools
	encoders   chan struct{}       // tokens of encoders that run
	stagers    chan struct{}       // tokens of objects that are staged
	writers    chan struct{}       // tokens of Parquet files that are written
	parts      chan struct{}       // tokens of what is put beside the first of each task
	httpMemory *semaphore.Weighted // of the bodies of requests to endpoints
	batches    batchPool
	putter     *putter
	supervisor *supervisor

	ctx      context.Context
	cancel   context.CancelFunc
	own      sync.WaitGroup // the supervisor, and what waits for work that was let go
	unfollow func()

	// control serializes Start and Close.
	control sync.Mutex
	started atomic.Bool
	closed  atomic.Bool

	// creating is held for reading while a delivery stream is made: what has no definition yet is not swept meanwhile.
	creating sync.RWMutex

	// reconciling is held while the set of delivery streams is brought to what the definitions say.
	reconciling sync.Mutex

	mu     sync.RWMutex
	byName map[string]*delivery
	ended  []*delivery // deleted; what still runs of them is to be waited for
	owned  []bool      // by slot
	gains  int         // counts the calls of Gained
}

// New makes an engine. It does nothing until Start.
func New(opts Options) (*Engine, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	slots := opts.Journal.Slots()
	e := &Engine{
		opts: opts, writer: opts.IDs.String(ids.LowerAlnum, 16),
		slots: slots, owned: make([]bool, slots),
		encoders: make(chan struct{}, opts.Encoders), byName: map[string]*delivery{},
	}
	e.landed, _ = opts.Journal.(journal.Index)
	e.httpMemory = semaphore.NewWeighted(httpMemory)
	e.stagers = make(chan struct{}, stagers)
	e.writers = make(chan struct{}, opts.Encoders+spareWriters)
	e.parts = make(chan struct{}, partSlots)
	e.pools.stage.New = func() any { return new([stagePartBytes]byte) }
	e.budget.total = opts.BufferBudget
	e.spools.dir, e.spools.bound, e.spools.low, e.spools.now = opts.SpoolDir, MaxSpoolBytes, opts.LowSpace, opts.Now
	e.batches.tokens = make(chan struct{}, readSlots)
	e.putter = newPutter(e)
	e.supervisor = newSupervisor(e)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e, nil
}

// group reports whether other nodes may own slots.
func (e *Engine) group() bool { return e.slots > 1 }

// Start takes up where the last process stopped. A node that is alone holds what is undelivered (all holds are registered
// when it returns, so that trimming may begin), finishes what is planned, then reads on. A node of a group does so as it
// gains slots. Start does not wait for any bucket.
func (e *Engine) Start(ctx context.Context) error {
	e.control.Lock()
	defer e.control.Unlock()
	if e.started.Load() || e.closed.Load() {
		return fault.New(fault.Internal, "delivery.Start", "", "started or closed before")
	}
	e.opts.Failpoint("recover-before")
	if err := e.start(ctx); err != nil {
		e.shut(context.WithoutCancel(ctx))
		return err
	}
	e.started.Store(true)
	e.own.Go(func() { e.supervisor.run(e.ctx) })
	e.opts.Failpoint("recover-after")
	planned := 0
	for _, d := range e.deliveries() {
		planned += d.planned()
	}
	e.opts.Log.Info("delivery started", "deliveryStreams", len(e.deliveries()), "manifestsToFinish", planned)
	return nil
}

func (e *Engine) start(ctx context.Context) error {
	e.unfollow = e.opts.Definitions.Follow(e.definitionsChanged)
	if err := e.reconcile(ctx); err != nil {
		return err
	}
	if err := e.opts.Journal.Join(ctx, member{e}); err != nil {
		return err
	}
	for _, d := range e.deliveries() {
		// Shards that came while the process was away are held before trimming begins, too.
		err := d.supervise(ctx)
		if err != nil && d.isDeleting() {
			e.opts.Log.Error("a deletion could not be finished yet; it is tried again", "deliveryStream", d.name, "error", err)
			err = nil
		}
		if err != nil {
			return err
		}
	}
	if err := e.reconcile(ctx); err != nil {
		return err
	}
	e.bury()
	_, err := e.sweep(ctx)
	return err
}

// definitionsChanged is told of every change of a definition, by whatever node.
func (e *Engine) definitionsChanged() {
	if err := e.reconcile(e.ctx); err != nil && !e.closed.Load() {
		e.opts.Log.Error("the definitions of delivery streams can't be read; the last known ones stay in use", "error", err)
	}
	e.supervisor.sweepSoon()
}

// reconcile brings the set of delivery streams to what the definitions say. It does no I/O and waits for nothing: what
// has to end is told to, and buried later.
func (e *Engine) reconcile(ctx context.Context) error {
	e.reconciling.Lock()
	defer e.reconciling.Unlock()
	if e.closed.Load() {
		return nil
	}
	defs, err := e.opts.Definitions.All(ctx)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, def := range defs {
		for _, id := range def.definitionIDs() {
			known[id] = true
		}
	}
	for _, d := range e.deliveries() {
		if !known[d.id] {
			e.end(d)
		}
	}
	for _, def := range defs {
		if err := e.adopt(def, def); err != nil {
			return err
		}
		if b := def.backup(); b != nil {
			if err := e.adopt(b, def); err != nil {
				return err
			}
		}
	}
	return nil
}

// adopt puts a definition to use, which is from, or was made of it.
func (e *Engine) adopt(def, from *Definition) error {
	e.mu.RLock()
	d := e.byName[def.deliveryName()]
	e.mu.RUnlock()
	switch {
	case d == nil:
		var err error
		if d, err = e.newDelivery(def); err != nil {
			return err
		}
		e.mu.Lock()
		e.byName[d.name] = d
		e.mu.Unlock()
	case d.from == from:
		return nil
	default:
		if err := d.use(def); err != nil {
			return err
		}
	}
	d.from = from
	if d.isDeleting() {
		d.cancel()
	}
	e.supervisor.kick()
	return nil
}

// end drops a delivery stream whose definition is gone.
func (e *Engine) end(d *delivery) {
	d.cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.byName, d.name)
	e.ended = append(e.ended, d)
}

// bury waits for what still runs of ended delivery streams.
func (e *Engine) bury() {
	e.mu.Lock()
	ended := e.ended
	e.ended = nil
	e.mu.Unlock()
	for _, d := range ended {
		d.halt()
		e.opts.Source.Release(d.holder())
	}
}

// member is the engine as the journal sees it.
type member struct{ e *Engine }

// Gained notes that the slots are ours. The supervisor takes what is in them.
func (m member) Gained(slots []int) {
	m.e.mu.Lock()
	for _, slot := range slots {
		m.e.owned[slot] = true
	}
	m.e.gains++
	m.e.mu.Unlock()
	m.e.supervisor.sweepSoon()
	m.e.supervisor.kick()
}

// Lost lets go of all that lies in the slots.
func (m member) Lost(slots []int) {
	m.e.mu.Lock()
	for _, slot := range slots {
		m.e.owned[slot] = false
	}
	m.e.mu.Unlock()
	lost := map[int]bool{}
	for _, slot := range slots {
		lost[slot] = true
	}
	m.e.letGo(lost)
}

// letGo stops all work on slots, waits for it within letGoTimeout, and forgets it.
func (e *Engine) letGo(slots map[int]bool) {
	all := e.deliveries()
	for _, d := range all {
		d.stop(slots)
	}
	gone := make(chan struct{})
	e.own.Go(func() {
		defer close(gone)
		for _, d := range all {
			d.letGo(slots)
		}
	})
	timer := time.NewTimer(letGoTimeout)
	defer timer.Stop()
	select {
	case <-gone:
	case <-timer.C:
		e.opts.Log.Warn("what was told to stop on lost slots still runs; the journal refuses what it writes", "slots", len(slots))
	}
}

// owns reports whether a slot is ours now.
func (e *Engine) owns(slot int) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.owned[slot]
}

// ownsAll reports whether no other node owns anything.
func (e *Engine) ownsAll() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return !slices.Contains(e.owned, false)
}

// Close stops: workers plan what they have buffered, planned objects are put as far as that goes within ctx and
// drainTimeout, and the rest is finished by the next process, or by the others of the group. Nothing is lost either way.
func (e *Engine) Close(ctx context.Context) error {
	e.control.Lock()
	defer e.control.Unlock()
	if e.closed.Load() {
		return nil
	}
	return e.shut(ctx)
}

func (e *Engine) shut(ctx context.Context) error {
	e.closed.Store(true)
	if e.unfollow != nil {
		e.unfollow()
	}
	e.reconciling.Lock() // no delivery stream is added from here on
	all := e.deliveries()
	e.reconciling.Unlock()
	for _, d := range all {
		d.rest()
	}
	drain, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	stopped := make(chan struct{})
	go func() { // shut itself waits for it, below
		defer close(stopped)
		for _, d := range all {
			d.settled()
			d.waitForWorkers()
		}
	}()
	select {
	case <-stopped:
		e.putter.drain(drain)
	case <-drain.Done():
	}
	e.cancel()
	<-stopped
	e.putter.stop()
	err := e.opts.Journal.Leave(ctx)
	e.own.Wait()
	return err
}

// deliveries gives all delivery streams in the order of their names.
func (e *Engine) deliveries() []*delivery {
	e.mu.RLock()
	all := make([]*delivery, 0, len(e.byName))
	for _, d := range e.byName {
		all = append(all, d)
	}
	e.mu.RUnlock()
	slices.SortFunc(all, func(a, b *delivery) int { return strings.Compare(a.name, b.name) })
	return all
}

// named gives a delivery stream, or a backup within one; nil: there is none.
func (e *Engine) named(name string) *delivery {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.byName[name]
}

// find gives a delivery stream, or the service's error. Backups are not found: they are no delivery streams to callers.
func (e *Engine) find(op, name string) (*delivery, error) {
	d := e.named(name)
	if d == nil || d.isBackup() {
		return nil, e.notFound(op, name)
	}
	return d, nil
}

// batchPool hands out a bounded number of batches.
type batchPool struct {
	tokens chan struct{}
	free   sync.Pool
}

func (p *batchPool) take(ctx context.Context) (*stream.Batch, error) {
	select {
	case p.tokens <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b, ok := p.free.Get().(*stream.Batch); ok {
		return b, nil
	}
	return new(stream.Batch), nil
}

func (p *batchPool) give(b *stream.Batch) {
	p.free.Put(b)
	<-p.tokens
}
