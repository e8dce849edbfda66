// Package apigateway speaks the control plane of Amazon API Gateway, REST APIs of
// version 2015-07-09: the calls that build, deploy and take down an API by script.
//
//	request ─ route ─ operation ─ decode, check shapes ─> edit a copy of the API
//	                                                       │ rules of package restapi
//	answer  <─ view of what was stored <─ one catalog update, durable
//
// It keeps no state of its own. A call that changes something has changed all of it
// durably when it answers with success, or nothing; the gateway that follows the
// catalog serves it from then on.
//
// What is not served (SDK generation, VPC links, client certificates, documentation
// parts, …) is answered with a BadRequestException that names the operation or the
// member; [Support] lists both kinds.
package apigateway

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/awswire"
	"millrace/internal/catalog"
	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/restapi"
)

// Options make a [Service]. Fields without a default are required.
type Options struct {
	Catalog *catalog.Catalog
	Account ids.Account
	IDs     *ids.Source
	Now     func() time.Time // default time.Now
	// Credentials looks up secrets; nil accepts any well-formed signature, and none, which only a loopback
	// listener may allow.
	Credentials awswire.Lookup
	Log         *slog.Logger // default: discard
	// Import reads OpenAPI files for ImportRestApi and PutRestApi; nil refuses both by name.
	Import Importer
	// Tester runs methods for TestInvokeMethod; nil refuses it by name.
	Tester Tester
	// SaveUsage brings what the node has counted of usage plans into the catalog, where GetUsage reads it; nil: what lies
	// there is all.
	SaveUsage func(context.Context) error
	// Gate is what the node can check callers of deployed APIs with; a deployment that needs more is refused.
	Gate restapi.Gate
	// Authorizers of the gateway; nil refuses TestInvokeAuthorizer by name.
	Authorizers Authorizers
}

// Service answers the control plane. It is safe for concurrent use.
type Service struct {
	Options
	router   *awswire.Router
	verifier *awswire.Verifier
}

// New makes a service.
func New(opts Options) (*Service, error) {
	if opts.Catalog == nil || opts.IDs == nil || opts.Account.ID == "" {
		return nil, fault.New(fault.Internal, "apigateway.New", "", "Catalog, Account and IDs are required")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{
		Options:  opts,
		router:   awswire.NewRouter(apigatewaywire.Operations),
		verifier: awswire.NewVerifier("apigateway", opts.Credentials, opts.Now),
	}, nil
}

// maxBodyBytes bounds a call: an import file of the service's 6 MB, and its wrapping.
const maxBodyBytes = 7 << 20

// ServeHTTP answers one call.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	awswire.SetRequestID(w.Header(), s.IDs)
	status, body, err := s.serve(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	// An operation whose answer is a file has said what it is.
	awswire.WriteBody(w, status, cmp.Or(w.Header().Get("Content-Type"), awswire.TypeJSON), body)
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request) (status int, answer []byte, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		return 0, nil, tooLargeOrGone(err)
	}
	if _, refused := s.verifier.Verify(r, body); refused != nil {
		return 0, nil, refused
	}
	query := r.URL.Query()
	op, params, ok := s.router.Match(r.Method, routedPath(r.URL), query, r.Header)
	if !ok {
		return 0, nil, errUnknownOperation
	}
	run := operations[op.Name]
	if run == nil {
		text := op.Name + " is not supported by this version of Millrace"
		if why := whyRefused(op.Name); why != "" {
			text += ": " + why
		}
		return 0, nil, fault.New(fault.Unsupported, "apigateway", op.Name, "%s", text)
	}
	answer, err = run(s, r.Context(), &awswire.Request{Params: params, Query: query, Header: r.Header, Body: body}, w.Header())
	return op.Status, answer, err
}

// routedPath gives the path as it was sent. The slashes of a tagged ARN are escaped, since it is one segment; some
// clients leave them as they are.
func routedPath(u *url.URL) string {
	path := u.EscapedPath()
	if arn, ok := strings.CutPrefix(path, "/tags/"); ok {
		return "/tags/" + strings.ReplaceAll(arn, "/", "%2F")
	}
	return path
}

func tooLargeOrGone(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return fault.New(fault.Invalid, "apigateway", "", "Request body is larger than %d bytes", maxBodyBytes)
	}
	return fault.New(fault.Invalid, "apigateway", "", "Request body could not be read")
}

func (s *Service) fail(w http.ResponseWriter, r *http.Request, err error) {
	x, internal := exceptionOf(err)
	if internal {
		s.Log.Error("an API Gateway call failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if x.status == http.StatusTooManyRequests || x.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfterSeconds)
	}
	awswire.WriteRESTError(w, x.status, x.code, x.text)
}

// operation decodes a request, runs it, and appends the answer's body. It may set headers of the answer.
type operation func(s *Service, ctx context.Context, r *awswire.Request, header http.Header) ([]byte, error)

// request is a generated shape that reads itself.
type request[In any] interface {
	*In
	Decode(*awswire.Request) error
}

// checked is a request with constraints.
type checked interface{ Check(*awswire.Violations) }

// answer is a generated shape that writes itself.
type answer interface{ AppendJSON([]byte) []byte }

// decode reads and checks a request: types first, then the model's constraints, as the service does.
func decode[In any, P request[In]](r *awswire.Request) (*In, error) {
	in := new(In)
	if err := P(in).Decode(r); err != nil {
		return nil, err
	}
	if c, ok := any(in).(checked); ok {
		var found awswire.Violations
		c.Check(&found)
		if text := found.Err(); text != "" {
			return nil, &validation{text}
		}
	}
	return in, nil
}

// answers makes an operation of a method that answers with a body.
func answers[In any, P request[In], Out answer](run func(*Service, context.Context, *In) (Out, error)) operation {
	return func(s *Service, ctx context.Context, r *awswire.Request, _ http.Header) ([]byte, error) {
		in, err := decode[In, P](r)
		if err != nil {
			return nil, err
		}
		out, err := run(s, ctx, in)
		if err != nil {
			return nil, err
		}
		return out.AppendJSON(make([]byte, 0, 512)), nil
	}
}

// done makes an operation of a method that answers with a status alone.
func done[In any, P request[In]](run func(*Service, context.Context, *In) error) operation {
	return func(s *Service, ctx context.Context, r *awswire.Request, _ http.Header) ([]byte, error) {
		in, err := decode[In, P](r)
		if err != nil {
			return nil, err
		}
		return nil, run(s, ctx, in)
	}
}
