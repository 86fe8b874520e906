package objstore_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/objstoretest"
)

// killEnv names the library's directory to the process that is killed.
const killEnv = "HEDDLE_OBJSTORE_KILL"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		writeUntilKilled(dir)
	}
	if idc := os.Getenv(idsEnv); idc != "" {
		if err := makeIDs(idc); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writeUntilKilled makes, changes and purges objects with contents, and says on
// standard output what it is going to do and what was acknowledged.
func writeUntilKilled(dir string) {
	fatal := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	lib, err := objstore.Open(dir, killOptions())
	if err != nil {
		fatal(err)
	}
	pictures, err := objstore.NewCollection(lib, killType())
	if err != nil {
		fatal(err)
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	for w := range 6 {
		go func() {
			rng := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(w)))
			for {
				size := rng.IntN(100_000)
				up, err := pictures.Upload(ctx, "x", io.LimitReader(rand.NewChaCha8([32]byte{byte(w)}), int64(size)), nil)
				if err != nil {
					fatal(err)
				}
				obj := picture(size, func(p *objstore.Object[Picture]) {
					p.Tags, p.Contents = []string{"kill"}, []objstore.ContentInfo{up}
				})
				if err := pictures.Create(ctx, obj); err != nil {
					fatal(err)
				}
				say("have %v 1", obj.ID)
				switch rng.IntN(4) {
				case 0:
					say("drop %v", obj.ID)
					err = pictures.Purge(ctx, obj.ID)
					if err == nil {
						say("gone %v", obj.ID)
					}
				case 1:
					obj.Contents[0], err = pictures.Upload(ctx, "x", strings.NewReader("changed"), nil)
					if err == nil {
						obj.Value.Width = len("changed")
						err = pictures.Update(ctx, obj)
					}
					if err == nil {
						say("have %v 2", obj.ID)
					}
				}
				if err != nil {
					fatal(err)
				}
			}
		}()
	}
	select {}
}

func killOptions() *objstore.Options {
	return &objstore.Options{SweepEvery: 50 * time.Millisecond, Grace: time.Hour}
}

func killType() objstore.Type[Picture] {
	typ := pictureType
	typ.Indexes = []objstore.Index[Picture]{{Name: "tags"}}
	return typ
}

// long asks for the long form of the tests that have one.
func long() bool { return os.Getenv("HEDDLE_TEST_LONG") != "" }

// A process is killed while it writes, again and again: nothing that it had
// acknowledged is lost, what is there is whole, and nothing else stays.
func TestSIGKILL(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	if long() {
		rounds = 100
	}
	dir := filepath.Join(t.TempDir(), "lib")
	have := make(map[string]uint64)
	dropped, gone := make(map[string]bool), make(map[string]bool)
	for round := range rounds {
		killOnce(t, dir, func(what, id string, version uint64) {
			switch what {
			case "have":
				have[id] = version
			case "drop":
				dropped[id] = true
			case "gone":
				gone[id] = true
			}
		})
		opts := killOptions()
		opts.SweepEvery = -1
		// In two hours everything that nobody has is collected.
		clk := newClock()
		clk.now = time.Now().Add(2 * time.Hour)
		opts.SetClock(clk.Now)
		lib, err := objstore.Open(dir, opts)
		if err != nil {
			t.Fatal(err)
		}
		pictures := collection(t, lib, killType())
		for id, version := range have {
			oid, err := objstore.ParseID(id)
			if err != nil {
				t.Fatal(err)
			}
			obj, err := pictures.Get(ctx, oid)
			switch {
			case gone[id] && !errors.Is(err, objstore.ErrNotFound):
				t.Errorf("round %d: %s was purged, and is back: %v", round, id, err)
			case errors.Is(err, objstore.ErrNotFound) && dropped[id]:
			case err != nil || obj.Version < version:
				t.Errorf("round %d: %s: version %d was acknowledged, have %+v, %v", round, id, version, obj, err)
			}
		}
		sweep(t, lib)
		contents := 0
		for obj, err := range pictures.Scan(ctx, nil) {
			if err != nil {
				t.Fatal(err)
			}
			wantWhole(t, lib, obj)
			contents += len(obj.Contents)
		}
		found := len(collect(t, pictures.Find(ctx, "tags", "kill", nil)))
		if n := len(files(t, dir)); n != contents || found != contents {
			t.Errorf("round %d: %d files for %d contents, %d objects found", round, n, contents, found)
		}
		if err := lib.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(have) < rounds {
		t.Errorf("only %d objects in %d rounds", len(have), rounds)
	}
	t.Logf("%d objects, %d purged, %d kills", len(have), len(gone), rounds)
}

func wantWhole(t *testing.T, lib *objstore.Library, obj *objstore.Object[Picture]) {
	t.Helper()
	for i := range obj.Contents {
		r, err := lib.OpenContent(ctx, &obj.Contents[i])
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil || n != int64(obj.Value.Width) {
			t.Errorf("%v: content of %d bytes, want %d: %v", obj.ID, n, obj.Value.Width, err)
		}
		_ = r.Close()
	}
}

// killOnce runs the writer for a while, kills it, and hears what it said.
func killOnce(t *testing.T, dir string, hear func(what, id string, version uint64)) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), killEnv+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, limit := 0, 20+rand.IntN(80)
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // it hangs
	defer timer.Stop()
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		var what, id string
		var version uint64
		if n, _ := fmt.Sscan(sc.Text(), &what, &id, &version); n >= 2 {
			hear(what, id, version)
		}
		if lines++; lines == limit {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait() // it was killed
	if stderr.Len() > 0 || lines < limit {
		t.Fatalf("the writer ended by itself after %d lines: %s", lines, stderr.String())
	}
}

// idsEnv tells a process to make ids as this node.
const idsEnv = "HEDDLE_OBJSTORE_IDS"

// idsEach is how many ids each process makes.
func idsEach() int {
	if long() {
		return 10_000_000
	}
	return 200_000
}

// makeIDs makes ids on four goroutines and checks that they are the node's own
// and that none comes twice.
func makeIDs(idc string) error {
	var node int
	if _, err := fmt.Sscan(idc, &node); err != nil {
		return err
	}
	g, err := objstore.NewGenerator(&objstore.GeneratorOptions{IDC: node, Ahead: time.Hour})
	if err != nil {
		return err
	}
	defer g.Close()
	var all [4][]int64
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for w := range all {
		wg.Go(func() {
			for range idsEach() / len(all) {
				n, err := g.Next()
				if err != nil {
					errs[w] = err
					return
				}
				if (objstore.ID{Type: 1, Number: n}).Node() != node {
					errs[w] = fmt.Errorf("%d is not of node %d", n, node)
					return
				}
				all[w] = append(all[w], n)
			}
		})
	}
	wg.Wait()
	ids := slices.Concat(all[:]...)
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != idsEach() {
		return errors.Join(append(errs, fmt.Errorf("%d different ids of %d", n, idsEach()))...)
	}
	return nil
}

// Eight nodes at the same time never make the same id: each makes none twice, and
// none that is another's.
func TestIDsOfEightProcesses(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for node := range 8 {
		wg.Go(func() {
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), fmt.Sprint(idsEnv, "=", node))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("node %d: %v: %s", node, err, out)
			}
		})
	}
	wg.Wait()
}

// A large content needs no more memory than a small one.
func TestMemoryOfLargeContents(t *testing.T) {
	size := int64(128 << 20)
	if long() {
		size = 1 << 30
	}
	_, lib, pictures := newFiles(t, nil)
	var obj *objstore.Object[Picture]
	peak := objstoretest.PeakHeap(func() {
		up, err := pictures.Upload(ctx, "x", io.LimitReader(zeros{}, size), nil)
		if err != nil {
			t.Error(err)
			return
		}
		obj = create(t, pictures, up)
		r, err := lib.OpenContent(ctx, &obj.Contents[0])
		if err != nil {
			t.Error(err)
			return
		}
		defer r.Close()
		if n, err := io.Copy(io.Discard, r); err != nil || n != size {
			t.Errorf("read %d bytes, %v", n, err)
		}
	})
	if peak > 16<<20 {
		t.Errorf("%d MiB of heap for a content of %d MiB", peak>>20, size>>20)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
