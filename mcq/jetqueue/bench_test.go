package jetqueue_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/heddle-go/heddle/mcq"
)

// BenchmarkQueue is 256-byte messages on three servers in this process, which
// do not fsync each one: put by 50 goroutines, and leased and acknowledged in
// batches of 256.
func BenchmarkQueue(b *testing.B) {
	body := make([]byte, 256)
	b.Run("op=put/goroutines=50", func(b *testing.B) {
		q := queue(b, open(b, nil), "q")
		b.ResetTimer()
		var left atomic.Int64
		left.Store(int64(b.N))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if err := q.Put(b.Context(), mcq.Message{Body: body}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
	b.Run("op=lease+ack/batch=256", func(b *testing.B) {
		q := queue(b, open(b, nil), "q")
		batch := make([]mcq.Message, 256)
		for i := range batch {
			batch[i].Body = body
		}
		for n := 0; n < b.N; n += len(batch) {
			if err := q.Put(b.Context(), batch...); err != nil {
				b.Fatal(err)
			}
		}
		b.ResetTimer()
		for n := 0; n < b.N; {
			msgs, err := q.Lease(b.Context(), 256, mcq.LeaseOptions{Wait: patience})
			if err == nil {
				err = q.Ack(b.Context(), ids(msgs)...)
			}
			if err != nil {
				b.Fatal(err)
			}
			n += len(msgs)
		}
	})
}
