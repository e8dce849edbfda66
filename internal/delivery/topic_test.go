package delivery

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/journal/topic"
	"millrace/internal/kafka"
)

// A group on a Kafka topic, in real time: nodes come and go, one is thrown out of the group while it is between plan and
// put, and every record is in one object, in order.
func TestGroupOnTopic(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	g := &group{node: newNode(t, Options{})}
	g.open = func(node uint64) journal.Journal { return openTopic(t, c, fmt.Sprint("node", node)) }
	g.join()
	g.engine = g.nodes[0].engine
	g.stream("s", 6)
	g.create(request("d", "s", hints(1, 1)))
	numbers := 0
	put := func(rounds int) {
		for range rounds {
			numbers++
			for key := range 12 {
				g.append("s", fmt.Sprint(key), text1(fmt.Sprint(key), numbers, 3))
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	zombie := g.join()
	await(t, "both nodes have shards", func() bool { return followed(g.nodes[0]) > 0 && followed(zombie) > 0 })
	zombie.freezeAt("put-before", 1)
	put(20)
	<-zombie.stops
	throwOut(t, c, "node2")
	await(t, "the other node has all shards", func() bool { return followed(g.nodes[0]) == 6 })
	put(10)
	zombie.thaw()
	g.join()
	put(10)
	g.leave(g.nodes[0])
	put(10)
	await(t, "all is delivered", func() bool { return g.ledger("d").Delivered == int64(12*numbers) })
	g.verify("d")
	for _, m := range g.nodes {
		await(t, "every node knows", func() bool { g.engine = m.engine; return g.ledger("d").Delivered == int64(12*numbers) })
	}
	if err := g.nodes[0].engine.Delete(background, "d"); err != nil {
		t.Fatal(err)
	}
	equal(t, "definitions", len(g.defs.all), 0)
	await(t, "every node knows of the deletion", func() bool {
		for _, m := range g.nodes {
			l, err := m.engine.Ledger(background)
			if err != nil || l.Check() != nil || len(l.Deleted) != 1 || l.Deleted[0].Delivered != int64(12*numbers) {
				return false
			}
		}
		return true
	})
	g.close()
}

func openTopic(t *testing.T, c *kfake.Cluster, node string) journal.Journal {
	t.Helper()
	j, err := topic.Open(t.Context(), topic.Options{NodeID: node, Partitions: testSlots, Settings: &kafka.Settings{Brokers: c.ListenAddrs(),
		ClientID: node, Prefix: kafka.DefaultPrefix, Replication: kafka.DefaultReplication, MinInSync: kafka.DefaultMinInSync}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := j.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return j
}

func followed(m *groupNode) int {
	return m.engine.Metrics(background).DeliveryStreams[0].ShardsFollowed
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// throwOut makes the group drop a member, which hears of it with its next heartbeat.
func throwOut(t *testing.T, c *kfake.Cluster, node string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	group := kafka.DefaultPrefix + ".delivery"
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{group}
	groups, err := describe.RequestWith(background, client)
	if err != nil {
		t.Fatal(err)
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = group
	for _, m := range groups.Groups[0].Members {
		if m.ClientID == node {
			member := kmsg.NewLeaveGroupRequestMember()
			member.MemberID = m.MemberID
			leave.MemberID, leave.Members = m.MemberID, append(leave.Members, member)
		}
	}
	if len(leave.Members) != 1 {
		t.Fatalf("%s is %d members of %+v", node, len(leave.Members), groups.Groups)
	}
	if _, err := leave.RequestWith(background, client); err != nil {
		t.Fatal(err)
	}
}
