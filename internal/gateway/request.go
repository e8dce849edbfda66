package gateway

import (
	"strings"
	"time"
)

// Field is one header line.
type Field struct{ Name, Value string }

// Header is header lines in their order, names as they were sent.
type Header []Field

// Get gives the last value of a name in any spelling.
func (h Header) Get(name string) string {
	for i := len(h) - 1; i >= 0; i-- {
		if len(h[i].Name) == len(name) && strings.EqualFold(h[i].Name, name) {
			return h[i].Value
		}
	}
	return ""
}

// Listener is where a request came in; it decides which forms of address count.
type Listener uint8

// The listeners.
const (
	Ingest Listener = iota // execute-api only
	AWS                    // the AWS endpoint: /restapis/…/_user_request_/ and /_aws/execute-api/
)

// Request is what a caller sent. Serve reads it and keeps nothing of it.
type Request struct {
	Listener Listener
	Method   string
	RawPath  string // as sent, still percent-encoded, without the query: "/prod/v1/class-stream"
	RawQuery string // without the question mark
	Header   Header // without Host
	Host     string // with its port, as sent
	RemoteIP string // of the connection, without port
	Port     string // of the listener; empty counts as 80, with TLS as 443
	TLS      bool
	Body     []byte
	Received time.Time
}

// Response is what the caller gets. It belongs to whoever called Serve; Body's and Header's memory is reused when it
// is reset.
type Response struct {
	Status int
	Header Header
	Body   []byte // a HEAD request's is not to be sent

	// Where the request went, for metrics: empty as far as it was not found.
	API, Stage, Resource string

	// Caller takes the answers of integrations that stream, as they come. Whoever calls Serve sets it; nil: such answers
	// are gathered in Body.
	Caller Caller
	Begun  bool // the answer went to Caller; nothing is left to be sent
	Cut    bool // not all of it did: the caller must not take it for whole

	budget Budget // that held is of
	held   int64  // what Body holds of it
}

// Release gives back what the body holds of the node's memory for bodies. Whoever called Serve calls it when the body is
// sent: a caller who reads slowly holds it as long.
func (r *Response) Release() {
	if r.held > 0 {
		r.budget.Give(r.held)
		r.held = 0
	}
}

// Reset empties the response and keeps its memory.
func (r *Response) Reset() {
	r.Release()
	clear(r.Header)
	*r = Response{Header: r.Header[:0], Body: r.Body[:0]}
}

// set replaces all lines of a name, in any spelling, by one.
func (r *Response) set(name, value string) {
	r.remove(name)
	r.Header = append(r.Header, Field{name, value})
}

func (r *Response) remove(name string) {
	kept := r.Header[:0]
	for _, f := range r.Header {
		if len(f.Name) != len(name) || !strings.EqualFold(f.Name, name) {
			kept = append(kept, f)
		}
	}
	r.Header = kept
}
