package kafkastream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"millrace/e2e/kafkacluster"
	"millrace/internal/fault"
	"millrace/internal/kafka"
	"millrace/internal/stream"
	streamkafka "millrace/internal/stream/kafka"
)

// credentials: who is known gets in, over TLS too; who is not is told so, soon.
func credentials(t *testing.T, c *kafkacluster.Cluster) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.Authority()) {
		t.Fatal("no certificate of the authority")
	}
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		for _, password := range []string{kafkacluster.Password, "wrong"} {
			settings := &kafka.Settings{Brokers: c.SASLTLS(), TLS: &tls.Config{RootCAs: roots}, Prefix: "credentials", Replication: 3, MinInSync: 2,
				SASL: kafka.SASL{Mechanism: mechanism, User: kafkacluster.User, Password: password}}
			n := &nodes{brokers: c.Brokers(), prefix: "credentials", lease: 2 * time.Second}
			store := n.store(t)
			began := time.Now()
			b, err := streamkafka.Open(t.Context(), n.options(store, func(o *streamkafka.Options) { o.Settings = settings }))
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("%s, password %q: told after %v", mechanism, password, took)
			}
			switch {
			case password == "wrong" && !fault.Is(err, fault.Denied):
				t.Errorf("%s with a wrong password: %v", mechanism, err)
			case password != "wrong" && err != nil:
				t.Errorf("%s: %v", mechanism, err)
			}
			if err == nil {
				if _, err := b.CreateStream(t.Context(), stream.CreateStream{Name: "known"}); err != nil {
					t.Error(err)
				}
				put(t, b, "known", "k", mechanism)
				if err := b.DeleteStream(t.Context(), "known"); err != nil {
					t.Error(err)
				}
				if err := b.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}
			if err := store.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
}

func put(t testing.TB, b *streamkafka.Backend, name, key, data string) stream.Result {
	t.Helper()
	var results [1]stream.Result
	if err := b.Append(t.Context(), name, []stream.Entry{{PartitionKey: key, Data: []byte(data)}}, results[:]); err != nil || results[0].Err != nil {
		t.Fatal(err, results[0].Err)
	}
	return results[0]
}

// otherNodes: what one node appends another reads at once, and whoever waits there is woken.
func otherNodes(t *testing.T, c *kafkacluster.Cluster) {
	n := &nodes{brokers: c.Brokers(), prefix: "others", lease: 2 * time.Second}
	a, b := n.open(t, nil), n.open(t, nil)
	defer a.shut(t)
	defer b.shut(t)
	s, err := a.CreateStream(t.Context(), stream.CreateStream{Name: "others"})
	if err != nil {
		t.Fatal(err)
	}
	ref := stream.ShardRef{Stream: s.Name, ID: s.ID}
	var worst time.Duration
	for i := range 50 {
		tip, err := b.Tip(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		woken := make(chan error, 1)
		go func() { woken <- b.Wait(t.Context(), ref, tip) }()
		put(t, a.Backend, "others", "k", strconv.Itoa(i))
		acknowledged := time.Now()
		if err := <-woken; err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(acknowledged))
		var batch stream.Batch
		if err := b.Read(t.Context(), stream.ReadRequest{Shard: ref, From: tip, MaxRecords: 10, MaxBytes: 1000}, &batch); err != nil || len(batch.Records) != 1 {
			t.Fatalf("%d records, %v", len(batch.Records), err)
		}
	}
	t.Logf("who waits on another node is woken within %v", worst)
	if worst > 2*time.Second {
		t.Errorf("woken after %v", worst)
	}
	if err := a.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	if err := a.DeleteStream(t.Context(), "others"); err != nil {
		t.Error(err)
	}
}

// faults kills and freezes brokers under two nodes that append and reshard. What was answered is there once, in order for
// each key, at the place that the answer named; what was not is there once or not at all.
func faults(t *testing.T, c *kafkacluster.Cluster) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	n := &nodes{brokers: c.Brokers(), prefix: "faults", lease: streamkafka.Lease}
	backends := []*node{n.open(t, nil), n.open(t, nil)}
	if _, err := backends[0].CreateStream(t.Context(), stream.CreateStream{Name: "faults", Shards: 3}); err != nil {
		t.Fatal(err)
	}
	w := &writers{t: t, stop: make(chan struct{}), answers: map[string][]answer{}}
	for i := range 8 {
		w.Go(func() { w.write(backends, "w"+strconv.Itoa(i), rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	rnd := rand.New(rand.NewPCG(seed, 100))
	reshards := 0
	for round := range 4 {
		broker := rnd.IntN(3)
		hurt, heal := c.Kill, c.Restart
		if round%2 == 1 {
			hurt, heal = c.Freeze, c.Thaw
		}
		if err := hurt(broker); err != nil {
			t.Fatal(err)
		}
		if _, err := backends[rnd.IntN(2)].Reshard(t.Context(), "faults", stream.Reshard{Count: 2 + rnd.IntN(3)}); err == nil {
			reshards++
		}
		time.Sleep(time.Duration(3+rnd.IntN(10)) * time.Second)
		if err := heal(broker); err != nil {
			t.Fatal(err)
		}
		ready, cancel := context.WithTimeout(t.Context(), kafkacluster.StartTime)
		if err := c.WaitReady(ready); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	close(w.stop)
	w.Wait()
	s := settle(t, backends[0], "faults")
	read := map[string][]found{}
	for _, f := range readAll(t, backends[1], s) {
		read[f.key] = append(read[f.key], f)
	}
	total, unknown := 0, 0
	for key, list := range w.answers {
		total += len(list)
		unknown += check(t, list, read[key])
	}
	t.Logf("%d records, %d of unknown outcome, %d reshards", total, unknown, reshards)
	if total-unknown < 100 || reshards == 0 {
		t.Errorf("%d records answered, %d reshards", total-unknown, reshards)
	}
	for _, b := range backends {
		if err := b.Healthy(t.Context()); err != nil {
			t.Error(err)
		}
		b.shut(t)
	}
}

type answer struct {
	data string
	stream.Result
}

type found struct {
	key, data string
	shard     uint32
	seq       stream.SequenceNumber
}

type writers struct {
	sync.WaitGroup
	t    *testing.T
	stop chan struct{}

	mu      sync.Mutex
	answers map[string][]answer // by key, in order
}

// write appends one key's records, each call after the answer to the last.
func (w *writers) write(backends []*node, key string, rnd *rand.Rand) {
	for n := 0; ; {
		select {
		case <-w.stop:
			return
		default:
		}
		entries, results := make([]stream.Entry, 1+rnd.IntN(20)), make([]stream.Result, 20)
		for i := range entries {
			entries[i] = stream.Entry{PartitionKey: key, Data: fmt.Appendf(nil, "%s/%d", key, n)}
			n++
		}
		results = results[:len(entries)]
		began := time.Now()
		err := backends[rnd.IntN(len(backends))].Append(w.t.Context(), "faults", entries, results)
		if took := time.Since(began); took > streamkafka.DefaultProduceTimeout+2*time.Second {
			w.t.Errorf("an append took %v", took)
		}
		if err != nil {
			if !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Throttled) {
				w.t.Errorf("append: %v", err)
				return
			}
			continue // certainly not written
		}
		w.mu.Lock()
		for i := range entries {
			w.answers[key] = append(w.answers[key], answer{string(entries[i].Data), results[i]})
		}
		w.mu.Unlock()
	}
}

// settle waits until the stream is ACTIVE.
func settle(t *testing.T, b *node, name string) *stream.Stream {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if s, ok := b.Stream(name); ok && s.Status == stream.Active {
			return s
		}
		if time.Now().After(deadline) {
			s, _ := b.Stream(name)
			t.Fatalf("%s stays %s", name, s.Status)
		}
	}
}

// readAll reads all shards to their tips or ends, parents first.
func readAll(t *testing.T, b *node, s *stream.Stream) (all []found) {
	t.Helper()
	var batch stream.Batch
	for i := range s.Shards {
		req := stream.ReadRequest{Shard: stream.ShardRef{Stream: s.Name, ID: s.ID, Shard: s.Shards[i].Index}, MaxRecords: 1000, MaxBytes: 1 << 20}
		for last := false; !last; req.From = batch.Next {
			if err := b.Read(t.Context(), req, &batch); err != nil {
				t.Fatal(err)
			}
			for _, r := range batch.Records {
				all = append(all, found{string(r.PartitionKey), string(r.Data), s.Shards[i].Index, r.Sequence})
			}
			last = batch.End || len(batch.Records) == 0 && batch.MillisBehind == 0
		}
	}
	return all
}

// check compares what was answered for a key with what is there, and counts what nobody was told of.
func check(t *testing.T, answers []answer, read []found) (unknown int) {
	t.Helper()
	seen := map[string]bool{}
	for _, f := range read {
		if seen[f.data] {
			t.Errorf("%s is there twice", f.data)
		}
		seen[f.data] = true
	}
	for _, a := range answers {
		if a.Err != nil {
			unknown++
			continue
		}
		for len(read) > 0 && read[0].data != a.data {
			read = read[1:] // of unknown outcome
		}
		if len(read) == 0 {
			t.Fatalf("%s was answered and is lost, or out of order", a.data)
		}
		if read[0].shard != a.Shard || read[0].seq != a.Sequence {
			t.Errorf("%s is not where the answer said", a.data)
		}
		read = read[1:]
	}
	return unknown
}
