package topic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/kafka"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func brokers(t *testing.T) *kafka.Settings {
	t.Helper()
	_, settings := fake(t)
	return settings
}

func fake(t *testing.T) (*kfake.Cluster, *kafka.Settings) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, &kafka.Settings{Brokers: c.ListenAddrs(), Prefix: "test", Replication: 3, MinInSync: 2}
}

func node(t *testing.T, settings *kafka.Settings, name string, lease time.Duration) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Settings: settings, Node: name, IDs: ids.New(), Log: slog.New(slog.DiscardHandler), Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { _ = s.Close(context.Background()) }) })
	return s
}

func put(t *testing.T, s *Store, name, value string) {
	t.Helper()
	if err := s.Catalog().Update(t.Context(), func(tx *catalog.Tx) error {
		tx.Put(catalog.Key{Kind: "doc", Name: name}, []byte(value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func get(s *Store, name string) string {
	doc, ok := s.Catalog().Snapshot().Get(catalog.Key{Kind: "doc", Name: name})
	if !ok {
		return "none"
	}
	return string(doc)
}

// When an update returns, every node that lives has it.
func TestUpdateIsEverywhereAtReturn(t *testing.T) {
	settings := brokers(t)
	a, b := node(t, settings, "a", Lease), node(t, settings, "b", Lease)
	for i := range 5 {
		put(t, a, "x", fmt.Sprint("a", i))
		if got := get(b, "x"); got != fmt.Sprint("a", i) {
			t.Fatalf("b has %q", got)
		}
		put(t, b, "x", fmt.Sprint("b", i))
		if got := get(a, "x"); got != fmt.Sprint("b", i) {
			t.Fatalf("a has %q", got)
		}
	}
	if a.Catalog().Snapshot().Version() != b.Catalog().Snapshot().Version() {
		t.Error("versions differ")
	}
	put(t, a, "empty", "")
	if err := a.Catalog().Update(t.Context(), func(tx *catalog.Tx) error { tx.Delete(catalog.Key{Kind: "doc", Name: "x"}); return nil }); err != nil {
		t.Fatal(err)
	}
	c := node(t, settings, "c", Lease) // a new node reads all
	for _, s := range []*Store{a, b, c} {
		if get(s, "x") != "none" || get(s, "empty") != "" {
			t.Errorf("%s has %q and %q", s.opts.Node, get(s, "x"), get(s, "empty"))
		}
	}
}

// Nodes that count in one document at the same time lose no count.
func TestNoUpdateIsLost(t *testing.T) {
	settings := brokers(t)
	const each = 6
	var stores []*Store
	for _, name := range []string{"a", "b", "c"} {
		stores = append(stores, node(t, settings, name, Lease))
	}
	var wait sync.WaitGroup
	for _, s := range stores {
		wait.Go(func() {
			for range each {
				err := s.Catalog().Update(context.Background(), func(tx *catalog.Tx) error {
					n := 0
					if doc, ok := tx.Get(catalog.Key{Kind: "doc", Name: "n"}); ok {
						n, _ = strconv.Atoi(string(doc))
					}
					tx.Put(catalog.Key{Kind: "doc", Name: "n"}, []byte(strconv.Itoa(n+1)))
					tx.Put(catalog.Key{Kind: "by", Name: s.opts.Node + strconv.Itoa(n)}, []byte("1"))
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	for _, s := range stores {
		if got := get(s, "n"); got != strconv.Itoa(3*each) {
			t.Errorf("%s counts %s", s.opts.Node, got)
		}
		if got := len(s.Catalog().Snapshot().Names("by")); got != 3*each {
			t.Errorf("%s has %d marks", s.opts.Node, got)
		}
	}
}

func TestRefusedUpdateChangesNothing(t *testing.T) {
	s := node(t, brokers(t), "a", Lease)
	refused := errors.New("refused")
	err := s.Catalog().Update(t.Context(), func(tx *catalog.Tx) error { tx.Put(catalog.Key{Kind: "doc", Name: "x"}, nil); return refused })
	if err != refused || get(s, "x") != "none" {
		t.Errorf("got %v, %q", err, get(s, "x"))
	}
	err = s.Catalog().Update(t.Context(), func(tx *catalog.Tx) error {
		tx.Put(catalog.Key{Kind: "doc", Name: "x"}, make([]byte, catalog.MaxDocumentBytes+1))
		return nil
	})
	if !fault.Is(err, fault.LimitExceeded) {
		t.Errorf("too large: %v", err)
	}
	put(t, s, "large", string(make([]byte, 5<<20)))
}

// A node that says nothing is waited for as long as the lease, and no longer; one that has left is not waited for.
func TestSilentNodeIsWaitedForUntilTheLease(t *testing.T) {
	const lease = 1500 * time.Millisecond
	settings := brokers(t)
	a, b := node(t, settings, "a", lease), node(t, settings, "b", lease)
	version, err := a.Catalog().Commit(t.Context(), func(tx *catalog.Tx) error { tx.Put(catalog.Key{Kind: "doc", Name: "x"}, nil); return nil })
	if err != nil {
		t.Fatal(err)
	}
	a.Drained(int64(version))
	began := time.Now()
	if err := a.AwaitDrained(t.Context(), int64(version)); err != nil || time.Since(began) < lease-beatEvery/4 && time.Since(began) < lease/2 {
		t.Errorf("b has not drained: %v after %v", err, time.Since(began))
	}
	b.Drained(int64(version))
	began = time.Now()
	if err := a.AwaitDrained(t.Context(), int64(version)); err != nil || time.Since(began) >= lease {
		t.Errorf("both have drained: %v after %v", err, time.Since(began))
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	if err := a.AwaitDrained(t.Context(), int64(version)); err != nil || time.Since(began) >= lease {
		t.Errorf("b has left: %v after %v", err, time.Since(began))
	}
}

// A node that follows is fresh; one whose followers stand still is not, and says so.
func TestFreshStandsStillWithTheFollower(t *testing.T) {
	const lease = time.Second
	s := node(t, brokers(t), "a", lease)
	if age := time.Since(s.Fresh()); age > lease {
		t.Errorf("just opened, and %v old", age)
	}
	if err := s.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	s.cancel()
	s.own.Wait()
	s.change(func() { s.beaten = s.beaten.Add(-2 * lease) })
	if err := s.Healthy(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("it stands still: %v", err)
	}
}

// A node that was silent for longer than the lease does not believe what it read before.
func TestSilentNodeReadsAgain(t *testing.T) {
	s := node(t, brokers(t), "a", time.Second)
	s.change(func() { s.beaten = s.beaten.Add(-time.Hour) })
	if err := s.beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	floor := s.floor
	s.mu.Unlock()
	if time.Since(floor) > time.Second {
		t.Fatal("no floor was set")
	}
	if err := s.await(t.Context(), func() bool { return s.view.fresh.After(floor) }); err != nil {
		t.Fatal(err)
	}
	if s.Fresh().IsZero() {
		t.Error("it has read again, and is not fresh")
	}
}

// What a transaction that hangs has written is never seen, and holds up the next update only until that has begun.
func TestHangingTransactionIsEnded(t *testing.T) {
	settings := brokers(t)
	a := node(t, settings, "a", Lease)
	dead, err := a.producer()
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	if err := dead.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	u := update{s: a, tx: "dead"}
	if err := dead.ProduceSync(t.Context(), u.records(catalog.Writes{{Kind: "doc", Name: "x"}: []byte("dead")})...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	put(t, a, "y", "1")
	if get(a, "x") != "none" || get(a, "y") != "1" {
		t.Errorf("x %q, y %q", get(a, "x"), get(a, "y"))
	}
	if err := dead.EndTransaction(t.Context(), kgo.TryCommit); err == nil {
		t.Error("the fenced transaction was committed")
	}
}

// A broker that fences the transaction which is to end may answer with errors that tell nothing of it: the update finds out
// that nothing has happened, and is made again.
func TestUpdateIsMadeAgainWhenItsEndFails(t *testing.T) {
	cluster, settings := fake(t)
	s := node(t, settings, "a", Lease)
	for i, cause := range []*kerr.Error{kerr.UnknownServerError, kerr.InvalidTxnState, kerr.ProducerFenced} {
		var refused atomic.Bool
		cluster.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
			if !req.(*kmsg.EndTxnRequest).Commit || refused.Swap(true) {
				return nil, nil, false
			}
			answer := req.ResponseKind().(*kmsg.EndTxnResponse)
			answer.ErrorCode = cause.Code
			return answer, nil, true
		})
		put(t, s, "x", fmt.Sprint(i))
		if got := get(s, "x"); got != fmt.Sprint(i) || !refused.Load() {
			t.Errorf("%v: x is %s; refused: %t", cause, got, refused.Load())
		}
	}
}

// Of two processes of one name the later one is right; one that is started again in its own place is told nothing.
func TestOneProcessANode(t *testing.T) {
	settings := brokers(t)
	ended := make(chan error, 2)
	open := func() *Store {
		t.Helper()
		s, err := Open(t.Context(), Options{Settings: settings, Node: "a", IDs: ids.New(), Log: slog.New(slog.DiscardHandler),
			Fatal: func(err error) { ended <- err }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := open()
	before.stop() // without a word
	first := open()
	defer first.Close(context.Background())
	put(t, first, "x", "1")
	select {
	case err := <-ended:
		t.Fatalf("a restart: %v", err)
	default:
	}
	second := open()
	defer second.Close(context.Background())
	if err := <-ended; !fault.Is(err, fault.InUse) {
		t.Errorf("got %v", err)
	}
	put(t, second, "x", "2")
	if len(ended) != 0 {
		t.Error("the later one was ended")
	}
}
