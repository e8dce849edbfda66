package mirror

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/e2e/kafkacluster"
)

var onKafka = flag.Bool("kafka", false, "run the tests that start a real Kafka, which e2e/kafka/install has installed")

// Topics of strangers are copied from a real Kafka, to which nothing is written; then a stream goes into Kafka, by a mirror
// that is killed and past a broker that is killed, and comes back whole.
func TestMirrorOnKafka(t *testing.T) {
	if !*onKafka {
		return
	}
	cluster := kafkacluster.Start(t, kafkacluster.Options{})
	place := "kafka://" + cluster.Bootstrap()
	r := newRig(t)

	const strangers = 5000
	produce(t, cluster, "clicks", strangers)
	r.copied(t, "clicks", strangers, "--from", place, "--to", "local:clicks", "--stream", "clicks", "--state", "clicks.state", "--verify")
	if topics := topicsOf(t, cluster); !slices.Equal(topics, []string{"clicks"}) {
		t.Errorf("after the mirror has read it the cluster has the topics %v", topics)
	}

	taken := r.fill(t)
	r.killedOften(t, taken, place)
	if err := cluster.Kill(1); err != nil {
		t.Fatal(err)
	}
	// The brokers that are left are two of three replicas: enough to acknowledge.
	r.copied(t, "class-stream", taken, "--from", "local:data", "--to", place, "--state", "state", "--verify")
	r.copied(t, "class-stream", taken, "--from", place, "--to", "local:back", "--stream", "class-stream", "--state", "back.state", "--verify")
}

func client(t *testing.T, cluster *kafkacluster.Cluster) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(cluster.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// produce makes a topic and writes records to it as strangers do: some with keys, some without.
func produce(t *testing.T, cluster *kafkacluster.Cluster, topic string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := client(t, cluster)
	if _, err := kadm.NewClient(c).CreateTopic(ctx, 4, 3, nil, topic); err != nil {
		t.Fatal(err)
	}
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "record %d", i), Timestamp: time.Now()}
		if i%3 != 0 {
			records[i].Key = fmt.Appendf(nil, "key-%d", i%50)
		}
	}
	if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func topicsOf(t *testing.T, cluster *kafkacluster.Cluster) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	topics, err := kadm.NewClient(client(t, cluster)).ListTopics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return topics.Names()
}
