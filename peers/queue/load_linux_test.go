package queue_test

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// textLoad is clients of one dialect that all live on one goroutine, which
// waits for their sockets together: a goroutine for each costs more than most
// of the servers that are measured.
type textLoad struct {
	epoll   int
	clients []*textClient
	buf     []byte // for what is read
	took    []time.Duration
	active  int // clients that have something to do
}

type textClient struct {
	fd      int
	dialect *dialect
	in      []byte // of a reply that has not come whole
	out     []byte // requests to send

	// Of the run under way:
	turns    []exchange
	turn     int // of turns, the one under way
	counts   int // operations in all turns together
	left     int // operations to begin
	pipeline int // how many of each turn go together, at most
	batch    int // and now
	awaited  int // replies to come
	began    time.Time
}

func openText(addr string, dialectOf func(client, size int, got func([]byte)) *dialect) opener {
	return func(t testing.TB, clients, size int, got func([]byte)) load {
		epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		l := &textLoad{epoll: epoll, buf: make([]byte, 64<<10)}
		for i := range clients {
			fd, err := connect(addr)
			if err == nil {
				l.clients = append(l.clients, &textClient{fd: fd, dialect: dialectOf(i, size, got)})
				ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(i)}
				err = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, fd, &ev)
			}
			if err != nil {
				l.close()
				t.Fatal(err)
			}
		}
		return l
	}
}

// connect returns a connection that the runtime's own poller does not watch.
func connect(addr string) (fd int, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	if e := raw.Control(func(own uintptr) { fd, err = syscall.Dup(int(own)) }); e != nil {
		return 0, e
	}
	return fd, err
}

func (l *textLoad) close() {
	for _, c := range l.clients {
		syscall.Close(c.fd)
	}
	syscall.Close(l.epoll)
}

func (l *textLoad) run(op operation, total, pipeline int) ([]time.Duration, error) {
	l.took = make([]time.Duration, 0, total/pipeline+len(l.clients))
	l.active = 0
	now := time.Now()
	for i, c := range l.clients {
		c.turns, c.left, c.pipeline, c.counts = c.dialect.exchanges(op), share(total, i, len(l.clients)), pipeline, op.counts
		if c.left > 0 {
			l.active++
			if err := c.begin(now); err != nil {
				return nil, err
			}
		}
	}
	events := make([]syscall.EpollEvent, 64)
	for l.active > 0 {
		n, err := syscall.EpollWait(l.epoll, events, int(patience.Milliseconds()))
		if err == syscall.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = fmt.Errorf("no reply in %v", patience)
		}
		if err != nil {
			return nil, err
		}
		for _, ev := range events[:n] {
			if err := l.readable(l.clients[ev.Fd]); err != nil {
				return nil, err
			}
		}
	}
	return l.took, nil
}

// begin sends the requests of a batch's first turn.
func (c *textClient) begin(now time.Time) error {
	c.batch = min(c.left, c.pipeline)
	c.left -= c.batch * c.counts
	c.began, c.turn = now, 0
	return c.send()
}

func (c *textClient) send() error {
	c.out = c.out[:0]
	for range c.batch {
		c.out = c.turns[c.turn].request(c.out)
	}
	c.awaited = c.batch
	// The server has read all there was before it, so that it fits into the
	// socket's buffer.
	n, err := syscall.Write(c.fd, c.out)
	if err == nil && n < len(c.out) {
		err = syscall.EAGAIN
	}
	return err
}

// readable reads what a client has got, and goes on.
func (l *textLoad) readable(c *textClient) error {
	n := copy(l.buf, c.in)
	more, err := syscall.Read(c.fd, l.buf[n:])
	switch {
	case err == syscall.EINTR || err == syscall.EAGAIN:
		return nil
	case err != nil:
		return err
	case more == 0:
		return errors.New("the server has closed the connection")
	}
	data := l.buf[:n+more]
	for c.awaited > 0 {
		n, err := c.turns[c.turn].reply(data)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		data = data[n:]
		c.awaited--
	}
	c.in = append(c.in[:0], data...)
	switch {
	case c.awaited > 0:
		return nil
	case len(data) > 0:
		return fmt.Errorf("got %q, which nobody asked for", data)
	}
	if c.turn++; c.turn < len(c.turns) {
		return c.send()
	}
	now := time.Now()
	l.took = append(l.took, now.Sub(c.began))
	if c.left <= 0 {
		l.active--
		return nil
	}
	return c.begin(now)
}
