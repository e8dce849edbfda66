package store

import (
	"runtime"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// yielding is a file system whose tables are written politely. A flush or a compaction is one goroutine that computes
// for tens of milliseconds, and Go takes a processor away from it after ten: on a small machine callers would wait as
// long. So it offers the processor after each block that it writes (64 KiB in the log, some 100 us).
type yielding struct {
	vfs.FS
	yield func()
}

func politely(fs vfs.FS) vfs.FS { return yielding{fs, runtime.Gosched} }

const tableSuffix = ".sst"

// Create opens a new file; the write-ahead log's, for which callers wait, stay as they are.
func (y yielding) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := y.FS.Create(name, category)
	if err != nil || !strings.HasSuffix(name, tableSuffix) {
		return f, err
	}
	return table{f, y.yield}, nil
}

// Unwrap gives the file system below.
func (y yielding) Unwrap() vfs.FS { return y.FS }

type table struct {
	vfs.File
	yield func()
}

func (t table) Write(p []byte) (int, error) {
	n, err := t.File.Write(p)
	t.yield()
	return n, err
}
