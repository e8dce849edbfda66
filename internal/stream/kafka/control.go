package kafka

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/internal/fault"
	"millrace/internal/kafka"
	"millrace/internal/stream"
)

const (
	// maxShards bounds the open shards of a stream, and maxListed those with the closed ones that retention still keeps.
	// More partitions than that in one topic are a burden for brokers, and the document of a stream is one record.
	maxShards = 2000
	maxListed = 2 * maxShards
	// nameFreed is how long a create waits for a topic of that name that is being deleted.
	nameFreed = 3 * time.Second
	// askAgain is between two looks at what brokers know.
	askAgain = 20 * time.Millisecond
)

// CreateStream writes the document, makes the topic, and makes the stream ACTIVE. After a crash in between any node
// finishes it.
func (b *Backend) CreateStream(ctx context.Context, spec stream.CreateStream) (*stream.Stream, error) {
	const op = "kafka.CreateStream"
	if b.closing.Load() {
		return nil, errClosed(op, spec.Name)
	}
	d, err := b.newDocument(op, spec)
	if err != nil {
		return nil, err
	}
	if _, exists := b.Stream(spec.Name); exists {
		return nil, fault.New(fault.InUse, op, spec.Name, "a stream of this name exists")
	}
	if err := b.nameFree(ctx, op, d.Topic); err != nil {
		return nil, err
	}
	_, err = b.update(ctx, op, spec.Name, func(docs Documents) error {
		if _, exists := docs.Get(spec.Name); exists {
			return fault.New(fault.InUse, op, spec.Name, "a stream of this name exists")
		}
		return keep(docs, d)
	})
	if err != nil {
		return nil, err
	}
	if err := b.finishCreate(ctx, d); err != nil {
		return nil, err
	}
	if s, ok := b.Stream(spec.Name); ok {
		return s, nil
	}
	return &d.Stream, nil
}

func (b *Backend) newDocument(op string, spec stream.CreateStream) (*document, error) {
	name, err := b.topicOf(op, spec.Name)
	if err != nil {
		return nil, err
	}
	def := stream.Stream{
		Name: spec.Name, ID: b.opts.IDs.UUID(), Status: stream.Creating, Created: b.opts.Now().UTC(),
		Settings: stream.Settings{Mode: spec.Mode, Retention: spec.Retention, MaxRecordBytes: spec.MaxRecordBytes, Tags: maps.Clone(spec.Tags)},
	}
	count := spec.Shards
	if def.Mode == "" {
		def.Mode = stream.Provisioned
	}
	if count == 0 {
		count = 1
		if def.Mode == stream.OnDemand {
			count = stream.OnDemandShards
		}
	}
	if count < 0 || count > maxShards {
		return nil, fault.New(fault.LimitExceeded, op, spec.Name, "%d shards; at most %d", count, maxShards)
	}
	if def.Retention == 0 {
		def.Retention = stream.DefaultRetention
	}
	if def.MaxRecordBytes == 0 {
		def.MaxRecordBytes = stream.DefaultMaxRecordBytes
	}
	if def.MaxRecordBytes > maxDataBytes {
		return nil, fault.New(fault.Invalid, op, spec.Name, "records of %d bytes; at most %d", def.MaxRecordBytes, maxDataBytes)
	}
	d := &document{Stream: def, Topic: name, MaxBatchBytes: maxBatch(def.MaxRecordBytes)}
	d.shards(count)
	return d, nil
}

// shards gives the document so many open shards, each on the partition of its index.
func (d *document) shards(count int) {
	created := max(d.Stream.Created.Unix(), 0)
	d.Partitions, d.NextPartition = map[uint32]int32{}, int32(count)
	for i, r := range stream.EvenRanges(count) {
		index := uint32(i)
		d.Stream.Shards = append(d.Stream.Shards, stream.Shard{
			Index: index, Range: r, Created: created, First: stream.NewSequenceNumber(created, index, 0),
		})
		d.Partitions[index] = int32(i)
	}
}

func keep(docs Documents, d *document) error {
	raw, err := d.encode()
	if err != nil {
		return err
	}
	docs.Put(d.Stream.Name, raw)
	return nil
}

// update changes the catalog.
func (b *Backend) update(ctx context.Context, op, name string, fn func(Documents) error) (version int64, err error) {
	version, err = b.opts.Catalog.Update(ctx, fn)
	var known *fault.Error
	if err != nil && !errors.As(err, &known) {
		err = fault.New(fault.Unavailable, op, name, "the catalog cannot be changed: %w", err)
	}
	return version, err
}

// edit changes the document of a stream; fn gets one of its own. A stream that is not there, or another of the name (id
// is not empty), is NotFound.
func (b *Backend) edit(ctx context.Context, op, name, id string, fn func(*document) error) (d *document, version int64, err error) {
	version, err = b.update(ctx, op, name, func(docs Documents) error {
		raw, ok := docs.Get(name)
		if !ok {
			return notFound(op, name)
		}
		if d, err = parseDocument(name, raw); err != nil {
			return err
		}
		if id != "" && d.Stream.ID != id {
			return notFound(op, name)
		}
		if err := fn(d); err != nil {
			return err
		}
		return keep(docs, d)
	})
	return d, version, err
}

// nameFree waits until no topic has the name. InUse: one that nobody is deleting does.
func (b *Backend) nameFree(ctx context.Context, op, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, nameFreed)
	defer cancel()
	for {
		_, err := b.describe(ctx, topic)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		if pause(ctx, askAgain) != nil {
			return fault.New(fault.InUse, op, topic, "a topic of this name exists already and is no stream; a topic becomes one when the node is told to adopt it")
		}
	}
}

// describe asks a broker about a topic.
func (b *Backend) describe(ctx context.Context, topic string) (*kmsg.MetadataResponseTopic, error) {
	const op = "kafka.describe"
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, b.reader)
	if err != nil {
		return nil, kafka.Fault(op, topic, err)
	}
	if len(resp.Topics) != 1 {
		return nil, fault.New(fault.Unavailable, op, topic, "an answer about %d topics", len(resp.Topics))
	}
	return &resp.Topics[0], kafka.Fault(op, topic, kerr.ErrorForCode(resp.Topics[0].ErrorCode))
}

// finishCreate makes the topic of a stream that is CREATING, and the stream ACTIVE. When the brokers refuse the topic, the
// document goes; when nobody knows what they did, it stays, and a node finishes it later.
func (b *Backend) finishCreate(ctx context.Context, d *document) error {
	const op = "kafka.CreateStream"
	id, refused, err := b.makeTopic(ctx, d)
	if err != nil {
		if refused {
			b.undoCreate(ctx, d)
		}
		return err
	}
	now, _, err := b.edit(ctx, op, d.Stream.Name, d.Stream.ID, func(d *document) error {
		if d.Stream.Status == stream.Creating {
			d.Stream.Status, d.TopicID = stream.Active, id
		}
		return nil
	})
	if fault.Is(err, fault.NotFound) || err == nil && now.Stream.Status == stream.Deleting {
		_ = b.deleteTopic(ctx, d.Topic, id) // perhaps it was made after it had been deleted
		return fault.New(fault.Unavailable, op, d.Stream.Name, "the stream was deleted while it was made")
	}
	return err
}

func (b *Backend) undoCreate(ctx context.Context, d *document) {
	_, err := b.update(ctx, "kafka.CreateStream", d.Stream.Name, func(docs Documents) error {
		raw, ok := docs.Get(d.Stream.Name)
		if !ok {
			return nil
		}
		if now, err := parseDocument(d.Stream.Name, raw); err == nil && now.Stream.ID == d.Stream.ID && now.Stream.Status == stream.Creating {
			docs.Delete(d.Stream.Name)
		}
		return nil
	})
	if err != nil {
		b.opts.Log.Warn("a stream that could not be made stays CREATING until a node tries again", "stream", d.Stream.Name, "error", err)
	}
}

// makeTopic makes a stream's topic, unless another node has, and waits until its partitions have leaders. refused: there
// is certainly none.
func (b *Backend) makeTopic(ctx context.Context, d *document) (id topicID, refused bool, err error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	err = b.opts.Settings.Create(ctx, b.adm, kafka.Topic{Name: d.Topic, Partitions: len(d.Stream.Shards), Configs: topicConfigs(d)})
	if err != nil && !fault.Is(err, fault.InUse) {
		var answer *kerr.Error
		return id, errors.As(err, &answer) && answer != kerr.RequestTimedOut, err
	}
	id, err = b.awaitPartitions(ctx, d.Topic, topicID{}, len(d.Stream.Shards))
	return id, false, err
}

// topicConfigs are the settings of a topic that is made for a stream.
func topicConfigs(d *document) map[string]string {
	configs := retentionConfigs(d.Stream.Retention)
	configs["message.timestamp.type"] = "LogAppendTime"
	configs["max.message.bytes"] = strconv.Itoa(int(d.MaxBatchBytes))
	configs["cleanup.policy"] = "delete"
	configs["retention.bytes"] = "-1"
	return configs
}

// retentionConfigs: brokers delete whole segments, when the youngest record of one has reached its age. With segments of a
// sixth of that, records stay no more than a sixth longer than promised, and a partition is no more than a few files.
func retentionConfigs(retention time.Duration) map[string]string {
	return map[string]string{
		"retention.ms": strconv.FormatInt(retention.Milliseconds(), 10),
		"segment.ms":   strconv.FormatInt(min(max(retention/6, time.Hour), 7*24*time.Hour).Milliseconds(), 10),
	}
}

// awaitPartitions waits until a topic has so many partitions with leaders.
func (b *Backend) awaitPartitions(ctx context.Context, topic string, id topicID, count int) (topicID, error) {
	for {
		found, err := b.describe(ctx, topic)
		switch {
		case err != nil && !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Unavailable):
			return id, err
		case err == nil && id != topicID{} && found.TopicID != [16]byte(id):
			return id, fault.New(fault.NotFound, "kafka.awaitPartitions", topic, "the topic is another one of that name")
		case err == nil && led(found) >= count:
			return topicID(found.TopicID), nil
		}
		if paused := pause(ctx, askAgain); paused != nil {
			if err == nil {
				err = fault.New(fault.Unavailable, "kafka.awaitPartitions", topic, "%d of %d partitions have a leader: %w", led(found), count, paused)
			}
			return id, err
		}
	}
}

// led counts the partitions that have a leader.
func led(t *kmsg.MetadataResponseTopic) int {
	n := 0
	for i := range t.Partitions {
		if t.Partitions[i].Leader >= 0 && t.Partitions[i].ErrorCode == 0 {
			n++
		}
	}
	return n
}

// DeleteStream takes the stream away from all nodes, then the topic, then the document.
func (b *Backend) DeleteStream(ctx context.Context, name string) error {
	const op = "kafka.DeleteStream"
	if b.closing.Load() {
		return errClosed(op, name)
	}
	d, version, err := b.edit(ctx, op, name, "", func(d *document) error {
		d.Stream.Status = stream.Deleting
		return nil
	})
	if err != nil {
		return err
	}
	return b.finishDelete(ctx, d, version)
}

// finishDelete deletes the topic and the document of a stream that is DELETING.
func (b *Backend) finishDelete(ctx context.Context, d *document, version int64) error {
	const op = "kafka.DeleteStream"
	// What a node has in flight must not find a topic of the next stream of that name.
	if err := b.opts.Catalog.AwaitDrained(ctx, version); err != nil {
		return fault.New(fault.Unavailable, op, d.Stream.Name, "%w", err)
	}
	id := d.TopicID
	if id == (topicID{}) { // it was CREATING, and nobody has written down which topic it got
		found, err := b.describe(ctx, d.Topic)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err == nil {
			id = topicID(found.TopicID)
		}
	}
	if err := b.deleteTopic(ctx, d.Topic, id); err != nil {
		return err
	}
	_, err := b.update(ctx, op, d.Stream.Name, func(docs Documents) error {
		raw, ok := docs.Get(d.Stream.Name)
		if !ok {
			return nil
		}
		if now, err := parseDocument(d.Stream.Name, raw); err != nil || now.Stream.ID == d.Stream.ID {
			docs.Delete(d.Stream.Name)
		}
		return nil
	})
	return err
}

// deleteTopic deletes one incarnation of a topic, and waits until it has gone. One that is gone is no error.
func (b *Backend) deleteTopic(ctx context.Context, name string, id topicID) error {
	const op = "kafka.deleteTopic"
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	for {
		err := b.deleteTopicOnce(ctx, name, id)
		if err == nil || fault.Is(err, fault.NotFound) {
			break
		}
		if !fault.Is(err, fault.Unavailable) || pause(ctx, askAgain) != nil {
			return err
		}
	}
	for {
		found, err := b.describe(ctx, name)
		if fault.Is(err, fault.NotFound) || err == nil && found.TopicID != [16]byte(id) {
			return nil
		}
		if paused := pause(ctx, askAgain); paused != nil {
			return fault.New(fault.Unavailable, op, name, "the topic is still there: %w", paused)
		}
	}
}

func (b *Backend) deleteTopicOnce(ctx context.Context, name string, id topicID) error {
	const op = "kafka.deleteTopic"
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = int32(b.opts.AskTimeout.Milliseconds())
	t := kmsg.NewDeleteTopicsRequestTopic()
	if t.TopicID = id; id == (topicID{}) { // brokers that give topics no ids
		t.Topic, req.TopicNames = kmsg.StringPtr(name), []string{name}
	}
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, b.reader)
	if err != nil {
		return kafka.Fault(op, name, err)
	}
	if len(resp.Topics) != 1 {
		return fault.New(fault.Unavailable, op, name, "an answer about %d topics", len(resp.Topics))
	}
	return kafka.Fault(op, name, kerr.ErrorForCode(resp.Topics[0].ErrorCode))
}

// UpdateStream changes the topic's settings, then the document. What the topic has to know is found out by a try against
// the view; when another node's change comes between that makes the try untrue, all begins again.
func (b *Backend) UpdateStream(ctx context.Context, name string, edit func(*stream.Settings) error) (*stream.Stream, error) {
	const op = "kafka.UpdateStream"
	if b.closing.Load() {
		return nil, errClosed(op, name)
	}
	for range updateTries {
		s, ok := b.view.Load().byName[name]
		if !ok || s.def.Status == stream.Deleting {
			return nil, notFound(op, name)
		}
		tried := s.def.Settings.Clone()
		if err := edit(&tried); err != nil {
			return nil, err
		}
		if err := b.setTopic(ctx, op, s, &tried); err != nil {
			return nil, err
		}
		d, _, err := b.edit(ctx, op, name, s.def.ID, func(d *document) error {
			want := d.Stream.Settings.Clone()
			if err := edit(&want); err != nil {
				return err
			}
			if want.Retention != tried.Retention || want.MaxRecordBytes != tried.MaxRecordBytes {
				return errOvertaken
			}
			d.Stream.Settings = want
			return nil
		})
		if errors.Is(err, errOvertaken) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return &d.Stream, nil
	}
	return nil, fault.New(fault.Unavailable, op, name, "others change the stream all the time: given up after %d tries", updateTries)
}

// updateTries bounds how often an update begins again.
const updateTries = 10

var errOvertaken = errors.New("another node has changed the stream meanwhile")

// setTopic makes brokers do what settings need of them. A producer learns how large its batches may be when it meets a
// topic, so a stream can't take larger records than its topic was made for.
func (b *Backend) setTopic(ctx context.Context, op string, s *streamState, want *stream.Settings) error {
	if want.MaxRecordBytes != s.def.MaxRecordBytes && maxBatch(want.MaxRecordBytes) > s.doc.MaxBatchBytes {
		return fault.New(fault.Unsupported, op, s.def.Name, "the topic was made for records of %d bytes at most; on Kafka a stream that "+
			"takes larger ones has to be created with that size", maxRecord(s.doc.MaxBatchBytes))
	}
	if want.EncryptionKey != "" && s.doc.Adopted {
		return fault.New(fault.Unsupported, op, s.def.Name, "the topic is not Millrace's own: others read and write it as it is, so its records are not encrypted")
	}
	if want.Retention == s.def.Retention {
		return nil
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	return kafka.Alter(ctx, b.adm, s.topic.name, retentionConfigs(want.Retention))
}

// adopt makes a stream of a topic that others have made: partition i is shard i, the key space is divided evenly. It
// changes nothing of the topic. A stream that is there is left alone.
func (b *Backend) adopt(ctx context.Context, name string) error {
	const op = "kafka.Adopt"
	if _, exists := b.Stream(name); exists {
		return nil
	}
	if b.opts.Settings.Reserved(name) {
		return fault.New(fault.Invalid, op, name, "names that begin with %q are reserved for topics of Millrace", b.opts.Settings.Prefix+".")
	}
	found, err := b.describe(ctx, name)
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, op, name, "there is no topic %s to adopt", name)
	}
	if err != nil {
		return err
	}
	configs, err := kafka.Configs(ctx, b.adm, name)
	if err != nil {
		return err
	}
	d, err := b.adopted(name, found, configs)
	if err != nil {
		return err
	}
	_, err = b.update(ctx, op, name, func(docs Documents) error {
		if _, exists := docs.Get(name); exists {
			return nil
		}
		return keep(docs, d)
	})
	return err
}

func (b *Backend) adopted(name string, found *kmsg.MetadataResponseTopic, configs map[string]string) (*document, error) {
	const op = "kafka.Adopt"
	if n := len(found.Partitions); n == 0 || n > maxListed {
		return nil, fault.New(fault.LimitExceeded, op, name, "the topic has %d partitions; at most %d", n, maxListed)
	}
	limit, err := strconv.Atoi(configs["max.message.bytes"])
	if err != nil {
		return nil, fault.New(fault.Invalid, op, name, "the topic's max.message.bytes: %w", err)
	}
	d := &document{
		Topic: name, TopicID: topicID(found.TopicID), Adopted: true, Compacted: compacted(configs), MaxBatchBytes: int32(limit),
		Stream: stream.Stream{
			Name: name, ID: b.opts.IDs.UUID(), Status: stream.Active, Created: b.opts.Now().UTC(),
			Settings: stream.Settings{Mode: stream.Provisioned, Retention: retentionOf(configs), MaxRecordBytes: maxRecord(int32(limit))},
		},
	}
	d.shards(len(found.Partitions))
	return d, nil
}
