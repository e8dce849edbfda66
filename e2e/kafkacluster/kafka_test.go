package kafkacluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	saslplain "github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

var onKafka = flag.Bool("kafka", false, "run the tests that start a real Kafka, which e2e/kafka/install has installed")

// lonely makes this test binary a program that starts a broker and waits to be killed; see TestOrphans.
const lonely = "KAFKACLUSTER_LONELY"

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(lonely) != "" {
		if c, err := New(context.Background(), Options{Brokers: 1}); err != nil {
			fmt.Println(err)
		} else {
			fmt.Printf("%s\n%s\n", c.Bootstrap(), c.Folder())
			select {}
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// rig is a cluster with a topic and what the steps of TestKafka need of it.
type rig struct {
	*Cluster
	produced int // records in topic
}

const topic = "orders"

func TestKafka(t *testing.T) {
	if !*onKafka {
		return // what is told to the brokers is tested all the same
	}
	began := time.Now()
	r := &rig{Cluster: Start(t, Options{Security: true})}
	fmt.Printf("three brokers serve after %.1f s\n", time.Since(began).Seconds())
	for _, step := range []struct {
		name string
		run  func(r *rig, t *testing.T)
	}{
		{"topics are as durable as Millrace asks for", (*rig).topics},
		{"what was acknowledged is read", (*rig).works},
		{"a topic that nobody made is not there", (*rig).missing},
		{"a broker is killed and comes back", (*rig).killed},
		{"a broker is frozen and wakes up", (*rig).frozen},
		{"a broker is stopped and comes back", (*rig).stopped},
		{"transactions", (*rig).transactions},
		{"users are known by SASL", (*rig).users},
		{"TLS", (*rig).secure},
		{"what can't be done is an error", (*rig).refused},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.run(r, t) }) {
			return // the steps build on one another
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Restart(0); !errors.Is(err, errClosed) {
		t.Errorf("a broker of a cluster that is closed was started: %v", err)
	}
	if _, err := os.Stat(r.Folder()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder after Close: %v", err)
	}
}

func (r *rig) client(t *testing.T, seeds []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	// With its own settings the client waits 10 s and more, several times, for a broker that is frozen.
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(100 * time.Millisecond), kgo.MetadataMaxAge(time.Second),
		kgo.DialTimeout(2 * time.Second), kgo.RequestTimeoutOverhead(2 * time.Second), kgo.ProduceRequestTimeout(2 * time.Second)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// produce lets the brokers acknowledge n records.
func (r *rig) produce(t *testing.T, n int) {
	t.Helper()
	c := r.client(t, r.Brokers(), kgo.DefaultProduceTopic(topic), kgo.RequiredAcks(kgo.AllISRAcks()))
	var records []*kgo.Record
	for range n {
		records = append(records, kgo.StringRecord(fmt.Sprintf("event %d", r.produced)))
		r.produced++
	}
	if err := c.ProduceSync(deadline(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// consume reads topic from its begin and wants each record once.
func (r *rig) consume(t *testing.T) {
	t.Helper()
	c := r.client(t, r.Brokers(), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx := deadline(t)
	seen := map[string]int{}
	for len(seen) < r.produced {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(seen), r.produced, err)
		}
		fetches.EachRecord(func(record *kgo.Record) { seen[string(record.Value)]++ })
	}
	for i := range r.produced {
		if n := seen[fmt.Sprintf("event %d", i)]; n != 1 {
			t.Errorf("event %d is there %d times", i, n)
		}
	}
}

func (r *rig) topics(t *testing.T) {
	admin := kadm.NewClient(r.client(t, r.Brokers()))
	ctx := deadline(t)
	two := "2"
	if _, err := admin.CreateTopic(ctx, 6, 3, map[string]*string{"min.insync.replicas": &two}, topic); err != nil {
		t.Fatal(err)
	}
	if err := r.WaitInSync(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CommitOffsets(ctx, "group", kadm.OffsetsFromRecords(kgo.Record{Topic: topic})); err != nil {
		t.Fatal(err) // which makes the topic of the groups
	}
	configs, err := admin.DescribeTopicConfigs(ctx, topic, "__consumer_offsets")
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range configs {
		for _, c := range of.Configs {
			if c.Key == "min.insync.replicas" && c.MaybeValue() != "2" || c.Key == "unclean.leader.election.enable" && c.MaybeValue() != "false" {
				t.Errorf("%s: %s is %s", of.Name, c.Key, c.MaybeValue())
			}
		}
	}
	details, err := admin.ListTopicsWithInternal(ctx, "__consumer_offsets")
	if err != nil {
		t.Fatal(err)
	}
	if offsets := details["__consumer_offsets"]; len(offsets.Partitions) != 4 || offsets.Partitions.NumReplicas() != 3 {
		t.Errorf("the groups' topic: %d partitions, %d replicas", len(offsets.Partitions), offsets.Partitions.NumReplicas())
	}
}

func (r *rig) works(t *testing.T) {
	r.produce(t, 1000)
	r.consume(t)
}

func (r *rig) missing(t *testing.T) {
	c := r.client(t, r.Brokers(), kgo.UnknownTopicRetries(1))
	err := c.ProduceSync(deadline(t), &kgo.Record{Topic: "nobody", Value: []byte("x")}).FirstErr()
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("%v", err)
	}
}

// away does something to a broker, and brings it back; records are acknowledged all the while.
func (r *rig) away(t *testing.T, broker int, goes, comes func(broker int) error) {
	t.Helper()
	ctx := deadline(t)
	timed := func(what string, do func()) {
		t.Helper()
		began := time.Now()
		do()
		t.Logf("%-24s %5.1f s", what, time.Since(began).Seconds())
	}
	if err := goes(broker); err != nil {
		t.Fatal(err)
	}
	timed("acknowledged after", func() { r.produce(t, 100) }) // others lead by then
	timed("ready after", func() {
		if err := r.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	})
	timed("acknowledged after", func() { r.produce(t, 100) })
	timed("read after", func() { r.consume(t) })
	if err := comes(broker); err != nil {
		t.Fatal(err)
	}
	timed("in sync again after", func() {
		if err := r.WaitInSync(ctx); err != nil {
			t.Fatal(err)
		}
	})
	timed("acknowledged after", func() { r.produce(t, 100) })
	timed("read after", func() { r.consume(t) })
}

func (r *rig) killed(t *testing.T)  { r.away(t, 0, r.Kill, r.Restart) }
func (r *rig) frozen(t *testing.T)  { r.away(t, 1, r.Freeze, r.Thaw) }
func (r *rig) stopped(t *testing.T) { r.away(t, 2, r.Stop, r.Restart) }

func (r *rig) transactions(t *testing.T) {
	ctx := deadline(t)
	c := r.client(t, r.Brokers(), kgo.TransactionalID("t"), kgo.DefaultProduceTopic(topic))
	for _, way := range []struct {
		value string
		end   kgo.TransactionEndTry
	}{{"given up", kgo.TryAbort}, {fmt.Sprintf("event %d", r.produced), kgo.TryCommit}} {
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := c.ProduceSync(ctx, kgo.StringRecord(way.value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := c.EndTransaction(ctx, way.end); err != nil {
			t.Fatal(err)
		}
	}
	r.produced++
	reader := r.client(t, r.Brokers(), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	n := 0
	for n < r.produced {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d: %v", n, r.produced, err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			if n++; string(record.Value) == "given up" {
				t.Error("a record of a transaction that was aborted is read")
			}
		})
	}
	// Whoever comes later with the same id fences the first one off.
	later := r.client(t, r.Brokers(), kgo.TransactionalID("t"))
	if _, _, err := later.ProducerID(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceSync(ctx, kgo.StringRecord("zombie")).FirstErr(); !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) {
		t.Errorf("a producer that was fenced: %v", err)
	}
}

func mechanisms(password string) map[string]sasl.Mechanism {
	auth := scram.Auth{User: User, Pass: password}
	return map[string]sasl.Mechanism{
		"PLAIN":         saslplain.Auth{User: User, Pass: password}.AsMechanism(),
		"SCRAM-SHA-256": auth.AsSha256Mechanism(),
		"SCRAM-SHA-512": auth.AsSha512Mechanism(),
	}
}

func (r *rig) users(t *testing.T) {
	for name, mechanism := range mechanisms(Password) {
		if err := r.client(t, r.SASL(), kgo.SASL(mechanism)).Ping(deadline(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, mechanism := range mechanisms("wrong") {
		if err := r.client(t, r.SASL(), kgo.SASL(mechanism)).Ping(deadline(t)); !errors.Is(err, kerr.SaslAuthenticationFailed) {
			t.Errorf("%s with a wrong password: %v", name, err)
		}
	}
}

func (r *rig) secure(t *testing.T) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(r.Authority()) {
		t.Fatal("the authority is no certificate")
	}
	trusts := kgo.DialTLSConfig(&tls.Config{RootCAs: pool})
	if err := r.client(t, r.TLS(), trusts).Ping(deadline(t)); err != nil {
		t.Error(err)
	}
	for name, mechanism := range mechanisms(Password) {
		if err := r.client(t, r.SASLTLS(), trusts, kgo.SASL(mechanism)).Ping(deadline(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var unknown x509.UnknownAuthorityError
	doubts := kgo.DialTLSConfig(&tls.Config{RootCAs: x509.NewCertPool()})
	if err := r.client(t, r.TLS(), doubts).Ping(deadline(t)); !errors.As(err, &unknown) {
		t.Errorf("a client that trusts nobody: %v", err)
	}
}

func (r *rig) refused(t *testing.T) {
	if err := r.Restart(0); err == nil {
		t.Error("a broker was started twice")
	}
	if err := r.Kill(0); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"kill": r.Kill(0), "stop": r.Stop(0), "freeze": r.Freeze(0), "thaw": r.Thaw(0)} {
		if !errors.Is(err, errNotRunning) {
			t.Errorf("%s a broker that was killed: %v", name, err)
		}
	}
}

// The brokers of a test process that is killed end with it.
func TestOrphans(t *testing.T) {
	if !*onKafka || runtime.GOOS != "linux" {
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), lonely+"=yes")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var address, folder string
	if _, err := fmt.Fscanln(out, &address); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(out, &folder); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("the broker at %s, before: %v", address, err)
	}
	defer conn.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("the broker lives on: %v", err)
	}
}
