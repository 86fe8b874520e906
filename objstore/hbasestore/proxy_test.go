package hbasestore_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a store and a gateway, and fails as a network does.
type proxy struct {
	addr string

	// cut, if not nil, tells of each request and then of its answer, whether the
	// connection ends instead of carrying it on.
	cut func(answer bool) bool

	ln     net.Listener
	target atomic.Pointer[string]
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	done  bool
}

func newProxy(t *testing.T, target string, cut func(answer bool) bool) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: ln.Addr().String(), cut: cut, ln: ln, conns: make(map[net.Conn]bool)}
	p.target.Store(&target)
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) close() {
	_ = p.ln.Close()
	p.mu.Lock()
	p.done = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// track remembers a connection, to close it at the end.
func (p *proxy) track(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	if p.done {
		_ = c.Close()
	}
}

func (p *proxy) forget(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *proxy) serve(client net.Conn) {
	p.track(client)
	defer p.forget(client)
	server, err := net.Dial("tcp", *p.target.Load())
	if err != nil {
		return
	}
	p.track(server)
	defer p.forget(server)
	var answering atomic.Bool // the last bytes came from the server
	answering.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer server.Close()
		p.carry(server, client, func() bool { return answering.Swap(false) }, false)
	})
	p.carry(client, server, func() bool { return !answering.Swap(true) }, true)
	_ = client.Close()
	wg.Wait()
}

// carry copies until an end is closed or cut. begins tells whether the bytes at
// hand are the first of a message.
func (p *proxy) carry(to io.Writer, from io.Reader, begins func() bool, answer bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if begins() && p.cut != nil && p.cut(answer) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
