package kafkacluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The classes of Kafka that are run.
const (
	brokerClass = "kafka.Kafka"
	formatClass = "kafka.tools.StorageTool"
)

// stopTime bounds how long a broker may take to end in the orderly way.
const stopTime = 60 * time.Second

// process is a broker that runs, or did.
type process struct {
	cmd    *exec.Cmd
	log    *os.File
	exited chan struct{} // closed when err is set
	err    error         // of Wait
	frozen atomic.Bool
	meant  atomic.Bool // to end
}

// java gives a command that runs a class of Kafka with a small heap and for a short start.
func (c *Cluster) java(ctx context.Context, class string, args ...string) *exec.Cmd {
	all := []string{"-Xmx" + c.heap, "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		// These warn again and again of a broker that is away, which the tests know.
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.NetworkClient=error",
		"-Dorg.slf4j.simpleLogger.log.kafka.server.ReplicaFetcherThread=error",
		// This calls it an error that a partition is new.
		"-Dorg.slf4j.simpleLogger.log.state.change.logger=off"}
	if !c.optimize {
		all = append(all, "-XX:TieredStopAtLevel=1")
	}
	all = append(all, c.kafka.archived()...)
	if c.archive != "" && class == brokerClass {
		all = append(all, "-XX:ArchiveClassesAtExit="+c.archive)
	}
	all = append(all, "-cp", filepath.Join(c.kafka.lib, "*"), class)
	cmd := exec.CommandContext(ctx, "java", append(all, args...)...)
	cmd.SysProcAttr = ownGroup()
	return cmd
}

// formatAll prepares the brokers' data folders.
func (c *Cluster) formatAll(ctx context.Context) error {
	errs := make([]error, c.brokers)
	var all sync.WaitGroup
	for i := range c.brokers {
		all.Go(func() { errs[i] = c.format(ctx, i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (c *Cluster) format(ctx context.Context, broker int) error {
	args := append([]string{"format", "--cluster-id", c.id, "--config", c.propertiesFile(broker)}, c.scram()...)
	cmd := c.java(ctx, formatClass, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var err error
	c.onStarter(func() { err = cmd.Start() })
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("format the storage of broker %d: %w\n%s", broker, err, out.Bytes())
	}
	return nil
}

// launch starts a broker's process, and does not wait until it serves.
func (c *Cluster) launch(broker int) (*process, error) {
	log, err := os.OpenFile(c.logFile(broker), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	cmd := c.java(context.Background(), brokerClass, c.propertiesFile(broker))
	cmd.Stdout, cmd.Stderr = log, log
	c.onStarter(func() { err = cmd.Start() })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start broker %d: %w", broker, err), log.Close())
	}
	p := &process{cmd: cmd, log: log, exited: make(chan struct{})}
	go func() {
		p.err = errors.Join(cmd.Wait(), log.Close())
		close(p.exited)
	}()
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// kill ends the process, frozen or not, and waits until it is gone.
func (p *process) kill() {
	p.meant.Store(true)
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.exited
}

// stop lets the process end in the orderly way.
func (p *process) stop() error {
	p.meant.Store(true)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil // with 143, as Java does after SIGTERM
	case <-time.After(stopTime):
		p.kill()
		return fmt.Errorf("it did not end within %v of SIGTERM", stopTime)
	}
}

func (p *process) freeze() error {
	p.frozen.Store(true)
	return p.cmd.Process.Signal(syscall.SIGSTOP)
}

func (p *process) thaw() error {
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	p.frozen.Store(false)
	return nil
}
