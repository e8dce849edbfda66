package front

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// Whatever bytes come in: no panic, no memory kept, no connection left (the clean-up of serve looks).
func FuzzBytes(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /prod/v1?a=%zz HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n",
		"PUT http://[::1]:80 HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: [\r\nX-Amz-Target: Kinesis_20131202.\r\nOrigin: ://\r\nAuthorization: AWS4-HMAC-SHA256 Credential=////\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
		"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	reads := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	n := serve(f, Options{Services: map[Service]http.Handler{Kinesis: reads, S3: reads, APIGateway: reads, Firehose: reads}, Millrace: reads})
	f.Fuzz(func(t *testing.T, sent []byte) {
		for _, url := range []string{n.IngestURL(), n.AWSURL()} {
			c, err := net.DialTimeout("tcp", addr(url), 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = c.Write(sent) // it may be cut
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
		if got := n.Stats(); got.Panics > 0 {
			t.Fatalf("panic:\n%s", n.log)
		}
	})
}
