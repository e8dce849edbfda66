package httpendpoint

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"millrace/internal/fault"
	"millrace/internal/outbound"
)

const testID = "ed4acda5-034f-9f42-bba1-f29aea6d7d8f"

var testBatch = Batch{RequestID: testID, Timestamp: time.UnixMilli(1578090901599)}

func testEndpoint(t *testing.T, s Settings) *Endpoint {
	t.Helper()
	s.AllowHTTP = true
	e, err := NewEndpoint(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// good is what an endpoint says that has taken a batch.
func good(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"requestId":"`+testID+`","timestamp":1578090903599}`)
}

func TestRequests(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		good(w)
	}))
	defer server.Close()
	c := New(outbound.Options{})
	defer c.Close()
	f := func(s Settings, encoding Encoding, want map[string]string) {
		t.Helper()
		s.URL, s.SourceARN = server.URL+"/v1/in?api_key=k%2F1", "arn:aws:firehose:us-east-1:000000000000:deliverystream/events"
		batch := testBatch
		batch.Encoding = encoding
		b := NewBody(batch)
		if !b.Append([]byte("hello")) || !b.Append(nil) {
			t.Fatal("not taken")
		}
		e := testEndpoint(t, s)
		for range 2 { // all attempts are the same
			a, err := c.Post(t.Context(), e, b)
			if err != nil || a != (Answer{Delivered: true, Status: 200}) {
				t.Errorf("%+v %v", a, err)
			}
			if got.Method != "POST" || got.RequestURI != "/v1/in?api_key=k%2F1" || got.Header.Get("Content-Length") == "" && got.ContentLength != int64(len(body)) {
				t.Errorf("%s %s", got.Method, got.RequestURI)
			}
			for name, value := range want {
				if lines := strings.Join(got.Header[name], "|"); lines != value {
					t.Errorf("%s: %s, want %s", name, lines, value)
				}
			}
			plain := body
			if encoding == GZIP {
				r, err := gzip.NewReader(bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				if plain, err = io.ReadAll(r); err != nil {
					t.Fatal(err)
				}
			}
			if want := `{"requestId":"` + testID + `","timestamp":1578090901599,"records":[{"data":"aGVsbG8="},{"data":""}]}`; string(plain) != want || len(want)+1 != b.Size() {
				t.Errorf("%s\nwant %s, size %d", plain, want, b.Size())
			}
		}
	}
	want := map[string]string{
		"X-Amz-Firehose-Protocol-Version": "1.0", "X-Amz-Firehose-Request-Id": testID, "Content-Type": "application/json",
		"X-Amz-Firehose-Source-Arn":        "arn:aws:firehose:us-east-1:000000000000:deliverystream/events",
		"X-Amz-Firehose-Access-Key":        "",
		"X-Amz-Firehose-Common-Attributes": "", "Content-Encoding": "", "Accept-Encoding": "",
	}
	f(Settings{}, NONE, want)
	f(Settings{}, "", want)
	want["Content-Encoding"] = "gzip"
	want["X-Amz-Firehose-Access-Key"] = "s3cret, or not"
	want["X-Amz-Firehose-Common-Attributes"] = `{"commonAttributes":{"deployment-context":"pre-prod","\u00fc\"\\":"\ud83d\ude00\u0001\u007f","empty":""}}`
	f(Settings{AccessKey: "s3cret, or not", Attributes: []Attribute{{"deployment-context", "pre-prod"}, {`ü"\`, "😀\x01\x7f"}, {"empty", ""}}}, GZIP, want)
}

// An answer is success by the words of the specification, and by no others.
func TestAnswers(t *testing.T) {
	var answer func(w http.ResponseWriter)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); answer(w) }))
	defer server.Close()
	c := New(outbound.Options{})
	defer c.Close()
	e := testEndpoint(t, Settings{URL: server.URL, AccessKey: "s3cret"})
	b := NewBody(testBatch)
	b.Append([]byte("x"))
	post := func(want Answer, text string) {
		t.Helper()
		a, err := c.Post(t.Context(), e, b)
		if err != nil {
			t.Fatal(err)
		}
		if message := a.Message; !strings.Contains(message, text) || len(message) > 2*maxShown || strings.Contains(message, "s3cret") || (message == "") != want.Delivered {
			t.Errorf("%s\nlacks %s", message, text)
		}
		if a.Message = ""; a != want {
			t.Errorf("%+v, want %+v", a, want)
		}
	}
	says := func(status int, header, body string) {
		answer = func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			for line := range strings.SplitSeq(header, "\n") {
				if name, value, ok := strings.Cut(line, ": "); ok {
					w.Header()[name] = []string{value}
				}
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	delivered := func(header, body string) {
		t.Helper()
		says(200, header, body)
		post(Answer{Delivered: true, Status: 200}, "")
	}
	invalid := func(header, body, text string) {
		t.Helper()
		says(200, header, body)
		post(Answer{Status: 200, Code: CodeInvalidResponse}, "Response for request "+testID+" "+text+". Raw response received: 200 ")
	}
	refused := func(status int, body, text string) {
		t.Helper()
		says(status, "", body)
		post(Answer{Status: status, Code: CodeDestinationException, Permanent: status == 413}, text)
	}
	const ok = `{"requestId":"` + testID + `","timestamp":1578090903599}`
	delivered("", ok)
	delivered("Content-Type: application/json; charset=utf-8", ` {"timestamp": 1.5e12, "errorMessage": "none", "requestId": "`+testID+`"} `)
	delivered("", `{"requestId":"`+testID+`","timestamp":1,"errorMessage":null}`)
	delivered("", ok+strings.Repeat(" ", maxAnswer-len(ok)))

	const noJSON = "is not recognized as valid JSON or has unexpected fields"
	invalid("", "", noJSON)
	invalid("", "OK", noJSON)
	invalid("", "null", noJSON)
	invalid("", ok+"x", noJSON)
	invalid("", `{"requestId":"`+testID+`","timestamp":1,"status":"ok"}`, noJSON)
	invalid("", `{"requestId":"`+testID+`","timestamp":1,"errorMessage":{}}`, noJSON)
	invalid("", `{"requestId":null,"timestamp":1}`, "does not contain a requestId")
	invalid("", `{"timestamp":1}`, "does not contain a requestId")
	invalid("", `{"requestId":"`+strings.ToUpper(testID)+`","timestamp":1}`, "has another requestId than the request")
	invalid("", `{"requestId":"`+testID+`"}`, "does not contain a timestamp that is a number")
	invalid("", `{"requestId":"`+testID+`","timestamp":"1578090903599"}`, "does not contain a timestamp that is a number")
	invalid("Content-Type: text/plain", ok, "does not contain a content-type: application/json header")
	invalid("Content-Type: ", ok, "does not contain a content-type: application/json header")
	invalid("Content-Encoding: gzip", ok, "has a Content-Encoding header, which is not accepted")
	invalid("", strings.Repeat("ü\xff", 2000), noJSON)

	says(200, "", ok+strings.Repeat(" ", maxAnswer-len(ok)+1))
	post(Answer{Status: 200, Code: CodeResponseTooLarge}, "too large")
	says(200, "X-Large: "+strings.Repeat("x", 2*maxAnswer), ok)
	post(Answer{Code: CodeResponseTooLarge}, "too large")

	refused(400, `{"requestId":"x","errorMessage":"bad"}`, `Response received with status code. 400: {"requestId":"x","errorMessage":"bad"}`)
	refused(201, ok, "status code. 201: ")
	refused(204, "", "status code. 204: ")
	refused(401, "", "status code. 401: ")
	refused(413, strings.Repeat("x", 3*maxAnswer), "status code. 413: xxx")
	refused(429, "", "status code. 429: ")
	refused(503, strings.Repeat("é", 3000), "status code. 503: éé")
	says(307, "Location: "+server.URL, "")
	post(Answer{Status: 307, Code: CodeDestinationException}, "status code. 307: ")

	answer = func(w http.ResponseWriter) { w.Header().Set("Content-Length", "100"); good(w) }
	post(Answer{Code: CodeConnectionReset}, "unexpected EOF")
	answer = func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	post(Answer{Code: CodeConnectionReset}, "EOF")
}

func TestHostsThatAreNotThere(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); good(w) }))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	dead := httptest.NewServer(nil)
	dead.Close()
	b := NewBody(testBatch)
	b.Append([]byte("x"))
	f := func(o outbound.Options, url, code, text string) {
		t.Helper()
		c := New(o)
		defer c.Close()
		a, err := c.Post(t.Context(), testEndpoint(t, Settings{URL: url}), b)
		if err != nil || a.Code != code || !strings.Contains(a.Message, text) || a.Delivered != (code == "") || strings.Contains(a.Message, "s3cret") {
			t.Errorf("%+v %v", a, err)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	f(outbound.Options{Roots: roots}, secure.URL, "", "")
	f(outbound.Options{}, secure.URL, CodeSSLHandshakeFailure, "unknown authority")
	f(outbound.Options{Roots: roots}, strings.Replace(secure.URL, "127.0.0.1", "localhost", 1), CodeSSLHandshakeFailure, "localhost")
	f(outbound.Options{}, strings.Replace(dead.URL, "//", "//me:s3cret@", 1)+"/?key=s3cret", CodeConnectionFailed, "connection refused")
}

// pipes is a network in memory, so that time in a bubble goes on while hosts are waited for.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// An endpoint has three minutes; when the context ends, that is the error.
func TestTimes(t *testing.T) {
	errStop := errors.New("the node stops")
	f := func(begins bool, stop time.Duration, code string, after time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			network := make(pipes)
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if begins {
					w.Header().Set("Content-Type", "application/json")
					_ = http.NewResponseController(w).Flush()
				}
				<-r.Context().Done()
			})}
			served := make(chan error, 1)
			go func() { served <- server.Serve(network) }()
			c := New(outbound.Options{})
			c.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
				here, there := net.Pipe()
				network <- there
				return here, nil
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer time.AfterFunc(stop, func() { cancel(errStop) }).Stop()
			b := NewBody(testBatch)
			b.Append([]byte("x"))
			begun := time.Now()
			a, err := c.Post(ctx, testEndpoint(t, Settings{URL: "http://endpoint.test/"}), b)
			if a.Code != code || (err != nil) != (code == "") || err != nil && !errors.Is(err, errStop) || time.Since(begun) != after {
				t.Errorf("%+v %v after %v", a, err, time.Since(begun))
			}
			c.Close()
			server.Close()
			<-served
		})
	}
	f(false, time.Hour, CodeRequestTimeout, AnswerTime)
	f(true, time.Hour, CodeRequestTimeout, AnswerTime)
	f(false, time.Minute, "", time.Minute)
	f(true, time.Minute, "", time.Minute)
}

// A batch has bounds, and a body is made again in the same memory, to the same bytes.
func TestBodies(t *testing.T) {
	b := NewBody(testBatch)
	for i := range MaxRecords + 1 {
		if b.Append([]byte("x")) != (i < MaxRecords) {
			t.Fatalf("record %d", i)
		}
	}
	if b.Records() != MaxRecords || !json.Valid(b.Bytes()) {
		t.Errorf("%d records", b.Records())
	}
	b.most = 4 << 20
	large := make([]byte, 700<<10)
	rand.NewChaCha8([32]byte{1}).Read(large)
	for _, encoding := range []Encoding{NONE, GZIP} {
		var before []byte
		for range 2 {
			batch := testBatch
			batch.Encoding = encoding
			b.Reset(batch)
			n := 0
			for b.Append(large[n:]) {
				n++
			}
			if n != 4 || !b.Append([]byte("one more")) || b.Size() > b.most {
				t.Errorf("%d records, %d bytes", n, b.Size())
			}
			plain := b.Bytes()
			if b.Held() < len(plain) {
				t.Errorf("%d bytes are held", b.Held())
			}
			if before != nil && !bytes.Equal(plain, before) {
				t.Error("other bytes")
			}
			before = bytes.Clone(plain)
			if encoding == GZIP {
				r, err := gzip.NewReader(bytes.NewReader(plain))
				if err != nil {
					t.Fatal(err)
				}
				if plain, err = io.ReadAll(r); err != nil {
					t.Fatal(err)
				}
			}
			var got struct{ Records []struct{ Data []byte } }
			if err := json.Unmarshal(plain, &got); err != nil || len(plain) > b.Size() {
				t.Fatalf("%v, %d bytes, said to be %d", err, len(plain), b.Size())
			}
			for i, r := range got.Records[:n] {
				if !bytes.Equal(r.Data, large[i:]) {
					t.Errorf("record %d is another", i)
				}
			}
		}
	}
}

func TestSettings(t *testing.T) {
	f := func(s Settings, want string) {
		t.Helper()
		e, err := NewEndpoint(s)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) || !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v, want %s", err, want)
			}
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		var out strings.Builder
		slog.New(slog.NewJSONHandler(&out, nil)).Info("post", "endpoint", e)
		if fmt.Fprintf(&out, "%v %+v %#v %s", e, e, e, e); strings.Contains(out.String(), "s3cret") {
			t.Error(out.String())
		}
	}
	f(Settings{URL: "https://me:s3cret@example.com/s3cret?key=s3cret", AccessKey: "s3cret"}, "")
	f(Settings{URL: "http://example.com/s3cret", AllowHTTP: true}, "")
	f(Settings{URL: "http://example.com/s3cret"}, "allow-http-endpoints: true")
	f(Settings{URL: "s3cret"}, "begins with https://")
	f(Settings{URL: "https:///s3cret"}, "begins with https://")
	f(Settings{URL: "https://%s3cret"}, "begins with https://")
	f(Settings{URL: "ftp://s3cret"}, "begins with https://")
	f(Settings{URL: "https://169.254.169.254/s3cret"}, "link-local")
	f(Settings{URL: "https://example.com/" + strings.Repeat("x", 981)}, "at most 1000")
	f(Settings{URL: "https://example.com/", AccessKey: "s3cret\r\nX: y"}, "no control characters")
	f(Settings{URL: "https://example.com/", AccessKey: " s3cret"}, "no blank")
	f(Settings{URL: "https://example.com/", AccessKey: strings.Repeat("s3cret", 700)}, "at most 4096")
}

func TestBackoff(t *testing.T) {
	random := rand.NewPCG(1, 2)
	for n, seconds := range []float64{1, 2, 4, 8, 16, 32, 64, 120, 120, 120} {
		least, most := time.Hour, time.Duration(0)
		for range 1000 {
			d := Backoff(n, random)
			least, most = min(least, d), max(most, d)
		}
		whole := time.Duration(seconds * float64(time.Second))
		if least < whole*85/100 || least > whole*86/100 || most > whole*115/100 || most < whole*114/100 {
			t.Errorf("%d: %v to %v", n, least, most)
		}
	}
	if d := Backoff(1<<62, random); d > 138*time.Second {
		t.Errorf("%v", d)
	}
}

// FuzzBody: an answer is taken only if a reader of the standard library finds the same in it.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{`{"requestId":"id","timestamp":1}`, `{"requestId":"i\u0064","timestamp":1.5e3,"errorMessage":""}`, `{"requestId":null}`, `[]`, `{"timestamp":"1"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bodyFault(text, "id") != "" {
			return
		}
		var members map[string]any
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatal(err)
		}
		delete(members, "errorMessage")
		for name, value := range members { // a null is no member
			if value == nil {
				delete(members, name)
			}
		}
		_, isNumber := members["timestamp"].(float64)
		if members["requestId"] != "id" || !isNumber || len(members) != 2 {
			t.Errorf("taken: %s", text)
		}
	})
}

// BenchmarkBody makes bodies of a megabyte.
func BenchmarkBody(b *testing.B) {
	record := bytes.Repeat([]byte(`{"event":"page_view","id":12345},`), 30)
	for _, encoding := range []Encoding{NONE, GZIP} {
		b.Run(string(encoding), func(b *testing.B) {
			b.SetBytes(1e6)
			b.ReportAllocs()
			body := NewBody(Batch{RequestID: testID, Encoding: encoding})
			for b.Loop() {
				body.Reset(Batch{RequestID: testID, Encoding: encoding})
				for range 1e6 / len(record) {
					body.Append(record)
				}
				body.Bytes()
			}
		})
	}
}
