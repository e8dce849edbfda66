package offline

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"millrace/internal/api/firehose"
	"millrace/internal/api/kinesis"
	"millrace/internal/catalog"
	"millrace/internal/delivery"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/stream"
	"millrace/internal/template"
)

// Record is what a stream or a Direct PUT delivery stream was given.
type Record struct {
	Stream         string // empty when DeliveryStream is not
	DeliveryStream string
	PartitionKey   string // of a stream's record
	Data           []byte
}

// memory stands for a node's engines: it keeps the records of one request. What definitions and actions do not ask of a
// backend is the nil Backend's.
type memory struct {
	stream.Backend

	now        func() time.Time
	ids        *ids.Source
	streams    map[string]*stream.Stream
	buckets    map[string]object.Bucket
	deliveries map[string]*delivery.Definition
	records    []Record
}

// Capabilities are the local log's, as far as a put can tell.
func (m *memory) Capabilities() stream.Capabilities {
	return stream.Capabilities{DensePositions: true, OrderedCalls: true, Seals: true}
}

// Stream finds a stream.
func (m *memory) Stream(name string) (*stream.Stream, bool) {
	s, ok := m.streams[name]
	return s, ok
}

// CreateStream makes a stream as the local log does, ACTIVE at once.
func (m *memory) CreateStream(_ context.Context, spec stream.CreateStream) (*stream.Stream, error) {
	if spec.Mode == "" {
		spec.Mode = stream.Provisioned
	}
	if spec.Shards == 0 {
		spec.Shards = 1
		if spec.Mode == stream.OnDemand {
			spec.Shards = stream.OnDemandShards
		}
	}
	if spec.MaxRecordBytes == 0 {
		spec.MaxRecordBytes = stream.DefaultMaxRecordBytes
	}
	s := &stream.Stream{Name: spec.Name, ID: m.ids.UUID(), Status: stream.Active, Created: m.now(),
		Settings: stream.Settings{Mode: spec.Mode, Retention: spec.Retention, MaxRecordBytes: spec.MaxRecordBytes, Tags: spec.Tags}}
	for i, r := range stream.EvenRanges(spec.Shards) {
		created := m.now().Unix()
		s.Shards = append(s.Shards, stream.Shard{Index: uint32(i), Range: r, Created: created, First: stream.NewSequenceNumber(created, uint32(i), 0)})
	}
	m.streams[s.Name] = s
	return s, nil
}

// UpdateStream changes what a definition says of a stream beyond its creation.
func (m *memory) UpdateStream(_ context.Context, name string, edit func(*stream.Settings) error) (*stream.Stream, error) {
	s := *m.streams[name]
	s.Settings = s.Settings.Clone()
	if err := edit(&s.Settings); err != nil {
		return nil, err
	}
	m.streams[name] = &s
	return &s, nil
}

// Append keeps the entries.
func (m *memory) Append(_ context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	s := m.streams[name]
	for i := range entries {
		e := &entries[i]
		key := e.HashKey()
		at := slices.IndexFunc(s.Shards, func(sh stream.Shard) bool { return sh.Range.Contains(key) })
		m.records = append(m.records, Record{Stream: name, PartitionKey: e.PartitionKey, Data: slices.Clone(e.Data)})
		results[i] = stream.Result{Shard: s.Shards[at].Index,
			Sequence: stream.NewSequenceNumber(s.Shards[at].Created, s.Shards[at].Index, uint64(len(m.records)))}
	}
	return nil
}

// Bucket, CreateBucket and TagBucket do for buckets what a definition needs.
func (m *memory) Bucket(_ context.Context, name string) (object.Bucket, error) {
	b, ok := m.buckets[name]
	if !ok {
		return b, fault.New(fault.NotFound, "offline.Bucket", name, "The specified bucket does not exist")
	}
	return b, nil
}

// CreateBucket makes a bucket.
func (m *memory) CreateBucket(_ context.Context, b object.Bucket) error {
	m.buckets[b.Name] = b
	return nil
}

// deliveryStreams is the memory as what runs delivery streams.
type deliveryStreams struct {
	firehose.Engine
	*memory
}

// Compare checks a delivery stream as the engine does. There is none before the file makes it.
func (d deliveryStreams) Compare(req *delivery.CreateRequest) (*delivery.Definition, bool, error) {
	_, err := req.Definition()
	return nil, false, err
}

// Apply makes a delivery stream.
func (d deliveryStreams) Apply(_ context.Context, req *delivery.CreateRequest) (*delivery.Definition, bool, error) {
	def, err := req.Definition()
	if err != nil {
		return nil, false, err
	}
	d.deliveries[def.Name] = def
	return def, true, nil
}

// Delete is for plans that remove; those of an empty memory do not.
func (d deliveryStreams) Delete(_ context.Context, name string) error {
	delete(d.deliveries, name)
	return nil
}

// PutBatch keeps the records of a Direct PUT delivery stream.
func (d deliveryStreams) PutBatch(_ context.Context, name string, records [][]byte, results []delivery.PutResult) (bool, error) {
	const op = "offline.PutBatch"
	def := d.deliveries[name]
	if def == nil {
		return false, fault.New(fault.NotFound, op, name, "Firehose %s under account %s not found.", name, account.ID)
	}
	if def.Type != delivery.DirectPut {
		return false, fault.New(fault.Invalid, op, name, "This operation is not permitted on KinesisStreamAsSource delivery stream type.")
	}
	if err := delivery.CheckBatch(op, name, records); err != nil {
		return false, err
	}
	for i, data := range records {
		d.records = append(d.records, Record{DeliveryStream: name, Data: slices.Clone(data)})
		results[i] = delivery.PutResult{RecordID: strconv.Itoa(len(d.records))}
	}
	return def.Encrypts(), nil
}

// bucketStore adds to the memory the methods of a store of buckets whose names its other faces do not have.
type bucketStore struct{ *memory }

// TagBucket is for plans that change; those of an empty memory do not.
func (b bucketStore) TagBucket(_ context.Context, name string, tags map[string]string) error {
	bucket := b.buckets[name]
	bucket.Tags = tags
	b.buckets[name] = bucket
	return nil
}

// SetBucket keeps a setting, which no request looks at.
func (b bucketStore) SetBucket(_ context.Context, name, setting, text string) error {
	bucket := b.buckets[name]
	settings := maps.Clone(bucket.Settings)
	if settings == nil {
		settings = map[string]string{}
	}
	settings[setting] = text
	bucket.Settings = settings
	b.buckets[name] = bucket
	return nil
}

// KeepsSettings says yes.
func (b bucketStore) KeepsSettings() bool { return true }

// DeleteBucket is for plans that remove; those of an empty memory do not.
func (b bucketStore) DeleteBucket(_ context.Context, name string) error {
	delete(b.buckets, name)
	return nil
}

// documents is a catalog's store that keeps nothing but what the catalog itself holds.
type documents struct {
	catalog *catalog.Catalog
	version uint64
}

// Update runs an edit.
func (d *documents) Update(_ context.Context, edit func() (catalog.Writes, error)) (uint64, error) {
	writes, err := edit()
	if err != nil || len(writes) == 0 {
		return d.version, err
	}
	d.version++
	d.catalog.Apply(writes, d.version)
	return d.version, nil
}

func newCatalog() *catalog.Catalog {
	d := &documents{}
	d.catalog = catalog.New(d, map[catalog.Key][]byte{}, 0)
	return d.catalog
}

// services gives the memory the doors that a node's engines have.
func (m *memory) services() (*kinesis.Service, *firehose.Service, error) {
	kin, err := kinesis.New(kinesis.Options{Backend: m, Account: account, IDs: m.ids, Now: m.now, TokenKey: make([]byte, 32)})
	if err != nil {
		return nil, nil, err
	}
	fire, err := firehose.New(firehose.Options{Engine: deliveryStreams{memory: m}, Account: account, IDs: m.ids, Now: m.now})
	return kin, fire, err
}

var (
	_ template.Streams         = (*memory)(nil)
	_ template.Buckets         = bucketStore{}
	_ template.DeliveryStreams = deliveryStreams{}
)
