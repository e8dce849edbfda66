package awswire

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The credentials and the moment of the examples in AWS's documentation of Signature Version 4.
const (
	docKey    = "AKIAIOSFODNN7EXAMPLE"
	docSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

var docTime = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

func docLookup(id string) (string, bool) { return docSecret, id == docKey }

func docVerifier(service string, at time.Time) *Verifier {
	return NewVerifier(service, docLookup, func() time.Time { return at })
}

// received gives a request as a server sees it: what was signed, written to the wire and read again.
func received(t *testing.T, r *http.Request) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&wire))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func signed(t *testing.T, service, method, target, body string, at time.Time) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	hash := hexSum([]byte(body))
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecord")
	if service == "s3" {
		r.Header.Set("X-Amz-Content-Sha256", hash)
	}
	err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: docKey, SecretAccessKey: docSecret},
		r, hash, service, "eu-west-1", at, func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSDKSignaturesVerify(t *testing.T) {
	f := func(service, method, target, body string) {
		t.Helper()
		r := received(t, signed(t, service, method, target, body, docTime))
		v := docVerifier(service, docTime)
		for range 2 { // the second time with the key from the cache
			caller, fault := v.Verify(r, []byte(body))
			if fault != nil || caller.AccessKeyID != docKey || caller.Region != "eu-west-1" {
				t.Errorf("%s %s: %v, %v", method, target, caller, fault)
			}
		}
		if got := Scope(r); got != service {
			t.Errorf("scope %q, want %q", got, service)
		}
	}
	f("kinesis", "POST", "http://localhost:4566/", `{"a":1}`)
	f("firehose", "POST", "http://localhost:4566/", ``)
	f("apigateway", "GET", "http://localhost/restapis/abc/resources?embed=methods&limit=500&position=a%2Bb%20c", "")
	f("apigateway", "PUT", "http://localhost/tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A%2Frestapis%2Fabc", "{}")
	f("s3", "PUT", "http://localhost/b/a%20b/%C3%A9/%2B~%25/c%2Fd", "data")
	f("s3", "GET", "http://b.s3.localhost/x//y/../z?list-type=2&prefix=a%2Fb&delimiter=%2F&x=&a-b=1&a=2&a=1", "")
}

func TestChangedRequestsAreRefused(t *testing.T) {
	f := func(what string, change func(r *http.Request, body *[]byte, v *Verifier) *Verifier, code, text string) {
		t.Helper()
		r := received(t, signed(t, "kinesis", "POST", "http://localhost/?x=1", "{}", docTime))
		body := []byte("{}")
		v := change(r, &body, docVerifier("kinesis", docTime))
		_, fault := v.Verify(r, body)
		if fault == nil || fault.Code != code || !strings.Contains(fault.Message, text) {
			t.Errorf("%s: got %v, want %s: %s", what, fault, code, text)
		}
	}
	same := func(change func(r *http.Request, body *[]byte)) func(*http.Request, *[]byte, *Verifier) *Verifier {
		return func(r *http.Request, body *[]byte, v *Verifier) *Verifier { change(r, body); return v }
	}
	at := func(d time.Duration) func(*http.Request, *[]byte, *Verifier) *Verifier {
		return func(*http.Request, *[]byte, *Verifier) *Verifier { return docVerifier("kinesis", docTime.Add(d)) }
	}
	const mismatch = "The request signature we calculated does not match"
	f("body", same(func(_ *http.Request, b *[]byte) { *b = []byte("[]") }), "InvalidSignatureException", mismatch)
	f("query", same(func(r *http.Request, _ *[]byte) { r.URL.RawQuery = "x=2" }), "InvalidSignatureException", mismatch)
	f("method", same(func(r *http.Request, _ *[]byte) { r.Method = "PUT" }), "InvalidSignatureException", mismatch)
	f("path", same(func(r *http.Request, _ *[]byte) { r.RequestURI = "/y" }), "InvalidSignatureException", mismatch)
	f("signed header", same(func(r *http.Request, _ *[]byte) { r.Header.Set("X-Amz-Target", "Kinesis_20131202.DeleteStream") }),
		"InvalidSignatureException", mismatch)
	f("host", same(func(r *http.Request, _ *[]byte) { r.Host = "elsewhere" }), "InvalidSignatureException", mismatch)
	f("unsigned host", same(func(r *http.Request, _ *[]byte) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "host;", "", 1))
	}), "InvalidSignatureException", "must be a 'SignedHeader'")
	f("key", same(func(r *http.Request, _ *[]byte) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), docKey, "AKIAOTHER", 1))
	}), "UnrecognizedClientException", "The security token included in the request is invalid.")
	f("service", func(*http.Request, *[]byte, *Verifier) *Verifier { return docVerifier("firehose", docTime) },
		"InvalidSignatureException", "Credential should be scoped to correct service: 'firehose'.")
	f("nothing", same(func(r *http.Request, _ *[]byte) { r.Header.Del("Authorization") }),
		"MissingAuthenticationTokenException", "Missing Authentication Token")
	f("late", at(5*time.Minute+time.Second), "InvalidSignatureException",
		"Signature expired: 20130524T000000Z is now earlier than 20130524T000001Z (20130524T000501Z - 5 min.)")
	f("early", at(-5*time.Minute-time.Second), "InvalidSignatureException",
		"Signature not yet current: 20130524T000000Z is still later than 20130523T235959Z (20130523T235459Z + 5 min.)")
	f("both", same(func(r *http.Request, _ *[]byte) { r.URL.RawQuery = "X-Amz-Algorithm=x" }), "InvalidSignatureException",
		"Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
}

func TestIncompleteSignatures(t *testing.T) {
	f := func(auth, date, want string) {
		t.Helper()
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Authorization", auth)
		if date != "" {
			r.Header.Set("X-Amz-Date", date)
		}
		for _, lookup := range []Lookup{docLookup, nil} { // the form is checked also without credentials
			_, fault := NewVerifier("kinesis", lookup, time.Now).Verify(r, nil)
			if fault == nil || fault.Code != "IncompleteSignatureException" || fault.Message != want {
				t.Errorf("%s: got %v, want %s", auth, fault, want)
			}
		}
	}
	const date = "20130524T000000Z"
	f("AWS4-HMAC-SHA256", date, "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "+
		"Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256")
	f("AWS4-HMAC-SHA256 Credential=a, Signature=b, SignedHeaders=c", "",
		"Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256 Credential=a, Signature=b, SignedHeaders=c")
	f("AWS4-HMAC-SHA256 Credential=a/b, Signature=b, SignedHeaders=c", date,
		"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b'")
	f("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request Signature=b SignedHeaders=c", "yesterday",
		"Date must be in ISO-8601 'basic format'. Got 'yesterday'. See http://en.wikipedia.org/wiki/ISO_8601")
	f("AWS4-ECDSA-P256-SHA256 Credential=a/b/c/d/aws4_request Signature=b SignedHeaders=c", date, "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'. ")
}

// The examples of "Signature Calculations for the Authorization Header" and "… Using Query Parameters" in the S3
// API Reference.
func TestDocumentedSignatures(t *testing.T) {
	r := httptest.NewRequest("GET", "https://examplebucket.s3.amazonaws.com/test.txt", nil)
	r.Header.Set("Range", "bytes=0-9")
	r.Header.Set("X-Amz-Content-Sha256", emptyHash)
	r.Header.Set("X-Amz-Date", "20130524T000000Z")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"+
		"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
	if _, fault := docVerifier("s3", docTime).Verify(r, nil); fault != nil {
		t.Error(fault)
	}
	const presigned = "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256" +
		"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z" +
		"&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
	r = httptest.NewRequest("GET", presigned, nil)
	for at, want := range map[time.Duration]string{0: "", 23 * time.Hour: "", 25 * time.Hour: "AccessDenied", -16 * time.Minute: "RequestTimeTooSkewed"} {
		_, _, fault := docVerifier("s3", docTime.Add(at)).VerifyStream(r)
		got := ""
		if fault != nil {
			got = fault.Code
		}
		if got != want {
			t.Errorf("after %v: %v, want %q", at, fault, want)
		}
	}
	if Scope(r) != "s3" {
		t.Error("scope of a presigned URL")
	}
	r = httptest.NewRequest("GET", presigned, nil)
	r.Header.Set("X-Amz-Copy-Source", "/other/secret")
	if _, _, fault := docVerifier("s3", docTime).VerifyStream(r); fault == nil || fault.Code != "AccessDenied" || fault.Status != 403 {
		t.Errorf("an unsigned x-amz- header: %v", fault)
	}
}

func TestS3Faults(t *testing.T) {
	f := func(change func(r *http.Request), body, want string, status int) {
		t.Helper()
		r := received(t, signed(t, "s3", "PUT", "http://localhost/b/k", "data", docTime))
		r.Body = io.NopCloser(strings.NewReader(body))
		change(r)
		_, p, fault := docVerifier("s3", docTime).VerifyStream(r)
		if fault == nil {
			if _, err := io.ReadAll(p); err != nil {
				fault = err.(*AuthFault)
			}
		}
		if fault == nil || fault.Code != want || fault.Status != status || fault.Message == "" {
			t.Errorf("got %+v, want %s %d", fault, want, status)
		}
	}
	none := func(*http.Request) {}
	f(none, "DATA", "XAmzContentSHA256Mismatch", 400)
	f(none, "dat", "XAmzContentSHA256Mismatch", 400)
	f(func(r *http.Request) { r.Header.Del("Authorization") }, "data", "AccessDenied", 403)
	f(func(r *http.Request) { r.Method = "DELETE" }, "data", "SignatureDoesNotMatch", 403)
	f(func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") }, "data", "AuthorizationHeaderMalformed", 400)
	f(func(r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), docKey, "x", 1))
	}, "data", "InvalidAccessKeyId", 403)
}

// chunkedRequest is the example of "Signature Calculations: Transferring Payload in Multiple Chunks".
func chunkedRequest(body io.Reader) *http.Request {
	r := httptest.NewRequest("PUT", "https://s3.amazonaws.com/examplebucket/chunkObject.txt", body)
	r.Header.Set("X-Amz-Date", "20130524T000000Z")
	r.Header.Set("X-Amz-Storage-Class", "REDUCED_REDUNDANCY")
	r.Header.Set("X-Amz-Content-Sha256", streamingSigned)
	r.Header.Set("Content-Encoding", "aws-chunked")
	r.Header.Set("X-Amz-Decoded-Content-Length", "66560")
	r.Header.Set("Content-Length", "66824")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"+
		"SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class,"+
		"Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9")
	return r
}

func chunk(n int, sig string) string {
	return fmt.Sprintf("%x;chunk-signature=%s\r\n%s\r\n", n, sig, strings.Repeat("a", n))
}

const (
	sigChunk1 = "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
	sigChunk2 = "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"
	sigChunk3 = "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"
)

func TestDocumentedChunks(t *testing.T) {
	whole := chunk(65536, sigChunk1) + chunk(1024, sigChunk2) + chunk(0, sigChunk3)
	f := func(what, body, want string) {
		t.Helper()
		_, p, fault := docVerifier("s3", docTime).VerifyStream(chunkedRequest(strings.NewReader(body)))
		if fault != nil {
			t.Fatal(fault)
		}
		data, err := io.ReadAll(p)
		got := ""
		if err != nil {
			got = err.(*AuthFault).Code
		}
		if got != want || want == "" && string(data) != strings.Repeat("a", 66560) {
			t.Errorf("%s: %q after %d bytes, want %q", what, got, len(data), want)
		}
	}
	f("whole", whole, "")
	f("without the last line end", strings.TrimSuffix(whole, "\r\n"), "")
	f("a changed byte", strings.Replace(whole, "aaaa", "aaab", 1), "SignatureDoesNotMatch")
	f("chunks swapped", chunk(1024, sigChunk2)+chunk(65536, sigChunk1)+chunk(0, sigChunk3), "SignatureDoesNotMatch")
	f("last chunk missing", chunk(65536, sigChunk1)+chunk(1024, sigChunk2), "InvalidChunkSizeError")
	f("cut off", whole[:66700], "IncompleteBody")
	f("cut off in data", whole[:7000], "IncompleteBody")
	f("too short", chunk(65536, sigChunk1)+chunk(0, sigChunk3), "SignatureDoesNotMatch")
	f("too long", chunk(65536, sigChunk1)+chunk(65536, sigChunk1), "IncompleteBody")
	f("no signature", "10000\r\n", "InvalidChunkSizeError")
	f("negative", "-1;chunk-signature=x\r\n", "InvalidChunkSizeError")
	f("endless line", strings.Repeat("0", 10000), "InvalidChunkSizeError")
}

func TestDocumentedTrailers(t *testing.T) {
	f := func(what, trailer, want string) {
		t.Helper()
		body := chunk(65536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2") +
			chunk(1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7") +
			"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" + trailer
		r := chunkedRequest(strings.NewReader(body))
		r.Header.Del("Content-Length")
		r.Header.Set("X-Amz-Content-Sha256", streamingSignedTrailer)
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32c")
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"+
			"SignedHeaders=content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer,"+
			"Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e")
		_, p, fault := docVerifier("s3", docTime).VerifyStream(r)
		if fault != nil {
			t.Fatal(fault)
		}
		_, err := io.ReadAll(p)
		got := ""
		if err != nil {
			got = err.(*AuthFault).Code
		}
		if got != want || want == "" && p.Trailer["x-amz-checksum-crc32c"] != "sOO8/Q==" {
			t.Errorf("%s: %q %v, want %q", what, got, p.Trailer, want)
		}
	}
	const signature = "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
	f("whole", "x-amz-checksum-crc32c:sOO8/Q==\r\n"+signature, "")
	f("changed", "x-amz-checksum-crc32c:tOO8/Q==\r\n"+signature, "SignatureDoesNotMatch")
	f("unsigned", "x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n", "SignatureDoesNotMatch")
}

func TestUnsignedTrailer(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		r := httptest.NewRequest("PUT", "/b/k", strings.NewReader(body))
		r.Header.Set("X-Amz-Content-Sha256", streamingUnsignedTrailer)
		r.Header.Set("X-Amz-Decoded-Content-Length", "5")
		_, p, fault := NewVerifier("s3", nil, time.Now).VerifyStream(r)
		if fault != nil {
			t.Fatal(fault)
		}
		data, err := io.ReadAll(p)
		got := string(data) + " " + p.Trailer["x-amz-checksum-crc32"]
		if err != nil {
			got = err.(*AuthFault).Code
		}
		if got != want {
			t.Errorf("%q: %s, want %s", body, got, want)
		}
	}
	f("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", "hello NhCmhg==")
	f("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello ")
	f("5\r\nhello\r\n0\r\n", "hello ")
	f("4\r\nhell\r\n0\r\n\r\n", "IncompleteBody")
	f("5\r\nhellooo\r\n0\r\n\r\n", "InvalidChunkSizeError")
	f("5\r\nhello\r\n0\r\nno trailer\r\n", "InvalidChunkSizeError")
}

// Whatever a request says about itself, parsing ends without a panic, and without credentials nothing is compared.
func FuzzAuthorization(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=a/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=b", "20130524T000000Z", "x=1")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%2F%2F&X-Amz-Date=x&X-Amz-Expires=-1&X-Amz-SignedHeaders=;&X-Amz-Signature=")
	f.Fuzz(func(t *testing.T, auth, date, query string) {
		r := httptest.NewRequest("POST", "/", nil)
		r.URL = &url.URL{Path: "/", RawQuery: query}
		r.Header.Set("Authorization", auth)
		r.Header.Set("X-Amz-Date", date)
		Scope(r)
		if _, fault := docVerifier("kinesis", docTime).Verify(r, nil); fault == nil {
			t.Fatal("a forged signature was accepted")
		}
		_, _ = NewVerifier("s3", nil, time.Now).Verify(r, nil)
	})
}

// A chunked body either gives exactly the announced bytes or an error, whatever its framing.
func FuzzChunked(f *testing.F) {
	f.Add("5\r\nhello\r\n0\r\nx:y\r\n\r\n", 5, true)
	f.Add("5;chunk-signature=x\r\nhello\r\n0;chunk-signature=y\r\n\r\n", 5, false)
	f.Fuzz(func(t *testing.T, body string, length int, trailer bool) {
		r := httptest.NewRequest("PUT", "/b/k", strings.NewReader(body))
		r.Header.Set("X-Amz-Content-Sha256", streamingSigned)
		if trailer {
			r.Header.Set("X-Amz-Content-Sha256", streamingUnsignedTrailer)
		}
		r.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(length))
		_, p, fault := NewVerifier("s3", nil, time.Now).VerifyStream(r)
		if fault != nil {
			return
		}
		data, err := io.ReadAll(p)
		if len(data) > length || err == nil && len(data) != length {
			t.Fatalf("%d bytes of %d, %v", len(data), length, err)
		}
	})
}

func TestRequire(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		WriteBody(w, http.StatusOK, TypeJSON, append([]byte("got "), body...))
	})
	f := func(service string, lookup Lookup, change func(r *http.Request), refuse func(http.ResponseWriter, *AuthFault), status int, want string) {
		t.Helper()
		r := received(t, signed(t, service, "POST", "http://localhost/restapis", "{}", docTime))
		change(r)
		v := NewVerifier(service, lookup, func() time.Time { return docTime })
		rec := httptest.NewRecorder()
		v.Require(10, refuse, next).ServeHTTP(rec, r)
		if rec.Code != status || !strings.HasPrefix(rec.Body.String(), want) {
			t.Errorf("got %d %s, want %d %s", rec.Code, rec.Body, status, want)
		}
	}
	none := func(*http.Request) {}
	unsigned := func(r *http.Request) { r.Header.Del("Authorization") }
	f("apigateway", docLookup, none, RefuseREST, 200, "got {}")
	f("apigateway", docLookup, unsigned, RefuseREST, 403, `{"message":"Missing Authentication Token"}`)
	f("firehose", docLookup, unsigned, RefuseJSON, 400, `{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}`)
	f("firehose", nil, unsigned, RefuseJSON, 200, "got {}")
	f("firehose", docLookup, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("12345678901")) }, RefuseJSON, 413, "")
}

// A deployed API takes its method from a header, where there is one: who may send a request as it was signed must not make
// another of it.
func TestTheMethodOfADeployedAPIIsSigned(t *testing.T) {
	v := docVerifier("execute-api", docTime)
	r := received(t, signed(t, "execute-api", "GET", "http://localhost/prod/a", "", docTime))
	if _, fault := v.Verify(r, nil); fault != nil {
		t.Fatal(fault)
	}
	r.Header.Set("X-HTTP-Method-Override", "DELETE")
	if _, fault := v.Verify(r, nil); fault == nil || fault.Code != "InvalidSignatureException" || !strings.Contains(fault.Message, "X-HTTP-Method-Override") {
		t.Errorf("%v", fault)
	}
	own, err := http.NewRequest("POST", "http://localhost/prod/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	own.Header.Set("X-HTTP-Method-Override", "DELETE")
	if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: docKey, SecretAccessKey: docSecret}, own, emptyHash, "execute-api", "eu-west-1", docTime); err != nil {
		t.Fatal(err)
	}
	if _, fault := v.Verify(received(t, own), nil); fault != nil {
		t.Error(fault)
	}
}
