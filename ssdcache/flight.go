package ssdcache

import (
	"context"
	"sync"
)

// flights are the loads under way, at most one a key that can be joined.
type flights[V any] struct {
	begin func() error // asked before a flight is made
	end   func()       // told when it is over

	mu sync.Mutex
	m  map[string]*flight[V]
}

// flight is one load. value and err may be read once done is closed.
type flight[V any] struct {
	done  chan struct{}
	late  chan struct{} // closed when it should have come back
	value V
	err   error

	mu      sync.Mutex
	waiters int
	cancel  context.CancelFunc
	left    bool // all waiters have left
}

// join returns key's flight; the first one to join must run it and finish it.
func (fs *flights[V]) join(key string) (f *flight[V], first bool, err error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f = fs.m[key]; f != nil {
		f.mu.Lock()
		f.waiters++
		f.mu.Unlock()
		return f, false, nil
	}
	if err := fs.begin(); err != nil {
		return nil, false, err
	}
	if fs.m == nil {
		fs.m = map[string]*flight[V]{}
	}
	f = &flight[V]{done: make(chan struct{}), late: make(chan struct{}), waiters: 1}
	fs.m[key] = f
	return f, true, nil
}

// setCancel says how to cancel the flight when all waiters have left.
func (f *flight[V]) setCancel(cancel context.CancelFunc) {
	f.mu.Lock()
	f.cancel = cancel
	left := f.left
	f.mu.Unlock()
	if left {
		cancel()
	}
}

// forget lets the next one to join begin a flight of its own.
func (fs *flights[V]) forget(key string) {
	fs.mu.Lock()
	delete(fs.m, key)
	fs.mu.Unlock()
}

// leave takes one waiter off; without any the load is cancelled.
func (fs *flights[V]) leave(key string, f *flight[V]) {
	fs.mu.Lock()
	f.mu.Lock()
	f.waiters--
	f.left = f.waiters == 0
	cancel := f.cancel
	left := f.left
	f.mu.Unlock()
	if left && fs.m[key] == f {
		delete(fs.m, key)
	}
	fs.mu.Unlock()
	if left && cancel != nil {
		cancel()
	}
}

// overdue lets the waiters go without a result.
func (fs *flights[V]) overdue(key string, f *flight[V]) {
	fs.mu.Lock()
	if fs.m[key] == f {
		delete(fs.m, key)
	}
	fs.mu.Unlock()
	close(f.late)
}

// finish lets the waiters go with the result.
func (fs *flights[V]) finish(key string, f *flight[V]) {
	fs.mu.Lock()
	if fs.m[key] == f {
		delete(fs.m, key)
	}
	fs.mu.Unlock()
	close(f.done)
	fs.end()
}
