package kafka

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/fault"
	"millrace/internal/kafka"
	"millrace/internal/stream"
)

// Foreign reads topics of a cluster that keeps nothing of Millrace's: it has no catalog and no producer, makes nothing
// there and changes nothing. Which topics there are to read, and what is known of them, it is told by [Foreign.Show]; it
// reads as a [Backend] reads an adopted topic.
//
// Shard i is partition i, the stream's id is the topic's, and all shards were created in one and the same second, so that
// a sequence number is a function of partition and offset, on every node and for ever.
type Foreign struct {
	b *Backend

	mu sync.Mutex // one Show at a time
}

// ForeignOptions say where topics are read.
type ForeignOptions struct {
	Settings *kafka.Settings
	Now      func() time.Time
	// AskTimeout bounds reads and looks that wait for brokers; 0: [DefaultAskTimeout].
	AskTimeout time.Duration
}

// foreignCreated is the second in which all shards of topics of others were created, as their numbers tell. It never
// changes: stored positions would.
const foreignCreated = 1

// OpenForeign does no I/O: that brokers can't be reached is told by whoever asks them.
func OpenForeign(o ForeignOptions) (*Foreign, error) {
	if o.AskTimeout == 0 {
		o.AskTimeout = DefaultAskTimeout
	}
	b := newBackend(Options{Settings: o.Settings, Now: o.Now, AskTimeout: o.AskTimeout})
	if err := b.connectReaders(); err != nil {
		b.abandon()
		return nil, err
	}
	return &Foreign{b: b}, nil
}

// Close ends all that waits, and disconnects.
func (f *Foreign) Close(context.Context) error {
	f.b.closing.Store(true)
	f.b.end()
	f.b.reader.Close()
	f.b.poller.Close()
	f.b.workers.Wait()
	return nil
}

// ForeignTopic is what brokers tell of a topic.
type ForeignTopic struct {
	ID         string // of this incarnation: hexadecimal digits; zeros where brokers give topics none
	Partitions int
	Err        error // NotFound, Denied, Unavailable, LimitExceeded; the rest is empty then
}

// Look asks a broker about topics, by name. An error means that it has told of none.
func (f *Foreign) Look(ctx context.Context, topics []string) (map[string]ForeignTopic, error) {
	const op = "kafka.Look"
	ctx, cancel := f.b.bounded(ctx)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, f.b.reader)
	if err != nil {
		return nil, kafka.Fault(op, "", err)
	}
	found := make(map[string]ForeignTopic, len(topics))
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil {
			continue
		}
		switch err, n := kerr.ErrorForCode(t.ErrorCode), len(t.Partitions); {
		case err != nil:
			found[*t.Topic] = ForeignTopic{Err: kafka.Fault(op, *t.Topic, err)}
		case n == 0 || n > maxListed:
			found[*t.Topic] = ForeignTopic{Err: fault.New(fault.LimitExceeded, op, *t.Topic, "the topic has %d partitions; at most %d", n, maxListed)}
		default:
			found[*t.Topic] = ForeignTopic{ID: hex.EncodeToString(t.TopicID[:]), Partitions: n}
		}
	}
	return found, nil
}

// Upkeep is how a topic is cleaned.
type Upkeep struct {
	// Retention is how long records are kept; the longest that a stream may have where that can't be told, or is longer.
	Retention time.Duration
	Compacted bool
}

// Upkeep asks how a topic is cleaned.
func (f *Foreign) Upkeep(ctx context.Context, topic string) Upkeep {
	ctx, cancel := f.b.bounded(ctx)
	defer cancel()
	configs, err := kafka.Configs(ctx, f.b.adm, topic)
	if err != nil {
		return Upkeep{Retention: stream.MaxRetention} // who may read a topic need not be allowed to see its settings
	}
	return Upkeep{retentionOf(configs), compacted(configs)}
}

func compacted(configs map[string]string) bool {
	return strings.Contains(configs["cleanup.policy"], "compact")
}

// retentionOf reads a topic's retention.ms, of which -1 means for ever.
func retentionOf(configs map[string]string) time.Duration {
	if ms, err := strconv.ParseInt(configs["retention.ms"], 10, 64); err == nil && ms >= 0 && ms < int64(stream.MaxRetention/time.Millisecond) {
		return time.Duration(ms) * time.Millisecond
	}
	return stream.MaxRetention
}

// ForeignStream is a topic as a stream.
type ForeignStream struct {
	Name       string // of the stream
	Topic      string
	ID         string // of [ForeignTopic]
	Partitions int
	Upkeep     Upkeep
}

// Show makes the given streams all that there are. Who waits for a shard of another incarnation is told that it is gone.
func (f *Foreign) Show(all []ForeignStream) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.b.view.Load()
	next := &view{version: old.version + 1, byName: make(map[string]*streamState, len(all)), superseded: make(chan struct{})}
	for i := range all {
		state, err := f.b.foreignState(&all[i], old.byName[all[i].Name])
		if err != nil {
			return err
		}
		next.byName[all[i].Name] = state
	}
	for _, name := range slices.Sorted(maps.Keys(next.byName)) {
		next.sorted = append(next.sorted, next.byName[name].def)
	}
	f.b.view.Store(next)
	close(old.superseded)
	for name, was := range old.byName {
		if s := next.byName[name]; s == nil || s.topic != was.topic {
			was.leave()
		}
	}
	return nil
}

func (b *Backend) foreignState(s *ForeignStream, old *streamState) (*streamState, error) {
	d := &document{Topic: s.Topic, Adopted: true, Compacted: s.Upkeep.Compacted, Stream: stream.Stream{
		Name: s.Name, ID: s.ID, Status: stream.Active, Created: time.Unix(foreignCreated, 0).UTC(),
		Settings: stream.Settings{Mode: stream.Provisioned, Retention: s.Upkeep.Retention, MaxRecordBytes: maxDataBytes},
	}}
	if err := d.TopicID.UnmarshalText([]byte(s.ID)); err != nil {
		return nil, fault.New(fault.Internal, "kafka.Show", s.Name, "%w", err)
	}
	if old != nil && old.doc.TopicID == d.TopicID && len(old.shards) == s.Partitions && old.def.Retention == s.Upkeep.Retention {
		return old, nil
	}
	d.shards(s.Partitions)
	return b.stateOf(d, nil, old), nil
}

// Stream describes a stream.
func (f *Foreign) Stream(name string) (*stream.Stream, bool) { return f.b.Stream(name) }

// Read is [Backend.Read].
func (f *Foreign) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	return f.b.Read(ctx, req, batch)
}

// Wait is [Backend.Wait].
func (f *Foreign) Wait(ctx context.Context, ref stream.ShardRef, from stream.SequenceNumber) error {
	return f.b.Wait(ctx, ref, from)
}

// Tip is [Backend.Tip].
func (f *Foreign) Tip(ctx context.Context, ref stream.ShardRef) (stream.SequenceNumber, error) {
	return f.b.Tip(ctx, ref)
}

// At is [Backend.At], but that the moment zero is the oldest record that is kept, whatever its time.
func (f *Foreign) At(ctx context.Context, ref stream.ShardRef, t time.Time) (stream.SequenceNumber, error) {
	if t.UnixMilli() <= 0 {
		return f.b.Horizon(ctx, ref)
	}
	return f.b.At(ctx, ref, t)
}
