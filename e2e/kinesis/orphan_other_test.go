//go:build !linux

package kinesis

import "syscall"

// ownGroup keeps the terminal's Ctrl-C from the servers, which the tests end.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
