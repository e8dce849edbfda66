package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// troubled is a service in front of which one can stand: it counts requests by method and operation, and a fault may
// take one over. A fault that returns false lets the request through.
type troubled struct {
	http.Handler
	fault func(name string, nth int, w http.ResponseWriter, r *http.Request) bool

	mu   sync.Mutex
	seen map[string]int
}

// nameOf tells the operations apart that matter here.
func nameOf(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Has("uploads") && r.Method == http.MethodPost:
		return "create"
	case q.Has("uploadId"):
		return map[string]string{http.MethodPut: "part", http.MethodPost: "complete", http.MethodDelete: "abort", http.MethodGet: "parts"}[r.Method]
	}
	return strings.ToLower(r.Method)
}

func (s *troubled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := nameOf(r)
	s.mu.Lock()
	s.seen[name]++
	nth, f := s.seen[name], s.fault
	s.mu.Unlock()
	if f == nil || !f(name, nth, w, r) {
		s.Handler.ServeHTTP(w, r)
	}
}

// begin makes a fault and forgets what was counted.
func (s *troubled) begin(f func(name string, nth int, w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.seen = f, map[string]int{}
}

func (s *troubled) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[name]
}

// refuse answers as the service does.
func refuse(w http.ResponseWriter, status int, code string) bool {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>because</Message><RequestId>R1</RequestId></Error>", code)
	return true
}

// drained reads a body.
func drained(r *http.Request) bool {
	_, err := io.Copy(io.Discard, r.Body)
	return err == nil
}

// lost does what was asked and loses the answer.
func (s *troubled) lost(r *http.Request) bool {
	s.Handler.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// troubledStore is a store on such a service, with the bucket "bkt".
func troubledStore(t testing.TB, change func(*Options)) (*Store, *troubled) {
	t.Helper()
	service := &troubled{Handler: millrace(t), seen: map[string]int{}}
	s := open(t, serve(t, service), change)
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bkt"}); err != nil {
		t.Fatal(err)
	}
	return s, service
}

var ifAbsent = object.PutOptions{Conditions: object.Conditions{IfNoneMatch: "*"},
	Attributes: object.Attributes{Metadata: map[string]string{"manifest": "m-1"}}}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("error %v, want kind %v", err, kind)
	}
}

// wantObject checks what a key holds, that it bears the metadata of ifAbsent, and that no upload is left.
func wantObject(t *testing.T, s *Store, key string, want []byte) {
	t.Helper()
	o, err := s.Get(t.Context(), "bkt", key)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	got, err := io.ReadAll(o.Body)
	if err != nil || !bytes.Equal(got, want) || !maps.Equal(o.Metadata, ifAbsent.Metadata) {
		t.Errorf("%q holds %d bytes, want %d; equal %v; metadata %v; %v", key, len(got), len(want), bytes.Equal(got, want), o.Metadata, err)
	}
	wantNoUpload(t, s)
}

func wantNoUpload(t *testing.T, s *Store) {
	t.Helper()
	if uploads, err := s.Uploads(t.Context(), "bkt", ""); err != nil || len(uploads) > 0 {
		t.Errorf("uploads %+v, %v", uploads, err)
	}
}

// stream hides what a body is, as the body of a delivery does.
func stream(text []byte) io.Reader { return iotest.HalfReader(bytes.NewReader(text)) }

// text is of any length, and no two places look alike.
func text(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// A body of unknown length becomes one put or an upload; either way the object is what was sent.
func TestPutOfAnyLength(t *testing.T) {
	s, service := troubledStore(t, nil)
	for _, c := range []struct{ size, parts int }{{0, 0}, {1, 0}, {partBytes - 1, 0}, {partBytes, 0}, {partBytes + 1, 2}, {2 * partBytes, 2},
		{2*partBytes + 1, 3}, {3*partBytes + 77, 4}} {
		for _, known := range []bool{false, true} {
			service.begin(nil)
			want, size := text(c.size), int64(-1)
			if known {
				size = int64(c.size)
			}
			key := fmt.Sprintf("%d-%v", c.size, known)
			info, err := s.Put(t.Context(), "bkt", key, stream(want), size, ifAbsent)
			if err != nil || info.Size != int64(c.size) || info.Parts != c.parts || info.ETag == "" || service.count("part") != c.parts {
				t.Fatalf("%d: %+v, %v", c.size, info, err)
			}
			head, err := s.Head(t.Context(), "bkt", key)
			if err != nil || head.ETag != info.ETag || head.Size != info.Size || head.Parts != info.Parts {
				t.Errorf("%+v, want %+v, %v", head, info, err)
			}
			wantObject(t, s, key, want)
			for range 10 {
				// A service that refuses a large body closes the connection when the body has set out before its answer
				// has come, which a busy machine makes likely: then there is no answer.
				if _, err = s.Put(t.Context(), "bkt", key, stream(want), size, ifAbsent); !fault.Is(err, fault.Unavailable) {
					break
				}
			}
			wantKind(t, err, fault.PreconditionFailed)
			wantNoUpload(t, s)
		}
	}
}

// When memory is short, an upload does with one buffer, and puts wait for one another instead of for ever.
func TestOneBuffer(t *testing.T) {
	s, _ := troubledStore(t, func(o *Options) { o.Buffers = 1 })
	want := text(2*partBytes + 5)
	var wait sync.WaitGroup
	for i := range 3 {
		wait.Go(func() {
			if _, err := s.Put(t.Context(), "bkt", fmt.Sprint(i), stream(want), -1, ifAbsent); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for i := range 3 {
		wantObject(t, s, fmt.Sprint(i), want)
	}
	held, err := s.buffers.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = s.Put(ctx, "bkt", "late", stream(want), -1, ifAbsent)
	wantKind(t, err, fault.Unavailable)
	s.buffers.give(held)
}

// A body that breaks off, or has another length, leaves neither an object nor an upload.
func TestBrokenLargeBody(t *testing.T) {
	s, service := troubledStore(t, nil)
	gone := errors.New("the source is gone")
	want := text(2*partBytes + 5)
	digests := object.PutOptions{Compute: object.CRC64NVME}
	wrong := object.PutOptions{Want: object.Digests{SHA256: make([]byte, sha256.Size)}}
	late := object.PutOptions{Compute: object.CRC32, Trailer: func() (object.Digests, error) {
		return object.Digests{Checksums: []object.Checksum{{Algorithm: object.CRC32, Value: "AAAAAA=="}}}, nil
	}}
	broken := func() io.Reader { return io.MultiReader(bytes.NewReader(want), iotest.ErrReader(gone)) }
	whole := func() io.Reader { return bytes.NewReader(want) }
	n := int64(len(want))
	for name, c := range map[string]struct {
		body io.Reader
		size int64
		o    object.PutOptions
		kind fault.Kind
		is   error
	}{
		"parts, broken off":   {broken(), -1, ifAbsent, fault.Unavailable, gone},
		"parts, too short":    {whole(), n + 1, ifAbsent, fault.Invalid, object.ErrIncompleteBody},
		"parts, too long":     {whole(), n - 1, ifAbsent, fault.Invalid, object.ErrIncompleteBody},
		"parts, wrong digest": {whole(), -1, wrong, fault.Invalid, nil},
		"whole, broken off":   {broken(), n + 1, digests, fault.Unavailable, gone},
		"whole, too short":    {whole(), n + 1, digests, fault.Invalid, object.ErrIncompleteBody},
		"whole, too long":     {whole(), n - 1, digests, fault.Invalid, object.ErrIncompleteBody},
		"whole, wrong digest": {whole(), n, wrong, fault.Invalid, nil},
		"whole, late digest":  {whole(), n, late, fault.Invalid, nil},
	} {
		service.begin(nil)
		_, err := s.Put(t.Context(), "bkt", "k", c.body, c.size, c.o)
		if !fault.Is(err, c.kind) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.Head(t.Context(), "bkt", "k"); !missesKey(err) {
			t.Errorf("%s: head: %v", name, err)
		}
		wantNoUpload(t, s)
	}
}

// A large body whose caller knows or wants digests is one piece: its ETag is its MD5, its checksum over all bytes.
func TestLargePutWithDigests(t *testing.T) {
	s, service := troubledStore(t, nil)
	want := text(partBytes + 1000)
	h := object.NewHash(object.CRC64NVME)
	h.Write(want)
	sum := object.Checksum{Algorithm: object.CRC64NVME, Value: encoded(h)}
	for name, o := range map[string]object.PutOptions{
		"known":    {Want: object.Digests{Checksums: []object.Checksum{sum}}, Attributes: ifAbsent.Attributes},
		"computed": {Compute: object.CRC64NVME, Attributes: ifAbsent.Attributes},
	} {
		service.begin(nil)
		info, err := s.Put(t.Context(), "bkt", name, stream(want), int64(len(want)), o)
		if err != nil || info.Parts != 0 || len(info.Checksums) != 1 || info.Checksums[0] != sum || service.count("put") != 1 {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
		wantObject(t, s, name, want)
	}
	up, err := s.CreateUpload(t.Context(), "bkt", "parts", object.UploadOptions{Attributes: ifAbsent.Attributes})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.PutPart(t.Context(), up.UploadRef, 1, stream(want), int64(len(want))-1, object.PartOptions{})
	wantKind(t, err, fault.Invalid)
	_, err = s.PutPart(t.Context(), up.UploadRef, 1, stream(want), -1, object.PartOptions{})
	wantKind(t, err, fault.Unsupported)
	part, err := s.PutPart(t.Context(), up.UploadRef, 1, stream(want), int64(len(want)), object.PartOptions{Compute: object.CRC64NVME})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CompleteUpload(t.Context(), up.UploadRef, []object.Part{part}, object.CompleteOptions{}); err != nil {
		t.Fatal(err)
	}
	wantObject(t, s, "parts", want)
}

// The answer to a conditional put is lost after the object was stored: the attempt that follows is told that the key
// exists, and the metadata tells the caller that it is his.
func TestLostAnswer(t *testing.T) {
	s, service := troubledStore(t, nil)
	service.begin(func(name string, nth int, w http.ResponseWriter, r *http.Request) bool {
		return name == "put" && nth == 1 && service.lost(r)
	})
	_, err := s.Put(t.Context(), "bkt", "k", stream([]byte("text")), -1, ifAbsent)
	wantKind(t, err, fault.PreconditionFailed)
	if service.count("put") != 2 {
		t.Errorf("%d attempts", service.count("put"))
	}
	wantObject(t, s, "k", []byte("text"))

	// The same of an upload: a node gives the same answer again.
	want := text(partBytes + 1)
	for _, lost := range []string{"create", "part", "complete"} {
		service.begin(func(name string, nth int, w http.ResponseWriter, r *http.Request) bool {
			return name == lost && nth == 1 && service.lost(r)
		})
		if _, err := s.Put(t.Context(), "bkt", lost, stream(want), -1, ifAbsent); err != nil {
			t.Errorf("%s: %v", lost, err)
		}
		if lost == "create" { // the first upload is nobody's
			uploads, err := s.Uploads(t.Context(), "bkt", "")
			if err != nil || len(uploads) != 1 {
				t.Fatalf("%+v, %v", uploads, err)
			}
			if err := s.AbortUpload(t.Context(), uploads[0].UploadRef); err != nil {
				t.Fatal(err)
			}
		}
		wantObject(t, s, lost, want)
	}

	// A service that forgets completed uploads says that there is none: the outcome is unknown, not the key missing.
	service.begin(func(name string, nth int, w http.ResponseWriter, r *http.Request) bool {
		return name == "complete" && (nth == 1 && service.lost(r) || refuse(w, 404, "NoSuchUpload"))
	})
	_, err = s.Put(t.Context(), "bkt", "forgotten", stream(want), -1, ifAbsent)
	wantKind(t, err, fault.Unavailable)
	wantObject(t, s, "forgotten", want)
}

// A failed upload is aborted, also when its caller has gone.
func TestAbort(t *testing.T) {
	s, service := troubledStore(t, nil)
	want := text(partBytes + 1)
	for _, c := range []struct {
		at     string
		status int
		code   string
		kind   fault.Kind
	}{
		{"part", 503, "SlowDown", fault.Throttled}, {"part", 403, "AccessDenied", fault.Denied},
		{"complete", 412, "PreconditionFailed", fault.PreconditionFailed}, {"complete", 409, conditionalConflict, fault.Unavailable},
		{"complete", 404, "NoSuchBucket", fault.NotFound}, {"complete", 200, "InternalError", fault.Unavailable},
	} {
		service.begin(func(name string, _ int, w http.ResponseWriter, r *http.Request) bool {
			// The body is read first: who refuses at once may cut the connection before the answer is read.
			return name == c.at && drained(r) && refuse(w, c.status, c.code)
		})
		_, err := s.Put(t.Context(), "bkt", "k", stream(want), -1, ifAbsent)
		if !fault.Is(err, c.kind) || service.count("abort") != 1 {
			t.Errorf("%s at %s: %v, %d aborts", c.code, c.at, err, service.count("abort"))
		}
		wantNoUpload(t, s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	service.begin(func(name string, nth int, _ http.ResponseWriter, r *http.Request) bool {
		if name == "part" && nth == 2 {
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not notice that the caller goes
			cancel()
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		return false
	})
	_, err := s.Put(ctx, "bkt", "k", stream(want), -1, ifAbsent)
	wantKind(t, err, fault.Unavailable)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wantNoUpload(t, s)
}

// What the service answers decides the kind; what it can't do now is tried again.
func TestAnswers(t *testing.T) {
	s, service := troubledStore(t, nil)
	for _, c := range []struct {
		status   int
		code     string
		kind     fault.Kind
		attempts int
	}{
		{503, "SlowDown", fault.Throttled, 3}, {503, "ServiceUnavailable", fault.Unavailable, 3}, {500, "InternalError", fault.Unavailable, 3},
		{429, "TooManyRequests", fault.Throttled, 1}, {409, conditionalConflict, fault.Unavailable, 3}, {412, "PreconditionFailed", fault.PreconditionFailed, 1},
		{403, "AccessDenied", fault.Denied, 1}, {403, "SignatureDoesNotMatch", fault.Denied, 1}, {403, "InvalidAccessKeyId", fault.Denied, 1},
		{400, "ExpiredToken", fault.Denied, 1}, {501, "NotImplemented", fault.Unsupported, 1}, {404, "NoSuchBucket", fault.NotFound, 1},
		{301, "PermanentRedirect", fault.Invalid, 1}, {400, "EntityTooLarge", fault.Invalid, 1}, {400, "XAmzContentSHA256Mismatch", fault.Unavailable, 1},
		{502, "", fault.Unavailable, 3},
	} {
		service.begin(func(name string, _ int, w http.ResponseWriter, _ *http.Request) bool {
			return name == "put" && refuse(w, c.status, c.code)
		})
		_, err := s.Put(t.Context(), "bkt", "k", stream([]byte("text")), -1, ifAbsent)
		if !fault.Is(err, c.kind) || service.count("put") != c.attempts {
			t.Errorf("%d %s: %v: %v after %d attempts; want %v after %d", c.status, c.code, err, fault.KindOf(err), service.count("put"), c.kind, c.attempts)
		}
		if !strings.Contains(fmt.Sprint(err), c.code) {
			t.Errorf("%v does not tell of %s", err, c.code)
		}
	}
	service.begin(func(name string, nth int, w http.ResponseWriter, _ *http.Request) bool {
		return name == "put" && nth < 3 && refuse(w, 503, "SlowDown")
	})
	if _, err := s.Put(t.Context(), "bkt", "k", stream([]byte("text")), -1, ifAbsent); err != nil {
		t.Error(err)
	}
	wantObject(t, s, "k", []byte("text"))
}

// The connection breaks while the body is on its way.
func TestReset(t *testing.T) {
	s, service := troubledStore(t, nil)
	want := text(4 << 20)
	reset := func(w http.ResponseWriter, r *http.Request) bool {
		if _, err := io.CopyN(io.Discard, r.Body, 1<<20); err != nil {
			t.Error(err)
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return true
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset and not an end
		}
		c.Close()
		return true
	}
	service.begin(func(name string, nth int, w http.ResponseWriter, r *http.Request) bool {
		return name == "put" && nth == 1 && reset(w, r)
	})
	if _, err := s.Put(t.Context(), "bkt", "k", stream(want), -1, ifAbsent); err != nil {
		t.Error(err)
	}
	wantObject(t, s, "k", want)
	service.begin(func(name string, _ int, w http.ResponseWriter, r *http.Request) bool {
		return name == "put" && reset(w, r)
	})
	_, err := s.Put(t.Context(), "bkt", "other", stream(want), -1, ifAbsent)
	wantKind(t, err, fault.Unavailable)

	// An answer that breaks off is an error of the reader, who may ask for the rest.
	service.begin(func(name string, nth int, w http.ResponseWriter, r *http.Request) bool {
		if name != "get" || nth != 1 {
			return false
		}
		service.Handler.ServeHTTP(&short{w, 1 << 20}, r)
		panic(http.ErrAbortHandler)
	})
	o, err := s.Get(t.Context(), "bkt", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	got, err := io.ReadAll(o.Body)
	wantKind(t, err, fault.Unavailable)
	rest, err := io.ReadAll(o.Body)
	if err != nil || !bytes.Equal(append(got, rest...), want) {
		t.Errorf("%d bytes and %d more, %v", len(got), len(rest), err)
	}
}

// short writes no more than n bytes, and pretends to write the rest.
type short struct {
	http.ResponseWriter
	n int
}

func (s *short) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p[:min(len(p), s.n)])
	s.n -= n
	if err != nil {
		return n, err
	}
	return len(p), nil
}

// A service that hangs is given up: when it does not answer, does not read, or stops in the middle.
func TestHang(t *testing.T) {
	done := make(chan struct{})
	patient, service := troubledStore(t, nil)
	t.Cleanup(func() { close(done) }) // before the server ends, which waits for its handlers
	want := text(4 << 20)
	if _, err := patient.Put(t.Context(), "bkt", "k", stream(want), -1, ifAbsent); err != nil {
		t.Fatal(err)
	}
	s := open(t, patient.opts.Endpoint, func(o *Options) { o.Timeout, o.Attempts = time.Second, 1 })
	service.begin(func(name string, _ int, _ http.ResponseWriter, r *http.Request) bool {
		if name == "put" {
			_, _ = io.Copy(io.Discard, r.Body)
			<-done
		}
		return name == "put"
	})
	_, err := s.Put(t.Context(), "bkt", "other", stream([]byte("text")), -1, ifAbsent)
	wantKind(t, err, fault.Unavailable)
	service.begin(func(name string, _ int, w http.ResponseWriter, r *http.Request) bool {
		if name == "put" {
			_, _ = r.Body.Read(make([]byte, 1)) // leave to send is given, and nothing read then
			<-done
		}
		return name == "put"
	})
	_, err = s.Put(t.Context(), "bkt", "other", stream(text(partBytes)), -1, ifAbsent)
	wantKind(t, err, fault.Unavailable)
	service.begin(func(name string, _ int, w http.ResponseWriter, r *http.Request) bool {
		if name == "get" {
			service.Handler.ServeHTTP(&short{w, 1 << 20}, r)
			_ = http.NewResponseController(w).Flush()
			<-done
		}
		return name == "get"
	})
	o, err := s.Get(t.Context(), "bkt", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	_, err = io.ReadAll(o.Body)
	wantKind(t, err, fault.Unavailable)
	if !errors.Is(err, errStalled) {
		t.Error(err)
	}
}

// Bytes that are not those of the checksum are Corrupt, before the last of them is given.
func TestCorruptAnswer(t *testing.T) {
	s, service := troubledStore(t, nil)
	want := text(100_000)
	o := ifAbsent
	o.Compute = object.CRC32C
	if _, err := s.Put(t.Context(), "bkt", "k", stream(want), -1, o); err != nil {
		t.Fatal(err)
	}
	service.begin(func(name string, _ int, w http.ResponseWriter, r *http.Request) bool {
		if name == "get" {
			service.Handler.ServeHTTP(flipped{w}, r)
		}
		return name == "get"
	})
	got, err := s.Get(t.Context(), "bkt", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(got.Body, int64(len(want))))
	wantKind(t, err, fault.Corrupt)
	if n >= int64(len(want)) {
		t.Error("all bytes were given")
	}
}

// flipped changes a bit of each write.
type flipped struct{ http.ResponseWriter }

func (f flipped) Write(p []byte) (int, error) {
	p = bytes.Clone(p)
	p[0] ^= 1
	return f.ResponseWriter.Write(p)
}

// Ranges come from the version that was opened, in few requests, or not at all.
func TestReadAt(t *testing.T) {
	s, service := troubledStore(t, nil)
	want := text(4 << 20)
	if _, err := s.Put(t.Context(), "bkt", "k", stream(want), -1, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	service.begin(nil)
	o, err := s.Get(t.Context(), "bkt", "k")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	section, err := io.ReadAll(io.NewSectionReader(o.Body, 3<<20, 500_000))
	if err != nil || !bytes.Equal(section, want[3<<20:3<<20+500_000]) || service.count("get") != 2 {
		t.Errorf("%d bytes, %v, %d requests", len(section), err, service.count("get"))
	}
	all, err := io.ReadAll(o.Body)
	if err != nil || !bytes.Equal(all, want) || service.count("get") != 3 {
		t.Errorf("%d bytes, %v, %d requests", len(all), err, service.count("get"))
	}
	var p [10]byte
	if n, err := o.Body.ReadAt(p[:], int64(len(want))-4); n != 4 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := s.Put(t.Context(), "bkt", "k", strings.NewReader("x"), -1, ifAbsent); !fault.Is(err, fault.PreconditionFailed) {
		t.Error(err)
	}
	if _, err := s.Put(t.Context(), "bkt", "k", strings.NewReader("other"), -1, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = o.Body.ReadAt(p[:], 0)
	wantKind(t, err, fault.Unavailable)
}

// Who is not known to the service is denied at once; health says so, and is not asked too often.
func TestCredentials(t *testing.T) {
	service := &troubled{Handler: millrace(t), seen: map[string]int{}}
	endpoint := serve(t, service)
	for name, change := range map[string]func(*Options){
		"secret": func(o *Options) { o.SecretAccessKey = "wrong" },
		"key":    func(o *Options) { o.AccessKeyID = "nobody" },
	} {
		service.begin(nil)
		s := open(t, endpoint, change)
		for range 3 {
			wantKind(t, s.Healthy(t.Context()), fault.Denied)
		}
		_, err := s.Put(t.Context(), "bkt", "k", strings.NewReader("x"), 1, ifAbsent)
		wantKind(t, err, fault.Denied)
		_, err = s.Head(t.Context(), "bkt", "k")
		wantKind(t, err, fault.Denied)
		if service.count("get") != 1 || service.count("put") != 1 {
			t.Errorf("%s: %v", name, service.seen)
		}
	}
	service.begin(func(_ string, _ int, w http.ResponseWriter, _ *http.Request) bool {
		return refuse(w, 403, "AccessDenied")
	})
	if err := open(t, endpoint, nil).Healthy(t.Context()); err != nil {
		t.Errorf("who may not list buckets: %v", err)
	}
}

// Nobody is there.
func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "http://" + l.Addr().String()
	l.Close()
	s := open(t, endpoint, nil)
	_, err = s.Put(t.Context(), "bkt", "k", strings.NewReader("x"), 1, ifAbsent)
	wantKind(t, err, fault.Unavailable)
	_, err = s.Head(t.Context(), "bkt", "k")
	wantKind(t, err, fault.Unavailable)
	err = s.Healthy(t.Context())
	wantKind(t, err, fault.Unavailable)
	if !strings.Contains(err.Error(), "no answer") || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
}

// Over TLS with a certificate of one's own.
func TestCAFile(t *testing.T) {
	server := httptest.NewUnstartedServer(millrace(t))
	server.StartTLS()
	t.Cleanup(server.Close)
	file := writePEM(t, server.Certificate().Raw)
	s := open(t, server.URL, func(o *Options) { o.CAFile = file })
	if err := s.CreateBucket(t.Context(), object.Bucket{Name: "bkt"}); err != nil {
		t.Fatal(err)
	}
	want := text(partBytes + 1000)
	for key, o := range map[string]object.PutOptions{"parts": ifAbsent, "whole": {Compute: object.SHA256, Attributes: ifAbsent.Attributes}} {
		if _, err := s.Put(t.Context(), "bkt", key, stream(want), int64(len(want)), o); err != nil {
			t.Error(err)
		}
		wantObject(t, s, key, want)
	}
	wantKind(t, open(t, server.URL, func(o *Options) { o.Attempts = 1 }).Healthy(t.Context()), fault.Unavailable)
}

// Options that can't be meant are refused.
func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no scheme":       {Endpoint: "minio:9000"},
		"a path":          {Endpoint: "http://minio:9000/bucket"},
		"a password":      {Endpoint: "http://me:secret@minio:9000"},
		"half a key":      {Endpoint: "http://minio", AccessKeyID: "a"},
		"only a token":    {Endpoint: "http://minio", SessionToken: "a"},
		"negative":        {Endpoint: "http://minio", AccessKeyID: "a", SecretAccessKey: "b", Attempts: -1},
		"no such file":    {Endpoint: "http://minio", AccessKeyID: "a", SecretAccessKey: "b", CAFile: "/none"},
		"no certificates": {Endpoint: "http://minio", AccessKeyID: "a", SecretAccessKey: "b", CAFile: "s3_test.go"},
	} {
		_, err := Open(o)
		if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "secret") && name == "a password" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Without static credentials the SDK's chain is asked, and that it finds none is told.
func TestDefaultChain(t *testing.T) {
	for _, name := range []string{"AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	endpoint := serve(t, millrace(t))
	bare := func(o *Options) { o.AccessKeyID, o.SecretAccessKey, o.Region = "", "", "" }
	wantKind(t, open(t, endpoint, bare).Healthy(t.Context()), fault.Denied)
	t.Setenv("AWS_ACCESS_KEY_ID", testKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", testSecret)
	if err := open(t, endpoint, bare).Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

// Two puts of one key with If-None-Match from two stores: one wins.
func TestTwoStores(t *testing.T) {
	endpoint := serve(t, millrace(t))
	one, two := open(t, endpoint, nil), open(t, endpoint, nil)
	if err := one.CreateBucket(t.Context(), object.Bucket{Name: "bkt"}); err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{100, partBytes + 1} {
		want := text(n)
		var wait sync.WaitGroup
		var won atomic.Int64
		for _, s := range []*Store{one, two} {
			wait.Go(func() {
				_, err := s.Put(t.Context(), "bkt", fmt.Sprint(i), stream(want), -1, ifAbsent)
				if err == nil {
					won.Add(1)
				} else {
					wantKind(t, err, fault.PreconditionFailed)
				}
			})
		}
		wait.Wait()
		if won.Load() != 1 {
			t.Errorf("%d have won", won.Load())
		}
		wantObject(t, one, fmt.Sprint(i), want)
	}
}
