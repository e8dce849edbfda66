package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options of a node. Binary and Data are required.
type Options struct {
	Binary string
	Data   string
	File   string    // empty: the built-in example
	Args   []string  // further options of "millrace up"
	Env    []string  // "MILLRACE_FAILPOINT=put-after:3"
	Dir    string    // the process's own folder; default: the test's
	Log    io.Writer // what the process logs goes there, too; nil: it is kept for Output alone
}

// Bounds of what a test waits for, so that it ends on the slowest machine and a node that hangs is seen.
const (
	startTime = 60 * time.Second
	stopTime  = 60 * time.Second
)

// outputKept bounds the output that is kept of a node: its last part, for a diagnosis.
const outputKept = 64 << 10

// Node is a process that serves, or did.
type Node struct {
	AWS    string // "http://127.0.0.1:40711"
	Ingest string
	Data   string

	cmd    *exec.Cmd
	ready  chan struct{} // closed when the addresses are set
	exited chan struct{} // closed when err is set
	err    error         // of Wait
	stdout tail
	stderr tail
}

// ErrDied says that a node ended before it was ready.
var ErrDied = errors.New("the node ended before it was ready")

// Start runs "millrace up" and returns when it is ready. When it ends before that, the error is ErrDied with what it
// wrote, and the node is given all the same: it has ended.
func Start(ctx context.Context, opts Options) (*Node, error) {
	n, err := Launch(opts)
	if err != nil {
		return nil, err
	}
	return n, n.Ready(ctx)
}

// Launch runs "millrace up". Its addresses are not known before Ready.
func Launch(opts Options) (*Node, error) {
	args := []string{"up"}
	if opts.File != "" {
		args = append(args, opts.File)
	}
	args = append(args, "--data", opts.Data, "--listen", "127.0.0.1:0", "--ingest", "127.0.0.1:0")
	n := &Node{Data: opts.Data, ready: make(chan struct{}), exited: make(chan struct{}),
		cmd: exec.Command(opts.Binary, append(args, opts.Args...)...)}
	n.cmd.Env = append(os.Environ(), opts.Env...)
	n.cmd.Dir = opts.Dir
	n.cmd.Stderr = &n.stderr
	if opts.Log != nil {
		n.cmd.Stderr = io.MultiWriter(&n.stderr, opts.Log)
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	go n.read(out)
	return n, nil
}

// Ready waits until the node serves. A node that does not within startTime is killed.
func (n *Node) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	select {
	case <-n.ready:
		return nil
	case <-n.exited:
		return fmt.Errorf("%w: %w\n%s", ErrDied, n.err, n.Output())
	case <-ctx.Done():
		n.Kill()
		return fmt.Errorf("the node was not ready in time: %w\n%s", ctx.Err(), n.Output())
	}
}

// Serves tells whether Ready would return without an error at once.
func (n *Node) Serves() bool {
	select {
	case <-n.ready:
		return true
	default:
		return false
	}
}

// read takes the addresses from the output, and ends when the process does.
func (n *Node) read(out io.Reader) {
	lines := bufio.NewReader(out)
	serving := false
	for {
		line, err := lines.ReadString('\n')
		_, _ = n.stdout.Write([]byte(line)) // never fails
		fields := strings.Fields(line)
		switch {
		case serving:
		case strings.HasPrefix(line, "AWS endpoint"):
			n.AWS = fields[len(fields)-1]
		case strings.HasPrefix(line, "ingest"):
			n.Ingest = fields[len(fields)-1]
		case strings.HasPrefix(line, "ready"):
			serving = true
			close(n.ready)
		}
		if err != nil {
			break
		}
	}
	n.err = n.cmd.Wait()
	close(n.exited)
}

// Exited is closed when the process has ended.
func (n *Node) Exited() <-chan struct{} { return n.exited }

// Kill ends the process as kill -9 does, and waits until it is gone.
func (n *Node) Kill() {
	_ = n.cmd.Process.Kill() // it may have ended already
	<-n.exited
}

// Freeze stops the process where it is, with its connections and listeners open, as a machine that hangs.
func (n *Node) Freeze() error { return n.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on. It does not know that time has passed.
func (n *Node) Thaw() error { return n.cmd.Process.Signal(syscall.SIGCONT) }

// Killed tells whether the process, which has ended, was ended by kill -9.
func (n *Node) Killed() bool {
	status, ok := n.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Stop asks the process to drain and end, and waits for it. Anything but exit code 0 is an error.
func (n *Node) Stop() error { return n.StopBy(syscall.SIGTERM) }

// StopBy is Stop by a signal of choice: os.Interrupt is Ctrl-C.
func (n *Node) StopBy(signal os.Signal) error {
	select {
	case <-n.exited:
		return fmt.Errorf("the node had ended before it was stopped: %w\n%s", n.err, n.Output())
	default:
	}
	if err := n.cmd.Process.Signal(signal); err != nil {
		return fmt.Errorf("stop the node: %w", err)
	}
	select {
	case <-n.exited:
	case <-time.After(stopTime):
		n.Kill()
		return fmt.Errorf("the node did not end within %v of %v\n%s", stopTime, signal, n.Output())
	}
	if n.err != nil {
		return fmt.Errorf("the node ended with %w\n%s", n.err, n.Output())
	}
	return nil
}

// Stdout is what the process has printed: the plan, the addresses, the endpoints.
func (n *Node) Stdout() string { return n.stdout.String() }

// Output is the last part of all that the process wrote, for a diagnosis.
func (n *Node) Output() string {
	return "--- stdout\n" + n.stdout.String() + "--- stderr\n" + n.stderr.String()
}

// tail keeps the last part of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
	cut  bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - outputKept; extra > outputKept { // seldom, so that the copy costs little
		t.text = append(t.text[:0], t.text[extra:]...)
		t.cut = true
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut {
		return "[…]" + string(t.text)
	}
	return string(t.text)
}
