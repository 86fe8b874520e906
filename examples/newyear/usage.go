//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
)

// usage is what the job has cost so far.
type usage struct {
	cpu    map[string]time.Duration // by process; "client" is this one
	memory int64                    // resident bytes of all processes together, now
}

func (u usage) total() (d time.Duration) {
	for _, c := range u.cpu {
		d += c
	}
	return d
}

func (f *fleet) usage() usage {
	u := usage{
		cpu:    map[string]time.Duration{"client": cputime.Process()},
		memory: resident(os.Getpid()),
	}
	for _, p := range f.procs {
		p.mu.Lock()
		d := p.spent
		if p.cmd != nil {
			pid := p.cmd.Process.Pid
			d += processorTime(pid)
			u.memory += resident(pid)
		}
		p.mu.Unlock()
		u.cpu[p.name] = d
	}
	return u
}

// resident reads a process's resident memory in bytes from /proc, 0 where
// there is none.
func resident(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}

// processorTime reads the CPU time a process has used from /proc. The fields
// after the command's closing parenthesis are counted from state = 3.
func processorTime(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	const ticksPerSecond = 100 // USER_HZ on every Linux that Go runs on
	return time.Duration(user+system) * time.Second / ticksPerSecond
}
