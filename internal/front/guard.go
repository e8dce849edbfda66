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
	next  http.Handler
	hosts []string // further names that the operator trusts
}

func (g guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.trustedHost(r.Host) {
		refuse(w, "The Host "+quoteShort(r.Host)+" is neither a loopback name nor an AWS name. "+
			"Without credentials only those are served; configure credentials or name it with --allow-host.")
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" && !g.trustedOrigin(origin) {
		refuse(w, "Requests from the web origin "+quoteShort(origin)+" are refused while no credentials are configured.")
		return
	}
	g.next.ServeHTTP(w, r)
}

func refuse(w http.ResponseWriter, why string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write([]byte(why + "\n")) // the caller may be gone; there is nobody else to tell
}

func quoteShort(s string) string {
	const enough = 100
	if len(s) > enough {
		s = s[:enough] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, `"`+s+`"`)
}

// awsNames end the host names that AWS tools send when only the address of an endpoint is overridden, and those
// that resolve to loopback by definition.
var awsNames = []string{".amazonaws.com", ".amazonaws.com.cn", ".localhost", ".localhost.localstack.cloud"}

func (g guard) trustedHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "" || host == "localhost" {
		return true // HTTP/1.0 has no Host; a browser always sends one
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	for _, suffix := range awsNames {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	// A virtual-host bucket on a loopback address: "bucket.127.0.0.1".
	if i := strings.Index(host, ".127."); i >= 0 {
		if ip, err := netip.ParseAddr(host[i+1:]); err == nil {
			return ip.IsLoopback()
		}
	}
	for _, h := range g.hosts {
		if host == strings.ToLower(h) || strings.HasSuffix(host, "."+strings.ToLower(h)) {
			return true
		}
	}
	return false
}

func (g guard) trustedOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false // "null" among them: a sandboxed frame
	}
	// An AWS name is no excuse here: anyone can serve a page from a bucket.
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	for _, h := range g.hosts {
		if strings.EqualFold(host, h) {
			return true
		}
	}
	return false
}
