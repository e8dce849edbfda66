package s3

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/klauspost/compress/gzip"

	"millrace/internal/object"
)

// void is a service that takes everything and keeps nothing, so that what is measured is this side of the connection.
type void struct{}

func (void) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("ETag", `"e"`)
	switch nameOf(r) {
	case "create":
		fmt.Fprint(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
	case "complete":
		fmt.Fprint(w, "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")
	}
}

// zipped makes a compressed body while it is read, as delivery does. Its lines are of JSON and compress about fivefold.
type zipped struct {
	z    *gzip.Writer
	out  bytes.Buffer
	left int // bytes of text
	line int
}

func newZipped(n int) *zipped {
	b := &zipped{left: n}
	b.z, _ = gzip.NewWriterLevel(&b.out, gzip.BestSpeed)
	return b
}

func (b *zipped) Read(p []byte) (int, error) {
	for b.out.Len() < len(p) && b.z != nil {
		if b.left <= 0 {
			b.z.Close()
			b.z = nil
			break
		}
		n, _ := fmt.Fprintf(b.z, `{"id":%d,"user":"u-%d","page":"/product/%d","ms":%d}`+"\n", b.line, b.line*7919%100_000, b.line*31%5000, b.line*131%997)
		b.line++
		b.left -= n
	}
	return b.out.Read(p)
}

// A small put, a large one in parts, and 100 MB of text that is compressed on the way.
func BenchmarkPut(b *testing.B) {
	s := open(b, serve(b, void{}), nil)
	for _, c := range []struct {
		name string
		n    int
		body func() io.Reader
	}{
		{"1KiB", 1 << 10, nil}, {"8MiB", partBytes, nil}, {"100MB", 100_000_000, nil},
		{"100MB-gzip", 100_000_000, func() io.Reader { return newZipped(100_000_000) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			raw := text(c.n)
			b.SetBytes(int64(c.n))
			b.ReportAllocs()
			for b.Loop() {
				var body io.Reader = struct{ io.Reader }{bytes.NewReader(raw)}
				if c.body != nil {
					body = c.body()
				}
				if _, err := s.Put(b.Context(), "bkt", "k", body, -1, object.PutOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
