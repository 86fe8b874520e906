//go:build unix

package motan

import (
	"io"
	"net"
	"os"
	"syscall"
)

// direct writes to a socket, or reads from it, without ever waiting. It is used by
// one goroutine at a time.
type direct struct {
	raw   syscall.RawConn // nil if the connection is no plain socket
	p     []byte
	n     int
	err   error
	write func(fd uintptr) bool
	read  func(fd uintptr) bool
}

func (d *direct) init(conn net.Conn) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	d.raw = raw
	d.write = func(fd uintptr) bool {
		for {
			n, err := syscall.Write(int(fd), d.p)
			if err == nil {
				d.n = n
			}
			if err != syscall.EINTR {
				return true // true: the runtime is not to wait and call again
			}
		}
	}
	d.read = func(fd uintptr) bool {
		for {
			n, err := syscall.Read(int(fd), d.p)
			switch {
			case err == syscall.EINTR:
				continue
			case err == nil && n > 0:
				d.n = n
			case err == nil:
				d.err = io.EOF
			case err != syscall.EAGAIN:
				d.err = os.NewSyscallError("read", err)
			}
			return true
		}
	}
}

func (d *direct) possible() bool { return d.raw != nil }

// attempt returns how many bytes of p the socket took.
func (d *direct) attempt(p []byte) int {
	d.p, d.n = p, 0
	err := d.raw.Write(d.write)
	d.p = nil
	if err != nil {
		return 0
	}
	return d.n
}

// look reads what is there, which may be nothing.
func (d *direct) look(p []byte) (int, error) {
	d.p, d.n, d.err = p, 0, nil
	err := d.raw.Read(d.read)
	d.p = nil
	if err == nil {
		err = d.err
	}
	return d.n, err
}
