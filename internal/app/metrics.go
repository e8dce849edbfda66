package app

import (
	"context"
	"runtime"

	"millrace/internal/delivery"
	"millrace/internal/gateway"
	"millrace/internal/telemetry"
)

// collect bridges the rooms' counters to the metrics page.
func (n *Node) collect(emit telemetry.Emit) {
	emit(telemetry.Info, 1, n.opts.Version, runtime.Version())
	n.server.Collect(emit)
	emit(telemetry.Engine, 1, string(n.engineIs.Kind), n.name)
	for _, fn := range n.emitters {
		fn(emit)
	}
	n.collectLimits(emit)
	n.gateway.Counts(func(c gateway.MethodCounts) {
		emit(telemetry.MethodRequests, float64(c.Requests), c.API, c.Stage, c.Verb, c.Path)
		emit(telemetry.MethodErrors, float64(c.ClientErrors), c.API, c.Stage, c.Verb, c.Path, "4XX")
		emit(telemetry.MethodErrors, float64(c.ServerErrors), c.API, c.Stage, c.Verb, c.Path, "5XX")
		emit(telemetry.MethodSeconds, c.Latency.Seconds(), c.API, c.Stage, c.Verb, c.Path)
		emit(telemetry.MethodIntegrationSeconds, c.IntegrationLatency.Seconds(), c.API, c.Stage, c.Verb, c.Path)
	})
	key, throttle, quota := n.gateway.TurnedAway()
	emit(telemetry.APITurnedAway, float64(key), "key")
	emit(telemetry.APITurnedAway, float64(throttle), "throttle")
	emit(telemetry.APITurnedAway, float64(quota), "quota")
	n.collectDelivery(emit)
	emit(telemetry.SpaceFree, float64(n.space.Free()))
	emit(telemetry.SpaceLow, truth(n.space.Low()))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (n *Node) collectDelivery(emit telemetry.Emit) {
	m := n.engine.Metrics(context.Background())
	emit(telemetry.DeliveryBuffered, float64(m.BufferBytes))
	emit(telemetry.DeliveryBufferBound, float64(m.BufferBudgetBytes))
	emit(telemetry.DeliverySpool, float64(m.SpoolBytes))
	emit(telemetry.DeliverySpoolBound, float64(m.SpoolBoundBytes))
	for i := range m.DeliveryStreams {
		d := &m.DeliveryStreams[i]
		emit(telemetry.DeliveryRecords, float64(d.DeliveredRecords), d.Name)
		emit(telemetry.DeliveryBytes, float64(d.DeliveredBytes), d.Name)
		emit(telemetry.DeliveryObjects, float64(d.Objects), d.Name)
		emit(telemetry.DeliveryLost, float64(d.ExpiredRecords), d.Name, "expired")
		emit(telemetry.DeliveryLost, float64(d.DiscardedRecords), d.Name, "discarded")
		emit(telemetry.DeliveryLagRecords, float64(d.LagRecords), d.Name)
		emit(telemetry.DeliveryLagSeconds, d.LagSeconds, d.Name)
		emit(telemetry.DeliveryErrors, float64(d.PutErrors), d.Name)
		emit(telemetry.DeliveryManifests, float64(d.Manifests), d.Name)
		emit(telemetry.DeliveryOutputs, float64(d.Outputs), d.Name)
		emit(telemetry.DeliveryDeadLettered, float64(d.DeadLetteredRecords), d.Name)
		emit(telemetry.DeliveryErrorObjects, float64(d.ErrorObjects), d.Name)
		emit(telemetry.DeliveryDropped, float64(d.DroppedRecords), d.Name)
		collectSteps(emit, d.Name, &d.StepMetrics)
	}
}

// collectSteps shows what records go through. A delivery stream has no lines for steps that it does not take.
func collectSteps(emit telemetry.Emit, name string, m *delivery.StepMetrics) {
	emit(telemetry.DeliveryStaged, float64(m.Staged), name)
	emit(telemetry.DeliveryErrorLogLeftOut, float64(m.LinesLeftOut), name)
	for _, f := range m.FailedRecords {
		emit(telemetry.DeliveryFailed, float64(f.Records), name, f.ErrorType)
	}
	if m.PartitionsBound > 0 {
		emit(telemetry.DeliveryPartitions, float64(m.Partitions), name)
		emit(telemetry.DeliveryPartitionsBound, float64(m.PartitionsBound), name)
		emit(telemetry.DeliveryPartitionsExceeded, float64(m.PartitionsExceeded), name)
	}
	if f := m.Function; f != nil {
		emit(telemetry.DeliveryFunctionCalls, float64(f.Calls), name)
		emit(telemetry.DeliveryFunctionRetries, float64(f.Retries), name)
		emit(telemetry.DeliveryFunctionFailures, float64(f.Failures), name)
		emit(telemetry.DeliveryFunctionSeconds, f.Time.Seconds(), name)
	}
	if p := m.Endpoint; p != nil {
		emit(telemetry.DeliveryPosts, float64(p.Calls), name)
		emit(telemetry.DeliveryPostRetries, float64(p.Retries), name)
		emit(telemetry.DeliveryPostFailures, float64(p.Failures), name)
		emit(telemetry.DeliveryPostSeconds, p.Time.Seconds(), name)
	}
	if m.Converts {
		emit(telemetry.DeliveryConversions, float64(m.Converted), name, "converted")
		emit(telemetry.DeliveryConversions, float64(m.Unconverted), name, "failed")
	}
}
