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
		for _, get := range []operation{take, dequeue} {
			if !p.has(get) {
				continue
			}
			t.Run(p.name+"/"+p.sync+"/"+get.name, func(t *testing.T) {
				var mu sync.Mutex
				seen := make(map[string]int)
				l := p.start(t).open(t, clients, 64, func(body []byte) {
					mu.Lock()
					defer mu.Unlock()
					seen[string(body)]++
				})
				defer l.close()
				want := 0
				for b := range batches {
					n := clients * (pipeline - b%2*(pipeline-1))
					want += n
					for _, op := range []operation{enqueue, get} {
						took, err := l.run(op, n, pipeline)
						if err != nil {
							t.Fatal(err)
						}
						if len(took) != clients {
							t.Errorf("%s: %d batches of %d clients", op.name, len(took), clients)
						}
					}
				}
				if p.has(mixed) {
					if _, err := l.run(mixed, 2*clients, 1); err != nil {
						t.Fatal(err)
					}
					want += clients
				}
				if len(seen) != want {
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
