package gateway

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"
)

// Caller takes an answer while it is still coming in: that of an integration whose responseTransferMode is STREAM. It is
// the way back to whoever sent a [Request], as much of it as the gateway needs.
type Caller interface {
	// Await is called once, before the backend is. The context that it gives ends when the caller leaves, and from now
	// on the caller may have to wait for as long as the integration does.
	Await() context.Context
	// Begin sends status and header lines of resp; the body follows by Write. bodyRead: nobody needs Request.Body any
	// more, and its memory can be somebody else's.
	Begin(resp *Response, bodyRead bool)
	// Write sends a piece on at once, and waits while the caller takes it. An error says that the caller takes no more.
	Write(p []byte) (int, error)
}

// The bounds of a stream, beside the integration's timeout, which may be restapi.MaxStreamMillis. The service's third one,
// 2 MB/s from the first 10 MB on, is not here: it is a price of its, and no promise.
const (
	// streamIdle is how long a backend may be silent once its answer has begun: the service's time for regional APIs.
	streamIdle = 5 * time.Minute
	// streamBytes is what one stream holds of an answer at a time, from the budget for answers: with the default there
	// is room for 3072 of them.
	streamBytes = 16 << 10
)

var streamBuffers = sync.Pool{New: func() any { b := make([]byte, streamBytes); return &b }}

// Why a stream ends before its answer is whole.
var (
	errStreamTimeout = errors.New("the integration's timeout has passed")
	errStreamIdle    = errors.New("the endpoint has been silent for " + streamIdle.String())
	errCallerLeft    = errors.New("the caller has left")
	errNotBegun      = errors.New("the answer can't be sent") // and the response says why
)

// streaming is what an exchange knows of an answer that goes on while it comes in.
type streaming struct {
	to    Caller
	begun bool
	sent  int64
	idle  *time.Timer // runs while the backend is waited for

	called, headers, first time.Time // when the backend was called, and what it sent came
}

// streams reports whether the answer goes on while it comes in. Without a caller that takes it so it is gathered, and
// bounded, as any other is.
func (x *exchange) streams() bool { return x.method.streams && x.resp.Caller != nil }

// callStreaming sends the integration request, and the answer on to the caller.
func (x *exchange) callStreaming(ctx context.Context) bool {
	s := &x.streaming
	if budget := x.g.Answers; budget != nil {
		if !budget.Take(streamBytes) {
			x.fail(errOverBudget, "Execution failed: "+errBudget.Error())
			return false
		}
		x.held += streamBytes
	}
	s.to, s.called = x.resp.Caller, x.g.Now()
	limited, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(s.to.Await(), func() { end(errCallerLeft) })()
	defer time.AfterFunc(time.Duration(x.method.timeout)*time.Millisecond, func() { end(errStreamTimeout) }).Stop()
	s.idle = time.AfterFunc(streamIdle, func() { end(errStreamIdle) })
	s.idle.Stop()
	defer s.idle.Stop()

	err := x.g.Sender.Send(limited, &x.call)
	x.keepCall()
	why := context.Cause(limited)
	switch {
	case err == nil || x.refused:
		return err == nil
	case !s.begun:
		return x.unanswered(err, errors.Is(why, errStreamTimeout))
	case x.test != nil && errors.Is(x.call.err, errTestIsFull): // what is there is shown
		return true
	case x.call.err != nil:
		err = x.call.err
	case why != nil:
		err = why
	}
	x.resp.Cut = true
	x.log(true, "Execution failed: the response was cut after "+strconv.FormatInt(s.sent, 10)+" bytes: "+err.Error())
	return true
}

// Begin is called by who sends a request, when Status and Answer are there and before the answer's body: where the answer
// goes on while it comes in, the caller gets its head now. bodyRead: Body has been read whole and is not needed any more.
func (c *Call) Begin(bodyRead bool) error {
	if !c.Streams() {
		return nil
	}
	x := c.x
	s := &x.streaming
	x.keepCall()
	s.headers = x.g.Now()
	x.passHead()
	if x.refused {
		return errNotBegun
	}
	if bodyRead {
		x.forgetBody()
	}
	s.begun, x.resp.Begun = true, true
	s.to.Begin(x.resp, bodyRead)
	return nil
}

// Streams reports whether what is read from the backend goes on to the caller, so that Expect has nothing to make room for.
func (c *Call) Streams() bool { return c.x != nil && c.x.streaming.to != nil }

// pass sends on all that r gives, as it comes, in the memory of one piece.
func (c *Call) pass(r io.Reader) (int64, error) {
	s := &c.x.streaming
	buffer := streamBuffers.Get().(*[]byte)
	defer streamBuffers.Put(buffer)
	for {
		s.idle.Reset(streamIdle)
		n, err := r.Read(*buffer)
		s.idle.Stop() // a caller who is slow to take it is front's to time
		if n > 0 {
			if s.sent == 0 {
				s.first = c.x.g.Now()
			}
			m, lost := s.to.Write((*buffer)[:n])
			if s.sent += int64(m); lost != nil {
				if c.err = lost; !errors.Is(lost, errTestIsFull) {
					c.err = errCallerLeft
				}
				return s.sent, c.err
			}
		}
		switch {
		case err == io.EOF:
			return s.sent, nil
		case err != nil:
			return s.sent, err
		}
	}
}

// forgetBody lets go of the payload, long before the exchange ends.
func (x *exchange) forgetBody() {
	x.body, x.req.Body, x.call.Body, x.in.Body = nil, nil, nil, ""
	clear(x.mapped)
	x.mapped = x.mapped[:0]
	if x.reserved > 0 {
		x.g.Budget.Give(x.reserved)
		x.inflated, x.reserved = nil, 0
	}
}

// The bounds of a streamed answer to a test, the service's: when one is reached, the test shows what is there.
const (
	testStreamTime  = 35 * time.Second
	testStreamBytes = 1 << 20
)

var errTestIsFull = errors.New("a test shows no more than 1 MB of a stream")

// testCaller gathers a streamed answer for a test.
type testCaller struct {
	ctx  context.Context
	end  context.CancelFunc
	body []byte
}

func newTestCaller(ctx context.Context) *testCaller {
	c := &testCaller{}
	c.ctx, c.end = context.WithTimeout(ctx, testStreamTime)
	return c
}

func (c *testCaller) Await() context.Context { return c.ctx }
func (c *testCaller) Begin(*Response, bool)  {}

func (c *testCaller) Write(p []byte) (int, error) {
	n := min(len(p), testStreamBytes-len(c.body))
	c.body = append(c.body, p[:n]...)
	if n < len(p) {
		return n, errTestIsFull
	}
	return n, nil
}

// finish shows what has come. A status that did not come in time is 0.
func (c *testCaller) finish(resp *Response) {
	switch {
	case resp.Begun:
		resp.Body = c.body
	case c.ctx.Err() != nil:
		resp.Status, resp.Body = 0, nil
	}
}
