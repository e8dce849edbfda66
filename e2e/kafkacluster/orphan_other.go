//go:build !linux

package kafkacluster

import "syscall"

// ownGroup keeps the terminal's Ctrl-C from the brokers, which their cluster ends.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
