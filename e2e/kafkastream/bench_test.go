package kafkastream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/e2e/kafkacluster"
	"millrace/internal/stream"
	streamkafka "millrace/internal/stream/kafka"
)

// BenchmarkAppend compares the backend with a bare producer, in turns, because other work on the machine moves both.
// The figures to compare are the ratios of one run.
//
//	go test ./e2e/kafkastream -kafka -run '^$' -bench Append
func BenchmarkAppend(b *testing.B) {
	if !*onKafka {
		return
	}
	c := kafkacluster.Start(b, kafkacluster.Options{Heap: "512m", Optimize: true})
	for _, shape := range []struct{ callers, batch int }{{16, 500}, {64, 1}, {1, 1}} {
		for _, compression := range []string{"none", "snappy", "lz4"} {
			if compression != "none" && shape.batch == 1 {
				continue
			}
			n := &nodes{brokers: c.Brokers(), prefix: fmt.Sprintf("bench-%d-%d-%s", shape.callers, shape.batch, compression), lease: streamkafka.Lease}
			node := n.open(b, func(o *streamkafka.Options) { o.Compression = compression })
			ours, err := node.CreateStream(b.Context(), stream.CreateStream{Name: n.prefix + "-ours", Shards: 12})
			if err != nil {
				b.Fatal(err)
			}
			bare, topic := bareProducer(b, c, n.prefix+"-bare", compression)
			appending := func(number int) func(context.Context) error {
				return appendCaller(node.Backend, ours.Name, number, shape.batch)
			}
			producing := func(number int) func(context.Context) error { return produceCaller(bare, topic, number, shape.batch) }
			for range 2 {
				for _, side := range []struct {
					name   string
					caller func(int) func(context.Context) error
				}{{"bare", producing}, {"ours", appending}} {
					fmt.Printf("%2d callers, %3d a call, %-6s  %s %v\n", shape.callers, shape.batch, compression, side.name, measure(b, shape.callers, shape.batch, side.caller))
				}
			}
			st := node.Stats()
			fmt.Printf("ours: %d batches, %d bytes on the wire, of %d records\n", st.Batches, st.WireBytes, st.Streams[0].Records)
			for _, s := range []string{ours.Name} {
				if err := node.DeleteStream(b.Context(), s); err != nil {
					b.Error(err)
				}
			}
			node.shut(b)
			if _, err := kadm.NewClient(bare).DeleteTopic(b.Context(), topic); err != nil {
				b.Error(err)
			}
			bare.Close()
		}
	}
}

func bareProducer(b *testing.B, c *kafkacluster.Cluster, topic, compression string) (*kgo.Client, string) {
	b.Helper()
	codec := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression()}[compression]
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers()...), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(codec))
	if err != nil {
		b.Fatal(err)
	}
	two := "2"
	if _, err := kadm.NewClient(client).CreateTopic(b.Context(), 12, 3, map[string]*string{"min.insync.replicas": &two}, topic); err != nil {
		b.Fatal(err)
	}
	return client, topic
}

func appendCaller(backend *streamkafka.Backend, name string, number, batch int) func(context.Context) error {
	entries, results := make([]stream.Entry, batch), make([]stream.Result, batch)
	for i := range entries {
		entries[i] = stream.Entry{PartitionKey: fmt.Sprintf("k-%d-%d", number, i), Data: event(number, i)}
	}
	return func(ctx context.Context) error {
		if err := backend.Append(ctx, name, entries, results); err != nil {
			return err
		}
		for i := range results {
			if results[i].Err != nil {
				return results[i].Err
			}
		}
		return nil
	}
}

func produceCaller(client *kgo.Client, topic string, number, batch int) func(context.Context) error {
	keys, values := make([][]byte, batch), make([][]byte, batch)
	for i := range keys {
		keys[i], values[i] = fmt.Appendf(nil, "k-%d-%d", number, i), event(number, i)
	}
	return func(ctx context.Context) error {
		records := make([]kgo.Record, batch)
		var failed atomic.Pointer[error]
		var left sync.WaitGroup
		left.Add(batch)
		for i, key := range keys {
			records[i] = kgo.Record{Topic: topic, Key: key, Value: values[i]}
			client.Produce(ctx, &records[i], func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(&err)
				}
				left.Done()
			})
		}
		left.Wait()
		if err := failed.Load(); err != nil {
			return *err
		}
		return nil
	}
}

// event is about 300 B of JSON, and no two are the same: compression has to work for its gain.
func event(number, i int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(number), uint64(i)))
	return fmt.Appendf(nil, `{"id":"%016x-%016x","time":"2026-03-%02dT%02d:%02d:%02d.%06dZ","user":"user-%d","session":"%016x","action":"%s","path":"/shop/item/%d","amount":%d.%02d,"currency":"EUR","agent":"Mozilla/5.0 (X11; Linux x86_64)","ok":true}`,
		rnd.Uint64(), rnd.Uint64(), 1+rnd.IntN(28), rnd.IntN(24), rnd.IntN(60), rnd.IntN(60), rnd.IntN(1e6), rnd.IntN(100_000), rnd.Uint64(),
		[]string{"view", "cart", "purchase", "search"}[rnd.IntN(4)], rnd.IntN(10_000), rnd.IntN(500), rnd.IntN(100))
}

// figures of one turn.
type figures struct {
	perSecond, cpuMicros float64
	p50, p99             time.Duration
}

func (f figures) String() string {
	return fmt.Sprintf("%8.0f records/s  %5.2f µs CPU a record  p50 %v  p99 %v", f.perSecond, f.cpuMicros, f.p50.Round(10*time.Microsecond), f.p99.Round(10*time.Microsecond))
}

const (
	warmUp = 2 * time.Second
	turn   = 6 * time.Second
)

func measure(b *testing.B, callers, batch int, caller func(number int) func(context.Context) error) figures {
	b.Helper()
	began := time.Now().Add(warmUp)
	end := began.Add(turn)
	took := make([][]time.Duration, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			call := caller(i)
			for sent := time.Now(); sent.Before(end); {
				if err := call(b.Context()); err != nil {
					b.Error(err)
					return
				}
				now := time.Now()
				if now.After(began) && now.Before(end) {
					took[i] = append(took[i], now.Sub(sent))
				}
				sent = now
			}
		})
	}
	time.Sleep(time.Until(began))
	before := cpu(b)
	time.Sleep(time.Until(end))
	spent := cpu(b) - before
	wg.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	if len(all) == 0 {
		b.Fatal("nothing was acknowledged")
	}
	records := float64(len(all) * batch)
	return figures{records / turn.Seconds(), float64(spent.Microseconds()) / records, all[len(all)/2], all[len(all)*99/100]}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRead reads a shard to its tip, again and again.
func BenchmarkRead(b *testing.B) {
	if !*onKafka {
		return
	}
	c := kafkacluster.Start(b, kafkacluster.Options{Heap: "512m", Optimize: true})
	for _, compression := range []string{"none", "lz4"} {
		n := &nodes{brokers: c.Brokers(), prefix: "read-" + compression, lease: streamkafka.Lease}
		node := n.open(b, func(o *streamkafka.Options) { o.Compression = compression })
		s, err := node.CreateStream(b.Context(), stream.CreateStream{Name: n.prefix + "-s"})
		if err != nil {
			b.Fatal(err)
		}
		call := appendCaller(node.Backend, s.Name, 1, 500)
		for range 600 {
			if err := call(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(strings.TrimPrefix(n.prefix, "read-"), func(b *testing.B) {
			var batch stream.Batch
			bytes, records := 0, 0
			before := cpu(b)
			for b.Loop() {
				req := stream.ReadRequest{Shard: stream.ShardRef{Stream: s.Name, ID: s.ID}, MaxRecords: 10_000, MaxBytes: 1 << 20}
				for {
					if err := node.Read(b.Context(), req, &batch); err != nil {
						b.Fatal(err)
					}
					for i := range batch.Records {
						bytes += len(batch.Records[i].Data) + len(batch.Records[i].PartitionKey)
					}
					records += len(batch.Records)
					if len(batch.Records) == 0 {
						break
					}
					req.From = batch.Next
				}
			}
			spent := cpu(b) - before
			b.ReportMetric(float64(bytes)/b.Elapsed().Seconds()/1e6, "MB/s")
			b.ReportMetric(float64(bytes)/spent.Seconds()/1e6, "MB/s-core")
			b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
		})
		if err := node.DeleteStream(b.Context(), s.Name); err != nil {
			b.Error(err)
		}
		node.shut(b)
	}
}
