package logfile

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o Options) *Logs {
	t.Helper()
	if o.Folder == "" {
		o.Folder = filepath.Join(t.TempDir(), "logs")
	}
	return New(o)
}

func named(t *testing.T, l *Logs, name string) *Log {
	t.Helper()
	g, err := l.File(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func content(t *testing.T, l *Logs, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(l.Folder, path))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func closed(t *testing.T, l *Logs) {
	t.Helper()
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// What a kill -9 can take is what was written within Linger.
func TestLinesAreWrittenWithinLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Options{})
		g := named(t, l, "/aws/apigateway/orders")
		const path = "aws/apigateway/orders.log"
		g.Write([]byte("one"))
		time.Sleep(Linger / 2)
		g.Write([]byte("two"))
		synctest.Wait()
		if got := content(t, l, path); got != "" {
			t.Errorf("written at once: %q", got)
		}
		time.Sleep(Linger / 2)
		synctest.Wait()
		if got := content(t, l, path); got != "one\ntwo\n" {
			t.Errorf("after Linger: %q", got)
		}
		g.Write([]byte("three"))
		closed(t, l)
		if got := content(t, l, path); got != "one\ntwo\nthree\n" {
			t.Errorf("after Close: %q", got)
		}
		g.Write([]byte("late"))
		if s := l.Stats(); s != (Stats{Lines: 3, Dropped: 1}) {
			t.Errorf("%+v", s)
		}
	})
}

// Much is written at once, and an idle log holds neither a goroutine nor a file.
func TestManyLinesDoNotLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Options{})
		g := named(t, l, "a")
		g.Write(bytes.Repeat([]byte("x"), enoughPending))
		synctest.Wait()
		if got := len(content(t, l, "a.log")); got != enoughPending+1 {
			t.Errorf("%d bytes", got)
		}
		time.Sleep(2 * Linger)
		synctest.Wait()
		g.mu.Lock()
		running := g.running
		g.mu.Unlock()
		if running {
			t.Error("an idle log is being drained")
		}
		if err := os.Remove(filepath.Join(l.Folder, "a.log")); err != nil {
			t.Fatal(err)
		}
		g.Write([]byte("again"))
		closed(t, l)
		if got := content(t, l, "a.log"); got != "again\n" {
			t.Errorf("after the file was removed: %q", got)
		}
	})
}

// A reader that has stopped costs its own lines, and no caller's time.
func TestNobodyWaitsForASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Options{})
		stuck := make(chan struct{})
		slow := l.Func(func([]byte, int) error { <-stuck; return nil })
		fast := named(t, l, "fast")
		line := bytes.Repeat([]byte("x"), 1<<10)
		slow.Write(line)
		time.Sleep(Linger)
		synctest.Wait()
		for range 2 * maxPending / len(line) {
			slow.Write(line)
		}
		fast.Write([]byte("ok"))
		time.Sleep(Linger)
		synctest.Wait()
		if got := content(t, l, "fast.log"); got != "ok\n" {
			t.Errorf("another log: %q", got)
		}
		s := l.Stats()
		if s.Dropped < maxPending/int64(len(line)) || s.Pending > maxPending+int64(len(line))+1 {
			t.Errorf("%+v", s)
		}
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := l.Close(short); err == nil {
			t.Error("what waits was not told")
		}
		close(stuck)
		closed(t, l)
		if s := l.Stats(); s.Pending != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// All logs together have a bound.
func TestAllLogsHaveOneBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Options{})
		stuck := make(chan struct{})
		line := bytes.Repeat([]byte("x"), 64<<10)
		for range 2 * maxTotalPending / maxPending {
			g := l.Func(func([]byte, int) error { <-stuck; return nil })
			for range maxPending / len(line) {
				g.Write(line)
			}
		}
		if s := l.Stats(); s.Pending > maxTotalPending || s.Dropped == 0 {
			t.Errorf("%+v", s)
		}
		close(stuck)
		closed(t, l)
		if s := l.Stats(); s.Pending != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestFilesAreRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Options{MaxBytes: 20, Keep: 2})
		g := named(t, l, "a")
		for i := range 9 {
			g.Write([]byte("line " + strconv.Itoa(i) + "...")) // 10 bytes each
			time.Sleep(Linger)
			synctest.Wait()
		}
		closed(t, l)
		f := func(path, want string) {
			t.Helper()
			if got := content(t, l, path); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
		f("a.log", "line 8...\n")
		f("a.log.1", "line 6...\nline 7...\n")
		f("a.log.2", "line 4...\nline 5...\n")
		f("a.log.3", "")

		again := open(t, Options{Folder: l.Folder, MaxBytes: 20, Keep: 2})
		g = named(t, again, "a")
		g.Write([]byte("a start does not forget the size"))
		closed(t, again)
		f("a.log", "a start does not forget the size\n")
		f("a.log.1", "line 8...\n")
	})
}

// A text that somebody brings into a log brings no lines into it.
func TestALineStaysOneLine(t *testing.T) {
	l := open(t, Options{})
	g := named(t, l, "a")
	g.Write([]byte("a\nb\r\nc\n"))
	closed(t, l)
	if got := content(t, l, "a.log"); got != `a\nb\r\nc\n`+"\n" {
		t.Errorf("%q", got)
	}
	again := open(t, Options{})
	g = named(t, again, "b")
	g.Write([]byte("a\tb\x1b[31m\x00\x7fé\u009b\u2028\xff\xc2"))
	closed(t, again)
	if got := content(t, again, "b.log"); got != "a\tb"+`\u001b[31m\u0000\u007fé\u009b`+"\u2028\xff\xc2\n" {
		t.Errorf("%q", got)
	}
}

func TestLowSpaceStopsFiles(t *testing.T) {
	low := true
	l := open(t, Options{Low: func() bool { return low }})
	g := named(t, l, "a")
	g.Write([]byte("x"))
	closed(t, l)
	if s := l.Stats(); s.Failed != 1 || content(t, l, "a.log") != "" {
		t.Errorf("%+v", s)
	}
}

func TestPaths(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		got, ok := filePath(name)
		if ok != (want != "") || got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	f("API-Gateway-Execution-Logs_abcde12345/prod", "API-Gateway-Execution-Logs_abcde12345/prod.log")
	f("API-Gateway-Execution-Logs_abcde12345/prod/Canary", "API-Gateway-Execution-Logs_abcde12345/prod/Canary.log")
	f("/aws/apigateway/x#1", "aws/apigateway/x#1.log")
	f("../../etc/passwd", "%2E./%2E./etc/passwd.log")
	f("a//b/", "a/b.log")
	f("a.log/b", "a%2Elog/b.log")
	f("a.log.1/b", "a%2Elog.1/b.log")
	f(".ssh", "%2Essh.log")
	f("", "")
	f("/", "")
	f("a b", "")
	f(`a\b`, "")
	f("a\x00b", "")
	f(strings.Repeat("a", maxPart+1), "")
	f(strings.Repeat("a/", maxParts+1), "")
}

func TestNoFolderNoFiles(t *testing.T) {
	g, err := New(Options{}).File("a")
	if g != nil || err != nil {
		t.Errorf("%v %v", g, err)
	}
	g.Write([]byte("x"))
}

// Every line of many writers is in the files, once and whole.
func TestManyWriters(t *testing.T) {
	l := open(t, Options{MaxBytes: 4 << 10, Keep: 1 << 10})
	var writers sync.WaitGroup
	const each = 2000
	for w := range 8 {
		writers.Go(func() {
			g, _ := l.File("a")
			for i := range each {
				g.Write([]byte(strconv.Itoa(w) + " " + strconv.Itoa(i)))
			}
		})
	}
	writers.Wait()
	closed(t, l)
	files, err := filepath.Glob(filepath.Join(l.Folder, "a.log*"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			seen[line] = true
		}
	}
	if len(seen) != 8*each {
		t.Errorf("%d lines of %d", len(seen), 8*each)
	}
}

func BenchmarkWrite(b *testing.B) {
	l := New(Options{Folder: b.TempDir()})
	g, err := l.File("a")
	if err != nil {
		b.Fatal(err)
	}
	line := bytes.Repeat([]byte("x"), 200)
	b.ReportAllocs()
	for b.Loop() {
		g.Write(line)
	}
	if err := l.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// A line that a full disk or a kill has torn takes no other line with it.
func TestATornLineEndsBeforeTheNext(t *testing.T) {
	l := open(t, Options{})
	if err := errors.Join(os.MkdirAll(l.Folder, 0o700), os.WriteFile(filepath.Join(l.Folder, "a.log"), []byte("whole\nto"), 0o600)); err != nil {
		t.Fatal(err)
	}
	g := named(t, l, "a")
	g.Write([]byte("next"))
	closed(t, l)
	if got := content(t, l, "a.log"); got != "whole\nto\nnext\n" {
		t.Errorf("%q", got)
	}
}

// A disk that stays full is told of once, and then now and then, with how many lines were lost meanwhile.
func TestLostLinesAreToldOfNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told bytes.Buffer
		l := open(t, Options{Low: func() bool { return true }, Logger: slog.New(slog.NewTextHandler(&told, nil))})
		a, b := named(t, l, "a"), named(t, l, "b")
		for range 3 * int(warnEvery/Linger) / 2 {
			a.Write([]byte("x"))
			b.Write([]byte("x"))
			time.Sleep(Linger)
		}
		closed(t, l)
		if n := strings.Count(told.String(), "\n"); n != 2 || strings.Count(told.String(), "lines=") != 2 {
			t.Errorf("%d lines:\n%s", n, told.String())
		}
		if l.Stats().Failed != int64(3*int(warnEvery/Linger)/2*2) {
			t.Errorf("%+v", l.Stats())
		}
	})
}
