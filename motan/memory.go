package motan

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// A server counts the bytes of large requests and answers, of all its connections
// together, as long as it holds them: a frame while it comes and until its handler
// has returned, what a gzip body inflates to, what the values and the metadata decoded
// from it may take, and an answer until it has been written. What is small is not counted, so
// that a small call pays for none of this; MaxInFlight and MaxConns bound it well
// enough.

const (
	// countOver is how large something is that is counted, in bytes.
	countOver = 16 << 10
	// defaultBuffered bounds what is counted, unless MaxFrame asks for more.
	defaultBuffered = 256 << 20
	// framesBuffered is how many times MaxFrame has to fit: a request may be metadata,
	// a gzip body, what that inflates to, and its values, and gets no more than
	// requestShare.
	framesBuffered = 10
	// valuesCount is how many times its body a request's values count, unless they are
	// one text: a string or a list that is empty takes more than on the wire.
	valuesCount = 4
)

// valuesOf is what the values of a request count that are decoded from n bytes into
// what req points to.
func valuesOf(req any, n int) int64 {
	switch req.(type) {
	case *string, *[]byte, *Raw:
		return counted(n)
	}
	return valuesCount * counted(n)
}

// memory is what a server holds and may hold.
type memory struct {
	most int64
	held atomic.Int64
}

// requestShare is what requests may fill: the answers of calls that have been
// executed must not find the room taken by calls that could as well go elsewhere.
func (m *memory) requestShare() int64 { return m.most / 4 * 3 }

// keeps reports that there is room for buffers that nobody needs now.
func (m *memory) keeps() bool { return m == nil || m.held.Load() <= m.most/4 }

// fits reports that there is room for n bytes more, though nobody gets them by that.
func (m *memory) fits(n int64) bool { return m == nil || m.held.Load()+n <= m.most }

// reservation is somebody's part of it. It belongs to one goroutine at a time.
type reservation struct {
	of *memory // nil: nothing is counted
	n  int64
}

// counted is what n bytes count.
func counted(n int) int64 {
	if n <= countOver {
		return 0
	}
	return int64(n)
}

// hold makes it n bytes, room or not.
func (r *reservation) hold(n int64) {
	if n != r.n && r.of != nil {
		r.of.held.Add(n - r.n)
		r.n = n
	}
}

// ask makes it n bytes for a request, unless that would be too much.
func (r *reservation) ask(n int64) bool { return r.of == nil || r.within(n, r.of.requestShare()) }

// askForAnswer makes it n bytes for an answer, unless that would be too much.
func (r *reservation) askForAnswer(n int64) bool { return r.of == nil || r.within(n, r.of.most) }

func (r *reservation) within(n, most int64) bool {
	more := n - r.n
	if r.of.held.Add(more) > most && more > 0 {
		r.of.held.Add(-more)
		return false
	}
	r.n = n
	return true
}

// errNoRoom ends the reading of a request that a server has no room for.
var errNoRoom = errors.New("motan: no room for the request")

// readAll reads at most limit bytes, with room for them from the start.
func readAll(r io.Reader, start, limit int, room *reservation) ([]byte, error) {
	had := room.n
	b := make([]byte, 0, min(max(start, 512), limit+1))
	for {
		if !room.ask(had + counted(cap(b))) {
			return nil, errNoRoom
		}
		for len(b) < cap(b) {
			n, err := r.Read(b[len(b):cap(b)])
			b = b[:len(b)+n]
			switch {
			case len(b) > limit:
				return nil, fmt.Errorf("%w: limit %d", errTooLarge, limit)
			case err == io.EOF:
				return b, nil
			case err != nil:
				return nil, err
			}
		}
		b = append(make([]byte, 0, min(2*cap(b), limit+1)), b...)
	}
}

// noRoom says that MaxBuffered is used up, and sees to it that this changes.
func (s *Server) noRoom() error {
	s.relieve(&s.lookedForRoom, false)
	return fmt.Errorf("no room: requests and answers of %d bytes are under way, limit %d", s.memory.held.Load(), s.memory.most)
}

const (
	// relieveEvery is how often connections are looked at at most.
	relieveEvery = 100 * time.Millisecond
	// deafAfter is how long a peer may take for a writeChunk of its answers once their
	// room, or the slots of the calls that wait to be answered, are wanted by others.
	deafAfter = time.Second
)

var errDeaf = errors.New("motan: the peer does not read its answers, and others need their room")

// relieve closes the connections of peers that do not take their answers, unless
// it has just looked, at the time in looked. If slots are wanted, it closes only those for
// which calls wait to be answered.
func (s *Server) relieve(looked *atomic.Int64, slots bool) {
	at, last := ticks(), looked.Load()
	if last != 0 && at-last < int64(relieveEvery) || !looked.CompareAndSwap(last, at) {
		return
	}
	var deaf []*serverConn
	s.mu.Lock()
	for c := range s.conns {
		if since := c.out.stuck.Load(); since != 0 && at-since > int64(deafAfter) && (!slots || c.out.blocks()) {
			deaf = append(deaf, c)
		}
	}
	s.mu.Unlock()
	closed, freed, peer := 0, int64(0), ""
	for _, c := range deaf {
		if n, ok := c.out.abandon(errDeaf); ok {
			closed, freed, peer = closed+1, freed+n, c.peer
			c.conn.Close()
		}
	}
	if closed > 0 {
		s.log.ended(peer, errDeaf, "connections", closed, "bytes", freed)
		s.stats.deaf.Add(uint64(closed))
	}
}

// rejected is the error of a call that is refused for the server's sake.
func (s *Server) rejected(reason error) *Error {
	s.stats.rejected.Add(1)
	return &Error{Code: CodeReject, Type: Service, Message: reason.Error(), cause: watchman.ErrRejected}
}

// answered tells how large an answer was, of a method that has large ones.
func (m *serverMethod) answered(n int) {
	mean := m.answers.Load()
	if mean += (int64(n) - mean) / 8; mean <= countOver/8 {
		mean = 0
	}
	m.answers.Store(mean) // if others do that now, theirs is as good
}

// answersFit reports that there is room for one more answer of so many bytes, and
// would be if those of all calls of the method, inFlight of them, were there.
func (s *Server) answersFit(bytes, inFlight int64) bool {
	return s.memory.fits(bytes) && bytes <= s.memory.most/inFlight
}
