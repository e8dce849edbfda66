// Package mirror holds tests only: "millrace mirror" as a process that is killed at
// any moment and started again, between folders, and, with the flag -kafka, to and
// from a real Kafka whose brokers are killed as well.
package mirror
