//go:build failpoints

package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// arrival is a time in which a signal to stop has reached all threads; it is over when the process goes on.
const arrival = 100 * time.Millisecond

// failpoint kills this process, as kill -9 does, when the step that MILLRACE_FAILPOINT names ("put-after", or
// "put-after:3" for the third time) is reached. With "put-after:3:freeze" it stops there until another process lets it
// go on: a node that hangs, and comes back with an old view of the world.
func failpoint() func(string) {
	// A write beyond the bound of files' sizes (ulimit -f) is an error, as one on a full disk is, so that tests can make one
	// without a disk of their own. Otherwise Go ends the process.
	signal.Ignore(syscall.SIGXFSZ)
	name, rest, _ := strings.Cut(os.Getenv("MILLRACE_FAILPOINT"), ":")
	if name == "" {
		return nil
	}
	times, act, _ := strings.Cut(rest, ":")
	signal := syscall.SIGKILL
	switch act {
	case "":
	case "freeze":
		signal = syscall.SIGSTOP
	default:
		panic("MILLRACE_FAILPOINT: " + act + " is not freeze")
	}
	left := atomic.Int64{}
	left.Store(1)
	if times != "" {
		n, err := strconv.ParseInt(times, 10, 64)
		if err != nil {
			panic("MILLRACE_FAILPOINT: " + err.Error())
		}
		left.Store(n)
	}
	return func(step string) {
		if step == name && left.Add(-1) == 0 {
			fmt.Fprintln(os.Stderr, "failpoint "+name)
			_ = syscall.Kill(os.Getpid(), signal)
			if signal == syscall.SIGKILL {
				select {} // until it has arrived
			}
			time.Sleep(arrival)
		}
	}
}
