package kinesis

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go/middleware"

	"millrace/internal/fault"
)

// connect makes the client. It does no call, but the chain of credentials may.
func (b *Backend) connect(ctx context.Context) error {
	o := &b.opts
	b.http = newTransport()
	options := sdk.Options{
		Region:     o.Region,
		AppID:      "millrace",
		Retryer:    aws.NopRetryer{}, // of what is sent again, and when, this package decides
		HTTPClient: &http.Client{Transport: b.http, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if o.Endpoint != "" {
		options.BaseEndpoint = aws.String(o.Endpoint)
	}
	if o.AccessKeyID != "" {
		options.Credentials = aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(o.AccessKeyID, o.SecretAccessKey, o.SessionToken))
	} else {
		found, err := config.LoadDefaultConfig(ctx, config.WithRegion(o.Region))
		if err != nil {
			return fault.New(fault.Invalid, "kinesis.Open", "", "credentials: %w", err)
		}
		options.Credentials = found.Credentials
	}
	b.client = sdk.New(options)
	return nil
}

// Bounds of connections. Idle ones are given up before servers close them, so that a put rarely meets a connection
// that is being closed.
const (
	dialTimeout     = 5 * time.Second
	idleConnTimeout = 20 * time.Second
	maxConns        = 256
	maxIdleConns    = 64
	// maxAnswerBytes bounds an answer: 10 MiB of records as base64, with room for keys and names.
	maxAnswerBytes = 40 << 20
)

// transport sends requests over HTTP/1.1 and tells for each that failed whether a byte of it has left. HTTP/2 is off:
// its transport sends requests again that a server says it has not processed, and here a put is sent once.
//
// net/http itself sends a request again when a reused connection turns out to be closed, but for a POST only when
// nothing was written; since the SDK's bodies can't be rewound it does not even then, and errNotSent says so.
type transport struct{ base *http.Transport }

// errNotSent is the cause of a failure before the first byte of a request was written.
var errNotSent = errors.New("nothing was sent")

func newTransport() *transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return &transport{&http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &countedConn{Conn: conn}, nil
		},
		Protocols:             http1(),
		TLSHandshakeTimeout:   dialTimeout,
		MaxConnsPerHost:       maxConns,
		MaxIdleConns:          maxIdleConns,
		MaxIdleConnsPerHost:   maxIdleConns,
		IdleConnTimeout:       idleConnTimeout,
		ExpectContinueTimeout: time.Second,
	}}
}

func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

func (t *transport) close() { t.base.CloseIdleConnections() }

// RoundTrip sends a request.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var used *countedConn
	var before int64
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if used = counted(info.Conn); used != nil {
			before = used.written.Load()
		}
	}}
	sent := req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	if sent.Body != nil {
		sent.Body = plainBody{sent.Body}
	}
	resp, err := t.base.RoundTrip(sent)
	if err != nil {
		// On failure the connection has been closed before the error is returned: what was not written by now never is.
		if req.Context().Err() == nil && (used == nil || used.written.Load() == before) {
			err = errors.Join(errNotSent, err)
		}
		return nil, err
	}
	resp.Body = &boundedBody{resp.Body, maxAnswerBytes}
	return resp, nil
}

// plainBody hides that a body of the SDK can write itself. That method fails once the body is closed, which happens as
// soon as an answer has come; net/http may be about to look for a rest of the body just then, takes the failure for one
// of the connection, and closes it while the answer is being read (smithy-go 1.28.8, safeWriteToReadCloser.WriteTo).
type plainBody struct{ io.ReadCloser }

// countedConn counts the bytes that were written; those that are being written count already.
type countedConn struct {
	net.Conn
	written atomic.Int64
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.written.Add(int64(len(p)))
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n - len(p)))
	return n, err
}

// counted finds the counted connection, below TLS too.
func counted(conn net.Conn) *countedConn {
	if c, ok := conn.(*countedConn); ok {
		return c
	}
	if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return counted(c.NetConn())
	}
	return nil
}

// boundedBody fails a read beyond its bound.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (r *boundedBody) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errors.New("the answer is longer than any that the service gives")
	}
	n, err := r.ReadCloser.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}

// serverClock knows how far the service's clock is from ours, by the dates of its answers, which are cut to seconds.
type serverClock struct{ ahead atomic.Int64 }

func (c *serverClock) learn(meta middleware.Metadata, now time.Time) {
	if t, ok := awsmiddleware.GetServerTime(meta); ok && !t.IsZero() {
		c.ahead.Store(int64(t.Sub(now)))
	}
}

// serverNow is the service's time, up to a second less and the way of an answer.
func (b *Backend) serverNow() time.Time { return b.opts.Now().Add(time.Duration(b.clock.ahead.Load())) }
