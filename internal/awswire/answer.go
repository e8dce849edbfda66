package awswire

import (
	"net/http"
	"strconv"

	"millrace/internal/ids"
)

// Content types of the protocols.
const (
	TypeJSON11 = "application/x-amz-json-1.1"
	TypeCBOR11 = "application/x-amz-cbor-1.1"
	TypeJSON   = "application/json"
	TypeXML    = "application/xml"
)

// SetRequestID gives an answer the id that SDKs show with an error, and returns it.
func SetRequestID(h http.Header, source *ids.Source) string {
	id := source.UUID()
	h["X-Amzn-Requestid"] = []string{id}
	return id
}

// SetHostID adds the x-amz-id-2 that Kinesis, Firehose and S3 send beside the request id, size bytes in base64, and returns it.
func SetHostID(h http.Header, source *ids.Source, size int) string {
	id := source.HostID(size)
	h["X-Amz-Id-2"] = []string{id}
	return id
}

// AppendJSONError appends the error body of JSON 1.1: {"__type":"X","message":"…"}; an empty message is left out.
func AppendJSONError(dst []byte, code, message string) []byte {
	dst = append(dst, `{"__type":`...)
	dst = AppendString(dst, code)
	if message != "" {
		dst = append(dst, `,"message":`...)
		dst = AppendString(dst, message)
	}
	return append(dst, '}')
}

// AppendSerializationError appends the error body of a member of the wrong type. Its Message is in upper case,
// as the services send it.
func AppendSerializationError(dst []byte, e *SerializationError) []byte {
	dst = append(dst, `{"__type":"SerializationException"`...)
	if e.Message != "" {
		dst = append(dst, `,"Message":`...)
		dst = AppendString(dst, e.Message)
	}
	return append(dst, '}')
}

// WriteRESTError answers a REST-JSON request: the code in a header, {"message":…} as the body.
func WriteRESTError(w http.ResponseWriter, status int, code, message string) {
	body := append([]byte(`{"message":`), AppendString(nil, message)...)
	w.Header().Set("X-Amzn-Errortype", code)
	WriteBody(w, status, TypeJSON, append(body, '}'))
}

// XMLField is an element of an XML error beside code and message: {"BucketName", "logs"}.
type XMLField struct{ Name, Text string }

// AppendXMLError appends the error body of REST-XML, a whole document; fields keep their order, empty ones are
// left out.
func AppendXMLError(dst []byte, code, message string, fields ...XMLField) []byte {
	dst = append(dst, XMLHeader...)
	dst = append(dst, "<Error>"...)
	dst = AppendElement(dst, "Code", code)
	dst = AppendElement(dst, "Message", message)
	for _, f := range fields {
		if f.Text != "" {
			dst = AppendElement(dst, f.Name, f.Text)
		}
	}
	return append(dst, "</Error>"...)
}

// WriteBody sends a whole body with its length. An empty contentType sends none.
func WriteBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	values := [...]string{contentType, strconv.Itoa(len(body))} // both in one piece of memory
	if contentType == "" {
		h["Content-Type"] = nil // keeps net/http from guessing
	} else {
		h["Content-Type"] = values[0:1:1]
	}
	h["Content-Length"] = values[1:2:2]
	w.WriteHeader(status)
	if len(body) > 0 {
		_, _ = w.Write(body) // the caller is gone; there is nobody to tell
	}
}
