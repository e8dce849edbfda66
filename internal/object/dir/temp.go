package dir

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"

	"millrace/internal/fault"
	"millrace/internal/ids"
	"millrace/internal/object"
)

// bufferBytes is what a put holds of its body.
const bufferBytes = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferBytes]byte) }}

// temp is a temporary file in the private folder. Its owner discards it or hands its name to the index.
type temp struct {
	s    *Store
	name string
	file *os.File // nil once closed
	kept bool
	size int64
	sums sums
}

func tempPath(name string) string { return privateDir + "/" + name }

func (t *temp) path() string { return tempPath(t.name) }

func (s *Store) newTemp(op string) (*temp, error) {
	t := &temp{s: s, name: s.opts.IDs.String(ids.LowerAlnum, 24)}
	f, err := s.root.OpenFile(t.path(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, s.unavailable(op, t.path(), err)
	}
	t.file = f
	if err := s.at(stepCreated); err != nil {
		t.discard()
		return nil, s.unavailable(op, t.path(), err)
	}
	return t, nil
}

// discard closes the file and removes it, unless it is kept.
func (t *temp) discard() {
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
	if !t.kept {
		t.s.removeTemp(t.name)
	}
}

// removeTemp removes a file that nothing refers to. When that fails, the next Open does it.
func (s *Store) removeTemp(name string) {
	if err := s.root.Remove(tempPath(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.opts.Log.Warn("a temporary file can't be removed; the next start does it", "file", tempPath(name), "error", err)
	}
}

// makeDurable closes the file when its bytes and its name are on disk.
func (t *temp) makeDurable(op string) error {
	err := t.file.Sync()
	if err == nil {
		err = t.s.at(stepSynced)
	}
	closeErr := t.file.Close()
	t.file = nil
	if err = errors.Join(err, closeErr); err != nil {
		return t.s.unavailable(op, t.path(), err)
	}
	if err := t.s.temps.wait(); err != nil {
		return t.s.unavailable(op, privateDir, err)
	}
	if err := t.s.at(stepListed); err != nil {
		return t.s.unavailable(op, t.path(), err)
	}
	return nil
}

// content is a body and what is known about it.
type content struct {
	body    io.Reader
	size    int64 // -1: until EOF
	want    object.Digests
	trailer func() (object.Digests, error)
	compute []string // algorithms of checksums, beside those of want; may be empty texts
}

// receive writes a body into a durable temporary file and compares its digests. Whatever fails, nothing is left.
func (s *Store) receive(ctx context.Context, op, resource string, c content) (*temp, error) {
	sums, err := newSums(op, resource, c)
	if err != nil {
		return nil, err
	}
	t, err := s.newTemp(op)
	if err != nil {
		return nil, err
	}
	t.sums = sums
	if err := t.fill(ctx, op, resource, c); err != nil {
		t.discard()
		return nil, err
	}
	return t, nil
}

func (t *temp) fill(ctx context.Context, op, resource string, c content) error {
	if err := t.copy(ctx, op, resource, c); err != nil {
		return err
	}
	if err := t.sums.verify(op, resource, c.want); err != nil {
		return err
	}
	if c.trailer != nil {
		late, err := c.trailer()
		if err != nil {
			return bodyError(op, resource, err)
		}
		if err := t.sums.verify(op, resource, late); err != nil {
			return err
		}
	}
	if err := t.s.at(stepWritten); err != nil {
		return t.s.unavailable(op, t.path(), err)
	}
	return t.makeDurable(op)
}

// copy reads to EOF: what checks a body while it is read says its last word there.
func (t *temp) copy(ctx context.Context, op, resource string, c content) error {
	buf := buffers.Get().(*[bufferBytes]byte)
	defer buffers.Put(buf)
	for {
		if err := ctx.Err(); err != nil {
			return bodyError(op, resource, err)
		}
		n, err := fillBuffer(c.body, buf[:])
		t.size += int64(n)
		if c.size >= 0 && t.size > c.size {
			return fault.New(fault.Invalid, op, resource, "%w: more than %d bytes", object.ErrIncompleteBody, c.size)
		}
		t.sums.write(buf[:n])
		if n > 0 {
			if _, err := t.file.Write(buf[:n]); err != nil {
				return t.s.unavailable(op, t.path(), err)
			}
		}
		runtime.Gosched() // a large object is milliseconds of encoding, hashing and writing: callers' events go between
		switch {
		case err == io.EOF && c.size >= 0 && t.size < c.size:
			return fault.New(fault.Invalid, op, resource, "%w: %d bytes, not %d", object.ErrIncompleteBody, t.size, c.size)
		case err == io.EOF:
			return nil
		case err != nil:
			return bodyError(op, resource, err)
		}
	}
}

// noProgress bounds how often a body may give neither bytes nor an error.
const noProgress = 100

// fillBuffer reads until the buffer is full or the body ends, so that small reads don't make small writes.
func fillBuffer(r io.Reader, buf []byte) (n int, err error) {
	for idle := 0; n < len(buf) && err == nil; {
		var m int
		m, err = r.Read(buf[n:])
		n += m
		if m > 0 {
			idle = 0
		} else if idle++; idle > noProgress && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// bodyError keeps the kind of what a body returned; what has none is a caller who is gone.
func bodyError(op, resource string, err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return fault.New(f.Kind, op, resource, "%w", err)
	}
	return fault.New(fault.Unavailable, op, resource, "read the body: %w", err)
}

// sums computes the digests of a body.
type sums struct {
	md5    hash.Hash
	sha256 hash.Hash // only when it has to be compared
	named  []namedHash
}

type namedHash struct {
	algorithm string
	hash.Hash
}

func newSums(op, resource string, c content) (sums, error) {
	s := sums{md5: md5.New()}
	if c.want.SHA256 != nil {
		s.sha256 = sha256.New()
	}
	names := slices.Clone(c.compute)
	for _, w := range c.want.Checksums {
		names = append(names, w.Algorithm)
	}
	for _, name := range names {
		if name == "" || s.of(name) != nil {
			continue
		}
		h := object.NewHash(name)
		if h == nil {
			return s, fault.New(fault.Unsupported, op, resource, "checksum algorithm %q", name)
		}
		s.named = append(s.named, namedHash{name, h})
	}
	return s, nil
}

func (s *sums) of(algorithm string) hash.Hash {
	for i := range s.named {
		if s.named[i].algorithm == algorithm {
			return s.named[i].Hash
		}
	}
	return nil
}

func (s *sums) write(p []byte) {
	s.md5.Write(p)
	if s.sha256 != nil {
		s.sha256.Write(p)
	}
	for i := range s.named {
		s.named[i].Write(p)
	}
}

func (s *sums) verify(op, resource string, want object.Digests) error {
	bad := ""
	switch {
	case want.MD5 != nil && !bytes.Equal(want.MD5, s.md5.Sum(nil)):
		bad = "MD5"
	case want.SHA256 != nil && s.sha256 == nil:
		bad = object.PayloadSHA256 // came with the trailer, too late to be computed
	case want.SHA256 != nil && !bytes.Equal(want.SHA256, s.sha256.Sum(nil)):
		bad = object.PayloadSHA256
	}
	for _, w := range want.Checksums {
		if h := s.of(w.Algorithm); h == nil || encodeSum(h) != w.Value {
			bad = w.Algorithm
		}
	}
	if bad != "" {
		return fault.New(fault.Invalid, op, resource, "%w", &object.DigestError{Algorithm: bad})
	}
	return nil
}

// checksums gives what was computed.
func (s *sums) checksums() []object.Checksum {
	var list []object.Checksum
	for i := range s.named {
		list = append(list, object.Checksum{Algorithm: s.named[i].algorithm, Value: encodeSum(s.named[i])})
	}
	return list
}

func encodeSum(h hash.Hash) string { return base64.StdEncoding.EncodeToString(h.Sum(nil)) }

// folderSync makes the names in a folder durable: those who wait at the same time share one fsync.
type folderSync struct {
	sync func() error
	mu   sync.Mutex
	next *syncRound
	turn sync.Mutex // one fsync at a time
}

type syncRound struct {
	done bool
	err  error
}

// wait returns when an fsync that began after the call has ended.
func (f *folderSync) wait() error {
	f.mu.Lock()
	if f.next == nil {
		f.next = new(syncRound)
	}
	round := f.next
	f.mu.Unlock()
	f.turn.Lock()
	defer f.turn.Unlock()
	if round.done {
		return round.err
	}
	f.mu.Lock()
	f.next = nil // who comes now waits for the next round
	f.mu.Unlock()
	round.done, round.err = true, f.sync()
	return round.err
}

// syncFolder makes the names in a folder durable. When that fails, what the disk holds can't be known: the store
// takes no more changes, and the next Open finds out.
func (s *Store) syncFolder(path string) error {
	d, err := s.root.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		s.broken.CompareAndSwap(nil, &err)
		s.opts.Log.Error("fsync of a folder failed; no more changes are taken until a restart", "folder", path, "error", err)
		return err
	}
	return nil
}
