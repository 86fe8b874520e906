package motan_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
)

// patience is how long tests wait for what must happen.
const patience = 20 * time.Second

// TestMain fails the package if goroutines of it are left over.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if stacks := leaked(); stacks != "" {
			fmt.Fprintln(os.Stderr, "goroutines left over:\n"+stacks)
			code = 1
		}
	}
	os.Exit(code)
}

// leaked returns the stacks of this package's goroutines if they do not end.
func leaked() string {
	var found string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		buf := make([]byte, 4<<20)
		buf = buf[:runtime.Stack(buf, true)]
		found = ""
		for _, g := range strings.Split(string(buf), "\n\n") {
			if strings.Contains(g, "heddle/motan") && !strings.Contains(g, "TestMain") {
				found += g + "\n\n"
			}
		}
		if found == "" {
			return ""
		}
	}
	return found
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// wireFrame is a Motan2 frame written without the help of the package.
type wireFrame struct {
	kind, status, serialization byte
	id                          uint64
	meta                        map[string]string
	body                        []byte
}

const (
	wireResponse  = 1
	wireOneWay    = 4
	wireGzip      = 8
	wireHeartbeat = 16

	wireSimple = 6
)

func (f wireFrame) bytes() []byte {
	b := []byte{0xf1, 0xf1, f.kind, 1<<3 | f.status, f.serialization << 3}
	b = binary.BigEndian.AppendUint64(b, f.id)
	var pairs []string
	for k, v := range f.meta {
		pairs = append(pairs, k+"\n"+v)
	}
	meta := strings.Join(pairs, "\n")
	b = binary.BigEndian.AppendUint32(b, uint32(len(meta)))
	b = append(b, meta...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.body)))
	return append(b, f.body...)
}

func readWire(r io.Reader) (f wireFrame, err error) {
	head := make([]byte, 17)
	if _, err := io.ReadFull(r, head); err != nil {
		return f, err
	}
	if head[0] != 0xf1 || head[1] != 0xf1 || head[3]>>3 != 1 {
		return f, fmt.Errorf("no Motan2 header: %x", head)
	}
	f = wireFrame{kind: head[2], status: head[3] & 7, serialization: head[4] >> 3, id: binary.BigEndian.Uint64(head[5:]), meta: map[string]string{}}
	meta := make([]byte, binary.BigEndian.Uint32(head[13:])+4)
	if _, err := io.ReadFull(r, meta); err != nil {
		return f, err
	}
	f.body = make([]byte, binary.BigEndian.Uint32(meta[len(meta)-4:]))
	if _, err := io.ReadFull(r, f.body); err != nil {
		return f, err
	}
	if parts := strings.Split(string(meta[:len(meta)-4]), "\n"); len(parts) > 1 {
		for i := 0; i+1 < len(parts); i += 2 {
			f.meta[parts[i]] = parts[i+1]
		}
	}
	return f, nil
}

// simpleString is s in serialization simple.
func simpleString(s string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{1}, uint32(len(s))), s...)
}

// request is a frame that calls a method with one string.
func request(id uint64, service, method, arg string) wireFrame {
	return wireFrame{id: id, serialization: wireSimple, meta: map[string]string{"M_p": service, "M_m": method}, body: simpleString(arg)}
}

// wireConn is a client without the package's client.
type wireConn struct {
	net.Conn
	r *bufio.Reader
}

func dialWire(t testing.TB, addr string) *wireConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &wireConn{conn, bufio.NewReader(conn)}
}

func (c *wireConn) send(t testing.TB, f wireFrame) {
	t.Helper()
	if _, err := c.Write(f.bytes()); err != nil {
		t.Fatal(err)
	}
}

func (c *wireConn) read(t testing.TB) wireFrame {
	t.Helper()
	f, err := readWire(c.r)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// wireServer is a server without the package's server: answer gets each frame and
// may write what it likes; the connection ends when it returns false.
type wireServer struct {
	addr  string
	calls atomic.Int64 // frames that are no heartbeats
	mu    sync.Mutex
	conns []net.Conn
	ln    net.Listener
}

func startWireServer(t testing.TB, answer func(conn net.Conn, f wireFrame) bool) *wireServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &wireServer{addr: ln.Addr().String(), ln: ln}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					f, err := readWire(r)
					if err != nil {
						return
					}
					if f.kind&wireHeartbeat == 0 {
						s.calls.Add(1)
					}
					if !answer(conn, f) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		s.kill()
		wg.Wait()
	})
	return s
}

// kill closes the listener and all connections.
func (s *wireServer) kill() {
	s.ln.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
}

// answerString answers a request with a string.
func answerString(conn net.Conn, f wireFrame, s string) {
	conn.Write(wireFrame{kind: wireResponse | f.kind&wireHeartbeat, serialization: wireSimple, id: f.id, body: simpleString(s)}.bytes())
}

// faultListener accepts connections that fail the way they are told to.
type faultListener struct {
	net.Listener
	mu    sync.Mutex
	conns []*faultConn
	// chunk > 0 makes each write arrive in pieces of so many bytes.
	chunk int
}

// faultConn is a connection whose faults are switched on while it is in use.
type faultConn struct {
	net.Conn
	chunk  int
	budget atomic.Int64 // bytes that may still be written; negative: any number
	hung   atomic.Bool  // writes are swallowed: the peer hears nothing any more
}

func listenFaulty(t testing.TB, chunk int) *faultListener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &faultListener{Listener: ln, chunk: chunk}
}

func (l *faultListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &faultConn{Conn: conn, chunk: l.chunk}
	c.budget.Store(-1)
	l.mu.Lock()
	l.conns = append(l.conns, c)
	l.mu.Unlock()
	return c, nil
}

// each calls f for all connections so far.
func (l *faultListener) each(f func(*faultConn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		f(c)
	}
}

func (c *faultConn) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 {
		if c.hung.Load() {
			return all, nil
		}
		n := len(p)
		if c.chunk > 0 {
			n = min(n, c.chunk)
		}
		if left := c.budget.Load(); left >= 0 {
			if n = min(n, int(left)); n == 0 {
				c.Conn.Close()
				return all - len(p), io.ErrClosedPipe
			}
			c.budget.Add(-int64(n))
		}
		if _, err := c.Conn.Write(p[:n]); err != nil {
			return all - len(p), err
		}
		p = p[n:]
		if c.chunk > 0 {
			runtime.Gosched()
		}
	}
	return all, nil
}

// node is a server of this package that can be killed and started again.
type node struct {
	srv  *motan.Server
	addr string
}

// startNode serves service test.Echo: say gives back its argument with the node's
// name, slow waits until its context ends or the release channel is closed.
func startNode(t testing.TB, name string, opts *motan.ServerOptions) *node {
	t.Helper()
	srv := newServer(t, opts)
	handleEcho(srv, name)
	return &node{srv, startServer(t, srv)}
}

func handleEcho(srv *motan.Server, name string) {
	motan.Handle(srv, "test.Echo", "say", func(_ context.Context, s *string) (*string, error) {
		out := name + ":" + *s
		return &out, nil
	})
	motan.Handle(srv, "test.Echo", "wait", func(ctx context.Context, _ *string) (*string, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
}

func call(t testing.TB, c *motan.Client, method, arg string) string {
	t.Helper()
	s, err := motan.Call[string](t.Context(), c, method, &arg)
	if err != nil {
		t.Fatalf("%s(%q): %v", method, arg, err)
	}
	return *s
}

func wantCode(t testing.TB, err error, code int) *motan.Error {
	t.Helper()
	e, ok := err.(*motan.Error)
	if !ok || e.Code != code {
		t.Fatalf("%v (%T), want a *motan.Error with code %d", err, err, code)
	}
	return e
}
