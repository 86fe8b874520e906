package mcq

import (
	"io"
	"sync/atomic"
)

// bodies is the memory for bodies that have not come whole, of all connections of
// a server. The first part of each is not counted: it is no more than a
// connection's buffers.
type bodies struct {
	most int64
	held atomic.Int64
}

// uncountedBody is that part.
const uncountedBody = 16 << 10

// grow takes what a body of size bytes needs beyond what is held of it, and
// reports whether there is so much.
func (b *bodies) grow(held *int64, size int) bool {
	more := int64(size) - uncountedBody - *held
	if more <= 0 {
		return true
	}
	if b.held.Add(more) > b.most {
		b.held.Add(-more)
		return false
	}
	*held += more
	return true
}

// release gives back what is held of a body.
func (b *bodies) release(held *int64) {
	if *held > 0 {
		b.held.Add(-*held)
		*held = 0
	}
}

// readBody reads n bytes; the room doubles with what has arrived, so that a length
// alone allocates little. If there is no room for more, the rest is swallowed and
// data is nil. held is to be released when the body is somebody else's.
func (c *session) readBody(n int, held *int64) (data []byte, err error) {
	data = make([]byte, min(n, uncountedBody))
	for at := 0; ; {
		if _, err := io.ReadFull(c.in, data[at:]); err != nil {
			return nil, err
		}
		if at = len(data); at == n {
			return data, nil
		}
		size := min(n, 2*at)
		if !c.srv.bodies.grow(held, size) {
			data = nil
			c.srv.bodies.release(held)
			_, err := c.in.Discard(n - at)
			return nil, err
		}
		more := make([]byte, size)
		copy(more, data)
		data = more
	}
}
