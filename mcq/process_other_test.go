//go:build !unix

package mcq_test

import (
	"testing"
	"time"
)

// pause does nothing where a process cannot be stopped.
func (p *process) pause(*testing.T, time.Duration) {}
