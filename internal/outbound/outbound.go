// Package outbound is what all clients of HTTP share that leave the node on behalf of
// a definition: integrations, authorizers, functions, HTTP endpoints.
//
//	Options (whom to trust, by which proxy) + Bounds ─> http.Transport: HTTP/1.1, no cookie, no decompression
//	Body: memory that its owner gets back, whatever the transport still does with it
//
// Transports follow no redirect: that is a matter of http.Client, which their users do
// without. Each user has a transport of its own, so that a slow host of one takes no
// connection of another.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"
)

// Options say whom the node trusts and which way its calls go. The zero value: the system's authorities, no proxy.
type Options struct {
	Roots *x509.CertPool                        // nil: the system's
	Proxy func(*http.Request) (*url.URL, error) // nil: none
}

// Bounds are a transport's own.
type Bounds struct {
	PerHost         int // connections to one host, in use or not; who finds none waits
	IdlePerHost     int // of them, kept for the next request
	IdleInAll       int
	HeaderBytes     int64 // of an answer's head
	RefuseLinkLocal bool  // where a definition's author names the host
}

// The times that connections have.
const (
	DialTime  = 10 * time.Second // within it TCP tries four times
	TLSTime   = 10 * time.Second
	idleTime  = 55 * time.Second // less than the usual load balancer's minute, which may close one as a request comes
	keepAlive = 15 * time.Second // finds a peer that went without a word
)

// Transport makes a transport that checks certificates by the options.
func (o Options) Transport(b Bounds) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  o.Proxy,
		DialContext:            Dialer(b.RefuseLinkLocal).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    TLSTime,
		DisableCompression:     true, // an answer is bounded as it comes
		MaxIdleConns:           b.IdleInAll,
		MaxIdleConnsPerHost:    b.IdlePerHost,
		MaxConnsPerHost:        b.PerHost,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: b.HeaderBytes,
		Protocols:              protocols,
	}
}

// Dialer makes a dialer, one that refuses link-local addresses if it is asked to.
func Dialer(refuseLinkLocal bool) *net.Dialer {
	d := &net.Dialer{Timeout: DialTime, KeepAlive: keepAlive}
	if refuseLinkLocal {
		d.Control = refuse
	}
	return d
}

// ErrLinkLocal is why a host is not called. The service can't reach its owner's machines either.
var ErrLinkLocal = errors.New("a link-local address, where clouds keep the credentials of machines, is no host to call")

// refuse looks at the address that a name has led to, so that no name can lead there.
func refuse(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if LinkLocal(ap.Addr()) {
		return ErrLinkLocal
	}
	return nil
}

// LinkLocal tells whether an address is one that is refused.
func LinkLocal(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLinkLocalUnicast() || ip.WithZone("") == imdsIPv6
}

var imdsIPv6 = netip.MustParseAddr("fd00:ec2::254")

// CheckHost refuses a link-local address that stands in a URL itself: by way of a proxy the dialer sees the proxy's only.
func CheckHost(u *url.URL) error {
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && LinkLocal(ip) {
		return ErrLinkLocal
	}
	return nil
}

// Body is the memory of a request's body. net/http may read on when it has given an answer already, or an error; the
// memory is its owner's, who uses it again. After Release no read touches it.
type Body struct {
	mu    sync.Mutex
	b     []byte
	whole bool // it has been read to its end
}

// NewBody makes a body of b.
func NewBody(b []byte) *Body { return &Body{b: b} }

// Release gives the memory back.
func (b *Body) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b = nil
}

// Done releases a body that has been read whole, and tells so. One that was answered before it was read may go on to be
// read.
func (b *Body) Done() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.whole && len(b.b) > 0 {
		return false
	}
	b.b = nil
	return true
}

// Attach makes the body that of a request: once now, and again for a kept connection that was closed meanwhile.
func (b *Body) Attach(r *http.Request) {
	r.ContentLength = int64(len(b.b))
	r.Body = &bodyReader{body: b}
	r.GetBody = func() (io.ReadCloser, error) { return &bodyReader{body: b}, nil }
}

type bodyReader struct {
	body  *Body
	at    int
	ended bool // net/http looks once more for an end that it has been told of
}

var errReleased = errors.New("the request is over")

func (r *bodyReader) Read(p []byte) (int, error) {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	if r.ended {
		return 0, io.EOF
	}
	if r.body.b == nil {
		return 0, errReleased
	}
	n := copy(p, r.body.b[r.at:])
	if r.at += n; r.at == len(r.body.b) {
		r.ended, r.body.whole = true, true
		return n, io.EOF
	}
	return n, nil
}

func (r *bodyReader) Close() error { return nil }

// Request makes a POST of JSON to u. Credentials in u become basic authentication; they go no other way.
func Request(ctx context.Context, u *url.URL, body *Body) *http.Request {
	target := *u
	target.User = nil
	r := (&http.Request{
		Method: http.MethodPost, URL: &target, Host: target.Host, Header: make(http.Header, 8),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if u.User != nil {
		password, _ := u.User.Password()
		r.SetBasicAuth(u.User.Username(), password)
	}
	r.Header["User-Agent"] = userAgent
	r.Header["Content-Type"] = contentType
	body.Attach(r)
	return r
}

var (
	userAgent   = []string{"millrace"}
	contentType = []string{"application/json"}
)
