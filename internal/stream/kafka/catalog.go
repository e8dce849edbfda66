// Package kafka keeps streams in Apache Kafka, or in anything that speaks its
// protocol: a stream is a topic, a shard is a partition.
//
// What Kafka does not know of a stream (hash key ranges, parents, where a closed
// shard ends) lies in a catalog that all nodes share: see [Catalog].
package kafka

import (
	"context"
	"time"
)

// Catalog is where the nodes of a cluster keep what they know of streams, and learn what the others do.
//
// Documents are JSON by stream name. A version is a place in the history of the catalog: it rises with every change, and
// says the same on every node.
type Catalog interface {
	// Update runs fn on the newest documents, and makes its writes durable and seen by this node, or none of them.
	// fn may run more than once. It returns the version that has the writes, once every live node has seen it or the
	// lease has passed.
	Update(ctx context.Context, fn func(Documents) error) (version int64, err error)
	// Follow calls fn with the documents as they are now and after every change, in order, with their version. fn must be
	// quick, must not call Update, and keeps the map unchanged; nobody changes it later.
	Follow(fn func(docs map[string][]byte, version int64)) (stop func())
	// Fresh gives the moment up to which the documents that followers were last given are known to be complete.
	Fresh() time.Time
	// Refresh returns when Fresh is later than the moment of the call.
	Refresh(ctx context.Context) error

	// Drained tells the other nodes that this one has no produce in flight to a shard that was closing at or before the
	// given version.
	Drained(version int64)
	// AwaitDrained returns nil when every live node has said so of version, or when the lease has passed since the call:
	// a node that has not followed the catalog for so long answers no caller before it has looked.
	AwaitDrained(ctx context.Context, version int64) error
}

// Documents are the documents of an Update in the making.
type Documents interface {
	Get(name string) (doc []byte, ok bool)
	Put(name string, doc []byte)
	Delete(name string)
}

// Lease is how old a node's view of the catalog may be when it answers for a produce. A shard that closes waits so long
// for nodes that do not say that they have drained it.
const Lease = 10 * time.Second
