package queue_test

import (
	"sync"
	"testing"
)

// Each peer gives every message to one client exactly once, or its figures
// would mean nothing.
func TestPeersQueue(t *testing.T) {
	const clients, batches, pipeline = 8, 6, 4
	for _, p := range peers {
		for _, op := range []string{"take", "dequeue"} {
			if op == "take" && !p.take {
				continue
			}
			t.Run(p.name+"/"+p.sync+"/"+op, func(t *testing.T) {
				s := p.start(t)
				var mu sync.Mutex
				seen := make(map[string]int)
				var wg sync.WaitGroup
				for i := range clients {
					c, err := s.dial(i, 64)
					if err != nil {
						t.Fatal(err)
					}
					defer c.close()
					wg.Go(func() {
						got := func(body []byte) {
							mu.Lock()
							defer mu.Unlock()
							seen[string(body)]++
						}
						get := c.dequeue
						if op == "take" {
							get = c.take
						}
						for b := range batches {
							n := pipeline - b%2*(pipeline-1)
							if err := c.enqueue(n); err != nil {
								t.Error(err)
								return
							}
							if err := get(n, got); err != nil {
								t.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				if want := clients * batches / 2 * (pipeline + 1); len(seen) != want {
					t.Errorf("got %d messages, want %d", len(seen), want)
				}
				for body, n := range seen {
					if n != 1 {
						t.Errorf("%q came %d times", body, n)
					}
				}
			})
		}
	}
}
