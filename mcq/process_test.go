package mcq_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

// childEnv makes the test binary play another process.
const childEnv = "MCQ_TEST_CHILD"

// poisonRole is in front of a directory for a child that consumes its store.
const poisonRole = "poisoned:"

// unsyncedRole is in front of a directory for a child that serves with Sync Never.
const unsyncedRole = "unsynced:"

// child serves the store in the directory role on a loopback port, which it
// prints, until its standard input ends.
func child(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	if dir, ok := strings.CutPrefix(dir, poisonRole); ok {
		fail(poisoned(dir))
		return
	}
	opts := new(mcq.Options)
	if unsynced, ok := strings.CutPrefix(dir, unsyncedRole); ok {
		dir, opts.Sync = unsynced, mcq.Never
	}
	b, err := mcq.Open(dir, opts)
	fail(err)
	s, err := mcq.NewServer(b, nil)
	fail(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	go s.Serve(ln)
	fmt.Println("serving", ln.Addr())
	io.Copy(io.Discard, os.Stdin)
	s.Close()
	fail(b.Close())
}

type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

func startProcess(t *testing.T, dir string) *process {
	t.Helper()
	return startCommand(t, dir, exec.Command(os.Args[0], "-test.run=^$"))
}

// startCommand starts a command that is this binary in the end.
func startCommand(t *testing.T, dir string, cmd *exec.Cmd) *process {
	t.Helper()
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, stdin: stdin}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "serving ")
	if !ok {
		t.Fatalf("the process said %q, %v", line, err)
	}
	p.addr = addr
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.stdin.Close()
	p.cmd.Wait()
}

func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, dir)
	if _, err := mcq.Open(dir, nil); !errors.Is(err, mcq.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("open while another process has it: %v", err)
	}
	put(t, dial(t, p.addr).Queue("q"), "a")
	p.kill()
	b := openBroker(t, dir, nil)
	expect(t, "after the other process", bodies(lease(t, queue(t, b, "q"), 9, mcq.LeaseOptions{})), "a")
	if _, err := mcq.Open(dir, nil); !errors.Is(err, mcq.ErrLocked) {
		t.Fatalf("open twice in one process: %v", err)
	}
	fs := vfs.NewMem()
	openBroker(t, "store", mcq.WithFS(nil, fs))
	if _, err := mcq.Open("store", mcq.WithFS(nil, fs)); err == nil {
		t.Fatal("opened twice in one process, in memory")
	}
}

// With Sync Never, too, a process that is killed loses nothing.
func TestKillUnsynced(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, unsyncedRole+dir)
	q := dial(t, p.addr).Queue("q")
	var want []string
	for i := range 300 {
		want = append(want, fmt.Sprintf("message %d %01000d", i, i))
		put(t, q, want[i])
	}
	p.kill()
	b := openBroker(t, dir, nil)
	expect(t, "after the kill", bodies(lease(t, queue(t, b, "q"), len(want)+1, mcq.LeaseOptions{})), want...)
}

// killRounds is how often the server is killed: 200 times with HEDDLE_TEST_LONG=1.
func killRounds() int {
	if longRun {
		return 200
	}
	return 10
}

// A server that is killed at any moment under 50 writers and 50 readers, and
// now and then stopped for a while before, loses no message that it said was
// stored, brings back none that it said was deleted, keeps each producer's
// order, and counts right.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	const producers, consumers = 50, 50
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	type sent struct{ producer, n int }
	var mu sync.Mutex
	stored := make(map[sent]bool)   // said to be stored
	possible := make(map[sent]bool) // sent, outcome unknown
	acked := make(map[sent]bool)    // said to be deleted
	maybe := make(map[sent]bool)    // deletion sent, outcome unknown
	next := make([]int, producers)
	parse := func(m mcq.Message) (s sent) {
		if _, err := fmt.Sscanf(string(m.Body), "%d/%d ", &s.producer, &s.n); err != nil {
			t.Errorf("damaged message %q", m.Body)
		}
		mu.Lock()
		defer mu.Unlock()
		if !stored[s] && !possible[s] {
			t.Errorf("message %v was never sent", s)
		}
		if acked[s] {
			t.Errorf("message %v came back after its deletion", s)
		}
		return s
	}
	for round := range killRounds() {
		p := startProcess(t, dir)
		// As those of several programs, on a connection for each five.
		clients := make([]*mcq.Client, 10)
		for i := range clients {
			clients[i] = dial(t, p.addr)
		}
		var wg sync.WaitGroup
		for producer := range producers {
			wg.Go(func() {
				q := clients[producer%len(clients)].Queue("q")
				for {
					s := sent{producer, next[producer]}
					next[producer]++
					mu.Lock()
					possible[s] = true
					mu.Unlock()
					if err := q.Put(t.Context(), mcq.Message{Body: fmt.Appendf(nil, "%d/%d %0*d", s.producer, s.n, s.n%500, 0)}); err != nil {
						return
					}
					mu.Lock()
					stored[s] = true
					delete(possible, s)
					mu.Unlock()
				}
			})
		}
		for consumer := range consumers {
			wg.Go(func() {
				q := clients[consumer%len(clients)].Queue("q")
				for {
					if consumer%2 == 0 {
						msgs, err := q.Lease(t.Context(), 20, mcq.LeaseOptions{Wait: 100 * time.Millisecond})
						if err != nil {
							return
						}
						list := make([]sent, len(msgs))
						for i := range msgs {
							list[i] = parse(msgs[i])
						}
						mu.Lock()
						for _, s := range list {
							maybe[s] = true
						}
						mu.Unlock()
						if len(msgs) == 0 {
							continue
						}
						if err := q.Ack(t.Context(), ids(msgs)...); err != nil {
							return
						}
						mu.Lock()
						for _, s := range list {
							acked[s] = true
						}
						mu.Unlock()
						continue
					}
					// What a killed server took out without an answer is gone: at most once.
					// So this half reads nothing destructively but gives back.
					msgs, err := q.Lease(t.Context(), 5, mcq.LeaseOptions{Wait: 100 * time.Millisecond})
					if err != nil {
						return
					}
					for i := range msgs {
						parse(msgs[i])
					}
					if len(msgs) > 0 {
						if err := q.Nack(t.Context(), ids(msgs)...); err != nil {
							return
						}
					}
				}
			})
		}
		time.Sleep(time.Duration(10+rnd.IntN(300)) * time.Millisecond) // the moment is random on purpose
		if round%3 == 2 {
			p.pause(t, 20*time.Millisecond)
			time.Sleep(time.Duration(rnd.IntN(50)) * time.Millisecond)
		}
		p.kill()
		wg.Wait()
		for _, c := range clients {
			c.Close()
		}
	}
	b := openBroker(t, dir, nil)
	q := queue(t, b, "q")
	before := q.Stats()
	left := make(map[sent]bool)
	last := make(map[int]int)
	for {
		msgs := lease(t, q, 1000, mcq.LeaseOptions{})
		if len(msgs) == 0 {
			break
		}
		for _, m := range msgs {
			s := parse(m)
			if left[s] {
				t.Errorf("message %v is there twice", s)
			}
			left[s] = true
			if n, ok := last[s.producer]; ok && n >= s.n {
				t.Errorf("producer %d: %d comes after %d", s.producer, s.n, n)
			}
			last[s.producer] = s.n
		}
	}
	lost := 0
	for s := range stored {
		if !left[s] && !acked[s] && !maybe[s] {
			lost++
			t.Errorf("message %v is lost", s)
		}
	}
	if before.Backlog() != uint64(len(left)) {
		t.Errorf("the queue counts %d messages and has %d", before.Backlog(), len(left))
	}
	t.Logf("%d stored, %d acknowledged, %d left, %d lost", len(stored), len(acked), len(left), lost)
}
