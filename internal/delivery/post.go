package delivery

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"millrace/internal/delivery/httpendpoint"
	"millrace/internal/delivery/journal"
	"millrace/internal/fault"
)

// Bounds of what goes to HTTP endpoints.
const (
	// httpLaneBytes is what a lane of an endpoint may gather: base64 makes 4 bytes of 3, a request has at most 64 MiB, and a
	// lane may exceed its bound by one record.
	httpLaneBytes = 37 << 20
	// httpMemory bounds the bodies of requests under way on a node.
	httpMemory = 128 << 20
)

// httpState is how far a part is on its way to an endpoint. It starts anew with the process.
type httpState struct {
	attempts int
	waited   time.Duration // between attempts; waiting for answers is not counted
}

// retryError asks for another try after a time of its own.
type retryError struct {
	after time.Duration
	err   error
}

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// refusedError: an endpoint has refused a part for good, or for too long.
type refusedError struct{ failure journal.Failure }

func (e *refusedError) Error() string { return e.failure.Code + ": " + e.failure.Message }

// post sends a part to its endpoint once. That it has it already can't be found out: the request's id, which is the same in
// all attempts, is the endpoint's means to know.
func (t *task) post(ctx context.Context, part int) (counted, error) {
	e, p, st := t.shard.d.engine, &t.manifest.Parts[part], &t.parts[part]
	processing, err := t.shard.d.processing(t.manifest)
	if err != nil {
		return counted{}, err
	}
	endpoint, err := t.shard.d.endpoint(processing)
	if err != nil {
		return counted{}, err
	}
	if err := t.bringStaged(ctx, part); err != nil {
		return counted{}, err
	}
	weight := min(p.Bytes*4/3+p.Outputs*16, httpMemory)
	if err := e.httpMemory.Acquire(ctx, weight); err != nil {
		return counted{}, context.Cause(ctx)
	}
	defer e.httpMemory.Release(weight)
	body := httpendpoint.NewBody(httpendpoint.Batch{RequestID: p.ID, Timestamp: t.manifest.Planned,
		Encoding: httpendpoint.Encoding(processing.recipe.Endpoint.Encoding)})
	if err := t.fillBody(ctx, part, body); err != nil {
		return counted{}, err
	}
	e.opts.Failpoint("put-before")
	answer, err := t.shard.d.send(ctx, endpoint, body, st.http.attempts+1)
	if err != nil {
		return counted{}, err
	}
	st.http.attempts++
	if answer.Delivered {
		e.opts.Failpoint("put-after")
		return planned(p), nil
	}
	wait := httpendpoint.Backoff(st.http.attempts-1, rand.NewPCG(e.opts.IDs.Uint64(), 0))
	if answer.Permanent || st.http.waited+wait > time.Duration(processing.recipe.Endpoint.RetrySeconds)*time.Second {
		return counted{}, &refusedError{journal.Failure{Code: answer.Code, Message: answer.Message, Attempts: st.http.attempts, Ended: e.opts.Now().UTC()}}
	}
	st.http.waited += wait
	return counted{}, &retryError{wait, fault.New(fault.Unavailable, "delivery.post", endpoint.String(), "%s: %s", answer.Code, answer.Message)}
}

// fillBody writes the outputs of a part into a request's body.
func (t *task) fillBody(ctx context.Context, part int, body *httpendpoint.Body) error {
	p := &t.manifest.Parts[part]
	enc, err := t.shard.d.newEncoder(ctx, t.manifest, p, &t.parts[part].kept, &httpShape{body: body, delimiter: p.Delimiter})
	if err != nil {
		return err
	}
	defer enc.close()
	_, err = io.Copy(io.Discard, enc)
	return err
}

// refuse plans the part anew, as an error object.
func (t *task) refuse(ctx context.Context, part int, refused *refusedError) error {
	m := t.edit()
	m.Parts[part].Failure = &refused.failure
	t.shard.d.engine.opts.Log.Error("an HTTP endpoint does not take records; they go to an error object", "deliveryStream", m.Delivery,
		"endpoint", t.shard.d.endpointName(), "records", m.Parts[part].Records, "error", refused)
	return t.shard.replan(ctx, t, m)
}

func (d *delivery) endpointName() string {
	if e := d.destination().endpoint; e != nil {
		return e.String()
	}
	return ""
}

// endpoint gives where a manifest's outputs are posted. The access key is that of the definition in use: manifests have none.
func (d *delivery) endpoint(p *processing) (*httpendpoint.Endpoint, error) {
	dest := d.destination()
	if p == dest.processing && dest.endpoint != nil {
		return dest.endpoint, nil
	}
	if p == nil || p.recipe.Endpoint == nil {
		return nil, fault.New(fault.Corrupt, "delivery.post", d.name, "the plan names no endpoint")
	}
	return newEndpoint(p.recipe.Endpoint, d.definition.Load())
}

func newEndpoint(r *recipeEndpoint, def *Definition) (*httpendpoint.Endpoint, error) {
	s := httpendpoint.Settings{URL: r.URL, SourceARN: r.SourceARN, Attributes: r.Attributes, AllowHTTP: true} // it was checked when the definition was made
	if h := def.HTTPEndpoint; h != nil && h.EndpointConfiguration.AccessKey != nil {
		s.AccessKey = string(*h.EndpointConfiguration.AccessKey)
	}
	return httpendpoint.NewEndpoint(s)
}

// httpShape puts outputs into a request.
type httpShape struct {
	body      *httpendpoint.Body
	delimiter []byte
	joined    []byte
}

func (s *httpShape) text([]byte) error { return errNoText }

func (s *httpShape) output(o *output) error {
	data := o.data
	if len(s.delimiter) > 0 {
		s.joined = append(append(s.joined[:0], data...), s.delimiter...)
		data = s.joined
	}
	if !s.body.Append(data) {
		return fault.New(fault.Internal, "delivery.post", "", "a request has no room for the records of its plan")
	}
	return nil
}

func (s *httpShape) end() error { return nil }

func (s *httpShape) release() {}

// errNoText is what shapes say that need more of an output than its text.
var errNoText = errors.New("delivery: a shape of outputs was given text")
