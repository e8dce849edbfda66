package local

import (
	"context"

	"millrace/internal/fault"
	"millrace/internal/stream"
)

// Append queues the entries for the committer and waits until their group is durable.
func (b *Backend) Append(ctx context.Context, name string, entries []stream.Entry, results []stream.Result) error {
	const op = "local.Append"
	if len(entries) != len(results) {
		return fault.New(fault.Internal, op, name, "%d entries, %d results", len(entries), len(results))
	}
	if err := b.writable(op, name); err != nil {
		return err
	}
	s, ok := b.state.Load().byName[name]
	if !ok {
		return notFound(op, name)
	}
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Unavailable, op, name, "%w", err)
	}
	if len(entries) == 0 {
		return nil
	}
	c := b.newCall()
	c.stream, c.entries, c.results = name, entries, results
	for i := range entries {
		e := &entries[i]
		// What a record may be is the API's to say and to explain; this keeps a caller inside from breaking the store.
		if len(e.Data) > s.def.MaxRecordBytes+maxKeyBytes {
			c.recycle()
			return fault.New(fault.Invalid, op, name, "entry %d has %d bytes; at most %d", i, len(e.Data), s.def.MaxRecordBytes)
		}
		if len(e.PartitionKey) > maxKeyBytes {
			c.recycle()
			return fault.New(fault.Invalid, op, name, "entry %d: the partition key has %d bytes; at most %d", i, len(e.PartitionKey), maxKeyBytes)
		}
		c.keys = append(c.keys, e.HashKey())
		c.bytes += recordSize(e)
	}
	if err := b.queue.push(ctx, c, op, name); err != nil {
		c.recycle()
		return err
	}
	<-c.done
	err := c.err
	c.recycle()
	return err
}

// maxKeyBytes is 256 characters of up to four bytes.
const maxKeyBytes = 1024

// inTurn runs fn while no append is under way, and returns when it has run.
func (b *Backend) inTurn(fn func()) error {
	c := b.newCall()
	c.turn = fn
	if err := b.queue.push(context.Background(), c, "local", ""); err != nil {
		c.recycle()
		return err
	}
	<-c.done
	err := c.err
	c.recycle()
	return err
}
