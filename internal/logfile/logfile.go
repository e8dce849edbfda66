// Package logfile writes the logs of stages and delivery streams: many small files, each rotated by size
// and count, and whatever else takes lines (standard output, a delivery stream).
//
//	Log.Write ─ lines in memory, bounded ─ after [Linger], or when many wait ─> drain ─> NAME.log
//	   └ never waits; what finds no room is dropped and counted                           └ NAME.log.1 … NAME.log.N
//
// It promises that a caller never waits for a disk: not for a slow one, not for a
// full one, not for a reader of standard output that has stopped. What was written is
// handed to the system within [Linger] of the first line that waits, so that a
// kill -9 loses the lines of that time and no others (at most [maxPending] bytes of
// each log), and [Logs.Close] hands over all. It does not promise what
// records are promised: nothing is fsynced, and lines that find no room are gone.
//
// Why not a library: of those that rotate files, lumberjack writes in the caller's
// goroutine and can't end the one that it starts, and its successors bring
// compression and clocks that are not wanted here. A rename is all that is needed.
package logfile

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/fault"
)

// The bounds of what waits in memory.
const (
	// Linger is how long a line may wait for others to be written with it.
	Linger = 250 * time.Millisecond
	// enoughPending is what is written at once, without lingering.
	enoughPending = 64 << 10
	// maxPending is what may wait of one log: some hundred milliseconds of 100,000 lines a second.
	maxPending = 4 << 20
	// maxTotalPending is what may wait of all logs together.
	maxTotalPending = 32 << 20
	// keptPending is what a busy log keeps of its memory, twice: lines that wait, and lines that are written. An idle
	// one keeps none.
	keptPending = 512 << 10
)

// The defaults of files.
const (
	DefaultMaxBytes = 64 << 20
	DefaultKeep     = 4
)

// Options make [Logs].
type Options struct {
	Folder   string       // where files lie; empty: there are none
	MaxBytes int64        // of a file before it is rotated; default [DefaultMaxBytes]
	Keep     int          // how many rotated files stay; default [DefaultKeep]
	Low      func() bool  // reports that space on the disk is low: nothing is written then; default: never
	Logger   *slog.Logger // told of files that can't be written; default: discard
}

// Logs are all logs of a node. They are safe for concurrent use.
type Logs struct {
	Options
	pending atomic.Int64 // bytes of all logs
	stats   struct{ lines, dropped, failed atomic.Int64 }
	warning warning

	mu     sync.Mutex
	files  map[string]*Log // by name
	closed bool
	stop   chan struct{} // closed by Close: drains linger no more
	drains sync.WaitGroup
}

// New makes logs. Nothing is opened before something is written.
func New(o Options) *Logs {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if o.Low == nil {
		o.Low = func() bool { return false }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Logs{Options: o, files: map[string]*Log{}, stop: make(chan struct{})}
}

// Stats tell what became of lines since the process started.
type Stats struct {
	Lines   int64 // handed to the system, or to who else takes them
	Dropped int64 // found no room in memory, or came after Close
	Failed  int64 // could not be written, or were not because space was low
	Pending int64 // bytes that wait
}

// Stats are those of all logs together.
func (l *Logs) Stats() Stats {
	return Stats{l.stats.lines.Load(), l.stats.dropped.Load(), l.stats.failed.Load(), l.pending.Load()}
}

// File gives the log of a name such as "/aws/apigateway/orders" or "API-Gateway-Execution-Logs_abcde12345/prod": the
// file of that path in the folder, with .log behind it. One name has one log. Without a folder it is nil, which takes
// lines and forgets them.
func (l *Logs) File(name string) (*Log, error) {
	if l.Folder == "" {
		return nil, nil
	}
	path, ok := filePath(name)
	if !ok {
		return nil, Check(name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	log := l.files[path]
	if log == nil {
		f := &file{logs: l, path: filepath.Join(l.Folder, path)}
		log = &Log{logs: l, drain: f.write, idle: f.close}
		l.files[path] = log
	}
	return log, nil
}

// Check says why there can be no log of a name; nil: there can.
func Check(name string) error {
	if _, ok := filePath(name); ok {
		return nil
	}
	return fault.New(fault.Invalid, "logfile.File", name, "%q is no name for a log: it has parts of up to %d letters, digits and _ . # - with slashes between", name, maxPart)
}

// maxPart bounds a part of a name: file systems take 255 bytes, and an ending has to fit.
const maxPart = 200

// filePath gives the path of a log's file. Names that differ have paths that differ, but for slashes that say nothing;
// none leads out of the folder, and none stands where another needs a folder.
func filePath(name string) (string, bool) {
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		if part == "" {
			continue
		}
		if len(part) > maxPart || strings.Trim(part, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.#-") != "" {
			return "", false
		}
		if part[0] == '.' {
			part = "%2E" + part[1:]
		}
		// "a.log" and "a.log.1" as folders would take the place of the files of "a".
		parts = append(parts, strings.ReplaceAll(part, ".log", "%2Elog"))
	}
	if len(parts) == 0 || len(parts) > maxParts {
		return "", false
	}
	return filepath.Join(parts...) + ".log", true
}

// maxParts bounds how deep a file lies.
const maxParts = 32

// To gives a log whose lines go to w, in the order in which they were written.
func (l *Logs) To(w io.Writer) *Log {
	return l.Func(func(lines []byte, _ int) error { _, err := w.Write(lines); return err })
}

// Func gives a log whose lines are handed to drain: some at a time, each with its newline, and how many they are. It is
// called by one goroutine at a time and keeps nothing of them.
func (l *Logs) Func(drain func(lines []byte, n int) error) *Log {
	return &Log{logs: l, drain: drain}
}

// Close hands over what waits. It returns when all of it is written, or with an error when ctx ends before.
func (l *Logs) Close(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.stop)
	}
	l.mu.Unlock()
	done := make(chan struct{})
	go func() { l.drains.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "logfile.Close", "", "%d bytes of log lines wait to be written: %w", l.pending.Load(), ctx.Err())
	}
}

// begin registers a drain, unless the logs are closed.
func (l *Logs) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.drains.Add(1)
	return true
}

// Log takes the lines of one log. It is safe for concurrent use; a nil one forgets them.
type Log struct {
	logs  *Logs
	drain func(lines []byte, n int) error
	idle  func() // called when nothing waits any more; may be nil

	mu      sync.Mutex
	lines   []byte
	count   int
	spare   []byte // the memory of what was drained last
	running bool
	full    chan struct{} // closed when enough waits; of the running drain
	urged   bool
}

// Write takes a line: all of it, or nothing. It never waits, and keeps nothing of line. Line breaks within the line are
// written as \n, so that whoever can bring a text into a log can bring no lines into it; other control characters, which
// could command the terminal of who reads it, as \u001b.
func (g *Log) Write(line []byte) {
	if g == nil {
		return
	}
	size := int64(len(line)) + 1
	g.mu.Lock()
	if len(g.lines)+len(line) >= maxPending || g.logs.pending.Add(size) > maxTotalPending {
		if len(g.lines)+len(line) < maxPending {
			g.logs.pending.Add(-size)
		}
		g.mu.Unlock()
		g.logs.stats.dropped.Add(1)
		return
	}
	if !g.running {
		if !g.logs.begin() {
			g.logs.pending.Add(-size)
			g.mu.Unlock()
			g.logs.stats.dropped.Add(1)
			return
		}
		g.running, g.urged, g.full = true, false, make(chan struct{})
		go g.run()
	}
	before := len(g.lines)
	g.lines = append(appendLine(g.lines, line), '\n')
	g.logs.pending.Add(int64(len(g.lines)-before) - size)
	g.count++
	if len(g.lines) >= enoughPending && !g.urged {
		g.urged = true
		close(g.full)
	}
	g.mu.Unlock()
}

// appendLine appends a line of text. Line breaks and what terminals take for commands are written as escapes.
func appendLine(dst, line []byte) []byte {
	from := 0
	for i := 0; i < len(line); i++ {
		c := line[i]
		size := 1
		switch {
		case c >= ' ' && c < 0x7f || c == '\t':
			continue
		case c == 0xc2 && i+1 < len(line) && line[i+1] >= 0x80 && line[i+1] < 0xa0: // U+0080 to U+009F
			c, size = line[i+1], 2
		case c > 0x7f:
			continue
		}
		dst = append(dst, line[from:i]...)
		switch c {
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		default:
			const digits = "0123456789abcdef"
			dst = append(append(dst, `\u00`...), digits[c>>4], digits[c&15]) // which a line of JSON may hold, too
		}
		i += size - 1
		from = i + 1
	}
	return append(dst, line[from:]...)
}

// run drains what waits until nothing does. It lingers before each drain, so that lines are written together; a log
// that is written to all the time has one goroutine, an idle one has none.
func (g *Log) run() {
	defer g.logs.drains.Done()
	timer := time.NewTimer(Linger)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-g.full:
		case <-g.logs.stop:
		}
		lines, n := g.take()
		if n == 0 {
			if g.idle != nil {
				g.idle()
			}
			if g.rest() {
				return
			}
			timer.Reset(Linger)
			continue
		}
		if err := g.drain(lines, n); err != nil {
			g.logs.lost(n, err)
		} else {
			g.logs.stats.lines.Add(int64(n))
		}
		g.give(lines)
		timer.Reset(Linger)
	}
}

// warnEvery is how often the logger is told of lines that can't be written, which each log would else do at each drain.
const warnEvery = 10 * time.Second

// warning is what has been told of lost lines.
type warning struct {
	mu     sync.Mutex
	last   time.Time
	untold int // lines that were lost since
}

// lost counts lines that could not be written.
func (l *Logs) lost(n int, err error) {
	l.stats.failed.Add(int64(n))
	w := &l.warning
	w.mu.Lock()
	defer w.mu.Unlock()
	w.untold += n
	if now := time.Now(); now.Sub(w.last) >= warnEvery {
		l.Logger.Warn("log lines of stages or delivery streams can't be written; they are lost", "lines", w.untold, "error", err)
		w.last, w.untold = now, 0
	}
}

// take gives what waits.
func (g *Log) take() (lines []byte, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	lines, n = g.lines, g.count
	if n > 0 {
		g.lines, g.count, g.spare = g.spare[:0], 0, nil
		g.urged, g.full = false, make(chan struct{})
	}
	return lines, n
}

// rest ends the drain, unless lines have come meanwhile.
func (g *Log) rest() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = g.count > 0
	if !g.running {
		g.lines, g.spare = nil, nil
	}
	return !g.running
}

// give takes memory back, and counts it as free.
func (g *Log) give(lines []byte) {
	g.logs.pending.Add(-int64(len(lines)))
	if cap(lines) > keptPending {
		return
	}
	g.mu.Lock()
	g.spare = lines[:0]
	g.mu.Unlock()
}
