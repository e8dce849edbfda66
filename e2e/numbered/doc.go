// Package numbered puts records that carry their key and a number, one after the other
// for each key, and checks what a consumer makes of them: each seen, and each key's for
// the first time in their order. Consumers may see a record again; they may not see the
// next one first.
//
//	Writer ── PutRecords, without a pause to speak of ─> the stream ─> a consumer ─> Seen
package numbered
