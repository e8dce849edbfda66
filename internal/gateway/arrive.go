package gateway

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"millrace/internal/gateway/mapping"
)

// arrive fills in what templates and mappings can see of the request. Where no method has been found, its members stay
// empty.
func (x *exchange) arrive(t target) {
	req := x.req
	x.headers()
	x.query = parseQuery(x.query, req.RawQuery)
	x.contentType = mediaType(req.Header.Get("Content-Type"))
	if !x.proxies() {
		for i := range x.path {
			x.path[i].Value = validText(x.path[i].Value)
		}
	}
	x.in = mapping.Input{
		Path: x.path, Query: x.query, Header: x.header,
		StageVariables: x.stage.variables, Context: &x.context,
	}
	domain := hostName(req.Host)
	prefix, _, _ := strings.Cut(domain, ".")
	x.context = mapping.Context{
		AccountID:         x.g.Account.ID,
		APIID:             x.api.id,
		DeploymentID:      x.stage.deploymentID,
		DomainName:        domain,
		DomainPrefix:      prefix,
		ExtendedRequestID: x.extendedID,
		HTTPMethod:        x.verb(),
		Path:              validText(t.full),
		Protocol:          "HTTP/1.1", // the service says so for HTTP/2, too
		RequestID:         x.requestID,
		RequestTime:       x.g.clock.format(req.Received),
		RequestTimeEpoch:  x.epoch,
		Stage:             x.stage.name,
		SourceIP:          x.g.sourceIP(req),
		UserAgent:         validText(req.Header.Get("User-Agent")),
		IsCanaryRequest:   x.stage.isCanary,
	}
	if m := x.method; m != nil {
		x.context.ResourceID, x.context.ResourcePath = m.resourceID, m.resourcePath
	}
}

// verb is the caller's method, or what it wants to count as it.
func (x *exchange) verb() string {
	if v := x.req.Header.Get("X-HTTP-Method-Override"); v != "" {
		return v
	}
	return x.req.Method
}

const (
	headerTrace = "X-Amzn-Trace-Id"
	headerFor   = "X-Forwarded-For"
	headerPort  = "X-Forwarded-Port"
	headerProto = "X-Forwarded-Proto"
)

// headers lists the headers that templates see: the caller's without those that the front door drops, and with those
// that it adds.
//
// Bytes that are no text are mended, for templates read text, unless it is a proxy that passes them on.
func (x *exchange) headers() {
	req, proxy := x.req, x.proxies()
	h := append(x.header[:0], mapping.Param{Name: "Host", Value: req.Host})
	forwarded, trace := "", ""
	for _, f := range req.Header {
		if dropped(f.Name) {
			continue
		}
		switch {
		case len(f.Name) == len(headerTrace) && strings.EqualFold(f.Name, headerTrace):
			if !isTrace(f.Value) {
				continue
			}
			trace = f.Value
		case len(f.Name) == len(headerFor) && strings.EqualFold(f.Name, headerFor):
			if forwarded != "" {
				forwarded += ", "
			}
			forwarded += f.Value
			continue
		}
		if !proxy {
			f.Value = validText(f.Value)
		}
		h = append(h, mapping.Param(f))
	}
	if trace == "" {
		h = append(h, mapping.Param{Name: headerTrace, Value: x.trace[:x.rootLen]})
	} else {
		x.adoptTrace(trace)
	}
	if forwarded == "" {
		forwarded = req.RemoteIP
	} else {
		forwarded += ", " + req.RemoteIP
	}
	port, proto := req.Port, "http"
	if req.TLS {
		proto = "https"
	}
	if port == "" {
		if port = "80"; req.TLS {
			port = "443"
		}
	}
	x.header = append(h, mapping.Param{Name: headerFor, Value: forwarded},
		mapping.Param{Name: headerPort, Value: port}, mapping.Param{Name: headerProto, Value: proto})
}

// isTrace reports whether a text has only what trace ids are written with: Root=1-…;Parent=…;Sampled=1;Lineage=1:…:0|…:5.
// Any other counts as none: templates put the id between the quotes of a JSON text as it is, as the service's own
// examples do, and a caller must not reach beyond them.
func isTrace(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			continue
		}
		if strings.IndexByte("=;:-_.,|/+@ ", c) < 0 {
			return false
		}
	}
	return s != ""
}

// proxies reports whether the request goes on as it came.
func (x *exchange) proxies() bool { return x.method != nil && x.method.proxy }

// droppedOnArrival never reach templates: those of the connection, and those that the front door writes itself.
var droppedOnArrival = [...]string{
	"Connection", "Content-Length", "Content-MD5", "Expect", "Max-Forwards", "Proxy-Authenticate", "Server", "TE",
	"Transfer-Encoding", "Trailer", "Upgrade", "WWW-Authenticate", headerPort, headerProto, "Host",
}

func dropped(name string) bool {
	for _, d := range droppedOnArrival {
		if len(d) == len(name) && strings.EqualFold(d, name) {
			return true
		}
	}
	return false
}

// parseQuery appends the parameters of a query, decoded once. What can't be decoded stays as it was sent.
func parseQuery(dst mapping.Params, raw string) mapping.Params {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		dst = append(dst, mapping.Param{Name: decodeQuery(name), Value: decodeQuery(value)})
	}
	return dst
}

func decodeQuery(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return validText(s)
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b = append(b, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return validText(string(b))
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// validText puts U+FFFD in the place of each byte that is not UTF-8.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	b := make([]byte, 0, len(s)+2*utf8.UTFMax)
	for _, r := range s { // a bad byte counts as one rune, RuneError
		b = utf8.AppendRune(b, r)
	}
	return string(b)
}

// maxHops bounds how far a X-Forwarded-For is followed: no honest chain of proxies is longer, and a caller can send
// any number.
const maxHops = 32

// sourceIP is the caller's address: the connection's, or when that is a trusted proxy's, the rightmost hop of
// X-Forwarded-For that no trusted proxy has.
func (g *Gateway) sourceIP(req *Request) string {
	if len(g.TrustedProxies) == 0 || !g.trusted(req.RemoteIP) {
		return req.RemoteIP
	}
	source := req.RemoteIP
	hops := 0
	for i := len(req.Header) - 1; i >= 0; i-- {
		f := req.Header[i]
		if len(f.Name) != len(headerFor) || !strings.EqualFold(f.Name, headerFor) {
			continue
		}
		list := f.Value
		for list != "" && hops < maxHops {
			hops++
			hop := list
			if at := strings.LastIndexByte(list, ','); at >= 0 {
				hop, list = list[at+1:], list[:at]
			} else {
				list = ""
			}
			hop = hopAddress(hop)
			if hop == "" {
				return source // not an address: what stands before it can't be believed
			}
			source = hop
			if !g.trusted(hop) {
				return hop
			}
		}
	}
	return source
}

// hopAddress gives the address of a hop such as "203.0.113.7", "203.0.113.7:4711" or "[2001:db8::1]:4711", without a
// zone, which can be any text; "" when it is none.
func hopAddress(hop string) string {
	hop = strings.TrimSpace(hop)
	if ap, err := netip.ParseAddrPort(hop); err == nil {
		return ap.Addr().WithZone("").String()
	}
	if inner, ok := strings.CutPrefix(hop, "["); ok {
		hop, _ = strings.CutSuffix(inner, "]")
	}
	a, err := netip.ParseAddr(hop)
	switch {
	case err != nil:
		return ""
	case a.Zone() != "":
		return a.WithZone("").String()
	}
	return hop
}

func (g *Gateway) trusted(address string) bool {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	for _, p := range g.TrustedProxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
