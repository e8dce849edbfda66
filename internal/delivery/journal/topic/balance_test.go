package topic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/delivery/journal/journaltest"
)

// spread gives the difference between the members that have most and least of the slots from one on.
func spread(plan []int, members, from, run int) int {
	counts := make([]int, members)
	for i := range run {
		counts[plan[(from+i)%len(plan)]]++
	}
	return slices.Max(counts) - slices.Min(counts)
}

// Whatever was before, the shards of a stream are spread within one: any neighbouring slots.
func TestStripesSpreadAnyRun(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, slots := range []int{1, 6, 7, DefaultPartitions} {
		for n := 1; n <= slots+3; n++ {
			have := make([]int, slots)
			for slot := range have {
				have[slot] = rnd.IntN(n+1) - 1
			}
			plan := deal(have, n)
			for from := range slots {
				for run := 1; run <= slots; run++ {
					most := 1
					if from+run > slots && slots%n != 0 {
						most = 2 // where the stripes do not meet
					}
					if got := spread(plan, n, from, run); got > most {
						t.Fatalf("%d slots, %d members: %d slots from %d on differ by %d: %v", slots, n, run, from, got, plan)
					}
				}
			}
			if again := deal(plan, n); !slices.Equal(again, plan) {
				t.Errorf("%d slots, %d members: %v became %v though nothing had changed", slots, n, plan, again)
			}
		}
	}
}

// What moves when members come and go. Needed is what must move under any plan that is even: the slots of those who left, or
// the share of those who came.
func TestStripesMove(t *testing.T) {
	f := func(members, gone, come, needed, moved int) {
		t.Helper()
		have := deal(slices.Repeat([]int{-1}, DefaultPartitions), members)
		for slot, m := range have { // the first leave, the others move up
			have[slot] = max(m-gone, -1)
		}
		after := deal(have, members-gone+come)
		n := 0
		for slot := range after {
			if after[slot] != have[slot] {
				n++
			}
		}
		if n != moved || n < needed {
			t.Errorf("%d members, %d gone, %d come: %d slots moved, want %d (needed: %d)", members, gone, come, n, moved, needed)
		}
	}
	f(3, 0, 0, 0, 0)
	f(3, 1, 1, 16, 16) // replaced
	f(5, 2, 2, 20, 20)
	f(1, 0, 1, 24, 24)
	f(2, 1, 0, 24, 24)
	f(3, 0, 3, 24, 24) // doubled
	f(4, 0, 4, 24, 24)
	f(2, 0, 1, 16, 32) // where the price is paid
	f(3, 1, 0, 16, 32)
	f(3, 0, 1, 12, 36)
	f(4, 1, 0, 12, 36)
	f(8, 0, 1, 5, 40)
	f(47, 0, 1, 1, 1)
	f(48, 0, 5, 0, 0)
}

// player is a member of a group that a test plays.
type player struct {
	id, instance string
	topics       []string
	balancer     kgo.GroupBalancer
	owned        []int32
	generation   int32
}

// round plays one generation: all join, the leader balances, all are told. It reports whether anybody must join again, as
// what is given up is told by joining.
func round(t *testing.T, players []*player, generation int32, slots int) (again bool) {
	t.Helper()
	const topic = "journal"
	var members []kmsg.JoinGroupResponseMember
	for _, p := range players {
		m := kmsg.NewJoinGroupResponseMember()
		m.MemberID = p.id
		if p.instance != "" {
			m.InstanceID = kmsg.StringPtr(p.instance)
		}
		owned := map[string][]int32{}
		if len(p.owned) > 0 {
			owned[topic] = slices.Clone(p.owned)
		}
		m.ProtocolMetadata = p.balancer.JoinGroupMetadata(p.topics, owned, p.generation)
		members = append(members, m)
	}
	b, topics, err := players[0].balancer.MemberBalancer(members)
	must(t, err)
	counts := map[string]int32{}
	for topic := range topics {
		counts[topic] = int32(slots)
	}
	into, err := b.(kgo.GroupMemberBalancerOrError).BalanceOrError(counts)
	must(t, err)
	told := map[string][]int32{}
	for _, a := range into.IntoSyncAssignment() {
		parts, err := players[0].balancer.ParseSyncAssignment(a.MemberAssignment)
		must(t, err)
		told[a.MemberID] = parts[topic]
	}
	given := map[int32]string{}
	for _, p := range players {
		for _, slot := range told[p.id] {
			if other, twice := given[slot]; twice {
				t.Fatalf("slot %d was given to %s and %s", slot, other, p.id)
			}
			given[slot] = p.id
			for _, q := range players {
				if q != p && q.generation == generation-1 && slices.Contains(q.owned, slot) {
					t.Fatalf("slot %d was given to %s while %s had it", slot, p.id, q.id)
				}
			}
		}
	}
	for _, p := range players {
		for _, slot := range p.owned {
			again = again || !slices.Contains(told[p.id], slot)
		}
		p.owned, p.generation = told[p.id], generation
	}
	return again
}

// A group of any kind of members comes to stripes within two generations, and no slot is ever two members'.
func TestStripesAreCooperative(t *testing.T) {
	const slots = 12
	join := func(ids ...string) (players []*player) {
		for _, id := range ids {
			players = append(players, &player{id: id, topics: []string{"journal"}, balancer: newStripes(), generation: -1})
		}
		return players
	}
	generation := int32(0)
	settle := func(what string, rounds int, players ...*player) {
		t.Helper()
		for again := true; again; rounds-- {
			if rounds == 0 {
				t.Fatalf("%s: it does not come to an end", what)
			}
			generation++
			again = round(t, players, generation, slots)
		}
		plan := slices.Repeat([]int{-1}, slots)
		takers := 0
		for _, p := range players {
			if len(p.topics) == 0 {
				if len(p.owned) > 0 {
					t.Errorf("%s: %s asked for nothing and has %v", what, p.id, p.owned)
				}
				continue
			}
			for _, slot := range p.owned {
				plan[slot] = takers
			}
			takers++
		}
		for slot := range plan {
			if plan[slot] < 0 || slot+takers < slots && plan[slot] != plan[slot+takers] {
				t.Errorf("%s: no stripes: %v", what, plan)
				break
			}
		}
	}
	all := join("a", "b", "c", "d", "e")
	settle("one member", 1, all[0])
	settle("a second one", 3, all[:2]...)
	settle("five", 3, all...)
	settle("two have left", 3, all[2:]...)
	for _, p := range all[:2] { // they come back with what they had, which is others' by now
		if len(p.owned) == 0 {
			t.Fatal("they had nothing")
		}
	}
	settle("two that missed it come back", 3, all...)
	idle := join("idle")[0]
	idle.topics = nil
	settle("one that asks for nothing", 3, append([]*player{idle}, all...)...)
	static := join("s1", "s2")
	static[0].instance, static[1].instance = "i1", "i2"
	settle("static members come first", 3, append(static, all...)...)
	settle("more members than slots", 3, append(static, join("f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q")...)...)

	// Members that were balanced in another way, as by nodes of an earlier version.
	old := join("a", "b", "c")
	for _, p := range old {
		p.balancer = kgo.CooperativeStickyBalancer()
	}
	generation++
	round(t, old, generation, slots)
	for _, p := range old {
		p.balancer = newStripes()
	}
	settle("after cooperative-sticky", 3, old...)
	for _, p := range old {
		p.balancer = kgo.CooperativeStickyBalancer()
	}
	generation++
	if round(t, old, generation, slots) {
		t.Error("cooperative-sticky moved what was even")
	}
}

// A group that nobody can share anything with is no failure, and a member that can't be understood is one.
func TestStripesOfNothing(t *testing.T) {
	b, topics, err := newStripes().MemberBalancer(nil)
	if err != nil || len(topics) != 0 {
		t.Fatal(topics, err)
	}
	into, err := b.(kgo.GroupMemberBalancerOrError).BalanceOrError(nil)
	if err != nil || len(into.IntoSyncAssignment()) != 0 {
		t.Error(into, err)
	}
	if _, _, err := newStripes().MemberBalancer([]kmsg.JoinGroupResponseMember{{MemberID: "x", ProtocolMetadata: []byte{7}}}); err == nil {
		t.Error("a member that makes no sense was taken")
	}
}

// watch notes which node was told of which slot, and finds two nodes that are told of one at the same time.
type watch struct {
	mu    sync.Mutex
	owner map[int]string
	wrong []string
}

type watched struct {
	w    *watch
	name string
}

func (m watched) Gained(slots []int) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for _, slot := range slots {
		if other := m.w.owner[slot]; other != "" {
			m.w.wrong = append(m.w.wrong, fmt.Sprintf("%s gained slot %d while %s had it", m.name, slot, other))
		}
		m.w.owner[slot] = m.name
	}
}

func (m watched) Lost(slots []int) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for _, slot := range slots {
		if m.w.owner[slot] == m.name {
			delete(m.w.owner, slot)
		}
	}
}

// shared reports whether all slots are owned, by so many nodes, in stripes or not.
func (w *watch) shared(slots, nodes int, striped bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := map[string]bool{}
	for slot := range slots {
		if w.owner[slot] == "" || striped && slot+nodes < slots && w.owner[slot] != w.owner[slot+nodes] {
			return false
		}
		names[w.owner[slot]] = true
	}
	return len(names) == nodes
}

// newWatched gives brokers whose nodes are not thrown out of the group when the machine is slow: each slot is one node's at
// every moment then.
func newWatched(t *testing.T) (*brokers, *watch) {
	b := newBrokers(t)
	b.session = 20 * time.Second
	w := &watch{owner: map[int]string{}}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, what := range w.wrong {
			t.Error(what)
		}
	})
	return b, w
}

// protocol gives what the group has agreed on.
func (b *brokers) protocol(t *testing.T) string {
	t.Helper()
	client, err := b.settings.Client()
	must(t, err)
	defer client.Close()
	groups, err := kadm.NewClient(client).DescribeGroups(t.Context(), b.settings.Prefix+".delivery")
	must(t, err)
	return groups[b.settings.Prefix+".delivery"].Protocol
}

// Nodes that come and go in a real group have the slots in stripes, each slot one node's.
func TestGroupIsStriped(t *testing.T) {
	b, w := newWatched(t)
	var nodes []*Journal
	add := func() {
		j := b.open(t, fmt.Sprint("n", len(nodes)))
		must(t, j.Join(t.Context(), watched{w, j.opts.NodeID}))
		nodes = append(nodes, j)
	}
	add()
	journaltest.Await(t, "a node alone owns all", func() bool { return w.shared(6, 1, true) })
	add()
	journaltest.Await(t, "two nodes have every second slot", func() bool { return w.shared(6, 2, true) })
	add()
	add()
	journaltest.Await(t, "four nodes have stripes", func() bool { return w.shared(6, 4, true) })
	must(t, nodes[0].Leave(t.Context()))
	journaltest.Await(t, "three nodes have every third slot", func() bool { return w.shared(6, 3, true) })
	if got := b.protocol(t); got != newStripes().ProtocolName() {
		t.Errorf("the group agreed on %s", got)
	}
}

// A node of a version that knows only cooperative-sticky can join and leave: the group goes over to it and back.
func TestGroupOfMixedVersions(t *testing.T) {
	b, w := newWatched(t)
	open := func(name string, opts ...kgo.Opt) *Journal {
		b.group = opts
		j := b.open(t, name)
		must(t, j.Join(t.Context(), watched{w, name}))
		return j
	}
	sticky := kgo.Balancers(kgo.CooperativeStickyBalancer())
	old := open("old", sticky)
	journaltest.Await(t, "the old node owns all", func() bool { return w.shared(6, 1, false) })
	open("new")
	journaltest.Await(t, "an old and a new node share", func() bool { return w.shared(6, 2, false) })
	equalProtocol := func(want string) {
		t.Helper()
		if got := b.protocol(t); got != want {
			t.Errorf("the group agreed on %s, not on %s", got, want)
		}
	}
	equalProtocol("cooperative-sticky")
	open("new2")
	journaltest.Await(t, "one old and two new nodes share", func() bool { return w.shared(6, 3, false) })
	equalProtocol("cooperative-sticky")
	must(t, old.Leave(t.Context()))
	journaltest.Await(t, "the new nodes have stripes", func() bool { return w.shared(6, 2, true) })
	equalProtocol(newStripes().ProtocolName())
	old = open("old2", sticky) // an upgrade that is taken back
	journaltest.Await(t, "an old node is back", func() bool { return w.shared(6, 3, false) })
	equalProtocol("cooperative-sticky")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, old.Leave(ctx))
	journaltest.Await(t, "the new nodes have stripes again", func() bool { return w.shared(6, 2, true) })
}
