package mcq_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/heddle-go/heddle/mcq"
)

// journals are the files of the journal that a crash has left of a store with messages,
// each put by itself, in the one queue q.
type journals struct {
	store *vfs.MemFS
	names []string
	files [][]byte
	want  []string
	group [][]byte // that each message is in
}

// makeJournals makes a store whose tables have nothing of the journal, or whose files
// were written again since tables have all that was in them.
func makeJournals(f *testing.F, again bool) journals {
	f.Helper()
	mem := vfs.NewCrashableMem()
	var hold atomic.Bool
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if hold.Load() && isTable(op) && op.Kind == errorfs.OpCreate {
			return errorfs.ErrInjected
		}
		return nil
	}))
	b := openBroker(f, "store", mcq.WithJournal(mcq.WithFS(&mcq.Options{Logger: silent}, fs), 1<<10))
	q := queue(f, b, "q")
	hold.Store(!again)
	defer hold.Store(false)
	var j journals
	for i := range 30 {
		j.want = append(j.want, fmt.Sprintf("message %d %0*d", i, i*53%300, i))
		put(f, q, j.want[i])
		if again && i%4 == 0 {
			if err := mcq.Flush(b); err != nil {
				f.Fatal(err)
			}
		}
	}
	j.store = crashClone(mem, 0, rand.New(rand.NewPCG(1, 2)))
	j.names = journalFiles(f, j.store)
	for _, name := range j.names {
		j.files = append(j.files, readFile(f, j.store, "store/"+name))
	}
	j.group = make([][]byte, len(j.want))
	for i, body := range j.want {
		for _, data := range j.files {
			if in := bytes.Index(data, []byte(body)); in > 0 {
				begin := bytes.LastIndex(data[:in], []byte("mcqG"))
				j.group[i] = data[begin : in+len(body)]
			}
		}
		if !again && j.group[i] == nil {
			f.Fatalf("%q is in no file", body)
		}
	}
	return j
}

// stepSize is what damage reads of a program for a step.
const stepSize = 8

// damage does to files what program says.
func damage(files [][]byte, program []byte) {
	for ; len(program) >= stepSize; program = program[stepSize:] {
		op, value := program[0], program[7]
		from, to := int(program[1])%len(files), int(program[2])%len(files)
		src, dst := files[from], files[to]
		at, n := 0, int(program[5])<<(program[6]%8)
		if len(dst) > 0 {
			at = int(binary.LittleEndian.Uint16(program[3:])) % len(dst)
		}
		end := min(at+n, len(dst))
		switch op % 8 {
		case 0:
			if len(dst) > 0 {
				dst[at] ^= 1 << (value % 8)
			}
		case 1:
			files[to] = dst[:at]
		case 2:
			clear(dst[at:end])
		case 3: // groups that are whole, elsewhere
			begin := min(int(value)*8, len(src))
			copy(dst[at&^7:], src[begin:min(begin+n, len(src))])
		case 4:
			files[from], files[to] = dst, src
		case 5:
			files[to] = nil
		case 6:
			files[to] = append(dst, bytes.Repeat([]byte{value}, n)...)
		case 7:
			files[to] = append(dst[:at&^7:at&^7], src...)
		}
	}
}

// holdsGroup tells whether one of groups is where a group may begin.
func holdsGroup(files, groups [][]byte) bool {
	for _, group := range groups {
		for _, data := range files {
			for at := 0; group != nil && at < len(data); at += 8 {
				if bytes.HasPrefix(data[at:], group) {
					return true
				}
			}
		}
	}
	return false
}

// FuzzJournal damages, cuts and shuffles the files of the journal. The store is refused,
// by Open and by Check, or it has the messages that were put up to one of them: only the
// end of a journal can be taken for something else than damage.
func FuzzJournal(f *testing.F) {
	bases := []journals{makeJournals(f, false), makeJournals(f, true)}
	for again := range len(bases) {
		seeds := [][]byte{
			{},
			{0, 0, 1, 50, 0, 0, 0, 3},
			{1, 0, 2, 0, 1, 0, 0, 0},
			{2, 0, 3, 8, 0, 200, 0, 0},
			{3, 4, 1, 16, 0, 255, 2, 0},
			{4, 0, 4, 0, 0, 0, 0, 0, 4, 1, 2, 0, 0, 0, 0, 0},
			{5, 0, 2, 0, 0, 0, 0, 0},
			{6, 0, 1, 0, 0, 100, 1, 'm'},
			{7, 3, 1, 200, 0, 0, 0, 0},
			{7, 1, 2, 0, 1, 0, 0, 0, 5, 0, 3, 0, 0, 0, 0, 0},
		}
		for _, seed := range seeds {
			f.Add(again == 1, seed)
		}
	}
	f.Fuzz(func(t *testing.T, again bool, program []byte) {
		base := bases[0]
		if again {
			base = bases[1]
		}
		files := make([][]byte, len(base.files))
		for i, data := range base.files {
			files[i] = slices.Clone(data)
		}
		damage(files, program[:min(len(program), 20*stepSize)])
		victim := crashClone(base.store, 0, rand.New(rand.NewPCG(1, 2)))
		for i, name := range base.names {
			writeFile(t, victim, "store/"+name, files[i])
		}
		report, checkErr := mcq.Check("store", mcq.WithFS(&mcq.Options{Logger: silent}, victim))
		got, err := readAll(t, victim)
		switch {
		case (err == nil) != (checkErr == nil):
			t.Fatalf("open says %v, check says %v", err, checkErr)
		case err != nil:
			return
		case !isPrefix(got, base.want):
			t.Fatalf("%d messages are there, which are not the first of %d: %.500q", len(got), len(base.want), got)
		case holdsGroup(files, base.group[len(got):]):
			t.Fatalf("%d messages are there, and a later one is in the journal", len(got))
		case len(program) < stepSize && len(got) < len(base.want):
			t.Fatalf("%d of %d messages are there and nothing is damaged", len(got), len(base.want))
		}
		if len(report.Damage) > 0 || report.Messages != uint64(len(got)) {
			t.Fatalf("check says %+v, there are %d messages", report, len(got))
		}
	})
}
