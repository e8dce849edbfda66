package gateway

import (
	"context"
	"errors"
	"io"
)

// Actions finds what an integration of type AWS calls: service "kinesis", name "PutRecord". A service whose
// operations are told apart by verb and path, as Amazon S3's are, has one action for all, named [ByPath]. Actions is
// asked when a definition is compiled, and per request only where the service or the name holds variables.
type Actions interface {
	Action(service, name string) (Action, bool)
}

// ByPath names the action that a uri such as "arn:aws:apigateway:us-east-1:s3:path/{bucket}/{key}" calls.
const ByPath = "path"

// Action runs an AWS operation in process. When it answers with success, what it was to store is durable. It must
// not keep call or anything of it, and should give up when ctx ends: before it has stored anything, or not at all.
type Action func(ctx context.Context, call *Call)

// Sender sends the requests of HTTP integrations. Package httpcall has the one that ships: types of net/http end
// there, as those of the callers' side end in front, so that the way of a request can be read, and tested, without
// either.
type Sender interface {
	// Send sends the request that call holds and fills in the answer: Status, Answer, then Begin, and Out by Expect,
	// Write or ReadFrom; of a call that Streams by ReadFrom alone. It keeps nothing of call, and returns when ctx ends.
	// Redirects are answers as any other.
	//
	// Errors are fault.Error: Invalid when Target leads to no host, Throttled when too many requests to that host
	// are under way, Unavailable for all else that kept an answer from coming whole.
	Send(ctx context.Context, call *Call) error
}

// Call is one run of an [Action] or a [Sender].
type Call struct {
	Body        []byte // the integration request; valid until the action returns
	ContentType string // of Body, as the definition or the caller says; services in this house read JSON whatever it says

	// Of calls by path and of HTTP integrations.
	Verb        string
	Target      string // percent-encoded: "/bucket/key", or the whole url of an HTTP integration, with its query
	Query       string // encoded, without the question mark; of actions of either kind
	Header      Header // all lines to send; Host among them only when the definition sets it
	InsecureTLS bool   // take certificates that no known authority has signed

	Status  int     // of the answer, as the service would send it
	Answer  Header  // the answer's header lines; of calls by path and of HTTP integrations
	Out     []byte  // the answer's body is appended to it
	Outcome Outcome // what the caller can make of the answer

	x     *exchange // whose budget Out is taken from
	taken int64     // of the budget, for Out
	err   error     // why the answer was not taken whole
}

// pathAndQuery shows where a call by path goes.
func (c *Call) pathAndQuery() string {
	if c.Query == "" {
		return c.Target
	}
	return c.Target + "?" + c.Query
}

// Outcome says what a caller can make of an answer.
type Outcome uint8

// The outcomes.
const (
	OK          Outcome = iota
	Throttled           // the same call succeeds later
	Unavailable         // nothing was stored, or it is unknown; also a batch in which every record failed
	Refused             // the same call can never succeed
)

// maxAnswerBytes bounds a backend's answer, from the service's quotas.
const maxAnswerBytes = maxBodyBytes

var errAnswerTooLong = errors.New("the answer is larger than 10485760 bytes")

// Expect makes room for an answer of n bytes. An error says that it can't be taken; Send and actions then end.
func (c *Call) Expect(n int64) error {
	if n > maxAnswerBytes {
		c.err = errAnswerTooLong
		return c.err
	}
	return c.grow(int(n))
}

// Write appends to the answer.
func (c *Call) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(c.Out)+len(p) > maxAnswerBytes {
		c.err = errAnswerTooLong
		return 0, c.err
	}
	if err := c.grow(len(p)); err != nil {
		return 0, err
	}
	c.Out = append(c.Out, p...)
	return len(p), nil
}

// answerStep is what an answer of unknown length is given first; it doubles from there.
const answerStep = 4 << 10

// ReadFrom appends all that r gives to the answer, or sends it on.
func (c *Call) ReadFrom(r io.Reader) (int64, error) {
	if c.Streams() {
		return c.pass(r)
	}
	begin := len(c.Out)
	for {
		if len(c.Out) == cap(c.Out) {
			if err := c.grow(max(cap(c.Out), answerStep)); err != nil {
				return int64(len(c.Out) - begin), err
			}
		}
		n, err := r.Read(c.Out[len(c.Out):cap(c.Out)])
		c.Out = c.Out[:len(c.Out)+n]
		switch {
		case len(c.Out) > maxAnswerBytes:
			c.err = errAnswerTooLong
			return int64(len(c.Out) - begin), c.err
		case err == io.EOF:
			return int64(len(c.Out) - begin), nil
		case err != nil:
			return int64(len(c.Out) - begin), err
		}
	}
}

// grow makes room for n more bytes, taken from the budget before it is made. What the pool has given is free, for it is
// small and there already; what is made in its place is taken whole.
func (c *Call) grow(n int) error {
	need := len(c.Out) + n
	if need <= cap(c.Out) {
		return nil
	}
	size := max(need, min(2*cap(c.Out), maxAnswerBytes+1))
	if x := c.x; x != nil && x.g.Answers != nil {
		more := int64(size) - c.taken
		if !x.g.Answers.Take(more) {
			c.err = errBudget
			return c.err
		}
		x.held, c.taken = x.held+more, int64(size)
	}
	larger := make([]byte, len(c.Out), size)
	copy(larger, c.Out)
	c.Out = larger
	return nil
}
