package app

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"millrace/internal/catalog/topic"
	"millrace/internal/config"
	journaltopic "millrace/internal/delivery/journal/topic"
	"millrace/internal/fault"
	"millrace/internal/kafka"
	streamkafka "millrace/internal/stream/kafka"
	"millrace/internal/telemetry"
)

// openKafka joins the cluster of nodes that share the brokers and the prefix: catalog, journal and records lie in topics.
func (n *Node) openKafka(ctx context.Context) error {
	settings, err := kafkaSettings("kafka", &n.opts.Config.Kafka, n.engineIs.Brokers, n.name, n.log)
	if err != nil {
		return err
	}
	shared, err := topic.Open(ctx, topic.Options{Settings: settings, Node: n.name, IDs: n.ids, Log: n.log, Fatal: n.fatal})
	if err != nil {
		return err
	}
	n.catalog = shared.Catalog()
	n.onClose("shared catalog", shared.Close)
	n.checks = append(n.checks, check{"shared catalog", shared.Healthy})
	if err := n.joinCluster(ctx, func() []string { return nodesOf(shared) }); err != nil {
		return err
	}
	journal, err := journaltopic.Open(ctx, journaltopic.Options{Settings: settings, NodeID: n.name, Now: time.Now, Log: n.log, Failpoint: n.opts.Failpoint})
	if err != nil {
		return err
	}
	n.journal = journal
	n.onClose("journal", journal.Close)
	streams, err := streamkafka.Open(ctx, streamkafka.Options{
		Settings: settings, Catalog: streamCatalog{shared}, IDs: n.ids, Now: time.Now, Log: n.log,
		Adopt: n.opts.Config.Kafka.Adopt, Compression: n.opts.Config.Kafka.Compression,
	})
	if err != nil {
		return err
	}
	n.directPutShards = n.opts.Config.Kafka.DirectPutShards
	n.serve(sealing(streams, secretOf(&n.opts.Config.Encryption, nil)))
	n.emitters = append(n.emitters, func(emit telemetry.Emit) { emitKafka(emit, streams.Stats()) }, func(emit telemetry.Emit) { emitNodes(emit, shared) })
	n.warnings = append(n.warnings, n.warnOfBrokers(streams, shared))
	return nil
}

// kafkaSettings makes settings of what the configuration says under a key.
func kafkaSettings(key string, c *config.Kafka, brokers []string, node string, log *slog.Logger) (*kafka.Settings, error) {
	tls, err := c.TLS.Config()
	if err != nil {
		return nil, fault.New(fault.Invalid, "app.Start", "", "%s.%w", key, err)
	}
	password, err := c.SASL.Password()
	if err != nil {
		return nil, fault.New(fault.Invalid, "app.Start", "", "%s.%w", key, err)
	}
	return &kafka.Settings{
		Brokers: brokers, TLS: tls, SASL: kafka.SASL{Mechanism: c.SASL.Mechanism, User: c.SASL.User, Password: password},
		Prefix: c.Prefix, Replication: c.Replication, MinInSync: c.MinInSync,
		ClientID: "millrace-" + node, Log: log,
	}, nil
}

// warnOfBrokers names, at start and in health, what is weaker on the brokers than the promise.
func (n *Node) warnOfBrokers(streams *streamkafka.Backend, shared *topic.Store) func(context.Context) map[string]string {
	return func(ctx context.Context) map[string]string {
		weak, err := shared.Warnings(ctx)
		if err != nil {
			weak = []string{"the settings of the cluster's topics can't be read: " + err.Error()}
		}
		weak = append(weak, streams.Warnings(ctx)...)
		if len(weak) == 0 {
			return nil
		}
		return map[string]string{"kafka": strings.Join(weak, "; ")}
	}
}

// nodesOf names the nodes that serve.
func nodesOf(shared *topic.Store) (names []string) {
	for _, node := range shared.Nodes() {
		if !strings.HasPrefix(node.Node, visitorPrefix) {
			names = append(names, node.Node)
		}
	}
	return names
}

func emitNodes(emit telemetry.Emit, shared *topic.Store) {
	emit(telemetry.ClusterNodes, float64(len(nodesOf(shared))))
	emit(telemetry.CatalogAge, time.Since(shared.Fresh()).Seconds())
}

func emitKafka(emit telemetry.Emit, st streamkafka.Stats) {
	emit(telemetry.KafkaBatches, float64(st.Batches))
	emit(telemetry.KafkaWireBytes, float64(st.WireBytes))
	emit(telemetry.KafkaInFlight, float64(st.InFlightBytes))
	emit(telemetry.KafkaInFlightBound, float64(st.InFlightBound))
	emit(telemetry.KafkaReading, float64(st.ReadingBytes))
	emit(telemetry.KafkaReadingBound, float64(st.ReadingBound))
	emit(telemetry.KafkaDataLoss, float64(st.DataLoss))
	for _, s := range st.Streams {
		emit(telemetry.StreamRecords, float64(s.Records), s.Stream)
		emit(telemetry.StreamBytes, float64(s.Bytes), s.Stream)
	}
}
