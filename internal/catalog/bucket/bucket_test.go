package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/object/objecttest"
	"millrace/internal/peers/peerstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a store and what it stands on.
type node struct {
	*Store
	at    *peerstest.Node
	close func()
}

func open(t *testing.T, shared object.Store, name string) *node {
	t.Helper()
	n, err := tryOpen(t, shared, name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tryOpen(t *testing.T, shared object.Store, name string) (*node, error) {
	t.Helper()
	at := peerstest.Open(t, shared, name)
	s, err := Open(t.Context(), Options{Store: at.Store, Bucket: peerstest.Bucket, Prefix: peerstest.Prefix, Peers: at.Peers,
		IDs: ids.New(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	n := &node{Store: s, at: at}
	var once sync.Once
	n.close = func() { once.Do(func() { _ = s.Close(context.Background()) }) }
	t.Cleanup(n.close)
	return n, nil
}

var errLost = fault.New(fault.Unavailable, "object", "", "no answer")

func isRoot(c objecttest.Call) bool { return strings.HasSuffix(c.Key, "catalog/root") }

func put(ctx context.Context, s *node, name, value string) error {
	return s.Catalog().Update(ctx, func(tx *catalog.Tx) error {
		tx.Put(catalog.Key{Kind: "doc", Name: name}, []byte(value))
		return nil
	})
}

func mustPut(t *testing.T, s *node, name, value string) {
	t.Helper()
	if err := put(t.Context(), s, name, value); err != nil {
		t.Fatal(err)
	}
}

func get(s *node, name string) string {
	doc, ok := s.Catalog().Snapshot().Get(catalog.Key{Kind: "doc", Name: name})
	if !ok {
		return "none"
	}
	return string(doc)
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what, ": not in time")
		}
	}
}

// documents lists the objects of documents.
func documents(t *testing.T, s object.Store) (names []string) {
	t.Helper()
	page, err := s.List(t.Context(), peerstest.Bucket, object.ListOptions{Prefix: peerstest.Prefix + "catalog/docs/", Max: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range page.Objects {
		names = append(names, o.Key)
	}
	return names
}

// When an update returns, every node that lives has it.
func TestUpdateIsEverywhereAtReturn(t *testing.T) {
	t.Parallel()
	for name, stores := range peerstest.Stores {
		t.Run(name, func(t *testing.T) {
			shared := stores(t)
			a, b := open(t, shared(), "a"), open(t, shared(), "b")
			for i := range 3 {
				for _, from := range []*node{a, b} {
					want := fmt.Sprint(from.at.Name, i, strings.Repeat("x", i*inlineBytes))
					mustPut(t, from, "x", want)
					if get(a, "x") != want || get(b, "x") != want {
						t.Fatalf("a has %.20q, b has %.20q, want %.20q", get(a, "x"), get(b, "x"), want)
					}
				}
			}
			if a.Catalog().Snapshot().Version() != b.Catalog().Snapshot().Version() {
				t.Error("versions differ")
			}
			mustPut(t, a, "empty", "")
			mustPut(t, a, "large", strings.Repeat("y", 9<<20))
			if err := a.Catalog().Update(t.Context(), func(tx *catalog.Tx) error { tx.Delete(catalog.Key{Kind: "doc", Name: "x"}); return nil }); err != nil {
				t.Fatal(err)
			}
			c := open(t, shared(), "c") // a new node reads all
			for _, s := range []*node{a, b, c} {
				if get(s, "x") != "none" || get(s, "empty") != "" || len(get(s, "large")) != 9<<20 {
					t.Errorf("%s has %q, %q, %d bytes", s.at.Name, get(s, "x"), get(s, "empty"), len(get(s, "large")))
				}
				if err := s.Healthy(t.Context()); err != nil || time.Since(s.Fresh()) > peerstest.Lease {
					t.Errorf("%s: %v, fresh %v ago", s.at.Name, err, time.Since(s.Fresh()))
				}
			}
			if left := documents(t, shared()); len(left) != 1 {
				t.Errorf("documents are left: %q", left)
			}
		})
	}
}

func count(tx *catalog.Tx) int {
	n := 0
	if doc, ok := tx.Get(catalog.Key{Kind: "doc", Name: "n"}); ok {
		n, _ = strconv.Atoi(strings.TrimSpace(string(doc)))
	}
	return n
}

// Nodes that count in one document at the same time lose no count, whatever answers are lost meanwhile.
func TestNoUpdateIsLost(t *testing.T) {
	t.Parallel()
	for _, losing := range []bool{false, true} {
		t.Run(fmt.Sprint("losing ", losing), func(t *testing.T) {
			shared := peerstest.Dir(t)
			const each = 6
			var nodes []*node
			for _, name := range []string{"a", "b", "c"} {
				nodes = append(nodes, open(t, shared(), name))
			}
			var wait sync.WaitGroup
			var made atomic.Int64
			for _, s := range nodes {
				var puts atomic.Int64
				if losing {
					s.at.Store.Break(func(c objecttest.Call) (bool, error) {
						if c.Op != "Put" || !isRoot(c) {
							return true, nil
						}
						switch puts.Add(1) % 3 {
						case 0:
							return true, errLost
						case 1:
							return false, errLost
						}
						return true, nil
					})
				}
				wait.Go(func() {
					for i := range each {
						err := s.Catalog().Update(context.Background(), func(tx *catalog.Tx) error {
							n := count(tx)
							tx.Put(catalog.Key{Kind: "doc", Name: "n"}, fmt.Appendf(nil, "%*d", i*inlineBytes/2, n+1))
							tx.Put(catalog.Key{Kind: "by", Name: s.at.Name + strconv.Itoa(n)}, []byte("1"))
							return nil
						})
						if err != nil {
							t.Error(err)
							continue
						}
						made.Add(1)
					}
				})
			}
			wait.Wait()
			for _, s := range nodes {
				s.at.Store.Break(nil)
				if err := s.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := strings.TrimSpace(get(s, "n")); got != strconv.Itoa(int(made.Load())) {
					t.Errorf("%s counts %s of %d", s.at.Name, got, made.Load())
				}
				if got := len(s.Catalog().Snapshot().Names("by")); got != int(made.Load()) {
					t.Errorf("%s has %d marks", s.at.Name, got)
				}
			}
		})
	}
}

func TestRefusedUpdateChangesNothing(t *testing.T) {
	t.Parallel()
	shared := peerstest.Dir(t)
	s := open(t, shared(), "a")
	refused := errors.New("refused")
	err := s.Catalog().Update(t.Context(), func(tx *catalog.Tx) error { tx.Put(catalog.Key{Kind: "doc", Name: "x"}, nil); return refused })
	if err != refused || get(s, "x") != "none" {
		t.Errorf("got %v, %q", err, get(s, "x"))
	}
	if err := put(t.Context(), s, "x", string(make([]byte, catalog.MaxDocumentBytes+1))); !fault.Is(err, fault.LimitExceeded) {
		t.Errorf("too large: %v", err)
	}
	err = s.Catalog().Update(t.Context(), func(tx *catalog.Tx) error {
		for i := range 3 {
			tx.Put(catalog.Key{Kind: "doc", Name: strings.Repeat(strconv.Itoa(i), maxRootBytes/3)}, nil)
		}
		return nil
	})
	if !fault.Is(err, fault.LimitExceeded) {
		t.Errorf("the root is too large: %v", err)
	}
	if version := s.Catalog().Snapshot().Version(); version != 0 || len(documents(t, shared())) != 0 {
		t.Errorf("version %d, documents %q", version, documents(t, shared()))
	}
}

// While the store is down updates say so; what was known is served, and all goes on when it is back.
func TestStoreIsDownForAWhile(t *testing.T) {
	t.Parallel()
	shared := peerstest.Dir(t)
	a, b := open(t, shared(), "a"), open(t, shared(), "b")
	mustPut(t, a, "x", "1")
	for _, s := range []*node{a, b} {
		s.at.Store.Break(func(objecttest.Call) (bool, error) { return false, errLost })
	}
	if err := put(t.Context(), a, "x", "2"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
	if get(a, "x") != "1" || get(b, "x") != "1" {
		t.Errorf("a has %q, b has %q", get(a, "x"), get(b, "x"))
	}
	await(t, "b is not healthy", func() bool { return b.Healthy(t.Context()) != nil })
	for _, s := range []*node{a, b} {
		s.at.Store.Break(nil)
	}
	mustPut(t, a, "x", "3")
	await(t, "b follows", func() bool { return get(b, "x") == "3" && b.Healthy(t.Context()) == nil })
}

// An update whose outcome nobody knows is told so, and either has happened on all nodes or on none.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	for _, happens := range []bool{false, true} {
		t.Run(fmt.Sprint("happens ", happens), func(t *testing.T) {
			shared := peerstest.Dir(t)
			a, b := open(t, shared(), "a"), open(t, shared(), "b")
			mustPut(t, a, "x", "1")
			var put1 atomic.Bool
			a.at.Store.Break(func(c objecttest.Call) (bool, error) {
				if !isRoot(c) {
					return true, nil
				}
				if c.Op == "Put" && put1.CompareAndSwap(false, true) {
					return happens, errLost
				}
				if put1.Load() {
					return false, errLost
				}
				return true, nil
			})
			if err := put(t.Context(), a, "x", "2"); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "not known") {
				t.Fatalf("got %v", err)
			}
			a.at.Store.Break(nil)
			want := "1"
			if happens {
				want = "2"
			}
			for _, s := range []*node{a, b} {
				if err := s.Refresh(t.Context()); err != nil || get(s, "x") != want {
					t.Errorf("%s has %q, %v", s.at.Name, get(s, "x"), err)
				}
			}
			mustPut(t, a, "y", "1")
		})
	}
}

// A node that is silent is waited for until the lease, and no longer.
func TestSilentNodeIsWaitedForUntilTheLease(t *testing.T) {
	t.Parallel()
	shared := peerstest.Dir(t)
	a, b := open(t, shared(), "a"), open(t, shared(), "b")
	mustPut(t, a, "x", "1")
	b.at.Store.Break(func(objecttest.Call) (bool, error) { return false, errLost })
	began := time.Now()
	mustPut(t, a, "x", "2")
	if waited := time.Since(began); waited < peerstest.Lease/2 {
		t.Errorf("waited %v", waited)
	}
	b.at.Store.Break(nil)
	await(t, "b follows", func() bool { return get(b, "x") == "2" })
	b.close()
	b.at.Close()
	began = time.Now()
	mustPut(t, a, "x", "3")
	if waited := time.Since(began); waited >= peerstest.Lease {
		t.Errorf("b has left, and was waited for: %v", waited)
	}
}

// What nobody can name any more goes, and nothing else.
func TestSweep(t *testing.T) {
	t.Parallel()
	shared := peerstest.Dir(t)
	store := shared()
	a := open(t, store, "a")
	large := strings.Repeat("l", inlineBytes+1)
	mustPut(t, a, "x", large)
	mustPut(t, a, "y", large)
	version := a.Catalog().Snapshot().Version()
	lay := func(name string) {
		t.Helper()
		if _, err := store.Put(t.Context(), peerstest.Bucket, a.docKey(name), strings.NewReader("z"), 1, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	lay(docName(version-1, "dead", 0))  // of a node that died in an update
	lay(docName(version, "pending", 0)) // of an update under way
	lay("by-hand")
	if err := a.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(documents(t, store), " ")
	if strings.Contains(got, "dead") || !strings.Contains(got, "pending") || !strings.Contains(got, "by-hand") || len(documents(t, store)) != 4 {
		t.Errorf("left: %s", got)
	}
	mustPut(t, a, "z", "1")
	if err := a.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(documents(t, store), " "); strings.Contains(got, "pending") {
		t.Errorf("left: %s", got)
	}
	b := open(t, store, "b")
	if get(b, "x") != large || get(b, "y") != large {
		t.Error("a document is gone")
	}
}

// A follower that reads a root whose documents were replaced meanwhile reads the next one.
func TestFollowerMeetsARemovedDocument(t *testing.T) {
	t.Parallel()
	store := peerstest.Dir(t)()
	a, b := open(t, store, "a"), open(t, store, "b")
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.at.Store.Break(func(c objecttest.Call) (bool, error) {
		if c.Op == "Get" && strings.Contains(c.Key, "/docs/") {
			once.Do(func() { close(entered); <-leave })
		}
		return true, nil
	})
	large := strings.Repeat("l", inlineBytes+1)
	mustPut(t, a, "x", large+"1") // returns after the lease: b stands still
	<-entered
	mustPut(t, a, "x", large+"2")
	close(leave)
	await(t, "b has the newest", func() bool { return get(b, "x") == large+"2" })
	if err := b.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

// Objects that are gone or damaged are named; nothing is made up in their place.
func TestLossIsNamed(t *testing.T) {
	t.Parallel()
	store := peerstest.Dir(t)()
	a := open(t, store, "a")
	large := strings.Repeat("l", inlineBytes+1)
	mustPut(t, a, "x", large)
	mustPut(t, a, "y", large)
	name := documents(t, store)[0]
	replace := func(key, text string) {
		t.Helper()
		if _, err := store.Put(t.Context(), peerstest.Bucket, key, strings.NewReader(text), int64(len(text)), object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what, text string) {
		t.Helper()
		_, err := tryOpen(t, store, "b")
		if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	replace(name, "damaged")
	expect("a document is damaged", "is not what was put")
	if err := store.Delete(t.Context(), peerstest.Bucket, name); err != nil {
		t.Fatal(err)
	}
	expect("a document is gone", "documents that the root names are gone")
	replace(a.rootKey(), "MCR\x01damaged")
	expect("the root is damaged", "checksum")
	if err := store.Delete(t.Context(), peerstest.Bucket, a.rootKey()); err != nil {
		t.Fatal(err)
	}
	expect("the root is gone", "catalog/root is gone")
	if err := put(t.Context(), a, "z", "1"); !fault.Is(err, fault.Corrupt) {
		t.Errorf("an update without a root: %v", err)
	}
}

func FuzzDecodeRoot(f *testing.F) {
	r := (&root{}).next("id")
	r.docs[catalog.Key{Kind: "k", Name: "n"}] = doc{Kind: "k", Name: "n", Inline: []byte("x")}
	text, err := r.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRoot(b, "fuzz")
		if err != nil {
			if !fault.Is(err, fault.Corrupt) {
				t.Errorf("got %v", err)
			}
			return
		}
		again, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if s, err := decodeRoot(again, "again"); err != nil || s.Version != r.Version || len(s.docs) != len(r.docs) {
			t.Errorf("got %+v, %v", s, err)
		}
	})
}

// Every flipped bit of a root is noticed.
func TestDamagedRootIsCorrupt(t *testing.T) {
	text, err := (&root{}).next("id").encode()
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(text) * 8 {
		damaged := bytes.Clone(text)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, err := decodeRoot(damaged, "here"); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("bit %d: %v", bit, err)
		}
	}
}
