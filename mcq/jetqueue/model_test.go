package jetqueue_test

import (
	"testing"

	"github.com/heddle-go/heddle/mcq/internal/modeltest"
	"github.com/heddle-go/heddle/mcq/jetqueue"
)

// TestModel runs random operations on a Cluster and on the model side by side, the same
// ones that package mcq's test runs, where they mean the same. MCQ_TEST_SEED repeats a run.
func TestModel(t *testing.T) {
	t.Parallel()
	kind := modeltest.Kind{
		Names:    []string{"a", "a+s", "a+t", "b", "length", "tries", "dead", "everybody", "everybody+s"},
		OneByOne: true, Cluster: true,
	}
	kind.Test(t, 1, 400, func(t *testing.T, use func(modeltest.Engine) error) error {
		c := open(t, &jetqueue.Options{Queues: kind.Options(), Logger: silent})
		return use(modeltest.Engine{
			Backend: c,
			Pause: func(name string, on bool) error {
				q, err := c.Queue(t.Context(), name)
				switch {
				case err != nil:
					return err
				case on:
					return q.Pause(t.Context())
				}
				return q.Resume(t.Context())
			},
		})
	})
}
