// Package s3 speaks Amazon S3, version 2006-03-01, over any [object.Store]: REST-XML,
// path style and virtual-host style, Signature Version 4 in headers, presigned and
// streaming, Version 2 in presigned URLs.
//
//	ServeHTTP ─ ids ─ bucket and key (address.go) ─ operation (operations.go)
//	          ─ signature, payload (awswire) ─ run ─> object.Store
//	          <─ generated answer, or an error (errors.go)
//
// It keeps no state. What a write answers with success is durable, as the store
// promises, and every later read and list shows it. Bodies of objects stream through a
// small buffer; all other bodies are bounded (limits.go). There are no versions, no
// ACLs, no encryption of its own and one storage class: a request that asks for them is
// refused by name, never ignored, except where operations.go notes it. Configurations of
// buckets that state what holds anyway are kept and read back (bucket_configuration.go);
// what a bucket policy denies is denied (policy.go).
package s3

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"millrace/internal/awsmodel/s3wire"
	"millrace/internal/awswire"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
)

// Budget bounds the bytes of bodies that are held in memory for all callers.
type Budget interface {
	Take(n int64) bool
	Give(n int64)
}

// Options make a [Service]. Fields without a default are required.
type Options struct {
	Store   object.Store
	Account ids.Account
	IDs     *ids.Source
	Now     func() time.Time
	// Credentials looks up secrets; nil accepts any well-formed signature, and none, which only a loopback
	// listener may allow.
	Credentials awswire.Lookup
	// Hosts are names of this endpoint, without port: BUCKET.HOST names a bucket. Loopback names and those of the
	// service are always known.
	Hosts  []string
	Budget Budget       // default: only the number of bytes of one body is bounded
	Log    *slog.Logger // default: discard
}

// Service answers calls. It is safe for concurrent use.
type Service struct {
	Options
	verifier *awswire.Verifier
	policies policies
	router   *awswire.Router
	owner    string // canonical id: 64 hexadecimal digits
}

// New makes a service.
func New(o Options) (*Service, error) {
	const op = "s3.New"
	if o.Store == nil || o.IDs == nil || o.Now == nil || o.Account.ID == "" || o.Account.Region == "" {
		return nil, fault.New(fault.Internal, op, "", "Store, Account, IDs and Now are required")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Budget == nil {
		o.Budget = unbounded{}
	}
	o.Hosts = append(append([]string{}, o.Hosts...), knownHosts...)
	owner := sha256.Sum256([]byte(o.Account.ID))
	return &Service{
		Options:  o,
		verifier: awswire.NewVerifier("s3", o.Credentials, o.Now),
		router:   awswire.NewRouter(s3wire.Operations),
		owner:    hex.EncodeToString(owner[:]),
	}, nil
}

type unbounded struct{}

func (unbounded) Take(int64) bool { return true }
func (unbounded) Give(int64)      {}

const hostIDBytes = 54

// ServeHTTP answers one request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	requestID := strings.ToUpper(s.IDs.String("0123456789abcdef", requestIDLetters))
	h["X-Amz-Request-Id"] = []string{requestID}
	hostID := awswire.SetHostID(h, s.IDs, hostIDBytes)
	c := &call{Service: s, w: w, r: r, ctx: r.Context(), query: r.URL.Query()}
	err := c.serve()
	if err == nil {
		return
	}
	c.fail(err, requestID, hostID)
}

// fail answers with what a failed operation has returned.
func (c *call) fail(err error, requestID, hostID string) {
	s := c.Service
	e := s.errorOf(c, err)
	if c.answered {
		if c.ctx.Err() == nil { // else the caller has gone, which callers may
			s.Log.Warn("an S3 answer is cut short", "operation", c.name(), "bucket", c.bucket, "key", c.key, "requestId", requestID, "error", err)
		}
		panic(http.ErrAbortHandler) // the status is sent; a body that is cut short is all that can still be said
	}
	if e.Status >= 500 && e.Code != notImplemented {
		s.Log.Error("an S3 call failed", "operation", c.name(), "bucket", c.bucket, "key", c.key, "requestId", requestID, "error", err)
	}
	c.refuse(e, requestID, hostID)
}

// serve finds the operation and runs it.
func (c *call) serve() error {
	path, bucketHost := c.address()
	op, params, ok := c.router.Match(c.r.Method, path, c.query, c.r.Header)
	for _, p := range params {
		switch p.Name {
		case "Bucket":
			c.bucket = p.Value
		case "Key":
			c.key = p.Value
		}
	}
	c.op = op
	c.req = awswire.Request{Params: params, Query: c.query, Header: c.r.Header}
	if c.payload == nil {
		if err := c.authenticate(path); err != nil {
			return err
		}
	}
	if !ok {
		return c.unknown(path, bucketHost)
	}
	if len(c.key) > object.MaxKeyBytes {
		return errKeyTooLong(c.key)
	}
	if owner := c.r.Header.Get("X-Amz-Expected-Bucket-Owner"); owner != "" && owner != c.Account.ID {
		return errAccessDenied
	}
	run := served[op.Name].run
	if run == nil {
		return errUnsupported("The operation " + op.Name)
	}
	if err := c.checkHeaders(); err != nil {
		return err
	}
	if c.bucket != "" && c.denied(actionOf(op.Name), c.bucket, c.key) {
		return errAccessDenied
	}
	return run(c)
}

// unknown words a request that is no operation.
func (c *call) unknown(path string, bucketHost bool) error {
	trimmed := strings.TrimPrefix(path, "/")
	if c.r.Method == http.MethodPost && trimmed != "" && (bucketHost || !strings.Contains(strings.TrimSuffix(trimmed, "/"), "/")) {
		return errUnsupported("The operation PostObject")
	}
	return errMethodNotAllowed
}

// refuse answers with an error.
func (c *call) refuse(e *apiError, requestID, hostID string) {
	h := c.w.Header()
	for name, value := range e.header {
		h.Set(name, value)
	}
	if c.r.Method == http.MethodHead || e.Status == http.StatusNotModified {
		h["Content-Type"] = nil
		c.w.WriteHeader(e.Status)
		return
	}
	fields := append(e.fields, awswire.XMLField{Name: "Resource", Text: c.resource()}, awswire.XMLField{Name: "RequestId", Text: requestID}, awswire.XMLField{Name: "HostId", Text: hostID})
	awswire.WriteBody(c.w, e.Status, awswire.TypeXML, awswire.AppendXMLError(nil, e.Code, e.Message, fields...))
}

// resource names what the request was about, as errors do.
func (c *call) resource() string {
	if c.key != "" {
		return "/" + c.bucket + "/" + c.key
	}
	return "/" + c.bucket
}

// errorOf words an error for the caller; see errors.go.
func (s *Service) errorOf(c *call, err error) *apiError {
	var e *apiError
	if errors.As(err, &e) {
		return e
	}
	return wordError(c, err)
}
