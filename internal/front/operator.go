package front

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"millrace/internal/awswire"
)

// healthPath stays open when credentials are configured: load balancers and supervisors have none, and it tells
// nothing but whether the node works.
const healthPath = millracePath + "/health"

// maxOperatorBytes bounds the body of a call below /_millrace/.
const maxOperatorBytes = 1 << 20

// operators lets callers of /_millrace/ in. With credentials configured they sign as for a service named millrace,
// or send key and secret by HTTP Basic, which metrics collectors, browsers and curl can do; in clear text only
// from this machine. Pages of other origins are refused in any case: a browser would send a password along.
type operators struct {
	next   http.Handler
	signed http.Handler
	lookup awswire.Lookup
	guard  guard
	stats  *stats
}

func newOperators(next http.Handler, lookup awswire.Lookup, g guard, s *stats, now func() time.Time) http.Handler {
	if next == nil {
		next = http.NotFoundHandler()
	}
	o := &operators{next: next, lookup: lookup, guard: g, stats: s}
	o.signed = awswire.NewVerifier(string(operator), lookup, now).Require(maxOperatorBytes, awswire.RefuseREST, next)
	return o
}

func (o *operators) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !sameOrigin(r) && (o.lookup != nil || o.guard.refuses(r) != "") {
		o.deny(w, http.StatusForbidden, "Requests from other web origins are refused.")
		return
	}
	switch {
	case o.lookup == nil, r.URL.Path == healthPath && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		o.next.ServeHTTP(w, r)
	case strings.HasPrefix(r.Header.Get("Authorization"), awswire.Algorithm), strings.Contains(r.URL.RawQuery, "X-Amz-Algorithm="):
		o.signed.ServeHTTP(w, r)
	default:
		o.basic(w, r)
	}
}

func (o *operators) basic(w http.ResponseWriter, r *http.Request) {
	key, password, ok := r.BasicAuth()
	switch {
	case ok && r.TLS == nil && !fromLoopback(r):
		o.deny(w, http.StatusForbidden, "A password in clear text is taken from this machine only; use TLS, or sign the request.")
	case ok && o.correct(key, password):
		o.next.ServeHTTP(w, r)
	default:
		w.Header().Set("WWW-Authenticate", `Basic realm="millrace", charset="UTF-8"`)
		o.deny(w, http.StatusUnauthorized, "Credentials are needed: an access key and its secret, as HTTP Basic or as a signature for the service millrace.")
	}
}

// correct compares in a time that tells nothing of the secret.
func (o *operators) correct(key, password string) bool {
	secret, known := o.lookup(key)
	got, want := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && known
}

func fromLoopback(r *http.Request) bool {
	ip, err := netip.ParseAddr(remoteIP(r.RemoteAddr))
	return err == nil && ip.Unmap().IsLoopback()
}

func (o *operators) deny(w http.ResponseWriter, status int, why string) {
	o.stats.guarded.Add(1)
	awswire.WriteBody(w, status, "text/plain; charset=utf-8", []byte(why+"\n"))
}
