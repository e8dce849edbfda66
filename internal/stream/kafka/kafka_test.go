package kafka

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"millrace/internal/ids"
	"millrace/internal/kafka"
	"millrace/internal/stream"
	"millrace/internal/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testLease = 600 * time.Millisecond

// rig is a cluster of brokers in the process, a catalog, and the nodes on them.
type rig struct {
	t       testing.TB
	brokers *kfake.Cluster
	catalog *memory
	seed    uint64
}

func newRig(t testing.TB, opts ...kfake.Opt) *rig {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &rig{t: t, brokers: c, catalog: newMemory(testLease)}
}

func (r *rig) settings() *kafka.Settings {
	return &kafka.Settings{
		Brokers: r.brokers.ListenAddrs(), Prefix: kafka.DefaultPrefix, Replication: kafka.DefaultReplication,
		MinInSync: kafka.DefaultMinInSync, ClientID: "test",
	}
}

// open starts a node; it ends with the test.
func (r *rig) open(change func(*Options)) (*Backend, *memoryNode) {
	r.t.Helper()
	n := r.catalog.node()
	b, err := r.try(n, change)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { shut(r.t, b) })
	return b, n
}

func (r *rig) try(n *memoryNode, change func(*Options)) (*Backend, error) {
	r.seed++
	opts := Options{Settings: r.settings(), Catalog: n, IDs: ids.Seeded(r.seed), Now: time.Now, Lease: testLease}
	if os.Getenv("KAFKA_LOG") != "" {
		opts.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
		opts.Settings.Log = opts.Log
	}
	if change != nil {
		change(&opts)
	}
	return Open(r.t.Context(), opts)
}

func shut(t testing.TB, b *Backend) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestSuite(t *testing.T) {
	streamtest.Run(t, func(t *testing.T) *streamtest.Subject {
		r := newRig(t)
		b, _ := r.open(nil)
		s := &streamtest.Subject{Backend: b}
		s.Reopen = func() stream.Backend {
			shut(t, b)
			b, _ = r.open(nil)
			return b
		}
		return s
	})
}
