package awswire

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Request is a REST request as generated Decode methods read it: members live in the path, the query, headers
// and the body. The first member that can't be read is kept in Err.
type Request struct {
	Params []Param // from the path, decoded, as [Router.Match] found them
	Query  url.Values
	Header http.Header
	Body   []byte // whole, unless the operation streams

	Err *SerializationError
}

// Param is a label of a path and what stood in its place.
type Param struct{ Name, Value string }

// Label gives a path parameter.
func (r *Request) Label(name string) (string, bool) {
	for i := range r.Params {
		if r.Params[i].Name == name {
			return r.Params[i].Value, true
		}
	}
	return "", false
}

// QueryValue gives the first value of a query parameter.
func (r *Request) QueryValue(name string) (string, bool) {
	v, ok := r.Query[name]
	if !ok || len(v) == 0 {
		return "", false
	}
	return v[0], true
}

// HeaderValue gives the values of a header, joined by commas.
func (r *Request) HeaderValue(name string) (string, bool) {
	v, ok := r.Header[textproto.CanonicalMIMEHeaderKey(name)]
	switch {
	case !ok || len(v) == 0:
		return "", false
	case len(v) == 1:
		return v[0], true
	}
	return strings.Join(v, ","), true
}

// QueryMap gives all query parameters but those named, which have members of their own.
func (r *Request) QueryMap(but ...string) map[string]string {
	var m map[string]string
next:
	for k, v := range r.Query {
		for _, name := range but {
			if k == name {
				continue next
			}
		}
		if m == nil {
			m = map[string]string{}
		}
		if len(v) > 0 {
			m[k] = v[0]
		}
	}
	return m
}

// HeaderMap gives the headers with a prefix, without it and in lower case, as services keep user metadata.
func (r *Request) HeaderMap(prefix string) map[string]string {
	var m map[string]string
	for k, v := range r.Header {
		if len(k) < len(prefix) || !strings.EqualFold(k[:len(prefix)], prefix) {
			continue
		}
		if m == nil {
			m = map[string]string{}
		}
		m[strings.ToLower(k[len(prefix):])] = strings.Join(v, ",")
	}
	return m
}

func (r *Request) fail(name, text, as string) {
	if r.Err == nil {
		r.Err = &SerializationError{"'" + text + "' of " + name + " can not be converted to " + as}
	}
}

// Int reads a whole number.
func (r *Request) Int(name, text string) int {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil {
		r.fail(name, text, expected[kindInteger])
	}
	return int(n)
}

// Long reads a whole number of 64 bits.
func (r *Request) Long(name, text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		r.fail(name, text, expected[kindLong])
	}
	return n
}

// Bool reads true or false.
func (r *Request) Bool(name, text string) bool {
	v, ok := boolOfWord(text)
	if !ok {
		r.fail(name, text, expected[kindBoolean])
	}
	return v
}

// TimeHTTP reads the date form of headers.
func (r *Request) TimeHTTP(name, text string) time.Time {
	t, err := http.ParseTime(text)
	if err != nil {
		r.fail(name, text, expected[kindTimestamp])
	}
	return t.UTC()
}

// TimeISO reads ISO 8601.
func (r *Request) TimeISO(name, text string) time.Time {
	t, ok := ParseISO(text)
	if !ok {
		r.fail(name, text, expected[kindTimestamp])
	}
	return t
}

// Operation is a call of a REST service, from its model.
type Operation struct {
	Name   string
	Method string
	Path   string // "/restapis/{restapi_id}/stages", "/{Bucket}/{Key+}"
	Status int    // of success
	// Query holds what must stand in the query, "name=value" or "name": the literal part of the model's URI.
	Query []string
	// NeedsQuery and NeedsHeader are the required members that live there; they tell apart operations of one path.
	NeedsQuery  []string
	NeedsHeader []string
}

// ErrorType is a modelled exception.
type ErrorType struct {
	Code   string // "ResourceNotFoundException"
	Status int
}

// JSON reads the body with a generated decoder; an empty body is an object without members.
func (r *Request) JSON(decode func(*JSON)) error {
	if len(r.Body) == 0 {
		return nil
	}
	var d JSON
	d.Reset(r.Body)
	decode(&d)
	return d.Close()
}

// SplitHeader reads a header that is a list.
func SplitHeader(text string) []string {
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// JoinHeader writes a header that is a list.
func JoinHeader(list []string) string { return strings.Join(list, ", ") }
