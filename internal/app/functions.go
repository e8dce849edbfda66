package app

import (
	"context"
	"time"

	"millrace/internal/delivery"
	"millrace/internal/delivery/httpendpoint"
	"millrace/internal/delivery/transform"
	"millrace/internal/fault"
)

// spoolFolder is where records of partitions and of functions wait for which the memory of buffers has no room.
const spoolFolder = "spool"

// deliveryCalls gives delivery what it calls by HTTP: functions, where the configuration says that they are, and HTTP endpoints.
func (n *Node) deliveryCalls(o *delivery.Options) error {
	out, err := n.outbound()
	if err != nil {
		return err
	}
	places := make(map[string]*transform.Endpoint, len(n.opts.Config.Functions))
	for arn, f := range n.opts.Config.Functions {
		value, err := f.HeaderValue()
		if err == nil {
			places[arn], err = transform.NewEndpoint(f.URL, f.Header, value)
		}
		if err != nil {
			return fault.New(fault.Invalid, "app.functions", arn, "%w", err)
		}
	}
	o.Function = func(arn string) *transform.Endpoint {
		if key, known := n.opts.Config.Functions.Key(arn); known {
			return places[key]
		}
		return nil
	}
	functions := transform.New(transform.Options{Outbound: out, IDs: n.ids, Now: time.Now})
	endpoints := httpendpoint.New(out)
	o.Transform, o.HTTP = functions, endpoints
	n.onClose("connections of functions and HTTP endpoints", func(context.Context) error {
		functions.Close()
		endpoints.Close()
		return nil
	})
	return nil
}
