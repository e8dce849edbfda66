package front

import (
	"errors"
	"net/http"

	"millrace/internal/awswire"
)

// retryAfterSeconds is what a caller is told to wait after a 503: the shortest that the header can say.
const retryAfterSeconds = "1"

// refusal is why the front answers itself.
type refusal struct {
	status int
	code   string
	text   string
	inner  bool // one of the integration engine's answers: they have a blank after the colon, those of the door none
}

// Of these only the first is the service's, text and all; it has no text for the others.
//
// Source: API Gateway developer guide, quotas (10 MB).
var (
	tooLarge    = &refusal{http.StatusRequestEntityTooLarge, "RequestTooLargeException", "Request Too Long", false}
	overBudget  = &refusal{http.StatusServiceUnavailable, "ServiceUnavailableException", "Service Unavailable", false}
	tooSlow     = &refusal{http.StatusRequestTimeout, "RequestTimeoutException", "Request Timeout", false}
	brokenBody  = &refusal{http.StatusBadRequest, "BadRequestException", "Request body could not be read", false}
	serverFault = &refusal{http.StatusInternalServerError, "InternalServerErrorException", "Internal server error", true}
)

// doorFailure words what reading a body has returned, and counts it.
func doorFailure(err error, s *stats) *refusal {
	var limit *http.MaxBytesError
	switch {
	case errors.Is(err, errOverBudget):
		s.overBudget.Add(1)
		return overBudget
	case errors.Is(err, errTooLarge), errors.As(err, &limit):
		s.tooLarge.Add(1)
		return tooLarge
	case slow(err):
		s.tooSlow.Add(1)
		return tooSlow
	}
	// Sent wrongly, or its caller is gone and nobody reads the answer.
	s.broken.Add(1)
	return brokenBody
}

// refuse answers an execute-api call as API Gateway answers what it stops at its door. The body may be unread;
// the connection is not used again, for nobody is to wait for the rest.
func (h *events) refuse(w http.ResponseWriter, why *refusal) {
	header := w.Header()
	clear(header)
	header["x-amzn-RequestId"] = []string{h.ids.UUID()}
	header["x-amz-apigw-id"] = []string{h.ids.ExtendedRequestID()}
	header["x-amzn-ErrorType"] = []string{why.code}
	if why.status == http.StatusServiceUnavailable {
		header["Retry-After"] = []string{retryAfterSeconds}
	}
	header["Connection"] = []string{"close"}
	body := `{"message":"` + why.text + `"}`
	if why.inner {
		body = `{"message": "` + why.text + `"}`
	}
	awswire.WriteBody(w, why.status, awswire.TypeJSON, []byte(body))
}
