package mcq

import (
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// loop serves connections, as many as there are, on one goroutine at a time.
type loop struct {
	srv    *Server
	epoll  int
	wake   [2]int // a pipe: written to when the loop sleeps and has something to do
	buf    []byte
	lanes  map[*lane]struct{}
	byFD   []*lane
	ops    []*op
	events []syscall.EpollEvent
	ready  int     // events that have come and are not looked at
	again  []*lane // there is more to read
	talked []*lane // have something to be sent
	looked time.Time
	alone  bool // there are not the processors for reading while others commit

	mu       sync.Mutex
	arrived  []*lane // new, or back from their goroutines
	woken    []*lane // need not wait any more
	asleep   bool
	away     bool // its goroutine commits
	draining bool
	killed   bool
	ended    bool
}

const (
	loopBuffer = 64 << 10
	loopEvents = 256
	laneReads  = 4 // at most, before it is another lane's turn
)

// startLoop starts a loop, which ends when the server does; nil if there cannot be one.
func startLoop(s *Server) *loop {
	l := &loop{
		srv: s, lanes: make(map[*lane]struct{}), buf: make([]byte, loopBuffer), events: make([]syscall.EpollEvent, loopEvents),
		alone: runtime.GOMAXPROCS(0) <= 2,
	}
	var err error
	if l.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil
	}
	if err = syscall.Pipe2(l.wake[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		syscall.Close(l.epoll)
		return nil
	}
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(l.wake[0])}
	if err = syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, l.wake[0], &ev); err != nil {
		l.close()
		return nil
	}
	s.wg.Add(1)
	s.local.loops.add(l)
	go l.run()
	return l
}

func (l *loop) close() {
	syscall.Close(l.epoll)
	syscall.Close(l.wake[0])
	syscall.Close(l.wake[1])
}

// take has the loop serve a new connection, unless it is not plain TCP. The
// server's mu is held.
func (l *loop) take(c *session) bool {
	conn, ok := c.conn.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	fd := -1
	err = raw.Control(func(own uintptr) { fd, err = dup(int(own)) })
	if err != nil || fd < 0 {
		return false
	}
	ln := &lane{c: c, loop: l, fd: fd}
	c.lane, c.out = ln, ln
	if !l.add(ln) {
		syscall.Close(fd)
		c.lane, c.out = nil, nil
		return false
	}
	c.conn = nil
	conn.Close() // its copy lives on, unknown to the runtime's own poller
	return true
}

func dup(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	n, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(n)
	}
	return n, err
}

// add gives the loop a lane to serve. It is false once the loop has ended.
func (l *loop) add(ln *lane) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.arrived = append(l.arrived, ln)
	l.wakeLocked()
	return true
}

// resume has the loop go on with a lane that need not wait any more.
func (l *loop) resume(ln *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.woken = append(l.woken, ln)
	l.wakeLocked()
}

func (l *loop) wakeLocked() {
	if l.asleep {
		l.asleep = false
		syscall.Write(l.wake[1], []byte{0})
	}
}

// drain has the loop give all its connections away as soon as they have been
// served what they asked for, and end.
func (l *loop) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
	l.wakeLocked()
}

// kill has it close them.
func (l *loop) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.killed, l.draining = true, true
	l.wakeLocked()
}

// run serves the connections until the loop ends, or another goroutine does in
// its place.
func (l *loop) run() {
	var arrived, woken []*lane
	for {
		l.mu.Lock()
		arrived, l.arrived = l.arrived, arrived[:0]
		woken, l.woken = l.woken, woken[:0]
		draining, killed := l.draining, l.killed
		if killed || draining && len(l.lanes) == 0 && len(arrived) == 0 {
			l.ended = true
		}
		sleep := len(arrived) == 0 && len(woken) == 0 && len(l.again) == 0 && l.ready == 0 && !draining
		l.asleep = sleep
		ended := l.ended
		l.mu.Unlock()
		if ended {
			l.end(arrived)
			l.close()
			l.srv.wg.Done()
			return
		}
		timeout := 0
		switch {
		case sleep:
			timeout = l.tick()
		case draining:
			timeout = 5
		}
		l.poll(timeout)
		if sleep {
			l.mu.Lock()
			l.asleep = false
			l.mu.Unlock()
		}
		now := time.Now()
		for i := range l.events[:l.ready] {
			l.event(&l.events[i], now)
		}
		l.ready = 0
		for _, ln := range arrived {
			l.adopt(ln, now)
		}
		clear(arrived)
		woken = append(woken, l.again...)
		clear(l.again)
		l.again = l.again[:0]
		for _, ln := range woken {
			if _, ok := l.lanes[ln]; ok { // or it was so far by itself, and is gone
				l.turn(ln, now)
			}
		}
		clear(woken)
		if draining {
			for ln := range l.lanes {
				if !ln.lastRead {
					ln.lastRead, ln.readable = true, true
				}
				l.turn(ln, now)
			}
		}
		if !l.finish() {
			return
		}
		l.lookRound(now)
	}
}

// poll sees to it that events has what is ready, waiting for so many ms at most.
func (l *loop) poll(timeout int) {
	if l.ready > 0 {
		return
	}
	n, err := syscall.EpollWait(l.epoll, l.events, timeout)
	if err != nil {
		n = 0 // interrupted: there is nothing else that can be
	}
	l.ready = n
}

func (l *loop) send() {
	for _, ln := range l.talked {
		ln.replied()
	}
	clear(l.talked)
	l.talked = l.talked[:0]
}

func (l *loop) event(ev *syscall.EpollEvent, now time.Time) {
	if int(ev.Fd) == l.wake[0] {
		var b [64]byte
		syscall.Read(l.wake[0], b[:])
		return
	}
	ln := l.byFD[ev.Fd]
	if ln == nil {
		return
	}
	if ev.Events&^syscall.EPOLLOUT != 0 && !ln.lastRead {
		ln.readable = true
	}
	if ev.Events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		ln.last = true
	}
	if ev.Events&syscall.EPOLLOUT != 0 {
		l.writable(ln)
	}
	l.turn(ln, now)
}

// writable sends what could not be sent before.
func (l *loop) writable(ln *lane) {
	ln.c.mu.Lock()
	defer ln.c.mu.Unlock()
	if ln.blocked {
		ln.blocked = false
		ln.flushLocked()
		ln.tellLocked()
	}
}

// adopt begins to serve a lane.
func (l *loop) adopt(ln *lane, now time.Time) {
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | epollET, Fd: int32(ln.fd)}
	if syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, ln.fd, &ev) != nil {
		l.drop(ln)
		return
	}
	if ln.fd >= len(l.byFD) {
		l.byFD = slices.Grow(l.byFD, ln.fd+1-len(l.byFD))[:ln.fd+1]
	}
	l.byFD[ln.fd], l.lanes[ln] = ln, struct{}{}
	ln.heard = now
	// The event that there is something to read, if so, comes at once.
}

const epollET = 1 << 31

// turn does what can be done for a lane.
func (l *loop) turn(ln *lane, now time.Time) {
	ln.c.mu.Lock()
	held, fd, broken := ln.held, ln.fd, ln.broken
	ln.c.mu.Unlock()
	if held {
		return
	}
	if broken {
		l.drop(ln)
		return
	}
	data := ln.in
	keep := func() {
		if ln.in = append(ln.in[:0], data...); len(data) == 0 && cap(ln.in) > maxUnsent {
			ln.in = nil
		}
	}
	for reads := 0; ; {
		var next step
		data, l.ops, next = ln.quick(data, now, l.ops)
		switch next {
		case wait:
			if keep(); ln.settle() {
				data = ln.in
				continue
			}
			return
		case promote:
			if keep(); ln.settle() {
				l.promote(ln)
			}
			return
		}
		// A whole command is not there.
		if !ln.readable {
			switch keep(); {
			case ln.ended:
				if ln.settle() {
					l.drop(ln)
				}
			case l.srv.ctx.Err() != nil:
				if ln.settle() {
					l.promote(ln)
				}
			default:
				l.speak(ln)
			}
			return
		}
		if reads == laneReads {
			ln.readable = !ln.lastRead
			keep()
			l.again = append(l.again, ln)
			l.speak(ln)
			return
		}
		reads++
		// What is left moves to the front; it is never large.
		n := copy(l.buf, data)
		more, err := syscall.Read(fd, l.buf[n:])
		switch {
		case err == syscall.EAGAIN:
			ln.readable = false
		case err == syscall.EINTR:
		case err != nil:
			l.drop(ln)
			return
		case more == 0:
			ln.readable, ln.ended = false, true
		default:
			l.srv.stats.bytesRead.Add(uint64(more))
			ln.heard = now
			ln.readable = ln.last || n+more == len(l.buf)
		}
		data = l.buf[:n+max(more, 0)]
	}
}

// speak has what the loop itself had to say sent with the others' replies.
func (l *loop) speak(ln *lane) {
	ln.c.mu.Lock()
	defer ln.c.mu.Unlock()
	if ln.c.pending == 0 && len(ln.unsent) > 0 && !ln.blocked {
		l.talked = append(l.talked, ln)
	}
}

// remove takes a lane out of the loop; it stays open.
func (l *loop) remove(ln *lane) {
	if _, ok := l.lanes[ln]; ok {
		syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_DEL, ln.fd, &syscall.EpollEvent{})
		l.byFD[ln.fd] = nil
		delete(l.lanes, ln)
	}
}

// drop ends a connection.
func (l *loop) drop(ln *lane) {
	l.remove(ln)
	ln.close()
	c := ln.c
	if len(c.opens) > 0 {
		l.srv.wg.Go(c.abortAll) // which may wait for the disk
	}
	l.srv.forget(c)
}

func (ln *lane) close() {
	ln.c.mu.Lock()
	defer ln.c.mu.Unlock()
	if ln.fd >= 0 {
		syscall.Close(ln.fd)
		ln.fd, ln.unsent, ln.broken = -1, nil, true
	}
}

// promote has goroutines continue with a lane of which nothing is pending.
func (l *loop) promote(ln *lane) {
	l.remove(ln)
	c := ln.c
	conn, err := ln.copy()
	if err != nil {
		l.srv.opt.Logger.Error("mcq: connection closed", "error", err)
		l.drop(ln)
		return
	}
	c.left, ln.in = ln.in, nil
	s := l.srv
	s.mu.Lock()
	c.conn = conn
	if s.closed {
		conn.Close()
	}
	s.mu.Unlock()
	s.wg.Go(func() {
		if back := c.run(); !back {
			ln.close()
			s.forget(c)
		}
	})
}

// copy is the connection in the runtime's poller.
func (ln *lane) copy() (net.Conn, error) {
	fd, err := dup(ln.fd)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	return net.FileConn(f)
}

// handBack ends run: the loop goes on with the connection, unless it has ended.
func (c *session) handBack() bool {
	s, conn, ln := c.srv, c.conn, c.lane
	s.mu.Lock()
	c.conn = nil
	s.mu.Unlock()
	conn.Close()
	c.out, c.left = ln, nil
	if ln.loop.add(ln) {
		return true
	}
	c.abortAll()
	return false
}

// end closes what is left when the loop ends.
func (l *loop) end(arrived []*lane) {
	l.srv.local.loops.remove(l)
	for _, ln := range arrived {
		l.drop(ln)
	}
	for ln := range l.lanes {
		l.drop(ln)
	}
}

func (ln *lane) flushLocked() {
	if len(ln.unsent) == 0 || ln.blocked || ln.broken {
		return
	}
	sent := 0
	for sent < len(ln.unsent) {
		n, err := syscall.Write(ln.fd, ln.unsent[sent:])
		sent += max(n, 0)
		if err == nil || errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != syscall.EAGAIN {
			ln.broken, ln.unsent = true, nil
			return
		}
		ln.blocked, ln.since = true, time.Now()
		break
	}
	ln.c.srv.stats.bytesWritten.Add(uint64(sent))
	rest := copy(ln.unsent, ln.unsent[sent:])
	if ln.unsent = ln.unsent[:rest]; rest == 0 && cap(ln.unsent) > maxUnsent {
		ln.unsent = nil
	}
}

// tick is how long to wait at most, in ms: to see who has been silent for too long.
func (l *loop) tick() int {
	if len(l.lanes) == 0 {
		return -1
	}
	most := time.Second
	if idle := l.srv.opt.IdleTimeout; idle > 0 {
		most = min(most, max(idle/4, time.Millisecond))
	}
	return int(most.Milliseconds())
}

// lookRound closes the connections that have been silent, or deaf, for too long.
func (l *loop) lookRound(now time.Time) {
	if now.Sub(l.looked) < time.Duration(l.tick())*time.Millisecond {
		return
	}
	l.looked = now
	idle := l.srv.opt.IdleTimeout
	for ln := range l.lanes {
		c := ln.c
		c.mu.Lock()
		deaf := ln.blocked && now.Sub(ln.since) > writeTimeout
		busy := c.pending > 0 || len(ln.unsent) > 0
		broken := ln.broken
		c.mu.Unlock()
		silent := now.Sub(ln.heard)
		if broken || deaf || !busy && (ln.inBody && silent > bodyTimeout || !ln.inBody && idle > 0 && silent > idle) {
			l.drop(ln)
		}
	}
}
