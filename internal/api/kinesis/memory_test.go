package kinesis

import (
	"context"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// memory is a Backend that keeps streams in memory, so that golden files depend on nothing but this package.
// Streams have the shape that the local backend gives them; fail makes appends fail, whole or entry by entry.
type memory struct {
	mu      sync.Mutex
	now     func() time.Time
	streams map[string]*stream.Stream
	records map[stream.ShardRef][]stream.Record
	born    int
	changed chan struct{} // closed when there is something new to read

	foreign   bool
	failRead  error
	failCall  error
	failEntry func(i int) error
}

func newMemory(now func() time.Time) *memory {
	return &memory{now: now, streams: map[string]*stream.Stream{}, records: map[stream.ShardRef][]stream.Record{}, changed: make(chan struct{})}
}

// wake tells readers of something new. The caller holds mu.
func (m *memory) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) Capabilities() stream.Capabilities {
	return stream.Capabilities{DensePositions: true, ForeignNumbers: m.foreign}
}

func (m *memory) CreateStream(_ context.Context, spec stream.CreateStream) (*stream.Stream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams[spec.Name] != nil {
		return nil, fault.New(fault.InUse, "memory.CreateStream", spec.Name, "exists")
	}
	m.born++
	st := &stream.Stream{
		Name: spec.Name, ID: "incarnation-" + string(rune('0'+m.born)), Status: stream.Active, Created: m.now(),
		Settings: stream.Settings{Mode: spec.Mode, Retention: stream.DefaultRetention, MaxRecordBytes: spec.MaxRecordBytes, Tags: spec.Tags},
	}
	for i, r := range stream.EvenRanges(max(spec.Shards, 1)) {
		created := m.now().Unix()
		st.Shards = append(st.Shards, stream.Shard{Index: uint32(i), Range: r, Created: created,
			First: stream.NewSequenceNumber(created, uint32(i), 0)})
	}
	m.streams[spec.Name] = st
	return st, nil
}

func (m *memory) DeleteStream(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams[name] == nil {
		return fault.New(fault.NotFound, "memory.DeleteStream", name, "no such stream")
	}
	delete(m.streams, name)
	m.wake()
	return nil
}

func (m *memory) UpdateStream(_ context.Context, name string, edit func(*stream.Settings) error) (*stream.Stream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := *m.streams[name]
	st.Settings = st.Settings.Clone()
	if err := edit(&st.Settings); err != nil {
		return nil, err
	}
	m.streams[name] = &st
	return &st, nil
}

func (m *memory) Reshard(_ context.Context, name string, change stream.Reshard) (*stream.Stream, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st, err := m.streams[name].Resharded(change, m.now())
	if err == nil {
		m.streams[name] = st
		m.wake()
	}
	return st, err
}

func (m *memory) Stream(name string) (*stream.Stream, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st, ok := m.streams[name]
	return st, ok
}

func (m *memory) Streams() []*stream.Stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*stream.Stream
	for _, st := range m.streams {
		all = append(all, st)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

func (m *memory) Append(_ context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failCall != nil {
		return m.failCall
	}
	st := m.streams[name]
	for i, e := range entries {
		h := e.HashKey()
		at := slices.IndexFunc(st.Shards, func(sh stream.Shard) bool { return sh.Open() && sh.Range.Contains(h) })
		sh := &st.Shards[at]
		results[i].Shard = sh.Index
		if m.failEntry != nil {
			if err := m.failEntry(i); err != nil {
				results[i].Err = err
				continue
			}
		}
		ref := stream.ShardRef{Stream: name, ID: st.ID, Shard: sh.Index}
		results[i].Sequence = stream.NewSequenceNumber(sh.Created, sh.Index, uint64(len(m.records[ref])+1))
		m.records[ref] = append(m.records[ref], stream.Record{Sequence: results[i].Sequence, Arrival: m.now().UnixMilli(),
			PartitionKey: []byte(strings.Clone(e.PartitionKey)), Data: append([]byte{}, e.Data...), Sealed: e.Sealed})
	}
	m.wake()
	return nil
}

func (m *memory) Read(_ context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	batch.Reset()
	if m.failRead != nil {
		return m.failRead
	}
	sh, err := m.shard(req.Shard)
	if err != nil {
		return err
	}
	batch.Next = req.From
	size, more := 0, false
	for _, r := range m.records[req.Shard] {
		if r.Sequence.Before(req.From) {
			continue
		}
		size += len(r.Data) + len(r.PartitionKey)
		if len(batch.Records) == req.MaxRecords || len(batch.Records) > 0 && size > req.MaxBytes {
			more = true
			break
		}
		batch.Records = append(batch.Records, r)
		batch.Next = r.Sequence.Next()
	}
	if more {
		batch.MillisBehind = max(1, m.now().UnixMilli()-batch.Records[len(batch.Records)-1].Arrival)
	}
	batch.End = !more && !sh.Open()
	return nil
}

// shard finds a shard. The caller holds mu.
func (m *memory) shard(ref stream.ShardRef) (*stream.Shard, error) {
	if st := m.streams[ref.Stream]; st != nil && st.ID == ref.ID {
		if sh, ok := st.Shard(ref.Shard); ok {
			return sh, nil
		}
	}
	return nil, fault.New(fault.NotFound, "memory", ref.String(), "no such shard")
}

func (m *memory) Wait(ctx context.Context, ref stream.ShardRef, from stream.SequenceNumber) error {
	for {
		m.mu.Lock()
		sh, err := m.shard(ref)
		records, changed := m.records[ref], m.changed
		m.mu.Unlock()
		switch {
		case err != nil:
			return err
		case !sh.Open(), len(records) > 0 && !records[len(records)-1].Sequence.Before(from):
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failReads makes reads fail, and lets who waits find out.
func (m *memory) failReads(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failRead = err
	m.wake()
}

func (m *memory) Tip(_ context.Context, ref stream.ShardRef) (stream.SequenceNumber, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	records := m.records[ref]
	if len(records) == 0 {
		return stream.SequenceNumber{}, nil
	}
	return records[len(records)-1].Sequence.Next(), nil
}

func (m *memory) Horizon(context.Context, stream.ShardRef) (stream.SequenceNumber, error) {
	return stream.SequenceNumber{}, nil
}

func (m *memory) At(_ context.Context, ref stream.ShardRef, t time.Time) (stream.SequenceNumber, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := stream.SequenceNumber{}
	for _, r := range m.records[ref] {
		if r.Arrival >= t.UnixMilli() {
			return r.Sequence, nil
		}
		last = r.Sequence.Next()
	}
	return last, nil
}

func (m *memory) Hold(string, stream.ShardRef, stream.SequenceNumber) {}
func (m *memory) Release(string)                                      {}
func (m *memory) StartTrimming()                                      {}
func (m *memory) Healthy(context.Context) error                       { return nil }
func (m *memory) Close(context.Context) error                         { return nil }

func (m *memory) status(name string, status stream.Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := *m.streams[name]
	st.Status = status
	m.streams[name] = &st
}
