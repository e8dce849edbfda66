package firehose

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"millrace/internal/awsmodel/firehosewire"
	"millrace/internal/awswire"
	"millrace/internal/delivery"
	"millrace/internal/fault"
)

// exceptions gives the service's exception for each kind of fault.
var exceptions = map[fault.Kind]awswire.ErrorType{
	fault.Invalid:            firehosewire.ErrInvalidArgument,
	fault.Unsupported:        firehosewire.ErrInvalidArgument,
	fault.Expired:            firehosewire.ErrInvalidArgument,
	fault.NotFound:           firehosewire.ErrResourceNotFound,
	fault.InUse:              firehosewire.ErrResourceInUse,
	fault.LimitExceeded:      firehosewire.ErrLimitExceeded,
	fault.PreconditionFailed: firehosewire.ErrConcurrentModification,
	fault.Throttled:          firehosewire.ErrServiceUnavailable,
	fault.Unavailable:        firehosewire.ErrServiceUnavailable,
	fault.Denied:             {Code: "AccessDeniedException", Status: http.StatusBadRequest},
}

// Errors that every service has and no model names.
var (
	errInternalFailure  = awswire.ErrorType{Code: "InternalFailure", Status: http.StatusInternalServerError}
	errInvalidParameter = awswire.ErrorType{Code: "InvalidParameterValueException", Status: http.StatusBadRequest}
	errValidation       = awswire.ErrorType{Code: "ValidationException", Status: http.StatusBadRequest}
	errUnknownOperation = awswire.ErrorType{Code: "UnknownOperationException", Status: http.StatusBadRequest}
)

// Texts where the cause is ours and none of the caller's business.
const (
	slowDownText    = "Slow down."
	unavailableText = "Service unavailable. Please try again."
)

// exception is an error as it is sent.
type exception struct {
	outcome  Outcome
	status   int
	code     string
	text     string
	broken   *awswire.SerializationError // it has a body of its own
	internal bool                        // to be logged: the caller is not told the cause
}

func (x *exception) append(dst []byte) []byte {
	if x.broken != nil {
		return awswire.AppendSerializationError(dst, x.broken)
	}
	return awswire.AppendJSONError(dst, x.code, x.text)
}

// validation is what the checks of the model found.
type validation struct{ text string }

func (v *validation) Error() string { return v.text }

// validationMark begins the text of a broken constraint. The engine words those of definition files itself.
const validationMark = "1 validation error detected: "

func exceptionOf(err error) exception {
	var broken *awswire.SerializationError
	var wrong *validation
	switch {
	case errors.As(err, &broken):
		return exception{outcome: Refused, status: http.StatusBadRequest, broken: broken}
	case errors.As(err, &wrong):
		return exception{outcome: Refused, status: errValidation.Status, code: errValidation.Code, text: wrong.text}
	case errors.Is(err, errNoSuchOperation):
		return exception{outcome: Refused, status: errUnknownOperation.Status, code: errUnknownOperation.Code}
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		return exception{outcome: Unavailable, status: errInternalFailure.Status, code: errInternalFailure.Code, internal: true}
	}
	t, known := exceptions[f.Kind]
	switch {
	case !known:
		return exception{outcome: Unavailable, status: errInternalFailure.Status, code: errInternalFailure.Code, internal: true}
	case f.Kind == fault.Throttled:
		return exception{outcome: Throttled, status: t.Status, code: t.Code, text: slowDownText}
	case f.Kind == fault.Unavailable:
		return exception{outcome: Unavailable, status: t.Status, code: t.Code, text: unavailableText, internal: !gaveUp(err)}
	case strings.HasPrefix(f.Message(), validationMark):
		t = errValidation
	case errors.As(err, new(delivery.InvalidParameter)):
		t = errInvalidParameter
	}
	return exception{outcome: Refused, status: t.Status, code: t.Code, text: f.Message()}
}

// gaveUp reports whether an error is only that the caller has gone.
func gaveUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

var errNoSuchOperation = errors.New("no such operation")

// unknownOperation tells an operation that is not done yet from one that does not exist.
func unknownOperation(name string) error {
	if slices.Contains(firehosewire.Operations, name) {
		return fault.New(fault.Unsupported, "firehose", name, "%s is not supported by this version of Millrace", name)
	}
	return errNoSuchOperation
}
