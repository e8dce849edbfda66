package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"millrace/internal/fault"
)

// gauges are what a worker shows of itself without a lock.
type gauges struct {
	bufferedRecords atomic.Int64
	bufferedBytes   atomic.Int64
	bufferedSince   atomic.Int64 // arrival of the oldest, milliseconds; 0: none
}

// buffered shows what is gathered, and what a function has; either may be nil.
func (g *gauges) buffered(b *gathering, r *round) {
	if b == nil {
		g.bufferedRecords.Store(0)
		g.bufferedBytes.Store(0)
		g.bufferedSince.Store(0)
		return
	}
	records, since := b.records+b.expired+b.dropped, b.oldest()
	if r != nil && !r.empty() {
		records += r.records
		if since == 0 {
			since = r.oldest
		}
	}
	g.bufferedRecords.Store(records)
	g.bufferedBytes.Store(b.bytes)
	g.bufferedSince.Store(since)
}

// Metrics is a snapshot of the engine.
type Metrics struct {
	BufferBytes       int64 // in memory, of all buffers and of what waits to be encoded
	BufferBudgetBytes int64
	SpoolBytes        int64 // in files
	SpoolBoundBytes   int64
	PutsRunning       int // into buckets
	PutSlots          int
	DeliveryStreams   []DeliveryMetrics
}

// DeliveryMetrics are those of one delivery stream, as far as this node owns its shards: those of all nodes add up to the
// whole, and a node's own fall when it gives shards to another.
type DeliveryMetrics struct {
	Name   string
	Bucket string

	DeliveredRecords    int64 // since the delivery stream was made, as are those down to DiscardedRecords
	DeliveredBytes      int64 // of outputs, before delimiter and compression
	Outputs             int64 // what the delivered records have become
	Objects             int64
	DeadLetteredRecords int64
	ErrorObjects        int64
	DroppedRecords      int64
	ExpiredRecords      int64
	DiscardedRecords    int64

	StepMetrics

	LagRecords       int64   // accepted and not delivered; dense sources only
	LagSeconds       float64 // age of the oldest record that was read and is not delivered
	BufferedRecords  int64
	BufferedBytes    int64
	Manifests        int // planned and not committed
	ManifestsBound   int
	Failures         int64 // steps that failed and were or will be tried again, since the process started
	FailuresInARow   int64
	PutErrors        int64  // those of Failures that came from the bucket's store
	Trouble          string // the latest error; empty: all is well
	TroubleSince     time.Time
	ShardsFollowed   int
	ShardsBeingRead  int
	ShardsFencedAway int
}

// Metrics gives a snapshot.
func (e *Engine) Metrics(ctx context.Context) Metrics {
	m := Metrics{BufferBytes: e.budget.used.Load(), BufferBudgetBytes: e.budget.total, SpoolBytes: e.spools.Used(), SpoolBoundBytes: e.spools.bound, PutSlots: putSlots}
	e.putter.mu.Lock()
	m.PutsRunning = e.putter.running
	e.putter.mu.Unlock()
	for _, d := range e.deliveries() {
		m.DeliveryStreams = append(m.DeliveryStreams, d.metrics(ctx))
	}
	return m
}

func (d *delivery) metrics(ctx context.Context) DeliveryMetrics {
	ledger, _ := d.ownLedger(ctx)
	m := DeliveryMetrics{Name: d.name, Bucket: d.definition.Load().Bucket(),
		DeliveredRecords: ledger.Delivered, DeliveredBytes: ledger.DeliveredBytes, Objects: ledger.Objects,
		ExpiredRecords: ledger.Expired, DiscardedRecords: ledger.Discarded, LagRecords: ledger.InFlight,
		Outputs: ledger.Outputs, DeadLetteredRecords: ledger.DeadLettered, ErrorObjects: ledger.ErrorObjects, DroppedRecords: ledger.Dropped,
		StepMetrics: d.stepMetrics()}
	d.mu.Lock()
	m.Failures, m.FailuresInARow = d.trouble.Total, d.trouble.Failures
	m.PutErrors = d.trouble.PutErrors
	m.Trouble, m.TroubleSince = d.trouble.Error, d.trouble.Since
	d.mu.Unlock()
	var oldest time.Time
	for _, s := range d.list() {
		m.ShardsFollowed++
		m.BufferedRecords += s.gauges.bufferedRecords.Load()
		m.BufferedBytes += s.gauges.bufferedBytes.Load()
		s.mu.Lock()
		m.Manifests += len(s.outstanding)
		m.Staged += s.staged()
		if !s.row.Done {
			m.ShardsBeingRead++
		}
		if s.fenced != nil {
			m.ShardsFencedAway++
		}
		s.mu.Unlock()
		if at := s.oldest(); !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	m.ManifestsBound = maxOutstanding * m.ShardsFollowed
	if !oldest.IsZero() {
		m.LagSeconds = max(0, d.engine.opts.Now().Sub(oldest).Seconds())
	}
	return m
}

// oldest gives the arrival of the oldest record that was read and is not delivered.
func (s *shard) oldest() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest time.Time
	if ms := s.gauges.bufferedSince.Load(); ms != 0 {
		oldest = time.UnixMilli(ms)
	}
	for _, t := range s.outstanding {
		for i := range t.manifest.Parts {
			if p := &t.manifest.Parts[i]; oldest.IsZero() || p.Stamp.Before(oldest) {
				oldest = p.Stamp
			}
		}
	}
	return oldest
}

// Trouble tells what is held up: the delivery streams whose latest step failed. A nil map: all is well.
func (e *Engine) Trouble() map[string]Trouble {
	var all map[string]Trouble
	for _, d := range e.deliveries() {
		d.mu.Lock()
		t := d.trouble
		d.mu.Unlock()
		for _, s := range d.list() {
			s.mu.Lock()
			if s.fenced != nil {
				t.Failures, t.Error = max(t.Failures, 1), s.fenced.Error()
			}
			s.mu.Unlock()
		}
		if late := d.late(); late != "" {
			t.Error = strings.TrimSuffix(late+": "+t.Error, ": ")
		}
		d.addConditions(&t)
		if t.Error == "" {
			continue
		}
		if all == nil {
			all = map[string]Trouble{}
		}
		all[d.name] = t
	}
	return all
}

// late warns of records that the source may drop before they are delivered, when it is one that nobody can hold; empty:
// there are none.
func (d *delivery) late() string {
	if d.capabilities().Holds {
		return ""
	}
	st, ok := d.engine.opts.Source.Stream(d.source)
	if !ok {
		return ""
	}
	now := d.engine.opts.Now()
	for _, s := range d.list() {
		if at := s.oldest(); !at.IsZero() && s.ref.ID == st.ID && now.Sub(at) > st.Retention/2 {
			return fmt.Sprintf("records of %s have waited for %v; the source keeps them for %v", s.ref, now.Sub(at).Round(time.Second), st.Retention)
		}
	}
	return ""
}

// Healthy returns nil when nothing is held up. A bucket that is gone is a warning to show, not a reason to stop taking
// records: what it lacks is kept.
func (e *Engine) Healthy() error {
	trouble := e.Trouble()
	if len(trouble) == 0 {
		return nil
	}
	names := make([]string, 0, len(trouble))
	for name := range trouble {
		names = append(names, name)
	}
	slices.Sort(names)
	first := trouble[names[0]]
	return fault.New(fault.Unavailable, "delivery.Healthy", strings.Join(names, ", "), "held up: %s", first.Error)
}

func sortShards(shards []*shard) {
	slices.SortFunc(shards, func(a, b *shard) int {
		if c := strings.Compare(a.ref.String(), b.ref.String()); c != 0 {
			return c
		}
		return strings.Compare(a.ref.ID, b.ref.ID)
	})
}
