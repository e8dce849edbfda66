package delivery

import (
	"context"
	"slices"
	"strings"
	"sync"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// Engine runs the delivery streams of a node. It is safe for concurrent use.
type Engine struct {
	opts   Options
	writer string // names this process in the journal
	dense  bool

	budget     budget
	pools      encoderPools
	encoders   chan struct{} // tokens of encoders that run
	batches    batchPool
	putter     *putter
	supervisor *supervisor

	ctx    context.Context
	cancel context.CancelFunc
	own    sync.WaitGroup // the supervisor

	// control serializes what changes the set of delivery streams or a definition.
	control sync.Mutex
	started bool
	closed  bool

	mu     sync.RWMutex
	byName map[string]*delivery
}

// New makes an engine. It does nothing until Start.
func New(opts Options) (*Engine, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	e := &Engine{
		opts: opts, writer: opts.IDs.String(ids.LowerAlnum, 16), dense: opts.Source.Capabilities().DensePositions,
		encoders: make(chan struct{}, opts.Encoders), byName: map[string]*delivery{},
	}
	e.budget.total = opts.BufferBudget
	e.batches.tokens = make(chan struct{}, readSlots)
	e.putter = newPutter(e)
	e.supervisor = &supervisor{e: e, woken: make(chan struct{}, 1)}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e, nil
}

// Start takes up where the last process stopped: it holds what is undelivered (all holds are registered when it
// returns, so that trimming may begin), finishes what is planned, then reads on. It does not wait for any bucket.
func (e *Engine) Start(ctx context.Context) error {
	e.control.Lock()
	defer e.control.Unlock()
	if e.started || e.closed {
		return fault.New(fault.Internal, "delivery.Start", "", "started or closed before")
	}
	e.opts.Failpoint("recover-before")
	defs, err := e.opts.Definitions.All(ctx)
	if err != nil {
		return err
	}
	planned := 0
	for _, def := range defs {
		d, err := e.restore(ctx, def)
		if err != nil {
			return err
		}
		if def.Status == Deleting {
			if err := e.finishDelete(ctx, d, def); err != nil {
				e.opts.Log.Error("a deletion could not be finished; delete again", "deliveryStream", def.Name, "error", err)
				d.closed = true
				d.cancel()
				e.add(d)
			}
			continue
		}
		// Shards that came while the process was away must be held before trimming begins.
		if st, ok := e.opts.Source.Stream(def.SourceStream()); ok {
			if err := d.discover(ctx, st); err != nil {
				return err
			}
		}
		e.add(d)
		planned += d.resume()
	}
	if err := e.sweep(ctx, defs); err != nil {
		return err
	}
	e.started = true
	e.own.Add(1)
	go func() {
		defer e.own.Done()
		e.supervisor.run(e.ctx)
	}()
	e.opts.Failpoint("recover-after")
	e.opts.Log.Info("delivery started", "deliveryStreams", len(e.byName), "manifestsToFinish", planned)
	return nil
}

func (e *Engine) restore(ctx context.Context, def *Definition) (*delivery, error) {
	rows, manifests, err := e.opts.Journal.Load(ctx, def.ID)
	if err != nil {
		return nil, err
	}
	d, err := e.newDelivery(def)
	if err != nil {
		return nil, err
	}
	d.restore(rows, manifests)
	return d, nil
}

// sweep removes what a creation left behind that a crash cut off before anybody was told of it: rows, and an empty hidden
// stream. A hidden stream that holds records is never removed; it is reported.
func (e *Engine) sweep(ctx context.Context, defs []*Definition) error {
	known, streams := map[string]bool{}, map[string]bool{}
	for _, def := range defs {
		known[def.ID] = true
		streams[def.SourceStream()] = true
	}
	idsOfRows, err := e.opts.Journal.Deliveries(ctx)
	if err != nil {
		return err
	}
	for _, st := range e.opts.Source.Streams() {
		if !st.Hidden() || streams[st.Name] {
			continue
		}
		if !e.emptyStream(ctx, st) {
			e.opts.Log.Error("a hidden stream holds records of no delivery stream; it is kept", "stream", st.Name)
			known[st.Name[strings.LastIndexByte(st.Name, '.')+1:]] = true
			continue
		}
		if err := e.opts.Source.DeleteStream(ctx, st.Name); err != nil {
			return err
		}
	}
	for _, id := range idsOfRows {
		if known[id] {
			continue
		}
		if err := e.discardRows(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// discardRows removes rows that no definition owns, unless they have counted something: then they are reported.
func (e *Engine) discardRows(ctx context.Context, id string) error {
	rows, manifests, err := e.opts.Journal.Load(ctx, id)
	if err != nil {
		return err
	}
	for i := range rows {
		if len(manifests) > 0 || rows[i].Counts.Settled() > 0 {
			e.opts.Log.Error("the journal holds rows of no delivery stream; they are kept", "id", id)
			return nil
		}
	}
	return e.opts.Journal.Forget(ctx, id)
}

func (e *Engine) emptyStream(ctx context.Context, st *stream.Stream) bool {
	for i := range st.Shards {
		tip, err := e.opts.Source.Tip(ctx, stream.ShardRef{Stream: st.Name, ID: st.ID, Shard: st.Shards[i].Index})
		if err != nil || st.Shards[i].First.Before(tip) {
			return false
		}
	}
	return true
}

// Close stops: workers plan what they have buffered, planned objects are put as far as that goes within ctx and
// drainTimeout, and the rest is finished by the next process. Nothing is lost either way.
func (e *Engine) Close(ctx context.Context) error {
	e.control.Lock()
	defer e.control.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	all := e.deliveries()
	for _, d := range all {
		d.rest()
	}
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	stopped := make(chan struct{})
	go func() { // Close itself waits for it, below
		defer close(stopped)
		for _, d := range all {
			d.settled()
			d.workers.Wait()
		}
	}()
	select {
	case <-stopped:
		e.putter.drain(ctx)
	case <-ctx.Done():
	}
	e.cancel()
	<-stopped
	e.putter.stop()
	e.own.Wait()
	return nil
}

func (e *Engine) add(d *delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.byName[d.name] = d
}

func (e *Engine) remove(d *delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.byName, d.name)
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

// find gives a delivery stream, or the service's error.
func (e *Engine) find(op, name string) (*delivery, error) {
	e.mu.RLock()
	d := e.byName[name]
	e.mu.RUnlock()
	if d == nil {
		return nil, fault.New(fault.NotFound, op, name, "Firehose %s under account %s not found.", name, e.opts.Account.ID)
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
