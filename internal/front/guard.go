package front

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// guard protects an endpoint that takes unsigned calls: it admits only Hosts that a name server of a stranger
// can't point at this machine unnoticed, and only Origins of this machine. A hostile web page in a developer's
// browser can reach 127.0.0.1; it can't choose these two headers.
type guard struct {
	hosts []string // further names that the operator trusts, in lower case
}

func newGuard(hosts []string) guard {
	var g guard
	for _, h := range hosts {
		g.hosts = append(g.hosts, strings.ToLower(strings.TrimSuffix(h, ".")))
	}
	return g
}

// refuses tells why a call is not admitted; "" when it is.
func (g guard) refuses(r *http.Request) string {
	if !g.trustedHost(r.Host) {
		return "The Host " + quoteShort(r.Host) + " is neither a loopback name nor an AWS name. " +
			"Without credentials only those are served; configure credentials, or name it with --allow-host."
	}
	for _, origin := range r.Header["Origin"] {
		if !g.trustedOrigin(origin) {
			return "Requests from the web origin " + quoteShort(origin) + " are refused while no credentials are configured."
		}
	}
	return ""
}

func quoteShort(s string) string { return `"` + short(s) + `"` }

// short makes a text of a caller fit to be shown.
func short(s string) string {
	const enough = 100
	if len(s) > enough {
		s = s[:enough] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
}

// awsNames end the host names that AWS tools send when only the address of an endpoint is overridden, and those
// that resolve to loopback by definition.
var awsNames = []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".localhost", ".localhost.localstack.cloud"}

func (g guard) trustedHost(hostport string) bool {
	host := hostName(hostport)
	if host == "" || host == "localhost" {
		return true // HTTP/1.0 has no Host; a browser always sends one
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	for _, suffix := range awsNames {
		if strings.HasSuffix(host, suffix) || host == suffix[1:] {
			return true
		}
	}
	// A virtual-host bucket on a loopback address: "bucket.127.0.0.1".
	if i := strings.LastIndex(host, ".127."); i >= 0 {
		if ip, err := netip.ParseAddr(host[i+1:]); err == nil {
			return ip.IsLoopback()
		}
	}
	for _, h := range g.hosts {
		if host == h || strings.HasSuffix(host, "."+h) {
			return true
		}
	}
	return false
}

// trustedOrigin takes pages of this machine. An AWS name is no excuse here: anyone can serve a page from a bucket.
func (g guard) trustedOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return false // "null" among them: a sandboxed frame
	}
	host := hostName(u.Host)
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	for _, h := range g.hosts {
		if host == h {
			return true
		}
	}
	return false
}

// sameOrigin reports whether a page of the endpoint itself calls, or no page at all.
func sameOrigin(r *http.Request) bool {
	for _, origin := range r.Header["Origin"] {
		if u, err := url.Parse(origin); err != nil || !strings.EqualFold(u.Host, r.Host) {
			return false
		}
	}
	return true
}

// hostName is a Host in lower case without port, brackets and the dot of the root.
func hostName(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
