package transform

import (
	"log/slog"
	"net/url"

	"millrace/internal/fault"
)

// Endpoint is where a function is called. What it holds of secrets is not printed.
type Endpoint struct {
	url           *url.URL
	header, value string
	place         string // scheme, host and path: which function it is, for people and for bounds
}

// NewEndpoint reads a URL, http or https, and takes a further header with its value, or two empty texts. Credentials in the
// URL are sent as basic authentication.
func NewEndpoint(target, header, value string) (*Endpoint, error) {
	u, err := url.Parse(target)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.Invalid, "transform.NewEndpoint", "", "it is no URL such as http://127.0.0.1:9000/") // which may hold a password
	}
	place := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return &Endpoint{url: u, header: header, value: value, place: place.String()}, nil
}

// String is the place without credentials and query.
func (e *Endpoint) String() string { return e.place }

// GoString is String: %#v shows no more than %v.
func (e *Endpoint) GoString() string { return e.place }

// LogValue is String: a handler for JSON shows no more than one for text.
func (e *Endpoint) LogValue() slog.Value { return slog.StringValue(e.place) }
