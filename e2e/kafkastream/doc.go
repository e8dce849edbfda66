// Package kafkastream runs the suite of stream backends, and the faults that only
// real brokers have, against a real Apache Kafka:
//
//	go test ./e2e/kafkastream -kafka
//
// Three brokers of e2e/kafka/install serve all of its tests; each node under test
// has a catalog of its own on the one topic that they share.
package kafkastream
