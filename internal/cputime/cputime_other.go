//go:build !unix && !windows

package cputime

import "time"

// Split is Process in its two parts.
func Split() (user, system time.Duration) { return 0, 0 }
