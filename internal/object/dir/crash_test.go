package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/fault"
	"millrace/internal/object"
)

// moment is what a crash leaves at one step: the files, and the index with a random share of what was not synced.
type moment struct {
	step  string
	files map[string]string // path below the root: content
	index *vfs.MemFS
}

// film runs change and keeps the moment of each step.
func film(t *testing.T, w *world, change func(*Store)) []moment {
	t.Helper()
	s := w.open()
	var film []moment
	var mu sync.Mutex
	shoot := func(step string) {
		mu.Lock()
		defer mu.Unlock()
		film = append(film, moment{step, filesBelow(t, w.root), w.fs.CrashClone(vfs.CrashCloneCfg{
			UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(uint64(len(film)), 7))})})
	}
	s.opts.Failpoint = shoot
	change(s)
	s.settling.settle(s)
	shoot("end")
	s.opts.Failpoint = nil
	w.close(s)
	return film
}

func filesBelow(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we looked
		}
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			files[rel+"/"] = ""
			return nil
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// afterCrash gives a world as it is after a crash with the files of one moment and the index of another.
func afterCrash(t *testing.T, files, index *moment) *world {
	t.Helper()
	w := &world{t: t, root: t.TempDir(), fs: index.index.CrashClone(vfs.CrashCloneCfg{})}
	for name, content := range files.files {
		path := filepath.Join(w.root, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// clean reports what is in the private folder and should not be.
func (w *world) clean(t *testing.T, parts int) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.root, privateDir))
	if err != nil || len(entries) != parts {
		t.Errorf("the private folder holds %d files, want %d: %v", len(entries), parts, err)
	}
}

// has reports whether a film passes a step.
func has(list []moment, step string) bool {
	for i := range list {
		if list[i].step == step {
			return true
		}
	}
	return false
}

// A crash at any step of a put leaves the old object or the new one, and the new one once the row is committed; also
// when the rename did not reach the disk.
func TestCrashInPut(t *testing.T) {
	for _, old := range []string{"", "the old text"} {
		for _, key := range []string{"plain", "new/folders/k"} {
			w := newWorld(t)
			s := w.open()
			create(t, s, "logs")
			if old != "" {
				put(t, s, "logs", key, old)
			}
			w.close(s)
			roll := film(t, w, func(s *Store) { put(t, s, "logs", key, "the new text, which is longer") })
			if !has(roll, stepCommitted) || !has(roll, stepRenamed) || !has(roll, stepSettled) {
				t.Fatalf("steps %v", roll)
			}
			committed := -1
			for i := range roll {
				if roll[i].step == stepCommitted {
					committed = i
				}
				oldest := i // of the files: what was renamed and not synced may be undone
				if committed >= 0 && roll[i].step != stepFolders && roll[i].step != stepSettled && roll[i].step != "end" {
					oldest = committed
				}
				for j := oldest; j <= i; j++ {
					t.Run(fmt.Sprintf("old=%v/%s/%s with files of %s", old != "", key, roll[i].step, roll[j].step), func(t *testing.T) {
						w := afterCrash(t, &roll[j], &roll[i])
						s := w.open()
						got, err := read(s, "logs", key)
						switch {
						case committed >= 0 && (err != nil || got != "the new text, which is longer"):
							t.Errorf("after the commit: %q, %v", got, err)
						case committed < 0 && old != "" && (err != nil || got != old):
							t.Errorf("before the commit: %q, %v", got, err)
						case committed < 0 && old == "" && !fault.Is(err, fault.NotFound):
							t.Errorf("before the commit: %q, %v", got, err)
						}
						w.clean(t, 0)
						put(t, s, "logs", key, "and again") // the store works on
						if got, err := read(s, "logs", key); got != "and again" || err != nil {
							t.Errorf("%q, %v", got, err)
						}
					})
				}
			}
		}
	}
}

// A crash at any step of a deletion leaves the object or nothing, and nothing once the row is gone. A file is not left.
func TestCrashInDelete(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	create(t, s, "logs")
	put(t, s, "logs", "a/b", "text")
	put(t, s, "logs", "a", "beside")
	w.close(s)
	roll := film(t, w, func(s *Store) {
		if err := s.Delete(context.Background(), "logs", "a/b"); err != nil {
			t.Fatal(err)
		}
	})
	if !has(roll, stepRemoving) || !has(roll, stepRemoved) {
		t.Fatalf("steps %v", roll)
	}
	for i := range roll {
		for j := range i + 1 {
			if roll[i].step != stepSettled && roll[i].step != "end" && roll[i].step != stepFolders || j == i {
				w := afterCrash(t, &roll[j], &roll[i])
				s := w.open()
				if got, err := read(s, "logs", "a/b"); !fault.Is(err, fault.NotFound) {
					t.Errorf("%s: %q, %v", roll[i].step, got, err)
				}
				if got, err := read(s, "logs", "a"); got != "beside" || err != nil {
					t.Errorf("%s: %q, %v", roll[i].step, got, err)
				}
				if files := filesBelow(t, w.root); files["logs/a/b"] != "" {
					t.Errorf("%s: the file is left", roll[i].step)
				}
			}
		}
	}
}

// A crash at any step of an upload leaves it in progress, with the parts that were answered, or complete; and once the
// row is committed, complete.
func TestCrashInUpload(t *testing.T) {
	first, last := strings.Repeat("p", object.MinPartBytes), "the end"
	for _, one := range []bool{true, false} {
		w := newWorld(t)
		s := w.open()
		create(t, s, "logs")
		up, err := s.CreateUpload(context.Background(), "logs", "k", object.UploadOptions{ChecksumAlgorithm: object.CRC32C})
		if err != nil {
			t.Fatal(err)
		}
		w.close(s)
		ref, want := up.UploadRef, last
		var parts []object.Part
		roll := film(t, w, func(s *Store) {
			bodies := []string{first, last}
			if one {
				bodies = bodies[1:]
			} else {
				want = first + last
			}
			for i, body := range bodies {
				p, err := s.PutPart(context.Background(), ref, i+1, strings.NewReader(body), int64(len(body)), object.PartOptions{})
				if err != nil {
					t.Fatal(err)
				}
				parts = append(parts, p)
			}
			if _, err := s.CompleteUpload(context.Background(), ref, parts, object.CompleteOptions{}); err != nil {
				t.Fatal(err)
			}
		})
		stored, done := 0, false
		for i := range roll {
			switch roll[i].step {
			case stepPart:
				stored++
			case stepCommitted:
				done = true
			}
			w := afterCrash(t, &roll[i], &roll[i])
			s := w.open()
			got, err := read(s, "logs", "k")
			if done {
				if err != nil || got != want {
					t.Errorf("one=%v %s: %d bytes, %v", one, roll[i].step, len(got), err)
				}
				w.clean(t, 0)
				if _, err := s.Parts(context.Background(), ref); !fault.Is(err, fault.NotFound) {
					t.Errorf("%s: the upload is left: %v", roll[i].step, err)
				}
				if again, err := s.CompleteUpload(context.Background(), ref, parts, object.CompleteOptions{}); err != nil || again.Size != int64(len(want)) {
					t.Errorf("%s: completing again: %v", roll[i].step, err)
				}
				continue
			}
			list, err := s.Parts(context.Background(), ref)
			if err != nil || len(list) != stored {
				t.Errorf("one=%v %s: %d parts, want %d, %v", one, roll[i].step, len(list), stored, err)
			}
			w.clean(t, stored)
			if len(list) == len(parts) {
				if _, err := s.CompleteUpload(context.Background(), ref, parts, object.CompleteOptions{}); err != nil {
					t.Errorf("%s: %v", roll[i].step, err)
				}
				if got, err := read(s, "logs", "k"); got != want || err != nil {
					t.Errorf("%s: completed after the crash: %d bytes, %v", roll[i].step, len(got), err)
				}
			}
		}
		if !done || stored != len(parts) || !one && !has(roll, stepJoined) {
			t.Fatalf("one=%v: steps %v", one, roll)
		}
	}
}

// A crash while an upload is aborted leaves all of it or nothing.
func TestCrashInAbort(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	create(t, s, "logs")
	up, err := s.CreateUpload(context.Background(), "logs", "k", object.UploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutPart(context.Background(), up.UploadRef, 1, strings.NewReader("x"), 1, object.PartOptions{}); err != nil {
		t.Fatal(err)
	}
	w.close(s)
	roll := film(t, w, func(s *Store) {
		if err := s.AbortUpload(context.Background(), up.UploadRef); err != nil {
			t.Fatal(err)
		}
	})
	if !has(roll, stepAborted) {
		t.Fatalf("steps %v", roll)
	}
	for i := range roll {
		w := afterCrash(t, &roll[i], &roll[i])
		s := w.open()
		if _, err := s.Parts(context.Background(), up.UploadRef); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s: %v", roll[i].step, err)
		}
		w.clean(t, 0)
		if err := s.DeleteBucket(context.Background(), "logs"); err != nil {
			t.Errorf("%s: %v", roll[i].step, err)
		}
	}
}
