// Package kafka keeps streams in Apache Kafka, or in anything that speaks its
// protocol: a stream is a topic, a shard is a partition, a position is an offset.
//
//	Append ──> room ──> one idempotent producer, acks=all ──> offset ──> lease ──> results
//	Read   <── cursors <── plain fetches by offset, read_committed, up to a shard's end
//	Wait   <── one long poll a broker for all shards that somebody waits for
//
// What Kafka does not know of a stream (hash key ranges, parents, where a closed
// shard ends) lies in a catalog that all nodes share: see [Catalog]. Every node
// follows it and serves every stream from its own view ([view]).
//
// A success means that all in-sync replicas have the record, and that it lies before
// the end of its shard: an acknowledgement counts only together with a view of the
// catalog that was fresh when it came (lease.go says why that is enough).
//
// [Foreign] is the reading alone, of topics in a cluster that keeps nothing of ours.
//
// The wire: the partition key is the record's key, the data its value, the
// ExplicitHashKey a header, the arrival the time at which the broker appended it.
// Records that others wrote are read the same way; record.go says what becomes of
// keys that no Kinesis client could have sent.
package kafka

import (
	"context"
	"crypto/md5"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/kafka"
	"millrace/internal/stream"
)

// Options of a backend.
type Options struct {
	Settings *kafka.Settings
	Catalog  Catalog
	IDs      *ids.Source
	Now      func() time.Time
	Log      *slog.Logger
	// Adopt names topics that others made, which become streams of the same names.
	Adopt []string
	// Compression of what is produced: "none", "snappy", "lz4", "zstd"; empty: [DefaultCompression].
	Compression string
	// ProduceTimeout is how long an append waits for the brokers; 0: [DefaultProduceTimeout]. Records whose fate is unknown
	// by then are answered as Unavailable, and never produced a second time.
	ProduceTimeout time.Duration
	// AskTimeout bounds reads and control operations that wait for brokers; 0: [DefaultAskTimeout].
	AskTimeout time.Duration
	// Lease is [Lease] but in tests.
	Lease time.Duration
}

// Defaults of Options.
const (
	DefaultProduceTimeout = 20 * time.Second
	DefaultAskTimeout     = 15 * time.Second
)

// Backend is a stream.Backend on Kafka.
type Backend struct {
	opts Options

	// Three clients, because a broker answers the requests of one connection in their order: a produce must not wait
	// behind a fetch, and a fetch not behind a long poll.
	producer *kgo.Client
	reader   *kgo.Client
	poller   *kgo.Client
	adm      *kadm.Client // on reader

	view     atomic.Pointer[view]
	followed chan struct{}            // closed when the catalog has been seen once
	purges   map[string]chan struct{} // by topic; follow's
	unfollow func()

	limits sync.Map // *topic by name; the producer asks

	produced room // bounds what is in flight to brokers
	fetched  room // bounds the answers of fetches
	cursors  cursors
	tails    tails
	drain    drain
	stats    counters

	decompress kgo.Decompressor

	life    context.Context // ends with Close
	end     context.CancelFunc
	closing atomic.Bool
	workers sync.WaitGroup
	appends sync.WaitGroup // guarded by admit
	admit   sync.RWMutex   // Close takes it to let no more appends in
}

var _ stream.Backend = (*Backend)(nil)

// Open connects, follows the catalog and adopts topics. It returns within a bounded time: Denied when the brokers do not
// know us, Unavailable when none can be reached, NotFound when a topic to adopt does not exist.
func Open(ctx context.Context, opts Options) (*Backend, error) {
	const op = "kafka.Open"
	if opts.ProduceTimeout == 0 {
		opts.ProduceTimeout = DefaultProduceTimeout
	}
	if opts.AskTimeout == 0 {
		opts.AskTimeout = DefaultAskTimeout
	}
	if opts.Lease == 0 {
		opts.Lease = Lease
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	b := newBackend(opts)
	if err := b.connect(); err != nil {
		b.abandon()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, opts.AskTimeout)
	defer cancel()
	if err := b.reader.Ping(ctx); err != nil {
		b.abandon()
		return nil, kafka.Fault(op, "", err)
	}
	b.workers.Go(b.runDrain)
	b.unfollow = opts.Catalog.Follow(b.follow)
	select {
	case <-b.followed:
	case <-ctx.Done():
		b.abandon()
		return nil, fault.New(fault.Unavailable, op, "", "the catalog tells nothing: %w", ctx.Err())
	}
	for _, name := range opts.Adopt {
		if err := b.adopt(ctx, name); err != nil {
			b.abandon()
			return nil, err
		}
	}
	b.workers.Go(b.runFinisher)
	return b, nil
}

// newBackend makes a backend without clients, which knows no stream.
func newBackend(opts Options) *Backend {
	b := &Backend{opts: opts, followed: make(chan struct{}), purges: map[string]chan struct{}{}}
	b.life, b.end = context.WithCancel(context.Background())
	b.view.Store(&view{version: -1, byName: map[string]*streamState{}, superseded: make(chan struct{})})
	b.produced.bound, b.fetched.bound = maxInFlightBytes, maxFetchingBytes
	b.drain.init()
	b.tails.init(b)
	return b
}

// connect opens the clients.
func (b *Backend) connect() error {
	codecs, err := compression(b.opts.Compression)
	if err != nil {
		return err
	}
	if b.producer, err = b.opts.Settings.Client(b.producerOptions(codecs)...); err != nil {
		return err
	}
	return b.connectReaders()
}

// connectReaders opens the clients that read.
func (b *Backend) connectReaders() (err error) {
	if b.reader, err = b.opts.Settings.Client(kgo.MaxDecompressBatchBytes(maxBatchBytes)); err != nil {
		return err
	}
	if b.poller, err = b.opts.Settings.Client(); err != nil {
		return err
	}
	// The client's own is bounded, which one of kgo.DefaultDecompressor is not.
	b.decompress = b.reader.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	b.adm = kadm.NewClient(b.reader)
	return nil
}

// abandon undoes an Open that came to nothing.
func (b *Backend) abandon() {
	b.closing.Store(true)
	b.end()
	if b.unfollow != nil {
		b.unfollow()
	}
	b.workers.Wait()
	for _, c := range []*kgo.Client{b.producer, b.reader, b.poller} {
		if c != nil {
			c.Close()
		}
	}
}

// Capabilities says that positions have gaps, that the engine trims by itself, and that a call's entries stay in order:
// the producer fails what lies behind a failed record in its partition.
func (b *Backend) Capabilities() stream.Capabilities {
	return stream.Capabilities{OrderedCalls: true, OrderedFailures: true, Seals: true}
}

// Hold does nothing: retention is the engine's.
func (b *Backend) Hold(string, stream.ShardRef, stream.SequenceNumber) {}

// Release does nothing.
func (b *Backend) Release(string) {}

// StartTrimming does nothing: the engine trims.
func (b *Backend) StartTrimming() {}

// Close waits for appends in flight, and stops.
func (b *Backend) Close(ctx context.Context) error {
	const op = "kafka.Close"
	b.admit.Lock()
	first := !b.closing.Swap(true)
	b.admit.Unlock()
	if !first {
		return nil
	}
	done := make(chan struct{})
	go func() { b.appends.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fault.New(fault.Unavailable, op, "", "appends in flight did not end: %w", ctx.Err())
	}
	b.end()
	b.unfollow()
	b.producer.Close()
	b.reader.Close()
	b.poller.Close()
	b.workers.Wait()
	return err
}

func errClosed(op, name string) error {
	return fault.New(fault.Unavailable, op, name, "the stream backend is closed")
}

func notFound(op, name string) error { return fault.New(fault.NotFound, op, name, "no such stream") }

// bounded gives a context for asking brokers, which also ends with the backend.
func (b *Backend) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, b.opts.AskTimeout)
	stop := context.AfterFunc(b.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// pause waits, or tells that there is no time to.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// spread gives a number for a name, to keep nodes from doing one thing at one time.
func spread(name string) time.Duration {
	sum := md5.Sum([]byte(name))
	return time.Duration(sum[0]) * time.Millisecond
}
