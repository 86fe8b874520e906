package motan

import (
	"bytes"
	"time"
)

// lastSeen is what a connection remembers of requests, so as not to make it for each
// call: most requests of one client have it in common.
type lastSeen struct {
	heads map[string]*callMeta // by their text
	head  *callMeta            // the last one
	upTo  string               // its text with endOfHead
	tail  []byte               // the last one
	said  callMeta             // by it

	caller              *caller
	tracestate, baggage string
	meta                *Metadata
	metaText            string // what meta was made of
	buf                 []byte // for the next metaText
}

const (
	// These bound what a connection remembers, and so does countOver.
	mostHeads   = 64
	longestHead = 512
	longestTail = 1 << 10
	longestText = 8 << 10 // what W3C says baggage may have
)

const (
	endOfHead   = "\n" + keyTimeout + "\n"
	beforeTrace = "\n" + keyTraceparent + "\n"
	traceLen    = 55 // of a traceparent
)

// read reads a request's metadata. Its head, all that stands before the time that is
// left, is the same for all calls of one method by one client, and its tail, what
// stands behind the trace, mostly is: they are read once. What is large is given room;
// if there is none, read returns errNoRoom, and m without what the application added.
func (l *lastSeen) read(meta []byte, room *reservation) (m callMeta, err error) {
	if head, rest := l.cutHead(meta); head != nil {
		m, meta = *head, rest
	}
	if timeout, trace, tail, ok := cutTrace(meta); ok && l.knows(tail) {
		m.timeout, m.traceparent = timeout, trace
		m.tracestate, m.baggage, m.others, m.added = l.said.tracestate, l.said.baggage, l.said.others, l.said.added
		return m, nil
	}
	m.read(meta)
	// Strings made of all of it, and the pairs, which may take many times as much.
	size := len(meta) + m.others*pairSize
	switch {
	case size <= countOver:
		if m.others > 0 {
			m.added = l.added(meta)
		}
	case !room.ask(int64(size)):
		return m, errNoRoom
	case m.others > 0:
		added := textMeta(string(appendApplicationMeta(nil, meta)))
		m.added = &added
	}
	return m, nil
}

// cutHead returns what the head says and what follows it, nil if the head has to be
// read with the rest.
func (l *lastSeen) cutHead(meta []byte) (head *callMeta, rest []byte) {
	if n := len(l.upTo); n > 0 && len(meta) >= n && string(meta[:n]) == l.upTo {
		return l.head, meta[n-len(endOfHead)+1:]
	}
	n := bytes.Index(meta, []byte(endOfHead))
	if n <= 0 || n > longestHead {
		return nil, meta
	}
	if head = l.heads[string(meta[:n])]; head == nil {
		if head = l.newHead(meta[:n]); head == nil {
			return nil, meta
		}
	}
	l.head, l.upTo = head, string(meta[:n+len(endOfHead)])
	return head, meta[n+1:]
}

func (l *lastSeen) newHead(text []byte) *callMeta {
	// After a key without a value, what looks like the time is that.
	if len(l.heads) == mostHeads || bytes.Count(text, []byte("\n"))%2 == 0 {
		return nil
	}
	head := new(callMeta)
	head.read(bytes.Clone(text))
	if head.others > 0 {
		return nil
	}
	if l.heads == nil {
		l.heads = make(map[string]*callMeta)
	}
	l.heads[string(text)] = head
	return head
}

// cutTrace cuts the time and a traceparent of the usual form off.
func cutTrace(meta []byte) (timeout time.Duration, trace, tail []byte, ok bool) {
	const most = len("999999999")
	meta, ok = bytes.CutPrefix(meta, []byte(endOfHead[1:]))
	n, ms := 0, 0
	for ; n < min(len(meta), most) && '0' <= meta[n] && meta[n] <= '9'; n++ {
		ms = 10*ms + int(meta[n]-'0')
	}
	rest, found := bytes.CutPrefix(meta[n:], []byte(beforeTrace))
	if !ok || n == 0 || !found || len(rest) < traceLen || bytes.IndexByte(rest[:traceLen], '\n') >= 0 {
		return 0, nil, nil, false
	}
	trace, rest = rest[:traceLen], rest[traceLen:]
	if len(rest) > 0 {
		if rest[0] != '\n' {
			return 0, nil, nil, false
		}
		rest = rest[1:]
	}
	return time.Duration(ms) * time.Millisecond, trace, rest, true
}

// knows reads a tail, if it is not the last one. It returns false if there is more
// in it than a tail says.
func (l *lastSeen) knows(tail []byte) bool {
	if bytes.Equal(tail, l.tail) {
		return true
	}
	if len(tail) > longestTail {
		return false
	}
	var said callMeta
	said.read(tail)
	if said.more() {
		return false
	}
	l.tail = append(l.tail[:0], tail...)
	l.said = callMeta{}
	l.said.read(l.tail)
	if l.said.others > 0 {
		l.said.added = l.added(l.tail)
	}
	return true
}

// more reports whether there is anything that belongs before a tail.
func (m *callMeta) more() bool {
	for _, b := range [...][]byte{m.service, m.method, m.group, m.version, m.application, m.token, m.traceparent} {
		if b != nil {
			return true
		}
	}
	return m.timeout != 0 || m.framework
}

// text returns b as a string; last is the one that came before in its place.
func text(last *string, b []byte) string {
	if len(b) > longestText {
		return string(b)
	}
	if *last != string(b) {
		*last = string(b)
	}
	return *last
}

// added returns the metadata that the application added to a call.
func (l *lastSeen) added(meta []byte) *Metadata {
	l.buf = appendApplicationMeta(l.buf[:0], meta)
	if l.metaText != string(l.buf) {
		l.metaText = string(l.buf)
		m := textMeta(l.metaText)
		l.meta = &m
	}
	return l.meta
}

// from returns who makes a call.
func (l *lastSeen) from(peer string, m *callMeta) *caller {
	c := l.caller
	if c == nil || c.application != string(m.application) || c.group != string(m.group) || c.version != string(m.version) {
		c = &caller{peer, string(m.application), string(m.group), string(m.version)}
		if len(c.application)+len(c.group)+len(c.version) <= longestText {
			l.caller = c
		}
	}
	return c
}
