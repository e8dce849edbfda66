package dir

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/ids"
	"millrace/internal/object"
	"millrace/internal/object/objecttest"
	"millrace/internal/store"
)

// world is a folder and an index in memory, which can be opened again and again.
type world struct {
	t    testing.TB
	root string
	fs   *vfs.MemFS
	db   *pebble.DB
	opts Options
}

func newWorld(t testing.TB) *world {
	return &world{t: t, root: t.TempDir(), fs: vfs.NewCrashableMem()}
}

// open opens the store; it is closed when the test ends.
func (w *world) open() *Store {
	w.t.Helper()
	db, err := store.Open("meta", store.Options{Profile: store.Meta, FS: w.fs})
	if err != nil {
		w.t.Fatal(err)
	}
	w.db = db
	o := w.opts
	o.Root, o.DB, o.Prefix = w.root, db, []byte("objects/")
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.IDs == nil {
		o.IDs = ids.New()
	}
	s, err := Open(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.close(s) })
	return s
}

// close closes a store and its index.
func (w *world) close(s *Store) {
	if s.closed.Load() {
		return
	}
	if err := s.Close(); err != nil {
		w.t.Error(err)
	}
	if err := s.opts.DB.Close(); err != nil {
		w.t.Error(err)
	}
}

// A store on a folder passes the suite of the contract, with plain names and with portable ones.
func TestContract(t *testing.T) {
	for name, portable := range map[string]bool{"plain": false, "portable": true} {
		t.Run(name, func(t *testing.T) {
			objecttest.Run(t, func(t *testing.T) object.Store {
				w := newWorld(t)
				w.opts.portable = portable
				return w.open()
			}, objecttest.Options{})
		})
	}
}

// put stores a text and fails the test when it can't.
func put(t testing.TB, s *Store, bucket, key, text string) object.Info {
	t.Helper()
	info, err := s.Put(context.Background(), bucket, key, strings.NewReader(text), int64(len(text)), object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// read gives the text of an object, or its error.
func read(s *Store, bucket, key string) (string, error) {
	o, err := s.Get(context.Background(), bucket, key)
	if err != nil {
		return "", err
	}
	defer o.Body.Close()
	b, err := io.ReadAll(o.Body)
	return string(b), err
}

func create(t testing.TB, s *Store, bucket string) {
	t.Helper()
	if err := s.CreateBucket(context.Background(), object.Bucket{Name: bucket}); err != nil {
		t.Fatal(err)
	}
}

// An object is a plain file at BUCKET/KEY as soon as the put is answered.
func TestObjectsArePlainFiles(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	create(t, s, "logs")
	put(t, s, "logs", "2026/11/24/events-1.gz", "the bytes")
	got, err := os.ReadFile(filepath.Join(w.root, "logs/2026/11/24/events-1.gz"))
	if err != nil || !bytes.Equal(got, []byte("the bytes")) {
		t.Fatalf("%q, %v", got, err)
	}
}

// What was stored is there after the store is opened again.
func TestReopen(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	create(t, s, "logs")
	want := put(t, s, "logs", "a/b", "text")
	w.close(s)
	s = w.open()
	got, err := s.Head(context.Background(), "logs", "a/b")
	if err != nil || got.ETag != want.ETag || !got.Modified.Equal(want.Modified) {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
	if text, err := read(s, "logs", "a/b"); text != "text" || err != nil {
		t.Fatalf("%q, %v", text, err)
	}
}
