package kafkacluster

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options of a cluster. The zero value is a good one.
type Options struct {
	Brokers  int               // default: 3
	Security bool              // also listeners with SASL, with TLS, and with both
	Settings map[string]string // of every broker's server.properties, above the ones of this package
	Heap     string            // of each broker; default: "256m"
	Optimize bool              // the brokers' code, at run time: for measurements; work and memory that a short test has no use for
	Port     int               // of the first broker; default: a free one
}

// StartTime bounds a start. It takes a few seconds on a machine that has nothing else to do.
const StartTime = 120 * time.Second

// Cluster is a set of brokers. Its methods may be called concurrently. Brokers are counted from 0; Kafka's own number
// of broker i is i+1.
type Cluster struct {
	layout
	id        string // of the cluster: 16 random bytes, as Kafka writes them
	kafka     installed
	archive   string // of classes, to be written when a broker ends in the orderly way
	heap      string
	optimize  bool
	authority []byte
	guard     net.Listener

	starter     chan func()
	starterDone chan struct{}

	mu      sync.Mutex
	running []*process // nil: not started yet
	closed  bool
}

// Start gives a cluster that serves, and ends it with the test, whatever way the test ends. When the test has failed,
// the brokers' logs are kept, and the test's log tells where.
func Start(t testing.TB, opts Options) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), StartTime)
	defer cancel()
	c, err := New(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the brokers' logs are kept in %s\n%s", c.folder, c.logTails())
			err = c.CloseKeepingLogs()
		} else {
			err = c.Close()
		}
		if err != nil {
			t.Error(err)
		}
	})
	return c
}

// New gives a cluster that serves. Its caller must Close it. When it can't be started, the error tells what the
// brokers said.
func New(ctx context.Context, opts Options) (*Cluster, error) { return start(ctx, opts, "") }

func start(ctx context.Context, opts Options, archive string) (_ *Cluster, err error) {
	if opts.Brokers == 0 {
		opts.Brokers = 3
	}
	if opts.Brokers < 1 || opts.Brokers > stride {
		return nil, fmt.Errorf("%d brokers: a cluster has 1 to %d", opts.Brokers, stride)
	}
	if opts.Heap == "" {
		opts.Heap = "256m"
	}
	kafka, err := findInstalled()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "millrace-kafka-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		layout: layout{brokers: opts.Brokers, port: opts.Port, security: opts.Security, folder: folder, settings: opts.Settings},
		id:     newID(), kafka: kafka, archive: archive, heap: opts.Heap, optimize: opts.Optimize,
		starter: make(chan func()), starterDone: make(chan struct{}),
		running: make([]*process, opts.Brokers),
	}
	go c.runStarter()
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if opts.Port == 0 {
		err = c.takeBlock()
	} else {
		err = c.holdBlock()
	}
	if err != nil {
		return nil, err
	}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	for i := range c.brokers {
		if err := c.Restart(i); err != nil {
			return nil, err
		}
	}
	if err := c.WaitReady(ctx); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, c.logTails())
	}
	return c, nil
}

// newID gives an id as Kafka's Uuid writes one. The first bit is 0, so that it never looks like an option.
func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// prepare writes the brokers' files and formats their folders.
func (c *Cluster) prepare(ctx context.Context) error {
	if c.security {
		authority, keystore, err := certificates()
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.keystore(), keystore, 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(c.AuthorityFile(), authority, 0o600); err != nil {
			return err
		}
		c.authority = authority
	}
	for i := range c.brokers {
		if err := os.WriteFile(c.propertiesFile(i), c.properties(i), 0o600); err != nil {
			return err
		}
	}
	return c.formatAll(ctx)
}

// runStarter starts processes from one thread that lives as long as the cluster: the kernel takes the end of the
// thread that has started a process as the end of its parent (see ownGroup).
func (c *Cluster) runStarter() {
	defer close(c.starterDone)
	runtime.LockOSThread() // for good: the thread ends with this goroutine, after the last process
	for start := range c.starter {
		start()
	}
}

func (c *Cluster) onStarter(start func()) {
	done := make(chan struct{})
	c.starter <- func() { defer close(done); start() }
	<-done
}

// Close kills the brokers that still run and removes all that they have written.
func (c *Cluster) Close() error {
	if !c.end() {
		return nil
	}
	return os.RemoveAll(c.folder)
}

// CloseKeepingLogs is Close, and leaves the brokers' logs and settings in Folder.
func (c *Cluster) CloseKeepingLogs() error {
	if !c.end() {
		return nil
	}
	return os.RemoveAll(filepath.Join(c.folder, "data"))
}

// end kills what runs. It gives false when that was done before.
func (c *Cluster) end() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.closed = true
	for _, p := range c.running {
		if p != nil {
			p.kill()
		}
	}
	close(c.starter)
	<-c.starterDone
	if c.guard != nil {
		_ = c.guard.Close() // nobody has connected to it
	}
	return true
}

// Bootstrap is where clients connect without any security: "127.0.0.1:21312,127.0.0.1:21313,127.0.0.1:21314".
func (c *Cluster) Bootstrap() string { return strings.Join(c.Brokers(), ",") }

// Brokers is Bootstrap as a list.
func (c *Cluster) Brokers() []string { return c.addresses(plain) }

// SASL is where clients connect as User. Only with Options.Security.
func (c *Cluster) SASL() []string { return c.addresses(saslPlain) }

// TLS is where clients connect that trust Authority. Only with Options.Security.
func (c *Cluster) TLS() []string { return c.addresses(tlsOnly) }

// SASLTLS is where clients connect that trust Authority, as User. Only with Options.Security.
func (c *Cluster) SASLTLS() []string { return c.addresses(saslTLS) }

// Authority is the certificate, as PEM, that the brokers' certificates are signed by. Only with Options.Security.
func (c *Cluster) Authority() []byte { return c.authority }

// AuthorityFile is where Authority lies until the cluster is closed.
func (c *Cluster) AuthorityFile() string { return filepath.Join(c.folder, "authority.pem") }

// Folder holds the brokers' settings, logs and data until the cluster is closed.
func (c *Cluster) Folder() string { return c.folder }

var (
	errClosed     = errors.New("the cluster is closed")
	errNotRunning = errors.New("it does not run")
)

// process gives the process of a broker that runs.
func (c *Cluster) process(broker int) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.running[broker]
	switch {
	case c.closed:
		return nil, errClosed
	case p == nil || p.ended():
		return nil, errNotRunning
	}
	return p, nil
}

// on runs do with the process of a broker that runs.
func (c *Cluster) on(broker int, op string, do func(p *process) error) error {
	p, err := c.process(broker)
	if err == nil {
		err = do(p)
	}
	if err != nil {
		return fmt.Errorf("%s broker %d: %w", op, broker, err)
	}
	return nil
}

// Kill ends a broker as kill -9 does, frozen or not, and waits until the process is gone. The others notice within
// sessionTime.
func (c *Cluster) Kill(broker int) error {
	return c.on(broker, "kill", func(p *process) error { p.kill(); return nil })
}

// Stop ends a broker in the orderly way: it hands its partitions over before.
func (c *Cluster) Stop(broker int) error { return c.on(broker, "stop", (*process).stop) }

// Freeze stops a broker where it is, with all its connections open, as a machine that hangs.
func (c *Cluster) Freeze(broker int) error { return c.on(broker, "freeze", (*process).freeze) }

// Thaw lets a frozen broker go on. It does not know that time has passed.
func (c *Cluster) Thaw(broker int) error { return c.on(broker, "thaw", (*process).thaw) }

// Restart starts a broker that has ended, on the data that it had. WaitReady tells when it serves.
func (c *Cluster) Restart(broker int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("start broker %d: %w", broker, errClosed)
	}
	if p := c.running[broker]; p != nil && !p.ended() {
		return fmt.Errorf("start broker %d: it runs", broker)
	}
	p, err := c.launch(broker)
	if err != nil {
		return err
	}
	c.running[broker] = p
	return nil
}

// serving is the brokers that should answer: those that neither were ended nor are frozen.
func (c *Cluster) serving() (brokers []int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	for i, p := range c.running {
		switch {
		case p == nil || p.frozen.Load() || p.ended() && p.meant.Load():
		case p.ended():
			return nil, fmt.Errorf("broker %d has ended by itself: %w\n%s", i, p.err, c.logTail(i))
		default:
			brokers = append(brokers, i)
		}
	}
	return brokers, nil
}
