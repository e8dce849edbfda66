package gateway

import (
	"sync/atomic"
	"time"

	"millrace/internal/restapi"
)

// MethodCounts tell what the callers of one method saw since this process started. Methods are counted where their
// settings say so (metricsEnabled).
type MethodCounts struct {
	API, Stage, Verb, Path string

	Requests, ClientErrors, ServerErrors int64 // of all; of those answered with 4xx; with 5xx
	Latency                              time.Duration
	IntegrationLatency                   time.Duration
}

type methodKey struct{ api, stage, verb, path string }

// methodCounter is what is counted of one method.
type methodCounter struct {
	requests, clientErrors, serverErrors atomic.Int64
	latency, integration                 atomic.Int64 // nanoseconds
}

// MaxCountedMethods bounds the methods that are counted one by one: each is several series of whoever collects them.
// The service's limits allow 600 APIs of 300 resources and 10 stages.
const MaxCountedMethods = 5000

// counterFor gives the counter of a method for the next snapshot: the one that it had, or a new one. It is nil when the
// method is not to be counted, or too many are; full is told of the latter.
func (g *Gateway) counterFor(key methodKey, setting *restapi.MethodSetting, next map[methodKey]*methodCounter) (c *methodCounter, full bool) {
	if !setting.MetricsEnabled {
		return nil, false
	}
	if c = next[key]; c != nil {
		return c, false // a canary's requests count as its stage's
	}
	if len(next) >= MaxCountedMethods {
		return nil, true
	}
	if c = g.counters[key]; c == nil {
		c = &methodCounter{}
	}
	next[key] = c
	return c, false
}

func (c *methodCounter) count(x *exchange) {
	c.requests.Add(1)
	switch {
	case x.resp.Status >= 500:
		c.serverErrors.Add(1)
	case x.resp.Status >= 400:
		c.clientErrors.Add(1)
	}
	c.latency.Add(int64(x.total))
	if x.reached() {
		c.integration.Add(int64(x.integration))
	}
}

// Counts calls f with each method that is counted, in no order.
func (g *Gateway) Counts(f func(MethodCounts)) {
	g.publishing.Lock()
	counters := g.counters // replaced as a whole by Publish
	g.publishing.Unlock()
	for k, c := range counters {
		f(MethodCounts{
			API: k.api, Stage: k.stage, Verb: k.verb, Path: k.path,
			Requests: c.requests.Load(), ClientErrors: c.clientErrors.Load(), ServerErrors: c.serverErrors.Load(),
			Latency: time.Duration(c.latency.Load()), IntegrationLatency: time.Duration(c.integration.Load()),
		})
	}
}
