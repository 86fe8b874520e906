package mcqtest_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/mcqtest"
)

func open(t *testing.T) mcq.Backend {
	b, err := mcq.Open(t.TempDir(), &mcq.Options{Queues: map[string]mcq.QueueOptions{
		"full": {MaxLength: 2}, "bad": {MaxAttempts: 2, DeadLetters: "bad.dead"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b.Backend()
}

func TestBroker(t *testing.T) {
	mcqtest.TestBackend(t, func(t *testing.T) mcqtest.Setup { return mcqtest.Setup{Backend: open(t), Full: "full", Dead: "bad"} })
}

// A Client keeps the contract, and so does one of a server in front of it.
func TestClient(t *testing.T) {
	for name, servers := range map[string]int{"server": 1, "server in front of a server": 2} {
		t.Run(name, func(t *testing.T) {
			mcqtest.TestBackend(t, func(t *testing.T) mcqtest.Setup {
				b := open(t)
				for range servers {
					b = remote(t, b)
				}
				return mcqtest.Setup{Backend: b, Full: "full", Dead: "bad", ByName: true}
			})
		})
	}
}

// remote serves b and returns a client's view of it.
func remote(t *testing.T, b mcq.Backend) mcq.Backend {
	s, err := mcq.NewBackendServer(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	c, err := mcq.Dial(ln.Addr().String(), &mcq.ClientOptions{Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		s.Close()
		if err := <-done; !errors.Is(err, mcq.ErrClosed) {
			t.Error(err)
		}
	})
	return c.Backend()
}
