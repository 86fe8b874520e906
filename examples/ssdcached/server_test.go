package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/heddle-go/heddle/ssdcache"
	"github.com/heddle-go/heddle/ssdcache/memcachedtier"
)

func TestMain(m *testing.M) {
	if args := os.Getenv("SSDCACHED_TEST_ARGS"); args != "" {
		os.Args = append(os.Args[:1], strings.Fields(args)...)
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// start runs a node until the test ends.
func start(t testing.TB, args ...string) (addr string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- run(ctx, append([]string{"-addr", "127.0.0.1:0", "-size", "16MiB"}, args...), io.Discard,
			func(a net.Addr) { ready <- a.String() })
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	select {
	case addr = <-ready:
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return addr, stop
}

// script is what is sent, and the answers of a fresh server. cas values are
// written CAS.
var script = []struct{ send, want string }{
	{"get a\r\n", "END\r\n"},
	{"set a 5 0 3\r\nabc\r\n", "STORED\r\n"},
	{"get a\r\n", "VALUE a 5 3\r\nabc\r\nEND\r\n"},
	{"gets a\r\n", "VALUE a 5 3 CAS\r\nabc\r\nEND\r\n"},
	{"set empty 0 0 0\r\n\r\n", "STORED\r\n"},
	{"get empty a\r\n", "VALUE empty 0 0\r\n\r\nVALUE a 5 3\r\nabc\r\nEND\r\n"},
	{"add a 0 0 1\r\nx\r\n", "NOT_STORED\r\n"},
	{"add b 0 0 1\r\nx\r\n", "STORED\r\n"},
	{"replace c 0 0 1\r\nx\r\n", "NOT_STORED\r\n"},
	{"replace b 1 0 1\r\ny\r\n", "STORED\r\n"},
	{"append b 9 9 2\r\nzz\r\n", "STORED\r\n"},
	{"prepend b 9 9 2\r\nxx\r\n", "STORED\r\n"},
	{"append c 0 0 1\r\nx\r\n", "NOT_STORED\r\n"},
	{"get b\r\n", "VALUE b 1 5\r\nxxyzz\r\nEND\r\n"},
	{"cas nobody 0 0 1 77\r\nx\r\n", "NOT_FOUND\r\n"},
	{"cas a 0 0 1 77\r\nx\r\n", "EXISTS\r\n"},
	{"delete b\r\n", "DELETED\r\n"},
	{"delete b\r\n", "NOT_FOUND\r\n"},
	{"delete a 0\r\n", "DELETED\r\n"},
	{"set n 0 0 2\r\n10\r\n", "STORED\r\n"},
	{"incr n 5\r\n", "15\r\n"},
	{"decr n 20\r\n", "0\r\n"},
	{"incr n 18446744073709551615\r\n", "18446744073709551615\r\n"},
	{"incr n 2\r\n", "1\r\n"},
	{"incr n x\r\n", "CLIENT_ERROR invalid numeric delta argument\r\n"},
	{"incr nobody 1\r\n", "NOT_FOUND\r\n"},
	{"set s 0 0 1\r\nx\r\n", "STORED\r\n"},
	{"incr s 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"},
	{"touch s 100\r\n", "TOUCHED\r\n"},
	{"touch nobody 100\r\n", "NOT_FOUND\r\n"},
	{"gat 100 s nobody\r\n", "VALUE s 0 1\r\nx\r\nEND\r\n"},
	{"gats 0 s\r\n", "VALUE s 0 1 CAS\r\nx\r\nEND\r\n"},
	{"set gone 0 -1 1\r\nx\r\n", "STORED\r\n"},
	{"get gone\r\n", "END\r\n"},
	{"set q 0 0 1 noreply\r\nx\r\n", ""},
	{"incr q 1 noreply\r\n", ""},
	{"delete s noreply\r\n", ""},
	{"get q s\r\n", "VALUE q 0 1\r\nx\r\nEND\r\n"},
	{"nonsense\r\n", "ERROR\r\n"},
	{"get\r\n", "ERROR\r\n"},
	{"verbosity 1\r\n", "OK\r\n"},

	{"mn\r\n", "MN\r\n"},
	{"mg nobody v\r\n", "EN\r\n"},
	{"mg nobody v q\r\nmn\r\n", "MN\r\n"},
	{"ms m 3\r\nabc\r\n", "HD\r\n"},
	{"ms m 3 F7 T100 k Oxyz\r\nabc\r\n", "HD km Oxyz\r\n"},
	{"mg m v\r\n", "VA 3\r\nabc\r\n"},
	{"mg m\r\n", "HD\r\n"},
	{"mg m f t s k O1 v\r\n", "VA 3 f7 t100 s3 km O1\r\nabc\r\n"},
	{"mg m c\r\n", "HD cCAS\r\n"},
	{"md m\r\n", "HD\r\n"},
	{"ms m 1 ME\r\nx\r\n", "HD\r\n"},
	{"ms m 1 ME\r\nx\r\n", "NS\r\n"},
	{"ms m 1 MA\r\ny\r\n", "HD\r\n"},
	{"ms m 1 MP\r\nw\r\n", "HD\r\n"},
	{"mg m v\r\n", "VA 3\r\nwxy\r\n"},
	{"ms none 1 MR\r\nx\r\n", "NS\r\n"},
	{"ms m 1 C77\r\nx\r\n", "EX\r\n"},
	{"ms none 1 C77\r\nx\r\n", "NF\r\n"},
	{"ms m 1 q\r\nz\r\nmn\r\n", "MN\r\n"},
	{"md m C77\r\n", "EX\r\n"},
	{"md m q\r\nmn\r\n", "MN\r\n"},
	{"md m\r\n", "NF\r\n"},
	{"ma num\r\n", "NF\r\n"},
	{"ma num N0 J13 v\r\n", "VA 2\r\n13\r\n"},
	{"ma num v\r\n", "VA 2\r\n14\r\n"},
	{"ma num D3 MD v t\r\n", "VA 2 t-1\r\n11\r\n"},
	{"ma num MI D2\r\n", "HD\r\n"},
	{"mg num v\r\n", "VA 2\r\n13\r\n"},
	{"ms Zm9v 1 b\r\nx\r\n", "HD\r\n"},
	{"get foo\r\n", "VALUE foo 0 1\r\nx\r\nEND\r\n"},
	{"mg Zm9v b k v\r\n", "VA 1 kZm9v b\r\nx\r\n"},
	{"mg viv N30 v t\r\n", "VA 0 t30 W\r\n\r\n"},
	{"ms S100 1\r\nx\r\n", "HD\r\n"},
	{"ms x\u00a0y 1\r\nx\r\n", "HD\r\n"}, // Unicode's space is none here
	{"get x x\u00a0y\r\n", "VALUE x\u00a0y 0 1\r\nx\r\nEND\r\n"},
	{"get" + strings.Repeat(" nobody", 5000) + " foo\r\n", "VALUE foo 0 1\r\nx\r\nEND\r\n"},
	{"flush_all\r\n", "OK\r\n"},
	{"get n a q foo\r\n", "END\r\n"},
	{"set n 0 0 1\r\n1\r\n", "STORED\r\n"},
	{"get n\r\n", "VALUE n 0 1\r\n1\r\nEND\r\n"},
	{"flush_all 1000 noreply\r\n", ""},
	{"get n\r\n", "VALUE n 0 1\r\n1\r\nEND\r\n"},
}

var (
	casOfGets = regexp.MustCompile(`(VALUE \S+ \d+ \d+) \d+`)
	casOfMeta = regexp.MustCompile(` c\d+`)
)

// TestProtocol sends the script to a node and, if there is one, to memcached.
// HEDDLE_TEST_MEMCACHED_SSDCACHED must be one that nobody else uses: the script
// empties it.
func TestProtocol(t *testing.T) {
	node, _ := start(t)
	servers := map[string]string{"ssdcached": node}
	if addr := os.Getenv("HEDDLE_TEST_MEMCACHED_SSDCACHED"); addr != "" {
		servers["memcached"] = addr
	}
	for name, addr := range servers {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		in := bufio.NewReader(conn)
		if name == "memcached" { // an earlier run may have left something
			if _, err := io.WriteString(conn, "flush_all\r\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		for _, step := range script {
			// The answer to version ends each.
			if _, err := io.WriteString(conn, step.send+"version\r\n"); err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					t.Fatalf("%s: %q: %q, %v", name, step.send, got.String(), err)
				}
				if strings.HasPrefix(line, "VERSION ") {
					break
				}
				got.WriteString(line)
			}
			answer := casOfMeta.ReplaceAllString(casOfGets.ReplaceAllString(got.String(), "$1 CAS"), " cCAS")
			if answer != step.want {
				t.Errorf("%s: %q\n got %q\nwant %q", name, step.send, answer, step.want)
			}
		}
	}
}

// What is malformed gets an answer or a closed connection, and the node goes on.
func TestMalformed(t *testing.T) {
	addr, _ := start(t)
	long := strings.Repeat("k", 300)
	for _, send := range []string{
		"get " + long + "\r\n", "set " + long + " 0 0 1\r\nx\r\n", "set a 0 0 -1\r\n", "set a 0 0 99999999999\r\n", "set a x 0 1\r\nx\r\n",
		"set a 0 0 3\r\nabcd\r\n", "cas a 0 0 1 x\r\ny\r\n", strings.Repeat("x", 100_000) + "\r\n", "touch a\r\n", "touch a x\r\n", "gat x a\r\n",
		"incr a\r\n", "delete\r\n", "delete a b c\r\n", "flush_all x\r\n", "mg\r\n", "ms\r\n", "ms a\r\n", "ms a x\r\n", "ms a 1 Z\r\nx\r\n", "mg a Z\r\n",
		"ms a 1 C\r\nx\r\n", "ms a 1 MQ\r\nx\r\n", "mg !! b\r\n", "ma a MQ\r\n", "ma a Jx\r\n", "mz a\r\n", "\r\n", "\x80\x00\x00\x00\r\n", "get a\x01b\r\n", "m\r\n",
		// what package memcached reads as storage commands, and no cache has
		"eset a 0 0 1\r\nx\r\n", "EACK a 0 0 1\r\nx\r\n", "Ms a 1\r\nx\r\n", " ms a 1\r\nx\r\n",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(conn, send); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, "ERROR") {
			t.Errorf("%.40q: %q, %v", send, line, err)
		}
		_ = conn.Close()
	}
	c := memcache.New(addr)
	defer c.Close()
	if err := c.Set(&memcache.Item{Key: "large", Value: make([]byte, 100)}); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(&memcache.Item{Key: "large", Value: make([]byte, 3<<20)}); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Error(err)
	}
	if _, err := c.Get("large"); !errors.Is(err, memcache.ErrCacheMiss) {
		t.Errorf("the value before outlived one that was too large: %v", err)
	}
}

// A client that sends its body a byte at a time does not keep the node from
// stopping.
func TestStopEndsSlowBodies(t *testing.T) {
	cache, err := ssdcache.Open(filepath.Join(t.TempDir(), "cache"), 16<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	st, err := newStore(cache, filepath.Join(t.TempDir(), "flushed"))
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(st, 10, time.Minute)
	srv.drain = 50 * time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.serve(ln) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The answer tells that it has begun to read the body.
	if _, err := io.WriteString(conn, "version\r\nset k 0 0 1000000000\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	slow := make(chan struct{})
	go func() {
		defer close(slow)
		for {
			if _, err := conn.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	srv.stop()
	srv.wait()
	<-slow
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A delay that no clock has flushes at once or is refused.
func TestFlushDelays(t *testing.T) {
	addr, _ := start(t)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(conn)
	for delay, want := range map[string]string{"-1": "OK\r\nEND\r\n", "-9223372036854775807": "OK\r\nEND\r\n", "9223372036854775807": replyBadFormat + "VALUE k 0 1\r\nx\r\nEND\r\n"} {
		if _, err := io.WriteString(conn, "set k 0 0 1 noreply\r\nx\r\nflush_all "+delay+"\r\nget k\r\nversion\r\n"); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, "VERSION ") {
				break
			}
			got.WriteString(line)
		}
		if got.String() != want {
			t.Errorf("flush_all %s: %q, want %q", delay, got.String(), want)
		}
	}
}

// cas and incr of many clients at once lose nothing.
func TestAtomic(t *testing.T) {
	addr, _ := start(t)
	c := memcache.New(addr)
	defer c.Close()
	c.Timeout = time.Minute
	c.MaxIdleConns = 10
	for _, k := range []string{"cas", "incr"} {
		if err := c.Set(&memcache.Item{Key: k, Value: []byte("0")}); err != nil {
			t.Fatal(err)
		}
	}
	const workers, each = 8, 100
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if _, err := c.Increment("incr", 1); err != nil {
					t.Error(err)
				}
				for {
					it, err := c.Get("cas")
					if err != nil {
						t.Error(err)
						return
					}
					var n int
					_, _ = fmt.Sscan(string(it.Value), &n)
					it.Value = fmt.Append(nil, n+1)
					if err = c.CompareAndSwap(it); err == nil {
						break
					} else if !errors.Is(err, memcache.ErrCASConflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	for _, k := range []string{"cas", "incr"} {
		if it, err := c.Get(k); err != nil || string(it.Value) != fmt.Sprint(workers*each) {
			t.Errorf("%s: %s, %v", k, it.Value, err)
		}
	}
}

// A node has its items after a restart and after SIGKILL, flush_all included.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	addr, stop := start(t, "-data", dir)
	c := memcache.New(addr)
	set := func(c *memcache.Client, k, v string) {
		t.Helper()
		if err := c.Set(&memcache.Item{Key: k, Value: []byte(v), Flags: 7}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(c *memcache.Client, k, v string) {
		t.Helper()
		it, err := c.Get(k)
		if v == "" && errors.Is(err, memcache.ErrCacheMiss) {
			return
		}
		if err != nil || string(it.Value) != v || it.Flags != 7 {
			t.Errorf("%s: %v, %v; want %q", k, it, err, v)
		}
	}
	set(c, "before", "1")
	if err := c.FlushAll(); err != nil {
		t.Fatal(err)
	}
	set(c, "after", "2")
	_ = c.Close()
	stop()

	port := freePort(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SSDCACHED_TEST_ARGS=-size 16MiB -data "+dir+" -addr "+port)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "2 items found") {
		t.Fatal(line, err)
	}
	c = memcache.New(port)
	c.Timeout = time.Minute
	want(c, "before", "")
	want(c, "after", "2")
	big := bytes.Repeat([]byte("x"), 50_000)
	for i := range 200 { // enough for many segments
		set(c, fmt.Sprint("fill", i), string(big))
	}
	if err := c.Delete("after"); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	_ = c.Close()

	addr, _ = start(t, "-data", dir)
	c = memcache.New(addr)
	defer c.Close()
	want(c, "before", "")
	want(c, "after", "")
	want(c, "fill100", string(big))
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// Three nodes behind a ring: the loss of one costs its share, and the values of
// that are loaded anew, once.
func TestRing(t *testing.T) {
	var addrs []string
	var stops []func()
	for range 3 {
		addr, stop := start(t)
		addrs, stops = append(addrs, addr), append(stops, stop)
	}
	tier, err := memcachedtier.New(addrs, &memcachedtier.Options{Failures: 1, Pause: time.Hour, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer tier.Close()
	var loads atomic.Int64
	// A new process each time, with nothing of its own in memory or on disk.
	read := func(keys int) int64 {
		loads.Store(0)
		cache, err := ssdcache.Open(filepath.Join(t.TempDir(), "cache"), 1<<20, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		values, err := ssdcache.NewTiered(cache, func(_ context.Context, key string) (string, error) {
			loads.Add(1)
			return "value of " + key, nil
		}, &ssdcache.TieredOptions{Tier: tier})
		if err != nil {
			t.Fatal(err)
		}
		for i := range keys {
			k := fmt.Sprint("k", i)
			if v, err := values.Get(t.Context(), k); v != "value of "+k || err != nil {
				t.Fatalf("%q, %v", v, err)
			}
		}
		return loads.Load()
	}
	const keys = 600
	if n := read(keys); n != keys {
		t.Errorf("%d loads at first", n)
	}
	if n := read(keys); n != 0 {
		t.Errorf("%d loads when all are there", n)
	}
	stops[1]()
	share := read(keys)
	if share < keys/6 || share > keys/2 {
		t.Errorf("%d of %d loaded anew without a node", share, keys)
	}
	if n := read(keys); n > 1 { // the first call found out, and left nothing
		t.Errorf("%d loads when the others have taken over", n)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-size", "x"}, {"-size", "1KiB"}, {"-full", "maybe"}, {"-conns", "0"}, {"-idle", "-1s"}, {"more"}, {"-addr", "nowhere:xyz"},
		{"-data", filepath.Join(t.TempDir(), "file", "\x00")},
	} {
		if err := run(t.Context(), args, io.Discard, nil); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

// Asking for help is no failure, and sizes are as they would be given.
func TestHelp(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "SSDCACHED_TEST_ARGS=-h")
	if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), "(default 1GiB)") {
		t.Errorf("%v: %s", err, out)
	}
	for _, s := range []string{"0", "1", "1023", "1KiB", "1536MiB", "2TiB", "5000TiB"} {
		var b bytesFlag
		if err := b.Set(s); err != nil || b.String() != s {
			t.Errorf("%s became %s: %v", s, &b, err)
		}
	}
}

// FuzzSession feeds a node anything.
func FuzzSession(f *testing.F) {
	for _, step := range script {
		f.Add([]byte(step.send))
	}
	var all []byte
	for _, step := range script {
		all = append(all, step.send...)
	}
	f.Add(all)
	addr, _ := start(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		go func() {
			_, _ = conn.Write(data)
			_ = conn.(*net.TCPConn).CloseWrite()
		}()
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("no end")
		}
	})
}

// BenchmarkNode reads 1 KB items over loopback, one and twenty keys a request.
func BenchmarkNode(b *testing.B) {
	addr, _ := start(b, "-size", "1GiB", "-data", b.TempDir())
	benchmarkServer(b, addr, 0)
}

// BenchmarkMemcached does the same with the memcached of HEDDLE_TEST_MEMCACHED.
// One with extstore loses items that are set at full speed, so it gets 20,000 a
// second.
func BenchmarkMemcached(b *testing.B) {
	addr := os.Getenv("HEDDLE_TEST_MEMCACHED")
	if addr == "" {
		b.Skip("HEDDLE_TEST_MEMCACHED is not set; start one with: memcached -l 127.0.0.1 -p 11299 -t 2 -m 48 -o ext_path=/tmp/ext:1G,ext_threads=8,ext_item_age=1")
	}
	benchmarkServer(b, addr, 20_000)
}

// benchmarkServer sets 100,000 items, pace a second if that is not 0, and reads
// them at random.
func benchmarkServer(b *testing.B, addr string, pace int) {
	const items = 100_000
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	out := bufio.NewWriterSize(conn, 64<<10)
	body := bytes.Repeat([]byte("x"), 1024)
	for i := range items {
		fmt.Fprintf(out, "set key-%06d 0 0 1024 noreply\r\n%s\r\n", i, body)
		if pace > 0 && i%(pace/100) == 0 {
			_ = out.Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}
	fmt.Fprint(out, "mn\r\n")
	if err := out.Flush(); err != nil {
		b.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "MN\r\n" {
		b.Fatal(line, err)
	}
	for _, keys := range []int{1, 20} {
		b.Run(fmt.Sprintf("get,keys=%d", keys), func(b *testing.B) {
			var hits atomic.Int64
			b.SetParallelism(25)
			b.RunParallel(func(p *testing.PB) {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				in := bufio.NewReaderSize(conn, 64<<10)
				r := rand.New(rand.NewPCG(rand.Uint64(), 1))
				var line []byte
				found := 0
				defer func() { hits.Add(int64(found)) }()
				for p.Next() {
					line = append(line[:0], "get"...)
					for range keys {
						line = fmt.Appendf(line, " key-%06d", r.IntN(items))
					}
					line = append(line, "\r\n"...)
					if _, err := conn.Write(line); err != nil {
						b.Error(err)
						return
					}
					for {
						head, err := in.ReadSlice('\n')
						if err != nil {
							b.Error(err)
							return
						}
						if head[0] == 'E' {
							break
						}
						found++
						if _, err := in.Discard(1026); err != nil {
							b.Error(err)
							return
						}
					}
				}
			})
			b.ReportMetric(float64(b.N*keys)/b.Elapsed().Seconds(), "keys/s")
			b.ReportMetric(100*float64(hits.Load())/float64(b.N*keys), "%found")
		})
	}
}
