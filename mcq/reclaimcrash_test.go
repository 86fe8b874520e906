package mcq_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/heddle-go/heddle/mcq"
)

// several are the queues of a store, each state of which is known: after k operations,
// which one goroutine does, there was states[k].
type several struct {
	t      *testing.T
	opts   mcq.Options
	b      *mcq.Broker
	left   map[string][]string // by queue, what is in it; what waits begins with a tilde
	keys   map[string]bool
	bodies int

	mu           sync.Mutex
	states       []string
	done, synced int
}

// then notes the state that the operation that comes leaves.
func (s *several) then() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states = append(s.states, stateOf(s.left))
}

func (s *several) did(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = len(s.states) - 1
}

func (s *several) durable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = s.done
}

func stateOf(left map[string][]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(left)) {
		fmt.Fprintf(&b, "%s %q\n", name, left[name])
	}
	return b.String()
}

func (s *several) open(fs vfs.FS) {
	b, err := mcq.Open("store", mcq.WithFS(&s.opts, fs))
	if err != nil {
		s.t.Fatal(err)
	}
	s.b = b
}

// make makes a queue, its owner is there.
func (s *several) make(name string) {
	if _, ok := s.left[name]; ok {
		return
	}
	s.left[name] = nil
	s.then()
	_, err := s.b.Queue(name)
	s.did(err)
}

func (s *several) drop(name string) {
	maps.DeleteFunc(s.left, func(n string, _ []string) bool { return n == name || strings.HasPrefix(n, name+"+") })
	maps.DeleteFunc(s.keys, func(key string, _ bool) bool { return strings.HasPrefix(key, name+" ") })
	s.then()
	_, err := s.b.Drop(name)
	s.did(err)
}

// put puts some messages at once; some of them wait, or have been put before.
func (s *several) put(name string, n int, rnd *rand.Rand) {
	if _, ok := s.left[name]; !ok {
		return
	}
	var msgs []mcq.Message
	for range n {
		s.bodies++
		m := mcq.Message{Body: fmt.Appendf(nil, "%d %0*d", s.bodies, rnd.IntN(200), 0)}
		body := string(m.Body)
		switch rnd.IntN(8) {
		case 0:
			m.Delay, body = time.Hour, "~"
		case 1:
			m.Key = fmt.Sprint(name, " ", rnd.IntN(10))
		}
		if m.Key == "" || !s.keys[m.Key] {
			for _, to := range []string{name, name + "+s", name + "+late"} {
				if list, ok := s.left[to]; ok && to != "fan" {
					s.left[to] = append(slices.Clone(list), body)
				}
			}
		}
		if m.Key != "" {
			s.keys[m.Key] = true
		}
		msgs = append(msgs, m)
	}
	s.then()
	s.did(queue(s.t, s.b, name).Put(s.t.Context(), msgs...))
}

// take takes up to n of the messages that do not wait.
func (s *several) take(name string, n int) {
	list, ok := s.left[name]
	if !ok {
		return
	}
	q := queue(s.t, s.b, name)
	msgs := lease(s.t, q, n, mcq.LeaseOptions{Duration: time.Hour})
	if len(msgs) == 0 {
		return
	}
	for _, m := range msgs {
		i := slices.IndexFunc(list, func(body string) bool { return body != "~" })
		if i < 0 || list[i] != string(m.Body) {
			s.t.Fatalf("%s: message %d is %.20q, there should be %q", name, m.ID, m.Body, list)
		}
		list = slices.Delete(slices.Clone(list), i, i+1)
	}
	s.left[name] = list
	s.then()
	s.did(q.Ack(s.t.Context(), ids(msgs)...))
}

func (s *several) purge(name string) {
	if _, ok := s.left[name]; !ok {
		return
	}
	s.left[name] = nil
	s.then()
	_, err := queue(s.t, s.b, name).Purge(s.t.Context())
	s.did(err)
}

// check opens what a crash has left, and sees that it is one of the states.
func (s *several) check(what string, fs vfs.FS, from, to int) {
	s.t.Helper()
	opts := mcq.WithFS(&s.opts, fs)
	if r, err := mcq.Check("store", opts); err != nil || len(r.Damage) > 0 {
		s.t.Fatalf("%s: check: %+v, %v", what, r, err)
	}
	b, err := mcq.Open("store", opts)
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	defer b.Close()
	if err := mcq.Reclaim(b); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	left := make(map[string][]string)
	for _, name := range b.Queues() {
		q := queue(s.t, b, name)
		got := bodies(lease(s.t, q, 10_000, mcq.LeaseOptions{Duration: time.Hour}))
		left[name] = append(slices.Repeat([]string{"~"}, q.Stats().Delayed), got...)
	}
	sorted := func(state string) string { // those that wait are not in their place
		lines := strings.Split(state, "\n")
		for i, line := range lines {
			n := strings.Count(line, ` "~"`) + strings.Count(line, `["~"`)
			line = strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(line, ` "~"`, ""), `["~" `, "["), `["~"`, "[")
			lines[i] = fmt.Sprint(strings.ReplaceAll(line, "[ ", "["), n)
		}
		return strings.Join(lines, "\n")
	}
	got := sorted(stateOf(left))
	for _, state := range s.states[from : min(to, len(s.states)-1)+1] {
		if sorted(state) == got {
			return
		}
	}
	s.t.Fatalf("%s: after %d to %d operations there is\n%s, not\n%s", what, from, to, got, sorted(s.states[from]))
}

// Queues, subscribers that lag, copies for subscribers only and queues that are dropped
// and made anew, with the number of another, are what they were after some operation when
// the machine crashes while what was consumed is cut, removed and reclaimed.
func TestCrashWhileReclaiming(t *testing.T) {
	for _, mode := range []mcq.Sync{mcq.Always, mcq.Interval, mcq.Never} {
		t.Run(syncNames[mode], func(t *testing.T) {
			t.Parallel()
			crashWhileReclaiming(t, mode)
		})
	}
}

func crashWhileReclaiming(t *testing.T, mode mcq.Sync) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	type crash struct {
		what     string
		fs       *vfs.MemFS
		from, to int
	}
	var (
		mu      sync.Mutex
		crashes []crash
		count   int
		began   bool
		opening bool
		disk    ordered
		gone    int // tables
	)
	rnd, crashRnd := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 1))
	s := &several{t: t, left: make(map[string][]string), keys: make(map[string]bool), states: []string{""}}
	opts := mcq.Options{Sync: mode, SyncInterval: time.Hour, Logger: silent, Queue: mcq.QueueOptions{DedupeWindow: time.Hour}}
	opts.Queues = map[string]mcq.QueueOptions{"fan": {FanOut: true, DedupeWindow: time.Hour}}
	s.opts = *mcq.WithRemoval(mcq.WithJournal(&opts, 4<<10), removedAt)
	mem := vfs.NewCrashableMem()
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !isWrite(op) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if isTable(op) && op.Kind == errorfs.OpRemove {
			gone++
		}
		percents := []int{0, 100, crashRnd.IntN(101)}
		if !disk.any(op) || opening { // see TestCrashWhileOpening
			percents = percents[:2]
		}
		if !longRun { // of few writes, and more often of those of the list of tables
			if crashRnd.IntN(12) > 0 && (!strings.Contains(op.Path, "MANIFEST") || crashRnd.IntN(3) > 0) {
				return nil
			}
			percents = percents[crashRnd.IntN(len(percents)):][:1]
		}
		if !began {
			return nil
		}
		for _, percent := range percents {
			s.mu.Lock()
			c := crash{what: fmt.Sprintf("crash %d, %d %% before %v of %s", count, percent, op.Kind, op.Path), from: s.synced}
			if mode == mcq.Always {
				c.from = s.done
			}
			s.mu.Unlock()
			c.fs = crashClone(mem, percent, crashRnd)
			s.mu.Lock()
			c.to = s.done + 1
			s.mu.Unlock()
			count++
			crashes = append(crashes, c)
		}
		return nil
	}))
	look := func() {
		mu.Lock()
		made := crashes
		crashes = nil
		mu.Unlock()
		for _, c := range made {
			s.check(c.what, c.fs, c.from, c.to)
		}
	}
	reopen := func(begin bool) {
		mu.Lock()
		defer mu.Unlock()
		opening = begin
	}
	s.open(fs)
	s.make("a")
	if err := mcq.SyncJournal(s.b); err != nil {
		t.Fatal(err)
	}
	s.durable()
	mu.Lock()
	began = true
	mu.Unlock()
	names := []string{"a", "a+s", "fan", "fan+s", "fan+late", "temp", "temp+s", "z"}
	steps := 150
	if longRun {
		steps = 1500
	}
	for n := range steps {
		name := names[rnd.IntN(len(names))]
		owner, _, _ := strings.Cut(name, "+")
		switch k := rnd.IntN(20); {
		case k < 7:
			s.put(owner, 1+rnd.IntN(5), rnd)
		case k < 14:
			s.take(name, 1+rnd.IntN(12))
		case k == 14 && owner != "a":
			s.drop(name)
		case k == 15:
			s.purge(name)
		case k == 16:
			s.did(mcq.Flush(s.b))
			s.durable()
		case k == 17 && rnd.IntN(3) == 0:
			s.did(s.b.Close())
			s.durable()
			reopen(true)
			s.open(fs)
			reopen(false)
		default:
			s.make(owner)
			s.make(name)
		}
		if n%6 == 5 {
			s.did(mcq.Reclaim(s.b))
		}
		if mode == mcq.Interval && n%7 == 6 {
			s.did(mcq.SyncJournal(s.b))
			s.durable()
		}
		look()
	}
	if err := s.b.Close(); err != nil {
		t.Fatal(err)
	}
	look()
	last := len(s.states) - 1
	s.check("closed", crashClone(mem, 0, crashRnd), last, last)
	if gone == 0 || count < 10 {
		t.Errorf("%d tables were removed, %d crashes tried", gone, count)
	}
	t.Logf("%d tables were removed, %d crashes tried", gone, count)
}
