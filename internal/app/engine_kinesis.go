package app

import (
	"context"
	"time"

	catalogbucket "millrace/internal/catalog/bucket"
	journalbucket "millrace/internal/delivery/journal/bucket"
	"millrace/internal/fault"
	"millrace/internal/object/s3"
	"millrace/internal/peers"
	"millrace/internal/stream"
	"millrace/internal/stream/kinesis"
	"millrace/internal/telemetry"
)

// openKinesis keeps records in Amazon Kinesis, or in a service that answers like it. What Direct PUT delivery streams take
// lies in the node's own log: the service's name space is not ours to litter.
func (n *Node) openKinesis(ctx context.Context) error {
	if n.inBucket() {
		return n.openKinesisCluster(ctx)
	}
	if err := n.openLocalCatalog(); err != nil {
		return err
	}
	log, err := n.openLog()
	if err != nil {
		return err
	}
	if err := n.openKinesisStreams(ctx, log); err != nil {
		n.onClose("log", log.Close)
		return err
	}
	return nil
}

// inBucket reports whether this node shares catalog and journal with others in a bucket.
func (n *Node) inBucket() bool { return n.opts.Config.Kinesis.Cluster != "" }

// openKinesisStreams opens the streams; hidden, which keeps those of Direct PUT, is closed with them.
func (n *Node) openKinesisStreams(ctx context.Context, hidden stream.Backend) error {
	streams, err := kinesis.Open(ctx, kinesis.Options{
		Region: n.engineIs.Region, Endpoint: n.opts.Config.Kinesis.Endpoint, Hidden: hidden, Now: time.Now, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.serve(streams)
	n.emitters = append(n.emitters, func(emit telemetry.Emit) {
		for _, s := range streams.Stats() {
			emit(telemetry.StreamRecords, float64(s.Records), s.Stream)
			emit(telemetry.StreamBytes, float64(s.Bytes), s.Stream)
		}
	})
	return nil
}

// openKinesisCluster joins the nodes that share streams in Kinesis and a place in a bucket: catalog and journal lie there.
// A log that all nodes could read is nowhere, so that there is no Direct PUT.
//
// That the bucket can't be reached later is a warning, as with objects: events are taken and kept in Kinesis meanwhile.
func (n *Node) openKinesisCluster(ctx context.Context) error {
	bucket, prefix, err := n.opts.Config.Kinesis.Place()
	if err != nil {
		return fault.New(fault.Invalid, "app.Start", "", "kinesis.cluster: %w", err)
	}
	objects, err := n.openClusterStore()
	if err != nil {
		return err
	}
	living, err := peers.Open(ctx, peers.Options{Store: objects, Bucket: bucket, Prefix: prefix, Node: n.name, IDs: n.ids, Log: n.log})
	if err != nil {
		return err
	}
	n.onClose("cluster", living.Close)
	shared, err := catalogbucket.Open(ctx, catalogbucket.Options{Store: objects, Bucket: bucket, Prefix: prefix, Peers: living, IDs: n.ids, Log: n.log})
	if err != nil {
		return err
	}
	n.catalog = shared.Catalog()
	n.onClose("shared catalog", shared.Close)
	if err := n.joinCluster(ctx, func() []string { return namesOf(living) }); err != nil {
		return err
	}
	journal, err := journalbucket.Open(ctx, journalbucket.Options{Store: objects, Bucket: bucket, Prefix: prefix, Peers: living, Node: n.name, IDs: n.ids, Log: n.log})
	if err != nil {
		return err
	}
	n.journal = journal
	n.onClose("journal", journal.Close)
	if err := n.openKinesisStreams(ctx, nil); err != nil {
		return err
	}
	n.warnings = append(n.warnings, warnOf("cluster", living.Healthy), warnOf("shared catalog", shared.Healthy))
	n.emitters = append(n.emitters, func(emit telemetry.Emit) {
		emit(telemetry.ClusterNodes, float64(len(living.Live())))
		emit(telemetry.CatalogAge, time.Since(shared.Fresh()).Seconds())
	})
	return nil
}

// openClusterStore opens the service of objects once more: what holds the cluster together must not wait behind large
// objects for buffers and connections.
func (n *Node) openClusterStore() (*s3.Store, error) {
	options, err := n.objectService()
	if err != nil {
		return nil, err
	}
	options.Buffers, options.Connections, options.Timeout = clusterBuffers, clusterConnections, clusterTimeout
	objects, err := s3.Open(options)
	if err != nil {
		return nil, err
	}
	n.onClose("the cluster's store", func(context.Context) error { return objects.Close() })
	return objects, nil
}

const (
	clusterBuffers     = 4                // of 8 MiB: most of these objects are small, and wait for one another little
	clusterConnections = 32               // one for each slot of the journal, and some
	clusterTimeout     = 10 * time.Second // so that a request that hangs is made again within the lease
)

func namesOf(p *peers.Peers) (names []string) {
	for _, node := range p.Live() {
		names = append(names, node.Node)
	}
	return names
}

// warnOf makes a warning of a check: the node does its work without.
func warnOf(name string, ask func(context.Context) error) func(context.Context) map[string]string {
	return func(ctx context.Context) map[string]string {
		if err := ask(ctx); err != nil {
			return map[string]string{name: err.Error()}
		}
		return nil
	}
}
