package front

import (
	"maps"
	"strconv"
	"sync"
	"sync/atomic"

	"millrace/internal/telemetry"
)

// Stats are figures since the server was made, but for InFlight, Connections and BodyBytes, which are of now.
type Stats struct {
	InFlight    int64 // requests that are being answered, bodies still arriving included
	Connections int64 // open, of both listeners
	BodyBytes   int64 // reserved of the budget
	BodyBound   int64

	OverBudget      int64 // requests that were refused with 503 because the budget was used up
	TooLarge        int64 // refused with 413 by the front
	TooSlow         int64 // refused with 408, their bodies came too slowly
	BrokenBodies    int64 // bodies that ended early or were sent wrongly
	Guarded         int64 // refused because of their Host, Origin or missing credentials
	Panics          int64 // of handlers; each is a fault of this program and was logged with its stack
	ConnectionWaits int64 // times that a listener held maxConnections and let the next caller wait

	Services map[string]int64 // calls to the AWS endpoint, by service; "unknown" for those that are not provided
}

// maxSeries bounds how many pairs of API and stage are counted apart; the rest count together under "other".
const maxSeries = 4096

type stats struct {
	inFlight, connections                                   atomic.Int64
	overBudget, tooLarge, tooSlow, broken, guarded, panics  atomic.Int64
	connectionWaits                                         atomic.Int64
	kinesis, firehose, apigateway, s3, executeAPI, unserved atomic.Int64

	mu     sync.Mutex // of writers
	series atomic.Pointer[map[apiStage]*series]
}

type apiStage struct{ api, stage string }

// series counts the requests to one stage.
type series struct {
	bytes    atomic.Int64
	statuses [lastStatus + 1 - firstStatus]atomic.Int64
}

const firstStatus, lastStatus = 100, 599

// event counts an answered execute-api call. What reached no stage counts under empty names.
func (s *stats) event(api, stage string, status, bodyBytes int) {
	c := s.find(apiStage{api, stage})
	c.bytes.Add(int64(bodyBytes))
	c.statuses[min(max(status, firstStatus), lastStatus)-firstStatus].Add(1)
}

func (s *stats) find(key apiStage) *series {
	if all := s.series.Load(); all != nil {
		if c := (*all)[key]; c != nil {
			return c
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[apiStage]*series{}
	if all := s.series.Load(); all != nil {
		if len(*all) >= maxSeries {
			key = apiStage{"other", "other"}
		}
		if c := (*all)[key]; c != nil {
			return c
		}
		next = maps.Clone(*all)
	}
	c := new(series)
	next[key] = c
	s.series.Store(&next)
	return c
}

// service gives the counter of a service.
func (s *stats) service(name Service) *atomic.Int64 {
	switch name {
	case Kinesis:
		return &s.kinesis
	case Firehose:
		return &s.firehose
	case APIGateway:
		return &s.apigateway
	case S3:
		return &s.s3
	case ExecuteAPI:
		return &s.executeAPI
	}
	return &s.unserved
}

// Stats tells what the server has done so far.
func (s *Server) Stats() Stats {
	c := s.stats
	return Stats{
		InFlight: c.inFlight.Load(), Connections: c.connections.Load(),
		BodyBytes: s.budget.Used(), BodyBound: s.budget.Max(),
		OverBudget: c.overBudget.Load(), TooLarge: c.tooLarge.Load(), TooSlow: c.tooSlow.Load(),
		BrokenBodies: c.broken.Load(), Guarded: c.guarded.Load(), Panics: c.panics.Load(),
		ConnectionWaits: c.connectionWaits.Load(),
		Services: map[string]int64{
			string(Kinesis): c.kinesis.Load(), string(Firehose): c.firehose.Load(), string(APIGateway): c.apigateway.Load(),
			string(S3): c.s3.Load(), string(ExecuteAPI): c.executeAPI.Load(), "unknown": c.unserved.Load(),
		},
	}
}

// Collect reports the declared metrics; app gives it to the page.
func (s *Server) Collect(emit telemetry.Emit) {
	now := s.Stats()
	emit(telemetry.InFlight, float64(now.InFlight))
	emit(telemetry.Connections, float64(now.Connections))
	emit(telemetry.ConnectionWaits, float64(now.ConnectionWaits))
	emit(telemetry.Refused, float64(now.OverBudget), "over_budget")
	emit(telemetry.Refused, float64(now.TooLarge), "too_large")
	emit(telemetry.Refused, float64(now.TooSlow), "too_slow")
	emit(telemetry.Refused, float64(now.BrokenBodies), "broken_body")
	emit(telemetry.Refused, float64(now.Guarded), "guarded")
	emit(telemetry.Panics, float64(now.Panics))
	emit(telemetry.BodyBytes, float64(now.BodyBytes))
	emit(telemetry.BodyBound, float64(now.BodyBound))
	for name, n := range now.Services {
		emit(telemetry.ServiceRequests, float64(n), name)
	}
	all := s.stats.series.Load()
	if all == nil {
		return
	}
	for key, c := range *all {
		emit(telemetry.APIRequestBytes, float64(c.bytes.Load()), key.api, key.stage)
		for i := range c.statuses {
			if n := c.statuses[i].Load(); n > 0 {
				emit(telemetry.APIRequests, float64(n), key.api, key.stage, strconv.Itoa(firstStatus+i))
			}
		}
	}
}
