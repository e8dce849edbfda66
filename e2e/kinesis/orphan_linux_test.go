package kinesis

import "syscall"

// ownGroup keeps the terminal's Ctrl-C from the servers, which the tests end, and lets the kernel kill them when
// the thread that started them, and with it this process, is gone.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
