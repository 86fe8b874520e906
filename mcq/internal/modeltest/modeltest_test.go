package modeltest_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/internal/modeltest"
)

// careless is a Backend whose queues hand out three messages the wrong way round.
type careless struct{ mcq.Backend }

type carelessQueue struct {
	mcq.BackendQueue
	methods
}

// methods are those that queues have besides.
type methods interface {
	Put(ctx context.Context, msgs ...mcq.Message) error
	Take(ctx context.Context) (mcq.Message, error)
	Reject(ctx context.Context, reason string, ids ...uint64) error
	Purge(ctx context.Context) (int, error)
	Peek(ctx context.Context, limit int) ([]mcq.Message, error)
}

func (b careless) FindQueue(ctx context.Context, name string, create bool) (mcq.BackendQueue, error) {
	q, err := b.Backend.FindQueue(ctx, name, create)
	if q == nil || err != nil {
		return nil, err
	}
	return carelessQueue{q, q.(methods)}, nil
}

func (q carelessQueue) Lease(ctx context.Context, limit int, o mcq.LeaseOptions) ([]mcq.Message, error) {
	msgs, err := q.BackendQueue.Lease(ctx, limit, o)
	if len(msgs) == 3 {
		slices.Reverse(msgs)
	}
	return msgs, err
}

// A queue that does what it must not is found out, with a short account of it.
func TestFindsFaults(t *testing.T) {
	kind := modeltest.Kind{Names: []string{"a", "a+s"}, Soon: time.Millisecond}
	b, err := mcq.Open(t.TempDir(), &mcq.Options{Sync: mcq.Never, Queues: kind.Options()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	said, err := kind.Run(t, 1, 100, func(t *testing.T, use func(modeltest.Engine) error) error {
		if _, err := b.Drop("a"); err != nil {
			t.Fatal(err)
		}
		return use(modeltest.Engine{Backend: careless{b.Backend()}, Pause: func(string, bool) error { return nil }})
	})
	if err == nil {
		t.Fatal("nothing was wrong")
	}
	// To put some and to lease them is enough.
	if len(said) > 6 {
		t.Errorf("it takes %d operations to show that %v:\n%s", len(said), err, strings.Join(said, "\n"))
	}
}
