package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

const (
	dialTimeout    = 5 * time.Second  // TCP tries three times within it
	tlsTimeout     = 5 * time.Second  // two round trips
	keepAlive      = 15 * time.Second // finds a peer that went without a word, also behind NAT
	idleTimeout    = 60 * time.Second // less than the usual load balancer's
	continueWait   = time.Second      // for leave to send a large body; then it is sent all the same
	maxHeaderBytes = 64 << 10         // of an answer; metadata is at most 2 KiB
	wireBuffer     = 64 << 10         // bodies are large: fewer, larger writes
)

// readRoots gives the system's certificates and those of a file; nil: the system's.
func readRoots(name string) (*x509.CertPool, error) {
	pem, err := readFile(name)
	if pem == nil || err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("certificates of the system: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in PEM form")
	}
	return pool, nil
}

// newHTTPClient makes a client whose every step has an end: dialling, the handshake, each write, the wait for an
// answer's head. Reading a body is watched by who reads it.
func newHTTPClient(o *Options, roots *x509.CertPool) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := dialer.DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return &conn{c, o.Timeout}, nil
			},
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    tlsTimeout,
			DisableCompression:     true, // a body that is gzip stays so
			MaxIdleConns:           o.Connections,
			MaxIdleConnsPerHost:    o.Connections,
			MaxConnsPerHost:        o.Connections,
			IdleConnTimeout:        idleTimeout,
			ResponseHeaderTimeout:  o.Timeout,
			ExpectContinueTimeout:  continueWait,
			MaxResponseHeaderBytes: maxHeaderBytes,
			WriteBufferSize:        wireBuffer,
			ReadBufferSize:         wireBuffer,
		},
		// A redirection is an answer with a code, which says that the region or the endpoint is wrong.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// conn ends a write whose peer does not read: net/http has no limit for that.
type conn struct {
	net.Conn
	timeout time.Duration
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
