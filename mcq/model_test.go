package mcq_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/internal/modeltest"
)

// pauses are how a Broker's queue is paused.
func pauses(b func() *mcq.Broker) func(string, bool) error {
	return func(name string, on bool) error {
		q, err := b().Queue(name)
		if err != nil {
			return err
		}
		if on {
			q.Pause()
		} else {
			q.Resume()
		}
		return nil
	}
}

// TestModel runs random operations on a Broker and on the model side by side, with a
// clock of its own and restarts. MCQ_TEST_SEED repeats a run.
func TestModel(t *testing.T) {
	for _, sync := range []mcq.Sync{mcq.Always, mcq.Interval, mcq.Never} {
		for _, memory := range []int{0, 1, 4 << 10} {
			t.Run(fmt.Sprintf("sync=%d,memory=%d", sync, memory), func(t *testing.T) {
				runModel(t, mcq.Options{Sync: sync, Memory: memory, Logger: silent})
			})
		}
	}
}

func runModel(t *testing.T, o mcq.Options) {
	kind := modeltest.Kind{Names: modeltest.Names(true), Virtual: true}
	o.Queues = kind.Options()
	kind.Test(t, 1, 2000, func(t *testing.T, use func(modeltest.Engine) error) (err error) {
		synctest.Test(t, func(t *testing.T) {
			opts := mcq.WithFS(&o, vfs.NewMem())
			b := openBroker(t, "store", opts)
			err = use(modeltest.Engine{
				Backend: b.Backend(),
				Pause:   pauses(func() *mcq.Broker { return b }),
				Reopen: func() (mcq.Backend, error) {
					if err := b.Close(); err != nil {
						return nil, err
					}
					b = openBroker(t, "store", opts)
					return b.Backend(), nil
				},
			})
		})
		return err
	})
}

// TestModelRemote does so with a server and its client, where time is the machine's.
func TestModelRemote(t *testing.T) {
	t.Parallel()
	kind := modeltest.Kind{Names: modeltest.Names(false), Soon: time.Second, OneByOne: true}
	kind.Test(t, 1, 400, func(t *testing.T, use func(modeltest.Engine) error) error {
		b := memBroker(t, &mcq.Options{Sync: mcq.Never, Queues: kind.Options(), Logger: silent})
		return use(modeltest.Engine{
			Backend: dial(t, serve(t, b)).Backend(),
			Pause:   pauses(func() *mcq.Broker { return b }),
		})
	})
}
