package firehose_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/api/firehose"
	"millrace/internal/delivery"
	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/stream"
)

var account = ids.Account{Partition: "aws", Region: "us-east-1", ID: "000000000000"}

// service is the surface on a real delivery engine; streams, definitions and objects are in memory.
type service struct {
	url     string
	service *firehose.Service
	source  *source
	secret  string // that clients sign with
}

func newService(t testing.TB, change ...func(*firehose.Options)) *service {
	t.Helper()
	db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem(), Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	now := func() time.Time { return time.UnixMilli(1700000000123) }
	s := &service{source: newSource(), secret: "secret"}
	engine, err := delivery.New(delivery.Options{Source: s.source, Sink: nowhere{}, Definitions: &definitions{}, Journal: journal.Open(db, []byte("j/")),
		Account: account, IDs: ids.Seeded(1), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close(context.Background()) })
	opts := firehose.Options{Engine: engine, Account: account, IDs: ids.Seeded(2)}
	for _, f := range change {
		f(&opts)
	}
	if s.service, err = firehose.New(opts); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.service)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *service) client() *sdk.Client {
	return sdk.New(sdk.Options{Region: "us-east-1", BaseEndpoint: aws.String(s.url), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKID", s.secret, "")})
}

// call sends a request as plain HTTP and gives status and body.
func (s *service) call(t *testing.T, operation, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "Firehose_20150804."+operation)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("x-amzn-RequestId") == "" || resp.Header.Get("x-amz-id-2") == "" || resp.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		t.Errorf("headers: %v", resp.Header)
	}
	return resp.StatusCode, string(text)
}

type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatalf(f string, _ ...any) { panic(f) }

// source keeps streams of one shard whose records are never read: what is delivered is another package's matter.
type source struct {
	mu      sync.Mutex
	streams map[string]*stream.Stream
	records map[string][][]byte
	appends int
	fail    func(i int) error // of the entry i of the next appends
	refuse  error             // of whole appends
}

func newSource() *source {
	return &source{streams: map[string]*stream.Stream{}, records: map[string][][]byte{}}
}

func (m *source) Capabilities() stream.Capabilities { return stream.Capabilities{DensePositions: true} }

func (m *source) CreateStream(_ context.Context, spec stream.CreateStream) (*stream.Stream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &stream.Stream{Name: spec.Name, ID: fmt.Sprintf("id%d", len(m.streams)), Status: stream.Active,
		Shards: []stream.Shard{{Range: stream.EvenRanges(1)[0], Created: 1700000000, First: stream.NewSequenceNumber(1700000000, 0, 0)}}}
	m.streams[spec.Name] = s
	return s, nil
}

func (m *source) DeleteStream(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.streams, name)
	delete(m.records, name)
	return nil
}

func (m *source) UpdateStream(_ context.Context, name string, edit func(*stream.Settings) error) (*stream.Stream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.streams[name]
	if !ok {
		return nil, fault.New(fault.NotFound, "source.UpdateStream", name, "no such stream")
	}
	next := *s
	if err := edit(&next.Settings); err != nil {
		return nil, err
	}
	m.streams[name] = &next
	return &next, nil
}

func (m *source) Stream(name string) (*stream.Stream, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.streams[name]
	return s, ok
}

func (m *source) Streams() []*stream.Stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*stream.Stream
	for _, s := range m.streams {
		all = append(all, s)
	}
	return all
}

func (m *source) Append(_ context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appends++
	if m.refuse != nil {
		return m.refuse
	}
	for i := range entries {
		if m.fail != nil {
			if results[i].Err = m.fail(i); results[i].Err != nil {
				continue
			}
		}
		results[i] = stream.Result{Sequence: stream.NewSequenceNumber(1700000000, 0, uint64(len(m.records[name])))}
		m.records[name] = append(m.records[name], bytes.Clone(entries[i].Data))
	}
	return nil
}

func (m *source) Read(_ context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	batch.Reset()
	batch.Next = req.From
	return nil
}

func (m *source) Wait(ctx context.Context, _ stream.ShardRef, _ stream.SequenceNumber) error {
	<-ctx.Done()
	return ctx.Err()
}

func (m *source) Tip(context.Context, stream.ShardRef) (stream.SequenceNumber, error) {
	return stream.NewSequenceNumber(1700000000, 0, 0), nil
}

func (m *source) Hold(string, stream.ShardRef, stream.SequenceNumber) {}
func (m *source) Release(string)                                      {}

type definitions struct {
	mu  sync.Mutex
	all map[string]*delivery.Definition
}

func (d *definitions) Update(_ context.Context, name string, fn func(*delivery.Definition) (*delivery.Definition, error)) (*delivery.Definition, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	def, err := fn(d.all[name])
	switch {
	case err != nil:
		return nil, err
	case def == nil:
		delete(d.all, name)
	case d.all == nil:
		d.all = map[string]*delivery.Definition{name: def}
	default:
		d.all[name] = def
	}
	return def, nil
}

func (d *definitions) All(context.Context) ([]*delivery.Definition, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.all)), nil
}

func (d *definitions) Follow(func()) (stop func()) { return func() {} }

type nowhere struct{ delivery.Sink }

func (nowhere) Put(context.Context, string, string, io.Reader, int64, object.PutOptions) (object.Info, error) {
	return object.Info{}, fault.New(fault.NotFound, "nowhere.Put", "", "no bucket")
}

func (nowhere) Head(context.Context, string, string) (object.Info, error) {
	return object.Info{}, fault.New(fault.NotFound, "nowhere.Head", "", "no bucket")
}

// FindTopic knows one topic.
func (m *source) FindTopic(ctx context.Context, cluster, topic string) (*stream.Stream, error) {
	if topic != "orders" {
		return nil, fault.New(fault.Invalid, "t", topic, "Topic %s is not found in the MSK cluster %s.", topic, cluster)
	}
	name := stream.TopicStream(cluster, topic)
	if st, ok := m.Stream(name); ok {
		return st, nil
	}
	return m.CreateStream(ctx, stream.CreateStream{Name: name})
}

func (m *source) At(context.Context, stream.ShardRef, time.Time) (stream.SequenceNumber, error) {
	return stream.SequenceNumber{}, nil
}

func (m *source) TopicCapabilities() stream.Capabilities { return stream.Capabilities{} }
