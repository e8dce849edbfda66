package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"millrace/internal/fault"
	"millrace/internal/kafka"
	"millrace/internal/stream"
)

// Reshard adds partitions for the children, and says in the catalog that the parents close. The rest goes on by itself
// (finishChange): the stream is UPDATING until it is done, which is soon when all nodes live, and takes a lease when one
// does not.
func (b *Backend) Reshard(ctx context.Context, name string, to stream.Reshard) (*stream.Stream, error) {
	const op = "kafka.Reshard"
	if b.closing.Load() {
		return nil, errClosed(op, name)
	}
	d, version, err := b.beginChange(ctx, name, to)
	if err != nil {
		return nil, err
	}
	id := d.Stream.ID
	done := make(chan struct{})
	b.workers.Go(func() {
		defer close(done)
		if err := b.finishChange(b.life, d, version); err != nil && b.life.Err() == nil {
			b.opts.Log.Warn("a change of shards goes on later", "stream", name, "error", err)
		}
	})
	patience := time.NewTimer(reshardPatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	case <-ctx.Done():
	}
	if s, ok := b.Stream(name); ok && s.ID == id {
		return s, nil
	}
	return &d.Stream, nil
}

// reshardPatience is how long a caller waits for the end of what goes on by itself.
const reshardPatience = 3 * time.Second

// errPartitions: the stream has changed, and what is to be done now takes more partitions than were made.
var errPartitions = errors.New("more partitions are needed")

// beginChange writes down what is to become of the stream's shards. Nothing has changed when it fails, but that the topic
// may have partitions to spare.
func (b *Backend) beginChange(ctx context.Context, name string, to stream.Reshard) (*document, int64, error) {
	const op = "kafka.Reshard"
	for range changeTries {
		s, ok := b.view.Load().byName[name]
		if !ok || s.def.Status == stream.Deleting {
			return nil, 0, notFound(op, name)
		}
		made, err := b.makePartitions(ctx, s.doc, to)
		if err != nil {
			return nil, 0, err
		}
		d, version, err := b.edit(ctx, op, name, s.def.ID, func(d *document) error {
			c, partitions, err := b.plan(d, to)
			if err != nil {
				return err
			}
			if partitions > made {
				return errPartitions
			}
			d.Change, d.Stream.Status = c, stream.Updating
			return nil
		})
		if !errors.Is(err, errPartitions) {
			return d, version, err
		}
	}
	return nil, 0, fault.New(fault.InUse, op, name, "the stream changes all the time")
}

// changeTries bounds how often a change is computed anew because another came first.
const changeTries = 4

// plan computes a change, and the partitions that the topic must have for it.
func (b *Backend) plan(d *document, to stream.Reshard) (*change, int32, error) {
	const op = "kafka.Reshard"
	if d.Adopted {
		return nil, 0, fault.New(fault.Unsupported, op, d.Stream.Name,
			"the stream is an adopted topic: those who write to it past Millrace would go on writing to closed shards, unseen")
	}
	c, err := newChange(d, b.opts.IDs.UUID(), to, b.opts.Now())
	if err != nil {
		return nil, 0, err
	}
	next := stream.Stream{Shards: c.Shards}
	if n := next.OpenShards(); n > maxShards || len(c.Shards) > maxListed {
		return nil, 0, fault.New(fault.LimitExceeded, op, d.Stream.Name, "%d open shards of %d; at most %d of %d", n, len(c.Shards), maxShards, maxListed)
	}
	return c, c.place(d), nil
}

// makePartitions gives the topic the partitions that a change takes.
func (b *Backend) makePartitions(ctx context.Context, d *document, to stream.Reshard) (made int32, err error) {
	const op = "kafka.Reshard"
	_, count, err := b.plan(d, to)
	if err != nil {
		return 0, err
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	found, err := b.describe(ctx, d.Topic)
	if err != nil {
		return 0, err
	}
	if have := int32(len(found.Partitions)); have < count {
		answer, err := b.adm.UpdatePartitions(ctx, int(count), d.Topic)
		if err == nil {
			err = answer.Error()
		}
		if err != nil && !errors.Is(err, kerr.InvalidPartitions) { // that is: another node was faster
			return 0, kafka.Fault(op, d.Stream.Name, err)
		}
	}
	_, err = b.awaitPartitions(ctx, d.Topic, d.TopicID, int(count))
	return count, err
}

// finishChange waits until no node has anything in flight to the shards that close, finds where they end, and makes the
// change the truth. Any node may do it, several at once too: the first one wins.
func (b *Backend) finishChange(ctx context.Context, d *document, version int64) error {
	const op = "kafka.finishChange"
	if err := b.opts.Catalog.AwaitDrained(ctx, version); err != nil {
		return fault.New(fault.Unavailable, op, d.Stream.Name, "%w", err)
	}
	ends, err := b.findEnds(ctx, d)
	if err != nil {
		return err
	}
	_, _, err = b.edit(ctx, op, d.Stream.Name, d.Stream.ID, func(now *document) error {
		if now.Change == nil || now.Change.ID != d.Change.ID || now.Stream.Status != stream.Updating {
			return errDone
		}
		now.conclude(ends, b.opts.Now())
		return nil
	})
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

var errDone = errors.New("another node has done it")

// findEnds reads the ends of the partitions that close: what lies before has been acknowledged or may have been.
func (b *Backend) findEnds(ctx context.Context, d *document) (map[uint32]int64, error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	ends := map[uint32]int64{}
	t := &topic{name: d.Topic, id: d.TopicID}
	for _, index := range d.Change.Closing {
		sh := &shard{stream: d.Stream.Name, topic: t, index: index, partition: d.Partitions[index]}
		sh.leader.Store(-1)
		end, err := b.listOffset(ctx, sh, latest, replicated)
		if err != nil {
			return nil, kafka.Fault("kafka.findEnds", d.Stream.Name, err)
		}
		ends[index] = end
	}
	return ends, nil
}
