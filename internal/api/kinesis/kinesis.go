// Package kinesis speaks Amazon Kinesis Data Streams, version 2013-12-02: JSON 1.1 and
// CBOR 1.1 over POST /, and the same operations in process, in JSON, for the gateway.
//
//	ServeHTTP ─ order of checks, SigV4 ─┐
//	Invoke ─ operation, body ───────────┴─> decode ─> constraints ─> operation ─> stream.Backend ─> answer
//
// It keeps no state, but for what its rates count: streams, tags and records are the backend's, and what a client
// holds between calls (shard iterators, NextTokens) is sealed with a key that the
// caller of [New] keeps durable. A put that answers with success is durable.
//
// Bounds: a body [MaxBodyBytes], an answer of records maxReadBytes; lists of shards,
// streams and tags by the service's limits (limits.go). Its rates of calls apply where
// Options.ExactRates says so (rates.go). Pages of GetRecords share maxPageMemory
// (page_memory.go). Subscriptions to shards: maxSubscriptions, and eventMemory for
// what they send (subscribe.go).
package kinesis

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/stream"
)

// Options make a [Service]. Fields without a default are required.
type Options struct {
	Backend stream.Backend
	Account ids.Account
	IDs     *ids.Source
	Now     func() time.Time
	// TokenKey seals iterators and NextTokens. It must be the same after a restart, secret, and at least 32 bytes.
	TokenKey []byte
	// Credentials looks up secrets; nil accepts any well-formed signature, and none, which only a loopback
	// listener may allow.
	Credentials awswire.Lookup
	// ShardLimit is how many open provisioned shards all streams may have; default DefaultShardLimit.
	ShardLimit int
	// ExactRates refuses calls beyond the service's rates, as for --aws-exact=limits.
	ExactRates bool
	Log        *slog.Logger // default: discard
}

// Service answers calls. It is safe for concurrent use.
type Service struct {
	Options
	verifier *awswire.Verifier
	tokens   tokens
	gate     *gate // nil: calls have no rates

	// changes serialises what reads the backend's state, decides, and writes: shard limit on creation and resharding, so
	// that two calls can't both pass a check that only one may. Settings need no such thing: see stream.Backend.
	changes sync.Mutex
	// gone holds, under changes, when consumers that were deregistered of late had been made.
	gone map[consumerName]int64

	subscriptions *subscriptions
	pages         *pageMemory

	complained complaints
}

// New makes a service.
func New(o Options) (*Service, error) {
	const op = "kinesis.New"
	if o.Backend == nil || o.IDs == nil || o.Now == nil || o.Account.ID == "" {
		return nil, fault.New(fault.Internal, op, "", "Backend, Account, IDs and Now are required")
	}
	if len(o.TokenKey) < minTokenKey {
		return nil, fault.New(fault.Internal, op, "", "TokenKey has %d bytes, fewer than %d", len(o.TokenKey), minTokenKey)
	}
	if o.ShardLimit == 0 {
		o.ShardLimit = DefaultShardLimit
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		Options:  o,
		verifier: awswire.NewVerifier("kinesis", o.Credentials, o.Now),
		tokens:   newTokens(o.TokenKey, o.IDs),

		gone: map[consumerName]int64{}, subscriptions: newSubscriptions(), pages: newPageMemory(),
	}
	if o.ExactRates {
		s.gate = newGate(o.Now)
	}
	return s, nil
}

// Outcome says what a caller in process can make of an answer.
type Outcome uint8

// The outcomes.
const (
	OK          Outcome = iota
	Throttled           // the same call succeeds later
	Unavailable         // nothing was stored, or it is unknown; also a PutRecords in which every entry failed
	Refused             // the same call can never succeed
)

// Result is the answer of an operation.
type Result struct {
	Status  int
	Body    []byte // what was appended to dst, after it; empty for operations without output
	Outcome Outcome

	subscription *subscription // the answer is its events; the caller serves it
	held         int64         // of pageMemory; the caller releases it when the answer is written
}

// Invoke runs an operation in process: "PutRecord". It is the path that HTTP takes, without HTTP: body is JSON
// whatever content type the caller has at hand. body is not kept; the answer, error bodies included, is appended
// to dst.
func (s *Service) Invoke(ctx context.Context, operation string, body, dst []byte) Result {
	op := find(operation)
	if op == nil {
		return s.failed(asJSON, dst, operation, errUnknownOperation)
	}
	r := s.run(ctx, op, asJSON, false, body, dst)
	s.pages.give(r.held)
	return r
}

// run runs an operation; takesEvents says that the caller can serve a subscription.
func (s *Service) run(ctx context.Context, op *operation, as encoding, takesEvents bool, body, dst []byte) Result {
	if op.run == nil {
		return s.failed(as, dst, op.name, errUnsupported(op.name))
	}
	c := calls.Get().(*call)
	defer c.release()
	c.ctx, c.as, c.dst, c.allFailed, c.takesEvents, c.held = ctx, as, dst, false, takesEvents, 0
	c.lend(body, op.borrows)
	var err error
	if s.gate == nil {
		err = op.run(s, c)
	} else {
		err = s.rated(op, c, body)
	}
	if err != nil {
		return s.failed(as, dst, op.name, err)
	}
	r := Result{Status: 200, Body: c.dst, subscription: c.subscription, held: c.held}
	if c.allFailed {
		r.Outcome = Unavailable
	}
	return r
}

// failed answers with an error.
func (s *Service) failed(as encoding, dst []byte, operation string, err error) Result {
	var wrong *awswire.SerializationError
	if errors.As(err, &wrong) {
		return Result{Status: 400, Body: as.appendSerializationError(dst, wrong), Outcome: Refused}
	}
	x := s.exceptionOf(err)
	if x.Status >= 500 {
		s.complain(operation, err)
	}
	return Result{Status: x.Status, Body: as.appendError(dst, x.Code, x.message), Outcome: x.outcome()}
}

// call is one request on its way through an operation, with the memory that it borrows from a pool.
type call struct {
	ctx       context.Context
	as        encoding
	json      awswire.JSON // reads the request, unless
	cbor      awswire.CBOR // this does
	dst       []byte       // the answer is appended to it
	allFailed bool         // the answer is a success, and every entry of it failed

	takesEvents  bool
	subscription *subscription // what SubscribeToShard answers with
	held         int64         // of pageMemory, by the answer

	put     kinesiswire.PutRecordInput
	puts    kinesiswire.PutRecordsInput
	putOut  kinesiswire.PutRecordOutput
	putsOut kinesiswire.PutRecordsOutput
	entries []stream.Entry
	results []stream.Result
	hashes  []stream.HashKey
	text    []byte // numbers and shard ids of the answer
}

var calls = sync.Pool{New: func() any { return new(call) }}

// keptBytes bounds what the pool keeps of one call. A PutRecords of 500 small records needs some 300 KiB; what is
// larger is rare and worth its own memory.
const keptBytes = 1 << 20

func (c *call) release() {
	c.ctx, c.dst, c.subscription = nil, nil, nil
	if c.json.Retained()+c.cbor.Retained()+cap(c.text) > keptBytes {
		return
	}
	c.json.Reset(nil)
	c.cbor.Reset(nil)
	c.put = kinesiswire.PutRecordInput{}
	clear(c.puts.Records) // they point into a body that is not ours any more
	clear(c.entries)
	calls.Put(c)
}

// invalid gives the ValidationException for what was found, nil when nothing was.
func invalid(found *awswire.Violations) error {
	if text := found.Err(); text != "" {
		return failure(kinesiswire.ErrValidation, "%s", text)
	}
	return nil
}
