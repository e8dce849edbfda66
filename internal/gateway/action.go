package gateway

import "context"

// Actions finds what an integration of type AWS calls: service "kinesis", name "PutRecord". It is asked when a
// definition is compiled, and per request only where a uri holds variables.
type Actions interface {
	Action(service, name string) (Action, bool)
}

// Action runs an AWS operation in process. When it answers with success, what it was to store is durable. It must
// not keep call or anything of it, and should give up when ctx ends: before it has stored anything, or not at all.
type Action func(ctx context.Context, call *Call)

// Call is one run of an [Action].
type Call struct {
	Body        []byte // the integration request; valid until the action returns
	ContentType string // of Body, as the definition or the caller says; services in this house read JSON whatever it says

	Status  int     // of the answer, as the service would send it
	Out     []byte  // the answer's body is appended to it
	Outcome Outcome // what the caller can make of the answer
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
