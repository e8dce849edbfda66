package awswire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// AuthFault is why a request is refused before its operation is looked at. Codes and texts are those of the
// verifier's service.
type AuthFault struct {
	Code    string
	Message string
	Status  int
}

func (e *AuthFault) Error() string { return e.Code + ": " + e.Message }

// Caller is who signed a request; the zero value is someone who did not.
type Caller struct {
	AccessKeyID string
	Region      string // of the scope
}

// Anonymous reports whether the request bore no signature.
func (c Caller) Anonymous() bool { return c.AccessKeyID == "" }

// Lookup gives the secret of an access key.
type Lookup func(accessKeyID string) (secret string, ok bool)

// Clock skew that services tolerate, and how long S3 lets a presigned URL live.
const (
	skew       = 5 * time.Minute
	skewS3     = 15 * time.Minute
	maxPresign = 7 * 24 * time.Hour
)

// maxKeys bounds the cache of derived keys: one entry a day, region and access key.
const maxKeys = 256

// Verifier checks signatures for one service. It is safe for concurrent use.
//
// Any region of the scope is taken: one node answers for all. Session tokens are not looked at: keys are long-lived.
//
// Without a Lookup no credentials are configured: any well-formed signature is
// accepted, and none at all; only the form is checked. The server allows that on
// loopback alone.
type Verifier struct {
	lookup  Lookup
	service string
	now     func() time.Time
	s3      bool

	mu   sync.Mutex
	keys map[string][]byte // derived signing keys of signatures that were good, by secret and scope
}

// NewVerifier makes a verifier for the service with the given signing name ("kinesis"; "s3" has rules of its own).
func NewVerifier(service string, lookup Lookup, now func() time.Time) *Verifier {
	return &Verifier{lookup: lookup, service: service, now: now, s3: service == "s3", keys: map[string][]byte{}}
}

// Verify checks a request whose whole body is at hand.
func (v *Verifier) Verify(r *http.Request, body []byte) (Caller, *AuthFault) {
	s, fault := v.parse(r)
	if fault != nil || s == nil {
		return Caller{}, v.dress(fault)
	}
	if v.lookup == nil {
		return Caller{s.AccessKeyID, s.Region}, nil
	}
	hash := ""
	if v.s3 {
		hash = payloadHeader(r, s)
		if isHash(hash) && hash != hexSum(body) {
			return Caller{}, hashMismatch()
		}
	} else {
		hash = hexSum(body)
	}
	_, fault = v.check(r, s, hash)
	if fault != nil {
		return Caller{}, v.dress(fault)
	}
	return Caller{s.AccessKeyID, s.Region}, nil
}

// Payload is a body that is verified while it is read: its end is reached without error only when all of it is
// as signed. Errors are *AuthFault. Read it to io.EOF, never just Length bytes: the last word is said at the end,
// and what was read before is worth nothing when it is an error.
type Payload struct {
	io.Reader
	// Length is how many bytes Reader gives, -1 when unknown.
	Length int64
	// Trailer holds what followed an aws-chunked body, by lower-case name, once Reader has ended.
	Trailer map[string]string
}

// VerifyStream checks the signature of a request, and gives its body without the framing of aws-chunked.
func (v *Verifier) VerifyStream(r *http.Request) (Caller, *Payload, *AuthFault) {
	s, fault := v.parse(r)
	if fault != nil {
		return Caller{}, nil, v.dress(fault)
	}
	if s == nil {
		p, fault := v.payload(r, nil, nil, payloadHeader(r, nil))
		return Caller{}, p, fault
	}
	hash := payloadHeader(r, s)
	var key []byte
	if v.lookup != nil {
		if key, fault = v.check(r, s, hash); fault != nil {
			return Caller{}, nil, v.dress(fault)
		}
	}
	p, fault := v.payload(r, s, key, hash)
	return Caller{s.AccessKeyID, s.Region}, p, fault
}

// parse reads the signature; nil without a fault means that there is none and none is needed.
func (v *Verifier) parse(r *http.Request) (*Signature, *AuthFault) {
	header := r.Header.Get("Authorization") != ""
	var q url.Values
	query := false
	if strings.Contains(r.URL.RawQuery, "X-Amz-Algorithm") {
		q = r.URL.Query()
		query = q.Has("X-Amz-Algorithm")
	}
	var s *Signature
	var fault *AuthFault
	switch {
	case header && query:
		return nil, &AuthFault{Code: "InvalidSignatureException",
			Message: "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."}
	case header:
		s, fault = parseHeader(r)
	case query:
		if s, fault = parseQuery(q); fault != nil && v.s3 {
			fault.Code = "AuthorizationQueryParametersError"
		}
	case v.lookup != nil:
		return nil, &AuthFault{Code: "MissingAuthenticationTokenException", Message: "Missing Authentication Token"}
	default:
		return nil, nil
	}
	return s, fault
}

// check compares signature, scope, clock and signed headers, and gives the signing key.
func (v *Verifier) check(r *http.Request, s *Signature, payloadHash string) ([]byte, *AuthFault) {
	secret, ok := v.lookup(s.AccessKeyID)
	if !ok {
		return nil, &AuthFault{Code: "UnrecognizedClientException", Message: "The security token included in the request is invalid."}
	}
	if s.Service != v.service {
		return nil, &AuthFault{Code: "InvalidSignatureException",
			Message: fmt.Sprintf("Credential should be scoped to correct service: '%s'. ", v.service)}
	}
	if fault := v.checkClock(s); fault != nil {
		return nil, fault
	}
	if fault := v.checkSignedHeaders(r, s); fault != nil {
		return nil, fault
	}
	key, cached := v.key(secret, s)
	for _, path := range canonicalPaths(r, v.s3) {
		want := s.sign(key, s.canonical(r, path, payloadHash))
		if hmac.Equal([]byte(want), []byte(s.Signature)) {
			if !cached {
				v.remember(secret, s, key)
			}
			return key, nil
		}
	}
	return nil, mismatch()
}

func mismatch() *AuthFault {
	return &AuthFault{Code: "InvalidSignatureException", Message: "The request signature we calculated does not match the " +
		"signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
}

func (v *Verifier) key(secret string, s *Signature) (key []byte, cached bool) {
	v.mu.Lock()
	key = v.keys[secret+"\x00"+s.Scope()]
	v.mu.Unlock()
	if key != nil {
		return key, true
	}
	return signingKey(secret, s), false
}

// remember keeps the key of a good signature. Only good ones: a caller must not fill the cache with scopes.
func (v *Verifier) remember(secret string, s *Signature, key []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.keys) >= maxKeys {
		clear(v.keys)
	}
	v.keys[secret+"\x00"+s.Scope()] = key
}

func (v *Verifier) checkClock(s *Signature) *AuthFault {
	now := v.now().UTC()
	if day := s.Time.Format("20060102"); day != s.Date {
		return &AuthFault{Code: "InvalidSignatureException", Message: fmt.Sprintf("Date in Credential scope does not match "+
			"YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", s.Date, day, s.TimeText)}
	}
	window := skew
	if v.s3 {
		window = skewS3
	}
	late := window
	if s.Presigned && s.Expires > 0 {
		late = s.Expires
	}
	switch {
	case v.s3 && s.Presigned && (s.Expires <= 0 || s.Expires > maxPresign):
		return &AuthFault{Code: "AuthorizationQueryParametersError",
			Message: "X-Amz-Expires must be a number of seconds from 1 to 604800"}
	case v.s3 && s.Presigned && now.After(s.Time.Add(late)):
		return &AuthFault{Code: "AccessDenied", Message: "Request has expired"}
	case v.s3 && (now.After(s.Time.Add(late)) || s.Time.After(now.Add(window))):
		return &AuthFault{Code: "RequestTimeTooSkewed", Message: "The difference between the request time and the current time is too large."}
	case now.After(s.Time.Add(late)):
		return &AuthFault{Code: "InvalidSignatureException", Message: fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %d min.)",
			s.TimeText, now.Add(-late).Format(BasicLayout), now.Format(BasicLayout), int(late.Minutes()))}
	case s.Time.After(now.Add(window)):
		return &AuthFault{Code: "InvalidSignatureException", Message: fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + %d min.)",
			s.TimeText, now.Add(window).Format(BasicLayout), now.Format(BasicLayout), int(window.Minutes()))}
	}
	return nil
}

// methodOverride is where a deployed API takes its method from, if it is there.
const methodOverride = "X-HTTP-Method-Override"

// checkSignedHeaders refuses what a thief of a signature could change, or who was given a presigned URL: the host, the
// method of a deployed API, and on S3, where headers say what to do, every x-amz- header.
func (v *Verifier) checkSignedHeaders(r *http.Request, s *Signature) *AuthFault {
	if !slices.Contains(s.SignedHeaders, "host") && !slices.Contains(s.SignedHeaders, ":authority") {
		return &AuthFault{Code: "InvalidSignatureException", Message: "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."}
	}
	if v.service == "execute-api" && r.Header.Get(methodOverride) != "" && !slices.Contains(s.SignedHeaders, strings.ToLower(methodOverride)) {
		return &AuthFault{Code: "InvalidSignatureException", Message: "'" + methodOverride + "' must be a 'SignedHeader' in the AWS Authorization."}
	}
	if !v.s3 {
		return nil
	}
	for name := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-amz-") && name != "x-amz-content-sha256" && !slices.Contains(s.SignedHeaders, name) {
			return &AuthFault{Code: "AccessDenied", Message: "There were headers present in the request which were not signed"}
		}
	}
	return nil
}

// s3Faults words the faults of JSON services as S3 does.
var s3Faults = map[string]AuthFault{
	"MissingAuthenticationTokenException": {"AccessDenied", "Access Denied", http.StatusForbidden},
	"UnrecognizedClientException":         {"InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", http.StatusForbidden},
	"InvalidSignatureException": {"SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. " +
		"Check your key and signing method.", http.StatusForbidden},
	"IncompleteSignatureException":      {"AuthorizationHeaderMalformed", "", http.StatusBadRequest},
	"AccessDenied":                      {"", "", http.StatusForbidden},
	"RequestTimeTooSkewed":              {"", "", http.StatusForbidden},
	"AuthorizationQueryParametersError": {"", "", http.StatusBadRequest},
}

// dress gives a fault the code, text and status of the verifier's service.
func (v *Verifier) dress(f *AuthFault) *AuthFault {
	switch {
	case f == nil:
		return nil
	case v.service == "apigateway" && f.Status == 0:
		f.Status = http.StatusForbidden
	case !v.s3 && f.Status == 0:
		f.Status = http.StatusBadRequest
	case v.s3:
		as, ok := s3Faults[f.Code]
		if !ok {
			return f
		}
		if as.Code == "" {
			as.Code = f.Code
		}
		if as.Message == "" {
			as.Message = f.Message
		}
		if as.Code == "AuthorizationHeaderMalformed" {
			as.Message = "The authorization header is malformed; " + f.Message
		}
		return &as
	}
	return f
}

// The values of x-amz-content-sha256 that are no hash.
const (
	UnsignedPayload          = "UNSIGNED-PAYLOAD"
	streamingPrefix          = "STREAMING-"
	streamingSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamingUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// payloadHeader gives what the canonical request names as the payload's hash.
func payloadHeader(r *http.Request, s *Signature) string {
	if hash := r.Header.Get("X-Amz-Content-Sha256"); hash != "" {
		return hash
	}
	if s != nil && s.Presigned {
		if hash := r.URL.Query().Get("X-Amz-Content-Sha256"); hash != "" {
			return hash
		}
	}
	return UnsignedPayload
}

func isHash(s string) bool { return len(s) == 2*sha256.Size && !strings.Contains(s, "-") }

func hashMismatch() *AuthFault {
	return &AuthFault{"XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.", http.StatusBadRequest}
}

// payload wraps the body as its hash header says. A nil key means that signatures of chunks are not compared.
func (v *Verifier) payload(r *http.Request, s *Signature, key []byte, header string) (*Payload, *AuthFault) {
	body := io.Reader(http.NoBody)
	if r.Body != nil {
		body = r.Body
	}
	switch {
	case strings.HasPrefix(header, streamingPrefix):
		return chunkedPayload(r, body, s, key, header)
	case isHash(header):
		return &Payload{Reader: &hashed{from: body, sum: sha256.New(), want: header}, Length: r.ContentLength}, nil
	case header == UnsignedPayload:
		return &Payload{Reader: body, Length: r.ContentLength}, nil
	}
	return nil, &AuthFault{"InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, " +
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.", http.StatusBadRequest}
}

// hashed compares the hash of a body at its end.
type hashed struct {
	from io.Reader
	sum  hash.Hash
	want string
	err  error
}

func (h *hashed) Read(p []byte) (int, error) {
	if h.err != nil {
		return 0, h.err
	}
	n, err := h.from.Read(p)
	h.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && !strings.EqualFold(hex.EncodeToString(h.sum.Sum(nil)), h.want) {
		err = hashMismatch()
	}
	h.err = err
	return n, err
}

// decodedLength reads how long an aws-chunked body is without its framing.
func decodedLength(r *http.Request) (int64, *AuthFault) {
	text := r.Header.Get("X-Amz-Decoded-Content-Length")
	if text == "" {
		return 0, &AuthFault{"MissingContentLength", "You must provide the Content-Length HTTP header.", http.StatusLengthRequired}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, &AuthFault{"InvalidArgument", "x-amz-decoded-content-length is no length.", http.StatusBadRequest}
	}
	return n, nil
}
