package mcq_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

// longRun says to test with as much as is promised, which takes minutes.
var longRun = os.Getenv("HEDDLE_TEST_LONG") == "1"

// bulk has messages that cannot be compressed.
func bulk(n, size int) []mcq.Message {
	rnd := rand.New(rand.NewPCG(7, uint64(n)))
	batch := make([]mcq.Message, n)
	for i := range batch {
		batch[i].Body = make([]byte, size)
		for j := range batch[i].Body {
			batch[i].Body[j] = byte(rnd.Uint32())
		}
	}
	return batch
}

func drain(t *testing.T, q *mcq.Queue, n int) {
	t.Helper()
	for n > 0 {
		msgs := lease(t, q, min(n, 1000), mcq.LeaseOptions{})
		if len(msgs) == 0 {
			t.Fatalf("%d messages are missing", n)
		}
		if err := q.Ack(t.Context(), ids(msgs)...); err != nil {
			t.Fatal(err)
		}
		n -= len(msgs)
	}
}

func directorySize(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // files come and go
		t.Fatal(err)
	}
	return size
}

// A store whose messages have been consumed takes less than 100 MiB soon: with
// HEDDLE_TEST_LONG=1, which makes it ten million, within a minute.
func TestSpaceComesBack(t *testing.T) {
	n, size, most := 120_000, 1024, 3*time.Minute
	if longRun {
		n, size, most = 10_000_000, 256, time.Minute
	}
	dir := t.TempDir()
	q := queue(t, openBroker(t, dir, &mcq.Options{Sync: mcq.Never}), "q")
	batch := bulk(1000, size)
	for range n / len(batch) {
		if err := q.Put(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
	}
	if full := directorySize(t, dir); full < int64(n*size) {
		t.Fatalf("%d messages of %d bytes take %d", n, size, full)
	}
	drain(t, q, n)
	began := time.Now()
	for left := directorySize(t, dir); left >= 100<<20; left = directorySize(t, dir) {
		if time.Since(began) > most {
			t.Fatalf("%v after all was consumed the store takes %d MiB", most, left>>20)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("%d MiB after %v", directorySize(t, dir)>>20, time.Since(began).Round(time.Millisecond))
}

// What is written to the disk is at most 2.2 times what is put, log and tables
// together, with a backlog too large for memory.
func TestBytesWritten(t *testing.T) {
	backlog, n := 50_000, 100_000
	if longRun {
		backlog, n = 200_000, 1_000_000
	}
	const size = 1024
	b := openBroker(t, t.TempDir(), &mcq.Options{Sync: mcq.Never})
	q := queue(t, b, "q")
	batch := bulk(1000, size)
	for i := 0; i < n; i += len(batch) {
		if err := q.Put(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
		if i >= backlog {
			drain(t, q, len(batch))
		}
	}
	factor := float64(mcq.BytesWritten(b)) / float64(n*size)
	if factor < 1 || factor > 2.2 {
		t.Errorf("each byte put was written %.2f times, want at most 2.2", factor)
	}
	t.Logf("%.2f bytes written for each put", factor)
}

// scarce is a file system that says how much is free.
type scarce struct {
	vfs.FS
	free atomic.Uint64
}

func (s *scarce) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: s.free.Load(), TotalBytes: 1 << 40}, nil
}

// While the disk is nearly full, puts fail and all else goes on; when there is
// room again, so do puts.
func TestNoSpace(t *testing.T) {
	disk := &scarce{FS: vfs.NewMem()}
	disk.free.Store(1 << 40)
	b := openBroker(t, "store", mcq.WithFS(&mcq.Options{MinFree: 1 << 30, Logger: silent}, disk))
	addr := serve(t, b)
	q := queue(t, b, "q")
	put(t, q, "1", "2", "3")
	w := connect(t, addr)
	for round := range 2 {
		disk.free.Store(1<<30 - 1)
		waitFor(t, "puts to fail", func() bool {
			err := q.Put(t.Context(), mcq.Message{Body: []byte("x")})
			if err != nil && !errors.Is(err, mcq.ErrNoSpace) {
				t.Fatal(err)
			}
			return err != nil
		})
		fmt.Fprint(w, "set q 0 0 1\r\nx\r\n")
		w.expect("SERVER_ERROR out of disk space\r\n")
		if _, err := b.Queue(fmt.Sprint("new", round)); !errors.Is(err, mcq.ErrNoSpace) {
			t.Errorf("a new queue: %v", err)
		}
		msgs := lease(t, q, 1, mcq.LeaseOptions{})
		if len(msgs) != 1 {
			t.Fatal("nothing to lease")
		}
		if err := q.Ack(t.Context(), msgs[0].ID); err != nil {
			t.Errorf("ack: %v", err)
		}
		disk.free.Store(1 << 30)
		waitFor(t, "puts to work", func() bool {
			return q.Put(t.Context(), mcq.Message{Body: []byte("y")}) == nil
		})
		fmt.Fprint(w, "set q 0 0 1\r\ny\r\n")
		w.expect("STORED\r\n")
	}
	if err := q.Put(t.Context(), mcq.Message{}); err != nil {
		t.Error(err)
	}
}
