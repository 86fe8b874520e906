// Package cputime tells how much CPU time this process has used. Benchmarks
// judge by it, because other work on the machine disturbs it less than wall time.
package cputime

import "time"

// Process is the user and system time of all threads of this process so far, 0
// on systems that do not tell. A reading is a system call.
func Process() time.Duration {
	user, system := Split()
	return user + system
}
