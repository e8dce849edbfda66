// Package journal owns what a delivery stream must remember to deliver every
// record exactly once: rows, manifests and final counts, and the contract of what
// keeps them.
//
//	Row       one per (delivery stream, shard): start, checkpoint, cumulative counts; fenced by Version
//	Manifest  a planned object: everything that finishing it needs
//	Final     the counts of a delivery stream that was deleted
//
//	Write(Change)  rows and manifests change together, in one atomic durable step, or not at all
//
// [Pebble] keeps them in the node's local store. A journal on another engine (a
// compacted topic, conditional writes to a bucket) implements [Journal] in a
// package of its own. A journal shares no transaction with the records.
package journal

import (
	"context"
	"time"

	"millrace/internal/stream"
)

// Journal keeps rows and manifests. All methods may be called concurrently.
//
// A Write that returned nil is durable and atomic. It compares the version of each
// row that it names with the stored one and fails with kind PreconditionFailed,
// nothing written, when one differs: another process has taken over. After an
// error of another kind the change may or may not have happened; the caller loads
// again before it goes on. Stored bytes that do not check are Corrupt.
type Journal interface {
	// Deliveries lists the ids that have rows.
	Deliveries(ctx context.Context) ([]string, error)
	// Load gives all rows of a delivery stream and, in the order of their plans, the manifests.
	Load(ctx context.Context, delivery string) ([]Row, []*Manifest, error)
	// LoadShard gives one row (ok false: there is none) and its manifests.
	LoadShard(ctx context.Context, key Key) (row Row, ok bool, manifests []*Manifest, err error)
	Write(ctx context.Context, change *Change) error
	// Finish removes all rows and manifests of a delivery stream and keeps final in their place.
	Finish(ctx context.Context, delivery string, final Final) error
	// Forget removes all rows and manifests of a delivery stream that never became one.
	Forget(ctx context.Context, delivery string) error
	// Finals lists deleted delivery streams, the [MaxFinals] newest.
	Finals(ctx context.Context) ([]Final, error)
}

// MaxFinals bounds how many deleted delivery streams are remembered; a test rig that makes and drops thousands
// must not grow the store for ever.
const MaxFinals = 1000

// Key names a row.
type Key struct {
	Delivery string          `json:"delivery"` // Definition.ID
	Shard    stream.ShardRef `json:"shard"`    // zero: the sums of shards that have left their stream
}

// Row is what is durable about one shard of a delivery stream.
type Row struct {
	Key
	// Version counts the writes of the row, from 1. It is the fence.
	Version uint64 `json:"version"`
	// Writer is the process that wrote it last; it tells a write of ours, whose answer was lost, from another's.
	Writer string `json:"writer"`

	// Created is the creation second of the shard, so that positions can be computed when the shard is gone.
	Created    int64                 `json:"shardCreated"`
	Parents    []uint32              `json:"parents,omitempty"`
	Start      stream.SequenceNumber `json:"start"`      // the first place that belongs to the delivery stream
	Checkpoint stream.SequenceNumber `json:"checkpoint"` // all before it is accounted for in Counts
	Done       bool                  `json:"done"`       // the shard is closed and drained
	// LastID and LastStamp are those of the newest manifest: ids rise, and stamps never fall within a shard.
	LastID    uint64    `json:"lastId"`
	LastStamp time.Time `json:"lastStamp,omitzero"`
	Counts    Counts    `json:"counts"`
}

// Counts are cumulative, in source records.
type Counts struct {
	Delivered    int64 `json:"delivered"`
	DeadLettered int64 `json:"deadLettered"` // in error objects; no step can fail a record in this version
	Dropped      int64 `json:"dropped"`      // by a processor; no such processor in this version
	Expired      int64 `json:"expired"`      // trimmed, or gone with their stream, before they were delivered
	Discarded    int64 `json:"discarded"`    // undelivered when the delivery stream was deleted

	DeliveredBytes int64 `json:"deliveredBytes"` // of record data, before delimiter and compression
	Objects        int64 `json:"objects"`
}

// Settled sums all source records that are no longer in flight.
func (c Counts) Settled() int64 {
	return c.Delivered + c.DeadLettered + c.Dropped + c.Expired + c.Discarded
}

// Add gives the sums of both.
func (c Counts) Add(d Counts) Counts {
	return Counts{
		Delivered: c.Delivered + d.Delivered, DeadLettered: c.DeadLettered + d.DeadLettered,
		Dropped: c.Dropped + d.Dropped, Expired: c.Expired + d.Expired, Discarded: c.Discarded + d.Discarded,
		DeliveredBytes: c.DeliveredBytes + d.DeliveredBytes, Objects: c.Objects + d.Objects,
	}
}

// Manifest is a planned object. It can be finished without reading any definition, by a later version of this
// program, and the same manifest gives the same records in the same order.
type Manifest struct {
	ID       string `json:"id"`      // UUID, in the object's key and metadata
	Ordinal  uint64 `json:"ordinal"` // rises from plan to plan of a delivery stream
	Key      Key    `json:"row"`
	Delivery string `json:"deliveryStream"` // name, for messages
	Version  string `json:"versionId"`      // of the definition that planned it

	Bucket    string `json:"bucket"`
	ObjectKey string `json:"objectKey"`

	First   stream.SequenceNumber `json:"first"` // of the first record
	Last    stream.SequenceNumber `json:"last"`
	Next    stream.SequenceNumber `json:"next"` // where the checkpoint goes
	Records int64                 `json:"records"`
	Bytes   int64                 `json:"bytes"`   // of record data
	Expired int64                 `json:"expired"` // records of the range that are gone

	Compression Compression `json:"compression"`
	Level       int         `json:"level,omitempty"`
	Delimiter   []byte      `json:"delimiter,omitempty"` // after every record

	Stamp   time.Time `json:"stamp"`   // arrival of the oldest record: what the key shows
	Planned time.Time `json:"planned"` // for people
}

// Compression of an object's bytes.
type Compression string

// The compressions that are implemented, as the Firehose API spells them.
const (
	Uncompressed Compression = "UNCOMPRESSED"
	Gzip         Compression = "GZIP"
)

// Change is one atomic step.
type Change struct {
	Rows   []Row       // written; each stored version must be the given one less 1 (0: no such row)
	Drop   []Row       // removed; each stored version must be the given one
	Plan   []*Manifest // added, or replaced under the same ordinal
	Remove []*Manifest // removed
}

// Final is what remains of a deleted delivery stream.
type Final struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Deleted  time.Time `json:"deleted"`
	Accepted int64     `json:"accepted"`
	Counts   Counts    `json:"counts"`
}
