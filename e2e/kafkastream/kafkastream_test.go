package kafkastream

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"millrace/e2e/kafkacluster"
	"millrace/internal/catalog"
	"millrace/internal/catalog/topic"
	"millrace/internal/ids"
	"millrace/internal/kafka"
	"millrace/internal/stream"
	streamkafka "millrace/internal/stream/kafka"
	"millrace/internal/stream/streamtest"
)

var onKafka = flag.Bool("kafka", false, "run the tests that start a real Kafka, which e2e/kafka/install has installed")

// nodes opens backends on one Kafka, each with the catalog of a node of its own.
type nodes struct {
	brokers []string
	prefix  string
	lease   time.Duration
	count   int
}

type node struct {
	*streamkafka.Backend
	store *topic.Store
}

func (n *nodes) settings() *kafka.Settings {
	s := &kafka.Settings{Brokers: n.brokers, Prefix: n.prefix, Replication: kafka.DefaultReplication, MinInSync: kafka.DefaultMinInSync, ClientID: "kafkastream"}
	if testing.Verbose() {
		s.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return s
}

// store opens the catalog of another node.
func (n *nodes) store(t testing.TB) *topic.Store {
	t.Helper()
	n.count++
	store, err := topic.Open(t.Context(), topic.Options{Settings: n.settings(), Node: fmt.Sprintf("node-%d", n.count), IDs: ids.New(), Log: slog.New(slog.DiscardHandler), Lease: n.lease})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func (n *nodes) options(store *topic.Store, change func(*streamkafka.Options)) streamkafka.Options {
	opts := streamkafka.Options{Settings: n.settings(), Catalog: documents{store}, IDs: ids.New(), Now: time.Now, Lease: n.lease}
	if change != nil {
		change(&opts)
	}
	return opts
}

func (n *nodes) open(t testing.TB, change func(*streamkafka.Options)) *node {
	t.Helper()
	store := n.store(t)
	b, err := streamkafka.Open(t.Context(), n.options(store, change))
	if err != nil {
		_ = store.Close(context.Background())
		t.Fatal(err)
	}
	return &node{b, store}
}

func (n *node) shut(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := n.store.Close(ctx); err != nil {
		t.Error(err)
	}
}

// documents is the catalog as the backend wants it; internal/app has the same.
type documents struct{ *topic.Store }

const kind = "stream"

func (d documents) Update(ctx context.Context, fn func(streamkafka.Documents) error) (int64, error) {
	version, err := d.Catalog().Commit(ctx, func(tx *catalog.Tx) error { return fn(transaction{tx}) })
	return int64(version), err
}

func (d documents) Follow(fn func(docs map[string][]byte, version int64)) (stop func()) {
	return d.Catalog().Follow(func(s *catalog.Snapshot) {
		docs := map[string][]byte{}
		for _, name := range s.Names(kind) {
			docs[name], _ = s.Get(catalog.Key{Kind: kind, Name: name})
		}
		fn(docs, int64(s.Version()))
	})
}

type transaction struct{ tx *catalog.Tx }

func (t transaction) Get(name string) ([]byte, bool) {
	return t.tx.Get(catalog.Key{Kind: kind, Name: name})
}
func (t transaction) Put(name string, doc []byte) { t.tx.Put(catalog.Key{Kind: kind, Name: name}, doc) }
func (t transaction) Delete(name string)          { t.tx.Delete(catalog.Key{Kind: kind, Name: name}) }

func TestKafka(t *testing.T) {
	if !*onKafka {
		return
	}
	c := kafkacluster.Start(t, kafkacluster.Options{Security: true})
	t.Run("Suite", func(t *testing.T) { suite(t, c) })
	t.Run("Credentials", func(t *testing.T) { credentials(t, c) })
	t.Run("OtherNodes", func(t *testing.T) { otherNodes(t, c) })
	t.Run("Faults", func(t *testing.T) { faults(t, c) })
}

func suite(t *testing.T, c *kafkacluster.Cluster) {
	run := 0
	streamtest.Run(t, func(t *testing.T) *streamtest.Subject {
		run++
		n := &nodes{brokers: c.Brokers(), prefix: fmt.Sprintf("suite%d", run), lease: 2 * time.Second}
		b := n.open(t, nil)
		t.Cleanup(func() {
			for _, s := range b.Streams() {
				if err := b.DeleteStream(context.Background(), s.Name); err != nil {
					t.Log(err) // the suite has closed it
				}
			}
			b.shut(t)
		})
		s := &streamtest.Subject{Backend: b}
		s.Reopen = func() stream.Backend {
			b.shut(t)
			b = n.open(t, nil)
			return b
		}
		return s
	})
}
