// Command produce is the yardstick of Millrace on Kafka: franz-go alone, idempotent, at
// acks=all, to a topic with three replicas of which two must be in sync.
//
// Callers work as those of PutRecords do: each has a batch of records acknowledged
// before it sends the next. It tells records a second, and the processor time that
// this process, and not the brokers, spent on each.
//
//	go run ./bench/produce                         starts three brokers of e2e/kafka/install itself
//	go run ./bench/produce -brokers 127.0.0.1:9092 -batch 1 -callers 64 -json
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/bench/load"
	"millrace/e2e/kafkacluster"
)

type options struct {
	brokers          string
	partitions       int
	callers, batch   int
	duration, warmup time.Duration
	linger           time.Duration
	compression      string
	json             bool
}

func main() {
	var o options
	flag.StringVar(&o.brokers, "brokers", "", "`HOST:PORT,...` of a Kafka (default: one that is started for the run)")
	flag.IntVar(&o.partitions, "partitions", 12, "of the topic, which is made for the run and deleted after it")
	flag.IntVar(&o.callers, "callers", 16, "that wait for their batch, each")
	flag.IntVar(&o.batch, "batch", 500, "records of a call, of 300 B")
	flag.DurationVar(&o.duration, "duration", 10*time.Second, "how long is measured")
	flag.DurationVar(&o.warmup, "warmup", 3*time.Second, "load before it")
	flag.DurationVar(&o.linger, "linger", 0, "how long the client waits for more records before it sends some")
	flag.StringVar(&o.compression, "compression", "none", "none, snappy, lz4 or zstd")
	flag.BoolVar(&o.json, "json", false, "print one JSON object")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "produce:", err)
		os.Exit(1)
	}
}

func (o *options) run(ctx context.Context) (err error) {
	if o.callers < 1 || o.batch < 1 || o.partitions < 1 || o.duration <= 0 {
		return errors.New("callers, batch, partitions and duration must be above 0")
	}
	if o.brokers == "" {
		starting, cancel := context.WithTimeout(ctx, kafkacluster.StartTime)
		defer cancel()
		cluster, startErr := kafkacluster.New(starting, kafkacluster.Options{Heap: "512m", Optimize: true})
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, cluster.Close()) }()
		o.brokers = cluster.Bootstrap()
	}
	result, err := o.measure(ctx)
	if err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(result)
	}
	fmt.Println(result)
	return nil
}

// Result is what was measured, and with -json what is printed.
type Result struct {
	Callers          int     `json:"callers"`
	Batch            int     `json:"batch"`
	RecordBytes      int     `json:"recordBytes"`
	RecordsPerSecond float64 `json:"recordsPerSecond"`
	P50Millis        float64 `json:"p50Millis"` // of a call
	P99Millis        float64 `json:"p99Millis"`
	CPUMicros        float64 `json:"cpuMicrosPerRecord"` // of this process, user and system
}

func (r Result) String() string {
	return fmt.Sprintf("franz-go, acks=all: %d callers with %d records of %d B a call: %.0f records/s, p50 %.2f ms, p99 %.2f ms, %.2f µs CPU a record",
		r.Callers, r.Batch, r.RecordBytes, r.RecordsPerSecond, r.P50Millis, r.P99Millis, r.CPUMicros)
}

func (o *options) client(topic string) (*kgo.Client, error) {
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	codec, known := codecs[o.compression]
	if !known {
		return nil, fmt.Errorf("no compression %q", o.compression)
	}
	return kgo.NewClient(kgo.SeedBrokers(strings.Split(o.brokers, ",")...), kgo.DefaultProduceTopic(topic),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(o.linger), kgo.ProducerBatchCompression(codec),
		kgo.MaxBufferedRecords(o.callers*o.batch)) // all that the callers can have in flight: none waits for another
}

func (o *options) measure(ctx context.Context) (_ *Result, err error) {
	topic := fmt.Sprintf("bench-produce-%d", time.Now().UnixNano())
	client, err := o.client(topic)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	two := "2"
	if _, err := admin.CreateTopic(ctx, int32(o.partitions), 3, map[string]*string{"min.insync.replicas": &two}, topic); err != nil {
		return nil, fmt.Errorf("create topic %s: %w", topic, err)
	}
	defer func() {
		deleting, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second) // also after Ctrl-C
		defer cancel()
		_, deleteErr := admin.DeleteTopic(deleting, topic)
		err = errors.Join(err, deleteErr)
	}()
	began := time.Now().Add(o.warmup)
	end := began.Add(o.duration)
	callers := make([]caller, o.callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() { callers[i].run(ctx, client, i, o.batch, began, end) })
	}
	time.Sleep(time.Until(began))
	before, err := cpu()
	if err != nil {
		return nil, err
	}
	time.Sleep(time.Until(end))
	after, err := cpu()
	if err != nil {
		return nil, err
	}
	all.Wait()
	var latency load.Histogram
	for i := range callers {
		if err := callers[i].err; err != nil {
			return nil, err
		}
		latency.Merge(&callers[i].latency)
	}
	records := float64(latency.Count()) * float64(o.batch)
	if records == 0 {
		return nil, errors.New("nothing was acknowledged in the measured time")
	}
	return &Result{
		Callers: o.callers, Batch: o.batch, RecordBytes: len(load.JSONEvent(0)),
		RecordsPerSecond: records / o.duration.Seconds(),
		P50Millis:        latency.Quantile(.5).Seconds() * 1000,
		P99Millis:        latency.Quantile(.99).Seconds() * 1000,
		CPUMicros:        float64((after - before).Microseconds()) / records,
	}, nil
}

// cpu is the processor time of this process; that of its children, the brokers, is not in it.
func cpu() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// caller sends batches, one after the other.
type caller struct {
	latency load.Histogram // of the calls that ended in the measured time
	err     error          // that ended it
}

func (c *caller) run(ctx context.Context, client *kgo.Client, number, batch int, began, end time.Time) {
	value := load.JSONEvent(number)
	keys := make([][]byte, batch) // made beforehand: making them is the work of whoever calls PutRecords
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "k-%d-%d", number, i)
	}
	for ctx.Err() == nil {
		sent := time.Now()
		if !sent.Before(end) {
			return
		}
		if c.err = call(ctx, client, keys, value); c.err != nil {
			return
		}
		if acknowledged := time.Now(); acknowledged.After(began) && acknowledged.Before(end) {
			c.latency.Record(acknowledged.Sub(sent))
		}
	}
	c.err = ctx.Err()
}

// call has one record for each key acknowledged.
func call(ctx context.Context, client *kgo.Client, keys [][]byte, value []byte) error {
	records := make([]kgo.Record, len(keys))
	var mu sync.Mutex // promises of one client are called one after the other, and this does not depend on it
	var first error
	var left sync.WaitGroup
	left.Add(len(keys))
	for i, key := range keys {
		records[i].Key, records[i].Value = key, value
		client.Produce(ctx, &records[i], func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				if first == nil {
					first = err
				}
				mu.Unlock()
			}
			left.Done()
		})
	}
	left.Wait()
	return first
}
