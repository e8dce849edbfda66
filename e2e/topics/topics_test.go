package topics

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/e2e/kafkacluster"
	"millrace/e2e/node"
)

func TestMain(m *testing.M) { node.Main(m) }

var onKafka = flag.Bool("kafka", false, "run the tests that start a real Kafka, which e2e/kafka/install has installed")

const (
	partitions = 3
	kills      = 5
	// atLeast so many records of each partition pass, so that objects are full and cut off at any place.
	atLeast = 20_000
	// recordBytes makes an object of 1 MiB of a few thousand records.
	recordBytes = 300
	// patience bounds what a test waits for.
	patience = 120 * time.Second

	cluster = "arn:aws:kafka:us-east-1:000000000000:cluster/shop/0a1b2c3d-1"
)

const definition = `
Resources:
  Bucket: {Type: AWS::S3::Bucket, Properties: {BucketName: events}}
  Delivery:
    Type: AWS::KinesisFirehose::DeliveryStream
    Properties:
      DeliveryStreamName: orders
      DeliveryStreamType: MSKAsSource
      MSKSourceConfiguration:
        MSKClusterARN: ` + cluster + `
        TopicName: orders
        AuthenticationConfiguration: {RoleARN: "arn:aws:iam::000000000000:role/r", Connectivity: PRIVATE}
        ReadFromTimestamp: "1970-01-01T00:00:00Z"
      ExtendedS3DestinationConfiguration:
        BucketARN: !GetAtt Bucket.Arn
        RoleARN: arn:aws:iam::000000000000:role/r
        BufferingHints: {SizeInMBs: 1, IntervalInSeconds: 1}
`

// Every record of the topic is in exactly one object, and those of a partition in their order, though the node is killed at
// random moments, and one of three brokers for good. Aborted transactions are in none.
func TestTopicIsDeliveredOnce(t *testing.T) {
	if !*onKafka {
		return
	}
	k := kafkacluster.Start(t, kafkacluster.Options{Security: true})
	client := open(t, k)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 3, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, k)
	var stop atomic.Bool
	produced := make(chan []int, 1)
	go func() { produced <- produce(t, client, &stop) }()
	const seed = 5
	rng := rand.New(rand.NewPCG(seed, seed))
	for i := range kills {
		n := r.start(t)
		time.Sleep(time.Duration(500+rng.IntN(1500)) * time.Millisecond)
		n.Kill()
		if i == kills/2 {
			if err := k.Kill(1); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop.Store(true)
	counts := <-produced
	aborted(t, k)
	n := r.start(t)
	want := int64(0)
	for _, c := range counts {
		want += int64(c)
	}
	await(t, n, want)
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	r.verify(t, counts)
	t.Logf("%v records, %d kills of the node and one of a broker", counts, kills)
}

func open(t *testing.T, k *kafkacluster.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(k.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// produce sends numbered records to all partitions until it is stopped, and tells how many to each.
func produce(t *testing.T, client *kgo.Client, stop *atomic.Bool) []int {
	counts := make([]int, partitions)
	padding := bytes.Repeat([]byte("x"), recordBytes)
	for !stop.Load() || counts[0] < atLeast {
		var records []*kgo.Record
		for p := range partitions {
			for range 100 {
				records = append(records, &kgo.Record{Topic: "orders", Partition: int32(p), Key: fmt.Append(nil, counts[p]), Value: fmt.Appendf(nil, "%d %d %s\n", p, counts[p], padding)})
				counts[p]++
			}
		}
		if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Error(err)
			return counts
		}
		time.Sleep(10 * time.Millisecond) // about as fast as a node takes it: no backlog, and no idleness
	}
	return counts
}

// aborted writes what nobody may see.
func aborted(t *testing.T, k *kafkacluster.Cluster) {
	t.Helper()
	client := open(t, k, kgo.TransactionalID("aborted"))
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Partition: int32(p), Value: []byte("aborted\n")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

// rig is the binary, and a folder with definition and configuration.
type rig struct{ binary, folder string }

func newRig(t *testing.T, k *kafkacluster.Cluster) *rig {
	t.Helper()
	binary, err := node.Binary()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{binary, t.TempDir()}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(r.folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("orders.yaml", definition)
	write("password", kafkacluster.Password+"\n")
	write("node.yaml", fmt.Sprintf("msk:\n  %s:\n    brokers: [%s]\n    tls: {ca: %s}\n    sasl: {mechanism: SCRAM-SHA-512, user: %s, password-file: %s}\n",
		cluster, strings.Join(k.SASLTLS(), ", "), k.AuthorityFile(), kafkacluster.User, filepath.Join(r.folder, "password")))
	return r
}

func (r *rig) start(t *testing.T) *node.Node {
	t.Helper()
	n, err := node.Start(t.Context(), node.Options{Binary: r.binary, Data: filepath.Join(r.folder, "data"), Dir: r.folder,
		File: filepath.Join(r.folder, "orders.yaml"), Args: []string{"--config", filepath.Join(r.folder, "node.yaml")}})
	if n != nil {
		t.Cleanup(n.Kill)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// await waits until so many records are delivered.
func await(t *testing.T, n *node.Node, want int64) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		l, err := n.Ledger(t.Context())
		if err != nil {
			t.Fatal(err, n.Output())
		}
		line, _ := l.Delivery("orders")
		if line.Delivered >= want && line.InFlight == 0 {
			if line.Delivered != want || line.Expired != 0 {
				t.Errorf("the ledger tells of %+v; want %d", line, want)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records are not delivered: %+v\n%s", want-line.Delivered, line, n.Output())
		}
	}
}

// verify reads all objects in the order of their keys.
func (r *rig) verify(t *testing.T, counts []int) {
	t.Helper()
	root := filepath.Join(r.folder, "data", "s3", "events")
	var keys []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.Contains(name, ".millrace") {
			keys = append(keys, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	next := make([]int, partitions)
	for _, key := range keys {
		text, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var p, i int
			if _, err := fmt.Sscanf(line, "%d %d", &p, &i); err != nil || next[p] != i {
				t.Fatalf("%s: %.40q comes where number %d is next: %v", key, line, next[p], err)
			}
			next[p]++
		}
	}
	if !slices.Equal(next, counts) {
		t.Errorf("of the partitions %v records are in objects, %v were produced", next, counts)
	}
}
