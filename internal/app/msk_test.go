package app

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/internal/config"
	"millrace/internal/delivery"
	"millrace/internal/fault"
	"millrace/internal/object"
)

const mskCluster = "arn:aws:kafka:us-east-1:000000000000:cluster/shop/1"

// aTopic makes brokers in the process with a topic "orders" of three partitions; send puts a record into one.
func aTopic(t *testing.T) (brokers *kfake.Cluster, send func(partition int, data string)) {
	t.Helper()
	brokers, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(3, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(brokers.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return brokers, func(partition int, data string) {
		t.Helper()
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Partition: int32(partition), Value: []byte(data)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *running) topicDelivery(name, topic string) *delivery.CreateRequest {
	one, second := 1, 1
	return &delivery.CreateRequest{
		DeliveryStreamName: name, DeliveryStreamType: delivery.MSKAsSource,
		MSKSourceConfiguration: &delivery.MSKSource{MSKClusterARN: mskCluster, TopicName: topic,
			AuthenticationConfiguration: &delivery.AuthenticationConfiguration{RoleARN: r.account.Role("r"), Connectivity: "PRIVATE"},
			ReadFromTimestamp:           &delivery.Timestamp{Time: time.Unix(0, 0)}},
		ExtendedS3DestinationConfiguration: &delivery.S3Destination{S3Configuration: delivery.S3Configuration{
			BucketARN: r.account.Bucket("bucket"), RoleARN: r.account.Role("r"),
			BufferingHints: &delivery.BufferingHints{SizeInMBs: &one, IntervalInSeconds: &second},
		}},
	}
}

// once checks that of each partition's records "partition number" all so many are there, once and in order.
func once(t *testing.T, text string, partitions, records int) {
	t.Helper()
	next := make([]int, partitions)
	for line := range strings.Lines(text) {
		var p, n int
		if _, err := fmt.Sscanf(line, "%d %d", &p, &n); err != nil || next[p] != n {
			t.Fatalf("%q comes where %d is next: %v", line, next[p], err)
		}
		next[p]++
	}
	for p, n := range next {
		if n != records {
			t.Errorf("of partition %d %d records are there, not %d", p, n, records)
		}
	}
}

// A node on its own disk delivers a topic, through a restart, and while the brokers are away others are served.
func TestTopicIsDelivered(t *testing.T) {
	brokers, send := aTopic(t)
	folder := filepath.Join(t.TempDir(), "data")
	start := func() *running {
		return start(t, folder, func(c *config.Node) {
			c.MSK = map[string]config.MSKCluster{mskCluster: {Brokers: brokers.ListenAddrs()}}
		})
	}
	r := start()
	r.pipeline()
	const half = 20
	for i := range half {
		for p := range 3 {
			send(p, fmt.Sprintf("%d %d\n", p, i))
		}
	}
	req := r.topicDelivery("topic", "orders")
	if _, err := r.engine.Create(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start()
	for i := range half {
		for p := range 3 {
			send(p, fmt.Sprintf("%d %d\n", p, half+i))
		}
	}
	eventually(t, "all is delivered", func() bool { return strings.Count(r.delivered(), "\n") == 3*2*half })
	once(t, r.delivered(), 3, 2*half)
	absent := r.topicDelivery("absent", "absent")
	if _, err := r.engine.Create(t.Context(), absent); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "Topic absent is not found") {
		t.Errorf("a topic that is not there: %v", err)
	}
	absent.MSKSourceConfiguration.MSKClusterARN = "arn:aws:kafka:us-east-1:000000000000:cluster/other/1"
	if _, err := r.engine.Create(t.Context(), absent); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "cluster/other/1") {
		t.Errorf("a cluster that nobody knows: %v", err)
	}
	brokers.Close()
	if status, answer := r.post("/prod/e", `"alive"`); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
	eventually(t, "the pipeline goes on without the brokers", func() bool { return strings.Contains(r.delivered(), "alive") })
	l, err := r.engine.Ledger(t.Context())
	if err != nil || l.Check() != nil {
		t.Error(err, l.Check())
	}
}

// Nodes whose streams are in the same Kafka share a topic's partitions as they share those of their streams.
func TestTopicInACluster(t *testing.T) {
	brokers, send := aTopic(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	store := start(t, filepath.Join(t.TempDir(), "store"), nil)
	if err := store.objects.CreateBucket(t.Context(), object.Bucket{Name: "bucket", Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	node := func(name string) *running {
		return start(t, filepath.Join(t.TempDir(), name), func(c *config.Node) {
			c.Name, c.Engine = name, "kafka://"+strings.Join(brokers.ListenAddrs(), ",")
			c.Objects.Endpoint = store.AWSURL()
			c.MSK = map[string]config.MSKCluster{mskCluster: {Engine: true}}
		})
	}
	a, b := node("a"), node("b")
	if _, err := a.engine.Create(t.Context(), a.topicDelivery("topic", "orders")); err != nil {
		t.Fatal(err)
	}
	reads := func(r *running) int {
		m := r.engine.Metrics(t.Context()).DeliveryStreams
		if len(m) == 0 {
			return 0
		}
		return m[0].ShardsFollowed
	}
	eventually(t, "both nodes read", func() bool { return reads(a) > 0 && reads(b) > 0 && reads(a)+reads(b) == 3 })
	const half = 20
	for i := range half {
		for p := range 3 {
			send(p, fmt.Sprintf("%d %d\n", p, i))
		}
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	for i := range half {
		for p := range 3 {
			send(p, fmt.Sprintf("%d %d\n", p, half+i))
		}
	}
	eventually(t, "the other delivers the rest", func() bool { return strings.Count(store.delivered(), "\n") == 3*2*half })
	once(t, store.delivered(), 3, 2*half)
}
