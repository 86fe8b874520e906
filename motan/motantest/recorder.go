package motantest

import (
	"runtime"
	"sync"
	"testing"
)

// recorder keeps what an update function is called with.
type recorder[T any] struct {
	t      *testing.T
	mu     sync.Mutex
	inside bool
	values []T
}

// record is to be called by the update function, once.
func (r *recorder[T]) record(v T) {
	r.enter()
	for range 10 { // to be met here by another
		runtime.Gosched()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inside = false
	r.values = append(r.values, v)
}

func (r *recorder[T]) enter() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inside {
		r.t.Error("update was called twice at once")
	}
	r.inside = true
}

// last returns the last value, the zero value if there is none.
func (r *recorder[T]) last() (v T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.values) > 0 {
		v = r.values[len(r.values)-1]
	}
	return v
}

func (r *recorder[T]) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.values)
}
