// Package fault owns the errors that a caller of Millrace may see.
//
// Domain code returns an [Error] with a [Kind] from a closed list; it never knows
// HTTP. Each surface (api/kinesis, api/firehose, api/s3, …) owns one table from
// kind and resource to the exception, status and text that its service would send.
//
//	engine:  fault.New(fault.NotFound, "stream.Append", name, "no such stream")
//	surface: errors.go: NotFound -> ResourceNotFoundException, 400
//
// An error that carries no Kind counts as [Internal]: it is a fault of ours, is
// logged, and its text never reaches a caller.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what a caller can do about an error.
type Kind uint8

const (
	// Internal is a fault of this program; the zero value, so that an unclassified error never looks like the caller's.
	Internal Kind = iota
	// Invalid input: the same call can never succeed.
	Invalid
	// NotFound: the named thing does not exist.
	NotFound
	// InUse: the named thing exists already, or its state forbids the call.
	InUse
	// LimitExceeded: a count or size limit of the service.
	LimitExceeded
	// Throttled: a rate limit; the same call succeeds later.
	Throttled
	// Expired: a token that was good once.
	Expired
	// Denied: authentication or authorization.
	Denied
	// Unsupported: what AWS knows and Millrace does not do; the text names it.
	Unsupported
	// Unavailable: nothing was done, or its outcome is unknown; retry later. A full disk, a stop in progress.
	Unavailable
	// Corrupt: stored bytes are not what was written; the text names file and offset.
	Corrupt
	// PreconditionFailed: a condition that the caller attached does not hold (If-None-Match, a stale version id).
	PreconditionFailed
)

var kindNames = [...]string{
	Internal: "internal", Invalid: "invalid", NotFound: "not found", InUse: "in use",
	LimitExceeded: "limit exceeded", Throttled: "throttled", Expired: "expired", Denied: "denied",
	Unsupported: "unsupported", Unavailable: "unavailable", Corrupt: "corrupt",
	PreconditionFailed: "precondition failed",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Error is what domain code returns.
type Error struct {
	Kind     Kind
	Op       string // package.Operation: "stream.Append"
	Resource string // name of the thing: "class-stream", "bucket/key"; may be empty
	Err      error  // the cause, in words for the caller or operator
}

// New makes an Error whose cause is the formatted text; %w in format wraps.
func New(kind Kind, op, resource, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Resource: resource, Err: fmt.Errorf(format, args...)}
}

// Error prints operation, resource, cause.
func (e *Error) Error() string {
	switch {
	case e.Op == "" && e.Resource == "":
		return e.Message()
	case e.Resource == "":
		return e.Op + ": " + e.Message()
	default:
		return e.Op + " " + e.Resource + ": " + e.Message()
	}
}

// Message is the cause alone: what a surface may show to its caller.
func (e *Error) Message() string {
	if e.Err == nil {
		return e.Kind.String()
	}
	return e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf gives the kind of the outermost [Error] in err's chain, [Internal] when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is of the given kind. A nil error is of no kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// ErrLowSpace is the cause of an Unavailable error when the disk has reached its low-space mark.
var ErrLowSpace = errors.New("disk space is below the low-space mark")
