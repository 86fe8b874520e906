package mcq_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/mcq"
)

var syncNames = map[mcq.Sync]string{mcq.Always: "always", mcq.Interval: "interval", mcq.Never: "never"}

// crowd spreads b.N calls of f over n goroutines and reports CPU time an operation.
func crowd(b *testing.B, n int, f func() error) {
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cputime.Process()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cputime.Process()-cpu).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}

// BenchmarkPut is the embedded queue: 256-byte messages from 50 goroutines.
func BenchmarkPut(b *testing.B) {
	for _, sync := range []mcq.Sync{mcq.Always, mcq.Never} {
		b.Run("sync="+syncNames[sync], func(b *testing.B) {
			q := queue(b, openBroker(b, b.TempDir(), &mcq.Options{Sync: sync}), "q")
			body := make([]byte, 256)
			crowd(b, 50, func() error { return q.Put(b.Context(), mcq.Message{Body: body}) })
		})
	}
}

// settle waits until the store has written its tables, which is part of the cost
// of what was put.
func settle(broker *mcq.Broker) {
	for end := time.Now().Add(patience); !mcq.Settled(broker) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
}

// BenchmarkTake removes 256-byte messages one by one, from 50 goroutines.
func BenchmarkTake(b *testing.B) {
	for _, sync := range []mcq.Sync{mcq.Always, mcq.Never} {
		b.Run("sync="+syncNames[sync], func(b *testing.B) {
			broker := openBroker(b, b.TempDir(), &mcq.Options{Sync: sync})
			q := queue(b, broker, "q")
			batch := make([]mcq.Message, 1000)
			for i := range batch {
				batch[i].Body = make([]byte, 256)
			}
			for n := 0; n < b.N; n += len(batch) {
				if err := q.Put(b.Context(), batch...); err != nil {
					b.Fatal(err)
				}
			}
			settle(broker)
			crowd(b, 50, func() error {
				_, err := q.Take(b.Context())
				return err
			})
		})
	}
}

// BenchmarkLease hands out and acknowledges batches of messages that are there.
func BenchmarkLease(b *testing.B) {
	for _, backlog := range []int{1000, 200_000} {
		b.Run(fmt.Sprintf("backlog=%d", backlog), func(b *testing.B) {
			q := queue(b, openBroker(b, b.TempDir(), &mcq.Options{Sync: mcq.Never}), "q")
			batch := make([]mcq.Message, 256)
			for i := range batch {
				batch[i].Body = make([]byte, 256)
			}
			put := func(n int) {
				for ; n > 0; n -= len(batch) {
					if err := q.Put(b.Context(), batch...); err != nil {
						b.Fatal(err)
					}
				}
			}
			put(backlog)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				msgs, err := q.Lease(b.Context(), 256, mcq.LeaseOptions{})
				if err != nil {
					b.Fatal(err)
				}
				ids := make([]uint64, len(msgs))
				for i := range msgs {
					ids[i] = msgs[i].ID
				}
				if err := q.Ack(b.Context(), ids...); err != nil {
					b.Fatal(err)
				}
				n += len(msgs)
				put(len(msgs))
			}
		})
	}
}

// BenchmarkServer is put and batch lease over TCP at once, as in the New Year's
// minute: 256 producers on one client, one consumer; client and server share
// this process, so cpu-µs/op is both.
func BenchmarkServer(b *testing.B) {
	broker := openBroker(b, b.TempDir(), nil)
	c := dial(b, serve(b, broker))
	q := c.Queue("statuses")
	body := make([]byte, 300)
	ctx, stop := context.WithCancel(b.Context())
	var got atomic.Int64
	done := make(chan error, 1)
	go func() {
		done <- mcq.Consume(ctx, c.Queue("statuses"), func(_ context.Context, batch []mcq.Message) error {
			got.Add(int64(len(batch)))
			return nil
		}, &mcq.ConsumeOptions{Batch: 512, Concurrency: 2})
	}()
	crowd(b, 256, func() error { return q.Put(b.Context(), mcq.Message{Body: body}) })
	for end := time.Now().Add(10 * time.Second); got.Load() < int64(b.N) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	if got.Load() < int64(b.N) {
		b.Fatalf("consumed %d of %d", got.Load(), b.N)
	}
	b.ReportMetric(float64(b.N)/float64(broker.Stats().Groups), "msgs/group")
}

// BenchmarkBacklog is a put and a take, from 50 goroutines, in front of a
// backlog: the cost of both should not depend on it. 10,000,000 messages of 256
// bytes take 3 GB of disk, and are only tried with HEDDLE_TEST_LONG=1.
func BenchmarkBacklog(b *testing.B) {
	backlogs := []int{1000, 100_000, 1_000_000}
	if longRun {
		backlogs = append(backlogs, 10_000_000)
	}
	whole := b
	for _, backlog := range backlogs {
		var q *mcq.Queue
		batch := bulk(1000, 256) // that cannot be compressed
		b.Run(fmt.Sprintf("backlog=%d", backlog), func(b *testing.B) {
			if q == nil { // it is there for all runs
				broker := openBroker(whole, whole.TempDir(), &mcq.Options{Sync: mcq.Never})
				q = queue(b, broker, "q")
				for range backlog / len(batch) {
					if err := q.Put(b.Context(), batch...); err != nil {
						b.Fatal(err)
					}
				}
				settle(broker)
			}
			var n atomic.Uint32
			crowd(b, 50, func() error {
				if err := q.Put(b.Context(), batch[int(n.Add(1))%len(batch)]); err != nil {
					return err
				}
				_, err := q.Take(b.Context())
				return err
			})
		})
	}
}

// BenchmarkDisk is the least that a durable group costs: 6 KiB, what 25 messages
// of 256 bytes take, written and synced at the end of a file that grows, or over
// blocks that are there, as in a log that is written again.
func BenchmarkDisk(b *testing.B) {
	const group, size = 6 << 10, 16 << 20
	for _, overwrite := range []bool{false, true} {
		b.Run(fmt.Sprintf("overwrite=%t", overwrite), func(b *testing.B) {
			f, err := vfs.Default.Create(filepath.Join(b.TempDir(), "log"), vfs.WriteCategoryUnspecified)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			data := make([]byte, group)
			if overwrite {
				for n := 0; n < size; n += group {
					if _, err := f.Write(data); err != nil {
						b.Fatal(err)
					}
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
			}
			at := int64(0)
			crowd(b, 1, func() error {
				_, err := f.WriteAt(data, at)
				if at += group; overwrite && at >= size {
					at = 0
				}
				if err != nil {
					return err
				}
				return f.SyncData()
			})
		})
	}
}
