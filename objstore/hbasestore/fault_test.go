package hbasestore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/hbasestore"
)

// Connections end in the midst of requests and of answers. A change happens once
// or not at all, and Commit says which.
func TestLostAnswers(t *testing.T) {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(1, 2))
	cuts := 0
	p := newProxy(t, gateway(t), func(bool) bool {
		mu.Lock()
		defer mu.Unlock()
		if rng.IntN(8) > 0 {
			return false
		}
		cuts++
		return true
	})
	direct := open(t, hbasestore.Options{})
	s, err := hbasestore.Open(ctx, []string{p.addr}, &hbasestore.Options{Table: table, Salts: 3, Conns: 4, Timeout: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key := []byte("counter")
	var acknowledged, unknown atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for done := 0; done < 10; {
				now := objstore.Row{Value: []byte("0")}
				err := s.Get(ctx, [][]byte{key}, func(_ int, row objstore.Row) error { now = row; return nil })
				if err != nil {
					t.Error(err)
					return
				}
				n, err := strconv.Atoi(string(now.Value))
				if err != nil {
					t.Error(err)
					return
				}
				changes := []objstore.Change{{
					Row:    objstore.Row{Key: key, Version: now.Version + 1, Value: []byte(strconv.Itoa(n + 1))},
					Expect: now.Version,
				}}
				switch err := s.Commit(ctx, changes); {
				case err != nil && !strings.Contains(err.Error(), "answer was lost"):
					t.Error(err)
					return
				case err != nil:
					unknown.Add(1)
					done++
				case changes[0].Err == nil:
					acknowledged.Add(1)
					done++
				}
			}
		})
	}
	wg.Wait()
	err = direct.Get(ctx, [][]byte{key}, func(_ int, row objstore.Row) error {
		n, err := strconv.ParseInt(string(row.Value), 10, 64)
		if low, high := acknowledged.Load(), acknowledged.Load()+unknown.Load(); err != nil || n < low || n > high || row.Version != uint64(n) {
			t.Errorf("counted to %d at version %d; acknowledged %d, unknown %d", n, row.Version, low, high-low)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if cuts == 0 || s.Stats().Retries == 0 {
		t.Errorf("%d cuts, %+v", cuts, s.Stats())
	}
}

// Of changes that give an entry and take it away again, none takes what a later
// one has given.
func TestEntriesUnderRaces(t *testing.T) {
	s := open(t, hbasestore.Options{})
	key, entry := []byte("row"), []byte("entry")
	read := func() (version uint64, has bool, err error) {
		err = s.Get(ctx, [][]byte{key}, func(_ int, row objstore.Row) error {
			version, has = row.Version, string(row.Value) == "has"
			return nil
		})
		return version, has, err
	}
	for range 5 {
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				for range 6 {
					version, has, err := read()
					if err != nil {
						t.Error(err)
						return
					}
					c := objstore.Change{Row: objstore.Row{Key: key, Version: version + 1}, Expect: version}
					if has {
						c.Row.Value, c.Delete = []byte("none"), [][]byte{entry}
					} else {
						c.Row.Value, c.Put = []byte("has"), []objstore.Row{{Key: entry}}
					}
					if err := s.Commit(ctx, []objstore.Change{c}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		_, has, err := read()
		there := false
		if err == nil {
			err = s.Get(ctx, [][]byte{entry}, func(int, objstore.Row) error { there = true; return nil })
		}
		if err != nil {
			t.Fatal(err)
		}
		if has && !there {
			t.Error("the row has an entry that is not there")
		}
	}
}

// A process ends at one of its requests, before or after the gateway carries it
// out: what was acknowledged is there, whole; nothing that is not there is
// pointed at; and a sweep leaves nothing of the rest.
func TestCrashAtEachRequest(t *testing.T) {
	gateway(t)
	step := 5
	if os.Getenv("HEDDLE_TEST_LONG") != "" {
		step = 1
	}
	for _, late := range []bool{false, true} {
		for at, done := 0, false; !done; at += step {
			done = crashAt(t, int64(at), late)
		}
	}
}

// crashAt ends the library at a request, and tells whether it did not come to it.
func crashAt(t *testing.T, at int64, late bool) (done bool) {
	direct := open(t, hbasestore.Options{})
	opsCtx, crash := context.WithCancel(ctx)
	defer crash()
	var armed atomic.Bool
	var requests atomic.Int64
	p := newProxy(t, gateway(t), func(answer bool) bool {
		if !armed.Load() {
			return false
		}
		n := requests.Load()
		if !answer {
			n = requests.Add(1) - 1
		}
		if n > at || n == at && answer == late {
			crash()
			return true
		}
		return false
	})
	s, err := hbasestore.Open(ctx, []string{p.addr}, &hbasestore.Options{Table: table, Salts: 3, Conns: 1, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := t.TempDir()
	lib := openLibrary(t, dir, s, time.Hour)
	notes := newNotes(t, lib)
	armed.Store(true)
	var acknowledged []objstore.ID
	purged := make(map[objstore.ID]bool)
	err = func() error {
		up, err := notes.Upload(opsCtx, "x", strings.NewReader("one"), nil)
		if err != nil {
			return err
		}
		obj := note("first", "tag", up)
		if err := notes.Create(opsCtx, obj); err != nil {
			return err
		}
		acknowledged = append(acknowledged, obj.ID)
		if up, err = notes.Upload(opsCtx, "x", strings.NewReader("two"), nil); err != nil {
			return err
		}
		obj.Contents, obj.Tags = []objstore.ContentInfo{up}, []string{"other"}
		if err := notes.Update(opsCtx, obj); err != nil {
			return err
		}
		other := note("second", "tag")
		if err := notes.Create(opsCtx, other); err != nil {
			return err
		}
		acknowledged = append(acknowledged, other.ID)
		purged[other.ID] = true // perhaps
		return notes.Purge(opsCtx, other.ID)
	}()
	done = err == nil
	if !done && opsCtx.Err() == nil {
		t.Fatalf("request %d: %v", at, err)
	}
	crash()
	if err := lib.Close(); err != nil {
		t.Fatal(err)
	}

	time.Sleep(1100 * time.Millisecond) // of grace, after which the rest is garbage
	lib = openLibrary(t, dir, direct, time.Second)
	defer lib.Close()
	notes = newNotes(t, lib)
	if _, err := lib.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	for _, id := range acknowledged {
		if _, err := notes.Get(ctx, id); err != nil && !(purged[id] && errors.Is(err, objstore.ErrNotFound)) {
			t.Errorf("request %d: %v", at, err)
		}
	}
	contents, found := 0, 0
	for obj, err := range notes.Scan(ctx, nil) {
		if err != nil {
			t.Fatal(err)
		}
		versions, err := notes.Versions(ctx, obj.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, version := range versions {
			for i := range version.Contents {
				contents++
				wantContent(t, lib, &version.Contents[i])
			}
		}
		for range notes.Find(ctx, "tags", obj.Tags[0], nil) {
			found++
		}
	}
	if n := countFiles(t, dir); n != contents {
		t.Errorf("request %d, late %v: %d files for %d contents", at, late, n, contents)
	}
	if n := countObjects(t, notes); found != n {
		t.Errorf("request %d: %d of %d objects found", at, found, n)
	}
	return done
}

// A gateway is killed and started again while a library writes.
func TestGatewayIsKilled(t *testing.T) {
	command := strings.Fields(os.Getenv("HEDDLE_TEST_HBASE_GATEWAY"))
	if len(command) == 0 {
		t.Skip("HEDDLE_TEST_HBASE_GATEWAY, a command that runs a gateway on the port appended to it, is not set; see peers/hbase/run")
	}
	open(t, hbasestore.Options{})
	own := startGateway(t, command)
	p := newProxy(t, own.addr, nil)
	s, err := hbasestore.Open(ctx, []string{p.addr}, &hbasestore.Options{Table: table, Salts: 3, Conns: 4, Timeout: 4 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := t.TempDir()
	lib := openLibrary(t, dir, s, time.Hour)
	defer lib.Close()
	notes := newNotes(t, lib)
	var mu sync.Mutex
	var ids []objstore.ID
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				up, err := notes.Upload(ctx, "x", strings.NewReader(fmt.Sprint("content ", w, n)), nil)
				obj := note(fmt.Sprint("note ", w, n), "tag", up)
				if err == nil {
					err = notes.Create(ctx, obj)
				}
				if err != nil && !strings.Contains(err.Error(), "answer was lost") && !errors.Is(err, objstore.ErrExists) {
					t.Error(err)
					return
				}
				if err == nil {
					mu.Lock()
					ids = append(ids, obj.ID)
					mu.Unlock()
				}
			}
		})
	}
	wait := func(more int) {
		t.Helper()
		mu.Lock()
		want := len(ids) + more
		mu.Unlock()
		for range 4 * 60 * 20 {
			mu.Lock()
			have := len(ids)
			mu.Unlock()
			if have >= want || t.Failed() {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Errorf("no %d more objects", more)
	}
	wait(10)
	own.kill()
	own = startGateway(t, command)
	p.target.Store(&own.addr)
	wait(10)
	close(stop)
	wg.Wait()
	if s.Stats().Retries == 0 {
		t.Errorf("nothing was tried again: %+v", s.Stats())
	}
	objs, err := notes.MultiGet(ctx, ids)
	if err != nil {
		t.Fatal(err)
	}
	for i, obj := range objs {
		if obj == nil {
			t.Errorf("%v was acknowledged and is not there", ids[i])
			continue
		}
		wantContent(t, lib, &obj.Contents[0])
	}
	if found := len(findAll(t, notes, "tag")); found < len(ids) {
		t.Errorf("%d of %d objects found", found, len(ids))
	}
}

// gatewayProcess is a gateway that a test may kill.
type gatewayProcess struct {
	addr  string
	cmd   *exec.Cmd
	stdin io.Closer
}

func (g *gatewayProcess) kill() {
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait()
	_ = g.stdin.Close()
}

// startGateway starts a gateway on a free port and waits until it accepts
// connections. A port that somebody else took meanwhile makes it try another.
func startGateway(t *testing.T, command []string) *gatewayProcess {
	t.Helper()
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().String()
		_ = ln.Close()
		_, port, _ := net.SplitHostPort(addr)
		cmd := exec.Command(command[0], append(command[1:len(command):len(command)], port)...)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "HBASE_DIR="+cmd.Dir)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		g := &gatewayProcess{addr: addr, cmd: cmd, stdin: stdin}
		var last atomic.Value
		last.Store("")
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for sc := bufio.NewScanner(stderr); sc.Scan(); {
				last.Store(sc.Text())
			}
		}()
		for range 4 * 60 * 10 {
			select {
			case <-ended:
			case <-time.After(100 * time.Millisecond):
				c, err := net.Dial("tcp", addr)
				if err != nil {
					continue
				}
				_ = c.Close()
				t.Cleanup(g.kill)
				return g
			}
			break
		}
		g.kill()
		t.Logf("the gateway on %s has ended: %s", addr, last.Load())
	}
	t.Fatal("no gateway")
	return nil
}
