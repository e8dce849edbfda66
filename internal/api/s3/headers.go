package s3

import (
	"crypto/md5"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"millrace/internal/object"
)

const (
	metaPrefix     = "X-Amz-Meta-"
	checksumPrefix = "X-Amz-Checksum-"
)

// checkHeaders refuses headers that ask for what is not done. What has no effect here and none that a caller could
// notice, such as the encryption that the service always applies, is let through; operations.go says so.
func (c *call) checkHeaders() error {
	h := c.r.Header
	for name, allowed := range guardedHeaders {
		value := h.Get(name)
		if value == "" || slices.Contains(allowed, value) {
			continue
		}
		if name == "X-Amz-Acl" {
			return errNoACL
		}
		return errUnsupported("The header "+strings.ToLower(name)+" with the value "+strconv.Quote(short(value))).
			with("Header", strings.ToLower(name))
	}
	for name := range h {
		switch {
		case strings.HasPrefix(name, "X-Amz-Grant-"):
			return errNoACL
		case strings.HasPrefix(name, "X-Amz-Object-Lock-"):
			return errInvalidRequest("Bucket is missing Object Lock Configuration")
		case strings.HasPrefix(name, "X-Amz-Server-Side-Encryption-Customer-"),
			strings.HasPrefix(name, "X-Amz-Copy-Source-Server-Side-Encryption-Customer-"),
			strings.HasPrefix(name, "X-Amz-Server-Side-Encryption-Aws-"), strings.HasPrefix(name, "X-Amz-Server-Side-Encryption-Context"):
			return errUnsupported("The header "+strings.ToLower(name)).with("Header", strings.ToLower(name))
		}
	}
	if v := c.query.Get("versionId"); v != "" && v != "null" {
		if c.op.Method == http.MethodGet || c.op.Method == http.MethodHead {
			return errNoSuchVersion.with("Key", c.key).with("VersionId", v)
		}
		return errInvalidArgument("Invalid version id specified", "versionId", short(v))
	}
	return nil
}

// guardedHeaders have values that change nothing here; others are refused.
var guardedHeaders = map[string][]string{
	"X-Amz-Acl":                       {"private", "bucket-owner-full-control"},
	"X-Amz-Server-Side-Encryption":    {"AES256"},
	"X-Amz-Storage-Class":             {"STANDARD"},
	"X-Amz-Website-Redirect-Location": nil,
	"X-Amz-Write-Offset-Bytes":        nil,
	"X-Amz-Bucket-Object-Lock-Enabled": {
		"false", "False"},
	"X-Amz-Object-Ownership":            {"BucketOwnerEnforced"},
	"X-Amz-Optional-Object-Attributes":  {"RestoreStatus"},
	"X-Amz-If-Match-Last-Modified-Time": nil,
	"X-Amz-If-Match-Size":               nil,
	"X-Amz-If-Match-Initiated-Time":     nil,
	"X-Amz-Bypass-Governance-Retention": {"true", "false"}, // nothing is retained
	"X-Amz-Bucket-Namespace":            {"global"},
}

// short keeps an echo of a caller's text short.
func short(text string) string {
	const most = 100
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

// attributes reads the headers that an object keeps.
func (c *call) attributes() (object.Attributes, error) {
	h := c.r.Header
	a := object.Attributes{
		ContentType:        h.Get("Content-Type"),
		ContentEncoding:    contentEncoding(h.Values("Content-Encoding")),
		ContentDisposition: h.Get("Content-Disposition"),
		ContentLanguage:    h.Get("Content-Language"),
		CacheControl:       h.Get("Cache-Control"),
		Expires:            h.Get("Expires"),
		Metadata:           c.req.HeaderMap(metaPrefix),
	}
	if a.ContentType == "" {
		a.ContentType = "binary/octet-stream"
	}
	size := 0
	for name, value := range a.Metadata {
		size += len(name) + len(value)
		if !utf8.ValidString(value) {
			return a, errInvalidArgument("Metadata values must be UTF-8.", strings.ToLower(metaPrefix)+name, "")
		}
	}
	if size > object.MaxMetadataBytes {
		return a, errMetadataTooLarge.with("Size", strconv.Itoa(size))
	}
	var err error
	a.Tags, err = tagsOfHeader(h.Get("X-Amz-Tagging"))
	return a, err
}

// contentEncoding leaves out aws-chunked, which belongs to the transfer.
func contentEncoding(values []string) string {
	var kept []string
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" && !strings.EqualFold(part, "aws-chunked") {
				kept = append(kept, part)
			}
		}
	}
	return strings.Join(kept, ",")
}

// digests are what a caller says about a body.
type digests struct {
	object.Digests
	algorithm string // of the checksum, in headers or to come as a trailer; empty: none
	trailer   func() (object.Digests, error)
}

// digests reads Content-MD5, checksum headers, and which trailer will follow.
func (c *call) digests() (digests, error) {
	var d digests
	h := c.r.Header
	if text, ok := h["Content-Md5"]; ok {
		sum, err := base64.StdEncoding.DecodeString(text[0])
		if err != nil || len(sum) != md5.Size {
			return d, newError(400, "InvalidDigest", "The Content-MD5 you specified was invalid.").with("Content-MD5", short(text[0]))
		}
		d.MD5 = sum
	}
	var err error
	if d.Checksums, err = checksumsOf(h); err != nil {
		return d, err
	}
	if len(d.Checksums) == 1 {
		d.algorithm = d.Checksums[0].Algorithm
	}
	if err := c.trailing(&d); err != nil {
		return d, err
	}
	return d, c.announced(&d)
}

// checksumsOf reads the checksum headers; there is one at most.
func checksumsOf(h http.Header) (list []object.Checksum, err error) {
	for name, values := range h {
		rest, ok := strings.CutPrefix(name, checksumPrefix)
		if !ok || rest == "Type" || rest == "Mode" || rest == "Algorithm" {
			continue
		}
		algorithm, err := algorithmOf(rest)
		if err != nil {
			return nil, err
		}
		if !wellFormed(algorithm, values[0]) {
			return nil, errInvalidRequest("Value for " + strings.ToLower(name) + " header is invalid.")
		}
		list = append(list, object.Checksum{Algorithm: algorithm, Value: values[0]})
	}
	if len(list) > 1 {
		return nil, errInvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
	}
	return list, nil
}

// algorithmOf reads the name of an algorithm in any case.
func algorithmOf(name string) (string, error) {
	upper := strings.ToUpper(name)
	if slices.Contains(object.Algorithms, upper) {
		return upper, nil
	}
	return "", errUnsupported("The checksum algorithm " + short(upper))
}

// wellFormed reports whether a text is a checksum of the algorithm; composite ones end in "-" and the number of parts.
func wellFormed(algorithm, value string) bool {
	value, _, _ = strings.Cut(value, "-")
	raw, err := base64.StdEncoding.DecodeString(value)
	return err == nil && len(raw) == object.NewHash(algorithm).Size()
}

// trailing prepares for the checksum behind an aws-chunked body.
func (c *call) trailing(d *digests) error {
	for name := range strings.SplitSeq(c.r.Header.Get("X-Amz-Trailer"), ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		rest, ok := strings.CutPrefix(name, strings.ToLower(checksumPrefix))
		if name == "" || !ok {
			continue
		}
		algorithm, err := algorithmOf(rest)
		if err != nil {
			return err
		}
		if d.algorithm != "" {
			return errInvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		d.algorithm = algorithm
		d.trailer = func() (object.Digests, error) {
			value, ok := c.payload.Trailer[name]
			if !ok {
				return object.Digests{}, errTrailer
			}
			if !wellFormed(algorithm, value) {
				return object.Digests{}, errInvalidRequest("Value for " + name + " trailing header is invalid.")
			}
			return object.Digests{Checksums: []object.Checksum{{Algorithm: algorithm, Value: value}}}, nil
		}
	}
	return nil
}

// announced compares x-amz-sdk-checksum-algorithm with what came.
func (c *call) announced(d *digests) error {
	text := c.r.Header.Get("X-Amz-Sdk-Checksum-Algorithm")
	if text == "" {
		return nil
	}
	algorithm, err := algorithmOf(text)
	switch {
	case err != nil:
		return err
	case d.algorithm == "":
		return errInvalidRequest("x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	case d.algorithm != algorithm:
		return errInvalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	return nil
}

// compareDigests compares digests with a whole body.
func compareDigests(d object.Digests, body []byte) error {
	if d.MD5 != nil {
		if sum := md5.Sum(body); string(sum[:]) != string(d.MD5) {
			return errBadDigest("MD5")
		}
	}
	for _, c := range d.Checksums {
		if encodedSum(c.Algorithm, body) != c.Value {
			return errBadDigest(c.Algorithm)
		}
	}
	return nil
}

// conditions reads the conditions of a write.
func (c *call) conditions() (object.Conditions, error) {
	h := c.r.Header
	cond := object.Conditions{IfNoneMatch: h.Get("If-None-Match"), IfMatch: unquoted(h.Get("If-Match"))}
	if cond.IfNoneMatch != "" && cond.IfNoneMatch != "*" {
		return cond, errUnsupported("If-None-Match of a write with a value other than *").with("Header", "If-None-Match")
	}
	return cond, nil
}

// setChecksums writes checksums into headers.
func setChecksums(h http.Header, list []object.Checksum) {
	for _, c := range list {
		h[http.CanonicalHeaderKey(checksumPrefix+c.Algorithm)] = []string{c.Value}
	}
	if len(list) > 0 {
		h["X-Amz-Checksum-Type"] = []string{checksumType(list)}
	}
}

func checksumType(list []object.Checksum) string {
	switch {
	case len(list) == 0:
		return ""
	case list[0].Composite:
		return "COMPOSITE"
	}
	return "FULL_OBJECT"
}

// named gives the value of one algorithm's checksum for a document; nil when there is none.
func named(list []object.Checksum, algorithm string) *string {
	for i := range list {
		if list[i].Algorithm == algorithm {
			return new(list[i].Value)
		}
	}
	return nil
}
