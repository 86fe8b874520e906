package mcq_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

// checkManifest looks at data as a list of files.
func checkManifest(t *testing.T, data []byte) error {
	t.Helper()
	_, err := readableManifest(t, data)
	return err
}

// readableManifest is up to where data can be read as a list of files.
func readableManifest(t *testing.T, data []byte) (int64, error) {
	t.Helper()
	fs := vfs.NewMem()
	writeFile(t, fs, "MANIFEST", data)
	f, err := fs.Open("MANIFEST")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return mcq.CheckManifest(f)
}

// manifest finds the list of files of a store that was opened once, and where
// its last edit begins.
func manifest(t *testing.T, fs vfs.FS) (path string, data []byte, last int64) {
	t.Helper()
	files, err := fs.List("store")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if at := strings.Index(file, "MANIFEST-"); at > 0 { // the marker
			path = "store/" + file[at:]
		}
	}
	data = readFile(t, fs, path)
	edits := record.NewReader(bytes.NewReader(data), 0)
	for {
		at := edits.Offset()
		edit, err := edits.Next()
		if err != nil {
			return path, data, last
		}
		if _, err := new(bytes.Buffer).ReadFrom(edit); err != nil {
			t.Fatal(err)
		}
		last = at
	}
}

// A flipped bit in the list of files is told by Open and Check, wherever it is.
// Without a look Pebble takes the edits from there on for unfinished, and removes
// the tables in them: the messages would be gone and nobody told.
func TestDamagedManifest(t *testing.T) {
	fs := vfs.NewCrashableMem()
	b := openBroker(t, "store", mcq.WithFS(&mcq.Options{Logger: silent}, fs))
	q := queue(t, b, "q")
	var want []string
	for i := range 5 {
		want = append(want, fmt.Sprintf("message %d", i))
		put(t, q, want[i])
		if err := mcq.Flush(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	path, data, last := manifest(t, fs)
	if len(data) < 400 || last == 0 {
		t.Fatalf("a list of %d bytes, last edit at %d", len(data), last)
	}
	if err := checkManifest(t, data); err != nil {
		t.Fatal(err)
	}
	for at := range data {
		for bit := range 8 {
			data[at] ^= 1 << bit
			if err := checkManifest(t, data); err == nil {
				t.Errorf("bit %d flipped at %d of %d: nothing found", bit, at, len(data))
			}
			data[at] ^= 1 << bit
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for at := rnd.IntN(13); at < len(data); at += 13 {
		victim := crashClone(fs, 100, rnd)
		damaged := slices.Clone(data)
		damaged[at] ^= 1 << rnd.IntN(8)
		writeFile(t, victim, path, damaged)
		_, err := mcq.Check("store", mcq.WithFS(&mcq.Options{Logger: silent}, victim))
		if err == nil || !strings.Contains(err.Error(), "damaged file "+path) || !strings.Contains(err.Error(), " at offset ") {
			t.Errorf("flipped at %d of %d: check says %v", at, len(data), err)
		}
		_, err = readAll(t, victim)
		if err == nil || !strings.Contains(err.Error(), "damaged file "+path) || !strings.Contains(err.Error(), " at offset ") {
			t.Errorf("flipped at %d of %d: open says %v", at, len(data), err)
		}
		writeFile(t, victim, path, data) // nothing has been removed
		if got, err := readAll(t, victim); err != nil || !slices.Equal(got, want) {
			t.Errorf("flipped at %d of %d and back: %q, %v", at, len(data), got, err)
		}
	}
}

// A list of files whose last edits are gone is refused, although a crash might have
// left it like that before they were synced.
func TestManifestThatEndsTooSoon(t *testing.T) {
	fs := vfs.NewCrashableMem()
	b := openBroker(t, "store", mcq.WithFS(&mcq.Options{Logger: silent}, fs))
	put(t, queue(t, b, "q"), "message")
	if err := mcq.Flush(b); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	crashed := crashClone(fs, 0, rnd)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for state, store := range map[string]*vfs.MemFS{"closed": fs, "crashed": crashed} {
		path, data, _ := manifest(t, store)
		for end := range data {
			for what, short := range map[string][]byte{"cut": data[:end], "zeros": append(slices.Clone(data[:end]), make([]byte, len(data)-end)...)} {
				if slices.Equal(short, data) {
					continue // it ends with zeros
				}
				victim := crashClone(store, 100, rnd)
				writeFile(t, victim, path, short)
				if got, err := readAll(t, victim); err == nil || !strings.Contains(err.Error(), "damaged file "+path) {
					t.Fatalf("%s, %s at %d of %d: %q, %v", state, what, end, len(data), got, err)
				}
				writeFile(t, victim, path, data) // nothing has been removed
				if got, err := readAll(t, victim); err != nil || !slices.Equal(got, []string{"message"}) {
					t.Fatalf("%s, %s at %d of %d and back: %q, %v", state, what, end, len(data), got, err)
				}
			}
		}
	}
}

// What a crash leaves of the last edit is not taken for damage.
func TestTornManifest(t *testing.T) {
	fs := vfs.NewCrashableMem()
	b := openBroker(t, "store", mcq.WithFS(&mcq.Options{Logger: silent}, fs))
	put(t, queue(t, b, "q"), "message")
	path, data, _ := manifest(t, fs)
	last := int64(len(data))
	before := crashClone(fs, 100, rand.New(rand.NewPCG(1, 2)))
	if err := mcq.Flush(b); err != nil {
		t.Fatal(err)
	}
	_, after, _ := manifest(t, fs)
	if !bytes.HasPrefix(after, data) || int64(len(after)) <= last {
		t.Fatalf("the list of files went from %d to %d bytes", last, len(after))
	}
	for end := last; end < int64(len(after)); end++ {
		for what, torn := range map[string][]byte{"cut": after[:end], "zeros": append(slices.Clone(after[:end]), make([]byte, 1024)...)} {
			if err := checkManifest(t, torn); err != nil {
				t.Errorf("%s at %d of %d: %v", what, end, len(after), err)
			}
			if (end-last)%7 > 0 {
				continue
			}
			victim := crashClone(before, 100, rand.New(rand.NewPCG(1, 2)))
			writeFile(t, victim, path, torn)
			if got, err := readAll(t, victim); err != nil || !slices.Equal(got, []string{"message"}) {
				t.Errorf("%s at %d of %d: %q, %v", what, end, len(after), got, err)
			}
		}
	}
}

// All that was written of a list of files can be read, wherever in a block an edit ends:
// otherwise the mark of what was synced would have it refused.
func TestManifestIsReadWhole(t *testing.T) {
	for end := 32<<10 - 20; end <= 32<<10+20; end++ {
		var out bytes.Buffer
		w := record.NewWriter(&out)
		for _, size := range []int{end - 7, 1, 100} {
			edit, err := w.Next()
			if err == nil {
				_, err = edit.Write(bytes.Repeat([]byte{1}, size))
			}
			if err == nil {
				err = w.Flush()
			}
			if err != nil {
				t.Fatal(err)
			}
			if readable, err := readableManifest(t, out.Bytes()); err != nil || readable < int64(out.Len()) {
				t.Fatalf("an edit up to %d, then of %d bytes: %d of %d can be read, %v", end, size, readable, out.Len(), err)
			}
		}
	}
}

// Edits may be of many blocks, and lie anywhere in them. (Pebble's reader takes a
// tenth of a second to look for a flipped bit in a block, so few are flipped.)
func TestManifestOfManyBlocks(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		var out bytes.Buffer
		w := record.NewWriter(&out)
		var ends []int64
		for range 3 + rnd.IntN(4) {
			edit := make([]byte, []int{1, 200, 32<<10 - 14 - rnd.IntN(20), 70 << 10}[rnd.IntN(4)])
			for i := range edit {
				edit[i] = byte(1 + rnd.IntN(255))
			}
			end, err := w.WriteRecord(edit)
			if err != nil {
				t.Fatal(err)
			}
			ends = append(ends, end)
		}
		data, last := out.Bytes(), ends[len(ends)-2]
		if err := checkManifest(t, data); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			damaged := slices.Clone(data)
			at := rnd.IntN(len(data))
			if at%(32<<10) > 32<<10-7 { // may be what is left of a block
				continue
			}
			damaged[at] ^= 1 << rnd.IntN(8)
			if err := checkManifest(t, damaged); err == nil {
				t.Errorf("flipped at %d of %d, edits end at %d: nothing found", at, len(data), ends)
			}
		}
		for i := range 20 {
			end := last + rnd.Int64N(int64(len(data))-last)
			if err := checkManifest(t, data[:end]); err != nil {
				t.Errorf("cut at %d of %d, edits end at %d: %v", end, len(data), ends, err)
			}
			if i > 1 {
				continue
			}
			zeros := slices.Clone(data)
			from := (last + 4095) &^ 4095 // a page, which the crash lost
			if n := int64(len(zeros)) - from; n > 3 {
				from += rnd.Int64N(n/4096+1) * 4096
				clear(zeros[from:min(from+4096, int64(len(zeros)))])
				if err := checkManifest(t, zeros); err != nil && int64(len(zeros))-from > 3 {
					t.Errorf("4096 zeros at %d of %d, edits end at %d: %v", from, len(data), ends, err)
				}
			}
		}
	}
}
