package app

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"millrace/internal/api/s3"
	"millrace/internal/gateway"
)

// verbsOfS3 are the verbs of the actions that a uri such as "…:s3:action/GetObject&Bucket=b&Key=k" names.
var verbsOfS3 = map[string]string{
	"GetObject": http.MethodGet, "HeadObject": http.MethodHead, "PutObject": http.MethodPut, "DeleteObject": http.MethodDelete,
}

// objects gives the action of Amazon S3 that a uri calls: by path, with all that the service does there, or by name.
func (a actions) objects(name string) gateway.Action {
	return func(ctx context.Context, c *gateway.Call) {
		in := s3.Invocation{Verb: c.Verb, Path: c.Target, Query: c.Query, Header: httpHeader(c.Header), Body: c.Body}
		if verb, named := verbsOfS3[name]; named {
			in.Verb = verb
			in.Path, in.Query = pathOfNamed(c.Query)
		}
		w := answer{call: c, header: http.Header{}, hasBody: in.Verb != http.MethodHead}
		a.s3.Invoke(ctx, in, &w)
		if w.status == 0 {
			w.WriteHeader(http.StatusOK)
		}
		if in.Verb != http.MethodGet && in.Verb != http.MethodHead { // what reads has stored nothing to be told of
			c.Outcome = outcomeOfS3(c.Status)
		}
	}
}

// pathOfNamed moves the parameters Bucket and Key into the path; the others stay, as versionId would.
func pathOfNamed(query string) (path, rest string) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "/", query // the service says what is missing
	}
	bucket, key := values.Get("Bucket"), values.Get("Key")
	values.Del("Bucket")
	values.Del("Key")
	return "/" + url.PathEscape(bucket) + "/" + strings.ReplaceAll(url.PathEscape(key), "%2F", "/"), values.Encode()
}

func outcomeOfS3(status int) gateway.Outcome {
	switch {
	case status < 400:
		return gateway.OK
	case status == http.StatusServiceUnavailable: // SlowDown
		return gateway.Throttled
	case status >= 500:
		return gateway.Unavailable
	}
	return gateway.Refused
}

// httpHeader makes net/http's header of header lines.
func httpHeader(lines gateway.Header) http.Header {
	h := make(http.Header, len(lines))
	for _, f := range lines {
		h.Add(f.Name, f.Value)
	}
	return h
}

// answer takes what a service answers in process into a call.
type answer struct {
	call   *gateway.Call
	header http.Header
	status int
	// hasBody is false for HEAD, which announces a length and sends nothing.
	hasBody bool
}

func (w *answer) Header() http.Header { return w.header }

func (w *answer) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status, w.call.Status = status, status
	if length, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil && w.hasBody {
		_ = w.call.Expect(length) // when it is refused, so is every Write
	}
	names := make([]string, 0, len(w.header))
	for name := range w.header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range w.header[name] {
			w.call.Answer = append(w.call.Answer, gateway.Field{Name: name, Value: v})
		}
	}
}

func (w *answer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.call.Write(p)
}
