package front

import (
	"net/http"
	"strings"

	"millrace/internal/awswire"
)

// unserved names the service that a call was for.
func unserved(service Service) string {
	name := "This service"
	if service != "" {
		name = "The service " + short(string(service))
	}
	return name + " is not part of this version of Millrace, which speaks kinesis, firehose, apigateway, s3 and execute-api."
}

// protocol is a form of error bodies.
type protocol uint8

const (
	jsonProtocol protocol = iota // JSON 1.1 and REST-JSON: both read __type, message, and the header
	cborProtocol                 // CBOR 1.1: the map that JSON 1.1 has
	s3Protocol
	queryProtocol // Query, and REST-XML other than S3's
)

// restXML are services beside S3 whose calls look like REST-JSON but want XML.
var restXML = map[Service]bool{"cloudfront": true, "route53": true}

// protocolOf guesses in which form the caller can read an error, for a service that is not there to say so.
func protocolOf(r *http.Request, service Service) protocol {
	switch {
	case service == S3:
		return s3Protocol
	case contentType(r) == awswire.TypeCBOR11:
		return cborProtocol
	case restXML[service], strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
		return queryProtocol
	}
	return jsonProtocol
}

// contentType is a request's without its parameters.
func contentType(r *http.Request) string {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.TrimSpace(media)
}

// refuse answers a call of the AWS endpoint in place of its service, in the service's form. The body may be unread;
// the connection is not used again, so that nobody waits for the rest.
func (e *endpoint) refuse(w http.ResponseWriter, r *http.Request, service Service, status int, code, message string) {
	h := w.Header()
	clear(h) // of what a service has meant for its own answer
	if status == http.StatusServiceUnavailable {
		h["Retry-After"] = []string{retryAfterSeconds}
	}
	id := awswire.SetRequestID(h, e.ids)
	h["Connection"] = []string{"close"}
	switch protocolOf(r, service) {
	case s3Protocol:
		switch code { // S3 has names of its own
		case "AccessDeniedException":
			code = "AccessDenied"
		case "InternalFailure":
			code, message = "InternalError", "We encountered an internal error. Please try again."
		}
		h["X-Amz-Request-Id"] = []string{id}
		awswire.WriteBody(w, status, awswire.TypeXML, awswire.AppendXMLError(nil, code, message, awswire.XMLField{Name: "RequestId", Text: id}))
	case queryProtocol:
		body := awswire.OpenElement([]byte(awswire.XMLHeader), "ErrorResponse")
		body = append(body, "<Error>"...)
		body = awswire.AppendElement(body, "Type", "Sender")
		body = awswire.AppendElement(body, "Code", code)
		body = awswire.AppendElement(body, "Message", message)
		body = append(body, "</Error>"...)
		body = awswire.AppendElement(body, "RequestId", id)
		awswire.WriteBody(w, status, "text/xml", awswire.CloseElement(body, "ErrorResponse"))
	case cborProtocol:
		h["X-Amzn-Errortype"] = []string{code}
		awswire.WriteBody(w, status, awswire.TypeCBOR11, awswire.AppendCBORError(nil, code, message))
	default:
		h["X-Amzn-Errortype"] = []string{code}
		contentType := awswire.TypeJSON11
		if r.Header.Get("X-Amz-Target") == "" {
			contentType = awswire.TypeJSON
		}
		awswire.WriteBody(w, status, contentType, awswire.AppendJSONError(nil, code, message))
	}
}
