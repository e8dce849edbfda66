package front

import (
	"io"
	"net/http"
)

// answer is the way of a service's handler to its caller. It knows whether the answer has begun, and puts the
// front's own answer in the place of what a service makes of a body that the front has cut off.
type answer struct {
	http.ResponseWriter
	body     *callBody
	cut      func(http.ResponseWriter, error) // answers a call whose body was cut off
	begun    bool
	replaced bool
	// subscribes: the answer may go on for minutes after its first flush, and the service holds nothing of the body then.
	subscribes bool
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if status < 200 { // informational; the answer is still to come
		a.ResponseWriter.WriteHeader(status)
		return
	}
	if !a.begun && a.body != nil && a.body.cut != nil {
		a.begun, a.replaced = true, true
		a.cut(a.ResponseWriter, a.body.cut)
		return
	}
	a.begun = true
	if !a.replaced {
		a.ResponseWriter.WriteHeader(status)
	}
}

func (a *answer) Write(p []byte) (int, error) {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	if a.replaced {
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

// ReadFrom keeps net/http's own buffers for bodies of objects.
func (a *answer) ReadFrom(from io.Reader) (int64, error) {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	if a.replaced {
		return 0, a.body.cut
	}
	return io.Copy(a.ResponseWriter, from)
}

// Flush sends what is there.
func (a *answer) Flush() {
	_ = a.FlushError()
}

// FlushError sends what is there, and tells when the caller has gone.
func (a *answer) FlushError() error {
	if a.replaced {
		return nil
	}
	a.begun = true
	if a.subscribes {
		a.body.release()
	}
	return http.NewResponseController(a.ResponseWriter).Flush()
}
