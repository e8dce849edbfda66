package front

import (
	"net/http"
	"sync/atomic"
	"time"
)

// streamWriter bounds how long a caller on HTTP/2 may take to accept its answer, as conn does for one on HTTP/1: its
// connection may well be read while the window of one stream stays shut, and then only the stream has to go.
//
// A deadline of net/http's ends its stream whether or not somebody is writing, so it stands for no longer than a
// write or a flush takes, and from the end of the handler on, when net/http sends what is left.
type streamWriter struct {
	http.ResponseWriter
	held int         // bytes that net/http may still hold back
	own  atomic.Bool // the handler has set a deadline of its own, perhaps while it writes
}

// heldBytes is up to where net/http gathers what a handler writes, without waiting for the caller.
const heldBytes = 4 << 10

// Unwrap is for http.ResponseController.
func (w *streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// SetWriteDeadline sets a deadline of the handler's own; the zero time gives it up.
func (w *streamWriter) SetWriteDeadline(t time.Time) error {
	w.own.Store(!t.IsZero())
	return w.deadline(t)
}

// SetReadDeadline makes it a deadliner.
func (w *streamWriter) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(w.ResponseWriter).SetReadDeadline(t)
}

func (w *streamWriter) deadline(t time.Time) error {
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(t)
}

func (w *streamWriter) Write(p []byte) (n int, err error) {
	if w.held += len(p); w.own.Load() || w.held <= heldBytes {
		return w.ResponseWriter.Write(p)
	}
	w.held = heldBytes // what is left of p may be held again
	for n < len(p) && err == nil {
		if err = w.deadline(time.Now().Add(writeTime)); err != nil {
			return n, err
		}
		var m int
		m, err = w.ResponseWriter.Write(p[n:min(n+writeStep, len(p))])
		n += m
	}
	if err == nil {
		err = w.deadline(time.Time{})
	}
	return n, err
}

// Flush sends what is held.
func (w *streamWriter) Flush() { _ = w.FlushError() }

// FlushError sends what is held.
func (w *streamWriter) FlushError() error {
	flush := http.NewResponseController(w.ResponseWriter).Flush
	w.held = 0
	if w.own.Load() {
		return flush()
	}
	if err := w.deadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	return w.deadline(time.Time{})
}

// end bounds what net/http sends after the handler.
func (w *streamWriter) end() {
	if w.held > 0 || w.own.Load() {
		_ = w.deadline(time.Now().Add(writeTime)) // fails when the stream is gone
	}
}
