package queue_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// A dialect is a peer's protocol as one client speaks it: requests and replies
// are lines and blocks of bytes, as with memcached, Redis and beanstalkd.
type dialect struct {
	put  exchange // a message
	take exchange // remove a message
	lend exchange // lease one, or move it aside
	ack  exchange // remove the one that was lent first
}

// An exchange is a request and its reply.
type exchange struct {
	request func(out []byte) []byte // appends it
	// reply returns the length of the reply that in begins with, 0 while it has
	// not come whole. An error means that it is not what was asked for.
	reply func(in []byte) (int, error)
}

// exchanges are what an operation consists of, in turn.
func (d *dialect) exchanges(op operation) []exchange {
	switch op {
	case enqueue:
		return []exchange{d.put}
	case take:
		return []exchange{d.take}
	case dequeue:
		return []exchange{d.lend, d.ack}
	case mixed:
		return []exchange{d.put, d.lend, d.ack}
	}
	panic("no such operation: " + op.name)
}

// cutLine returns the line that in begins with and its length with its end, 0
// if it has not come whole.
func cutLine(in []byte) (line []byte, n int) {
	end := bytes.IndexByte(in, '\n')
	if end < 0 {
		return nil, 0
	}
	return bytes.TrimSuffix(in[:end], []byte{'\r'}), end + 1
}

// expect is the reply of one line that begins with want.
func expect(want string) func([]byte) (int, error) {
	return func(in []byte) (int, error) {
		line, n := cutLine(in)
		if n > 0 && !bytes.HasPrefix(line, []byte(want)) {
			return 0, fmt.Errorf("got %q, want %q", line, want)
		}
		return n, nil
	}
}

// lastNumber reads the last word of a line as a number.
func lastNumber(line []byte) (uint64, error) {
	return strconv.ParseUint(string(line[bytes.LastIndexByte(line, ' ')+1:]), 10, 64)
}

// lastLength reads the last word of a line as the length of a block.
func lastLength(line []byte) (int, error) {
	n, err := lastNumber(line)
	if err == nil && n > 1<<20 {
		err = fmt.Errorf("a block of %d bytes", n)
	}
	return int(n), err
}

// bodies makes the messages of one client, of which no two are alike, and checks
// those that it gets.
type bodies struct {
	body []byte
	n    uint64
	got  func(body []byte)
}

const hex = "0123456789abcdef"

func newBodies(client, size int, got func([]byte)) *bodies {
	return &bodies{body: []byte(strings.Repeat(hex, (size+15)/16)[:size]), n: uint64(client) << 40, got: got}
}

// next returns the next message; it is valid until the one after.
func (b *bodies) next() []byte {
	for i, v := 0, b.n; i < 16; i, v = i+1, v>>4 {
		b.body[i] = hex[v&15]
	}
	b.n++
	return b.body
}

// receive takes a message that came.
func (b *bodies) receive(body []byte) error {
	if n := len(b.body); len(body) != n || string(body[16:]) != string(b.body[16:]) {
		return fmt.Errorf("got a message of %d bytes that nobody put", len(body))
	}
	if b.got != nil {
		b.got(body)
	}
	return nil
}

// line is a first-in-first-out line of what a client has to acknowledge.
type line[T any] struct {
	list  []T
	first int
}

func (l *line[T]) push(v T) { l.list = append(l.list, v) }

func (l *line[T]) pop() T {
	v := l.list[l.first]
	if l.first++; l.first == len(l.list) {
		l.list, l.first = l.list[:0], 0
	}
	return v
}
