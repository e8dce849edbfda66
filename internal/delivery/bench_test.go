package delivery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/gzip"

	"millrace/internal/delivery/journal"
	"millrace/internal/glue"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/stream"
)

// nullSink counts and forgets.
type nullSink struct {
	Sink    // what is not asked for here
	bytes   atomic.Int64
	objects atomic.Int64
}

func (s *nullSink) Put(_ context.Context, _, _ string, body io.Reader, _ int64, _ object.PutOptions) (object.Info, error) {
	buf := make([]byte, 128<<10)
	for {
		n, err := body.Read(buf)
		s.bytes.Add(int64(n))
		if err == io.EOF {
			s.objects.Add(1)
			return object.Info{}, nil
		}
		if err != nil {
			return object.Info{}, err
		}
	}
}

func (s *nullSink) Head(context.Context, string, string) (object.Info, error) {
	return object.Info{}, nil
}

// endlessSource gives n records of one shard, all of one batch of real-looking events, without keeping them.
type endlessSource struct {
	*memorySource
	name   string
	events [][]byte
	total  int
}

func (s *endlessSource) Read(_ context.Context, req stream.ReadRequest, b *stream.Batch) error {
	b.Reset()
	st, _ := s.Stream(s.name)
	sh := &st.Shards[0]
	at := int(position(sh.Created, 0, req.From))
	size := 0
	b.Next = req.From
	for ; at < s.total && len(b.Records) < req.MaxRecords; at++ {
		data := s.events[at%len(s.events)]
		if size += len(data); size > req.MaxBytes && len(b.Records) > 0 {
			break
		}
		start := len(b.Buf)
		b.Buf = append(b.Buf, data...)
		b.Records = append(b.Records, stream.Record{Sequence: stream.NewSequenceNumber(sh.Created, 0, uint64(at)), Arrival: 1,
			Data: b.Buf[start:]})
	}
	if n := len(b.Records); n > 0 {
		b.Next = b.Records[n-1].Sequence.Next()
	}
	if at < s.total {
		b.MillisBehind = 1
	}
	return nil
}

func (s *endlessSource) Wait(ctx context.Context, _ stream.ShardRef, _ stream.SequenceNumber) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s *endlessSource) Tip(context.Context, stream.ShardRef) (stream.SequenceNumber, error) {
	st, _ := s.Stream(s.name)
	return stream.NewSequenceNumber(st.Shards[0].Created, 0, uint64(s.total)), nil
}

// events makes JSON events of about 300 bytes that differ as real ones do.
func events(n int) [][]byte {
	random := ids.Seeded(7)
	all := make([][]byte, n)
	for i := range all {
		all[i] = fmt.Appendf(nil, `{"event_name":"af_purchase","event_time":"2026-11-23 %02d:%02d:%02d.%03d","appsflyer_id":"%s",`+
			`"customer_user_id":"%d","platform":"%s","app_version":"4.%d.0","country_code":"%s","event_value":{"af_revenue":%d.%02d,`+
			`"af_currency":"USD","af_content_id":"%s"},"ip":"10.%d.%d.%d"}`+"\n",
			i/3600%24, i/60%60, i%60, i%1000, random.UUID(), random.Uint64()%1e7, []string{"ios", "android"}[random.Uint64()%2],
			random.Uint64()%20, random.String("ABCDEFGHKLMNPRSTUZ", 2), random.Uint64()%500, random.Uint64()%100,
			random.String(ids.LowerAlnum, 8), random.Uint64()%256, random.Uint64()%256, random.Uint64()%256)
	}
	return all
}

// partitionedEvents are events with one more member, of so many values.
func partitionedEvents(n, partitions int) [][]byte {
	all := events(n)
	for i, e := range all {
		all[i] = fmt.Appendf(nil, `{"tenant":"t%d",%s`, i*7919%partitions, e[1:])
	}
	return all
}

// BenchmarkBacklog delivers a backlog of 300 B events from one shard to objects of 5 MiB (of 64 MiB where lanes or Parquet
// want it): read, buffer, plan (a real journal in memory), encode, put into nothing, commit. MB/s are of record data;
// encoders=1 is one core for encoding. MB/cpu-s are of all processor time, which a busy machine disturbs less.
func BenchmarkBacklog(b *testing.B) {
	compressed := func(format string) func(*S3Destination) {
		return func(d *S3Destination) {
			hints(5, 0)(d)
			d.CompressionFormat = format
		}
	}
	partitioned := func(d *S3Destination) {
		hints(64, 60)(d)
		d.CompressionFormat = "GZIP"
		d.DynamicPartitioningConfiguration = &DynamicPartitioningConfiguration{Enabled: new(true)}
		d.ProcessingConfiguration = &ProcessingConfiguration{Enabled: new(true), Processors: []Processor{
			{Type: metadataExtraction, Parameters: []ProcessorParameter{{"MetadataExtractionQuery", "{k:.tenant}"}, {"JsonParsingEngine", "JQ-1.6"}}},
			{Type: appendDelimiter},
		}}
		d.Prefix, d.ErrorOutputPrefix = new("k=!{partitionKeyFromQuery:k}/"), new("errors/!{firehose:error-output-type}/")
	}
	for _, c := range []struct {
		name   string
		edit   func(*S3Destination)
		budget int64
		events [][]byte
	}{
		{"GZIP/budget=67108864", compressed("GZIP"), DefaultBufferBudget, events(20000)},
		{"GZIP/budget=1", compressed("GZIP"), 1, events(20000)},
		{"UNCOMPRESSED/budget=67108864", compressed("UNCOMPRESSED"), DefaultBufferBudget, events(20000)},
		{"UNCOMPRESSED/budget=1", compressed("UNCOMPRESSED"), 1, events(20000)},
		{"Snappy", compressed("Snappy"), DefaultBufferBudget, events(20000)},
		{"Parquet", withParquet, DefaultBufferBudget, events(20000)},
		{"partitions=100", partitioned, DefaultBufferBudget, partitionedEvents(100_000, 100)},
		{"partitions=500", partitioned, DefaultBufferBudget, partitionedEvents(100_000, 500)},
	} {
		b.Run(c.name, func(b *testing.B) { benchBacklog(b, c.edit, c.budget, c.events) })
	}
}

// eventTable has the columns of events.
func eventTable(database, name string) (*glue.Table, error) {
	table := &glue.Table{Database: database, Name: name, Version: 1}
	for _, c := range [][2]string{{"event_name", "string"}, {"event_time", "timestamp"}, {"appsflyer_id", "string"}, {"customer_user_id", "bigint"},
		{"platform", "string"}, {"app_version", "string"}, {"country_code", "string"},
		{"event_value", "struct<af_revenue:decimal(10,2),af_currency:string,af_content_id:string>"}, {"ip", "string"}} {
		table.Columns = append(table.Columns, glue.Column{Name: c[0], Type: c[1]})
	}
	return table, nil
}

func benchBacklog(b *testing.B, edit func(*S3Destination), budget int64, events [][]byte) {
	b.ReportAllocs()
	db, err := pebble.Open("db", &pebble.Options{FS: vfs.NewMem(), Logger: quietLogger{}, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	source := &endlessSource{memorySource: newMemorySource(time.Now), name: "s", events: events}
	if _, err := source.CreateStream(context.Background(), stream.CreateStream{Name: "s"}); err != nil {
		b.Fatal(err)
	}
	sink := &nullSink{}
	e, err := New(Options{Source: source, Sink: sink, Definitions: newMemoryDefinitions(), Journal: journal.Open(db, nil),
		Account: testAccount, IDs: ids.New(), BufferBudget: budget, Encoders: 1, Table: eventTable, SpoolDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	if err := e.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	if _, err := e.Create(context.Background(), request("d", "s", edit)); err != nil {
		b.Fatal(err)
	}
	size := 0
	for _, ev := range source.events {
		size += len(ev)
	}
	b.SetBytes(int64(size / len(source.events)))
	if err := e.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	// The backlog is there when the engine starts.
	source.total = b.N
	again, err := New(e.opts)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	before := processorTime()
	if err := again.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	for {
		l, err := again.Ledger(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if l.DeliveryStreams[0].Delivered+l.DeliveryStreams[0].DeadLettered == int64(b.N) {
			if l.DeliveryStreams[0].DeadLettered > 0 {
				b.Fatal("records have failed")
			}
			break
		}
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N*size/len(source.events))/1e6/(processorTime()-before).Seconds(), "MB/cpu-s")
	b.ReportMetric(float64(sink.objects.Load()), "objects")
	b.ReportMetric(float64(sink.bytes.Load())/float64(b.N)/float64(size/len(source.events)), "ratio")
	if err := again.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkGzipLevels is what DefaultGzipLevel was chosen by.
func BenchmarkGzipLevels(b *testing.B) {
	text := bytes.Join(events(20000), nil)
	for _, level := range []int{1, 2, 3, 4, 5, 6} {
		b.Run(fmt.Sprintf("level=%d", level), func(b *testing.B) {
			var out bytes.Buffer
			b.SetBytes(int64(len(text)))
			for range b.N {
				out.Reset()
				w, err := gzip.NewWriterLevel(&out, level)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := w.Write(text); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(out.Len())/float64(len(text)), "ratio")
		})
	}
}

// BenchmarkPutBatch is the Direct PUT path without the backend.
func BenchmarkPutBatch(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			e := &Engine{opts: Options{Source: &discardSource{}}, byName: map[string]*delivery{}}
			def := &Definition{Name: "d", ID: "id", Type: DirectPut, Status: Active}
			d := &delivery{name: "d", ctx: context.Background()}
			d.definition.Store(def)
			e.byName["d"] = d
			records, results := events(n), make([]PutResult, n)
			for range b.N {
				if _, err := e.PutBatch(context.Background(), "d", records, results); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
		})
	}
}

type discardSource struct{ Source }

func (discardSource) Append(_ context.Context, _ string, _ []stream.Entry, results []stream.Result) error {
	for i := range results {
		results[i].Sequence = stream.NewSequenceNumber(1, 0, uint64(i))
	}
	return nil
}
