package front

import (
	"context"
	"net/http"

	"millrace/internal/ids"
)

// endpoint is the AWS endpoint: every AWS API, the addresses of deployed APIs that other tools use, and what
// belongs to the node itself.
type endpoint struct {
	services map[Service]http.Handler
	events   http.Handler
	operator http.Handler
	guard    guard
	open     bool // no credentials are configured: the guard stands in for them
	budget   *Budget
	ids      *ids.Source
	stats    *stats
	faults   *faults
	ctx      context.Context // of the server: ends when requests are to give up
	stopping context.Context // ends when a stop begins
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	startClock(w, r)
	service, known := serviceOf(r)
	if e.open {
		if why := e.guard.refuses(r); why != "" {
			e.stats.guarded.Add(1)
			e.refuse(w, r, service, http.StatusForbidden, "AccessDeniedException", why)
			return
		}
	}
	switch {
	case service == operator:
		e.call(w, r, service, e.operator)
		return
	case service == ExecuteAPI:
		e.stats.executeAPI.Add(1)
		e.events.ServeHTTP(w, r)
		return
	case !known || e.services[service] == nil:
		e.stats.unserved.Add(1)
		e.refuse(w, r, service, http.StatusNotImplemented, "NotImplemented", unserved(service))
		return
	}
	e.stats.service(service).Add(1)
	e.call(w, r, service, e.services[service])
}

// call runs a service's handler.
func (e *endpoint) call(w http.ResponseWriter, r *http.Request, service Service, handler http.Handler) {
	body := newCallBody(w, r, e.budget, service == S3)
	a := &answer{ResponseWriter: w, body: body, subscribes: subscribes(r, service), cut: func(w http.ResponseWriter, err error) {
		e.refuseBody(w, r, service, err)
	}}
	defer body.release()
	defer func() {
		if p := recover(); p != nil {
			e.faults.panicked(p, r, a.begun)
			e.refuse(w, r, service, http.StatusInternalServerError, "InternalFailure", "")
		}
	}()
	ctx, cancel := e.context(r, service)
	defer cancel()
	own := r.WithContext(ctx) // net/http looks at its own request again, when the handler has returned
	if r.Body != http.NoBody {
		own.Body = body
	}
	handler.ServeHTTP(a, own)
}

// subscribeTarget is the call whose answer goes on until its caller leaves, or for five minutes.
const subscribeTarget = "Kinesis_20131202.SubscribeToShard"

func subscribes(r *http.Request, service Service) bool {
	return service == Kinesis && r.Header.Get("X-Amz-Target") == subscribeTarget
}

// context is what a call runs under. A caller who goes away ends an upload, a download or a look at the node, but no
// call that has arrived: half of it may be done. A stop of the server ends what only looks on, and may do so for
// minutes or hours: followers of the node, and subscriptions to shards.
func (e *endpoint) context(r *http.Request, service Service) (context.Context, context.CancelFunc) {
	switch {
	case service == S3:
		return r.Context(), func() {}
	case service == operator, subscribes(r, service):
		ctx, cancel := context.WithCancel(r.Context())
		stop := context.AfterFunc(e.stopping, cancel)
		return ctx, func() { stop(); cancel() }
	}
	return e.ctx, func() {}
}

// refuseBody answers a call whose body the front has not let through.
func (e *endpoint) refuseBody(w http.ResponseWriter, r *http.Request, service Service, err error) {
	why := doorFailure(err, e.stats)
	if service == S3 { // the service's own words
		e.refuse(w, r, service, http.StatusBadRequest, "RequestTimeout",
			"Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.")
		return
	}
	e.refuse(w, r, service, why.status, why.code, why.text)
}
