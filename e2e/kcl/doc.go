// Package kcl runs a consumer of the Kinesis Client Library against the built binary,
// when e2e/kcl/run has built it:
//
//	e2e/kcl/run
//
// The consumer keeps its leases in dynalite, which answers like DynamoDB. While records
// are put without a pause a shard is split and two are merged, and the consumer must have
// seen every acknowledged record: those of a partition key in their order, those of a
// child after the end of its parents.
package kcl
