package mcq_test

import (
	"errors"
	"fmt"
	"io"
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

// history is what clients were told about one queue.
type history struct {
	mu     sync.Mutex
	clock  int
	at     map[string]int  // when put was called
	until  map[string]int  // when the acknowledgement was acknowledged
	stored map[string]bool // put was acknowledged
	sent   map[string]bool // put was called
	acked  map[string]bool // the acknowledgement was acknowledged
	maybe  map[string]bool // Ack or Take was called
}

func newHistory() *history {
	return &history{at: make(map[string]int), until: make(map[string]int), stored: make(map[string]bool), sent: make(map[string]bool), acked: make(map[string]bool), maybe: make(map[string]bool)}
}

func (h *history) mark(set map[string]bool, bodies ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	for _, body := range bodies {
		set[body] = true
		if _, ok := h.at[body]; !ok {
			h.at[body] = h.clock
		}
		if h.acked[body] && h.until[body] == 0 {
			h.until[body] = h.clock
		}
	}
}

// snapshot copies h, so that it says what had been promised at this moment.
func (h *history) snapshot() (stored, acked []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for body := range h.stored {
		stored = append(stored, body)
	}
	for body := range h.acked {
		acked = append(acked, body)
	}
	return stored, acked
}

// work puts, leases, takes, acknowledges and gives back until it fails or stop is closed.
func (h *history) work(t *testing.T, q *mcq.Queue, producers int, stop chan struct{}) {
	var wg sync.WaitGroup
	ctx := t.Context()
	running := func() bool {
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
	for p := range producers {
		wg.Go(func() {
			for n := 0; running(); n++ {
				msgs := make([]mcq.Message, 1+n%3)
				for i := range msgs {
					msgs[i].Body = fmt.Appendf(nil, "%d/%d/%d %0*d", p, n, i, n%100, 0)
				}
				h.mark(h.sent, bodies(msgs)...)
				if q.Put(ctx, msgs...) != nil {
					return
				}
				h.mark(h.stored, bodies(msgs)...)
			}
		})
	}
	for c := range 3 {
		wg.Go(func() {
			for n := 0; running(); n++ {
				msgs, err := q.Lease(ctx, 1+n%7, mcq.LeaseOptions{Wait: time.Millisecond})
				if err != nil {
					return
				}
				if c == 0 && n%2 == 0 {
					q.Nack(ctx, ids(msgs)...)
					continue
				}
				h.mark(h.maybe, bodies(msgs)...)
				if len(msgs) > 0 && q.Ack(ctx, ids(msgs)...) != nil {
					return
				}
				h.mark(h.acked, bodies(msgs)...)
			}
		})
	}
	wg.Wait()
}

// check opens the store in fs and compares what is in it with what had been
// promised; strict is false if the promise was not Always.
func (h *history) check(t *testing.T, fs vfs.FS, stored, acked []string, strict bool) {
	t.Helper()
	b, err := mcq.Open("store", mcq.WithFS(&mcq.Options{Logger: silent}, fs))
	if err != nil {
		t.Fatalf("open after the crash: %v", err)
	}
	defer b.Close()
	q := queue(t, b, "q")
	backlog := q.Stats().Backlog()
	left := make(map[string]bool)
	last := make(map[int][2]int)
	for {
		msgs := lease(t, q, 1000, mcq.LeaseOptions{})
		if len(msgs) == 0 {
			break
		}
		for _, m := range msgs {
			body := string(m.Body)
			var p, n, i int
			if _, err := fmt.Sscanf(body, "%d/%d/%d", &p, &n, &i); err != nil || !h.sent[body] {
				t.Fatalf("message %d is %q, which nobody sent", m.ID, body)
			}
			if at, ok := last[p]; ok && (n < at[0] || n == at[0] && i <= at[1]) {
				t.Errorf("producer %d: %d/%d comes after %v", p, n, i, at)
			}
			last[p] = [2]int{n, i}
			left[body] = true
		}
	}
	if uint64(len(left)) != backlog {
		t.Errorf("the queue counts %d messages and has %d", backlog, len(left))
	}
	h.checkOrder(t, left)
	if !strict {
		return
	}
	for _, body := range stored {
		if !left[body] && !h.maybe[body] {
			t.Errorf("%q was stored and is lost", body)
		}
	}
	for _, body := range acked {
		if left[body] {
			t.Errorf("%q was acknowledged and is back", body)
		}
	}
}

// checkOrder sees that what is left is of one moment: who was lost was put after all that
// is there by its producer, and if an acknowledgement was lost then so was all that was
// put after it.
func (h *history) checkOrder(t *testing.T, left map[string]bool) {
	t.Helper()
	last, lasts := 0, make(map[string]int) // when the last was put of what is left
	for body := range left {
		p, _, _ := strings.Cut(body, "/")
		last, lasts[p] = max(last, h.at[body]), max(lasts[p], h.at[body])
	}
	for body := range h.sent {
		p, _, _ := strings.Cut(body, "/")
		if !left[body] && !h.maybe[body] && h.at[body] < lasts[p] {
			t.Errorf("%q is lost, and what its producer put later is there", body)
		}
	}
	for body, acked := range h.until {
		if left[body] && acked < last {
			t.Errorf("%q was acknowledged and is back, with what was put after that", body)
		}
	}
}

// crashClone is what a crash of the machine would leave of fs: percent of what
// was not synced yet, chosen at random.
func crashClone(fs *vfs.MemFS, percent int, rnd *rand.Rand) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rnd})
}

// A crash of the machine at any moment, with none, some or all of what was not
// synced on disk, loses nothing that was promised; nor does a second crash
// while the first is recovered from.
func TestMachineCrash(t *testing.T) {
	for _, sync := range []mcq.Sync{mcq.Always, mcq.Interval, mcq.Never} {
		t.Run(syncNames[sync], func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 0))
			fs := vfs.NewCrashableMem()
			opts := mcq.WithFS(&mcq.Options{Sync: sync, SyncInterval: 2 * time.Millisecond, Memory: 2000, Logger: silent}, fs)
			b := openBroker(t, "store", mcq.WithJournal(opts, 20<<10)) // several are filled, and written again
			q := queue(t, b, "q")
			h := newHistory()
			stop, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				h.work(t, q, 4, stop)
			}()
			type clone struct {
				fs            *vfs.MemFS
				stored, acked []string
			}
			var clones []clone
			for i := range 12 {
				want := (i + 1) * 40
				waitFor(t, "messages", func() bool {
					h.mu.Lock()
					defer h.mu.Unlock()
					return len(h.stored) > want
				})
				stored, acked := h.snapshot()
				clones = append(clones, clone{crashClone(fs, []int{0, rnd.IntN(101), 100}[i%3], rnd), stored, acked})
			}
			close(stop)
			<-done
			for _, c := range clones {
				recovering, err := mcq.Open("store", mcq.WithFS(&mcq.Options{Logger: silent}, c.fs))
				if err != nil {
					t.Fatal(err)
				}
				again := crashClone(c.fs, rnd.IntN(101), rnd)
				if err := recovering.Close(); err != nil {
					t.Fatal(err)
				}
				h.check(t, again, c.stored, c.acked, sync == mcq.Always)
			}
		})
	}
}

// A crash while the store is opened, at every write, leaves it as it was. (A
// random part of what was not synced is not tried here: that could keep the name
// of a file and lose its directory entry, which no file system that orders its
// journal does, and Pebble relies on.)
func TestCrashWhileOpening(t *testing.T) {
	fs := vfs.NewCrashableMem()
	rnd := rand.New(rand.NewPCG(1, 2))
	b, err := mcq.Open("store", mcq.WithFS(nil, fs))
	if err != nil {
		t.Fatal(err)
	}
	h := newHistory()
	for i := range 50 {
		body := fmt.Sprintf("0/%d/0", i)
		h.sent[body] = true
		put(t, queue(t, b, "q"), body)
		h.stored[body] = true
	}
	stored, acked := h.snapshot()
	before := crashClone(fs, 0, rnd)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		victim := crashClone(before, 100, rnd)
		var writes atomic.Int32
		var dead *vfs.MemFS
		wrapped := errorfs.Wrap(victim, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && int(writes.Add(1)) == n+1 {
				dead = crashClone(victim, 100*(n%2), rnd)
			}
			return nil
		}))
		b, err := mcq.Open("store", mcq.WithFS(&mcq.Options{Logger: silent}, wrapped))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if dead == nil {
			if n < 5 {
				t.Fatalf("opening and closing made %d writes", n)
			}
			return
		}
		h.check(t, dead, stored, acked, true)
	}
}

// A failed write or fsync of the log fails all that was not acknowledged, and
// all that comes later, loudly; what had been acknowledged is there when the
// store is opened again.
func TestLogFails(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSync} {
		for _, after := range []int{0, 1, 7} {
			t.Run(fmt.Sprintf("op=%v/after=%d", kind, after), func(t *testing.T) {
				mem := vfs.NewCrashableMem()
				var armed atomic.Bool
				var left atomic.Int32
				left.Store(int32(after))
				fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
					hit := op.Kind == kind || kind == errorfs.OpFileSync && (op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo)
					if armed.Load() && hit && strings.HasSuffix(op.Path, ".log") && left.Add(-1) < 0 {
						return errorfs.ErrInjected
					}
					return nil
				}))
				var log safeBuffer
				b, err := mcq.Open("store", mcq.WithFS(&mcq.Options{Logger: log.logger()}, fs))
				if err != nil {
					t.Fatal(err)
				}
				q := queue(t, b, "q")
				put(t, q, "0/0/0", "0/1/0")
				held := lease(t, q, 1, mcq.LeaseOptions{})
				h := newHistory()
				h.mark(h.sent, "0/0/0", "0/1/0")
				h.mark(h.stored, "0/0/0", "0/1/0")
				armed.Store(true)
				for n := 2; ; n++ {
					body := fmt.Sprintf("0/%d/0", n)
					h.mark(h.sent, body)
					err := q.Put(t.Context(), mcq.Message{Body: []byte(body)})
					if errors.Is(err, mcq.ErrFailed) {
						break
					}
					if err != nil || n > 100 {
						t.Fatalf("put %d: %v", n, err)
					}
					h.mark(h.stored, body)
				}
				armed.Store(false) // the disk is well again, but what it had is in doubt
				_, takeErr := q.Take(t.Context())
				_, leaseErr := q.Lease(t.Context(), 1, mcq.LeaseOptions{})
				_, dropErr := b.Drop("q")
				_, queueErr := b.Queue("new")
				for what, err := range map[string]error{
					"put": q.Put(t.Context(), mcq.Message{}), "take": takeErr, "lease": leaseErr, "ack": q.Ack(t.Context(), held[0].ID), "drop": dropErr, "queue": queueErr,
				} {
					if err == nil || !errors.Is(err, mcq.ErrFailed) && !errors.Is(err, mcq.ErrDropped) {
						t.Errorf("%s after the failure: %v", what, err)
					}
				}
				if !strings.Contains(log.String(), "store failed") {
					t.Errorf("the log says %q", log.String())
				}
				if err := b.Close(); !errors.Is(err, mcq.ErrFailed) {
					t.Errorf("close: %v", err)
				}
				stored, acked := h.snapshot()
				h.check(t, mem.CrashClone(vfs.CrashCloneCfg{}), stored, acked, true)
			})
		}
	}
}

// Whatever fails while a store is opened, Open says so, and works once it does
// not. (Failures of the list of tables are left out: they end the process.)
func TestOpenFails(t *testing.T) {
	failed := 0
	rnd := rand.New(rand.NewPCG(5, 6))
	for n := int32(0); ; n++ {
		mem := vfs.NewCrashableMem()
		var writes atomic.Int32
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			list := op.Path == "store" || strings.Contains(strings.ToLower(op.Path), "manifest")
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && !list && writes.Add(1) == n+1 {
				return errorfs.ErrInjected
			}
			return nil
		}))
		b, err := mcq.Open("store", mcq.WithFS(&mcq.Options{Logger: silent}, fs))
		opening := writes.Swap(1 << 20)
		if err != nil {
			failed++
			if !strings.Contains(err.Error(), "mcq: open store: ") {
				t.Errorf("write %d: %v", n, err)
			}
		} else if err := b.Close(); err != nil && !errors.Is(err, errorfs.ErrInjected) {
			t.Errorf("write %d, close: %v", n, err)
		}
		if opening <= n {
			break
		}
		// Locks do not survive, as if the process had ended.
		after := openBroker(t, "store", mcq.WithFS(&mcq.Options{Logger: silent}, crashClone(mem, 100, rnd)))
		put(t, queue(t, after, "q"), "works")
	}
	if failed < 5 {
		t.Errorf("Open noticed %d failures", failed)
	}
}

// TestDamagedFiles flips bits in, and cuts, every file of a store. The store
// refuses to open, or to read, and says what is wrong, or it gives exactly what
// was put in. Only damage of the last blocks of the log of a store that was not
// closed cannot be told from a write that a crash cut short; then what was
// written after that is missing.
func TestDamagedFiles(t *testing.T) {
	const n = 800
	fs := vfs.NewCrashableMem()
	b, err := mcq.Open("store", mcq.WithFS(nil, fs))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range n {
		body := fmt.Sprintf("message %d %0300d", i, i)
		want = append(want, body)
		put(t, queue(t, b, "q"), body)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	crashed := crashClone(fs, 0, rnd)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for state, store := range map[string]*vfs.MemFS{"closed": fs, "crashed": crashed} {
		refused := 0
		files, err := store.List("store")
		if err != nil || len(files) < 4 {
			t.Fatalf("files %q, %v", files, err)
		}
		for _, file := range files {
			path := "store/" + file
			data := readFile(t, store, path)
			for i := range 16 {
				if len(data) == 0 {
					break
				}
				at := rnd.IntN(len(data))
				damaged, verb := slices.Clone(data), "flipped"
				if damaged[at] ^= 1 << rnd.IntN(8); i%4 == 0 {
					damaged, verb = data[:at], "cut"
				}
				victim := crashClone(store, 100, rnd)
				writeFile(t, victim, path, damaged)
				got, err := readAll(t, victim)
				what := fmt.Sprintf("%s store, %s %s at %d of %d", state, file, verb, at, len(data))
				if err != nil {
					refused++
					if !strings.Contains(err.Error(), "mcq: ") || len(err.Error()) < 30 {
						t.Errorf("%s: %v says too little", what, err)
					}
					continue
				}
				tail := state == "crashed" && strings.HasSuffix(file, ".log") && (verb == "cut" || len(got) == n-1)
				if !slices.Equal(got, want) && !(tail && isPrefix(got, want)) {
					t.Errorf("%s: %d of %d messages and no error", what, len(got), len(want))
				}
			}
		}
		if refused < 10 {
			t.Errorf("%s store: only %d of the damages were noticed", state, refused)
		}
	}
}

// A log that ends in the middle of a write, with whatever the disk had there
// before, is read up to the last whole write; the cut is tried at every byte of
// the last writes with HEDDLE_TEST_LONG=1, and else at some.
func TestTornTail(t *testing.T) {
	const n = 40
	fs := vfs.NewCrashableMem()
	b := openBroker(t, "store", mcq.WithFS(nil, fs))
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("message %d", i))
		put(t, queue(t, b, "q"), want[i])
	}
	rnd := rand.New(rand.NewPCG(8, 9))
	crashed := crashClone(fs, 0, rnd)
	files, err := crashed.List("store")
	if err != nil {
		t.Fatal(err)
	}
	path, data := "", []byte(nil)
	for _, file := range files { // the log that has the last message
		if d := readFile(t, crashed, "store/"+file); strings.HasSuffix(file, ".log") && strings.Contains(string(d), want[n-1]) {
			path, data = "store/"+file, d
		}
	}
	if path == "" {
		t.Fatalf("the last message is in none of %q", files)
	}
	end := strings.LastIndex(string(data), want[n-1]) + len(want[n-1])
	begin := strings.LastIndex(string(data), want[n-5])
	step, most := 23, 0
	if longRun {
		step = 1
	}
	for cut := end - rnd.IntN(step); cut > begin; cut -= step {
		flipped, garbage := slices.Clone(data), append([]byte(nil), data[:cut]...)
		flipped[cut-1] ^= 1 << rnd.IntN(8)
		for range 200 {
			garbage = append(garbage, byte(rnd.Uint32()))
		}
		// What an older write of a log that is used again has left there.
		stale := append(append([]byte(nil), data[:cut]...), data[:200]...)
		for what, torn := range map[string][]byte{"cut": data[:cut], "zeros": append(data[:cut:cut], make([]byte, 200)...), "garbage": garbage, "stale": stale, "flipped": flipped} {
			victim := crashClone(crashed, 100, rnd)
			writeFile(t, victim, path, torn)
			got, err := readAll(t, victim)
			if what == "flipped" && len(got) < n-1 { // others follow, so that it cannot be unfinished
				if err == nil || !strings.Contains(err.Error(), "damaged file "+path) {
					t.Fatalf("flipped at %d of %d: %d of %d messages, %v", cut, end, len(got), n, err)
				}
				continue
			}
			if err != nil || !isPrefix(got, want) || len(got) < n-6 {
				t.Fatalf("%s at %d of %d: %d of %d messages, %v", what, cut, end, len(got), n, err)
			}
			most = max(most, len(got))
		}
	}
	if most < n-2 {
		t.Errorf("%d of %d messages were read at most", most, n)
	}
}

// A store without its journal is refused, closed or not: nobody knows what was in it.
func TestJournalMissing(t *testing.T) {
	fs := vfs.NewCrashableMem()
	opts := func(fs vfs.FS) *mcq.Options { return mcq.WithFS(&mcq.Options{Logger: silent}, fs) }
	b := openBroker(t, "store", opts(fs))
	crashedNew := crashClone(fs, 0, rand.New(rand.NewPCG(1, 2)))
	put(t, queue(t, b, "q"), "message")
	crashed := crashClone(fs, 0, rand.New(rand.NewPCG(1, 2)))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for what, store := range map[string]*vfs.MemFS{"closed": fs, "crashed": crashed, "new and crashed": crashedNew} {
		for verb, do := range map[string]func(name string) error{
			"emptied": func(name string) error { writeFile(t, store, name, nil); return nil },
			"removed": store.Remove,
		} {
			if err := do("store/journal-1.log"); err != nil {
				t.Fatal(err)
			}
			_, err := readAll(t, store)
			_, checkErr := mcq.Check("store", opts(store))
			for who, err := range map[string]error{"open": err, "check": checkErr} {
				if err == nil || !strings.Contains(err.Error(), "missing journal") {
					t.Errorf("%s store, journal %s: %s says %v", what, verb, who, err)
				}
			}
		}
	}
}

func readFile(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t testing.TB, fs vfs.FS, path string, data []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(slices.Clone(data)); err != nil { // Write may change it
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func isPrefix(got, want []string) bool {
	return len(got) <= len(want) && slices.Equal(got, want[:len(got)])
}

// readAll opens the store in fs and reads queue q.
func readAll(t *testing.T, fs vfs.FS) (got []string, err error) {
	return readWith(t, mcq.WithFS(&mcq.Options{Logger: silent}, fs))
}

func readWith(t *testing.T, opts *mcq.Options) (got []string, err error) {
	b, err := mcq.Open("store", opts)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	q, err := b.Queue("q")
	if err != nil {
		return nil, err
	}
	for {
		msgs, err := q.Lease(t.Context(), 100, mcq.LeaseOptions{})
		if err != nil || len(msgs) == 0 {
			return got, err
		}
		got = append(got, bodies(msgs)...)
	}
}

// A crash after any step finds exactly what was acknowledged, of all that a
// queue can do: keys, delays, subscribers, rejects into the dead letters, leases.
func TestCrashBetweenSteps(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	options := func(fs vfs.FS) *mcq.Options {
		return mcq.WithFS(&mcq.Options{Logger: silent, Queues: map[string]mcq.QueueOptions{"q": {DeadLetters: "dead"}}}, fs)
	}
	fs := vfs.NewCrashableMem()
	b, err := mcq.Open("store", options(fs))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { b.Close() }()
	// What there should be, by queue: bodies that wait, and how many are delayed.
	want := map[string][]string{"q": nil, "q+s": nil, "dead": nil}
	delayed := 0
	keys := make(map[string]uint64)
	for name := range want {
		queue(t, b, name)
	}
	remove := func(name, body string) {
		want[name] = slices.DeleteFunc(want[name], func(s string) bool { return s == body })
	}
	for step := range 150 {
		q := queue(t, b, "q")
		m := mcq.Message{Body: fmt.Appendf(nil, "%d", step)}
		switch op := rnd.IntN(8); op {
		case 0, 1, 2: // with a key, now and then one that was there
			m.Key = fmt.Sprint("k", rnd.IntN(step+1))
			one := []mcq.Message{m}
			if err := q.Put(t.Context(), one...); err != nil {
				t.Fatal(err)
			}
			if id, ok := keys[m.Key]; ok {
				if one[0].ID != id {
					t.Fatalf("step %d: key %s has id %d, it had %d", step, m.Key, one[0].ID, id)
				}
				break
			}
			keys[m.Key] = one[0].ID
			want["q"], want["q+s"] = append(want["q"], string(m.Body)), append(want["q+s"], string(m.Body))
		case 3:
			m.Delay = time.Hour
			if err := q.Put(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			delayed++
		case 4: // handed out, and nothing becomes of it
			lease(t, q, 1, mcq.LeaseOptions{})
		default:
			name := []string{"q", "q+s", "q"}[op-5]
			from := queue(t, b, name)
			msgs := lease(t, from, 1+rnd.IntN(3), mcq.LeaseOptions{})
			for i, m := range msgs {
				if op == 7 {
					err = from.Reject(t.Context(), "no", m.Receipt)
					want["dead"] = append(want["dead"], string(m.Body))
				} else if i%2 == 0 {
					err = from.Ack(t.Context(), m.Receipt)
				} else {
					if err := from.Nack(t.Context(), m.Receipt); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				remove(name, string(m.Body))
			}
		}
		if step%5 > 0 {
			continue
		}
		crashed := crashClone(fs, []int{0, rnd.IntN(101), 100}[step%3], rnd)
		after, err := mcq.Open("store", options(crashed))
		if err != nil {
			t.Fatalf("step %d: open after the crash: %v", step, err)
		}
		for name, list := range want {
			q := queue(t, after, name)
			var got []string
			for msgs := lease(t, q, 1000, mcq.LeaseOptions{}); len(msgs) > 0; msgs = lease(t, q, 1000, mcq.LeaseOptions{}) {
				got = append(got, bodies(msgs)...)
			}
			s := q.Stats()
			late := delayed
			if name == "dead" {
				late = 0
			}
			if !slices.Equal(got, list) || s.Delayed != late || s.Backlog() != uint64(len(list)+late) {
				t.Fatalf("step %d, %s: %q and %d delayed, backlog %d; want %q and %d", step, name, got, s.Delayed, s.Backlog(), list, late)
			}
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
