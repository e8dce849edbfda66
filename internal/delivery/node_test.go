package delivery

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/delivery/journal"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// node is an engine with everything around it in memory. close and crash leave the durable state for the next one.
type node struct {
	t      *testing.T
	fs     *vfs.MemFS
	db     *pebble.DB
	defs   *memoryDefinitions
	source *memorySource
	sink   *memorySink
	engine *Engine
	opts   Options
	world  *world
	answer func() (bool, error) // of the journal
	wrap   func(*memorySource) Source
	inRows bool // the journal has no index
}

var testAccount = ids.Account{Partition: "aws", Region: "us-east-1", ID: "000000000000"}

type quietLogger struct{}

func (quietLogger) Infof(string, ...any)  {}
func (quietLogger) Errorf(string, ...any) {}
func (quietLogger) Fatalf(format string, args ...any) {
	panic("pebble: " + format)
}

// newNode makes a node whose bucket "events" exists; start starts it.
func newNode(t *testing.T, opts Options) *node {
	n := &node{t: t, fs: vfs.NewCrashableMem(), defs: newMemoryDefinitions(), sink: newMemorySink("events"), opts: opts}
	if n.opts.Now == nil {
		n.opts.Now = time.Now
	}
	n.source = newMemorySource(n.opts.Now)
	n.join(new(world))
	return n
}

func (n *node) join(w *world) {
	n.world, n.source.world, n.sink.world, n.defs.world = w, w, w, w
}

// snapshot gives a node with the durable state of this instant, as kill -9 would leave it: of what was not synced a
// random part is there. It is not started.
func (n *node) snapshot(seed uint64) *node {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	c := &node{t: n.t, opts: n.opts, source: n.source.clone(), sink: n.sink.clone(), defs: n.defs.clone()}
	c.fs = n.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed % 101), RNG: rand.New(rand.NewPCG(seed, 0))})
	c.join(new(world))
	return c
}

func (n *node) start() *node {
	n.t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: n.fs, Logger: quietLogger{}, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		n.t.Fatal(err)
	}
	n.db = db
	opts := n.opts
	opts.Source, opts.Sink, opts.Definitions = n.source, n.sink, n.defs
	if n.wrap != nil {
		opts.Source = n.wrap(n.source)
	}
	j := journal.Open(db, []byte("j/"))
	opts.Journal = &worldJournal{j, j, n.world, n.answer}
	if n.inRows {
		opts.Journal = struct{ journal.Journal }{opts.Journal}
	}
	opts.Account = testAccount
	if opts.IDs == nil {
		opts.IDs = ids.Seeded(1)
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	e, err := New(opts)
	if err != nil {
		n.t.Fatal(err)
	}
	n.engine = e
	if err := e.Start(context.Background()); err != nil {
		n.t.Fatal(err)
	}
	return n
}

func (n *node) close() {
	n.t.Helper()
	if err := n.engine.Close(context.Background()); err != nil {
		n.t.Fatal(err)
	}
	if err := n.db.Close(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) restart() {
	n.t.Helper()
	n.close()
	n.start()
}

// request is a CreateRequest for bucket "events"; edit changes it.
func request(name, source string, edit func(*S3Destination)) *CreateRequest {
	size, interval := 1, 60
	dest := &S3Destination{S3Configuration: S3Configuration{
		RoleARN: "arn:aws:iam::000000000000:role/delivery", BucketARN: "arn:aws:s3:::events",
		BufferingHints: &BufferingHints{&size, &interval},
	}}
	if edit != nil {
		edit(dest)
	}
	req := &CreateRequest{DeliveryStreamName: name, ExtendedS3DestinationConfiguration: dest}
	if source != "" {
		req.DeliveryStreamType = KinesisStreamAsSource
		req.KinesisStreamSourceConfiguration = &KinesisSource{
			KinesisStreamARN: testAccount.Stream(source), RoleARN: "arn:aws:iam::000000000000:role/delivery"}
	}
	return req
}

func hints(size, interval int) func(*S3Destination) {
	return func(d *S3Destination) { d.BufferingHints = &BufferingHints{&size, &interval} }
}

func (n *node) create(req *CreateRequest) *Definition {
	n.t.Helper()
	def, err := n.engine.Create(context.Background(), req)
	if err != nil {
		n.t.Fatal(err)
	}
	return def
}

func (n *node) stream(name string, shards int) {
	n.t.Helper()
	if _, err := n.source.CreateStream(context.Background(), stream.CreateStream{Name: name, Shards: shards}); err != nil {
		n.t.Fatal(err)
	}
}

// append puts one record into a stream, under a partition key.
func (n *node) append(name, key, data string) stream.Result {
	n.t.Helper()
	results := make([]stream.Result, 1)
	entries := []stream.Entry{{PartitionKey: key, Data: []byte(data)}}
	if err := n.source.Append(context.Background(), name, entries, results); err != nil {
		n.t.Fatal(err)
	}
	return results[0]
}

func (n *node) put(name string, records ...string) {
	n.t.Helper()
	data, results := make([][]byte, len(records)), make([]PutResult, len(records))
	for i, r := range records {
		data[i] = []byte(r)
	}
	if _, err := n.engine.PutBatch(context.Background(), name, data, results); err != nil {
		n.t.Fatal(err)
	}
	for i := range results {
		if results[i].Err != nil || results[i].RecordID == "" {
			n.t.Fatalf("put %d: %+v", i, results[i])
		}
	}
}

// content gives an object's text, decompressed.
func content(t *testing.T, o *memoryObject) string {
	t.Helper()
	if o.info.ContentEncoding != "gzip" {
		return string(o.data)
	}
	zr, err := gzip.NewReader(bytes.NewReader(o.data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// objects gives the texts of all objects of a bucket, in the order of their keys.
func (n *node) objects(bucket string) []string {
	n.t.Helper()
	var all []string
	for _, key := range n.sink.keys(bucket) {
		all = append(all, content(n.t, n.sink.get(bucket, key)))
	}
	return all
}

// ledger gives the checked line of a delivery stream.
func (n *node) ledger(name string) Line {
	n.t.Helper()
	l, err := n.engine.Ledger(context.Background())
	if err != nil {
		n.t.Fatal(err)
	}
	if err := l.Check(); err != nil {
		n.t.Fatal(err)
	}
	for _, d := range l.DeliveryStreams {
		if d.Name == name {
			return d.Line
		}
	}
	for _, d := range l.Deleted {
		if d.Name == name {
			return d
		}
	}
	n.t.Fatalf("no ledger of %s", name)
	return Line{}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// inBubble runs a test with a clock of its own, which starts at 2000-01-01T00:00:00Z.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func joined(texts []string) string { return strings.Join(texts, "|") }
