package motan

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A Motan2 frame is 13 bytes of header, a length and the metadata, a length and
// the body; all integers are big-endian.
//
//	0  magic F1 F1
//	2  message type bits
//	3  version (5 bits, 1 = Motan2) and status (3 bits)
//	4  serialization (5 bits)
//	5  request id, 8 bytes
//	13 metadata length, 4 bytes, metadata
//	   body length, 4 bytes, body
const (
	magic0, magic1 = 0xF1, 0xF1
	headLen        = 13
	version2       = 1

	bitResponse  = 0x01
	bitProxy     = 0x02
	bitOneWay    = 0x04
	bitGzip      = 0x08
	bitHeartbeat = 0x10

	statusNormal    = 0
	statusException = 1
)

var (
	errBadMagic   = errors.New("motan: not a Motan frame")
	errMotan1     = errors.New("motan: Motan1 frame; this endpoint speaks Motan2 only")
	errBadVersion = errors.New("motan: unknown frame version")
	errTooLarge   = errors.New("motan: frame larger than allowed")
)

// header is the fixed part of a frame.
type header struct {
	kind          byte // message type bits
	status        byte
	serialization byte
	id            uint64
}

func (h *header) response() bool  { return h.kind&bitResponse != 0 }
func (h *header) heartbeat() bool { return h.kind&bitHeartbeat != 0 }
func (h *header) oneWay() bool    { return h.kind&bitOneWay != 0 }

// frame is a whole message. meta and body are only good until the next read.
type frame struct {
	header
	meta   []byte
	body   []byte
	buf    []byte // backs meta and body,
	backed bool   // unless this is false: then the reader's own buffer does

	room    reservation // for buf
	refused bool        // there was no room for the rest of a request, which has been read over

	// src is what the reader that read is given reads from, so that the rest of a
	// large frame need not go through its buffer; nil if that is not known.
	src io.Reader
}

// appendHeader appends everything up to the metadata's length.
func appendHeader(b []byte, h header) []byte {
	b = append(b, magic0, magic1, h.kind, version2<<3|h.status, h.serialization<<3)
	return binary.BigEndian.AppendUint64(b, h.id)
}

// parseHeader reads the first headLen bytes of a frame.
func parseHeader(b []byte) (h header, err error) {
	if b[0] != magic0 || b[1] != magic1 {
		return h, fmt.Errorf("%w: it starts with %x", errBadMagic, b[:2])
	}
	switch v := b[3] >> 3; v {
	case version2:
	case 0:
		return h, errMotan1
	default:
		return h, fmt.Errorf("%w: %d", errBadVersion, v)
	}
	h.kind, h.status, h.serialization = b[2], b[3]&7, b[4]>>3
	h.id = binary.BigEndian.Uint64(b[5:])
	return h, nil
}

// keepBuf is the largest buffer that is kept for the next frame.
const keepBuf = 256 << 10

// read fills f with the next frame from r; metadata and body may have up to
// limit bytes each. They are good until the next read from r: a frame that r has
// buffered as a whole stays where it is. io.EOF means that the connection ended
// between two frames.
func (f *frame) read(r *bufio.Reader, limit int) error {
	f.refused = false
	head, err := r.Peek(headLen + 4)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			// Another protocol's short message deserves to be told apart from a cut.
			if head[0] != magic0 || len(head) > 1 && head[1] != magic1 {
				return fmt.Errorf("%w: it starts with %x", errBadMagic, head[:1])
			}
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if f.header, err = parseHeader(head); err != nil {
		return err
	}
	metaLen := binary.BigEndian.Uint32(head[headLen:])
	if uint64(metaLen) > uint64(limit) {
		return fmt.Errorf("%w: %d bytes of metadata, limit %d", errTooLarge, metaLen, limit)
	}
	n := int(metaLen)
	if all, _ := r.Peek(r.Buffered()); len(all) >= headLen+4+n+4 {
		all = all[headLen+4:]
		bodyLen := binary.BigEndian.Uint32(all[n:])
		if uint64(bodyLen) > uint64(limit) {
			return fmt.Errorf("%w: %d bytes of body, limit %d", errTooLarge, bodyLen, limit)
		}
		if m := n + 4 + int(bodyLen); len(all) >= m {
			f.meta, f.body, f.backed = all[:n:n], all[n+4:m:m], false
			_, err = r.Discard(headLen + 4 + m)
			return err
		}
	}
	if _, err := r.Discard(headLen + 4); err != nil {
		return err
	}
	if cap(f.buf) > keepBuf {
		f.drop()
	}
	// The metadata and, with it, the body's length.
	if err := f.fill(r, 0, n+4); err != nil && err != errNoRoom {
		return err
	} else if err != nil {
		if n, err = f.skipMeta(r, n); err != nil {
			return err
		}
	}
	bodyLen := binary.BigEndian.Uint32(f.buf[n:])
	if uint64(bodyLen) > uint64(limit) {
		return fmt.Errorf("%w: %d bytes of body, limit %d", errTooLarge, bodyLen, limit)
	}
	if f.refused {
		f.meta, f.body, f.backed = nil, nil, true
		return skip(r, int(bodyLen))
	}
	if err := f.fill(r, n, n+int(bodyLen)); err != nil && err != errNoRoom {
		return err
	} else if err != nil {
		rest := n + int(bodyLen) - len(f.buf)
		meta := slices.Clone(f.buf[:n])
		f.drop()
		f.refused = true
		f.meta, f.body, f.backed = meta, nil, true
		return skip(r, rest)
	}
	f.meta, f.body, f.backed = f.buf[:n:n], f.buf[n:n+int(bodyLen)], true
	return nil
}

// skipMeta reads over the rest of n bytes of metadata that there is no room for, and
// reads the body's length. It returns where in f.buf that is.
func (f *frame) skipMeta(r *bufio.Reader, n int) (int, error) {
	f.refused = true
	var length [4]byte
	come := 0 // of the length
	if rest := n - len(f.buf); rest > 0 {
		if err := skip(r, rest); err != nil {
			return 0, err
		}
	} else {
		come = copy(length[:], f.buf[n:])
	}
	f.drop()
	if _, err := io.ReadFull(r, length[come:]); err != nil {
		return 0, noEOF(err)
	}
	f.buf = append(f.buf, length[:]...)
	return 0, nil
}

// skip reads over n bytes of a frame.
func skip(r *bufio.Reader, n int) error {
	_, err := r.Discard(n)
	return noEOF(err)
}

// noEOF is for errors inside a frame.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// drop gives the buffer up.
func (f *frame) drop() {
	f.buf = nil
	f.room.hold(0)
}

// trim gives the buffer up if it is not worth keeping for the next frame.
func (f *frame) trim() {
	if f.room.n > 0 && (cap(f.buf) > keepBuf || !f.room.of.keeps()) {
		f.drop()
	}
}

// moveTo gives f's content to t, where it is good until t is used again.
func (f *frame) moveTo(t *frame) {
	if f.backed {
		*f, *t = *t, *f
		f.src, t.src = t.src, f.src
		return
	}
	n := len(f.meta)
	t.header, t.backed = f.header, true
	t.buf = append(append(t.buf[:0], f.meta...), f.body...)
	t.meta, t.body = t.buf[:n:n], t.buf[n:]
}

// fillFirst is how much of a frame is given room before any of it has come: enough
// for 64 KiB and what is around them.
const fillFirst = 72 << 10

// fill reads bytes from and up to to of f.buf. It grows the buffer with what
// arrives, so that a length alone does not make it allocate more than fillFirst.
// After errNoRoom f.buf is what has come, and the rest is still to be read.
func (f *frame) fill(r *bufio.Reader, from, to int) error {
	for from < to {
		next := min(to, from+max(from, fillFirst))
		if cap(f.buf) < next {
			size := max(next, min(2*cap(f.buf), to), 512)
			if !f.room.ask(counted(size)) {
				f.buf = f.buf[:from]
				return errNoRoom
			}
			grown := make([]byte, next, size)
			copy(grown, f.buf[:from])
			f.buf = grown
		}
		f.buf = f.buf[:next]
		var in io.Reader = r
		if n := r.Buffered(); f.src != nil && n > 0 {
			next = min(next, from+n)
		} else if f.src != nil && next-from > readBuffer/8 {
			in = f.src
		}
		if _, err := io.ReadFull(in, f.buf[from:next]); err != nil {
			return noEOF(err)
		}
		from = next
	}
	f.buf = f.buf[:to]
	return nil
}

// appendHeartbeat appends a heartbeat or, with response set, the answer to one.
func appendHeartbeat(b []byte, id uint64, response bool) []byte {
	h := header{kind: bitHeartbeat, serialization: idSimple, id: id}
	if response {
		h.kind |= bitResponse
	}
	b = appendHeader(b, h)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0)
}

// keyGoaway marks the frame by which a server that shuts down asks its clients to
// send nothing more: an answer to no heartbeat, which others ignore.
const keyGoaway = "heddle-goaway"

// appendGoaway appends that frame.
func appendGoaway(b []byte) []byte {
	b = appendHeader(b, header{kind: bitHeartbeat | bitResponse, serialization: idSimple})
	b = append(b, 0, 0, 0, 0)
	start := len(b)
	b = appendMeta(b, start, keyGoaway, "1")
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	return append(b, 0, 0, 0, 0)
}
