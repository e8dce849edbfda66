package s3

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"millrace/internal/object"
)

// Whatever the framing of a body says, what is stored is what it framed, or nothing is.
func FuzzChunkedPut(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"), 5, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
	f.Add([]byte("3;chunk-signature=a\r\nhel\r\n2;chunk-signature=b\r\nlo\r\n0;chunk-signature=c\r\n\r\n"), 5, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
	f.Add([]byte("ffffffffffffffff\r\n"), 1<<40, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
	f.Add([]byte("0\r\n"), 0, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
	s := service(f, nil)
	answer(s, httptest.NewRequest("PUT", "http://localhost/bkt", nil))
	f.Fuzz(func(t *testing.T, body []byte, length int, kind string) {
		r := httptest.NewRequest("PUT", "http://localhost/bkt/k", bytes.NewReader(body))
		r.Header.Set("X-Amz-Content-Sha256", kind)
		r.Header.Set("X-Amz-Decoded-Content-Length", strconv.Itoa(length))
		answer(s, httptest.NewRequest("DELETE", "http://localhost/bkt/k", nil))
		put := answer(s, r)
		got := answer(s, httptest.NewRequest("GET", "http://localhost/bkt/k", nil))
		switch {
		case put.Code != 200 && got.Code != 404:
			t.Errorf("refused with %d and stored: %q", put.Code, got.Body)
		case put.Code == 200 && strings.HasPrefix(kind, "STREAMING-") && got.Body.Len() != length:
			t.Errorf("announced %d, stored %d", length, got.Body.Len())
		case put.Code >= 500 && put.Code != 501:
			t.Errorf("%d %s", put.Code, put.Body)
		}
	})
}

func answer(s *Service, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// Documents are read or refused; none is our fault.
func FuzzDocuments(f *testing.F) {
	f.Add([]byte("<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"))
	f.Add([]byte("<Tagging><TagSet><Tag><Key>a</Key><Value>&#1;</Value></Tag></TagSet></Tagging>"))
	f.Add([]byte("<Delete><Quiet>true</Quiet><Object><Key>k</Key></Object></Delete>"))
	f.Add([]byte("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>"))
	f.Add([]byte("<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>"))
	f.Add([]byte("<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>"))
	f.Add([]byte(`{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:Get*","Resource":"arn:aws:s3:::bkt/*"}]}`))
	f.Add([]byte("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"))
	s := service(f, nil)
	answer(s, httptest.NewRequest("PUT", "http://localhost/bkt", nil))
	started := answer(s, httptest.NewRequest("POST", "http://localhost/bkt/k?uploads", nil))
	_, rest, _ := strings.Cut(started.Body.String(), "<UploadId>")
	id, _, _ := strings.Cut(rest, "<")
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, call := range []string{"PUT /bkt", "PUT /bkt?tagging", "PUT /bkt/k?tagging", "PUT /bkt?versioning", "PUT /bkt?encryption",
			"PUT /bkt?ownershipControls", "PUT /bkt?publicAccessBlock", "PUT /bkt?notification", "PUT /bkt?logging", "PUT /bkt?policy", "POST /bkt?delete", "POST /bkt/k?uploadId=" + id} {
			method, target, _ := strings.Cut(call, " ")
			r := httptest.NewRequest(method, "http://localhost"+target, bytes.NewReader(body))
			r.Header.Set("X-Amz-Checksum-Crc32", encodedSum(object.CRC32, body))
			if strings.Contains(call, "uploadId") {
				r.Header.Del("X-Amz-Checksum-Crc32")
			}
			if w := answer(s, r); w.Code >= 500 && w.Code != 501 {
				t.Errorf("%s: %d %s", call, w.Code, w.Body)
			}
		}
	})
}

// A key that can be sent comes back from a listing as it was sent.
func FuzzKeys(f *testing.F) {
	for _, key := range []string{"a", "a/b", "a/", "..", "a//b", "../../x", "\x00", "%2F", "a b+c", strings.Repeat("é", 512), "?x=y", "#"} {
		f.Add(key)
	}
	s := service(f, nil)
	answer(s, httptest.NewRequest("PUT", "http://localhost/bkt", nil))
	f.Fuzz(func(t *testing.T, key string) {
		target := "http://localhost/bkt/" + url.PathEscape(key)
		put := answer(s, httptest.NewRequest("PUT", target, strings.NewReader("x")))
		switch {
		case key == "" || !object.ValidKey(key):
			if key != "" && put.Code != 400 {
				t.Fatalf("%q: %d %s", key, put.Code, put.Body)
			}
			return
		case put.Code != 200:
			t.Fatalf("%q: %d %s", key, put.Code, put.Body)
		}
		list := answer(s, httptest.NewRequest("GET", "http://localhost/bkt?list-type=2&encoding-type=url", nil)).Body.String()
		_, rest, _ := strings.Cut(list, "<Key>")
		listed, _, _ := strings.Cut(rest, "</Key>")
		if got, err := url.PathUnescape(listed); got != key || err != nil {
			t.Errorf("%q is listed as %q", key, listed)
		}
		if w := answer(s, httptest.NewRequest("DELETE", target, nil)); w.Code != 204 {
			t.Errorf("%q: %d", key, w.Code)
		}
	})
}

// Whatever stands in a query, an answer is no fault of ours; and nobody is let in by a signature that is none.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{
		"AWSAccessKeyId=AKIATEST&Signature=AAAA&Expires=1900000000", "AWSAccessKeyId=AKIATEST&Signature=%zz&Expires=x",
		"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIATEST%2F20261124%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20261124T013000Z" +
			"&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=00",
		"list-type=2&max-keys=1&continuation-token=1YQ&delimiter=%2F&start-after=a%2Fb&prefix=a", "versions&key-marker=a&version-id-marker=b",
		"uploads&max-uploads=2&key-marker=a&upload-id-marker=b", "partNumber=1&uploadId=x", "tagging=&acl", "x-amz-meta-a=1&x-amz-tagging=a%3D1",
	} {
		f.Add(query)
	}
	open := service(f, nil)
	closed := service(f, func(o *Options) { o.Credentials = oneKey })
	for _, target := range []string{"/bkt", "/bkt/a/b", "/bkt/k"} {
		answer(open, httptest.NewRequest("PUT", "http://localhost"+target, strings.NewReader("x")))
	}
	f.Fuzz(func(t *testing.T, query string) {
		for _, target := range []string{"GET /bkt", "GET /bkt/k", "HEAD /bkt/k", "PUT /bkt/q", "DELETE /bkt/q", "POST /bkt/k"} {
			method, path, _ := strings.Cut(target, " ")
			request := func() *http.Request {
				r := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader("x"))
				r.URL.RawQuery, r.RequestURI = query, path+"?"+query
				return r
			}
			if w := answer(open, request()); w.Code >= 500 && w.Code != 501 {
				t.Errorf("%s?%s: %d %s", target, query, w.Code, w.Body)
			}
			if w := answer(closed, request()); w.Code < 400 || w.Code >= 500 && w.Code != 501 {
				t.Errorf("%s?%s, with credentials: %d %s", target, query, w.Code, w.Body)
			}
		}
	})
}

// A range that is taken lies within the object.
func FuzzRange(f *testing.F) {
	for _, text := range []string{"bytes=0-0", "bytes=-1", "bytes=5-", "bytes=9223372036854775807-", "bytes=1-0", "bytes= 1 - 2 "} {
		f.Add(text, int64(5))
	}
	f.Fuzz(func(t *testing.T, text string, size int64) {
		size &= 1<<62 - 1
		s, form, ok := parseRange(text, size)
		if form && ok && (s.offset < 0 || s.length <= 0 || s.offset+s.length > size) {
			t.Errorf("%q of %d: %+v", text, size, s)
		}
	})
}

// What the caller names as the source of a copy is a bucket and a key, or refused.
func FuzzCopySource(f *testing.F) {
	for _, text := range []string{"/b/k", "b/k?versionId=null", "b/%2e%2e/k", "b/%zz", "//", "b/"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if bucket, key, err := parseCopySource(text); err == nil && (bucket == "" || key == "" || strings.Contains(bucket, "/")) {
			t.Errorf("%q: %q, %q", text, bucket, key)
		}
	})
}
