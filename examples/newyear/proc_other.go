//go:build unix && !linux

package main

import "syscall"

// processAttr puts a child into a process group of its own, so that Ctrl-C is
// this program's to handle.
func processAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
