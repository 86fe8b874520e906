//go:build !unix

package mcq

import "time"

func processorTime() (user, system time.Duration) { return 0, 0 }
