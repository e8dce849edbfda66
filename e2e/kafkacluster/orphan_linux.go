package kafkacluster

import "syscall"

// ownGroup keeps the terminal's Ctrl-C from the brokers, which their cluster ends, and lets the kernel kill them when
// the thread that started them, and with it this process, is gone.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
