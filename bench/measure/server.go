package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is a process under test.
type server struct {
	cmd   *exec.Cmd
	out   lockedBuffer
	ended chan struct{}
	took  time.Duration // from start to ready
}

// lockedBuffer takes a process's output and keeps its first part.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

const keptOutput = 64 << 10

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() < keptOutput {
		l.b.Write(p)
	}
	return len(p), nil
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a command and waits until ready says so.
func start(ctx context.Context, dir string, env []string, ready func(out string) bool, name string, args ...string) (*server, error) {
	s := &server{cmd: exec.CommandContext(ctx, name, args...), ended: make(chan struct{})}
	s.cmd.Dir, s.cmd.Env = dir, append(os.Environ(), env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = s.cmd.Wait(); close(s.ended) }() // how it ended shows in its output
	for !ready(s.out.String()) {
		select {
		case <-s.ended:
			return nil, fmt.Errorf("%s ended: %s", name, lastLines(s.out.String()))
		case <-time.After(2 * time.Millisecond):
		}
		if time.Since(began) > time.Minute {
			s.stop(syscall.SIGKILL)
			return nil, fmt.Errorf("%s is not ready after a minute: %s", name, lastLines(s.out.String()))
		}
	}
	s.took = time.Since(began)
	return s, nil
}

func lastLines(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}

func (s *server) stop(sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig) // it may have ended by itself
	select {
	case <-s.ended:
	case <-time.After(40 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}

// rss is the memory that the process holds, and peak the most that it has held, in MiB.
func (s *server) rss() (now, peak int) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(s.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, 0
	}
	value := func(key string) int {
		_, rest, _ := strings.Cut(string(text), key+":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			return 0
		}
		kib, _ := strconv.Atoi(fields[0]) // digits, by the kernel
		return kib >> 10
	}
	return value("VmRSS"), value("VmHWM")
}

// startMillrace runs `millrace up` on a folder with a definition file (none: the reference pipeline), and gives the addresses
// of the AWS endpoint and of ingest.
func (o *options) startMillrace(ctx context.Context, folder string, file ...string) (s *server, aws, ingest string, err error) {
	args := append([]string{"up", "--data", folder, "--listen", "127.0.0.1:0", "--ingest", "127.0.0.1:0", "--log-level", "warn"}, file...)
	s, err = start(ctx, "", nil, func(out string) bool { return strings.Contains(out, "\nready") }, o.millrace, args...)
	if err != nil {
		return nil, "", "", err
	}
	address := func(what string) string {
		_, rest, _ := strings.Cut(s.out.String(), "\n"+what)
		_, rest, _ = strings.Cut(rest, "http://")
		return strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0])
	}
	return s, address("AWS endpoint"), address("ingest"), nil
}

// listening waits for a peer that does not say when it is ready.
func listening(addr string) func(string) bool {
	return func(string) bool {
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return false
		}
		_ = c.Close() // it was only a knock
		return true
	}
}
