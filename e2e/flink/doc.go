// Package flink runs jobs with the Kinesis connector of Apache Flink against the built
// binary, each on a cluster inside its program, when e2e/flink/run has built them:
//
//	e2e/flink/run
//
// While records are put without a pause a shard is split and two are merged, and the job
// must see every acknowledged record, once: by the connector's newer source, and by its
// older consumer, polling and subscribing. A job that writes must bring all its records
// in. This connector reads children beside their parents, so that order is checked shard
// by shard.
package flink
