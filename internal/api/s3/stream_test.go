package s3

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"millrace/internal/object"
)

// slow gives a byte at a time and counts how far the reader is ahead.
type slow struct{ left int }

func (b *slow) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	b.left--
	p[0] = 'x'
	return 1, nil
}

// A body that comes byte by byte is stored whole.
func TestSlowBody(t *testing.T) {
	s := service(t, nil)
	answer(s, httptest.NewRequest("PUT", "http://localhost/bkt", nil))
	r := httptest.NewRequest("PUT", "http://localhost/bkt/k", &slow{100_000})
	r.ContentLength = 100_000
	if w := answer(s, r); w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	if w := answer(s, httptest.NewRequest("GET", "http://localhost/bkt/k", nil)); w.Body.Len() != 100_000 {
		t.Error(w.Body.Len())
	}
}

type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	z.left -= n
	return int(n), nil
}

// nowhere counts what is written.
type nowhere struct {
	header http.Header
	n      int64
}

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) WriteHeader(int)             {}
func (w *nowhere) Write(p []byte) (int, error) { w.n += int64(len(p)); return len(p), nil }

// A put and a get allocate a bounded number of bytes, whatever the size of the object.
func TestMemory(t *testing.T) {
	const size = 32 << 20
	s := service(t, nil)
	answer(s, httptest.NewRequest("PUT", "http://localhost/bkt", nil))
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			r := httptest.NewRequest("PUT", "http://localhost/bkt/k", &zeros{size})
			r.ContentLength = size
			if w := answer(s, r); w.Code != 200 {
				b.Fatal(w.Code, w.Body)
			}
			w := &nowhere{header: http.Header{}}
			s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/bkt/k", nil))
			if w.n != size {
				b.Fatal(w.n)
			}
		}
	})
	if n := result.AllocedBytesPerOp(); n > 512<<10 {
		t.Errorf("putting and getting 32 MiB allocates %d bytes", n)
	}
}

// A completion goes on when its caller has gone, so that who asks again finds the object.
func TestCompletionOutlivesItsCaller(t *testing.T) {
	s := service(t, nil)
	ctx := t.Context()
	if err := s.Store.CreateBucket(ctx, object.Bucket{Name: "bkt"}); err != nil {
		t.Fatal(err)
	}
	up, err := s.Store.CreateUpload(ctx, "bkt", "k", object.UploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var document strings.Builder
	for i, body := range []string{strings.Repeat("p", object.MinPartBytes), "end"} {
		p, err := s.Store.PutPart(ctx, up.UploadRef, i+1, strings.NewReader(body), int64(len(body)), object.PartOptions{})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&document, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", p.Number, p.ETag)
	}
	gone, leave := context.WithCancel(ctx)
	leave()
	r := httptest.NewRequest("POST", "http://localhost/bkt/k?uploadId="+up.ID,
		strings.NewReader("<CompleteMultipartUpload>"+document.String()+"</CompleteMultipartUpload>"))
	answer(s, r.WithContext(gone))
	if info, err := s.Store.Head(ctx, "bkt", "k"); err != nil || info.Size != object.MinPartBytes+3 {
		t.Errorf("%+v, %v", info, err)
	}
}
