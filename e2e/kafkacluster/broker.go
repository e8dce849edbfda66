package kafkacluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
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
func java(ctx context.Context, lib, heap, class string, args ...string) *exec.Cmd {
	all := append([]string{"-Xmx" + heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-cp", filepath.Join(lib, "*"), class}, args...)
	cmd := exec.CommandContext(ctx, "java", all...)
	cmd.SysProcAttr = ownGroup()
	return cmd
}

// format prepares a broker's data folder.
func (c *Cluster) format(ctx context.Context, broker int) error {
	args := append([]string{"format", "--cluster-id", c.id, "--config", c.propertiesFile(broker)}, c.scram()...)
	cmd := java(ctx, c.lib, c.heap, "kafka.tools.StorageTool", args...)
	var out []byte
	var err error
	c.onStarter(func() { out, err = cmd.CombinedOutput() })
	if err != nil {
		return fmt.Errorf("format the storage of broker %d: %w\n%s", broker, err, out)
	}
	return nil
}

// launch starts a broker's process, and does not wait until it serves.
func (c *Cluster) launch(broker int) (*process, error) {
	log, err := os.OpenFile(c.logFile(broker), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	cmd := java(context.Background(), c.lib, c.heap, "kafka.Kafka", c.propertiesFile(broker))
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
