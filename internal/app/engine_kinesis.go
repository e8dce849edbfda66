package app

import (
	"context"
	"time"

	"millrace/internal/stream/kinesis"
)

// openKinesis keeps records in Amazon Kinesis, or in a service that answers like it. What Direct PUT delivery streams take
// lies in the node's own log: the service's name space is not ours to litter.
func (n *Node) openKinesis(ctx context.Context) error {
	if err := n.openLocalCatalog(); err != nil {
		return err
	}
	log, err := n.openLog()
	if err != nil {
		return err
	}
	streams, err := kinesis.Open(ctx, kinesis.Options{
		Region: n.engineIs.Region, Endpoint: n.opts.Config.Kinesis.Endpoint, Hidden: log, Now: time.Now, Log: n.log,
	})
	if err != nil {
		n.onClose("log", log.Close)
		return err
	}
	n.serve(streams)
	return nil
}
