package s3

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/internal/awswire"
)

// authenticate finds who sends the request and gives its body to read. Signatures of version 4 are awswire's business.
// Version 2 is known in URLs only: boto3 signs URLs of the first region with it unless told otherwise.
func (c *call) authenticate(path string) error {
	if c.query.Has("Signature") && c.query.Has("AWSAccessKeyId") && c.r.Header.Get("Authorization") == "" {
		if err := c.verifyVersion2(path); err != nil {
			return err
		}
		c.caller = awswire.Caller{AccessKeyID: c.query.Get("AWSAccessKeyId"), Region: c.Account.Region}
		c.payload = &awswire.Payload{Reader: http.NoBody, Length: c.r.ContentLength}
		if c.r.Body != nil {
			c.payload.Reader = c.r.Body
		}
		c.adoptQuery()
		return nil
	}
	caller, payload, authFault := c.verifier.VerifyStream(c.r)
	if authFault != nil {
		return authFault
	}
	c.caller, c.payload = caller, payload
	if c.query.Has("X-Amz-Signature") {
		c.adoptQuery()
	}
	return nil
}

// adoptQuery makes headers of what the signer of a URL has put into its query: x-amz-meta-a=1 says what the header
// says. x-amz-sdk-checksum-algorithm stays where it is: an SDK announces with it what the sender of the body may not do.
func (c *call) adoptQuery() {
	for name, values := range c.query {
		lower := strings.ToLower(name)
		adopted := strings.HasPrefix(lower, "x-amz-") && !slices.Contains(signingParameters, lower) || lower == "content-type" || lower == "content-md5"
		if header := http.CanonicalHeaderKey(name); adopted && c.r.Header.Get(header) == "" {
			c.r.Header[header] = values
		}
	}
}

var signingParameters = []string{"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signedheaders", "x-amz-signature",
	"x-amz-security-token", "x-amz-content-sha256", "x-amz-sdk-checksum-algorithm"}

// verifyVersion2 compares ?AWSAccessKeyId=…&Signature=…&Expires=…, as the User Guide's "Signing and authenticating REST
// requests" has it.
func (c *call) verifyVersion2(path string) error {
	if c.Credentials == nil {
		return nil
	}
	secret, ok := c.Credentials(c.query.Get("AWSAccessKeyId"))
	if !ok {
		return newError(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	}
	expires, err := strconv.ParseInt(c.query.Get("Expires"), 10, 64)
	if err != nil {
		return newError(403, "AccessDenied", "Invalid date (should be seconds since epoch): "+short(c.query.Get("Expires")))
	}
	sum := hmac.New(sha1.New, []byte(secret))
	_, _ = io.WriteString(sum, c.textOfVersion2(path))
	given, err := base64.StdEncoding.DecodeString(c.query.Get("Signature"))
	if err != nil || !hmac.Equal(given, sum.Sum(nil)) {
		return newError(403, "SignatureDoesNotMatch",
			"The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	}
	if c.Now().After(time.Unix(expires, 0)) {
		return newError(403, "AccessDenied", "Request has expired")
	}
	return nil
}

// textOfVersion2 is what the signature covers. Amazon's headers count wherever they are, in the query or not.
func (c *call) textOfVersion2(path string) string {
	either := func(name string) string {
		if v := c.r.Header.Get(name); v != "" {
			return v
		}
		return c.query.Get(strings.ToLower(name))
	}
	var b strings.Builder
	b.WriteString(c.r.Method + "\n" + either("Content-MD5") + "\n" + either("Content-Type") + "\n" + c.query.Get("Expires") + "\n")
	amazon := map[string]string{}
	for _, from := range []map[string][]string{c.query, c.r.Header} {
		for name, values := range from {
			if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") {
				amazon[lower] = strings.Join(values, ",")
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(amazon)) {
		b.WriteString(name + ":" + strings.TrimSpace(amazon[name]) + "\n")
	}
	b.WriteString(path)
	appendSubresources(&b, c.query)
	return b.String()
}

// signedQuery are the parameters that a signature of version 2 covers; the others it does not.
var signedQuery = []string{"accelerate", "acl", "analytics", "attributes", "cors", "defaultObjectAcl", "delete", "inventory", "lifecycle", "location",
	"logging", "metrics", "notification", "object-lock", "ownershipControls", "partNumber", "policy", "publicAccessBlock", "replication",
	"requestPayment", "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language",
	"response-content-type", "response-expires", "restore", "select", "select-type", "storageClass", "tagging", "torrent", "uploadId",
	"uploads", "versionId", "versioning", "versions", "website"}

func appendSubresources(b *strings.Builder, query url.Values) {
	mark := byte('?')
	for _, name := range signedQuery {
		if !query.Has(name) {
			continue
		}
		b.WriteByte(mark)
		b.WriteString(name)
		if v := query.Get(name); v != "" {
			b.WriteString("=" + v)
		}
		mark = '&'
	}
}
