package gateway

import "millrace/internal/gateway/mapping"

// failure is a case in which the gateway itself answers: what callers are told by default, and under which type an
// API can set an answer of its own.
//
// A step of the request path that refuses a request calls exchange.fail with one of the failures below, or with one
// that [failure.because] or [failure.detailed] made of it; the rest, from the default body to customised ones, is done here.
type failure struct {
	kind      kind
	status    int
	errorType string // x-amzn-ErrorType
	message   string // $context.error.message; empty: null
	// validation is $context.error.validationErrorString: what in particular is wrong with a body.
	validation string
	form       form
	retry      bool // bears Retry-After
}

// because gives a failure of the same kind with a message of its own.
func (f *failure) because(message string) *failure {
	own := *f
	own.message = message
	return &own
}

// detailed gives a failure of the same kind that also says what in particular is wrong with the body.
func (f *failure) detailed(validation string) *failure {
	own := *f
	own.validation = validation
	return &own
}

// kind is the type of a gateway response: an index into restapi.ResponseTypes. A failure whose text the service
// lets nobody change has kindFixed.
type kind uint8

// The kinds, in the order of restapi.ResponseTypes.
const (
	kindRequestTooLarge kind = iota
	kindResourceNotFound
	kindAuthorizerConfiguration
	kindMissingToken
	kindBadBody
	kindInvalidSignature
	kindInvalidKey
	kindBadParameters
	kindAuthorizerFailure
	kindUnauthorized
	kindTimeout
	kindAccessDenied
	kindDefault4XX
	kindDefault5XX
	kindWAFFiltered
	kindQuotaExceeded
	kindThrottled
	kindConfiguration
	kindMediaType
	kindIntegration
	kindExpiredToken

	kinds
	kindFixed = kinds
)

// form is how a default body is written. Those of the integration engine have a space behind the colon, those made
// at the door have none; the 500 was recorded with it. Denials by policies begin with a capital.
type form uint8

const (
	atDoor form = iota
	inEngine
	byPolicy
)

var formStarts = [...]string{atDoor: `{"message":`, inEngine: `{"message": `, byPolicy: `{"Message":`}

// appendBody appends the default body.
func (f *failure) appendBody(b []byte) []byte {
	b = append(b, formStarts[f.form]...)
	b = mapping.AppendMessage(b, f.message)
	return append(b, '}')
}

// The failures that are told from one another. Texts that depend on the request come by because.
var (
	errMissingToken = &failure{kind: kindMissingToken, status: 403, errorType: "MissingAuthenticationTokenException", message: "Missing Authentication Token"}
	errTooLarge     = &failure{kind: kindRequestTooLarge, status: 413, errorType: "RequestTooLargeException", message: "Request Too Long"}

	errInvalidKey = &failure{kind: kindInvalidKey, status: 403, errorType: "ForbiddenException", message: "Forbidden"}
	errThrottled  = &failure{kind: kindThrottled, status: 429, errorType: "TooManyRequestsException", message: "Too Many Requests"}
	errQuota      = &failure{kind: kindQuotaExceeded, status: 429, errorType: "LimitExceededException", message: "Limit Exceeded"}

	errUnauthorized            = &failure{kind: kindUnauthorized, status: 401, errorType: "UnauthorizedException", message: "Unauthorized"}
	errAccessDenied            = &failure{kind: kindAccessDenied, status: 403, errorType: "AccessDeniedException", form: byPolicy, message: "User is not authorized to access this resource"}
	errInvalidSignature        = &failure{kind: kindInvalidSignature, status: 403, errorType: "InvalidSignatureException", message: "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
	errExpiredToken            = &failure{kind: kindExpiredToken, status: 403, errorType: "ExpiredTokenException", message: "The security token included in the request is expired"}
	errAuthorizerFailure       = &failure{kind: kindAuthorizerFailure, status: 500, errorType: "AuthorizerFailureException"}
	errAuthorizerConfiguration = &failure{kind: kindAuthorizerConfiguration, status: 500, errorType: "AuthorizerConfigurationException"}

	errBadParameters = &failure{kind: kindBadParameters, status: 400, errorType: "BadRequestException", form: inEngine, message: "Missing required request parameters: []"}
	errBadBody       = &failure{kind: kindBadBody, status: 400, errorType: "BadRequestException", form: inEngine, message: "Invalid request body"}
	errBadJSON       = &failure{kind: kindDefault4XX, status: 400, errorType: "BadRequestException", form: inEngine, message: "Invalid JSON in request body"}
	errMediaType     = &failure{kind: kindMediaType, status: 415, errorType: "BadRequestException", form: inEngine, message: "Unsupported Media Type"}

	errInternal      = &failure{kind: kindDefault5XX, status: 500, errorType: "InternalServerErrorException", form: inEngine, message: "Internal server error"}
	errConfiguration = &failure{kind: kindConfiguration, status: 500, errorType: "InternalServerErrorException", form: inEngine, message: "Internal server error"}
	errTimeout       = &failure{kind: kindTimeout, status: 504, errorType: "InternalServerErrorException", form: inEngine, message: "Endpoint request timed out"}
	errNetwork       = &failure{kind: kindIntegration, status: 504, errorType: "InternalServerErrorException", form: inEngine, message: "Network error communicating with endpoint"}

	// No stage is known where this is said, so that no API can have set it.
	errForbidden = &failure{kind: kindFixed, status: 403, errorType: "ForbiddenException", message: "Forbidden"}

	// Of the following only the status is the service's; it documents no text.
	errEncoding      = &failure{kind: kindDefault4XX, status: 400, errorType: "BadRequestException", form: inEngine, message: "Request body does not match its Content-Encoding"}
	errURITooLong    = &failure{kind: kindFixed, status: 414, errorType: "RequestTooLargeException", message: "Request-URI Too Long"}
	errHeadersTooBig = &failure{kind: kindFixed, status: 431, errorType: "RequestTooLargeException", message: "Request Header Fields Too Large"}
	// The node's own: a parameter would climb out of an integration's path.
	errBadPath = &failure{kind: kindDefault4XX, status: 400, errorType: "BadRequestException", form: inEngine, message: "Bad Request"}
	// The node's own: a backend has as many requests under way as it may.
	errBusy = &failure{kind: kindDefault5XX, status: 503, errorType: "ServiceUnavailableException", message: "Service Unavailable", retry: true}
	// The node's own: its body memory is used up.
	errOverBudget = &failure{kind: kindDefault5XX, status: 503, errorType: "ServiceUnavailableException", message: "Service Unavailable", retry: true}
)

// The limits of a request, from the service's quotas.
const (
	maxBodyBytes   = 10 << 20 // payload, sent and inflated
	maxURIBytes    = 10240    // path and query
	maxHeaderBytes = 10240    // names and values
)

// retryAfterSeconds is what a caller is told to wait after a 503: the shortest that header can say.
const retryAfterSeconds = "1"

// unknownAPI answers for an API that does not exist; on the service its name would not resolve.
func unknownAPI(id string) *failure {
	const enough = 64
	if len(id) > enough {
		id = id[:enough]
	}
	return &failure{
		kind: kindFixed, status: 404, errorType: "NotFoundException",
		message: "The API id '" + printable(id) + "' does not correspond to a deployed API Gateway API",
	}
}

// printable keeps what stands in an id and can't harm a JSON text.
func printable(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			b[i] = '?'
		}
	}
	return string(b)
}
