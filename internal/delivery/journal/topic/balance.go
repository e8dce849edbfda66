package topic

import (
	"cmp"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// balancers are what a node offers the group, the best first. The brokers take what all members know, so that nodes of a
// version that knows only cooperative-sticky share one group with ours, and when the last of them has gone the slots are
// dealt anew. Both are cooperative and tell of a member the same, so that going from one to the other is a rebalance like
// any other.
func balancers() []kgo.GroupBalancer {
	return []kgo.GroupBalancer{newStripes(), kgo.CooperativeStickyBalancer()}
}

// stripes deals slots out like cards: slot p goes to lane p mod n, and each of n members has one lane.
//
// The shards of a stream lie in neighbouring slots ([journal.SlotOf]), and nobody tells the group which slots are in use.
// With stripes any k neighbouring slots are spread over the nodes within one of each other, so that each node delivers its
// share of every stream. (Between the last slot and the first the stripes may not meet: what lies across is within two.)
// A balancer that counts slots only, as cooperative-sticky does, may leave all shards of a stream to one node.
//
// The price is paid when the number of nodes changes. "Within one for any run" says that of n neighbours each is another
// node's, so that slots p and p+n are the same node's: there are no other plans than lanes, and from n nodes to n+1 or back
// all but about one in n+1 slots move, whoever is given which lane, where one in n+1 would do. A move takes as long as a
// rebalance and a claim, and what was planned is finished by the new owner; nodes come and go rarely, and stay long. Who
// takes which lane is free, and used: a member is given the lane of which it has most already. So only what must moves from
// n nodes to 2n, and when the group learns in one rebalance that a node has gone and another has come. The choice is greedy;
// the best matching would spare a slot now and then.
//
// It is cooperative: a slot that changes hands is in nobody's plan at first; its owner gives it up and joins again, and
// in that next generation the same plan comes out, because what members have by then is a part of it.
type stripes struct {
	kgo.GroupBalancer // what members tell, and how they read their part, is as for cooperative-sticky
}

func newStripes() stripes { return stripes{kgo.CooperativeStickyBalancer()} }

// ProtocolName implements [kgo.GroupBalancer]. A plan of another kind needs another name only if members would read it
// otherwise: the group's leader alone makes plans.
func (stripes) ProtocolName() string { return "millrace-stripes" }

// MemberBalancer implements [kgo.GroupBalancer].
func (s stripes) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	b, err := kgo.NewConsumerBalancer(s, members)
	if err != nil {
		return nil, nil, err
	}
	return b, b.MemberTopics(), nil
}

// Balance implements [kgo.ConsumerBalancerBalance]. Members come sorted: by the ids of static ones, then by those that the
// brokers gave, which begin with the node's name.
func (stripes) Balance(b *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	plan := b.NewPlan()
	for topic, slots := range topics {
		members, have := owners(b, topic, int(slots))
		if len(members) == 0 {
			continue
		}
		for slot, m := range deal(have, len(members)) {
			plan.AddPartition(members[m], topic, int32(slot))
		}
	}
	plan.AdjustCooperative(b)
	return plan
}

// owners lists the members that take part in a topic, and tells which of them has each slot, -1: none. Of two that say so the
// later generation is right; the other one missed a rebalance.
func owners(b *kgo.ConsumerBalancer, topic string, slots int) (members []*kmsg.JoinGroupResponseMember, have []int) {
	have, since := make([]int, slots), make([]int32, slots)
	for slot := range have {
		have[slot] = -1
	}
	b.EachMember(func(member *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		if !slices.Contains(meta.Topics, topic) {
			return
		}
		for _, owned := range meta.OwnedPartitions {
			if owned.Topic != topic {
				continue
			}
			for _, p := range owned.Partitions {
				if p >= 0 && int(p) < slots && (have[p] < 0 || meta.Generation > since[p]) {
					have[p], since[p] = len(members), meta.Generation
				}
			}
		}
		members = append(members, member)
	})
	return members, have
}

// deal gives each slot's next owner among n members, by who has it now.
func deal(have []int, n int) []int {
	type stake struct{ member, lane int }
	stakes := map[stake]int{} // how many slots of the lane the member has
	for slot, m := range have {
		if m >= 0 {
			stakes[stake{m, slot % n}]++
		}
	}
	wishes := slices.SortedFunc(maps.Keys(stakes), func(a, b stake) int {
		return cmp.Or(cmp.Compare(stakes[b], stakes[a]), cmp.Compare(a.lane, b.lane), cmp.Compare(a.member, b.member))
	})
	memberOf, placed := make([]int, n), make([]bool, n)
	for lane := range memberOf {
		memberOf[lane] = -1
	}
	for _, w := range wishes {
		if memberOf[w.lane] < 0 && !placed[w.member] {
			memberOf[w.lane], placed[w.member] = w.member, true
		}
	}
	for lane, next := 0, 0; lane < n; lane++ { // members without a wish that was met, in their order
		if memberOf[lane] >= 0 {
			continue
		}
		for placed[next] {
			next++
		}
		memberOf[lane], placed[next] = next, true
	}
	plan := make([]int, len(have))
	for slot := range plan {
		plan[slot] = memberOf[slot%n]
	}
	return plan
}
