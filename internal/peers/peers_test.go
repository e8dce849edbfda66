package peers_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/object/objecttest"
	"millrace/internal/peers"
	"millrace/internal/peers/peerstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errLost = fault.New(fault.Unavailable, "object", "", "no answer")

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what, ": not in time")
		}
	}
}

func names(n *peerstest.Node) string {
	var all []string
	for _, p := range n.Peers.Live() {
		all = append(all, p.Node)
	}
	return strings.Join(all, " ")
}

func TestNodesSeeOneAnotherComeAndGo(t *testing.T) {
	for name, stores := range peerstest.Stores {
		t.Run(name, func(t *testing.T) {
			store := stores(t)
			a := peerstest.Open(t, store(), "a")
			b := peerstest.Open(t, store(), "b")
			if got := names(b); got != "a b" {
				t.Errorf("b sees %q when it is open", got)
			}
			await(t, "a sees b", func() bool { return names(a) == "a b" })
			b.Peers.Set("n", 7)
			if err := a.Peers.Await(t.Context(), func(p peers.Peer) bool { return p.Values["n"] == 7 }); err != nil {
				t.Error(err)
			}
			if err := a.Peers.Healthy(t.Context()); err != nil {
				t.Error(err)
			}
			b.Close()
			await(t, "b has left", func() bool { return names(a) == "a" })
		})
	}
}

// A node that says nothing dies after the lease, and lives when it speaks again.
func TestSilentNodeDies(t *testing.T) {
	store := peerstest.Dir(t)
	a, b := peerstest.Open(t, store(), "a"), peerstest.Open(t, store(), "b")
	await(t, "a sees b", func() bool { return names(a) == "a b" })
	b.Store.Break(func(objecttest.Call) (bool, error) { return false, errLost })
	began := time.Now()
	if err := a.Peers.Await(t.Context(), func(p peers.Peer) bool { return p.Values["n"] == 7 }); err != nil {
		t.Error(err)
	}
	if waited := time.Since(began); waited < peerstest.Lease/2 {
		t.Errorf("the lease was %v", waited)
	}
	await(t, "b is dead", func() bool { return names(a) == "a" })
	await(t, "b knows that it is cut off", func() bool { return b.Peers.Healthy(t.Context()) != nil })
	b.Store.Break(nil)
	await(t, "b lives", func() bool { return names(a) == "a b" && b.Peers.Healthy(t.Context()) == nil })

	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := a.Peers.Await(short, func(p peers.Peer) bool { return false }); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the caller's time is over: %v", err)
	}
}

// A beat whose answer is lost does not make a node its own rival; nor does the loss of its object.
func TestLostBeats(t *testing.T) {
	store := peerstest.Dir(t)
	a, b := peerstest.Open(t, store(), "a"), peerstest.Open(t, store(), "b")
	n := 0
	b.Store.Break(func(c objecttest.Call) (bool, error) {
		if n++; c.Op == "Put" && n%3 == 0 {
			return true, errLost
		}
		return true, nil
	})
	b.Peers.Set("n", 1)
	for i := range int64(20) {
		b.Peers.Set("n", i)
		if err := a.Peers.Await(t.Context(), func(p peers.Peer) bool { return p.Values["n"] == i }); err != nil {
			t.Fatal(err)
		}
	}
	b.Store.Break(nil)
	if err := store().Delete(t.Context(), peerstest.Bucket, peerstest.Prefix+"nodes/b"); err != nil {
		t.Fatal(err)
	}
	b.Peers.Set("n", 100)
	await(t, "b is back", func() bool {
		return slices.ContainsFunc(a.Peers.Live(), func(p peers.Peer) bool { return p.Values["n"] == 100 })
	})
	if err := b.Peers.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

// Of two processes of one name the newer one is the node.
func TestNameIsOneProcesss(t *testing.T) {
	store := peerstest.Dir(t)
	older := peerstest.Open(t, store(), "a")
	newer := peerstest.Open(t, store(), "a")
	await(t, "the older one knows", func() bool {
		err := older.Peers.Healthy(t.Context())
		return err != nil && strings.Contains(err.Error(), "another process runs under this node's name")
	})
	if names(older) != "" || names(newer) != "a" {
		t.Errorf("they see %q and %q", names(older), names(newer))
	}
	older.Close()
	c := peerstest.Open(t, store(), "c")
	if got := names(c); got != "a c" {
		t.Errorf("c sees %q", got)
	}
}

// careless is a store that stores whatever the conditions say.
type careless struct{ object.Store }

func (s careless) Put(ctx context.Context, bucket, key string, body io.Reader, size int64, o object.PutOptions) (object.Info, error) {
	o.Conditions = object.Conditions{}
	return s.Store.Put(ctx, bucket, key, body, size, o)
}

func TestUnfitStoresAreRefused(t *testing.T) {
	open := func(s object.Store, bucket, node string) error {
		p, err := peers.Open(t.Context(), peers.Options{Store: s, Bucket: bucket, Node: node, IDs: ids.New(), Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			_ = p.Close(t.Context())
		}
		return err
	}
	s := peerstest.Dir(t)()
	if err := open(careless{s}, peerstest.Bucket, "a"); !fault.Is(err, fault.Unsupported) {
		t.Errorf("no conditions: %v", err)
	}
	if err := open(s, "nowhere", "a"); !fault.Is(err, fault.Invalid) {
		t.Errorf("no bucket: %v", err)
	}
	if err := open(s, peerstest.Bucket, "a/b"); !fault.Is(err, fault.Invalid) {
		t.Errorf("no name: %v", err)
	}
	page, err := s.List(t.Context(), peerstest.Bucket, object.ListOptions{Prefix: "nodes/", Max: 10})
	if err != nil || len(page.Objects) != 0 {
		t.Errorf("left: %+v, %v", page.Objects, err)
	}
}
