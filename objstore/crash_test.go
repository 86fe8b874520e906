package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/filecontent"
)

// A step at which the power goes off while an object with a content is made and
// changed: whatever the metadata's disk still has of what was not synced, the
// library is whole again after Open, and a sweep leaves no content without an
// object.
func TestPowerCut(t *testing.T) {
	rounds := 10
	if long() {
		rounds = 200
	}
	for round := range rounds {
		t.Run(fmt.Sprint(round), func(t *testing.T) { powerCut(t, uint64(round)) })
	}
}

func powerCut(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	disk := vfs.NewCrashableMem()
	dir := t.TempDir()
	contents, err := filecontent.Open(filepath.Join(dir, "content"))
	if err != nil {
		t.Fatal(err)
	}
	ids := newGenerator(t, objstore.GeneratorOptions{Ahead: time.Minute}, nil)
	open := func(fs vfs.FS, clk func() time.Time) (*objstore.Library, *objstore.Collection[Picture]) {
		opts := objstore.Options{Content: contents, Generator: ids, Retention: -1}
		opts.SetFS(fs)
		opts.SetClock(clk)
		lib := openLibrary(t, filepath.Join(dir, "lib"), opts)
		return lib, collection(t, lib, pictureType)
	}

	// acked is what the library has acknowledged: the least version of each object.
	var mu sync.Mutex
	acked := make(map[objstore.ID]uint64)
	gone := make(map[objstore.ID]bool)
	ack := func(id objstore.ID, version uint64) {
		mu.Lock()
		defer mu.Unlock()
		acked[id] = version
	}
	lib, pictures := open(disk, time.Now)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				text := fmt.Sprintf("%d-%d", w, i)
				up, err := pictures.Upload(ctx, "x", strings.NewReader(text), nil)
				if err != nil {
					t.Error(err)
					return
				}
				obj := &objstore.Object[Picture]{Meta: objstore.Meta{DisplayName: text, Contents: []objstore.ContentInfo{up}}}
				if err := pictures.Create(ctx, obj); err != nil {
					t.Error(err)
					return
				}
				ack(obj.ID, 1)
				switch i % 3 {
				case 1:
					obj.Contents = nil
					err = pictures.Update(ctx, obj)
					if err == nil {
						ack(obj.ID, 2)
					}
				case 2:
					mu.Lock()
					gone[obj.ID] = true
					mu.Unlock()
					err = pictures.Purge(ctx, obj.ID)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for target := 5 + rng.IntN(60); ; time.Sleep(100 * time.Microsecond) {
		if lib.Stats().Writes >= uint64(target) || t.Failed() {
			break
		}
	}
	mu.Lock()
	promised := make(map[objstore.ID]uint64)
	for id, version := range acked {
		if !gone[id] {
			promised[id] = version
		}
	}
	mu.Unlock()
	after := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	stop.Store(true)
	wg.Wait()
	if err := lib.Close(); err != nil {
		t.Fatal(err)
	}

	clk := newClock()
	clk.now = time.Now()
	lib, pictures = open(after, clk.Now)
	for id, version := range promised {
		obj, err := pictures.Get(ctx, id)
		if errors.Is(err, objstore.ErrNotFound) {
			t.Errorf("%v was acknowledged and is lost", id)
			continue
		}
		if err != nil || obj.Version < version {
			t.Errorf("%v: version %d acknowledged, have %+v, %v", id, version, obj, err)
		}
	}
	// Everything that is there is whole, promised or not, before and after the
	// orphans are collected.
	clk.Add(2 * time.Hour)
	sweep(t, lib)
	sweep(t, lib)
	mu.Lock()
	defer mu.Unlock()
	have := 0
	for id := range acked {
		obj, err := pictures.Get(ctx, id)
		if errors.Is(err, objstore.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		have += len(obj.Contents)
		for i := range obj.Contents {
			r, err := lib.OpenContent(ctx, &obj.Contents[i])
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(r); err != nil || string(b) != obj.DisplayName {
				t.Errorf("%v: content %q, %v", id, b, err)
			}
			_ = r.Close()
		}
	}
	// Those that the clone does not know were stored after the cut.
	if n := len(files(t, dir)); n < have {
		t.Errorf("%d contents for %d objects", n, have)
	}
}

// A content store that fails, or only says so, leaves nothing behind for good.
func TestFailingContentStore(t *testing.T) {
	clk := newClock()
	dir := t.TempDir()
	files, err := filecontent.Open(filepath.Join(dir, "content"))
	if err != nil {
		t.Fatal(err)
	}
	content := &failing{Content: files}
	opts := objstore.Options{Content: content}
	opts.SetClock(clk.Now)
	lib := openLibrary(t, filepath.Join(dir, "lib"), opts)
	pictures := collection(t, lib, pictureType)
	mine := errors.New("mine")
	for _, lie := range []bool{false, true} {
		content.put, content.lie = mine, lie
		_, err := pictures.Upload(ctx, "x", strings.NewReader("x"), nil)
		fails(t, "Upload", err, mine)
	}
	wantFiles(t, dir, 1)
	content.put = nil
	obj := create(t, pictures, upload(t, pictures, "x", "x"))
	if err := pictures.Purge(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	up := upload(t, pictures, "x", "x")
	content.del = mine
	fails(t, "Abort", pictures.Abort(ctx, up), mine)
	clk.Add(2 * time.Hour)
	_, err = lib.Sweep(ctx)
	fails(t, "Sweep", err, mine)
	wantFiles(t, dir, 3)
	content.del = nil
	if r := sweep(t, lib); r.Collected != 4 {
		t.Error(r)
	}
	wantFiles(t, dir, 0)
}

// faulty is a Store of which one Commit fails: before it does anything, or when
// all is done.
type faulty struct {
	objstore.Store
	mu   sync.Mutex
	left int
	late bool
	err  error
}

func (f *faulty) arm(step int, late bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.late, f.err = step, late, err
}

// disarm tells whether the Commit failed.
func (f *faulty) disarm() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = nil
	return f.left <= 0
}

func (f *faulty) Commit(ctx context.Context, changes []objstore.Change) error {
	f.mu.Lock()
	f.left--
	fail := f.err != nil && f.left == 0
	late, err := f.late, f.err
	f.mu.Unlock()
	if fail && !late {
		return err
	}
	cerr := f.Store.Commit(ctx, changes)
	if fail {
		return err
	}
	return cerr
}

// A fault at each step between the first note of a content and its object.
func TestFaultAtEachStep(t *testing.T) {
	mine := errors.New("mine")
	for step := 1; ; step++ {
		for _, late := range []bool{false, true} {
			clk := newClock()
			dir := t.TempDir()
			pebble, err := objstore.OpenPebble(filepath.Join(dir, "meta"), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer pebble.Close()
			s := &faulty{Store: pebble}
			opts := objstore.Options{Store: s}
			opts.SetClock(clk.Now)
			lib := openLibrary(t, dir, opts)
			pictures := collection(t, lib, pictureType)
			s.arm(step, late, mine)
			id := objstore.ID{Type: 1042, Number: 77}
			up, err := pictures.Upload(ctx, "x", strings.NewReader("x"), nil)
			if err == nil {
				err = pictures.Create(ctx, &objstore.Object[Picture]{Meta: objstore.Meta{ID: id, Contents: []objstore.ContentInfo{up}}})
			}
			failed := s.disarm()
			if failed {
				fails(t, fmt.Sprint("step ", step), err, mine)
			} else if err != nil {
				t.Fatal(err)
			}
			clk.Add(2 * time.Hour)
			sweep(t, lib)
			obj, err := pictures.Get(ctx, id)
			if err == nil {
				wantContent(t, lib, &obj.Contents[0], "x")
				wantFiles(t, dir, 1)
			} else {
				fails(t, "Get", err, objstore.ErrNotFound)
				wantFiles(t, dir, 0)
			}
			if !failed {
				if step < 3 {
					t.Fatalf("only %d steps", step-1)
				}
				return
			}
		}
	}
}
