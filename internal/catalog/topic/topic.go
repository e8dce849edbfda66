// Package topic keeps a catalog that all nodes of a cluster share, in a compacted
// Kafka topic, and knows which nodes live.
//
//	Update ──InitProducerID──> read to the end ──> edit ──> one transaction ──> wait for the nodes
//	                                │                            │
//	PREFIX.catalog   ───────────────┴── follower ──> catalog.Apply, Fresh
//	PREFIX.nodes     <── a beat of every node: how far it has followed, what it has drained
//
// There is one transactional id for all nodes. Who begins an update takes it, and so
// fences whoever is in the midst of one; having read to the end after that, it
// looks at the newest state, and its transaction commits only if nobody has taken
// the id since. A lost update can't happen; the one who was fenced begins again.
//
// # Fresh
//
// A node may serve by its view of the catalog while it knows it to be complete up
// to a moment that is younger than the [Lease]. Two things prove that: a fetch that
// found the end of the topic, and a beat that the brokers took. Without the second
// the others would take the node for dead, and would not wait for it. A node that
// was silent for longer than the lease reads the catalog again before it believes
// what it knows.
//
// # What lies in the topics
//
//	catalog  key: kind 0 name   value: document, or nothing when deleted
//	         headers: "tx", an id of the transaction; "end" on its last record
//	nodes    key: node id       value: JSON of [Beat], or nothing when the node has left
//
// Records of a transaction are published together: at the record that bears "end".
// Compaction may remove that record, but only when a later transaction has written
// its key again, and that one has an end of its own.
package topic

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/kafka"
)

// Bounds, each with its reason.
const (
	// Lease is how old a node's view may be when it serves by it, and how long others wait for a node that says nothing.
	Lease = 10 * time.Second
	// beatEvery leaves room for a few lost beats within the lease.
	beatEvery = 2 * time.Second
	// fetchWait is how long a fetch waits for news; it bounds the age of Fresh on a quiet cluster.
	fetchWait = 200 * time.Millisecond
	// fetchBytes bounds what a fetch brings.
	fetchBytes = 4 << 20
	// maxBatchBytes is that of the catalog's topic: one record can be as large as a document.
	maxBatchBytes = catalog.MaxDocumentBytes + 1<<20
	// transactionTime ends a transaction whose node has died. The next update ends it too.
	transactionTime = 5 * time.Second
	// updateTime bounds an update as a whole, but for the wait for other nodes.
	updateTime = 20 * time.Second
	// updateTries bounds how often an update begins again because another node's came first.
	updateTries = 20
	// openTime bounds how long Open tries to reach the brokers and to read all: brokers that are started with the node
	// are waited for.
	openTime = 15 * time.Second
	// retryPause is between tries of a follower whose broker does not answer.
	retryPause = 200 * time.Millisecond
	// remembered is how many transactions the follower remembers, so that an update whose answer was lost learns its fate.
	remembered = 256
)

// Options of a store.
type Options struct {
	Settings *kafka.Settings
	Node     string // id of this node; the same after a restart
	IDs      *ids.Source
	Log      *slog.Logger
	// Fatal is told that another process has taken this node's name, and that this one must end. Nil: nobody is.
	Fatal func(error)
	// Lease is for tests; 0: the constant.
	Lease time.Duration
}

// Store is the catalog's store on a topic. It is safe for concurrent use.
type Store struct {
	opts     Options
	settings *kafka.Settings
	catalog  *catalog.Catalog
	client   *kgo.Client // fetches, beats
	admin    *kadm.Client

	run string // this process, among those of its name

	updating chan struct{} // one Update of this node at a time

	ctx    context.Context
	cancel context.CancelFunc
	own    sync.WaitGroup
	beats  chan struct{} // a beat is due now

	mu        sync.Mutex
	changed   chan struct{} // closed at the next change of what mu guards
	view      view
	nodes     map[string]seen
	drained   int64            // what this node has told, or will at the next beat
	met       bool             // this process's own beat has been read
	before    map[string]bool  // processes of this node's name that began before
	beaten    time.Time        // when the last beat that was taken was sent
	floor     time.Time        // what was read before proves nothing
	nodesRead time.Time        // all beats that were taken by then have been read
	trouble   map[string]error // by topic: why it can't be followed now
}

// view is how far the catalog's topic has been followed.
type view struct {
	next    int64     // offset
	version int64     // after the last transaction that was published
	fresh   time.Time // all that was committed by then has been published
	known   []string  // the last transactions, oldest first
}

// seen is a node as others see it.
type seen struct {
	Beat
	at time.Time // when the beat was read here
}

// Beat is what a node tells of itself.
type Beat struct {
	Node string `json:"node"`
	Run  string `json:"run"` // tells processes of one name apart
	// Applied is the version that the node has published.
	Applied int64 `json:"applied"`
	// Drained is the highest version such that the node has no produce in flight to a shard that was closing by then.
	Drained int64 `json:"drained"`
}

// Open reads the catalog to its end and begins to follow it. When it returns, the other nodes know of this one.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.Lease == 0 {
		opts.Lease = Lease
	}
	if opts.Fatal == nil {
		opts.Fatal = func(error) {}
	}
	client, err := opts.Settings.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	s := &Store{
		opts: opts, settings: opts.Settings, client: client, admin: kadm.NewClient(client),
		run: opts.IDs.String(ids.LowerAlnum, 16), updating: make(chan struct{}, 1), beats: make(chan struct{}, 1), changed: make(chan struct{}), nodes: map[string]seen{}, before: map[string]bool{},
		trouble: map[string]error{},
	}
	s.catalog = catalog.New(s, map[catalog.Key][]byte{}, 0)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	ctx, done := context.WithTimeout(ctx, openTime)
	defer done()
	if err := s.open(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if err := s.ensureTopics(ctx); err != nil {
		return err
	}
	s.own.Go(s.followCatalog)
	s.own.Go(s.followNodes)
	// The first beat goes out before the catalog is believed to be read: see Fresh.
	if err := s.beat(ctx); err != nil {
		return err
	}
	s.own.Go(s.runBeats)
	return s.Refresh(ctx)
}

func (s *Store) ensureTopics(ctx context.Context) error {
	told := false
	configs := kafka.Compacted()
	configs["max.message.bytes"] = "34603008" // maxBatchBytes and the batch's head
	nodes := kafka.Compacted()
	nodes["cleanup.policy"], nodes["retention.ms"], nodes["segment.ms"] = "compact,delete", "3600000", "600000"
	for _, t := range []kafka.Topic{
		{Name: s.settings.CatalogTopic(), Partitions: 1, Configs: configs},
		{Name: s.settings.NodesTopic(), Partitions: 1, Configs: nodes},
	} {
		for {
			err := s.settings.Ensure(ctx, s.admin, t)
			if err == nil {
				break
			}
			if !fault.Is(err, fault.Unavailable) {
				return err
			}
			if !told {
				s.opts.Log.Warn("the brokers do not answer yet; it is tried again for a while", "for", openTime, "error", err)
				told = true
			}
			if !pause(ctx, retryPause) {
				return fault.New(fault.Unavailable, "catalog.Open", t.Name, "no broker made the topic within %v: %w", openTime, err)
			}
		}
	}
	return nil
}

// pause waits, or until ctx ends: then it is false.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Catalog gives the catalog that lies in the topic.
func (s *Store) Catalog() *catalog.Catalog { return s.catalog }

// Close tells the others that this node has left, and stops.
func (s *Store) Close(ctx context.Context) error {
	s.cancel()
	s.own.Wait()
	err := s.leave(ctx)
	s.client.Close()
	return err
}

func (s *Store) stop() {
	s.cancel()
	s.own.Wait()
	s.client.Close()
}

// Healthy returns nil while this node's view is younger than the lease.
func (s *Store) Healthy(context.Context) error {
	age := time.Since(s.Fresh())
	if age < s.opts.Lease {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	cause := s.trouble[s.settings.CatalogTopic()]
	if cause == nil {
		cause = fault.New(fault.Unavailable, "catalog.Follow", "", "no broker takes this node's beats")
	}
	return fault.New(fault.Unavailable, "catalog.Healthy", s.settings.CatalogTopic(), "the catalog has not been followed for more than %v: %w", s.opts.Lease, cause)
}

// Topics names the topics that the store lies in.
func (s *Store) Topics() []string {
	return []string{s.settings.CatalogTopic(), s.settings.NodesTopic()}
}

// Warnings names what makes the cluster's own topics less durable than they should be.
func (s *Store) Warnings(ctx context.Context) ([]string, error) {
	return s.settings.Weaknesses(ctx, s.admin, append(s.Topics(), s.settings.JournalTopic())...)
}

// change lets fn change what mu guards, and wakes who waits for that.
func (s *Store) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	close(s.changed)
	s.changed = make(chan struct{})
}

// await returns when ok, which is called with mu held, is true.
func (s *Store) await(ctx context.Context, ok func() bool) error {
	for {
		s.mu.Lock()
		good, changed := ok(), s.changed
		s.mu.Unlock()
		if good {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return fault.New(fault.Unavailable, "catalog", "", "the node is stopping")
		}
	}
}

var _ catalog.Store = (*Store)(nil)
