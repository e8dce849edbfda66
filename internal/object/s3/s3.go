package s3

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// Options say where the service is. The zero value is Amazon S3 with the credentials and the region of the environment.
type Options struct {
	// Endpoint is the service's URL: "https://minio.example:9000". Default: Amazon S3 of the region.
	Endpoint string
	// Region signs requests. Default: that of the environment (AWS_REGION, profile), else "us-east-1".
	Region string
	// PathStyle puts the bucket into the path, not into the host name; most services that are not Amazon's want it.
	PathStyle bool
	// AccessKeyID and SecretAccessKey, with SessionToken if they are temporary. Without them the SDK's default chain
	// finds credentials: environment, profile, container, instance.
	AccessKeyID, SecretAccessKey, SessionToken string
	// CAFile holds certificates (PEM) to trust beside those of the system.
	CAFile string

	Attempts int           // of one request; default 3
	Backoff  time.Duration // longest wait between two attempts; default 2 s
	// Timeout ends an attempt whose answer does not begin, or whose bytes do not move, for so long; default 30 s.
	Timeout time.Duration
	// Connections bounds those of writes and of everything short, and separately those of open objects; default 64.
	Connections int
	// Buffers of 8 MiB that all puts share; default 16.
	Buffers int
	// LookFirst serves a service that refuses If-None-Match as not implemented: puts that ask for it look whether the key
	// is there and store without the condition. It is for delivery, whose keys nobody else plans; what several nodes
	// write at once must not be put so.
	LookFirst bool

	Log *slog.Logger // default: discard
}

const (
	defaultAttempts    = 3                // a lost packet, a restart of one server of many; delivery tries again by itself
	defaultBackoff     = 2 * time.Second  // so that attempts end well before delivery's patience (60 s) does
	defaultTimeout     = 30 * time.Second // S3 answers in less than a second; completing an upload can take longer
	defaultConnections = 64               // more than delivery's putters and a few clients of the node's own S3 API
	defaultBuffers     = 16               // 128 MiB
	firstRegion        = "us-east-1"      // what services without regions expect

	// healthEvery bounds how often health asks the service: many may watch a node's health.
	healthEvery = 2 * time.Second
)

// Store is an [object.Store] on a remote service. It is safe for concurrent use.
type Store struct {
	opts    Options
	client  *s3.Client
	writes  *http.Client
	reads   *http.Client // of open objects: readers who are slow must not take the connections of puts
	buffers *buffers
	region  string

	unconditional atomic.Bool // the service has refused If-None-Match, and puts look first

	healthMu sync.Mutex // held while the service is asked: others wait for its answer
	healthAt time.Time
	health   error
}

var _ object.Store = (*Store)(nil)

// Open makes a store. It does not call the service; [Store.Healthy] does. Errors are Invalid.
func Open(o Options) (*Store, error) {
	const op = "s3.Open"
	if err := o.check(); err != nil {
		return nil, fault.New(fault.Invalid, op, "", "%w", err) // without the endpoint, which may hold a password
	}
	o.setDefaults()
	s := &Store{opts: o, region: o.Region, buffers: newBuffers(o.Buffers)}
	roots, err := readRoots(o.CAFile)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, o.CAFile, "%w", err)
	}
	s.writes, s.reads = newHTTPClient(&o, roots), newHTTPClient(&o, roots)
	creds, err := s.credentials()
	if err != nil {
		return nil, fault.New(fault.Invalid, op, o.Endpoint, "settings of the environment: %w", err)
	}
	if s.region == "" {
		s.region = firstRegion
	}
	so := s3.Options{
		Region:       s.region,
		Credentials:  aws.NewCredentialsCache(creds),
		HTTPClient:   s.writes,
		UsePathStyle: o.PathStyle,
		AppID:        "millrace",
		Logger:       logging.Nop{},
		// The signature covers a SHA-256 of every body that is sent from memory. Checksums beyond it are sent when a
		// caller of the store asks for them, because not every service knows them.
		RequestChecksumCalculation:  aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation:  aws.ResponseChecksumValidationWhenRequired,
		DisableS3ExpressSessionAuth: aws.Bool(true),
		Retryer:                     newRetryer(&o),
	}
	if o.Endpoint != "" {
		so.BaseEndpoint = aws.String(o.Endpoint)
	}
	s.client = s3.New(so)
	return s, nil
}

func (o *Options) check() error {
	if (o.AccessKeyID == "") != (o.SecretAccessKey == "") {
		return errors.New("an access key id and its secret come together")
	}
	if o.SessionToken != "" && o.AccessKeyID == "" {
		return errors.New("a session token comes with an access key id")
	}
	if o.Attempts < 0 || o.Backoff < 0 || o.Timeout < 0 || o.Connections < 0 || o.Buffers < 0 {
		return errors.New("a bound is negative")
	}
	if o.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(o.Endpoint)
	switch {
	case err != nil:
		return errors.New("the endpoint is no URL") // err would repeat it, with a password if it has one
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return errors.New("an endpoint is http://HOST[:PORT] or https://HOST[:PORT]")
	case u.User != nil, u.RawQuery != "", u.Fragment != "", u.Path != "" && u.Path != "/":
		return errors.New("an endpoint has no user, path, query or fragment")
	}
	return nil
}

func (o *Options) setDefaults() {
	if o.Attempts == 0 {
		o.Attempts = defaultAttempts
	}
	if o.Backoff == 0 {
		o.Backoff = defaultBackoff
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Connections == 0 {
		o.Connections = defaultConnections
	}
	if o.Buffers == 0 {
		o.Buffers = defaultBuffers
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// newRetryer tries again what the SDK thinks worth it, and a conditional write that met another: the next attempt
// learns who has won. There is no token bucket: attempts and waits are bounded as they are, and an error that tells of
// an empty bucket would hide what is wrong.
func newRetryer(o *Options) aws.Retryer {
	return retry.NewStandard(func(r *retry.StandardOptions) {
		r.MaxAttempts = o.Attempts
		r.MaxBackoff = o.Backoff
		r.Backoff = retry.NewExponentialJitterBackoff(o.Backoff)
		r.RateLimiter = ratelimit.None
		r.Retryables = append(r.Retryables, retry.RetryableErrorCode{Codes: map[string]struct{}{conditionalConflict: {}}})
	})
}

// credentials gives the static ones, or the default chain, which may also know the region.
func (s *Store) credentials() (aws.CredentialsProvider, error) {
	o := &s.opts
	if o.AccessKeyID != "" {
		return credentials.NewStaticCredentialsProvider(o.AccessKeyID, o.SecretAccessKey, o.SessionToken), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	conf, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	if s.region == "" {
		s.region = conf.Region
	}
	return chain{conf.Credentials}, nil
}

// chain marks the errors of the default chain, so that they can be told from those of the service.
type chain struct{ aws.CredentialsProvider }

type credentialsError struct{ error }

func (e credentialsError) Unwrap() error { return e.error }

func (c chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		err = credentialsError{err}
	}
	return creds, err
}

// Healthy asks the service for a list of buckets. That these credentials may not list buckets is no error, because
// puts need no such right: the service was there, and has known the signature.
func (s *Store) Healthy(ctx context.Context) error {
	const op = "object.Healthy"
	s.healthMu.Lock()
	defer s.healthMu.Unlock()
	if !s.healthAt.IsZero() && time.Since(s.healthAt) < healthEvery {
		return s.health
	}
	_, err := s.client.ListBuckets(ctx, &s3.ListBucketsInput{MaxBuckets: aws.Int32(1)}, once)
	if ctx.Err() != nil {
		return fault.New(fault.Unavailable, op, s.opts.Endpoint, "no answer in time: %w", ctx.Err()) // says little about the service: not kept
	}
	if code, _ := codeOf(err); code == "AccessDenied" {
		err = nil
	}
	s.healthAt = time.Now()
	s.health = nil
	if err != nil {
		s.health = wordError(op, place{}, err)
	}
	return s.health
}

// Shortcomings tells what the service was found to lack, as far as puts have found out; empty: nothing.
func (s *Store) Shortcomings() string {
	if s.unconditional.Load() {
		return "the service does not know If-None-Match: puts look for the key first, and two that meet may overwrite one another"
	}
	return ""
}

// once makes one attempt only.
func once(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

// Close gives back the connections. Calls that are under way end by themselves.
func (s *Store) Close() error {
	s.writes.CloseIdleConnections()
	s.reads.CloseIdleConnections()
	return nil
}

// quoted is an ETag as the service writes it.
func quoted(etag string) string {
	if etag == "" || etag == "*" {
		return etag
	}
	return `"` + etag + `"`
}

// orNil leaves out a header without a value.
func orNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func readFile(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	return os.ReadFile(name)
}
