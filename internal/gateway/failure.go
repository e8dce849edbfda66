package gateway

// failure is a default gateway response. Those of the integration engine have a space behind the colon, those made
// at the door have none; the 500 was recorded with it.
type failure struct {
	status    int
	errorType string
	body      string
	retry     bool // bears Retry-After
}

var (
	errMissingToken = &failure{status: 403, errorType: "MissingAuthenticationTokenException", body: `{"message":"Missing Authentication Token"}`}
	errForbidden    = &failure{status: 403, errorType: "ForbiddenException", body: `{"message":"Forbidden"}`}
	errTooLarge     = &failure{status: 413, errorType: "RequestTooLargeException", body: `{"message":"Request Too Long"}`}
	errBadJSON      = &failure{status: 400, errorType: "BadRequestException", body: `{"message": "Invalid JSON in request body"}`}
	errMediaType    = &failure{status: 415, errorType: "BadRequestException", body: `{"message": "Unsupported Media Type"}`}
	errInternal     = &failure{status: 500, errorType: "InternalServerErrorException", body: `{"message": "Internal server error"}`}
	errTimeout      = &failure{status: 504, errorType: "InternalServerErrorException", body: `{"message": "Endpoint request timed out"}`}

	errNetwork = &failure{status: 504, errorType: "InternalServerErrorException", body: `{"message": "Network error communicating with endpoint"}`}

	// Of the following only the status is the service's; it documents no text.
	errEncoding      = &failure{status: 400, errorType: "BadRequestException", body: `{"message": "Request body does not match its Content-Encoding"}`}
	errURITooLong    = &failure{status: 414, errorType: "RequestTooLargeException", body: `{"message":"Request-URI Too Long"}`}
	errHeadersTooBig = &failure{status: 431, errorType: "RequestTooLargeException", body: `{"message":"Request Header Fields Too Large"}`}
	// The node's own: a parameter would climb out of an integration's path.
	errBadPath = &failure{status: 400, errorType: "BadRequestException", body: `{"message": "Bad Request"}`}
	// The node's own: a backend has as many requests under way as it may.
	errBusy = &failure{status: 503, errorType: "ServiceUnavailableException", body: `{"message":"Service Unavailable"}`, retry: true}
	// The node's own: its body memory is used up.
	errOverBudget = &failure{status: 503, errorType: "ServiceUnavailableException", body: `{"message":"Service Unavailable"}`, retry: true}
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
		status: 404, errorType: "NotFoundException",
		body: `{"message":"The API id '` + printable(id) + `' does not correspond to a deployed API Gateway API"}`,
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
