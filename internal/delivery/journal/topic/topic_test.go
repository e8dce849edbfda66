package topic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/journal/journaltest"
	"millrace/internal/fault"
	"millrace/internal/kafka"
)

const testSession = time.Second

// brokers is a cluster in memory and the journals that were opened on it.
type brokers struct {
	cluster  *kfake.Cluster
	settings *kafka.Settings
	nodes    atomic.Int64
	frozen   sync.Map    // *Journal -> *cold
	losing   atomic.Bool // answers of commits
	now      func() time.Time
	session  time.Duration // default testSession
	group    []kgo.Opt     // of the nodes that are opened next
}

func newBrokers(t *testing.T) *brokers {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &brokers{cluster: c, settings: &kafka.Settings{Brokers: c.ListenAddrs(), Prefix: kafka.DefaultPrefix,
		Replication: kafka.DefaultReplication, MinInSync: kafka.DefaultMinInSync}}
}

// open opens the journal as one more node, or, with an id, as that one.
func (b *brokers) open(t *testing.T, id string) *Journal {
	t.Helper()
	if id == "" {
		id = fmt.Sprint("node", b.nodes.Add(1))
	}
	f := &cold{}
	opts := Options{Settings: b.settings, NodeID: id, Partitions: 6, Now: b.now, session: cmp.Or(b.session, testSession),
		groupOpts: append([]kgo.Opt{kgo.Dialer(f.dial)}, b.group...),
		loseAnswer: func() error {
			if b.losing.Load() {
				return errLost
			}
			return nil
		}}
	if testing.Verbose() {
		opts.Log = slog.New(slog.NewTextHandler(t.Output(), nil)).With("node", id)
	}
	j, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	b.frozen.Store(j, f)
	t.Cleanup(func() {
		f.thaw()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		j.Close(ctx)
	})
	return j
}

// cold is a network that stops: nothing that is written leaves, and nothing comes, until it thaws.
type cold struct {
	mu     sync.Mutex
	thawed chan struct{} // nil: not frozen
}

func (f *cold) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &coldConn{conn, f}, nil
}

func (f *cold) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.thawed = make(chan struct{})
}

func (f *cold) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.thawed != nil {
		close(f.thawed)
		f.thawed = nil
	}
}

func (f *cold) wait() {
	f.mu.Lock()
	thawed := f.thawed
	f.mu.Unlock()
	if thawed != nil {
		<-thawed
	}
}

type coldConn struct {
	net.Conn
	f *cold
}

func (c *coldConn) Write(p []byte) (int, error) { c.f.wait(); return c.Conn.Write(p) }

func (c *coldConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.f.wait()
	return n, err
}

func TestTopic(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) *journaltest.Cluster {
		b := newBrokers(t)
		return &journaltest.Cluster{
			Open: func(t *testing.T) journal.Journal { return b.open(t, "") }, Several: true,
			Expel: func(t *testing.T, j journal.Journal) func() {
				f, _ := b.frozen.Load(j)
				f.(*cold).freeze()
				return f.(*cold).thaw
			},
			LoseAnswers: func(_ *testing.T, _ journal.Journal) func() { return b.loseAnswers() },
		}
	})
}

// loseAnswers makes every second commit happen, and loses the answers of all.
func (b *brokers) loseAnswers() (stop func()) {
	var times atomic.Int64
	b.cluster.ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		if !b.losing.Load() || !r.(*kmsg.EndTxnRequest).Commit || times.Add(1)%2 == 0 {
			return nil, nil, false
		}
		return nil, errLost, true
	})
	b.losing.Store(true)
	return func() { b.losing.Store(false) }
}

var errLost = errors.New("the answer is lost")

// A node that stops between the group's consent and the commit holds up the one that takes over until it is known whether
// the commit comes.
func TestCommitThatComesLate(t *testing.T) {
	b := newBrokers(t)
	j, mj := b.open(t, "late"), new(journaltest.Member)
	must(t, j.Join(t.Context(), mj))
	journaltest.Await(t, "a node alone owns all", func() bool { return len(mj.Owned()) == j.Slots() })
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{journaltest.Row("d", 1, 1)}}))

	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.cluster.ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		if strings.HasSuffix(r.(*kmsg.EndTxnRequest).TransactionalID, ".late") {
			once.Do(func() { b.cluster.SleepControl(func() { close(held); <-release }) })
		}
		return nil, nil, false
	})
	written := make(chan error, 1)
	go func() {
		written <- j.Write(t.Context(), &journal.Change{Rows: []journal.Row{journaltest.Row("d", 1, 2)}})
	}()
	<-held
	f, _ := b.frozen.Load(j)
	f.(*cold).freeze()
	k, mk := b.open(t, ""), new(journaltest.Member)
	must(t, k.Join(t.Context(), mk))
	slot := journal.SlotOf(journaltest.Row("d", 1, 1).Key, k.Slots())
	journaltest.Await(t, "the group has given all slots to the other node", func() bool {
		k.owner.mu.Lock()
		defer k.owner.mu.Unlock()
		return !slices.Contains(k.owner.assigned, false)
	})
	if slices.Contains(mk.Owned(), slot) {
		t.Error("the slot was taken over while its last transaction was open")
	}
	close(release)
	must(t, <-written)
	journaltest.Await(t, "the other node owns the slot", func() bool { return slices.Contains(mk.Owned(), slot) })
	row, _, _, err := k.LoadShard(t.Context(), journaltest.Row("d", 1, 1).Key)
	if err != nil || row.Version != 2 {
		t.Errorf("row %+v, %v", row, err)
	}
}

// A process that is started again under the same node id ends what the one before has left open, and the one before can
// write no more.
func TestRestartOfANode(t *testing.T) {
	b := newBrokers(t)
	j, mj := b.open(t, "same"), new(journaltest.Member)
	must(t, j.Join(t.Context(), mj))
	journaltest.Await(t, "a node alone owns all", func() bool { return len(mj.Owned()) == j.Slots() })
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{journaltest.Row("d", 1, 1)}}))
	f, _ := b.frozen.Load(j)
	f.(*cold).freeze()
	k, mk := b.open(t, "same"), new(journaltest.Member)
	must(t, k.Join(t.Context(), mk))
	journaltest.Await(t, "the new process owns all", func() bool { return len(mk.Owned()) == k.Slots() })
	row, _, _, err := k.LoadShard(t.Context(), journaltest.Row("d", 1, 1).Key)
	if err != nil || row.Version != 1 {
		t.Errorf("row %+v, %v", row, err)
	}
	must(t, k.Write(t.Context(), &journal.Change{Rows: []journal.Row{journaltest.Row("d", 1, 2)}}))
	if err := j.Write(t.Context(), &journal.Change{Rows: []journal.Row{journaltest.Row("d", 2, 1)}}); err == nil {
		t.Error("the old process wrote")
	}
}

// What was written before is there for a node that comes when the brokers have compacted.
func TestCompactedTopicReadsTheSame(t *testing.T) {
	b := newBrokers(t)
	j, m := b.open(t, ""), new(journaltest.Member)
	must(t, j.Join(t.Context(), m))
	journaltest.Await(t, "a node alone owns all", func() bool { return len(m.Owned()) == j.Slots() })
	for version := range uint64(30) {
		r := journaltest.Row("d", 1, version+1)
		c := &journal.Change{Rows: []journal.Row{r}, Plan: []*journal.Manifest{journaltest.Manifest(r, version+1)}}
		if version > 0 {
			c.Remove = []*journal.Manifest{journaltest.Manifest(r, version)}
		}
		must(t, j.Write(t.Context(), c))
	}
	gone := journaltest.Row("gone", 1, 1)
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{gone}}))
	must(t, j.Write(t.Context(), &journal.Change{Drop: []journal.Row{gone}}))
	b.cluster.Compact()
	k := b.open(t, "")
	must(t, k.Join(t.Context(), new(journaltest.Member)))
	journaltest.Await(t, "the row is there", func() bool {
		rows, manifests, err := k.Load(t.Context(), "d")
		must(t, err)
		return len(rows) == 1 && rows[0].Version == 30 && len(manifests) == 1 && manifests[0].Ordinal == 30
	})
	if names, err := k.Deliveries(t.Context()); err != nil || len(names) != 1 {
		t.Errorf("deliveries %q, %v", names, err)
	}
}

// A node that was cut off for so long that the brokers have forgotten what was removed meanwhile does not go on with it.
func TestLongAbsence(t *testing.T) {
	b := newBrokers(t)
	j, mj := b.open(t, ""), new(journaltest.Member)
	must(t, j.Join(t.Context(), mj))
	journaltest.Await(t, "a node alone owns all", func() bool { return len(mj.Owned()) == j.Slots() })
	r := journaltest.Row("d", 1, 1)
	must(t, j.Write(t.Context(), &journal.Change{Rows: []journal.Row{r}}))

	var ahead atomic.Int64
	b.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	k, mk := b.open(t, ""), new(journaltest.Member)
	journaltest.Await(t, "the row is seen", func() bool { _, ok, _, err := k.LoadShard(t.Context(), r.Key); return ok && err == nil })
	ghost := journaltest.Row("d", 1+uint32(k.Slots()), 7)
	m := journaltest.Manifest(r, 3)
	k.state.mu.Lock() // what the brokers do not have any more
	k.state.apply([]item{{kind: rowKind, key: ghost.Key, row: &ghost}, {kind: manifestKind, key: r.Key, ordinal: 3, manifest: m}}, true)
	k.state.mu.Unlock()
	ahead.Store(int64(48 * time.Hour))
	must(t, j.Leave(t.Context()))
	must(t, k.Join(t.Context(), mk))
	journaltest.Await(t, "the other node owns all", func() bool { return len(mk.Owned()) == k.Slots() })
	rows, manifests, err := k.Load(t.Context(), "d")
	if err != nil || len(rows) != 1 || rows[0].Version != 1 || len(manifests) != 0 {
		t.Errorf("rows %+v, manifests %+v, %v", rows, manifests, err)
	}
	must(t, k.Write(t.Context(), &journal.Change{Rows: []journal.Row{journaltest.Row("d", 1, 2)}}))
}

// Nothing of what a record may say makes the follower panic, and what it can't read it names.
func FuzzParse(f *testing.F) {
	r := journaltest.Row("d", 1, 1)
	c := &journal.Change{Rows: []journal.Row{r}, Plan: []*journal.Manifest{journaltest.Manifest(r, 1)}, Drop: []journal.Row{r}}
	recs, err := records("t", 0, 1, items(c))
	if err != nil {
		f.Fatal(err)
	}
	for _, rec := range recs {
		f.Add(rec.Key, rec.Value, rec.Headers[0].Value)
	}
	f.Add([]byte("c"), []byte("node"), []byte{})
	f.Add([]byte("fdelivery"), []byte("MJF\x01\x00\x00\x00\x00{}"), []byte{})
	f.Fuzz(func(t *testing.T, key, value, header []byte) {
		s := newState(1)
		rec := &kgo.Record{Topic: "t", Key: key, Value: value, Headers: []kgo.RecordHeader{{Key: changeHeader, Value: header}}}
		if err := s.read(rec); err != nil && !fault.Is(err, fault.Corrupt) {
			t.Errorf("got %v", err)
		}
	})
}

// The number of partitions is for ever.
func TestPartitionsMayNotBeAdded(t *testing.T) {
	recs, err := records("t", 5, 1, []item{{kind: rowKind, key: journaltest.Row("d", 1, 1).Key}})
	must(t, err)
	recs[0].Partition = int32((journal.SlotOf(journaltest.Row("d", 1, 1).Key, 6) + 1) % 6)
	err = newState(6).read(recs[0])
	if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), "partitions") {
		t.Errorf("got %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
