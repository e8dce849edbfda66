// Package crash holds tests only: kill -9 under load, again and again, judged by a
// ledger that is kept outside of the node.
//
//	worker ── event (deterministic from its number) ──> node ──> objects
//	   └ book: number ─ sent, answered {shard, SequenceNumber}        │
//	                └──────────────── check ──────────────────────────┘
//
// What it asserts at the end of all rounds, when nothing is in flight any more:
// every answered event is in exactly one object, byte for byte what its template
// must render; an unanswered one is there once or not at all; within a shard (for
// Direct PUT: the one that the RecordId names) the objects, keys sorted, hold events
// in the order of their sequence numbers, and those of children behind those of
// their parents, for the stream is split, merged and scaled under load; the node's
// own ledger tells the same numbers; the S3 API lists the same objects as the folder
// holds.
//
//	make crash          100 rounds: "100 rounds, 0 lost, 0 duplicated, 0 reordered"
//	make crash-faulty   the same on a build that commits before it puts; it must be found
//
// Delivery streams that process have rounds of their own, in which each record is told apart by its documents:
//
//	worker ──> node ──> objects: partitions, Parquet, error objects, source records
//	            │  └──> an endpoint of this suite's, which fails for longer than it is tried, and takes each request once
//	            └─────> a function of this suite's, which answers differently each time, with an error, or not
//
// Each document must be in one place, once, with the bytes that one answer of the function gave it, in the order of its shard
// and partition; the function may have dropped a third of the records, and no other. Most rounds end in the middle of a
// drain, for partitions gather for a minute, and leave then. Two tests beside the rounds: a store that is away for a minute,
// and a disk that has no room for the spool.
//
//	make crash-processing         100 rounds; -processing-rounds chooses
//	make crash-processing-faulty  on a build that commits before it puts
//
// The same as the first for a cluster, on a real Kafka:
//
//	worker ──> node 1 2 3 ──> broker 1 2 3        killed · frozen past session and lease ·
//	             └─────────> objects: a fourth    stopped · restarted, also in the middle
//	                         node's S3 API        of a reshard or of a write to the journal
//
// There an event may be refused, or not be answered, when the node or the brokers are in
// trouble: it may be there once or not at all. In each round those that are in none must
// answer; afterwards all must. The stream itself, read by GetRecords, is held against the
// book, too, so that it is known where an event was lost or doubled; and every node's
// ledger must tell of all.
//
//	make crash-cluster  100 rounds; -rounds and -ways choose
//
// A failure keeps the data folder and names the first offending events, their
// answers, and the objects that hold them.
package crash
