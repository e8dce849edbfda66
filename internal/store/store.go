// Package store opens the node's local key-value stores, which are Pebble
// databases, and owns what they have in common: the format of the folder, the
// settings, and what happens when the disk fails.
//
// A node has two: the log (records, [Log]) and the meta store (catalog, delivery
// journal, object index, [Meta]).
//
// A failed write or fsync of the write-ahead log is final: Pebble can't know what
// the disk holds then. [Options.Fatal] is told, the goroutine that wrote ends, and
// no caller is answered with success. Opening the folder again recovers what was
// synced.
package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"

	"millrace/internal/fault"
)

// Profile fits a store to its use.
type Profile uint8

const (
	// Log is for records: large sequential writes, keys that never overlap, whole ranges dropped.
	Log Profile = iota
	// Meta is for small documents: point reads and prefix scans.
	Meta
)

// Options of a store.
type Options struct {
	Profile Profile
	FS      vfs.FS // nil: the operating system's
	Log     *slog.Logger
	// Fatal is told once that the store can't go on. Nil: the process panics.
	Fatal func(error)
	// Tune changes settings, for tests.
	Tune func(*pebble.Options)
}

// The first line of the format file. A folder of another version is refused by name.
const (
	formatFile    = "FORMAT"
	formatMagic   = "millrace store "
	formatVersion = "1"
)

// Open opens or creates the store in a folder.
func Open(dir string, opts Options) (*pebble.DB, error) {
	if opts.FS == nil {
		opts.FS = vfs.Default
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if err := opts.FS.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, "store.Open", dir, "%w", err)
	}
	if err := checkFormat(opts.FS, dir); err != nil {
		return nil, err
	}
	db, err := pebble.Open(dir, settings(opts))
	switch {
	case err == nil:
		return db, nil
	case lockHeld(err):
		return nil, fault.New(fault.InUse, "store.Open", dir, "another process has this folder open: %w", err)
	case pebble.IsCorruptionError(err):
		return nil, fault.New(fault.Corrupt, "store.Open", dir, "%w; keep the folder as it is and restore a copy", err)
	}
	return nil, fault.New(fault.Unavailable, "store.Open", dir, "%w", err)
}

func lockHeld(err error) bool {
	text := err.Error()
	return strings.Contains(text, "resource temporarily unavailable") || strings.Contains(text, "lock held by current process")
}

// checkFormat writes the version into a new folder and compares it in an old one.
func checkFormat(fs vfs.FS, dir string) error {
	name := fs.PathJoin(dir, formatFile)
	f, err := fs.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return writeFormat(fs, dir, name)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "store.Open", name, "%w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 100))
	if err != nil {
		return fault.New(fault.Unavailable, "store.Open", name, "%w", err)
	}
	version, ours := strings.CutPrefix(strings.TrimSpace(string(text)), formatMagic)
	if !ours {
		return fault.New(fault.Corrupt, "store.Open", name, "it begins %.40q, which no Millrace has written", text)
	}
	if version != formatVersion {
		return fault.New(fault.Unsupported, "store.Open", name,
			"the folder has format version %s; this build reads version %s", version, formatVersion)
	}
	return nil
}

func writeFormat(fs vfs.FS, dir, name string) error {
	temp := name + ".tmp"
	write := func() error {
		f, err := fs.Create(temp, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		if _, err := f.Write([]byte(formatMagic + formatVersion + "\n")); err != nil {
			return errors.Join(err, f.Close())
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
		if err := fs.Rename(temp, name); err != nil {
			return err
		}
		d, err := fs.OpenDir(dir)
		if err != nil {
			return err
		}
		return errors.Join(d.Sync(), d.Close())
	}
	if err := write(); err != nil {
		return fault.New(fault.Unavailable, "store.Open", name, "%w", err)
	}
	return nil
}

// Sizes, chosen so that both stores together stay well below 150 MiB at full load.
const (
	logMemTable  = 16 << 20
	logCache     = 8 << 20
	metaMemTable = 4 << 20
	metaCache    = 8 << 20
)

func settings(o Options) *pebble.Options {
	p := &pebble.Options{
		FS:                 politely(o.FS),
		Logger:             logger{o.Log, o.Fatal, new(sync.Once)},
		FormatMajorVersion: pebble.FormatNewest,
		MaxOpenFiles:       1000,
	}
	listener := pebble.EventListener{
		BackgroundError: func(err error) { o.Log.Error("store background work failed; it is tried again", "error", err) },
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) { o.Log.Warn("store stalls writes", "reason", i.Reason) },
	}
	listener.EnsureDefaults(nil)
	p.EventListener = &listener
	switch o.Profile {
	case Log:
		p.CacheSize = logCache
		p.MemTableSize = logMemTable
		p.MemTableStopWritesThreshold = 4
		// Tables of the log hardly overlap, so that level 0 may hold many without slowing reads.
		p.L0CompactionThreshold = 8
		p.L0StopWritesThreshold = 200
		p.LBaseMaxBytes = 256 << 20
		p.WALBytesPerSync = 0
		p.BytesPerSync = 1 << 20
		p.CompactionConcurrencyRange = func() (int, int) { return 1, 2 }
		for i := range p.Levels {
			p.Levels[i].Compression = func() *block.CompressionProfile { return block.NoCompression }
			p.Levels[i].BlockSize = 64 << 10
		}
	case Meta:
		p.CacheSize = metaCache
		p.MemTableSize = metaMemTable
		p.L0CompactionThreshold = 4
	}
	if o.Tune != nil {
		o.Tune(p)
	}
	return p
}

// logger takes Pebble's words. What Pebble calls fatal must not return.
type logger struct {
	log   *slog.Logger
	fatal func(error)
	once  *sync.Once
}

// Infof is dropped: Pebble tells each flush.
func (logger) Infof(string, ...any) {}

// Errorf logs.
func (l logger) Errorf(format string, args ...any) {
	l.log.Error("store", "error", fmt.Sprintf(format, args...))
}

// Fatalf reports and ends the goroutine that met the failure.
func (l logger) Fatalf(format string, args ...any) {
	err := fault.New(fault.Unavailable, "store", "", format, args...)
	l.log.Error("store can't go on; what was acknowledged is safe, restart to recover", "error", err)
	if l.fatal == nil {
		panic(err)
	}
	l.once.Do(func() { l.fatal(err) })
	runtime.Goexit()
}
