package awswire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Algorithm is the only signing algorithm of Signature Version 4 that is taken.
const Algorithm = "AWS4-HMAC-SHA256"

// maxSignedHeaders and maxAuthorization bound what a caller can make us canonicalise.
const (
	maxSignedHeaders = 100
	maxAuthorization = 16 << 10
)

// Signature is a parsed Signature Version 4, from the Authorization header or from the query of a presigned URL.
type Signature struct {
	AccessKeyID   string
	Date          string // of the scope: "20130524"
	Region        string // "us-east-1"
	Service       string // "kinesis"
	SignedHeaders []string
	Signature     string // hexadecimal
	Time          time.Time
	TimeText      string        // as sent: "20130524T000000Z"
	Expires       time.Duration // of a presigned URL
	Presigned     bool
}

// Scope is the credential scope: "20130524/us-east-1/s3/aws4_request".
func (s *Signature) Scope() string {
	return s.Date + "/" + s.Region + "/" + s.Service + "/aws4_request"
}

// Scope gives the service that a request was signed for, "" when it bears no signature that says so. It decides
// where a request goes before anything else of it is looked at, and promises nothing about the signature.
func Scope(r *http.Request) string {
	credential := ""
	if auth := r.Header.Get("Authorization"); auth != "" {
		credential = parseAuthorization(auth).credential
	} else if strings.Contains(r.URL.RawQuery, "X-Amz-Credential=") {
		credential = r.URL.Query().Get("X-Amz-Credential")
	}
	if parts := strings.Split(credential, "/"); len(parts) >= 5 {
		return parts[len(parts)-2]
	}
	return ""
}

// authorization is what an Authorization header says after its scheme.
type authorization struct{ credential, signature, signedHeaders string }

// parseAuthorization splits what follows the scheme at commas and blanks into key=value. Of a key that comes again
// the last one counts.
func parseAuthorization(header string) (a authorization) {
	if len(header) > maxAuthorization {
		return a
	}
	_, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	for rest != "" {
		field := rest
		if i := strings.IndexAny(rest, ", \t"); i >= 0 {
			field, rest = rest[:i], rest[i+1:]
		} else {
			rest = ""
		}
		switch k, v, _ := strings.Cut(field, "="); k {
		case "Credential":
			a.credential = v
		case "Signature":
			a.signature = v
		case "SignedHeaders":
			a.signedHeaders = v
		}
	}
	return a
}

// parseHeader reads the header form; the texts are Kinesis's.
func parseHeader(r *http.Request) (*Signature, *AuthFault) {
	auth := r.Header.Get("Authorization")
	parts := parseAuthorization(auth)
	date := r.Header.Get("X-Amz-Date")
	if date == "" {
		date = r.Header.Get("Date")
	}
	var missing strings.Builder
	for _, p := range [...]struct{ name, value string }{
		{"Credential", parts.credential}, {"Signature", parts.signature}, {"SignedHeaders", parts.signedHeaders},
	} {
		if p.value == "" {
			missing.WriteString("Authorization header requires '" + p.name + "' parameter. ")
		}
	}
	if date == "" {
		missing.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	}
	if missing.Len() > 0 {
		return nil, incomplete(missing.String() + "Authorization=" + auth)
	}
	if scheme, _, _ := strings.Cut(auth, " "); scheme != Algorithm {
		return nil, incomplete("Unsupported AWS 'algorithm': '" + scheme + "'. ")
	}
	s := &Signature{Signature: parts.signature}
	return s, s.fill(parts.credential, parts.signedHeaders, date)
}

// parseQuery reads the form of presigned URLs.
func parseQuery(q url.Values) (*Signature, *AuthFault) {
	var missing strings.Builder
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"} {
		if q.Get(name) == "" {
			missing.WriteString("AWS query-string parameters must include '" + name + "'. ")
		}
	}
	if missing.Len() > 0 {
		return nil, incomplete(missing.String() + "Re-examine the query-string parameters.")
	}
	if q.Get("X-Amz-Algorithm") != Algorithm {
		return nil, incomplete("Unsupported AWS 'algorithm': '" + q.Get("X-Amz-Algorithm") + "'. ")
	}
	s := &Signature{Signature: q.Get("X-Amz-Signature"), Presigned: true}
	if text := q.Get("X-Amz-Expires"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return nil, incomplete("X-Amz-Expires should be a number")
		}
		s.Expires = time.Duration(seconds) * time.Second
	}
	return s, s.fill(q.Get("X-Amz-Credential"), q.Get("X-Amz-SignedHeaders"), q.Get("X-Amz-Date"))
}

func incomplete(text string) *AuthFault {
	return &AuthFault{Code: "IncompleteSignatureException", Message: text}
}

func (s *Signature) fill(credential, signedHeaders, date string) *AuthFault {
	parts := strings.Split(credential, "/")
	if len(parts) < 5 || parts[len(parts)-1] != "aws4_request" {
		return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + credential + "'")
	}
	n := len(parts)
	s.AccessKeyID = strings.Join(parts[:n-4], "/")
	s.Date, s.Region, s.Service = parts[n-4], parts[n-3], parts[n-2]
	s.SignedHeaders = strings.Split(signedHeaders, ";")
	if len(s.SignedHeaders) > maxSignedHeaders {
		return incomplete("SignedHeaders names too many headers.")
	}
	s.TimeText = date
	if t, err := time.Parse(BasicLayout, date); err == nil {
		s.Time = t
	} else if t, err := http.ParseTime(date); err == nil {
		s.Time = t.UTC()
		s.TimeText = t.UTC().Format(BasicLayout)
	} else {
		return incomplete("Date must be in ISO-8601 'basic format'. Got '" + date + "'. See http://en.wikipedia.org/wiki/ISO_8601")
	}
	return nil
}

// signingKey derives the key of a scope from a secret.
func signingKey(secret string, s *Signature) []byte {
	k := mac([]byte("AWS4"+secret), s.Date)
	k = mac(k, s.Region)
	k = mac(k, s.Service)
	return mac(k, "aws4_request")
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// sign gives the hexadecimal signature over a canonical request.
func (s *Signature) sign(key []byte, canonical string) string {
	return hex.EncodeToString(mac(key, Algorithm+"\n"+s.TimeText+"\n"+s.Scope()+"\n"+hexSum([]byte(canonical))))
}

// canonicalPaths gives the forms of the path that a signature may cover. Services encode what stands on the wire
// again; S3 encodes the path once, which for most clients is what they sent, for some its one canonical form.
func canonicalPaths(r *http.Request, s3 bool) []string {
	raw := rawPath(r)
	if raw == "" {
		raw = "/"
	}
	if !s3 {
		return []string{string(appendURI(nil, raw, true))}
	}
	paths := []string{raw}
	if decoded, err := url.PathUnescape(raw); err == nil {
		if again := string(appendURI(nil, decoded, true)); again != raw {
			paths = append(paths, again)
		}
	}
	return paths
}

// canonical writes the canonical request.
func (s *Signature) canonical(r *http.Request, path, payloadHash string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + path + "\n")
	b.WriteString(canonicalQuery(r.URL.RawQuery))
	b.WriteByte('\n')
	for _, name := range s.SignedHeaders {
		b.WriteString(name + ":" + signedHeader(r, name) + "\n")
	}
	b.WriteString("\n" + strings.Join(s.SignedHeaders, ";") + "\n" + payloadHash)
	return b.String()
}

// rawPath is the path as it stood on the wire.
func rawPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	return r.URL.EscapedPath()
}

func signedHeader(r *http.Request, name string) string {
	if name == "host" || name == ":authority" {
		return r.Host
	}
	values := r.Header.Values(name)
	if len(values) == 0 {
		if name == "content-length" && r.ContentLength >= 0 {
			return strconv.FormatInt(r.ContentLength, 10)
		}
		return ""
	}
	trimmed := make([]string, len(values))
	for i, v := range values {
		trimmed[i] = strings.Join(strings.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == '\t' }), " ")
	}
	return strings.Join(trimmed, ",")
}

// canonicalQuery sorts the parameters, encodes them in the one canonical way, and leaves the signature out.
func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	var params []string
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, value = unescapeQuery(name), unescapeQuery(value)
		if name == "X-Amz-Signature" {
			continue
		}
		encoded := append(appendURI(nil, name, false), '=')
		params = append(params, string(appendURI(encoded, value, false)))
	}
	// Order is by name, then value; "=" must not take part, as a name may be the beginning of another.
	slices.SortFunc(params, func(a, b string) int {
		an, av, _ := strings.Cut(a, "=")
		bn, bv, _ := strings.Cut(b, "=")
		if c := strings.Compare(an, bn); c != 0 {
			return c
		}
		return strings.Compare(av, bv)
	})
	return strings.Join(params, "&")
}

func unescapeQuery(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// appendURI appends s with every byte but the unreserved ones in percent form.
func appendURI(dst []byte, s string, keepSlash bool) []byte {
	const hexDigits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '_', c == '.', c == '~', keepSlash && c == '/':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return dst
}
