package main

import "syscall"

// processAttr puts a child into a process group of its own, so that Ctrl-C is
// this program's to handle, and ends the child should this program be killed.
func processAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
