// Package space watches the free space of the file system that holds the data
// folder, and says when it has fallen below the low-space mark.
//
// Beyond the mark a node refuses writes with errors that clients retry, long
// before the file system itself is full: a store that meets a full disk can't go
// on. It recovers alone when space returns.
package space

import (
	"context"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// minMark and markShare make the default mark: the larger of 1 GiB and 5 % of the file system.
	minMark   = 1 << 30
	markShare = 20
	// every is how often the file system is asked. At a write rate of 1 GB/s a gigabyte of reserve lasts it twice.
	every = 500 * time.Millisecond
	// hysteresis is how far above the mark space must rise before writes are taken again, as a share of the mark.
	hysteresis = 50
)

// Stat tells the free and total bytes of the file system that holds a folder.
type Stat func(dir string) (free, total uint64, err error)

// Statfs asks the operating system for what an unprivileged process may use.
func Statfs(dir string) (free, total uint64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}

// Watcher knows whether space is low.
type Watcher struct {
	dir  string
	mark uint64 // 0: the default
	stat Stat
	log  *slog.Logger

	low   atomic.Bool
	free  atomic.Uint64
	bound atomic.Uint64
}

// New makes a watcher of the file system below dir and looks once. A mark of 0 means the default.
func New(dir string, mark uint64, stat Stat, log *slog.Logger) *Watcher {
	w := &Watcher{dir: dir, mark: mark, stat: stat, log: log}
	w.look()
	return w
}

// Run looks again and again until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look()
		}
	}
}

func (w *Watcher) look() {
	free, total, err := w.stat(w.dir)
	if err != nil {
		w.log.Warn("free space can't be read", "folder", w.dir, "error", err)
		return
	}
	mark := w.mark
	if mark == 0 {
		mark = max(minMark, total/markShare)
	}
	w.free.Store(free)
	w.bound.Store(mark)
	was := w.low.Load()
	low := free < mark
	if was && !low {
		low = free < mark+mark/hysteresis
	}
	w.low.Store(low)
	switch {
	case low && !was:
		w.log.Error("disk space is below the low-space mark; writes are refused until it returns",
			"folder", w.dir, "free", free, "mark", mark)
	case was && !low:
		w.log.Info("disk space has returned; writes are taken again", "folder", w.dir, "free", free)
	}
}

// Low reports whether writes are to be refused.
func (w *Watcher) Low() bool { return w.low.Load() }

// Free tells the free bytes at the last look, and Mark the bytes below which space is low.
func (w *Watcher) Free() uint64 { return w.free.Load() }

// Mark is the low-space mark in bytes.
func (w *Watcher) Mark() uint64 { return w.bound.Load() }
