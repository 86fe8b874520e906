package mcqtest_test

import (
	"testing"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/mcqtest"
)

func TestBroker(t *testing.T) {
	mcqtest.TestBackend(t, func(t *testing.T) mcqtest.Setup {
		b, err := mcq.Open(t.TempDir(), &mcq.Options{Queues: map[string]mcq.QueueOptions{"full": {MaxLength: 2}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		return mcqtest.Setup{Backend: b.Backend(), Full: "full"}
	})
}
