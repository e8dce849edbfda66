// Package firehose speaks Amazon Data Firehose, version 2015-08-04: JSON 1.1 over
// POST /, and the same operations in process for the gateway.
//
//	ServeHTTP ─ X-Amz-Target, body ─┐
//	Invoke ─── operation, body ─────┴─> decode, check shapes ─> delivery engine ─> answer
//
// It keeps no state. A put that answers with success is durable; all records of a
// batch go to the stream in one append. What a request may hold is bounded by the
// service's limits (package delivery) and by [MaxBodyBytes].
package firehose

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"millrace/internal/awsmodel/firehosewire"
	"millrace/internal/awswire"
	"millrace/internal/delivery"
	"millrace/internal/fault"
	"millrace/internal/ids"
)

// Engine runs delivery streams; a *delivery.Engine is one.
type Engine interface {
	Create(ctx context.Context, req *delivery.CreateRequest) (*delivery.Definition, error)
	Delete(ctx context.Context, name string) error
	Describe(name string) (*delivery.Definition, error)
	List(req delivery.ListRequest) (names []string, more bool)
	UpdateDestination(ctx context.Context, req *delivery.UpdateRequest) (*delivery.Definition, error)
	StartEncryption(ctx context.Context, name string, key *delivery.EncryptionKey) (*delivery.Definition, error)
	StopEncryption(ctx context.Context, name string) (*delivery.Definition, error)
	Tag(ctx context.Context, name string, tags []delivery.Tag) error
	Untag(ctx context.Context, name string, keys []string) error
	Tags(name, after string, limit int) (tags []delivery.Tag, more bool, err error)
	// PutBatch stores records durably; it keeps no reference to records or results after it returns.
	PutBatch(ctx context.Context, name string, records [][]byte, results []delivery.PutResult) (encrypted bool, err error)
}

// Options make a [Service]. Fields without a default are required.
type Options struct {
	Engine  Engine
	Account ids.Account
	IDs     *ids.Source
	Now     func() time.Time // for signatures; default time.Now
	// Credentials looks up secrets; nil accepts any well-formed signature, and none, which only a loopback
	// listener may allow.
	Credentials awswire.Lookup
	// PlainEndpoints allows HTTP endpoints with http:// URLs, which the service's model refuses.
	PlainEndpoints bool
	Log            *slog.Logger // default: discard
}

// Service answers calls. It is safe for concurrent use.
type Service struct {
	Options
	verifier *awswire.Verifier
}

// New makes a service.
func New(o Options) (*Service, error) {
	if o.Engine == nil || o.IDs == nil || o.Account.ID == "" {
		return nil, fault.New(fault.Internal, "firehose.New", "", "Engine, Account and IDs are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{o, awswire.NewVerifier("firehose", o.Credentials, o.Now)}, nil
}

// MaxBodyBytes bounds a call: the 4 MiB of a full batch in base64, and room for its members' names and escapes.
const MaxBodyBytes = 8 << 20

const hostIDBytes = 54

// Outcome says what a caller in process can make of an answer.
type Outcome uint8

// The outcomes.
const (
	OK          Outcome = iota
	Throttled           // the same call succeeds later
	Unavailable         // nothing was stored, or it is unknown; also a PutRecordBatch in which every record failed
	Refused             // the same call can never succeed
)

// Result is the answer of an operation.
type Result struct {
	Status  int
	Body    []byte // what was appended to dst, after it
	Outcome Outcome
}

// Invoke runs an operation in process: "PutRecord". It is the path that HTTP takes, without HTTP: body is JSON
// whatever content type the caller has at hand. body is not kept; the answer, error bodies included, is appended
// to dst.
func (s *Service) Invoke(ctx context.Context, operation string, body, dst []byte) Result {
	run := operations[operation]
	if run == nil {
		return s.failed(dst, operation, unknownOperation(operation))
	}
	c := calls.Get().(*call)
	defer c.release()
	c.ctx, c.body, c.dst, c.allFailed = ctx, body, dst, false
	c.json.Reset(body)
	if err := run(s, c); err != nil {
		return s.failed(dst, operation, err)
	}
	r := Result{Status: http.StatusOK, Body: c.dst}
	if c.allFailed {
		r.Outcome = Unavailable
	}
	return r
}

func (s *Service) failed(dst []byte, operation string, err error) Result {
	x := exceptionOf(err)
	if x.internal {
		s.Log.Error("a Firehose call failed", "operation", operation, "error", err)
	}
	return Result{x.status, x.append(dst), x.outcome}
}

// ServeHTTP answers one call.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	awswire.SetRequestID(w.Header(), s.IDs)
	awswire.SetHostID(w.Header(), s.IDs, hostIDBytes)
	b := buffers.Get().(*buffer)
	defer b.release()
	answer := s.answer(w, r, b)
	b.answer = answer.Body
	awswire.WriteBody(w, answer.Status, awswire.TypeJSON11, answer.Body)
}

func (s *Service) answer(w http.ResponseWriter, r *http.Request, b *buffer) Result {
	operation, _ := strings.CutPrefix(r.Header.Get("X-Amz-Target"), firehosewire.TargetPrefix+".")
	if err := b.read(w, r); err != nil {
		return s.failed(b.answer[:0], operation, err)
	}
	if _, refused := s.verifier.Verify(r, b.body); refused != nil {
		return Result{refused.Status, awswire.AppendJSONError(b.answer[:0], refused.Code, refused.Message), Refused}
	}
	return s.Invoke(r.Context(), operation, b.body, b.answer[:0])
}

// keptRecords bounds the lists that the pool keeps: a full batch, in a list that has grown by doubling.
const keptRecords = 2 * delivery.MaxPutRecords

// buffer is what a call over HTTP borrows: the request's bytes and the answer's.
type buffer struct{ body, answer []byte }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// keptBytes bounds what a pool keeps of one call: most puts are far smaller, and a full batch is worth its own
// memory.
const keptBytes = 1 << 20

func (b *buffer) release() {
	if cap(b.body)+cap(b.answer) <= keptBytes {
		buffers.Put(b)
	}
}

// firstBytes is what a body gets before its length is believed.
const firstBytes = 4 << 10

// read takes the whole body. It grows as bytes arrive, so that a caller who announces much and sends nothing holds
// nothing.
func (b *buffer) read(w http.ResponseWriter, r *http.Request) error {
	body := http.MaxBytesReader(w, r.Body, MaxBodyBytes)
	b.body = b.body[:0]
	if cap(b.body) == 0 {
		b.body = make([]byte, 0, firstBytes)
	}
	for {
		if len(b.body) == cap(b.body) {
			b.body = append(b.body, 0)[:len(b.body)]
		}
		n, err := body.Read(b.body[len(b.body):cap(b.body)])
		b.body = b.body[:len(b.body)+n]
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return unreadable(err)
		}
	}
}

func unreadable(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return fault.New(fault.Invalid, "firehose.read", "", "Request body is larger than %d bytes", MaxBodyBytes)
	}
	return fault.New(fault.Invalid, "firehose.read", "", "Request body could not be read")
}

// call is one request on its way through an operation, with the memory that it borrows from a pool.
type call struct {
	ctx       context.Context
	body      []byte
	json      awswire.JSON
	dst       []byte // the answer is appended to it
	allFailed bool   // the answer is a success, and every record of it failed

	put     firehosewire.PutRecordInput
	batch   firehosewire.PutRecordBatchInput
	records [][]byte
	results []delivery.PutResult
	entries []firehosewire.PutRecordBatchResponseEntry
}

var calls = sync.Pool{New: func() any { return new(call) }}

func (c *call) release() {
	// What points into a body or an engine's memory must not outlive the call.
	records := c.batch.Records[:cap(c.batch.Records)]
	clear(records)
	c.put, c.batch = firehosewire.PutRecordInput{}, firehosewire.PutRecordBatchInput{Records: records[:0]}
	clear(c.records)
	clear(c.results)
	clear(c.entries)
	c.records, c.results, c.entries = c.records[:0], c.results[:0], c.entries[:0]
	c.ctx, c.body, c.dst = nil, nil, nil
	c.json.Reset(nil)
	c.json.Borrow = false
	if c.json.Retained() <= keptBytes && len(records) <= keptRecords {
		calls.Put(c)
	}
}
