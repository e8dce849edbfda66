package config

import (
	"crypto/x509"
	"fmt"
	"io"
	"os"
)

// HTTP is about the calls that leave the node by HTTP for a definition: integrations, authorizers, functions, HTTP endpoints.
type HTTP struct {
	CAFile string `yaml:"ca-file"` // certificates, in PEM, of authorities that are trusted besides the system's
	Proxy  string `yaml:"proxy"`   // "none" (also empty), or "environment": HTTPS_PROXY, HTTP_PROXY and NO_PROXY
	// AllowHTTPEndpoints lets delivery streams have HTTP endpoints with http:// URLs, which the service refuses.
	AllowHTTPEndpoints bool `yaml:"allow-http-endpoints"`
}

// The values of HTTP.Proxy.
const (
	ProxyNone        = "none"
	ProxyEnvironment = "environment"
)

// maxCABytes bounds the file of authorities; the system's own have 250 KiB.
const maxCABytes = 4 << 20

func (h *HTTP) check(bad func(field, format string, args ...any)) {
	if h.Proxy != "" && h.Proxy != ProxyNone && h.Proxy != ProxyEnvironment {
		bad("http.proxy", "%q is neither %s nor %s", h.Proxy, ProxyNone, ProxyEnvironment)
	}
	if _, err := h.Roots(); err != nil {
		bad("http.ca-file", "%v", err)
	}
}

// Roots gives the authorities that are trusted; nil: the system's.
func (h *HTTP) Roots() (*x509.CertPool, error) {
	if h.CAFile == "" {
		return nil, nil
	}
	f, err := os.Open(h.CAFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pem, err := io.ReadAll(io.LimitReader(f, maxCABytes+1))
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("the system's authorities: %w", err)
	}
	if len(pem) > maxCABytes || !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate, or more than %d bytes", h.CAFile, maxCABytes)
	}
	return roots, nil
}
