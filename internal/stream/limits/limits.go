// Package limits applies the throughput limits of Kinesis Data Streams to a
// backend, for those who ask for the service's own behaviour (--aws-exact=limits):
// producers and consumers are throttled here before they are in production.
//
//	Append    a shard takes 1000 records and 1 MiB a second; beyond it entries fail one by one as Throttled
//	Read      a shard gives 2 MiB and answers 5 calls a second to all polling consumers together; beyond it Throttled
//	          to a registered consumer (ReadRequest.Consumer) a shard gives 2 MiB a second of its own, in any number of calls
//	Delivery  reads of delivery streams count against the shard, and are never refused
//	Grow      on-demand streams split the shards that are more than half busy
//
// A bucket of tokens holds what one second brings. It goes into debt for a record
// or an answer that is larger than that, and what comes next waits the debt off: a
// record of 10 MiB closes its shard to writers for nine seconds or so, an answer of
// 10 MiB closes it to readers for five.
//
// Of the entries of one call, whoever follows a throttled one into its shard is
// throttled too. The service promises no such thing, but the backends do
// (Capabilities.OrderedFailures), and a key's records stay in order.
//
// The limits are this process's: of several nodes before one engine each lets
// pass what the service lets pass in all. Tokens are not kept over a restart.
package limits

import (
	"log/slog"
	"sync"
	"time"

	"millrace/internal/stream"
)

// Of each shard, per second. Source: Kinesis Data Streams developer guide, quotas and limits.
const (
	writeRecords = 1000
	writeBytes   = 1 << 20 // data and partition keys
	readBytes    = 2 << 20
	readCalls    = 5
	ownBytes     = 2 << 20 // for each registered consumer
)

// InForce says in a line what the limits are, for the operator.
const InForce = "the service's, on this node: a shard takes 1 MiB and 1000 records a second and gives 2 MiB in 5 calls, " +
	"calls of the control plane have their rates, on-demand streams grow"

// Options of a [Backend]. All are required, but Log.
type Options struct {
	Backend stream.Backend
	Account string // the 12 digits that the texts of errors name
	Now     func() time.Time
	Log     *slog.Logger // default: discard
}

// Backend is a stream.Backend with limits.
type Backend struct {
	stream.Backend
	opts Options

	mu      sync.RWMutex
	streams map[string]*state // of streams that exist, or have existed when the last one was added
	calls   sync.Pool         // of *call
}

// Of puts limits before a backend.
func Of(o Options) *Backend {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Backend{Backend: o.Backend, opts: o, streams: map[string]*state{}, calls: sync.Pool{New: func() any { return new(call) }}}
}

// Throttled counts what was refused on one stream since the process started, and what it led to.
type Throttled struct {
	Stream string
	// Records of writers, by the limit that refused them: of records or of bytes a second.
	ForRecords, ForBytes int64
	// Calls of readers, by the limit that refused them: of calls or of bytes a second.
	ReadsForCalls, ReadsForBytes int64
	// Splits is how many shards were split because they were more than half busy.
	Splits int64
}

// Throttled tells of every stream that exists and has been used.
func (b *Backend) Throttled() []Throttled {
	var all []Throttled
	for _, def := range b.Streams() {
		b.mu.RLock()
		s := b.streams[def.Name]
		b.mu.RUnlock()
		if s == nil || s.id != def.ID {
			continue
		}
		s.mu.Lock()
		t := s.throttled
		s.mu.Unlock()
		t.Stream = def.Name
		all = append(all, t)
	}
	return all
}

// of gives the state of a stream's present incarnation, locked and up to date with its description.
func (b *Backend) of(def *stream.Stream) *state {
	b.mu.RLock()
	s := b.streams[def.Name]
	b.mu.RUnlock()
	if s == nil || s.id != def.ID {
		s = b.begin(def)
	}
	s.mu.Lock()
	if s.def != def {
		s.follow(def, b.opts.Account, b.opts.Now())
	}
	return s
}

// begin adds the state of a stream, and forgets those whose streams have gone: no more is kept than there are streams.
func (b *Backend) begin(def *stream.Stream) *state {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.streams[def.Name]; s != nil && s.id == def.ID {
		return s
	}
	for name, s := range b.streams {
		if st, ok := b.Stream(name); !ok || st.ID != s.id {
			delete(b.streams, name)
		}
	}
	s := &state{id: def.ID, shards: map[uint32]*shard{}}
	b.streams[def.Name] = s
	return s
}
