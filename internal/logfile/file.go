package logfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"millrace/internal/fault"
)

// Who may read a log: it holds addresses of callers, and payloads where a stage traces them.
const (
	fileMode   = 0o600
	folderMode = 0o700
)

// file is one file and those that it was rotated to. It is open while lines come; whoever moves or removes it
// meanwhile finds a new one at the next pause.
type file struct {
	logs *Logs
	path string
	f    *os.File
	size int64
}

var errSpace = errors.New("space on the disk is low")

// write appends lines; it is called by one goroutine at a time.
func (f *file) write(lines []byte, _ int) error {
	if f.logs.Low() {
		return fault.New(fault.Unavailable, "logfile.write", f.path, "%w", errSpace)
	}
	if f.f != nil && f.size > 0 && f.size+int64(len(lines)) > f.logs.MaxBytes {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	if f.f == nil {
		if err := f.open(); err != nil {
			return err
		}
		if f.size > 0 && f.size+int64(len(lines)) > f.logs.MaxBytes {
			if err := f.rotate(); err != nil {
				return err
			}
			if err := f.open(); err != nil {
				return err
			}
		}
	}
	n, err := f.f.Write(lines)
	f.size += int64(n)
	if err != nil {
		f.close() // what is wrong with it may be over when it is opened again
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}

func (f *file) open() error {
	if err := os.MkdirAll(filepath.Dir(f.path), folderMode); err != nil {
		return err
	}
	opened, err := os.OpenFile(f.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, fileMode)
	if err != nil {
		return err
	}
	size, err := endLine(opened)
	if err != nil {
		return errors.Join(err, opened.Close())
	}
	f.f, f.size = opened, size
	return nil
}

// endLine ends the last line of a file, which a full disk or the end of a process may have torn, and gives the file's
// size.
func endLine(f *os.File) (size int64, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return info.Size(), err
	}
	n, err := f.Write([]byte{'\n'})
	return info.Size() + int64(n), err
}

// close lets the file go. What was written is the system's; there is nothing that a failure could take back.
func (f *file) close() {
	if f.f != nil {
		_ = f.f.Close()
		f.f = nil
	}
}

// rotate makes room: NAME.log becomes NAME.log.1, that NAME.log.2, and the oldest goes. A kill between two renames
// leaves a gap in the numbers, and no line is lost.
func (f *file) rotate() error {
	f.close()
	numbered := func(i int) string { return f.path + "." + strconv.Itoa(i) }
	for i := f.logs.Keep; i > 0; i-- {
		from := f.path
		if i > 1 {
			from = numbered(i - 1)
		}
		if err := os.Rename(from, numbered(i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("rotate %s: %w", f.path, err)
		}
	}
	return nil
}
