package bucket_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/journal/bucket"
	"millrace/internal/delivery/journal/journaltest"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/object/objecttest"
	"millrace/internal/peers/peerstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a journal and what it stands on.
type node struct {
	*bucket.Journal
	at *peerstest.Node
}

func open(t *testing.T, shared object.Store, name string) *node {
	t.Helper()
	at := peerstest.Open(t, shared, name)
	j, err := bucket.Open(t.Context(), bucket.Options{Store: at.Store, Bucket: peerstest.Bucket, Prefix: peerstest.Prefix, Peers: at.Peers,
		Node: name, IDs: ids.New(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close(context.Background()) })
	return &node{j, at}
}

var errLost = fault.New(fault.Unavailable, "object", "", "no answer")

// isSlot tells calls about slots from those about who lives.
func isSlot(c objecttest.Call) bool { return strings.Contains(c.Key, "/slots/") }

func TestSuite(t *testing.T) {
	for name, stores := range peerstest.Stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			journaltest.Run(t, func(t *testing.T) *journaltest.Cluster {
				store, n := stores(t), 0
				return &journaltest.Cluster{
					Several: true,
					Open: func(t *testing.T) journal.Journal {
						n++
						return open(t, store(), fmt.Sprint("n", n))
					},
					// The node's puts of slots arrive; it can't tell that it lives, nor look who has what.
					Expel: func(_ *testing.T, j journal.Journal) func() {
						store := j.(*node).at.Store
						store.Break(func(c objecttest.Call) (bool, error) {
							if !isSlot(c) || c.Op == "List" {
								return false, errLost
							}
							return true, nil
						})
						return func() { store.Break(nil) }
					},
					LoseAnswers: func(_ *testing.T, j journal.Journal) func() {
						var puts atomic.Int64
						store := j.(*node).at.Store
						store.Break(func(c objecttest.Call) (bool, error) {
							if !isSlot(c) {
								return true, nil
							}
							if c.Op == "Put" {
								puts.Add(1)
							}
							return puts.Load()%2 == 0, errLost
						})
						return func() { store.Break(nil) }
					},
				}
			})
		})
	}
}
