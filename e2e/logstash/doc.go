// Package logstash holds tests only: requests as Logstash's http output writes them, byte
// for byte, against examples/logstash.yaml on the built binary. They decide what
// docs/migrating-from-logstash-and-kafka.md may promise: each format, plain and
// compressed, and which answers the plugin repeats a request after.
package logstash
