package app

import (
	"context"
	"time"

	"millrace/internal/template"
)

// Plan compares a definition file with the node.
func (n *Node) Plan(ctx context.Context, t *template.Template, prune bool) (*template.Plan, error) {
	return t.Plan(ctx, template.Target{
		Streams: n.streams, Buckets: n.objects, DeliveryStreams: n.engine, Catalog: n.catalog, IDs: n.ids, Now: time.Now, Node: n.name,
		Gate: n.gate(),
	}, prune)
}
