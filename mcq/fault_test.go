package mcq_test

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/heddle-go/heddle/mcq"
)

// faults are what can go wrong with a file, the list of tables left out, which ends the
// process.
var faults = map[string]func(op errorfs.Op) bool{
	"write": func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileWriteAt
	},
	"sync": func(op errorfs.Op) bool {
		return op.Path != "store" && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo)
	},
	"sync of the directory": func(op errorfs.Op) bool { return op.Path == "store" && op.Kind == errorfs.OpFileSync },
	"create":                func(op errorfs.Op) bool { return op.Kind == errorfs.OpCreate },
	"other": func(op errorfs.Op) bool {
		switch op.Kind {
		case errorfs.OpRemove, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpOpen, errorfs.OpOpenDir, errorfs.OpFilePreallocate:
			return true
		}
		return false
	},
}

// Whichever operation on a file fails while a store is used and closed: it is done
// again, or everything fails loudly from then on; nothing hangs, and what had been
// acknowledged stays, whatever of the rest reached the disk.
func TestEveryFault(t *testing.T) {
	for kind, hits := range faults {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			failed, survived := 0, 0
			for n := int32(0); ; n++ {
				var left atomic.Int32
				left.Store(1 << 30)
				mem := vfs.NewCrashableMem()
				fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
					list := strings.HasPrefix(path.Base(op.Path), "MANIFEST-")
					if !list && hits(op) && left.Add(-1) == -1 {
						return errorfs.ErrInjected
					}
					return nil
				}))
				h := newHistory()
				ended := make(chan bool, 1)
				go func() { ended <- h.suffer(t, fs, func() { left.Store(n) }) }()
				select {
				case well := <-ended:
					if hit := left.Load() < 0; !hit {
						t.Logf("%d made the store fail, %d did not", failed, survived)
						if n == 0 {
							t.Error("there was nothing to fail")
						}
						return
					}
					if well {
						survived++
					} else {
						failed++
					}
				case <-time.After(patience):
					t.Fatalf("fault %d: it hangs", n)
				}
				stored, acked := h.snapshot()
				h.check(t, mem.CrashClone(vfs.CrashCloneCfg{}), stored, acked, true)
				if t.Failed() {
					t.Fatalf("this was fault %d", n)
				}
			}
		})
	}
}

// suffer uses a store of whose files something fails once arm was called, until it
// fails, and reports whether it did not.
func (h *history) suffer(t *testing.T, fs vfs.FS, arm func()) bool {
	var log safeBuffer
	b, err := mcq.Open("store", mcq.WithJournal(mcq.WithFS(&mcq.Options{Logger: log.logger()}, fs), 2<<10))
	if err != nil {
		t.Error(err)
		return false
	}
	q, err := b.Queue("q")
	if err != nil {
		t.Error(err)
		return false
	}
	arm()
	for n := 0; n < 80 && err == nil; n++ {
		err = h.step(t, q, n)
	}
	if closeErr := b.Close(); err == nil && closeErr != nil && !errors.Is(closeErr, errorfs.ErrInjected) && !errors.Is(closeErr, mcq.ErrFailed) {
		t.Errorf("close: %v", closeErr)
	} else if err != nil && !errors.Is(closeErr, mcq.ErrFailed) {
		t.Errorf("close after %v: %v", err, closeErr)
	}
	if err != nil && (!errors.Is(err, mcq.ErrFailed) || !strings.Contains(log.String(), "store failed")) {
		t.Errorf("it failed with %v, and the log says %q", err, log.String())
	}
	return err == nil
}

// step puts message n, and sometimes acknowledges some.
func (h *history) step(t *testing.T, q *mcq.Queue, n int) error {
	body := fmt.Sprintf("0/%d/0 %0200d", n, 0)
	h.mark(h.sent, body)
	if err := q.Put(t.Context(), mcq.Message{Body: []byte(body)}); err != nil {
		return err
	}
	h.mark(h.stored, body)
	if n%5 != 0 {
		return nil
	}
	msgs, err := q.Lease(t.Context(), 3, mcq.LeaseOptions{Duration: time.Hour})
	if err != nil {
		return err
	}
	h.mark(h.maybe, bodies(msgs)...)
	if err := q.Ack(t.Context(), ids(msgs)...); err != nil {
		return err
	}
	h.mark(h.acked, bodies(msgs)...)
	return nil
}
