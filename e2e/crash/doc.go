// Package crash holds tests only: kill -9 under load, again and again, judged by a
// ledger that is kept outside of the node.
//
//	worker ── event (deterministic from its number) ──> node ──> objects
//	   └ book: number ─ sent, answered {ShardId, SequenceNumber}      │
//	                └──────────────── check ──────────────────────────┘
//
// What it asserts at the end of all rounds, when nothing is in flight any more:
// every answered event is in exactly one object, byte for byte what its template
// must render; an unanswered one is there once or not at all; within a shard the
// objects, keys sorted, hold events in the order of their sequence numbers, and
// those of children behind those of their parents, for the stream is split, merged
// and scaled under load; the
// node's own ledger tells the same numbers; the S3 API lists the same objects as
// the folder holds.
//
//	make crash          100 rounds: "100 rounds, 0 lost, 0 duplicated, 0 reordered"
//	make crash-faulty   the same on a build that commits before it puts; it must be found
//
// A failure keeps the data folder and names the first offending events, their
// answers, and the objects that hold them.
package crash
