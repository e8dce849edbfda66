package delivery

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/fault"
)

// spools keeps in files what has no room in the memory of buffers and should not, or can't, be made again: the outputs of
// partitions and of transformations. Nothing in them must survive the process, so that they are never synced, and they
// have no names: what a crash leaves is the file system's to free.
type spools struct {
	dir     string
	bound   int64
	low     func() bool // reports that the disk's space is low
	trouble condition
	full    atomic.Bool // it is that, or was
	now     func() time.Time

	mu      sync.Mutex
	used    int64      // the sizes of all files: one that a single run holds on to takes its whole space
	current *spoolFile // where the next run goes; nil: none

	buffers sync.Pool // *[spoolWriteBytes]byte
}

// spoolFile is one file. Its space is free again when the last run in it is released.
type spoolFile struct {
	f    *os.File
	size int64
	runs int
}

// run is a stretch of a file. Whoever has it releases it once.
type run struct {
	file  *spoolFile
	at, n int64
	owner *spools
}

// write puts n bytes, which come in pieces, into a file as one run, unless the disk is low: what was appended durably goes before.
func (s *spools) write(pieces func(yield func([]byte) bool), n int64) (r run, err error) {
	if s.low() {
		err = fault.New(fault.Unavailable, "delivery.spool", s.dir, "%w", fault.ErrLowSpace)
	} else {
		r, err = s.append(pieces, n)
	}
	s.tell(err)
	return r, err
}

// append writes pieces as one run. An error leaves nothing behind but, at worst, space that the file holds until it goes.
func (s *spools) append(pieces func(yield func([]byte) bool), n int64) (run, error) {
	r, err := s.reserve(n)
	if err != nil {
		return run{}, err
	}
	buf, ok := s.buffers.Get().(*[spoolWriteBytes]byte)
	if !ok {
		buf = new([spoolWriteBytes]byte)
	}
	defer s.buffers.Put(buf)
	used, at := 0, r.at
	flush := func() {
		if err == nil && used > 0 {
			_, err = r.file.f.WriteAt(buf[:used], at)
			at, used = at+int64(used), 0
		}
	}
	for p := range pieces {
		for len(p) > 0 && err == nil {
			n := copy(buf[used:], p)
			used, p = used+n, p[n:]
			if used == len(buf) {
				flush()
			}
		}
	}
	if flush(); err != nil {
		r.release()
		return run{}, fault.New(fault.Unavailable, "delivery.spool", s.dir, "%w", err)
	}
	return r, nil
}

// reserve gives a stretch of a file, which nobody else writes to.
func (s *spools) reserve(n int64) (run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+n > s.bound {
		return run{}, fault.New(fault.Unavailable, "delivery.spool", s.dir, "%w: it holds %d bytes", errSpoolFull, s.used)
	}
	file, err := s.file()
	if err != nil {
		return run{}, err
	}
	r := run{file: file, at: file.size, n: n, owner: s}
	file.size, s.used = file.size+n, s.used+n
	file.runs++
	if file.size >= spoolFileBytes {
		s.current = nil
	}
	return r, nil
}

// file gives the file to write to. The caller holds mu.
func (s *spools) file() (*spoolFile, error) {
	if s.current != nil {
		return s.current, nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "delivery.spool", s.dir, "%w", err)
	}
	f, err := os.CreateTemp(s.dir, "spool-*")
	if err == nil {
		err = os.Remove(f.Name())
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "delivery.spool", s.dir, "%w", err)
	}
	s.current = &spoolFile{f: f}
	return s.current, nil
}

// drop closes a file that holds no run any more. The caller holds mu.
func (s *spools) drop(file *spoolFile) {
	if file.runs > 0 {
		return
	}
	if s.current == file {
		s.current = nil
	}
	s.used -= file.size
	_ = file.f.Close() // it was never synced and is never read again
}

func (r *run) release() {
	s := r.owner
	s.mu.Lock()
	defer s.mu.Unlock()
	r.file.runs--
	s.drop(r.file)
}

// read fills p from an offset into the run.
func (r *run) read(p []byte, offset int64) error {
	if _, err := r.file.f.ReadAt(p, r.at+offset); err != nil {
		return spoolError{err}
	}
	return nil
}

// spoolError: a file does not give what was written to it. What it held is made again.
type spoolError struct{ err error }

func (e spoolError) Error() string { return "read the spool: " + e.err.Error() }
func (e spoolError) Unwrap() error { return e.err }

// Used tells how many bytes the files take.
func (s *spools) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}
