package s3

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"millrace/internal/object"
)

// boto3 signs URLs of the first region with version 2; the vectors are made by the rule that the guide gives.
func TestPresignedVersion2(t *testing.T) {
	now := ticking()
	s := service(t, func(o *Options) { o.Now, o.Credentials = now, oneKey })
	if err := s.Store.CreateBucket(t.Context(), object.Bucket{Name: "bkt"}); err != nil {
		t.Fatal(err)
	}
	expires := strconv.FormatInt(now().Unix()+3600, 10)
	f := func(method, target, host string, more url.Values, text, secret string, status int) {
		t.Helper()
		q := url.Values{"AWSAccessKeyId": {"AKIATEST"}, "Expires": {expires}, "Signature": {hmacSHA1(secret, text)}}
		maps.Copy(q, more)
		r := httptest.NewRequest(method, "http://localhost"+target+"?"+q.Encode(), strings.NewReader("hello"))
		if r.Host = host; method == "GET" {
			r.ContentLength, r.Body = 0, http.NoBody
		}
		if w := answer(s, r); w.Code != status {
			t.Errorf("%s %s: %d %s", method, target, w.Code, w.Body)
		}
	}
	meta := url.Values{"x-amz-meta-from": {"afar"}, "content-type": {"text/x"}}
	f("PUT", "/bkt/a%20b", "localhost", meta, "PUT\n\ntext/x\n"+expires+"\nx-amz-meta-from:afar\n/bkt/a%20b", "right", 200)
	f("GET", "/bkt/a%20b", "localhost", nil, "GET\n\n\n"+expires+"\n/bkt/a%20b", "right", 200)
	f("GET", "/a%20b", "bkt.s3.amazonaws.com", nil, "GET\n\n\n"+expires+"\n/bkt/a%20b", "right", 200)
	f("GET", "/bkt/a%20b", "localhost", url.Values{"response-content-type": {"text/y"}, "tagging": {""}},
		"GET\n\n\n"+expires+"\n/bkt/a%20b?response-content-type=text/y&tagging", "right", 200)
	f("GET", "/bkt/a%20b", "localhost", nil, "GET\n\n\n"+expires+"\n/bkt/a%20b", "wrong", 403)
	f("PUT", "/bkt/a%20b", "localhost", nil, "GET\n\n\n"+expires+"\n/bkt/a%20b", "right", 403)
	f("GET", "/bkt/a%20b", "localhost", url.Values{"acl": {""}}, "GET\n\n\n"+expires+"\n/bkt/a%20b", "right", 403)
	expires = strconv.FormatInt(now().Unix()-1, 10)
	f("GET", "/bkt/a%20b", "localhost", nil, "GET\n\n\n"+expires+"\n/bkt/a%20b", "right", 403)
	info, err := s.Store.Head(t.Context(), "bkt", "a b")
	if err != nil || info.ContentType != "text/x" || info.Metadata["from"] != "afar" {
		t.Errorf("%+v, %v", info, err)
	}
	if !slices.IsSorted(signedQuery) {
		t.Error("parameters are signed in order")
	}
}

func hmacSHA1(secret, text string) string {
	sum := hmac.New(sha1.New, []byte(secret))
	sum.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(sum.Sum(nil))
}
