package store

import (
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A flush gives way after each block; what callers wait for, the write-ahead log, does not.
func TestTablesAreWrittenPolitely(t *testing.T) {
	var yields atomic.Int64
	db, err := Open("log", Options{Profile: Log, FS: vfs.NewMem(), Tune: func(o *pebble.Options) {
		o.FS = yielding{o.FS.Unwrap(), func() { yields.Add(1) }}
	}})
	if err != nil {
		t.Fatal(err)
	}
	const blocks = 16
	for i := range blocks {
		if err := db.Set([]byte{byte(i)}, make([]byte, 64<<10), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if n := yields.Load(); n > 0 {
		t.Errorf("%d yields before a table was written", n)
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := yields.Load(); n < blocks {
		t.Errorf("%d yields in a table of %d blocks", n, blocks)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
