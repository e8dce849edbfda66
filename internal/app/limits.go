package app

import (
	"context"
	"sync"
	"time"

	"millrace/internal/api/kinesis"
	"millrace/internal/config"
	"millrace/internal/delivery"
	"millrace/internal/stream/limits"
	"millrace/internal/telemetry"
)

// openLimits puts the service's limits before the streams, where the operator asks for them. Where Amazon Kinesis keeps
// the streams, on-demand ones grow by themselves.
func (n *Node) openLimits(context.Context) error {
	if !n.opts.Config.ExactLimits {
		return nil
	}
	n.limits = limits.Of(limits.Options{Backend: n.streams, Account: n.account.ID, Now: time.Now, Log: n.log})
	if n.engineIs.Kind == config.OnKinesis {
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	var growth sync.WaitGroup
	growth.Go(func() { n.limits.Grow(ctx) })
	n.onClose("growth of on-demand streams", func(context.Context) error { stop(); growth.Wait(); return nil })
	return nil
}

// source is where delivery streams read: their reads of streams count against the service's limits, and are not refused.
func (n *Node) source() delivery.Source {
	if n.limits != nil {
		return sources{n.limits.Delivery(), n.topics}
	}
	return sources{n.streams, n.topics}
}

// accountInForce is the limit of deployed APIs: see gateway.Options.AccountThrottle.
const accountInForce = ", all APIs together take 10,000 requests a second"

// Limits tells in a line which of the service's limits are in force.
func (n *Node) Limits() string {
	if n.limits == nil {
		return "none: as fast as the machine"
	}
	return limits.InForce + accountInForce
}

// collectLimits tells whether limits are in force, and what they refused.
func (n *Node) collectLimits(emit telemetry.Emit) {
	emit(telemetry.Limited, truth(n.limits != nil))
	if n.limits == nil {
		return
	}
	for _, t := range n.limits.Throttled() {
		emit(telemetry.WriteThrottled, float64(t.ForRecords), t.Stream, "records")
		emit(telemetry.WriteThrottled, float64(t.ForBytes), t.Stream, "bytes")
		emit(telemetry.ReadThrottled, float64(t.ReadsForCalls), t.Stream, "calls")
		emit(telemetry.ReadThrottled, float64(t.ReadsForBytes), t.Stream, "bytes")
		emit(telemetry.OnDemandSplits, float64(t.Splits), t.Stream)
	}
}

// collectRates tells which calls were too many a second.
func collectRates(kin *kinesis.Service) func(telemetry.Emit) {
	return func(emit telemetry.Emit) {
		for operation, calls := range kin.RateExceeded() {
			emit(telemetry.RateExceeded, float64(calls), operation)
		}
	}
}
