package mcq_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/heddle-go/heddle/mcq"
)

// tracked is a queue whose every state is known: after k operations, which one
// goroutine does, states[k] is left in it.
type tracked struct {
	t      *testing.T
	b      *mcq.Broker
	q      *mcq.Queue
	states [][]string
	done   atomic.Int64 // operations that were acknowledged
	synced atomic.Int64 // of which the disk must know
}

func track(t *testing.T, b *mcq.Broker) *tracked {
	return &tracked{t: t, b: b, q: queue(t, b, "q"), states: [][]string{nil}}
}

func (s *tracked) then(left []string) {
	s.states = append(s.states, left)
}

// put puts one message with a body of so many bytes.
func (s *tracked) put(size int) {
	s.t.Helper()
	body := fmt.Sprintf("%d-%0*d", len(s.states), size, 0)
	s.then(append(slices.Clone(s.states[len(s.states)-1]), body))
	put(s.t, s.q, body)
	s.done.Add(1)
}

// ack leases the oldest message and acknowledges it.
func (s *tracked) ack() {
	s.t.Helper()
	left := s.states[len(s.states)-1]
	msgs := lease(s.t, s.q, 1, mcq.LeaseOptions{Duration: time.Hour})
	expect(s.t, "the oldest", bodies(msgs), left[0])
	s.then(left[1:])
	if err := s.q.Ack(s.t.Context(), msgs[0].ID); err != nil {
		s.t.Fatal(err)
	}
	s.done.Add(1)
}

func (s *tracked) sync() {
	s.t.Helper()
	done := s.done.Load()
	if err := mcq.SyncJournal(s.b); err != nil {
		s.t.Fatal(err)
	}
	s.synced.Store(done)
}

// removedAt is how many messages are removed at a time where a crash is tried.
const removedAt = 3

// check opens what a crash has left in fs, looks at it with Check too, and sees that
// it is the state after from to to operations.
func (s *tracked) check(what string, fs vfs.FS, from, to int64) {
	s.t.Helper()
	opts := mcq.WithRemoval(mcq.WithFS(&mcq.Options{Logger: silent}, fs), removedAt)
	var found uint64
	if r, err := mcq.Check("store", opts); err != nil || len(r.Damage) > 0 {
		s.t.Fatalf("%s: check: %+v, %v", what, r, err)
	} else {
		for _, q := range r.Queues {
			found += q.Put - q.Done
		}
	}
	got, err := readWith(s.t, opts)
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	at := int64(slices.IndexFunc(s.states, func(state []string) bool { return slices.Equal(state, got) }))
	if at < from || at > to {
		s.t.Fatalf("%s: after %d to %d operations there is what was after %d: %.300q", what, from, to, at, got)
	}
	if uint64(len(got)) != found {
		s.t.Fatalf("%s: check counts %d messages, there are %d", what, found, len(got))
	}
}

func journalFiles(t testing.TB, fs vfs.FS) (names []string) {
	t.Helper()
	all, err := fs.List("store")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if strings.HasPrefix(name, "journal-") {
			names = append(names, name)
		}
	}
	return names
}

func isWrite(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite }

// ordered tells, from what is done, whether any part of what was not synced may be kept by
// a crash. Of the list of tables the name could be kept and the directory entry lost, which
// no file system that orders its journal does, and Pebble relies on.
type ordered struct{ made, entered bool }

func (o *ordered) any(op errorfs.Op) bool {
	list := strings.Contains(op.Path, "/MANIFEST-")
	switch {
	case list && op.Kind == errorfs.OpCreate:
		o.made, o.entered = true, false
	case op.Path == "store" && isSync(op):
		o.entered = true
	case list && o.entered:
		o.made = false
	}
	return !o.made
}

func isJournal(op errorfs.Op) bool { return strings.Contains(op.Path, "journal-") }

func isTable(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".sst") }

func isSync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
}

// watched is a file system that tells of what is written to the journal, and where.
type watched struct {
	vfs.FS
	write func(name string, at int64, p []byte)
}

type watchedFile struct {
	vfs.File
	fs   *watched
	name string
	at   int64
}

func (fs *watched) file(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.Contains(name, "journal-") {
		return f, err
	}
	return &watchedFile{f, fs, name, 0}, nil
}

func (fs *watched) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return fs.file(name, f, err)
}

func (fs *watched) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, opts...)
	return fs.file(name, f, err)
}

func (f *watchedFile) Write(p []byte) (int, error) {
	f.fs.write(f.name, f.at, p)
	n, err := f.File.Write(p)
	f.at += int64(n)
	return n, err
}

// A crash before any write and any fsync, and in the middle of any write of the journal,
// while several files of it are filled, wait for tables, are written again and removed,
// and what was consumed is removed from tables and reclaimed, leaves the store as it was after some operation: with Always the last one that was
// acknowledged or the one under way, else none before the last that was synced.
func TestCrashAtAnyWrite(t *testing.T) {
	for _, mode := range []mcq.Sync{mcq.Always, mcq.Interval, mcq.Never} {
		t.Run(syncNames[mode], func(t *testing.T) {
			t.Parallel()
			crashAtAnyWrite(t, mode)
		})
	}
}

func crashAtAnyWrite(t *testing.T, mode mcq.Sync) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	type crash struct {
		what     string
		fs       *vfs.MemFS
		from, to int64
	}
	var (
		mu      sync.Mutex
		crashes []crash
		count   int
		disk    ordered
		reused  int
		removed int
		s       *tracked
		began   atomic.Bool
		hold    atomic.Pointer[chan struct{}] // tables are not begun until it is closed
	)
	rnd := rand.New(rand.NewPCG(seed, 0))
	mem := vfs.NewCrashableMem()
	at := func(what string, percent int) crash {
		count++
		c := crash{what: fmt.Sprintf("crash %d, %d %% before %s", count, percent, what), from: s.synced.Load()}
		if mode == mcq.Always {
			c.from = s.done.Load()
		}
		c.fs = crashClone(mem, percent, rnd)
		c.to = s.done.Load() + 1
		return c
	}
	torn := &watched{FS: mem, write: func(name string, offset int64, p []byte) {
		if !began.Load() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if !longRun && rnd.IntN(4) > 0 {
			return
		}
		c := at(fmt.Sprintf("the end of a write at %d of %s", offset, name), 100)
		f, err := c.fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Error(err)
			return
		}
		part := slices.Clone(p[:rnd.IntN(len(p))]) // or the rest, should the disk begin with that
		if rnd.IntN(2) == 0 {
			offset, part = offset+int64(len(part)), slices.Clone(p[len(part):])
		}
		_, err = f.WriteAt(part, offset)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			t.Error(err)
		}
		crashes = append(crashes, c)
	}}
	fs := errorfs.Wrap(torn, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !began.Load() || !isWrite(op) && op.Kind != errorfs.OpOpen {
			return nil
		}
		if gate := hold.Load(); gate != nil && op.Kind == errorfs.OpCreate && isTable(op) {
			<-*gate
		}
		mu.Lock()
		defer mu.Unlock()
		if isJournal(op) {
			switch op.Kind {
			case errorfs.OpOpen:
				reused++
			case errorfs.OpRemove:
				removed++
			}
		}
		percents := []int{0, 100, rnd.IntN(101)}
		if !disk.any(op) {
			percents = percents[:2]
		}
		if !longRun { // one of them, or none
			percents = percents[rnd.IntN(len(percents)):][:rnd.IntN(2)]
		}
		for _, percent := range percents {
			crashes = append(crashes, at(fmt.Sprintf("%v of %s", op.Kind, op.Path), percent))
		}
		return nil
	}))
	opts := mcq.WithFS(&mcq.Options{Sync: mode, SyncInterval: time.Hour, Logger: silent}, fs)
	b, err := mcq.Open("store", mcq.WithRemoval(mcq.WithJournal(opts, 2<<10), removedAt))
	if err != nil {
		t.Fatal(err)
	}
	s = track(t, b)
	// A clone is a store in memory: it is not kept for long.
	look := func() {
		mu.Lock()
		made := crashes
		crashes = nil
		mu.Unlock()
		for _, c := range made {
			s.check(c.what, c.fs, c.from, c.to)
		}
	}
	began.Store(true)
	steps, most := 90, 0
	if longRun {
		steps = 200
	}
	gate := make(chan struct{})
	for n := range steps {
		switch n {
		case 20:
			hold.Store(&gate)
		case 65:
			hold.Store(nil)
			close(gate)
		}
		if n >= 65 && n%3 == 0 {
			if err := mcq.Flush(b); err != nil {
				t.Fatal(err)
			}
		}
		size := n * 37 % 300
		if n%30 == 29 {
			size = 5000 // more than a file
		}
		s.put(size)
		if n%3 > 0 {
			s.ack()
		}
		if mode == mcq.Interval && n%7 == 6 {
			s.sync()
		}
		if n >= 65 && n%5 == 0 {
			if err := mcq.Reclaim(b); err != nil {
				t.Fatal(err)
			}
		}
		most = max(most, len(journalFiles(t, mem)))
		look()
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	began.Store(false)
	last := int64(len(s.states) - 1)
	s.check("closed", crashClone(mem, 0, rnd), last, last)
	if left := len(journalFiles(t, mem)); most <= 5 || left > 5 || reused == 0 || removed == 0 {
		t.Errorf("there were %d files of the journal, %d are left; %d were written again, %d removed", most, left, reused, removed)
	}
	look()
	t.Logf("%d crashes", count)
}

// advanced makes a store whose tables, once they have all, have more than what of the
// journal is on the disk: with that alone they would be of no state there ever was.
func advanced(t *testing.T, fs vfs.FS) *tracked {
	t.Helper()
	b, err := mcq.Open("store", mcq.WithFS(&mcq.Options{Sync: mcq.Interval, SyncInterval: time.Hour, Logger: silent}, fs))
	if err != nil {
		t.Fatal(err)
	}
	s := track(t, b)
	for range 10 {
		s.put(10)
	}
	s.ack()
	s.sync()
	for range 9 {
		s.ack()
	}
	s.put(10)
	return s
}

// A table is not on the disk before what it was made of is there in the journal.
func TestTablesFollowJournal(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := advanced(t, fs)
	defer s.b.Close()
	if err := mcq.Flush(s.b); err != nil {
		t.Fatal(err)
	}
	all := int64(len(s.states) - 1)
	s.check("crash", crashClone(fs, 0, rand.New(rand.NewPCG(1, 2))), all, all)
}

// mortal is a file system that a process may lose: nothing is written then, and what
// was not synced yet is still not.
type mortal struct {
	vfs.FS
	dead atomic.Bool
}

func newMortal(fs vfs.FS) *mortal {
	m := &mortal{}
	m.FS = errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if m.dead.Load() && isWrite(op) && op.Kind != errorfs.OpFileClose {
			return errorfs.ErrInjected
		}
		return nil
	}))
	return m
}

// A crash of the machine while a store is opened that was killed: the journal that
// Open reads is not on the disk yet.
func TestCrashAfterKill(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := int32(0); ; n++ {
		mem := vfs.NewCrashableMem()
		process := newMortal(mem)
		s := advanced(t, process)
		process.dead.Store(true)
		if err := s.b.Close(); err == nil {
			t.Fatal("closed without a disk")
		}
		var writes atomic.Int32
		var crashed *vfs.MemFS
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if isWrite(op) && writes.Add(1) == n+1 {
				crashed = crashClone(mem, 0, rnd)
			}
			return nil
		}))
		b, err := mcq.Open("store", mcq.WithFS(&mcq.Options{Logger: silent}, fs))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if crashed == nil {
			if n < 20 {
				t.Fatalf("opening and closing made %d writes", n)
			}
			return
		}
		s.check(fmt.Sprint("write ", n), crashed, s.synced.Load(), int64(len(s.states)-1))
	}
}

// When the journal cannot be synced, that is not tried again, no table is on the disk
// that has what may be lost, and the store says that it failed.
func TestJournalSyncFails(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var armed atomic.Bool
	var failed, tables atomic.Int32
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch {
		case !armed.Load():
		case isJournal(op) && isSync(op):
			if failed.Add(1) == 1 { // the next would say that all is well
				return errorfs.ErrInjected
			}
		case isTable(op) && op.Kind == errorfs.OpCreate:
			tables.Add(1)
		case isTable(op) && isSync(op):
			t.Error("a table was synced")
		}
		return nil
	}))
	s := advanced(t, fs)
	armed.Store(true)
	if err := mcq.StartFlush(s.b); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "tables to be tried twice", func() bool { return tables.Load() > 1 })
	if err := s.q.Put(t.Context(), mcq.Message{}); !errors.Is(err, mcq.ErrFailed) {
		t.Errorf("put: %v", err)
	}
	if err := s.b.Close(); !errors.Is(err, mcq.ErrFailed) {
		t.Errorf("close: %v", err)
	}
	if n := failed.Load(); n != 1 {
		t.Errorf("the journal was synced %d times", n)
	}
	s.check("crash", crashClone(mem, 0, rand.New(rand.NewPCG(1, 2))), s.synced.Load(), int64(len(s.states)-1))
}

// Close makes all durable, also where no table can be written.
func TestCloseWithoutTables(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var armed atomic.Bool
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && isTable(op) && isWrite(op) {
			return errorfs.ErrInjected
		}
		return nil
	}))
	s := advanced(t, fs)
	armed.Store(true)
	if err := s.b.Close(); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("close: %v", err)
	}
	all := int64(len(s.states) - 1)
	s.check("crash", crashClone(mem, 0, rand.New(rand.NewPCG(1, 2))), all, all)
}

// A file that cannot be removed is kept, and removed later.
func TestJournalFileStays(t *testing.T) {
	mem := vfs.NewCrashableMem()
	var hold, keep atomic.Bool
	var kept atomic.Int32
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch {
		case hold.Load() && isTable(op) && op.Kind == errorfs.OpCreate:
			return errorfs.ErrInjected
		case keep.Load() && isJournal(op) && op.Kind == errorfs.OpRemove:
			kept.Add(1)
			return errorfs.ErrInjected
		}
		return nil
	}))
	b := openBroker(t, "store", mcq.WithJournal(mcq.WithFS(&mcq.Options{Logger: silent}, fs), 1<<10))
	s := track(t, b)
	hold.Store(true)
	keep.Store(true)
	for len(journalFiles(t, mem)) < 9 {
		s.put(300)
	}
	hold.Store(false)
	if err := mcq.Flush(b); err != nil {
		t.Fatal(err)
	}
	more := func() {
		for range 10 {
			s.put(300)
			if err := mcq.Flush(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	more()
	if kept.Load() == 0 {
		t.Error("no file was to be removed")
	}
	keep.Store(false)
	more()
	if n := len(journalFiles(t, mem)); n > 5 {
		t.Errorf("%d files are left", n)
	}
	all := int64(len(s.states) - 1)
	s.check("crash", crashClone(mem, 0, rand.New(rand.NewPCG(1, 2))), all, all)
}
