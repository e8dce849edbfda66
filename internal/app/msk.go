package app

import (
	"context"
	"time"

	"millrace/internal/config"
	"millrace/internal/delivery"
	"millrace/internal/kafka"
	"millrace/internal/stream"
	"millrace/internal/stream/topics"
)

// openTopics makes ready what reads topics for delivery streams. It reaches no broker yet: that those of another system are
// away is nothing that this node's own work depends on.
func (n *Node) openTopics(context.Context) error {
	clusters := map[string]*kafka.Settings{}
	for arn, c := range n.opts.Config.MSK {
		settings, err := n.clusterSettings(arn, &c)
		if err != nil {
			return err
		}
		clusters[arn] = settings
	}
	var err error
	if n.topics, err = topics.Open(topics.Options{Clusters: clusters, Now: time.Now, Log: n.log}); err != nil {
		return err
	}
	n.onClose("topics", n.topics.Close)
	return nil
}

func (n *Node) clusterSettings(arn string, c *config.MSKCluster) (*kafka.Settings, error) {
	how, brokers := config.Kafka{TLS: c.TLS, SASL: c.SASL}, c.Brokers
	if c.Engine {
		how, brokers = n.opts.Config.Kafka, n.engineIs.Brokers
	}
	return kafkaSettings("msk."+arn, &how, brokers, n.name, n.log)
}

// sources is what delivery reads: the engine's streams, and topics of any Kafka.
type sources struct {
	delivery.Source
	topics *topics.Source
}

var _ delivery.TopicSource = sources{}

func isTopic(name string) bool { _, _, ok := stream.ParseTopicStream(name); return ok }

// Stream implements [delivery.Source].
func (s sources) Stream(name string) (*stream.Stream, bool) {
	if isTopic(name) {
		return s.topics.Stream(name)
	}
	return s.Source.Stream(name)
}

// Read implements [delivery.Source].
func (s sources) Read(ctx context.Context, req stream.ReadRequest, batch *stream.Batch) error {
	if isTopic(req.Shard.Stream) {
		return s.topics.Read(ctx, req, batch)
	}
	return s.Source.Read(ctx, req, batch)
}

// Wait implements [delivery.Source].
func (s sources) Wait(ctx context.Context, shard stream.ShardRef, from stream.SequenceNumber) error {
	if isTopic(shard.Stream) {
		return s.topics.Wait(ctx, shard, from)
	}
	return s.Source.Wait(ctx, shard, from)
}

// Tip implements [delivery.Source].
func (s sources) Tip(ctx context.Context, shard stream.ShardRef) (stream.SequenceNumber, error) {
	if isTopic(shard.Stream) {
		return s.topics.Tip(ctx, shard)
	}
	return s.Source.Tip(ctx, shard)
}

// Hold implements [delivery.Source]: nobody can hold what a topic's retention removes.
func (s sources) Hold(holder string, shard stream.ShardRef, from stream.SequenceNumber) {
	if !isTopic(shard.Stream) {
		s.Source.Hold(holder, shard, from)
	}
}

// FindTopic implements [delivery.TopicSource].
func (s sources) FindTopic(ctx context.Context, cluster, topic string) (*stream.Stream, error) {
	return s.topics.Find(ctx, cluster, topic)
}

// At implements [delivery.TopicSource].
func (s sources) At(ctx context.Context, shard stream.ShardRef, t time.Time) (stream.SequenceNumber, error) {
	return s.topics.At(ctx, shard, t)
}

// TopicCapabilities implements [delivery.TopicSource].
func (s sources) TopicCapabilities() stream.Capabilities { return s.topics.Capabilities() }
