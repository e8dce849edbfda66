package kinesis

import (
	"context"
	"errors"

	"github.com/aws/smithy-go"

	"millrace/internal/fault"
)

// byCode gives the kinds of the service's exceptions. What is missing here is Unavailable: faults of the service, and
// those of the node's own credentials and keys, which are the operator's to mend while senders try again.
var byCode = map[string]fault.Kind{
	"ResourceNotFoundException":              fault.NotFound,
	"ResourceInUseException":                 fault.InUse,
	"LimitExceededException":                 fault.LimitExceeded,
	"InvalidArgumentException":               fault.Invalid,
	"ValidationException":                    fault.Invalid,
	"SerializationException":                 fault.Invalid,
	"UnknownOperationException":              fault.Unsupported,
	"ExpiredIteratorException":               fault.Expired,
	"ExpiredNextTokenException":              fault.Expired,
	"ProvisionedThroughputExceededException": fault.Throttled,
	"ThrottlingException":                    fault.Throttled,
	"Throttling":                             fault.Throttled,
	"RequestLimitExceeded":                   fault.Throttled,
	"TooManyRequestsException":               fault.Throttled,
	"KMSThrottlingException":                 fault.Throttled,
	"AccessDeniedException":                  fault.Denied,
	"AccessDenied":                           fault.Denied,
	"KMSAccessDeniedException":               fault.Denied,
}

// faultOf gives an error of a call its kind. A call that got no answer is Unavailable: whether it was done is unknown.
func faultOf(op, resource string, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	if code, message, ok := said(err); ok {
		kind, listed := byCode[code]
		if !listed {
			return fault.New(fault.Unavailable, op, resource, "Amazon Kinesis: %s: %s", code, message)
		}
		if message == "" {
			message = code
		}
		return fault.New(kind, op, resource, "%s", message)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Unavailable, op, resource, "Amazon Kinesis has not answered in time: %w", err)
	}
	return fault.New(fault.Unavailable, op, resource, "Amazon Kinesis: %w", err)
}

// said gives the exception that the service answered with.
func said(err error) (code, message string, ok bool) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return "", "", false
	}
	return api.ErrorCode(), api.ErrorMessage(), true
}

func errNoStream(op, name string) error { return fault.New(fault.NotFound, op, name, "no such stream") }
