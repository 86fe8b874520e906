package cache_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	servedItems   = 400_000 // of 1 KB: four times the memory that extstore gets
	servedMemory  = 100     // MB
	servedClients = 50
)

// node is a process that serves the memcached protocol over TCP, with its values
// in one file.
type node struct {
	name, addr, file string
	diskHits         string // the statistic of gets that read the file
	pace             int    // sets a second at which it keeps everything; 0: any
	cmd              *exec.Cmd
}

func startNode(b *testing.B, name string) *node {
	b.Helper()
	dir := b.TempDir()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	n := &node{name: name, addr: ln.Addr().String()}
	_, port, _ := net.SplitHostPort(n.addr)
	_ = ln.Close()
	switch name {
	case "extstore":
		path, err := exec.LookPath("memcached")
		if err != nil {
			b.Skip("there is no memcached")
		}
		n.file, n.diskHits, n.pace = filepath.Join(dir, "ext"), "get_extstore", 20_000
		// Everything goes to disk soon, and what was read stays there.
		me, err := user.Current()
		if err != nil {
			b.Fatal(err)
		}
		n.cmd = exec.Command(path, "-u", me.Username, "-l", "127.0.0.1", "-p", port, "-t", "2", "-c", "1024", "-m", strconv.Itoa(servedMemory),
			"-o", "ext_path="+n.file+":1G,ext_threads=8,ext_item_age=1,ext_recache_rate=0")
	default:
		bin := filepath.Join(dir, "ssdcached")
		if out, err := exec.Command("go", "build", "-o", bin, "github.com/heddle-go/heddle/examples/ssdcached").CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		n.file, n.diskHits = filepath.Join(dir, "cache"), "ssd_device_hits"
		n.cmd = exec.Command(bin, "-addr", n.addr, "-data", dir, "-size", "1GiB")
	}
	n.cmd.Stderr = os.Stderr
	if err := n.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
		_ = n.cmd.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", n.addr)
		if err == nil {
			_ = conn.Close()
			return n
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
}

// client is one connection.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	room []byte
}

func (n *node) dial(b *testing.B) *client {
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), room: make([]byte, valueSize+2)}
}

func appendKey(dst []byte, n int) []byte { return fmt.Appendf(dst, "key:%010d", n) }

// get asks for keys in one request and returns how many were there.
func (c *client) get(keys []int) (found int, err error) {
	c.out = append(c.out[:0], "get"...)
	for _, k := range keys {
		c.out = appendKey(append(c.out, ' '), k)
	}
	if _, err := c.conn.Write(append(c.out, "\r\n"...)); err != nil {
		return 0, err
	}
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return found, err
		}
		if string(line) == "END\r\n" {
			return found, nil
		}
		if !bytes.HasPrefix(line, []byte("VALUE key:")) || !bytes.HasSuffix(line, []byte(" 0 1024\r\n")) {
			return found, fmt.Errorf("answer %q", line)
		}
		k, err := strconv.Atoi(string(line[len("VALUE key:"):][:10]))
		if err != nil {
			return found, err
		}
		if _, err := io.ReadFull(c.in, c.room); err != nil {
			return found, err
		}
		if binary.BigEndian.Uint64(c.room) != uint64(k) {
			return found, fmt.Errorf("key %d has another value", k)
		}
		found++
	}
}

// set stores a key and returns whether the server says so.
func (c *client) set(key int, value []byte) (bool, error) {
	binary.BigEndian.PutUint64(value, uint64(key))
	c.out = appendKey(append(c.out[:0], "set "...), key)
	c.out = append(append(append(c.out, " 0 0 1024\r\n"...), value...), "\r\n"...)
	if _, err := c.conn.Write(c.out); err != nil {
		return false, err
	}
	line, err := c.in.ReadSlice('\n')
	return string(line) == "STORED\r\n", err
}

// fill stores the items from all clients, at a pace if it is not 0, and returns
// how many were stored.
func (n *node) fill(b *testing.B, pace int) (stored int64) {
	var next, ok atomic.Int64
	begin := time.Now()
	n.crowd(b, func(c *client, value []byte) error {
		for {
			k := next.Add(1) - 1
			if k >= servedItems {
				return nil
			}
			if pace > 0 {
				time.Sleep(time.Until(begin.Add(time.Duration(k) * time.Second / time.Duration(pace))))
			}
			done, err := c.set(int(k), value)
			if err != nil {
				return err
			}
			if done {
				ok.Add(1)
			}
		}
	})
	return ok.Load()
}

// crowd runs f once for each of the clients, all at once.
func (n *node) crowd(b *testing.B, f func(c *client, value []byte) error) {
	var wg sync.WaitGroup
	for range servedClients {
		c := n.dial(b)
		wg.Go(func() {
			value := make([]byte, valueSize)
			_, _ = rand.NewChaCha8([32]byte{}).Read(value)
			if err := f(c, value); err != nil {
				b.Errorf("%s: %v", n.name, err)
			}
			_ = c.conn.Close()
		})
	}
	wg.Wait()
}

// survivors counts the items that are there.
func (n *node) survivors(b *testing.B) (count int64) {
	var next, found atomic.Int64
	n.crowd(b, func(c *client, _ []byte) error {
		for {
			k := int(next.Add(100) - 100)
			if k >= servedItems {
				return nil
			}
			keys := make([]int, 100)
			for i := range keys {
				keys[i] = k + i
			}
			got, err := c.get(keys)
			found.Add(int64(got))
			if err != nil {
				return err
			}
		}
	})
	return found.Load()
}

// stat reads a statistic of the server.
func (n *node) stat(b *testing.B, name string) float64 {
	c := n.dial(b)
	if _, err := c.conn.Write([]byte("stats\r\n")); err != nil {
		b.Fatal(err)
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil || line == "END\r\n" {
			b.Fatalf("%s has no statistic %s: %v", n.name, name, err)
		}
		if f := strings.Fields(line); len(f) == 3 && f[1] == name {
			v, _ := strconv.ParseFloat(f[2], 64)
			return v
		}
	}
}

// processorTime of the server so far.
func (n *node) processorTime(b *testing.B) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * time.Second / 100 // USER_HZ
}

// residentMB is the memory of the server.
func (n *node) residentMB(b *testing.B) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	return kb / 1024
}

// cool drops the server's file from the page cache.
func (n *node) cool(b *testing.B) {
	f, err := os.Open(n.file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		b.Fatal(err)
	}
}

// warm brings it there.
func (n *node) warm(b *testing.B) {
	f, err := os.Open(n.file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(io.Discard, f); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkServed puts examples/ssdcached beside memcached's extstore: 50
// clients, 400,000 items of 1 KB, all of them in both, and next to none in the
// memory of either; each case three times. An operation is one request. Cold runs begin with nothing in
// the page cache, so give a number of requests that reads part of the file:
//
//	go test -run '^$' -bench Served -benchtime 40000x ./cache
func BenchmarkServed(b *testing.B) {
	nodes := []*node{startNode(b, "extstore"), startNode(b, "ssdcached")}
	for _, n := range nodes {
		n.fill(b, n.pace)
	}
	time.Sleep(3 * time.Second) // until extstore has moved what is idle
	for _, keys := range []int{1, 20} {
		for _, state := range []string{"cold", "warm"} {
			for i := range 3 * len(nodes) { // in turn: the machine is not the same all the time
				n := nodes[i%len(nodes)]
				b.Run(fmt.Sprintf("%d-key/%s/%s", keys, state, n.name), func(b *testing.B) {
					n.warm(b)
					if state == "cold" {
						n.cool(b)
					}
					clients := make([]*client, servedClients)
					for i := range clients {
						clients[i] = n.dial(b)
					}
					var left, found atomic.Int64
					left.Store(int64(b.N))
					device, cpu := n.stat(b, n.diskHits), n.processorTime(b)
					b.ResetTimer()
					var wg sync.WaitGroup
					for i, c := range clients {
						wg.Go(func() {
							r := rand.New(rand.NewPCG(uint64(i), uint64(b.N)))
							want := make([]int, keys)
							for left.Add(-1) >= 0 {
								for i := range want {
									want[i] = r.IntN(servedItems)
								}
								got, err := c.get(want)
								if err != nil {
									b.Errorf("%s: %v", n.name, err)
									return
								}
								found.Add(int64(got))
							}
						})
					}
					wg.Wait()
					b.StopTimer()
					all := float64(b.N * keys)
					b.ReportMetric(all/b.Elapsed().Seconds(), "keys/s")
					b.ReportMetric(float64((n.processorTime(b)-cpu).Nanoseconds())/all, "server-cpu-ns/key")
					b.ReportMetric(100*float64(found.Load())/all, "%found")
					b.ReportMetric(100*(n.stat(b, n.diskHits)-device)/all, "%from-file")
					b.ReportMetric(n.residentMB(b), "resident-MB")
				})
			}
		}
	}
}

// BenchmarkServedFill sets the items as fast as the server answers and counts
// those that are there then. An operation is filling the server once.
//
//	go test -run '^$' -bench ServedFill -benchtime 1x ./cache
func BenchmarkServedFill(b *testing.B) {
	for _, name := range []string{"extstore", "ssdcached"} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				n := startNode(b, name)
				b.StartTimer()
				begin, cpu := time.Now(), n.processorTime(b)
				stored := n.fill(b, 0)
				b.ReportMetric(servedItems/time.Since(begin).Seconds(), "sets/s")
				b.ReportMetric(float64((n.processorTime(b)-cpu).Nanoseconds())/servedItems, "server-cpu-ns/set")
				b.StopTimer()
				b.ReportMetric(100*float64(stored)/servedItems, "%stored")
				b.ReportMetric(100*float64(n.survivors(b))/servedItems, "%kept")
				b.StartTimer()
			}
		})
	}
}
