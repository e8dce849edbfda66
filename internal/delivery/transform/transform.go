// Package transform calls functions that transform records, by HTTP. It is the client's
// side of the service's Lambda processor, and knows no engine.
//
//	Records ─ Gauge (when is it enough for a call) ─> Call ─ Client.Invoke ─ POST, again after failures ─> Results
//
// The request is the event that Lambda would be invoked with, and the answer what a
// function returns, so that any host of functions will do that takes an event as a POST:
// a few lines of a web server, or Lambda's own runtime interface emulator.
//
// Invoke fails no call: what becomes of a record is its Result. A function may be called
// twice with the same records, after a failure or by a second Invoke; that one answer
// counts is the caller's care, who keeps it durably before it acts on it.
//
// Sources: Amazon Data Firehose Developer Guide, data transformation, and its table of Lambda
// invocation errors; Lambda API Reference, Invoke; answers and error objects that others have
// recorded from the service.
package transform

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"millrace/internal/ids"
	"millrace/internal/outbound"
)

// Limits of the service.
const (
	MaxRequest     = 6291456         // bytes of an event, which Lambda calls 6 MB
	MaxAnswer      = 6291556         // bytes of an answer
	CallTime       = 5 * time.Minute // for one call, answer included
	DefaultRetries = 3               // NumberOfRetries
	MaxRecords     = 10000           // in a call; the service documents none, and its largest buffer of 3 MB seldom holds more
	// MaxRetries bounds NumberOfRetries, which the service takes as it is: a call whose function is gone holds up its
	// shard for some forty minutes at most, unless it hangs.
	MaxRetries = 100
)

// Bounds of this client.
const (
	// maxPerFunction bounds the calls of one function that are under way; the next one waits. A function that hangs keeps
	// so many, and no more, from the others.
	maxPerFunction = 32
	// maxBytes bounds the memory of all calls that are under way: each counts twice its request, since answers are mostly of
	// that size. At the default buffer of 1 MiB it is room for ninety.
	maxBytes = 256 << 20
	// maxHeaderBytes bounds an answer's head.
	maxHeaderBytes = 64 << 10
	// firstWait and longestWait bound the time between attempts: 1 s, 2 s, 4 s, … The service's own is not known.
	firstWait   = time.Second
	longestWait = 30 * time.Second
)

// Options of a client.
type Options struct {
	Outbound outbound.Options
	IDs      *ids.Source // of invocations, and of the waits' spread
	Now      func() time.Time
}

// Client calls functions. It is safe for concurrent use.
type Client struct {
	transport http.RoundTripper
	close     func()
	ids       *ids.Source
	now       func() time.Time

	memory  *semaphore.Weighted
	buffers sync.Pool // *[]byte, of events and answers

	mu        sync.Mutex
	functions map[string]*turns // by the place that is called; who has no call has no entry
}

// turns are the calls of one function.
type turns struct {
	*semaphore.Weighted
	users int
}

// New makes a client.
func New(o Options) *Client {
	transport := o.Outbound.Transport(outbound.Bounds{
		PerHost: 4 * maxPerFunction, IdlePerHost: maxPerFunction, IdleInAll: 8 * maxPerFunction, HeaderBytes: maxHeaderBytes,
	})
	return &Client{
		transport: transport, close: transport.CloseIdleConnections, ids: o.IDs, now: o.Now,
		memory: semaphore.NewWeighted(maxBytes), functions: map[string]*turns{},
		buffers: sync.Pool{New: func() any { return new([]byte) }},
	}
}

// Close closes the connections that no call uses.
func (c *Client) Close() { c.close() }

// Invoke transforms the records of a call, and fills in results, which is as long as they are. Records that are too many
// or too large for one event go in several, one after another.
//
// A failure of a record is in its result: the error is that of ctx, which has ended, and then results say nothing. Data and
// PartitionKeys of the results lie in the call's memory; they are good until its next Invoke. The records' data is not
// touched any more when Invoke has returned.
func (c *Client) Invoke(ctx context.Context, call *Call, results []Result) error {
	if len(results) != len(call.Records) {
		panic("transform: as many results as records")
	}
	call.reset()
	clear(results)
	for from := 0; from < len(call.Records); {
		n, size := call.fit(from)
		if size > MaxRequest { // one record
			results[from].fail(CodeRequestTooLarge, messageRequestTooLarge)
			results[from].Ended = c.now()
		} else if err := c.invoke(ctx, call, from, n, size, results[from:from+n]); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// invoke makes one event of n records and calls the function until there is an answer.
func (c *Client) invoke(ctx context.Context, call *Call, from, n, size int, results []Result) error {
	leave, err := c.enter(ctx, call.Endpoint.place, size)
	if err != nil {
		return err
	}
	defer leave()
	event, answer := c.buffers.Get().(*[]byte), c.buffers.Get().(*[]byte)
	defer func() { c.buffers.Put(event); c.buffers.Put(answer) }()
	*event = call.appendEvent((*event)[:0], from, n)
	for attempt := 1; ; attempt++ {
		began := time.Now()
		failed := c.attempt(ctx, call, *event, answer)
		if failed == nil {
			failed = call.read(*answer, results)
		} else if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		call.attempted(attempt, began, failed)
		if failed == nil || failed.final || attempt > min(max(call.Retries, 0), MaxRetries) {
			end(results, failed, attempt, c.now())
			return nil
		}
		if err := wait(ctx, c.pause(attempt)); err != nil {
			return err
		}
	}
}

// end says of all records how often and until when the function was called, and why in vain.
func end(results []Result, failed *failure, attempts int, ended time.Time) {
	for i := range results {
		r := &results[i]
		if failed != nil {
			*r = Result{}
			r.fail(failed.code, failed.message)
		}
		r.Attempts, r.Ended = attempts, ended
	}
}

// pause gives the time before the next attempt. It is spread, so that many shards do not come back at once.
func (c *Client) pause(attempt int) time.Duration {
	d := longestWait
	if attempt <= 5 {
		d = min(firstWait<<(attempt-1), longestWait)
	}
	return d*85/100 + time.Duration(rand.New(c.ids).Int64N(int64(d)*30/100))
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter waits for the call's turn, and for memory. The event and the answer are counted.
func (c *Client) enter(ctx context.Context, place string, size int) (leave func(), err error) {
	c.mu.Lock()
	t := c.functions[place]
	if t == nil {
		t = &turns{Weighted: semaphore.NewWeighted(maxPerFunction)}
		c.functions[place] = t
	}
	t.users++
	c.mu.Unlock()
	forget := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(c.functions, place)
		}
	}
	if t.Acquire(ctx, 1) != nil {
		forget()
		return nil, context.Cause(ctx)
	}
	weight := 2 * int64(size)
	if c.memory.Acquire(ctx, weight) != nil {
		t.Release(1)
		forget()
		return nil, context.Cause(ctx)
	}
	return func() { c.memory.Release(weight); t.Release(1); forget() }, nil
}

var errCallTime = errors.New("the time of a call is over")

// attempt calls the function once; what it returned is in answer.
func (c *Client) attempt(ctx context.Context, call *Call, event []byte, answer *[]byte) *failure {
	c.ids.AppendUUID(event[invocationAt:invocationAt]) // no reader of the last attempt is left: its body is released
	body := outbound.NewBody(event)
	defer body.Release()
	timed, cancel := context.WithTimeoutCause(ctx, CallTime, errCallTime)
	defer cancel()
	var progress outbound.Progress
	req := outbound.Request(progress.Watch(timed), call.Endpoint.url, body)
	if call.Endpoint.header != "" {
		req.Header.Set(call.Endpoint.header, call.Endpoint.value)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return unreached(timed, progress.Reached(), err)
	}
	defer resp.Body.Close()
	if failed := byStatus(resp.StatusCode); failed != nil {
		return failed
	}
	if resp.Header.Get("X-Amz-Function-Error") != "" {
		return functionError
	}
	if resp.ContentLength > MaxAnswer {
		return functionError // Lambda's word for an answer that is too large
	}
	*answer, err = readAll((*answer)[:0], resp.Body, resp.ContentLength)
	switch {
	case err != nil:
		return unreached(timed, outbound.Connected, err)
	case len(*answer) > MaxAnswer:
		return functionError
	}
	return nil
}

// readAll appends what r has, up to a byte more than an answer may have.
func readAll(dst []byte, r io.Reader, length int64) ([]byte, error) {
	const least = 4 << 10
	if want := int(max(length+1, least)); cap(dst) < want {
		dst = make([]byte, 0, want)
	}
	for len(dst) <= MaxAnswer {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):min(cap(dst), MaxAnswer+1)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
	return dst, nil
}
