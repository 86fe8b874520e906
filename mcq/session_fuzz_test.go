package mcq_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// pipeListener hands out one end of net.Pipe connections.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func shortRequests() (list []string) {
	for _, table := range [][]exchange{memcacheqTable, memcachedTable, optionTable} {
		for _, e := range table {
			if len(e.request) < 1000 {
				list = append(list, e.request)
			}
		}
	}
	return list
}

// asksToWait reports whether a server may be asked to wait for a message.
func asksToWait(data []byte) bool {
	return bytes.Contains(data, []byte("t=")) || bytes.Contains(bytes.ToLower(data), []byte("monitor"))
}

// endsWhole reports whether a reply ends as one should: with a line, or with what the
// binary protocol is refused with.
func endsWhole(reply []byte) bool {
	return len(reply) == 0 || bytes.HasSuffix(reply, []byte("\r\n")) || bytes.HasSuffix(reply, []byte("Unknown command"))
}

// FuzzSession sends anything to a server. It answers in whole lines, ends the
// connection or goes on with it, and afterwards works for others.
func FuzzSession(f *testing.F) {
	for _, request := range shortRequests() {
		f.Add([]byte(request))
	}
	b := memBroker(f, &mcq.Options{Sync: mcq.Never, MaxQueues: 1 << 30, MaxMessage: 1 << 10})
	s, err := mcq.NewServer(b, &mcq.ServerOptions{Logger: silent, AllowFlushAll: true})
	if err != nil {
		f.Fatal(err)
	}
	ln := &pipeListener{make(chan net.Conn), make(chan struct{})}
	go s.Serve(ln)
	f.Cleanup(func() { s.Close() })
	f.Fuzz(func(t *testing.T, data []byte) {
		if asksToWait(data) {
			return
		}
		ours, theirs := net.Pipe()
		defer ours.Close()
		ours.SetDeadline(time.Now().Add(patience))
		ln.conns <- theirs
		go func() {
			ours.Write(data)
			ours.Write([]byte("\r\nquit\r\n"))
			// In a body, quit is not a command: this ends it at last.
			time.AfterFunc(50*time.Millisecond, func() { ours.Close() })
		}()
		reply, err := io.ReadAll(ours)
		if err != nil && err != io.ErrClosedPipe {
			t.Fatalf("after %q: %v", reply, err)
		}
		if !endsWhole(reply) {
			t.Fatalf("the reply %q ends in the middle", reply)
		}
		check, theirs := net.Pipe()
		defer check.Close()
		check.SetDeadline(time.Now().Add(patience))
		ln.conns <- theirs
		go check.Write([]byte("version\r\nquit\r\n"))
		if reply, err := io.ReadAll(check); string(reply) != "VERSION 1.0.0\r\n" {
			t.Fatalf("then version gave %q, %v", reply, err)
		}
	})
}

// FuzzLoop sends anything in two pieces over TCP, where on Linux an event loop
// listens, and closes its side. The server answers in whole lines, ends the
// connection, and works for others.
func FuzzLoop(f *testing.F) {
	for i, request := range shortRequests() {
		f.Add([]byte(request), uint16(i))
	}
	addr := serve(f, memBroker(f, &mcq.Options{Sync: mcq.Never, MaxQueues: 1 << 30, MaxMessage: 1 << 10}))
	other := connect(f, addr)
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		if asksToWait(data) {
			return
		}
		conn := connect(t, addr)
		defer conn.Close()
		n := min(int(cut), len(data))
		conn.Write(data[:n]) // the server may have ended the connection already
		conn.Write(append(data[n:len(data):len(data)], "\r\nquit\r\n"...))
		conn.Conn.(*net.TCPConn).CloseWrite()
		reply, err := io.ReadAll(conn)
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("after %q: %v", reply, err)
		}
		if err == nil && !endsWhole(reply) {
			t.Fatalf("the reply %q ends in the middle", reply)
		}
		other.t = t
		other.SetDeadline(time.Now().Add(patience))
		other.send("version\r\n")
		other.expect("VERSION 1.0.0\r\n")
	})
}
