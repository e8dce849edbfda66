package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"millrace/internal/delivery/httpendpoint"
	"millrace/internal/delivery/journal"
	"millrace/internal/delivery/objectkey"
	"millrace/internal/fault"
	"millrace/internal/ids"
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
	requests int           // that the endpoint has taken
	outputs  int64         // that were in them
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

// post sends a part to its endpoint: in one request, unless that would have no room for what a record that was taken apart,
// or a function, has put into the lane when it was nearly full. That the endpoint has it already can't be found out: the
// request's id, which is the same in all attempts, is its means to know.
func (t *task) post(ctx context.Context, part int) (counted, error) {
	p, st := &t.manifest.Parts[part], &t.parts[part]
	for st.http.outputs < p.Outputs {
		n, err := t.postNext(ctx, part)
		if err != nil {
			return counted{}, err
		}
		st.http = httpState{requests: st.http.requests + 1, outputs: st.http.outputs + n}
	}
	return planned(p), nil
}

// postNext makes one attempt at the next request of a part, which takes n outputs.
func (t *task) postNext(ctx context.Context, part int) (n int64, err error) {
	e, p, st := t.shard.d.engine, &t.manifest.Parts[part], &t.parts[part]
	processing, err := t.shard.d.processing(t.manifest)
	if err != nil {
		return 0, err
	}
	endpoint, err := t.shard.d.endpoint(processing)
	if err != nil {
		return 0, err
	}
	if err := t.bringStaged(ctx, part); err != nil {
		return 0, err
	}
	weight := min(p.Bytes*4/3+p.Outputs*16, httpMemory)
	if err := e.httpMemory.Acquire(ctx, weight); err != nil {
		return 0, context.Cause(ctx)
	}
	defer e.httpMemory.Release(weight)
	body := httpendpoint.NewBody(httpendpoint.Batch{RequestID: requestID(p, st.http.requests), Timestamp: t.manifest.Planned,
		Encoding: httpendpoint.Encoding(processing.recipe.Endpoint.Encoding)})
	if err := t.fillBody(ctx, part, body); err != nil {
		return 0, err
	}
	e.opts.Failpoint("put-before")
	answer, err := t.shard.d.send(ctx, endpoint, body, st.http.attempts+1)
	if err != nil {
		return 0, err
	}
	st.http.attempts++
	if answer.Delivered {
		e.opts.Failpoint("put-after")
		return int64(body.Records()), nil
	}
	wait := httpendpoint.Backoff(st.http.attempts-1, rand.NewPCG(e.opts.IDs.Uint64(), 0))
	if answer.Permanent || st.http.waited+wait > time.Duration(processing.recipe.Endpoint.RetrySeconds)*time.Second {
		return 0, &refusedError{journal.Failure{Code: answer.Code, Message: answer.Message, Attempts: st.http.attempts, Ended: e.opts.Now().UTC()}}
	}
	st.http.waited += wait
	return 0, &retryError{wait, fault.New(fault.Unavailable, "delivery.post", endpoint.String(), "%s: %s", answer.Code, answer.Message)}
}

// fillBody writes the outputs of a part into a request's body.
func (t *task) fillBody(ctx context.Context, part int, body *httpendpoint.Body) error {
	p := &t.manifest.Parts[part]
	shape := &httpShape{body: body, delimiter: p.Delimiter, skip: t.parts[part].http.outputs}
	enc, err := t.shard.d.newEncoder(ctx, t.manifest, p, &t.parts[part].kept, shape)
	if err != nil {
		return err
	}
	defer enc.close()
	if _, err = io.Copy(io.Discard, enc); errors.Is(err, errNoRoom) {
		return nil
	}
	return err
}

// requestID names a request of a part: the first one as the part is named, further ones by names that are made of that.
func requestID(p *journal.Part, request int) string {
	id, err := objectkey.ParseID(p.ID)
	if request == 0 || err != nil {
		return p.ID
	}
	sum := sha256.Sum256(fmt.Append(nil, p.ID, request))
	return id.UUID(ids.Seeded(binary.BigEndian.Uint64(sum[:])))
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
	return httpendpoint.NewEndpoint(endpointSettings(r, def))
}

// endpointSettings joins a recipe with the secrets of a definition, which are of that one's own URL.
func endpointSettings(r *recipeEndpoint, def *Definition) httpendpoint.Settings {
	s := httpendpoint.Settings{URL: r.URL, SourceARN: r.SourceARN, Attributes: r.Attributes, AllowHTTP: true} // it was checked when the definition was made
	if h := def.HTTPEndpoint; h != nil && h.EndpointConfiguration.AccessKey != nil && h.EndpointConfiguration.Url == r.URL {
		s.AccessKey = string(*h.EndpointConfiguration.AccessKey)
	}
	return s
}

// httpShape puts outputs into a request.
type httpShape struct {
	body      *httpendpoint.Body
	delimiter []byte
	joined    []byte
	skip      int64 // outputs that earlier requests have
}

// errNoRoom ends a request that has all it may have.
var errNoRoom = errors.New("delivery: a request has no room for more")

func (s *httpShape) text([]byte) error { return errNoText }

func (s *httpShape) output(o *output) error {
	if s.skip > 0 {
		s.skip--
		return nil
	}
	data := o.data
	if len(s.delimiter) > 0 {
		s.joined = append(append(s.joined[:0], data...), s.delimiter...)
		data = s.joined
	}
	switch {
	case s.body.Append(data):
		return nil
	case s.body.Records() == 0:
		return fault.New(fault.Internal, "delivery.post", "", "a request has no room for a record of %d bytes", len(data))
	}
	return errNoRoom
}

func (s *httpShape) end() error { return nil }

func (s *httpShape) release() {}

// errNoText is what shapes say that need more of an output than its text.
var errNoText = errors.New("delivery: a shape of outputs was given text")
