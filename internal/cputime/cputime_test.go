package cputime_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
)

func TestProcess(t *testing.T) {
	began := cputime.Process()
	if began == 0 && runtime.GOOS != "linux" && runtime.GOOS != "darwin" && runtime.GOOS != "windows" {
		return // such a system need not tell
	}
	// Work until it shows; without a clock that moves the test ends by its deadline.
	for n := 0; cputime.Process()-began < 5*time.Millisecond; n++ {
		runtime.KeepAlive(n)
	}
	user, system := cputime.Split()
	if total := cputime.Process(); user+system > total || total < 5*time.Millisecond {
		t.Errorf("user %v and system %v, then %v together", user, system, total)
	}
}
