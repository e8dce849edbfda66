// Package kinesis is the stream.Backend whose streams live in Amazon Kinesis Data
// Streams. It is one file per concern:
//
//	Append ── gatherer, one a stream ── PutRecords, a few in flight    append.go, gather.go
//	Read, Wait, Tip ── reader, one a shard ── GetRecords ── cache      read.go, reader.go, cache.go
//	Create, Delete, Update, Reshard ── the service's own calls         control.go
//	Stream, Streams ── view ◂── keeper: List, Describe, ListShards     view.go, keeper.go
//
// What it promises beyond the contract:
//
//   - A put is sent once. The SDK does not retry; an answer that did not come is Unavailable, and only what the
//     service itself reports as failed (or a request of which not one byte left) is sent again, within the caller's
//     deadline. Throttling is passed on.
//   - Entries of one call that go to one shard keep their order: an entry that failed is not sent again once a later
//     one of its call is in the same shard; it is Unavailable then. Between callers there is no order, as on the service.
//   - Sequence numbers are the service's. A place is a number or, at the tip of an idle shard, a moment (stream.Since).
//   - Descriptions are as old as RefreshInterval at most; a stream that changes is followed until it is ACTIVE.
//   - Records are read by polling: Wait asks every PollInterval and calls keep to ReadsPerSecond for each shard.
//
// Hidden streams (Direct PUT) are in another backend, Options.Hidden: the service's name space is not ours to litter.
//
// Left out: enhanced fan-out; the records within records of the KPL's aggregation, which pass through as they are;
// streams of other accounts.
package kinesis

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"golang.org/x/sync/semaphore"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Options say where the service is and how it is used. Region is required; zero values mean the default.
type Options struct {
	Region   string // "eu-central-1"
	Endpoint string // "http://127.0.0.1:4566"; "": the service's own in Region
	// AccessKeyID and SecretAccessKey sign the calls, with SessionToken when it is set. Without them the SDK's chain
	// finds credentials: environment, shared files, web identity, container, instance.
	AccessKeyID, SecretAccessKey, SessionToken string

	// Hidden keeps the hidden streams; Close closes it too. Nil: hidden streams can't be made, as nodes that deliver together
	// have no log that all of them can read.
	Hidden stream.Backend
	Now    func() time.Time // default time.Now
	Log    *slog.Logger     // default: discard

	// Linger is how long a put waits for others while one is in flight; default 5 ms. None waits when none is.
	Linger time.Duration
	// MaxPutBytes bounds what is gathered into one PutRecords; default 5 MiB, which endpoints took before they took
	// 10 MiB. A single record that is larger goes alone.
	MaxPutBytes int
	// PutsInFlight bounds the PutRecords of one stream under way; default 8.
	PutsInFlight int
	// PutTimeout ends a PutRecords; default 10 s. Callers whose deadline is earlier do not wait for it.
	PutTimeout time.Duration
	// PutMemory bounds the bytes of entries that wait or are in flight, of all streams; default 64 MiB. As JSON they
	// take up to three times as much.
	PutMemory int64

	// ReadsPerSecond bounds the GetRecords of one shard; default 5, the service's limit for all readers of a shard
	// together: leave some to others by saying less. Negative: no bound.
	ReadsPerSecond float64
	// PollInterval is how often Wait asks a shard at its tip; default 1 s.
	PollInterval time.Duration
	// ReadMemory bounds the records that are kept for readers, of all shards; default 64 MiB.
	ReadMemory int64

	// RefreshInterval is how often streams are listed; default 10 s. Each is described at every sixth listing, or when
	// the list shows that it changed.
	RefreshInterval time.Duration
	// FollowInterval is how often a stream that is not ACTIVE is described; default 1 s.
	FollowInterval time.Duration
	// Unpaced lifts the rates that calls of the control plane keep to. For endpoints that have none.
	Unpaced bool
}

// Rates of the control plane; the service's limits for an account are in brackets, and other programs need some too.
const (
	describesPerSecond = 10 // DescribeStreamSummary [20]
	listsPerSecond     = 2  // ListStreams [5]
	tagsPerSecond      = 2  // ListTagsForStream [5]

	controlTimeout = 10 * time.Second // of one call
	readTimeout    = 20 * time.Second // of one GetRecords, up to 10 MiB
	// readsInFlight bounds the GetRecords of all shards under way. An answer is about readAhead and at most 10 MiB; in
	// the worst case, while it is decoded, 25 MiB.
	readsInFlight = 8
)

func (o *Options) fill() error {
	if o.Region == "" {
		return fault.New(fault.Invalid, "kinesis.Open", "", "Region is required")
	}
	if (o.AccessKeyID == "") != (o.SecretAccessKey == "") {
		return fault.New(fault.Invalid, "kinesis.Open", "", "AccessKeyID and SecretAccessKey go together")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Linger = cmp.Or(o.Linger, 5*time.Millisecond)
	o.MaxPutBytes = cmp.Or(o.MaxPutBytes, 5<<20)
	o.PutsInFlight = cmp.Or(o.PutsInFlight, 8)
	o.PutTimeout = cmp.Or(o.PutTimeout, 10*time.Second)
	o.PutMemory = cmp.Or(o.PutMemory, 64<<20)
	o.ReadsPerSecond = cmp.Or(o.ReadsPerSecond, 5)
	o.PollInterval = cmp.Or(o.PollInterval, time.Second)
	o.ReadMemory = cmp.Or(o.ReadMemory, 64<<20)
	o.RefreshInterval = cmp.Or(o.RefreshInterval, 10*time.Second)
	o.FollowInterval = cmp.Or(o.FollowInterval, time.Second)
	return nil
}

// Backend is a stream.Backend. It is safe for concurrent use.
type Backend struct {
	opts   Options
	client *sdk.Client
	http   *transport
	clock  serverClock
	hidden stream.Backend

	view   atomic.Pointer[view]
	keeper keeper

	gatherers sync.Map // name -> *gatherer
	memory    *semaphore.Weighted
	senders   sync.WaitGroup

	cache     cache
	readers   readers
	readSlots *semaphore.Weighted

	health health

	// base ends with Close; life guards closed, so that no append begins once Close waits for those under way.
	base    context.Context
	stop    context.CancelFunc
	life    sync.RWMutex
	closed  bool
	closing chan struct{}
	appends sync.WaitGroup
	own     sync.WaitGroup // the keeper
}

// Open reads the descriptions of all streams, so that none is missing at start: with hundreds of streams that takes
// tens of seconds at the rates that the service allows. Errors: what the service says, with its kind.
func Open(ctx context.Context, o Options) (*Backend, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	b := &Backend{
		opts: o, hidden: o.Hidden, closing: make(chan struct{}),
		memory:    semaphore.NewWeighted(o.PutMemory),
		readSlots: semaphore.NewWeighted(readsInFlight),
	}
	b.base, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	b.cache.limit = o.ReadMemory
	b.readers.byRef = map[stream.ShardRef]*reader{}
	b.view.Store(newView(nil))
	b.keeper.init(o.Unpaced)
	if err := b.connect(ctx); err != nil {
		return nil, err
	}
	if err := b.load(ctx); err != nil {
		b.stop()
		b.http.close()
		return nil, err
	}
	b.own.Go(b.keep)
	return b, nil
}

// Capabilities: numbers are the service's, retention is the service's.
func (b *Backend) Capabilities() stream.Capabilities {
	return stream.Capabilities{ForeignNumbers: true, OrderedCalls: true}
}

// enter counts a call that Close waits for; false: the backend is closed.
func (b *Backend) enter() bool {
	b.life.RLock()
	defer b.life.RUnlock()
	if b.closed {
		return false
	}
	b.appends.Add(1)
	return true
}

// Close finishes appends and puts in flight as far as ctx lets it, ends all else, and closes the hidden backend.
func (b *Backend) Close(ctx context.Context) error {
	b.life.Lock()
	if b.closed {
		b.life.Unlock()
		return nil
	}
	b.closed = true
	close(b.closing)
	b.life.Unlock()

	done := make(chan struct{})
	go func() { // Close itself waits for it, below
		defer close(done)
		b.appends.Wait()
		b.senders.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	b.stop()
	<-done
	b.own.Wait()
	b.http.close()
	if b.hidden != nil {
		return b.hidden.Close(ctx)
	}
	return nil
}

// health remembers the last look at the service, so that many who ask cost one call.
type health struct {
	mu    sync.Mutex
	at    time.Time
	known error
}

const (
	healthAge     = 5 * time.Second
	healthTimeout = 3 * time.Second
)

// Healthy asks the service for the first of its streams, at most every healthAge.
func (b *Backend) Healthy(ctx context.Context) error {
	if b.isClosed() {
		return errClosed("kinesis.Healthy", "")
	}
	if b.hidden != nil {
		if err := b.hidden.Healthy(ctx); err != nil {
			return err
		}
	}
	b.health.mu.Lock()
	defer b.health.mu.Unlock()
	if !b.health.at.IsZero() && time.Since(b.health.at) < healthAge {
		return b.health.known
	}
	limited, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	_, err := b.client.ListStreams(limited, &sdk.ListStreamsInput{Limit: aws.Int32(1)})
	if err != nil {
		err = faultOf("kinesis.Healthy", "", err)
		if fault.Is(err, fault.Throttled) || fault.Is(err, fault.LimitExceeded) {
			err = nil // it answers
		}
	}
	if ctx.Err() == nil { // else the caller's haste tells nothing about the service
		b.health.at, b.health.known = time.Now(), err
	}
	return err
}

func (b *Backend) isClosed() bool {
	select {
	case <-b.closing:
		return true
	default:
		return false
	}
}

func errClosed(op, resource string) error {
	return fault.New(fault.Unavailable, op, resource, "the backend is closed")
}

// isHidden reports whether a stream is the hidden backend's.
func isHidden(name string) bool { return (&stream.Stream{Name: name}).Hidden() }

// errNoHidden is said of hidden streams when nothing keeps them.
func errNoHidden(op, name string) error {
	return fault.New(fault.NotFound, op, name, "hidden streams are not kept here")
}

// Hold is the hidden backend's: the service trims by retention alone.
func (b *Backend) Hold(holder string, shard stream.ShardRef, from stream.SequenceNumber) {
	if b.hidden != nil && isHidden(shard.Stream) {
		b.hidden.Hold(holder, shard, from)
	}
}

// Release drops all holds of a holder.
func (b *Backend) Release(holder string) {
	if b.hidden != nil {
		b.hidden.Release(holder)
	}
}

// StartTrimming begins to trim hidden streams.
func (b *Backend) StartTrimming() {
	if b.hidden != nil {
		b.hidden.StartTrimming()
	}
}
