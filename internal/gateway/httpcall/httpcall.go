// Package httpcall sends the requests of HTTP integrations: it is the gateway's
// [gateway.Sender] on net/http, the one place behind the gateway that knows it.
//
//	gateway.Call ─ host (bound of requests under way) ─ connection, kept or new ─> backend
//
// It speaks HTTP/1.1, as the service does, follows no redirect and keeps no cookie.
// Every step has an end: the call's deadline covers the whole of it, the connection
// and the last byte of the answer included. A backend that does not answer holds its
// own share of requests, never another's.
package httpcall

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"millrace/internal/fault"
	"millrace/internal/gateway"
	"millrace/internal/outbound"
)

// The bounds of requests and connections.
const (
	// maxPerHost bounds the requests to one host that are under way: with the longest timeout, 29 s, a dead host takes
	// no more than 35 requests a second from then on, and the others are refused at once.
	maxPerHost = 1024
	// maxInAll bounds them over all hosts: several dead ones leave room, and a process has descriptors for it.
	maxInAll = 8 * maxPerHost
	// maxBytesPerHost bounds the bodies of those requests, which are in the node's memory for bodies as long as they wait:
	// a quarter of its default, and room for the largest one.
	maxBytesPerHost = 16 << 20

	idlePerHost    = 128      // connections that are kept for the next request
	idleInAll      = 1024     // the same over all hosts
	maxHeaderBytes = 64 << 10 // of an answer's head; the service's own bound is 10240
)

// Client sends requests. It is safe for concurrent use.
type Client struct {
	checked, unchecked *http.Transport // the latter takes certificates of any authority

	perHost, inAll int
	bytesPerHost   int64

	mu    sync.Mutex
	hosts map[string]load // a host without requests has no entry
	total int
}

// load is what is under way to a host.
type load struct {
	requests int
	bytes    int64 // of their bodies
}

// New makes a client.
func New(o outbound.Options) *Client {
	c := &Client{perHost: maxPerHost, inAll: maxInAll, bytesPerHost: maxBytesPerHost, hosts: map[string]load{}}
	bounds := outbound.Bounds{PerHost: maxPerHost, IdlePerHost: idlePerHost, IdleInAll: idleInAll, HeaderBytes: maxHeaderBytes, RefuseLinkLocal: true}
	c.checked = o.Transport(bounds)
	c.unchecked = o.Transport(bounds)
	c.unchecked.DialTLSContext = dialUnchecked
	c.unchecked.TLSClientConfig = uncheckedTLS("") // by a proxy, where net/http dials and fills in the name
	return c
}

// dialUnchecked makes a connection for insecureSkipVerification, which asks for no known authority; name and dates must
// be right all the same, says the API reference.
func dialUnchecked(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	raw, err := outbound.Dialer(true).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, uncheckedTLS(host))
	ctx, cancel := context.WithTimeout(ctx, outbound.TLSTime)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// uncheckedTLS asks for a certificate of the host, by whatever authority; an empty host is the name that the connection is
// made for, which TLS knows of names only, not of addresses.
func uncheckedTLS(host string) *tls.Config {
	return &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			name := host
			if name == "" {
				name = s.ServerName
			}
			if name == "" {
				return errNameless
			}
			return checkNameAndDates(name, s.PeerCertificates[0])
		},
	}
}

var errNameless = errors.New("by a proxy, a certificate of any authority is taken for a host's name only, not for an address")

func checkNameAndDates(host string, leaf *x509.Certificate) error {
	if err := leaf.VerifyHostname(host); err != nil {
		return err
	}
	if now := time.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return x509.CertificateInvalidError{Cert: leaf, Reason: x509.Expired}
	}
	return nil
}

// Close closes the connections that no request uses.
func (c *Client) Close() {
	c.checked.CloseIdleConnections()
	c.unchecked.CloseIdleConnections()
}

const op = "httpcall.Send"

// Send sends a request and takes the answer; see [gateway.Sender].
func (c *Client) Send(ctx context.Context, call *gateway.Call) error {
	u, err := url.Parse(call.Target)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil {
		return fault.New(fault.Invalid, op, "", "the uri is no address of a host")
	}
	if err := outbound.CheckHost(u); err != nil {
		return dressed(u.Host, err)
	}
	size := int64(len(call.Body))
	if !c.enter(u.Host, size) {
		return fault.New(fault.Throttled, op, u.Host, "%d requests to it with %d bytes, or %d requests in all, are under way",
			c.perHost, c.bytesPerHost, c.inAll)
	}
	defer c.leave(u.Host, size)
	body := outbound.NewBody(call.Body)
	defer body.Release()
	transport := c.checked
	if call.InsecureTLS {
		transport = c.unchecked
	}
	resp, err := transport.RoundTrip(request(ctx, u, call, body))
	if err != nil {
		return dressed(u.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 {
		return fault.New(fault.Unavailable, op, u.Host, "status %d is no final answer", resp.StatusCode)
	}
	call.Status = resp.StatusCode
	for name, values := range resp.Header {
		for _, v := range values {
			call.Answer = append(call.Answer, gateway.Field{Name: name, Value: v})
		}
	}
	sortFields(call.Answer)
	if err := call.Begin(body.Done()); err != nil {
		return err
	}
	if call.Verb == http.MethodHead {
		return nil // its length is that of a body which does not come
	}
	if resp.ContentLength > 0 && !call.Streams() {
		if err := call.Expect(resp.ContentLength); err != nil {
			return err
		}
	}
	if _, err := call.ReadFrom(resp.Body); err != nil {
		return dressed(u.Host, err)
	}
	return nil
}

// request makes net/http's request. The header lines keep their spelling, but for those that net/http looks for.
func request(ctx context.Context, u *url.URL, call *gateway.Call, b *outbound.Body) *http.Request {
	r := &http.Request{
		Method: call.Verb, URL: u, Host: u.Host, Header: make(http.Header, len(call.Header)+1),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	for _, f := range call.Header {
		switch name := special(f.Name); name {
		case "Host":
			r.Host = f.Value
		case "Content-Length", "Transfer-Encoding", "Connection", "Trailer": // net/http's own
		default:
			r.Header[name] = append(r.Header[name], f.Value)
		}
	}
	if _, set := r.Header["User-Agent"]; !set {
		r.Header["User-Agent"] = nil // none, instead of net/http's
	}
	if len(call.Body) > 0 {
		b.Attach(r)
	} else if call.Verb != http.MethodGet && call.Verb != http.MethodHead {
		r.Body = http.NoBody // with it POST and PUT say Content-Length: 0
	}
	return r.WithContext(ctx)
}

var specialNames = [...]string{"Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Connection", "Trailer"}

func special(name string) string {
	for _, s := range specialNames {
		if len(s) == len(name) && strings.EqualFold(s, name) {
			return s
		}
	}
	return name
}

// sortFields brings header lines into the order of their names, for net/http has lost their own.
func sortFields(h gateway.Header) {
	for i := 1; i < len(h); i++ { // a few lines, most of them in order
		for j := i; j > 0 && h[j].Name < h[j-1].Name; j-- {
			h[j], h[j-1] = h[j-1], h[j]
		}
	}
}

// dressed gives an error its kind. A name that leads nowhere is the definition's fault, all else the network's or
// the backend's.
func dressed(host string, err error) error {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound || errors.Is(err, outbound.ErrLinkLocal) {
		return fault.New(fault.Invalid, op, host, "%w", err)
	}
	return fault.New(fault.Unavailable, op, host, "%w", err)
}

// enter counts a request to a host, unless there are too many.
func (c *Client) enter(host string, size int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.hosts[host]
	if c.total >= c.inAll || now.requests >= c.perHost || now.bytes+size > c.bytesPerHost {
		return false
	}
	c.total++
	c.hosts[host] = load{now.requests + 1, now.bytes + size}
	return true
}

func (c *Client) leave(host string, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	now := c.hosts[host]
	if now = (load{now.requests - 1, now.bytes - size}); now.requests == 0 {
		delete(c.hosts, host)
		return
	}
	c.hosts[host] = now
}
