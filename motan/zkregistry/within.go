package zkregistry

import (
	"context"

	"github.com/go-zookeeper/zk"
)

// within makes a request to ZooKeeper, whose client knows no context and waits for
// as long as the session may, and returns when ctx ends. The request goes on then;
// what it returns is lost. Close waits for it, which ends it.
func within[T any](ctx context.Context, r *Registry, request func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	var none T
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return none, ErrClosed
	}
	r.wg.Go(func() {
		value, err := request()
		done <- result{value, err}
	})
	r.mu.Unlock()
	select {
	case got := <-done:
		return got.value, got.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// watched is something of which changed tells when it is another.
type watched[T any] struct {
	what    T
	changed <-chan zk.Event
}

func watch[T any](what T, changed <-chan zk.Event, err error) (watched[T], error) {
	return watched[T]{what, changed}, err
}
