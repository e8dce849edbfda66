package app

import (
	"context"

	"millrace/internal/api/firehose"
	"millrace/internal/api/kinesis"
	"millrace/internal/api/s3"
	"millrace/internal/gateway"
)

// actions gives the gateway the services in process: an event enters a service by the same door as an SDK's call,
// without a second HTTP hop.
type actions struct {
	kinesis  *kinesis.Service
	firehose *firehose.Service
	s3       *s3.Service
}

// offered lists what integrations may call: the actions that a definition is checked against, too (restapi.Actions).
var offered = map[string][]string{
	"kinesis":  {"PutRecord", "PutRecords"},
	"firehose": {"PutRecord", "PutRecordBatch"},
	"s3":       {gateway.ByPath, "GetObject", "HeadObject", "PutObject", "DeleteObject"},
}

// Action finds an action.
func (a actions) Action(service, name string) (gateway.Action, bool) {
	for _, n := range offered[service] {
		if n != name {
			continue
		}
		switch service {
		case "s3":
			return a.objects(name), true
		case "kinesis":
			return func(ctx context.Context, c *gateway.Call) {
				r := a.kinesis.Invoke(ctx, name, c.Body, c.Out)
				c.Status, c.Out, c.Outcome = r.Status, r.Body, kinesisOutcome[r.Outcome]
			}, true
		}
		return func(ctx context.Context, c *gateway.Call) {
			r := a.firehose.Invoke(ctx, name, c.Body, c.Out)
			c.Status, c.Out, c.Outcome = r.Status, r.Body, firehoseOutcome[r.Outcome]
		}, true
	}
	return nil, false
}

// The engines declare their outcomes themselves, so that none imports another; here they meet.
var (
	kinesisOutcome = [...]gateway.Outcome{
		kinesis.OK: gateway.OK, kinesis.Throttled: gateway.Throttled,
		kinesis.Unavailable: gateway.Unavailable, kinesis.Refused: gateway.Refused,
	}
	firehoseOutcome = [...]gateway.Outcome{
		firehose.OK: gateway.OK, firehose.Throttled: gateway.Throttled,
		firehose.Unavailable: gateway.Unavailable, firehose.Refused: gateway.Refused,
	}
)
