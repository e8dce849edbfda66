package awswire

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// Require puts the verifier before a handler that does not verify by itself and whose bodies are small enough to
// hold, at most maxBody bytes. What fails is answered by refuse; an oversized body with 413 and nothing else.
//
// Without credentials only the signature's form is checked, and the body is left alone.
func (v *Verifier) Require(maxBody int64, refuse func(http.ResponseWriter, *AuthFault), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body []byte
		if v.lookup != nil && r.Body != nil {
			read, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
			var tooLarge *http.MaxBytesError
			switch {
			case errors.As(err, &tooLarge):
				WriteBody(w, http.StatusRequestEntityTooLarge, "", nil)
				return
			case err != nil:
				return // the caller is gone
			}
			body = read
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		if _, fault := v.Verify(r, body); fault != nil {
			refuse(w, fault)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RefuseJSON answers as JSON 1.1 services do, for [Verifier.Require].
func RefuseJSON(w http.ResponseWriter, fault *AuthFault) {
	WriteBody(w, fault.Status, TypeJSON11, AppendJSONError(nil, fault.Code, fault.Message))
}

// RefuseREST answers as REST-JSON services do.
func RefuseREST(w http.ResponseWriter, fault *AuthFault) {
	WriteRESTError(w, fault.Status, fault.Code, fault.Message)
}
