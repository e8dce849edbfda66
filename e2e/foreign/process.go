package foreign

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// stopTime bounds the wait for a program that was asked to end: a consumer gives its leases back first.
const stopTime = 60 * time.Second

// Bounds of what is taken from a program.
const (
	lineBytes = 1 << 20 // of one line; a record is shorter
	queued    = 1 << 10 // lines that no one has taken yet; then the program waits
	logBytes  = 32 << 20
)

// Process is a program that runs, or did.
type Process struct {
	// Lines has what the program prints; it is closed when the program has ended. Somebody must take them.
	Lines <-chan string

	cmd    *exec.Cmd
	stdin  io.Closer
	log    log
	exited chan struct{} // closed when err is set
	err    error
}

// Start runs a command, which must end when its standard input does.
func Start(cmd *exec.Cmd) (*Process, error) {
	proc := &Process{cmd: cmd, exited: make(chan struct{})}
	cmd.Env = environment()
	cmd.Stderr = &proc.log
	var err error
	if proc.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := make(chan string, queued)
	proc.Lines = lines
	go proc.read(out, lines)
	return proc, nil
}

// environment is this process's, without what is said in it of AWS: nothing of the machine's own settings may decide a test.
func environment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "AWS_") && !strings.HasPrefix(e, "CBOR_") {
			env = append(env, e)
		}
	}
	return append(env, "AWS_ACCESS_KEY_ID=AKIATEST", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=us-east-1",
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_EC2_METADATA_DISABLED=true")
}

// read gives the lines on, and ends when the program does.
func (p *Process) read(out io.Reader, lines chan<- string) {
	s := bufio.NewScanner(out)
	s.Buffer(nil, lineBytes)
	for s.Scan() {
		lines <- s.Text()
	}
	err := s.Err()
	if err != nil {
		_ = p.cmd.Process.Kill() // it would wait for a reader that is gone
	}
	p.err = errors.Join(err, p.cmd.Wait())
	close(lines)
	close(p.exited)
}

// Finish takes the lines that are left until the program has ended by itself, and says whether it did well. One that does not
// end in time is killed.
func (p *Process) Finish(patience time.Duration, take func(line string)) error {
	late := time.After(patience)
	for {
		select {
		case line, open := <-p.Lines:
			if open {
				take(line)
				continue
			}
			<-p.exited
			if p.err != nil {
				return fmt.Errorf("the program ended with %w; it logged:\n%s", p.err, p.Tail())
			}
			return nil
		case <-late:
			_ = p.cmd.Process.Kill() // it may have ended just now
			for range p.Lines {
				continue
			}
			<-p.exited
			return fmt.Errorf("the program did not end within %v; it logged:\n%s", patience, p.Tail())
		}
	}
}

// Stop asks the program to end, and waits for it. The lines that no one has taken are lost.
func (p *Process) Stop() error {
	_ = p.stdin.Close() // it may have ended already
	return p.Finish(stopTime, func(string) {})
}

// Log gives the lines of the log so far that have one of the words: "ERROR".
func (p *Process) Log(words ...string) []string {
	var found []string
	for line := range strings.Lines(p.log.String()) {
		for _, w := range words {
			if strings.Contains(line, w) {
				found = append(found, strings.TrimSuffix(line, "\n"))
				break
			}
		}
	}
	return found
}

// tailBytes is as much of a log as a person reads.
const tailBytes = 8 << 10

// Tail is the last part of the log, for a diagnosis.
func (p *Process) Tail() string {
	text := p.log.String()
	return text[max(0, len(text)-tailBytes):]
}

// log keeps what is written to it, up to logBytes.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p[:min(len(p), logBytes-l.text.Len())])
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
