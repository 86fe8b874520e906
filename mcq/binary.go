package mcq

import "encoding/binary"

// memcached's binary protocol: a header of 24 bytes, which says how long the body is
// that follows it.
const (
	binaryRequest = 0x80
	binaryReply   = 0x81
	binaryHeader  = 24
	binaryUnknown = 0x81 // the status of a command that is not known
)

// refuseBinary tells a client of the binary protocol, in its own words, that its
// command is not known here, as memcached would. The connection then ends.
func (c *session) refuseBinary() {
	c.srv.opt.Logger.Warn("mcq: connection closed: the binary protocol is not supported, use text", "peer", c.conn.RemoteAddr().String())
	c.body = true // what is missing of the header has to come soon
	head, err := c.in.Peek(binaryHeader)
	if err != nil {
		return
	}
	const text = "Unknown command"
	reply := make([]byte, binaryHeader, binaryHeader+len(text))
	reply[0], reply[1] = binaryReply, head[1]
	binary.BigEndian.PutUint16(reply[6:], binaryUnknown)
	binary.BigEndian.PutUint32(reply[8:], uint32(len(text)))
	copy(reply[12:16], head[12:16]) // the opaque
	n := binary.BigEndian.Uint32(head[8:])
	c.complain(string(append(reply, text...)))
	// To close while there is something to read could lose the reply.
	if n <= readBuffer {
		_, _ = c.in.Discard(binaryHeader + int(n))
	}
}
