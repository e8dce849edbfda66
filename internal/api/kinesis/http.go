package kinesis

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/awswire"
)

// The bodies of refusals that come before any operation.
//
// Source: recorded from the service.
const (
	deniedXML        = "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be authorized</Message>\n</AccessDeniedException>\n"
	unknownXML       = "<UnknownOperationException/>\n"
	plainSerializing = `{"Output":{"__type":"com.amazon.coral.service#SerializationException"},"Version":"1.0"}`
	plainUnknown     = `{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}`

	exposedHeaders = "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date"
	preflightAge   = "172800"
	hostIDBytes    = 72

	// rpcV2 is another way to send CBOR, which the service's model does not list.
	rpcV2        = "rpc-v2-cbor"
	rpcV2Type    = "application/cbor"
	rpcV2Refused = "Kinesis does not speak the protocol rpc-v2-cbor: send the operation in X-Amz-Target, and a body of type " +
		awswire.TypeJSON11 + " or " + awswire.TypeCBOR11 + "."
)

// ServeHTTP answers a call of the AWS endpoint. The first check that fails answers, in the service's order.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	awswire.SetRequestID(w.Header(), s.IDs)
	if r.Header.Get("Origin") != "" && crossOrigin(w, r) {
		return
	}
	awswire.SetHostID(w.Header(), s.IDs, hostIDBytes)
	if r.Method != http.MethodPost {
		awswire.WriteBody(w, http.StatusForbidden, "", []byte(deniedXML))
		return
	}
	if r.Header.Get("Smithy-Protocol") == rpcV2 {
		w.Header().Set("Smithy-Protocol", rpcV2)
		awswire.WriteBody(w, http.StatusBadRequest, rpcV2Type, awswire.AppendCBORError(nil, unknownOperation.Code, rpcV2Refused))
		return
	}
	b := buffers.Get().(*buffer)
	if !b.read(w, r) {
		b.release()
		return
	}
	u := s.answer(w, r, b)
	b.release() // before the subscription, which may last minutes; a call that panics keeps it
	if u != nil {
		u.serve(w)
	}
}

// crossOrigin adds what browsers ask for; true when the request was a preflight and is answered.
func crossOrigin(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	if r.Method != http.MethodOptions {
		h.Set("Access-Control-Expose-Headers", exposedHeaders)
		return false
	}
	h.Set("Access-Control-Max-Age", preflightAge)
	if v := r.Header.Get("Access-Control-Request-Headers"); v != "" {
		h.Set("Access-Control-Allow-Headers", v)
	}
	if v := r.Header.Get("Access-Control-Request-Method"); v != "" {
		h.Set("Access-Control-Allow-Methods", v)
	}
	awswire.WriteBody(w, http.StatusOK, "", nil)
	return true
}

// answer takes the checks that need the body, and runs the operation. A subscription is still to be served.
func (s *Service) answer(w http.ResponseWriter, r *http.Request, b *buffer) *subscription {
	contentType := r.Header.Get("Content-Type")
	as := encodingOf(contentType)
	service, name, found := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var op *operation
	if service == kinesiswire.TargetPrefix {
		op = find(name)
	}
	switch {
	case len(b.body) == 0:
		code := unknownOperation.Code
		if op != nil {
			code = "SerializationException"
		}
		// Exactly the JSON type: with parameters after it the service answers in CBOR here, as without any.
		if as = asCBOR; contentType == awswire.TypeJSON11 {
			as = asJSON
		}
		refuse(w, as, code, "")
	case as == asUnknown && (!found || service == "" || name == ""):
		awswire.WriteBody(w, http.StatusForbidden, "", []byte(deniedXML))
	case as == asUnknown:
		awswire.WriteBody(w, http.StatusNotFound, "", []byte(unknownXML))
	case as == asPlainJSON && !awswire.IsJSONObject(b.body):
		awswire.WriteBody(w, http.StatusBadRequest, awswire.TypeJSON, []byte(plainSerializing))
	case as == asPlainJSON:
		awswire.WriteBody(w, http.StatusNotFound, awswire.TypeJSON, []byte(plainUnknown))
	default:
		return s.operate(w, r, op, as, b)
	}
	return nil
}

// operate runs a request in JSON or CBOR. Whether the body is an object at all comes before the operation's name and the
// signature; the decoder finds that out by itself, so only a request that is refused without it is scanned first.
func (s *Service) operate(w http.ResponseWriter, r *http.Request, op *operation, as encoding, b *buffer) *subscription {
	_, fault := s.verifier.Verify(r, b.body)
	if (op == nil || fault != nil) && !as.isObject(b.body) {
		refuse(w, as, "SerializationException", "")
		return nil
	}
	if op == nil {
		refuse(w, as, unknownOperation.Code, "")
		return nil
	}
	if fault != nil {
		refuse(w, as, fault.Code, fault.Message)
		return nil
	}
	to := &b.answer
	if op.pages {
		to = pageAnswers.Get().(*[]byte)
		defer releasePageAnswer(to)
	}
	result := s.run(r.Context(), op, as, true, b.body, (*to)[:0])
	if result.subscription != nil {
		return result.subscription
	}
	*to = result.Body
	defer s.pages.give(result.held)
	awswire.WriteBody(w, result.Status, as.contentType(), result.Body)
	return nil
}

// pageAnswers are the answers of GetRecords. In the buffers of all calls they would come to many times the memory.
var pageAnswers = sync.Pool{New: func() any { return new([]byte) }}

func releasePageAnswer(answer *[]byte) {
	if cap(*answer) <= keptPage {
		pageAnswers.Put(answer)
	}
}

// refuse answers 400 with an error body.
func refuse(w http.ResponseWriter, as encoding, code, message string) {
	awswire.WriteBody(w, http.StatusBadRequest, as.contentType(), as.appendError(nil, code, message))
}

// buffer is what a call over HTTP borrows: the request's bytes and the answer's.
type buffer struct{ body, answer []byte }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func (b *buffer) release() {
	if cap(b.body)+cap(b.answer) <= keptBytes {
		buffers.Put(b)
	}
}

// firstBytes is what a body gets before its length is believed: who announces much and sends nothing holds little.
const firstBytes = 64 << 10

// leastGrowth keeps a body of unknown or wrongly announced length from growing byte by byte.
const leastGrowth = 1 << 10

// read takes the whole body; false when it could not, and the request is answered.
func (b *buffer) read(w http.ResponseWriter, r *http.Request) bool {
	if r.ContentLength > MaxBodyBytes {
		awswire.WriteBody(w, http.StatusRequestEntityTooLarge, "", nil)
		return false
	}
	b.body = b.body[:0]
	if want := int(min(r.ContentLength, firstBytes)) + 1; cap(b.body) < want {
		b.body = make([]byte, 0, want)
	}
	for {
		if len(b.body) == cap(b.body) {
			b.grow(r.ContentLength)
		}
		n, err := r.Body.Read(b.body[len(b.body):cap(b.body)])
		b.body = b.body[:len(b.body)+n]
		switch {
		case len(b.body) > MaxBodyBytes:
			w.Header().Set("Connection", "close")
			awswire.WriteBody(w, http.StatusRequestEntityTooLarge, "", nil)
			return false
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			return b.broken(w, r, err)
		}
	}
}

// broken answers a body that could not be read to its end: a bound of the listener, or a caller who has gone.
func (b *buffer) broken(w http.ResponseWriter, r *http.Request, err error) bool {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		awswire.WriteBody(w, http.StatusRequestEntityTooLarge, "", nil)
	} else {
		refuse(w, encodingOf(r.Header.Get("Content-Type")), "SerializationException", "")
	}
	return false
}

// grow doubles the room, and never asks for more than the announced length once half of it is there.
func (b *buffer) grow(announced int64) {
	room := 2 * cap(b.body)
	if announced > 0 && int64(room) > announced {
		room = int(announced) + 1
	}
	room = max(room, cap(b.body)+leastGrowth)
	b.body = append(make([]byte, 0, room), b.body...)
}
