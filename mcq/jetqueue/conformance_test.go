package jetqueue_test

import (
	"testing"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/jetqueue"
	"github.com/heddle-go/heddle/mcq/mcqtest"
)

// A Cluster keeps the contract of mcq.Backend.
func TestBackend(t *testing.T) {
	mcqtest.TestBackend(t, func(t *testing.T) mcqtest.Setup {
		c := open(t, &jetqueue.Options{Queues: map[string]mcq.QueueOptions{
			"full": {MaxLength: 2}, "bad": {MaxAttempts: 2, DeadLetters: "bad.dead"},
		}})
		return mcqtest.Setup{Backend: c, Full: "full", Dead: "bad"}
	})
}
