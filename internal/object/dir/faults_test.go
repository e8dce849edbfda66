package dir

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// errDisk is a fault of the file system.
var errDisk = errors.New("no space left on device")

// A fault of the file system at any step before the commit is Unavailable and changes nothing. A fault behind it is
// not the caller's: the object is there, read from where it is, and moved when that works.
func TestFaultsOfTheFileSystem(t *testing.T) {
	for _, step := range []string{stepCreated, stepWritten, stepSynced, stepListed} {
		w := newWorld(t)
		s := w.open()
		create(t, s, "logs")
		put(t, s, "logs", "k", "old")
		s.opts.fail = func(at string) error {
			if at == step {
				return errDisk
			}
			return nil
		}
		_, err := s.Put(context.Background(), "logs", "k", strings.NewReader("new"), 3, object.PutOptions{})
		if !fault.Is(err, fault.Unavailable) || !errors.Is(err, errDisk) {
			t.Errorf("%s: %v", step, err)
		}
		s.opts.fail = nil
		if got, err := read(s, "logs", "k"); got != "old" || err != nil {
			t.Errorf("%s: %q, %v", step, got, err)
		}
		w.clean(t, 0)
		put(t, s, "logs", "k", "new")
	}
}

// An object whose file can't be moved to its path is answered, read, overwritten and deleted all the same; a later
// round or the next start moves it.
func TestDisplacedObject(t *testing.T) {
	for _, end := range []string{"settled", "restarted", "overwritten", "deleted"} {
		t.Run(end, func(t *testing.T) {
			w := newWorld(t)
			s := w.open()
			create(t, s, "logs")
			s.opts.fail = func(at string) error {
				if at == stepCommitted {
					return errDisk
				}
				return nil
			}
			put(t, s, "logs", "dir/k", "text")
			if got, err := read(s, "logs", "dir/k"); got != "text" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			want := "text"
			s.opts.fail = nil
			switch end {
			case "settled":
				s.settling.settle(s)
			case "restarted":
				w.close(s)
				s = w.open()
			case "overwritten":
				want = "newer"
				put(t, s, "logs", "dir/k", want)
			case "deleted":
				want = ""
				if err := s.Delete(context.Background(), "logs", "dir/k"); err != nil {
					t.Fatal(err)
				}
			}
			got, err := read(s, "logs", "dir/k")
			if got != want || fault.Is(err, fault.NotFound) != (end == "deleted") {
				t.Errorf("%q, %v", got, err)
			}
			b, _ := os.ReadFile(filepath.Join(w.root, "logs/dir/k"))
			if string(b) != want {
				t.Errorf("the file has %q", b)
			}
			w.clean(t, 0)
		})
	}
}

// Below the low-space mark writes are refused as that, while reads and deletions go on; with space, writes do again.
func TestLowSpace(t *testing.T) {
	w := newWorld(t)
	low := false
	w.opts.Low = func() bool { return low }
	s := w.open()
	create(t, s, "logs")
	put(t, s, "logs", "k", "text")
	up, err := s.CreateUpload(context.Background(), "logs", "u", object.UploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	low = true
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"Put": func() error {
			_, err := s.Put(ctx, "logs", "x", strings.NewReader("x"), 1, object.PutOptions{})
			return err
		},
		"PutPart": func() error {
			_, err := s.PutPart(ctx, up.UploadRef, 1, strings.NewReader("x"), 1, object.PartOptions{})
			return err
		},
		"CreateUpload": func() error { _, err := s.CreateUpload(ctx, "logs", "x", object.UploadOptions{}); return err },
		"CreateBucket": func() error { return s.CreateBucket(ctx, object.Bucket{Name: "more"}) },
		"Healthy":      func() error { return s.Healthy(ctx) },
	} {
		if err := call(); !fault.Is(err, fault.Unavailable) || !errors.Is(err, fault.ErrLowSpace) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := read(s, "logs", "k"); got != "text" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := errors.Join(s.Delete(ctx, "logs", "k"), s.AbortUpload(ctx, up.UploadRef)); err != nil {
		t.Error(err)
	}
	low = false
	put(t, s, "logs", "k", "again")
	if err := s.Healthy(ctx); err != nil {
		t.Error(err)
	}
}

// A file that was changed or removed by hand is Corrupt and named, never served; the object can be deleted.
func TestChangedFiles(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	create(t, s, "logs")
	path := filepath.Join(w.root, "logs/k")
	for name, change := range map[string]func() error{
		"removed":  func() error { return os.Remove(path) },
		"cut":      func() error { return os.Truncate(path, 1) },
		"replaced": func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) },
		"linked":   func() error { return errors.Join(os.Remove(path), os.Symlink("/etc/passwd", path)) },
	} {
		put(t, s, "logs", "k", "text")
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if got, err := read(s, "logs", "k"); err == nil || name != "linked" && !(fault.Is(err, fault.Corrupt) && strings.Contains(err.Error(), "logs/k")) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err := s.Delete(context.Background(), "logs", "k"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = os.RemoveAll(path)
	}
}

// A file or a folder that is there by hand: the folder becomes the bucket's, the file is not overwritten.
func TestForeignNames(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	if err := errors.Join(os.WriteFile(filepath.Join(w.root, "file"), []byte("mine"), 0o644), os.MkdirAll(filepath.Join(w.root, "folder/a"), 0o755),
		os.WriteFile(filepath.Join(w.root, "folder/note"), []byte("mine"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateBucket(context.Background(), object.Bucket{Name: "file"}); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "file") {
		t.Error(err)
	}
	create(t, s, "folder")
	if got, err := read(s, "folder", "note"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a file put there by hand is an object: %q, %v", got, err)
	}
	put(t, s, "folder", "a", "beside the folder")
	if got, err := read(s, "folder", "a"); got != "beside the folder" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := s.Delete(context.Background(), "folder", "a"); err != nil {
		t.Error(err)
	}
	if err := s.DeleteBucket(context.Background(), "folder"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(w.root, "folder/note")); string(b) != "mine" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// After Close every call is Unavailable, and none panics.
func TestClosed(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	create(t, s, "logs")
	put(t, s, "logs", "k", "text")
	up, err := s.CreateUpload(context.Background(), "logs", "u", object.UploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.close(s)
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"Put": func() error {
			_, err := s.Put(ctx, "logs", "x", strings.NewReader("x"), 1, object.PutOptions{})
			return err
		},
		"Get":         func() error { _, err := s.Get(ctx, "logs", "k"); return err },
		"Head":        func() error { _, err := s.Head(ctx, "logs", "k"); return err },
		"Delete":      func() error { return s.Delete(ctx, "logs", "k") },
		"Tag":         func() error { return s.Tag(ctx, "logs", "k", nil) },
		"List":        func() error { _, err := s.List(ctx, "logs", object.ListOptions{Max: 1}); return err },
		"Upload":      func() error { _, err := s.Upload(ctx, up.UploadRef); return err },
		"Uploads":     func() error { _, err := s.Uploads(ctx, "logs", ""); return err },
		"Parts":       func() error { _, err := s.Parts(ctx, up.UploadRef); return err },
		"AbortUpload": func() error { return s.AbortUpload(ctx, up.UploadRef) },
		"Complete": func() error {
			_, err := s.CompleteUpload(ctx, up.UploadRef, nil, object.CompleteOptions{})
			return err
		},
		"CreateBucket": func() error { return s.CreateBucket(ctx, object.Bucket{Name: "more"}) },
		"DeleteBucket": func() error { return s.DeleteBucket(ctx, "logs") },
		"Healthy":      func() error { return s.Healthy(ctx) },
	} {
		if err := call(); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error("closing again:", err)
	}
}

// An index of another version is refused by name, and left alone.
func TestUnknownFormat(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	if err := s.opts.DB.Set(s.key(rowFormat), []byte{9, 0}, nil); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Options{Root: w.root, DB: s.opts.DB, Prefix: s.opts.Prefix, Now: s.opts.Now, IDs: s.opts.IDs})
	if !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "09 00") {
		t.Error(err)
	}
}

// endless gives as many bytes as are asked for.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), e.left))
	e.left -= int64(n)
	return n, nil
}

// A put allocates the same few kilobytes whatever its size.
func TestPutMemory(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	create(t, s, "logs")
	large := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Put(context.Background(), "logs", "k", &endless{16 << 20}, 16<<20, object.PutOptions{Compute: object.CRC64NVME}); err != nil {
				b.Fatal(err)
			}
		}
	})
	if n := large.AllocedBytesPerOp(); n > 256<<10 {
		t.Errorf("a put of 16 MiB allocates %d bytes", n)
	}
}
