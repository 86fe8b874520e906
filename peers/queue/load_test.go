package queue_test

import (
	"testing"
	"time"
)

// A load is clients, each with a connection of its own, that all do the same.
type load interface {
	// run has the clients do total operations together, in batches of pipeline
	// on each, and returns how long each batch took from its first request to
	// its last reply.
	run(op operation, total, pipeline int) ([]time.Duration, error)
	close()
}

// opener connects so many clients to a server. Their messages have size bytes,
// and got, which may be nil, is told each one that comes; it must not keep it.
// The clients may call it at the same time.
type opener func(t testing.TB, clients, size int, got func(body []byte)) load

// An operation is what is measured.
type operation struct {
	name    string
	prefill bool // there has to be something in the queue
	counts  int  // operations in one round of it
}

var (
	enqueue = operation{"enqueue", false, 1}
	take    = operation{"take", true, 1}
	dequeue = operation{"dequeue", true, 1}
	mixed   = operation{"mixed", false, 2}
)

// share is what client i of n does of total.
func share(total, i, n int) int {
	mine := total / n
	if i < total%n {
		mine++
	}
	return mine
}
