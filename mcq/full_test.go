package mcq_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/heddle-go/heddle/mcq"
)

// smallDisk takes so many bytes; of a write that does not fit it takes a part,
// like a real one.
type smallDisk struct {
	vfs.FS
	left atomic.Int64
}

func (d *smallDisk) take(n int) (int, error) {
	for {
		left := d.left.Load()
		fits := int(min(int64(n), left))
		if d.left.CompareAndSwap(left, left-int64(fits)) {
			if fits < n {
				return fits, syscall.ENOSPC
			}
			return n, nil
		}
	}
}

func (d *smallDisk) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &smallFile{f, d}, nil
}

func (d *smallDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if d.left.Load() == 0 {
		return nil, syscall.ENOSPC
	}
	return d.file(d.FS.Create(name, c))
}

func (d *smallDisk) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file(d.FS.ReuseForWrite(oldname, newname, c))
}

func (d *smallDisk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.file(d.FS.OpenReadWrite(name, c, opts...))
}

type smallFile struct {
	vfs.File
	disk *smallDisk
}

func (f *smallFile) Write(p []byte) (int, error) {
	n, full := f.disk.take(len(p))
	n, err := f.File.Write(p[:n])
	return n, errors.Join(err, full)
}

func (f *smallFile) WriteAt(p []byte, at int64) (int, error) {
	n, full := f.disk.take(len(p))
	n, err := f.File.WriteAt(p[:n], at)
	return n, errors.Join(err, full)
}

const roomy = math.MaxInt64

// On a disk that gets full, in the middle of a write of the log, of a table or of
// the list of tables, puts are refused and messages are handed out; nothing that
// was acknowledged is lost, nothing that was refused is there, and all goes on
// when there is space, in the same process.
func TestDiskFull(t *testing.T) {
	for _, c := range []struct {
		sync       mcq.Sync
		left, body int
	}{
		{mcq.Always, 100, 50},            // the log
		{mcq.Interval, 100, 50},          //
		{mcq.Never, 18 << 20, 512 << 10}, // tables, or a new log
	} {
		t.Run(fmt.Sprintf("%s/left=%d", syncNames[c.sync], c.left), func(t *testing.T) {
			dir := t.TempDir()
			disk := &smallDisk{FS: vfs.Default}
			disk.left.Store(roomy)
			b := openBroker(t, dir, mcq.WithFS(&mcq.Options{Sync: c.sync, SyncInterval: time.Millisecond, Logger: silent}, disk))
			q := queue(t, b, "q")
			put(t, q, "0/0", "0/1", "0/2")
			addr := serve(t, b)

			disk.left.Store(int64(c.left))
			var mu sync.Mutex
			stored, refused := map[string]bool{"0/1": true, "0/2": true}, make(map[string]bool)
			var refusals atomic.Int64
			var free atomic.Bool
			var wg sync.WaitGroup
			for p := range 8 {
				wg.Go(func() {
					buf := make([]byte, c.body)
					for n, done := 0, false; !done; n++ {
						body := fmt.Sprintf("%d/%d", p+1, n)
						freed := free.Load()
						err := q.Put(t.Context(), mcq.Message{Body: buf[:max(copy(buf, body), c.body)]})
						mu.Lock()
						switch {
						case err == nil:
							stored[body] = true
							done = freed
						case errors.Is(err, mcq.ErrNoSpace):
							refused[body] = true
							refusals.Add(1)
						default:
							t.Errorf("put: %v", err)
						}
						mu.Unlock()
						if err != nil {
							time.Sleep(5 * time.Millisecond)
						}
					}
				})
			}
			// Either the log waits for space, with those who write, or a table was given up.
			waitFor(t, "the disk to be full", func() bool { return mcq.WritesHeld(b) > 0 || refusals.Load() > 20 })
			if err := q.Put(t.Context(), mcq.Message{}); !errors.Is(err, mcq.ErrNoSpace) {
				t.Errorf("put: %v", err)
			}
			got := lease(t, q, 1, mcq.LeaseOptions{Duration: time.Hour})
			expect(t, "with a full disk", bodies(got), "0/0")
			w := connect(t, addr)
			w.send("get none\r\n")
			w.expect("END\r\n")
			w.send("set q 0 0 1\r\nx\r\n")
			w.expect("SERVER_ERROR out of disk space\r\n")

			free.Store(true)
			disk.left.Store(roomy)
			wg.Wait() // until each has stored one
			if err := q.Ack(t.Context(), got[0].ID); err != nil {
				t.Fatal(err)
			}
			w.send("set q 0 0 1\r\nx\r\n")
			w.expect("STORED\r\n")
			stored["x"] = true
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			again := openBroker(t, dir, nil)
			var left []string
			for {
				msgs := lease(t, queue(t, again, "q"), 1000, mcq.LeaseOptions{Duration: time.Hour})
				if len(msgs) == 0 {
					break
				}
				for _, body := range bodies(msgs) {
					body = strings.TrimRight(body, "\x00")
					left = append(left, body)
					if refused[body] || !stored[body] {
						t.Errorf("%s is there, which was refused", body)
					}
				}
			}
			if len(left) != len(stored) {
				t.Errorf("%d messages are left of %d", len(left), len(stored))
			}
		})
	}
}

// While a write waits for space nothing can be acknowledged or taken either, and
// Close does not wait for it: it says why it could not end well, and what had
// been acknowledged is there when the store is opened again.
func TestCloseWithFullDisk(t *testing.T) {
	mem := vfs.NewCrashableMem()
	disk := &smallDisk{FS: mem}
	disk.left.Store(roomy)
	t.Cleanup(func() { disk.left.Store(roomy) }) // what waits for it ends
	b, err := mcq.Open("store", mcq.WithFS(&mcq.Options{Logger: silent}, disk))
	if err != nil {
		t.Fatal(err)
	}
	q := queue(t, b, "q")
	put(t, q, "1", "2", "3")
	got := lease(t, q, 1, mcq.LeaseOptions{Duration: time.Hour})
	disk.left.Store(0)
	waiting := make(chan error, 1)
	go func() { waiting <- q.Put(t.Context(), mcq.Message{Body: []byte("4")}) }()
	waitFor(t, "the write to wait", func() bool { return mcq.WritesHeld(b) > 0 })
	if err := b.Health(); !errors.Is(err, mcq.ErrNoSpace) || !b.Stats().Full {
		t.Errorf("health: %v, stats: %+v", err, b.Stats())
	}
	_, takeErr := q.Take(t.Context())
	for what, err := range map[string]error{
		"put": q.Put(t.Context(), mcq.Message{}), "take": takeErr, "ack": q.Ack(t.Context(), got[0].ID),
	} {
		if !errors.Is(err, mcq.ErrNoSpace) {
			t.Errorf("%s while the disk is full: %v", what, err)
		}
	}
	if err := b.Close(); !errors.Is(err, mcq.ErrFailed) || !strings.Contains(err.Error(), "disk was full") {
		t.Errorf("close: %v", err)
	}
	if err := <-waiting; !errors.Is(err, mcq.ErrFailed) {
		t.Errorf("the put that waited: %v", err)
	}
	again := openBroker(t, "store", mcq.WithFS(&mcq.Options{Logger: silent}, mem.CrashClone(vfs.CrashCloneCfg{})))
	if left := bodies(lease(t, queue(t, again, "q"), 9, mcq.LeaseOptions{})); !slices.Equal(left, []string{"1", "2", "3"}) {
		t.Errorf("left are %q", left)
	}
}

// A set that waits for space holds up nobody else: others are served, or refused,
// meanwhile, and it is answered when there is space.
func TestServedWithFullDisk(t *testing.T) {
	for _, sync := range []mcq.Sync{mcq.Always, mcq.Never} {
		t.Run(syncNames[sync], func(t *testing.T) {
			disk := &smallDisk{FS: vfs.Default}
			disk.left.Store(roomy)
			b := openBroker(t, t.TempDir(), mcq.WithFS(&mcq.Options{Sync: sync, Logger: silent}, disk))
			put(t, queue(t, b, "q"), "1")
			addr := serve(t, b)
			body := strings.Repeat("x", 30<<10) // Never: until nothing fits into memory
			first, other := connect(t, addr), connect(t, addr)
			t.Cleanup(func() { disk.left.Store(roomy) })
			other.send("get none\r\n")
			other.expect("END\r\n")
			for range 2 { // the one that takes over can be held up in its turn
				disk.left.Store(10)
				sets := 0
				if sync == mcq.Always {
					first.send("set q 0 0 1\r\nx\r\n")
					sets++
				} else {
					for ; sets < 100 && mcq.WritesHeld(b) == 0; sets++ {
						first.send("set q 0 0 30720\r\n" + body + "\r\n")
						time.Sleep(time.Millisecond)
					}
				}
				waitFor(t, "the write to wait", func() bool { return mcq.WritesHeld(b) > 0 })
				other.send("get none\r\n")
				other.expect("END\r\n")
				other.send("set q 0 0 1\r\nx\r\n")
				other.expect("SERVER_ERROR out of disk space\r\n")
				disk.left.Store(roomy)
				for range sets {
					if line := first.line(); line != "STORED\r\n" && (sync == mcq.Always || line != "SERVER_ERROR out of disk space\r\n") {
						t.Fatalf("got %q", line)
					}
				}
				waitFor(t, "space", func() bool {
					other.send("set q 0 0 1\r\nx\r\n")
					return other.line() == "STORED\r\n"
				})
			}
		})
	}
}

// A disk that gets full when the journal needs a new file, or while that is filled with
// zeros, is waited for; so is it with each size of what is left of it.
func TestDiskFullAtNewFile(t *testing.T) {
	for _, sync := range []mcq.Sync{mcq.Always, mcq.Never} {
		for left := int64(0); left < 4000; left += 397 {
			t.Run(fmt.Sprintf("%s/left=%d", syncNames[sync], left), func(t *testing.T) {
				t.Parallel()
				mem := vfs.NewCrashableMem()
				disk := &smallDisk{FS: mem}
				disk.left.Store(roomy)
				opts := mcq.WithFS(&mcq.Options{Sync: sync, MinFree: -1, Logger: silent}, disk)
				b, err := mcq.Open("store", mcq.WithJournal(opts, 1500))
				if err != nil {
					t.Fatal(err)
				}
				s := track(t, b)
				s.put(700)
				disk.left.Store(left)
				done := make(chan error, 1)
				go func() {
					for stored := 0; stored < 6; { // at least two files
						switch err := s.q.Put(t.Context(), mcq.Message{Body: make([]byte, 700)}); {
						case err == nil:
							stored++
						case errors.Is(err, mcq.ErrNoSpace): // for a table
							time.Sleep(time.Millisecond)
						default:
							done <- err
							return
						}
					}
					done <- nil
				}()
				waitFor(t, "the disk to be full", func() bool { return mcq.WritesHeld(b) > 0 })
				if left%2 == 0 { // Close does not wait for space
					if err := b.Close(); !errors.Is(err, mcq.ErrFailed) {
						t.Errorf("close: %v", err)
					}
					if err := <-done; !errors.Is(err, mcq.ErrFailed) && !errors.Is(err, mcq.ErrClosed) {
						t.Errorf("put: %v", err)
					}
					return
				}
				disk.left.Store(roomy)
				if err := <-done; err != nil {
					t.Errorf("put: %v", err)
				}
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				got, err := readAll(t, mem)
				if err != nil || len(got) != 7 {
					t.Errorf("%d messages are there, %v", len(got), err)
				}
			})
		}
	}
}

// Close does not wait for space for the list of tables either.
func TestCloseWithFullDiskForManifest(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var full atomic.Bool
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && strings.Contains(op.Path, "MANIFEST-") && op.Kind == errorfs.OpFileWrite {
			return syscall.ENOSPC
		}
		return nil
	}))
	b, err := mcq.Open("store", mcq.WithFS(&mcq.Options{Logger: silent}, fs))
	if err != nil {
		t.Fatal(err)
	}
	put(t, queue(t, b, "q"), "1", "2")
	full.Store(true)
	if err := b.Close(); !errors.Is(err, mcq.ErrFailed) {
		t.Errorf("close: %v", err)
	}
	crashed := crashClone(mem, 0, rand.New(rand.NewPCG(1, 2)))
	full.Store(false) // what waits for it ends
	if got, err := readAll(t, crashed); err != nil || !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("left are %q, %v", got, err)
	}
}

// Close does not wait for space either while the list of tables is written for what is
// reclaimed, behind which what is put waits.
func TestCloseWithFullDiskWhileReclaiming(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	var armed, full atomic.Bool
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch list := strings.Contains(op.Path, "MANIFEST-"); {
		case list && isSync(op) && armed.CompareAndSwap(true, false):
			full.Store(true) // what comes before is that all is in tables
		case list && op.Kind == errorfs.OpFileWrite && full.Load():
			return syscall.ENOSPC
		}
		return nil
	}))
	b, err := mcq.Open("store", mcq.WithRemoval(mcq.WithFS(&mcq.Options{Logger: silent}, fs), 3))
	if err != nil {
		t.Fatal(err)
	}
	q := queue(t, b, "q")
	put(t, q, "1", "2", "3", "4", "5")
	if err := mcq.Flush(b); err != nil {
		t.Fatal(err)
	}
	drain(t, q, 3)
	armed.Store(true)
	waitFor(t, "the list of tables to wait", func() bool { return mcq.WritesHeld(b) > 0 })
	if err := q.Put(t.Context(), mcq.Message{}); !errors.Is(err, mcq.ErrNoSpace) {
		t.Errorf("put: %v", err)
	}
	groups := mcq.GroupsWritten(b) // one more came just before
	waiting := make(chan error, 1)
	go func() { waiting <- mcq.AckAnyway(q, 4) }()
	waitFor(t, "the journal to have it", func() bool { return mcq.GroupsWritten(b) > groups })
	if err := b.Close(); !errors.Is(err, mcq.ErrFailed) {
		t.Errorf("close: %v", err)
	}
	crashed := crashClone(mem, 0, rand.New(rand.NewPCG(1, 2)))
	full.Store(false) // what waits for it ends
	<-waiting
	if got, err := readAll(t, crashed); err != nil || !slices.Equal(got, []string{"5"}) {
		t.Errorf("left are %q, %v", got, err)
	}
}
