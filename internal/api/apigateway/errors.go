package apigateway

import (
	"cmp"
	"errors"
	"net/http"

	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/restapi"
)

// exception is an error as the service sends it: the code travels in a header, the text in the body.
type exception struct {
	code   string
	status int
	text   string
}

// exceptions gives the service's exception for each kind of fault.
var exceptions = map[fault.Kind]exception{
	fault.Invalid:            {code: "BadRequestException", status: http.StatusBadRequest},
	fault.Unsupported:        {code: "BadRequestException", status: http.StatusBadRequest},
	fault.PreconditionFailed: {code: "BadRequestException", status: http.StatusBadRequest},
	fault.Expired:            {code: "BadRequestException", status: http.StatusBadRequest},
	fault.Denied:             {code: "UnauthorizedException", status: http.StatusUnauthorized},
	fault.NotFound:           {code: "NotFoundException", status: http.StatusNotFound},
	fault.InUse:              {code: "ConflictException", status: http.StatusConflict},
	fault.LimitExceeded:      {code: "LimitExceededException", status: http.StatusTooManyRequests},
	fault.Throttled:          {code: "TooManyRequestsException", status: http.StatusTooManyRequests},
	fault.Unavailable:        {code: "ServiceUnavailableException", status: http.StatusServiceUnavailable},
}

// Texts where the cause is ours and none of the caller's business.
const (
	internalText    = "Internal server error"
	unavailableText = "Service unavailable. Please try again later."
)

// retryAfterSeconds goes with 429 and 503; the service sends the header, and its SDKs honour it.
const retryAfterSeconds = "1"

// notJSONText answers a body that is no JSON object.
const notJSONText = "Could not parse request body into json"

// validation is what the checks of the model found.
type validation struct{ text string }

func (v *validation) Error() string { return v.text }

// errUnknownOperation is a method and path that are no call of the service's; it answers with the text of a
// missing signature, as it does to callers of deployed APIs.
var errUnknownOperation = errors.New("no such operation")

// exceptionOf translates an error; internal reports one that must be logged, since the caller is not told.
func exceptionOf(err error) (x exception, internal bool) {
	var wrongType *awswire.SerializationError
	var wrongShape *validation
	var refused *awswire.AuthFault
	switch {
	case errors.As(err, &refused):
		return exception{refused.Code, refused.Status, refused.Message}, false
	case errors.As(err, &wrongType):
		return exception{"SerializationException", http.StatusBadRequest, cmp.Or(wrongType.Message, notJSONText)}, false
	case errors.As(err, &wrongShape):
		return exception{"ValidationException", http.StatusBadRequest, wrongShape.text}, false
	case err == errUnknownOperation:
		return exception{"MissingAuthenticationTokenException", http.StatusForbidden, "Missing Authentication Token"}, false
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		return exception{"InternalServerErrorException", http.StatusInternalServerError, internalText}, true
	}
	x, known := exceptions[f.Kind]
	switch {
	case !known:
		return exception{"InternalServerErrorException", http.StatusInternalServerError, internalText}, true
	case f.Kind == fault.Unavailable:
		x.text = unavailableText
		return x, true
	}
	var broken *restapi.ConstraintError
	if errors.As(err, &broken) {
		x.code = "ValidationException"
	}
	x.text = f.Message()
	return x, false
}

// noSuchAPI is the 404 of an unknown API; resources, methods and models word it differently.
func noSuchAPI(account, id string) error {
	return fault.New(fault.NotFound, "apigateway", id, "Invalid API identifier specified %s:%s", account, id)
}

var errNoSuchResource = fault.New(fault.NotFound, "apigateway", "", "Invalid Resource identifier specified")
