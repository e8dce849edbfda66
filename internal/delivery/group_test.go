package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/journal/journaltest"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// group is several engines over one source, one bucket, one set of definitions and one journal.
type group struct {
	*node // what they share; its engine is the first one's
	group *journaltest.Group
	nodes []*groupNode
	seeds uint64
	open  func(node uint64) journal.Journal // nil: group's
}

type groupNode struct {
	engine  *Engine
	journal *journaltest.Node

	mu     sync.Mutex
	stopAt string // the failpoint at which whoever comes there is stopped, once
	nth    int
	resume chan struct{}
	stops  chan struct{} // closed when somebody has been stopped
}

const testSlots = 8

func newGroup(t *testing.T, nodes int) *group { return newGroupWith(t, nodes, Options{}) }

func newGroupWith(t *testing.T, nodes int, opts Options) *group {
	g := &group{node: newNode(t, opts), group: journaltest.NewGroup(testSlots)}
	for range nodes {
		g.join()
	}
	g.engine = g.nodes[0].engine
	return g
}

// join starts one more node.
func (g *group) join() *groupNode {
	g.t.Helper()
	g.seeds++
	m := &groupNode{resume: make(chan struct{}), stops: make(chan struct{})}
	opts := g.opts
	opts.Source, opts.Sink, opts.Definitions = g.source, g.sink, g.defs
	if g.open != nil {
		opts.Journal = g.open(g.seeds)
	} else {
		m.journal = g.group.Node()
		opts.Journal = m.journal
	}
	opts.Account, opts.IDs, opts.Failpoint = testAccount, ids.Seeded(g.seeds), m.failpoint
	var err error
	if m.engine, err = New(opts); err != nil {
		g.t.Fatal(err)
	}
	if err := m.engine.Start(background); err != nil {
		g.t.Fatal(err)
	}
	g.nodes = append(g.nodes, m)
	return m
}

func (m *groupNode) failpoint(at string) {
	m.mu.Lock()
	stop := at == m.stopAt
	if stop {
		if m.nth--; m.nth > 0 {
			stop = false
		} else {
			m.stopAt = ""
		}
	}
	stops, resume := m.stops, m.resume
	m.mu.Unlock()
	if stop {
		close(stops)
		<-resume
	}
}

// freezeAt makes whoever comes to a failpoint for the nth time wait there until thaw.
func (m *groupNode) freezeAt(name string, nth int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopAt, m.nth = name, nth
}

func (m *groupNode) thaw() { close(m.resume) }

func (g *group) leave(m *groupNode) {
	g.t.Helper()
	if err := m.engine.Close(background); err != nil {
		g.t.Error(err)
	}
	g.nodes = slices.DeleteFunc(g.nodes, func(n *groupNode) bool { return n == m })
	if len(g.nodes) > 0 {
		g.engine = g.nodes[0].engine
	}
}

func (g *group) close() {
	for len(g.nodes) > 0 {
		g.leave(g.nodes[0])
	}
}

// agree checks that every node gives the same ledger of a delivery stream.
func (g *group) agree(name string) Line {
	g.t.Helper()
	var first Line
	for i, m := range g.nodes {
		g.engine = m.engine
		line := g.ledger(name)
		if i == 0 {
			first = line
		}
		equal(g.t, fmt.Sprintf("ledger of node %d", i), line, first)
	}
	g.engine = g.nodes[0].engine
	return first
}

func TestGroupDeliversOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := newGroup(t, 2)
		g.stream("s", 6)
		g.create(request("d", "s", hints(1, 5)))
		numbers := 0
		put := func(rounds int) {
			for range rounds {
				numbers++
				for key := range 10 {
					g.append("s", fmt.Sprint(key), text1(fmt.Sprint(key), numbers, 3))
				}
				time.Sleep(time.Second)
			}
		}
		put(12)
		third := g.join()
		put(12)
		shards := 0
		for i, m := range g.nodes {
			n := m.engine.Metrics(background).DeliveryStreams[0].ShardsFollowed
			if shards += n; n == 0 {
				t.Errorf("node %d has no shard", i)
			}
		}
		equal(t, "shards of three nodes", shards, 6)
		g.leave(g.nodes[0])
		put(12)
		g.leave(third)
		put(12)
		time.Sleep(time.Minute)
		g.verify("d")
		g.agree("d")
		g.close()
	})
}

// A node that is taken for dead at any step, and is not, doubles and loses nothing.
func TestZombieAtEveryStep(t *testing.T) {
	for _, name := range []string{"plan-before", "plan-after", "put-before", "put-after", "commit-before", "commit-after"} {
		for nth := 1; nth <= 3; nth++ {
			for _, told := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s-%d-%v", name, nth, told), func(t *testing.T) {
					inBubble(t, func(t *testing.T) { zombieAt(t, name, nth, told) })
				})
			}
		}
	}
}

// told says whether the zombie hears of its loss before it goes on, or after.
func zombieAt(t *testing.T, name string, nth int, told bool) {
	g := newGroup(t, 2)
	g.stream("s", 4)
	g.create(request("d", "s", hints(1, 5)))
	zombie := g.nodes[1]
	zombie.freezeAt(name, nth)
	numbers := 0
	put := func(rounds int) {
		for range rounds {
			numbers++
			for key := range 8 {
				g.append("s", fmt.Sprint(key), text1(fmt.Sprint(key), numbers, 3))
			}
			time.Sleep(time.Second)
		}
	}
	put(20)
	<-zombie.stops
	g.group.Expel(zombie.journal)
	put(7)
	if told {
		g.group.Return(zombie.journal)
		put(7)
		zombie.thaw()
	} else {
		zombie.thaw()
		put(7)
		g.group.Return(zombie.journal)
	}
	put(7)
	time.Sleep(time.Minute)
	g.verify("d")
	g.agree("d")
	for _, m := range g.nodes {
		equal(t, "fenced shards", m.engine.Metrics(background).DeliveryStreams[0].ShardsFencedAway, 0)
		equal(t, "trouble", len(m.engine.Trouble()), 0)
	}
	g.close()
}

// Children wait for parents that another node delivers.
func TestChildrenWaitForParentsOfOtherNodes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := newGroup(t, 4)
		defer g.close()
		g.stream("s", 1)
		g.create(request("d", "s", hints(1, 5)))
		g.setHang("events", true)
		g.append("s", "k", "1")
		time.Sleep(6 * time.Second)
		g.source.split("s", 0)
		g.append("s", "k", "2")
		time.Sleep(10 * time.Minute)
		g.source.split("s", 1)
		g.source.split("s", 2)
		g.append("s", "k", "3")
		time.Sleep(10 * time.Minute)
		equal(t, "in flight", g.agree("d").InFlight, 3)
		g.setHang("events", false)
		time.Sleep(3 * time.Minute)
		equal(t, "objects", joined(g.objects("events")), "1|2|3")
		equal(t, "in flight", g.agree("d").InFlight, 0)
	})
}

// A shard that was closed before the delivery stream was made is not waited for, whoever owns its slot.
func TestClosedShardsAreNotWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.close()
		g.stream("s", 1)
		g.append("s", "k", "before")
		g.source.split("s", 0)
		g.append("s", "k", "before too")
		g.create(request("d", "s", hints(1, 5)))
		g.append("s", "k", "1")
		time.Sleep(10 * time.Second)
		equal(t, "objects", joined(g.objects("events")), "1")
		equal(t, "accepted", g.agree("d").Accepted, 1)
	})
}

// Any node takes any call, and the others follow.
func TestEveryNodeServesEveryCall(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.close()
		g.create(request("d", "", hints(1, 5)))
		for i, m := range g.nodes {
			g.engine = m.engine
			g.put("d", fmt.Sprint(i))
		}
		time.Sleep(10 * time.Second)
		equal(t, "objects", joined(g.objects("events")), "012")
		prefix := "new/"
		update := &UpdateRequest{DeliveryStreamName: "d", CurrentDeliveryStreamVersionId: "1", DestinationId: DestinationID,
			ExtendedS3DestinationUpdate: &S3Update{S3ConfigurationUpdate: S3ConfigurationUpdate{Prefix: &prefix}}}
		if _, err := g.nodes[2].engine.UpdateDestination(background, update); err != nil {
			t.Fatal(err)
		}
		_, err := g.nodes[1].engine.UpdateDestination(background, update)
		equal(t, "the same version twice", fault.KindOf(err), fault.PreconditionFailed)
		g.put("d", "3")
		time.Sleep(10 * time.Second)
		equal(t, "objects", joined(g.objects("events")), "012|3")
		if key := g.sink.keys("events")[1]; !strings.HasPrefix(key, "new/") {
			t.Errorf("key %s", key)
		}
		_, err = g.nodes[1].engine.Create(background, request("d", "", nil))
		equal(t, "made twice", fault.KindOf(err), fault.InUse)
		equal(t, "streams", len(g.source.Streams()), 1)
	})
}

func TestDeleteFromEveryNode(t *testing.T) {
	for node := range 3 {
		inBubble(t, func(t *testing.T) { deleteFrom(t, node) })
	}
}

func deleteFrom(t *testing.T, node int) {
	g := newGroup(t, 3)
	defer g.close()
	g.stream("s", 6)
	g.create(request("d", "s", hints(1, 5)))
	for key := range 20 {
		g.append("s", fmt.Sprint(key), "x")
	}
	time.Sleep(10 * time.Second)
	for key := range 10 {
		g.append("s", fmt.Sprint(key), "x")
	}
	time.Sleep(time.Second)
	equal(t, "accepted", g.agree("d").Accepted, 30)
	if err := g.nodes[node].engine.Delete(background, "d"); err != nil {
		t.Fatal(err)
	}
	equal(t, "definitions", len(g.defs.all), 0)
	line := g.agree("d")
	equal(t, "accepted", line.Accepted, 30)
	equal(t, "delivered", line.Delivered, 20)
	equal(t, "discarded", line.Discarded, 10)
	time.Sleep(2 * sweepRetry)
	rows, err := g.nodes[0].journal.Deliveries(background)
	if err != nil || len(rows) != 0 {
		t.Errorf("rows of %q, %v", rows, err)
	}
	g.create(request("d", "s", hints(1, 5))) // the name is free
	g.append("s", "k", "again")
	time.Sleep(10 * time.Second)
	equal(t, "accepted", g.agree("d").Accepted, 1)
	if err := g.nodes[(node+1)%3].engine.Delete(background, "d"); err != nil {
		t.Fatal(err)
	}
}

// A deletion that waits for a node that is away is visible, goes on when its slots have another owner, and survives that
// all nodes are replaced.
func TestDeletionWaitsForSlotsWithoutOwner(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := newGroup(t, 2)
		defer g.close()
		g.stream("s", 6)
		g.create(request("d", "s", hints(1, 5)))
		for key := range 20 {
			g.append("s", fmt.Sprint(key), "x")
		}
		time.Sleep(10 * time.Second)
		for key := range 5 {
			g.append("s", fmt.Sprint(key), "x")
		}
		refusing := g.nodes[1].journal
		refusing.Answer(func() (bool, error) { return false, errOut })
		before := time.Now()
		if err := g.nodes[0].engine.Delete(background, "d"); err != nil {
			t.Fatal(err)
		}
		equal(t, "waited", time.Since(before), deleteTimeout)
		def, err := g.nodes[0].engine.Describe("d")
		if err != nil || def.Status != Deleting {
			t.Fatalf("%+v, %v", def, err)
		}
		if _, err := g.nodes[0].engine.Create(background, request("d", "s", nil)); !fault.Is(err, fault.InUse) {
			t.Errorf("made while it is being deleted: %v", err)
		}
		g.leave(g.nodes[0])
		g.join()
		refusing.Answer(nil)
		time.Sleep(5 * time.Second)
		line := g.agree("d")
		equal(t, "delivered", line.Delivered, 20)
		equal(t, "discarded", line.Discarded, 5)
		equal(t, "definitions", len(g.defs.all), 0)
	})
}

// What is lost of the answers of a deletion changes nothing in its sums.
func TestDeletionWithLostAnswers(t *testing.T) {
	for seed := range uint64(20) {
		inBubble(t, func(t *testing.T) {
			g := newGroup(t, 3)
			defer g.close()
			g.stream("s", 6)
			g.create(request("d", "s", hints(1, 5)))
			for key := range 20 {
				g.append("s", fmt.Sprint(key), "x")
			}
			time.Sleep(10 * time.Second)
			g.append("s", "k", "x")
			var mu sync.Mutex
			r := rand.New(rand.NewPCG(seed, 0))
			for _, m := range g.nodes {
				m.journal.Answer(func() (bool, error) {
					mu.Lock()
					defer mu.Unlock()
					if r.IntN(2) == 0 {
						return r.IntN(2) == 0, errOut
					}
					return true, nil
				})
			}
			if err := g.nodes[seed%3].engine.Delete(background, "d"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			line := g.agree("d")
			equal(t, "accepted", line.Accepted, 21)
			// The last one is discarded, unless what is held up by lost answers lets its buffer get old before.
			equal(t, "delivered and discarded", line.Delivered+line.Discarded, 21)
			if line.Delivered < 20 {
				t.Errorf("%d delivered of 20", line.Delivered)
			}
			equal(t, "definitions", len(g.defs.all), 0)
		})
	}
}

// Shards that are drained and gone are forgotten in their slot, and stay counted.
func TestGroupForgetsShards(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := newGroup(t, 3)
		defer g.close()
		g.stream("s", 4)
		g.create(request("d", "s", hints(1, 5)))
		for key := range 20 {
			g.append("s", fmt.Sprint(key), "x")
		}
		time.Sleep(10 * time.Second)
		for shard := range uint32(4) {
			g.source.split("s", shard)
		}
		time.Sleep(10 * time.Second)
		for shard := range uint32(4) {
			g.source.forget("s", shard)
		}
		time.Sleep(groupGrace + time.Minute)
		l, err := g.nodes[1].engine.Ledger(background)
		if err != nil || l.Check() != nil {
			t.Fatal(err, l.Check())
		}
		equal(t, "retired", l.DeliveryStreams[0].Retired.Delivered, 20)
		equal(t, "shards", len(l.DeliveryStreams[0].Shards), 8)
		equal(t, "delivered", g.agree("d").Delivered, 20)
	})
}

// A node that does not know the newest definition yet does not plan under an old one after a node that did: keys would
// not sort in the order of the records.
func TestVersionsNeverFallWithinAShard(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := newGroup(t, 2)
		defer g.close()
		g.create(request("d", "", hints(1, 5)))
		old := g.defs.all["d"]
		if _, err := g.engine.UpdateDestination(background, &UpdateRequest{DeliveryStreamName: "d", CurrentDeliveryStreamVersionId: "1",
			DestinationId: DestinationID, ExtendedS3DestinationUpdate: &S3Update{}}); err != nil {
			t.Fatal(err)
		}
		g.put("d", "1")
		time.Sleep(10 * time.Second)
		owner, other := g.nodes[0], g.nodes[1]
		if other.engine.Metrics(background).DeliveryStreams[0].ShardsFollowed > 0 {
			owner, other = other, owner
		}
		d, err := other.engine.find("test", "d")
		if err != nil {
			t.Fatal(err)
		}
		current := d.definition.Load()
		if err := d.use(old); err != nil {
			t.Fatal(err)
		}
		g.group.Expel(owner.journal)
		g.put("d", "2")
		time.Sleep(20 * time.Second)
		equal(t, "objects", joined(g.objects("events")), "1")
		if trouble := other.engine.Trouble()["d"].Error; !strings.Contains(trouble, "version 2") {
			t.Errorf("trouble %q", trouble)
		}
		if err := d.use(current); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		equal(t, "objects", joined(g.objects("events")), "1|2")
		g.group.Return(owner.journal)
	})
}

// A source that nobody can hold is watched, and what it drops is counted as far as it is known.
func TestSourceWithoutHoldsAndPositions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{})
		n.source.sparse = true
		n.start()
		defer n.close()
		n.stream("s", 1)
		n.create(request("d", "s", hints(1, 5)))
		n.setHang("events", true)
		n.append("s", "k", "1")
		time.Sleep(10 * time.Hour)
		if n.engine.Trouble()["d"].Error == "" || strings.Contains(n.engine.Trouble()["d"].Error, "have waited") {
			t.Errorf("trouble %+v", n.engine.Trouble())
		}
		time.Sleep(3 * time.Hour)
		if trouble := n.engine.Trouble()["d"].Error; !strings.Contains(trouble, "have waited for 13h") {
			t.Errorf("trouble %q", trouble)
		}
		n.setHang("events", false)
		time.Sleep(2 * stallTimeout)
		equal(t, "trouble", len(n.engine.Trouble()), 0)
		n.close()
		for _, r := range []string{"2", "3", "4", "5"} {
			n.append("s", "k", r)
		}
		n.source.trim("s", 0, 3)
		n.source.guess = 5 // more than there were: an upper bound
		n.start()
		time.Sleep(10 * time.Second)
		equal(t, "objects", joined(n.objects("events")), "1|45")
		line := n.ledger("d")
		equal(t, "expired", line.Expired, 5)
		equal(t, "delivered", line.Delivered, 3)
		n.close()
		n.append("s", "k", "6")
		n.source.trim("s", 0, 9)
		n.source.guess = 0 // it does not know
		n.start()
		time.Sleep(10 * time.Second)
		row := n.engine.deliveries()[0].list()[0].snapshot()
		st, _ := n.source.Stream("s")
		equal(t, "checkpoint behind the gap", position(st.Shards[0].Created, 0, row.Checkpoint), 6)
	})
}

// Delivery streams of an earlier version have no starts: their rows say where they begin.
func TestDefinitionsOfBeforeTheGroup(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := newNode(t, Options{}).start()
		defer n.close()
		n.stream("s", 1)
		n.append("s", "k", "before")
		n.source.split("s", 0)
		n.append("s", "k", "before too")
		def, err := request("d", "s", hints(1, 5)).Definition()
		if err != nil {
			t.Fatal(err)
		}
		def.ID, def.Status, def.VersionID = "0123456789abcdef", Active, 1
		st, _ := n.source.Stream("s")
		change := &journal.Change{}
		for _, sh := range st.Shards {
			ref := stream.ShardRef{Stream: "s", ID: st.ID, Shard: sh.Index}
			tip, err := n.source.Tip(background, ref)
			if err != nil {
				t.Fatal(err)
			}
			change.Rows = append(change.Rows, journal.Row{Key: journal.Key{Delivery: def.ID, Shard: ref}, Version: 1, Writer: "old",
				Created: sh.Created, Parents: sh.Parents, Start: tip, Checkpoint: tip, Done: !sh.Open()})
		}
		if err := n.engine.Close(background); err != nil { // at work it sweeps away rows that no definition owns
			t.Fatal(err)
		}
		if err := n.engine.opts.Journal.Write(background, change); err != nil {
			t.Fatal(err)
		}
		n.defs.all["d"] = def
		n.restart()
		n.append("s", "k", "1")
		time.Sleep(10 * time.Second)
		equal(t, "objects", joined(n.objects("events")), "1")
		equal(t, "accepted", n.ledger("d").Accepted, 1)
	})
}

// Random histories of a group: nodes come, go, freeze at failpoints and are taken for dead; the bucket fails; answers of
// the journal are lost; shards split; the definition changes.
func TestRandomGroupHistories(t *testing.T) {
	rounds := *histories
	if testing.Short() {
		rounds = min(rounds, 10)
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				(&groupHistory{r: rand.New(rand.NewPCG(seed, 3)), numbers: map[string]int{}}).run(t)
			})
		})
	}
}

type groupHistory struct {
	*group
	opts    Options
	lanes   func(*S3Destination) // a destination of several lanes; nil: of one
	r       *rand.Rand
	numbers map[string]int
	zombies []*groupNode // expelled
	updates int
	out     bool

	mu     sync.Mutex // guards faults
	faults *rand.Rand
	lossy  bool
}

func (h *groupHistory) run(t *testing.T) {
	h.faults = rand.New(rand.NewPCG(h.r.Uint64(), 4))
	h.group = newGroupWith(t, 1+h.r.IntN(3), h.opts)
	h.stream("s", 1+h.r.IntN(4))
	if h.lanes == nil {
		h.create(request("d", "s", func(d *S3Destination) {
			hints(1, h.r.IntN(10))(d)
			prefix := "p000/"
			d.Prefix = &prefix
		}))
	} else {
		h.create(request("d", "s", extended(h.lanes)))
	}
	h.lossy = h.r.IntN(2) == 0
	for _, m := range h.nodes {
		h.equip(m)
	}
	for range 120 {
		h.step()
	}
	h.quiet()
	for len(h.zombies) > 0 {
		h.wake()
	}
	time.Sleep(5 * time.Minute)
	if h.lanes == nil {
		h.verify("d")
	} else {
		h.verifyLanes()
	}
	h.agree("d")
	h.close()
}

func (h *groupHistory) quiet() {
	h.mu.Lock()
	h.lossy = false
	h.mu.Unlock()
	h.setFail(nil)
}

func (h *groupHistory) equip(m *groupNode) {
	m.journal.Answer(func() (bool, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.lossy && h.faults.IntN(8) == 0 {
			return h.faults.IntN(2) == 0, fault.New(fault.Unavailable, "journal.Write", "", "lost answer")
		}
		return true, nil
	})
}

func (h *groupHistory) step() {
	switch h.r.IntN(20) {
	case 0:
		h.out = !h.out
		if h.out {
			h.setFail(func(string, string) error { return errOut })
		} else {
			h.setFail(nil)
		}
	case 1, 2:
		if len(h.nodes) < 5 {
			h.equip(h.join())
		}
	case 3:
		if len(h.nodes) > 1 {
			h.leave(h.nodes[h.r.IntN(len(h.nodes))])
		}
	case 4, 5:
		h.expel()
	case 6:
		if len(h.zombies) > 0 {
			h.wake()
		}
	case 7:
		h.update()
	case 8:
		st, _ := h.source.Stream("s")
		if sh := st.Shards[h.r.IntN(len(st.Shards))]; sh.Open() && len(st.Shards) < 14 {
			h.source.split("s", sh.Index)
		}
	case 9, 10, 11, 12:
		time.Sleep(time.Duration(h.r.IntN(20)) * time.Second)
	default:
		h.appendSome()
	}
}

// expel takes a node's slots away, at a failpoint that it comes to within a while, or right now.
func (h *groupHistory) expel() {
	if len(h.nodes) < 2 {
		return
	}
	m := h.nodes[h.r.IntN(len(h.nodes))]
	names := []string{"plan-before", "plan-after", "put-before", "put-after", "commit-before", "commit-after", "recover-head"}
	m.freezeAt(names[h.r.IntN(len(names))], 1+h.r.IntN(3))
	time.Sleep(time.Duration(h.r.IntN(15)) * time.Second)
	h.group.group.Expel(m.journal)
	h.nodes = slices.DeleteFunc(h.nodes, func(n *groupNode) bool { return n == m })
	h.engine = h.nodes[0].engine
	h.zombies = append(h.zombies, m)
}

func (h *groupHistory) wake() {
	m := h.zombies[0]
	h.zombies = h.zombies[1:]
	if h.r.IntN(2) == 0 {
		h.group.group.Return(m.journal)
		time.Sleep(time.Duration(h.r.IntN(10)) * time.Second)
		m.freezeAt("", 0)
		m.thaw()
	} else {
		m.freezeAt("", 0)
		m.thaw()
		time.Sleep(time.Duration(h.r.IntN(10)) * time.Second)
		h.group.group.Return(m.journal)
	}
	m.mu.Lock()
	m.resume, m.stops = make(chan struct{}), make(chan struct{})
	m.mu.Unlock()
	h.nodes = append(h.nodes, m)
}

func (h *groupHistory) appendSome() {
	entries := make([]stream.Entry, 1+h.r.IntN(30))
	for i := range entries {
		key := fmt.Sprint("k", h.r.IntN(8))
		h.numbers[key]++
		if h.lanes != nil {
			entries[i] = stream.Entry{PartitionKey: key, Data: []byte(h.someEvents(key))}
			continue
		}
		entries[i] = stream.Entry{PartitionKey: key, Data: []byte(text1(key, h.numbers[key], h.r.IntN(100)))}
	}
	if err := h.source.Append(context.Background(), "s", entries, make([]stream.Result, len(entries))); err != nil {
		h.t.Fatal(err)
	}
}

func (h *groupHistory) update() {
	h.updates++
	prefix := fmt.Sprintf("p%03d/", h.updates)
	m := h.nodes[h.r.IntN(len(h.nodes))]
	def, err := m.engine.Describe("d")
	if err != nil {
		h.t.Fatal(err)
	}
	update := &S3Update{S3ConfigurationUpdate: S3ConfigurationUpdate{Prefix: &prefix}}
	if h.lanes != nil {
		update = h.otherLanes()
	}
	_, err = m.engine.UpdateDestination(background, &UpdateRequest{DeliveryStreamName: "d",
		CurrentDeliveryStreamVersionId: fmt.Sprint(def.VersionID), DestinationId: DestinationID,
		ExtendedS3DestinationUpdate: update})
	if err != nil {
		h.t.Fatal(err)
	}
}
