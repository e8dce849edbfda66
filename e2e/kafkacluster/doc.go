// Package kafkacluster runs a real Apache Kafka for tests: KRaft brokers, each a
// Java process of its own on loopback, that can be killed, frozen and started again.
//
//	e2e/kafka/install ──> e2e/kafka/.artifacts/lib (jars)
//	Start(t) / New ─> Cluster ── Bootstrap · SASL · TLS · SASLTLS   where clients connect
//	                     ├ broker 0   Kill · Stop · Restart · Freeze · Thaw
//	                     ├ broker 1   each is a broker and a controller, so that a
//	                     └ broker 2   majority of them serves and elects
//
// What it promises: topics are made only when asked for; the brokers' own topics have
// three replicas, two of them in sync; a broker that is killed or frozen is noticed
// within sessionTime. The processes end with the cluster, and on Linux also when the
// test process dies without a word. Logs outlive a test that failed.
//
// Start it once for a package's tests where they allow it: it takes some seconds.
package kafkacluster
