package mcq_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/heddle-go/heddle/mcq"
)

// stores names what is on disk in testdata: a store for each format there ever
// was, as it was left by makeStore, closed or killed.
var stores = []string{"format1-closed", "format1-killed", "format2-closed", "format2-killed"}

var storeOptions = mcq.Options{
	Logger: silent, MinFree: -1,
	Queues: map[string]mcq.QueueOptions{"q": {DeadLetters: "dead", DedupeWindow: 100 * 365 * 24 * time.Hour}},
}

// makeStore puts into an empty store one of everything that it can hold.
func makeStore(t *testing.T, b *mcq.Broker) {
	q := queue(t, b, "q")
	put(t, q, "1")
	sub := queue(t, b, "q+s")
	put(t, q, "2", "3", "4", "5")
	send(t, q, mcq.Message{Body: []byte("6"), Key: "k", Flags: 7})
	send(t, q, mcq.Message{Body: []byte("late"), Delay: 9 * 365 * 24 * time.Hour})
	send(t, q, mcq.Message{Body: []byte("8"), TTL: 9 * 365 * 24 * time.Hour})
	msgs := lease(t, q, 4, mcq.LeaseOptions{})
	if err := q.Ack(t.Context(), msgs[1].ID, msgs[3].ID); err != nil { // 2 and 4
		t.Fatal(err)
	}
	if err := q.Reject(t.Context(), "no", msgs[2].ID); err != nil { // 3
		t.Fatal(err)
	}
	lease(t, sub, 1, mcq.LeaseOptions{})
	if _, err := sub.Take(t.Context()); err != nil { // 3
		t.Fatal(err)
	}
}

// A store that was written by any version before is read by this one.
func TestOldStores(t *testing.T) {
	for _, name := range stores {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "stores", name))); err != nil {
				t.Fatal(err)
			}
			if r, err := mcq.Check(dir, &storeOptions); err != nil || len(r.Damage) > 0 {
				t.Errorf("check: %+v, %v", r, err)
			}
			for range 3 { // the first takes an old store over
				b, err := mcq.Open(dir, &storeOptions)
				if err != nil {
					t.Fatal(err)
				}
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
			}
			b := openBroker(t, dir, &storeOptions)
			if files, _ := filepath.Glob(filepath.Join(dir, "0*.log")); len(files) > 1 {
				t.Errorf("of Pebble's logs, which are empty, %q are left", files)
			}
			q, sub, dead := queue(t, b, "q"), queue(t, b, "q+s"), queue(t, b, "dead")
			if s := q.Stats(); s.Put != 8 || s.Done != 3 || s.Delayed != 1 {
				t.Errorf("%+v", s)
			}
			again := []mcq.Message{{Body: []byte("6 again"), Key: "k"}}
			if err := q.Put(t.Context(), again...); err != nil || again[0].ID != 6 {
				t.Errorf("put again: %d, %v", again[0].ID, err)
			}
			var got []mcq.Message
			for msgs := lease(t, q, 9, mcq.LeaseOptions{}); len(msgs) > 0; msgs = lease(t, q, 9, mcq.LeaseOptions{}) {
				got = append(got, msgs...)
			}
			expect(t, "the queue", bodies(got), "1", "5", "6", "8")
			if m := got[2]; m.Flags != 7 || m.Key != "k" || m.ID != 6 {
				t.Errorf("%+v", m)
			}
			got = nil
			for msgs := lease(t, sub, 9, mcq.LeaseOptions{}); len(msgs) > 0; msgs = lease(t, sub, 9, mcq.LeaseOptions{}) {
				got = append(got, msgs...)
			}
			expect(t, "the subscriber", bodies(got), "2", "4", "5", "6", "8")
			got = lease(t, dead, 9, mcq.LeaseOptions{})
			expect(t, "the dead letters", bodies(got), "3")
			if d := got[0].Dead; d == nil || d.Queue != "q" || d.ID != 3 || d.Reason != "no" {
				t.Errorf("%+v", d)
			}
		})
	}
}

// Crashes at the same write of one opening after the other, of each old store, leave it
// one that is read.
func TestCrashesWhileOpeningOldStores(t *testing.T) {
	for _, name := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := vfs.NewCrashableMem()
			if _, err := vfs.Clone(vfs.Default, old, filepath.Join("testdata", "stores", name), "store", vfs.CloneSync); err != nil {
				t.Fatal(err)
			}
			// The directory is to be there after a crash as well.
			root, err := old.OpenDir("")
			if err == nil {
				err = errors.Join(root.Sync(), root.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			want, err := mcq.Check("store", mcq.WithFS(&storeOptions, old))
			if err != nil {
				t.Fatal(err)
			}
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 2))
			step := int32(1)
			if !longRun {
				step = 4
			}
			for n := rnd.Int32N(step); ; n += step {
				crashes := 0
				percents := []int{0, 100}
				if !longRun { // one of them
					percents = percents[rnd.IntN(2):][:1]
				}
				for _, percent := range percents {
					store := crashClone(old, 0, rnd)
					for range 2 {
						crashed := crashWhileOpening(t, store, n, percent, rnd)
						if crashed == nil {
							break
						}
						crashes++
						store = crashed
					}
					r, err := mcq.Check("store", mcq.WithFS(&storeOptions, store))
					if err != nil || !reflect.DeepEqual(r, want) {
						t.Fatalf("%d %% of the writes up to %d: check: %+v, want %+v, %v", percent, n, r, want, err)
					}
					if err := openAndClose(store, nil); err != nil {
						t.Fatalf("%d %% of the writes up to %d: %v", percent, n, err)
					}
				}
				if crashes == 0 {
					if n < 20 {
						t.Fatalf("opening and closing made %d writes", n)
					}
					return
				}
			}
		})
	}
}

// crashWhileOpening returns what a crash before write n of opening and closing the store
// in fs leaves, nil if there are not so many.
func crashWhileOpening(t *testing.T, fs *vfs.MemFS, n int32, percent int, rnd *rand.Rand) (crashed *vfs.MemFS) {
	var writes atomic.Int32
	err := openAndClose(fs, func(op errorfs.Op) error {
		if isWrite(op) && writes.Add(1) == n+1 {
			crashed = crashClone(fs, percent, rnd)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("before write %d, %d %% of what was not synced before is there: %v", n, percent, err)
	}
	return crashed
}

func openAndClose(fs vfs.FS, each errorfs.InjectorFunc) error {
	if each != nil {
		fs = errorfs.Wrap(fs, each)
	}
	b, err := mcq.Open("store", mcq.WithFS(&storeOptions, fs))
	if err != nil {
		return err
	}
	return b.Close()
}

// TestMakeStores writes the stores of testdata anew, for a new format, into the
// directory that MCQ_TEST_MAKE_STORES names; else into one that is thrown away.
func TestMakeStores(t *testing.T) {
	dir := os.Getenv("MCQ_TEST_MAKE_STORES")
	if dir == "" {
		dir = t.TempDir()
	}
	live := filepath.Join(t.TempDir(), "live")
	b := openBroker(t, live, &storeOptions)
	makeStore(t, b)
	if err := os.CopyFS(filepath.Join(dir, "killed"), os.DirFS(live)); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "closed"), os.DirFS(live)); err != nil {
		t.Fatal(err)
	}
}
